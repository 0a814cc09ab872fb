/* Outer product, normalisation and pooling of nodes and pairs: values,
 * permutations, gradients, refusals. */
#include <math.h>

#include "tests/util/node_layers.h"
#include "tests/util/refusal.h"

enum { ROUNDS = 240, MOST = 12 };

/* ---- values ---------------------------------------------------------------------------------- */

/* The places of a sample, [i, j] with j = i where there is one index. */
typedef struct places {
    int64_t count, i[MOST * MOST], j[MOST * MOST];
} places;

static places places_of(const node_layer *l, int64_t b)
{
    places p = {.count = 0};
    const int64_t n = l->src.shape[2];
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++)
            if ((l->order == 2 || i == j) && nodes_there(node_layer_mask(l), b, i) &&
                nodes_there(node_layer_mask(l), b, j)) {
                p.i[p.count] = i;
                p.j[p.count++] = j;
            }
    return p;
}

static double get(const node_layer *l, const equinv_tensor *t, int64_t b, int64_t c, int64_t i,
                  int64_t j)
{
    const int64_t n = l->src.shape[2], at = (b * l->src.shape[1] + c) * n + i;
    return tensor_get(t, t->ndim == 4 ? at * n + j : at);
}

static double expected_norm(const node_layer *l, int64_t b, int64_t c, int64_t i, int64_t j)
{
    const places p = places_of(l, b);
    double values[MOST * MOST], mean = 0, variance = 0;
    const int64_t count = l->kind == LAYER ? l->src.shape[1] : p.count;
    for (int64_t k = 0; k < count; k++) {
        values[k] =
            l->kind == LAYER ? get(l, &l->src, b, k, i, j) : get(l, &l->src, b, c, p.i[k], p.j[k]);
        mean += values[k] / (double)count;
    }
    for (int64_t k = 0; k < count; k++)
        variance += (values[k] - mean) * (values[k] - mean) / (double)count;
    const double y = tensor_get(&l->parameter[0], c) * (get(l, &l->src, b, c, i, j) - mean) /
                         sqrt(variance + 1e-3) +
                     tensor_get(&l->parameter[1], c);
    return y < 0 ? l->slope * y : y;
}

static double expected_pool(const node_layer *l, int64_t b, int64_t row, int64_t c)
{
    const places p = places_of(l, b);
    double sum = 0, most = 0;
    int64_t count = 0;
    for (int64_t k = 0; k < p.count; k++) {
        if (l->order == 2 && (p.i[k] != p.j[k]) != (row == 1))
            continue;
        const double x = get(l, &l->src, b, c, p.i[k], p.j[k]);
        sum += x;
        most = count++ == 0 ? x : fmax(most, x);
    }
    return count == 0 ? 0 : l->kind == MAX ? most : l->kind == SUM ? sum : sum / (double)count;
}

static double expected(const node_layer *l, int64_t b, int64_t c, int64_t i, int64_t j)
{
    if (!nodes_there(node_layer_mask(l), b, i) || !nodes_there(node_layer_mask(l), b, j))
        return 0;
    if (node_is_norm(l->kind))
        return expected_norm(l, b, c, i, j);
    return get(l, &l->src, b, c, i, 0) *
           get(l, l->kind == OUTER ? &l->parameter[0] : &l->src, b, c, j, 0);
}

START_TEST(forward_is_the_definition)
{
    equinv_context *const ctx = context_new();
    for (uint64_t seed = 0; seed < share_of(ROUNDS); seed++) {
        rng r = {seed};
        const node_sizes s = node_layer_random(&r, seed % 2 ? EQUINV_F64 : EQUINV_F32);
        node_layer l = node_layer_new(ctx, &r, (node_subject)_i, &s);
        OK(node_layer_forward(&l));
        const double tolerance = seed % 2 ? 1e-12 : 2e-5;
        for (int64_t k = 0; k < equinv_tensor_count(&l.dst); k++) {
            double value;
            if (node_is_pool(l.kind)) {
                value = expected_pool(&l, k / (s.channels * s.order), k / s.channels % s.order,
                                      k % s.channels);
            } else {
                const int64_t columns = node_layer_dst_order(&l) == 2 ? s.nodes : 1;
                const int64_t i = k / columns % s.nodes, bc = k / (columns * s.nodes);
                value = expected(&l, bc / s.channels, bc % s.channels, i,
                                 columns > 1 ? k % columns : i);
            }
            ck_assert_msg(fabs(tensor_get(&l.dst, k) - value) <= tolerance,
                          "seed %d: %g, expected %g", (int)seed, tensor_get(&l.dst, k), value);
        }
        node_layer_free(&l);
    }
    equinv_context_destroy(ctx);
}
END_TEST

/* Fast code on every level against the reference, channels last; outer products
 * in f64 are the reference. */
START_TEST(fast_equals_ref)
{
    equinv_context *const ctx = context_at_level(_i);
    if (!ctx)
        return;
    for (uint64_t seed = 0; seed < share_of(SUBJECTS * ROUNDS); seed++) {
        const node_subject kind = (node_subject)(seed % SUBJECTS);
        rng r = {seed + 500}, again;
        node_sizes s = node_layer_random(&r, EQUINV_F32);
        if (seed % 16 == 0)
            s.batch = rng_range(&r, 20, 60), s.nodes = 9, s.channels = 32;
        s.impl = "fast";
        again = r;
        node_layer fast = node_layer_new(ctx, &r, kind, &s);
        s.impl = "ref", s.dtype = node_is_outer(kind) ? EQUINV_F64 : EQUINV_F32;
        node_layer ref = node_layer_new(ctx, &again, kind, &s);
        equinv_tensor *all[NODE_LAYER_TENSORS], kept[NODE_LAYER_TENSORS],
            storage[NODE_LAYER_TENSORS];
        node_layer_tensors(&fast, all);
        const bool last = rng_range(&r, 0, 3);
        for (int i = 0; i < NODE_LAYER_TENSORS && last; i++) {
            kept[i] = *all[i];
            if (all[i]->ndim > 2 &&
                !(node_is_pool(kind) && (all[i] == &fast.dst || all[i] == &fast.diff_dst)))
                *all[i] = nodes_channels_last(ctx, &kept[i], &storage[i]);
        }
        node_layer_run(&fast), node_layer_run(&ref);
        equinv_tensor *const got[] = {&fast.dst, &fast.diff_src, &fast.diff_parameter[0],
                                      &fast.diff_parameter[1]};
        equinv_tensor *const want[] = {&ref.dst, &ref.diff_src, &ref.diff_parameter[0],
                                       &ref.diff_parameter[1]};
        for (int i = 0; i < (kind == OUTER ? 3 : node_is_norm(kind) ? 4 : 2); i++) {
            equinv_tensor wide = tensor_as(ctx, want[i], EQUINV_F64),
                          own = tensor_as(ctx, got[i], EQUINV_F64);
            /* relative to the terms of a sum, which may be small itself */
            const double most = tensor_max_abs(&wide);
            const double error = tensor_error(&own, &wide, NULL) * most / fmax(most, 1);
            ck_assert_msg(error <= (node_is_norm(kind) ? 1e-5 : 1e-6), "%d, seed %d: %g", i,
                          (int)seed, error);
            equinv_tensor_destroy(ctx, &wide), equinv_tensor_destroy(ctx, &own);
        }
        for (int i = 0; i < NODE_LAYER_TENSORS && last; i++)
            if (all[i]->data != kept[i].data) {
                equinv_tensor_destroy(ctx, &storage[i]);
                *all[i] = kept[i];
            }
        node_layer_free(&fast), node_layer_free(&ref);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(thread_count_changes_no_bit)
{
    equinv_context *const ctx[2] = {context_of_threads(1), context_new()};
    node_layer l[2];
    for (int k = 0; k < 2; k++) {
        rng r = {41};
        const node_sizes s = {EQUINV_F32, 2, 64, 32, 9, false, true, "fast", 0.5};
        l[k] = node_layer_new(ctx[k], &r, (node_subject)_i, &s);
        node_layer_run(&l[k]);
    }
    ASSERT_SAME(&l[0].dst, &l[1].dst);
    ASSERT_SAME(&l[0].diff_src, &l[1].diff_src);
    for (int i = 0; i < 2; i++)
        ASSERT_SAME(&l[0].diff_parameter[i], &l[1].diff_parameter[i]);
    node_layer_free(&l[0]), node_layer_free(&l[1]);
    equinv_context_destroy(ctx[0]), equinv_context_destroy(ctx[1]);
}
END_TEST

/* ---- permutations and masks ------------------------------------------------------------------ */

START_TEST(commutes_with_permutations)
{
    equinv_context *const ctx = context_new();
    for (uint64_t seed = 0; seed < share_of(ROUNDS); seed++) {
        rng r = {seed + 1000}, again;
        node_sizes s = node_layer_random(&r, seed % 2 ? EQUINV_F64 : EQUINV_F32);
        s.accumulate = false;
        again = r;
        node_layer l = node_layer_new(ctx, &r, (node_subject)_i, &s),
                   moved = node_layer_new(ctx, &again, l.kind, &s);
        int64_t place[MOST];
        nodes_shuffle(&r, s.nodes, place);
        nodes_permute(ctx, &moved.src, l.order, place);
        nodes_permute(ctx, &moved.mask, 0, place);
        if (node_is_outer(l.kind))
            nodes_permute(ctx, &moved.parameter[0], 1, place);
        if (!node_is_pool(l.kind))
            nodes_permute(ctx, &moved.diff_dst, node_layer_dst_order(&l), place);
        node_layer_run(&l), node_layer_run(&moved);
        if (!node_is_pool(l.kind))
            nodes_permute(ctx, &l.dst, node_layer_dst_order(&l), place);
        nodes_permute(ctx, &l.diff_src, l.order, place);
        const double tolerance = seed % 2 ? 1e-12 : 2e-5;
        ASSERT_CLOSE(&moved.dst, &l.dst, tolerance);
        ASSERT_CLOSE(&moved.diff_src, &l.diff_src, tolerance);
        if (node_is_norm(l.kind)) {
            ASSERT_CLOSE(&moved.diff_parameter[0], &l.diff_parameter[0], tolerance);
            ASSERT_CLOSE(&moved.diff_parameter[1], &l.diff_parameter[1], tolerance);
        }
        node_layer_free(&l), node_layer_free(&moved);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(absent_nodes_do_not_leak)
{
    equinv_context *const ctx = context_new();
    for (uint64_t seed = 0; seed < share_of(ROUNDS); seed++) {
        rng r = {seed + 2000}, again;
        node_sizes s = node_layer_random(&r, seed % 2 ? EQUINV_F64 : EQUINV_F32);
        s.accumulate = false, s.masked = true;
        again = r;
        node_layer l = node_layer_new(ctx, &r, (node_subject)_i, &s),
                   bad = node_layer_new(ctx, &again, l.kind, &s);
        nodes_set_absent(&bad.src, l.order, &bad.mask, (double)NAN);
        if (node_is_outer(l.kind))
            nodes_set_absent(&bad.parameter[0], 1, &bad.mask, (double)NAN);
        if (!node_is_pool(l.kind))
            nodes_set_absent(&bad.diff_dst, node_layer_dst_order(&l), &bad.mask, (double)NAN);
        node_layer_run(&l), node_layer_run(&bad);
        ASSERT_SAME(&bad.dst, &l.dst);
        ASSERT_SAME(&bad.diff_src, &l.diff_src);
        ck_assert(nodes_absent_are_zero(&l.diff_src, l.order, &l.mask));
        ck_assert(node_is_pool(l.kind) ||
                  nodes_absent_are_zero(&l.dst, node_layer_dst_order(&l), &l.mask));
        for (int i = 0; i < 2; i++)
            ASSERT_SAME(&bad.diff_parameter[i], &l.diff_parameter[i]);
        node_layer_free(&l), node_layer_free(&bad);
    }
    equinv_context_destroy(ctx);
}
END_TEST

/* ---- gradients ------------------------------------------------------------------------------- */

static double loss(void *arg)
{
    node_layer *const l = arg;
    OK(node_layer_forward(l));
    return tensor_dot(&l->dst, &l->diff_dst);
}

START_TEST(gradient_by_differences)
{
    equinv_context *const ctx = context_new();
    for (uint64_t seed = 0; seed < share_of(80); seed++) {
        rng r = {seed + 3000};
        node_sizes s = node_layer_random(&r, EQUINV_F64);
        s.accumulate = false, s.channels = (s.channels - 1) % 6 + 1;
        node_layer l = node_layer_new(ctx, &r, (node_subject)_i, &s);
        node_layer_run(&l);
        const double step = node_is_norm(l.kind) ? 1e-5 : 1e-4;
        const double tolerance = node_is_norm(l.kind) ? 1e-6 : 1e-8;
        ck_assert_msg(gradient_mismatch(&l.src, &l.diff_src, loss, &l, step, tolerance, 30) < 0,
                      "src, seed %d", (int)seed);
        const int parameters = node_is_norm(l.kind) ? 2 : l.kind == OUTER;
        for (int i = 0; i < parameters; i++)
            ck_assert_msg(gradient_mismatch(&l.parameter[i], &l.diff_parameter[i], loss, &l, step,
                                            tolerance, 30) < 0,
                          "parameter %d, seed %d", i, (int)seed);
        node_layer_free(&l);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(accumulate_adds_to_gradients)
{
    equinv_context *const ctx = context_new();
    for (int order = 1; order <= 2 && !node_is_outer((node_subject)_i); order++) {
        rng r = {31}, again = r;
        node_sizes s = {EQUINV_F64, order, 3, 4, 5, false, true, "ref", 0.5};
        node_layer once = node_layer_new(ctx, &r, (node_subject)_i, &s);
        s.accumulate = true;
        node_layer sum = node_layer_new(ctx, &again, once.kind, &s);
        node_layer_run(&once);
        equinv_tensor *const results[] = {&once.diff_src, &once.diff_parameter[0],
                                          &once.diff_parameter[1]};
        equinv_tensor *const sums[] = {&sum.diff_src, &sum.diff_parameter[0],
                                       &sum.diff_parameter[1]};
        for (int i = 0; i < 3; i++)
            OK(equinv_tensor_convert(ctx, results[i], 1.0, 0.0, sums[i]));
        node_layer_run(&sum), node_layer_run(&sum);
        for (int i = node_is_norm(once.kind); i < (node_is_norm(once.kind) ? 3 : 1); i++) {
            OK(equinv_tensor_convert(ctx, results[i], 3.0, 0.0, results[i]));
            ASSERT_CLOSE(sums[i], results[i], 1e-14);
        }
        node_layer_free(&once), node_layer_free(&sum);
    }
    equinv_context_destroy(ctx);
}
END_TEST

/* ---- layouts, samples ------------------------------------------------------------------------ */

START_TEST(any_layout)
{
    equinv_context *const ctx = context_new();
    for (uint64_t seed = 0; seed < share_of(ROUNDS); seed++) {
        rng r = {seed + 4000}, again;
        const node_sizes s = node_layer_random(&r, seed % 2 ? EQUINV_F64 : EQUINV_F32);
        again = r;
        node_layer plain = node_layer_new(ctx, &r, (node_subject)_i, &s);
        node_layer l = node_layer_new(ctx, &again, plain.kind, &s);
        equinv_tensor *all[NODE_LAYER_TENSORS];
        node_layer_tensors(&l, all);
        relaid other[NODE_LAYER_TENSORS];
        relaid_begin(ctx, &r, all, NODE_LAYER_TENSORS, other);
        node_layer_run(&plain), node_layer_run(&l);
        const double tolerance = seed % 2 ? 1e-12 : 2e-5;
        ck_assert_msg(tensor_error(&l.dst, &plain.dst, NULL) <= tolerance, "dst, seed %d",
                      (int)seed);
        ck_assert_msg(tensor_error(&l.diff_src, &plain.diff_src, NULL) <= tolerance,
                      "diff_src, seed %d", (int)seed);
        for (int i = 0; i < 2; i++)
            ck_assert_msg(tensor_error(&l.diff_parameter[i], &plain.diff_parameter[i], NULL) <=
                              tolerance,
                          "parameter %d, seed %d", i, (int)seed);
        relaid_end(ctx, other, NODE_LAYER_TENSORS);
        node_layer_free(&plain), node_layer_free(&l);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(nan_stays_in_its_sample)
{
    equinv_context *const ctx = context_new();
    for (uint64_t seed = 0; seed < share_of(60); seed++) {
        rng r = {seed + 5000}, again;
        node_sizes s = node_layer_random(&r, EQUINV_F32);
        s.batch = 4, s.masked = false, s.accumulate = false;
        again = r;
        node_layer l = node_layer_new(ctx, &r, (node_subject)_i, &s),
                   good = node_layer_new(ctx, &again, l.kind, &s);
        const int64_t size = equinv_tensor_count(&l.src) / 4;
        tensor_set(&l.src, size + rng_range(&r, 0, size - 1), (double)NAN);
        node_layer_run(&l), node_layer_run(&good);
        const equinv_tensor *const pairs[2][2] = {{&l.dst, &good.dst},
                                                  {&l.diff_src, &good.diff_src}};
        for (int k = 0; k < 2; k++)
            for (int64_t b = 0; b < 4; b++) {
                equinv_tensor part[2];
                OK(equinv_tensor_rows(pairs[k][0], b, 1, &part[0]));
                OK(equinv_tensor_rows(pairs[k][1], b, 1, &part[1]));
                if (b != 1)
                    ASSERT_SAME(&part[0], &part[1]);
            }
        bool seen = false;
        for (int64_t i = 0; i < equinv_tensor_count(&l.dst); i++)
            seen |= isnan(tensor_get(&l.dst, i));
        ck_assert_msg(seen, "seed %d", (int)seed);
        node_layer_free(&l), node_layer_free(&good);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(ties_and_nothing_to_pool)
{
    equinv_context *const ctx = context_new();
    rng r = {9};
    const node_sizes s = {EQUINV_F32, 2, 2, 3, 3, false, true, "fast", 0.5};
    node_layer l = node_layer_new(ctx, &r, MAX, &s);
    for (int64_t i = 0; i < equinv_tensor_count(&l.src); i++)
        tensor_set(&l.src, i, -1);
    for (int64_t i = 0; i < 6; i++)
        tensor_set(&l.mask, i, i > 0 && i < 4); /* nodes 1 2 of sample 0, node 0 of sample 1 */
    node_layer_run(&l);
    const int32_t *const winner = l.saved;
    static const int32_t expected_winner[] = {4, 5, 0, -1};
    for (int i = 0; i < 12; i++) {
        ck_assert_int_eq(winner[i], expected_winner[i / 3]);
        ck_assert(tensor_get(&l.dst, i) == (i / 3 == 3 ? 0 : -1));
    }
    node_layer_free(&l);
    equinv_context_destroy(ctx);
}
END_TEST

/* ---- refusals -------------------------------------------------------------------------------- */

START_TEST(wrong_descriptions)
{
    equinv_context *const ctx = context_new();
    const int64_t huge = (int64_t)1 << 40;
    equinv_node_norm_desc norm = EQUINV_NODE_NORM_DESC_INIT;
    norm.batch = 2, norm.nodes = 3, norm.channels = 4;
    equinv_node_pool_desc pool = EQUINV_NODE_POOL_DESC_INIT;
    pool.batch = 2, pool.nodes = 3, pool.channels = 4;
    PLAN_NEEDS_POINTERS(node_norm, ctx, norm);
    PLAN_NEEDS_POINTERS(node_pool, ctx, pool);
#define REFUSED(what, ...) PLAN_REFUSES(node_##what, ctx, what, __VA_ARGS__)
#define BOTH(status, word, ...)                                                                    \
    do {                                                                                           \
        REFUSED(norm, status, word, __VA_ARGS__);                                                  \
        REFUSED(pool, status, word, __VA_ARGS__);                                                  \
    } while (0)
    BOTH(EQUINV_ERR_ARG, "struct_size", d.struct_size = 3);
    BOTH(EQUINV_ERR_ARG, "kind is 9", d.kind = 9);
    BOTH(EQUINV_ERR_ARG, "kind is 0", d.kind = 0);
    BOTH(EQUINV_ERR_DTYPE, "dtype is u8", d.dtype = EQUINV_U8);
    BOTH(EQUINV_ERR_ARG, "order is 3", d.order = 3);
    BOTH(EQUINV_ERR_SHAPE, "batch is -1", d.batch = -1);
    BOTH(EQUINV_ERR_SHAPE, "nodes is 0", d.nodes = 0);
    BOTH(EQUINV_ERR_SHAPE, "channels is 0", d.channels = 0);
    BOTH(EQUINV_ERR_SHAPE, "src has more", d.channels = d.nodes = huge);
    BOTH(EQUINV_ERR_ARG, "expected one of", d.impl = "blas");
    REFUSED(norm, EQUINV_ERR_ARG, "epsilon is 0", d.epsilon = 0);
    REFUSED(norm, EQUINV_ERR_ARG, "epsilon is nan", d.epsilon = (double)NAN);
    REFUSED(norm, EQUINV_ERR_ARG, "slope is 2", d.slope = 2);
    REFUSED(norm, EQUINV_ERR_ARG, "slope is -1", d.slope = -1);
    REFUSED(pool, EQUINV_ERR_UNSUPPORTED, "2^31 - 1", d.kind = EQUINV_NODE_POOL_MAX,
            d.nodes = 50000);
#undef REFUSED
#undef BOTH
    equinv_context_destroy(ctx);
}
END_TEST

enum { SRC, MASK, P0, P1, DST, DIFF_DST, DIFF_SRC, DP0, DP1, ARGUMENTS };

static equinv_status call_forward(void *subject, const equinv_tensor *const *t)
{
    const node_layer *const l = subject;
    if (node_is_outer(l->kind))
        return equinv_node_outer_forward(l->ctx, t[SRC], l->kind == OUTER ? t[P0] : NULL, t[MASK],
                                         t[DST]);
    if (node_is_norm(l->kind))
        return equinv_node_norm_forward(l->plan, t[SRC], t[MASK], t[P0], t[P1], t[DST], NULL, 0);
    return equinv_node_pool_forward(l->plan, t[SRC], t[MASK], t[DST], l->saved, l->saved_size, NULL,
                                    0);
}

static equinv_status call_backward(void *subject, const equinv_tensor *const *t)
{
    const node_layer *const l = subject;
    if (node_is_outer(l->kind))
        return equinv_node_outer_backward(l->ctx, t[SRC], l->kind == OUTER ? t[P0] : NULL, t[MASK],
                                          t[DIFF_DST], t[DIFF_SRC],
                                          l->kind == OUTER ? t[DP0] : NULL);
    if (node_is_norm(l->kind))
        return equinv_node_norm_backward(l->plan, t[SRC], t[MASK], t[P0], t[P1], t[DIFF_DST],
                                         t[DIFF_SRC], t[DP0], t[DP1], NULL, 0);
    return equinv_node_pool_backward(l->plan, t[DIFF_DST], t[MASK], l->saved, l->saved_size,
                                     t[DIFF_SRC], NULL, 0);
}

static void assert_layer_refusals(node_layer *l)
{
    static const char *const own[ARGUMENTS] = {
        "src", "mask", "gamma", "beta", "dst", "diff_dst", "diff_src", "diff_gamma", "diff_beta"};
    static const char *const outer[ARGUMENTS] = {"a",        "mask",   "b",      "", "dst",
                                                 "diff_dst", "diff_a", "diff_b", ""};
    const equinv_tensor *const good[ARGUMENTS] = {
        &l->src,      &l->mask,     &l->parameter[0],      &l->parameter[1],     &l->dst,
        &l->diff_dst, &l->diff_src, &l->diff_parameter[0], &l->diff_parameter[1]};
    const bool norm = node_is_norm(l->kind), product = node_is_outer(l->kind);
    const unsigned in = (l->kind == OUTER || norm ? BIT(P0) : 0) | (norm ? BIT(P1) : 0);
    const unsigned out = (l->kind == OUTER || norm ? BIT(DP0) : 0) | (norm ? BIT(DP1) : 0);
    const call calls[] = {
        {call_forward, BIT(SRC) | BIT(MASK) | in | BIT(DST), BIT(DST),
         BIT(MASK) | (product ? in : 0), 0},
        {call_backward,
         (node_is_pool(l->kind) ? 0 : BIT(SRC)) | BIT(MASK) | in | BIT(DIFF_DST) | BIT(DIFF_SRC) |
             out,
         BIT(DIFF_SRC) | out, BIT(MASK) | (product ? in : out), 0},
    };
    assert_refusals(
        calls, 2,
        &(arguments){ARGUMENTS, product ? outer : own, good, BIT(MASK), product ? BIT(SRC) : 0}, l);
}

START_TEST(wrong_arguments)
{
    equinv_context *const ctx = context_new();
    rng r = {71};
    const node_sizes s = {EQUINV_F32, 2, 2, 3, 4, false, true, "fast", 0.5};
    node_layer l = node_layer_new(ctx, &r, (node_subject)_i, &s);
    node_layer_run(&l);
    assert_layer_refusals(&l);
    if (node_is_norm(l.kind)) {
        OK(equinv_node_norm_backward(l.plan, &l.src, NULL, &l.parameter[0], &l.parameter[1],
                                     &l.diff_dst, &l.diff_src, NULL, NULL, NULL, 0));
        FAILS(EQUINV_ERR_ARG, "plan is of another",
              equinv_node_pool_backward(l.plan, &l.diff_dst, NULL, NULL, 0, &l.diff_src, NULL, 0));
    }
    if (l.kind == OUTER) {
        FAILS(EQUINV_ERR_ARG, "diff_b is given",
              equinv_node_outer_backward(ctx, &l.src, NULL, NULL, &l.diff_dst, &l.diff_src,
                                         &l.diff_parameter[0]));
        FAILS(EQUINV_ERR_ARG, "diff_b",
              equinv_node_outer_backward(ctx, &l.src, &l.parameter[0], NULL, &l.diff_dst,
                                         &l.diff_src, NULL));
        FAILS(EQUINV_ERR_ARG, "ctx is NULL",
              equinv_node_outer_forward(NULL, &l.src, NULL, NULL, &l.dst));
    }
    if (node_is_outer(l.kind)) {
        l.src.ndim = 2; /* what the others' shapes follow from */
        FAILS(EQUINV_ERR_SHAPE, "a has shape", node_layer_forward(&l));
        FAILS(EQUINV_ERR_SHAPE, "a has shape", node_layer_backward(&l));
        l.src.ndim = 3;
    }
    if (l.kind == MAX)
        FAILS(EQUINV_ERR_ARG, "saved is NULL",
              equinv_node_pool_backward(l.plan, &l.diff_dst, NULL, NULL, 0, &l.diff_src, NULL, 0));
    node_layer_free(&l);
    equinv_context_destroy(ctx);
}
END_TEST

static equinv_status try_plan(equinv_context *ctx, void *arg)
{
    static const node_sizes s = {EQUINV_F32, 2, 4, 3, 5, false, true, "fast", 0.5};
    equinv_plan *plan = NULL;
    const equinv_status status = node_layer_plan(ctx, *(const node_subject *)arg, &s, &plan);
    ck_assert(!plan == (status != EQUINV_OK));
    equinv_plan_destroy(plan);
    return status;
}

START_TEST(allocation_failures)
{
    for (node_subject kind = LAYER; kind < SUBJECTS; kind++)
        ck_assert_int_ge(fail_in_turn(try_plan, &kind), 1);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {forward_is_the_definition, SUBJECTS},
        {fast_equals_ref, TEST_LEVELS},
        {thread_count_changes_no_bit, SUBJECTS},
        {commutes_with_permutations, SUBJECTS},
        {absent_nodes_do_not_leak, SUBJECTS},
        {gradient_by_differences, SUBJECTS},
        {accumulate_adds_to_gradients, SUBJECTS},
        {any_layout, SUBJECTS},
        {nan_stays_in_its_sample, SUBJECTS},
        {ties_and_nothing_to_pool, 1},
        {wrong_descriptions, 1},
        {wrong_arguments, SUBJECTS},
        {allocation_failures, 1},
    };
    return run_tests("node layers", tests, sizeof tests / sizeof *tests);
}
