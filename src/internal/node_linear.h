/* The linear layer of nodes and pairs as its implementations see it. */
#ifndef EQI_NODE_LINEAR_H
#define EQI_NODE_LINEAR_H

#include "node.h"
#include "plan.h"

/*
 * An operation takes numbers from src and puts them into dst. From x itself, or from one of its
 * contractions: d_i = x_ii (order 1: x_i), r_i and c_i, the means of row and column i, t and s, the means
 * of the diagonal and of all.
 */
typedef enum eqi_node_from {
    EQI_FROM_PAIR,       /* x_ij */
    EQI_FROM_TRANSPOSED, /* x_ji */
    EQI_FROM_NODE,       /* d_i */
    EQI_FROM_ROW,        /* r_i */
    EQI_FROM_COLUMN,     /* c_i */
    EQI_FROM_TRACE,      /* t */
    EQI_FROM_ALL         /* s */
} eqi_node_from;

/* To dst_ij (order 1: dst_i), from v_i or the number v. */
typedef enum eqi_node_to {
    EQI_TO_PAIR,     /* what FROM_PAIR, FROM_TRANSPOSED gave */
    EQI_TO_DIAGONAL, /* v_i where i = j */
    EQI_TO_ROWS,     /* v_i; order 1 has this alone */
    EQI_TO_COLUMNS,  /* v_j */
    EQI_TO_BOTH      /* v_i + v_j */
} eqi_node_to;

typedef struct eqi_node_operation {
    eqi_node_from from;
    eqi_node_to to;
} eqi_node_operation;

typedef struct eqi_node_basis {
    int32_t count;
    eqi_node_operation operation[15];
} eqi_node_basis;

typedef struct eqi_node_linear_problem {
    equinv_dtype dtype;
    int32_t order_in, order_out;
    int64_t batch, nodes, in, out;
    bool symmetric, accumulate; /* symmetric only with pairs on a side */
    eqi_node_basis basis;
} eqi_node_linear_problem;

/*
 * One call; the diff_ tensors stand where what they are the gradients of stands. src and dst are
 * four-axis views; mask, bias NULL: none.
 */
typedef struct eqi_node_linear_args {
    equinv_tensor src, dst;
    const equinv_tensor *mask, *weights, *bias;
    void *scratch;
} eqi_node_linear_args;

typedef equinv_status eqi_node_linear_execute(const equinv_context *ctx,
                                              const eqi_node_linear_problem *p,
                                              const eqi_node_linear_args *a);

typedef struct eqi_node_linear_implementation {
    eqi_implementation head;
    /* Bytes of scratch; SHAPE if they do not fit. */
    equinv_status (*scratch_size)(const eqi_node_linear_problem *p, const eqi_hardware *hardware,
                                  int64_t *size);
    eqi_node_linear_execute *forward, *backward_data, *backward_weights;
} eqi_node_linear_implementation;

extern const eqi_implementation *const eqi_node_linear_list[];
extern const eqi_node_linear_implementation eqi_node_linear_gemm;

#endif
