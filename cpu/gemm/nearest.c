/*
 * Nearest neighbours: inner products by blocks as matrix products decide which pairs are worth looking
 * at, and those are measured directly, so that the answer is the exact one, ties included.
 *
 * |x - y|^2 = |x|^2 + |y|^2 - 2 <x, y>, where a chain of D multiply-adds with unit roundoff u errs by at
 * most (D + 2) u |x| |y| (and the sums in double by far less): a pair whose estimate lies further than
 * twice that, and a little, above the k-th distance found so far cannot be nearer. An estimate that is
 * not finite decides nothing.
 */
#include "gemm.h"

#include <float.h>
#include <math.h>

#include "internal/distance.h"
#include "internal/nearest.h"
#include "internal/rows.h"
#include "internal/sort.h"

enum { QUERY_ROWS = 128, GALLERY_ROWS = 256, HEAP_BYTES = 4 << 20 };

typedef struct job {
    const equinv_context *ctx;
    const eqi_nearest_problem *p;
    size_t element;
    int64_t query_rows; /* of a tile */
    double *lengths;    /* |x| of every row of the gallery */
    double relative;    /* error of the estimate by |x| |y| */
    double of_squares;  /* and by |x|^2 + |y|^2 */
    double at_least;    /* and by underflow */
} job;

static const void *row_of(const job *j, const void *rows, int64_t row)
{
    return (const char *)rows + (size_t)(row * j->p->dimension) * j->element;
}

static double squared_distance(const job *j, const void *x, const void *y)
{
    return j->p->dtype == EQUINV_F32 ? eqi_squared_distance_f32(x, y, j->p->dimension)
                                     : eqi_squared_distance_f64(x, y, j->p->dimension);
}

static double length(const job *j, const void *x)
{
    double sum = 0;
    for (int64_t i = 0; i < j->p->dimension; i++) {
        const double v =
            j->p->dtype == EQUINV_F32 ? (double)((const float *)x)[i] : ((const double *)x)[i];
        sum += v * v;
    }
    return sqrt(sum);
}

/* ---- the k best so far: a heap with the worst on top ------------------------------------------ */

static bool nearer(const eqi_neighbour *a, const eqi_neighbour *b)
{
    return eqi_before(a->squared, b->squared) ||
           (!eqi_before(b->squared, a->squared) && a->index < b->index);
}

static void sink(eqi_neighbour *heap, int64_t count, int64_t i)
{
    const eqi_neighbour item = heap[i];
    for (int64_t child; (child = 2 * i + 1) < count; i = child) {
        if (child + 1 < count && nearer(&heap[child], &heap[child + 1]))
            child++;
        if (!nearer(&item, &heap[child]))
            break;
        heap[i] = heap[child];
    }
    heap[i] = item;
}

static void offer(eqi_neighbour *heap, int64_t *count, int64_t k, eqi_neighbour item)
{
    if (*count < k) {
        heap[(*count)++] = item;
        for (int64_t i = *count == k ? k / 2 : 0; i-- > 0;)
            sink(heap, k, i);
    } else if (nearer(&item, &heap[0])) {
        heap[0] = item;
        sink(heap, k, 0);
    }
}

static void sort_heap(eqi_neighbour *heap, int64_t count)
{
    while (count > 1) {
        const eqi_neighbour worst = heap[0];
        heap[0] = heap[--count];
        heap[count] = worst;
        sink(heap, count, 0);
    }
}

/* ---- tiles ---------------------------------------------------------------------------------- */

static double estimate_of(const job *j, const void *products, int64_t i)
{
    return j->p->dtype == EQUINV_F32 ? (double)((const float *)products)[i]
                                     : ((const double *)products)[i];
}

/* One query against rows first .. +count of the gallery, whose inner products are known. */
static void look_at(const job *j, const void *x, double x_length, int64_t first, int64_t count,
                    const void *products, eqi_neighbour *heap, int64_t *filled)
{
    for (int64_t i = 0; i < count; i++) {
        const double y_length = j->lengths[first + i], product = x_length * y_length;
        const double squares = x_length * x_length + y_length * y_length;
        const double estimate = squares - 2 * estimate_of(j, products, i);
        const double error = j->relative * product + j->of_squares * squares + j->at_least;
        if (*filled == j->p->k && isfinite(estimate) && estimate - error > heap[0].squared)
            continue;
        const double d = squared_distance(j, x, row_of(j, j->p->gallery, first + i));
        offer(heap, filled, j->p->k, (eqi_neighbour){d, (int32_t)(first + i)});
    }
}

static void find(const void *arg, int64_t first, int64_t rows, void *slice)
{
    const job *const j = arg;
    const eqi_nearest_problem *const p = j->p;
    char *rest = slice;
    void *const workspace = eqi_take(&rest, EQI_GEMM_WORKSPACE);
    void *const products = eqi_take(&rest, (size_t)j->query_rows * GALLERY_ROWS * j->element);
    double *const lengths = eqi_take(&rest, (size_t)j->query_rows * sizeof *lengths);
    int64_t *const filled = eqi_take(&rest, (size_t)j->query_rows * sizeof *filled);
    eqi_neighbour *const heaps = eqi_take(&rest, (size_t)(j->query_rows * p->k) * sizeof *heaps);
    void *const room = rest;
    for (int64_t q = 0; q < rows; q++) {
        lengths[q] = length(j, row_of(j, p->queries, first + q));
        filled[q] = 0;
    }
    for (int64_t g = 0; g < p->gallery_rows; g += GALLERY_ROWS) {
        const int64_t left = p->gallery_rows - g;
        const int64_t count = left < GALLERY_ROWS ? left : GALLERY_ROWS;
        eqi_gemm(&j->ctx->hardware, p->dtype,
                 &(eqi_gemm_args){.transpose_b = true,
                                  .m = rows,
                                  .n = count,
                                  .k = p->dimension,
                                  .a = row_of(j, p->queries, first),
                                  .lda = p->dimension,
                                  .b = row_of(j, p->gallery, g),
                                  .ldb = p->dimension,
                                  .c = products,
                                  .ldc = GALLERY_ROWS},
                 workspace);
        for (int64_t q = 0; q < rows; q++)
            look_at(j, row_of(j, p->queries, first + q), lengths[q], g, count,
                    (char *)products + (size_t)(q * GALLERY_ROWS) * j->element, heaps + q * p->k,
                    &filled[q]);
    }
    for (int64_t q = 0; q < rows; q++) {
        sort_heap(heaps + q * p->k, p->k);
        p->found(p->arg, first + q, heaps + q * p->k, room);
    }
}

static void measure(void *arg, int64_t row)
{
    const job *const j = arg;
    j->lengths[row] = length(j, row_of(j, j->p->gallery, row));
}

equinv_status eqi_nearest(const equinv_context *ctx, const eqi_nearest_problem *problem)
{
    job j = {.ctx = ctx, .p = problem, .element = equinv_dtype_size(problem->dtype)};
    const bool single = problem->dtype == EQUINV_F32;
    const double terms = (double)problem->dimension + 8;
    j.relative = 2 * terms * (single ? (double)FLT_EPSILON : DBL_EPSILON);
    j.of_squares = 4 * terms * DBL_EPSILON;
    j.at_least = 2 * terms * (single ? (double)FLT_MIN : DBL_MIN);
    const int64_t fit = HEAP_BYTES / (int64_t)sizeof(eqi_neighbour) / problem->k;
    j.query_rows = fit < 8 ? 8 : fit < QUERY_ROWS ? fit : QUERY_ROWS;
    const size_t rows = (size_t)j.query_rows;
    const size_t slice = EQI_GEMM_WORKSPACE + eqi_aligned(rows * GALLERY_ROWS * j.element) +
                         2 * eqi_aligned(rows * sizeof(double)) +
                         eqi_aligned(rows * (size_t)problem->k * sizeof(eqi_neighbour)) +
                         eqi_aligned(problem->room_size);
    void *scratch, *lengths;
    EQI_TRY(eqi_alloc_zeroed(ctx, ctx->hardware.threads, slice, "nearest neighbours", &scratch));
    const equinv_status status = eqi_alloc_zeroed(ctx, problem->gallery_rows, sizeof(double),
                                                  "nearest neighbours", &lengths);
    if (status == EQUINV_OK) {
        j.lengths = lengths;
        const double numbers = (double)problem->gallery_rows * (double)problem->dimension;
        eqi_parallel_if_worth(ctx, problem->gallery_rows, numbers, measure, &j);
        eqi_parallel_rows(ctx, problem->query_rows, numbers / 8, j.query_rows, find, &j, scratch,
                          slice);
        eqi_free(ctx, lengths, (size_t)problem->gallery_rows * sizeof(double));
    }
    eqi_free(ctx, scratch, (size_t)ctx->hardware.threads * slice);
    return status;
}
