/*
 * Normalisation of nodes and pairs, channels last, with the leaky ReLU behind it.
 *
 * Layout  LAYER: eight places at a time, so that eight sums across lanes are made together; the mean first,
 *         then squares of the differences from it. INSTANCE: channels in lanes; sums over places go by
 *         rows, so that no chain of fp32 is longer than the number of nodes.
 *
 * The includer includes a header of cpu/simd/.
 */
#include <math.h>

#include "cpu/kernel/node_vectors.h"

enum { GROUP = 8 };

#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 8")
#endif

static const float ones[16] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};

/* y where it is positive, slope y elsewhere */
INLINE vf32 leaky(vf32 y, vf32 slope)
{
    const vf32 zero = vf32_broadcast(0);
    return vf32_fma(slope, vf32_min(zero, y), vf32_max(zero, y));
}

INLINE vf32 leaky_backward(vf32 y, vf32 slope, vf32 g)
{
    return vf32_choose(vf32_takes(vf32_broadcast(0), y), g, vf32_mul(slope, g));
}

/* ---- LAYER --------------------------------------------------------------------------------------- */

/* Up to GROUP places of a sample, in order; the rest repeats the first. */
typedef struct group {
    int64_t i, j; /* the next place */
    int size;
    int64_t row[GROUP], column[GROUP];
} group;

static bool next_group(const eqi_node_map *x, group *g)
{
    const int64_t columns = x->pairs ? x->there : 1;
    for (g->size = 0; g->size < GROUP && g->i < x->there; g->size++) {
        g->row[g->size] = g->i;
        g->column[g->size] = g->j;
        if (++g->j == columns)
            g->j = 0, g->i++;
    }
    for (int q = g->size; g->size > 0 && q < GROUP; q++) {
        g->row[q] = g->row[0];
        g->column[q] = g->column[0];
    }
    return g->size > 0;
}

/* Where their values are; the next group's, which follow them in most layouts, are asked for. */
INLINE void point(const eqi_node_map *x, const group *g, float *at[GROUP])
{
    for (int q = 0; q < GROUP; q++)
        at[q] = x->data + x->row[g->row[q]] + x->column[g->column[q]];
    for (int64_t c = 0; c < GROUP * x->channels; c += 16)
        __builtin_prefetch(at[0] + GROUP * x->channels + c);
}

/* Lanes that are channels. */
INLINE vf32 only(vf32 v, bool whole, int count)
{
    return whole ? v : vf32_mul(v, vf32_load_part(ones, 0, count));
}

INLINE void add_values(float *const *x, vf32 *sum, int64_t padded, int64_t c, bool whole, int count)
{
    (void)padded;
    UNROLL
    for (int q = 0; q < GROUP; q++)
        sum[q] = vf32_add(sum[q], load(x[q] + c, whole, count));
}

INLINE void add_squares(float *const *x, const float *mean, vf32 *sum, int64_t padded, int64_t c,
                        bool whole, int count)
{
    (void)padded;
    UNROLL
    for (int q = 0; q < GROUP; q++) {
        const vf32 d =
            only(vf32_sub(load(x[q] + c, whole, count), vf32_broadcast(mean[q])), whole, count);
        sum[q] = vf32_fma(d, d, sum[q]);
    }
}

static void add_sums(float to[GROUP], const vf32 lanes[GROUP])
{
    vf32_add_sums(to, lanes, to + 4, lanes + 4);
}

INLINE void clear_lanes(vf32 lanes[GROUP])
{
    UNROLL
    for (int q = 0; q < GROUP; q++)
        lanes[q] = vf32_broadcast(0);
}

/* share: 1 / channels */
INLINE void moments_of(const eqi_node_norm_call *call, const eqi_node_map *x, float *const *at,
                       float share, float *mean, float *scale)
{
    float sums[GROUP] = {0}, squares[GROUP] = {0};
    vf32 lanes[GROUP];
    clear_lanes(lanes);
    EACH_VECTOR(x, add_values, at, lanes);
    add_sums(sums, lanes);
#pragma omp simd
    for (int q = 0; q < GROUP; q++)
        mean[q] = sums[q] * share;
    clear_lanes(lanes);
    EACH_VECTOR(x, add_squares, at, mean, lanes);
    add_sums(squares, lanes);
    const float epsilon = call->epsilon;
#pragma omp simd
    for (int q = 0; q < GROUP; q++)
        scale[q] = 1 / sqrtf(squares[q] * share + epsilon);
}

INLINE void normalise(const eqi_node_norm_call *call, float *const *x, float *const *y, int size,
                      const float *mean, const float *scale, int64_t padded, int64_t c, bool whole,
                      int count)
{
    (void)padded;
    const vf32 gamma = vf32_load(call->gamma + c), beta = vf32_load(call->beta + c);
    const vf32 slope = vf32_broadcast(call->slope);
    for (int q = 0; q < size; q++) {
        const vf32 d = vf32_sub(load(x[q] + c, whole, count), vf32_broadcast(mean[q]));
        const vf32 n = vf32_mul(d, vf32_broadcast(scale[q]));
        store(y[q] + c, leaky(vf32_fma(n, gamma, beta), slope), whole, count, false);
    }
}

static void layer_forward(const eqi_node_norm_call *call, const eqi_node_map *x,
                          const eqi_node_map *y)
{
    float *from[GROUP], *to[GROUP], mean[GROUP], scale[GROUP];
    const float share = 1 / (float)x->channels;
    for (group g = {0}; next_group(x, &g);) {
        point(x, &g, from);
        point(y, &g, to);
        moments_of(call, x, from, share, mean, scale);
        EACH_VECTOR(x, normalise, call, from, to, g.size, mean, scale);
    }
}

/* n = (x - mean) scale and d = the gradient behind gamma, times gamma, into room [2 GROUP][padded]. */
INLINE void differentiate(const eqi_node_norm_call *call, float *const *x, float *const *g,
                          int size, const float *mean, const float *scale, float *sums, float *room,
                          vf32 *sum, vf32 *product, int64_t padded, int64_t c, bool whole,
                          int count)
{
    const vf32 gamma = vf32_load(call->gamma + c), beta = vf32_load(call->beta + c);
    const vf32 slope = vf32_broadcast(call->slope);
    vf32 diff_gamma = vf32_load(sums + c), diff_beta = vf32_load(sums + padded + c);
    for (int q = 0; q < size; q++) {
        const vf32 d = vf32_sub(load(x[q] + c, whole, count), vf32_broadcast(mean[q]));
        const vf32 n = vf32_mul(d, vf32_broadcast(scale[q]));
        const vf32 y = vf32_fma(n, gamma, beta);
        const vf32 behind = leaky_backward(y, slope, load(g[q] + c, whole, count));
        diff_gamma = vf32_fma(behind, n, diff_gamma);
        diff_beta = vf32_add(behind, diff_beta);
        const vf32 before = vf32_mul(behind, gamma);
        sum[q] = vf32_add(sum[q], before);
        product[q] = vf32_fma(before, n, product[q]);
        vf32_store(room + q * padded + c, n);
        vf32_store(room + (GROUP + q) * padded + c, before);
    }
    vf32_store(sums + c, diff_gamma);
    vf32_store(sums + padded + c, diff_beta);
}

INLINE void finish(float *const *dx, int size, const float *scale, const float *sum,
                   const float *product, const float *room, int64_t padded, int64_t c, bool whole,
                   int count)
{
    for (int q = 0; q < size; q++) {
        const vf32 n = vf32_load(room + q * padded + c);
        const vf32 d = vf32_sub(vf32_load(room + (GROUP + q) * padded + c), vf32_broadcast(sum[q]));
        const vf32 all = vf32_sub(d, vf32_mul(n, vf32_broadcast(product[q])));
        store(dx[q] + c, vf32_mul(all, vf32_broadcast(scale[q])), whole, count, false);
    }
}

static void clear(float *to, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        to[i] = 0;
}

static void layer_backward(const eqi_node_norm_call *call, const eqi_node_map *x,
                           const eqi_node_map *g, const eqi_node_map *dx, float *sums, float *room)
{
    float *from[GROUP], *behind[GROUP], *to[GROUP], mean[GROUP], scale[GROUP];
    const float share = 1 / (float)x->channels;
    clear(sums, 2 * eqi_node_padded(x->channels));
    for (group at = {0}; next_group(x, &at);) {
        float sum[GROUP] = {0}, product[GROUP] = {0};
        vf32 sum_lanes[GROUP], product_lanes[GROUP];
        clear_lanes(sum_lanes);
        clear_lanes(product_lanes);
        point(x, &at, from);
        point(g, &at, behind);
        point(dx, &at, to);
        moments_of(call, x, from, share, mean, scale);
        EACH_VECTOR(x, differentiate, call, from, behind, at.size, mean, scale, sums, room,
                    sum_lanes, product_lanes);
        add_sums(sum, sum_lanes);
        add_sums(product, product_lanes);
#pragma omp simd
        for (int q = 0; q < GROUP; q++) {
            sum[q] *= share;
            product[q] *= share;
        }
        EACH_VECTOR(x, finish, to, at.size, scale, sum, product, room);
    }
}

/* ---- INSTANCE ------------------------------------------------------------------------------------ */

/* Mean and 1 / sqrt(var + epsilon) of a vector of channels. */
INLINE void channel_moments(const eqi_node_norm_call *call, const eqi_node_map *x, int64_t c,
                            bool whole, int count, vf32 *mean, vf32 *scale)
{
    const int64_t columns = x->pairs ? x->there : 1;
    const vf32 share = vf32_broadcast(1 / (float)(x->there * columns));
    vf32 sum = vf32_broadcast(0), squares = vf32_broadcast(0);
    for (int64_t i = 0; i < x->there; i++) {
        vf32 row = vf32_broadcast(0);
        for (int64_t j = 0; j < columns; j++)
            row = vf32_add(row, load(x->data + x->row[i] + x->column[j] + c, whole, count));
        sum = vf32_add(sum, row);
    }
    *mean = vf32_mul(sum, share);
    for (int64_t i = 0; i < x->there; i++) {
        vf32 row = vf32_broadcast(0);
        for (int64_t j = 0; j < columns; j++) {
            const vf32 d =
                vf32_sub(load(x->data + x->row[i] + x->column[j] + c, whole, count), *mean);
            row = vf32_fma(d, d, row);
        }
        squares = vf32_add(squares, row);
    }
    float lanes[WIDTH];
    vf32_store(lanes, vf32_mul(squares, share));
    for (int l = 0; l < WIDTH; l++)
        lanes[l] = 1 / sqrtf(lanes[l] + call->epsilon);
    *scale = vf32_load(lanes);
}

INLINE void instance_vector(const eqi_node_norm_call *call, const eqi_node_map *x,
                            const eqi_node_map *y, int64_t padded, int64_t c, bool whole, int count)
{
    (void)padded;
    const int64_t columns = x->pairs ? x->there : 1;
    vf32 mean, scale;
    channel_moments(call, x, c, whole, count, &mean, &scale);
    const vf32 gamma = vf32_load(call->gamma + c), beta = vf32_load(call->beta + c);
    const vf32 slope = vf32_broadcast(call->slope);
    for (int64_t i = 0; i < x->there; i++)
        for (int64_t j = 0; j < columns; j++) {
            const vf32 v = load(x->data + x->row[i] + x->column[j] + c, whole, count);
            const vf32 n = vf32_mul(vf32_sub(v, mean), scale);
            store(y->data + y->row[i] + y->column[j] + c, leaky(vf32_fma(n, gamma, beta), slope),
                  whole, count, false);
        }
}

static void instance_forward(const eqi_node_norm_call *call, const eqi_node_map *x,
                             const eqi_node_map *y)
{
    EACH_VECTOR(x, instance_vector, call, x, y);
}

INLINE void instance_backward_vector(const eqi_node_norm_call *call, const eqi_node_map *x,
                                     const eqi_node_map *g, const eqi_node_map *dx, float *sums,
                                     int64_t padded, int64_t c, bool whole, int count)
{
    const int64_t columns = x->pairs ? x->there : 1;
    const vf32 share = vf32_broadcast(1 / (float)(x->there * columns));
    vf32 mean, scale, sum = vf32_broadcast(0), product = vf32_broadcast(0);
    channel_moments(call, x, c, whole, count, &mean, &scale);
    const vf32 gamma = vf32_load(call->gamma + c), beta = vf32_load(call->beta + c);
    const vf32 slope = vf32_broadcast(call->slope);
#define AT(i, j)                                                                                   \
    const vf32 v = load(x->data + x->row[i] + x->column[j] + c, whole, count);                     \
    const vf32 n = vf32_mul(vf32_sub(v, mean), scale);                                             \
    const vf32 d = leaky_backward(vf32_fma(n, gamma, beta), slope,                                 \
                                  load(g->data + g->row[i] + g->column[j] + c, whole, count))
    for (int64_t i = 0; i < x->there; i++) {
        vf32 row_sum = vf32_broadcast(0), row_product = vf32_broadcast(0);
        for (int64_t j = 0; j < columns; j++) {
            AT(i, j);
            row_sum = vf32_add(row_sum, d);
            row_product = vf32_fma(d, n, row_product);
        }
        sum = vf32_add(sum, row_sum);
        product = vf32_add(product, row_product);
    }
    vf32_store(sums + c, product);
    vf32_store(sums + padded + c, sum);
    const vf32 factor = vf32_mul(gamma, scale);
    sum = vf32_mul(sum, share);
    product = vf32_mul(product, share);
    for (int64_t i = 0; i < x->there; i++)
        for (int64_t j = 0; j < columns; j++) {
            AT(i, j);
            const vf32 all = vf32_sub(vf32_sub(d, sum), vf32_mul(n, product));
            store(dx->data + dx->row[i] + dx->column[j] + c, vf32_mul(all, factor), whole, count,
                  false);
        }
#undef AT
}

static void instance_backward(const eqi_node_norm_call *call, const eqi_node_map *x,
                              const eqi_node_map *g, const eqi_node_map *dx, float *sums,
                              float *room)
{
    (void)room;
    clear(sums, 2 * eqi_node_padded(x->channels));
    if (x->there > 0)
        EACH_VECTOR(x, instance_backward_vector, call, x, g, dx, sums);
}

const eqi_node_norm_kernels PASTE(eqi_node_norm_kernels_, EQI_LEVEL) = {
    {layer_forward, instance_forward}, {layer_backward, instance_backward}};
