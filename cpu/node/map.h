/* Outer products of nodes; what they do not take goes to the reference. */
#ifndef EQI_NODE_MAP_H
#define EQI_NODE_MAP_H

#include "internal/node.h"

equinv_status eqi_fast_node_outer_forward(const equinv_context *ctx, const eqi_node_outer_args *a);
equinv_status eqi_fast_node_outer_backward(const equinv_context *ctx, const eqi_node_outer_args *a);

#endif
