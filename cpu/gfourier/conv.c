/*
 * Implementation conv/gfourier: forward, backward weights, and backward data at stride 1 in the Fourier
 * form; backward data with a stride goes to conv/gemm, whose plan and packed filter are kept beside.
 */
#include <string.h>

#include "cpu/ref/ref.h"
#include "internal/arithmetic.h"
#include "internal/rows.h"
#include "weights.h"

typedef struct gfourier_plan {
    eqi_gf_pass forward, backward;
    eqi_gf_weights weights;
    bool has_backward; /* data; else this plan serves: */
    eqi_conv_plan *gemm;
    size_t backward_filter; /* offsets in the packed buffer, bytes */
    size_t gemm_packed;
    size_t filter_room, bias_room; /* at the start of scratch */
} gfourier_plan;

/*
 * Without a group there is nothing to transform, only planes in place of patches: many fields on small images
 * are better off with the matrix product.
 */
static bool is_matrix_product(const eqi_conv_problem *p)
{
    enum { FIELDS = 32, PIXELS = 448 };
    const equinv_conv_desc *const d = &p->desc;
    return eqi_order(d->group) == 1 && d->kernel > 1 && d->fields_in >= FIELDS &&
           d->fields_out >= FIELDS && p->out_height * p->out_width < PIXELS;
}

static bool supports(const void *problem, const eqi_hardware *hardware, const char **why)
{
    const eqi_conv_problem *const p = problem;
    const equinv_conv_desc *const d = &p->desc;
    eqi_gf_kind kind;
    return eqi_require(d->dtype == EQUINV_F32, why, "f32 only") &&
           eqi_require(eqi_gf_kind_of(d->group, false, &kind), why,
                       "groups of the pixel grid only") &&
           eqi_require(!is_matrix_product(p), why, "C1, many fields, small images: no gain") &&
           eqi_require(d->channel_groups == 1, why, "one channel group only") &&
           eqi_require(d->kernel <= EQI_GF_KERNEL, why, "kernels up to 16 only") &&
           eqi_conv_gemm.head.supports(problem, hardware, why);
}

static void choose_form(eqi_gf_pass *pass, bool to_plane)
{
    eqi_gf_kind_of(pass->group, to_plane, &pass->kind);
    pass->form = &eqi_gf_forms[pass->kind];
    pass->vectors = pass->kernels->vectors;
    eqi_gf_pass_size(pass);
}

static eqi_gf_pass forward_pass(const eqi_conv_problem *p, const eqi_hardware *hardware)
{
    const equinv_conv_desc *const d = &p->desc;
    eqi_gf_pass pass = {.kernels = eqi_gf_kernels_of(hardware),
                        .group = d->group,
                        .fields_in = d->fields_in,
                        .fields_out = d->fields_out,
                        .elements = p->elements_in,
                        .batch = d->batch,
                        .threads = hardware->threads,
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
    choose_form(&pass, d->kind == EQUINV_CONV_TO_PLANE);
    return pass;
}

/*
 * With stride 1 the adjoint is the group convolution of diff_dst with
 *     psi'[i, o, b, w] = psi[o, i, b^-1, -b^-1 w]   and padding d (k - 1) - p;
 * that of a lifting one goes to the plane, that to the plane lifts, both with psi'[i, o, w] = psi[o, i, -w].
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
    pass.elements = p->elements_out;
    choose_form(&pass, d->kind == EQUINV_CONV_LIFTING);
    return pass;
}

static gfourier_plan plan_of(const eqi_conv_problem *p, const eqi_hardware *hardware)
{
    gfourier_plan g = {.forward = forward_pass(p, hardware), .has_backward = adjoint_is_conv(p)};
    if (g.has_backward)
        g.backward = backward_pass(p, hardware);
    g.weights = eqi_gf_weights_of(&g.forward);
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
           eqi_gf_weights_table_size(&g.weights) +
           (g.has_backward ? eqi_gf_pass_table_size(&g.backward) : gemm_plan_size(p, hardware));
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static eqi_conv_plan *gemm_plan_in(const eqi_conv_plan *plan, char *memory)
{
    eqi_conv_plan *const gemm = eqi_take(&memory, sizeof *gemm);
    *gemm = *plan;
    gemm->implementation = &eqi_conv_gemm;
    gemm->tables = memory;
    eqi_conv_gemm.prepare(gemm);
    return gemm;
}

static void prepare(eqi_conv_plan *plan)
{
    const eqi_conv_problem *const p = &plan->problem;
    const eqi_hardware *const hardware = &plan->head.ctx->hardware;
    char *memory = plan->tables;
    gfourier_plan *const g = eqi_take(&memory, sizeof *g);
    *g = plan_of(p, hardware);
    eqi_gf_pass_fill(&g->forward, eqi_take(&memory, eqi_gf_pass_table_size(&g->forward)));
    eqi_gf_weights_fill(&g->weights, eqi_take(&memory, eqi_gf_weights_table_size(&g->weights)));
    if (g->has_backward)
        eqi_gf_pass_fill(&g->backward, eqi_take(&memory, eqi_gf_pass_table_size(&g->backward)));
    else
        g->gemm = gemm_plan_in(plan, memory);

    const size_t threads = (size_t)hardware->threads;
    const size_t filters = larger(g->forward.filter_size, g->backward.filter_size);
    g->backward_filter = eqi_aligned(g->forward.filter_size);
    g->gemm_packed = g->backward_filter + eqi_aligned(g->backward.filter_size);
    g->filter_room = eqi_aligned(filters);
    const int64_t fields = eqi_larger(p->desc.fields_in, p->desc.fields_out);
    g->bias_room = eqi_aligned((size_t)fields * sizeof(float));
    size_t slices = eqi_gf_pass_slice(&g->forward);
    if (g->has_backward)
        slices = larger(slices, eqi_gf_pass_slice(&g->backward));
    plan->head.packed_size = g->gemm_packed + (g->gemm ? g->gemm->head.packed_size : 0);
    size_t scratch = g->filter_room + g->bias_room + threads * slices;
    scratch = larger(scratch, eqi_gf_weights_scratch(&g->weights, hardware));
    plan->head.scratch_size = larger(scratch, g->gemm ? g->gemm->head.scratch_size : 0);
}

static const gfourier_plan *of(const eqi_conv_plan *plan)
{
    return (const gfourier_plan *)plan->tables;
}

/* ---- filters --------------------------------------------------------------------------------------- */

/*
 * Where phi_v(a) stands, from psi[o, i]: psi[a, a v]; without elements on one side psi[a v] (lifting),
 * psi[v] (to the plane). The adjoint's has psi'[b, b v] = psi[b^-1, -v]; else -b v for v.
 */
static void pack_pass(const eqi_gf_pass *pass, const equinv_tensor *psi, bool adjoint, void *filter)
{
    const int64_t k = pass->kernel;
    const bool regular = psi->shape[2] > 1;
    int64_t place[EQI_GF_KERNEL * EQI_GF_KERNEL * EQI_GF_ORDER], *to = place;
    for (int64_t v = 0; v < pass->taps; v++)
        for (int32_t a = 0; a < pass->form->values; a++) {
            const eqi_pixel tap = pass->tap[v].at;
            eqi_pixel t = eqi_move(eqi_motion_of(pass->group, a), tap.y, tap.x, k, k);
            if (adjoint && regular)
                t = tap;
            if (adjoint)
                t = (eqi_pixel){k - 1 - t.y, k - 1 - t.x};
            const int32_t row = adjoint ? eqi_inverse(pass->group, a) : a;
            *to++ = eqi_offset5(psi, 0, 0, regular ? row : 0, t.y, t.x);
        }
    const eqi_gf_psi from = {psi->data, psi->strides[adjoint ? 1 : 0],
                             psi->strides[adjoint ? 0 : 1], place};
    eqi_gf_pass_pack(pass, &from, filter);
}

static equinv_status pack(const eqi_conv_plan *plan, const equinv_tensor *psi, void *packed)
{
    const gfourier_plan *const g = of(plan);
    pack_pass(&g->forward, psi, false, packed);
    if (g->has_backward) {
        pack_pass(&g->backward, psi, true, (char *)packed + g->backward_filter);
        return EQUINV_OK;
    }
    return eqi_conv_gemm.pack(g->gemm, psi, (char *)packed + g->gemm_packed);
}

/* ---- passes ---------------------------------------------------------------------------------------- */

/* The bias in consecutive floats at the start of `room`; NULL if there is none. */
static const float *bias_in(const equinv_tensor *bias, float *room)
{
    for (int64_t o = 0; bias && o < bias->shape[0]; o++)
        room[o] = ((const float *)bias->data)[o * bias->strides[0]];
    return bias ? room : NULL;
}

static equinv_status forward_finished(const eqi_conv_plan *plan, const equinv_tensor *src,
                                      const eqi_conv_weights *weights, const equinv_tensor *bias,
                                      const eqi_conv_finish *finish, const equinv_tensor *dst,
                                      void *scratch)
{
    const gfourier_plan *const g = of(plan);
    char *memory = scratch;
    float *const room = eqi_take(&memory, g->filter_room);
    float *const biases = eqi_take(&memory, g->bias_room);
    if (!weights->packed)
        pack_pass(&g->forward, &weights->psi, false, room);
    eqi_gf_pass_run(plan->head.ctx, &g->forward, src, weights->packed ? weights->packed : room,
                    bias_in(bias, biases), finish, dst, memory);
    return EQUINV_OK;
}

static equinv_status forward(const eqi_conv_plan *plan, const equinv_tensor *src,
                             const eqi_conv_weights *weights, const equinv_tensor *bias,
                             const equinv_tensor *dst, void *scratch)
{
    return forward_finished(plan, src, weights, bias, NULL, dst, scratch);
}

static eqi_conv_weights gemm_weights(const eqi_conv_plan *plan, const eqi_conv_weights *weights)
{
    eqi_conv_weights w = *weights;
    if (w.packed)
        w.packed = (const char *)w.packed + of(plan)->gemm_packed;
    return w;
}

static equinv_status backward_data(const eqi_conv_plan *plan, const equinv_tensor *diff_dst,
                                   const eqi_conv_weights *weights, const equinv_tensor *bias,
                                   const equinv_tensor *diff_src, void *scratch)
{
    const gfourier_plan *const g = of(plan);
    if (!g->has_backward) {
        const eqi_conv_weights w = gemm_weights(plan, weights);
        return eqi_conv_gemm.backward_data(g->gemm, diff_dst, &w, bias, diff_src, scratch);
    }
    char *memory = scratch;
    float *const room = eqi_take(&memory, g->filter_room);
    float *const biases = eqi_take(&memory, g->bias_room);
    if (!weights->packed)
        pack_pass(&g->backward, &weights->psi, true, room);
    const void *const filter =
        weights->packed ? (const char *)weights->packed + g->backward_filter : (const char *)room;
    eqi_gf_pass_run(plan->head.ctx, &g->backward, diff_dst, filter, bias_in(bias, biases), NULL,
                    diff_src, memory);
    return EQUINV_OK;
}

static equinv_status backward_weights(const eqi_conv_plan *plan, const equinv_tensor *src,
                                      const equinv_tensor *diff_dst, const equinv_tensor *diff_psi,
                                      const equinv_tensor *diff_bias, void *scratch)
{
    eqi_gf_weights_run(plan->head.ctx, &of(plan)->weights, src, diff_dst, diff_psi, diff_bias,
                       scratch);
    return EQUINV_OK;
}

/* As fill_element (planes.c) and finish_run (pass.c) choose. */
static bool takes(const eqi_conv_plan *plan, bool backward, bool output, const equinv_tensor *map)
{
    const gfourier_plan *const g = of(plan);
    if (backward && !g->has_backward)
        return eqi_conv_gemm.takes(g->gemm, backward, output, map);
    const eqi_gf_pass *const p = backward ? &g->backward : &g->forward;
    if (output)
        return map->strides[4] == 1;
    return !p->circular && (map->strides[4] == 1 || p->width == 1);
}

const eqi_conv_implementation eqi_conv_gfourier = {
    {"conv/gfourier", supports},
    table_size,
    prepare,
    pack,
    forward,
    backward_data,
    backward_weights,
    eqi_ref_conv_transposed_bias,
    takes,
    forward_finished,
};
