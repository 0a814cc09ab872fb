#include "weights.h"

#include <string.h>

#include "internal/rows.h"

enum {
    VECTORS = 56, /* of a row at most: sums stay in registers for so long */
    PARTS = 16,
    FOLD = 8, /* outputs at a time */
    FETCH_BYTES = 16 << 10,
    PART_BYTES = 32 << 20 /* of all parts together */
};

/* ---- geometry ------------------------------------------------------------------------------------- */

/* diff_dst^ of all fields. */
static size_t gradient_size(const eqi_gf_pass *p)
{
    return eqi_aligned((size_t)(p->fields_out * p->form->components * p->pitch) * sizeof(float));
}

/* Pixels of one element of diff_dst: whole rows, of which a tile's first and last may be a part. */
static int64_t rows_pitch(const eqi_gf_pass *p)
{
    return p->abreast ? p->pitch : p->pitch + 2 * p->row + p->kernels->lanes;
}

/* Fields of diff_dst that are fetched at a time. */
static int64_t fetch_fields(const eqi_gf_pass *p)
{
    const int64_t bytes = p->form->outputs * rows_pitch(p) * (int64_t)sizeof(float);
    return eqi_larger(1, eqi_smaller(p->fields_out, FETCH_BYTES / bytes));
}

static size_t rows_size(const eqi_gf_pass *p)
{
    return eqi_aligned((size_t)(fetch_fields(p) * p->form->outputs * rows_pitch(p)) *
                       sizeof(float));
}

eqi_gf_weights eqi_gf_weights_of(const eqi_gf_pass *forward)
{
    eqi_gf_weights w = {.pass = *forward};
    eqi_gf_pass *const p = &w.pass;
    p->gradient = true;
    p->threads = 1; /* the order of the sum must not depend on them */
    p->vectors = VECTORS;
    eqi_gf_pass_size(p);
    const int64_t pixels = eqi_gf_pixels(p, p->band);
    const int64_t vectors =
        p->abreast ? p->out_height * p->out_width : eqi_divide_up(pixels, p->kernels->lanes);
    p->vectors = eqi_divide_up(vectors, eqi_divide_up(vectors, VECTORS)); /* even tiles */
    eqi_gf_pass_size(p);
    w.entries = (int64_t)(p->filter_size / sizeof(float));
    w.part = eqi_aligned((size_t)w.entries * sizeof(float)) +
             eqi_aligned((size_t)p->fields_out * sizeof(double));
    w.tasks = eqi_gf_tasks(p);
    const int64_t most = eqi_larger(1, eqi_smaller(PARTS, PART_BYTES / (int64_t)w.part));
    w.part_tasks = eqi_divide_up(eqi_larger(1, w.tasks), most);
    w.parts = eqi_larger(1, eqi_divide_up(w.tasks, w.part_tasks));
    /* Fewer parts than threads: each is shared out by the fields of src. */
    const int64_t shares = eqi_divide_up(forward->threads, w.parts);
    w.shares = eqi_larger(1, eqi_smaller(p->fields_in, shares));
    w.places = eqi_aligned((size_t)(p->taps * p->form->values) * sizeof(int64_t));
    w.slice =
        eqi_aligned(p->planes_size) + eqi_aligned(p->hat_size) + rows_size(p) + gradient_size(p);
    return w;
}

size_t eqi_gf_weights_table_size(const eqi_gf_weights *w)
{
    const eqi_gf_pass *const p = &w->pass;
    return eqi_gf_pass_table_size(p) +
           eqi_aligned((size_t)(p->taps * p->form->values) * sizeof *w->place);
}

void eqi_gf_weights_fill(eqi_gf_weights *w, char *tables)
{
    const eqi_gf_pass *const p = &w->pass;
    eqi_gf_pass_fill(&w->pass, eqi_take(&tables, eqi_gf_pass_table_size(p)));
    w->place = (eqi_pixel *)tables;
    for (int32_t a = 0; a < p->form->values; a++) {
        double phi[EQI_GF_ORDER] = {0}, entries[EQI_GF_COMPONENTS];
        phi[a] = 1;
        eqi_gf_filter(p->kind, phi, entries);
        for (int c = 0; c < p->form->components; c++)
            w->adjoint[a][c] = (float)entries[c];
        for (int64_t v = 0; v < p->taps; v++)
            w->place[v * p->form->values + a] = eqi_move(eqi_motion_of(p->group, a), p->tap[v].at.y,
                                                         p->tap[v].at.x, p->kernel, p->kernel);
    }
}

size_t eqi_gf_weights_scratch(const eqi_gf_weights *w, const eqi_hardware *hardware)
{
    return w->places + (size_t)w->parts * w->part + (size_t)hardware->threads * w->slice;
}

/* ---- one tile -------------------------------------------------------------------------------------- */

typedef struct work {
    const eqi_gf_weights *w;
    eqi_gf_band band;
    float *rows;     /* [fetch_fields][outputs][rows_pitch] of diff_dst */
    float *gradient; /* diff_dst^ of the tile, laid out as dst^ is */
    float *entries;  /* of the part */
    double *bias;
    bool wants_bias;
    int64_t first, end; /* fields of src */
} work;

/* Rows of one image and some fields, one row after the other with zeros between as in the tile. */
static void fetch_rows(const eqi_gf_pass *p, const int64_t *s, const float *from, int64_t fields,
                       int64_t rows, float *to)
{
    const int64_t pitch = rows_pitch(p), elements = p->form->outputs;
    if (s[4] == 1 && s[3] == p->row && p->row == p->out_width) { /* one long row */
        for (int64_t i = 0; i < fields; i++)
            for (int64_t h = 0; h < elements; h++, to += pitch)
                memcpy(to, from + i * s[1] + h * s[2], (size_t)(rows * p->row) * sizeof(float));
        return;
    }
    if (s[4] == 1) {
        const eqi_gf_shift shift = {.fields = fields,
                                    .elements = elements,
                                    .from = from,
                                    .from_field = s[1],
                                    .from_element = s[2],
                                    .from_pitch = s[3],
                                    .step = 1,
                                    .to = to,
                                    .to_field = elements * pitch,
                                    .to_element = pitch,
                                    .rows = rows,
                                    .columns = p->row,
                                    .last = p->out_width};
        p->kernels->shift(&shift);
        return;
    }
    for (int64_t i = 0; i < fields * elements; i++, to += pitch)
        for (int64_t y = 0; y < rows; y++)
            for (int64_t x = 0; x < p->row; x++)
                to[y * p->row + x] =
                    x < p->out_width
                        ? from[i / elements * s[1] + i % elements * s[2] + y * s[3] + x * s[4]]
                        : 0;
}

static void fetch_abreast(const work *k, int64_t o, int64_t fields, const eqi_gf_tile *tile)
{
    const eqi_gf_band *const b = &k->band;
    const eqi_gf_pass *const p = b->pass;
    const int64_t *const s = b->dst->strides;
    const int64_t pitch = rows_pitch(p);
    const eqi_gf_turn t = {.fields = fields,
                           .elements = p->form->outputs,
                           .map = (float *)b->dst->data + b->image * s[0] + o * s[1] +
                                  tile->row * s[3] + tile->column * s[4],
                           .map_field = s[1],
                           .map_element = s[2],
                           .abreast = k->rows,
                           .field = p->form->outputs * pitch,
                           .element = pitch,
                           .rows = tile->rows,
                           .columns = tile->columns};
    eqi_gf_turn_map(p, t, s, false);
}

/* The tile's pixels follow each other in diff_dst too, in whole vectors: it is read where it stands. */
static bool is_in_place(const eqi_gf_band *b, const eqi_gf_tile *tile)
{
    const eqi_gf_pass *const p = b->pass;
    const int64_t *const s = b->dst->strides;
    return !p->abreast && p->images == 1 && p->row == p->out_width && s[4] == 1 && s[3] == p->row &&
           tile->pixels % p->kernels->lanes == 0;
}

/* diff_dst of some fields at the tile's pixels: where in k->rows. Small images are there as a whole. */
static const float *fetch(const work *k, int64_t o, int64_t fields, const eqi_gf_tile *tile)
{
    const int64_t pixel = tile->pixel, pixels = tile->pixels;
    const eqi_gf_band *const b = &k->band;
    const eqi_gf_pass *const p = b->pass;
    const int64_t *const s = b->dst->strides;
    if (p->abreast) {
        fetch_abreast(k, o, fields, tile);
        return k->rows;
    }
    const bool one = p->images == 1;
    const int64_t first = one ? pixel / p->row : 0;
    const int64_t end = one ? eqi_divide_up(pixel + pixels, p->row) : b->rows;
    const float *const from =
        (const float *)b->dst->data + b->image * s[0] + o * s[1] + (b->row + first) * s[3];
    for (int64_t n = 0; n < b->images; n++)
        fetch_rows(p, s, from + n * s[0], fields, end - first,
                   k->rows + n * eqi_gf_pixels(p, b->rows));
    return k->rows + pixel - first * p->row;
}

/* Fields of diff_dst that stand so far apart, their elements too, as those of diff_dst^ from o on. */
static void transform_rows(const work *k, const float *from, int64_t field, int64_t element,
                           int64_t o, int64_t fields, int64_t pixels)
{
    const eqi_gf_pass *const p = k->band.pass;
    int64_t in[EQI_GF_ORDER];
    for (int h = 0; h < p->form->outputs; h++)
        in[h] = h * element;
    eqi_gf_transform t = {.src = from,
                          .field = field,
                          .fields = fields,
                          .taps = 1,
                          .in = in,
                          .to = k->gradient + o * p->pitch,
                          .component = p->fields_out * p->pitch,
                          .pitch = p->pitch,
                          .runs = 1,
                          .pixels = pixels};
    p->kernels->gradient[p->kind](&t);
}

/* diff_dst^ of a tile: the adjoint of the inverse, up to factors that the filter holds. */
static void transform_gradient(const work *k, const eqi_gf_tile *tile)
{
    const eqi_gf_band *const b = &k->band;
    const eqi_gf_pass *const p = b->pass;
    if (is_in_place(b, tile)) {
        const int64_t *const s = b->dst->strides;
        const float *const map =
            (const float *)b->dst->data + b->image * s[0] + b->row * s[3] + tile->pixel;
        transform_rows(k, map, s[1], s[2], 0, p->fields_out, tile->pixels);
        return;
    }
    const int64_t most = fetch_fields(p), element = rows_pitch(p);
    for (int64_t o = 0; o < p->fields_out; o += most) {
        const int64_t fields = eqi_smaller(most, p->fields_out - o);
        transform_rows(k, fetch(k, o, fields, tile), p->form->outputs * element, element, o, fields,
                       tile->pixels);
    }
}

/* The trivial component is the sum over the group: its product with ones. */
static void add_bias(const work *k, int64_t pixels)
{
    enum { TOGETHER = 8 };
    static const int64_t at = 0;
    const eqi_gf_pass *const p = k->band.pass;
    for (int64_t i = 0; i < p->pitch; i++)
        k->rows[i] = 1;
    for (int64_t o = 0; o < p->fields_out; o += TOGETHER) {
        float sums[TOGETHER] = {0};
        const eqi_gf_sums s = {.rows = 1,
                               .columns = eqi_smaller(TOGETHER, p->fields_out - o),
                               .a = k->rows,
                               .b = k->gradient + o * p->pitch,
                               .at = &at,
                               .sums = sums,
                               .pitch = p->pitch,
                               .pixels = pixels};
        p->kernels->sums(&s);
        for (int64_t i = 0; i < s.columns; i++)
            k->bias[o + i] += (double)sums[i];
    }
}

static void add_products(const work *k, const float *rows, int64_t first, int64_t fields,
                         int64_t pixels)
{
    const eqi_gf_pass *const p = k->band.pass;
    eqi_gf_sums s = {.rows = fields * p->taps,
                     .columns = p->fields_out,
                     .at = p->row_at,
                     .pitch = p->pitch,
                     .pixels = pixels};
    for (int i = 0; i < p->form->terms; i++) {
        const eqi_gf_term t = p->form->term[i];
        s.a = rows + t.src * s.rows * p->pitch;
        s.b = k->gradient + t.dst * s.columns * p->pitch;
        s.sums = k->entries + (t.filter * p->fields_in + first) * p->taps * p->fields_out;
        p->kernels->sums(&s);
    }
}

static void add_band(const work *k)
{
    const eqi_gf_pass *const p = k->band.pass;
    for (int64_t first = k->first; first < k->end; first += p->chunk) {
        const int64_t fields = eqi_smaller(p->chunk, k->end - first);
        eqi_gf_fill_planes(&k->band, first, fields);
        eqi_gf_tile tile;
        for (int64_t n = 0; eqi_gf_tile_at(&k->band, n, &tile); n++) {
            transform_gradient(k, &tile);
            if (first == k->first && k->wants_bias)
                add_bias(k, tile.pixels);
            for (int64_t i = 0; i < fields; i += p->part) {
                const int64_t part = eqi_smaller(p->part, fields - i);
                float *const hat = k->band.hat[0];
                eqi_gf_transform t = eqi_gf_transform_of(&k->band, i, part, &tile, hat);
                if (!eqi_gf_is_plain(p))
                    p->kernels->transform[p->kind](&t);
                add_products(k, eqi_gf_rows(&k->band, i, tile.pixel, hat), first + i, part,
                             tile.pixels);
            }
        }
    }
}

/* ---- parts and their sum ----------------------------------------------------------------------------- */

typedef struct job {
    const equinv_context *ctx;
    const eqi_gf_weights *w;
    const equinv_tensor *src, *diff_dst, *diff_psi, *diff_bias;
    int64_t *places; /* [taps][values]: of phi_v(a), floats from the first of psi[o, i] */
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

/* Zeros where the sums of some fields of src, and with the first of them the bias, will be. */
static void clear_share(const job *j, const work *k)
{
    const eqi_gf_pass *const p = &j->w->pass;
    const int64_t field = p->taps * p->fields_out;
    for (int c = 0; c < p->form->components; c++)
        memset(k->entries + (c * p->fields_in + k->first) * field, 0,
               (size_t)((k->end - k->first) * field) * sizeof(float));
    if (k->first == 0)
        memset(k->bias, 0, (size_t)p->fields_out * sizeof(double));
}

/* Task number i: a part, for some fields of src. */
static void run_parts(const void *arg, int64_t first, int64_t count, void *slice)
{
    const job *const j = arg;
    const eqi_gf_pass *const p = &j->w->pass;
    char *memory = slice;
    const int64_t shares = j->w->shares;
    work k = {.w = j->w};
    k.band = (eqi_gf_band){.pass = p, .src = j->src, .dst = j->diff_dst};
    k.band.planes = eqi_take(&memory, p->planes_size);
    k.band.hat[0] = eqi_take(&memory, p->hat_size);
    k.rows = eqi_take(&memory, rows_size(p));
    k.gradient = eqi_take(&memory, gradient_size(p));
    eqi_gf_clear_missing(p, k.band.planes);
    for (int64_t i = first; i < first + count; i++) {
        const int64_t part = i / shares, share = i % shares;
        k.first = share * p->fields_in / shares;
        k.end = (share + 1) * p->fields_in / shares;
        k.wants_bias = j->diff_bias && share == 0;
        k.entries = part_entries(j, part);
        k.bias = part_bias(j, part);
        clear_share(j, &k);
        const int64_t end = eqi_smaller(j->w->tasks, (part + 1) * j->w->part_tasks);
        for (int64_t task = part * j->w->part_tasks; task < end; task++) {
            eqi_gf_band_set(&k.band, task);
            add_band(&k);
        }
    }
}

enum { SUM_AT_A_TIME = 1 << 10 };

/*
 * Of each component the numbers from i SUM_AT_A_TIME on: all parts are added to the first, where phi(a)
 * then replaces component a.
 */
static void sum_parts(void *arg, int64_t i)
{
    const job *const j = arg;
    const eqi_gf_pass *const p = &j->w->pass;
    const int64_t component = j->w->entries / p->form->components, first = i * SUM_AT_A_TIME;
    const int64_t count = eqi_smaller(SUM_AT_A_TIME, component - first);
    float *const sum = part_entries(j, 0) + first;
    for (int c = 0; c < p->form->components; c++)
        for (int64_t part = 1; part < j->w->parts; part++)
            p->kernels->add_part(sum + c * component, part_entries(j, part) + first + c * component,
                                 count);
    const eqi_gf_fold fold = {
        p->form->components, p->form->values, j->w->adjoint, sum, component, count};
    p->kernels->fold(&fold);
}

static void fold_bias(const job *j, int64_t o)
{
    double sum = 0;
    for (int64_t part = 0; part < j->w->parts; part++)
        sum += part_bias(j, part)[o];
    eqi_put(j->diff_bias, o * j->diff_bias->strides[0], sum, j->w->pass.accumulate);
}

/* psi[o .. o + outputs - 1, i] from phi, which outputs have as neighbours. */
static void put_field(const job *j, int64_t o, int64_t outputs, int64_t i)
{
    const eqi_gf_pass *const p = &j->w->pass;
    const int64_t *const strides = j->diff_psi->strides;
    const int64_t component = j->w->entries / p->form->components, values = p->form->values;
    const bool shared = p->elements == 1 && values > 1; /* several phi may be the same psi */
    const bool add = shared || p->accumulate;
    float *const psi = (float *)j->diff_psi->data + o * strides[0] + i * strides[1];
    for (int64_t v = 0; v < p->taps * values && shared && !p->accumulate; v++)
        for (int64_t l = 0; l < outputs; l++)
            psi[j->places[v] + l * strides[0]] = 0;
    for (int64_t v = 0; v < p->taps; v++)
        for (int64_t a = 0; a < values; a++) {
            const float *const phi =
                part_entries(j, 0) + a * component + (i * p->taps + v) * p->fields_out + o;
            float *const to = psi + j->places[v * values + a];
            const float share = (float)p->tap[v].share;
            for (int64_t l = 0; l < outputs; l++)
                to[l * strides[0]] = (add ? to[l * strides[0]] : 0) + share * phi[l];
        }
}

/* Outputs from number task FOLD on. */
static void put_outputs(void *arg, int64_t task)
{
    const job *const j = arg;
    const eqi_gf_pass *const p = &j->w->pass;
    const int64_t o = task * FOLD, outputs = eqi_smaller(FOLD, p->fields_out - o);
    for (int64_t i = 0; i < p->fields_in; i++)
        put_field(j, o, outputs, i);
    for (int64_t l = 0; l < outputs && j->diff_bias; l++)
        fold_bias(j, o + l);
}

void eqi_gf_weights_run(const equinv_context *ctx, const eqi_gf_weights *w,
                        const equinv_tensor *src, const equinv_tensor *diff_dst,
                        const equinv_tensor *diff_psi, const equinv_tensor *diff_bias,
                        void *scratch)
{
    char *memory = scratch;
    int64_t *const places = eqi_take(&memory, w->places);
    job j = {ctx, w, src, diff_dst, diff_psi, diff_bias, places, memory};
    const eqi_gf_pass *const p = &w->pass;
    const int64_t values = p->form->values;
    for (int64_t i = 0; i < p->taps * values; i++)
        places[i] = eqi_offset5(diff_psi, 0, 0, p->elements > 1 ? i % values : 0, w->place[i].y,
                                w->place[i].x);
    const double each =
        (double)w->entries * (double)(p->images * p->band * p->out_width * w->part_tasks);
    eqi_parallel_rows(ctx, w->parts * w->shares, each / (double)w->shares, 1, run_parts, &j,
                      memory + (size_t)w->parts * w->part, w->slice);
    eqi_parallel_if_worth(ctx, eqi_divide_up(w->entries / p->form->components, SUM_AT_A_TIME),
                          (double)w->entries * (double)(w->parts + values), sum_parts, &j);
    eqi_parallel_if_worth(ctx, eqi_divide_up(p->fields_out, FOLD), 4 * (double)w->entries,
                          put_outputs, &j);
}
