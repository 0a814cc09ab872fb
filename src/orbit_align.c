/* Alignment of one orbit to a point, and what is made of it. */
#include <math.h>

#include "internal/backend.h"
#include "internal/distance.h"
#include "internal/orbit.h"
#include "internal/rows.h"

typedef struct job {
    const equinv_context *ctx;
    equinv_group group;
    const equinv_tensor *x, *y, *dst, *element; /* element NULL: not wanted */
    int64_t dimension, field;
    const int32_t *places; /* [G, G H W]: where g takes a number inside its field */
    size_t room_size;
} job;

static void load_point(const equinv_tensor *t, int64_t b, double *to)
{
    for (int64_t f = 0; f < t->shape[1]; f++)
        for (int64_t a = 0; a < t->shape[2]; a++)
            for (int64_t y = 0; y < t->shape[3]; y++)
                for (int64_t x = 0; x < t->shape[4]; x++)
                    *to++ = eqi_load(t, eqi_offset5(t, b, f, a, y, x));
}

static void store_point(const equinv_tensor *t, int64_t b, const double *from)
{
    for (int64_t f = 0; f < t->shape[1]; f++)
        for (int64_t a = 0; a < t->shape[2]; a++)
            for (int64_t y = 0; y < t->shape[3]; y++)
                for (int64_t x = 0; x < t->shape[4]; x++)
                    eqi_store(t, eqi_offset5(t, b, f, a, y, x), *from++);
}

static void move_point(const job *j, int32_t g, const double *y, double *gy)
{
    const int32_t *const places = j->places + g * j->field;
    for (int64_t f = 0; f < j->dimension; f += j->field)
        for (int64_t i = 0; i < j->field; i++)
            gy[f + places[i]] = y[f + i];
}

/* A slice: x, y, g y. */
static void align_points(const void *arg, int64_t first, int64_t count, void *slice)
{
    const job *const j = arg;
    double *const x = slice, *const y = x + j->dimension, *const gy = y + j->dimension;
    for (int64_t b = first; b < first + count; b++) {
        load_point(j->x, b, x);
        load_point(j->y, b, y);
        double least = 0;
        int32_t nearest = 0;
        for (int32_t g = 0; g < eqi_order(j->group); g++) {
            move_point(j, g, y, gy);
            const double d = eqi_squared_distance_f64(x, gy, j->dimension);
            if (g == 0 || d < least || (isnan(d) && !isnan(least))) {
                least = d;
                nearest = g;
            }
        }
        move_point(j, nearest, y, gy);
        store_point(j->dst, b, gy);
        if (j->element)
            ((int32_t *)j->element->data)[b * j->element->strides[0]] = nearest;
    }
}

static equinv_status align_finite(const equinv_context *ctx, job *j)
{
    const int64_t order = eqi_order(j->group), height = j->x->shape[3], width = j->x->shape[4];
    int64_t places, numbers;
    void *memory, *table;
    EQI_TRY(eqi_product_of("a field of x", 3, j->x->shape + 2, &j->field));
    EQI_TRY(eqi_product_of("a row of x", 4, j->x->shape + 1, &j->dimension));
    EQI_CHECK(j->field <= INT32_MAX, UNSUPPORTED,
              "x has %" PRId64 " numbers a field, expected below 2^31", j->field);
    EQI_TRY(eqi_product_of("the places of x", 2, (int64_t[]){order, j->field}, &places));
    EQI_TRY(eqi_product_of("rows of x and y", 2, (int64_t[]){j->dimension, 3}, &numbers));
    const size_t slice = eqi_aligned((size_t)numbers * sizeof(double));
    EQI_TRY(eqi_alloc_zeroed(ctx, ctx->hardware.threads, slice, "an alignment", &memory));
    const equinv_status status =
        eqi_alloc_zeroed(ctx, places, sizeof(int32_t), "an alignment", &table);
    if (status == EQUINV_OK) {
        int32_t *to = table;
        for (int32_t g = 0; g < order && places > 0; g++)
            for (int64_t a = 0; a < order; a++)
                for (int64_t q = 0; q < height * width; q++)
                    *to++ = (int32_t)eqi_place(j->group, g, a, q / width, q % width, height, width);
        j->places = table;
        eqi_parallel_rows(ctx, j->x->shape[0], (double)order * (double)j->dimension, 1,
                          align_points, j, memory, slice);
        eqi_free(ctx, table, (size_t)places * sizeof(int32_t));
    }
    eqi_free(ctx, memory, (size_t)ctx->hardware.threads * slice);
    return status;
}

/* A slice: the room of a pair, then the rows of y. */
static void align_rows(const void *arg, int64_t first, int64_t count, void *slice)
{
    const job *const j = arg;
    const int64_t n = j->x->shape[1];
    const int64_t *const from = j->y->strides, *const to = j->dst->strides;
    int32_t *const row = (int32_t *)((char *)slice + j->room_size);
    for (int64_t b = first; b < first + count; b++) {
        eqi_rows_pair(j->ctx, j->x, b, j->y, b, slice, row);
        for (int64_t r = 0; r < n; r++) {
            for (int64_t c = 0; c < j->x->shape[2]; c++)
                eqi_store(j->dst, b * to[0] + r * to[1] + c * to[2],
                          eqi_load(j->y, b * from[0] + row[r] * from[1] + c * from[2]));
            if (j->element)
                ((int32_t *)
                     j->element->data)[b * j->element->strides[0] + r * j->element->strides[1]] =
                    row[r];
        }
    }
}

static equinv_status align_symmetric(const equinv_context *ctx, job *j)
{
    const int64_t n = j->x->shape[1];
    void *memory;
    EQI_CHECK(n <= EQI_ASSIGNMENT_MOST, UNSUPPORTED,
              "x has %" PRId64 " rows, expected at most %d: an assignment problem", n,
              EQI_ASSIGNMENT_MOST);
    EQI_CHECK(eqi_rows_pair_size(n, j->x->shape[2], &j->room_size), SHAPE,
              "a row of x and y exceeds the address space");
    const size_t slice = j->room_size + eqi_aligned((size_t)n * sizeof(int32_t));
    EQI_TRY(eqi_alloc_zeroed(ctx, ctx->hardware.threads, slice, "an alignment", &memory));
    eqi_parallel_rows(ctx, j->x->shape[0], (double)n * (double)n * (8 + (double)j->x->shape[2]), 1,
                      align_rows, j, memory, slice);
    eqi_free(ctx, memory, (size_t)ctx->hardware.threads * slice);
    return EQUINV_OK;
}

/* Views of one shape; dst and element are checked against the batch of y. */
static equinv_status align(equinv_context *ctx, equinv_group group, const equinv_tensor *x,
                           const equinv_tensor *y, const equinv_tensor *dst,
                           const equinv_tensor *element)
{
    job j = {.ctx = ctx, .group = group, .x = x, .y = y, .dst = dst, .element = element};
    if (y->shape[0] == 0)
        return EQUINV_OK;
    return group.kind == EQUINV_GROUP_SYMMETRIC ? align_symmetric(ctx, &j) : align_finite(ctx, &j);
}

static equinv_status check_device(const equinv_context *ctx)
{
    EQI_CHECK(ctx, ARG, "ctx is NULL, expected a context");
    EQI_CHECK(!ctx->backend->device, UNSUPPORTED,
              "ctx is of device %s, which does not align orbits; expected a context of "
              "EQUINV_DEVICE_CPU and tensors in CPU memory (equinv_tensor_copy)",
              ctx->backend->name);
    return EQUINV_OK;
}

static equinv_status check_element(const equinv_context *ctx, equinv_group group,
                                   const equinv_tensor *y, const equinv_tensor *element)
{
    if (!element)
        return EQUINV_OK;
    EQI_TRY(eqi_check_output(ctx, element, "element", EQI_I32));
    return eqi_check_shape(element, "element", group.kind == EQUINV_GROUP_SYMMETRIC ? 2 : 1,
                           y->shape);
}

/* y and dst, of the shape and dtype of `points` (the argument `like`, if given). */
static equinv_status check_moved(equinv_context *ctx, equinv_group group, const equinv_tensor *from,
                                 const char *name, const equinv_tensor *dst,
                                 const equinv_tensor *element, equinv_tensor *points,
                                 equinv_tensor *moved)
{
    EQI_TRY(eqi_check_points(ctx, group, from, name, false, points));
    EQI_TRY(eqi_check_points(ctx, group, dst, "dst", true, moved));
    EQI_TRY(eqi_check_dtype(dst, "dst", from->dtype));
    EQI_TRY(eqi_check_same_shape(moved, "dst", points, name));
    EQI_TRY(eqi_check_disjoint(dst, "dst", from, name));
    EQI_TRY(check_element(ctx, group, points, element));
    if (!element)
        return EQUINV_OK;
    EQI_TRY(eqi_check_disjoint(element, "element", from, name));
    return eqi_check_disjoint(element, "element", dst, "dst");
}

static equinv_status check_pair(equinv_context *ctx, equinv_group group, const equinv_tensor *x,
                                const equinv_tensor *y, equinv_tensor *a, equinv_tensor *b)
{
    EQI_TRY(eqi_check_points(ctx, group, x, "x", false, a));
    EQI_TRY(eqi_check_points(ctx, group, y, "y", false, b));
    EQI_TRY(eqi_check_dtype(y, "y", x->dtype));
    return eqi_check_same_shape(b, "y", a, "x");
}

equinv_status equinv_orbit_align(equinv_context *ctx, equinv_group group, const equinv_tensor *x,
                                 const equinv_tensor *y, const equinv_tensor *dst,
                                 const equinv_tensor *element)
{
    equinv_tensor a, b, to;
    EQI_TRY(check_device(ctx));
    EQI_TRY(eqi_check_orbit_group(group));
    EQI_TRY(check_pair(ctx, group, x, y, &a, &b));
    EQI_TRY(check_moved(ctx, group, y, "y", dst, element, &b, &to));
    EQI_TRY(eqi_check_disjoint(dst, "dst", x, "x"));
    if (element)
        EQI_TRY(eqi_check_disjoint(element, "element", x, "x"));
    return align(ctx, group, &a, &b, &to, element);
}

equinv_status equinv_orbit_canonicalise(equinv_context *ctx, equinv_group group, uint64_t seed,
                                        const equinv_tensor *src, const equinv_tensor *dst,
                                        const equinv_tensor *element)
{
    equinv_tensor from, to, w;
    EQI_TRY(check_device(ctx));
    EQI_TRY(eqi_check_orbit_group(group));
    EQI_TRY(check_moved(ctx, group, src, "src", dst, element, &from, &to));
    equinv_tensor one = from;
    one.shape[0] = 1;
    EQI_TRY(equinv_tensor_create(ctx, from.dtype, one.ndim, one.shape, &w));
    equinv_status status = equinv_templates(ctx, EQUINV_TEMPLATE_GAUSSIAN, seed, 0, &w);
    if (status == EQUINV_OK) {
        one = w;
        one.shape[0] = from.shape[0];
        one.strides[0] = 0; /* the same for every latent */
        status = align(ctx, group, &one, &from, &to, element);
    }
    equinv_tensor_destroy(ctx, &w);
    return status;
}

/* ---- geodesics ------------------------------------------------------------------------------ */

typedef struct line_job {
    const equinv_tensor *x, *end, *t, *dst; /* end: row-major; dst [B, S, ..] */
} line_job;

static void draw_lines(const void *arg, int64_t first, int64_t count, void *slice)
{
    const line_job *const j = arg;
    const int64_t steps = j->t->shape[0];
    (void)slice;
    for (int64_t b = first; b < first + count; b++) {
        equinv_tensor x, end, line, to;
        equinv_tensor_rows(j->x, b, 1, &x);
        equinv_tensor_rows(j->end, b, 1, &end);
        equinv_tensor_rows(j->dst, b, 1, &line);
        const int64_t numbers = equinv_tensor_count(&x);
        to = x; /* the shape of a point, behind an axis of one */
        to.data = line.data;
        for (int32_t axis = 0; axis < x.ndim; axis++)
            to.strides[axis] = line.strides[axis == 0 ? 0 : axis + 1];
        for (int64_t i = 0; i < numbers; i++) {
            const double from = eqi_load(&x, eqi_offset_of(&x, i));
            const double until = eqi_load(&end, i);
            const int64_t at = eqi_offset_of(&to, i);
            for (int64_t s = 0; s < steps; s++) {
                const double t = eqi_load(j->t, s * j->t->strides[0]);
                eqi_store(&to, at + s * line.strides[1], (1 - t) * from + t * until);
            }
        }
    }
}

equinv_status equinv_orbit_interpolate(equinv_context *ctx, equinv_group group,
                                       const equinv_tensor *x, const equinv_tensor *y,
                                       const equinv_tensor *t, const equinv_tensor *dst)
{
    equinv_tensor a, b, end, to;
    EQI_TRY(check_device(ctx));
    EQI_TRY(eqi_check_orbit_group(group));
    EQI_TRY(check_pair(ctx, group, x, y, &a, &b));
    EQI_TRY(eqi_check_tensor(ctx, t, "t", EQI_FLOAT));
    EQI_CHECK(t->ndim == 1, SHAPE, "t has ndim %" PRId32 ", expected [steps]", t->ndim);
    EQI_TRY(eqi_check_output(ctx, dst, "dst", EQI_FLOAT));
    EQI_TRY(eqi_check_dtype(dst, "dst", x->dtype));
    int64_t shape[EQUINV_MAX_DIMS] = {x->shape[0], t->shape[0]};
    EQI_CHECK(x->ndim < EQUINV_MAX_DIMS, SHAPE, "x has ndim %" PRId32 ", expected below %d",
              x->ndim, EQUINV_MAX_DIMS);
    for (int32_t axis = 1; axis < x->ndim; axis++)
        shape[axis + 1] = x->shape[axis];
    EQI_TRY(eqi_check_shape(dst, "dst", x->ndim + 1, shape));
    EQI_TRY(eqi_check_disjoint(dst, "dst", x, "x"));
    EQI_TRY(eqi_check_disjoint(dst, "dst", y, "y"));
    EQI_TRY(eqi_check_disjoint(dst, "dst", t, "t"));
    if (equinv_tensor_count(dst) == 0)
        return EQUINV_OK;
    EQI_TRY(equinv_tensor_create(ctx, a.dtype, x->ndim, x->shape, &end));
    equinv_status status = eqi_check_points(ctx, group, &end, "x", true, &to);
    if (status == EQUINV_OK)
        status = align(ctx, group, &a, &b, &to, NULL);
    if (status == EQUINV_OK) {
        const line_job j = {x, &end, t, dst};
        const double row_work = 8 * (double)equinv_tensor_count(dst) / (double)x->shape[0];
        eqi_parallel_rows(ctx, x->shape[0], row_work, 1, draw_lines, &j, NULL, 0);
    }
    equinv_tensor_destroy(ctx, &end);
    return status;
}
