/* Pooling: values, winners, every implementation, edges. */
#include <math.h>

#include "tests/util/pool.h"

enum { ROUNDS = 250 };

/* ---- values ---------------------------------------------------------------------------------- */

typedef struct example {
    equinv_pool_kind kind;
    int64_t elements, height, width, kernel, stride, padding;
    double src[16], dst[16], diff_src[16]; /* for diff_dst = 1, 2, 3, .. */
} example;

/* A blur with exp(-1 / 2 sigma^2) = 1 / 16: three places, weights 1 / 18, 16 / 18, 1 / 18. */
#define SIGMA 0.42466090014400953
#define MIDDLE (16.0 / 18)
#define SIDE (1.0 / 18)

static const example examples[] = {
    {EQUINV_POOL_MAX,
     1,
     3,
     4,
     2,
     2,
     0,
     {1, 2, 3, 4, 8, 7, 6, 5, 9, 9, 9, 9},
     {8, 6},
     {0, 0, 0, 0, 1, 0, 2, 0, 0, 0, 0, 0}},
    /* ties go to the lowest index, padding never wins against negative values */
    {EQUINV_POOL_MAX, 1, 2, 3, 3, 2, 1, {-5, -5, -6, -5, -7, -6}, {-5, -5}, {1, 2, 0, 0, 0, 0}},
    {EQUINV_POOL_AVERAGE,
     1,
     2,
     3,
     3,
     2,
     1,
     {9, 18, 27, 36, 45, 54},
     {12, 16},
     {1 / 9., 3 / 9., 2 / 9., 1 / 9., 3 / 9., 2 / 9.}},
    {EQUINV_POOL_GLOBAL_MAX,
     2,
     2,
     2,
     7,
     7,
     7,
     {1, 4, 4, 0, -1, -1, -2, -1},
     {4, -1},
     {0, 1, 0, 0, 2, 0, 0, 0}},
    {EQUINV_POOL_GLOBAL_AVERAGE, 2, 1, 2, 7, 7, 7, {1, 2, 5, 7}, {1.5, 6}, {.5, .5, 1, 1}},
    {EQUINV_POOL_GROUP_MAX,
     4,
     1,
     2,
     7,
     7,
     7,
     {1, 2, 5, 0, 5, 2, 3, 2},
     {5, 2},
     {0, 2, 1, 0, 0, 0, 0, 0}},
    {EQUINV_POOL_GROUP_MEAN,
     4,
     1,
     2,
     7,
     7,
     7,
     {1, 2, 5, 0, 5, 2, 3, 2},
     {3.5, 1.5},
     {.25, .5, .25, .5, .25, .5, .25, .5}},
    /* the height is one window's middle */
    {EQUINV_POOL_BLUR,
     1,
     1,
     3,
     0,
     2,
     1,
     {1, 0, 0},
     {MIDDLE * MIDDLE, 0},
     {MIDDLE * MIDDLE, 3 * MIDDLE *SIDE, 2 * MIDDLE *MIDDLE}},
};
enum { EXAMPLES = sizeof examples / sizeof *examples };

START_TEST(examples_by_hand)
{
    static const char *const impls[] = {"fast", "ref", "ref"};
    equinv_context *const ctx = context_new();
    const example *const e = &examples[_i];
    for (int k = 0; k < 3; k++) {
        equinv_pool_desc d = EQUINV_POOL_DESC_INIT;
        d.kind = e->kind;
        d.group = equinv_cyclic((int32_t)e->elements);
        d.dtype = k == 2 ? EQUINV_F64 : EQUINV_F32;
        d.batch = d.fields = 1;
        d.elements = e->elements, d.height = e->height, d.width = e->width;
        d.kernel = e->kernel, d.stride = e->stride, d.padding = e->padding, d.sigma = SIGMA;
        d.impl = impls[k];
        pool p = pool_new(ctx, &d);
        equinv_tensor src = map_new(ctx, NULL, d.dtype, p.src), diff_src = tensor_like(ctx, &src);
        equinv_tensor dst = map_new(ctx, NULL, d.dtype, p.dst), diff_dst = tensor_like(ctx, &dst);
        for (int64_t i = 0; i < equinv_tensor_count(&src); i++)
            tensor_set(&src, i, e->src[i]);
        for (int64_t i = 0; i < equinv_tensor_count(&dst); i++)
            tensor_set(&diff_dst, i, (double)(i + 1));
        pool_forward(&p, &src, &dst);
        pool_backward(&p, &diff_dst, &diff_src);
        for (int64_t i = 0; i < equinv_tensor_count(&dst); i++)
            ck_assert_msg(fabs(tensor_get(&dst, i) - e->dst[i]) < 1e-6, "%s: dst[%d] is %g",
                          impls[k], (int)i, tensor_get(&dst, i));
        for (int64_t i = 0; i < equinv_tensor_count(&src); i++)
            ck_assert_msg(fabs(tensor_get(&diff_src, i) - e->diff_src[i]) < 1e-6,
                          "%s: diff_src[%d] is %g", impls[k], (int)i, tensor_get(&diff_src, i));
        equinv_tensor_destroy(ctx, &src), equinv_tensor_destroy(ctx, &diff_src);
        equinv_tensor_destroy(ctx, &dst), equinv_tensor_destroy(ctx, &diff_dst);
        pool_free(&p);
    }
    equinv_context_destroy(ctx);
}
END_TEST

/* A few NaN and infinities among random values: where the reference has them, and where they must be. */
START_TEST(nan_wins_and_infinity_counts)
{
    static const char *const impls[] = {"fast", "ref"};
    equinv_context *const ctx = context_new();
    for (int kind = 1; kind <= 7; kind++)
        for (int k = 0; k < 2; k++) {
            equinv_pool_desc d = EQUINV_POOL_DESC_INIT;
            d.kind = (equinv_pool_kind)kind;
            d.batch = 2, d.fields = 3, d.elements = 4, d.height = d.width = 6;
            d.impl = impls[k];
            pool p = pool_new(ctx, &d);
            rng r = {(uint64_t)kind};
            equinv_tensor src = map_new(ctx, &r, EQUINV_F32, p.src);
            equinv_tensor dst = map_new(ctx, NULL, EQUINV_F32, p.dst);
            equinv_tensor diff_dst = tensor_like(ctx, &dst), diff_src = tensor_like(ctx, &src);
            /* sample 0: field 1 has two NaN, field 2 is -Inf everywhere but one +Inf */
            const int64_t field = 4 * 36;
            tensor_set(&src, field + 14, (double)NAN),
                tensor_set(&src, field + 36 + 14, (double)NAN);
            tensor_set(&src, field + 15, (double)INFINITY);
            for (int64_t i = 0; i < field; i++)
                tensor_set(&src, 2 * field + i, i == 22 ? (double)INFINITY : -(double)INFINITY);
            pool_forward(&p, &src, &dst);
            const int64_t out = equinv_tensor_count(&dst) / 6;
            int64_t nans = 0;
            for (int64_t i = 0; i < equinv_tensor_count(&dst); i++) {
                const double value = tensor_get(&dst, i);
                const int64_t f = i / out;
                nans += isnan(value) && f == 1;
                ck_assert_msg(f == 1 || f == 2 || isfinite(value), "%s kind %d: [%d] is %g",
                              impls[k], kind, (int)i, value);
                ck_assert(f != 2 || !pool_is_max((equinv_pool_kind)kind) || isinf(value));
            }
            /* one NaN output for each NaN, or one for both under the group */
            ck_assert_int_eq(nans, pool_is_group(d.kind) ? 1 : 2);
            for (int64_t i = 0; i < equinv_tensor_count(&diff_dst); i++)
                tensor_set(&diff_dst, i, 1);
            pool_backward(&p, &diff_dst, &diff_src);
            if (pool_is_max(d.kind)) {
                ck_assert(tensor_get(&diff_src, field + 14) == 1); /* the first NaN won */
                ck_assert(pool_is_group(d.kind) || tensor_get(&diff_src, field + 15) == 0);
                ck_assert(tensor_get(&diff_src, 2 * field + 22) == 1);
                ck_assert(fabs(tensor_dot(&diff_src, &diff_src) -
                               (double)equinv_tensor_count(&dst)) < 1e-9);
            }
            equinv_tensor_destroy(ctx, &src), equinv_tensor_destroy(ctx, &diff_src);
            equinv_tensor_destroy(ctx, &dst), equinv_tensor_destroy(ctx, &diff_dst);
            pool_free(&p);
        }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(edges)
{
    equinv_context *const ctx = context_new();
    equinv_pool_desc d = EQUINV_POOL_DESC_INIT;
    d.batch = 0, d.fields = 2, d.elements = 4, d.height = d.width = 6;
    pool empty = pool_new(ctx, &d);
    equinv_tensor src = map_new(ctx, NULL, EQUINV_F32, empty.src);
    equinv_tensor dst = map_new(ctx, NULL, EQUINV_F32, empty.dst);
    pool_forward(&empty, &src, &dst);
    pool_backward(&empty, &dst, &src);
    equinv_tensor_destroy(ctx, &src), equinv_tensor_destroy(ctx, &dst);
    pool_free(&empty);

    /* [N, F G, H, W], one field, no saved buffer */
    rng r = {5};
    d.batch = 2, d.fields = 1;
    pool p = pool_new(ctx, &d);
    equinv_tensor five = map_new(ctx, &r, EQUINV_F32, p.src), four = five;
    four.ndim = 4;
    four.shape[1] = 4, four.shape[2] = 6, four.shape[3] = 6;
    four.strides[1] = 36, four.strides[2] = 6, four.strides[3] = 1;
    equinv_tensor a = map_new(ctx, NULL, EQUINV_F32, p.dst), b = tensor_like(ctx, &a);
    pool_forward(&p, &five, &a);
    OK(equinv_pool_forward(p.plan, &four, &b, NULL, 0, NULL, 0));
    ASSERT_SAME(&a, &b);

    /* a saved buffer that forward never filled is answered without writing outside */
    memset(p.saved, 0x7f, p.saved_size);
    for (int i = 0; i < 20; i++) {
        laid gradient = laid_new(ctx, &r, EQUINV_F32, 5, p.src);
        pool_backward(&p, &a, &gradient.view);
        ck_assert(laid_gaps_kept(&gradient));
        laid_free(ctx, &gradient);
    }
    equinv_tensor_destroy(ctx, &five), equinv_tensor_destroy(ctx, &a);
    equinv_tensor_destroy(ctx, &b);
    pool_free(&p);

    /* stride beyond the image, window beyond the image */
    d.height = d.width = 3, d.kernel = 6, d.padding = 3, d.stride = INT64_C(1) << 40;
    pool wide = pool_new(ctx, &d);
    ck_assert(wide.dst[3] == 1 && wide.dst[4] == 1);
    equinv_tensor image = map_new(ctx, &r, EQUINV_F32, wide.src);
    equinv_tensor top = map_new(ctx, NULL, EQUINV_F32, wide.dst);
    pool_forward(&wide, &image, &top);
    for (int64_t i = 0; i < 8; i++) {
        double largest = -2;
        for (int64_t k = 0; k < 9; k++)
            largest = fmax(largest, tensor_get(&image, 9 * i + k));
        ck_assert(tensor_get(&top, i) == largest);
    }
    equinv_tensor_destroy(ctx, &image), equinv_tensor_destroy(ctx, &top);
    pool_free(&wide);
    equinv_context_destroy(ctx);
}
END_TEST

/* ---- implementations ------------------------------------------------------------------------- */

/* Few distinct values, so that ties are common. */
static void coarsen(const equinv_tensor *t)
{
    const int64_t count = equinv_tensor_count(t);
    for (int64_t i = 0; i < count; i++)
        tensor_set(t, i, floor(2 * tensor_get(t, i)));
}

/* The same winners, the same values; random shapes, strides, ties, accumulation. */
START_TEST(fast_equals_ref)
{
    equinv_context *const ctx = context_at_level(_i);
    for (uint64_t seed = 0; ctx && seed < share_of(ROUNDS); seed++) {
        rng r = {seed};
        equinv_pool_desc d = pool_random_desc(&r, EQUINV_F32);
        d.accumulate = rng_range(&r, 0, 1);
        if (d.kind == EQUINV_POOL_MAX && seed % 2) /* the windows of most networks */
            d.kernel = d.stride = 2, d.padding = 0, d.height += 1, d.width += rng_range(&r, 1, 70);
        d.impl = "fast";
        pool fast = pool_new(ctx, &d);
        d.impl = "ref";
        pool ref = pool_new(ctx, &d);
        ck_assert_str_eq(equinv_plan_impl_name(fast.plan), "pool/fast");
        ck_assert_str_eq(equinv_plan_impl_name(ref.plan), "pool/ref");
        equinv_tensor src = map_new(ctx, &r, EQUINV_F32, ref.src);
        equinv_tensor diff_dst = map_new(ctx, &r, EQUINV_F32, ref.dst);
        equinv_tensor dst = tensor_like(ctx, &diff_dst), diff_src = tensor_like(ctx, &src);
        if (rng_range(&r, 0, 1))
            coarsen(&src);
        for (int64_t i = rng_range(&r, 0, 40); i < equinv_tensor_count(&src) && seed % 5 == 0;
             i += 37)
            tensor_set(&src, i, i % 2 ? (double)NAN : -(double)INFINITY);
        pool_forward(&ref, &src, &dst);
        pool_backward(&ref, &diff_dst, &diff_src);
        laid a = laid_copy(ctx, &r, &src), b = laid_new(ctx, &r, EQUINV_F32, 5, ref.dst);
        laid db = laid_copy(ctx, &r, &diff_dst), da = laid_new(ctx, &r, EQUINV_F32, 5, ref.src);
        if (d.accumulate)
            for (int64_t i = 0; i < equinv_tensor_count(&src); i++)
                tensor_set(&da.view, i, 0);
        pool_forward(&fast, &a.view, &b.view);
        pool_backward(&fast, &db.view, &da.view);
        const double limit = d.kind == EQUINV_POOL_BLUR ? 5e-7 : 2e-7;
        ck_assert_msg(tensor_error(&b.view, &dst, NULL) <= limit, "dst, seed %d", (int)seed);
        ck_assert_msg(memcmp(fast.saved, ref.saved, ref.saved_size) == 0, "saved, seed %d",
                      (int)seed);
        ck_assert_msg(tensor_error(&da.view, &diff_src, NULL) <= 5e-7, "diff_src, seed %d",
                      (int)seed);
        ck_assert_msg(laid_gaps_kept(&b) && laid_gaps_kept(&da), "gaps, seed %d", (int)seed);
        laid_free(ctx, &a), laid_free(ctx, &b), laid_free(ctx, &da), laid_free(ctx, &db);
        equinv_tensor_destroy(ctx, &src), equinv_tensor_destroy(ctx, &dst);
        equinv_tensor_destroy(ctx, &diff_src), equinv_tensor_destroy(ctx, &diff_dst);
        pool_free(&fast), pool_free(&ref);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(double_takes_the_reference)
{
    equinv_context *const ctx = context_new();
    equinv_pool_desc d = EQUINV_POOL_DESC_INIT;
    d.dtype = EQUINV_F64;
    d.batch = 1, d.fields = 1, d.height = 4, d.width = 4;
    equinv_plan *plan;
    OK(equinv_pool_plan_create(ctx, &d, &plan));
    ck_assert_str_eq(equinv_plan_impl_name(plan), "pool/ref");
    equinv_plan_destroy(plan);
    d.impl = "fast";
    FAILS(EQUINV_ERR_UNSUPPORTED, "f32 only", equinv_pool_plan_create(ctx, &d, &plan));
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(thread_count_changes_no_bit)
{
    equinv_context *const ctx[2] = {context_of_threads(1), context_new()};
    for (int kind = 1; kind <= 7; kind++) {
        equinv_tensor dst[2], diff_src[2];
        for (int k = 0; k < 2; k++) {
            equinv_pool_desc d = EQUINV_POOL_DESC_INIT;
            d.kind = (equinv_pool_kind)kind;
            d.batch = 12, d.fields = 3, d.elements = 4, d.height = 11, d.width = 13, d.kernel = 3;
            pool p = pool_new(ctx[k], &d);
            rng r = {(uint64_t)kind};
            equinv_tensor src = map_new(ctx[k], &r, EQUINV_F32, p.src);
            equinv_tensor diff_dst = map_new(ctx[k], &r, EQUINV_F32, p.dst);
            dst[k] = tensor_like(ctx[k], &diff_dst), diff_src[k] = tensor_like(ctx[k], &src);
            pool_forward(&p, &src, &dst[k]);
            pool_backward(&p, &diff_dst, &diff_src[k]);
            equinv_tensor_destroy(ctx[k], &src), equinv_tensor_destroy(ctx[k], &diff_dst);
            pool_free(&p);
        }
        ASSERT_SAME(&dst[0], &dst[1]);
        ASSERT_SAME(&diff_src[0], &diff_src[1]);
        for (int k = 0; k < 2; k++)
            equinv_tensor_destroy(ctx[k], &dst[k]), equinv_tensor_destroy(ctx[k], &diff_src[k]);
    }
    equinv_context_destroy(ctx[0]), equinv_context_destroy(ctx[1]);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {examples_by_hand, EXAMPLES},     {nan_wins_and_infinity_counts, 1},
        {fast_equals_ref, TEST_LEVELS},   {double_takes_the_reference, 1},
        {thread_count_changes_no_bit, 1}, {edges, 1},
    };
    return run_tests("pool", tests, sizeof tests / sizeof *tests);
}
