/* Moving data between tensors of any strides and the tiles of cpu/gemm/conv.h, for both dtypes. */
#ifndef EQI_CONV_TILE_H
#define EQI_CONV_TILE_H

#include "conv.h"

/* Part of some images, widened by a border: tensor rows top .. top + rows - 1 and columns left .. */
typedef struct eqi_conv_border {
    int64_t image, images;
    int64_t top, left, rows, columns;
    bool wrap;            /* the image repeats; else zeros around it */
    int64_t channel_step; /* of the buffer, elements */
} eqi_conv_border;

/* buffer[image][channel][row][column] = that part of a five-axis map, rows without gaps. */
void eqi_conv_fetch(const equinv_tensor *map, const eqi_conv_border *border,
                    const eqi_gf_kernels *copies, void *buffer);

/* Pixels of some images in the order in which a matrix has them: image, row, column. */
typedef struct eqi_conv_pixels {
    int64_t image, images;
    int64_t y, x, rows, columns;
    bool wrap; /* pixels outside are those of the image that repeats */
} eqi_conv_pixels;

/* map[those pixels, all channels] (+)= matrix[pixel][column] + bias[column]. */
void eqi_conv_store(void *matrix, int64_t pitch, const eqi_conv_pixels *pixels,
                    const eqi_conv_columns *columns, bool add, const eqi_conv_kernels *kernels,
                    const equinv_tensor *map);

/* Zeros into all channels of some images. */
void eqi_conv_clear(const equinv_tensor *map, int64_t image, int64_t images);

/* matrix[pixel][column] = map[those pixels, all channels], which nothing repeats. */
void eqi_conv_gather(const equinv_tensor *map, const eqi_conv_pixels *pixels,
                     const eqi_conv_columns *columns, const eqi_conv_kernels *kernels, void *matrix,
                     int64_t pitch);

/* to[o o_step + i i_step] = psi[o, i, at], for `out` x `in` fields from field `first` on. */
typedef struct eqi_conv_spread {
    int64_t first, out, in;
    eqi_conv_place at;
    int64_t to, o_step, i_step;
} eqi_conv_spread;

void eqi_conv_expand(const equinv_tensor *psi, const eqi_conv_spread *spread, void *bank);

/* conv_turn.h's fold, for both dtypes. */
void eqi_conv_sum(equinv_dtype dtype, const eqi_conv_fold *fold, const eqi_conv_kernels *kernels);

/*
 * psi[o][row] (+)= rows[row - first][o], rows being all axes of psi but the first, in one; fields o stand at
 * at[o] from where psi's data is.
 */
typedef struct eqi_conv_psi_rows {
    void *rows;
    int64_t pitch, first, count, fields;
    const int64_t *at;
    bool add;
} eqi_conv_psi_rows;

void eqi_conv_put_psi(const equinv_tensor *psi, const eqi_conv_psi_rows *rows,
                      const eqi_conv_kernels *kernels);

#endif
