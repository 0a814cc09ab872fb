/* Pooling called wrongly: every refusal with its sentence, nothing written. */
#include <math.h>

#include "tests/util/pool.h"
#include "tests/util/refusal.h"

START_TEST(wrong_descriptions)
{
    equinv_context *const ctx = context_new();
    equinv_pool_desc good = EQUINV_POOL_DESC_INIT;
    good.batch = 2, good.fields = 3, good.elements = 4, good.height = 6, good.width = 7;
    equinv_plan *plan = NULL;
    int64_t shape[5] = {-7, -7, -7, -7, -7};
    PLAN_NEEDS_POINTERS(pool, ctx, good);
    FAILS(EQUINV_ERR_ARG, "desc is NULL", equinv_pool_output_shape(NULL, shape));
    FAILS(EQUINV_ERR_ARG, "shape is NULL", equinv_pool_output_shape(&good, NULL));
#define REFUSED(status, word, ...)                                                                 \
    SHAPED_PLAN_REFUSES(pool, ctx, good, shape, status, word, __VA_ARGS__)
    REFUSED(EQUINV_ERR_ARG, "struct_size", d.struct_size = 8);
    REFUSED(EQUINV_ERR_ARG, "kind is 0", d.kind = 0);
    REFUSED(EQUINV_ERR_ARG, "kind is 8", d.kind = 8);
    REFUSED(EQUINV_ERR_ARG, "sigma is 0", d.kind = EQUINV_POOL_BLUR, d.sigma = 0);
    REFUSED(EQUINV_ERR_ARG, "sigma is nan", d.kind = EQUINV_POOL_BLUR, d.sigma = (double)NAN);
    REFUSED(EQUINV_ERR_ARG, "at most 31", d.kind = EQUINV_POOL_BLUR, d.sigma = 10.51);
    REFUSED(EQUINV_ERR_SHAPE, "half of kernel 5", d.kind = EQUINV_POOL_BLUR, d.padding = 3);
    REFUSED(EQUINV_ERR_ARG, "C0", d.group = equinv_cyclic(0));
    REFUSED(EQUINV_ERR_UNSUPPORTED, "S", d.group = equinv_symmetric());
    REFUSED(EQUINV_ERR_DTYPE, "dtype is i32", d.dtype = EQUINV_I32);
    REFUSED(EQUINV_ERR_DTYPE, "dtype is bf16", d.dtype = EQUINV_BF16);
    REFUSED(EQUINV_ERR_SHAPE, "batch is -1", d.batch = -1);
    REFUSED(EQUINV_ERR_SHAPE, "fields is 0", d.fields = 0);
    REFUSED(EQUINV_ERR_SHAPE, "elements is 3", d.elements = 3);
    REFUSED(EQUINV_ERR_SHAPE, "elements is 1", d.elements = 1, d.kind = EQUINV_POOL_GROUP_MEAN);
    REFUSED(EQUINV_ERR_SHAPE, "height is 0", d.height = 0);
    REFUSED(EQUINV_ERR_SHAPE, "width is -3", d.width = -3);
    REFUSED(EQUINV_ERR_SHAPE, "kernel is 0", d.kernel = 0);
    REFUSED(EQUINV_ERR_SHAPE, "stride is 0", d.stride = 0);
    REFUSED(EQUINV_ERR_SHAPE, "padding is -1", d.padding = -1);
    REFUSED(EQUINV_ERR_SHAPE, "half of kernel 2", d.padding = 2);
    REFUSED(EQUINV_ERR_SHAPE, "smaller than kernel 9", d.kernel = 9);
    REFUSED(EQUINV_ERR_SHAPE, "2^63", d.batch = d.fields = INT64_C(1) << 40);
    REFUSED(EQUINV_ERR_UNSUPPORTED, "2^31 - 1", d.height = d.width = 1 << 20);
#undef REFUSED
    equinv_pool_desc d = good;
    d.impl = "fastest";
    FAILS(EQUINV_ERR_ARG, "expected one of fast, ref", equinv_pool_plan_create(ctx, &d, &plan));
    d = good;
    d.kernel = 5, d.padding = 2, d.stride = 1, d.batch = INT64_C(1) << 40, d.fields = 1 << 15;
    FAILS(EQUINV_ERR_SHAPE, "saved", equinv_pool_plan_create(ctx, &d, &plan));
    ck_assert_ptr_null(plan);
    for (int i = 0; i < 5; i++)
        ck_assert_int_eq(shape[i], -7);
    equinv_context_destroy(ctx);
}
END_TEST

enum { SRC, DST, DIFF_DST, DIFF_SRC, ARGUMENTS };
static const char *const names[ARGUMENTS] = {"src", "dst", "diff_dst", "diff_src"};

static equinv_status call_forward(void *subject, const equinv_tensor *const *t)
{
    const pool *const p = subject;
    return equinv_pool_forward(p->plan, t[SRC], t[DST], p->saved, p->saved_size, NULL, 0);
}

static equinv_status call_backward(void *subject, const equinv_tensor *const *t)
{
    const pool *const p = subject;
    return equinv_pool_backward(p->plan, t[DIFF_DST], p->saved, p->saved_size, t[DIFF_SRC], NULL,
                                0);
}

static const call calls[] = {
    {call_forward, BIT(SRC) | BIT(DST), BIT(DST), 0, 0},
    {call_backward, BIT(DIFF_DST) | BIT(DIFF_SRC), BIT(DIFF_SRC), 0, 0},
};

START_TEST(wrong_arguments)
{
    equinv_context *const ctx = context_new();
    equinv_pool_desc d = EQUINV_POOL_DESC_INIT;
    d.batch = 2, d.fields = 3, d.elements = 4, d.height = 6, d.width = 8;
    pool p = pool_new(ctx, &d);
    rng r = {9};
    equinv_tensor src = map_new(ctx, &r, EQUINV_F32, p.src), diff_src = tensor_copy(ctx, &src);
    equinv_tensor dst = map_new(ctx, &r, EQUINV_F32, p.dst), diff_dst = tensor_copy(ctx, &dst);
    const equinv_tensor *const good[ARGUMENTS] = {&src, &dst, &diff_dst, &diff_src};
    assert_refusals(calls, 2, &(arguments){ARGUMENTS, names, good, 0, 0}, &p);
    /* saved and the plan */
    void *const saved = p.saved;
    const size_t size = p.saved_size;
    FAILS(EQUINV_ERR_SCRATCH, "saved_size is 8, expected at least",
          equinv_pool_forward(p.plan, &src, &dst, saved, 8, NULL, 0));
    FAILS(EQUINV_ERR_SCRATCH, "aligned",
          equinv_pool_forward(p.plan, &src, &dst, (char *)saved + 4, size, NULL, 0));
    FAILS(EQUINV_ERR_ARG, "saved is NULL",
          equinv_pool_backward(p.plan, &dst, NULL, 0, &src, NULL, 0));
    FAILS(EQUINV_ERR_SCRATCH, "saved_size",
          equinv_pool_backward(p.plan, &dst, saved, size - 1, &src, NULL, 0));
    equinv_plan *const plan = p.plan;
    p.plan = NULL;
    for (int c = 0; c < 2; c++)
        FAILS(EQUINV_ERR_ARG, "plan is NULL", calls[c].run(&p, good));
    p.plan = plan;
    ASSERT_SAME(&src, &diff_src); /* nothing was written */
    ASSERT_SAME(&dst, &diff_dst);
    equinv_tensor_destroy(ctx, &src), equinv_tensor_destroy(ctx, &dst);
    equinv_tensor_destroy(ctx, &diff_src), equinv_tensor_destroy(ctx, &diff_dst);
    pool_free(&p);
    equinv_context_destroy(ctx);
}
END_TEST

PLAN_ATTEMPT(make_plan, pool)

START_TEST(allocation_failures)
{
    equinv_pool_desc d = EQUINV_POOL_DESC_INIT;
    d.batch = 1, d.fields = 1, d.elements = 4, d.height = d.width = 4;
    ck_assert_int_eq(fail_in_turn(make_plan, &d), 1);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {wrong_descriptions, 1},
        {wrong_arguments, 1},
        {allocation_failures, 1},
    };
    return run_tests("pool_arguments", tests, sizeof tests / sizeof *tests);
}
