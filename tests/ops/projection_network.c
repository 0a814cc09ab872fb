/* Rows sorted by networks, on every instruction set: the same as the reference, to the bit. */
#include "tests/ops/projection_cases.h"
#include "tests/util/layout.h"

enum { MOST_ROWS = 64 };

/* One problem with both implementations. */
typedef struct pair {
    equinv_projection *p[2];
    equinv_tensor codes[2], saved[2], diff[2];
} pair;

static const char *const impls[] = {"ref", "network"};

static void pair_open(equinv_context *ctx, equinv_projection_desc d, int64_t batch, pair *t)
{
    for (int i = 0; i < 2; i++) {
        d.impl = impls[i];
        OK(equinv_projection_create(ctx, &d, &t->p[i]));
        t->codes[i] = codes_of(ctx, t->p[i], EQUINV_F32, batch);
        t->saved[i] = saved_of(ctx, t->p[i], batch);
        OK(equinv_tensor_create(ctx, EQUINV_F32, 3, (int64_t[]){batch, d.rows, d.channels},
                                &t->diff[i]));
    }
    ck_assert_str_eq(equinv_projection_impl_name(t->p[1]), "projection/network");
}

static void pair_close(equinv_context *ctx, pair *t)
{
    for (int i = 0; i < 2; i++) {
        equinv_tensor_destroy(ctx, &t->codes[i]);
        equinv_tensor_destroy(ctx, &t->saved[i]);
        equinv_tensor_destroy(ctx, &t->diff[i]);
        equinv_projection_destroy(t->p[i]);
    }
}

/* Numbers with many equal ones, zeros of both signs, infinities and NaN; 0: random ones alone. */
static double special(rng *r, int kind)
{
    static const double values[] = {0.0,  -0.0, (double)INFINITY, -(double)INFINITY, (double)NAN,
                                    1.0,  -1.0, 0x1p-149,         -0x1p-149,         0x1p127,
                                    -0.0, 3.0};
    if (kind == 0)
        return rng_uniform(r);
    if (kind == 1)
        return (double)rng_range(r, 0, 3);
    return values[rng_range(r, 0, kind == 2 ? 1 : 11)];
}

START_TEST(sort_equals_ref_to_the_bit)
{
    rng r = {UINT64_C(3000) + (uint64_t)_i};
    equinv_context *ctx = context_at_level(_i);
    if (!ctx)
        return;
    for (int64_t n = 1; n <= MOST_ROWS; n++)
        for (int trial = 0; trial < 8; trial++) {
            const int64_t channels = trial % 2 ? 1 : rng_range(&r, 1, 20);
            const int64_t batch = rng_range(&r, 0, 40);
            equinv_projection_desc d =
                rows_desc(EQUINV_PROJECT_SORT, EQUINV_F32, n, channels, 1, 0);
            d.fill = trial < 4 ? (double)INFINITY : -2;
            pair t;
            pair_open(ctx, d, batch, &t);
            equinv_tensor z = tensor_like(ctx, &t.diff[0]), mask;
            OK(equinv_tensor_create(ctx, trial % 3 ? EQUINV_U8 : EQUINV_I32, 2,
                                    (int64_t[]){batch, n}, &mask));
            for (int64_t i = 0; i < equinv_tensor_count(&z); i++)
                tensor_set(&z, i, special(&r, trial % 4));
            for (int64_t i = 0; i < batch * n; i++)
                tensor_set(&mask, i, (double)rng_range(&r, 0, 2));
            const equinv_tensor *const m = trial % 4 == 3 || trial == 0 ? &mask : NULL;
            /* Once with the rows, once without: they are found in different ways. */
            for (int kept = 0; kept < 2; kept++) {
                for (int i = 0; i < 2; i++)
                    OK(equinv_project_forward(t.p[i], &z, m, &t.codes[i],
                                              kept ? t.saved[i].data : NULL,
                                              kept ? size_of(&t.saved[i]) : 0, NULL, 0));
                ASSERT_SAME(&t.codes[1], &t.codes[0]);
            }
            ASSERT_SAME(&t.saved[1], &t.saved[0]);
            equinv_tensor_destroy(ctx, &z);
            equinv_tensor_destroy(ctx, &mask);
            pair_close(ctx, &t);
        }
    equinv_context_destroy(ctx);
}
END_TEST

/* A network that sorts all rows of zeros and ones sorts everything (0-1 principle). */
START_TEST(all_zeros_and_ones_are_sorted)
{
    enum { MOST = 12 };
    equinv_context *ctx = context_at_level(_i);
    if (!ctx)
        return;
    for (int n = 1; n <= MOST; n++) {
        equinv_projection_desc d = rows_desc(EQUINV_PROJECT_SORT, EQUINV_F32, n, 1, 1, 0);
        equinv_projection *p;
        d.impl = "network";
        OK(equinv_projection_create(ctx, &d, &p));
        equinv_tensor z = tensor_new(ctx, EQUINV_F32, 2, 1 << n, n), codes = tensor_like(ctx, &z);
        for (int b = 0; b < 1 << n; b++)
            for (int i = 0; i < n; i++)
                tensor_set(&z, b * n + i, b >> i & 1);
        OK(equinv_project_forward(p, &z, NULL, &codes, NULL, 0, NULL, 0));
        for (int b = 0; b < 1 << n; b++) {
            const int zeros = n - __builtin_popcount((unsigned)b);
            for (int i = 0; i < n; i++)
                ck_assert(tensor_get(&codes, b * n + i) == (i >= zeros));
        }
        equinv_tensor_destroy(ctx, &z);
        equinv_tensor_destroy(ctx, &codes);
        equinv_projection_destroy(p);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(any_layout_and_nothing_beside_it)
{
    rng r = {UINT64_C(3100) + (uint64_t)_i};
    equinv_context *ctx = context_at_level(_i);
    if (!ctx)
        return;
    for (int trial = 0; trial < 120; trial++) {
        const equinv_projection_kind kind =
            trial % 2 ? EQUINV_PROJECT_SORT : EQUINV_PROJECT_PROJECT_SORT;
        const int64_t batch = rng_range(&r, 1, 20);
        equinv_projection_desc d =
            rows_desc(kind, EQUINV_F32, rng_range(&r, 1, MOST_ROWS),
                      trial % 3 ? rng_range(&r, 1, 5) : 1, rng_range(&r, 1, 40), 0);
        equinv_projection *p;
        d.impl = "network";
        d.accumulate = trial % 4 < 2;
        OK(equinv_projection_create(ctx, &d, &p));
        equinv_tensor z, codes = codes_of(ctx, p, EQUINV_F32, batch);
        equinv_tensor saved = saved_of(ctx, p, batch);
        OK(equinv_tensor_create(ctx, EQUINV_F32, 3, (int64_t[]){batch, d.rows, d.channels}, &z));
        tensor_fill_random(&r, &z);
        equinv_tensor diff = tensor_copy(ctx, &z);
        OK(equinv_project_forward(p, &z, NULL, &codes, saved.data, size_of(&saved), NULL, 0));
        laid z_laid = laid_copy(ctx, &r, &z), diff_laid = laid_copy(ctx, &r, &z);
        laid codes_laid = laid_new(ctx, &r, EQUINV_F32, codes.ndim, codes.shape);
        OK(equinv_project_forward(p, &z_laid.view, NULL, &codes_laid.view, NULL, 0, NULL, 0));
        ASSERT_SAME(&codes_laid.view, &codes);
        OK(equinv_project_backward(p, &codes, NULL, saved.data, size_of(&saved), &diff, NULL, 0));
        OK(equinv_project_backward(p, &codes_laid.view, NULL, saved.data, size_of(&saved),
                                   &diff_laid.view, NULL, 0));
        ASSERT_SAME(&diff_laid.view, &diff);
        ck_assert(laid_gaps_kept(&codes_laid) && laid_gaps_kept(&diff_laid));
        laid_free(ctx, &z_laid);
        laid_free(ctx, &diff_laid);
        laid_free(ctx, &codes_laid);
        equinv_tensor_destroy(ctx, &z);
        equinv_tensor_destroy(ctx, &diff);
        equinv_tensor_destroy(ctx, &codes);
        equinv_tensor_destroy(ctx, &saved);
        equinv_projection_destroy(p);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(projected_rows_and_gradients_equal_ref)
{
    rng r = {UINT64_C(3200) + (uint64_t)_i};
    equinv_context *ctx = context_at_level(_i);
    if (!ctx)
        return;
    for (int trial = 0; trial < 200; trial++) {
        const int64_t batch = rng_range(&r, 0, 6);
        equinv_projection_desc d =
            rows_desc(trial % 4 ? EQUINV_PROJECT_PROJECT_SORT : EQUINV_PROJECT_SORT, EQUINV_F32,
                      rng_range(&r, 1, MOST_ROWS), rng_range(&r, 1, 12), rng_range(&r, 1, 40), 0);
        d.seed = rng_next(&r);
        d.scaled = trial % 3 == 0;
        d.accumulate = trial % 5 == 0;
        pair t;
        pair_open(ctx, d, batch, &t);
        equinv_tensor z = tensor_like(ctx, &t.diff[0]), diff_codes = tensor_like(ctx, &t.codes[0]);
        equinv_tensor mask;
        OK(equinv_tensor_create(ctx, EQUINV_U8, 2, (int64_t[]){batch, d.rows}, &mask));
        tensor_fill_random(&r, &z);
        tensor_fill_random(&r, &diff_codes);
        for (int64_t i = 0; i < batch * d.rows; i++) {
            tensor_set(&mask, i, (double)rng_range(&r, 0, 2));
            for (int64_t c = 0; c < d.channels && tensor_get(&mask, i) == 0 && trial % 2; c++)
                tensor_set(&z, i * d.channels + c, (double)NAN); /* must not matter */
        }
        const equinv_tensor *const m = trial % 2 ? &mask : NULL;
        for (int i = 0; i < 2; i++) {
            OK(equinv_project_forward(t.p[i], &z, m, &t.codes[i], t.saved[i].data,
                                      size_of(&t.saved[i]), NULL, 0));
            for (int64_t e = 0; e < equinv_tensor_count(&t.diff[i]); e++)
                tensor_set(&t.diff[i], e, (double)(e % 7));
            OK(equinv_project_backward(t.p[i], &diff_codes, m, t.saved[0].data,
                                       size_of(&t.saved[0]), &t.diff[i], NULL, 0));
        }
        ASSERT_CLOSE(&t.codes[1], &t.codes[0], 2e-6);
        ASSERT_CLOSE(&t.diff[1], &t.diff[0], 2e-6);
        equinv_tensor_destroy(ctx, &z);
        equinv_tensor_destroy(ctx, &diff_codes);
        equinv_tensor_destroy(ctx, &mask);
        pair_close(ctx, &t);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(declined)
{
    equinv_context *ctx = context_new();
    equinv_projection *p = NULL;
    equinv_projection_desc d = rows_desc(EQUINV_PROJECT_SORT, EQUINV_F32, MOST_ROWS + 1, 1, 1, 0);
    OK(equinv_projection_create(ctx, &d, &p));
    ck_assert_str_eq(equinv_projection_impl_name(p), "projection/ref");
    equinv_projection_destroy(p);
    d.impl = "network";
    FAILS(EQUINV_ERR_UNSUPPORTED, "more than 64 rows", equinv_projection_create(ctx, &d, &p));
    d.rows = MOST_ROWS;
    d.dtype = EQUINV_F64;
    FAILS(EQUINV_ERR_UNSUPPORTED, "f32 only", equinv_projection_create(ctx, &d, &p));
    d = desc_of(EQUINV_PROJECT_MAX, group_cases[3], EQUINV_F32, 1, 1, 1);
    d.impl = "network";
    FAILS(EQUINV_ERR_UNSUPPORTED, "sort by rows", equinv_projection_create(ctx, &d, &p));
    equinv_context_destroy(ctx);
}
END_TEST

static equinv_status make(equinv_context *ctx, void *arg)
{
    equinv_projection *p = NULL;
    const equinv_status status = equinv_projection_create(ctx, arg, &p);
    ck_assert(!p == (status != EQUINV_OK));
    equinv_projection_destroy(p);
    return status;
}

START_TEST(allocation_failures)
{
    equinv_projection_desc d = rows_desc(EQUINV_PROJECT_PROJECT_SORT, EQUINV_F32, 9, 3, 5, 0);
    /* projection, templates, packed ones, arena */
    ck_assert_int_eq(fail_in_turn(make, &d), 4);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {sort_equals_ref_to_the_bit, TEST_LEVELS},
        {all_zeros_and_ones_are_sorted, TEST_LEVELS},
        {any_layout_and_nothing_beside_it, TEST_LEVELS},
        {projected_rows_and_gradients_equal_ref, TEST_LEVELS},
        {declined, 1},
        {allocation_failures, 1},
    };
    return run_tests("projection_network", tests, sizeof tests / sizeof *tests);
}
