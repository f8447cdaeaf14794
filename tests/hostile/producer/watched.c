/* What the host looks at: a worker that hangs is looked at before it is ended, and its stack is named. */
#include "hostile.h"
#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const outcome HANG = {HANGS, "hang", 0};

/* Called in a copy of this library, so that the copy is on the stack. */
__attribute__((visibility("default"))) void hostile_hang(void);
void hostile_hang(void)
{
    for (;;) pause();
}

static uint8_t *read_whole(const char *path, size_t *bytes)
{
    struct stat status;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    uint8_t *content = NULL;
    size_t done = 0;
    ssize_t more = 1;
    if (file == -1 || fstat(file, &status) == -1) return NULL;
    *bytes = (size_t)status.st_size;
    content = malloc(*bytes);
    while (content && done < *bytes && more > 0) {
        more = read(file, content + done, *bytes - done);
        if (more > 0) done += (size_t)more;
    }
    close(file);
    return done == *bytes ? content : NULL;
}

static int write_whole(const char *path, const uint8_t *content, size_t bytes)
{
    int file = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
    size_t done = 0;
    ssize_t more = 1;
    while (file >= 0 && done < bytes && more > 0) {
        more = write(file, content + done, bytes - done);
        if (more > 0) done += (size_t)more;
    }
    if (file >= 0) close(file);
    return done == bytes;
}

/* Makes noise of all sections of an ELF file that are not loaded: symbols and debug info. */
static void spoil(uint8_t *content, size_t bytes)
{
    const Elf64_Ehdr *head = (const Elf64_Ehdr *)content;
    const Elf64_Shdr *sections = (const Elf64_Shdr *)(content + head->e_shoff);
    uint32_t random = 12345;
    size_t index, byte;
    for (index = 0; index < head->e_shnum; index++) {
        if (sections[index].sh_flags & SHF_ALLOC || sections[index].sh_type == SHT_NULL) continue;
        if (index == head->e_shstrndx || sections[index].sh_offset + sections[index].sh_size > bytes) continue;
        /* Every eighth byte: what is left leads a reader deeper. */
        for (byte = 0; byte < sections[index].sh_size; byte += 8) {
            random = random * 1664525u + 1013904223u;
            content[sections[index].sh_offset + byte] = (uint8_t)(random >> 24);
        }
    }
}

/* Hangs in a copy of the plugin in the room. */
static outcome hang_in_copy(const scene *at, int spoilt)
{
    void (*hang)(void) = NULL;
    void *library;
    size_t bytes = 0;
    uint8_t *content = read_whole(at->plugin, &bytes);
    if (!content) return tried("read the plugin's file", -1);
    if (spoilt) spoil(content, bytes);
    if (!write_whole(in(at->room, "evil.so"), content, bytes)) return tried("write a library to the room", -1);
    library = dlopen(in(at->room, "evil.so"), RTLD_NOW | RTLD_LOCAL);
    if (library) *(void **)&hang = dlsym(library, "hostile_hang");
    errno = ENOEXEC;
    if (!hang) return tried("load a library of the room", -1);
    hang();
    return HANG;
}

static outcome hang_in_spoilt_library(const scene *at) { return hang_in_copy(at, 1); }

/* In a library that the jail allows to read, as data may be anything. */
static outcome hang_in_data(const scene *at)
{
    void (*hang)(void) = NULL;
    void *library = dlopen(in(at->readable, "../delivered/evil.so"), RTLD_NOW | RTLD_LOCAL);
    if (library) *(void **)&hang = dlsym(library, "hostile_hang");
    errno = ENOEXEC;
    if (!hang) return tried("load a library of the data", -1);
    hang();
    return HANG;
}

/* The host looks for debug info beside the library: under this name the attacker put what it likes. */
static outcome hang_beside_link(const scene *at)
{
    if (symlink(in(at->outside, "../fifo"), in(at->room, "evil.so.dwp")) == -1)
        return tried("make a symbolic link in the room", -1);
    return hang_in_copy(at, 0);
}

/* The sibling was taken over, too: it cuts the library and makes it whole again while the host reads it.
 * Whoever has mapped the file meets the cut. It has two messages for that, since each has a deadline. */
void help(const scene *at, uint64_t message)
{
    size_t bytes = 0;
    struct timespec end, now;
    const uint8_t *content = read_whole(at->plugin, &bytes);
    int file = open(in(at->room, "evil.so"), O_WRONLY | O_CLOEXEC);
    if (message == 1) {
        usleep(1500000);
        return;
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    for (now = end; content && (now.tv_sec - end.tv_sec) * 1000 + (now.tv_nsec - end.tv_nsec) / 1000000 < 2500;) {
        if (pwrite(file, content, bytes, 0) != (ssize_t)bytes) break;
        usleep(50);
        if (ftruncate(file, 4096) == -1) break;
        usleep(100);
        clock_gettime(CLOCK_MONOTONIC, &now);
    }
}

static outcome hang_in_cut_library(const scene *at) { return hang_in_copy(at, 0); }

static outcome hang_with_many_mappings(const scene *at)
{
    int made;
    (void)at;
    for (made = 0; made < 30000; made++)
        mmap(NULL, 4096, made % 2 ? PROT_READ : PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return HANG;
}

static void *sleep_with_odd_name(void *unused)
{
    (void)unused;
    prctl(PR_SET_NAME, "\xff\n) R 1 (\x1b[2J", 0, 0, 0);
    for (;;) pause();
    return NULL;
}

static outcome hang_with_odd_threads(const scene *at)
{
    pthread_t thread;
    int made;
    (void)at;
    for (made = 0; made < 100; made++) pthread_create(&thread, NULL, sleep_with_odd_name, NULL);
    prctl(PR_SET_NAME, "cobuf-work-0) R 1", 0, 0, 0);
    return HANG;
}

/* On a stack whose every word is a return address of its own. */
static outcome hang_on_odd_stack(const scene *at)
{
    size_t words = 1 << 17, word;
    uintptr_t *stack = calloc(words, sizeof *stack);
    (void)at;
    for (word = 0; stack && word < words; word++) stack[word] = (uintptr_t)hostile_hang + 4;
#if defined(__x86_64__)
    if (stack)
        __asm__ volatile("mov %0, %%rsp\n"
                         "mov %0, %%rbp\n"
                         "1: mov $34, %%eax\n"
                         "syscall\n"
                         "jmp 1b\n"
                         :
                         : "r"(stack + 1024)
                         : "rax", "rcx", "r11", "memory");
#endif
    return HANG;
}

/* The stack pointer leads into the segment, which other processes write to. */
static outcome hang_on_segment(const scene *at)
{
#if defined(__x86_64__)
    __asm__ volatile("mov %0, %%rsp\n"
                     "mov %0, %%rbp\n"
                     "1: mov $34, %%eax\n"
                     "syscall\n"
                     "jmp 1b\n"
                     :
                     : "r"((uintptr_t)at->array & ~(uintptr_t)15)
                     : "rax", "rcx", "r11", "memory");
#endif
    (void)at;
    return HANG;
}

const attack WATCHED[] = {
    {"hang_in_spoilt_library", hang_in_spoilt_library, HARMLESS},
    {"hang_in_data", hang_in_data, HARMLESS},
    {"hang_beside_link", hang_beside_link, HARMLESS},
    {"hang_in_cut_library", hang_in_cut_library, HARMLESS},
    {"hang_with_many_mappings", hang_with_many_mappings, HARMLESS},
    {"hang_with_odd_threads", hang_with_odd_threads, HARMLESS},
    {"hang_on_odd_stack", hang_on_odd_stack, HARMLESS},
    {"hang_on_segment", hang_on_segment, HARMLESS},
    {NULL, NULL, 0},
};
