#include "ref.h"

#include <math.h>

/* sqrt(sum over all gradients of g^2) */
double eqi_ref_gradient_norm(const equinv_parameter *parameters, size_t count)
{
    double sum = 0;
    for (size_t p = 0; p < count; p++) {
        const equinv_tensor *const gradient = &parameters[p].gradient;
        const int64_t elements = equinv_tensor_count(gradient);
        const bool contiguous = eqi_is_contiguous(gradient);
        for (int64_t i = 0; i < elements; i++) {
            const double g = eqi_load(gradient, contiguous ? i : eqi_offset_of(gradient, i));
            sum += g * g;
        }
    }
    return sqrt(sum);
}
