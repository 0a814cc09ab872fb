/* The dense layer as its implementations see it. */
#ifndef EQI_DENSE_H
#define EQI_DENSE_H

#include "plan.h"

typedef struct eqi_dense_problem {
    equinv_dtype dtype;
    int64_t batch, in, out; /* src [batch, in], weights [out, in], dst [batch, out] */
    bool accumulate;
} eqi_dense_problem;

/* src and diff_src are [N, ..] with `in` elements a sample; bias and diff_bias may be NULL. */
typedef struct eqi_dense_implementation {
    eqi_implementation head;
    /* Bytes of scratch; SHAPE if they do not fit. */
    equinv_status (*scratch_size)(const eqi_dense_problem *p, const eqi_hardware *hardware,
                                  int64_t *size);
    equinv_status (*forward)(const equinv_context *ctx, const eqi_dense_problem *p,
                             const equinv_tensor *src, const equinv_tensor *weights,
                             const equinv_tensor *bias, const equinv_tensor *dst, void *scratch);
    equinv_status (*backward_data)(const equinv_context *ctx, const eqi_dense_problem *p,
                                   const equinv_tensor *diff_dst, const equinv_tensor *weights,
                                   const equinv_tensor *diff_src, void *scratch);
    equinv_status (*backward_weights)(const equinv_context *ctx, const eqi_dense_problem *p,
                                      const equinv_tensor *src, const equinv_tensor *diff_dst,
                                      const equinv_tensor *diff_weights,
                                      const equinv_tensor *diff_bias, void *scratch);
} eqi_dense_implementation;

extern const eqi_implementation *const eqi_dense_list[];
extern const eqi_dense_implementation eqi_dense_gemm;

static inline int64_t eqi_offset2(const equinv_tensor *t, int64_t row, int64_t column)
{
    return row * t->strides[0] + column * t->strides[1];
}

/* diff_bias[o] = sum_n diff_dst[n,o] */
static inline void eqi_dense_backward_bias(const eqi_dense_problem *p,
                                           const equinv_tensor *diff_dst,
                                           const equinv_tensor *diff_bias)
{
    for (int64_t o = 0; diff_bias && o < p->out; o++) {
        double sum = 0;
        for (int64_t n = 0; n < p->batch; n++)
            sum += eqi_load(diff_dst, eqi_offset2(diff_dst, n, o));
        eqi_put(diff_bias, o * diff_bias->strides[0], sum, p->accumulate);
    }
}

#endif
