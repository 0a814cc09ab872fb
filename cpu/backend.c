/* The CPU backend: what fast code declines goes to the reference. */
#include "internal/backend.h"

#include <math.h>

#include "cpu/gfourier/products.h"
#include "cpu/isa/scalar/scalar.h"
#include "cpu/node/map.h"
#include "cpu/ref/ref.h"
#include "cpu/templates/templates.h"
#include "internal/projection.h"
#include "internal/upsample.h"

static equinv_status act(const equinv_context *ctx, equinv_group group, int32_t element,
                         const equinv_tensor *src, const equinv_tensor *dst)
{
    (void)ctx;
    eqi_ref_act(group, element, src, dst);
    return EQUINV_OK;
}

static equinv_status add(const equinv_context *ctx, const equinv_tensor *a, const equinv_tensor *b,
                         const equinv_tensor *dst)
{
    if (!eqi_fast_add(ctx, a, b, dst))
        eqi_ref_add(a, b, dst);
    return EQUINV_OK;
}

static equinv_status convert(const equinv_context *ctx, const equinv_tensor *src, double scale,
                             double shift, const equinv_tensor *dst)
{
    (void)ctx;
    return eqi_ref_convert(src, scale, shift, dst);
}

static equinv_status cross_entropy(const equinv_context *ctx, const equinv_tensor *logits,
                                   const equinv_tensor *labels, const equinv_tensor *mask,
                                   const equinv_tensor *loss, const equinv_tensor *diff_logits)
{
    (void)ctx;
    return eqi_ref_cross_entropy(logits, labels, mask, loss, diff_logits);
}

static equinv_status binary_cross_entropy(const equinv_context *ctx, const equinv_tensor *logits,
                                          const equinv_tensor *labels, const equinv_tensor *mask,
                                          const equinv_tensor *loss,
                                          const equinv_tensor *diff_logits)
{
    (void)ctx;
    return eqi_ref_binary_cross_entropy(logits, labels, mask, loss, diff_logits);
}

static equinv_status kl_gaussian(const equinv_context *ctx, const equinv_tensor *mean,
                                 const equinv_tensor *log_variance, const equinv_tensor *mask,
                                 const equinv_tensor *loss, const equinv_tensor *diff_mean,
                                 const equinv_tensor *diff_log_variance)
{
    (void)ctx;
    eqi_ref_kl_gaussian(mean, log_variance, mask, loss, diff_mean, diff_log_variance);
    return EQUINV_OK;
}

static equinv_status reparameterise_forward(const equinv_context *ctx, uint64_t seed, uint64_t step,
                                            const equinv_tensor *mean,
                                            const equinv_tensor *log_variance,
                                            const equinv_tensor *dst)
{
    (void)ctx;
    eqi_ref_reparameterise_forward(seed, step, mean, log_variance, dst);
    return EQUINV_OK;
}

static equinv_status reparameterise_backward(const equinv_context *ctx, uint64_t seed,
                                             uint64_t step, const equinv_tensor *log_variance,
                                             const equinv_tensor *diff_dst,
                                             const equinv_tensor *diff_log_variance)
{
    (void)ctx;
    eqi_ref_reparameterise_backward(seed, step, log_variance, diff_dst, diff_log_variance);
    return EQUINV_OK;
}

static equinv_status clip_gradients(const equinv_context *ctx, const equinv_parameter *parameters,
                                    size_t count, double max_norm, double *norm)
{
    const double before = eqi_ref_gradient_norm(parameters, count);
    for (size_t i = 0; i < count && isfinite(before) && before > max_norm; i++)
        EQI_TRY(
            convert(ctx, &parameters[i].gradient, max_norm / before, 0, &parameters[i].gradient));
    if (norm)
        *norm = before;
    return EQUINV_OK;
}

static equinv_status dropout(const equinv_context *ctx, double p, uint64_t seed, uint64_t step,
                             const equinv_tensor *src, const equinv_tensor *dst)
{
    if (!eqi_fast_dropout(ctx, p, seed, step, src, dst))
        eqi_ref_dropout(p, seed, step, src, dst);
    return EQUINV_OK;
}

static equinv_status mean_squared_error(const equinv_context *ctx, const equinv_tensor *src,
                                        const equinv_tensor *target, const equinv_tensor *loss,
                                        const equinv_tensor *diff_src)
{
    (void)ctx;
    eqi_ref_mean_squared_error(src, target, loss, diff_src);
    return EQUINV_OK;
}

static equinv_status optimizer_step(const equinv_context *ctx, const eqi_update *update,
                                    const eqi_parameter_state *state)
{
    if (!eqi_fast_optimizer_step(ctx, update, state))
        eqi_ref_optimizer_step(update, state);
    return EQUINV_OK;
}

static equinv_status orbit_mean(const equinv_context *ctx, equinv_group group,
                                const equinv_tensor *src, const equinv_tensor *dst)
{
    eqi_ref_orbit_mean(ctx, group, src, dst);
    return EQUINV_OK;
}

static equinv_status relu_backward(const equinv_context *ctx, double slope,
                                   const equinv_tensor *src, const equinv_tensor *diff_dst,
                                   const equinv_tensor *diff_src)
{
    if (!eqi_fast_relu_backward(ctx, slope, src, diff_dst, diff_src))
        eqi_ref_relu_backward(slope, src, diff_dst, diff_src);
    return EQUINV_OK;
}

static equinv_status relu_forward(const equinv_context *ctx, double slope, const equinv_tensor *src,
                                  const equinv_tensor *dst)
{
    if (!eqi_fast_relu_forward(ctx, slope, src, dst))
        eqi_ref_relu_forward(slope, src, dst);
    return EQUINV_OK;
}

static equinv_status templates(const equinv_context *ctx, equinv_template_kind kind, uint64_t seed,
                               uint64_t first, const equinv_tensor *dst)
{
    if (!eqi_fast_templates(ctx, kind, seed, first, dst))
        eqi_ref_templates(ctx, kind, seed, first, dst);
    return EQUINV_OK;
}

const eqi_backend eqi_cpu_backend = {
    .name = "cpu",
    .alignment = EQI_ALIGNMENT,
    .conv = eqi_conv_list,
    .batch_norm = eqi_batch_norm_list,
    .pool = eqi_pool_list,
    .upsample = eqi_upsample_list,
    .dense = eqi_dense_list,
    .projection = eqi_projection_list,
    .node_linear = eqi_node_linear_list,
    .node_norm = eqi_node_norm_list,
    .node_pool = eqi_node_pool_list,
    .act = act,
    .add = add,
    .binary_cross_entropy = binary_cross_entropy,
    .clip_gradients = clip_gradients,
    .convert = convert,
    .cross_entropy = cross_entropy,
    .dropout = dropout,
    .kl_gaussian = kl_gaussian,
    .mean_squared_error = mean_squared_error,
    .node_outer_forward = eqi_fast_node_outer_forward,
    .node_outer_backward = eqi_fast_node_outer_backward,
    .optimizer_step = optimizer_step,
    .orbit_distance = eqi_gfourier_orbit_distance,
    .orbit_mean = orbit_mean,
    .relu_backward = relu_backward,
    .relu_forward = relu_forward,
    .reparameterise_backward = reparameterise_backward,
    .reparameterise_forward = reparameterise_forward,
    .sorted_distance = eqi_ref_sorted_distance,
    .templates = templates,
};
