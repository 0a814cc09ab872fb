#include "weights.h"

#include <string.h>

#include "internal/rows.h"

enum {
    VECTORS = 24, /* of a row at most: sums stay in registers for so long */
    PARTS = 16,
    PART_BYTES = 32 << 20 /* of all parts together */
};

/* ---- geometry ------------------------------------------------------------------------------------- */

static size_t rows_size(const eqi_gf_pass *p, int64_t outputs)
{
    return eqi_aligned((size_t)(outputs * p->form->components * p->pitch) * sizeof(float));
}

eqi_gf_weights eqi_gf_weights_of(const eqi_gf_pass *forward)
{
    eqi_gf_weights w = {.pass = *forward};
    eqi_gf_pass *const p = &w.pass;
    p->threads = 1; /* the order of the sum must not depend on them */
    p->vectors = VECTORS;
    eqi_gf_pass_size(p);
    w.entries = (int64_t)(p->filter_size / sizeof(float));
    w.part = eqi_aligned((size_t)w.entries * sizeof(float)) +
             eqi_aligned((size_t)p->fields_out * sizeof(double));
    w.tasks = eqi_gf_tasks(p);
    const int64_t most = eqi_larger(1, eqi_smaller(PARTS, PART_BYTES / (int64_t)w.part));
    w.part_tasks = eqi_divide_up(eqi_larger(1, w.tasks), most);
    w.parts = eqi_divide_up(w.tasks, w.part_tasks);
    w.slice = eqi_aligned(p->planes_size) + eqi_aligned(p->hat_size) + rows_size(p, 1) +
              rows_size(p, p->fields_out);
    return w;
}

void eqi_gf_weights_fill(eqi_gf_weights *w, char *tables)
{
    eqi_gf_pass_fill(&w->pass, tables);
    for (int a = 0; a < w->pass.form->values; a++) {
        double phi[EQI_GF_ORDER] = {0}, entries[EQI_GF_COMPONENTS];
        phi[a] = 1;
        eqi_gf_filter(w->pass.kind, phi, entries);
        for (int c = 0; c < w->pass.form->components; c++)
            w->adjoint[c][a] = entries[c];
    }
}

size_t eqi_gf_weights_scratch(const eqi_gf_weights *w, const eqi_hardware *hardware)
{
    return (size_t)w->parts * w->part + (size_t)hardware->threads * w->slice;
}

/* ---- one tile -------------------------------------------------------------------------------------- */

typedef struct work {
    const eqi_gf_weights *w;
    eqi_gf_band band;
    float *rows;     /* [outputs][pitch] of one field of diff_dst */
    float *gradient; /* diff_dst^ of the tile, laid out as dst^ is */
    float *entries;  /* of the part */
    double *bias;
} work;

/* Pixels of one image and element as a row, zeros for those between the rows of diff_dst. */
static void fetch_run(const eqi_gf_pass *p, const int64_t *s, const float *from, int64_t pixel,
                      int64_t pixels, float *to)
{
    const float *row = from + pixel / p->row * s[3];
    int64_t x = pixel % p->row;
    for (int64_t i = 0; i < pixels; row += s[3], x = 0) {
        const int64_t end = eqi_smaller(pixels, i + p->row - x);
        const int64_t last = eqi_smaller(end, i + eqi_larger(0, p->out_width - x));
        if (s[4] == 1 && last > i) {
            memcpy(to + i, row + x, (size_t)(last - i) * sizeof(float));
            i = last;
        }
        for (; i < last; i++, x++)
            to[i] = row[x * s[4]];
        for (; i < end; i++)
            to[i] = 0;
    }
}

/* diff_dst of one field: its elements' pixels as rows. */
static void fetch_rows(const work *k, int64_t o, int64_t pixel, int64_t pixels)
{
    const eqi_gf_band *const b = &k->band;
    const eqi_gf_pass *const p = b->pass;
    const int64_t *const s = b->dst->strides;
    const int64_t image = eqi_gf_pixels(p, b->rows), end = pixel + pixels;
    for (int64_t g = 0; g < p->form->outputs; g++)
        for (int64_t x = pixel; x < end;) {
            const int64_t some = eqi_smaller(end - x, image - x % image);
            const float *const from = (const float *)b->dst->data + (b->image + x / image) * s[0] +
                                      o * s[1] + g * s[2] + b->row * s[3];
            fetch_run(p, s, from, x % image, some, k->rows + g * p->pitch + x - pixel);
            x += some;
        }
}

/* diff_dst^ of a tile: the adjoint of the inverse, up to factors that the filter holds. */
static void transform_gradient(const work *k, int64_t pixel, int64_t pixels)
{
    const eqi_gf_pass *const p = k->band.pass;
    int64_t in[EQI_GF_ORDER];
    for (int h = 0; h < p->form->outputs; h++)
        in[h] = h * p->pitch;
    for (int64_t o = 0; o < p->fields_out; o++) {
        eqi_gf_transform t = {.src = k->rows,
                              .fields = 1,
                              .taps = 1,
                              .in = in,
                              .to = k->gradient + o * p->pitch,
                              .component = p->fields_out * p->pitch,
                              .pitch = p->pitch,
                              .runs = 1,
                              .pixels = pixels};
        fetch_rows(k, o, pixel, pixels);
        p->kernels->gradient[p->kind](&t);
    }
}

/* Zeros behind the last pixel, up to a whole vector: whatever stands there must not be summed. */
static void clear_tails(const eqi_gf_pass *p, float *rows, int64_t count, int64_t pixels)
{
    const int64_t end = eqi_divide_up(pixels, p->kernels->lanes) * p->kernels->lanes;
    for (int64_t r = 0; r < count && end > pixels; r++)
        for (int64_t i = pixels; i < end; i++)
            rows[r * p->pitch + i] = 0;
}

/* The trivial component is the sum over the group. */
static void add_bias(const work *k, int64_t pixels)
{
    const eqi_gf_pass *const p = k->band.pass;
    for (int64_t o = 0; o < p->fields_out; o++) {
        double sum = 0;
        for (int64_t i = 0; i < pixels; i++)
            sum += (double)k->gradient[o * p->pitch + i];
        k->bias[o] += sum;
    }
}

static void add_products(const work *k, int64_t first, int64_t fields, int64_t pixels)
{
    const eqi_gf_pass *const p = k->band.pass;
    eqi_gf_sums s = {.rows = fields * p->taps,
                     .columns = p->fields_out,
                     .a = k->band.hat[0],
                     .b = k->gradient,
                     .sums = k->entries + first * p->taps * p->fields_out,
                     .pitch = p->pitch,
                     .vectors = eqi_divide_up(pixels, p->kernels->lanes)};
    for (int c = 0; c < p->form->components; c++) {
        p->kernels->sums(&s);
        s.a += s.rows * p->pitch;
        s.b += s.columns * p->pitch;
        s.sums += p->fields_in * p->taps * p->fields_out;
    }
}

static void add_band(const work *k)
{
    const eqi_gf_pass *const p = k->band.pass;
    const int64_t pixels = k->band.images * eqi_gf_pixels(p, k->band.rows);
    for (int64_t first = 0; first < p->fields_in; first += p->chunk) {
        const int64_t fields = eqi_smaller(p->chunk, p->fields_in - first);
        eqi_gf_fill_planes(&k->band, first, fields);
        for (int64_t x = 0; x < pixels; x += p->pitch) {
            const int64_t some = eqi_smaller(p->pitch, pixels - x);
            transform_gradient(k, x, some);
            clear_tails(p, k->gradient, p->fields_out * p->form->components, some);
            if (first == 0)
                add_bias(k, some);
            for (int64_t i = 0; i < fields; i += p->part) {
                const int64_t part = eqi_smaller(p->part, fields - i);
                eqi_gf_transform t =
                    eqi_gf_transform_of(&k->band, i, part, x, some, k->band.hat[0]);
                p->kernels->transform[p->kind](&t);
                clear_tails(p, k->band.hat[0], part * p->taps * p->form->components, some);
                add_products(k, first + i, part, some);
            }
        }
    }
}

/* ---- parts and their sum ----------------------------------------------------------------------------- */

typedef struct job {
    const equinv_context *ctx;
    const eqi_gf_weights *w;
    const equinv_tensor *src, *diff_dst, *diff_psi, *diff_bias;
    char *parts;
} job;

static float *part_entries(const job *j, int64_t part)
{
    return (float *)(j->parts + (size_t)part * j->w->part);
}

static double *part_bias(const job *j, int64_t part)
{
    return (double *)(j->parts + (size_t)part * j->w->part +
                      eqi_aligned((size_t)j->w->entries * sizeof(float)));
}

static void run_parts(const void *arg, int64_t first, int64_t count, void *slice)
{
    const job *const j = arg;
    const eqi_gf_pass *const p = &j->w->pass;
    char *memory = slice;
    work k = {.w = j->w};
    k.band = (eqi_gf_band){.pass = p, .src = j->src, .dst = j->diff_dst};
    k.band.planes = eqi_take(&memory, p->planes_size);
    k.band.hat[0] = eqi_take(&memory, p->hat_size);
    k.rows = eqi_take(&memory, rows_size(p, 1));
    k.gradient = eqi_take(&memory, rows_size(p, p->fields_out));
    for (int64_t part = first; part < first + count; part++) {
        memset(part_entries(j, part), 0, j->w->part);
        k.entries = part_entries(j, part);
        k.bias = part_bias(j, part);
        const int64_t end = eqi_smaller(j->w->tasks, (part + 1) * j->w->part_tasks);
        for (int64_t task = part * j->w->part_tasks; task < end; task++) {
            eqi_gf_band_set(&k.band, task);
            add_band(&k);
        }
    }
}

/* The entries of one pair of fields and one tap, summed over the parts. */
static void sum_entries(const job *j, int64_t o, int64_t i, int64_t v, double *entries)
{
    const eqi_gf_pass *const p = &j->w->pass;
    for (int c = 0; c < p->form->components; c++) {
        const int64_t at = ((c * p->fields_in + i) * p->taps + v) * p->fields_out + o;
        double sum = 0;
        for (int64_t part = 0; part < j->w->parts; part++)
            sum += (double)part_entries(j, part)[at];
        entries[c] = sum;
    }
}

/* Adds the gradient of phi_v to that of psi[o, i], row-major [values or 1][taps of the kernel]. */
static void add_phi(const job *j, int64_t v, const double *entries, double *gradient)
{
    const eqi_gf_pass *const p = &j->w->pass;
    const int64_t k = p->kernel;
    const eqi_gf_tap *const tap = &p->tap[v];
    for (int32_t a = 0; a < p->form->values; a++) {
        const eqi_pixel t = eqi_move(eqi_motion_of(p->group, a), tap->at.y, tap->at.x, k, k);
        const int64_t row = p->elements > 1 ? a : 0;
        double sum = 0;
        for (int c = 0; c < p->form->components; c++)
            sum += j->w->adjoint[c][a] * entries[c];
        gradient[(row * k + t.y) * k + t.x] += tap->share * sum;
    }
}

static void fold_output(void *arg, int64_t o)
{
    const job *const j = arg;
    const eqi_gf_pass *const p = &j->w->pass;
    const equinv_tensor *const psi = j->diff_psi;
    const int64_t k = p->kernel, count = psi->shape[2] * k * k;
    for (int64_t i = 0; i < p->fields_in; i++) {
        double gradient[EQI_GF_ORDER * EQI_GF_KERNEL * EQI_GF_KERNEL];
        memset(gradient, 0, (size_t)count * sizeof *gradient);
        for (int64_t v = 0; v < p->taps; v++) {
            double entries[EQI_GF_COMPONENTS];
            sum_entries(j, o, i, v, entries);
            add_phi(j, v, entries, gradient);
        }
        for (int64_t at = 0; at < count; at++)
            eqi_put(psi, eqi_offset5(psi, o, i, at / (k * k), at / k % k, at % k), gradient[at],
                    p->accumulate);
    }
    if (!j->diff_bias)
        return;
    double sum = 0;
    for (int64_t part = 0; part < j->w->parts; part++)
        sum += part_bias(j, part)[o];
    eqi_put(j->diff_bias, o * j->diff_bias->strides[0], sum, p->accumulate);
}

void eqi_gf_weights_run(const equinv_context *ctx, const eqi_gf_weights *w,
                        const equinv_tensor *src, const equinv_tensor *diff_dst,
                        const equinv_tensor *diff_psi, const equinv_tensor *diff_bias,
                        void *scratch)
{
    job j = {ctx, w, src, diff_dst, diff_psi, diff_bias, scratch};
    const eqi_gf_pass *const p = &w->pass;
    const double each =
        (double)w->entries * (double)(p->images * p->band * p->out_width * w->part_tasks);
    eqi_parallel_rows(ctx, w->parts, each, 1, run_parts, &j,
                      (char *)scratch + (size_t)w->parts * w->part, w->slice);
    eqi_parallel_if_worth(ctx, p->fields_out, (double)w->entries * (double)(w->parts + 8),
                          fold_output, &j);
}
