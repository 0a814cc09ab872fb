/*
 * Squared Euclidean distance as a fixed sum in double, eight chains: the same rows give the same bits
 * everywhere. The vectors are GNU C's, which compilers map to whatever the machine has.
 */
#ifndef EQI_DISTANCE_H
#define EQI_DISTANCE_H

#include <stdint.h>
#include <string.h>

typedef double eqi_lanes __attribute__((vector_size(16)));
typedef float eqi_narrow_lanes __attribute__((vector_size(8)));

#define EQI_SQUARED_DISTANCE(name, real, vector)                                                   \
    static inline double name(const real *x, const real *y, int64_t count)                         \
    {                                                                                              \
        eqi_lanes sum[4] = {{0}};                                                                  \
        int64_t i = 0;                                                                             \
        for (; i + 8 <= count; i += 8)                                                             \
            for (int l = 0; l < 4; l++) {                                                          \
                vector a, b;                                                                       \
                memcpy(&a, x + i + 2 * l, sizeof a);                                               \
                memcpy(&b, y + i + 2 * l, sizeof b);                                               \
                const eqi_lanes d =                                                                \
                    __builtin_convertvector(a, eqi_lanes) - __builtin_convertvector(b, eqi_lanes); \
                sum[l] += d * d;                                                                   \
            }                                                                                      \
        for (int l = 0; l < 8 && i < count; i++, l++) {                                            \
            const double d = (double)x[i] - (double)y[i];                                          \
            sum[l / 2][l % 2] += d * d;                                                            \
        }                                                                                          \
        const eqi_lanes all = (sum[0] + sum[2]) + (sum[1] + sum[3]);                               \
        return all[0] + all[1];                                                                    \
    }

EQI_SQUARED_DISTANCE(eqi_squared_distance_f32, float, eqi_narrow_lanes)
EQI_SQUARED_DISTANCE(eqi_squared_distance_f64, double, eqi_lanes)

#endif
