/* Templates of projections: their gradients, the sparse and the Hadamard ones, how many are needed. */
#include "internal/projection.h"
#include "tests/ops/projection_cases.h"

/* NULL where the implementation declines. */
static equinv_projection *create_if_taken(equinv_context *ctx, equinv_projection_desc d,
                                          const char *impl)
{
    equinv_projection *p = NULL;
    d.impl = impl;
    const equinv_status status = equinv_projection_create(ctx, &d, &p);
    ck_assert(status == EQUINV_OK || status == EQUINV_ERR_UNSUPPORTED);
    return p;
}

/* ---- gradients ------------------------------------------------------------------------------ */

/* Sum of weights times the codes that these templates give. */
static double objective(equinv_context *ctx, equinv_projection_desc d, const equinv_tensor *w,
                        const equinv_tensor *z, const equinv_tensor *weights)
{
    d.templates = EQUINV_TEMPLATE_USER;
    d.user_templates = w;
    equinv_projection *p = projection_new(ctx, &d);
    equinv_tensor codes = project(ctx, p, z, NULL);
    const double value = tensor_dot(&codes, weights);
    equinv_tensor_destroy(ctx, &codes);
    equinv_projection_destroy(p);
    return value;
}

START_TEST(equal_finite_differences)
{
    rng r = {UINT64_C(6000) + (uint64_t)_i};
    equinv_context *ctx = context_new();
    const equinv_projection_kind kind = orbit_kinds[_i / 2];
    for (int trial = 0; trial < GROUP_CASES; trial++) {
        equinv_projection_desc d =
            desc_of(kind, group_cases[trial], EQUINV_F64, 1, rng_range(&r, 1, 3), rng_next(&r));
        d.impl = implementations[_i % 2];
        d.scaled = trial % 2;
        equinv_projection *p = projection_new(ctx, &d);
        equinv_tensor z = latents_of(ctx, &r, &d, 2), templates;
        equinv_tensor codes = codes_of(ctx, p, EQUINV_F64, 2), saved = saved_of(ctx, p, 2);
        OK(equinv_projection_templates(p, &templates));
        equinv_tensor weights = tensor_like(ctx, &codes),
                      w = tensor_as(ctx, &templates, EQUINV_F64);
        equinv_tensor gradient = tensor_like(ctx, &w);
        tensor_fill_random(&r, &weights);
        OK(equinv_project_forward(p, &z, NULL, &codes, saved.data, size_of(&saved), NULL, 0));
        OK(equinv_project_backward_templates(p, &z, NULL, &weights, saved.data, size_of(&saved),
                                             &gradient, NULL, 0));
        const double step = kind == EQUINV_PROJECT_MOMENT3 ? 1e-5 : 1e-6;
        for (int64_t i = 0; i < equinv_tensor_count(&w); i++) {
            const double at = tensor_get(&w, i);
            tensor_set(&w, i, at + step);
            const double up = objective(ctx, d, &w, &z, &weights);
            tensor_set(&w, i, at - step);
            const double down = objective(ctx, d, &w, &z, &weights);
            tensor_set(&w, i, at);
            const double slope = (up - down) / (2 * step);
            ck_assert_msg(
                fabs(slope - tensor_get(&gradient, i)) < 1e-7 * fmax(1, tensor_max_abs(&gradient)),
                "kind %d trial %d seed %llu coordinate %lld: %g, expected %g", (int)kind, trial,
                (unsigned long long)d.seed, (long long)i, tensor_get(&gradient, i), slope);
        }
        equinv_tensor *const owned[] = {&z, &codes, &saved, &weights, &w, &gradient};
        for (size_t i = 0; i < sizeof owned / sizeof *owned; i++)
            equinv_tensor_destroy(ctx, owned[i]);
        equinv_projection_destroy(p);
    }
    equinv_context_destroy(ctx);
}
END_TEST

/* One implementation's gradient, with what the reference saved, added to `to` or put there. */
static void gradient_by(equinv_context *ctx, equinv_projection_desc d, const char *impl,
                        const equinv_tensor *z, const equinv_tensor *mask,
                        const equinv_tensor *diff_codes, const equinv_tensor *saved,
                        const equinv_tensor *to)
{
    equinv_projection *p = create_if_taken(ctx, d, impl);
    if (p)
        OK(equinv_project_backward_templates(p, z, mask, diff_codes, saved->data, size_of(saved),
                                             to, NULL, 0));
    equinv_projection_destroy(p);
}

START_TEST(all_implementations_equal_ref)
{
    /* The last ones have several tiles of latents, and blocks of templates and of coordinates. */
    static const struct {
        group_case c;
        int64_t fields, k, batch;
    } large[] = {{{{EQUINV_GROUP_CYCLIC, 4}, 5, 5}, 7, 70, 130},
                 {{{EQUINV_GROUP_DIHEDRAL, 8}, 1, 1}, 3, 66, 70},
                 {{{EQUINV_GROUP_CYCLIC, 300}, 1, 1}, 2, 3, 3},
                 {{{EQUINV_GROUP_CYCLIC, 4}, 14, 14}, 19, 17, 3}}; /* too large for coefficients */
    rng r = {UINT64_C(6100) + (uint64_t)_i};
    equinv_context *ctx = context_new();
    for (int trial = 0; trial < 2 * GROUP_CASES + 4; trial++) {
        const int big = trial - 2 * GROUP_CASES;
        equinv_projection_desc d =
            big < 0 ? desc_of(orbit_kinds[_i], group_cases[trial % GROUP_CASES],
                              trial % 2 ? EQUINV_F32 : EQUINV_F64, rng_range(&r, 1, 5),
                              rng_range(&r, 1, 40), rng_next(&r))
                    : desc_of(orbit_kinds[_i], large[big].c, EQUINV_F32, large[big].fields,
                              large[big].k, rng_next(&r));
        const int64_t batch = big < 0 ? rng_range(&r, 0, 9) : large[big].batch;
        d.scaled = trial % 3 == 0;
        d.accumulate = trial % 4 == 0;
        equinv_projection *ref = create_if_taken(ctx, d, "ref");
        equinv_tensor z = latents_of(ctx, &r, &d, batch), z_store, codes_store, store, templates;
        equinv_tensor codes = codes_of(ctx, ref, d.dtype, batch), saved = saved_of(ctx, ref, batch);
        OK(equinv_projection_templates(ref, &templates));
        OK(equinv_project_forward(ref, &z, NULL, &codes, saved.data, size_of(&saved), NULL, 0));
        tensor_fill_random(&r, &codes);
        equinv_tensor before = tensor_like(ctx, &templates), expected = tensor_like(ctx, &before);
        tensor_fill_random(&r, &before);
        for (int64_t i = 0; i < equinv_tensor_count(&before); i++)
            tensor_set(&expected, i, tensor_get(&before, i));
        gradient_by(ctx, d, "ref", &z, NULL, &codes, &saved, &expected);
        if (!d.accumulate && batch == 0)
            ck_assert(tensor_max_abs(&expected) == 0);
        equinv_tensor z_view = tensor_strided_copy(ctx, &r, &z, &z_store);
        equinv_tensor codes_view = tensor_strided_copy(ctx, &r, &codes, &codes_store);
        for (int i = 1; i < IMPLEMENTATIONS; i++) {
            equinv_tensor other = tensor_strided_copy(ctx, &r, &before, &store);
            equinv_projection *taken = create_if_taken(ctx, d, implementations[i]);
            if (taken) {
                gradient_by(ctx, d, implementations[i], &z_view, NULL, &codes_view, &saved, &other);
                ASSERT_CLOSE(&other, &expected, d.dtype == EQUINV_F64 ? 1e-12 : 5e-6);
            }
            equinv_projection_destroy(taken);
            equinv_tensor_destroy(ctx, &store);
        }
        equinv_tensor *const owned[] = {&z,     &z_store, &codes_store, &codes,
                                        &saved, &before,  &expected};
        for (size_t i = 0; i < sizeof owned / sizeof *owned; i++)
            equinv_tensor_destroy(ctx, owned[i]);
        equinv_projection_destroy(ref);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(gradients_of_sorted_rows)
{
    rng r = {UINT64_C(6200) + (uint64_t)_i};
    equinv_context *ctx = context_new();
    for (int trial = 0; trial < 40; trial++) {
        equinv_projection_desc d = EQUINV_PROJECTION_DESC_INIT;
        d.kind = EQUINV_PROJECT_PROJECT_SORT;
        d.group = equinv_symmetric();
        d.dtype = _i ? EQUINV_F32 : EQUINV_F64;
        d.rows = rng_range(&r, 1, 6), d.channels = rng_range(&r, 1, 4), d.k = rng_range(&r, 1, 5);
        d.seed = rng_next(&r);
        d.fill = 0;
        d.scaled = trial % 2;
        equinv_projection *p = projection_new(ctx, &d);
        equinv_tensor z, mask, templates;
        OK(equinv_tensor_create(ctx, d.dtype, 3, (int64_t[]){3, d.rows, d.channels}, &z));
        OK(equinv_tensor_create(ctx, EQUINV_U8, 2, (int64_t[]){3, d.rows}, &mask));
        tensor_fill_random(&r, &z);
        for (int64_t i = 0; i < 3 * d.rows; i++)
            tensor_set(&mask, i, (double)rng_range(&r, 0, 1));
        equinv_tensor codes = codes_of(ctx, p, d.dtype, 3), saved = saved_of(ctx, p, 3);
        OK(equinv_projection_templates(p, &templates));
        equinv_tensor diff = tensor_like(ctx, &templates), by_ref = tensor_like(ctx, &templates);
        OK(equinv_project_forward(p, &z, &mask, &codes, saved.data, size_of(&saved), NULL, 0));
        equinv_tensor y = tensor_like(ctx, &codes);
        tensor_fill_random(&r, &y);
        OK(equinv_project_backward_templates(p, &z, &mask, &y, saved.data, size_of(&saved), &diff,
                                             NULL, 0));
        gradient_by(ctx, d, "ref", &z, &mask, &y, &saved, &by_ref);
        ASSERT_CLOSE(&diff, &by_ref, d.dtype == EQUINV_F64 ? 1e-13 : 5e-6);
        /* Codes are homogeneous in the templates, and 0 where a row is absent: Euler's theorem. */
        ck_assert(fabs(tensor_dot(&codes, &y) - tensor_dot(&templates, &diff)) <
                  (d.dtype == EQUINV_F64 ? 1e-12 : 1e-4));
        equinv_tensor *const owned[] = {&z, &mask, &codes, &saved, &diff, &by_ref, &y};
        for (size_t i = 0; i < sizeof owned / sizeof *owned; i++)
            equinv_tensor_destroy(ctx, owned[i]);
        equinv_projection_destroy(p);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(gradients_have_the_same_bits_on_any_number_of_threads)
{
    rng r = {6300};
    equinv_tensor results[2];
    equinv_context *const contexts[2] = {context_of_threads(1), context_of_threads(3)};
    equinv_projection_desc d = desc_of(EQUINV_PROJECT_MAX, group_cases[12], EQUINV_F32, 20, 130, 3);
    equinv_tensor z = latents_of(contexts[0], &r, &d, 100);
    for (int t = 0; t < 2; t++) {
        equinv_projection *p = projection_new(contexts[t], &d);
        equinv_tensor codes = codes_of(contexts[t], p, d.dtype, 100), templates;
        equinv_tensor saved = saved_of(contexts[t], p, 100);
        OK(equinv_projection_templates(p, &templates));
        results[t] = tensor_like(contexts[t], &templates);
        OK(equinv_project_forward(p, &z, NULL, &codes, saved.data, size_of(&saved), NULL, 0));
        OK(equinv_project_backward_templates(p, &z, NULL, &codes, saved.data, size_of(&saved),
                                             &results[t], NULL, 0));
        equinv_tensor_destroy(contexts[t], &codes);
        equinv_tensor_destroy(contexts[t], &saved);
        equinv_projection_destroy(p);
    }
    ASSERT_SAME(&results[0], &results[1]);
    equinv_tensor_destroy(contexts[0], &z);
    for (int t = 0; t < 2; t++) {
        equinv_tensor_destroy(contexts[t], &results[t]);
        equinv_context_destroy(contexts[t]);
    }
}
END_TEST

START_TEST(gradients_are_refused)
{
    equinv_context *ctx = context_new();
    equinv_projection_desc d = desc_of(EQUINV_PROJECT_MAX, group_cases[3], EQUINV_F32, 2, 5, 1);
    equinv_projection *p = projection_new(ctx, &d);
    equinv_tensor z = tensor_new(ctx, EQUINV_F32, 3, 3, 2, 4),
                  y = tensor_new(ctx, EQUINV_F32, 2, 3, 5);
    equinv_tensor w = tensor_new(ctx, EQUINV_F32, 5, 5, 2, 4, 1, 1);
    equinv_tensor wide = tensor_new(ctx, EQUINV_F64, 5, 5, 2, 4, 1, 1);
    equinv_tensor saved = saved_of(ctx, p, 3), inside = w;
    inside.data = z.data;
#define REFUSED(status, word, p, z, y, keep, size, w)                                              \
    FAILS(EQUINV_ERR_##status, word,                                                               \
          equinv_project_backward_templates(p, z, NULL, y, keep, size, w, NULL, 0))
    REFUSED(ARG, "projection is NULL", NULL, &z, &y, saved.data, 60, &w);
    REFUSED(ARG, "src is NULL", p, NULL, &y, saved.data, 60, &w);
    REFUSED(SHAPE, "src has shape", p, &y, &y, saved.data, 60, &w);
    REFUSED(ARG, "diff_dst is NULL", p, &z, NULL, saved.data, 60, &w);
    REFUSED(SHAPE, "diff_dst has shape", p, &z, &z, saved.data, 60, &w);
    REFUSED(ARG, "saved is NULL", p, &z, &y, NULL, 0, &w);
    REFUSED(SCRATCH, "saved_size is 59", p, &z, &y, saved.data, 59, &w);
    REFUSED(ARG, "diff_templates is NULL", p, &z, &y, saved.data, 60, NULL);
    REFUSED(DTYPE, "diff_templates", p, &z, &y, saved.data, 60, &wide);
    REFUSED(SHAPE, "diff_templates has shape", p, &z, &y, saved.data, 60, &z);
    REFUSED(ARG, "overlaps", p, &z, &y, saved.data, 60, &inside);
    equinv_projection_destroy(p);
    d = (equinv_projection_desc)EQUINV_PROJECTION_DESC_INIT;
    d.kind = EQUINV_PROJECT_SORT, d.group = equinv_symmetric(), d.rows = 2, d.channels = 4;
    p = projection_new(ctx, &d);
    REFUSED(UNSUPPORTED, "SORT, which has no templates", p, &z, &y, saved.data, 60, &w);
#undef REFUSED
    equinv_projection_destroy(p);
    equinv_tensor *const owned[] = {&z, &y, &w, &wide, &saved};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++)
        equinv_tensor_destroy(ctx, owned[i]);
    equinv_context_destroy(ctx);
}
END_TEST

/* ---- sparse and Hadamard -------------------------------------------------------------------- */

/* Templates of a projection over C_4 with so many fields: latents of 4 fields numbers. */
static equinv_tensor templates_of(equinv_context *ctx, equinv_template_kind kind, double density,
                                  equinv_dtype dtype, int64_t fields, int64_t k, uint64_t seed)
{
    equinv_projection_desc d = desc_of(EQUINV_PROJECT_MAX, group_cases[3], dtype, fields, k, seed);
    equinv_tensor used;
    d.templates = kind;
    d.density = density;
    equinv_projection *p = projection_new(ctx, &d);
    OK(equinv_projection_templates(p, &used));
    equinv_tensor copy = tensor_as(ctx, &used, dtype);
    equinv_projection_destroy(p);
    return copy;
}

static uint32_t word_of(uint64_t seed, uint64_t t, uint64_t coordinate)
{
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    const uint32_t counter[4] = {(uint32_t)(coordinate / 4), (uint32_t)(coordinate / 4 >> 32),
                                 (uint32_t)t, (uint32_t)(t >> 32)};
    uint32_t words[4];
    equinv_philox(counter, key, words);
    return words[coordinate % 4];
}

START_TEST(sparse_ones_follow_the_recipe)
{
    static const double densities[] = {1, 1.0 / 3, 0.25, 0x1p-20, 0.9999};
    const uint64_t seed = UINT64_C(0x123456789abcdef0);
    equinv_context *ctx = context_new();
    for (int i = 0; i < 5; i++) {
        const double density = densities[i];
        equinv_tensor w =
            templates_of(ctx, EQUINV_TEMPLATE_SPARSE, density, EQUINV_F32, 5, 40, seed);
        equinv_tensor wide =
            templates_of(ctx, EQUINV_TEMPLATE_SPARSE, density, EQUINV_F64, 5, 40, seed);
        for (int64_t n = 0; n < 800; n++) {
            const uint32_t word = word_of(seed, (uint64_t)n / 20, (uint64_t)n % 20);
            const bool there = (double)(word & 0x7fffffff) < floor(density * 2147483648.0);
            const double size = (double)(float)(1 / sqrt(density));
            const double expected = there ? word >> 31 ? size : -size : 0;
            ck_assert(tensor_get(&w, n) == expected && tensor_get(&wide, n) == expected);
        }
        equinv_tensor_destroy(ctx, &w);
        equinv_tensor_destroy(ctx, &wide);
    }
    equinv_tensor w = templates_of(ctx, EQUINV_TEMPLATE_SPARSE, 1, EQUINV_F32, 5, 7, seed);
    equinv_tensor rademacher =
        templates_of(ctx, EQUINV_TEMPLATE_RADEMACHER, 1, EQUINV_F32, 5, 7, seed);
    ASSERT_SAME(&w, &rademacher);
    equinv_tensor_destroy(ctx, &w);
    equinv_tensor_destroy(ctx, &rademacher);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(sparse_numbers_are_where_they_should_be)
{
    /* 2^18 numbers: shares of +, -, 0 by lane, variance, fourth moment, and products of neighbours. */
    static const double densities[] = {1.0 / 3, 0.05};
    enum { K = 256, FIELDS = 256, COUNT = K * FIELDS * 4 };
    const double density = densities[_i];
    equinv_context *ctx = context_new();
    equinv_tensor w = templates_of(ctx, EQUINV_TEMPLATE_SPARSE, density, EQUINV_F32, FIELDS, K, 11);
    equinv_tensor other =
        templates_of(ctx, EQUINV_TEMPLATE_SPARSE, density, EQUINV_F32, FIELDS, K, 12);
    double plus[4] = {0}, minus[4] = {0}, square = 0, fourth = 0, next = 0, below = 0, across = 0;
    for (int64_t i = 0; i < COUNT; i++) {
        const double x = tensor_get(&w, i);
        plus[i % 4] += x > 0;
        minus[i % 4] += x < 0;
        square += x * x;
        fourth += pow(x, 4);
        next += i + 1 < COUNT ? x * tensor_get(&w, i + 1) : 0;
        below += i + 4 * FIELDS < COUNT ? x * tensor_get(&w, i + 4 * FIELDS) : 0;
        across += x * tensor_get(&other, i);
    }
    const double lane = COUNT / 4.0, share = density / 2;
    for (int l = 0; l < 4; l++) {
        const double deviation = 5 * sqrt(share * (1 - share) * lane);
        ck_assert_msg(fabs(plus[l] - share * lane) < deviation, "lane %d: %g", l, plus[l]);
        ck_assert_msg(fabs(minus[l] - share * lane) < deviation, "lane %d: %g", l, minus[l]);
    }
    /* Of x^2: variance 1/s - 1; of x^4: 1/s^3 - 1/s^2; of products of independent numbers: 1. */
    ck_assert(fabs(square / COUNT - 1) < 5 * sqrt((1 / density - 1) / COUNT));
    ck_assert(fabs(fourth / COUNT - 1 / density) <
              5 * sqrt((pow(density, -3) - pow(density, -2)) / COUNT));
    ck_assert(fabs(next) < 5 * sqrt(COUNT) && fabs(below) < 5 * sqrt(COUNT) &&
              fabs(across) < 5 * sqrt(COUNT));
    equinv_tensor_destroy(ctx, &w);
    equinv_tensor_destroy(ctx, &other);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(hadamard_ones_follow_the_recipe)
{
    /* 20 numbers in a matrix of order 32, 80 templates: three sets of signs. */
    const uint64_t seed = 77;
    equinv_context *ctx = context_new();
    equinv_tensor w = templates_of(ctx, EQUINV_TEMPLATE_HADAMARD, 1, EQUINV_F32, 5, 80, seed);
    for (uint64_t t = 0; t < 80; t++) {
        const uint64_t block = t / 32;
        uint32_t key[2] = {77, 0}, counter[4] = {UINT32_MAX, UINT32_MAX, (uint32_t)block, 0}, s[4];
        equinv_philox(counter, key, s);
        uint32_t x = ((uint32_t)(t % 32) * (s[0] | 1) + s[1]) % 32;
        x ^= x >> 3;
        x = (x * (s[2] | 1) + s[3]) % 32;
        for (uint64_t c = 0; c < 20; c++) {
            const double sign = word_of(seed, block, c) >> 31 ? 1 : -1;
            const int common = __builtin_popcountll(x & c);
            ck_assert(tensor_get(&w, (int64_t)(t * 20 + c)) == (common % 2 ? -sign : sign));
        }
    }
    equinv_tensor_destroy(ctx, &w);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(hadamard_ones_are_orthogonal)
{
    static const int64_t orders[] = {4, 8, 64, 256};
    equinv_context *ctx = context_new();
    for (int i = 0; i < 4; i++)
        for (uint64_t seed = 0; seed < 4; seed++) {
            const int64_t n = orders[i];
            equinv_tensor w =
                templates_of(ctx, EQUINV_TEMPLATE_HADAMARD, 1, EQUINV_F64, n / 4, n, seed);
            for (int64_t a = 0; a < n; a++)
                for (int64_t b = 0; b <= a; b++) {
                    double sum = 0;
                    for (int64_t c = 0; c < n; c++)
                        sum += tensor_get(&w, a * n + c) * tensor_get(&w, b * n + c);
                    ck_assert(sum == (a == b ? (double)n : 0));
                }
            equinv_tensor_destroy(ctx, &w);
        }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(bits_are_the_same_for_any_level_threads_and_k)
{
    static const equinv_template_kind kinds[] = {
        EQUINV_TEMPLATE_GAUSSIAN, EQUINV_TEMPLATE_RADEMACHER, EQUINV_TEMPLATE_ORTHONORMAL,
        EQUINV_TEMPLATE_SPARSE, EQUINV_TEMPLATE_HADAMARD};
    const equinv_template_kind kind = kinds[_i];
    equinv_tensor all;
    equinv_context *ctx = context_new();
    all = templates_of(ctx, kind, 0.3, EQUINV_F32, 50, 40, 5);
    for (int level = 0; level < TEST_LEVELS; level++) {
        equinv_context *const other = context_of_level(level, 1 + level);
        if (!other)
            continue;
        equinv_tensor some = templates_of(other, kind, 0.3, EQUINV_F32, 50, 7 + level, 5), first;
        OK(equinv_tensor_rows(&all, 0, 7 + level, &first));
        ASSERT_SAME(&some, &first);
        equinv_tensor_destroy(other, &some);
        equinv_context_destroy(other);
    }
    equinv_tensor_destroy(ctx, &all);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(density_is_checked)
{
    equinv_context *ctx = context_new();
    equinv_projection_desc d = desc_of(EQUINV_PROJECT_MAX, group_cases[3], EQUINV_F32, 2, 5, 1);
    equinv_projection *p = NULL;
    static const double wrong[] = {0, -1, 1.0000001, (double)NAN, 0x1p-21};
    for (int i = 0; i < 5; i++) {
        d.templates = EQUINV_TEMPLATE_SPARSE;
        d.density = wrong[i];
        FAILS(EQUINV_ERR_ARG, "density is", equinv_projection_create(ctx, &d, &p));
        d.templates = EQUINV_TEMPLATE_GAUSSIAN; /* not read */
        OK(equinv_projection_create(ctx, &d, &p));
        equinv_projection_destroy(p);
    }
    equinv_context_destroy(ctx);
}
END_TEST

/* ---- how many ------------------------------------------------------------------------------- */

START_TEST(as_many_as_the_formula_says)
{
    static const struct {
        int64_t points;
        double distortion, failure;
        int64_t k;
    } cases[] = {
        {1000, 0.1, 0.01, 7895},
        {2, 0.5, 1, 17},
        {100000, 0.3, 0.5, 1318},
        {2, 0.999, 1, 9},
    };
    int64_t k;
    for (int i = 0; i < 4; i++) {
        const double n = (double)cases[i].points, e = cases[i].distortion;
        OK(equinv_templates_for_distortion(cases[i].points, e, cases[i].failure, &k));
        const double rate = e * e / 2 - e * e * e / 3;
        ck_assert_msg(k == cases[i].k, "case %d: %lld", i, (long long)k);
        /* The union bound over the pairs holds, and with one template fewer it does not. */
        ck_assert(n * (n - 1) * exp(-(double)k * rate / 2) <= cases[i].failure);
        ck_assert(n * (n - 1) * exp(-(double)(k - 1) * rate / 2) > cases[i].failure);
    }
    k = -1;
    FAILS(EQUINV_ERR_ARG, "points is 1", equinv_templates_for_distortion(1, 0.1, 0.1, &k));
    FAILS(EQUINV_ERR_ARG, "distortion is 0", equinv_templates_for_distortion(9, 0, 0.1, &k));
    FAILS(EQUINV_ERR_ARG, "distortion is 1", equinv_templates_for_distortion(9, 1, 0.1, &k));
    FAILS(EQUINV_ERR_ARG, "distortion", equinv_templates_for_distortion(9, (double)NAN, 0.1, &k));
    FAILS(EQUINV_ERR_ARG, "2^62", equinv_templates_for_distortion(9, 1e-12, 0.1, &k));
    FAILS(EQUINV_ERR_ARG, "failure is 0", equinv_templates_for_distortion(9, 0.1, 0, &k));
    FAILS(EQUINV_ERR_ARG, "failure is 1.5", equinv_templates_for_distortion(9, 0.1, 1.5, &k));
    FAILS(EQUINV_ERR_ARG, "k is NULL", equinv_templates_for_distortion(9, 0.1, 0.1, NULL));
    ck_assert(k == -1);
}
END_TEST

START_TEST(that_many_keep_the_distances_of_orbit_means)
{
    /* 16 latents, all squared distances within 25 %, but for a chance of 1 %; three seeds. */
    enum { ROWS = 16 };
    static const equinv_template_kind kinds[] = {EQUINV_TEMPLATE_GAUSSIAN,
                                                 EQUINV_TEMPLATE_RADEMACHER, EQUINV_TEMPLATE_SPARSE,
                                                 EQUINV_TEMPLATE_HADAMARD};
    rng r = {UINT64_C(6700) + (uint64_t)_i};
    equinv_context *ctx = context_new();
    int64_t k;
    OK(equinv_templates_for_distortion(ROWS, 0.25, 0.01, &k));
    for (uint64_t seed = 0; seed < 3; seed++) {
        equinv_projection_desc d =
            desc_of(EQUINV_PROJECT_LINEAR, group_cases[12], EQUINV_F32, 60, k, seed);
        d.templates = kinds[_i];
        d.scaled = true;
        equinv_projection *p = projection_new(ctx, &d);
        equinv_tensor z = latents_of(ctx, &r, &d, ROWS), mean = tensor_like(ctx, &z);
        equinv_tensor codes = project(ctx, p, &z, NULL);
        OK(equinv_orbit_mean(ctx, d.group, &z, &mean));
        const int64_t dimension = equinv_tensor_count(&z) / ROWS;
        for (int64_t a = 0; a < ROWS; a++)
            for (int64_t b = 0; b < a; b++) {
                double kept = 0, before = 0;
                for (int64_t i = 0; i < k; i++)
                    kept += pow(tensor_get(&codes, a * k + i) - tensor_get(&codes, b * k + i), 2);
                for (int64_t i = 0; i < dimension; i++)
                    before += pow(tensor_get(&mean, a * dimension + i) -
                                      tensor_get(&mean, b * dimension + i),
                                  2);
                ck_assert_msg(fabs(kept / before - 1) < 0.25, "rows %lld, %lld: ratio %g",
                              (long long)a, (long long)b, kept / before);
            }
        equinv_tensor_destroy(ctx, &z);
        equinv_tensor_destroy(ctx, &mean);
        equinv_tensor_destroy(ctx, &codes);
        equinv_projection_destroy(p);
    }
    equinv_context_destroy(ctx);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {equal_finite_differences, 2 * ORBIT_KINDS},
        {all_implementations_equal_ref, ORBIT_KINDS},
        {gradients_of_sorted_rows, 2},
        {gradients_have_the_same_bits_on_any_number_of_threads, 1},
        {gradients_are_refused, 1},
        {sparse_ones_follow_the_recipe, 1},
        {sparse_numbers_are_where_they_should_be, 2},
        {hadamard_ones_follow_the_recipe, 1},
        {hadamard_ones_are_orthogonal, 1},
        {bits_are_the_same_for_any_level_threads_and_k, 5},
        {density_is_checked, 1},
        {as_many_as_the_formula_says, 1},
        {that_many_keep_the_distances_of_orbit_means, 4},
    };
    return run_tests("projection_templates", tests, sizeof tests / sizeof *tests);
}
