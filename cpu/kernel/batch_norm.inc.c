/*
 * Batch normalisation in three steps: every sample's part of every field is reduced to two doubles, the
 * parts of a field are combined in the order of the samples, then every value is written by
 *     forward   dst = ((src - high) - low) scale + shift
 *     backward  diff_src = scale diff_dst + (slope ((src - high) - low) + shift)
 * in fp32. high + low is the mean to twice fp32's precision: src - high is nearly exact where the mean
 * is far above the spread, so nothing is lost there. A part's mean is subtracted before its values are
 * squared, for the same reason. A part stays in the first-level cache between its two passes.
 *
 * Values are read in rows along the width, joined with height and elements where memory allows, or
 * along the fields where those lie fastest.
 */
#include <math.h>
#include <string.h>

#include "cpu/ref/ref.h"
#include "cpu/isa/scalar/scalar.h"
#include "cpu/kernel/layers.h"
#include "cpu/kernel/reduce.h"

typedef struct job {
    const eqi_batch_norm_problem *p;
    const eqi_batch_norm_args *a;
    int64_t rows_g, rows_y, row; /* rows along the width: how many, how long */
    double *first, *second;      /* [N, F] parts: (mean, squares) or (diff_dst, diff_dst src) */
    double *mean, *inv;          /* [F] */
    float *high, *low, *scale, *slope, *shift; /* [F] */
} job;

static void split_mean(const job *j, int64_t f, double mean)
{
    j->mean[f] = mean;
    j->high[f] = (float)mean;
    j->low[f] = isfinite(j->high[f]) ? (float)(mean - (double)j->high[f]) : 0;
}

static int64_t row_offset(const equinv_tensor *t, int64_t n, int64_t f, int64_t g, int64_t y)
{
    return eqi_offset5(t, n, f, g, y, 0);
}

#define FOR_ROWS(j, g, y)                                                                          \
    for (int64_t g = 0; g < (j)->rows_g; g++)                                                      \
        for (int64_t y = 0; y < (j)->rows_y; y++)
#define FOR_PIXELS(p, g, y, x)                                                                     \
    for (int64_t g = 0; g < (p)->shape[2]; g++)                                                    \
        for (int64_t y = 0; y < (p)->shape[3]; y++)                                                \
            for (int64_t x = 0; x < (p)->shape[4]; x++)

/* ---- parts ----------------------------------------------------------------------------------- */

static void part_statistics_by_rows(void *arg, int64_t task)
{
    const job *const j = arg;
    const int64_t n = task / j->p->shape[1], f = task % j->p->shape[1];
    const equinv_tensor *const src = j->a->src;
    double sum = 0, squares = 0;
    FOR_ROWS(j, g, y)
    {
        sum += eqi_sum_f32(eqi_f32_at(src, row_offset(src, n, f, g, y)), j->row);
    }
    const double mean = sum / (double)(j->rows_g * j->rows_y * j->row);
    FOR_ROWS(j, g, y)
    {
        squares += eqi_squares_f32(eqi_f32_at(src, row_offset(src, n, f, g, y)), j->row, mean);
    }
    j->first[task] = mean;
    j->second[task] = squares;
}

static void part_statistics_by_fields(void *arg, int64_t n)
{
    const job *const j = arg;
    const equinv_tensor *const src = j->a->src;
    const int64_t fields = j->p->shape[1];
    const double places = (double)(j->p->shape[2] * j->p->shape[3] * j->p->shape[4]);
    double *const mean = j->first + n * fields, *const squares = j->second + n * fields;
    memset(mean, 0, (size_t)fields * sizeof *mean);
    memset(squares, 0, (size_t)fields * sizeof *squares);
    FOR_PIXELS(j->p, g, y, x)
    {
        const float *const row = eqi_f32_at(src, eqi_offset5(src, n, 0, g, y, x));
#pragma omp simd
        for (int64_t f = 0; f < fields; f++)
            mean[f] += (double)row[f];
    }
    for (int64_t f = 0; f < fields; f++)
        mean[f] /= places;
    FOR_PIXELS(j->p, g, y, x)
    {
        const float *const row = eqi_f32_at(src, eqi_offset5(src, n, 0, g, y, x));
#pragma omp simd
        for (int64_t f = 0; f < fields; f++) {
            const double d = (double)row[f] - mean[f];
            squares[f] += d * d;
        }
    }
}

static void part_gradients_by_rows(void *arg, int64_t task)
{
    const job *const j = arg;
    const int64_t n = task / j->p->shape[1], f = task % j->p->shape[1];
    const equinv_tensor *const src = j->a->src, *const diff_dst = j->a->diff_dst;
    double sum = 0, product = 0;
    FOR_ROWS(j, g, y)
    {
        const float *const row = eqi_f32_at(diff_dst, row_offset(diff_dst, n, f, g, y));
        product += eqi_product_f32(row, eqi_f32_at(src, row_offset(src, n, f, g, y)), j->row,
                                   j->mean[f], &sum);
    }
    j->first[task] = sum;
    j->second[task] = product;
}

static void part_gradients_by_fields(void *arg, int64_t n)
{
    const job *const j = arg;
    const equinv_tensor *const src = j->a->src, *const diff_dst = j->a->diff_dst;
    const int64_t fields = j->p->shape[1];
    const double *const mean = j->mean;
    double *const sum = j->first + n * fields, *const product = j->second + n * fields;
    memset(sum, 0, (size_t)fields * sizeof *sum);
    memset(product, 0, (size_t)fields * sizeof *product);
    FOR_PIXELS(j->p, g, y, x)
    {
        const float *const row = eqi_f32_at(src, eqi_offset5(src, n, 0, g, y, x));
        const float *const diff = eqi_f32_at(diff_dst, eqi_offset5(diff_dst, n, 0, g, y, x));
#pragma omp simd
        for (int64_t f = 0; f < fields; f++) {
            sum[f] += (double)diff[f];
            product[f] += (double)diff[f] * ((double)row[f] - mean[f]);
        }
    }
}

/* ---- writing --------------------------------------------------------------------------------- */

static void normalise_by_rows(void *arg, int64_t task)
{
    const job *const j = arg;
    const int64_t n = task / j->p->shape[1], f = task % j->p->shape[1], length = j->row;
    const float high = j->high[f], low = j->low[f], scale = j->scale[f], shift = j->shift[f];
    FOR_ROWS(j, g, y)
    {
        const float *const src = eqi_f32_at(j->a->src, row_offset(j->a->src, n, f, g, y));
        float *const dst = eqi_f32_at(j->a->dst, row_offset(j->a->dst, n, f, g, y));
#pragma omp simd
        for (int64_t i = 0; i < length; i++)
            dst[i] = ((src[i] - high) - low) * scale + shift;
    }
}

static void normalise_by_fields(void *arg, int64_t n)
{
    const job *const j = arg;
    const int64_t fields = j->p->shape[1];
    const float *const high = j->high, *const low = j->low;
    const float *const scale = j->scale, *const shift = j->shift;
    FOR_PIXELS(j->p, g, y, x)
    {
        const float *const src = eqi_f32_at(j->a->src, eqi_offset5(j->a->src, n, 0, g, y, x));
        float *const dst = eqi_f32_at(j->a->dst, eqi_offset5(j->a->dst, n, 0, g, y, x));
#pragma omp simd
        for (int64_t f = 0; f < fields; f++)
            dst[f] = ((src[f] - high[f]) - low[f]) * scale[f] + shift[f];
    }
}

static void differentiate_by_rows(void *arg, int64_t task)
{
    const job *const j = arg;
    const eqi_batch_norm_args *const a = j->a;
    const int64_t n = task / j->p->shape[1], f = task % j->p->shape[1], length = j->row;
    const float high = j->high[f], low = j->low[f];
    const float scale = j->scale[f], slope = j->slope[f], shift = j->shift[f];
    FOR_ROWS(j, g, y)
    {
        const float *const src = eqi_f32_at(a->src, row_offset(a->src, n, f, g, y));
        const float *const diff = eqi_f32_at(a->diff_dst, row_offset(a->diff_dst, n, f, g, y));
        float *const dst = eqi_f32_at(a->diff_src, row_offset(a->diff_src, n, f, g, y));
#pragma omp simd
        for (int64_t i = 0; i < length; i++)
            dst[i] = scale * diff[i] + (slope * ((src[i] - high) - low) + shift);
    }
}

static void differentiate_by_fields(void *arg, int64_t n)
{
    const job *const j = arg;
    const eqi_batch_norm_args *const a = j->a;
    const int64_t fields = j->p->shape[1];
    const float *const high = j->high, *const low = j->low;
    const float *const scale = j->scale, *const slope = j->slope, *const shift = j->shift;
    FOR_PIXELS(j->p, g, y, x)
    {
        const float *const src = eqi_f32_at(a->src, eqi_offset5(a->src, n, 0, g, y, x));
        const float *const diff = eqi_f32_at(a->diff_dst, eqi_offset5(a->diff_dst, n, 0, g, y, x));
        float *const dst = eqi_f32_at(a->diff_src, eqi_offset5(a->diff_src, n, 0, g, y, x));
#pragma omp simd
        for (int64_t f = 0; f < fields; f++)
            dst[f] = scale[f] * diff[f] + (slope[f] * ((src[f] - high[f]) - low[f]) + shift[f]);
    }
}

static void scale_by_rows(void *arg, int64_t task)
{
    const job *const j = arg;
    const eqi_batch_norm_args *const a = j->a;
    const int64_t n = task / j->p->shape[1], f = task % j->p->shape[1], length = j->row;
    const float scale = j->scale[f];
    FOR_ROWS(j, g, y)
    {
        const float *const diff = eqi_f32_at(a->diff_dst, row_offset(a->diff_dst, n, f, g, y));
        float *const dst = eqi_f32_at(a->diff_src, row_offset(a->diff_src, n, f, g, y));
#pragma omp simd
        for (int64_t i = 0; i < length; i++)
            dst[i] = scale * diff[i];
    }
}

static void scale_by_fields(void *arg, int64_t n)
{
    const job *const j = arg;
    const eqi_batch_norm_args *const a = j->a;
    const int64_t fields = j->p->shape[1];
    const float *const scale = j->scale;
    FOR_PIXELS(j->p, g, y, x)
    {
        const float *const diff = eqi_f32_at(a->diff_dst, eqi_offset5(a->diff_dst, n, 0, g, y, x));
        float *const dst = eqi_f32_at(a->diff_src, eqi_offset5(a->diff_src, n, 0, g, y, x));
#pragma omp simd
        for (int64_t f = 0; f < fields; f++)
            dst[f] = scale[f] * diff[f];
    }
}

/* ---- layout ---------------------------------------------------------------------------------- */

/* Rows along the width, each continued over the axes before it as far as all maps allow. */
static bool find_rows(job *j, const equinv_tensor *const maps[3])
{
    const int64_t *const shape = j->p->shape;
    int first = 5; /* first axis of a row */
    j->row = 1;
    for (bool fits = true; fits && first > 2;) {
        for (int i = 0; i < 3; i++)
            fits &= !maps[i] || shape[first - 1] == 1 || maps[i]->strides[first - 1] == j->row;
        if (fits)
            j->row *= shape[--first];
    }
    if (first == 5)
        return false;
    j->rows_g = first > 2 ? shape[2] : 1;
    j->rows_y = first > 3 ? shape[3] : 1;
    return true;
}

typedef enum layout { BY_REFERENCE, BY_ROWS, BY_FIELDS } layout;

static layout choose_layout(job *j, const equinv_tensor *a, const equinv_tensor *b,
                            const equinv_tensor *c)
{
    if (j->p->count == 0)
        return BY_REFERENCE;
    const equinv_tensor *const maps[3] = {a, b, c};
    bool fields = j->p->shape[1] > 1;
    for (int i = 0; i < 3; i++)
        fields &= !maps[i] || maps[i]->strides[1] == 1;
    if (fields)
        return BY_FIELDS;
    return find_rows(j, maps) ? BY_ROWS : BY_REFERENCE;
}

static job start(const eqi_batch_norm_problem *p, const eqi_batch_norm_args *a)
{
    const int64_t fields = p->shape[1], parts = p->shape[0] * fields;
    job j = {.p = p, .a = a, .first = a->scratch};
    j.second = j.first + parts;
    j.mean = j.second + parts;
    j.inv = j.mean + fields;
    j.high = (float *)(j.inv + fields);
    j.low = j.high + fields;
    j.scale = j.low + fields;
    j.slope = j.scale + fields;
    j.shift = j.slope + fields;
    return j;
}

static void run(const equinv_context *ctx, job *j, layout how, equinv_task by_rows,
                equinv_task by_fields)
{
    const int64_t batch = j->p->shape[0], fields = j->p->shape[1];
    if (how == BY_ROWS)
        eqi_parallel_over(ctx, fields * j->p->count, batch * fields, by_rows, j);
    else
        eqi_parallel_over(ctx, fields * j->p->count, batch, by_fields, j);
}

/* ---- the four calls -------------------------------------------------------------------------- */

/* Mean of the parts' means; squares of the parts and of their means' distances from it. */
static void combine_statistics(const job *j, int64_t f, double *mean, double *squares)
{
    const int64_t batch = j->p->shape[0], fields = j->p->shape[1];
    const double places = (double)j->p->count / (double)batch;
    double sum = 0, inside = 0, between = 0;
    for (int64_t n = 0; n < batch; n++) {
        sum += j->first[n * fields + f];
        inside += j->second[n * fields + f];
    }
    *mean = sum / (double)batch;
    for (int64_t n = 0; n < batch; n++) {
        const double d = j->first[n * fields + f] - *mean;
        between += d * d;
    }
    *squares = inside + places * between;
}

static void combine_gradients(const job *j, int64_t f, double *sum, double *product)
{
    *sum = *product = 0;
    for (int64_t n = 0; n < j->p->shape[0]; n++) {
        *sum += j->first[n * j->p->shape[1] + f];
        *product += j->second[n * j->p->shape[1] + f];
    }
}

static void set_forward(const job *j, int64_t f, double mean, double inv)
{
    split_mean(j, f, mean);
    j->scale[f] = (float)(eqi_at(j->a->gamma, f) * inv);
    j->shift[f] = (float)eqi_at(j->a->beta, f);
}

static equinv_status forward_train(const equinv_context *ctx, const eqi_batch_norm_problem *p,
                                   const eqi_batch_norm_args *a)
{
    job j = start(p, a);
    const layout how = choose_layout(&j, a->src, a->dst, NULL);
    if (how == BY_REFERENCE) {
        eqi_ref_batch_norm_forward_train(ctx, p, a);
        return EQUINV_OK;
    }
    run(ctx, &j, how, part_statistics_by_rows, part_statistics_by_fields);
    for (int64_t f = 0; f < p->shape[1]; f++) {
        double mean, squares;
        combine_statistics(&j, f, &mean, &squares);
        const double inv = 1 / sqrt(squares / (double)p->count + p->epsilon);
        eqi_batch_norm_run(p, a, f, mean, squares);
        if (a->saved) {
            a->saved[f] = mean;
            a->saved[p->shape[1] + f] = inv;
        }
        set_forward(&j, f, mean, inv);
    }
    run(ctx, &j, how, normalise_by_rows, normalise_by_fields);
    return EQUINV_OK;
}

static equinv_status forward_eval(const equinv_context *ctx, const eqi_batch_norm_problem *p,
                                  const eqi_batch_norm_args *a)
{
    job j = start(p, a);
    const layout how = choose_layout(&j, a->src, a->dst, NULL);
    if (how == BY_REFERENCE) {
        eqi_ref_batch_norm_forward_eval(ctx, p, a);
        return EQUINV_OK;
    }
    for (int64_t f = 0; f < p->shape[1]; f++)
        set_forward(&j, f, eqi_at(a->running_mean, f),
                    1 / sqrt(eqi_at(a->running_var, f) + p->epsilon));
    run(ctx, &j, how, normalise_by_rows, normalise_by_fields);
    return EQUINV_OK;
}

static equinv_status backward_train(const equinv_context *ctx, const eqi_batch_norm_problem *p,
                                    const eqi_batch_norm_args *a)
{
    job j = start(p, a);
    const layout how = choose_layout(&j, a->src, a->diff_dst, a->diff_src);
    if (how == BY_REFERENCE) {
        eqi_ref_batch_norm_backward_train(ctx, p, a);
        return EQUINV_OK;
    }
    for (int64_t f = 0; f < p->shape[1]; f++)
        split_mean(&j, f, a->saved[f]);
    run(ctx, &j, how, part_gradients_by_rows, part_gradients_by_fields);
    for (int64_t f = 0; f < p->shape[1]; f++) {
        const double inv = a->saved[p->shape[1] + f], factor = eqi_at(a->gamma, f) * inv;
        double sum, product;
        combine_gradients(&j, f, &sum, &product);
        eqi_batch_norm_put(p, a, f, product * inv, sum);
        j.scale[f] = (float)factor;
        j.slope[f] = (float)(-factor * inv * inv * product / (double)p->count);
        j.shift[f] = (float)(-factor * sum / (double)p->count);
    }
    run(ctx, &j, how, differentiate_by_rows, differentiate_by_fields);
    return EQUINV_OK;
}

static equinv_status backward_eval(const equinv_context *ctx, const eqi_batch_norm_problem *p,
                                   const eqi_batch_norm_args *a)
{
    job j = start(p, a);
    const layout how = choose_layout(&j, a->src, a->diff_dst, a->diff_src);
    if (how == BY_REFERENCE) {
        eqi_ref_batch_norm_backward_eval(ctx, p, a);
        return EQUINV_OK;
    }
    for (int64_t f = 0; f < p->shape[1]; f++) {
        split_mean(&j, f, eqi_at(a->running_mean, f));
        j.inv[f] = 1 / sqrt(eqi_at(a->running_var, f) + p->epsilon);
        j.scale[f] = (float)(eqi_at(a->gamma, f) * j.inv[f]);
    }
    if (a->diff_gamma || a->diff_beta) {
        run(ctx, &j, how, part_gradients_by_rows, part_gradients_by_fields);
        for (int64_t f = 0; f < p->shape[1]; f++) {
            double sum, product;
            combine_gradients(&j, f, &sum, &product);
            eqi_batch_norm_put(p, a, f, product * j.inv[f], sum);
        }
    }
    run(ctx, &j, how, scale_by_rows, scale_by_fields);
    return EQUINV_OK;
}

#define PASTE_(a, b) a##b
#define PASTE(a, b) PASTE_(a, b)
const eqi_batch_norm_kernels PASTE(eqi_batch_norm_, EQI_LEVEL) = {forward_train, forward_eval,
                                                                  backward_train, backward_eval};
