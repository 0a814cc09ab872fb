#include "internal/stage.h"

/* Pinned memory is dear, and a copy of this size is as fast as a larger one. */
#define STAGED_BYTES (INT64_C(32) << 20)

equinv_status eqi_copy_now(equinv_context *ctx, const equinv_tensor *src, const equinv_tensor *dst)
{
    EQI_TRY(equinv_tensor_copy(ctx, src, dst));
    return equinv_context_synchronize(ctx);
}

/* All rows through `here` and, where they have gaps, `packed` on the device; both have `step` rows. */
static equinv_status pass_rows(equinv_context *ctx, const equinv_tensor *all, int64_t step,
                               const equinv_tensor *packed, const equinv_tensor *here,
                               eqi_take_rows take, void *arg)
{
    for (int64_t first = 0; first < all->shape[0]; first += step) {
        const int64_t left = all->shape[0] - first, rows = left < step ? left : step;
        equinv_tensor from, to;
        EQI_TRY(equinv_tensor_rows(all, first, rows, &from));
        if (packed->data) {
            EQI_TRY(equinv_tensor_rows(packed, 0, rows, &to));
            EQI_TRY(equinv_tensor_copy(ctx, &from, &to));
            from = to;
        }
        EQI_TRY(equinv_tensor_rows(here, 0, rows, &to));
        EQI_TRY(eqi_copy_now(ctx, &from, &to));
        EQI_TRY(take(arg, &to));
    }
    return EQUINV_OK;
}

equinv_status eqi_stage_out(equinv_context *ctx, const equinv_tensor *tensor, eqi_take_rows take,
                            void *arg)
{
    equinv_tensor all = *tensor, packed = {0}, here = {0};
    if (tensor->device.kind == EQUINV_DEVICE_CPU)
        return take(arg, tensor);
    if (all.ndim == 0) {
        all.ndim = 1;
        all.shape[0] = all.strides[0] = 1;
    }
    const int64_t bytes = equinv_tensor_count(&all) * (int64_t)equinv_dtype_size(all.dtype);
    if (bytes == 0) {
        all.data = NULL;
        all.device = (equinv_device){EQUINV_DEVICE_CPU, 0};
        return take(arg, &all);
    }
    equinv_tensor some = all;
    const int64_t fitting = STAGED_BYTES / (bytes / all.shape[0]);
    some.shape[0] = fitting < 1 ? 1 : fitting < all.shape[0] ? fitting : all.shape[0];
    equinv_status status;
    EQI_TRY_GOTO(status, done,
                 equinv_tensor_create_pinned(ctx, some.dtype, some.ndim, some.shape, &here));
    if (!eqi_is_contiguous(&all))
        EQI_TRY_GOTO(status, done,
                     equinv_tensor_create(ctx, some.dtype, some.ndim, some.shape, &packed));
    status = pass_rows(ctx, &all, some.shape[0], &packed, &here, take, arg);
done:
    equinv_tensor_destroy(ctx, &packed);
    equinv_tensor_destroy(ctx, &here);
    return status;
}
