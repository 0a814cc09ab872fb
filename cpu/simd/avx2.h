/* Level avx2: AVX2 with FMA, 32-byte vectors. Include only from cpu/isa/avx2/. */
#ifndef EQI_SIMD_AVX2_H
#define EQI_SIMD_AVX2_H

#include <immintrin.h>
#include <stdbool.h>
#include <stdint.h>

#if defined(__clang__)
#define EQI_UNROLL_4 _Pragma("clang loop unroll(full)")
#else
#define EQI_UNROLL_4 _Pragma("GCC unroll 4")
#endif

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

/* c - a b, the same. */
static inline vf32 vf32_fnma(vf32 a, vf32 b, vf32 c)
{
    return _mm256_fnmadd_ps(a, b, c);
}

static inline vf64 vf64_fma(vf64 a, vf64 b, vf64 c)
{
    return _mm256_fmadd_pd(a, b, c);
}

/* Floats as doubles. */
static inline vf64 vf64_widen(const float *p)
{
    return _mm256_cvtps_pd(_mm_loadu_ps(p));
}

static inline vf64 vf64_add(vf64 a, vf64 b)
{
    return _mm256_add_pd(a, b);
}

static inline vf64 vf64_sub(vf64 a, vf64 b)
{
    return _mm256_sub_pd(a, b);
}

static inline vf32 vf32_add(vf32 a, vf32 b)
{
    return _mm256_add_ps(a, b);
}

static inline vf32 vf32_sub(vf32 a, vf32 b)
{
    return _mm256_sub_ps(a, b);
}

static inline vf32 vf32_mul(vf32 a, vf32 b)
{
    return _mm256_mul_ps(a, b);
}

static inline vf32 vf32_sqrt(vf32 v)
{
    return _mm256_sqrt_ps(v);
}

/* The smaller and the larger; for NaN, and for zeros of two signs, the second argument. */
static inline vf32 vf32_min(vf32 a, vf32 b)
{
    return _mm256_min_ps(a, b);
}

static inline vf32 vf32_max(vf32 a, vf32 b)
{
    return _mm256_max_ps(a, b);
}

static inline vf64 vf64_min(vf64 a, vf64 b)
{
    return _mm256_min_pd(a, b);
}

static inline vf64 vf64_max(vf64 a, vf64 b)
{
    return _mm256_max_pd(a, b);
}

/* x where a < b, else y. */
static inline vf64 vf64_select_less(vf64 a, vf64 b, vf64 x, vf64 y)
{
    return _mm256_blendv_pd(y, x, _mm256_cmp_pd(a, b, _CMP_LT_OQ));
}

/* Lanes where something was seen. */
typedef __m256 vf32_marks;

static inline vf32_marks vf32_mark_nothing(void)
{
    return _mm256_setzero_ps();
}

/* Adds the lanes that are NaN or -0. */
static inline vf32_marks vf32_mark_special(vf32_marks marks, vf32 v)
{
    const __m256i zero = _mm256_cmpeq_epi32(_mm256_castps_si256(v), _mm256_set1_epi32(INT32_MIN));
    const vf32 special = _mm256_or_ps(_mm256_cmp_ps(v, v, _CMP_UNORD_Q), _mm256_castsi256_ps(zero));
    return _mm256_or_ps(marks, special);
}

static inline bool vf32_any_marked(vf32_marks marks)
{
    return _mm256_movemask_ps(marks) != 0;
}

/* Rows of the 4 x 4 blocks in every 16 bytes become their columns. */
static inline void vf32_transpose(vf32 row[4])
{
    const vf32 a = _mm256_unpacklo_ps(row[0], row[1]), b = _mm256_unpackhi_ps(row[0], row[1]);
    const vf32 c = _mm256_unpacklo_ps(row[2], row[3]), d = _mm256_unpackhi_ps(row[2], row[3]);
#define PAIRS(half, x, y)                                                                          \
    _mm256_castpd_ps(_mm256_unpack##half##_pd(_mm256_castps_pd(x), _mm256_castps_pd(y)))
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
        to[q] = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(at)),
                                     _mm_loadu_ps(at + 4 * step), 1);
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
        _mm_storeu_ps(p + q * step, _mm256_castps256_ps128(row[q]));
        _mm_storeu_ps(p + (q + 4) * step, _mm256_extractf128_ps(row[q], 1));
    }
}

/* The sum of all lanes, always in the same order. */
static inline float vf32_sum(vf32 v)
{
    const __m128 half = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    const __m128 pair = _mm_add_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_add_ss(pair, _mm_movehdup_ps(pair)));
}

/* Lanes first .. last - 1: found once, used often. */
typedef __m256i vf32_part;

static inline vf32_part vf32_part_of(int first, int last)
{
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const __m256i above = _mm256_cmpgt_epi32(lane, _mm256_set1_epi32(first - 1));
    const __m256i below = _mm256_cmpgt_epi32(_mm256_set1_epi32(last), lane);
    return _mm256_and_si256(above, below);
}

/* Those lanes of memory, the others 0; nothing else is read. */
static inline vf32 vf32_load_lanes(const float *p, vf32_part part)
{
    return _mm256_maskload_ps(p, part);
}

static inline vf32 vf32_load_part(const float *p, int first, int last)
{
    return vf32_load_lanes(p, vf32_part_of(first, last));
}

/* ---- 32-bit integers -------------------------------------------------- */

typedef __m256i vu32;

static inline vu32 vu32_load(const uint32_t *p)
{
    return _mm256_loadu_si256((const __m256i *)p);
}

static inline vu32 vu32_broadcast(uint32_t x)
{
    return _mm256_set1_epi32((int)x);
}

static inline vu32 vu32_add(vu32 a, vu32 b)
{
    return _mm256_add_epi32(a, b);
}

static inline vu32 vu32_sub(vu32 a, vu32 b)
{
    return _mm256_sub_epi32(a, b);
}

static inline vu32 vu32_and(vu32 a, vu32 b)
{
    return _mm256_and_si256(a, b);
}

static inline vu32 vu32_xor(vu32 a, vu32 b)
{
    return _mm256_xor_si256(a, b);
}

static inline vu32 vu32_xor3(vu32 a, vu32 b, vu32 c)
{
    return _mm256_xor_si256(_mm256_xor_si256(a, b), c);
}

#define vu32_left(v, bits) _mm256_slli_epi32(v, bits)
#define vu32_right(v, bits) _mm256_srli_epi32(v, bits)
#define vu32_right_signed(v, bits) _mm256_srai_epi32(v, bits)

/* The 64-bit products of the even lanes. */
static inline vu32 vu32_product(vu32 a, vu32 b)
{
    return _mm256_mul_epu32(a, b);
}

/* Pairs of lanes as 64-bit integers. */
static inline vu32 vu32_broadcast_pair(uint64_t x)
{
    return _mm256_set1_epi64x((long long)x);
}

static inline vu32 vu32_add_pairs(vu32 a, vu32 b)
{
    return _mm256_add_epi64(a, b);
}

/* The upper lanes of pairs, moved down. */
static inline vu32 vu32_upper(vu32 pairs)
{
    return _mm256_srli_epi64(pairs, 32);
}

/* The even lanes of both: a's stay even, b's go to the odd ones. */
static inline vu32 vu32_merge(vu32 a, vu32 b)
{
    return _mm256_blend_epi32(a, _mm256_slli_epi64(b, 32), 0xaa);
}

/* Of signed numbers. */
static inline vf32 vf32_of(vu32 v)
{
    return _mm256_cvtepi32_ps(v);
}

static inline vf32 vf32_from_bits(vu32 v)
{
    return _mm256_castsi256_ps(v);
}

static inline vu32 vf32_bits(vf32 v)
{
    return _mm256_castps_si256(v);
}

/* a, or b where the sign bit of `which` is set. */
static inline vf32 vf32_select(vu32 which, vf32 a, vf32 b)
{
    return _mm256_blendv_ps(a, b, _mm256_castsi256_ps(which));
}

/* ---- orbits ---------------------------------------------------------------------------------- */

/* Pieces of 16 bytes, as many rows as a vector has of them: rows become columns. */
static inline void vf32_transpose_quads(vf32 row[2])
{
    const vf32 a = row[0], b = row[1];
    row[0] = _mm256_permute2f128_ps(a, b, 0x20);
    row[1] = _mm256_permute2f128_ps(a, b, 0x31);
}

static inline vf32 vf32_abs(vf32 v)
{
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), v);
}

static inline bool vf32_any_nan(vf32 v)
{
    return _mm256_movemask_ps(_mm256_cmp_ps(v, v, _CMP_UNORD_Q)) != 0;
}

/* The sign of lane l is bit l. */
static inline uint32_t vf32_signs(vf32 v)
{
    return (uint32_t)_mm256_movemask_ps(v);
}

/* Small whole numbers as integers. */
static inline void vf32_store_i32(int32_t *p, vf32 v)
{
    _mm256_storeu_si256((__m256i *)p, _mm256_cvtps_epi32(v));
}

/* ---- rows of maxima --------------------------------------------------------------------------- */

/* Lanes 0 .. count - 1 alone: by plain stores, as AMD's processors take vmaskmovps apart into dozens of steps. */
static inline void vf32_store_part(float *p, vf32 v, int count)
{
    if (count >= 8) {
        _mm256_storeu_ps(p, v);
        return;
    }
    __m128 rest = _mm256_castps256_ps128(v);
    if (count & 4) {
        _mm_storeu_ps(p, rest);
        rest = _mm256_extractf128_ps(v, 1);
        p += 4;
    }
    if (count & 2) {
        _mm_storel_pi((__m64 *)(void *)p, rest);
        rest = _mm_movehl_ps(rest, rest);
        p += 2;
    }
    if (count & 1)
        _mm_store_ss(p, rest);
}

/* Two vectors as one row: the lanes with even and with odd numbers, and back. */
static inline vf32 vf32_gather_halves(__m256 v)
{
    return _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(v), 0xd8));
}

static inline void vf32_unzip(vf32 low, vf32 high, vf32 *even, vf32 *odd)
{
    *even = vf32_gather_halves(_mm256_shuffle_ps(low, high, 0x88));
    *odd = vf32_gather_halves(_mm256_shuffle_ps(low, high, 0xdd));
}

static inline void vf32_zip(vf32 even, vf32 odd, vf32 *low, vf32 *high)
{
    const __m256 a = _mm256_unpacklo_ps(even, odd), b = _mm256_unpackhi_ps(even, odd);
    *low = _mm256_permute2f128_ps(a, b, 0x20);
    *high = _mm256_permute2f128_ps(a, b, 0x31);
}

/* Lane l is lane lane[l] of v. */
static inline vf32 vf32_permute(vf32 v, const int32_t *lane)
{
    return _mm256_permutevar8x32_ps(v, _mm256_loadu_si256((const __m256i *)(const void *)lane));
}

typedef __m256 vmask;

/* Where a running maximum takes a value: if it is larger or NaN, unless the maximum is NaN. */
static inline vmask vf32_takes(vf32 maximum, vf32 value)
{
    return _mm256_and_ps(_mm256_cmp_ps(value, maximum, _CMP_NLE_UQ),
                         _mm256_cmp_ps(maximum, maximum, _CMP_ORD_Q));
}

static inline vmask vu32_equal(vu32 a, vu32 b)
{
    return _mm256_castsi256_ps(_mm256_cmpeq_epi32(a, b));
}

/* a where the mask is set, else b. */
static inline vf32 vf32_choose(vmask mask, vf32 a, vf32 b)
{
    return _mm256_blendv_ps(b, a, mask);
}

static inline void vf32_add_four(float *to, const vf32 *v)
{
    __m128 s[4];
    for (int i = 0; i < 4; i++)
        s[i] = _mm_add_ps(_mm256_castps256_ps128(v[i]), _mm256_extractf128_ps(v[i], 1));
    const __m128 a = _mm_add_ps(_mm_unpacklo_ps(s[0], s[1]), _mm_unpackhi_ps(s[0], s[1]));
    const __m128 b = _mm_add_ps(_mm_unpacklo_ps(s[2], s[3]), _mm_unpackhi_ps(s[2], s[3]));
    const __m128 all = _mm_add_ps(_mm_movelh_ps(a, b), _mm_movehl_ps(b, a));
    _mm_storeu_ps(to, _mm_add_ps(_mm_loadu_ps(to), all));
}

/* to[i] += the sum of all lanes of v[i], i < 4; the same of w for `more`. */
static inline void vf32_add_sums(float *to, const vf32 *v, float *more, const vf32 *w)
{
    vf32_add_four(to, v);
    vf32_add_four(more, w);
}

/* v, in a register: the compiler must not read it again from memory for each use. */
static inline vf32 vf32_keep(vf32 v)
{
    __asm__("" : "+x"(v));
    return v;
}

#endif
