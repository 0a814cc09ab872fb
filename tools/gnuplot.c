#include "tools/gnuplot.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* The child between the pipe and the picture; an error number. */
static int spawn(pid_t *child, int input, int output)
{
    char name[] = "gnuplot", *arguments[] = {name, NULL};
    posix_spawn_file_actions_t actions;
    int error = posix_spawn_file_actions_init(&actions);
    if (error)
        return error;
    error = posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
    if (!error)
        error = posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
    if (!error)
        error = posix_spawnp(child, name, &actions, NULL, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    return error;
}

/* The child, drawing into an open file; an error number. */
static int start(gnuplot *g, int output)
{
    int ends[2];
    if (pipe(ends) != 0)
        return errno;
    /* The child must not keep the end that is written to: it would wait for itself. */
    fcntl(ends[1], F_SETFD, FD_CLOEXEC);
    g->to = fdopen(ends[1], "w");
    const int error = g->to ? spawn(&g->child, ends[0], output) : errno;
    close(ends[0]);
    if (error && g->to)
        fclose(g->to);
    else if (error)
        close(ends[1]);
    return error;
}

bool gnuplot_start(gnuplot *g, const char *path)
{
    if (strlen(path) >= sizeof g->path) {
        errno = ENAMETOOLONG;
        return false;
    }
    strcpy(g->path, path);
    snprintf(g->part, sizeof g->part, "%s.part", path);
    const int output = open(g->part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (output < 0)
        return false;
    const int error = start(g, output);
    close(output);
    if (error)
        remove(g->part);
    errno = error;
    return !error;
}

static bool is_whole(const char *path)
{
    static const char last[] = {'I', 'E', 'N', 'D', '\xae', '\x42', '\x60', '\x82'};
    char end[sizeof last];
    FILE *const f = fopen(path, "rb");
    const bool read = f && fseek(f, -(long)sizeof end, SEEK_END) == 0 &&
                      fread(end, 1, sizeof end, f) == sizeof end;
    if (f)
        fclose(f);
    return read && memcmp(end, last, sizeof end) == 0;
}

bool gnuplot_end(gnuplot *g)
{
    int status = -1;
    const bool failed = ferror(g->to), closed = fclose(g->to) == 0;
    while (waitpid(g->child, &status, 0) < 0 && errno == EINTR)
        continue;
    if (!failed && closed && status == 0 && is_whole(g->part) && rename(g->part, g->path) == 0)
        return true;
    remove(g->part);
    return false;
}
