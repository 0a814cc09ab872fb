/*
 * One stencil for each axis:
 *     to[y, x] = sum over a in rows(y), b in columns(x) of row weight[a] column weight[b] from[a, b]
 *
 * Every input row goes through the column stencil once, 64 outputs at a time, into a ring of as many
 * rows as an output can have; the row stencil then adds rows of the ring. Where fields lie fastest, 64
 * fields of one output are worked on together, factor by factor.
 */
#include <string.h>

#include "cpu/isa/scalar/scalar.h"
#include "cpu/kernel/layers.h"

enum { LANES = 64 };

typedef struct job {
    const eqi_stencil *rows, *columns;
    equinv_tensor from, to;
    bool accumulate;
} job;

#define INLINE static inline __attribute__((always_inline))

/* out[i] = the sum of the first `taps` (up to 4) of w[t] in[t][i step], or that added to it. */
INLINE void add_few(int64_t step, const float *const *in, const float *w, int32_t taps, bool first,
                    int64_t count, float *out)
{
#define ADD(sum)                                                                                   \
    if (first) {                                                                                   \
        _Pragma("omp simd") for (int64_t i = 0; i < count; i++) out[i] = (sum);                    \
    } else {                                                                                       \
        _Pragma("omp simd") for (int64_t i = 0; i < count; i++) out[i] += (sum);                   \
    }                                                                                              \
    break
    const float *const a = in[0], *const b = in[taps > 1], *const c = in[taps > 2 ? 2 : 0];
    const float *const d = in[taps > 3 ? 3 : 0];
    const float p = w[0], q = w[taps > 1], r = w[taps > 2 ? 2 : 0], s = w[taps > 3 ? 3 : 0];
    switch (taps) {
    case 1: ADD(p * a[i * step]);
    case 2: ADD(p * a[i * step] + q * b[i * step]);
    case 3: ADD(p * a[i * step] + q * b[i * step] + r * c[i * step]);
    default: ADD(p * a[i * step] + q * b[i * step] + r * c[i * step] + s * d[i * step]);
    }
#undef ADD
}

/* The same for any number of taps; steps that are constants let the compiler vectorise the loads. */
static void add_up(int64_t step, const float *const *in, const float *w, int32_t taps,
                   int64_t count, float *out)
{
    if (taps == 0)
        memset(out, 0, (size_t)count * sizeof *out);
    for (int32_t t = 0; t < taps;) {
        const int32_t rest = taps - t, some = rest == 5 ? 3 : rest < 4 ? rest : 4;
        switch (step) {
        case 1: add_few(1, in + t, w + t, some, t == 0, count, out); break;
        case 2: add_few(2, in + t, w + t, some, t == 0, count, out); break;
        default: add_few(step, in + t, w + t, some, t == 0, count, out);
        }
        t += some;
    }
}

/* Outputs first .. last - 1 one by one. */
static void each(const eqi_stencil *s, const float *in, int64_t first, int64_t last, float *out)
{
    for (int64_t o = first; o < last; o++) {
        const float *const w = s->weights + s->begin[o], *const from = in + s->first[o];
        const int32_t taps = s->begin[o + 1] - s->begin[o];
        float sum = 0;
        for (int32_t t = 0; t < taps; t++)
            sum += w[t] * from[t];
        *out++ = sum;
    }
}

/* Outputs first .. first + count - 1 of a row: the run of equal weights together. */
static void across(const eqi_stencil *s, const float *in, int64_t first, int64_t count, float *out)
{
    const int64_t last = first + count;
    const int64_t from = s->from > first ? s->from : first, to = s->to < last ? s->to : last;
    if (from >= to) {
        each(s, in, first, last, out);
        return;
    }
    each(s, in, first, from, out);
    const int32_t taps = s->begin[from + 1] - s->begin[from];
    const float *at[EQI_TAPS];
    for (int32_t t = 0; t < taps; t++)
        at[t] = in + s->first[from] + t;
    add_up(s->step, at, s->weights + s->begin[from], taps, to - from, out + from - first);
    each(s, in, to, last, out + to - first);
}

static void put(const job *j, const float *sum, int64_t count, float *to)
{
    if (j->accumulate) {
#pragma omp simd
        for (int64_t i = 0; i < count; i++)
            to[i] += sum[i];
    } else {
        memcpy(to, sum, (size_t)count * sizeof *to);
    }
}

/* Columns x .. x + count - 1 of one element of one field. */
static void strip(const job *j, int64_t n, int64_t f, int64_t g, int64_t x, int64_t count)
{
    float ring[EQI_TAPS][LANES], sum[LANES];
    int64_t done = 0; /* input rows before this one are in the ring, or were never needed */
    for (int64_t y = 0; y < j->rows->outputs; y++) {
        const int64_t first = j->rows->first[y];
        const int32_t taps = j->rows->begin[y + 1] - j->rows->begin[y];
        done = done > first ? done : first;
        for (; done < first + taps; done++)
            across(j->columns, eqi_f32_at(&j->from, eqi_offset5(&j->from, n, f, g, done, 0)), x,
                   count, ring[done % EQI_TAPS]);
        const float *at[EQI_TAPS];
        for (int32_t t = 0; t < taps; t++)
            at[t] = ring[(first + t) % EQI_TAPS];
        add_up(1, at, j->rows->weights + j->rows->begin[y], taps, count, sum);
        put(j, sum, count, eqi_f32_at(&j->to, eqi_offset5(&j->to, n, f, g, y, x)));
    }
}

static void by_columns(void *arg, int64_t task)
{
    const job *const j = arg;
    const int64_t n = task / j->to.shape[1], f = task % j->to.shape[1], width = j->to.shape[4];
    for (int64_t g = 0; g < j->to.shape[2]; g++)
        for (int64_t x = 0; x < width; x += LANES)
            strip(j, n, f, g, x, width - x < LANES ? width - x : LANES);
}

/* Fields f .. f + count - 1 of one output. */
static void pixel(const job *j, int64_t n, int64_t f, int64_t count, int64_t g, int64_t y,
                  int64_t x)
{
    const eqi_stencil *const rows = j->rows, *const columns = j->columns;
    float sum[LANES] = {0};
    for (int32_t a = rows->begin[y]; a < rows->begin[y + 1]; a++)
        for (int32_t b = columns->begin[x]; b < columns->begin[x + 1]; b++) {
            const int64_t at = eqi_offset5(&j->from, n, f, g, rows->first[y] + a - rows->begin[y],
                                           columns->first[x] + b - columns->begin[x]);
            const float *const in = eqi_f32_at(&j->from, at);
            const float w = rows->weights[a] * columns->weights[b];
#pragma omp simd
            for (int64_t i = 0; i < count; i++)
                sum[i] += w * in[i];
        }
    put(j, sum, count, eqi_f32_at(&j->to, eqi_offset5(&j->to, n, f, g, y, x)));
}

static void by_fields(void *arg, int64_t n)
{
    const job *const j = arg;
    const int64_t *const shape = j->to.shape;
    for (int64_t g = 0; g < shape[2]; g++)
        for (int64_t y = 0; y < shape[3]; y++)
            for (int64_t x = 0; x < shape[4]; x++)
                for (int64_t f = 0; f < shape[1]; f += LANES)
                    pixel(j, n, f, shape[1] - f < LANES ? shape[1] - f : LANES, g, y, x);
}

static bool resample(const equinv_context *ctx, const eqi_stencil stencil[2],
                     const equinv_tensor *from, const equinv_tensor *to, bool accumulate)
{
    job j = {&stencil[0], &stencil[1], *from, *to, accumulate};
    const bool columns = eqi_is_unit(from, 4) && eqi_is_unit(to, 4);
    const bool fields = eqi_is_unit(from, 1) && eqi_is_unit(to, 1) && to->shape[1] > 1;
    const int64_t inputs = equinv_tensor_count(from), outputs = equinv_tensor_count(to);
    const int64_t work = inputs > outputs ? inputs : outputs;
    if (fields && !(columns && to->shape[4] > 1))
        eqi_parallel_over(ctx, work, to->shape[0], by_fields, &j);
    else if (columns)
        eqi_parallel_over(ctx, work, to->shape[0] * to->shape[1], by_columns, &j);
    return columns || fields;
}

#define PASTE_(a, b) a##b
#define PASTE(a, b) PASTE_(a, b)
eqi_resample_kernel *const PASTE(eqi_resample_, EQI_LEVEL) = resample;
