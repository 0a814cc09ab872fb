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

/* Each row with all of its border. */
static void rows_abreast(eqi_gf_pass *p)
{
    p->narrow = false;
    p->tail = 0;
    p->row = p->out_width;
    for (int64_t residue = 0; residue < residues_of(p, &p->columns); residue++)
        p->row = eqi_larger(p->row, p->out_width + residue_reach(p, &p->columns, residue));
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

/* How many small images fit a run; 1: each is taken by itself, as where the product can then read and write maps. */
static int64_t images_together(const eqi_gf_pass *p)
{
    enum { PRODUCTS = 256 };
    const int64_t pixels = eqi_gf_pixels(p, p->out_height);
    const int64_t bytes = bytes_of_copies(p);
    const int64_t fair = p->batch / eqi_larger(1, p->threads);
    const bool plain = p->kind == EQI_GF_ONE && p->fields_out * p->fields_in * p->taps >= PRODUCTS;
    if (pixels >= EQI_GF_SMALL_PIXELS || (plain && !p->gradient))
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
 * Work on an image, in vectors that are multiplied; the factors were fitted to the case table. Narrow planes need
 * more copies, wide ones have pixels between their rows; images abreast are turned, and many share each call. For a
 * gradient dst is read.
 */
static double cost_of(const eqi_gf_pass *p)
{
    enum { COPY = 8, TRANSFORM = 2, INVERSE = 6, STORE = 1, TURN = 10, CALLS = 200 };
    const int64_t lanes = p->kernels->lanes;
    const double taps = (double)(p->taps * p->fields_in);
    const double transform = TRANSFORM * (p->form->inputs + p->form->components);
    const double product = (double)p->fields_out * p->form->terms;
    const double outputs = (double)p->fields_out * p->form->outputs;
    const double inputs = (double)(p->fields_in * p->elements);
    const double inverse = p->gradient ? COPY : INVERSE;
    const bool plain = p->kind == EQI_GF_ONE && !p->gradient &&
                       eqi_gf_pixels(p, p->out_height) >= EQI_GF_SMALL_PIXELS;
    if (p->abreast)
        return (TURN * inputs * (double)(p->height * p->width) +
                (taps * (transform + product) + TURN * outputs) *
                    (double)(p->out_height * p->out_width)) /
               (double)lanes;
    const int64_t pixels = eqi_divide_up(eqi_gf_pixels(p, p->out_height), lanes);
    const int64_t rows = p->out_height * eqi_divide_up(p->out_width, lanes);
    const bool dense = p->row == p->out_width;
    int64_t copies;
    const int64_t copied = copies_of(p, p->out_height, &copies) / p->row;
    return CALLS + COPY * inputs * (double)(copied * eqi_divide_up(p->row, lanes)) +
           (double)pixels * taps * ((plain ? 0 : transform) + product) +
           (plain && dense ? STORE : inverse) * outputs * (double)(dense ? pixels : rows);
}

/* Narrow planes that are cheaper, and leave as many images together and no more bands. */
static void choose_rows(eqi_gf_pass *p)
{
    set_rows(p, false);
    const double wide = cost_of(p);
    const int64_t images = images_together(p);
    set_rows(p, true);
    if (wide <= cost_of(p) || images_together(p) < images || bytes_of_copies(p) > PLANES_BYTES)
        set_rows(p, false);
}

/*
 * Fields that are transformed at a time. Sums over them are added one after the other, so that what they
 * are must follow from the layer alone: not from the batch, nor from the threads.
 */
static int64_t fields_together(const eqi_gf_pass *p)
{
    enum { SMALL_PIXELS = 128 };
    const bool small = eqi_gf_pixels(p, p->out_height) < EQI_GF_SMALL_PIXELS;
    const int64_t pixels = small ? SMALL_PIXELS : p->kernels->lanes * p->vectors;
    const int64_t bytes =
        p->form->components * eqi_larger(1, p->taps) * pixels * (int64_t)sizeof(float);
    return even_share(p->fields_in, HAT_BYTES / bytes);
}

/* Some rows, or a part of one; where the product reads the planes themselves never several. */
static void tiles_abreast(eqi_gf_pass *p)
{
    const int64_t vectors = p->vectors;
    const bool whole = p->out_width <= vectors && !eqi_gf_is_plain(p);
    p->tile_columns = even_share(p->out_width, vectors);
    p->tile_rows = whole ? even_share(p->out_height, vectors / p->out_width) : 1;
    p->pitch = p->tile_rows * p->tile_columns * p->pixel;
}

/* About so many pixels fill vectors of the map well. */
static void stage_abreast(eqi_gf_pass *p)
{
    enum { PIXELS = 48, BYTES = 128 << 10 };
    const int64_t planes = p->fields_out * p->form->outputs;
    const int64_t row = p->out_width * p->pixel * planes * (int64_t)sizeof(float);
    int64_t rows = eqi_larger(eqi_divide_up(PIXELS, p->out_width), BYTES / row);
    rows = eqi_larger(1, rows / p->tile_rows) * p->tile_rows;
    p->stage_rows = eqi_smaller(rows, p->out_height);
    p->stage_size = p->step > 1 ? (size_t)(planes * p->map_pixels * p->pixel) * sizeof(float)
                                : (size_t)(p->stage_rows * row);
}

static int64_t tiles_of(const eqi_gf_pass *p)
{
    if (p->abreast)
        return eqi_divide_up(p->out_height, p->tile_rows) *
               eqi_divide_up(p->out_width, p->tile_columns);
    return eqi_divide_up(eqi_gf_pixels(p, p->band), p->pitch);
}

void eqi_gf_pass_size(eqi_gf_pass *p)
{
    const int64_t lanes = p->kernels->lanes;
    const int64_t planes = p->fields_in * p->elements;
    p->taps = find_taps(p, NULL);
    p->pixel = p->abreast ? lanes : 1;
    if (p->abreast) {
        rows_abreast(p);
    } else {
        choose_rows(p);
        p->part = fields_together(p);
    }
    p->cost = cost_of(p);
    p->band = p->out_height;
    p->images = p->abreast ? lanes : images_together(p);
    while (p->band > BAND_ROWS && p->images == 1 &&
           (planes * copies_of(p, p->band, &p->copies) * (int64_t)sizeof(float) > PLANES_BYTES ||
            p->batch * eqi_divide_up(p->out_height, p->band) < p->threads))
        p->band = eqi_divide_up(p->band, 2);
    p->bands = eqi_divide_up(p->out_height, p->band);
    p->run = copies_of(p, p->band, &p->copies);
    /* Abreast the last pixel is where those go that no tap reads. */
    p->element = p->images * (p->run + p->abreast);
    p->misses = p->rows.taps < p->kernel || p->columns.taps < p->kernel;
    p->field = (p->elements + (p->misses && p->form->inputs > 1)) * p->element;
    /* Images that share a row need room for the last vector of the last one. */
    p->pitch =
        p->images == 1
            ? lanes * p->vectors
            : eqi_divide_up(p->images * eqi_gf_pixels(p, p->out_height), lanes) * lanes + lanes;
    if (p->abreast)
        tiles_abreast(p);
    const int64_t plane_bytes = eqi_larger(1, p->field) * (int64_t)sizeof(float);
    const int64_t hat_bytes = p->form->components * p->taps * p->pitch * (int64_t)sizeof(float);
    p->chunk = eqi_larger(1, PLANES_BYTES / plane_bytes / p->part) * p->part;
    p->chunk = eqi_smaller(p->chunk, p->fields_in);

    const int64_t tiles = p->chunk == p->fields_in ? 1 : tiles_of(p);
    p->planes_size = (size_t)(p->chunk * p->field + p->pitch) * sizeof(float);
    p->hat_size = (size_t)(p->part * hat_bytes);
    /* The inverse reads whole vectors from any pixel on. */
    p->out_size =
        (size_t)(tiles * p->fields_out * p->form->components * p->pitch + lanes) * sizeof(float);
    if (p->abreast)
        stage_abreast(p);
    p->filter_size =
        (size_t)(p->form->components * p->fields_out * p->fields_in * p->taps) * sizeof(float);
}

static size_t places_of(const eqi_gf_pass *p)
{
    return p->abreast ? (size_t)(p->height * p->width) : 0;
}

size_t eqi_gf_pass_table_size(const eqi_gf_pass *p)
{
    return eqi_aligned((size_t)p->taps * sizeof *p->tap) +
           eqi_aligned((size_t)p->copies * sizeof *p->copy) +
           eqi_aligned(places_of(p) * sizeof *p->place) +
           eqi_aligned((size_t)(p->taps * p->form->inputs) * sizeof *p->in) +
           eqi_aligned((size_t)(p->part * p->taps) * sizeof *p->row_at);
}

size_t eqi_gf_pass_slice(const eqi_gf_pass *p)
{
    return eqi_aligned(p->stage_size) + eqi_aligned(p->planes_size) + 2 * eqi_aligned(p->hat_size) +
           eqi_aligned(p->out_size);
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
    return c->start + (row / p->stride * p->row + (column - first) / p->stride) * p->pixel;
}

static void fill_copies(const eqi_gf_pass *p)
{
    int64_t start = 0;
    eqi_gf_copy *c = p->copy;
    for (int64_t residue = 0; residue < residues_of(p, &p->rows); residue++) {
        const int64_t reach = residue_reach(p, &p->rows, residue);
        for (int64_t i = 0; reach >= 0 && i < columns_of(p); i++, c++) {
            *c = (eqi_gf_copy){residue, column_of(p, i), p->band + reach, start};
            start += (c->rows * p->row + p->tail) * p->pixel;
        }
    }
}

/* Where a pixel of src stands, abreast: in the copy of its residues, unless no tap reads it. */
static int64_t place_of(const eqi_gf_pass *p, int64_t y, int64_t x)
{
    y += p->rows.padding, x += p->columns.padding;
    for (const eqi_gf_copy *c = p->copy; c < p->copy + p->copies; c++) {
        const int64_t row = (y - c->row) / p->stride, column = (x - c->column) / p->stride;
        if (y >= c->row && x >= c->column && (y - c->row) % p->stride == 0 &&
            (x - c->column) % p->stride == 0 && row < c->rows && column < p->row)
            return c->start + (row * p->row + column) * p->pixel;
    }
    return p->run * p->pixel;
}

void eqi_gf_pass_fill(eqi_gf_pass *p, char *tables)
{
    p->tap = eqi_take(&tables, (size_t)p->taps * sizeof *p->tap);
    find_taps(p, p->tap);
    p->copy = eqi_take(&tables, (size_t)p->copies * sizeof *p->copy);
    p->in = eqi_take(&tables, (size_t)(p->taps * p->form->inputs) * sizeof *p->in);
    p->row_at = eqi_take(&tables, (size_t)(p->part * p->taps) * sizeof *p->row_at);
    p->place = eqi_take(&tables, places_of(p) * sizeof *p->place);
    fill_copies(p);
    for (int64_t i = 0; i < (int64_t)places_of(p); i++)
        p->place[i] = place_of(p, i / p->width, i % p->width);
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
