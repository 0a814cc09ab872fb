/*
 * diff_bias[o] = sum_{n,..} diff_dst[n,o,..]
 *
 * Layout  any strides: the axes beside o are walked in the order of memory
 * Tile    one block a slice of a field, SLICE elements and more if there would be above MOST_SLICES;
 *         then one thread a field adds its slices up
 * Why     few fields have many elements each: slices give every multiprocessor work. All sums are in
 *         double and in a fixed order
 */
#include "cuda/bias_gradient.cuh"
#include "cuda/elements.cuh"

enum { BLOCK = 256 };
static constexpr int64_t SLICE = 4096, MOST_SLICES = 64;

static int64_t slices_of(int64_t count)
{
    const int64_t slices = count / SLICE + (count % SLICE != 0);
    return slices < 1 ? 1 : slices < MOST_SLICES ? slices : MOST_SLICES;
}

size_t eqi_bias_gradient_scratch(int64_t fields, int64_t count)
{
    return size_t(fields) * size_t(slices_of(count)) * sizeof(double);
}

template <typename T>
__global__ void eqi_bias_gradient_slices(eqi_elements<1> e, const T *diff_dst, int64_t fields,
                                         int64_t field_stride, int64_t slices, double *sums)
{
    EQI_SHARED(double, shared, BLOCK);
    const int64_t step = slices * BLOCK;
    for (int64_t index = blockIdx.x; index < fields * slices; index += gridDim.x) {
        const T *const from = diff_dst + index / slices * field_stride;
        double sum = 0;
        for (int64_t i = index % slices * BLOCK + threadIdx.x; i < e.count; i += step) {
            int64_t at[1];
            e.offsets(i, at);
            sum += double(from[at[0]]);
        }
        shared[threadIdx.x] = sum;
        for (unsigned half = BLOCK / 2; half > 0; half /= 2) {
            __syncthreads();
            if (threadIdx.x < half)
                shared[threadIdx.x] += shared[threadIdx.x + half];
        }
        if (threadIdx.x == 0)
            sums[index] = shared[0];
        __syncthreads();
    }
}

template <typename T>
__global__ void eqi_bias_gradient_fields(const double *sums, int64_t fields, int64_t slices,
                                         T *diff_bias, int64_t stride, bool accumulate)
{
    EQI_FOR_EACH(o, fields)
    {
        double sum = 0;
        for (int64_t slice = 0; slice < slices; slice++)
            sum += sums[o * slices + slice];
        T *const to = diff_bias + o * stride;
        *to = T(accumulate ? double(*to) + sum : sum);
    }
}

template <typename T>
static equinv_status run(const equinv_context *ctx, const equinv_tensor *diff_dst,
                         const equinv_tensor *diff_bias, bool accumulate, double *sums)
{
    equinv_tensor one = *diff_dst; /* a single field */
    one.shape[1] = 1;
    const eqi_elements<1> e = eqi_elements_of<1>({&one});
    const int64_t fields = diff_dst->shape[1], slices = slices_of(e.count);
    EQI_LAUNCH(eqi_bias_gradient_slices<T>, eqi_blocks(fields * slices, 1), BLOCK, 0,
               eqi_stream(ctx), e, static_cast<const T *>(diff_dst->data), fields,
               diff_dst->strides[1], slices, sums);
    EQI_LAUNCH(eqi_bias_gradient_fields<T>, eqi_blocks(fields, BLOCK), BLOCK, 0, eqi_stream(ctx),
               sums, fields, slices, static_cast<T *>(diff_bias->data), diff_bias->strides[0],
               accumulate);
    return EQUINV_OK;
}

equinv_status eqi_bias_gradient(const equinv_context *ctx, const equinv_tensor *diff_dst,
                                const equinv_tensor *diff_bias, bool accumulate, void *scratch)
{
    double *const sums = static_cast<double *>(scratch);
    return diff_dst->dtype == EQUINV_F32 ? run<float>(ctx, diff_dst, diff_bias, accumulate, sums)
                                         : run<double>(ctx, diff_dst, diff_bias, accumulate, sums);
}
