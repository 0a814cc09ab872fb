/* Linear layers of nodes and pairs under S_n: values, permutations, masks, gradients, refusals. */
#include <math.h>

#include "tests/util/nodes.h"

enum { ROUNDS = 240, MOST = 12 };

/* "gemm" is for f32. */
static const char *impl_of(equinv_dtype dtype, uint64_t number)
{
    return dtype == EQUINV_F32 && number % 2 == 0 ? "gemm" : "ref";
}

typedef struct layer {
    equinv_context *ctx;
    equinv_node_linear_desc desc;
    equinv_plan *plan;
    bool masked;
    equinv_tensor mask, src, weights, bias, diff_dst, dst, diff_src, diff_weights, diff_bias;
} layer;

enum { TENSORS = 8 };

static void tensors_of(layer *l, equinv_tensor *all[TENSORS])
{
    equinv_tensor *const list[TENSORS] = {&l->src, &l->weights,  &l->bias,         &l->diff_dst,
                                          &l->dst, &l->diff_src, &l->diff_weights, &l->diff_bias};
    memcpy(all, list, sizeof list);
}

static const equinv_tensor *mask_of(const layer *l)
{
    return l->masked ? &l->mask : NULL;
}

static layer layer_new(equinv_context *ctx, rng *r, const equinv_node_linear_desc *desc,
                       bool masked)
{
    layer l = {.ctx = ctx, .desc = *desc, .masked = masked};
    OK(equinv_node_linear_plan_create(ctx, desc, &l.plan));
    const int64_t b = desc->batch, n = desc->nodes, in = desc->channels_in;
    const int64_t out = desc->channels_out;
    int64_t shape[3];
    OK(equinv_node_linear_weights_shape(desc, shape));
    OK(equinv_tensor_create(ctx, desc->dtype, 3, shape, &l.weights));
    OK(equinv_tensor_create(ctx, desc->dtype, 3, shape, &l.diff_weights));
    OK(equinv_tensor_create(ctx, desc->dtype, 2, (int64_t[]){desc->order_out, out}, &l.bias));
    OK(equinv_tensor_create(ctx, desc->dtype, 2, (int64_t[]){desc->order_out, out}, &l.diff_bias));
    l.src = nodes_new(ctx, r, desc->dtype, desc->order_in, b, in, n);
    l.diff_src = nodes_new(ctx, r, desc->dtype, desc->order_in, b, in, n);
    l.dst = nodes_new(ctx, r, desc->dtype, desc->order_out, b, out, n);
    l.diff_dst = nodes_new(ctx, r, desc->dtype, desc->order_out, b, out, n);
    tensor_fill_random(r, &l.weights), tensor_fill_random(r, &l.bias);
    tensor_fill_random(r, &l.diff_weights), tensor_fill_random(r, &l.diff_bias);
    l.mask = nodes_mask(ctx, r, b, n);
    return l;
}

static void layer_free(layer *l)
{
    equinv_tensor *all[TENSORS];
    tensors_of(l, all);
    for (int i = 0; i < TENSORS; i++)
        equinv_tensor_destroy(l->ctx, all[i]);
    equinv_tensor_destroy(l->ctx, &l->mask);
    equinv_plan_destroy(l->plan);
}

static void forward(layer *l)
{
    OK(equinv_node_linear_forward(l->plan, &l->src, mask_of(l), &l->weights,
                                  l->desc.bias ? &l->bias : NULL, &l->dst, NULL, 0));
}

static void run(layer *l)
{
    forward(l);
    OK(equinv_node_linear_backward_data(l->plan, &l->diff_dst, mask_of(l), &l->weights,
                                        &l->diff_src, NULL, 0));
    OK(equinv_node_linear_backward_weights(l->plan, &l->src, mask_of(l), &l->diff_dst,
                                           &l->diff_weights, &l->diff_bias, NULL, 0));
}

/* Small sizes mostly, a full tile of channels now and then. */
static equinv_node_linear_desc random_desc(rng *r, equinv_dtype dtype)
{
    equinv_node_linear_desc d = EQUINV_NODE_LINEAR_DESC_INIT;
    d.dtype = dtype;
    d.order_in = (int32_t)rng_range(r, 1, 2), d.order_out = (int32_t)rng_range(r, 1, 2);
    d.batch = rng_range(r, 0, 4), d.nodes = rng_range(r, 1, 7);
    d.channels_in = rng_range(r, 1, rng_range(r, 0, 5) ? 5 : 33);
    d.channels_out = rng_range(r, 1, rng_range(r, 0, 5) ? 5 : 33);
    d.symmetric = rng_range(r, 0, 2) == 0;
    d.bias = rng_range(r, 0, 1);
    d.accumulate = rng_range(r, 0, 1);
    return d;
}

/* ---- the definition -------------------------------------------------------------------------- */

/* x_ij or x_i of one channel as numbers of the test; m present nodes with these places. */
typedef struct picture {
    double x[MOST][MOST];
    int64_t m, node[MOST];
} picture;

static picture picture_of(const layer *l, int64_t b, int64_t c)
{
    const equinv_node_linear_desc *const d = &l->desc;
    const int64_t n = d->nodes;
    picture p = {.m = 0};
    for (int64_t i = 0; i < n; i++)
        if (nodes_there(mask_of(l), b, i))
            p.node[p.m++] = i;
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++) {
            const int64_t at = (b * d->channels_in + c) * n;
            if (d->order_in == 1)
                p.x[i][j] = tensor_get(&l->src, at + i);
            else if (d->symmetric)
                p.x[i][j] = 0.5 * (tensor_get(&l->src, (at + i) * n + j) +
                                   tensor_get(&l->src, (at + j) * n + i));
            else
                p.x[i][j] = tensor_get(&l->src, (at + i) * n + j);
        }
    return p;
}

/* The header's list of operations at one place; returns how many. */
static int operations(const equinv_node_linear_desc *desc, const picture *p, int64_t i, int64_t j,
                      double *e)
{
    const bool pairs = desc->order_in == 2;
    const double m = (double)p->m, on = i == j;
    double ri = 0, rj = 0, ci = 0, cj = 0, t = 0, s = 0;
    for (int64_t k = 0; k < p->m; k++) {
        const int64_t a = p->node[k];
        ri += p->x[i][a] / m, rj += p->x[j][a] / m;
        ci += p->x[a][i] / m, cj += p->x[a][j] / m;
        t += p->x[a][a] / m;
        for (int64_t h = 0; h < p->m; h++)
            s += p->x[a][p->node[h]] / (m * m);
    }
    const double di = p->x[i][i], dj = p->x[j][j], x = p->x[i][j], y = p->x[j][i];
#define LIST(...)                                                                                  \
    do {                                                                                           \
        const double list[] = {__VA_ARGS__};                                                       \
        memcpy(e, list, sizeof list);                                                              \
        return (int)(sizeof list / sizeof *list);                                                  \
    } while (0)
    if (!pairs && desc->order_out == 1)
        LIST(di, t);
    if (!pairs && desc->symmetric)
        LIST(on * di, di + dj, on * t, t);
    if (!pairs)
        LIST(on * di, di, dj, on * t, t);
    if (desc->order_out == 1 && desc->symmetric)
        LIST(di, ri, t, s);
    if (desc->order_out == 1)
        LIST(di, ri, ci, t, s);
    if (desc->symmetric)
        LIST(x, on * di, on * ri, di + dj, ri + rj, on * t, on * s, t, s);
    LIST(x, y, on * di, on * ri, on * ci, di, ri, ci, dj, rj, cj, on * t, on * s, t, s);
#undef LIST
}

static double expected(const layer *l, int64_t b, int64_t o, int64_t i, int64_t j)
{
    const equinv_node_linear_desc *const d = &l->desc;
    if (!nodes_there(mask_of(l), b, i) || !nodes_there(mask_of(l), b, j))
        return 0;
    double sum = 0;
    for (int64_t c = 0; c < d->channels_in; c++) {
        const picture p = picture_of(l, b, c);
        double e[15];
        const int count = operations(d, &p, i, j, e);
        ck_assert_int_eq(count, (int)l->weights.shape[0]);
        for (int k = 0; k < count; k++)
            sum += tensor_get(&l->weights, (k * d->channels_out + o) * d->channels_in + c) * e[k];
    }
    if (d->bias && d->order_out == 1)
        sum += tensor_get(&l->bias, o);
    if (d->bias && d->order_out == 2)
        sum += tensor_get(&l->bias, d->channels_out + o) + (i == j ? tensor_get(&l->bias, o) : 0);
    return sum;
}

START_TEST(forward_is_the_definition)
{
    equinv_context *const ctx = context_new();
    for (uint64_t seed = 0; seed < share_of(ROUNDS); seed++) {
        rng r = {seed};
        equinv_node_linear_desc desc = random_desc(&r, seed % 2 ? EQUINV_F64 : EQUINV_F32);
        desc.channels_in = (desc.channels_in - 1) % 5 + 1;
        desc.channels_out = (desc.channels_out - 1) % 5 + 1;
        desc.impl = impl_of(desc.dtype, seed / 2);
        layer l = layer_new(ctx, &r, &desc, rng_range(&r, 0, 2));
        equinv_tensor before = tensor_copy(ctx, &l.dst);
        forward(&l);
        const int64_t n = desc.nodes, columns = desc.order_out == 2 ? n : 1;
        for (int64_t k = 0; k < equinv_tensor_count(&l.dst); k++) {
            const int64_t place = k % (n * columns), i = place / columns;
            const int64_t bo = k / (n * columns);
            const double value = expected(&l, bo / desc.channels_out, bo % desc.channels_out, i,
                                          columns > 1 ? place % columns : i) +
                                 (desc.accumulate ? tensor_get(&before, k) : 0);
            ck_assert_msg(fabs(tensor_get(&l.dst, k) - value) <= (seed % 2 ? 1e-13 : 1e-5),
                          "seed %d: %g, expected %g", (int)seed, tensor_get(&l.dst, k), value);
        }
        equinv_tensor_destroy(ctx, &before);
        layer_free(&l);
    }
    equinv_context_destroy(ctx);
}
END_TEST

/* Every level, channels last and any other layout, sizes that fill vectors and blocks of pairs. */
START_TEST(gemm_equals_ref)
{
    equinv_context *const ctx = context_at_level(_i);
    if (!ctx)
        return;
    for (uint64_t seed = 0; seed < share_of(ROUNDS); seed++) {
        rng r = {seed + 500}, again;
        equinv_node_linear_desc desc = random_desc(&r, EQUINV_F32);
        if (seed % 8 == 0)
            desc.nodes = rng_range(&r, 8, 24), desc.channels_in = desc.channels_out = 3;
        if (seed % 32 == 1)
            desc.nodes = 3, desc.batch = rng_range(&r, 50, 150), desc.channels_out = 2;
        const bool masked = rng_range(&r, 0, 2);
        desc.impl = "ref";
        again = r;
        layer ref = layer_new(ctx, &r, &desc, masked);
        desc.impl = "gemm";
        layer l = layer_new(ctx, &again, &desc, masked);
        ck_assert_str_eq(equinv_plan_impl_name(l.plan), "node_linear/gemm");
        equinv_tensor *all[TENSORS], kept[TENSORS], storage[TENSORS];
        tensors_of(&l, all);
        const bool last = rng_range(&r, 0, 3);
        for (int i = 0; i < TENSORS && last; i++) {
            kept[i] = *all[i];
            *all[i] = nodes_channels_last(ctx, &kept[i], &storage[i]);
        }
        run(&ref), run(&l);
        ck_assert_msg(tensor_error(&l.dst, &ref.dst, NULL) <= 1e-6, "dst, seed %d", (int)seed);
        ck_assert_msg(tensor_error(&l.diff_src, &ref.diff_src, NULL) <= 1e-6, "diff_src, seed %d",
                      (int)seed);
        ck_assert_msg(tensor_error(&l.diff_weights, &ref.diff_weights, NULL) <= 1e-6,
                      "diff_weights, seed %d", (int)seed);
        ck_assert_msg(tensor_error(&l.diff_bias, &ref.diff_bias, NULL) <= 1e-6,
                      "diff_bias, seed %d", (int)seed);
        for (int i = 0; i < TENSORS && last; i++) {
            equinv_tensor_destroy(ctx, &storage[i]);
            *all[i] = kept[i];
        }
        layer_free(&ref), layer_free(&l);
    }
    equinv_context_destroy(ctx);
}
END_TEST

/* ---- the operations are a basis ---------------------------------------------------------------- */

/* Rank of rows of numbers by elimination with the largest pivot. */
static int rank_of(double *rows, int count, int64_t width)
{
    int rank = 0;
    for (int64_t column = 0; column < width && rank < count; column++) {
        int best = rank;
        for (int k = rank; k < count; k++)
            if (fabs(rows[k * width + column]) > fabs(rows[best * width + column]))
                best = k;
        if (fabs(rows[best * width + column]) < 1e-9)
            continue;
        for (int64_t i = 0; i < width; i++) {
            const double swap = rows[rank * width + i];
            rows[rank * width + i] = rows[best * width + i];
            rows[best * width + i] = swap;
        }
        for (int k = rank + 1; k < count; k++) {
            const double factor = rows[k * width + column] / rows[rank * width + column];
            for (int64_t i = 0; i < width; i++)
                rows[k * width + i] -= factor * rows[rank * width + i];
        }
        rank++;
    }
    return rank;
}

/*
 * The dimension of the space of all maps that commute with S_n is the number of orbits of S_n on the
 * entries of their matrices. Two entries are of one orbit if the same indices are equal; of symmetric
 * maps also if exchanging the two indices of a pair makes it so.
 */
static int orbits(int order_in, int order_out, bool symmetric)
{
    const int n = 4, axes = order_in + order_out;
    int seen[1024], count = 0;
    for (int code = 0; code < (1 << (2 * axes)); code++) {
        int least = 1 << 20;
        for (int turn = 0; turn < (symmetric ? 4 : 1); turn++) {
            int index[4];
            for (int k = 0; k < axes; k++)
                index[k] = code >> (2 * k) & 3;
            if (turn & 1 && order_in == 2) {
                const int swap = index[0];
                index[0] = index[1], index[1] = swap;
            }
            if (turn & 2 && order_out == 2) {
                const int swap = index[axes - 1];
                index[axes - 1] = index[axes - 2], index[axes - 2] = swap;
            }
            int pattern = 0;
            for (int k = 0; k < axes; k++) {
                int first = 0;
                while (index[first] != index[k])
                    first++;
                pattern = pattern * n + first;
            }
            least = pattern < least ? pattern : least;
        }
        bool known = false;
        for (int k = 0; k < count; k++)
            known |= seen[k] == least;
        if (!known)
            seen[count++] = least;
    }
    return count;
}

START_TEST(operations_are_a_basis)
{
    static const int counts[2][2][2] = {{{2, 5}, {5, 15}}, {{2, 4}, {4, 9}}};
    equinv_context *const ctx = context_new();
    for (int k = 0; k < 8; k++) {
        equinv_node_linear_desc desc = EQUINV_NODE_LINEAR_DESC_INIT;
        desc.dtype = EQUINV_F64;
        desc.order_in = 1 + k / 2 % 2, desc.order_out = 1 + k % 2;
        desc.symmetric = k >= 4, desc.bias = false;
        desc.nodes = 4, desc.channels_in = desc.channels_out = 1;
        const int64_t in = desc.order_in == 2 ? 16 : 4, out = desc.order_out == 2 ? 16 : 4;
        desc.batch = in;
        rng r = {0};
        layer l = layer_new(ctx, &r, &desc, false);
        const int count = (int)l.weights.shape[0];
        ck_assert_int_eq(count, counts[desc.symmetric][desc.order_in - 1][desc.order_out - 1]);
        for (int64_t i = 0; i < in * in; i++) /* every unit vector is a sample */
            tensor_set(&l.src, i, i / in == i % in);
        double rows[15 * 256];
        for (int e = 0; e < count; e++) {
            for (int i = 0; i < count; i++)
                tensor_set(&l.weights, i, i == e);
            forward(&l);
            for (int64_t i = 0; i < in * out; i++)
                rows[e * in * out + i] = tensor_get(&l.dst, i);
        }
        ck_assert_int_eq(rank_of(rows, count, in * out), count);
        ck_assert_int_eq(orbits(desc.order_in, desc.order_out, desc.symmetric), count);
        layer_free(&l);
    }
    equinv_context_destroy(ctx);
}
END_TEST

/* ---- permutations, masks, symmetry -------------------------------------------------------------- */

/* f(g x) = g f(x), and so for the gradients; the mask moves with the nodes. */
START_TEST(commutes_with_permutations)
{
    equinv_context *const ctx = context_new();
    for (uint64_t seed = 0; seed < share_of(ROUNDS); seed++) {
        rng r = {seed + 1000}, again;
        equinv_node_linear_desc desc = random_desc(&r, seed % 2 ? EQUINV_F64 : EQUINV_F32);
        desc.accumulate = false;
        desc.impl = impl_of(desc.dtype, seed / 2);
        const bool masked = rng_range(&r, 0, 2);
        again = r;
        layer l = layer_new(ctx, &r, &desc, masked), moved = layer_new(ctx, &again, &desc, masked);
        int64_t place[MOST];
        nodes_shuffle(&r, desc.nodes, place);
        equinv_tensor_destroy(ctx, &moved.src), equinv_tensor_destroy(ctx, &moved.diff_dst);
        equinv_tensor_destroy(ctx, &moved.mask);
        moved.src = nodes_permuted(ctx, &l.src, desc.order_in, place);
        moved.diff_dst = nodes_permuted(ctx, &l.diff_dst, desc.order_out, place);
        moved.mask = nodes_permuted(ctx, &l.mask, 0, place);
        run(&l), run(&moved);
        equinv_tensor dst = nodes_permuted(ctx, &l.dst, desc.order_out, place);
        equinv_tensor diff_src = nodes_permuted(ctx, &l.diff_src, desc.order_in, place);
        const double tolerance = seed % 2 ? 1e-14 : 2e-6;
        ASSERT_CLOSE(&moved.dst, &dst, tolerance);
        ASSERT_CLOSE(&moved.diff_src, &diff_src, tolerance);
        ASSERT_CLOSE(&moved.diff_weights, &l.diff_weights, tolerance);
        ASSERT_CLOSE(&moved.diff_bias, &l.diff_bias, tolerance);
        equinv_tensor_destroy(ctx, &dst), equinv_tensor_destroy(ctx, &diff_src);
        layer_free(&l), layer_free(&moved);
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
        equinv_node_linear_desc desc = random_desc(&r, seed % 2 ? EQUINV_F64 : EQUINV_F32);
        desc.accumulate = false;
        desc.impl = impl_of(desc.dtype, seed / 2);
        again = r;
        layer l = layer_new(ctx, &r, &desc, true), bad = layer_new(ctx, &again, &desc, true);
        nodes_set_absent(&bad.src, desc.order_in, &bad.mask, (double)NAN);
        nodes_set_absent(&bad.diff_dst, desc.order_out, &bad.mask, (double)NAN);
        run(&l), run(&bad);
        ASSERT_SAME(&bad.dst, &l.dst);
        ASSERT_SAME(&bad.diff_src, &l.diff_src);
        ASSERT_SAME(&bad.diff_weights, &l.diff_weights);
        ASSERT_SAME(&bad.diff_bias, &l.diff_bias);
        ck_assert_msg(nodes_absent_are_zero(&l.dst, desc.order_out, &l.mask), "seed %d", (int)seed);
        ck_assert_msg(nodes_absent_are_zero(&l.diff_src, desc.order_in, &l.mask), "seed %d",
                      (int)seed);
        layer_free(&l), layer_free(&bad);
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
        equinv_node_linear_desc desc = random_desc(&r, EQUINV_F64);
        desc.batch = 1, desc.accumulate = false;
        desc.impl = impl_of(desc.dtype, seed);
        layer small = layer_new(ctx, &r, &desc, false);
        const int64_t n = desc.nodes, more = n + rng_range(&r, 1, 4);
        desc.nodes = more;
        layer padded = layer_new(ctx, &r, &desc, true);
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
        run(&small), run(&padded);
        equinv_tensor dst = padded.dst, diff_src = padded.diff_src;
        for (int32_t axis = 2; axis < 4; axis++)
            dst.shape[axis] = diff_src.shape[axis] = n;
        equinv_tensor got[2] = {tensor_copy(ctx, &dst), tensor_copy(ctx, &diff_src)};
        ASSERT_CLOSE(&got[0], &small.dst, 1e-14);
        ASSERT_CLOSE(&got[1], &small.diff_src, 1e-14);
        ASSERT_CLOSE(&padded.diff_weights, &small.diff_weights, 1e-14);
        ASSERT_CLOSE(&padded.diff_bias, &small.diff_bias, 1e-14);
        equinv_tensor_destroy(ctx, &got[0]), equinv_tensor_destroy(ctx, &got[1]);
        layer_free(&small), layer_free(&padded);
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
        equinv_node_linear_desc desc = random_desc(&r, seed % 2 ? EQUINV_F64 : EQUINV_F32);
        desc.symmetric = true, desc.accumulate = false;
        desc.impl = impl_of(desc.dtype, seed / 2);
        const bool masked = rng_range(&r, 0, 1);
        again = r;
        layer l = layer_new(ctx, &r, &desc, masked), turned = layer_new(ctx, &again, &desc, masked);
        if (desc.order_in == 2)
            transpose(&turned.src);
        if (desc.order_out == 2)
            transpose(&turned.diff_dst);
        run(&l), run(&turned);
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
        layer_free(&l), layer_free(&turned);
    }
    equinv_context_destroy(ctx);
}
END_TEST

/* ---- gradients ------------------------------------------------------------------------------- */

static double loss(void *arg)
{
    layer *const l = arg;
    forward(l);
    return tensor_dot(&l->dst, &l->diff_dst);
}

START_TEST(gradient_by_differences)
{
    equinv_context *const ctx = context_new();
    for (uint64_t seed = 0; seed < share_of(80); seed++) {
        rng r = {seed + 5000};
        equinv_node_linear_desc desc = random_desc(&r, EQUINV_F64);
        desc.accumulate = false, desc.bias = true;
        desc.impl = impl_of(desc.dtype, seed);
        layer l = layer_new(ctx, &r, &desc, rng_range(&r, 0, 2));
        run(&l);
        /* the loss is linear in each argument: a wide step has no error but rounding */
        ck_assert_msg(gradient_mismatch(&l.src, &l.diff_src, loss, &l, 0.5, 1e-11, 20) < 0,
                      "src, seed %d", (int)seed);
        ck_assert_msg(gradient_mismatch(&l.weights, &l.diff_weights, loss, &l, 0.5, 1e-11, 30) < 0,
                      "weights, seed %d", (int)seed);
        ck_assert_msg(gradient_mismatch(&l.bias, &l.diff_bias, loss, &l, 0.5, 1e-11, 20) < 0,
                      "bias, seed %d", (int)seed);
        layer_free(&l);
    }
    equinv_context_destroy(ctx);
}
END_TEST

/* <A x, y> = <x, A' y> in src and in the weights. */
START_TEST(backward_is_the_adjoint)
{
    equinv_context *const ctx = context_new();
    for (uint64_t seed = 0; seed < share_of(ROUNDS); seed++) {
        rng r = {seed + 6000};
        equinv_node_linear_desc desc = random_desc(&r, seed % 2 ? EQUINV_F64 : EQUINV_F32);
        desc.accumulate = desc.bias = false;
        desc.impl = impl_of(desc.dtype, seed / 2);
        layer l = layer_new(ctx, &r, &desc, rng_range(&r, 0, 2));
        run(&l);
        const double left = tensor_dot(&l.dst, &l.diff_dst);
        const double scale = 1 + (double)(equinv_tensor_count(&l.dst) * desc.channels_in * 15);
        const double tolerance = (seed % 2 ? 1e-14 : 1e-6) * sqrt(scale);
        ck_assert_msg(fabs(left - tensor_dot(&l.src, &l.diff_src)) <= tolerance, "src, seed %d",
                      (int)seed);
        ck_assert_msg(fabs(left - tensor_dot(&l.weights, &l.diff_weights)) <= tolerance,
                      "weights, seed %d", (int)seed);
        layer_free(&l);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(accumulate_adds_to_all_outputs)
{
    equinv_context *const ctx = context_new();
    for (int k = 0; k < 16; k++) {
        rng r = {31}, again = r;
        equinv_node_linear_desc desc = EQUINV_NODE_LINEAR_DESC_INIT;
        desc.dtype = k < 8 ? EQUINV_F64 : EQUINV_F32;
        desc.order_in = 1 + k / 2 % 2, desc.order_out = 1 + k % 2, desc.symmetric = k / 4 % 2;
        desc.batch = 3, desc.nodes = 5, desc.channels_in = 4, desc.channels_out = 3;
        desc.impl = impl_of(desc.dtype, 0);
        layer once = layer_new(ctx, &r, &desc, true);
        desc.accumulate = true;
        layer sum = layer_new(ctx, &again, &desc, true);
        equinv_tensor *const results[] = {&once.dst, &once.diff_src, &once.diff_weights,
                                          &once.diff_bias};
        equinv_tensor *const sums[] = {&sum.dst, &sum.diff_src, &sum.diff_weights, &sum.diff_bias};
        run(&once);
        for (int i = 0; i < 4; i++)
            OK(equinv_tensor_convert(ctx, results[i], 1.0, 0.0, sums[i]));
        run(&sum), run(&sum);
        for (int i = 0; i < 4; i++) {
            OK(equinv_tensor_convert(ctx, results[i], 3.0, 0.0, results[i]));
            ASSERT_CLOSE(sums[i], results[i], k < 8 ? 1e-14 : 1e-6);
        }
        layer_free(&once), layer_free(&sum);
    }
    equinv_context_destroy(ctx);
}
END_TEST

/* ---- layouts, samples, threads ------------------------------------------------------------------ */

START_TEST(any_layout)
{
    equinv_context *const ctx = context_new();
    for (uint64_t seed = 0; seed < share_of(ROUNDS); seed++) {
        rng r = {seed + 7000}, again;
        equinv_node_linear_desc desc = random_desc(&r, seed % 2 ? EQUINV_F64 : EQUINV_F32);
        desc.impl = impl_of(desc.dtype, seed / 2);
        const bool masked = rng_range(&r, 0, 2);
        again = r;
        layer plain = layer_new(ctx, &r, &desc, masked), l = layer_new(ctx, &again, &desc, masked);
        equinv_tensor *all[TENSORS];
        tensors_of(&l, all);
        relaid other[TENSORS];
        relaid_begin(ctx, &r, all, TENSORS, other);
        run(&plain), run(&l);
        const double tolerance = seed % 2 ? 1e-14 : 2e-6;
        ck_assert_msg(tensor_error(&l.dst, &plain.dst, NULL) <= tolerance, "dst, seed %d",
                      (int)seed);
        ck_assert_msg(tensor_error(&l.diff_src, &plain.diff_src, NULL) <= tolerance,
                      "diff_src, seed %d", (int)seed);
        ck_assert_msg(tensor_error(&l.diff_weights, &plain.diff_weights, NULL) <= tolerance,
                      "diff_weights, seed %d", (int)seed);
        ck_assert_msg(tensor_error(&l.diff_bias, &plain.diff_bias, NULL) <= tolerance,
                      "diff_bias, seed %d", (int)seed);
        relaid_end(ctx, other, TENSORS);
        layer_free(&plain), layer_free(&l);
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
        equinv_node_linear_desc desc = random_desc(&r, EQUINV_F32);
        desc.batch = rng_range(&r, 2, 20), desc.accumulate = false;
        desc.impl = impl_of(desc.dtype, seed);
        layer l = layer_new(ctx, &r, &desc, false);
        const int64_t poisoned = rng_range(&r, 0, desc.batch - 1),
                      row = (poisoned + 1) % desc.batch;
        const int64_t size = equinv_tensor_count(&l.src) / desc.batch;
        for (int64_t i = 0; i < size; i++)
            tensor_set(&l.src, poisoned * size + i, (double)NAN);
        run(&l);
        const int64_t results = equinv_tensor_count(&l.dst) / desc.batch;
        for (int64_t i = 0; i < equinv_tensor_count(&l.dst); i++)
            ck_assert_msg(isnan(tensor_get(&l.dst, i)) == (i / results == poisoned), "NaN, seed %d",
                          (int)seed);
        desc.batch = 1;
        layer alone = layer_new(ctx, &r, &desc, false);
        equinv_tensor part[4];
        OK(equinv_tensor_rows(&l.src, row, 1, &part[0]));
        OK(equinv_tensor_rows(&l.diff_dst, row, 1, &part[1]));
        OK(equinv_tensor_rows(&l.dst, row, 1, &part[2]));
        OK(equinv_tensor_rows(&l.diff_src, row, 1, &part[3]));
        OK(equinv_tensor_convert(ctx, &part[0], 1.0, 0.0, &alone.src));
        OK(equinv_tensor_convert(ctx, &part[1], 1.0, 0.0, &alone.diff_dst));
        OK(equinv_tensor_convert(ctx, &l.weights, 1.0, 0.0, &alone.weights));
        OK(equinv_tensor_convert(ctx, &l.bias, 1.0, 0.0, &alone.bias));
        run(&alone);
        ASSERT_SAME(&alone.dst, &part[2]);
        ASSERT_SAME(&alone.diff_src, &part[3]);
        layer_free(&alone), layer_free(&l);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(thread_count_changes_no_bit)
{
    equinv_context *const ctx[2] = {context_of_threads(1), context_new()};
    for (int s = 0; s < 8; s++) {
        layer l[2];
        for (int k = 0; k < 2; k++) {
            rng r = {41};
            equinv_node_linear_desc desc = EQUINV_NODE_LINEAR_DESC_INIT;
            desc.order_in = 1 + s / 2 % 2, desc.order_out = 1 + s % 2, desc.symmetric = s / 4;
            desc.batch = 60, desc.nodes = 9, desc.channels_in = 16, desc.channels_out = 24;
            l[k] = layer_new(ctx[k], &r, &desc, true);
            run(&l[k]);
        }
        ASSERT_SAME(&l[0].dst, &l[1].dst);
        ASSERT_SAME(&l[0].diff_src, &l[1].diff_src);
        ASSERT_SAME(&l[0].diff_weights, &l[1].diff_weights);
        ASSERT_SAME(&l[0].diff_bias, &l[1].diff_bias);
        layer_free(&l[0]), layer_free(&l[1]);
    }
    equinv_context_destroy(ctx[0]), equinv_context_destroy(ctx[1]);
}
END_TEST

START_TEST(empty_batch)
{
    equinv_context *const ctx = context_new();
    for (int k = 0; k < 16; k++) {
        rng r = {51};
        equinv_node_linear_desc desc = EQUINV_NODE_LINEAR_DESC_INIT;
        desc.order_in = 1 + k / 2 % 2, desc.order_out = 1 + k % 2, desc.accumulate = k / 4 % 2;
        desc.nodes = 4, desc.channels_in = 3, desc.channels_out = 2;
        desc.impl = impl_of(desc.dtype, (uint64_t)k / 8);
        layer l = layer_new(ctx, &r, &desc, true);
        equinv_tensor weights = tensor_copy(ctx, &l.diff_weights);
        equinv_tensor bias = tensor_copy(ctx, &l.diff_bias);
        run(&l);
        if (desc.accumulate) {
            ASSERT_SAME(&l.diff_weights, &weights);
            ASSERT_SAME(&l.diff_bias, &bias);
        } else {
            ck_assert(tensor_max_abs(&l.diff_weights) == 0 && tensor_max_abs(&l.diff_bias) == 0);
        }
        equinv_tensor_destroy(ctx, &weights), equinv_tensor_destroy(ctx, &bias);
        layer_free(&l);
    }
    equinv_context_destroy(ctx);
}
END_TEST

/* ---- refusals -------------------------------------------------------------------------------- */

START_TEST(wrong_descriptions)
{
    equinv_context *const ctx = context_new();
    equinv_plan *plan = NULL;
    int64_t shape[3];
    equinv_node_linear_desc good = EQUINV_NODE_LINEAR_DESC_INIT;
    good.batch = 2, good.nodes = 3, good.channels_in = 4, good.channels_out = 5;
    const int64_t huge = (int64_t)1 << 40;
#define REFUSED(status, word, ...)                                                                 \
    do {                                                                                           \
        equinv_node_linear_desc d = good;                                                          \
        __VA_ARGS__;                                                                               \
        FAILS(status, word, equinv_node_linear_plan_create(ctx, &d, &plan));                       \
    } while (0)
    FAILS(EQUINV_ERR_ARG, "ctx is NULL", equinv_node_linear_plan_create(NULL, &good, &plan));
    FAILS(EQUINV_ERR_ARG, "desc is NULL", equinv_node_linear_plan_create(ctx, NULL, &plan));
    FAILS(EQUINV_ERR_ARG, "plan is NULL", equinv_node_linear_plan_create(ctx, &good, NULL));
    FAILS(EQUINV_ERR_ARG, "desc is NULL", equinv_node_linear_weights_shape(NULL, shape));
    FAILS(EQUINV_ERR_ARG, "shape is NULL", equinv_node_linear_weights_shape(&good, NULL));
    REFUSED(EQUINV_ERR_ARG, "struct_size", d.struct_size = 3);
    REFUSED(EQUINV_ERR_DTYPE, "dtype is u8", d.dtype = EQUINV_U8);
    REFUSED(EQUINV_ERR_ARG, "order_in is 0", d.order_in = 0);
    REFUSED(EQUINV_ERR_ARG, "order_out is 3", d.order_out = 3);
    REFUSED(EQUINV_ERR_SHAPE, "batch is -1", d.batch = -1);
    REFUSED(EQUINV_ERR_SHAPE, "nodes is 0", d.nodes = 0);
    REFUSED(EQUINV_ERR_SHAPE, "channels_in is 0", d.channels_in = 0);
    REFUSED(EQUINV_ERR_SHAPE, "channels_out is 0", d.channels_out = 0);
    REFUSED(EQUINV_ERR_SHAPE, "src has more", d.nodes = huge);
    REFUSED(EQUINV_ERR_SHAPE, "dst has more", d.order_in = 1, d.nodes = huge);
    REFUSED(EQUINV_ERR_SHAPE, "weights has more", d.channels_in = d.channels_out = huge);
    REFUSED(EQUINV_ERR_SHAPE, "scratch has more", d.order_in = d.order_out = 1, d.batch = 1,
            d.nodes = (int64_t)1 << 22, d.channels_in = huge);
    REFUSED(EQUINV_ERR_ARG, "expected one of", d.impl = "blas");
#undef REFUSED
    ck_assert_ptr_null(plan);
    equinv_context_destroy(ctx);
}
END_TEST

static layer *subject;

enum { SRC, MASK, WEIGHTS, BIAS, DIFF_DST, DST, DIFF_SRC, DIFF_WEIGHTS, DIFF_BIAS, ARGUMENTS };
static const char *const names[ARGUMENTS] = {
    "src", "mask", "weights", "bias", "diff_dst", "dst", "diff_src", "diff_weights", "diff_bias"};

typedef equinv_status call(const equinv_tensor *const t[ARGUMENTS]);

static equinv_status call_forward(const equinv_tensor *const t[ARGUMENTS])
{
    return equinv_node_linear_forward(subject->plan, t[SRC], t[MASK], t[WEIGHTS], t[BIAS], t[DST],
                                      NULL, 0);
}

static equinv_status call_data(const equinv_tensor *const t[ARGUMENTS])
{
    return equinv_node_linear_backward_data(subject->plan, t[DIFF_DST], t[MASK], t[WEIGHTS],
                                            t[DIFF_SRC], NULL, 0);
}

static equinv_status call_weights(const equinv_tensor *const t[ARGUMENTS])
{
    return equinv_node_linear_backward_weights(subject->plan, t[SRC], t[MASK], t[DIFF_DST],
                                               t[DIFF_WEIGHTS], t[DIFF_BIAS], NULL, 0);
}

#define BIT(a) (1 << (a))
static const struct {
    call *run;
    int used, outputs, optional;
} calls[] = {
    {call_forward, BIT(SRC) | BIT(MASK) | BIT(WEIGHTS) | BIT(BIAS) | BIT(DST), BIT(DST), BIT(MASK)},
    {call_data, BIT(DIFF_DST) | BIT(MASK) | BIT(WEIGHTS) | BIT(DIFF_SRC), BIT(DIFF_SRC), BIT(MASK)},
    {call_weights, BIT(SRC) | BIT(MASK) | BIT(DIFF_DST) | BIT(DIFF_WEIGHTS) | BIT(DIFF_BIAS),
     BIT(DIFF_WEIGHTS) | BIT(DIFF_BIAS), BIT(MASK) | BIT(DIFF_BIAS)},
};

START_TEST(wrong_arguments)
{
    equinv_context *const ctx = context_new();
    rng r = {71};
    equinv_node_linear_desc desc = EQUINV_NODE_LINEAR_DESC_INIT;
    desc.batch = 2, desc.nodes = 4, desc.channels_in = 3, desc.channels_out = 5;
    layer l = layer_new(ctx, &r, &desc, true);
    subject = &l;
    const equinv_tensor *const good[ARGUMENTS] = {&l.src,      &l.mask,         &l.weights,
                                                  &l.bias,     &l.diff_dst,     &l.dst,
                                                  &l.diff_src, &l.diff_weights, &l.diff_bias};
    equinv_tensor before[ARGUMENTS];
    for (int i = 0; i < ARGUMENTS; i++)
        before[i] = tensor_copy(ctx, good[i]);
    for (int c = 0; c < 3; c++)
        for (int i = 0; i < ARGUMENTS; i++) {
            if (!(calls[c].used & BIT(i)))
                continue;
            const equinv_tensor *t[ARGUMENTS];
            equinv_tensor bad;
            memcpy(t, good, sizeof t);
            t[i] = &bad;
#define WITH(status, word, ...)                                                                    \
    do {                                                                                           \
        bad = *good[i];                                                                            \
        __VA_ARGS__;                                                                               \
        FAILS(status, names[i], calls[c].run(t));                                                  \
        FAILS(status, word, calls[c].run(t));                                                      \
    } while (0)
            WITH(EQUINV_ERR_DEVICE, "device", bad.device.kind = EQUINV_DEVICE_CUDA);
            WITH(EQUINV_ERR_DTYPE, "expected", bad.dtype = i == MASK ? EQUINV_F32 : EQUINV_U8);
            if (i != MASK)
                WITH(EQUINV_ERR_DTYPE, "f64, expected f32", bad.dtype = EQUINV_F64);
            WITH(EQUINV_ERR_SHAPE, "ndim", bad.ndim = 10);
            WITH(EQUINV_ERR_SHAPE, "expected [", bad.ndim = 0);
            WITH(EQUINV_ERR_SHAPE, "expected [", bad.shape[bad.ndim - 1]--);
            WITH(EQUINV_ERR_SHAPE, "expected [", bad.shape[0]--);
            WITH(EQUINV_ERR_SHAPE, "extent -1", bad.shape[0] = -1);
            WITH(EQUINV_ERR_SHAPE, "strides", bad.strides[0] = INT64_MAX / 2);
            WITH(EQUINV_ERR_ARG, "data NULL", bad.data = NULL);
            if (calls[c].outputs & BIT(i))
                WITH(EQUINV_ERR_SHAPE, "stride 0", bad.strides[0] = 0);
            for (int k = 0; k < ARGUMENTS; k++)
                if (k != i && (calls[c].outputs & BIT(i)) && (calls[c].used & BIT(k)))
                    WITH(EQUINV_ERR_ARG, "overlaps", bad.data = good[k]->data);
            t[i] = NULL;
            if (!(calls[c].optional & BIT(i)))
                FAILS(EQUINV_ERR_ARG, names[i], calls[c].run(t));
#undef WITH
        }
    for (int i = 0; i < ARGUMENTS; i++) {
        ASSERT_SAME(good[i], &before[i]);
        equinv_tensor_destroy(ctx, &before[i]);
    }
    equinv_plan *const plan = l.plan;
    l.plan = NULL;
    for (int c = 0; c < 3; c++)
        FAILS(EQUINV_ERR_ARG, "plan is NULL", calls[c].run(good));
    desc.bias = false;
    OK(equinv_node_linear_plan_create(ctx, &desc, &l.plan));
    FAILS(EQUINV_ERR_ARG, "bias is given", call_forward(good));
    equinv_plan_destroy(l.plan);
    l.plan = plan;
    OK(equinv_node_linear_backward_weights(plan, &l.src, NULL, &l.diff_dst, &l.diff_weights, NULL,
                                           NULL, 0));
    FAILS(EQUINV_ERR_SCRATCH, "scratch",
          equinv_node_linear_forward(plan, &l.src, NULL, &l.weights, &l.bias, &l.dst,
                                     l.diff_weights.data, 1));
    layer_free(&l);
    equinv_context_destroy(ctx);
}
END_TEST

static equinv_status make_plan(equinv_context *ctx, void *arg)
{
    equinv_plan *plan = NULL;
    const equinv_status status = equinv_node_linear_plan_create(ctx, arg, &plan);
    ck_assert(!plan == (status != EQUINV_OK));
    equinv_plan_destroy(plan);
    return status;
}

START_TEST(allocation_failures)
{
    equinv_node_linear_desc d = EQUINV_NODE_LINEAR_DESC_INIT;
    d.batch = 4, d.nodes = 5, d.channels_in = 3, d.channels_out = 4;
    ck_assert_int_eq(fail_in_turn(make_plan, &d), 2); /* the plan and the arena */
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {forward_is_the_definition, 1},
        {gemm_equals_ref, TEST_LEVELS},
        {operations_are_a_basis, 1},
        {commutes_with_permutations, 1},
        {absent_nodes_do_not_leak, 1},
        {padding_changes_nothing, 1},
        {symmetric_layers, 1},
        {gradient_by_differences, 1},
        {backward_is_the_adjoint, 1},
        {accumulate_adds_to_all_outputs, 1},
        {any_layout, 1},
        {a_sample_does_not_feel_its_batch, 1},
        {thread_count_changes_no_bit, 1},
        {empty_batch, 1},
        {wrong_descriptions, 1},
        {wrong_arguments, 1},
        {allocation_failures, 1},
    };
    return run_tests("node linear", tests, sizeof tests / sizeof *tests);
}
