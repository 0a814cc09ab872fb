/* Projections under S: sorted channels, sorted random projections, masks, ties, gradients. */
#include "tests/ops/projection_cases.h"

static const equinv_projection_kind kinds[] = {EQUINV_PROJECT_SORT, EQUINV_PROJECT_PROJECT_SORT};

/* The number that row `row` is sorted by in column j: its channel j, or <w_j, row>. */
static double key(const equinv_projection_desc *d, const equinv_tensor *w, const equinv_tensor *z,
                  int64_t b, int64_t row, int64_t j)
{
    const int64_t base = (b * d->rows + row) * d->channels;
    if (d->kind == EQUINV_PROJECT_SORT)
        return tensor_get(z, base + j);
    double sum = 0;
    for (int64_t c = 0; c < d->channels; c++)
        sum += tensor_get(w, j * d->channels + c) * tensor_get(z, base + c);
    return d->scaled ? sum / sqrt((double)d->k) : sum;
}

/* Index of (b, place, column j) in dst. */
static int64_t at(const equinv_projection_desc *d, int64_t b, int64_t place, int64_t j)
{
    return d->kind == EQUINV_PROJECT_SORT ? (b * d->rows + place) * d->channels + j
                                          : (b * d->k + j) * d->rows + place;
}

START_TEST(equals_a_sort_of_the_present_rows)
{
    rng r = {UINT64_C(100) + (uint64_t)_i};
    equinv_context *ctx = context_new();
    for (int trial = 0; trial < 200; trial++) {
        const int64_t batch = rng_range(&r, 1, 4);
        equinv_projection_desc d =
            rows_desc(kinds[_i], trial % 2 ? EQUINV_F32 : EQUINV_F64,
                      trial % 10 ? rng_range(&r, 1, 30) : rng_range(&r, 100, 300),
                      rng_range(&r, 1, 4), rng_range(&r, 1, 5), rng_next(&r));
        d.scaled = trial % 3 == 0;
        d.fill = trial % 4 ? (double)INFINITY : -7;
        equinv_projection *p = projection_new(ctx, &d);
        equinv_tensor z, mask, w = {0};
        OK(equinv_tensor_create(ctx, d.dtype, 3, (int64_t[]){batch, d.rows, d.channels}, &z));
        OK(equinv_tensor_create(ctx, trial % 2 ? EQUINV_U8 : EQUINV_I32, 2,
                                (int64_t[]){batch, d.rows}, &mask));
        tensor_fill_random(&r, &z);
        for (int64_t i = 0; i < batch * d.rows; i++) {
            const bool there = rng_range(&r, 0, 3) > 0;
            tensor_set(&mask, i, there ? (double)rng_range(&r, 1, 100) : 0);
            for (int64_t c = 0; c < d.channels && !there; c++)
                tensor_set(&z, i * d.channels + c, (double)NAN); /* must not be read */
        }
        if (_i)
            OK(equinv_projection_templates(p, &w));
        equinv_tensor codes = codes_of(ctx, p, d.dtype, batch), saved = saved_of(ctx, p, batch);
        OK(equinv_project_forward(p, &z, &mask, &codes, saved.data, size_of(&saved), NULL, 0));
        double *const keys = malloc((size_t)d.rows * sizeof *keys);
        ck_assert_ptr_nonnull(keys);
        for (int64_t b = 0; b < batch; b++)
            for (int64_t j = 0; j < (_i ? d.k : d.channels); j++) {
                int64_t present = 0;
                for (int64_t row = 0; row < d.rows; row++)
                    if (tensor_get(&mask, b * d.rows + row) != 0)
                        keys[present++] = key(&d, &w, &z, b, row, j);
                qsort(keys, (size_t)present, sizeof *keys, ascending);
                for (int64_t place = 0; place < d.rows; place++) {
                    const double got = tensor_get(&codes, at(&d, b, place, j));
                    const int32_t row = ((const int32_t *)saved.data)[at(&d, b, place, j)];
                    const double tolerance = _i == 0 ? 0 : d.dtype == EQUINV_F64 ? 1e-14 : 1e-6;
                    if (place >= present) {
                        ck_assert(got == d.fill && row == -1);
                        continue;
                    }
                    ck_assert_msg(fabs(got - keys[place]) <= tolerance * (1 + fabs(keys[place])),
                                  "seed %llu place %lld: %.9g, expected %.9g",
                                  (unsigned long long)d.seed, (long long)place, got, keys[place]);
                    ck_assert(row >= 0 && row < d.rows);
                    ck_assert(fabs(key(&d, &w, &z, b, row, j) - got) <=
                              tolerance * (1 + fabs(got)));
                }
            }
        free(keys);
        equinv_tensor_destroy(ctx, &z);
        equinv_tensor_destroy(ctx, &mask);
        equinv_tensor_destroy(ctx, &codes);
        equinv_tensor_destroy(ctx, &saved);
        equinv_projection_destroy(p);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(invariant_under_permutations_to_the_bit)
{
    rng r = {UINT64_C(200) + (uint64_t)_i};
    equinv_context *ctx = context_new();
    for (int trial = 0; trial < 200; trial++) {
        equinv_projection_desc d =
            rows_desc(kinds[_i], trial % 2 ? EQUINV_F32 : EQUINV_F64, rng_range(&r, 1, 40),
                      rng_range(&r, 1, 5), rng_range(&r, 1, 5), rng_next(&r));
        equinv_projection *p = projection_new(ctx, &d);
        equinv_tensor z, mask;
        OK(equinv_tensor_create(ctx, d.dtype, 3, (int64_t[]){2, d.rows, d.channels}, &z));
        OK(equinv_tensor_create(ctx, EQUINV_U8, 2, (int64_t[]){2, d.rows}, &mask));
        tensor_fill_random(&r, &z);
        for (int64_t i = 0; i < 2 * d.rows; i++)
            tensor_set(&mask, i, (double)rng_range(&r, 0, 2));
        equinv_tensor codes = project(ctx, p, &z, &mask);
        for (int64_t b = 0; b < 2; b++)
            for (int64_t row = d.rows - 1; row > 0; row--) {
                const int64_t other = rng_range(&r, 0, row);
                for (int64_t c = 0; c < d.channels; c++) {
                    const int64_t i = (b * d.rows + row) * d.channels + c;
                    const int64_t j = (b * d.rows + other) * d.channels + c;
                    const double swap = tensor_get(&z, i);
                    tensor_set(&z, i, tensor_get(&z, j));
                    tensor_set(&z, j, swap);
                }
                const double swap = tensor_get(&mask, b * d.rows + row);
                tensor_set(&mask, b * d.rows + row, tensor_get(&mask, b * d.rows + other));
                tensor_set(&mask, b * d.rows + other, swap);
            }
        equinv_tensor again = project(ctx, p, &z, &mask);
        ASSERT_SAME(&again, &codes);
        equinv_tensor_destroy(ctx, &z);
        equinv_tensor_destroy(ctx, &mask);
        equinv_tensor_destroy(ctx, &codes);
        equinv_tensor_destroy(ctx, &again);
        equinv_projection_destroy(p);
    }
    equinv_context_destroy(ctx);
}
END_TEST

/* Least |x - P y|^2 over all permutations of n <= 6 numbers. */
static double assignment(const double *x, const double *y, int n, unsigned used)
{
    if (n == 0)
        return 0;
    double best = (double)INFINITY;
    for (int j = 0; j < 6; j++)
        if (!(used >> j & 1) && !isnan(y[j])) {
            const double d = x[n - 1] - y[j];
            best = fmin(best, d * d + assignment(x, y, n - 1, used | 1u << j));
        }
    return best;
}

START_TEST(one_channel_sorts_isometrically)
{
    rng r = {300};
    equinv_context *ctx = context_new();
    for (int trial = 0; trial < 200; trial++) {
        const int n = (int)rng_range(&r, 1, 6);
        equinv_projection_desc d = rows_desc(EQUINV_PROJECT_SORT, EQUINV_F64, n, 1, 1, 0);
        equinv_projection *p = projection_new(ctx, &d);
        equinv_tensor z = tensor_random(ctx, &r, EQUINV_F64, 2, 2, n), codes = tensor_like(ctx, &z);
        OK(equinv_project_forward(p, &z, NULL, &codes, NULL, 0, NULL, 0)); /* [B, n] both */
        double y[6], sum = 0;
        for (int i = 0; i < 6; i++)
            y[i] = i < n ? tensor_get(&z, n + i) : (double)NAN;
        for (int i = 0; i < n; i++)
            sum += pow(tensor_get(&codes, i) - tensor_get(&codes, n + i), 2);
        const double expected = assignment(z.data, y, n, 0);
        ck_assert_msg(fabs(sum - expected) < 1e-14, "trial %d: %g, expected %g", trial, sum,
                      expected);
        equinv_tensor_destroy(ctx, &z);
        equinv_tensor_destroy(ctx, &codes);
        equinv_projection_destroy(p);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(order_of_equal_numbers_zeros_and_nan)
{
    static const double rows[] = {
        2, (double)NAN, -0.0, 1, 0.0, (double)INFINITY, -0.0, (double)NAN, 1, -(double)INFINITY, 9};
    static const double sorted[] = {-(double)INFINITY, -0.0,        0.0,        -0.0, 1, 1, 2,
                                    (double)INFINITY,  (double)NAN, (double)NAN};
    static const int32_t places[] = {9, 2, 4, 6, 3, 8, 0, 5, 1, 7, -1};
    enum { ROWS = sizeof rows / sizeof *rows };
    equinv_context *ctx = context_new();
    equinv_projection_desc d =
        rows_desc(kinds[_i / 2], _i % 2 ? EQUINV_F32 : EQUINV_F64, ROWS, 1, 1, 0);
    equinv_tensor one = tensor_new(ctx, d.dtype, 2, 1, 1);
    tensor_set(&one, 0, 1);
    d.fill = 5; /* fill values stand behind NaN */
    d.templates = EQUINV_TEMPLATE_USER;
    d.user_templates = &one;
    equinv_projection *p = projection_new(ctx, &d);
    equinv_tensor z = tensor_new(ctx, d.dtype, 3, 1, ROWS, 1);
    equinv_tensor mask = tensor_new(ctx, EQUINV_U8, 2, 1, ROWS);
    for (int i = 0; i < ROWS; i++) {
        tensor_set(&z, i, rows[i]);
        tensor_set(&mask, i, i != 10);
    }
    equinv_tensor codes = codes_of(ctx, p, d.dtype, 1), saved = saved_of(ctx, p, 1);
    OK(equinv_project_forward(p, &z, &mask, &codes, saved.data, size_of(&saved), NULL, 0));
    for (int i = 0; i < ROWS; i++) {
        const double got = tensor_get(&codes, i), want = i < 10 ? sorted[i] : 5;
        ck_assert_msg(got == want || (isnan(got) && isnan(want)), "place %d: %g, expected %g", i,
                      got, want);
        /* A projected -0 may be +0: sums start from +0. */
        ck_assert(_i / 2 || isnan(want) || !signbit(got) == !signbit(want));
        ck_assert_int_eq(((const int32_t *)saved.data)[i], places[i]);
    }
    equinv_tensor_destroy(ctx, &one);
    equinv_tensor_destroy(ctx, &z);
    equinv_tensor_destroy(ctx, &mask);
    equinv_tensor_destroy(ctx, &codes);
    equinv_tensor_destroy(ctx, &saved);
    equinv_projection_destroy(p);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(long_rows_with_many_ties_keep_their_order)
{
    rng r = {400};
    equinv_context *ctx = context_new();
    for (int trial = 0; trial < 30; trial++) {
        const int64_t n = rng_range(&r, 1, 3000);
        equinv_projection_desc d = rows_desc(EQUINV_PROJECT_SORT, EQUINV_F32, n, 1, 1, 0);
        equinv_projection *p = projection_new(ctx, &d);
        equinv_tensor z, codes, saved = saved_of(ctx, p, 1);
        OK(equinv_tensor_create(ctx, EQUINV_F32, 3, (int64_t[]){1, n, 1}, &z));
        for (int64_t i = 0; i < n; i++)
            tensor_set(&z, i, (double)rng_range(&r, 0, trial));
        codes = tensor_like(ctx, &z);
        OK(equinv_project_forward(p, &z, NULL, &codes, saved.data, size_of(&saved), NULL, 0));
        const int32_t *const row = saved.data;
        for (int64_t i = 0; i < n; i++) {
            ck_assert(tensor_get(&codes, i) == tensor_get(&z, row[i]));
            if (i > 0) {
                const double before = tensor_get(&codes, i - 1), now = tensor_get(&codes, i);
                ck_assert(before < now || (before == now && row[i - 1] < row[i]));
            }
        }
        equinv_tensor_destroy(ctx, &z);
        equinv_tensor_destroy(ctx, &codes);
        equinv_tensor_destroy(ctx, &saved);
        equinv_projection_destroy(p);
    }
    equinv_context_destroy(ctx);
}
END_TEST

/* sum of weights * code, over the places of rows that are there. */
static double objective(equinv_context *ctx, const equinv_projection *p, const equinv_tensor *z,
                        const equinv_tensor *mask, const equinv_tensor *weights)
{
    equinv_tensor codes = project(ctx, p, z, mask);
    double sum = 0;
    for (int64_t i = 0; i < equinv_tensor_count(&codes); i++)
        if (isfinite(tensor_get(&codes, i)))
            sum += tensor_get(&codes, i) * tensor_get(weights, i);
    equinv_tensor_destroy(ctx, &codes);
    return sum;
}

START_TEST(gradients_equal_finite_differences)
{
    rng r = {UINT64_C(500) + (uint64_t)_i};
    equinv_context *ctx = context_new();
    for (int trial = 0; trial < 60; trial++) {
        equinv_projection_desc d =
            rows_desc(kinds[_i], EQUINV_F64, rng_range(&r, 1, 9), rng_range(&r, 1, 3),
                      rng_range(&r, 1, 4), rng_next(&r));
        d.scaled = trial % 2;
        d.accumulate = trial % 3 == 0;
        equinv_projection *p = projection_new(ctx, &d);
        equinv_tensor z, mask_tensor;
        OK(equinv_tensor_create(ctx, EQUINV_F64, 3, (int64_t[]){2, d.rows, d.channels}, &z));
        OK(equinv_tensor_create(ctx, EQUINV_I32, 2, (int64_t[]){2, d.rows}, &mask_tensor));
        tensor_fill_random(&r, &z);
        for (int64_t i = 0; i < 2 * d.rows; i++)
            tensor_set(&mask_tensor, i, (double)rng_range(&r, 0, 2));
        const equinv_tensor *const mask = trial % 4 ? &mask_tensor : NULL;
        equinv_tensor codes = codes_of(ctx, p, EQUINV_F64, 2), saved = saved_of(ctx, p, 2);
        equinv_tensor weights = tensor_like(ctx, &codes), gradient = tensor_like(ctx, &z);
        tensor_fill_random(&r, &weights);
        tensor_fill_random(&r, &gradient);
        equinv_tensor before = tensor_as(ctx, &gradient, EQUINV_F64);
        OK(equinv_project_forward(p, &z, mask, &codes, saved.data, size_of(&saved), NULL, 0));
        for (int64_t i = 0; i < equinv_tensor_count(&codes); i++)
            if (!isfinite(tensor_get(&codes, i)))
                tensor_set(&weights, i, (double)NAN); /* ignored */
        OK(equinv_project_backward(p, &weights, mask, saved.data, size_of(&saved), &gradient, NULL,
                                   0));
        const double step = 1e-6;
        for (int64_t i = 0; i < equinv_tensor_count(&z); i++) {
            const double here = tensor_get(&z, i);
            tensor_set(&z, i, here + step);
            const double up = objective(ctx, p, &z, mask, &weights);
            tensor_set(&z, i, here - step);
            const double down = objective(ctx, p, &z, mask, &weights);
            tensor_set(&z, i, here);
            const double got =
                tensor_get(&gradient, i) - (d.accumulate ? tensor_get(&before, i) : 0);
            ck_assert_msg(fabs((up - down) / (2 * step) - got) < 1e-7,
                          "seed %llu coordinate %lld: %g, expected %g", (unsigned long long)d.seed,
                          (long long)i, got, (up - down) / (2 * step));
            if (mask && tensor_get(mask, i / d.channels) == 0)
                ck_assert(got == 0);
        }
        equinv_tensor_destroy(ctx, &z);
        equinv_tensor_destroy(ctx, &mask_tensor);
        equinv_tensor_destroy(ctx, &codes);
        equinv_tensor_destroy(ctx, &saved);
        equinv_tensor_destroy(ctx, &weights);
        equinv_tensor_destroy(ctx, &gradient);
        equinv_tensor_destroy(ctx, &before);
        equinv_projection_destroy(p);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(backward_alone_may_leave_rows_out)
{
    equinv_context *ctx = context_new();
    equinv_projection_desc d = rows_desc(kinds[_i], EQUINV_F64, 4, 1, 1, 3);
    equinv_projection *p = projection_new(ctx, &d);
    equinv_tensor z = tensor_random(ctx, &(rng){1}, EQUINV_F64, 3, 1, 4, 1);
    equinv_tensor mask = tensor_new(ctx, EQUINV_U8, 2, 1, 4), diff = tensor_like(ctx, &z);
    equinv_tensor codes = codes_of(ctx, p, EQUINV_F64, 1), saved = saved_of(ctx, p, 1);
    OK(equinv_project_forward(p, &z, NULL, &codes, saved.data, size_of(&saved), NULL, 0));
    tensor_set(&mask, 2, 1);
    for (int i = 0; i < 4; i++)
        tensor_set(&codes, i, 1);
    OK(equinv_project_backward(p, &codes, &mask, saved.data, size_of(&saved), &diff, NULL, 0));
    for (int i = 0; i < 4; i++)
        ck_assert((tensor_get(&diff, i) != 0) == (i == 2));
    equinv_tensor_destroy(ctx, &z);
    equinv_tensor_destroy(ctx, &mask);
    equinv_tensor_destroy(ctx, &diff);
    equinv_tensor_destroy(ctx, &codes);
    equinv_tensor_destroy(ctx, &saved);
    equinv_projection_destroy(p);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(any_strides_and_any_batch)
{
    rng r = {UINT64_C(600) + (uint64_t)_i};
    equinv_context *ctx = context_new();
    for (int trial = 0; trial < 200; trial++) {
        const int64_t batch = rng_range(&r, 1, 6);
        equinv_projection_desc d =
            rows_desc(kinds[_i], trial % 2 ? EQUINV_F32 : EQUINV_F64, rng_range(&r, 1, 9),
                      rng_range(&r, 1, 3), rng_range(&r, 1, 4), rng_next(&r));
        equinv_projection *p = projection_new(ctx, &d);
        equinv_tensor z, mask, stores[4];
        OK(equinv_tensor_create(ctx, d.dtype, 3, (int64_t[]){batch, d.rows, d.channels}, &z));
        OK(equinv_tensor_create(ctx, EQUINV_U8, 2, (int64_t[]){batch, d.rows}, &mask));
        tensor_fill_random(&r, &z);
        for (int64_t i = 0; i < batch * d.rows; i++)
            tensor_set(&mask, i, (double)rng_range(&r, 0, 1));
        equinv_tensor codes = codes_of(ctx, p, d.dtype, batch), diff = tensor_like(ctx, &z);
        equinv_tensor saved = saved_of(ctx, p, batch);
        equinv_tensor zs = tensor_strided_copy(ctx, &r, &z, &stores[0]);
        equinv_tensor masks = tensor_strided_copy(ctx, &r, &mask, &stores[1]);
        equinv_tensor codes_s = tensor_strided_copy(ctx, &r, &codes, &stores[2]);
        equinv_tensor diff_s = tensor_strided_copy(ctx, &r, &diff, &stores[3]);
        OK(equinv_project_forward(p, &z, &mask, &codes, saved.data, size_of(&saved), NULL, 0));
        OK(equinv_project_forward(p, &zs, &masks, &codes_s, saved.data, size_of(&saved), NULL, 0));
        ASSERT_SAME(&codes_s, &codes);
        OK(equinv_project_backward(p, &codes, &mask, saved.data, size_of(&saved), &diff, NULL, 0));
        OK(equinv_project_backward(p, &codes_s, &masks, saved.data, size_of(&saved), &diff_s, NULL,
                                   0));
        ASSERT_SAME(&diff_s, &diff);
        const int64_t row = rng_range(&r, 0, batch - 1);
        equinv_tensor alone, mask_alone, expected;
        OK(equinv_tensor_rows(&z, row, 1, &alone));
        OK(equinv_tensor_rows(&mask, row, 1, &mask_alone));
        OK(equinv_tensor_rows(&codes, row, 1, &expected));
        equinv_tensor got = project(ctx, p, &alone, &mask_alone);
        ASSERT_SAME(&got, &expected);
        equinv_tensor_destroy(ctx, &got);
        equinv_tensor_destroy(ctx, &z);
        equinv_tensor_destroy(ctx, &mask);
        equinv_tensor_destroy(ctx, &codes);
        equinv_tensor_destroy(ctx, &diff);
        equinv_tensor_destroy(ctx, &saved);
        for (int s = 0; s < 4; s++)
            equinv_tensor_destroy(ctx, &stores[s]);
        equinv_projection_destroy(p);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(no_row_present_and_no_batch)
{
    equinv_context *ctx = context_new();
    equinv_projection_desc d = rows_desc(kinds[_i], EQUINV_F32, 4, 2, 3, 1);
    equinv_projection *p = projection_new(ctx, &d);
    equinv_tensor z = tensor_new(ctx, EQUINV_F32, 3, 1, 4, 2), diff = tensor_like(ctx, &z);
    equinv_tensor mask = tensor_new(ctx, EQUINV_I32, 2, 1, 4);
    equinv_tensor codes = codes_of(ctx, p, EQUINV_F32, 1), saved = saved_of(ctx, p, 1);
    tensor_set(&diff, 3, 5);
    OK(equinv_project_forward(p, &z, &mask, &codes, saved.data, size_of(&saved), NULL, 0));
    for (int64_t i = 0; i < equinv_tensor_count(&codes); i++)
        ck_assert(isinf(tensor_get(&codes, i)) && tensor_get(&codes, i) > 0);
    OK(equinv_project_backward(p, &codes, &mask, saved.data, size_of(&saved), &diff, NULL, 0));
    ck_assert(tensor_max_abs(&diff) == 0);
    equinv_tensor empty = tensor_new(ctx, EQUINV_F32, 3, 0, 4, 2), none;
    none = codes_of(ctx, p, EQUINV_F32, 0);
    OK(equinv_project_forward(p, &empty, NULL, &none, NULL, 0, NULL, 0));
    OK(equinv_project_backward(p, &none, NULL, NULL, 0, &empty, NULL, 0));
    equinv_tensor_destroy(ctx, &z);
    equinv_tensor_destroy(ctx, &diff);
    equinv_tensor_destroy(ctx, &mask);
    equinv_tensor_destroy(ctx, &codes);
    equinv_tensor_destroy(ctx, &saved);
    equinv_tensor_destroy(ctx, &empty);
    equinv_tensor_destroy(ctx, &none);
    equinv_projection_destroy(p);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(templates_of_channels)
{
    equinv_context *ctx = context_new();
    equinv_projection_desc d =
        rows_desc(EQUINV_PROJECT_PROJECT_SORT, EQUINV_F64, 3, 6, 6, UINT64_C(1) << 40);
    equinv_projection *p = projection_new(ctx, &d);
    equinv_tensor used, expected;
    OK(equinv_projection_templates(p, &used));
    expected = tensor_new(ctx, EQUINV_F64, 2, 6, 6);
    OK(equinv_templates(ctx, EQUINV_TEMPLATE_GAUSSIAN, d.seed, 0, &expected));
    ASSERT_SAME(&used, &expected);
    equinv_projection_destroy(p);
    d.templates = EQUINV_TEMPLATE_ORTHONORMAL;
    p = projection_new(ctx, &d);
    OK(equinv_projection_templates(p, &used));
    for (int64_t i = 0; i < 6; i++)
        for (int64_t j = 0; j < 6; j++) {
            double sum = 0;
            for (int64_t c = 0; c < 6; c++)
                sum += tensor_get(&used, i * 6 + c) * tensor_get(&used, j * 6 + c);
            ck_assert(fabs(sum - (i == j)) < 1e-14);
        }
    equinv_projection_destroy(p);
    d.k = 7;
    FAILS(EQUINV_ERR_ARG, "at most 6", equinv_projection_create(ctx, &d, &p));
    d = rows_desc(EQUINV_PROJECT_SORT, EQUINV_F32, 3, 2, 1, 0);
    p = projection_new(ctx, &d);
    FAILS(EQUINV_ERR_UNSUPPORTED, "SORT", equinv_projection_templates(p, &used));
    int64_t rank;
    FAILS(EQUINV_ERR_UNSUPPORTED, "rank", equinv_projection_rank(p, &rank));
    equinv_projection_destroy(p);
    equinv_tensor_destroy(ctx, &expected);
    equinv_context_destroy(ctx);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {equals_a_sort_of_the_present_rows, 2},
        {invariant_under_permutations_to_the_bit, 2},
        {one_channel_sorts_isometrically, 1},
        {order_of_equal_numbers_zeros_and_nan, 4},
        {long_rows_with_many_ties_keep_their_order, 1},
        {gradients_equal_finite_differences, 2},
        {backward_alone_may_leave_rows_out, 2},
        {any_strides_and_any_batch, 2},
        {no_row_present_and_no_batch, 2},
        {templates_of_channels, 1},
    };
    return run_tests("projection_rows", tests, sizeof tests / sizeof *tests);
}
