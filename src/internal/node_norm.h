/* Normalisation of nodes and pairs as its implementations see it. */
#ifndef EQI_NODE_NORM_H
#define EQI_NODE_NORM_H

#include "node.h"
#include "plan.h"

typedef struct eqi_node_norm_problem {
    equinv_node_norm_kind kind;
    equinv_dtype dtype;
    int32_t order;
    int64_t batch, nodes, channels;
    double epsilon, slope;
    bool accumulate;
} eqi_node_norm_problem;

/*
 * One call, four-axis views. Forward: src to dst with gamma and beta. Backward: src and diff_dst (as dst) to
 * diff_src, and to diff_gamma and diff_beta (either may be NULL).
 */
typedef struct eqi_node_norm_args {
    equinv_tensor src, dst, diff_src;
    const equinv_tensor *mask, *gamma, *beta, *diff_gamma, *diff_beta;
    void *scratch;
} eqi_node_norm_args;

typedef equinv_status eqi_node_norm_execute(const equinv_context *ctx,
                                            const eqi_node_norm_problem *p,
                                            const eqi_node_norm_args *a);

typedef struct eqi_node_norm_implementation {
    eqi_implementation head;
    equinv_status (*scratch_size)(const eqi_node_norm_problem *p, const eqi_hardware *hardware,
                                  int64_t *size);
    eqi_node_norm_execute *forward, *backward;
} eqi_node_norm_implementation;

extern const eqi_implementation *const eqi_node_norm_list[];
extern const eqi_node_norm_implementation eqi_node_norm_fast;

#endif
