/*
 * Convolution by products: the gradient of the filter. That of the bank is summed in parts, tile by tile,
 * and in blocks of its rows; the parts are then added in their order and folded to psi.
 */
#include <string.h>

#include "conv.h"
#include "conv_tile.h"
#include "gemm.h"
#include "internal/rows.h"

enum {
    PART_PIXELS = 512,
    CHAIN = 4096, /* pixels that a part sums at most .. */
    PARTS = 16    /* .. and parts at least, where each gets PART_PIXELS */
};

/*
 * Parts by the problem alone, so that the bits do not depend on the threads: chains of at most CHAIN pixels
 * where memory allows, and enough work for a pool. Blocks of rows do not touch the bits, but each fetches
 * the tile anew.
 */
void eqi_conv_choose_parts(const eqi_conv_problem *p, eqi_conv_gemm_plan *g)
{
    const eqi_conv_side *const f = &g->forward;
    const int64_t rows = eqi_smaller(p->desc.batch, 1 << 20) * eqi_smaller(f->rows, 1 << 20);
    const int64_t pixels = rows * eqi_smaller(f->columns, 1 << 20);
    const int64_t memory = eqi_larger(1, ((int64_t)64 << 20) / (int64_t)g->bank_size);
    const int64_t wanted = eqi_smaller(pixels / PART_PIXELS, eqi_larger(PARTS, pixels / CHAIN));
    g->parts = eqi_larger(1, eqi_smaller(wanted, eqi_smaller(rows, memory)));
    const int64_t blocks = eqi_smaller(eqi_smaller(PARTS, 2 * g->lanes) / g->parts, f->patch / 24);
    g->blocks = g->lanes > 1 ? eqi_larger(1, blocks) : 1;
}

int64_t eqi_conv_entries(const eqi_conv_problem *p)
{
    return p->filter_elements * p->desc.kernel * p->desc.kernel * eqi_order(p->desc.group);
}

void eqi_conv_fill_entries(const eqi_conv_problem *p, eqi_conv_gemm_plan *g)
{
    const int64_t k = p->desc.kernel;
    int64_t *to = g->entry;
    for (int32_t a = 0; a < p->filter_elements; a++)
        for (int64_t v = 0; v < k * k; v++)
            for (int32_t u = 0; u < eqi_order(p->desc.group); u++) {
                const eqi_conv_entry at = eqi_conv_entry_of(p, u, a, (eqi_pixel){v / k, v % k});
                *to++ = (at.h * k * k + at.t.y * k + at.t.x) * g->forward.pitch +
                        at.g * p->out_per_group;
            }
}

/* Columns, psi's fields, lanes, parts of the bank and of the bias, and what fold reads behind them. */
size_t eqi_conv_weights_scratch(const eqi_conv_problem *p, const eqi_conv_gemm_plan *g)
{
    return eqi_conv_columns_size(&g->forward, p->desc.dtype) +
           eqi_aligned((size_t)p->out_per_group * sizeof(int64_t)) +
           (size_t)g->lanes * g->weights_lane_size +
           (size_t)g->parts * (g->bank_size + g->bias_size) + EQI_ALIGNMENT;
}

enum { FOLDED = 128 }; /* rows of psi that are folded at a time, for all fields at once */

static int64_t folded_pitch(const eqi_conv_problem *p)
{
    const int64_t line = EQI_ALIGNMENT / (int64_t)equinv_dtype_size(p->desc.dtype);
    return eqi_divide_up(p->out_per_group, line) * line;
}

/* A lane is one of forward, or for rows that are folded. */
size_t eqi_conv_weights_lane(const eqi_conv_problem *p, const eqi_conv_gemm_plan *g)
{
    const size_t sums = eqi_conv_lane_size(&g->forward, p->desc.dtype);
    const size_t folds = eqi_aligned((size_t)((FOLDED + EQI_CONV_TURNED) * folded_pitch(p)) *
                                     equinv_dtype_size(p->desc.dtype));
    return sums > folds ? sums : folds;
}

typedef struct weights_job {
    const eqi_conv_problem *problem;
    const eqi_hardware *hardware;
    const eqi_conv_gemm_plan *plan;
    const equinv_tensor *src, *diff_dst, *diff_psi, *diff_bias;
    eqi_conv_columns columns; /* of diff_dst */
    int64_t *fields;          /* [out_per_group]: of psi's first group */
    char *lanes, *parts, *biases;
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

/* Rows first .. last - 1 of a part's bank, and of the first block its bias. */
typedef struct bank_block {
    int64_t first, last;
    char *bank, *bias;
} bank_block;

/* One tile's share; the first one is set, not added. */
static void add_tile(const weights_job *job, const eqi_conv_lane *l, const eqi_conv_tile *t,
                     const bank_block *b, bool add)
{
    const eqi_conv_side *const s = &job->plan->forward;
    const equinv_dtype dtype = job->problem->desc.dtype;
    const float one_f32 = 1;
    const double one_f64 = 1;
    const eqi_conv_pixels pixels = {t->image, t->images, t->y, 0, t->rows, s->columns, false};
    const void *const buffer = eqi_conv_fetch_tile(s, job->src, t, l->buffer);
    eqi_conv_gather(job->diff_dst, &pixels, &job->columns, s->kernels, l->matrix, s->matrix_pitch);
    eqi_gemm_args args = {
        .n = s->group_outputs,
        .k = t->images * t->rows * s->columns,
        .ldb = s->matrix_pitch,
        .accumulate = add,
    };
    for (int64_t group = 0; group < job->problem->desc.channel_groups; group++) {
        const int64_t channel = group * s->group_channels * eqi_conv_plane(s);
        args.m = b->last - b->first;
        args.a = eqi_conv_element(buffer, dtype, channel);
        args.a_rows = s->taps + b->first;
        args.a_columns = s->pixels;
        args.b = eqi_conv_element(l->matrix, dtype, group * s->group_outputs);
        args.packed_b = args.whole = eqi_conv_is_padded(s);
        args.c = eqi_conv_element(b->bank, dtype, (group * s->patch + b->first) * s->pitch);
        args.ldc = s->pitch;
        eqi_gemm(job->hardware, dtype, &args, l->workspace);
    }
    if (b->first > 0 || !job->diff_bias)
        return;
    /* The sum over pixels is the product with a row of ones. */
    args.m = 1;
    args.n = s->outputs;
    args.a = dtype == EQUINV_F32 ? (const void *)&one_f32 : &one_f64;
    args.a_rows = args.a_columns = NULL;
    args.transpose_a = true;
    args.b = l->matrix;
    args.c = b->bias;
    args.ldc = s->matrix_pitch;
    args.whole = true;
    eqi_gemm(job->hardware, dtype, &args, l->workspace);
}

static void clear_block(const weights_job *job, const bank_block *b)
{
    const eqi_conv_side *const s = &job->plan->forward;
    const equinv_dtype dtype = job->problem->desc.dtype;
    for (int64_t group = 0; group < job->problem->desc.channel_groups; group++)
        memset(eqi_conv_element(b->bank, dtype, (group * s->patch + b->first) * s->pitch), 0,
               (size_t)((b->last - b->first) * s->pitch) * equinv_dtype_size(dtype));
    if (b->first == 0)
        memset(b->bias, 0, job->plan->bias_size);
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
        const bank_block b = {first, last, job->parts + (size_t)part * g->bank_size,
                              job->biases + (size_t)part * g->bias_size};
        const int64_t begin = rows / g->parts * part + eqi_smaller(part, rows % g->parts);
        const int64_t end = rows / g->parts * (part + 1) + eqi_smaller(part + 1, rows % g->parts);
        if (begin == end)
            clear_block(job, &b);
        for (int64_t row = begin; row < end;) {
            const eqi_conv_tile t = tile_at(s, row, end);
            add_tile(job, &l, &t, &b, row > begin);
            row += t.images * t.rows;
        }
    }
}

/* Numbers of psi[o] that one channel group has. */
static int64_t psi_rows(const eqi_conv_problem *p)
{
    return p->in_per_group * p->filter_elements * p->desc.kernel * p->desc.kernel;
}

/* diff_psi of one group, some rows of all its fields. */
static void fold_rows(const weights_job *job, int64_t group, int64_t first, void *rows)
{
    const eqi_conv_problem *const p = job->problem;
    const eqi_conv_side *const s = &job->plan->forward;
    const equinv_dtype dtype = p->desc.dtype;
    const int64_t taps = p->desc.kernel * p->desc.kernel;
    equinv_tensor psi = *job->diff_psi;
    psi.data = eqi_conv_element(psi.data, dtype, group * p->out_per_group * psi.strides[0]);
    const eqi_conv_psi_rows to = {.rows = rows,
                                  .pitch = folded_pitch(p),
                                  .first = first,
                                  .count = eqi_smaller(FOLDED, psi_rows(p) - first),
                                  .fields = p->out_per_group,
                                  .at = job->fields,
                                  .add = p->desc.accumulate};
    const eqi_conv_fold fold = {
        .parts = eqi_conv_element(job->parts, dtype, group * s->patch * s->pitch),
        .part = (int64_t)(job->plan->bank_size / equinv_dtype_size(dtype)),
        .count = job->plan->parts,
        .entry = job->plan->entry,
        .order = eqi_order(p->desc.group),
        .period = p->filter_elements * taps,
        .step = s->elements * taps * s->pitch,
        .first = first,
        .rows = to.count,
        .fields = to.fields,
        .to = rows,
        .pitch = to.pitch,
    };
    eqi_conv_sum(dtype, &fold, s->kernels);
    eqi_conv_put_psi(&psi, &to, s->kernels);
}

static int64_t folds_of_group(const eqi_conv_problem *p)
{
    return eqi_divide_up(psi_rows(p), FOLDED);
}

static void run_folds(void *arg, int64_t index)
{
    weights_job *const job = arg;
    const int64_t folds = folds_of_group(job->problem);
    void *const rows = job->lanes + (size_t)index * job->plan->weights_lane_size;
    for (;;) {
        const int64_t i = __atomic_fetch_add(&job->next, 1, __ATOMIC_RELAXED);
        if (i >= folds * job->problem->desc.channel_groups)
            return;
        fold_rows(job, i / folds, i % folds * FOLDED, rows);
    }
}

static void fold_bias(const weights_job *job)
{
    const eqi_conv_problem *const p = job->problem;
    const eqi_conv_side *const s = &job->plan->forward;
    for (int64_t o = 0; o < p->desc.fields_out; o++) {
        const int64_t column = o / p->out_per_group * s->group_outputs + o % p->out_per_group;
        double sum = 0;
        for (int64_t part = 0; part < job->plan->parts; part++) {
            const equinv_tensor bias = {.data = job->biases + (size_t)part * job->plan->bias_size,
                                        .dtype = p->desc.dtype};
            for (int64_t g = 0; g < s->output_elements; g++)
                sum += eqi_load(&bias, column + g * p->out_per_group);
        }
        eqi_put(job->diff_bias, o * job->diff_bias->strides[0], sum, p->desc.accumulate);
    }
}

equinv_status eqi_conv_gemm_backward_weights(const eqi_conv_plan *plan, const equinv_tensor *src,
                                             const equinv_tensor *diff_dst,
                                             const equinv_tensor *diff_psi,
                                             const equinv_tensor *diff_bias, void *scratch)
{
    const eqi_conv_gemm_plan *const g = plan->tables;
    const eqi_conv_problem *const p = &plan->problem;
    char *memory = scratch;
    char *const columns = eqi_take(&memory, eqi_conv_columns_size(&g->forward, p->desc.dtype));
    weights_job job = {
        .problem = p,
        .hardware = &plan->head.ctx->hardware,
        .plan = g,
        .src = src,
        .diff_dst = diff_dst,
        .diff_psi = diff_psi,
        .diff_bias = diff_bias,
        .columns = eqi_conv_columns_in(&g->forward, diff_dst, NULL, columns),
        .fields = eqi_take(&memory, (size_t)p->out_per_group * sizeof(int64_t)),
        .lanes = memory,
    };
    for (int64_t o = 0; o < p->out_per_group; o++)
        job.fields[o] = o * diff_psi->strides[0];
    job.parts = job.lanes + (size_t)g->lanes * g->weights_lane_size;
    job.biases = job.parts + (size_t)g->parts * g->bank_size;
    eqi_conv_share_out(plan, eqi_smaller(g->lanes, g->parts * g->blocks), run_parts, &job);
    job.next = 0;
    const int64_t folds = p->desc.channel_groups * folds_of_group(p);
    eqi_conv_share_out(plan, eqi_smaller(g->lanes, folds), run_folds, &job);
    if (diff_bias)
        fold_bias(&job);
    return EQUINV_OK;
}
