/* dst[t, ..] = random template number first + t. One thread four coordinates: a Philox call. */
#include "cuda/divide.cuh"
#include "cuda/operations.cuh"

#include "internal/templates.h"

enum { BLOCK = 256 };

/* The coordinates of one template: row-major number to offset, neighbouring axes joined. */
struct eqi_coordinates {
    int32_t axes;
    int64_t count;
    eqi_divisor shape[EQUINV_MAX_DIMS];
    int64_t strides[EQUINV_MAX_DIMS];

    __device__ __forceinline__ int64_t offset(int64_t index) const
    {
        int64_t at = 0;
        for (int32_t axis = axes - 1; axis >= 0; axis--) {
            const int64_t rest = shape[axis].quotient(index);
            at += (index - rest * shape[axis].by) * strides[axis];
            index = rest;
        }
        return at;
    }
};

/* None where dst is empty. */
static eqi_coordinates coordinates_of(const equinv_tensor *dst)
{
    eqi_coordinates c = {};
    for (int32_t i = 0; i < dst->ndim; i++)
        if (dst->shape[i] == 0)
            return c;
    int64_t shape[EQUINV_MAX_DIMS];
    c.count = 1;
    for (int32_t i = 1; i < dst->ndim; i++) {
        c.count *= dst->shape[i];
        if (dst->shape[i] == 1)
            continue;
        if (c.axes == 0 || c.strides[c.axes - 1] != dst->strides[i] * dst->shape[i])
            shape[c.axes++] = 1;
        shape[c.axes - 1] *= dst->shape[i];
        c.strides[c.axes - 1] = dst->strides[i];
    }
    for (int32_t axis = 0; axis < c.axes; axis++)
        c.shape[axis] = eqi_divisor_of(shape[axis]);
    return c;
}

static __device__ __forceinline__ void store_quad(float *to, const float (&z)[4])
{
    eqi_store_vector(to, float4{z[0], z[1], z[2], z[3]});
}

static __device__ __forceinline__ void store_quad(double *to, const float (&z)[4])
{
    eqi_store_vector(to, double2{z[0], z[1]});
    eqi_store_vector(to + 2, double2{z[2], z[3]});
}

/* quads: whether four coordinates are always neighbours at an aligned address. */
template <typename T>
__global__ void eqi_templates(eqi_coordinates c, int64_t rows, eqi_divisor blocks,
                              int64_t row_stride, bool quads, equinv_template_kind kind,
                              uint64_t seed, uint64_t first, T *dst)
{
    EQI_FOR_EACH(i, rows * blocks.by)
    {
        const int64_t row = blocks.quotient(i), block = i - row * blocks.by;
        float z[4];
        eqi_template_values(kind, seed, first + (uint64_t)row, (uint64_t)block, z);
        T *const to = dst + row * row_stride;
        if (quads) {
            store_quad(to + 4 * block, z);
            continue;
        }
        for (int lane = 0; lane < 4; lane++)
            if (4 * block + lane < c.count)
                to[c.offset(4 * block + lane)] = z[lane];
    }
}

template <typename T>
static equinv_status launch(const equinv_context *ctx, equinv_template_kind kind, uint64_t seed,
                            uint64_t first, const equinv_tensor *dst)
{
    const eqi_coordinates c = coordinates_of(dst);
    if (c.count == 0)
        return EQUINV_OK;
    const int64_t rows = dst->shape[0], blocks = c.count / 4 + (c.count % 4 != 0);
    const bool quads = c.axes == 1 && c.strides[0] == 1 && c.count % 4 == 0 &&
                       (rows == 1 || dst->strides[0] % 4 == 0) && (uintptr_t)dst->data % 16 == 0;
    EQI_LAUNCH(eqi_templates<T>, eqi_blocks(rows * blocks, BLOCK), BLOCK, 0, eqi_stream(ctx), c,
               rows, eqi_divisor_of(blocks), dst->strides[0], quads, kind, seed, first,
               (T *)dst->data);
    return EQUINV_OK;
}

equinv_status eqi_cuda_templates(const equinv_context *ctx, equinv_template_kind kind,
                                 uint64_t seed, uint64_t first, const equinv_tensor *dst)
{
    return dst->dtype == EQUINV_F32 ? launch<float>(ctx, kind, seed, first, dst)
                                    : launch<double>(ctx, kind, seed, first, dst);
}
