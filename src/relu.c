#include "internal/backend.h"

static equinv_status check_slope(const equinv_context *ctx, double slope)
{
    EQI_CHECK(ctx, ARG, "ctx is NULL, expected a context");
    EQI_CHECK(slope >= 0 && slope < 1, ARG, "slope is %g, expected 0 (ReLU) or more, below 1",
              slope);
    return EQUINV_OK;
}

equinv_status equinv_relu_forward(equinv_context *ctx, double slope, const equinv_tensor *src,
                                  const equinv_tensor *dst)
{
    EQI_TRY(check_slope(ctx, slope));
    EQI_TRY(eqi_check_tensor(ctx, src, "src", EQI_FLOAT));
    EQI_TRY(eqi_check_output(ctx, dst, "dst", EQI_FLOAT));
    EQI_TRY(eqi_check_dtype(dst, "dst", src->dtype));
    EQI_TRY(eqi_check_same_shape(dst, "dst", src, "src"));
    EQI_TRY(eqi_check_disjoint_or_same(dst, "dst", src, "src"));
    return ctx->backend->relu_forward(ctx, slope, src, dst);
}

equinv_status equinv_relu_backward(equinv_context *ctx, double slope, const equinv_tensor *src,
                                   const equinv_tensor *diff_dst, const equinv_tensor *diff_src)
{
    EQI_TRY(check_slope(ctx, slope));
    EQI_TRY(eqi_check_tensor(ctx, src, "src", EQI_FLOAT));
    EQI_TRY(eqi_check_tensor(ctx, diff_dst, "diff_dst", EQI_FLOAT));
    EQI_TRY(eqi_check_dtype(diff_dst, "diff_dst", src->dtype));
    EQI_TRY(eqi_check_same_shape(diff_dst, "diff_dst", src, "src"));
    EQI_TRY(eqi_check_output(ctx, diff_src, "diff_src", EQI_FLOAT));
    EQI_TRY(eqi_check_dtype(diff_src, "diff_src", src->dtype));
    EQI_TRY(eqi_check_same_shape(diff_src, "diff_src", src, "src"));
    EQI_TRY(eqi_check_disjoint(diff_src, "diff_src", src, "src"));
    EQI_TRY(eqi_check_disjoint_or_same(diff_src, "diff_src", diff_dst, "diff_dst"));
    return ctx->backend->relu_backward(ctx, slope, src, diff_dst, diff_src);
}
