/*
 * |x - y|^2 in double by the eight chains of internal/distance.h, here one vector in GNU C's notation,
 * which every level maps to its own. No fused multiply-add: the bits are those of all levels.
 *
 * The includer includes a header of cpu/simd/.
 */
#include "cpu/gemm/distance.h"

#include <string.h>

#define PASTE_(a, b) a##b
#define PASTE(a, b) PASTE_(a, b)

typedef double lanes __attribute__((vector_size(64)));
typedef float narrow_lanes __attribute__((vector_size(32)));

#define DISTANCE(name, real, vector)                                                               \
    double PASTE(name, EQI_LEVEL)(const real *x, const real *y, int64_t count)                     \
    {                                                                                              \
        lanes sum = {0};                                                                           \
        int64_t i = 0;                                                                             \
        for (; i + 8 <= count; i += 8) {                                                           \
            vector a, b;                                                                           \
            memcpy(&a, x + i, sizeof a);                                                           \
            memcpy(&b, y + i, sizeof b);                                                           \
            const lanes d = __builtin_convertvector(a, lanes) - __builtin_convertvector(b, lanes); \
            sum += d * d;                                                                          \
        }                                                                                          \
        for (int l = 0; i < count; i++, l++) {                                                     \
            const double d = (double)x[i] - (double)y[i];                                          \
            sum[l] += d * d;                                                                       \
        }                                                                                          \
        const double even = (sum[0] + sum[4]) + (sum[2] + sum[6]);                                 \
        const double odd = (sum[1] + sum[5]) + (sum[3] + sum[7]);                                  \
        return even + odd;                                                                         \
    }

DISTANCE(eqi_f32_distance_, float, narrow_lanes)
DISTANCE(eqi_f64_distance_, double, lanes)
