/* Sockets that a worker makes, or pairs of them that it connects elsewhere. */
#include "hostile.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
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

static int is_listed(int family)
{
    return family == AF_UNIX || family == AF_INET || family == AF_INET6 || family == AF_NETLINK;
}

/* Of all families that are not listed, with each type: a family that the kernel does not have fails otherwise, if the
 * jail has let the call pass. */
static outcome socket_unlisted(const scene *at)
{
    static const int types[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_RAW, SOCK_RDM, SOCK_SEQPACKET, SOCK_PACKET};
    outcome outcome = {REFUSED, "make a socket of another family", EPERM};
    int family;
    size_t type;
    (void)at;
    for (family = 0; family < 64; family++)
        for (type = 0; type < sizeof types / sizeof *types && !is_listed(family); type++)
            if (socket(family, types[type] | SOCK_CLOEXEC, 0) != -1 || errno != EPERM) return tried("make a socket of another family", 0);
    /* Protocols of netlink, which configure firewalls, routes and more. */
    for (family = 1; family < 32; family++)
        if (socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, family) != -1 || errno != EPERM)
            return tried("make a netlink socket of another protocol", 0);
    return outcome;
}

/* A machine may have no IPv6. */
static outcome socket_listed(const scene *at)
{
    outcome outcome = opened("make a listed socket", socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    int six;
    (void)at;
    if (outcome.result == SUCCEEDED) outcome = opened("make a TCP socket", socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (outcome.result == SUCCEEDED) outcome = opened("make a netlink socket", socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0));
    six = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (outcome.result != SUCCEEDED || (six == -1 && errno == EAFNOSUPPORT)) return outcome;
    return opened("make a socket of IPv6", six);
}

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
    {"socket_unlisted", socket_unlisted, HARMLESS},
    {"socket_listed", socket_listed, HARMLESS},
    {"connect_tcp", connect_tcp, HARMLESS},
    {"listen_tcp", listen_tcp, HARMLESS},
    {"send_udp", send_udp, HARMLESS},
    {"pair_send", pair_send, HARMLESS},
    {"pair_sendmsg", pair_sendmsg, HARMLESS},
    {"pair_send_abstract", pair_send_abstract, HARMLESS},
    {"pair_connect", pair_connect, HARMLESS},
    {"pair_bind", pair_bind, HARMLESS},
    {NULL, NULL, 0},
};
