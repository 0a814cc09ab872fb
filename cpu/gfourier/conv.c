/*
 * Implementation conv/gfourier: forward, backward weights, and backward data in the Fourier form. Backward
 * data that is no sum over whole planes (images that repeat and change their size, large strides) goes to
 * conv/gemm, whose plan and packed filter are kept beside; and so do, where the caller leaves the choice, both
 * backward passes where they are faster there.
 */
#include <string.h>

#include "cpu/ref/ref.h"
#include "internal/arithmetic.h"
#include "internal/rows.h"
#include "weights.h"

enum { STRIDE = 4, CLASSES = STRIDE * STRIDE };

typedef struct gfourier_plan {
    eqi_gf_pass forward, backward[CLASSES];
    eqi_gf_weights weights;
    int64_t classes; /* of pixels in backward data, each with a pass; 0: gemm serves */
    bool sums; /* the gradient of the filter is the Fourier form's; else, without a bias, gemm's */
    eqi_conv_plan *gemm;
    size_t backward_filter[CLASSES]; /* offsets in the packed buffer, bytes */
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

/* Images can stand abreast: whole vectors of those that are not large. */
static bool fits_abreast(const eqi_conv_problem *p, const eqi_hardware *hardware)
{
    const equinv_conv_desc *const d = &p->desc;
    return d->batch % eqi_gf_kernels_of(hardware)->lanes == 0 &&
           d->padding_mode != EQUINV_PAD_CIRCULAR && d->height * d->width < EQI_GF_ABREAST;
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

/*
 * Where P^ of a tile leaves most of L1 free, tiles are wider: each plane of dst then gets several cache lines
 * at a time. With planes of 4 KiB, whose lines compete for the same places, that is 1.8 times faster; else 1.06.
 */
static void choose_tiles(eqi_gf_pass *pass, int64_t vectors)
{
    enum { SMALL_HAT = 36 << 10, WIDER = 3 };
    pass->vectors = vectors;
    eqi_gf_pass_size(pass);
    if (pass->hat_size > SMALL_HAT && !eqi_gf_is_plain(pass))
        return;
    pass->vectors *= WIDER;
    eqi_gf_pass_size(pass);
}

/* Abreast the parts of fields are those that images by themselves have, so that a sample has the same bits. */
static void set_form(eqi_gf_pass *pass, eqi_gf_kind kind)
{
    const bool abreast = pass->abreast;
    pass->kind = kind;
    pass->form = &eqi_gf_forms[kind];
    pass->abreast = false;
    choose_tiles(pass, pass->kernels->vectors);
    pass->abreast = abreast;
    if (abreast)
        choose_tiles(pass, 2 * pass->kernels->vectors);
}

static eqi_gf_pass fourier_pass(const eqi_conv_problem *p, const eqi_hardware *hardware,
                                bool abreast)
{
    const equinv_conv_desc *const d = &p->desc;
    eqi_gf_pass pass = {.kernels = eqi_gf_kernels_of(hardware),
                        .group = d->group,
                        .fields_in = d->fields_in,
                        .fields_out = d->fields_out,
                        .elements = p->elements_in,
                        .split_in = 1,
                        .split_out = 1,
                        .batch = d->batch,
                        .threads = hardware->threads,
                        .abreast = abreast,
                        .map_pixels = p->out_height * p->out_width,
                        .height = d->height,
                        .width = d->width,
                        .out_height = p->out_height,
                        .out_width = p->out_width,
                        .stride = d->stride,
                        .step = 1,
                        .circular = d->padding_mode == EQUINV_PAD_CIRCULAR,
                        .accumulate = d->accumulate,
                        .kernel = d->kernel,
                        .rows = {0, d->kernel, d->padding},
                        .columns = {0, d->kernel, d->padding},
                        .every = 1,
                        .gap = d->dilation};
    eqi_gf_kind kind;
    eqi_gf_kind_of(d->group, d->kind == EQUINV_CONV_TO_PLANE, &kind);
    set_form(&pass, kind);
    return pass;
}

/*
 * The adjoint is the group convolution of diff_dst with
 *     psi'[i, o, b, w] = psi[o, i, b^-1, -b^-1 w]   and padding P = d (k - 1) - p;
 * that of a lifting one goes to the plane, that to the plane lifts, both with psi'[i, o, w] = psi[o, i, -w].
 * With stride s pixel s i + r of diff_src reads diff_dst at i + (r + d t - P) / s, for the taps t where
 * that is a whole number: a pass for each class r, on both axes, of pixels.
 */
static int64_t classes_of(const eqi_conv_problem *p, const eqi_hardware *hardware)
{
    const equinv_conv_desc *const d = &p->desc;
    const bool same = p->out_height == d->height && p->out_width == d->width;
    const bool repeats = d->padding_mode == EQUINV_PAD_CIRCULAR;
    if (d->stride > STRIDE || (repeats && !(same && d->stride == 1)))
        return 0;
    if (!p->forced && !eqi_gf_data_gain(p, hardware))
        return 0;
    return eqi_smaller(d->stride, d->height) * eqi_smaller(d->stride, d->width);
}

static int64_t common_divisor(int64_t a, int64_t b)
{
    return b ? common_divisor(b, a % b) : a;
}

/* The taps of pixels s i + r. */
static eqi_gf_axis class_axis(const equinv_conv_desc *d, int64_t every, int64_t r)
{
    const int64_t padding = d->dilation * (d->kernel - 1) - d->padding;
    for (int64_t t = 0; t < eqi_smaller(every, d->kernel); t++) {
        const int64_t at = r + d->dilation * t - padding;
        if (at % d->stride == 0)
            return (eqi_gf_axis){t, eqi_divide_up(d->kernel - t, every), -at / d->stride};
    }
    return (eqi_gf_axis){0, 0, 0};
}

/*
 * Work for each pixel: additions to make P^, multiplications, and dst^ put down and taken up again; what has one
 * component goes straight to dst.
 */
static double work_of(const eqi_gf_pass *p)
{
    enum { SUM = 5, INVERSE = 7, STORE = 4 };
    const double outputs = (double)p->fields_out;
    const double transform = p->form->inputs > 1 ? 2.0 * p->form->inputs : 1.0;
    return (double)(p->taps * p->fields_in) * (outputs * p->form->terms + transform) +
           outputs * (p->form->components > 1 ? SUM * p->form->terms + INVERSE * p->form->outputs
                                              : STORE);
}

/*
 * Where most elements miss a tap's pixels, or there are few taps and no elements on one side, there is little that
 * the transform saves: the fields' elements are then apart.
 */
static void split_elements(int64_t elements_in, int64_t elements_out, eqi_gf_pass *pass)
{
    /* Of fewer the product fills its vectors badly by itself; abreast, one tap's always. */
    enum { PIXELS = 64 };
    const bool full = pass->abreast && pass->taps == 1;
    if (!pass->misses && !full && pass->out_height * pass->out_width < PIXELS)
        return;
    eqi_gf_pass split = *pass;
    split.group = equinv_cyclic(1);
    split.split_in = elements_in;
    split.split_out = elements_out;
    split.fields_in *= split.split_in;
    split.fields_out *= split.split_out;
    split.elements = 1;
    set_form(&split, EQI_GF_ONE);
    if (work_of(&split) < work_of(pass))
        *pass = split;
}

static eqi_gf_pass backward_pass(const eqi_conv_problem *p, const eqi_hardware *hardware,
                                 bool abreast, int64_t number)
{
    const equinv_conv_desc *const d = &p->desc;
    const int64_t across = eqi_smaller(d->stride, d->width);
    const int64_t y = number / across, x = number % across;
    eqi_gf_pass pass = fourier_pass(p, hardware, abreast);
    pass.fields_in = d->fields_out;
    pass.fields_out = d->fields_in;
    pass.elements = p->elements_out;
    pass.height = p->out_height;
    pass.width = p->out_width;
    pass.map_pixels = d->height * d->width;
    pass.out_height = eqi_divide_up(d->height - y, d->stride);
    pass.out_width = eqi_divide_up(d->width - x, d->stride);
    pass.stride = 1;
    pass.step = d->stride;
    pass.row_of_first = y;
    pass.column_of_first = x;
    pass.every = d->stride / common_divisor(d->stride, d->dilation);
    pass.gap = d->dilation * pass.every / d->stride;
    pass.rows = class_axis(d, pass.every, y);
    pass.columns = class_axis(d, pass.every, x);
    if (pass.rows.taps == 0 || pass.columns.taps == 0)
        pass.rows.taps = pass.columns.taps = 0;
    eqi_gf_kind kind;
    eqi_gf_kind_of(d->group, d->kind == EQUINV_CONV_LIFTING, &kind);
    set_form(&pass, kind);
    if (pass.taps > 0 && (pass.misses || d->kind == EQUINV_CONV_TO_PLANE))
        split_elements(p->elements_out, p->elements_in, &pass);
    return pass;
}

static gfourier_plan plan_of_order(const eqi_conv_problem *p, const eqi_hardware *hardware,
                                   bool abreast)
{
    gfourier_plan g = {.forward = fourier_pass(p, hardware, abreast),
                       .classes = classes_of(p, hardware)};
    g.weights = eqi_gf_weights_of(&g.forward);
    if (p->desc.kind == EQUINV_CONV_LIFTING)
        split_elements(1, p->elements_out, &g.forward);
    for (int64_t i = 0; i < g.classes; i++)
        g.backward[i] = backward_pass(p, hardware, abreast, i);
    return g;
}

/* Threads that find work in a pass. */
static int64_t threads_of(const eqi_gf_pass *p, int64_t threads)
{
    const double work = (double)p->fields_in * (double)p->fields_out *
                        (double)(p->taps * p->form->inputs * p->batch) *
                        (double)(p->out_height * p->out_width);
    return eqi_threads_worth(work, threads);
}

/*
 * Images that are not small leave L2 abreast. They gain from it all the same where a stride makes them small, or
 * where dst^ is. Classes with a stride take half of the time, as by themselves each writes pixels that are apart.
 * Abreast a thread needs a whole vector of images.
 */
static bool gains_abreast(const equinv_conv_desc *d, const eqi_gf_pass *abreast,
                          const eqi_gf_pass *single, int64_t most)
{
    enum { SMALL = 256, SMALL_DST = 64 << 10, SLICE = 16 << 20 }; /* pixels, floats, bytes */
    const int64_t dst = abreast->fields_out * abreast->form->components * abreast->out_height *
                        abreast->out_width * abreast->pixel;
    const bool small = d->height * d->width < SMALL || d->stride > 1 || dst <= SMALL_DST;
    const int64_t threads = threads_of(single, most);
    const int64_t tasks = eqi_larger(1, eqi_smaller(threads, d->batch / abreast->pixel));
    const double other = single->cost * (abreast->step > 1 ? 2 : 1);
    return small && eqi_gf_pass_slice(abreast) <= SLICE &&
           abreast->cost * (double)threads < other * (double)tasks;
}

static gfourier_plan plan_of_orders(const eqi_conv_problem *p, const eqi_hardware *hardware)
{
    const int64_t threads = hardware->threads;
    gfourier_plan g = plan_of_order(p, hardware, false);
    if (!fits_abreast(p, hardware))
        return g;
    const gfourier_plan a = plan_of_order(p, hardware, true);
    /* Whatever the threads are: the order of the sum must not depend on them. */
    if (gains_abreast(&p->desc, &a.weights.pass, &g.weights.pass, 1))
        g.weights = a.weights;
    if (gains_abreast(&p->desc, &a.forward, &g.forward, threads))
        g.forward = a.forward;
    if (g.classes && gains_abreast(&p->desc, &a.backward[0], &g.backward[0], threads))
        memcpy(g.backward, a.backward, sizeof g.backward);
    return g;
}

static gfourier_plan plan_of(const eqi_conv_problem *p, const eqi_hardware *hardware)
{
    gfourier_plan g = plan_of_orders(p, hardware);
    g.sums = p->forced || eqi_gf_weights_gain(p, &g.weights);
    return g;
}

static bool needs_gemm(const gfourier_plan *g)
{
    return !g->classes || !g->sums;
}

static size_t gemm_plan_size(const eqi_conv_problem *p, const eqi_hardware *hardware)
{
    return eqi_aligned(sizeof(eqi_conv_plan)) + eqi_aligned(eqi_conv_gemm.table_size(p, hardware));
}

static size_t table_size(const eqi_conv_problem *p, const eqi_hardware *hardware)
{
    const gfourier_plan g = plan_of(p, hardware);
    size_t size = eqi_aligned(sizeof g) + eqi_gf_pass_table_size(&g.forward) +
                  eqi_gf_weights_table_size(&g.weights);
    for (int64_t i = 0; i < g.classes; i++)
        size += eqi_gf_pass_table_size(&g.backward[i]);
    return needs_gemm(&g) ? size + gemm_plan_size(p, hardware) : size;
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
    for (int64_t i = 0; i < g->classes; i++)
        eqi_gf_pass_fill(&g->backward[i],
                         eqi_take(&memory, eqi_gf_pass_table_size(&g->backward[i])));
    if (needs_gemm(g))
        g->gemm = gemm_plan_in(plan, memory);

    const size_t threads = (size_t)hardware->threads;
    size_t slices = eqi_gf_pass_slice(&g->forward);
    g->gemm_packed = eqi_aligned(g->forward.filter_size);
    for (int64_t i = 0; i < g->classes; i++) {
        g->backward_filter[i] = g->gemm_packed;
        g->gemm_packed += eqi_aligned(g->backward[i].filter_size);
        slices = eqi_larger_size(slices, eqi_gf_pass_slice(&g->backward[i]));
    }
    /* Of both ways' filters one is wanted at a time. */
    g->filter_room = eqi_larger_size(eqi_aligned(g->forward.filter_size),
                                     g->gemm_packed - eqi_aligned(g->forward.filter_size));
    const int64_t outputs =
        eqi_larger(p->desc.fields_in * p->elements_in, p->desc.fields_out * p->elements_out);
    g->bias_room = eqi_aligned((size_t)outputs * sizeof(float));
    plan->head.packed_size = g->gemm_packed + (g->classes ? 0 : g->gemm->head.packed_size);
    const size_t biases = (size_t)eqi_larger(1, g->classes) * g->bias_room;
    size_t scratch = g->filter_room + biases + threads * slices;
    scratch = eqi_larger_size(scratch, eqi_gf_weights_scratch(&g->weights, hardware));
    plan->head.scratch_size = eqi_larger_size(scratch, g->gemm ? g->gemm->head.scratch_size : 0);
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
static int64_t place_of(const eqi_gf_pass *pass, const equinv_tensor *psi, bool adjoint, int64_t v,
                        int32_t a)
{
    const int64_t k = pass->kernel;
    const bool regular = psi->shape[2] > 1;
    const eqi_pixel tap = pass->tap[v].at;
    eqi_pixel t = eqi_move(eqi_motion_of(pass->group, a), tap.y, tap.x, k, k);
    if (adjoint && regular)
        t = tap;
    if (adjoint)
        t = (eqi_pixel){k - 1 - t.y, k - 1 - t.x};
    const int32_t row = adjoint ? eqi_inverse(pass->group, a) : a;
    return eqi_offset5(psi, 0, 0, regular ? row : 0, t.y, t.x);
}

static void pack_whole(const eqi_gf_pass *pass, const equinv_tensor *psi, bool adjoint,
                       void *filter)
{
    int64_t place[EQI_GF_KERNEL * EQI_GF_KERNEL * EQI_GF_ORDER], *to = place;
    for (int64_t v = 0; v < pass->taps; v++)
        for (int32_t a = 0; a < pass->form->values; a++)
            *to++ = place_of(pass, psi, adjoint, v, a);
    const eqi_gf_psi from = {.data = psi->data,
                             .out = psi->strides[adjoint ? 1 : 0],
                             .in = psi->strides[adjoint ? 0 : 1],
                             .place = place};
    eqi_gf_pass_pack(pass, &from, filter);
}

/* Where elements are apart: entry [(o, g), (i, h)] of the dense filter; the adjoint's taps are turned over. */
static void pack_split(const eqi_conv_problem *p, const eqi_gf_pass *pass, const equinv_tensor *psi,
                       bool adjoint, void *filter)
{
    int64_t place[EQI_GF_KERNEL * EQI_GF_KERNEL];
    const int64_t last = pass->kernel - 1;
    for (int32_t g = 0; g < p->elements_out; g++)
        for (int32_t h = 0; h < p->elements_in; h++) {
            for (int64_t v = 0; v < pass->taps; v++) {
                const eqi_pixel at_tap = pass->tap[v].at;
                const eqi_pixel t =
                    adjoint ? (eqi_pixel){last - at_tap.y, last - at_tap.x} : at_tap;
                const eqi_conv_place at = eqi_conv_place_of(p, g, h, t.y, t.x);
                place[v] = eqi_offset5(psi, 0, 0, at.a, at.v.y, at.v.x);
            }
            const eqi_gf_psi from = {.data = psi->data,
                                     .out = psi->strides[adjoint ? 1 : 0],
                                     .in = psi->strides[adjoint ? 0 : 1],
                                     .element_out = adjoint ? h : g,
                                     .element_in = adjoint ? g : h,
                                     .place = place};
            eqi_gf_pass_pack(pass, &from, filter);
        }
}

static void pack_pass(const eqi_conv_plan *plan, const eqi_gf_pass *pass, const equinv_tensor *psi,
                      bool adjoint, void *filter)
{
    if (pass->split_in * pass->split_out > 1)
        pack_split(&plan->problem, pass, psi, adjoint, filter);
    else
        pack_whole(pass, psi, adjoint, filter);
}

/* All classes' filters, `filter` being the first one's. */
static void pack_backward(const eqi_conv_plan *plan, const equinv_tensor *psi, char *filter)
{
    const gfourier_plan *const g = plan->tables;
    for (int64_t i = 0; i < g->classes; i++) {
        const eqi_gf_pass *const pass = &g->backward[i];
        char *const to = filter + g->backward_filter[i] - g->backward_filter[0];
        pack_pass(plan, pass, psi, true, to);
    }
}

static equinv_status pack(const eqi_conv_plan *plan, const equinv_tensor *psi, void *packed)
{
    const gfourier_plan *const g = of(plan);
    pack_pass(plan, &g->forward, psi, false, packed);
    if (!g->classes)
        return eqi_conv_gemm.pack(g->gemm, psi, (char *)packed + g->gemm_packed);
    pack_backward(plan, psi, (char *)packed + g->backward_filter[0]);
    return EQUINV_OK;
}

/* ---- passes ---------------------------------------------------------------------------------------- */

/* The bias of each output in consecutive floats at the start of `room`; NULL if there is none. */
static const float *bias_in(const equinv_tensor *bias, const eqi_gf_pass *pass, float *room)
{
    for (int64_t o = 0; bias && o < pass->fields_out; o++)
        room[o] = ((const float *)bias->data)[o / pass->split_out * bias->strides[0]];
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
        pack_pass(plan, &g->forward, &weights->psi, false, room);
    const eqi_gf_run run = {&g->forward, weights->packed ? weights->packed : room,
                            bias_in(bias, &g->forward, biases)};
    eqi_gf_pass_run(plan->head.ctx, &run, 1, src, finish, dst, memory);
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
    if (!g->classes) {
        const eqi_conv_weights w = gemm_weights(plan, weights);
        return eqi_conv_gemm.backward_data(g->gemm, diff_dst, &w, bias, diff_src, scratch);
    }
    char *memory = scratch;
    char *const room = eqi_take(&memory, g->filter_room);
    char *biases = eqi_take(&memory, (size_t)g->classes * g->bias_room);
    if (!weights->packed)
        pack_backward(plan, &weights->psi, room);
    const char *const filters =
        weights->packed ? (const char *)weights->packed + g->backward_filter[0] : room;
    eqi_gf_run runs[CLASSES];
    for (int64_t i = 0; i < g->classes; i++) {
        const eqi_gf_pass *const pass = &g->backward[i];
        const void *const filter = filters + g->backward_filter[i] - g->backward_filter[0];
        runs[i] = (eqi_gf_run){pass, filter,
                               bias_in(bias, pass, (float *)eqi_take(&biases, g->bias_room))};
    }
    eqi_gf_pass_run(plan->head.ctx, runs, g->classes, diff_dst, NULL, diff_src, memory);
    return EQUINV_OK;
}

static equinv_status backward_weights(const eqi_conv_plan *plan, const equinv_tensor *src,
                                      const equinv_tensor *diff_dst, const equinv_tensor *diff_psi,
                                      const equinv_tensor *diff_bias, void *scratch)
{
    const gfourier_plan *const g = of(plan);
    /* There the bias is summed in one chain of floats, which loses more. */
    if (!g->sums && !diff_bias)
        return eqi_conv_gemm.backward_weights(g->gemm, src, diff_dst, diff_psi, diff_bias, scratch);
    eqi_gf_weights_run(plan->head.ctx, &g->weights, src, diff_dst, diff_psi, diff_bias, scratch);
    return EQUINV_OK;
}

/* As fill_copies (planes.c) and finish_run (pass.c) choose. */
static bool takes(const eqi_conv_plan *plan, bool backward, bool output, const equinv_tensor *map)
{
    const gfourier_plan *const g = of(plan);
    if (backward && !g->classes)
        return eqi_conv_gemm.takes(g->gemm, backward, output, map);
    const eqi_gf_pass *const p = backward ? &g->backward[0] : &g->forward;
    if (output)
        return map->strides[4] == 1 && (p->abreast || p->step <= 2);
    return !p->circular && (map->strides[4] == 1 || p->width == 1);
}

const eqi_conv_implementation eqi_conv_gfourier = {
    {"conv/gfourier", supports, eqi_gf_conv_gains},
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
