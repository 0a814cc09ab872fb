/* Level avx512: AVX-512 F, VL, DQ, BW, 64-byte vectors. Include only from cpu/isa/avx512/. */
#ifndef EQI_SIMD_AVX512_H
#define EQI_SIMD_AVX512_H

#include <immintrin.h>

#define EQI_LEVEL avx512

typedef __m512 vf32;
typedef __m512d vf64;
enum { vf32_lanes = 16, vf64_lanes = 8 };

static inline vf32 vf32_load(const float *p)
{
    return _mm512_loadu_ps(p);
}

static inline vf64 vf64_load(const double *p)
{
    return _mm512_loadu_pd(p);
}

static inline void vf32_store(float *p, vf32 v)
{
    _mm512_storeu_ps(p, v);
}

static inline void vf64_store(double *p, vf64 v)
{
    _mm512_storeu_pd(p, v);
}

static inline vf32 vf32_broadcast(float x)
{
    return _mm512_set1_ps(x);
}

static inline vf64 vf64_broadcast(double x)
{
    return _mm512_set1_pd(x);
}

/* a b + c, rounded once. */
static inline vf32 vf32_fma(vf32 a, vf32 b, vf32 c)
{
    return _mm512_fmadd_ps(a, b, c);
}

static inline vf64 vf64_fma(vf64 a, vf64 b, vf64 c)
{
    return _mm512_fmadd_pd(a, b, c);
}

static inline vf32 vf32_add(vf32 a, vf32 b)
{
    return _mm512_add_ps(a, b);
}

static inline vf32 vf32_sub(vf32 a, vf32 b)
{
    return _mm512_sub_ps(a, b);
}

/* The sum of all lanes, always in the same order. */
static inline float vf32_sum(vf32 v)
{
    return _mm512_reduce_add_ps(v);
}

/* Lanes first .. last - 1 of memory, the others 0; nothing else is read. */
static inline vf32 vf32_load_part(const float *p, int first, int last)
{
    const __mmask16 mask = (__mmask16)(((1u << last) - 1u) & ~((1u << first) - 1u));
    return _mm512_maskz_loadu_ps(mask, p);
}

#endif
