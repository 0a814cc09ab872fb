/* Level avx512: AVX-512 F, VL, DQ, BW, 64-byte vectors. Include only from cpu/isa/avx512/. */
#ifndef EQI_SIMD_AVX512_H
#define EQI_SIMD_AVX512_H

#include <immintrin.h>
#include <stdbool.h>
#include <stdint.h>

#if defined(__clang__)
#define EQI_UNROLL_4 _Pragma("clang loop unroll(full)")
#else
#define EQI_UNROLL_4 _Pragma("GCC unroll 4")
#endif

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

/* c - a b, the same. */
static inline vf32 vf32_fnma(vf32 a, vf32 b, vf32 c)
{
    return _mm512_fnmadd_ps(a, b, c);
}

static inline vf64 vf64_fma(vf64 a, vf64 b, vf64 c)
{
    return _mm512_fmadd_pd(a, b, c);
}

/* Floats as doubles. */
static inline vf64 vf64_widen(const float *p)
{
    return _mm512_cvtps_pd(_mm256_loadu_ps(p));
}

static inline vf64 vf64_add(vf64 a, vf64 b)
{
    return _mm512_add_pd(a, b);
}

static inline vf64 vf64_sub(vf64 a, vf64 b)
{
    return _mm512_sub_pd(a, b);
}

static inline vf32 vf32_add(vf32 a, vf32 b)
{
    return _mm512_add_ps(a, b);
}

static inline vf32 vf32_sub(vf32 a, vf32 b)
{
    return _mm512_sub_ps(a, b);
}

static inline vf32 vf32_mul(vf32 a, vf32 b)
{
    return _mm512_mul_ps(a, b);
}

static inline vf32 vf32_sqrt(vf32 v)
{
    return _mm512_sqrt_ps(v);
}

/* The smaller and the larger; for NaN, and for zeros of two signs, the second argument. */
static inline vf32 vf32_min(vf32 a, vf32 b)
{
    return _mm512_min_ps(a, b);
}

static inline vf32 vf32_max(vf32 a, vf32 b)
{
    return _mm512_max_ps(a, b);
}

static inline vf64 vf64_min(vf64 a, vf64 b)
{
    return _mm512_min_pd(a, b);
}

static inline vf64 vf64_max(vf64 a, vf64 b)
{
    return _mm512_max_pd(a, b);
}

/* x where a < b, else y. */
static inline vf64 vf64_select_less(vf64 a, vf64 b, vf64 x, vf64 y)
{
    return _mm512_mask_blend_pd(_mm512_cmp_pd_mask(a, b, _CMP_LT_OQ), y, x);
}

/* Lanes where something was seen. */
typedef __mmask16 vf32_marks;

static inline vf32_marks vf32_mark_nothing(void)
{
    return 0;
}

/* Adds the lanes that are NaN or -0. */
static inline vf32_marks vf32_mark_special(vf32_marks marks, vf32 v)
{
    return (vf32_marks)(marks | _mm512_fpclass_ps_mask(v, 0x85));
}

static inline bool vf32_any_marked(vf32_marks marks)
{
    return marks != 0;
}

/* Rows of the 4 x 4 blocks in every 16 bytes become their columns. */
static inline void vf32_transpose(vf32 row[4])
{
    const vf32 a = _mm512_unpacklo_ps(row[0], row[1]), b = _mm512_unpackhi_ps(row[0], row[1]);
    const vf32 c = _mm512_unpacklo_ps(row[2], row[3]), d = _mm512_unpackhi_ps(row[2], row[3]);
#define PAIRS(half, x, y)                                                                          \
    _mm512_castpd_ps(_mm512_unpack##half##_pd(_mm512_castps_pd(x), _mm512_castps_pd(y)))
    row[0] = PAIRS(lo, a, c);
    row[1] = PAIRS(hi, a, c);
    row[2] = PAIRS(lo, b, d);
    row[3] = PAIRS(hi, b, d);
#undef PAIRS
}

/* Lane l of to[i] = p[l step + i], i < 4. */
static inline void vf32_load_turned(const float *p, int64_t step, vf32 to[4])
{
    EQI_UNROLL_4
    for (int64_t q = 0; q < 4; q++) {
        const float *const at = p + q * step;
        vf32 v = _mm512_castps128_ps512(_mm_loadu_ps(at));
        v = _mm512_mask_broadcast_f32x4(v, 0x00f0, _mm_loadu_ps(at + 4 * step));
        v = _mm512_mask_broadcast_f32x4(v, 0x0f00, _mm_loadu_ps(at + 8 * step));
        to[q] = _mm512_mask_broadcast_f32x4(v, 0xf000, _mm_loadu_ps(at + 12 * step));
    }
    vf32_transpose(to);
}

/* The way back: p[l step + i] = lane l of from[i]. */
static inline void vf32_store_turned(float *p, int64_t step, const vf32 from[4])
{
    vf32 row[4] = {from[0], from[1], from[2], from[3]};
    vf32_transpose(row);
    EQI_UNROLL_4
    for (int64_t q = 0; q < 4; q++) {
        float *const at = p + q * step;
        _mm_storeu_ps(at, _mm512_castps512_ps128(row[q]));
        _mm_storeu_ps(at + 4 * step, _mm512_extractf32x4_ps(row[q], 1));
        _mm_storeu_ps(at + 8 * step, _mm512_extractf32x4_ps(row[q], 2));
        _mm_storeu_ps(at + 12 * step, _mm512_extractf32x4_ps(row[q], 3));
    }
}

/* The sum of all lanes, always in the same order. */
static inline float vf32_sum(vf32 v)
{
    return _mm512_reduce_add_ps(v);
}

/* Lanes first .. last - 1: found once, used often. */
typedef __mmask16 vf32_part;

static inline vf32_part vf32_part_of(int first, int last)
{
    return (__mmask16)(((1u << last) - 1u) & ~((1u << first) - 1u));
}

/* Those lanes of memory, the others 0; nothing else is read. */
static inline vf32 vf32_load_lanes(const float *p, vf32_part part)
{
    return _mm512_maskz_loadu_ps(part, p);
}

static inline vf32 vf32_load_part(const float *p, int first, int last)
{
    return vf32_load_lanes(p, vf32_part_of(first, last));
}

/* ---- 32-bit integers -------------------------------------------------- */

typedef __m512i vu32;

static inline vu32 vu32_load(const uint32_t *p)
{
    return _mm512_loadu_si512(p);
}

static inline vu32 vu32_broadcast(uint32_t x)
{
    return _mm512_set1_epi32((int)x);
}

static inline vu32 vu32_add(vu32 a, vu32 b)
{
    return _mm512_add_epi32(a, b);
}

static inline vu32 vu32_sub(vu32 a, vu32 b)
{
    return _mm512_sub_epi32(a, b);
}

static inline vu32 vu32_and(vu32 a, vu32 b)
{
    return _mm512_and_si512(a, b);
}

static inline vu32 vu32_xor(vu32 a, vu32 b)
{
    return _mm512_xor_si512(a, b);
}

static inline vu32 vu32_xor3(vu32 a, vu32 b, vu32 c)
{
    return _mm512_ternarylogic_epi32(a, b, c, 0x96);
}

#define vu32_left(v, bits) _mm512_slli_epi32(v, bits)
#define vu32_right(v, bits) _mm512_srli_epi32(v, bits)
#define vu32_right_signed(v, bits) _mm512_srai_epi32(v, bits)

/* The 64-bit products of the even lanes. */
static inline vu32 vu32_product(vu32 a, vu32 b)
{
    return _mm512_mul_epu32(a, b);
}

/* Pairs of lanes as 64-bit integers. */
static inline vu32 vu32_broadcast_pair(uint64_t x)
{
    return _mm512_set1_epi64((long long)x);
}

static inline vu32 vu32_add_pairs(vu32 a, vu32 b)
{
    return _mm512_add_epi64(a, b);
}

/* The upper lanes of pairs, moved down. */
static inline vu32 vu32_upper(vu32 pairs)
{
    return _mm512_srli_epi64(pairs, 32);
}

/* The even lanes of both: a's stay even, b's go to the odd ones. */
static inline vu32 vu32_merge(vu32 a, vu32 b)
{
    return _mm512_mask_blend_epi32(0xaaaa, a, _mm512_slli_epi64(b, 32));
}

/* Of signed numbers. */
static inline vf32 vf32_of(vu32 v)
{
    return _mm512_cvtepi32_ps(v);
}

static inline vf32 vf32_from_bits(vu32 v)
{
    return _mm512_castsi512_ps(v);
}

static inline vu32 vf32_bits(vf32 v)
{
    return _mm512_castps_si512(v);
}

/* a, or b where the sign bit of `which` is set. */
static inline vf32 vf32_select(vu32 which, vf32 a, vf32 b)
{
    return _mm512_mask_blend_ps(_mm512_movepi32_mask(which), a, b);
}

/* ---- orbits ---------------------------------------------------------------------------------- */

/* Pieces of 16 bytes, as many rows as a vector has of them: rows become columns. */
static inline void vf32_transpose_quads(vf32 row[4])
{
    const __m512 a = _mm512_shuffle_f32x4(row[0], row[1], 0x44);
    const __m512 b = _mm512_shuffle_f32x4(row[2], row[3], 0x44);
    const __m512 c = _mm512_shuffle_f32x4(row[0], row[1], 0xee);
    const __m512 d = _mm512_shuffle_f32x4(row[2], row[3], 0xee);
    row[0] = _mm512_shuffle_f32x4(a, b, 0x88);
    row[1] = _mm512_shuffle_f32x4(a, b, 0xdd);
    row[2] = _mm512_shuffle_f32x4(c, d, 0x88);
    row[3] = _mm512_shuffle_f32x4(c, d, 0xdd);
}

static inline vf32 vf32_abs(vf32 v)
{
    return _mm512_abs_ps(v);
}

static inline bool vf32_any_nan(vf32 v)
{
    return _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q) != 0;
}

/* The sign of lane l is bit l. */
static inline uint32_t vf32_signs(vf32 v)
{
    return _mm512_movepi32_mask(_mm512_castps_si512(v));
}

/* Small whole numbers as integers. */
static inline void vf32_store_i32(int32_t *p, vf32 v)
{
    _mm512_storeu_si512(p, _mm512_cvtps_epi32(v));
}

/* ---- rows of maxima --------------------------------------------------------------------------- */

/* Lanes 0 .. count - 1 alone. */
static inline void vf32_store_part(float *p, vf32 v, int count)
{
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << count) - 1u), v);
}

/* Two vectors as one row: the lanes with even and with odd numbers, and back. */
static inline void vf32_unzip(vf32 low, vf32 high, vf32 *even, vf32 *odd)
{
    const __m512i lane =
        _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    *even = _mm512_permutex2var_ps(low, lane, high);
    *odd = _mm512_permutex2var_ps(low, _mm512_add_epi32(lane, _mm512_set1_epi32(1)), high);
}

static inline void vf32_zip(vf32 even, vf32 odd, vf32 *low, vf32 *high)
{
    const __m512i lane = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    *low = _mm512_permutex2var_ps(even, lane, odd);
    *high = _mm512_permutex2var_ps(even, _mm512_add_epi32(lane, _mm512_set1_epi32(8)), odd);
}

/* Lane l is lane lane[l] of v. */
static inline vf32 vf32_permute(vf32 v, const int32_t *lane)
{
    return _mm512_permutexvar_ps(_mm512_loadu_si512(lane), v);
}

typedef __mmask16 vmask;

/* Where a running maximum takes a value: if it is larger or NaN, unless the maximum is NaN. */
static inline vmask vf32_takes(vf32 maximum, vf32 value)
{
    return _mm512_mask_cmp_ps_mask(_mm512_cmp_ps_mask(maximum, maximum, _CMP_ORD_Q), value, maximum,
                                   _CMP_NLE_UQ);
}

static inline vmask vu32_equal(vu32 a, vu32 b)
{
    return _mm512_cmpeq_epi32_mask(a, b);
}

/* a where the mask is set, else b. */
static inline vf32 vf32_choose(vmask mask, vf32 a, vf32 b)
{
    return _mm512_mask_blend_ps(mask, b, a);
}

/* to[i] += the sum of all lanes of v[i], i < 4; the same of w for `more`. */
static inline void vf32_add_sums(float *to, const vf32 *v, float *more, const vf32 *w)
{
    __m512 s[4]; /* halves of v[0], v[1] | v[2], v[3] | w[0], w[1] | w[2], w[3] */
    for (int i = 0; i < 2; i++) {
        const vf32 *const v2 = v + 2 * i, *const w2 = w + 2 * i;
        s[i] = _mm512_add_ps(_mm512_shuffle_f32x4(v2[0], v2[1], 0x44),
                             _mm512_shuffle_f32x4(v2[0], v2[1], 0xee));
        s[2 + i] = _mm512_add_ps(_mm512_shuffle_f32x4(w2[0], w2[1], 0x44),
                                 _mm512_shuffle_f32x4(w2[0], w2[1], 0xee));
    }
    /* A quarter of each vector in each quarter. */
    const __m512 a = _mm512_add_ps(_mm512_shuffle_f32x4(s[0], s[1], 0x88),
                                   _mm512_shuffle_f32x4(s[0], s[1], 0xdd));
    const __m512 b = _mm512_add_ps(_mm512_shuffle_f32x4(s[2], s[3], 0x88),
                                   _mm512_shuffle_f32x4(s[2], s[3], 0xdd));
    const __m512 pairs = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
    const __m512 sums = _mm512_add_ps(pairs, _mm512_shuffle_ps(pairs, pairs, 0x4e));
    /* In every quarter: the sum of a v, then of a w. */
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 0, 0, 0, 0, 0, 0, 0, 0);
    const __m256 all = _mm512_castps512_ps256(_mm512_permutexvar_ps(order, sums));
    _mm_storeu_ps(to, _mm_add_ps(_mm_loadu_ps(to), _mm256_castps256_ps128(all)));
    _mm_storeu_ps(more, _mm_add_ps(_mm_loadu_ps(more), _mm256_extractf128_ps(all, 1)));
}

/* v, in a register: the compiler must not read it again from memory for each use. */
static inline vf32 vf32_keep(vf32 v)
{
    __asm__("" : "+v"(v));
    return v;
}

#endif
