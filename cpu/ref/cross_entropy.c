#include "ref.h"

#include <math.h>

/* Distance below the row's maximum; equal infinities are 0 apart. */
static double below(double logit, double maximum)
{
    return logit == maximum ? 0 : logit - maximum;
}

static equinv_status check_labels(const equinv_tensor *labels, int64_t batch, int64_t classes)
{
    for (int64_t n = 0; n < batch; n++) {
        const int64_t label = eqi_label(labels, n);
        EQI_CHECK(label >= 0 && label < classes, ARG,
                  "labels has %" PRId64 " at sample %" PRId64 ", expected 0 to %" PRId64, label, n,
                  classes - 1);
    }
    return EQUINV_OK;
}

/*
 * loss = mean_n (log sum_c exp(x[n,c]) - x[n, label]), everything relative to the row's maximum
 * diff_logits[n,c] = (softmax(x[n])[c] - [c = label]) / N; may be the logits themselves
 */
equinv_status eqi_ref_cross_entropy(const equinv_tensor *logits, const equinv_tensor *labels,
                                    const equinv_tensor *loss, const equinv_tensor *diff_logits)
{
    const int64_t batch = logits->shape[0], classes = logits->shape[1];
    EQI_TRY(check_labels(labels, batch, classes));
    double total = 0;
    for (int64_t n = 0; n < batch; n++) {
        const int64_t label = eqi_label(labels, n);
        double maximum = -(double)INFINITY, sum = 0;
        for (int64_t c = 0; c < classes; c++) {
            const double x = eqi_load(logits, eqi_offset2(logits, n, c));
            maximum = x > maximum ? x : maximum;
        }
        for (int64_t c = 0; c < classes; c++)
            sum += exp(below(eqi_load(logits, eqi_offset2(logits, n, c)), maximum));
        total += log(sum) - below(eqi_load(logits, eqi_offset2(logits, n, label)), maximum);
        for (int64_t c = 0; diff_logits && c < classes; c++) {
            const double x = eqi_load(logits, eqi_offset2(logits, n, c));
            eqi_store(diff_logits, eqi_offset2(diff_logits, n, c),
                      (exp(below(x, maximum)) / sum - (c == label)) / (double)batch);
        }
    }
    eqi_store(loss, 0, batch ? total / (double)batch : 0);
    return EQUINV_OK;
}
