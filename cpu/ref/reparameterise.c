#include "ref.h"

#include <math.h>

#include "internal/templates.h"

/* epsilon[i]: coordinate i of Gaussian template number `step`; four of them at a time. */
static double noise(uint64_t seed, uint64_t step, int64_t i, float block[4])
{
    if (i % 4 == 0)
        eqi_template_values(EQUINV_TEMPLATE_GAUSSIAN, seed, step, (uint64_t)i / 4, block);
    return (double)block[i % 4];
}

/* dst = mean + exp(log_variance / 2) epsilon */
void eqi_ref_reparameterise_forward(uint64_t seed, uint64_t step, const equinv_tensor *mean,
                                    const equinv_tensor *log_variance, const equinv_tensor *dst)
{
    const int64_t count = equinv_tensor_count(mean);
    float block[4];
    for (int64_t i = 0; i < count; i++) {
        const double s = eqi_load(log_variance, eqi_offset_of(log_variance, i));
        const double m = eqi_load(mean, eqi_offset_of(mean, i));
        eqi_store(dst, eqi_offset_of(dst, i), m + exp(0.5 * s) * noise(seed, step, i, block));
    }
}

/* diff_log_variance = diff_dst exp(log_variance / 2) epsilon / 2 */
void eqi_ref_reparameterise_backward(uint64_t seed, uint64_t step,
                                     const equinv_tensor *log_variance,
                                     const equinv_tensor *diff_dst,
                                     const equinv_tensor *diff_log_variance)
{
    const int64_t count = equinv_tensor_count(log_variance);
    float block[4];
    for (int64_t i = 0; i < count; i++) {
        const double s = eqi_load(log_variance, eqi_offset_of(log_variance, i));
        const double d = eqi_load(diff_dst, eqi_offset_of(diff_dst, i));
        eqi_store(diff_log_variance, eqi_offset_of(diff_log_variance, i),
                  0.5 * d * exp(0.5 * s) * noise(seed, step, i, block));
    }
}
