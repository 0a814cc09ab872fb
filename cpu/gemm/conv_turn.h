/* The kernels of the convolution by products, fp32: matrices of pixels to planes and back, sums over the group. */
#ifndef EQI_CONV_TURN_H
#define EQI_CONV_TURN_H

#include "internal/context.h"

#define EQI_CONV_TURNED 16 /* LANES at most */

/*
 * matrix [pixels][pitch] and the planes of its columns: pixels of column l follow each other from
 * map + at[l] on. In the matrix columns are taken in fours, and rows LANES at a time: what lies behind the
 * last ones, up to there, is read or written, and has no meaning.
 */
typedef struct eqi_conv_turn {
    float *matrix;
    int64_t pitch, pixels, columns;
    float *map;
    const int64_t *at;
    const float *bias; /* [columns], added on the way to the planes; NULL: none */
    bool accumulate;   /* planes += */
} eqi_conv_turn;

/*
 * The gradient of psi from that of the bank, which has been summed in `count` parts. Number r < period of
 * psi[o, i] is, for all fields o at once, the sum over u < order of the bank's entries from
 *     i step + entry[r order + u]
 * on. to[row][pitch] gets rows first .. first + rows - 1 of i period + r; pitch is a whole vector.
 */
typedef struct eqi_conv_fold {
    const void *parts;
    int64_t part, count;
    const int64_t *entry;
    int64_t order, period, step;
    int64_t first, rows, fields;
    void *to;
    int64_t pitch;
} eqi_conv_fold;

#define EQI_CONV_TAPS 16 /* the largest kernel .. */
#define EQI_CONV_STEP 4  /* .. and stride that are multiplied tap by tap */

/*
 * On one axis, of the pixels z = stride i + r: the taps t for which (z + padding - dilation t) / stride is a whole
 * number, and that number for i = 0: window number i more has z there.
 */
typedef struct eqi_conv_residue {
    int64_t taps, tap[EQI_CONV_TAPS], window[EQI_CONV_TAPS];
} eqi_conv_residue;

/*
 * Rows of one plane of diff_src where each tap has been multiplied by itself. Tap (t_y, t_x) has its numbers for
 * `windows` rows of windows, from row `first` on, one row after the other from shares + (t_y kernel + t_x) pitch on.
 * A pixel becomes bias + the sum of all that fall on it, column by column of the taps.
 */
typedef struct eqi_conv_shares {
    const float *shares;
    int64_t pitch, first, windows, across; /* windows in a row */
    int64_t kernel, stride;
    const eqi_conv_residue *residue; /* [stride] */
    float *map;                      /* of row y .. */
    int64_t row, pixel;              /* .. and numbers from there to the next row, pixel */
    int64_t y, rows, width;
    float bias;
    bool accumulate;
} eqi_conv_shares;

typedef struct eqi_conv_kernels {
    bool by_taps; /* backward data to few channels is faster one tap at a time */
    void (*to_planes)(const eqi_conv_turn *t);
    void (*to_matrix)(const eqi_conv_turn *t); /* columns up to the pitch become 0 */
    void (*fold)(const eqi_conv_fold *f);
    void (*add_shares)(const eqi_conv_shares *s);
} eqi_conv_kernels;

extern const eqi_conv_kernels eqi_conv_scalar;
#if defined(__x86_64__)
extern const eqi_conv_kernels eqi_conv_avx2, eqi_conv_avx512;
#endif

const eqi_conv_kernels *eqi_conv_kernels_of(const eqi_hardware *hardware);

#endif
