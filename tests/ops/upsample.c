/* Upsampling: values, gradients, equivariance, every implementation. */
#include <math.h>

#include "tests/util/maps.h"
#include "tests/util/refusal.h"

enum { ROUNDS = 240, KINDS = 3 };

/* A plan and row-major tensors for it, the inputs random. */
typedef struct up {
    equinv_context *ctx;
    equinv_upsample_desc desc;
    equinv_plan *plan;
    equinv_tensor src, diff_dst, dst, diff_src;
} up;

static up up_new(equinv_context *ctx, rng *r, const equinv_upsample_desc *d)
{
    up u = {.ctx = ctx, .desc = *d};
    const int64_t in[5] = {d->batch, d->fields, d->elements, d->height, d->width};
    int64_t out[5];
    OK(equinv_upsample_plan_create(ctx, d, &u.plan));
    OK(equinv_upsample_output_shape(d, out));
    ck_assert(out[3] == d->scale * d->height && out[4] == d->scale * d->width);
    u.src = map_new(ctx, r, d->dtype, in), u.diff_src = map_new(ctx, NULL, d->dtype, in);
    u.diff_dst = map_new(ctx, r, d->dtype, out), u.dst = map_new(ctx, NULL, d->dtype, out);
    return u;
}

static void up_free(up *u)
{
    equinv_plan_destroy(u->plan);
    equinv_tensor_destroy(u->ctx, &u->src), equinv_tensor_destroy(u->ctx, &u->diff_src);
    equinv_tensor_destroy(u->ctx, &u->dst), equinv_tensor_destroy(u->ctx, &u->diff_dst);
}

static void up_run(const up *u)
{
    OK(equinv_upsample_forward(u->plan, &u->src, &u->dst, NULL, 0));
    OK(equinv_upsample_backward(u->plan, &u->diff_dst, &u->diff_src, NULL, 0));
}

static equinv_upsample_desc random_desc(rng *r, equinv_dtype dtype)
{
    equinv_upsample_desc d = EQUINV_UPSAMPLE_DESC_INIT;
    d.kind = (equinv_upsample_kind)rng_range(r, 1, KINDS);
    d.dtype = dtype;
    d.batch = rng_range(r, 0, 3);
    const int64_t large = rng_range(r, 0, 15); /* now and then more lanes than one run has */
    d.fields = rng_range(r, 1, large == 0 ? 70 : 4);
    d.elements = rng_range(r, 1, 4);
    d.scale = rng_range(r, 1, large == 2 ? 17 : 5);
    d.height = rng_range(r, 1, 7);
    d.width = rng_range(r, 1, large == 1 ? 80 : 7);
    return d;
}

/* ---- values ---------------------------------------------------------------------------------- */

/* The weight of input i in output o, as torch defines it, written once more. */
static double weight(const equinv_upsample_desc *d, int64_t size, int64_t o, int64_t i)
{
    const double s = (double)d->scale, x = (double)o;
    double at = floor(x / s);
    if (d->kind == EQUINV_UPSAMPLE_BILINEAR)
        at = fmin(fmax((x + 0.5) / s - 0.5, 0), (double)(size - 1));
    if (d->kind == EQUINV_UPSAMPLE_BILINEAR_CORNERS)
        at = size > 1 ? x * (double)(size - 1) / (s * (double)size - 1) : 0;
    return fmax(0, 1 - fabs(at - (double)i));
}

START_TEST(is_what_the_weights_say)
{
    equinv_context *const ctx = context_new();
    for (uint64_t seed = 0; seed < ROUNDS; seed++) {
        rng r = {seed};
        equinv_upsample_desc d = random_desc(&r, EQUINV_F64);
        up u = up_new(ctx, &r, &d);
        equinv_tensor dst = tensor_like(ctx, &u.dst), diff_src = tensor_like(ctx, &u.src);
        const int64_t height = d.scale * d.height, width = d.scale * d.width;
        for (int64_t to = 0; to < equinv_tensor_count(&dst); to++) {
            const int64_t plane = to / (height * width), y = to / width % height, x = to % width;
            double sum = 0;
            for (int64_t sy = 0; sy < d.height; sy++)
                for (int64_t sx = 0; sx < d.width; sx++) {
                    const int64_t from = (plane * d.height + sy) * d.width + sx;
                    const double w = weight(&d, d.height, y, sy) * weight(&d, d.width, x, sx);
                    sum += w * tensor_get(&u.src, from);
                    tensor_set(&diff_src, from,
                               tensor_get(&diff_src, from) + w * tensor_get(&u.diff_dst, to));
                }
            tensor_set(&dst, to, sum);
        }
        up_run(&u);
        ck_assert_str_eq(equinv_plan_impl_name(u.plan), "upsample/ref");
        ASSERT_CLOSE(&u.dst, &dst, 1e-13);
        ASSERT_CLOSE(&u.diff_src, &diff_src, 1e-12);
        equinv_tensor_destroy(ctx, &dst), equinv_tensor_destroy(ctx, &diff_src);
        up_free(&u);
    }
    equinv_context_destroy(ctx);
}
END_TEST

/* A row 0, 4 becomes two rows of four. */
START_TEST(examples_by_hand)
{
    static const struct {
        equinv_upsample_kind kind;
        double dst[4], diff_src[2]; /* for diff_dst = 1, 2, 3, 4 */
    } examples[KINDS] = {
        {EQUINV_UPSAMPLE_NEAREST, {0, 0, 4, 4}, {3, 7}},
        {EQUINV_UPSAMPLE_BILINEAR, {0, 1, 3, 4}, {1 + 1.5 + 0.75, 0.5 + 2.25 + 4}},
        {EQUINV_UPSAMPLE_BILINEAR_CORNERS,
         {0, 4 / 3., 8 / 3., 4},
         {1 + 4 / 3. + 1, 2 / 3. + 2 + 4}},
    };
    static const char *const impls[] = {"fast", "ref"};
    equinv_context *const ctx = context_new();
    for (int k = 0; k < KINDS; k++)
        for (int i = 0; i < 2; i++) {
            equinv_upsample_desc d = EQUINV_UPSAMPLE_DESC_INIT;
            d.kind = examples[k].kind;
            d.batch = d.fields = d.height = 1, d.width = 2;
            d.impl = impls[i];
            up u = up_new(ctx, NULL, &d);
            tensor_set(&u.src, 1, 4);
            for (int x = 0; x < 8; x++) /* rows of dst share their row of src */
                tensor_set(&u.diff_dst, x, (double)(x % 4 + 1) / 2);
            up_run(&u);
            for (int x = 0; x < 8; x++)
                ck_assert(fabs(tensor_get(&u.dst, x) - examples[k].dst[x % 4]) < 1e-6);
            for (int x = 0; x < 2; x++)
                ck_assert(fabs(tensor_get(&u.diff_src, x) - examples[k].diff_src[x]) < 1e-6);
            up_free(&u);
        }
    equinv_context_destroy(ctx);
}
END_TEST

/* ---- implementations ------------------------------------------------------------------------- */

START_TEST(fast_equals_ref)
{
    equinv_context *const ctx = context_at_level(_i);
    for (uint64_t seed = 0; ctx && seed < ROUNDS; seed++) {
        rng r = {seed};
        equinv_upsample_desc d = random_desc(&r, EQUINV_F32);
        d.accumulate = rng_range(&r, 0, 1);
        d.impl = "ref";
        up ref = up_new(ctx, &r, &d);
        d.impl = d.scale <= 16 ? "fast" : NULL;
        equinv_plan *fast;
        OK(equinv_upsample_plan_create(ctx, &d, &fast));
        ck_assert_str_eq(equinv_plan_impl_name(fast),
                         d.scale <= 16 ? "upsample/fast" : "upsample/ref");
        up_run(&ref);
        laid a = laid_copy(ctx, &r, &ref.src), db = laid_copy(ctx, &r, &ref.diff_dst);
        laid b = laid_new(ctx, &r, EQUINV_F32, 5, ref.dst.shape);
        laid da = laid_new(ctx, &r, EQUINV_F32, 5, ref.src.shape);
        for (int64_t i = 0; d.accumulate && i < equinv_tensor_count(&ref.src); i++)
            tensor_set(&da.view, i, 0);
        OK(equinv_upsample_forward(fast, &a.view, &b.view, NULL, 0));
        OK(equinv_upsample_backward(fast, &db.view, &da.view, NULL, 0));
        ck_assert_msg(tensor_error(&b.view, &ref.dst, NULL) <= 3e-7, "dst, seed %d", (int)seed);
        ck_assert_msg(tensor_error(&da.view, &ref.diff_src, NULL) <= 1e-6, "diff_src, seed %d",
                      (int)seed);
        ck_assert_msg(laid_gaps_kept(&b) && laid_gaps_kept(&da), "gaps, seed %d", (int)seed);
        laid_free(ctx, &a), laid_free(ctx, &b), laid_free(ctx, &da), laid_free(ctx, &db);
        equinv_plan_destroy(fast);
        up_free(&ref);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(thread_count_changes_no_bit)
{
    equinv_context *const ctx[2] = {context_of_threads(1), context_new()};
    for (int kind = 1; kind <= KINDS; kind++) {
        up u[2];
        for (int k = 0; k < 2; k++) {
            equinv_upsample_desc d = EQUINV_UPSAMPLE_DESC_INIT;
            rng r = {(uint64_t)kind};
            d.kind = (equinv_upsample_kind)kind;
            d.batch = 12, d.fields = 3, d.elements = 4, d.height = 11, d.width = 13;
            u[k] = up_new(ctx[k], &r, &d);
            up_run(&u[k]);
        }
        ASSERT_SAME(&u[0].dst, &u[1].dst);
        ASSERT_SAME(&u[0].diff_src, &u[1].diff_src);
        up_free(&u[0]), up_free(&u[1]);
    }
    equinv_context_destroy(ctx[0]), equinv_context_destroy(ctx[1]);
}
END_TEST

/* NaN and infinity reach the outputs that read them, no other, in every implementation. */
START_TEST(not_a_number_stays_where_it_is_read)
{
    static const char *const impls[] = {"fast", "ref"};
    equinv_context *const ctx = context_new();
    for (int kind = 1; kind <= KINDS; kind++)
        for (int64_t scale = 1; scale < 5; scale++)
            for (int k = 0; k < 2; k++) {
                equinv_upsample_desc d = EQUINV_UPSAMPLE_DESC_INIT;
                rng r = {(uint64_t)kind};
                d.kind = (equinv_upsample_kind)kind;
                d.batch = 2, d.fields = 1, d.height = 4, d.width = 5, d.scale = scale;
                d.impl = impls[k];
                up u = up_new(ctx, &r, &d);
                tensor_set(&u.src, 7, k ? (double)NAN : (double)INFINITY); /* row 1, column 2 */
                OK(equinv_upsample_forward(u.plan, &u.src, &u.dst, NULL, 0));
                const int64_t width = 5 * scale, image = 4 * scale * width;
                for (int64_t i = 0; i < 2 * image; i++) {
                    const double y = weight(&d, 4, i / width % (4 * scale), 1);
                    const double x = weight(&d, 5, i % width, 2);
                    const bool reads = i < image && x * y > 1e-9;
                    ck_assert_msg(isfinite(tensor_get(&u.dst, i)) == !reads,
                                  "%s kind %d scale %d: [%d]", impls[k], kind, (int)scale, (int)i);
                }
                up_free(&u);
            }
    equinv_context_destroy(ctx);
}
END_TEST

/* ---- gradients ------------------------------------------------------------------------------- */

START_TEST(backward_is_the_adjoint)
{
    equinv_context *const ctx = context_new();
    for (uint64_t seed = 0; seed < ROUNDS; seed++) {
        rng r = {seed + 1000};
        const equinv_upsample_desc d = random_desc(&r, seed % 2 ? EQUINV_F64 : EQUINV_F32);
        up u = up_new(ctx, &r, &d);
        up_run(&u);
        const double left = tensor_dot(&u.dst, &u.diff_dst);
        const double right = tensor_dot(&u.src, &u.diff_src);
        const double scale =
            sqrt(tensor_dot(&u.dst, &u.dst) * tensor_dot(&u.diff_dst, &u.diff_dst));
        ck_assert_msg(fabs(left - right) <= (d.dtype == EQUINV_F64 ? 1e-12 : 1e-6) * scale,
                      "%g and %g, seed %d", left, right, (int)seed);
        up_free(&u);
    }
    equinv_context_destroy(ctx);
}
END_TEST

static double loss(void *arg)
{
    const up *const u = arg;
    OK(equinv_upsample_forward(u->plan, &u->src, &u->dst, NULL, 0));
    return tensor_dot(&u->dst, &u->diff_dst);
}

START_TEST(gradient_by_differences)
{
    equinv_context *const ctx = context_new();
    for (uint64_t seed = 0; seed < 60; seed++) {
        rng r = {seed + 2000};
        equinv_upsample_desc d = random_desc(&r, EQUINV_F64);
        d.batch = 1 + d.batch % 2;
        up u = up_new(ctx, &r, &d);
        up_run(&u);
        const int64_t at = gradient_mismatch(&u.src, &u.diff_src, loss, &u, 1e-5, 1e-8, 30);
        ck_assert_msg(at < 0, "seed %d, element %d", (int)seed, (int)at);
        up_free(&u);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(accumulate_adds_to_the_gradient)
{
    static const char *const impls[] = {"fast", "ref"};
    equinv_context *const ctx = context_new();
    for (int kind = 1; kind <= KINDS; kind++)
        for (int k = 0; k < 2; k++) {
            rng r = {(uint64_t)kind};
            equinv_upsample_desc d = EQUINV_UPSAMPLE_DESC_INIT;
            d.kind = (equinv_upsample_kind)kind;
            d.batch = 2, d.fields = 2, d.elements = 4, d.height = 5, d.width = 7, d.scale = 3;
            d.accumulate = true, d.impl = impls[k];
            up u = up_new(ctx, &r, &d);
            equinv_tensor thrice = tensor_like(ctx, &u.diff_src);
            up_run(&u);
            for (int i = 0; i < 3; i++)
                OK(equinv_upsample_backward(u.plan, &u.diff_dst, &thrice, NULL, 0));
            OK(equinv_tensor_convert(ctx, &u.diff_src, 3.0, 0.0, &u.diff_src));
            ASSERT_CLOSE(&thrice, &u.diff_src, 3e-7);
            OK(equinv_upsample_forward(u.plan, &u.src, &u.dst, NULL,
                                       0)); /* dst is never added to */
            equinv_tensor once = tensor_as(ctx, &u.dst, EQUINV_F32);
            OK(equinv_upsample_forward(u.plan, &u.src, &u.dst, NULL, 0));
            ASSERT_SAME(&u.dst, &once);
            equinv_tensor_destroy(ctx, &thrice), equinv_tensor_destroy(ctx, &once);
            up_free(&u);
        }
    equinv_context_destroy(ctx);
}
END_TEST

/* ---- equivariance ---------------------------------------------------------------------------- */

/* Every kind, scale, size and element: there is no shape that breaks. */
START_TEST(always_equivariant)
{
    equinv_context *const ctx = context_new();
    for (uint64_t seed = 0; seed < 2 * ROUNDS; seed++) {
        rng r = {seed + 3000};
        const equinv_group group = grid_groups[rng_range(&r, 0, GRID_GROUPS - 1)];
        const int32_t order = grid_order(group);
        equinv_upsample_desc d = random_desc(&r, seed % 2 ? EQUINV_F64 : EQUINV_F32);
        d.batch = 2, d.elements = rng_range(&r, 0, 1) ? order : 1;
        const int32_t g = (int32_t)rng_range(&r, 0, order - 1);
        up u = up_new(ctx, &r, &d);
        equinv_exactness exactness;
        OK(equinv_plan_exactness(u.plan, -1, &exactness));
        ck_assert(exactness.exact);
        up_run(&u);
        equinv_tensor turned = map_acted(ctx, group, g, &u.src),
                      after = map_acted(ctx, group, g, &u.dst);
        d.height = turned.shape[3], d.width = turned.shape[4];
        up v = up_new(ctx, &r, &d);
        OK(equinv_upsample_forward(v.plan, &turned, &v.dst, NULL, 0));
        ck_assert_msg(tensor_error(&v.dst, &after, NULL) <= (seed % 2 ? 1e-14 : 4e-7), "seed %d",
                      (int)seed);
        equinv_tensor_destroy(ctx, &turned), equinv_tensor_destroy(ctx, &after);
        up_free(&u), up_free(&v);
    }
    equinv_context_destroy(ctx);
}
END_TEST

/* ---- edges ----------------------------------------------------------------------------------- */

START_TEST(edges)
{
    equinv_context *const ctx = context_new();
    rng r = {5};
    for (int kind = 1; kind <= KINDS; kind++) {
        equinv_upsample_desc d = EQUINV_UPSAMPLE_DESC_INIT;
        d.kind = (equinv_upsample_kind)kind;
        d.batch = 0, d.fields = 2, d.elements = 4, d.height = d.width = 6;
        up empty = up_new(ctx, &r, &d);
        up_run(&empty);
        up_free(&empty);
        /* scale 1 copies, a single pixel is spread */
        d.batch = 2, d.scale = 1;
        up copy = up_new(ctx, &r, &d);
        up_run(&copy);
        ASSERT_SAME(&copy.dst, &copy.src);
        ASSERT_SAME(&copy.diff_src, &copy.diff_dst);
        up_free(&copy);
        d.height = d.width = 1, d.scale = 4;
        up single = up_new(ctx, &r, &d);
        up_run(&single);
        for (int64_t i = 0; i < equinv_tensor_count(&single.dst); i++)
            ck_assert(tensor_get(&single.dst, i) == tensor_get(&single.src, i / 16));
        up_free(&single);
        /* [N, F G, H, W] */
        d.height = 3, d.width = 2, d.scale = 2;
        up u = up_new(ctx, &r, &d);
        equinv_tensor four = u.src, dst = tensor_like(ctx, &u.dst);
        four.ndim = 4;
        four.shape[1] = 8, four.shape[2] = 3, four.shape[3] = 2;
        four.strides[1] = 6, four.strides[2] = 2, four.strides[3] = 1;
        up_run(&u);
        OK(equinv_upsample_forward(u.plan, &four, &dst, NULL, 0));
        ASSERT_SAME(&dst, &u.dst);
        equinv_tensor_destroy(ctx, &dst);
        up_free(&u);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(wrong_descriptions)
{
    equinv_context *const ctx = context_new();
    equinv_upsample_desc good = EQUINV_UPSAMPLE_DESC_INIT;
    good.batch = 2, good.fields = 3, good.elements = 4, good.height = 6, good.width = 7;
    equinv_plan *plan = NULL;
    int64_t shape[5] = {-7, -7, -7, -7, -7};
    PLAN_NEEDS_POINTERS(upsample, ctx, good);
    FAILS(EQUINV_ERR_ARG, "desc is NULL", equinv_upsample_output_shape(NULL, shape));
    FAILS(EQUINV_ERR_ARG, "shape is NULL", equinv_upsample_output_shape(&good, NULL));
#define REFUSED(status, word, ...)                                                                 \
    SHAPED_PLAN_REFUSES(upsample, ctx, good, shape, status, word, __VA_ARGS__)
    REFUSED(EQUINV_ERR_ARG, "struct_size", d.struct_size = 8);
    REFUSED(EQUINV_ERR_ARG, "kind is 0", d.kind = 0);
    REFUSED(EQUINV_ERR_ARG, "kind is 4", d.kind = 4);
    REFUSED(EQUINV_ERR_DTYPE, "dtype is i32", d.dtype = EQUINV_I32);
    REFUSED(EQUINV_ERR_SHAPE, "batch is -1", d.batch = -1);
    REFUSED(EQUINV_ERR_SHAPE, "fields is 0", d.fields = 0);
    REFUSED(EQUINV_ERR_SHAPE, "elements is 0", d.elements = 0);
    REFUSED(EQUINV_ERR_SHAPE, "height is 0", d.height = 0);
    REFUSED(EQUINV_ERR_SHAPE, "width is -3", d.width = -3);
    REFUSED(EQUINV_ERR_SHAPE, "scale is 0", d.scale = 0);
    REFUSED(EQUINV_ERR_UNSUPPORTED, "2^31 - 1", d.scale = INT64_C(1) << 40);
    REFUSED(EQUINV_ERR_UNSUPPORTED, "1048576 pixels", d.width = 1 << 20, d.scale = 1 << 11);
    REFUSED(EQUINV_ERR_SHAPE, "src", d.batch = d.fields = INT64_C(1) << 40);
    REFUSED(EQUINV_ERR_SHAPE, "dst", d.batch = INT64_C(1) << 40, d.scale = 1 << 12);
#undef REFUSED
    equinv_upsample_desc d = good;
    d.impl = "fastest";
    FAILS(EQUINV_ERR_ARG, "expected one of fast, ref", equinv_upsample_plan_create(ctx, &d, &plan));
    d.impl = "fast", d.scale = 17;
    FAILS(EQUINV_ERR_UNSUPPORTED, "up to 16", equinv_upsample_plan_create(ctx, &d, &plan));
    d.scale = 2, d.dtype = EQUINV_F64;
    FAILS(EQUINV_ERR_UNSUPPORTED, "f32 only", equinv_upsample_plan_create(ctx, &d, &plan));
    d.dtype = EQUINV_F32, d.batch = 0, d.height = 1 << 20;
    FAILS(EQUINV_ERR_UNSUPPORTED, "2^20", equinv_upsample_plan_create(ctx, &d, &plan));
    ck_assert_ptr_null(plan);
    for (int i = 0; i < 5; i++)
        ck_assert_int_eq(shape[i], -7);
    equinv_context_destroy(ctx);
}
END_TEST

enum { SRC, DST, DIFF_DST, DIFF_SRC, ARGUMENTS };
static const char *const names[ARGUMENTS] = {"src", "dst", "diff_dst", "diff_src"};

static equinv_status call_forward(void *plan, const equinv_tensor *const *t)
{
    return equinv_upsample_forward(plan, t[SRC], t[DST], NULL, 0);
}

static equinv_status call_backward(void *plan, const equinv_tensor *const *t)
{
    return equinv_upsample_backward(plan, t[DIFF_DST], t[DIFF_SRC], NULL, 0);
}

static const call calls[] = {
    {call_forward, BIT(SRC) | BIT(DST), BIT(DST), 0, 0},
    {call_backward, BIT(DIFF_DST) | BIT(DIFF_SRC), BIT(DIFF_SRC), 0, 0},
};

START_TEST(wrong_arguments)
{
    equinv_context *const ctx = context_new();
    equinv_upsample_desc d = EQUINV_UPSAMPLE_DESC_INIT;
    equinv_pool_desc other_desc = EQUINV_POOL_DESC_INIT;
    d.batch = 2, d.fields = 3, d.elements = 4, d.height = 6, d.width = 8;
    other_desc.batch = other_desc.fields = 1, other_desc.height = other_desc.width = 4;
    rng r = {9};
    up u = up_new(ctx, &r, &d);
    equinv_plan *other;
    OK(equinv_pool_plan_create(ctx, &other_desc, &other));
    const equinv_tensor *const good[ARGUMENTS] = {&u.src, &u.dst, &u.diff_dst, &u.diff_src};
    assert_refusals(calls, 2, &(arguments){ARGUMENTS, names, good, 0, 0}, u.plan);
    for (int c = 0; c < 2; c++) {
        FAILS(EQUINV_ERR_ARG, "plan is NULL", calls[c].run(NULL, good));
        FAILS(EQUINV_ERR_ARG, "pool/", calls[c].run(other, good));
    }
    ck_assert(tensor_max_abs(&u.dst) == 0 && tensor_max_abs(&u.diff_src) == 0);
    equinv_plan_destroy(other);
    up_free(&u);
    equinv_context_destroy(ctx);
}
END_TEST

PLAN_ATTEMPT(make_plan, upsample)

START_TEST(allocation_failures)
{
    equinv_upsample_desc d = EQUINV_UPSAMPLE_DESC_INIT;
    d.batch = d.fields = 1, d.height = d.width = 4;
    ck_assert_int_eq(fail_in_turn(make_plan, &d), 1);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {is_what_the_weights_say, 1},
        {examples_by_hand, 1},
        {fast_equals_ref, TEST_LEVELS},
        {thread_count_changes_no_bit, 1},
        {not_a_number_stays_where_it_is_read, 1},
        {backward_is_the_adjoint, 1},
        {gradient_by_differences, 1},
        {accumulate_adds_to_the_gradient, 1},
        {always_equivariant, 1},
        {edges, 1},
        {wrong_descriptions, 1},
        {wrong_arguments, 1},
        {allocation_failures, 1},
    };
    return run_tests("upsample", tests, sizeof tests / sizeof *tests);
}
