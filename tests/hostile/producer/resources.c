/* What the machine has only so much of, and ways not to be ended. */
#include "hostile.h"
#include <fcntl.h>
#include <mqueue.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ATTACK(name, what, call) \
    static outcome name(const scene *at) { (void)at; return tried(what, call); }

/* So much at most, also if nothing refuses it. */
#define FILL_BYTES (16 << 20)

static outcome fill(const char *what, const char *path)
{
    static char page[65536];
    int file = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
    long written = 0;
    outcome outcome = tried(what, file);
    if (file == -1) return outcome;
    while (written < FILL_BYTES && write(file, page, sizeof page) > 0) written += sizeof page;
    close(file);
    unlink(path);
    return outcome;
}

static outcome fill_shared(const scene *at)
{
    return fill("fill /dev/shm", mark(at, "/dev/shm"));
}

static outcome fill_tmp(const scene *at)
{
    return fill("fill /tmp", mark(at, "/tmp"));
}

static outcome posix_memory(const scene *at)
{
    int memory = shm_open(mark(at, ""), O_CREAT | O_RDWR, 0600);
    if (memory >= 0) shm_unlink(mark(at, ""));
    return opened("make POSIX shared memory", memory);
}

static outcome posix_queue(const scene *at)
{
    mqd_t queue = mq_open(mark(at, ""), O_CREAT | O_RDWR, 0600, NULL);
    if (queue != (mqd_t)-1) mq_unlink(mark(at, ""));
    return opened("make a POSIX message queue", (int)queue);
}

static outcome system_memory(const scene *at)
{
    int memory = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600);
    (void)at;
    if (memory != -1) shmctl(memory, IPC_RMID, NULL);
    return tried("make System V shared memory", memory);
}

static outcome system_queue(const scene *at)
{
    int queue = msgget(IPC_PRIVATE, IPC_CREAT | 0600);
    (void)at;
    if (queue != -1) msgctl(queue, IPC_RMID, NULL);
    return tried("make a System V message queue", queue);
}

static outcome system_semaphores(const scene *at)
{
    int set = semget(IPC_PRIVATE, 1, IPC_CREAT | 0600);
    (void)at;
    if (set != -1) semctl(set, 0, IPC_RMID);
    return tried("make System V semaphores", set);
}

static outcome raise_limit(const char *what, int limit)
{
    struct rlimit most = {RLIM_INFINITY, RLIM_INFINITY};
    if (limit == RLIMIT_NOFILE) most.rlim_cur = most.rlim_max = 1 << 20;
    return tried(what, setrlimit(limit, &most));
}

static outcome raise_descriptors(const scene *at)
{
    (void)at;
    return raise_limit("raise its limit of descriptors", RLIMIT_NOFILE);
}

static outcome raise_core(const scene *at)
{
    (void)at;
    return raise_limit("raise its limit of core dumps", RLIMIT_CORE);
}

static outcome lock_memory(const scene *at)
{
    (void)at;
    return raise_limit("raise its limit of locked memory", RLIMIT_MEMLOCK);
}

static void ignore(int signal) { (void)signal; }

/* Not to be ended by anything that can be caught. */
static outcome handle_signals(const scene *at)
{
    int signal;
    outcome hangs = {HANGS, "ignore all signals", 0};
    (void)at;
    for (signal = 1; signal < 65; signal++) {
        struct sigaction action;
        memset(&action, 0, sizeof action);
        action.sa_handler = signal % 2 ? SIG_IGN : ignore;
        sigaction(signal, &action, NULL);
    }
    return hangs;
}

static outcome block_signals(const scene *at)
{
    sigset_t all;
    outcome hangs = {HANGS, "block all signals", 0};
    (void)at;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    return hangs;
}

/* In an old system call's number: 20 is getpid there, and writev in this program's. */
static outcome old_call(const scene *at)
{
    outcome outcome = {SUCCEEDED, "make a system call of 32 bits", 0};
    (void)at;
#if defined(__x86_64__)
    {
        long answer;
        __asm__ volatile("int $0x80" : "=a"(answer) : "a"(20L) : "memory", "r8", "r9", "r10", "r11");
        outcome.error = (int)-answer;
        if (answer < 0) outcome.result = outcome.error == EPERM ? REFUSED : BROKEN;
    }
#endif
    return outcome;
}

/* Numbers with this bit are those of the x32 programs. */
ATTACK(x32_call, "make a system call of x32", syscall(0x40000000L + SYS_getpid))

const attack RESOURCES[] = {
    {"fill_shared", fill_shared, HARMLESS},
    {"fill_tmp", fill_tmp, HARMLESS},
    {"posix_memory", posix_memory, HARMLESS},
    {"posix_queue", posix_queue, HARMLESS},
    {"system_memory", system_memory, HARMLESS},
    {"system_queue", system_queue, HARMLESS},
    {"system_semaphores", system_semaphores, HARMLESS},
    {"raise_descriptors", raise_descriptors, HARMLESS},
    {"raise_core", raise_core, HARMLESS},
    {"lock_memory", lock_memory, HARMLESS},
    {"handle_signals", handle_signals, HARMLESS},
    {"block_signals", block_signals, HARMLESS},
    {"old_call", old_call, HARMLESS},
    {"x32_call", x32_call, JAILED_ONLY},
    {NULL, NULL, 0},
};
