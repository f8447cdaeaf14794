/* A producer that writes to standard error at each message. */
#include <cobuf.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static int schema(cobuf_call *call, const cobuf_dict *config)
{
    const size_t shape[1] = {4};
    (void)config;
    return cobuf_declare(call, "x", COBUF_U8, 1, shape);
}

static int open_producer(cobuf_call *call, const cobuf_dict *config, const cobuf_worker *worker, void **producer)
{
    (void)call, (void)config, (void)worker;
    *producer = NULL;
    return COBUF_OK;
}

static int produce(cobuf_call *call, void *producer, const cobuf_job *job)
{
    clock_t begin = clock();
    (void)call, (void)producer;
    memset(job->arrays[0].data, (int)(job->sequence % 251), job->arrays[0].bytes);
    fprintf(stderr, "message %lu is loud\n", (unsigned long)job->sequence);
    while (clock() - begin < CLOCKS_PER_SEC / 500) /* work */;
    return COBUF_OK;
}

static void close_producer(cobuf_call *call, void *producer)
{
    (void)call, (void)producer;
}

static const cobuf_producer producer = {0, schema, open_producer, produce, close_producer};
COBUF_EXPORT_PRODUCER("loud", "0.1.0", producer)
