/* Sockets, and what can be done with those that a worker has. */
#include "hostile.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* Families may be missing in the kernel: then a socket of them is refused, too, but by no jail. */
#define SOCKET_ATTACK(name, what, family, type, protocol)                   \
    static outcome name(const scene *at)                                    \
    {                                                                       \
        (void)at;                                                           \
        return opened(what, socket(family, (type) | SOCK_CLOEXEC, protocol)); \
    }

SOCKET_ATTACK(socket_unix, "make a Unix socket", AF_UNIX, SOCK_STREAM, 0)
SOCKET_ATTACK(socket_inet, "make a TCP socket", AF_INET, SOCK_STREAM, 0)
SOCKET_ATTACK(socket_udp, "make a UDP socket", AF_INET, SOCK_DGRAM, 0)
SOCKET_ATTACK(socket_inet6, "make a socket of IPv6", AF_INET6, SOCK_STREAM, 0)
SOCKET_ATTACK(socket_raw, "make a raw socket", AF_INET, SOCK_RAW, IPPROTO_ICMP)
SOCKET_ATTACK(socket_ping, "make a socket for pings", AF_INET, SOCK_DGRAM, IPPROTO_ICMP)
SOCKET_ATTACK(socket_netlink, "make a netlink socket", AF_NETLINK, SOCK_RAW, 0)
SOCKET_ATTACK(socket_packet, "make a packet socket", AF_PACKET, SOCK_RAW, 0)
SOCKET_ATTACK(socket_vsock, "make a vsock socket", AF_VSOCK, SOCK_STREAM, 0)
SOCKET_ATTACK(socket_bluetooth, "make a Bluetooth socket", AF_BLUETOOTH, SOCK_RAW, 0)
SOCKET_ATTACK(socket_alg, "make a socket of the kernel's ciphers", AF_ALG, SOCK_SEQPACKET, 0)
SOCKET_ATTACK(socket_key, "make a key management socket", AF_KEY, SOCK_RAW, 2)
SOCKET_ATTACK(socket_xdp, "make an XDP socket", AF_XDP, SOCK_RAW, 0)
SOCKET_ATTACK(socket_mptcp, "make a multipath socket", AF_INET, SOCK_STREAM, 262)

static struct sockaddr_in loopback(uint64_t port)
{
    struct sockaddr_in address;
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_port = htons((uint16_t)port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

static outcome connect_tcp(const scene *at)
{
    struct sockaddr_in address = loopback(at->port);
    int own = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    outcome outcome = tried("make a TCP socket", own);
    if (own == -1) return outcome;
    outcome = tried("connect to a port on the loopback", connect(own, (struct sockaddr *)&address, sizeof address));
    close(own);
    return outcome;
}

static outcome listen_tcp(const scene *at)
{
    struct sockaddr_in address = loopback(0);
    int own = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    outcome outcome = tried("make a TCP socket", own);
    (void)at;
    if (own == -1) return outcome;
    outcome = tried("bind a port on the loopback", bind(own, (struct sockaddr *)&address, sizeof address));
    if (outcome.result == SUCCEEDED) outcome = tried("listen at a port on the loopback", listen(own, 1));
    close(own);
    return outcome;
}

static outcome send_udp(const scene *at)
{
    struct sockaddr_in address = loopback(at->port);
    int own = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    outcome outcome = tried("make a UDP socket", own);
    if (own == -1) return outcome;
    outcome = tried("send a datagram on the loopback",
                    sendto(own, "hostile", 7, 0, (struct sockaddr *)&address, sizeof address));
    close(own);
    return outcome;
}

static struct sockaddr_un unix_address(const char *path)
{
    struct sockaddr_un address;
    memset(&address, 0, sizeof address);
    address.sun_family = AF_UNIX;
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    return address;
}

/* One of a pair may be had. It must not be sent from, or connected, to another socket of the machine. */
static int one_of_a_pair(void)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair) == -1) return -1;
    return pair[0];
}

static outcome pair_send(const scene *at)
{
    struct sockaddr_un address = unix_address(at->server_address);
    int own = one_of_a_pair();
    if (own == -1) return tried("make a pair of sockets", -1);
    return tried("send a datagram of a pair to a socket of the test",
                 sendto(own, "hostile", 7, MSG_NOSIGNAL, (struct sockaddr *)&address, sizeof address));
}

static outcome pair_sendmsg(const scene *at)
{
    struct sockaddr_un address = unix_address(at->server_address);
    struct iovec bytes = {"hostile", 7};
    struct msghdr message;
    int own = one_of_a_pair();
    if (own == -1) return tried("make a pair of sockets", -1);
    memset(&message, 0, sizeof message);
    message.msg_name = &address;
    message.msg_namelen = sizeof address;
    message.msg_iov = &bytes;
    message.msg_iovlen = 1;
    return tried("send a message of a pair to a socket of the test", sendmsg(own, &message, MSG_NOSIGNAL));
}

static outcome pair_send_abstract(const scene *at)
{
    struct sockaddr_un address = unix_address("");
    size_t length = strlen(at->abstract_name);
    int own = one_of_a_pair();
    if (own == -1) return tried("make a pair of sockets", -1);
    memcpy(address.sun_path + 1, at->abstract_name, length);
    length += offsetof(struct sockaddr_un, sun_path) + 1;
    return tried("send a datagram of a pair to an abstract socket of the test",
                 sendto(own, "hostile", 7, MSG_NOSIGNAL, (struct sockaddr *)&address, (socklen_t)length));
}

static outcome pair_connect(const scene *at)
{
    struct sockaddr_un address = unix_address(at->server_address);
    int own = one_of_a_pair();
    if (own == -1) return tried("make a pair of sockets", -1);
    return tried("connect one of a pair to a socket of the test",
                 connect(own, (struct sockaddr *)&address, sizeof address));
}

static outcome pair_bind(const scene *at)
{
    struct sockaddr_un address = unix_address(in(at->outside, "bound"));
    int own = one_of_a_pair();
    if (own == -1) return tried("make a pair of sockets", -1);
    return tried("bind one of a pair to a path", bind(own, (struct sockaddr *)&address, sizeof address));
}

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

const attack NETWORK[] = {
    {"socket_unix", socket_unix, HARMLESS},
    {"socket_inet", socket_inet, HARMLESS},
    {"socket_udp", socket_udp, HARMLESS},
    {"socket_inet6", socket_inet6, HARMLESS},
    {"socket_raw", socket_raw, HARMLESS},
    {"socket_ping", socket_ping, JAILED_ONLY},
    {"socket_netlink", socket_netlink, HARMLESS},
    {"socket_packet", socket_packet, HARMLESS},
    {"socket_vsock", socket_vsock, JAILED_ONLY},
    {"socket_bluetooth", socket_bluetooth, JAILED_ONLY},
    {"socket_alg", socket_alg, JAILED_ONLY},
    {"socket_key", socket_key, JAILED_ONLY},
    {"socket_xdp", socket_xdp, JAILED_ONLY},
    {"socket_mptcp", socket_mptcp, JAILED_ONLY},
    {"connect_tcp", connect_tcp, HARMLESS},
    {"listen_tcp", listen_tcp, HARMLESS},
    {"send_udp", send_udp, HARMLESS},
    {"pair_send", pair_send, HARMLESS},
    {"pair_sendmsg", pair_sendmsg, HARMLESS},
    {"pair_send_abstract", pair_send_abstract, HARMLESS},
    {"inherited_send", inherited_send, JAILED_ONLY},
    {"unblock_inherited", unblock_inherited, JAILED_ONLY},
    {"send_descriptors", send_descriptors, JAILED_ONLY},
    {"steal_requests", steal_requests, JAILED_ONLY},
    {"pair_connect", pair_connect, HARMLESS},
    {"pair_bind", pair_bind, HARMLESS},
    {"garbage_on_sockets", garbage_on_sockets, JAILED_ONLY},
    {"shut_sockets", shut_sockets, JAILED_ONLY},
    {"forge_sender", forge_sender, JAILED_ONLY},
    {NULL, NULL, 0},
};
