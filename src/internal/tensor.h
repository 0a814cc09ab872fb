/* Checks of caller's tensors, and element access for the reference code. */
#ifndef EQI_TENSOR_H
#define EQI_TENSOR_H

#include "context.h"
#include "portable.h"

/* Bits for eqi_check_tensor's `dtypes`. */
#define EQI_F32 1u
#define EQI_F64 2u
#define EQI_FLOAT (EQI_F32 | EQI_F64)
#define EQI_I32 4u
#define EQI_U8 8u
#define EQI_U32 16u
#define EQI_ANY 31u

/*
 * A usable tensor on the context's device: struct sane, element type among `allowed`, memory present,
 * strides within the address space. `name` is the argument's name in sentences.
 */
equinv_status eqi_check_tensor(const equinv_context *ctx, const equinv_tensor *tensor,
                               const char *name, unsigned allowed);

/* The same for something written to: no two indices may share an element. */
equinv_status eqi_check_output(const equinv_context *ctx, const equinv_tensor *tensor,
                               const char *name, unsigned allowed);

/* The same for memory of the CPU, whatever the context's device. */
equinv_status eqi_check_cpu_tensor(const equinv_tensor *tensor, const char *name, unsigned allowed);
equinv_status eqi_check_cpu_output(const equinv_tensor *tensor, const char *name, unsigned allowed);

/* The same for memory of the CPU or of the context's device. */
equinv_status eqi_check_anywhere(const equinv_context *ctx, const equinv_tensor *tensor,
                                 const char *name, unsigned allowed);
equinv_status eqi_check_output_anywhere(const equinv_context *ctx, const equinv_tensor *tensor,
                                        const char *name, unsigned allowed);

/* Same dtype as a description or another tensor. */
equinv_status eqi_check_dtype(const equinv_tensor *tensor, const char *name, equinv_dtype expected);

/* eqi_check_output or eqi_check_tensor of f32 or f64, and the one of them that a description names. */
equinv_status eqi_check_argument(const equinv_context *ctx, const equinv_tensor *tensor,
                                 const char *name, bool output, equinv_dtype dtype);

/* Exactly this shape. */
equinv_status eqi_check_shape(const equinv_tensor *tensor, const char *name, int32_t ndim,
                              const int64_t *shape);

/* Same shape as another tensor. */
equinv_status eqi_check_same_shape(const equinv_tensor *tensor, const char *name,
                                   const equinv_tensor *other, const char *other_name);

/*
 * Checks and normalises a feature map: `tensor` is [N, F, G, H, W] = shape, or [N, F G, H, W]; *map is
 * the five-axis view. The tensor itself must have passed eqi_check_tensor.
 */
equinv_status eqi_check_map(const equinv_tensor *tensor, const char *name, const int64_t shape[5],
                            equinv_tensor *map);

/* The memory of an output and of an input must not overlap (empty ones never do). */
equinv_status eqi_check_disjoint(const equinv_tensor *output, const char *output_name,
                                 const equinv_tensor *input, const char *input_name);

/* As above, but the identical view (same data, shape, strides) is allowed: in place. */
equinv_status eqi_check_disjoint_or_same(const equinv_tensor *output, const char *output_name,
                                         const equinv_tensor *input, const char *input_name);

/* A description's extent: within minimum .. 2^40. The name is that of the member. */
equinv_status eqi_check_extent(int64_t value, const char *name, int64_t minimum);

/* Bit of a dtype for the masks above; 0 for BF16 and unknown ones. */
unsigned eqi_dtype_bit(equinv_dtype dtype);

/* Checked product of n factors >= 0; SHAPE names `what` on overflow of int64. */
equinv_status eqi_product_of(const char *what, int n, const int64_t *factors, int64_t *product);

/* Whether elements lie in row-major order without gaps. */
bool eqi_is_contiguous(const equinv_tensor *tensor);

/*
 * The tensor without gaps in row-major order: itself, or a copy that `owned` receives (else it is left
 * alone). packed may be tensor. NOMEM.
 */
equinv_status eqi_tensor_pack(const equinv_context *ctx, const equinv_tensor *tensor,
                              equinv_tensor *packed, equinv_tensor *owned);

/* Text of a shape, "[2, 3]", into text; returns text. */
const char *eqi_shape_text(int32_t ndim, const int64_t *shape, char *text, size_t size);

/* Offset of an element of a five-axis map. */
EQI_INLINE int64_t eqi_offset5(const equinv_tensor *t, int64_t n, int64_t f, int64_t g, int64_t y,
                               int64_t x)
{
    return n * t->strides[0] + f * t->strides[1] + g * t->strides[2] + y * t->strides[3] +
           x * t->strides[4];
}

/* Whether the axes from `axis` on lie row-major without gaps. */
EQI_INLINE bool eqi_is_dense(const equinv_tensor *t, int axis)
{
    int64_t step = 1;
    for (int i = t->ndim - 1; i >= axis; step *= t->shape[i--])
        if (t->shape[i] > 1 && t->strides[i] != step)
            return false;
    return true;
}

/* Element access of the reference code: F32 and F64, always seen as double. */
EQI_INLINE double eqi_load(const equinv_tensor *t, int64_t offset)
{
    return t->dtype == EQUINV_F32 ? (double)((const float *)t->data)[offset]
                                  : ((const double *)t->data)[offset];
}

EQI_INLINE void eqi_store(const equinv_tensor *t, int64_t offset, double value)
{
    if (t->dtype == EQUINV_F32)
        ((float *)t->data)[offset] = (float)value;
    else
        ((double *)t->data)[offset] = value;
}

/* eqi_store, or adding to what is there. */
EQI_INLINE void eqi_put(const equinv_tensor *t, int64_t offset, double value, bool accumulate)
{
    eqi_store(t, offset, accumulate ? eqi_load(t, offset) + value : value);
}

/* Offset of the element with row-major number `index`; slow, for loops over any shape. */
int64_t eqi_offset_of(const equinv_tensor *tensor, int64_t index);

/* A view of the same elements in the same order with as few axes as possible, one or none where they lie evenly. */
equinv_tensor eqi_joined(const equinv_tensor *tensor);

#endif
