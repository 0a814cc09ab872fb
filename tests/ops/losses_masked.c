/* Losses over what a mask leaves, the divergence of codes and how they are drawn. */
#include <math.h>

#include "tests/util/refusal.h"

enum { ROUNDS = 250 };

/* What a loss has: two inputs (logits and labels, or mean and log variance), mask, loss, gradients. */
enum { X, Y, MASK, LOSS, DIFF_X, DIFF_Y, ARGUMENTS };
enum { CLASSES_LOSS, BINARY, DIVERGENCE, LOSSES };

typedef struct problem {
    equinv_context *ctx;
    int which;
    equinv_tensor t[ARGUMENTS];
} problem;

static equinv_status loss_of(equinv_context *ctx, int which,
                             const equinv_tensor *const t[ARGUMENTS])
{
    switch (which) {
    case CLASSES_LOSS:
        return equinv_cross_entropy_masked(ctx, t[X], t[Y], t[MASK], t[LOSS], t[DIFF_X]);
    case BINARY: return equinv_binary_cross_entropy(ctx, t[X], t[Y], t[MASK], t[LOSS], t[DIFF_X]);
    default: return equinv_kl_gaussian(ctx, t[X], t[Y], t[MASK], t[LOSS], t[DIFF_X], t[DIFF_Y]);
    }
}

static double value(void *arg)
{
    const problem *const p = arg;
    const equinv_tensor *const t[ARGUMENTS] = {&p->t[X], &p->t[Y], &p->t[MASK], &p->t[LOSS]};
    OK(loss_of(p->ctx, p->which, t));
    return tensor_get(&p->t[LOSS], 0);
}

static equinv_status run(problem *p, bool masked)
{
    const equinv_tensor *const t[ARGUMENTS] = {
        &p->t[X], &p->t[Y], masked ? &p->t[MASK] : NULL, &p->t[LOSS], &p->t[DIFF_X], &p->t[DIFF_Y]};
    return loss_of(p->ctx, p->which, t);
}

static void problem_free(problem *p)
{
    for (int i = 0; i < ARGUMENTS; i++)
        equinv_tensor_destroy(p->ctx, &p->t[i]);
}

/* Labels of absent elements are out of range, absent numbers are NaN. */
static problem problem_of_shape(equinv_context *ctx, rng *r, int which, equinv_dtype dtype,
                                int ndim, const int64_t *shape, int64_t absent_in_ten)
{
    problem p = {.ctx = ctx, .which = which};
    const int inner = which == CLASSES_LOSS ? ndim - 1 : ndim;
    const int64_t classes = which == CLASSES_LOSS ? shape[ndim - 1] : 2;
    const equinv_dtype whole = rng_range(r, 0, 1) ? EQUINV_U8 : EQUINV_I32;
    OK(equinv_tensor_create(ctx, dtype, ndim, shape, &p.t[X]));
    OK(equinv_tensor_create(ctx, which == DIVERGENCE ? dtype : whole, inner, shape, &p.t[Y]));
    OK(equinv_tensor_create(ctx, rng_range(r, 0, 1) ? EQUINV_U8 : EQUINV_I32, inner, shape,
                            &p.t[MASK]));
    OK(equinv_tensor_create(ctx, dtype, 1, (int64_t[]){1}, &p.t[LOSS]));
    OK(equinv_tensor_create(ctx, dtype, ndim, shape, &p.t[DIFF_X]));
    OK(equinv_tensor_create(ctx, dtype, inner, shape, &p.t[DIFF_Y]));
    tensor_fill_random(r, &p.t[X]);
    OK(equinv_tensor_convert(ctx, &p.t[X], 4, 0, &p.t[X]));
    if (which == DIVERGENCE)
        tensor_fill_random(r, &p.t[Y]);
    const int64_t count = equinv_tensor_count(&p.t[Y]);
    for (int64_t i = 0; i < count; i++) {
        const bool there = rng_range(r, 1, 10) > absent_in_ten;
        tensor_set(&p.t[MASK], i, there ? (double)rng_range(r, 1, 3) : 0);
        if (which != DIVERGENCE)
            tensor_set(&p.t[Y], i, there ? (double)rng_range(r, 0, classes - 1) : 77);
        else if (!there)
            tensor_set(&p.t[Y], i, (double)NAN);
        for (int64_t c = 0; c < equinv_tensor_count(&p.t[X]) / count && !there; c++)
            tensor_set(&p.t[X], i * (equinv_tensor_count(&p.t[X]) / count) + c, (double)NAN);
    }
    return p;
}

static problem random_problem(equinv_context *ctx, rng *r, int which, equinv_dtype dtype,
                              int64_t absent_in_ten)
{
    int64_t shape[5];
    const int ndim = (int)rng_range(r, which == CLASSES_LOSS ? 2 : 1, 4);
    for (int i = 0; i < ndim; i++)
        shape[i] = rng_range(r, 1, 4);
    return problem_of_shape(ctx, r, which, dtype, ndim, shape, absent_in_ten);
}

/* ---- the definitions ------------------------------------------------------------------------- */

/* Loss of element i and its gradients in double, straight from the formulas. */
static double plain(const problem *p, int64_t i, double *diff_x, double *diff_y)
{
    const double y = tensor_get(&p->t[Y], i);
    *diff_y = 0;
    if (p->which == CLASSES_LOSS) {
        const int64_t classes = p->t[X].shape[p->t[X].ndim - 1];
        double sum = 0;
        for (int64_t c = 0; c < classes; c++)
            sum += exp(tensor_get(&p->t[X], i * classes + c));
        for (int64_t c = 0; c < classes; c++)
            diff_x[c] = exp(tensor_get(&p->t[X], i * classes + c)) / sum - (c == (int64_t)y);
        return log(sum) - tensor_get(&p->t[X], i * classes + (int64_t)y);
    }
    const double x = tensor_get(&p->t[X], i);
    if (p->which == BINARY) {
        const double q = 1 / (1 + exp(-x));
        *diff_x = q - y;
        return y > 0 ? -log(q) : -log(1 - q);
    }
    *diff_x = x;
    *diff_y = (exp(y) - 1) / 2;
    return (x * x + exp(y) - 1 - y) / 2;
}

START_TEST(losses_are_their_definitions)
{
    equinv_context *const ctx = context_new();
    for (uint64_t seed = 0; seed < share_of(ROUNDS); seed++) {
        rng r = {seed};
        const bool f64 = seed % 2;
        problem p = random_problem(ctx, &r, _i, f64 ? EQUINV_F64 : EQUINV_F32, (int64_t)seed % 5);
        const int64_t count = equinv_tensor_count(&p.t[Y]);
        const int64_t each = equinv_tensor_count(&p.t[X]) / count;
        const double tolerance = f64 ? 1e-13 : 1e-6;
        laid l[ARGUMENTS];
        const equinv_tensor *views[ARGUMENTS];
        for (int i = 0; i < ARGUMENTS; i++) {
            l[i] = i < LOSS ? laid_copy(ctx, &r, &p.t[i])
                            : laid_new(ctx, &r, p.t[i].dtype, p.t[i].ndim, p.t[i].shape);
            views[i] = &l[i].view;
        }
        OK(loss_of(ctx, _i, views));
        double loss = 0, there = 0;
        for (int64_t i = 0; i < count; i++)
            there += tensor_get(&p.t[MASK], i) != 0;
        for (int64_t i = 0; i < count; i++) {
            double diff_x[4] = {0}, diff_y = 0;
            if (tensor_get(&p.t[MASK], i) != 0)
                loss += plain(&p, i, diff_x, &diff_y) / there;
            for (int64_t c = 0; c < each; c++) {
                const double e = there > 0 ? diff_x[c] / there : 0;
                ck_assert_msg(fabs(tensor_get(views[DIFF_X], i * each + c) - e) <= tolerance,
                              "diff of the first, loss %d, seed %d", _i, (int)seed);
            }
            const double e = there > 0 ? diff_y / there : 0;
            ck_assert_msg(_i != DIVERGENCE ||
                              fabs(tensor_get(views[DIFF_Y], i) - e) <= tolerance * (1 + fabs(e)),
                          "diff of the second, seed %d", (int)seed);
        }
        ck_assert_msg(fabs(tensor_get(views[LOSS], 0) - loss) <= tolerance * (1 + loss),
                      "loss %d is %g, expected %g, seed %d", _i, tensor_get(views[LOSS], 0), loss,
                      (int)seed);
        if (_i != DIVERGENCE) { /* in place on the logits */
            equinv_tensor kept = tensor_copy(ctx, views[DIFF_X]);
            views[DIFF_X] = views[X];
            OK(loss_of(ctx, _i, views));
            ck_assert_msg(tensor_error(views[X], &kept, NULL) == 0, "in place, seed %d", (int)seed);
            equinv_tensor_destroy(ctx, &kept);
        }
        for (int i = 0; i < ARGUMENTS; i++) {
            ck_assert_msg(laid_gaps_kept(&l[i]), "gaps of %d, seed %d", i, (int)seed);
            laid_free(ctx, &l[i]);
        }
        problem_free(&p);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(gradients_by_differences)
{
    equinv_context *const ctx = context_new();
    for (uint64_t seed = 0; seed < share_of(ROUNDS); seed++) {
        rng r = {seed + 1000};
        problem p = random_problem(ctx, &r, _i, EQUINV_F64, 0);
        for (int64_t i = 0; i < equinv_tensor_count(&p.t[MASK]); i += 3)
            tensor_set(&p.t[MASK], i, 0);
        OK(run(&p, true));
        ck_assert_msg(gradient_mismatch(&p.t[X], &p.t[DIFF_X], value, &p, 1e-5, 1e-7, 40) < 0,
                      "loss %d, seed %d", _i, (int)seed);
        if (_i == DIVERGENCE)
            ck_assert_msg(gradient_mismatch(&p.t[Y], &p.t[DIFF_Y], value, &p, 1e-5, 1e-7, 40) < 0,
                          "log variance, seed %d", (int)seed);
        problem_free(&p);
    }
    equinv_context_destroy(ctx);
}
END_TEST

/* Without a mask the classes' loss has the bits of equinv_cross_entropy. */
START_TEST(without_a_mask)
{
    equinv_context *const ctx = context_new();
    for (int which = 0; which < LOSSES; which++) {
        rng r = {7};
        problem p = problem_of_shape(ctx, &r, which, EQUINV_F32, 2, (int64_t[]){5, 3}, 0);
        OK(run(&p, true));
        equinv_tensor loss = tensor_copy(ctx, &p.t[LOSS]), diff = tensor_copy(ctx, &p.t[DIFF_X]);
        OK(run(&p, false));
        ASSERT_SAME(&p.t[LOSS], &loss);
        ASSERT_SAME(&p.t[DIFF_X], &diff);
        if (which == CLASSES_LOSS) {
            OK(equinv_cross_entropy(ctx, &p.t[X], &p.t[Y], &p.t[LOSS], &p.t[DIFF_X]));
            ASSERT_SAME(&p.t[LOSS], &loss);
            ASSERT_SAME(&p.t[DIFF_X], &diff);
        }
        equinv_tensor_destroy(ctx, &loss), equinv_tensor_destroy(ctx, &diff);
        problem_free(&p);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(nothing_is_there)
{
    equinv_context *const ctx = context_new();
    for (int which = 0; which < LOSSES; which++)
        for (int empty = 0; empty < 2; empty++) {
            rng r = {8};
            problem p =
                problem_of_shape(ctx, &r, which, EQUINV_F32, 2, (int64_t[]){empty ? 0 : 4, 3}, 10);
            tensor_set(&p.t[LOSS], 0, 5);
            OK(run(&p, true));
            ck_assert(tensor_get(&p.t[LOSS], 0) == 0);
            ck_assert(tensor_max_abs(&p.t[DIFF_X]) == 0);
            problem_free(&p);
        }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(large_infinite_and_nan_logits_of_two_classes)
{
    static const double inf = (double)INFINITY;
    static const struct {
        double x;
        int label;
        double loss, diff;
    } cases[] = {{800, 1, 0, 0},     {800, 0, 800, 1},   {-800, 0, 0, 0},
                 {-800, 1, 800, -1}, {inf, 1, 0, 0},     {inf, 0, inf, 1},
                 {-inf, 0, 0, 0},    {-inf, 1, inf, -1}, {0, 1, 0.6931471805599453, -0.5}};
    equinv_context *const ctx = context_new();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rng r = {9};
        problem p = problem_of_shape(ctx, &r, BINARY, EQUINV_F64, 1, (int64_t[]){1}, 0);
        tensor_set(&p.t[X], 0, cases[i].x), tensor_set(&p.t[Y], 0, cases[i].label);
        OK(run(&p, false));
        const double loss = tensor_get(&p.t[LOSS], 0), diff = tensor_get(&p.t[DIFF_X], 0);
        ck_assert_msg(loss == cases[i].loss || fabs(loss - cases[i].loss) < 1e-15,
                      "case %d: loss %g", (int)i, loss);
        ck_assert_msg(fabs(diff - cases[i].diff) < 1e-15, "case %d: diff %g", (int)i, diff);
        problem_free(&p);
    }
    for (int which = 0; which < LOSSES; which++) {
        rng r = {10};
        problem p = problem_of_shape(ctx, &r, which, EQUINV_F32, 2, (int64_t[]){4, 3}, 0);
        tensor_set(&p.t[X], 7, (double)NAN);
        OK(run(&p, true));
        ck_assert(isnan(tensor_get(&p.t[LOSS], 0)));
        for (int64_t i = 0; i < 12; i++)
            ck_assert(isnan(tensor_get(&p.t[DIFF_X], i)) ==
                      (which == CLASSES_LOSS ? i / 3 == 2 : i == 7));
        problem_free(&p);
    }
    equinv_context_destroy(ctx);
}
END_TEST

/* ---- codes ----------------------------------------------------------------------------------- */

typedef struct drawing {
    equinv_context *ctx;
    equinv_tensor mean, log_variance, dst, weights;
} drawing;

static double weighted_sum(void *arg)
{
    const drawing *const d = arg;
    OK(equinv_reparameterise_forward(d->ctx, 5, 6, &d->mean, &d->log_variance, &d->dst));
    return tensor_dot(&d->dst, &d->weights);
}

START_TEST(codes_are_drawn_as_the_templates)
{
    equinv_context *const ctx = context_new();
    for (uint64_t seed = 0; seed < share_of(ROUNDS); seed++) {
        rng r = {seed + 2000};
        const equinv_dtype dtype = seed % 2 ? EQUINV_F64 : EQUINV_F32;
        const int n = (int)rng_range(&r, 0, 5), c = (int)rng_range(&r, 1, 7);
        equinv_tensor mean = tensor_random(ctx, &r, dtype, 2, n, c);
        equinv_tensor s = tensor_random(ctx, &r, dtype, 2, n, c);
        equinv_tensor noise = tensor_new(ctx, dtype, 3, 1, n, c);
        OK(equinv_templates(ctx, EQUINV_TEMPLATE_GAUSSIAN, seed, 3 + (UINT64_C(1) << 40), &noise));
        laid m = laid_copy(ctx, &r, &mean), v = laid_copy(ctx, &r, &s);
        laid z = laid_new(ctx, &r, dtype, 2, mean.shape);
        OK(equinv_reparameterise_forward(ctx, seed, 3 + (UINT64_C(1) << 40), &m.view, &v.view,
                                         &z.view));
        for (int64_t i = 0; i < n * c; i++) {
            const double e =
                tensor_get(&mean, i) + exp(tensor_get(&s, i) / 2) * tensor_get(&noise, i);
            ck_assert_msg(fabs(tensor_get(&z.view, i) - e) <=
                              (seed % 2 ? 1e-14 : 2e-7) * (1 + fabs(e)),
                          "seed %d", (int)seed);
        }
        OK(equinv_reparameterise_forward(ctx, seed, 3 + (UINT64_C(1) << 40), &m.view, &v.view,
                                         &m.view));
        ck_assert(tensor_error(&m.view, &z.view, NULL) == 0);
        ck_assert(laid_gaps_kept(&z) && laid_gaps_kept(&m));
        laid_free(ctx, &m), laid_free(ctx, &v), laid_free(ctx, &z);
        equinv_tensor_destroy(ctx, &mean), equinv_tensor_destroy(ctx, &s);
        equinv_tensor_destroy(ctx, &noise);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(gradient_of_a_drawn_code)
{
    equinv_context *const ctx = context_new();
    for (uint64_t seed = 0; seed < share_of(ROUNDS); seed++) {
        rng r = {seed + 3000};
        drawing d = {ctx, tensor_random(ctx, &r, EQUINV_F64, 2, 3, 5),
                     tensor_random(ctx, &r, EQUINV_F64, 2, 3, 5),
                     tensor_new(ctx, EQUINV_F64, 2, 3, 5),
                     tensor_random(ctx, &r, EQUINV_F64, 2, 3, 5)};
        equinv_tensor diff = tensor_like(ctx, &d.mean);
        OK(equinv_reparameterise_backward(ctx, 5, 6, &d.log_variance, &d.weights, &diff));
        ck_assert(gradient_mismatch(&d.log_variance, &diff, weighted_sum, &d, 1e-4, 1e-7, 15) < 0);
        ck_assert(gradient_mismatch(&d.mean, &d.weights, weighted_sum, &d, 1e-3, 1e-9, 15) < 0);
        equinv_tensor kept = tensor_copy(ctx, &d.weights);
        OK(equinv_reparameterise_backward(ctx, 5, 6, &d.log_variance, &kept, &kept));
        ASSERT_SAME(&kept, &diff);
        equinv_tensor_destroy(ctx, &kept), equinv_tensor_destroy(ctx, &diff);
        equinv_tensor_destroy(ctx, &d.mean), equinv_tensor_destroy(ctx, &d.log_variance);
        equinv_tensor_destroy(ctx, &d.dst), equinv_tensor_destroy(ctx, &d.weights);
    }
    equinv_context_destroy(ctx);
}
END_TEST

/* ---- wrong arguments ------------------------------------------------------------------------- */

static const char *const names[LOSSES][ARGUMENTS] = {
    {"logits", "labels", "mask", "loss", "diff_logits", ""},
    {"logits", "labels", "mask", "loss", "diff_logits", ""},
    {"mean", "log_variance", "mask", "loss", "diff_mean", "diff_log_variance"}};

/* The subject is a problem. */
static equinv_status call_loss(void *subject, const equinv_tensor *const *t)
{
    const problem *const p = subject;
    return loss_of(p->ctx, p->which, t);
}

START_TEST(wrong_arguments)
{
    equinv_context *const ctx = context_new();
    const int which = _i;
    rng r = {11};
    problem p = problem_of_shape(ctx, &r, which, EQUINV_F32, 3, (int64_t[]){3, 4, 2}, 0);
    tensor_set(&p.t[LOSS], 0, 9);
    const equinv_tensor *good[ARGUMENTS];
    for (int i = 0; i < ARGUMENTS; i++)
        good[i] = &p.t[i];
    FAILS(EQUINV_ERR_ARG, "ctx is NULL", loss_of(NULL, which, good));
    const unsigned diffs = BIT(DIFF_X) | (which == DIVERGENCE ? BIT(DIFF_Y) : 0);
    const call loss = {call_loss, BIT(X) | BIT(Y) | BIT(MASK) | BIT(LOSS) | diffs,
                       BIT(LOSS) | diffs, BIT(MASK) | diffs, BIT(X) | BIT(DIFF_X)};
    const unsigned whole = BIT(MASK) | (which == DIVERGENCE ? 0 : BIT(Y));
    assert_refusals(&loss, 1, &(arguments){ARGUMENTS, names[which], good, whole, BIT(X)}, &p);
    if (which != DIVERGENCE) {
        tensor_set(&p.t[Y], 5, 2);
        FAILS(EQUINV_ERR_ARG, "labels has 2 at element 5, expected 0", loss_of(ctx, which, good));
        ck_assert(tensor_get(&p.t[LOSS], 0) == 9);
        tensor_set(&p.t[MASK], 5, 0);
        OK(loss_of(ctx, which, good));
    }
    problem_free(&p);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(wrong_arguments_of_drawing)
{
    equinv_context *const ctx = context_new();
    rng r = {12};
    equinv_tensor t[3], bad;
    static const char *const forward[3] = {"mean", "log_variance", "dst"};
    static const char *const backward[3] = {"log_variance", "diff_dst", "diff_log_variance"};
    for (int i = 0; i < 3; i++)
        t[i] = tensor_random(ctx, &r, EQUINV_F32, 2, 3, 4);
    for (int back = 0; back < 2; back++)
        for (int i = 0; i < 3; i++) {
            const char *const name = back ? backward[i] : forward[i];
            const equinv_tensor *a[3] = {&t[0], &t[1], &t[2]};
            a[i] = &bad;
#define CALL                                                                                       \
    (back ? equinv_reparameterise_backward(ctx, 1, 2, a[0], a[1], a[2])                            \
          : equinv_reparameterise_forward(ctx, 1, 2, a[0], a[1], a[2]))
#define WITH(status, ...)                                                                          \
    do {                                                                                           \
        bad = t[i];                                                                                \
        __VA_ARGS__;                                                                               \
        FAILS(status, name, CALL);                                                                 \
    } while (0)
            WITH(EQUINV_ERR_DTYPE, bad.dtype = EQUINV_U8);
            WITH(EQUINV_ERR_ARG, bad.data = NULL);
            WITH(EQUINV_ERR_DEVICE, bad.device.kind = EQUINV_DEVICE_CUDA);
            if (i > 0) {
                WITH(EQUINV_ERR_SHAPE, bad.shape[0] = 2);
                WITH(EQUINV_ERR_DTYPE, bad.dtype = EQUINV_F64);
            }
            if (i == 2)
                for (int k = 0; k < 2; k++)
                    WITH(EQUINV_ERR_ARG, bad.data = (float *)t[k].data + 1);
            a[i] = NULL;
            FAILS(EQUINV_ERR_ARG, name, CALL);
#undef WITH
#undef CALL
        }
    FAILS(EQUINV_ERR_ARG, "ctx is NULL",
          equinv_reparameterise_forward(NULL, 1, 2, &t[0], &t[1], &t[2]));
    FAILS(EQUINV_ERR_ARG, "ctx is NULL",
          equinv_reparameterise_backward(NULL, 1, 2, &t[0], &t[1], &t[2]));
    for (int i = 0; i < 3; i++)
        equinv_tensor_destroy(ctx, &t[i]);
    equinv_context_destroy(ctx);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {losses_are_their_definitions, LOSSES},
        {gradients_by_differences, LOSSES},
        {without_a_mask, 1},
        {nothing_is_there, 1},
        {large_infinite_and_nan_logits_of_two_classes, 1},
        {codes_are_drawn_as_the_templates, 1},
        {gradient_of_a_drawn_code, 1},
        {wrong_arguments, LOSSES},
        {wrong_arguments_of_drawing, 1},
    };
    return run_tests("losses_masked", tests, sizeof tests / sizeof *tests);
}
