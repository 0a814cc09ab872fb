/*
 * M = how many rows i are there
 * loss = 1/M sum_i (log sum_c exp(x[i,c]) - x[i, label]), everything relative to the row's maximum
 * diff_logits[i,c] = (softmax(x[i])[c] - [c = label]) / M, 0 where i is not there; may be the logits
 *
 * One block, so that the sum has one order; each of its warps takes rows, or each thread where a row has
 * few classes. A label out of range cannot be told to the caller: it counts as NaN.
 */
#include "cuda/labels.cuh"
#include "cuda/operations.cuh"

enum { BLOCK = 512, WARPS = BLOCK / EQI_WARP, FEW_CLASSES = 8 };

enum { ROW, LABEL, MASK, DIFF, TENSORS };

template <typename T> struct eqi_classification {
    eqi_elements<TENSORS> rows;
    int64_t classes, step, diff_step; /* from class to class */
    const T *logits;
    T *loss, *diff_logits; /* the second may be NULL */
    eqi_labels labels, mask;
};

/* Distance below the row's maximum; equal infinities are 0 apart. */
static __device__ __forceinline__ double below(double logit, double maximum)
{
    return logit == maximum ? 0 : logit - maximum;
}

/* A row by the lanes of a warp, or by one thread: its gradient, and its loss to each of them. */
template <int LANES, typename T>
static __device__ __forceinline__ double row(const eqi_classification<T> &p,
                                             const int64_t (&at)[TENSORS], double there, int lane)
{
    const T *const x = p.logits + at[ROW];
    const int64_t label = p.labels.value(at[LABEL]);
    const bool known = label >= 0 && label < p.classes;
    double maximum = -(double)INFINITY, sum = 0;
    for (int64_t c = lane; c < p.classes; c += LANES)
        maximum = x[c * p.step] > maximum ? (double)x[c * p.step] : maximum;
    if (LANES > 1)
        maximum = eqi_warp_max(maximum);
    for (int64_t c = lane; c < p.classes; c += LANES)
        sum += exp(below(x[c * p.step], maximum));
    if (LANES > 1)
        sum = eqi_warp_sum(sum);
    const double loss = known ? log(sum) - below(x[label * p.step], maximum) : (double)NAN;
    if (LANES > 1)
        __syncwarp(); /* every lane has read the label's logit before it may be overwritten */
    for (int64_t c = lane; p.diff_logits && c < p.classes; c += LANES) {
        const double share = exp(below(x[c * p.step], maximum)) / sum - (c == label);
        p.diff_logits[at[DIFF] + c * p.diff_step] = T(known ? share / there : (double)NAN);
    }
    return loss;
}

template <int LANES, typename T>
__global__ void __launch_bounds__(BLOCK, 1) eqi_cross_entropy(eqi_classification<T> p)
{
    EQI_SHARED(double, shared, WARPS);
    const int lane = threadIdx.x % LANES;
    const double there = eqi_count_there<MASK>(p.rows, p.mask, shared);
    double mine = 0;
    for (int64_t i = threadIdx.x / LANES; i < p.rows.count; i += BLOCK / LANES) {
        int64_t at[TENSORS];
        p.rows.offsets(i, at);
        if (p.mask.has(at[MASK]))
            mine += row<LANES>(p, at, there, lane);
        else
            for (int64_t c = lane; p.diff_logits && c < p.classes; c += LANES)
                p.diff_logits[at[DIFF] + c * p.diff_step] = T(0);
    }
    const double total = eqi_block_sum(lane == 0 ? mine : 0, shared);
    if (threadIdx.x == 0)
        *p.loss = T(there > 0 ? total / there : 0);
}

/* The logits without their last axis: one element stands for a row. */
static equinv_tensor rows_of(const equinv_tensor *logits)
{
    equinv_tensor rows = *logits;
    rows.ndim--;
    return rows;
}

template <typename T>
static equinv_status launch(const equinv_context *ctx, const equinv_tensor *logits,
                            const equinv_tensor *labels, const equinv_tensor *mask,
                            const equinv_tensor *loss, const equinv_tensor *diff_logits)
{
    const equinv_tensor *const diff = diff_logits ? diff_logits : logits;
    const int32_t last = logits->ndim - 1;
    const equinv_tensor rows = rows_of(logits), diff_rows = rows_of(diff);
    eqi_classification<T> p = {};
    p.rows = eqi_elements_of<TENSORS>({&rows, labels, mask ? mask : labels, &diff_rows});
    p.classes = logits->shape[last];
    p.step = logits->strides[last];
    p.diff_step = diff->strides[last];
    p.logits = (const T *)logits->data;
    p.loss = (T *)loss->data;
    p.diff_logits = diff_logits ? (T *)diff_logits->data : NULL;
    p.labels = eqi_labels_of(labels);
    p.mask = eqi_labels_of(mask);
    if (p.classes <= FEW_CLASSES)
        EQI_LAUNCH((eqi_cross_entropy<1, T>), dim3(1), BLOCK, 0, eqi_stream(ctx), p);
    else
        EQI_LAUNCH((eqi_cross_entropy<EQI_WARP, T>), dim3(1), BLOCK, 0, eqi_stream(ctx), p);
    return EQUINV_OK;
}

equinv_status eqi_cuda_cross_entropy(const equinv_context *ctx, const equinv_tensor *logits,
                                     const equinv_tensor *labels, const equinv_tensor *mask,
                                     const equinv_tensor *loss, const equinv_tensor *diff_logits)
{
    return logits->dtype == EQUINV_F32
               ? launch<float>(ctx, logits, labels, mask, loss, diff_logits)
               : launch<double>(ctx, logits, labels, mask, loss, diff_logits);
}
