/*
 * Orbit mean   dst[f, a, q] = 1/|G| sum_g src[f, g^-1 a, g^-1 q]: the same for all (h a, h q).
 * Orbit distance   distance[i, j] = min_g |x_i - g y_j|, by trying every g; NaN wins, then the lowest
 *                  g. Differences and sums in double, as in internal/distance.h.
 * For rows of one channel under S the minimum over permutations is the distance of the sorted rows.
 */
#include "ref.h"

#include <math.h>

#include "internal/distance.h"
#include "internal/rows.h"
#include "internal/sort.h"

/* ---- mean ----------------------------------------------------------------------------------- */

typedef struct mean_job {
    equinv_group group;
    const equinv_tensor *src, *dst;
} mean_job;

static void mean_of_row(void *arg, int64_t b)
{
    const mean_job *const j = arg;
    const equinv_tensor *const src = j->src, *const dst = j->dst;
    const int64_t height = src->shape[3], width = src->shape[4], pixels = height * width;
    const int32_t order = eqi_order(j->group);
    int64_t from[2 * EQUINV_GROUP_MAX_N], to[2 * EQUINV_GROUP_MAX_N];
    for (int64_t q = 0; q < pixels; q++) {
        /* The orbit of (f, e, q) has one member h q for each element h. */
        for (int32_t h = 0; h < order; h++) {
            const int64_t m =
                eqi_place(j->group, h, 0, q / width, q % width, height, width) % pixels;
            from[h] = eqi_offset5(src, b, 0, h, m / width, m % width);
            to[h] = eqi_offset5(dst, b, 0, h, m / width, m % width);
        }
        for (int64_t f = 0; f < src->shape[1]; f++) {
            double sum = 0;
            for (int32_t h = 0; h < order; h++)
                sum += eqi_load(src, from[h] + f * src->strides[1]);
            for (int32_t h = 0; h < order; h++)
                eqi_store(dst, to[h] + f * dst->strides[1], sum / order);
        }
    }
}

void eqi_ref_orbit_mean(const equinv_context *ctx, equinv_group group, const equinv_tensor *src,
                        const equinv_tensor *dst)
{
    mean_job j = {group, src, dst};
    if (equinv_tensor_count(src) > 0)
        eqi_parallel_if_worth(ctx, src->shape[0], 8 * (double)equinv_tensor_count(src), mean_of_row,
                              &j);
}

/* ---- distance ------------------------------------------------------------------------------- */

enum { BLOCK_BYTES = 256 << 10 }; /* of rows of x that a turned y is compared with */

typedef struct distance_job {
    equinv_group group;
    const equinv_tensor *x, *y, *distance, *element;
    int64_t dimension, block;
    const int32_t *places; /* [G, G H W]: where g takes a number inside its field */
} distance_job;

/* Row b, row-major in double. */
static void load_row(const equinv_tensor *t, int64_t b, double *to)
{
    for (int64_t f = 0; f < t->shape[1]; f++)
        for (int64_t a = 0; a < t->shape[2]; a++)
            for (int64_t y = 0; y < t->shape[3]; y++)
                for (int64_t x = 0; x < t->shape[4]; x++)
                    *to++ = eqi_load(t, eqi_offset5(t, b, f, a, y, x));
}

/* x_i against all y_j, for `count` rows i. A slice: those rows, y, g y, and the least squares. */
static void compare_rows(const void *arg, int64_t first, int64_t count, void *slice)
{
    const distance_job *const j = arg;
    const int64_t dimension = j->dimension;
    const int64_t fields = j->x->shape[1], field = fields ? dimension / fields : 0;
    double *const x = slice, *const y = x + j->block * dimension, *const gy = y + dimension;
    double *const least = gy + dimension;
    int32_t *const nearest = (int32_t *)(least + j->block);
    for (int64_t i = 0; i < count; i++)
        load_row(j->x, first + i, x + i * dimension);
    for (int64_t b = 0; b < j->y->shape[0]; b++) {
        load_row(j->y, b, y);
        for (int32_t g = 0; g < eqi_order(j->group); g++) {
            const int32_t *const places = j->places + g * field;
            for (int64_t f = 0; f < fields; f++)
                for (int64_t c = 0; c < field; c++)
                    gy[f * field + places[c]] = y[f * field + c];
            for (int64_t i = 0; i < count; i++) {
                const double d = eqi_squared_distance_f64(x + i * dimension, gy, dimension);
                if (g == 0 || d < least[i] || (isnan(d) && !isnan(least[i]))) {
                    least[i] = d;
                    nearest[i] = g;
                }
            }
        }
        for (int64_t i = 0; i < count; i++) {
            const int64_t *const s = j->distance->strides;
            eqi_store(j->distance, (first + i) * s[0] + b * s[1], sqrt(least[i]));
            if (j->element)
                ((int32_t *)j->element
                     ->data)[(first + i) * j->element->strides[0] + b * j->element->strides[1]] =
                    nearest[i];
        }
    }
}

equinv_status eqi_ref_orbit_distance(const equinv_context *ctx, equinv_group group,
                                     const equinv_tensor *x, const equinv_tensor *y,
                                     const equinv_tensor *distance, const equinv_tensor *element)
{
    if (x->shape[0] == 0 || y->shape[0] == 0)
        return EQUINV_OK;
    const int64_t order = eqi_order(group), height = x->shape[3], width = x->shape[4];
    int64_t field, dimension, places, numbers;
    EQI_TRY(eqi_product_of("a field of x", 3, x->shape + 2, &field));
    EQI_TRY(eqi_product_of("a row of x", 4, x->shape + 1, &dimension));
    EQI_CHECK(field <= INT32_MAX, UNSUPPORTED,
              "x has %" PRId64 " numbers a field, expected below 2^31", field);
    EQI_TRY(eqi_product_of("the places of x", 2, (int64_t[]){order, field}, &places));
    distance_job j = {group, x, y, distance, element, dimension, 0, NULL};
    const int64_t fit = dimension ? BLOCK_BYTES / (int64_t)sizeof(double) / dimension : 16;
    j.block = fit < 1 ? 1 : fit > 16 ? 16 : fit;
    EQI_TRY(eqi_product_of("a block of x", 2, (int64_t[]){dimension, j.block + 2}, &numbers));
    const size_t slice = eqi_aligned((size_t)numbers * sizeof(double) +
                                     (size_t)j.block * (sizeof(double) + sizeof(int32_t)));
    void *memory, *table;
    EQI_TRY(eqi_alloc_zeroed(ctx, ctx->hardware.threads, slice, "orbit distances", &memory));
    const equinv_status status =
        eqi_alloc_zeroed(ctx, places, sizeof(int32_t), "orbit distances", &table);
    if (status == EQUINV_OK) {
        int32_t *to = table;
        for (int32_t g = 0; g < order && dimension > 0; g++)
            for (int64_t a = 0; a < order; a++)
                for (int64_t q = 0; q < height * width; q++)
                    *to++ = (int32_t)eqi_place(group, g, a, q / width, q % width, height, width);
        j.places = table;
        const double row_work = (double)y->shape[0] * (double)order * (double)dimension;
        eqi_parallel_rows(ctx, x->shape[0], row_work, j.block, compare_rows, &j, memory, slice);
        eqi_free(ctx, table, (size_t)places * sizeof(int32_t));
    }
    eqi_free(ctx, memory, (size_t)ctx->hardware.threads * slice);
    return status;
}

/* ---- S, one channel ------------------------------------------------------------------------- */

typedef struct sorted_job {
    const equinv_tensor *x, *y, *distance, *element;
    int64_t rows;
    double *sorted;  /* [A + B, n] */
    int32_t *places; /* the same: the row at each place; NULL: not wanted */
} sorted_job;

static void sort_rows(const void *arg, int64_t first, int64_t count, void *slice)
{
    const sorted_job *const j = arg;
    eqi_item *const items = slice;
    const int64_t n = j->rows, from_x = j->x->shape[0];
    for (int64_t b = first; b < first + count; b++) {
        const equinv_tensor *const t = b < from_x ? j->x : j->y;
        const int64_t row = b < from_x ? b : b - from_x;
        for (int64_t i = 0; i < n; i++)
            items[i] = (eqi_item){eqi_load(t, row * t->strides[0] + i * t->strides[1]), (int32_t)i};
        eqi_sort(items, n, items + n);
        for (int64_t i = 0; i < n; i++)
            j->sorted[b * n + i] = items[i].value;
        for (int64_t i = 0; i < n && j->places; i++)
            j->places[b * n + i] = items[i].index;
    }
}

static void compare_sorted(const void *arg, int64_t first, int64_t count, void *slice)
{
    const sorted_job *const j = arg;
    const int64_t n = j->rows;
    const int64_t *const s = j->distance->strides;
    const double *const y = j->sorted + j->x->shape[0] * n;
    (void)slice;
    for (int64_t i = first; i < first + count; i++)
        for (int64_t b = 0; b < j->y->shape[0]; b++) {
            eqi_store(j->distance, i * s[0] + b * s[1],
                      sqrt(eqi_squared_distance_f64(j->sorted + i * n, y + b * n, n)));
            for (int64_t place = 0; place < n && j->places; place++) {
                const int64_t *const e = j->element->strides;
                const int32_t row = j->places[i * n + place];
                ((int32_t *)j->element->data)[i * e[0] + b * e[1] + row * e[2]] =
                    j->places[(j->x->shape[0] + b) * n + place];
            }
        }
}

equinv_status eqi_ref_sorted_distance(const equinv_context *ctx, const equinv_tensor *x,
                                      const equinv_tensor *y, const equinv_tensor *distance)
{
    return eqi_ref_sorted_match(ctx, x, y, distance, NULL);
}

equinv_status eqi_ref_sorted_match(const equinv_context *ctx, const equinv_tensor *x,
                                   const equinv_tensor *y, const equinv_tensor *distance,
                                   const equinv_tensor *element)
{
    int64_t batch, numbers;
    EQI_CHECK(!__builtin_add_overflow(x->shape[0], y->shape[0], &batch), SHAPE,
              "x and y have %" PRId64 " and %" PRId64 " rows, whose sum overflows", x->shape[0],
              y->shape[0]);
    if (x->shape[0] == 0 || y->shape[0] == 0)
        return EQUINV_OK;
    EQI_TRY(eqi_product_of("x and y", 2, (int64_t[]){batch, x->shape[1]}, &numbers));
    sorted_job j = {x, y, distance, element, x->shape[1], NULL, NULL};
    const size_t slice = eqi_aligned((size_t)j.rows * 2 * sizeof(eqi_item));
    /* Numbers and, if wanted, the rows they came from. */
    const size_t number = sizeof(double) + (element ? sizeof(int32_t) : 0);
    void *items, *sorted;
    EQI_TRY(eqi_alloc_zeroed(ctx, ctx->hardware.threads, slice, "sorting rows", &items));
    const equinv_status status = eqi_alloc_zeroed(ctx, numbers, number, "sorted rows", &sorted);
    if (status == EQUINV_OK) {
        j.sorted = sorted;
        j.places = element ? (int32_t *)(j.sorted + numbers) : NULL;
        eqi_parallel_rows(ctx, batch, 16 * (double)j.rows, 1, sort_rows, &j, items, slice);
        eqi_parallel_rows(ctx, x->shape[0], (double)y->shape[0] * (double)j.rows, 1, compare_sorted,
                          &j, NULL, 0);
        eqi_free(ctx, sorted, (size_t)numbers * number);
    }
    eqi_free(ctx, items, (size_t)ctx->hardware.threads * slice);
    return status;
}
