/*
 * Implementation conv/gfourier: forward, backward weights, and backward data at stride 1 in the Fourier
 * form; backward data with a stride goes to conv/gemm, whose plan and packed filter are kept beside.
 */
#include <string.h>

#include "internal/rows.h"
#include "weights.h"

enum { KERNEL_MOST = 16 };

typedef struct gfourier_plan {
    eqi_gf_pass forward, backward;
    eqi_gf_weights weights;
    bool has_backward;
    eqi_conv_plan *gemm;    /* for the other passes */
    size_t backward_filter; /* offsets in the packed buffer, bytes */
    size_t gemm_packed;
    size_t filter_room, bias_room; /* at the start of scratch */
} gfourier_plan;

static bool supports(const void *problem, const eqi_hardware *hardware, const char **why)
{
    const eqi_conv_problem *const p = problem;
    const equinv_conv_desc *const d = &p->desc;
    eqi_gf_kind kind;
    return eqi_require(d->dtype == EQUINV_F32, why, "f32 only") &&
           eqi_require(d->kind == EQUINV_CONV_REGULAR, why, "regular to regular fields only") &&
           eqi_require(eqi_gf_kind_of(d->group, &kind), why,
                       "the group has one element: nothing to gain") &&
           eqi_require(d->channel_groups == 1, why, "one channel group only") &&
           eqi_require(d->kernel <= KERNEL_MOST, why, "kernels up to 16 only") &&
           eqi_conv_gemm.head.supports(problem, hardware, why);
}

static eqi_gf_pass forward_pass(const eqi_conv_problem *p, const eqi_hardware *hardware)
{
    const equinv_conv_desc *const d = &p->desc;
    eqi_gf_pass pass = {.kernels = eqi_gf_kernels_of(hardware),
                        .fields_in = d->fields_in,
                        .fields_out = d->fields_out,
                        .order = p->elements_in,
                        .height = d->height,
                        .width = d->width,
                        .out_height = p->out_height,
                        .out_width = p->out_width,
                        .stride = d->stride,
                        .padding = d->padding,
                        .circular = d->padding_mode == EQUINV_PAD_CIRCULAR,
                        .accumulate = d->accumulate,
                        .kernel = d->kernel,
                        .dilation = d->dilation};
    eqi_gf_kind_of(d->group, &pass.kind);
    pass.form = &eqi_gf_forms[pass.kind];
    pass.vectors = pass.kernels->vectors;
    eqi_gf_pass_size(&pass);
    return pass;
}

/*
 * With stride 1 the adjoint is the group convolution of diff_dst with
 *     psi'[i, o, b, w] = psi[o, i, b^-1, -b^-1 w]   and padding d (k - 1) - p.
 */
static bool adjoint_is_conv(const eqi_conv_problem *p)
{
    const equinv_conv_desc *const d = &p->desc;
    const bool same = p->out_height == d->height && p->out_width == d->width;
    return d->stride == 1 && (d->padding_mode == EQUINV_PAD_ZEROS || same);
}

static eqi_gf_pass backward_pass(const eqi_conv_problem *p, const eqi_hardware *hardware)
{
    const equinv_conv_desc *const d = &p->desc;
    eqi_gf_pass pass = forward_pass(p, hardware);
    pass.fields_in = d->fields_out;
    pass.fields_out = d->fields_in;
    pass.height = p->out_height;
    pass.width = p->out_width;
    pass.out_height = d->height;
    pass.out_width = d->width;
    pass.padding = d->dilation * (d->kernel - 1) - d->padding;
    eqi_gf_pass_size(&pass);
    return pass;
}

static gfourier_plan plan_of(const eqi_conv_problem *p, const eqi_hardware *hardware)
{
    gfourier_plan g = {.forward = forward_pass(p, hardware), .has_backward = adjoint_is_conv(p)};
    if (g.has_backward)
        g.backward = backward_pass(p, hardware);
    g.weights = eqi_gf_weights_of(&g.forward, p->desc.batch);
    return g;
}

static size_t gemm_plan_size(const eqi_conv_problem *p, const eqi_hardware *hardware)
{
    return eqi_aligned(sizeof(eqi_conv_plan)) + eqi_aligned(eqi_conv_gemm.table_size(p, hardware));
}

static size_t table_size(const eqi_conv_problem *p, const eqi_hardware *hardware)
{
    const gfourier_plan g = plan_of(p, hardware);
    return eqi_aligned(sizeof g) + eqi_gf_pass_table_size(&g.forward) +
           eqi_gf_pass_table_size(&g.weights.pass) +
           (g.has_backward ? eqi_gf_pass_table_size(&g.backward) : 0) + gemm_plan_size(p, hardware);
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static void prepare(eqi_conv_plan *plan)
{
    const eqi_conv_problem *const p = &plan->problem;
    const eqi_hardware *const hardware = &plan->head.ctx->hardware;
    char *memory = plan->tables;
    gfourier_plan *const g = eqi_take(&memory, sizeof *g);
    *g = plan_of(p, hardware);
    eqi_gf_pass_fill(&g->forward, p->desc.group,
                     eqi_take(&memory, eqi_gf_pass_table_size(&g->forward)));
    eqi_gf_weights_fill(&g->weights, p->desc.group,
                        eqi_take(&memory, eqi_gf_pass_table_size(&g->weights.pass)));
    if (g->has_backward)
        eqi_gf_pass_fill(&g->backward, p->desc.group,
                         eqi_take(&memory, eqi_gf_pass_table_size(&g->backward)));
    g->gemm = eqi_take(&memory, sizeof *g->gemm);
    g->gemm->head = plan->head;
    g->gemm->problem = *p;
    g->gemm->implementation = &eqi_conv_gemm;
    g->gemm->tables = memory;
    eqi_conv_gemm.prepare(g->gemm);

    const size_t threads = (size_t)hardware->threads;
    const size_t filters = larger(g->forward.filter_size, g->backward.filter_size);
    g->backward_filter = eqi_aligned(g->forward.filter_size);
    g->gemm_packed = g->backward_filter + eqi_aligned(g->backward.filter_size);
    g->filter_room = eqi_aligned(filters);
    g->bias_room = eqi_aligned((size_t)p->desc.fields_out * sizeof(float));
    size_t slices = eqi_gf_pass_slice(&g->forward);
    if (g->has_backward)
        slices = larger(slices, eqi_gf_pass_slice(&g->backward));
    plan->head.packed_size = g->gemm_packed + g->gemm->head.packed_size;
    size_t scratch = g->filter_room + g->bias_room + threads * slices;
    scratch = larger(scratch, eqi_gf_weights_scratch(&g->weights, hardware));
    plan->head.scratch_size = larger(scratch, g->gemm->head.scratch_size);
}

static const gfourier_plan *of(const eqi_conv_plan *plan)
{
    return (const gfourier_plan *)plan->tables;
}

/* ---- filters --------------------------------------------------------------------------------------- */

typedef struct psi_of {
    const equinv_tensor *psi;
    equinv_group group;
    int64_t kernel;
} psi_of;

static double forward_psi(const void *arg, int64_t o, int64_t i, int32_t a, int64_t y, int64_t x)
{
    const equinv_tensor *const psi = ((const psi_of *)arg)->psi;
    return (double)((const float *)psi->data)[eqi_offset5(psi, o, i, a, y, x)];
}

/* psi'[i, o, b, w] of the adjoint; here its fields are called (o, i), and w = (y, x). */
static double backward_psi(const void *arg, int64_t o, int64_t i, int32_t b, int64_t y, int64_t x)
{
    const psi_of *const f = arg;
    const int32_t back = eqi_inverse(f->group, b);
    const eqi_pixel t = eqi_move(eqi_motion_of(f->group, back), f->kernel - 1 - y,
                                 f->kernel - 1 - x, f->kernel, f->kernel);
    return forward_psi(arg, i, o, back, t.y, t.x);
}

static void pack_forward(const eqi_conv_plan *plan, const equinv_tensor *psi, void *filter)
{
    const equinv_conv_desc *const d = &plan->problem.desc;
    const psi_of f = {psi, d->group, d->kernel};
    eqi_gf_pass_pack(&of(plan)->forward, d->group, forward_psi, &f, filter);
}

static void pack_backward(const eqi_conv_plan *plan, const equinv_tensor *psi, void *filter)
{
    const equinv_conv_desc *const d = &plan->problem.desc;
    const psi_of f = {psi, d->group, d->kernel};
    eqi_gf_pass_pack(&of(plan)->backward, d->group, backward_psi, &f, filter);
}

static equinv_status pack(const eqi_conv_plan *plan, const equinv_tensor *psi, void *packed)
{
    const gfourier_plan *const g = of(plan);
    pack_forward(plan, psi, packed);
    if (g->has_backward)
        pack_backward(plan, psi, (char *)packed + g->backward_filter);
    return eqi_conv_gemm.pack(g->gemm, psi, (char *)packed + g->gemm_packed);
}

/* ---- passes ---------------------------------------------------------------------------------------- */

static equinv_status forward(const eqi_conv_plan *plan, const equinv_tensor *src,
                             const eqi_conv_weights *weights, const equinv_tensor *bias,
                             const equinv_tensor *dst, void *scratch)
{
    const gfourier_plan *const g = of(plan);
    char *memory = scratch;
    float *const room = eqi_take(&memory, g->filter_room);
    float *const biases = eqi_take(&memory, g->bias_room);
    equinv_tensor dense;
    if (bias) {
        for (int64_t o = 0; o < plan->problem.desc.fields_out; o++)
            biases[o] = ((const float *)bias->data)[o * bias->strides[0]];
        dense = *bias;
        dense.data = biases;
    }
    if (!weights->packed)
        pack_forward(plan, &weights->psi, room);
    eqi_gf_pass_run(plan->head.ctx, &g->forward, src, weights->packed ? weights->packed : room,
                    bias ? &dense : NULL, dst, memory);
    return EQUINV_OK;
}

static eqi_conv_weights gemm_weights(const eqi_conv_plan *plan, const eqi_conv_weights *weights)
{
    eqi_conv_weights w = *weights;
    if (w.packed)
        w.packed = (const char *)w.packed + of(plan)->gemm_packed;
    return w;
}

static equinv_status backward_data(const eqi_conv_plan *plan, const equinv_tensor *diff_dst,
                                   const eqi_conv_weights *weights, const equinv_tensor *diff_src,
                                   void *scratch)
{
    const gfourier_plan *const g = of(plan);
    if (!g->has_backward) {
        const eqi_conv_weights w = gemm_weights(plan, weights);
        return eqi_conv_gemm.backward_data(g->gemm, diff_dst, &w, diff_src, scratch);
    }
    char *memory = scratch;
    float *const room = eqi_take(&memory, g->filter_room);
    eqi_take(&memory, g->bias_room);
    if (!weights->packed)
        pack_backward(plan, &weights->psi, room);
    const void *const filter =
        weights->packed ? (const char *)weights->packed + g->backward_filter : (const char *)room;
    eqi_gf_pass_run(plan->head.ctx, &g->backward, diff_dst, filter, NULL, diff_src, memory);
    return EQUINV_OK;
}

static equinv_status backward_weights(const eqi_conv_plan *plan, const equinv_tensor *src,
                                      const equinv_tensor *diff_dst, const equinv_tensor *diff_psi,
                                      const equinv_tensor *diff_bias, void *scratch)
{
    eqi_gf_weights_run(plan->head.ctx, &of(plan)->weights, plan->problem.desc.group, src, diff_dst,
                       diff_psi, diff_bias, scratch);
    return EQUINV_OK;
}

const eqi_conv_implementation eqi_conv_gfourier = {
    {"conv/gfourier", supports},
    table_size,
    prepare,
    pack,
    forward,
    backward_data,
    backward_weights,
};
