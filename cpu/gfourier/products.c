#include "cpu/gfourier/products.h"

#include "cpu/gemm/gemm.h"
#include "internal/arithmetic.h"
#include "internal/rows.h"

enum {
    TILE_BYTES = 256 << 10, /* of coefficients of a tile, before and after the products */
    TILE_ROWS = 120,
    TOGETHER = 16 /* templates that are transformed before they are put into their block */
};

/* ---- geometry -------------------------------------------------------------------------------- */

static int64_t whole(int64_t count, int64_t lanes)
{
    return eqi_divide_up(count, lanes) * lanes;
}

eqi_orbit_shape eqi_orbit_shape_of(const eqi_hardware *hardware, equinv_group group, int64_t fields,
                                   int64_t pixels, int64_t templates, bool folded)
{
    eqi_orbit_shape s = {.lanes = eqi_orbit_kernels_of(hardware)->lanes,
                         .order = eqi_order(group),
                         .n = group.n,
                         .fields = fields,
                         .pixels = pixels,
                         .folded = folded,
                         .halves = group.kind == EQUINV_GROUP_DIHEDRAL && !folded ? 2 : 1,
                         .rank = fields * pixels,
                         .templates = templates};
    s.sums = s.n % 2 == 0 && !folded ? 2 : 1;
    s.pairs = folded ? 0 : (s.n - 1) / 2;
    s.coefficients = folded ? 1 : s.order;
    s.pitch = whole(s.rank, s.lanes) + s.lanes;
    s.width = whole(templates, s.lanes);
    s.products = s.halves * s.sums + 4 * s.pairs;
    const int64_t row = s.coefficients * (s.pitch + EQI_ORBIT_BLOCK) * (int64_t)sizeof(float);
    s.rows = eqi_smaller(TILE_ROWS, eqi_larger(EQI_ORBIT_ROWS_LEAST, TILE_BYTES / row));
    s.rows = s.rows / EQI_ORBIT_ROWS * EQI_ORBIT_ROWS;
    return s;
}

int64_t eqi_orbit_chunk(const eqi_orbit_shape *s, int64_t batch, int64_t threads)
{
    const int64_t share = eqi_larger(EQI_ORBIT_ROWS_LEAST, eqi_divide_up(batch, threads));
    return whole(eqi_divide_up(share, eqi_divide_up(share, s->rows)), EQI_ORBIT_ROWS);
}

/* Coefficient number i of a half: how far it is from the first one. */
static int64_t coefficient(const eqi_orbit_shape *s, int64_t half, int64_t i, int64_t pitch)
{
    return (half * s->n + i) * pitch;
}

/* ---- templates ------------------------------------------------------------------------------- */

/* Where the matrix of a sum or a pair stands inside a block of `width` templates. */
static int64_t sum_at(const eqi_orbit_shape *s, int64_t half, int64_t i, int64_t width)
{
    return (half * s->sums + i) * s->rank * width;
}

static int64_t pair_at(const eqi_orbit_shape *s, int64_t pair, int64_t width)
{
    return (s->halves * s->sums + 4 * pair) * s->rank * width;
}

bool eqi_orbit_weights_size(const eqi_orbit_shape *s, size_t *size)
{
    const size_t weights = (size_t)(s->products * s->rank) * sizeof(float);
    const size_t tables = 2 * eqi_orbit_turns_size(s->n);
    return !__builtin_mul_overflow(weights, (size_t)s->width, size) &&
           !__builtin_add_overflow(*size, tables, size);
}

equinv_status eqi_orbit_weights_init(const eqi_hardware *hardware, equinv_group group,
                                     const eqi_orbit_shape *s, void *memory, eqi_orbit_weights *w)
{
    char *rest = memory;
    float *const cosine = eqi_take(&rest, eqi_orbit_turns_size(s->n));
    float *const sine = eqi_take(&rest, eqi_orbit_turns_size(s->n));
    const bool dihedral = group.kind == EQUINV_GROUP_DIHEDRAL;
    *w = (eqi_orbit_weights){.s = *s,
                             .kernels = eqi_orbit_kernels_of(hardware),
                             .group = {(int32_t)s->n, (int32_t)s->order, dihedral, cosine, sine},
                             .blocks = (float *)rest};
    return eqi_orbit_turns((int32_t)s->n, cosine, sine);
}

/*
 * One coefficient of `count` templates, each `row` numbers after the one before, to rows `step`
 * apart.
 */
static void put_coefficient(const float *hat, int64_t row, int64_t count, int64_t rank,
                            float factor, int64_t step, float *to)
{
    for (int64_t o = 0; o < rank; o++)
        for (int64_t t = 0; t < count; t++)
            to[o * step + t] = factor * hat[t * row + o];
}

/* Puts the coefficients of `count` templates into the block's matrices from column t on. */
static void put_templates(const eqi_orbit_shape *s, const float *hat, double scale, int64_t width,
                          int64_t t, int64_t count, float *block)
{
    const float one = (float)(scale / (double)s->order),
                two = (float)(2 * scale / (double)s->order);
    const int64_t row = s->coefficients * s->pitch;
    for (int64_t half = 0; half < s->halves; half++)
        for (int64_t i = 0; i < s->sums; i++)
            put_coefficient(hat + coefficient(s, half, i, s->pitch), row, count, s->rank, one,
                            width, block + sum_at(s, half, i, width) + t);
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
                put_coefficient(from, row, count, s->rank, factor, 2 * width,
                                block + pair_at(s, pair, width) + (l * s->rank * 2 + i) * width +
                                    t);
            }
    }
}

static size_t staged_size(const eqi_orbit_shape *s)
{
    return eqi_aligned((size_t)(s->order * s->pitch) * sizeof(float));
}

static size_t room_size(const eqi_orbit_shape *s)
{
    return eqi_aligned((size_t)(3 * s->order * s->lanes) * sizeof(float));
}

size_t eqi_orbit_fill_size(const eqi_orbit_shape *s)
{
    return staged_size(s) + room_size(s) +
           eqi_aligned((size_t)(TOGETHER * s->coefficients * s->pitch) * sizeof(float));
}

void eqi_orbit_fill_block(const eqi_orbit_weights *w, const float *templates, int64_t row,
                          int64_t field, const int64_t *members, double scale, int64_t first,
                          void *slice)
{
    const eqi_orbit_shape *const s = &w->s;
    const int64_t end = eqi_smaller(s->templates, first + EQI_ORBIT_BLOCK);
    char *rest = slice;
    eqi_orbit_tile t = {0};
    t.staged = eqi_take(&rest, staged_size(s));
    t.room = eqi_take(&rest, room_size(s));
    t.hat = (float *)rest;
    for (int64_t k = first; k < end; k += TOGETHER) {
        const int64_t count = eqi_smaller(TOGETHER, end - k);
        for (int64_t i = 0; i < count; i++)
            eqi_orbit_transform_latent(w, templates + (k + i) * row, field, members, &t,
                                       t.hat + i * s->coefficients * s->pitch);
        put_templates(s, t.hat, scale, eqi_orbit_block_width(s, first), k - first, count,
                      eqi_orbit_block(w, first));
    }
}

/* ---- a tile ---------------------------------------------------------------------------------- */

size_t eqi_orbit_offsets_size(const eqi_orbit_shape *s)
{
    return eqi_aligned((size_t)((1 + s->halves) * s->rows + 2 * s->rank) * sizeof(int64_t));
}

eqi_orbit_offsets eqi_orbit_offsets_init(const eqi_orbit_shape *s, void *memory)
{
    int64_t *const sums = memory, *const pairs = sums + s->rows;
    int64_t *const columns = pairs + s->halves * s->rows;
    for (int64_t b = 0; b < s->rows; b++)
        sums[b] = b * s->coefficients * s->pitch;
    for (int64_t b = 0; b < s->halves * s->rows; b++)
        pairs[b] = b * s->n * s->pitch;
    for (int64_t i = 0; i < 2 * s->rank; i++)
        columns[i] = i / s->rank * s->pitch + i % s->rank;
    return (eqi_orbit_offsets){sums, pairs, columns};
}

static size_t hat_size(const eqi_orbit_shape *s)
{
    return eqi_aligned((size_t)(s->rows * s->pitch * s->coefficients) * sizeof(float));
}

static size_t products_size(const eqi_orbit_shape *s)
{
    return eqi_aligned((size_t)(s->rows * EQI_ORBIT_BLOCK * s->coefficients) * sizeof(float));
}

size_t eqi_orbit_tile_size(const eqi_orbit_shape *s)
{
    return EQI_GEMM_WORKSPACE + hat_size(s) + products_size(s) + staged_size(s) + room_size(s);
}

eqi_orbit_tile eqi_orbit_tile_take(const eqi_orbit_shape *s, char **slice)
{
    eqi_orbit_tile t;
    t.workspace = eqi_take(slice, EQI_GEMM_WORKSPACE);
    t.hat = eqi_take(slice, hat_size(s));
    t.tile = eqi_take(slice, products_size(s));
    t.staged = eqi_take(slice, staged_size(s));
    t.room = eqi_take(slice, room_size(s));
    return t;
}

void eqi_orbit_transform_latent(const eqi_orbit_weights *w, const float *z, int64_t field,
                                const int64_t *members, const eqi_orbit_tile *t, float *hat)
{
    const eqi_orbit_shape *const s = &w->s;
    if (s->folded) {
        w->kernels->sum(z, field, members, (int32_t)s->order, s->fields, hat);
        return;
    }
    for (int64_t pixel = 0; pixel < s->pixels; pixel++)
        w->kernels->stage(z, field, members + pixel * s->order, (int32_t)s->order, s->fields,
                          t->staged + pixel * s->fields, s->pitch);
    w->kernels->analyse(&(eqi_orbit_transform){.group = &w->group,
                                               .vectors = eqi_divide_up(s->rank, s->lanes),
                                               .in = t->staged,
                                               .in_step = s->pitch,
                                               .out = hat,
                                               .out_step = s->pitch,
                                               .room = t->room});
}

void eqi_orbit_multiply(const eqi_hardware *hardware, const eqi_orbit_weights *w,
                        const eqi_orbit_offsets *offsets, const eqi_orbit_tile *t, int64_t rows,
                        int64_t first)
{
    const eqi_orbit_shape *const s = &w->s;
    const int64_t width = eqi_orbit_block_width(s, first);
    const float *const block = eqi_orbit_block(w, first);
    eqi_gemm_args args = {.a_columns = offsets->columns, .packed_b = true};
    args.m = rows;
    args.n = args.ldb = width;
    args.k = s->rank;
    args.a_rows = offsets->sum_rows;
    args.ldc = s->coefficients * width;
    for (int64_t half = 0; half < s->halves; half++)
        for (int64_t i = 0; i < s->sums; i++) {
            args.a = t->hat + coefficient(s, half, i, s->pitch);
            args.b = block + sum_at(s, half, i, width);
            args.c = t->tile + coefficient(s, half, i, width);
            eqi_gemm(hardware, EQUINV_F32, &args, t->workspace);
        }
    args.m = s->halves * rows;
    args.n = args.ldb = 2 * width;
    args.k = 2 * s->rank;
    args.a_rows = offsets->pair_rows;
    args.ldc = s->n * width;
    for (int64_t pair = 0; pair < s->pairs; pair++) {
        args.a = t->hat + coefficient(s, 0, s->sums + 2 * pair, s->pitch);
        args.b = block + pair_at(s, pair, width);
        args.c = t->tile + coefficient(s, 0, s->sums + 2 * pair, width);
        eqi_gemm(hardware, EQUINV_F32, &args, t->workspace);
    }
}

void eqi_orbit_multiply_back(const eqi_hardware *hardware, const eqi_orbit_weights *w,
                             const eqi_orbit_tile *t, int64_t rows, int64_t first)
{
    const eqi_orbit_shape *const s = &w->s;
    const int64_t width = eqi_orbit_block_width(s, first);
    const float *const block = eqi_orbit_block(w, first);
    eqi_gemm_args args = {.transpose_b = true, .n = s->rank, .accumulate = first > 0};
    args.m = rows;
    args.k = args.ldb = width;
    args.lda = s->coefficients * width;
    args.ldc = s->coefficients * s->pitch;
    for (int64_t half = 0; half < s->halves; half++)
        for (int64_t i = 0; i < s->sums; i++) {
            args.a = t->tile + coefficient(s, half, i, width);
            args.b = block + sum_at(s, half, i, width);
            args.c = t->hat + coefficient(s, half, i, s->pitch);
            eqi_gemm(hardware, EQUINV_F32, &args, t->workspace);
        }
    args.m = s->halves * rows;
    args.k = args.ldb = 2 * width;
    args.lda = s->n * width;
    args.ldc = s->n * s->pitch;
    for (int64_t pair = 0; pair < s->pairs; pair++)
        for (int64_t l = 0; l < 2; l++) {
            args.a = t->tile + coefficient(s, 0, s->sums + 2 * pair, width);
            args.b = block + pair_at(s, pair, width) + l * s->rank * 2 * width;
            args.c = t->hat + coefficient(s, 0, s->sums + 2 * pair + l, s->pitch);
            eqi_gemm(hardware, EQUINV_F32, &args, t->workspace);
        }
}

void eqi_orbit_multiply_weights(const eqi_hardware *hardware, const eqi_orbit_shape *s,
                                const eqi_orbit_tile *t, int64_t rows, int64_t width,
                                float *gradient)
{
    eqi_gemm_args args = {.transpose_a = true, .m = s->rank};
    args.n = args.ldc = width;
    args.k = rows;
    args.lda = s->coefficients * s->pitch;
    args.ldb = s->coefficients * width;
    for (int64_t half = 0; half < s->halves; half++)
        for (int64_t i = 0; i < s->sums; i++) {
            args.a = t->hat + coefficient(s, half, i, s->pitch);
            args.b = t->tile + coefficient(s, half, i, width);
            args.c = gradient + sum_at(s, half, i, width);
            eqi_gemm(hardware, EQUINV_F32, &args, t->workspace);
        }
    args.n = args.ldc = 2 * width;
    args.k = s->halves * rows;
    args.lda = s->n * s->pitch;
    args.ldb = s->n * width;
    for (int64_t pair = 0; pair < s->pairs; pair++)
        for (int64_t l = 0; l < 2; l++) {
            args.a = t->hat + coefficient(s, 0, s->sums + 2 * pair + l, s->pitch);
            args.b = t->tile + coefficient(s, 0, s->sums + 2 * pair, width);
            args.c = gradient + pair_at(s, pair, width) + l * s->rank * 2 * width;
            eqi_gemm(hardware, EQUINV_F32, &args, t->workspace);
        }
}

/* The adjoint of put_templates. */
void eqi_orbit_take_template(const eqi_orbit_shape *s, const double *gradient, double scale,
                             int64_t width, int64_t t, float *hat)
{
    const double one = scale / (double)s->order, two = 2 * scale / (double)s->order;
    for (int64_t half = 0; half < s->halves; half++)
        for (int64_t i = 0; i < s->sums; i++)
            for (int64_t o = 0; o < s->rank; o++)
                hat[coefficient(s, half, i, s->pitch) + o] =
                    (float)(one * gradient[sum_at(s, half, i, width) + o * width + t]);
    for (int64_t pair = 0; pair < s->pairs; pair++) {
        const double *const at = gradient + pair_at(s, pair, width) + t;
        const int64_t c = s->sums + 2 * pair, next = s->rank * 2 * width;
        for (int64_t o = 0; o < s->rank; o++) {
            const double *const part = at + 2 * o * width;
            const double v[2][2] = {{part[0], part[width]}, {part[next], part[next + width]}};
            for (int64_t l = 0; l < 2; l++)
                if (s->halves == 2)
                    for (int64_t i = 0; i < 2; i++)
                        hat[coefficient(s, i, c + l, s->pitch) + o] = (float)(two * v[l][i]);
                else
                    hat[coefficient(s, 0, c + l, s->pitch) + o] =
                        (float)(two * (l == 0 ? v[0][0] - v[1][1] : v[0][1] + v[1][0]));
        }
    }
}

eqi_orbit_transform eqi_orbit_transform_of_row(const eqi_orbit_weights *w, const eqi_orbit_tile *t,
                                               int64_t width, float *row)
{
    return (eqi_orbit_transform){.group = &w->group,
                                 .vectors = width / w->s.lanes,
                                 .in = row,
                                 .in_step = width,
                                 .out = row,
                                 .out_step = width,
                                 .room = t->room};
}
