/*
 * Orbits of inner products by the group Fourier transform, in fp32: what projections and orbit
 * distances share. Latents z and templates w fall into orbits of coordinates o = (pixel, field),
 * sequences over the group of members z_o(a), element a at the pixel that a takes there; then
 *     v[k, g] = s sum_o sum_a w_k,o(g a) z_o(a) = s <w_k, g z>
 * is a correlation over the group, in coefficients (cpu/gfourier/projection.h) one matrix product
 * an irreducible representation:
 *     sums     v^ = z^ w^
 *     C_n      (C, S) of v = (C, S) of z times [Cw Sw; Sw -Cw]
 *     D_n      V = W Z of 2 x 2, two rows of z^, its columns, a latent
 * with the factors 1 / |G| and 2 / |G| of the inverse and s in the transformed templates. |G|^2
 * products become 2 |G| - 2 or so (C_n) and 2 |G| - 4 (D_n, even n).
 *
 * A tile of latents is transformed, [latent][coefficient][orbit]; then block by block of templates
 * come the products, [latent][coefficient][template], and the inverse in place.
 *
 * Folded: the first sum alone is wanted, a product |G| times smaller.
 *
 * Products and transforms do the same for a latent and a template whatever stands beside them.
 */
#ifndef EQI_GFOURIER_PRODUCTS_H
#define EQI_GFOURIER_PRODUCTS_H

#include "cpu/gfourier/projection.h"

enum {
    EQI_ORBIT_BLOCK = 64,     /* templates in a block, whole vectors on every level */
    EQI_ORBIT_ROWS = 6,       /* of a tile of the product on every level but scalar */
    EQI_ORBIT_ROWS_LEAST = 12 /* of a tile: fewer would read the templates mostly for themselves */
};

/* What follows from the problem and the level. */
typedef struct eqi_orbit_shape {
    int64_t lanes, order, n, fields, pixels;
    bool folded;
    int64_t coefficients; /* of an orbit: |G|, or that one */
    int64_t halves;       /* columns of a pair's matrix: 1, D_n 2 */
    int64_t sums, pairs;  /* in a half */
    int64_t rank;         /* orbits of coordinates */
    int64_t pitch;        /* of a row of them; what is behind the last is room for whole vectors */
    int64_t templates, width; /* width: in whole vectors */
    int64_t products;         /* a template and orbit */
    int64_t rows;             /* of a tile */
} eqi_orbit_shape;

eqi_orbit_shape eqi_orbit_shape_of(const eqi_hardware *hardware, equinv_group group, int64_t fields,
                                   int64_t pixels, int64_t templates, bool folded);

/* ---- templates ------------------------------------------------------------------------------- */

typedef struct eqi_orbit_weights {
    eqi_orbit_shape s;
    const eqi_orbit_kernels *kernels;
    eqi_orbit_group group;
    /*
     * Block after block of templates; of each, the sums [orbit][template], then the pairs
     * [part of z^][orbit][part of v^][template].
     */
    float *blocks;
} eqi_orbit_weights;

/* Bytes behind an aligned address that the weights need; false if they overflow. */
bool eqi_orbit_weights_size(const eqi_orbit_shape *s, size_t *size);
/* Lays them out there and fills the tables of the transforms; the blocks are the caller's to fill. */
equinv_status eqi_orbit_weights_init(const eqi_hardware *hardware, equinv_group group,
                                     const eqi_orbit_shape *s, void *memory, eqi_orbit_weights *w);

/* Bytes of a slice for eqi_orbit_fill_block. */
size_t eqi_orbit_fill_size(const eqi_orbit_shape *s);
/*
 * The block that begins with template `first`, from templates `row` numbers apart, fields `field`
 * apart, with members [pixel][element] of a field; scaled.
 */
void eqi_orbit_fill_block(const eqi_orbit_weights *w, const float *templates, int64_t row,
                          int64_t field, const int64_t *members, double scale, int64_t first,
                          void *slice);

EQI_INLINE int64_t eqi_orbit_block_width(const eqi_orbit_shape *s, int64_t first)
{
    return s->width - first < EQI_ORBIT_BLOCK ? s->width - first : EQI_ORBIT_BLOCK;
}

EQI_INLINE float *eqi_orbit_block(const eqi_orbit_weights *w, int64_t first)
{
    return w->blocks + first * w->s.products * w->s.rank;
}

/* ---- a tile ---------------------------------------------------------------------------------- */

/* Where a tile's products read z^. */
typedef struct eqi_orbit_offsets {
    const int64_t *sum_rows, *pair_rows; /* for products of a sum and of a pair */
    const int64_t *columns;              /* [2][orbit] */
} eqi_orbit_offsets;

/* Bytes that they need, and their place there. */
size_t eqi_orbit_offsets_size(const eqi_orbit_shape *s);
eqi_orbit_offsets eqi_orbit_offsets_init(const eqi_orbit_shape *s, void *memory);

/* A slice's part. */
typedef struct eqi_orbit_tile {
    void *workspace;
    float *hat;    /* [latent][coefficient][orbit] */
    float *tile;   /* [latent][coefficient][template] */
    float *staged; /* one latent, [element][orbit] */
    float *room;
} eqi_orbit_tile;

size_t eqi_orbit_tile_size(const eqi_orbit_shape *s);
eqi_orbit_tile eqi_orbit_tile_take(const eqi_orbit_shape *s, char **slice);

/* Coefficients of a latent at z, [coefficient][orbit]. */
void eqi_orbit_transform_latent(const eqi_orbit_weights *w, const float *z, int64_t field,
                                const int64_t *members, const eqi_orbit_tile *t, float *hat);

/* Products of a tile's coefficients with a block's templates, representation by representation. */
void eqi_orbit_multiply(const eqi_hardware *hardware, const eqi_orbit_weights *w,
                        const eqi_orbit_offsets *offsets, const eqi_orbit_tile *t, int64_t rows,
                        int64_t first);
/*
 * The adjoint: gradients of a tile's coefficients, set by the first block and added to by the
 * others.
 */
void eqi_orbit_multiply_back(const eqi_hardware *hardware, const eqi_orbit_weights *w,
                             const eqi_orbit_tile *t, int64_t rows, int64_t first);

/*
 * The gradient of a block of templates, `width` in whole vectors, laid out as the block: numbers of it,
 * what a tile adds, and the coefficients of template t from the sum of all tiles.
 */
EQI_INLINE int64_t eqi_orbit_gradient_size(const eqi_orbit_shape *s, int64_t width)
{
    return s->products * s->rank * width;
}
void eqi_orbit_multiply_weights(const eqi_hardware *hardware, const eqi_orbit_shape *s,
                                const eqi_orbit_tile *t, int64_t rows, int64_t width,
                                float *gradient);
void eqi_orbit_take_template(const eqi_orbit_shape *s, const double *gradient, double scale,
                             int64_t width, int64_t t, float *hat);

/* The transform, in place, of one row of a tile, [coefficient or element][template]. */
eqi_orbit_transform eqi_orbit_transform_of_row(const eqi_orbit_weights *w, const eqi_orbit_tile *t,
                                               int64_t width, float *row);

/* Latents that a task takes, so that all threads have work where the batch is small. */
int64_t eqi_orbit_chunk(const eqi_orbit_shape *s, int64_t batch, int64_t threads);

/* ---- orbit distances --------------------------------------------------------------------------- */

/* As eqi_ref_orbit_distance, but that distances of fp32 are rounded otherwise; x and y on the CPU. */
equinv_status eqi_gfourier_orbit_distance(const equinv_context *ctx, equinv_group group,
                                          const equinv_tensor *x, const equinv_tensor *y,
                                          const equinv_tensor *distance,
                                          const equinv_tensor *element);
/* Of some x and some y: at [x][y], `step` from one x to the next. Whoever is told may change them. */
typedef struct eqi_orbit_bounds {
    equinv_dtype dtype; /* of x and of least */
    int64_t first_x, count_x, first_y, count_y, step;
    /* At most |x - g y|^2 for every g, less than the smallest by no more than products may be rounded; -inf: unknown. */
    void *least;
    int32_t
        *element; /* h of the least |h x - y|^2, as internal/distance.h has it too; -1: unknown */
} eqi_orbit_bounds;

/*
 * Called for all pairs in blocks, from several threads, but for one x after the other and by ascending y; room is
 * the thread's own, room_size bytes, a multiple of EQI_ALIGNMENT.
 */
typedef struct eqi_orbit_visitor {
    void (*found)(const void *arg, const eqi_orbit_bounds *bounds, void *room);
    const void *arg;
    size_t room_size;
} eqi_orbit_visitor;

enum { EQI_ORBIT_BOUNDS = 2048 }; /* y of a call, at most */

/* x and y on the CPU. */
equinv_status eqi_gfourier_orbit_bounds(const equinv_context *ctx, equinv_group group,
                                        const equinv_tensor *x, const equinv_tensor *y,
                                        const eqi_orbit_visitor *visitor);

#endif
