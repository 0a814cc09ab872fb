/* IDX headers (MNIST's format): 0, 0, type, number of axes, and the extents as big-endian uint32. */
#include "internal/file.h"

equinv_status eqi_idx_read_header(eqi_input *input, const unsigned char magic[4], eqi_array *array)
{
    static const struct {
        unsigned char code;
        eqi_stored stored;
    } types[] = {
        {0x08, EQI_STORED_U8},  {0x09, EQI_STORED_I8},  {0x0b, EQI_STORED_I16},
        {0x0c, EQI_STORED_I32}, {0x0d, EQI_STORED_F32}, {0x0e, EQI_STORED_F64},
    };
    enum { TYPES = sizeof types / sizeof *types };
    int row = 0;
    while (row < TYPES && types[row].code != magic[2])
        row++;
    EQI_CHECK(row < TYPES, FORMAT,
              "%s has IDX element type 0x%02x, expected 0x08, 0x09, 0x0b, 0x0c, 0x0d or 0x0e",
              input->name, magic[2]);
    array->stored = types[row].stored;
    array->swap =
        __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ && eqi_stored_types[array->stored].size > 1;
    array->ndim = magic[3];
    EQI_CHECK(array->ndim <= EQUINV_MAX_DIMS, UNSUPPORTED, "%s has %d axes, expected at most %d",
              input->name, magic[3], EQUINV_MAX_DIMS);
    for (int32_t i = 0; i < array->ndim; i++) {
        unsigned char b[4];
        EQI_TRY(eqi_input_need(input, b, sizeof b, "IDX header"));
        array->shape[i] =
            (int64_t)((uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3]);
    }
    return eqi_array_measure(input->name, array);
}
