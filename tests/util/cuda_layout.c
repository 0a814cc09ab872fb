#include "tests/util/cuda_layout.h"

#include <math.h>

/* The view of l.before, in other memory of the same size. */
static equinv_tensor view_in(const laid *l, const equinv_tensor *storage)
{
    equinv_tensor view = l->view;
    view.data = (char *)storage->data + ((char *)l->view.data - (char *)l->storage.data);
    view.device = storage->device;
    return view;
}

placed placed_copy(equinv_context *ctx, equinv_context *cpu, rng *r, const equinv_tensor *values)
{
    placed l = {.before = laid_copy(cpu, r, values)};
    l.storage = cuda_copy(ctx, &l.before.storage);
    l.view = view_in(&l.before, &l.storage);
    return l;
}

void placed_free(equinv_context *ctx, equinv_context *cpu, placed *l)
{
    equinv_tensor_destroy(ctx, &l->storage);
    equinv_tensor_destroy(ctx, &l->now);
    laid_free(cpu, &l->before);
}

const equinv_tensor *placed_fetch(equinv_context *ctx, equinv_context *cpu, placed *l)
{
    static equinv_tensor view;
    equinv_tensor_destroy(ctx, &l->now);
    l->now = cuda_back(ctx, &l->storage);
    view = view_in(&l->before, &l->now);
    /* what was there before, with the view's present values */
    equinv_tensor expected = tensor_copy(cpu, &l->before.storage);
    const equinv_tensor changed = view_in(&l->before, &expected);
    const int64_t count = equinv_tensor_count(&view);
    for (int64_t i = 0; i < count; i++)
        tensor_set(&changed, i, tensor_get(&view, i));
    int64_t where = 0;
    ck_assert_msg(tensor_same(&expected, &l->now, &where), "a gap was written to, at %d",
                  (int)where);
    equinv_tensor_destroy(cpu, &expected);
    return &view;
}

equinv_tensor random_shaped(equinv_context *cpu, rng *r, equinv_dtype dtype, int least,
                            bool special)
{
    static const double specials[] = {(double)NAN, (double)INFINITY, -(double)INFINITY, -0.0};
    int64_t shape[6];
    const int ndim = (int)rng_range(r, least, 6);
    for (int i = 0; i < ndim; i++)
        shape[i] = rng_range(r, rng_range(r, 0, 30) ? 1 : 0, ndim > 4 ? 3 : 5);
    if (ndim >= 1 && rng_range(r, 0, 9) == 0)
        shape[ndim - 1] = rng_range(r, 200, 600);
    if (ndim >= 1 && rng_range(r, 0, 1))
        shape[ndim - 1] = 4 * rng_range(r, 1, 3);
    equinv_tensor t;
    OK(equinv_tensor_create(cpu, dtype, ndim, shape, &t));
    tensor_fill_random(r, &t);
    const int64_t count = equinv_tensor_count(&t);
    const bool real = dtype == EQUINV_F32 || dtype == EQUINV_F64;
    for (int i = 0; special && real && count > 0 && i < 4; i++)
        tensor_set(&t, rng_range(r, 0, count - 1), specials[rng_range(r, 0, 3)]);
    return t;
}
