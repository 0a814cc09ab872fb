/* Linear layers of nodes and pairs under S_n: the definition, implementations, the basis. */
#include <math.h>

#include "tests/util/node_linear.h"

enum { ROUNDS = 240, MOST = 12 };

/* ---- the definition -------------------------------------------------------------------------- */

/* x_ij or x_i of one channel as numbers of the test; m present nodes with these places. */
typedef struct picture {
    double x[MOST][MOST];
    int64_t m, node[MOST];
} picture;

static picture picture_of(const linear *l, int64_t b, int64_t c)
{
    const equinv_node_linear_desc *const d = &l->desc;
    const int64_t n = d->nodes;
    picture p = {.m = 0};
    for (int64_t i = 0; i < n; i++)
        if (nodes_there(linear_mask(l), b, i))
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

static double expected(const linear *l, int64_t b, int64_t o, int64_t i, int64_t j)
{
    const equinv_node_linear_desc *const d = &l->desc;
    if (!nodes_there(linear_mask(l), b, i) || !nodes_there(linear_mask(l), b, j))
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
        equinv_node_linear_desc desc = linear_random_desc(&r, seed % 2 ? EQUINV_F64 : EQUINV_F32);
        desc.channels_in = (desc.channels_in - 1) % 5 + 1;
        desc.channels_out = (desc.channels_out - 1) % 5 + 1;
        desc.impl = linear_impl(desc.dtype, seed / 2);
        linear l = linear_new(ctx, &r, &desc, rng_range(&r, 0, 2));
        equinv_tensor before = tensor_copy(ctx, &l.dst);
        linear_forward(&l);
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
        linear_free(&l);
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
        equinv_node_linear_desc desc = linear_random_desc(&r, EQUINV_F32);
        if (seed % 8 == 0)
            desc.nodes = rng_range(&r, 8, 24), desc.channels_in = desc.channels_out = 3;
        if (seed % 32 == 1)
            desc.nodes = 3, desc.batch = rng_range(&r, 50, 150), desc.channels_out = 2;
        const bool masked = rng_range(&r, 0, 2);
        desc.impl = "ref";
        again = r;
        linear ref = linear_new(ctx, &r, &desc, masked);
        desc.impl = "gemm";
        linear l = linear_new(ctx, &again, &desc, masked);
        ck_assert_str_eq(equinv_plan_impl_name(l.plan), "node_linear/gemm");
        equinv_tensor *all[LINEAR_TENSORS], kept[LINEAR_TENSORS], storage[LINEAR_TENSORS];
        linear_tensors(&l, all);
        const bool last = rng_range(&r, 0, 3);
        for (int i = 0; i < LINEAR_TENSORS && last; i++) {
            kept[i] = *all[i];
            *all[i] = nodes_channels_last(ctx, &kept[i], &storage[i]);
        }
        linear_run(&ref), linear_run(&l);
        ck_assert_msg(tensor_error(&l.dst, &ref.dst, NULL) <= 1e-6, "dst, seed %d", (int)seed);
        ck_assert_msg(tensor_error(&l.diff_src, &ref.diff_src, NULL) <= 1e-6, "diff_src, seed %d",
                      (int)seed);
        ck_assert_msg(tensor_error(&l.diff_weights, &ref.diff_weights, NULL) <= 1e-6,
                      "diff_weights, seed %d", (int)seed);
        ck_assert_msg(tensor_error(&l.diff_bias, &ref.diff_bias, NULL) <= 1e-6,
                      "diff_bias, seed %d", (int)seed);
        for (int i = 0; i < LINEAR_TENSORS && last; i++) {
            equinv_tensor_destroy(ctx, &storage[i]);
            *all[i] = kept[i];
        }
        linear_free(&ref), linear_free(&l);
    }
    equinv_context_destroy(ctx);
}
END_TEST

/* ---- the operations are a basis -------------------------------------------------------------- */

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
        linear l = linear_new(ctx, &r, &desc, false);
        const int count = (int)l.weights.shape[0];
        ck_assert_int_eq(count, counts[desc.symmetric][desc.order_in - 1][desc.order_out - 1]);
        for (int64_t i = 0; i < in * in; i++) /* every unit vector is a sample */
            tensor_set(&l.src, i, i / in == i % in);
        double rows[15 * 256];
        for (int e = 0; e < count; e++) {
            for (int i = 0; i < count; i++)
                tensor_set(&l.weights, i, i == e);
            linear_forward(&l);
            for (int64_t i = 0; i < in * out; i++)
                rows[e * in * out + i] = tensor_get(&l.dst, i);
        }
        ck_assert_int_eq(rank_of(rows, count, in * out), count);
        ck_assert_int_eq(orbits(desc.order_in, desc.order_out, desc.symmetric), count);
        linear_free(&l);
    }
    equinv_context_destroy(ctx);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {forward_is_the_definition, 1},
        {gemm_equals_ref, TEST_LEVELS},
        {operations_are_a_basis, 1},
    };
    return run_tests("node linear", tests, sizeof tests / sizeof *tests);
}
