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

enum {
    LATENT_MOST = 1 << 20,    /* numbers: a tile of the fewest rows has 64 MiB then */
    GRADIENT_BYTES = 4 << 20, /* of a block of templates, at most */
    BLOCK_LEAST = 16          /* templates in it */
};

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
    int64_t block; /* gradients of templates: how many a task takes, whole vectors */
    const int64_t *template_members;
} job;

typedef struct parts {
    eqi_orbit_tile of;
    double *v, *out; /* one orbit, for eqi_orbit_reduce and its backward */
    eqi_item *items;
    float *gradient; /* of a block of templates, from one tile */
    double *sum;     /* from all */
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
    t.items = eqi_take(&rest, 2 * (size_t)j->p->order * sizeof *t.items);
    t.gradient =
        eqi_take(&rest, (size_t)eqi_orbit_gradient_size(&j->own->s, j->block) * sizeof(float));
    t.sum = (double *)(void *)rest;
    return t;
}

/*
 * Templates whose gradient a task takes; 0: latents are so large that turned ones are multiplied
 * instead. Few templates are cut further, so that all threads have work.
 */
static int64_t gradient_block(const equinv_projection *p, const eqi_orbit_shape *s)
{
    const int64_t number = (int64_t)(sizeof(float) + sizeof(double));
    int64_t block = EQI_ORBIT_BLOCK;
    while (block > BLOCK_LEAST && (eqi_orbit_gradient_size(s, block) * number > GRADIENT_BYTES ||
                                   eqi_divide_up(p->k, block) < p->ctx->hardware.threads))
        block /= 2;
    return eqi_orbit_gradient_size(s, block) * number > GRADIENT_BYTES ? 0 : block;
}

/* No overflow: supports bounds what follows from a latent. */
static bool scratch(const equinv_projection *p, size_t *slice, size_t *shared)
{
    const eqi_orbit_shape s = shape_of(p, &p->ctx->hardware);
    const int64_t block = gradient_block(p, &s);
    const size_t numbers = (size_t)eqi_orbit_gradient_size(&s, block);
    const size_t templates = block > 0 ? 0 : eqi_aligned(eqi_gemm_templates_slice(p));
    size_t v, out;
    *slice = eqi_orbit_tile_size(&s) + orbit_size(p, &v, &out) +
             eqi_aligned(numbers * sizeof(float)) + eqi_aligned(numbers * sizeof(double));
    *slice = *slice > templates ? *slice : templates;
    *shared = 2 * eqi_aligned((size_t)(s.order * s.pixels) * sizeof(int64_t)) +
              eqi_orbit_offsets_size(&s);
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

/* Of one template: where its derivatives go, `width` apart, from those of its codes. */
typedef struct derivatives {
    const equinv_projection *p;
    const float
        *code; /* the gradient of the first of its codes; the next is `element` numbers on */
    int64_t element;
    const void *saved;
    float *to; /* 0 at first */
    int64_t width;
} derivatives;

/* Kinds that chose members of the orbit. */
static void take_chosen(const derivatives *d)
{
    const int32_t *const member = d->saved;
    for (int64_t i = 0; i < d->p->outputs; i++)
        if (member[i] >= 0 && member[i] < d->p->order)
            d->to[member[i] * d->width] = d->code[i * d->element];
}

/* x or 0, without a branch: signs of members are not to be foreseen. */
EQI_INLINE float kept(bool keep, float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits &= -(uint32_t)keep;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Kinds that are sums of a function of the members; eqi_orbit_slope of each. */
EQI_INLINE void take_slopes(const derivatives *d, const equinv_projection_kind kind)
{
    const float *const member = d->saved;
    const double mean = (double)*d->code / d->p->order;
    const float up = (float)mean;
    for (int32_t g = 0; g < d->p->order; g++) {
        const float x = member[g];
        d->to[g * d->width] = kind == EQUINV_PROJECT_MEAN_RELU ? kept(x > 0, up)
                              : kind == EQUINV_PROJECT_MEAN_ABS
                                  ? kept(x > 0, up) - kept(x < 0, up)
                                  : (float)eqi_orbit_slope(kind, (double)x, mean);
    }
}

static void take_orbit(const derivatives *d)
{
    for (int32_t g = 0; g < d->p->order; g++)
        d->to[g * d->width] = d->code[g * d->element];
}

/* As eqi_orbit_reduce_backward, by scaled inner products: the templates have the scale already. */
static void take_derivatives(const derivatives *d)
{
    switch (d->p->desc.kind) {
    case EQUINV_PROJECT_MAX:
    case EQUINV_PROJECT_MIN:
    case EQUINV_PROJECT_SORTED: take_chosen(d); break;
    case EQUINV_PROJECT_ORBIT: take_orbit(d); break;
    case EQUINV_PROJECT_MEAN_RELU: take_slopes(d, EQUINV_PROJECT_MEAN_RELU); break;
    case EQUINV_PROJECT_MEAN_ABS: take_slopes(d, EQUINV_PROJECT_MEAN_ABS); break;
    case EQUINV_PROJECT_MEAN_SQUARE: take_slopes(d, EQUINV_PROJECT_MEAN_SQUARE); break;
    case EQUINV_PROJECT_MOMENT3: take_slopes(d, EQUINV_PROJECT_MOMENT3); break;
    default: break; /* CDF: 0 */
    }
}

/* Derivatives by the inner products, [element][template], with 0 where a block has no template. */
static void take_gradients(const job *j, int64_t b, int64_t first, int64_t width, float *orbits)
{
    const equinv_projection *const p = j->p;
    const equinv_tensor *const diff_dst = &j->call->dst;
    const eqi_saved_kind saved = eqi_projection_saved_kind(p->desc.kind);
    const int64_t count = eqi_smaller(width, p->k - first);
    const int64_t numbers = saved == EQI_SAVED_VALUE ? p->order : p->outputs; /* of 4 bytes */
    memset(orbits, 0, (size_t)(p->order * width) * sizeof *orbits);
    for (int64_t k = 0; k < count; k++) {
        const int64_t template = first + k;
        derivatives d = {.p = p,
                         .code = (const float *)diff_dst->data + b * diff_dst->strides[0] +
                                 template * diff_dst->strides[1],
                         .element = diff_dst->ndim == 3 ? diff_dst->strides[2] : 0,
                         .to = orbits + k,
                         .width = width};
        if (saved != EQI_SAVED_NONE)
            d.saved = (const float *)j->call->saved + (b * p->k + template) * numbers;
        take_derivatives(&d);
    }
}

/*
 * The gradient of a latent or template from that of its coefficients, to its places: fields `field`
 * apart. Folded: all members of an orbit get one number.
 */
static void put_gradient(const job *j, const eqi_orbit_tile *t, const float *hat, float *to,
                         int64_t field, const int64_t *members)
{
    const eqi_orbit_shape *const s = &j->own->s;
    if (!s->folded)
        j->own->kernels->synthesise(
            &(eqi_orbit_transform){.group = &j->own->group,
                                   .turned = true,
                                   .vectors = eqi_divide_up(s->rank, s->lanes),
                                   .in = hat,
                                   .in_step = s->pitch,
                                   .out = t->staged,
                                   .out_step = s->pitch,
                                   .room = t->room});
    for (int64_t pixel = 0; pixel < s->pixels; pixel++)
        j->own->kernels->unstage((s->folded ? hat : t->staged) + pixel * s->fields,
                                 s->folded ? 0 : s->pitch, members + pixel * s->order,
                                 (int32_t)s->order, s->fields, j->p->desc.accumulate, to, field);
}

/* LINEAR, MEAN: gradients of codes of a tile as they are, with 0 where a block has no template. */
static void take_codes(const job *j, const parts *t, int64_t first_row, int64_t rows, int64_t first,
                       int64_t width)
{
    const equinv_tensor *const diff_dst = &j->call->dst;
    const int64_t count = eqi_smaller(width, j->p->k - first), step = diff_dst->strides[1];
    for (int64_t b = 0; b < rows; b++) {
        const float *const from =
            (const float *)diff_dst->data + (first_row + b) * diff_dst->strides[0] + first * step;
        float *const to = t->of.tile + b * width;
        if (step == 1)
            memcpy(to, from, (size_t)count * sizeof *to);
        else
            for (int64_t k = 0; k < count; k++)
                to[k] = from[k * step];
        memset(to + count, 0, (size_t)(width - count) * sizeof *to);
    }
}

/* Gradients of a tile's products with templates first .. first + width - 1, in coefficients. */
static void take_tile(const job *j, const parts *t, int64_t first_row, int64_t rows, int64_t first,
                      int64_t width)
{
    if (j->own->s.folded) {
        take_codes(j, t, first_row, rows, first, width);
        return;
    }
    for (int64_t b = 0; b < rows; b++) {
        float *const row = t->of.tile + b * j->own->s.order * width;
        eqi_orbit_transform adjoint = eqi_orbit_transform_of_row(j->own, &t->of, width, row);
        adjoint.turned = true;
        take_gradients(j, first_row + b, first, width, row);
        j->own->kernels->analyse(&adjoint);
    }
}

static void backward_tile(const void *arg, int64_t first_row, int64_t rows, void *slice)
{
    const job *const j = arg;
    const eqi_orbit_shape *const s = &j->own->s;
    const equinv_tensor *const diff_src = &j->call->src;
    const parts t = parts_of(j, slice);
    for (int64_t first = 0; first < j->p->k; first += EQI_ORBIT_BLOCK) {
        take_tile(j, &t, first_row, rows, first, eqi_orbit_block_width(s, first));
        eqi_orbit_multiply_back(&j->p->ctx->hardware, j->own, &t.of, rows, first);
    }
    for (int64_t b = 0; b < rows; b++)
        put_gradient(j, &t.of, t.of.hat + b * s->coefficients * s->pitch,
                     (float *)diff_src->data + (first_row + b) * diff_src->strides[0],
                     diff_src->strides[1], j->members);
}

/* ---- gradients of templates ------------------------------------------------------------------ */

/* Coefficients of a tile of latents. */
static void transform_tile(const job *j, const parts *t, int64_t first_row, int64_t rows)
{
    const eqi_orbit_shape *const s = &j->own->s;
    const equinv_tensor *const src = &j->call->src;
    for (int64_t b = 0; b < rows; b++)
        eqi_orbit_transform_latent(
            j->own, (const float *)src->data + (first_row + b) * src->strides[0], src->strides[1],
            j->members, &t->of, t->of.hat + b * s->coefficients * s->pitch);
}

/* Blocks of templates go through the whole batch. Tiles are added in double, in its order. */
static void backward_blocks(const void *arg, int64_t first_block, int64_t blocks, void *slice)
{
    const job *const j = arg;
    const eqi_orbit_shape *const s = &j->own->s;
    const equinv_tensor *const diff = &j->call->templates;
    const int64_t batch = j->call->src.shape[0], width = j->block;
    const int64_t numbers = eqi_orbit_gradient_size(s, width);
    const parts t = parts_of(j, slice);
    for (int64_t block = first_block; block < first_block + blocks; block++) {
        const int64_t first = block * width, count = eqi_smaller(width, j->p->k - first);
        for (int64_t i = 0; i < numbers; i++)
            t.sum[i] = 0;
        for (int64_t b = 0; b < batch; b += s->rows) {
            const int64_t rows = eqi_smaller(s->rows, batch - b);
            transform_tile(j, &t, b, rows);
            take_tile(j, &t, b, rows, first, width);
            eqi_orbit_multiply_weights(&j->p->ctx->hardware, s, &t.of, rows, width, t.gradient);
            for (int64_t i = 0; i < numbers; i++)
                t.sum[i] += (double)t.gradient[i];
        }
        for (int64_t k = 0; k < count; k++) {
            eqi_orbit_take_template(s, t.sum, j->p->scale, width, k, t.of.hat);
            put_gradient(j, &t.of, t.of.hat, (float *)diff->data + (first + k) * diff->strides[0],
                         diff->strides[1], j->template_members);
        }
    }
}

/* ---- the whole batch ------------------------------------------------------------------------- */

static void run(const equinv_projection *p, const eqi_projection_call *call, eqi_rows_body *body)
{
    const prepared *const own = p->prepared;
    const eqi_orbit_shape *const s = &own->weights.s;
    const int64_t batch = call->src.shape[0];
    const size_t places = (size_t)(s->order * s->pixels) * sizeof(int64_t);
    char *rest = call->scratch;
    int64_t *const members = eqi_take(&rest, places);
    int64_t *const template_members = eqi_take(&rest, places);
    void *const offsets = eqi_take(&rest, eqi_orbit_offsets_size(s));
    job j = {p,
             call,
             &own->weights,
             members,
             eqi_orbit_offsets_init(s, offsets),
             gradient_block(p, s),
             template_members};
    members_of(p, &call->src, members);
    const double row_work = (double)(s->products * s->rank) * (double)p->k / 8;
    if (body == backward_blocks) {
        members_of(p, &call->templates, template_members);
        eqi_parallel_rows(p->ctx, eqi_divide_up(p->k, j.block),
                          row_work * (double)batch / (double)p->k * (double)j.block, 1, body, &j,
                          rest, p->slice_size);
    } else if (batch > 0)
        eqi_parallel_rows(p->ctx, batch, row_work,
                          eqi_orbit_chunk(s, batch, p->ctx->hardware.threads), body, &j, rest,
                          p->slice_size);
}

static equinv_status forward(const equinv_projection *p, const eqi_projection_call *call)
{
    run(p, call, forward_tile);
    return EQUINV_OK;
}

static equinv_status backward(const equinv_projection *p, const eqi_projection_call *call)
{
    run(p, call, backward_tile);
    return EQUINV_OK;
}

static equinv_status backward_templates(const equinv_projection *p, const eqi_projection_call *call)
{
    if (gradient_block(p, &((const prepared *)p->prepared)->weights.s) == 0)
        return eqi_gemm_templates_backward(p, call);
    run(p, call, backward_blocks);
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
    {"projection/gfourier", supports, NULL},
    prepare,
    release,
    scratch,
    forward,
    backward,
    backward_templates,
};
