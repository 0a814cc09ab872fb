/*
 * M = how many i are there, s = log_variance
 * loss = 1/M sum_i (mean^2 + exp(s) - 1 - s) / 2
 * diff_mean = mean / M, diff_log_variance = (exp(s) - 1) / 2 M, 0 where i is not there
 *
 * One block, so that the sum has one order.
 */
#include "cuda/labels.cuh"
#include "cuda/operations.cuh"

enum { BLOCK = 512, WARPS = BLOCK / EQI_WARP };

enum { MEAN, LOG_VARIANCE, MASK, DIFF_MEAN, DIFF_LOG_VARIANCE, TENSORS };

template <typename T> struct eqi_gaussians {
    const T *mean, *log_variance;
    T *loss, *diff_mean, *diff_log_variance; /* the gradients may be NULL */
    eqi_labels mask;
};

template <typename T>
__global__ void __launch_bounds__(BLOCK, 1)
    eqi_kl_gaussian(eqi_elements<TENSORS> e, eqi_gaussians<T> g)
{
    EQI_SHARED(double, shared, WARPS);
    const double there = eqi_count_there<MASK>(e, g.mask, shared);
    double sum = 0;
    EQI_FOR_EACH(i, e.count)
    {
        int64_t at[TENSORS];
        e.offsets(i, at);
        double m = 0, grown = 0; /* exp(s) - 1 */
        if (g.mask.has(at[MASK])) {
            const double s = g.log_variance[at[LOG_VARIANCE]];
            m = g.mean[at[MEAN]];
            grown = expm1(s);
            sum += 0.5 * (m * m + (grown - s));
        }
        if (g.diff_mean)
            g.diff_mean[at[DIFF_MEAN]] = T(there > 0 ? m / there : 0);
        if (g.diff_log_variance)
            g.diff_log_variance[at[DIFF_LOG_VARIANCE]] = T(there > 0 ? 0.5 * grown / there : 0);
    }
    const double total = eqi_block_sum(sum, shared);
    if (threadIdx.x == 0)
        *g.loss = T(there > 0 ? total / there : 0);
}

template <typename T>
static equinv_status launch(const equinv_context *ctx, const equinv_tensor *mean,
                            const equinv_tensor *log_variance, const equinv_tensor *mask,
                            const equinv_tensor *loss, const equinv_tensor *diff_mean,
                            const equinv_tensor *diff_log_variance)
{
    const eqi_elements<TENSORS> e = eqi_elements_of<TENSORS>(
        {mean, log_variance, mask ? mask : mean, diff_mean ? diff_mean : mean,
         diff_log_variance ? diff_log_variance : mean});
    const eqi_gaussians<T> g = {
        (const T *)mean->data,
        (const T *)log_variance->data,
        (T *)loss->data,
        diff_mean ? (T *)diff_mean->data : NULL,
        diff_log_variance ? (T *)diff_log_variance->data : NULL,
        eqi_labels_of(mask),
    };
    EQI_LAUNCH(eqi_kl_gaussian<T>, dim3(1), BLOCK, 0, eqi_stream(ctx), e, g);
    return EQUINV_OK;
}

equinv_status eqi_cuda_kl_gaussian(const equinv_context *ctx, const equinv_tensor *mean,
                                   const equinv_tensor *log_variance, const equinv_tensor *mask,
                                   const equinv_tensor *loss, const equinv_tensor *diff_mean,
                                   const equinv_tensor *diff_log_variance)
{
    return mean->dtype == EQUINV_F32
               ? launch<float>(ctx, mean, log_variance, mask, loss, diff_mean, diff_log_variance)
               : launch<double>(ctx, mean, log_variance, mask, loss, diff_mean, diff_log_variance);
}
