/* Pooling: adjoints, gradients by differences, sums into what is there. */
#include <math.h>

#include "tests/util/pool.h"

enum { ROUNDS = 250 };

/* Pooling selects or averages: with the saved winners fixed it is linear, <A x, y> = <x, A' y>. */
START_TEST(backward_is_the_adjoint)
{
    equinv_context *const ctx = context_new();
    for (uint64_t seed = 0; seed < share_of(ROUNDS); seed++) {
        rng r = {seed + 1000};
        const equinv_pool_desc d = pool_random_desc(&r, seed % 2 ? EQUINV_F64 : EQUINV_F32);
        pool p = pool_new(ctx, &d);
        equinv_tensor src = map_new(ctx, &r, d.dtype, p.src);
        equinv_tensor diff_dst = map_new(ctx, &r, d.dtype, p.dst);
        equinv_tensor dst = tensor_like(ctx, &diff_dst), diff_src = tensor_like(ctx, &src);
        pool_forward(&p, &src, &dst);
        pool_backward(&p, &diff_dst, &diff_src);
        const double left = tensor_dot(&dst, &diff_dst), right = tensor_dot(&src, &diff_src);
        const double scale = sqrt(tensor_dot(&dst, &dst) * tensor_dot(&diff_dst, &diff_dst));
        ck_assert_msg(fabs(left - right) <= (d.dtype == EQUINV_F64 ? 1e-12 : 1e-6) * scale,
                      "%g and %g, seed %d", left, right, (int)seed);
        equinv_tensor_destroy(ctx, &src), equinv_tensor_destroy(ctx, &dst);
        equinv_tensor_destroy(ctx, &diff_src), equinv_tensor_destroy(ctx, &diff_dst);
        pool_free(&p);
    }
    equinv_context_destroy(ctx);
}
END_TEST

typedef struct probe {
    pool *p;
    equinv_tensor *src, *dst, *weights;
} probe;

static double loss(void *arg)
{
    const probe *const q = arg;
    OK(equinv_pool_forward(q->p->plan, q->src, q->dst, NULL, 0, NULL, 0));
    return tensor_dot(q->dst, q->weights);
}

START_TEST(gradient_by_differences)
{
    equinv_context *const ctx = context_new();
    for (uint64_t seed = 0; seed < share_of(60); seed++) {
        rng r = {seed + 2000};
        equinv_pool_desc d = pool_random_desc(&r, EQUINV_F64);
        d.batch = 1 + d.batch % 2;
        pool p = pool_new(ctx, &d);
        equinv_tensor src = map_new(ctx, &r, EQUINV_F64, p.src);
        equinv_tensor weights = map_new(ctx, &r, EQUINV_F64, p.dst);
        equinv_tensor dst = tensor_like(ctx, &weights), diff_src = tensor_like(ctx, &src);
        pool_forward(&p, &src, &dst);
        pool_backward(&p, &weights, &diff_src);
        probe q = {&p, &src, &dst, &weights};
        const int64_t at = gradient_mismatch(&src, &diff_src, loss, &q, 1e-7, 1e-6, 40);
        ck_assert_msg(at < 0, "seed %d, element %d", (int)seed, (int)at);
        equinv_tensor_destroy(ctx, &src), equinv_tensor_destroy(ctx, &dst);
        equinv_tensor_destroy(ctx, &diff_src), equinv_tensor_destroy(ctx, &weights);
        pool_free(&p);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(accumulate_adds_to_the_gradient)
{
    static const char *const impls[] = {"fast", "ref"};
    equinv_context *const ctx = context_new();
    for (int kind = 1; kind <= 7; kind++)
        for (int k = 0; k < 2; k++) {
            rng r = {(uint64_t)kind};
            equinv_pool_desc d = EQUINV_POOL_DESC_INIT;
            d.kind = (equinv_pool_kind)kind;
            d.batch = 2, d.fields = 2, d.elements = 4, d.height = 5, d.width = 7;
            d.kernel = 3, d.padding = 1, d.accumulate = true, d.impl = impls[k];
            pool p = pool_new(ctx, &d);
            equinv_tensor src = map_new(ctx, &r, EQUINV_F32, p.src);
            equinv_tensor diff_dst = map_new(ctx, &r, EQUINV_F32, p.dst);
            equinv_tensor dst = tensor_like(ctx, &diff_dst), once = tensor_like(ctx, &src);
            equinv_tensor thrice = map_new(ctx, NULL, EQUINV_F32, p.src);
            pool_forward(&p, &src, &dst);
            pool_backward(&p, &diff_dst, &once);
            for (int i = 0; i < 3; i++)
                pool_backward(&p, &diff_dst, &thrice);
            OK(equinv_tensor_convert(ctx, &once, 3.0, 0.0, &once));
            ASSERT_CLOSE(&thrice, &once, 3e-7);
            equinv_tensor_destroy(ctx, &src), equinv_tensor_destroy(ctx, &dst);
            equinv_tensor_destroy(ctx, &diff_dst), equinv_tensor_destroy(ctx, &once);
            equinv_tensor_destroy(ctx, &thrice);
            pool_free(&p);
        }
    equinv_context_destroy(ctx);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {backward_is_the_adjoint, 1},
        {gradient_by_differences, 1},
        {accumulate_adds_to_the_gradient, 1},
    };
    return run_tests("pool_gradients", tests, sizeof tests / sizeof *tests);
}
