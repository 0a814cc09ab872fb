/*
 * Upsampling, a thread an output: dst[Y,X] = sum of the up to four pixels around it, by their shares.
 * Backward gathers: an element of diff_src goes through the outputs that may have read it. Sums are in
 * double.
 */
#include "cuda/divide.cuh"
#include "cuda/operations.cuh"

extern "C" {
#include "internal/upsample.h"
}

enum { BLOCK = 256 };

/* Extents of what is written, for finding an element by its row-major number. */
struct eqi_upsample_shape {
    int64_t count;
    eqi_divisor extent[4]; /* fields, elements, height, width */
};

static __device__ void find(const eqi_upsample_shape &s, int64_t index, int64_t (&at)[5])
{
    for (int i = 3; i >= 0; i--) {
        const int64_t rest = s.extent[i].quotient(index);
        at[1 + i] = index - rest * s.extent[i].by;
        index = rest;
    }
    at[0] = index;
}

template <typename T>
__global__ void eqi_upsample_forward(eqi_upsample_problem p, eqi_upsample_shape s,
                                     equinv_tensor src, equinv_tensor dst)
{
    EQI_FOR_EACH(i, s.count)
    {
        int64_t at[5];
        find(s, i, at);
        const eqi_between y = eqi_upsample_between(&p, p.src[3], at[3]);
        const eqi_between x = eqi_upsample_between(&p, p.src[4], at[4]);
        double sum = 0;
        for (int64_t sy = y.low; sy <= y.low + (y.weight > 0); sy++)
            for (int64_t sx = x.low; sx <= x.low + (x.weight > 0); sx++)
                sum += eqi_upsample_share(y, sy) * eqi_upsample_share(x, sx) *
                       double(static_cast<const T *>(
                           src.data)[eqi_offset5(&src, at[0], at[1], at[2], sy, sx)]);
        static_cast<T *>(dst.data)[eqi_offset5(&dst, at[0], at[1], at[2], at[3], at[4])] = T(sum);
    }
}

template <typename T>
__global__ void eqi_upsample_backward(eqi_upsample_problem p, eqi_upsample_shape s,
                                      equinv_tensor diff_dst, equinv_tensor diff_src)
{
    EQI_FOR_EACH(i, s.count)
    {
        int64_t at[5];
        find(s, i, at);
        const eqi_span ys = eqi_upsample_readers(&p, p.src[3], at[3]);
        const eqi_span xs = eqi_upsample_readers(&p, p.src[4], at[4]);
        double sum = 0;
        for (int64_t y = ys.first; y <= ys.last; y++) {
            const double row = eqi_upsample_share(eqi_upsample_between(&p, p.src[3], y), at[3]);
            for (int64_t x = xs.first; row > 0 && x <= xs.last; x++) {
                const double share =
                    eqi_upsample_share(eqi_upsample_between(&p, p.src[4], x), at[4]);
                if (share > 0)
                    sum += row * share *
                           double(static_cast<const T *>(
                               diff_dst.data)[eqi_offset5(&diff_dst, at[0], at[1], at[2], y, x)]);
            }
        }
        eqi_put(&diff_src, eqi_offset5(&diff_src, at[0], at[1], at[2], at[3], at[4]), sum,
                p.accumulate);
    }
}

static eqi_upsample_shape shape_of(const int64_t (&shape)[5])
{
    eqi_upsample_shape s = {};
    s.count = shape[0];
    for (int i = 0; i < 4; i++) {
        s.extent[i] = eqi_divisor_of(shape[1 + i]);
        s.count *= shape[1 + i];
    }
    return s;
}

static equinv_status forward(const equinv_context *ctx, const eqi_upsample_problem *p,
                             const equinv_tensor *src, const equinv_tensor *dst)
{
    const eqi_upsample_shape s = shape_of(p->dst);
    const dim3 grid = eqi_blocks(s.count, BLOCK);
    if (p->dtype == EQUINV_F32)
        EQI_LAUNCH(eqi_upsample_forward<float>, grid, BLOCK, 0, eqi_stream(ctx), *p, s, *src, *dst);
    else
        EQI_LAUNCH(eqi_upsample_forward<double>, grid, BLOCK, 0, eqi_stream(ctx), *p, s, *src,
                   *dst);
    return EQUINV_OK;
}

static equinv_status backward(const equinv_context *ctx, const eqi_upsample_problem *p,
                              const equinv_tensor *diff_dst, const equinv_tensor *diff_src)
{
    const eqi_upsample_shape s = shape_of(p->src);
    const dim3 grid = eqi_blocks(s.count, BLOCK);
    if (p->dtype == EQUINV_F32)
        EQI_LAUNCH(eqi_upsample_backward<float>, grid, BLOCK, 0, eqi_stream(ctx), *p, s, *diff_dst,
                   *diff_src);
    else
        EQI_LAUNCH(eqi_upsample_backward<double>, grid, BLOCK, 0, eqi_stream(ctx), *p, s, *diff_dst,
                   *diff_src);
    return EQUINV_OK;
}

static bool supports_all(const void *, const eqi_hardware *, const char **)
{
    return true;
}

static const eqi_upsample_implementation pixel = {
    {"upsample/pixel", supports_all, NULL}, forward, backward, nullptr, nullptr};

const eqi_implementation *const eqi_cuda_upsample_list[] = {&pixel.head, NULL};
