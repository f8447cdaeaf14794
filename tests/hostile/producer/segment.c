/* What a worker shares with the host and its siblings: words and payloads, written over.
 *
 * The offsets are those of host/src/segment/layout.rs. Each attack first finds its own slot and the fork
 * server's number where they must be, so that a change of the layout is noticed here.
 */
#include "hostile.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    CONTROL = 64,
    QUEUED = CONTROL, /* each of the three has an event, words of its own, and a set of slots */
    REQUEUES = QUEUED + 4,
    NEXT = QUEUED + 8,
    STARVED = QUEUED + 16,
    TENDED = QUEUED + 24,
    QUEUED_SET = QUEUED + 32,
    READY = 2176,
    WANTED = READY + 8,
    READY_SET = READY + 16,
    FREE = 4288,
    FREE_SET = FREE + 8,
    SET_BYTES = 2048,
    STOP = 6400,
    RELIEVE = 6404,
    SHARES = 6408,
    END = 6424,
    ARMED = 6448,
    PROGRESS = 6464,
    COUNTERS = 6528,
    FORK_SERVER = 6664,
    NOTICES = 6720,
    SLOTS = 14976,
    SLOT_BYTES = 64,
    SEQUENCE = 8,
    LENGTHS = 24, /* of message and outcome */
    FAILED = 32,
    NUMBERS_END = 64
};

typedef struct found {
    size_t own;      /* the attacker's slot */
    size_t workers;  /* the places of workers */
    size_t payloads; /* that of slot 0 */
    size_t stride;
} found;

static size_t aligned(size_t offset, size_t to) { return (offset + to - 1) / to * to; }

static int look(const scene *at, found *found)
{
    size_t slot;
    uint32_t server;
    uint64_t sequence;
    if (!at->segment || memcmp(at->segment, "cobufseg", 8) != 0) return 0;
    memcpy(&server, at->segment + FORK_SERVER, sizeof server);
    if ((pid_t)server != at->server) return 0;
    /* All messages are in slots then. */
    while (*(volatile uint64_t *)(at->segment + END) == 0) usleep(200);
    found->workers = SLOTS + SLOT_BYTES * (size_t)at->slots;
    found->payloads = aligned(found->workers + 448 * 2048, 4096);
    found->stride = (at->segment_bytes - found->payloads) / (size_t)at->slots / 4096 * 4096;
    found->own = ((const uint8_t *)at->array - at->segment - found->payloads) / found->stride;
    slot = SLOTS + SLOT_BYTES * found->own;
    memcpy(&sequence, at->segment + slot + SEQUENCE, sizeof sequence);
    return found->own < at->slots && sequence == at->sequence + 1;
}

/* Writes over the bytes from one offset to another. Each word in one step: other processes use them. */
static void write_over(const scene *at, size_t from, size_t to)
{
    uint64_t random = 0x9e3779b97f4a7c15u * (from + 1);
    size_t offset;
    for (offset = from; offset + 4 <= to; offset += 4) {
        uint32_t word = 0;
        if (strcmp(at->fill, "ones") == 0) word = 0xffffffffu;
        if (strcmp(at->fill, "noise") == 0) {
            random ^= random << 13, random ^= random >> 7, random ^= random << 17;
            word = (uint32_t)(random >> 16);
        }
        *(volatile uint32_t *)(at->segment + offset) = word;
    }
}

static outcome changed(const found *found)
{
    outcome outcome = {BROKEN, "find the segment's parts", EPROTO};
    (void)found;
    return outcome;
}

typedef struct range {
    size_t from, to;
} range;

/* Attacks that write over some ranges. */
#define RANGE_ATTACK(name, what, ...)                                      \
    static outcome name(const scene *at)                                   \
    {                                                                      \
        found found;                                                       \
        size_t nth;                                                        \
        if (!look(at, &found)) return changed(&found);                     \
        const range ranges[] = {__VA_ARGS__};                              \
        for (nth = 0; nth < sizeof ranges / sizeof *ranges; nth++)         \
            write_over(at, ranges[nth].from, ranges[nth].to);              \
        return unseen(what);                                               \
    }

#define OWN (SLOTS + SLOT_BYTES * found.own)

RANGE_ATTACK(first_words, "the segment's first words", {0, 32})
RANGE_ATTACK(events, "the events", {QUEUED, QUEUED + 4}, {READY, READY + 4}, {FREE, FREE + 4})
RANGE_ATTACK(stop, "the request to stop", {STOP, RELIEVE})
RANGE_ATTACK(relieve, "the request to the commander", {RELIEVE, SHARES})
RANGE_ATTACK(requeues, "the count of requeues", {REQUEUES, NEXT})
RANGE_ATTACK(shares, "the shares of the crews", {SHARES, END})
RANGE_ATTACK(next, "the expected message", {NEXT, STARVED})
RANGE_ATTACK(starved, "who waits for a free slot or for messages", {STARVED, TENDED})
RANGE_ATTACK(tended, "when a worker tended the queue", {TENDED, QUEUED_SET})
RANGE_ATTACK(progress, "the stream's progress", {WANTED, READY_SET}, {END, ARMED}, {PROGRESS, COUNTERS})
RANGE_ATTACK(end, "the stream's end", {END, END + 8})
RANGE_ATTACK(armed, "the failpoint", {ARMED, ARMED + 4})
RANGE_ATTACK(counters, "the counters", {COUNTERS, NOTICES})
RANGE_ATTACK(notices, "the notices", {NOTICES, SLOTS})
RANGE_ATTACK(own_word, "its own slot's word", {OWN, OWN + SEQUENCE})
RANGE_ATTACK(own_sequence, "its own slot's message number", {OWN + SEQUENCE, OWN + SEQUENCE + 8})
RANGE_ATTACK(own_lengths, "its own slot's lengths", {OWN + LENGTHS, OWN + FAILED})
RANGE_ATTACK(own_numbers, "its own slot's numbers", {OWN + SEQUENCE, OWN + NUMBERS_END})
RANGE_ATTACK(hints, "the sets of slots", {QUEUED_SET, QUEUED_SET + SET_BYTES}, {READY_SET, READY_SET + SET_BYTES},
             {FREE_SET, FREE_SET + SET_BYTES})
RANGE_ATTACK(workers, "the places of workers", {found.workers, found.payloads})
RANGE_ATTACK(control, "all control words", {CONTROL, COUNTERS})
RANGE_ATTACK(everything_but_payloads, "all but the payloads", {CONTROL, found.payloads})

/* Attacks that write over a part of each other slot. */
#define OTHERS_ATTACK(name, what, from, to)                                                          \
    static outcome name(const scene *at)                                                             \
    {                                                                                                \
        found found;                                                                                 \
        size_t slot;                                                                                 \
        if (!look(at, &found)) return changed(&found);                                               \
        for (slot = 0; slot < at->slots; slot++)                                                     \
            if (slot != found.own) write_over(at, from, to);                                         \
        return unseen(what);                                                                         \
    }

#define OTHER (SLOTS + SLOT_BYTES * slot)
#define PAYLOAD (found.payloads + found.stride * slot)

OTHERS_ATTACK(other_words, "the other slots' words", OTHER, OTHER + SEQUENCE)
OTHERS_ATTACK(other_sequences, "the other slots' message numbers", OTHER + SEQUENCE, OTHER + SEQUENCE + 8)
OTHERS_ATTACK(other_lengths, "the other slots' lengths", OTHER + LENGTHS, OTHER + FAILED)
OTHERS_ATTACK(other_numbers, "the other slots' numbers", OTHER + SEQUENCE, OTHER + NUMBERS_END)
OTHERS_ATTACK(other_payloads, "the other slots' messages, outcomes and arrays", PAYLOAD, PAYLOAD + found.stride)

/* The message numbers of two batches that are ready and that no consumer can have taken yet. */
static outcome exchange_sequences(const scene *at)
{
    found found;
    volatile uint64_t *ready[2];
    size_t slot, count;
    uint64_t kept;
    if (!look(at, &found)) return changed(&found);
    do {
        for (slot = 0, count = 0; slot < at->slots && count < 2; slot++) {
            volatile uint64_t *word = (volatile uint64_t *)(at->segment + OTHER);
            if ((word[0] & 3) == 2 && word[1] > at->sequence + 1) ready[count++] = &word[1];
        }
    } while (count < 2 && usleep(200) == 0);
    kept = *ready[0];
    *ready[0] = *ready[1];
    *ready[1] = kept;
    return unseen("exchange the message numbers of two batches");
}

/* Its own batch, under the number of the next message. */
static outcome claim_next_number(const scene *at)
{
    found found;
    if (!look(at, &found)) return changed(&found);
    *(volatile uint64_t *)(at->segment + OWN + SEQUENCE) = at->sequence + 2;
    return unseen("give its batch the next message's number");
}

/* Arms a failpoint: a place where tests make processes of the run fail. */
static outcome arm(const scene *at, uint32_t point, uint32_t fault)
{
    found found;
    if (!look(at, &found)) return changed(&found);
    *(volatile uint32_t *)(at->segment + ARMED) = (point << 16 | fault) + 1;
    return unseen("arm a failpoint");
}

enum { WORK_CLAIMED = 4, RECLAIM = 8, KILL = 0, FREEZE = 2 };

static outcome kill_next_claimer(const scene *at) { return arm(at, WORK_CLAIMED, KILL); }
static outcome freeze_next_claimer(const scene *at) { return arm(at, WORK_CLAIMED, FREEZE); }

/* In the host, when it takes back the slot of a worker that died. */
static outcome kill_server_by_death(const scene *at)
{
    outcome outcome = arm(at, RECLAIM, KILL);
    if (outcome.result == UNSEEN) abort();
    return outcome;
}

/* Frees all memory behind the segment: it reads as zeros then. */
static outcome punch_hole(const scene *at)
{
    found found;
    if (!look(at, &found)) return changed(&found);
    if (madvise(at->segment, found.payloads, MADV_REMOVE) == -1) return tried("free the segment's memory", -1);
    return unseen("free the segment's memory");
}

/* Every descriptor that leads to a large file may be the segment's: cut, it would be a SIGBUS of the host. */
static outcome cut_segment(const scene *at)
{
    struct stat status;
    int descriptor, found = 0;
    (void)at;
    for (descriptor = 0; descriptor < 256; descriptor++) {
        if (fstat(descriptor, &status) == -1 || !S_ISREG(status.st_mode)) continue;
        if (status.st_nlink != 0 || (size_t)status.st_size < at->segment_bytes) continue;
        found = 1;
        if (ftruncate(descriptor, 0) == 0) return tried("cut the segment", 0);
    }
    if (found) return tried("cut the segment", -1);
    errno = EACCES;
    return tried("find a descriptor of the segment", -1);
}

/* By the link that the kernel has for each mapping. */
static outcome reopen_segment(const scene *at)
{
    char path[128];
    snprintf(path, sizeof path, "/proc/self/map_files/%lx-%lx", (unsigned long)at->segment,
             (unsigned long)at->segment + at->segment_bytes);
    return opened("open the segment by its mapping", open(path, O_RDWR | O_CLOEXEC));
}

const attack SEGMENT[] = {
    {"first_words", first_words, HARMLESS},
    {"events", events, HARMLESS},
    {"stop", stop, HARMLESS},
    {"relieve", relieve, HARMLESS},
    {"requeues", requeues, HARMLESS},
    {"shares", shares, HARMLESS},
    {"next", next, HARMLESS},
    {"starved", starved, HARMLESS},
    {"tended", tended, HARMLESS},
    {"progress", progress, HARMLESS},
    {"end", end, HARMLESS},
    {"armed", armed, HARMLESS},
    {"counters", counters, HARMLESS},
    {"notices", notices, HARMLESS},
    {"own_word", own_word, HARMLESS},
    {"own_sequence", own_sequence, HARMLESS},
    {"own_lengths", own_lengths, HARMLESS},
    {"own_numbers", own_numbers, HARMLESS},
    {"hints", hints, HARMLESS},
    {"workers", workers, HARMLESS},
    {"control", control, HARMLESS},
    {"everything_but_payloads", everything_but_payloads, HARMLESS},
    {"other_words", other_words, HARMLESS},
    {"other_sequences", other_sequences, HARMLESS},
    {"other_lengths", other_lengths, HARMLESS},
    {"other_numbers", other_numbers, HARMLESS},
    {"other_payloads", other_payloads, HARMLESS},
    {"exchange_sequences", exchange_sequences, HARMLESS},
    {"claim_next_number", claim_next_number, HARMLESS},
    {"kill_next_claimer", kill_next_claimer, HARMLESS},
    {"freeze_next_claimer", freeze_next_claimer, HARMLESS},
    {"kill_server_by_death", kill_server_by_death, HARMLESS},
    {"punch_hole", punch_hole, HARMLESS},
    {"cut_segment", cut_segment, JAILED_ONLY},
    {"reopen_segment", reopen_segment, HARMLESS},
    {NULL, NULL, 0},
};
