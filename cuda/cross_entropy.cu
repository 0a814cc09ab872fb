/*
 * loss = mean_n (log sum_c exp(x[n,c]) - x[n, label]), everything relative to the row's maximum
 * diff_logits[n,c] = (softmax(x[n])[c] - [c = label]) / N; may be the logits themselves
 *
 * One block, so that the sum has one order; each of its warps takes rows. A label out of range cannot
 * be told to the caller: it counts as NaN.
 */
#include "cuda/operations.cuh"
#include "cuda/warp.cuh"

enum { BLOCK = 512, WARPS = BLOCK / EQI_WARP };

template <typename T> struct eqi_classification {
    int64_t batch, classes;
    const T *logits;
    T *loss, *diff_logits; /* the second may be NULL */
    const void *labels;
    bool labels_u8;
    int64_t logits_stride[2], diff_stride[2], labels_stride;

    __device__ __forceinline__ double logit(int64_t n, int64_t c) const
    {
        return logits[n * logits_stride[0] + c * logits_stride[1]];
    }
    __device__ __forceinline__ int64_t label(int64_t n) const
    {
        const int64_t at = n * labels_stride;
        return labels_u8 ? ((const uint8_t *)labels)[at] : ((const int32_t *)labels)[at];
    }
};

/* Distance below the row's maximum; equal infinities are 0 apart. */
static __device__ __forceinline__ double below(double logit, double maximum)
{
    return logit == maximum ? 0 : logit - maximum;
}

/* Row n by a warp: its gradient, and its loss to every lane. */
template <typename T>
static __device__ double row(const eqi_classification<T> &p, int64_t n, int lane)
{
    const int64_t label = p.label(n);
    const bool known = label >= 0 && label < p.classes;
    double maximum = -(double)INFINITY, sum = 0;
    for (int64_t c = lane; c < p.classes; c += EQI_WARP) {
        const double x = p.logit(n, c);
        maximum = x > maximum ? x : maximum;
    }
    maximum = eqi_warp_max(maximum);
    for (int64_t c = lane; c < p.classes; c += EQI_WARP)
        sum += exp(below(p.logit(n, c), maximum));
    sum = eqi_warp_sum(sum);
    const double loss = known ? log(sum) - below(p.logit(n, label), maximum) : (double)NAN;
    __syncwarp(); /* every lane has read the label's logit before it may be overwritten */
    for (int64_t c = lane; p.diff_logits && c < p.classes; c += EQI_WARP) {
        const double share = exp(below(p.logit(n, c), maximum)) / sum - (c == label);
        p.diff_logits[n * p.diff_stride[0] + c * p.diff_stride[1]] =
            T(known ? share / (double)p.batch : (double)NAN);
    }
    return loss;
}

template <typename T>
__global__ void __launch_bounds__(BLOCK, 1) eqi_cross_entropy(eqi_classification<T> p)
{
    EQI_SHARED(double, shared, WARPS);
    const int warp = threadIdx.x / EQI_WARP, lane = threadIdx.x % EQI_WARP;
    double mine = 0;
    for (int64_t n = warp; n < p.batch; n += WARPS)
        mine += row(p, n, lane);
    const double total = eqi_block_sum(lane == 0 ? mine : 0, shared);
    if (threadIdx.x == 0)
        *p.loss = T(p.batch ? total / (double)p.batch : 0);
}

template <typename T>
static equinv_status launch(const equinv_context *ctx, const equinv_tensor *logits,
                            const equinv_tensor *labels, const equinv_tensor *loss,
                            const equinv_tensor *diff_logits)
{
    eqi_classification<T> p = {};
    p.batch = logits->shape[0];
    p.classes = logits->shape[1];
    p.logits = (const T *)logits->data;
    p.loss = (T *)loss->data;
    p.labels = labels->data;
    p.labels_u8 = labels->dtype == EQUINV_U8;
    p.labels_stride = labels->strides[0];
    p.diff_logits = diff_logits ? (T *)diff_logits->data : NULL;
    for (int axis = 0; axis < 2; axis++) {
        p.logits_stride[axis] = logits->strides[axis];
        p.diff_stride[axis] = diff_logits ? diff_logits->strides[axis] : 0;
    }
    EQI_LAUNCH(eqi_cross_entropy<T>, dim3(1), BLOCK, 0, eqi_stream(ctx), p);
    return EQUINV_OK;
}

equinv_status eqi_cuda_cross_entropy(const equinv_context *ctx, const equinv_tensor *logits,
                                     const equinv_tensor *labels, const equinv_tensor *loss,
                                     const equinv_tensor *diff_logits)
{
    return logits->dtype == EQUINV_F32 ? launch<float>(ctx, logits, labels, loss, diff_logits)
                                       : launch<double>(ctx, logits, labels, loss, diff_logits);
}
