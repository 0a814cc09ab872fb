#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common.h"

double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void output_signals(void)
{
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
}

bool make_folder(const char *path)
{
    char part[4096];
    if (snprintf(part, sizeof part, "%s/", path) >= (int)sizeof part) {
        errno = ENAMETOOLONG;
        perror(path);
        return false;
    }
    for (char *end = strchr(part + 1, '/'); end; end = strchr(end + 1, '/')) {
        *end = '\0';
        if (mkdir(part, 0777) && errno != EEXIST) {
            perror(part);
            return false;
        }
        *end = '/';
    }
    return true;
}

bool output_open(output *o, const char *folder, const char *name)
{
    o->file = NULL;
    if (!make_folder(folder))
        return false;
    snprintf(o->path, sizeof o->path, "%s/%s", folder, name);
    snprintf(o->part, sizeof o->part, "%s.part", o->path);
    o->file = fopen(o->part, "w");
    if (!o->file)
        perror(o->part);
    return o->file != NULL;
}

bool output_close(output *o, bool good)
{
    good = good && !ferror(o->file);
    errno = 0;
    if (!good && write(fileno(o->file), "", 1) == 1) /* tells why, if it still is so */
        errno = 0;
    good = fclose(o->file) == 0 && good; /* a full disk may show here first */
    good = good && rename(o->part, o->path) == 0;
    if (!good) {
        fprintf(stderr, "%s could not be written%s%s\n", o->path, errno ? ": " : "",
                errno ? strerror(errno) : "");
        unlink(o->part);
    }
    o->file = NULL;
    return good;
}

bool picture_open(gnuplot *g, const char *folder, const char *name, int width, int height)
{
    char path[4200];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (!make_folder(folder))
        return false;
    if (!gnuplot_start(g, path)) {
        fprintf(stderr, "%s could not be written: gnuplot: %s\n", path, strerror(errno));
        return false;
    }
    fprintf(g->to, "set terminal pngcairo size %d,%d font 'sans,13' background rgb 'white'\n",
            width, height);
    return true;
}

bool picture_close(gnuplot *g)
{
    const bool good = gnuplot_end(g);
    if (!good)
        fprintf(stderr, "%s could not be written: gnuplot failed\n", g->path);
    return good;
}
