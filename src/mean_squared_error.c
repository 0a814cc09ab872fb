#include "internal/backend.h"

equinv_status equinv_mean_squared_error(equinv_context *ctx, const equinv_tensor *src,
                                        const equinv_tensor *target, const equinv_tensor *loss,
                                        const equinv_tensor *diff_src)
{
    EQI_CHECK(ctx, ARG, "ctx is NULL, expected a context");
    EQI_TRY(eqi_check_tensor(ctx, src, "src", EQI_FLOAT));
    EQI_TRY(eqi_check_tensor(ctx, target, "target", EQI_FLOAT));
    EQI_TRY(eqi_check_dtype(target, "target", src->dtype));
    EQI_TRY(eqi_check_same_shape(target, "target", src, "src"));
    EQI_TRY(eqi_check_output(ctx, loss, "loss", EQI_FLOAT));
    EQI_TRY(eqi_check_dtype(loss, "loss", src->dtype));
    EQI_TRY(eqi_check_shape(loss, "loss", 1, (int64_t[]){1}));
    EQI_TRY(eqi_check_disjoint(loss, "loss", src, "src"));
    EQI_TRY(eqi_check_disjoint(loss, "loss", target, "target"));
    if (diff_src) {
        EQI_TRY(eqi_check_output(ctx, diff_src, "diff_src", EQI_FLOAT));
        EQI_TRY(eqi_check_dtype(diff_src, "diff_src", src->dtype));
        EQI_TRY(eqi_check_same_shape(diff_src, "diff_src", src, "src"));
        EQI_TRY(eqi_check_disjoint_or_same(diff_src, "diff_src", src, "src"));
        EQI_TRY(eqi_check_disjoint(diff_src, "diff_src", target, "target"));
        EQI_TRY(eqi_check_disjoint(diff_src, "diff_src", loss, "loss"));
    }
    return ctx->backend->mean_squared_error(ctx, src, target, loss, diff_src);
}
