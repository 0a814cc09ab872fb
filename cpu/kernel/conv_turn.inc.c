/*
 * Kernels of cpu/gemm/conv_turn.h. Four columns of LANES pixels at a time: a layer of few outputs leaves no lane
 * idle, and psi of few fields none either.
 *
 * The includer sets a header of cpu/simd/.
 */
#include "cpu/gemm/conv_turn.h"

enum { LANES = vf32_lanes };

static inline int smaller(int64_t a, int b)
{
    return a < b ? (int)a : b;
}

static inline void put(const eqi_conv_turn *t, int64_t column, vf32 v, float *to, int count)
{
    if (t->bias)
        v = vf32_add(v, vf32_broadcast(t->bias[column]));
    if (t->accumulate)
        v = vf32_add(count == LANES ? vf32_load(to) : vf32_load_part(to, 0, count), v);
    if (count == LANES)
        vf32_store(to, v);
    else
        vf32_store_part(to, v, count);
}

static void to_planes(const eqi_conv_turn *t)
{
    for (int64_t x = 0; x < t->pixels; x += LANES) {
        const int pixels = smaller(t->pixels - x, LANES);
        const float *const from = t->matrix + x * t->pitch;
        for (int64_t c = 0; c < t->columns; c += 4) {
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
}

static inline vf32 take(const eqi_conv_turn *t, int64_t column, int64_t x, int count)
{
    if (column >= t->columns)
        return vf32_broadcast(0);
    const float *const from = t->map + t->at[column] + x;
    return count == LANES ? vf32_load(from) : vf32_load_part(from, 0, count);
}

static void to_matrix(const eqi_conv_turn *t)
{
    for (int64_t x = 0; x < t->pixels; x += LANES) {
        const int pixels = smaller(t->pixels - x, LANES);
        float *const to = t->matrix + x * t->pitch;
        for (int64_t c = 0; c < t->pitch; c += 4) {
            const vf32 v[4] = {take(t, c, x, pixels), take(t, c + 1, x, pixels),
                               take(t, c + 2, x, pixels), take(t, c + 3, x, pixels)};
            vf32_store_turned(to + c, t->pitch, v);
        }
    }
}

static void fold(const eqi_conv_fold *f)
{
    const float *bank = (const float *)f->parts + f->first / f->period * f->step;
    const int64_t *entry = f->entry + f->first % f->period * f->order;
    const int64_t *const end = f->entry + f->period * f->order;
    float *to = f->to;
    for (int64_t row = 0; row < f->rows; row++, to += f->pitch) {
        for (int64_t o = 0; o < f->fields; o += LANES) {
            vf32 sum = vf32_broadcast(0);
            for (int64_t u = 0; u < f->order; u++) {
                const float *from = bank + entry[u] + o;
                for (int64_t p = 0; p < f->count; p++, from += f->part)
                    sum = vf32_add(sum, vf32_load(from));
            }
            vf32_store(to + o, sum);
        }
        entry += f->order;
        if (entry == end) {
            entry = f->entry;
            bank += f->step;
        }
    }
}

#define PASTE_(a, b) a##b
#define PASTE(a, b) PASTE_(a, b)
const eqi_conv_kernels PASTE(eqi_conv_, EQI_LEVEL) = {to_planes, to_matrix, fold};
