/* Batch normalisation: statistics, both modes, every implementation, equivariance. */
#include <math.h>

#include "tests/util/batch_norm.h"

enum { ROUNDS = 250 };

static const char *const impls[] = {"fast", "ref"};

static void mean_and_var(const norm *b, const equinv_tensor *t, int64_t f, double *mean,
                         double *var)
{
    const int64_t count = norm_count(b);
    *mean = *var = 0;
    for (int64_t i = 0; i < count; i++)
        *mean += tensor_get(t, norm_index(b, f, i)) / (double)count;
    for (int64_t i = 0; i < count; i++) {
        const double d = tensor_get(t, norm_index(b, f, i)) - *mean;
        *var += d * d / (double)count;
    }
}

/* ---- values ---------------------------------------------------------------------------------- */

START_TEST(training_normalises_and_keeps_statistics)
{
    equinv_context *const ctx = context_new();
    for (uint64_t seed = 0; seed < share_of(ROUNDS); seed++) {
        rng r = {seed};
        equinv_batch_norm_desc d = norm_random_desc(&r, EQUINV_F64);
        d.momentum = (double)rng_range(&r, 0, 4) / 4;
        norm b = norm_new(ctx, &r, &d);
        equinv_tensor mean = tensor_copy(ctx, &b.running_mean);
        equinv_tensor var = tensor_copy(ctx, &b.running_var);
        norm_forward(&b, true);
        const int64_t count = norm_count(&b);
        for (int64_t f = 0; f < d.fields; f++) {
            double m, v;
            mean_and_var(&b, &b.src, f, &m, &v);
            const double unbiased = count > 1 ? v * (double)count / (double)(count - 1) : v;
            for (int64_t i = 0; i < count; i++) {
                const double x = tensor_get(&b.src, norm_index(&b, f, i));
                const double expected = tensor_get(&b.gamma, f) * (x - m) / sqrt(v + d.epsilon) +
                                        tensor_get(&b.beta, f);
                ck_assert_msg(fabs(tensor_get(&b.dst, norm_index(&b, f, i)) - expected) < 1e-12,
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
        equinv_batch_norm_desc d = norm_random_desc(&r, seed % 2 ? EQUINV_F64 : EQUINV_F32);
        norm b = norm_new(ctx, &r, &d);
        equinv_tensor mean = tensor_copy(ctx, &b.running_mean);
        norm_forward(&b, false);
        for (int64_t f = 0; f < d.fields; f++)
            for (int64_t i = 0; i < norm_count(&b); i++) {
                const double x = tensor_get(&b.src, norm_index(&b, f, i));
                const double expected = tensor_get(&b.gamma, f) * (x - tensor_get(&mean, f)) /
                                            sqrt(tensor_get(&b.running_var, f) + d.epsilon) +
                                        tensor_get(&b.beta, f);
                ck_assert_msg(fabs(tensor_get(&b.dst, norm_index(&b, f, i)) - expected) <
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
            norm_forward(&b, true), norm_backward(&b, true);
            norm_forward(&exact, true), norm_backward(&exact, true);
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
        const int64_t nan_at = norm_index(&b, 1, 123), inf_at = norm_index(&b, 2, 44);
        tensor_set(&b.src, nan_at, (double)NAN);
        tensor_set(&b.src, inf_at, -(double)INFINITY);
        norm_forward(&b, false);
        for (int64_t i = 0; i < equinv_tensor_count(&b.dst); i++) {
            const double value = tensor_get(&b.dst, i);
            ck_assert(i == nan_at ? isnan(value) : i == inf_at ? isinf(value) : isfinite(value));
        }
        norm_forward(&b, true);
        for (int64_t f = 0; f < 3; f++)
            for (int64_t i = 0; i < norm_count(&b); i++)
                ck_assert(isfinite(tensor_get(&b.dst, norm_index(&b, f, i))) == (f == 0));
        norm_free(&b);
    }
    equinv_context_destroy(ctx);
}
END_TEST

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
        norm_forward(&one, true), norm_backward(&one, true);
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
                norm_forward(&none, train), norm_backward(&none, train);
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
        equinv_batch_norm_desc d = norm_random_desc(&r, EQUINV_F32);
        d.accumulate = rng_range(&r, 0, 1);
        d.impl = "ref";
        norm ref = norm_new(ctx, &r, &d);
        same = (rng){seed + 5000};
        tensor_fill_random(&same, &ref.src);
        norm_forward(&ref, train), norm_backward(&ref, train);
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
        norm_random_desc(&again, EQUINV_F32), rng_range(&again, 0, 1);
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
        const double sums = (double)norm_count(&ref);
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
                norm_forward(&b[i], train), norm_backward(&b[i], train);
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
        equinv_batch_norm_desc d = norm_random_desc(&r, seed % 3 ? EQUINV_F64 : EQUINV_F32);
        d.elements = rng_range(&r, 0, 3) ? order : 1;
        d.width = d.height; /* dst has src's shape whatever g does */
        norm b = norm_new(ctx, &r, &d), turned = norm_new(ctx, &r, &d);
        equinv_tensor *const vectors[] = {&b.gamma, &b.beta, &b.running_mean, &b.running_var};
        equinv_tensor *const copies[] = {&turned.gamma, &turned.beta, &turned.running_mean,
                                         &turned.running_var};
        for (int i = 0; i < 4; i++)
            OK(equinv_tensor_convert(ctx, vectors[i], 1.0, 0.0, copies[i]));
        OK(equinv_act(ctx, group, g, &b.src, &turned.src));
        norm_forward(&b, train), norm_forward(&turned, train);
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

int main(void)
{
    const test_entry tests[] = {
        {training_normalises_and_keeps_statistics, 1},
        {evaluation_uses_the_running_statistics, 1},
        {large_mean_keeps_the_variance, 1},
        {nan_stays_in_its_field_and_in_evaluation_at_its_place, 1},
        {fast_equals_ref, TEST_LEVELS},
        {thread_count_changes_no_bit, 1},
        {commutes_with_the_action, 1},
        {one_value_and_empty_batch, 1},
    };
    return run_tests("batch_norm", tests, sizeof tests / sizeof *tests);
}
