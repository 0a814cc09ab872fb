/* He initialisation: the templates' numbers, scaled. */
#include <math.h>

#include "tests/util/layout.h"

START_TEST(scaled_templates_in_any_layout)
{
    equinv_context *const ctx = context_new();
    for (uint64_t seed = 0; seed < 200; seed++) {
        rng r = {seed};
        int64_t shape[8];
        const int ndim = (int)rng_range(&r, 0, 8);
        for (int i = 0; i < ndim; i++)
            shape[i] = rng_range(&r, 1, 4);
        const int64_t fan_in = rng_range(&r, 1, 100);
        const uint64_t stream = seed % 5 ? seed : UINT64_MAX - 5; /* the last has a successor */
        const equinv_dtype dtype = seed % 2 ? EQUINV_F64 : EQUINV_F32;
        laid dst = laid_new(ctx, &r, dtype, ndim, shape);
        int64_t count = 1;
        for (int i = 0; i < ndim; i++)
            count *= shape[i];
        equinv_tensor expected = tensor_new(ctx, dtype, 2, 1, (int)count);
        OK(equinv_templates(ctx, EQUINV_TEMPLATE_GAUSSIAN, seed, stream, &expected));
        const equinv_status status = equinv_init_he(ctx, seed, stream, fan_in, &dst.view);
        if (ndim < 8)
            OK(status);
        if (status == EQUINV_OK)
            for (int64_t i = 0; i < count; i++) {
                const double e = tensor_get(&expected, i) * sqrt(2.0 / (double)fan_in);
                ck_assert_msg(tensor_get(&dst.view, i) ==
                                  (dtype == EQUINV_F64 ? e : (double)(float)e),
                              "[%d], seed %d", (int)i, (int)seed);
            }
        else
            ck_assert_int_eq(status, EQUINV_ERR_UNSUPPORTED);
        ck_assert_msg(laid_gaps_kept(&dst), "gaps, seed %d", (int)seed);
        laid_free(ctx, &dst);
        equinv_tensor_destroy(ctx, &expected);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(eight_axes)
{
    equinv_context *const ctx = context_new();
    const int64_t shape[8] = {2, 2, 2, 2, 2, 2, 1, 2}, flat = 128;
    equinv_tensor a, b;
    OK(equinv_tensor_create(ctx, EQUINV_F32, 8, shape, &a));
    OK(equinv_tensor_create(ctx, EQUINV_F32, 1, &flat, &b));
    OK(equinv_init_he(ctx, 1, 2, 3, &a));
    OK(equinv_init_he(ctx, 1, 2, 3, &b));
    ASSERT_SAME(&a, &b);
    a.strides[6] = 1000; /* an axis of one may have any stride */
    OK(equinv_init_he(ctx, 1, 2, 3, &a));
    ck_assert(tensor_get(&a, 100) == tensor_get(&b, 100));
    a.strides[6] = 2;
    /* the axes backwards: none joins the one before it */
    equinv_tensor view = tensor_new(ctx, EQUINV_F32, 8, 2, 2, 2, 2, 2, 2, 2, 2), plain = view;
    for (int i = 0; i < 8; i++)
        view.strides[i] = INT64_C(1) << i;
    FAILS(EQUINV_ERR_UNSUPPORTED, "8 axes", equinv_init_he(ctx, 1, 2, 3, &view));
    ck_assert(tensor_max_abs(&plain) == 0);
    view.shape[3] = 1; /* that axis can go */
    OK(equinv_init_he(ctx, 1, 2, 3, &view));
    ck_assert(tensor_get(&view, 100) == tensor_get(&b, 100));
    equinv_tensor_destroy(ctx, &a), equinv_tensor_destroy(ctx, &b);
    equinv_tensor_destroy(ctx, &plain);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(variance_is_two_over_fan_in)
{
    equinv_context *const ctx = context_new();
    equinv_tensor a = tensor_new(ctx, EQUINV_F32, 2, 200, 200), b = tensor_like(ctx, &a);
    OK(equinv_init_he(ctx, 1, 0, 50, &a));
    OK(equinv_init_he(ctx, 1, 1, 50, &b));
    double sum = 0;
    for (int64_t i = 0; i < 40000; i++)
        sum += tensor_get(&a, i);
    /* five standard deviations of the estimates over 40000 numbers */
    ck_assert(fabs(sum / 40000) < 5 * 0.2 / 200);
    ck_assert(fabs(tensor_dot(&a, &a) / 40000 - 0.04) < 5 * 0.04 * sqrt(2.0 / 40000));
    ck_assert(fabs(tensor_dot(&a, &b) / 40000) < 5 * 0.04 / 200); /* streams are independent */
    equinv_tensor_destroy(ctx, &a), equinv_tensor_destroy(ctx, &b);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(wrong_arguments)
{
    equinv_context *const ctx = context_new();
    equinv_tensor dst = tensor_new(ctx, EQUINV_F32, 2, 3, 4), t;
    FAILS(EQUINV_ERR_ARG, "ctx is NULL", equinv_init_he(NULL, 1, 2, 3, &dst));
    FAILS(EQUINV_ERR_ARG, "fan_in is 0", equinv_init_he(ctx, 1, 2, 0, &dst));
    FAILS(EQUINV_ERR_ARG, "fan_in is -7", equinv_init_he(ctx, 1, 2, -7, &dst));
    FAILS(EQUINV_ERR_ARG, "dst is NULL", equinv_init_he(ctx, 1, 2, 3, NULL));
    t = dst, t.dtype = EQUINV_I32;
    FAILS(EQUINV_ERR_DTYPE, "dst has dtype i32", equinv_init_he(ctx, 1, 2, 3, &t));
    t = dst, t.device.index = 3;
    FAILS(EQUINV_ERR_DEVICE, "dst is on device", equinv_init_he(ctx, 1, 2, 3, &t));
    t = dst, t.ndim = 11;
    FAILS(EQUINV_ERR_SHAPE, "ndim 11", equinv_init_he(ctx, 1, 2, 3, &t));
    t = dst, t.shape[1] = -4;
    FAILS(EQUINV_ERR_SHAPE, "extent -4", equinv_init_he(ctx, 1, 2, 3, &t));
    t = dst, t.strides[0] = 0;
    FAILS(EQUINV_ERR_SHAPE, "stride 0", equinv_init_he(ctx, 1, 2, 3, &t));
    t = dst, t.data = NULL;
    FAILS(EQUINV_ERR_ARG, "data NULL", equinv_init_he(ctx, 1, 2, 3, &t));
    ck_assert(tensor_max_abs(&dst) == 0);
    const int64_t none[8] = {0, INT64_C(1) << 40, INT64_C(1) << 40, 1, 1, 1, 1, 1};
    OK(equinv_tensor_init(NULL, EQUINV_F32, 8, none, &t));
    OK(equinv_init_he(ctx, 1, 2, 3, &t));
    equinv_tensor_destroy(ctx, &dst);
    equinv_context_destroy(ctx);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {scaled_templates_in_any_layout, 1},
        {eight_axes, 1},
        {variance_is_two_over_fan_in, 1},
        {wrong_arguments, 1},
    };
    return run_tests("init", tests, sizeof tests / sizeof *tests);
}
