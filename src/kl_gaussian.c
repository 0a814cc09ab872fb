#include "internal/backend.h"

equinv_status equinv_kl_gaussian(equinv_context *ctx, const equinv_tensor *mean,
                                 const equinv_tensor *log_variance, const equinv_tensor *mask,
                                 const equinv_tensor *loss, const equinv_tensor *diff_mean,
                                 const equinv_tensor *diff_log_variance)
{
    EQI_CHECK(ctx, ARG, "ctx is NULL, expected a context");
    EQI_TRY(eqi_check_tensor(ctx, mean, "mean", EQI_FLOAT));
    EQI_TRY(eqi_check_tensor(ctx, log_variance, "log_variance", EQI_FLOAT));
    EQI_TRY(eqi_check_dtype(log_variance, "log_variance", mean->dtype));
    EQI_TRY(eqi_check_same_shape(log_variance, "log_variance", mean, "mean"));
    if (mask) {
        EQI_TRY(eqi_check_tensor(ctx, mask, "mask", EQI_I32 | EQI_U8));
        EQI_TRY(eqi_check_same_shape(mask, "mask", mean, "mean"));
    }
    EQI_TRY(eqi_check_output(ctx, loss, "loss", EQI_FLOAT));
    const struct {
        const equinv_tensor *tensor;
        const char *name;
    } inputs[] = {{mean, "mean"}, {log_variance, "log_variance"}, {mask, "mask"}},
      outputs[] = {
          {loss, "loss"}, {diff_mean, "diff_mean"}, {diff_log_variance, "diff_log_variance"}};
    for (int o = 0; o < 3; o++) {
        const equinv_tensor *const output = outputs[o].tensor;
        if (!output)
            continue;
        EQI_TRY(eqi_check_output(ctx, output, outputs[o].name, EQI_FLOAT));
        EQI_TRY(eqi_check_dtype(output, outputs[o].name, mean->dtype));
        EQI_TRY(o == 0 ? eqi_check_shape(loss, "loss", 1, (int64_t[]){1})
                       : eqi_check_same_shape(output, outputs[o].name, mean, "mean"));
        for (int i = 0; i < 3; i++)
            if (inputs[i].tensor)
                EQI_TRY(
                    eqi_check_disjoint(output, outputs[o].name, inputs[i].tensor, inputs[i].name));
        for (int other = 0; other < o; other++)
            if (outputs[other].tensor)
                EQI_TRY(eqi_check_disjoint(output, outputs[o].name, outputs[other].tensor,
                                           outputs[other].name));
    }
    return ctx->backend->kl_gaussian(ctx, mean, log_variance, mask, loss, diff_mean,
                                     diff_log_variance);
}
