/*
 * Projections of C_n and D_n as matrix products, in tiles of rows that pass through the cache once.
 *
 * LINEAR, MEAN   <w_k, mean_g g z> = sum_o v_k[o] zs[o] over the orbits o of coordinates: zs is the sum
 *                of z over an orbit (|G| - 1 additions a number), v_k[o] = s / |G| sum of w_k over it.
 *                One product [rows, orbits] x [orbits, K], |G| times smaller than with all coordinates.
 *                Backward: [rows, K] x [K, orbits], every member of an orbit gets the same number.
 * other kinds    <w_k, g z> = sum_c (g^-1 w_k)[c] z[c]: one product with the turned templates
 *                [D, K |G|], latents read in place through offsets; the tile's orbits are reduced while
 *                they are in cache. Backward: coefficients [rows, K |G|] x turned templates.
 *
 * The turned templates are kept if they are small (TURNED_LIMIT), else turned again, block by block, in
 * every tile. Every number is one chain of multiply-adds over its coordinates in ascending order,
 * whatever tile its row is in: a row's bits do not depend on the batch.
 */
#include "gemm.h"

#include <string.h>

#include "cpu/ref/ref.h"
#include "internal/projection.h"
#include "internal/rows.h"
#include "projection_templates.h"

enum {
    TILE_ROWS = 192,         /* latents that share one packing of the templates: more leave L2 */
    TILE_BYTES = 1 << 20,    /* of anything else in a tile; L2 holds it */
    TURNED_COLUMNS = 512,    /* (template, element) pairs in a block, more for larger groups */
    TURNED_BYTES = 4 << 20,  /* of a block that is turned again in every tile */
    TURNED_LIMIT = 64 << 20, /* of turned templates that are kept */
};

typedef struct prepared {
    size_t size;     /* of this and what follows */
    bool folded;     /* LINEAR, MEAN */
    void *matrix;    /* folded: v [orbits, K]; else turned templates [D, K |G|]; NULL: too large */
    int32_t *turned; /* no matrix: [G, G H W], where (a, q) of g^-1 w stands inside w's field */
} prepared;

/* How a problem is cut; everything follows from the description. */
typedef struct tiling {
    int64_t rows;      /* of a tile */
    int64_t depth;     /* orbits or coordinates in a block */
    int64_t templates; /* in a block */
    size_t element;
} tiling;

static int64_t within(int64_t value, int64_t low, int64_t high)
{
    return value < low ? low : value > high ? high : value;
}

static bool is_folded(const equinv_projection *p)
{
    return p->desc.kind == EQUINV_PROJECT_LINEAR || p->desc.kind == EQUINV_PROJECT_MEAN;
}

static tiling tiling_of(const equinv_projection *p)
{
    tiling t = {.element = equinv_dtype_size(p->desc.dtype)};
    const int64_t numbers = TILE_BYTES / (int64_t)t.element;
    if (is_folded(p)) {
        t.rows = within(numbers / p->k, 8, TILE_ROWS);
        t.templates = p->k;
        t.depth = within(numbers / t.rows, 1, p->rank);
    } else {
        const int64_t columns = p->k * p->order; /* the backward pass holds all coefficients */
        t.rows = within(4 * numbers / columns, 8, TILE_ROWS);
        t.templates = within(TURNED_COLUMNS / p->order, 1, p->k);
        t.depth =
            within(TURNED_BYTES / (int64_t)t.element / (t.templates * p->order), 1, p->dimension);
    }
    return t;
}

static bool keeps_matrix(const equinv_projection *p)
{
    return is_folded(p) || p->k * p->dimension * p->order <=
                               TURNED_LIMIT / (int64_t)equinv_dtype_size(p->desc.dtype);
}

/* ---- templates ------------------------------------------------------------------------------ */

static void fill_turned(const equinv_projection *p, int32_t *turned)
{
    for (int32_t g = 0; g < p->order; g++)
        for (int64_t a = 0; a < p->order; a++)
            for (int64_t y = 0; y < p->desc.height; y++)
                for (int64_t x = 0; x < p->desc.width; x++)
                    *turned++ = (int32_t)eqi_place(p->desc.group, g, a, y, x, p->desc.height,
                                                   p->desc.width);
}

/* Rows first .. first+depth-1 of [D, K |G|], columns of the templates k0 .. k0+templates-1. */
static void turn_templates(const equinv_projection *p, const int32_t *turned, int64_t first,
                           int64_t depth, int64_t k0, int64_t templates, void *to)
{
    const int64_t field = p->dimension / p->desc.fields;
    const int64_t columns = templates * p->order;
    for (int64_t k = 0; k < templates; k++)
        for (int32_t g = 0; g < p->order; g++) {
            const int64_t column = k * p->order + g, w = (k0 + k) * p->dimension;
            int64_t base = first / field * field, c = first % field;
            for (int64_t i = 0; i < depth; i++) {
                const int64_t from = w + base + turned[g * field + c];
                if (p->desc.dtype == EQUINV_F32)
                    ((float *)to)[i * columns + column] = ((const float *)p->templates.data)[from];
                else
                    ((double *)to)[i * columns + column] =
                        ((const double *)p->templates.data)[from];
                if (++c == field) {
                    c = 0;
                    base += field;
                }
            }
        }
}

static void fold_templates(const equinv_projection *p, void *to)
{
    const equinv_tensor v = {.data = to, .dtype = p->desc.dtype};
    const int64_t pixels = p->desc.height * p->desc.width, field = p->order * pixels;
    for (int64_t k = 0; k < p->k; k++)
        for (int64_t o = 0; o < p->rank; o++) {
            const int64_t base = k * p->dimension + o / pixels * field, q = o % pixels;
            double sum = 0;
            for (int32_t h = 0; h < p->order; h++)
                sum += eqi_load(&p->templates,
                                base + eqi_place(p->desc.group, h, 0, q / p->desc.width,
                                                 q % p->desc.width, p->desc.height, p->desc.width));
            eqi_store(&v, o * p->k + k, sum * p->scale / p->order);
        }
}

static bool prepared_size(const equinv_projection *p, size_t *size, size_t *kept)
{
    const size_t pixels = (size_t)(p->desc.height * p->desc.width), order = (size_t)p->order;
    if (!keeps_matrix(p))
        *kept = order * order * pixels * sizeof(int32_t);
    else /* no larger than the templates, or within the limit */
        *kept = (size_t)(p->k * (is_folded(p) ? p->rank : p->dimension * p->order)) *
                equinv_dtype_size(p->desc.dtype);
    return !__builtin_add_overflow(eqi_aligned(sizeof(prepared)), *kept, size);
}

static equinv_status prepare(equinv_projection *p)
{
    size_t size, kept;
    void *memory, *temporary;
    EQI_CHECK(prepared_size(p, &size, &kept), NOMEM,
              "the prepared templates exceed the address space");
    EQI_TRY(eqi_alloc_zeroed(p->ctx, (int64_t)size, 1, "preparing templates", &memory));
    prepared *const own = memory;
    *own = (prepared){.size = size, .folded = is_folded(p)};
    char *const rest = (char *)memory + eqi_aligned(sizeof *own);
    if (!keeps_matrix(p)) {
        own->turned = (int32_t *)rest;
        fill_turned(p, own->turned);
    } else if (own->folded) {
        own->matrix = rest;
        fold_templates(p, own->matrix);
    } else {
        const int64_t count = p->order * (p->dimension / p->desc.fields);
        const equinv_status status =
            eqi_alloc_zeroed(p->ctx, count, sizeof(int32_t), "turning templates", &temporary);
        if (status != EQUINV_OK) {
            eqi_free(p->ctx, memory, size);
            return status;
        }
        own->matrix = rest;
        fill_turned(p, temporary);
        turn_templates(p, temporary, 0, p->dimension, 0, p->k, own->matrix);
        eqi_free(p->ctx, temporary, (size_t)count * sizeof(int32_t));
    }
    p->prepared = own;
    return EQUINV_OK;
}

static void release(equinv_projection *p)
{
    eqi_free(p->ctx, p->prepared, ((prepared *)p->prepared)->size);
}

/* ---- a call --------------------------------------------------------------------------------- */

typedef struct job {
    const equinv_projection *p;
    const eqi_projection_call *call;
    tiling t;
    int64_t *offsets; /* folded: members of orbits inside a field; else of every coordinate */
} job;

/* Shared: the offsets. A slice: see the bodies. False on overflow. */
static bool scratch(const equinv_projection *p, size_t *slice, size_t *shared)
{
    const tiling t = tiling_of(p);
    const size_t rows = (size_t)t.rows, element = t.element;
    const size_t field = (size_t)(p->dimension / p->desc.fields);
    size_t bytes = EQI_GEMM_WORKSPACE + 8 * EQI_ALIGNMENT; /* and what rounding up takes */
    size_t tiles, offsets;
    if (is_folded(p)) {
        offsets = field;
        tiles = ((size_t)t.depth + (size_t)p->k) * element; /* below the templates' size */
    } else {
        const size_t order = (size_t)p->order;
        offsets = (size_t)p->dimension;
        tiles = ((size_t)p->k * order + (size_t)t.depth) * element + sizeof(int64_t);
        bytes += order * (2 * sizeof(double) + 2 * sizeof(eqi_item)) +
                 (size_t)eqi_orbit_numbers(p) * sizeof(double);
        if (!keeps_matrix(p))
            bytes += (size_t)(t.depth * t.templates) * order * element;
    }
    if (__builtin_mul_overflow(tiles, rows, &tiles) ||
        __builtin_add_overflow(bytes, tiles, &bytes) ||
        __builtin_mul_overflow(offsets, sizeof(int64_t), shared))
        return false;
    *shared = eqi_aligned(*shared);
    const size_t templates = eqi_gemm_templates_slice(p);
    *slice = eqi_aligned(bytes > templates ? bytes : templates);
    return *slice < SIZE_MAX && *shared < SIZE_MAX;
}

static void product(const job *j, const eqi_gemm_args *args, void *workspace)
{
    eqi_gemm(&j->p->ctx->hardware, j->p->desc.dtype, args, workspace);
}

static void *at(const job *j, const void *base, int64_t offset)
{
    return (char *)base + offset * (int64_t)j->t.element;
}

#define REAL float
#define NAME(name) name##_f32
#include "projection_fold.h"
#undef REAL
#undef NAME
#define REAL double
#define NAME(name) name##_f64
#include "projection_fold.h"
#undef REAL
#undef NAME

static void fold(const job *j, int64_t b, int64_t first, int64_t count, void *to)
{
    const equinv_projection *const p = j->p;
    const equinv_tensor *const src = &j->call->src;
    const void *const z = at(j, src->data, b * src->strides[0]);
    const int64_t pixels = p->desc.height * p->desc.width;
    if (p->desc.dtype == EQUINV_F32)
        fold_f32(z, src->strides[1], j->offsets, pixels, first, count, p->order, to);
    else
        fold_f64(z, src->strides[1], j->offsets, pixels, first, count, p->order, to);
}

static void unfold(const job *j, int64_t b, int64_t first, int64_t count, const void *from)
{
    const equinv_projection *const p = j->p;
    const equinv_tensor *const src = &j->call->src;
    void *const z = at(j, src->data, b * src->strides[0]);
    const int64_t pixels = p->desc.height * p->desc.width;
    if (p->desc.dtype == EQUINV_F32)
        unfold_f32(from, src->strides[1], j->offsets, pixels, first, count, p->order,
                   p->desc.accumulate, z);
    else
        unfold_f64(from, src->strides[1], j->offsets, pixels, first, count, p->order,
                   p->desc.accumulate, z);
}

/* Values of a tile [rows, columns] in scratch. */
static equinv_tensor tile_tensor(const job *j, void *data)
{
    return (equinv_tensor){.data = data, .dtype = j->p->desc.dtype};
}

/* ---- LINEAR, MEAN --------------------------------------------------------------------------- */

static void folded_forward(const void *arg, int64_t first, int64_t rows, void *slice)
{
    const job *const j = arg;
    const equinv_projection *const p = j->p;
    const equinv_tensor *const dst = &j->call->dst;
    const void *const v = ((const prepared *)p->prepared)->matrix;
    char *rest = slice;
    void *const workspace = eqi_take(&rest, EQI_GEMM_WORKSPACE);
    void *const folded = eqi_take(&rest, (size_t)(j->t.rows * j->t.depth) * j->t.element);
    void *const tile = rest;
    for (int64_t o = 0; o < p->rank; o += j->t.depth) {
        const int64_t depth = within(p->rank - o, 1, j->t.depth);
        for (int64_t b = 0; b < rows; b++)
            fold(j, first + b, o, depth, at(j, folded, b * depth));
        product(j,
                &(eqi_gemm_args){.m = rows,
                                 .n = p->k,
                                 .k = depth,
                                 .a = folded,
                                 .lda = depth,
                                 .b = at(j, v, o * p->k),
                                 .ldb = p->k,
                                 .accumulate = o > 0,
                                 .c = tile,
                                 .ldc = p->k},
                workspace);
    }
    const equinv_tensor values = tile_tensor(j, tile);
    for (int64_t b = 0; b < rows; b++)
        for (int64_t k = 0; k < p->k; k++)
            eqi_store(dst, (first + b) * dst->strides[0] + k * dst->strides[1],
                      eqi_load(&values, b * p->k + k));
}

static void folded_backward(const void *arg, int64_t first, int64_t rows, void *slice)
{
    const job *const j = arg;
    const equinv_projection *const p = j->p;
    const equinv_tensor *const diff_dst = &j->call->dst;
    const void *const v = ((const prepared *)p->prepared)->matrix;
    char *rest = slice;
    void *const workspace = eqi_take(&rest, EQI_GEMM_WORKSPACE);
    void *const folded = eqi_take(&rest, (size_t)(j->t.rows * j->t.depth) * j->t.element);
    void *const tile = rest;
    const equinv_tensor values = tile_tensor(j, tile);
    for (int64_t b = 0; b < rows; b++)
        for (int64_t k = 0; k < p->k; k++)
            eqi_store(
                &values, b * p->k + k,
                eqi_load(diff_dst, (first + b) * diff_dst->strides[0] + k * diff_dst->strides[1]));
    for (int64_t o = 0; o < p->rank; o += j->t.depth) {
        const int64_t depth = within(p->rank - o, 1, j->t.depth);
        product(j,
                &(eqi_gemm_args){.transpose_b = true,
                                 .m = rows,
                                 .n = depth,
                                 .k = p->k,
                                 .a = tile,
                                 .lda = p->k,
                                 .b = at(j, v, o * p->k),
                                 .ldb = p->k,
                                 .c = folded,
                                 .ldc = depth},
                workspace);
        for (int64_t b = 0; b < rows; b++)
            unfold(j, first + b, o, depth, at(j, folded, b * depth));
    }
}

/* ---- other kinds ---------------------------------------------------------------------------- */

/* The parts of a slice. `orbits` has all |G| K columns in backward, those of a block in forward. */
typedef struct parts {
    void *workspace;
    double *v, *out;
    eqi_item *room;
    int64_t *row_offsets;
    void *orbits, *latents, *turned;
} parts;

static parts parts_of(const job *j, void *slice)
{
    const size_t order = (size_t)j->p->order, rows = (size_t)j->t.rows;
    char *rest = slice;
    parts s;
    s.workspace = eqi_take(&rest, EQI_GEMM_WORKSPACE);
    s.v = eqi_take(&rest, 2 * order * sizeof(double)); /* and coefficients */
    s.out = eqi_take(&rest, (size_t)eqi_orbit_numbers(j->p) * sizeof(double));
    s.room = eqi_take(&rest, 2 * order * sizeof(eqi_item));
    s.row_offsets = eqi_take(&rest, rows * sizeof(int64_t));
    s.orbits = eqi_take(&rest, rows * (size_t)j->p->k * order * j->t.element);
    s.latents = eqi_take(&rest, rows * (size_t)j->t.depth * j->t.element);
    s.turned = rest;
    return s;
}

/* Turned templates, rows c0 .. +depth, templates k0 .. +templates: kept or made now. */
static const void *block_of(const job *j, const parts *s, int64_t c0, int64_t depth, int64_t k0,
                            int64_t templates, int64_t *step)
{
    const equinv_projection *const p = j->p;
    const prepared *const own = p->prepared;
    if (own->matrix) {
        *step = p->k * p->order;
        return at(j, own->matrix, c0 * *step + k0 * p->order);
    }
    *step = templates * p->order;
    turn_templates(p, own->turned, c0, depth, k0, templates, s->turned);
    return s->turned;
}

static void orbit_forward(const void *arg, int64_t first, int64_t rows, void *slice)
{
    const job *const j = arg;
    const equinv_projection *const p = j->p;
    const equinv_tensor *const src = &j->call->src;
    const parts s = parts_of(j, slice);
    const equinv_tensor values = tile_tensor(j, s.orbits);
    const int64_t whole = ((const prepared *)p->prepared)->matrix ? p->dimension : j->t.depth;
    for (int64_t b = 0; b < rows; b++)
        s.row_offsets[b] = (first + b) * src->strides[0];
    for (int64_t k0 = 0; k0 < p->k; k0 += j->t.templates) {
        const int64_t templates = within(p->k - k0, 1, j->t.templates);
        const int64_t columns = templates * p->order;
        for (int64_t c = 0; c < p->dimension; c += whole) {
            const int64_t depth = within(p->dimension - c, 1, whole);
            int64_t step;
            const void *const turned = block_of(j, &s, c, depth, k0, templates, &step);
            product(j,
                    &(eqi_gemm_args){.m = rows,
                                     .n = columns,
                                     .k = depth,
                                     .a = src->data,
                                     .a_rows = s.row_offsets,
                                     .a_columns = j->offsets + c,
                                     .b = turned,
                                     .ldb = step,
                                     .accumulate = c > 0,
                                     .c = s.orbits,
                                     .ldc = columns},
                    s.workspace);
        }
        for (int64_t b = 0; b < rows; b++)
            for (int64_t k = 0; k < templates; k++) {
                for (int32_t g = 0; g < p->order; g++)
                    s.v[g] = eqi_load(&values, b * columns + k * p->order + g) * p->scale;
                eqi_orbit_reduce(p, j->call, first + b, k0 + k, s.v, s.room, s.out);
            }
    }
}

static void orbit_backward(const void *arg, int64_t first, int64_t rows, void *slice)
{
    const job *const j = arg;
    const equinv_projection *const p = j->p;
    const equinv_tensor *const diff_src = &j->call->src;
    const parts s = parts_of(j, slice);
    const equinv_tensor values = tile_tensor(j, s.orbits), out = tile_tensor(j, s.latents);
    const int64_t columns = p->k * p->order;
    double *const coefficients = s.v + p->order;
    for (int64_t b = 0; b < rows; b++)
        for (int64_t k = 0; k < p->k; k++) {
            eqi_orbit_reduce_backward(p, j->call, first + b, k, s.v, s.out, coefficients);
            for (int32_t g = 0; g < p->order; g++)
                eqi_store(&values, b * columns + k * p->order + g, coefficients[g]);
        }
    for (int64_t c = 0; c < p->dimension; c += j->t.depth) {
        const int64_t depth = within(p->dimension - c, 1, j->t.depth);
        for (int64_t k0 = 0; k0 < p->k; k0 += j->t.templates) {
            const int64_t templates = within(p->k - k0, 1, j->t.templates);
            int64_t step;
            const void *const turned = block_of(j, &s, c, depth, k0, templates, &step);
            product(j,
                    &(eqi_gemm_args){.transpose_b = true,
                                     .m = rows,
                                     .n = depth,
                                     .k = templates * p->order,
                                     .a = at(j, s.orbits, k0 * p->order),
                                     .lda = columns,
                                     .b = turned,
                                     .ldb = step,
                                     .accumulate = k0 > 0,
                                     .c = s.latents,
                                     .ldc = depth},
                    s.workspace);
        }
        for (int64_t b = 0; b < rows; b++)
            for (int64_t i = 0; i < depth; i++)
                eqi_put(diff_src, (first + b) * diff_src->strides[0] + j->offsets[c + i],
                        eqi_load(&out, b * depth + i), p->desc.accumulate);
    }
}

/* ---- the whole batch ------------------------------------------------------------------------ */

/* Offsets of coordinates for the strides of this call's latents. */
static void fill_offsets(const equinv_projection *p, const equinv_tensor *z, int64_t *offsets)
{
    const int64_t height = p->desc.height, width = p->desc.width;
    if (!is_folded(p)) {
        for (int64_t f = 0; f < p->desc.fields; f++)
            for (int64_t a = 0; a < p->order; a++)
                for (int64_t y = 0; y < height; y++)
                    for (int64_t x = 0; x < width; x++)
                        *offsets++ = eqi_offset5(z, 0, f, a, y, x);
        return;
    }
    for (int64_t y = 0; y < height; y++)
        for (int64_t x = 0; x < width; x++)
            for (int32_t h = 0; h < p->order; h++) {
                const int64_t q =
                    eqi_place(p->desc.group, h, 0, y, x, height, width) % (height * width);
                *offsets++ = eqi_offset5(z, 0, 0, h, q / width, q % width);
            }
}

static void run(const equinv_projection *p, const eqi_projection_call *call, eqi_rows_body *body)
{
    const job j = {p, call, tiling_of(p), call->scratch};
    const int64_t batch = call->src.shape[0], threads = p->ctx->hardware.threads;
    if (batch == 0)
        return;
    fill_offsets(p, &call->src, j.offsets);
    /* Small batches are cut further, so that all threads have work. */
    const int64_t chunk = within(batch / (2 * threads) + 1, 16, TILE_ROWS);
    const double products = is_folded(p) ? (double)p->rank : (double)p->dimension * p->order;
    const double row_work = (double)p->dimension + products * (double)p->k / 16; /* fast ones */
    eqi_parallel_rows(p->ctx, batch, row_work, chunk < j.t.rows ? chunk : j.t.rows, body, &j,
                      (char *)call->scratch + p->shared_size, p->slice_size);
}

static equinv_status forward(const equinv_projection *p, const eqi_projection_call *call)
{
    run(p, call, is_folded(p) ? folded_forward : orbit_forward);
    return EQUINV_OK;
}

static equinv_status backward(const equinv_projection *p, const eqi_projection_call *call)
{
    run(p, call, is_folded(p) ? folded_backward : orbit_backward);
    return EQUINV_OK;
}

static bool supports(const void *problem, const eqi_hardware *hardware, const char **why)
{
    const equinv_projection *const p = problem;
    (void)hardware;
    return eqi_require(!p->symmetric, why, "sorting of rows is no product") &&
           eqi_require(!p->spectral, why, "spectra of signals have no templates") &&
           eqi_require(p->dimension / p->desc.fields <= INT32_MAX, why,
                       "a field has 2^31 numbers or more");
}

const eqi_projection_implementation eqi_gemm_projection = {
    {"projection/gemm", supports, NULL}, prepare, release, scratch, forward, backward,
    eqi_gemm_templates_backward,
};
