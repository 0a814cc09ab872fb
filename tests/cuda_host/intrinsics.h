/* CUDA's functions on numbers, and its atomics: one thread runs at a time, so they are plain. */
#ifndef EQI_CUDA_HOST_INTRINSICS_H
#define EQI_CUDA_HOST_INTRINSICS_H

#include <math.h>
#include <stdint.h>
#include <string.h>

namespace eqi_host
{
template <class To, class From> inline To bits(From value)
{
    static_assert(sizeof(To) == sizeof(From), "same size");
    To result;
    memcpy(&result, &value, sizeof result);
    return result;
}
} // namespace eqi_host

inline int __popc(unsigned x)
{
    return __builtin_popcount(x);
}
inline int __popcll(unsigned long long x)
{
    return __builtin_popcountll(x);
}
inline int __ffs(int x)
{
    return __builtin_ffs(x);
}
inline int __ffsll(long long x)
{
    return __builtin_ffsll(x);
}
inline int __clz(int x)
{
    return x ? __builtin_clz(static_cast<unsigned>(x)) : 32;
}
inline int __clzll(long long x)
{
    return x ? __builtin_clzll(static_cast<unsigned long long>(x)) : 64;
}
inline unsigned __float_as_uint(float x)
{
    return eqi_host::bits<unsigned>(x);
}
inline int __float_as_int(float x)
{
    return eqi_host::bits<int>(x);
}
inline float __uint_as_float(unsigned x)
{
    return eqi_host::bits<float>(x);
}
inline float __int_as_float(int x)
{
    return eqi_host::bits<float>(x);
}
inline long long __double_as_longlong(double x)
{
    return eqi_host::bits<long long>(x);
}
inline double __longlong_as_double(long long x)
{
    return eqi_host::bits<double>(x);
}
inline unsigned __umulhi(unsigned a, unsigned b)
{
    return static_cast<unsigned>((static_cast<uint64_t>(a) * b) >> 32);
}
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b)
{
    return static_cast<unsigned long long>((static_cast<unsigned __int128>(a) * b) >> 64);
}
inline float rsqrtf(float x)
{
    return 1.0f / sqrtf(x);
}
inline double rsqrt(double x)
{
    return 1.0 / sqrt(x);
}
template <class T> inline T __ldg(const T *pointer)
{
    return *pointer;
}

/* Operations that nvcc never contracts; here nothing is contracted anyway (-ffp-contract=off). */
#define EQI_HOST_ROUNDED(prefix, type, square_root)                                                \
    inline type prefix##add_rn(type a, type b)                                                     \
    {                                                                                              \
        return a + b;                                                                              \
    }                                                                                              \
    inline type prefix##sub_rn(type a, type b)                                                     \
    {                                                                                              \
        return a - b;                                                                              \
    }                                                                                              \
    inline type prefix##mul_rn(type a, type b)                                                     \
    {                                                                                              \
        return a * b;                                                                              \
    }                                                                                              \
    inline type prefix##div_rn(type a, type b)                                                     \
    {                                                                                              \
        return a / b;                                                                              \
    }                                                                                              \
    inline type prefix##sqrt_rn(type a)                                                            \
    {                                                                                              \
        return square_root(a);                                                                     \
    }
EQI_HOST_ROUNDED(__f, float, sqrtf)
EQI_HOST_ROUNDED(__d, double, sqrt)
#undef EQI_HOST_ROUNDED
inline float __fmaf_rn(float a, float b, float c)
{
    return fmaf(a, b, c);
}
inline double __fma_rn(double a, double b, double c)
{
    return fma(a, b, c);
}

#define EQI_HOST_MIN_MAX(type)                                                                     \
    inline type min(type a, type b)                                                                \
    {                                                                                              \
        return b < a ? b : a;                                                                      \
    }                                                                                              \
    inline type max(type a, type b)                                                                \
    {                                                                                              \
        return a < b ? b : a;                                                                      \
    }
EQI_HOST_MIN_MAX(int)
EQI_HOST_MIN_MAX(unsigned)
EQI_HOST_MIN_MAX(long)
EQI_HOST_MIN_MAX(unsigned long)
EQI_HOST_MIN_MAX(long long)
EQI_HOST_MIN_MAX(unsigned long long)
#undef EQI_HOST_MIN_MAX
/* As on the device, a NaN loses against a number. */
inline float min(float a, float b)
{
    return fminf(a, b);
}
inline float max(float a, float b)
{
    return fmaxf(a, b);
}
inline double min(double a, double b)
{
    return fmin(a, b);
}
inline double max(double a, double b)
{
    return fmax(a, b);
}

#define EQI_HOST_ATOMIC(name, type, expression)                                                    \
    inline type name(type *address, type value)                                                    \
    {                                                                                              \
        const type old = *address;                                                                 \
        *address = expression;                                                                     \
        return old;                                                                                \
    }
#define EQI_HOST_ATOMIC_CAS(type)                                                                  \
    inline type atomicCAS(type *address, type compare, type value)                                 \
    {                                                                                              \
        const type old = *address;                                                                 \
        *address = old == compare ? value : old;                                                   \
        return old;                                                                                \
    }
#define EQI_HOST_ATOMICS(type)                                                                     \
    EQI_HOST_ATOMIC(atomicMax, type, max(old, value))                                              \
    EQI_HOST_ATOMIC(atomicMin, type, min(old, value))                                              \
    EQI_HOST_ATOMIC(atomicAnd, type, old &value)                                                   \
    EQI_HOST_ATOMIC(atomicOr, type, old | value)
EQI_HOST_ATOMICS(int)
EQI_HOST_ATOMICS(unsigned)
EQI_HOST_ATOMICS(long long)
EQI_HOST_ATOMICS(unsigned long long)
EQI_HOST_ATOMIC(atomicAdd, unsigned, old + value)
EQI_HOST_ATOMIC(atomicAdd, unsigned long long, old + value)
EQI_HOST_ATOMIC(atomicAdd, float, old + value)
EQI_HOST_ATOMIC(atomicAdd, double, old + value)
EQI_HOST_ATOMIC(atomicExch, int, value)
EQI_HOST_ATOMIC(atomicExch, unsigned, value)
EQI_HOST_ATOMIC(atomicExch, unsigned long long, value)
EQI_HOST_ATOMIC(atomicExch, float, value)
EQI_HOST_ATOMIC_CAS(int)
EQI_HOST_ATOMIC_CAS(unsigned)
EQI_HOST_ATOMIC_CAS(unsigned long long)
/* Wraps around as the device does. */
inline int atomicAdd(int *address, int value)
{
    const int old = *address;
    *address = static_cast<int>(static_cast<unsigned>(old) + static_cast<unsigned>(value));
    return old;
}
#undef EQI_HOST_ATOMICS
#undef EQI_HOST_ATOMIC_CAS
#undef EQI_HOST_ATOMIC

#endif
