#include "internal/projection.h"

#include <math.h>

/* Four chains that never depend on the machine: the templates' bits are part of a projection. */
static double dot(const double *a, const double *b, int64_t n)
{
    double sum[4] = {0};
    int64_t i = 0;
    for (; i + 4 <= n; i += 4)
        for (int lane = 0; lane < 4; lane++)
            sum[lane] += a[i + lane] * b[i + lane];
    for (; i < n; i++)
        sum[0] += a[i] * b[i];
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

/* Takes the directions of `count` orthonormal rows out of x; what is left of its norm. */
static double reduce(const double *rows, int64_t count, int64_t n, double *x)
{
    for (int64_t i = 0; i < count; i++) {
        const double *const q = rows + i * n;
        const double along = dot(q, x, n);
        for (int64_t c = 0; c < n; c++)
            x[c] -= along * q[c];
    }
    return sqrt(dot(x, x, n));
}

/* Modified Gram-Schmidt, every row twice: once more is enough unless a row is dependent. */
void eqi_orthonormalise(double *rows, int64_t k, int64_t n)
{
    for (int64_t i = 0; i < k; i++) {
        double *const x = rows + i * n;
        double before = sqrt(dot(x, x, n));
        double norm = reduce(rows, i, n, x);
        /* A dependent row gives way to the first unit vector that is not: outside fewer than n
         * directions some unit vector always has a part of at least 1 / sqrt(n). */
        for (int64_t axis = 0; !(norm > 1e-10 * before) && axis < n; axis++) {
            for (int64_t c = 0; c < n; c++)
                x[c] = c == axis;
            norm = reduce(rows, i, n, x);
            before = norm * (double)(2 * n) > 1 ? norm : (double)INFINITY;
        }
        norm = reduce(rows, i, n, x);
        for (int64_t c = 0; c < n; c++)
            x[c] /= norm;
    }
}

typedef enum direction { FOLD, UNFOLD } direction;

/*
 * FOLD: one number for every orbit, sqrt(|G|) times the mean, so that norms are those of the orbit
 * means. UNFOLD: back to all coordinates.
 */
static void between_orbits(equinv_group group, const equinv_tensor *templates, direction way,
                           double *folded)
{
    const int64_t *const shape = templates->shape;
    const int32_t order = eqi_order(group);
    const double root = sqrt(order);
    int64_t o = 0;
    for (int64_t field = 0; field < shape[0] * shape[1]; field++)
        for (int64_t y = 0; y < shape[3]; y++)
            for (int64_t x = 0; x < shape[4]; x++, o++) {
                const int64_t base = field * order * shape[3] * shape[4];
                double sum = 0;
                for (int32_t h = 0; h < order; h++) {
                    const int64_t at = base + eqi_place(group, h, 0, y, x, shape[3], shape[4]);
                    if (way == FOLD)
                        sum += eqi_load(templates, at);
                    else
                        eqi_store(templates, at, folded[o] / root);
                }
                if (way == FOLD)
                    folded[o] = sum / root;
            }
}

equinv_status eqi_make_orthonormal(equinv_context *ctx, equinv_group group, bool folded,
                                   const equinv_tensor *templates)
{
    const int64_t k = templates->shape[0];
    const int64_t count = equinv_tensor_count(templates);
    const int64_t numbers = folded ? count / eqi_order(group) : count;
    void *memory;
    EQI_TRY(
        eqi_alloc_zeroed(ctx, numbers, sizeof(double), "making templates orthonormal", &memory));
    double *const rows = memory;
    if (folded)
        between_orbits(group, templates, FOLD, rows);
    for (int64_t i = 0; !folded && i < count; i++)
        rows[i] = eqi_load(templates, i);
    eqi_orthonormalise(rows, k, numbers / k);
    if (folded)
        between_orbits(group, templates, UNFOLD, rows);
    for (int64_t i = 0; !folded && i < count; i++)
        eqi_store(templates, i, rows[i]);
    eqi_free(ctx, memory, (size_t)numbers * sizeof(double));
    return EQUINV_OK;
}
