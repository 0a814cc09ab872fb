/* Pooling for the tests: random descriptions, a plan with its shapes. */
#ifndef TESTS_UTIL_POOL_H
#define TESTS_UTIL_POOL_H

#include "tests/util/maps.h"

/* A plan with its shapes and its saved buffer. */
typedef struct pool {
    equinv_context *ctx;
    equinv_pool_desc desc;
    equinv_plan *plan;
    int64_t src[5], dst[5];
    void *saved;
    size_t saved_size;
} pool;

pool pool_new(equinv_context *ctx, const equinv_pool_desc *desc);
void pool_free(pool *p);

void pool_forward(const pool *p, const equinv_tensor *src, const equinv_tensor *dst);
void pool_backward(const pool *p, const equinv_tensor *diff_dst, const equinv_tensor *diff_src);

/* Any kind and group; batch 0 .. 3, now and then more lanes than one run has. */
equinv_pool_desc pool_random_desc(rng *r, equinv_dtype dtype);

bool pool_is_max(equinv_pool_kind kind);
bool pool_is_group(equinv_pool_kind kind);

#endif
