/*
 * Kernels of cpu/gemm/conv_turn.h. LANES columns of LANES pixels at a time, what is left by fours: a layer of few
 * outputs leaves no lane idle, and psi of few fields none either.
 *
 * The includer sets BY_TAPS (conv_turn.h) and a header of cpu/simd/.
 */
#include "cpu/gemm/conv_turn.h"
#include "cpu/kernel/turn.h"

enum { LANES = vf32_lanes };

static inline int smaller(int64_t a, int b)
{
    return a < b ? (int)a : b;
}

static inline void put_lanes(float *to, vf32 v, bool accumulate, int count)
{
    if (accumulate)
        v = vf32_add(count == LANES ? vf32_load(to) : vf32_load_part(to, 0, count), v);
    if (count == LANES)
        vf32_store(to, v);
    else
        vf32_store_part(to, v, count);
}

static inline void put(const eqi_conv_turn *t, int64_t column, vf32 v, float *to, int count)
{
    if (t->bias)
        v = vf32_add(v, vf32_broadcast(t->bias[column]));
    put_lanes(to, v, t->accumulate, count);
}

enum { FEW = 2 }; /* pixels that are not worth turning */

static void put_few(const eqi_conv_turn *t, const float *from, int64_t x, int pixels)
{
    for (int r = 0; r < pixels; r++, from += t->pitch, x++)
        for (int64_t c = 0; c < t->columns; c++) {
            float *const to = t->map + t->at[c] + x;
            const float v = t->bias ? from[c] + t->bias[c] : from[c];
            *to = t->accumulate ? *to + v : v;
        }
}

static inline __attribute__((always_inline)) void
put_block(const eqi_conv_turn *t, const float *from, int64_t x, const int pixels)
{
    int64_t c = 0;
    for (; c + LANES <= t->columns; c += LANES) {
        vf32 v[LANES];
        EQI_UNROLL for (int r = 0; r < LANES; r++)
        {
            v[r] = vf32_load(from + r * t->pitch + c);
        }
        turn(v);
        EQI_UNROLL for (int l = 0; l < LANES; l++)
        {
            put(t, c + l, v[l], t->map + t->at[c + l] + x, pixels);
        }
    }
    for (; c < t->columns; c += 4) {
        vf32 v[4];
        vf32_load_turned(from + c, t->pitch, v);
        const int64_t left = t->columns - c;
        put(t, c, v[0], t->map + t->at[c] + x, pixels);
        if (left > 1)
            put(t, c + 1, v[1], t->map + t->at[c + 1] + x, pixels);
        if (left > 2)
            put(t, c + 2, v[2], t->map + t->at[c + 2] + x, pixels);
        if (left > 3)
            put(t, c + 3, v[3], t->map + t->at[c + 3] + x, pixels);
    }
}

static void to_planes(const eqi_conv_turn *t)
{
    for (int64_t x = 0; x < t->pixels; x += LANES) {
        const int pixels = smaller(t->pixels - x, LANES);
        const float *const from = t->matrix + x * t->pitch;
        if (pixels == LANES)
            put_block(t, from, x, LANES);
        else if (pixels > FEW)
            put_block(t, from, x, pixels);
        else
            put_few(t, from, x, pixels);
    }
}

static inline __attribute__((always_inline)) vf32 take(const eqi_conv_turn *t, int64_t column,
                                                       int64_t x, const int count)
{
    const float *const from = t->map + t->at[column] + x;
    return count == LANES ? vf32_load(from) : vf32_load_part(from, 0, count);
}

static void take_few(const eqi_conv_turn *t, float *to, int64_t x, int pixels)
{
    for (int r = 0; r < pixels; r++, to += t->pitch, x++) {
        int64_t c = 0;
        for (; c < t->columns; c++)
            to[c] = t->map[t->at[c] + x];
        for (; c < t->pitch; c++)
            to[c] = 0;
    }
}

static inline __attribute__((always_inline)) void take_block(const eqi_conv_turn *t, float *to,
                                                             int64_t x, const int pixels)
{
    const vf32 zero = vf32_broadcast(0);
    int64_t c = 0;
    for (; c + LANES <= t->columns; c += LANES) {
        vf32 v[LANES];
        EQI_UNROLL for (int l = 0; l < LANES; l++)
        {
            v[l] = take(t, c + l, x, pixels);
        }
        turn(v);
        EQI_UNROLL for (int r = 0; r < LANES; r++)
        {
            vf32_store(to + r * t->pitch + c, v[r]);
        }
    }
    for (; c < t->columns; c += 4) {
        const int64_t left = t->columns - c;
        const vf32 v[4] = {take(t, c, x, pixels), left > 1 ? take(t, c + 1, x, pixels) : zero,
                           left > 2 ? take(t, c + 2, x, pixels) : zero,
                           left > 3 ? take(t, c + 3, x, pixels) : zero};
        vf32_store_turned(to + c, t->pitch, v);
    }
    for (; c < t->pitch; c += 4) {
        const vf32 v[4] = {zero, zero, zero, zero};
        vf32_store_turned(to + c, t->pitch, v);
    }
}

static void to_matrix(const eqi_conv_turn *t)
{
    for (int64_t x = 0; x < t->pixels; x += LANES) {
        const int pixels = smaller(t->pixels - x, LANES);
        float *const to = t->matrix + x * t->pitch;
        if (pixels == LANES)
            take_block(t, to, x, LANES);
        else if (pixels > FEW)
            take_block(t, to, x, pixels);
        else
            take_few(t, to, x, pixels);
    }
}

/* One row: written out for each order and one part, which is what small layers have. */
static inline __attribute__((always_inline)) void fold_row(const eqi_conv_fold *f,
                                                           const float *bank, const int64_t *entry,
                                                           const int order, float *to)
{
    for (int64_t o = 0; o < f->fields; o += LANES) {
        const float *const from = bank + o;
        vf32 sum = vf32_load(from + entry[0]);
        EQI_UNROLL for (int u = 1; u < order; u++)
        {
            sum = vf32_add(sum, vf32_load(from + entry[u]));
        }
        for (int64_t p = 1; p < f->count; p++)
            EQI_UNROLL for (int u = 0; u < order; u++)
            {
                sum = vf32_add(sum, vf32_load(from + p * f->part + entry[u]));
            }
        vf32_store(to + o, sum);
    }
}

static inline __attribute__((always_inline)) void fold_rows(const eqi_conv_fold *f, const int order)
{
    const float *bank = (const float *)f->parts + f->first / f->period * f->step;
    const int64_t *entry = f->entry + f->first % f->period * order;
    const int64_t *const end = f->entry + f->period * order;
    float *to = f->to;
    for (int64_t row = 0; row < f->rows; row++, to += f->pitch) {
        fold_row(f, bank, entry, order, to);
        entry += order;
        if (entry == end) {
            entry = f->entry;
            bank += f->step;
        }
    }
}

static void fold(const eqi_conv_fold *f)
{
    switch (f->order) {
    case 1: fold_rows(f, 1); break;
    case 2: fold_rows(f, 2); break;
    case 4: fold_rows(f, 4); break;
    default: fold_rows(f, 8);
    }
}

/* Windows of one row of pixels, from each t_y that has them; their columns. */
typedef struct share_row {
    const float *from[EQI_CONV_TAPS];
    int64_t rows;
    const eqi_conv_residue *columns;
} share_row;

/* Pixels of one residue, from number i of them on. */
static inline vf32 shares_of(const eqi_conv_shares *s, const share_row *r, int64_t i)
{
    vf32 sum = vf32_broadcast(s->bias);
    for (int64_t c = 0; c < r->columns->taps; c++) {
        const int64_t window = i + r->columns->window[c];
        const int64_t at = r->columns->tap[c] * s->pitch + window;
        const int first = window < 0 ? smaller(-window, LANES) : 0;
        const int last = window < s->across ? smaller(s->across - window, LANES) : 0;
        if (last - first == LANES)
            for (int64_t y = 0; y < r->rows; y++)
                sum = vf32_add(sum, vf32_load(r->from[y] + at));
        else if (first < last) {
            const vf32_part part = vf32_part_of(first, last);
            for (int64_t y = 0; y < r->rows; y++)
                sum = vf32_add(sum, vf32_load_lanes(r->from[y] + at, part));
        }
    }
    return sum;
}

static inline void put_pixels(const eqi_conv_shares *s, vf32 v, float *to, int count)
{
    const int64_t step = s->stride * s->pixel;
    if (step == 1) {
        put_lanes(to, v, s->accumulate, count);
        return;
    }
    float lane[LANES];
    vf32_store(lane, v);
    for (int l = 0; l < count; l++)
        to[l * step] = s->accumulate ? to[l * step] + lane[l] : lane[l];
}

static void add_row(const eqi_conv_shares *s, const share_row *r, int64_t pixels, float *to)
{
    for (int64_t i = 0; i < pixels; i += LANES)
        put_pixels(s, shares_of(s, r, i), to + i * s->stride * s->pixel,
                   smaller(pixels - i, LANES));
}

static void add_shares(const eqi_conv_shares *s)
{
    for (int64_t x = 0; x < s->stride && x < s->width; x++) {
        const int64_t pixels = (s->width - x + s->stride - 1) / s->stride;
        int64_t residue = s->y % s->stride, i = s->y / s->stride - s->first;
        float *to = s->map + x * s->pixel;
        for (int64_t y = 0; y < s->rows; y++, to += s->row) {
            const eqi_conv_residue *const rows = &s->residue[residue];
            share_row r;
            r.rows = 0;
            r.columns = &s->residue[x];
            for (int64_t t = 0; t < rows->taps; t++) {
                const int64_t window = rows->window[t] + i;
                if (window >= 0 && window < s->windows)
                    r.from[r.rows++] =
                        s->shares + rows->tap[t] * s->kernel * s->pitch + window * s->across;
            }
            add_row(s, &r, pixels, to);
            if (++residue == s->stride)
                residue = 0, i++;
        }
    }
}

#define PASTE_(a, b) a##b
#define PASTE(a, b) PASTE_(a, b)
const eqi_conv_kernels PASTE(eqi_conv_, EQI_LEVEL) = {BY_TAPS, to_planes, to_matrix, fold,
                                                      add_shares};
