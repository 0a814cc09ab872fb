/* Labels and masks of losses: whole numbers of either type by their offset, and how many elements are there. */
#ifndef EQI_CUDA_LABELS_CUH
#define EQI_CUDA_LABELS_CUH

#include "cuda/elements.cuh"
#include "cuda/warp.cuh"

struct eqi_labels {
    const void *data; /* NULL: a mask that leaves nothing out */
    bool bytes;

    __device__ __forceinline__ int64_t value(int64_t at) const
    {
        return bytes ? ((const uint8_t *)data)[at] : ((const int32_t *)data)[at];
    }

    __device__ __forceinline__ bool has(int64_t at) const
    {
        return !data || value(at) != 0;
    }
};

static inline eqi_labels eqi_labels_of(const equinv_tensor *t)
{
    return {t ? t->data : NULL, t && t->dtype == EQUINV_U8};
}

/*
 * How many of the elements the mask has, told to every thread of the one block; `shared` has room for a
 * number a warp. WHICH: the mask's place among the tensors.
 */
template <int WHICH, int TENSORS>
static __device__ __forceinline__ double eqi_count_there(const eqi_elements<TENSORS> &e,
                                                         const eqi_labels &mask, double *shared)
{
    if (!mask.data)
        return (double)e.count;
    double mine = 0;
    EQI_FOR_EACH(i, e.count)
    {
        int64_t at[TENSORS];
        e.offsets(i, at);
        mine += mask.has(at[WHICH]);
    }
    const double there = eqi_block_sum(mine, shared);
    if (threadIdx.x == 0)
        shared[0] = there;
    __syncthreads();
    const double told = shared[0];
    __syncthreads(); /* shared may be used again */
    return told;
}

#endif
