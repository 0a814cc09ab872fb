/* One way through a convolution that is itself a group convolution: forward, or backward data. */
#ifndef EQI_GFOURIER_PASS_H
#define EQI_GFOURIER_PASS_H

#include "gfourier.h"

/*
 * A plane as some taps read it: of one residue of rows, modulo the stride, every stride-th pixel from `row`
 * and `column` on (of src with its padding). In a narrow plane each column of the filter has a copy of its
 * own, of rows as long as those of dst. Else the copy serves all columns of one residue: its rows are
 * longer by the border, which the end of one row and the start of the next share, and the tile holds a
 * few pixels between the rows that dst has not.
 */
typedef struct eqi_gf_copy {
    int64_t row, column;
    int64_t rows;  /* of a whole band */
    int64_t start; /* floats from the field element's first one */
} eqi_gf_copy;

/*
 * Images of fewer pixels leave much of their last tile empty: several are taken together. In whole vectors that
 * is more than any other tile has.
 */
enum { EQI_GF_SMALL_PIXELS = 160, EQI_GF_TILE_MOST = EQI_GF_SMALL_PIXELS + 16 };

/* A tap v of the sum. Without elements in src, taps that the group exchanges are one. */
typedef struct eqi_gf_tap {
    eqi_pixel at;
    double share; /* of psi: 1 / how many elements leave the tap alone; 1 where src has elements */
} eqi_gf_tap;

/*
 * Taps of one axis: number i of them is tap first + i every of the filter, and reads pixel
 * i gap - padding on from the one where dst's pixel stands. Padding may be negative: the border is cut off.
 */
typedef struct eqi_gf_axis {
    int64_t first, taps, padding;
} eqi_gf_axis;

/*
 * Images abreast: as many as a vector has lanes stand side by side, one in each. A plane has a copy for each
 * residue, whose rows have all of their border, and its pixels are vectors; tiles are rows of them without gaps.
 * Taps, strides and short rows then cost nothing, but a map is turned on its way in and out.
 */
typedef struct eqi_gf_pass {
    equinv_group group;
    const eqi_gf_kernels *kernels;
    const eqi_gf_form *form;
    eqi_gf_kind kind;
    int64_t fields_in, fields_out;
    int64_t elements; /* of a field of src: |G|, or 1 (lifting) */
    int64_t split_in,
        split_out; /* so many fields here are the elements of one field of the map, or 1 */
    int64_t batch, height, width, out_height, out_width;
    int64_t stride;
    int64_t step, row_of_first,
        column_of_first; /* pixels of dst are every step-th of the map's, from there */
    bool circular, accumulate;
    int64_t kernel, taps;
    eqi_gf_axis rows, columns;
    int64_t every, gap;
    int64_t threads; /* that should find work */
    bool abreast;
    bool gradient;       /* of the filter, and dst is read */
    double cost;         /* of an image */
    int64_t map_pixels;  /* of dst, with those of other classes */
    int64_t images;      /* at a time, if they are small: then one tile holds all their pixels .. */
    int64_t band, bands; /* .. or rows of dst of one, and how many such bands */
    int64_t chunk;       /* fields of src whose planes are held at a time .. */
    int64_t part;        /* .. and those that are transformed at a time */
    int64_t vectors, pitch;                 /* of a row of P^ and dst^; pitch in floats */
    int64_t pixel;                          /* floats of one: abreast the lanes, else 1 */
    int64_t tile_rows, tile_columns;        /* pixels of dst, abreast */
    bool narrow;                            /* planes are */
    int64_t row, tail;                      /* floats of a plane's row; zeros behind the last */
    int64_t copies, run;                    /* copies of a plane, floats of all of them .. */
    int64_t element;                        /* .. and for all images */
    bool misses;                            /* an element or the other misses a tap's pixels .. */
    int64_t field;                          /* .. and reads zeros, behind the field's elements */
    size_t planes_size, hat_size, out_size; /* bytes of a thread */
    int64_t stage_rows;                     /* of dst, abreast: turned back at a time */
    size_t stage_size;
    eqi_gf_tap *tap;    /* [taps] */
    eqi_gf_copy *copy;  /* [copies] */
    int64_t *place;     /* [height][width], abreast: in the planes of src */
    int64_t *in;        /* [taps][inputs] */
    int64_t *row_at;    /* [part][taps]: of the rows of P^ */
    size_t filter_size; /* bytes of the packed filter */
} eqi_gf_pass;

/* A band of one image, or several images, at work in one thread. */
typedef struct eqi_gf_band {
    const eqi_gf_pass *pass;
    const equinv_tensor *src, *dst;
    const float *filter, *bias;
    const eqi_conv_finish *finish;
    int64_t image, images, row, rows; /* of dst */
    float *planes, *hat[2], *out, *stage;
} eqi_gf_band;

/* Pixels in a tile for `rows` rows of one image. */
int64_t eqi_gf_pixels(const eqi_gf_pass *p, int64_t rows);

/* A tile: where in each plane it begins, floats of all its runs, which are `run` floats apart in the plane. */
typedef struct eqi_gf_tile {
    int64_t number, pixel, pixels, runs, run;
    int64_t row, column, rows, columns; /* of dst, abreast */
} eqi_gf_tile;

/* Tile number i of the band; false where there are no more. */
bool eqi_gf_tile_at(const eqi_gf_band *b, int64_t i, eqi_gf_tile *t);

/* What taps read that miss the image, and abreast the border; nothing else is written there. */
void eqi_gf_clear_missing(const eqi_gf_pass *p, float *planes);

/* Abreast: a turn of pixels of a map with these strides, which its fields `image` and `row` follow; or back. */
void eqi_gf_turn_map(const eqi_gf_pass *p, eqi_gf_turn t, const int64_t *strides, bool apart);

/* The copies of the planes of `fields` fields of src. */
void eqi_gf_fill_planes(const eqi_gf_band *b, int64_t first, int64_t fields);

/* P^ of fields that the planes hold, from `first` of them on, for a tile: to be made. */
eqi_gf_transform eqi_gf_transform_of(const eqi_gf_band *b, int64_t first, int64_t fields,
                                     const eqi_gf_tile *tile, float *hat);

/*
 * Where the rows of P^ of such fields and pixels start, row_at from there on: in the planes themselves where
 * the group has one element and images are taken by themselves; else in `hat`, made by the transform.
 */
bool eqi_gf_is_plain(const eqi_gf_pass *p);
const float *eqi_gf_rows(const eqi_gf_band *b, int64_t first, int64_t pixel, const float *hat);

/* Task number i: which images and rows. */
void eqi_gf_band_set(eqi_gf_band *b, int64_t task);
int64_t eqi_gf_tasks(const eqi_gf_pass *p);

/* Sizes; tables get memory by eqi_gf_pass_fill. */
void eqi_gf_pass_size(eqi_gf_pass *pass);
size_t eqi_gf_pass_table_size(const eqi_gf_pass *pass);
void eqi_gf_pass_fill(eqi_gf_pass *pass, char *tables);
size_t eqi_gf_pass_slice(const eqi_gf_pass *pass);

/* The tap of an axis that tap t of the filter is; -1: none. */
int64_t eqi_gf_axis_tap(const eqi_gf_pass *pass, const eqi_gf_axis *axis, int64_t t);

/*
 * Transforms a filter. phi_v(a) of fields (o, i) stands at psi + o out + i in + place[v values + a], but
 * for the tap's share: the filter's own, or that of the adjoint.
 */
typedef struct eqi_gf_psi {
    const float *data;
    int64_t out, in;                 /* floats from field to field */
    int64_t element_out, element_in; /* which of the split fields this is for */
    int64_t *place;                  /* [taps][values] */
} eqi_gf_psi;
void eqi_gf_pass_pack(const eqi_gf_pass *pass, const eqi_gf_psi *psi, float *filter);

typedef struct eqi_gf_run {
    const eqi_gf_pass *pass;
    const float *filter, *bias;
} eqi_gf_run;

/*
 * All classes of pixels. Maps are [N, F, G, H, W]; scratch has a slice for each of the context's threads, the
 * largest of the classes'. finish may be NULL.
 */
void eqi_gf_pass_run(const equinv_context *ctx, const eqi_gf_run *runs, int64_t count,
                     const equinv_tensor *src, const eqi_conv_finish *finish,
                     const equinv_tensor *dst, void *scratch);

#endif
