/* What came of an attack, and the paths that attacks need. */
#include "hostile.h"
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

outcome tried_or(const char *what, long returned, int error)
{
    outcome outcome = {SUCCEEDED, what, returned == -1 ? errno : 0};
    if (returned != -1) return outcome;
    outcome.result = outcome.error == EPERM || outcome.error == EACCES || outcome.error == error ? REFUSED : BROKEN;
    return outcome;
}

outcome tried(const char *what, long returned) { return tried_or(what, returned, EPERM); }

outcome reached(const char *what, long returned)
{
    outcome outcome = tried(what, returned);
    /* The kernel had permitted it when it looked at the address. */
    if (outcome.result == BROKEN && (outcome.error == EFAULT || outcome.error == EIO)) outcome.result = SUCCEEDED;
    return outcome;
}

outcome opened(const char *what, int descriptor)
{
    outcome outcome = tried(what, descriptor);
    if (descriptor >= 0) close(descriptor);
    return outcome;
}

outcome unseen(const char *what)
{
    outcome outcome = {UNSEEN, what, 0};
    return outcome;
}

outcome either(outcome one, outcome other)
{
    if (one.result == SUCCEEDED || other.result == REFUSED) return one;
    return other;
}

static char *buffer(void)
{
    static char buffers[4][PATH_BYTES];
    static unsigned turn;
    return buffers[turn++ % 4];
}

const char *in(const char *folder, const char *name)
{
    char *path = buffer();
    snprintf(path, PATH_BYTES, "%s/%s", folder, name);
    return path;
}

const char *proc_of(pid_t pid, const char *name)
{
    char *path = buffer();
    snprintf(path, PATH_BYTES, "/proc/%d/%s", (int)pid, name);
    return path;
}

const char *mark(const scene *at, const char *folder)
{
    char *path = buffer();
    snprintf(path, PATH_BYTES, "%s/test-of-cobuf-hostile-%d", folder, (int)at->host);
    return path;
}

struct sockaddr_un unix_address(const char *path)
{
    struct sockaddr_un address;
    memset(&address, 0, sizeof address);
    address.sun_family = AF_UNIX;
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    return address;
}
