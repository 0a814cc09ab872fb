/*
 * Division by numbers that a launch fixes: a multiplication and a shift for all that 31 bits hold
 * (Granlund, Montgomery 1994), the machine's slow 64-bit division beyond.
 */
#ifndef EQI_CUDA_DIVIDE_CUH
#define EQI_CUDA_DIVIDE_CUH

#include "cuda/device.cuh"

struct eqi_divisor {
    int64_t by;
    uint32_t multiplier, shift;

    /* n / by for n >= 0. */
    __device__ __forceinline__ int64_t quotient(int64_t n) const
    {
        return n <= INT32_MAX ? (__umulhi(multiplier, (uint32_t)n) + (uint32_t)n) >> shift : n / by;
    }
};

/* by >= 1. With 2^(shift - 1) < by <= 2^shift the multiplier is 2^32 (2^shift / by - 1), rounded up. */
static inline eqi_divisor eqi_divisor_of(int64_t by)
{
    if (by > INT32_MAX)
        return {by, 0, 31}; /* 0 for all that 31 bits hold */
    uint32_t shift = 0;
    while ((INT64_C(1) << shift) < by)
        shift++;
    const uint64_t above = (uint64_t)((INT64_C(1) << shift) - by);
    return {by, (uint32_t)((above << 32) / (uint64_t)by + 1), shift};
}

#endif
