/* A producer in C that does what a message asks of it: for tests. */
#include <cobuf.h>
#include <pthread.h>
#include <string.h>

#ifndef SCHEMA
#define SCHEMA "{}"
#endif
#ifndef PRODUCE
#define PRODUCE produce
#endif

static volatile int *volatile nowhere;

/* A handle that stays broken until it is opened anew. */
static int broken;

static int schema(cobuf_call *call, const cobuf_dict *config)
{
    const size_t shape[] = {4, 2};
    uint64_t bits = cobuf_has(call, config, "random") ? cobuf_random_u64(call) : 0;
    uint32_t dtype = cobuf_has(call, config, "dtype") ? 99 : COBUF_U64;
    cobuf_declare(call, "x", dtype, 2, shape);
    if (cobuf_has(call, config, "twice")) cobuf_declare(call, "x", COBUF_U8, 2, shape);
    return bits ? COBUF_ERROR : COBUF_OK;
}

static int open_producer(cobuf_call *call, const cobuf_dict *config, const cobuf_worker *worker, void **producer)
{
    const char *folder;
    (void)producer;
    broken = 0;
    if (cobuf_has(call, config, "folder")) {
        if (cobuf_get_text(call, config, "folder", &folder)) return cobuf_fail(call, "cannot open the data");
        return cobuf_fail(call, "cannot open the folder %s in worker %u of %u", folder, worker->worker, worker->workers);
    }
    cobuf_log(call, COBUF_LOG_INFO, "opened, incarnation %u", worker->incarnation);
    return COBUF_OK;
}

/* One after the other, every kind of value, into the metadata. */
static int echo(cobuf_call *call, const cobuf_dict *message)
{
    int on;
    int64_t low;
    uint64_t high;
    double gain;
    const char *text, *key;
    const uint8_t *bytes;
    const int64_t *items;
    size_t count, length;
    if (cobuf_get_bool(call, message, "echo.on", &on) || cobuf_get_int(call, message, "echo.low", &low) ||
        cobuf_get_uint(call, message, "echo.high", &high) || cobuf_get_float(call, message, "echo.gain", &gain) ||
        cobuf_get_text(call, message, "echo.text", &text) || cobuf_get_key(call, message, "echo", 1, &key))
        return COBUF_ERROR;
    cobuf_put_bool(call, "on", on);
    cobuf_put_int(call, "low", low);
    cobuf_put_int(call, "high_is_all_bits", high == UINT64_MAX);
    cobuf_put_float(call, "gain", gain);
    cobuf_put_text(call, "text", text);
    cobuf_put_text(call, "key", key);
    if (cobuf_get_bytes(call, message, "echo.bytes", &bytes, &count)) return COBUF_ERROR;
    cobuf_put_int(call, "last_byte", bytes[count - 1]);
    if (cobuf_get_ints(call, message, "echo.items", &items, &count)) return COBUF_ERROR;
    cobuf_put_int(call, "last_item", items[count - 1]);
    if (cobuf_get_length(call, message, "echo", &length)) return COBUF_ERROR;
    cobuf_put_int(call, "length", (int64_t)length);
    cobuf_encoded(call, message, &bytes, &count);
    return cobuf_put_int(call, "first_byte", bytes[0]);
}

static void *say_from_a_thread(void *call)
{
    int stop = cobuf_stop_requested((cobuf_call *)call);
    cobuf_log((cobuf_call *)call, COBUF_LOG_INFO, "said in a thread of its own, stop %d", stop);
    return NULL;
}

static int produce(cobuf_call *call, void *producer, const cobuf_job *job)
{
    const cobuf_array *x = &job->arrays[0];
    const cobuf_dict *message = job->message;
    uint64_t *elements = (uint64_t *)x->data, rows;
    const char *text;
    int64_t ignored;
    size_t n;
    pthread_t thread;
    (void)producer;
    if (job->array_count != 1 || strcmp(x->name, "x") || x->dtype != COBUF_U64 || x->dimensions != 2 ||
        x->shape[0] != 4 || x->shape[1] != 2 || x->elements != 8 || x->bytes != 64 || (uintptr_t)x->data % 64)
        return cobuf_fail(call, "the array is another than was declared");

    for (n = 0; n < x->elements; n++) elements[n] = cobuf_random_u64(call);
    if (cobuf_has(call, message, "echo") && echo(call, message)) return COBUF_ERROR;
    if (cobuf_has(call, message, "log") && !cobuf_get_text(call, message, "log", &text))
        cobuf_log(call, COBUF_LOG_WARN, "%s %llu", text, (unsigned long long)job->sequence);
    if (cobuf_has(call, message, "rows") && !cobuf_get_uint(call, message, "rows", &rows)) cobuf_set_rows(call, rows);
    if (cobuf_has(call, message, "uniform")) cobuf_put_float(call, "uniform", cobuf_random_f64(call));
    if (cobuf_has(call, message, "thread") && !pthread_create(&thread, NULL, say_from_a_thread, call))
        pthread_join(thread, NULL);
    if (cobuf_has(call, message, "declare")) cobuf_declare(call, "y", COBUF_U8, 0, NULL);
    if (cobuf_has(call, message, "ignore")) cobuf_get_int(call, message, "ignore", &ignored);
    if (cobuf_has(call, message, "context")) {
        cobuf_get_int(call, message, "context", &ignored);
        return cobuf_fail(call, "cannot read the scan");
    }
    if (cobuf_has(call, message, "break")) broken = 1;
    if (broken) {
        cobuf_fail(call, "the handle is broken");
        return cobuf_has(call, message, "renew") ? COBUF_RENEW : COBUF_ERROR;
    }
    if (cobuf_has(call, message, "silent")) return 7;
    if (cobuf_has(call, message, "crash")) *nowhere = 1;
    while (cobuf_has(call, message, "until_stop") && !cobuf_stop_requested(call)) continue;
    return COBUF_OK;
}

static void close_producer(cobuf_call *call, void *producer)
{
    cobuf_log(call, COBUF_LOG_INFO, producer ? "closed another" : "closed what was opened");
}

static const cobuf_producer producer = {SCHEMA, schema, open_producer, PRODUCE, close_producer};
COBUF_EXPORT_PRODUCER("odd-producer-c", "0.1.0", producer)
