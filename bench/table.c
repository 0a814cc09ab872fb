/* A row as text and as JSON. */
#include <math.h>

#include "bench/bench.h"

static const char *time_text(double seconds, char *text, size_t size)
{
    static const struct {
        double unit;
        const char *name;
    } units[] = {{1, "s"}, {1e-3, "ms"}, {1e-6, "us"}, {1e-9, "ns"}};
    if (isnan(seconds)) {
        snprintf(text, size, "-");
        return text;
    }
    size_t u = 0;
    while (u < 3 && seconds < units[u].unit)
        u++;
    snprintf(text, size, "%.4g %s", seconds / units[u].unit, units[u].name);
    return text;
}

static const char *number_text(const char *format, double value, char *text, size_t size)
{
    if (isnan(value))
        snprintf(text, size, "-");
    else
        snprintf(text, size, format, value);
    return text;
}

#define COLUMNS "%-34s %7s %6s %4s %-20s %10s %10s %-10s %10s %7s %7s %9s %9s %9s %6s\n"

void table_head(FILE *out)
{
    fprintf(out, COLUMNS, "case", "batch", "device", "thr", "impl", "time", "copies", "peer",
            "peer time", "ratio", "best", "max_err", "peer_err", "GFLOP/s", "peak");
}

void table_row(FILE *out, const bench_row *r)
{
    char cell[9][24], batch[24], threads[16], error[24];
    const bool smaller = r->check_batch != r->batch;
    snprintf(batch, sizeof batch, "%" PRId64, r->batch);
    snprintf(threads, sizeof threads, "%" PRId32, r->threads);
    snprintf(error, sizeof error, "%.1e%s", r->error, smaller ? "*" : "");
    fprintf(out, COLUMNS, r->what->name, batch, r->device, threads, r->impl ? r->impl : "-",
            time_text(r->time, cell[0], sizeof *cell),
            time_text(r->copies_time, cell[1], sizeof *cell), r->peer ? r->peer : "-",
            time_text(r->peer_time, cell[2], sizeof *cell),
            number_text("%.3g", r->peer_time / r->time, cell[3], sizeof *cell),
            number_text("%.3g", r->peer_best / r->best, cell[7], sizeof *cell), error,
            number_text("%.1e", r->peer_error, cell[4], sizeof *cell),
            number_text("%.1f", r->dense_gflops, cell[5], sizeof *cell),
            number_text("%.3f", r->peak_share, cell[6], sizeof *cell));
    if (!isnan(r->layers)) {
        fprintf(out, "%34s %s alone %s, %.3f of the time", "", r->what->op->parts_name,
                time_text(r->layers, cell[0], sizeof *cell), r->layers / r->time);
        if (!isnan(r->peer_layers))
            fprintf(out, "; %s's %s: ratio %.3g, to our whole network %.3g", r->peer,
                    time_text(r->peer_layers, cell[1], sizeof *cell), r->peer_layers / r->layers,
                    r->peer_layers / r->time);
        fputc('\n', out);
    }
    fflush(out);
}

static void text_or_null(json *j, const char *key, const char *text)
{
    if (text)
        json_text(j, key, text);
    else
        json_number(j, key, (double)NAN);
}

void json_row(FILE *out, const bench_row *r)
{
    json j = {.file = out};
    json_open(&j, NULL, '{');
    json_text(&j, "case", r->what->name);
    json_text(&j, "op", r->what->op->name);
    text_or_null(&j, "impl", r->impl);
    text_or_null(&j, "peer", r->peer);
    json_integer(&j, "threads", r->threads);
    json_number(&j, "time_s", r->time);
    json_number(&j, "peer_time_s", r->peer_time);
    json_number(&j, "ratio", r->peer_time / r->time);
    json_number(&j, "max_err", r->error);
    json_number(&j, "peer_max_err", r->peer_error);
    json_number(&j, "gflops_dense_equiv", r->dense_gflops);
    json_number(&j, "fma_peak_share", r->peak_share);
    json_text(&j, "device", r->device);
    json_integer(&j, "batch", r->batch);
    json_integer(&j, "check_batch", r->check_batch);
    json_number(&j, "time_with_copies_s", r->copies_time);
    json_integer(&j, "samples", r->samples);
    json_text(&j, "pass", word_name(pass_words, (int)r->what->pass));
    json_text(&j, "dtype", equinv_dtype_name(r->what->dtype));
    text_or_null(&j, "peer_impl", r->peer_impl);
    json_text(&j, "clock", r->clock);
    json_number(&j, "best_s", r->best);
    json_number(&j, "peer_best_s", r->peer_best);
    json_number(&j, "layers_s", r->layers);
    json_number(&j, "peer_layers_s", r->peer_layers);
    json_close(&j);
    fflush(out);
}
