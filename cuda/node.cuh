/* Values of nodes and of pairs in kernels: a mask of nodes, and four-axis views of any strides. */
#ifndef EQI_CUDA_NODE_CUH
#define EQI_CUDA_NODE_CUH

#include "cuda/device.cuh"

enum { EQI_NODE_BLOCK = 256 };

struct eqi_node_mask {
    const void *data; /* NULL: all nodes are there */
    bool bytes;
    int64_t sample, node;

    __device__ __forceinline__ bool has(int64_t b, int64_t i) const
    {
        const int64_t at = b * sample + i * node;
        return !data ||
               (bytes ? ((const uint8_t *)data)[at] != 0 : ((const int32_t *)data)[at] != 0);
    }

    /* How many of n nodes. */
    __device__ __forceinline__ int64_t count(int64_t b, int64_t n) const
    {
        int64_t there = 0;
        for (int64_t i = 0; i < n; i++)
            there += has(b, i);
        return there;
    }
};

static inline eqi_node_mask eqi_node_mask_of(const equinv_tensor *mask)
{
    if (!mask)
        return {NULL, false, 0, 0};
    return {mask->data, mask->dtype == EQUINV_U8, mask->strides[0], mask->strides[1]};
}

/* [B, C, n, n], or [B, C, n, 1] of order 1, where the only j is 0. */
template <typename T> struct eqi_node_view {
    T *data;
    int64_t sample, channel, row, column;
    bool pairs, symmetric; /* symmetric: read as (x + x transposed) / 2 */

    __device__ __forceinline__ T *at(int64_t b, int64_t c, int64_t i, int64_t j) const
    {
        return data + b * sample + c * channel + i * row + j * column;
    }

    __device__ __forceinline__ T load(int64_t b, int64_t c, int64_t i, int64_t j) const
    {
        const T x = *at(b, c, i, j);
        return symmetric ? (x + *at(b, c, j, i)) / 2 : x;
    }

    __device__ __forceinline__ void put(int64_t b, int64_t c, int64_t i, int64_t j, T value,
                                        bool accumulate) const
    {
        T *const to = at(b, c, i, j);
        *to = accumulate ? *to + value : value;
    }
};

template <typename T>
static eqi_node_view<T> eqi_node_view_of(const equinv_tensor *t, bool pairs, bool symmetric)
{
    return {static_cast<T *>(t->data), t->strides[0], t->strides[1], t->strides[2],
            pairs ? t->strides[3] : 0, pairs,         symmetric};
}

/* Whether a place has all its nodes. */
template <typename T>
static __device__ __forceinline__ bool eqi_has_place(const eqi_node_mask &mask,
                                                     const eqi_node_view<T> &view, int64_t b,
                                                     int64_t i, int64_t j)
{
    return mask.has(b, i) && (!view.pairs || mask.has(b, j));
}

/* index = ((b rest + second) columns + third) channels + c and so on: takes the last digit off. */
static __device__ __forceinline__ int64_t eqi_digit(int64_t *index, int64_t base)
{
    const int64_t rest = *index / base, digit = *index - rest * base;
    *index = rest;
    return digit;
}

#endif
