/*
 * norm = sqrt(sum over all gradients of g^2); g = g max_norm / norm where norm > max_norm is finite
 *
 * Blocks of one order add the squares of every gradient to a sum each, a block joins the sums to the norm,
 * and the gradients are scaled by what lies there then: the host waits for nothing.
 */
#include "cuda/elements.cuh"
#include "cuda/memory.cuh"
#include "cuda/operations.cuh"
#include "cuda/warp.cuh"

enum { BLOCK = 256, WARPS = BLOCK / EQI_WARP };

/* sum[b] += squares of what block b looks at */
template <typename T>
__global__ void __launch_bounds__(BLOCK)
    eqi_add_squares(eqi_elements<1> e, const T *gradient, double *sum)
{
    EQI_SHARED(double, shared, WARPS);
    double mine = 0;
    EQI_FOR_EACH(i, e.count)
    {
        int64_t at[1];
        e.offsets(i, at);
        const double g = gradient[at[0]];
        mine += g * g;
    }
    const double total = eqi_block_sum(mine, shared);
    if (threadIdx.x == 0)
        sum[blockIdx.x] += total;
}

/* norm of EQI_NORM_PARTS sums, by as many threads */
__global__ void __launch_bounds__(EQI_NORM_PARTS) eqi_gradient_norm(eqi_norm_room *room)
{
    EQI_SHARED(double, shared, EQI_NORM_PARTS / EQI_WARP);
    const double total = eqi_block_sum(room->sum[threadIdx.x], shared);
    if (threadIdx.x == 0)
        room->norm = sqrt(total);
}

template <typename T>
__global__ void eqi_clip(eqi_elements<1> e, double max_norm, const eqi_norm_room *room, T *gradient)
{
    const double norm = room->norm;
    if (!(norm > max_norm) || norm == (double)INFINITY)
        return;
    const double scale = max_norm / norm;
    EQI_FOR_EACH(i, e.count)
    {
        int64_t at[1];
        e.offsets(i, at);
        gradient[at[0]] = T((double)gradient[at[0]] * scale);
    }
}

template <typename T>
static equinv_status add_squares(const equinv_context *ctx, const eqi_elements<1> &e,
                                 const equinv_tensor *gradient, eqi_norm_room *room)
{
    EQI_LAUNCH(eqi_add_squares<T>, eqi_blocks(e.count, BLOCK, EQI_NORM_PARTS), BLOCK, 0,
               eqi_stream(ctx), e, (const T *)gradient->data, &room->sum[0]);
    return EQUINV_OK;
}

template <typename T>
static equinv_status scale(const equinv_context *ctx, const eqi_elements<1> &e, double max_norm,
                           const equinv_tensor *gradient, const eqi_norm_room *room)
{
    EQI_LAUNCH(eqi_clip<T>, eqi_blocks(e.count, BLOCK), BLOCK, 0, eqi_stream(ctx), e, max_norm,
               room, (T *)gradient->data);
    return EQUINV_OK;
}

static equinv_status enqueue(const equinv_context *ctx, const equinv_parameter *parameters,
                             size_t count, double max_norm, eqi_norm_room *room)
{
    EQI_TRY(eqi_cuda_zero(ctx, room, sizeof *room));
    for (size_t i = 0; i < count; i++) {
        const equinv_tensor *const g = &parameters[i].gradient;
        const eqi_elements<1> e = eqi_elements_of<1>({g});
        EQI_TRY(g->dtype == EQUINV_F32 ? add_squares<float>(ctx, e, g, room)
                                       : add_squares<double>(ctx, e, g, room));
    }
    EQI_LAUNCH(eqi_gradient_norm, dim3(1), EQI_NORM_PARTS, 0, eqi_stream(ctx), room);
    for (size_t i = 0; i < count; i++) {
        const equinv_tensor *const g = &parameters[i].gradient;
        const eqi_elements<1> e = eqi_elements_of<1>({g});
        EQI_TRY(g->dtype == EQUINV_F32 ? scale<float>(ctx, e, max_norm, g, room)
                                       : scale<double>(ctx, e, max_norm, g, room));
    }
    return EQUINV_OK;
}

equinv_status eqi_cuda_clip_gradients(const equinv_context *ctx, const equinv_parameter *parameters,
                                      size_t count, double max_norm, double *norm)
{
    eqi_cuda_device *const d = eqi_cuda(ctx);
    pthread_mutex_lock(&d->norm_mutex);
    equinv_status status = enqueue(ctx, parameters, count, max_norm, d->norm_room);
    if (status == EQUINV_OK && norm)
        status = eqi_cuda_copy(ctx, EQI_LANE_COMPUTE, norm, &d->norm_room->norm, sizeof *norm);
    pthread_mutex_unlock(&d->norm_mutex);
    return status == EQUINV_OK && norm ? eqi_cuda_device_functions.synchronize(ctx) : status;
}
