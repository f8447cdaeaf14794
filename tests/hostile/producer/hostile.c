/* A producer that was taken over: it attacks in one message, and works in all others.
 *
 *     cc -std=gnu99 -pthread -shared -fPIC -I ../../../plugin-api/include -o libhostile.so *.c
 *
 *   configuration   attack, and the test's files and processes
 *   message         index; and the numbers of processes and addresses that the test sees after the start
 *   batch           x[i] = 1000003 * index + i
 *   attacked batch  its error: "refused: …", "SUCCEEDED: …" or "broken: …"; or a batch like the others
 *
 * It attacks only if a seccomp filter is in force. Without one, it makes the attacks that are marked as
 * harmless, if its configuration says `unjailed`: so a test sees that they succeed where nothing refuses them.
 */
#include "hostile.h"
#include <cobuf.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#define ELEMENTS 512

static const char CONFIG_SCHEMA[] =
    "{\"type\": \"object\", \"properties\": {"
    " \"attack\": {\"type\": \"string\", \"description\": \"the name of an attack, or nothing\"},"
    " \"at\": {\"type\": \"integer\", \"description\": \"the message that attacks\"},"
    " \"unjailed\": {\"type\": \"boolean\", \"description\": \"attack without a jail, if it is harmless\"},"
    " \"outside\": {\"type\": \"string\"}, \"readable\": {\"type\": \"string\"}, \"room\": {\"type\": \"string\"},"
    " \"address\": {\"type\": \"string\"}, \"abstract_name\": {\"type\": \"string\"}, \"fill\": {\"type\": \"string\"}, \"port\": {\"type\": \"integer\"},"
    " \"host\": {\"type\": \"integer\"}, \"bystander\": {\"type\": \"integer\"}, \"slots\": {\"type\": \"integer\"}"
    "}, \"required\": [\"attack\", \"at\"]}";

typedef struct producer_state {
    char *attack;
    uint64_t at;
    int unjailed;
    scene scene;
} producer_state;

static int read_text(cobuf_call *call, const cobuf_dict *config, const char *path, const char **copy)
{
    const char *text = "";
    if (cobuf_has(call, config, path) && cobuf_get_text(call, config, path, &text)) return COBUF_ERROR;
    *copy = strdup(text);
    return *copy ? COBUF_OK : cobuf_fail(call, "no memory for %s", path);
}

static int read_pid(cobuf_call *call, const cobuf_dict *dict, const char *path, pid_t *pid)
{
    int64_t number = 0;
    if (cobuf_has(call, dict, path) && cobuf_get_int(call, dict, path, &number)) return COBUF_ERROR;
    *pid = (pid_t)number;
    return COBUF_OK;
}

/* Opens the root folder, which no jail allows; 0 or the error. */
static int open_root(void)
{
    int root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root == -1) return errno;
    close(root);
    return 0;
}

static int at_load = -1;

__attribute__((constructor)) static void attack_at_load(void) { at_load = open_root(); }

static outcome in_constructor(const scene *at)
{
    (void)at;
    errno = at_load;
    return tried("open the root folder when the plugin is loaded", at_load ? -1 : 0);
}

/* Those in the functions before `produce` are made there; in the message nothing is left to be done. */
static outcome done_before(const scene *at)
{
    (void)at;
    return unseen("");
}

static const attack BEFORE[] = {
    {"in_constructor", in_constructor, HARMLESS},
    {"in_schema", done_before, HARMLESS},
    {"in_open", done_before, HARMLESS},
    {NULL, NULL, 0},
};

static const attack *const KINDS[] = {BEFORE, FILES,     NETWORK, INHERITED, OUTPUT, PROCESSES, SIGNALS,
                                      MEMORY, RESOURCES, BOMBS,   KERNEL,    SEGMENT,   WATCHED};

static const attack *find(const char *name)
{
    size_t kind;
    const attack *one;
    for (kind = 0; kind < sizeof KINDS / sizeof *KINDS; kind++)
        for (one = KINDS[kind]; one->name; one++)
            if (strcmp(one->name, name) == 0) return one;
    return NULL;
}

/* An error of the call if it is the one to attack in, and has its way. */
static int attack_before(cobuf_call *call, const char *name, const char *here)
{
    if (strcmp(name, here) != 0 || open_root() != 0) return COBUF_OK;
    return cobuf_fail(call, "SUCCEEDED: open the root folder %s", here);
}

static int schema(cobuf_call *call, const cobuf_dict *config)
{
    size_t shape = ELEMENTS;
    const char *name;
    if (cobuf_get_text(call, config, "attack", &name)) return COBUF_ERROR;
    if (*name && !find(name)) return cobuf_fail(call, "there is no attack %s", name);
    if (attack_before(call, name, "in_schema")) return COBUF_ERROR;
    return cobuf_declare(call, "x", COBUF_U64, 1, &shape);
}

static int open_producer(cobuf_call *call, const cobuf_dict *config, const cobuf_worker *worker, void **producer)
{
    producer_state *state = calloc(1, sizeof *state);
    const char *name;
    Dl_info info;
    (void)worker;
    if (!state) return cobuf_fail(call, "no memory");
    *producer = state;
    if (read_text(call, config, "attack", &name)) return COBUF_ERROR;
    state->attack = (char *)name;
    if (attack_before(call, name, "in_open")) return COBUF_ERROR;
    if (cobuf_get_uint(call, config, "at", &state->at)) return COBUF_ERROR;
    if (cobuf_has(call, config, "unjailed") && cobuf_get_bool(call, config, "unjailed", &state->unjailed))
        return COBUF_ERROR;
    if (read_text(call, config, "outside", &state->scene.outside)) return COBUF_ERROR;
    if (read_text(call, config, "readable", &state->scene.readable)) return COBUF_ERROR;
    if (read_text(call, config, "room", &state->scene.room)) return COBUF_ERROR;
    if (read_text(call, config, "address", &state->scene.server_address)) return COBUF_ERROR;
    if (read_text(call, config, "abstract_name", &state->scene.abstract_name)) return COBUF_ERROR;
    if (read_text(call, config, "fill", &state->scene.fill)) return COBUF_ERROR;
    if (cobuf_has(call, config, "port") && cobuf_get_uint(call, config, "port", &state->scene.port)) return COBUF_ERROR;
    if (cobuf_has(call, config, "slots") && cobuf_get_uint(call, config, "slots", &state->scene.slots))
        return COBUF_ERROR;
    if (read_pid(call, config, "host", &state->scene.host)) return COBUF_ERROR;
    if (read_pid(call, config, "bystander", &state->scene.bystander)) return COBUF_ERROR;
    state->scene.plugin = dladdr((const void *)CONFIG_SCHEMA, &info) ? info.dli_fname : "";
    return COBUF_OK;
}

/* Completes the scene with what the test saw after the start: the workers, and where they mapped the segment. */
static int look_around(cobuf_call *call, const cobuf_job *job, scene *scene)
{
    const int64_t *workers, *starts;
    size_t count, others, index;
    uint64_t bytes;
    if (read_pid(call, job->message, "server", &scene->server)) return COBUF_ERROR;
    if (cobuf_get_ints(call, job->message, "workers", &workers, &count)) return COBUF_ERROR;
    if (cobuf_get_ints(call, job->message, "segments", &starts, &others)) return COBUF_ERROR;
    if (cobuf_get_uint(call, job->message, "segment_bytes", &bytes)) return COBUF_ERROR;
    for (index = 0; index < count && index < others; index++) {
        if (workers[index] == getpid())
            scene->segment = (uint8_t *)(uintptr_t)starts[index];
        else
            scene->sibling = (pid_t)workers[index];
    }
    scene->segment_bytes = (size_t)bytes;
    scene->sequence = job->sequence;
    scene->array = job->arrays[0].data;
    return COBUF_OK;
}

/* Whether a filter is in force. One that refuses this very question is. */
static int is_jailed(void)
{
    int mode = prctl(PR_GET_SECCOMP, 0, 0, 0, 0);
    return mode == 2 || (mode == -1 && (errno == EPERM || errno == EACCES));
}

/* Makes the attack. COBUF_OK: the message is to be worked on as if nothing had happened. */
static int attack_now(cobuf_call *call, const producer_state *state, const scene *scene)
{
    const attack *attack = find(state->attack);
    outcome outcome;
    if (!is_jailed() && !(state->unjailed && attack->harmless))
        return cobuf_fail(call, "not attacked: no seccomp filter is in force");
    cobuf_log(call, COBUF_LOG_INFO, "attacks: %s", attack->name);
    outcome = attack->run(scene);
    switch (outcome.result) {
    case REFUSED: return cobuf_fail(call, "refused: %s: %s", outcome.what, strerror(outcome.error));
    case SUCCEEDED: return cobuf_fail(call, "SUCCEEDED: %s", outcome.what);
    case BROKEN: return cobuf_fail(call, "broken: %s: %s", outcome.what, strerror(outcome.error));
    case HANGS:
        for (;;) pause();
    case UNSEEN: break;
    }
    return COBUF_OK;
}

static int produce(cobuf_call *call, void *producer, const cobuf_job *job)
{
    const producer_state *state = producer;
    uint64_t *x = job->arrays[0].data, index, i;
    scene scene = state->scene;
    if (cobuf_get_uint(call, job->message, "index", &index)) return COBUF_ERROR;
    if (*state->attack && job->sequence == state->at) {
        if (look_around(call, job, &scene)) return COBUF_ERROR;
        if (attack_now(call, state, &scene)) return COBUF_ERROR;
    }
    if (strcmp(state->attack, "hang_in_cut_library") == 0 && job->sequence > state->at &&
        job->sequence <= state->at + 2)
        help(&scene, job->sequence - state->at);
    for (i = 0; i < ELEMENTS; i++) x[i] = 1000003 * index + i;
    return COBUF_OK;
}

static void close_producer(cobuf_call *call, void *producer)
{
    (void)call;
    free(producer); /* the process ends; the texts end with it */
}

static const cobuf_producer producer = {CONFIG_SCHEMA, schema, open_producer, produce, close_producer};
COBUF_EXPORT_PRODUCER("hostile-producer", "0.1.0", producer)
