/*
 * Sorting by counting: the place of a value among n is how many stand before it. The order is that of
 * internal/sort.h, on unsigned codes: -0 and +0 have one code, NaN comes behind +inf, then what is
 * absent; equal codes stand by their index.
 */
#ifndef EQI_CUDA_RANK_CUH
#define EQI_CUDA_RANK_CUH

#include "cuda/device.cuh"

/* Codes end below the largest number: one more than a code still is one. */
__device__ __forceinline__ uint32_t eqi_sort_code(float x)
{
    const uint32_t bits = __float_as_uint(x == 0 ? 0.0f : x);
    return x != x ? 0xfffffff0u : bits ^ (bits >> 31 ? 0xffffffffu : 0x80000000u);
}

__device__ __forceinline__ uint64_t eqi_sort_code(double x)
{
    const uint64_t bits = (uint64_t)__double_as_longlong(x == 0 ? 0.0 : x);
    const uint64_t sign = uint64_t(1) << 63;
    return x != x ? ~uint64_t(15) : bits ^ (bits & sign ? ~uint64_t(0) : sign);
}

template <typename T> struct eqi_code_of;
template <> struct eqi_code_of<float> {
    typedef uint32_t type;
};
template <> struct eqi_code_of<double> {
    typedef uint64_t type;
};
template <typename T> using eqi_code = typename eqi_code_of<T>::type;

/* Behind every value. */
template <typename T> __device__ __forceinline__ eqi_code<T> eqi_absent_code()
{
    return eqi_code<T>(~eqi_code<T>(0) - 1);
}

/* Whether the value with `code` and index i stands before the one with code `own` and index `at`. */
template <typename C>
__device__ __forceinline__ bool eqi_stands_before(C code, int32_t i, C own, int32_t at)
{
    return code < C(own + (i < at ? 1 : 0));
}

#endif
