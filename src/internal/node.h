/* Values of nodes and of pairs of nodes, [B, C, n] and [B, C, n, n], with a mask of nodes. */
#ifndef EQI_NODE_H
#define EQI_NODE_H

#include "tensor.h"

/* A description's order. */
equinv_status eqi_check_node_order(int32_t order, const char *name);

/* What a call is checked for. */
typedef enum eqi_node_kind {
    EQI_NODE_VALUES, /* [B, C, n] or [B, C, n, n] by shape; the view gets four axes, the last may be 1 */
    EQI_NODE_MASK,     /* [B, n], U8 or I32; may be NULL */
    EQI_NODE_PARAMETER /* any other shape */
} eqi_node_kind;

typedef struct eqi_node_argument {
    const equinv_tensor *tensor;
    const char *name;
    eqi_node_kind kind;
    int32_t ndim;
    int64_t shape[4];
    bool output, may_be_null;
    equinv_tensor *view; /* VALUES */
} eqi_node_argument;

/* Values of an order, needed; the mask of a batch, input. */
eqi_node_argument eqi_node_values_argument(const equinv_tensor *tensor, const char *name,
                                           int32_t order, int64_t batch, int64_t channels,
                                           int64_t nodes, bool output, equinv_tensor *view);
eqi_node_argument eqi_node_mask_argument(const equinv_tensor *mask, int64_t batch, int64_t nodes);

/* Each by itself, then every output against everything before it. */
equinv_status eqi_check_node_arguments(const equinv_context *ctx, equinv_dtype dtype,
                                       const eqi_node_argument *arguments, int count);

/* An outer product; diff_ tensors stand where what they are the gradients of stands. */
typedef struct eqi_node_outer_args {
    equinv_tensor a, b, dst, diff_a, diff_b; /* four-axis views; forward has no diff_ */
    bool squared;                            /* b is a, and there is no diff_b */
    const equinv_tensor *mask;
} eqi_node_outer_args;

static inline bool eqi_node_is_there(const equinv_tensor *mask, int64_t b, int64_t node)
{
    if (!mask)
        return true;
    const int64_t at = b * mask->strides[0] + node * mask->strides[1];
    return mask->dtype == EQUINV_U8 ? ((const uint8_t *)mask->data)[at] != 0
                                    : ((const int32_t *)mask->data)[at] != 0;
}

/* At a place of a view; of order 1 (one column) j is 0. */
static inline bool eqi_pair_is_there(const equinv_tensor *view, const equinv_tensor *mask,
                                     int64_t b, int64_t i, int64_t j)
{
    return eqi_node_is_there(mask, b, i) && (view->shape[3] == 1 || eqi_node_is_there(mask, b, j));
}

/* Offset in a four-axis view. */
EQI_INLINE int64_t eqi_node_offset(const equinv_tensor *t, int64_t b, int64_t c, int64_t i,
                                   int64_t j)
{
    return b * t->strides[0] + c * t->strides[1] + i * t->strides[2] + j * t->strides[3];
}

#endif
