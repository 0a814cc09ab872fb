/*
 * Kernels of cpu/gfourier. Components of the transform F^ of F over the group (G elements in their order):
 *     C2, D1  F0 + F1 | F0 - F1
 *     D2      the four characters (sign of r, sign of f): ++ | -+ | +- | --
 *     C4      ++ | +- | complex (F0 - F2) + i (F1 - F3), as two rows
 *     D4      characters (r, f): ++ | +- | -+ | -- | the plane, 2 x 2: sum_h F(h) rho(h) with
 *             rho(r) = [0 -1; 1 0], rho(f) = diag(-1, 1), row by row
 *     sums    the trivial one alone
 *
 * Tile    ROWS outputs x VECTORS vectors of pixels. The filter is broadcast, so no lane idles with few
 *         fields, and every map stays a plane: nothing is ever turned.
 * Layout  P^ and dst^ are rows of pixels; the filter is in panels [k][ROWS].
 *
 * The includer sets ROWS, VECTORS, SUM_ROWS, SUM_COLUMNS and a header of cpu/simd/.
 */
#include "cpu/gfourier/gfourier.h"

#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 8")
#endif
#define INLINE static inline __attribute__((always_inline))

enum { LANES = vf32_lanes };

INLINE vf32 add(vf32 a, vf32 b)
{
    return vf32_add(a, b);
}

INLINE vf32 sub(vf32 a, vf32 b)
{
    return vf32_sub(a, b);
}

/* ---- transforms, in registers --------------------------------------------------------------------- */

INLINE void forward_2(const vf32 *f, vf32 *c)
{
    c[0] = add(f[0], f[1]);
    c[1] = sub(f[0], f[1]);
}

INLINE void forward_d2(const vf32 *f, vf32 *c)
{
    const vf32 p = add(f[0], f[1]), q = sub(f[0], f[1]);
    const vf32 s = add(f[2], f[3]), t = sub(f[2], f[3]);
    c[0] = add(p, s);
    c[1] = add(q, t);
    c[2] = sub(p, s);
    c[3] = sub(q, t);
}

INLINE void forward_c4(const vf32 *f, vf32 *c)
{
    const vf32 p = add(f[0], f[2]), q = add(f[1], f[3]);
    c[0] = add(p, q);
    c[1] = sub(p, q);
    c[2] = sub(f[0], f[2]);
    c[3] = sub(f[1], f[3]);
}

INLINE void forward_d4(const vf32 *f, vf32 *c)
{
    const vf32 p = add(f[0], f[2]), q = add(f[1], f[3]), s = add(f[4], f[6]), t = add(f[5], f[7]);
    const vf32 u = add(p, q), v = sub(p, q), x = add(s, t), y = sub(s, t);
    const vf32 i = sub(f[0], f[2]), j = sub(f[1], f[3]), k = sub(f[4], f[6]), l = sub(f[5], f[7]);
    c[0] = add(u, x);
    c[1] = sub(u, x);
    c[2] = add(v, y);
    c[3] = sub(v, y);
    /* i I + j rho(r) + k rho(f) + l rho(r f), rho(r f) = [0 -1; -1 0] */
    c[4] = sub(i, k);
    c[5] = sub(sub(vf32_broadcast(0), j), l);
    c[6] = sub(j, l);
    c[7] = add(i, k);
}

INLINE void forward_sum_2(const vf32 *f, vf32 *c)
{
    c[0] = add(f[0], f[1]);
}

INLINE void forward_sum_4(const vf32 *f, vf32 *c)
{
    c[0] = add(add(f[0], f[1]), add(f[2], f[3]));
}

INLINE void forward_sum_8(const vf32 *f, vf32 *c)
{
    c[0] = add(add(add(f[0], f[1]), add(f[2], f[3])), add(add(f[4], f[5]), add(f[6], f[7])));
}

INLINE void same(const vf32 *f, vf32 *c)
{
    c[0] = f[0];
}

/* The filter holds the factors d / |G|. */
INLINE void inverse_2(const vf32 *c, vf32 *f)
{
    f[0] = add(c[0], c[1]);
    f[1] = sub(c[0], c[1]);
}

INLINE void inverse_d2(const vf32 *c, vf32 *f)
{
    const vf32 p = add(c[0], c[2]), q = add(c[1], c[3]);
    const vf32 s = sub(c[0], c[2]), t = sub(c[1], c[3]);
    f[0] = add(p, q);
    f[1] = sub(p, q);
    f[2] = add(s, t);
    f[3] = sub(s, t);
}

INLINE void inverse_c4(const vf32 *c, vf32 *f)
{
    const vf32 p = add(c[0], c[1]), q = sub(c[0], c[1]);
    f[0] = add(p, c[2]);
    f[1] = add(q, c[3]);
    f[2] = sub(p, c[2]);
    f[3] = sub(q, c[3]);
}

INLINE void inverse_d4(const vf32 *c, vf32 *f)
{
    const vf32 p = add(c[0], c[1]), q = add(c[2], c[3]), s = sub(c[0], c[1]), t = sub(c[2], c[3]);
    const vf32 even = add(p, q), odd = sub(p, q), mirror = add(s, t), turned = sub(s, t);
    const vf32 i = add(c[4], c[7]), j = sub(c[6], c[5]), k = sub(c[7], c[4]), l = add(c[5], c[6]);
    f[0] = add(even, i);
    f[1] = add(odd, j);
    f[2] = sub(even, i);
    f[3] = sub(odd, j);
    f[4] = add(mirror, k);
    f[5] = sub(turned, l);
    f[6] = sub(mirror, k);
    f[7] = add(turned, l);
}

typedef void butterfly(const vf32 *, vf32 *);

INLINE void transform(const eqi_gf_transform *t, butterfly *forward, const int inputs,
                      const int components)
{
    const int64_t *const in = t->in;
    float *out[EQI_GF_ORDER];
    for (int c = 0; c < components; c++)
        out[c] = t->out + t->base[c];
    const float *src = t->src;
    for (int64_t i = 0; i < t->fields; i++, src += t->field)
        for (int64_t v = 0; v < t->taps; v++) {
            const float *from[EQI_GF_ORDER];
            UNROLL for (int h = 0; h < inputs; h++)
            {
                from[h] = src + in[v * inputs + h];
            }
            for (int64_t run = 0; run < t->runs; run++) {
                for (int64_t x = 0; x < t->pixels; x += LANES) {
                    const int64_t at = run * t->run + x, to = run * t->pixels + x;
                    vf32 f[EQI_GF_ORDER], hat[EQI_GF_ORDER];
                    UNROLL for (int h = 0; h < inputs; h++)
                    {
                        f[h] = vf32_load(from[h] + at);
                    }
                    forward(f, hat);
                    UNROLL for (int c = 0; c < components; c++)
                    {
                        vf32_store(out[c] + to, hat[c]);
                    }
                }
            }
            UNROLL for (int c = 0; c < components; c++)
            {
                out[c] += t->step[c];
            }
        }
}

/* A vector to `count` < LANES places. */
static void put_part(float *to, vf32 v, int64_t count, bool accumulate)
{
    float all[LANES];
    vf32_store(all, v);
    for (int64_t i = 0; i < count; i++)
        to[i] = accumulate ? to[i] + all[i] : all[i];
}

INLINE void inverse(const eqi_gf_inverse *t, butterfly *backward, const int order)
{
    for (int64_t o = 0; o < t->outputs; o++) {
        const float *from[EQI_GF_ORDER];
        float *const dst = t->dst + o * t->field;
        for (int c = 0; c < order; c++)
            from[c] = t->src + t->base[c] + o * t->step[c];
        const vf32 bias = vf32_broadcast(t->bias ? t->bias[o] : 0);
        for (int64_t x = 0; x < t->pixels; x += LANES) {
            vf32 c[EQI_GF_ORDER], f[EQI_GF_ORDER];
            UNROLL for (int h = 0; h < order; h++)
            {
                c[h] = vf32_load(from[h] + x);
            }
            backward(c, f);
            const int64_t left = t->pixels - x;
            for (int h = 0; h < order; h++) {
                float *const to = dst + h * t->element + x;
                const vf32 y = add(f[h], bias);
                if (left < LANES)
                    put_part(to, y, left, t->accumulate);
                else
                    vf32_store(to, t->accumulate ? add(vf32_load(to), y) : y);
            }
        }
    }
}

#define KIND(name, order)                                                                          \
    static void transform_##name(const eqi_gf_transform *t)                                        \
    {                                                                                              \
        transform(t, forward_##name, order, order);                                                \
    }                                                                                              \
    static void inverse_rows_##name(const eqi_gf_inverse *t)                                       \
    {                                                                                              \
        inverse(t, inverse_##name, order);                                                         \
    }

#define SUM(order)                                                                                 \
    static void transform_sum_##order(const eqi_gf_transform *t)                                   \
    {                                                                                              \
        transform(t, forward_sum_##order, order, 1);                                               \
    }

SUM(2)
SUM(4)
SUM(8)

static void transform_same(const eqi_gf_transform *t)
{
    transform(t, same, 1, 1);
}

static void inverse_same(const eqi_gf_inverse *t)
{
    inverse(t, same, 1);
}

KIND(2, 2)
KIND(d2, 4)
KIND(c4, 4)
KIND(d4, 8)

/* ---- product --------------------------------------------------------------------------------------- */

INLINE void run_tile(const eqi_gf_product *p, const float *filter, const float *src, float *dst,
                     const int rows, const int vectors)
{
    const int64_t pitch = p->pitch;
    vf32 acc[ROWS][VECTORS];
    UNROLL for (int r = 0; r < rows; r++)
    {
        UNROLL for (int v = 0; v < vectors; v++)
        {
            acc[r][v] = p->accumulate ? vf32_load(dst + r * pitch + v * LANES) : vf32_broadcast(0);
        }
    }
    for (int64_t k = 0; k < p->k; k++, filter += rows, src += pitch) {
        vf32 x[VECTORS];
        UNROLL for (int v = 0; v < vectors; v++)
        {
            x[v] = vf32_load(src + v * LANES);
        }
        UNROLL for (int r = 0; r < rows; r++)
        {
            const vf32 w = vf32_broadcast(filter[r]);
            UNROLL for (int v = 0; v < vectors; v++)
            {
                acc[r][v] = vf32_fma(w, x[v], acc[r][v]);
            }
        }
    }
    UNROLL for (int r = 0; r < rows; r++)
    {
        UNROLL for (int v = 0; v < vectors; v++)
        {
            vf32_store(dst + r * pitch + v * LANES, acc[r][v]);
        }
    }
}

/* One function for each size up to the tile; those beyond it are empty. */
#define EACH_ROW(DO_THIS, v)                                                                       \
    DO_THIS(1, v)                                                                                  \
    DO_THIS(2, v)                                                                                  \
    DO_THIS(3, v) DO_THIS(4, v) DO_THIS(5, v) DO_THIS(6, v) DO_THIS(7, v) DO_THIS(8, v)
#define EACH_SIZE(DO_THIS) EACH_ROW(DO_THIS, 1) EACH_ROW(DO_THIS, 2) EACH_ROW(DO_THIS, 3)
#define FUNCTION(r, v)                                                                             \
    static __attribute__((noinline)) void run_##r##x##v(const eqi_gf_product *p, const float *f,   \
                                                        const float *s, float *d)                  \
    {                                                                                              \
        if ((r) <= ROWS && (v) <= VECTORS)                                                         \
            run_tile(p, f, s, d, (r) <= ROWS ? (r) : 0, (v) <= VECTORS ? (v) : 0);                 \
    }
#define ADDRESS(r, v) run_##r##x##v,

EACH_SIZE(FUNCTION)

static void product(const eqi_gf_product *p)
{
    static void (*const sizes[])(const eqi_gf_product *, const float *, const float *,
                                 float *) = {EACH_SIZE(ADDRESS)};
    for (int64_t v = 0; v < p->vectors; v += VECTORS) {
        const int64_t vectors = p->vectors - v < VECTORS ? p->vectors - v : VECTORS;
        for (int64_t r = 0; r < p->rows; r += ROWS) {
            const int64_t rows = p->rows - r < ROWS ? p->rows - r : ROWS;
            const float *const filter = p->filter + r * p->all_k + p->first * rows;
            sizes[8 * (vectors - 1) + rows - 1](p, filter, p->src + v * LANES,
                                                p->dst + r * p->pitch + v * LANES);
        }
    }
}

/* ---- sums over pixels ------------------------------------------------------------------------------- */

/* SUM_ROWS x SUM_COLUMNS sums in registers, lanes apart until the end. */
INLINE void run_sums(const eqi_gf_sums *s, const float *a, const float *b, float *to,
                     const int rows, const int columns)
{
    const int64_t pitch = s->pitch;
    vf32 acc[SUM_ROWS][SUM_COLUMNS];
    UNROLL for (int i = 0; i < rows; i++)
    {
        UNROLL for (int j = 0; j < columns; j++)
        {
            acc[i][j] = vf32_broadcast(0);
        }
    }
    for (int64_t x = 0; x < s->vectors * LANES; x += LANES) {
        vf32 right[SUM_COLUMNS];
        UNROLL for (int j = 0; j < columns; j++)
        {
            right[j] = vf32_load(b + j * pitch + x);
        }
        UNROLL for (int i = 0; i < rows; i++)
        {
            const vf32 left = vf32_load(a + i * pitch + x);
            UNROLL for (int j = 0; j < columns; j++)
            {
                acc[i][j] = vf32_fma(left, right[j], acc[i][j]);
            }
        }
    }
    UNROLL for (int i = 0; i < rows; i++)
    {
        UNROLL for (int j = 0; j < columns; j++)
        {
            to[i * s->columns + j] += vf32_sum(acc[i][j]);
        }
    }
}

#define EACH_SUM_ROW(DO_THIS, c)                                                                   \
    DO_THIS(1, c) DO_THIS(2, c) DO_THIS(3, c) DO_THIS(4, c) DO_THIS(5, c) DO_THIS(6, c)
#define EACH_SUM(DO_THIS)                                                                          \
    EACH_SUM_ROW(DO_THIS, 1)                                                                       \
    EACH_SUM_ROW(DO_THIS, 2) EACH_SUM_ROW(DO_THIS, 3) EACH_SUM_ROW(DO_THIS, 4)
#define SUM_FUNCTION(r, c)                                                                         \
    static __attribute__((noinline)) void sums_##r##x##c(const eqi_gf_sums *s, const float *a,     \
                                                         const float *b, float *to)                \
    {                                                                                              \
        if ((r) <= SUM_ROWS && (c) <= SUM_COLUMNS)                                                 \
            run_sums(s, a, b, to, (r) <= SUM_ROWS ? (r) : 0, (c) <= SUM_COLUMNS ? (c) : 0);        \
    }
#define SUM_ADDRESS(r, c) sums_##r##x##c,

EACH_SUM(SUM_FUNCTION)

static void sums(const eqi_gf_sums *s)
{
    static void (*const sizes[])(const eqi_gf_sums *, const float *, const float *,
                                 float *) = {EACH_SUM(SUM_ADDRESS)};
    for (int64_t i = 0; i < s->rows; i += SUM_ROWS) {
        const int64_t rows = s->rows - i < SUM_ROWS ? s->rows - i : SUM_ROWS;
        for (int64_t j = 0; j < s->columns; j += SUM_COLUMNS) {
            const int64_t columns = s->columns - j < SUM_COLUMNS ? s->columns - j : SUM_COLUMNS;
            sizes[6 * (columns - 1) + rows - 1](s, s->a + i * s->pitch, s->b + j * s->pitch,
                                                s->sums + i * s->columns + j);
        }
    }
}

/* ---- planes ---------------------------------------------------------------------------------------- */

static int clamp(int64_t lane)
{
    return lane < 0 ? 0 : lane > LANES ? LANES : (int)lane;
}

static void shift(const eqi_gf_shift *s)
{
    const float *from = s->from;
    float *to = s->to;
    for (int64_t y = 0; y < s->rows; y++, from += s->from_pitch, to += s->columns)
        for (int64_t x = 0; x < s->columns; x += LANES) {
            const int first = clamp(s->first - x), last = clamp(s->last - x);
            const bool whole = first == 0 && last == LANES;
            vf32_store(to + x, whole          ? vf32_load(from + x)
                               : first < last ? vf32_load_part(from + x, first, last)
                                              : vf32_broadcast(0));
        }
}

#define PASTE_(a, b) a##b
#define PASTE(a, b) PASTE_(a, b)
const eqi_gf_kernels PASTE(eqi_gfourier_, EQI_LEVEL) = {
    LANES,
    ROWS,
    VECTORS,
    {transform_2, transform_d2, transform_c4, transform_d4, transform_sum_2, transform_sum_4,
     transform_sum_8},
    {transform_2, transform_d2, transform_c4, transform_d4, transform_same, transform_same,
     transform_same},
    product,
    sums,
    {inverse_rows_2, inverse_rows_d2, inverse_rows_c4, inverse_rows_d4, inverse_same, inverse_same,
     inverse_same},
    shift,
};
