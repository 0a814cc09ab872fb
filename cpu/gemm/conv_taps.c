/*
 * Backward data to few channels, one tap at a time:
 *     shares [output, tap][window] = bank [output, tap][channel] . diff_dst [channel][window]
 * of which each pixel of diff_src adds those that fall on it, always in the same order. diff_dst is read where it
 * stands, and whole vectors of windows are multiplied, however few the outputs are.
 *
 * A band of rows of diff_src at a time has shares that stay in L2; bands multiply the rows of windows that both of
 * them read twice.
 */
#include <string.h>

#include "conv.h"
#include "conv_tile.h"
#include "gemm.h"
#include "internal/rows.h"

/* ns for each .., fitted to 149 layers on a Zen 3 with AVX2. */
#define CALL 128.0
#define FMA 0.194 /* vector of windows */
#define TILE 19.4
#define READ 0.57  /* vector of windows read */
#define SHARE 0.32 /* vector of windows of a tap added to pixels */
#define ROW 6.2    /* row of pixels of one residue */
#define PUT 2.2    /* vector of pixels written .. */
#define APART 1.0  /* .. or a pixel by itself */
/* The same by patches. */
#define PATCHES 400.0
#define PATCHES_FMA 0.236 /* vector of outputs */
#define PATCHES_TURN 31.0 /* vector of pixels of four planes turned */

/* Rows of windows that some rows of diff_src read. */
static int64_t windows_of(const equinv_conv_desc *d, int64_t rows)
{
    return (rows - 1 + d->dilation * (d->kernel - 1)) / d->stride + 1;
}

static int64_t pitch_of(const eqi_conv_problem *p, int64_t windows)
{
    const int64_t line = EQI_ALIGNMENT / (int64_t)sizeof(float);
    return eqi_divide_up(windows * p->out_width, line) * line;
}

/* The most rows that leave the shares in L2; 0: those of less than what two bands both multiply. */
static int64_t band_of(const eqi_conv_problem *p, int64_t outputs, int64_t threads)
{
    enum { SHARES = 64 << 10 };
    const equinv_conv_desc *const d = &p->desc;
    const int64_t row = outputs * d->kernel * d->kernel * p->out_width;
    const int64_t overlap = d->dilation * (d->kernel - 1);
    const int64_t fit = SHARES / row;
    int64_t band = d->height;
    if (fit < p->out_height)
        band = eqi_smaller(band, (fit - 1) * d->stride - overlap + 1);
    while (band > eqi_larger(1, 2 * overlap) && d->batch * eqi_divide_up(d->height, band) < threads)
        band = eqi_divide_up(band, 2);
    return band >= eqi_smaller(overlap, d->height) ? band : 0;
}

static eqi_conv_residue residue_of(const equinv_conv_desc *d, int64_t pixel)
{
    eqi_conv_residue r = {.taps = 0};
    for (int64_t t = 0; t < d->kernel; t++) {
        const int64_t at = pixel + d->padding - d->dilation * t;
        if (at % d->stride != 0)
            continue;
        r.tap[r.taps] = t;
        r.window[r.taps++] = at / d->stride;
    }
    return r;
}

static double up(int64_t a, int64_t b)
{
    return (double)eqi_divide_up(a, b);
}

double eqi_conv_taps_ns(const eqi_conv_problem *p, int64_t lanes)
{
    const equinv_conv_desc *const d = &p->desc;
    const int64_t windows = p->out_height * p->out_width;
    const int64_t shares = d->fields_in * p->elements_in * d->kernel * d->kernel;
    const int64_t rows = d->fields_in * p->elements_in * d->height;
    const double read = (double)(d->fields_out * p->elements_out) * up(windows, lanes);
    const int64_t pixels = rows * d->width;
    return CALL + FMA * (double)shares * read + TILE * up(shares, 6) * up(windows, 2 * lanes) +
           READ * read +
           SHARE * (double)(shares * p->out_height) * ((double)p->out_width / (double)lanes + 1) +
           ROW * (double)(rows * eqi_smaller(d->stride, d->width)) +
           (d->stride > 1 ? APART * (double)pixels : PUT * (double)pixels / (double)lanes);
}

static double patches_ns(const eqi_conv_problem *p, int64_t lanes)
{
    const equinv_conv_desc *const d = &p->desc;
    const double products = (double)(p->out_height * p->out_width * d->kernel * d->kernel) *
                            (double)(d->fields_out * p->elements_out);
    return PATCHES + PATCHES_FMA * products + PATCHES_TURN * up(d->height * d->width, lanes);
}

eqi_conv_taps eqi_conv_taps_of(const eqi_conv_problem *p, const eqi_hardware *hardware)
{
    enum { OUTPUTS = 4 };
    const equinv_conv_desc *const d = &p->desc;
    eqi_conv_taps t = {.windows = p->out_height * p->out_width,
                       .channels = d->fields_out * p->elements_out,
                       .outputs = d->fields_in * p->elements_in};
    if (!eqi_conv_kernels_of(hardware)->by_taps || d->dtype != EQUINV_F32 ||
        d->channel_groups > 1 || d->padding_mode == EQUINV_PAD_CIRCULAR || t.outputs > OUTPUTS ||
        d->kernel > EQI_CONV_TAPS || d->stride > EQI_CONV_STEP)
        return t;
    t.band = band_of(p, t.outputs, hardware->threads);
    const int64_t lanes = eqi_gf_kernels_of(hardware)->lanes;
    t.used = t.band > 0 && eqi_conv_taps_ns(p, lanes) <= patches_ns(p, lanes);
    if (!t.used)
        return t;
    for (int64_t r = 0; r < d->stride; r++)
        t.residue[r] = residue_of(d, r);
    const int64_t rows = t.outputs * d->kernel * d->kernel;
    t.band_windows = eqi_smaller(p->out_height, windows_of(d, t.band));
    t.pitch = pitch_of(p, t.band_windows);
    t.bank_size = eqi_aligned((size_t)(rows * t.channels) * sizeof(float));
    t.lane_size = EQI_GEMM_WORKSPACE + eqi_aligned((size_t)(rows * t.pitch) * sizeof(float)) +
                  eqi_aligned((size_t)((t.channels + 1) * t.pitch) * sizeof(float));
    return t;
}

void eqi_conv_fill_taps_bank(const eqi_conv_problem *p, const eqi_conv_taps *t,
                             const equinv_tensor *psi, void *bank)
{
    const int64_t k = p->desc.kernel, taps = k * k;
    for (int32_t g = 0; g < p->elements_out; g++)
        for (int32_t h = 0; h < p->elements_in; h++)
            for (int64_t tap = 0; tap < taps; tap++) {
                const int64_t first_output = h * p->desc.fields_in;
                const eqi_conv_spread s = {
                    .out = p->desc.fields_out,
                    .in = p->desc.fields_in,
                    .at = eqi_conv_place_of(p, g, h, tap / k, tap % k),
                    .to = (first_output * taps + tap) * t->channels + g,
                    .o_step = p->elements_out,
                    .i_step = taps * t->channels,
                };
                eqi_conv_expand(psi, &s, bank);
            }
}

typedef struct taps_job {
    const eqi_conv_plan *plan;
    const eqi_conv_taps *taps;
    const equinv_tensor *from, *to;
    eqi_conv_columns columns;
    const float *bank;
    char *lanes;
    int64_t tiles, next;
} taps_job;

/* Channels of some rows of windows, `step` numbers apart. */
typedef struct windows {
    const float *at;
    int64_t step;
} windows;

/*
 * Where they stand, but for those that nothing follows in the map: whole vectors are read. There the windows of one
 * channel are followed by those of the next.
 */
static windows fetch(const taps_job *job, int64_t image, int64_t first, int64_t rows, float *buffer)
{
    const equinv_tensor *const map = job->from;
    const int64_t image_size = job->taps->channels * job->taps->windows, width = map->shape[4];
    const int64_t count = rows * width;
    const float *const from = (const float *)map->data + image * map->strides[0] + first * width;
    const bool dense = eqi_is_dense(map, 1);
    int64_t behind = job->taps->windows - first * width - count;
    if (eqi_is_dense(map, 0))
        behind += (map->shape[0] - 1 - image) * image_size;
    if (dense && behind >= EQI_CONV_TURNED)
        return (windows){from, job->taps->windows};
    if (dense && rows == map->shape[3]) {
        memcpy(buffer, from, (size_t)image_size * sizeof(float));
    } else {
        const eqi_conv_border part = {.image = image,
                                      .images = 1,
                                      .top = first,
                                      .rows = rows,
                                      .columns = width,
                                      .channel_step = count};
        eqi_conv_fetch(map, &part, eqi_gf_kernels_of(&job->plan->head.ctx->hardware), buffer);
    }
    memset(buffer + job->taps->channels * count, 0, EQI_CONV_TURNED * sizeof(float));
    return (windows){buffer, count};
}

static void run_band(const taps_job *job, int64_t image, int64_t y, char *memory)
{
    const equinv_conv_desc *const d = &job->plan->problem.desc;
    const eqi_hardware *const hardware = &job->plan->head.ctx->hardware;
    const eqi_conv_taps *const t = job->taps;
    const equinv_tensor *const to = job->to;
    void *const workspace = eqi_take(&memory, EQI_GEMM_WORKSPACE);
    const int64_t taps = d->kernel * d->kernel, across = job->plan->problem.out_width;
    float *const shares = eqi_take(&memory, (size_t)(t->outputs * taps * t->pitch) * sizeof(float));
    const int64_t rows = eqi_smaller(t->band, d->height - y);
    const int64_t before = y + d->padding - d->dilation * (d->kernel - 1);
    const int64_t first = before > 0 ? eqi_divide_up(before, d->stride) : 0;
    const int64_t end =
        eqi_smaller((y + rows - 1 + d->padding) / d->stride + 1, job->plan->problem.out_height);
    const int64_t count = eqi_larger(0, end - first);
    if (count > 0) {
        const windows w = fetch(job, image, first, count, (float *)(void *)memory);
        const eqi_gemm_args product = {.m = t->outputs * taps,
                                       .n = count * across,
                                       .k = t->channels,
                                       .a = job->bank,
                                       .lda = t->channels,
                                       .b = w.at,
                                       .ldb = w.step,
                                       .whole = true,
                                       .c = shares,
                                       .ldc = t->pitch};
        eqi_gemm(hardware, EQUINV_F32, &product, workspace);
    }
    for (int64_t o = 0; o < t->outputs; o++) {
        const eqi_conv_shares s = {
            .shares = shares + o * taps * t->pitch,
            .pitch = t->pitch,
            .first = first,
            .windows = count,
            .across = across,
            .kernel = d->kernel,
            .stride = d->stride,
            .residue = t->residue,
            .map = (float *)to->data + image * to->strides[0] + job->columns.at[o] +
                   y * to->strides[3],
            .row = to->strides[3],
            .pixel = to->strides[4],
            .y = y,
            .rows = rows,
            .width = d->width,
            .bias = job->columns.bias ? ((const float *)job->columns.bias)[o] : 0,
            .accumulate = d->accumulate,
        };
        eqi_conv_kernels_of(hardware)->add_shares(&s);
    }
}

static void run_bands(void *arg, int64_t index)
{
    taps_job *const job = arg;
    const eqi_conv_gemm_plan *const g = job->plan->tables;
    const int64_t bands = eqi_divide_up(job->to->shape[3], job->taps->band);
    for (;;) {
        const int64_t i = __atomic_fetch_add(&job->next, 1, __ATOMIC_RELAXED);
        if (i >= job->tiles)
            return;
        run_band(job, i / bands, i % bands * job->taps->band,
                 job->lanes + (size_t)index * g->lane_size);
    }
}

void eqi_conv_run_taps(const eqi_conv_plan *plan, const equinv_tensor *diff_dst,
                       const eqi_conv_weights *weights, const equinv_tensor *bias,
                       const equinv_tensor *diff_src, void *scratch)
{
    const eqi_conv_gemm_plan *const g = plan->tables;
    char *memory = scratch;
    float *const bank = eqi_take(&memory, g->bank_size);
    char *const columns = eqi_take(&memory, eqi_conv_columns_size(&g->backward, EQUINV_F32));
    if (!weights->packed)
        eqi_conv_fill_taps_bank(&plan->problem, &g->taps, &weights->psi, bank);
    taps_job job = {
        .plan = plan,
        .taps = &g->taps,
        .from = diff_dst,
        .to = diff_src,
        .columns = eqi_conv_columns_in(&g->backward, diff_src, bias, columns),
        .bank = weights->packed
                    ? (const float *)(const void *)((const char *)weights->packed + g->bank_size)
                    : bank,
        .lanes = memory,
        .tiles = plan->problem.desc.batch * eqi_divide_up(plan->problem.desc.height, g->taps.band),
    };
    eqi_conv_share_out(plan, eqi_smaller(g->lanes, job.tiles), run_bands, &job);
}
