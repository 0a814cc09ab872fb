/* What a pass is made of: its taps, the planes that they read, tiles and bands; sizes and tables of all. */
#include "pass.h"

#include "internal/rows.h"

enum {
    PLANES_BYTES = 768 << 10, /* of all copies of a band: with P^ they should stay in L2 */
    HAT_BYTES = 128 << 10,    /* of the largest tile */
    BAND_ROWS = 4,            /* fewer would be copied mostly for the taps above and below */
    RUN_PIXELS = 384          /* of small images that are taken together, about */
};

/* `all` in equal shares of at most `most`, at least 1. */
static int64_t even_share(int64_t all, int64_t most)
{
    return eqi_divide_up(all, eqi_divide_up(all, eqi_smaller(all, eqi_larger(1, most))));
}

int64_t eqi_gf_axis_tap(const eqi_gf_pass *p, const eqi_gf_axis *axis, int64_t t)
{
    const int64_t i = (t - axis->first) / p->every;
    const bool is = t >= axis->first && (t - axis->first) % p->every == 0 && i < axis->taps;
    return is ? i : -1;
}

/* Taps of one residue modulo the stride: how far the last of them is, in pixels of dst; -1: none. */
static int64_t residue_reach(const eqi_gf_pass *p, const eqi_gf_axis *axis, int64_t residue)
{
    int64_t reach = -1;
    for (int64_t i = 0; i < axis->taps; i++)
        if (p->gap * i % p->stride == residue)
            reach = p->gap * i / p->stride;
    return reach;
}

/* The copies of one row residue differ in their first column: this is number i of them. */
static int64_t column_of(const eqi_gf_pass *p, int64_t i)
{
    if (p->narrow)
        return p->gap * i;
    int64_t residue = 0;
    while (residue_reach(p, &p->columns, residue) < 0 || i-- > 0)
        residue++;
    return residue;
}

static int64_t residues_of(const eqi_gf_pass *p, const eqi_gf_axis *axis)
{
    return eqi_smaller(p->stride, p->gap * (axis->taps - 1) + 1);
}

static int64_t columns_of(const eqi_gf_pass *p)
{
    int64_t columns = 0;
    for (int64_t residue = 0; residue < residues_of(p, &p->columns); residue++)
        columns += residue_reach(p, &p->columns, residue) >= 0;
    return p->narrow ? p->columns.taps : columns;
}

static int64_t divide_up(int64_t a, int64_t b)
{
    return a > 0 ? eqi_divide_up(a, b) : 0;
}

/*
 * Rows of planes that serve all columns of a residue: as long as dst's, as the pixels that are read, and so
 * that what is read behind them are the zeros before the first pixel of the next.
 */
static void wide_rows(eqi_gf_pass *p)
{
    int64_t longest = p->out_width;
    p->row = p->out_width;
    for (int64_t residue = 0; residue < residues_of(p, &p->columns); residue++) {
        const int64_t reach = residue_reach(p, &p->columns, residue), read = p->out_width + reach;
        if (reach < 0)
            continue;
        const int64_t before = divide_up(p->columns.padding - residue, p->stride);
        const int64_t end = divide_up(p->width + p->columns.padding - residue, p->stride);
        const int64_t row = p->circular ? read : eqi_larger(eqi_smaller(end, read), read - before);
        p->row = eqi_larger(p->row, row);
        longest = eqi_larger(longest, read);
    }
    p->tail = longest - p->row;
}

int64_t eqi_gf_pixels(const eqi_gf_pass *p, int64_t rows)
{
    return rows > 0 ? (rows - 1) * p->row + p->out_width : 0;
}

/* Floats of all copies of one plane for a band; counts them. */
static int64_t copies_of(const eqi_gf_pass *p, int64_t band, int64_t *copies)
{
    const int64_t columns = columns_of(p);
    int64_t floats = 0;
    *copies = 0;
    for (int64_t residue = 0; residue < residues_of(p, &p->rows); residue++) {
        const int64_t reach = residue_reach(p, &p->rows, residue);
        if (reach < 0)
            continue;
        *copies += columns;
        floats += columns * ((band + reach) * p->row + p->tail);
    }
    return floats;
}

static bool reads(const eqi_gf_pass *p, eqi_pixel tap)
{
    return eqi_gf_axis_tap(p, &p->rows, tap.y) >= 0 && eqi_gf_axis_tap(p, &p->columns, tap.x) >= 0;
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
        bool first = true, read = false;
        for (int32_t h = 0; h < p->form->inputs; h++) {
            const eqi_pixel t =
                eqi_move(eqi_motion_of(p->group, h), at.y, at.x, p->kernel, p->kernel);
            same += t.y == at.y && t.x == at.x;
            first = first && t.y * p->kernel + t.x >= v;
            read = read || reads(p, t);
        }
        if (!read || (p->elements == 1 && !first))
            continue;
        if (tap)
            tap[taps] = (eqi_gf_tap){at, p->elements == 1 ? 1.0 / same : 1.0};
        taps++;
    }
    return taps;
}

/* Of all planes of one image. */
static int64_t bytes_of_copies(const eqi_gf_pass *p)
{
    int64_t copies;
    return p->fields_in * p->elements * copies_of(p, p->out_height, &copies) *
           (int64_t)sizeof(float);
}

/* How many small images fit a run; 1: each is taken by itself. */
static int64_t images_together(const eqi_gf_pass *p)
{
    const int64_t pixels = eqi_gf_pixels(p, p->out_height);
    const int64_t bytes = bytes_of_copies(p);
    const int64_t fair = p->batch / eqi_larger(1, p->threads);
    if (pixels >= EQI_GF_SMALL_PIXELS)
        return 1;
    return eqi_larger(1, eqi_smaller(eqi_smaller(fair, RUN_PIXELS / pixels),
                                     PLANES_BYTES / eqi_larger(1, bytes)));
}

static void set_rows(eqi_gf_pass *p, bool narrow)
{
    p->narrow = narrow;
    p->row = p->out_width;
    p->tail = 0;
    if (!narrow)
        wide_rows(p);
}

/*
 * Work on an image with such rows, in vectors that are multiplied; the factors were fitted to the case table.
 * Narrow planes need more copies, wide ones have pixels between their rows.
 */
static double cost_of_rows(const eqi_gf_pass *p)
{
    enum { COPY = 8, TRANSFORM = 2, INVERSE = 6 };
    const int64_t lanes = p->kernels->lanes;
    const int64_t pixels = eqi_divide_up(eqi_gf_pixels(p, p->out_height), lanes);
    const int64_t rows = p->out_height * eqi_divide_up(p->out_width, lanes);
    int64_t copies;
    const int64_t copied = copies_of(p, p->out_height, &copies) / p->row;
    const double taps = (double)(p->taps * p->fields_in);
    const double transform = TRANSFORM * (p->form->inputs + p->form->components);
    const double product = (double)p->fields_out * p->form->terms;
    const double outputs = (double)p->fields_out * p->form->outputs;
    return COPY * (double)(p->fields_in * p->elements * copied * eqi_divide_up(p->row, lanes)) +
           (double)pixels * taps * (transform + product) +
           INVERSE * outputs * (double)(p->row == p->out_width ? pixels : rows);
}

/* Narrow planes that are cheaper, and leave as many images together and no more bands. */
static void choose_rows(eqi_gf_pass *p)
{
    set_rows(p, false);
    const double wide = cost_of_rows(p);
    const int64_t images = images_together(p);
    set_rows(p, true);
    if (wide <= cost_of_rows(p) || images_together(p) < images || bytes_of_copies(p) > PLANES_BYTES)
        set_rows(p, false);
}

/*
 * Fields that are transformed at a time. Sums over them are added one after the other, so that what they
 * are must follow from the layer alone: not from the batch, nor from the threads.
 */
static int64_t fields_together(const eqi_gf_pass *p)
{
    const bool small = eqi_gf_pixels(p, p->out_height) < EQI_GF_SMALL_PIXELS;
    const int64_t pixels = small ? RUN_PIXELS : p->kernels->lanes * p->vectors;
    const int64_t bytes =
        p->form->components * eqi_larger(1, p->taps) * pixels * (int64_t)sizeof(float);
    return even_share(p->fields_in, HAT_BYTES / bytes);
}

void eqi_gf_pass_size(eqi_gf_pass *p)
{
    const int64_t lanes = p->kernels->lanes;
    const int64_t planes = p->fields_in * p->elements;
    p->taps = find_taps(p, NULL);
    choose_rows(p);
    p->band = p->out_height;
    p->images = images_together(p);
    while (p->band > BAND_ROWS && p->images == 1 &&
           (planes * copies_of(p, p->band, &p->copies) * (int64_t)sizeof(float) > PLANES_BYTES ||
            p->batch * eqi_divide_up(p->out_height, p->band) < p->threads))
        p->band = eqi_divide_up(p->band, 2);
    p->bands = eqi_divide_up(p->out_height, p->band);
    p->run = copies_of(p, p->band, &p->copies);
    p->element = p->images * p->run;
    p->misses = p->rows.taps < p->kernel || p->columns.taps < p->kernel;
    p->field = (p->elements + (p->misses && p->form->inputs > 1)) * p->element;
    /* Images that share a row need room for the last vector of the last one. */
    p->pitch =
        p->images == 1
            ? lanes * p->vectors
            : eqi_divide_up(p->images * eqi_gf_pixels(p, p->out_height), lanes) * lanes + lanes;
    const int64_t plane_bytes = eqi_larger(1, p->field) * (int64_t)sizeof(float);
    const int64_t hat_bytes = p->form->components * p->taps * p->pitch * (int64_t)sizeof(float);
    p->part = fields_together(p);
    p->chunk = eqi_larger(1, PLANES_BYTES / plane_bytes / p->part) * p->part;
    p->chunk = eqi_smaller(p->chunk, p->fields_in);

    const int64_t tiles =
        p->chunk == p->fields_in ? 1 : eqi_divide_up(eqi_gf_pixels(p, p->band), p->pitch);
    p->planes_size = (size_t)(p->chunk * p->field + p->pitch) * sizeof(float);
    p->hat_size = (size_t)(p->part * hat_bytes);
    /* The inverse reads whole vectors from any pixel on. */
    p->out_size =
        (size_t)(tiles * p->fields_out * p->form->components * p->pitch + lanes) * sizeof(float);
    p->filter_size =
        (size_t)(p->form->components * p->fields_out * p->fields_in * p->taps) * sizeof(float);
}

size_t eqi_gf_pass_table_size(const eqi_gf_pass *p)
{
    return eqi_aligned((size_t)p->taps * sizeof *p->tap) +
           eqi_aligned((size_t)p->copies * sizeof *p->copy) +
           eqi_aligned((size_t)(p->taps * p->form->inputs) * sizeof *p->in) +
           eqi_aligned((size_t)(p->part * p->taps) * sizeof *p->row_at);
}

size_t eqi_gf_pass_slice(const eqi_gf_pass *p)
{
    return eqi_aligned(p->planes_size) + 2 * eqi_aligned(p->hat_size) + eqi_aligned(p->out_size);
}

/* Where a tap reads, from the first copy on. */
static int64_t tap_start(const eqi_gf_pass *p, eqi_pixel tap)
{
    const int64_t row = p->gap * eqi_gf_axis_tap(p, &p->rows, tap.y);
    const int64_t column = p->gap * eqi_gf_axis_tap(p, &p->columns, tap.x);
    const int64_t first = p->narrow ? column : column % p->stride;
    const eqi_gf_copy *c = p->copy;
    while (c->column != first || c->row != row % p->stride)
        c++;
    return c->start + row / p->stride * p->row + (column - first) / p->stride;
}

static void fill_copies(const eqi_gf_pass *p)
{
    int64_t start = 0;
    eqi_gf_copy *c = p->copy;
    for (int64_t residue = 0; residue < residues_of(p, &p->rows); residue++) {
        const int64_t reach = residue_reach(p, &p->rows, residue);
        for (int64_t i = 0; reach >= 0 && i < columns_of(p); i++, c++) {
            *c = (eqi_gf_copy){residue, column_of(p, i), p->band + reach, start};
            start += c->rows * p->row + p->tail;
        }
    }
}

void eqi_gf_pass_fill(eqi_gf_pass *p, char *tables)
{
    p->tap = eqi_take(&tables, (size_t)p->taps * sizeof *p->tap);
    find_taps(p, p->tap);
    p->copy = eqi_take(&tables, (size_t)p->copies * sizeof *p->copy);
    p->in = eqi_take(&tables, (size_t)(p->taps * p->form->inputs) * sizeof *p->in);
    p->row_at = eqi_take(&tables, (size_t)(p->part * p->taps) * sizeof *p->row_at);
    fill_copies(p);
    /* P_v(h) reads plane h at the tap h v. */
    for (int64_t v = 0; v < p->taps; v++)
        for (int32_t h = 0; h < p->form->inputs; h++) {
            const eqi_pixel t = eqi_move(eqi_motion_of(p->group, h), p->tap[v].at.y, p->tap[v].at.x,
                                         p->kernel, p->kernel);
            p->in[v * p->form->inputs + h] =
                reads(p, t) ? (p->elements > 1 ? h * p->element : 0) + tap_start(p, t)
                            : p->elements * p->element;
        }
    for (int64_t i = 0; i < p->part * p->taps; i++)
        p->row_at[i] =
            eqi_gf_is_plain(p) ? i / p->taps * p->field + p->in[i % p->taps] : i * p->pitch;
}
