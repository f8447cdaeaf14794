/* Descriptors that a worker has from its host: the socket of events, of which others have the same open file, and
 * pipes. */
#include "hostile.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static int is_socket(int descriptor)
{
    struct stat status;
    return fstat(descriptor, &status) == 0 && S_ISSOCK(status.st_mode);
}

/* A socket of the run that heeds an address would reach others. Those that do not, take it for an event. */
static outcome inherited_send(const scene *at)
{
    struct sockaddr_un address = unix_address(at->server_address);
    int descriptor;
    for (descriptor = 0; descriptor < 256; descriptor++)
        if (is_socket(descriptor))
            sendto(descriptor, "hostile", 7, MSG_NOSIGNAL, (struct sockaddr *)&address, sizeof address);
    return unseen("send a datagram of the run's socket to a socket of the test");
}

/* The flag is the open file's, which all processes of the run share; then fills the socket. */
static outcome unblock_inherited(const scene *at)
{
    int descriptor, turn;
    (void)at;
    for (descriptor = 0; descriptor < 256; descriptor++) {
        int flags = fcntl(descriptor, F_GETFL);
        if (flags != -1) fcntl(descriptor, F_SETFL, flags | O_NONBLOCK);
        for (turn = 0; is_socket(descriptor) && turn < 20000; turn++)
            if (send(descriptor, "hostile", 7, MSG_NOSIGNAL) == -1 && errno != EAGAIN) break;
    }
    return unseen("have no process of the run wait for its socket");
}

/* The host is given descriptors that it did not ask for. */
static outcome send_descriptors(const scene *at)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(64 * sizeof(int))];
    } control;
    int given[64], descriptor, turn;
    struct iovec bytes = {"hostile", 7};
    struct msghdr message;
    (void)at;
    memset(&message, 0, sizeof message);
    memset(&control, 0, sizeof control);
    for (turn = 0; turn < 64; turn++) given[turn] = STDERR_FILENO;
    message.msg_iov = &bytes;
    message.msg_iovlen = 1;
    message.msg_control = &control;
    message.msg_controllen = sizeof control;
    control.header.cmsg_level = SOL_SOCKET;
    control.header.cmsg_type = SCM_RIGHTS;
    control.header.cmsg_len = CMSG_LEN(sizeof given);
    memcpy(CMSG_DATA(&control.header), given, sizeof given);
    for (descriptor = 0; descriptor < 256; descriptor++)
        for (turn = 0; is_socket(descriptor) && turn < 100; turn++) {
            /* One descriptor fits where the host looks for the sender's number. */
            message.msg_controllen = turn % 2 ? sizeof control : CMSG_SPACE(sizeof(int));
            control.header.cmsg_len = turn % 2 ? CMSG_LEN(sizeof given) : CMSG_LEN(sizeof(int));
            sendmsg(descriptor, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        }
    return unseen("give the host descriptors");
}

/* What the host says to another process of the run. */
static outcome steal_requests(const scene *at)
{
    char bytes[4096];
    int descriptor;
    outcome outcome = {REFUSED, "read what is sent to others", EAGAIN};
    (void)at;
    for (descriptor = 0; descriptor < 256; descriptor++)
        if (is_socket(descriptor) && recv(descriptor, bytes, sizeof bytes, MSG_DONTWAIT | MSG_PEEK) > 0)
            outcome.result = SUCCEEDED;
    return outcome;
}

/* Bytes that are no event, on each socket that the worker has. */
static outcome garbage_on_sockets(const scene *at)
{
    char garbage[512];
    size_t byte;
    int descriptor, turn;
    for (byte = 0; byte < sizeof garbage; byte++) garbage[byte] = (char)(byte * 37 + at->sequence);
    for (descriptor = 0; descriptor < 256; descriptor++)
        for (turn = 0; is_socket(descriptor) && turn < 100; turn++)
            if (send(descriptor, garbage, (size_t)turn * 5, MSG_NOSIGNAL | MSG_DONTWAIT) == -1) break;
    return unseen("write garbage to the inherited sockets");
}

/* The other ends, and copies of these, are other processes'. */
static outcome shut_sockets(const scene *at)
{
    int descriptor, found = 0;
    outcome outcome = {BROKEN, "find an inherited socket", ENOENT};
    (void)at;
    for (descriptor = 0; descriptor < 256; descriptor++) {
        if (!is_socket(descriptor)) continue;
        outcome = found++ ? either(outcome, tried("shut an inherited socket down", shutdown(descriptor, SHUT_RDWR)))
                          : tried("shut an inherited socket down", shutdown(descriptor, SHUT_RDWR));
    }
    return outcome;
}

/* The event socket carries what a worker says of itself. Says it for the sibling. */
static outcome forge_sender(const scene *at)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(struct ucred))];
    } control;
    struct ucred other = {at->sibling, getuid(), getgid()};
    struct iovec bytes = {"hostile", 7};
    struct msghdr message;
    int descriptor;
    outcome outcome = {BROKEN, "find an inherited socket", ENOENT};
    memset(&message, 0, sizeof message);
    memset(&control, 0, sizeof control);
    message.msg_iov = &bytes;
    message.msg_iovlen = 1;
    message.msg_control = &control;
    message.msg_controllen = sizeof control;
    control.header.cmsg_level = SOL_SOCKET;
    control.header.cmsg_type = SCM_CREDENTIALS;
    control.header.cmsg_len = CMSG_LEN(sizeof other);
    memcpy(CMSG_DATA(&control.header), &other, sizeof other);
    for (descriptor = 0; descriptor < 256 && outcome.result == BROKEN; descriptor++)
        if (is_socket(descriptor))
            outcome = tried("send an event with the sibling's number", sendmsg(descriptor, &message, MSG_NOSIGNAL));
    return outcome;
}

static int is_pipe(int descriptor)
{
    struct stat status;
    return fstat(descriptor, &status) == 0 && S_ISFIFO(status.st_mode);
}

/* By the pipe that tells which script hangs, a text of the attacker's. Then hangs. */
static outcome hang_with_false_trace(const scene *at)
{
    static const char frame[] = "  File \"/cobuf/_worker.py\", line 18446744073709551616 in \xff\x1b[2J\n";
    outcome hangs = {HANGS, "hang", 0};
    int descriptor, turn;
    (void)at;
    for (descriptor = 3; descriptor < 256; descriptor++) {
        int flags = is_pipe(descriptor) ? fcntl(descriptor, F_GETFL) : -1;
        if (flags == -1) continue;
        fcntl(descriptor, F_SETFL, flags | O_NONBLOCK);
        if (write(descriptor, "Current thread 0x (most recent call first):\n", 44) == -1) continue;
        for (turn = 0; turn < 100000; turn++)
            if (write(descriptor, frame, sizeof frame - 1) == -1) break;
    }
    return hangs;
}

const attack INHERITED[] = {
    {"inherited_send", inherited_send, JAILED_ONLY},
    {"unblock_inherited", unblock_inherited, JAILED_ONLY},
    {"send_descriptors", send_descriptors, JAILED_ONLY},
    {"steal_requests", steal_requests, JAILED_ONLY},
    {"garbage_on_sockets", garbage_on_sockets, JAILED_ONLY},
    {"shut_sockets", shut_sockets, JAILED_ONLY},
    {"forge_sender", forge_sender, JAILED_ONLY},
    {"hang_with_false_trace", hang_with_false_trace, HARMLESS},
    {NULL, NULL, 0},
};
