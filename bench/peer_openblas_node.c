/*
 * OpenBLAS under a linear layer of pairs: as published code does it, the 15 operations of every sample side by
 * side, [pairs, 15 channels], then one product with all weights; on blocks of samples of which the fastest is
 * kept. Backward by the adjoint of that.
 */
#include <cblas.h>
#include <stdlib.h>
#include <string.h>

#include "bench/peer.h"

enum { OPERATIONS = 15, WAYS = 4 };
static const int64_t way_samples[WAYS] = {1, 4, 16, INT64_MAX};

typedef struct state {
    int64_t batch, nodes, in, out;
    float *matrix; /* [15 in, out]: the weights, or their gradient */
    float *stack;  /* [pairs, 15 in] of a block */
    float *parts;  /* of a sample: d, r, c [3][n][in], t, s [2][in], zeros [in] */
    int64_t samples[WAYS];
    int chosen;
} state;

static int64_t pairs_of(const state *s)
{
    return s->nodes * s->nodes;
}

/* Where the operations of a pair stand, as the header lists them; NULL: 0. */
static void operands(const state *s, float *x, int64_t i, int64_t j, float *to[OPERATIONS])
{
    const int64_t n = s->nodes, c = s->in;
    float *const d = s->parts, *const r = d + n * c, *const k = r + n * c, *const t = k + n * c;
    float *const all = t + c;
    float *const list[OPERATIONS] = {x + (i * n + j) * c,
                                     x + (j * n + i) * c,
                                     i == j ? d + i * c : NULL,
                                     i == j ? r + i * c : NULL,
                                     i == j ? k + i * c : NULL,
                                     d + i * c,
                                     r + i * c,
                                     k + i * c,
                                     d + j * c,
                                     r + j * c,
                                     k + j * c,
                                     i == j ? t : NULL,
                                     i == j ? all : NULL,
                                     t,
                                     all};
    memcpy(to, list, sizeof list);
}

static void add(const float *restrict from, float factor, int64_t count, float *restrict to)
{
    for (int64_t i = 0; i < count; i++)
        to[i] += factor * from[i];
}

/* d, r, c, t, s of one sample; back: what stands there, spread over the pairs that it came from. */
static void contract(const state *s, float *x, bool back)
{
    const int64_t n = s->nodes, c = s->in;
    float *const d = s->parts, *const r = d + n * c, *const k = r + n * c, *const t = k + n * c;
    float *const all = t + c;
    const float mean = 1 / (float)n;
#define MOVE(from, factor, to) back ? add(to, factor, c, from) : add(from, factor, c, to)
    if (!back)
        memset(s->parts, 0, (size_t)(3 * n + 2) * (size_t)c * sizeof(float));
    for (int64_t i = 0; i < n; i++) {
        MOVE(x + (i * n + i) * c, 1, d + i * c);
        MOVE(x + (i * n + i) * c, mean, t);
        for (int64_t j = 0; j < n; j++) {
            MOVE(x + (i * n + j) * c, mean, r + i * c);
            MOVE(x + (j * n + i) * c, mean, k + i * c);
            MOVE(x + (i * n + j) * c, mean * mean, all);
        }
    }
#undef MOVE
}

static void stack_sample(const state *s, float *x, float *stack)
{
    float *from[OPERATIONS];
    contract(s, x, false);
    for (int64_t i = 0; i < s->nodes; i++)
        for (int64_t j = 0; j < s->nodes; j++) {
            operands(s, x, i, j, from);
            for (int e = 0; e < OPERATIONS; e++, stack += s->in)
                if (from[e])
                    memcpy(stack, from[e], (size_t)s->in * sizeof(float));
                else
                    memset(stack, 0, (size_t)s->in * sizeof(float));
        }
}

static void unstack_sample(const state *s, const float *stack, float *x)
{
    float *to[OPERATIONS];
    memset(x, 0, (size_t)(pairs_of(s) * s->in) * sizeof(float));
    memset(s->parts, 0, (size_t)((3 * s->nodes + 2) * s->in) * sizeof(float));
    for (int64_t i = 0; i < s->nodes; i++)
        for (int64_t j = 0; j < s->nodes; j++) {
            operands(s, x, i, j, to);
            for (int e = 0; e < OPERATIONS; e++, stack += s->in)
                if (to[e])
                    add(stack, 1, s->in, to[e]);
        }
    contract(s, x, true);
}

static void run_block(problem *p, const state *s, int64_t first, int64_t count)
{
    const int rows = (int)(count * pairs_of(s)), depth = OPERATIONS * (int)s->in;
    const int out = (int)s->out;
    const bool data = p->what.pass == PASS_BACKWARD_DATA;
    float *const x = (float *)p->input[0].data + first * pairs_of(s) * (data ? s->out : s->in);
    float *const y = (float *)p->output[0].data + first * pairs_of(s) * (data ? s->in : s->out);
    if (data) {
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rows, depth, out, 1, x, out, s->matrix,
                    out, 0, s->stack, depth);
        for (int64_t b = 0; b < count; b++)
            unstack_sample(s, s->stack + b * pairs_of(s) * depth, y + b * pairs_of(s) * s->in);
        return;
    }
    for (int64_t b = 0; b < count; b++)
        stack_sample(s, x + b * pairs_of(s) * s->in, s->stack + b * pairs_of(s) * depth);
    if (p->what.pass == PASS_FORWARD) {
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, rows, out, depth, 1, s->stack, depth,
                    s->matrix, out, 0, y, out);
        return;
    }
    const float *const g = (const float *)p->input[1].data + first * pairs_of(s) * s->out;
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, depth, out, rows, 1, s->stack, depth, g,
                out, first > 0 ? 1 : 0, s->matrix, out);
}

/* weights [15, out, in], and the matrix [15, in, out] */
static void exchange(const state *s, float *weights, bool back)
{
    for (int64_t e = 0; e < OPERATIONS; e++)
        for (int64_t o = 0; o < s->out; o++)
            for (int64_t c = 0; c < s->in; c++) {
                float *const w = weights + (e * s->out + o) * s->in + c;
                float *const m = s->matrix + (e * s->in + c) * s->out + o;
                *(back ? w : m) = *(back ? m : w);
            }
}

static equinv_status run_way(problem *p, int way)
{
    const state *const s = p->own;
    for (int64_t b = 0; b < s->batch; b += s->samples[way])
        run_block(p, s, b, s->samples[way] < s->batch - b ? s->samples[way] : s->batch - b);
    return EQUINV_OK;
}

static equinv_status run(problem *p)
{
    return run_way(p, ((state *)p->own)->chosen);
}

/* The gradient lies as the product leaves it; what exchanges axes is not timed. */
static equinv_status finish(problem *p)
{
    if (p->what.pass == PASS_BACKWARD_WEIGHTS)
        exchange(p->own, p->output[0].data, true);
    return EQUINV_OK;
}

static void destroy(problem *p)
{
    state *const s = p->own;
    if (!s)
        return;
    free(s->matrix);
    free(s->stack);
    free(s->parts);
    free(s);
}

static equinv_status create(problem *p)
{
    const bench_case *const c = &p->what;
    const equinv_status status = c->op->runner.create(p);
    if (status)
        return status;
    state *const s = calloc(1, sizeof *s);
    if (!s)
        return peer_failed("no memory");
    p->own = s;
    s->batch = c->batch, s->nodes = c->rows, s->in = c->fields_in, s->out = c->fields_out;
    s->matrix = peer_floats(OPERATIONS * s->in * s->out);
    s->stack = peer_floats(s->batch * pairs_of(s) * OPERATIONS * s->in);
    s->parts = peer_floats((3 * s->nodes + 2) * s->in);
    if (!s->matrix || !s->stack || !s->parts)
        return peer_failed("no memory");
    for (int way = 0; way < WAYS; way++)
        s->samples[way] = way_samples[way] < s->batch ? way_samples[way] : s->batch;
    if (c->pass != PASS_BACKWARD_WEIGHTS)
        exchange(s, p->input[1].data, false);
    return s->batch > 0 ? peer_fastest(p, WAYS, run_way, &s->chosen) : EQUINV_OK;
}

static const bench_runner runner = {
    .create = create, .run = run, .destroy = destroy, .finish = finish};

const bench_runner *openblas_node_linear(const bench_case *c)
{
    return c->kind == 22 && c->dtype == EQUINV_F32 ? &runner : NULL;
}
