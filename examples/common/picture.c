#include <string.h>

#include "common.h"

/* ---- the planes ----------------------------------------------------------------------------- */

static const int32_t picture_pair[2] = {4, 7};

/* The first digits of two classes in all four turns. */
static equinv_status choose_digits(equinv_context *cpu, const digits_set *set,
                                   equinv_tensor *turned, code_planes *planes)
{
    int64_t chosen[PICTURE_DIGITS], count = 0;
    const int32_t *const label = set->labels.data;
    const int64_t *const shape = set->images.shape;
    equinv_status status;
    for (int64_t n = 0; n < shape[0] && count < PICTURE_DIGITS; n++)
        if (label[n] == picture_pair[0] || label[n] == picture_pair[1])
            chosen[count++] = n;
    TRY(equinv_tensor_create(cpu, EQUINV_U8, 3, (int64_t[]){count * TURNS, shape[1], shape[2]},
                             turned));
    for (int64_t i = 0; i < count; i++) {
        planes->labels[i] = label[chosen[i]];
        for (int32_t g = 0; g < TURNS; g++) {
            equinv_tensor from, to;
            TRY(equinv_tensor_rows(&set->images, chosen[i], 1, &from));
            TRY(equinv_tensor_rows(turned, i * TURNS + g, 1, &to));
            TRY(turn_images(cpu, g, &from, &to));
        }
    }
    planes->points = count * TURNS;
done:
    return status;
}

equinv_status find_planes(const extraction *network, const coder *code, const digits *d,
                          code_planes *planes)
{
    equinv_context *const cpu = network->place->cpu;
    equinv_tensor images = {0}, latents = {0}, codes = {0};
    equinv_status status;
    memset(planes, 0, sizeof *planes);
    TRY(choose_digits(cpu, &d->test, &images, planes));
    TRY(extract(network, &images, &latents));
    TRY(encode(code, &latents, &codes));
    TRY(principal_components(&latents, TURNS, planes->coordinates[0], planes->shares[0]));
    TRY(principal_components(&codes, TURNS, planes->coordinates[1], planes->shares[1]));
done:
    equinv_tensor_destroy(cpu, &codes);
    equinv_tensor_destroy(cpu, &latents);
    equinv_tensor_destroy(cpu, &images);
    return status;
}

/* ---- the picture ---------------------------------------------------------------------------- */

/* As gnuplot's $points. */
static void write_points(FILE *plot, const code_planes *planes)
{
    fprintf(plot, "$points << end\n");
    for (int64_t n = 0; n < planes->points; n++) {
        fprintf(plot, "%d %d", (int)planes->labels[n / TURNS], (int)(n % TURNS));
        for (int p = 0; p < PLANES; p++)
            fprintf(plot, " %.9g %.9g", planes->coordinates[p][2 * n],
                    planes->coordinates[p][2 * n + 1]);
        fputc('\n', plot);
    }
    fprintf(plot, "end\n");
}

bool draw_planes(const code_planes *planes, int first, int end, const char *const titles[PLANES],
                 const char *caption, const char *folder, const char *name)
{
    static const char *const colours[2] = {"#d95f02", "#1b6ca8"};
    const int columns = end - first;
    char picture[256];
    snprintf(picture, sizeof picture, "%s.png", name);
    gnuplot g;
    if (planes->points == 0 || !picture_open(&g, folder, picture, 620 * columns, 600))
        return false;
    FILE *const plot = g.to;
    write_points(plot, planes);
    fprintf(plot,
            "set multiplot layout 1,%d title \"%s\" font ',15' margins %g,0.985,0.19,%g "
            "spacing 0.06,0.1\n"
            "set border lc rgb '#888888'\nunset xtics\nunset ytics\n"
            "set offsets graph 0.04, graph 0.04, graph 0.04, graph 0.04\n"
            "set key at screen 0.5,0.045 center horizontal maxrows 1 samplen 1 width 3\n",
            columns, caption, 0.1 / columns, *caption ? 0.82 : 0.93);
    for (int p = first; p < end; p++) {
        fprintf(plot,
                "set title \"%s\"\n"
                "set xlabel \"first component, %.0f %% of the variance\"\n"
                "set ylabel \"second, %.0f %%\"\n%s\nplot ",
                titles[p], 100 * planes->shares[p][0], 100 * planes->shares[p][1],
                p > first ? "unset key" : "");
        for (int c = 0; c < 2; c++)
            for (int turned = 1; turned >= 0; turned--)
                fprintf(
                    plot,
                    "%s$points using ($1==%d && ($2>0)==%d ? $%d : 1/0):%d with points pt %d ps "
                    "%s lw 1.3 lc rgb '%s' title '%d, %s'",
                    c || !turned ? ", " : "", (int)picture_pair[c], turned, 3 + 2 * p, 4 + 2 * p,
                    turned ? 6 : 7, turned ? "1.5" : "0.8", colours[c], (int)picture_pair[c],
                    turned ? "turned" : "upright");
        fprintf(plot, "\n");
    }
    fprintf(plot, "unset multiplot\n");
    return picture_close(&g);
}
