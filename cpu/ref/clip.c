#include "ref.h"

#include <math.h>

/* In four sums that do not wait for one another. */
static double sum_floats(const float *g, int64_t count)
{
    double sum[4] = {0};
    int64_t i = 0;
    for (; i + 4 <= count; i += 4)
        for (int k = 0; k < 4; k++)
            sum[k] += (double)g[i + k] * (double)g[i + k];
    for (; i < count; i++)
        sum[0] += (double)g[i] * (double)g[i];
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

/* sqrt(sum over all gradients of g^2) */
double eqi_ref_gradient_norm(const equinv_parameter *parameters, size_t count)
{
    double sum = 0;
    for (size_t p = 0; p < count; p++) {
        const equinv_tensor *const gradient = &parameters[p].gradient;
        const int64_t elements = equinv_tensor_count(gradient);
        const equinv_tensor line = eqi_joined(gradient);
        if (gradient->dtype == EQUINV_F32 && eqi_is_contiguous(gradient)) {
            sum += sum_floats(gradient->data, elements);
            continue;
        }
        for (int64_t i = 0; i < elements; i++) {
            const double g = eqi_load(gradient, eqi_offset_of(&line, i));
            sum += g * g;
        }
    }
    return sqrt(sum);
}
