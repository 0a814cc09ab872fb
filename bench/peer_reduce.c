/*
 * What follows the product with all turned templates, for peers: orbits reduced or sorted. The values of
 * one element stand together, so every loop runs over templates and the compiler's vectors do. Compiled
 * for three levels and chosen at run time: a peer is not to lose by the compiler's base level.
 */
#include <math.h>
#include <string.h>

#include "bench/peer.h"

typedef float combine(float sum, float value);

static inline __attribute__((always_inline)) float larger(float a, float b)
{
    return b > a ? b : a;
}

static inline __attribute__((always_inline)) float add_relu(float a, float b)
{
    return a + (b > 0 ? b : 0);
}

static inline __attribute__((always_inline)) float add_abs(float a, float b)
{
    return a + fabsf(b);
}

static inline __attribute__((always_inline)) float add_square(float a, float b)
{
    return a + b * b;
}

static inline __attribute__((always_inline)) float add_cube(float a, float b)
{
    return a + b * b * b;
}

static inline __attribute__((always_inline)) float smaller(float a, float b)
{
    return a < b ? a : b;
}

static inline __attribute__((always_inline)) float count_below(float a, float b)
{
    return a + (b <= 0 ? 1.0f : 0.0f);
}

/* dst [k] = scale times what `step` makes of start and the values of all elements. */
static inline __attribute__((always_inline)) void
over_elements(combine *step, float start, float scale, int64_t order, int64_t k,
              const float *restrict values, float *restrict dst)
{
    for (int64_t i = 0; i < k; i++)
        dst[i] = step(start, values[i]);
    for (int64_t g = 1; g < order; g++)
        for (int64_t i = 0; i < k; i++)
            dst[i] = step(dst[i], values[g * k + i]);
    for (int64_t i = 0; i < k; i++)
        dst[i] *= scale;
}

static inline __attribute__((always_inline)) void exchange(int64_t width, float *restrict low,
                                                           float *restrict high)
{
    for (int64_t i = 0; i < width; i++) {
        const float a = low[i], b = high[i];
        low[i] = b < a ? b : a;
        high[i] = b < a ? a : b;
    }
}

/* source: Batcher's merge exchange, Knuth volume 3, 5.2.2, algorithm M. */
static inline __attribute__((always_inline)) void network(int64_t count, int64_t width, float *v)
{
    int64_t top = 1;
    while (2 * top < count)
        top *= 2;
    for (int64_t p = top; p > 0; p /= 2)
        for (int64_t q = top, r = 0, d = p;; d = q - p, q /= 2, r = p) {
            for (int64_t i = 0; i < count - d; i++)
                if ((i & p) == r)
                    exchange(width, v + i * width, v + (i + d) * width);
            if (q == p)
                break;
        }
}

static inline __attribute__((always_inline)) void reduce(equinv_projection_kind kind, int64_t order,
                                                         int64_t k, float *values, float *dst)
{
    const float mean = 1 / (float)order;
    switch (kind) {
    case EQUINV_PROJECT_MAX: over_elements(larger, -INFINITY, 1, order, k, values, dst); break;
    case EQUINV_PROJECT_MIN: over_elements(smaller, INFINITY, 1, order, k, values, dst); break;
    case EQUINV_PROJECT_MOMENT3: over_elements(add_cube, 0, mean, order, k, values, dst); break;
    case EQUINV_PROJECT_CDF: over_elements(count_below, 0, mean, order, k, values, dst); break;
    case EQUINV_PROJECT_MEAN_RELU: over_elements(add_relu, 0, mean, order, k, values, dst); break;
    case EQUINV_PROJECT_MEAN_ABS: over_elements(add_abs, 0, mean, order, k, values, dst); break;
    case EQUINV_PROJECT_MEAN_SQUARE:
        over_elements(add_square, 0, mean, order, k, values, dst);
        break;
    default:
        if (kind == EQUINV_PROJECT_SORTED)
            network(order, k, values);
        peer_transpose(values, order, k, dst);
    }
}

static inline __attribute__((always_inline)) void
distances(int64_t k, float square, const float *restrict squares, float *restrict dst)
{
    for (int64_t i = 0; i < k; i++) {
        const float d = square + squares[i] - 2 * dst[i];
        dst[i] = sqrtf(d > 0 ? d : 0);
    }
}

void peer_transpose(const float *from, int64_t rows, int64_t columns, float *to)
{
    for (int64_t c = 0; c < columns; c++)
        for (int64_t r = 0; r < rows; r++)
            to[c * rows + r] = from[r * columns + c];
}

/* ---- levels ------------------------------------------------------------------------------------------ */

#define LEVEL(name, target)                                                                        \
    target static void reduce_##name(equinv_projection_kind kind, int64_t order, int64_t k,        \
                                     float *values, float *dst)                                    \
    {                                                                                              \
        reduce(kind, order, k, values, dst);                                                       \
    }                                                                                              \
    target static void network_##name(int64_t count, int64_t width, float *v)                      \
    {                                                                                              \
        network(count, width, v);                                                                  \
    }                                                                                              \
    target static void distances_##name(int64_t k, float square, const float *squares, float *dst) \
    {                                                                                              \
        distances(k, square, squares, dst);                                                        \
    }

LEVEL(base, )
#if defined(__x86_64__)
LEVEL(avx2, __attribute__((target("avx2,fma"))))
LEVEL(avx512, __attribute__((target("avx512f,avx512vl"))))
#define CHOOSE(function, ...)                                                                      \
    (__builtin_cpu_supports("avx512vl") ? function##_avx512                                        \
     : __builtin_cpu_supports("avx2")   ? function##_avx2                                          \
                                        : function##_base)(__VA_ARGS__)
#else
#define CHOOSE(function, ...) function##_base(__VA_ARGS__)
#endif

void peer_reduce(equinv_projection_kind kind, int64_t order, int64_t k, float *values, float *dst)
{
    CHOOSE(reduce, kind, order, k, values, dst);
}

void peer_sort_columns(int64_t count, int64_t width, float *values)
{
    CHOOSE(network, count, width, values);
}

void peer_distances(int64_t k, float square, const float *squares, float *dst)
{
    CHOOSE(distances, k, square, squares, dst);
}
