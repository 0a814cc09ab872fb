/*
 * dst = g.src. What g does to pixels is a matter of strides: src is seen through a view that is turned
 * already, and only the axis of the group needs arithmetic. One thread an element of dst.
 */
#include "cuda/elements.cuh"
#include "cuda/operations.cuh"

enum { BLOCK = 256 };

/* Strides over tensors of the action: dst, the turned view of src, and the element of dst itself. */
enum { DST, SRC, ELEMENT, TENSORS };

/* Elements are moved as they are: T is any type of their size. */
template <typename T>
__global__ void eqi_act(eqi_elements<TENSORS> e, equinv_group group, int32_t inverse,
                        int64_t group_stride, const T *src, T *dst)
{
    EQI_FOR_EACH(i, e.count)
    {
        int64_t at[TENSORS];
        e.offsets(i, at);
        const int32_t from = eqi_product(group, inverse, (int32_t)at[ELEMENT]);
        dst[at[DST]] = src[at[SRC] + from * group_stride];
    }
}

/* Where in an image of src pixel (y, x) of dst comes from; `motion` is that of g^-1. */
static int64_t source(const equinv_tensor *src, const equinv_tensor *dst, eqi_motion motion,
                      int64_t y, int64_t x)
{
    const eqi_pixel q = eqi_move(motion, y, x, dst->shape[3], dst->shape[4]);
    return q.y * src->strides[3] + q.x * src->strides[4];
}

template <typename T>
static equinv_status launch(const equinv_context *ctx, equinv_group group, int32_t inverse,
                            const equinv_tensor *src, const equinv_tensor *dst)
{
    const eqi_motion back = eqi_motion_of(group, inverse); /* off the grid: of one pixel */
    equinv_tensor turned = *dst, element = *dst;
    for (int axis = 0; axis < 5; axis++) {
        turned.strides[axis] = axis < 2 ? src->strides[axis] : 0;
        element.strides[axis] = axis == 2;
    }
    const int64_t corner = source(src, dst, back, 0, 0);
    turned.strides[3] = source(src, dst, back, 1, 0) - corner;
    turned.strides[4] = source(src, dst, back, 0, 1) - corner;
    const int64_t group_stride = src->shape[2] == 1 ? 0 : src->strides[2];
    const eqi_elements<TENSORS> e = eqi_elements_of<TENSORS>({dst, &turned, &element});
    EQI_LAUNCH(eqi_act<T>, eqi_blocks(e.count, BLOCK), BLOCK, 0, eqi_stream(ctx), e, group, inverse,
               group_stride, (const T *)src->data + corner, (T *)dst->data);
    return EQUINV_OK;
}

equinv_status eqi_cuda_act(const equinv_context *ctx, equinv_group group, int32_t element,
                           const equinv_tensor *src, const equinv_tensor *dst)
{
    const int32_t inverse = eqi_inverse(group, element);
    switch (src->dtype) {
    case EQUINV_U8: return launch<uint8_t>(ctx, group, inverse, src, dst);
    case EQUINV_F64: return launch<uint64_t>(ctx, group, inverse, src, dst);
    default: return launch<uint32_t>(ctx, group, inverse, src, dst);
    }
}
