/* Linear layers of nodes and pairs called wrongly: every refusal with its sentence, nothing written. */
#include "tests/util/node_linear.h"
#include "tests/util/refusal.h"

START_TEST(wrong_descriptions)
{
    equinv_context *const ctx = context_new();
    int64_t shape[3];
    equinv_node_linear_desc good = EQUINV_NODE_LINEAR_DESC_INIT;
    good.batch = 2, good.nodes = 3, good.channels_in = 4, good.channels_out = 5;
    const int64_t huge = (int64_t)1 << 40;
#define REFUSED(...) PLAN_REFUSES(node_linear, ctx, good, __VA_ARGS__)
    PLAN_NEEDS_POINTERS(node_linear, ctx, good);
    FAILS(EQUINV_ERR_ARG, "desc is NULL", equinv_node_linear_weights_shape(NULL, shape));
    FAILS(EQUINV_ERR_ARG, "shape is NULL", equinv_node_linear_weights_shape(&good, NULL));
    REFUSED(EQUINV_ERR_ARG, "struct_size", d.struct_size = 3);
    REFUSED(EQUINV_ERR_DTYPE, "dtype is u8", d.dtype = EQUINV_U8);
    REFUSED(EQUINV_ERR_ARG, "order_in is 0", d.order_in = 0);
    REFUSED(EQUINV_ERR_ARG, "order_out is 3", d.order_out = 3);
    REFUSED(EQUINV_ERR_SHAPE, "batch is -1", d.batch = -1);
    REFUSED(EQUINV_ERR_SHAPE, "nodes is 0", d.nodes = 0);
    REFUSED(EQUINV_ERR_SHAPE, "channels_in is 0", d.channels_in = 0);
    REFUSED(EQUINV_ERR_SHAPE, "channels_out is 0", d.channels_out = 0);
    REFUSED(EQUINV_ERR_SHAPE, "src has more", d.nodes = huge);
    REFUSED(EQUINV_ERR_SHAPE, "dst has more", d.order_in = 1, d.nodes = huge);
    REFUSED(EQUINV_ERR_SHAPE, "weights has more", d.channels_in = d.channels_out = huge);
    REFUSED(EQUINV_ERR_SHAPE, "scratch has more", d.order_in = d.order_out = 1, d.batch = 1,
            d.nodes = (int64_t)1 << 22, d.channels_in = huge);
    REFUSED(EQUINV_ERR_ARG, "expected one of", d.impl = "blas");
#undef REFUSED
    equinv_context_destroy(ctx);
}
END_TEST

enum { SRC, MASK, WEIGHTS, BIAS, DIFF_DST, DST, DIFF_SRC, DIFF_WEIGHTS, DIFF_BIAS, ARGUMENTS };
static const char *const names[ARGUMENTS] = {
    "src", "mask", "weights", "bias", "diff_dst", "dst", "diff_src", "diff_weights", "diff_bias"};

static equinv_status call_forward(void *l, const equinv_tensor *const *t)
{
    return equinv_node_linear_forward(((linear *)l)->plan, t[SRC], t[MASK], t[WEIGHTS], t[BIAS],
                                      t[DST], NULL, 0);
}

static equinv_status call_data(void *l, const equinv_tensor *const *t)
{
    return equinv_node_linear_backward_data(((linear *)l)->plan, t[DIFF_DST], t[MASK], t[WEIGHTS],
                                            t[DIFF_SRC], NULL, 0);
}

static equinv_status call_weights(void *l, const equinv_tensor *const *t)
{
    return equinv_node_linear_backward_weights(((linear *)l)->plan, t[SRC], t[MASK], t[DIFF_DST],
                                               t[DIFF_WEIGHTS], t[DIFF_BIAS], NULL, 0);
}

static const call calls[] = {
    {call_forward, BIT(SRC) | BIT(MASK) | BIT(WEIGHTS) | BIT(BIAS) | BIT(DST), BIT(DST), BIT(MASK),
     0},
    {call_data, BIT(DIFF_DST) | BIT(MASK) | BIT(WEIGHTS) | BIT(DIFF_SRC), BIT(DIFF_SRC), BIT(MASK),
     0},
    {call_weights, BIT(SRC) | BIT(MASK) | BIT(DIFF_DST) | BIT(DIFF_WEIGHTS) | BIT(DIFF_BIAS),
     BIT(DIFF_WEIGHTS) | BIT(DIFF_BIAS), BIT(MASK) | BIT(DIFF_BIAS), 0},
};

START_TEST(wrong_arguments)
{
    equinv_context *const ctx = context_new();
    rng r = {71};
    equinv_node_linear_desc desc = EQUINV_NODE_LINEAR_DESC_INIT;
    desc.batch = 2, desc.nodes = 4, desc.channels_in = 3, desc.channels_out = 5;
    linear l = linear_new(ctx, &r, &desc, true);
    const equinv_tensor *const good[ARGUMENTS] = {&l.src,      &l.mask,         &l.weights,
                                                  &l.bias,     &l.diff_dst,     &l.dst,
                                                  &l.diff_src, &l.diff_weights, &l.diff_bias};
    assert_refusals(calls, 3, &(arguments){ARGUMENTS, names, good, BIT(MASK), 0}, &l);
    equinv_plan *const plan = l.plan;
    l.plan = NULL;
    for (int c = 0; c < 3; c++)
        FAILS(EQUINV_ERR_ARG, "plan is NULL", calls[c].run(&l, good));
    desc.bias = false;
    OK(equinv_node_linear_plan_create(ctx, &desc, &l.plan));
    FAILS(EQUINV_ERR_ARG, "bias is given", call_forward(&l, good));
    equinv_plan_destroy(l.plan);
    l.plan = plan;
    OK(equinv_node_linear_backward_weights(plan, &l.src, NULL, &l.diff_dst, &l.diff_weights, NULL,
                                           NULL, 0));
    FAILS(EQUINV_ERR_SCRATCH, "scratch",
          equinv_node_linear_forward(plan, &l.src, NULL, &l.weights, &l.bias, &l.dst,
                                     l.diff_weights.data, 1));
    linear_free(&l);
    equinv_context_destroy(ctx);
}
END_TEST

PLAN_ATTEMPT(make_plan, node_linear)

START_TEST(allocation_failures)
{
    equinv_node_linear_desc d = EQUINV_NODE_LINEAR_DESC_INIT;
    d.batch = 4, d.nodes = 5, d.channels_in = 3, d.channels_out = 4;
    ck_assert_int_eq(fail_in_turn(make_plan, &d), 2); /* the plan and the arena */
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {wrong_descriptions, 1},
        {wrong_arguments, 1},
        {allocation_failures, 1},
    };
    return run_tests("node linear arguments", tests, sizeof tests / sizeof *tests);
}
