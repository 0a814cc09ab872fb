/*
 * Nearest orbits. Of C_n, D_n and groups given by tables, products give bounds of all squared distances
 * that are hardly below them and mostly the nearest g (cpu/gfourier/products.h): the few that may be among
 * the k nearest are measured. For S phi(x) has every channel sorted, and |phi(x) - phi(y)| <= the orbit distance: the best
 * order of all channels at once is no better than the best of each (and the same where there is one
 * channel). Gallery rows are looked at by ascending bound until it exceeds the k-th distance.
 */
#include <math.h>
#include <string.h>

#include "cpu/gemm/distance.h"
#include "cpu/gfourier/nearest.h"
#include "cpu/gfourier/products.h"
#include "internal/arithmetic.h"
#include "internal/backend.h"
#include "internal/distance.h"
#include "internal/nearest.h"
#include "internal/orbit.h"
#include "internal/rows.h"
#include "internal/sort.h"

enum {
    BEST_BYTES = 64 << 20 /* of the best so far, of several queries */
};

typedef struct job {
    const equinv_context *ctx;
    equinv_group group;
    equinv_tensor gallery, queries; /* points, row-major */
    const equinv_tensor *distance, *index;
    int64_t k, dimension;
    /* S: phi and its length, of the gallery; width: its numbers. */
    int64_t width;
    double *phi, *length;
    size_t room_size;
    /* Others */
    int64_t order, field;
    const int32_t *places; /* [G, G H W]: where g takes a number inside its field */
    const eqi_nearest_kernels *kernels;
    int64_t first_query;
    eqi_item *best; /* [query of the block, k] */
    int64_t *filled;
} job;

/* ---- S: the bound --------------------------------------------------------------------------- */

static void sorted_channels(const equinv_tensor *t, int64_t b, double *phi, eqi_item *items)
{
    const int64_t n = t->shape[1];
    for (int64_t c = 0; c < t->shape[2]; c++) {
        for (int64_t r = 0; r < n; r++)
            items[r] = (eqi_item){
                eqi_load(t, b * t->strides[0] + r * t->strides[1] + c * t->strides[2]), (int32_t)r};
        eqi_sort(items, n, items + n);
        for (int64_t r = 0; r < n; r++)
            *phi++ = items[r].value;
    }
}

static double bound_of(const job *j, const equinv_tensor *t, int64_t b, double *phi, void *room)
{
    double sum = 0;
    sorted_channels(t, b, phi, room);
    for (int64_t i = 0; i < j->width; i++)
        sum += phi[i] * phi[i];
    return sqrt(sum);
}

static void bound_gallery(const void *arg, int64_t first, int64_t count, void *slice)
{
    const job *const j = arg;
    for (int64_t b = first; b < first + count; b++)
        j->length[b] = bound_of(j, &j->gallery, b, j->phi + b * j->width, slice);
}

/* ---- heaps ---------------------------------------------------------------------------------- */

static bool nearer(const eqi_item *a, const eqi_item *b)
{
    return eqi_before(a->value, b->value) ||
           (!eqi_before(b->value, a->value) && a->index < b->index);
}

/* sign 1: the nearest on top, -1: the farthest. */
static void sink(eqi_item *heap, int64_t count, int64_t i, int sign)
{
    const eqi_item item = heap[i];
    for (int64_t child; (child = 2 * i + 1) < count; i = child) {
        if (child + 1 < count && nearer(&heap[child + 1], &heap[child]) == (sign > 0))
            child++;
        if (nearer(&heap[child], &item) != (sign > 0))
            break;
        heap[i] = heap[child];
    }
    heap[i] = item;
}

static void offer(eqi_item *best, int64_t *count, int64_t k, eqi_item item)
{
    if (*count < k) {
        best[(*count)++] = item;
        for (int64_t i = *count == k ? k / 2 : 0; i-- > 0;)
            sink(best, k, i, -1);
    } else if (nearer(&item, &best[0])) {
        best[0] = item;
        sink(best, k, 0, -1);
    }
}

/* The best of a query, in any order, to its results. */
static void put_best(const job *j, int64_t query, eqi_item *best, int64_t filled)
{
    for (int64_t left = filled; left > 1;) { /* the farthest to the end */
        const eqi_item farthest = best[0];
        best[0] = best[--left];
        best[left] = farthest;
        sink(best, left, 0, -1);
    }
    for (int64_t i = 0; i < j->k; i++) {
        eqi_store(j->distance, query * j->distance->strides[0] + i * j->distance->strides[1],
                  sqrt(best[i].value));
        ((int32_t *)j->index->data)[query * j->index->strides[0] + i * j->index->strides[1]] =
            best[i].index;
    }
}

/* ---- S: queries ----------------------------------------------------------------------------- */

/* A slice: phi of the query, bounds, the k best, the row of each row, the room of a pair. */
static void find_rows(const void *arg, int64_t first, int64_t count, void *slice)
{
    const job *const j = arg;
    const int64_t rows = j->gallery.shape[0];
    char *rest = slice;
    double *const phi = eqi_take(&rest, (size_t)j->width * sizeof *phi);
    eqi_item *const bounds = eqi_take(&rest, (size_t)rows * sizeof *bounds);
    eqi_item *const best = eqi_take(&rest, (size_t)j->k * sizeof *best);
    int32_t *const row = eqi_take(&rest, (size_t)j->gallery.shape[1] * sizeof *row);
    for (int64_t query = first; query < first + count; query++) {
        const double length = bound_of(j, &j->queries, query, phi, rest);
        for (int64_t b = 0; b < rows; b++) {
            const double d = sqrt(eqi_squared_distance_f64(phi, j->phi + b * j->width, j->width));
            bounds[b] = (eqi_item){isnan(d) ? (double)INFINITY : d, (int32_t)b};
        }
        for (int64_t i = rows / 2; i-- > 0;)
            sink(bounds, rows, i, 1);
        int64_t filled = 0;
        for (int64_t left = rows; left > 0;) {
            const eqi_item next = bounds[0];
            /* Far more than what sums in double leave of the bound. */
            const double slack = 1e-11 * (length + j->length[next.index]);
            if (filled == j->k && next.value - slack > sqrt(best[0].value))
                break;
            const double d =
                eqi_rows_pair(j->ctx, &j->queries, query, &j->gallery, next.index, rest, row);
            offer(best, &filled, j->k, (eqi_item){d, next.index});
            bounds[0] = bounds[--left];
            sink(bounds, left, 0, 1);
        }
        put_best(j, query, best, filled);
    }
}

/* ---- others: queries ------------------------------------------------------------------------ */

/* A query and what g makes of it, each when it is wanted first. */
typedef struct turned_query {
    int64_t query;
    void *rows;  /* [G, D] */
    bool *there; /* [G] */
} turned_query;

/* Row g q of a query. */
static const void *turned_by(const job *j, const turned_query *t, int64_t g)
{
    const size_t row = (size_t)j->dimension * equinv_dtype_size(j->queries.dtype);
    const char *const from = (const char *)j->queries.data + (size_t)t->query * row;
    char *const to = (char *)t->rows + (size_t)g * row;
    const int32_t *const places = j->places + g * j->field;
    if (t->there[g])
        return to;
    t->there[g] = true;
    if (j->queries.dtype == EQUINV_F32)
        j->kernels->turn((const float *)(const void *)from, places, j->field, j->dimension,
                         (float *)(void *)to);
    else
        for (int64_t f = 0; f < j->dimension; f += j->field)
            for (int64_t i = 0; i < j->field; i++)
                ((double *)(void *)to)[f + places[i]] = ((const double *)(const void *)from)[f + i];
    return to;
}

/* |g q - y|^2 of `count` g from number g on, at most EQI_DISTANCES. */
static void measure(const job *j, const turned_query *t, int64_t g, int64_t count, int64_t b,
                    double *squares)
{
    const eqi_hardware *const hardware = &j->ctx->hardware;
    const void *const rows = turned_by(j, t, g);
    for (int64_t i = 1; i < count; i++)
        turned_by(j, t, g + i);
    if (j->queries.dtype == EQUINV_F32)
        eqi_f32_distances_of(hardware)((const float *)j->gallery.data + b * j->dimension, rows,
                                       count, j->dimension, squares);
    else
        eqi_f64_distances_of(hardware)((const double *)j->gallery.data + b * j->dimension, rows,
                                       count, j->dimension, squares);
}

/* With the g that products decided on, or else with all of them. */
static double squared_distance(const job *j, const turned_query *t, int64_t b, int32_t decided)
{
    double squares[EQI_DISTANCES], least = (double)INFINITY;
    if (decided >= 0) {
        measure(j, t, decided, 1, b, squares);
        return squares[0];
    }
    for (int64_t g = 0; g < j->order; g += EQI_DISTANCES) {
        const int64_t count = eqi_smaller(EQI_DISTANCES, j->order - g);
        measure(j, t, g, count, b, squares);
        for (int64_t i = 0; i < count; i++)
            if (!(squares[i] >= least) && !isnan(least))
                least = squares[i];
    }
    return least;
}

/* The largest float that is not above a limit: bounds that are floats are at most both or neither. */
static float float_below(double limit)
{
    const float near = (float)limit;
    return (double)near > limit ? nextafterf(near, -INFINITY) : near;
}

/* Bounds of one query and some rows of the gallery. */
typedef struct row_bounds {
    const eqi_orbit_bounds *of;
    equinv_tensor least;
    const int32_t *element;
} row_bounds;

/* The first row from b on whose bound is not above the farthest that counts; NaN is. */
static int64_t next_row(const job *j, const row_bounds *r, int64_t b, const eqi_item *best,
                        int64_t filled)
{
    const int64_t rows = r->of->count_y;
    const bool any = filled < j->k || isnan(best[0].value);
    const double limit = any ? (double)INFINITY : best[0].value;
    if (r->least.dtype == EQUINV_F32)
        return j->kernels->next(r->least.data, b, rows, float_below(limit));
    const double *const bounds = r->least.data;
    while (b < rows && !(bounds[b] <= limit))
        b++;
    return b;
}

/* Measures row b, unless that was done: NaN replaces its bound then. */
static void measure_row(const job *j, int64_t q, const row_bounds *r, int64_t b,
                        const turned_query *t)
{
    const int64_t row = r->of->first_y + b;
    offer(j->best + q * j->k, &j->filled[q], j->k,
          (eqi_item){squared_distance(j, t, row, r->element[b]), (int32_t)row});
    eqi_store(&r->least, b, (double)NAN);
}

/* Room: the least bounds, what there is of the turned query, the turned query. */
static void find_orbits(const void *arg, const eqi_orbit_bounds *bounds, void *room)
{
    const job *const j = arg;
    const size_t number = equinv_dtype_size(bounds->dtype);
    char *rest = room;
    eqi_item *const least = eqi_take(&rest, (size_t)j->k * sizeof *least);
    bool *const there = eqi_take(&rest, (size_t)j->order * sizeof *there);
    for (int64_t i = 0; i < bounds->count_x; i++) {
        const int64_t q = bounds->first_x + i, rows = bounds->count_y;
        const row_bounds r = {bounds,
                              {.data = (char *)bounds->least + (size_t)(i * bounds->step) * number,
                               .dtype = bounds->dtype},
                              bounds->element + i * bounds->step};
        const turned_query turned = {j->first_query + q, rest, there};
        const eqi_item *const best = j->best + q * j->k;
        int64_t few = 0, b = 0;
        if (next_row(j, &r, 0, best, j->filled[q]) == rows)
            continue;
        memset(there, 0, (size_t)j->order * sizeof *there);
        /* The first rows begin with the k least bounds, so that hardly any others are measured. */
        for (; j->filled[q] < j->k && (b = next_row(j, &r, b, least, few)) < rows; b++)
            offer(least, &few, j->k, (eqi_item){eqi_load(&r.least, b), (int32_t)b});
        for (int64_t l = 0; l < few; l++)
            measure_row(j, q, &r, least[l].index, &turned);
        for (b = 0; (b = next_row(j, &r, b, best, j->filled[q])) < rows; b++)
            measure_row(j, q, &r, b, &turned);
    }
}

static void put_orbits(const void *arg, int64_t first, int64_t count, void *slice)
{
    const job *const j = arg;
    (void)slice;
    for (int64_t q = first; q < first + count; q++)
        put_best(j, j->first_query + q, j->best + q * j->k, j->filled[q]);
}

/* ---- memory --------------------------------------------------------------------------------- */

static equinv_status run_rows(equinv_context *ctx, job *j)
{
    const equinv_tensor *const t = &j->gallery;
    const int64_t rows = t->shape[0], batch = j->queries.shape[0];
    const size_t threads = (size_t)ctx->hardware.threads;
    int64_t numbers = 0;
    void *phi = NULL, *length = NULL, *room = NULL;
    equinv_status status;
    j->width = j->dimension;
    EQI_CHECK(eqi_rows_pair_size(t->shape[1], t->shape[2], &j->room_size), SHAPE,
              "a row of gallery exceeds the address space");
    const size_t items = eqi_aligned((size_t)t->shape[1] * 2 * sizeof(eqi_item));
    const size_t slice = eqi_aligned((size_t)j->width * sizeof(double)) +
                         eqi_aligned((size_t)rows * sizeof(eqi_item)) +
                         eqi_aligned((size_t)j->k * sizeof(eqi_item)) +
                         eqi_aligned((size_t)t->shape[1] * sizeof(int32_t)) +
                         (j->room_size > items ? j->room_size : items);
    EQI_TRY_GOTO(status, done, eqi_product_of("phi", 2, (int64_t[]){rows, j->width}, &numbers));
    EQI_TRY_GOTO(status, done, eqi_alloc_zeroed(ctx, numbers, sizeof(double), "neighbours", &phi));
    EQI_TRY_GOTO(status, done, eqi_alloc_zeroed(ctx, rows, sizeof(double), "neighbours", &length));
    EQI_TRY_GOTO(status, done,
                 eqi_alloc_zeroed(ctx, ctx->hardware.threads, slice, "neighbours", &room));
    j->phi = phi;
    j->length = length;
    eqi_parallel_rows(ctx, rows, 4 * (double)j->dimension, 16, bound_gallery, j, room, slice);
    eqi_parallel_rows(ctx, batch, (double)rows * (double)j->width, 1, find_rows, j, room, slice);
done:
    eqi_free(ctx, room, threads * slice);
    eqi_free(ctx, length, (size_t)rows * sizeof(double));
    eqi_free(ctx, phi, (size_t)numbers * sizeof(double));
    return status;
}

/* Queries `first` .. first + count - 1. */
static equinv_status find_block(equinv_context *ctx, job *j, int64_t first, int64_t count,
                                size_t room)
{
    equinv_tensor queries;
    j->first_query = first;
    for (int64_t q = 0; q < count; q++)
        j->filled[q] = 0;
    EQI_TRY(equinv_tensor_rows(&j->queries, first, count, &queries));
    EQI_TRY(eqi_gfourier_orbit_bounds(ctx, j->group, &queries, &j->gallery,
                                      &(eqi_orbit_visitor){find_orbits, j, room}));
    eqi_parallel_rows(ctx, count, 8 * (double)j->k, 16, put_orbits, j, NULL, 0);
    return EQUINV_OK;
}

static equinv_status run_orbits(equinv_context *ctx, job *j)
{
    const equinv_tensor *const t = &j->gallery;
    const int64_t batch = j->queries.shape[0], height = t->shape[3], width = t->shape[4];
    const size_t number = equinv_dtype_size(t->dtype);
    int64_t places = 0, turned = 0;
    void *table = NULL, *memory = NULL;
    equinv_status status;
    j->order = eqi_order(j->group);
    j->kernels = eqi_nearest_kernels_of(&ctx->hardware);
    EQI_TRY(eqi_product_of("a field of gallery", 3, t->shape + 2, &j->field));
    EQI_CHECK(j->field <= INT32_MAX, UNSUPPORTED,
              "gallery has %" PRId64 " numbers a field, expected below 2^31", j->field);
    EQI_TRY(eqi_product_of("the places of gallery", 2, (int64_t[]){j->order, j->field}, &places));
    EQI_TRY(eqi_product_of("a turned query", 3,
                           (int64_t[]){j->order, j->dimension, (int64_t)number}, &turned));
    const int64_t item = (int64_t)sizeof(eqi_item);
    const int64_t count = eqi_smaller(batch, eqi_larger(1, BEST_BYTES / item / j->k));
    const size_t room = eqi_aligned((size_t)(j->k * item)) + eqi_aligned((size_t)turned) +
                        eqi_aligned((size_t)j->order * sizeof(bool));
    const size_t best = eqi_aligned((size_t)(count * j->k * item));
    const size_t filled = eqi_aligned((size_t)count * sizeof(int64_t));
    const size_t all = best + filled;
    EQI_TRY_GOTO(status, done,
                 eqi_alloc_zeroed(ctx, places, sizeof(int32_t), "neighbours", &table));
    EQI_TRY_GOTO(status, done, eqi_alloc_zeroed(ctx, 1, all, "neighbours", &memory));
    int32_t *to = table;
    for (int32_t g = 0; g < j->order; g++)
        for (int64_t a = 0; a < j->order; a++)
            for (int64_t q = 0; q < height * width; q++)
                *to++ = (int32_t)eqi_place(j->group, g, a, q / width, q % width, height, width);
    char *rest = memory;
    j->places = table;
    j->best = eqi_take(&rest, best);
    j->filled = eqi_take(&rest, filled);
    for (int64_t first = 0; first < batch && status == EQUINV_OK; first += count)
        status = find_block(ctx, j, first, eqi_smaller(count, batch - first), room);
done:
    eqi_free(ctx, memory, all);
    eqi_free(ctx, table, (size_t)places * sizeof(int32_t));
    return status;
}

static equinv_status run(equinv_context *ctx, job *j)
{
    const equinv_tensor *const t = &j->gallery;
    equinv_tensor own_gallery = {0}, own_queries = {0};
    equinv_status status;
    EQI_TRY(eqi_product_of("a row of gallery", t->ndim - 1, t->shape + 1, &j->dimension));
    EQI_TRY_GOTO(status, done, eqi_tensor_pack(ctx, &j->gallery, &j->gallery, &own_gallery));
    EQI_TRY_GOTO(status, done, eqi_tensor_pack(ctx, &j->queries, &j->queries, &own_queries));
    status = j->group.kind == EQUINV_GROUP_SYMMETRIC ? run_rows(ctx, j) : run_orbits(ctx, j);
done:
    equinv_tensor_destroy(ctx, &own_queries);
    equinv_tensor_destroy(ctx, &own_gallery);
    return status;
}

equinv_status equinv_neighbours(equinv_context *ctx, equinv_group group,
                                const equinv_tensor *gallery, const equinv_tensor *queries,
                                int64_t k, const equinv_tensor *distance,
                                const equinv_tensor *index)
{
    job j = {.ctx = ctx, .group = group, .distance = distance, .index = index, .k = k};
    EQI_CHECK(ctx, ARG, "ctx is NULL, expected a context");
    EQI_CHECK(!ctx->backend->device, UNSUPPORTED,
              "ctx is of device %s, where neighbours are not looked for; expected a context of "
              "EQUINV_DEVICE_CPU and tensors in CPU memory (equinv_tensor_copy)",
              ctx->backend->name);
    EQI_TRY(eqi_check_orbit_group(group));
    EQI_TRY(eqi_check_points(ctx, group, gallery, "gallery", false, &j.gallery));
    const int64_t rows = j.gallery.shape[0];
    EQI_CHECK(rows >= 1 && rows <= INT32_MAX, SHAPE,
              "gallery has %" PRId64 " rows, expected 1 to 2^31 - 1", rows);
    EQI_TRY(eqi_check_points(ctx, group, queries, "queries", false, &j.queries));
    EQI_TRY(eqi_check_dtype(queries, "queries", gallery->dtype));
    equinv_tensor same = j.queries;
    same.shape[0] = rows;
    EQI_TRY(eqi_check_same_shape(&same, "queries (but for their batch)", &j.gallery, "gallery"));
    EQI_CHECK(group.kind != EQUINV_GROUP_SYMMETRIC || j.gallery.shape[1] <= EQI_ASSIGNMENT_MOST,
              UNSUPPORTED, "gallery has %" PRId64 " rows a sample, expected at most %d",
              j.gallery.shape[1], EQI_ASSIGNMENT_MOST);
    EQI_CHECK(k >= 1 && k <= rows, ARG,
              "k is %" PRId64 ", expected 1 to the gallery's %" PRId64 " rows", k, rows);
    const int64_t shape[2] = {j.queries.shape[0], k};
    EQI_TRY(eqi_check_output(ctx, distance, "distance", EQI_FLOAT));
    EQI_TRY(eqi_check_dtype(distance, "distance", gallery->dtype));
    EQI_TRY(eqi_check_shape(distance, "distance", 2, shape));
    EQI_TRY(eqi_check_output(ctx, index, "index", EQI_I32));
    EQI_TRY(eqi_check_shape(index, "index", 2, shape));
    EQI_TRY(eqi_check_disjoint(distance, "distance", gallery, "gallery"));
    EQI_TRY(eqi_check_disjoint(distance, "distance", queries, "queries"));
    EQI_TRY(eqi_check_disjoint(index, "index", gallery, "gallery"));
    EQI_TRY(eqi_check_disjoint(index, "index", queries, "queries"));
    EQI_TRY(eqi_check_disjoint(index, "index", distance, "distance"));
    return shape[0] == 0 ? EQUINV_OK : run(ctx, &j);
}
