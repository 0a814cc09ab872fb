#include "tests/util/cuda_layout.h"

#include <math.h>

const equinv_tensor *cuda_laid_values(equinv_context *ctx, cuda_laid *l)
{
    const equinv_tensor *const storage = &l->here.storage, *const view = &l->here.view;
    const size_t size = (size_t)equinv_tensor_count(storage) * equinv_dtype_size(storage->dtype);
    equinv_tensor expected = *storage, changed = *view; /* as before, with the view's new values */
    expected.data = malloc(size + 1);
    ck_assert_ptr_nonnull(expected.data);
    memcpy(expected.data, storage->data, size);
    changed.data = (char *)expected.data + ((char *)view->data - (char *)storage->data);
    cuda_laid_fetch(ctx, l);
    const int64_t count = equinv_tensor_count(view);
    for (int64_t i = 0; i < count; i++)
        tensor_set(&changed, i, tensor_get(view, i));
    int64_t at = 0;
    ck_assert_msg(tensor_same(&expected, storage, &at), "a gap was written to, at %d", (int)at);
    free(expected.data);
    return view;
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
