/* What the GPU can do at best, measured through the library's public calls. */
#include <math.h>

#include "bench/bench.h"

enum { TRIALS = 5 };
/* Sizes grow until a call takes this long: a small GPU, or a kernel that runs on the host, is not kept. */
static const double long_enough = 1e-3;

/* The best of a few calls, each waited for. */
static equinv_status best_time(equinv_context *ctx, equinv_status (*call)(void *arg), void *arg,
                               double *best)
{
    equinv_status status = call(arg); /* warm-up */
    *best = (double)INFINITY;
    for (int i = 0; !status && i < TRIALS; i++) {
        status = equinv_context_synchronize(ctx);
        const double start = bench_seconds();
        if (!status)
            status = call(arg);
        if (!status)
            status = equinv_context_synchronize(ctx);
        *best = fmin(*best, bench_seconds() - start);
    }
    return status;
}

/* ---- matrix product --------------------------------------------------------------------------------- */

static equinv_status call_problem(void *arg)
{
    problem *const p = arg;
    return p->runner->run(p);
}

equinv_status gpu_peak(equinv_context *ctx, double *gflops)
{
    double seconds = 0;
    bench_case c;
    case_defaults(&c);
    c.op = &dense_operation;
    for (int64_t n = 256; seconds < long_enough && n <= 8192; n *= 2) {
        problem p;
        c.batch = c.fields_in = c.fields_out = n;
        equinv_status status = problem_create(&c, &c.op->runner, ctx, EQUINV_F32, NULL, &p);
        if (status)
            return status;
        status = best_time(ctx, call_problem, &p, &seconds);
        problem_destroy(&p);
        if (status)
            return status;
        *gflops = 2e-9 * c.op->dense(&c) / seconds;
    }
    return EQUINV_OK;
}

/* ---- copies ----------------------------------------------------------------------------------------- */

typedef struct copy {
    equinv_context *ctx;
    equinv_tensor src, dst;
} copy;

static equinv_status call_copy(void *arg)
{
    const copy *const c = arg;
    return equinv_tensor_copy(c->ctx, &c->src, &c->dst);
}

static equinv_status time_copy(copy *c, bool upload, int64_t bytes, double *seconds)
{
    equinv_status status = upload
                               ? equinv_tensor_create_pinned(c->ctx, EQUINV_U8, 1, &bytes, &c->src)
                               : equinv_tensor_create(c->ctx, EQUINV_U8, 1, &bytes, &c->src);
    if (!status)
        status = equinv_tensor_create(c->ctx, EQUINV_U8, 1, &bytes, &c->dst);
    if (!status)
        status = best_time(c->ctx, call_copy, c, seconds);
    equinv_tensor_destroy(c->ctx, &c->src);
    equinv_tensor_destroy(c->ctx, &c->dst);
    return status;
}

equinv_status gpu_copy_bandwidth(equinv_context *ctx, bool upload, double *bandwidth)
{
    double seconds = 0;
    for (int64_t bytes = 1 << 20; seconds < long_enough && bytes <= INT64_C(1) << 30; bytes *= 4) {
        copy c = {.ctx = ctx};
        const equinv_status status = time_copy(&c, upload, bytes, &seconds);
        if (status)
            return status;
        *bandwidth = 1e-9 * (double)bytes * (upload ? 1 : 2) / seconds;
    }
    return EQUINV_OK;
}
