#include "tests/util/nodes.h"

static int64_t columns_of(const equinv_tensor *t, int order)
{
    return order == 2 ? t->shape[3] : 1;
}

equinv_tensor nodes_new(equinv_context *ctx, rng *r, equinv_dtype dtype, int order, int64_t batch,
                        int64_t channels, int64_t nodes)
{
    equinv_tensor t;
    OK(equinv_tensor_create(ctx, dtype, 2 + order, (int64_t[]){batch, channels, nodes, nodes}, &t));
    tensor_fill_random(r, &t);
    return t;
}

equinv_tensor nodes_mask(equinv_context *ctx, rng *r, int64_t batch, int64_t nodes)
{
    equinv_tensor mask;
    const equinv_dtype dtype = rng_range(r, 0, 1) ? EQUINV_U8 : EQUINV_I32;
    OK(equinv_tensor_create(ctx, dtype, 2, (int64_t[]){batch, nodes}, &mask));
    for (int64_t i = 0; i < batch * nodes; i++)
        tensor_set(&mask, i, rng_range(r, 0, 3) ? (double)rng_range(r, 1, 3) : 0);
    return mask;
}

bool nodes_there(const equinv_tensor *mask, int64_t b, int64_t node)
{
    return !mask || tensor_get(mask, b * mask->shape[1] + node) != 0;
}

void nodes_shuffle(rng *r, int64_t n, int64_t *place)
{
    for (int64_t i = 0; i < n; i++)
        place[i] = i;
    for (int64_t i = n - 1; i > 0; i--) {
        const int64_t k = rng_range(r, 0, i), swap = place[i];
        place[i] = place[k];
        place[k] = swap;
    }
}

void nodes_permute(equinv_context *ctx, const equinv_tensor *t, int order, const int64_t *place)
{
    equinv_tensor old = tensor_copy(ctx, t);
    const int64_t n = order ? t->shape[2] : t->shape[1], columns = columns_of(t, order);
    const int64_t rest = t->shape[0] * (order ? t->shape[1] : 1);
    for (int64_t b = 0; b < rest; b++)
        for (int64_t i = 0; i < n; i++)
            for (int64_t j = 0; j < columns; j++)
                tensor_set(t, (b * n + place[i]) * columns + (columns > 1 ? place[j] : 0),
                           tensor_get(&old, (b * n + i) * columns + j));
    equinv_tensor_destroy(ctx, &old);
}

void nodes_set_absent(const equinv_tensor *t, int order, const equinv_tensor *mask, double to)
{
    const int64_t n = t->shape[2], columns = columns_of(t, order);
    const int64_t count = equinv_tensor_count(t);
    for (int64_t k = 0; k < count; k++) {
        const int64_t b = k / (columns * n * t->shape[1]), i = k / columns % n, j = k % columns;
        if (!nodes_there(mask, b, i) || (order == 2 && !nodes_there(mask, b, j)))
            tensor_set(t, k, to);
    }
}

bool nodes_absent_are_zero(const equinv_tensor *t, int order, const equinv_tensor *mask)
{
    const int64_t n = t->shape[2], columns = columns_of(t, order);
    const int64_t count = equinv_tensor_count(t);
    for (int64_t k = 0; k < count; k++) {
        const int64_t b = k / (columns * n * t->shape[1]), i = k / columns % n, j = k % columns;
        const bool absent = !nodes_there(mask, b, i) || (order == 2 && !nodes_there(mask, b, j));
        if (absent && tensor_get(t, k) != 0)
            return false;
    }
    return true;
}

equinv_tensor nodes_channels_last(equinv_context *ctx, const equinv_tensor *t,
                                  equinv_tensor *storage)
{
    const int64_t count = equinv_tensor_count(t);
    OK(equinv_tensor_create(ctx, t->dtype, 1, &count, storage));
    equinv_tensor view = *t;
    view.data = storage->data;
    int64_t stride = t->shape[1];
    view.strides[1] = 1;
    for (int32_t axis = t->ndim - 1; axis >= 0; axis--)
        if (axis != 1) {
            view.strides[axis] = stride;
            stride *= t->shape[axis];
        }
    OK(equinv_tensor_convert(ctx, t, 1.0, 0.0, &view));
    return view;
}
