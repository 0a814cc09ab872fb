/* Layers of nodes and pairs on CUDA against the CPU's reference: values, gradients, masks, layouts. */
#include <math.h>

#include "tests/util/cuda.h"
#include "tests/util/nodes.h"

enum { ROUNDS = 200, MOST = 12 };

/* A tensor of a problem on the CPU and the same in some layout on the device; outputs are compared. */
typedef struct twin {
    equinv_tensor here;
    cuda_laid there;
    bool output;
} twin;

typedef struct problem {
    equinv_context *cpu, *cuda;
    rng *r;
    bool strided;
    int count;
    twin twin[MOST];
} problem;

static cuda_laid row_major(equinv_context *cpu, equinv_context *cuda, const equinv_tensor *t)
{
    cuda_laid l = {.here.storage = tensor_copy(cpu, t)};
    l.here.view = l.here.storage;
    l.view = l.storage = cuda_copy(cuda, t);
    return l;
}

/* Takes the tensor over; its number. */
static int take(problem *p, equinv_tensor t, bool output)
{
    twin *const to = &p->twin[p->count];
    ck_assert(p->count < MOST);
    *to = (twin){t, p->strided ? cuda_laid_copy(p->cuda, p->r, &t) : row_major(p->cpu, p->cuda, &t),
                 output};
    return p->count++;
}

static int give(problem *p, equinv_dtype dtype, int ndim, const int64_t *shape, bool output)
{
    equinv_tensor t;
    OK(equinv_tensor_create(p->cpu, dtype, ndim, shape, &t));
    tensor_fill_random(p->r, &t);
    return take(p, t, output);
}

#define HERE(i) (&p.twin[i].here)
#define THERE(i) (&p.twin[i].there.view)

/* What was summed is as large as 1: an output that cancels says nothing of the error. */
static void compare(problem *p, double tolerance, uint64_t seed)
{
    for (int i = 0; i < p->count; i++) {
        twin *const t = &p->twin[i];
        if (t->output) {
            cuda_laid_fetch(p->cuda, &t->there);
            const double error = tensor_error(&t->there.here.view, &t->here, NULL) *
                                 fmin(tensor_max_abs(&t->here), 1);
            ck_assert_msg(error <= tolerance, "tensor %d differs by %g, seed %d", i, error,
                          (int)seed);
            ck_assert_msg(laid_gaps_kept(&t->there.here), "gaps of %d, seed %d", i, (int)seed);
        }
        equinv_tensor_destroy(p->cpu, &t->here);
        cuda_laid_free(p->cuda, &t->there);
    }
}

static problem problem_new(equinv_context *cpu, equinv_context *cuda, rng *r)
{
    return (problem){cpu, cuda, r, rng_range(r, 0, 1), 0, {{{0}, {{{0}, {0}}, {0}, {0}}, false}}};
}

START_TEST(linear_equals_ref)
{
    equinv_context *const cpu = context_new(), *const cuda = cuda_context_new();
    for (uint64_t seed = 0; seed < share_of(ROUNDS); seed++) {
        rng r = {seed};
        problem p = problem_new(cpu, cuda, &r);
        equinv_node_linear_desc d = EQUINV_NODE_LINEAR_DESC_INIT;
        int64_t weights[3];
        d.dtype = seed % 2 ? EQUINV_F64 : EQUINV_F32;
        d.order_in = 1 + seed / 2 % 2, d.order_out = 1 + seed / 4 % 2;
        d.symmetric = rng_range(&r, 0, 2) == 0;
        d.batch = rng_range(&r, 0, 4), d.nodes = rng_range(&r, 1, 6);
        d.channels_in = rng_range(&r, 1, 7), d.channels_out = rng_range(&r, 1, 7);
        d.bias = rng_range(&r, 0, 1), d.accumulate = rng_range(&r, 0, 1);
        OK(equinv_node_linear_weights_shape(&d, weights));
        const int64_t in[4] = {d.batch, d.channels_in, d.nodes, d.nodes};
        const int64_t out[4] = {d.batch, d.channels_out, d.nodes, d.nodes};
        const int64_t bias[2] = {d.order_out, d.channels_out};
        const int src = give(&p, d.dtype, 2 + d.order_in, in, false);
        const int w = give(&p, d.dtype, 3, weights, false);
        const int b = give(&p, d.dtype, 2, bias, false);
        const int diff_dst = give(&p, d.dtype, 2 + d.order_out, out, false);
        const int mask = take(&p, nodes_mask(cpu, &r, d.batch, d.nodes), false);
        const int dst = give(&p, d.dtype, 2 + d.order_out, out, true);
        const int diff_src = give(&p, d.dtype, 2 + d.order_in, in, true);
        const int diff_w = give(&p, d.dtype, 3, weights, true);
        const int diff_b = give(&p, d.dtype, 2, bias, true);
        const bool masked = rng_range(&r, 0, 2);
        equinv_plan *ref, *plan;
        OK(equinv_node_linear_plan_create(cuda, &d, &plan));
        d.impl = "ref";
        OK(equinv_node_linear_plan_create(cpu, &d, &ref));
#define RUN(plan, AT)                                                                              \
    do {                                                                                           \
        const equinv_tensor *const there = masked ? AT(mask) : NULL;                               \
        OK(equinv_node_linear_forward(plan, AT(src), there, AT(w), d.bias ? AT(b) : NULL, AT(dst), \
                                      NULL, 0));                                                   \
        OK(equinv_node_linear_backward_data(plan, AT(diff_dst), there, AT(w), AT(diff_src), NULL,  \
                                            0));                                                   \
        OK(equinv_node_linear_backward_weights(plan, AT(src), there, AT(diff_dst), AT(diff_w),     \
                                               AT(diff_b), NULL, 0));                              \
    } while (0)
        RUN(ref, HERE);
        RUN(plan, THERE);
#undef RUN
        compare(&p, seed % 2 ? 1e-13 : 2e-6, seed);
        equinv_plan_destroy(ref), equinv_plan_destroy(plan);
    }
    equinv_context_destroy(cuda), equinv_context_destroy(cpu);
}
END_TEST

START_TEST(norm_equals_ref)
{
    equinv_context *const cpu = context_new(), *const cuda = cuda_context_new();
    for (uint64_t seed = 0; seed < share_of(ROUNDS); seed++) {
        rng r = {seed + 1000};
        problem p = problem_new(cpu, cuda, &r);
        equinv_node_norm_desc d = EQUINV_NODE_NORM_DESC_INIT;
        d.dtype = seed % 2 ? EQUINV_F64 : EQUINV_F32;
        d.kind = seed / 2 % 2 ? EQUINV_NODE_NORM_LAYER : EQUINV_NODE_NORM_INSTANCE;
        d.order = 1 + seed / 4 % 2, d.epsilon = 1e-3, d.slope = rng_range(&r, 0, 1) ? 1 : 0.25;
        d.batch = rng_range(&r, 0, 5), d.nodes = rng_range(&r, 1, 6);
        d.channels = rng_range(&r, 1, 9), d.accumulate = rng_range(&r, 0, 1);
        const int64_t shape[4] = {d.batch, d.channels, d.nodes, d.nodes};
        const int src = give(&p, d.dtype, 2 + d.order, shape, false);
        const int gamma = give(&p, d.dtype, 1, &d.channels, false);
        const int beta = give(&p, d.dtype, 1, &d.channels, false);
        const int diff_dst = give(&p, d.dtype, 2 + d.order, shape, false);
        const int mask = take(&p, nodes_mask(cpu, &r, d.batch, d.nodes), false);
        const int dst = give(&p, d.dtype, 2 + d.order, shape, true);
        const int diff_src = give(&p, d.dtype, 2 + d.order, shape, true);
        const int diff_gamma = give(&p, d.dtype, 1, &d.channels, true);
        const int diff_beta = give(&p, d.dtype, 1, &d.channels, true);
        const bool masked = rng_range(&r, 0, 2);
        equinv_plan *ref, *plan;
        OK(equinv_node_norm_plan_create(cuda, &d, &plan));
        d.impl = "ref";
        OK(equinv_node_norm_plan_create(cpu, &d, &ref));
#define RUN(plan, AT)                                                                              \
    do {                                                                                           \
        const equinv_tensor *const there = masked ? AT(mask) : NULL;                               \
        OK(equinv_node_norm_forward(plan, AT(src), there, AT(gamma), AT(beta), AT(dst), NULL, 0)); \
        OK(equinv_node_norm_backward(plan, AT(src), there, AT(gamma), AT(beta), AT(diff_dst),      \
                                     AT(diff_src), AT(diff_gamma), AT(diff_beta), NULL, 0));       \
    } while (0)
        RUN(ref, HERE);
        RUN(plan, THERE);
#undef RUN
        compare(&p, seed % 2 ? 1e-13 : 2e-6, seed);
        equinv_plan_destroy(ref), equinv_plan_destroy(plan);
    }
    equinv_context_destroy(cuda), equinv_context_destroy(cpu);
}
END_TEST

START_TEST(pool_equals_ref)
{
    equinv_context *const cpu = context_new(), *const cuda = cuda_context_new();
    for (uint64_t seed = 0; seed < share_of(ROUNDS); seed++) {
        rng r = {seed + 2000};
        problem p = problem_new(cpu, cuda, &r);
        equinv_node_pool_desc d = EQUINV_NODE_POOL_DESC_INIT;
        d.dtype = seed % 2 ? EQUINV_F64 : EQUINV_F32;
        d.kind = (equinv_node_pool_kind)(EQUINV_NODE_POOL_MEAN + seed / 2 % 3);
        d.order = (int32_t)rng_range(&r, 1, 2);
        d.batch = rng_range(&r, 0, 5), d.nodes = rng_range(&r, 1, 6);
        d.channels = rng_range(&r, 1, 9), d.accumulate = rng_range(&r, 0, 1);
        const int64_t shape[4] = {d.batch, d.channels, d.nodes, d.nodes};
        const int64_t pooled[3] = {d.batch, d.order, d.channels};
        const int src = give(&p, d.dtype, 2 + d.order, shape, false);
        const int diff_dst = give(&p, d.dtype, 3, pooled, false);
        const int mask = take(&p, nodes_mask(cpu, &r, d.batch, d.nodes), false);
        const int dst = give(&p, d.dtype, 3, pooled, true);
        const int diff_src = give(&p, d.dtype, 2 + d.order, shape, true);
        const bool masked = rng_range(&r, 0, 2);
        equinv_plan *ref, *plan;
        OK(equinv_node_pool_plan_create(cuda, &d, &plan));
        d.impl = "ref";
        OK(equinv_node_pool_plan_create(cpu, &d, &ref));
        const size_t size = equinv_plan_saved_size(plan);
        ck_assert(size == equinv_plan_saved_size(ref));
        const int64_t winners = (int64_t)(size / sizeof(int32_t));
        int saved = -1;
        if (winners > 0) {
            p.strided = false;
            saved = give(&p, EQUINV_I32, 1, &winners, true);
        }
#define RUN(plan, AT)                                                                              \
    do {                                                                                           \
        const equinv_tensor *const there = masked ? AT(mask) : NULL;                               \
        void *const memory = winners > 0 ? AT(saved)->data : NULL;                                 \
        OK(equinv_node_pool_forward(plan, AT(src), there, AT(dst), memory, size, NULL, 0));        \
        OK(equinv_node_pool_backward(plan, AT(diff_dst), there, memory, size, AT(diff_src), NULL,  \
                                     0));                                                          \
    } while (0)
        RUN(ref, HERE);
        RUN(plan, THERE);
#undef RUN
        compare(&p, seed % 2 ? 1e-13 : 2e-6, seed);
        equinv_plan_destroy(ref), equinv_plan_destroy(plan);
    }
    equinv_context_destroy(cuda), equinv_context_destroy(cpu);
}
END_TEST

START_TEST(outer_equals_ref)
{
    equinv_context *const cpu = context_new(), *const cuda = cuda_context_new();
    for (uint64_t seed = 0; seed < share_of(ROUNDS); seed++) {
        rng r = {seed + 3000};
        problem p = problem_new(cpu, cuda, &r);
        const equinv_dtype dtype = seed % 2 ? EQUINV_F64 : EQUINV_F32;
        const bool squared = seed / 2 % 2, masked = rng_range(&r, 0, 2);
        const int64_t n = rng_range(&r, 1, 6);
        const int64_t shape[4] = {rng_range(&r, 0, 5), rng_range(&r, 1, 9), n, n};
        const int a = give(&p, dtype, 3, shape, false), b = give(&p, dtype, 3, shape, false);
        const int diff_dst = give(&p, dtype, 4, shape, false);
        const int mask = take(&p, nodes_mask(cpu, &r, shape[0], n), false);
        const int dst = give(&p, dtype, 4, shape, true), diff_a = give(&p, dtype, 3, shape, true);
        const int diff_b = give(&p, dtype, 3, shape, !squared);
#define RUN(ctx, AT)                                                                               \
    do {                                                                                           \
        const equinv_tensor *const there = masked ? AT(mask) : NULL;                               \
        OK(equinv_node_outer_forward(ctx, AT(a), squared ? NULL : AT(b), there, AT(dst)));         \
        OK(equinv_node_outer_backward(ctx, AT(a), squared ? NULL : AT(b), there, AT(diff_dst),     \
                                      AT(diff_a), squared ? NULL : AT(diff_b)));                   \
    } while (0)
        RUN(cpu, HERE);
        RUN(cuda, THERE);
#undef RUN
        compare(&p, seed % 2 ? 1e-13 : 2e-6, seed);
    }
    equinv_context_destroy(cuda), equinv_context_destroy(cpu);
}
END_TEST

START_TEST(names_and_what_is_too_large)
{
    equinv_context *const cuda = cuda_context_new();
    equinv_plan *plan = NULL;
    equinv_node_linear_desc d = EQUINV_NODE_LINEAR_DESC_INIT;
    d.batch = 2, d.nodes = 3, d.channels_in = d.channels_out = 4;
    d.impl = "ref";
    FAILS(EQUINV_ERR_ARG, "expected one of plain", equinv_node_linear_plan_create(cuda, &d, &plan));
    d.impl = NULL, d.order_in = d.order_out = 1;
    d.batch = INT64_C(1) << 20, d.channels_in = INT64_C(1) << 20, d.nodes = INT64_C(1) << 20;
    FAILS(EQUINV_ERR_SHAPE, "scratch has more", equinv_node_linear_plan_create(cuda, &d, &plan));
    equinv_context_destroy(cuda);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {linear_equals_ref, 1},
        {norm_equals_ref, 1},
        {pool_equals_ref, 1},
        {outer_equals_ref, 1},
        {names_and_what_is_too_large, 1},
    };
    return run_cuda_tests("cuda/node", tests, sizeof tests / sizeof *tests);
}
