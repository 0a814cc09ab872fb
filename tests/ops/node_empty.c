/*
 * Masks without a node: what has no nodes comes out as 0, gives no gradients, and is not read. Sample 1
 * of three has none, or no sample has one.
 */
#include <math.h>

#include "tests/ops/projection_cases.h"
#include "tests/util/node_layers.h"
#include "tests/util/node_linear.h"

enum { BATCH = 3, EMPTY = 1, NODES = 4 };
static const equinv_dtype dtypes[] = {EQUINV_F32, EQUINV_F64};

/* Numbers of the samples without a node become NaN, so that reading one shows. */
static void empty_the_mask(const equinv_tensor *mask, bool all, const equinv_tensor *const *read,
                           int count)
{
    for (int64_t b = 0; b < BATCH; b++) {
        if (b != EMPTY && !all)
            continue;
        for (int64_t i = 0; i < NODES; i++)
            tensor_set(mask, b * NODES + i, 0);
        for (int k = 0; k < count; k++)
            for (int64_t i = 0, n = equinv_tensor_count(read[k]) / BATCH; i < n; i++)
                tensor_set(read[k], b * n + i, (double)NAN);
    }
}

/* Results of the batch: 0 for who has no node, finite for the others. */
static void assert_empty(const equinv_tensor *t, bool all)
{
    const int64_t n = equinv_tensor_count(t) / BATCH;
    for (int64_t i = 0; i < BATCH * n; i++) {
        const double value = tensor_get(t, i);
        ck_assert_msg(all || i / n == EMPTY ? value == 0 : (bool)isfinite(value), "%g at %d", value,
                      (int)i);
    }
}

/* Sums over the batch: 0 if there was nothing to add. */
static void assert_sum(const equinv_tensor *t, bool all)
{
    ck_assert(all ? tensor_max_abs(t) == 0 : (bool)isfinite(tensor_max_abs(t)));
}

static void check_linear(equinv_context *ctx, const equinv_node_linear_desc *desc, bool all)
{
    rng r = {7};
    linear l = linear_new(ctx, &r, desc, true);
    empty_the_mask(&l.mask, all, (const equinv_tensor *const[]){&l.src, &l.diff_dst}, 2);
    linear_run(&l);
    assert_empty(&l.dst, all), assert_empty(&l.diff_src, all);
    assert_sum(&l.diff_weights, all), assert_sum(&l.diff_bias, all);
    linear_free(&l);
}

START_TEST(linear_layers)
{
    equinv_context *const ctx = context_new();
    equinv_node_linear_desc desc = EQUINV_NODE_LINEAR_DESC_INIT;
    desc.batch = BATCH, desc.nodes = NODES, desc.channels_in = 5, desc.channels_out = 6;
    for (int k = 0; k < 64; k++) {
        desc.dtype = dtypes[k & 1], desc.symmetric = k >> 1 & 1;
        desc.order_in = 1 + (k >> 2 & 1), desc.order_out = 1 + (k >> 3 & 1);
        desc.impl = linear_impl(desc.dtype, (uint64_t)(k >> 4 & 1));
        check_linear(ctx, &desc, k >> 5 & 1);
    }
    equinv_context_destroy(ctx);
}
END_TEST

static void check_layer(equinv_context *ctx, node_subject kind, const node_sizes *s, bool all)
{
    rng r = {8};
    node_layer l = node_layer_new(ctx, &r, kind, s);
    const equinv_tensor *const read[] = {&l.src, node_is_outer(kind) ? &l.parameter[0] : &l.src,
                                         node_is_pool(kind) ? &l.src : &l.diff_dst};
    empty_the_mask(&l.mask, all, read, 3);
    node_layer_run(&l);
    assert_empty(&l.dst, all), assert_empty(&l.diff_src, all);
    if (kind == OUTER)
        assert_empty(&l.diff_parameter[0], all);
    for (int i = 0; node_is_norm(kind) && i < 2; i++)
        assert_sum(&l.diff_parameter[i], all);
    for (int64_t i = 0; kind == MAX && i < (int64_t)(l.saved_size / 4) / BATCH; i++)
        ck_assert_int_eq(
            ((const int32_t *)l.saved)[EMPTY * (int64_t)(l.saved_size / 4) / BATCH + i], -1);
    node_layer_free(&l);
}

START_TEST(products_norms_and_pools)
{
    equinv_context *const ctx = context_new();
    for (int k = 0; k < 16; k++) {
        const equinv_dtype dtype = dtypes[k & 1];
        const node_sizes s = {.dtype = dtype,
                              .order = 1 + (k >> 1 & 1),
                              .batch = BATCH,
                              .channels = 5,
                              .nodes = NODES,
                              .masked = true,
                              .impl = k >> 2 & 1 && dtype == EQUINV_F32 ? "fast" : "ref",
                              .slope = 0.5};
        check_layer(ctx, (node_subject)_i, &s, k >> 3 & 1);
    }
    equinv_context_destroy(ctx);
}
END_TEST

/* Rows that are absent stand as the fill value; where all are, the code is the fill value. */
START_TEST(sorted_rows)
{
    equinv_context *const ctx = context_new();
    for (int k = 0; k < 8; k++) {
        rng r = {9};
        equinv_projection_desc desc =
            rows_desc(k >> 1 & 1 ? EQUINV_PROJECT_SORT : EQUINV_PROJECT_PROJECT_SORT, dtypes[k & 1],
                      NODES, 2, 2, 0);
        equinv_projection *p;
        desc.fill = -7;
        OK(equinv_projection_create(ctx, &desc, &p));
        equinv_tensor z = tensor_random(ctx, &r, desc.dtype, 3, BATCH, NODES, 2);
        equinv_tensor mask = nodes_mask(ctx, &r, BATCH, NODES);
        equinv_tensor codes = codes_of(ctx, p, desc.dtype, BATCH), diff = tensor_like(ctx, &z);
        equinv_tensor saved = saved_of(ctx, p, BATCH);
        empty_the_mask(&mask, k >> 2 & 1, (const equinv_tensor *const[]){&z}, 1);
        OK(equinv_project_forward(p, &z, &mask, &codes, saved.data, size_of(&saved), NULL, 0));
        const int64_t n = equinv_tensor_count(&codes) / BATCH;
        for (int64_t i = 0; i < n; i++)
            ck_assert(tensor_get(&codes, EMPTY * n + i) == -7);
        OK(equinv_project_backward(p, &codes, &mask, saved.data, size_of(&saved), &diff, NULL, 0));
        assert_empty(&diff, k >> 2 & 1);
        equinv_projection_destroy(p);
        equinv_tensor *const made[] = {&z, &codes, &diff, &mask, &saved};
        for (int i = 0; i < 5; i++)
            equinv_tensor_destroy(ctx, made[i]);
    }
    equinv_context_destroy(ctx);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {linear_layers, 1}, {products_norms_and_pools, SUBJECTS}, {sorted_rows, 1}};
    return run_tests("node_empty", tests, sizeof tests / sizeof *tests);
}
