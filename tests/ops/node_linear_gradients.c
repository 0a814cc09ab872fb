/* Linear layers of nodes and pairs: gradients by differences, adjoints, sums into what is there. */
#include <math.h>

#include "tests/util/node_linear.h"

enum { ROUNDS = 240 };

static double loss(void *arg)
{
    linear *const l = arg;
    linear_forward(l);
    return tensor_dot(&l->dst, &l->diff_dst);
}

START_TEST(gradient_by_differences)
{
    equinv_context *const ctx = context_new();
    for (uint64_t seed = 0; seed < share_of(80); seed++) {
        rng r = {seed + 5000};
        equinv_node_linear_desc desc = linear_random_desc(&r, EQUINV_F64);
        desc.accumulate = false, desc.bias = true;
        desc.impl = linear_impl(desc.dtype, seed);
        linear l = linear_new(ctx, &r, &desc, rng_range(&r, 0, 2));
        linear_run(&l);
        /* the loss is linear in each argument: a wide step has no error but rounding */
        ck_assert_msg(gradient_mismatch(&l.src, &l.diff_src, loss, &l, 0.5, 1e-11, 20) < 0,
                      "src, seed %d", (int)seed);
        ck_assert_msg(gradient_mismatch(&l.weights, &l.diff_weights, loss, &l, 0.5, 1e-11, 30) < 0,
                      "weights, seed %d", (int)seed);
        ck_assert_msg(gradient_mismatch(&l.bias, &l.diff_bias, loss, &l, 0.5, 1e-11, 20) < 0,
                      "bias, seed %d", (int)seed);
        linear_free(&l);
    }
    equinv_context_destroy(ctx);
}
END_TEST

/* <A x, y> = <x, A' y> in src and in the weights. */
START_TEST(backward_is_the_adjoint)
{
    equinv_context *const ctx = context_new();
    for (uint64_t seed = 0; seed < share_of(ROUNDS); seed++) {
        rng r = {seed + 6000};
        equinv_node_linear_desc desc = linear_random_desc(&r, seed % 2 ? EQUINV_F64 : EQUINV_F32);
        desc.accumulate = desc.bias = false;
        desc.impl = linear_impl(desc.dtype, seed / 2);
        linear l = linear_new(ctx, &r, &desc, rng_range(&r, 0, 2));
        linear_run(&l);
        const double left = tensor_dot(&l.dst, &l.diff_dst);
        const double scale = 1 + (double)(equinv_tensor_count(&l.dst) * desc.channels_in * 15);
        const double tolerance = (seed % 2 ? 1e-14 : 1e-6) * sqrt(scale);
        ck_assert_msg(fabs(left - tensor_dot(&l.src, &l.diff_src)) <= tolerance, "src, seed %d",
                      (int)seed);
        ck_assert_msg(fabs(left - tensor_dot(&l.weights, &l.diff_weights)) <= tolerance,
                      "weights, seed %d", (int)seed);
        linear_free(&l);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(accumulate_adds_to_all_outputs)
{
    equinv_context *const ctx = context_new();
    for (int k = 0; k < 16; k++) {
        rng r = {31}, again = r;
        equinv_node_linear_desc desc = EQUINV_NODE_LINEAR_DESC_INIT;
        desc.dtype = k < 8 ? EQUINV_F64 : EQUINV_F32;
        desc.order_in = 1 + k / 2 % 2, desc.order_out = 1 + k % 2, desc.symmetric = k / 4 % 2;
        desc.batch = 3, desc.nodes = 5, desc.channels_in = 4, desc.channels_out = 3;
        desc.impl = linear_impl(desc.dtype, 0);
        linear once = linear_new(ctx, &r, &desc, true);
        desc.accumulate = true;
        linear sum = linear_new(ctx, &again, &desc, true);
        equinv_tensor *const results[] = {&once.dst, &once.diff_src, &once.diff_weights,
                                          &once.diff_bias};
        equinv_tensor *const sums[] = {&sum.dst, &sum.diff_src, &sum.diff_weights, &sum.diff_bias};
        linear_run(&once);
        for (int i = 0; i < 4; i++)
            OK(equinv_tensor_convert(ctx, results[i], 1.0, 0.0, sums[i]));
        linear_run(&sum), linear_run(&sum);
        for (int i = 0; i < 4; i++) {
            OK(equinv_tensor_convert(ctx, results[i], 3.0, 0.0, results[i]));
            ASSERT_CLOSE(sums[i], results[i], k < 8 ? 1e-14 : 1e-6);
        }
        linear_free(&once), linear_free(&sum);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(empty_batch)
{
    equinv_context *const ctx = context_new();
    for (int k = 0; k < 16; k++) {
        rng r = {51};
        equinv_node_linear_desc desc = EQUINV_NODE_LINEAR_DESC_INIT;
        desc.order_in = 1 + k / 2 % 2, desc.order_out = 1 + k % 2, desc.accumulate = k / 4 % 2;
        desc.nodes = 4, desc.channels_in = 3, desc.channels_out = 2;
        desc.impl = linear_impl(desc.dtype, (uint64_t)k / 8);
        linear l = linear_new(ctx, &r, &desc, true);
        equinv_tensor weights = tensor_copy(ctx, &l.diff_weights);
        equinv_tensor bias = tensor_copy(ctx, &l.diff_bias);
        linear_run(&l);
        if (desc.accumulate) {
            ASSERT_SAME(&l.diff_weights, &weights);
            ASSERT_SAME(&l.diff_bias, &bias);
        } else {
            ck_assert(tensor_max_abs(&l.diff_weights) == 0 && tensor_max_abs(&l.diff_bias) == 0);
        }
        equinv_tensor_destroy(ctx, &weights), equinv_tensor_destroy(ctx, &bias);
        linear_free(&l);
    }
    equinv_context_destroy(ctx);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {gradient_by_differences, 1},
        {backward_is_the_adjoint, 1},
        {accumulate_adds_to_all_outputs, 1},
        {empty_batch, 1},
    };
    return run_tests("node linear gradients", tests, sizeof tests / sizeof *tests);
}
