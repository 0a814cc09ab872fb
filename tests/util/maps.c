#include "tests/util/maps.h"

#include <math.h>

const equinv_group grid_groups[GRID_GROUPS] = {
    {EQUINV_GROUP_CYCLIC, 1},   {EQUINV_GROUP_CYCLIC, 2},   {EQUINV_GROUP_CYCLIC, 4},
    {EQUINV_GROUP_DIHEDRAL, 1}, {EQUINV_GROUP_DIHEDRAL, 2}, {EQUINV_GROUP_DIHEDRAL, 4},
};

int32_t grid_order(equinv_group g)
{
    int32_t order = 0;
    OK(equinv_group_order(g, &order));
    return order;
}

equinv_tensor map_new(equinv_context *ctx, rng *r, equinv_dtype dtype, const int64_t shape[5])
{
    equinv_tensor t;
    OK(equinv_tensor_create(ctx, dtype, 5, shape, &t));
    if (r)
        tensor_fill_random(r, &t);
    return t;
}

equinv_tensor map_acted(equinv_context *ctx, equinv_group group, int32_t g,
                        const equinv_tensor *src)
{
    double m[4];
    OK(equinv_group_plane(group, g, m));
    int64_t shape[5];
    memcpy(shape, src->shape, sizeof shape);
    if (fabs(m[0]) < 0.5) /* a quarter turn */
        shape[3] = src->shape[4], shape[4] = src->shape[3];
    equinv_tensor dst = map_new(ctx, NULL, src->dtype, shape);
    OK(equinv_act(ctx, group, g, src, &dst));
    return dst;
}
