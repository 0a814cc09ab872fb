/* Projections by the group Fourier transform: every instruction set, group, kind and layout against ref. */
#include "cpu/gfourier/projection.h"
#include "tests/ops/projection_cases.h"

static const equinv_projection_kind fourier_kinds[] = {
    EQUINV_PROJECT_MAX,         EQUINV_PROJECT_MEAN_RELU, EQUINV_PROJECT_MEAN_ABS,
    EQUINV_PROJECT_MEAN_SQUARE, EQUINV_PROJECT_SORTED,    EQUINV_PROJECT_ORBIT,
    EQUINV_PROJECT_MIN,         EQUINV_PROJECT_MOMENT3,   EQUINV_PROJECT_CDF,
    EQUINV_PROJECT_LINEAR,      EQUINV_PROJECT_MEAN,
};
enum { FOURIER_KINDS = sizeof fourier_kinds / sizeof *fourier_kinds, REDUCTIONS = 9 };

/* NULL where the implementation declines: too few templates. */
static equinv_projection *create(equinv_context *ctx, equinv_projection_desc d, const char *impl)
{
    equinv_projection *p = NULL;
    d.impl = impl;
    const equinv_status status = equinv_projection_create(ctx, &d, &p);
    ck_assert_msg(status == EQUINV_OK ||
                      (status == EQUINV_ERR_UNSUPPORTED && (strstr(equinv_last_error(), "lanes") ||
                                                            strstr(equinv_last_error(), "pixels"))),
                  "%s", equinv_last_error());
    return p;
}

/* Saved elements point at what the codes say: fp32 may see the order of near ties differently. */
static void check_elements(const equinv_projection_desc *d, const equinv_tensor *orbit,
                           const equinv_tensor *codes, const equinv_tensor *saved)
{
    const int32_t order = order_of(d->group);
    const int64_t places = d->kind == EQUINV_PROJECT_SORTED ? order : 1;
    const double allowed = 5e-6 * tensor_max_abs(orbit);
    for (int64_t i = 0; i < equinv_tensor_count(codes); i++) {
        const int32_t element = ((const int32_t *)saved->data)[i];
        ck_assert(element >= 0 && element < order);
        const double v = tensor_get(orbit, i / places * order + element);
        ck_assert_msg(fabs(v - tensor_get(codes, i)) <= allowed,
                      "place %lld: element %d has %g, not %g", (long long)i, element, v,
                      tensor_get(codes, i));
    }
}

/* Forward with and without saved, backward, all tensors behind random strides, against ref. */
static bool compare(equinv_context *ctx, rng *r, equinv_projection_desc d, int64_t batch)
{
    equinv_projection *const p = create(ctx, d, "gfourier");
    if (!p)
        return false;
    equinv_projection *const ref = create(ctx, d, "ref");
    equinv_tensor z = latents_of(ctx, r, &d, batch), z_store, codes_store, diff_store;
    equinv_tensor expected = codes_of(ctx, ref, d.dtype, batch), diff = tensor_like(ctx, &z);
    equinv_tensor saved = saved_of(ctx, ref, batch), own = saved_of(ctx, p, batch);
    equinv_tensor z_view = tensor_strided_copy(ctx, r, &z, &z_store);
    equinv_tensor codes = tensor_strided_copy(ctx, r, &expected, &codes_store);
    equinv_tensor diff_view = tensor_strided_copy(ctx, r, &diff, &diff_store);
    OK(equinv_project_forward(ref, &z, NULL, &expected, saved.data, size_of(&saved), NULL, 0));
    OK(equinv_project_forward(p, &z_view, NULL, &codes, NULL, 0, NULL, 0));
    ASSERT_CLOSE(&codes, &expected, 5e-6);
    equinv_tensor plain = codes_of(ctx, p, d.dtype, batch);
    OK(equinv_project_forward(p, &z, NULL, &plain, own.data, size_of(&own), NULL, 0));
    ASSERT_SAME(&codes, &plain); /* whatever the strides, and whether saved is wanted */
    if (d.kind == EQUINV_PROJECT_MAX || d.kind == EQUINV_PROJECT_MIN ||
        d.kind == EQUINV_PROJECT_SORTED) {
        equinv_projection_desc all = d;
        all.kind = EQUINV_PROJECT_ORBIT;
        equinv_projection *const q = create(ctx, all, "ref");
        equinv_tensor orbit = project(ctx, q, &z, NULL);
        check_elements(&d, &orbit, &plain, &own);
        equinv_tensor_destroy(ctx, &orbit);
        equinv_projection_destroy(q);
    }
    tensor_fill_random(r, &plain);
    tensor_fill_random(r, &diff);
    equinv_tensor_destroy(ctx, &diff_store);
    diff_view = tensor_strided_copy(ctx, r, &diff, &diff_store);
    OK(equinv_project_backward(ref, &plain, NULL, saved.data, size_of(&saved), &diff, NULL, 0));
    OK(equinv_project_backward(p, &plain, NULL, saved.data, size_of(&saved), &diff_view, NULL, 0));
    ASSERT_CLOSE(&diff_view, &diff, 5e-6);
    equinv_tensor *const owned[] = {&z,    &z_store, &codes_store, &diff_store, &expected,
                                    &diff, &saved,   &own,         &plain};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++)
        equinv_tensor_destroy(ctx, owned[i]);
    equinv_projection_destroy(p);
    equinv_projection_destroy(ref);
    return true;
}

START_TEST(equals_ref_on_random_shapes)
{
    rng r = {UINT64_C(3000) + (uint64_t)_i};
    equinv_context *const ctx = context_at_level(_i / FOURIER_KINDS);
    int taken = 0;
    for (int trial = 0; ctx && trial < 3 * GROUP_CASES; trial++) {
        equinv_projection_desc d =
            desc_of(fourier_kinds[_i % FOURIER_KINDS], group_cases[trial % GROUP_CASES], EQUINV_F32,
                    rng_range(&r, 1, trial % 3 ? 5 : 40), rng_range(&r, 1, trial % 2 ? 20 : 90),
                    rng_next(&r));
        d.scaled = rng_range(&r, 0, 1) == 1;
        d.accumulate = rng_range(&r, 0, 1) == 1;
        taken += compare(ctx, &r, d, rng_range(&r, 1, 4));
    }
    ck_assert(!ctx || taken >= GROUP_CASES);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(every_order)
{
    static const int32_t large[] = {64,  96,  100, 127,  128,  243,  360,
                                    512, 768, 875, 1000, 1021, 1023, 1024};
    enum { SMALL = 40, ALL = SMALL + (int)(sizeof large / sizeof *large) };
    rng r = {UINT64_C(3100) + (uint64_t)_i};
    equinv_context *const ctx = context_at_level(_i / 2);
    for (int i = 1; ctx && i < ALL; i++) {
        const int32_t n = i < SMALL ? i : large[i - SMALL];
        const group_case c = {_i % 2 ? equinv_dihedral(n) : equinv_cyclic(n), 1, 1};
        equinv_projection_desc d = desc_of(fourier_kinds[i % FOURIER_KINDS], c, EQUINV_F32,
                                           i < SMALL ? 3 : 1, i < SMALL ? 33 : 6, rng_next(&r));
        ck_assert(compare(ctx, &r, d, 2) || n == 1);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(several_tiles_and_blocks)
{
    static const struct {
        group_case c;
        int64_t fields, k, batch;
    } cases[] = {
        {{{EQUINV_GROUP_CYCLIC, 4}, 1, 1}, 5, 150, 300},
        {{{EQUINV_GROUP_DIHEDRAL, 4}, 5, 5}, 4, 70, 50},
        {{{EQUINV_GROUP_DIHEDRAL, 2}, 24, 24}, 9, 17, 30},
        {{{EQUINV_GROUP_DIHEDRAL, 16}, 1, 1}, 3, 65, 270},
    };
    rng r = {UINT64_C(3200) + (uint64_t)_i};
    equinv_context *ctx = context_new();
    ck_assert(compare(ctx, &r,
                      desc_of(fourier_kinds[_i % FOURIER_KINDS], cases[_i].c, EQUINV_F32,
                              cases[_i].fields, cases[_i].k, 7),
                      cases[_i].batch));
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(rows_do_not_depend_on_their_neighbours)
{
    rng r = {UINT64_C(3300) + (uint64_t)_i};
    equinv_context *const ctx = context_at_level(_i);
    for (int kind = 0; ctx && kind < FOURIER_KINDS; kind++) {
        enum { ROWS = 131 };
        equinv_projection_desc d =
            desc_of(fourier_kinds[kind], group_cases[kind % 2 || kind > 5 ? 9 : 12], EQUINV_F32, 7,
                    75, rng_next(&r));
        equinv_projection *const p = create(ctx, d, "gfourier");
        equinv_tensor z = latents_of(ctx, &r, &d, ROWS), all = project(ctx, p, &z, NULL);
        for (int part = 0; part < 12; part++) {
            const int64_t first = rng_range(&r, 0, ROWS - 1);
            const int64_t count = part < 6 ? 1 : rng_range(&r, 1, ROWS - first);
            equinv_tensor rows, expected;
            OK(equinv_tensor_rows(&z, first, count, &rows));
            OK(equinv_tensor_rows(&all, first, count, &expected));
            equinv_tensor some = project(ctx, p, &rows, NULL);
            ASSERT_SAME(&some, &expected);
            equinv_tensor_destroy(ctx, &some);
        }
        equinv_tensor_destroy(ctx, &z);
        equinv_tensor_destroy(ctx, &all);
        equinv_projection_destroy(p);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(nan_and_infinity_stay_in_their_row)
{
    rng r = {3400};
    equinv_context *ctx = context_new();
    for (int kind = 0; kind < FOURIER_KINDS; kind++) {
        equinv_projection_desc d =
            desc_of(fourier_kinds[kind], group_cases[9], EQUINV_F32, 4, 40, rng_next(&r));
        equinv_projection *const p = create(ctx, d, "gfourier");
        equinv_tensor z = latents_of(ctx, &r, &d, 3), clean = project(ctx, p, &z, NULL);
        const int64_t dimension = equinv_tensor_count(&z) / 3;
        const int64_t width = equinv_tensor_count(&clean) / 3;
        tensor_set(&z, rng_range(&r, 0, dimension - 1), (double)NAN);
        tensor_set(&z, dimension + rng_range(&r, 0, dimension - 1), (double)INFINITY);
        equinv_tensor codes = project(ctx, p, &z, NULL);
        for (int64_t i = 0; i < 3 * width; i++)
            if (i < width)
                ck_assert(isnan(tensor_get(&codes, i)));
            else if (i < 2 * width)
                ck_assert(!isfinite(tensor_get(&codes, i)));
            else
                ck_assert(tensor_get(&codes, i) == tensor_get(&clean, i));
        equinv_tensor_destroy(ctx, &z);
        equinv_tensor_destroy(ctx, &clean);
        equinv_tensor_destroy(ctx, &codes);
        equinv_projection_destroy(p);
    }
    equinv_context_destroy(ctx);
}
END_TEST

/* ---- the reductions alone --------------------------------------------------------------------- */

static const eqi_orbit_kernels *kernels_of(int level)
{
    switch (level) {
    case 0: return &eqi_orbits_scalar;
#if defined(__x86_64__)
    case 1: return __builtin_cpu_supports("avx2") ? &eqi_orbits_avx2 : NULL;
    case 2: return __builtin_cpu_supports("avx512dq") ? &eqi_orbits_avx512 : NULL;
#endif
    default: return NULL;
    }
}

/* Numbers with many ties, and sometimes infinities and NaN. */
static float odd_number(rng *r, bool special)
{
    const int64_t which = rng_range(r, 0, 40);
    if (special && which < 3)
        return which == 0 ? NAN : which == 1 ? INFINITY : -INFINITY;
    return (float)rng_range(r, -6, 6);
}

static bool same_number(float a, float b)
{
    return a == b || (a != a && b != b);
}

START_TEST(reductions_by_definition)
{
    enum { ORBITS = 40, STEP = 48, MOST = 37 };
    rng r = {UINT64_C(3500) + (uint64_t)_i};
    const eqi_orbit_kernels *const kernels = kernels_of(_i);
    for (int trial = 0; kernels && trial < 600; trial++) {
        static const int32_t orders[] = {1, 2, 3, 4, 5, 8, 12, 16, 21, 32, MOST};
        static float values[MOST * STEP], kept[MOST * STEP], dst[ORBITS * 2 * MOST];
        static int32_t elements[ORBITS];
        const int32_t order = orders[rng_range(&r, 0, 10)];
        const int64_t count = rng_range(&r, 1, ORBITS);
        const bool gaps = rng_range(&r, 0, 1) == 1, special = trial % 2;
        const equinv_projection_kind kind = fourier_kinds[trial % REDUCTIONS];
        const bool many = kind == EQUINV_PROJECT_SORTED || kind == EQUINV_PROJECT_ORBIT;
        for (int64_t i = 0; i < (int64_t)order * STEP; i++)
            kept[i] = values[i] = odd_number(&r, special);
        const int64_t element = gaps ? 2 : 1, step = many ? order * element : element;
        const bool extreme = kind == EQUINV_PROJECT_MAX || kind == EQUINV_PROJECT_MIN;
        const double sign = kind == EQUINV_PROJECT_MIN ? -1 : 1;
        const bool saved = extreme && rng_range(&r, 0, 1) == 1;
        const double threshold = rng_uniform(&r);
        kernels->reduce(&(eqi_orbit_codes){.kind = kind,
                                           .order = order,
                                           .count = count,
                                           .step = STEP,
                                           .values = values,
                                           .dst = dst,
                                           .dst_step = step,
                                           .dst_element = element,
                                           .thresholds = &threshold,
                                           .numbers = 1,
                                           .saved = saved ? elements : NULL});
        for (int64_t i = 0; i < count; i++) {
            double v[MOST], want[MOST], most = sign * (double)kept[i];
            int32_t at = 0, present = 0;
            double sum = 0, cubes = 1; /* fp32's error is of their size */
            for (int32_t g = 0; g < order; g++) {
                const double x = (double)kept[g * STEP + i];
                if (eqi_orbit_exceeds(sign * x, most)) {
                    most = sign * x;
                    at = g;
                }
                sum += kind != EQUINV_PROJECT_CDF ? eqi_orbit_term(kind, x)
                       : x != x                   ? x
                                                  : x <= threshold;
                if (kind == EQUINV_PROJECT_MOMENT3)
                    cubes += fabs(x * x * x) / order;
                if (x == x)
                    v[present++] = x;
                want[g] = kind == EQUINV_PROJECT_ORBIT ? x : (double)NAN;
            }
            if (kind == EQUINV_PROJECT_SORTED) {
                qsort(v, (size_t)present, sizeof *v, ascending);
                memcpy(want, v, (size_t)present * sizeof *v);
            }
            if (!many)
                want[0] = extreme ? sign * most : sum / order;
            for (int32_t g = 0; g < (many ? order : 1); g++) {
                const float got = dst[i * step + g * element];
                ck_assert_msg(same_number(got, (float)want[g]) ||
                                  (!many && fabs((double)got - want[g]) < 1e-5 * cubes),
                              "kind %d order %d orbit %lld of %lld element %d: %g, expected %g",
                              (int)kind, order, (long long)i, (long long)count, g, (double)got,
                              want[g]);
            }
            ck_assert(!saved || elements[i] == at);
        }
    }
}
END_TEST

START_TEST(declines_with_a_reason)
{
    equinv_context *ctx = context_new();
    equinv_projection *p = NULL;
    equinv_projection_desc d = desc_of(EQUINV_PROJECT_MAX, group_cases[3], EQUINV_F64, 8, 64, 1);
    d.impl = "gfourier";
    FAILS(EQUINV_ERR_UNSUPPORTED, "f32 only", equinv_projection_create(ctx, &d, &p));
    d.dtype = EQUINV_F32;
    d.kind = EQUINV_PROJECT_LINEAR;
    d.height = d.width = 3;
    FAILS(EQUINV_ERR_UNSUPPORTED, "pixels", equinv_projection_create(ctx, &d, &p));
    d.height = d.width = 1;
    d.kind = EQUINV_PROJECT_MAX;
    d.k = 1;
    FAILS(EQUINV_ERR_UNSUPPORTED, "lanes", equinv_projection_create(ctx, &d, &p));
    d.k = 64;
    d.group = equinv_cyclic(1);
    FAILS(EQUINV_ERR_UNSUPPORTED, "lanes", equinv_projection_create(ctx, &d, &p));
    d.group = equinv_cyclic(4);
    d.fields = (1 << 18) + 1;
    d.k = 17;
    FAILS(EQUINV_ERR_UNSUPPORTED, "2^20", equinv_projection_create(ctx, &d, &p));
    d.fields = 8;
    d.impl = NULL;
    OK(equinv_projection_create(ctx, &d, &p));
    ck_assert_str_eq(equinv_projection_impl_name(p), "projection/gfourier");
    equinv_projection_destroy(p);
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
    equinv_projection_desc d = desc_of(EQUINV_PROJECT_SORTED, group_cases[8], EQUINV_F32, 3, 20, 1);
    ck_assert_int_ge(fail_in_turn(make, &d), 5);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {equals_ref_on_random_shapes, TEST_LEVELS * FOURIER_KINDS},
        {every_order, 2 * TEST_LEVELS},
        {several_tiles_and_blocks, 4},
        {rows_do_not_depend_on_their_neighbours, TEST_LEVELS},
        {nan_and_infinity_stay_in_their_row, 1},
        {reductions_by_definition, TEST_LEVELS},
        {declines_with_a_reason, 1},
        {allocation_failures, 1},
    };
    return run_tests("projection_gfourier", tests, sizeof tests / sizeof *tests);
}
