/* Convolution by products: the geometry of a pass, its tables of offsets, and a tile at work. */
#include "conv.h"
#include "conv_tile.h"
#include "gemm.h"
#include "internal/rows.h"

enum { TILE_PIXELS = 512 };

/* ---- geometry ------------------------------------------------------------------------------------ */

/* Buffer rows between the first of `count` positions and the last row that their patches read. */
static int64_t span(const eqi_conv_side *s, int64_t count)
{
    return eqi_divide_up(count - 1, s->step) * s->move + s->reach + 1;
}

/* Row of the map where the patches of position y, counted from the first one, begin; and so for columns. */
static int64_t first_read(const eqi_conv_side *s, int64_t y)
{
    return (s->first + y) / s->step * s->move - s->margin;
}

/* Tiles of about TILE_PIXELS positions, smaller where there would not be enough for all threads. */
static void choose_tile(const eqi_conv_problem *p, const eqi_hardware *hardware, eqi_conv_side *s)
{
    const int64_t image = s->rows * s->columns;
    const int64_t share = eqi_smaller(p->desc.batch, 1 << 20) * eqi_smaller(image, 1 << 20) /
                          (4 * (int64_t)hardware->threads);
    const int64_t by_outputs = eqi_larger(48, (64 << 10) / s->matrix_pitch);
    const int64_t goal = eqi_larger(64, eqi_smaller(share, eqi_smaller(TILE_PIXELS, by_outputs)));
    if (s->wrap_out || image <= 2 * goal) {
        s->band = s->rows;
        s->images = eqi_larger(1, eqi_smaller(goal / image, p->desc.batch));
    } else {
        s->images = 1;
        s->band = eqi_smaller(s->rows,
                              eqi_divide_up(eqi_larger(1, goal / s->columns), s->step) * s->step);
    }
    s->buffer_rows = span(s, s->band);
    s->buffer_columns = span(s, s->columns);
}

/* What follows from the maps that are read and written. */
static void complete(const eqi_conv_problem *p, const eqi_hardware *hardware, eqi_conv_side *s)
{
    const equinv_conv_desc *const d = &p->desc;
    const int64_t line = EQI_ALIGNMENT / (int64_t)equinv_dtype_size(d->dtype);
    s->kernels = eqi_conv_kernels_of(hardware);
    s->copies = eqi_gf_kernels_of(hardware);
    s->group_channels = s->channels / d->channel_groups;
    s->group_outputs = s->outputs / d->channel_groups;
    s->patch = s->group_channels * d->kernel * d->kernel;
    s->matrix_pitch = eqi_divide_up(s->outputs, line) * line;
    s->pitch = d->channel_groups == 1 ? s->matrix_pitch : s->group_outputs;
    choose_tile(p, hardware, s);
    const int64_t before = first_read(s, 0);
    s->inside = before >= 0 && before + s->buffer_columns <= s->width &&
                before + span(s, s->rows) <= s->height;
    if (s->inside)
        s->buffer_columns = s->width;
}

eqi_conv_side eqi_conv_forward_side(const eqi_conv_problem *p, const eqi_hardware *hardware)
{
    const equinv_conv_desc *const d = &p->desc;
    eqi_conv_side s = {
        .channels = d->fields_in * p->elements_in,
        .elements = p->elements_in,
        .height = d->height,
        .width = d->width,
        .outputs = d->fields_out * p->elements_out,
        .output_elements = p->elements_out,
        .rows = p->out_height,
        .columns = p->out_width,
        .step = 1,
        .move = d->stride,
        .margin = d->padding,
        .reach = d->dilation * (d->kernel - 1),
        .wrap_in = d->padding_mode == EQUINV_PAD_CIRCULAR,
    };
    complete(p, hardware, &s);
    return s;
}

eqi_conv_side eqi_conv_backward_side(const eqi_conv_problem *p, const eqi_hardware *hardware)
{
    const equinv_conv_desc *const d = &p->desc;
    const bool circular = d->padding_mode == EQUINV_PAD_CIRCULAR;
    const int64_t margin = d->dilation * (d->kernel - 1) / d->stride;
    eqi_conv_side s = {
        .backward = true,
        .channels = d->fields_out * p->elements_out,
        .elements = p->elements_out,
        .height = p->out_height,
        .width = p->out_width,
        .outputs = d->fields_in * p->elements_in,
        .output_elements = p->elements_in,
        .first = circular ? 0 : d->padding,
        .rows = d->height + (circular ? 2 * d->padding : 0),
        .columns = d->width + (circular ? 2 * d->padding : 0),
        .step = d->stride,
        .move = 1,
        .margin = margin,
        .reach = margin,
        .origin = d->padding,
        .wrap_out = circular,
    };
    complete(p, hardware, &s);
    return s;
}

/* ---- classes ------------------------------------------------------------------------------------- */

/* On one axis. */
static int64_t class_count(const eqi_conv_side *s, int64_t size)
{
    return eqi_smaller(s->step, size);
}

static int64_t class_taps(const eqi_conv_side *s, const equinv_conv_desc *d, int64_t delta)
{
    int64_t count = 0;
    for (int64_t t = 0; t < d->kernel; t++)
        count += eqi_conv_class_has_tap(s, d, delta, t);
    return count;
}

bool eqi_conv_next_class(const eqi_conv_side *s, const equinv_conv_desc *d, eqi_conv_class *c)
{
    if (c->taps < 0) { /* the first */
        *c = (eqi_conv_class){.dy = 0};
    } else {
        c->pixel += s->images * eqi_conv_class_positions(s, c->dy, s->band) *
                    eqi_conv_class_positions(s, c->dx, s->columns);
        c->tap += c->taps;
        if (++c->dx == class_count(s, s->columns)) {
            c->dx = 0;
            c->dy++;
        }
    }
    c->taps_y = class_taps(s, d, c->dy);
    c->taps_x = class_taps(s, d, c->dx);
    c->taps = s->group_channels * c->taps_y * c->taps_x;
    return c->dy < class_count(s, s->band);
}

/* ---- tables of offsets --------------------------------------------------------------------------- */

/* Buffer row that a tap adds to its position's own. */
static int64_t tap_offset(const eqi_conv_side *s, const equinv_conv_desc *d, int64_t t)
{
    return s->backward ? s->margin - d->dilation * t / s->step : d->dilation * t;
}

int64_t eqi_conv_side_entries(const eqi_conv_side *s)
{
    return 2 * s->images * s->band * s->columns + s->patch;
}

static void fill_pixels(const eqi_conv_side *s, const eqi_conv_class *c)
{
    int64_t *at = s->pixels + c->pixel, *place = s->places + c->pixel;
    for (int64_t n = 0; n < s->images; n++)
        for (int64_t i = 0; i < eqi_conv_class_positions(s, c->dy, s->band); i++)
            for (int64_t j = 0; j < eqi_conv_class_positions(s, c->dx, s->columns); j++) {
                /* Counted from the buffer row of the tile's first position. */
                const int64_t y = (s->first % s->step + c->dy) / s->step + i;
                const int64_t x = (s->first % s->step + c->dx) / s->step + j;
                *at++ = n * s->channels * eqi_conv_plane(s) + y * s->move * s->buffer_columns +
                        x * s->move;
                *place++ =
                    ((n * s->band + c->dy + i * s->step) * s->columns + c->dx + j * s->step) *
                    s->matrix_pitch;
            }
}

static void fill_taps(const eqi_conv_side *s, const equinv_conv_desc *d, const eqi_conv_class *c)
{
    int64_t *at = s->taps + c->tap;
    for (int64_t channel = 0; channel < s->group_channels; channel++)
        for (int64_t ty = 0; ty < d->kernel; ty++)
            for (int64_t tx = 0; tx < d->kernel && eqi_conv_class_has_tap(s, d, c->dy, ty); tx++)
                if (eqi_conv_class_has_tap(s, d, c->dx, tx))
                    *at++ = channel * eqi_conv_plane(s) + tap_offset(s, d, ty) * s->buffer_columns +
                            tap_offset(s, d, tx);
}

void eqi_conv_side_fill(eqi_conv_side *s, const equinv_conv_desc *d, int64_t *table)
{
    s->pixels = table;
    s->places = s->pixels + s->images * s->band * s->columns;
    s->taps = s->places + s->images * s->band * s->columns;
    for (eqi_conv_class c = eqi_conv_before_first; eqi_conv_next_class(s, d, &c);) {
        fill_pixels(s, &c);
        fill_taps(s, d, &c);
    }
}

/* ---- columns --------------------------------------------------------------------------------------- */

size_t eqi_conv_columns_size(const eqi_conv_side *s, equinv_dtype dtype)
{
    return eqi_aligned((size_t)s->outputs * (sizeof(int64_t) + equinv_dtype_size(dtype)));
}

eqi_conv_columns eqi_conv_columns_in(const eqi_conv_side *s, const equinv_tensor *map,
                                     const equinv_tensor *bias, char *memory)
{
    const int64_t elements = s->output_elements, fields = s->group_outputs / elements;
    const eqi_conv_columns c = {.at = (int64_t *)memory,
                                .bias = bias ? (int64_t *)memory + s->outputs : NULL};
    int64_t *at = c.at;
    for (int64_t first = 0; first < map->shape[1]; first += fields)
        for (int64_t g = 0; g < elements; g++)
            for (int64_t o = first; o < first + fields; o++) {
                const int64_t column = at - c.at;
                if (bias && map->dtype == EQUINV_F32)
                    ((float *)c.bias)[column] = ((const float *)bias->data)[o * bias->strides[0]];
                else if (bias)
                    ((double *)c.bias)[column] = ((const double *)bias->data)[o * bias->strides[0]];
                *at++ = o * map->strides[1] + g * map->strides[2];
            }
    return c;
}

/* ---- a tile -------------------------------------------------------------------------------------- */

static size_t buffer_size(const eqi_conv_side *s, equinv_dtype dtype)
{
    return (size_t)(s->images * s->channels * eqi_conv_plane(s)) * equinv_dtype_size(dtype);
}

static size_t matrix_size(const eqi_conv_side *s, equinv_dtype dtype)
{
    return (size_t)((s->images * s->band * s->columns + EQI_CONV_TURNED) * s->matrix_pitch) *
           equinv_dtype_size(dtype);
}

size_t eqi_conv_lane_size(const eqi_conv_side *s, equinv_dtype dtype)
{
    return EQI_GEMM_WORKSPACE + eqi_aligned(buffer_size(s, dtype)) +
           eqi_aligned(matrix_size(s, dtype));
}

eqi_conv_lane eqi_conv_lane_of(const eqi_conv_side *s, equinv_dtype dtype, char *memory)
{
    eqi_conv_lane l;
    l.workspace = eqi_take(&memory, EQI_GEMM_WORKSPACE);
    l.buffer = eqi_take(&memory, buffer_size(s, dtype));
    l.matrix = eqi_take(&memory, matrix_size(s, dtype));
    return l;
}

const void *eqi_conv_fetch_tile(const eqi_conv_side *s, const equinv_tensor *map,
                                const eqi_conv_tile *t, void *buffer)
{
    eqi_conv_border border = {
        .image = t->image,
        .images = t->images,
        .top = first_read(s, t->y),
        .left = first_read(s, 0),
        .rows = span(s, t->rows),
        .columns = s->buffer_columns,
        .wrap = s->wrap_in,
        .channel_step = eqi_conv_plane(s),
    };
    if (!s->inside) {
        eqi_conv_fetch(map, &border, s->copies, buffer);
        return buffer;
    }
    const int64_t left = border.left;
    border.left = 0;
    if (eqi_is_dense(map, s->images > 1 ? 0 : 1))
        return eqi_conv_element(map->data, map->dtype,
                                border.image * map->strides[0] + border.top * s->width + left);
    eqi_conv_fetch(map, &border, s->copies, buffer);
    return eqi_conv_element(buffer, map->dtype, left);
}
