/* Orbit distances of S: exact assignments, on every instruction set, and matched rows. */
#include <math.h>

#include "cpu/ref/ref.h"
#include "tests/util/test.h"

enum { MOST = 512 };

typedef struct problem {
    int a, b, n, c;
    equinv_tensor x, y, distance, element;
} problem;

static problem problem_new(equinv_context *ctx, rng *r, equinv_dtype dtype, int a, int b, int n,
                           int c)
{
    problem p = {.a = a, .b = b, .n = n, .c = c};
    p.x = tensor_new(ctx, dtype, 3, a, n, c);
    p.y = tensor_new(ctx, dtype, 3, b, n, c);
    p.distance = tensor_new(ctx, dtype, 2, a, b);
    p.element = tensor_new(ctx, EQUINV_I32, 3, a, b, n);
    tensor_fill_random(r, &p.x);
    tensor_fill_random(r, &p.y);
    return p;
}

static void problem_free(equinv_context *ctx, problem *p)
{
    equinv_tensor_destroy(ctx, &p->x);
    equinv_tensor_destroy(ctx, &p->y);
    equinv_tensor_destroy(ctx, &p->distance);
    equinv_tensor_destroy(ctx, &p->element);
}

static double cost_of(const problem *p, int i, int j, int row, int other)
{
    double sum = 0;
    for (int k = 0; k < p->c; k++)
        sum += pow(tensor_get(&p->x, ((int64_t)i * p->n + row) * p->c + k) -
                       tensor_get(&p->y, ((int64_t)j * p->n + other) * p->c + k),
                   2);
    return sum;
}

/* The element is a permutation that attains the distance; returns the distance. */
static double attained(const problem *p, int i, int j)
{
    bool taken[MOST] = {false};
    double sum = 0;
    for (int row = 0; row < p->n; row++) {
        const int32_t at = ((const int32_t *)p->element.data)[((int64_t)i * p->b + j) * p->n + row];
        ck_assert(at >= 0 && at < p->n && !taken[at]);
        taken[at] = true;
        sum += cost_of(p, i, j, row, at);
    }
    const double got = tensor_get(&p->distance, (int64_t)i * p->b + j);
    ck_assert_msg(fabs(got - sqrt(sum)) <=
                      (p->x.dtype == EQUINV_F64 ? 1e-13 : 1e-6) * (1 + sqrt(sum)),
                  "n %d c %d: %.17g, the element gives %.17g", p->n, p->c, got, sqrt(sum));
    return sqrt(sum);
}

/* Least sum over the permutations of the rows from `row` on. */
static double by_force(const problem *p, int i, int j, int row, unsigned used)
{
    double best = row == p->n ? 0 : (double)INFINITY;
    for (int k = 0; k < p->n && row < p->n; k++)
        if (!(used >> k & 1))
            best =
                fmin(best, cost_of(p, i, j, row, k) + by_force(p, i, j, row + 1, used | 1u << k));
    return best;
}

static double by_ref(const problem *p, int i, int j)
{
    const size_t n = (size_t)p->n;
    double *const cost = malloc((n * n + 1) * sizeof *cost), sum = 0;
    double *const room = malloc(3 * (n + 1) * sizeof *room);
    int32_t *const integers = malloc((4 * n + 3) * sizeof *integers);
    ck_assert(cost && room && integers);
    for (int row = 0; row < p->n; row++)
        for (int k = 0; k < p->n; k++)
            cost[row * p->n + k] = cost_of(p, i, j, row, k);
    int32_t *const column = integers + 3 * (n + 1);
    eqi_ref_assignment(cost, p->n, column, room, integers);
    for (int row = 0; row < p->n; row++)
        sum += cost[row * p->n + column[row]];
    free(cost);
    free(room);
    free(integers);
    return sum;
}

static void check(equinv_context *ctx, problem *p, bool force)
{
    equinv_tensor alone = tensor_like(ctx, &p->distance);
    OK(equinv_orbit_distance(ctx, equinv_symmetric(), &p->x, &p->y, &p->distance, &p->element));
    OK(equinv_orbit_distance(ctx, equinv_symmetric(), &p->x, &p->y, &alone, NULL));
    if (p->c > 1)
        ASSERT_SAME(&alone, &p->distance);
    for (int i = 0; i < p->a; i++)
        for (int j = 0; j < p->b; j++) {
            const double got = attained(p, i, j);
            const double best = sqrt(force ? by_force(p, i, j, 0, 0) : by_ref(p, i, j));
            ck_assert_msg(fabs(got - best) <= 1e-12 * (1 + best),
                          "n %d c %d pair %d %d: %.17g, the least is %.17g", p->n, p->c, i, j, got,
                          best);
        }
    equinv_tensor_destroy(ctx, &alone);
}

START_TEST(least_over_all_permutations)
{
    rng r = {UINT64_C(1) + (uint64_t)_i};
    equinv_context *ctx = context_at_level(_i);
    if (!ctx)
        return;
    for (int trial = 0; trial < 100; trial++) {
        problem p = problem_new(ctx, &r, trial % 2 ? EQUINV_F32 : EQUINV_F64,
                                (int)rng_range(&r, 1, 3), (int)rng_range(&r, 1, 3),
                                (int)rng_range(&r, 1, 6), (int)rng_range(&r, 1, 4));
        check(ctx, &p, true);
        problem_free(ctx, &p);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(as_cheap_as_the_hungarian_method)
{
    rng r = {UINT64_C(100) + (uint64_t)_i};
    equinv_context *ctx = context_at_level(_i);
    if (!ctx)
        return;
    for (int trial = 0; trial < 130; trial++) {
        const int n = trial < 120 ? (int)rng_range(&r, 1, 70) : (int)rng_range(&r, 100, 160);
        problem p = problem_new(ctx, &r, trial % 2 ? EQUINV_F32 : EQUINV_F64, 2, 2, n,
                                (int)rng_range(&r, 2, 9));
        if (trial % 4 == 0) /* many ties */
            for (int64_t i = 0; i < equinv_tensor_count(&p.x); i++) {
                tensor_set(&p.x, i, (double)rng_range(&r, 0, 2));
                tensor_set(&p.y, i, (double)rng_range(&r, 0, 2));
            }
        if (trial % 4 == 1) /* rows of the same orbit, moved a little */
            for (int64_t i = 0; i < equinv_tensor_count(&p.x); i++)
                tensor_set(
                    &p.y, i,
                    tensor_get(&p.x, equinv_tensor_count(&p.x) - p.c * (i / p.c + 1) + i % p.c) +
                        rng_uniform(&r) / 64);
        check(ctx, &p, false);
        problem_free(ctx, &p);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(large_problems_and_the_limit)
{
    rng r = {200};
    equinv_context *ctx = context_new();
    problem p = problem_new(ctx, &r, EQUINV_F64, 1, 1, MOST, 3);
    check(ctx, &p, false);
    problem_free(ctx, &p);
    p = problem_new(ctx, &r, EQUINV_F32, 1, 1, MOST + 1, 2);
    FAILS(EQUINV_ERR_UNSUPPORTED, "x has 513 rows, expected at most 512",
          equinv_orbit_distance(ctx, equinv_symmetric(), &p.x, &p.y, &p.distance, NULL));
    problem_free(ctx, &p);
    p = problem_new(ctx, &r, EQUINV_F32, 1, 2, 3000, 1); /* one channel is sorted */
    OK(equinv_orbit_distance(ctx, equinv_symmetric(), &p.x, &p.y, &p.distance, &p.element));
    problem_free(ctx, &p);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(zero_on_the_own_orbit_and_any_strides)
{
    rng r = {300};
    equinv_context *ctx = context_new();
    for (int trial = 0; trial < 40; trial++) {
        const int n = (int)rng_range(&r, 1, 30), c = (int)rng_range(&r, 2, 5);
        problem p = problem_new(ctx, &r, trial % 2 ? EQUINV_F32 : EQUINV_F64, 3, 3, n, c);
        equinv_tensor x_store, y_store, d_store, e_store;
        for (int b = 0; b < 3; b++) /* y is x with its rows moved round */
            for (int row = 0; row < n; row++)
                for (int k = 0; k < c; k++)
                    tensor_set(&p.y, (b * n + (row + trial) % n) * c + k,
                               tensor_get(&p.x, (b * n + row) * c + k));
        equinv_tensor x = tensor_strided_copy(ctx, &r, &p.x, &x_store);
        equinv_tensor y = tensor_strided_copy(ctx, &r, &p.y, &y_store);
        equinv_tensor d = tensor_strided_copy(ctx, &r, &p.distance, &d_store);
        equinv_tensor e = tensor_strided_copy(ctx, &r, &p.element, &e_store);
        OK(equinv_orbit_distance(ctx, equinv_symmetric(), &p.x, &p.y, &p.distance, &p.element));
        OK(equinv_orbit_distance(ctx, equinv_symmetric(), &x, &y, &d, &e));
        ASSERT_SAME(&d, &p.distance);
        ASSERT_SAME(&e, &p.element);
        for (int b = 0; b < 3; b++) {
            ck_assert(tensor_get(&p.distance, b * 3 + b) == 0);
            for (int row = 0; row < n; row++)
                ck_assert_int_eq(((const int32_t *)p.element.data)[(b * 3 + b) * n + row],
                                 (row + trial) % n);
        }
        equinv_tensor_destroy(ctx, &x_store);
        equinv_tensor_destroy(ctx, &y_store);
        equinv_tensor_destroy(ctx, &d_store);
        equinv_tensor_destroy(ctx, &e_store);
        problem_free(ctx, &p);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(nan_infinity_and_nothing)
{
    rng r = {400};
    equinv_context *ctx = context_at_level(_i);
    if (!ctx)
        return;
    problem p = problem_new(ctx, &r, EQUINV_F32, 3, 2, 11, 3);
    tensor_set(&p.x, 40, (double)NAN);       /* in x_1 */
    tensor_set(&p.x, 70, -(double)INFINITY); /* in x_2 */
    tensor_set(&p.y, 35, (double)INFINITY);  /* in y_1 */
    OK(equinv_orbit_distance(ctx, equinv_symmetric(), &p.x, &p.y, &p.distance, &p.element));
    for (int i = 0; i < 6; i++) {
        const double d = tensor_get(&p.distance, i);
        ck_assert(i / 2 == 1 ? isnan(d) : i == 0 ? isfinite(d) : isinf(d));
        for (int row = 0; row < 11 && i > 0; row++)
            ck_assert_int_eq(((const int32_t *)p.element.data)[i * 11 + row], row);
    }
    problem_free(ctx, &p);
    p = problem_new(ctx, &r, EQUINV_F32, 2, 2, 0, 3);
    OK(equinv_orbit_distance(ctx, equinv_symmetric(), &p.x, &p.y, &p.distance, &p.element));
    ck_assert(tensor_max_abs(&p.distance) == 0);
    problem_free(ctx, &p);
    p = problem_new(ctx, &r, EQUINV_F64, 2, 2, 3, 0);
    OK(equinv_orbit_distance(ctx, equinv_symmetric(), &p.x, &p.y, &p.distance, &p.element));
    ck_assert(tensor_max_abs(&p.distance) == 0);
    problem_free(ctx, &p);
    p = problem_new(ctx, &r, EQUINV_F64, 0, 2, 3, 2);
    OK(equinv_orbit_distance(ctx, equinv_symmetric(), &p.x, &p.y, &p.distance, &p.element));
    problem_free(ctx, &p);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(wrong_arguments)
{
    rng r = {500};
    equinv_context *ctx = context_new();
    problem p = problem_new(ctx, &r, EQUINV_F32, 2, 2, 5, 2);
    problem q = problem_new(ctx, &r, EQUINV_F32, 2, 2, 5, 3);
    const equinv_group s = equinv_symmetric();
    equinv_tensor flat = tensor_new(ctx, EQUINV_I32, 2, 2, 2);
    FAILS(EQUINV_ERR_SHAPE, "y (but for its batch)",
          equinv_orbit_distance(ctx, s, &p.x, &q.y, &p.distance, NULL));
    FAILS(EQUINV_ERR_SHAPE, "element",
          equinv_orbit_distance(ctx, s, &p.x, &p.y, &p.distance, &flat));
    FAILS(EQUINV_ERR_DTYPE, "element",
          equinv_orbit_distance(ctx, s, &p.x, &p.y, &p.distance, &p.distance));
    equinv_tensor_destroy(ctx, &flat);
    problem_free(ctx, &p);
    problem_free(ctx, &q);
    equinv_context_destroy(ctx);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {least_over_all_permutations, TEST_LEVELS}, {as_cheap_as_the_hungarian_method, TEST_LEVELS},
        {large_problems_and_the_limit, 1},          {zero_on_the_own_orbit_and_any_strides, 1},
        {nan_infinity_and_nothing, TEST_LEVELS},    {wrong_arguments, 1},
    };
    return run_tests("orbit_rows", tests, sizeof tests / sizeof *tests);
}
