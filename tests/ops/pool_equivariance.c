/* Pooling commutes with the action where its plan says so, and nowhere else. */
#include <math.h>

#include "tests/util/pool.h"

enum { ROUNDS = 250 };

/* pool(g.src) against g.pool(src); the first plan serves src, a second one the turned image. */
static double equivariance_error(equinv_context *ctx, const equinv_pool_desc *desc, int32_t g,
                                 rng *r)
{
    pool p = pool_new(ctx, desc);
    equinv_tensor src = map_new(ctx, r, desc->dtype, p.src);
    equinv_tensor turned = map_acted(ctx, desc->group, g, &src);
    equinv_pool_desc turned_desc = *desc;
    turned_desc.height = turned.shape[3], turned_desc.width = turned.shape[4];
    pool q = pool_new(ctx, &turned_desc);
    equinv_tensor dst = map_new(ctx, NULL, desc->dtype, p.dst);
    equinv_tensor before = map_new(ctx, NULL, desc->dtype, q.dst);
    pool_forward(&p, &src, &dst);
    pool_forward(&q, &turned, &before);
    equinv_tensor after = map_acted(ctx, desc->group, g, &dst);
    const double error = tensor_error(&before, &after, NULL);
    equinv_tensor_destroy(ctx, &src), equinv_tensor_destroy(ctx, &turned);
    equinv_tensor_destroy(ctx, &dst), equinv_tensor_destroy(ctx, &before);
    equinv_tensor_destroy(ctx, &after);
    pool_free(&p), pool_free(&q);
    return error;
}

/* Windows that all reach over the whole axis hide the remainder: the answer is conservative there. */
static bool windows_cover(const equinv_pool_desc *d, int64_t size)
{
    const int64_t outputs = (size + 2 * d->padding - d->kernel) / d->stride + 1;
    return (outputs - 1) * d->stride - d->padding <= 0 && d->kernel - d->padding >= size;
}

START_TEST(equivariant_where_exact_and_broken_elsewhere)
{
    equinv_context *const ctx = context_new();
    int exact_cases = 0, broken_cases = 0;
    for (uint64_t seed = 0; seed < share_of(1600); seed++) {
        rng r = {seed + 3000};
        equinv_pool_desc d = pool_random_desc(&r, seed % 2 ? EQUINV_F64 : EQUINV_F32);
        static const equinv_pool_kind kinds[] = {EQUINV_POOL_MAX, EQUINV_POOL_AVERAGE};
        if (d.kind != EQUINV_POOL_BLUR)
            d.kind = kinds[seed % 3 == 0];
        d.batch = 3, d.fields = 2 + d.fields % 3, d.width = 1 + d.width % 9;
        d.stride = rng_range(&r, 1, 4) > 1 ? 2 + d.stride % 2 : 1;
        const int64_t smallest = d.kernel - 2 * d.padding;
        d.width = d.width < smallest ? smallest : d.width;
        const int32_t g = (int32_t)rng_range(&r, 0, grid_order(d.group) - 1);
        pool p = pool_new(ctx, &d);
        equinv_exactness exactness;
        OK(equinv_plan_exactness(p.plan, g, &exactness));
        pool_free(&p);
        if (!exactness.exact && (windows_cover(&d, d.height) || windows_cover(&d, d.width)))
            continue;
        const double error = equivariance_error(ctx, &d, g, &r);
        if (exactness.exact) {
            exact_cases++;
            ck_assert_msg(error <= (d.dtype == EQUINV_F64 ? 1e-14 : 5e-7),
                          "called exact, error %g, seed %d", error, (int)seed);
        } else {
            broken_cases++;
            ck_assert_msg(error > 1e-3, "called broken (%s), error %g, seed %d", exactness.text,
                          error, (int)seed);
        }
    }
    ck_assert_msg(exact_cases >= (int)share_of(200) && broken_cases >= (int)share_of(200),
                  "%d and %d cases", exact_cases, broken_cases);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(global_and_group_pooling_are_always_exact)
{
    equinv_context *const ctx = context_new();
    for (uint64_t seed = 0; seed < share_of(ROUNDS); seed++) {
        rng r = {seed + 4000};
        equinv_pool_desc d = pool_random_desc(&r, seed % 2 ? EQUINV_F64 : EQUINV_F32);
        d.kind = (equinv_pool_kind)rng_range(&r, 3, 6);
        d.batch = 2;
        d.elements = pool_is_group(d.kind) ? grid_order(d.group) : d.elements;
        const int32_t g = (int32_t)rng_range(&r, 0, grid_order(d.group) - 1);
        pool p = pool_new(ctx, &d);
        equinv_exactness exactness;
        OK(equinv_plan_exactness(p.plan, -1, &exactness));
        ck_assert(exactness.exact);
        pool_free(&p);
        /* pooled over the group, a field has one element: act then leaves that axis alone */
        ck_assert_msg(equivariance_error(ctx, &d, g, &r) <= (d.dtype == EQUINV_F64 ? 1e-14 : 5e-7),
                      "seed %d", (int)seed);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(exactness_of_the_whole_group)
{
    equinv_context *const ctx = context_new();
    equinv_pool_desc d = EQUINV_POOL_DESC_INIT;
    d.batch = 1, d.fields = 1, d.elements = 4, d.height = 8, d.width = 8;
    equinv_exactness e;
    pool even = pool_new(ctx, &d);
    OK(equinv_plan_exactness(even.plan, -1, &e));
    ck_assert(e.exact && e.element == -1);
    d.width = 7;
    pool odd = pool_new(ctx, &d);
    OK(equinv_plan_exactness(odd.plan, -1, &e));
    ck_assert(!e.exact && e.element == 1 && e.axis == EQUINV_AXIS_WIDTH);
    OK(equinv_plan_exactness(odd.plan, 3, &e));
    ck_assert(e.exact);
    d.group = equinv_cyclic(8), d.elements = 8; /* only the grid elements are asked */
    pool off_grid = pool_new(ctx, &d);
    OK(equinv_plan_exactness(off_grid.plan, -1, &e));
    ck_assert(!e.exact && e.element == 2);
    pool_free(&even), pool_free(&odd), pool_free(&off_grid);
    equinv_context_destroy(ctx);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {equivariant_where_exact_and_broken_elsewhere, 1},
        {global_and_group_pooling_are_always_exact, 1},
        {exactness_of_the_whole_group, 1},
    };
    return run_tests("pool_equivariance", tests, sizeof tests / sizeof *tests);
}
