/* What a worker prints to. Without a jail it is the application's own open file. */
#include "hostile.h"
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define FLOOD_LINES 400000

static outcome cut_output(const scene *at)
{
    (void)at;
    return either(tried_or("cut the file of standard output", ftruncate(STDOUT_FILENO, 0), EINVAL),
                  tried_or("cut the file of standard error", ftruncate(STDERR_FILENO, 0), EINVAL));
}

/* Also if it was opened to be appended to, which is a flag that anyone can take away. */
static outcome overwrite_output(const scene *at)
{
    (void)at;
    fcntl(STDERR_FILENO, F_SETFL, 0);
    return either(tried_or("write over the file's beginning", pwrite(STDERR_FILENO, "hostile", 7, 0), ESPIPE),
                  tried_or("go to the file's beginning", lseek(STDOUT_FILENO, 0, SEEK_SET), ESPIPE));
}

static outcome unblock_output(const scene *at)
{
    (void)at;
    return tried("have writers to standard error not wait", fcntl(STDERR_FILENO, F_SETFL, O_NONBLOCK));
}

static outcome unblock_output_by_ioctl(const scene *at)
{
    int yes = 1;
    (void)at;
    return tried("have writers to standard error not wait, by ioctl", ioctl(STDERR_FILENO, FIONBIO, &yes));
}

static outcome shrink_output(const scene *at)
{
    (void)at;
    return tried("have the pipe of standard error hold less", fcntl(STDERR_FILENO, F_SETPIPE_SZ, 4096));
}

/* Its other end, by which it takes what others have written there. Before it prints itself. */
static int reopened(void) { return open("/proc/self/fd/2", O_RDONLY | O_NONBLOCK | O_CLOEXEC); }

static outcome read_output(const scene *at)
{
    char bytes[256];
    int other_end = reopened();
    outcome outcome = tried("open standard error to read it", other_end);
    (void)at;
    if (other_end == -1) return outcome;
    outcome = tried_or("read what others print", read(other_end, bytes, sizeof bytes), EAGAIN);
    close(other_end);
    return outcome;
}

static outcome tee_output(const scene *at)
{
    int other_end = reopened(), own[2];
    outcome outcome = tried("open standard error to read it", other_end);
    (void)at;
    if (other_end == -1) return outcome;
    if (pipe(own) == -1) return tried("make a pipe", -1);
    outcome = tried_or("copy what others print", tee(other_end, own[1], 4096, SPLICE_F_NONBLOCK), EAGAIN);
    close(own[0]);
    close(own[1]);
    close(other_end);
    return outcome;
}

/* Pages of a file, which the reader finds in the pipe. */
static outcome splice_to_output(const scene *at)
{
    int file = open(in(at->readable, "data"), O_RDONLY | O_CLOEXEC);
    if (file == -1 || splice(file, NULL, STDERR_FILENO, NULL, 4096, 0) == -1)
        return tried("splice a file to standard error", -1);
    close(file);
    return unseen("splice a file to standard error");
}

/* Each line has a number of eight digits. */
static outcome flood_output(const scene *at)
{
    int line;
    (void)at;
    for (line = 0; line < FLOOD_LINES; line++) dprintf(STDERR_FILENO, "%08d hostile\n", line);
    return unseen("print without an end");
}

/* A title, a cleared screen in two ways, a line that is written over, one that is turned round, a question to
 * which the terminal types an answer, and bytes that are no text, the last of which begin a character. */
static outcome control_terminal(const scene *at)
{
    static const char text[] = "plain \xc3\xa4\t.\x1b]0;title\x07\x1b[2J\xc2\x9b"
                               "2J\rover\xe2\x80\xaeturned\x1b[6n\x05\x08\x7f\xff\n\xe2\x80";
    (void)at;
    if (write(STDOUT_FILENO, text, sizeof text - 1) == -1) return tried("print", -1);
    return unseen("control the terminal");
}

static outcome close_output(const scene *at)
{
    (void)at;
    close(STDOUT_FILENO);
    close(STDERR_FILENO);
    return unseen("close what it prints to");
}

static outcome last_words(const scene *at)
{
    (void)at;
    dprintf(STDERR_FILENO, "last words");
    raise(SIGKILL);
    return unseen("die");
}

/* A program that has it open when the worker is gone. */
static outcome leave_program_that_prints(const scene *at)
{
    static char *const arguments[] = {"sleep", "1000", NULL};
    pid_t child = fork();
    (void)at;
    if (child == 0) {
        execve("/bin/sleep", arguments, NULL);
        _exit(errno);
    }
    return child == -1 ? tried("fork", -1) : unseen("leave a program");
}

const attack OUTPUT[] = {
    {"cut_output", cut_output, HARMLESS},
    {"overwrite_output", overwrite_output, HARMLESS},
    {"unblock_output", unblock_output, HARMLESS},
    {"unblock_output_by_ioctl", unblock_output_by_ioctl, HARMLESS},
    {"shrink_output", shrink_output, HARMLESS},
    {"read_output", read_output, HARMLESS},
    {"tee_output", tee_output, HARMLESS},
    {"splice_to_output", splice_to_output, HARMLESS},
    {"flood_output", flood_output, HARMLESS},
    {"control_terminal", control_terminal, HARMLESS},
    {"close_output", close_output, HARMLESS},
    {"last_words", last_words, HARMLESS},
    {"leave_program_that_prints", leave_program_that_prints, HARMLESS},
    {NULL, NULL, 0},
};
