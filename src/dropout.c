#include "internal/backend.h"

equinv_status equinv_dropout(equinv_context *ctx, double p, uint64_t seed, uint64_t step,
                             const equinv_tensor *src, const equinv_tensor *dst)
{
    EQI_CHECK(ctx, ARG, "ctx is NULL, expected a context");
    EQI_CHECK(p >= 0 && p < 1, ARG, "p is %g, expected 0 or more, below 1", p);
    EQI_TRY(eqi_check_tensor(ctx, src, "src", EQI_FLOAT));
    EQI_CHECK(src->ndim >= 2, SHAPE, "src has ndim %" PRId32 ", expected at least 2: [N, F, ..]",
              src->ndim);
    EQI_TRY(eqi_check_output(ctx, dst, "dst", EQI_FLOAT));
    EQI_TRY(eqi_check_dtype(dst, "dst", src->dtype));
    EQI_TRY(eqi_check_same_shape(dst, "dst", src, "src"));
    EQI_TRY(eqi_check_disjoint_or_same(dst, "dst", src, "src"));
    return ctx->backend->dropout(ctx, p, seed, step, src, dst);
}
