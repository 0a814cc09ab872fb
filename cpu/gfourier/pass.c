#include "pass.h"

#include "internal/rows.h"

enum {
    PLANES_BYTES = 768 << 10, /* of all copies of a band: with P^ they should stay in L2 */
    HAT_BYTES = 256 << 10,
    BAND_ROWS = 4,               /* fewer would be copied mostly for the taps above and below */
    SMALL_PIXELS = 160,          /* images of fewer leave much of their last tile empty .. */
    RUN_PIXELS = 384,            /* .. so that several are taken together, up to about these */
    RUN_MOST = SMALL_PIXELS + 16 /* pixels of one image in a tile, in whole vectors */
};

/* ---- geometry ------------------------------------------------------------------------------------- */

/* `all` in equal shares of at most `most`, at least 1. */
static int64_t even_share(int64_t all, int64_t most)
{
    return eqi_divide_up(all, eqi_divide_up(all, eqi_smaller(all, eqi_larger(1, most))));
}

/* Tap rows of one residue modulo the stride: how far the last of them is, in rows of dst; -1: none. */
static int64_t residue_reach(const eqi_gf_pass *p, int64_t residue)
{
    int64_t reach = -1;
    for (int64_t t = 0; t < p->kernel; t++)
        if (p->dilation * t % p->stride == residue)
            reach = p->dilation * t / p->stride;
    return reach;
}

/* Floats of all copies of one plane for a band; counts them. */
static int64_t copies_of(const eqi_gf_pass *p, int64_t band, int64_t *copies)
{
    int64_t floats = 0;
    *copies = 0;
    for (int64_t residue = 0; residue < eqi_smaller(p->stride, p->dilation * p->kernel);
         residue++) {
        const int64_t reach = residue_reach(p, residue);
        if (reach < 0)
            continue;
        *copies += p->kernel;
        floats += p->kernel * (band + reach) * p->out_width;
    }
    return floats;
}

/*
 * The taps of the sum; counts them, and writes them where `tap` is given. Where src has no elements, the
 * first tap of each orbit stands for all of it.
 */
static int64_t find_taps(const eqi_gf_pass *p, eqi_gf_tap *tap)
{
    int64_t taps = 0;
    for (int64_t v = 0; v < p->kernel * p->kernel; v++) {
        const eqi_pixel at = {v / p->kernel, v % p->kernel};
        int same = 0;
        bool first = true;
        for (int32_t h = 0; h < p->form->inputs; h++) {
            const eqi_pixel t =
                eqi_move(eqi_motion_of(p->group, h), at.y, at.x, p->kernel, p->kernel);
            same += t.y == at.y && t.x == at.x;
            first = first && t.y * p->kernel + t.x >= v;
        }
        if (p->elements == 1 && !first)
            continue;
        if (tap)
            tap[taps] = (eqi_gf_tap){at, p->elements == 1 ? 1.0 / same : 1.0};
        taps++;
    }
    return taps;
}

/* How many small images fit a run; 1: each is taken by itself. */
static int64_t images_together(const eqi_gf_pass *p)
{
    const int64_t pixels = p->out_height * p->out_width;
    int64_t copies;
    const int64_t bytes =
        p->fields_in * p->elements * copies_of(p, p->out_height, &copies) * (int64_t)sizeof(float);
    const int64_t fair = p->batch / eqi_larger(1, p->threads);
    if (pixels >= SMALL_PIXELS)
        return 1;
    return eqi_larger(1, eqi_smaller(eqi_smaller(fair, RUN_PIXELS / pixels), PLANES_BYTES / bytes));
}

void eqi_gf_pass_size(eqi_gf_pass *p)
{
    const int64_t lanes = p->kernels->lanes;
    const int64_t planes = p->fields_in * p->elements;
    p->taps = find_taps(p, NULL);
    p->band = p->out_height;
    p->images = images_together(p);
    while (p->band > BAND_ROWS && p->images == 1 &&
           (planes * copies_of(p, p->band, &p->copies) * (int64_t)sizeof(float) > PLANES_BYTES ||
            p->batch * eqi_divide_up(p->out_height, p->band) < p->threads))
        p->band = eqi_divide_up(p->band, 2);
    p->bands = eqi_divide_up(p->out_height, p->band);
    p->run = copies_of(p, p->band, &p->copies);
    p->element = p->images * p->run;
    /* Images that share a row need room for the last vector of the last one. */
    p->pitch = p->images == 1
                   ? lanes * p->vectors
                   : eqi_divide_up(p->images * p->out_height * p->out_width, lanes) * lanes + lanes;
    const int64_t plane_bytes = p->elements * p->element * (int64_t)sizeof(float);
    const int64_t hat_bytes = p->form->components * p->taps * p->pitch * (int64_t)sizeof(float);
    p->chunk = even_share(p->fields_in, PLANES_BYTES / plane_bytes);
    p->part = even_share(p->chunk, HAT_BYTES / hat_bytes);

    const int64_t tiles =
        p->chunk == p->fields_in ? 1 : eqi_divide_up(p->band * p->out_width, p->pitch);
    p->planes_size = (size_t)(p->chunk * p->elements * p->element + p->pitch) * sizeof(float);
    p->hat_size = (size_t)(p->part * hat_bytes);
    p->out_size = (size_t)(tiles * p->fields_out * p->form->components * p->pitch) * sizeof(float);
    p->filter_size = 0;
    for (int b = 0; b < p->form->blocks; b++) {
        const int64_t size = p->form->block[b].size;
        p->filter_size +=
            (size_t)(p->fields_out * p->fields_in * p->taps * size * size) * sizeof(float);
    }
}

size_t eqi_gf_pass_table_size(const eqi_gf_pass *p)
{
    return eqi_aligned((size_t)p->taps * sizeof *p->tap) +
           eqi_aligned((size_t)p->copies * sizeof *p->copy) +
           eqi_aligned((size_t)(p->taps * p->form->inputs) * sizeof *p->in);
}

size_t eqi_gf_pass_slice(const eqi_gf_pass *p)
{
    return eqi_aligned(p->planes_size) + eqi_aligned(p->hat_size) + eqi_aligned(p->out_size);
}

/* Where a tap reads, from the first copy on. */
static int64_t tap_start(const eqi_gf_pass *p, eqi_pixel tap)
{
    const int64_t row = p->dilation * tap.y, column = p->dilation * tap.x;
    const eqi_gf_copy *c = p->copy;
    while (c->column != column || c->row != row % p->stride)
        c++;
    return c->start + row / p->stride * p->out_width;
}

static void fill_copies(const eqi_gf_pass *p)
{
    int64_t start = 0;
    eqi_gf_copy *c = p->copy;
    for (int64_t residue = 0; residue < eqi_smaller(p->stride, p->dilation * p->kernel);
         residue++) {
        const int64_t reach = residue_reach(p, residue);
        for (int64_t t = 0; reach >= 0 && t < p->kernel; t++, c++) {
            *c = (eqi_gf_copy){residue, p->dilation * t, p->band + reach, start};
            start += c->rows * p->out_width;
        }
    }
}

void eqi_gf_pass_fill(eqi_gf_pass *p, char *tables)
{
    p->tap = eqi_take(&tables, (size_t)p->taps * sizeof *p->tap);
    find_taps(p, p->tap);
    p->copy = eqi_take(&tables, (size_t)p->copies * sizeof *p->copy);
    p->in = eqi_take(&tables, (size_t)(p->taps * p->form->inputs) * sizeof *p->in);
    fill_copies(p);
    /* P_v(h) reads plane h at the tap h v. */
    for (int64_t v = 0; v < p->taps; v++)
        for (int32_t h = 0; h < p->form->inputs; h++) {
            const eqi_pixel t = eqi_move(eqi_motion_of(p->group, h), p->tap[v].at.y, p->tap[v].at.x,
                                         p->kernel, p->kernel);
            p->in[v * p->form->inputs + h] =
                (p->elements > 1 ? h * p->element : 0) + tap_start(p, t);
        }
}

/* ---- filter ---------------------------------------------------------------------------------------- */

/* Row `row` of a block in panels of the kernel's rows: its first entry, and floats from k to k. */
typedef struct panel_row {
    float *at;
    int64_t step;
} panel_row;

static panel_row panel_row_of(float *block, int64_t panel, int64_t rows, int64_t all_k, int64_t row)
{
    const int64_t first = row / panel * panel;
    return (panel_row){block + first * all_k + row - first, eqi_smaller(panel, rows - first)};
}

/* The rows of output o in all blocks, in the order of a filter's entries. */
static void output_rows(const eqi_gf_pass *p, int64_t o, float *filter, panel_row *row)
{
    for (int b = 0; b < p->form->blocks; b++) {
        const int64_t size = p->form->block[b].size, rows = p->fields_out * size;
        const int64_t all_k = p->fields_in * p->taps * size;
        for (int64_t r = 0; r < size; r++) {
            const panel_row first =
                panel_row_of(filter, p->kernels->rows, rows, all_k, o * size + r);
            for (int64_t c = 0; c < size; c++)
                *row++ = (panel_row){first.at + c * first.step, size * first.step};
        }
        filter += rows * all_k;
    }
}

static int entries_of(const eqi_gf_form *form)
{
    int entries = 0;
    for (int b = 0; b < form->blocks; b++)
        entries += form->block[b].size * form->block[b].size;
    return entries;
}

void eqi_gf_pass_pack(const eqi_gf_pass *p, const eqi_gf_psi *psi, float *filter)
{
    const int entries = entries_of(p->form);
    for (int64_t o = 0; o < p->fields_out; o++) {
        panel_row row[EQI_GF_ORDER];
        output_rows(p, o, filter, row);
        for (int64_t i = 0; i < p->fields_in; i++) {
            const float *const from = psi->data + o * psi->out + i * psi->in;
            for (int64_t v = 0; v < p->taps; v++) {
                double phi[EQI_GF_ORDER], entry[EQI_GF_ORDER];
                for (int a = 0; a < p->form->values; a++)
                    phi[a] = p->tap[v].share * (double)from[psi->place[v * p->form->values + a]];
                eqi_gf_filter(p->kind, phi, entry);
                for (int e = 0; e < entries; e++) {
                    *row[e].at = (float)entry[e];
                    row[e].at += row[e].step;
                }
            }
        }
    }
}

/* ---- tiles ----------------------------------------------------------------------------------------- */

/* dst^ of one tile gets the share of fields of src, the first of which the planes hold as `held`. */
static void run_part(const eqi_gf_band *b, int64_t first_field, int64_t held, int64_t fields,
                     int64_t pixel, int64_t pixels, float *out)
{
    const eqi_gf_pass *const p = b->pass;
    eqi_gf_transform_tile(b, held, fields, pixel, pixels);
    const float *filter = b->filter, *hat = b->hat;
    for (int block = 0; block < p->form->blocks; block++) {
        const int64_t size = p->form->block[block].size;
        eqi_gf_product product = {.rows = p->fields_out * size,
                                  .first = first_field * p->taps * size,
                                  .k = fields * p->taps * size,
                                  .all_k = p->fields_in * p->taps * size,
                                  .filter = filter,
                                  .pitch = p->pitch,
                                  .vectors = eqi_divide_up(pixels, p->kernels->lanes),
                                  .accumulate = first_field > 0};
        for (int outer = 0; outer < p->form->block[block].outer; outer++) {
            product.src = hat;
            product.dst = out;
            p->kernels->product(&product);
            hat += product.k * p->pitch;
            out += product.rows * p->pitch;
        }
        filter += product.rows * product.all_k;
    }
}

/* Pixels of one image into dst, whatever its strides are: `pixel` is the first one's in the band. */
static void finish_run(const eqi_gf_band *b, int64_t image, int64_t pixel, int64_t pixels,
                       const float *out)
{
    const eqi_gf_pass *const p = b->pass;
    const int64_t *const s = b->dst->strides;
    float *const dst = (float *)b->dst->data + image * s[0] + b->row * s[3];
    eqi_gf_inverse v = {.src = out, .bias = b->bias, .pixels = pixels};
    eqi_gf_places(p, p->fields_out, v.base, v.step);
    if (s[4] == 1 && (s[3] == p->out_width || p->out_height == 1)) {
        v.dst = dst + pixel;
        v.field = s[1];
        v.element = s[2];
        v.outputs = p->fields_out;
        v.accumulate = p->accumulate;
        p->kernels->inverse[p->kind](&v);
        return;
    }
    float rows[EQI_GF_ORDER * RUN_MOST];
    v.dst = rows;
    v.element = RUN_MOST;
    v.outputs = 1;
    for (int64_t o = 0; o < p->fields_out; o++) {
        v.bias = b->bias ? b->bias + o : NULL;
        p->kernels->inverse[p->kind](&v);
        for (int64_t g = 0; g < p->form->outputs; g++)
            for (int64_t i = 0; i < pixels; i++) {
                float *const to = dst + o * s[1] + g * s[2] + (pixel + i) / p->out_width * s[3] +
                                  (pixel + i) % p->out_width * s[4];
                *to = p->accumulate ? *to + rows[g * RUN_MOST + i] : rows[g * RUN_MOST + i];
            }
        for (int c = 0; c < p->form->components; c++)
            v.base[c] += v.step[c];
    }
}

static void finish_tile(const eqi_gf_band *b, int64_t pixel, int64_t pixels, const float *out)
{
    const int64_t image = b->rows * b->pass->out_width, end = pixel + pixels;
    for (int64_t x = pixel; x < end;) {
        const int64_t some = eqi_smaller(end - x, image - x % image);
        finish_run(b, b->image + x / image, x % image, some, out + x - pixel);
        x += some;
    }
}

static void run_band(const eqi_gf_band *b)
{
    const eqi_gf_pass *const p = b->pass;
    const int64_t pixels = b->images * b->rows * p->out_width;
    const bool whole = p->chunk == p->fields_in;
    const int64_t tile = p->fields_out * p->form->components * p->pitch;
    for (int64_t first = 0; first < p->fields_in; first += p->chunk) {
        const int64_t fields = eqi_smaller(p->chunk, p->fields_in - first);
        eqi_gf_fill_planes(b, first, fields);
        for (int64_t x = 0; x < pixels; x += p->pitch) {
            const int64_t some = eqi_smaller(p->pitch, pixels - x);
            float *const out = b->out + (whole ? 0 : x / p->pitch * tile);
            for (int64_t i = 0; i < fields; i += p->part)
                run_part(b, first + i, i, eqi_smaller(p->part, fields - i), x, some, out);
            if (first + fields == p->fields_in)
                finish_tile(b, x, some, out);
        }
    }
}

typedef struct job {
    const eqi_gf_pass *pass;
    const equinv_tensor *src, *dst;
    const float *filter, *bias;
} job;

static void run_bands(const void *arg, int64_t first, int64_t count, void *slice)
{
    const job *const j = arg;
    const eqi_gf_pass *const p = j->pass;
    char *memory = slice;
    eqi_gf_band b = {.pass = p, .src = j->src, .dst = j->dst, .filter = j->filter, .bias = j->bias};
    b.planes = eqi_take(&memory, p->planes_size);
    b.hat = eqi_take(&memory, p->hat_size);
    b.out = eqi_take(&memory, p->out_size);
    for (int64_t i = first; i < first + count; i++) {
        eqi_gf_band_set(&b, i);
        run_band(&b);
    }
}

void eqi_gf_pass_run(const equinv_context *ctx, const eqi_gf_pass *p, const equinv_tensor *src,
                     const float *filter, const float *bias, const equinv_tensor *dst,
                     void *scratch)
{
    const job j = {p, src, dst, filter, bias};
    const double work = (double)p->fields_in * (double)p->fields_out * (double)p->taps *
                        (double)(p->form->inputs * p->images * p->band * p->out_width);
    eqi_parallel_rows(ctx, eqi_gf_tasks(p), work, 1, run_bands, &j, scratch, eqi_gf_pass_slice(p));
}
