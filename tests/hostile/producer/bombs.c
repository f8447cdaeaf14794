/* As much of one thing as there is: processes, threads, descriptors, mappings, timers, signals. */
#include "hostile.h"
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static outcome fork_bomb(const scene *at)
{
    int made = 0, error = 0;
    pid_t child;
    (void)at;
    while (made < 64 && !error) {
        child = fork();
        if (child == 0) {
            pause();
            _exit(0);
        }
        if (child == -1) error = errno;
        if (child > 0) {
            kill(child, SIGKILL);
            waitpid(child, NULL, 0);
            made++;
        }
    }
    errno = error;
    return tried("fork 64 times", made ? made : -1);
}

static void *wait_for_end(void *gate)
{
    pthread_mutex_lock(gate);
    pthread_mutex_unlock(gate);
    return NULL;
}

/* Threads that all live at a time; all are joined. */
static outcome threads(int most)
{
    pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
    pthread_t *made = calloc((size_t)most, sizeof *made);
    int count = 0, error = 0, index;
    outcome outcome;
    pthread_mutex_lock(&gate);
    while (made && count < most && !error) {
        error = pthread_create(&made[count], NULL, wait_for_end, &gate);
        count += !error;
    }
    pthread_mutex_unlock(&gate);
    for (index = 0; index < count; index++) pthread_join(made[index], NULL);
    free(made);
    errno = error;
    outcome = tried("start threads", count ? 0 : -1);
    return outcome;
}

static outcome thread(const scene *at)
{
    (void)at;
    return threads(1);
}

static outcome thread_bomb(const scene *at)
{
    threads(500);
    (void)at;
    return unseen("start 500 threads");
}

/* They stay open: the worker has no descriptor left for anything that it is asked afterwards. */
static outcome descriptor_bomb(const scene *at)
{
    int made = 0;
    (void)at;
    while (made < (1 << 20) && dup(STDERR_FILENO) >= 0) made++;
    return unseen("open all descriptors");
}

/* Ends with an error for want of memory, or of the patience of its limit. */
static outcome mapping_bomb(const scene *at)
{
    int made = 0;
    (void)at;
    while (made < 30000) {
        int access = made % 2 ? PROT_READ : PROT_NONE;
        if (mmap(NULL, 4096, access, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED) break;
        made++;
    }
    return unseen("make 30000 mappings");
}

/* Each counts for the user's limit of pending signals. */
static outcome timer_bomb(const scene *at)
{
    struct sigevent none;
    timer_t timer;
    int made = 0;
    (void)at;
    memset(&none, 0, sizeof none);
    none.sigev_notify = SIGEV_NONE;
    while (made < 200000 && timer_create(CLOCK_MONOTONIC, &none, &timer) == 0) made++;
    return unseen("make all timers of the user");
}

static outcome signal_bomb(const scene *at)
{
    sigset_t blocked;
    siginfo_t info;
    int sent = 0;
    (void)at;
    memset(&info, 0, sizeof info);
    info.si_code = SI_QUEUE;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGRTMIN + 3);
    sigprocmask(SIG_BLOCK, &blocked, NULL);
    while (sent < 200000 && syscall(SYS_rt_sigqueueinfo, getpid(), SIGRTMIN + 3, &info) == 0) sent++;
    return unseen("queue all signals of the user");
}

const attack BOMBS[] = {
    {"fork_bomb", fork_bomb, JAILED_ONLY},
    {"thread", thread, HARMLESS},
    {"thread_bomb", thread_bomb, JAILED_ONLY},
    {"descriptor_bomb", descriptor_bomb, JAILED_ONLY},
    {"timer_bomb", timer_bomb, JAILED_ONLY},
    {"signal_bomb", signal_bomb, JAILED_ONLY},
    {"mapping_bomb", mapping_bomb, JAILED_ONLY},
    {NULL, NULL, 0},
};
