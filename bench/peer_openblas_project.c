/*
 * OpenBLAS under projections, on blocks of latents of which the fastest is kept.
 *
 * openblas        LINEAR, MEAN: one product with the expanded matrix [D, k], the orbit means of the
 *                 templates. Other kinds of C_n and D_n: a product with all |G| k turned templates, then a
 *                 reduction of its own over every orbit. PROJECT_SORT: a product, then sorted columns.
 * openblas-fold   LINEAR, MEAN: latents summed over their orbits, then a product |G| times smaller.
 */
#include <cblas.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "bench/peer.h"

enum { WAYS = 5 };
static const int64_t block_bytes[WAYS] = {64 << 10, 256 << 10, 1 << 20, 4 << 20, INT64_MAX};

typedef struct state {
    int64_t batch, fields, order, pixels, k;
    int64_t depth,
        columns; /* of the matrix: coordinates of a latent that enter, numbers they give */
    float *matrix, *block; /* [depth, columns]; what is between the steps, for a block of latents */
    int32_t *turned;       /* fold: [order, pixels], the members of an orbit in a field */
    int64_t rows[WAYS];    /* latents in a block */
    int chosen;
} state;

static bool is_linear(const bench_case *c)
{
    return c->kind == EQUINV_PROJECT_LINEAR || c->kind == EQUINV_PROJECT_MEAN;
}

/* ---- products ---------------------------------------------------------------------------------------------- */

static void product(const float *a, int64_t rows, const state *s, float *c)
{
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)rows, (int)s->columns,
                (int)s->depth, 1, a, (int)s->depth, s->matrix, (int)s->columns, 0, c,
                (int)s->columns);
}

static void product_back(const float *c, int64_t rows, const state *s, float *a)
{
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)rows, (int)s->depth, (int)s->columns,
                1, c, (int)s->columns, s->matrix, (int)s->columns, 0, a, (int)s->depth);
}

/* ---- folding ------------------------------------------------------------------------------------------------ */

static inline __attribute__((always_inline)) void sum_runs(const float *restrict z, int64_t fields,
                                                           int64_t order, float *restrict sums)
{
    for (int64_t f = 0; f < fields; f++) {
        float sum = z[f * order];
        for (int64_t g = 1; g < order; g++)
            sum += z[f * order + g];
        sums[f] = sum;
    }
}

/* Latents without pixels, written out for the usual orders so that the compiler's vectors do it. */
static void sum_elements(const float *z, int64_t fields, int64_t order, float *sums)
{
    switch (order) {
    case 2: sum_runs(z, fields, 2, sums); break;
    case 4: sum_runs(z, fields, 4, sums); break;
    case 8: sum_runs(z, fields, 8, sums); break;
    case 16: sum_runs(z, fields, 16, sums); break;
    default: sum_runs(z, fields, order, sums); break;
    }
}

static void fold(const state *s, const float *z, float *sums)
{
    const int64_t pixels = s->pixels;
    if (pixels == 1) {
        sum_elements(z, s->fields, s->order, sums);
        return;
    }
    for (int64_t f = 0; f < s->fields; f++, z += s->order * pixels, sums += pixels) {
        memcpy(sums, z, (size_t)pixels * sizeof *sums); /* the identity leaves every pixel */
        for (int64_t g = 1; g < s->order; g++)
            for (int64_t x = 0; x < pixels; x++)
                sums[x] += z[s->turned[g * pixels + x]];
    }
}

static void unfold(const state *s, const float *sums, float *z)
{
    const int64_t pixels = s->pixels;
    for (int64_t f = 0; f < s->fields; f++, z += s->order * pixels, sums += pixels)
        for (int64_t g = 0; g < s->order; g++)
            for (int64_t x = 0; x < pixels; x++)
                z[s->turned[g * pixels + x]] = sums[x];
}

/* ---- a block of latents ---------------------------------------------------------------------------------------- */

static void fold_block(const problem *p, int64_t first, int64_t rows)
{
    const state *const s = p->own;
    const int64_t latent = s->depth * s->order;
    if (p->what.pass == PASS_FORWARD) {
        const float *const z = (const float *)p->input[0].data + first * latent;
        for (int64_t b = 0; b < rows; b++)
            fold(s, z + b * latent, s->block + b * s->depth);
        product(s->block, rows, s, (float *)p->output[0].data + first * s->columns);
        return;
    }
    product_back((const float *)p->input[0].data + first * s->columns, rows, s, s->block);
    for (int64_t b = 0; b < rows; b++)
        unfold(s, s->block + b * s->depth, (float *)p->output[0].data + (first + b) * latent);
}

static void linear_block(const problem *p, int64_t first, int64_t rows)
{
    const state *const s = p->own;
    const float *const from = p->input[0].data;
    float *const to = p->output[0].data;
    if (p->what.pass == PASS_FORWARD)
        product(from + first * s->depth, rows, s, to + first * s->columns);
    else
        product_back(from + first * s->columns, rows, s, to + first * s->depth);
}

static void orbit_block(const problem *p, int64_t first, int64_t rows)
{
    const state *const s = p->own;
    const equinv_projection_kind kind = (equinv_projection_kind)p->what.kind;
    const bool whole = kind == EQUINV_PROJECT_SORTED || kind == EQUINV_PROJECT_ORBIT;
    const int64_t width = whole ? s->columns : s->k;
    product((const float *)p->input[0].data + first * s->depth, rows, s, s->block);
    for (int64_t b = 0; b < rows; b++)
        peer_reduce(kind, s->order, s->k, s->block + b * s->columns,
                    (float *)p->output[0].data + (first + b) * width);
}

/* Sets of rows: `order` rows of `depth` channels are a latent. */
static void rows_block(const problem *p, int64_t first, int64_t rows)
{
    const state *const s = p->own;
    const int64_t set = s->order * s->k;
    product((const float *)p->input[0].data + first * s->order * s->depth, rows * s->order, s,
            s->block);
    for (int64_t b = 0; b < rows; b++) {
        peer_sort_columns(s->order, s->k, s->block + b * set);
        peer_transpose(s->block + b * set, s->order, s->k,
                       (float *)p->output[0].data + (first + b) * set);
    }
}

typedef void block_body(const problem *p, int64_t first, int64_t rows);

static equinv_status run_blocks(problem *p, int way, block_body *body)
{
    const state *const s = p->own;
    for (int64_t first = 0, rows = s->rows[way]; first < s->batch; first += rows)
        body(p, first, s->batch - first < rows ? s->batch - first : rows);
    return EQUINV_OK;
}

static block_body *body_of(const bench_case *c)
{
    return c->kind == EQUINV_PROJECT_PROJECT_SORT ? rows_block
           : is_linear(c)                         ? linear_block
                                                  : orbit_block;
}

static equinv_status run_way(problem *p, int way)
{
    return run_blocks(p, way, body_of(&p->what));
}

static equinv_status run_fold_way(problem *p, int way)
{
    return run_blocks(p, way, fold_block);
}

/* ---- matrices -------------------------------------------------------------------------------------------------- */

/* Row j of `rows` [k, length] (from offset) becomes column `column` + j of the matrix. */
static void put_columns(const state *s, const float *rows, int64_t length, int64_t column)
{
    for (int64_t j = 0; j < s->k; j++)
        for (int64_t i = 0; i < s->depth; i++)
            s->matrix[i * s->columns + column + j] = rows[j * length + i];
}

/* <w, mean_g g z> = <mean_g g w, z>: columns of the expanded matrix are the orbit means. */
static equinv_status fill_linear(const problem *p, const equinv_tensor *w, equinv_tensor *turned)
{
    const state *const s = p->own;
    const equinv_status status = equinv_orbit_mean(p->ctx, p->what.group, w, turned);
    if (!status)
        put_columns(s, turned->data, s->depth, 0);
    return status;
}

/* An orbit mean is one number an orbit: that of the identity's plane. */
static equinv_status fill_folded(const problem *p, const equinv_tensor *w, equinv_tensor *turned)
{
    const state *const s = p->own;
    const equinv_status status = equinv_orbit_mean(p->ctx, p->what.group, w, turned);
    const float *const mean = turned->data;
    for (int64_t j = 0; !status && j < s->k; j++)
        for (int64_t f = 0; f < s->fields; f++)
            for (int64_t x = 0; x < s->pixels; x++)
                s->matrix[(f * s->pixels + x) * s->columns + j] =
                    mean[(j * s->fields + f) * s->order * s->pixels + x];
    return status;
}

/* <w, g z> = <g^-1 w, z> */
static equinv_status fill_orbit(const problem *p, const equinv_tensor *w, equinv_tensor *turned)
{
    const state *const s = p->own;
    equinv_status status = EQUINV_OK;
    for (int32_t g = 0, back; !status && g < s->order; g++) {
        if ((status = equinv_group_inverse(p->what.group, g, &back)) ||
            (status = equinv_act(p->ctx, p->what.group, back, w, turned)))
            break;
        put_columns(s, turned->data, s->depth, g * s->k);
    }
    return status;
}

static equinv_status fill_rows(const problem *p, const equinv_tensor *w, equinv_tensor *turned)
{
    (void)turned;
    put_columns(p->own, w->data, ((const state *)p->own)->depth, 0);
    return EQUINV_OK;
}

typedef equinv_status fill_body(const problem *p, const equinv_tensor *w, equinv_tensor *turned);

static equinv_status fill_matrix(problem *p, fill_body *fill)
{
    state *const s = p->own;
    equinv_tensor w, turned;
    equinv_status status = equinv_projection_templates(p->projection, &w);
    s->matrix = peer_floats(s->depth * s->columns);
    if (status || !s->matrix)
        return status ? status : EQUINV_ERR_NOMEM;
    if ((status = equinv_tensor_create(p->ctx, EQUINV_F32, w.ndim, w.shape, &turned)))
        return status;
    status = fill(p, &w, &turned);
    equinv_tensor_destroy(p->ctx, &turned);
    return status;
}

/* Where the members of pixel x's orbit stand: numbers of places, turned. */
static equinv_status fill_turned(problem *p)
{
    state *const s = p->own;
    const bench_case *const c = &p->what;
    const int64_t plane = s->order * s->pixels;
    equinv_tensor places, turned;
    s->turned = malloc((size_t)plane * sizeof *s->turned);
    const int64_t *const shape = SHAPE(1, 1, s->order, c->height, c->width);
    equinv_status status = s->turned ? EQUINV_OK : EQUINV_ERR_NOMEM;
    if (status || (status = equinv_tensor_create(p->ctx, EQUINV_I32, 5, shape, &places)))
        return status;
    if ((status = equinv_tensor_create(p->ctx, EQUINV_I32, 5, shape, &turned))) {
        equinv_tensor_destroy(p->ctx, &places);
        return status;
    }
    for (int64_t i = 0; i < plane; i++)
        ((int32_t *)places.data)[i] = (int32_t)i;
    for (int32_t g = 0; !status && g < s->order; g++) {
        status = equinv_act(p->ctx, c->group, g, &places, &turned);
        memcpy(s->turned + g * s->pixels, turned.data, (size_t)s->pixels * sizeof *s->turned);
    }
    equinv_tensor_destroy(p->ctx, &turned);
    equinv_tensor_destroy(p->ctx, &places);
    return status;
}

/* ---- the problem ------------------------------------------------------------------------------------------------ */

static void destroy(problem *p)
{
    state *const s = p->own;
    free(s->matrix), free(s->block), free(s->turned);
    free(s);
    p->own = NULL;
}

static equinv_status begin(problem *p, bool folded)
{
    const bench_case *const c = &p->what;
    const bool rows = c->kind == EQUINV_PROJECT_PROJECT_SORT;
    const equinv_status status = c->op->runner.create(p);
    if (status)
        return status;
    p->impl_name = NULL;
    state *const s = p->own = calloc(1, sizeof *s);
    if (!s)
        return EQUINV_ERR_NOMEM;
    s->batch = c->batch, s->fields = c->fields_in, s->k = c->k;
    s->pixels = c->height * c->width;
    s->order = rows ? c->rows : case_order(c);
    s->depth = rows     ? (c->channels ? c->channels : 1)
               : folded ? s->fields * s->pixels
                        : s->fields * s->order * s->pixels;
    s->columns = rows || is_linear(c) ? s->k : s->order * s->k;
    return EQUINV_OK;
}

/* `latent`: numbers of a latent between two steps. Blocks that would hold the same latents are one. */
static equinv_status cut(state *s, int64_t latent, int *ways)
{
    if (s->batch * s->order > INT_MAX || s->depth > INT_MAX || s->columns > INT_MAX)
        return peer_failed("OpenBLAS: extents beyond int");
    *ways = 0;
    for (int i = 0; i < WAYS; i++) {
        int64_t rows = block_bytes[i] / (latent * (int64_t)sizeof(float));
        rows = rows < 1 ? 1 : rows < s->batch ? rows : s->batch > 0 ? s->batch : 1;
        if (*ways == 0 || s->rows[*ways - 1] < rows)
            s->rows[(*ways)++] = rows;
    }
    s->block = peer_floats(s->rows[*ways - 1] * latent);
    return s->block ? EQUINV_OK : EQUINV_ERR_NOMEM;
}

static equinv_status create(problem *p)
{
    int ways = 1;
    const bench_case *const c = &p->what;
    const bool rows = c->kind == EQUINV_PROJECT_PROJECT_SORT;
    equinv_status status = begin(p, false);
    if (status)
        return status;
    state *const s = p->own;
    if ((status = fill_matrix(p, rows           ? fill_rows
                                 : is_linear(c) ? fill_linear
                                                : fill_orbit)) ||
        (status = cut(s, rows ? s->order * s->k : s->columns, &ways)))
        return status;
    return peer_fastest(p, ways, run_way, &s->chosen);
}

static equinv_status run(problem *p)
{
    return run_way(p, ((const state *)p->own)->chosen);
}

static equinv_status fold_create(problem *p)
{
    int ways = 1;
    equinv_status status = begin(p, true);
    if (status)
        return status;
    state *const s = p->own;
    if ((status = fill_matrix(p, fill_folded)) || (status = fill_turned(p)) ||
        (status = cut(s, s->depth, &ways)))
        return status;
    return peer_fastest(p, ways, run_fold_way, &s->chosen);
}

static equinv_status fold_run(problem *p)
{
    return run_fold_way(p, ((const state *)p->own)->chosen);
}

static bool has_linear_gradient(const bench_case *c)
{
    return is_linear(c) && c->pass == PASS_BACKWARD_DATA;
}

const bench_runner *openblas_project(const bench_case *c)
{
    static const bench_runner runner = {create, run, destroy, NULL, NULL, false, NULL};
    return c->op == &project_operation && c->dtype == EQUINV_F32 &&
                   c->kind != EQUINV_PROJECT_SORT && c->kind < EQUINV_PROJECT_POWER &&
                   (c->pass == PASS_FORWARD || has_linear_gradient(c))
               ? &runner
               : NULL;
}

const bench_runner *openblas_fold(const bench_case *c)
{
    static const bench_runner runner = {fold_create, fold_run, destroy, NULL, NULL, false, NULL};
    return c->op == &project_operation && c->dtype == EQUINV_F32 && is_linear(c) &&
                   c->pass != PASS_BACKWARD_WEIGHTS
               ? &runner
               : NULL;
}
