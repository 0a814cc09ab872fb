/* Planes of LANES images side by side, and back, included by gfourier.inc.c. */
#include "cpu/kernel/turn.h"

/* `count` pixels, up to LANES, of all images. */
INLINE void abreast_pixels(const float *map, int64_t image, int count, float *to,
                           const int64_t *place)
{
    vf32 row[LANES];
    EQI_UNROLL for (int l = 0; l < LANES; l++)
    {
        const float *const from = map + l * image;
        row[l] = count == LANES ? vf32_load(from) : vf32_load_part(from, 0, count);
    }
    turn(row);
    EQI_UNROLL for (int i = 0; i < LANES; i++)
    {
        if (i < count)
            vf32_store(to + (place ? place[i] : i * LANES), row[i]);
    }
}

INLINE void abreast_rows(const eqi_gf_turn *t, const float *map, float *to, const bool placed)
{
    int64_t n = 0;
    for (int64_t y = 0; y < t->rows; y++, map += t->row) {
        int64_t x = 0;
        for (; x + LANES <= t->columns; x += LANES, n += LANES)
            abreast_pixels(map + x, t->image, LANES, placed ? to : to + n * LANES,
                           placed ? t->place + n : NULL);
        if (x < t->columns)
            abreast_pixels(map + x, t->image, (int)(t->columns - x), placed ? to : to + n * LANES,
                           placed ? t->place + n : NULL);
        n += t->columns - x;
    }
}

static void abreast(const eqi_gf_turn *t)
{
    for (int64_t i = 0; i < t->fields; i++)
        for (int64_t h = 0; h < t->elements; h++) {
            const float *const map = t->map + i * t->map_field + h * t->map_element;
            float *const to = t->abreast + i * t->field + h * t->element;
            if (t->place)
                abreast_rows(t, map, to, true);
            else
                abreast_rows(t, map, to, false);
        }
}

INLINE void apart_pixels(const float *from, int count, float *map, int64_t image, bool accumulate)
{
    vf32 row[LANES];
    EQI_UNROLL for (int i = 0; i < LANES; i++)
    {
        row[i] = i < count ? vf32_load(from + i * LANES) : vf32_broadcast(0);
    }
    turn(row);
    EQI_UNROLL for (int l = 0; l < LANES; l++)
    {
        put(map + l * image, row[l], accumulate, count);
    }
}

INLINE void apart_run(const float *from, int64_t count, float *map, int64_t image, bool accumulate)
{
    int64_t x = 0;
    for (; x + LANES <= count; x += LANES)
        apart_pixels(from + x * LANES, LANES, map + x, image, accumulate);
    if (x < count)
        apart_pixels(from + x * LANES, (int)(count - x), map + x, image, accumulate);
}

/*
 * Where images are a multiple of 4 KiB apart their lines compete for the same places of L1. There pixels are
 * turned into a room first, then each image gets all of them.
 */
enum { APART = 128, APART_PITCH = APART + 16 };

static void apart_by_room(const eqi_gf_turn *t, const float *from, int64_t count, float *map)
{
    _Alignas(64) float room[LANES * APART_PITCH];
    apart_run(from, count, room, APART_PITCH, false);
    for (int64_t l = 0; l < LANES; l++) {
        const float *const image = room + l * APART_PITCH;
        float *const to = map + l * t->image;
        int64_t x = 0;
        for (; x + LANES <= count; x += LANES)
            put(to + x, vf32_load(image + x), t->accumulate, LANES);
        if (x < count)
            put(to + x, vf32_load(image + x), t->accumulate, (int)(count - x));
    }
}

static void apart_rows(const eqi_gf_turn *t, const float *from, float *map)
{
    const bool compete = t->image % 1024 == 0;
    for (int64_t y = 0; y < t->rows; y++, map += t->row, from += t->columns * LANES)
        for (int64_t x = 0; x < t->columns; x += APART) {
            const int64_t count = t->columns - x < APART ? t->columns - x : APART;
            if (compete)
                apart_by_room(t, from + x * LANES, count, map + x);
            else if (t->accumulate)
                apart_run(from + x * LANES, count, map + x, t->image, true);
            else
                apart_run(from + x * LANES, count, map + x, t->image, false);
        }
}

static void apart(const eqi_gf_turn *t)
{
    for (int64_t i = 0; i < t->fields; i++)
        for (int64_t h = 0; h < t->elements; h++)
            apart_rows(t, t->abreast + i * t->field + h * t->element,
                       t->map + i * t->map_field + h * t->map_element);
}
