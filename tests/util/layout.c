#include "tests/util/layout.h"

#include <math.h>

static const double mark = 77; /* every type has it, random values do not */

static void fill_with_mark(const equinv_tensor *t)
{
    const int64_t count = equinv_tensor_count(t);
    for (int64_t i = 0; i < count; i++)
        tensor_set(t, i, mark);
}

laid laid_new(equinv_context *ctx, rng *r, equinv_dtype dtype, int ndim, const int64_t *shape)
{
    enum { ROW_MAJOR, FIELDS_FASTEST, GAPS, BACKWARDS, KINDS };
    const int64_t kind = rng_range(r, 0, KINDS - 1);
    laid l = {.view = {.device = {EQUINV_DEVICE_CPU, 0}, .dtype = dtype, .ndim = ndim}};
    int order[EQUINV_MAX_DIMS]; /* fastest first */
    int64_t start = 0, stride = 1;
    for (int i = 0; i < ndim; i++) {
        l.view.shape[i] = shape[i];
        order[i] = ndim - 1 - i;
    }
    if (kind == FIELDS_FASTEST && ndim >= 2) {
        order[0] = 1;
        for (int i = 1, axis = ndim - 1; axis >= 0; axis--)
            if (axis != 1)
                order[i++] = axis;
    }
    if (kind >= GAPS) {
        for (int i = ndim - 1; i > 0; i--) {
            const int64_t j = rng_range(r, 0, i);
            const int swap = order[i];
            order[i] = order[j];
            order[j] = swap;
        }
        stride = rng_range(r, 1, 2);
    }
    for (int i = 0; i < ndim; i++) {
        const int axis = order[i];
        const bool backwards = kind == BACKWARDS && rng_range(r, 0, 1);
        l.view.strides[axis] = backwards ? -stride : stride;
        if (backwards && shape[axis] > 0)
            start += stride * (shape[axis] - 1);
        stride *= shape[axis] ? shape[axis] : 1;
        stride += kind >= GAPS ? rng_range(r, 0, 2) : 0;
    }
    OK(equinv_tensor_create(ctx, dtype, 1, &stride, &l.storage));
    l.view.data = (char *)l.storage.data + start * (int64_t)equinv_dtype_size(dtype);
    fill_with_mark(&l.storage);
    return l;
}

laid laid_copy(equinv_context *ctx, rng *r, const equinv_tensor *values)
{
    laid l = laid_new(ctx, r, values->dtype, values->ndim, values->shape);
    OK(equinv_tensor_convert(ctx, values, 1.0, 0.0, &l.view));
    return l;
}

void laid_free(equinv_context *ctx, laid *l)
{
    equinv_tensor_destroy(ctx, &l->storage);
}

bool laid_gaps_kept(const laid *l)
{
    fill_with_mark(&l->view);
    const int64_t count = equinv_tensor_count(&l->storage);
    for (int64_t i = 0; i < count; i++)
        if (tensor_get(&l->storage, i) != mark)
            return false;
    return true;
}

void laid_check(const laid *got, const equinv_tensor *expected, double tolerance, const char *what)
{
    int64_t worst = -1;
    const double error =
        tensor_error(&got->view, expected, &worst) * fmin(tensor_max_abs(expected), 1);
    ck_assert_msg(error <= tolerance, "%s differs by %g at %lld", what, error, (long long)worst);
    ck_assert_msg(laid_gaps_kept(got), "%s: written beside it", what);
}

void relaid_begin(equinv_context *ctx, rng *r, equinv_tensor *const *tensors, int count, relaid *to)
{
    const int64_t which = rng_range(r, 0, count); /* count: all of them */
    for (int i = 0; i < count; i++) {
        to[i] = (relaid){.tensor = tensors[i], .kept = *tensors[i]};
        if (which == i || which == count) {
            to[i].other = laid_copy(ctx, r, tensors[i]);
            *tensors[i] = to[i].other.view;
        }
    }
}

void relaid_end(equinv_context *ctx, relaid *of, int count)
{
    for (int i = 0; i < count; i++) {
        *of[i].tensor = of[i].kept;
        if (of[i].other.view.ndim == 0)
            continue;
        ck_assert_msg(laid_gaps_kept(&of[i].other), "tensor %d: written beside it", i);
        laid_free(ctx, &of[i].other);
    }
}

equinv_tensor tensor_copy(equinv_context *ctx, const equinv_tensor *t)
{
    return tensor_as(ctx, t, t->dtype);
}

int64_t gradient_mismatch(const equinv_tensor *x, const equinv_tensor *gradient,
                          double (*loss)(void *arg), void *arg, double step, double tolerance,
                          int64_t at_most)
{
    const int64_t count = equinv_tensor_count(x);
    const int64_t every = count > at_most ? count / at_most : 1;
    double largest = 1e-3, worst = 0;
    int64_t where = -1;
    for (int64_t i = 0; i < count; i += every) {
        const double value = tensor_get(x, i);
        tensor_set(x, i, value + step);
        const double above = loss(arg);
        tensor_set(x, i, value - step);
        const double below = loss(arg);
        tensor_set(x, i, value);
        const double difference = (above - below) / (2 * step);
        const double error = fabs(difference - tensor_get(gradient, i));
        largest = fmax(largest, fabs(difference));
        if (error != error)
            return i;
        if (error > worst) {
            worst = error;
            where = i;
        }
    }
    return worst <= tolerance * largest ? -1 : where;
}
