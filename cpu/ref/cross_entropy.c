#include "ref.h"

#include <math.h>

/* The logits without their last axis: one element stands for a row. */
static equinv_tensor rows_of(const equinv_tensor *logits)
{
    equinv_tensor rows = *logits;
    rows.ndim--;
    return eqi_joined(&rows);
}

/* Distance below the row's maximum; equal infinities are 0 apart. */
static double below(double logit, double maximum)
{
    return logit == maximum ? 0 : logit - maximum;
}

static equinv_status check_labels(const equinv_tensor *labels, const equinv_tensor *mask,
                                  int64_t classes, bool samples)
{
    const int64_t count = equinv_tensor_count(labels);
    for (int64_t i = 0; i < count; i++) {
        if (!eqi_is_there(mask, i))
            continue;
        const int64_t label = eqi_label(labels, eqi_offset_of(labels, i));
        EQI_CHECK(label >= 0 && label < classes, ARG,
                  "labels has %" PRId64 " at %s %" PRId64 ", expected 0 to %" PRId64, label,
                  samples ? "sample" : "element", i, classes - 1);
    }
    return EQUINV_OK;
}

/* log sum_c exp(x[c]) - x[label] of the row that begins at `from`; its gradient / M to diff_logits. */
static double row_loss(const equinv_tensor *logits, int64_t from, int64_t label, double there,
                       const equinv_tensor *diff_logits, int64_t to)
{
    const int32_t last = logits->ndim - 1;
    const int64_t classes = logits->shape[last], step = logits->strides[last];
    double maximum = -(double)INFINITY, sum = 0;
    for (int64_t c = 0; c < classes; c++) {
        const double x = eqi_load(logits, from + c * step);
        maximum = x > maximum ? x : maximum;
    }
    for (int64_t c = 0; c < classes; c++)
        sum += exp(below(eqi_load(logits, from + c * step), maximum));
    const double loss = log(sum) - below(eqi_load(logits, from + label * step), maximum);
    for (int64_t c = 0; diff_logits && c < classes; c++) {
        const double x = eqi_load(logits, from + c * step);
        eqi_store(diff_logits, to + c * diff_logits->strides[last],
                  (exp(below(x, maximum)) / sum - (c == label)) / there);
    }
    return loss;
}

/*
 * M = how many i are there
 * loss = 1/M sum_i (log sum_c exp(x[i,c]) - x[i, label]), everything relative to the row's maximum
 * diff_logits[i,c] = (softmax(x[i])[c] - [c = label]) / M, 0 where i is not there; may be the logits
 */
equinv_status eqi_ref_cross_entropy(const equinv_tensor *logits, const equinv_tensor *labels,
                                    const equinv_tensor *mask, const equinv_tensor *loss,
                                    const equinv_tensor *diff_logits)
{
    equinv_tensor mask_view;
    const equinv_tensor line = eqi_joined(labels), *const kept = eqi_joined_mask(mask, &mask_view);
    const int64_t count = equinv_tensor_count(labels), classes = logits->shape[logits->ndim - 1];
    const equinv_tensor rows = rows_of(logits);
    const equinv_tensor diff_rows = rows_of(diff_logits ? diff_logits : logits);
    const double there = (double)eqi_count_there(kept, count);
    double total = 0;
    EQI_TRY(check_labels(&line, kept, classes, labels->ndim == 1));
    for (int64_t i = 0; i < count; i++) {
        const int64_t to = eqi_offset_of(&diff_rows, i);
        if (eqi_is_there(kept, i))
            total += row_loss(logits, eqi_offset_of(&rows, i),
                              eqi_label(&line, eqi_offset_of(&line, i)), there, diff_logits, to);
        else
            for (int64_t c = 0; diff_logits && c < classes; c++)
                eqi_store(diff_logits, to + c * diff_logits->strides[diff_logits->ndim - 1], 0);
    }
    eqi_store(loss, 0, there > 0 ? total / there : 0);
    return EQUINV_OK;
}
