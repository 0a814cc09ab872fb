/*
 * M = how many i are there, p = 1 / (1 + exp(-x))
 * loss = 1/M sum_i (log(1 + exp(-|x|)) + max(label ? -x : x, 0))
 * diff_logits = (p - label) / M, 0 where i is not there; may be the logits
 *
 * One block, so that the sum has one order. A label that is neither 0 nor 1 counts as NaN.
 */
#include "cuda/labels.cuh"
#include "cuda/operations.cuh"

enum { BLOCK = 512, WARPS = BLOCK / EQI_WARP };

enum { LOGIT, LABEL, MASK, DIFF, TENSORS };

template <typename T>
__global__ void __launch_bounds__(BLOCK, 1)
    eqi_binary_cross_entropy(eqi_elements<TENSORS> e, const T *logits, eqi_labels labels,
                             eqi_labels mask, T *loss, T *diff_logits)
{
    EQI_SHARED(double, shared, WARPS);
    const double there = eqi_count_there<MASK>(e, mask, shared);
    double mine = 0;
    EQI_FOR_EACH(i, e.count)
    {
        int64_t at[TENSORS];
        e.offsets(i, at);
        double diff = 0;
        if (mask.has(at[MASK])) {
            const double x = logits[at[LOGIT]];
            const int64_t label = labels.value(at[LABEL]);
            const bool known = label == 0 || label == 1;
            const double far = exp(-fabs(x)), wrong = label ? -x : x;
            const double p = (x < 0 ? far : 1) / (1 + far);
            mine += known ? log1p(far) + (wrong < 0 ? 0 : wrong) : (double)NAN;
            diff = known ? (p - (double)label) / there : (double)NAN;
        }
        if (diff_logits)
            diff_logits[at[DIFF]] = T(diff);
    }
    const double total = eqi_block_sum(mine, shared);
    if (threadIdx.x == 0)
        *loss = T(there > 0 ? total / there : 0);
}

template <typename T>
static equinv_status launch(const equinv_context *ctx, const equinv_tensor *logits,
                            const equinv_tensor *labels, const equinv_tensor *mask,
                            const equinv_tensor *loss, const equinv_tensor *diff_logits)
{
    const eqi_elements<TENSORS> e = eqi_elements_of<TENSORS>(
        {logits, labels, mask ? mask : labels, diff_logits ? diff_logits : logits});
    EQI_LAUNCH(eqi_binary_cross_entropy<T>, dim3(1), BLOCK, 0, eqi_stream(ctx), e,
               (const T *)logits->data, eqi_labels_of(labels), eqi_labels_of(mask), (T *)loss->data,
               diff_logits ? (T *)diff_logits->data : (T *)NULL);
    return EQUINV_OK;
}

equinv_status eqi_cuda_binary_cross_entropy(const equinv_context *ctx, const equinv_tensor *logits,
                                            const equinv_tensor *labels, const equinv_tensor *mask,
                                            const equinv_tensor *loss,
                                            const equinv_tensor *diff_logits)
{
    return logits->dtype == EQUINV_F32
               ? launch<float>(ctx, logits, labels, mask, loss, diff_logits)
               : launch<double>(ctx, logits, labels, mask, loss, diff_logits);
}
