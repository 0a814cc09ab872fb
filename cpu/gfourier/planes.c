/* What a band of an image is made of: its planes with borders, their copies, their transform. */
#include <string.h>

#include "pass.h"

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t wrapped(int64_t at, int64_t size)
{
    const int64_t rest = at % size;
    return rest < 0 ? rest + size : rest;
}

/* The part of a source plane that the band reads, with its border. */
static void fill_border(const eqi_gf_band *b, int64_t field, int64_t element)
{
    const eqi_gf_pass *const p = b->pass;
    const int64_t *const s = b->src->strides;
    const float *const plane =
        (const float *)b->src->data + b->image * s[0] + field * s[1] + element * s[2];
    const int64_t top = b->row * p->stride - p->padding;
    const int64_t rows = p->stride * (b->rows - 1) + p->dilation * (p->kernel - 1) + 1;
    const int64_t columns = p->border_columns;
    if (p->circular || s[4] != 1 || s[3] < p->width) {
        for (int64_t y = 0; y < rows; y++)
            for (int64_t x = 0; x < columns; x++) {
                int64_t from_y = top + y, from_x = x - p->padding;
                if (p->circular) {
                    from_y = wrapped(from_y, p->height);
                    from_x = wrapped(from_x, p->width);
                }
                const bool inside =
                    from_y >= 0 && from_y < p->height && from_x >= 0 && from_x < p->width;
                b->border[y * columns + x] = inside ? plane[from_y * s[3] + from_x * s[4]] : 0;
            }
        return;
    }
    const int64_t first = larger(0, -top), last = smaller(rows, p->height - top);
    const int64_t left = smaller(columns, larger(0, p->padding));
    const int64_t right = larger(left, smaller(columns, p->width + p->padding));
    if (last <= first) {
        memset(b->border, 0, (size_t)(rows * columns) * sizeof(float));
        return;
    }
    memset(b->border, 0, (size_t)(first * columns) * sizeof(float));
    p->kernels->copy_rows(plane + (top + first) * s[3] + left - p->padding, s[3],
                          plane + (p->height - 1) * s[3] + p->width,
                          b->border + first * columns + left, columns, last - first, right - left);
    for (int64_t y = first; y < last; y++) {
        float *const row = b->border + y * columns;
        for (int64_t x = 0; x < left; x++)
            row[x] = 0;
        for (int64_t x = right; x < columns; x++)
            row[x] = 0;
    }
    memset(b->border + last * columns, 0, (size_t)((rows - last) * columns) * sizeof(float));
}

void eqi_gf_fill_planes(const eqi_gf_band *b, int64_t first, int64_t fields)
{
    const eqi_gf_pass *const p = b->pass;
    const float *const end = b->border + p->border_size / sizeof(float);
    for (int64_t i = 0; i < fields; i++)
        for (int64_t h = 0; h < p->elements; h++) {
            float *const planes = b->planes + (i * p->elements + h) * p->element;
            fill_border(b, first + i, h);
            for (int64_t k = 0; k < p->copies; k++) {
                const eqi_gf_copy *const c = &p->copy[k];
                const int64_t rows = c->rows - (p->band - b->rows);
                const float *const from = b->border + c->row * p->border_columns + c->column;
                float *const to = planes + c->start;
                if (p->stride == 1) {
                    p->kernels->copy_rows(from, p->border_columns, end, to, p->out_width, rows,
                                          p->out_width);
                    continue;
                }
                for (int64_t y = 0; y < rows; y++)
                    for (int64_t x = 0; x < p->out_width; x++)
                        to[y * p->out_width + x] =
                            from[y * p->stride * p->border_columns + x * p->stride];
            }
        }
}

/* Where the components of `fields` rows stand; returns the floats of all. */
int64_t eqi_gf_places(const eqi_gf_pass *p, int64_t fields, int64_t *base, int64_t *step)
{
    int64_t start = 0;
    int c = 0;
    for (int b = 0; b < p->form->blocks; b++) {
        const int size = p->form->block[b].size;
        for (int outer = 0; outer < p->form->block[b].outer; outer++) {
            for (int j = 0; j < size; j++, c++) {
                base[c] = start + j * p->pitch;
                step[c] = size * p->pitch;
            }
            start += fields * size * p->pitch;
        }
    }
    return start;
}

void eqi_gf_transform_tile(const eqi_gf_band *b, int64_t first, int64_t fields, int64_t pixel,
                           int64_t vectors)
{
    const eqi_gf_pass *const p = b->pass;
    eqi_gf_transform t = {.src = b->planes + first * p->elements * p->element + pixel,
                          .field = p->elements * p->element,
                          .fields = fields,
                          .taps = p->taps,
                          .in = p->in,
                          .out = b->hat,
                          .vectors = vectors};
    eqi_gf_places(p, fields * p->taps, t.base, t.step);
    p->kernels->transform[p->kind](&t);
}
