/* Layers of nodes and pairs on CUDA against the CPU's reference: values, gradients, masks, layouts. */
#include <math.h>

#include "tests/cuda/sides.h"
#include "tests/util/node_layers.h"
#include "tests/util/node_linear.h"

enum { ROUNDS = 200, MOST = 10 };

/* A tensor of a layer on the CPU, and the same in some layout on the device. */
typedef struct twin {
    equinv_tensor *here;
    cuda_laid there;
} twin;

static twin twin_begin(sides *s, bool strided, equinv_tensor *here, equinv_tensor *there)
{
    const twin t = {here, sides_place(s, here, strided)};
    *there = t.there.view;
    return t;
}

/* What was summed is as large as 1: an output that cancels says nothing of the error. */
static void twin_end(sides *s, twin *t, int number, double tolerance, uint64_t seed)
{
    equinv_tensor found = sides_take(s, &t->there);
    const double error = tensor_error(&found, t->here, NULL) * fmin(tensor_max_abs(t->here), 1);
    ck_assert_msg(error <= tolerance, "tensor %d differs by %g, seed %d", number, error, (int)seed);
    equinv_tensor_destroy(s->cpu, &found);
    cuda_laid_free(s->gpu, &t->there);
}

START_TEST(linear_equals_ref)
{
    sides s = sides_new(0);
    for (uint64_t seed = 0; seed < share_of(ROUNDS); seed++) {
        s.r = (rng){seed};
        const bool strided = rng_range(&s.r, 0, 1), masked = rng_range(&s.r, 0, 2);
        equinv_node_linear_desc d = EQUINV_NODE_LINEAR_DESC_INIT;
        d.dtype = seed % 2 ? EQUINV_F64 : EQUINV_F32;
        d.order_in = 1 + seed / 2 % 2, d.order_out = 1 + seed / 4 % 2;
        d.symmetric = rng_range(&s.r, 0, 2) == 0;
        d.batch = rng_range(&s.r, 0, 4), d.nodes = rng_range(&s.r, 1, 6);
        d.channels_in = rng_range(&s.r, 1, 7), d.channels_out = rng_range(&s.r, 1, 7);
        d.bias = rng_range(&s.r, 0, 1), d.accumulate = rng_range(&s.r, 0, 1);
        d.impl = "ref";
        linear here = linear_new(s.cpu, &s.r, &d, masked), there = here;
        d.impl = NULL;
        OK(equinv_node_linear_plan_create(s.gpu, &d, &there.plan));
        equinv_tensor *from[MOST] = {[LINEAR_TENSORS] = &here.mask};
        equinv_tensor *to[MOST] = {[LINEAR_TENSORS] = &there.mask};
        twin twins[MOST];
        linear_tensors(&here, from), linear_tensors(&there, to);
        for (int i = 0; i <= LINEAR_TENSORS; i++)
            twins[i] = twin_begin(&s, strided, from[i], to[i]);
        linear_run(&here), linear_run(&there);
        for (int i = 0; i <= LINEAR_TENSORS; i++)
            twin_end(&s, &twins[i], i, seed % 2 ? 1e-13 : 2e-6, seed);
        equinv_plan_destroy(there.plan);
        linear_free(&here);
    }
    sides_free(&s);
}
END_TEST

START_TEST(layers_equal_ref)
{
    const node_subject kind = (node_subject)_i;
    sides s = sides_new(0);
    for (uint64_t seed = 0; seed < share_of(ROUNDS / 2); seed++) {
        s.r = (rng){1000 * (uint64_t)(_i + 1) + seed};
        const bool strided = rng_range(&s.r, 0, 1);
        node_sizes size = {seed % 2 ? EQUINV_F64 : EQUINV_F32,
                           1 + (int)(seed / 2 % 2),
                           rng_range(&s.r, 0, 5),
                           rng_range(&s.r, 1, 9),
                           rng_range(&s.r, 1, 6),
                           rng_range(&s.r, 0, 1),
                           rng_range(&s.r, 0, 2),
                           "ref",
                           rng_range(&s.r, 0, 1) ? 1 : 0.25};
        node_layer here = node_layer_new(s.cpu, &s.r, kind, &size), there = here;
        size.impl = NULL;
        there.ctx = s.gpu;
        if (here.plan)
            OK(node_layer_plan(s.gpu, kind, &size, &there.plan));
        ck_assert(!here.plan || equinv_plan_saved_size(there.plan) == here.saved_size);
        const int64_t winners = (int64_t)(here.saved_size / sizeof(int32_t));
        equinv_tensor saved = {0}, saved_there;
        equinv_tensor *from[MOST] = {[NODE_LAYER_TENSORS] = &here.mask, &saved};
        equinv_tensor *to[MOST] = {[NODE_LAYER_TENSORS] = &there.mask, &saved_there};
        const int count = winners > 0 ? MOST : MOST - 1;
        twin twins[MOST];
        node_layer_tensors(&here, from), node_layer_tensors(&there, to);
        if (winners > 0) {
            memset(here.saved, 0, here.saved_size);
            OK(equinv_tensor_init(here.saved, EQUINV_I32, 1, &winners, &saved));
        }
        for (int i = 0; i < count; i++)
            twins[i] = twin_begin(&s, strided && i < MOST - 1, from[i], to[i]);
        there.saved = winners > 0 ? saved_there.data : NULL;
        node_layer_run(&here), node_layer_run(&there);
        for (int i = 0; i < count; i++)
            twin_end(&s, &twins[i], i, seed % 2 ? 1e-13 : 2e-6, seed);
        equinv_plan_destroy(there.plan);
        node_layer_free(&here);
    }
    sides_free(&s);
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
        {layers_equal_ref, SUBJECTS},
        {names_and_what_is_too_large, 1},
    };
    return run_cuda_tests("cuda/node", tests, sizeof tests / sizeof *tests);
}
