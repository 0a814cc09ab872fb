/*
 * The mean over every orbit of coordinates, for all its members. One thread has an orbit in a few
 * samples.
 */
#include "cuda/latents.cuh"
#include "cuda/operations.cuh"

enum { BLOCK = 256 };

template <typename T>
__global__ void eqi_orbit_mean(eqi_latents from, eqi_latents to, int64_t batch, const T *src,
                               T *dst)
{
    const int64_t columns = from.columns(), chunks = (batch + EQI_SUM_ROWS - 1) / EQI_SUM_ROWS;
    EQI_FOR_EACH(i, chunks * columns)
    {
        const int64_t column = i % columns, first = i / columns * EQI_SUM_ROWS;
        const eqi_spot spot = to.at(column);
        double sums[EQI_SUM_ROWS];
        eqi_sum_members(from, from.at(column), src + first * from.row, batch - first, sums);
        for (int r = 0; r < EQI_SUM_ROWS; r++)
            sums[r] /= from.order;
        for (int32_t h = 0; h < to.members(); h++) {
            T *const at = dst + first * to.row + to.member(spot, h);
            for (int r = 0; r < EQI_SUM_ROWS && first + r < batch; r++)
                at[r * to.row] = T(sums[r]);
        }
    }
}

template <typename T>
static equinv_status mean(const equinv_context *ctx, equinv_group group, const equinv_tensor *src,
                          const equinv_tensor *dst)
{
    const eqi_latents from = eqi_latents_of(group, src, true);
    const eqi_latents to = eqi_latents_of(group, dst, true);
    const int64_t batch = src->shape[0], chunks = (batch + EQI_SUM_ROWS - 1) / EQI_SUM_ROWS;
    EQI_LAUNCH(eqi_orbit_mean<T>, eqi_blocks(chunks * from.columns(), BLOCK), BLOCK, 0,
               eqi_stream(ctx), from, to, batch, (const T *)src->data, (T *)dst->data);
    return EQUINV_OK;
}

equinv_status eqi_cuda_orbit_mean(const equinv_context *ctx, equinv_group group,
                                  const equinv_tensor *src, const equinv_tensor *dst)
{
    if (src->shape[0] == 0)
        return EQUINV_OK;
    return src->dtype == EQUINV_F32 ? mean<float>(ctx, group, src, dst)
                                    : mean<double>(ctx, group, src, dst);
}
