/*
 * Convolution between pages that may not be touched: every buffer of a call, its first run with their
 * ends at the page behind, the second with their starts at the page before.
 */
#include "tests/util/conv.h"
#include "tests/util/guard.h"
#include "tests/util/layout.h"

enum { SHAPES = 120, RUNS = TEST_LEVELS * GUARD_SIDES };

enum { TENSORS = 8, ALL_PASSES = CONV_FORWARD | CONV_BACKWARD_DATA | CONV_BACKWARD_WEIGHTS };

/* The passes between guards, with psi and with its packed form; the same bits as c has. */
static void run_guarded(const conv_case *c, conv_case s, guard_side side, int passes)
{
    equinv_tensor *const tensors[] = {&s.src, &s.psi,      &s.bias,     &s.diff_dst,
                                      &s.dst, &s.diff_src, &s.diff_psi, &s.diff_bias};
    const size_t scratch_size = equinv_plan_scratch_size(c->plan);
    const int64_t packed_size = (int64_t)equinv_plan_packed_size(c->plan);
    guarded memory[TENSORS], scratch = guarded_new(scratch_size, 64, side);
    guarded packed = guarded_new((size_t)packed_size, 64, side);
    for (int j = 0; j < TENSORS; j++)
        *tensors[j] = guarded_copy(tensors[j], side, &memory[j]);
    equinv_tensor weights[2] = {s.psi};
    OK(equinv_tensor_init(packed.data, EQUINV_U8, 1, &packed_size, &weights[1]));
    OK(equinv_conv_pack(c->plan, &s.psi, packed.data, packed.size));
    const equinv_tensor *const bias = c->desc.bias ? &s.bias : NULL;
    for (int w = 0; w < (c->desc.accumulate ? 1 : 2); w++) {
        if (passes & CONV_FORWARD)
            OK(equinv_conv_forward(c->plan, &s.src, &weights[w], bias, &s.dst, scratch.data,
                                   scratch_size));
        if (passes & CONV_BACKWARD_DATA)
            OK(equinv_conv_backward_data(c->plan, &s.diff_dst, &weights[w], &s.diff_src,
                                         scratch.data, scratch_size));
    }
    if (passes & CONV_BACKWARD_WEIGHTS)
        OK(equinv_conv_backward_weights(c->plan, &s.src, &s.diff_dst, &s.diff_psi,
                                        c->desc.bias ? &s.diff_bias : NULL, scratch.data,
                                        scratch_size));
    if (passes == ALL_PASSES) {
        ASSERT_SAME(&s.dst, &c->dst);
        ASSERT_SAME(&s.diff_src, &c->diff_src);
        ASSERT_SAME(&s.diff_psi, &c->diff_psi);
        ASSERT_SAME(&s.diff_bias, &c->diff_bias);
    }
    for (int j = 0; j < TENSORS; j++)
        guarded_free(&memory[j]);
    guarded_free(&scratch);
    guarded_free(&packed);
}

/* Odd extents around vectors and tiles; every implementation; row-major and strided. */
START_TEST(random_problems)
{
    equinv_context *const ctx = context_at_level(_i / GUARD_SIDES);
    for (uint64_t seed = 0; ctx && seed < share_of(SHAPES); seed++)
        for (int i = 0; conv_impl(i); i++) {
            rng r = {seed};
            equinv_conv_desc d = conv_random_desc(&r, seed % 4 ? EQUINV_F32 : EQUINV_F64);
            if (rng_range(&r, 0, 1)) {
                d.channel_groups = 1;
                d.fields_in = rng_range(&r, 1, 9), d.fields_out = rng_range(&r, 1, 9);
                d.height += rng_range(&r, 0, 9), d.width += rng_range(&r, 0, 19);
            }
            if (seed % 8 == 2) /* whole vectors of images */
                d.batch = 16;
            d.impl = conv_impl(i);
            if (!conv_takes(ctx, &d))
                continue;
            conv_case c = conv_case_new(ctx, &r, &d), s = c;
            equinv_tensor *const tensors[] = {&s.src, &s.psi,      &s.bias,     &s.diff_dst,
                                              &s.dst, &s.diff_src, &s.diff_psi, &s.diff_bias};
            laid laid_out[TENSORS];
            for (int j = 0; j < TENSORS; j++) {
                laid_out[j] = laid_copy(ctx, &r, tensors[j]);
                if (seed % 2)
                    *tensors[j] = laid_out[j].view;
            }
            conv_case fresh = s; /* the outputs as they were */
            conv_case result = c;
            equinv_tensor *const outputs[] = {&result.dst, &result.diff_src, &result.diff_psi,
                                              &result.diff_bias};
            for (int j = 0; j < 4; j++)
                *outputs[j] = tensor_as(ctx, outputs[j], d.dtype);
            conv_run(&result, result.plan);
            run_guarded(&result, fresh, (guard_side)(_i % GUARD_SIDES), ALL_PASSES);
            for (int j = 0; j < 4; j++)
                equinv_tensor_destroy(ctx, outputs[j]);
            for (int j = 0; j < TENSORS; j++)
                laid_free(ctx, &laid_out[j]);
            conv_case_free(ctx, &c);
        }
    equinv_context_destroy(ctx);
}
END_TEST

/* ---- the benchmark's table -------------------------------------------------------------------- */

/* The table that `make bench-check` compares with the reference, two images of each row. */
START_TEST(the_benchmarks_table)
{
    equinv_context *const ctx = context_at_level(_i / GUARD_SIDES);
    FILE *const file = fopen("bench/cases/conv.txt", "r");
    equinv_conv_desc d;
    const int apart = (int)(1000 / share_of(1000)) * (_i < GUARD_SIDES ? 8 : 1);
    int rows = 0, passes;
    ck_assert_ptr_nonnull(file);
    while (ctx && conv_next_case(file, &d, &passes)) {
        if (rows++ % apart)
            continue; /* the scalar level is slow: every eighth */
        if (d.batch > 2)
            d.batch = 2;
        rng r = {(uint64_t)rows};
        conv_case c = conv_case_new(ctx, &r, &d);
        run_guarded(&c, c, (guard_side)(_i % GUARD_SIDES), passes);
        conv_case_free(ctx, &c);
    }
    ck_assert(!ctx || rows > 500);
    fclose(file);
    equinv_context_destroy(ctx);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {random_problems, RUNS},
        {the_benchmarks_table, RUNS},
    };
    return run_tests("conv_guard", tests, sizeof tests / sizeof *tests);
}
