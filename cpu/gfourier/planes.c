/* What a band of an image is made of: the copies of its planes, and their transform. */
#include <string.h>

#include "pass.h"

static int64_t wrapped(int64_t at, int64_t size)
{
    const int64_t rest = at % size;
    return rest < 0 ? rest + size : rest;
}

/* a / b rounded up, from 0 to `most`; where that is plain, without dividing. */
static int64_t steps_to(int64_t a, int64_t b, int64_t most)
{
    return a <= 0 ? 0 : a > (most - 1) * b ? most : eqi_divide_up(a, b);
}

/* Some planes of an image: `elements` of each of `fields` fields of the map. */
typedef struct plane_set {
    float *from; /* the first of them */
    int64_t fields, elements;
    float *to;
    int64_t to_field, to_element; /* floats */
} plane_set;

eqi_gf_shift eqi_gf_shift_of(const equinv_tensor *map, const float *from, const eqi_gf_part *part)
{
    const int64_t step = part->step, pitch = map->strides[3];
    const int64_t above = steps_to(-part->top, step, part->rows);
    const int64_t end = eqi_larger(above, steps_to(map->shape[3] - part->top, step, part->rows));
    return (eqi_gf_shift){.from = from + (part->top + above * step) * pitch + part->left,
                          .from_field = map->strides[1],
                          .from_element = map->strides[2],
                          .from_pitch = step * pitch,
                          .step = step,
                          .rows = end - above,
                          .columns = part->columns,
                          .first = steps_to(-part->left, step, part->columns),
                          .last = steps_to(map->shape[4] - part->left, step, part->columns),
                          .above = above * part->columns,
                          .behind = (part->rows - end) * part->columns};
}

/* A copy of each, straight from src, where its pixels are neighbours. */
static void shift_planes(const eqi_gf_band *b, const plane_set *of, const eqi_gf_copy *c,
                         int64_t rows)
{
    const eqi_gf_pass *const p = b->pass;
    const eqi_gf_part part = {.top = b->row * p->stride + c->row - p->rows.padding,
                              .left = c->column - p->columns.padding,
                              .rows = rows,
                              .columns = p->row,
                              .step = p->stride};
    eqi_gf_shift s = eqi_gf_shift_of(b->src, of->from, &part);
    s.fields = of->fields;
    s.elements = of->elements;
    s.to = of->to + c->start;
    s.to_field = of->to_field;
    s.to_element = of->to_element;
    s.behind += p->tail;
    p->kernels->shift(&s);
}

/* Any strides, and images that repeat. */
static void gather_plane(const eqi_gf_band *b, const float *plane, const eqi_gf_copy *c,
                         int64_t rows, float *to)
{
    const eqi_gf_pass *const p = b->pass;
    const int64_t *const s = b->src->strides;
    for (int64_t y = 0; y < rows; y++) {
        int64_t from_y = (b->row + y) * p->stride + c->row - p->rows.padding;
        if (p->circular)
            from_y = wrapped(from_y, p->height);
        const bool row_inside = from_y >= 0 && from_y < p->height;
        for (int64_t x = 0; x < p->row; x++) {
            int64_t from_x = x * p->stride + c->column - p->columns.padding;
            if (p->circular)
                from_x = wrapped(from_x, p->width);
            const bool inside = row_inside && from_x >= 0 && from_x < p->width;
            to[y * p->row + x] = inside ? plane[from_y * s[3] + from_x * s[4]] : 0;
        }
    }
    memset(to + rows * p->row, 0, (size_t)p->tail * sizeof(float));
}

int64_t eqi_gf_tasks(const eqi_gf_pass *p)
{
    return (p->batch + p->images - 1) / p->images * p->bands;
}

void eqi_gf_band_set(eqi_gf_band *b, int64_t task)
{
    const eqi_gf_pass *const p = b->pass;
    b->image = task / p->bands * p->images;
    b->images = eqi_smaller(p->images, p->batch - b->image);
    b->row = task % p->bands * p->band;
    b->rows = eqi_smaller(p->band, p->out_height - b->row);
}

static void gather_planes(const eqi_gf_band *b, const plane_set *of, const eqi_gf_copy *c,
                          int64_t rows)
{
    const int64_t *const s = b->src->strides;
    for (int64_t i = 0; i < of->fields; i++)
        for (int64_t h = 0; h < of->elements; h++)
            gather_plane(b, of->from + i * s[1] + h * s[2], c, rows,
                         of->to + i * of->to_field + h * of->to_element + c->start);
}

/* Lane by lane, where the map's pixels are no neighbours. */
static void turn_scattered(const eqi_gf_pass *p, const eqi_gf_turn *t, int64_t step, bool apart)
{
    for (int64_t i = 0; i < t->fields * t->elements * t->rows * t->columns; i++) {
        const int64_t x = i % t->columns, y = i / t->columns % t->rows;
        const int64_t plane = i / t->columns / t->rows;
        const int64_t h = plane % t->elements, field = plane / t->elements;
        const int64_t pixel = y * t->columns + x;
        float *const map =
            t->map + field * t->map_field + h * t->map_element + y * t->row + x * step;
        float *const lane = t->abreast + field * t->field + h * t->element +
                            (t->place ? t->place[pixel] : pixel * p->pixel);
        for (int64_t l = 0; l < p->pixel; l++)
            if (!apart)
                lane[l] = map[l * t->image];
            else
                map[l * t->image] = t->accumulate ? map[l * t->image] + lane[l] : lane[l];
    }
}

void eqi_gf_turn_map(const eqi_gf_pass *p, eqi_gf_turn t, const int64_t *strides, bool apart)
{
    t.image = strides[0];
    t.row = strides[3];
    if (strides[4] != 1 && t.columns > 1) {
        turn_scattered(p, &t, strides[4], apart);
        return;
    }
    if (t.row == t.columns) {
        t.columns *= t.rows;
        t.rows = 1;
    }
    (apart ? p->kernels->apart : p->kernels->abreast)(&t);
}

static void fill_abreast(const eqi_gf_band *b, const plane_set *of)
{
    const eqi_gf_pass *const p = b->pass;
    const int64_t *const s = b->src->strides;
    const eqi_gf_turn t = {.fields = of->fields,
                           .elements = of->elements,
                           .map = of->from,
                           .map_field = s[1],
                           .map_element = s[2],
                           .abreast = of->to,
                           .field = of->to_field,
                           .element = of->to_element,
                           .rows = p->height,
                           .columns = p->width,
                           .place = p->place};
    eqi_gf_turn_map(p, t, s, false);
}

static void fill_copies(const eqi_gf_band *b, plane_set of)
{
    const eqi_gf_pass *const p = b->pass;
    const int64_t *const s = b->src->strides;
    if (p->abreast) {
        fill_abreast(b, &of);
        return;
    }
    const bool shifts = !p->circular && (s[4] == 1 || p->width == 1);
    for (int64_t n = 0; n < b->images; n++, of.from += s[0], of.to += p->run)
        for (int64_t k = 0; k < p->copies; k++) {
            const eqi_gf_copy *const c = &p->copy[k];
            const int64_t rows = c->rows - (p->band - b->rows);
            (shifts ? shift_planes : gather_planes)(b, &of, c, rows);
        }
}

void eqi_gf_fill_planes(const eqi_gf_band *b, int64_t first, int64_t fields)
{
    const eqi_gf_pass *const p = b->pass;
    const int64_t *const s = b->src->strides;
    float *const image = (float *)b->src->data + b->image * s[0];
    float *to = b->planes;
    if (p->split_in == 1) {
        fill_copies(
            b, (plane_set){image + first * s[1], fields, p->elements, to, p->field, p->element});
        return;
    }
    for (int64_t i = first, some; i < first + fields; i += some, to += some * p->field) {
        const int64_t element = i % p->split_in, left = first + fields - i;
        some = eqi_smaller(left, p->split_in - element);
        if (element == 0 && left >= p->split_in)
            some = left / p->split_in * p->split_in;
        const int64_t whole = eqi_larger(1, some / p->split_in);
        fill_copies(b, (plane_set){image + i / p->split_in * s[1] + element * s[2], whole,
                                   some / whole, to, p->split_in * p->field, p->field});
    }
}

void eqi_gf_clear_missing(const eqi_gf_pass *p, float *planes)
{
    const int64_t held = p->elements * p->element;
    if (p->abreast && !p->misses && p->run == p->height * p->width)
        return;
    if (p->abreast) {
        memset(planes, 0, (size_t)(p->chunk * p->field) * sizeof(float));
        return;
    }
    for (int64_t i = 0; i < p->chunk && p->field > held; i++)
        memset(planes + i * p->field + held, 0, (size_t)p->element * sizeof(float));
}

bool eqi_gf_tile_at(const eqi_gf_band *b, int64_t i, eqi_gf_tile *t)
{
    const eqi_gf_pass *const p = b->pass;
    *t = (eqi_gf_tile){.number = i};
    if (!p->abreast) {
        const int64_t pixels = b->images * eqi_gf_pixels(p, b->rows);
        t->pixel = i * p->pitch;
        t->pixels = eqi_smaller(p->pitch, pixels - t->pixel);
        t->runs = p->images == 1 ? 1 : b->images;
        t->run = p->run;
        return t->pixel < pixels;
    }
    const int64_t across = eqi_divide_up(p->out_width, p->tile_columns);
    t->row = i / across * p->tile_rows;
    t->column = i % across * p->tile_columns;
    t->rows = eqi_smaller(p->tile_rows, b->rows - t->row);
    t->columns = eqi_smaller(p->tile_columns, p->out_width - t->column);
    t->pixel = (t->row * p->row + t->column) * p->pixel;
    t->pixels = t->rows * t->columns * p->pixel;
    t->runs = t->rows;
    t->run = p->row * p->pixel;
    return t->row < b->rows;
}

eqi_gf_transform eqi_gf_transform_of(const eqi_gf_band *b, int64_t first, int64_t fields,
                                     const eqi_gf_tile *tile, float *hat)
{
    const eqi_gf_pass *const p = b->pass;
    eqi_gf_transform t = {.src = b->planes + first * p->field + tile->pixel,
                          .field = p->field,
                          .fields = fields,
                          .taps = p->taps,
                          .in = p->in,
                          .to = hat,
                          .component = fields * p->taps * p->pitch,
                          .pitch = p->pitch,
                          .runs = tile->runs,
                          .run = tile->run};
    t.pixels = tile->pixels / t.runs;
    return t;
}

bool eqi_gf_is_plain(const eqi_gf_pass *p)
{
    return p->kind == EQI_GF_ONE && (p->images == 1 || p->abreast);
}

const float *eqi_gf_rows(const eqi_gf_band *b, int64_t first, int64_t pixel, const float *hat)
{
    return eqi_gf_is_plain(b->pass) ? b->planes + first * b->pass->field + pixel : hat;
}
