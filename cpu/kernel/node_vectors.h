/* Vectors of channels, for the kernels of node layers; needs a header of cpu/simd/. */
#ifndef EQI_NODE_VECTORS_H
#define EQI_NODE_VECTORS_H

#include "cpu/node/kernels.h"

#define PASTE_(a, b) a##b
#define PASTE(a, b) PASTE_(a, b)
#define WIDTH vf32_lanes
#define INLINE static inline __attribute__((always_inline))

INLINE vf32 load(const float *p, bool whole, int count)
{
    return whole ? vf32_load(p) : vf32_load_part(p, 0, count);
}

INLINE void store(float *p, vf32 v, bool whole, int count, bool accumulate)
{
    if (accumulate)
        v = vf32_add(load(p, whole, count), v);
    if (whole)
        vf32_store(p, v);
    else
        vf32_store_part(p, v, count);
}

/* Calls body(.., c, whole, count) for every vector of padded channels; count may be 0 or less. */
#define EACH_VECTOR(map, body, ...)                                                                \
    do {                                                                                           \
        const int64_t channels_ = (map)->channels, padded_ = eqi_node_padded(channels_);           \
        int64_t c_ = 0;                                                                            \
        for (; c_ + WIDTH <= channels_; c_ += WIDTH)                                               \
            body(__VA_ARGS__, padded_, c_, true, WIDTH);                                           \
        for (; c_ < padded_; c_ += WIDTH)                                                          \
            body(__VA_ARGS__, padded_, c_, false, c_ < channels_ ? (int)(channels_ - c_) : 0);     \
    } while (0)

#endif
