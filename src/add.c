#include "internal/backend.h"

equinv_status equinv_add(equinv_context *ctx, const equinv_tensor *a, const equinv_tensor *b,
                         const equinv_tensor *dst)
{
    EQI_CHECK(ctx, ARG, "ctx is NULL, expected a context");
    EQI_TRY(eqi_check_tensor(ctx, a, "a", EQI_FLOAT));
    EQI_TRY(eqi_check_tensor(ctx, b, "b", EQI_FLOAT));
    EQI_TRY(eqi_check_dtype(b, "b", a->dtype));
    EQI_TRY(eqi_check_same_shape(b, "b", a, "a"));
    EQI_TRY(eqi_check_output(ctx, dst, "dst", EQI_FLOAT));
    EQI_TRY(eqi_check_dtype(dst, "dst", a->dtype));
    EQI_TRY(eqi_check_same_shape(dst, "dst", a, "a"));
    EQI_TRY(eqi_check_disjoint_or_same(dst, "dst", a, "a"));
    EQI_TRY(eqi_check_disjoint_or_same(dst, "dst", b, "b"));
    return ctx->backend->add(ctx, a, b, dst);
}
