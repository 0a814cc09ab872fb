#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common.h"

/*
 * Components by orthogonal iteration on the n x n Gram matrix of the fitted rows: n is a hundred or so
 * here, their dimension in the thousands. With v an eigenvector of it and l its eigenvalue, the
 * coordinate of any row x is sum_i v_i <x_i - mean, x - mean> / sqrt(l).
 */
enum { COMPONENTS = 2, ITERATIONS = 200 };

/* <x_i - mean, z_j - mean> for the n fitted rows x and all rows z, mean over x; cross [n, total]. */
static void centred_products(const float *z, int64_t total, int64_t width, int64_t every, int64_t n,
                             double *mean, double *cross)
{
    memset(mean, 0, sizeof *mean * (size_t)width);
    for (int64_t i = 0; i < n; i++)
        for (int64_t k = 0; k < width; k++)
            mean[k] += (double)z[i * every * width + k] / (double)n;
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < total; j++) {
            double sum = 0;
            for (int64_t k = 0; k < width; k++)
                sum += ((double)z[i * every * width + k] - mean[k]) *
                       ((double)z[j * width + k] - mean[k]);
            cross[i * total + j] = sum;
        }
}

/* next = Gram v, made orthonormal; the lengths before that are the eigenvalues in the end. */
static void iterate(const double *cross, int64_t total, int64_t every, int64_t n, const double *v,
                    double *next, double value[COMPONENTS])
{
    for (int a = 0; a < COMPONENTS; a++) {
        double *const to = next + a * n, norm = 0, dot = 0;
        for (int64_t i = 0; i < n; i++) {
            to[i] = 0;
            for (int64_t j = 0; j < n; j++)
                to[i] += cross[i * total + j * every] * v[a * n + j];
        }
        for (int64_t i = 0; a > 0 && i < n; i++)
            dot += next[i] * to[i];
        for (int64_t i = 0; i < n; i++) {
            to[i] -= a > 0 ? dot * next[i] : 0;
            norm += to[i] * to[i];
        }
        value[a] = sqrt(norm);
        for (int64_t i = 0; i < n; i++)
            to[i] /= value[a] > 0 ? value[a] : 1;
    }
}

equinv_status principal_components(const equinv_tensor *rows, int64_t every, double *coordinates,
                                   double shares[2])
{
    const int64_t total = rows->shape[0], width = equinv_tensor_count(rows) / total;
    const int64_t n = (total + every - 1) / every;
    double *const cross = malloc(sizeof *cross * (size_t)(n * total));
    double *const mean = malloc(sizeof *mean * (size_t)width);
    double *const v = malloc(sizeof *v * (size_t)(2 * COMPONENTS * n));
    equinv_status status = EQUINV_ERR_NOMEM;
    if (!cross || !mean || !v)
        goto done;
    centred_products(rows->data, total, width, every, n, mean, cross);
    double *const next = v + COMPONENTS * n, value[COMPONENTS] = {0}, trace = 0;
    for (int64_t i = 0; i < n; i++) {
        trace += cross[i * total + i * every];
        v[i] = cos((double)i), v[n + i] = sin(3.0 * (double)i); /* any start that is not special */
    }
    for (int iteration = 0; iteration < ITERATIONS; iteration++) {
        iterate(cross, total, every, n, v, next, value);
        memcpy(v, next, sizeof *v * (size_t)(COMPONENTS * n));
    }
    for (int a = 0; a < COMPONENTS; a++) {
        shares[a] = trace > 0 ? value[a] / trace : 0;
        for (int64_t j = 0; j < total; j++) {
            double sum = 0;
            for (int64_t i = 0; i < n; i++)
                sum += v[a * n + i] * cross[i * total + j];
            coordinates[COMPONENTS * j + a] = value[a] > 0 ? sum / sqrt(value[a]) : 0;
        }
    }
    status = EQUINV_OK;
done:
    free(cross);
    free(mean);
    free(v);
    return status;
}
