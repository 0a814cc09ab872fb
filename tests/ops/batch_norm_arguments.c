/* Batch normalisation called wrongly: every refusal with its sentence, nothing written; scratch and views. */
#include <math.h>

#include "tests/util/batch_norm.h"
#include "tests/util/refusal.h"

/* The caller's scratch, the arena, and another view of the same map. */
START_TEST(scratch_and_joined_channels)
{
    equinv_context *const ctx = context_new();
    rng r = {13};
    equinv_batch_norm_desc d = EQUINV_BATCH_NORM_DESC_INIT;
    d.batch = 3, d.fields = 2, d.elements = 4, d.height = 3, d.width = 5;
    norm b = norm_new(ctx, &r, &d);
    const size_t size = equinv_plan_scratch_size(b.plan);
    ck_assert(size > 0);
    char *const scratch = aligned_alloc(64, (size + 63) / 64 * 64);
    equinv_tensor four = b.src, dst = tensor_like(ctx, &b.dst);
    four.ndim = 4;
    four.shape[1] = 8, four.shape[2] = 3, four.shape[3] = 5;
    four.strides[1] = 15, four.strides[2] = 5, four.strides[3] = 1;
    norm_forward(&b, true);
    OK(equinv_batch_norm_forward_train(b.plan, &four, &b.gamma, &b.beta, NULL, NULL, &dst, NULL, 0,
                                       scratch, size));
    ASSERT_SAME(&b.dst, &dst);
    FAILS(EQUINV_ERR_SCRATCH, "scratch_size is 8",
          equinv_batch_norm_forward_train(b.plan, &b.src, &b.gamma, &b.beta, NULL, NULL, &dst, NULL,
                                          0, scratch, 8));
    FAILS(EQUINV_ERR_SCRATCH, "aligned",
          equinv_batch_norm_forward_train(b.plan, &b.src, &b.gamma, &b.beta, NULL, NULL, &dst, NULL,
                                          0, scratch + 8, size));
    /* gradients that nobody wants */
    norm_backward(&b, true);
    OK(equinv_batch_norm_backward_train(b.plan, &b.src, &b.gamma, &b.diff_dst, b.saved,
                                        b.saved_size, &dst, NULL, NULL, scratch, size));
    ASSERT_SAME(&b.diff_src, &dst);
    norm_backward(&b, false);
    OK(equinv_batch_norm_backward_eval(b.plan, &b.src, &b.gamma, &b.running_mean, &b.running_var,
                                       &b.diff_dst, &dst, NULL, NULL, scratch, size));
    ASSERT_SAME(&b.diff_src, &dst);
    equinv_tensor_destroy(ctx, &dst);
    free(scratch);
    norm_free(&b);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(wrong_descriptions)
{
    equinv_context *const ctx = context_new();
    equinv_batch_norm_desc good = EQUINV_BATCH_NORM_DESC_INIT;
    good.batch = 2, good.fields = 3;
    PLAN_NEEDS_POINTERS(batch_norm, ctx, good);
#define REFUSED(...) PLAN_REFUSES(batch_norm, ctx, good, __VA_ARGS__)
    REFUSED(EQUINV_ERR_ARG, "struct_size", d.struct_size++);
    REFUSED(EQUINV_ERR_DTYPE, "dtype is u8", d.dtype = EQUINV_U8);
    REFUSED(EQUINV_ERR_SHAPE, "batch is -2", d.batch = -2);
    REFUSED(EQUINV_ERR_SHAPE, "fields is 0", d.fields = 0);
    REFUSED(EQUINV_ERR_SHAPE, "elements is 0", d.elements = 0);
    REFUSED(EQUINV_ERR_SHAPE, "height is 0", d.height = 0);
    REFUSED(EQUINV_ERR_SHAPE, "width is -1", d.width = -1);
    REFUSED(EQUINV_ERR_SHAPE, "src has more than 2^63", d.height = d.width = INT64_C(1) << 40);
    REFUSED(EQUINV_ERR_SHAPE, "scratch has more than 2^63", d.batch = INT64_C(1) << 40,
            d.fields = INT64_C(1) << 20);
    REFUSED(EQUINV_ERR_ARG, "epsilon is 0", d.epsilon = 0);
    REFUSED(EQUINV_ERR_ARG, "epsilon is -1", d.epsilon = -1);
    REFUSED(EQUINV_ERR_ARG, "epsilon is nan", d.epsilon = (double)NAN);
    REFUSED(EQUINV_ERR_ARG, "epsilon is inf", d.epsilon = (double)INFINITY);
    REFUSED(EQUINV_ERR_ARG, "momentum is -0.5", d.momentum = -0.5);
    REFUSED(EQUINV_ERR_ARG, "momentum is 1.5", d.momentum = 1.5);
    REFUSED(EQUINV_ERR_ARG, "momentum is nan", d.momentum = (double)NAN);
    REFUSED(EQUINV_ERR_ARG, "expected one of fast, ref", d.impl = "gemm");
    REFUSED(EQUINV_ERR_UNSUPPORTED, "f32 only", d.impl = "fast", d.dtype = EQUINV_F64);
    REFUSED(EQUINV_ERR_NOMEM, "arena", d.batch = INT64_C(1) << 40, d.fields = 1 << 10);
#undef REFUSED
    equinv_context_destroy(ctx);
}
END_TEST

enum { SRC, GAMMA, BETA, MEAN, VAR, DIFF_DST, DST, DIFF_SRC, DIFF_GAMMA, DIFF_BETA, ARGUMENTS };

static const char *const names[ARGUMENTS] = {"src",         "gamma",    "beta", "running_mean",
                                             "running_var", "diff_dst", "dst",  "diff_src",
                                             "diff_gamma",  "diff_beta"};

static equinv_status train_forward(void *subject, const equinv_tensor *const *t)
{
    const norm *const b = subject;
    return equinv_batch_norm_forward_train(b->plan, t[SRC], t[GAMMA], t[BETA], t[MEAN], t[VAR],
                                           t[DST], b->saved, b->saved_size, NULL, 0);
}

static equinv_status eval_forward(void *subject, const equinv_tensor *const *t)
{
    const norm *const b = subject;
    return equinv_batch_norm_forward_eval(b->plan, t[SRC], t[GAMMA], t[BETA], t[MEAN], t[VAR],
                                          t[DST], NULL, 0);
}

static equinv_status train_backward(void *subject, const equinv_tensor *const *t)
{
    const norm *const b = subject;
    return equinv_batch_norm_backward_train(b->plan, t[SRC], t[GAMMA], t[DIFF_DST], b->saved,
                                            b->saved_size, t[DIFF_SRC], t[DIFF_GAMMA], t[DIFF_BETA],
                                            NULL, 0);
}

static equinv_status eval_backward(void *subject, const equinv_tensor *const *t)
{
    const norm *const b = subject;
    return equinv_batch_norm_backward_eval(b->plan, t[SRC], t[GAMMA], t[MEAN], t[VAR], t[DIFF_DST],
                                           t[DIFF_SRC], t[DIFF_GAMMA], t[DIFF_BETA], NULL, 0);
}

static const call calls[] = {
    {train_forward, BIT(SRC) | BIT(GAMMA) | BIT(BETA) | BIT(MEAN) | BIT(VAR) | BIT(DST),
     BIT(MEAN) | BIT(VAR) | BIT(DST), 0, 0},
    {eval_forward, BIT(SRC) | BIT(GAMMA) | BIT(BETA) | BIT(MEAN) | BIT(VAR) | BIT(DST), BIT(DST), 0,
     BIT(SRC) | BIT(DST)},
    {train_backward,
     BIT(SRC) | BIT(GAMMA) | BIT(DIFF_DST) | BIT(DIFF_SRC) | BIT(DIFF_GAMMA) | BIT(DIFF_BETA),
     BIT(DIFF_SRC) | BIT(DIFF_GAMMA) | BIT(DIFF_BETA), BIT(DIFF_GAMMA) | BIT(DIFF_BETA), 0},
    {eval_backward,
     BIT(SRC) | BIT(GAMMA) | BIT(MEAN) | BIT(VAR) | BIT(DIFF_DST) | BIT(DIFF_SRC) |
         BIT(DIFF_GAMMA) | BIT(DIFF_BETA),
     BIT(DIFF_SRC) | BIT(DIFF_GAMMA) | BIT(DIFF_BETA), BIT(DIFF_GAMMA) | BIT(DIFF_BETA), 0},
};
enum { CALLS = sizeof calls / sizeof *calls };

/* Every argument of every call wrong in every way; nothing is written. */
START_TEST(wrong_arguments)
{
    equinv_context *const ctx = context_new();
    rng r = {19};
    equinv_batch_norm_desc d = EQUINV_BATCH_NORM_DESC_INIT;
    d.batch = 2, d.fields = 3, d.elements = 4, d.height = 2, d.width = 3;
    norm n = norm_new(ctx, &r, &d);
    const equinv_tensor *const good[ARGUMENTS] = {
        &n.src,      &n.gamma, &n.beta,     &n.running_mean, &n.running_var,
        &n.diff_dst, &n.dst,   &n.diff_src, &n.diff_gamma,   &n.diff_beta};
    assert_refusals(calls, CALLS, &(arguments){ARGUMENTS, names, good, 0, 0}, &n);
    /* saved, scratch and the plan */
    FAILS(EQUINV_ERR_SCRATCH, "saved_size is 7",
          equinv_batch_norm_forward_train(n.plan, &n.src, &n.gamma, &n.beta, NULL, NULL, &n.dst,
                                          n.saved, 7, NULL, 0));
    FAILS(EQUINV_ERR_ARG, "saved is NULL",
          equinv_batch_norm_backward_train(n.plan, &n.src, &n.gamma, &n.diff_dst, NULL, 0,
                                           &n.diff_src, NULL, NULL, NULL, 0));
    FAILS(EQUINV_ERR_SCRATCH, "saved is",
          equinv_batch_norm_backward_train(n.plan, &n.src, &n.gamma, &n.diff_dst,
                                           (char *)n.saved + 8, n.saved_size, &n.diff_src, NULL,
                                           NULL, NULL, 0));
    equinv_plan *const plan = n.plan;
    n.plan = NULL;
    for (int c = 0; c < CALLS; c++)
        FAILS(EQUINV_ERR_ARG, "plan is NULL", calls[c].run(&n, good));
    equinv_pool_desc pool = EQUINV_POOL_DESC_INIT;
    pool.batch = pool.fields = 1, pool.height = pool.width = 2;
    OK(equinv_pool_plan_create(ctx, &pool, &n.plan));
    for (int c = 0; c < CALLS; c++)
        FAILS(EQUINV_ERR_ARG, "another operation", calls[c].run(&n, good));
    equinv_plan_destroy(n.plan);
    n.plan = plan;
    norm_free(&n);
    equinv_context_destroy(ctx);
}
END_TEST

PLAN_ATTEMPT(make_plan, batch_norm)

START_TEST(allocation_failures)
{
    equinv_batch_norm_desc d = EQUINV_BATCH_NORM_DESC_INIT;
    d.batch = 4, d.fields = 3, d.elements = 4;
    ck_assert_int_eq(fail_in_turn(make_plan, &d), 2); /* the plan and the arena */
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {scratch_and_joined_channels, 1},
        {wrong_descriptions, 1},
        {wrong_arguments, 1},
        {allocation_failures, 1},
    };
    return run_tests("batch_norm_arguments", tests, sizeof tests / sizeof *tests);
}
