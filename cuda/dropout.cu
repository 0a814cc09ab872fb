/* dst[n,f,..] = src[n,f,..] / (1 - p), or 0 if (n, f) is dropped. Every thread draws for itself. */
#include "cuda/elements.cuh"
#include "cuda/operations.cuh"

#include "internal/dropout.h"

enum { BLOCK = 256 };

enum { DST, SRC, FIELD, TENSORS };

template <typename T>
__global__ void eqi_dropout(eqi_elements<TENSORS> e, double p, uint64_t seed, uint64_t step,
                            const T *src, T *dst)
{
    const T kept = T(1 - p);
    EQI_FOR_EACH(i, e.count)
    {
        int64_t at[TENSORS];
        e.offsets(i, at);
        dst[at[DST]] = eqi_dropped(p, seed, step, at[FIELD]) ? T(0) : src[at[SRC]] / kept;
    }
}

template <typename T>
static equinv_status launch(const equinv_context *ctx, double p, uint64_t seed, uint64_t step,
                            const equinv_tensor *src, const equinv_tensor *dst)
{
    /* The number n F + f of an element's field, as strides. */
    equinv_tensor field = *src;
    for (int32_t axis = 0; axis < src->ndim; axis++)
        field.strides[axis] = axis == 0 ? src->shape[1] : axis == 1;
    const eqi_elements<TENSORS> e = eqi_elements_of<TENSORS>({dst, src, &field});
    EQI_LAUNCH(eqi_dropout<T>, eqi_blocks(e.count, BLOCK), BLOCK, 0, eqi_stream(ctx), e, p, seed,
               step, (const T *)src->data, (T *)dst->data);
    return EQUINV_OK;
}

equinv_status eqi_cuda_dropout(const equinv_context *ctx, double p, uint64_t seed, uint64_t step,
                               const equinv_tensor *src, const equinv_tensor *dst)
{
    return src->dtype == EQUINV_F32 ? launch<float>(ctx, p, seed, step, src, dst)
                                    : launch<double>(ctx, p, seed, step, src, dst);
}
