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

typedef struct job {
    const equinv_tensor *x, *y, *distance, *element;
    const eqi_assignment_kernels *kernels;
    int n;
    int64_t channels, pitch;
} job;

/* Bytes of a slice: x, turned y, costs, the solver's numbers; integers; what row has which column. */
static bool slice_size(const job *j, size_t *size)
{
    const int64_t n = j->n, pitch = j->pitch;
    size_t rows, turned;
    if (__builtin_mul_overflow((size_t)j->channels, (size_t)n * sizeof(double), &rows) ||
        __builtin_mul_overflow((size_t)j->channels, (size_t)pitch * sizeof(double), &turned) ||
        __builtin_add_overflow(rows, turned, size))
        return false;
    const size_t rest = (size_t)((n + EQI_ASSIGNMENT_NUMBERS) * pitch) * sizeof(double) +
                        (size_t)((1 + EQI_ASSIGNMENT_INTEGERS) * n) * sizeof(int32_t);
    if (__builtin_add_overflow(*size, rest + 6 * EQI_ALIGNMENT, size))
        return false;
    *size = eqi_aligned(*size);
    return *size < SIZE_MAX;
}

/* What is the same for all permutations: NaN if one of the costs is NaN, else infinite. */
static double distance_of_odd(const double *cost, int n, int64_t pitch)
{
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++)
            if (isnan(cost[i * pitch + j]))
                return (double)NAN;
    return (double)INFINITY;
}

static void compare_pairs(const void *arg, int64_t first, int64_t count, void *slice)
{
    const job *const j = arg;
    const int n = j->n;
    const int64_t c = j->channels, pitch = j->pitch, pairs_of_x = j->y->shape[0];
    const int64_t *const sx = j->x->strides, *const sy = j->y->strides;
    char *rest = slice;
    double *const x = eqi_take(&rest, (size_t)(n * c) * sizeof *x);
    double *const y = eqi_take(&rest, (size_t)(pitch * c) * sizeof *y);
    double *const cost = eqi_take(&rest, (size_t)(n * pitch) * sizeof *cost);
    double *const numbers =
        eqi_take(&rest, (size_t)(EQI_ASSIGNMENT_NUMBERS * pitch) * sizeof *cost);
    int32_t *const integers =
        eqi_take(&rest, (size_t)(EQI_ASSIGNMENT_INTEGERS * n) * sizeof *integers);
    int32_t *const column = eqi_take(&rest, (size_t)n * sizeof *column);
    for (int64_t k = 0; k < c; k++)
        for (int64_t r = n; r < pitch; r++)
            y[k * pitch + r] = 0; /* of no consequence: their costs are replaced */
    for (int64_t pair = first; pair < first + count; pair++) {
        const int64_t a = pair / pairs_of_x, b = pair % pairs_of_x;
        if (pair == first || b == 0)
            for (int r = 0; r < n; r++)
                for (int64_t k = 0; k < c; k++)
                    x[r * c + k] = eqi_load(j->x, a * sx[0] + r * sx[1] + k * sx[2]);
        for (int r = 0; r < n; r++)
            for (int64_t k = 0; k < c; k++)
                y[k * pitch + r] = eqi_load(j->y, b * sy[0] + r * sy[1] + k * sy[2]);
        double sum = 0;
        if (j->kernels->costs(x, y, n, c, pitch, cost)) {
            j->kernels->solve(cost, n, pitch, column, numbers, integers);
            for (int r = 0; r < n; r++)
                sum += cost[r * pitch + column[r]];
        } else {
            sum = distance_of_odd(cost, n, pitch);
            for (int r = 0; r < n; r++)
                column[r] = r;
        }
        const int64_t *const d = j->distance->strides;
        eqi_store(j->distance, a * d[0] + b * d[1], sqrt(sum));
        for (int r = 0; r < n && j->element; r++)
            ((int32_t *)j->element->data)[a * j->element->strides[0] + b * j->element->strides[1] +
                                          r * j->element->strides[2]] = column[r];
    }
}

equinv_status eqi_rows_distance(const equinv_context *ctx, const equinv_tensor *x,
                                const equinv_tensor *y, const equinv_tensor *distance,
                                const equinv_tensor *element)
{
    const int64_t n = x->shape[1], pitch = eqi_divide_up(n, EQI_COST_LANES) * EQI_COST_LANES;
    const job j = {x, y, distance, element, kernels_of(&ctx->hardware), (int)n, x->shape[2], pitch};
    size_t slice = 0;
    int64_t pairs;
    void *memory;
    EQI_TRY(
        eqi_product_of("the pairs of x and y", 2, (int64_t[]){x->shape[0], y->shape[0]}, &pairs));
    EQI_CHECK(slice_size(&j, &slice), SHAPE, "a row of x and y exceeds the address space");
    if (pairs == 0)
        return EQUINV_OK;
    EQI_TRY(eqi_alloc_zeroed(ctx, ctx->hardware.threads, slice, "assignment problems", &memory));
    const double row_work = (double)n * (double)n * (8 + (double)x->shape[2]);
    eqi_parallel_rows(ctx, pairs, row_work, 16, compare_pairs, &j, memory, slice);
    eqi_free(ctx, memory, (size_t)ctx->hardware.threads * slice);
    return EQUINV_OK;
}
