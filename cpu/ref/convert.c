#include "ref.h"

#include <math.h>

static double load_any(const equinv_tensor *t, int64_t offset)
{
    switch (t->dtype) {
    case EQUINV_I32: return ((const int32_t *)t->data)[offset];
    case EQUINV_U8: return ((const uint8_t *)t->data)[offset];
    case EQUINV_U32: return ((const uint32_t *)t->data)[offset];
    default: return eqi_load(t, offset);
    }
}

/* Whether an element type holds the value, rounded if it is an integer type. */
static bool holds(equinv_dtype dtype, double value)
{
    const double rounded = rint(value);
    switch (dtype) {
    case EQUINV_I32: return rounded >= INT32_MIN && rounded <= INT32_MAX;
    case EQUINV_U8: return rounded >= 0 && rounded <= UINT8_MAX;
    case EQUINV_U32: return rounded >= 0 && rounded <= UINT32_MAX;
    default: return true;
    }
}

static void store_any(const equinv_tensor *t, int64_t offset, double value)
{
    switch (t->dtype) {
    case EQUINV_I32: ((int32_t *)t->data)[offset] = (int32_t)rint(value); break;
    case EQUINV_U8: ((uint8_t *)t->data)[offset] = (uint8_t)rint(value); break;
    case EQUINV_U32: ((uint32_t *)t->data)[offset] = (uint32_t)rint(value); break;
    default: eqi_store(t, offset, value);
    }
}

/* No shift is added where there is none: it would make +0 of -0. */
static double scaled(double value, double scale, double shift)
{
    return shift == 0 ? value * scale : value * scale + shift;
}

/* The same numbers, without a question of types at each. */
static void convert_floats(int64_t count, const float *src, double scale, double shift, float *dst)
{
    for (int64_t i = 0; i < count; i++)
        dst[i] = (float)scaled((double)src[i], scale, shift);
}

/* dst = src scale + shift */
equinv_status eqi_ref_convert(const equinv_tensor *src, double scale, double shift,
                              const equinv_tensor *dst)
{
    const int64_t count = equinv_tensor_count(src);
    const bool plain = eqi_is_contiguous(src) && eqi_is_contiguous(dst);
    /* Values are checked before the first is written: a failure leaves dst as it was. */
    const bool may_not_fit = !(eqi_dtype_bit(dst->dtype) & EQI_FLOAT);
    for (int64_t i = 0; may_not_fit && i < count; i++) {
        const int64_t from = plain ? i : eqi_offset_of(src, i);
        const double value = scaled(load_any(src, from), scale, shift);
        EQI_CHECK(holds(dst->dtype, value), ARG,
                  "element %" PRId64 " becomes %g, expected a value that %s holds", i, value,
                  equinv_dtype_name(dst->dtype));
    }
    if (plain && src->dtype == EQUINV_F32 && dst->dtype == EQUINV_F32) {
        convert_floats(count, src->data, scale, shift, dst->data);
        return EQUINV_OK;
    }
    for (int64_t i = 0; i < count; i++) {
        const int64_t from = plain ? i : eqi_offset_of(src, i);
        const double value = scaled(load_any(src, from), scale, shift);
        store_any(dst, plain ? i : eqi_offset_of(dst, i), value);
    }
    return EQUINV_OK;
}
