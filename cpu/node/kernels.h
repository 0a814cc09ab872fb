/* Vector kernels of node layers in fp32, compiled for every level. */
#ifndef EQI_NODE_KERNELS_H
#define EQI_NODE_KERNELS_H

#include "internal/context.h"

/* Channels of working memory are padded with zeros to whole vectors of every level. */
enum { EQI_NODE_LANES = 16 };

static inline int64_t eqi_node_padded(int64_t channels)
{
    return (channels + EQI_NODE_LANES - 1) / EQI_NODE_LANES * EQI_NODE_LANES;
}

/*
 * The values of one sample, channels next to each other: those of its nodes (i, j) that are there, 0 <= i, j <
 * there, begin at data + row[i] + column[j]; of order 1 at data + row[i].
 */
typedef struct eqi_node_map {
    float *data;
    const int64_t *row, *column;
    int64_t there, channels;
    bool pairs, symmetric; /* symmetric: read as (x + x transposed) / 2 */
} eqi_node_map;

/*
 * Contractions come as a row [slots][padded] for each node, with slots node (the value, or that on the
 * diagonal), row, column, and one row [slots][padded] for the sample, with slots trace, all. Order 1 has the
 * slots node and all, symmetric maps have node, row and trace, all.
 */
enum { EQI_NODE_VECTORS = 3, EQI_NODE_NUMBERS = 2 };

/* Factors of the slots: of row and column, trace, all. */
typedef struct eqi_node_scale {
    float row, trace, all;
} eqi_node_scale;

typedef struct eqi_node_kernels {
    /* Sums, times their factors. */
    void (*contract)(const eqi_node_map *x, const eqi_node_scale *scale, float *vectors,
                     float *numbers);
    /*
     * Of the pairs i <= j with i in first .. last - 1, in that order: rows x_ij + x_ji, with x_ii times
     * `diagonal`, and of the pairs i < j: rows x_ij - x_ji (NULL: not wanted).
     */
    void (*fold)(const eqi_node_map *x, int64_t first, int64_t last, float diagonal, float *sums,
                 float *differences);
    /*
     * The way back, for the same pairs and both their places: y_ij = sum + difference + what vectors and
     * numbers say, times their factors; y_ji the same with the difference taken off. sums NULL: there are
     * none; differences NULL: as if 0. Order 1 has no pairs, first .. last are its nodes.
     */
    void (*place)(const eqi_node_map *y, const eqi_node_scale *scale, int64_t first, int64_t last,
                  const float *vectors, const float *numbers, const float *sums,
                  const float *differences, bool accumulate);
} eqi_node_kernels;

/* What a normalisation is told, parameters padded; `layer` or by channel. */
typedef struct eqi_node_norm_call {
    const float *gamma, *beta;
    float epsilon, slope;
} eqi_node_norm_call;

/* [0]: each place over its channels; [1]: each channel over the places. */
typedef struct eqi_node_norm_kernels {
    void (*forward[2])(const eqi_node_norm_call *call, const eqi_node_map *x,
                       const eqi_node_map *y);
    /* sums [2][padded]: of this sample, for gamma and beta. room: [16][padded] */
    void (*backward[2])(const eqi_node_norm_call *call, const eqi_node_map *x,
                        const eqi_node_map *g, const eqi_node_map *dx, float *sums, float *room);
} eqi_node_norm_kernels;

typedef struct eqi_node_map_kernels {
    /* y_ij = a_i b_j */
    void (*outer)(const eqi_node_map *a, const eqi_node_map *b, const eqi_node_map *y);
    /* da_i = sum_j g_ij b_j (plus sum_j g_ji a_j if db is NULL), db_j = sum_i g_ij a_i */
    void (*outer_backward)(const eqi_node_map *a, const eqi_node_map *b, const eqi_node_map *g,
                           const eqi_node_map *da, const eqi_node_map *db);
    /*
     * Sums over the nodes or the diagonal, and (pairs) over all else, times their factors, into rows [channels]
     * of dst. There is at least one place.
     */
    void (*sum)(const eqi_node_map *x, const float *factor, float *const *dst);
    /* The way back. */
    void (*spread)(const eqi_node_map *dx, const float *factor, const float *const *g,
                   bool accumulate);
} eqi_node_map_kernels;

extern const eqi_node_kernels eqi_node_kernels_scalar, eqi_node_kernels_avx2,
    eqi_node_kernels_avx512;
extern const eqi_node_norm_kernels eqi_node_norm_kernels_scalar, eqi_node_norm_kernels_avx2,
    eqi_node_norm_kernels_avx512;
extern const eqi_node_map_kernels eqi_node_map_kernels_scalar, eqi_node_map_kernels_avx2,
    eqi_node_map_kernels_avx512;

#endif
