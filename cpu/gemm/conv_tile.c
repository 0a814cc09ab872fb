#include "conv_tile.h"

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

/* Whole rows that follow each other in memory are one long row. */
static eqi_conv_pixels joined(const eqi_conv_pixels *pixels, const equinv_tensor *map)
{
    eqi_conv_pixels p = *pixels;
    if (!p.wrap && p.columns == map->shape[4] &&
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

static void fold_f64(const eqi_conv_fold *f)
{
    for (int64_t row = 0; row < f->rows; row++) {
        const int64_t q = f->first + row, i = q / f->period;
        const int64_t *const entry = f->entry + q % f->period * f->order;
        for (int64_t o = 0; o < f->fields; o++) {
            double sum = 0;
            for (int64_t u = 0; u < f->order; u++)
                for (int64_t p = 0; p < f->count; p++)
                    sum += ((const double *)f->parts)[p * f->part + i * f->step + entry[u] + o];
            ((double *)f->to)[row * f->pitch + o] = sum;
        }
    }
}

/* Rows of neighbouring pixels in fp32 go through the kernels. */
static bool is_plain(const equinv_tensor *map, const eqi_conv_pixels *p)
{
    return map->dtype == EQUINV_F32 && map->strides[4] == 1 && !p->wrap;
}

static eqi_conv_turn turn_of(void *matrix, int64_t pitch, const eqi_conv_columns *columns,
                             const equinv_tensor *map)
{
    return (eqi_conv_turn){.matrix = matrix,
                           .pitch = pitch,
                           .columns = map->shape[1] * map->shape[2],
                           .at = columns->at};
}

/* Calls `turn` for each row of each image, in ascending order: what it writes too far is then overwritten. */
static void turn_rows(eqi_conv_turn t, const equinv_tensor *map, const eqi_conv_pixels *p,
                      void (*turn)(const eqi_conv_turn *t))
{
    t.pixels = p->columns;
    for (int64_t n = 0; n < p->images; n++)
        for (int64_t row = 0; row < p->rows; row++, t.matrix += t.pixels * t.pitch) {
            t.map = (float *)map->data + eqi_offset5(map, p->image + n, 0, 0, p->y + row, p->x);
            turn(&t);
        }
}

/* Zeros around the part of each plane that the border has. */
static void shift_planes(const equinv_tensor *map, const eqi_conv_border *b,
                         const eqi_gf_kernels *copies, float *buffer)
{
    const eqi_gf_part part = {b->top, b->left, b->rows, b->columns, 1};
    eqi_gf_shift s =
        eqi_gf_shift_of(map, (const float *)map->data + b->image * map->strides[0], &part);
    s.fields = map->shape[1];
    s.elements = map->shape[2];
    s.to = buffer;
    s.to_field = s.elements * b->channel_step;
    s.to_element = b->channel_step;
    for (int64_t n = 0; n < b->images; n++) {
        copies->shift(&s);
        s.from += map->strides[0];
        s.to += s.fields * s.to_field;
    }
}

void eqi_conv_fetch(const equinv_tensor *map, const eqi_conv_border *border,
                    const eqi_gf_kernels *copies, void *buffer)
{
    if (map->dtype == EQUINV_F64)
        fetch_f64(map, border, buffer);
    else if (border->wrap || map->strides[4] != 1)
        fetch_f32(map, border, buffer);
    else
        shift_planes(map, border, copies, buffer);
}

void eqi_conv_store(void *matrix, int64_t pitch, const eqi_conv_pixels *pixels,
                    const eqi_conv_columns *columns, bool add, const eqi_conv_kernels *kernels,
                    const equinv_tensor *map)
{
    const eqi_conv_pixels p = joined(pixels, map);
    eqi_conv_turn t = turn_of(matrix, pitch, columns, map);
    t.bias = columns->bias;
    t.accumulate = add;
    if (is_plain(map, &p))
        turn_rows(t, map, &p, kernels->to_planes);
    else if (map->dtype == EQUINV_F32)
        store_f32(matrix, pitch, &p, columns, add, map);
    else
        store_f64(matrix, pitch, &p, columns, add, map);
}

void eqi_conv_clear(const equinv_tensor *map, int64_t image, int64_t images)
{
    if (map->dtype == EQUINV_F32)
        clear_f32(map, image, images);
    else
        clear_f64(map, image, images);
}

void eqi_conv_gather(const equinv_tensor *map, const eqi_conv_pixels *pixels,
                     const eqi_conv_columns *columns, const eqi_conv_kernels *kernels, void *matrix,
                     int64_t pitch)
{
    const eqi_conv_pixels p = joined(pixels, map);
    if (is_plain(map, &p))
        turn_rows(turn_of(matrix, pitch, columns, map), map, &p, kernels->to_matrix);
    else if (map->dtype == EQUINV_F32)
        gather_f32(map, &p, columns, matrix, pitch);
    else
        gather_f64(map, &p, columns, matrix, pitch);
}

void eqi_conv_expand(const equinv_tensor *psi, const eqi_conv_spread *spread, void *bank)
{
    if (psi->dtype == EQUINV_F32)
        expand_f32(psi, spread, bank);
    else
        expand_f64(psi, spread, bank);
}

void eqi_conv_sum(equinv_dtype dtype, const eqi_conv_fold *fold, const eqi_conv_kernels *kernels)
{
    if (dtype == EQUINV_F32)
        kernels->fold(fold);
    else
        fold_f64(fold);
}

/* psi[o, i] is one row of numbers, from i's first one on; those of all i follow each other. */
static bool is_one_row(const equinv_tensor *psi)
{
    const int64_t period = psi->shape[2] * psi->shape[3] * psi->shape[4];
    return eqi_is_dense(psi, 2) && (psi->shape[1] == 1 || psi->strides[1] == period);
}

void eqi_conv_put_psi(const equinv_tensor *psi, const eqi_conv_psi_rows *rows,
                      const eqi_conv_kernels *kernels)
{
    if (psi->dtype == EQUINV_F64) {
        put_psi_f64(psi, rows);
    } else if (!is_one_row(psi)) {
        put_psi_f32(psi, rows);
    } else {
        const eqi_conv_turn t = {.matrix = rows->rows,
                                 .pitch = rows->pitch,
                                 .pixels = rows->count,
                                 .columns = rows->fields,
                                 .map = (float *)psi->data + rows->first,
                                 .at = rows->at,
                                 .accumulate = rows->add};
        kernels->to_planes(&t);
    }
}

const eqi_conv_kernels *eqi_conv_kernels_of(const eqi_hardware *hardware)
{
    static const eqi_conv_kernels *const levels[] = {
        [EQI_ISA_SCALAR] = &eqi_conv_scalar,
#if defined(__x86_64__)
        [EQI_ISA_AVX2] = &eqi_conv_avx2,
        [EQI_ISA_AVX512] = &eqi_conv_avx512,
#endif
    };
    return levels[hardware->isa];
}
