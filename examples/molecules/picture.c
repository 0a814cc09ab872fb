#include <math.h>
#include <stdio.h>
#include <string.h>

#include "examples/common/common.h"
#include "picture.h"

/* ---- codes ----------------------------------------------------------------------------------- */

/* As gnuplot's $points. */
static void write_points(FILE *plot, const code_picture *picture)
{
    fprintf(plot, "$points << end\n");
    for (int64_t n = 0; n < picture->points + MARKED * COPIES; n++) {
        const int64_t copy = n - picture->points;
        fprintf(plot, "%d %.6g", copy < 0 ? 0 : 1 + (int)(copy % MARKED),
                picture->value[copy < 0 ? n : copy % MARKED]);
        for (int p = 0; p < PANELS; p++)
            fprintf(plot, " %.6g %.6g", picture->coordinates[p][2 * n],
                    picture->coordinates[p][2 * n + 1]);
        fputc('\n', plot);
    }
    fprintf(plot, "end\n");
}

bool draw_codes(const code_picture *picture, const char *folder)
{
    static const char *const marks[MARKED] = {"rgb '#d62728'", "rgb 'black'", "rgb '#ff7f0e'",
                                              "rgb '#e377c2'"};
    gnuplot g;
    if (!picture_open(&g, folder, "molecules-codes.png", 640 * PANELS, 620))
        return false;
    FILE *const plot = g.to;
    write_points(plot, picture);
    fprintf(
        plot,
        "set multiplot layout 1,%d title \"Codes of molecules, coloured by their gap; four of them "
        "in 24 orders of their atoms\" font "
        "',15' margins 0.05,0.9,0.1,0.84 spacing 0.06,0.1\n"
        "set border lc rgb '#888888'\nunset xtics\nunset ytics\nunset key\n"
        "set offsets graph 0.04, graph 0.04, graph 0.04, graph 0.04\n"
        "set cblabel 'gap [hartree]'\nset cbrange [0.15:0.35]\n"
        "set palette defined (0 '#440154', 1 '#3b528b', 2 '#21918c', 3 '#5ec962', 4 '#fde725')\n",
        PANELS);
    for (int p = 0; p < PANELS; p++) {
        fprintf(plot,
                "set title \"%s\"\n"
                "set xlabel \"first component, %.0f %% of the variance\"\n"
                "set ylabel \"second, %.0f %%\"\n%s colorbox\n"
                "plot $points using ($1==0 ? $%d : 1/0):%d:2 with points pt 7 ps "
                "0.5 lc palette",
                picture->titles[p], 100 * picture->shares[p][0], 100 * picture->shares[p][1],
                p + 1 < PANELS ? "unset" : "set", 3 + 2 * p, 4 + 2 * p);
        for (int m = 0; m < MARKED; m++)
            fprintf(plot,
                    ", $points using ($1==%d ? $%d : 1/0):%d with points pt %d ps 1.3 lw 1.6 lc %s",
                    m + 1, 3 + 2 * p, 4 + 2 * p, 4 + 2 * m, marks[m]);
        fprintf(plot, "\n");
    }
    fprintf(plot, "unset multiplot\n");
    return picture_close(&g);
}

/* ---- molecules ------------------------------------------------------------------------------- */

/* A molecule's place, room for a title, molecules beside each other: few, for narrow screens. */
enum { CELL = 150, HEAD = 44, ROW = 6, ROUNDS = 600 };

typedef struct place_2d {
    double x, y;
} place_2d;

/* Steps along bonds, NODES where there is no way. */
static void path_lengths(const graph *g, int n, double d[NODES][NODES])
{
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++)
            d[i][j] = i == j ? 0 : g->cell[i][j] != NO_BOND ? 1 : NODES;
    for (int k = 0; k < n; k++)
        for (int i = 0; i < n; i++)
            for (int j = 0; j < n; j++)
                d[i][j] = fmin(d[i][j], d[i][k] + d[k][j]);
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++)
            d[i][j] = fmin(d[i][j], 3.5);
}

/* Distances in the plane like those along bonds: gradient descent on the stress. */
static void lay_out(const graph *g, int n, place_2d at[NODES])
{
    double d[NODES][NODES];
    path_lengths(g, n, d);
    for (int i = 0; i < n; i++)
        at[i] = (place_2d){cos(2.4 * i) * (1 + 0.1 * i), sin(2.4 * i) * (1 + 0.1 * i)};
    for (int round = 0; round < ROUNDS; round++)
        for (int i = 0; i < n; i++) {
            place_2d push = {0, 0};
            for (int j = 0; j < n; j++) {
                if (j == i)
                    continue;
                const double x = at[i].x - at[j].x, y = at[i].y - at[j].y;
                const double far = fmax(sqrt(x * x + y * y), 1e-3);
                const double by = (far - d[i][j]) / (d[i][j] * d[i][j]) / far;
                push.x += by * x;
                push.y += by * y;
            }
            at[i].x -= 0.2 * push.x;
            at[i].y -= 0.2 * push.y;
        }
}

/* Places in the middle of a cell of the picture. */
static void fit_into(int n, double left, double top, place_2d at[NODES])
{
    double low[2] = {1e9, 1e9}, high[2] = {-1e9, -1e9};
    for (int i = 0; i < n; i++) {
        low[0] = fmin(low[0], at[i].x), high[0] = fmax(high[0], at[i].x);
        low[1] = fmin(low[1], at[i].y), high[1] = fmax(high[1], at[i].y);
    }
    const double size = fmax(fmax(high[0] - low[0], high[1] - low[1]), 2);
    const double scale = (CELL - 46) / size;
    for (int i = 0; i < n; i++) {
        at[i].x = left + CELL / 2.0 + scale * (at[i].x - (low[0] + high[0]) / 2);
        at[i].y = top + CELL / 2.0 + scale * (at[i].y - (low[1] + high[1]) / 2);
    }
}

static void draw_bond(FILE *f, place_2d a, place_2d b, int type)
{
    const int strokes = type == AROMATIC ? 2 : type;
    const double x = b.x - a.x, y = b.y - a.y, length = fmax(sqrt(x * x + y * y), 1e-6);
    for (int s = 0; s < strokes; s++) {
        const double off = 4.5 * (s - (strokes - 1) / 2.0), ox = -y / length * off,
                     oy = x / length * off;
        fprintf(f,
                "<line x1='%.1f' y1='%.1f' x2='%.1f' y2='%.1f' stroke='#444' "
                "stroke-width='2'%s/>\n",
                a.x + ox, a.y + oy, b.x + ox, b.y + oy,
                type == AROMATIC && s ? " stroke-dasharray='4 3'" : "");
    }
}

static void draw_molecule(FILE *f, const graph *g, double left, double top)
{
    static const char *const letters[] = {"", "C", "N", "O", "F"};
    static const char *const colours[] = {"", "#444", "#2b5fd9", "#d92b2b", "#2b9e3f"};
    const int n = graph_nodes(g);
    const bool molecule = graph_is_molecule(g);
    place_2d at[NODES];
    lay_out(g, n, at);
    fit_into(n, left, top, at);
    fprintf(f, "<rect x='%.1f' y='%.1f' width='%d' height='%d' rx='8' fill='%s' stroke='%s'/>\n",
            left + 4, top + 4, CELL - 8, CELL - 8, molecule ? "#f2f8f2" : "#fbf3f1",
            molecule ? "#7ab87a" : "#e0b0a8");
    for (int i = 0; i < n; i++)
        for (int j = 0; j < i; j++)
            if (g->cell[i][j] != NO_BOND)
                draw_bond(f, at[i], at[j], g->cell[i][j]);
    for (int i = 0; i < n; i++) {
        fprintf(f, "<circle cx='%.1f' cy='%.1f' r='8' fill='%s'/>\n", at[i].x, at[i].y,
                molecule ? "#f2f8f2" : "#fbf3f1");
        fprintf(f,
                "<text x='%.1f' y='%.1f' font-size='13' font-family='sans-serif' "
                "font-weight='bold' text-anchor='middle' fill='%s'>%s</text>\n",
                at[i].x, at[i].y + 4.5, colours[g->cell[i][i]], letters[g->cell[i][i]]);
    }
}

bool draw_lines(const graph *raw, const graph *sorted, int steps, const char *folder)
{
    const graph *const rows[2] = {raw, sorted};
    static const char *const titles[2] = {"between codes in the order of the atoms",
                                          "between sorted codes"};
    const int lines = (steps + ROW - 1) / ROW;
    const int width = ROW * CELL + 8, height = 2 * (HEAD + lines * CELL) + 8;
    output o;
    if (!output_open(&o, folder, "molecules-lines.svg"))
        return false;
    fprintf(o.file,
            "<svg xmlns='http://www.w3.org/2000/svg' width='%d' height='%d' viewBox='0 0 %d %d'>\n"
            "<rect width='100%%' height='100%%' fill='white'/>\n",
            width, height, width, height);
    for (int r = 0; r < 2; r++) {
        const double top = HEAD + r * (HEAD + lines * CELL);
        fprintf(o.file, "<text x='8' y='%.1f' font-size='24' font-family='sans-serif'>%s</text>\n",
                top - 12, titles[r]);
        for (int s = 0; s < steps; s++) {
            const int line = s / ROW, column = s % ROW;
            draw_molecule(o.file, &rows[r][s], 4 + column * CELL, top + line * CELL);
        }
    }
    fprintf(o.file, "</svg>\n");
    return output_close(&o, true);
}
