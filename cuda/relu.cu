/* dst = src where src > 0, slope src elsewhere; NaN stays. */
#include "cuda/map.cuh"
#include "cuda/operations.cuh"

/* As on the CPU: slope 0 gives 0 even for -Inf. */
template <typename T> static __device__ __forceinline__ T below(T slope, T value)
{
    return slope > 0 ? slope * value : T(0);
}

/* Of src. */
template <typename T> struct eqi_relu_forward {
    T slope;
    __device__ __forceinline__ T operator()(const T (&x)[1]) const
    {
        return x[0] < 0 ? below(slope, x[0]) : x[0];
    }
};

/* Of src and diff_dst. */
template <typename T> struct eqi_relu_backward {
    T slope;
    __device__ __forceinline__ T operator()(const T (&x)[2]) const
    {
        return x[0] > 0 ? x[1] : below(slope, x[1]);
    }
};

template <typename T>
static equinv_status forward(const equinv_context *ctx, double slope, const equinv_tensor *src,
                             const equinv_tensor *dst)
{
    return eqi_map_launch<T>(ctx, eqi_relu_forward<T>{T(slope)}, {dst, src});
}

template <typename T>
static equinv_status backward(const equinv_context *ctx, double slope, const equinv_tensor *src,
                              const equinv_tensor *diff_dst, const equinv_tensor *diff_src)
{
    return eqi_map_launch<T>(ctx, eqi_relu_backward<T>{T(slope)}, {diff_src, src, diff_dst});
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
