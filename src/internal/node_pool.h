/* Pooling of nodes and pairs as its implementations see it. */
#ifndef EQI_NODE_POOL_H
#define EQI_NODE_POOL_H

#include "node.h"
#include "plan.h"

typedef struct eqi_node_pool_problem {
    equinv_node_pool_kind kind;
    equinv_dtype dtype;
    int32_t order;
    int64_t batch, nodes, channels;
    bool accumulate;
} eqi_node_pool_problem;

/*
 * One call: map is src or diff_src, a four-axis view; pooled is dst or diff_dst [B, order, C]. saved has the
 * winners of MAX, i n + j; forward: NULL if not wanted.
 */
typedef struct eqi_node_pool_args {
    equinv_tensor map;
    const equinv_tensor *pooled, *mask;
    int32_t *saved;
} eqi_node_pool_args;

typedef equinv_status eqi_node_pool_execute(const equinv_context *ctx,
                                            const eqi_node_pool_problem *p,
                                            const eqi_node_pool_args *a);

typedef struct eqi_node_pool_implementation {
    eqi_implementation head;
    eqi_node_pool_execute *forward, *backward;
} eqi_node_pool_implementation;

extern const eqi_implementation *const eqi_node_pool_list[];
extern const eqi_node_pool_implementation eqi_node_pool_fast;

#endif
