/* Every implementation of the projections against the reference, on random and on large shapes. */
#include "tests/ops/projection_cases.h"

typedef struct answers {
    equinv_tensor codes, diff, saved;
} answers;

/* Forward and backward by one implementation; backward reads `saved` if given, else its own. */
static answers answers_of(equinv_context *ctx, equinv_projection_desc d, const char *impl,
                          const equinv_tensor *z, const equinv_tensor *diff_codes,
                          const equinv_tensor *saved)
{
    answers a;
    equinv_projection *p;
    char name[32];
    d.impl = impl;
    OK(equinv_projection_create(ctx, &d, &p));
    snprintf(name, sizeof name, "projection/%s", impl);
    ck_assert_str_eq(equinv_projection_impl_name(p), name);
    a.codes = codes_of(ctx, p, d.dtype, z->shape[0]);
    a.saved = saved_of(ctx, p, z->shape[0]);
    a.diff = tensor_like(ctx, z);
    OK(equinv_project_forward(p, z, NULL, &a.codes, a.saved.data, size_of(&a.saved), NULL, 0));
    const equinv_tensor *const s = saved ? saved : &a.saved;
    OK(equinv_project_backward(p, diff_codes, NULL, s->data, size_of(s), &a.diff, NULL, 0));
    equinv_projection_destroy(p);
    return a;
}

static void answers_free(equinv_context *ctx, answers *a)
{
    equinv_tensor_destroy(ctx, &a->codes);
    equinv_tensor_destroy(ctx, &a->saved);
    equinv_tensor_destroy(ctx, &a->diff);
}

/* Whether an implementation takes the problem. */
static bool takes(equinv_context *ctx, equinv_projection_desc d, const char *impl)
{
    equinv_projection *p = NULL;
    d.impl = impl;
    const equinv_status status = equinv_projection_create(ctx, &d, &p);
    ck_assert(status == EQUINV_OK || status == EQUINV_ERR_UNSUPPORTED);
    equinv_projection_destroy(p);
    return status == EQUINV_OK;
}

static void compare_with_ref(equinv_context *ctx, equinv_projection_desc d, const char *impl,
                             const equinv_tensor *z, const equinv_tensor *diff_codes, answers *ref)
{
    if (!takes(ctx, d, impl))
        return;
    answers other = answers_of(ctx, d, impl, z, diff_codes, &ref->saved);
    const double tolerance = d.dtype == EQUINV_F64 ? 1e-12 : 5e-6;
    int64_t worst;
    const double forward = tensor_error(&other.codes, &ref->codes, &worst);
    const double backward = tensor_error(&other.diff, &ref->diff, &worst);
    char name[8];
    OK(equinv_group_name(d.group, name, sizeof name));
    ck_assert_msg(forward <= tolerance && backward <= tolerance,
                  "%s kind %d %s %s fields %lld %lldx%lld k %lld batch %lld seed %llu: errors %g "
                  "and %g, allowed %g",
                  impl, (int)d.kind, name, equinv_dtype_name(d.dtype), (long long)d.fields,
                  (long long)d.height, (long long)d.width, (long long)d.k, (long long)z->shape[0],
                  (unsigned long long)d.seed, forward, backward, tolerance);
    /* Random numbers have no ties: in fp64 both find the same elements. */
    const bool elements = d.kind == EQUINV_PROJECT_MAX || d.kind == EQUINV_PROJECT_MIN ||
                          d.kind == EQUINV_PROJECT_SORTED;
    if (elements && d.dtype == EQUINV_F64)
        ck_assert(memcmp(other.saved.data, ref->saved.data, size_of(&ref->saved) - 1) == 0);
    answers_free(ctx, &other);
}

static void compare(equinv_context *ctx, rng *r, equinv_projection_desc d, int64_t batch)
{
    equinv_projection *p;
    OK(equinv_projection_create(ctx, &d, &p));
    equinv_tensor z = latents_of(ctx, r, &d, batch);
    equinv_tensor diff_codes = codes_of(ctx, p, d.dtype, batch);
    tensor_fill_random(r, &diff_codes);
    answers ref = answers_of(ctx, d, "ref", &z, &diff_codes, NULL);
    for (int i = 1; i < IMPLEMENTATIONS; i++)
        compare_with_ref(ctx, d, implementations[i], &z, &diff_codes, &ref);
    answers_free(ctx, &ref);
    equinv_tensor_destroy(ctx, &z);
    equinv_tensor_destroy(ctx, &diff_codes);
    equinv_projection_destroy(p);
}

START_TEST(gemm_equals_ref_on_random_shapes)
{
    rng r = {UINT64_C(2000) + (uint64_t)_i};
    equinv_context *ctx = context_new();
    for (int trial = 0; trial < 2 * GROUP_CASES; trial++) {
        const group_case c = group_cases[trial % GROUP_CASES];
        equinv_projection_desc d =
            desc_of(orbit_kinds[_i], c, trial < GROUP_CASES ? EQUINV_F32 : EQUINV_F64,
                    rng_range(&r, 1, 5), rng_range(&r, 1, 18), rng_next(&r));
        d.scaled = rng_range(&r, 0, 1) == 1;
        d.templates = (equinv_template_kind)rng_range(&r, 1, 2);
        compare(ctx, &r, d, rng_range(&r, 1, 9));
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(many_group_orders)
{
    rng r = {2100};
    equinv_context *ctx = context_new();
    for (int32_t n = 1; n <= 24; n++)
        for (int dihedral = 0; dihedral < 2; dihedral++) {
            const group_case c = {dihedral ? equinv_dihedral(n) : equinv_cyclic(n), 1, 1};
            compare(ctx, &r,
                    desc_of(orbit_kinds[rng_range(&r, 0, ORBIT_KINDS - 1)], c,
                            n % 2 ? EQUINV_F32 : EQUINV_F64, 2, 3, rng_next(&r)),
                    3);
        }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(shapes_of_several_tiles)
{
    /* More rows than a tile, more orbits than a block, more templates than a block, large groups. */
    static const struct {
        equinv_projection_kind kind;
        group_case c;
        int64_t fields, k, batch;
    } cases[] = {
        {EQUINV_PROJECT_LINEAR, {{EQUINV_GROUP_CYCLIC, 2}, 1, 1}, 40, 3, 700},
        {EQUINV_PROJECT_LINEAR, {{EQUINV_GROUP_CYCLIC, 4}, 13, 13}, 26, 2, 3},
        {EQUINV_PROJECT_MEAN, {{EQUINV_GROUP_CYCLIC, 4}, 5, 5}, 3, 1500, 11},
        {EQUINV_PROJECT_LINEAR, {{EQUINV_GROUP_CYCLIC, 1}, 67, 67}, 2, 40, 2},
        {EQUINV_PROJECT_MAX, {{EQUINV_GROUP_CYCLIC, 4}, 2, 2}, 3, 150, 270},
        {EQUINV_PROJECT_MAX, {{EQUINV_GROUP_CYCLIC, 2}, 40, 60}, 1, 2, 2},
        {EQUINV_PROJECT_SORTED, {{EQUINV_GROUP_DIHEDRAL, 300}, 1, 1}, 1, 3, 2},
        {EQUINV_PROJECT_MEAN_ABS, {{EQUINV_GROUP_CYCLIC, 700}, 1, 1}, 1, 2, 3},
        {EQUINV_PROJECT_ORBIT, {{EQUINV_GROUP_DIHEDRAL, 4}, 1, 1}, 2, 700, 12},
        {EQUINV_PROJECT_CDF, {{EQUINV_GROUP_CYCLIC, 2}, 1, 1}, 2, 70, 12},
        {EQUINV_PROJECT_MOMENT3, {{EQUINV_GROUP_DIHEDRAL, 8}, 1, 1}, 2, 70, 12},
    };
    enum { CASES = sizeof cases / sizeof *cases };
    rng r = {2200};
    equinv_context *ctx = context_new();
    for (int i = 0; i < CASES; i++)
        compare(ctx, &r,
                desc_of(cases[i].kind, cases[i].c, _i ? EQUINV_F64 : EQUINV_F32, cases[i].fields,
                        cases[i].k, 7),
                cases[i].batch);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(turned_templates_too_large_to_keep)
{
    /* D1024 with 5 templates would be 80 MiB of turned ones in fp32. */
    rng r = {2300};
    equinv_context *ctx = context_new();
    compare(
        ctx, &r,
        desc_of(EQUINV_PROJECT_MAX, (group_case){equinv_dihedral(1024), 1, 1}, EQUINV_F32, 1, 5, 1),
        1);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(gemm_declines_sorting_of_rows)
{
    equinv_context *ctx = context_new();
    equinv_projection_desc d = EQUINV_PROJECTION_DESC_INIT;
    equinv_projection *p = NULL;
    d.kind = EQUINV_PROJECT_SORT;
    d.group = equinv_symmetric();
    d.rows = 3, d.channels = 2;
    d.impl = "gemm";
    FAILS(EQUINV_ERR_UNSUPPORTED, "sorting of rows", equinv_projection_create(ctx, &d, &p));
    d.impl = NULL;
    OK(equinv_projection_create(ctx, &d, &p));
    ck_assert_str_eq(equinv_projection_impl_name(p), "projection/network");
    equinv_projection_destroy(p);
    d = desc_of(EQUINV_PROJECT_MAX, group_cases[3], EQUINV_F64, 1, 1, 1);
    OK(equinv_projection_create(ctx, &d, &p));
    ck_assert_str_eq(equinv_projection_impl_name(p), "projection/gemm");
    equinv_projection_destroy(p);
    d.impl = "fast";
    FAILS(EQUINV_ERR_ARG, "gfourier, gemm, network, spectrum, ref",
          equinv_projection_create(ctx, &d, &p));
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(callers_scratch_serves_many_threads_alike)
{
    rng r = {2400};
    equinv_context *ctx = context_new();
    equinv_projection_desc d = desc_of(EQUINV_PROJECT_SORTED, group_cases[12], EQUINV_F32, 3, 9, 4);
    d.impl = implementations[_i];
    equinv_projection *p;
    OK(equinv_projection_create(ctx, &d, &p));
    equinv_tensor z = latents_of(ctx, &r, &d, 50), codes = project(ctx, p, &z, NULL);
    const size_t size = equinv_projection_scratch_size(p);
    equinv_tensor scratch, own = tensor_like(ctx, &codes);
    OK(equinv_tensor_create(ctx, EQUINV_U8, 1, (int64_t[]){(int64_t)size + 64}, &scratch));
    memset((char *)scratch.data + size, 0xa5, 64);
    OK(equinv_project_forward(p, &z, NULL, &own, NULL, 0, scratch.data, size));
    ASSERT_SAME(&own, &codes);
    for (int i = 0; i < 64; i++) /* nothing behind it is touched */
        ck_assert(((unsigned char *)scratch.data)[size + (size_t)i] == 0xa5);
    FAILS(EQUINV_ERR_SCRATCH, "scratch_size",
          equinv_project_forward(p, &z, NULL, &own, NULL, 0, scratch.data, size - 1));
    FAILS(EQUINV_ERR_SCRATCH, "aligned",
          equinv_project_forward(p, &z, NULL, &own, NULL, 0, (char *)scratch.data + 4, size));
    equinv_tensor_destroy(ctx, &z);
    equinv_tensor_destroy(ctx, &codes);
    equinv_tensor_destroy(ctx, &own);
    equinv_tensor_destroy(ctx, &scratch);
    equinv_projection_destroy(p);
    equinv_context_destroy(ctx);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {gemm_equals_ref_on_random_shapes, ORBIT_KINDS},
        {many_group_orders, 1},
        {shapes_of_several_tiles, 2},
        {turned_templates_too_large_to_keep, 1},
        {gemm_declines_sorting_of_rows, 1},
        {callers_scratch_serves_many_threads_alike, 2},
    };
    return run_tests("projection_impl", tests, sizeof tests / sizeof *tests);
}
