#include "cpu/isa/scalar/scalar.h"
#include "cpu/kernel/layers.h"

static const struct level {
    const eqi_batch_norm_kernels *batch_norm;
    const eqi_pool_kernels *pool;
    eqi_resample_kernel *const *resample;
} levels[] = {
    [EQI_ISA_SCALAR] = {&eqi_batch_norm_scalar, &eqi_pool_scalar, &eqi_resample_scalar},
#if defined(__x86_64__)
    [EQI_ISA_AVX2] = {&eqi_batch_norm_avx2, &eqi_pool_avx2, &eqi_resample_avx2},
    [EQI_ISA_AVX512] = {&eqi_batch_norm_avx512, &eqi_pool_avx512, &eqi_resample_avx512},
#endif
};

#define BATCH_NORM(call)                                                                           \
    equinv_status eqi_fast_batch_norm_##call(                                                      \
        const equinv_context *ctx, const eqi_batch_norm_problem *p, const eqi_batch_norm_args *a)  \
    {                                                                                              \
        return levels[ctx->hardware.isa].batch_norm->call(ctx, p, a);                              \
    }
BATCH_NORM(forward_train)
BATCH_NORM(forward_eval)
BATCH_NORM(backward_train)
BATCH_NORM(backward_eval)

equinv_status eqi_fast_pool_forward(const equinv_context *ctx, const eqi_pool_problem *p,
                                    const equinv_tensor *src, const equinv_tensor *dst,
                                    int32_t *saved)
{
    return levels[ctx->hardware.isa].pool->forward(ctx, p, src, dst, saved);
}

equinv_status eqi_fast_pool_backward(const equinv_context *ctx, const eqi_pool_problem *p,
                                     const equinv_tensor *diff_dst, const int32_t *saved,
                                     const equinv_tensor *diff_src)
{
    return levels[ctx->hardware.isa].pool->backward(ctx, p, diff_dst, saved, diff_src);
}

bool eqi_fast_resample(const equinv_context *ctx, const eqi_stencil stencil[2],
                       const equinv_tensor *from, const equinv_tensor *to, bool accumulate)
{
    return (*levels[ctx->hardware.isa].resample)(ctx, stencil, from, to, accumulate);
}
