#include <math.h>

#include "internal/backend.h"

/* dst as a list of one template: an axis of one in front. */
static equinv_status as_template(const equinv_tensor *dst, equinv_tensor *view)
{
    equinv_tensor from = *dst;
    for (int32_t i = EQUINV_MAX_DIMS - 1; i > 0 && from.ndim == EQUINV_MAX_DIMS; i--) {
        if (from.shape[i] != 1) {
            if (from.strides[i - 1] != from.strides[i] * from.shape[i])
                continue;
            from.shape[i - 1] *= from.shape[i];
            from.strides[i - 1] = from.strides[i];
        }
        for (int32_t k = i; k + 1 < from.ndim; k++) {
            from.shape[k] = from.shape[k + 1];
            from.strides[k] = from.strides[k + 1];
        }
        from.ndim--;
    }
    EQI_CHECK(from.ndim < EQUINV_MAX_DIMS, UNSUPPORTED,
              "dst has %d axes of which no two join, expected at most %d", EQUINV_MAX_DIMS,
              EQUINV_MAX_DIMS - 1);
    *view = from;
    view->ndim = from.ndim + 1;
    view->shape[0] = 1;
    view->strides[0] = 1;
    for (int32_t i = 0; i < from.ndim; i++) {
        view->shape[i + 1] = from.shape[i];
        view->strides[i + 1] = from.strides[i];
    }
    return EQUINV_OK;
}

equinv_status equinv_init_he(equinv_context *ctx, uint64_t seed, uint64_t stream, int64_t fan_in,
                             const equinv_tensor *dst)
{
    EQI_CHECK(ctx, ARG, "ctx is NULL, expected a context");
    EQI_CHECK(fan_in >= 1, ARG, "fan_in is %" PRId64 ", expected at least 1", fan_in);
    EQI_TRY(eqi_check_output(ctx, dst, "dst", EQI_FLOAT));
    if (equinv_tensor_count(dst) == 0)
        return EQUINV_OK;
    equinv_tensor view;
    EQI_TRY(as_template(dst, &view));
    EQI_TRY(ctx->backend->templates(ctx, EQUINV_TEMPLATE_GAUSSIAN, seed, stream, &view));
    return equinv_tensor_convert(ctx, dst, sqrt(2 / (double)fan_in), 0, dst);
}
