/*
 * The reference: plain C, sums in double, indices named as in the mathematics. It is the
 * specification; whoever doubts a fast kernel reads the file of that name here. Arguments were
 * checked before; feature maps come as five-axis views with any strides.
 */
#ifndef EQI_REF_H
#define EQI_REF_H

#include "internal/batch_norm.h"
#include "internal/conv.h"
#include "internal/dense.h"
#include "internal/group.h"
#include "internal/node_linear.h"
#include "internal/node_norm.h"
#include "internal/node_pool.h"
#include "internal/optimizer.h"
#include "internal/pool.h"
#include "internal/projection.h"
#include "internal/upsample.h"

/* ARG names an element that does not fit an integer dst, before the first is written. */
equinv_status eqi_ref_convert(const equinv_tensor *src, double scale, double shift,
                              const equinv_tensor *dst);

void eqi_ref_act(equinv_group group, int32_t element, const equinv_tensor *src,
                 const equinv_tensor *dst);

/* Group convolution and its gradients; bias (of diff_src in backward data) and diff_bias may be NULL. */
void eqi_ref_conv_forward(const eqi_conv_problem *p, const equinv_tensor *src,
                          const equinv_tensor *psi, const equinv_tensor *bias,
                          const equinv_tensor *dst);
void eqi_ref_conv_backward_data(const eqi_conv_problem *p, const equinv_tensor *diff_dst,
                                const equinv_tensor *psi, const equinv_tensor *bias,
                                const equinv_tensor *diff_src);
void eqi_ref_conv_backward_weights(const eqi_conv_problem *p, const equinv_tensor *src,
                                   const equinv_tensor *diff_dst, const equinv_tensor *diff_psi,
                                   const equinv_tensor *diff_bias);
/* Every implementation's of the CPU. */
equinv_status eqi_ref_conv_transposed_bias(const eqi_conv_plan *plan, const equinv_tensor *map,
                                           const equinv_tensor *diff_bias, void *scratch);

/*
 * dst[t, ..] = random template number first + t, recipe version 1. Its two fixed-polynomial functions
 * are visible to tests: log((i + 1/2) 2^-23), and cosine and sine of 2 pi (j + 1/2) 2^-23, for
 * i, j < 2^23.
 */
void eqi_ref_templates(const equinv_context *ctx, equinv_template_kind kind, uint64_t seed,
                       uint64_t first, const equinv_tensor *dst);
float eqi_ref_log(uint32_t i);
void eqi_ref_turn(uint32_t j, float *cosine, float *sine);

eqi_batch_norm_execute eqi_ref_batch_norm_forward_train, eqi_ref_batch_norm_forward_eval,
    eqi_ref_batch_norm_backward_train, eqi_ref_batch_norm_backward_eval;

equinv_status eqi_ref_pool_forward(const equinv_context *ctx, const eqi_pool_problem *p,
                                   const equinv_tensor *src, const equinv_tensor *dst,
                                   int32_t *saved);
equinv_status eqi_ref_pool_backward(const equinv_context *ctx, const eqi_pool_problem *p,
                                    const equinv_tensor *diff_dst, const int32_t *saved,
                                    const equinv_tensor *diff_src);

eqi_upsample_execute eqi_ref_upsample_forward, eqi_ref_upsample_backward;

void eqi_ref_relu_forward(double slope, const equinv_tensor *src, const equinv_tensor *dst);
void eqi_ref_relu_backward(double slope, const equinv_tensor *src, const equinv_tensor *diff_dst,
                           const equinv_tensor *diff_src);

void eqi_ref_dropout(double p, uint64_t seed, uint64_t step, const equinv_tensor *src,
                     const equinv_tensor *dst);

eqi_node_linear_execute eqi_ref_node_linear_forward, eqi_ref_node_linear_backward_data,
    eqi_ref_node_linear_backward_weights;
equinv_status eqi_ref_node_linear_scratch_size(const eqi_node_linear_problem *p,
                                               const eqi_hardware *hardware, int64_t *size);

eqi_node_norm_execute eqi_ref_node_norm_forward, eqi_ref_node_norm_backward;
equinv_status eqi_ref_node_norm_scratch_size(const eqi_node_norm_problem *p,
                                             const eqi_hardware *hardware, int64_t *size);
eqi_node_pool_execute eqi_ref_node_pool_forward, eqi_ref_node_pool_backward;
equinv_status eqi_ref_node_outer_forward(const equinv_context *ctx, const eqi_node_outer_args *a);
equinv_status eqi_ref_node_outer_backward(const equinv_context *ctx, const eqi_node_outer_args *a);

void eqi_ref_add(const equinv_tensor *a, const equinv_tensor *b, const equinv_tensor *dst);

equinv_status eqi_ref_dense_forward(const equinv_context *ctx, const eqi_dense_problem *p,
                                    const equinv_tensor *src, const equinv_tensor *weights,
                                    const equinv_tensor *bias, const equinv_tensor *dst,
                                    void *scratch);
equinv_status eqi_ref_dense_backward_data(const equinv_context *ctx, const eqi_dense_problem *p,
                                          const equinv_tensor *diff_dst,
                                          const equinv_tensor *weights,
                                          const equinv_tensor *diff_src, void *scratch);
equinv_status eqi_ref_dense_backward_weights(const equinv_context *ctx, const eqi_dense_problem *p,
                                             const equinv_tensor *src,
                                             const equinv_tensor *diff_dst,
                                             const equinv_tensor *diff_weights,
                                             const equinv_tensor *diff_bias, void *scratch);

/* Row b of a projection whose kind is one of signals, in a slice of so many bytes. */
size_t eqi_ref_spectrum_scratch(const equinv_projection *p);
void eqi_ref_spectrum_forward(const equinv_projection *p, const eqi_projection_call *call,
                              int64_t b, void *slice);
void eqi_ref_spectrum_backward(const equinv_projection *p, const eqi_projection_call *call,
                               int64_t b, void *slice);

/* The orbit mean, and distances [A, B] between orbits with the nearest elements (NULL: not wanted). */
void eqi_ref_orbit_mean(const equinv_context *ctx, equinv_group group, const equinv_tensor *src,
                        const equinv_tensor *dst);
equinv_status eqi_ref_orbit_distance(const equinv_context *ctx, equinv_group group,
                                     const equinv_tensor *x, const equinv_tensor *y,
                                     const equinv_tensor *distance, const equinv_tensor *element);
/* The same for rows of one channel under S: [A, n, 1], [B, n, 1]. */
equinv_status eqi_ref_sorted_distance(const equinv_context *ctx, const equinv_tensor *x,
                                      const equinv_tensor *y, const equinv_tensor *distance);
/* With element [A, B, n], the row of y for each row of x. */
equinv_status eqi_ref_sorted_match(const equinv_context *ctx, const equinv_tensor *x,
                                   const equinv_tensor *y, const equinv_tensor *distance,
                                   const equinv_tensor *element);
/* column[i]: that of row i in the cheapest assignment, cost [n, n]. room: 3 (n + 1) numbers, integers. */
void eqi_ref_assignment(const double *cost, int64_t n, int32_t *column, double *room,
                        int32_t *integers);

/* A class or a mask's entry: I32 or U8. */
static inline int64_t eqi_label(const equinv_tensor *labels, int64_t offset)
{
    return labels->dtype == EQUINV_U8 ? ((const uint8_t *)labels->data)[offset]
                                      : ((const int32_t *)labels->data)[offset];
}

/* A mask's joined view, or NULL. */
static inline const equinv_tensor *eqi_joined_mask(const equinv_tensor *mask, equinv_tensor *view)
{
    if (mask)
        *view = eqi_joined(mask);
    return mask ? view : NULL;
}

/* Whether the element with row-major number i is there; without a mask all are. */
static inline bool eqi_is_there(const equinv_tensor *mask, int64_t i)
{
    return !mask || eqi_label(mask, eqi_offset_of(mask, i)) != 0;
}

/* How many of `count` elements are. */
static inline int64_t eqi_count_there(const equinv_tensor *mask, int64_t count)
{
    int64_t there = mask ? 0 : count;
    for (int64_t i = 0; mask && i < count; i++)
        there += eqi_is_there(mask, i);
    return there;
}

/* Losses; mask and gradients may be NULL. ARG names a label out of range. */
equinv_status eqi_ref_cross_entropy(const equinv_tensor *logits, const equinv_tensor *labels,
                                    const equinv_tensor *mask, const equinv_tensor *loss,
                                    const equinv_tensor *diff_logits);
equinv_status eqi_ref_binary_cross_entropy(const equinv_tensor *logits, const equinv_tensor *labels,
                                           const equinv_tensor *mask, const equinv_tensor *loss,
                                           const equinv_tensor *diff_logits);

void eqi_ref_kl_gaussian(const equinv_tensor *mean, const equinv_tensor *log_variance,
                         const equinv_tensor *mask, const equinv_tensor *loss,
                         const equinv_tensor *diff_mean, const equinv_tensor *diff_log_variance);

void eqi_ref_reparameterise_forward(uint64_t seed, uint64_t step, const equinv_tensor *mean,
                                    const equinv_tensor *log_variance, const equinv_tensor *dst);
void eqi_ref_reparameterise_backward(uint64_t seed, uint64_t step,
                                     const equinv_tensor *log_variance,
                                     const equinv_tensor *diff_dst,
                                     const equinv_tensor *diff_log_variance);

void eqi_ref_mean_squared_error(const equinv_tensor *src, const equinv_tensor *target,
                                const equinv_tensor *loss, const equinv_tensor *diff_src);

void eqi_ref_optimizer_step(const eqi_update *u, const eqi_parameter_state *s);

/* The norm of all gradients together. */
double eqi_ref_gradient_norm(const equinv_parameter *parameters, size_t count);

#endif
