/* Level avx2: AVX2 with FMA, 32-byte vectors. Include only from cpu/isa/avx2/. */
#ifndef EQI_SIMD_AVX2_H
#define EQI_SIMD_AVX2_H

#include <immintrin.h>

#define EQI_LEVEL avx2

typedef __m256 vf32;
typedef __m256d vf64;
enum { vf32_lanes = 8, vf64_lanes = 4 };

static inline vf32 vf32_load(const float *p)
{
    return _mm256_loadu_ps(p);
}

static inline vf64 vf64_load(const double *p)
{
    return _mm256_loadu_pd(p);
}

static inline void vf32_store(float *p, vf32 v)
{
    _mm256_storeu_ps(p, v);
}

static inline void vf64_store(double *p, vf64 v)
{
    _mm256_storeu_pd(p, v);
}

static inline vf32 vf32_broadcast(float x)
{
    return _mm256_set1_ps(x);
}

static inline vf64 vf64_broadcast(double x)
{
    return _mm256_set1_pd(x);
}

/* a b + c, rounded once. */
static inline vf32 vf32_fma(vf32 a, vf32 b, vf32 c)
{
    return _mm256_fmadd_ps(a, b, c);
}

static inline vf64 vf64_fma(vf64 a, vf64 b, vf64 c)
{
    return _mm256_fmadd_pd(a, b, c);
}

static inline vf32 vf32_add(vf32 a, vf32 b)
{
    return _mm256_add_ps(a, b);
}

static inline vf32 vf32_sub(vf32 a, vf32 b)
{
    return _mm256_sub_ps(a, b);
}

/* The sum of all lanes, always in the same order. */
static inline float vf32_sum(vf32 v)
{
    const __m128 half = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    const __m128 pair = _mm_add_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_add_ss(pair, _mm_movehdup_ps(pair)));
}

/* Lanes first .. last - 1 of memory, the others 0; nothing else is read. */
static inline vf32 vf32_load_part(const float *p, int first, int last)
{
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const __m256i above = _mm256_cmpgt_epi32(lane, _mm256_set1_epi32(first - 1));
    const __m256i below = _mm256_cmpgt_epi32(_mm256_set1_epi32(last), lane);
    return _mm256_maskload_ps(p, _mm256_and_si256(above, below));
}

#endif
