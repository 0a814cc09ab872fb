/* What stands above the table. */
#include <math.h>
#include <time.h>

#include "bench/bench.h"

/* Made by bench.mk. */
static const char commit[] =
#include "bench_commit.inc"
    ;

static void print_date(FILE *out)
{
    char text[32] = "unknown";
    const time_t now = time(NULL);
    struct tm parts;
    if (gmtime_r(&now, &parts))
        strftime(text, sizeof text, "%Y-%m-%d %H:%M UTC", &parts);
    fprintf(out, "equinv-bench %s, commit %s, %s\n", equinv_version(), commit, text);
}

/* A figure that cannot be had is named, and its shares stay unknown. */
static void print_gpu(FILE *out, equinv_context *cuda, machine *m)
{
    fprintf(out, "GPU: %s\n", equinv_context_description(cuda));
    if (gpu_peak(cuda, &m->gpu_peak))
        fprintf(out, "matrix product: not measured: %s\n", equinv_last_error());
    else
        fprintf(out, "matrix product (f32): %.1f GFLOP/s\n", m->gpu_peak);
    if (gpu_copy_bandwidth(cuda, false, &m->gpu_copy) ||
        gpu_copy_bandwidth(cuda, true, &m->gpu_upload))
        fprintf(out, "copies: not measured: %s\n", equinv_last_error());
    else
        fprintf(out, "copy: %.1f GB/s read and written on the GPU, %.1f GB/s to it\n", m->gpu_copy,
                m->gpu_upload);
}

void header_print(FILE *out, equinv_context *cpu, equinv_context *cuda, machine *m)
{
    char text[128];
    *m = (machine){.gpu_peak = (double)NAN, .gpu_copy = (double)NAN, .gpu_upload = (double)NAN};
    m->fma_peak = machine_fma_peak(&m->fma_isa);
    m->copy_bandwidth = machine_copy_bandwidth();
    print_date(out);
    fprintf(out, "CPU: %s, %" PRId32 " threads; %s\n", machine_cpu(text, sizeof text),
            equinv_context_threads(cpu), equinv_context_description(cpu));
    fprintf(out, "FMA peak of one core (%s, f32): %.1f GFLOP/s; copy: %.1f GB/s read and written\n",
            m->fma_isa, m->fma_peak, m->copy_bandwidth);
    const int32_t threads = equinv_context_threads(cpu);
    m->fma_peak_together = threads > 1 ? machine_fma_peak_together(threads) : m->fma_peak;
    if (threads > 1)
        fprintf(out, "FMA peak of %" PRId32 " threads: %.1f GFLOP/s, %.2f times that of one\n",
                threads, m->fma_peak_together, m->fma_peak_together / m->fma_peak);
    peers_describe(out);
    if (cuda)
        print_gpu(out, cuda, m);
    fputs("time: median of interleaved calls; copies: with copies in and out; *: compared at a "
          "smaller "
          "batch\n\n",
          out);
    fflush(out);
}
