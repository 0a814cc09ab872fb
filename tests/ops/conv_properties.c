/* What convolution must be whatever the shape: equivariant, linear, adjoint, deterministic, local. */
#include <math.h>
#include <pthread.h>

#include "tests/util/conv.h"

enum { SHAPES = 200 };

/* What the properties of linear algebra must hold in, and the rounding allowed to each. */
enum { ARITHMETICS = 2 };
static const struct {
    equinv_dtype dtype;
    double equivariant, linear, adjoint;
} arithmetic[ARITHMETICS] = {
    {EQUINV_F64, 1e-13, 1e-13, 1e-12},
    {EQUINV_F32, 3e-6, 3e-6, 2e-6},
};

/* The Fourier form takes part in f32: counts the problems. */
static void count_fourier(const conv_case *c, int64_t *count)
{
    *count += strcmp(equinv_plan_impl_name(c->plan), "conv/gfourier") == 0;
}
#define ASSERT_FOURIER(count)                                                                      \
    ck_assert_int_ge(count, arithmetic[_i].dtype == EQUINV_F32 ? (int)share_of(90) : 0)

/* Runs the body for 200 random problems on every implementation. */
#define FOR_RANDOM                                                                                 \
    for (uint64_t seed = 0; seed < share_of(SHAPES); seed++)                                       \
        for (int impl = 0; conv_impl(impl); impl++)

#define ASSERT_RELATIVE(a, b, scale, tolerance)                                                    \
    do {                                                                                           \
        const double a_ = (a), b_ = (b);                                                           \
        ck_assert_msg(fabs(a_ - b_) <= (tolerance) * (scale),                                      \
                      "%s is %.17g, %s is %.17g, seed "                                            \
                      "%llu %s: %s",                                                               \
                      #a, a_, #b, b_, (unsigned long long)seed, d.impl, conv_text(&d));            \
    } while (0)

static equinv_conv_desc random_problem(rng *r, equinv_dtype dtype, int impl)
{
    equinv_conv_desc d = conv_random_desc(r, dtype);
    d.impl = conv_impl(impl);
    d.accumulate = false;
    d.batch += d.batch == 0;
    return d;
}

/* ---- equivariance -------------------------------------------------------------------------------- */

/* |conv(g.src) - g.conv(src)| / |conv(src)| */
static double broken_by(equinv_context *ctx, const conv_case *c, int32_t g)
{
    const equinv_tensor *const bias = c->desc.bias ? &c->bias : NULL;
    equinv_tensor src = map_acted(ctx, c->desc.group, g, &c->src);
    equinv_tensor expected = map_acted(ctx, c->desc.group, g, &c->dst);
    equinv_conv_desc d = c->desc;
    d.height = src.shape[3], d.width = src.shape[4];
    equinv_plan *const plan = conv_plan(ctx, &d, d.impl);
    equinv_tensor dst = tensor_like(ctx, &expected);
    OK(equinv_conv_forward(plan, &src, &c->psi, bias, &dst, NULL, 0));
    const double error = tensor_error(&dst, &expected, NULL);
    equinv_tensor_destroy(ctx, &src), equinv_tensor_destroy(ctx, &expected);
    equinv_tensor_destroy(ctx, &dst), equinv_plan_destroy(plan);
    return error;
}

START_TEST(equivariant_exactly_where_the_plan_says_so)
{
    equinv_context *const ctx = context_new();
    int64_t fourier = 0;
    int exact_seen = 0, broken_seen = 0;
    for (uint64_t seed = 0; seed < share_of(SHAPES); seed++)
        for (int impl = 0; conv_impl(impl); impl++) {
            rng r = {seed};
            equinv_conv_desc d = random_problem(&r, arithmetic[_i].dtype, impl);
            /* Every window must touch the image, or a broken symmetry would not show. */
            const int64_t reach = d.dilation * (d.kernel - 1);
            d.height += 3, d.width += 3;
            if (d.padding > reach)
                d.padding = reach;
            if (!conv_takes(ctx, &d))
                continue;
            conv_case c = conv_case_new(ctx, &r, &d);
            count_fourier(&c, &fourier);
            conv_run(&c, c.plan);
            equinv_exactness all;
            OK(equinv_plan_exactness(c.plan, -1, &all));
            bool exact = true;
            for (int32_t g = 0; g < c.order; g++) {
                equinv_exactness one;
                OK(equinv_plan_exactness(c.plan, g, &one));
                const double error = broken_by(ctx, &c, g);
                ck_assert_msg(one.exact ? error < arithmetic[_i].equivariant : error > 1e-3,
                              "seed %llu %s, element %d: error %g, but exactness says \"%s\": %s",
                              (unsigned long long)seed, d.impl, (int)g, error, one.text,
                              conv_text(&d));
                if (exact && !one.exact)
                    ck_assert_int_eq(all.element, g);
                exact = exact && one.exact;
                exact_seen += one.exact;
                broken_seen += !one.exact;
            }
            ck_assert_int_eq(all.exact, exact);
            conv_case_free(ctx, &c);
        }
    ck_assert(exact_seen > (int)share_of(500) && broken_seen > (int)share_of(200));
    ASSERT_FOURIER(fourier);
    equinv_context_destroy(ctx);
}
END_TEST

/* Which elements of D4 break when one axis alone leaves a remainder; the axes in the text. */
START_TEST(exactness_names_element_and_axis)
{
    static const struct {
        int64_t height, width;
        equinv_axis axis[8]; /* r^k, then r^k f */
    } rows[] = {
        {7, 7, {0, 0, 0, 0, 0, 0, 0, 0}},
        {7, 8, {0, 2, 2, 0, 2, 0, 0, 2}}, /* reversed width: r, r^2, f, r^3 f */
        {8, 7, {0, 0, 1, 1, 0, 0, 1, 1}}, /* reversed height: r^2, r^3, r^2 f, r^3 f */
        {8, 8, {0, 2, 2, 1, 2, 0, 1, 2}},
    };
    equinv_context *const ctx = context_new();
    for (size_t row = 0; row < sizeof rows / sizeof *rows; row++) {
        equinv_conv_desc d = EQUINV_CONV_DESC_INIT;
        d.group = equinv_dihedral(4);
        d.batch = d.fields_in = d.fields_out = 1;
        d.height = rows[row].height, d.width = rows[row].width;
        d.stride = 2, d.padding = 1;
        equinv_plan *const plan = conv_plan(ctx, &d, NULL);
        for (int32_t g = 0; g < 8; g++) {
            equinv_exactness e;
            char element[32];
            OK(equinv_plan_exactness(plan, g, &e));
            ck_assert_int_eq(e.axis, rows[row].axis[g]);
            ck_assert_int_eq(e.exact, rows[row].axis[g] == EQUINV_AXIS_NONE);
            ck_assert_int_eq(e.element, e.exact ? -1 : g);
            if (e.exact) {
                ck_assert_str_eq(e.text, "exact");
                continue;
            }
            snprintf(element, sizeof element, "element %d", (int)g);
            ck_assert_ptr_nonnull(strstr(e.text, element));
            ck_assert_ptr_nonnull(strstr(e.text, e.axis == EQUINV_AXIS_WIDTH ? "width" : "height"));
            ck_assert_ptr_nonnull(strstr(e.text, "mod stride is 1"));
        }
        equinv_exactness e;
        FAILS(EQUINV_ERR_ARG, "plan", equinv_plan_exactness(NULL, 0, &e));
        FAILS(EQUINV_ERR_ARG, "exactness", equinv_plan_exactness(plan, 0, NULL));
        FAILS(EQUINV_ERR_ARG, "element is 8", equinv_plan_exactness(plan, 8, &e));
        FAILS(EQUINV_ERR_ARG, "element is -2", equinv_plan_exactness(plan, -2, &e));
        equinv_plan_destroy(plan);
    }
    equinv_context_destroy(ctx);
}
END_TEST

/* A transposed one breaks by its output_padding alone, whatever the size. */
START_TEST(exactness_of_transposed_plans)
{
    equinv_context *const ctx = context_new();
    for (int64_t padding = 0; padding < 3; padding++)
        for (int64_t size = 4; size < 8; size++) {
            equinv_conv_desc d = EQUINV_CONV_DESC_INIT;
            equinv_exactness e;
            d.group = equinv_dihedral(4);
            d.batch = d.fields_in = d.fields_out = 1;
            d.height = size, d.width = 2 * size;
            d.stride = 3, d.output_padding = padding, d.transposed = true;
            equinv_plan *const plan = conv_plan(ctx, &d, NULL);
            for (int32_t g = 0; g < 8; g++) {
                OK(equinv_plan_exactness(plan, g, &e));
                ck_assert_int_eq(e.exact, padding == 0 || g == 0 || g == 5); /* e, the transpose */
                ck_assert(e.exact || strstr(e.text, "output_padding"));
            }
            equinv_plan_destroy(plan);
        }
    equinv_context_destroy(ctx);
}
END_TEST

/* ---- linear algebra ------------------------------------------------------------------------------ */

static void combine(const equinv_tensor *x, double a, const equinv_tensor *y, double b,
                    const equinv_tensor *to)
{
    for (int64_t i = 0; i < equinv_tensor_count(x); i++)
        tensor_set(to, i, a * tensor_get(x, i) + b * tensor_get(y, i));
}

START_TEST(linear_in_src_and_in_psi)
{
    equinv_context *const ctx = context_new();
    int64_t fourier = 0;
    FOR_RANDOM
    {
        rng r = {seed};
        equinv_conv_desc d = random_problem(&r, arithmetic[_i].dtype, impl);
        if (!conv_takes(ctx, &d))
            continue;
        d.bias = false;
        conv_case c = conv_case_new(ctx, &r, &d);
        count_fourier(&c, &fourier);
        for (int which = 0; which < 2; which++) {
            const equinv_tensor *const x = which ? &c.psi : &c.src;
            equinv_tensor y = tensor_like(ctx, x), both = tensor_like(ctx, x);
            equinv_tensor dst[3];
            tensor_fill_random(&r, &y);
            combine(x, 2.0, &y, -3.0, &both);
            const equinv_tensor *const inputs[] = {x, &y, &both};
            for (int i = 0; i < 3; i++) {
                dst[i] = tensor_like(ctx, &c.dst);
                OK(equinv_conv_forward(c.plan, which ? &c.src : inputs[i],
                                       which ? inputs[i] : &c.psi, NULL, &dst[i], NULL, 0));
            }
            combine(&dst[0], 2.0, &dst[1], -3.0, &c.dst);
            ck_assert_msg(tensor_error(&dst[2], &c.dst, NULL) < arithmetic[_i].linear,
                          "seed %llu %s: %s", (unsigned long long)seed, d.impl, conv_text(&d));
            for (int i = 0; i < 3; i++)
                equinv_tensor_destroy(ctx, &dst[i]);
            equinv_tensor_destroy(ctx, &y), equinv_tensor_destroy(ctx, &both);
        }
        conv_case_free(ctx, &c);
    }
    ASSERT_FOURIER(fourier);
    equinv_context_destroy(ctx);
}
END_TEST

/* <conv(x, psi), y> = <x, backward_data(y)> = <psi, backward_weights(x, y)> */
START_TEST(backward_passes_are_adjoints)
{
    equinv_context *const ctx = context_new();
    int64_t fourier = 0;
    FOR_RANDOM
    {
        rng r = {seed};
        equinv_conv_desc d = random_problem(&r, arithmetic[_i].dtype, impl);
        if (!conv_takes(ctx, &d))
            continue;
        d.bias = true;
        conv_case c = conv_case_new(ctx, &r, &d);
        count_fourier(&c, &fourier);
        for (int64_t i = 0; i < d.fields_out; i++)
            tensor_set(&c.bias, i, 0);
        conv_run(&c, c.plan);
        const double product = tensor_dot(&c.dst, &c.diff_dst);
        const double scale =
            sqrt(tensor_dot(&c.dst, &c.dst) * tensor_dot(&c.diff_dst, &c.diff_dst)) + 1e-300;
        ASSERT_RELATIVE(product, tensor_dot(&c.src, &c.diff_src), scale, arithmetic[_i].adjoint);
        ASSERT_RELATIVE(product, tensor_dot(&c.psi, &c.diff_psi), scale, arithmetic[_i].adjoint);
        /* The bias alone: <bias on every pixel, y> = <bias, diff_bias>. */
        tensor_fill_random(&r, &c.bias);
        equinv_tensor with = tensor_like(ctx, &c.dst);
        OK(equinv_conv_forward(c.plan, &c.src, &c.psi, &c.bias, &with, NULL, 0));
        ASSERT_RELATIVE(tensor_dot(&with, &c.diff_dst) - product, tensor_dot(&c.bias, &c.diff_bias),
                        scale + tensor_dot(&c.diff_dst, &c.diff_dst), arithmetic[_i].adjoint);
        equinv_tensor_destroy(ctx, &with);
        conv_case_free(ctx, &c);
    }
    ASSERT_FOURIER(fourier);
    equinv_context_destroy(ctx);
}
END_TEST

/* d <conv, y> / d parameter by central differences, for some entries of src, psi and bias. */
START_TEST(gradients_by_finite_differences)
{
    equinv_context *const ctx = context_new();
    FOR_RANDOM
    {
        rng r = {seed};
        equinv_conv_desc d = random_problem(&r, EQUINV_F64, impl);
        if (!conv_takes(ctx, &d))
            continue;
        d.bias = true;
        d.batch = 1;
        conv_case c = conv_case_new(ctx, &r, &d);
        conv_run(&c, c.plan);
        equinv_tensor dst = tensor_like(ctx, &c.dst);
        const equinv_tensor *const inputs[] = {&c.src, &c.psi, &c.bias};
        const equinv_tensor *const gradients[] = {&c.diff_src, &c.diff_psi, &c.diff_bias};
        for (int which = 0; which < 3; which++)
            for (int entry = 0; entry < 2; entry++) {
                const int64_t at = rng_range(&r, 0, equinv_tensor_count(inputs[which]) - 1);
                const double value = tensor_get(inputs[which], at), h = 1.0 / 64;
                double loss[2];
                for (int side = 0; side < 2; side++) {
                    tensor_set(inputs[which], at, value + (side ? h : -h));
                    OK(equinv_conv_forward(c.plan, &c.src, &c.psi, &c.bias, &dst, NULL, 0));
                    loss[side] = tensor_dot(&dst, &c.diff_dst);
                }
                tensor_set(inputs[which], at, value);
                ASSERT_RELATIVE(tensor_get(gradients[which], at), (loss[1] - loss[0]) / (2 * h),
                                1 + fabs(loss[0]) + fabs(loss[1]), 1e-12);
            }
        equinv_tensor_destroy(ctx, &dst);
        conv_case_free(ctx, &c);
    }
    equinv_context_destroy(ctx);
}
END_TEST

/* ---- bits ---------------------------------------------------------------------------------------- */

/* Problems of several tiles, bands and parts. */
static const struct {
    equinv_conv_kind kind;
    int64_t batch, in, out, height, width, k, s, p;
    equinv_padding_mode mode;
} large[] = {
    {EQUINV_CONV_REGULAR, 9, 2, 3, 7, 7, 3, 1, 1, EQUINV_PAD_ZEROS},
    {EQUINV_CONV_REGULAR, 3, 1, 2, 14, 15, 5, 1, 2, EQUINV_PAD_ZEROS},
    {EQUINV_CONV_LIFTING, 3, 1, 2, 28, 28, 5, 1, 2, EQUINV_PAD_ZEROS},
    {EQUINV_CONV_REGULAR, 2, 1, 1, 61, 50, 3, 2, 1, EQUINV_PAD_ZEROS},
    {EQUINV_CONV_REGULAR, 6, 3, 2, 6, 5, 3, 2, 4, EQUINV_PAD_CIRCULAR},
    {EQUINV_CONV_TO_PLANE, 40, 3, 5, 5, 5, 5, 1, 0, EQUINV_PAD_ZEROS},
    {EQUINV_CONV_LIFTING, 12, 1, 1, 28, 28, 3, 1, 1, EQUINV_PAD_ZEROS}, /* PARTS parts */
    {EQUINV_CONV_REGULAR, 24, 2, 4, 14, 14, 5, 1, 2, EQUINV_PAD_ZEROS}, /* worth several threads */
    {EQUINV_CONV_REGULAR, 16, 9, 4, 14, 13, 3, 1, 1, EQUINV_PAD_ZEROS}, /* images abreast, .. */
    {EQUINV_CONV_REGULAR, 32, 7, 2, 11, 13, 5, 2, 2, EQUINV_PAD_ZEROS}, /* .. with a stride too */
    {EQUINV_CONV_LIFTING, 3, 2, 9, 40, 64, 5, 1, 2, EQUINV_PAD_ZEROS},  /* data tap by tap, bands */
    {EQUINV_CONV_LIFTING, 2, 1, 5, 1, 2, 1, 1, 0, EQUINV_PAD_ZEROS},    /* .. few rows */
    {EQUINV_CONV_LIFTING, 2, 1, 9, 41, 37, 5, 2, 2, EQUINV_PAD_ZEROS},  /* .. and a stride */
};
enum { LARGE = sizeof large / sizeof *large, WINDOW = 5 }; /* the row whose images are one */

static equinv_conv_desc large_desc(int row, equinv_dtype dtype, const char *impl)
{
    equinv_conv_desc d = EQUINV_CONV_DESC_INIT;
    d.kind = large[row].kind;
    d.dtype = dtype;
    d.batch = large[row].batch;
    d.fields_in = large[row].in, d.fields_out = large[row].out;
    d.height = large[row].height, d.width = large[row].width;
    d.kernel = large[row].k, d.stride = large[row].s, d.padding = large[row].p;
    d.padding_mode = large[row].mode;
    d.bias = true;
    d.impl = impl;
    return d;
}

START_TEST(a_sample_does_not_feel_its_batch)
{
    equinv_context *const ctx = context_new();
    for (int impl = 0; conv_impl(impl); impl++)
        for (int dtype = 0; dtype < 2; dtype++) {
            rng r = {(uint64_t)_i};
            equinv_conv_desc d = large_desc(_i, dtype ? EQUINV_F32 : EQUINV_F64, conv_impl(impl));
            if (!conv_takes(ctx, &d))
                continue;
            conv_case c = conv_case_new(ctx, &r, &d);
            conv_run(&c, c.plan);
            for (int64_t first = 0; first < d.batch; first += 2 + d.batch / 4)
                for (int64_t count = 1; first + count <= d.batch; count = 2 * count + 1) {
                    equinv_tensor src, dst, diff_dst, diff_src;
                    OK(equinv_tensor_rows(&c.src, first, count, &src));
                    OK(equinv_tensor_rows(&c.dst, first, count, &dst));
                    OK(equinv_tensor_rows(&c.diff_dst, first, count, &diff_dst));
                    OK(equinv_tensor_rows(&c.diff_src, first, count, &diff_src));
                    d.batch = count;
                    equinv_plan *const plan = conv_plan(ctx, &d, d.impl);
                    d.batch = c.desc.batch;
                    equinv_tensor some = tensor_like(ctx, &dst), back = tensor_like(ctx, &src);
                    OK(equinv_conv_forward(plan, &src, &c.psi, &c.bias, &some, NULL, 0));
                    OK(equinv_conv_backward_data(plan, &diff_dst, &c.psi, &back, NULL, 0));
                    ASSERT_SAME(&some, &dst);
                    ASSERT_SAME(&back, &diff_src);
                    equinv_tensor_destroy(ctx, &some), equinv_tensor_destroy(ctx, &back);
                    equinv_plan_destroy(plan);
                }
            conv_case_free(ctx, &c);
        }
    equinv_context_destroy(ctx);
}
END_TEST

/* Runs the tasks backwards in the calling thread. */
static void run_backwards(void *user, int64_t count, equinv_task task, void *arg)
{
    (void)user;
    for (int64_t i = count - 1; i >= 0; i--)
        task(arg, i);
}

START_TEST(threads_and_their_order_do_not_change_a_bit)
{
    for (int impl = 0; conv_impl(impl); impl++) {
        if (strcmp(conv_impl(impl), "ref") == 0)
            continue; /* serial */
        conv_case first = {0};
        equinv_context *first_ctx = NULL;
        for (int threads = 1; threads <= 4; threads += 1 + (threads > 1))
            for (int own = 0; own < 2; own++) {
                equinv_context_desc desc = EQUINV_CONTEXT_DESC_INIT;
                desc.threads = threads;
                desc.parallel_for = own ? run_backwards : NULL;
                equinv_context *ctx = NULL;
                OK(equinv_context_create(&desc, &ctx));
                rng r = {(uint64_t)_i};
                const equinv_conv_desc d = large_desc(_i, EQUINV_F32, conv_impl(impl));
                if (!conv_takes(ctx, &d)) {
                    equinv_context_destroy(ctx);
                    continue;
                }
                conv_case c = conv_case_new(ctx, &r, &d);
                conv_run(&c, c.plan);
                if (!first_ctx) {
                    first = c;
                    first_ctx = ctx;
                    continue;
                }
                ASSERT_SAME(&c.dst, &first.dst);
                ASSERT_SAME(&c.diff_src, &first.diff_src);
                ASSERT_SAME(&c.diff_psi, &first.diff_psi);
                ASSERT_SAME(&c.diff_bias, &first.diff_bias);
                conv_case_free(ctx, &c);
                equinv_context_destroy(ctx);
            }
        conv_case_free(first_ctx, &first);
        equinv_context_destroy(first_ctx);
    }
}
END_TEST

/* Other samples keep their bits; the poisoned one is not a number exactly where its windows see it. */
START_TEST(not_a_number_stays_in_its_sample)
{
    static const double poison[] = {(double)NAN, (double)INFINITY, -(double)INFINITY};
    equinv_context *const ctx = context_new();
    for (int impl = 0; conv_impl(impl); impl++)
        for (int p = 0; p < 3; p++) {
            rng r = {(uint64_t)_i};
            const equinv_conv_desc d = large_desc(_i, p ? EQUINV_F32 : EQUINV_F64, conv_impl(impl));
            if (!conv_takes(ctx, &d))
                continue;
            conv_case c = conv_case_new(ctx, &r, &d);
            conv_run(&c, c.plan);
            equinv_tensor dst = tensor_like(ctx, &c.dst), diff_src = tensor_like(ctx, &c.diff_src);
            const int64_t in = equinv_tensor_count(&c.src) / d.batch;
            const int64_t out = equinv_tensor_count(&c.dst) / d.batch;
            const int64_t pixel = d.height / 2 * d.width + d.width / 2;
            tensor_set(&c.src, in + pixel, poison[p]);
            tensor_set(&c.diff_dst, out, poison[p]);
            OK(equinv_conv_forward(c.plan, &c.src, &c.psi, &c.bias, &dst, NULL, 0));
            OK(equinv_conv_backward_data(c.plan, &c.diff_dst, &c.psi, &diff_src, NULL, 0));
            int64_t touched = 0, touched_back = 0;
            for (int64_t at = 0; at < out * d.batch; at++) {
                const bool same = tensor_get(&dst, at) == tensor_get(&c.dst, at);
                ck_assert_msg(same || (at >= out && at < 2 * out),
                              "%s: dst[%lld] of another sample", d.impl, (long long)at);
                ck_assert(same || !isfinite(tensor_get(&dst, at)));
                touched += !same;
            }
            for (int64_t at = 0; at < in * d.batch; at++) {
                const bool same = tensor_get(&diff_src, at) == tensor_get(&c.diff_src, at);
                ck_assert_msg(same || (at >= in && at < 2 * in),
                              "%s: diff_src[%lld] of another sample", d.impl, (long long)at);
                touched_back += !same;
            }
            ck_assert(touched > 0 && touched_back > 0);
            equinv_tensor_destroy(ctx, &dst), equinv_tensor_destroy(ctx, &diff_src);
            conv_case_free(ctx, &c);
        }
    equinv_context_destroy(ctx);
}
END_TEST

/* ---- threads of the caller ----------------------------------------------------------------------- */

typedef struct caller {
    const conv_case *c;
    const equinv_plan *plan;
    equinv_tensor dst, diff_src, diff_psi, diff_bias;
    void *scratch;
    size_t scratch_size;
    equinv_status status;
} caller;

static void *call(void *arg)
{
    caller *const a = arg;
    for (int i = 0; i < 3 && a->status == EQUINV_OK; i++) {
        a->status = equinv_conv_forward(a->plan, &a->c->src, &a->c->psi, &a->c->bias, &a->dst,
                                        a->scratch, a->scratch_size);
        if (a->status == EQUINV_OK)
            a->status = equinv_conv_backward_data(a->plan, &a->c->diff_dst, &a->c->psi,
                                                  &a->diff_src, a->scratch, a->scratch_size);
        if (a->status == EQUINV_OK)
            a->status =
                equinv_conv_backward_weights(a->plan, &a->c->src, &a->c->diff_dst, &a->diff_psi,
                                             &a->diff_bias, a->scratch, a->scratch_size);
    }
    return NULL;
}

START_TEST(many_threads_run_one_plan_with_scratch_of_their_own)
{
    enum { CALLERS = 4 };
    equinv_context *const ctx = context_new();
    for (int impl = 0; conv_impl(impl); impl++) {
        rng r = {1};
        const char *const name = conv_impl(impl);
        const int row = strcmp(name, "ref") == 0      ? 0
                        : strcmp(name, "window") == 0 ? WINDOW
                                                      : LARGE - 1;
        const equinv_conv_desc d = large_desc(row, EQUINV_F32, name);
        conv_case c = conv_case_new(ctx, &r, &d);
        conv_run(&c, c.plan);
        caller callers[CALLERS];
        pthread_t threads[CALLERS];
        for (int i = 0; i < CALLERS; i++) {
            caller *const a = &callers[i];
            *a = (caller){.c = &c, .plan = c.plan};
            a->dst = tensor_like(ctx, &c.dst);
            a->diff_src = tensor_like(ctx, &c.diff_src);
            a->diff_psi = tensor_like(ctx, &c.diff_psi);
            a->diff_bias = tensor_like(ctx, &c.diff_bias);
            a->scratch_size = (equinv_plan_scratch_size(c.plan) + 127) / 64 * 64;
            a->scratch = aligned_alloc(64, a->scratch_size);
            ck_assert_int_eq(pthread_create(&threads[i], NULL, call, a), 0);
        }
        for (int i = 0; i < CALLERS; i++) {
            caller *const a = &callers[i];
            pthread_join(threads[i], NULL);
            ck_assert_int_eq(a->status, EQUINV_OK);
            ASSERT_SAME(&a->dst, &c.dst);
            ASSERT_SAME(&a->diff_src, &c.diff_src);
            ASSERT_SAME(&a->diff_psi, &c.diff_psi);
            ASSERT_SAME(&a->diff_bias, &c.diff_bias);
            equinv_tensor_destroy(ctx, &a->dst), equinv_tensor_destroy(ctx, &a->diff_src);
            equinv_tensor_destroy(ctx, &a->diff_psi), equinv_tensor_destroy(ctx, &a->diff_bias);
            free(a->scratch);
        }
        conv_case_free(ctx, &c);
    }
    equinv_context_destroy(ctx);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {equivariant_exactly_where_the_plan_says_so, ARITHMETICS},
        {exactness_names_element_and_axis, 1},
        {exactness_of_transposed_plans, 1},
        {linear_in_src_and_in_psi, ARITHMETICS},
        {backward_passes_are_adjoints, ARITHMETICS},
        {gradients_by_finite_differences, 1},
        {a_sample_does_not_feel_its_batch, LARGE},
        {threads_and_their_order_do_not_change_a_bit, LARGE},
        {not_a_number_stays_in_its_sample, LARGE},
        {many_threads_run_one_plan_with_scratch_of_their_own, 1},
    };
    return run_tests("conv_properties", tests, sizeof tests / sizeof *tests);
}
