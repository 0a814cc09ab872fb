/* Layouts of maps: which of them a convolution takes row by row, and channels last in every pass. */
#include "tests/util/conv.h"

/* A copy with the fields fastest: memory [N, H, W, G, F]. */
static equinv_tensor channels_last(equinv_context *ctx, const equinv_tensor *t)
{
    static const int order[5] = {1, 2, 4, 3, 0}; /* fastest first */
    equinv_tensor view = tensor_like(ctx, t);
    int64_t stride = 1;
    for (int i = 0; i < 5; i++) {
        view.strides[order[i]] = stride;
        stride *= t->shape[order[i]];
    }
    for (int64_t i = 0; i < equinv_tensor_count(t); i++)
        tensor_set(&view, i, tensor_get(t, i));
    return view;
}

/* ---- results ----------------------------------------------------------------------------------- */

static const struct {
    equinv_conv_kind kind;
    int group;
    int64_t batch, in, out, height, width, k, s;
    bool transposed;
} table[] = {
    {EQUINV_CONV_REGULAR, 5, 3, 4, 5, 14, 15, 3, 1, false},
    {EQUINV_CONV_REGULAR, 2, 9, 3, 6, 7, 7, 5, 1, false},
    {EQUINV_CONV_REGULAR, 4, 2, 5, 4, 21, 20, 3, 2, false},
    {EQUINV_CONV_REGULAR, 1, 1, 3, 2, 33, 60, 4, 1, false},
    {EQUINV_CONV_REGULAR, 5, 2, 3, 2, 6, 7, 3, 1, true},
    {EQUINV_CONV_REGULAR, 2, 2, 2, 3, 6, 7, 3, 2, true},
    {EQUINV_CONV_LIFTING, 5, 3, 3, 8, 28, 28, 5, 1, false},
    {EQUINV_CONV_TO_PLANE, 3, 4, 6, 5, 13, 12, 3, 1, false},
};
enum { ROWS = sizeof table / sizeof *table };

static equinv_conv_desc desc_of(int row)
{
    equinv_conv_desc d = EQUINV_CONV_DESC_INIT;
    d.kind = table[row].kind;
    d.group = grid_groups[table[row].group];
    d.batch = table[row].batch;
    d.fields_in = table[row].in, d.fields_out = table[row].out;
    d.height = table[row].height, d.width = table[row].width;
    d.kernel = table[row].k, d.stride = table[row].s, d.padding = (d.kernel - 1) / 2;
    d.transposed = table[row].transposed;
    d.bias = true;
    return d;
}

/* All passes on maps with channels last against the reference on row-major ones. */
START_TEST(channels_last_in_every_pass)
{
    static const char *const impls[] = {"gfourier", "gemm"};
    equinv_context *const ctx = context_new();
    const equinv_conv_desc d = desc_of(_i);
    conv_case truth = conv_case_new(ctx, &(rng){(uint64_t)_i}, &d);
    equinv_plan *const ref = conv_plan(ctx, &d, "ref");
    conv_run(&truth, ref);
    for (int i = 0; i < 2; i++)
        for (int accumulate = 0; accumulate < 2; accumulate++) {
            equinv_conv_desc own = d;
            own.accumulate = accumulate;
            equinv_plan *const plan = conv_plan(ctx, &own, impls[i]);
            conv_case c = truth;
            equinv_tensor *const maps[] = {&c.src, &c.diff_dst, &c.dst, &c.diff_src};
            for (int j = 0; j < 4; j++) {
                *maps[j] = channels_last(ctx, maps[j]);
                for (int64_t at = 0; j >= 2 && at < equinv_tensor_count(maps[j]); at++)
                    tensor_set(maps[j], at, accumulate ? 0 : 77);
            }
            c.diff_psi = tensor_like(ctx, &truth.diff_psi);
            c.diff_bias = tensor_like(ctx, &truth.diff_bias);
            conv_run(&c, plan);
            ASSERT_CLOSE(&c.dst, &truth.dst, 2e-6);
            ASSERT_CLOSE(&c.diff_src, &truth.diff_src, 2e-6);
            ASSERT_CLOSE(&c.diff_psi, &truth.diff_psi, 5e-6);
            ASSERT_CLOSE(&c.diff_bias, &truth.diff_bias, 5e-6);
            for (int j = 0; j < 4; j++)
                equinv_tensor_destroy(ctx, maps[j]);
            equinv_tensor_destroy(ctx, &c.diff_psi), equinv_tensor_destroy(ctx, &c.diff_bias);
            equinv_plan_destroy(plan);
        }
    equinv_plan_destroy(ref);
    conv_case_free(ctx, &truth);
    equinv_context_destroy(ctx);
}
END_TEST

/* ---- what a plan says -------------------------------------------------------------------------- */

static bool taken(const equinv_plan *plan, const equinv_tensor *t)
{
    bool direct = false;
    OK(equinv_conv_takes(plan, t, &direct));
    return direct;
}

/* Rows of `t` in a wider map: unit stride along W, anything else elsewhere. */
static equinv_tensor widened(const equinv_tensor *t)
{
    equinv_tensor w = *t;
    for (int axis = 0; axis < 4; axis++)
        w.strides[axis] = w.strides[axis] * 2 + 3;
    return w;
}

START_TEST(a_plan_says_what_it_takes)
{
    /* Of src and dst with contiguous rows; no implementation but ref takes channels last. */
    static const struct {
        const char *impl;
        int64_t stride;
        equinv_padding_mode mode;
        bool transposed, src, dst;
    } rows[] = {
        {"gfourier", 1, EQUINV_PAD_ZEROS, false, true, true},
        {"gfourier", 2, EQUINV_PAD_ZEROS, false, true, true},
        {"gfourier", 1, EQUINV_PAD_CIRCULAR, false, false, true},
        {"gfourier", 1, EQUINV_PAD_ZEROS, true, true, true},
        {"gfourier", 2, EQUINV_PAD_ZEROS, true, true, true},
        {"gfourier", 3, EQUINV_PAD_ZEROS, true, true, false},
        {"gemm", 1, EQUINV_PAD_ZEROS, false, true, true},
        {"gemm", 2, EQUINV_PAD_ZEROS, false, true, true},
        {"gemm", 1, EQUINV_PAD_CIRCULAR, false, false, true},
        {"gemm", 1, EQUINV_PAD_ZEROS, true, true, true},
        {"gemm", 2, EQUINV_PAD_ZEROS, true, true, true},
        {"ref", 1, EQUINV_PAD_ZEROS, false, true, true},
        {"ref", 2, EQUINV_PAD_CIRCULAR, false, true, true},
        {"ref", 2, EQUINV_PAD_ZEROS, true, true, true},
    };
    equinv_context *const ctx = context_new();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        equinv_conv_desc d = EQUINV_CONV_DESC_INIT;
        d.batch = 2, d.fields_in = 3, d.fields_out = 4, d.height = 6, d.width = 7;
        d.stride = rows[i].stride, d.padding = 1, d.padding_mode = rows[i].mode;
        d.transposed = rows[i].transposed;
        d.impl = rows[i].impl;
        conv_case c = conv_case_new(ctx, &(rng){1}, &d);
        const bool any = strcmp(d.impl, "ref") == 0;
        const equinv_tensor *const maps[] = {&c.src, &c.dst};
        for (int output = 0; output < 2; output++) {
            equinv_tensor last = channels_last(ctx, maps[output]);
            const equinv_tensor wide = widened(maps[output]);
            const bool expected = output ? rows[i].dst : rows[i].src;
            ck_assert_msg(taken(c.plan, maps[output]) == expected, "row %d", (int)i);
            ck_assert_msg(taken(c.plan, &wide) == expected, "row %d", (int)i);
            ck_assert_msg(taken(c.plan, &last) == any, "row %d", (int)i);
            equinv_tensor_destroy(ctx, &last);
        }
        conv_case_free(ctx, &c);
    }
    equinv_context_destroy(ctx);
}
END_TEST

/* src and dst of one shape: the answer holds for both. */
START_TEST(one_shape_for_both)
{
    equinv_context *const ctx = context_new();
    equinv_conv_desc d = EQUINV_CONV_DESC_INIT;
    d.batch = 1, d.fields_in = d.fields_out = 2, d.height = 5, d.width = 6, d.padding = 1;
    for (int mode = 0; mode < 2; mode++) {
        d.padding_mode = (equinv_padding_mode)mode;
        conv_case c = conv_case_new(ctx, &(rng){1}, &d);
        ck_assert_str_eq(equinv_plan_impl_name(c.plan), "conv/gfourier");
        ck_assert(taken(c.plan, &c.dst) == (mode == EQUINV_PAD_ZEROS));
        conv_case_free(ctx, &c);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(wrong_questions)
{
    equinv_context *const ctx = context_new();
    equinv_conv_desc d = EQUINV_CONV_DESC_INIT;
    d.batch = 1, d.fields_in = 2, d.fields_out = 3, d.height = 5, d.width = 6, d.padding = 1;
    conv_case c = conv_case_new(ctx, &(rng){1}, &d);
    equinv_pool_desc p = EQUINV_POOL_DESC_INIT;
    equinv_plan *pool = NULL;
    p.batch = 1, p.fields = 2, p.elements = 4, p.height = 5, p.width = 6;
    OK(equinv_pool_plan_create(ctx, &p, &pool));
    bool direct = true;
    FAILS(EQUINV_ERR_ARG, "plan is NULL", equinv_conv_takes(NULL, &c.src, &direct));
    FAILS(EQUINV_ERR_ARG, "another operation", equinv_conv_takes(pool, &c.src, &direct));
    FAILS(EQUINV_ERR_ARG, "tensor", equinv_conv_takes(c.plan, NULL, &direct));
    FAILS(EQUINV_ERR_ARG, "direct is NULL", equinv_conv_takes(c.plan, &c.src, NULL));
    FAILS(EQUINV_ERR_SHAPE, "expected that of src or of dst",
          equinv_conv_takes(c.plan, &c.psi, &direct));
    equinv_tensor other = tensor_as(ctx, &c.src, EQUINV_F64);
    FAILS(EQUINV_ERR_DTYPE, "tensor", equinv_conv_takes(c.plan, &other, &direct));
    equinv_tensor elsewhere = c.src;
    elsewhere.device.kind = EQUINV_DEVICE_CUDA;
    FAILS(EQUINV_ERR_DEVICE, "tensor", equinv_conv_takes(c.plan, &elsewhere, &direct));
    ck_assert(direct);
    equinv_tensor_destroy(ctx, &other);
    equinv_plan_destroy(pool);
    conv_case_free(ctx, &c);
    equinv_context_destroy(ctx);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {channels_last_in_every_pass, ROWS},
        {a_plan_says_what_it_takes, 1},
        {one_shape_for_both, 1},
        {wrong_questions, 1},
    };
    return run_tests("conv_layout", tests, sizeof tests / sizeof *tests);
}
