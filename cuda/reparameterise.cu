/*
 * epsilon[i]: coordinate i of Gaussian template number `step`; every thread draws for itself
 * forward   dst = mean + exp(log_variance / 2) epsilon
 * backward  diff_log_variance = diff_dst exp(log_variance / 2) epsilon / 2
 */
#include "cuda/elements.cuh"
#include "cuda/operations.cuh"

#include "internal/templates.h"

enum { BLOCK = 256 };

/* PLACE: the row-major number of an element, as strides. */
enum { TO, LOG_VARIANCE, FROM, PLACE, TENSORS };

static __device__ __forceinline__ double noise(uint64_t seed, uint64_t step, int64_t i)
{
    float z[4];
    eqi_template_values(EQUINV_TEMPLATE_GAUSSIAN, seed, step, (uint64_t)i / 4, z);
    return (i & 2) ? ((i & 1) ? z[3] : z[2]) : ((i & 1) ? z[1] : z[0]);
}

template <bool BACKWARD, typename T>
__global__ void eqi_reparameterise(eqi_elements<TENSORS> e, uint64_t seed, uint64_t step,
                                   const T *log_variance, const T *from, T *to)
{
    EQI_FOR_EACH(i, e.count)
    {
        int64_t at[TENSORS];
        e.offsets(i, at);
        const double x = from[at[FROM]], deviation = exp(0.5 * log_variance[at[LOG_VARIANCE]]);
        const double epsilon = noise(seed, step, at[PLACE]);
        to[at[TO]] = T(BACKWARD ? 0.5 * x * deviation * epsilon : x + deviation * epsilon);
    }
}

template <bool BACKWARD, typename T>
static equinv_status launch(const equinv_context *ctx, uint64_t seed, uint64_t step,
                            const equinv_tensor *log_variance, const equinv_tensor *from,
                            const equinv_tensor *to)
{
    equinv_tensor place = *to;
    int64_t stride = 1;
    for (int32_t axis = to->ndim - 1; axis >= 0; axis--) {
        place.strides[axis] = stride;
        stride *= to->shape[axis];
    }
    const eqi_elements<TENSORS> e = eqi_elements_of<TENSORS>({to, log_variance, from, &place});
    EQI_LAUNCH((eqi_reparameterise<BACKWARD, T>), eqi_blocks(e.count, BLOCK), BLOCK, 0,
               eqi_stream(ctx), e, seed, step, (const T *)log_variance->data, (const T *)from->data,
               (T *)to->data);
    return EQUINV_OK;
}

equinv_status eqi_cuda_reparameterise_forward(const equinv_context *ctx, uint64_t seed,
                                              uint64_t step, const equinv_tensor *mean,
                                              const equinv_tensor *log_variance,
                                              const equinv_tensor *dst)
{
    return dst->dtype == EQUINV_F32
               ? launch<false, float>(ctx, seed, step, log_variance, mean, dst)
               : launch<false, double>(ctx, seed, step, log_variance, mean, dst);
}

equinv_status eqi_cuda_reparameterise_backward(const equinv_context *ctx, uint64_t seed,
                                               uint64_t step, const equinv_tensor *log_variance,
                                               const equinv_tensor *diff_dst,
                                               const equinv_tensor *diff_log_variance)
{
    return diff_dst->dtype == EQUINV_F32
               ? launch<true, float>(ctx, seed, step, log_variance, diff_dst, diff_log_variance)
               : launch<true, double>(ctx, seed, step, log_variance, diff_dst, diff_log_variance);
}
