/*
 * fp32 implementations that the compiler vectorises at the base level of the machine. Rows of
 * consecutive floats are fast: along the width, or along the fields when those lie fastest; other
 * strides go to the reference. Results do not depend on the number of threads.
 */
#ifndef EQI_SCALAR_H
#define EQI_SCALAR_H

#include "internal/batch_norm.h"
#include "internal/optimizer.h"
#include "internal/pool.h"
#include "internal/resample.h"
#include "internal/walk.h"

/* Scratch in doubles: two for each sample and field; two and five floats (padded) for each field. */
#define EQI_FAST_BATCH_NORM_NUMBERS 2
#define EQI_FAST_BATCH_NORM_FIELD_NUMBERS 5
eqi_batch_norm_execute eqi_fast_batch_norm_forward_train, eqi_fast_batch_norm_forward_eval,
    eqi_fast_batch_norm_backward_train, eqi_fast_batch_norm_backward_eval;

equinv_status eqi_fast_pool_forward(const equinv_context *ctx, const eqi_pool_problem *p,
                                    const equinv_tensor *src, const equinv_tensor *dst,
                                    int32_t *saved);
equinv_status eqi_fast_pool_backward(const equinv_context *ctx, const eqi_pool_problem *p,
                                     const equinv_tensor *diff_dst, const int32_t *saved,
                                     const equinv_tensor *diff_src);

/* These say whether they took the job: element types are both, layouts are those with a unit run. */
bool eqi_fast_relu_forward(const equinv_context *ctx, double slope, const equinv_tensor *src,
                           const equinv_tensor *dst);
bool eqi_fast_relu_backward(const equinv_context *ctx, double slope, const equinv_tensor *src,
                            const equinv_tensor *diff_dst, const equinv_tensor *diff_src);
bool eqi_fast_dropout(const equinv_context *ctx, double p, uint64_t seed, uint64_t step,
                      const equinv_tensor *src, const equinv_tensor *dst);
bool eqi_fast_add(const equinv_context *ctx, const equinv_tensor *a, const equinv_tensor *b,
                  const equinv_tensor *dst);
bool eqi_fast_optimizer_step(const equinv_context *ctx, const eqi_update *u,
                             const eqi_parameter_state *s);

/* False where neither fields nor columns are neighbours in memory. `stencil` is for height and width. */
bool eqi_fast_resample(const equinv_context *ctx, const eqi_stencil stencil[2],
                       const equinv_tensor *from, const equinv_tensor *to, bool accumulate);

/* Whether neighbours along an axis are neighbours in memory. */
static inline bool eqi_is_unit(const equinv_tensor *t, int axis)
{
    return t->shape[axis] == 1 || t->strides[axis] == 1;
}

static inline float *eqi_f32_at(const equinv_tensor *t, int64_t offset)
{
    return (float *)t->data + offset;
}

#endif
