#include "conv_tile.h"
#include "cpu/simd/scalar.h"

#include <string.h>

static int64_t modulo(int64_t a, int64_t size)
{
    const int64_t rest = a % size;
    return rest < 0 ? rest + size : rest;
}

static int64_t clamp(int64_t a, int64_t low, int64_t high)
{
    return a < low ? low : a > high ? high : a;
}

static int64_t offset_of(const equinv_tensor *map, int64_t image, int64_t channel, int64_t y,
                         int64_t x)
{
    return eqi_offset5(map, image, channel / map->shape[2], channel % map->shape[2], y, x);
}

/* Whole rows that follow each other in memory are one long row. */
static eqi_conv_pixels joined(const eqi_conv_pixels *pixels, const equinv_tensor *map)
{
    eqi_conv_pixels p = *pixels;
    if (p.step == 1 && !p.wrap && p.columns == map->shape[4] &&
        map->strides[3] == map->shape[4] * map->strides[4]) {
        p.columns *= p.rows;
        p.rows = 1;
    }
    return p;
}

#define REAL float
#define NAME(name) name##_f32
#include "cpu/kernel/conv_tile.inc.c"
#undef REAL
#undef NAME
#define REAL double
#define NAME(name) name##_f64
#include "cpu/kernel/conv_tile.inc.c"

/*
 * The common case, rows of neighbouring pixels in fp32, goes in blocks of 4 pixels x 4 channels: a
 * lifting layer has so few products per pixel that this transposition is most of its time.
 */
static bool is_plain(const equinv_tensor *map, const eqi_conv_pixels *p)
{
    return map->dtype == EQUINV_F32 && map->strides[4] == 1 && p->step == 1 && !p->wrap;
}

static void store_blocks(const float *tile, int64_t row_step, const eqi_conv_pixels *p,
                         const equinv_tensor *bias, bool add, const equinv_tensor *map)
{
    const int64_t channels = map->shape[1] * map->shape[2], whole = p->columns / 4 * 4;
    for (int64_t n = 0; n < p->images; n++)
        for (int64_t row = 0; row < p->rows; row++, tile += p->columns * row_step)
            for (int64_t c = 0; c < channels; c += 4) {
                const int64_t lines = channels - c < 4 ? channels - c : 4;
                float *to[4], shift[4] = {0};
                for (int64_t i = 0; i < lines; i++) {
                    to[i] =
                        (float *)map->data + offset_of(map, p->image + n, c + i, p->y + row, p->x);
                    if (bias)
                        shift[i] = bias_f32(bias, (c + i) / map->shape[2]);
                }
                for (int64_t x = 0; x < whole && lines == 4; x += 4) {
                    vf32 block[4];
                    for (int i = 0; i < 4; i++)
                        block[i] = vf32_load(tile + (x + i) * row_step + c);
                    vf32_transpose(block);
                    for (int i = 0; i < 4; i++) {
                        const vf32 value = block[i] + vf32_broadcast(shift[i]);
                        vf32_store(to[i] + x, add ? vf32_load(to[i] + x) + value : value);
                    }
                }
                for (int64_t x = lines == 4 ? whole : 0; x < p->columns; x++)
                    for (int64_t i = 0; i < lines; i++) {
                        const float value = tile[x * row_step + c + i] + shift[i];
                        to[i][x] = add ? to[i][x] + value : value;
                    }
            }
}

static void gather_blocks(const equinv_tensor *map, const eqi_conv_pixels *p, float *matrix)
{
    const int64_t channels = map->shape[1] * map->shape[2], whole = p->columns / 4 * 4;
    for (int64_t n = 0; n < p->images; n++)
        for (int64_t row = 0; row < p->rows; row++, matrix += p->columns * channels)
            for (int64_t c = 0; c < channels; c += 4) {
                const int64_t lines = channels - c < 4 ? channels - c : 4;
                const float *from[4];
                for (int64_t i = 0; i < lines; i++)
                    from[i] = (const float *)map->data +
                              offset_of(map, p->image + n, c + i, p->y + row, p->x);
                for (int64_t x = 0; x < whole && lines == 4; x += 4) {
                    vf32 block[4];
                    for (int i = 0; i < 4; i++)
                        block[i] = vf32_load(from[i] + x);
                    vf32_transpose(block);
                    for (int i = 0; i < 4; i++)
                        vf32_store(matrix + (x + i) * channels + c, block[i]);
                }
                for (int64_t x = lines == 4 ? whole : 0; x < p->columns; x++)
                    for (int64_t i = 0; i < lines; i++)
                        matrix[x * channels + c + i] = from[i][x];
            }
}

void eqi_conv_fetch(const equinv_tensor *map, const eqi_conv_border *border, void *buffer)
{
    if (map->dtype == EQUINV_F32)
        fetch_f32(map, border, buffer);
    else
        fetch_f64(map, border, buffer);
}

void eqi_conv_store(const void *tile, int64_t row_step, const eqi_conv_pixels *pixels,
                    const equinv_tensor *bias, bool add, const equinv_tensor *map)
{
    const eqi_conv_pixels p = joined(pixels, map);
    if (is_plain(map, &p))
        store_blocks(tile, row_step, &p, bias, add, map);
    else if (map->dtype == EQUINV_F32)
        store_f32(tile, row_step, &p, bias, add, map);
    else
        store_f64(tile, row_step, &p, bias, add, map);
}

void eqi_conv_clear(const equinv_tensor *map, int64_t image, int64_t images)
{
    if (map->dtype == EQUINV_F32)
        clear_f32(map, image, images);
    else
        clear_f64(map, image, images);
}

void eqi_conv_gather(const equinv_tensor *map, const eqi_conv_pixels *pixels, void *matrix)
{
    const eqi_conv_pixels p = joined(pixels, map);
    if (is_plain(map, &p))
        gather_blocks(map, &p, matrix);
    else if (map->dtype == EQUINV_F32)
        gather_f32(map, &p, matrix);
    else
        gather_f64(map, &p, matrix);
}

void eqi_conv_expand(const equinv_tensor *psi, const eqi_conv_spread *spread, void *bank)
{
    if (psi->dtype == EQUINV_F32)
        expand_f32(psi, spread, bank);
    else
        expand_f64(psi, spread, bank);
}

void eqi_conv_sum(equinv_dtype dtype, const void *parts, const eqi_conv_block *block, double *sums)
{
    if (dtype == EQUINV_F32)
        sum_f32(parts, block, sums);
    else
        sum_f64(parts, block, sums);
}
