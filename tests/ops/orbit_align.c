/* Alignment, geodesics, canonical representatives. */
#include "tests/ops/projection_cases.h"
#include "tests/util/layout.h"

/* A random set of points: C_n, D_n by the cases, then S. */
static equinv_group points(equinv_context *ctx, rng *r, int trial, equinv_dtype dtype,
                           int64_t batch, equinv_tensor *x)
{
    const int i = trial % (GROUP_CASES + 2);
    if (i >= GROUP_CASES) {
        OK(equinv_tensor_create(ctx, dtype, 3,
                                (int64_t[]){batch, rng_range(r, 1, 12), i % 2 ? 1 : 3}, x));
        tensor_fill_random(r, x);
        return equinv_symmetric();
    }
    const equinv_projection_desc d =
        desc_of(EQUINV_PROJECT_MAX, group_cases[i], dtype, rng_range(r, 1, 3), 1, 0);
    *x = latents_of(ctx, r, &d, batch);
    return d.group;
}

static bool is_symmetric(equinv_group group)
{
    return group.kind == EQUINV_GROUP_SYMMETRIC;
}

static equinv_tensor elements_for(equinv_context *ctx, equinv_group group, const equinv_tensor *x)
{
    equinv_tensor element;
    OK(equinv_tensor_create(ctx, EQUINV_I32, is_symmetric(group) ? 2 : 1, x->shape, &element));
    return element;
}

/* g y for one row, by equinv_act or by the list of rows. */
static void expect_moved(equinv_context *ctx, equinv_group group, const equinv_tensor *y,
                         const equinv_tensor *dst, const equinv_tensor *element, int64_t b)
{
    equinv_tensor from, to;
    OK(equinv_tensor_rows(y, b, 1, &from));
    OK(equinv_tensor_rows(dst, b, 1, &to));
    if (!is_symmetric(group)) {
        equinv_tensor moved = acted(ctx, group, ((const int32_t *)element->data)[b], &from);
        ASSERT_SAME(&to, &moved);
        equinv_tensor_destroy(ctx, &moved);
        return;
    }
    const int64_t n = y->shape[1], c = y->shape[2];
    for (int64_t i = 0; i < n * c; i++) {
        const int32_t row = ((const int32_t *)element->data)[b * n + i / c];
        ck_assert(tensor_get(&to, i) == tensor_get(&from, row * c + i % c));
    }
}

static double row_distance(const equinv_tensor *a, int64_t i, const equinv_tensor *b, int64_t j)
{
    double sum = 0;
    const int64_t numbers = equinv_tensor_count(a) / a->shape[0];
    for (int64_t k = 0; k < numbers; k++)
        sum += pow(tensor_get(a, i * numbers + k) - tensor_get(b, j * numbers + k), 2);
    return sqrt(sum);
}

START_TEST(aligned_points_are_as_near_as_orbits)
{
    rng r = {1};
    equinv_context *ctx = context_new();
    for (int trial = 0; trial < 120; trial++) {
        enum { BATCH = 5 };
        const equinv_dtype dtype = trial % 2 ? EQUINV_F32 : EQUINV_F64;
        equinv_tensor x;
        const equinv_group group = points(ctx, &r, trial / 2, dtype, BATCH, &x);
        equinv_tensor y = tensor_like(ctx, &x), dst = tensor_like(ctx, &x);
        equinv_tensor element = elements_for(ctx, group, &x);
        equinv_tensor distance = tensor_new(ctx, dtype, 2, BATCH, BATCH);
        tensor_fill_random(&r, &y);
        OK(equinv_orbit_align(ctx, group, &x, &y, &dst, &element));
        OK(equinv_orbit_distance(ctx, group, &x, &y, &distance, NULL));
        for (int64_t b = 0; b < BATCH; b++) {
            const double orbit = tensor_get(&distance, b * BATCH + b);
            expect_moved(ctx, group, &y, &dst, &element, b);
            ck_assert_msg(fabs(row_distance(&x, b, &dst, b) - orbit) <=
                              (dtype == EQUINV_F32 ? 1e-6 : 1e-13) * (1 + orbit),
                          "trial %d row %lld: %g, expected %g", trial, (long long)b,
                          row_distance(&x, b, &dst, b), orbit);
        }
        laid a = laid_copy(ctx, &r, &x), b = laid_copy(ctx, &r, &y), to = laid_copy(ctx, &r, &dst);
        OK(equinv_orbit_align(ctx, group, &a.view, &b.view, &to.view, NULL));
        ASSERT_SAME(&to.view, &dst);
        ck_assert(laid_gaps_kept(&to));
        laid_free(ctx, &a), laid_free(ctx, &b), laid_free(ctx, &to);
        equinv_tensor *const all[] = {&x, &y, &dst, &element, &distance};
        for (int i = 0; i < 5; i++)
            equinv_tensor_destroy(ctx, all[i]);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(geodesics_are_straight_and_short)
{
    static const double at[] = {0, 0.25, 0.5, 1};
    enum { BATCH = 3, STEPS = 4 };
    rng r = {2};
    equinv_context *ctx = context_new();
    equinv_tensor t = tensor_new(ctx, EQUINV_F64, 1, STEPS);
    for (int i = 0; i < STEPS; i++)
        tensor_set(&t, i, at[i]);
    for (int trial = 0; trial < 60; trial++) {
        const equinv_dtype dtype = trial % 2 ? EQUINV_F32 : EQUINV_F64;
        const double tolerance = dtype == EQUINV_F32 ? 2e-6 : 1e-13;
        equinv_tensor x, line;
        const equinv_group group = points(ctx, &r, trial / 2, dtype, BATCH, &x);
        equinv_tensor y = tensor_like(ctx, &x), end = tensor_like(ctx, &x);
        tensor_fill_random(&r, &y);
        int64_t shape[EQUINV_MAX_DIMS] = {BATCH, STEPS};
        for (int32_t axis = 1; axis < x.ndim; axis++)
            shape[axis + 1] = x.shape[axis];
        OK(equinv_tensor_create(ctx, dtype, x.ndim + 1, shape, &line));
        OK(equinv_orbit_align(ctx, group, &x, &y, &end, NULL));
        OK(equinv_orbit_interpolate(ctx, group, &x, &y, &t, &line));
        const int64_t numbers = equinv_tensor_count(&x) / BATCH;
        for (int64_t b = 0; b < BATCH; b++)
            for (int64_t i = 0; i < numbers; i++)
                for (int s = 0; s < STEPS; s++) {
                    const double from = tensor_get(&x, b * numbers + i);
                    const double until = tensor_get(&end, b * numbers + i);
                    const double got = tensor_get(&line, (b * STEPS + s) * numbers + i);
                    ck_assert(fabs(got - from - at[s] * (until - from)) <= tolerance);
                    ck_assert((s != 0 || got == from) && (s != STEPS - 1 || got == until));
                }
        /* In the quotient, the points of the line are as far apart as their times say. */
        equinv_tensor first = line;
        first.shape[0] = 1; /* of the first pair, as a batch of steps */
        equinv_tensor steps = first;
        for (int32_t axis = 0; axis < x.ndim; axis++) {
            steps.shape[axis] = line.shape[axis + 1];
            steps.strides[axis] = line.strides[axis + 1];
        }
        steps.ndim = x.ndim;
        equinv_tensor d = tensor_new(ctx, dtype, 2, STEPS, STEPS);
        OK(equinv_orbit_distance(ctx, group, &steps, &steps, &d, NULL));
        const double whole = tensor_get(&d, STEPS - 1);
        for (int i = 0; i < STEPS * STEPS; i++)
            ck_assert_msg(fabs(tensor_get(&d, i) - fabs(at[i / STEPS] - at[i % STEPS]) * whole) <=
                              tolerance * (1 + whole),
                          "trial %d: %g of %g", trial, tensor_get(&d, i), whole);
        equinv_tensor *const all[] = {&x, &y, &end, &line, &d};
        for (int i = 0; i < 5; i++)
            equinv_tensor_destroy(ctx, all[i]);
    }
    equinv_tensor_destroy(ctx, &t);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(canonical_points_are_the_same_for_an_orbit)
{
    enum { BATCH = 4 };
    rng r = {3};
    equinv_context *ctx = context_new();
    for (int trial = 0; trial < 60; trial++) {
        const equinv_dtype dtype = trial % 2 ? EQUINV_F32 : EQUINV_F64;
        equinv_tensor x, w;
        const equinv_group group = points(ctx, &r, trial / 2, dtype, BATCH, &x);
        equinv_tensor moved = tensor_like(ctx, &x), dst = tensor_like(ctx, &x);
        equinv_tensor again = tensor_like(ctx, &x), element = elements_for(ctx, group, &x);
        int64_t shape[EQUINV_MAX_DIMS];
        memcpy(shape, x.shape, sizeof shape);
        shape[0] = 1;
        OK(equinv_tensor_create(ctx, dtype, x.ndim, shape, &w));
        OK(equinv_templates(ctx, EQUINV_TEMPLATE_GAUSSIAN, (uint64_t)trial, 0, &w));
        OK(equinv_orbit_canonicalise(ctx, group, (uint64_t)trial, &x, &dst, &element));
        const int64_t numbers = equinv_tensor_count(&x) / BATCH;
        const int64_t n = x.shape[1], c = is_symmetric(group) ? x.shape[2] : 1;
        for (int64_t b = 0; b < BATCH; b++)
            expect_moved(ctx, group, &x, &dst, &element, b);
        for (int move = 0; move < 5; move++) {
            if (is_symmetric(group)) {
                for (int64_t i = 0; i < BATCH * numbers; i++) {
                    const int64_t row = i / c % n, b = i / numbers;
                    tensor_set(&moved, b * numbers + (row + move) % n * c + i % c,
                               tensor_get(&x, i));
                }
            } else {
                const int32_t g = (int32_t)rng_range(&r, 0, order_of(group) - 1);
                OK(equinv_act(ctx, group, g, &x, &moved));
            }
            OK(equinv_orbit_canonicalise(ctx, group, (uint64_t)trial, &moved, &again, NULL));
            ASSERT_SAME(&again, &dst);
            for (int64_t b = 0; b < BATCH;
                 b++) { /* no point of the orbit fits the template better */
                double best = 0, other = 0;
                for (int64_t i = 0; i < numbers; i++) {
                    best += tensor_get(&w, i) * tensor_get(&dst, b * numbers + i);
                    other += tensor_get(&w, i) * tensor_get(&moved, b * numbers + i);
                }
                ck_assert(other <= best + 1e-12);
            }
        }
        equinv_tensor *const all[] = {&x, &w, &moved, &dst, &again, &element};
        for (int i = 0; i < 6; i++)
            equinv_tensor_destroy(ctx, all[i]);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(empty_nan_and_wrong_arguments)
{
    const equinv_group c4 = equinv_cyclic(4), s = equinv_symmetric();
    equinv_context *ctx = context_new();
    equinv_tensor x = tensor_new(ctx, EQUINV_F32, 3, 2, 3, 4), y = tensor_like(ctx, &x);
    equinv_tensor dst = tensor_like(ctx, &x), wide = tensor_new(ctx, EQUINV_F64, 3, 2, 3, 4);
    equinv_tensor e = tensor_new(ctx, EQUINV_I32, 1, 2), e3 = tensor_new(ctx, EQUINV_I32, 1, 3);
    equinv_tensor t = tensor_new(ctx, EQUINV_F32, 1, 2),
                  line = tensor_new(ctx, EQUINV_F32, 4, 2, 2, 3, 4);
    equinv_tensor none = tensor_new(ctx, EQUINV_F32, 3, 0, 3, 4), to_none = tensor_like(ctx, &none);
    equinv_tensor tall = tensor_new(ctx, EQUINV_F32, 3, 1, 513, 1),
                  tall_to = tensor_like(ctx, &tall);
    tensor_set(&x, 3, (double)NAN);
    tensor_set(&y, 14, (double)INFINITY);
    OK(equinv_orbit_align(ctx, c4, &x, &y, &dst, &e));
    ck_assert_int_eq(((const int32_t *)e.data)[0], 0);
    OK(equinv_orbit_align(ctx, c4, &none, &none, &to_none, NULL));
    OK(equinv_orbit_canonicalise(ctx, s, 1, &none, &to_none, NULL));
    FAILS(EQUINV_ERR_ARG, "ctx", equinv_orbit_align(NULL, c4, &x, &y, &dst, NULL));
    FAILS(EQUINV_ERR_ARG, "C0", equinv_orbit_align(ctx, equinv_cyclic(0), &x, &y, &dst, NULL));
    FAILS(EQUINV_ERR_ARG, "x is NULL", equinv_orbit_align(ctx, c4, NULL, &y, &dst, NULL));
    FAILS(EQUINV_ERR_DTYPE, "y", equinv_orbit_align(ctx, c4, &x, &wide, &dst, NULL));
    FAILS(EQUINV_ERR_DTYPE, "dst", equinv_orbit_align(ctx, c4, &x, &y, &wide, NULL));
    FAILS(EQUINV_ERR_SHAPE, "y", equinv_orbit_align(ctx, c4, &x, &none, &dst, NULL));
    FAILS(EQUINV_ERR_SHAPE, "element", equinv_orbit_align(ctx, c4, &x, &y, &dst, &e3));
    FAILS(EQUINV_ERR_SHAPE, "element", equinv_orbit_align(ctx, s, &x, &y, &dst, &e));
    FAILS(EQUINV_ERR_ARG, "dst overlaps y", equinv_orbit_align(ctx, c4, &x, &y, &y, NULL));
    FAILS(EQUINV_ERR_ARG, "dst overlaps x", equinv_orbit_align(ctx, c4, &x, &y, &x, NULL));
    FAILS(EQUINV_ERR_UNSUPPORTED, "513 rows",
          equinv_orbit_align(ctx, s, &tall, &tall, &tall_to, NULL));
    FAILS(EQUINV_ERR_ARG, "dst overlaps src", equinv_orbit_canonicalise(ctx, c4, 1, &x, &x, NULL));
    FAILS(EQUINV_ERR_SHAPE, "dst", equinv_orbit_interpolate(ctx, c4, &x, &y, &t, &dst));
    FAILS(EQUINV_ERR_SHAPE, "t has ndim 3", equinv_orbit_interpolate(ctx, c4, &x, &y, &x, &line));
    FAILS(EQUINV_ERR_DTYPE, "t", equinv_orbit_interpolate(ctx, c4, &x, &y, &e, &line));
    equinv_tensor *const all[] = {&x, &y,    &dst,  &wide,    &e,    &e3,
                                  &t, &line, &none, &to_none, &tall, &tall_to};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        equinv_tensor_destroy(ctx, all[i]);
    equinv_context_destroy(ctx);
}
END_TEST

typedef struct maps {
    equinv_group group;
    equinv_tensor x, y, t, line;
} maps;

static equinv_status interpolate(equinv_context *ctx, void *arg)
{
    const maps *const m = arg;
    return equinv_orbit_interpolate(ctx, m->group, &m->x, &m->y, &m->t, &m->line);
}

static equinv_status canonicalise(equinv_context *ctx, void *arg)
{
    const maps *const m = arg;
    return equinv_orbit_canonicalise(ctx, m->group, 1, &m->x, &m->y, NULL);
}

START_TEST(allocation_failures)
{
    equinv_context *const ctx = context_new();
    maps m = {_i ? equinv_symmetric() : equinv_cyclic(4), tensor_new(ctx, EQUINV_F32, 3, 2, 3, 4),
              tensor_new(ctx, EQUINV_F32, 3, 2, 3, 4), tensor_new(ctx, EQUINV_F32, 1, 2),
              tensor_new(ctx, EQUINV_F32, 4, 2, 2, 3, 4)};
    ck_assert_int_eq(fail_in_turn(interpolate, &m), _i ? 2 : 3);
    ck_assert_int_eq(fail_in_turn(canonicalise, &m), _i ? 2 : 3);
    equinv_tensor *const all[] = {&m.x, &m.y, &m.t, &m.line};
    for (int i = 0; i < 4; i++)
        equinv_tensor_destroy(ctx, all[i]);
    equinv_context_destroy(ctx);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {aligned_points_are_as_near_as_orbits, 1},
        {geodesics_are_straight_and_short, 1},
        {canonical_points_are_the_same_for_an_orbit, 1},
        {empty_nan_and_wrong_arguments, 1},
        {allocation_failures, 2},
    };
    return run_tests("orbit_align", tests, sizeof tests / sizeof *tests);
}
