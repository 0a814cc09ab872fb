/*
 * What the tests of the CUDA backend use. They run on the plugin that EQUINV_BACKEND_PATH names: the
 * host's stand-in in the ordinary suite, the real one with a GPU.
 */
#ifndef TESTS_UTIL_CUDA_H
#define TESTS_UTIL_CUDA_H

#include "tests/util/layout.h"

/*
 * run_tests where there is a CUDA device; else prints SKIP with the reason and returns 77. The question
 * is asked in a child: CUDA must not be used before Check forks.
 */
int run_cuda_tests(const char *suite, const test_entry *tests, size_t count);

/* A CUDA context with two CPU threads. */
equinv_context *cuda_context_new(void);

/* A row-major copy on the device of a CPU tensor of any strides. */
equinv_tensor cuda_copy(equinv_context *ctx, const equinv_tensor *t);

/* The same behind random strides (axes in random order, with gaps); release *storage. */
equinv_tensor cuda_strided_copy(equinv_context *ctx, rng *r, const equinv_tensor *t,
                                equinv_tensor *storage);

/* The device tensor's values, row-major in CPU memory; equinv_tensor_destroy(ctx, ..) releases it. */
equinv_tensor cuda_back(equinv_context *ctx, const equinv_tensor *t);

/*
 * A tensor in a random layout (tests/util/layout.h) and the same on the device. What was done to `view`
 * is seen in `here.view`, gaps included, after cuda_laid_fetch.
 */
typedef struct cuda_laid {
    laid here;
    equinv_tensor view, storage;
} cuda_laid;

cuda_laid cuda_laid_new(equinv_context *ctx, rng *r, equinv_dtype dtype, int ndim,
                        const int64_t *shape);
cuda_laid cuda_laid_copy(equinv_context *ctx, rng *r, const equinv_tensor *values);
cuda_laid cuda_laid_plain(equinv_context *ctx, const equinv_tensor *values); /* row-major */
void cuda_laid_fetch(equinv_context *ctx, cuda_laid *l);
void cuda_laid_free(equinv_context *ctx, cuda_laid *l);

#endif
