/*
 * Distances between orbits of rows with several channels: distance[i, j]^2 = min over permutations p of
 * sum_r |x_i[r] - y_j[p(r)]|^2, an assignment problem for every pair. Costs and sums in double.
 */
#include "assignment.h"

#include <math.h>

#include "internal/arithmetic.h"
#include "internal/orbit.h"
#include "internal/rows.h"

static const eqi_assignment_kernels *kernels_of(const eqi_hardware *hardware)
{
    static const eqi_assignment_kernels *const kernels[] = {
        [EQI_ISA_SCALAR] = &eqi_assignment_kernels_scalar,
#if defined(__x86_64__)
        [EQI_ISA_AVX2] = &eqi_assignment_kernels_avx2,
        [EQI_ISA_AVX512] = &eqi_assignment_kernels_avx512,
#endif
    };
    return kernels[hardware->isa];
}

static int64_t pitch_of(int64_t n)
{
    return eqi_divide_up(n, EQI_COST_LANES) * EQI_COST_LANES;
}

/* x, turned y, costs, the solver's numbers and integers. */
bool eqi_rows_pair_size(int64_t n, int64_t channels, size_t *size)
{
    const int64_t pitch = pitch_of(n);
    size_t rows;
    if (__builtin_mul_overflow((size_t)channels, (size_t)(n + pitch) * sizeof(double), &rows))
        return false;
    const size_t rest = (size_t)((n + EQI_ASSIGNMENT_NUMBERS) * pitch) * sizeof(double) +
                        (size_t)(EQI_ASSIGNMENT_INTEGERS * n) * sizeof(int32_t);
    if (__builtin_add_overflow(rows, rest + 6 * EQI_ALIGNMENT, size))
        return false;
    *size = eqi_aligned(*size);
    return *size < SIZE_MAX;
}

/* What is the same for all permutations: NaN if one of the costs is NaN, else infinite. */
static double odd_distance(const double *cost, int n, int64_t pitch)
{
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++)
            if (isnan(cost[i * pitch + j]))
                return (double)NAN;
    return (double)INFINITY;
}

double eqi_rows_pair(const equinv_context *ctx, const equinv_tensor *x, int64_t a,
                     const equinv_tensor *y, int64_t b, void *room, int32_t *column)
{
    const eqi_assignment_kernels *const kernels = kernels_of(&ctx->hardware);
    const int n = (int)x->shape[1];
    const int64_t c = x->shape[2], pitch = pitch_of(n);
    const int64_t *const sx = x->strides, *const sy = y->strides;
    char *rest = room;
    double *const rows = eqi_take(&rest, (size_t)(n * c) * sizeof *rows);
    double *const turned = eqi_take(&rest, (size_t)(pitch * c) * sizeof *turned);
    double *const cost = eqi_take(&rest, (size_t)(n * pitch) * sizeof *cost);
    double *const numbers =
        eqi_take(&rest, (size_t)(EQI_ASSIGNMENT_NUMBERS * pitch) * sizeof *cost);
    for (int r = 0; r < n; r++)
        for (int64_t k = 0; k < c; k++) {
            rows[r * c + k] = eqi_load(x, a * sx[0] + r * sx[1] + k * sx[2]);
            turned[k * pitch + r] = eqi_load(y, b * sy[0] + r * sy[1] + k * sy[2]);
        }
    for (int64_t k = 0; k < c; k++) /* of no consequence: their costs are replaced */
        for (int64_t r = n; r < pitch; r++)
            turned[k * pitch + r] = 0;
    if (!kernels->costs(rows, turned, n, c, pitch, cost)) {
        for (int r = 0; r < n; r++)
            column[r] = r;
        return odd_distance(cost, n, pitch);
    }
    kernels->solve(cost, n, pitch, column, numbers, (int32_t *)rest);
    double sum = 0;
    for (int r = 0; r < n; r++)
        sum += cost[r * pitch + column[r]];
    return sum;
}

typedef struct job {
    const equinv_context *ctx;
    const equinv_tensor *x, *y, *distance, *element;
    size_t room_size;
} job;

/* A slice: the room of a pair, then what row has which column. */
static void compare_pairs(const void *arg, int64_t first, int64_t count, void *slice)
{
    const job *const j = arg;
    const int64_t n = j->x->shape[1], pairs_of_x = j->y->shape[0];
    int32_t *const column = (int32_t *)((char *)slice + j->room_size);
    for (int64_t pair = first; pair < first + count; pair++) {
        const int64_t a = pair / pairs_of_x, b = pair % pairs_of_x;
        const double squared = eqi_rows_pair(j->ctx, j->x, a, j->y, b, slice, column);
        const int64_t *const d = j->distance->strides;
        eqi_store(j->distance, a * d[0] + b * d[1], sqrt(squared));
        for (int64_t r = 0; r < n && j->element; r++)
            ((int32_t *)j->element->data)[a * j->element->strides[0] + b * j->element->strides[1] +
                                          r * j->element->strides[2]] = column[r];
    }
}

equinv_status eqi_rows_distance(const equinv_context *ctx, const equinv_tensor *x,
                                const equinv_tensor *y, const equinv_tensor *distance,
                                const equinv_tensor *element)
{
    const int64_t n = x->shape[1];
    job j = {ctx, x, y, distance, element, 0};
    int64_t pairs;
    void *memory;
    EQI_TRY(
        eqi_product_of("the pairs of x and y", 2, (int64_t[]){x->shape[0], y->shape[0]}, &pairs));
    EQI_CHECK(eqi_rows_pair_size(n, x->shape[2], &j.room_size), SHAPE,
              "a row of x and y exceeds the address space");
    if (pairs == 0)
        return EQUINV_OK;
    const size_t slice = j.room_size + eqi_aligned((size_t)n * sizeof(int32_t));
    EQI_TRY(eqi_alloc_zeroed(ctx, ctx->hardware.threads, slice, "assignment problems", &memory));
    const double row_work = (double)n * (double)n * (8 + (double)x->shape[2]);
    eqi_parallel_rows(ctx, pairs, row_work, 16, compare_pairs, &j, memory, slice);
    eqi_free(ctx, memory, (size_t)ctx->hardware.threads * slice);
    return EQUINV_OK;
}
