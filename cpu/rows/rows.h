/* Sorting of up to EQI_ROWS_MOST rows by networks, several columns at once, one a lane. */
#ifndef EQI_CPU_ROWS_H
#define EQI_CPU_ROWS_H

#include "internal/context.h"

/* Rows of a tile, and columns at most. */
enum { EQI_ROWS_MOST = 64, EQI_LANES_MOST = 16 };

/*
 * What a level has. A tile is [EQI_ROWS_MOST][lanes]: the numbers of column l in rows 0 .. n-1 of lane l,
 * the rest is room. Numbers are special that comparisons alone do not put in order: NaN and -0.
 */
typedef struct eqi_row_kernels {
    int lanes;
    /* Sorts every column, none of whose numbers is special. */
    void (*sort)(float *tile, int n);
    void (*sort_f64)(double *tile, int n);
    /* tile[i][l] = src[l step + i], n >= 4; whether no number is special. */
    bool (*load)(const float *src, int64_t step, int n, float *tile);
    /* dst[l step + i] = tile[i][l], n >= 4 */
    void (*store)(const float *tile, int n, float *dst, int64_t step);
    bool (*is_plain)(const float *tile, int n);
    /*
     * tile[i][l] = scale sum_c z[i row + c channel] w[c][l], one chain of multiply-adds over c for every
     * number; whether none is special.
     */
    bool (*project)(const float *z, int64_t row, int64_t channel, int n, int64_t channels,
                    const float *w, float scale, float *tile);
} eqi_row_kernels;

extern const eqi_row_kernels eqi_row_kernels_scalar, eqi_row_kernels_avx2, eqi_row_kernels_avx512;

const eqi_row_kernels *eqi_row_kernels_of(const eqi_hardware *hardware);

/* A tile of numbers, and the room that eqi_sort_tile needs. */
typedef struct eqi_row_tile {
    float numbers[EQI_ROWS_MOST * EQI_LANES_MOST];
    double keys[EQI_ROWS_MOST * EQI_LANES_MOST];
    int32_t rows[EQI_ROWS_MOST * EQI_LANES_MOST]; /* the row at each place, if asked for */
} eqi_row_tile;

/*
 * Sorts the columns in the order of internal/sort.h, equal numbers by their row. plain: no number is
 * special. absent (NULL: none is): [n][lanes], non-zero where a row is not there; such ones go to the
 * end, with undefined numbers. with_rows fills tile->rows.
 */
void eqi_sort_tile(const eqi_row_kernels *kernels, eqi_row_tile *tile, int n, bool plain,
                   const uint8_t *absent, bool with_rows);

#endif
