/*
 * |x - y|^2 in double by the eight chains of internal/distance.h, here one vector in GNU C's notation,
 * which every level maps to its own. No fused multiply-add: the bits are those of all levels.
 *
 * The includer includes a header of cpu/simd/.
 */
#include "cpu/gemm/distance.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "cpu/gfourier/nearest.h"

#define PASTE_(a, b) a##b
#define PASTE(a, b) PASTE_(a, b)

typedef double lanes __attribute__((vector_size(64)));
typedef float narrow_lanes __attribute__((vector_size(32)));

#define INLINE static inline __attribute__((always_inline))
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 4")
#endif

#define DISTANCE(type, real, vector)                                                               \
    INLINE void type##_rows(const real *x, const real *y, const int64_t rows, int64_t count,       \
                            double *squares)                                                       \
    {                                                                                              \
        lanes sum[EQI_DISTANCES] = {{0}};                                                          \
        int64_t i = 0;                                                                             \
        for (; i + 8 <= count; i += 8) {                                                           \
            vector a, b;                                                                           \
            memcpy(&a, x + i, sizeof a);                                                           \
            const lanes wide = __builtin_convertvector(a, lanes);                                  \
            UNROLL for (int64_t r = 0; r < rows; r++)                                              \
            {                                                                                      \
                memcpy(&b, y + r * count + i, sizeof b);                                           \
                const lanes d = wide - __builtin_convertvector(b, lanes);                          \
                sum[r] += d * d;                                                                   \
            }                                                                                      \
        }                                                                                          \
        UNROLL for (int64_t r = 0; r < rows; r++)                                                  \
        {                                                                                          \
            lanes s = sum[r];                                                                      \
            for (int64_t l = 0; i + l < count; l++) {                                              \
                const double d = (double)x[i + l] - (double)y[r * count + i + l];                  \
                s[l] += d * d;                                                                     \
            }                                                                                      \
            const double even = (s[0] + s[4]) + (s[2] + s[6]);                                     \
            const double odd = (s[1] + s[5]) + (s[3] + s[7]);                                      \
            squares[r] = even + odd;                                                               \
        }                                                                                          \
    }                                                                                              \
    double PASTE(eqi_##type##_distance_, EQI_LEVEL)(const real *x, const real *y, int64_t count)   \
    {                                                                                              \
        double square;                                                                             \
        type##_rows(x, y, 1, count, &square);                                                      \
        return square;                                                                             \
    }                                                                                              \
    void PASTE(eqi_##type##_distances_, EQI_LEVEL)(const real *x, const real *y, int64_t rows,     \
                                                   int64_t count, double *squares)                 \
    {                                                                                              \
        if (rows == EQI_DISTANCES) {                                                               \
            type##_rows(x, y, EQI_DISTANCES, count, squares);                                      \
            return;                                                                                \
        }                                                                                          \
        for (int64_t r = 0; r < rows; r++)                                                         \
            type##_rows(x, y + r * count, 1, count, squares + r);                                  \
    }

DISTANCE(f32, float, narrow_lanes)
DISTANCE(f64, double, lanes)

/* ---- products to distances ------------------------------------------------------------------- */

/*
 * Products are taken while |x - g y|^2 is at least the 16th part of |x|^2 + |y|^2, which keeps
 * what cancels near 1e-6 of the distance, and while squares are far from the ends of the floats.
 */
#define CLOSE (1.0F / 16)
#define LARGEST 1e30F

INLINE vf32 member(const eqi_orbit_nearest *n, int64_t i, int32_t h)
{
    return vf32_load(n->values + h * n->step + i);
}

/* How far each of two products of |x| |y| may be off, together. */
INLINE vf32 doubt(const eqi_orbit_nearest *n, int64_t i)
{
    return vf32_fma(vf32_broadcast(2 * n->relative * n->x_length), vf32_load(n->y_length + i),
                    vf32_broadcast(2 * n->at_least));
}

/* The largest so far, the one behind it and which it is. */
INLINE void take_member(vf32 v, int32_t h, vf32 *most, vf32 *next, vf32 *at)
{
    *at = vf32_choose(vf32_takes(*most, v), vf32_broadcast((float)h), *at);
    *next = vf32_max(*next, vf32_min(*most, v));
    *most = vf32_max(*most, v);
}

INLINE eqi_undecided distances_of(const eqi_orbit_nearest *n, const bool which)
{
    eqi_undecided bits = {0, 0};
    const vf32 two = vf32_broadcast(2);
    for (int64_t i = 0; i < n->vectors * vf32_lanes; i += vf32_lanes) {
        vf32 most = member(n, i, 0), next = vf32_broadcast(-INFINITY), at = vf32_broadcast(0);
        for (int32_t h = 1; h < n->order; h++) {
            const vf32 v = member(n, i, h);
            if (which)
                take_member(v, h, &most, &next, &at);
            else
                most = vf32_max(most, v);
        }
        const vf32 squares = vf32_add(vf32_broadcast(n->x_square), vf32_load(n->y_square + i));
        const vf32 d = vf32_sub(squares, vf32_mul(two, most));
        vf32_store(n->distance + i, vf32_sqrt(d));
        /* Negative where undecided. The last one is never NaN and is what vf32_min takes then. */
        const vf32 far = vf32_sub(d, vf32_mul(vf32_broadcast(CLOSE), squares));
        const vf32 small = vf32_sub(vf32_broadcast(LARGEST), squares);
        bits.distance |= (uint64_t)vf32_signs(vf32_min(far, small)) << i;
        if (which) {
            const vf32 apart = vf32_sub(vf32_sub(most, next), doubt(n, i));
            vf32_store_i32(n->member + i, at);
            bits.member |= (uint64_t)vf32_signs(vf32_min(apart, small)) << i;
        }
    }
    return bits;
}

static eqi_undecided distances(const eqi_orbit_nearest *n)
{
    return n->member ? distances_of(n, true) : distances_of(n, false);
}

static void bounds(const eqi_orbit_nearest *n)
{
    const vf32 two = vf32_broadcast(2);
    for (int64_t i = 0; i < n->vectors * vf32_lanes; i += vf32_lanes) {
        vf32 most = member(n, i, 0), next = vf32_broadcast(-INFINITY), at = vf32_broadcast(0);
        for (int32_t h = 1; h < n->order; h++)
            take_member(member(n, i, h), h, &most, &next, &at);
        const vf32 squares = vf32_add(vf32_broadcast(n->x_square), vf32_load(n->y_square + i));
        /* Sums and squares are rounded too. */
        const vf32 less = vf32_fma(vf32_broadcast(8 * FLT_EPSILON), squares, doubt(n, i));
        const vf32 d = vf32_sub(vf32_sub(squares, vf32_mul(two, most)), less);
        const vmask unknown = vf32_takes(vf32_broadcast(LARGEST), squares);
        vf32_store(n->distance + i, vf32_choose(unknown, vf32_broadcast(-INFINITY), d));
        const vf32 none = vf32_broadcast(-1);
        const vf32 decided =
            vf32_choose(vf32_takes(less, vf32_sub(most, next)), at, none); /* by more than doubt */
        vf32_store_i32(n->member + i, vf32_choose(unknown, none, decided));
    }
}

static int64_t next(const float *bounds, int64_t from, int64_t count, float limit)
{
    const vf32 most = vf32_broadcast(limit), plus = vf32_broadcast(1), minus = vf32_broadcast(-1);
    for (; from + vf32_lanes <= count; from += vf32_lanes) {
        const vmask above = vf32_takes(most, vf32_load(bounds + from));
        const uint32_t found = vf32_signs(vf32_choose(above, plus, minus));
        if (found)
            return from + __builtin_ctz(found);
    }
    while (from < count && !(bounds[from] <= limit))
        from++;
    return from;
}

static void turn(const float *from, const int32_t *places, int64_t field, int64_t dimension,
                 float *to)
{
    int64_t f = 0;
    if (vf32_lanes % field == 0) {
        int32_t lane[vf32_lanes];
        for (int32_t l = 0; l < vf32_lanes; l++)
            lane[l - l % field + places[l % field]] = l;
        for (; f + vf32_lanes <= dimension; f += vf32_lanes)
            vf32_store(to + f, vf32_permute(vf32_load(from + f), lane));
    }
    for (; f < dimension; f += field)
        for (int64_t i = 0; i < field; i++)
            to[f + places[i]] = from[f + i];
}

const eqi_nearest_kernels PASTE(eqi_nearest_, EQI_LEVEL) = {distances, bounds, next, turn};
