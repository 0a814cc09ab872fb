/* Orbit mean and orbit distance: definitions, axioms, ties, NaN, wrong arguments, out of memory. */
#include "cpu/ref/ref.h"
#include "tests/ops/projection_cases.h"

static equinv_tensor random_latents(equinv_context *ctx, rng *r, group_case c, equinv_dtype dtype,
                                    int64_t batch, int64_t fields)
{
    const equinv_projection_desc d = desc_of(EQUINV_PROJECT_MAX, c, dtype, fields, 1, 0);
    return latents_of(ctx, r, &d, batch);
}

START_TEST(mean_is_the_mean_of_all_actions)
{
    rng r = {1};
    equinv_context *ctx = context_new();
    for (int trial = 0; trial < 200; trial++) {
        const group_case c = group_cases[trial % GROUP_CASES];
        const int32_t order = order_of(c.group);
        equinv_tensor z = random_latents(ctx, &r, c, trial % 2 ? EQUINV_F64 : EQUINV_F32,
                                         rng_range(&r, 1, 3), rng_range(&r, 1, 3));
        equinv_tensor mean = tensor_like(ctx, &z), sum, storage;
        OK(equinv_tensor_create(ctx, EQUINV_F64, 5, z.shape, &sum));
        for (int32_t g = 0; g < order; g++) {
            equinv_tensor moved = acted(ctx, c.group, g, &z);
            for (int64_t i = 0; i < equinv_tensor_count(&z); i++)
                tensor_set(&sum, i, tensor_get(&sum, i) + tensor_get(&moved, i) / order);
            equinv_tensor_destroy(ctx, &moved);
        }
        OK(equinv_orbit_mean(ctx, c.group, &z, &mean));
        ASSERT_CLOSE(&mean, &sum, z.dtype == EQUINV_F64 ? 1e-14 : 1e-7);
        equinv_tensor strided = tensor_strided_copy(ctx, &r, &z, &storage), again;
        again = tensor_like(ctx, &z);
        OK(equinv_orbit_mean(ctx, c.group, &strided, &again));
        ASSERT_SAME(&again, &mean);
        equinv_tensor_destroy(ctx, &z);
        equinv_tensor_destroy(ctx, &mean);
        equinv_tensor_destroy(ctx, &sum);
        equinv_tensor_destroy(ctx, &storage);
        equinv_tensor_destroy(ctx, &again);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(mean_is_an_invariant_projector)
{
    rng r = {2};
    equinv_context *ctx = context_new();
    for (int trial = 0; trial < GROUP_CASES; trial++) {
        const group_case c = group_cases[trial];
        equinv_tensor z = random_latents(ctx, &r, c, EQUINV_F64, 2, 2);
        equinv_tensor w = random_latents(ctx, &r, c, EQUINV_F64, 2, 2);
        equinv_tensor mean = tensor_like(ctx, &z), twice = tensor_like(ctx, &z);
        equinv_tensor other = tensor_like(ctx, &z);
        OK(equinv_orbit_mean(ctx, c.group, &z, &mean));
        OK(equinv_orbit_mean(ctx, c.group, &mean, &twice));
        ASSERT_CLOSE(&twice, &mean, 1e-15); /* idempotent */
        OK(equinv_orbit_mean(ctx, c.group, &w, &other));
        ck_assert(fabs(tensor_dot(&mean, &w) - tensor_dot(&z, &other)) < 1e-12); /* self-adjoint */
        for (int32_t g = 0; g < order_of(c.group); g++) {
            equinv_tensor fixed = acted(ctx, c.group, g, &mean);
            ASSERT_SAME(&fixed, &mean); /* every g leaves it alone, to the bit */
            equinv_tensor moved = acted(ctx, c.group, g, &z);
            OK(equinv_orbit_mean(ctx, c.group, &moved, &twice));
            ASSERT_CLOSE(&twice, &mean, 1e-14);
            equinv_tensor_destroy(ctx, &fixed);
            equinv_tensor_destroy(ctx, &moved);
        }
        equinv_tensor_destroy(ctx, &z);
        equinv_tensor_destroy(ctx, &w);
        equinv_tensor_destroy(ctx, &mean);
        equinv_tensor_destroy(ctx, &twice);
        equinv_tensor_destroy(ctx, &other);
    }
    equinv_context_destroy(ctx);
}
END_TEST

/* Of a distance in fp32, of itself: what cancels where the squares of the lengths are 16 times its own. */
#define NEAR 1.5e-6

START_TEST(distance_is_the_least_over_the_group)
{
    rng r = {3};
    equinv_context *ctx = context_new();
    for (int trial = 0; trial < 200; trial++) {
        const group_case c = group_cases[trial % GROUP_CASES];
        const equinv_dtype dtype = trial % 2 ? EQUINV_F64 : EQUINV_F32;
        const int a = (int)rng_range(&r, 1, 20), b = (int)rng_range(&r, 1, 4);
        const int64_t fields = rng_range(&r, 1, 3);
        equinv_tensor x = random_latents(ctx, &r, c, dtype, a, fields), x_store, y_store;
        equinv_tensor y = random_latents(ctx, &r, c, dtype, b, fields);
        equinv_tensor xs = tensor_strided_copy(ctx, &r, &x, &x_store);
        equinv_tensor ys = tensor_strided_copy(ctx, &r, &y, &y_store);
        equinv_tensor distance = tensor_new(ctx, dtype, 2, a, b),
                      plain = tensor_like(ctx, &distance);
        equinv_tensor element = tensor_new(ctx, EQUINV_I32, 2, a, b);
        OK(equinv_orbit_distance(ctx, c.group, &x, &y, &distance, &element));
        OK(equinv_orbit_distance(ctx, c.group, &xs, &ys, &plain, NULL));
        ASSERT_SAME(&plain, &distance);
        const int64_t dimension = equinv_tensor_count(&x) / a;
        double *const least = calloc((size_t)(a * b), sizeof *least);
        int32_t *const nearest = calloc((size_t)(a * b), sizeof *nearest);
        ck_assert(least && nearest);
        for (int32_t g = 0; g < order_of(c.group); g++) {
            equinv_tensor moved = acted(ctx, c.group, g, &y);
            for (int64_t i = 0; i < a * b; i++) {
                double sum = 0;
                for (int64_t n = 0; n < dimension; n++)
                    sum += pow(tensor_get(&x, i / b * dimension + n) -
                                   tensor_get(&moved, i % b * dimension + n),
                               2);
                if (g == 0 || sum < least[i] * (1 - 1e-13)) {
                    least[i] = sum;
                    nearest[i] = g;
                }
            }
            equinv_tensor_destroy(ctx, &moved);
        }
        for (int64_t i = 0; i < a * b; i++) {
            const double tolerance =
                dtype == EQUINV_F64 ? 1e-13 * (1 + sqrt(least[i])) : NEAR * sqrt(least[i]);
            ck_assert_msg(fabs(tensor_get(&distance, i) - sqrt(least[i])) <= tolerance,
                          "trial %d pair %lld", trial, (long long)i);
            ck_assert_int_eq(((const int32_t *)element.data)[i], nearest[i]);
        }
        free(least);
        free(nearest);
        equinv_tensor_destroy(ctx, &x);
        equinv_tensor_destroy(ctx, &y);
        equinv_tensor_destroy(ctx, &x_store);
        equinv_tensor_destroy(ctx, &y_store);
        equinv_tensor_destroy(ctx, &distance);
        equinv_tensor_destroy(ctx, &plain);
        equinv_tensor_destroy(ctx, &element);
    }
    equinv_context_destroy(ctx);
}
END_TEST

/*
 * Products only choose what is measured, in fp32 where they do not say enough: the reference's elements
 * always and, but for fp32, its bits, on every level.
 */
START_TEST(distance_is_that_of_the_reference)
{
    rng r = {UINT64_C(40) + (uint64_t)_i};
    equinv_context *ctx = context_at_level(_i);
    for (int trial = 0; ctx && trial < 70; trial++) {
        const group_case c = trial == 60   ? (group_case){equinv_dihedral(200), 1, 1}
                             : trial == 61 ? (group_case){equinv_cyclic(4), 14, 14}
                                           : group_cases[trial % GROUP_CASES];
        const equinv_dtype dtype = trial % 2 ? EQUINV_F64 : EQUINV_F32;
        const int a = (int)rng_range(&r, 1, 150), b = (int)rng_range(&r, 1, trial % 5 ? 20 : 90);
        equinv_tensor x = random_latents(ctx, &r, c, dtype, a, trial % 4 + 1);
        equinv_tensor y = random_latents(ctx, &r, c, dtype, b, trial % 4 + 1);
        equinv_tensor d = tensor_new(ctx, dtype, 2, a, b), plain = tensor_like(ctx, &d);
        equinv_tensor e = tensor_new(ctx, EQUINV_I32, 2, a, b), element = tensor_like(ctx, &e);
        const bool ties = trial / 2 % 3 == 1; /* of sums whose rounding differs */
        for (int64_t i = 0; i < equinv_tensor_count(&x) && ties; i++)
            tensor_set(&x, i, rng_range(&r, 0, 1) ? 0.7 : -0.3);
        for (int64_t i = 0; i < equinv_tensor_count(&y) && ties; i++)
            tensor_set(&y, i, rng_range(&r, 0, 1) ? 0.9 : -0.4);
        if (trial % 7 == 2) {
            tensor_set(&x, rng_range(&r, 0, equinv_tensor_count(&x) - 1), (double)INFINITY);
            tensor_set(&y, rng_range(&r, 0, equinv_tensor_count(&y) - 1), (double)INFINITY);
            tensor_set(&y, rng_range(&r, 0, equinv_tensor_count(&y) - 1), (double)NAN);
        }
        OK(equinv_orbit_distance(ctx, c.group, &x, &y, &d, &e));
        OK(eqi_ref_orbit_distance(ctx, c.group, &x, &y, &plain, &element));
        ASSERT_SAME(&e, &element);
        for (int64_t i = 0; i < (int64_t)a * b; i++) {
            const double got = tensor_get(&d, i), expected = tensor_get(&plain, i);
            const double tolerance =
                dtype == EQUINV_F32 && isfinite(expected) ? NEAR * expected : 0;
            ck_assert_msg(
                isnan(expected) ? isnan(got) : got == expected || fabs(got - expected) <= tolerance,
                "trial %d pair %lld: %.9g, expected %.9g", trial, (long long)i, got, expected);
        }
        equinv_tensor *const all[] = {&x, &y, &d, &plain, &e, &element};
        for (int i = 0; i < 6; i++)
            equinv_tensor_destroy(ctx, all[i]);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(distance_is_a_metric_between_orbits)
{
    rng r = {4};
    equinv_context *ctx = context_new();
    for (int trial = 0; trial < GROUP_CASES; trial++) {
        enum { ROWS = 9 };
        const group_case c = group_cases[trial];
        const int32_t order = order_of(c.group);
        equinv_tensor z = random_latents(ctx, &r, c, EQUINV_F64, ROWS, 2);
        equinv_tensor d = tensor_new(ctx, EQUINV_F64, 2, ROWS, ROWS), e;
        e = tensor_new(ctx, EQUINV_I32, 2, ROWS, ROWS);
        OK(equinv_orbit_distance(ctx, c.group, &z, &z, &d, &e));
        const int32_t *const element = e.data;
        for (int64_t i = 0; i < ROWS; i++) {
            ck_assert(tensor_get(&d, i * ROWS + i) == 0 && element[i * ROWS + i] == 0);
            for (int64_t j = 0; j < ROWS; j++) {
                const double ij = tensor_get(&d, i * ROWS + j), ji = tensor_get(&d, j * ROWS + i);
                int32_t inverse;
                OK(equinv_group_inverse(c.group, element[i * ROWS + j], &inverse));
                ck_assert(fabs(ij - ji) < 1e-13);
                ck_assert_int_eq(element[j * ROWS + i], inverse); /* no ties in random data */
                for (int64_t k = 0; k < ROWS; k++)
                    ck_assert(ij <=
                              tensor_get(&d, i * ROWS + k) + tensor_get(&d, k * ROWS + j) + 1e-13);
            }
        }
        for (int32_t g = 0; g < order; g++) { /* exactly 0 on the own orbit, at the inverse */
            equinv_tensor moved = acted(ctx, c.group, g, &z), again = tensor_like(ctx, &d);
            int32_t inverse;
            OK(equinv_group_inverse(c.group, g, &inverse));
            OK(equinv_orbit_distance(ctx, c.group, &z, &moved, &again, &e));
            for (int64_t i = 0; i < ROWS; i++) {
                ck_assert(tensor_get(&again, i * ROWS + i) == 0);
                ck_assert_int_eq(element[i * ROWS + i], inverse);
            }
            ASSERT_CLOSE(&again, &d, 1e-14);
            equinv_tensor_destroy(ctx, &moved);
            equinv_tensor_destroy(ctx, &again);
        }
        equinv_tensor_destroy(ctx, &z);
        equinv_tensor_destroy(ctx, &d);
        equinv_tensor_destroy(ctx, &e);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(distance_ties_and_nan)
{
    equinv_context *ctx = context_new();
    equinv_tensor x = tensor_new(ctx, EQUINV_F32, 3, 3, 1, 4), y = tensor_like(ctx, &x);
    equinv_tensor d = tensor_new(ctx, EQUINV_F32, 2, 3, 3),
                  e = tensor_new(ctx, EQUINV_I32, 2, 3, 3);
    const double rows[12] = {1, 1, 1, 1, 1, 2, 1, 2, 1, (double)NAN, 0, 0};
    for (int64_t i = 0; i < 12; i++) {
        tensor_set(&x, i, rows[i]);
        tensor_set(&y, i, rows[i]);
    }
    OK(equinv_orbit_distance(ctx, equinv_cyclic(4), &x, &y, &d, &e));
    const int32_t *const element = e.data;
    ck_assert(tensor_get(&d, 0) == 0 && element[0] == 0);
    ck_assert(tensor_get(&d, 4) == 0 && element[4] == 0); /* r^2 gives 0 as well */
    for (int i = 0; i < 9; i++)
        ck_assert((i / 3 == 2 || i % 3 == 2) == isnan(tensor_get(&d, i)));
    ck_assert(element[2] == 0 && element[8] == 0);
    /* inf - inf is NaN for one g alone, r^3, which moves y's number 1 to 0; it wins over inf. */
    for (int64_t i = 0; i < 12; i++) {
        tensor_set(&x, i, i == 0 ? (double)INFINITY : 0);
        tensor_set(&y, i, i == 1 ? (double)INFINITY : 0);
    }
    OK(equinv_orbit_distance(ctx, equinv_cyclic(4), &x, &y, &d, &e));
    ck_assert(isnan(tensor_get(&d, 0)) && element[0] == 3);
    ck_assert(isinf(tensor_get(&d, 1)) && element[1] == 0);
    equinv_tensor_destroy(ctx, &x);
    equinv_tensor_destroy(ctx, &y);
    equinv_tensor_destroy(ctx, &d);
    equinv_tensor_destroy(ctx, &e);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(distance_of_rows_is_that_of_sorted_rows)
{
    rng r = {5};
    equinv_context *ctx = context_new();
    for (int trial = 0; trial < 200; trial++) {
        const int a = (int)rng_range(&r, 1, 4), b = (int)rng_range(&r, 1, 4);
        const int n = (int)rng_range(&r, 1, 40);
        const equinv_dtype dtype = trial % 2 ? EQUINV_F64 : EQUINV_F32;
        equinv_tensor x = tensor_random(ctx, &r, dtype, 3, a, n, 1);
        equinv_tensor y = tensor_random(ctx, &r, dtype, 2, b, n);
        equinv_tensor d = tensor_new(ctx, dtype, 2, a, b);
        OK(equinv_orbit_distance(ctx, equinv_symmetric(), &x, &y, &d, NULL));
        for (int i = 0; i < a * b; i++) {
            double p[40], q[40], sum = 0;
            for (int k = 0; k < n; k++) {
                p[k] = tensor_get(&x, i / b * n + k);
                q[k] = tensor_get(&y, i % b * n + k);
            }
            qsort(p, (size_t)n, sizeof *p, ascending);
            qsort(q, (size_t)n, sizeof *q, ascending);
            for (int k = 0; k < n; k++)
                sum += (p[k] - q[k]) * (p[k] - q[k]);
            ck_assert(fabs(tensor_get(&d, i) - sqrt(sum)) <
                      (dtype == EQUINV_F64 ? 1e-14 : 1e-6) * (1 + sqrt(sum)));
        }
        equinv_tensor_destroy(ctx, &x);
        equinv_tensor_destroy(ctx, &y);
        equinv_tensor_destroy(ctx, &d);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(empty_batches)
{
    equinv_context *ctx = context_new();
    equinv_tensor none = tensor_new(ctx, EQUINV_F32, 5, 0, 2, 4, 3, 3), x, d, e;
    x = tensor_new(ctx, EQUINV_F32, 5, 2, 2, 4, 3, 3);
    equinv_tensor out = tensor_like(ctx, &none);
    OK(equinv_orbit_mean(ctx, equinv_cyclic(4), &none, &out));
    d = tensor_new(ctx, EQUINV_F32, 2, 0, 2);
    e = tensor_new(ctx, EQUINV_I32, 2, 0, 2);
    OK(equinv_orbit_distance(ctx, equinv_cyclic(4), &none, &x, &d, &e));
    d.shape[0] = 2, d.shape[1] = 0;
    OK(equinv_orbit_distance(ctx, equinv_cyclic(4), &x, &none, &d, NULL));
    equinv_tensor rows = tensor_new(ctx, EQUINV_F32, 2, 0, 5);
    d.shape[0] = d.shape[1] = 0;
    OK(equinv_orbit_distance(ctx, equinv_symmetric(), &rows, &rows, &d, NULL));
    equinv_tensor_destroy(ctx, &none);
    equinv_tensor_destroy(ctx, &x);
    equinv_tensor_destroy(ctx, &out);
    equinv_tensor_destroy(ctx, &d);
    equinv_tensor_destroy(ctx, &e);
    equinv_tensor_destroy(ctx, &rows);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(wrong_arguments)
{
    const equinv_group c4 = equinv_cyclic(4), s = equinv_symmetric();
    equinv_context *ctx = context_new();
    equinv_tensor x = tensor_new(ctx, EQUINV_F32, 5, 2, 3, 4, 2, 2), y = tensor_like(ctx, &x);
    equinv_tensor wide = tensor_new(ctx, EQUINV_F64, 5, 2, 3, 4, 2, 2);
    equinv_tensor ints = tensor_new(ctx, EQUINV_I32, 5, 2, 3, 4, 2, 2);
    equinv_tensor oblong = tensor_new(ctx, EQUINV_F32, 5, 2, 3, 4, 2, 3);
    equinv_tensor fewer = tensor_new(ctx, EQUINV_F32, 5, 2, 2, 4, 2, 2);
    equinv_tensor flat = tensor_new(ctx, EQUINV_F32, 2, 2, 7);
    equinv_tensor d = tensor_new(ctx, EQUINV_F32, 2, 2, 2),
                  e = tensor_new(ctx, EQUINV_I32, 2, 2, 2);
    equinv_tensor d_wide = tensor_new(ctx, EQUINV_F64, 2, 2, 2);
    equinv_tensor d_long = tensor_new(ctx, EQUINV_F32, 2, 2, 3);
    equinv_tensor e_long = tensor_new(ctx, EQUINV_I32, 2, 2, 3);
    equinv_tensor rows = tensor_new(ctx, EQUINV_F32, 3, 2, 5, 1);
    equinv_tensor longer = tensor_new(ctx, EQUINV_F32, 2, 2, 6);
    equinv_tensor elsewhere = x, repeated = y, d_over = d, e_over = e, huge = x;
    elsewhere.device.index = 1;
    repeated.strides[0] = 0;
    d_over.data = x.data;
    e_over.data = d.data;
    huge.shape[3] = huge.shape[4] = INT64_C(1) << 40;

    FAILS(EQUINV_ERR_ARG, "ctx", equinv_orbit_mean(NULL, c4, &x, &y));
    FAILS(EQUINV_ERR_ARG, "C0", equinv_orbit_mean(ctx, equinv_cyclic(0), &x, &y));
    FAILS(EQUINV_ERR_UNSUPPORTED, "S", equinv_orbit_mean(ctx, s, &x, &y));
    FAILS(EQUINV_ERR_ARG, "src is NULL", equinv_orbit_mean(ctx, c4, NULL, &y));
    FAILS(EQUINV_ERR_ARG, "dst is NULL", equinv_orbit_mean(ctx, c4, &x, NULL));
    FAILS(EQUINV_ERR_DTYPE, "src", equinv_orbit_mean(ctx, c4, &ints, &y));
    FAILS(EQUINV_ERR_DTYPE, "dst", equinv_orbit_mean(ctx, c4, &x, &wide));
    FAILS(EQUINV_ERR_DEVICE, "src", equinv_orbit_mean(ctx, c4, &elsewhere, &y));
    FAILS(EQUINV_ERR_SHAPE, "90 degrees", equinv_orbit_mean(ctx, c4, &oblong, &y));
    FAILS(EQUINV_ERR_SHAPE, "interpolation",
          equinv_orbit_mean(ctx, equinv_dihedral(8),
                            &(equinv_tensor){.data = x.data,
                                             .device = x.device,
                                             .dtype = EQUINV_F32,
                                             .ndim = 5,
                                             .shape = {1, 1, 16, 2, 1},
                                             .strides = {32, 32, 2, 1, 1}},
                            &y));
    FAILS(EQUINV_ERR_SHAPE, "src has shape [2, 7]", equinv_orbit_mean(ctx, c4, &flat, &y));
    FAILS(EQUINV_ERR_SHAPE, "2^63", equinv_orbit_mean(ctx, c4, &huge, &y));
    FAILS(EQUINV_ERR_SHAPE, "dst", equinv_orbit_mean(ctx, c4, &x, &fewer));
    FAILS(EQUINV_ERR_SHAPE, "stride", equinv_orbit_mean(ctx, c4, &x, &repeated));
    FAILS(EQUINV_ERR_ARG, "overlaps", equinv_orbit_mean(ctx, c4, &x, &x));

    FAILS(EQUINV_ERR_ARG, "ctx", equinv_orbit_distance(NULL, c4, &x, &y, &d, &e));
    FAILS(EQUINV_ERR_ARG, "kind 7",
          equinv_orbit_distance(ctx, (equinv_group){7, 1}, &x, &y, &d, &e));
    FAILS(EQUINV_ERR_ARG, "n = 3",
          equinv_orbit_distance(ctx, (equinv_group){EQUINV_GROUP_SYMMETRIC, 3}, &rows, &rows, &d,
                                NULL));
    FAILS(EQUINV_ERR_ARG, "x is NULL", equinv_orbit_distance(ctx, c4, NULL, &y, &d, &e));
    FAILS(EQUINV_ERR_ARG, "y is NULL", equinv_orbit_distance(ctx, c4, &x, NULL, &d, &e));
    FAILS(EQUINV_ERR_ARG, "distance is NULL", equinv_orbit_distance(ctx, c4, &x, &y, NULL, &e));
    FAILS(EQUINV_ERR_DTYPE, "y has dtype", equinv_orbit_distance(ctx, c4, &x, &wide, &d, &e));
    FAILS(EQUINV_ERR_DTYPE, "distance", equinv_orbit_distance(ctx, c4, &x, &y, &d_wide, &e));
    FAILS(EQUINV_ERR_DTYPE, "element", equinv_orbit_distance(ctx, c4, &x, &y, &d, &d_wide));
    FAILS(EQUINV_ERR_SHAPE, "y (but for its batch)",
          equinv_orbit_distance(ctx, c4, &x, &fewer, &d, &e));
    FAILS(EQUINV_ERR_SHAPE, "90 degrees", equinv_orbit_distance(ctx, c4, &x, &oblong, &d, &e));
    FAILS(EQUINV_ERR_SHAPE, "distance", equinv_orbit_distance(ctx, c4, &x, &y, &d_long, &e));
    FAILS(EQUINV_ERR_SHAPE, "element", equinv_orbit_distance(ctx, c4, &x, &y, &d, &e_long));
    FAILS(EQUINV_ERR_ARG, "distance overlaps x",
          equinv_orbit_distance(ctx, c4, &x, &y, &d_over, &e));
    FAILS(EQUINV_ERR_ARG, "element overlaps distance",
          equinv_orbit_distance(ctx, c4, &x, &y, &d, &e_over));
    FAILS(EQUINV_ERR_SHAPE, "x has shape", equinv_orbit_distance(ctx, s, &x, &y, &d, NULL));
    FAILS(EQUINV_ERR_SHAPE, "y (but for its batch)",
          equinv_orbit_distance(ctx, s, &rows, &longer, &d, NULL));
    FAILS(EQUINV_ERR_SHAPE, "element", equinv_orbit_distance(ctx, s, &rows, &rows, &d, &e));
    ck_assert(tensor_max_abs(&y) == 0 && tensor_max_abs(&d) == 0 && tensor_max_abs(&e) == 0);

    equinv_tensor *const all[] = {&x, &y, &wide,   &ints,   &oblong, &fewer, &flat,
                                  &d, &e, &d_wide, &d_long, &e_long, &rows,  &longer};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        equinv_tensor_destroy(ctx, all[i]);
    equinv_context_destroy(ctx);
}
END_TEST

typedef struct distance_call {
    equinv_group group;
    equinv_tensor x, distance;
} distance_call;

static equinv_status distance_of(equinv_context *ctx, void *arg)
{
    const distance_call *const c = arg;
    return equinv_orbit_distance(ctx, c->group, &c->x, &c->x, &c->distance, NULL);
}

START_TEST(allocation_failures)
{
    equinv_context *const ctx = context_new();
    equinv_tensor x = tensor_new(ctx, EQUINV_F64, 3, 2, 3, 4), rows = x, x32 = x;
    equinv_tensor d = tensor_new(ctx, EQUINV_F64, 2, 2, 2), d32 = d;
    OK(equinv_tensor_init(x.data, EQUINV_F64, 2, (int64_t[]){2, 12}, &rows));
    x32.dtype = d32.dtype = EQUINV_F32;
    ck_assert_int_eq(fail_in_turn(distance_of, &(distance_call){equinv_symmetric(), rows, d}), 2);
    ck_assert_int_eq(fail_in_turn(distance_of, &(distance_call){equinv_cyclic(4), x, d}), 2);
    ck_assert_int_eq(fail_in_turn(distance_of, &(distance_call){equinv_cyclic(4), x32, d32}), 1);
    equinv_tensor_destroy(ctx, &x);
    equinv_tensor_destroy(ctx, &d);
    equinv_context_destroy(ctx);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {mean_is_the_mean_of_all_actions, 1},
        {mean_is_an_invariant_projector, 1},
        {distance_is_the_least_over_the_group, 1},
        {distance_is_that_of_the_reference, TEST_LEVELS},
        {distance_is_a_metric_between_orbits, 1},
        {distance_ties_and_nan, 1},
        {distance_of_rows_is_that_of_sorted_rows, 1},
        {empty_batches, 1},
        {wrong_arguments, 1},
        {allocation_failures, 1},
    };
    return run_tests("orbit", tests, sizeof tests / sizeof *tests);
}
