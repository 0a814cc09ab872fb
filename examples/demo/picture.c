#define _POSIX_C_SOURCE 200809L /* popen */
#include <stdio.h>

#include "demo.h"

static bool write_points(const char *path, const panel *panels, int panel_count, int64_t points,
                         int turns, const int32_t *labels)
{
    FILE *const f = fopen(path, "w");
    if (!f) {
        perror(path);
        return false;
    }
    for (int64_t n = 0; n < points; n++) {
        fprintf(f, "%d %d", (int)labels[n / turns], (int)(n % turns));
        for (int p = 0; p < panel_count; p++)
            fprintf(f, " %.9g %.9g", panels[p].coordinates[2 * n],
                    panels[p].coordinates[2 * n + 1]);
        fputc('\n', f);
    }
    return fclose(f) == 0;
}

bool draw_picture(const char *png, const char *data, const panel *panels, int panel_count,
                  int64_t points, int turns, const int32_t *labels, const char *caption)
{
    static const char *const colours[2] = {"#d95f02", "#1b6ca8"};
    if (!write_points(data, panels, panel_count, points, turns, labels))
        return false;
    const int32_t first = labels[0];
    int32_t second = first;
    for (int64_t n = 0; n < points; n++)
        second = labels[n / turns] != first ? labels[n / turns] : second;
    const int32_t classes[2] = {first < second ? first : second, first < second ? second : first};

    FILE *const plot = popen("gnuplot", "w");
    if (!plot) {
        perror("gnuplot");
        return false;
    }
    fprintf(plot,
            "set terminal pngcairo size %d,600 font 'sans,13' background rgb 'white'\n"
            "set output '%s'\n"
            "set multiplot layout 1,%d title \"%s\" font ',15' margins 0.05,0.985,0.19,0.82 "
            "spacing 0.06,0.1\n"
            "set border lc rgb '#888888'\nunset xtics\nunset ytics\n"
            "set offsets graph 0.04, graph 0.04, graph 0.04, graph 0.04\n"
            "set key at screen 0.5,0.045 center horizontal maxrows 1 samplen 1 width 3\n",
            620 * panel_count, png, panel_count, caption);
    for (int p = 0; p < panel_count; p++) {
        fprintf(plot,
                "set title \"%s\"\n"
                "set xlabel \"first component, %.0f %% of the variance\"\n"
                "set ylabel \"second, %.0f %%\"\n%s\nplot ",
                panels[p].title, 100 * panels[p].shares[0], 100 * panels[p].shares[1],
                p ? "unset key" : "");
        for (int c = 0; c < 2; c++)
            for (int turned = 1; turned >= 0; turned--)
                fprintf(plot,
                        "%s'%s' using ($1==%d && ($2>0)==%d ? $%d : 1/0):%d with points pt %d ps "
                        "%s lw 1.3 lc rgb '%s' title '%d, %s'",
                        c || !turned ? ", " : "", data, (int)classes[c], turned, 3 + 2 * p,
                        4 + 2 * p, turned ? 6 : 7, turned ? "1.5" : "0.8", colours[c],
                        (int)classes[c], turned ? "turned" : "upright");
        fprintf(plot, "\n");
    }
    fprintf(plot, "unset multiplot\n");
    return pclose(plot) == 0;
}
