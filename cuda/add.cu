/* dst = a + b */
#include "cuda/map.cuh"
#include "cuda/operations.cuh"

template <typename T> struct eqi_add {
    __device__ __forceinline__ T operator()(const T (&x)[2]) const
    {
        return x[0] + x[1];
    }
};

equinv_status eqi_cuda_add(const equinv_context *ctx, const equinv_tensor *a,
                           const equinv_tensor *b, const equinv_tensor *dst)
{
    return a->dtype == EQUINV_F32 ? eqi_map_launch<float>(ctx, eqi_add<float>{}, {dst, a, b})
                                  : eqi_map_launch<double>(ctx, eqi_add<double>{}, {dst, a, b});
}
