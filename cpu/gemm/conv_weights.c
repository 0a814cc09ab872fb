/*
 * Convolution by products: the gradient of the filter. That of the bank is summed in parts, tile by tile,
 * and in blocks of its rows; the parts are then added in their order and folded to psi.
 */
#include <string.h>

#include "conv.h"
#include "conv_tile.h"
#include "gemm.h"

enum {
    PART_PIXELS = 512,
    CHAIN = 4096, /* pixels that a part sums at most .. */
    PARTS = 16    /* .. and parts at least, where each gets PART_PIXELS */
};

/*
 * By the problem alone, so that the bits do not depend on the threads: chains of at most CHAIN pixels
 * where memory allows, and enough work for a pool.
 */
void eqi_conv_choose_parts(const eqi_conv_problem *p, eqi_conv_gemm_plan *g)
{
    const eqi_conv_side *const f = &g->forward;
    const int64_t rows = eqi_smaller(p->desc.batch, 1 << 20) * eqi_smaller(f->rows, 1 << 20);
    const int64_t pixels = rows * eqi_smaller(f->columns, 1 << 20);
    const int64_t memory = eqi_larger(1, ((int64_t)64 << 20) / (int64_t)g->bank_size);
    const int64_t wanted = eqi_smaller(pixels / PART_PIXELS, eqi_larger(PARTS, pixels / CHAIN));
    g->parts = eqi_larger(1, eqi_smaller(wanted, eqi_smaller(rows, memory)));
    g->blocks = eqi_larger(1, eqi_smaller(PARTS / 2 / g->parts, f->patch / 24));
}

/* Lanes, parts of the bank, parts of the bias, and the sums of the bank's. */
size_t eqi_conv_weights_scratch(const eqi_conv_gemm_plan *g, equinv_dtype dtype)
{
    return (size_t)g->lanes * g->weights_lane_size +
           (size_t)g->parts * (g->bank_size + g->bias_size) +
           g->bank_size / equinv_dtype_size(dtype) * sizeof(double);
}

typedef struct weights_job {
    const eqi_conv_problem *problem;
    const eqi_hardware *hardware;
    const eqi_conv_gemm_plan *plan;
    const equinv_tensor *src, *diff_dst, *diff_psi, *diff_bias;
    char *lanes, *parts, *biases;
    double *sums;
    int64_t next;
} weights_job;

/* The next tile of the rows begin .. end - 1 of all images' rows in a row. */
static eqi_conv_tile tile_at(const eqi_conv_side *s, int64_t begin, int64_t end)
{
    const int64_t image = begin / s->rows, y = begin % s->rows;
    if (eqi_conv_is_whole(s) && y == 0 && end - begin >= s->rows)
        return (eqi_conv_tile){image, eqi_smaller(s->images, (end - begin) / s->rows), 0, s->rows};
    return (eqi_conv_tile){image, 1, y,
                           eqi_smaller(s->band, eqi_smaller(s->rows - y, end - begin))};
}

/* Adds one tile to rows first .. last - 1 of a part's bank, and to its bias. */
static void add_tile(const weights_job *job, const eqi_conv_lane *l, const eqi_conv_tile *t,
                     int64_t first, int64_t last, char *bank, char *bias)
{
    const eqi_conv_side *const s = &job->plan->forward;
    const equinv_dtype dtype = job->problem->desc.dtype;
    const float one_f32 = 1;
    const double one_f64 = 1;
    const eqi_conv_pixels pixels = {t->image, t->images, t->y, 0, 1, t->rows, s->columns, false};
    eqi_conv_fetch_tile(s, job->src, t, l->buffer);
    eqi_conv_gather(job->diff_dst, &pixels, l->matrix);
    eqi_gemm_args args = {
        .n = s->group_outputs,
        .k = t->images * t->rows * s->columns,
        .ldb = s->outputs,
        .accumulate = true,
    };
    for (int64_t group = 0; group < job->problem->desc.channel_groups; group++) {
        const int64_t channel = group * s->group_channels * eqi_conv_plane(s);
        args.m = last - first;
        args.a = eqi_conv_element(l->buffer, dtype, channel);
        args.a_rows = s->taps + first;
        args.a_columns = s->pixels;
        args.b = eqi_conv_element(l->matrix, dtype, group * s->group_outputs);
        args.c = eqi_conv_element(bank, dtype, (group * s->patch + first) * s->group_outputs);
        args.ldc = s->group_outputs;
        eqi_gemm(job->hardware, dtype, &args, l->workspace);
    }
    if (first > 0 || !job->diff_bias)
        return;
    /* The sum over pixels is the product with a row of ones. */
    args.m = 1;
    args.n = s->outputs;
    args.a = dtype == EQUINV_F32 ? (const void *)&one_f32 : &one_f64;
    args.a_rows = args.a_columns = NULL;
    args.transpose_a = true;
    args.b = l->matrix;
    args.c = bias;
    args.ldc = s->outputs;
    eqi_gemm(job->hardware, dtype, &args, l->workspace);
}

static void run_parts(void *arg, int64_t index)
{
    weights_job *const job = arg;
    const eqi_conv_gemm_plan *const g = job->plan;
    const eqi_conv_side *const s = &g->forward;
    const equinv_dtype dtype = job->problem->desc.dtype;
    const eqi_conv_lane l =
        eqi_conv_lane_of(s, dtype, job->lanes + (size_t)index * g->weights_lane_size);
    const int64_t rows = job->problem->desc.batch * s->rows;
    for (;;) {
        const int64_t i = __atomic_fetch_add(&job->next, 1, __ATOMIC_RELAXED);
        if (i >= g->parts * g->blocks)
            return;
        const int64_t part = i / g->blocks, block = i % g->blocks;
        const int64_t first = s->patch * block / g->blocks;
        const int64_t last = s->patch * (block + 1) / g->blocks;
        char *const bank = job->parts + (size_t)part * g->bank_size;
        char *const bias = job->biases + (size_t)part * g->bias_size;
        for (int64_t group = 0; group < job->problem->desc.channel_groups; group++)
            memset(eqi_conv_element(bank, dtype, (group * s->patch + first) * s->group_outputs), 0,
                   (size_t)((last - first) * s->group_outputs) * equinv_dtype_size(dtype));
        if (block == 0)
            memset(bias, 0, g->bias_size);
        const int64_t end = rows / g->parts * (part + 1) + eqi_smaller(part + 1, rows % g->parts);
        for (int64_t row = rows / g->parts * part + eqi_smaller(part, rows % g->parts);
             row < end;) {
            const eqi_conv_tile t = tile_at(s, row, end);
            add_tile(job, &l, &t, first, last, bank, bias);
            row += t.images * t.rows;
        }
    }
}

/* Outputs that one task sums and folds: at least a cache line of each row. */
static int64_t fold_fields(const eqi_conv_side *s)
{
    return eqi_larger(1, 16 / s->output_elements);
}

/* diff_psi[o,i,a,v], for fields first .. last - 1: the sum of the entries of the bank that are it. */
static void fold_entry(const weights_job *job, int32_t a, eqi_pixel v, int64_t first, int64_t last)
{
    const eqi_conv_problem *const p = job->problem;
    const eqi_conv_side *const s = &job->plan->forward;
    const int64_t k = p->desc.kernel;
    const int32_t order = eqi_order(p->desc.group);
    int64_t place[8];
    for (int32_t u = 0; u < order; u++) {
        const eqi_conv_entry at = eqi_conv_entry_of(p, u, a, v);
        place[u] = (at.h * k * k + at.t.y * k + at.t.x) * s->group_outputs + at.g;
    }
    for (int64_t o = first; o < last; o++)
        for (int64_t i = 0; i < p->in_per_group; i++) {
            const int64_t row = o / p->out_per_group * s->patch + i * s->elements * k * k;
            const double *const at =
                job->sums + row * s->group_outputs + o % p->out_per_group * s->output_elements;
            double sum = 0;
            for (int32_t u = 0; u < order; u++)
                sum += at[place[u]];
            eqi_put(job->diff_psi, eqi_offset5(job->diff_psi, o, i, a, v.y, v.x), sum,
                    p->desc.accumulate);
        }
}

static void fold(void *arg, int64_t index)
{
    const weights_job *const job = arg;
    const eqi_conv_problem *const p = job->problem;
    const eqi_conv_side *const s = &job->plan->forward;
    const int64_t blocks = eqi_divide_up(p->out_per_group, fold_fields(s));
    const int64_t group = index / blocks, k = p->desc.kernel;
    const int64_t first = index % blocks * fold_fields(s);
    const int64_t last = eqi_smaller(p->out_per_group, first + fold_fields(s));
    const eqi_conv_block block = {
        .parts = job->plan->parts,
        .part_step = (int64_t)(job->plan->bank_size / equinv_dtype_size(p->desc.dtype)),
        .row = group * s->patch,
        .rows = s->patch,
        .row_step = s->group_outputs,
        .column = first * s->output_elements,
        .columns = (last - first) * s->output_elements,
    };
    eqi_conv_sum(p->desc.dtype, job->parts, &block, job->sums);
    const int64_t field = group * p->out_per_group;
    for (int32_t a = 0; a < p->filter_elements; a++)
        for (int64_t t = 0; t < k * k; t++)
            fold_entry(job, a, (eqi_pixel){t / k, t % k}, field + first, field + last);
}

static void fold_bias(const weights_job *job)
{
    const eqi_conv_side *const s = &job->plan->forward;
    for (int64_t o = 0; o < job->problem->desc.fields_out; o++) {
        double sum = 0;
        for (int64_t part = 0; part < job->plan->parts; part++) {
            const equinv_tensor bias = {.data = job->biases + (size_t)part * job->plan->bias_size,
                                        .dtype = job->problem->desc.dtype};
            for (int64_t g = 0; g < s->output_elements; g++)
                sum += eqi_load(&bias, o * s->output_elements + g);
        }
        eqi_put(job->diff_bias, o * job->diff_bias->strides[0], sum, job->problem->desc.accumulate);
    }
}

equinv_status eqi_conv_gemm_backward_weights(const eqi_conv_plan *plan, const equinv_tensor *src,
                                             const equinv_tensor *diff_dst,
                                             const equinv_tensor *diff_psi,
                                             const equinv_tensor *diff_bias, void *scratch)
{
    const eqi_conv_gemm_plan *const g = plan->tables;
    weights_job job = {
        .problem = &plan->problem,
        .hardware = &plan->head.ctx->hardware,
        .plan = g,
        .src = src,
        .diff_dst = diff_dst,
        .diff_psi = diff_psi,
        .diff_bias = diff_bias,
        .lanes = scratch,
    };
    job.parts = job.lanes + (size_t)g->lanes * g->weights_lane_size;
    job.biases = job.parts + (size_t)g->parts * g->bank_size;
    job.sums = (double *)(job.biases + (size_t)g->parts * g->bias_size);
    const int64_t blocks = eqi_divide_up(plan->problem.out_per_group, fold_fields(&g->forward));
    eqi_conv_share_out(plan, eqi_smaller(g->lanes, g->parts * g->blocks), run_parts, &job);
    eqi_conv_share_out(plan, plan->problem.desc.channel_groups * blocks, fold, &job);
    if (diff_bias)
        fold_bias(&job);
    return EQUINV_OK;
}
