/*
 * Convolution as products of matrices:
 *     forward           dst      [pixels x outputs]  = patches of src [pixels x taps] . bank
 *     backward data     diff_src [pixels x outputs]  = patches of diff_dst            . turned bank
 *     backward weights  diff_bank [taps x outputs]   = (patches of src)^T             . diff_dst
 *
 * A tile (some images, or a band of rows of one) is copied with its border into a buffer; from then on a
 * patch is a set of offsets, the same for every pixel, and the product reads A through these offsets.
 * So no patch is ever written out, which for a 5 x 5 filter would be 25 times the image.
 *
 * In backward data an input position z reads the windows y with s y + d t = z + p: the taps of one
 * residue modulo s. Positions are therefore taken residue by residue (a class), each with its own taps
 * and its own rows of the bank, and nothing is multiplied by the zeros between windows. With stride 1
 * there is one class. Where the image repeats, the border is computed too and folded back.
 *
 * Where diff_src has few channels, its columns would fill no vector; there each tap is multiplied by itself with
 * windows in the lanes, and a pixel then adds what falls on it (conv_taps.c).
 *
 * The matrix of a tile has all positions row by row, whatever class they are of, and its columns are padded to
 * whole cache lines, (element, field) with the field fastest: the product needs no copies at its edges, psi's
 * gradient is a sum of vectors, and one turn of the matrix (cpu/kernel/conv_turn.inc.c) writes dst.
 *
 * Every element is one chain of multiply-adds, so a sample does not feel its batch, tile or thread.
 *
 * Why     OpenBLAS needs the patches as a matrix. One Zen 4 core (peak 117), GFLOP/s here and with a
 *         matrix of patches per image and OpenBLAS: C4 8 -> 16 fields, k 5, 14 x 14: 100 and 80;
 *         16 -> 16, k 3, 7 x 7: 91 and 61. Where images are a few pixels there is little to transform, and
 *         this is what is left: docs/performance-log.md.
 */
#include "conv.h"
#include "cpu/ref/ref.h"
#include "internal/rows.h"

enum {
    LANE_LIMIT = 1 << 30,   /* bytes */
    LANE_PRODUCTS = 1 << 21 /* worth waking another thread */
};

static eqi_conv_gemm_plan plan_of(const eqi_conv_problem *p, const eqi_hardware *hardware)
{
    const size_t element = equinv_dtype_size(p->desc.dtype);
    eqi_conv_gemm_plan g = {
        .forward = eqi_conv_forward_side(p, hardware),
        .backward = eqi_conv_backward_side(p, hardware),
        .taps = eqi_conv_taps_of(p, hardware),
    };
    const eqi_conv_side *const f = &g.forward, *const b = &g.backward;
    g.bank_size = eqi_aligned((size_t)eqi_larger(p->desc.channel_groups * f->patch * f->pitch,
                                                 p->desc.channel_groups * b->patch * b->pitch) *
                              element);
    g.bank_size = eqi_larger_size(g.bank_size, g.taps.bank_size);
    g.bias_size = eqi_aligned((size_t)f->matrix_pitch * element);
    const size_t forward = eqi_conv_lane_size(f, p->desc.dtype);
    const size_t backward = eqi_conv_lane_size(b, p->desc.dtype);
    g.lane_size = eqi_larger_size(eqi_larger_size(forward, backward), g.taps.lane_size);
    g.weights_lane_size = eqi_conv_weights_lane(p, &g);
    const double products = (double)p->desc.batch * (double)f->rows * (double)f->columns *
                            (double)f->patch * (double)f->outputs;
    const int64_t worth =
        products < LANE_PRODUCTS * 1024.0 ? 1 + (int64_t)products / LANE_PRODUCTS : 1024;
    g.lanes = eqi_smaller(eqi_smaller(hardware->threads, worth), LANE_LIMIT / (int64_t)g.lane_size);
    g.lanes = eqi_larger(1, g.lanes);
    eqi_conv_choose_parts(p, &g);
    return g;
}

/* Counts that the geometry below multiplies stay far from overflow. */
static bool is_modest(const eqi_conv_problem *p)
{
    const equinv_conv_desc *const d = &p->desc;
    const double limit = (double)((int64_t)1 << 40), taps = (double)d->kernel * (double)d->kernel;
    const double border = 2 * (double)d->padding;
    const double counts[] = {
        (double)p->out_height * (double)p->out_width,
        ((double)d->height + border) * ((double)d->width + border),
        (double)d->fields_in * (double)p->elements_in * taps,
        (double)d->fields_out * (double)p->elements_out * taps,
        (double)d->stride * (double)p->out_height,
        (double)d->stride * (double)p->out_width,
    };
    for (int i = 0; i < 6; i++)
        if (counts[i] > limit)
            return false;
    return true;
}

/* Elements of what one lane works in and of the bank, as an estimate that cannot overflow. */
static double footprint(const eqi_conv_side *s)
{
    const double pixels = (double)s->images * (double)s->band * (double)s->columns;
    const double wider = (double)eqi_larger(s->matrix_pitch, s->channels);
    return pixels * (wider + 2) + (double)s->patch * (double)s->pitch +
           (double)s->images * (double)s->channels * (double)eqi_conv_plane(s);
}

static bool gemm_supports(const void *problem, const eqi_hardware *hardware, const char **why)
{
    const eqi_conv_problem *const p = problem;
    const eqi_hardware one = {hardware->isa, 1};
    bool fits = is_modest(p);
    if (fits) {
        const eqi_conv_side f = eqi_conv_forward_side(p, &one), b = eqi_conv_backward_side(p, &one);
        fits = (footprint(&f) + footprint(&b)) * sizeof(double) < (double)LANE_LIMIT;
    }
    return eqi_require(fits, why, "a tile of patches and the bank need more than 1 GiB");
}

static size_t gemm_table_size(const eqi_conv_problem *p, const eqi_hardware *hardware)
{
    const eqi_conv_gemm_plan g = plan_of(p, hardware);
    return eqi_aligned(sizeof g) +
           (size_t)(eqi_conv_side_entries(&g.forward) + eqi_conv_side_entries(&g.backward) +
                    eqi_conv_entries(p)) *
               sizeof(int64_t);
}

static void gemm_prepare(eqi_conv_plan *plan)
{
    const eqi_conv_problem *const p = &plan->problem;
    eqi_conv_gemm_plan *const g = plan->tables;
    *g = plan_of(p, &plan->head.ctx->hardware);
    int64_t *table = (int64_t *)((char *)plan->tables + eqi_aligned(sizeof *g));
    eqi_conv_side_fill(&g->forward, &p->desc, table);
    eqi_conv_side_fill(&g->backward, &p->desc, table += eqi_conv_side_entries(&g->forward));
    g->entry = table + eqi_conv_side_entries(&g->backward);
    eqi_conv_fill_entries(p, g);
    const size_t data = eqi_conv_data_scratch(g, p->desc.dtype);
    const size_t weights = eqi_conv_weights_scratch(p, g);
    plan->head.packed_size = 2 * g->bank_size;
    plan->head.scratch_size = eqi_larger_size(data, weights);
}

static equinv_status gemm_pack(const eqi_conv_plan *plan, const equinv_tensor *psi, void *packed)
{
    const eqi_conv_gemm_plan *const g = plan->tables;
    eqi_conv_fill_bank(&plan->problem, &g->forward, psi, packed);
    void *const backward = (char *)packed + g->bank_size;
    if (g->taps.used)
        eqi_conv_fill_taps_bank(&plan->problem, &g->taps, psi, backward);
    else
        eqi_conv_fill_bank(&plan->problem, &g->backward, psi, backward);
    return EQUINV_OK;
}

void eqi_conv_share_out(const eqi_conv_plan *plan, int64_t count, equinv_task task, void *arg)
{
    const eqi_conv_gemm_plan *const g = plan->tables;
    if (g->lanes > 1) {
        eqi_parallel_for(plan->head.ctx, count, task, arg);
        return;
    }
    for (int64_t i = 0; i < count; i++)
        task(arg, i);
}

static equinv_status gemm_forward(const eqi_conv_plan *plan, const equinv_tensor *src,
                                  const eqi_conv_weights *weights, const equinv_tensor *bias,
                                  const equinv_tensor *dst, void *scratch)
{
    const eqi_conv_gemm_plan *const g = plan->tables;
    eqi_conv_run_side(plan, &g->forward, src, weights, bias, dst, scratch);
    return EQUINV_OK;
}

static equinv_status gemm_backward_data(const eqi_conv_plan *plan, const equinv_tensor *diff_dst,
                                        const eqi_conv_weights *weights, const equinv_tensor *bias,
                                        const equinv_tensor *diff_src, void *scratch)
{
    const eqi_conv_gemm_plan *const g = plan->tables;
    if (g->taps.used)
        eqi_conv_run_taps(plan, diff_dst, weights, bias, diff_src, scratch);
    else
        eqi_conv_run_side(plan, &g->backward, diff_dst, weights, bias, diff_src, scratch);
    return EQUINV_OK;
}

/* As fetch_row and is_plain (conv_tile.c) choose; in fp64 rows are a matter of the cache alone. */
static bool gemm_takes(const eqi_conv_plan *plan, bool backward, bool output,
                       const equinv_tensor *map)
{
    const eqi_conv_gemm_plan *const g = plan->tables;
    const eqi_conv_side *const s = backward ? &g->backward : &g->forward;
    return map->strides[4] == 1 && !(output ? s->wrap_out : s->wrap_in);
}

const eqi_conv_implementation eqi_conv_gemm = {
    {"conv/gemm", gemm_supports, NULL},
    gemm_table_size,
    gemm_prepare,
    gemm_pack,
    gemm_forward,
    gemm_backward_data,
    eqi_conv_gemm_backward_weights,
    eqi_ref_conv_transposed_bias,
    gemm_takes,
    NULL,
};
