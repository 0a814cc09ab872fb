/*
 * Kernels of cpu/gfourier. Components of the transform F^ of F over the group (G elements in their order):
 *     C2, D1  F0 + F1 | F0 - F1
 *     D2      the four characters (sign of r, sign of f): ++ | -+ | +- | --
 *     C4      ++ | +- | x + y | x | y of the complex one x + i y = (F0 - F2) + i (F1 - F3); its product with
 *             A + i B is then (A (x + y) - (A + B) y) + i (A (x + y) + (B - A) x)
 *     D4      characters (r, f): ++ | +- | -+ | -- | the plane, P = sum_h F(h) rho(h) with
 *             rho(r) = [0 -1; 1 0], rho(f) = diag(-1, 1), row by row
 *     sums    the trivial one alone
 * The gradient is the transpose of the inverse.
 *
 * Tile    ROWS outputs x VECTORS vectors of pixels. The filter is broadcast, so no lane idles with few
 *         fields, and every map stays a plane: nothing is ever turned.
 * Layout  P^ and dst^ are rows of pixels; the filter is in panels [k][ROWS].
 *
 * The includer sets ROWS, VECTORS, SUM_ROWS, SUM_COLUMNS, SUM_TILE (rows x columns at most), WOVEN (1 where registers are left for a step of
 * the transform beside the product) and a header of cpu/simd/.
 */
#include "cpu/gfourier/gfourier.h"

#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 8")
#endif
#define INLINE static inline __attribute__((always_inline))
#define PREFETCH_WRITE(p) __builtin_prefetch((p), 1)
#define PREFETCH(p) __builtin_prefetch(p)

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
    const vf32 p = add(f[0], f[2]), q = add(f[1], f[3]), x = sub(f[0], f[2]), y = sub(f[1], f[3]);
    c[0] = add(p, q);
    c[1] = sub(p, q);
    c[2] = add(x, y);
    c[3] = x;
    c[4] = y;
}

INLINE void gradient_c4(const vf32 *f, vf32 *c)
{
    const vf32 p = add(f[0], f[2]), q = add(f[1], f[3]), x = sub(f[0], f[2]), y = sub(f[1], f[3]);
    c[0] = add(p, q);
    c[1] = sub(p, q);
    c[2] = add(x, y);
    c[3] = y;
    c[4] = sub(f[2], f[0]);
}

INLINE void forward_d4(const vf32 *f, vf32 *c)
{
    const vf32 p = add(f[0], f[2]), q = add(f[1], f[3]), s = add(f[4], f[6]), t = add(f[5], f[7]);
    const vf32 i = sub(f[0], f[2]), j = sub(f[1], f[3]), k = sub(f[4], f[6]), l = sub(f[5], f[7]);
    const vf32 u = add(p, q), v = sub(p, q), x = add(s, t), y = sub(s, t);
    c[0] = add(u, x);
    c[1] = sub(u, x);
    c[2] = add(v, y);
    c[3] = sub(v, y);
    /* i I + j rho(r) + k rho(f) + l rho(r f), rho(r f) = [0 -1; -1 0] */
    c[4] = sub(i, k);
    c[5] = sub(vf32_broadcast(0), add(j, l));
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
    const vf32 re = sub(c[2], c[4]), im = add(c[2], c[3]);
    f[0] = add(p, re);
    f[1] = add(q, im);
    f[2] = sub(p, re);
    f[3] = sub(q, im);
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

/* The transform of one vector: value h of it at src + in[h], component c to `to` + c component. */
typedef void vector_transform(const float *src, const int64_t *in, float *to, int64_t component);

#define SIMPLE(name, inputs, components)                                                           \
    INLINE void vector_##name(const float *src, const int64_t *in, float *to, int64_t component)   \
    {                                                                                              \
        vf32 f[inputs], c[components];                                                             \
        UNROLL for (int h = 0; h < (inputs); h++)                                                  \
        {                                                                                          \
            f[h] = vf32_load(src + in[h]);                                                         \
        }                                                                                          \
        name(f, c);                                                                                \
        UNROLL for (int h = 0; h < (components); h++)                                              \
        {                                                                                          \
            vf32_store(to + h * component, c[h]);                                                  \
        }                                                                                          \
    }
SIMPLE(forward_2, 2, 2)
SIMPLE(forward_d2, 4, 4)
SIMPLE(forward_c4, 4, 5)
SIMPLE(forward_d4, 8, 8)
SIMPLE(forward_sum_2, 2, 1)
SIMPLE(forward_sum_4, 4, 1)
SIMPLE(forward_sum_8, 8, 1)
SIMPLE(gradient_c4, 4, 5)
SIMPLE(same, 1, 1)

/* One step: up to `most` pixels of one field, tap and image. */
INLINE void transform_step(eqi_gf_transform *t, vector_transform *vector, const int inputs,
                           int64_t most)
{
    const float *const src = t->src + t->at.field * t->field + t->at.run * t->run;
    const int64_t *const in = t->in + t->at.tap * inputs;
    float *const to = t->to + t->at.run * t->pixels;
    const int64_t first = t->at.pixel, component = t->component;
    const int64_t end = t->pixels - first < most ? t->pixels : first + most;
    for (int64_t x = first; x < end; x += LANES)
        vector(src + x, in, to + x, component);
    t->at.pixel = end;
    if (end < t->pixels)
        return;
    t->at.pixel = 0;
    if (++t->at.run < t->runs)
        return;
    t->at.run = 0;
    t->to += t->pitch;
    if (++t->at.tap < t->taps)
        return;
    t->at.tap = 0;
    t->at.field++;
}

/* All that is left, in loops of its own: steps keep their place in memory. A run's vectors by as many as a tile has. */
INLINE void transform(eqi_gf_transform *t, vector_transform *vector, const int inputs)
{
    const int64_t fields = t->fields, taps = t->taps, runs = t->runs, pixels = t->pixels;
    const int64_t pitch = t->pitch, next = t->run, component = t->component;
    int64_t tap = t->at.tap, run = t->at.run, x = t->at.pixel;
    const float *src = t->src + t->at.field * t->field;
    float *to = t->to;
    for (int64_t i = t->at.field; i < fields; i++, src += t->field, tap = 0) {
        for (; tap < taps; tap++, to += pitch, run = 0) {
            const int64_t *const in = t->in + tap * inputs;
            for (; run < runs; run++, x = 0) {
                const float *const from = src + run * next;
                float *const row = to + run * pixels;
                for (; x + VECTORS * LANES <= pixels; x += VECTORS * LANES)
                    UNROLL for (int v = 0; v < VECTORS; v++)
                    {
                        vector(from + x + v * LANES, in, row + x + v * LANES, component);
                    }
                for (; x < pixels; x += LANES)
                    vector(from + x, in, row + x, component);
            }
        }
    }
    t->at.field = fields;
}

/* What is done with a value of one field on its way to dst. */
typedef struct finish {
    vf32 bias, mean, scale, shift, slope;
    bool norm, relu, leaks;
} finish;

INLINE finish finish_of(const eqi_gf_inverse *t, int64_t output)
{
    const eqi_conv_finish *const f = &t->finish;
    const eqi_normaliser n = f->norm ? f->norm[output / t->alike] : (eqi_normaliser){0};
    return (finish){vf32_broadcast(t->bias ? t->bias[output] : 0),
                    vf32_broadcast(n.mean),
                    vf32_broadcast(n.scale),
                    vf32_broadcast(n.shift),
                    vf32_broadcast(f->slope),
                    f->norm != NULL,
                    f->relu,
                    f->relu && f->slope > 0};
}

/* Products and sums apart, as batch norm and ReLU by themselves compute. */
INLINE vf32 finished(const finish *e, vf32 y)
{
    const vf32 zero = vf32_broadcast(0);
    y = add(y, e->bias);
    if (e->norm)
        y = add(vf32_mul(sub(y, e->mean), e->scale), e->shift);
    if (e->leaks)
        return add(vf32_max(zero, y), vf32_mul(e->slope, vf32_min(y, zero)));
    return e->relu ? vf32_max(zero, y) : y;
}

/* y to some lanes' places, or added to what is there. */
INLINE void put(float *at, vf32 y, bool accumulate, int lanes)
{
    if (lanes == LANES) {
        vf32_store(at, accumulate ? add(vf32_load(at), y) : y);
        return;
    }
    if (accumulate)
        y = add(vf32_load_part(at, 0, lanes), y);
    vf32_store_part(at, y, lanes);
}

/*
 * The same to every second place, `lanes` of them: nothing behind the last one's is touched. A few go one by
 * one: vectors of short rows would have to wait for those of the row before, which they overlap.
 */
INLINE void put_seconds(float *at, vf32 y, bool accumulate, int lanes)
{
    if (lanes <= 4) {
        float lane[LANES];
        vf32_store(lane, y);
        for (int i = 0; i < lanes; i++)
            at[2 * i] = accumulate ? at[2 * i] + lane[i] : lane[i];
        return;
    }
    const int places = 2 * lanes - 1, first = places < LANES ? places : LANES;
    vf32 even, odd, low, high;
    vf32_unzip(vf32_load_part(at, 0, first), vf32_load_part(at + LANES, 0, places - first), &even,
               &odd);
    vf32_zip(accumulate ? add(even, y) : y, odd, &low, &high);
    vf32_store_part(at, low, first);
    if (places > LANES)
        vf32_store_part(at + LANES, high, places - LANES);
}

/* How values go to dst. */
typedef enum ending { SET, FINISH, FINISH_SECONDS } ending;

/* One vector, or the first lanes of it. */
INLINE void inverse_vector(const eqi_gf_inverse *t, butterfly *backward, const int components,
                           const int outputs, const ending how, const float *from,
                           const finish *end, float *to, int lanes)
{
    vf32 c[EQI_GF_COMPONENTS], f[EQI_GF_ORDER];
    UNROLL for (int h = 0; h < components; h++)
    {
        c[h] = vf32_load(from + h * t->component);
    }
    backward(c, f);
    UNROLL for (int h = 0; h < outputs; h++)
    {
        float *const at = to + h * t->element;
        PREFETCH_WRITE(at + VECTORS * LANES);
        if (how == SET)
            put(at, add(f[h], end->bias), false, lanes);
        else if (how == FINISH)
            put(at, finished(end, f[h]), t->accumulate, lanes);
        else
            put_seconds(at, finished(end, f[h]), t->accumulate, lanes);
    }
}

INLINE void inverse_outputs(const eqi_gf_inverse *t, butterfly *backward, const int components,
                            const int outputs, const ending how)
{
    const int step = how == FINISH_SECONDS ? 2 : 1;
    for (int64_t o = 0; o < t->outputs; o++) {
        const finish end = finish_of(t, o);
        const float *const from = t->src + o * t->pitch;
        float *row = t->dst + o * t->field;
        int64_t column = t->column;
        for (int64_t x = 0; x < t->pixels; x += t->length - column, column = 0, row += t->row) {
            const int64_t wanted = t->columns - column, left = t->pixels - x;
            const int64_t pixels = wanted < left ? wanted : left;
            float *const to = row + column * step;
            int64_t i = 0;
            for (; i + LANES <= pixels; i += LANES)
                inverse_vector(t, backward, components, outputs, how, from + x + i, &end,
                               to + i * step, LANES);
            if (i < pixels)
                inverse_vector(t, backward, components, outputs, how, from + x + i, &end,
                               to + i * step, (int)(pixels - i));
        }
    }
}

/* Few fields feel what is asked for each value in vain. */
INLINE void inverse(const eqi_gf_inverse *t, butterfly *backward, const int components,
                    const int outputs)
{
    if (t->step == 2)
        inverse_outputs(t, backward, components, outputs, FINISH_SECONDS);
    else if (t->finish.norm || t->finish.relu || t->accumulate)
        inverse_outputs(t, backward, components, outputs, FINISH);
    else
        inverse_outputs(t, backward, components, outputs, SET);
}

/* name and inputs */
#define EACH_KIND(DO_THIS)                                                                         \
    DO_THIS(forward_2, 2)                                                                          \
    DO_THIS(forward_d2, 4)                                                                         \
    DO_THIS(forward_c4, 4)                                                                         \
    DO_THIS(forward_d4, 8)                                                                         \
    DO_THIS(forward_sum_2, 2)                                                                      \
    DO_THIS(forward_sum_4, 4) DO_THIS(forward_sum_8, 8) DO_THIS(same, 1)

#define TRANSFORM(name, inputs)                                                                    \
    static void transform_##name(eqi_gf_transform *t)                                              \
    {                                                                                              \
        transform(t, vector_##name, inputs);                                                       \
    }
EACH_KIND(TRANSFORM)
TRANSFORM(gradient_c4, 4)

#define INVERSE(name, components, outputs)                                                         \
    static void inverse_rows_##name(const eqi_gf_inverse *t)                                       \
    {                                                                                              \
        inverse(t, inverse_##name, components, outputs);                                           \
    }
INVERSE(2, 2, 2)
INVERSE(d2, 4, 4)
INVERSE(c4, 5, 4)
INVERSE(d4, 8, 8)

static void inverse_rows_same(const eqi_gf_inverse *t)
{
    inverse(t, same, 1, 1);
}

#include "cpu/kernel/gfourier_product.inc.c"
#include "cpu/kernel/gfourier_planes.inc.c"
#include "cpu/kernel/gfourier_turn.inc.c"
#include "cpu/kernel/gfourier_sums.inc.c"

#define PASTE_(a, b) a##b
#define PASTE(a, b) PASTE_(a, b)
const eqi_gf_kernels PASTE(eqi_gfourier_, EQI_LEVEL) = {
    LANES,
    ROWS,
    VECTORS,
    {transform_forward_2, transform_forward_d2, transform_forward_c4, transform_forward_d4,
     transform_forward_sum_2, transform_forward_sum_4, transform_forward_sum_8, transform_same},
    {transform_forward_2, transform_forward_d2, transform_gradient_c4, transform_forward_d4,
     transform_same, transform_same, transform_same, transform_same},
    product,
    sums,
    add_part,
    fold,
    {inverse_rows_2, inverse_rows_d2, inverse_rows_c4, inverse_rows_d4, inverse_rows_same,
     inverse_rows_same, inverse_rows_same, inverse_rows_same},
    shift,
    abreast,
    apart,
};
