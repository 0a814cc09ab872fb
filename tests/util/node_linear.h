/* Linear layers of nodes and pairs for the tests: random descriptions, their plans and tensors. */
#ifndef TESTS_UTIL_NODE_LINEAR_H
#define TESTS_UTIL_NODE_LINEAR_H

#include "tests/util/nodes.h"

/* A plan with its tensors, all of them random; the mask is passed where `masked`. */
typedef struct linear {
    equinv_context *ctx;
    equinv_node_linear_desc desc;
    equinv_plan *plan;
    bool masked;
    void *scratch; /* NULL: the arena */
    size_t scratch_size;
    equinv_tensor mask, src, weights, bias, diff_dst, dst, diff_src, diff_weights, diff_bias;
} linear;

linear linear_new(equinv_context *ctx, rng *r, const equinv_node_linear_desc *desc, bool masked);
void linear_free(linear *l);

/* All but the mask. */
enum { LINEAR_TENSORS = 8 };
void linear_tensors(linear *l, equinv_tensor *all[LINEAR_TENSORS]);

const equinv_tensor *linear_mask(const linear *l); /* NULL: all nodes are there */

/* Forward, and forward with both backward passes. */
void linear_forward(linear *l);
void linear_run(linear *l);

/* Small sizes mostly, a full tile of channels now and then. */
equinv_node_linear_desc linear_random_desc(rng *r, equinv_dtype dtype);

/* Every other number "gemm" where that is for the type: f32. */
const char *linear_impl(equinv_dtype dtype, uint64_t number);

#endif
