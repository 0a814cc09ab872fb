/* Element types as files store them, their conversion, and the walk over strided memory. */
#include "internal/file.h"

#include <math.h>
#include <string.h>

const eqi_stored_type eqi_stored_types[] = {
    [EQI_STORED_BOOL] = {"bool", 1, EQUINV_U8}, [EQI_STORED_I8] = {"i8", 1, EQUINV_I32},
    [EQI_STORED_U8] = {"u8", 1, EQUINV_U8},     [EQI_STORED_I16] = {"i16", 2, EQUINV_I32},
    [EQI_STORED_U16] = {"u16", 2, EQUINV_I32},  [EQI_STORED_I32] = {"i32", 4, EQUINV_I32},
    [EQI_STORED_U32] = {"u32", 4, EQUINV_U32},  [EQI_STORED_I64] = {"i64", 8, EQUINV_I32},
    [EQI_STORED_U64] = {"u64", 8, EQUINV_I32},  [EQI_STORED_F32] = {"f32", 4, EQUINV_F32},
    [EQI_STORED_F64] = {"f64", 8, EQUINV_F64},  [EQI_STORED_F16] = {"f16", 2, 0},
    [EQI_STORED_BF16] = {"bf16", 2, 0},         [EQI_STORED_F8] = {"f8", 1, 0},
};

equinv_status eqi_array_measure(const char *name, eqi_array *array)
{
    char shape[192];
    const int64_t widest = 8;
    int64_t bytes = widest;
    bool empty = false;
    for (int32_t i = 0; i < array->ndim; i++)
        empty |= array->shape[i] == 0;
    for (int32_t i = 0; i < array->ndim && !empty; i++)
        EQI_CHECK(!__builtin_mul_overflow(bytes, array->shape[i], &bytes), FORMAT,
                  "%s has shape %s, more than the address space", name,
                  eqi_shape_text(array->ndim, array->shape, shape, sizeof shape));
    array->count = empty ? 0 : bytes / widest;
    array->bytes = array->count * eqi_stored_types[array->stored].size;
    return EQUINV_OK;
}

void eqi_swap_bytes(void *elements, int64_t n, int64_t size)
{
    unsigned char *p = elements;
    for (int64_t i = 0; i < n; i++, p += size)
        for (int64_t k = 0; k < size / 2; k++) {
            const unsigned char byte = p[k];
            p[k] = p[size - 1 - k];
            p[size - 1 - k] = byte;
        }
}

/* The loops of a conversion from one C type. Adding 0 asks whether an integer fits the other type. */
#define INTEGER_LOOP(type, to)                                                                     \
    for (int64_t i = 0; i < n; i++)                                                                \
        if (__builtin_add_overflow(((const type *)raw)[i], 0, (to *)block + i)) {                  \
            *value = (double)((const type *)raw)[i];                                               \
            return i;                                                                              \
        }
#define REAL_LOOP(type, to)                                                                        \
    for (int64_t i = 0; i < n; i++)                                                                \
        ((to *)block)[i] = (to)((const type *)raw)[i];
#define ROUNDING_LOOP(type, to, low, high)                                                         \
    for (int64_t i = 0; i < n; i++) {                                                              \
        const double rounded = rint((double)((const type *)raw)[i]);                               \
        if (!(rounded >= (double)(low) && rounded <= (double)(high))) {                            \
            *value = (double)((const type *)raw)[i];                                               \
            return i;                                                                              \
        }                                                                                          \
        ((to *)block)[i] = (to)rounded;                                                            \
    }

#define FROM_INTEGER(name, type)                                                                   \
    static int64_t name(const void *raw, int64_t n, equinv_dtype dtype, void *block,               \
                        double *value)                                                             \
    {                                                                                              \
        switch (dtype) {                                                                           \
        case EQUINV_F32: REAL_LOOP(type, float) break;                                             \
        case EQUINV_F64: REAL_LOOP(type, double) break;                                            \
        case EQUINV_I32: INTEGER_LOOP(type, int32_t) break;                                        \
        case EQUINV_U8: INTEGER_LOOP(type, uint8_t) break;                                         \
        default: INTEGER_LOOP(type, uint32_t) break;                                               \
        }                                                                                          \
        return -1;                                                                                 \
    }
#define FROM_REAL(name, type)                                                                      \
    static int64_t name(const void *raw, int64_t n, equinv_dtype dtype, void *block,               \
                        double *value)                                                             \
    {                                                                                              \
        switch (dtype) {                                                                           \
        case EQUINV_F32: REAL_LOOP(type, float) break;                                             \
        case EQUINV_F64: REAL_LOOP(type, double) break;                                            \
        case EQUINV_I32: ROUNDING_LOOP(type, int32_t, INT32_MIN, INT32_MAX) break;                 \
        case EQUINV_U8: ROUNDING_LOOP(type, uint8_t, 0, UINT8_MAX) break;                          \
        default: ROUNDING_LOOP(type, uint32_t, 0, UINT32_MAX) break;                               \
        }                                                                                          \
        return -1;                                                                                 \
    }

FROM_INTEGER(from_i8, int8_t)
FROM_INTEGER(from_u8, uint8_t)
FROM_INTEGER(from_i16, int16_t)
FROM_INTEGER(from_u16, uint16_t)
FROM_INTEGER(from_i32, int32_t)
FROM_INTEGER(from_u32, uint32_t)
FROM_INTEGER(from_i64, int64_t)
FROM_INTEGER(from_u64, uint64_t)
FROM_REAL(from_f32, float)
FROM_REAL(from_f64, double)

static int64_t from_bool(const void *raw, int64_t n, equinv_dtype dtype, void *block, double *value)
{
    for (int64_t i = 0; i < n; i++)
        if (((const uint8_t *)raw)[i] > 1) {
            *value = ((const uint8_t *)raw)[i];
            return i;
        }
    return from_u8(raw, n, dtype, block, value);
}

int64_t eqi_stored_convert(eqi_stored stored, const void *raw, int64_t n, equinv_dtype dtype,
                           void *block, double *value)
{
    static int64_t (*const from[])(const void *, int64_t, equinv_dtype, void *, double *) = {
        [EQI_STORED_BOOL] = from_bool, [EQI_STORED_I8] = from_i8,   [EQI_STORED_U8] = from_u8,
        [EQI_STORED_I16] = from_i16,   [EQI_STORED_U16] = from_u16, [EQI_STORED_I32] = from_i32,
        [EQI_STORED_U32] = from_u32,   [EQI_STORED_I64] = from_i64, [EQI_STORED_U64] = from_u64,
        [EQI_STORED_F32] = from_f32,   [EQI_STORED_F64] = from_f64,
    };
    return from[stored](raw, n, dtype, block, value);
}

eqi_cursor eqi_cursor_at_start(const equinv_tensor *tensor)
{
    return (eqi_cursor){.tensor = tensor, .at = tensor->data};
}

static void step(eqi_cursor *cursor, int64_t size)
{
    const equinv_tensor *const t = cursor->tensor;
    for (int32_t i = t->ndim - 1; i >= 0; i--) {
        if (++cursor->index[i] < t->shape[i]) {
            cursor->at += t->strides[i] * size;
            return;
        }
        cursor->index[i] = 0;
        if (t->shape[i] > 1)
            cursor->at -= (t->shape[i] - 1) * t->strides[i] * size;
    }
}

/* The size is a constant in each loop, so that memcpy is one instruction. */
#define MOVE_LOOP(size, to, from)                                                                  \
    for (int64_t i = 0; i < n; i++, b += (size), step(cursor, (size)))                             \
        memcpy(to, from, (size));

void eqi_cursor_scatter(eqi_cursor *cursor, const void *block, int64_t n)
{
    const char *b = block;
    switch (equinv_dtype_size(cursor->tensor->dtype)) {
    case 1: MOVE_LOOP(1, cursor->at, b) break;
    case 4: MOVE_LOOP(4, cursor->at, b) break;
    default: MOVE_LOOP(8, cursor->at, b) break;
    }
}

void eqi_cursor_gather(eqi_cursor *cursor, void *block, int64_t n)
{
    char *b = block;
    switch (equinv_dtype_size(cursor->tensor->dtype)) {
    case 1: MOVE_LOOP(1, b, cursor->at) break;
    case 4: MOVE_LOOP(4, b, cursor->at) break;
    default: MOVE_LOOP(8, b, cursor->at) break;
    }
}
