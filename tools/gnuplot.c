#include "tools/gnuplot.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* The child with its input from an end of the pipe; an error number. */
static int spawn(pid_t *child, int input)
{
    char name[] = "gnuplot", *arguments[] = {name, NULL};
    posix_spawn_file_actions_t actions;
    int error = posix_spawn_file_actions_init(&actions);
    if (error)
        return error;
    error = posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
    if (!error)
        error = posix_spawnp(child, name, &actions, NULL, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    return error;
}

bool gnuplot_start(gnuplot *g)
{
    int ends[2];
    if (pipe(ends) != 0)
        return false;
    /* The child must not keep the end that is written to: it would wait for itself. */
    fcntl(ends[1], F_SETFD, FD_CLOEXEC);
    g->to = fdopen(ends[1], "w");
    const int error = g->to ? spawn(&g->child, ends[0]) : errno;
    close(ends[0]);
    if (!error)
        return true;
    if (g->to)
        fclose(g->to);
    else
        close(ends[1]);
    errno = error;
    return false;
}

bool gnuplot_end(gnuplot *g)
{
    int status = -1;
    const bool failed = ferror(g->to), closed = fclose(g->to) == 0;
    while (waitpid(g->child, &status, 0) < 0 && errno == EINTR)
        continue;
    return !failed && closed && status == 0;
}
