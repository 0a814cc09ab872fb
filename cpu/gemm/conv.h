/* What the files of the convolution as products of matrices share; conv.c says how it goes. */
#ifndef EQI_GEMM_CONV_H
#define EQI_GEMM_CONV_H

#include "conv_turn.h"
#include "cpu/gfourier/gfourier.h"
#include "internal/arithmetic.h"
#include "internal/conv.h"

/* ---- geometry: conv_side.c ----------------------------------------------------------------------- */

/* A pass that reads patches of one map and writes the positions of another. */
typedef struct eqi_conv_side {
    const eqi_conv_kernels *kernels;
    const eqi_gf_kernels *copies;
    bool backward;
    int64_t channels, elements, height, width; /* of the map that is read */
    int64_t outputs, output_elements;
    int64_t group_channels, group_outputs; /* in one channel group */
    int64_t patch;                         /* rows of one group's bank: channels x taps */
    int64_t pitch;                         /* numbers from row to row of the bank .. */
    int64_t matrix_pitch;                  /* .. and of a tile's matrix [pixel][output] */
    int64_t first, rows, columns; /* positions first .. first + rows - 1, and so for columns */
    int64_t step;                 /* positions of a class are step apart .. */
    int64_t move;                 /* .. and their patches this many buffer rows */
    int64_t margin;               /* buffer row b of the image is its row b - margin */
    int64_t reach;                /* largest offset of a tap on an axis */
    int64_t origin;               /* position z is row z - origin of the map written */
    bool wrap_in, wrap_out;
    bool inside; /* patches never leave the map: the buffer has its planes, or it is the buffer */
    int64_t images, band; /* of a tile: several images whole, or one image's rows */
    int64_t buffer_rows, buffer_columns;
    int64_t *pixels, *taps; /* offsets into the buffer, class after class */
    int64_t *places;        /* of the same pixels in the matrix, which has them row by row */
} eqi_conv_side;

/* Without the tables of offsets. */
eqi_conv_side eqi_conv_forward_side(const eqi_conv_problem *p, const eqi_hardware *hardware);
eqi_conv_side eqi_conv_backward_side(const eqi_conv_problem *p, const eqi_hardware *hardware);

/* Numbers in the tables, and writing them from `table` on. */
int64_t eqi_conv_side_entries(const eqi_conv_side *s);
void eqi_conv_side_fill(eqi_conv_side *s, const equinv_conv_desc *d, int64_t *table);

/* Rows of bank and matrix reach to whole cache lines; with several channel groups those of the bank do not. */
EQI_INLINE bool eqi_conv_is_padded(const eqi_conv_side *s)
{
    return s->pitch == s->matrix_pitch;
}

/* A tile is whole images. */
EQI_INLINE bool eqi_conv_is_whole(const eqi_conv_side *s)
{
    return s->band == s->rows;
}

/* Elements of the buffer between two channels. */
EQI_INLINE int64_t eqi_conv_plane(const eqi_conv_side *s)
{
    return s->inside ? s->height * s->width : s->buffer_rows * s->buffer_columns;
}

/* Positions of one residue modulo step, on both axes, and where its share of the tables begins. */
typedef struct eqi_conv_class {
    int64_t dy, dx;               /* they begin so much after the first */
    int64_t pixel, tap;           /* in the tables */
    int64_t taps_y, taps_x, taps; /* taps counts the channels of a group too */
} eqi_conv_class;

/* for (eqi_conv_class c = eqi_conv_before_first; eqi_conv_next_class(s, d, &c);) */
static const eqi_conv_class eqi_conv_before_first = {.taps = -1};
bool eqi_conv_next_class(const eqi_conv_side *s, const equinv_conv_desc *d, eqi_conv_class *c);

/* Positions of a class, `delta` after the first one of `size`, on one axis. */
EQI_INLINE int64_t eqi_conv_class_positions(const eqi_conv_side *s, int64_t delta, int64_t size)
{
    return delta < size ? eqi_divide_up(size - delta, s->step) : 0;
}

/* Whether positions of a class read tap t of one axis. */
EQI_INLINE bool eqi_conv_class_has_tap(const eqi_conv_side *s, const equinv_conv_desc *d,
                                       int64_t delta, int64_t t)
{
    return d->dilation * t % s->step == (s->first + delta) % s->step;
}

/* ---- a tile at work: conv_side.c ----------------------------------------------------------------- */

/*
 * Columns of a matrix are the outputs by (channel group, element, field): where each stands in a map, and its
 * bias, both in one piece of `size` bytes.
 */
typedef struct eqi_conv_columns {
    int64_t *at; /* [outputs], from an image's first number */
    void *bias;  /* [outputs], or NULL */
} eqi_conv_columns;

size_t eqi_conv_columns_size(const eqi_conv_side *s, equinv_dtype dtype);
eqi_conv_columns eqi_conv_columns_in(const eqi_conv_side *s, const equinv_tensor *map,
                                     const equinv_tensor *bias, char *memory);

/* Some images whole, or rows of one. */
typedef struct eqi_conv_tile {
    int64_t image, images, y, rows;
} eqi_conv_tile;

/* What a lane of the pool works in: the product's workspace, the buffer, [pixel][output]. */
typedef struct eqi_conv_lane {
    void *workspace, *buffer, *matrix;
} eqi_conv_lane;

size_t eqi_conv_lane_size(const eqi_conv_side *s, equinv_dtype dtype);
eqi_conv_lane eqi_conv_lane_of(const eqi_conv_side *s, equinv_dtype dtype, char *memory);

/* What the patches of a tile read of a map, with its border: in the buffer, or where it stands in the map. */
const void *eqi_conv_fetch_tile(const eqi_conv_side *s, const equinv_tensor *map,
                                const eqi_conv_tile *t, void *buffer);

EQI_INLINE void *eqi_conv_element(const void *base, equinv_dtype dtype, int64_t index)
{
    return (char *)base + index * (int64_t)equinv_dtype_size(dtype);
}

/* ---- backward data tap by tap: conv_taps.c --------------------------------------------------------- */

typedef struct eqi_conv_taps {
    bool used;
    int64_t windows, channels;   /* of diff_dst: in an image; numbers in a window */
    int64_t outputs;             /* of diff_src */
    int64_t band, band_windows;  /* rows of diff_src at a time, rows of windows that they need */
    int64_t pitch;               /* of a tap's shares in such windows */
    size_t bank_size, lane_size; /* bytes */
    eqi_conv_residue residue[EQI_CONV_STEP];
} eqi_conv_taps;

/* Where diff_src has few channels and the level gains. */
eqi_conv_taps eqi_conv_taps_of(const eqi_conv_problem *p, const eqi_hardware *hardware);
double eqi_conv_taps_ns(const eqi_conv_problem *p, int64_t lanes); /* for an image, about */
void eqi_conv_fill_taps_bank(const eqi_conv_problem *p, const eqi_conv_taps *t,
                             const equinv_tensor *psi, void *bank);

/* ---- plan: conv.c -------------------------------------------------------------------------------- */

typedef struct eqi_conv_gemm_plan {
    eqi_conv_side forward, backward;
    eqi_conv_taps taps;
    int64_t lanes;         /* threads that find work */
    int64_t parts, blocks; /* of the gradient of the bank: of its sum, and of its rows */
    int64_t *entry; /* [psi[o, i], row-major][|G|]: where the bank has it, from i's first number */
    size_t bank_size, lane_size;         /* bytes */
    size_t bias_size, weights_lane_size; /* of the gradient: a part's, and a lane */
} eqi_conv_gemm_plan;

/* Runs tasks on the pool, or here where the whole problem is too small for it. */
void eqi_conv_share_out(const eqi_conv_plan *plan, int64_t count, equinv_task task, void *arg);

/* ---- the bank: conv_bank.c ----------------------------------------------------------------------- */

/* bank[group][row of the patch][output of the group], rows in the order of the table of taps. */
void eqi_conv_fill_bank(const eqi_conv_problem *p, const eqi_conv_side *s, const equinv_tensor *psi,
                        void *bank);

/* ---- forward and backward data: conv_data.c ------------------------------------------------------ */

size_t eqi_conv_data_scratch(const eqi_conv_gemm_plan *g, equinv_dtype dtype);
void eqi_conv_run_side(const eqi_conv_plan *plan, const eqi_conv_side *s, const equinv_tensor *from,
                       const eqi_conv_weights *weights, const equinv_tensor *bias,
                       const equinv_tensor *to, void *scratch);

void eqi_conv_run_taps(const eqi_conv_plan *plan, const equinv_tensor *diff_dst,
                       const eqi_conv_weights *weights, const equinv_tensor *bias,
                       const equinv_tensor *diff_src, void *scratch);

/* ---- backward weights: conv_weights.c ------------------------------------------------------------ */

/* Chooses parts and blocks, for a plan that has its sides and sizes; numbers in its table, and writing them. */
void eqi_conv_choose_parts(const eqi_conv_problem *p, eqi_conv_gemm_plan *g);
int64_t eqi_conv_entries(const eqi_conv_problem *p);
void eqi_conv_fill_entries(const eqi_conv_problem *p, eqi_conv_gemm_plan *g);
size_t eqi_conv_weights_scratch(const eqi_conv_problem *p, const eqi_conv_gemm_plan *g);
size_t eqi_conv_weights_lane(const eqi_conv_problem *p, const eqi_conv_gemm_plan *g);
equinv_status eqi_conv_gemm_backward_weights(const eqi_conv_plan *plan, const equinv_tensor *src,
                                             const equinv_tensor *diff_dst,
                                             const equinv_tensor *diff_psi,
                                             const equinv_tensor *diff_bias, void *scratch);

#endif
