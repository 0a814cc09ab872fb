/* gnuplot, fed its commands through a pipe; no shell between. */
#ifndef TOOLS_GNUPLOT_H
#define TOOLS_GNUPLOT_H

#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

typedef struct gnuplot {
    FILE *to; /* where commands are written */
    pid_t child;
} gnuplot;

/* False, with errno, where it is not there. */
bool gnuplot_start(gnuplot *g);

/* Waits for its end; whether everything was written and it found nothing wrong. */
bool gnuplot_end(gnuplot *g);

#endif
