#include "pass.h"

#include "internal/rows.h"

/* ---- filter ---------------------------------------------------------------------------------------- */

/* The entries of output o for all fields and taps stand `step` floats apart in each component's panels. */
void eqi_gf_pass_pack(const eqi_gf_pass *p, const eqi_gf_psi *psi, float *filter)
{
    const int64_t all_k = p->fields_in * p->taps, panel = p->kernels->rows;
    for (int64_t o = psi->element_out; o < p->fields_out; o += p->split_out) {
        const int64_t first = o / panel * panel, step = eqi_smaller(panel, p->fields_out - first);
        for (int64_t i = psi->element_in; i < p->fields_in; i += p->split_in) {
            const float *const from =
                psi->data + o / p->split_out * psi->out + i / p->split_in * psi->in;
            float *to = filter + first * all_k + i * p->taps * step + o - first;
            for (int64_t v = 0; v < p->taps; v++, to += step) {
                double phi[EQI_GF_ORDER], entry[EQI_GF_COMPONENTS];
                for (int a = 0; a < p->form->values; a++)
                    phi[a] = p->tap[v].share * (double)from[psi->place[v * p->form->values + a]];
                eqi_gf_filter(p->kind, phi, entry);
                for (int c = 0; c < p->form->components; c++)
                    to[c * p->fields_out * all_k] = (float)entry[c];
            }
        }
    }
}

/* ---- tiles ----------------------------------------------------------------------------------------- */

/* dst^ of one tile, or dst itself, gets the share of fields of src from the first one on. */
static void multiply_part(const eqi_gf_band *b, int64_t first_field, int64_t fields, int64_t pixels,
                          const float *hat, float *out, const eqi_gf_inverse *to,
                          eqi_gf_transform *ahead)
{
    const eqi_gf_pass *const p = b->pass;
    const eqi_gf_product product = {.form = p->form,
                                    .rows = p->fields_out,
                                    .first = first_field * p->taps,
                                    .k = fields * p->taps,
                                    .all_k = p->fields_in * p->taps,
                                    .filter = b->filter,
                                    .src = hat,
                                    .at = eqi_gf_is_plain(p) ? p->row_at : NULL,
                                    .dst = out,
                                    .to = to,
                                    .pitch = p->pitch,
                                    .vectors = eqi_divide_up(pixels, p->kernels->lanes),
                                    .accumulate = first_field > 0,
                                    .kind = p->kind,
                                    .ahead = ahead};
    p->kernels->product(&product);
}

/* Where the outputs of one field of the map stand. */
typedef struct finish_place {
    float *dst; /* of the image's first pixel in the band */
    const float *out;
    int64_t first, outputs; /* fields */
    int64_t field, element; /* floats from one to the next .. */
    int64_t row, column;    /* .. and from pixel to pixel */
    int64_t pixel, pixels;
} finish_place;

static eqi_gf_inverse inverse_of(const eqi_gf_band *b, const finish_place *f)
{
    const eqi_gf_pass *const p = b->pass;
    eqi_gf_inverse v = {.src = f->out + f->first * p->pitch,
                        .component = p->fields_out * p->pitch,
                        .pitch = p->pitch,
                        .bias = b->bias ? b->bias + f->first : NULL,
                        .finish = b->finish ? *b->finish : (eqi_conv_finish){.relu = false},
                        .step = 1,
                        .pixels = f->pixels,
                        .outputs = f->outputs,
                        .alike = p->split_out};
    if (v.finish.norm)
        v.finish.norm += f->first / p->split_out;
    return v;
}

/* Rows of pixels that are neighbours, or every second one. */
static eqi_gf_inverse rows_of(const eqi_gf_band *b, const finish_place *f)
{
    const eqi_gf_pass *const p = b->pass;
    eqi_gf_inverse v = inverse_of(b, f);
    const bool dense = p->row == p->out_width && f->row == p->out_width && f->column == 1;
    v.columns = dense ? f->pixel + f->pixels : p->out_width; /* dense: all rows are one */
    v.length = dense ? f->pixel + f->pixels : p->row;
    v.column = f->pixel % v.length;
    v.row = f->row;
    v.step = f->column;
    v.dst = f->dst + f->pixel / v.length * v.row;
    v.field = f->field;
    v.element = f->element;
    v.accumulate = p->accumulate;
    return v;
}

/* Pixels wherever they stand. */
static void finish_scattered(const eqi_gf_band *b, finish_place f)
{
    const eqi_gf_pass *const p = b->pass;
    float rows[EQI_GF_ORDER * EQI_GF_TILE_MOST];
    for (int64_t outputs = f.outputs; outputs > 0; outputs--, f.first++, f.dst += f.field) {
        f.outputs = 1;
        eqi_gf_inverse v = inverse_of(b, &f);
        v.columns = v.length = f.pixels;
        v.dst = rows;
        v.element = EQI_GF_TILE_MOST;
        p->kernels->inverse[p->kind](&v);
        for (int64_t g = 0; g < p->form->outputs; g++)
            for (int64_t i = 0; i < f.pixels; i++) {
                const int64_t y = (f.pixel + i) / p->row, x = (f.pixel + i) % p->row;
                float *const to = f.dst + g * f.element + y * f.row + x * f.column;
                if (x < p->out_width)
                    *to = p->accumulate ? *to + rows[g * EQI_GF_TILE_MOST + i]
                                        : rows[g * EQI_GF_TILE_MOST + i];
            }
    }
}

/* Pixels of one image: `pixel` is the first one's in the band. */
static finish_place place_of(const eqi_gf_band *b, int64_t image, int64_t pixel, int64_t pixels,
                             const float *out)
{
    const eqi_gf_pass *const p = b->pass;
    const int64_t *const s = b->dst->strides;
    const bool split = p->split_out > 1, apart = split && s[1] != p->split_out * s[2];
    finish_place f = {.out = out,
                      .outputs = apart ? p->split_out : p->fields_out,
                      .field = split ? s[2] : s[1],
                      .element = s[2],
                      .row = s[3] * p->step,
                      .column = s[4] * p->step,
                      .pixel = pixel,
                      .pixels = pixels};
    f.dst = (float *)b->dst->data + image * s[0] + p->row_of_first * s[3] +
            p->column_of_first * s[4] + b->row * f.row;
    return f;
}

/* The same into dst, whatever its strides are. */
static void finish_run(const eqi_gf_band *b, int64_t image, int64_t pixel, int64_t pixels,
                       const float *out)
{
    const eqi_gf_pass *const p = b->pass;
    const int64_t *const s = b->dst->strides;
    finish_place f = place_of(b, image, pixel, pixels, out);
    for (; f.first < p->fields_out; f.first += f.outputs, f.dst += s[1])
        if (s[4] == 1 && p->step <= 2) {
            const eqi_gf_inverse v = rows_of(b, &f);
            p->kernels->inverse[p->kind](&v);
        } else {
            finish_scattered(b, f);
        }
}

static void finish_tile(const eqi_gf_band *b, int64_t pixel, int64_t pixels, const float *out)
{
    const int64_t image = eqi_gf_pixels(b->pass, b->rows), end = pixel + pixels;
    for (int64_t x = pixel; x < end;) {
        const int64_t some = eqi_smaller(end - x, image - x % image);
        finish_run(b, b->image + x / image, x % image, some, out + x - pixel);
        x += some;
    }
}

typedef struct stage {
    int64_t first, rows, width; /* of dst */
    int64_t element;            /* floats */
} stage;

/* The stage holds whole rows of all planes of dst: those of some tiles, or all of the map's with other classes. */
static stage stage_of(const eqi_gf_band *b, int64_t tile_row)
{
    const eqi_gf_pass *const p = b->pass;
    const int64_t *const shape = b->dst->shape;
    const bool whole = p->step > 1;
    stage s = {.first = whole ? 0 : tile_row / p->stage_rows * p->stage_rows, .width = shape[4]};
    s.rows = whole ? shape[3] : eqi_smaller(p->stage_rows, p->out_height - s.first);
    s.element = s.rows * s.width * p->pixel;
    return s;
}

/* dst^ of row y of a tile to its pixels' places in the stage. */
static eqi_gf_inverse row_of(const eqi_gf_band *b, const stage *s, const eqi_gf_tile *tile,
                             int64_t y, const float *out)
{
    const eqi_gf_pass *const p = b->pass;
    const finish_place f = {.out = out + y * tile->columns * p->pixel,
                            .outputs = p->fields_out,
                            .pixels = tile->columns * p->pixel};
    const int64_t row = (tile->row + y) * p->step + p->row_of_first - s->first;
    const int64_t column = tile->column * p->step + p->column_of_first;
    eqi_gf_inverse v = inverse_of(b, &f);
    v.columns = v.length = p->step > 1 ? p->pixel : f.pixels;
    v.row = p->step * p->pixel;
    v.dst = b->stage + (row * s->width + column) * p->pixel;
    v.element = s->element;
    v.field = p->form->outputs * s->element;
    return v;
}

static void empty_stage(const eqi_gf_band *b, const stage *s)
{
    const eqi_gf_pass *const p = b->pass;
    const int64_t *const strides = b->dst->strides, *const shape = b->dst->shape;
    const eqi_gf_turn t = {.fields = shape[1],
                           .elements = shape[2],
                           .map = (float *)b->dst->data + b->image * strides[0] +
                                  s->first * strides[3],
                           .map_field = strides[1],
                           .map_element = strides[2],
                           .abreast = b->stage,
                           .field = shape[2] * s->element,
                           .element = s->element,
                           .rows = s->rows,
                           .columns = s->width,
                           .accumulate = p->accumulate};
    eqi_gf_turn_map(p, t, strides, true);
}

/* `there`: the product has put it where it goes. */
static void finish_of_tile(const eqi_gf_band *b, const eqi_gf_tile *tile, const float *out,
                           bool there)
{
    const eqi_gf_pass *const p = b->pass;
    if (!p->abreast) {
        if (!there)
            finish_tile(b, tile->pixel, tile->pixels, out);
        return;
    }
    const stage s = stage_of(b, tile->row);
    for (int64_t y = 0; y < tile->rows && !there; y++) {
        const eqi_gf_inverse v = row_of(b, &s, tile, y, out);
        p->kernels->inverse[p->kind](&v);
    }
    const bool last =
        tile->row + tile->rows == s.first + s.rows && tile->column + tile->columns == p->out_width;
    if (p->step == 1 && last)
        empty_stage(b, &s);
}

/*
 * Where the product can put the pixels of a tile without dst^: one component needs no inverse, and there they are
 * one row of neighbours.
 */
static bool is_straight(const eqi_gf_band *b, const eqi_gf_tile *tile, eqi_gf_inverse *to)
{
    const eqi_gf_pass *const p = b->pass;
    if (!eqi_gf_is_plain(p) || p->step > 1)
        return false;
    if (p->abreast) {
        const stage s = stage_of(b, tile->row);
        *to = row_of(b, &s, tile, 0, NULL);
        return true;
    }
    const finish_place f = place_of(b, b->image, tile->pixel, tile->pixels, NULL);
    *to = rows_of(b, &f);
    to->dst += to->column;
    return b->dst->strides[4] == 1 && f.outputs == p->fields_out &&
           to->column + to->pixels <= to->columns;
}

/* A share of the fields that the planes hold, for one tile of pixels. */
typedef struct portion {
    int64_t field, fields;
    eqi_gf_tile tile;
} portion;

static bool portion_at(const eqi_gf_band *b, int64_t i, int64_t held, portion *at)
{
    const eqi_gf_pass *const p = b->pass;
    const int64_t parts = eqi_divide_up(held, p->part);
    at->field = i % parts * p->part;
    at->fields = eqi_smaller(p->part, held - at->field);
    return eqi_gf_tile_at(b, i / parts, &at->tile);
}

static eqi_gf_transform transform_portion(const eqi_gf_band *b, const portion *at, float *hat)
{
    return eqi_gf_transform_of(b, at->field, at->fields, &at->tile, hat);
}

/* All tiles for the fields from `first` on that the planes hold. Each is transformed during the one before. */
static void run_chunk(const eqi_gf_band *b, int64_t first, int64_t held)
{
    const eqi_gf_pass *const p = b->pass;
    const int64_t tile = p->fields_out * p->form->components * p->pitch;
    const bool plain = eqi_gf_is_plain(p) || p->taps == 0;
    portion at, next;
    bool more = portion_at(b, 0, held, &at);
    eqi_gf_transform ahead = transform_portion(b, &at, b->hat[0]);
    for (int64_t i = 0; more; i++, at = next) {
        float *const out = b->out + (p->chunk == p->fields_in ? 0 : at.tile.number * tile);
        const float *const rows = eqi_gf_rows(b, at.field, at.tile.pixel, b->hat[i % 2]);
        if (!plain)
            p->kernels->transform[p->kind](&ahead);
        more = portion_at(b, i + 1, held, &next);
        if (more)
            ahead = transform_portion(b, &next, b->hat[(i + 1) % 2]);
        const bool whole = first + at.field + at.fields == p->fields_in;
        eqi_gf_inverse to;
        const bool straight = at.fields == p->fields_in && is_straight(b, &at.tile, &to);
        multiply_part(b, first + at.field, at.fields, at.tile.pixels, rows, out,
                      straight ? &to : NULL, more && !plain ? &ahead : NULL);
        if (whole)
            finish_of_tile(b, &at.tile, out, straight);
    }
}

static void run_band(const eqi_gf_band *b)
{
    const eqi_gf_pass *const p = b->pass;
    for (int64_t first = 0; first < p->fields_in; first += p->chunk) {
        const int64_t fields = eqi_smaller(p->chunk, p->fields_in - first);
        eqi_gf_fill_planes(b, first, fields);
        run_chunk(b, first, fields);
    }
}

typedef struct job {
    const eqi_gf_run *runs;
    int64_t count;
    const equinv_tensor *src, *dst;
    const eqi_conv_finish *finish;
} job;

static eqi_gf_band band_of(const job *j, const eqi_gf_run *run, void *slice)
{
    const eqi_gf_pass *const p = run->pass;
    char *memory = slice;
    eqi_gf_band b = {.pass = p,
                     .src = j->src,
                     .dst = j->dst,
                     .filter = run->filter,
                     .bias = run->bias,
                     .finish = j->finish};
    b.stage = eqi_take(&memory, p->stage_size);
    b.planes = eqi_take(&memory, p->planes_size);
    b.hat[0] = eqi_take(&memory, p->hat_size);
    b.hat[1] = eqi_take(&memory, p->hat_size);
    b.out = eqi_take(&memory, p->out_size);
    return b;
}

static void run_bands(const void *arg, int64_t first, int64_t count, void *slice)
{
    const job *const j = arg;
    for (int64_t i = first; i < first + count; i++) {
        eqi_gf_band b;
        for (int64_t c = 0; c < j->count; c++) {
            b = band_of(j, &j->runs[c], slice);
            if (j->count > 1 || i == first)
                eqi_gf_clear_missing(b.pass, b.planes);
            eqi_gf_band_set(&b, i);
            run_band(&b);
        }
        if (b.pass->abreast && b.pass->step > 1) {
            const stage whole = stage_of(&b, 0);
            empty_stage(&b, &whole);
        }
    }
}

static size_t slice_of(const eqi_gf_run *runs, int64_t count)
{
    size_t slice = 0;
    for (int64_t c = 0; c < count; c++)
        slice = eqi_larger_size(slice, eqi_gf_pass_slice(runs[c].pass));
    return slice;
}

/* Abreast a task makes all classes of its images; else their bands may differ. */
void eqi_gf_pass_run(const equinv_context *ctx, const eqi_gf_run *runs, int64_t count,
                     const equinv_tensor *src, const eqi_conv_finish *finish,
                     const equinv_tensor *dst, void *scratch)
{
    const int64_t together = runs[0].pass->abreast ? count : 1;
    for (int64_t c = 0; c < count; c += together) {
        const job j = {runs + c, together, src, dst, finish};
        double work = 0;
        for (int64_t i = c; i < c + together; i++) {
            const eqi_gf_pass *const p = runs[i].pass;
            work += (double)p->fields_in * (double)p->fields_out * (double)p->taps *
                    (double)(p->form->inputs * p->images * p->band * p->out_width);
        }
        eqi_parallel_rows(ctx, eqi_gf_tasks(runs[c].pass), work, 1, run_bands, &j, scratch,
                          slice_of(runs + c, together));
    }
}
