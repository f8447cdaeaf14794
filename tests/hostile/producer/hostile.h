/* What the hostile producer's files share: the scene of an attack, and what came of it. */
#ifndef HOSTILE_H
#define HOSTILE_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <sys/un.h>
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define PATH_BYTES 1024

/* What the attacker knows. The test tells it more than a worker could find out in its jail. */
typedef struct scene {
    const char *outside;  /* a folder that no jail allows, with the files `secret` and `victim` */
    const char *readable; /* one that the jail may allow to read, with the file `data` */
    const char *room;     /* one that the jail may allow to write */
    const char *server_address; /* of a Unix socket that the test listens at, for datagrams */
    const char *abstract_name;  /* of another such socket */
    uint64_t port;        /* a TCP port of the test on the loopback */
    pid_t host, server, sibling, bystander;
    const char *plugin; /* the file that this code was loaded from */
    /* For the segment only. */
    uint8_t *segment;
    size_t segment_bytes;
    uint64_t slots;
    uint64_t sequence;
    const char *fill; /* zeros, ones or noise */
    const void *array;
} scene;

typedef enum { REFUSED, SUCCEEDED, BROKEN, UNSEEN, HANGS } result;

/* What came of an attack. UNSEEN: it gives no answer, the test looks at its effect. BROKEN: it failed for
 * another reason than a refusal, so it proves nothing. HANGS: the worker is to stay in `produce`. */
typedef struct outcome {
    result result;
    const char *what;
    int error;
} outcome;

typedef outcome attack_function(const scene *at);

/* One attack. If it is harmless, a test may also try it without a jail, and see it succeed. */
typedef struct attack {
    const char *name;
    attack_function *run;
    int harmless;
} attack;

#define HARMLESS 1
#define JAILED_ONLY 0

/* A path in this folder, by which the test knows what is left there of this run, and of no other. */
const char *mark(const scene *at, const char *folder);

/* The address of a Unix socket with a path. */
struct sockaddr_un unix_address(const char *path);

/* Of a call that returns -1 with errno if it fails. A refusal is EPERM or EACCES, or this error. */
outcome tried_or(const char *what, long returned, int error);
/* The same without another error. */
outcome tried(const char *what, long returned);
/* Of a call that may reach another process's memory before it fails with EFAULT. */
outcome reached(const char *what, long returned);
outcome opened(const char *what, int descriptor);
outcome unseen(const char *what);
/* Both were attempts at the same thing: the one that had its way counts, or the broken one. */
outcome either(outcome one, outcome other);

/* `folder/name`, in a static buffer; one of four in turn. */
const char *in(const char *folder, const char *name);
/* `/proc/PID/name`, the same. */
const char *proc_of(pid_t pid, const char *name);

/* What the sibling does in the first and the second message after that of `hang_in_cut_library`. */
void help(const scene *at, uint64_t message);

extern const attack FILES[], NETWORK[], INHERITED[], OUTPUT[], PROCESSES[], SIGNALS[];
extern const attack MEMORY[], RESOURCES[], BOMBS[], KERNEL[], SEGMENT[], WATCHED[];

#endif
