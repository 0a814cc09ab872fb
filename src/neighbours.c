/*
 * Nearest orbits. phi(x) = (P x, |x - P x|), P the orbit mean, never stretches: |phi(x) - phi(y)| <= the
 * orbit distance, because P g y = P y, the rest is orthogonal to P's image and g keeps its length. For S
 * phi(x) has every channel sorted: the best order of all channels at once is no better than the best of
 * each (and the same where there is one channel). Gallery rows are looked at by ascending bound until it
 * exceeds the k-th distance.
 */
#include <math.h>

#include "internal/backend.h"
#include "internal/distance.h"
#include "internal/nearest.h"
#include "internal/orbit.h"
#include "internal/rows.h"
#include "internal/sort.h"

typedef struct job {
    const equinv_context *ctx;
    equinv_group group;
    equinv_tensor gallery, queries; /* points, row-major */
    const equinv_tensor *distance, *index;
    int64_t k, dimension, field, width; /* width: numbers of phi */
    const int32_t *places;              /* [G, G H W]: where g takes a number inside its field */
    double *phi, *length;               /* of the gallery, |phi| = |x| */
    size_t room_size;
} job;

/* ---- the bound ------------------------------------------------------------------------------ */

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

/* Every orbit of coordinates has one member in the first H W places of a field for each element. */
static void mean_and_rest(const job *j, const equinv_tensor *t, int64_t b, double *phi)
{
    const int64_t order = eqi_order(j->group), pixels = j->field / order;
    const int64_t start = b * j->dimension;
    double rest = 0;
    for (int64_t f = 0; f < j->dimension; f += j->field)
        for (int64_t q = 0; q < pixels; q++) {
            double sum = 0;
            for (int64_t g = 0; g < order; g++)
                sum += eqi_load(t, start + f + j->places[g * j->field + q]);
            const double mean = sum / (double)order;
            for (int64_t g = 0; g < order; g++) {
                const double d = eqi_load(t, start + f + j->places[g * j->field + q]) - mean;
                rest += d * d;
            }
            *phi++ = mean * sqrt((double)order);
        }
    *phi = sqrt(rest);
}

static double bound_of(const job *j, const equinv_tensor *t, int64_t b, double *phi, void *room)
{
    double sum = 0;
    if (j->group.kind == EQUINV_GROUP_SYMMETRIC)
        sorted_channels(t, b, phi, room);
    else
        mean_and_rest(j, t, b, phi);
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

/* ---- queries -------------------------------------------------------------------------------- */

/* All g q of a query, in the element type of the data. */
static void turn_query(const job *j, int64_t query, const equinv_tensor *turned)
{
    for (int64_t g = 0; g < eqi_order(j->group); g++)
        for (int64_t f = 0; f < j->dimension; f += j->field)
            for (int64_t i = 0; i < j->field; i++)
                eqi_store(turned, g * j->dimension + f + j->places[g * j->field + i],
                          eqi_load(&j->queries, query * j->dimension + f + i));
}

static double squared_distance(const job *j, const equinv_tensor *turned, int64_t b)
{
    double least = (double)INFINITY;
    for (int64_t g = 0; g < eqi_order(j->group); g++) {
        const int64_t q = g * j->dimension, y = b * j->dimension;
        const double d =
            turned->dtype == EQUINV_F32
                ? eqi_squared_distance_f32((const float *)turned->data + q,
                                           (const float *)j->gallery.data + y, j->dimension)
                : eqi_squared_distance_f64((const double *)turned->data + q,
                                           (const double *)j->gallery.data + y, j->dimension);
        if (!(d >= least) && !isnan(least))
            least = d;
    }
    return least;
}

/* A slice: phi of the query, bounds, the k best, the turned query or the room of a pair. */
static void find(const void *arg, int64_t first, int64_t count, void *slice)
{
    const job *const j = arg;
    const int64_t rows = j->gallery.shape[0];
    const bool symmetric = j->group.kind == EQUINV_GROUP_SYMMETRIC;
    char *rest = slice;
    double *const phi = eqi_take(&rest, (size_t)j->width * sizeof *phi);
    eqi_item *const bounds = eqi_take(&rest, (size_t)rows * sizeof *bounds);
    eqi_item *const best = eqi_take(&rest, (size_t)j->k * sizeof *best);
    int32_t *const row = eqi_take(&rest, (size_t)j->gallery.shape[1] * sizeof *row);
    const equinv_tensor turned = {.data = rest, .dtype = j->queries.dtype};
    for (int64_t query = first; query < first + count; query++) {
        const double length = bound_of(j, &j->queries, query, phi, rest);
        for (int64_t b = 0; b < rows; b++) {
            const double d = sqrt(eqi_squared_distance_f64(phi, j->phi + b * j->width, j->width));
            bounds[b] = (eqi_item){isnan(d) ? (double)INFINITY : d, (int32_t)b};
        }
        for (int64_t i = rows / 2; i-- > 0;)
            sink(bounds, rows, i, 1);
        if (!symmetric)
            turn_query(j, query, &turned);
        int64_t filled = 0;
        for (int64_t left = rows; left > 0;) {
            const eqi_item next = bounds[0];
            /* Far more than what sums in double leave of the bound. */
            const double slack = 1e-11 * (length + j->length[next.index]);
            if (filled == j->k && next.value - slack > sqrt(best[0].value))
                break;
            const double d = symmetric ? eqi_rows_pair(j->ctx, &j->queries, query, &j->gallery,
                                                       next.index, rest, row)
                                       : squared_distance(j, &turned, next.index);
            offer(best, &filled, j->k, (eqi_item){d, next.index});
            bounds[0] = bounds[--left];
            sink(bounds, left, 0, 1);
        }
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
}

/* ---- memory --------------------------------------------------------------------------------- */

/* Sizes of phi and of a thread's slice. */
static equinv_status size_job(job *j, int64_t *places, size_t *slice)
{
    const equinv_tensor *const t = &j->gallery;
    const bool symmetric = j->group.kind == EQUINV_GROUP_SYMMETRIC;
    int64_t room;
    EQI_TRY(eqi_product_of("a row of gallery", t->ndim - 1, t->shape + 1, &j->dimension));
    if (symmetric) {
        j->width = j->dimension;
        EQI_CHECK(eqi_rows_pair_size(t->shape[1], t->shape[2], &j->room_size), SHAPE,
                  "a row of gallery exceeds the address space");
        const size_t items = eqi_aligned((size_t)t->shape[1] * 2 * sizeof(eqi_item));
        j->room_size = j->room_size > items ? j->room_size : items;
    } else {
        const int64_t order = eqi_order(j->group);
        EQI_TRY(eqi_product_of("a field of gallery", 3, t->shape + 2, &j->field));
        EQI_CHECK(j->field <= INT32_MAX, UNSUPPORTED,
                  "gallery has %" PRId64 " numbers a field, expected below 2^31", j->field);
        EQI_TRY(eqi_product_of("the places of gallery", 2, (int64_t[]){order, j->field}, places));
        EQI_TRY(eqi_product_of("a turned query", 3,
                               (int64_t[]){order, j->dimension, (int64_t)sizeof(double)}, &room));
        j->room_size = eqi_aligned((size_t)room);
        j->width = j->dimension / order + 1;
    }
    *slice = eqi_aligned((size_t)j->width * sizeof(double)) +
             eqi_aligned((size_t)t->shape[0] * sizeof(eqi_item)) +
             eqi_aligned((size_t)j->k * sizeof(eqi_item)) +
             eqi_aligned((size_t)t->shape[1] * sizeof(int32_t)) + j->room_size;
    return EQUINV_OK;
}

static equinv_status run(equinv_context *ctx, job *j)
{
    const int64_t rows = j->gallery.shape[0], batch = j->queries.shape[0];
    const size_t threads = (size_t)ctx->hardware.threads;
    equinv_tensor own_gallery = {0}, own_queries = {0};
    int64_t places = 0, numbers = 0;
    size_t slice = 0;
    void *table = NULL, *phi = NULL, *length = NULL, *room = NULL;
    equinv_status status;
    EQI_TRY_GOTO(status, done, size_job(j, &places, &slice));
    EQI_TRY_GOTO(status, done, eqi_product_of("phi", 2, (int64_t[]){rows, j->width}, &numbers));
    EQI_TRY_GOTO(status, done, eqi_tensor_pack(ctx, &j->gallery, &j->gallery, &own_gallery));
    EQI_TRY_GOTO(status, done, eqi_tensor_pack(ctx, &j->queries, &j->queries, &own_queries));
    EQI_TRY_GOTO(status, done,
                 eqi_alloc_zeroed(ctx, places, sizeof(int32_t), "neighbours", &table));
    EQI_TRY_GOTO(status, done, eqi_alloc_zeroed(ctx, numbers, sizeof(double), "neighbours", &phi));
    EQI_TRY_GOTO(status, done, eqi_alloc_zeroed(ctx, rows, sizeof(double), "neighbours", &length));
    EQI_TRY_GOTO(status, done,
                 eqi_alloc_zeroed(ctx, ctx->hardware.threads, slice, "neighbours", &room));
    j->phi = phi;
    j->length = length;
    j->places = table;
    const int32_t order = places ? eqi_order(j->group) : 0;
    int32_t *to = table;
    for (int32_t g = 0; g < order; g++) {
        const int64_t height = j->gallery.shape[3], width = j->gallery.shape[4];
        for (int64_t a = 0; a < order; a++)
            for (int64_t q = 0; q < height * width; q++)
                *to++ = (int32_t)eqi_place(j->group, g, a, q / width, q % width, height, width);
    }
    eqi_parallel_rows(ctx, rows, 4 * (double)j->dimension, 16, bound_gallery, j, room, slice);
    eqi_parallel_rows(ctx, batch, (double)rows * (double)j->width, 1, find, j, room, slice);
done:
    eqi_free(ctx, room, threads * slice);
    eqi_free(ctx, length, (size_t)rows * sizeof(double));
    eqi_free(ctx, phi, (size_t)numbers * sizeof(double));
    eqi_free(ctx, table, (size_t)places * sizeof(int32_t));
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
