/* Processes: started, left, and changed as if they were one's own. */
#include "hostile.h"
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define ATTACK(name, what, call) \
    static outcome name(const scene *at) { (void)at; return tried(what, call); }

static char *const NOTHING[] = {(char *)"true", NULL};

/* Had an exec its way, the worker would be another program, and end. */
ATTACK(exec_true, "run /bin/true", execve("/bin/true", NOTHING, NOTHING + 1))
ATTACK(exec_loader, "run a program by the loader", execve("/lib64/ld-linux-x86-64.so.2", NOTHING, NOTHING + 1))
ATTACK(exec_plugin, "run the plugin's file by its descriptor",
       syscall(SYS_execveat, open(at->plugin, O_RDONLY | O_CLOEXEC), "", NOTHING, NOTHING + 1, AT_EMPTY_PATH))
ATTACK(exec_room, "run a file of the room", execve(in(at->room, "data"), NOTHING, NOTHING + 1))

static outcome exec_memfd(const scene *at)
{
    int file = (int)syscall(SYS_memfd_create, "hostile", 0);
    (void)at;
    if (file == -1) return tried("make a file in memory to run", -1);
    if (write(file, "#!/bin/true\n", 12) != 12) return tried("write a file in memory to run", -1);
    return tried("run a file in memory", syscall(SYS_execveat, file, "", NOTHING, NOTHING + 1, AT_EMPTY_PATH));
}

static outcome reaped(const char *what, pid_t child)
{
    if (child == 0) _exit(0);
    if (child > 0) waitpid(child, NULL, __WALL);
    return tried(what, child);
}

static outcome fork_itself(const scene *at)
{
    (void)at;
    return reaped("fork", (pid_t)syscall(SYS_fork));
}

static outcome fork_by_library(const scene *at)
{
    (void)at;
    return reaped("fork by the library", fork());
}

static int end_at_once(void *given)
{
    (void)given;
    return 0;
}

static outcome clone_with(const char *what, int flags)
{
    static char stack[65536] __attribute__((aligned(16)));
    return reaped(what, clone(end_at_once, stack + sizeof stack, flags, NULL));
}

static outcome clone_process(const scene *at)
{
    (void)at;
    return clone_with("clone a process", SIGCHLD);
}

static outcome clone_vfork(const scene *at)
{
    (void)at;
    return clone_with("clone a process that shares its memory", CLONE_VM | CLONE_VFORK | SIGCHLD);
}

static outcome clone_sibling(const scene *at)
{
    (void)at;
    return clone_with("clone a child of the fork server", CLONE_PARENT | CLONE_VM | SIGCHLD);
}

static outcome clone_namespace(const scene *at)
{
    (void)at;
    return clone_with("clone a process into a user namespace", CLONE_NEWUSER | SIGCHLD);
}

static outcome clone3_process(const scene *at)
{
    struct clone_args arguments;
    outcome outcome;
    long child;
    (void)at;
    memset(&arguments, 0, sizeof arguments);
    arguments.exit_signal = SIGCHLD;
    child = syscall(SYS_clone3, &arguments, sizeof arguments);
    outcome = tried_or("clone3 a process", child, ENOSYS);
    return child >= 0 ? reaped("clone3 a process", (pid_t)child) : outcome;
}

/* A job is ended by its group, and a worker with its host. */
ATTACK(leave_session, "start a session", setsid())
ATTACK(leave_group, "leave its group", setpgid(0, 0))
ATTACK(move_sibling, "move the sibling to another group", setpgid(at->sibling, 0))
ATTACK(outlive_host, "outlive the host", prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0))
ATTACK(be_dumpable, "become dumpable", prctl(PR_SET_DUMPABLE, 1, 0, 0, 0))
ATTACK(be_subreaper, "adopt orphans", prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))
ATTACK(change_user, "change its user", setresuid(1, 1, 1))
ATTACK(change_group, "change its user's group", setresgid(1, 1, 1))

ATTACK(priority_of_sibling, "change the sibling's priority", setpriority(PRIO_PROCESS, (id_t)at->sibling, 19))
ATTACK(priority_of_host, "change the host's priority", setpriority(PRIO_PROCESS, (id_t)at->host, 19))
ATTACK(own_priority, "raise its own priority", setpriority(PRIO_PROCESS, 0, -20))
ATTACK(io_priority, "change the sibling's priority of reading", syscall(SYS_ioprio_set, 1, at->sibling, 3 << 13))

static outcome affinity_of_sibling(const scene *at)
{
    cpu_set_t first;
    CPU_ZERO(&first);
    CPU_SET(0, &first);
    return tried("bind the sibling to a CPU", sched_setaffinity(at->sibling, sizeof first, &first));
}

static outcome real_time(const scene *at)
{
    struct sched_param most = {1};
    (void)at;
    return either(tried("run in real time", sched_setscheduler(0, SCHED_FIFO, &most)),
                  tried("run the sibling when idle", sched_setscheduler(at->sibling, SCHED_IDLE, &(struct sched_param){0})));
}

static outcome limits_of_sibling(const scene *at)
{
    struct rlimit none = {0, 0};
    return tried("set the sibling's limits", prlimit(at->sibling, RLIMIT_NOFILE, &none, NULL));
}

static outcome limits_of_host(const scene *at)
{
    struct rlimit old;
    return tried("read the host's limits", prlimit(at->host, RLIMIT_NOFILE, NULL, &old));
}

/* A child that lives on beside the worker, if programs are allowed. */
static outcome leave_child(const scene *at)
{
    pid_t child = fork();
    (void)at;
    if (child == 0) {
        signal(SIGTERM, SIG_IGN);
        signal(SIGHUP, SIG_IGN);
        for (;;) pause();
    }
    return child == -1 ? tried("leave a child", -1) : unseen("leave a child");
}

/* What `exec` is for. */
static outcome use_exec(const scene *at)
{
    int status = -1;
    pid_t child = fork();
    (void)at;
    if (child == 0) {
        execve("/bin/true", NOTHING, NOTHING + 1);
        _exit(errno);
    }
    if (child == -1) return tried("fork to run /bin/true", -1);
    if (waitpid(child, &status, 0) == -1) return tried("wait for /bin/true", -1);
    errno = WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
    return tried("run /bin/true", status == 0 ? 0 : -1);
}

const attack PROCESSES[] = {
    {"exec_true", exec_true, JAILED_ONLY},
    {"exec_loader", exec_loader, JAILED_ONLY},
    {"exec_plugin", exec_plugin, JAILED_ONLY},
    {"exec_room", exec_room, JAILED_ONLY},
    {"exec_memfd", exec_memfd, JAILED_ONLY},
    {"fork", fork_itself, HARMLESS},
    {"fork_by_library", fork_by_library, HARMLESS},
    {"clone_process", clone_process, HARMLESS},
    {"clone_vfork", clone_vfork, HARMLESS},
    {"clone_sibling", clone_sibling, JAILED_ONLY},
    {"clone_namespace", clone_namespace, JAILED_ONLY},
    {"clone3_process", clone3_process, HARMLESS},
    {"leave_session", leave_session, JAILED_ONLY},
    {"leave_group", leave_group, HARMLESS},
    {"move_sibling", move_sibling, JAILED_ONLY},
    {"outlive_host", outlive_host, JAILED_ONLY},
    {"be_dumpable", be_dumpable, HARMLESS},
    {"be_subreaper", be_subreaper, JAILED_ONLY},
    {"change_user", change_user, JAILED_ONLY},
    {"change_group", change_group, JAILED_ONLY},
    {"priority_of_sibling", priority_of_sibling, HARMLESS},
    {"priority_of_host", priority_of_host, JAILED_ONLY},
    {"own_priority", own_priority, JAILED_ONLY},
    {"io_priority", io_priority, HARMLESS},
    {"affinity_of_sibling", affinity_of_sibling, HARMLESS},
    {"real_time", real_time, JAILED_ONLY},
    {"limits_of_sibling", limits_of_sibling, JAILED_ONLY},
    {"limits_of_host", limits_of_host, HARMLESS},
    {"leave_child", leave_child, JAILED_ONLY},
    {"use_exec", use_exec, HARMLESS},
    {NULL, NULL, 0},
};
