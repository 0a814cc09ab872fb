#include "scalar.h"

typedef struct job {
    const equinv_tensor *src, *diff_dst, *dst;
    double slope;
} job;

#define REAL float
#define NAME(function) function##_f32
#include "cpu/kernel/relu.inc.c"
#undef REAL
#undef NAME
#define REAL double
#define NAME(function) function##_f64
#include "cpu/kernel/relu.inc.c"

bool eqi_fast_relu_forward(const equinv_context *ctx, double slope, const equinv_tensor *src,
                           const equinv_tensor *dst)
{
    job j = {.src = src, .dst = dst, .slope = slope};
    const eqi_walk walk = eqi_walk_of(2, (const equinv_tensor *const[]){dst, src}, 0);
    if (!eqi_walk_is_unit(&walk))
        return false;
    eqi_walk_run(ctx, &walk, src->dtype == EQUINV_F32 ? forward_f32 : forward_f64, &j);
    return true;
}

bool eqi_fast_relu_backward(const equinv_context *ctx, double slope, const equinv_tensor *src,
                            const equinv_tensor *diff_dst, const equinv_tensor *diff_src)
{
    job j = {.src = src, .diff_dst = diff_dst, .dst = diff_src, .slope = slope};
    const eqi_walk walk =
        eqi_walk_of(3, (const equinv_tensor *const[]){diff_src, src, diff_dst}, 0);
    if (!eqi_walk_is_unit(&walk))
        return false;
    eqi_walk_run(ctx, &walk, src->dtype == EQUINV_F32 ? backward_f32 : backward_f64, &j);
    return true;
}
