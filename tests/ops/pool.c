/* Pooling: values, winners, gradients, equivariance and its exact shapes, every implementation. */
#include <math.h>

#include "tests/util/layout.h"

enum { ROUNDS = 250 };

static const equinv_group groups[] = {
    {EQUINV_GROUP_CYCLIC, 1},   {EQUINV_GROUP_CYCLIC, 2},   {EQUINV_GROUP_CYCLIC, 4},
    {EQUINV_GROUP_DIHEDRAL, 1}, {EQUINV_GROUP_DIHEDRAL, 2}, {EQUINV_GROUP_DIHEDRAL, 4},
};
enum { GROUPS = sizeof groups / sizeof *groups };

static int64_t order_of(equinv_group g)
{
    int32_t order = 0;
    OK(equinv_group_order(g, &order));
    return order;
}

static bool is_max(equinv_pool_kind kind)
{
    return kind == EQUINV_POOL_MAX || kind == EQUINV_POOL_GLOBAL_MAX ||
           kind == EQUINV_POOL_GROUP_MAX;
}

static bool is_group(equinv_pool_kind kind)
{
    return kind == EQUINV_POOL_GROUP_MAX || kind == EQUINV_POOL_GROUP_MEAN;
}

/* A plan with its shapes and its saved buffer. */
typedef struct pool {
    equinv_context *ctx;
    equinv_pool_desc desc;
    equinv_plan *plan;
    int64_t src[5], dst[5];
    void *saved;
    size_t saved_size;
} pool;

static pool pool_new(equinv_context *ctx, const equinv_pool_desc *desc)
{
    pool p = {.ctx = ctx,
              .desc = *desc,
              .src = {desc->batch, desc->fields, desc->elements, desc->height, desc->width}};
    OK(equinv_pool_plan_create(ctx, desc, &p.plan));
    OK(equinv_pool_output_shape(desc, p.dst));
    p.saved_size = equinv_plan_saved_size(p.plan);
    ck_assert_uint_eq(p.saved_size > 0, is_max(desc->kind) && desc->batch > 0);
    p.saved = aligned_alloc(64, (p.saved_size + 63) / 64 * 64 + 64);
    ck_assert_ptr_nonnull(p.saved);
    memset(p.saved, 0xa5, p.saved_size);
    return p;
}

static void pool_free(pool *p)
{
    equinv_plan_destroy(p->plan);
    free(p->saved);
}

static void forward(const pool *p, const equinv_tensor *src, const equinv_tensor *dst)
{
    OK(equinv_pool_forward(p->plan, src, dst, p->saved_size ? p->saved : NULL, p->saved_size, NULL,
                           0));
}

static void backward(const pool *p, const equinv_tensor *diff_dst, const equinv_tensor *diff_src)
{
    OK(equinv_pool_backward(p->plan, diff_dst, p->saved_size ? p->saved : NULL, p->saved_size,
                            diff_src, NULL, 0));
}

static equinv_pool_desc random_desc(rng *r, equinv_dtype dtype)
{
    equinv_pool_desc d = EQUINV_POOL_DESC_INIT;
    d.kind = (equinv_pool_kind)rng_range(r, 1, 7);
    d.group = groups[rng_range(r, 0, GROUPS - 1)];
    d.dtype = dtype;
    d.batch = rng_range(r, 0, 3);
    const int64_t large = rng_range(r, 0, 15); /* now and then more lanes than one run has */
    d.fields = rng_range(r, 1, large == 0 ? 70 : 4);
    d.elements = is_group(d.kind) || rng_range(r, 0, 3) ? order_of(d.group) : 1;
    d.height = rng_range(r, 1, 9);
    d.width = rng_range(r, 1, large == 1 ? 150 : 9);
    d.kernel = rng_range(r, 1, 5);
    if (d.kind == EQUINV_POOL_BLUR) {
        static const double sigmas[] = {0.1, 0.4, 0.66, 1, 1.3};
        d.sigma = sigmas[(d.kernel - 1)];
        d.kernel = 2 * (int64_t)rint(3 * d.sigma) + 1;
    }
    d.stride = rng_range(r, 1, 4);
    d.padding = rng_range(r, 0, d.kernel / 2);
    const int64_t smallest = d.kernel - 2 * d.padding;
    d.height = d.height < smallest ? smallest : d.height;
    d.width = d.width < smallest ? smallest : d.width;
    return d;
}

static equinv_tensor of_shape(equinv_context *ctx, rng *r, equinv_dtype dtype,
                              const int64_t shape[5])
{
    equinv_tensor t;
    OK(equinv_tensor_create(ctx, dtype, 5, shape, &t));
    if (r)
        tensor_fill_random(r, &t);
    return t;
}

/* Few distinct values, so that ties are common. */
static void coarsen(const equinv_tensor *t)
{
    const int64_t count = equinv_tensor_count(t);
    for (int64_t i = 0; i < count; i++)
        tensor_set(t, i, floor(2 * tensor_get(t, i)));
}

/* ---- values ---------------------------------------------------------------------------------- */

typedef struct example {
    equinv_pool_kind kind;
    int64_t elements, height, width, kernel, stride, padding;
    double src[16], dst[16], diff_src[16]; /* for diff_dst = 1, 2, 3, .. */
} example;

/* A blur with exp(-1 / 2 sigma^2) = 1 / 16: three places, weights 1 / 18, 16 / 18, 1 / 18. */
#define SIGMA 0.42466090014400953
#define MIDDLE (16.0 / 18)
#define SIDE (1.0 / 18)

static const example examples[] = {
    {EQUINV_POOL_MAX,
     1,
     3,
     4,
     2,
     2,
     0,
     {1, 2, 3, 4, 8, 7, 6, 5, 9, 9, 9, 9},
     {8, 6},
     {0, 0, 0, 0, 1, 0, 2, 0, 0, 0, 0, 0}},
    /* ties go to the lowest index, padding never wins against negative values */
    {EQUINV_POOL_MAX, 1, 2, 3, 3, 2, 1, {-5, -5, -6, -5, -7, -6}, {-5, -5}, {1, 2, 0, 0, 0, 0}},
    {EQUINV_POOL_AVERAGE,
     1,
     2,
     3,
     3,
     2,
     1,
     {9, 18, 27, 36, 45, 54},
     {12, 16},
     {1 / 9., 3 / 9., 2 / 9., 1 / 9., 3 / 9., 2 / 9.}},
    {EQUINV_POOL_GLOBAL_MAX,
     2,
     2,
     2,
     7,
     7,
     7,
     {1, 4, 4, 0, -1, -1, -2, -1},
     {4, -1},
     {0, 1, 0, 0, 2, 0, 0, 0}},
    {EQUINV_POOL_GLOBAL_AVERAGE, 2, 1, 2, 7, 7, 7, {1, 2, 5, 7}, {1.5, 6}, {.5, .5, 1, 1}},
    {EQUINV_POOL_GROUP_MAX,
     4,
     1,
     2,
     7,
     7,
     7,
     {1, 2, 5, 0, 5, 2, 3, 2},
     {5, 2},
     {0, 2, 1, 0, 0, 0, 0, 0}},
    {EQUINV_POOL_GROUP_MEAN,
     4,
     1,
     2,
     7,
     7,
     7,
     {1, 2, 5, 0, 5, 2, 3, 2},
     {3.5, 1.5},
     {.25, .5, .25, .5, .25, .5, .25, .5}},
    /* the height is one window's middle */
    {EQUINV_POOL_BLUR,
     1,
     1,
     3,
     0,
     2,
     1,
     {1, 0, 0},
     {MIDDLE * MIDDLE, 0},
     {MIDDLE * MIDDLE, 3 * MIDDLE *SIDE, 2 * MIDDLE *MIDDLE}},
};
enum { EXAMPLES = sizeof examples / sizeof *examples };

START_TEST(examples_by_hand)
{
    static const char *const impls[] = {"fast", "ref", "ref"};
    equinv_context *const ctx = context_new();
    const example *const e = &examples[_i];
    for (int k = 0; k < 3; k++) {
        equinv_pool_desc d = EQUINV_POOL_DESC_INIT;
        d.kind = e->kind;
        d.group = equinv_cyclic((int32_t)e->elements);
        d.dtype = k == 2 ? EQUINV_F64 : EQUINV_F32;
        d.batch = d.fields = 1;
        d.elements = e->elements, d.height = e->height, d.width = e->width;
        d.kernel = e->kernel, d.stride = e->stride, d.padding = e->padding, d.sigma = SIGMA;
        d.impl = impls[k];
        pool p = pool_new(ctx, &d);
        equinv_tensor src = of_shape(ctx, NULL, d.dtype, p.src), diff_src = tensor_like(ctx, &src);
        equinv_tensor dst = of_shape(ctx, NULL, d.dtype, p.dst), diff_dst = tensor_like(ctx, &dst);
        for (int64_t i = 0; i < equinv_tensor_count(&src); i++)
            tensor_set(&src, i, e->src[i]);
        for (int64_t i = 0; i < equinv_tensor_count(&dst); i++)
            tensor_set(&diff_dst, i, (double)(i + 1));
        forward(&p, &src, &dst);
        backward(&p, &diff_dst, &diff_src);
        for (int64_t i = 0; i < equinv_tensor_count(&dst); i++)
            ck_assert_msg(fabs(tensor_get(&dst, i) - e->dst[i]) < 1e-6, "%s: dst[%d] is %g",
                          impls[k], (int)i, tensor_get(&dst, i));
        for (int64_t i = 0; i < equinv_tensor_count(&src); i++)
            ck_assert_msg(fabs(tensor_get(&diff_src, i) - e->diff_src[i]) < 1e-6,
                          "%s: diff_src[%d] is %g", impls[k], (int)i, tensor_get(&diff_src, i));
        equinv_tensor_destroy(ctx, &src), equinv_tensor_destroy(ctx, &diff_src);
        equinv_tensor_destroy(ctx, &dst), equinv_tensor_destroy(ctx, &diff_dst);
        pool_free(&p);
    }
    equinv_context_destroy(ctx);
}
END_TEST

/* A few NaN and infinities among random values: where the reference has them, and where they must be. */
START_TEST(nan_wins_and_infinity_counts)
{
    static const char *const impls[] = {"fast", "ref"};
    equinv_context *const ctx = context_new();
    for (int kind = 1; kind <= 7; kind++)
        for (int k = 0; k < 2; k++) {
            equinv_pool_desc d = EQUINV_POOL_DESC_INIT;
            d.kind = (equinv_pool_kind)kind;
            d.batch = 2, d.fields = 3, d.elements = 4, d.height = d.width = 6;
            d.impl = impls[k];
            pool p = pool_new(ctx, &d);
            rng r = {(uint64_t)kind};
            equinv_tensor src = of_shape(ctx, &r, EQUINV_F32, p.src);
            equinv_tensor dst = of_shape(ctx, NULL, EQUINV_F32, p.dst);
            equinv_tensor diff_dst = tensor_like(ctx, &dst), diff_src = tensor_like(ctx, &src);
            /* sample 0: field 1 has two NaN, field 2 is -Inf everywhere but one +Inf */
            const int64_t field = 4 * 36;
            tensor_set(&src, field + 14, (double)NAN),
                tensor_set(&src, field + 36 + 14, (double)NAN);
            tensor_set(&src, field + 15, (double)INFINITY);
            for (int64_t i = 0; i < field; i++)
                tensor_set(&src, 2 * field + i, i == 22 ? (double)INFINITY : -(double)INFINITY);
            forward(&p, &src, &dst);
            const int64_t out = equinv_tensor_count(&dst) / 6;
            int64_t nans = 0;
            for (int64_t i = 0; i < equinv_tensor_count(&dst); i++) {
                const double value = tensor_get(&dst, i);
                const int64_t f = i / out;
                nans += isnan(value) && f == 1;
                ck_assert_msg(f == 1 || f == 2 || isfinite(value), "%s kind %d: [%d] is %g",
                              impls[k], kind, (int)i, value);
                ck_assert(f != 2 || !is_max((equinv_pool_kind)kind) || isinf(value));
            }
            /* one NaN output for each NaN, or one for both under the group */
            ck_assert_int_eq(nans, is_group(d.kind) ? 1 : 2);
            for (int64_t i = 0; i < equinv_tensor_count(&diff_dst); i++)
                tensor_set(&diff_dst, i, 1);
            backward(&p, &diff_dst, &diff_src);
            if (is_max(d.kind)) {
                ck_assert(tensor_get(&diff_src, field + 14) == 1); /* the first NaN won */
                ck_assert(is_group(d.kind) || tensor_get(&diff_src, field + 15) == 0);
                ck_assert(tensor_get(&diff_src, 2 * field + 22) == 1);
                ck_assert(fabs(tensor_dot(&diff_src, &diff_src) -
                               (double)equinv_tensor_count(&dst)) < 1e-9);
            }
            equinv_tensor_destroy(ctx, &src), equinv_tensor_destroy(ctx, &diff_src);
            equinv_tensor_destroy(ctx, &dst), equinv_tensor_destroy(ctx, &diff_dst);
            pool_free(&p);
        }
    equinv_context_destroy(ctx);
}
END_TEST

/* ---- implementations ------------------------------------------------------------------------- */

/* The same winners, the same values; random shapes, strides, ties, accumulation. */
START_TEST(fast_equals_ref)
{
    equinv_context *const ctx = context_at_level(_i);
    for (uint64_t seed = 0; ctx && seed < share_of(ROUNDS); seed++) {
        rng r = {seed};
        equinv_pool_desc d = random_desc(&r, EQUINV_F32);
        d.accumulate = rng_range(&r, 0, 1);
        if (d.kind == EQUINV_POOL_MAX && seed % 2) /* the windows of most networks */
            d.kernel = d.stride = 2, d.padding = 0, d.height += 1, d.width += rng_range(&r, 1, 70);
        d.impl = "fast";
        pool fast = pool_new(ctx, &d);
        d.impl = "ref";
        pool ref = pool_new(ctx, &d);
        ck_assert_str_eq(equinv_plan_impl_name(fast.plan), "pool/fast");
        ck_assert_str_eq(equinv_plan_impl_name(ref.plan), "pool/ref");
        equinv_tensor src = of_shape(ctx, &r, EQUINV_F32, ref.src);
        equinv_tensor diff_dst = of_shape(ctx, &r, EQUINV_F32, ref.dst);
        equinv_tensor dst = tensor_like(ctx, &diff_dst), diff_src = tensor_like(ctx, &src);
        if (rng_range(&r, 0, 1))
            coarsen(&src);
        for (int64_t i = rng_range(&r, 0, 40); i < equinv_tensor_count(&src) && seed % 5 == 0;
             i += 37)
            tensor_set(&src, i, i % 2 ? (double)NAN : -(double)INFINITY);
        forward(&ref, &src, &dst);
        backward(&ref, &diff_dst, &diff_src);
        laid a = laid_copy(ctx, &r, &src), b = laid_new(ctx, &r, EQUINV_F32, 5, ref.dst);
        laid db = laid_copy(ctx, &r, &diff_dst), da = laid_new(ctx, &r, EQUINV_F32, 5, ref.src);
        if (d.accumulate)
            for (int64_t i = 0; i < equinv_tensor_count(&src); i++)
                tensor_set(&da.view, i, 0);
        forward(&fast, &a.view, &b.view);
        backward(&fast, &db.view, &da.view);
        const double limit = d.kind == EQUINV_POOL_BLUR ? 5e-7 : 2e-7;
        ck_assert_msg(tensor_error(&b.view, &dst, NULL) <= limit, "dst, seed %d", (int)seed);
        ck_assert_msg(memcmp(fast.saved, ref.saved, ref.saved_size) == 0, "saved, seed %d",
                      (int)seed);
        ck_assert_msg(tensor_error(&da.view, &diff_src, NULL) <= 5e-7, "diff_src, seed %d",
                      (int)seed);
        ck_assert_msg(laid_gaps_kept(&b) && laid_gaps_kept(&da), "gaps, seed %d", (int)seed);
        laid_free(ctx, &a), laid_free(ctx, &b), laid_free(ctx, &da), laid_free(ctx, &db);
        equinv_tensor_destroy(ctx, &src), equinv_tensor_destroy(ctx, &dst);
        equinv_tensor_destroy(ctx, &diff_src), equinv_tensor_destroy(ctx, &diff_dst);
        pool_free(&fast), pool_free(&ref);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(double_takes_the_reference)
{
    equinv_context *const ctx = context_new();
    equinv_pool_desc d = EQUINV_POOL_DESC_INIT;
    d.dtype = EQUINV_F64;
    d.batch = 1, d.fields = 1, d.height = 4, d.width = 4;
    equinv_plan *plan;
    OK(equinv_pool_plan_create(ctx, &d, &plan));
    ck_assert_str_eq(equinv_plan_impl_name(plan), "pool/ref");
    equinv_plan_destroy(plan);
    d.impl = "fast";
    FAILS(EQUINV_ERR_UNSUPPORTED, "f32 only", equinv_pool_plan_create(ctx, &d, &plan));
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(thread_count_changes_no_bit)
{
    equinv_context *const ctx[2] = {context_of_threads(1), context_new()};
    for (int kind = 1; kind <= 7; kind++) {
        equinv_tensor dst[2], diff_src[2];
        for (int k = 0; k < 2; k++) {
            equinv_pool_desc d = EQUINV_POOL_DESC_INIT;
            d.kind = (equinv_pool_kind)kind;
            d.batch = 12, d.fields = 3, d.elements = 4, d.height = 11, d.width = 13, d.kernel = 3;
            pool p = pool_new(ctx[k], &d);
            rng r = {(uint64_t)kind};
            equinv_tensor src = of_shape(ctx[k], &r, EQUINV_F32, p.src);
            equinv_tensor diff_dst = of_shape(ctx[k], &r, EQUINV_F32, p.dst);
            dst[k] = tensor_like(ctx[k], &diff_dst), diff_src[k] = tensor_like(ctx[k], &src);
            forward(&p, &src, &dst[k]);
            backward(&p, &diff_dst, &diff_src[k]);
            equinv_tensor_destroy(ctx[k], &src), equinv_tensor_destroy(ctx[k], &diff_dst);
            pool_free(&p);
        }
        ASSERT_SAME(&dst[0], &dst[1]);
        ASSERT_SAME(&diff_src[0], &diff_src[1]);
        for (int k = 0; k < 2; k++)
            equinv_tensor_destroy(ctx[k], &dst[k]), equinv_tensor_destroy(ctx[k], &diff_src[k]);
    }
    equinv_context_destroy(ctx[0]), equinv_context_destroy(ctx[1]);
}
END_TEST

/* ---- gradients ------------------------------------------------------------------------------- */

/* Pooling selects or averages: with the saved winners fixed it is linear, <A x, y> = <x, A' y>. */
START_TEST(backward_is_the_adjoint)
{
    equinv_context *const ctx = context_new();
    for (uint64_t seed = 0; seed < share_of(ROUNDS); seed++) {
        rng r = {seed + 1000};
        const equinv_pool_desc d = random_desc(&r, seed % 2 ? EQUINV_F64 : EQUINV_F32);
        pool p = pool_new(ctx, &d);
        equinv_tensor src = of_shape(ctx, &r, d.dtype, p.src);
        equinv_tensor diff_dst = of_shape(ctx, &r, d.dtype, p.dst);
        equinv_tensor dst = tensor_like(ctx, &diff_dst), diff_src = tensor_like(ctx, &src);
        forward(&p, &src, &dst);
        backward(&p, &diff_dst, &diff_src);
        const double left = tensor_dot(&dst, &diff_dst), right = tensor_dot(&src, &diff_src);
        const double scale = sqrt(tensor_dot(&dst, &dst) * tensor_dot(&diff_dst, &diff_dst));
        ck_assert_msg(fabs(left - right) <= (d.dtype == EQUINV_F64 ? 1e-12 : 1e-6) * scale,
                      "%g and %g, seed %d", left, right, (int)seed);
        equinv_tensor_destroy(ctx, &src), equinv_tensor_destroy(ctx, &dst);
        equinv_tensor_destroy(ctx, &diff_src), equinv_tensor_destroy(ctx, &diff_dst);
        pool_free(&p);
    }
    equinv_context_destroy(ctx);
}
END_TEST

typedef struct probe {
    pool *p;
    equinv_tensor *src, *dst, *weights;
} probe;

static double loss(void *arg)
{
    const probe *const q = arg;
    OK(equinv_pool_forward(q->p->plan, q->src, q->dst, NULL, 0, NULL, 0));
    return tensor_dot(q->dst, q->weights);
}

START_TEST(gradient_by_differences)
{
    equinv_context *const ctx = context_new();
    for (uint64_t seed = 0; seed < share_of(60); seed++) {
        rng r = {seed + 2000};
        equinv_pool_desc d = random_desc(&r, EQUINV_F64);
        d.batch = 1 + d.batch % 2;
        pool p = pool_new(ctx, &d);
        equinv_tensor src = of_shape(ctx, &r, EQUINV_F64, p.src);
        equinv_tensor weights = of_shape(ctx, &r, EQUINV_F64, p.dst);
        equinv_tensor dst = tensor_like(ctx, &weights), diff_src = tensor_like(ctx, &src);
        forward(&p, &src, &dst);
        backward(&p, &weights, &diff_src);
        probe q = {&p, &src, &dst, &weights};
        const int64_t at = gradient_mismatch(&src, &diff_src, loss, &q, 1e-7, 1e-6, 40);
        ck_assert_msg(at < 0, "seed %d, element %d", (int)seed, (int)at);
        equinv_tensor_destroy(ctx, &src), equinv_tensor_destroy(ctx, &dst);
        equinv_tensor_destroy(ctx, &diff_src), equinv_tensor_destroy(ctx, &weights);
        pool_free(&p);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(accumulate_adds_to_the_gradient)
{
    static const char *const impls[] = {"fast", "ref"};
    equinv_context *const ctx = context_new();
    for (int kind = 1; kind <= 7; kind++)
        for (int k = 0; k < 2; k++) {
            rng r = {(uint64_t)kind};
            equinv_pool_desc d = EQUINV_POOL_DESC_INIT;
            d.kind = (equinv_pool_kind)kind;
            d.batch = 2, d.fields = 2, d.elements = 4, d.height = 5, d.width = 7;
            d.kernel = 3, d.padding = 1, d.accumulate = true, d.impl = impls[k];
            pool p = pool_new(ctx, &d);
            equinv_tensor src = of_shape(ctx, &r, EQUINV_F32, p.src);
            equinv_tensor diff_dst = of_shape(ctx, &r, EQUINV_F32, p.dst);
            equinv_tensor dst = tensor_like(ctx, &diff_dst), once = tensor_like(ctx, &src);
            equinv_tensor thrice = of_shape(ctx, NULL, EQUINV_F32, p.src);
            forward(&p, &src, &dst);
            backward(&p, &diff_dst, &once);
            for (int i = 0; i < 3; i++)
                backward(&p, &diff_dst, &thrice);
            OK(equinv_tensor_convert(ctx, &once, 3.0, 0.0, &once));
            ASSERT_CLOSE(&thrice, &once, 3e-7);
            equinv_tensor_destroy(ctx, &src), equinv_tensor_destroy(ctx, &dst);
            equinv_tensor_destroy(ctx, &diff_dst), equinv_tensor_destroy(ctx, &once);
            equinv_tensor_destroy(ctx, &thrice);
            pool_free(&p);
        }
    equinv_context_destroy(ctx);
}
END_TEST

/* ---- equivariance ---------------------------------------------------------------------------- */

static equinv_tensor acted(equinv_context *ctx, equinv_group group, int32_t g,
                           const equinv_tensor *src)
{
    double m[4];
    OK(equinv_group_plane(group, g, m));
    int64_t shape[5];
    memcpy(shape, src->shape, sizeof shape);
    if (fabs(m[0]) < 0.5) /* a quarter turn */
        shape[3] = src->shape[4], shape[4] = src->shape[3];
    equinv_tensor dst;
    OK(equinv_tensor_create(ctx, src->dtype, 5, shape, &dst));
    OK(equinv_act(ctx, group, g, src, &dst));
    return dst;
}

/* pool(g.src) against g.pool(src); the first plan serves src, a second one the turned image. */
static double equivariance_error(equinv_context *ctx, const equinv_pool_desc *desc, int32_t g,
                                 rng *r)
{
    pool p = pool_new(ctx, desc);
    equinv_tensor src = of_shape(ctx, r, desc->dtype, p.src);
    equinv_tensor turned = acted(ctx, desc->group, g, &src);
    equinv_pool_desc turned_desc = *desc;
    turned_desc.height = turned.shape[3], turned_desc.width = turned.shape[4];
    pool q = pool_new(ctx, &turned_desc);
    equinv_tensor dst = of_shape(ctx, NULL, desc->dtype, p.dst);
    equinv_tensor before = of_shape(ctx, NULL, desc->dtype, q.dst);
    forward(&p, &src, &dst);
    forward(&q, &turned, &before);
    equinv_tensor after = acted(ctx, desc->group, g, &dst);
    const double error = tensor_error(&before, &after, NULL);
    equinv_tensor_destroy(ctx, &src), equinv_tensor_destroy(ctx, &turned);
    equinv_tensor_destroy(ctx, &dst), equinv_tensor_destroy(ctx, &before);
    equinv_tensor_destroy(ctx, &after);
    pool_free(&p), pool_free(&q);
    return error;
}

/* Windows that all reach over the whole axis hide the remainder: the answer is conservative there. */
static bool windows_cover(const equinv_pool_desc *d, int64_t size)
{
    const int64_t outputs = (size + 2 * d->padding - d->kernel) / d->stride + 1;
    return (outputs - 1) * d->stride - d->padding <= 0 && d->kernel - d->padding >= size;
}

START_TEST(equivariant_where_exact_and_broken_elsewhere)
{
    equinv_context *const ctx = context_new();
    int exact_cases = 0, broken_cases = 0;
    for (uint64_t seed = 0; seed < share_of(1600); seed++) {
        rng r = {seed + 3000};
        equinv_pool_desc d = random_desc(&r, seed % 2 ? EQUINV_F64 : EQUINV_F32);
        static const equinv_pool_kind kinds[] = {EQUINV_POOL_MAX, EQUINV_POOL_AVERAGE};
        if (d.kind != EQUINV_POOL_BLUR)
            d.kind = kinds[seed % 3 == 0];
        d.batch = 3, d.fields = 2 + d.fields % 3, d.width = 1 + d.width % 9;
        d.stride = rng_range(&r, 1, 4) > 1 ? 2 + d.stride % 2 : 1;
        const int64_t smallest = d.kernel - 2 * d.padding;
        d.width = d.width < smallest ? smallest : d.width;
        const int32_t g = (int32_t)rng_range(&r, 0, order_of(d.group) - 1);
        pool p = pool_new(ctx, &d);
        equinv_exactness exactness;
        OK(equinv_plan_exactness(p.plan, g, &exactness));
        pool_free(&p);
        if (!exactness.exact && (windows_cover(&d, d.height) || windows_cover(&d, d.width)))
            continue;
        const double error = equivariance_error(ctx, &d, g, &r);
        if (exactness.exact) {
            exact_cases++;
            ck_assert_msg(error <= (d.dtype == EQUINV_F64 ? 1e-14 : 5e-7),
                          "called exact, error %g, seed %d", error, (int)seed);
        } else {
            broken_cases++;
            ck_assert_msg(error > 1e-3, "called broken (%s), error %g, seed %d", exactness.text,
                          error, (int)seed);
        }
    }
    ck_assert_msg(exact_cases >= (int)share_of(200) && broken_cases >= (int)share_of(200),
                  "%d and %d cases", exact_cases, broken_cases);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(global_and_group_pooling_are_always_exact)
{
    equinv_context *const ctx = context_new();
    for (uint64_t seed = 0; seed < share_of(ROUNDS); seed++) {
        rng r = {seed + 4000};
        equinv_pool_desc d = random_desc(&r, seed % 2 ? EQUINV_F64 : EQUINV_F32);
        d.kind = (equinv_pool_kind)rng_range(&r, 3, 6);
        d.batch = 2;
        d.elements = is_group(d.kind) ? order_of(d.group) : d.elements;
        const int32_t g = (int32_t)rng_range(&r, 0, order_of(d.group) - 1);
        pool p = pool_new(ctx, &d);
        equinv_exactness exactness;
        OK(equinv_plan_exactness(p.plan, -1, &exactness));
        ck_assert(exactness.exact);
        pool_free(&p);
        /* pooled over the group, a field has one element: act then leaves that axis alone */
        ck_assert_msg(equivariance_error(ctx, &d, g, &r) <= (d.dtype == EQUINV_F64 ? 1e-14 : 5e-7),
                      "seed %d", (int)seed);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(exactness_of_the_whole_group)
{
    equinv_context *const ctx = context_new();
    equinv_pool_desc d = EQUINV_POOL_DESC_INIT;
    d.batch = 1, d.fields = 1, d.elements = 4, d.height = 8, d.width = 8;
    equinv_exactness e;
    pool even = pool_new(ctx, &d);
    OK(equinv_plan_exactness(even.plan, -1, &e));
    ck_assert(e.exact && e.element == -1);
    d.width = 7;
    pool odd = pool_new(ctx, &d);
    OK(equinv_plan_exactness(odd.plan, -1, &e));
    ck_assert(!e.exact && e.element == 1 && e.axis == EQUINV_AXIS_WIDTH);
    OK(equinv_plan_exactness(odd.plan, 3, &e));
    ck_assert(e.exact);
    d.group = equinv_cyclic(8), d.elements = 8; /* only the grid elements are asked */
    pool off_grid = pool_new(ctx, &d);
    OK(equinv_plan_exactness(off_grid.plan, -1, &e));
    ck_assert(!e.exact && e.element == 2);
    pool_free(&even), pool_free(&odd), pool_free(&off_grid);
    equinv_context_destroy(ctx);
}
END_TEST

/* ---- edges ----------------------------------------------------------------------------------- */

START_TEST(edges)
{
    equinv_context *const ctx = context_new();
    equinv_pool_desc d = EQUINV_POOL_DESC_INIT;
    d.batch = 0, d.fields = 2, d.elements = 4, d.height = d.width = 6;
    pool empty = pool_new(ctx, &d);
    equinv_tensor src = of_shape(ctx, NULL, EQUINV_F32, empty.src);
    equinv_tensor dst = of_shape(ctx, NULL, EQUINV_F32, empty.dst);
    forward(&empty, &src, &dst);
    backward(&empty, &dst, &src);
    equinv_tensor_destroy(ctx, &src), equinv_tensor_destroy(ctx, &dst);
    pool_free(&empty);

    /* [N, F G, H, W], one field, no saved buffer */
    rng r = {5};
    d.batch = 2, d.fields = 1;
    pool p = pool_new(ctx, &d);
    equinv_tensor five = of_shape(ctx, &r, EQUINV_F32, p.src), four = five;
    four.ndim = 4;
    four.shape[1] = 4, four.shape[2] = 6, four.shape[3] = 6;
    four.strides[1] = 36, four.strides[2] = 6, four.strides[3] = 1;
    equinv_tensor a = of_shape(ctx, NULL, EQUINV_F32, p.dst), b = tensor_like(ctx, &a);
    forward(&p, &five, &a);
    OK(equinv_pool_forward(p.plan, &four, &b, NULL, 0, NULL, 0));
    ASSERT_SAME(&a, &b);

    /* a saved buffer that forward never filled is answered without writing outside */
    memset(p.saved, 0x7f, p.saved_size);
    for (int i = 0; i < 20; i++) {
        laid gradient = laid_new(ctx, &r, EQUINV_F32, 5, p.src);
        backward(&p, &a, &gradient.view);
        ck_assert(laid_gaps_kept(&gradient));
        laid_free(ctx, &gradient);
    }
    equinv_tensor_destroy(ctx, &five), equinv_tensor_destroy(ctx, &a);
    equinv_tensor_destroy(ctx, &b);
    pool_free(&p);

    /* stride beyond the image, window beyond the image */
    d.height = d.width = 3, d.kernel = 6, d.padding = 3, d.stride = INT64_C(1) << 40;
    pool wide = pool_new(ctx, &d);
    ck_assert(wide.dst[3] == 1 && wide.dst[4] == 1);
    equinv_tensor image = of_shape(ctx, &r, EQUINV_F32, wide.src);
    equinv_tensor top = of_shape(ctx, NULL, EQUINV_F32, wide.dst);
    forward(&wide, &image, &top);
    for (int64_t i = 0; i < 8; i++) {
        double largest = -2;
        for (int64_t k = 0; k < 9; k++)
            largest = fmax(largest, tensor_get(&image, 9 * i + k));
        ck_assert(tensor_get(&top, i) == largest);
    }
    equinv_tensor_destroy(ctx, &image), equinv_tensor_destroy(ctx, &top);
    pool_free(&wide);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(wrong_descriptions)
{
    equinv_context *const ctx = context_new();
    equinv_pool_desc good = EQUINV_POOL_DESC_INIT;
    good.batch = 2, good.fields = 3, good.elements = 4, good.height = 6, good.width = 7;
    equinv_plan *plan = NULL;
    int64_t shape[5] = {-7, -7, -7, -7, -7};
    FAILS(EQUINV_ERR_ARG, "ctx is NULL", equinv_pool_plan_create(NULL, &good, &plan));
    FAILS(EQUINV_ERR_ARG, "desc is NULL", equinv_pool_plan_create(ctx, NULL, &plan));
    FAILS(EQUINV_ERR_ARG, "plan is NULL", equinv_pool_plan_create(ctx, &good, NULL));
    FAILS(EQUINV_ERR_ARG, "desc is NULL", equinv_pool_output_shape(NULL, shape));
    FAILS(EQUINV_ERR_ARG, "shape is NULL", equinv_pool_output_shape(&good, NULL));
#define REFUSED(status, word, ...)                                                                 \
    do {                                                                                           \
        equinv_pool_desc d = good;                                                                 \
        __VA_ARGS__;                                                                               \
        FAILS(status, word, equinv_pool_plan_create(ctx, &d, &plan));                              \
        FAILS(status, word, equinv_pool_output_shape(&d, shape));                                  \
    } while (0)
    REFUSED(EQUINV_ERR_ARG, "struct_size", d.struct_size = 8);
    REFUSED(EQUINV_ERR_ARG, "kind is 0", d.kind = 0);
    REFUSED(EQUINV_ERR_ARG, "kind is 8", d.kind = 8);
    REFUSED(EQUINV_ERR_ARG, "sigma is 0", d.kind = EQUINV_POOL_BLUR, d.sigma = 0);
    REFUSED(EQUINV_ERR_ARG, "sigma is nan", d.kind = EQUINV_POOL_BLUR, d.sigma = (double)NAN);
    REFUSED(EQUINV_ERR_ARG, "at most 31", d.kind = EQUINV_POOL_BLUR, d.sigma = 10.51);
    REFUSED(EQUINV_ERR_SHAPE, "half of kernel 5", d.kind = EQUINV_POOL_BLUR, d.padding = 3);
    REFUSED(EQUINV_ERR_ARG, "C0", d.group = equinv_cyclic(0));
    REFUSED(EQUINV_ERR_UNSUPPORTED, "S", d.group = equinv_symmetric());
    REFUSED(EQUINV_ERR_DTYPE, "dtype is i32", d.dtype = EQUINV_I32);
    REFUSED(EQUINV_ERR_DTYPE, "dtype is bf16", d.dtype = EQUINV_BF16);
    REFUSED(EQUINV_ERR_SHAPE, "batch is -1", d.batch = -1);
    REFUSED(EQUINV_ERR_SHAPE, "fields is 0", d.fields = 0);
    REFUSED(EQUINV_ERR_SHAPE, "elements is 3", d.elements = 3);
    REFUSED(EQUINV_ERR_SHAPE, "elements is 1", d.elements = 1, d.kind = EQUINV_POOL_GROUP_MEAN);
    REFUSED(EQUINV_ERR_SHAPE, "height is 0", d.height = 0);
    REFUSED(EQUINV_ERR_SHAPE, "width is -3", d.width = -3);
    REFUSED(EQUINV_ERR_SHAPE, "kernel is 0", d.kernel = 0);
    REFUSED(EQUINV_ERR_SHAPE, "stride is 0", d.stride = 0);
    REFUSED(EQUINV_ERR_SHAPE, "padding is -1", d.padding = -1);
    REFUSED(EQUINV_ERR_SHAPE, "half of kernel 2", d.padding = 2);
    REFUSED(EQUINV_ERR_SHAPE, "smaller than kernel 9", d.kernel = 9);
    REFUSED(EQUINV_ERR_SHAPE, "2^63", d.batch = d.fields = INT64_C(1) << 40);
    REFUSED(EQUINV_ERR_UNSUPPORTED, "2^31 - 1", d.height = d.width = 1 << 20);
#undef REFUSED
    equinv_pool_desc d = good;
    d.impl = "fastest";
    FAILS(EQUINV_ERR_ARG, "expected one of fast, ref", equinv_pool_plan_create(ctx, &d, &plan));
    d = good;
    d.kernel = 5, d.padding = 2, d.stride = 1, d.batch = INT64_C(1) << 40, d.fields = 1 << 15;
    FAILS(EQUINV_ERR_SHAPE, "saved", equinv_pool_plan_create(ctx, &d, &plan));
    ck_assert_ptr_null(plan);
    for (int i = 0; i < 5; i++)
        ck_assert_int_eq(shape[i], -7);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(wrong_arguments)
{
    equinv_context *const ctx = context_new();
    equinv_pool_desc d = EQUINV_POOL_DESC_INIT;
    d.batch = 2, d.fields = 3, d.elements = 4, d.height = 6, d.width = 8;
    pool p = pool_new(ctx, &d);
    d.kind = EQUINV_POOL_AVERAGE;
    rng r = {9};
    equinv_tensor src = of_shape(ctx, &r, EQUINV_F32, p.src);
    equinv_tensor dst = of_shape(ctx, NULL, EQUINV_F32, p.dst);
    equinv_tensor t;
    void *const saved = p.saved;
    const size_t size = p.saved_size;
#define WRONG(status, word, of, change, call)                                                      \
    do {                                                                                           \
        t = (of);                                                                                  \
        change;                                                                                    \
        FAILS(status, word, call);                                                                 \
    } while (0)
#define FORWARD(a, b) equinv_pool_forward(p.plan, a, b, saved, size, NULL, 0)
    FAILS(EQUINV_ERR_ARG, "plan is NULL",
          equinv_pool_forward(NULL, &src, &dst, saved, size, NULL, 0));
    FAILS(EQUINV_ERR_ARG, "src is NULL", FORWARD(NULL, &dst));
    WRONG(EQUINV_ERR_DEVICE, "src is on device cuda:0", src, t.device.kind = EQUINV_DEVICE_CUDA,
          FORWARD(&t, &dst));
    WRONG(EQUINV_ERR_DTYPE, "src has dtype i32", src, t.dtype = EQUINV_I32, FORWARD(&t, &dst));
    WRONG(EQUINV_ERR_DTYPE, "src has dtype f64", src, t.dtype = EQUINV_F64, FORWARD(&t, &dst));
    WRONG(EQUINV_ERR_ARG, "src has data NULL", src, t.data = NULL, FORWARD(&t, &dst));
    WRONG(EQUINV_ERR_SHAPE, "src has ndim 9", src, t.ndim = 9, FORWARD(&t, &dst));
    WRONG(EQUINV_ERR_SHAPE, "src has shape", src, t.ndim = 3, FORWARD(&t, &dst));
    WRONG(EQUINV_ERR_SHAPE, "src has shape [2, 3, 4, 6, 7]", src, t.shape[4] = 7,
          FORWARD(&t, &dst));
    WRONG(EQUINV_ERR_SHAPE, "strides", src, t.strides[0] = INT64_MAX / 2, FORWARD(&t, &dst));
    FAILS(EQUINV_ERR_ARG, "dst is NULL", FORWARD(&src, NULL));
    WRONG(EQUINV_ERR_DTYPE, "dst has dtype f64", dst, t.dtype = EQUINV_F64, FORWARD(&src, &t));
    WRONG(EQUINV_ERR_SHAPE, "dst has shape [2, 3, 4, 6, 8]", src, (void)0, FORWARD(&src, &t));
    WRONG(EQUINV_ERR_SHAPE, "dst has stride 0", dst, t.strides[1] = 0, FORWARD(&src, &t));
    WRONG(EQUINV_ERR_ARG, "dst overlaps src", dst, t.data = src.data, FORWARD(&src, &t));
    FAILS(EQUINV_ERR_SCRATCH, "saved_size is 8, expected at least",
          equinv_pool_forward(p.plan, &src, &dst, saved, 8, NULL, 0));
    FAILS(EQUINV_ERR_SCRATCH, "aligned",
          equinv_pool_forward(p.plan, &src, &dst, (char *)saved + 4, size, NULL, 0));
#define BACKWARD(a, b) equinv_pool_backward(p.plan, a, saved, size, b, NULL, 0)
    FAILS(EQUINV_ERR_ARG, "plan is NULL",
          equinv_pool_backward(NULL, &dst, saved, size, &src, NULL, 0));
    FAILS(EQUINV_ERR_ARG, "diff_dst is NULL", BACKWARD(NULL, &src));
    WRONG(EQUINV_ERR_DTYPE, "diff_dst has dtype f64", dst, t.dtype = EQUINV_F64,
          BACKWARD(&t, &src));
    WRONG(EQUINV_ERR_SHAPE, "diff_dst has shape", src, (void)0, BACKWARD(&t, &src));
    FAILS(EQUINV_ERR_ARG, "saved is NULL",
          equinv_pool_backward(p.plan, &dst, NULL, 0, &src, NULL, 0));
    FAILS(EQUINV_ERR_SCRATCH, "saved_size",
          equinv_pool_backward(p.plan, &dst, saved, size - 1, &src, NULL, 0));
    FAILS(EQUINV_ERR_ARG, "diff_src is NULL", BACKWARD(&dst, NULL));
    WRONG(EQUINV_ERR_SHAPE, "diff_src has shape", dst, (void)0, BACKWARD(&dst, &t));
    WRONG(EQUINV_ERR_SHAPE, "diff_src has stride 0", src, t.strides[0] = 0, BACKWARD(&dst, &t));
    WRONG(EQUINV_ERR_ARG, "diff_src overlaps diff_dst", src, t.data = dst.data, BACKWARD(&dst, &t));
#undef WRONG
#undef FORWARD
#undef BACKWARD
    ck_assert(tensor_max_abs(&dst) == 0); /* nothing was written */
    equinv_tensor_destroy(ctx, &src), equinv_tensor_destroy(ctx, &dst);
    pool_free(&p);
    equinv_context_destroy(ctx);
}
END_TEST

static equinv_status make_plan(equinv_context *ctx, void *arg)
{
    equinv_plan *plan = NULL;
    const equinv_status status = equinv_pool_plan_create(ctx, arg, &plan);
    ck_assert(!plan == (status != EQUINV_OK));
    equinv_plan_destroy(plan);
    return status;
}

START_TEST(allocation_failures)
{
    equinv_pool_desc d = EQUINV_POOL_DESC_INIT;
    d.batch = 1, d.fields = 1, d.elements = 4, d.height = d.width = 4;
    ck_assert_int_eq(fail_in_turn(make_plan, &d), 1);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {examples_by_hand, EXAMPLES},
        {nan_wins_and_infinity_counts, 1},
        {fast_equals_ref, TEST_LEVELS},
        {double_takes_the_reference, 1},
        {thread_count_changes_no_bit, 1},
        {backward_is_the_adjoint, 1},
        {gradient_by_differences, 1},
        {accumulate_adds_to_the_gradient, 1},
        {equivariant_where_exact_and_broken_elsewhere, 1},
        {global_and_group_pooling_are_always_exact, 1},
        {exactness_of_the_whole_group, 1},
        {edges, 1},
        {wrong_descriptions, 1},
        {wrong_arguments, 1},
        {allocation_failures, 1},
    };
    return run_tests("pool", tests, sizeof tests / sizeof *tests);
}
