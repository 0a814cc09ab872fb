#include "ref.h"

#include <math.h>

/*
 * M = how many i are there, s = log_variance
 * loss = 1/M sum_i (mean^2 + exp(s) - 1 - s) / 2
 * diff_mean = mean / M, diff_log_variance = (exp(s) - 1) / 2 M, 0 where i is not there
 */
void eqi_ref_kl_gaussian(const equinv_tensor *mean, const equinv_tensor *log_variance,
                         const equinv_tensor *mask, const equinv_tensor *loss,
                         const equinv_tensor *diff_mean, const equinv_tensor *diff_log_variance)
{
    const int64_t count = equinv_tensor_count(mean);
    const double there = (double)eqi_count_there(mask, count);
    double total = 0;
    for (int64_t i = 0; i < count; i++) {
        double m = 0, grown = 0; /* exp(s) - 1 */
        if (eqi_is_there(mask, i)) {
            const double s = eqi_load(log_variance, eqi_offset_of(log_variance, i));
            m = eqi_load(mean, eqi_offset_of(mean, i));
            grown = expm1(s);
            total += 0.5 * (m * m + (grown - s));
        }
        if (diff_mean)
            eqi_store(diff_mean, eqi_offset_of(diff_mean, i), there > 0 ? m / there : 0);
        if (diff_log_variance)
            eqi_store(diff_log_variance, eqi_offset_of(diff_log_variance, i),
                      there > 0 ? 0.5 * grown / there : 0);
    }
    eqi_store(loss, 0, there > 0 ? total / there : 0);
}
