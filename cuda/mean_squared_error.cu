/*
 * loss = mean (src - target)^2, diff_src = 2 (src - target) / count; diff_src may be src itself.
 * One block, so that the sum has one order.
 */
#include "cuda/elements.cuh"
#include "cuda/operations.cuh"
#include "cuda/warp.cuh"

enum { BLOCK = 512, WARPS = BLOCK / EQI_WARP };

enum { SRC, TARGET, DIFF, TENSORS };

template <typename T>
__global__ void __launch_bounds__(BLOCK, 1)
    eqi_mean_squared_error(eqi_elements<TENSORS> e, const T *src, const T *target, T *loss,
                           T *diff_src)
{
    EQI_SHARED(double, shared, WARPS);
    double mine = 0;
    EQI_FOR_EACH(i, e.count)
    {
        int64_t at[TENSORS];
        e.offsets(i, at);
        const double d = (double)src[at[SRC]] - (double)target[at[TARGET]];
        mine += d * d;
        if (diff_src)
            diff_src[at[DIFF]] = T(2 * d / (double)e.count);
    }
    const double total = eqi_block_sum(mine, shared);
    if (threadIdx.x == 0)
        *loss = T(e.count ? total / (double)e.count : 0);
}

template <typename T>
static equinv_status launch(const equinv_context *ctx, const equinv_tensor *src,
                            const equinv_tensor *target, const equinv_tensor *loss,
                            const equinv_tensor *diff_src)
{
    const eqi_elements<TENSORS> e =
        eqi_elements_of<TENSORS>({src, target, diff_src ? diff_src : src});
    EQI_LAUNCH(eqi_mean_squared_error<T>, dim3(1), BLOCK, 0, eqi_stream(ctx), e,
               (const T *)src->data, (const T *)target->data, (T *)loss->data,
               diff_src ? (T *)diff_src->data : (T *)NULL);
    return EQUINV_OK;
}

equinv_status eqi_cuda_mean_squared_error(const equinv_context *ctx, const equinv_tensor *src,
                                          const equinv_tensor *target, const equinv_tensor *loss,
                                          const equinv_tensor *diff_src)
{
    return src->dtype == EQUINV_F32 ? launch<float>(ctx, src, target, loss, diff_src)
                                    : launch<double>(ctx, src, target, loss, diff_src);
}
