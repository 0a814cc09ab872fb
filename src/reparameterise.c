#include "internal/backend.h"

equinv_status equinv_reparameterise_forward(equinv_context *ctx, uint64_t seed, uint64_t step,
                                            const equinv_tensor *mean,
                                            const equinv_tensor *log_variance,
                                            const equinv_tensor *dst)
{
    EQI_CHECK(ctx, ARG, "ctx is NULL, expected a context");
    EQI_TRY(eqi_check_tensor(ctx, mean, "mean", EQI_FLOAT));
    EQI_TRY(eqi_check_tensor(ctx, log_variance, "log_variance", EQI_FLOAT));
    EQI_TRY(eqi_check_dtype(log_variance, "log_variance", mean->dtype));
    EQI_TRY(eqi_check_same_shape(log_variance, "log_variance", mean, "mean"));
    EQI_TRY(eqi_check_output(ctx, dst, "dst", EQI_FLOAT));
    EQI_TRY(eqi_check_dtype(dst, "dst", mean->dtype));
    EQI_TRY(eqi_check_same_shape(dst, "dst", mean, "mean"));
    EQI_TRY(eqi_check_disjoint_or_same(dst, "dst", mean, "mean"));
    EQI_TRY(eqi_check_disjoint_or_same(dst, "dst", log_variance, "log_variance"));
    return ctx->backend->reparameterise_forward(ctx, seed, step, mean, log_variance, dst);
}

equinv_status equinv_reparameterise_backward(equinv_context *ctx, uint64_t seed, uint64_t step,
                                             const equinv_tensor *log_variance,
                                             const equinv_tensor *diff_dst,
                                             const equinv_tensor *diff_log_variance)
{
    EQI_CHECK(ctx, ARG, "ctx is NULL, expected a context");
    EQI_TRY(eqi_check_tensor(ctx, log_variance, "log_variance", EQI_FLOAT));
    EQI_TRY(eqi_check_tensor(ctx, diff_dst, "diff_dst", EQI_FLOAT));
    EQI_TRY(eqi_check_dtype(diff_dst, "diff_dst", log_variance->dtype));
    EQI_TRY(eqi_check_same_shape(diff_dst, "diff_dst", log_variance, "log_variance"));
    EQI_TRY(eqi_check_output(ctx, diff_log_variance, "diff_log_variance", EQI_FLOAT));
    EQI_TRY(eqi_check_dtype(diff_log_variance, "diff_log_variance", log_variance->dtype));
    EQI_TRY(
        eqi_check_same_shape(diff_log_variance, "diff_log_variance", log_variance, "log_variance"));
    EQI_TRY(eqi_check_disjoint_or_same(diff_log_variance, "diff_log_variance", log_variance,
                                       "log_variance"));
    EQI_TRY(
        eqi_check_disjoint_or_same(diff_log_variance, "diff_log_variance", diff_dst, "diff_dst"));
    return ctx->backend->reparameterise_backward(ctx, seed, step, log_variance, diff_dst,
                                                 diff_log_variance);
}
