/* Other processes' memory, and memory that is no ordinary one. */
#include "hostile.h"
#include <fcntl.h>
#include <linux/kcmp.h>
#include <linux/userfaultfd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define OPEN_ATTACK(name, what, path, flags) \
    static outcome name(const scene *at) { return opened(what, open(path, (flags) | O_CLOEXEC)); }
#define ATTACK(name, what, call) \
    static outcome name(const scene *at) { (void)at; return tried(what, call); }

OPEN_ATTACK(host_memory, "open the host's memory", proc_of(at->host, "mem"), O_RDWR)
OPEN_ATTACK(server_memory, "open the fork server's memory", proc_of(at->server, "mem"), O_RDWR)
OPEN_ATTACK(sibling_memory, "open the sibling's memory", proc_of(at->sibling, "mem"), O_RDWR)
/* Its own, by which it would write to what is mapped to be read only. */
static outcome own_memory(const scene *at)
{
    (void)at;
    return opened("open its own memory", open("/proc/self/mem", O_RDWR | O_CLOEXEC));
}

/* No process has anything at this address: what fails there was permitted before. */
static outcome copy_memory(const char *what, pid_t pid, int writes)
{
    char own[8] = {0};
    struct iovec local = {own, sizeof own}, remote = {(void *)8, sizeof own};
    return reached(what, writes ? process_vm_writev(pid, &local, 1, &remote, 1, 0)
                                : process_vm_readv(pid, &local, 1, &remote, 1, 0));
}

#define COPY_ATTACK(name, what, pid, writes) \
    static outcome name(const scene *at) { return copy_memory(what, pid, writes); }

COPY_ATTACK(read_host, "read the host's memory by process_vm_readv", at->host, 0)
COPY_ATTACK(read_sibling, "read the sibling's memory by process_vm_readv", at->sibling, 0)
COPY_ATTACK(read_server, "read the fork server's memory by process_vm_readv", at->server, 0)
COPY_ATTACK(write_host, "write the host's memory by process_vm_writev", at->host, 1)
COPY_ATTACK(write_sibling, "write the sibling's memory by process_vm_writev", at->sibling, 1)

/* Seizing does not stop the other process, and ends with this one. */
static outcome seize(const char *what, pid_t pid)
{
    outcome outcome = tried(what, ptrace(PTRACE_SEIZE, pid, NULL, NULL));
    if (outcome.result == SUCCEEDED) {
        ptrace(PTRACE_INTERRUPT, pid, NULL, NULL);
        waitpid(pid, NULL, __WALL);
        ptrace(PTRACE_DETACH, pid, NULL, NULL);
    }
    return outcome;
}

static outcome attach(const char *what, pid_t pid)
{
    outcome outcome = tried(what, ptrace(PTRACE_ATTACH, pid, NULL, NULL));
    if (outcome.result == SUCCEEDED) {
        waitpid(pid, NULL, __WALL);
        ptrace(PTRACE_DETACH, pid, NULL, NULL);
    }
    return outcome;
}

#define TRACE_ATTACK(name, how, what, pid) \
    static outcome name(const scene *at) { return how(what, pid); }

TRACE_ATTACK(seize_host, seize, "seize the host by ptrace", at->host)
TRACE_ATTACK(seize_server, seize, "seize the fork server by ptrace", at->server)
TRACE_ATTACK(seize_sibling, seize, "seize the sibling by ptrace", at->sibling)
TRACE_ATTACK(attach_host, attach, "attach to the host by ptrace", at->host)
TRACE_ATTACK(attach_server, attach, "attach to the fork server by ptrace", at->server)
TRACE_ATTACK(attach_sibling, attach, "attach to the sibling by ptrace", at->sibling)
ATTACK(be_traced, "have the fork server trace it", ptrace(PTRACE_TRACEME, 0, NULL, NULL))

ATTACK(compare_host, "compare its descriptors with the host's", syscall(SYS_kcmp, getpid(), at->host, KCMP_FILES, 0, 0))
ATTACK(move_pages_of_host, "move the host's pages", syscall(SYS_move_pages, at->host, 0, NULL, NULL, NULL, 0))

static outcome robust_list_of_host(const scene *at)
{
    void *head;
    size_t length;
    return tried("read where the host's locks are", syscall(SYS_get_robust_list, at->host, &head, &length));
}

static outcome advise_sibling(const scene *at)
{
    struct iovec range = {at->segment, 4096};
    int sibling = (int)syscall(SYS_pidfd_open, at->sibling, 0);
    if (sibling == -1) return tried("open the sibling", -1);
    return tried("drop the sibling's pages", syscall(SYS_process_madvise, sibling, &range, 1, MADV_COLD, 0));
}

ATTACK(memory_file, "make a file in memory", syscall(SYS_memfd_create, "hostile", 0))
ATTACK(secret_memory, "make secret memory", syscall(SYS_memfd_secret, 0))
ATTACK(fault_handler, "handle page faults", syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY))

static outcome mapped(const char *what, void *address, size_t bytes)
{
    outcome outcome = tried(what, address == MAP_FAILED ? -1 : 0);
    if (address != MAP_FAILED) munmap(address, bytes);
    return outcome;
}

static outcome shared_memory(const scene *at)
{
    (void)at;
    return mapped("share anonymous memory",
                  mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0), 4096);
}

/* A second mapping of the segment, which the host's unmapping would not end. */
static outcome remap_segment(const scene *at)
{
    return mapped("map the segment a second time", mremap(at->segment, 0, 4096, MREMAP_MAYMOVE), 4096);
}

/* What getenv does not say may still stand where the kernel put it at the program's start. */
static outcome environment(const scene *at)
{
    const char *text = "SECRET_OF_THE_HOST";
    const char *end = (const char *)getauxval(AT_EXECFN), *place;
    outcome outcome = {REFUSED, "find the host's secret in the environment", EPERM};
    (void)at;
    if (getenv(text)) outcome.result = SUCCEEDED;
    for (place = end - 65536 > (const char *)&outcome ? end - 65536 : (const char *)&outcome + 4096;
         end && place + 18 < end; place++)
        if (memcmp(place, text, 18) == 0 && place[18] == '=') outcome.result = SUCCEEDED;
    return outcome;
}

const attack MEMORY[] = {
    {"host_memory", host_memory, HARMLESS},
    {"server_memory", server_memory, HARMLESS},
    {"sibling_memory", sibling_memory, HARMLESS},
    {"own_memory", own_memory, HARMLESS},
    {"read_host", read_host, HARMLESS},
    {"read_sibling", read_sibling, HARMLESS},
    {"read_server", read_server, HARMLESS},
    {"write_host", write_host, HARMLESS},
    {"write_sibling", write_sibling, HARMLESS},
    {"seize_host", seize_host, JAILED_ONLY},
    {"seize_server", seize_server, JAILED_ONLY},
    {"seize_sibling", seize_sibling, HARMLESS},
    {"attach_host", attach_host, JAILED_ONLY},
    {"attach_server", attach_server, JAILED_ONLY},
    {"attach_sibling", attach_sibling, HARMLESS},
    {"be_traced", be_traced, JAILED_ONLY},
    {"compare_host", compare_host, HARMLESS},
    {"move_pages_of_host", move_pages_of_host, HARMLESS},
    {"robust_list_of_host", robust_list_of_host, HARMLESS},
    {"advise_sibling", advise_sibling, HARMLESS},
    {"memory_file", memory_file, HARMLESS},
    {"secret_memory", secret_memory, JAILED_ONLY},
    {"fault_handler", fault_handler, HARMLESS},
    {"shared_memory", shared_memory, HARMLESS},
    {"remap_segment", remap_segment, HARMLESS},
    {"environment", environment, HARMLESS},
    {NULL, NULL, 0},
};
