#include "internal/rows.h"

#include <stdatomic.h>

/* Operations that take about as long as waking a thread and waiting for it, a few times over. */
#ifndef EQI_WORTH_A_THREAD
#define EQI_WORTH_A_THREAD (1 << 18) /* the thread sanitizer's build shares everything out */
#endif
static const double worth_a_thread = EQI_WORTH_A_THREAD;

typedef struct job {
    eqi_rows_body *body;
    const void *arg;
    int64_t rows, chunk;
    char *scratch;
    size_t slice_size;
    _Atomic int64_t next;
} job;

static void run(void *arg, int64_t runner)
{
    job *const j = arg;
    void *const slice = j->slice_size ? j->scratch + (size_t)runner * j->slice_size : NULL;
    for (;;) {
        const int64_t first = atomic_fetch_add(&j->next, j->chunk);
        if (first >= j->rows)
            break;
        const int64_t left = j->rows - first;
        j->body(j->arg, first, left < j->chunk ? left : j->chunk, slice);
    }
}

int64_t eqi_threads_worth(double work, int64_t most)
{
    const double worth = 1 + work / worth_a_thread;
    return worth < (double)most ? (int64_t)worth : most;
}

void eqi_parallel_rows(const equinv_context *ctx, int64_t rows, double row_work, int64_t chunk,
                       eqi_rows_body *body, const void *arg, void *scratch, size_t slice_size)
{
    job j = {.body = body,
             .arg = arg,
             .rows = rows,
             .chunk = chunk,
             .scratch = scratch,
             .slice_size = slice_size};
    const int64_t chunks = rows / chunk + (rows % chunk != 0);
    const int64_t most = chunks < ctx->hardware.threads ? chunks : ctx->hardware.threads;
    eqi_parallel_for(ctx, eqi_threads_worth((double)rows * row_work, most), run, &j);
}

void eqi_parallel_if_worth(const equinv_context *ctx, int64_t count, double work, equinv_task task,
                           void *arg)
{
    if (work >= worth_a_thread) {
        eqi_parallel_for(ctx, count, task, arg);
        return;
    }
    for (int64_t i = 0; i < count; i++)
        task(arg, i);
}
