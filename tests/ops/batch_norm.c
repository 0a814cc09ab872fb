/* Batch normalisation: statistics, both modes and their gradients, every implementation. */
#include <math.h>

#include "tests/util/layout.h"

enum { ROUNDS = 250 };

static const char *const impls[] = {"fast", "ref"};

/* A plan, its arguments and results; vectors are [F]. */
typedef struct norm {
    equinv_context *ctx;
    equinv_batch_norm_desc desc;
    equinv_plan *plan;
    int64_t shape[5];
    equinv_tensor src, dst, diff_dst, diff_src;
    equinv_tensor gamma, beta, running_mean, running_var, diff_gamma, diff_beta;
    void *saved;
    size_t saved_size;
} norm;

static norm norm_new(equinv_context *ctx, rng *r, const equinv_batch_norm_desc *desc)
{
    norm b = {.ctx = ctx,
              .desc = *desc,
              .shape = {desc->batch, desc->fields, desc->elements, desc->height, desc->width}};
    OK(equinv_batch_norm_plan_create(ctx, desc, &b.plan));
    equinv_tensor *const maps[] = {&b.src, &b.diff_dst, &b.dst, &b.diff_src};
    equinv_tensor *const vectors[] = {&b.gamma,       &b.beta,       &b.running_mean,
                                      &b.running_var, &b.diff_gamma, &b.diff_beta};
    for (int i = 0; i < 4; i++) {
        OK(equinv_tensor_create(ctx, desc->dtype, 5, b.shape, maps[i]));
        if (i < 2)
            tensor_fill_random(r, maps[i]);
    }
    for (int i = 0; i < 6; i++) {
        OK(equinv_tensor_create(ctx, desc->dtype, 1, &desc->fields, vectors[i]));
        tensor_fill_random(r, vectors[i]);
    }
    OK(equinv_tensor_convert(ctx, &b.running_var, 0.5, 0.75, &b.running_var));
    b.saved_size = equinv_plan_saved_size(b.plan);
    b.saved = aligned_alloc(64, (b.saved_size + 63) / 64 * 64);
    ck_assert_ptr_nonnull(b.saved);
    return b;
}

static void norm_free(norm *b)
{
    equinv_tensor *const all[] = {&b->src,          &b->dst,        &b->diff_dst,   &b->diff_src,
                                  &b->gamma,        &b->beta,       &b->diff_gamma, &b->diff_beta,
                                  &b->running_mean, &b->running_var};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        equinv_tensor_destroy(b->ctx, all[i]);
    equinv_plan_destroy(b->plan);
    free(b->saved);
}

static void forward(norm *b, bool train)
{
    if (train)
        OK(equinv_batch_norm_forward_train(b->plan, &b->src, &b->gamma, &b->beta, &b->running_mean,
                                           &b->running_var, &b->dst, b->saved, b->saved_size, NULL,
                                           0));
    else
        OK(equinv_batch_norm_forward_eval(b->plan, &b->src, &b->gamma, &b->beta, &b->running_mean,
                                          &b->running_var, &b->dst, NULL, 0));
}

static void backward(norm *b, bool train)
{
    if (train)
        OK(equinv_batch_norm_backward_train(b->plan, &b->src, &b->gamma, &b->diff_dst, b->saved,
                                            b->saved_size, &b->diff_src, &b->diff_gamma,
                                            &b->diff_beta, NULL, 0));
    else
        OK(equinv_batch_norm_backward_eval(b->plan, &b->src, &b->gamma, &b->running_mean,
                                           &b->running_var, &b->diff_dst, &b->diff_src,
                                           &b->diff_gamma, &b->diff_beta, NULL, 0));
}

static equinv_batch_norm_desc random_desc(rng *r, equinv_dtype dtype)
{
    equinv_batch_norm_desc d = EQUINV_BATCH_NORM_DESC_INIT;
    d.dtype = dtype;
    d.batch = rng_range(r, 1, 4);
    d.fields = rng_range(r, 1, 5);
    d.elements = rng_range(r, 0, 1) ? 4 : rng_range(r, 1, 8);
    d.height = rng_range(r, 1, 7);
    d.width = rng_range(r, 1, 9);
    return d;
}

static int64_t count_of(const norm *b)
{
    return b->shape[0] * b->shape[2] * b->shape[3] * b->shape[4];
}

/* Index of value i of field f, i = 0 .. count-1. */
static int64_t index_of(const norm *b, int64_t f, int64_t i)
{
    const int64_t part = b->shape[2] * b->shape[3] * b->shape[4];
    return (i / part * b->shape[1] + f) * part + i % part;
}

static void mean_and_var(const norm *b, const equinv_tensor *t, int64_t f, double *mean,
                         double *var)
{
    const int64_t count = count_of(b);
    *mean = *var = 0;
    for (int64_t i = 0; i < count; i++)
        *mean += tensor_get(t, index_of(b, f, i)) / (double)count;
    for (int64_t i = 0; i < count; i++) {
        const double d = tensor_get(t, index_of(b, f, i)) - *mean;
        *var += d * d / (double)count;
    }
}

/* ---- values ---------------------------------------------------------------------------------- */

START_TEST(training_normalises_and_keeps_statistics)
{
    equinv_context *const ctx = context_new();
    for (uint64_t seed = 0; seed < share_of(ROUNDS); seed++) {
        rng r = {seed};
        equinv_batch_norm_desc d = random_desc(&r, EQUINV_F64);
        d.momentum = (double)rng_range(&r, 0, 4) / 4;
        norm b = norm_new(ctx, &r, &d);
        equinv_tensor mean = tensor_copy(ctx, &b.running_mean);
        equinv_tensor var = tensor_copy(ctx, &b.running_var);
        forward(&b, true);
        const int64_t count = count_of(&b);
        for (int64_t f = 0; f < d.fields; f++) {
            double m, v;
            mean_and_var(&b, &b.src, f, &m, &v);
            const double unbiased = count > 1 ? v * (double)count / (double)(count - 1) : v;
            for (int64_t i = 0; i < count; i++) {
                const double x = tensor_get(&b.src, index_of(&b, f, i));
                const double expected = tensor_get(&b.gamma, f) * (x - m) / sqrt(v + d.epsilon) +
                                        tensor_get(&b.beta, f);
                ck_assert_msg(fabs(tensor_get(&b.dst, index_of(&b, f, i)) - expected) < 1e-12,
                              "dst, seed %d", (int)seed);
            }
            const double keep = 1 - d.momentum;
            ck_assert_msg(fabs(tensor_get(&b.running_mean, f) -
                               (keep * tensor_get(&mean, f) + d.momentum * m)) < 1e-13,
                          "running_mean, seed %d", (int)seed);
            ck_assert_msg(fabs(tensor_get(&b.running_var, f) -
                               (keep * tensor_get(&var, f) + d.momentum * unbiased)) < 1e-13,
                          "running_var, seed %d", (int)seed);
        }
        equinv_tensor_destroy(ctx, &mean), equinv_tensor_destroy(ctx, &var);
        norm_free(&b);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(evaluation_uses_the_running_statistics)
{
    equinv_context *const ctx = context_new();
    for (uint64_t seed = 0; seed < share_of(ROUNDS); seed++) {
        rng r = {seed + 500};
        equinv_batch_norm_desc d = random_desc(&r, seed % 2 ? EQUINV_F64 : EQUINV_F32);
        norm b = norm_new(ctx, &r, &d);
        equinv_tensor mean = tensor_copy(ctx, &b.running_mean);
        forward(&b, false);
        for (int64_t f = 0; f < d.fields; f++)
            for (int64_t i = 0; i < count_of(&b); i++) {
                const double x = tensor_get(&b.src, index_of(&b, f, i));
                const double expected = tensor_get(&b.gamma, f) * (x - tensor_get(&mean, f)) /
                                            sqrt(tensor_get(&b.running_var, f) + d.epsilon) +
                                        tensor_get(&b.beta, f);
                ck_assert_msg(fabs(tensor_get(&b.dst, index_of(&b, f, i)) - expected) <
                                  (seed % 2 ? 1e-13 : 1e-6),
                              "seed %d", (int)seed);
            }
        ASSERT_SAME(&b.running_mean, &mean); /* left alone */
        equinv_tensor dst = tensor_copy(ctx, &b.dst);
        OK(equinv_batch_norm_forward_eval(b.plan, &b.src, &b.gamma, &b.beta, &b.running_mean,
                                          &b.running_var, &b.src, NULL, 0));
        ASSERT_SAME(&b.src, &dst); /* in place */
        equinv_tensor_destroy(ctx, &mean), equinv_tensor_destroy(ctx, &dst);
        norm_free(&b);
    }
    equinv_context_destroy(ctx);
}
END_TEST

/* Where the mean is 10000 times the spread, fp32 must lose no more than its own rounding. */
START_TEST(large_mean_keeps_the_variance)
{
    equinv_context *const ctx = context_new();
    for (int k = 0; k < 2; k++)
        for (int layout = 0; layout < 2; layout++) {
            rng r = {7};
            equinv_batch_norm_desc d = EQUINV_BATCH_NORM_DESC_INIT;
            d.batch = 8, d.fields = 3, d.elements = 4, d.height = 9, d.width = 11;
            d.impl = impls[k];
            norm b = norm_new(ctx, &r, &d);
            /* uniform on -1 .. 1 has variance 1/3 */
            OK(equinv_tensor_convert(ctx, &b.src, sqrt(3.0), 1e4, &b.src));
            d.dtype = EQUINV_F64, d.impl = NULL;
            norm exact = norm_new(ctx, &r, &d);
            equinv_tensor *const from[] = {&b.src, &b.diff_dst, &b.gamma, &b.beta};
            equinv_tensor *const to[] = {&exact.src, &exact.diff_dst, &exact.gamma, &exact.beta};
            for (int i = 0; i < 4; i++)
                OK(equinv_tensor_convert(ctx, from[i], 1.0, 0.0, to[i]));
            equinv_tensor swapped = b.src; /* fields fastest */
            if (layout) {
                const int64_t strides[5] = {3 * 4 * 99, 1, 3 * 99, 3 * 11, 3};
                equinv_tensor *const maps[] = {&b.src, &b.dst, &b.diff_dst, &b.diff_src};
                swapped = tensor_copy(ctx, &b.src);
                equinv_tensor other = tensor_copy(ctx, &b.diff_dst);
                for (int i = 0; i < 4; i++)
                    memcpy(maps[i]->strides, strides, sizeof strides);
                OK(equinv_tensor_convert(ctx, &swapped, 1.0, 0.0, &b.src));
                OK(equinv_tensor_convert(ctx, &other, 1.0, 0.0, &b.diff_dst));
                equinv_tensor_destroy(ctx, &swapped), equinv_tensor_destroy(ctx, &other);
            }
            forward(&b, true), backward(&b, true);
            forward(&exact, true), backward(&exact, true);
            ASSERT_CLOSE(&b.dst, &exact.dst, 5e-7);
            ASSERT_CLOSE(&b.diff_src, &exact.diff_src, 1e-6);
            ASSERT_CLOSE(&b.diff_gamma, &exact.diff_gamma, 1e-6);
            norm_free(&b), norm_free(&exact);
        }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(nan_stays_in_its_field_and_in_evaluation_at_its_place)
{
    equinv_context *const ctx = context_new();
    for (int k = 0; k < 2; k++) {
        rng r = {3};
        equinv_batch_norm_desc d = EQUINV_BATCH_NORM_DESC_INIT;
        d.batch = 3, d.fields = 3, d.elements = 4, d.height = 5, d.width = 5;
        d.impl = impls[k];
        norm b = norm_new(ctx, &r, &d);
        const int64_t nan_at = index_of(&b, 1, 123), inf_at = index_of(&b, 2, 44);
        tensor_set(&b.src, nan_at, (double)NAN);
        tensor_set(&b.src, inf_at, -(double)INFINITY);
        forward(&b, false);
        for (int64_t i = 0; i < equinv_tensor_count(&b.dst); i++) {
            const double value = tensor_get(&b.dst, i);
            ck_assert(i == nan_at ? isnan(value) : i == inf_at ? isinf(value) : isfinite(value));
        }
        forward(&b, true);
        for (int64_t f = 0; f < 3; f++)
            for (int64_t i = 0; i < count_of(&b); i++)
                ck_assert(isfinite(tensor_get(&b.dst, index_of(&b, f, i))) == (f == 0));
        norm_free(&b);
    }
    equinv_context_destroy(ctx);
}
END_TEST

/* ---- implementations ------------------------------------------------------------------------- */

/* Largest |a - b| against the scale that the rounding of the terms has. */
static double distance(const equinv_tensor *a, const equinv_tensor *b, double scale)
{
    double largest = 0;
    for (int64_t i = 0; i < equinv_tensor_count(a); i++)
        largest = fmax(largest, fabs(tensor_get(a, i) - tensor_get(b, i)));
    return largest / scale;
}

START_TEST(fast_equals_ref)
{
    equinv_context *const ctx = context_at_level(_i);
    for (uint64_t seed = 0; ctx && seed < share_of(2 * ROUNDS); seed++) {
        rng r = {seed + 1000}, same = r;
        const bool train = seed % 2;
        equinv_batch_norm_desc d = random_desc(&r, EQUINV_F32);
        d.accumulate = rng_range(&r, 0, 1);
        d.impl = "ref";
        norm ref = norm_new(ctx, &r, &d);
        same = (rng){seed + 5000};
        tensor_fill_random(&same, &ref.src);
        forward(&ref, train), backward(&ref, train);
        d.impl = "fast";
        norm fast = norm_new(ctx, &r, &d);
        ck_assert_str_eq(equinv_plan_impl_name(fast.plan), "batch_norm/fast");
        /* the same arguments again, maps and vectors in other layouts */
        equinv_tensor *const from[] = {&ref.src, &ref.diff_dst, &ref.gamma, &ref.beta};
        laid in[4];
        for (int i = 0; i < 4; i++)
            in[i] = laid_copy(ctx, &r, from[i]);
        laid dst = laid_new(ctx, &r, EQUINV_F32, 5, fast.shape);
        laid diff_src = laid_new(ctx, &r, EQUINV_F32, 5, fast.shape);
        rng again = {seed + 1000};
        random_desc(&again, EQUINV_F32), rng_range(&again, 0, 1);
        norm fresh = norm_new(ctx, &again, &d); /* running statistics and gradients as they were */
        if (train) {
            OK(equinv_batch_norm_forward_train(fast.plan, &in[0].view, &in[2].view, &in[3].view,
                                               &fresh.running_mean, &fresh.running_var, &dst.view,
                                               fast.saved, fast.saved_size, NULL, 0));
            OK(equinv_batch_norm_backward_train(fast.plan, &in[0].view, &in[2].view, &in[1].view,
                                                fast.saved, fast.saved_size, &diff_src.view,
                                                &fresh.diff_gamma, &fresh.diff_beta, NULL, 0));
        } else {
            OK(equinv_batch_norm_forward_eval(fast.plan, &in[0].view, &in[2].view, &in[3].view,
                                              &fresh.running_mean, &fresh.running_var, &dst.view,
                                              NULL, 0));
            OK(equinv_batch_norm_backward_eval(
                fast.plan, &in[0].view, &in[2].view, &fresh.running_mean, &fresh.running_var,
                &in[1].view, &diff_src.view, &fresh.diff_gamma, &fresh.diff_beta, NULL, 0));
        }
        /* gamma / sqrt(var + epsilon) can be large where a field has one or two values */
        double scale = 1;
        for (int64_t f = 0; f < d.fields && train; f++)
            scale = fmax(scale, ((double *)ref.saved)[d.fields + f]);
        const double tolerance = 1e-6;
        ck_assert_msg(distance(&dst.view, &ref.dst, 1 + tensor_max_abs(&ref.dst)) < tolerance,
                      "dst, seed %d", (int)seed);
        ck_assert_msg(distance(&diff_src.view, &ref.diff_src, scale) < tolerance,
                      "diff_src, seed %d", (int)seed);
        ck_assert_msg(tensor_error(&fresh.running_mean, &ref.running_mean, NULL) < tolerance &&
                          tensor_error(&fresh.running_var, &ref.running_var, NULL) < tolerance,
                      "running, seed %d", (int)seed);
        const double sums = (double)count_of(&ref);
        ck_assert_msg(distance(&fresh.diff_gamma, &ref.diff_gamma, sums) < tolerance &&
                          distance(&fresh.diff_beta, &ref.diff_beta, sums) < tolerance,
                      "parameters, seed %d", (int)seed);
        if (train)
            for (int64_t i = 0; i < 2 * d.fields; i++) {
                const double a = ((double *)fast.saved)[i], e = ((double *)ref.saved)[i];
                ck_assert_msg(fabs(a - e) <= 1e-11 * (1 + fabs(e)), "saved, seed %d", (int)seed);
            }
        ck_assert_msg(laid_gaps_kept(&dst) && laid_gaps_kept(&diff_src), "gaps, seed %d",
                      (int)seed);
        for (int i = 0; i < 4; i++)
            laid_free(ctx, &in[i]);
        laid_free(ctx, &dst), laid_free(ctx, &diff_src);
        norm_free(&ref), norm_free(&fast), norm_free(&fresh);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(thread_count_changes_no_bit)
{
    equinv_context *const ctx[2] = {context_of_threads(1), context_new()};
    for (int k = 0; k < 2; k++)
        for (int train = 0; train < 2; train++) {
            norm b[2];
            for (int i = 0; i < 2; i++) {
                rng r = {11};
                equinv_batch_norm_desc d = EQUINV_BATCH_NORM_DESC_INIT;
                d.batch = 17, d.fields = 5, d.elements = 8, d.height = 5, d.width = 6;
                d.impl = impls[k];
                b[i] = norm_new(ctx[i], &r, &d);
                forward(&b[i], train), backward(&b[i], train);
            }
            ASSERT_SAME(&b[0].dst, &b[1].dst);
            ASSERT_SAME(&b[0].diff_src, &b[1].diff_src);
            ASSERT_SAME(&b[0].diff_gamma, &b[1].diff_gamma);
            ASSERT_SAME(&b[0].running_var, &b[1].running_var);
            norm_free(&b[0]), norm_free(&b[1]);
        }
    equinv_context_destroy(ctx[0]), equinv_context_destroy(ctx[1]);
}
END_TEST

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
    forward(&b, true);
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
    backward(&b, true);
    OK(equinv_batch_norm_backward_train(b.plan, &b.src, &b.gamma, &b.diff_dst, b.saved,
                                        b.saved_size, &dst, NULL, NULL, scratch, size));
    ASSERT_SAME(&b.diff_src, &dst);
    backward(&b, false);
    OK(equinv_batch_norm_backward_eval(b.plan, &b.src, &b.gamma, &b.running_mean, &b.running_var,
                                       &b.diff_dst, &dst, NULL, NULL, scratch, size));
    ASSERT_SAME(&b.diff_src, &dst);
    equinv_tensor_destroy(ctx, &dst);
    free(scratch);
    norm_free(&b);
    equinv_context_destroy(ctx);
}
END_TEST

/* ---- gradients ------------------------------------------------------------------------------- */

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
        forward(b, false);
    return tensor_dot(&b->dst, &b->diff_dst);
}

START_TEST(gradient_by_differences)
{
    equinv_context *const ctx = context_new();
    for (uint64_t seed = 0; seed < share_of(80); seed++) {
        rng r = {seed + 2000};
        equinv_batch_norm_desc d = random_desc(&r, EQUINV_F64);
        d.epsilon = 1e-2; /* fields of few values stay smooth */
        norm b = norm_new(ctx, &r, &d);
        probe q = {&b, seed % 2};
        forward(&b, q.train), backward(&b, q.train);
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
        forward(&once, train), backward(&once, train);
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
        backward(&twice, train);
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
        equinv_batch_norm_desc d = random_desc(&r, EQUINV_F64);
        d.epsilon = 1e-2;
        norm b = norm_new(ctx, &r, &d);
        probe q = {&b, seed % 2};
        const double step = q.train ? 1e-5 : 1;
        equinv_tensor v = tensor_like(ctx, &b.src), x = tensor_copy(ctx, &b.src);
        tensor_fill_random(&r, &v);
        forward(&b, q.train), backward(&b, q.train);
        for (int64_t i = 0; i < equinv_tensor_count(&v); i++)
            tensor_set(&b.src, i, tensor_get(&x, i) + step * tensor_get(&v, i));
        const double above = loss(&q);
        for (int64_t i = 0; i < equinv_tensor_count(&v); i++)
            tensor_set(&b.src, i, tensor_get(&x, i) - step * tensor_get(&v, i));
        const double left = (above - loss(&q)) / (2 * step);
        const double right = tensor_dot(&v, &b.diff_src);
        ck_assert_msg(fabs(left - right) <=
                          (q.train ? 1e-6 : 1e-12) * (double)count_of(&b) * (1 + fabs(right)),
                      "%g and %g, seed %d", left, right, (int)seed);
        equinv_tensor_destroy(ctx, &v), equinv_tensor_destroy(ctx, &x);
        norm_free(&b);
    }
    equinv_context_destroy(ctx);
}
END_TEST

/* ---- equivariance ---------------------------------------------------------------------------- */

START_TEST(commutes_with_the_action)
{
    static const equinv_group groups[] = {{EQUINV_GROUP_CYCLIC, 4},   {EQUINV_GROUP_DIHEDRAL, 4},
                                          {EQUINV_GROUP_DIHEDRAL, 1}, {EQUINV_GROUP_CYCLIC, 2},
                                          {EQUINV_GROUP_DIHEDRAL, 2}, {EQUINV_GROUP_CYCLIC, 1}};
    equinv_context *const ctx = context_new();
    for (uint64_t seed = 0; seed < share_of(ROUNDS); seed++) {
        rng r = {seed + 4000};
        const bool train = seed % 2;
        const equinv_group group = groups[rng_range(&r, 0, 5)];
        int32_t order;
        OK(equinv_group_order(group, &order));
        const int32_t g = (int32_t)rng_range(&r, 0, order - 1);
        equinv_batch_norm_desc d = random_desc(&r, seed % 3 ? EQUINV_F64 : EQUINV_F32);
        d.elements = rng_range(&r, 0, 3) ? order : 1;
        d.width = d.height; /* dst has src's shape whatever g does */
        norm b = norm_new(ctx, &r, &d), turned = norm_new(ctx, &r, &d);
        equinv_tensor *const vectors[] = {&b.gamma, &b.beta, &b.running_mean, &b.running_var};
        equinv_tensor *const copies[] = {&turned.gamma, &turned.beta, &turned.running_mean,
                                         &turned.running_var};
        for (int i = 0; i < 4; i++)
            OK(equinv_tensor_convert(ctx, vectors[i], 1.0, 0.0, copies[i]));
        OK(equinv_act(ctx, group, g, &b.src, &turned.src));
        forward(&b, train), forward(&turned, train);
        equinv_tensor after = tensor_like(ctx, &b.dst);
        OK(equinv_act(ctx, group, g, &b.dst, &after));
        const double tolerance = d.dtype == EQUINV_F64 ? 1e-12 : 1e-6;
        ck_assert_msg(distance(&turned.dst, &after, 1 + tensor_max_abs(&after)) < tolerance,
                      "dst, seed %d", (int)seed);
        ck_assert_msg(distance(&turned.running_mean, &b.running_mean, 1) < tolerance &&
                          distance(&turned.running_var, &b.running_var, 1) < tolerance,
                      "running, seed %d", (int)seed);
        equinv_tensor_destroy(ctx, &after);
        norm_free(&b), norm_free(&turned);
    }
    equinv_context_destroy(ctx);
}
END_TEST

/* ---- edges ----------------------------------------------------------------------------------- */

START_TEST(one_value_and_empty_batch)
{
    equinv_context *const ctx = context_new();
    for (int k = 0; k < 2; k++) {
        rng r = {17};
        equinv_batch_norm_desc d = EQUINV_BATCH_NORM_DESC_INIT;
        d.batch = d.fields = 1;
        d.impl = impls[k];
        norm one = norm_new(ctx, &r, &d);
        const double var = tensor_get(&one.running_var, 0);
        forward(&one, true), backward(&one, true);
        ck_assert(tensor_get(&one.dst, 0) == tensor_get(&one.beta, 0));
        ck_assert(fabs(tensor_get(&one.running_var, 0) - 0.9 * var) < 1e-7); /* biased: 0 */
        ck_assert(fabs(tensor_get(&one.diff_src, 0)) < 1e-4); /* gamma / sqrt(epsilon) is 316 */
        ck_assert(tensor_get(&one.diff_gamma, 0) == 0);
        ck_assert(tensor_get(&one.diff_beta, 0) == tensor_get(&one.diff_dst, 0));
        norm_free(&one);

        d.batch = 0, d.fields = 3, d.elements = 4;
        for (int accumulate = 0; accumulate < 2; accumulate++)
            for (int train = 0; train < 2; train++) {
                d.accumulate = accumulate;
                norm none = norm_new(ctx, &r, &d);
                equinv_tensor mean = tensor_copy(ctx, &none.running_mean);
                equinv_tensor gradient = tensor_copy(ctx, &none.diff_gamma);
                forward(&none, train), backward(&none, train);
                ASSERT_SAME(&none.running_mean, &mean);
                if (accumulate)
                    ASSERT_SAME(&none.diff_gamma, &gradient);
                else
                    ck_assert(tensor_max_abs(&none.diff_gamma) == 0 &&
                              tensor_max_abs(&none.diff_beta) == 0);
                equinv_tensor_destroy(ctx, &mean), equinv_tensor_destroy(ctx, &gradient);
                norm_free(&none);
            }
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(wrong_descriptions)
{
    equinv_context *const ctx = context_new();
    equinv_batch_norm_desc good = EQUINV_BATCH_NORM_DESC_INIT, d;
    good.batch = 2, good.fields = 3;
    equinv_plan *plan = NULL;
    FAILS(EQUINV_ERR_ARG, "ctx is NULL", equinv_batch_norm_plan_create(NULL, &good, &plan));
    FAILS(EQUINV_ERR_ARG, "desc is NULL", equinv_batch_norm_plan_create(ctx, NULL, &plan));
    FAILS(EQUINV_ERR_ARG, "plan is NULL", equinv_batch_norm_plan_create(ctx, &good, NULL));
#define REFUSED(status, word, ...)                                                                 \
    do {                                                                                           \
        d = good;                                                                                  \
        __VA_ARGS__;                                                                               \
        FAILS(status, word, equinv_batch_norm_plan_create(ctx, &d, &plan));                        \
    } while (0)
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
    ck_assert_ptr_null(plan);
    equinv_context_destroy(ctx);
}
END_TEST

static norm *b; /* of the table below */

enum { SRC, GAMMA, BETA, MEAN, VAR, DIFF_DST, DST, DIFF_SRC, DIFF_GAMMA, DIFF_BETA, ARGUMENTS };

static const char *const names[ARGUMENTS] = {"src",         "gamma",    "beta", "running_mean",
                                             "running_var", "diff_dst", "dst",  "diff_src",
                                             "diff_gamma",  "diff_beta"};

typedef equinv_status call(const equinv_tensor *const t[ARGUMENTS]);

static equinv_status train_forward(const equinv_tensor *const t[ARGUMENTS])
{
    return equinv_batch_norm_forward_train(b->plan, t[SRC], t[GAMMA], t[BETA], t[MEAN], t[VAR],
                                           t[DST], b->saved, b->saved_size, NULL, 0);
}

static equinv_status eval_forward(const equinv_tensor *const t[ARGUMENTS])
{
    return equinv_batch_norm_forward_eval(b->plan, t[SRC], t[GAMMA], t[BETA], t[MEAN], t[VAR],
                                          t[DST], NULL, 0);
}

static equinv_status train_backward(const equinv_tensor *const t[ARGUMENTS])
{
    return equinv_batch_norm_backward_train(b->plan, t[SRC], t[GAMMA], t[DIFF_DST], b->saved,
                                            b->saved_size, t[DIFF_SRC], t[DIFF_GAMMA], t[DIFF_BETA],
                                            NULL, 0);
}

static equinv_status eval_backward(const equinv_tensor *const t[ARGUMENTS])
{
    return equinv_batch_norm_backward_eval(b->plan, t[SRC], t[GAMMA], t[MEAN], t[VAR], t[DIFF_DST],
                                           t[DIFF_SRC], t[DIFF_GAMMA], t[DIFF_BETA], NULL, 0);
}

#define BIT(a) (1 << (a))

static const struct {
    call *run;
    int used, outputs, optional;
} calls[] = {
    {train_forward, BIT(SRC) | BIT(GAMMA) | BIT(BETA) | BIT(MEAN) | BIT(VAR) | BIT(DST),
     BIT(MEAN) | BIT(VAR) | BIT(DST), 0},
    {eval_forward, BIT(SRC) | BIT(GAMMA) | BIT(BETA) | BIT(MEAN) | BIT(VAR) | BIT(DST), BIT(DST),
     0},
    {train_backward,
     BIT(SRC) | BIT(GAMMA) | BIT(DIFF_DST) | BIT(DIFF_SRC) | BIT(DIFF_GAMMA) | BIT(DIFF_BETA),
     BIT(DIFF_SRC) | BIT(DIFF_GAMMA) | BIT(DIFF_BETA), BIT(DIFF_GAMMA) | BIT(DIFF_BETA)},
    {eval_backward,
     BIT(SRC) | BIT(GAMMA) | BIT(MEAN) | BIT(VAR) | BIT(DIFF_DST) | BIT(DIFF_SRC) |
         BIT(DIFF_GAMMA) | BIT(DIFF_BETA),
     BIT(DIFF_SRC) | BIT(DIFF_GAMMA) | BIT(DIFF_BETA), BIT(DIFF_GAMMA) | BIT(DIFF_BETA)},
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
    b = &n;
    const equinv_tensor *const good[ARGUMENTS] = {
        &n.src,      &n.gamma, &n.beta,     &n.running_mean, &n.running_var,
        &n.diff_dst, &n.dst,   &n.diff_src, &n.diff_gamma,   &n.diff_beta};
    const equinv_tensor *t[ARGUMENTS];
    equinv_tensor before[ARGUMENTS];
    for (int i = 0; i < ARGUMENTS; i++)
        before[i] = tensor_copy(ctx, good[i]);
    for (int c = 0; c < CALLS; c++)
        for (int i = 0; i < ARGUMENTS; i++) {
            if (!(calls[c].used & BIT(i)))
                continue;
            equinv_tensor bad = *good[i];
            memcpy(t, good, sizeof t);
            t[i] = &bad;
#define WITH(status, word, ...)                                                                    \
    do {                                                                                           \
        bad = *good[i];                                                                            \
        __VA_ARGS__;                                                                               \
        FAILS(status, names[i], calls[c].run(t));                                                  \
        FAILS(status, word, calls[c].run(t));                                                      \
    } while (0)
            WITH(EQUINV_ERR_DEVICE, "device", bad.device.index = 1);
            WITH(EQUINV_ERR_DTYPE, "f32", bad.dtype = EQUINV_U32);
            WITH(EQUINV_ERR_DTYPE, "f64, expected f32", bad.dtype = EQUINV_F64);
            WITH(EQUINV_ERR_SHAPE, "shape", bad.ndim = 3, bad.shape[1] = bad.shape[2] = 1);
            WITH(EQUINV_ERR_SHAPE, "ndim -1", bad.ndim = -1);
            WITH(EQUINV_ERR_SHAPE, "shape", bad.shape[bad.ndim - 1]--);
            WITH(EQUINV_ERR_SHAPE, "extent -4", bad.shape[0] = -4);
            WITH(EQUINV_ERR_SHAPE, "strides", bad.strides[0] = INT64_MIN / 2);
            WITH(EQUINV_ERR_ARG, "data NULL", bad.data = NULL);
            if (calls[c].outputs & BIT(i))
                WITH(EQUINV_ERR_SHAPE, "stride 0", bad.strides[0] = 0);
            for (int k = 0; k < ARGUMENTS; k++)
                if (k != i && (calls[c].outputs & BIT(i)) && (calls[c].used & BIT(k)))
                    WITH(EQUINV_ERR_ARG, "overlaps",
                         bad.data = (char *)good[k]->data + sizeof(float));
            t[i] = NULL;
            if (!(calls[c].optional & BIT(i)))
                FAILS(EQUINV_ERR_ARG, names[i], calls[c].run(t));
#undef WITH
        }
    for (int i = 0; i < ARGUMENTS; i++) {
        ASSERT_SAME(good[i], &before[i]);
        equinv_tensor_destroy(ctx, &before[i]);
    }
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
        FAILS(EQUINV_ERR_ARG, "plan is NULL", calls[c].run(good));
    equinv_pool_desc pool = EQUINV_POOL_DESC_INIT;
    pool.batch = pool.fields = 1, pool.height = pool.width = 2;
    OK(equinv_pool_plan_create(ctx, &pool, &n.plan));
    for (int c = 0; c < CALLS; c++)
        FAILS(EQUINV_ERR_ARG, "another operation", calls[c].run(good));
    equinv_plan_destroy(n.plan);
    n.plan = plan;
    norm_free(&n);
    equinv_context_destroy(ctx);
}
END_TEST

static equinv_status make_plan(equinv_context *ctx, void *arg)
{
    equinv_plan *plan = NULL;
    const equinv_status status = equinv_batch_norm_plan_create(ctx, arg, &plan);
    ck_assert(!plan == (status != EQUINV_OK));
    equinv_plan_destroy(plan);
    return status;
}

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
        {training_normalises_and_keeps_statistics, 1},
        {evaluation_uses_the_running_statistics, 1},
        {large_mean_keeps_the_variance, 1},
        {nan_stays_in_its_field_and_in_evaluation_at_its_place, 1},
        {fast_equals_ref, TEST_LEVELS},
        {thread_count_changes_no_bit, 1},
        {scratch_and_joined_channels, 1},
        {gradient_by_differences, 1},
        {accumulate_adds_to_the_parameter_gradients, 1},
        {backward_is_the_adjoint, 1},
        {commutes_with_the_action, 1},
        {one_value_and_empty_batch, 1},
        {wrong_descriptions, 1},
        {wrong_arguments, 1},
        {allocation_failures, 1},
    };
    return run_tests("batch_norm", tests, sizeof tests / sizeof *tests);
}
