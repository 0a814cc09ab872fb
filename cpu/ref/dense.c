#include "ref.h"

/* Offset of feature i of a sample: the axes after the first in row-major order. */
static int64_t offset_of(const equinv_tensor *t, int64_t n, int64_t i)
{
    int64_t offset = n * t->strides[0];
    for (int32_t axis = t->ndim - 1; axis > 0; axis--) {
        offset += i % t->shape[axis] * t->strides[axis];
        i /= t->shape[axis];
    }
    return offset;
}

/* dst[n,o] = bias[o] + sum_i weights[o,i] src[n,i] */
equinv_status eqi_ref_dense_forward(const equinv_context *ctx, const eqi_dense_problem *p,
                                    const equinv_tensor *src, const equinv_tensor *weights,
                                    const equinv_tensor *bias, const equinv_tensor *dst,
                                    void *scratch)
{
    (void)ctx;
    (void)scratch;
    for (int64_t n = 0; n < p->batch; n++)
        for (int64_t o = 0; o < p->out; o++) {
            double sum = bias ? eqi_load(bias, o * bias->strides[0]) : 0;
            for (int64_t i = 0; i < p->in; i++)
                sum += eqi_load(weights, eqi_offset2(weights, o, i)) *
                       eqi_load(src, offset_of(src, n, i));
            eqi_put(dst, eqi_offset2(dst, n, o), sum, p->accumulate);
        }
    return EQUINV_OK;
}

/* diff_src[n,i] = sum_o weights[o,i] diff_dst[n,o] */
equinv_status eqi_ref_dense_backward_data(const equinv_context *ctx, const eqi_dense_problem *p,
                                          const equinv_tensor *diff_dst,
                                          const equinv_tensor *weights,
                                          const equinv_tensor *diff_src, void *scratch)
{
    (void)ctx;
    (void)scratch;
    for (int64_t n = 0; n < p->batch; n++)
        for (int64_t i = 0; i < p->in; i++) {
            double sum = 0;
            for (int64_t o = 0; o < p->out; o++)
                sum += eqi_load(weights, eqi_offset2(weights, o, i)) *
                       eqi_load(diff_dst, eqi_offset2(diff_dst, n, o));
            eqi_put(diff_src, offset_of(diff_src, n, i), sum, p->accumulate);
        }
    return EQUINV_OK;
}

/* diff_weights[o,i] = sum_n diff_dst[n,o] src[n,i] */
equinv_status eqi_ref_dense_backward_weights(const equinv_context *ctx, const eqi_dense_problem *p,
                                             const equinv_tensor *src,
                                             const equinv_tensor *diff_dst,
                                             const equinv_tensor *diff_weights,
                                             const equinv_tensor *diff_bias, void *scratch)
{
    (void)ctx;
    (void)scratch;
    for (int64_t o = 0; o < p->out; o++)
        for (int64_t i = 0; i < p->in; i++) {
            double sum = 0;
            for (int64_t n = 0; n < p->batch; n++)
                sum += eqi_load(diff_dst, eqi_offset2(diff_dst, n, o)) *
                       eqi_load(src, offset_of(src, n, i));
            eqi_put(diff_weights, eqi_offset2(diff_weights, o, i), sum, p->accumulate);
        }
    eqi_dense_backward_bias(p, diff_dst, diff_bias);
    return EQUINV_OK;
}
