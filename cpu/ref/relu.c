#include "ref.h"

/* dst = src where src > 0, slope src elsewhere; -Inf is 0 at slope 0, NaN stays */
void eqi_ref_relu_forward(double slope, const equinv_tensor *src, const equinv_tensor *dst)
{
    const int64_t count = equinv_tensor_count(src);
    for (int64_t i = 0; i < count; i++) {
        const double x = eqi_load(src, eqi_offset_of(src, i));
        eqi_store(dst, eqi_offset_of(dst, i), !(x < 0) ? x : slope > 0 ? slope * x : 0);
    }
}

/* diff_src = diff_dst where src > 0, slope diff_dst elsewhere, and 0 there at slope 0 */
void eqi_ref_relu_backward(double slope, const equinv_tensor *src, const equinv_tensor *diff_dst,
                           const equinv_tensor *diff_src)
{
    const int64_t count = equinv_tensor_count(src);
    for (int64_t i = 0; i < count; i++) {
        const double d = eqi_load(diff_dst, eqi_offset_of(diff_dst, i));
        const bool on = eqi_load(src, eqi_offset_of(src, i)) > 0;
        eqi_store(diff_src, eqi_offset_of(diff_src, i), on ? d : slope > 0 ? slope * d : 0);
    }
}
