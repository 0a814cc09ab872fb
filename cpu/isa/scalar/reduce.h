/* Reductions of rows of floats in eight interleaved chains, combined in a fixed order. */
#ifndef EQI_REDUCE_H
#define EQI_REDUCE_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

enum { CHAINS = 8 };

static inline double eqi_sum_chains(const double chain[CHAINS])
{
    return ((chain[0] + chain[1]) + (chain[2] + chain[3])) +
           ((chain[4] + chain[5]) + (chain[6] + chain[7]));
}

static inline double eqi_sum_f32(const float *x, int64_t count)
{
    double chain[CHAINS] = {0};
    int64_t i = 0;
    for (; i + CHAINS <= count; i += CHAINS) {
#pragma omp simd
        for (int k = 0; k < CHAINS; k++)
            chain[k] += (double)x[i + k];
    }
    for (int k = 0; i < count; i++, k++)
        chain[k] += (double)x[i];
    return eqi_sum_chains(chain);
}

/* Sum of (x - mean)^2. */
static inline double eqi_squares_f32(const float *x, int64_t count, double mean)
{
    double chain[CHAINS] = {0};
    int64_t i = 0;
    for (; i + CHAINS <= count; i += CHAINS) {
#pragma omp simd
        for (int k = 0; k < CHAINS; k++) {
            const double d = (double)x[i + k] - mean;
            chain[k] += d * d;
        }
    }
    for (int k = 0; i < count; i++, k++) {
        const double d = (double)x[i] - mean;
        chain[k] += d * d;
    }
    return eqi_sum_chains(chain);
}

/* Sum of a (b - mean); the sum of a is added to *sum. */
static inline double eqi_product_f32(const float *a, const float *b, int64_t count, double mean,
                                     double *sum)
{
    double chain[CHAINS] = {0}, plain[CHAINS] = {0};
    int64_t i = 0;
    for (; i + CHAINS <= count; i += CHAINS) {
#pragma omp simd
        for (int k = 0; k < CHAINS; k++) {
            plain[k] += (double)a[i + k];
            chain[k] += (double)a[i + k] * ((double)b[i + k] - mean);
        }
    }
    for (int k = 0; i < count; i++, k++) {
        plain[k] += (double)a[i];
        chain[k] += (double)a[i] * ((double)b[i] - mean);
    }
    *sum += eqi_sum_chains(plain);
    return eqi_sum_chains(chain);
}

/* Largest number of a row (-Inf if there is none) and whether a NaN is in it. */
static inline float eqi_max_f32(const float *x, int64_t count, bool *any_nan)
{
    float largest[CHAINS];
    int32_t nan[CHAINS] = {0};
    int64_t i = 0;
    for (int k = 0; k < CHAINS; k++)
        largest[k] = -INFINITY;
    for (; i + CHAINS <= count; i += CHAINS) {
#pragma omp simd
        for (int k = 0; k < CHAINS; k++) {
            const float value = x[i + k];
            largest[k] = value > largest[k] ? value : largest[k];
            nan[k] |= value != value;
        }
    }
    for (int k = 0; i < count; i++, k++) {
        largest[k] = x[i] > largest[k] ? x[i] : largest[k];
        nan[k] |= x[i] != x[i];
    }
    *any_nan = nan[0];
    for (int k = 1; k < CHAINS; k++) {
        largest[0] = largest[k] > largest[0] ? largest[k] : largest[0];
        *any_nan |= nan[k];
    }
    return largest[0];
}

#endif
