/* Tensors in the layouts that callers use, and gradients by finite differences. */
#ifndef TESTS_UTIL_LAYOUT_H
#define TESTS_UTIL_LAYOUT_H

#include "tests/util/test.h"

/*
 * A view in a random layout: row-major, fields (axis 1) fastest, axes in random order with gaps, or
 * that with some axes backwards. The gaps hold a mark.
 */
typedef struct laid {
    equinv_tensor view, storage;
} laid;

laid laid_new(equinv_context *ctx, rng *r, equinv_dtype dtype, int ndim, const int64_t *shape);
laid laid_copy(equinv_context *ctx, rng *r, const equinv_tensor *values);
void laid_free(equinv_context *ctx, laid *l);

/* Whether nothing but the view was written to. The view's values are lost. */
bool laid_gaps_kept(const laid *l);

/*
 * Whether a result is what is expected, and nothing beside it was written to. What is summed is as large as
 * 1: a few outputs that cancel say nothing of the error.
 */
void laid_check(const laid *got, const equinv_tensor *expected, double tolerance, const char *what);

/*
 * Tensors of a call in other layouts: each of `count` alone, or all of them, by chance. relaid_end looks for
 * what was written beside them and puts the old ones back.
 */
typedef struct relaid {
    equinv_tensor *tensor, kept;
    laid other;
} relaid;
void relaid_begin(equinv_context *ctx, rng *r, equinv_tensor *const *tensors, int count,
                  relaid *to);
void relaid_end(equinv_context *ctx, relaid *of, int count);

/* Row-major copy of a view. */
equinv_tensor tensor_copy(equinv_context *ctx, const equinv_tensor *t);

/*
 * d loss / d x against central differences with the given step, on every element or an evenly spread
 * `at_most` of them; relative to the largest difference. -1: within tolerance, else the worst index.
 */
int64_t gradient_mismatch(const equinv_tensor *x, const equinv_tensor *gradient,
                          double (*loss)(void *arg), void *arg, double step, double tolerance,
                          int64_t at_most);

#endif
