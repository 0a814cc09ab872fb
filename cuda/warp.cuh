/* What a warp or a block has together, always joined in the same order. All their threads call these. */
#ifndef EQI_CUDA_WARP_CUH
#define EQI_CUDA_WARP_CUH

#include "cuda/device.cuh"

enum { EQI_WARP = 32 };

/* Every lane gets the same bits: partners add the same two numbers. */
static __device__ __forceinline__ double eqi_warp_sum(double mine)
{
    for (int lanes = EQI_WARP / 2; lanes > 0; lanes /= 2)
        mine += __shfl_xor_sync(0xffffffff, mine, lanes);
    return mine;
}

/* Of numbers that are not NaN. */
static __device__ __forceinline__ double eqi_warp_max(double mine)
{
    for (int lanes = EQI_WARP / 2; lanes > 0; lanes /= 2) {
        const double other = __shfl_xor_sync(0xffffffff, mine, lanes);
        mine = other > mine ? other : mine;
    }
    return mine;
}

/* The sum over a block, for thread 0; `shared` has room for one number a warp. */
static __device__ __forceinline__ double eqi_block_sum(double mine, double *shared)
{
    const unsigned warps = blockDim.x / EQI_WARP;
    mine = eqi_warp_sum(mine);
    if (threadIdx.x % EQI_WARP == 0)
        shared[threadIdx.x / EQI_WARP] = mine;
    __syncthreads();
    double sum = 0;
    for (unsigned warp = 0; threadIdx.x == 0 && warp < warps; warp++)
        sum += shared[warp];
    return sum;
}

#endif
