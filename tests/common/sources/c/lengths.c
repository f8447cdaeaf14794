/* A producer in C with arrays of any length, which gives one the shape that its message says: for
 * tests. It fills what it was given to the last byte, so that a wrong length would be seen. */
#include <cobuf.h>
#include <string.h>

enum { BOXES, TOKENS, ROWS };

static int schema(cobuf_call *call, const cobuf_dict *config)
{
    const size_t boxes[] = {200, 4}, tokens[] = {8, 512}, rows[] = {8};
    const size_t shape[] = {1, 1};
    if (cobuf_has(call, config, "axis")) return cobuf_declare_at_most(call, "x", COBUF_U8, 2, shape, COBUF_AXIS(2));
    if (cobuf_has(call, config, "early")) return cobuf_set_shape(call, "boxes", 2, boxes);
    if (cobuf_has(call, config, "plain")) return cobuf_declare(call, "boxes", COBUF_F32, 2, boxes);
    if (cobuf_declare_at_most(call, "boxes", COBUF_F32, 2, boxes, COBUF_AXIS(0))) return COBUF_ERROR;
    if (cobuf_declare_at_most(call, "tokens", COBUF_U16, 2, tokens, COBUF_AXIS(1))) return COBUF_ERROR;
    return cobuf_declare(call, "rows", COBUF_U8, 1, rows);
}

static int open_producer(cobuf_call *call, const cobuf_dict *config, const cobuf_worker *worker, void **producer)
{
    (void)call, (void)config, (void)worker, (void)producer;
    return COBUF_OK;
}

/* Sets the shape in the list of this name, if there is one. */
static int set_shape(cobuf_call *call, const cobuf_dict *message, const char *name)
{
    const int64_t *lengths;
    size_t shape[4], count, axis;
    if (!cobuf_has(call, message, name)) return COBUF_OK;
    if (cobuf_get_ints(call, message, name, &lengths, &count)) return COBUF_ERROR;
    for (axis = 0; axis < count && axis < 4; axis++) shape[axis] = (size_t)lengths[axis];
    return cobuf_set_shape(call, name, (uint32_t)count, shape);
}

static int produce(cobuf_call *call, void *producer, const cobuf_job *job)
{
    const cobuf_dict *message = job->message;
    uint64_t rows;
    size_t n;
    (void)producer;
    for (n = 0; n < job->arrays[BOXES].elements; n++) ((float *)job->arrays[BOXES].data)[n] = (float)n;
    if (job->array_count == 1) return COBUF_OK;
    for (n = 0; n < job->arrays[TOKENS].elements; n++) ((uint16_t *)job->arrays[TOKENS].data)[n] = (uint16_t)n;
    memset(job->arrays[ROWS].data, 7, job->arrays[ROWS].bytes);
    if (cobuf_has(call, message, "row_count")) {
        if (cobuf_get_uint(call, message, "row_count", &rows) || cobuf_set_rows(call, rows)) return COBUF_ERROR;
    }
    /* The results are not looked at: the call fails nevertheless. */
    set_shape(call, message, "boxes");
    set_shape(call, message, "tokens");
    set_shape(call, message, "rows");
    set_shape(call, message, "masks");
    if (cobuf_has(call, message, "again")) set_shape(call, message, "boxes");
    if (cobuf_has(call, message, "axes")) cobuf_set_shape(call, "boxes", UINT32_MAX, NULL);
    return COBUF_OK;
}

static const cobuf_producer producer = {NULL, schema, open_producer, produce, NULL};
COBUF_EXPORT_PRODUCER("lengths-producer-c", "0.1.0", producer)
