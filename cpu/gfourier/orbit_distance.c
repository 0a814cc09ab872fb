/*
 * Orbit distances of C_n and D_n in fp32:
 *     min_g |x - g y|^2 = |x|^2 + |y|^2 - 2 max_h <y, h x>,   g = h^-1,
 * orbits of inner products in Fourier form (cpu/gfourier/products.h) with y as templates and x as
 * latents. What products cannot decide is measured as the reference does it: elements that do
 * about equally well, and distances so small that the difference above would cancel. So the
 * element is the reference's always, the distance to fp32.
 *
 * With unit roundoff u, a product is off by at most
 *     u (2 (2 R + 2) + (4 sqrt |G| + 2) (n + 6)) |x| |y|,   R orbits of coordinates:
 * sums of 2 R products, and transforms whose coefficients are chains of n terms, summed in the
 * lengths of coefficients (Parseval) by Cauchy and Schwarz. And by underflow.
 */
#include <float.h>
#include <math.h>
#include <string.h>

#include "cpu/gemm/distance.h"
#include "cpu/gemm/gemm.h"
#include "cpu/gfourier/nearest.h"
#include "cpu/gfourier/products.h"
#include "internal/arithmetic.h"
#include "internal/rows.h"

enum {
    DIMENSION_MOST = 1 << 17, /* numbers: a block of y has up to 64 MiB then */
    WEIGHTS_BYTES = 8 << 20   /* of transformed y that are kept at a time, one block at least */
};

/* Lengths of a batch, in whole vectors and one more. */
typedef struct lengths {
    float *square, *length;
} lengths;

typedef struct job {
    const equinv_context *ctx;
    equinv_tensor x, y; /* row-major */
    const equinv_tensor *distance, *element;
    const eqi_orbit_visitor *visitor; /* bounds instead of distances; NULL: distances */
    int64_t order, dimension, field;
    const int32_t *places;  /* [G, G H W]: where g takes a number inside its field */
    const int32_t *inverse; /* of g */
    const int64_t *members;
    const float *zeros; /* a row of them */
    lengths of_x, of_y;
    eqi_orbit_weights weights;
    eqi_orbit_offsets offsets;
    const eqi_nearest_kernels *kernels;
    eqi_f32_distance *measure;
    int64_t first; /* of y, in the weights */
    double relative, at_least;
} job;

const eqi_nearest_kernels *eqi_nearest_kernels_of(const eqi_hardware *hardware)
{
    static const eqi_nearest_kernels *const kernels[] = {
        [EQI_ISA_SCALAR] = &eqi_nearest_scalar,
#if defined(__x86_64__)
        [EQI_ISA_AVX2] = &eqi_nearest_avx2,
        [EQI_ISA_AVX512] = &eqi_nearest_avx512,
#endif
    };
    return kernels[hardware->isa];
}

static const float *row_of(const job *j, const equinv_tensor *t, int64_t row)
{
    return (const float *)t->data + row * j->dimension;
}

/* ---- before products ------------------------------------------------------------------------- */

/* Lengths of x, then of y. */
static void measure_lengths(const void *arg, int64_t first, int64_t count, void *slice)
{
    const job *const j = arg;
    const int64_t of_x = j->x.shape[0];
    (void)slice;
    for (int64_t i = first; i < first + count; i++) {
        const bool x = i < of_x;
        const int64_t row = x ? i : i - of_x;
        const lengths *const to = x ? &j->of_x : &j->of_y;
        const double square = j->measure(row_of(j, x ? &j->x : &j->y, row), j->zeros, j->dimension);
        to->square[row] = square < (double)FLT_MAX ? (float)square : INFINITY; /* NaN too */
        to->length[row] = (float)sqrt(square);
    }
}

/* Blocks of 64 y. */
static void fill_blocks(const void *arg, int64_t first, int64_t count, void *slice)
{
    const job *const j = arg;
    for (int64_t i = first; i < first + count; i++)
        eqi_orbit_fill_block(&j->weights, row_of(j, &j->y, j->first), j->dimension, j->field,
                             j->members, 1, i * EQI_ORBIT_BLOCK, slice);
}

/* ---- a tile of x and a block of y ------------------------------------------------------------ */

typedef struct parts {
    eqi_orbit_tile of;
    eqi_undecided *undecided; /* [x]: bits of the block's y */
    int64_t *who;             /* [x]: those to be measured with one y */
    double *least;            /* [x], as the next two */
    float *enough;            /* the product of a member that may be the nearest */
    int32_t *nearest;
    float *distance; /* [y of the block] */
    int32_t *member;
    float *turned; /* g y */
    float *bounds; /* [x][y of the weights], as the next one: EQI_ORBIT_BOUNDS of them at most */
    int32_t *elements;
    void *room; /* the visitor's */
} parts;

/* From one x to the next: whole vectors. */
static int64_t bounds_step(const job *j)
{
    return j->weights.s.width;
}

static parts parts_of(const job *j, void *slice)
{
    const size_t rows = (size_t)j->weights.s.rows;
    char *rest = slice;
    parts t = {0};
    t.of = eqi_orbit_tile_take(&j->weights.s, &rest);
    t.undecided = eqi_take(&rest, rows * sizeof *t.undecided);
    t.who = eqi_take(&rest, rows * sizeof *t.who);
    t.least = eqi_take(&rest, rows * sizeof *t.least);
    t.enough = eqi_take(&rest, rows * sizeof *t.enough);
    t.nearest = eqi_take(&rest, rows * sizeof *t.nearest);
    t.distance = eqi_take(&rest, EQI_ORBIT_BLOCK * sizeof *t.distance);
    t.member = eqi_take(&rest, EQI_ORBIT_BLOCK * sizeof *t.member);
    t.turned = eqi_take(&rest, (size_t)j->dimension * sizeof *t.turned);
    if (j->visitor) {
        t.bounds = eqi_take(&rest, rows * (size_t)bounds_step(j) * sizeof *t.bounds);
        t.elements = eqi_take(&rest, rows * (size_t)bounds_step(j) * sizeof *t.elements);
        t.room = rest;
    }
    return t;
}

static size_t slice_size(const job *j, const eqi_orbit_shape *s)
{
    const size_t rows = (size_t)s->rows;
    const size_t compare =
        eqi_orbit_tile_size(s) +
        rows * (sizeof(eqi_undecided) + 2 * sizeof(int64_t) + 2 * sizeof(float)) +
        2 * EQI_ORBIT_BLOCK * sizeof(float) + (size_t)j->dimension * sizeof(float) +
        8 * EQI_ALIGNMENT;
    const size_t fill = eqi_orbit_fill_size(s);
    const size_t bounds = 2 * eqi_aligned(rows * (size_t)s->width * sizeof(float));
    return eqi_aligned(compare > fill ? compare : fill) +
           (j->visitor ? bounds + j->visitor->room_size : 0);
}

static float *distance_at(const job *j, int64_t row, int64_t y)
{
    const int64_t *const s = j->distance->strides;
    return (float *)j->distance->data + row * s[0] + y * s[1];
}

static int32_t *element_at(const job *j, int64_t row, int64_t y)
{
    const int64_t *const s = j->element->strides;
    return (int32_t *)j->element->data + row * s[0] + y * s[1];
}

static eqi_orbit_nearest nearest_of(const job *j, int64_t row, int64_t y, int64_t width,
                                    const float *products)
{
    return (eqi_orbit_nearest){.order = (int32_t)j->order,
                               .vectors = width / j->weights.s.lanes,
                               .step = width,
                               .values = products,
                               .x_square = j->of_x.square[row],
                               .x_length = j->of_x.length[row],
                               .y_square = j->of_y.square + y,
                               .y_length = j->of_y.length + y,
                               .relative = (float)j->relative,
                               .at_least = (float)j->at_least};
}

/* x_row and `count` y from number y on, whose products are [member][y]. */
static eqi_undecided compare_row(const job *j, const parts *t, int64_t row, int64_t y,
                                 int64_t count, int64_t width, const float *products)
{
    const uint64_t all = UINT64_MAX >> (EQI_ORBIT_BLOCK - count);
    eqi_orbit_nearest nearest = nearest_of(j, row, y, width, products);
    nearest.distance = t->distance;
    nearest.member = j->element ? t->member : NULL;
    const eqi_undecided undecided = j->kernels->distances(&nearest);
    float *const to = distance_at(j, row, y);
    if (j->distance->strides[1] == 1)
        memcpy(to, t->distance, (size_t)count * sizeof *to);
    else
        for (int64_t k = 0; k < count; k++)
            to[k * j->distance->strides[1]] = t->distance[k];
    for (int64_t k = 0; k < count && j->element; k++)
        *element_at(j, row, y + k) = j->inverse[t->member[k]];
    return (eqi_undecided){undecided.distance & all, undecided.member & all};
}

/* The same, `first` y from the weights' first: bounds of number b of the tile. */
static void bound_row(const job *j, const parts *t, int64_t first_row, int64_t b, int64_t first,
                      int64_t width, const float *products)
{
    const int64_t at = b * bounds_step(j) + first;
    eqi_orbit_nearest nearest = nearest_of(j, first_row + b, j->first + first, width, products);
    nearest.distance = t->bounds + at;
    nearest.member = t->elements + at;
    j->kernels->bounds(&nearest);
}

/* The least product with which a member may be the nearest; products that are not finite decide nothing. */
static float enough_of(const job *j, int64_t row, int64_t y, const float *products, int64_t step)
{
    float largest = products[0], sum = 0;
    for (int64_t h = 0; h < j->order; h++) {
        largest = products[h * step] > largest ? products[h * step] : largest;
        sum += products[h * step] * 0; /* NaN if one of them is not finite */
    }
    const double error =
        j->relative * (double)j->of_x.length[row] * (double)j->of_y.length[y] + j->at_least;
    return sum == 0 && error < (double)FLT_MAX ? largest - 2 * (float)error : -INFINITY;
}

/* Measures y number y, column k of its block, with those x for which something is undecided. */
static void measure_column(const job *j, const parts *t, int64_t first_row, int64_t rows, int64_t y,
                           int64_t k, int64_t width)
{
    const float *const column = t->of.tile + k;
    const int64_t step = j->order * width;
    const uint64_t bit = UINT64_C(1) << k;
    int64_t count = 0;
    for (int64_t b = 0; b < rows; b++)
        if ((t->undecided[b].distance | t->undecided[b].member) & bit) {
            t->enough[count] = enough_of(j, first_row + b, y, column + b * step, width);
            t->nearest[count] = -1;
            t->who[count++] = b;
        }
    for (int32_t g = 0; g < j->order; g++) {
        bool turned = false;
        for (int64_t i = 0; i < count; i++) {
            const int64_t b = t->who[i];
            if (column[b * step + j->inverse[g] * width] < t->enough[i])
                continue;
            if (!turned)
                j->kernels->turn(row_of(j, &j->y, y), j->places + g * j->field, j->field,
                                 j->dimension, t->turned);
            turned = true;
            const double d = j->measure(row_of(j, &j->x, first_row + b), t->turned, j->dimension);
            if (t->nearest[i] < 0 || d < t->least[i] || (isnan(d) && !isnan(t->least[i]))) {
                t->least[i] = d;
                t->nearest[i] = g;
            }
        }
    }
    for (int64_t i = 0; i < count; i++) {
        const int64_t b = t->who[i];
        if (t->undecided[b].distance & bit)
            *distance_at(j, first_row + b, y) = (float)sqrt(t->least[i]);
        if (j->element)
            *element_at(j, first_row + b, y) = t->nearest[i];
    }
}

static void compare_tile(const void *arg, int64_t first_row, int64_t rows, void *slice)
{
    const job *const j = arg;
    const eqi_orbit_shape *const s = &j->weights.s;
    const parts t = parts_of(j, slice);
    for (int64_t b = 0; b < rows; b++)
        eqi_orbit_transform_latent(&j->weights, row_of(j, &j->x, first_row + b), j->field,
                                   j->members, &t.of, t.of.hat + b * s->order * s->pitch);
    for (int64_t first = 0; first < s->templates; first += EQI_ORBIT_BLOCK) {
        const int64_t width = eqi_orbit_block_width(s, first), y = j->first + first;
        const int64_t count = eqi_smaller(width, s->templates - first);
        uint64_t undecided = 0;
        eqi_orbit_multiply(&j->ctx->hardware, &j->weights, &j->offsets, &t.of, rows, first);
        for (int64_t b = 0; b < rows; b++) {
            float *const row = t.of.tile + b * s->order * width;
            const eqi_orbit_transform back =
                eqi_orbit_transform_of_row(&j->weights, &t.of, width, row);
            j->weights.kernels->synthesise(&back);
            if (j->visitor) {
                bound_row(j, &t, first_row, b, first, width, row);
                continue;
            }
            t.undecided[b] = compare_row(j, &t, first_row + b, y, count, width, row);
            undecided |= t.undecided[b].distance | t.undecided[b].member;
        }
        for (int64_t k = 0; k < count; k++)
            if (undecided >> k & 1)
                measure_column(j, &t, first_row, rows, y + k, k, width);
    }
    if (j->visitor) {
        const eqi_orbit_bounds bounds = {.dtype = EQUINV_F32,
                                         .first_x = first_row,
                                         .count_x = rows,
                                         .first_y = j->first,
                                         .count_y = s->templates,
                                         .step = bounds_step(j),
                                         .least = t.bounds,
                                         .element = t.elements};
        j->visitor->found(j->visitor->arg, &bounds, t.room);
    }
}

/* ---- all pairs ------------------------------------------------------------------------------- */

/* Bytes of what a call keeps beside the slices. */
typedef struct sizes {
    size_t places, inverse, members, zeros, x, y, offsets, weights, slice, all;
} sizes;

static bool sizes_of(const job *j, const eqi_orbit_shape *s, int32_t threads, sizes *z)
{
    const size_t dimension = (size_t)j->dimension, vectors = EQI_ORBIT_BLOCK;
    *z = (sizes){
        .places = eqi_aligned((size_t)(j->order * j->field) * sizeof(int32_t)),
        .inverse = eqi_aligned((size_t)j->order * sizeof(int32_t)),
        .members = eqi_aligned((size_t)j->field * sizeof(int64_t)),
        .zeros = eqi_aligned(dimension * sizeof(float)),
        .x = eqi_aligned((size_t)j->x.shape[0] * sizeof(float)),
        .y = eqi_aligned(((size_t)j->y.shape[0] + vectors) * sizeof(float)),
        .offsets = eqi_orbit_offsets_size(s),
        .slice = slice_size(j, s),
    };
    return eqi_orbit_weights_size(s, &z->weights) &&
           !__builtin_mul_overflow(z->slice, (size_t)threads, &z->all) &&
           !__builtin_add_overflow(z->all,
                                   z->places + z->inverse + z->members + z->zeros + 2 * z->x +
                                       2 * z->y + z->offsets + eqi_aligned(z->weights),
                                   &z->all);
}

static void fill_tables(job *j, equinv_group group, int64_t height, int64_t width, int32_t *places,
                        int32_t *inverse, int64_t *members)
{
    for (int32_t g = 0; g < j->order; g++) {
        inverse[g] = eqi_inverse(group, g);
        for (int64_t a = 0; a < j->order; a++)
            for (int64_t q = 0; q < height * width; q++)
                *places++ = (int32_t)eqi_place(group, g, a, q / width, q % width, height, width);
    }
    eqi_orbit_members(group, height, width, &j->y, members);
}

/* In blocks of y. */
static equinv_status run(job *j, equinv_group group, const eqi_orbit_shape *s, char *rest,
                         const sizes *z)
{
    const int64_t a = j->x.shape[0], b = j->y.shape[0], threads = j->ctx->hardware.threads;
    int32_t *const places = eqi_take(&rest, z->places);
    int32_t *const inverse = eqi_take(&rest, z->inverse);
    int64_t *const members = eqi_take(&rest, z->members);
    j->zeros = eqi_take(&rest, z->zeros);
    j->of_x.square = eqi_take(&rest, z->x);
    j->of_x.length = eqi_take(&rest, z->x);
    j->of_y.square = eqi_take(&rest, z->y);
    j->of_y.length = eqi_take(&rest, z->y);
    j->offsets = eqi_orbit_offsets_init(s, eqi_take(&rest, z->offsets));
    EQI_TRY(eqi_orbit_weights_init(&j->ctx->hardware, group, s, eqi_take(&rest, z->weights),
                                   &j->weights));
    fill_tables(j, group, j->y.shape[3], j->y.shape[4], places, inverse, members);
    j->places = places, j->inverse = inverse, j->members = members;
    eqi_parallel_rows(j->ctx, a + b, (double)j->dimension / 4, 16, measure_lengths, j, NULL, 0);
    for (j->first = 0; j->first < b; j->first += s->templates) {
        eqi_orbit_shape *const now = &j->weights.s;
        now->templates = eqi_smaller(s->templates, b - j->first);
        now->width = eqi_divide_up(now->templates, s->lanes) * s->lanes;
        const int64_t blocks = eqi_divide_up(now->templates, EQI_ORBIT_BLOCK);
        eqi_parallel_rows(j->ctx, blocks, (double)(EQI_ORBIT_BLOCK * s->products * s->rank), 1,
                          fill_blocks, j, rest, z->slice);
        const double work = (double)(s->products * s->rank) * (double)now->templates / 8;
        eqi_parallel_rows(j->ctx, a, work, eqi_orbit_chunk(s, a, threads), compare_tile, j, rest,
                          z->slice);
    }
    return EQUINV_OK;
}

static equinv_status compare_all(const equinv_context *ctx, equinv_group group,
                                 const equinv_tensor *x, const equinv_tensor *y, job *j)
{
    const int64_t batch = y->shape[0];
    equinv_tensor own_x = {0}, own_y = {0};
    void *memory = NULL;
    sizes z = {0};
    equinv_status status;
    const int64_t fields = x->shape[1], pixels = x->shape[3] * x->shape[4];
    const eqi_orbit_shape one = eqi_orbit_shape_of(&ctx->hardware, group, fields, pixels, 1, false);
    const int64_t bytes = one.products * one.rank * (int64_t)sizeof(float);
    int64_t most = eqi_larger(1, WEIGHTS_BYTES / bytes / EQI_ORBIT_BLOCK) * EQI_ORBIT_BLOCK;
    most = j->visitor ? eqi_smaller(most, EQI_ORBIT_BOUNDS) : most;
    const eqi_orbit_shape s =
        eqi_orbit_shape_of(&ctx->hardware, group, fields, pixels, eqi_smaller(batch, most), false);
    const double u = (double)FLT_EPSILON / 2;
    j->ctx = ctx;
    j->kernels = eqi_nearest_kernels_of(&ctx->hardware);
    j->measure = eqi_f32_distance_of(&ctx->hardware);
    j->relative =
        u * (2 * (2 * (double)s.rank + 2) + (4 * sqrt((double)s.order) + 2) * ((double)s.n + 6));
    j->at_least = 4 * (double)(s.order * s.rank) * (double)FLT_MIN;
    EQI_TRY_GOTO(status, done, eqi_tensor_pack(ctx, x, &j->x, &own_x));
    EQI_TRY_GOTO(status, done, eqi_tensor_pack(ctx, y, &j->y, &own_y));
    if (!sizes_of(j, &s, ctx->hardware.threads, &z))
        status = eqi_fail(EQUINV_ERR_NOMEM, "orbit distances exceed the address space");
    EQI_TRY_GOTO(status, done, status);
    EQI_TRY_GOTO(status, done, eqi_alloc_zeroed(ctx, 1, z.all, "orbit distances", &memory));
    status = run(j, group, &s, memory, &z);
done:
    eqi_free(ctx, memory, z.all);
    equinv_tensor_destroy((equinv_context *)ctx, &own_y);
    equinv_tensor_destroy((equinv_context *)ctx, &own_x);
    return status;
}

/* Whether products decide; the sizes of the problem to j. */
static equinv_status begin(equinv_group group, const equinv_tensor *x, job *j, bool *decides)
{
    EQI_TRY(eqi_product_of("a field of x", 3, x->shape + 2, &j->field));
    EQI_TRY(eqi_product_of("a row of x", 4, x->shape + 1, &j->dimension));
    j->order = eqi_order(group);
    *decides = x->dtype == EQUINV_F32 && (j->visitor || j->distance->dtype == EQUINV_F32) &&
               group.kind != EQUINV_GROUP_TABLE && j->dimension > 0 &&
               j->dimension <= DIMENSION_MOST;
    return EQUINV_OK;
}

equinv_status eqi_gfourier_orbit_distance(const equinv_context *ctx, equinv_group group,
                                          const equinv_tensor *x, const equinv_tensor *y,
                                          const equinv_tensor *distance,
                                          const equinv_tensor *element)
{
    job j = {.distance = distance, .element = element};
    bool decides;
    if (x->shape[0] == 0 || y->shape[0] == 0)
        return EQUINV_OK;
    EQI_TRY(begin(group, x, &j, &decides));
    return decides ? compare_all(ctx, group, x, y, &j)
                   : eqi_gemm_orbit_distance(ctx, group, x, y, distance, element);
}

equinv_status eqi_gfourier_orbit_bounds(const equinv_context *ctx, equinv_group group,
                                        const equinv_tensor *x, const equinv_tensor *y,
                                        const eqi_orbit_visitor *visitor)
{
    job j = {.visitor = visitor};
    bool decides;
    if (x->shape[0] == 0 || y->shape[0] == 0)
        return EQUINV_OK;
    EQI_TRY(begin(group, x, &j, &decides));
    return decides ? compare_all(ctx, group, x, y, &j)
                   : eqi_gemm_orbit_bounds(ctx, group, x, y, visitor);
}
