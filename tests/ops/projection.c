/* Projections of C_n and D_n: the definition, invariance, linearity, gradients, templates. */
#include "internal/projection.h"
#include "tests/ops/projection_cases.h"

static equinv_projection *create(equinv_context *ctx, const equinv_projection_desc *d)
{
    equinv_projection *p = NULL;
    OK(equinv_projection_create(ctx, d, &p));
    return p;
}

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
        equinv_projection *p = create(ctx, &d);
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
        equinv_projection *p = create(ctx, &d);
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
        equinv_projection *p = create(ctx, &d);
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
        equinv_projection *p = create(ctx, &d);
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
        equinv_projection *p = create(ctx, &d);
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
        equinv_projection *p = create(ctx, &d);
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
        equinv_projection *p = create(ctx, &d), *adding;
        d.accumulate = true;
        adding = create(ctx, &d);
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

/* ---- ties, zeros, NaN ----------------------------------------------------------------------- */

/* A projection of one field without pixels whose one template is the unit vector of e: <w, g z> is
 * (g z)[e] = z[g^-1]. */
static equinv_projection *reading(equinv_context *ctx, equinv_projection_kind kind,
                                  equinv_group group, const char *impl)
{
    equinv_projection_desc d = desc_of(kind, (group_case){group, 1, 1}, EQUINV_F32, 1, 1, 0);
    equinv_tensor w = tensor_new(ctx, EQUINV_F32, 5, 1, 1, (int)order_of(group), 1, 1);
    tensor_set(&w, 0, 1);
    d.templates = EQUINV_TEMPLATE_USER;
    d.user_templates = &w;
    d.impl = impl;
    equinv_projection *p = create(ctx, &d);
    equinv_tensor_destroy(ctx, &w);
    return p;
}

START_TEST(ties_go_to_the_lowest_element)
{
    equinv_context *ctx = context_new();
    const char *const impl = implementations[_i];
    equinv_projection *max = reading(ctx, EQUINV_PROJECT_MAX, equinv_cyclic(5), impl);
    equinv_projection *sorted = reading(ctx, EQUINV_PROJECT_SORTED, equinv_cyclic(5), impl);
    /* z[g^-1] for g = 0 .. 4 is z[0], z[4], z[3], z[2], z[1]. */
    static const double rows[4][5] = {
        {3, 3, 3, 3, 3}, {1, 7, 2, 7, 1}, {-1, -0.0, 0.0, -0.0, -2}, {0.0, 0.0, -1, -0.0, -0.0}};
    static const int32_t argmax[4] = {0, 2, 2, 0};
    static const int32_t places[4][5] = {
        {0, 1, 2, 3, 4}, {0, 1, 3, 2, 4}, {1, 0, 2, 3, 4}, {3, 0, 1, 2, 4}};
    equinv_tensor z = tensor_new(ctx, EQUINV_F32, 3, 4, 1, 5);
    for (int64_t i = 0; i < 20; i++)
        tensor_set(&z, i, rows[i / 5][i % 5]);
    equinv_tensor most = tensor_new(ctx, EQUINV_F32, 2, 4, 1);
    equinv_tensor all = tensor_new(ctx, EQUINV_F32, 3, 4, 1, 5);
    equinv_tensor element = tensor_new(ctx, EQUINV_I32, 1, 20);
    OK(equinv_project_forward(max, &z, NULL, &most, element.data, 4 * 4, NULL, 0));
    for (int b = 0; b < 4; b++)
        ck_assert_int_eq(((int32_t *)element.data)[b], argmax[b]);
    OK(equinv_project_forward(sorted, &z, NULL, &all, element.data, 20 * 4, NULL, 0));
    for (int i = 0; i < 20; i++)
        ck_assert_msg(tensor_get(&element, i) == places[i / 5][i % 5],
                      "row %d place %d holds element %g", i / 5, i % 5, tensor_get(&element, i));
    equinv_tensor_destroy(ctx, &z);
    equinv_tensor_destroy(ctx, &most);
    equinv_tensor_destroy(ctx, &all);
    equinv_tensor_destroy(ctx, &element);
    equinv_projection_destroy(max);
    equinv_projection_destroy(sorted);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(smallest_takes_the_lowest_element_and_nan)
{
    equinv_context *ctx = context_new();
    equinv_projection *min =
        reading(ctx, EQUINV_PROJECT_MIN, equinv_cyclic(5), implementations[_i]);
    /* z[g^-1] for g = 0 .. 4 is z[0], z[4], z[3], z[2], z[1]. */
    static const double rows[4][5] = {
        {3, 3, 3, 3, 3}, {1, 0.5, 2, 0.5, 1}, {1, -0.0, 0.0, -0.0, 2}, {(double)NAN, 0, 0, 0, 0}};
    static const int32_t argmin[4] = {0, 2, 2, 0};
    static const double least[4] = {3, 0.5, 0, (double)NAN};
    equinv_tensor z = tensor_new(ctx, EQUINV_F32, 3, 4, 1, 5);
    for (int64_t i = 0; i < 20; i++)
        tensor_set(&z, i, rows[i / 5][i % 5]);
    equinv_tensor codes = tensor_new(ctx, EQUINV_F32, 2, 4, 1);
    _Alignas(64) int32_t element[4];
    OK(equinv_project_forward(min, &z, NULL, &codes, element, sizeof element, NULL, 0));
    for (int b = 0; b < 4; b++) {
        const double v = tensor_get(&codes, b);
        ck_assert_int_eq(element[b], argmin[b]);
        ck_assert(v == least[b] || (isnan(v) && isnan(least[b])));
    }
    equinv_tensor_destroy(ctx, &z);
    equinv_tensor_destroy(ctx, &codes);
    equinv_projection_destroy(min);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(thresholds_count_what_equals_them)
{
    equinv_context *ctx = context_new();
    static const double thresholds[] = {2, -3, -(double)INFINITY, 1.9999999, 2e300, -0.0};
    static const double expected[] = {0.75, 0.25, 0, 0.5, 1, 0.5};
    equinv_projection_desc d =
        desc_of(EQUINV_PROJECT_CDF, (group_case){equinv_cyclic(4), 1, 1}, EQUINV_F32, 1, 1, 0);
    equinv_tensor w = tensor_new(ctx, EQUINV_F32, 5, 1, 1, 4, 1, 1);
    tensor_set(&w, 0, 1);
    d.templates = EQUINV_TEMPLATE_USER;
    d.user_templates = &w;
    d.thresholds = thresholds;
    d.threshold_count = 6;
    d.impl = implementations[_i];
    equinv_projection *p = create(ctx, &d);
    equinv_tensor z = tensor_new(ctx, EQUINV_F32, 3, 1, 1, 4), codes = codes_of(ctx, p, d.dtype, 1);
    static const double orbit[4] = {5, 2, -3, 0};
    for (int i = 0; i < 4; i++)
        tensor_set(&z, i, orbit[i]);
    OK(equinv_project_forward(p, &z, NULL, &codes, NULL, 0, NULL, 0));
    for (int t = 0; t < 6; t++)
        ck_assert_msg(tensor_get(&codes, t) == expected[t], "threshold %d: %g", t,
                      tensor_get(&codes, t));
    equinv_tensor_destroy(ctx, &w);
    equinv_tensor_destroy(ctx, &z);
    equinv_tensor_destroy(ctx, &codes);
    equinv_projection_destroy(p);
    equinv_context_destroy(ctx);
}
END_TEST

/* Places 0, 2, |G| - 1 of what all places have: codes, elements, and the gradient of their sum. */
START_TEST(chosen_ranks_are_places_of_all)
{
    rng r = {UINT64_C(710) + (uint64_t)_i};
    equinv_context *ctx = context_new();
    for (int trial = 0; trial < 2 * GROUP_CASES; trial++) {
        equinv_projection_desc d =
            desc_of(EQUINV_PROJECT_SORTED, group_cases[trial % GROUP_CASES],
                    trial % 2 ? EQUINV_F32 : EQUINV_F64, 2, rng_range(&r, 1, 9), rng_next(&r));
        const int32_t order = order_of(d.group);
        int32_t ranks[3] = {0, 2, order - 1};
        d.impl = implementations[_i];
        equinv_projection *all = create(ctx, &d), *some;
        d.ranks = ranks;
        d.rank_count = order > 3 ? 3 : 1;
        some = create(ctx, &d);
        const int64_t count = d.rank_count;
        memset(ranks, 255, sizeof ranks); /* it has its own */
        ranks[0] = 0, ranks[1] = 2, ranks[2] = order - 1;
        equinv_tensor z = latents_of(ctx, &r, &d, 3),
                      diff[2] = {tensor_like(ctx, &z), tensor_like(ctx, &z)};
        equinv_tensor whole = codes_of(ctx, all, d.dtype, 3), whole_saved = saved_of(ctx, all, 3);
        equinv_tensor part = codes_of(ctx, some, d.dtype, 3), saved = saved_of(ctx, some, 3);
        equinv_tensor plain = project(ctx, some, &z, NULL);
        OK(equinv_project_forward(all, &z, NULL, &whole, whole_saved.data, size_of(&whole_saved),
                                  NULL, 0));
        OK(equinv_project_forward(some, &z, NULL, &part, saved.data, size_of(&saved), NULL, 0));
        ASSERT_SAME(&part, &plain);
        ck_assert_int_eq(part.shape[2], count);
        for (int64_t i = 0; i < equinv_tensor_count(&part); i++) {
            const int64_t at = i / count * order + ranks[i % count];
            ck_assert(tensor_get(&part, i) == tensor_get(&whole, at));
            ck_assert(((int32_t *)saved.data)[i] == ((int32_t *)whole_saved.data)[at]);
        }
        tensor_fill_random(&r, &part);
        for (int64_t i = 0; i < equinv_tensor_count(&whole); i++)
            tensor_set(&whole, i, 0);
        for (int64_t i = 0; i < equinv_tensor_count(&part); i++)
            tensor_set(&whole, i / count * order + ranks[i % count], tensor_get(&part, i));
        OK(equinv_project_backward(all, &whole, NULL, whole_saved.data, size_of(&whole_saved),
                                   &diff[0], NULL, 0));
        OK(equinv_project_backward(some, &part, NULL, saved.data, size_of(&saved), &diff[1], NULL,
                                   0));
        ASSERT_SAME(&diff[0], &diff[1]);
        equinv_tensor *const owned[] = {&z,    &diff[0], &diff[1],     &whole,
                                        &part, &saved,   &whole_saved, &plain};
        for (size_t i = 0; i < sizeof owned / sizeof *owned; i++)
            equinv_tensor_destroy(ctx, owned[i]);
        equinv_projection_destroy(all);
        equinv_projection_destroy(some);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(no_gradient_at_kinks)
{
    equinv_context *ctx = context_new();
    const equinv_projection_kind kind = _i / 2 ? EQUINV_PROJECT_MEAN_ABS : EQUINV_PROJECT_MEAN_RELU;
    equinv_projection *p = reading(ctx, kind, equinv_cyclic(4), implementations[_i % 2]);
    equinv_tensor z = tensor_new(ctx, EQUINV_F32, 3, 1, 1, 4), diff = tensor_like(ctx, &z);
    equinv_tensor code = tensor_new(ctx, EQUINV_F32, 2, 1, 1), saved = saved_of(ctx, p, 1);
    tensor_set(&z, 1, 2);
    tensor_set(&z, 2, -0.0);
    tensor_set(&z, 3, -3);
    OK(equinv_project_forward(p, &z, NULL, &code, saved.data, size_of(&saved), NULL, 0));
    ck_assert(tensor_get(&code, 0) == (_i / 2 ? 1.25 : 0.5));
    tensor_set(&code, 0, 4);
    OK(equinv_project_backward(p, &code, NULL, saved.data, size_of(&saved), &diff, NULL, 0));
    ck_assert(tensor_get(&diff, 0) == 0 && tensor_get(&diff, 2) == 0);
    ck_assert(tensor_get(&diff, 1) == 1 && tensor_get(&diff, 3) == (_i / 2 ? -1 : 0));
    equinv_tensor_destroy(ctx, &z);
    equinv_tensor_destroy(ctx, &diff);
    equinv_tensor_destroy(ctx, &code);
    equinv_tensor_destroy(ctx, &saved);
    equinv_projection_destroy(p);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(nan_wins_in_max)
{
    equinv_context *ctx = context_new();
    equinv_projection *p = reading(ctx, EQUINV_PROJECT_MAX, equinv_cyclic(2), implementations[_i]);
    equinv_tensor z = tensor_new(ctx, EQUINV_F32, 3, 4, 1, 2);
    equinv_tensor most = tensor_new(ctx, EQUINV_F32, 2, 4, 1);
    equinv_tensor element = tensor_new(ctx, EQUINV_I32, 1, 4);
    /* <w, g z> = z[g^-1] + 0 z[the other]: an infinite number makes NaN of the other one. */
    static const double inf = (double)INFINITY;
    const double rows[4][2] = {{1, 2}, {-inf, 2}, {2, -inf}, {(double)NAN, 0}};
    static const int32_t expected[4] = {1, 1, 0, 0};
    for (int64_t i = 0; i < 8; i++)
        tensor_set(&z, i, rows[i / 2][i % 2]);
    OK(equinv_project_forward(p, &z, NULL, &most, element.data, 16, NULL, 0));
    ck_assert(tensor_get(&most, 0) == 2);
    for (int64_t b = 0; b < 4; b++) {
        ck_assert((b == 0) == !isnan(tensor_get(&most, b)));
        ck_assert_int_eq(((int32_t *)element.data)[b], expected[b]);
    }
    equinv_tensor_destroy(ctx, &z);
    equinv_tensor_destroy(ctx, &most);
    equinv_tensor_destroy(ctx, &element);
    equinv_projection_destroy(p);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(nan_sorts_last)
{
    equinv_context *ctx = context_new();
    equinv_projection *p =
        reading(ctx, EQUINV_PROJECT_SORTED, equinv_cyclic(3), implementations[_i]);
    equinv_tensor z = tensor_new(ctx, EQUINV_F32, 3, 1, 1, 3);
    tensor_set(&z, 1, (double)INFINITY); /* inf at g = r^2, NaN at e and r */
    equinv_tensor sorted = tensor_new(ctx, EQUINV_F32, 3, 1, 1, 3);
    equinv_tensor element = tensor_new(ctx, EQUINV_I32, 1, 3);
    OK(equinv_project_forward(p, &z, NULL, &sorted, element.data, 12, NULL, 0));
    ck_assert(isinf(tensor_get(&sorted, 0)) && isnan(tensor_get(&sorted, 1)) &&
              isnan(tensor_get(&sorted, 2)));
    ck_assert_int_eq(((int32_t *)element.data)[0], 2);
    ck_assert_int_eq(((int32_t *)element.data)[1], 0);
    ck_assert_int_eq(((int32_t *)element.data)[2], 1);
    equinv_tensor_destroy(ctx, &z);
    equinv_tensor_destroy(ctx, &sorted);
    equinv_tensor_destroy(ctx, &element);
    equinv_projection_destroy(p);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(nan_and_infinity_stay_in_their_row)
{
    rng r = {UINT64_C(800) + (uint64_t)_i};
    equinv_context *ctx = context_new();
    for (int kind = 0; kind < ORBIT_KINDS; kind++) {
        equinv_projection_desc d =
            desc_of(orbit_kinds[kind], group_cases[12], EQUINV_F32, 2, 3, rng_next(&r));
        d.impl = implementations[_i];
        equinv_projection *p = create(ctx, &d);
        equinv_tensor z = latents_of(ctx, &r, &d, 5);
        equinv_tensor clean = project(ctx, p, &z, NULL);
        const int64_t dimension = equinv_tensor_count(&z) / 5;
        const int64_t width = equinv_tensor_count(&clean) / 5;
        tensor_set(&z, dimension + rng_range(&r, 0, dimension - 1), (double)NAN);
        tensor_set(&z, 3 * dimension + rng_range(&r, 0, dimension - 1), (double)INFINITY);
        equinv_tensor codes = project(ctx, p, &z, NULL);
        for (int64_t i = 0; i < 5 * width; i++) {
            const int64_t row = i / width;
            if (row == 1)
                ck_assert(isnan(tensor_get(&codes, i)));
            else if (row == 3)
                ck_assert(!isfinite(tensor_get(&codes, i)) || d.kind == EQUINV_PROJECT_MEAN_RELU ||
                          d.kind == EQUINV_PROJECT_CDF);
            else
                ck_assert(tensor_get(&codes, i) == tensor_get(&clean, i));
        }
        equinv_tensor_destroy(ctx, &z);
        equinv_tensor_destroy(ctx, &clean);
        equinv_tensor_destroy(ctx, &codes);
        equinv_projection_destroy(p);
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
        equinv_projection *p = create(ctx, &d);
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
            equinv_projection *q = create(other, &d);
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
        equinv_projection *p = create(ctx, &d);
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
    equinv_projection *p = create(ctx, &d);
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
        equinv_projection *p = create(ctx, &d);
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

/* ---- templates ------------------------------------------------------------------------------ */

START_TEST(templates_follow_the_recipe)
{
    rng r = {1300};
    equinv_context *ctx = context_new();
    for (int trial = 0; trial < 20; trial++) {
        equinv_projection_desc d =
            desc_of(orbit_kinds[trial % ORBIT_KINDS], group_cases[trial % GROUP_CASES],
                    trial % 2 ? EQUINV_F64 : EQUINV_F32, 2, 5, rng_next(&r));
        d.templates = trial % 3 ? EQUINV_TEMPLATE_GAUSSIAN : EQUINV_TEMPLATE_RADEMACHER;
        equinv_projection *p = create(ctx, &d);
        equinv_tensor used, expected;
        OK(equinv_projection_templates(p, &used));
        const int64_t shape[5] = {5, 2, order_of(d.group), d.height, d.width};
        ck_assert(used.ndim == 5 && memcmp(used.shape, shape, sizeof shape) == 0);
        expected = tensor_like(ctx, &used);
        OK(equinv_templates(ctx, d.templates, d.seed, 0, &expected));
        ASSERT_SAME(&used, &expected);
        equinv_tensor_destroy(ctx, &expected);
        equinv_projection_destroy(p);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(orthonormal_templates_are_orthonormal)
{
    rng r = {1400};
    equinv_context *ctx = context_new();
    for (int trial = 0; trial < 2 * GROUP_CASES; trial++) {
        const group_case c = group_cases[trial / 2];
        const bool linear = trial % 2;
        equinv_projection_desc d = desc_of(linear ? EQUINV_PROJECT_LINEAR : EQUINV_PROJECT_MAX, c,
                                           EQUINV_F64, rng_range(&r, 1, 3), 0, rng_next(&r));
        const int64_t dimension = d.fields * order_of(d.group) * d.height * d.width;
        const int64_t most = linear ? d.fields * d.height * d.width : dimension;
        d.templates = EQUINV_TEMPLATE_ORTHONORMAL;
        d.k = trial % 3 ? most : rng_range(&r, 1, most);
        equinv_projection *p = create(ctx, &d);
        equinv_tensor w;
        OK(equinv_projection_templates(p, &w));
        for (int64_t i = 0; i < d.k; i++)
            for (int64_t j = 0; j <= i; j++) {
                double sum = 0;
                for (int64_t x = 0; x < dimension; x++)
                    sum += tensor_get(&w, i * dimension + x) * tensor_get(&w, j * dimension + x);
                ck_assert_msg(fabs(sum - (i == j)) < 1e-13, "seed %llu: <w_%lld, w_%lld> = %.17g",
                              (unsigned long long)d.seed, (long long)i, (long long)j, sum);
            }
        if (linear) { /* every element leaves them alone */
            equinv_tensor mean = tensor_like(ctx, &w);
            OK(equinv_orbit_mean(ctx, d.group, &w, &mean));
            ASSERT_CLOSE(&mean, &w, 1e-15);
            equinv_tensor_destroy(ctx, &mean);
        }
        equinv_projection_destroy(p);
        d.k = most + 1;
        FAILS(EQUINV_ERR_ARG, linear ? "rank" : "orthonormal",
              equinv_projection_create(ctx, &d, &p));
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(all_orthonormal_templates_keep_the_length_of_the_orbit_mean)
{
    rng r = {1500};
    equinv_context *ctx = context_new();
    for (int trial = 0; trial < GROUP_CASES; trial++) {
        equinv_projection_desc d =
            desc_of(EQUINV_PROJECT_LINEAR, group_cases[trial], EQUINV_F64, 3, 0, rng_next(&r));
        d.k = 3 * d.height * d.width;
        d.templates = EQUINV_TEMPLATE_ORTHONORMAL;
        d.impl = implementations[_i];
        equinv_projection *p = create(ctx, &d);
        equinv_tensor z = latents_of(ctx, &r, &d, 1), mean = tensor_like(ctx, &z);
        equinv_tensor code = project(ctx, p, &z, NULL);
        OK(equinv_orbit_mean(ctx, d.group, &z, &mean));
        const double a = tensor_dot(&code, &code), b = tensor_dot(&mean, &mean);
        ck_assert_msg(fabs(a - b) < 1e-13 * b, "|p(z)|^2 is %.17g, |mean|^2 is %.17g", a, b);
        equinv_tensor_destroy(ctx, &z);
        equinv_tensor_destroy(ctx, &mean);
        equinv_tensor_destroy(ctx, &code);
        equinv_projection_destroy(p);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(dependent_rows_are_replaced)
{
    rng r = {1550};
    for (int trial = 0; trial < 200; trial++) {
        enum { MOST = 12 };
        const int64_t n = rng_range(&r, 1, MOST), k = rng_range(&r, 1, n);
        double rows[MOST * MOST];
        for (int64_t i = 0; i < k; i++)
            for (int64_t c = 0; c < n; c++)
                rows[i * n + c] = rng_uniform(&r);
        for (int64_t i = rng_range(&r, 1, 3); i < k;
             i++) /* copies, sums, zeros, unit vectors in the way */
            for (int64_t c = 0; c < n; c++)
                switch ((int)(i % 4)) {
                case 0: rows[i * n + c] = rows[c]; break;
                case 1: rows[i * n + c] = 0; break;
                case 2: rows[i * n + c] = rows[c] + 2 * rows[(i - 1) * n + c]; break;
                default: rows[i * n + c] = c == 0; break;
                }
        eqi_orthonormalise(rows, k, n);
        for (int64_t i = 0; i < k; i++)
            for (int64_t j = 0; j <= i; j++) {
                double sum = 0;
                for (int64_t c = 0; c < n; c++)
                    sum += rows[i * n + c] * rows[j * n + c];
                ck_assert_msg(fabs(sum - (i == j)) < 1e-14, "trial %d: %lld, %lld give %.17g",
                              trial, (long long)i, (long long)j, sum);
            }
    }
    double zeros[9] = {0};
    eqi_orthonormalise(zeros, 3, 3);
    for (int i = 0; i < 9; i++)
        ck_assert(zeros[i] == (i % 4 == 0));
}
END_TEST

START_TEST(user_templates_are_copied)
{
    rng r = {1600};
    equinv_context *ctx = context_new();
    equinv_projection_desc d =
        desc_of(EQUINV_PROJECT_MEAN_SQUARE, group_cases[12], EQUINV_F32, 2, 3, 0);
    equinv_tensor w = latents_of(ctx, &r, &d, 3), storage, used;
    equinv_tensor strided = tensor_strided_copy(ctx, &r, &w, &storage);
    d.templates = EQUINV_TEMPLATE_USER;
    d.user_templates = &strided;
    equinv_projection *p = create(ctx, &d);
    for (int64_t i = 0; i < equinv_tensor_count(&strided); i++)
        tensor_set(&strided, i, -1);
    OK(equinv_projection_templates(p, &used));
    ASSERT_SAME(&used, &w);
    equinv_tensor_destroy(ctx, &w);
    equinv_tensor_destroy(ctx, &storage);
    equinv_projection_destroy(p);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(rank_is_the_trace_of_the_orbit_mean)
{
    equinv_context *ctx = context_new();
    for (int trial = 0; trial < GROUP_CASES; trial++) {
        equinv_projection_desc d =
            desc_of(EQUINV_PROJECT_MAX, group_cases[trial], EQUINV_F64, 2, 1, 0);
        equinv_projection *p = create(ctx, &d);
        int64_t rank;
        OK(equinv_projection_rank(p, &rank));
        const int64_t dimension = 2 * order_of(d.group) * d.height * d.width;
        /* The mean of every unit vector, as one batch. */
        equinv_tensor units, means;
        OK(equinv_tensor_create(ctx, EQUINV_F64, 5,
                                (int64_t[]){dimension, 2, order_of(d.group), d.height, d.width},
                                &units));
        means = tensor_like(ctx, &units);
        for (int64_t i = 0; i < dimension; i++)
            tensor_set(&units, i * dimension + i, 1);
        OK(equinv_orbit_mean(ctx, d.group, &units, &means));
        double trace = 0;
        for (int64_t i = 0; i < dimension; i++)
            trace += tensor_get(&means, i * dimension + i);
        ck_assert(fabs(trace - (double)rank) < 1e-12);
        equinv_tensor_destroy(ctx, &units);
        equinv_tensor_destroy(ctx, &means);
        equinv_projection_destroy(p);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(scaled_random_projections_keep_distances)
{
    /* Johnson, Lindenstrauss: |p(x) - p(y)|^2 / |x~ - y~|^2 (x~ the orbit means) is a chi-squared mean of
     * k squares: 1 +- 5 sqrt(2 / k) for all pairs here. */
    rng r = {1700};
    equinv_context *ctx = context_new();
    enum { ROWS = 24, K = 512 };
    equinv_projection_desc d = desc_of(EQUINV_PROJECT_LINEAR, group_cases[12], EQUINV_F32, 30, K,
                                       UINT64_C(77) + (uint64_t)_i);
    d.templates = _i ? EQUINV_TEMPLATE_RADEMACHER : EQUINV_TEMPLATE_GAUSSIAN;
    d.scaled = true;
    equinv_projection *p = create(ctx, &d);
    equinv_tensor z = latents_of(ctx, &r, &d, ROWS), mean = tensor_like(ctx, &z);
    equinv_tensor codes = project(ctx, p, &z, NULL);
    OK(equinv_orbit_mean(ctx, d.group, &z, &mean));
    const int64_t dimension = equinv_tensor_count(&z) / ROWS;
    for (int64_t a = 0; a < ROWS; a++)
        for (int64_t b = 0; b < a; b++) {
            double kept = 0, before = 0;
            for (int64_t i = 0; i < K; i++)
                kept += pow(tensor_get(&codes, a * K + i) - tensor_get(&codes, b * K + i), 2);
            for (int64_t i = 0; i < dimension; i++)
                before += pow(
                    tensor_get(&mean, a * dimension + i) - tensor_get(&mean, b * dimension + i), 2);
            ck_assert_msg(fabs(kept / before - 1) < 5 * sqrt(2.0 / K), "rows %lld, %lld: ratio %g",
                          (long long)a, (long long)b, kept / before);
        }
    equinv_tensor_destroy(ctx, &z);
    equinv_tensor_destroy(ctx, &mean);
    equinv_tensor_destroy(ctx, &codes);
    equinv_projection_destroy(p);
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
        {ties_go_to_the_lowest_element, 2},
        {smallest_takes_the_lowest_element_and_nan, 2},
        {thresholds_count_what_equals_them, 2},
        {chosen_ranks_are_places_of_all, 2},
        {no_gradient_at_kinks, 4},
        {nan_wins_in_max, 2},
        {nan_sorts_last, 2},
        {nan_and_infinity_stay_in_their_row, 2},
        {bits_do_not_depend_on_the_batch_or_threads, 4},
        {any_strides_and_flat_views, 2},
        {reversed_and_broadcast_latents, 2},
        {empty_batches, 2},
        {templates_follow_the_recipe, 1},
        {orthonormal_templates_are_orthonormal, 1},
        {all_orthonormal_templates_keep_the_length_of_the_orbit_mean, 2},
        {dependent_rows_are_replaced, 1},
        {user_templates_are_copied, 1},
        {rank_is_the_trace_of_the_orbit_mean, 1},
        {scaled_random_projections_keep_distances, 2},
    };
    return run_tests("projection", tests, sizeof tests / sizeof *tests);
}
