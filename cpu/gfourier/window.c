/*
 * Implementation conv/window: images that are one window, so that dst has one pixel, as in the last layer of
 * a classifier. It is a dense layer; with o over outputs (field, element), x over src (field, element, row,
 * column) and the dense filter as one bank:
 *     forward           dst[n, o]      = sum over x of src[n, x] bank[o, x]
 *     backward data     diff_src[n, x] = sum over o of diff_dst[n, o] bank[o, x]
 *     backward weights  diff_bank[o, x] = sum over n of diff_dst[n, o] src[n, x], then psi gets the sum of the
 *                       entries of the bank that are it
 *
 * Layout  bank [outputs][pitch], x as src has it in memory: where a sample lies without gaps nothing is copied,
 *         and vectors are along x in all three. Other samples are copied a block at a time. Rows are an odd
 *         number of cache lines apart, so that those of several outputs do not compete for places in L1.
 * Order   each sum is made in an order of its own, whatever the batch, the threads and the strides are.
 * Why     with one pixel the planes of conv/gfourier fill one lane of each vector. 32 fields of 7 x 7 to 10
 *         channels, batch 16, one core of 272 GFLOP/s, us for forward, backward data and backward weights:
 *         C4 13, 11, 23 here and 102, 185, 118 there; D4 25, 23, 43 and 179, 365, 209.
 */
#include <string.h>

#include "cpu/ref/ref.h"
#include "internal/arithmetic.h"
#include "internal/rows.h"
#include "gfourier.h"

enum {
    BANK_BYTES = 16 << 20,
    LINE = 16,          /* floats of a cache line, and a multiple of every level's lanes */
    STEP = 512,         /* numbers of a sample that forward takes at a time .. */
    ROWS = 24,          /* .. of at most so many samples, .. */
    SUMS = 64 << 10,    /* .. which have about so many outputs */
    BLOCK = 6 << 10,    /* floats of bank or src that backward keeps in L1 */
    SAMPLES = 256,      /* whose products are summed in one chain .. */
    PANELS = 256 << 10, /* .. and which have about so many outputs */
    FEWEST = 8
};

typedef struct window_plan {
    const eqi_gf_kernels *kernels;
    int64_t inputs, outputs, pitch;
    int64_t field; /* floats of one field of src */
    int64_t rows, samples,
        step;       /* of a task of forward; of a block of backward, and numbers of a task */
    int64_t *place; /* [elements_out][field]: of the bank's entry in psi[o, i], row-major */
    int64_t *entry; /* [psi[o, i], row-major][|G|]: the other way round */
    int64_t *row;   /* [outputs]: of the bank */
    size_t bank_size, panels_size, sums_size, room_size;
} window_plan;

static double bank_floats(const eqi_conv_problem *p)
{
    const equinv_conv_desc *const d = &p->desc;
    return (double)d->fields_out * (double)p->elements_out *
           ((double)d->fields_in * (double)p->elements_in * (double)d->kernel * (double)d->kernel +
            2 * LINE);
}

static bool supports(const void *problem, const eqi_hardware *hardware, const char **why)
{
    (void)hardware;
    const eqi_conv_problem *const p = problem;
    const equinv_conv_desc *const d = &p->desc;
    return eqi_require(d->dtype == EQUINV_F32, why, "f32 only") &&
           eqi_require(d->height == d->kernel && d->width == d->kernel && d->padding == 0 &&
                           d->dilation == 1,
                       why, "images that are one window only") &&
           eqi_require(d->channel_groups == 1, why, "one channel group only") &&
           eqi_require(bank_floats(p) * sizeof(float) <= BANK_BYTES, why,
                       "a dense filter of up to 16 MiB only");
}

/* ---- plan ------------------------------------------------------------------------------------------ */

/* Whole tiles of the product, so that `rows` rows of them fit L1. */
static int64_t step_of(const window_plan *w, int64_t rows, int64_t threads)
{
    const int64_t tile = (int64_t)w->kernels->lanes * w->kernels->vectors;
    const int64_t share = threads > 1 ? w->inputs / (4 * threads) : w->inputs;
    return eqi_larger(1, eqi_smaller(BLOCK / rows, share) / tile) * tile;
}

static window_plan plan_of(const eqi_conv_problem *p, const eqi_hardware *hardware)
{
    const equinv_conv_desc *const d = &p->desc;
    window_plan w = {.kernels = eqi_gf_kernels_of(hardware),
                     .outputs = d->fields_out * p->elements_out,
                     .field = p->elements_in * d->kernel * d->kernel};
    w.inputs = d->fields_in * w.field;
    w.pitch = (eqi_divide_up(w.inputs, LINE) | 1) * LINE;
    const int64_t fair = eqi_divide_up(d->batch, 2 * (int64_t)hardware->threads);
    w.rows = hardware->threads > 1 ? eqi_smaller(ROWS, eqi_divide_up(fair, 6) * 6) : ROWS;
    w.rows = eqi_larger(1, eqi_smaller(w.rows, SUMS / w.outputs));
    /* Sums over blocks of samples follow each other: how large those are must follow from the layer alone. */
    w.samples = eqi_larger(FEWEST, eqi_smaller(SAMPLES, PANELS / w.outputs));
    const int64_t block = eqi_larger(1, eqi_smaller(w.samples, d->batch));
    w.step = step_of(&w, eqi_larger(block, eqi_smaller(w.outputs, SAMPLES)), hardware->threads);
    w.bank_size = eqi_aligned((size_t)(w.outputs * w.pitch) * sizeof(float));
    w.panels_size = eqi_aligned((size_t)(w.outputs * block) * sizeof(float));
    w.sums_size = eqi_aligned((size_t)(w.outputs * w.rows) * sizeof(float));
    w.room_size = eqi_aligned((size_t)eqi_larger(w.rows * STEP, block * w.step) * sizeof(float));
    return w;
}

static size_t place_size(const eqi_conv_problem *p, const window_plan *w)
{
    return eqi_aligned((size_t)(p->elements_out * w->field) * sizeof(int64_t));
}

static size_t entry_size(const eqi_conv_problem *p)
{
    const int64_t taps = p->desc.kernel * p->desc.kernel;
    return eqi_aligned((size_t)(p->filter_elements * taps * eqi_order(p->desc.group)) *
                       sizeof(int64_t));
}

static size_t row_size(const window_plan *w)
{
    return eqi_aligned((size_t)w->outputs * sizeof(int64_t));
}

static size_t table_size(const eqi_conv_problem *p, const eqi_hardware *hardware)
{
    const window_plan w = plan_of(p, hardware);
    return eqi_aligned(sizeof w) + place_size(p, &w) + entry_size(p) + row_size(&w);
}

static void fill_places(const eqi_conv_problem *p, int64_t *to)
{
    const int64_t k = p->desc.kernel;
    for (int32_t g = 0; g < p->elements_out; g++)
        for (int32_t h = 0; h < p->elements_in; h++)
            for (int64_t t = 0; t < k * k; t++) {
                const eqi_conv_place at = eqi_conv_place_of(p, g, h, t / k, t % k);
                *to++ = (at.a * k + at.v.y) * k + at.v.x;
            }
}

static void fill_entries(const eqi_conv_problem *p, int64_t pitch, int64_t *to)
{
    const int64_t k = p->desc.kernel;
    for (int32_t a = 0; a < p->filter_elements; a++)
        for (int64_t v = 0; v < k * k; v++)
            for (int32_t u = 0; u < eqi_order(p->desc.group); u++) {
                const eqi_conv_entry at = eqi_conv_entry_of(p, u, a, (eqi_pixel){v / k, v % k});
                *to++ = at.g * pitch + (at.h * k + at.t.y) * k + at.t.x;
            }
}

/* A slice of scratch: sums, offsets of samples and of numbers, bias, copies. */
typedef struct room {
    float *sums, *rows, *bias;
    int64_t *at, *places;
} room;

enum { LONGEST = BLOCK }; /* numbers of a share, at most */

static size_t slice_size(const window_plan *w)
{
    return w->sums_size + w->room_size + LONGEST * sizeof(float) +
           (SAMPLES + LONGEST) * sizeof(int64_t);
}

static room room_in(const window_plan *w, void *slice)
{
    char *memory = slice;
    room r;
    r.sums = eqi_take(&memory, w->sums_size);
    r.rows = eqi_take(&memory, w->room_size);
    r.bias = eqi_take(&memory, LONGEST * sizeof(float));
    r.at = eqi_take(&memory, SAMPLES * sizeof(int64_t));
    r.places = eqi_take(&memory, LONGEST * sizeof(int64_t));
    return r;
}

static void prepare(eqi_conv_plan *plan)
{
    const eqi_conv_problem *const p = &plan->problem;
    const eqi_hardware *const hardware = &plan->head.ctx->hardware;
    char *memory = plan->tables;
    window_plan *const w = eqi_take(&memory, sizeof *w);
    *w = plan_of(p, hardware);
    w->place = eqi_take(&memory, place_size(p, w));
    w->entry = eqi_take(&memory, entry_size(p));
    w->row = eqi_take(&memory, row_size(w));
    fill_places(p, w->place);
    fill_entries(p, w->pitch, w->entry);
    for (int64_t o = 0; o < w->outputs; o++)
        w->row[o] = o * w->pitch;
    plan->head.packed_size = w->bank_size;
    plan->head.scratch_size =
        w->bank_size + w->panels_size + (size_t)hardware->threads * slice_size(w);
}

/* ---- bank ------------------------------------------------------------------------------------------ */

static void pack_field(const equinv_tensor *psi, const float *from, const int64_t *place,
                       int64_t count, float *to)
{
    const int64_t k = psi->shape[4];
    if (eqi_is_dense(psi, 2))
        for (int64_t x = 0; x < count; x++)
            to[x] = from[place[x]];
    else
        for (int64_t x = 0; x < count; x++)
            to[x] =
                from[eqi_offset5(psi, 0, 0, place[x] / (k * k), place[x] / k % k, place[x] % k)];
}

static equinv_status pack(const eqi_conv_plan *plan, const equinv_tensor *psi, void *packed)
{
    const window_plan *const w = plan->tables;
    const int64_t elements = plan->problem.elements_out;
    for (int64_t o = 0; o < w->outputs; o++) {
        float *const row = (float *)packed + o * w->pitch;
        for (int64_t i = 0; i < psi->shape[1]; i++)
            pack_field(psi, (const float *)psi->data + eqi_offset5(psi, o / elements, i, 0, 0, 0),
                       w->place + o % elements * w->field, w->field, row + i * w->field);
        memset(row + w->inputs, 0, (size_t)(w->pitch - w->inputs) * sizeof(float));
    }
    return EQUINV_OK;
}

static const float *bank_of(const eqi_conv_plan *plan, const eqi_conv_weights *weights, void *bank)
{
    if (weights->packed)
        return weights->packed;
    pack(plan, &weights->psi, bank);
    return bank;
}

/* ---- samples --------------------------------------------------------------------------------------- */

/* Numbers `first` .. first + count - 1 of some samples of a map like src. */
typedef struct share {
    int64_t sample, samples, first, count;
} share;

/* Where the numbers of the share stand in a sample; of which field they are. */
static void find_places(const equinv_tensor *map, const share *s, int64_t *places)
{
    int64_t at[5] = {0}, left = s->first;
    for (int axis = 4; axis > 0; axis--) {
        at[axis] = left % map->shape[axis];
        left /= map->shape[axis];
    }
    for (int64_t x = 0; x < s->count; x++) {
        places[x] = eqi_offset5(map, 0, at[1], at[2], at[3], at[4]);
        for (int axis = 4; axis > 0 && ++at[axis] == map->shape[axis]; axis--)
            at[axis] = 0;
    }
}

/* Sample i of the share stands at the result + r->at[i]; copied, and in whole vectors, where it must be. */
static const float *read_share(const window_plan *w, const equinv_tensor *map, const share *s,
                               bool vectors, const room *r)
{
    const float *const from = (const float *)map->data + s->sample * map->strides[0];
    const int64_t whole = eqi_divide_up(s->count, w->kernels->lanes) * w->kernels->lanes;
    if (eqi_is_dense(map, 1) && !(vectors && whole > s->count)) {
        for (int64_t n = 0; n < s->samples; n++)
            r->at[n] = n * map->strides[0];
        return from + s->first;
    }
    find_places(map, s, r->places);
    for (int64_t n = 0; n < s->samples; n++) {
        float *const to = r->rows + n * whole;
        r->at[n] = n * whole;
        for (int64_t x = 0; x < s->count; x++)
            to[x] = from[n * map->strides[0] + r->places[x]];
        for (int64_t x = s->count; x < whole; x++)
            to[x] = 0;
    }
    return r->rows;
}

/* Tasks of backward: `step` numbers each of those in whole vectors, then the rest. */
static int64_t shares_of(const window_plan *w)
{
    const int64_t whole = w->inputs / w->kernels->lanes * w->kernels->lanes;
    return eqi_divide_up(whole, w->step) + (whole < w->inputs);
}

static share share_at(const window_plan *w, int64_t sample, int64_t samples, int64_t i)
{
    const int64_t whole = w->inputs / w->kernels->lanes * w->kernels->lanes;
    const int64_t first = eqi_smaller(i * w->step, whole);
    const int64_t left = (first < whole ? whole : w->inputs) - first;
    return (share){sample, samples, first, eqi_smaller(w->step, left)};
}

/* ---- forward --------------------------------------------------------------------------------------- */

/* All passes: src is src or diff_src, dst is dst or diff_dst. */
typedef struct job {
    const eqi_conv_problem *problem;
    const window_plan *w;
    const equinv_tensor *src, *dst, *bias, *psi;
    const float *bank, *panels;
    float *diff_bank;
    int64_t sample, samples; /* of the block */
} job;

/* Offset of output o in a sample of dst. */
static int64_t output_at(const job *j, int64_t o)
{
    const int64_t elements = j->problem->elements_out;
    return o / elements * j->dst->strides[1] + o % elements * j->dst->strides[2];
}

static void put_sums(const job *j, int64_t first, int64_t count, const float *sums)
{
    const bool add = j->problem->desc.accumulate;
    for (int64_t o = 0; o < j->w->outputs; o++) {
        float *to = (float *)j->dst->data + first * j->dst->strides[0] + output_at(j, o);
        const float bias =
            j->bias
                ? ((const float *)j->bias->data)[o / j->problem->elements_out * j->bias->strides[0]]
                : 0;
        for (int64_t n = 0; n < count; n++, to += j->dst->strides[0])
            *to = (add ? *to : 0) + (sums[n * j->w->outputs + o] + bias);
    }
}

static void forward_samples(const void *arg, int64_t first, int64_t count, void *slice)
{
    const job *const j = arg;
    const window_plan *const w = j->w;
    const room r = room_in(w, slice);
    memset(r.sums, 0, (size_t)(count * w->outputs) * sizeof(float));
    for (int64_t x = 0; x < w->inputs; x += STEP) {
        const share s = {first, count, x, eqi_smaller(STEP, w->inputs - x)};
        const eqi_gf_sums sums = {.rows = count,
                                  .columns = w->outputs,
                                  .a = read_share(w, j->src, &s, false, &r),
                                  .b = j->bank + x,
                                  .at = r.at,
                                  .sums = r.sums,
                                  .pitch = w->pitch,
                                  .pixels = s.count};
        w->kernels->sums(&sums);
    }
    put_sums(j, first, count, r.sums);
}

static equinv_status forward(const eqi_conv_plan *plan, const equinv_tensor *src,
                             const eqi_conv_weights *weights, const equinv_tensor *bias,
                             const equinv_tensor *dst, void *scratch)
{
    const window_plan *const w = plan->tables;
    char *memory = scratch;
    void *const bank = eqi_take(&memory, w->bank_size + w->panels_size);
    const job j = {.problem = &plan->problem,
                   .w = w,
                   .src = src,
                   .dst = dst,
                   .bias = bias,
                   .bank = bank_of(plan, weights, bank)};
    eqi_parallel_rows(plan->head.ctx, plan->problem.desc.batch,
                      (double)w->outputs * (double)w->inputs, w->rows, forward_samples, &j, memory,
                      slice_size(w));
    return EQUINV_OK;
}

/* ---- backward -------------------------------------------------------------------------------------- */

/* diff_dst of the block in panels of outputs, [samples][rows], or of samples, [outputs][rows]. */
static void fill_panels(const job *j, bool of_outputs, float *to)
{
    const int64_t rows = j->w->kernels->rows, step = j->dst->strides[0];
    const float *const from = (const float *)j->dst->data + j->sample * step;
    const int64_t all = of_outputs ? j->w->outputs : j->samples;
    const int64_t depth = of_outputs ? j->samples : j->w->outputs;
    for (int64_t r = 0; r < all; r += rows) {
        const int64_t end = eqi_smaller(r + rows, all);
        for (int64_t k = 0; k < depth; k++)
            for (int64_t i = r; i < end; i++)
                *to++ = of_outputs ? from[k * step + output_at(j, i)]
                                   : from[i * step + output_at(j, k)];
    }
}

static eqi_gf_product product_of(const job *j, const share *s)
{
    return (eqi_gf_product){.form = &eqi_gf_forms[EQI_GF_ONE],
                            .filter = j->panels,
                            .vectors = eqi_divide_up(s->count, j->w->kernels->lanes),
                            .kind = EQI_GF_ONE};
}

static void put_share(const job *j, const share *s, int64_t pitch, const room *r)
{
    const bool add = j->problem->desc.accumulate;
    const int64_t step = j->src->strides[0];
    float *const to = (float *)j->src->data + s->sample * step;
    find_places(j->src, s, r->places);
    for (int64_t x = 0; x < s->count; x++)
        r->bias[x] =
            j->bias
                ? ((const float *)j->bias->data)[(s->first + x) / j->w->field * j->bias->strides[0]]
                : 0;
    for (int64_t n = 0; n < s->samples; n++)
        for (int64_t x = 0; x < s->count; x++) {
            float *const at = to + n * step + r->places[x];
            *at = (add ? *at : 0) + (r->rows[n * pitch + x] + r->bias[x]);
        }
}

static void data_shares(const void *arg, int64_t first, int64_t count, void *slice)
{
    const job *const j = arg;
    const window_plan *const w = j->w;
    const room r = room_in(w, slice);
    for (int64_t i = first; i < first + count; i++) {
        const share s = share_at(w, j->sample, j->samples, i);
        const bool there = eqi_is_dense(j->src, 1) && s.count % w->kernels->lanes == 0 &&
                           !j->bias && !j->problem->desc.accumulate;
        eqi_gf_product p = product_of(j, &s);
        p.rows = s.samples;
        p.k = p.all_k = w->outputs;
        p.src = j->bank + s.first;
        p.at = w->row;
        p.pitch = there ? j->src->strides[0] : w->step;
        p.dst = there ? (float *)j->src->data + s.sample * p.pitch + s.first : r.rows;
        w->kernels->product(&p);
        if (!there)
            put_share(j, &s, p.pitch, &r);
    }
}

static void weights_shares(const void *arg, int64_t first, int64_t count, void *slice)
{
    const job *const j = arg;
    const window_plan *const w = j->w;
    const room r = room_in(w, slice);
    for (int64_t i = first; i < first + count; i++) {
        const share s = share_at(w, j->sample, j->samples, i);
        eqi_gf_product p = product_of(j, &s);
        p.rows = w->outputs;
        p.k = p.all_k = s.samples;
        p.src = read_share(w, j->src, &s, true, &r);
        p.at = r.at;
        p.pitch = w->pitch;
        p.dst = j->diff_bank + s.first;
        p.accumulate = s.sample > 0;
        w->kernels->product(&p);
    }
}

/* The shares of every block of samples. */
static void run_blocks(const equinv_context *ctx, job *j, bool weights, float *panels, void *slices)
{
    const window_plan *const w = j->w;
    const int64_t batch = j->problem->desc.batch;
    j->panels = panels;
    while (j->sample < batch) {
        j->samples = eqi_smaller(w->samples, batch - j->sample);
        fill_panels(j, weights, panels);
        const double work = (double)w->outputs * (double)j->samples * (double)w->step;
        eqi_parallel_rows(ctx, shares_of(w), work, 1, weights ? weights_shares : data_shares, j,
                          slices, slice_size(w));
        j->sample += j->samples;
    }
}

static equinv_status backward_data(const eqi_conv_plan *plan, const equinv_tensor *diff_dst,
                                   const eqi_conv_weights *weights, const equinv_tensor *bias,
                                   const equinv_tensor *diff_src, void *scratch)
{
    const window_plan *const w = plan->tables;
    char *memory = scratch;
    void *const bank = eqi_take(&memory, w->bank_size);
    float *const panels = eqi_take(&memory, w->panels_size);
    job j = {.problem = &plan->problem,
             .w = w,
             .src = diff_src,
             .dst = diff_dst,
             .bias = bias,
             .bank = bank_of(plan, weights, bank)};
    run_blocks(plan->head.ctx, &j, false, panels, memory);
    return EQUINV_OK;
}

/* Written out for each order: psi gets one number of every 1, 2, 4 or 8, and little else takes time here. */
EQI_INLINE void sum_entries(const float *from, int64_t step, const int64_t *entry, const int order,
                            float *to, int64_t to_step, int64_t fields, bool add)
{
    const float *const a = from + entry[0], *const b = from + entry[order > 1];
    const float *const c = from + entry[order > 2 ? 2 : 0], *const d =
                                                                from + entry[order > 2 ? 3 : 0];
    for (int64_t i = 0; i < fields; i++, to += to_step) {
        const int64_t x = i * step;
        float sum = a[x];
        if (order > 1)
            sum += b[x];
        if (order > 2)
            sum += c[x] + d[x];
        if (order > 4)
            sum += (from[entry[4] + x] + from[entry[5] + x]) +
                   (from[entry[6] + x] + from[entry[7] + x]);
        *to = (add ? *to : 0) + sum;
    }
}

static void fold_bias(const job *j, int64_t o)
{
    const int64_t elements = j->problem->elements_out;
    double sum = 0;
    for (int64_t n = 0; n < j->problem->desc.batch; n++)
        for (int64_t g = 0; g < elements; g++)
            sum +=
                (double)((const float *)
                             j->dst->data)[n * j->dst->strides[0] + output_at(j, o * elements + g)];
    eqi_put(j->bias, o * j->bias->strides[0], sum, j->problem->desc.accumulate);
}

/* psi[o] */
static void fold_field(void *arg, int64_t o)
{
    const job *const j = arg;
    const window_plan *const w = j->w;
    const equinv_tensor *const psi = j->psi;
    const bool add = j->problem->desc.accumulate;
    const int64_t k = psi->shape[4], fields = psi->shape[1], to_step = psi->strides[1];
    const int32_t order = eqi_order(j->problem->desc.group);
    const float *const from = j->diff_bank + o * j->problem->elements_out * w->pitch;
    const int64_t *entry = w->entry;
    for (int64_t v = 0; v < psi->shape[2] * k * k; v++, entry += order) {
        float *const to =
            (float *)psi->data + eqi_offset5(psi, o, 0, v / (k * k), v / k % k, v % k);
        switch (order) {
        case 1: sum_entries(from, w->field, entry, 1, to, to_step, fields, add); break;
        case 2: sum_entries(from, w->field, entry, 2, to, to_step, fields, add); break;
        case 4: sum_entries(from, w->field, entry, 4, to, to_step, fields, add); break;
        default: sum_entries(from, w->field, entry, 8, to, to_step, fields, add);
        }
    }
    if (j->bias)
        fold_bias(j, o);
}

static equinv_status backward_weights(const eqi_conv_plan *plan, const equinv_tensor *src,
                                      const equinv_tensor *diff_dst, const equinv_tensor *diff_psi,
                                      const equinv_tensor *diff_bias, void *scratch)
{
    const window_plan *const w = plan->tables;
    char *memory = scratch;
    float *const diff_bank = eqi_take(&memory, w->bank_size);
    float *const panels = eqi_take(&memory, w->panels_size);
    job j = {.problem = &plan->problem,
             .w = w,
             .src = src,
             .dst = diff_dst,
             .bias = diff_bias,
             .psi = diff_psi,
             .diff_bank = diff_bank};
    if (plan->problem.desc.batch == 0)
        memset(diff_bank, 0, w->bank_size);
    run_blocks(plan->head.ctx, &j, true, panels, memory);
    eqi_parallel_if_worth(plan->head.ctx, plan->problem.desc.fields_out,
                          (double)w->outputs * (double)w->inputs, fold_field, &j);
    return EQUINV_OK;
}

/* As read_share and data_shares choose; what has one pixel is read and written number by number. */
static bool takes(const eqi_conv_plan *plan, bool backward, bool output, const equinv_tensor *map)
{
    (void)plan;
    return backward != output || eqi_is_dense(map, 1);
}

const eqi_conv_implementation eqi_conv_window = {
    {"conv/window", supports, NULL},
    table_size,
    prepare,
    pack,
    forward,
    backward_data,
    backward_weights,
    eqi_ref_conv_transposed_bias,
    takes,
    NULL,
};
