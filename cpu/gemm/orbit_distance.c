/*
 * Orbit distances: inner products of all x_i with all g y_j as matrix products decide which g are worth
 * looking at, and those are measured as the reference does. Results are the reference's, to the bit.
 *
 * |x - g y|^2 = |x|^2 + |y|^2 - 2 <x, g y>: the nearest g has the largest product. A chain of D multiply-adds
 * with unit roundoff u errs by at most (D + 2) u |x| |y| (and by underflow), so g may be the nearest only if
 * its product is within twice that of the largest. Products that are not finite decide nothing.
 */
#include "gemm.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "cpu/gemm/distance.h"
#include "cpu/gfourier/products.h"
#include "cpu/ref/ref.h"
#include "internal/arithmetic.h"
#include "internal/rows.h"

enum { ROWS = 64, COLUMNS = 256, TURNED_BYTES = 16 << 20 };

typedef struct job {
    const equinv_context *ctx;
    equinv_group group;
    equinv_tensor x, y; /* row-major */
    const equinv_tensor *distance, *element;
    const eqi_orbit_visitor *visitor; /* bounds instead of distances; NULL: distances */
    int64_t order, dimension, field;
    size_t size;           /* of a number */
    size_t products_size;  /* of a slice: what is before bounds */
    const int32_t *places; /* [G, G H W]: where g takes a number inside its field */
    double *x_length, *y_length;
    char *turned;         /* [block of y, G, D] */
    int64_t first, block; /* of y */
    double relative, at_least, rounding;
} job;

static double length(const equinv_tensor *t, int64_t row, int64_t dimension)
{
    double sum = 0;
    for (int64_t i = row * dimension; i < (row + 1) * dimension; i++) {
        const double v = eqi_load(t, i);
        sum += v * v;
    }
    return sqrt(sum);
}

/* Lengths of x, then of y. */
static void measure(const void *arg, int64_t first, int64_t count, void *slice)
{
    const job *const j = arg;
    const int64_t of_x = j->x.shape[0];
    (void)slice;
    for (int64_t row = first; row < first + count; row++)
        if (row < of_x)
            j->x_length[row] = length(&j->x, row, j->dimension);
        else
            j->y_length[row - of_x] = length(&j->y, row - of_x, j->dimension);
}

#define TURN(name, real)                                                                           \
    static void name(const job *j, const real *y, real *to)                                        \
    {                                                                                              \
        for (int64_t g = 0; g < j->order; g++)                                                     \
            for (int64_t f = 0; f < j->dimension; f += j->field)                                   \
                for (int64_t i = 0; i < j->field; i++)                                             \
                    to[g * j->dimension + f + j->places[g * j->field + i]] = y[f + i];             \
    }
TURN(turn_f32, float)
TURN(turn_f64, double)

static void turn_rows(const void *arg, int64_t first, int64_t count, void *slice)
{
    const job *const j = arg;
    (void)slice;
    for (int64_t b = first; b < first + count; b++) {
        const int64_t from = (j->first + b) * j->dimension, to = b * j->order * j->dimension;
        if (j->size == sizeof(float))
            turn_f32(j, (const float *)j->y.data + from, (float *)(void *)j->turned + to);
        else
            turn_f64(j, (const double *)j->y.data + from, (double *)(void *)j->turned + to);
    }
}

#if defined(__x86_64__)
#define LEVELS(name)                                                                               \
    {                                                                                              \
        [EQI_ISA_SCALAR] = name##_scalar, [EQI_ISA_AVX2] = name##_avx2,                            \
        [EQI_ISA_AVX512] = name##_avx512,                                                          \
    }
#else
#define LEVELS(name)                                                                               \
    {                                                                                              \
        [EQI_ISA_SCALAR] = name##_scalar                                                           \
    }
#endif
#define CHOICE(name)                                                                               \
    name *name##_of(const eqi_hardware *hardware)                                                  \
    {                                                                                              \
        static name *const kernels[] = LEVELS(name);                                               \
        return kernels[hardware->isa];                                                             \
    }
CHOICE(eqi_f32_distance)
CHOICE(eqi_f64_distance)
CHOICE(eqi_f32_distances)
CHOICE(eqi_f64_distances)

static double squared_distance(const job *j, int64_t row, int64_t turned)
{
    const eqi_hardware *const hardware = &j->ctx->hardware;
    const int64_t x = row * j->dimension, y = turned * j->dimension;
    return j->size == sizeof(float)
               ? eqi_f32_distance_of(hardware)((const float *)j->x.data + x,
                                               (const float *)(void *)j->turned + y, j->dimension)
               : eqi_f64_distance_of(hardware)((const double *)j->x.data + x,
                                               (const double *)(void *)j->turned + y, j->dimension);
}

/* What products may be off by, and the largest of them; NaN if one is not finite. */
static double error_of(const job *j, int64_t row, int64_t y)
{
    return j->relative * j->x_length[row] * j->y_length[y] + j->at_least;
}

static double largest_of(const job *j, const equinv_tensor *products, int64_t at)
{
    double largest = -(double)INFINITY, sum = 0;
    for (int64_t g = 0; g < j->order; g++) {
        const double p = eqi_load(products, at + g);
        largest = p > largest ? p : largest;
        sum += p * 0;
    }
    return sum == 0 ? largest : (double)NAN;
}

/* The bound of x_row and y number b of the block, and the element whose product is largest beyond doubt. */
static double bound_of(const job *j, int64_t row, int64_t b, const equinv_tensor *products,
                       int64_t at, int32_t *element)
{
    const int64_t y = j->first + b;
    const double largest = largest_of(j, products, at), error = error_of(j, row, y);
    /* Squares, what is measured and what is stored are rounded, too. */
    const double squares = j->x_length[row] * j->x_length[row] + j->y_length[y] * j->y_length[y];
    const double bound = squares - 2 * (largest + error) - j->rounding * squares;
    const double enough = largest - 2 * error - j->rounding * squares;
    int32_t nearest = -1, several = 0;
    for (int32_t g = 0; g < j->order; g++)
        if (!(eqi_load(products, at + g) < enough)) {
            nearest = g;
            several++;
        }
    const bool known = isfinite(bound) && several == 1;
    *element = known ? eqi_inverse(j->group, nearest) : -1;
    return isfinite(bound) ? bound : -(double)INFINITY;
}

/* x_row and y number b of the block, whose products start at `products`. */
static void decide(const job *j, int64_t row, int64_t b, const equinv_tensor *products, int64_t at)
{
    const double largest = largest_of(j, products, at);
    const double enough =
        isnan(largest) ? -(double)INFINITY : largest - 2 * error_of(j, row, j->first + b);
    const int64_t *const s = j->distance->strides;
    double least = 0;
    int32_t nearest = -1;
    for (int64_t g = 0; g < j->order; g++) {
        if (eqi_load(products, at + g) < enough)
            continue;
        const double d = squared_distance(j, row, b * j->order + g);
        if (nearest < 0 || d < least || (isnan(d) && !isnan(least))) {
            least = d;
            nearest = (int32_t)g;
        }
    }
    eqi_store(j->distance, row * s[0] + (j->first + b) * s[1], sqrt(least));
    if (j->element)
        ((int32_t *)j->element
             ->data)[row * j->element->strides[0] + (j->first + b) * j->element->strides[1]] =
            nearest;
}

/* Bounds of some x and the block, in a slice behind the products, and the visitor's room. */
static size_t bounds_size(const job *j, int64_t block)
{
    return eqi_aligned((size_t)(ROWS * block) * j->size) +
           eqi_aligned((size_t)(ROWS * block) * sizeof(int32_t)) + j->visitor->room_size;
}

static eqi_orbit_bounds bounds_in(const job *j, int64_t first, int64_t count, void *slice,
                                  void **room)
{
    char *rest = (char *)slice + j->products_size;
    eqi_orbit_bounds bounds = {.dtype = j->x.dtype,
                               .first_x = first,
                               .count_x = count,
                               .first_y = j->first,
                               .count_y = j->block,
                               .step = j->block};
    bounds.least = eqi_take(&rest, (size_t)(ROWS * j->block) * j->size);
    bounds.element = eqi_take(&rest, (size_t)(ROWS * j->block) * sizeof(int32_t));
    *room = rest;
    return bounds;
}

/* A slice: workspace of a product, products; bounds. */
static void compare_rows(const void *arg, int64_t first, int64_t count, void *slice)
{
    const job *const j = arg;
    const int64_t at_once = eqi_larger(1, COLUMNS / j->order);
    const equinv_tensor products = {.data = (char *)slice + EQI_GEMM_WORKSPACE,
                                    .dtype = j->x.dtype};
    eqi_orbit_bounds bounds = {0};
    void *room = NULL;
    if (j->visitor)
        bounds = bounds_in(j, first, count, slice, &room);
    const equinv_tensor least = {.data = bounds.least, .dtype = bounds.dtype};
    for (int64_t b = 0; b < j->block; b += at_once) {
        const int64_t some = eqi_smaller(at_once, j->block - b), columns = some * j->order;
        eqi_gemm(&j->ctx->hardware, j->x.dtype,
                 &(eqi_gemm_args){.transpose_b = true,
                                  .m = count,
                                  .n = columns,
                                  .k = j->dimension,
                                  .a = (const char *)j->x.data +
                                       (size_t)(first * j->dimension) * j->size,
                                  .lda = j->dimension,
                                  .b = j->turned + (size_t)(b * j->order * j->dimension) * j->size,
                                  .ldb = j->dimension,
                                  .c = products.data,
                                  .ldc = columns},
                 slice);
        for (int64_t i = 0; i < count; i++)
            for (int64_t k = 0; k < some; k++) {
                const int64_t at = i * columns + k * j->order, to = i * bounds.step + b + k;
                if (j->visitor)
                    eqi_store(&least, to,
                              bound_of(j, first + i, b + k, &products, at, bounds.element + to));
                else
                    decide(j, first + i, b + k, &products, at);
            }
    }
    if (j->visitor)
        j->visitor->found(j->visitor->arg, &bounds, room);
}

/* In blocks of y whose turned rows are few enough to keep. */
static void run(job *j, void *scratch, size_t slice, int64_t block)
{
    const int64_t a = j->x.shape[0], b = j->y.shape[0];
    const double row = (double)j->order * (double)j->dimension;
    eqi_parallel_rows(j->ctx, a + b, 2 * (double)j->dimension, 16, measure, j, NULL, 0);
    for (j->first = 0; j->first < b; j->first += block) {
        j->block = eqi_smaller(block, b - j->first);
        eqi_parallel_rows(j->ctx, j->block, 2 * row, 4, turn_rows, j, NULL, 0);
        /* Few rows are cut further, so that all threads have work. */
        const int64_t chunk =
            eqi_smaller(ROWS, eqi_larger(8, a / (2 * j->ctx->hardware.threads) + 1));
        eqi_parallel_rows(j->ctx, a, row * (double)j->block / 8, chunk, compare_rows, j, scratch,
                          slice);
    }
}

static equinv_status compare_all(const equinv_context *ctx, equinv_group group,
                                 const equinv_tensor *x, const equinv_tensor *y, job j)
{
    const int64_t order = eqi_order(group), height = x->shape[3], width = x->shape[4];
    const int64_t a = x->shape[0], b = y->shape[0];
    int64_t places, turned;
    equinv_tensor own_x = {0}, own_y = {0};
    void *table = NULL, *memory = NULL;
    equinv_status status;
    j.ctx = ctx, j.group = group, j.order = order;
    EQI_CHECK(j.field <= INT32_MAX, UNSUPPORTED,
              "x has %" PRId64 " numbers a field, expected below 2^31", j.field);
    j.size = equinv_dtype_size(x->dtype);
    EQI_TRY(eqi_product_of("the places of x", 2, (int64_t[]){order, j.field}, &places));
    EQI_TRY(eqi_product_of("a turned row of y", 3, (int64_t[]){order, j.dimension, (int64_t)j.size},
                           &turned));
    const int64_t fit = eqi_larger(1, TURNED_BYTES / eqi_larger(1, turned));
    const int64_t block = eqi_smaller(b, j.visitor ? eqi_smaller(fit, EQI_ORBIT_BOUNDS) : fit);
    const size_t lengths = eqi_aligned((size_t)(a + b) * sizeof(double));
    const size_t kept = eqi_aligned((size_t)(block * turned));
    j.products_size =
        eqi_aligned(EQI_GEMM_WORKSPACE + (size_t)(ROWS * eqi_larger(COLUMNS, order)) * j.size);
    const size_t slice = j.products_size + (j.visitor ? bounds_size(&j, block) : 0);
    const size_t all = lengths + kept + (size_t)ctx->hardware.threads * slice;
    const double u = (x->dtype == EQUINV_F32 ? (double)FLT_EPSILON : DBL_EPSILON) / 2;
    const double least = x->dtype == EQUINV_F32 ? (double)FLT_MIN : DBL_MIN;
    j.rounding = 4 * u + 4 * ((double)j.dimension + 2) * DBL_EPSILON;
    j.relative = ((double)j.dimension + 2) * u;
    j.at_least = (double)j.dimension * least;
    EQI_TRY_GOTO(status, done, eqi_tensor_pack(ctx, x, &j.x, &own_x));
    EQI_TRY_GOTO(status, done, eqi_tensor_pack(ctx, y, &j.y, &own_y));
    EQI_TRY_GOTO(status, done,
                 eqi_alloc_zeroed(ctx, places, sizeof(int32_t), "orbit distances", &table));
    EQI_TRY_GOTO(status, done, eqi_alloc_zeroed(ctx, 1, all, "orbit distances", &memory));
    int32_t *to = table;
    for (int32_t g = 0; g < order; g++)
        for (int64_t h = 0; h < order; h++)
            for (int64_t q = 0; q < height * width; q++)
                *to++ = (int32_t)eqi_place(group, g, h, q / width, q % width, height, width);
    j.places = table;
    j.x_length = memory;
    j.y_length = j.x_length + a;
    j.turned = (char *)memory + lengths;
    run(&j, (char *)memory + lengths + kept, slice, block);
done:
    eqi_free(ctx, memory, all);
    eqi_free(ctx, table, (size_t)places * sizeof(int32_t));
    equinv_tensor_destroy((equinv_context *)ctx, &own_y);
    equinv_tensor_destroy((equinv_context *)ctx, &own_x);
    return status;
}

equinv_status eqi_gemm_orbit_distance(const equinv_context *ctx, equinv_group group,
                                      const equinv_tensor *x, const equinv_tensor *y,
                                      const equinv_tensor *distance, const equinv_tensor *element)
{
    job j = {.distance = distance, .element = element};
    if (x->shape[0] == 0 || y->shape[0] == 0)
        return EQUINV_OK;
    EQI_TRY(eqi_product_of("a field of x", 3, x->shape + 2, &j.field));
    EQI_TRY(eqi_product_of("a row of x", 4, x->shape + 1, &j.dimension));
    return j.dimension == 0 ? eqi_ref_orbit_distance(ctx, group, x, y, distance, element)
                            : compare_all(ctx, group, x, y, j);
}

equinv_status eqi_gemm_orbit_bounds(const equinv_context *ctx, equinv_group group,
                                    const equinv_tensor *x, const equinv_tensor *y,
                                    const eqi_orbit_visitor *visitor)
{
    job j = {.visitor = visitor};
    EQI_TRY(eqi_product_of("a field of x", 3, x->shape + 2, &j.field));
    EQI_TRY(eqi_product_of("a row of x", 4, x->shape + 1, &j.dimension));
    return compare_all(ctx, group, x, y, j);
}
