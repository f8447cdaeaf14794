/* cobuf.h: write producer plugins for cobuf, the concurrent buffer, in C99 or C++11.
 * Interface C/1, frozen.
 *
 * A producer fills arrays in shared memory, one batch for each message, in worker processes. It is
 * a shared library:
 *
 *     cc -O2 -shared -fPIC -I plugin-api/include -o libmine.so mine.c
 *
 * The library has one table of functions, and exports it:
 *
 *     static const cobuf_producer producer = {CONFIG_SCHEMA, schema, open_producer, produce,
 *                                             close_producer};
 *     COBUF_EXPORT_PRODUCER("mine", "0.1.0", producer)
 *
 * A whole producer is plugins/ramp-producer-c/ramp.c; one in C++ is in README.md beside this file.
 *
 *   process             calls, in this order
 *   a probe of its own  schema(config)          to learn how much memory is needed; then it ends
 *   each worker         schema(config)          must declare the same arrays
 *                       open(config, worker)    opens files, loads models
 *                       produce(job)            fills the arrays, for each message that it claims
 *                       close()                 at the end of the stream
 *
 * Threads: a process makes all calls from one thread. The plugin may have threads of its own. They
 *   may write to the job's arrays, and call cobuf_log and cobuf_stop_requested, until the call that
 *   the `call` belongs to returns. All other functions must be called from the thread of the call.
 * Lifetime: the values that a call is given (the call, dictionaries, texts, arrays) belong to the
 *   host, and end when the call returns. Copy those that you keep. The host copies the values that
 *   the plugin gives (texts, shapes, bytes) at once. The producer belongs to the plugin from `open`
 *   to `close`. The library is never unloaded. Destructors and atexit functions of a worker do not
 *   run, so tidy up in `close`.
 * Errors: 0 is success, any other value is an error. A host function that fails has recorded why,
 *   so this line is all that you need:
 *       if (cobuf_get_uint(call, message, "item", &item)) return COBUF_ERROR;
 *   `return cobuf_fail(call, "cannot open %s", path)` reports an error of the plugin's own. If an
 *   error was recorded before, it becomes the cause. A call in which something failed has failed,
 *   whatever it returns. An error of `produce` becomes the error of that batch, and the producer
 *   continues with the next message. If it cannot, because a library's handle stays broken, it
 *   returns COBUF_RENEW after cobuf_fail: `close` and `open` are called before the next message. An
 *   error of another function ends the host's start.
 * Crashes end the worker only; another worker retries the message. A C++ exception that leaves a
 *   function is a crash, too: wrap the body in cobuf::guarded, at the end of this file.
 * Memory: the address of each array is a multiple of 64. An array is row-major, and holds the
 *   values of an earlier batch: write every element. The same message must give the same bytes:
 *   depend on the configuration, the message and the random numbers below only.
 * Dictionaries are read by path: "width", "crop.left", and "boxes.3" for an entry of a list, from
 *   0. A key with a dot in it cannot be read.
 */
#ifndef COBUF_H
#define COBUF_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The version of this interface, which is in the manifest. The host must support it. */
#define COBUF_C_VERSION 1

#define COBUF_OK 0
#define COBUF_ERROR 1
/* From `produce`: an error, after which the producer is closed and opened anew. Hosts of versions
 * that did not have this value take it for an error. */
#define COBUF_RENEW 0x52454e57

/* The element types. */
enum {
    COBUF_BOOL, /* one byte that is 0 or 1 */
    COBUF_U8,
    COBUF_U16,
    COBUF_U32,
    COBUF_U64,
    COBUF_I8,
    COBUF_I16,
    COBUF_I32,
    COBUF_I64,
    COBUF_F16,  /* IEEE 754 binary16 */
    COBUF_BF16, /* the upper half of an F32 */
    COBUF_F32,
    COBUF_F64
};

/* The log levels. */
enum { COBUF_LOG_ERROR = 1, COBUF_LOG_WARN, COBUF_LOG_INFO, COBUF_LOG_DEBUG, COBUF_LOG_TRACE };

/* A message or a configuration. It belongs to the host. */
typedef struct cobuf_dict cobuf_dict;

typedef struct cobuf_host cobuf_host;

/* One call from the host to the plugin. The members without a comment belong to the host. */
typedef struct cobuf_call {
    const cobuf_host *host; /* the functions of the host; call those below instead */
    uint32_t log_level;     /* the most verbose level that the host wants; 0: none */
} cobuf_call;

/* The worker that opens a producer. Content should not depend on it. */
typedef struct cobuf_worker {
    uint32_t worker;      /* its number, from 0 */
    uint32_t workers;     /* the number of workers that the host was started with */
    uint32_t incarnation; /* how often it was started before: 0, unless it was replaced */
} cobuf_worker;

/* One array to fill. */
typedef struct cobuf_array {
    void *data;
    size_t bytes;
    size_t elements;
    const char *name;
    const size_t *shape; /* outermost first */
    uint32_t dimensions;
    uint32_t dtype;
} cobuf_array;

/* One message, and the arrays to fill from it. */
typedef struct cobuf_job {
    uint64_t sequence; /* the message's number in the stream, from 0 */
    uint64_t seed;     /* depends only on the run's seed and the sequence number */
    const cobuf_dict *message;
    const cobuf_array *arrays; /* in the order in which they were declared */
    uint32_t array_count;
    uint32_t attempt; /* the number of earlier attempts that ended with the death of a worker */
} cobuf_job;

/* A producer plugin. A member may be NULL only if its comment says so. */
typedef struct cobuf_producer {
    /* The configuration's JSON Schema, which `cobuf inspect` shows. If it has "properties", the
     * host refuses a field that they do not name. NULL accepts any dictionary. */
    const char *config_schema;
    /* Declares the arrays, by cobuf_declare. The same configuration must declare the same arrays in
     * every process. */
    int (*schema)(cobuf_call *call, const cobuf_dict *config);
    /* Makes a producer and stores it in *producer, which is NULL before and may stay NULL. */
    int (*open)(cobuf_call *call, const cobuf_dict *config, const cobuf_worker *worker, void **producer);
    /* Fills the job's arrays. */
    int (*produce)(cobuf_call *call, void *producer, const cobuf_job *job);
    /* Frees the producer that `open` made. May be NULL. */
    void (*close)(cobuf_call *call, void *producer);
} cobuf_producer;

/* The functions of the host. Plugins call the functions below, which call these. */
struct cobuf_host {
    void (*log)(cobuf_call *call, uint32_t level, const char *text);
    int (*stop_requested)(cobuf_call *call);
    void (*fail)(cobuf_call *call, const char *text);
    int (*declare)(cobuf_call *call, const char *name, uint32_t dtype, uint32_t dimensions, const size_t *shape);
    int (*has)(cobuf_call *call, const cobuf_dict *dict, const char *path);
    int (*get_bool)(cobuf_call *call, const cobuf_dict *dict, const char *path, int *value);
    int (*get_int)(cobuf_call *call, const cobuf_dict *dict, const char *path, int64_t *value);
    int (*get_uint)(cobuf_call *call, const cobuf_dict *dict, const char *path, uint64_t *value);
    int (*get_float)(cobuf_call *call, const cobuf_dict *dict, const char *path, double *value);
    int (*get_text)(cobuf_call *call, const cobuf_dict *dict, const char *path, const char **value);
    int (*get_bytes)(cobuf_call *call, const cobuf_dict *dict, const char *path, const uint8_t **bytes, size_t *count);
    int (*get_ints)(cobuf_call *call, const cobuf_dict *dict, const char *path, const int64_t **values, size_t *count);
    int (*get_length)(cobuf_call *call, const cobuf_dict *dict, const char *path, size_t *length);
    int (*get_key)(cobuf_call *call, const cobuf_dict *dict, const char *path, size_t index, const char **key);
    void (*encoded)(cobuf_call *call, const cobuf_dict *dict, const uint8_t **bytes, size_t *count);
    int (*random_bytes)(cobuf_call *call, void *bytes, size_t count);
    int (*set_rows)(cobuf_call *call, size_t rows);
    int (*put_bool)(cobuf_call *call, const char *key, int value);
    int (*put_int)(cobuf_call *call, const char *key, int64_t value);
    int (*put_float)(cobuf_call *call, const char *key, double value);
    int (*put_text)(cobuf_call *call, const char *key, const char *value);
};

/* Functions of the host that came after cobuf_host, which is frozen. */
typedef struct cobuf_lengths {
    int (*declare_at_most)(cobuf_call *call, const char *name, uint32_t dtype, uint32_t dimensions,
                           const size_t *shape, uint32_t axes);
    int (*set_shape)(cobuf_call *call, const char *name, uint32_t dimensions, const size_t *shape);
} cobuf_lengths;

/* COBUF_EXPORT_PRODUCER defines it, and a host that has these functions sets it before its first
 * call. In an older host it stays NULL. */
extern __attribute__((visibility("default"))) const cobuf_lengths *cobuf_producer_lengths;

/* The most bytes of a formatted text; a longer text is cut. */
#define COBUF_TEXT_BYTES 2048

#if defined(__GNUC__)
#define COBUF_PRINTF(text, first) __attribute__((format(printf, text, first)))
#else
#define COBUF_PRINTF(text, first)
#endif

/* ---- Anywhere ------------------------------------------------------------------------------- */

/* Writes a record to the application's log, with the plugin and the worker named; format as in
 * printf. May be called from any thread. */
COBUF_PRINTF(3, 4) static inline void cobuf_log(cobuf_call *call, uint32_t level, const char *format, ...)
{
    char text[COBUF_TEXT_BYTES];
    va_list arguments;
    if (level > call->log_level) return;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    call->host->log(call, level, text);
}

/* Records why this call fails, format as in printf. Returns COBUF_ERROR, for the caller to return.
 * A good text is in lower case, and says what failed, with which value, and what to do: "cannot
 * read scan.png: it has 0 bytes; copy it again". */
COBUF_PRINTF(2, 3) static inline int cobuf_fail(cobuf_call *call, const char *format, ...)
{
    char text[COBUF_TEXT_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    call->host->fail(call, text);
    return COBUF_ERROR;
}

/* Whether the host wants to stop. Long work should check it now and then, and return any value. A
 * worker that is still busy after the host's grace period is killed. Any thread may call it. */
static inline int cobuf_stop_requested(cobuf_call *call) { return call->host->stop_requested(call); }

/* ---- In `schema` ---------------------------------------------------------------------------- */

/* Declares the next array: its name, element type, number of dimensions, and their lengths,
 * outermost first. */
static inline int cobuf_declare(cobuf_call *call, const char *name, uint32_t dtype, uint32_t dimensions,
                                const size_t *shape)
{
    return call->host->declare(call, name, dtype, dimensions, shape);
}

/* The axis n, from 0, in a set of axes: COBUF_AXIS(0) | COBUF_AXIS(2). */
#define COBUF_AXIS(n) ((uint32_t)1 << (n))

/* As cobuf_declare, for an array of which each batch has a length of its own along these axes, from
 * 0 to the declared one: boxes of which a picture has up to 200, or a sequence of up to 512 tokens.
 * Fails in a host that is older than this function. */
static inline int cobuf_declare_at_most(cobuf_call *call, const char *name, uint32_t dtype, uint32_t dimensions,
                                        const size_t *shape, uint32_t axes)
{
    if (!cobuf_producer_lengths)
        return cobuf_fail(call,
                          "array \"%.100s\" has axes that are at most n, which this host does not know; update cobuf, "
                          "or declare fixed lengths",
                          name);
    return cobuf_producer_lengths->declare_at_most(call, name, dtype, dimensions, shape, axes);
}

/* ---- Messages and configurations ------------------------------------------------------------ */

/* Whether the dictionary has a value at the path that is not null. Never fails. */
static inline int cobuf_has(cobuf_call *call, const cobuf_dict *dict, const char *path)
{
    return call->host->has(call, dict, path);
}

/* These functions read the value at the path. They fail if there is no value, or one of another
 * type. Then they leave *value unchanged, so that it can hold a default:
 *     if (cobuf_has(call, config, "gain") && cobuf_get_float(call, config, "gain", &gain)) … */

/* A boolean, as 0 or 1. */
static inline int cobuf_get_bool(cobuf_call *call, const cobuf_dict *dict, const char *path, int *value)
{
    return call->host->get_bool(call, dict, path, value);
}

/* An integer. */
static inline int cobuf_get_int(cobuf_call *call, const cobuf_dict *dict, const char *path, int64_t *value)
{
    return call->host->get_int(call, dict, path, value);
}

/* An integer of at least 0. */
static inline int cobuf_get_uint(cobuf_call *call, const cobuf_dict *dict, const char *path, uint64_t *value)
{
    return call->host->get_uint(call, dict, path, value);
}

/* A number; an integer is accepted, too. */
static inline int cobuf_get_float(cobuf_call *call, const cobuf_dict *dict, const char *path, double *value)
{
    return call->host->get_float(call, dict, path, value);
}

/* A text in UTF-8 that ends with a zero byte. */
static inline int cobuf_get_text(cobuf_call *call, const cobuf_dict *dict, const char *path, const char **value)
{
    return call->host->get_text(call, dict, path, value);
}

/* Bytes. */
static inline int cobuf_get_bytes(cobuf_call *call, const cobuf_dict *dict, const char *path, const uint8_t **bytes,
                                  size_t *count)
{
    return call->host->get_bytes(call, dict, path, bytes, count);
}

/* A list of integers at once, such as the items of a batch. */
static inline int cobuf_get_ints(cobuf_call *call, const cobuf_dict *dict, const char *path, const int64_t **values,
                                 size_t *count)
{
    return call->host->get_ints(call, dict, path, values, count);
}

/* The number of entries of a list or a dictionary; "" is the path of the whole dictionary. */
static inline int cobuf_get_length(cobuf_call *call, const cobuf_dict *dict, const char *path, size_t *length)
{
    return call->host->get_length(call, dict, path, length);
}

/* The key of a dictionary's entry, counted from 0. */
static inline int cobuf_get_key(cobuf_call *call, const cobuf_dict *dict, const char *path, size_t index,
                                const char **key)
{
    return call->host->get_key(call, dict, path, index, key);
}

/* The number at an index of a list, such as a weight; an integer is accepted, too. With
 * cobuf_get_length it reads a list of numbers, one after the other. */
static inline int cobuf_get_float_at(cobuf_call *call, const cobuf_dict *dict, const char *path, size_t index,
                                     double *value)
{
    char entry[COBUF_TEXT_BYTES];
    int length = snprintf(entry, sizeof entry, "%s.%lu", path, (unsigned long)index);
    if (length < 0 || (size_t)length >= sizeof entry) return cobuf_fail(call, "the path %.100s is too long", path);
    return call->host->get_float(call, dict, entry, value);
}

/* A list of numbers at once, into an array of the plugin's with room for exactly `count`: another
 * length is an error that names both. */
static inline int cobuf_get_floats(cobuf_call *call, const cobuf_dict *dict, const char *path, double *values,
                                   size_t count)
{
    size_t length = 0, index;
    if (call->host->get_length(call, dict, path, &length)) return COBUF_ERROR;
    if (length != count)
        return cobuf_fail(call, "%s has %lu entries, expected %lu", path, (unsigned long)length, (unsigned long)count);
    for (index = 0; index < count; index++)
        if (cobuf_get_float_at(call, dict, path, index, &values[index])) return COBUF_ERROR;
    return COBUF_OK;
}

/* The whole dictionary as it was sent, a MessagePack map, for plugins with a decoder of their own.
 * Never fails. */
static inline void cobuf_encoded(cobuf_call *call, const cobuf_dict *dict, const uint8_t **bytes, size_t *count)
{
    call->host->encoded(call, dict, bytes, count);
}

/* ---- In `produce` --------------------------------------------------------------------------- */

/* Random bytes of the message's generator: ChaCha8, seeded with the message's seed. They are the
 * same whenever the message is produced, and equal those of a Rust plugin's
 * `context.rng().fill_bytes()`. Each call takes whole words of 4 bytes from the generator. */
static inline int cobuf_random_bytes(cobuf_call *call, void *bytes, size_t count)
{
    return call->host->random_bytes(call, bytes, count);
}

/* A random number of 64 bits; equals Rust's `context.rng().random::<u64>()`. */
static inline uint64_t cobuf_random_u64(cobuf_call *call)
{
    uint64_t bits = 0;
    call->host->random_bytes(call, &bits, sizeof bits);
    return bits;
}

/* A random number from 0 to below 1; equals Rust's `context.rng().random::<f64>()`. */
static inline double cobuf_random_f64(cobuf_call *call)
{
    return (double)(cobuf_random_u64(call) >> 11) / 9007199254740992.0; /* 2 to the power of 53 */
}

/* A random integer from 0 to below `bound`, each as likely as any other; 0 if `bound` is 0. Rust's
 * `random_range` takes its numbers another way and gives others. */
static inline uint64_t cobuf_random_below(cobuf_call *call, uint64_t bound)
{
    uint64_t bits, surplus;
    if (bound == 0) return 0;
    surplus = (UINT64_MAX % bound + 1) % bound; /* so many of the greatest numbers are one too many */
    do {
        bits = cobuf_random_u64(call);
    } while (bits > UINT64_MAX - surplus);
    return bits % bound;
}

/* A random number from `low` to below `high`. */
static inline double cobuf_random_between(cobuf_call *call, double low, double high)
{
    return low + (high - low) * cobuf_random_f64(call);
}

/* Sets the batch's number of rows, which are the entries along the first axis of every array, if it
 * has fewer than were declared. An array whose first axis is at most n has a length of its own
 * instead. */
static inline int cobuf_set_rows(cobuf_call *call, size_t rows) { return call->host->set_rows(call, rows); }

/* Sets the shape that an array has in this batch, once: along the axes of cobuf_declare_at_most
 * from 0 to the declared length, along all others the declared one, or the number of rows that was
 * set before. The batch then has the array's first elements, packed: those of a batch of shape
 * {17, 4} are the first 68. An array whose shape is not set is as long as declared. The members of
 * cobuf_array do not change. */
static inline int cobuf_set_shape(cobuf_call *call, const char *name, uint32_t dimensions, const size_t *shape)
{
    if (!cobuf_producer_lengths)
        return cobuf_fail(call, "the shape of array \"%.100s\" cannot be set in this host; update cobuf", name);
    return cobuf_producer_lengths->set_shape(call, name, dimensions, shape);
}

/* These functions attach an entry to the batch, which the application reads from its metadata. */

static inline int cobuf_put_bool(cobuf_call *call, const char *key, int value)
{
    return call->host->put_bool(call, key, value);
}

static inline int cobuf_put_int(cobuf_call *call, const char *key, int64_t value)
{
    return call->host->put_int(call, key, value);
}

static inline int cobuf_put_float(cobuf_call *call, const char *key, double value)
{
    return call->host->put_float(call, key, value);
}

static inline int cobuf_put_text(cobuf_call *call, const char *key, const char *value)
{
    return call->host->put_text(call, key, value);
}

#ifdef __cplusplus
}

/* ---- In C++ --------------------------------------------------------------------------------- */

#if defined(__cpp_exceptions) || defined(__EXCEPTIONS)
#include <exception>

namespace cobuf {
namespace detail {

/* Records the exception's text; that of a nested exception becomes its cause. */
inline void record(cobuf_call *call, const std::exception &error)
{
    try {
        std::rethrow_if_nested(error);
    } catch (const std::exception &cause) {
        record(call, cause);
    } catch (...) {
        cobuf_fail(call, "an exception without a text");
    }
    cobuf_fail(call, "%s", error.what());
}

template <typename Body> auto result_of(Body &body, int) -> decltype(static_cast<int>(body())) { return body(); }

template <typename Body> int result_of(Body &body, long)
{
    body();
    return COBUF_OK;
}

} // namespace detail

/* Calls `body`, which returns nothing or one of the three results above. An exception becomes the error of
 * this call, with its text. No exception may leave a function that the host calls:
 *     int produce(cobuf_call *call, void *producer, const cobuf_job *job)
 *     {
 *         return cobuf::guarded(call, [&] { static_cast<Mine *>(producer)->produce(call, *job); });
 *     } */
template <typename Body> int guarded(cobuf_call *call, Body body) noexcept
{
    try {
        return detail::result_of(body, 0);
    } catch (const std::exception &error) {
        detail::record(call, error);
    } catch (...) {
        cobuf_fail(call, "an exception without a text");
    }
    return COBUF_ERROR;
}

} // namespace cobuf
#endif
#endif

#include "cobuf_manifest.h" /* COBUF_EXPORT_PRODUCER(name, version, producer) */

#endif
