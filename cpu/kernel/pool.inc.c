/*
 * Pooling over lanes: up to LANES neighbouring outputs (or, for the mean's gradient, inputs) are
 * worked on together and every place of the window is one pass over them. Lanes run along the width,
 * or along the fields where those lie fastest. Window places are visited in row-major order, so ties
 * go to the lowest index as in the reference.
 */
#include <math.h>
#include <string.h>

#include "cpu/ref/ref.h"
#include "cpu/isa/scalar/scalar.h"
#include "cpu/kernel/layers.h"
#include "cpu/kernel/reduce.h"

enum { LANES = 64 };

typedef struct job {
    eqi_pool_problem p;
    equinv_tensor from, to;
    const int32_t *read;
    int32_t *write;
    double share;   /* of one place in a mean */
    bool by_fields; /* lanes along the fields, one task a sample; else one task a (sample, field) */
} job;

/* One place of the window in a run of lanes. */
typedef struct tap {
    int32_t first, count; /* lanes that have it */
    const float *src;     /* of lane `first`; lanes are `step` apart */
    int64_t step;
    int32_t index, index_step; /* saved index of lane `first`, and from lane to lane */
} tap;

/* Inlined with a constant step where there is one: the compiler then vectorises the loads. */
#define INLINE static inline __attribute__((always_inline))

/* What is larger or NaN is taken, unless a NaN is already there. */
INLINE void take_larger_by(int64_t step, const tap *t, float *best, int32_t *index)
{
    const float *const src = t->src;
    const int32_t count = t->count, index_first = t->index, index_step = t->index_step;
#pragma omp simd
    for (int32_t i = 0; i < count; i++) {
        const float value = src[i * step], old = best[i];
        const int take = !(value <= old) & (old == old);
        best[i] = take ? value : old;
        index[i] = take ? index_first + i * index_step : index[i];
    }
}

static void take_larger(const tap *t, float *best, int32_t *index)
{
    switch (t->step) {
    case 1: take_larger_by(1, t, best, index); break;
    case 2: take_larger_by(2, t, best, index); break;
    default: take_larger_by(t->step, t, best, index);
    }
}

/* The same where nobody asks for the index: without backward. */
INLINE void keep_larger_by(int64_t step, const tap *t, float *best)
{
    const float *const src = t->src;
    const int32_t count = t->count;
#pragma omp simd
    for (int32_t i = 0; i < count; i++) {
        const float value = src[i * step], old = best[i];
        const int take = !(value <= old) & (old == old);
        best[i] = take ? value : old;
    }
}

static void keep_larger(const tap *t, float *best)
{
    switch (t->step) {
    case 1: keep_larger_by(1, t, best); break;
    case 2: keep_larger_by(2, t, best); break;
    default: keep_larger_by(t->step, t, best);
    }
}

INLINE void add_by(int64_t step, const tap *t, double *sum)
{
    const float *const src = t->src;
    const int32_t count = t->count;
#pragma omp simd
    for (int32_t i = 0; i < count; i++)
        sum[i] += (double)src[i * step];
}

static void add(const tap *t, double *sum)
{
    switch (t->step) {
    case 1: add_by(1, t, sum); break;
    case 2: add_by(2, t, sum); break;
    default: add_by(t->step, t, sum);
    }
}

static int64_t divide_up(int64_t a, int64_t b)
{
    return a <= 0 ? -(-a / b) : (a - 1) / b + 1;
}

static int64_t divide_down(int64_t a, int64_t b)
{
    return a < 0 ? -((-a - 1) / b + 1) : a / b;
}

static double window_size(const eqi_pool_problem *p)
{
    return (double)p->window[0].kernel * (double)p->window[1].kernel * (double)p->window[2].kernel;
}

static eqi_range places(const eqi_pool_problem *p, int axis, int64_t output)
{
    return eqi_window_places(output, p->window[axis].kernel, p->window[axis].stride,
                             p->window[axis].padding, p->src[2 + axis]);
}

static eqi_range outputs(const eqi_pool_problem *p, int axis, int64_t place)
{
    return eqi_window_outputs(place, p->window[axis].kernel, p->window[axis].stride,
                              p->window[axis].padding, p->dst[2 + axis]);
}

static bool is_trivial(const eqi_pool_problem *p, int axis)
{
    return p->window[axis].kernel == 1 && p->window[axis].stride == 1;
}

/* The window is the whole image, of one element. */
static bool is_global(const eqi_pool_problem *p)
{
    return p->window[0].kernel == 1 && p->dst[3] == 1 && p->dst[4] == 1 &&
           p->window[1].kernel == p->src[3] && p->window[2].kernel == p->src[4] &&
           !p->window[1].padding && !p->window[2].padding;
}

/* ---- forward --------------------------------------------------------------------------------- */

typedef struct lanes {
    float best[LANES];
    int32_t index[LANES];
    double sum[LANES];
} lanes;

static void begin(const job *j, lanes *l, int64_t count)
{
    if (!j->p.max)
        memset(l->sum, 0, (size_t)count * sizeof *l->sum);
    for (int64_t i = 0; j->p.max && i < count; i++)
        l->best[i] = -INFINITY;
}

static void visit(const job *j, lanes *l, const tap *t)
{
    if (!j->p.max)
        add(t, l->sum + t->first);
    else if (j->write)
        take_larger(t, l->best + t->first, l->index + t->first);
    else
        keep_larger(t, l->best + t->first);
}

static void finish(const job *j, lanes *l, int64_t count, float *dst, int32_t *saved,
                   int64_t saved_step)
{
    if (!j->p.max) {
        const double share = j->share;
#pragma omp simd
        for (int64_t i = 0; i < count; i++)
            dst[i] = (float)(l->sum[i] * share);
        return;
    }
    memcpy(dst, l->best, (size_t)count * sizeof *dst);
    for (int64_t i = 0; saved && i < count; i++)
        saved[i * saved_step] = l->index[i];
}

/* Lanes x0 .. x0 + count - 1 of one output row. */
static void forward_columns(const job *j, int64_t n, int64_t f, int64_t g, int64_t y, int64_t x0,
                            int64_t count)
{
    const eqi_pool_problem *const p = &j->p;
    const int64_t stride = p->window[2].stride, padding = p->window[2].padding, width = p->src[4];
    const eqi_range hs = places(p, 0, g), ys = places(p, 1, y);
    lanes l;
    begin(j, &l, count);
    for (int64_t i = 0; j->write && i < count; i++)
        l.index[i] =
            (int32_t)((hs.first * p->src[3] + ys.first) * width + places(p, 2, x0 + i).first);
    /* Places of all lanes together; for each the lanes where it lies inside the image. */
    const int64_t start = x0 * stride - padding;
    const int64_t last_tap = p->window[2].kernel - 1;
    for (int64_t h = hs.first; h <= hs.last; h++)
        for (int64_t yy = ys.first; yy <= ys.last; yy++) {
            const float *const row = eqi_f32_at(&j->from, eqi_offset5(&j->from, n, f, h, yy, 0));
            const int64_t first_tap = start + (count - 1) * stride < 0
                                          ? -(start + (count - 1) * stride)
                                          : 0; /* the first that any lane has */
            for (int64_t k = first_tap; k <= last_tap && start + k < width; k++) {
                /* Divisions only where the image ends: they cost as much as the lanes. */
                const int64_t left = start + k, right = left + (count - 1) * stride;
                const int64_t first = left < 0 ? divide_up(-left, stride) : 0;
                const int64_t last =
                    right < width ? count - 1 : divide_down(width - 1 - left, stride);
                const int64_t x = start + k + first * stride;
                const tap t = {(int32_t)first,
                               (int32_t)(last - first + 1),
                               row + x,
                               stride,
                               (int32_t)((h * p->src[3] + yy) * width + x),
                               (int32_t)stride};
                if (t.count > 0)
                    visit(j, &l, &t);
            }
        }
    int64_t place = (((n * p->dst[1] + f) * p->dst[2] + g) * p->dst[3] + y) * p->dst[4] + x0;
    finish(j, &l, count, eqi_f32_at(&j->to, eqi_offset5(&j->to, n, f, g, y, x0)),
           j->write ? j->write + place : NULL, 1);
}

/* One output: the whole image reduced row by row. */
static void forward_image(const job *j, int64_t n, int64_t f, int64_t g)
{
    const eqi_pool_problem *const p = &j->p;
    const int64_t height = p->src[3], width = p->src[4];
    float *const dst = eqi_f32_at(&j->to, eqi_offset5(&j->to, n, f, g, 0, 0));
    double sum = 0;
    float best = -INFINITY;
    int64_t winner = g * height * width;
    for (int64_t y = 0; y < height; y++) {
        const float *const row = eqi_f32_at(&j->from, eqi_offset5(&j->from, n, f, g, y, 0));
        if (!p->max) {
            sum += eqi_sum_f32(row, width);
            continue;
        }
        bool any_nan;
        const float largest = eqi_max_f32(row, width, &any_nan);
        if (!any_nan && !(largest > best))
            continue;
        int64_t x = 0;
        while (any_nan ? row[x] == row[x] : row[x] != largest)
            x++;
        best = row[x];
        winner = (g * height + y) * width + x;
        if (any_nan)
            break;
    }
    *dst = p->max ? best : (float)(sum * j->share);
    if (j->write)
        j->write[(n * p->dst[1] + f) * p->dst[2] + g] = (int32_t)winner;
}

/* Windows of 2 x 2 side by side, the kind in most networks: every output from its two rows in one go. */
static bool is_quarter(const eqi_pool_problem *p)
{
    bool is = p->max && is_trivial(p, 0);
    for (int i = 1; i < 3; i++)
        is = is && p->window[i].kernel == 2 && p->window[i].stride == 2 && !p->window[i].padding;
    return is;
}

/* The row's values at even and at odd columns, of `count` windows or as many as there are lanes. */
INLINE void quarter_values(const float *row, int64_t count, vf32 *even, vf32 *odd)
{
    const int last = (int)(2 * count);
    const bool whole = count >= vf32_lanes, low = last <= vf32_lanes;
    const vf32 first = low ? vf32_load_part(row, 0, last) : vf32_load(row);
    const vf32 second = whole ? vf32_load(row + vf32_lanes)
                        : low ? vf32_broadcast(0)
                              : vf32_load_part(row + vf32_lanes, 0, last - vf32_lanes);
    vf32_unzip(first, second, even, odd);
}

INLINE void quarter_places(int32_t first, int32_t width, vu32 place[4])
{
    static const uint32_t even[16] = {0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30};
    for (int i = 0; i < 4; i++)
        place[i] =
            vu32_add(vu32_load(even), vu32_broadcast((uint32_t)(first + i % 2 + i / 2 * width)));
}

INLINE void put_part(float *p, vf32 v, int64_t count)
{
    if (count >= vf32_lanes)
        vf32_store(p, v);
    else
        vf32_store_part(p, v, (int)count);
}

/* `first`: index of a[0]; the second row is `width` behind it. */
INLINE void quarter_row(const float *a, const float *b, int64_t count, int32_t first, int32_t width,
                        float *dst, int32_t *saved)
{
    for (int64_t x = 0; x < count; x += vf32_lanes) {
        vf32 value[4];
        quarter_values(a + 2 * x, count - x, &value[0], &value[1]);
        quarter_values(b + 2 * x, count - x, &value[2], &value[3]);
        vu32 place[4];
        quarter_places(first + 2 * (int32_t)x, width, place);
        vf32 best = value[0], index = vf32_from_bits(place[0]);
        for (int i = 1; i < 4; i++) {
            const vmask take = vf32_takes(best, value[i]);
            best = vf32_choose(take, value[i], best);
            index = vf32_choose(take, vf32_from_bits(place[i]), index);
        }
        put_part(dst + x, best, count - x);
        if (saved)
            put_part((float *)saved + x, index, count - x);
    }
}

static void forward_quarter(void *arg, int64_t task)
{
    const job *const j = arg;
    const eqi_pool_problem *const p = &j->p;
    const int64_t n = task / p->dst[1], f = task % p->dst[1];
    const int64_t height = p->src[3], width = p->src[4], count = p->dst[4];
    int32_t *saved = j->write ? j->write + task * p->dst[2] * p->dst[3] * count : NULL;
    for (int64_t g = 0; g < p->dst[2]; g++)
        for (int64_t y = 0; y < p->dst[3]; y++) {
            const float *const a = eqi_f32_at(&j->from, eqi_offset5(&j->from, n, f, g, 2 * y, 0));
            const float *const b = a + j->from.strides[3];
            float *const dst = eqi_f32_at(&j->to, eqi_offset5(&j->to, n, f, g, y, 0));
            const int32_t first = (int32_t)((g * height + 2 * y) * width);
            if (!saved) {
                quarter_row(a, b, count, 0, 0, dst, NULL);
                continue;
            }
            quarter_row(a, b, count, first, (int32_t)width, dst, saved);
            saved += count;
        }
}

static void forward_by_columns(void *arg, int64_t task)
{
    const job *const j = arg;
    const eqi_pool_problem *const p = &j->p;
    const int64_t n = task / p->dst[1], f = task % p->dst[1];
    const bool global = is_global(p);
    for (int64_t g = 0; g < p->dst[2]; g++)
        if (global)
            forward_image(j, n, f, g);
        else
            for (int64_t y = 0; y < p->dst[3]; y++)
                for (int64_t x = 0; x < p->dst[4]; x += LANES)
                    forward_columns(j, n, f, g, y, x,
                                    p->dst[4] - x < LANES ? p->dst[4] - x : LANES);
}

/* One output pixel of fields f0 .. f0 + count - 1. */
static void forward_fields(const job *j, int64_t n, int64_t f0, int64_t count, int64_t g, int64_t y,
                           int64_t x)
{
    const eqi_pool_problem *const p = &j->p;
    const eqi_range hs = places(p, 0, g), ys = places(p, 1, y), xs = places(p, 2, x);
    const int64_t first = (hs.first * p->src[3] + ys.first) * p->src[4] + xs.first;
    lanes l;
    begin(j, &l, count);
    for (int64_t i = 0; j->write && i < count; i++)
        l.index[i] = (int32_t)first;
    for (int64_t h = hs.first; h <= hs.last; h++)
        for (int64_t yy = ys.first; yy <= ys.last; yy++)
            for (int64_t xx = xs.first; xx <= xs.last; xx++) {
                const tap t = {0,
                               (int32_t)count,
                               eqi_f32_at(&j->from, eqi_offset5(&j->from, n, f0, h, yy, xx)),
                               1,
                               (int32_t)((h * p->src[3] + yy) * p->src[4] + xx),
                               0};
                visit(j, &l, &t);
            }
    const int64_t field = p->dst[2] * p->dst[3] * p->dst[4];
    const int64_t place = (g * p->dst[3] + y) * p->dst[4] + x;
    finish(j, &l, count, eqi_f32_at(&j->to, eqi_offset5(&j->to, n, f0, g, y, x)),
           j->write ? j->write + (n * p->dst[1] + f0) * field + place : NULL, field);
}

static void forward_by_fields(void *arg, int64_t n)
{
    const job *const j = arg;
    const eqi_pool_problem *const p = &j->p;
    for (int64_t g = 0; g < p->dst[2]; g++)
        for (int64_t y = 0; y < p->dst[3]; y++)
            for (int64_t x = 0; x < p->dst[4]; x++)
                for (int64_t f = 0; f < p->dst[1]; f += LANES)
                    forward_fields(j, n, f, p->dst[1] - f < LANES ? p->dst[1] - f : LANES, g, y, x);
}

/* Rows of an image that follow each other are one long row where the window has no extent in it. */
static void join_rows(job *j)
{
    eqi_pool_problem *const p = &j->p;
    const int64_t width = p->src[4];
    if (!is_trivial(p, 1) || !is_trivial(p, 2) ||
        (p->src[3] > 1 && (j->from.strides[3] != width || j->to.strides[3] != width)))
        return;
    p->src[4] = p->dst[4] = j->from.shape[4] = j->to.shape[4] = p->src[3] * width;
    p->src[3] = p->dst[3] = j->from.shape[3] = j->to.shape[3] = 1;
    j->from.strides[4] = j->to.strides[4] = 1;
}

/* Chooses the lanes; false where neither axis has unit strides. */
static bool choose_lanes(job *j)
{
    const bool columns = eqi_is_unit(&j->from, 4) && eqi_is_unit(&j->to, 4);
    const bool fields = eqi_is_unit(&j->from, 1) && eqi_is_unit(&j->to, 1);
    j->by_fields = fields && j->from.shape[1] > 1 && !(columns && j->from.shape[4] > 1);
    return columns || j->by_fields;
}

static equinv_status forward(const equinv_context *ctx, const eqi_pool_problem *p,
                             const equinv_tensor *src, const equinv_tensor *dst, int32_t *saved)
{
    job j = {.p = *p, .from = *src, .to = *dst, .write = saved, .share = 1 / window_size(p)};
    const eqi_resampling *const blur = p->tables;
    if (p->blur && eqi_fast_resample(ctx, blur->forward, src, dst, false))
        return EQUINV_OK;
    if (p->blur || !choose_lanes(&j)) {
        eqi_ref_pool_forward(ctx, p, src, dst, saved);
        return EQUINV_OK;
    }
    if (j.by_fields) {
        eqi_parallel_over(ctx, eqi_pool_work(p), p->dst[0], forward_by_fields, &j);
    } else {
        join_rows(&j);
        eqi_parallel_over(ctx, eqi_pool_work(p), p->dst[0] * p->dst[1],
                          is_quarter(p) ? forward_quarter : forward_by_columns, &j);
    }
    return EQUINV_OK;
}

/* ---- backward: max --------------------------------------------------------------------------- */

/* [G, H, W] of one field is one axis with the stride of the columns: an index is a place. */
static bool is_joined(const equinv_tensor *t, int64_t *step)
{
    int64_t expected = 0;
    *step = 1;
    for (int axis = 4; axis >= 2; axis--) {
        if (t->shape[axis] == 1)
            continue;
        if (!expected)
            expected = *step = t->strides[axis];
        if (t->strides[axis] != expected)
            return false;
        expected *= t->shape[axis];
    }
    return true;
}

static void scatter(const job *j, int64_t n, int64_t f, int64_t step)
{
    const eqi_pool_problem *const p = &j->p;
    const int64_t count = p->src[2] * p->src[3] * p->src[4];
    float *const diff_src = eqi_f32_at(&j->to, eqi_offset5(&j->to, n, f, 0, 0, 0));
    const int32_t *saved = j->read + (n * p->dst[1] + f) * p->dst[2] * p->dst[3] * p->dst[4];
    for (int64_t g = 0; g < p->dst[2]; g++)
        for (int64_t y = 0; y < p->dst[3]; y++) {
            const float *const row = eqi_f32_at(&j->from, eqi_offset5(&j->from, n, f, g, y, 0));
            for (int64_t x = 0; x < p->dst[4]; x++, saved++)
                if (*saved >= 0 && *saved < count) /* nothing is written outside, come what may */
                    diff_src[*saved * step] += row[x * j->from.strides[4]];
        }
}

INLINE vf32 get_part(const float *p, int64_t count)
{
    return count >= vf32_lanes ? vf32_load(p) : vf32_load_part(p, 0, (int)count);
}

INLINE void put_quarter(float *row, vf32 even, vf32 odd, int64_t count)
{
    vf32 low, high;
    vf32_zip(even, odd, &low, &high);
    put_part(row, low, 2 * count);
    if (2 * count > vf32_lanes)
        put_part(row + vf32_lanes, high, 2 * count - vf32_lanes);
}

/* As forward: every input of a window gets the output's gradient or 0. Rows and columns behind them get 0. */
static void backward_quarter(void *arg, int64_t task)
{
    const job *const j = arg;
    const eqi_pool_problem *const p = &j->p;
    const int64_t n = task / p->dst[1], f = task % p->dst[1];
    const int64_t height = p->src[3], width = p->src[4], count = p->dst[4];
    const int32_t *saved = j->read + task * p->dst[2] * p->dst[3] * count;
    for (int64_t g = 0; g < p->dst[2]; g++) {
        float *const image = eqi_f32_at(&j->to, eqi_offset5(&j->to, n, f, g, 0, 0));
        for (int64_t y = 0; y < p->dst[3]; y++, saved += count) {
            const float *const diff = eqi_f32_at(&j->from, eqi_offset5(&j->from, n, f, g, y, 0));
            float *const a = image + 2 * y * width, *const b = a + width;
            const int32_t first = (int32_t)((g * height + 2 * y) * width);
            for (int64_t x = 0; x < count; x += vf32_lanes) {
                const int64_t rest = count - x;
                const vu32 won = vf32_bits(get_part((const float *)saved + x, rest));
                const vf32 d = get_part(diff + x, rest);
                vu32 place[4];
                vf32 value[4];
                quarter_places(first + 2 * (int32_t)x, (int32_t)width, place);
                for (int i = 0; i < 4; i++)
                    value[i] = vf32_choose(vu32_equal(won, place[i]), d, vf32_broadcast(0));
                put_quarter(a + 2 * x, value[0], value[1], rest);
                put_quarter(b + 2 * x, value[2], value[3], rest);
            }
            if (width % 2)
                a[width - 1] = b[width - 1] = 0;
        }
        if (height % 2)
            memset(image + (height - 1) * width, 0, (size_t)width * sizeof *image);
    }
}

static void backward_max_by_columns(void *arg, int64_t task)
{
    const job *const j = arg;
    const eqi_pool_problem *const p = &j->p;
    const int64_t n = task / p->dst[1], f = task % p->dst[1];
    const int64_t count = p->src[2] * p->src[3] * p->src[4];
    if (!p->accumulate)
        memset(eqi_f32_at(&j->to, eqi_offset5(&j->to, n, f, 0, 0, 0)), 0,
               (size_t)count * sizeof(float));
    scatter(j, n, f, 1);
}

static void backward_max_by_fields(void *arg, int64_t n)
{
    const job *const j = arg;
    const eqi_pool_problem *const p = &j->p;
    int64_t step;
    is_joined(&j->to, &step);
    const int64_t count = p->src[2] * p->src[3] * p->src[4];
    for (int64_t i = 0; !p->accumulate && i < count; i++)
        memset(eqi_f32_at(&j->to, n * j->to.strides[0] + i * step), 0,
               (size_t)p->src[1] * sizeof(float));
    for (int64_t f = 0; f < p->src[1]; f++)
        scatter(j, n, f, step);
}

/* ---- backward: mean -------------------------------------------------------------------------- */

static void put(const job *j, const double *sum, int64_t count, float *diff_src)
{
    const double share = j->share;
    if (j->p.accumulate) {
#pragma omp simd
        for (int64_t i = 0; i < count; i++)
            diff_src[i] = (float)((double)diff_src[i] + sum[i] * share);
    } else {
#pragma omp simd
        for (int64_t i = 0; i < count; i++)
            diff_src[i] = (float)(sum[i] * share);
    }
}

/* Lanes are inputs x0 .. x0 + count - 1 of one row; every tap brings the outputs that have them. */
static void backward_columns(const job *j, int64_t n, int64_t f, int64_t h, int64_t y, int64_t x0,
                             int64_t count)
{
    const eqi_pool_problem *const p = &j->p;
    const int64_t stride = p->window[2].stride, padding = p->window[2].padding;
    const eqi_range gs = outputs(p, 0, h), ys = outputs(p, 1, y);
    double sum[LANES];
    memset(sum, 0, (size_t)count * sizeof *sum);
    for (int64_t g = gs.first; g <= gs.last; g++)
        for (int64_t yy = ys.first; yy <= ys.last; yy++) {
            const float *const row = eqi_f32_at(&j->from, eqi_offset5(&j->from, n, f, g, yy, 0));
            const int64_t reach = (p->dst[4] - 1) * stride - padding; /* of the last output */
            const int64_t first_tap = x0 > reach ? x0 - reach : 0;
            for (int64_t k = first_tap; k < p->window[2].kernel && k <= x0 + count - 1 + padding;
                 k++) {
                const int64_t low = divide_up(x0 + padding - k, stride);
                const int64_t high = divide_down(x0 + count - 1 + padding - k, stride);
                const int64_t first = low > 0 ? low : 0;
                const int64_t last = high < p->dst[4] - 1 ? high : p->dst[4] - 1;
                double *const lane = sum + (first * stride - padding + k - x0);
                if (stride == 1) {
#pragma omp simd
                    for (int64_t i = 0; i <= last - first; i++)
                        lane[i] += (double)row[first + i];
                } else {
                    for (int64_t i = 0; i <= last - first; i++)
                        lane[i * stride] += (double)row[first + i];
                }
            }
        }
    put(j, sum, count, eqi_f32_at(&j->to, eqi_offset5(&j->to, n, f, h, y, x0)));
}

static void backward_image(const job *j, int64_t n, int64_t f, int64_t g)
{
    const eqi_pool_problem *const p = &j->p;
    const double value =
        (double)*eqi_f32_at(&j->from, eqi_offset5(&j->from, n, f, g, 0, 0)) * j->share;
    for (int64_t y = 0; y < p->src[3]; y++) {
        float *const row = eqi_f32_at(&j->to, eqi_offset5(&j->to, n, f, g, y, 0));
        if (p->accumulate) {
#pragma omp simd
            for (int64_t x = 0; x < p->src[4]; x++)
                row[x] = (float)((double)row[x] + value);
        } else {
#pragma omp simd
            for (int64_t x = 0; x < p->src[4]; x++)
                row[x] = (float)value;
        }
    }
}

static void backward_mean_by_columns(void *arg, int64_t task)
{
    const job *const j = arg;
    const eqi_pool_problem *const p = &j->p;
    const int64_t n = task / p->dst[1], f = task % p->dst[1];
    const bool global = is_global(p);
    for (int64_t h = 0; h < p->src[2]; h++)
        if (global)
            backward_image(j, n, f, h);
        else
            for (int64_t y = 0; y < p->src[3]; y++)
                for (int64_t x = 0; x < p->src[4]; x += LANES)
                    backward_columns(j, n, f, h, y, x,
                                     p->src[4] - x < LANES ? p->src[4] - x : LANES);
}

static void backward_fields(const job *j, int64_t n, int64_t f0, int64_t count, int64_t h,
                            int64_t y, int64_t x)
{
    const eqi_pool_problem *const p = &j->p;
    const eqi_range gs = outputs(p, 0, h), ys = outputs(p, 1, y), xs = outputs(p, 2, x);
    double sum[LANES];
    memset(sum, 0, (size_t)count * sizeof *sum);
    for (int64_t g = gs.first; g <= gs.last; g++)
        for (int64_t yy = ys.first; yy <= ys.last; yy++)
            for (int64_t xx = xs.first; xx <= xs.last; xx++) {
                const tap t = {0,
                               (int32_t)count,
                               eqi_f32_at(&j->from, eqi_offset5(&j->from, n, f0, g, yy, xx)),
                               1,
                               0,
                               0};
                add(&t, sum);
            }
    put(j, sum, count, eqi_f32_at(&j->to, eqi_offset5(&j->to, n, f0, h, y, x)));
}

static void backward_mean_by_fields(void *arg, int64_t n)
{
    const job *const j = arg;
    const eqi_pool_problem *const p = &j->p;
    for (int64_t h = 0; h < p->src[2]; h++)
        for (int64_t y = 0; y < p->src[3]; y++)
            for (int64_t x = 0; x < p->src[4]; x++)
                for (int64_t f = 0; f < p->src[1]; f += LANES)
                    backward_fields(j, n, f, p->src[1] - f < LANES ? p->src[1] - f : LANES, h, y,
                                    x);
}

static equinv_status backward(const equinv_context *ctx, const eqi_pool_problem *p,
                              const equinv_tensor *diff_dst, const int32_t *saved,
                              const equinv_tensor *diff_src)
{
    job j = {
        .p = *p, .from = *diff_dst, .to = *diff_src, .read = saved, .share = 1 / window_size(p)};
    const eqi_resampling *const blur = p->tables;
    int64_t step = 1;
    if (p->blur && eqi_fast_resample(ctx, blur->backward, diff_dst, diff_src, p->accumulate))
        return EQUINV_OK;
    if (p->blur || !choose_lanes(&j) ||
        (p->max && (!is_joined(diff_src, &step) || (!j.by_fields && step != 1)))) {
        eqi_ref_pool_backward(ctx, p, diff_dst, saved, diff_src);
        return EQUINV_OK;
    }
    if (!j.by_fields && !p->max)
        join_rows(&j);
    const int64_t work = eqi_pool_work(p), fields = p->dst[0] * p->dst[1];
    if (j.by_fields)
        eqi_parallel_over(ctx, work, p->dst[0],
                          p->max ? backward_max_by_fields : backward_mean_by_fields, &j);
    else
        eqi_parallel_over(ctx, work, fields,
                          !p->max                           ? backward_mean_by_columns
                          : is_quarter(p) && !p->accumulate ? backward_quarter
                                                            : backward_max_by_columns,
                          &j);
    return EQUINV_OK;
}

#define PASTE_(a, b) a##b
#define PASTE(a, b) PASTE_(a, b)
const eqi_pool_kernels PASTE(eqi_pool_, EQI_LEVEL) = {forward, backward};
