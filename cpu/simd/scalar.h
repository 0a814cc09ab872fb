/*
 * Level scalar: vectors of 16 bytes in the compiler's own notation, which every target has (SSE2,
 * NEON, or plain registers). No fused multiply-add: two roundings, the same everywhere.
 */
#ifndef EQI_SIMD_SCALAR_H
#define EQI_SIMD_SCALAR_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#if defined(__clang__)
#define EQI_UNROLL_4 _Pragma("clang loop unroll(full)")
#else
#define EQI_UNROLL_4 _Pragma("GCC unroll 4")
#endif

#define EQI_LEVEL scalar

typedef float vf32 __attribute__((vector_size(16)));
typedef double vf64 __attribute__((vector_size(16)));
enum { vf32_lanes = 4, vf64_lanes = 2 };

static inline vf32 vf32_load(const float *p)
{
    vf32 v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline vf64 vf64_load(const double *p)
{
    vf64 v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline void vf32_store(float *p, vf32 v)
{
    memcpy(p, &v, sizeof v);
}

static inline void vf64_store(double *p, vf64 v)
{
    memcpy(p, &v, sizeof v);
}

static inline vf32 vf32_broadcast(float x)
{
    return (vf32){x, x, x, x};
}

static inline vf64 vf64_broadcast(double x)
{
    return (vf64){x, x};
}

/* a b + c */
static inline vf32 vf32_fma(vf32 a, vf32 b, vf32 c)
{
    return a * b + c;
}

/* c - a b */
static inline vf32 vf32_fnma(vf32 a, vf32 b, vf32 c)
{
    return c - a * b;
}

static inline vf64 vf64_fma(vf64 a, vf64 b, vf64 c)
{
    return a * b + c;
}

#if defined(__clang__) || __GNUC__ >= 12
#define EQI_SHUFFLE(a, b, i, j, k, l) __builtin_shufflevector(a, b, i, j, k, l)
#else
#define EQI_SHUFFLE(a, b, i, j, k, l)                                                              \
    __builtin_shuffle(a, b, (int __attribute__((vector_size(16)))){i, j, k, l})
#endif

/* Rows of a 4 x 4 block become its columns. */
static inline void vf32_transpose(vf32 row[4])
{
    const vf32 a = EQI_SHUFFLE(row[0], row[1], 0, 4, 1, 5);
    const vf32 b = EQI_SHUFFLE(row[2], row[3], 0, 4, 1, 5);
    const vf32 c = EQI_SHUFFLE(row[0], row[1], 2, 6, 3, 7);
    const vf32 d = EQI_SHUFFLE(row[2], row[3], 2, 6, 3, 7);
    row[0] = EQI_SHUFFLE(a, b, 0, 1, 4, 5);
    row[1] = EQI_SHUFFLE(a, b, 2, 3, 6, 7);
    row[2] = EQI_SHUFFLE(c, d, 0, 1, 4, 5);
    row[3] = EQI_SHUFFLE(c, d, 2, 3, 6, 7);
}

/* Floats as doubles. */
static inline vf64 vf64_widen(const float *p)
{
    return (vf64){(double)p[0], (double)p[1]};
}

static inline vf64 vf64_add(vf64 a, vf64 b)
{
    return a + b;
}

static inline vf64 vf64_sub(vf64 a, vf64 b)
{
    return a - b;
}

/* Lane l of to[i] = p[l step + i], i < 4. */
static inline void vf32_load_turned(const float *p, int64_t step, vf32 to[4])
{
    EQI_UNROLL_4
    for (int64_t q = 0; q < 4; q++)
        to[q] = vf32_load(p + q * step);
    vf32_transpose(to);
}

/* The way back: p[l step + i] = lane l of from[i]. */
static inline void vf32_store_turned(float *p, int64_t step, const vf32 from[4])
{
    vf32 row[4] = {from[0], from[1], from[2], from[3]};
    vf32_transpose(row);
    EQI_UNROLL_4
    for (int64_t q = 0; q < 4; q++)
        vf32_store(p + q * step, row[q]);
}

/* The smaller and the larger; for NaN, and for zeros of two signs, the second argument. */
typedef int32_t vi32 __attribute__((vector_size(16)));
typedef int64_t vi64 __attribute__((vector_size(16)));

static inline vf32 vf32_min(vf32 a, vf32 b)
{
    const vi32 first = (vi32)(a < b);
    return (vf32)(((vi32)a & first) | ((vi32)b & ~first));
}

static inline vf32 vf32_max(vf32 a, vf32 b)
{
    const vi32 first = (vi32)(a > b);
    return (vf32)(((vi32)a & first) | ((vi32)b & ~first));
}

static inline vf64 vf64_min(vf64 a, vf64 b)
{
    const vi64 first = (vi64)(a < b);
    return (vf64)(((vi64)a & first) | ((vi64)b & ~first));
}

static inline vf64 vf64_max(vf64 a, vf64 b)
{
    const vi64 first = (vi64)(a > b);
    return (vf64)(((vi64)a & first) | ((vi64)b & ~first));
}

/* x where a < b, else y. */
static inline vf64 vf64_select_less(vf64 a, vf64 b, vf64 x, vf64 y)
{
    const vi64 less = (vi64)(a < b);
    return (vf64)(((vi64)x & less) | ((vi64)y & ~less));
}

/* Lanes where something was seen. */
typedef vi32 vf32_marks;

static inline vf32_marks vf32_mark_nothing(void)
{
    return (vf32_marks){0, 0, 0, 0};
}

/* Adds the lanes that are NaN or -0. */
static inline vf32_marks vf32_mark_special(vf32_marks marks, vf32 v)
{
    const vi32 zero = {INT32_MIN, INT32_MIN, INT32_MIN, INT32_MIN};
    /* Only NaN differs from itself. NOLINTNEXTLINE(misc-redundant-expression) */
    return marks | (vi32)(v != v) | (vi32)((vi32)v == zero);
}

static inline bool vf32_any_marked(vf32_marks marks)
{
    const vi64 halves = (vi64)marks;
    return (halves[0] | halves[1]) != 0;
}

static inline vf32 vf32_add(vf32 a, vf32 b)
{
    return a + b;
}

static inline vf32 vf32_sub(vf32 a, vf32 b)
{
    return a - b;
}

static inline vf32 vf32_mul(vf32 a, vf32 b)
{
    return a * b;
}

/* The sum of all lanes, always in the same order. */
static inline float vf32_sum(vf32 v)
{
    return (v[0] + v[2]) + (v[1] + v[3]);
}

/* Lanes first .. last - 1: found once, used often. */
typedef struct vf32_part {
    int first, last;
} vf32_part;

static inline vf32_part vf32_part_of(int first, int last)
{
    return (vf32_part){first, last};
}

/* Those lanes of memory, the others 0; nothing else is read. */
static inline vf32 vf32_load_lanes(const float *p, vf32_part part)
{
    vf32 v = {0};
    for (int i = part.first; i < part.last; i++)
        v[i] = p[i];
    return v;
}

static inline vf32 vf32_load_part(const float *p, int first, int last)
{
    return vf32_load_lanes(p, vf32_part_of(first, last));
}

/* ---- orbits ---------------------------------------------------------------------------------- */

/* Pieces of 16 bytes, as many rows as a vector has of them: rows become columns. */
static inline void vf32_transpose_quads(vf32 row[1])
{
    (void)row;
}

static inline vf32 vf32_sqrt(vf32 v)
{
    return (vf32){sqrtf(v[0]), sqrtf(v[1]), sqrtf(v[2]), sqrtf(v[3])};
}

static inline vf32 vf32_abs(vf32 v)
{
    return (vf32)((vi32)v & INT32_MAX);
}

static inline bool vf32_any_nan(vf32 v)
{
    return (v[0] != v[0]) | (v[1] != v[1]) | (v[2] != v[2]) | (v[3] != v[3]);
}

/* The sign of lane l is bit l. */
static inline uint32_t vf32_signs(vf32 v)
{
    uint32_t bits = 0;
    for (int i = 0; i < 4; i++)
        bits |= (uint32_t)(((vi32)v)[i] < 0) << i;
    return bits;
}

/* Small whole numbers as integers. */
static inline void vf32_store_i32(int32_t *p, vf32 v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (int32_t)v[i];
}

/* ---- rows of maxima --------------------------------------------------------------------------- */

/* Lanes 0 .. count - 1 alone. */
static inline void vf32_store_part(float *p, vf32 v, int count)
{
    for (int i = 0; i < count; i++)
        p[i] = v[i];
}

/* Two vectors as one row: the lanes with even and with odd numbers, and back. */
static inline void vf32_unzip(vf32 low, vf32 high, vf32 *even, vf32 *odd)
{
    *even = EQI_SHUFFLE(low, high, 0, 2, 4, 6);
    *odd = EQI_SHUFFLE(low, high, 1, 3, 5, 7);
}

static inline void vf32_zip(vf32 even, vf32 odd, vf32 *low, vf32 *high)
{
    *low = EQI_SHUFFLE(even, odd, 0, 4, 1, 5);
    *high = EQI_SHUFFLE(even, odd, 2, 6, 3, 7);
}

typedef uint32_t vu32 __attribute__((vector_size(16)));
/* Lane l is lane lane[l] of v. */
static inline vf32 vf32_permute(vf32 v, const int32_t *lane)
{
    return (vf32){v[lane[0]], v[lane[1]], v[lane[2]], v[lane[3]]};
}

typedef int32_t vmask __attribute__((vector_size(16)));

static inline vu32 vu32_load(const uint32_t *p)
{
    vu32 v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline vu32 vu32_broadcast(uint32_t x)
{
    return (vu32){x, x, x, x};
}

static inline vu32 vu32_add(vu32 a, vu32 b)
{
    return a + b;
}

static inline vf32 vf32_from_bits(vu32 v)
{
    return (vf32)v;
}

static inline vu32 vf32_bits(vf32 v)
{
    return (vu32)v;
}

/* Where a running maximum takes a value: if it is larger or NaN, unless the maximum is NaN. */
static inline vmask vf32_takes(vf32 maximum, vf32 value)
{
    /* As above. NOLINTNEXTLINE(misc-redundant-expression) */
    return ~(value <= maximum) & (maximum == maximum);
}

static inline vmask vu32_equal(vu32 a, vu32 b)
{
    return a == b;
}

/* a where the mask is set, else b. */
static inline vf32 vf32_choose(vmask mask, vf32 a, vf32 b)
{
    return (vf32)((mask & (vmask)a) | (~mask & (vmask)b));
}

/* to[i] += the sum of all lanes of v[i], i < 4; the same of w for `more`. */
static inline void vf32_add_sums(float *to, const vf32 *v, float *more, const vf32 *w)
{
    for (int i = 0; i < 4; i++) {
        to[i] += vf32_sum(v[i]);
        more[i] += vf32_sum(w[i]);
    }
}

/* v; other levels keep it in a register. */
static inline vf32 vf32_keep(vf32 v)
{
    return v;
}

#endif
