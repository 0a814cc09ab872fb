/* Pooling on a CUDA device against the CPU's reference: values, winners, gradients. */
#include <math.h>

#include "tests/util/cuda.h"

enum { ROUNDS = 200 };

static const equinv_group groups[] = {
    {EQUINV_GROUP_CYCLIC, 1},   {EQUINV_GROUP_CYCLIC, 4},   {EQUINV_GROUP_CYCLIC, 70},
    {EQUINV_GROUP_DIHEDRAL, 1}, {EQUINV_GROUP_DIHEDRAL, 3}, {EQUINV_GROUP_DIHEDRAL, 4},
};
enum { GROUPS = sizeof groups / sizeof *groups };

static bool is_max(equinv_pool_kind kind)
{
    return kind == EQUINV_POOL_MAX || kind == EQUINV_POOL_GLOBAL_MAX ||
           kind == EQUINV_POOL_GROUP_MAX;
}

static bool is_group(equinv_pool_kind kind)
{
    return kind == EQUINV_POOL_GROUP_MAX || kind == EQUINV_POOL_GROUP_MEAN;
}

/* A plan with its shapes and its saved buffer, on either device; the other tensors are the caller's. */
typedef struct pool {
    equinv_context *ctx;
    equinv_plan *plan;
    int64_t src[5], dst[5];
    equinv_tensor saved;
} pool;

static pool pool_new(equinv_context *ctx, const equinv_pool_desc *desc)
{
    pool p = {.ctx = ctx,
              .src = {desc->batch, desc->fields, desc->elements, desc->height, desc->width}};
    OK(equinv_pool_plan_create(ctx, desc, &p.plan));
    OK(equinv_pool_output_shape(desc, p.dst));
    const int64_t count = (int64_t)(equinv_plan_saved_size(p.plan) / sizeof(int32_t));
    OK(equinv_tensor_create(ctx, EQUINV_I32, 1, &count, &p.saved));
    return p;
}

static void pool_free(pool *p)
{
    equinv_plan_destroy(p->plan);
    equinv_tensor_destroy(p->ctx, &p->saved);
}

static void *saved_of(const pool *p)
{
    return p->saved.shape[0] ? p->saved.data : NULL;
}

static void forward(const pool *p, const equinv_tensor *src, const equinv_tensor *dst)
{
    OK(equinv_pool_forward(p->plan, src, dst, saved_of(p), equinv_plan_saved_size(p->plan), NULL,
                           0));
}

static void backward(const pool *p, const equinv_tensor *diff_dst, const equinv_tensor *diff_src)
{
    OK(equinv_pool_backward(p->plan, diff_dst, saved_of(p), equinv_plan_saved_size(p->plan),
                            diff_src, NULL, 0));
}

/* Few distinct values, so that ties are common, and now and then a NaN, infinities, both zeros. */
static void coarsen(rng *r, const equinv_tensor *t)
{
    static const double special[] = {(double)NAN, (double)INFINITY, -(double)INFINITY, 0.0, -0.0};
    const int64_t count = equinv_tensor_count(t);
    for (int64_t i = 0; i < count; i++) {
        const int64_t which = rng_range(r, 0, 60);
        tensor_set(t, i, which < 5 ? special[which] : floor(2 * tensor_get(t, i)));
    }
}

static equinv_tensor random_map(equinv_context *ctx, rng *r, equinv_dtype dtype,
                                const int64_t shape[5])
{
    equinv_tensor t;
    OK(equinv_tensor_create(ctx, dtype, 5, shape, &t));
    tensor_fill_random(r, &t);
    return t;
}

/* Both directions of one description in random layouts: the same winners, the same values. */
static void compare(equinv_context *cpu, equinv_context *cuda, rng *r, equinv_pool_desc d,
                    bool ties, const char *what)
{
    pool there = pool_new(cuda, &d);
    d.impl = "ref";
    pool ref = pool_new(cpu, &d);
    equinv_tensor src = random_map(cpu, r, d.dtype, ref.src);
    equinv_tensor diff_dst = random_map(cpu, r, d.dtype, ref.dst);
    equinv_tensor diff_src = random_map(cpu, r, d.dtype, ref.src),
                  dst = tensor_like(cpu, &diff_dst);
    if (ties)
        coarsen(r, &src);
    else /* all negative: neither padding nor an idle thread's 0 may win */
        OK(equinv_tensor_convert(cpu, &src, 0.5, -1, &src));
    cuda_laid a = cuda_laid_copy(cuda, r, &src), da = cuda_laid_copy(cuda, r, &diff_src);
    cuda_laid b = cuda_laid_new(cuda, r, d.dtype, 5, ref.dst);
    cuda_laid db = cuda_laid_copy(cuda, r, &diff_dst);
    forward(&ref, &src, &dst), backward(&ref, &diff_dst, &diff_src);
    forward(&there, &a.view, &b.view), backward(&there, &db.view, &da.view);
    cuda_laid_fetch(cuda, &b), cuda_laid_fetch(cuda, &da);
    equinv_tensor saved = cuda_back(cuda, &there.saved);
    /* a maximum is one of the values */
    const double dst_error = is_max(d.kind) ? 0 : d.dtype == EQUINV_F64 ? 1e-13 : 2e-7;
    const double gradient_error = d.dtype == EQUINV_F64 ? 1e-12 : 5e-7;
    ck_assert_msg(tensor_error(&b.here.view, &dst, NULL) <= dst_error, "dst, %s", what);
    ck_assert_msg(tensor_same(&saved, &ref.saved, NULL), "saved, %s", what);
    ck_assert_msg(tensor_error(&da.here.view, &diff_src, NULL) <= gradient_error, "diff_src, %s",
                  what);
    /* without saved there are the same values */
    if (is_max(d.kind)) {
        OK(equinv_pool_forward(there.plan, &a.view, &b.view, NULL, 0, NULL, 0));
        cuda_laid_fetch(cuda, &b);
        ck_assert_msg(tensor_error(&b.here.view, &dst, NULL) == 0, "dst alone, %s", what);
    }
    ck_assert_msg(laid_gaps_kept(&b.here) && laid_gaps_kept(&da.here), "gaps, %s", what);
    cuda_laid *const laids[] = {&a, &da, &b, &db};
    equinv_tensor *const tensors[] = {&src, &dst, &diff_src, &diff_dst};
    for (int i = 0; i < 4; i++)
        cuda_laid_free(cuda, laids[i]), equinv_tensor_destroy(cpu, tensors[i]);
    equinv_tensor_destroy(cuda, &saved);
    pool_free(&there), pool_free(&ref);
}

START_TEST(equals_ref)
{
    equinv_context *const cpu = context_new(), *const cuda = cuda_context_new();
    for (uint64_t seed = 0; seed < ROUNDS; seed++) {
        rng r = {seed};
        equinv_pool_desc d = EQUINV_POOL_DESC_INIT;
        d.kind = (equinv_pool_kind)(seed % 7 + 1);
        d.group = groups[rng_range(&r, 0, GROUPS - 1)];
        d.dtype = rng_range(&r, 0, 1) ? EQUINV_F64 : EQUINV_F32;
        d.batch = rng_range(&r, 0, 3);
        d.fields = rng_range(&r, 1, 4);
        int32_t order;
        OK(equinv_group_order(d.group, &order));
        d.elements = is_group(d.kind) || (order < 10 && rng_range(&r, 0, 3)) ? order : 1;
        d.kernel = rng_range(&r, 1, 5);
        d.stride = rng_range(&r, 1, 4);
        if (d.kind == EQUINV_POOL_BLUR) {
            d.sigma = 0.15 + 0.25 * (double)d.kernel;
            d.kernel = 2 * (int64_t)rint(3 * d.sigma) + 1;
        }
        d.padding = rng_range(&r, 0, d.kernel / 2);
        const int64_t smallest = d.kernel - 2 * d.padding;
        d.height = rng_range(&r, smallest > 1 ? smallest : 1, smallest + 9);
        d.width = rng_range(&r, smallest > 1 ? smallest : 1, smallest + 9);
        d.accumulate = rng_range(&r, 0, 1);
        char what[32];
        snprintf(what, sizeof what, "seed %d", (int)seed);
        compare(cpu, cuda, &r, d, rng_range(&r, 0, 1), what);
    }
    equinv_context_destroy(cpu), equinv_context_destroy(cuda);
}
END_TEST

/* Windows that a team of threads shares: images that are one window, kernels of any size. */
START_TEST(large_windows_equal_ref)
{
    equinv_context *const cpu = context_new(), *const cuda = cuda_context_new();
    static const struct {
        int64_t batch, fields, elements, height, width, kernel, stride, padding;
    } cases[] = {
        {2, 3, 4, 8, 8, 9, 2, 4},
        {1, 2, 1, 23, 31, 11, 3, 0},
        {1, 37, 1, 9, 11, 9, 2, 1},
        {2, 1, 1, 50, 45, 40, 5, 7},
        {1, 1, 4, 2, 40, INT64_C(1) << 40, 9, INT64_C(1) << 39},
        {2, 2, 1, 3, 3, 1000001, 2, 500000},
    };
    for (int i = 0; i < (int)(sizeof cases / sizeof *cases); i++)
        for (int kind = 1; kind <= 5; kind++)
            for (int k = 0; k < 4; k++) {
                rng r = {(uint64_t)(100 * i + 10 * kind + k)};
                equinv_pool_desc d = EQUINV_POOL_DESC_INIT;
                d.kind = (equinv_pool_kind)kind;
                d.dtype = k % 2 ? EQUINV_F64 : EQUINV_F32;
                d.batch = cases[i].batch, d.fields = cases[i].fields;
                d.elements = cases[i].elements;
                d.height = cases[i].height, d.width = cases[i].width;
                d.kernel = cases[i].kernel, d.stride = cases[i].stride;
                d.padding = cases[i].padding;
                if (kind == 5) { /* 19 x 19 */
                    d.kind = EQUINV_POOL_BLUR;
                    d.sigma = 3, d.padding = 9;
                }
                char what[48];
                snprintf(what, sizeof what, "case %d, kind %d", i, kind);
                compare(cpu, cuda, &r, d, k / 2, what);
            }
    equinv_context_destroy(cpu), equinv_context_destroy(cuda);
}
END_TEST

/* What a sample holds stays there; the winner is the first NaN. */
START_TEST(nan_stays_in_its_sample_and_wins)
{
    equinv_context *const cpu = context_new(), *const cuda = cuda_context_new();
    for (int kind = 1; kind <= 7; kind++) {
        equinv_pool_desc d = EQUINV_POOL_DESC_INIT;
        d.kind = (equinv_pool_kind)kind;
        d.batch = 3, d.fields = 2, d.elements = 4, d.height = 9, d.width = 10;
        pool p = pool_new(cuda, &d);
        rng r = {(uint64_t)kind};
        equinv_tensor src = random_map(cpu, &r, EQUINV_F32, p.src);
        const int64_t sample = equinv_tensor_count(&src) / 3;
        for (int64_t i = 0; i < sample; i++)
            tensor_set(&src, sample + i, i % 7 == 3 ? (double)INFINITY : (double)NAN);
        equinv_tensor from = cuda_copy(cuda, &src), to;
        OK(equinv_tensor_create(cuda, EQUINV_F32, 5, p.dst, &to));
        forward(&p, &from, &to);
        equinv_tensor dst = cuda_back(cuda, &to), saved = cuda_back(cuda, &p.saved);
        const int64_t outputs = equinv_tensor_count(&dst) / 3;
        for (int64_t i = 0; i < 3 * outputs; i++) {
            const double value = tensor_get(&dst, i);
            ck_assert_msg(i / outputs == 1 ? isnan(value) : isfinite(value), "kind %d: [%d] is %g",
                          kind, (int)i, value);
        }
        if (is_max(d.kind)) /* the first place of the first window has a NaN */
            ck_assert(tensor_get(&saved, outputs) == 0);
        equinv_tensor_destroy(cpu, &src), equinv_tensor_destroy(cuda, &dst);
        equinv_tensor_destroy(cuda, &from), equinv_tensor_destroy(cuda, &to);
        equinv_tensor_destroy(cuda, &saved);
        pool_free(&p);
    }
    equinv_context_destroy(cpu), equinv_context_destroy(cuda);
}
END_TEST

START_TEST(every_run_has_the_same_bits)
{
    equinv_context *const cpu = context_new(), *const cuda = cuda_context_new();
    for (int kind = 1; kind <= 7; kind++) {
        equinv_pool_desc d = EQUINV_POOL_DESC_INIT;
        d.kind = (equinv_pool_kind)kind;
        d.batch = 2, d.fields = 3, d.elements = 4, d.height = 21, d.width = 22, d.kernel = 3;
        pool p = pool_new(cuda, &d);
        rng r = {(uint64_t)kind};
        equinv_tensor src = random_map(cpu, &r, EQUINV_F32, p.src), from = cuda_copy(cuda, &src);
        equinv_tensor diff_dst = random_map(cpu, &r, EQUINV_F32, p.dst);
        equinv_tensor diff_from = cuda_copy(cuda, &diff_dst), dst[2], diff_src[2];
        for (int k = 0; k < 2; k++) {
            equinv_tensor to = cuda_copy(cuda, &diff_dst), diff_to = cuda_copy(cuda, &src);
            forward(&p, &from, &to), backward(&p, &diff_from, &diff_to);
            dst[k] = cuda_back(cuda, &to), diff_src[k] = cuda_back(cuda, &diff_to);
            equinv_tensor_destroy(cuda, &to), equinv_tensor_destroy(cuda, &diff_to);
        }
        ASSERT_SAME(&dst[0], &dst[1]);
        ASSERT_SAME(&diff_src[0], &diff_src[1]);
        for (int k = 0; k < 2; k++)
            equinv_tensor_destroy(cuda, &dst[k]), equinv_tensor_destroy(cuda, &diff_src[k]);
        equinv_tensor_destroy(cpu, &src), equinv_tensor_destroy(cpu, &diff_dst);
        equinv_tensor_destroy(cuda, &from), equinv_tensor_destroy(cuda, &diff_from);
        pool_free(&p);
    }
    equinv_context_destroy(cpu), equinv_context_destroy(cuda);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {equals_ref, 1},
        {large_windows_equal_ref, 1},
        {nan_stays_in_its_sample_and_wins, 1},
        {every_run_has_the_same_bits, 1},
    };
    return run_cuda_tests("cuda/pool", tests, sizeof tests / sizeof *tests);
}
