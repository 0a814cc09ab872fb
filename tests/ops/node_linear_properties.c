/* Linear layers of nodes and pairs: permutations, masks, symmetry, layouts, samples, threads. */
#include <math.h>

#include "tests/util/node_linear.h"

enum { ROUNDS = 240, MOST = 12 };

/* ---- permutations, masks, symmetry ----------------------------------------------------------- */

/* f(g x) = g f(x), and so for the gradients; the mask moves with the nodes. */
START_TEST(commutes_with_permutations)
{
    equinv_context *const ctx = context_new();
    for (uint64_t seed = 0; seed < share_of(ROUNDS); seed++) {
        rng r = {seed + 1000}, again;
        equinv_node_linear_desc desc = linear_random_desc(&r, seed % 2 ? EQUINV_F64 : EQUINV_F32);
        desc.accumulate = false;
        desc.impl = linear_impl(desc.dtype, seed / 2);
        const bool masked = rng_range(&r, 0, 2);
        again = r;
        linear l = linear_new(ctx, &r, &desc, masked),
               moved = linear_new(ctx, &again, &desc, masked);
        int64_t place[MOST];
        nodes_shuffle(&r, desc.nodes, place);
        nodes_permute(ctx, &moved.src, desc.order_in, place);
        nodes_permute(ctx, &moved.diff_dst, desc.order_out, place);
        nodes_permute(ctx, &moved.mask, 0, place);
        linear_run(&l), linear_run(&moved);
        nodes_permute(ctx, &l.dst, desc.order_out, place);
        nodes_permute(ctx, &l.diff_src, desc.order_in, place);
        const double tolerance = seed % 2 ? 1e-14 : 2e-6;
        ASSERT_CLOSE(&moved.dst, &l.dst, tolerance);
        ASSERT_CLOSE(&moved.diff_src, &l.diff_src, tolerance);
        ASSERT_CLOSE(&moved.diff_weights, &l.diff_weights, tolerance);
        ASSERT_CLOSE(&moved.diff_bias, &l.diff_bias, tolerance);
        linear_free(&l), linear_free(&moved);
    }
    equinv_context_destroy(ctx);
}
END_TEST

/* Nothing absent is read, what is written there is 0. */
START_TEST(absent_nodes_do_not_leak)
{
    equinv_context *const ctx = context_new();
    for (uint64_t seed = 0; seed < share_of(ROUNDS); seed++) {
        rng r = {seed + 2000}, again;
        equinv_node_linear_desc desc = linear_random_desc(&r, seed % 2 ? EQUINV_F64 : EQUINV_F32);
        desc.accumulate = false;
        desc.impl = linear_impl(desc.dtype, seed / 2);
        again = r;
        linear l = linear_new(ctx, &r, &desc, true), bad = linear_new(ctx, &again, &desc, true);
        nodes_set_absent(&bad.src, desc.order_in, &bad.mask, (double)NAN);
        nodes_set_absent(&bad.diff_dst, desc.order_out, &bad.mask, (double)NAN);
        linear_run(&l), linear_run(&bad);
        ASSERT_SAME(&bad.dst, &l.dst);
        ASSERT_SAME(&bad.diff_src, &l.diff_src);
        ASSERT_SAME(&bad.diff_weights, &l.diff_weights);
        ASSERT_SAME(&bad.diff_bias, &l.diff_bias);
        ck_assert_msg(nodes_absent_are_zero(&l.dst, desc.order_out, &l.mask), "seed %d", (int)seed);
        ck_assert_msg(nodes_absent_are_zero(&l.diff_src, desc.order_in, &l.mask), "seed %d",
                      (int)seed);
        linear_free(&l), linear_free(&bad);
    }
    equinv_context_destroy(ctx);
}
END_TEST

/* A sample padded with absent nodes is the sample of its own size. */
START_TEST(padding_changes_nothing)
{
    equinv_context *const ctx = context_new();
    for (uint64_t seed = 0; seed < share_of(80); seed++) {
        rng r = {seed + 3000};
        equinv_node_linear_desc desc = linear_random_desc(&r, EQUINV_F64);
        desc.batch = 1, desc.accumulate = false;
        desc.impl = linear_impl(desc.dtype, seed);
        linear small = linear_new(ctx, &r, &desc, false);
        const int64_t n = desc.nodes, more = n + rng_range(&r, 1, 4);
        desc.nodes = more;
        linear padded = linear_new(ctx, &r, &desc, true);
        for (int64_t i = 0; i < more; i++)
            tensor_set(&padded.mask, i, i < n);
        OK(equinv_tensor_convert(ctx, &small.weights, 1.0, 0.0, &padded.weights));
        OK(equinv_tensor_convert(ctx, &small.bias, 1.0, 0.0, &padded.bias));
        equinv_tensor *const from[] = {&small.src, &small.diff_dst};
        equinv_tensor *const to[] = {&padded.src, &padded.diff_dst};
        equinv_tensor part[2];
        for (int k = 0; k < 2; k++) {
            part[k] = *to[k];
            for (int32_t axis = 2; axis < part[k].ndim; axis++)
                part[k].shape[axis] = n;
            OK(equinv_tensor_convert(ctx, from[k], 1.0, 0.0, &part[k]));
        }
        linear_run(&small), linear_run(&padded);
        equinv_tensor dst = padded.dst, diff_src = padded.diff_src;
        for (int32_t axis = 2; axis < 4; axis++)
            dst.shape[axis] = diff_src.shape[axis] = n;
        equinv_tensor got[2] = {tensor_copy(ctx, &dst), tensor_copy(ctx, &diff_src)};
        ASSERT_CLOSE(&got[0], &small.dst, 1e-14);
        ASSERT_CLOSE(&got[1], &small.diff_src, 1e-14);
        ASSERT_CLOSE(&padded.diff_weights, &small.diff_weights, 1e-14);
        ASSERT_CLOSE(&padded.diff_bias, &small.diff_bias, 1e-14);
        equinv_tensor_destroy(ctx, &got[0]), equinv_tensor_destroy(ctx, &got[1]);
        linear_free(&small), linear_free(&padded);
    }
    equinv_context_destroy(ctx);
}
END_TEST

static void transpose(const equinv_tensor *t)
{
    const int64_t n = t->shape[3];
    for (int64_t k = 0; k < equinv_tensor_count(t); k++) {
        const int64_t i = k / n % n, j = k % n, other = k / (n * n) * n * n + j * n + i;
        if (i < j) {
            const double swap = tensor_get(t, k);
            tensor_set(t, k, tensor_get(t, other));
            tensor_set(t, other, swap);
        }
    }
}

/* The symmetric part alone is read, what comes out is symmetric to the bit. */
START_TEST(symmetric_layers)
{
    equinv_context *const ctx = context_new();
    for (uint64_t seed = 0; seed < share_of(ROUNDS); seed++) {
        rng r = {seed + 4000}, again;
        equinv_node_linear_desc desc = linear_random_desc(&r, seed % 2 ? EQUINV_F64 : EQUINV_F32);
        desc.symmetric = true, desc.accumulate = false;
        desc.impl = linear_impl(desc.dtype, seed / 2);
        const bool masked = rng_range(&r, 0, 1);
        again = r;
        linear l = linear_new(ctx, &r, &desc, masked),
               turned = linear_new(ctx, &again, &desc, masked);
        if (desc.order_in == 2)
            transpose(&turned.src);
        if (desc.order_out == 2)
            transpose(&turned.diff_dst);
        linear_run(&l), linear_run(&turned);
        ASSERT_SAME(&turned.dst, &l.dst);
        ASSERT_SAME(&turned.diff_src, &l.diff_src);
        ASSERT_CLOSE(&turned.diff_weights, &l.diff_weights, seed % 2 ? 1e-14 : 2e-6);
        if (desc.order_out == 2) {
            transpose(&turned.dst);
            ASSERT_SAME(&turned.dst, &l.dst);
        }
        if (desc.order_in == 2) {
            transpose(&turned.diff_src);
            ASSERT_SAME(&turned.diff_src, &l.diff_src);
        }
        linear_free(&l), linear_free(&turned);
    }
    equinv_context_destroy(ctx);
}
END_TEST

/* ---- layouts, samples, threads --------------------------------------------------------------- */

START_TEST(any_layout)
{
    equinv_context *const ctx = context_new();
    for (uint64_t seed = 0; seed < share_of(ROUNDS); seed++) {
        rng r = {seed + 7000}, again;
        equinv_node_linear_desc desc = linear_random_desc(&r, seed % 2 ? EQUINV_F64 : EQUINV_F32);
        desc.impl = linear_impl(desc.dtype, seed / 2);
        const bool masked = rng_range(&r, 0, 2);
        again = r;
        linear plain = linear_new(ctx, &r, &desc, masked),
               l = linear_new(ctx, &again, &desc, masked);
        equinv_tensor *all[LINEAR_TENSORS];
        linear_tensors(&l, all);
        relaid other[LINEAR_TENSORS];
        relaid_begin(ctx, &r, all, LINEAR_TENSORS, other);
        linear_run(&plain), linear_run(&l);
        const double tolerance = seed % 2 ? 1e-14 : 2e-6;
        ck_assert_msg(tensor_error(&l.dst, &plain.dst, NULL) <= tolerance, "dst, seed %d",
                      (int)seed);
        ck_assert_msg(tensor_error(&l.diff_src, &plain.diff_src, NULL) <= tolerance,
                      "diff_src, seed %d", (int)seed);
        ck_assert_msg(tensor_error(&l.diff_weights, &plain.diff_weights, NULL) <= tolerance,
                      "diff_weights, seed %d", (int)seed);
        ck_assert_msg(tensor_error(&l.diff_bias, &plain.diff_bias, NULL) <= tolerance,
                      "diff_bias, seed %d", (int)seed);
        relaid_end(ctx, other, LINEAR_TENSORS);
        linear_free(&plain), linear_free(&l);
    }
    equinv_context_destroy(ctx);
}
END_TEST

/* A sample alone gives the bits that it has in a batch, and NaN stays in its sample. */
START_TEST(a_sample_does_not_feel_its_batch)
{
    equinv_context *const ctx = context_new();
    for (uint64_t seed = 0; seed < share_of(120); seed++) {
        rng r = {seed + 8000};
        equinv_node_linear_desc desc = linear_random_desc(&r, EQUINV_F32);
        desc.batch = rng_range(&r, 2, 20), desc.accumulate = false;
        desc.impl = linear_impl(desc.dtype, seed);
        linear l = linear_new(ctx, &r, &desc, false);
        const int64_t poisoned = rng_range(&r, 0, desc.batch - 1),
                      row = (poisoned + 1) % desc.batch;
        const int64_t size = equinv_tensor_count(&l.src) / desc.batch;
        for (int64_t i = 0; i < size; i++)
            tensor_set(&l.src, poisoned * size + i, (double)NAN);
        linear_run(&l);
        const int64_t results = equinv_tensor_count(&l.dst) / desc.batch;
        for (int64_t i = 0; i < equinv_tensor_count(&l.dst); i++)
            ck_assert_msg(isnan(tensor_get(&l.dst, i)) == (i / results == poisoned), "NaN, seed %d",
                          (int)seed);
        desc.batch = 1;
        linear alone = linear_new(ctx, &r, &desc, false);
        equinv_tensor part[4];
        OK(equinv_tensor_rows(&l.src, row, 1, &part[0]));
        OK(equinv_tensor_rows(&l.diff_dst, row, 1, &part[1]));
        OK(equinv_tensor_rows(&l.dst, row, 1, &part[2]));
        OK(equinv_tensor_rows(&l.diff_src, row, 1, &part[3]));
        OK(equinv_tensor_convert(ctx, &part[0], 1.0, 0.0, &alone.src));
        OK(equinv_tensor_convert(ctx, &part[1], 1.0, 0.0, &alone.diff_dst));
        OK(equinv_tensor_convert(ctx, &l.weights, 1.0, 0.0, &alone.weights));
        OK(equinv_tensor_convert(ctx, &l.bias, 1.0, 0.0, &alone.bias));
        linear_run(&alone);
        ASSERT_SAME(&alone.dst, &part[2]);
        ASSERT_SAME(&alone.diff_src, &part[3]);
        linear_free(&alone), linear_free(&l);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(thread_count_changes_no_bit)
{
    equinv_context *const ctx[2] = {context_of_threads(1), context_new()};
    for (int s = 0; s < 8; s++) {
        linear l[2];
        for (int k = 0; k < 2; k++) {
            rng r = {41};
            equinv_node_linear_desc desc = EQUINV_NODE_LINEAR_DESC_INIT;
            desc.order_in = 1 + s / 2 % 2, desc.order_out = 1 + s % 2, desc.symmetric = s / 4;
            desc.batch = 60, desc.nodes = 9, desc.channels_in = 16, desc.channels_out = 24;
            l[k] = linear_new(ctx[k], &r, &desc, true);
            linear_run(&l[k]);
        }
        ASSERT_SAME(&l[0].dst, &l[1].dst);
        ASSERT_SAME(&l[0].diff_src, &l[1].diff_src);
        ASSERT_SAME(&l[0].diff_weights, &l[1].diff_weights);
        ASSERT_SAME(&l[0].diff_bias, &l[1].diff_bias);
        linear_free(&l[0]), linear_free(&l[1]);
    }
    equinv_context_destroy(ctx[0]), equinv_context_destroy(ctx[1]);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {commutes_with_permutations, 1},
        {absent_nodes_do_not_leak, 1},
        {padding_changes_nothing, 1},
        {symmetric_layers, 1},
        {any_layout, 1},
        {a_sample_does_not_feel_its_batch, 1},
        {thread_count_changes_no_bit, 1},
    };
    return run_tests("node linear properties", tests, sizeof tests / sizeof *tests);
}
