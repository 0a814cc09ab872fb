/* Moving data between tensors of any strides and the tiles of cpu/gemm/conv.h, for both dtypes. */
#ifndef EQI_CONV_TILE_H
#define EQI_CONV_TILE_H

#include "internal/conv.h"

/* Part of some images, widened by a border: tensor rows top .. top + rows - 1 and columns left .. */
typedef struct eqi_conv_border {
    int64_t image, images;
    int64_t top, left, rows, columns;
    bool wrap;                      /* the image repeats; else zeros around it */
    int64_t channel_step, row_step; /* of the buffer, elements */
} eqi_conv_border;

/* buffer[image][channel][row][column] = that part of a five-axis map. */
void eqi_conv_fetch(const equinv_tensor *map, const eqi_conv_border *border, void *buffer);

/*
 * Pixels of some images in the order in which a tile has them: image, row, column; on an axis
 * first, first + step, .., or where the image repeats that modulo its size.
 */
typedef struct eqi_conv_pixels {
    int64_t image, images;
    int64_t y, x, step, rows, columns;
    bool wrap;
} eqi_conv_pixels;

/* map[those pixels, all channels] (+)= tile[pixel][channel] + bias[field]. */
void eqi_conv_store(const void *tile, int64_t row_step, const eqi_conv_pixels *pixels,
                    const equinv_tensor *bias, bool add, const equinv_tensor *map);

/* Zeros into all channels of some images. */
void eqi_conv_clear(const equinv_tensor *map, int64_t image, int64_t images);

/* matrix[pixel][channel] = map[those pixels, all channels]. */
void eqi_conv_gather(const equinv_tensor *map, const eqi_conv_pixels *pixels, void *matrix);

/* to[o o_step + i i_step] = psi[o, i, at], for `out` x `in` fields from field `first` on. */
typedef struct eqi_conv_spread {
    int64_t first, out, in;
    eqi_conv_place at;
    int64_t to, o_step, i_step;
} eqi_conv_spread;

void eqi_conv_expand(const equinv_tensor *psi, const eqi_conv_spread *spread, void *bank);

/* sums = sum of the parts in ascending order, for one block of the matrix that each of them is. */
typedef struct eqi_conv_block {
    int64_t parts, part_step;
    int64_t row, rows, row_step, column, columns;
} eqi_conv_block;

void eqi_conv_sum(equinv_dtype dtype, const void *parts, const eqi_conv_block *block, double *sums);

#endif
