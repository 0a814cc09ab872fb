/* Squared distances as in internal/distance.h, to the bit, on every level of instructions. */
#ifndef EQI_GEMM_DISTANCE_H
#define EQI_GEMM_DISTANCE_H

#include "internal/context.h"

typedef double eqi_f32_distance(const float *x, const float *y, int64_t count);
typedef double eqi_f64_distance(const double *x, const double *y, int64_t count);

eqi_f32_distance eqi_f32_distance_scalar, eqi_f32_distance_avx2, eqi_f32_distance_avx512;
eqi_f64_distance eqi_f64_distance_scalar, eqi_f64_distance_avx2, eqi_f64_distance_avx512;

/* The same of x and `rows` y, one after the other, at most EQI_DISTANCES; they do not wait for each other. */
enum { EQI_DISTANCES = 4 };
typedef void eqi_f32_distances(const float *x, const float *y, int64_t rows, int64_t count,
                               double *squares);
typedef void eqi_f64_distances(const double *x, const double *y, int64_t rows, int64_t count,
                               double *squares);

eqi_f32_distances eqi_f32_distances_scalar, eqi_f32_distances_avx2, eqi_f32_distances_avx512;
eqi_f64_distances eqi_f64_distances_scalar, eqi_f64_distances_avx2, eqi_f64_distances_avx512;

eqi_f32_distance *eqi_f32_distance_of(const eqi_hardware *hardware);
eqi_f64_distance *eqi_f64_distance_of(const eqi_hardware *hardware);
eqi_f32_distances *eqi_f32_distances_of(const eqi_hardware *hardware);
eqi_f64_distances *eqi_f64_distances_of(const eqi_hardware *hardware);

#endif
