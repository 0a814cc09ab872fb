/* Outer product, normalisation and pooling of nodes and pairs for the tests: a plan and its tensors. */
#ifndef TESTS_UTIL_NODE_LAYERS_H
#define TESTS_UTIL_NODE_LAYERS_H

#include "tests/util/nodes.h"

typedef enum node_subject { OUTER, SQUARE, LAYER, INSTANCE, MEAN, SUM, MAX, SUBJECTS } node_subject;
bool node_is_outer(node_subject kind);
bool node_is_norm(node_subject kind);
bool node_is_pool(node_subject kind);

/* One layer of any of the kinds; `in` has order[0], dst order[1] (pooling: [B, order, C]). */
typedef struct node_layer {
    equinv_context *ctx;
    node_subject kind;
    int order;
    bool masked, accumulate;
    double slope;
    equinv_plan *plan; /* NULL: outer */
    void *saved, *scratch;
    size_t saved_size, scratch_size; /* no scratch: the arena */
    /* norm: parameters are gamma and beta; outer: the second factor is parameter[0] */
    equinv_tensor mask, src, dst, diff_src, diff_dst, parameter[2], diff_parameter[2];
} node_layer;

typedef struct node_sizes {
    equinv_dtype dtype;
    int order;
    int64_t batch, channels, nodes;
    bool accumulate, masked;
    const char *impl; /* NULL: the library's choice */
    double slope;
} node_sizes;
node_sizes node_layer_random(rng *r, equinv_dtype dtype);

/* For the subjects that have a plan. */
equinv_status node_layer_plan(equinv_context *ctx, node_subject kind, const node_sizes *s,
                              equinv_plan **plan);

/* All tensors random. */
node_layer node_layer_new(equinv_context *ctx, rng *r, node_subject kind, const node_sizes *s);
void node_layer_free(node_layer *l);

/* All but the mask. */
enum { NODE_LAYER_TENSORS = 8 };
void node_layer_tensors(node_layer *l, equinv_tensor *all[NODE_LAYER_TENSORS]);

const equinv_tensor *node_layer_mask(const node_layer *l); /* NULL: all nodes are there */
int node_layer_dst_order(const node_layer *l);

equinv_status node_layer_forward(node_layer *l);
equinv_status node_layer_backward(node_layer *l);
void node_layer_run(node_layer *l); /* both */

#endif
