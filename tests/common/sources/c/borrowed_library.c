/* A producer that does what some library of somebody's does. `mode` says what, `at` at which message. */
#define _GNU_SOURCE
#include <cobuf.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#ifndef HANGS
#define HANGS 0 /* whether this build hangs when it is opened */
#endif

typedef struct {
    char mode[32];
    char sleeps[32]; /* the argument of the program sleep, by which a test finds it */
    uint64_t at;
    double seconds;
} library;

static int read_config(cobuf_call *call, const cobuf_dict *config, library *it)
{
    const char *mode = "fill", *sleeps = "1000";
    memset(it, 0, sizeof *it);
    if (cobuf_has(call, config, "mode") && cobuf_get_text(call, config, "mode", &mode)) return COBUF_ERROR;
    if (cobuf_has(call, config, "sleeps") && cobuf_get_text(call, config, "sleeps", &sleeps)) return COBUF_ERROR;
    if (cobuf_has(call, config, "at") && cobuf_get_uint(call, config, "at", &it->at)) return COBUF_ERROR;
    if (cobuf_has(call, config, "seconds") && cobuf_get_float(call, config, "seconds", &it->seconds))
        return COBUF_ERROR;
    strncpy(it->mode, mode, sizeof it->mode - 1);
    strncpy(it->sleeps, sleeps, sizeof it->sleeps - 1);
    return COBUF_OK;
}

static int is(const library *it, const char *mode)
{
    return strcmp(it->mode, mode) == 0;
}

/* Works, and stands still when the process does. */
static void burn(double seconds)
{
    struct timespec begin, now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
    do clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    while ((double)(now.tv_sec - begin.tv_sec) + 1e-9 * (double)(now.tv_nsec - begin.tv_nsec) < seconds);
}

static void touch(const char *name)
{
    FILE *file = fopen(name, "w");
    if (file != NULL) fclose(file);
}

static void hang(void)
{
    for (;;) pause();
}

static void become_sleep(const library *it)
{
    execlp("sleep", "sleep", it->sleeps, (char *)0);
    _exit(127);
}

static int schema(cobuf_call *call, const cobuf_dict *config)
{
    library it;
    const size_t shape[1] = {4};
    if (read_config(call, config, &it)) return COBUF_ERROR;
    return cobuf_declare(call, "x", COBUF_U8, 1, shape);
}

static int open_producer(cobuf_call *call, const cobuf_dict *config, const cobuf_worker *worker, void **producer)
{
    library *it = malloc(sizeof *it);
    if (it == NULL || read_config(call, config, it)) {
        free(it);
        return COBUF_ERROR;
    }
    if (is(it, "hang-new")) touch("opening");
    if (is(it, "hang-new") || HANGS) hang();
    if (is(it, "no-second-open") && worker->incarnation > 0) {
        free(it);
        return cobuf_fail(call, "there is no licence left");
    }
    if (is(it, "close-in-new")) syscall(SYS_close_range, 3U, ~0U, 0U);
    *producer = it;
    return COBUF_OK;
}

static int produce(cobuf_call *call, void *producer, const cobuf_job *job)
{
    library *it = producer;
    int here = job->sequence == it->at && job->attempt == 0;
    memset(job->arrays[0].data, (int)(job->sequence % 251), job->arrays[0].bytes);
    if (is(it, "burn")) burn(it->seconds);
    if (!here) return COBUF_OK;
    if (is(it, "finish")) {
        while (!cobuf_stop_requested(call)) usleep(1000);
        touch("finishing");
        burn(it->seconds);
    }
    if (is(it, "hang")) hang();
    if (is(it, "fork-ok") && fork() == 0) return COBUF_OK;
    if (is(it, "fork-fail") && fork() == 0) return cobuf_fail(call, "cannot run a program");
    if (is(it, "close-in-produce")) syscall(SYS_close_range, 3U, ~0U, 0U);
    if (is(it, "no-second-open")) raise(SIGSEGV);
    if (is(it, "program") && fork() == 0) become_sleep(it);
    if (is(it, "session") && fork() == 0) {
        setsid();
        become_sleep(it);
    }
    if (is(it, "daemon") && fork() == 0) {
        setsid();
        if (fork() == 0) become_sleep(it);
        _exit(0);
    }
    return COBUF_OK;
}

static void close_producer(cobuf_call *call, void *producer)
{
    (void)call;
    if (is(producer, "finish")) touch("finished");
    if (is(producer, "slow-close")) {
        touch("closing");
        while (access("close", F_OK)) usleep(1000);
    }
    free(producer);
}

static const cobuf_producer producer = {0, schema, open_producer, produce, close_producer};
COBUF_EXPORT_PRODUCER("borrowed-library", "0.1.0", producer)
