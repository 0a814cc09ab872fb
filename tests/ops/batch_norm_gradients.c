/* Batch normalisation: gradients by differences, adjoints, sums into what is there. */
#include <math.h>

#include "tests/util/batch_norm.h"

enum { ROUNDS = 250 };

typedef struct probe {
    norm *b;
    bool train;
} probe;

static double loss(void *arg)
{
    const probe *const q = arg;
    norm *const b = q->b;
    if (q->train)
        OK(equinv_batch_norm_forward_train(b->plan, &b->src, &b->gamma, &b->beta, NULL, NULL,
                                           &b->dst, NULL, 0, NULL, 0));
    else
        norm_forward(b, false);
    return tensor_dot(&b->dst, &b->diff_dst);
}

START_TEST(gradient_by_differences)
{
    equinv_context *const ctx = context_new();
    for (uint64_t seed = 0; seed < share_of(80); seed++) {
        rng r = {seed + 2000};
        equinv_batch_norm_desc d = norm_random_desc(&r, EQUINV_F64);
        d.epsilon = 1e-2; /* fields of few values stay smooth */
        norm b = norm_new(ctx, &r, &d);
        probe q = {&b, seed % 2};
        norm_forward(&b, q.train), norm_backward(&b, q.train);
        ck_assert_msg(gradient_mismatch(&b.src, &b.diff_src, loss, &q, 1e-5, 1e-6, 30) < 0,
                      "src, seed %d", (int)seed);
        ck_assert_msg(gradient_mismatch(&b.gamma, &b.diff_gamma, loss, &q, 1e-5, 1e-7, 30) < 0,
                      "gamma, seed %d", (int)seed);
        ck_assert_msg(gradient_mismatch(&b.beta, &b.diff_beta, loss, &q, 1e-5, 1e-7, 30) < 0,
                      "beta, seed %d", (int)seed);
        norm_free(&b);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(accumulate_adds_to_the_parameter_gradients)
{
    equinv_context *const ctx = context_new();
    for (int train = 0; train < 2; train++) {
        rng r = {23};
        equinv_batch_norm_desc d = EQUINV_BATCH_NORM_DESC_INIT;
        d.dtype = EQUINV_F64;
        d.batch = 2, d.fields = 3, d.elements = 4, d.height = 3;
        norm once = norm_new(ctx, &r, &d);
        d.accumulate = true;
        norm twice = norm_new(ctx, &r, &d);
        norm_forward(&once, train), norm_backward(&once, train);
        for (int i = 0; i < 4; i++) {
            equinv_tensor *const maps[] = {&once.src, &once.diff_dst, &once.gamma,
                                           &once.running_mean};
            equinv_tensor *const copies[] = {&twice.src, &twice.diff_dst, &twice.gamma,
                                             &twice.running_mean};
            OK(equinv_tensor_convert(ctx, maps[i], 1.0, 0.0, copies[i]));
        }
        OK(equinv_tensor_convert(ctx, &once.running_var, 1.0, 0.0, &twice.running_var));
        OK(equinv_tensor_convert(ctx, &once.diff_gamma, 1.0, 0.0, &twice.diff_gamma));
        OK(equinv_tensor_convert(ctx, &once.diff_beta, 1.0, 0.0, &twice.diff_beta));
        memcpy(twice.saved, once.saved, once.saved_size);
        norm_backward(&twice, train);
        OK(equinv_tensor_convert(ctx, &once.diff_gamma, 2.0, 0.0, &once.diff_gamma));
        OK(equinv_tensor_convert(ctx, &once.diff_beta, 2.0, 0.0, &once.diff_beta));
        ASSERT_CLOSE(&twice.diff_gamma, &once.diff_gamma, 1e-14);
        ASSERT_CLOSE(&twice.diff_beta, &once.diff_beta, 1e-14);
        ASSERT_CLOSE(&twice.diff_src, &once.diff_src, 1e-14); /* never added to */
        norm_free(&once), norm_free(&twice);
    }
    equinv_context_destroy(ctx);
}
END_TEST

/*
 * Evaluation is affine: f(x + v) - f(x) = A v, <A v, y> = <v, A' y>. In training the directional
 * derivative along v stands for A v.
 */
START_TEST(backward_is_the_adjoint)
{
    equinv_context *const ctx = context_new();
    for (uint64_t seed = 0; seed < share_of(ROUNDS); seed++) {
        rng r = {seed + 3000};
        equinv_batch_norm_desc d = norm_random_desc(&r, EQUINV_F64);
        d.epsilon = 1e-2;
        norm b = norm_new(ctx, &r, &d);
        probe q = {&b, seed % 2};
        const double step = q.train ? 1e-5 : 1;
        equinv_tensor v = tensor_like(ctx, &b.src), x = tensor_copy(ctx, &b.src);
        tensor_fill_random(&r, &v);
        norm_forward(&b, q.train), norm_backward(&b, q.train);
        for (int64_t i = 0; i < equinv_tensor_count(&v); i++)
            tensor_set(&b.src, i, tensor_get(&x, i) + step * tensor_get(&v, i));
        const double above = loss(&q);
        for (int64_t i = 0; i < equinv_tensor_count(&v); i++)
            tensor_set(&b.src, i, tensor_get(&x, i) - step * tensor_get(&v, i));
        const double left = (above - loss(&q)) / (2 * step);
        const double right = tensor_dot(&v, &b.diff_src);
        ck_assert_msg(fabs(left - right) <=
                          (q.train ? 1e-6 : 1e-12) * (double)norm_count(&b) * (1 + fabs(right)),
                      "%g and %g, seed %d", left, right, (int)seed);
        equinv_tensor_destroy(ctx, &v), equinv_tensor_destroy(ctx, &x);
        norm_free(&b);
    }
    equinv_context_destroy(ctx);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {gradient_by_differences, 1},
        {accumulate_adds_to_the_parameter_gradients, 1},
        {backward_is_the_adjoint, 1},
    };
    return run_tests("batch_norm_gradients", tests, sizeof tests / sizeof *tests);
}
