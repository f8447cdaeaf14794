/* A producer in C: for each item of the message, a ramp with some noise, and the item's number.
 *
 *     cc -std=c99 -O2 -shared -fPIC -I ../../plugin-api/include -o libramp_producer_c.so ramp.c
 *
 * It is a model for authors: it checks its configuration, makes its state in `open`, shortens the
 * last batch, attaches metadata, has errors that say what to do, and ends long work when the host
 * wants to stop. It works with any commander whose messages have `items`, such as the
 * index-commander.
 */
#include <cobuf.h>
#include <stdlib.h>

static const char CONFIG_SCHEMA[] =
    "{\"type\": \"object\","
    " \"properties\": {"
    "  \"batch_size\": {\"type\": \"integer\", \"description\": \"the most items of a message\"},"
    "  \"width\": {\"type\": \"integer\", \"description\": \"the length of a ramp\"},"
    "  \"noise\": {\"type\": \"number\", \"default\": 0, \"description\": \"how far a value is moved at most\"}"
    " },"
    " \"required\": [\"batch_size\", \"width\"]}";

/* The arrays, in the order in which they are declared. */
enum { RAMP, LEVEL, ITEM };

typedef struct ramp_producer {
    size_t batch_size;
    size_t width;
    double noise;
} ramp_producer;

static int read_config(cobuf_call *call, const cobuf_dict *config, ramp_producer *read)
{
    uint64_t batch_size, width;
    read->noise = 0;
    if (cobuf_get_uint(call, config, "batch_size", &batch_size)) return COBUF_ERROR;
    if (cobuf_get_uint(call, config, "width", &width)) return COBUF_ERROR;
    if (cobuf_has(call, config, "noise") && cobuf_get_float(call, config, "noise", &read->noise)) return COBUF_ERROR;
    if (batch_size == 0) return cobuf_fail(call, "batch_size is 0, expected at least 1");
    if (width == 0) return cobuf_fail(call, "width is 0, expected at least 1");
    if (!(read->noise >= 0 && read->noise <= 1)) return cobuf_fail(call, "noise is %g, expected 0 to 1", read->noise);
    read->batch_size = (size_t)batch_size;
    read->width = (size_t)width;
    return COBUF_OK;
}

static int schema(cobuf_call *call, const cobuf_dict *config)
{
    ramp_producer ramp;
    size_t shape[2];
    if (read_config(call, config, &ramp)) return COBUF_ERROR;
    shape[0] = ramp.batch_size;
    shape[1] = ramp.width;
    if (cobuf_declare(call, "ramp", COBUF_F32, 2, shape)) return COBUF_ERROR;
    if (cobuf_declare(call, "level", COBUF_U8, 2, shape)) return COBUF_ERROR;
    return cobuf_declare(call, "item", COBUF_I64, 1, shape);
}

static int open_producer(cobuf_call *call, const cobuf_dict *config, const cobuf_worker *worker, void **producer)
{
    ramp_producer *ramp = (ramp_producer *)malloc(sizeof *ramp);
    if (!ramp) return cobuf_fail(call, "cannot allocate %zu bytes for the producer", sizeof *ramp);
    if (read_config(call, config, ramp)) {
        free(ramp);
        return COBUF_ERROR;
    }
    *producer = ramp;
    cobuf_log(call, COBUF_LOG_DEBUG, "worker %u of %u makes ramps", worker->worker, worker->workers);
    return COBUF_OK;
}

/* One row: it starts at the item's own height, and rises by 1 over the width. */
static void fill_row(cobuf_call *call, const ramp_producer *ramp, int64_t item, float *row, uint8_t *level)
{
    size_t x;
    for (x = 0; x < ramp->width; x++) {
        double value = (double)(item % 16) + (double)x / (double)ramp->width;
        if (ramp->noise > 0) value += ramp->noise * (2 * cobuf_random_f64(call) - 1);
        row[x] = (float)value;
        level[x] = (uint8_t)(value < 0 ? 0 : value * 15);
    }
}

static int produce(cobuf_call *call, void *producer, const cobuf_job *job)
{
    const ramp_producer *ramp = (const ramp_producer *)producer;
    float *ramps = (float *)job->arrays[RAMP].data;
    uint8_t *levels = (uint8_t *)job->arrays[LEVEL].data;
    int64_t *numbers = (int64_t *)job->arrays[ITEM].data;
    const int64_t *items;
    size_t count, row;

    if (cobuf_get_ints(call, job->message, "items", &items, &count)) return COBUF_ERROR;
    if (count > ramp->batch_size)
        return cobuf_fail(call, "the message has %zu items, a batch has room for %zu; raise batch_size", count,
                          ramp->batch_size);
    if (cobuf_set_rows(call, count)) return COBUF_ERROR;
    for (row = 0; row < count; row++) {
        if (items[row] < 0) return cobuf_fail(call, "item %lld is negative, expected 0 or more", (long long)items[row]);
        if (cobuf_stop_requested(call)) return COBUF_OK;
        fill_row(call, ramp, items[row], ramps + row * ramp->width, levels + row * ramp->width);
        numbers[row] = items[row];
    }
    return cobuf_put_float(call, "noise", ramp->noise);
}

static void close_producer(cobuf_call *call, void *producer)
{
    (void)call;
    free(producer);
}

static const cobuf_producer producer = {CONFIG_SCHEMA, schema, open_producer, produce, close_producer};
COBUF_EXPORT_PRODUCER("ramp-producer-c", "0.1.0", producer)
