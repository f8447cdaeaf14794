/* Files that the jail does not allow: read, changed, removed, and reached by another way. */
#include "hostile.h"
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#define FILE_ATTACK(name, what, call) \
    static outcome name(const scene *at) { (void)at; return tried(what, call); }
#define OPEN_ATTACK(name, what, path, flags) \
    static outcome name(const scene *at) { (void)at; return opened(what, open(path, (flags) | O_CLOEXEC, 0600)); }

OPEN_ATTACK(read_secret, "read a file outside", in(at->outside, "secret"), O_RDONLY)
OPEN_ATTACK(read_beside_room, "read a file by way of the room", in(at->room, "../outside/secret"), O_RDONLY)
OPEN_ATTACK(read_by_root, "read a file by /proc/self/root", in("/proc/self/root", in(at->outside, "secret")), O_RDONLY)
OPEN_ATTACK(host_environment, "read the host's environment", proc_of(at->host, "environ"), O_RDONLY)
OPEN_ATTACK(sibling_environment, "read the sibling's environment", proc_of(at->sibling, "environ"), O_RDONLY)
OPEN_ATTACK(bystander_environment, "read a stranger's environment", proc_of(at->bystander, "environ"), O_RDONLY)
OPEN_ATTACK(host_maps, "read the host's mappings", proc_of(at->host, "maps"), O_RDONLY)
OPEN_ATTACK(host_descriptors, "list the host's descriptors", proc_of(at->host, "fd"), O_RDONLY | O_DIRECTORY)
OPEN_ATTACK(create_in_tmp, "create a file in /tmp", mark(at, "/tmp"), O_CREAT | O_WRONLY)
OPEN_ATTACK(create_unnamed, "create a file without a name in /tmp", "/tmp", O_TMPFILE | O_WRONLY)
OPEN_ATTACK(create_outside, "create a file outside", in(at->outside, "new"), O_CREAT | O_WRONLY)
OPEN_ATTACK(write_victim, "open a file outside to write", in(at->outside, "victim"), O_WRONLY)
OPEN_ATTACK(write_readable, "open a readable file to write", in(at->readable, "data"), O_WRONLY)
OPEN_ATTACK(create_in_readable, "create a file in a readable folder", in(at->readable, "new"), O_CREAT | O_WRONLY)
OPEN_ATTACK(write_plugin, "open the run's copy of the plugin to write", at->plugin, O_WRONLY)
OPEN_ATTACK(open_log_device, "open the kernel's log", "/dev/kmsg", O_RDONLY | O_NONBLOCK)
OPEN_ATTACK(open_core_pattern, "open the kernel's core pattern to write", "/proc/sys/kernel/core_pattern", O_WRONLY)
OPEN_ATTACK(open_own_score, "open its own OOM score to write", "/proc/self/oom_score_adj", O_WRONLY)
OPEN_ATTACK(open_terminal, "open the terminal's multiplexer", "/dev/ptmx", O_RDWR | O_NOCTTY)

FILE_ATTACK(truncate_victim, "truncate a file outside", truncate(in(at->outside, "victim"), 0))
FILE_ATTACK(truncate_readable, "truncate a readable file", truncate(in(at->readable, "data"), 0))
FILE_ATTACK(unlink_victim, "unlink a file outside", unlink(in(at->outside, "victim")))
FILE_ATTACK(unlink_readable, "unlink a readable file", unlink(in(at->readable, "data")))
FILE_ATTACK(rename_victim, "rename a file outside", rename(in(at->outside, "victim"), in(at->outside, "moved")))
FILE_ATTACK(make_folder, "make a folder outside", mkdir(in(at->outside, "folder"), 0700))
FILE_ATTACK(make_fifo, "make a fifo outside", mknod(in(at->outside, "fifo"), S_IFIFO | 0600, 0))
FILE_ATTACK(make_device, "make a device in the room", mknod(in(at->room, "null"), S_IFCHR | 0600, (dev_t)0x103))
FILE_ATTACK(make_link, "make a symbolic link outside", symlink("victim", in(at->outside, "link")))
FILE_ATTACK(chmod_readable, "change a readable file's mode", chmod(in(at->readable, "data"), 0600))
FILE_ATTACK(chmod_room, "give a file of the room the set-user-ID bit", chmod(in(at->room, "data"), 04755))
/* By the numbers of calls that are newer than many C libraries: fchmodat2 and file_setattr. */
FILE_ATTACK(chmod_by_new_call, "change a readable file's mode by a new system call",
            syscall(452, AT_FDCWD, in(at->readable, "data"), 0600, 0))
static outcome flags_by_new_call(const scene *at)
{
    uint64_t attributes[8] = {0};
    return tried_or("change a readable file's flags by a new system call",
                    syscall(469, AT_FDCWD, in(at->readable, "data"), attributes, 24, 0), ENOSYS);
}
FILE_ATTACK(chown_readable, "change a readable file's owner", chown(in(at->readable, "data"), 1, 1))
FILE_ATTACK(setxattr_readable, "set a readable file's attribute",
            setxattr(in(at->readable, "data"), "user.hostile", "1", 1, 0))
FILE_ATTACK(utime_readable, "change a readable file's times", utimensat(AT_FDCWD, in(at->readable, "data"), NULL, 0))
FILE_ATTACK(watch_outside, "watch a folder outside by inotify",
            inotify_add_watch(inotify_init1(IN_CLOEXEC), at->outside, IN_ALL_EVENTS))
FILE_ATTACK(watch_everything, "watch a file system by fanotify",
            fanotify_init(FAN_CLASS_NOTIF | FAN_CLOEXEC, O_RDONLY))

/* The folder of the run, where its plugins' copies are. */
static const char *run_folder(const scene *at)
{
    static char folder[PATH_BYTES];
    char *end;
    snprintf(folder, sizeof folder, "%s", at->plugin);
    end = strrchr(folder, '/');
    if (end) *end = 0;
    return folder;
}

OPEN_ATTACK(create_in_run_folder, "create a file in the run's folder", in(run_folder(at), "new"), O_CREAT | O_WRONLY)
FILE_ATTACK(unlink_plugin, "unlink the run's copy of the plugin", unlink(at->plugin))

static outcome list_outside(const scene *at)
{
    DIR *folder = opendir(at->outside);
    outcome outcome = tried("list a folder outside", folder ? 0 : -1);
    if (folder) closedir(folder);
    return outcome;
}

/* A descriptor that only names the file may be had; it must not become one that reads it. */
static outcome reopen_path(const scene *at)
{
    char link[64];
    int named = open(in(at->outside, "secret"), O_PATH | O_CLOEXEC);
    if (named == -1) return tried("name a file outside", -1);
    snprintf(link, sizeof link, "/proc/self/fd/%d", named);
    return opened("read a named file by /proc/self/fd", open(link, O_RDONLY));
}

static outcome link_to_secret(const scene *at)
{
    const char *link = in(at->room, "link");
    if (symlink(in(at->outside, "secret"), link) == -1) return tried("make a symbolic link in the room", -1);
    return opened("read a file outside by a link in the room", open(link, O_RDONLY));
}

/* By a descriptor that only names it. */
static outcome link_descriptor(const scene *at)
{
    int named = open(in(at->outside, "secret"), O_PATH | O_CLOEXEC);
    if (named == -1) return tried("name a file outside", -1);
    return tried_or("link a named file into the room",
                    linkat(named, "", AT_FDCWD, in(at->room, "new"), AT_EMPTY_PATH), EXDEV);
}

static outcome link_out_of_room(const scene *at)
{
    return tried_or("link a file of the room outside", link(in(at->room, "data"), in(at->outside, "new")), EXDEV);
}

static outcome link_into_room(const scene *at)
{
    return tried_or("link a file outside into the room", link(in(at->outside, "secret"), in(at->room, "new")), EXDEV);
}

/* A readable file with a name in the room would be one that can be written. */
static outcome link_readable(const scene *at)
{
    outcome outcome =
        tried_or("link a readable file into the room", link(in(at->readable, "data"), in(at->room, "new")), EXDEV);
    if (outcome.result == SUCCEEDED) outcome = opened("write a readable file", open(in(at->room, "new"), O_WRONLY));
    return outcome;
}

static outcome rename_readable(const scene *at)
{
    return tried_or("move a readable file into the room", rename(in(at->readable, "data"), in(at->room, "new")), EXDEV);
}

static outcome rename_out_of_room(const scene *at)
{
    return tried_or("move a file of the room outside", rename(in(at->room, "data"), in(at->outside, "new")), EXDEV);
}

static outcome rename_into_room(const scene *at)
{
    return tried_or("move a file outside into the room", rename(in(at->outside, "victim"), in(at->room, "new")), EXDEV);
}

static volatile int racing;

/* Puts a folder and a link to the folder outside in each other's place, again and again. */
static void *swap_door(void *given)
{
    const scene *at = given;
    char door[PATH_BYTES], link[PATH_BYTES];
    snprintf(door, sizeof door, "%s/door", at->room);
    snprintf(link, sizeof link, "%s/link", at->room);
    while (racing) renameat2(AT_FDCWD, door, AT_FDCWD, link, RENAME_EXCHANGE);
    return NULL;
}

static outcome link_race(const scene *at)
{
    const char *what = "read a file outside while a folder and a link change places";
    char path[PATH_BYTES];
    pthread_t thread;
    outcome outcome = {REFUSED, what, EACCES};
    int turn, refused = 0;
    snprintf(path, sizeof path, "%s/door/secret", at->room);
    if (mkdir(in(at->room, "door"), 0700) == -1) return tried("make a folder in the room", -1);
    if (symlink(at->outside, in(at->room, "link")) == -1) return tried("make a symbolic link in the room", -1);
    racing = 1;
    errno = pthread_create(&thread, NULL, swap_door, (void *)at);
    if (errno) return tried("start a thread", -1);
    for (turn = 0; turn < 1000000 && refused < 1000; turn++) {
        int file = open(path, O_RDONLY | O_CLOEXEC);
        if (file >= 0) outcome.result = SUCCEEDED;
        if (file >= 0) close(file);
        refused += file == -1 && errno == EACCES;
    }
    racing = 0;
    pthread_join(thread, NULL);
    /* A race in which the link was never met says nothing. */
    if (outcome.result == REFUSED && refused == 0) outcome.result = BROKEN, outcome.error = ENOENT;
    return outcome;
}

static outcome open_by_handle(const scene *at)
{
    union {
        struct file_handle handle;
        char bytes[sizeof(struct file_handle) + MAX_HANDLE_SZ];
    } handle;
    int mount, by = open(at->room, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    handle.handle.handle_bytes = MAX_HANDLE_SZ;
    if (name_to_handle_at(AT_FDCWD, in(at->outside, "secret"), &handle.handle, &mount, 0) == -1)
        return tried("ask for a file's handle", -1);
    return opened("open a file by its handle", open_by_handle_at(by, &handle.handle, O_RDONLY));
}

/* What the room and the readable folder are for. */
static outcome use_readable(const scene *at)
{
    return opened("read a file of a readable folder", open(in(at->readable, "data"), O_RDONLY));
}

static outcome use_room(const scene *at)
{
    int file = open(in(at->room, "made"), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
    if (file >= 0 && write(file, "made", 4) != 4) return tried("write to a file of the room", -1);
    return opened("create a file in the room", file);
}

const attack FILES[] = {
    {"read_secret", read_secret, HARMLESS},
    {"read_beside_room", read_beside_room, HARMLESS},
    {"read_by_root", read_by_root, HARMLESS},
    {"host_environment", host_environment, HARMLESS},
    {"sibling_environment", sibling_environment, HARMLESS},
    {"bystander_environment", bystander_environment, HARMLESS},
    {"host_maps", host_maps, HARMLESS},
    {"host_descriptors", host_descriptors, HARMLESS},
    {"list_outside", list_outside, HARMLESS},
    {"reopen_path", reopen_path, HARMLESS},
    {"create_in_tmp", create_in_tmp, JAILED_ONLY},
    {"create_unnamed", create_unnamed, HARMLESS},
    {"create_outside", create_outside, HARMLESS},
    {"create_in_run_folder", create_in_run_folder, JAILED_ONLY},
    {"write_victim", write_victim, HARMLESS},
    {"write_readable", write_readable, HARMLESS},
    {"create_in_readable", create_in_readable, HARMLESS},
    {"write_plugin", write_plugin, JAILED_ONLY},
    {"unlink_plugin", unlink_plugin, JAILED_ONLY},
    {"truncate_victim", truncate_victim, HARMLESS},
    {"truncate_readable", truncate_readable, HARMLESS},
    {"unlink_victim", unlink_victim, HARMLESS},
    {"unlink_readable", unlink_readable, HARMLESS},
    {"rename_victim", rename_victim, HARMLESS},
    {"make_folder", make_folder, HARMLESS},
    {"make_fifo", make_fifo, HARMLESS},
    {"make_device", make_device, HARMLESS},
    {"make_link", make_link, HARMLESS},
    {"chmod_readable", chmod_readable, HARMLESS},
    {"chmod_room", chmod_room, HARMLESS},
    {"chown_readable", chown_readable, HARMLESS},
    {"setxattr_readable", setxattr_readable, HARMLESS},
    {"utime_readable", utime_readable, HARMLESS},
    {"watch_outside", watch_outside, HARMLESS},
    {"watch_everything", watch_everything, HARMLESS},
    {"open_log_device", open_log_device, JAILED_ONLY},
    {"open_core_pattern", open_core_pattern, JAILED_ONLY},
    {"open_own_score", open_own_score, JAILED_ONLY},
    {"open_terminal", open_terminal, JAILED_ONLY},
    {"link_to_secret", link_to_secret, HARMLESS},
    {"link_descriptor", link_descriptor, HARMLESS},
    {"chmod_by_new_call", chmod_by_new_call, HARMLESS},
    {"flags_by_new_call", flags_by_new_call, JAILED_ONLY},
    {"link_out_of_room", link_out_of_room, HARMLESS},
    {"link_into_room", link_into_room, HARMLESS},
    {"link_readable", link_readable, HARMLESS},
    {"rename_readable", rename_readable, HARMLESS},
    {"rename_out_of_room", rename_out_of_room, HARMLESS},
    {"rename_into_room", rename_into_room, HARMLESS},
    {"link_race", link_race, HARMLESS},
    {"open_by_handle", open_by_handle, HARMLESS},
    {"use_readable", use_readable, HARMLESS},
    {"use_room", use_room, HARMLESS},
    {NULL, NULL, 0},
};
