/* Convolution: every implementation against the dense filter of the definition, and its options. */
#include <math.h>

#include "tests/util/conv.h"

static double tolerance(equinv_dtype dtype)
{
    return dtype == EQUINV_F32 ? 2e-6 : 1e-13;
}

#define CLOSE(a, b, seed, c)                                                                       \
    do {                                                                                           \
        int64_t worst_ = -1;                                                                       \
        const double error_ = tensor_error((a), (b), &worst_);                                     \
        ck_assert_msg(error_ <= tolerance((c)->desc.dtype),                                        \
                      "%s: %s differs by %g at %lld (seed %llu: %s)",                              \
                      equinv_plan_impl_name((c)->plan), #a, error_, (long long)worst_,             \
                      (unsigned long long)(seed), conv_text(&(c)->desc));                          \
    } while (0)

/* Dense gradients of psi sum many products: the error is measured against the whole array. */
static void compare(const conv_case *c, const conv_truth *t, uint64_t seed)
{
    CLOSE(&c->dst, &t->dst, seed, c);
    CLOSE(&c->diff_src, &t->diff_src, seed, c);
    CLOSE(&c->diff_psi, &t->diff_psi, seed, c);
    if (c->desc.bias)
        CLOSE(&c->diff_bias, &t->diff_bias, seed, c);
}

enum { SHAPES = 240 };

START_TEST(every_implementation_is_the_dense_convolution)
{
    equinv_context *const ctx = context_at_level(_i);
    for (uint64_t seed = 0; ctx && seed < share_of(SHAPES); seed++) {
        rng r = {seed};
        equinv_conv_desc d = conv_random_desc(&r, seed % 2 ? EQUINV_F32 : EQUINV_F64);
        conv_truth t = {0};
        for (int i = 0; conv_impl(i); i++) {
            rng again = {1000 + seed};
            d.impl = conv_impl(i);
            if (!conv_takes(ctx, &d))
                continue;
            conv_case c = conv_case_new(ctx, &again, &d);
            if (!t.dst.ndim)
                t = conv_dense(ctx, &c);
            conv_run(&c, c.plan);
            compare(&c, &t, seed);
            conv_case_free(ctx, &c);
        }
        conv_truth_free(ctx, &t);
    }
    equinv_context_destroy(ctx);
}
END_TEST

/* Larger problems than the random ones, where tiles, bands and blocks have edges. */
START_TEST(every_implementation_on_larger_problems)
{
    static const struct {
        equinv_conv_kind kind;
        int group;
        int64_t batch, in, out, height, width, k, s, p, d, groups;
        equinv_padding_mode mode;
    } table[] = {
        {EQUINV_CONV_REGULAR, 2, 3, 2, 3, 14, 14, 5, 1, 2, 1, 1, EQUINV_PAD_ZEROS},
        {EQUINV_CONV_REGULAR, 2, 7, 2, 9, 7, 7, 3, 1, 1, 1, 1, EQUINV_PAD_ZEROS},
        {EQUINV_CONV_REGULAR, 5, 2, 2, 3, 9, 13, 4, 2, 3, 1, 1, EQUINV_PAD_ZEROS},
        {EQUINV_CONV_REGULAR, 1, 1, 2, 3, 45, 41, 3, 1, 1, 2, 1, EQUINV_PAD_ZEROS},
        {EQUINV_CONV_REGULAR, 1, 2, 2, 3, 47, 38, 3, 2, 1, 1, 1, EQUINV_PAD_ZEROS},
        {EQUINV_CONV_REGULAR, 0, 2, 4, 4, 40, 40, 3, 3, 2, 2, 2, EQUINV_PAD_CIRCULAR},
        {EQUINV_CONV_LIFTING, 2, 2, 1, 5, 28, 28, 5, 1, 2, 1, 1, EQUINV_PAD_ZEROS},
        {EQUINV_CONV_LIFTING, 5, 2, 3, 4, 17, 21, 7, 2, 3, 1, 1, EQUINV_PAD_CIRCULAR},
        {EQUINV_CONV_TO_PLANE, 4, 3, 6, 10, 11, 12, 3, 1, 1, 1, 2, EQUINV_PAD_ZEROS},
        {EQUINV_CONV_TO_PLANE, 3, 2, 3, 67, 8, 8, 8, 1, 0, 1, 1, EQUINV_PAD_ZEROS},
        {EQUINV_CONV_REGULAR, 0, 1, 8, 8, 70, 9, 1, 2, 0, 1, 8, EQUINV_PAD_ZEROS},
        {EQUINV_CONV_REGULAR, 2, 20, 1, 2, 2, 3, 3, 1, 1, 1, 1, EQUINV_PAD_ZEROS},
    };
    equinv_context *const ctx = context_new();
    for (size_t row = 0; row < sizeof table / sizeof *table; row++)
        for (int dtype = 0; dtype < 2; dtype++) {
            equinv_conv_desc d = EQUINV_CONV_DESC_INIT;
            d.kind = table[row].kind;
            d.group = grid_groups[table[row].group];
            d.dtype = dtype ? EQUINV_F32 : EQUINV_F64;
            d.batch = table[row].batch;
            d.fields_in = table[row].in, d.fields_out = table[row].out;
            d.height = table[row].height, d.width = table[row].width;
            d.kernel = table[row].k, d.stride = table[row].s, d.padding = table[row].p;
            d.dilation = table[row].d, d.channel_groups = table[row].groups;
            d.padding_mode = table[row].mode;
            d.bias = row % 2;
            conv_truth t = {0};
            for (int i = 0; conv_impl(i); i++) {
                rng r = {row};
                d.impl = conv_impl(i);
                if (!conv_takes(ctx, &d))
                    continue;
                conv_case c = conv_case_new(ctx, &r, &d);
                if (!t.dst.ndim)
                    t = conv_dense(ctx, &c);
                conv_run(&c, c.plan);
                compare(&c, &t, row);
                conv_case_free(ctx, &c);
            }
            conv_truth_free(ctx, &t);
        }
    equinv_context_destroy(ctx);
}
END_TEST

/* Outputs that hold something are added to with `accumulate` and overwritten without, NaN too. */
START_TEST(accumulate_adds_and_its_absence_overwrites)
{
    equinv_context *const ctx = context_new();
    for (uint64_t seed = 0; seed < share_of(60); seed++)
        for (int i = 0; conv_impl(i); i++) {
            rng r = {seed};
            equinv_conv_desc d = conv_random_desc(&r, EQUINV_F64);
            d.impl = conv_impl(i);
            if (!conv_takes(ctx, &d))
                continue;
            d.accumulate = false;
            conv_case c = conv_case_new(ctx, &r, &d);
            equinv_tensor *const outputs[] = {&c.dst, &c.diff_src, &c.diff_psi, &c.diff_bias};
            equinv_tensor once[4];
            for (int j = 0; j < 4; j++)
                for (int64_t at = 0; at < equinv_tensor_count(outputs[j]); at++)
                    tensor_set(outputs[j], at, (double)NAN);
            conv_run(&c, c.plan);
            for (int j = 0; j < 4; j++) {
                once[j] = tensor_as(ctx, outputs[j], EQUINV_F64);
                for (int64_t at = 0; at < equinv_tensor_count(outputs[j]); at++)
                    tensor_set(outputs[j], at, 10.0 + (double)(at % 7));
            }
            d.accumulate = true;
            equinv_plan *const adding = conv_plan(ctx, &d, d.impl);
            conv_run(&c, adding);
            for (int j = 0; j < (d.bias ? 4 : 3); j++) {
                for (int64_t at = 0; at < equinv_tensor_count(outputs[j]); at++)
                    tensor_set(&once[j], at, tensor_get(&once[j], at) + 10.0 + (double)(at % 7));
                CLOSE(outputs[j], &once[j], seed, &c);
            }
            for (int j = 0; j < 4; j++)
                equinv_tensor_destroy(ctx, &once[j]);
            equinv_plan_destroy(adding);
            conv_case_free(ctx, &c);
        }
    equinv_context_destroy(ctx);
}
END_TEST

/* The packed form gives the bits that psi gives. */
START_TEST(packed_weights_are_psi)
{
    equinv_context *const ctx = context_new();
    for (uint64_t seed = 0; seed < share_of(100); seed++)
        for (int i = 0; conv_impl(i); i++) {
            rng r = {seed};
            equinv_conv_desc d = conv_random_desc(&r, seed % 2 ? EQUINV_F32 : EQUINV_F64);
            d.impl = conv_impl(i);
            if (!conv_takes(ctx, &d))
                continue;
            d.accumulate = false;
            conv_case c = conv_case_new(ctx, &r, &d);
            conv_run(&c, c.plan);
            const equinv_tensor *const bias = d.bias ? &c.bias : NULL;
            const int64_t size = (int64_t)equinv_plan_packed_size(c.plan);
            ck_assert(size > 0);
            equinv_tensor packed, dst = tensor_like(ctx, &c.dst);
            equinv_tensor diff_src = tensor_like(ctx, &c.diff_src), storage;
            OK(equinv_tensor_create(ctx, EQUINV_U8, 1, &size, &packed));
            equinv_tensor psi = tensor_strided_copy(ctx, &r, &c.psi, &storage);
            OK(equinv_conv_pack(c.plan, &psi, packed.data, (size_t)size));
            OK(equinv_conv_forward(c.plan, &c.src, &packed, bias, &dst, NULL, 0));
            OK(equinv_conv_backward_data(c.plan, &c.diff_dst, &packed, &diff_src, NULL, 0));
            ASSERT_SAME(&dst, &c.dst);
            ASSERT_SAME(&diff_src, &c.diff_src);
            equinv_tensor_destroy(ctx, &packed), equinv_tensor_destroy(ctx, &dst);
            equinv_tensor_destroy(ctx, &diff_src), equinv_tensor_destroy(ctx, &storage);
            conv_case_free(ctx, &c);
        }
    equinv_context_destroy(ctx);
}
END_TEST

/* Where elements lie does not change a bit of the results. */
START_TEST(any_strides)
{
    equinv_context *const ctx = context_new();
    for (uint64_t seed = 0; seed < share_of(SHAPES); seed++)
        for (int i = 0; conv_impl(i); i++) {
            rng r = {seed};
            equinv_conv_desc d = conv_random_desc(&r, seed % 2 ? EQUINV_F32 : EQUINV_F64);
            d.impl = conv_impl(i);
            if (!conv_takes(ctx, &d))
                continue;
            conv_case c = conv_case_new(ctx, &r, &d);
            conv_strided s = conv_assert_strides(ctx, &r, &c);
            conv_strided_free(ctx, &s);
            conv_case_free(ctx, &c);
        }
    equinv_context_destroy(ctx);
}
END_TEST

/* Backwards, broadcast, and with fields and elements as one axis. */
START_TEST(negative_and_zero_strides_and_joint_channels)
{
    equinv_context *const ctx = context_new();
    for (int i = 0; conv_impl(i); i++) {
        rng r = {3};
        equinv_conv_desc d = EQUINV_CONV_DESC_INIT;
        d.batch = 2, d.fields_in = 3, d.fields_out = 2, d.height = 6, d.width = 5;
        d.padding = 1;
        d.impl = conv_impl(i);
        if (!conv_takes(ctx, &d))
            continue;
        conv_case c = conv_case_new(ctx, &r, &d);
        conv_case s = c;
        /* The image upside down in memory, and one row of weights for all fields. */
        equinv_tensor turned = tensor_like(ctx, &c.src), flat = tensor_like(ctx, &c.dst);
        const int64_t count = equinv_tensor_count(&c.src);
        for (int64_t at = 0; at < count; at++)
            tensor_set(&turned, count - 1 - at, tensor_get(&c.src, at));
        s.src = turned;
        s.src.data = (float *)turned.data + count - 1;
        for (int axis = 0; axis < 5; axis++)
            s.src.strides[axis] = -s.src.strides[axis];
        s.psi.strides[0] = s.psi.strides[1] = 0;
        equinv_tensor repeated = tensor_as(ctx, &s.psi, EQUINV_F32);
        s.dst = flat;
        s.dst.ndim = 4;
        s.dst.shape[1] = 2 * 4, s.dst.shape[2] = 6, s.dst.shape[3] = 5;
        s.dst.strides[1] = flat.strides[2];
        s.dst.strides[2] = flat.strides[3], s.dst.strides[3] = 1;
        OK(equinv_conv_forward(c.plan, &c.src, &repeated, NULL, &c.dst, NULL, 0));
        OK(equinv_conv_forward(c.plan, &s.src, &s.psi, NULL, &s.dst, NULL, 0));
        ASSERT_SAME(&flat, &c.dst);
        ck_assert(tensor_max_abs(&c.dst) > 0);
        equinv_tensor_destroy(ctx, &turned), equinv_tensor_destroy(ctx, &flat);
        equinv_tensor_destroy(ctx, &repeated);
        conv_case_free(ctx, &c);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(an_empty_batch)
{
    equinv_context *const ctx = context_new();
    for (int i = 0; conv_impl(i); i++)
        for (int accumulate = 0; accumulate < 2; accumulate++) {
            rng r = {1};
            equinv_conv_desc d = EQUINV_CONV_DESC_INIT;
            d.fields_in = 2, d.fields_out = 3, d.height = d.width = 5, d.bias = true;
            d.impl = conv_impl(i);
            if (!conv_takes(ctx, &d))
                continue;
            d.accumulate = accumulate;
            conv_case c = conv_case_new(ctx, &r, &d);
            tensor_fill_random(&r, &c.diff_psi);
            tensor_fill_random(&r, &c.diff_bias);
            equinv_tensor psi = tensor_as(ctx, &c.diff_psi, EQUINV_F32);
            equinv_tensor bias = tensor_as(ctx, &c.diff_bias, EQUINV_F32);
            conv_run(&c, c.plan);
            if (accumulate) {
                ASSERT_SAME(&c.diff_psi, &psi);
                ASSERT_SAME(&c.diff_bias, &bias);
            } else {
                ck_assert(tensor_max_abs(&c.diff_psi) == 0);
                ck_assert(tensor_max_abs(&c.diff_bias) == 0);
            }
            equinv_tensor_destroy(ctx, &psi), equinv_tensor_destroy(ctx, &bias);
            conv_case_free(ctx, &c);
        }
    equinv_context_destroy(ctx);
}
END_TEST

/* Circular padding, up to several times the image, is a larger image written out. */
START_TEST(circular_padding_is_the_repeated_image)
{
    equinv_context *const ctx = context_new();
    for (int64_t padding = 0; padding < 14; padding++)
        for (int i = 0; conv_impl(i); i++) {
            rng r = {(uint64_t)padding};
            equinv_conv_desc d = EQUINV_CONV_DESC_INIT;
            d.dtype = EQUINV_F64;
            d.batch = 2, d.fields_in = 2, d.fields_out = 1, d.height = 4, d.width = 3;
            d.padding = padding;
            d.padding_mode = EQUINV_PAD_CIRCULAR;
            d.kernel = 2;
            d.impl = conv_impl(i);
            if (!conv_takes(ctx, &d))
                continue;
            conv_case c = conv_case_new(ctx, &r, &d);
            d.padding_mode = EQUINV_PAD_ZEROS;
            d.padding = 0;
            d.height += 2 * padding, d.width += 2 * padding;
            conv_case large = conv_case_new(ctx, &r, &d);
            for (int64_t at = 0; at < equinv_tensor_count(&large.src); at++) {
                const int64_t y = (at / d.width % d.height - padding + 4 * 14) % 4;
                const int64_t x = (at % d.width - padding + 3 * 14) % 3;
                const int64_t channel = at / (d.width * d.height);
                tensor_set(&large.src, at, tensor_get(&c.src, (channel * 4 + y) * 3 + x));
            }
            OK(equinv_conv_forward(c.plan, &c.src, &c.psi, NULL, &c.dst, NULL, 0));
            OK(equinv_conv_forward(large.plan, &large.src, &c.psi, NULL, &large.dst, NULL, 0));
            CLOSE(&c.dst, &large.dst, padding, &c);
            conv_case_free(ctx, &large);
            conv_case_free(ctx, &c);
        }
    equinv_context_destroy(ctx);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {every_implementation_is_the_dense_convolution, TEST_LEVELS},
        {every_implementation_on_larger_problems, 1},
        {accumulate_adds_and_its_absence_overwrites, 1},
        {packed_weights_are_psi, 1},
        {any_strides, 1},
        {negative_and_zero_strides_and_joint_channels, 1},
        {an_empty_batch, 1},
        {circular_padding_is_the_repeated_image, 1},
    };
    return run_tests("conv", tests, sizeof tests / sizeof *tests);
}
