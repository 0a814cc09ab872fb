/*
 * Reductions of rows of floats in CHAINS interleaved chains, combined in a fixed order. As many as keep the
 * adders of the widest level busy. Behind a header of cpu/simd/.
 */
#ifndef EQI_REDUCE_H
#define EQI_REDUCE_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

enum { CHAINS = 32, VECTORS = CHAINS / vf64_lanes };

#define FOR_VECTORS(v) UNROLL for (int v = 0; v < VECTORS; v++)

/* The sum of the chains: halves onto halves. */
static inline double eqi_sum_chains(double chain[CHAINS])
{
    for (int width = CHAINS / 2; width > 0; width /= 2)
        for (int k = 0; k < width; k++)
            chain[k] += chain[k + width];
    return chain[0];
}

static inline double eqi_sum_f32(const float *x, int64_t count)
{
    double chain[CHAINS];
    vf64 sum[VECTORS];
    int64_t i = 0;
    FOR_VECTORS(v)
    sum[v] = vf64_broadcast(0);
    for (; i + CHAINS <= count; i += CHAINS)
        FOR_VECTORS(v)
    sum[v] = vf64_add(sum[v], vf64_widen(x + i + v * vf64_lanes));
    FOR_VECTORS(v)
    vf64_store(chain + v * vf64_lanes, sum[v]);
    for (int k = 0; i < count; i++, k++)
        chain[k] += (double)x[i];
    return eqi_sum_chains(chain);
}

/* Sum of (x - mean)^2. */
static inline double eqi_squares_f32(const float *x, int64_t count, double mean)
{
    double chain[CHAINS];
    vf64 sum[VECTORS];
    int64_t i = 0;
    FOR_VECTORS(v)
    sum[v] = vf64_broadcast(0);
    for (; i + CHAINS <= count; i += CHAINS)
        FOR_VECTORS(v)
        {
            const vf64 d = vf64_sub(vf64_widen(x + i + v * vf64_lanes), vf64_broadcast(mean));
            sum[v] = vf64_fma(d, d, sum[v]);
        }
    FOR_VECTORS(v)
    vf64_store(chain + v * vf64_lanes, sum[v]);
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
    double chain[CHAINS], plain[CHAINS];
    vf64 sums[VECTORS], products[VECTORS];
    int64_t i = 0;
    FOR_VECTORS(v)
    sums[v] = products[v] = vf64_broadcast(0);
    for (; i + CHAINS <= count; i += CHAINS)
        FOR_VECTORS(v)
        {
            const vf64 x = vf64_widen(a + i + v * vf64_lanes);
            const vf64 d = vf64_sub(vf64_widen(b + i + v * vf64_lanes), vf64_broadcast(mean));
            sums[v] = vf64_add(sums[v], x);
            products[v] = vf64_fma(x, d, products[v]);
        }
    FOR_VECTORS(v)
    {
        vf64_store(plain + v * vf64_lanes, sums[v]);
        vf64_store(chain + v * vf64_lanes, products[v]);
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
