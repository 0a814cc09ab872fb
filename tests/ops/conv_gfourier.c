/* The Fourier form of the convolution: random problems of the kinds that it takes, on every level. */
#include "tests/util/conv.h"

enum { SHAPES = 240 };

/* Every group; fields and sizes around the edges of tiles, vectors and bands. */
static equinv_conv_desc random_problem(rng *r)
{
    equinv_conv_desc d = conv_random_desc(r, EQUINV_F32);
    d.group = grid_groups[rng_range(r, 0, 5)];
    d.channel_groups = 1;
    if (rng_range(r, 0, 1)) {
        d.fields_in = rng_range(r, 1, 9);
        d.fields_out = rng_range(r, 1, 9);
        d.height += rng_range(r, 0, 9);
        d.width += rng_range(r, 0, 9);
        d.dilation = d.transposed ? d.dilation : 1;
        d.batch += rng_range(r, 0, 6);
    }
    d.impl = "gfourier";
    return d;
}

#define CLOSE(a, b, tolerance)                                                                     \
    do {                                                                                           \
        const double error_ = tensor_error((a), (b), NULL);                                        \
        ck_assert_msg(error_ <= (tolerance), "%s differs by %g (seed %llu: %s)", #a, error_,       \
                      (unsigned long long)seed, conv_text(&d));                                    \
    } while (0)

/* One thread: small images are taken together where that leaves work for all threads. */
START_TEST(is_the_dense_convolution)
{
    equinv_context *const ctx = context_of_level(_i, 1);
    for (uint64_t seed = 0; ctx && seed < share_of(SHAPES); seed++) {
        rng r = {seed};
        const equinv_conv_desc d = random_problem(&r);
        conv_assert_dense(ctx, &r, &d, 5e-6);
    }
    equinv_context_destroy(ctx);
}
END_TEST

/* Several chunks of fields and bands of rows: the sizes that single tiles do not reach. */
START_TEST(larger_than_a_tile)
{
    static const struct {
        equinv_conv_kind kind;
        int group;
        int64_t batch, in, out, height, width, k, s;
    } table[] = {
        {0, 2, 1, 40, 3, 6, 30, 5, 1},
        {0, 5, 1, 20, 2, 20, 21, 5, 1},
        {0, 4, 2, 3, 20, 40, 33, 3, 1},
        {0, 1, 1, 70, 9, 17, 16, 3, 2},
        {0, 3, 1, 2, 2, 100, 90, 7, 1},
        {0, 5, 1, 9, 9, 15, 16, 1, 1},
        {0, 2, 1, 3, 2, 60, 50, 4, 3},
        {EQUINV_CONV_LIFTING, 5, 2, 3, 5, 40, 35, 7, 1},
        {EQUINV_CONV_LIFTING, 2, 1, 1, 9, 28, 28, 7, 2},
        {EQUINV_CONV_TO_PLANE, 5, 2, 20, 3, 33, 40, 5, 1},
        {EQUINV_CONV_TO_PLANE, 3, 1, 5, 9, 28, 28, 4, 2},
    };
    equinv_context *const ctx = context_new();
    for (uint64_t seed = 0; seed < sizeof table / sizeof *table; seed++) {
        rng r = {seed};
        equinv_conv_desc d = EQUINV_CONV_DESC_INIT;
        d.kind = table[seed].kind;
        d.group = grid_groups[table[seed].group];
        d.batch = table[seed].batch;
        d.fields_in = table[seed].in, d.fields_out = table[seed].out;
        d.height = table[seed].height, d.width = table[seed].width;
        d.kernel = table[seed].k, d.stride = table[seed].s;
        d.padding = (d.kernel - 1) / 2;
        d.bias = true;
        d.impl = "gfourier";
        conv_assert_ref(ctx, &r, &d);
    }
    equinv_context_destroy(ctx);
}
END_TEST

/* Backward data with a stride: classes of pixels with all of the taps, some, or none; up to 4, and beyond. */
START_TEST(strides_of_backward_data)
{
    equinv_context *const ctx = context_of_level(_i, 1);
    rng r = {1};
    for (uint64_t seed = 0; ctx && seed < share_of(3 * 6 * 4 * 3); seed++) {
        equinv_conv_desc d = EQUINV_CONV_DESC_INIT;
        d.kind = (equinv_conv_kind)(seed % 3);
        d.group = grid_groups[seed / 3 % 6];
        d.stride = 2 + (int64_t)(seed / 18 % 4);
        d.dilation = 1 + (int64_t)(seed / 72);
        d.kernel = rng_range(&r, 1, 5);
        d.padding = rng_range(&r, 0, d.kernel);
        d.batch = rng_range(&r, 1, 3);
        d.fields_in = rng_range(&r, 1, 6), d.fields_out = rng_range(&r, 1, 10);
        d.height = d.dilation * (d.kernel - 1) + rng_range(&r, 1, 20);
        d.width = d.dilation * (d.kernel - 1) + rng_range(&r, 1, 40);
        d.accumulate = rng_range(&r, 0, 1);
        d.impl = "gfourier";
        conv_case c = conv_case_new(ctx, &r, &d);
        conv_truth t = conv_dense(ctx, &c);
        conv_run(&c, c.plan);
        CLOSE(&c.diff_src, &t.diff_src, 2e-6);
        conv_truth_free(ctx, &t);
        conv_case_free(ctx, &c);
    }
    equinv_context_destroy(ctx);
}
END_TEST

/*
 * Small images in whole vectors of every level. Each sample has the bits that it has by itself, in strides of its own
 * too; 8 x 8 pixels of 16 planes are images that stand a multiple of 4 KiB apart.
 */
START_TEST(many_small_images)
{
    equinv_context *const ctx = context_of_level(_i, 1);
    for (uint64_t seed = 0; ctx && seed < share_of(36); seed++) {
        rng r = {seed};
        equinv_conv_desc d = EQUINV_CONV_DESC_INIT;
        const bool apart = seed % 9 == 8;
        d.kind = (equinv_conv_kind)(seed % 3);
        d.group = grid_groups[apart ? 5 : seed / 3 % 6];
        d.stride = 1 + (int64_t)(seed % 4 / 2) * (int64_t)(seed % 5 / 2);
        d.dilation = rng_range(&r, 1, 2);
        d.kernel = rng_range(&r, 1, 4);
        d.padding = rng_range(&r, 0, d.kernel);
        d.batch = seed % 12 ? 16 : 32;
        d.fields_in = apart ? 2 : rng_range(&r, 1, 5),
        d.fields_out = apart ? 2 : rng_range(&r, 1, 9);
        d.height = apart ? 8 : d.dilation * (d.kernel - 1) + rng_range(&r, 1, 6);
        d.width = apart ? 8 : d.dilation * (d.kernel - 1) + rng_range(&r, 1, 9);
        d.accumulate = rng_range(&r, 0, 1), d.bias = rng_range(&r, 0, 1);
        d.impl = "gfourier";
        conv_case c = conv_case_new(ctx, &r, &d);
        conv_truth t = conv_dense(ctx, &c);
        conv_run(&c, c.plan);
        CLOSE(&c.dst, &t.dst, 2e-6);
        CLOSE(&c.diff_src, &t.diff_src, 2e-6);
        CLOSE(&c.diff_psi, &t.diff_psi, 3e-6);
        if (d.bias)
            CLOSE(&c.diff_bias, &t.diff_bias, 5e-6);
        conv_truth_free(ctx, &t);
        if (!d.accumulate) {
            equinv_conv_desc one = d;
            one.batch = 1;
            equinv_plan *const plan = conv_plan(ctx, &one, "gfourier");
            for (int64_t n = 0; n < d.batch; n += 7) {
                equinv_tensor src, dst, diff_dst, diff_src;
                OK(equinv_tensor_rows(&c.src, n, 1, &src));
                OK(equinv_tensor_rows(&c.dst, n, 1, &dst));
                OK(equinv_tensor_rows(&c.diff_dst, n, 1, &diff_dst));
                OK(equinv_tensor_rows(&c.diff_src, n, 1, &diff_src));
                equinv_tensor some = tensor_like(ctx, &dst), back = tensor_like(ctx, &src);
                OK(equinv_conv_forward(plan, &src, &c.psi, d.bias ? &c.bias : NULL, &some, NULL,
                                       0));
                OK(equinv_conv_backward_data(plan, &diff_dst, &c.psi, &back, NULL, 0));
                ASSERT_SAME(&some, &dst);
                ASSERT_SAME(&back, &diff_src);
                equinv_tensor_destroy(ctx, &some), equinv_tensor_destroy(ctx, &back);
            }
            equinv_plan_destroy(plan);
        }
        conv_case_free(ctx, &c);
        conv_assert_same_bits(ctx, &r, d);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(backward_passes_are_adjoints)
{
    conv_check(SHAPES, random_problem, conv_assert_adjoints);
}
END_TEST

START_TEST(packing_and_strides_do_not_change_a_bit)
{
    conv_check(SHAPES, random_problem, conv_assert_same_bits);
}
END_TEST

START_TEST(says_why_it_declines)
{
    equinv_context *const ctx = context_new();
    equinv_conv_desc good = EQUINV_CONV_DESC_INIT;
    good.batch = 1, good.fields_in = good.fields_out = 2, good.height = good.width = 5;
    good.impl = "gfourier";
    ck_assert(conv_takes(ctx, &good));
#define DECLINED(...) CONV_DECLINES(ctx, good, __VA_ARGS__)
    DECLINED("f32", d.dtype = EQUINV_F64);
    DECLINED("no gain", d.group = equinv_cyclic(1), d.fields_in = d.fields_out = 32);
    DECLINED("channel group", d.channel_groups = 2);
    DECLINED("up to 16", d.kernel = 17, d.height = d.width = 20);
    equinv_context_destroy(ctx);
}
END_TEST

static void collect(void *user, equinv_log_level level, const char *text)
{
    char *const all = user;
    if (level == EQUINV_LOG_DISPATCH)
        snprintf(all + strlen(all), 1024 - strlen(all), "%s\n", text);
}

/* What EQUINV_VERBOSE=dispatch shows: every refusal with its reason, then the choice. */
START_TEST(dispatch_names_each_refusal)
{
    char all[1024];
    equinv_context_desc desc = EQUINV_CONTEXT_DESC_INIT;
    equinv_context *ctx;
    desc.log = collect, desc.log_user = all;
    OK(equinv_context_create(&desc, &ctx));
    equinv_conv_desc good = EQUINV_CONV_DESC_INIT;
    good.batch = 1, good.fields_in = good.fields_out = 2, good.height = good.width = 5;
#define DISPATCH(expected, ...)                                                                    \
    do {                                                                                           \
        equinv_conv_desc d = good;                                                                 \
        equinv_plan *plan = NULL;                                                                  \
        __VA_ARGS__;                                                                               \
        all[0] = '\0';                                                                             \
        OK(equinv_conv_plan_create(ctx, &d, &plan));                                               \
        ck_assert_str_eq(all, expected);                                                           \
        equinv_plan_destroy(plan);                                                                 \
    } while (0)
#define NO_WINDOW "conv/window: declined, images that are one window only\n"
    DISPATCH(NO_WINDOW "conv/gfourier: chosen\n", d.height = d.width = 14);
    DISPATCH(NO_WINDOW
             "conv/gfourier: declined, so little to save that the plain product is faster\n"
             "conv/gemm: chosen\n",
             d.stride = 2);
    for (int64_t batch = 1; batch < 5000; batch *= 70) /* a sample's bits must not depend on it */
        DISPATCH(NO_WINDOW
                 "conv/gfourier: declined, so little to save that the plain product is faster\n"
                 "conv/gemm: chosen\n",
                 d.stride = 2, d.batch = batch);
    DISPATCH("conv/window: declined, f32 only\n"
             "conv/gfourier: declined, f32 only\nconv/gemm: chosen\n",
             d.dtype = EQUINV_F64);
    DISPATCH(NO_WINDOW "conv/gfourier: declined, C1, many fields, small images: no gain\n"
                       "conv/gemm: chosen\n",
             d.group = equinv_cyclic(1), d.fields_in = d.fields_out = 32);
    DISPATCH(NO_WINDOW "conv/gfourier: declined, one channel group only\nconv/gemm: chosen\n",
             d.channel_groups = 2);
    DISPATCH(NO_WINDOW "conv/gfourier: declined, kernels up to 16 only\nconv/gemm: chosen\n",
             d.kernel = 17, d.height = d.width = 20);
    DISPATCH(NO_WINDOW
             "conv/gfourier: declined, a tile of patches and the bank need more than 1 GiB\n"
             "conv/gemm: declined, a tile of patches and the bank need more than 1 GiB\n"
             "conv/ref: chosen\n",
             d.batch = 0, d.height = d.width = INT64_C(1) << 40);
    DISPATCH("conv/window: chosen\n", d.height = d.width = d.kernel);
    DISPATCH("conv/window: declined, one channel group only\n"
             "conv/gfourier: declined, one channel group only\nconv/gemm: chosen\n",
             d.height = d.width = d.kernel, d.channel_groups = 2);
    DISPATCH("conv/window: declined, a dense filter of up to 16 MiB only\nconv/gfourier: chosen\n",
             d.height = d.width = d.kernel, d.fields_in = d.fields_out = 600);
    DISPATCH("conv/ref: chosen by name\n", d.impl = "ref");
    equinv_context_destroy(ctx);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {is_the_dense_convolution, TEST_LEVELS},
        {larger_than_a_tile, 1},
        {strides_of_backward_data, TEST_LEVELS},
        {many_small_images, TEST_LEVELS},
        {backward_passes_are_adjoints, 1},
        {packing_and_strides_do_not_change_a_bit, 1},
        {says_why_it_declines, 1},
        {dispatch_names_each_refusal, 1},
    };
    return run_tests("conv_gfourier", tests, sizeof tests / sizeof *tests);
}
