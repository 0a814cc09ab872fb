/*
 * dst = src where src > 0, slope src elsewhere; NaN stays. One thread an element.
 */
#include "cuda/elements.cuh"
#include "cuda/operations.cuh"

enum { BLOCK = 256 };

/* As on the CPU: slope 0 gives 0 even for -Inf. */
template <typename T> __device__ __forceinline__ T below(T slope, T value)
{
    return slope > 0 ? slope * value : T(0);
}

template <typename T>
__global__ void eqi_relu_forward(eqi_elements<2> e, T slope, const T *src, T *dst)
{
    EQI_FOR_EACH(i, e.count)
    {
        int64_t at[2];
        e.offsets(i, at);
        const T x = src[at[1]];
        dst[at[0]] = x < 0 ? below(slope, x) : x;
    }
}

template <typename T>
__global__ void eqi_relu_backward(eqi_elements<3> e, T slope, const T *src, const T *diff_dst,
                                  T *diff_src)
{
    EQI_FOR_EACH(i, e.count)
    {
        int64_t at[3];
        e.offsets(i, at);
        const T d = diff_dst[at[2]];
        diff_src[at[0]] = src[at[1]] > 0 ? d : below(slope, d);
    }
}

template <typename T>
static equinv_status forward(const equinv_context *ctx, double slope, const equinv_tensor *src,
                             const equinv_tensor *dst)
{
    const eqi_elements<2> e = eqi_elements_of<2>({dst, src});
    EQI_LAUNCH(eqi_relu_forward<T>, eqi_blocks(e.count, BLOCK), BLOCK, 0, eqi_stream(ctx), e,
               T(slope), (const T *)src->data, (T *)dst->data);
    return EQUINV_OK;
}

template <typename T>
static equinv_status backward(const equinv_context *ctx, double slope, const equinv_tensor *src,
                              const equinv_tensor *diff_dst, const equinv_tensor *diff_src)
{
    const eqi_elements<3> e = eqi_elements_of<3>({diff_src, src, diff_dst});
    EQI_LAUNCH(eqi_relu_backward<T>, eqi_blocks(e.count, BLOCK), BLOCK, 0, eqi_stream(ctx), e,
               T(slope), (const T *)src->data, (const T *)diff_dst->data, (T *)diff_src->data);
    return EQUINV_OK;
}

equinv_status eqi_cuda_relu_forward(const equinv_context *ctx, double slope,
                                    const equinv_tensor *src, const equinv_tensor *dst)
{
    return src->dtype == EQUINV_F32 ? forward<float>(ctx, slope, src, dst)
                                    : forward<double>(ctx, slope, src, dst);
}

equinv_status eqi_cuda_relu_backward(const equinv_context *ctx, double slope,
                                     const equinv_tensor *src, const equinv_tensor *diff_dst,
                                     const equinv_tensor *diff_src)
{
    return src->dtype == EQUINV_F32 ? backward<float>(ctx, slope, src, diff_dst, diff_src)
                                    : backward<double>(ctx, slope, src, diff_dst, diff_src);
}
