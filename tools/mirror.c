#include "mirror.h"

#include <string.h>

static bool is_one(const mirror *m)
{
    return m->there.data == m->here.data;
}

equinv_status mirror_create(equinv_context *ctx, equinv_dtype dtype, int32_t ndim,
                            const int64_t *shape, mirror *m)
{
    memset(m, 0, sizeof *m);
    equinv_status status = equinv_tensor_create_pinned(ctx, dtype, ndim, shape, &m->here);
    if (status || equinv_context_device(ctx).kind == EQUINV_DEVICE_CPU) {
        m->there = m->here;
        return status;
    }
    return equinv_tensor_create(ctx, dtype, ndim, shape, &m->there);
}

void mirror_destroy(equinv_context *ctx, mirror *m)
{
    if (!is_one(m))
        equinv_tensor_destroy(ctx, &m->there);
    equinv_tensor_destroy(ctx, &m->here);
    memset(m, 0, sizeof *m);
}

/* The same rows in both places. */
static equinv_status both(const mirror *m, int64_t rows, equinv_tensor *here, equinv_tensor *there)
{
    const equinv_status status = equinv_tensor_rows(&m->here, 0, rows, here);
    return status ? status : equinv_tensor_rows(&m->there, 0, rows, there);
}

equinv_status mirror_send(equinv_context *ctx, const mirror *m, int64_t rows, equinv_tensor *there)
{
    equinv_tensor here;
    const equinv_status status = both(m, rows, &here, there);
    return status || is_one(m) ? status : equinv_tensor_copy(ctx, &here, there);
}

equinv_status mirror_fetch(equinv_context *ctx, const mirror *m, int64_t rows, equinv_tensor *here)
{
    equinv_tensor there;
    equinv_status status = both(m, rows, here, &there);
    if (!status && !is_one(m))
        status = equinv_tensor_copy(ctx, &there, here);
    return status ? status : equinv_context_synchronize(ctx);
}
