/* Templates that a projection draws by the recipe or is given: orthonormal rows, their rank, distances. */
#include "internal/projection.h"
#include "tests/ops/projection_cases.h"

START_TEST(templates_follow_the_recipe)
{
    rng r = {1300};
    equinv_context *ctx = context_new();
    for (int trial = 0; trial < 20; trial++) {
        equinv_projection_desc d =
            desc_of(orbit_kinds[trial % ORBIT_KINDS], group_cases[trial % GROUP_CASES],
                    trial % 2 ? EQUINV_F64 : EQUINV_F32, 2, 5, rng_next(&r));
        d.templates = trial % 3 ? EQUINV_TEMPLATE_GAUSSIAN : EQUINV_TEMPLATE_RADEMACHER;
        equinv_projection *p = projection_new(ctx, &d);
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
        equinv_projection *p = projection_new(ctx, &d);
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
        equinv_projection *p = projection_new(ctx, &d);
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
    equinv_projection *p = projection_new(ctx, &d);
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
        equinv_projection *p = projection_new(ctx, &d);
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
    equinv_projection *p = projection_new(ctx, &d);
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
        {templates_follow_the_recipe, 1},
        {orthonormal_templates_are_orthonormal, 1},
        {all_orthonormal_templates_keep_the_length_of_the_orbit_mean, 2},
        {dependent_rows_are_replaced, 1},
        {user_templates_are_copied, 1},
        {rank_is_the_trace_of_the_orbit_mean, 1},
        {scaled_random_projections_keep_distances, 2},
    };
    return run_tests("projection_recipe", tests, sizeof tests / sizeof *tests);
}
