/*
 * The order that networks do not know: a number that compares unequal to others but stands for one of
 * them and its row. A float leaves the last 29 bits of a double free; they take the row, so that all keys
 * differ and ascend first by number, then by row. Both zeros, infinities, NaN and absent rows become
 * numbers no float has.
 */
#include "rows.h"

#include <math.h>
#include <string.h>

const eqi_row_kernels *eqi_row_kernels_of(const eqi_hardware *hardware)
{
    static const eqi_row_kernels *const kernels[] = {
        [EQI_ISA_SCALAR] = &eqi_row_kernels_scalar,
#if defined(__x86_64__)
        [EQI_ISA_AVX2] = &eqi_row_kernels_avx2,
        [EQI_ISA_AVX512] = &eqi_row_kernels_avx512,
#endif
    };
    return kernels[hardware->isa];
}

static double key_of(float x, bool absent, int row)
{
    double key = (double)x;
    uint64_t bits;
    if (absent)
        key = 0x1p1002;
    else if (isnan(x))
        key = 0x1p1001;
    else if (isinf(x))
        key = x > 0 ? 0x1p1000 : -0x1p1000;
    else if (x == 0)
        key = 0x1p-1000;
    memcpy(&bits, &key, sizeof bits);
    bits |= (uint64_t)(key < 0 ? EQI_ROWS_MOST - 1 - row : row);
    memcpy(&key, &bits, sizeof key);
    return key;
}

static int row_of(double key)
{
    uint64_t bits;
    memcpy(&bits, &key, sizeof bits);
    const int row = (int)(bits & (EQI_ROWS_MOST - 1));
    return key < 0 ? EQI_ROWS_MOST - 1 - row : row;
}

static void sort_by_keys(const eqi_row_kernels *kernels, eqi_row_tile *tile, int n,
                         const uint8_t *absent)
{
    const int lanes = kernels->lanes;
    float numbers[EQI_ROWS_MOST * EQI_LANES_MOST];
    memcpy(numbers, tile->numbers, (size_t)(n * lanes) * sizeof *numbers);
    for (int i = 0; i < n; i++)
        for (int l = 0; l < lanes; l++)
            tile->keys[i * lanes + l] =
                key_of(numbers[i * lanes + l], absent && absent[i * lanes + l], i);
    kernels->sort_f64(tile->keys, n);
    for (int i = 0; i < n; i++)
        for (int l = 0; l < lanes; l++) {
            const int row = row_of(tile->keys[i * lanes + l]);
            tile->rows[i * lanes + l] = row;
            tile->numbers[i * lanes + l] = numbers[row * lanes + l];
        }
}

void eqi_sort_tile(const eqi_row_kernels *kernels, eqi_row_tile *tile, int n, bool plain,
                   const uint8_t *absent, bool with_rows)
{
    const int count = n * kernels->lanes;
    if (with_rows || !plain) {
        sort_by_keys(kernels, tile, n, absent);
        return;
    }
    for (int i = 0; absent && i < count; i++)
        if (absent[i])
            tile->numbers[i] = INFINITY;
    kernels->sort(tile->numbers, n);
}
