/* Batch normalisation for the tests: random descriptions, their plans and tensors. */
#ifndef TESTS_UTIL_BATCH_NORM_H
#define TESTS_UTIL_BATCH_NORM_H

#include "tests/util/layout.h"

/* A plan, its arguments and results; vectors are [F]. */
typedef struct norm {
    equinv_context *ctx;
    equinv_batch_norm_desc desc;
    equinv_plan *plan;
    int64_t shape[5];
    equinv_tensor src, dst, diff_dst, diff_src;
    equinv_tensor gamma, beta, running_mean, running_var, diff_gamma, diff_beta;
    void *saved;
    size_t saved_size;
} norm;

/* Maps that are inputs and all vectors are random, running_var at least 1/4. */
norm norm_new(equinv_context *ctx, rng *r, const equinv_batch_norm_desc *desc);
void norm_free(norm *b);

void norm_forward(norm *b, bool train);
void norm_backward(norm *b, bool train);

equinv_batch_norm_desc norm_random_desc(rng *r, equinv_dtype dtype);

/* Values of a field, and the index of value i of field f in a map, i = 0 .. count-1. */
int64_t norm_count(const norm *b);
int64_t norm_index(const norm *b, int64_t f, int64_t i);

#endif
