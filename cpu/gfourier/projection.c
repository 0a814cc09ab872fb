/*
 * Projections by orbits of inner products in Fourier form (cpu/gfourier/products.h): of a tile of
 * latents and a block of templates come the products, the inverse in place and the reduction to
 * codes, all in cache; neither products nor orbits of a whole batch are ever in memory. Backward is
 * the adjoint, step by step.
 *
 * LINEAR and MEAN want the first sum alone, which is written to dst as it is.
 */
#include <string.h>

#include "cpu/gemm/gemm.h"
#include "cpu/gemm/projection_templates.h"
#include "cpu/gfourier/products.h"
#include "internal/arithmetic.h"
#include "internal/rows.h"

enum { LATENT_MOST = 1 << 20 }; /* numbers: a tile of the fewest rows has 64 MiB then */

static bool is_folded(const equinv_projection *p)
{
    return p->desc.kind == EQUINV_PROJECT_LINEAR || p->desc.kind == EQUINV_PROJECT_MEAN;
}

static eqi_orbit_shape shape_of(const equinv_projection *p, const eqi_hardware *hardware)
{
    const equinv_projection_desc *const d = &p->desc;
    return eqi_orbit_shape_of(hardware, d->group, d->fields, d->height * d->width, p->k,
                              is_folded(p));
}

/* ---- templates ------------------------------------------------------------------------------- */

typedef struct prepared {
    size_t size; /* of this and what follows */
    eqi_orbit_weights weights;
} prepared;

static void members_of(const equinv_projection *p, const equinv_tensor *z, int64_t *members)
{
    eqi_orbit_members(p->desc.group, p->desc.height, p->desc.width, z, members);
}

static equinv_status fill_weights(const equinv_projection *p, const eqi_orbit_weights *weights)
{
    const eqi_orbit_shape *const s = &weights->s;
    const equinv_tensor *const w = &p->templates;
    const size_t places = (size_t)(s->order * s->pixels) * sizeof(int64_t);
    const size_t size = eqi_aligned(places) + eqi_orbit_fill_size(s);
    void *temporary;
    EQI_TRY(eqi_alloc_zeroed(p->ctx, (int64_t)size, 1, "transforming templates", &temporary));
    char *rest = temporary;
    int64_t *const members = eqi_take(&rest, places);
    members_of(p, w, members);
    for (int64_t first = 0; first < p->k; first += EQI_ORBIT_BLOCK)
        eqi_orbit_fill_block(weights, w->data, w->strides[0], w->strides[1], members, p->scale,
                             first, rest);
    eqi_free(p->ctx, temporary, size);
    return EQUINV_OK;
}

static equinv_status prepare(equinv_projection *p)
{
    const eqi_orbit_shape s = shape_of(p, &p->ctx->hardware);
    size_t size;
    void *memory;
    EQI_CHECK(eqi_orbit_weights_size(&s, &size) &&
                  !__builtin_add_overflow(size, eqi_aligned(sizeof(prepared)), &size),
              NOMEM, "the prepared templates exceed the address space");
    EQI_TRY(eqi_alloc_zeroed(p->ctx, (int64_t)size, 1, "preparing templates", &memory));
    char *rest = memory;
    prepared *const own = eqi_take(&rest, sizeof *own);
    own->size = size;
    equinv_status status =
        eqi_orbit_weights_init(&p->ctx->hardware, p->desc.group, &s, rest, &own->weights);
    if (!status)
        status = fill_weights(p, &own->weights);
    if (status)
        eqi_free(p->ctx, memory, size);
    else
        p->prepared = own;
    return status;
}

static void release(equinv_projection *p)
{
    eqi_free(p->ctx, p->prepared, ((prepared *)p->prepared)->size);
}

/* ---- a tile ---------------------------------------------------------------------------------- */

typedef struct job {
    const equinv_projection *p;
    const eqi_projection_call *call;
    const eqi_orbit_weights *own;
    const int64_t *members; /* of the call's latents */
    eqi_orbit_offsets offsets;
} job;

typedef struct parts {
    eqi_orbit_tile of;
    double *v, *out; /* one orbit, for eqi_orbit_reduce and its backward */
    eqi_item *items;
} parts;

static size_t orbit_size(const equinv_projection *p, size_t *v, size_t *out)
{
    *v = eqi_aligned(2 * (size_t)p->order * sizeof(double));
    *out = eqi_aligned((size_t)eqi_orbit_numbers(p) * sizeof(double));
    return *v + *out + eqi_aligned(2 * (size_t)p->order * sizeof(eqi_item));
}

static parts parts_of(const job *j, void *slice)
{
    size_t v, out;
    char *rest = slice;
    orbit_size(j->p, &v, &out);
    parts t;
    t.of = eqi_orbit_tile_take(&j->own->s, &rest);
    t.v = eqi_take(&rest, v);
    t.out = eqi_take(&rest, out);
    t.items = (eqi_item *)rest;
    return t;
}

/* No overflow: supports bounds what follows from a latent. */
static bool scratch(const equinv_projection *p, size_t *slice, size_t *shared)
{
    const eqi_orbit_shape s = shape_of(p, &p->ctx->hardware);
    const size_t templates = eqi_aligned(eqi_gemm_templates_slice(p));
    size_t v, out;
    *slice = eqi_orbit_tile_size(&s) + orbit_size(p, &v, &out);
    *slice = *slice > templates ? *slice : templates;
    *shared =
        eqi_aligned((size_t)(s.order * s.pixels) * sizeof(int64_t)) + eqi_orbit_offsets_size(&s);
    return true;
}

/* ---- codes ----------------------------------------------------------------------------------- */

/* Orbits of row b and the templates first .. first + count - 1, [element][template], to codes. */
static void put_codes(const job *j, const parts *t, int64_t b, int64_t first, int64_t count,
                      int64_t width, float *orbits)
{
    const equinv_projection *const p = j->p;
    const equinv_tensor *const dst = &j->call->dst;
    const eqi_saved_kind saved = eqi_projection_saved_kind(p->desc.kind);
    if (p->desc.kind == EQUINV_PROJECT_SORTED && j->call->saved) {
        for (int64_t k = 0; k < count; k++) {
            for (int32_t g = 0; g < p->order; g++)
                t->v[g] = (double)orbits[g * width + k];
            eqi_orbit_reduce(p, j->call, b, first + k, t->v, t->items, t->out);
        }
        return;
    }
    const int64_t numbers = saved == EQI_SAVED_VALUE ? p->order : 1;
    eqi_orbit_codes codes = {.kind = p->desc.kind,
                             .order = p->order,
                             .count = count,
                             .step = width,
                             .values = orbits,
                             .dst =
                                 (float *)dst->data + b * dst->strides[0] + first * dst->strides[1],
                             .dst_step = dst->strides[1],
                             .dst_element = dst->ndim == 3 ? dst->strides[2] : 0,
                             .ranks = p->desc.ranks,
                             .thresholds = p->desc.thresholds,
                             .numbers = p->outputs};
    if (j->call->saved && saved != EQI_SAVED_NONE) /* I32 and f32 are of one size */
        codes.saved = (float *)j->call->saved + (b * p->k + first) * numbers;
    j->own->kernels->reduce(&codes);
}

/* The lines that a row's codes will be written to; without this the stores wait for them. */
static void fetch_codes(const job *j, int64_t b, int64_t first, int64_t count)
{
    const equinv_tensor *const dst = &j->call->dst;
    const int64_t numbers = dst->ndim == 3 ? count * dst->shape[2] : count;
    const float *const to =
        (const float *)dst->data + b * dst->strides[0] + first * dst->strides[1];
    if (dst->strides[dst->ndim - 1] == 1)
        for (int64_t i = 0; i < numbers; i += EQI_ALIGNMENT / (int64_t)sizeof *to)
            __builtin_prefetch(to + i, 1);
}

/* LINEAR, MEAN: codes are the product itself. */
static void multiply_folded(const job *j, const parts *t, int64_t first_row, int64_t rows,
                            int64_t first)
{
    const eqi_orbit_shape *const s = &j->own->s;
    const equinv_tensor *const dst = &j->call->dst;
    const int64_t width = eqi_orbit_block_width(s, first),
                  count = eqi_smaller(width, j->p->k - first);
    float *const to = (float *)dst->data + first_row * dst->strides[0] + first * dst->strides[1];
    const bool in_place = dst->strides[1] == 1 && (rows == 1 || dst->strides[0] >= count);
    eqi_gemm(&j->p->ctx->hardware, EQUINV_F32,
             &(eqi_gemm_args){.m = rows,
                              .n = count,
                              .k = s->rank,
                              .a = t->of.hat,
                              .lda = s->pitch,
                              .b = eqi_orbit_block(j->own, first),
                              .ldb = width,
                              .packed_b = true,
                              .c = in_place ? to : t->of.tile,
                              .ldc = in_place ? dst->strides[0] : width},
             t->of.workspace);
    for (int64_t b = 0; b < rows && !in_place; b++)
        for (int64_t k = 0; k < count; k++)
            to[b * dst->strides[0] + k * dst->strides[1]] = t->of.tile[b * width + k];
}

static void forward_tile(const void *arg, int64_t first_row, int64_t rows, void *slice)
{
    const job *const j = arg;
    const eqi_orbit_shape *const s = &j->own->s;
    const equinv_tensor *const src = &j->call->src;
    const parts t = parts_of(j, slice);
    for (int64_t b = 0; b < rows; b++)
        eqi_orbit_transform_latent(
            j->own, (const float *)src->data + (first_row + b) * src->strides[0], src->strides[1],
            j->members, &t.of, t.of.hat + b * s->coefficients * s->pitch);
    for (int64_t first = 0; first < j->p->k; first += EQI_ORBIT_BLOCK) {
        const int64_t width = eqi_orbit_block_width(s, first);
        if (s->folded) {
            multiply_folded(j, &t, first_row, rows, first);
            continue;
        }
        eqi_orbit_multiply(&j->p->ctx->hardware, j->own, &j->offsets, &t.of, rows, first);
        for (int64_t b = 0; b < rows; b++) {
            float *const row = t.of.tile + b * s->order * width;
            const eqi_orbit_transform back = eqi_orbit_transform_of_row(j->own, &t.of, width, row);
            if (b + 1 < rows)
                fetch_codes(j, first_row + b + 1, first, eqi_smaller(width, j->p->k - first));
            j->own->kernels->synthesise(&back);
            put_codes(j, &t, first_row + b, first, eqi_smaller(width, j->p->k - first), width, row);
        }
    }
}

/* ---- gradients ------------------------------------------------------------------------------- */

/* Derivatives by the inner products, [element][template], with 0 where a block has no template. */
static void take_gradients(const job *j, const parts *t, int64_t b, int64_t first, int64_t width,
                           float *orbits)
{
    const equinv_projection *const p = j->p;
    const int64_t count = eqi_smaller(width, p->k - first);
    double *const coefficients = t->v + p->order;
    if (count < width)
        memset(orbits, 0, (size_t)(p->order * width) * sizeof *orbits);
    for (int64_t k = 0; k < count; k++) {
        eqi_orbit_reduce_backward(p, j->call, b, first + k, t->v, t->out, coefficients);
        for (int32_t g = 0; g < p->order; g++) /* the templates have the scale already */
            orbits[g * width + k] = (float)(coefficients[g] / p->scale);
    }
}

/* Orbits of a latent's gradient, [element][orbit], to its places. */
static void put_gradient(const job *j, const float *orbits, float *z)
{
    const eqi_orbit_shape *const s = &j->own->s;
    const int64_t field = j->call->src.strides[1];
    const bool accumulate = j->p->desc.accumulate;
    for (int64_t pixel = 0; pixel < s->pixels; pixel++)
        for (int64_t f = 0; f < s->fields; f++)
            for (int64_t a = 0; a < s->order; a++) {
                float *const to = z + f * field + j->members[pixel * s->order + a];
                const float value = orbits[a * s->pitch + pixel * s->fields + f];
                *to = accumulate ? *to + value : value;
            }
}

/* LINEAR, MEAN: gradients of codes as they are; all members of an orbit get one number. */
static void backward_folded(const void *arg, int64_t first_row, int64_t rows, void *slice)
{
    const job *const j = arg;
    const eqi_orbit_shape *const s = &j->own->s;
    const equinv_tensor *const diff_dst = &j->call->dst, *const diff_src = &j->call->src;
    const bool accumulate = j->p->desc.accumulate;
    const parts t = parts_of(j, slice);
    for (int64_t first = 0; first < j->p->k; first += EQI_ORBIT_BLOCK) {
        const int64_t width = eqi_orbit_block_width(s, first),
                      count = eqi_smaller(width, j->p->k - first);
        for (int64_t b = 0; b < rows; b++) {
            const float *const from = (const float *)diff_dst->data +
                                      (first_row + b) * diff_dst->strides[0] +
                                      first * diff_dst->strides[1];
            for (int64_t k = 0; k < width; k++)
                t.of.tile[b * width + k] = k < count ? from[k * diff_dst->strides[1]] : 0;
        }
        eqi_orbit_multiply_back(&j->p->ctx->hardware, j->own, &t.of, rows, first);
    }
    for (int64_t b = 0; b < rows; b++) {
        float *const z = (float *)diff_src->data + (first_row + b) * diff_src->strides[0];
        for (int64_t f = 0; f < s->fields; f++)
            for (int64_t a = 0; a < s->order; a++) {
                float *const to = z + f * diff_src->strides[1] + j->members[a];
                const float value = t.of.hat[b * s->pitch + f];
                *to = accumulate ? *to + value : value;
            }
    }
}

static void backward_tile(const void *arg, int64_t first_row, int64_t rows, void *slice)
{
    const job *const j = arg;
    const eqi_orbit_shape *const s = &j->own->s;
    const equinv_tensor *const diff_src = &j->call->src;
    const parts t = parts_of(j, slice);
    for (int64_t first = 0; first < j->p->k; first += EQI_ORBIT_BLOCK) {
        const int64_t width = eqi_orbit_block_width(s, first);
        for (int64_t b = 0; b < rows; b++) {
            float *const row = t.of.tile + b * s->order * width;
            eqi_orbit_transform adjoint = eqi_orbit_transform_of_row(j->own, &t.of, width, row);
            adjoint.turned = true;
            take_gradients(j, &t, first_row + b, first, width, row);
            j->own->kernels->analyse(&adjoint);
        }
        eqi_orbit_multiply_back(&j->p->ctx->hardware, j->own, &t.of, rows, first);
    }
    for (int64_t b = 0; b < rows; b++) {
        j->own->kernels->synthesise(
            &(eqi_orbit_transform){.group = &j->own->group,
                                   .turned = true,
                                   .vectors = eqi_divide_up(s->rank, s->lanes),
                                   .in = t.of.hat + b * s->order * s->pitch,
                                   .in_step = s->pitch,
                                   .out = t.of.staged,
                                   .out_step = s->pitch,
                                   .room = t.of.room});
        put_gradient(j, t.of.staged,
                     (float *)diff_src->data + (first_row + b) * diff_src->strides[0]);
    }
}

/* ---- the whole batch ------------------------------------------------------------------------- */

static void run(const equinv_projection *p, const eqi_projection_call *call, eqi_rows_body *body)
{
    const prepared *const own = p->prepared;
    const eqi_orbit_shape *const s = &own->weights.s;
    const int64_t batch = call->src.shape[0];
    char *rest = call->scratch;
    int64_t *const members = eqi_take(&rest, (size_t)(s->order * s->pixels) * sizeof *members);
    void *const offsets = eqi_take(&rest, eqi_orbit_offsets_size(s));
    if (batch == 0)
        return;
    members_of(p, &call->src, members);
    const job j = {p, call, &own->weights, members, eqi_orbit_offsets_init(s, offsets)};
    const double row_work = (double)(s->products * s->rank) * (double)p->k / 8;
    eqi_parallel_rows(p->ctx, batch, row_work, eqi_orbit_chunk(s, batch, p->ctx->hardware.threads),
                      body, &j, rest, p->slice_size);
}

static equinv_status forward(const equinv_projection *p, const eqi_projection_call *call)
{
    run(p, call, forward_tile);
    return EQUINV_OK;
}

static equinv_status backward(const equinv_projection *p, const eqi_projection_call *call)
{
    run(p, call, is_folded(p) ? backward_folded : backward_tile);
    return EQUINV_OK;
}

static bool supports(const void *problem, const eqi_hardware *hardware, const char **why)
{
    const equinv_projection *const p = problem;
    if (!eqi_require(!p->symmetric, why, "sorting of rows is no product") ||
        !eqi_require(!p->spectral, why, "spectra of signals have no templates") ||
        !eqi_require(p->desc.group.kind != EQUINV_GROUP_TABLE, why,
                     "a group given by a table: products with all its elements instead") ||
        !eqi_require(p->desc.dtype == EQUINV_F32, why, "f32 only") ||
        !eqi_require(p->dimension <= LATENT_MOST, why, "a latent has more than 2^20 numbers"))
        return false;
    if (is_folded(p))
        return eqi_require(p->desc.height * p->desc.width == 1, why,
                           "orbits of pixels are summed field by field");
    const eqi_orbit_shape s = shape_of(p, hardware);
    return eqi_require(eqi_divide_up(p->k * s.order, s.lanes) * s.order >
                           eqi_divide_up(p->k, s.lanes) * s.products,
                       why, "so few templates leave lanes empty");
}

const eqi_projection_implementation eqi_gfourier_projection = {
    {"projection/gfourier", supports}, prepare, release, scratch, forward, backward,
    eqi_gemm_templates_backward,
};
