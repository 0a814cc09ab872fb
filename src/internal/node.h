/* Values of nodes and of pairs of nodes, [B, C, n] and [B, C, n, n], with a mask of nodes. */
#ifndef EQI_NODE_H
#define EQI_NODE_H

#include "tensor.h"

/* A description's order. */
equinv_status eqi_check_node_order(int32_t order, const char *name);

/* [B, C, n] or [B, C, n, n] by `order`, of that dtype; *view has four axes, the last 1 for order 1. */
equinv_status eqi_check_nodes(const equinv_context *ctx, const equinv_tensor *tensor,
                              const char *name, bool output, equinv_dtype dtype, int32_t order,
                              const int64_t shape[3], equinv_tensor *view);

/* NULL, or U8 or I32 [B, n]. */
equinv_status eqi_check_node_mask(const equinv_context *ctx, const equinv_tensor *mask,
                                  int64_t batch, int64_t nodes);

static inline bool eqi_node_is_there(const equinv_tensor *mask, int64_t b, int64_t node)
{
    if (!mask)
        return true;
    const int64_t at = b * mask->strides[0] + node * mask->strides[1];
    return mask->dtype == EQUINV_U8 ? ((const uint8_t *)mask->data)[at] != 0
                                    : ((const int32_t *)mask->data)[at] != 0;
}

/* Offset in a four-axis view. */
EQI_INLINE int64_t eqi_node_offset(const equinv_tensor *t, int64_t b, int64_t c, int64_t i,
                                   int64_t j)
{
    return b * t->strides[0] + c * t->strides[1] + i * t->strides[2] + j * t->strides[3];
}

#endif
