/* dst = src scale + shift from any element type to any, computed in double and rounded once. */
#include "cuda/elements.cuh"
#include "cuda/operations.cuh"

enum { BLOCK = 256 };

static __device__ __forceinline__ double load(equinv_dtype dtype, const void *data, int64_t at)
{
    switch (dtype) {
    case EQUINV_I32: return ((const int32_t *)data)[at];
    case EQUINV_U8: return ((const uint8_t *)data)[at];
    case EQUINV_U32: return ((const uint32_t *)data)[at];
    case EQUINV_F32: return ((const float *)data)[at];
    default: return ((const double *)data)[at];
    }
}

/* The nearest integer within low .. high, 0 for NaN: whoever launched cannot be told. */
static __device__ __forceinline__ double saturated(double value, double low, double high)
{
    const double rounded = rint(value);
    if (rounded >= high)
        return high;
    return rounded >= low ? rounded : rounded < low ? low : 0;
}

static __device__ __forceinline__ void store(equinv_dtype dtype, void *data, int64_t at,
                                             double value)
{
    switch (dtype) {
    case EQUINV_I32: ((int32_t *)data)[at] = (int32_t)saturated(value, INT32_MIN, INT32_MAX); break;
    case EQUINV_U8: ((uint8_t *)data)[at] = (uint8_t)saturated(value, 0, UINT8_MAX); break;
    case EQUINV_U32: ((uint32_t *)data)[at] = (uint32_t)saturated(value, 0, UINT32_MAX); break;
    case EQUINV_F32: ((float *)data)[at] = (float)value; break;
    default: ((double *)data)[at] = value;
    }
}

/* No shift is added where there is none: it would make +0 of -0. */
static __device__ __forceinline__ double scaled(double value, double scale, double shift)
{
    return shift == 0 ? value * scale : value * scale + shift;
}

__global__ void eqi_convert(eqi_elements<2> e, equinv_dtype from, equinv_dtype to, double scale,
                            double shift, const void *src, void *dst)
{
    EQI_FOR_EACH(i, e.count)
    {
        int64_t at[2];
        e.offsets(i, at);
        store(to, dst, at[0], scaled(load(from, src, at[1]), scale, shift));
    }
}

equinv_status eqi_cuda_convert(const equinv_context *ctx, const equinv_tensor *src, double scale,
                               double shift, const equinv_tensor *dst)
{
    const eqi_elements<2> e = eqi_elements_of<2>({dst, src});
    EQI_LAUNCH(eqi_convert, eqi_blocks(e.count, BLOCK), BLOCK, 0, eqi_stream(ctx), e, src->dtype,
               dst->dtype, scale, shift, (const void *)src->data, dst->data);
    return EQUINV_OK;
}
