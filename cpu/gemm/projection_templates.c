/*
 * Gradients of the templates of C_n and D_n, whatever made the codes: with the coefficients c of
 * cpu/ref/projection.c
 *     diff_w_k[x] = sum_{b,g} c[b, k, g] (g z_b)[x] = sum_{b,g} c[b, k, g] z_b[g^-1 x],
 * one product of coefficients [K, B |G|] and turned latents [B |G|, D], in tiles of latents. LINEAR and
 * MEAN have one coefficient for all g: their latents are summed over the group first.
 *
 * A task is a block of templates and one of coordinates and goes through the whole batch. Tiles are
 * added in double, in the order of the batch: bits do not depend on the threads.
 */
#include "gemm.h"

#include "internal/projection.h"
#include "internal/rows.h"
#include "projection_templates.h"

enum {
    TEMPLATES = 64, /* in a block */
    DEPTH = 512,    /* coordinates in a block */
    MEMBERS = 256   /* (latent, element) pairs in a tile, more for larger groups */
};

typedef struct shape {
    bool folded;
    int64_t copies;  /* of a latent in a tile: |G|, folded 1 */
    int64_t members; /* of a tile at most */
    int64_t rows, templates, depth;
} shape;

typedef struct job {
    const equinv_projection *p;
    const eqi_projection_call *call;
    shape s;
    int64_t blocks; /* of coordinates */
} job;

typedef struct parts {
    void *workspace;
    double *v, *out, *c; /* one orbit, for eqi_orbit_reduce_backward */
    double *sum;         /* [templates, depth] */
    void *product;       /* the same, of one tile */
    void *coefficients;  /* [templates, members] */
    void *latents;       /* [members, depth] */
    int64_t *places;     /* [depth]: of the coordinates of g^-1, from a latent's first number */
} parts;

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static shape shape_of(const equinv_projection *p)
{
    shape s = {.folded =
                   p->desc.kind == EQUINV_PROJECT_LINEAR || p->desc.kind == EQUINV_PROJECT_MEAN};
    s.copies = s.folded ? 1 : p->order;
    s.rows = s.copies < MEMBERS ? MEMBERS / s.copies : 1;
    s.members = s.rows * s.copies;
    s.templates = smaller(p->k, TEMPLATES);
    s.depth = smaller(p->dimension, DEPTH);
    return s;
}

static parts parts_of(const equinv_projection *p, const shape *s, void *slice)
{
    const size_t element = equinv_dtype_size(p->desc.dtype), order = (size_t)p->order;
    char *rest = slice;
    parts t;
    t.workspace = eqi_take(&rest, EQI_GEMM_WORKSPACE);
    t.v = eqi_take(&rest, order * sizeof *t.v);
    t.c = eqi_take(&rest, order * sizeof *t.c);
    t.out = eqi_take(&rest, (size_t)eqi_orbit_numbers(p) * sizeof *t.out);
    t.sum = eqi_take(&rest, (size_t)(s->templates * s->depth) * sizeof *t.sum);
    t.product = eqi_take(&rest, (size_t)(s->templates * s->depth) * element);
    t.coefficients = eqi_take(&rest, (size_t)(s->templates * s->members) * element);
    t.latents = eqi_take(&rest, (size_t)(s->members * s->depth) * element);
    t.places = (int64_t *)rest;
    return t;
}

size_t eqi_gemm_templates_slice(const equinv_projection *p)
{
    const shape s = shape_of(p);
    const size_t element = equinv_dtype_size(p->desc.dtype);
    const size_t block = (size_t)(s.templates * s.depth);
    const size_t doubles = 2 * (size_t)p->order + (size_t)eqi_orbit_numbers(p) + block;
    const size_t numbers = block + (size_t)((s.templates + s.depth) * s.members);
    return EQI_GEMM_WORKSPACE + doubles * sizeof(double) + numbers * element +
           (size_t)s.depth * sizeof(int64_t) + 10 * EQI_ALIGNMENT;
}

/* Where (g z)[x] is found in z, for the coordinates x from number `first` on. */
static void fill_places(const job *j, int32_t g, int64_t first, int64_t depth, int64_t *places)
{
    const equinv_projection_desc *const d = &j->p->desc;
    const int64_t pixels = d->height * d->width, field = j->p->order * pixels;
    const int32_t back = eqi_inverse(d->group, g);
    for (int64_t i = 0; i < depth; i++) {
        const int64_t f = (first + i) / field, a = (first + i) % field / pixels,
                      q = (first + i) % pixels;
        const int64_t at =
            eqi_place(d->group, back, a, q / d->width, q % d->width, d->height, d->width);
        places[i] =
            eqi_offset5(&j->call->src, 0, f, at / pixels, at % pixels / d->width, at % d->width);
    }
}

/* Turned latents of a tile, or their sums over the group. */
static void turn_latents(const job *j, const parts *t, int64_t b, int64_t rows, int64_t first,
                         int64_t depth)
{
    const equinv_tensor *const z = &j->call->src;
    for (int32_t g = 0; g < j->p->order; g++) {
        const bool add = j->s.folded && g > 0;
        fill_places(j, g, first, depth, t->places);
        for (int64_t r = 0; r < rows; r++) {
            const int64_t from = (b + r) * z->strides[0];
            const int64_t to = (r * j->s.copies + (j->s.folded ? 0 : g)) * depth;
            if (z->dtype == EQUINV_F32)
                for (int64_t i = 0; i < depth; i++) {
                    float *const at = (float *)t->latents + to + i;
                    *at = (add ? *at : 0) + ((const float *)z->data)[from + t->places[i]];
                }
            else
                for (int64_t i = 0; i < depth; i++) {
                    double *const at = (double *)t->latents + to + i;
                    *at = (add ? *at : 0) + ((const double *)z->data)[from + t->places[i]];
                }
        }
    }
}

static void fill_coefficients(const job *j, const parts *t, int64_t b, int64_t rows, int64_t k0,
                              int64_t templates)
{
    const int64_t step = rows * j->s.copies;
    const equinv_tensor to = {.data = t->coefficients, .dtype = j->p->desc.dtype};
    for (int64_t k = 0; k < templates; k++)
        for (int64_t r = 0; r < rows; r++) {
            eqi_orbit_reduce_backward(j->p, j->call, b + r, k0 + k, t->v, t->out, t->c);
            for (int64_t g = 0; g < j->s.copies; g++)
                eqi_store(&to, k * step + r * j->s.copies + g, t->c[g]);
        }
}

static void gradient_of_block(const job *j, int64_t k0, int64_t first, void *slice)
{
    const equinv_projection *const p = j->p;
    const parts t = parts_of(p, &j->s, slice);
    const int64_t templates = smaller(p->k - k0, j->s.templates);
    const int64_t depth = smaller(p->dimension - first, j->s.depth);
    const int64_t batch = j->call->src.shape[0];
    const equinv_tensor product = {.data = t.product, .dtype = p->desc.dtype};
    for (int64_t i = 0; i < templates * depth; i++)
        t.sum[i] = 0;
    for (int64_t b = 0; b < batch; b += j->s.rows) {
        const int64_t rows = smaller(batch - b, j->s.rows);
        fill_coefficients(j, &t, b, rows, k0, templates);
        turn_latents(j, &t, b, rows, first, depth);
        eqi_gemm(&p->ctx->hardware, p->desc.dtype,
                 &(eqi_gemm_args){.m = templates,
                                  .n = depth,
                                  .k = rows * j->s.copies,
                                  .a = t.coefficients,
                                  .lda = rows * j->s.copies,
                                  .b = t.latents,
                                  .ldb = depth,
                                  .c = t.product,
                                  .ldc = depth},
                 t.workspace);
        for (int64_t i = 0; i < templates * depth; i++)
            t.sum[i] += eqi_load(&product, i);
    }
    for (int64_t k = 0; k < templates; k++)
        for (int64_t i = 0; i < depth; i++)
            eqi_put(&j->call->templates,
                    eqi_offset_of(&j->call->templates, (k0 + k) * p->dimension + first + i),
                    t.sum[k * depth + i], p->desc.accumulate);
}

static void run_blocks(const void *arg, int64_t first, int64_t count, void *slice)
{
    const job *const j = arg;
    for (int64_t i = first; i < first + count; i++)
        gradient_of_block(j, i / j->blocks * j->s.templates, i % j->blocks * j->s.depth, slice);
}

equinv_status eqi_gemm_templates_backward(const equinv_projection *p,
                                          const eqi_projection_call *call)
{
    job j = {p, call, shape_of(p), 0};
    j.blocks = (p->dimension + j.s.depth - 1) / j.s.depth;
    const int64_t tasks = (p->k + j.s.templates - 1) / j.s.templates * j.blocks;
    const double work =
        (double)(j.s.templates * j.s.depth * j.s.copies) * (double)call->src.shape[0];
    eqi_parallel_rows(p->ctx, tasks, work / 8 + 1, 1, run_blocks, &j,
                      (char *)call->scratch + p->shared_size, p->slice_size);
    return EQUINV_OK;
}
