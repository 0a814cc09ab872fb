/* Layers of nodes between pages that may not be touched: tensors as they lie, scratch of exactly its size. */
#include "tests/util/guard.h"
#include "tests/util/nodes.h"

enum { ROUNDS = 60, MOST = 12 };

/* A tensor of a call and its copy between guards, with the same strides. */
typedef struct twin {
    equinv_tensor plain, storage, guarded;
    guarded memory;
} twin;

typedef struct problem {
    equinv_context *ctx;
    rng *r;
    guard_side side;
    int count;
    twin twin[MOST];
} problem;

/* Takes t over; channels go last where there are nodes. */
static int add(problem *p, equinv_tensor t)
{
    twin *const to = &p->twin[p->count];
    ck_assert(p->count < MOST);
    *to = (twin){.plain = t, .storage = t};
    if (t.ndim >= 3 && rng_range(p->r, 0, 3)) {
        to->plain = nodes_channels_last(p->ctx, &t, &to->storage);
        equinv_tensor_destroy(p->ctx, &t);
    }
    to->guarded = guarded_copy(&to->plain, p->side, &to->memory);
    return p->count++;
}

static int add_values(problem *p, int order, int64_t batch, int64_t channels, int64_t nodes)
{
    return add(p, nodes_new(p->ctx, p->r, EQUINV_F32, order, batch, channels, nodes));
}

static int add_vector(problem *p, int64_t count)
{
    return add(p, tensor_random(p->ctx, p->r, EQUINV_F32, 1, (int)count));
}

/* The guarded call gave the bits of the plain one. */
static void finish(problem *p, uint64_t seed)
{
    for (int i = 0; i < p->count; i++) {
        twin *const t = &p->twin[i];
        for (int64_t k = 0; k < equinv_tensor_count(&t->plain); k++) {
            const double a = tensor_get(&t->plain, k), b = tensor_get(&t->guarded, k);
            ck_assert_msg(a == b, "tensor %d, seed %d", i, (int)seed);
        }
        equinv_tensor_destroy(p->ctx, &t->storage);
        guarded_free(&t->memory);
    }
}

/* Every level, then one thread, whose scratch ends where the runner's does. */
static equinv_context *context_of(int i)
{
    return i < TEST_LEVELS ? context_at_level(i) : context_of_threads(1);
}

#define PLAIN(i) (&p.twin[i].plain)
#define GUARDED(i) (&p.twin[i].guarded)

START_TEST(linear)
{
    equinv_context *const ctx = context_of(_i);
    if (!ctx)
        return;
    for (uint64_t seed = 0; seed < share_of(ROUNDS); seed++) {
        rng r = {seed};
        problem p = {.ctx = ctx, .r = &r, .side = (guard_side)(seed % GUARD_SIDES)};
        equinv_node_linear_desc d = EQUINV_NODE_LINEAR_DESC_INIT;
        int64_t shape[3];
        d.order_in = (int32_t)rng_range(&r, 1, 2), d.order_out = (int32_t)rng_range(&r, 1, 2);
        d.batch = rng_range(&r, 1, seed % 8 ? 4 : 40), d.nodes = rng_range(&r, 1, 8);
        d.channels_in = rng_range(&r, 1, 37), d.channels_out = rng_range(&r, 1, 37);
        d.symmetric = rng_range(&r, 0, 1), d.accumulate = rng_range(&r, 0, 1);
        if (seed % 16 == 1)
            d.nodes = rng_range(&r, 12, 30), d.channels_in = d.channels_out = 2;
        OK(equinv_node_linear_weights_shape(&d, shape));
        equinv_plan *plan;
        OK(equinv_node_linear_plan_create(ctx, &d, &plan));
        ck_assert_str_eq(equinv_plan_impl_name(plan), "node_linear/gemm");
        const int src = add_values(&p, d.order_in, d.batch, d.channels_in, d.nodes);
        const int diff_src = add_values(&p, d.order_in, d.batch, d.channels_in, d.nodes);
        const int dst = add_values(&p, d.order_out, d.batch, d.channels_out, d.nodes);
        const int diff_dst = add_values(&p, d.order_out, d.batch, d.channels_out, d.nodes);
        const int mask = add(&p, nodes_mask(ctx, &r, d.batch, d.nodes));
        equinv_tensor t[4];
        for (int i = 0; i < 4; i++) {
            t[i] = i < 2 ? tensor_random(ctx, &r, EQUINV_F32, 3, (int)shape[0], (int)shape[1],
                                         (int)shape[2])
                         : tensor_random(ctx, &r, EQUINV_F32, 2, d.order_out, (int)d.channels_out);
        }
        const int w = add(&p, t[0]), diff_w = add(&p, t[1]);
        const int b = add(&p, t[2]), diff_b = add(&p, t[3]);
        const size_t size = equinv_plan_scratch_size(plan);
        guarded scratch = guarded_new(size, 64, p.side);
#define RUN(AT, memory, bytes)                                                                     \
    do {                                                                                           \
        OK(equinv_node_linear_forward(plan, AT(src), AT(mask), AT(w), AT(b), AT(dst), memory,      \
                                      bytes));                                                     \
        OK(equinv_node_linear_backward_data(plan, AT(diff_dst), AT(mask), AT(w), AT(diff_src),     \
                                            memory, bytes));                                       \
        OK(equinv_node_linear_backward_weights(plan, AT(src), AT(mask), AT(diff_dst), AT(diff_w),  \
                                               AT(diff_b), memory, bytes));                        \
    } while (0)
        RUN(PLAIN, NULL, 0);
        RUN(GUARDED, scratch.data, size);
#undef RUN
        guarded_free(&scratch);
        finish(&p, seed);
        equinv_plan_destroy(plan);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(norm)
{
    equinv_context *const ctx = context_of(_i);
    if (!ctx)
        return;
    for (uint64_t seed = 0; seed < share_of(ROUNDS); seed++) {
        rng r = {seed};
        problem p = {.ctx = ctx, .r = &r, .side = (guard_side)(seed % GUARD_SIDES)};
        equinv_node_norm_desc d = EQUINV_NODE_NORM_DESC_INIT;
        d.kind = seed / 2 % 2 ? EQUINV_NODE_NORM_LAYER : EQUINV_NODE_NORM_INSTANCE;
        d.order = (int32_t)rng_range(&r, 1, 2), d.slope = 0.5;
        d.batch = rng_range(&r, 1, 9), d.nodes = rng_range(&r, 1, 7);
        d.channels = rng_range(&r, 1, 37);
        equinv_plan *plan;
        OK(equinv_node_norm_plan_create(ctx, &d, &plan));
        const int src = add_values(&p, d.order, d.batch, d.channels, d.nodes);
        const int dst = add_values(&p, d.order, d.batch, d.channels, d.nodes);
        const int diff_dst = add_values(&p, d.order, d.batch, d.channels, d.nodes);
        const int diff_src = add_values(&p, d.order, d.batch, d.channels, d.nodes);
        const int mask = add(&p, nodes_mask(ctx, &r, d.batch, d.nodes));
        const int gamma = add_vector(&p, d.channels), beta = add_vector(&p, d.channels);
        const int diff_gamma = add_vector(&p, d.channels), diff_beta = add_vector(&p, d.channels);
        const size_t size = equinv_plan_scratch_size(plan);
        guarded scratch = guarded_new(size, 64, p.side);
#define RUN(AT, memory, bytes)                                                                     \
    do {                                                                                           \
        OK(equinv_node_norm_forward(plan, AT(src), AT(mask), AT(gamma), AT(beta), AT(dst), memory, \
                                    bytes));                                                       \
        OK(equinv_node_norm_backward(plan, AT(src), AT(mask), AT(gamma), AT(beta), AT(diff_dst),   \
                                     AT(diff_src), AT(diff_gamma), AT(diff_beta), memory, bytes)); \
    } while (0)
        RUN(PLAIN, NULL, 0);
        RUN(GUARDED, scratch.data, size);
#undef RUN
        guarded_free(&scratch);
        finish(&p, seed);
        equinv_plan_destroy(plan);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(pool_and_outer)
{
    equinv_context *const ctx = context_of(_i);
    if (!ctx)
        return;
    for (uint64_t seed = 0; seed < share_of(ROUNDS); seed++) {
        rng r = {seed};
        problem p = {.ctx = ctx, .r = &r, .side = (guard_side)(seed % GUARD_SIDES)};
        equinv_node_pool_desc d = EQUINV_NODE_POOL_DESC_INIT;
        d.order = (int32_t)rng_range(&r, 1, 2);
        d.batch = rng_range(&r, 1, 5), d.nodes = rng_range(&r, 1, 7);
        d.channels = rng_range(&r, 1, 37);
        equinv_plan *plan;
        OK(equinv_node_pool_plan_create(ctx, &d, &plan));
        const int src = add_values(&p, d.order, d.batch, d.channels, d.nodes);
        const int diff_src = add_values(&p, d.order, d.batch, d.channels, d.nodes);
        const int mask = add(&p, nodes_mask(ctx, &r, d.batch, d.nodes));
        const int dst = add_vector(&p, d.batch * d.order * d.channels);
        const int a = add_values(&p, 1, d.batch, d.channels, d.nodes);
        const int b = add_values(&p, 1, d.batch, d.channels, d.nodes);
        const int diff_a = add_values(&p, 1, d.batch, d.channels, d.nodes);
        const int diff_b = add_values(&p, 1, d.batch, d.channels, d.nodes);
        const int y = add_values(&p, 2, d.batch, d.channels, d.nodes);
#define RUN(AT)                                                                                    \
    do {                                                                                           \
        equinv_tensor pooled;                                                                      \
        OK(equinv_tensor_init(AT(dst)->data, EQUINV_F32, 3,                                        \
                              (int64_t[]){d.batch, d.order, d.channels}, &pooled));                \
        OK(equinv_node_pool_forward(plan, AT(src), AT(mask), &pooled, NULL, 0, NULL, 0));          \
        OK(equinv_node_pool_backward(plan, &pooled, AT(mask), NULL, 0, AT(diff_src), NULL, 0));    \
        OK(equinv_node_outer_forward(ctx, AT(a), AT(b), AT(mask), AT(y)));                         \
        OK(equinv_node_outer_backward(ctx, AT(a), AT(b), AT(mask), AT(y), AT(diff_a),              \
                                      AT(diff_b)));                                                \
    } while (0)
        RUN(PLAIN);
        RUN(GUARDED);
#undef RUN
        finish(&p, seed);
        equinv_plan_destroy(plan);
    }
    equinv_context_destroy(ctx);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {linear, TEST_LEVELS + 1}, {norm, TEST_LEVELS + 1}, {pool_and_outer, TEST_LEVELS}};
    return run_tests("node guard", tests, sizeof tests / sizeof *tests);
}
