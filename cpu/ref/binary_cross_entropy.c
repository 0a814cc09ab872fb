#include "ref.h"

#include <math.h>

/*
 * M = how many i are there, p = 1 / (1 + exp(-x))
 * loss = 1/M sum_i -log(label ? p : 1 - p) = 1/M sum_i (log(1 + exp(-|x|)) + max(label ? -x : x, 0))
 * diff_logits = (p - label) / M, 0 where i is not there; may be the logits
 */
equinv_status eqi_ref_binary_cross_entropy(const equinv_tensor *logits, const equinv_tensor *labels,
                                           const equinv_tensor *mask, const equinv_tensor *loss,
                                           const equinv_tensor *diff_logits)
{
    equinv_tensor mask_view;
    const equinv_tensor x_line = eqi_joined(logits), label_line = eqi_joined(labels);
    const equinv_tensor diff_line = eqi_joined(diff_logits ? diff_logits : logits);
    const equinv_tensor *const kept = eqi_joined_mask(mask, &mask_view);
    const int64_t count = equinv_tensor_count(logits);
    const double there = (double)eqi_count_there(kept, count);
    double total = 0;
    for (int64_t i = 0; i < count; i++) {
        if (!eqi_is_there(kept, i))
            continue;
        const int64_t label = eqi_label(labels, eqi_offset_of(&label_line, i));
        EQI_CHECK(label == 0 || label == 1, ARG,
                  "labels has %" PRId64 " at element %" PRId64 ", expected 0 or 1", label, i);
    }
    for (int64_t i = 0; i < count; i++) {
        double diff = 0;
        if (eqi_is_there(kept, i)) {
            const double x = eqi_load(logits, eqi_offset_of(&x_line, i));
            const bool label = eqi_label(labels, eqi_offset_of(&label_line, i));
            const double e = exp(-fabs(x)), wrong = label ? -x : x;
            total += log1p(e) + (wrong < 0 ? 0 : wrong);
            diff = ((x < 0 ? e : 1) / (1 + e) - label) / there;
        }
        if (diff_logits)
            eqi_store(diff_logits, eqi_offset_of(&diff_line, i), diff);
    }
    eqi_store(loss, 0, there > 0 ? total / there : 0);
    return EQUINV_OK;
}
