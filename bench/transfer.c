/* Copies between the CPU's and a device's memory. */
#include "bench/bench.h"

bool on_cuda(const equinv_context *ctx)
{
    return equinv_context_device(ctx).kind == EQUINV_DEVICE_CUDA;
}

equinv_status transfer_wait(equinv_context *ctx)
{
    (void)ctx;
    return EQUINV_OK;
}

equinv_status transfer_host(equinv_context *ctx, const equinv_tensor *like, equinv_tensor *host)
{
    return equinv_tensor_create(ctx, like->dtype, like->ndim, like->shape, host);
}

equinv_status transfer_copy(equinv_context *ctx, const equinv_tensor *src, const equinv_tensor *dst)
{
    return equinv_tensor_convert(ctx, src, 1, 0, dst);
}
