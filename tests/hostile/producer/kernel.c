/* System calls that change the machine, or reach far into the kernel. They are given arguments that change
 * nothing even if they are allowed, as far as there are such. */
#include "hostile.h"
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/io_uring.h>
#include <linux/keyctl.h>
#include <linux/perf_event.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define ATTACK(name, what, call) \
    static outcome name(const scene *at) { (void)at; return tried(what, call); }

ATTACK(mount_folder, "mount a file system", mount("none", at->outside, "tmpfs", 0, NULL))
ATTACK(unmount_folder, "unmount a file system", umount2(at->outside, MNT_DETACH))
ATTACK(open_file_system, "open a file system", syscall(SYS_fsopen, "tmpfs", 0))
ATTACK(clone_tree, "open a tree of mounts", syscall(SYS_open_tree, AT_FDCWD, at->room, 1))
ATTACK(attach_mount, "move a mount", syscall(SYS_move_mount, AT_FDCWD, at->room, AT_FDCWD, at->outside, 0))
ATTACK(change_root, "change its root", chroot(at->room))
ATTACK(pivot_root, "exchange the root", syscall(SYS_pivot_root, at->room, at->room))
ATTACK(unshare_user, "unshare its user namespace", unshare(CLONE_NEWUSER))
ATTACK(unshare_mounts, "unshare its mounts", unshare(CLONE_NEWNS))
ATTACK(unshare_network, "unshare its network", unshare(CLONE_NEWNET))
/* Standard input is no namespace, which is noticed after the permission. */
ATTACK(enter_namespace, "enter a namespace", setns(0, 0))
ATTACK(list_modules, "list the kernel's security modules", syscall(461, NULL, NULL, 0))
ATTACK(kernel_log, "read the kernel's log", syscall(SYS_syslog, 10, NULL, 0))
ATTACK(host_name, "set the machine's name", syscall(SYS_sethostname, "", -1))
ATTACK(load_module, "load a kernel module", syscall(SYS_init_module, NULL, 0, ""))
ATTACK(load_module_file, "load a kernel module's file", syscall(SYS_finit_module, -1, "", 0))
ATTACK(restart_machine, "restart the machine, with wrong numbers", syscall(SYS_reboot, 0, 0, 0, NULL))
ATTACK(swap_on, "swap to a file", syscall(SYS_swapon, in(at->room, "nothing"), 0))
ATTACK(load_program, "load a BPF program", syscall(SYS_bpf, BPF_PROG_LOAD, NULL, 0))
ATTACK(io_privileges, "raise its I/O privileges", syscall(SYS_iopl, 3))
ATTACK(io_ports, "open I/O ports", syscall(SYS_ioperm, 0x80, 1, 1))
ATTACK(descriptor_table, "change its table of segment descriptors", syscall(SYS_modify_ldt, 1, NULL, 0))
ATTACK(add_key, "add a key", syscall(SYS_add_key, "user", "hostile", "1", 1, KEY_SPEC_PROCESS_KEYRING))
ATTACK(read_keys, "ask for its keys", syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_PROCESS_KEYRING, 1))
ATTACK(request_key, "request a key", syscall(SYS_request_key, "user", "hostile", NULL, 0))
ATTACK(change_personality, "change its personality", personality(ADDR_NO_RANDOMIZE))
ATTACK(new_privileges, "have privileges again", prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0))
ATTACK(filter_off, "switch the filter off", prctl(PR_SET_SECCOMP, 0, 0, 0, 0))
ATTACK(ambient_capability, "keep a capability over exec",
       prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_SYS_PTRACE, 0, 0))
ATTACK(secure_bits, "change its secure bits", prctl(PR_SET_SECUREBITS, 0, 0, 0, 0))
ATTACK(move_program, "change where its program begins", prctl(PR_SET_MM, PR_SET_MM_START_CODE, 4096, 0, 0))
ATTACK(time_stamps_off, "forbid itself the time stamp counter", prctl(PR_SET_TSC, PR_TSC_SIGSEGV, 0, 0, 0))

static outcome ring(const scene *at)
{
    struct io_uring_params parameters;
    (void)at;
    memset(&parameters, 0, sizeof parameters);
    return opened("make a ring for I/O", (int)syscall(SYS_io_uring_setup, 4, &parameters));
}

static outcome old_ring(const scene *at)
{
    aio_context_t context = 0;
    outcome outcome = tried("make a context for I/O", syscall(SYS_io_setup, 4, &context));
    (void)at;
    if (outcome.result == SUCCEEDED) syscall(SYS_io_destroy, context);
    return outcome;
}

static outcome count_events(const scene *at)
{
    struct perf_event_attr attributes;
    (void)at;
    memset(&attributes, 0, sizeof attributes);
    attributes.size = sizeof attributes;
    attributes.type = PERF_TYPE_SOFTWARE;
    attributes.config = PERF_COUNT_SW_PAGE_FAULTS;
    attributes.exclude_kernel = 1;
    return opened("count another process's events",
                  (int)syscall(SYS_perf_event_open, &attributes, at->sibling, -1, -1, PERF_FLAG_FD_CLOEXEC));
}

static outcome make_map(const scene *at)
{
    union bpf_attr attributes;
    (void)at;
    memset(&attributes, 0, sizeof attributes);
    attributes.map_type = BPF_MAP_TYPE_ARRAY;
    attributes.key_size = attributes.value_size = 4;
    attributes.max_entries = 1;
    return opened("make a BPF map", (int)syscall(SYS_bpf, BPF_MAP_CREATE, &attributes, sizeof attributes));
}

static outcome all_capabilities(const scene *at)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2];
    (void)at;
    memset(data, 0xff, sizeof data);
    return tried("take all capabilities", syscall(SYS_capset, &header, data));
}

/* A filter that hands calls to its own program would answer for the jail's. */
static outcome listening_filter(const scene *at)
{
    struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog program = {1, &allow};
    (void)at;
    return opened("install a filter with a listener",
                  (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program));
}

static outcome set_clock(const scene *at)
{
    /* No time: EINVAL if it may. */
    struct timespec never = {-1, -1};
    (void)at;
    return tried("set the clock", syscall(SYS_clock_settime, CLOCK_REALTIME, &never));
}

static outcome type_for_user(const scene *at)
{
    char letter = '\n';
    (void)at;
    return tried("type into the terminal", ioctl(STDERR_FILENO, TIOCSTI, &letter));
}

static outcome take_terminal(const scene *at)
{
    (void)at;
    return tried("take the terminal", ioctl(STDERR_FILENO, TIOCSCTTY, 1));
}

const attack KERNEL[] = {
    {"mount", mount_folder, JAILED_ONLY},
    {"unmount", unmount_folder, JAILED_ONLY},
    {"open_file_system", open_file_system, HARMLESS},
    {"open_tree", clone_tree, JAILED_ONLY},
    {"move_mount", attach_mount, JAILED_ONLY},
    {"change_root", change_root, JAILED_ONLY},
    {"pivot_root", pivot_root, JAILED_ONLY},
    {"unshare_user", unshare_user, JAILED_ONLY},
    {"unshare_mounts", unshare_mounts, JAILED_ONLY},
    {"unshare_network", unshare_network, JAILED_ONLY},
    {"enter_namespace", enter_namespace, JAILED_ONLY},
    {"list_modules", list_modules, JAILED_ONLY},
    {"kernel_log", kernel_log, HARMLESS},
    {"host_name", host_name, JAILED_ONLY},
    {"load_module", load_module, JAILED_ONLY},
    {"load_module_file", load_module_file, JAILED_ONLY},
    {"restart_machine", restart_machine, JAILED_ONLY},
    {"swap_on", swap_on, JAILED_ONLY},
    {"load_program", load_program, JAILED_ONLY},
    {"make_map", make_map, HARMLESS},
    {"io_privileges", io_privileges, JAILED_ONLY},
    {"io_ports", io_ports, JAILED_ONLY},
    {"descriptor_table", descriptor_table, JAILED_ONLY},
    {"add_key", add_key, HARMLESS},
    {"read_keys", read_keys, HARMLESS},
    {"request_key", request_key, JAILED_ONLY},
    {"change_personality", change_personality, HARMLESS},
    {"new_privileges", new_privileges, JAILED_ONLY},
    {"filter_off", filter_off, JAILED_ONLY},
    {"ambient_capability", ambient_capability, JAILED_ONLY},
    {"secure_bits", secure_bits, JAILED_ONLY},
    {"move_program", move_program, JAILED_ONLY},
    {"time_stamps_off", time_stamps_off, JAILED_ONLY},
    {"ring", ring, HARMLESS},
    {"old_ring", old_ring, HARMLESS},
    {"count_events", count_events, HARMLESS},
    {"all_capabilities", all_capabilities, JAILED_ONLY},
    {"listening_filter", listening_filter, JAILED_ONLY},
    {"set_clock", set_clock, JAILED_ONLY},
    {"type_for_user", type_for_user, JAILED_ONLY},
    {"take_terminal", take_terminal, JAILED_ONLY},
    {NULL, NULL, 0},
};
