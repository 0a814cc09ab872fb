#include "tests/util/pool.h"

bool pool_is_max(equinv_pool_kind kind)
{
    return kind == EQUINV_POOL_MAX || kind == EQUINV_POOL_GLOBAL_MAX ||
           kind == EQUINV_POOL_GROUP_MAX;
}

bool pool_is_group(equinv_pool_kind kind)
{
    return kind == EQUINV_POOL_GROUP_MAX || kind == EQUINV_POOL_GROUP_MEAN;
}

pool pool_new(equinv_context *ctx, const equinv_pool_desc *desc)
{
    pool p = {.ctx = ctx,
              .desc = *desc,
              .src = {desc->batch, desc->fields, desc->elements, desc->height, desc->width}};
    OK(equinv_pool_plan_create(ctx, desc, &p.plan));
    OK(equinv_pool_output_shape(desc, p.dst));
    p.saved_size = equinv_plan_saved_size(p.plan);
    ck_assert_uint_eq(p.saved_size > 0, pool_is_max(desc->kind) && desc->batch > 0);
    p.saved = aligned_alloc(64, (p.saved_size + 63) / 64 * 64 + 64);
    ck_assert_ptr_nonnull(p.saved);
    memset(p.saved, 0xa5, p.saved_size);
    return p;
}

void pool_free(pool *p)
{
    equinv_plan_destroy(p->plan);
    free(p->saved);
}

void pool_forward(const pool *p, const equinv_tensor *src, const equinv_tensor *dst)
{
    OK(equinv_pool_forward(p->plan, src, dst, p->saved_size ? p->saved : NULL, p->saved_size, NULL,
                           0));
}

void pool_backward(const pool *p, const equinv_tensor *diff_dst, const equinv_tensor *diff_src)
{
    OK(equinv_pool_backward(p->plan, diff_dst, p->saved_size ? p->saved : NULL, p->saved_size,
                            diff_src, NULL, 0));
}

equinv_pool_desc pool_random_desc(rng *r, equinv_dtype dtype)
{
    equinv_pool_desc d = EQUINV_POOL_DESC_INIT;
    d.kind = (equinv_pool_kind)rng_range(r, 1, 7);
    d.group = grid_groups[rng_range(r, 0, GRID_GROUPS - 1)];
    d.dtype = dtype;
    d.batch = rng_range(r, 0, 3);
    const int64_t large = rng_range(r, 0, 15); /* now and then more lanes than one run has */
    d.fields = rng_range(r, 1, large == 0 ? 70 : 4);
    d.elements = pool_is_group(d.kind) || rng_range(r, 0, 3) ? grid_order(d.group) : 1;
    d.height = rng_range(r, 1, 9);
    d.width = rng_range(r, 1, large == 1 ? 150 : 9);
    d.kernel = rng_range(r, 1, 5);
    if (d.kind == EQUINV_POOL_BLUR) {
        static const double sigmas[] = {0.1, 0.4, 0.66, 1, 1.3};
        d.sigma = sigmas[(d.kernel - 1)];
        d.kernel = 2 * (int64_t)rint(3 * d.sigma) + 1;
    }
    d.stride = rng_range(r, 1, 4);
    d.padding = rng_range(r, 0, d.kernel / 2);
    const int64_t smallest = d.kernel - 2 * d.padding;
    d.height = d.height < smallest ? smallest : d.height;
    d.width = d.width < smallest ? smallest : d.width;
    return d;
}
