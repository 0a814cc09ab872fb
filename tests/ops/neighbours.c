/* Nearest orbits against all orbit distances. */
#include "internal/distance.h"
#include "tests/ops/projection_cases.h"
#include "tests/util/layout.h"

static void check(equinv_context *ctx, rng *r, equinv_group group, const equinv_tensor *gallery,
                  const equinv_tensor *queries, int64_t k)
{
    const int64_t a = gallery->shape[0], b = queries->shape[0];
    const equinv_dtype dtype = gallery->dtype;
    const double tolerance = dtype == EQUINV_F32 ? 1e-6 : 1e-13;
    equinv_tensor all, distance, index;
    OK(equinv_tensor_create(ctx, dtype, 2, (int64_t[]){b, a}, &all));
    OK(equinv_tensor_create(ctx, dtype, 2, (int64_t[]){b, k}, &distance));
    OK(equinv_tensor_create(ctx, EQUINV_I32, 2, (int64_t[]){b, k}, &index));
    laid from = laid_copy(ctx, r, gallery), to = laid_copy(ctx, r, queries);
    OK(equinv_orbit_distance(ctx, group, queries, gallery, &all, NULL));
    OK(equinv_neighbours(ctx, group, &from.view, &to.view, k, &distance, &index));
    bool *const taken = calloc((size_t)a, sizeof *taken);
    ck_assert_ptr_nonnull(taken);
    for (int64_t q = 0; q < b; q++) {
        memset(taken, 0, (size_t)a * sizeof *taken);
        double farthest = 0;
        for (int64_t i = 0; i < k; i++) {
            const double got = tensor_get(&distance, q * k + i);
            const int32_t row = ((const int32_t *)index.data)[q * k + i];
            ck_assert(row >= 0 && row < a && !taken[row]);
            taken[row] = true;
            const double expected = tensor_get(&all, q * a + row);
            ck_assert_msg(fabs(got - expected) <= tolerance * (1 + expected), "%g, expected %g",
                          got, expected);
            ck_assert(i == 0 || got >= tensor_get(&distance, q * k + i - 1));
            farthest = got;
        }
        for (int64_t row = 0; row < a; row++) /* nobody nearer was left out */
            ck_assert_msg(taken[row] || tensor_get(&all, q * a + row) >= farthest * (1 - tolerance),
                          "row %lld at %g is not among those up to %g", (long long)row,
                          tensor_get(&all, q * a + row), farthest);
    }
    free(taken);
    laid_free(ctx, &from), laid_free(ctx, &to);
    equinv_tensor_destroy(ctx, &all);
    equinv_tensor_destroy(ctx, &distance);
    equinv_tensor_destroy(ctx, &index);
}

START_TEST(nearest_of_all)
{
    rng r = {1};
    equinv_context *ctx = context_new();
    for (int trial = 0; trial < 100; trial++) {
        const equinv_dtype dtype = trial % 2 ? EQUINV_F32 : EQUINV_F64;
        const int64_t a = rng_range(&r, 1, 40), b = rng_range(&r, 0, 6);
        const int i = trial / 2 % (GROUP_CASES + 3);
        equinv_tensor gallery, queries;
        equinv_group group = equinv_symmetric();
        if (i < GROUP_CASES) {
            const equinv_projection_desc d =
                desc_of(EQUINV_PROJECT_MAX, group_cases[i], dtype, rng_range(&r, 1, 3), 1, 0);
            group = d.group;
            gallery = latents_of(ctx, &r, &d, a);
            queries = latents_of(ctx, &r, &d, b);
        } else {
            const int64_t n = rng_range(&r, 1, 12), c = i == GROUP_CASES ? 1 : rng_range(&r, 2, 4);
            OK(equinv_tensor_create(ctx, dtype, 3, (int64_t[]){a, n, c}, &gallery));
            OK(equinv_tensor_create(ctx, dtype, 3, (int64_t[]){b, n, c}, &queries));
            tensor_fill_random(&r, &gallery);
            tensor_fill_random(&r, &queries);
        }
        if (trial % 3 == 0) /* small distances beside large ones */
            for (int64_t e = 0; e < equinv_tensor_count(&gallery); e++)
                tensor_set(&gallery, e,
                           tensor_get(&gallery, e) /
                               (double)(1 + e / (equinv_tensor_count(&gallery) / a)));
        check(ctx, &r, group, &gallery, &queries, rng_range(&r, 1, a));
        equinv_tensor_destroy(ctx, &gallery);
        equinv_tensor_destroy(ctx, &queries);
    }
    equinv_context_destroy(ctx);
}
END_TEST

typedef struct candidate {
    double square;
    int32_t row;
} candidate;

static int nearest_first(const void *a, const void *b)
{
    const candidate *const p = a, *const q = b;
    return p->square != q->square ? (p->square > q->square) - (p->square < q->square)
                                  : (p->row > q->row) - (p->row < q->row);
}

/* Row q of all queries turned by g, beside a row of the gallery. */
static double measured(const equinv_tensor *moved, int64_t q, const equinv_tensor *gallery,
                       int64_t row, int64_t numbers)
{
    return moved->dtype == EQUINV_F32
               ? eqi_squared_distance_f32((const float *)moved->data + q * numbers,
                                          (const float *)gallery->data + row * numbers, numbers)
               : eqi_squared_distance_f64((const double *)moved->data + q * numbers,
                                          (const double *)gallery->data + row * numbers, numbers);
}

/* Every g of every pair measured in double: the same rows and the same bits, on every level. */
static void check_exactly(equinv_context *ctx, equinv_group group, const equinv_tensor *gallery,
                          const equinv_tensor *queries, int64_t k)
{
    enum { MOST = 40 };
    const int64_t a = gallery->shape[0], b = queries->shape[0];
    const int64_t numbers = equinv_tensor_count(gallery) / a;
    equinv_tensor distance, index;
    candidate all[MOST];
    OK(equinv_tensor_create(ctx, gallery->dtype, 2, (int64_t[]){b, k}, &distance));
    OK(equinv_tensor_create(ctx, EQUINV_I32, 2, (int64_t[]){b, k}, &index));
    OK(equinv_neighbours(ctx, group, gallery, queries, k, &distance, &index));
    for (int64_t q = 0; q < b; q++) {
        for (int32_t row = 0; row < a; row++)
            all[row] = (candidate){(double)INFINITY, row};
        for (int32_t g = 0; g < order_of(group); g++) {
            equinv_tensor moved = acted(ctx, group, g, queries);
            for (int64_t row = 0; row < a; row++) {
                const double d = measured(&moved, q, gallery, row, numbers);
                all[row].square = d < all[row].square ? d : all[row].square;
            }
            equinv_tensor_destroy(ctx, &moved);
        }
        qsort(all, (size_t)a, sizeof *all, nearest_first);
        for (int64_t i = 0; i < k; i++) {
            const double d = sqrt(all[i].square);
            ck_assert_int_eq(((const int32_t *)index.data)[q * k + i], all[i].row);
            ck_assert(tensor_get(&distance, q * k + i) ==
                      (gallery->dtype == EQUINV_F32 ? (double)(float)d : d));
        }
    }
    equinv_tensor_destroy(ctx, &distance);
    equinv_tensor_destroy(ctx, &index);
}

/*
 * Generic numbers; few values, with ties of rows and of g; numbers that half a turn leaves alone but for the last
 * places, so that products cannot tell two g.
 */
static void fill(rng *r, int kind, int64_t order, const equinv_tensor *t)
{
    const int64_t half = order / 2;
    for (int64_t i = 0; i < equinv_tensor_count(t); i++) {
        double x = 2 * rng_uniform(r) - 1;
        if (kind == 1)
            x = round(2 * x);
        if (kind == 2 && half > 0 && i % order >= half)
            x = tensor_get(t, i - half) * (1 + x / (1 << 21));
        tensor_set(t, i, x);
    }
}

START_TEST(exactly_what_is_measured)
{
    static const equinv_group groups[] = {
        {EQUINV_GROUP_CYCLIC, 1},   {EQUINV_GROUP_CYCLIC, 2},  {EQUINV_GROUP_CYCLIC, 4},
        {EQUINV_GROUP_CYCLIC, 8},   {EQUINV_GROUP_CYCLIC, 16}, {EQUINV_GROUP_CYCLIC, 5},
        {EQUINV_GROUP_CYCLIC, 12},  {EQUINV_GROUP_CYCLIC, 40}, {EQUINV_GROUP_DIHEDRAL, 4},
        {EQUINV_GROUP_DIHEDRAL, 3}, {EQUINV_GROUP_DIHEDRAL, 8}};
    enum { GROUPS = sizeof groups / sizeof *groups };
    rng r = {UINT64_C(70) + (uint64_t)_i};
    equinv_context *const ctx = context_at_level(_i);
    for (int trial = 0; ctx && trial < 6 * GROUPS; trial++) {
        const equinv_group group = groups[trial % GROUPS];
        const int64_t fields = rng_range(&r, 1, 9), a = rng_range(&r, 1, 40);
        const int64_t order = order_of(group), b = rng_range(&r, 1, 4);
        const equinv_dtype dtype = rng_range(&r, 0, 2) ? EQUINV_F32 : EQUINV_F64;
        equinv_tensor gallery = tensor_new(ctx, dtype, 5, a, fields, order, (int64_t)1, (int64_t)1);
        equinv_tensor queries = tensor_new(ctx, dtype, 5, b, fields, order, (int64_t)1, (int64_t)1);
        fill(&r, trial / GROUPS % 3, order, &gallery);
        fill(&r, trial / GROUPS % 2, order, &queries);
        check_exactly(ctx, group, &gallery, &queries, rng_range(&r, 1, a));
        equinv_tensor_destroy(ctx, &gallery);
        equinv_tensor_destroy(ctx, &queries);
    }
    equinv_context_destroy(ctx);
}
END_TEST

/* More bounds than are kept at a time. */
START_TEST(blocks_of_queries_and_gallery)
{
    rng r = {3};
    equinv_context *ctx = context_new();
    const equinv_group group = equinv_cyclic(2);
    equinv_tensor gallery = tensor_random(ctx, &r, EQUINV_F32, 3, 2000, 2, 2);
    equinv_tensor queries = tensor_random(ctx, &r, EQUINV_F32, 3, 1100, 2, 2);
    check(ctx, &r, group, &gallery, &queries, 3);
    equinv_tensor_destroy(ctx, &gallery);
    equinv_tensor_destroy(ctx, &queries);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(own_orbits_ties_and_nan)
{
    enum { ROWS = 12 };
    rng r = {2};
    equinv_context *ctx = context_new();
    const equinv_group group = equinv_dihedral(4);
    equinv_tensor x = tensor_random(ctx, &r, EQUINV_F32, 5, ROWS, 2, 8, 3, 3);
    equinv_tensor moved = tensor_like(ctx, &x);
    equinv_tensor d = tensor_new(ctx, EQUINV_F32, 2, ROWS, ROWS);
    equinv_tensor index = tensor_new(ctx, EQUINV_I32, 2, ROWS, ROWS);
    const int64_t numbers = equinv_tensor_count(&x) / ROWS;
    for (int64_t i = 0; i < numbers; i++) { /* row 7 is row 3, row 9 is broken */
        tensor_set(&x, 7 * numbers + i, tensor_get(&x, 3 * numbers + i));
        tensor_set(&x, 9 * numbers + i, i == 5 ? (double)NAN : 0);
    }
    OK(equinv_act(ctx, group, 5, &x, &moved));
    OK(equinv_neighbours(ctx, group, &x, &moved, ROWS, &d, &index));
    const int32_t *const at = index.data;
    for (int q = 0; q < ROWS; q++) {
        if (q == 9) {
            for (int i = 0; i < ROWS; i++)
                ck_assert(isnan(tensor_get(&d, q * ROWS + i)) && at[q * ROWS + i] == i);
            continue;
        }
        ck_assert(tensor_get(&d, q * ROWS) == 0);
        ck_assert_int_eq(at[q * ROWS], q == 7 ? 3 : q);
        if (q == 3 || q == 7)
            ck_assert(tensor_get(&d, q * ROWS + 1) == 0 && at[q * ROWS + 1] == 7);
        ck_assert(isnan(tensor_get(&d, q * ROWS + ROWS - 1)));
        ck_assert_int_eq(at[q * ROWS + ROWS - 1], 9);
    }
    equinv_tensor_destroy(ctx, &x);
    equinv_tensor_destroy(ctx, &moved);
    equinv_tensor_destroy(ctx, &d);
    equinv_tensor_destroy(ctx, &index);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(points_without_numbers)
{
    equinv_context *ctx = context_new();
    for (int wide = 0; wide < 2; wide++) {
        const equinv_dtype dtype = wide ? EQUINV_F64 : EQUINV_F32;
        equinv_tensor x = tensor_new(ctx, dtype, 3, 3, 0, 4),
                      q = tensor_new(ctx, dtype, 3, 2, 0, 4);
        equinv_tensor d = tensor_new(ctx, dtype, 2, 2, 2), i = tensor_new(ctx, EQUINV_I32, 2, 2, 2);
        OK(equinv_neighbours(ctx, equinv_cyclic(4), &x, &q, 2, &d, &i));
        for (int at = 0; at < 4; at++) {
            ck_assert(tensor_get(&d, at) == 0);
            ck_assert_int_eq(((const int32_t *)i.data)[at], at % 2);
        }
        equinv_tensor *const all[] = {&x, &q, &d, &i};
        for (int t = 0; t < 4; t++)
            equinv_tensor_destroy(ctx, all[t]);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(wrong_arguments)
{
    const equinv_group c4 = equinv_cyclic(4);
    equinv_context *ctx = context_new();
    equinv_tensor x = tensor_new(ctx, EQUINV_F32, 3, 3, 2, 4),
                  q = tensor_new(ctx, EQUINV_F32, 3, 2, 2, 4);
    equinv_tensor other = tensor_new(ctx, EQUINV_F32, 3, 2, 3, 4), none = x;
    equinv_tensor wide = tensor_new(ctx, EQUINV_F64, 3, 2, 2, 4);
    equinv_tensor d = tensor_new(ctx, EQUINV_F32, 2, 2, 1),
                  i = tensor_new(ctx, EQUINV_I32, 2, 2, 1);
    none.shape[0] = 0;
    OK(equinv_neighbours(ctx, c4, &x, &q, 1, &d, &i));
    FAILS(EQUINV_ERR_ARG, "ctx", equinv_neighbours(NULL, c4, &x, &q, 1, &d, &i));
    FAILS(EQUINV_ERR_SHAPE, "gallery has 0 rows", equinv_neighbours(ctx, c4, &none, &q, 1, &d, &i));
    FAILS(EQUINV_ERR_SHAPE, "queries (but", equinv_neighbours(ctx, c4, &x, &other, 1, &d, &i));
    FAILS(EQUINV_ERR_DTYPE, "queries", equinv_neighbours(ctx, c4, &x, &wide, 1, &d, &i));
    FAILS(EQUINV_ERR_ARG, "k is 0", equinv_neighbours(ctx, c4, &x, &q, 0, &d, &i));
    FAILS(EQUINV_ERR_ARG, "k is 4", equinv_neighbours(ctx, c4, &x, &q, 4, &d, &i));
    FAILS(EQUINV_ERR_SHAPE, "distance", equinv_neighbours(ctx, c4, &x, &q, 2, &d, &i));
    FAILS(EQUINV_ERR_DTYPE, "index", equinv_neighbours(ctx, c4, &x, &q, 1, &d, &d));
    FAILS(EQUINV_ERR_ARG, "n = 3",
          equinv_neighbours(ctx, (equinv_group){EQUINV_GROUP_SYMMETRIC, 3}, &x, &q, 1, &d, &i));
    equinv_tensor *const all[] = {&x, &q, &other, &wide, &d, &i};
    for (int t = 0; t < 6; t++)
        equinv_tensor_destroy(ctx, all[t]);
    equinv_context_destroy(ctx);
}
END_TEST

static equinv_status search(equinv_context *ctx, void *arg)
{
    const equinv_tensor *const t = arg; /* points, distances, indices */
    return equinv_neighbours(ctx, equinv_cyclic(4), &t[0], &t[0], 1, &t[1], &t[2]);
}

START_TEST(allocation_failures)
{
    equinv_context *const ctx = context_new();
    equinv_tensor x = tensor_new(ctx, EQUINV_F32, 3, 4, 4, 3), turned = x;
    turned.shape[1] = 3, turned.shape[2] = 4, turned.strides[1] = 1, turned.strides[2] = 3;
    equinv_tensor d = tensor_new(ctx, EQUINV_F32, 2, 4, 1),
                  i = tensor_new(ctx, EQUINV_I32, 2, 4, 1);
    ck_assert_int_eq(fail_in_turn(search, (equinv_tensor[]){turned, d, i}), 5);
    equinv_tensor_destroy(ctx, &x);
    equinv_tensor_destroy(ctx, &d);
    equinv_tensor_destroy(ctx, &i);
    equinv_context_destroy(ctx);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {nearest_of_all, 1},
        {exactly_what_is_measured, TEST_LEVELS},
        {blocks_of_queries_and_gallery, 1},
        {own_orbits_ties_and_nan, 1},
        {points_without_numbers, 1},
        {wrong_arguments, 1},
        {allocation_failures, 1},
    };
    return run_tests("neighbours", tests, sizeof tests / sizeof *tests);
}
