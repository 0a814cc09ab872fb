/*
 * OpenBLAS under convolution: columns of windows (im2col) times the expanded filter. Maps are in the layout
 * that suits it, channels first and the batch inside, [C, N, H, W]: a product then spans the images, and a
 * block of any number of output rows is a matrix. The block that is fastest is kept.
 */
#include <cblas.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "bench/peer.h"

enum { WAYS = 5 };
static const int64_t block_bytes[WAYS] = {64 << 10, 256 << 10, 1 << 20, 4 << 20, INT64_MAX};

typedef struct state {
    dense_conv d;
    float *filter, *src, *dst, *columns;
    int64_t lines[WAYS]; /* output rows in a block */
    int chosen;
} state;

void openblas_begin(int32_t threads)
{
    openblas_set_num_threads(threads);
}

void openblas_describe(FILE *out)
{
    fprintf(out, "OpenBLAS: %s kernels\n", openblas_get_corename());
}

const bench_runner *openblas_expanded(const bench_case *c)
{
    return is_conv(c)                        ? openblas_conv(c)
           : c->op == &node_linear_operation ? openblas_node_linear(c)
           : c->op == &orbit_distance_operation || c->op == &neighbours_operation
               ? openblas_distance(c)
               : openblas_project(c);
}

/* ---- layout ---------------------------------------------------------------------------------------------- */

/* [a, b, plane] to [b, a, plane] */
static void exchange_axes(const float *from, int64_t a, int64_t b, int64_t plane, float *to)
{
    for (int64_t i = 0; i < a; i++)
        for (int64_t j = 0; j < b; j++)
            memcpy(to + (j * a + i) * plane, from + (i * b + j) * plane,
                   (size_t)plane * sizeof *to);
}

static int64_t src_plane(const dense_conv *d)
{
    return d->height * d->width;
}

static int64_t dst_plane(const dense_conv *d)
{
    return d->out_height * d->out_width;
}

static int64_t depth_of(const dense_conv *d)
{
    return d->in * d->kernel * d->kernel;
}

/* Windows of one pixel that do not overlap the border: the map is its own matrix of columns. */
static bool is_pointwise(const dense_conv *d)
{
    return d->kernel == 1 && d->stride == 1 && d->padding == 0;
}

/* ---- columns --------------------------------------------------------------------------------------------- */

/* Output columns whose tap lies inside the row: first, and one behind the last. */
static void inside(const dense_conv *d, int64_t shift, int64_t *first, int64_t *end)
{
    const int64_t low = shift < 0 ? (-shift + d->stride - 1) / d->stride : 0;
    const int64_t high = d->width > shift ? (d->width - shift + d->stride - 1) / d->stride : 0;
    *end = high < d->out_width ? high : d->out_width;
    *first = low < *end ? low : *end;
}

/* One row of one tap, from the map or, as the adjoint, added to it. */
static void gather(const dense_conv *d, const float *row, int64_t shift, float *to)
{
    int64_t first, end;
    inside(d, shift, &first, &end);
    memset(to, 0, (size_t)first * sizeof *to);
    if (d->stride == 1)
        memcpy(to + first, row + first + shift, (size_t)(end - first) * sizeof *to);
    else
        for (int64_t x = first; x < end; x++)
            to[x] = row[x * d->stride + shift];
    memset(to + end, 0, (size_t)(d->out_width - end) * sizeof *to);
}

static void scatter(const dense_conv *d, const float *from, int64_t shift, float *row)
{
    int64_t first, end;
    inside(d, shift, &first, &end);
    if (d->stride == 1)
        for (int64_t x = first; x < end; x++)
            row[x + shift] += from[x];
    else
        for (int64_t x = first; x < end; x++)
            row[x * d->stride + shift] += from[x];
}

/* Columns of `lines` output rows (counted over the batch) from `first` on, and back. */
static void columns_move(state *s, int64_t first, int64_t lines, bool back)
{
    const dense_conv *const d = &s->d;
    const int64_t k = d->kernel, step = lines * d->out_width;
    for (int64_t c = 0; c < d->in; c++)
        for (int64_t t = 0; t < k * k; t++) {
            float *to = s->columns + (c * k * k + t) * step;
            for (int64_t l = first; l < first + lines; l++, to += d->out_width) {
                const int64_t n = l / d->out_height,
                              y = l % d->out_height * d->stride + t / k * d->dilation - d->padding;
                const int64_t shift = t % k * d->dilation - d->padding;
                float *const row = s->src + ((c * d->batch + n) * d->height + y) * d->width;
                if (y >= 0 && y < d->height)
                    (back ? scatter(d, to, shift, row) : gather(d, row, shift, to));
                else if (!back)
                    memset(to, 0, (size_t)d->out_width * sizeof *to);
            }
        }
}

/* ---- products -------------------------------------------------------------------------------------------- */

static void forward_block(state *s, int64_t first, int64_t lines)
{
    const dense_conv *const d = &s->d;
    const int64_t total = d->batch * dst_plane(d), n = lines * d->out_width;
    const bool direct = is_pointwise(d);
    if (!direct)
        columns_move(s, first, lines, false);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)d->out, (int)n, (int)depth_of(d), 1,
                s->filter, (int)depth_of(d), direct ? s->src + first * d->out_width : s->columns,
                (int)(direct ? total : n), 0, s->dst + first * d->out_width, (int)total);
}

static void data_block(state *s, int64_t first, int64_t lines)
{
    const dense_conv *const d = &s->d;
    const int64_t total = d->batch * dst_plane(d), n = lines * d->out_width;
    const bool direct = is_pointwise(d);
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)depth_of(d), (int)n, (int)d->out, 1,
                s->filter, (int)depth_of(d), s->dst + first * d->out_width, (int)total, 0,
                direct ? s->src + first * d->out_width : s->columns, (int)(direct ? total : n));
    if (!direct)
        columns_move(s, first, lines, true);
}

static void weights_block(state *s, int64_t first, int64_t lines)
{
    const dense_conv *const d = &s->d;
    const int64_t total = d->batch * dst_plane(d), n = lines * d->out_width;
    const bool direct = is_pointwise(d);
    if (!direct)
        columns_move(s, first, lines, false);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)d->out, (int)depth_of(d), (int)n, 1,
                s->dst + first * d->out_width, (int)total,
                direct ? s->src + first * d->out_width : s->columns, (int)(direct ? total : n),
                (float)(first > 0), s->filter, (int)depth_of(d));
}

static equinv_status run_way(problem *p, int way)
{
    state *const s = p->own;
    const int64_t all = s->d.batch * s->d.out_height, lines = s->lines[way];
    if (p->what.pass == PASS_BACKWARD_DATA)
        memset(s->src, 0, (size_t)(s->d.in * s->d.batch * src_plane(&s->d)) * sizeof *s->src);
    for (int64_t first = 0; first < all; first += lines) {
        const int64_t now = all - first < lines ? all - first : lines;
        switch (p->what.pass) {
        case PASS_FORWARD: forward_block(s, first, now); break;
        case PASS_BACKWARD_DATA: data_block(s, first, now); break;
        default: weights_block(s, first, now); break;
        }
    }
    return EQUINV_OK;
}

/* ---- the problem ----------------------------------------------------------------------------------------- */

static void destroy(problem *p)
{
    state *const s = p->own;
    free(s->filter), free(s->src), free(s->dst), free(s->columns);
    free(s);
    p->own = NULL;
}

/* OpenBLAS counts in int; blocks that would hold the same rows are one. */
static equinv_status cut(state *s, int *ways)
{
    const dense_conv *const d = &s->d;
    const int64_t all = d->batch * d->out_height, line = depth_of(d) * d->out_width;
    if (d->batch * dst_plane(d) > INT_MAX || depth_of(d) > INT_MAX || d->out > INT_MAX)
        return peer_failed("OpenBLAS: extents beyond int");
    *ways = 0;
    for (int i = 0; i < WAYS; i++) {
        int64_t lines = block_bytes[i] / (line * (int64_t)sizeof(float));
        lines = lines < 1 ? 1 : lines < all ? lines : all;
        if (*ways == 0 || s->lines[*ways - 1] < lines)
            s->lines[(*ways)++] = lines;
    }
    const int64_t largest = (int64_t)1 << 28; /* 1 GiB of columns is enough */
    while (*ways > 1 && s->lines[*ways - 1] * line > largest)
        (*ways)--;
    s->columns = peer_floats(s->lines[*ways - 1] * line);
    return s->columns ? EQUINV_OK : EQUINV_ERR_NOMEM;
}

static equinv_status create(problem *p)
{
    int ways = 1;
    equinv_status status = p->what.op->runner.create(p);
    if (status)
        return status;
    p->impl_name = NULL;
    state *const s = p->own = calloc(1, sizeof *s);
    if (!s)
        return EQUINV_ERR_NOMEM;
    if ((status = dense_conv_of(&p->what, &s->d)) ||
        (status = dense_filter(p, &s->d, &s->filter)) || (status = cut(s, &ways)))
        return status;
    const dense_conv *const d = &s->d;
    s->src = peer_floats(d->in * d->batch * src_plane(d));
    s->dst = peer_floats(d->out * d->batch * dst_plane(d));
    if (!s->src || !s->dst)
        return EQUINV_ERR_NOMEM;
    const pass direction = p->what.pass;
    if (direction != PASS_BACKWARD_DATA)
        exchange_axes(p->input[0].data, d->batch, d->in, src_plane(d), s->src);
    if (direction != PASS_FORWARD)
        exchange_axes(p->input[direction == PASS_BACKWARD_WEIGHTS].data, d->batch, d->out,
                      dst_plane(d), s->dst);
    return peer_fastest(p, ways, run_way, &s->chosen);
}

static equinv_status run(problem *p)
{
    return run_way(p, ((const state *)p->own)->chosen);
}

static equinv_status finish(problem *p)
{
    const state *const s = p->own;
    const dense_conv *const d = &s->d;
    switch (p->what.pass) {
    case PASS_FORWARD:
        exchange_axes(s->dst, d->out, d->batch, dst_plane(d), p->output[0].data);
        return EQUINV_OK;
    case PASS_BACKWARD_DATA:
        exchange_axes(s->src, d->in, d->batch, src_plane(d), p->output[0].data);
        return EQUINV_OK;
    default: return dense_gradient_to_psi(p, d, s->filter);
    }
}

const bench_runner *openblas_conv(const bench_case *c)
{
    static const bench_runner runner = {create, run, destroy, NULL, finish, false, NULL};
    return c->dtype == EQUINV_F32 ? &runner : NULL;
}
