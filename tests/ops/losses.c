/* Losses: values, gradients, large and infinite inputs, layouts, every wrong argument. */
#include <math.h>

#include "tests/util/refusal.h"

enum { ROUNDS = 250 };

/* Logits or predictions with labels or a target. */
typedef struct problem {
    equinv_context *ctx;
    equinv_tensor x, y, loss, diff;
} problem;

static double cross_entropy(void *arg)
{
    const problem *const p = arg;
    OK(equinv_cross_entropy(p->ctx, &p->x, &p->y, &p->loss, NULL));
    return tensor_get(&p->loss, 0);
}

static double squared_error(void *arg)
{
    const problem *const p = arg;
    OK(equinv_mean_squared_error(p->ctx, &p->x, &p->y, &p->loss, NULL));
    return tensor_get(&p->loss, 0);
}

static void problem_free(problem *p)
{
    equinv_tensor_destroy(p->ctx, &p->x), equinv_tensor_destroy(p->ctx, &p->y);
    equinv_tensor_destroy(p->ctx, &p->loss), equinv_tensor_destroy(p->ctx, &p->diff);
}

static problem classify(equinv_context *ctx, rng *r, equinv_dtype dtype, int batch, int classes,
                        double scale)
{
    problem p = {.ctx = ctx,
                 .x = tensor_random(ctx, r, dtype, 2, batch, classes),
                 .y = tensor_new(ctx, rng_range(r, 0, 1) ? EQUINV_U8 : EQUINV_I32, 1, batch),
                 .loss = tensor_new(ctx, dtype, 1, 1)};
    p.diff = tensor_like(ctx, &p.x);
    OK(equinv_tensor_convert(ctx, &p.x, scale, 0.0, &p.x));
    for (int64_t n = 0; n < batch; n++)
        tensor_set(&p.y, n, (double)rng_range(r, 0, classes - 1));
    return p;
}

static problem regress(equinv_context *ctx, rng *r, equinv_dtype dtype)
{
    int64_t shape[5];
    const int ndim = (int)rng_range(r, 0, 5);
    for (int i = 0; i < ndim; i++)
        shape[i] = rng_range(r, rng_range(r, 0, 20) ? 1 : 0, 5);
    problem p = {.ctx = ctx, .loss = tensor_new(ctx, dtype, 1, 1)};
    equinv_tensor *const all[] = {&p.x, &p.y, &p.diff};
    for (int i = 0; i < 3; i++)
        OK(equinv_tensor_create(ctx, dtype, ndim, shape, all[i]));
    tensor_fill_random(r, &p.x), tensor_fill_random(r, &p.y);
    return p;
}

/* ---- cross-entropy --------------------------------------------------------------------------- */

START_TEST(cross_entropy_by_hand)
{
    equinv_context *const ctx = context_new();
    rng r = {1};
    problem p = classify(ctx, &r, EQUINV_F64, 2, 3, 0);
    tensor_set(&p.y, 0, 1), tensor_set(&p.y, 1, 2);
    tensor_set(&p.x, 3, log(1.0)), tensor_set(&p.x, 4, log(2.0)), tensor_set(&p.x, 5, log(5.0));
    OK(equinv_cross_entropy(ctx, &p.x, &p.y, &p.loss, &p.diff));
    ck_assert(fabs(tensor_get(&p.loss, 0) - (log(3.0) + log(8.0 / 5)) / 2) < 1e-15);
    static const double expected[6] = {1 / 6., -2 / 6., 1 / 6., 1 / 16., 2 / 16., -3 / 16.};
    for (int64_t i = 0; i < 6; i++)
        ck_assert(fabs(tensor_get(&p.diff, i) - expected[i]) < 1e-15);
    problem_free(&p);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(cross_entropy_is_the_definition)
{
    equinv_context *const ctx = context_new();
    for (uint64_t seed = 0; seed < share_of(ROUNDS); seed++) {
        rng r = {seed};
        const int batch = (int)rng_range(&r, 1, 8), classes = (int)rng_range(&r, 1, 12);
        problem p = classify(ctx, &r, seed % 2 ? EQUINV_F64 : EQUINV_F32, batch, classes, 5);
        const double tolerance = seed % 2 ? 1e-14 : 1e-6;
        laid x = laid_copy(ctx, &r, &p.x), y = laid_copy(ctx, &r, &p.y);
        laid diff = laid_new(ctx, &r, p.x.dtype, 2, p.x.shape);
        OK(equinv_cross_entropy(ctx, &x.view, &y.view, &p.loss, &diff.view));
        double loss = 0;
        for (int64_t n = 0; n < batch; n++) {
            double sum = 0;
            const int64_t label = (int64_t)tensor_get(&p.y, n);
            for (int64_t c = 0; c < classes; c++)
                sum += exp(tensor_get(&p.x, n * classes + c));
            loss -= log(exp(tensor_get(&p.x, n * classes + label)) / sum) / batch;
            for (int64_t c = 0; c < classes; c++) {
                const double e =
                    (exp(tensor_get(&p.x, n * classes + c)) / sum - (c == label)) / batch;
                ck_assert_msg(fabs(tensor_get(&diff.view, n * classes + c) - e) <= tolerance,
                              "diff, seed %d", (int)seed);
            }
        }
        ck_assert_msg(fabs(tensor_get(&p.loss, 0) - loss) <= tolerance * (1 + loss),
                      "loss %g, expected %g, seed %d", tensor_get(&p.loss, 0), loss, (int)seed);
        /* in place on the logits */
        OK(equinv_cross_entropy(ctx, &x.view, &y.view, &p.loss, &x.view));
        ck_assert_msg(tensor_error(&x.view, &diff.view, NULL) == 0, "in place, seed %d", (int)seed);
        ck_assert_msg(laid_gaps_kept(&x) && laid_gaps_kept(&diff), "gaps, seed %d", (int)seed);
        laid_free(ctx, &x), laid_free(ctx, &y), laid_free(ctx, &diff);
        problem_free(&p);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(cross_entropy_gradient_by_differences)
{
    equinv_context *const ctx = context_new();
    for (uint64_t seed = 0; seed < share_of(ROUNDS); seed++) {
        rng r = {seed + 1000};
        problem p =
            classify(ctx, &r, EQUINV_F64, (int)rng_range(&r, 1, 5), (int)rng_range(&r, 1, 7), 3);
        OK(equinv_cross_entropy(ctx, &p.x, &p.y, &p.loss, &p.diff));
        ck_assert_msg(gradient_mismatch(&p.x, &p.diff, cross_entropy, &p, 1e-5, 1e-7, 40) < 0,
                      "seed %d", (int)seed);
        problem_free(&p);
    }
    equinv_context_destroy(ctx);
}
END_TEST

/* Adding one number to a row changes nothing, however large it is. */
START_TEST(cross_entropy_of_shifted_logits)
{
    equinv_context *const ctx = context_new();
    for (uint64_t seed = 0; seed < share_of(ROUNDS); seed++) {
        rng r = {seed + 2000};
        const int classes = (int)rng_range(&r, 1, 9);
        problem p = classify(ctx, &r, EQUINV_F64, 3, classes, 4);
        OK(equinv_cross_entropy(ctx, &p.x, &p.y, &p.loss, &p.diff));
        const double loss = tensor_get(&p.loss, 0);
        equinv_tensor diff = tensor_copy(ctx, &p.diff);
        for (int64_t n = 0; n < 3; n++) {
            double sum = 0;
            const double shift = ldexp(rng_uniform(&r), 20);
            for (int64_t c = 0; c < classes; c++) {
                const int64_t i = n * classes + c;
                sum += tensor_get(&p.diff, i);
                tensor_set(&p.x, i, tensor_get(&p.x, i) + shift);
            }
            ck_assert_msg(fabs(sum) < 1e-15, "the gradient's row sums to %g, seed %d", sum,
                          (int)seed);
        }
        OK(equinv_cross_entropy(ctx, &p.x, &p.y, &p.loss, &p.diff));
        ck_assert_msg(fabs(tensor_get(&p.loss, 0) - loss) < 1e-9, "seed %d", (int)seed);
        ASSERT_CLOSE(&p.diff, &diff, 1e-9);
        equinv_tensor_destroy(ctx, &diff);
        problem_free(&p);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(cross_entropy_of_huge_and_infinite_logits)
{
    static const double inf = (double)INFINITY;
    static const struct {
        double x[3];
        int label;
        double loss, diff[3];
    } cases[] = {
        {{3e38, -3e38, 0}, 0, 0, {0, 0, 0}},
        {{-3e38, -3e38, -3e38}, 1, 1.0986122886681098, {1 / 3., -2 / 3., 1 / 3.}},
        {{-inf, 0, 0}, 1, 0.6931471805599453, {0, -0.5, 0.5}},
        {{-inf, 0, 0}, 0, inf, {-1, 0.5, 0.5}},
        {{inf, 0, 5}, 0, 0, {0, 0, 0}},
        {{inf, 0, 5}, 1, inf, {1, -1, 0}},
        {{inf, inf, -inf}, 1, 0.6931471805599453, {0.5, -0.5, 0}},
        {{-inf, -inf, -inf}, 2, 1.0986122886681098, {1 / 3., 1 / 3., -2 / 3.}},
    };
    equinv_context *const ctx = context_new();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int k = 0; k < 2; k++) {
            rng r = {1};
            problem p = classify(ctx, &r, k ? EQUINV_F64 : EQUINV_F32, 1, 3, 1);
            for (int c = 0; c < 3; c++)
                tensor_set(&p.x, c, cases[i].x[c]);
            tensor_set(&p.y, 0, cases[i].label);
            OK(equinv_cross_entropy(ctx, &p.x, &p.y, &p.loss, &p.diff));
            const double loss = tensor_get(&p.loss, 0);
            ck_assert_msg(loss == cases[i].loss || fabs(loss - cases[i].loss) < 1e-6,
                          "case %d: loss %g", (int)i, loss);
            for (int c = 0; c < 3; c++)
                ck_assert_msg(fabs(tensor_get(&p.diff, c) - cases[i].diff[c]) < 1e-6,
                              "case %d: diff[%d] is %g", (int)i, c, tensor_get(&p.diff, c));
            problem_free(&p);
        }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(nan_stays_in_its_row)
{
    equinv_context *const ctx = context_new();
    for (int at = 0; at < 5; at++) {
        rng r = {2};
        problem p = classify(ctx, &r, EQUINV_F32, 4, 5, 1);
        tensor_set(&p.x, 2 * 5 + at, (double)NAN);
        if (at == 1)
            tensor_set(&p.x, 2 * 5 + 3, (double)INFINITY);
        OK(equinv_cross_entropy(ctx, &p.x, &p.y, &p.loss, &p.diff));
        ck_assert(isnan(tensor_get(&p.loss, 0)));
        for (int64_t i = 0; i < 20; i++)
            ck_assert(isnan(tensor_get(&p.diff, i)) == (i / 5 == 2));
        problem_free(&p);
    }
    equinv_context_destroy(ctx);
}
END_TEST

/* ---- mean squared error ---------------------------------------------------------------------- */

START_TEST(squared_error_is_the_definition)
{
    equinv_context *const ctx = context_new();
    for (uint64_t seed = 0; seed < share_of(ROUNDS); seed++) {
        rng r = {seed + 3000};
        problem p = regress(ctx, &r, seed % 2 ? EQUINV_F64 : EQUINV_F32);
        const double tolerance = seed % 2 ? 1e-14 : 2e-7;
        const int64_t count = equinv_tensor_count(&p.x);
        double loss = 0;
        for (int64_t i = 0; i < count; i++) {
            const double d = tensor_get(&p.x, i) - tensor_get(&p.y, i);
            loss += d * d / (double)count;
            tensor_set(&p.diff, i, 2 * d / (double)count);
        }
        laid x = laid_copy(ctx, &r, &p.x), y = laid_copy(ctx, &r, &p.y);
        laid diff = laid_new(ctx, &r, p.x.dtype, p.x.ndim, p.x.shape);
        OK(equinv_mean_squared_error(ctx, &x.view, &y.view, &p.loss, &diff.view));
        ck_assert_msg(fabs(tensor_get(&p.loss, 0) - loss) <= tolerance * (1 + loss), "seed %d",
                      (int)seed);
        ck_assert_msg(tensor_error(&diff.view, &p.diff, NULL) <= tolerance, "diff, seed %d",
                      (int)seed);
        OK(equinv_mean_squared_error(ctx, &x.view, &y.view, &p.loss, &x.view));
        ck_assert_msg(tensor_error(&x.view, &diff.view, NULL) == 0, "in place, seed %d", (int)seed);
        ck_assert_msg(laid_gaps_kept(&x) && laid_gaps_kept(&diff), "gaps, seed %d", (int)seed);
        laid_free(ctx, &x), laid_free(ctx, &y), laid_free(ctx, &diff);
        problem_free(&p);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(squared_error_gradient_by_differences)
{
    equinv_context *const ctx = context_new();
    for (uint64_t seed = 0; seed < share_of(ROUNDS); seed++) {
        rng r = {seed + 4000};
        problem p = regress(ctx, &r, EQUINV_F64);
        OK(equinv_mean_squared_error(ctx, &p.x, &p.y, &p.loss, &p.diff));
        ck_assert_msg(gradient_mismatch(&p.x, &p.diff, squared_error, &p, 1e-3, 1e-9, 30) < 0,
                      "seed %d", (int)seed);
        problem_free(&p);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(squared_error_of_nan_and_infinity)
{
    equinv_context *const ctx = context_new();
    rng r = {3};
    problem p = regress(ctx, &r, EQUINV_F64);
    problem_free(&p);
    p.x = tensor_random(ctx, &r, EQUINV_F64, 1, 6), p.y = tensor_random(ctx, &r, EQUINV_F64, 1, 6);
    p.loss = tensor_new(ctx, EQUINV_F64, 1, 1), p.diff = tensor_like(ctx, &p.x);
    tensor_set(&p.x, 2, -(double)INFINITY);
    OK(equinv_mean_squared_error(ctx, &p.x, &p.y, &p.loss, &p.diff));
    ck_assert(tensor_get(&p.loss, 0) == (double)INFINITY);
    ck_assert(tensor_get(&p.diff, 2) == -(double)INFINITY && isfinite(tensor_get(&p.diff, 1)));
    tensor_set(&p.y, 4, (double)NAN);
    OK(equinv_mean_squared_error(ctx, &p.x, &p.y, &p.loss, &p.diff));
    ck_assert(isnan(tensor_get(&p.loss, 0)));
    for (int64_t i = 0; i < 6; i++)
        ck_assert(isnan(tensor_get(&p.diff, i)) == (i == 4));
    problem_free(&p);
    equinv_context_destroy(ctx);
}
END_TEST

/* ---- edges ----------------------------------------------------------------------------------- */

START_TEST(nothing_to_average)
{
    equinv_context *const ctx = context_new();
    rng r = {4};
    problem p = classify(ctx, &r, EQUINV_F32, 0, 7, 1);
    tensor_set(&p.loss, 0, 5);
    OK(equinv_cross_entropy(ctx, &p.x, &p.y, &p.loss, &p.diff));
    ck_assert(tensor_get(&p.loss, 0) == 0);
    tensor_set(&p.loss, 0, 5);
    OK(equinv_mean_squared_error(ctx, &p.x, &p.x, &p.loss, &p.diff));
    ck_assert(tensor_get(&p.loss, 0) == 0);
    problem_free(&p);
    equinv_context_destroy(ctx);
}
END_TEST

enum { X, Y, LOSS, DIFF, ARGUMENTS };

static const char *const names[2][ARGUMENTS] = {{"logits", "labels", "loss", "diff_logits"},
                                                {"src", "target", "loss", "diff_src"}};

/* The subject is the context. */
static equinv_status call_cross_entropy(void *ctx, const equinv_tensor *const *t)
{
    return equinv_cross_entropy(ctx, t[X], t[Y], t[LOSS], t[DIFF]);
}

static equinv_status call_squared_error(void *ctx, const equinv_tensor *const *t)
{
    return equinv_mean_squared_error(ctx, t[X], t[Y], t[LOSS], t[DIFF]);
}

static const call calls[2] = {
    {call_cross_entropy, BIT(ARGUMENTS) - 1, BIT(LOSS) | BIT(DIFF), BIT(DIFF), BIT(X) | BIT(DIFF)},
    {call_squared_error, BIT(ARGUMENTS) - 1, BIT(LOSS) | BIT(DIFF), BIT(DIFF), BIT(X) | BIT(DIFF)},
};

START_TEST(wrong_arguments)
{
    equinv_context *const ctx = context_new();
    for (int which = 0; which < 2; which++) {
        rng r = {5};
        problem p = classify(ctx, &r, EQUINV_F32, 3, 4, 1);
        if (which) {
            equinv_tensor_destroy(ctx, &p.y);
            p.y = tensor_random(ctx, &r, EQUINV_F32, 2, 3, 4);
        }
        tensor_set(&p.loss, 0, 9);
        const equinv_tensor *const good[ARGUMENTS] = {&p.x, &p.y, &p.loss, &p.diff};
        equinv_tensor diff = tensor_copy(ctx, &p.diff);
        FAILS(EQUINV_ERR_ARG, "ctx is NULL", calls[which].run(NULL, good));
        assert_refusals(&calls[which], 1,
                        &(arguments){ARGUMENTS, names[which], good, which ? 0 : BIT(Y), BIT(X)},
                        ctx);
        if (!which) {
            tensor_set(&p.y, 2, 4);
            FAILS(EQUINV_ERR_ARG, "labels has 4 at sample 2, expected 0 to 3",
                  call_cross_entropy(ctx, good));
            equinv_tensor labels = tensor_new(ctx, EQUINV_I32, 1, 3);
            tensor_set(&labels, 1, -1);
            FAILS(EQUINV_ERR_ARG, "labels has -1 at sample 1",
                  equinv_cross_entropy(ctx, &p.x, &labels, &p.loss, &p.diff));
            equinv_tensor_destroy(ctx, &labels);
            equinv_tensor none = p.x;
            none.shape[1] = 0;
            FAILS(EQUINV_ERR_SHAPE, "at least one class",
                  equinv_cross_entropy(ctx, &none, &p.y, &p.loss, NULL));
            none.shape[1] = 4, none.ndim = 1;
            FAILS(EQUINV_ERR_SHAPE, "expected [N, C]",
                  equinv_cross_entropy(ctx, &none, &p.y, &p.loss, NULL));
        }
        ck_assert(tensor_get(&p.loss, 0) == 9);
        ASSERT_SAME(&p.diff, &diff);
        equinv_tensor_destroy(ctx, &diff);
        problem_free(&p);
    }
    equinv_context_destroy(ctx);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {cross_entropy_by_hand, 1},
        {cross_entropy_is_the_definition, 1},
        {cross_entropy_gradient_by_differences, 1},
        {cross_entropy_of_shifted_logits, 1},
        {cross_entropy_of_huge_and_infinite_logits, 1},
        {nan_stays_in_its_row, 1},
        {squared_error_is_the_definition, 1},
        {squared_error_gradient_by_differences, 1},
        {squared_error_of_nan_and_infinity, 1},
        {nothing_to_average, 1},
        {wrong_arguments, 1},
    };
    return run_tests("losses", tests, sizeof tests / sizeof *tests);
}
