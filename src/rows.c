#include "internal/rows.h"

#include <stdatomic.h>

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

void eqi_parallel_rows(const equinv_context *ctx, int64_t rows, int64_t chunk, eqi_rows_body *body,
                       const void *arg, void *scratch, size_t slice_size)
{
    job j = {.body = body,
             .arg = arg,
             .rows = rows,
             .chunk = chunk,
             .scratch = scratch,
             .slice_size = slice_size};
    const int64_t chunks = rows / chunk + (rows % chunk != 0);
    const int64_t threads = ctx->hardware.threads;
    eqi_parallel_for(ctx, chunks < threads ? chunks : threads, run, &j);
}
