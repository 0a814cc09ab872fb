/*
 * psi and the dense filter:
 *     bank[(o,g), (i,h,t)] = psi[o, i, a, v]        the place by eqi_conv_place_of
 *     diff_psi[o,i,a,v]    = sum_u diff_bank[..]    the |G| entries by eqi_conv_entry_of
 *
 * Layout  both row-major; the bank is |G| times psi (lifting, to plane) or more, yet small beside maps
 * Tile    one thread an entry of the bank; one warp an entry of psi: its lanes share group elements and
 *         parts, in double, and add up by halves
 * Why     no entry is written twice, so nothing is atomic and the order of every sum is fixed
 */
#include "cuda/conv.cuh"

enum { BLOCK = 256, WARP = 32 };

eqi_conv_bank eqi_conv_bank_of(const eqi_conv_problem *p)
{
    return {p->desc.channel_groups, p->out_per_group * p->elements_out,
            p->in_per_group * p->elements_in * p->desc.kernel * p->desc.kernel};
}

template <typename T>
__global__ void eqi_conv_expand_kernel(eqi_conv_problem p, eqi_conv_bank b, equinv_tensor psi,
                                       T *bank)
{
    const int64_t k = p.desc.kernel;
    EQI_FOR_EACH(index, b.groups * b.outputs * b.inputs)
    {
        const int64_t row = index / b.inputs, column = index % b.inputs;
        const int64_t tap = column % (k * k), channel = column / (k * k);
        const eqi_conv_place at = eqi_conv_place_of(
            &p, int32_t(row % p.elements_out), int32_t(channel % p.elements_in), tap / k, tap % k);
        bank[index] = static_cast<const T *>(psi.data)[eqi_offset5(
            &psi, row / p.elements_out, channel / p.elements_in, at.a, at.v.y, at.v.x)];
    }
}

/* Lane 0 gets the sum of all lanes, added by halves. */
static __device__ __forceinline__ double sum_of_warp(double value)
{
    for (int step = WARP / 2; step > 0; step /= 2)
        value += __shfl_down_sync(0xffffffffu, value, unsigned(step));
    return value;
}

template <typename T>
__global__ void eqi_conv_reduce_kernel(eqi_conv_problem p, eqi_conv_bank b, const T *gradients,
                                       int64_t parts, equinv_tensor diff_psi)
{
    const int64_t k = p.desc.kernel, order = eqi_order(p.desc.group);
    const int64_t warps = int64_t(gridDim.x) * (BLOCK / WARP), lane = threadIdx.x % WARP;
    const int64_t entries = p.desc.fields_out * p.in_per_group * p.filter_elements * k * k;
    int64_t index = int64_t(blockIdx.x) * (BLOCK / WARP) + threadIdx.x / WARP;
    for (; index < entries; index += warps) {
        const eqi_pixel v = {index / k % k, index % k};
        const int64_t a = index / (k * k) % p.filter_elements;
        const int64_t pair = index / (k * k) / p.filter_elements;
        const int64_t i = pair % p.in_per_group, o = pair / p.in_per_group;
        const int64_t first = o / p.out_per_group * parts, row = o % p.out_per_group;
        double sum = 0;
        for (int64_t j = lane; j < order * parts; j += WARP) {
            const eqi_conv_entry at = eqi_conv_entry_of(&p, int32_t(j % order), int32_t(a), v);
            const int64_t output = row * p.elements_out + at.g;
            const int64_t input = ((i * p.elements_in + at.h) * k + at.t.y) * k + at.t.x;
            sum += double(gradients[((first + j / order) * b.outputs + output) * b.inputs + input]);
        }
        sum = sum_of_warp(sum);
        if (lane == 0) {
            T *const to =
                static_cast<T *>(diff_psi.data) + eqi_offset5(&diff_psi, o, i, a, v.y, v.x);
            *to = T(p.desc.accumulate ? double(*to) + sum : sum);
        }
    }
}

template <typename T>
static equinv_status expand(const equinv_context *ctx, const eqi_conv_problem *p,
                            const equinv_tensor *psi, void *bank)
{
    const eqi_conv_bank b = eqi_conv_bank_of(p);
    EQI_LAUNCH(eqi_conv_expand_kernel<T>, eqi_blocks(b.groups * b.outputs * b.inputs, BLOCK), BLOCK,
               0, eqi_stream(ctx), *p, b, *psi, static_cast<T *>(bank));
    return EQUINV_OK;
}

equinv_status eqi_conv_expand(const equinv_context *ctx, const eqi_conv_problem *p,
                              const equinv_tensor *psi, void *bank)
{
    return p->desc.dtype == EQUINV_F32 ? expand<float>(ctx, p, psi, bank)
                                       : expand<double>(ctx, p, psi, bank);
}

template <typename T>
static equinv_status reduce(const equinv_context *ctx, const eqi_conv_problem *p,
                            const void *gradients, int64_t parts, const equinv_tensor *diff_psi)
{
    const int64_t entries =
        p->desc.fields_out * p->in_per_group * p->filter_elements * p->desc.kernel * p->desc.kernel;
    EQI_LAUNCH(eqi_conv_reduce_kernel<T>, eqi_blocks(entries, BLOCK / WARP), BLOCK, 0,
               eqi_stream(ctx), *p, eqi_conv_bank_of(p), static_cast<const T *>(gradients), parts,
               *diff_psi);
    return EQUINV_OK;
}

equinv_status eqi_conv_reduce(const equinv_context *ctx, const eqi_conv_problem *p,
                              const void *gradients, int64_t parts, const equinv_tensor *diff_psi)
{
    return p->desc.dtype == EQUINV_F32 ? reduce<float>(ctx, p, gradients, parts, diff_psi)
                                       : reduce<double>(ctx, p, gradients, parts, diff_psi);
}
