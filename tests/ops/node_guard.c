/* Layers of nodes between pages that may not be touched: tensors as they lie, scratch of exactly its size. */
#include "tests/util/guard.h"
#include "tests/util/node_layers.h"
#include "tests/util/node_linear.h"

enum { ROUNDS = 60, MOST = 9 };

/* A tensor of a layer and its copy between guards, with the same strides. */
typedef struct twin {
    equinv_tensor *plain, *guarded, row_major, channels_last;
    guarded memory;
} twin;

/* Channels go last where there are nodes. */
static twin twin_begin(equinv_context *ctx, rng *r, guard_side side, equinv_tensor *plain,
                       equinv_tensor *between)
{
    twin t = {.plain = plain, .guarded = between, .row_major = *plain};
    if (plain->ndim >= 3 && rng_range(r, 0, 3))
        *plain = nodes_channels_last(ctx, &t.row_major, &t.channels_last);
    *between = guarded_copy(plain, side, &t.memory);
    return t;
}

/* The guarded call gave the bits of the plain one. */
static void twin_end(equinv_context *ctx, twin *t, int number, uint64_t seed)
{
    for (int64_t k = 0; k < equinv_tensor_count(t->plain); k++)
        ck_assert_msg(tensor_get(t->plain, k) == tensor_get(t->guarded, k), "tensor %d, seed %d",
                      number, (int)seed);
    equinv_tensor_destroy(ctx, &t->channels_last);
    *t->plain = t->row_major;
    guarded_free(&t->memory);
}

/* Every level, then one thread, whose scratch ends where the runner's does. */
static equinv_context *context_of(int i)
{
    return i < TEST_LEVELS ? context_at_level(i) : context_of_threads(1);
}

START_TEST(linear_layers)
{
    equinv_context *const ctx = context_of(_i);
    for (uint64_t seed = 0; ctx && seed < share_of(ROUNDS); seed++) {
        rng r = {seed};
        const guard_side side = (guard_side)(seed % GUARD_SIDES);
        equinv_node_linear_desc d = EQUINV_NODE_LINEAR_DESC_INIT;
        d.order_in = (int32_t)rng_range(&r, 1, 2), d.order_out = (int32_t)rng_range(&r, 1, 2);
        d.batch = rng_range(&r, 1, seed % 8 ? 4 : 40), d.nodes = rng_range(&r, 1, 8);
        d.channels_in = rng_range(&r, 1, 37), d.channels_out = rng_range(&r, 1, 37);
        d.symmetric = rng_range(&r, 0, 1), d.accumulate = rng_range(&r, 0, 1);
        if (seed % 16 == 1)
            d.nodes = rng_range(&r, 12, 30), d.channels_in = d.channels_out = 2;
        linear plain = linear_new(ctx, &r, &d, true), between = plain;
        ck_assert_str_eq(equinv_plan_impl_name(plain.plan), "node_linear/gemm");
        between.scratch_size = equinv_plan_scratch_size(plain.plan);
        guarded scratch = guarded_new(between.scratch_size, 64, side);
        between.scratch = scratch.data;
        equinv_tensor *from[MOST] = {[LINEAR_TENSORS] = &plain.mask};
        equinv_tensor *to[MOST] = {[LINEAR_TENSORS] = &between.mask};
        twin twins[MOST];
        linear_tensors(&plain, from), linear_tensors(&between, to);
        for (int i = 0; i < MOST; i++)
            twins[i] = twin_begin(ctx, &r, side, from[i], to[i]);
        linear_run(&plain), linear_run(&between);
        for (int i = 0; i < MOST; i++)
            twin_end(ctx, &twins[i], i, seed);
        guarded_free(&scratch);
        linear_free(&plain);
    }
    equinv_context_destroy(ctx);
}
END_TEST

static void guard_layers(equinv_context *ctx, const node_subject *kinds, uint64_t count)
{
    for (uint64_t seed = 0; ctx && seed < share_of(2 * ROUNDS); seed++) {
        rng r = {seed};
        const guard_side side = (guard_side)(seed % GUARD_SIDES);
        const node_sizes s = {EQUINV_F32,
                              (int)rng_range(&r, 1, 2),
                              rng_range(&r, 1, 9),
                              rng_range(&r, 1, 37),
                              rng_range(&r, 1, 7),
                              false,
                              true,
                              NULL,
                              0.5};
        node_layer plain = node_layer_new(ctx, &r, kinds[seed / 2 % count], &s), between = plain;
        between.scratch_size = plain.plan ? equinv_plan_scratch_size(plain.plan) : 0;
        guarded scratch = guarded_new(between.scratch_size, 64, side);
        guarded saved = guarded_new(plain.saved_size, 64, side);
        between.scratch = scratch.data;
        between.saved = plain.saved_size ? saved.data : NULL;
        equinv_tensor *from[MOST] = {[NODE_LAYER_TENSORS] = &plain.mask};
        equinv_tensor *to[MOST] = {[NODE_LAYER_TENSORS] = &between.mask};
        twin twins[MOST];
        node_layer_tensors(&plain, from), node_layer_tensors(&between, to);
        for (int i = 0; i < MOST; i++)
            twins[i] = twin_begin(ctx, &r, side, from[i], to[i]);
        node_layer_run(&plain), node_layer_run(&between);
        for (int i = 0; i < MOST; i++)
            twin_end(ctx, &twins[i], i, seed);
        guarded_free(&scratch), guarded_free(&saved);
        node_layer_free(&plain);
    }
    equinv_context_destroy(ctx);
}

START_TEST(norm)
{
    guard_layers(context_of(_i), (const node_subject[]){INSTANCE, LAYER}, 2);
}
END_TEST

START_TEST(pool_and_outer)
{
    guard_layers(context_of(_i), (const node_subject[]){MEAN, OUTER, SUM, SQUARE, MAX}, 5);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {linear_layers, TEST_LEVELS + 1}, {norm, TEST_LEVELS + 1}, {pool_and_outer, TEST_LEVELS}};
    return run_tests("node guard", tests, sizeof tests / sizeof *tests);
}
