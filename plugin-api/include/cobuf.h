/* cobuf.h: write producer plugins for cobuf, the concurrent buffer, in C99 or C++11. Interface C/1, frozen.
 *
 * A producer fills arrays in shared memory, one batch a message, in worker processes of its own. It is a shared library:
 *
 *     cc -O2 -shared -fPIC -I plugin-api/include -o libmine.so mine.c
 *
 * that has one table of functions, and exports it:
 *
 *     static const cobuf_producer producer = {CONFIG_SCHEMA, schema, open_producer, produce, close_producer};
 *     COBUF_EXPORT_PRODUCER("mine", "0.1.0", producer)
 *
 * A whole one is plugins/ramp-producer-c/ramp.c; one in C++ is in README.md beside this file.
 *
 *   process             calls, in this order
 *   a probe of its own  schema(config)                                    how much memory is needed? the process then ends
 *   each worker         schema(config)                                    it must say the same
 *                       open(config, worker)                              open files, load models
 *                       produce(job) for each message that it gets        fill the arrays
 *                       close()                                           at the end of the stream
 *
 * Threads: a process calls from one thread, always the same. The plugin may have threads of its own. They may write to the
 *   job's arrays, and call cobuf_log and cobuf_stop_requested, until the call that the `call` belongs to returns; all other
 *   functions belong to the thread that was called.
 * Lifetime: what a call is given (the call, dictionaries, texts, arrays) is the host's, and gone when the call returns. Copy
 *   what is to stay. What the plugin gives (texts, shapes, bytes) is copied at once. The producer is the plugin's from `open`
 *   to `close`. The library is never unloaded; destructors and atexit functions of a worker do not run: tidy up in `close`.
 * Errors: 0 is good, anything else is an error. A host function that fails has said why, so that
 *       if (cobuf_get_uint(call, message, "item", &item)) return COBUF_ERROR;
 *   is all there is to do. `return cobuf_fail(call, "cannot open %s", path)` is an error of the plugin's own; where there was one
 *   before, that becomes its cause. A call in which something failed has failed, whatever it returns. An error of `produce`
 *   becomes the error of that batch, and the producer goes on with the next message; an error of another ends the host's start.
 * Crashes end the worker only; another one does the message again. So does a C++ exception that leaves a function: catch them.
 * Memory: each array begins at an address that is a multiple of 64. It is row-major, and holds what an earlier batch left: write
 *   every element. The same message must give the same bytes: depend on the configuration, the message and the random
 *   numbers below only.
 * Dictionaries are read by path: "width", "crop.left", and "boxes.3" for an entry of a list, from 0. A key with a dot in it
 *   cannot be read.
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

/* The version of this interface: what the manifest says, and the host must speak. */
#define COBUF_C_VERSION 1

#define COBUF_OK 0
#define COBUF_ERROR 1

/* The types of elements. */
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

/* The levels of logs. */
enum { COBUF_LOG_ERROR = 1, COBUF_LOG_WARN, COBUF_LOG_INFO, COBUF_LOG_DEBUG, COBUF_LOG_TRACE };

/* A message or a configuration; the host's. */
typedef struct cobuf_dict cobuf_dict;

typedef struct cobuf_host cobuf_host;

/* One call of the host's to the plugin; what is not named here is the host's. */
typedef struct cobuf_call {
    const cobuf_host *host; /* behind the functions below */
    uint32_t log_level;     /* the most verbose level that the host wants; 0: none */
} cobuf_call;

/* Which worker opens a producer. Content should not depend on it. */
typedef struct cobuf_worker {
    uint32_t worker;      /* its number, from 0 */
    uint32_t workers;     /* how many there are */
    uint32_t incarnation; /* how often it was started before: 0, unless it died and was replaced */
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
    uint64_t seed;     /* follows from the run's seed and the sequence number only */
    const cobuf_dict *message;
    const cobuf_array *arrays; /* as they were declared, in that order */
    uint32_t array_count;
    uint32_t attempt; /* how many attempts at the message ended in a worker's death before */
} cobuf_job;

/* A producer plugin. None may be NULL where not said otherwise. */
typedef struct cobuf_producer {
    /* The configuration's JSON Schema, which `cobuf inspect` shows. Where it has "properties", a field that they do not name is
     * refused. NULL: any dictionary will do. */
    const char *config_schema;
    /* Declares the arrays, by cobuf_declare: the same ones for the same configuration, in every process. */
    int (*schema)(cobuf_call *call, const cobuf_dict *config);
    /* Makes a producer, and puts it into *producer, which is NULL before and may stay so. */
    int (*open)(cobuf_call *call, const cobuf_dict *config, const cobuf_worker *worker, void **producer);
    /* Fills the job's arrays. */
    int (*produce)(cobuf_call *call, void *producer, const cobuf_job *job);
    /* Gives up what `open` made. May be NULL. */
    void (*close)(cobuf_call *call, void *producer);
} cobuf_producer;

/* What the host can do: the functions behind those below, which are what plugins call. */
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

/* The most of a formatted text, in bytes; what is longer is cut. */
#define COBUF_TEXT_BYTES 2048

#if defined(__GNUC__)
#define COBUF_PRINTF(text, first) __attribute__((format(printf, text, first)))
#else
#define COBUF_PRINTF(text, first)
#endif

/* ---- Anywhere --------------------------------------------------------------------------------------------------------- */

/* Says something in the application's log, with the plugin and the worker named; as printf. From any thread. */
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

/* Says why this call fails, as printf; gives COBUF_ERROR, to be returned. A good text says what failed, with which value, and
 * what to do, in lower case: "cannot read scan.png: it has 0 bytes; copy it again". */
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

/* Whether the host wants to stop. Long work should look now and then, and return anything: what takes longer than the host's
 * patience is killed. From any thread. */
static inline int cobuf_stop_requested(cobuf_call *call) { return call->host->stop_requested(call); }

/* ---- In `schema` ------------------------------------------------------------------------------------------------------ */

/* Declares one more array: name, element type, dimensions and their lengths, outermost first. */
static inline int cobuf_declare(cobuf_call *call, const char *name, uint32_t dtype, uint32_t dimensions,
                                const size_t *shape)
{
    return call->host->declare(call, name, dtype, dimensions, shape);
}

/* ---- Messages and configurations -------------------------------------------------------------------------------------- */

/* Whether there is something at the path, and it is not null. Never fails. */
static inline int cobuf_has(cobuf_call *call, const cobuf_dict *dict, const char *path)
{
    return call->host->has(call, dict, path);
}

/* These read what is at the path, and fail where there is nothing, or something of another type. *value is left alone then, so
 * that it can hold a default:  if (cobuf_has(call, config, "gain") && cobuf_get_float(call, config, "gain", &gain)) … */

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

/* An integer from 0. */
static inline int cobuf_get_uint(cobuf_call *call, const cobuf_dict *dict, const char *path, uint64_t *value)
{
    return call->host->get_uint(call, dict, path, value);
}

/* A number; an integer is good too. */
static inline int cobuf_get_float(cobuf_call *call, const cobuf_dict *dict, const char *path, double *value)
{
    return call->host->get_float(call, dict, path, value);
}

/* A text in UTF-8, with a zero at its end. */
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

/* The number of entries of a list or a dictionary; "" is the path of the whole. */
static inline int cobuf_get_length(cobuf_call *call, const cobuf_dict *dict, const char *path, size_t *length)
{
    return call->host->get_length(call, dict, path, length);
}

/* The key of a dictionary's entry, from 0. */
static inline int cobuf_get_key(cobuf_call *call, const cobuf_dict *dict, const char *path, size_t index,
                                const char **key)
{
    return call->host->get_key(call, dict, path, index, key);
}

/* The whole dictionary as it came, a MessagePack map, for plugins that have a decoder of their own. Never fails. */
static inline void cobuf_encoded(cobuf_call *call, const cobuf_dict *dict, const uint8_t **bytes, size_t *count)
{
    call->host->encoded(call, dict, bytes, count);
}

/* ---- In `produce` ----------------------------------------------------------------------------------------------------- */

/* Random bytes of the message's generator: ChaCha8, seeded by the message's seed; the same ones whenever the message is done, and
 * those that a Rust plugin's `context.rng().fill_bytes()` has. Takes whole words of 4 bytes from it. */
static inline int cobuf_random_bytes(cobuf_call *call, void *bytes, size_t count)
{
    return call->host->random_bytes(call, bytes, count);
}

/* A random number of all 64 bits; Rust's `context.rng().random::<u64>()`. */
static inline uint64_t cobuf_random_u64(cobuf_call *call)
{
    uint64_t bits = 0;
    call->host->random_bytes(call, &bits, sizeof bits);
    return bits;
}

/* A random number from 0 to below 1; Rust's `context.rng().random::<f64>()`. */
static inline double cobuf_random_f64(cobuf_call *call)
{
    return (double)(cobuf_random_u64(call) >> 11) / 9007199254740992.0; /* 2 to the power of 53 */
}

/* Says that the batch has fewer rows, entries along the first axis of every array, than were declared. */
static inline int cobuf_set_rows(cobuf_call *call, size_t rows) { return call->host->set_rows(call, rows); }

/* These attach an entry to the batch, which the application reads from its metadata. */

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
#endif

#include "cobuf_manifest.h" /* COBUF_EXPORT_PRODUCER(name, version, producer) */

#endif
