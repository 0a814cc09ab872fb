/* ReLU, dropout of whole fields, the residual add: values, gradients, layouts, every wrong argument. */
#include <math.h>

#include "cpu/ref/ref.h"
#include "tests/util/maps.h"
#include "tests/util/refusal.h"

enum { ROUNDS = 250 };

static const double slopes[] = {0, 0.01, 0.5, 0.3};

/* A random tensor of 0 (or `least`) to 6 axes, sometimes empty, sometimes with many elements. */
static equinv_tensor random_tensor(equinv_context *ctx, rng *r, equinv_dtype dtype, int least)
{
    int64_t shape[6];
    const int ndim = (int)rng_range(r, least, 6);
    for (int i = 0; i < ndim; i++)
        shape[i] = rng_range(r, rng_range(r, 0, 20) ? 1 : 0, ndim > 4 ? 4 : 7);
    if (ndim >= 1 && rng_range(r, 0, 9) == 0)
        shape[ndim - 1] = rng_range(r, 60, 150);
    equinv_tensor t;
    OK(equinv_tensor_create(ctx, dtype, ndim, shape, &t));
    tensor_fill_random(r, &t);
    return t;
}

static double sum_of(const equinv_tensor *t)
{
    double sum = 0;
    for (int64_t i = 0; i < equinv_tensor_count(t); i++)
        sum += tensor_get(t, i);
    return sum;
}

/* ---- ReLU ------------------------------------------------------------------------------------ */

START_TEST(relu_by_hand)
{
    static const double x[] = {-2, -0.5, 0, 0.5, 3};
    equinv_context *const ctx = context_new();
    for (int k = 0; k < 4; k++) {
        const double slope = k < 2 ? 0 : 0.25;
        equinv_tensor src = tensor_new(ctx, k % 2 ? EQUINV_F64 : EQUINV_F32, 1, 5);
        equinv_tensor dst = tensor_like(ctx, &src), diff = tensor_like(ctx, &src);
        for (int64_t i = 0; i < 5; i++)
            tensor_set(&src, i, x[i]), tensor_set(&diff, i, (double)(i + 1));
        OK(equinv_relu_forward(ctx, slope, &src, &dst));
        OK(equinv_relu_backward(ctx, slope, &src, &diff, &diff));
        for (int64_t i = 0; i < 5; i++) {
            ck_assert(tensor_get(&dst, i) == (x[i] > 0 ? x[i] : slope * x[i]));
            ck_assert(tensor_get(&diff, i) == (double)(i + 1) * (x[i] > 0 ? 1 : slope));
        }
        equinv_tensor_destroy(ctx, &src), equinv_tensor_destroy(ctx, &dst);
        equinv_tensor_destroy(ctx, &diff);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(relu_keeps_nan_and_infinity_at_their_place)
{
    equinv_context *const ctx = context_new();
    for (int k = 0; k < 8; k++) {
        const double slope = k % 2 ? 0.5 : 0;
        const bool strided = k / 2 % 2;
        rng r = {1};
        equinv_tensor src =
            tensor_random(ctx, &r, k / 4 ? EQUINV_F64 : EQUINV_F32, 2, 6, strided ? 12 : 6);
        if (strided)
            src.shape[1] = 6, src.strides[1] = 2;
        equinv_tensor dst;
        OK(equinv_tensor_create(ctx, src.dtype, 2, src.shape, &dst));
        tensor_set(&src, 4, (double)NAN);
        tensor_set(&src, 9, (double)INFINITY), tensor_set(&src, 30, -(double)INFINITY);
        OK(equinv_relu_forward(ctx, slope, &src, &dst));
        for (int64_t i = 0; i < 36; i++) {
            const double value = tensor_get(&dst, i);
            if (i == 4)
                ck_assert(isnan(value));
            else if (i == 9)
                ck_assert(value == (double)INFINITY);
            else if (i == 30)
                ck_assert(slope > 0 ? value == -(double)INFINITY : value == 0);
            else
                ck_assert(isfinite(value));
        }
        /* in the gradient a dead unit stops NaN and Inf if the slope is 0 */
        equinv_tensor diff = tensor_like(ctx, &dst);
        tensor_set(&src, 0, -1), tensor_set(&src, 1, 1);
        tensor_set(&diff, 0, (double)INFINITY), tensor_set(&diff, 1, (double)NAN);
        OK(equinv_relu_backward(ctx, slope, &src, &diff, &dst));
        ck_assert(slope > 0 ? tensor_get(&dst, 0) == (double)INFINITY : tensor_get(&dst, 0) == 0);
        ck_assert(isnan(tensor_get(&dst, 1)) && tensor_get(&dst, 2) == 0);
        src.shape[1] = strided ? 12 : 6, src.strides[1] = 1;
        equinv_tensor_destroy(ctx, &src), equinv_tensor_destroy(ctx, &dst);
        equinv_tensor_destroy(ctx, &diff);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(relu_equals_the_reference)
{
    equinv_context *const ctx = context_new();
    for (uint64_t seed = 0; seed < share_of(ROUNDS); seed++) {
        rng r = {seed};
        const double slope = slopes[rng_range(&r, 0, 3)];
        equinv_tensor src = random_tensor(ctx, &r, seed % 2 ? EQUINV_F64 : EQUINV_F32, 0);
        equinv_tensor diff_dst = tensor_like(ctx, &src), expected = tensor_like(ctx, &src);
        tensor_fill_random(&r, &diff_dst);
        const double tolerance = seed % 2 ? 1e-15 : 2e-7;
        laid a = laid_copy(ctx, &r, &src), d = laid_copy(ctx, &r, &diff_dst);
        laid b = laid_new(ctx, &r, src.dtype, src.ndim, src.shape);
        laid c = laid_new(ctx, &r, src.dtype, src.ndim, src.shape);
        eqi_ref_relu_forward(slope, &src, &expected);
        OK(equinv_relu_forward(ctx, slope, &a.view, &b.view));
        ck_assert_msg(tensor_error(&b.view, &expected, NULL) <= tolerance, "forward, seed %d",
                      (int)seed);
        eqi_ref_relu_backward(slope, &src, &diff_dst, &expected);
        OK(equinv_relu_backward(ctx, slope, &a.view, &d.view, &c.view));
        ck_assert_msg(tensor_error(&c.view, &expected, NULL) <= tolerance, "backward, seed %d",
                      (int)seed);
        /* in place, and with the forward's dst for src */
        OK(equinv_relu_backward(ctx, slope, &b.view, &d.view, &d.view));
        ck_assert_msg(tensor_error(&d.view, &expected, NULL) <= tolerance, "dst, seed %d",
                      (int)seed);
        OK(equinv_relu_forward(ctx, slope, &a.view, &a.view));
        ck_assert_msg(tensor_error(&a.view, &b.view, NULL) <= tolerance, "in place, seed %d",
                      (int)seed);
        ck_assert_msg(laid_gaps_kept(&a) && laid_gaps_kept(&b) && laid_gaps_kept(&c) &&
                          laid_gaps_kept(&d),
                      "gaps, seed %d", (int)seed);
        laid_free(ctx, &a), laid_free(ctx, &b), laid_free(ctx, &c), laid_free(ctx, &d);
        equinv_tensor_destroy(ctx, &src), equinv_tensor_destroy(ctx, &diff_dst);
        equinv_tensor_destroy(ctx, &expected);
    }
    equinv_context_destroy(ctx);
}
END_TEST

typedef struct probe {
    equinv_context *ctx;
    double slope;
    equinv_tensor *src, *dst, *weights;
} probe;

static double relu_loss(void *arg)
{
    const probe *const q = arg;
    OK(equinv_relu_forward(q->ctx, q->slope, q->src, q->dst));
    return tensor_dot(q->dst, q->weights);
}

START_TEST(relu_gradient_by_differences_and_adjoint)
{
    equinv_context *const ctx = context_new();
    for (uint64_t seed = 0; seed < share_of(ROUNDS); seed++) {
        rng r = {seed + 1000};
        equinv_tensor src = random_tensor(ctx, &r, EQUINV_F64, 0);
        equinv_tensor dst = tensor_like(ctx, &src), weights = tensor_like(ctx, &src);
        equinv_tensor diff_src = tensor_like(ctx, &src);
        tensor_fill_random(&r, &weights);
        probe q = {ctx, slopes[seed % 4], &src, &dst, &weights};
        OK(equinv_relu_backward(ctx, q.slope, &src, &weights, &diff_src));
        ck_assert_msg(gradient_mismatch(&src, &diff_src, relu_loss, &q, 1e-8, 1e-6, 20) < 0,
                      "seed %d", (int)seed);
        /* f(x) = A_x x with a diagonal A_x */
        const double left = relu_loss(&q), right = tensor_dot(&src, &diff_src);
        ck_assert_msg(fabs(left - right) <= 1e-12 * (1 + fabs(left)), "adjoint, seed %d",
                      (int)seed);
        equinv_tensor_destroy(ctx, &src), equinv_tensor_destroy(ctx, &dst);
        equinv_tensor_destroy(ctx, &weights), equinv_tensor_destroy(ctx, &diff_src);
    }
    equinv_context_destroy(ctx);
}
END_TEST

/* ---- dropout --------------------------------------------------------------------------------- */

/* The mask by the published recipe. */
static bool dropped(double p, uint64_t seed, uint64_t step, uint64_t field)
{
    const uint32_t counter[4] = {(uint32_t)field, (uint32_t)(field >> 32), (uint32_t)step,
                                 (uint32_t)(step >> 32)};
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    uint32_t words[4];
    equinv_philox(counter, key, words);
    return (double)(words[0] >> 8) / 16777216.0 < p;
}

START_TEST(dropout_drops_whole_fields_by_the_recipe)
{
    equinv_context *const ctx = context_new();
    for (uint64_t round = 0; round < ROUNDS; round++) {
        rng r = {round};
        const double p = (double)rng_range(&r, 0, 9) / 10;
        const uint64_t seed = rng_next(&r), step = rng_next(&r);
        equinv_tensor src = random_tensor(ctx, &r, round % 2 ? EQUINV_F64 : EQUINV_F32, 2);
        equinv_tensor expected = tensor_like(ctx, &src);
        const int64_t count = equinv_tensor_count(&src);
        const int64_t part = count ? count / (src.shape[0] * src.shape[1]) : 1;
        laid a = laid_copy(ctx, &r, &src);
        laid b = laid_new(ctx, &r, src.dtype, src.ndim, src.shape);
        OK(equinv_dropout(ctx, p, seed, step, &a.view, &b.view));
        for (int64_t i = 0; i < count; i++) {
            const bool gone = dropped(p, seed, step, (uint64_t)(i / part));
            const double value = tensor_get(&b.view, i), kept = tensor_get(&src, i) / (1 - p);
            ck_assert_msg(gone ? value == 0 : fabs(value - kept) <= 2e-7 * fabs(kept),
                          "[%d] is %g, round %d", (int)i, value, (int)round);
        }
        eqi_ref_dropout(p, seed, step, &src, &expected);
        ck_assert_msg(tensor_error(&b.view, &expected, NULL) <= 2e-7, "ref, round %d", (int)round);
        OK(equinv_dropout(ctx, p, seed, step, &a.view, &a.view));
        ck_assert_msg(tensor_error(&a.view, &b.view, NULL) <= 2e-7, "in place, round %d",
                      (int)round);
        ck_assert_msg(laid_gaps_kept(&a) && laid_gaps_kept(&b), "gaps, round %d", (int)round);
        laid_free(ctx, &a), laid_free(ctx, &b);
        equinv_tensor_destroy(ctx, &src), equinv_tensor_destroy(ctx, &expected);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(dropout_rate_and_independence)
{
    equinv_context *const ctx = context_new();
    enum { FIELDS = 20000 };
    equinv_tensor ones = tensor_new(ctx, EQUINV_F64, 2, 20, 1000);
    equinv_tensor a = tensor_like(ctx, &ones), b = tensor_like(ctx, &ones);
    for (int64_t i = 0; i < FIELDS; i++)
        tensor_set(&ones, i, 1);
    for (int k = 1; k < 10; k++) {
        const double p = k / 10.0;
        OK(equinv_dropout(ctx, p, 7, 1, &ones, &a));
        OK(equinv_dropout(ctx, p, 7, 1, &ones, &b));
        ASSERT_SAME(&a, &b);
        /* the mean stays 1: deviation of the mean is sqrt(p / (1 - p) / FIELDS), five of them */
        const double sigma = sqrt(p / (1 - p) / FIELDS);
        ck_assert_msg(fabs(sum_of(&a) / FIELDS - 1) < 5 * sigma, "p %g: %g", p,
                      sum_of(&a) / FIELDS);
        /* another step or seed is another mask: agreement as of independent draws */
        for (int other = 0; other < 2; other++) {
            OK(equinv_dropout(ctx, p, other ? 8 : 7, other ? 1 : 2, &ones, &b));
            int64_t agree = 0;
            for (int64_t i = 0; i < FIELDS; i++)
                agree += !tensor_get(&a, i) == !tensor_get(&b, i);
            const double expected = p * p + (1 - p) * (1 - p);
            ck_assert_msg(fabs((double)agree / FIELDS - expected) <
                              5 * sqrt(expected * (1 - expected) / FIELDS),
                          "p %g, agreement %g", p, (double)agree / FIELDS);
        }
    }
    OK(equinv_dropout(ctx, 0, 7, 1, &ones, &a));
    ASSERT_SAME(&a, &ones); /* p = 0 is the identity */
    equinv_tensor_destroy(ctx, &ones), equinv_tensor_destroy(ctx, &a);
    equinv_tensor_destroy(ctx, &b);
    equinv_context_destroy(ctx);
}
END_TEST

static double dropout_loss(void *arg)
{
    const probe *const q = arg;
    OK(equinv_dropout(q->ctx, 0.4, 11, 12, q->src, q->dst));
    return tensor_dot(q->dst, q->weights);
}

/* It is linear, diagonal, and its own gradient. */
START_TEST(dropout_gradient_is_dropout)
{
    equinv_context *const ctx = context_new();
    for (uint64_t seed = 0; seed < share_of(ROUNDS); seed++) {
        rng r = {seed + 2000};
        equinv_tensor src = random_tensor(ctx, &r, EQUINV_F64, 2);
        equinv_tensor dst = tensor_like(ctx, &src), weights = tensor_like(ctx, &src);
        equinv_tensor diff_src = tensor_like(ctx, &src);
        tensor_fill_random(&r, &weights);
        probe q = {ctx, 0, &src, &dst, &weights};
        OK(equinv_dropout(ctx, 0.4, 11, 12, &weights, &diff_src));
        ck_assert_msg(gradient_mismatch(&src, &diff_src, dropout_loss, &q, 0.5, 1e-12, 20) < 0,
                      "seed %d", (int)seed);
        const double left = dropout_loss(&q), right = tensor_dot(&src, &diff_src);
        ck_assert_msg(fabs(left - right) <= 1e-12 * (1 + fabs(left)), "adjoint, seed %d",
                      (int)seed);
        equinv_tensor_destroy(ctx, &src), equinv_tensor_destroy(ctx, &dst);
        equinv_tensor_destroy(ctx, &weights), equinv_tensor_destroy(ctx, &diff_src);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(dropout_of_nan)
{
    equinv_context *const ctx = context_new();
    rng r = {3};
    equinv_tensor src = tensor_random(ctx, &r, EQUINV_F32, 3, 8, 8, 4);
    equinv_tensor dst = tensor_like(ctx, &src);
    for (int64_t i = 0; i < 256; i += 4)
        tensor_set(&src, i + 1, (double)NAN);
    OK(equinv_dropout(ctx, 0.5, 1, 1, &src, &dst));
    int64_t zeros = 0;
    for (int64_t i = 0; i < 256; i++) {
        const bool gone = dropped(0.5, 1, 1, (uint64_t)(i / 4));
        zeros += gone;
        ck_assert(gone ? tensor_get(&dst, i) == 0 : isnan(tensor_get(&dst, i)) == (i % 4 == 1));
    }
    ck_assert(zeros > 0 && zeros < 256);
    equinv_tensor_destroy(ctx, &src), equinv_tensor_destroy(ctx, &dst);
    equinv_context_destroy(ctx);
}
END_TEST

/* ---- add ------------------------------------------------------------------------------------- */

START_TEST(add_adds)
{
    equinv_context *const ctx = context_new();
    for (uint64_t seed = 0; seed < share_of(ROUNDS); seed++) {
        rng r = {seed + 3000};
        equinv_tensor a = random_tensor(ctx, &r, seed % 2 ? EQUINV_F64 : EQUINV_F32, 0);
        equinv_tensor b = tensor_like(ctx, &a), expected = tensor_like(ctx, &a);
        equinv_tensor y = tensor_like(ctx, &a);
        tensor_fill_random(&r, &b), tensor_fill_random(&r, &y);
        laid la = laid_copy(ctx, &r, &a), lb = laid_copy(ctx, &r, &b);
        laid dst = laid_new(ctx, &r, a.dtype, a.ndim, a.shape);
        eqi_ref_add(&a, &b, &expected);
        OK(equinv_add(ctx, &la.view, &lb.view, &dst.view));
        ck_assert_msg(tensor_error(&dst.view, &expected, NULL) == 0, "seed %d", (int)seed);
        /* the gradient is the identity on both */
        ck_assert_msg(fabs(tensor_dot(&dst.view, &y) - tensor_dot(&a, &y) - tensor_dot(&b, &y)) <=
                          1e-6 * (1 + (double)equinv_tensor_count(&a)),
                      "adjoint, seed %d", (int)seed);
        /* in place on either, or on both */
        OK(equinv_add(ctx, &la.view, &lb.view, &la.view));
        ck_assert_msg(tensor_error(&la.view, &expected, NULL) == 0, "in place a, seed %d",
                      (int)seed);
        OK(equinv_add(ctx, &a, &lb.view, &lb.view));
        ck_assert_msg(tensor_error(&lb.view, &expected, NULL) == 0, "in place b, seed %d",
                      (int)seed);
        OK(equinv_tensor_convert(ctx, &a, 2.0, 0.0, &expected));
        OK(equinv_add(ctx, &a, &a, &a));
        ck_assert_msg(tensor_error(&a, &expected, NULL) == 0, "in place both, seed %d", (int)seed);
        ck_assert_msg(laid_gaps_kept(&la) && laid_gaps_kept(&lb) && laid_gaps_kept(&dst),
                      "gaps, seed %d", (int)seed);
        laid_free(ctx, &la), laid_free(ctx, &lb), laid_free(ctx, &dst);
        equinv_tensor_destroy(ctx, &a), equinv_tensor_destroy(ctx, &b);
        equinv_tensor_destroy(ctx, &expected), equinv_tensor_destroy(ctx, &y);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(add_broadcasts_inputs_and_keeps_nan)
{
    equinv_context *const ctx = context_new();
    rng r = {4};
    equinv_tensor a = tensor_random(ctx, &r, EQUINV_F32, 2, 5, 7);
    equinv_tensor row = tensor_random(ctx, &r, EQUINV_F32, 2, 1, 7), b = row;
    equinv_tensor dst = tensor_like(ctx, &a);
    b.shape[0] = 5, b.strides[0] = 0;
    tensor_set(&a, 3, (double)NAN), tensor_set(&a, 8, (double)INFINITY);
    OK(equinv_add(ctx, &a, &b, &dst));
    for (int64_t i = 0; i < 35; i++)
        ck_assert(i == 3 ? isnan(tensor_get(&dst, i))
                         : tensor_get(&dst, i) ==
                               (double)(float)(tensor_get(&a, i) + tensor_get(&row, i % 7)));
    equinv_tensor_destroy(ctx, &a), equinv_tensor_destroy(ctx, &row);
    equinv_tensor_destroy(ctx, &dst);
    equinv_context_destroy(ctx);
}
END_TEST

/* ---- all three ------------------------------------------------------------------------------- */

static void run(equinv_context *ctx, int op, const equinv_tensor *src, const equinv_tensor *dst)
{
    switch (op) {
    case 0: OK(equinv_relu_forward(ctx, 0, src, dst)); break;
    case 1: OK(equinv_relu_forward(ctx, 0.1, src, dst)); break;
    case 2: OK(equinv_dropout(ctx, 0.5, 5, 6, src, dst)); break;
    default: OK(equinv_add(ctx, src, src, dst));
    }
}

START_TEST(commute_with_the_action)
{
    equinv_context *const ctx = context_new();
    for (uint64_t seed = 0; seed < share_of(4 * ROUNDS); seed++) {
        rng r = {seed + 4000};
        const equinv_group group = grid_groups[rng_range(&r, 0, GRID_GROUPS - 1)];
        int32_t order;
        OK(equinv_group_order(group, &order));
        const int32_t g = (int32_t)rng_range(&r, 0, order - 1);
        const int size = (int)rng_range(&r, 1, 6);
        equinv_tensor src =
            tensor_random(ctx, &r, EQUINV_F32, 5, (int)rng_range(&r, 0, 3),
                          (int)rng_range(&r, 1, 4), rng_range(&r, 0, 2) ? order : 1, size, size);
        equinv_tensor turned = tensor_like(ctx, &src), dst = tensor_like(ctx, &src);
        equinv_tensor before = tensor_like(ctx, &src), after = tensor_like(ctx, &src);
        OK(equinv_act(ctx, group, g, &src, &turned));
        run(ctx, (int)(seed % 4), &turned, &before);
        run(ctx, (int)(seed % 4), &src, &dst);
        OK(equinv_act(ctx, group, g, &dst, &after));
        ck_assert_msg(tensor_error(&before, &after, NULL) == 0, "seed %d", (int)seed);
        equinv_tensor_destroy(ctx, &src), equinv_tensor_destroy(ctx, &turned);
        equinv_tensor_destroy(ctx, &dst), equinv_tensor_destroy(ctx, &before);
        equinv_tensor_destroy(ctx, &after);
    }
    equinv_context_destroy(ctx);
}
END_TEST

/* Large enough for the pool, with rows longer and shorter than a task's piece. */
START_TEST(thread_count_changes_no_bit)
{
    static const int widths[] = {40000, 100, 1};
    equinv_context *const ctx[2] = {context_of_threads(1), context_new()};
    for (int op = 0; op < 4; op++)
        for (int w = 0; w < 3; w++) {
            const int64_t width = widths[w];
            rng r = {(uint64_t)op};
            /* rows with a gap, so that they are not one long row */
            equinv_tensor wide = tensor_random(ctx[0], &r, EQUINV_F32, 2, (int)(80000 / width),
                                               (int)(width + (width > 1))),
                          src = wide;
            src.shape[1] = width;
            equinv_tensor dst[2], expected;
            for (int k = 0; k < 2; k++) {
                OK(equinv_tensor_create(ctx[k], EQUINV_F32, 2, src.shape, &dst[k]));
                run(ctx[k], op, &src, &dst[k]);
            }
            ASSERT_SAME(&dst[0], &dst[1]);
            OK(equinv_tensor_create(ctx[0], EQUINV_F32, 2, src.shape, &expected));
            if (op == 0)
                eqi_ref_relu_forward(0, &src, &expected);
            else if (op == 1)
                eqi_ref_relu_forward(0.1, &src, &expected);
            else if (op == 2)
                eqi_ref_dropout(0.5, 5, 6, &src, &expected);
            else
                eqi_ref_add(&src, &src, &expected);
            ASSERT_CLOSE(&dst[0], &expected, 2e-7);
            equinv_tensor_destroy(ctx[0], &wide), equinv_tensor_destroy(ctx[0], &expected);
            equinv_tensor_destroy(ctx[0], &dst[0]), equinv_tensor_destroy(ctx[1], &dst[1]);
        }
    equinv_context_destroy(ctx[0]), equinv_context_destroy(ctx[1]);
}
END_TEST

START_TEST(empty_tensors)
{
    equinv_context *const ctx = context_new();
    /* extents whose product overflows but for the zero */
    const int64_t shape[4] = {0, INT64_C(1) << 40, INT64_C(1) << 40, 3};
    equinv_tensor t;
    OK(equinv_tensor_init(NULL, EQUINV_F32, 4, shape, &t));
    OK(equinv_relu_forward(ctx, 0, &t, &t));
    OK(equinv_relu_backward(ctx, 0, &t, &t, &t));
    OK(equinv_dropout(ctx, 0.5, 1, 2, &t, &t));
    OK(equinv_add(ctx, &t, &t, &t));
    equinv_context_destroy(ctx);
}
END_TEST

/* ---- wrong arguments ------------------------------------------------------------------------- */

/* Their arguments in the header's order; the subject is the context. */
static equinv_status call_forward(void *ctx, const equinv_tensor *const *t)
{
    return equinv_relu_forward(ctx, 0.1, t[0], t[1]);
}

static equinv_status call_backward(void *ctx, const equinv_tensor *const *t)
{
    return equinv_relu_backward(ctx, 0.1, t[0], t[1], t[2]);
}

static equinv_status call_dropout(void *ctx, const equinv_tensor *const *t)
{
    return equinv_dropout(ctx, 0.1, 1, 2, t[0], t[1]);
}

static equinv_status call_add(void *ctx, const equinv_tensor *const *t)
{
    return equinv_add(ctx, t[0], t[1], t[2]);
}

static const struct {
    call call;
    int count;
    const char *names[3];
} calls[] = {
    {{call_forward, 3, BIT(1), 0, BIT(0) | BIT(1)}, 2, {"src", "dst"}},
    {{call_backward, 7, BIT(2), 0, BIT(1) | BIT(2)}, 3, {"src", "diff_dst", "diff_src"}},
    {{call_dropout, 3, BIT(1), 0, BIT(0) | BIT(1)}, 2, {"src", "dst"}},
    {{call_add, 7, BIT(2), 0, 7}, 3, {"a", "b", "dst"}},
};
enum { CALLS = sizeof calls / sizeof *calls };

START_TEST(wrong_arguments)
{
    equinv_context *const ctx = context_new();
    rng r = {6};
    equinv_tensor tensor[3], before[3];
    const equinv_tensor *const good[3] = {&tensor[0], &tensor[1], &tensor[2]};
    for (int i = 0; i < 3; i++) {
        tensor[i] = tensor_random(ctx, &r, EQUINV_F32, 3, 2, 3, 4);
        before[i] = tensor_copy(ctx, &tensor[i]);
    }
    for (int c = 0; c < CALLS; c++) {
        const int output = calls[c].count - 1;
        FAILS(EQUINV_ERR_ARG, "ctx is NULL", calls[c].call.run(NULL, good));
        assert_refusals(&calls[c].call, 1,
                        &(arguments){calls[c].count, calls[c].names, good, 0, BIT(0)}, ctx);
        for (int k = 0; k < output; k++) { /* the same memory, another view */
            equinv_tensor view = tensor[k];
            const equinv_tensor *t[3] = {good[0], good[1], good[2]};
            view.strides[0] = 1, view.strides[1] = 2, view.strides[2] = 6;
            t[output] = &view;
            FAILS(EQUINV_ERR_ARG, "overlaps", calls[c].call.run(ctx, t));
        }
    }
    static const double bad_slopes[] = {-0.1, 1, 2, (double)NAN, (double)INFINITY};
    for (int i = 0; i < 5; i++) {
        FAILS(EQUINV_ERR_ARG, "slope is",
              equinv_relu_forward(ctx, bad_slopes[i], &tensor[0], &tensor[1]));
        FAILS(EQUINV_ERR_ARG, "slope is",
              equinv_relu_backward(ctx, bad_slopes[i], &tensor[0], &tensor[1], &tensor[2]));
        FAILS(EQUINV_ERR_ARG, "p is",
              equinv_dropout(ctx, bad_slopes[i], 1, 1, &tensor[0], &tensor[1]));
    }
    equinv_tensor flat = tensor[0], other = tensor[1];
    flat.ndim = other.ndim = 1;
    FAILS(EQUINV_ERR_SHAPE, "src has ndim 1", equinv_dropout(ctx, 0.5, 1, 1, &flat, &other));
    for (int i = 0; i < 3; i++) {
        ASSERT_SAME(&tensor[i], &before[i]);
        equinv_tensor_destroy(ctx, &tensor[i]), equinv_tensor_destroy(ctx, &before[i]);
    }
    equinv_context_destroy(ctx);
}
END_TEST

/* None of them allocates. */
START_TEST(no_allocation)
{
    fault_allocator f = {.until = -1};
    equinv_context *const ctx = context_of_faults(&f);
    equinv_tensor src = tensor_new(ctx, EQUINV_F32, 3, 4, 4, 9), dst = tensor_like(ctx, &src);
    f.count = 0, f.until = 0;
    for (int op = 0; op < 4; op++)
        run(ctx, op, &src, &dst);
    OK(equinv_relu_backward(ctx, 0, &src, &dst, &dst));
    f.until = -1;
    equinv_tensor_destroy(ctx, &src), equinv_tensor_destroy(ctx, &dst);
    equinv_context_destroy(ctx);
    ck_assert(f.live == 0 && f.wrong_size == 0);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {relu_by_hand, 1},
        {relu_keeps_nan_and_infinity_at_their_place, 1},
        {relu_equals_the_reference, 1},
        {relu_gradient_by_differences_and_adjoint, 1},
        {dropout_drops_whole_fields_by_the_recipe, 1},
        {dropout_rate_and_independence, 1},
        {dropout_gradient_is_dropout, 1},
        {dropout_of_nan, 1},
        {add_adds, 1},
        {add_broadcasts_inputs_and_keeps_nan, 1},
        {commute_with_the_action, 1},
        {thread_count_changes_no_bit, 1},
        {empty_tensors, 1},
        {wrong_arguments, 1},
        {no_allocation, 1},
    };
    return run_tests("pointwise", tests, sizeof tests / sizeof *tests);
}
