/* Projections of C_n and D_n on CUDA: equal to the CPU's reference, and what only CUDA can get wrong. */
#include "tests/ops/projection_cases.h"
#include "tests/cuda/sides.h"

/* Forward and backward with both outputs and what is saved, in CPU memory. */
typedef struct answers {
    equinv_tensor codes, diff, saved;
} answers;

static void answers_free(equinv_context *ctx, answers *a)
{
    equinv_tensor_destroy(ctx, &a->codes);
    equinv_tensor_destroy(ctx, &a->saved);
    equinv_tensor_destroy(ctx, &a->diff);
}

enum { CUDA_KINDS = 8 }; /* the first of orbit_kinds; the plugin declines the others */

/* What a call is given: latents, the gradient of codes, and what diff_src holds before. */
typedef struct inputs {
    equinv_tensor z, diff_codes, diff;
} inputs;

static inputs inputs_of(sides *s, const equinv_projection_desc *d, int64_t batch)
{
    equinv_projection *p;
    OK(equinv_projection_create(s->cpu, d, &p));
    inputs in = {latents_of(s->cpu, &s->r, d, batch), codes_of(s->cpu, p, d->dtype, batch), {0}};
    in.diff = latents_of(s->cpu, &s->r, d, batch);
    tensor_fill_random(&s->r, &in.diff_codes);
    equinv_projection_destroy(p);
    return in;
}

static void inputs_free(sides *s, inputs *in)
{
    equinv_tensor_destroy(s->cpu, &in->z);
    equinv_tensor_destroy(s->cpu, &in->diff_codes);
    equinv_tensor_destroy(s->cpu, &in->diff);
}

static answers by_reference(sides *s, equinv_projection_desc d, const inputs *in)
{
    answers a;
    equinv_projection *p;
    d.impl = "ref";
    OK(equinv_projection_create(s->cpu, &d, &p));
    a.codes = codes_of(s->cpu, p, d.dtype, in->z.shape[0]);
    a.saved = saved_of(s->cpu, p, in->z.shape[0]);
    a.diff = tensor_as(s->cpu, &in->diff, d.dtype);
    OK(equinv_project_forward(p, &in->z, NULL, &a.codes, a.saved.data, size_of(&a.saved), NULL, 0));
    OK(equinv_project_backward(p, &in->diff_codes, NULL, a.saved.data, size_of(&a.saved), &a.diff,
                               NULL, 0));
    equinv_projection_destroy(p);
    return a;
}

/* The same by CUDA; backward reads `saved` (of the reference) if given, else its own. */
static answers by_cuda(sides *s, equinv_projection_desc d, const inputs *in,
                       const equinv_tensor *saved, bool strided)
{
    answers a;
    equinv_projection *p;
    OK(equinv_projection_create(s->gpu, &d, &p));
    ck_assert_str_eq(equinv_projection_impl_name(p), "projection/tiles");
    equinv_tensor codes = codes_of(s->cpu, p, d.dtype, in->z.shape[0]), keep = {0};
    equinv_tensor own = saved_of(s->gpu, p, in->z.shape[0]);
    const equinv_tensor *const given[] = {&in->z, &in->diff_codes, &in->diff, &codes};
    cuda_laid on[4];
    for (int i = 0; i < 4; i++)
        on[i] = sides_place(s, given[i], strided);
    OK(equinv_project_forward(p, &on[0].view, NULL, &on[3].view, own.data, size_of(&own), NULL, 0));
    if (saved)
        keep = cuda_copy(s->gpu, saved);
    OK(equinv_project_backward(p, &on[1].view, NULL, saved ? keep.data : own.data, size_of(&own),
                               &on[2].view, NULL, 0));
    equinv_tensor back = cuda_back(s->gpu, &own);
    a.codes = sides_take(s, &on[3]);
    a.diff = sides_take(s, &on[2]);
    a.saved = tensor_copy(s->cpu, &back);
    for (int i = 0; i < 4; i++)
        cuda_laid_free(s->gpu, &on[i]);
    equinv_tensor_destroy(s->gpu, &back);
    equinv_tensor_destroy(s->gpu, &keep);
    equinv_tensor_destroy(s->gpu, &own);
    equinv_tensor_destroy(s->cpu, &codes);
    equinv_projection_destroy(p);
    return a;
}

static bool saves_elements(equinv_projection_kind kind)
{
    return kind == EQUINV_PROJECT_MAX || kind == EQUINV_PROJECT_SORTED;
}

/* saved holds inner products: they are as close as codes are. */
static double saved_error(const equinv_projection_desc *d, const answers *a, const answers *b)
{
    int64_t worst;
    equinv_tensor x, y;
    const int64_t count =
        (equinv_tensor_count(&a->saved) - 1) / (int64_t)equinv_dtype_size(d->dtype);
    OK(equinv_tensor_init(a->saved.data, d->dtype, 1, &count, &x));
    OK(equinv_tensor_init(b->saved.data, d->dtype, 1, &count, &y));
    return tensor_error(&x, &y, &worst);
}

static void compare(sides *s, equinv_projection_desc d, const inputs *in, bool strided, bool exact)
{
    const double tolerance = d.dtype == EQUINV_F64 ? 1e-12 : 5e-6;
    int64_t worst;
    char name[8];
    answers ref = by_reference(s, d, in), cuda = by_cuda(s, d, in, &ref.saved, strided);
    const double forward = tensor_error(&cuda.codes, &ref.codes, &worst);
    const double backward = tensor_error(&cuda.diff, &ref.diff, &worst);
    const double saved = saves_elements(d.kind) ? 0 : saved_error(&d, &cuda, &ref);
    OK(equinv_group_name(d.group, name, sizeof name));
    ck_assert_msg(forward <= tolerance && backward <= tolerance && saved <= tolerance,
                  "kind %d %s %s fields %lld %lldx%lld k %lld batch %lld strided %d: errors %g, %g "
                  "and %g, allowed %g",
                  (int)d.kind, name, equinv_dtype_name(d.dtype), (long long)d.fields,
                  (long long)d.height, (long long)d.width, (long long)d.k,
                  (long long)in->z.shape[0], strided, forward, backward, saved, tolerance);
    /* Random numbers have no ties in fp64, and exact sums have the same ones. */
    if (saves_elements(d.kind) && (exact || d.dtype == EQUINV_F64))
        ck_assert_msg(memcmp(cuda.saved.data, ref.saved.data, size_of(&ref.saved) - 1) == 0,
                      "kind %d %s: other elements are saved", (int)d.kind, name);
    answers_free(s->cpu, &ref);
    answers_free(s->cpu, &cuda);
}

static void compare_random(sides *s, equinv_projection_desc d, int64_t batch, bool strided)
{
    inputs in = inputs_of(s, &d, batch);
    compare(s, d, &in, strided, false);
    inputs_free(s, &in);
}

START_TEST(equals_ref_on_random_shapes)
{
    sides s = sides_new(UINT64_C(3000) + (uint64_t)_i);
    for (int trial = 0; trial < 2 * GROUP_CASES; trial++) {
        const group_case c = group_cases[trial % GROUP_CASES];
        equinv_projection_desc d =
            desc_of(orbit_kinds[_i], c, trial < GROUP_CASES ? EQUINV_F32 : EQUINV_F64,
                    rng_range(&s.r, 1, 4), rng_range(&s.r, 1, trial % 4 ? 9 : 70), rng_next(&s.r));
        d.scaled = rng_range(&s.r, 0, 1) == 1;
        d.accumulate = rng_range(&s.r, 0, 1) == 1;
        d.templates = (equinv_template_kind)rng_range(&s.r, 1, 2);
        compare_random(&s, d, rng_range(&s.r, 1, 5), trial % 3 == 0);
    }
    sides_free(&s);
}
END_TEST

START_TEST(many_group_orders)
{
    /* Whole orbits in a tile of 64 columns, orbits that fill it, and orbits that pass through scratch. */
    static const int32_t n[] = {1, 2, 3, 5, 6, 7, 16, 21, 22, 31, 32, 33, 63, 64, 65, 70, 130};
    sides s = sides_new(3100);
    for (int i = 0; i < (int)(sizeof n / sizeof *n); i++)
        for (int dihedral = 0; dihedral < 2; dihedral++) {
            const group_case c = {dihedral ? equinv_dihedral(n[i]) : equinv_cyclic(n[i]), 1, 1};
            compare_random(&s,
                           desc_of(orbit_kinds[(2 * i + dihedral) % CUDA_KINDS], c,
                                   i % 2 ? EQUINV_F32 : EQUINV_F64, 1, 3, rng_next(&s.r)),
                           2, i % 4 == 0);
        }
    sides_free(&s);
}
END_TEST

START_TEST(orbits_larger_than_a_tile)
{
    sides s = sides_new(UINT64_C(3200) + (uint64_t)_i);
    compare_random(
        &s, desc_of(orbit_kinds[_i], (group_case){equinv_cyclic(97), 1, 1}, EQUINV_F32, 2, 2, 1), 3,
        true);
    compare_random(
        &s, desc_of(orbit_kinds[_i], (group_case){equinv_dihedral(80), 1, 1}, EQUINV_F64, 1, 1, 1),
        1, false);
    sides_free(&s);
}
END_TEST

START_TEST(shapes_of_several_tiles)
{
    /* Tiles of 128 rows, several columns, long sums, more rows than a tile of scratch. */
    static const struct {
        equinv_projection_kind kind;
        group_case c;
        int64_t fields, k, batch;
    } cases[] = {
        {EQUINV_PROJECT_LINEAR, {{EQUINV_GROUP_CYCLIC, 2}, 1, 1}, 1, 1, 450},
        {EQUINV_PROJECT_MAX, {{EQUINV_GROUP_CYCLIC, 2}, 1, 1}, 1, 1, 450},
        {EQUINV_PROJECT_LINEAR, {{EQUINV_GROUP_CYCLIC, 2}, 3, 1}, 5, 130, 300},
        {EQUINV_PROJECT_MEAN, {{EQUINV_GROUP_CYCLIC, 4}, 13, 13}, 4, 2, 3},
        {EQUINV_PROJECT_MAX, {{EQUINV_GROUP_CYCLIC, 4}, 2, 2}, 2, 50, 270},
        {EQUINV_PROJECT_SORTED, {{EQUINV_GROUP_DIHEDRAL, 3}, 1, 1}, 3, 45, 131},
        {EQUINV_PROJECT_MEAN_SQUARE, {{EQUINV_GROUP_CYCLIC, 2}, 20, 30}, 1, 2, 2},
    };
    enum { CASES = sizeof cases / sizeof *cases };
    sides s = sides_new(3300);
    for (int i = 0; i < CASES; i++)
        compare_random(&s,
                       desc_of(cases[i].kind, cases[i].c, _i ? EQUINV_F64 : EQUINV_F32,
                               cases[i].fields, cases[i].k, 7),
                       cases[i].batch, false);
    sides_free(&s);
}
END_TEST

START_TEST(ties_go_to_the_lowest_element)
{
    /* Small integers: sums are exact in fp32, and many are equal. */
    sides s = sides_new(UINT64_C(3400) + (uint64_t)_i);
    for (int trial = 0; trial < 12; trial++) {
        const bool large = trial % 4 == 3;
        const group_case c =
            large ? (group_case){equinv_cyclic(72), 1, 1} : group_cases[trial % GROUP_CASES];
        equinv_projection_desc d = desc_of(orbit_kinds[_i], c, trial % 2 ? EQUINV_F32 : EQUINV_F64,
                                           large ? 1 : 2, 4, rng_next(&s.r));
        d.templates = EQUINV_TEMPLATE_RADEMACHER;
        inputs in = inputs_of(&s, &d, 3);
        for (int64_t i = 0; i < equinv_tensor_count(&in.z); i++)
            tensor_set(&in.z, i, (double)rng_range(&s.r, -1, 1));
        compare(&s, d, &in, false, true);
        inputs_free(&s, &in);
    }
    sides_free(&s);
}
END_TEST

START_TEST(nan_and_infinity_stay_in_their_row)
{
    sides s = sides_new(UINT64_C(3500) + (uint64_t)_i);
    for (int trial = 0; trial < 6; trial++) {
        const group_case c = trial % 3 == 2 ? (group_case){equinv_dihedral(34), 1, 1}
                                            : group_cases[trial % 3 ? 12 : 9];
        equinv_projection_desc d =
            desc_of(orbit_kinds[_i], c, trial % 2 ? EQUINV_F32 : EQUINV_F64, 1, 3, rng_next(&s.r));
        d.templates = EQUINV_TEMPLATE_RADEMACHER;
        inputs in = inputs_of(&s, &d, 4);
        const int64_t row = equinv_tensor_count(&in.z) / 4;
        for (int64_t i = 0; i < 4 * row; i++)
            tensor_set(&in.z, i, (double)rng_range(&s.r, -2, 2));
        tensor_set(&in.z, row + rng_range(&s.r, 0, row - 1), (double)NAN);
        /* Folding adds templates before they meet the latents: what becomes of infinities differs. */
        if (d.kind != EQUINV_PROJECT_LINEAR && d.kind != EQUINV_PROJECT_MEAN) {
            tensor_set(&in.z, 3 * row, (double)INFINITY);
            tensor_set(&in.z, 4 * row - 1, -(double)INFINITY);
        }
        answers ref = by_reference(&s, d, &in), cuda = by_cuda(&s, d, &in, NULL, false);
        ASSERT_CLOSE(&cuda.codes, &ref.codes, 5e-6);
        if (saves_elements(d.kind))
            ck_assert(memcmp(cuda.saved.data, ref.saved.data, size_of(&ref.saved) - 1) == 0);
        answers_free(s.cpu, &ref);
        answers_free(s.cpu, &cuda);
        inputs_free(&s, &in);
    }
    sides_free(&s);
}
END_TEST

/* Rows first .. first + count - 1 of what a call is given, as views. */
static inputs rows_of(const inputs *in, int64_t first, int64_t count)
{
    inputs part;
    OK(equinv_tensor_rows(&in->z, first, count, &part.z));
    OK(equinv_tensor_rows(&in->diff_codes, first, count, &part.diff_codes));
    OK(equinv_tensor_rows(&in->diff, first, count, &part.diff));
    return part;
}

START_TEST(a_row_has_the_same_bits_in_every_batch)
{
    /* Long sums; tiles of 128 rows or, for a few rows, of 32; orbits that pass through scratch. */
    static const struct {
        group_case c;
        int64_t fields, k, batch;
    } cases[] = {{{{EQUINV_GROUP_CYCLIC, 4}, 5, 5}, 6, 3, 9},
                 {{{EQUINV_GROUP_DIHEDRAL, 8}, 1, 1}, 1, 20, 130},
                 {{{EQUINV_GROUP_CYCLIC, 66}, 1, 1}, 1, 2, 9}};
    sides s = sides_new(UINT64_C(3600) + (uint64_t)_i);
    for (int i = 0; i < 3; i++) {
        equinv_projection_desc d =
            desc_of(orbit_kinds[_i], cases[i].c, EQUINV_F32, cases[i].fields, cases[i].k, 5);
        inputs in = inputs_of(&s, &d, cases[i].batch);
        const int64_t batch = in.z.shape[0];
        answers all = by_cuda(&s, d, &in, NULL, false), again = by_cuda(&s, d, &in, NULL, false);
        ASSERT_SAME(&all.codes, &again.codes);
        ASSERT_SAME(&all.diff, &again.diff);
        for (int trial = 0; trial < 2; trial++) {
            const int64_t first = rng_range(&s.r, 0, batch - 1);
            const int64_t count = trial ? rng_range(&s.r, 1, batch - first) : 1;
            const inputs part = rows_of(&in, first, count);
            answers some = by_cuda(&s, d, &part, NULL, false);
            equinv_tensor codes, diff;
            OK(equinv_tensor_rows(&all.codes, first, count, &codes));
            OK(equinv_tensor_rows(&all.diff, first, count, &diff));
            ASSERT_SAME(&some.codes, &codes);
            ASSERT_SAME(&some.diff, &diff);
            answers_free(s.cpu, &some);
        }
        answers_free(s.cpu, &all);
        answers_free(s.cpu, &again);
        inputs_free(&s, &in);
    }
    sides_free(&s);
}
END_TEST

START_TEST(invariant)
{
    sides s = sides_new(UINT64_C(3700) + (uint64_t)_i);
    for (int trial = 0; trial < GROUP_CASES; trial += 2) {
        const group_case c = group_cases[trial];
        equinv_projection_desc d = desc_of(orbit_kinds[_i], c, EQUINV_F64, 2, 5, rng_next(&s.r));
        if (d.kind == EQUINV_PROJECT_ORBIT)
            continue;
        equinv_tensor z = latents_of(s.cpu, &s.r, &d, 3);
        equinv_projection *p;
        OK(equinv_projection_create(s.gpu, &d, &p));
        equinv_tensor before = cuda_copy(s.gpu, &z), codes = project(s.gpu, p, &before, NULL);
        equinv_tensor expected = cuda_back(s.gpu, &codes);
        const int32_t g = (int32_t)rng_range(&s.r, 0, order_of(c.group) - 1);
        equinv_tensor moved = acted(s.cpu, c.group, g, &z), there = cuda_copy(s.gpu, &moved);
        OK(equinv_project_forward(p, &there, NULL, &codes, NULL, 0, NULL, 0));
        equinv_tensor got = cuda_back(s.gpu, &codes);
        ASSERT_CLOSE(&got, &expected, 1e-12);
        equinv_tensor_destroy(s.cpu, &z);
        equinv_tensor_destroy(s.cpu, &moved);
        equinv_tensor *const device[] = {&before, &codes, &expected, &there, &got};
        for (int i = 0; i < 5; i++)
            equinv_tensor_destroy(s.gpu, device[i]);
        equinv_projection_destroy(p);
    }
    sides_free(&s);
}
END_TEST

START_TEST(empty_batches_and_other_templates)
{
    sides s = sides_new(UINT64_C(3800) + (uint64_t)_i);
    equinv_projection_desc d =
        desc_of(orbit_kinds[_i], group_cases[13], EQUINV_F32, 2, 6, rng_next(&s.r));
    compare_random(&s, d, 0, false);
    d.templates = EQUINV_TEMPLATE_ORTHONORMAL;
    compare_random(&s, d, 3, false);
    equinv_tensor w = tensor_random(s.cpu, &s.r, EQUINV_F32, 5, 6, 2, 4, 4, 4), storage;
    equinv_tensor there = cuda_strided_copy(s.gpu, &s.r, &w, &storage);
    d.templates = EQUINV_TEMPLATE_USER;
    d.user_templates = &w;
    inputs in = inputs_of(&s, &d, 3);
    answers ref = by_reference(&s, d, &in);
    d.user_templates = &there;
    answers cuda = by_cuda(&s, d, &in, NULL, false);
    ASSERT_CLOSE(&cuda.codes, &ref.codes, 5e-6);
    ASSERT_CLOSE(&cuda.diff, &ref.diff, 5e-6);
    answers_free(s.cpu, &ref);
    answers_free(s.cpu, &cuda);
    inputs_free(&s, &in);
    equinv_tensor_destroy(s.cpu, &w);
    equinv_tensor_destroy(s.gpu, &storage);
    sides_free(&s);
}
END_TEST

START_TEST(callers_scratch_is_not_exceeded)
{
    sides s = sides_new(3900);
    equinv_projection_desc d =
        desc_of(EQUINV_PROJECT_MAX, (group_case){equinv_cyclic(66), 1, 1}, EQUINV_F32, 1, 3, 1);
    equinv_projection *p;
    OK(equinv_projection_create(s.gpu, &d, &p));
    const size_t size = equinv_projection_scratch_size(p);
    equinv_tensor z = latents_of(s.cpu, &s.r, &d, 5), there = cuda_copy(s.gpu, &z), scratch;
    equinv_tensor codes = project(s.gpu, p, &there, NULL), own = codes_of(s.gpu, p, d.dtype, 5);
    OK(equinv_tensor_create(s.gpu, EQUINV_U8, 1, (int64_t[]){(int64_t)size}, &scratch));
    OK(equinv_project_forward(p, &there, NULL, &own, NULL, 0, scratch.data, size));
    equinv_tensor got = cuda_back(s.gpu, &own), expected = cuda_back(s.gpu, &codes);
    ASSERT_SAME(&got, &expected);
    FAILS(EQUINV_ERR_SCRATCH, "scratch_size",
          equinv_project_forward(p, &there, NULL, &own, NULL, 0, scratch.data, size - 1));
    equinv_tensor *const device[] = {&there, &codes, &own, &scratch, &got, &expected};
    for (int i = 0; i < 6; i++)
        equinv_tensor_destroy(s.gpu, device[i]);
    equinv_tensor_destroy(s.cpu, &z);
    equinv_projection_destroy(p);
    sides_free(&s);
}
END_TEST

START_TEST(fields_that_are_too_large_are_declined)
{
    equinv_context *const ctx = cuda_context_new();
    equinv_projection *p = NULL;
    equinv_projection_desc d = desc_of(
        EQUINV_PROJECT_MAX, (group_case){equinv_cyclic(1), 1 << 16, 1 << 15}, EQUINV_F32, 1, 1, 1);
    FAILS(EQUINV_ERR_UNSUPPORTED, "fields below 2^31 / |G|", equinv_projection_create(ctx, &d, &p));
    d.impl = "tiles";
    FAILS(EQUINV_ERR_UNSUPPORTED, "a field has 2^31 / |G|", equinv_projection_create(ctx, &d, &p));
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(what_is_missing_is_declined)
{
    static const int32_t rank = 0;
    equinv_context *const ctx = cuda_context_new();
    equinv_projection *p = NULL;
    for (int kind = CUDA_KINDS; kind < ORBIT_KINDS; kind++) {
        const equinv_projection_desc d =
            desc_of(orbit_kinds[kind], group_cases[3], EQUINV_F32, 2, 3, 1);
        FAILS(EQUINV_ERR_UNSUPPORTED, "on the CPU only", equinv_projection_create(ctx, &d, &p));
    }
    for (int kind = EQUINV_PROJECT_POWER; kind <= EQUINV_PROJECT_FOURIER; kind++) {
        const equinv_projection_desc d =
            desc_of((equinv_projection_kind)kind, group_cases[3], EQUINV_F32, 2, 0, 1);
        FAILS(EQUINV_ERR_UNSUPPORTED, "on the CPU only", equinv_projection_create(ctx, &d, &p));
    }
    equinv_projection_desc d = desc_of(EQUINV_PROJECT_SORTED, group_cases[3], EQUINV_F32, 2, 3, 1);
    d.ranks = &rank;
    d.rank_count = 1;
    FAILS(EQUINV_ERR_UNSUPPORTED, "on the CPU only", equinv_projection_create(ctx, &d, &p));
    d = desc_of(EQUINV_PROJECT_MAX, group_cases[3], EQUINV_F32, 2, 3, 1);
    OK(equinv_projection_create(ctx, &d, &p));
    equinv_tensor none = {0};
    FAILS(EQUINV_ERR_UNSUPPORTED, "has no gradient of templates",
          equinv_project_backward_templates(p, &none, NULL, &none, NULL, 0, &none, NULL, 0));
    equinv_projection_destroy(p);
    OK(equinv_group_parse("C2xC2", &d.group));
    FAILS(EQUINV_ERR_UNSUPPORTED, "groups given by a table are on the CPU only",
          equinv_projection_create(ctx, &d, &p));
    FAILS(EQUINV_ERR_UNSUPPORTED, "given by a table", equinv_act(ctx, d.group, 1, &none, &none));
    FAILS(EQUINV_ERR_UNSUPPORTED, "given by a table",
          equinv_orbit_mean(ctx, d.group, &none, &none));
    FAILS(EQUINV_ERR_UNSUPPORTED, "given by a table",
          equinv_orbit_distance(ctx, d.group, &none, &none, &none, NULL));
    /* Made on the CPU, with the same bits there. */
    equinv_context_desc on_cpu = EQUINV_CONTEXT_DESC_INIT;
    equinv_context *cpu = NULL;
    on_cpu.device = EQUINV_DEVICE_CPU;
    OK(equinv_context_create(&on_cpu, &cpu));
    static const equinv_template_kind kinds[] = {EQUINV_TEMPLATE_SPARSE, EQUINV_TEMPLATE_HADAMARD};
    for (int i = 0; i < 2; i++) {
        equinv_projection_desc e = desc_of(EQUINV_PROJECT_MAX, group_cases[3], EQUINV_F32, 2, 3, 1);
        equinv_projection *q = NULL;
        equinv_tensor here, there, copy;
        e.templates = kinds[i];
        OK(equinv_projection_create(ctx, &e, &p));
        OK(equinv_projection_create(cpu, &e, &q));
        OK(equinv_projection_templates(p, &there));
        OK(equinv_projection_templates(q, &here));
        OK(equinv_tensor_create(cpu, EQUINV_F32, here.ndim, here.shape, &copy));
        OK(equinv_tensor_copy(ctx, &there, &copy));
        OK(equinv_context_synchronize(ctx));
        ASSERT_SAME(&copy, &here);
        equinv_tensor_destroy(cpu, &copy);
        equinv_projection_destroy(p);
        equinv_projection_destroy(q);
    }
    equinv_context_destroy(cpu);
    equinv_context_destroy(ctx);
}
END_TEST

/*
 * The leak checker (GCC 12) crashes when it looks through thread-local memory in a child that Check forks
 * after some sixty tests. Nothing here keeps its only pointer to memory there.
 */
const char *__lsan_default_options(void) __attribute__((visibility("default")));
const char *__lsan_default_options(void)
{
    return "use_tls=0";
}

int main(void)
{
    const test_entry tests[] = {
        {equals_ref_on_random_shapes, CUDA_KINDS},
        {many_group_orders, 1},
        {orbits_larger_than_a_tile, CUDA_KINDS},
        {shapes_of_several_tiles, 2},
        {ties_go_to_the_lowest_element, CUDA_KINDS},
        {nan_and_infinity_stay_in_their_row, CUDA_KINDS},
        {a_row_has_the_same_bits_in_every_batch, CUDA_KINDS},
        {invariant, CUDA_KINDS},
        {empty_batches_and_other_templates, CUDA_KINDS},
        {callers_scratch_is_not_exceeded, 1},
        {fields_that_are_too_large_are_declined, 1},
        {what_is_missing_is_declined, 1},
    };
    return run_cuda_tests("cuda/projection", tests, sizeof tests / sizeof *tests);
}
