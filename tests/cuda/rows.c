/* Sorting of rows under S on CUDA against the CPU's reference. */
#include "tests/ops/projection_cases.h"
#include "tests/cuda/sides.h"

static const equinv_projection_kind kinds[] = {EQUINV_PROJECT_SORT, EQUINV_PROJECT_PROJECT_SORT};

/* One problem, all in CPU memory: z and mask are inputs, the others the reference's answers. */
typedef struct problem {
    equinv_projection_desc d;
    bool masked;
    equinv_tensor z, mask, codes, saved, diff_codes, before, diff;
} problem;

/* Rows that are not there hold NaN: they must not be read. */
static void mask_rows(sides *s, problem *p)
{
    for (int64_t i = 0; i < equinv_tensor_count(&p->mask); i++) {
        const bool there = !p->masked || rng_range(&s->r, 0, 3) > 0;
        tensor_set(&p->mask, i, there ? (double)rng_range(&s->r, 1, 100) : 0);
        for (int64_t c = 0; c < p->d.channels && !there; c++)
            tensor_set(&p->z, i * p->d.channels + c, (double)NAN);
    }
}

/* `exact`: small integers, whose inner products with Rademacher templates have many ties. */
static problem problem_new(sides *s, equinv_projection_desc d, int64_t batch, bool masked,
                           bool exact)
{
    problem p = {.d = d, .masked = masked};
    equinv_projection *ref;
    d.impl = "ref";
    OK(equinv_projection_create(s->cpu, &d, &ref));
    OK(equinv_tensor_create(s->cpu, d.dtype, 3, (int64_t[]){batch, d.rows, d.channels}, &p.z));
    OK(equinv_tensor_create(s->cpu, rng_range(&s->r, 0, 1) ? EQUINV_U8 : EQUINV_I32, 2,
                            (int64_t[]){batch, d.rows}, &p.mask));
    tensor_fill_random(&s->r, &p.z);
    for (int64_t i = 0; exact && i < equinv_tensor_count(&p.z); i++)
        tensor_set(&p.z, i, (double)rng_range(&s->r, -2, 2));
    mask_rows(s, &p);
    p.codes = codes_of(s->cpu, ref, d.dtype, batch);
    p.saved = saved_of(s->cpu, ref, batch);
    p.diff_codes = tensor_like(s->cpu, &p.codes);
    p.before = tensor_like(s->cpu, &p.z);
    tensor_fill_random(&s->r, &p.diff_codes);
    tensor_fill_random(&s->r, &p.before);
    p.diff = tensor_as(s->cpu, &p.before, d.dtype);
    const equinv_tensor *const mask = masked ? &p.mask : NULL;
    OK(equinv_project_forward(ref, &p.z, mask, &p.codes, p.saved.data, size_of(&p.saved), NULL, 0));
    OK(equinv_project_backward(ref, &p.diff_codes, mask, p.saved.data, size_of(&p.saved), &p.diff,
                               NULL, 0));
    equinv_projection_destroy(ref);
    return p;
}

static void problem_free(sides *s, problem *p)
{
    equinv_tensor *const all[] = {&p->z,          &p->mask,   &p->codes, &p->saved,
                                  &p->diff_codes, &p->before, &p->diff};
    for (int i = 0; i < 7; i++)
        equinv_tensor_destroy(s->cpu, all[i]);
}

/* Solves it by CUDA; `order` tells whether the saved rows must be the reference's. */
static void compare(sides *s, const problem *p, bool strided, bool order)
{
    equinv_projection *cuda;
    OK(equinv_projection_create(s->gpu, &p->d, &cuda));
    ck_assert_str_eq(equinv_projection_impl_name(cuda), "projection/rank");
    ck_assert_uint_eq(equinv_projection_scratch_size(cuda), 0);
    const equinv_tensor *const given[] = {&p->z, &p->mask, &p->diff_codes, &p->before, &p->codes};
    cuda_laid on[5];
    for (int i = 0; i < 5; i++)
        on[i] = sides_place(s, given[i], strided);
    const equinv_tensor *const mask = p->masked ? &on[1].view : NULL;
    equinv_tensor own = saved_of(s->gpu, cuda, p->z.shape[0]), keep = cuda_copy(s->gpu, &p->saved);
    OK(equinv_project_forward(cuda, &on[0].view, mask, &on[4].view, own.data, size_of(&own), NULL,
                              0));
    OK(equinv_project_backward(cuda, &on[2].view, mask, keep.data, size_of(&keep), &on[3].view,
                               NULL, 0));
    equinv_tensor saved = cuda_back(s->gpu, &own);
    equinv_tensor codes = sides_take(s, &on[4]), diff = sides_take(s, &on[3]);
    const bool sort = p->d.kind == EQUINV_PROJECT_SORT;
    const double tolerance = sort ? 0 : p->d.dtype == EQUINV_F64 ? 1e-13 : 2e-6;
    ASSERT_CLOSE(&codes, &p->codes, tolerance);
    ASSERT_CLOSE(&diff, &p->diff, tolerance);
    if (order || p->d.dtype == EQUINV_F64)
        ck_assert_msg(memcmp(saved.data, p->saved.data, size_of(&saved) - 1) == 0,
                      "kind %d %s rows %lld channels %lld k %lld: other rows are saved",
                      (int)p->d.kind, equinv_dtype_name(p->d.dtype), (long long)p->d.rows,
                      (long long)p->d.channels, (long long)p->d.k);
    OK(equinv_project_forward(cuda, &on[0].view, mask, &on[4].view, NULL, 0, NULL, 0));
    equinv_tensor again = sides_take(s, &on[4]);
    ASSERT_SAME(&again, &codes);
    equinv_tensor *const device[] = {&own, &keep, &saved};
    equinv_tensor *const here[] = {&codes, &diff, &again};
    for (int i = 0; i < 3; i++) {
        equinv_tensor_destroy(s->gpu, device[i]);
        equinv_tensor_destroy(s->cpu, here[i]);
    }
    for (int i = 0; i < 5; i++)
        cuda_laid_free(s->gpu, &on[i]);
    equinv_projection_destroy(cuda);
}

static equinv_projection_desc random_desc(sides *s, equinv_projection_kind kind, int trial)
{
    static const int64_t edges[] = {1, 2, 8, 31, 32, 33, 63, 64};
    equinv_projection_desc d = rows_desc(kind, trial % 2 ? EQUINV_F32 : EQUINV_F64,
                                         trial % 5 ? rng_range(&s->r, 1, 20) : edges[trial / 5 % 8],
                                         rng_range(&s->r, 1, trial % 7 ? 5 : 70),
                                         rng_range(&s->r, 1, trial % 7 ? 6 : 70), rng_next(&s->r));
    d.scaled = trial % 3 == 0;
    d.accumulate = trial % 3 == 1;
    d.fill = trial % 4 ? (double)INFINITY : -7;
    return d;
}

START_TEST(equals_ref_on_random_shapes)
{
    sides s = sides_new(UINT64_C(4000) + (uint64_t)_i);
    for (int trial = 0; trial < 100; trial++) {
        const equinv_projection_desc d = random_desc(&s, kinds[_i], trial);
        problem p = problem_new(&s, d, rng_range(&s.r, 0, 5), trial % 2 == 0, false);
        compare(&s, &p, trial % 3 == 0, d.kind == EQUINV_PROJECT_SORT);
        problem_free(&s, &p);
    }
    sides_free(&s);
}
END_TEST

START_TEST(ties_keep_their_order)
{
    sides s = sides_new(UINT64_C(4100) + (uint64_t)_i);
    for (int trial = 0; trial < 30; trial++) {
        equinv_projection_desc d = random_desc(&s, kinds[_i], trial);
        d.templates = EQUINV_TEMPLATE_RADEMACHER;
        d.scaled = false;
        problem p = problem_new(&s, d, 2, trial % 2 == 0, true);
        compare(&s, &p, false, true);
        problem_free(&s, &p);
    }
    sides_free(&s);
}
END_TEST

START_TEST(zeros_infinities_nan_and_fill)
{
    static const double values[] = {
        -(double)NAN,      2, -0.0, 1, 0.0, (double)INFINITY, -0.0, (double)NAN, 1,
        -(double)INFINITY, 3};
    enum { ROWS = sizeof values / sizeof *values };
    sides s = sides_new(4200);
    equinv_tensor one = tensor_new(s.cpu, _i % 2 ? EQUINV_F32 : EQUINV_F64, 2, 1, 1);
    tensor_set(&one, 0, 1);
    equinv_projection_desc d = rows_desc(kinds[_i / 2], one.dtype, ROWS, 1, 1, 0);
    d.fill = 5; /* fill values stand behind NaN */
    d.templates = EQUINV_TEMPLATE_USER;
    d.user_templates = &one;
    problem p = problem_new(&s, d, 1, true, false);
    equinv_projection *cuda;
    for (int i = 0; i < ROWS; i++) {
        tensor_set(&p.z, i, values[i]);
        tensor_set(&p.mask, i, i != 10);
    }
    equinv_tensor w = cuda_copy(s.gpu, &one), z = cuda_copy(s.gpu, &p.z);
    equinv_tensor mask = cuda_copy(s.gpu, &p.mask), dst = cuda_copy(s.gpu, &p.codes);
    d.user_templates = &w;
    OK(equinv_projection_create(s.gpu, &d, &cuda));
    equinv_tensor own = saved_of(s.gpu, cuda, 1);
    OK(equinv_project_forward(cuda, &z, &mask, &dst, own.data, size_of(&own), NULL, 0));
    static const int32_t places[] = {9, 2, 4, 6, 3, 8, 1, 5, 0, 7, -1};
    equinv_tensor codes = cuda_back(s.gpu, &dst), saved = cuda_back(s.gpu, &own);
    for (int i = 0; i < ROWS; i++) {
        const double got = tensor_get(&codes, i), want = places[i] < 0 ? 5 : values[places[i]];
        ck_assert_int_eq(((const int32_t *)saved.data)[i], places[i]);
        ck_assert_msg(got == want || (isnan(got) && isnan(want)), "place %d: %g, expected %g", i,
                      got, want);
        /* A projected -0 may be +0: sums start from +0. */
        ck_assert(_i / 2 || isnan(want) || !signbit(got) == !signbit(want));
    }
    equinv_tensor *const all[] = {&w, &z, &mask, &dst, &own, &codes, &saved};
    for (int i = 0; i < 7; i++)
        equinv_tensor_destroy(s.gpu, all[i]);
    equinv_projection_destroy(cuda);
    equinv_tensor_destroy(s.cpu, &one);
    problem_free(&s, &p);
    sides_free(&s);
}
END_TEST

START_TEST(rows_are_permuted_and_batches_cut_without_a_trace)
{
    sides s = sides_new(UINT64_C(4300) + (uint64_t)_i);
    enum { BATCH = 7, ROWS = 19, CHANNELS = 5 };
    equinv_projection_desc d = rows_desc(kinds[_i], EQUINV_F32, ROWS, CHANNELS, 6, 1);
    equinv_projection *p;
    OK(equinv_projection_create(s.gpu, &d, &p));
    equinv_tensor z = tensor_random(s.cpu, &s.r, d.dtype, 3, BATCH, ROWS, CHANNELS);
    equinv_tensor moved = tensor_like(s.cpu, &z);
    for (int64_t i = 0; i < BATCH * ROWS * CHANNELS; i++) {
        const int64_t row = i / CHANNELS % ROWS, sample = i / (ROWS * CHANNELS);
        tensor_set(&moved, (sample * ROWS + row * 7 % ROWS) * CHANNELS + i % CHANNELS,
                   tensor_get(&z, i));
    }
    equinv_tensor on = cuda_copy(s.gpu, &z), other = cuda_copy(s.gpu, &moved), row;
    equinv_tensor codes = project(s.gpu, p, &on, NULL), same = project(s.gpu, p, &other, NULL);
    OK(equinv_tensor_rows(&on, 4, 1, &row));
    equinv_tensor single = project(s.gpu, p, &row, NULL), part;
    equinv_tensor a = cuda_back(s.gpu, &codes), b = cuda_back(s.gpu, &same);
    equinv_tensor c = cuda_back(s.gpu, &single);
    OK(equinv_tensor_rows(&a, 4, 1, &part));
    ASSERT_SAME(&b, &a);
    ASSERT_SAME(&c, &part);
    equinv_tensor *const all[] = {&on, &other, &codes, &same, &single, &a, &b, &c};
    for (int i = 0; i < 8; i++)
        equinv_tensor_destroy(s.gpu, all[i]);
    equinv_tensor_destroy(s.cpu, &z);
    equinv_tensor_destroy(s.cpu, &moved);
    equinv_projection_destroy(p);
    sides_free(&s);
}
END_TEST

START_TEST(more_rows_are_declined)
{
    sides s = sides_new(4400);
    equinv_projection *p = NULL;
    equinv_projection_desc d = rows_desc(kinds[_i], EQUINV_F32, 65, 2, 3, 1);
    FAILS(EQUINV_ERR_UNSUPPORTED, "more than 64 rows", equinv_projection_create(s.gpu, &d, &p));
    d.impl = "rank";
    FAILS(EQUINV_ERR_UNSUPPORTED, "more than 64 rows", equinv_projection_create(s.gpu, &d, &p));
    d.impl = "ref";
    FAILS(EQUINV_ERR_ARG, "tiles, rank", equinv_projection_create(s.gpu, &d, &p));
    sides_free(&s);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {equals_ref_on_random_shapes, 2},   {ties_keep_their_order, 2},
        {zeros_infinities_nan_and_fill, 4}, {rows_are_permuted_and_batches_cut_without_a_trace, 2},
        {more_rows_are_declined, 2},
    };
    return run_cuda_tests("cuda/rows", tests, sizeof tests / sizeof *tests);
}
