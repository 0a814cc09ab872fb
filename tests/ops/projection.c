/* Projections of C_n and D_n: the definition, invariance, linearity, gradients, batches. */
#include "internal/projection.h"
#include "tests/ops/projection_cases.h"

/* ---- values --------------------------------------------------------------------------------- */

START_TEST(equals_the_definition)
{
    rng r = {UINT64_C(100) + (uint64_t)_i};
    equinv_context *ctx = context_new();
    for (int trial = 0; trial < 2 * GROUP_CASES; trial++) {
        const group_case c = group_cases[trial % GROUP_CASES];
        equinv_projection_desc d = desc_of(orbit_kinds[_i / 2], c, EQUINV_F64, rng_range(&r, 1, 3),
                                           rng_range(&r, 1, 6), rng_next(&r));
        d.scaled = trial % 3 == 0;
        d.templates = trial % 4 == 1 ? EQUINV_TEMPLATE_RADEMACHER : EQUINV_TEMPLATE_GAUSSIAN;
        d.impl = implementations[_i % 2];
        equinv_projection *p = projection_new(ctx, &d);
        equinv_tensor z = latents_of(ctx, &r, &d, rng_range(&r, 1, 4));
        equinv_tensor codes = project(ctx, p, &z, NULL);
        equinv_tensor expected = project_by_action(ctx, p, &d, &z);
        ASSERT_CLOSE(&codes, &expected, 1e-13);
        equinv_tensor_destroy(ctx, &z);
        equinv_tensor_destroy(ctx, &codes);
        equinv_tensor_destroy(ctx, &expected);
        equinv_projection_destroy(p);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(invariant_under_every_element)
{
    rng r = {UINT64_C(200) + (uint64_t)_i};
    equinv_context *ctx = context_new();
    const equinv_projection_kind kind = orbit_kinds[_i / 2];
    for (int trial = 0; trial < GROUP_CASES; trial++) {
        const group_case c = group_cases[trial];
        const equinv_dtype dtype = trial % 2 ? EQUINV_F32 : EQUINV_F64;
        equinv_projection_desc d =
            desc_of(kind, c, dtype, rng_range(&r, 1, 3), rng_range(&r, 1, 6), rng_next(&r));
        d.impl = implementations[_i % 2];
        const int32_t order = order_of(d.group);
        equinv_projection *p = projection_new(ctx, &d);
        equinv_tensor z = latents_of(ctx, &r, &d, 3);
        equinv_tensor codes = project(ctx, p, &z, NULL);
        for (int32_t g = 0; g < order; g++) {
            equinv_tensor moved = acted(ctx, d.group, g, &z);
            equinv_tensor again = project(ctx, p, &moved, NULL);
            if (kind == EQUINV_PROJECT_ORBIT) {
                /* <w, h (g z)> is the number at h g of z's orbit. */
                for (int64_t i = 0; i < 3 * d.k; i++)
                    for (int32_t h = 0; h < order; h++) {
                        int32_t hg;
                        OK(equinv_group_product(d.group, h, g, &hg));
                        const double difference =
                            tensor_get(&again, i * order + h) - tensor_get(&codes, i * order + hg);
                        ck_assert(fabs(difference) <
                                  (dtype == EQUINV_F64 ? 1e-12 : 1e-5) * tensor_max_abs(&codes));
                    }
            } else {
                ASSERT_CLOSE(&again, &codes, dtype == EQUINV_F64 ? 2e-14 : 5e-6);
            }
            equinv_tensor_destroy(ctx, &moved);
            equinv_tensor_destroy(ctx, &again);
        }
        equinv_tensor_destroy(ctx, &z);
        equinv_tensor_destroy(ctx, &codes);
        equinv_projection_destroy(p);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(linear_kinds_are_linear)
{
    static const equinv_projection_kind linear[] = {EQUINV_PROJECT_LINEAR, EQUINV_PROJECT_MEAN,
                                                    EQUINV_PROJECT_ORBIT};
    rng r = {UINT64_C(300) + (uint64_t)_i};
    equinv_context *ctx = context_new();
    for (int trial = 0; trial < 40; trial++) {
        equinv_projection_desc d =
            desc_of(linear[_i / 2], group_cases[trial % GROUP_CASES], EQUINV_F64,
                    rng_range(&r, 1, 3), rng_range(&r, 1, 6), rng_next(&r));
        d.impl = implementations[_i % 2];
        equinv_projection *p = projection_new(ctx, &d);
        equinv_tensor x = latents_of(ctx, &r, &d, 3), y = latents_of(ctx, &r, &d, 3);
        equinv_tensor sum = tensor_like(ctx, &x);
        const double a = rng_uniform(&r), b = rng_uniform(&r);
        for (int64_t i = 0; i < equinv_tensor_count(&x); i++)
            tensor_set(&sum, i, a * tensor_get(&x, i) + b * tensor_get(&y, i));
        equinv_tensor px = project(ctx, p, &x, NULL), py = project(ctx, p, &y, NULL);
        equinv_tensor psum = project(ctx, p, &sum, NULL);
        for (int64_t i = 0; i < equinv_tensor_count(&px); i++)
            tensor_set(&px, i, a * tensor_get(&px, i) + b * tensor_get(&py, i));
        ASSERT_CLOSE(&psum, &px, 1e-13 * fmax(1, 1 / fmax(1e-3, tensor_max_abs(&px))));
        equinv_tensor_destroy(ctx, &x);
        equinv_tensor_destroy(ctx, &y);
        equinv_tensor_destroy(ctx, &sum);
        equinv_tensor_destroy(ctx, &px);
        equinv_tensor_destroy(ctx, &py);
        equinv_tensor_destroy(ctx, &psum);
        equinv_projection_destroy(p);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(linear_is_the_product_with_the_orbit_mean)
{
    rng r = {400};
    equinv_context *ctx = context_new();
    for (int trial = 0; trial < 2 * GROUP_CASES; trial++) {
        equinv_projection_desc d = desc_of(trial % 2 ? EQUINV_PROJECT_LINEAR : EQUINV_PROJECT_MEAN,
                                           group_cases[trial / 2], EQUINV_F64, 2, 5, rng_next(&r));
        d.impl = implementations[_i];
        equinv_projection *p = projection_new(ctx, &d);
        equinv_tensor z = latents_of(ctx, &r, &d, 4), mean = tensor_like(ctx, &z), w;
        OK(equinv_orbit_mean(ctx, d.group, &z, &mean));
        OK(equinv_projection_templates(p, &w));
        equinv_tensor codes = project(ctx, p, &z, NULL), expected = tensor_like(ctx, &codes);
        const int64_t dimension = equinv_tensor_count(&z) / 4;
        for (int64_t i = 0; i < 20; i++) {
            double sum = 0;
            for (int64_t c = 0; c < dimension; c++)
                sum += tensor_get(&w, i % 5 * dimension + c) *
                       tensor_get(&mean, i / 5 * dimension + c);
            tensor_set(&expected, i, sum);
        }
        ASSERT_CLOSE(&codes, &expected, 1e-13);
        equinv_tensor_destroy(ctx, &z);
        equinv_tensor_destroy(ctx, &mean);
        equinv_tensor_destroy(ctx, &codes);
        equinv_tensor_destroy(ctx, &expected);
        equinv_projection_destroy(p);
    }
    equinv_context_destroy(ctx);
}
END_TEST

/* ---- gradients ------------------------------------------------------------------------------ */

static double objective(equinv_context *ctx, const equinv_projection *p, const equinv_tensor *z,
                        const equinv_tensor *mask, const equinv_tensor *weights)
{
    equinv_tensor codes = project(ctx, p, z, mask);
    const double value = tensor_dot(&codes, weights);
    equinv_tensor_destroy(ctx, &codes);
    return value;
}

START_TEST(gradients_equal_finite_differences)
{
    rng r = {UINT64_C(500) + (uint64_t)_i};
    equinv_context *ctx = context_new();
    const equinv_projection_kind kind = orbit_kinds[_i / 2];
    for (int trial = 0; trial < GROUP_CASES; trial++) {
        equinv_projection_desc d = desc_of(kind, group_cases[trial], EQUINV_F64,
                                           rng_range(&r, 1, 2), rng_range(&r, 1, 4), rng_next(&r));
        d.impl = implementations[_i % 2];
        d.scaled = trial % 2;
        equinv_projection *p = projection_new(ctx, &d);
        equinv_tensor z = latents_of(ctx, &r, &d, 2);
        equinv_tensor codes = codes_of(ctx, p, EQUINV_F64, 2), saved = saved_of(ctx, p, 2);
        equinv_tensor weights = tensor_like(ctx, &codes), gradient = tensor_like(ctx, &z);
        tensor_fill_random(&r, &weights);
        OK(equinv_project_forward(p, &z, NULL, &codes, saved.data, size_of(&saved), NULL, 0));
        OK(equinv_project_backward(p, &weights, NULL, saved.data, size_of(&saved), &gradient, NULL,
                                   0));
        /* Inner products of random data stay further than the step from every kink. */
        const bool curved = kind == EQUINV_PROJECT_MEAN_SQUARE || kind == EQUINV_PROJECT_MOMENT3;
        const double step = kind == EQUINV_PROJECT_MOMENT3 ? 1e-5 : curved ? 1e-4 : 1e-6;
        for (int64_t i = 0; i < equinv_tensor_count(&z); i++) {
            const double at = tensor_get(&z, i);
            tensor_set(&z, i, at + step);
            const double up = objective(ctx, p, &z, NULL, &weights);
            tensor_set(&z, i, at - step);
            const double down = objective(ctx, p, &z, NULL, &weights);
            tensor_set(&z, i, at);
            const double slope = (up - down) / (2 * step);
            ck_assert_msg(
                fabs(slope - tensor_get(&gradient, i)) < 1e-7 * fmax(1, tensor_max_abs(&gradient)),
                "kind %d trial %d seed %llu coordinate %lld: %g, expected %g", (int)kind, trial,
                (unsigned long long)d.seed, (long long)i, tensor_get(&gradient, i), slope);
        }
        equinv_tensor_destroy(ctx, &z);
        equinv_tensor_destroy(ctx, &codes);
        equinv_tensor_destroy(ctx, &saved);
        equinv_tensor_destroy(ctx, &weights);
        equinv_tensor_destroy(ctx, &gradient);
        equinv_projection_destroy(p);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(backward_of_linear_kinds_is_the_adjoint)
{
    static const equinv_projection_kind linear[] = {EQUINV_PROJECT_LINEAR, EQUINV_PROJECT_MEAN,
                                                    EQUINV_PROJECT_ORBIT};
    rng r = {UINT64_C(600) + (uint64_t)_i};
    equinv_context *ctx = context_new();
    for (int trial = 0; trial < 200; trial++) {
        equinv_projection_desc d =
            desc_of(linear[trial % 3], group_cases[trial % GROUP_CASES], EQUINV_F64,
                    rng_range(&r, 1, 3), rng_range(&r, 1, 9), rng_next(&r));
        d.impl = implementations[_i];
        d.scaled = trial % 2;
        const int64_t batch = rng_range(&r, 1, 4);
        equinv_projection *p = projection_new(ctx, &d);
        equinv_tensor x = latents_of(ctx, &r, &d, batch), adjoint = tensor_like(ctx, &x);
        equinv_tensor ax = project(ctx, p, &x, NULL), y = tensor_like(ctx, &ax);
        tensor_fill_random(&r, &y);
        OK(equinv_project_backward(p, &y, NULL, NULL, 0, &adjoint, NULL, 0));
        const double left = tensor_dot(&ax, &y), right = tensor_dot(&x, &adjoint);
        ck_assert_msg(fabs(left - right) < 1e-11 * (1 + fabs(left)), "trial %d: %.15g and %.15g",
                      trial, left, right);
        equinv_tensor_destroy(ctx, &x);
        equinv_tensor_destroy(ctx, &adjoint);
        equinv_tensor_destroy(ctx, &ax);
        equinv_tensor_destroy(ctx, &y);
        equinv_projection_destroy(p);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(accumulate_adds_to_the_gradient)
{
    rng r = {UINT64_C(700) + (uint64_t)_i};
    equinv_context *ctx = context_new();
    for (int kind = 0; kind < ORBIT_KINDS; kind++) {
        equinv_projection_desc d =
            desc_of(orbit_kinds[kind], group_cases[12], EQUINV_F64, 2, 3, rng_next(&r));
        d.impl = implementations[_i];
        equinv_projection *p = projection_new(ctx, &d), *adding;
        d.accumulate = true;
        adding = projection_new(ctx, &d);
        equinv_tensor z = latents_of(ctx, &r, &d, 3);
        equinv_tensor codes = codes_of(ctx, p, EQUINV_F64, 3), saved = saved_of(ctx, p, 3);
        equinv_tensor first = tensor_like(ctx, &z), second = latents_of(ctx, &r, &d, 3);
        equinv_tensor expected = tensor_like(ctx, &z);
        OK(equinv_project_forward(p, &z, NULL, &codes, saved.data, size_of(&saved), NULL, 0));
        OK(equinv_project_backward(p, &codes, NULL, saved.data, size_of(&saved), &first, NULL, 0));
        for (int64_t i = 0; i < equinv_tensor_count(&z); i++)
            tensor_set(&expected, i, tensor_get(&first, i) + tensor_get(&second, i));
        OK(equinv_project_backward(adding, &codes, NULL, saved.data, size_of(&saved), &second, NULL,
                                   0));
        ASSERT_CLOSE(&second, &expected, 1e-14);
        equinv_tensor_destroy(ctx, &z);
        equinv_tensor_destroy(ctx, &codes);
        equinv_tensor_destroy(ctx, &saved);
        equinv_tensor_destroy(ctx, &first);
        equinv_tensor_destroy(ctx, &second);
        equinv_tensor_destroy(ctx, &expected);
        equinv_projection_destroy(p);
        equinv_projection_destroy(adding);
    }
    equinv_context_destroy(ctx);
}
END_TEST

/* ---- batches, strides ----------------------------------------------------------------------- */

START_TEST(bits_do_not_depend_on_the_batch_or_threads)
{
    rng r = {UINT64_C(900) + (uint64_t)_i};
    equinv_context *const contexts[2] = {context_of_threads(1), context_of_threads(2)};
    equinv_context *const ctx = contexts[0];
    for (int trial = 0; trial < 2 * ORBIT_KINDS; trial++) {
        const int64_t rows_of_all = _i % 2 ? 301 : 9; /* ref is slow, and one row at a time */
        const group_case c = group_cases[rng_range(&r, 0, GROUP_CASES - 1)];
        equinv_projection_desc d =
            desc_of(orbit_kinds[trial % ORBIT_KINDS], c, _i / 2 ? EQUINV_F64 : EQUINV_F32,
                    rng_range(&r, 1, 3), rng_range(&r, 1, 12), rng_next(&r));
        d.impl = implementations[_i % 2];
        equinv_projection *p = projection_new(ctx, &d);
        equinv_tensor z = latents_of(ctx, &r, &d, rows_of_all);
        equinv_tensor codes = codes_of(ctx, p, d.dtype, rows_of_all),
                      saved = saved_of(ctx, p, rows_of_all);
        equinv_tensor diff = tensor_like(ctx, &z);
        OK(equinv_project_forward(p, &z, NULL, &codes, saved.data, size_of(&saved), NULL, 0));
        OK(equinv_project_backward(p, &codes, NULL, saved.data, size_of(&saved), &diff, NULL, 0));
        for (int part = 0; part < 8; part++) {
            const int64_t first = rng_range(&r, 0, rows_of_all - 1);
            const int64_t count =
                part < 4 ? 1 : rng_range(&r, 1, rows_of_all - first); /* single rows, then blocks */
            equinv_context *const other = contexts[part % 2];
            equinv_projection *q = projection_new(other, &d);
            equinv_tensor rows, expected, expected_diff;
            OK(equinv_tensor_rows(&z, first, count, &rows));
            OK(equinv_tensor_rows(&codes, first, count, &expected));
            OK(equinv_tensor_rows(&diff, first, count, &expected_diff));
            equinv_tensor some = codes_of(other, q, d.dtype, count);
            equinv_tensor keep = saved_of(other, q, count), back = tensor_like(other, &rows);
            OK(equinv_project_forward(q, &rows, NULL, &some, keep.data, size_of(&keep), NULL, 0));
            ASSERT_SAME(&some, &expected);
            OK(equinv_project_backward(q, &some, NULL, keep.data, size_of(&keep), &back, NULL, 0));
            ASSERT_SAME(&back, &expected_diff);
            equinv_tensor_destroy(other, &some);
            equinv_tensor_destroy(other, &keep);
            equinv_tensor_destroy(other, &back);
            equinv_projection_destroy(q);
        }
        equinv_tensor_destroy(ctx, &z);
        equinv_tensor_destroy(ctx, &codes);
        equinv_tensor_destroy(ctx, &saved);
        equinv_tensor_destroy(ctx, &diff);
        equinv_projection_destroy(p);
    }
    for (int t = 0; t < 2; t++)
        equinv_context_destroy(contexts[t]);
}
END_TEST

START_TEST(any_strides_and_flat_views)
{
    rng r = {UINT64_C(1000) + (uint64_t)_i};
    equinv_context *ctx = context_new();
    for (int trial = 0; trial < 200; trial++) {
        const group_case c = group_cases[rng_range(&r, 0, GROUP_CASES - 1)];
        equinv_projection_desc d =
            desc_of(orbit_kinds[trial % ORBIT_KINDS], c, trial % 3 ? EQUINV_F64 : EQUINV_F32,
                    rng_range(&r, 1, 3), rng_range(&r, 1, 6), rng_next(&r));
        d.impl = implementations[_i];
        const int64_t batch = rng_range(&r, 1, 5);
        equinv_projection *p = projection_new(ctx, &d);
        equinv_tensor z = latents_of(ctx, &r, &d, batch), z_storage, codes_storage, diff_storage;
        equinv_tensor codes = codes_of(ctx, p, d.dtype, batch), saved = saved_of(ctx, p, batch);
        equinv_tensor diff = tensor_like(ctx, &z);
        equinv_tensor zs = tensor_strided_copy(ctx, &r, &z, &z_storage);
        equinv_tensor codes_s = tensor_strided_copy(ctx, &r, &codes, &codes_storage);
        equinv_tensor diff_s = tensor_strided_copy(ctx, &r, &diff, &diff_storage);
        OK(equinv_project_forward(p, &z, NULL, &codes, NULL, 0, NULL, 0));
        OK(equinv_project_forward(p, &zs, NULL, &codes_s, saved.data, size_of(&saved), NULL, 0));
        ASSERT_SAME(&codes, &codes_s);
        OK(equinv_project_backward(p, &codes, NULL, saved.data, size_of(&saved), &diff, NULL, 0));
        OK(equinv_project_backward(p, &codes_s, NULL, saved.data, size_of(&saved), &diff_s, NULL,
                                   0));
        ASSERT_SAME(&diff, &diff_s);
        if (d.height * d.width == 1) { /* [N, D] */
            equinv_tensor flat;
            OK(equinv_tensor_init(z.data, d.dtype, 2,
                                  (int64_t[]){batch, d.fields * order_of(d.group)}, &flat));
            OK(equinv_project_forward(p, &flat, NULL, &codes_s, NULL, 0, NULL, 0));
            ASSERT_SAME(&codes, &codes_s);
        }
        equinv_tensor_destroy(ctx, &z);
        equinv_tensor_destroy(ctx, &codes);
        equinv_tensor_destroy(ctx, &saved);
        equinv_tensor_destroy(ctx, &diff);
        equinv_tensor_destroy(ctx, &z_storage);
        equinv_tensor_destroy(ctx, &codes_storage);
        equinv_tensor_destroy(ctx, &diff_storage);
        equinv_projection_destroy(p);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(reversed_and_broadcast_latents)
{
    rng r = {1100};
    equinv_context *ctx = context_new();
    equinv_projection_desc d =
        desc_of(EQUINV_PROJECT_MAX, group_cases[12], EQUINV_F64, 2, 4, rng_next(&r));
    d.impl = implementations[_i];
    equinv_projection *p = projection_new(ctx, &d);
    equinv_tensor z = latents_of(ctx, &r, &d, 3), codes = project(ctx, p, &z, NULL);
    equinv_tensor backwards = z, repeated = z, got = tensor_like(ctx, &codes);
    backwards.data = (double *)z.data + 2 * z.strides[0];
    backwards.strides[0] = -z.strides[0];
    OK(equinv_project_forward(p, &backwards, NULL, &got, NULL, 0, NULL, 0));
    for (int64_t i = 0; i < 12; i++)
        ck_assert(tensor_get(&got, i) == tensor_get(&codes, (2 - i / 4) * 4 + i % 4));
    repeated.strides[0] = 0;
    OK(equinv_project_forward(p, &repeated, NULL, &got, NULL, 0, NULL, 0));
    for (int64_t i = 0; i < 12; i++)
        ck_assert(tensor_get(&got, i) == tensor_get(&codes, i % 4));
    equinv_tensor_destroy(ctx, &z);
    equinv_tensor_destroy(ctx, &codes);
    equinv_tensor_destroy(ctx, &got);
    equinv_projection_destroy(p);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(empty_batches)
{
    rng r = {1200};
    equinv_context *ctx = context_new();
    for (int kind = 0; kind < ORBIT_KINDS; kind++) {
        equinv_projection_desc d = desc_of(orbit_kinds[kind], group_cases[4], EQUINV_F32, 2, 4, 1);
        d.impl = implementations[_i];
        equinv_projection *p = projection_new(ctx, &d);
        equinv_tensor z = latents_of(ctx, &r, &d, 0), codes = codes_of(ctx, p, d.dtype, 0);
        ck_assert_int_eq(equinv_projection_saved_size(p, 0), 0);
        OK(equinv_project_forward(p, &z, NULL, &codes, NULL, 0, NULL, 0));
        OK(equinv_project_backward(p, &codes, NULL, NULL, 0, &z, NULL, 0));
        equinv_tensor_destroy(ctx, &z);
        equinv_tensor_destroy(ctx, &codes);
        equinv_projection_destroy(p);
    }
    equinv_context_destroy(ctx);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {equals_the_definition, 2 * ORBIT_KINDS},
        {invariant_under_every_element, 2 * ORBIT_KINDS},
        {linear_kinds_are_linear, 6},
        {linear_is_the_product_with_the_orbit_mean, 2},
        {gradients_equal_finite_differences, 2 * ORBIT_KINDS},
        {backward_of_linear_kinds_is_the_adjoint, 2},
        {accumulate_adds_to_the_gradient, 2},
        {bits_do_not_depend_on_the_batch_or_threads, 4},
        {any_strides_and_flat_views, 2},
        {reversed_and_broadcast_latents, 2},
        {empty_batches, 2},
    };
    return run_tests("projection", tests, sizeof tests / sizeof *tests);
}
