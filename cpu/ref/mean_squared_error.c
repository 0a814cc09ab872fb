#include "ref.h"

/* loss = mean (src - target)^2, diff_src = 2 (src - target) / count; diff_src may be src itself */
void eqi_ref_mean_squared_error(const equinv_tensor *src, const equinv_tensor *target,
                                const equinv_tensor *loss, const equinv_tensor *diff_src)
{
    const int64_t count = equinv_tensor_count(src);
    double sum = 0;
    for (int64_t i = 0; i < count; i++) {
        const double d =
            eqi_load(src, eqi_offset_of(src, i)) - eqi_load(target, eqi_offset_of(target, i));
        sum += d * d;
        if (diff_src)
            eqi_store(diff_src, eqi_offset_of(diff_src, i), 2 * d / (double)count);
    }
    eqi_store(loss, 0, count ? sum / (double)count : 0);
}
