/*
 * gnuplot, fed its commands through a pipe; no shell between. The picture is what it writes to its output, and
 * data are among its commands: no name of a file is ever quoted for it.
 */
#ifndef TOOLS_GNUPLOT_H
#define TOOLS_GNUPLOT_H

#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

typedef struct gnuplot {
    FILE *to;                    /* where commands are written, `set output` not among them */
    char path[4096], part[4104]; /* the picture's place, and where it grows until it is whole */
    pid_t child;
} gnuplot;

/* Draws a PNG that is to be at `path`. False, with errno: gnuplot is not there, or the file cannot be. */
bool gnuplot_start(gnuplot *g, const char *path);

/*
 * Waits for its end. The picture is at its path if everything was written and gnuplot found nothing wrong; else
 * false, and what is at that path is as before. A disk that is full is no error to gnuplot: a PNG is whole if
 * it has its last chunk.
 */
bool gnuplot_end(gnuplot *g);

#endif
