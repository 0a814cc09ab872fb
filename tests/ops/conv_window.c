/* Convolutions of images that are one window: random problems of that kind, on every level. */
#include "tests/util/conv.h"

enum { SHAPES = 120 };

/* Any kind and group; rows around the edges of vectors, tiles and blocks, with few of all or many of one. */
static equinv_conv_desc random_problem(rng *r)
{
    equinv_conv_desc d = conv_random_desc(r, EQUINV_F32);
    const int64_t many = rng_range(r, 0, 3);
    d.group = grid_groups[rng_range(r, 0, 5)];
    d.channel_groups = 1;
    d.padding = d.output_padding = 0;
    d.dilation = 1;
    d.kernel = many == 0 ? rng_range(r, 1, 9) : rng_range(r, 1, 3);
    d.fields_in = many == 1 ? rng_range(r, 1, 20) : rng_range(r, 1, 4);
    d.fields_out = many == 2 ? rng_range(r, 1, 20) : rng_range(r, 1, 3);
    d.batch = many == 3 ? rng_range(r, 0, 40) : rng_range(r, 0, 9);
    d.height = d.width = d.transposed ? 1 : d.kernel;
    d.impl = "window";
    return d;
}

START_TEST(is_the_dense_convolution)
{
    equinv_context *const ctx = context_of_level(_i, 1);
    for (uint64_t seed = 0; ctx && seed < share_of(SHAPES); seed++) {
        rng r = {seed};
        const equinv_conv_desc d = random_problem(&r);
        conv_assert_dense(ctx, &r, &d, 3e-6);
    }
    equinv_context_destroy(ctx);
}
END_TEST

/* Several blocks of samples, of numbers and of outputs: the sizes that the random problems do not reach. */
static const struct {
    equinv_conv_kind kind;
    int group;
    int64_t batch, in, out, k;
} large[] = {
    {EQUINV_CONV_TO_PLANE, 2, 50, 32, 10, 7}, {EQUINV_CONV_TO_PLANE, 5, 1, 5, 3, 16},
    {EQUINV_CONV_REGULAR, 2, 600, 3, 4, 2},   {EQUINV_CONV_REGULAR, 5, 27, 6, 150, 1},
    {EQUINV_CONV_LIFTING, 4, 300, 3, 2, 28},
};
enum { LARGE = sizeof large / sizeof *large };

static equinv_conv_desc large_problem(int row)
{
    equinv_conv_desc d = EQUINV_CONV_DESC_INIT;
    d.kind = large[row].kind;
    d.group = grid_groups[large[row].group];
    d.batch = large[row].batch;
    d.fields_in = large[row].in, d.fields_out = large[row].out;
    d.kernel = d.height = d.width = large[row].k;
    d.bias = true;
    d.impl = "window";
    return d;
}

START_TEST(larger_than_a_block)
{
    equinv_context *const ctx = context_new();
    for (uint64_t seed = 0; seed < LARGE; seed++) {
        const equinv_conv_desc d = large_problem((int)seed);
        conv_assert_ref(ctx, &(rng){seed}, &d);
    }
    equinv_context_destroy(ctx);
}
END_TEST

/* Any number of threads gives the same bits. */
START_TEST(threads_do_not_change_a_bit)
{
    equinv_context *const ctx = context_of_level(_i, 1);
    for (int threads = 2; ctx && threads <= 4; threads++) {
        equinv_context *const many = context_of_level(_i, threads);
        for (int row = 0; row < LARGE; row++) {
            const equinv_conv_desc d = large_problem(row);
            conv_case c = conv_case_new(ctx, &(rng){(uint64_t)row}, &d);
            conv_case other = conv_other_outputs(ctx, &c);
            equinv_plan *const plan = conv_plan(many, &d, "window");
            conv_run(&c, c.plan);
            conv_run(&other, plan);
            ASSERT_SAME(&other.dst, &c.dst);
            ASSERT_SAME(&other.diff_src, &c.diff_src);
            ASSERT_SAME(&other.diff_psi, &c.diff_psi);
            ASSERT_SAME(&other.diff_bias, &c.diff_bias);
            conv_free_outputs(ctx, &other);
            equinv_plan_destroy(plan);
            conv_case_free(ctx, &c);
        }
        equinv_context_destroy(many);
    }
    equinv_context_destroy(ctx);
}
END_TEST

static equinv_tensor samples_of(const equinv_tensor *t, int64_t first, int64_t count)
{
    equinv_tensor part = *t;
    part.data = (float *)t->data + first * t->strides[0];
    part.shape[0] = count;
    return part;
}

/* Nor does the batch that a sample comes in: all at once, and in batches of 1, 2 .. samples. */
START_TEST(batches_do_not_change_a_bit)
{
    equinv_context *const ctx = context_of_level(_i, 1);
    for (uint64_t seed = 0; ctx && seed < share_of(SHAPES); seed++) {
        rng r = {seed};
        equinv_conv_desc d = random_problem(&r);
        d.accumulate = false;
        d.batch = 1 + (int64_t)(seed % 29);
        conv_case c = conv_case_new(ctx, &r, &d);
        conv_case parts = conv_other_outputs(ctx, &c);
        conv_run(&c, c.plan);
        for (int64_t first = 0, count = 1; first < d.batch; first += count, count++) {
            equinv_conv_desc few = d;
            few.batch = count < d.batch - first ? count : d.batch - first;
            equinv_plan *const plan = conv_plan(ctx, &few, "window");
            const equinv_tensor src = samples_of(&c.src, first, few.batch);
            const equinv_tensor diff_dst = samples_of(&c.diff_dst, first, few.batch);
            const equinv_tensor dst = samples_of(&parts.dst, first, few.batch);
            const equinv_tensor diff_src = samples_of(&parts.diff_src, first, few.batch);
            OK(equinv_conv_forward(plan, &src, &c.psi, d.bias ? &c.bias : NULL, &dst, NULL, 0));
            OK(equinv_conv_backward_data(plan, &diff_dst, &c.psi, &diff_src, NULL, 0));
            equinv_plan_destroy(plan);
        }
        ASSERT_SAME(&parts.dst, &c.dst);
        ASSERT_SAME(&parts.diff_src, &c.diff_src);
        conv_free_outputs(ctx, &parts);
        conv_case_free(ctx, &c);
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
    good.batch = 1, good.fields_in = good.fields_out = 2, good.height = good.width = good.kernel;
    good.impl = "window";
    ck_assert(conv_takes(ctx, &good));
    good.stride = 3;
    ck_assert(conv_takes(ctx, &good));
#define DECLINED(...) CONV_DECLINES(ctx, good, __VA_ARGS__)
    DECLINED("f32", d.dtype = EQUINV_F64);
    DECLINED("one window", d.width = 4);
    DECLINED("one window", d.height = 4);
    DECLINED("one window", d.padding = 1);
    DECLINED("one window", d.kernel = 2, d.dilation = 2);
    DECLINED("channel group", d.channel_groups = 2);
    DECLINED("16 MiB", d.fields_in = d.fields_out = 1000);
    equinv_context_destroy(ctx);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {is_the_dense_convolution, TEST_LEVELS},
        {larger_than_a_block, 1},
        {threads_do_not_change_a_bit, TEST_LEVELS},
        {batches_do_not_change_a_bit, TEST_LEVELS},
        {backward_passes_are_adjoints, 1},
        {packing_and_strides_do_not_change_a_bit, 1},
        {says_why_it_declines, 1},
    };
    return run_tests("conv_window", tests, sizeof tests / sizeof *tests);
}
