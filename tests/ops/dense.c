/* The dense layer: values, gradients, accumulation, every implementation, wrong arguments. */
#include <math.h>

#include "tests/util/dense.h"
#include "tests/util/refusal.h"

enum { ROUNDS = 250 };

static const char *const impls[] = {"gemm", "ref"};

typedef struct dense {
    equinv_context *ctx;
    equinv_dense_desc desc;
    equinv_plan *plan;
    equinv_tensor src, weights, bias, dst, diff_dst, diff_src, diff_weights, diff_bias;
} dense;

/* src gets the features as [features] or, where they divide, [features / 6, 2, 3]. */
static dense dense_new(equinv_context *ctx, rng *r, const equinv_dense_desc *desc)
{
    dense d = {.ctx = ctx, .desc = *desc};
    OK(equinv_dense_plan_create(ctx, desc, &d.plan));
    const int64_t in = desc->features_in, out = desc->features_out, n = desc->batch;
    int64_t samples[4] = {n, in, 2, 3};
    int ndim = 2;
    if (in % 6 == 0)
        samples[1] = in / 6, ndim = 4;
    OK(equinv_tensor_create(ctx, desc->dtype, ndim, samples, &d.src));
    OK(equinv_tensor_create(ctx, desc->dtype, ndim, samples, &d.diff_src));
    OK(equinv_tensor_create(ctx, desc->dtype, 2, (int64_t[]){out, in}, &d.weights));
    OK(equinv_tensor_create(ctx, desc->dtype, 2, (int64_t[]){out, in}, &d.diff_weights));
    OK(equinv_tensor_create(ctx, desc->dtype, 2, (int64_t[]){n, out}, &d.dst));
    OK(equinv_tensor_create(ctx, desc->dtype, 2, (int64_t[]){n, out}, &d.diff_dst));
    OK(equinv_tensor_create(ctx, desc->dtype, 1, &out, &d.bias));
    OK(equinv_tensor_create(ctx, desc->dtype, 1, &out, &d.diff_bias));
    equinv_tensor *const all[] = {&d.src, &d.weights,  &d.bias,         &d.diff_dst,
                                  &d.dst, &d.diff_src, &d.diff_weights, &d.diff_bias};
    for (int i = 0; i < 8; i++)
        tensor_fill_random(r, all[i]); /* outputs too: what was there must not shine through */
    return d;
}

static void dense_free(dense *d)
{
    equinv_tensor *const all[] = {&d->src, &d->weights,  &d->bias,         &d->diff_dst,
                                  &d->dst, &d->diff_src, &d->diff_weights, &d->diff_bias};
    for (int i = 0; i < 8; i++)
        equinv_tensor_destroy(d->ctx, all[i]);
    equinv_plan_destroy(d->plan);
}

static void run(dense *d)
{
    OK(equinv_dense_forward(d->plan, &d->src, &d->weights, d->desc.bias ? &d->bias : NULL, &d->dst,
                            NULL, 0));
    OK(equinv_dense_backward_data(d->plan, &d->diff_dst, &d->weights, &d->diff_src, NULL, 0));
    OK(equinv_dense_backward_weights(d->plan, &d->src, &d->diff_dst, &d->diff_weights,
                                     &d->diff_bias, NULL, 0));
}

/* Straight from the definition, on row-major tensors of any dtype. */
static double product_at(const dense *d, int64_t n, int64_t o)
{
    const int64_t in = d->desc.features_in;
    double sum = d->desc.bias ? tensor_get(&d->bias, o) : 0;
    for (int64_t i = 0; i < in; i++)
        sum += tensor_get(&d->src, n * in + i) * tensor_get(&d->weights, o * in + i);
    return sum;
}

START_TEST(forward_is_the_definition)
{
    equinv_context *const ctx = context_new();
    for (uint64_t seed = 0; seed < share_of(ROUNDS); seed++) {
        rng r = {seed};
        equinv_dense_desc desc = dense_random_desc(&r, seed % 2 ? EQUINV_F64 : EQUINV_F32);
        desc.impl = impls[seed / 2 % 2];
        dense d = dense_new(ctx, &r, &desc);
        equinv_tensor before = tensor_copy(ctx, &d.dst);
        run(&d);
        for (int64_t n = 0; n < desc.batch; n++)
            for (int64_t o = 0; o < desc.features_out; o++) {
                const int64_t i = n * desc.features_out + o;
                const double expected =
                    product_at(&d, n, o) + (desc.accumulate ? tensor_get(&before, i) : 0);
                ck_assert_msg(fabs(tensor_get(&d.dst, i) - expected) <= (seed % 2 ? 1e-13 : 1e-5),
                              "seed %d", (int)seed);
            }
        equinv_tensor_destroy(ctx, &before);
        dense_free(&d);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(gemm_equals_ref)
{
    equinv_context *const ctx = context_new();
    for (uint64_t seed = 0; seed < share_of(ROUNDS); seed++) {
        rng r = {seed + 1000}, again = r;
        equinv_dense_desc desc = dense_random_desc(&r, seed % 2 ? EQUINV_F64 : EQUINV_F32);
        desc.impl = "ref";
        dense ref = dense_new(ctx, &r, &desc);
        run(&ref);
        dense_random_desc(&again, desc.dtype);
        desc.impl = "gemm";
        dense gemm = dense_new(ctx, &again, &desc); /* the same numbers */
        ck_assert_str_eq(equinv_plan_impl_name(gemm.plan), "dense/gemm");
        equinv_tensor *const all[] = {&gemm.src,          &gemm.weights,  &gemm.bias,
                                      &gemm.diff_dst,     &gemm.dst,      &gemm.diff_src,
                                      &gemm.diff_weights, &gemm.diff_bias};
        relaid other[8];
        relaid_begin(ctx, &r, all, 8, other);
        run(&gemm);
        const double tolerance = seed % 2 ? 1e-14 : 1e-6;
        ck_assert_msg(tensor_error(&gemm.dst, &ref.dst, NULL) <= tolerance, "dst, seed %d",
                      (int)seed);
        ck_assert_msg(tensor_error(&gemm.diff_src, &ref.diff_src, NULL) <= tolerance,
                      "diff_src, seed %d", (int)seed);
        ck_assert_msg(tensor_error(&gemm.diff_weights, &ref.diff_weights, NULL) <= tolerance,
                      "diff_weights, seed %d", (int)seed);
        ck_assert_msg(tensor_error(&gemm.diff_bias, &ref.diff_bias, NULL) <= tolerance,
                      "diff_bias, seed %d", (int)seed);
        relaid_end(ctx, other, 8);
        dense_free(&ref), dense_free(&gemm);
    }
    equinv_context_destroy(ctx);
}
END_TEST

/* One fp32 chain of 20000 positive products would lose more; in double nothing is seen of the cuts. */
START_TEST(long_sums_keep_their_digits)
{
    equinv_context *const ctx = context_new();
    static const int64_t shapes[3][3] = {{3, 20000, 2}, {3, 2, 20000}, {20000, 3, 2}};
    for (int s = 0; s < 6; s++) {
        rng r = {21}, again = r;
        equinv_dense_desc desc = EQUINV_DENSE_DESC_INIT;
        const double tolerance = s < 3 ? 2e-6 : 1e-13;
        desc.dtype = s < 3 ? EQUINV_F32 : EQUINV_F64;
        desc.batch = shapes[s % 3][0], desc.features_in = shapes[s % 3][1];
        desc.features_out = shapes[s % 3][2];
        desc.impl = "gemm";
        dense d = dense_new(ctx, &r, &desc);
        desc.dtype = EQUINV_F64, desc.impl = "ref";
        dense exact = dense_new(ctx, &again, &desc);
        equinv_tensor *const all[] = {&d.src,     &d.weights,     &d.diff_dst,
                                      &exact.src, &exact.weights, &exact.diff_dst};
        for (int i = 0; i < 6; i++)
            for (int64_t k = 0; k < equinv_tensor_count(all[i]); k++)
                tensor_set(all[i], k, fabs(tensor_get(all[i], k)));
        run(&d), run(&exact);
        ASSERT_CLOSE(&d.dst, &exact.dst, tolerance);
        ASSERT_CLOSE(&d.diff_src, &exact.diff_src, tolerance);
        ASSERT_CLOSE(&d.diff_weights, &exact.diff_weights, tolerance);
        ASSERT_CLOSE(&d.diff_bias, &exact.diff_bias, tolerance);
        dense_free(&d), dense_free(&exact);
    }
    equinv_context_destroy(ctx);
}
END_TEST

/* ---- gradients ------------------------------------------------------------------------------- */

static double loss(void *arg)
{
    dense *const d = arg;
    OK(equinv_dense_forward(d->plan, &d->src, &d->weights, d->desc.bias ? &d->bias : NULL, &d->dst,
                            NULL, 0));
    return tensor_dot(&d->dst, &d->diff_dst);
}

START_TEST(gradient_by_differences)
{
    equinv_context *const ctx = context_new();
    for (uint64_t seed = 0; seed < share_of(60); seed++) {
        rng r = {seed + 2000};
        equinv_dense_desc desc = dense_random_desc(&r, EQUINV_F64);
        desc.accumulate = false, desc.bias = true;
        desc.impl = impls[seed % 2];
        dense d = dense_new(ctx, &r, &desc);
        run(&d);
        /* the loss is linear in each argument: a wide step has no error but rounding */
        ck_assert_msg(gradient_mismatch(&d.src, &d.diff_src, loss, &d, 0.5, 1e-11, 20) < 0,
                      "src, seed %d", (int)seed);
        ck_assert_msg(gradient_mismatch(&d.weights, &d.diff_weights, loss, &d, 0.5, 1e-11, 20) < 0,
                      "weights, seed %d", (int)seed);
        ck_assert_msg(gradient_mismatch(&d.bias, &d.diff_bias, loss, &d, 0.5, 1e-11, 20) < 0,
                      "bias, seed %d", (int)seed);
        dense_free(&d);
    }
    equinv_context_destroy(ctx);
}
END_TEST

/* <A x, y> = <x, A' y> in src and in the weights. */
START_TEST(backward_is_the_adjoint)
{
    equinv_context *const ctx = context_new();
    for (uint64_t seed = 0; seed < share_of(ROUNDS); seed++) {
        rng r = {seed + 3000};
        equinv_dense_desc desc = dense_random_desc(&r, seed % 2 ? EQUINV_F64 : EQUINV_F32);
        desc.accumulate = desc.bias = false;
        desc.impl = impls[seed / 2 % 2];
        dense d = dense_new(ctx, &r, &desc);
        run(&d);
        const double left = tensor_dot(&d.dst, &d.diff_dst);
        const double scale = 1 + (double)(desc.batch * desc.features_in * desc.features_out);
        const double tolerance = (seed % 2 ? 1e-14 : 1e-6) * sqrt(scale);
        ck_assert_msg(fabs(left - tensor_dot(&d.src, &d.diff_src)) <= tolerance, "src, seed %d",
                      (int)seed);
        ck_assert_msg(fabs(left - tensor_dot(&d.weights, &d.diff_weights)) <= tolerance,
                      "weights, seed %d", (int)seed);
        dense_free(&d);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(accumulate_adds_to_all_outputs)
{
    equinv_context *const ctx = context_new();
    for (int k = 0; k < 2; k++) {
        rng r = {31}, again = r;
        equinv_dense_desc desc = EQUINV_DENSE_DESC_INIT;
        desc.dtype = EQUINV_F64;
        desc.batch = 5, desc.features_in = 12, desc.features_out = 4;
        desc.impl = impls[k];
        dense once = dense_new(ctx, &r, &desc);
        desc.accumulate = true;
        dense sum = dense_new(ctx, &again, &desc);
        equinv_tensor *const results[] = {&once.dst, &once.diff_src, &once.diff_weights,
                                          &once.diff_bias};
        equinv_tensor *const sums[] = {&sum.dst, &sum.diff_src, &sum.diff_weights, &sum.diff_bias};
        run(&once);
        for (int i = 0; i < 4; i++)
            OK(equinv_tensor_convert(ctx, results[i], 1.0, 0.0, sums[i]));
        run(&sum), run(&sum);
        for (int i = 0; i < 4; i++) {
            OK(equinv_tensor_convert(ctx, results[i], 3.0, 0.0, results[i]));
            ASSERT_CLOSE(sums[i], results[i], 1e-14);
        }
        dense_free(&once), dense_free(&sum);
    }
    equinv_context_destroy(ctx);
}
END_TEST

/* ---- samples, threads, edges ----------------------------------------------------------------- */

START_TEST(a_row_does_not_feel_its_batch)
{
    equinv_context *const ctx = context_new();
    for (uint64_t seed = 0; seed < share_of(40); seed++) {
        rng r = {seed + 4000};
        equinv_dense_desc desc = EQUINV_DENSE_DESC_INIT;
        desc.batch = rng_range(&r, 2, 60), desc.features_in = rng_range(&r, 1, 300);
        desc.features_out = rng_range(&r, 1, 40);
        dense d = dense_new(ctx, &r, &desc);
        const int64_t poisoned = rng_range(&r, 0, desc.batch - 1);
        const int64_t row = (poisoned + 1) % desc.batch;
        tensor_set(&d.src, poisoned * desc.features_in, (double)NAN);
        run(&d);
        for (int64_t i = 0; i < equinv_tensor_count(&d.dst); i++)
            ck_assert_msg(isnan(tensor_get(&d.dst, i)) == (i / desc.features_out == poisoned),
                          "NaN, seed %d", (int)seed);
        desc.batch = 1;
        equinv_plan *plan;
        OK(equinv_dense_plan_create(ctx, &desc, &plan));
        equinv_tensor src, dst, same,
            alone = tensor_new(ctx, EQUINV_F32, 2, 1, (int)desc.features_out);
        OK(equinv_tensor_rows(&d.src, row, 1, &src));
        OK(equinv_tensor_rows(&d.dst, row, 1, &dst));
        OK(equinv_dense_forward(plan, &src, &d.weights, &d.bias, &alone, NULL, 0));
        same = tensor_copy(ctx, &dst);
        ASSERT_SAME(&alone, &same);
        equinv_tensor_destroy(ctx, &alone), equinv_tensor_destroy(ctx, &same);
        equinv_plan_destroy(plan);
        dense_free(&d);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(thread_count_changes_no_bit)
{
    static const int64_t shapes[3][3] = {{100, 300, 20}, {10, 5000, 30}, {60, 5000, 20}};
    equinv_context *const ctx[2] = {context_of_threads(1), context_new()};
    for (int s = 0; s < 3; s++) {
        dense d[2];
        for (int k = 0; k < 2; k++) {
            rng r = {41};
            equinv_dense_desc desc = EQUINV_DENSE_DESC_INIT;
            desc.batch = shapes[s][0], desc.features_in = shapes[s][1];
            desc.features_out = shapes[s][2];
            d[k] = dense_new(ctx[k], &r, &desc);
            run(&d[k]);
        }
        ASSERT_SAME(&d[0].dst, &d[1].dst);
        ASSERT_SAME(&d[0].diff_src, &d[1].diff_src);
        ASSERT_SAME(&d[0].diff_weights, &d[1].diff_weights);
        ASSERT_SAME(&d[0].diff_bias, &d[1].diff_bias);
        dense_free(&d[0]), dense_free(&d[1]);
    }
    equinv_context_destroy(ctx[0]), equinv_context_destroy(ctx[1]);
}
END_TEST

START_TEST(empty_batch)
{
    equinv_context *const ctx = context_new();
    for (int k = 0; k < 4; k++) {
        rng r = {51};
        equinv_dense_desc desc = EQUINV_DENSE_DESC_INIT;
        desc.features_in = 6, desc.features_out = 3;
        desc.impl = impls[k % 2];
        desc.accumulate = k / 2;
        dense d = dense_new(ctx, &r, &desc);
        equinv_tensor weights = tensor_copy(ctx, &d.diff_weights);
        equinv_tensor bias = tensor_copy(ctx, &d.diff_bias);
        run(&d);
        if (desc.accumulate) {
            ASSERT_SAME(&d.diff_weights, &weights);
            ASSERT_SAME(&d.diff_bias, &bias);
        } else {
            ck_assert(tensor_max_abs(&d.diff_weights) == 0 && tensor_max_abs(&d.diff_bias) == 0);
        }
        equinv_tensor_destroy(ctx, &weights), equinv_tensor_destroy(ctx, &bias);
        dense_free(&d);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(scratch_of_the_caller)
{
    equinv_context *const ctx = context_new();
    rng r = {61};
    equinv_dense_desc desc = EQUINV_DENSE_DESC_INIT;
    desc.batch = 4, desc.features_in = 5000, desc.features_out = 3;
    dense d = dense_new(ctx, &r, &desc);
    run(&d);
    const size_t size = equinv_plan_scratch_size(d.plan);
    char *const scratch = aligned_alloc(64, (size + 127) / 64 * 64);
    memset(scratch, 0xff, size);
    equinv_tensor dst = tensor_like(ctx, &d.dst);
    OK(equinv_dense_forward(d.plan, &d.src, &d.weights, &d.bias, &dst, scratch, size));
    ASSERT_SAME(&dst, &d.dst);
    FAILS(EQUINV_ERR_SCRATCH, "scratch_size is",
          equinv_dense_forward(d.plan, &d.src, &d.weights, &d.bias, &dst, scratch, size - 1));
    FAILS(EQUINV_ERR_SCRATCH, "aligned",
          equinv_dense_forward(d.plan, &d.src, &d.weights, &d.bias, &dst, scratch + 8, size));
    FAILS(EQUINV_ERR_SCRATCH, "scratch_size is",
          equinv_dense_backward_data(d.plan, &d.diff_dst, &d.weights, &d.diff_src, scratch, 1));
    FAILS(EQUINV_ERR_SCRATCH, "scratch_size is",
          equinv_dense_backward_weights(d.plan, &d.src, &d.diff_dst, &d.diff_weights, NULL, scratch,
                                        1));
    free(scratch);
    equinv_tensor_destroy(ctx, &dst);
    dense_free(&d);
    equinv_context_destroy(ctx);
}
END_TEST

/* ---- wrong arguments ------------------------------------------------------------------------- */

START_TEST(wrong_descriptions)
{
    equinv_context *const ctx = context_new();
    equinv_dense_desc good = EQUINV_DENSE_DESC_INIT;
    good.batch = 2, good.features_in = 3, good.features_out = 4;
    PLAN_NEEDS_POINTERS(dense, ctx, good);
#define REFUSED(...) PLAN_REFUSES(dense, ctx, good, __VA_ARGS__)
    const int64_t huge = INT64_C(1) << 40;
    REFUSED(EQUINV_ERR_ARG, "struct_size", d.struct_size = 0);
    REFUSED(EQUINV_ERR_DTYPE, "dtype is i32", d.dtype = EQUINV_I32);
    REFUSED(EQUINV_ERR_SHAPE, "batch is -1", d.batch = -1);
    REFUSED(EQUINV_ERR_SHAPE, "features_in is 0", d.features_in = 0);
    REFUSED(EQUINV_ERR_SHAPE, "features_out is 0", d.features_out = 0);
    REFUSED(EQUINV_ERR_SHAPE, "features_in is", d.features_in = 2 * huge);
    REFUSED(EQUINV_ERR_SHAPE, "src has more", d.batch = d.features_in = huge);
    REFUSED(EQUINV_ERR_SHAPE, "weights has more", d.features_out = d.features_in = huge);
    REFUSED(EQUINV_ERR_SHAPE, "dst has more", d.features_out = d.batch = huge);
    REFUSED(EQUINV_ERR_SHAPE, "scratch has more", d.features_in = huge, d.batch = 1 << 22,
            d.features_out = 1 << 22, d.dtype = EQUINV_F64);
    REFUSED(EQUINV_ERR_ARG, "expected one of gemm, ref", d.impl = "blas");
#undef REFUSED
    equinv_context_destroy(ctx);
}
END_TEST

enum { SRC, WEIGHTS, BIAS, DIFF_DST, DST, DIFF_SRC, DIFF_WEIGHTS, DIFF_BIAS, ARGUMENTS };
static const char *const names[ARGUMENTS] = {"src", "weights",  "bias",         "diff_dst",
                                             "dst", "diff_src", "diff_weights", "diff_bias"};

static equinv_status call_forward(void *d, const equinv_tensor *const *t)
{
    return equinv_dense_forward(((dense *)d)->plan, t[SRC], t[WEIGHTS], t[BIAS], t[DST], NULL, 0);
}

static equinv_status call_data(void *d, const equinv_tensor *const *t)
{
    return equinv_dense_backward_data(((dense *)d)->plan, t[DIFF_DST], t[WEIGHTS], t[DIFF_SRC],
                                      NULL, 0);
}

static equinv_status call_weights(void *d, const equinv_tensor *const *t)
{
    return equinv_dense_backward_weights(((dense *)d)->plan, t[SRC], t[DIFF_DST], t[DIFF_WEIGHTS],
                                         t[DIFF_BIAS], NULL, 0);
}

static const call calls[] = {
    {call_forward, BIT(SRC) | BIT(WEIGHTS) | BIT(BIAS) | BIT(DST), BIT(DST), 0, 0},
    {call_data, BIT(DIFF_DST) | BIT(WEIGHTS) | BIT(DIFF_SRC), BIT(DIFF_SRC), 0, 0},
    {call_weights, BIT(SRC) | BIT(DIFF_DST) | BIT(DIFF_WEIGHTS) | BIT(DIFF_BIAS),
     BIT(DIFF_WEIGHTS) | BIT(DIFF_BIAS), BIT(DIFF_BIAS), 0},
};

START_TEST(wrong_arguments)
{
    equinv_context *const ctx = context_new();
    rng r = {71};
    equinv_dense_desc desc = EQUINV_DENSE_DESC_INIT;
    desc.batch = 2, desc.features_in = 12, desc.features_out = 5;
    dense d = dense_new(ctx, &r, &desc);
    const equinv_tensor *const good[ARGUMENTS] = {&d.src,          &d.weights,  &d.bias,
                                                  &d.diff_dst,     &d.dst,      &d.diff_src,
                                                  &d.diff_weights, &d.diff_bias};
    assert_refusals(calls, 3, &(arguments){ARGUMENTS, names, good, 0, 0}, &d);
    equinv_plan *const plan = d.plan;
    d.plan = NULL;
    for (int c = 0; c < 3; c++)
        FAILS(EQUINV_ERR_ARG, "plan is NULL", calls[c].run(&d, good));
    desc.bias = false;
    OK(equinv_dense_plan_create(ctx, &desc, &d.plan));
    FAILS(EQUINV_ERR_ARG, "bias is given", call_forward(&d, good));
    equinv_plan_destroy(d.plan);
    d.plan = plan;
    /* diff_bias that nobody wants */
    OK(equinv_dense_backward_weights(plan, &d.src, &d.diff_dst, &d.diff_weights, NULL, NULL, 0));
    dense_free(&d);
    equinv_context_destroy(ctx);
}
END_TEST

PLAN_ATTEMPT(make_plan, dense)

START_TEST(allocation_failures)
{
    equinv_dense_desc d = EQUINV_DENSE_DESC_INIT;
    d.batch = 4, d.features_in = 3, d.features_out = 4;
    ck_assert_int_eq(fail_in_turn(make_plan, &d), 2); /* the plan and the arena */
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {forward_is_the_definition, 1},
        {gemm_equals_ref, 1},
        {long_sums_keep_their_digits, 1},
        {gradient_by_differences, 1},
        {backward_is_the_adjoint, 1},
        {accumulate_adds_to_all_outputs, 1},
        {a_row_does_not_feel_its_batch, 1},
        {thread_count_changes_no_bit, 1},
        {empty_batch, 1},
        {scratch_of_the_caller, 1},
        {wrong_descriptions, 1},
        {wrong_arguments, 1},
        {allocation_failures, 1},
    };
    return run_tests("dense", tests, sizeof tests / sizeof *tests);
}
