/* Projections where values are equal, zero or no numbers. */
#include "tests/ops/projection_cases.h"

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
    equinv_projection *p = projection_new(ctx, &d);
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
    equinv_projection *p = projection_new(ctx, &d);
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
        equinv_projection *all = projection_new(ctx, &d), *some;
        d.ranks = ranks;
        d.rank_count = order > 3 ? 3 : 1;
        some = projection_new(ctx, &d);
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
        equinv_projection *p = projection_new(ctx, &d);
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

int main(void)
{
    const test_entry tests[] = {
        {ties_go_to_the_lowest_element, 2},
        {smallest_takes_the_lowest_element_and_nan, 2},
        {thresholds_count_what_equals_them, 2},
        {chosen_ranks_are_places_of_all, 2},
        {no_gradient_at_kinks, 4},
        {nan_wins_in_max, 2},
        {nan_sorts_last, 2},
        {nan_and_infinity_stay_in_their_row, 2},
    };
    return run_tests("projection_ties", tests, sizeof tests / sizeof *tests);
}
