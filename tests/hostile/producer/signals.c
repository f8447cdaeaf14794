/* Signals to other processes, by each way that the kernel has. */
#include "hostile.h"
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ATTACK(name, what, call) \
    static outcome name(const scene *at) { (void)at; return tried(what, call); }

ATTACK(kill_host, "kill the host", kill(at->host, SIGKILL))
ATTACK(kill_server, "kill the fork server", kill(at->server, SIGKILL))
ATTACK(kill_sibling, "kill the sibling", kill(at->sibling, SIGKILL))
ATTACK(stop_sibling, "stop the sibling", kill(at->sibling, SIGSTOP))
ATTACK(kill_bystander, "kill a stranger", kill(at->bystander, SIGKILL))
/* The shell that started the tests is in the group, and everybody is everybody: so with no signal, which asks
 * for the same permission. */
ATTACK(kill_group, "send a signal to its group", kill(0, 0))
ATTACK(kill_hosts_group, "send a signal to the host's group", kill(-getpgid(0), 0))
ATTACK(kill_everybody, "send a signal to every process", kill(-1, 0))
ATTACK(tgkill_sibling, "kill the sibling by tgkill", syscall(SYS_tgkill, at->sibling, at->sibling, SIGKILL))
ATTACK(tkill_sibling, "kill the sibling by tkill", syscall(SYS_tkill, at->sibling, SIGKILL))

static outcome queue_signal(const scene *at)
{
    siginfo_t info;
    memset(&info, 0, sizeof info);
    info.si_code = SI_QUEUE;
    return either(tried("queue a signal for the sibling", syscall(SYS_rt_sigqueueinfo, at->sibling, SIGKILL, &info)),
                  tried("queue a signal for the sibling's thread",
                        syscall(SYS_rt_tgsigqueueinfo, at->sibling, at->sibling, SIGKILL, &info)));
}

static outcome pidfd_signal(const scene *at)
{
    int sibling = (int)syscall(SYS_pidfd_open, at->sibling, 0);
    if (sibling == -1) return tried("open the sibling", -1);
    return tried("kill the sibling by a descriptor", syscall(SYS_pidfd_send_signal, sibling, SIGKILL, NULL, 0));
}

static outcome pidfd_signal_by_proc(const scene *at)
{
    int sibling = open(proc_of(at->sibling, "."), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (sibling == -1) return tried("open the sibling's folder in /proc", -1);
    return tried("kill the sibling by its folder", syscall(SYS_pidfd_send_signal, sibling, SIGKILL, NULL, 0));
}

/* A named folder is no open one, but a number to the system call all the same. */
static outcome pidfd_signal_by_path(const scene *at)
{
    int sibling = open(proc_of(at->sibling, "."), O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (sibling == -1) return tried("name the sibling's folder in /proc", -1);
    return tried("kill the sibling by its named folder", syscall(SYS_pidfd_send_signal, sibling, SIGKILL, NULL, 0));
}

static outcome pidfd_get(const scene *at)
{
    int host = (int)syscall(SYS_pidfd_open, at->host, 0);
    if (host == -1) return tried("open the host", -1);
    return opened("take a descriptor of the host's", (int)syscall(SYS_pidfd_getfd, host, 1, 0));
}

/* The kernel sends a signal of the attacker's choice to the owner of a descriptor when bytes arrive. */
static outcome signal_by_owner(const scene *at)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == -1) return tried("make a pair of sockets", -1);
    if (fcntl(pair[0], F_SETSIG, SIGKILL) == -1) return tried("choose the signal of a descriptor", -1);
    if (fcntl(pair[0], F_SETOWN, at->sibling) == -1) return tried("make the sibling a descriptor's owner", -1);
    if (fcntl(pair[0], F_SETFL, O_ASYNC) == -1) return tried("ask for a descriptor's signals", -1);
    if (write(pair[1], "hostile", 7) == -1) return tried("write to a pair of sockets", -1);
    /* Whether the kernel sent it, no answer says: the sibling is alive, or is not. */
    return unseen("have the kernel kill the sibling");
}

const attack SIGNALS[] = {
    {"kill_host", kill_host, JAILED_ONLY},
    {"kill_server", kill_server, JAILED_ONLY},
    {"kill_sibling", kill_sibling, JAILED_ONLY},
    {"stop_sibling", stop_sibling, JAILED_ONLY},
    {"kill_bystander", kill_bystander, HARMLESS},
    {"kill_group", kill_group, HARMLESS},
    {"kill_hosts_group", kill_hosts_group, HARMLESS},
    {"kill_everybody", kill_everybody, HARMLESS},
    {"tgkill_sibling", tgkill_sibling, JAILED_ONLY},
    {"tkill_sibling", tkill_sibling, JAILED_ONLY},
    {"queue_signal", queue_signal, JAILED_ONLY},
    {"pidfd_signal", pidfd_signal, JAILED_ONLY},
    {"pidfd_signal_by_proc", pidfd_signal_by_proc, JAILED_ONLY},
    {"pidfd_signal_by_path", pidfd_signal_by_path, JAILED_ONLY},
    {"pidfd_get", pidfd_get, HARMLESS},
    {"signal_by_owner", signal_by_owner, JAILED_ONLY},
    {NULL, NULL, 0},
};
