/* Pictures: codes in the plane of their principal components, molecules on a line. */
#ifndef EXAMPLES_MOLECULES_PICTURE_H
#define EXAMPLES_MOLECULES_PICTURE_H

#include "graph.h"

enum { POINTS = 2000, MARKED = 4, COPIES = 24, PANELS = 2 };

/*
 * Where molecules stand in each panel, and the number that colours them. Behind them MARKED * COPIES
 * points of the first MARKED molecules in many orders of their atoms, copy by copy.
 */
typedef struct code_picture {
    int64_t points; /* without the copies */
    const double *value;
    const double *coordinates[PANELS]; /* [points + MARKED * COPIES, 2] */
    double shares[PANELS][2];
    const char *titles[PANELS];
} code_picture;

/* <folder>/molecules-codes.png by gnuplot, its points beside it. False, with a reason on stderr. */
bool draw_codes(const code_picture *picture, const char *folder);

/* Two rows of molecules as <folder>/molecules-lines.svg. False, with a reason on stderr. */
bool draw_lines(const graph *raw, const graph *sorted, int steps, const char *folder);

#endif
