/*
 * Orbits of inner products by the group Fourier transform, for fp32. Latents and templates fall
 * into orbits of coordinates o = (pixel, field), sequences over the group of members z_o(a),
 * element a at the pixel that a takes there; then
 *     v[k, g] = s sum_o sum_a w_k,o(g a) z_o(a)
 * is a correlation over the group, in coefficients (cpu/gfourier/projection.h) one matrix product
 * an irreducible representation:
 *     sums     v^ = z^ w^
 *     C_n      (C, S) of v = (C, S) of z times [Cw Sw; Sw -Cw]
 *     D_n      V = W Z of 2 x 2, two rows of z^, its columns, a latent
 * with the factors 1 / |G| and 2 / |G| of the inverse and s in the transformed templates. |G|^2
 * products become 2 |G| - 2 or so (C_n) and 2 |G| - 4 (D_n, even n).
 *
 * A tile of latents is transformed, [latent][coefficient][orbit]; then block by block of templates
 * come the products, [latent][coefficient][template], the inverse in place, and the reduction to
 * codes: all in cache, and neither products nor orbits of a whole batch are ever in memory.
 * Backward is the adjoint, step by step.
 *
 * LINEAR and MEAN want the first sum alone: a product |G| times smaller than with all coordinates,
 * written to dst as it is.
 *
 * Products, transforms and reductions do the same for a row whatever stands beside it.
 */
#include <string.h>

#include "cpu/gemm/gemm.h"
#include "cpu/gemm/projection_templates.h"
#include "cpu/gfourier/projection.h"
#include "internal/arithmetic.h"
#include "internal/rows.h"

enum {
    TILE_BYTES = 256 << 10, /* of coefficients of a tile, before and after the products */
    GEMM_ROWS = 6,          /* of a tile of the product on every level but scalar */
    TILE_ROWS = 120,
    TILE_ROWS_LEAST = 12,  /* fewer would read the templates mostly for themselves */
    LATENT_MOST = 1 << 20, /* numbers: a tile of the fewest rows has 64 MiB then */
    BLOCK = 64             /* templates in a block, whole vectors on every level */
};

/* ---- geometry -------------------------------------------------------------------------------- */

/* What follows from the description and the level. */
typedef struct shape {
    int64_t lanes, order, n, fields, pixels;
    bool folded;          /* LINEAR, MEAN: the first coefficient is all that is wanted */
    int64_t coefficients; /* of an orbit: |G|, or that one */
    int64_t halves;       /* columns of a pair's matrix: 1, D_n 2 */
    int64_t sums, pairs;  /* in a half */
    int64_t rank;         /* orbits of coordinates */
    int64_t pitch;        /* of a row of them; what is behind the last is room for whole vectors */
    int64_t width;        /* templates in whole vectors */
    int64_t products;     /* a template and orbit */
    int64_t rows;         /* of a tile */
    int64_t numbers;      /* of eqi_orbit_reduce */
} shape;

static int64_t whole(int64_t count, int64_t lanes)
{
    return eqi_divide_up(count, lanes) * lanes;
}

static bool is_folded(const equinv_projection *p)
{
    return p->desc.kind == EQUINV_PROJECT_LINEAR || p->desc.kind == EQUINV_PROJECT_MEAN;
}

static shape shape_of(const equinv_projection *p, const eqi_hardware *hardware)
{
    const equinv_projection_desc *const d = &p->desc;
    shape s = {.lanes = eqi_orbit_kernels_of(hardware)->lanes,
               .order = p->order,
               .n = d->group.n,
               .fields = d->fields,
               .pixels = d->height * d->width,
               .halves = d->group.kind == EQUINV_GROUP_DIHEDRAL ? 2 : 1,
               .rank = p->rank,
               .numbers = eqi_orbit_numbers(p)};
    s.folded = is_folded(p);
    if (s.folded)
        s.halves = 1;
    s.sums = s.n % 2 == 0 && !s.folded ? 2 : 1;
    s.pairs = s.folded ? 0 : (s.n - 1) / 2;
    s.coefficients = s.folded ? 1 : s.order;
    s.pitch = whole(s.rank, s.lanes) + s.lanes;
    s.width = whole(p->k, s.lanes);
    s.products = s.halves * s.sums + 4 * s.pairs;
    const int64_t row = s.coefficients * (s.pitch + BLOCK) * (int64_t)sizeof(float);
    s.rows = eqi_smaller(TILE_ROWS, eqi_larger(TILE_ROWS_LEAST, TILE_BYTES / row));
    s.rows = s.rows / GEMM_ROWS * GEMM_ROWS;
    return s;
}

/* Coefficient number i of a half: how far it is from the first one. */
static int64_t coefficient(const shape *s, int64_t half, int64_t i, int64_t pitch)
{
    return (half * s->n + i) * pitch;
}

/* ---- templates ------------------------------------------------------------------------------- */

typedef struct prepared {
    size_t size; /* of this and what follows */
    shape s;
    const eqi_orbit_kernels *kernels;
    eqi_orbit_group group;
    /*
     * Block after block of templates; of each, the sums [orbit][template], then the pairs
     * [part of z^][orbit][part of v^][template].
     */
    float *weights;
} prepared;

/* Where the matrix of a sum or a pair stands inside a block of `width` templates. */
static int64_t sum_at(const shape *s, int64_t half, int64_t i, int64_t width)
{
    return (half * s->sums + i) * s->rank * width;
}

static int64_t pair_at(const shape *s, int64_t pair, int64_t width)
{
    return (s->halves * s->sums + 4 * pair) * s->rank * width;
}

static int64_t block_width(const shape *s, int64_t first)
{
    return eqi_smaller(BLOCK, s->width - first);
}

static float *block_of(const prepared *own, int64_t first)
{
    return own->weights + first * own->s.products * own->s.rank;
}

/* Coefficients of a latent at z, [coefficient][orbit]; staged: [element][orbit]. */
static void transform_latent(const prepared *own, const float *z, int64_t field,
                             const int64_t *members, float *staged, float *hat, float *room)
{
    const shape *const s = &own->s;
    if (s->folded) {
        own->kernels->sum(z, field, members, (int32_t)s->order, s->fields, hat);
        return;
    }
    for (int64_t pixel = 0; pixel < s->pixels; pixel++)
        own->kernels->stage(z, field, members + pixel * s->order, (int32_t)s->order, s->fields,
                            staged + pixel * s->fields, s->pitch);
    own->kernels->analyse(&(eqi_orbit_transform){.group = &own->group,
                                                 .vectors = eqi_divide_up(s->rank, s->lanes),
                                                 .in = staged,
                                                 .in_step = s->pitch,
                                                 .out = hat,
                                                 .out_step = s->pitch,
                                                 .room = room});
}

/* Puts one template's coefficients into the block's matrices as column t. */
static void put_template(const shape *s, const float *hat, double scale, int64_t width, int64_t t,
                         float *block)
{
    const float one = (float)(scale / (double)s->order),
                two = (float)(2 * scale / (double)s->order);
    for (int64_t half = 0; half < s->halves; half++)
        for (int64_t i = 0; i < s->sums; i++)
            for (int64_t o = 0; o < s->rank; o++)
                block[sum_at(s, half, i, width) + o * width + t] =
                    one * hat[coefficient(s, half, i, s->pitch) + o];
    for (int64_t pair = 0; pair < s->pairs; pair++) {
        const int64_t at = s->sums + 2 * pair;
        for (int64_t l = 0; l < 2; l++)
            for (int64_t i = 0; i < 2; i++) {
                /* C_n: [C S; S -C]. D_n: entry (i, l), which stands in half i as part l. */
                const bool dihedral = s->halves == 2;
                const float *const from =
                    hat + (dihedral ? coefficient(s, i, at + l, s->pitch)
                                    : coefficient(s, 0, at + (l ^ i), s->pitch));
                const float factor = !dihedral && l == 1 && i == 1 ? -two : two;
                float *const to =
                    block + pair_at(s, pair, width) + (l * s->rank * 2 + i) * width + t;
                for (int64_t o = 0; o < s->rank; o++)
                    to[2 * o * width] = factor * from[o];
            }
    }
}

/* Members of template 0, then a latent staged and transformed, and room. */
static size_t temporary_size(const shape *s, int64_t members)
{
    return (size_t)members * sizeof(int64_t) +
           (size_t)(2 * s->order * (s->pitch + s->lanes)) * sizeof(float) + 4 * EQI_ALIGNMENT;
}

static equinv_status fill_weights(const equinv_projection *p, prepared *own)
{
    const shape *const s = &own->s;
    const size_t size = temporary_size(s, s->order * s->pixels);
    void *temporary;
    EQI_TRY(eqi_alloc_zeroed(p->ctx, (int64_t)size, 1, "transforming templates", &temporary));
    char *rest = temporary;
    int64_t *const members = eqi_take(&rest, (size_t)(s->order * s->pixels) * sizeof *members);
    float *const staged = eqi_take(&rest, (size_t)(s->order * s->pitch) * sizeof *staged);
    float *const hat = eqi_take(&rest, (size_t)(s->order * s->pitch) * sizeof *hat);
    const equinv_tensor *const w = &p->templates;
    eqi_orbit_members(p, w, members);
    for (int64_t k = 0; k < p->k; k++) {
        const int64_t first = k / BLOCK * BLOCK;
        transform_latent(own, (const float *)w->data + k * w->strides[0], w->strides[1], members,
                         staged, hat, (float *)rest);
        put_template(s, hat, p->scale, block_width(s, first), k - first, block_of(own, first));
    }
    eqi_free(p->ctx, temporary, size);
    return EQUINV_OK;
}

static bool prepared_size(const shape *s, size_t *size)
{
    const size_t weights = (size_t)(s->products * s->rank) * sizeof(float);
    const size_t tables = 2 * eqi_aligned((size_t)s->n * sizeof(float));
    return !__builtin_mul_overflow(weights, (size_t)s->width, size) &&
           !__builtin_add_overflow(*size, eqi_aligned(sizeof(prepared)) + tables, size);
}

static equinv_status prepare(equinv_projection *p)
{
    const shape s = shape_of(p, &p->ctx->hardware);
    size_t size;
    void *memory;
    EQI_CHECK(prepared_size(&s, &size), NOMEM, "the prepared templates exceed the address space");
    EQI_TRY(eqi_alloc_zeroed(p->ctx, (int64_t)size, 1, "preparing templates", &memory));
    char *rest = memory;
    prepared *const own = eqi_take(&rest, sizeof *own);
    float *const cosine = eqi_take(&rest, (size_t)s.n * sizeof *cosine);
    float *const sine = eqi_take(&rest, (size_t)s.n * sizeof *sine);
    *own = (prepared){.size = size,
                      .s = s,
                      .kernels = eqi_orbit_kernels_of(&p->ctx->hardware),
                      .group = {(int32_t)s.n, p->order, s.halves == 2, cosine, sine},
                      .weights = (float *)rest};
    equinv_status status = eqi_orbit_turns((int32_t)s.n, cosine, sine);
    if (!status)
        status = fill_weights(p, own);
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
    const prepared *own;
    const int64_t *members;  /* of the call's latents */
    const int64_t *sum_rows; /* of z^, for products of a sum and of a pair */
    const int64_t *pair_rows;
    const int64_t *columns; /* of z^: [2][orbit] */
} job;

typedef struct parts {
    void *workspace;
    float *hat;    /* [latent][coefficient][orbit] */
    float *tile;   /* [latent][coefficient][template] */
    float *staged; /* one latent, [element][orbit] */
    float *room;
    double *v, *out; /* one orbit, for eqi_orbit_reduce and its backward */
    eqi_item *items;
} parts;

static parts parts_of(const shape *s, void *slice)
{
    const size_t row = (size_t)s->order * sizeof(float);
    char *rest = slice;
    parts t;
    t.workspace = eqi_take(&rest, EQI_GEMM_WORKSPACE);
    t.hat = eqi_take(&rest, (size_t)(s->rows * s->pitch * s->coefficients) * sizeof(float));
    t.tile = eqi_take(&rest, (size_t)(s->rows * BLOCK * s->coefficients) * sizeof(float));
    t.staged = eqi_take(&rest, (size_t)s->pitch * row);
    t.room = eqi_take(&rest, 2 * (size_t)s->lanes * row);
    t.v = eqi_take(&rest, 2 * (size_t)s->order * sizeof(double));
    t.out = eqi_take(&rest, (size_t)s->numbers * sizeof(double));
    t.items = (eqi_item *)rest;
    return t;
}

/* No overflow: supports bounds what follows from a latent. */
static bool scratch(const equinv_projection *p, size_t *slice, size_t *shared)
{
    const shape s = shape_of(p, &p->ctx->hardware);
    const size_t tile = (size_t)(s.rows * (s.pitch + BLOCK) * s.coefficients) * sizeof(float);
    const size_t floats = (size_t)(s.pitch + 2 * s.lanes);
    const size_t orbit = 2 * sizeof(double) + 2 * sizeof(eqi_item);
    const size_t templates = eqi_aligned(eqi_gemm_templates_slice(p));
    *slice =
        eqi_aligned(EQI_GEMM_WORKSPACE + tile + (size_t)s.order * (floats * sizeof(float) + orbit) +
                    (size_t)s.numbers * sizeof(double) + 8 * EQI_ALIGNMENT);
    *slice = *slice > templates ? *slice : templates;
    *shared = eqi_aligned((size_t)(s.order * s.pixels) * sizeof(int64_t)) +
              eqi_aligned((size_t)((1 + s.halves) * s.rows) * sizeof(int64_t)) +
              eqi_aligned((size_t)(2 * s.rank) * sizeof(int64_t));
    return true;
}

static void product(const job *j, const eqi_gemm_args *args, void *workspace)
{
    eqi_gemm(&j->p->ctx->hardware, EQUINV_F32, args, workspace);
}

/* Products of a tile's coefficients with a block's templates, representation by representation. */
static void multiply(const job *j, const parts *t, int64_t rows, int64_t first)
{
    const shape *const s = &j->own->s;
    const int64_t width = block_width(s, first);
    const float *const block = block_of(j->own, first);
    for (int64_t half = 0; half < s->halves; half++)
        for (int64_t i = 0; i < s->sums; i++)
            product(j,
                    &(eqi_gemm_args){.m = rows,
                                     .n = width,
                                     .k = s->rank,
                                     .a = t->hat + coefficient(s, half, i, s->pitch),
                                     .a_rows = j->sum_rows,
                                     .a_columns = j->columns,
                                     .b = block + sum_at(s, half, i, width),
                                     .ldb = width,
                                     .packed_b = true,
                                     .c = t->tile + coefficient(s, half, i, width),
                                     .ldc = s->coefficients * width},
                    t->workspace);
    for (int64_t pair = 0; pair < s->pairs; pair++)
        product(j,
                &(eqi_gemm_args){.m = s->halves * rows,
                                 .n = 2 * width,
                                 .k = 2 * s->rank,
                                 .a = t->hat + coefficient(s, 0, s->sums + 2 * pair, s->pitch),
                                 .a_rows = j->pair_rows,
                                 .a_columns = j->columns,
                                 .b = block + pair_at(s, pair, width),
                                 .ldb = 2 * width,
                                 .packed_b = true,
                                 .c = t->tile + coefficient(s, 0, s->sums + 2 * pair, width),
                                 .ldc = s->n * width},
                t->workspace);
}

/*
 * The adjoint: gradients of a tile's coefficients, set by the first block and added to by the
 * others.
 */
static void multiply_back(const job *j, const parts *t, int64_t rows, int64_t first)
{
    const shape *const s = &j->own->s;
    const int64_t width = block_width(s, first);
    const float *const block = block_of(j->own, first);
    eqi_gemm_args args = {.transpose_b = true, .n = s->rank, .accumulate = first > 0};
    for (int64_t half = 0; half < s->halves; half++)
        for (int64_t i = 0; i < s->sums; i++) {
            args.m = rows;
            args.k = args.ldb = width;
            args.a = t->tile + coefficient(s, half, i, width);
            args.lda = s->coefficients * width;
            args.b = block + sum_at(s, half, i, width);
            args.c = t->hat + coefficient(s, half, i, s->pitch);
            args.ldc = s->coefficients * s->pitch;
            product(j, &args, t->workspace);
        }
    for (int64_t pair = 0; pair < s->pairs; pair++)
        for (int64_t l = 0; l < 2; l++) {
            args.m = s->halves * rows;
            args.k = args.ldb = 2 * width;
            args.a = t->tile + coefficient(s, 0, s->sums + 2 * pair, width);
            args.lda = s->n * width;
            args.b = block + pair_at(s, pair, width) + l * s->rank * 2 * width;
            args.c = t->hat + coefficient(s, 0, s->sums + 2 * pair + l, s->pitch);
            args.ldc = s->n * s->pitch;
            product(j, &args, t->workspace);
        }
}

/* ---- codes ----------------------------------------------------------------------------------- */

static eqi_orbit_transform of_tile(const job *j, const parts *t, int64_t width, float *row)
{
    return (eqi_orbit_transform){.group = &j->own->group,
                                 .vectors = width / j->own->s.lanes,
                                 .in = row,
                                 .in_step = width,
                                 .out = row,
                                 .out_step = width,
                                 .room = t->room};
}

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
    const shape *const s = &j->own->s;
    const equinv_tensor *const dst = &j->call->dst;
    const int64_t width = block_width(s, first), count = eqi_smaller(width, j->p->k - first);
    float *const to = (float *)dst->data + first_row * dst->strides[0] + first * dst->strides[1];
    const bool in_place = dst->strides[1] == 1 && (rows == 1 || dst->strides[0] >= count);
    product(j,
            &(eqi_gemm_args){.m = rows,
                             .n = count,
                             .k = s->rank,
                             .a = t->hat,
                             .lda = s->pitch,
                             .b = block_of(j->own, first),
                             .ldb = width,
                             .packed_b = true,
                             .c = in_place ? to : t->tile,
                             .ldc = in_place ? dst->strides[0] : width},
            t->workspace);
    for (int64_t b = 0; b < rows && !in_place; b++)
        for (int64_t k = 0; k < count; k++)
            to[b * dst->strides[0] + k * dst->strides[1]] = t->tile[b * width + k];
}

static void forward_tile(const void *arg, int64_t first_row, int64_t rows, void *slice)
{
    const job *const j = arg;
    const shape *const s = &j->own->s;
    const equinv_tensor *const src = &j->call->src;
    const parts t = parts_of(s, slice);
    for (int64_t b = 0; b < rows; b++)
        transform_latent(j->own, (const float *)src->data + (first_row + b) * src->strides[0],
                         src->strides[1], j->members, t.staged,
                         t.hat + b * s->coefficients * s->pitch, t.room);
    for (int64_t first = 0; first < j->p->k; first += BLOCK) {
        const int64_t width = block_width(s, first);
        if (s->folded) {
            multiply_folded(j, &t, first_row, rows, first);
            continue;
        }
        multiply(j, &t, rows, first);
        for (int64_t b = 0; b < rows; b++) {
            float *const row = t.tile + b * s->order * width;
            const eqi_orbit_transform back = of_tile(j, &t, width, row);
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
    const shape *const s = &j->own->s;
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
    const shape *const s = &j->own->s;
    const equinv_tensor *const diff_dst = &j->call->dst, *const diff_src = &j->call->src;
    const bool accumulate = j->p->desc.accumulate;
    const parts t = parts_of(s, slice);
    for (int64_t first = 0; first < j->p->k; first += BLOCK) {
        const int64_t width = block_width(s, first), count = eqi_smaller(width, j->p->k - first);
        for (int64_t b = 0; b < rows; b++) {
            const float *const from = (const float *)diff_dst->data +
                                      (first_row + b) * diff_dst->strides[0] +
                                      first * diff_dst->strides[1];
            for (int64_t k = 0; k < width; k++)
                t.tile[b * width + k] = k < count ? from[k * diff_dst->strides[1]] : 0;
        }
        multiply_back(j, &t, rows, first);
    }
    for (int64_t b = 0; b < rows; b++) {
        float *const z = (float *)diff_src->data + (first_row + b) * diff_src->strides[0];
        for (int64_t f = 0; f < s->fields; f++)
            for (int64_t a = 0; a < s->order; a++) {
                float *const to = z + f * diff_src->strides[1] + j->members[a];
                const float value = t.hat[b * s->pitch + f];
                *to = accumulate ? *to + value : value;
            }
    }
}

static void backward_tile(const void *arg, int64_t first_row, int64_t rows, void *slice)
{
    const job *const j = arg;
    const shape *const s = &j->own->s;
    const equinv_tensor *const diff_src = &j->call->src;
    const parts t = parts_of(s, slice);
    for (int64_t first = 0; first < j->p->k; first += BLOCK) {
        const int64_t width = block_width(s, first);
        for (int64_t b = 0; b < rows; b++) {
            float *const row = t.tile + b * s->order * width;
            eqi_orbit_transform adjoint = of_tile(j, &t, width, row);
            adjoint.turned = true;
            take_gradients(j, &t, first_row + b, first, width, row);
            j->own->kernels->analyse(&adjoint);
        }
        multiply_back(j, &t, rows, first);
    }
    for (int64_t b = 0; b < rows; b++) {
        j->own->kernels->synthesise(
            &(eqi_orbit_transform){.group = &j->own->group,
                                   .turned = true,
                                   .vectors = eqi_divide_up(s->rank, s->lanes),
                                   .in = t.hat + b * s->order * s->pitch,
                                   .in_step = s->pitch,
                                   .out = t.staged,
                                   .out_step = s->pitch,
                                   .room = t.room});
        put_gradient(j, t.staged, (float *)diff_src->data + (first_row + b) * diff_src->strides[0]);
    }
}

/* ---- the whole batch ------------------------------------------------------------------------- */

static void run(const equinv_projection *p, const eqi_projection_call *call, eqi_rows_body *body)
{
    const prepared *const own = p->prepared;
    const shape *const s = &own->s;
    const int64_t batch = call->src.shape[0], threads = p->ctx->hardware.threads;
    char *rest = call->scratch;
    int64_t *const members = eqi_take(&rest, (size_t)(s->order * s->pixels) * sizeof *members);
    int64_t *const rows = eqi_take(&rest, (size_t)((1 + s->halves) * s->rows) * sizeof *rows);
    int64_t *const columns = eqi_take(&rest, (size_t)(2 * s->rank) * sizeof *columns);
    if (batch == 0)
        return;
    eqi_orbit_members(p, &call->src, members);
    for (int64_t b = 0; b < s->rows; b++)
        rows[b] = b * s->coefficients * s->pitch;
    for (int64_t b = 0; b < s->halves * s->rows; b++)
        rows[s->rows + b] = b * s->n * s->pitch;
    for (int64_t i = 0; i < 2 * s->rank; i++)
        columns[i] = i / s->rank * s->pitch + i % s->rank;
    const job j = {p, call, own, members, rows, rows + s->rows, columns};
    /* Small batches are cut further, so that all threads have work. */
    const int64_t share = eqi_larger(TILE_ROWS_LEAST, eqi_divide_up(batch, threads));
    const int64_t chunk = whole(eqi_divide_up(share, eqi_divide_up(share, s->rows)), GEMM_ROWS);
    const double row_work = (double)(s->products * s->rank) * (double)p->k / 8;
    eqi_parallel_rows(p->ctx, batch, row_work, chunk, body, &j, rest, p->slice_size);
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
    const shape s = shape_of(p, hardware);
    return eqi_require(eqi_divide_up(p->k * s.order, s.lanes) * s.order >
                           eqi_divide_up(p->k, s.lanes) * s.products,
                       why, "so few templates leave lanes empty");
}

const eqi_projection_implementation eqi_gfourier_projection = {
    {"projection/gfourier", supports}, prepare, release, scratch, forward, backward,
    eqi_gemm_templates_backward,
};
