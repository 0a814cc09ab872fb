/*
 * Each operation as the header writes it: the contractions of a channel are computed once, then
 * dst[b,o,i,j] = sum over p, c of weights[p,o,c] E_p(src[b,c])[i,j], one operation after the other.
 */
#include "ref.h"

/* Of one channel, means or sums; of order 1 a row is its one number. */
typedef struct contractions {
    double *node, *row, *column; /* [nodes], set where a node is there */
    double trace, all;
} contractions;

/* A channel of src or dst in one sample; symmetric: read as (x + x transposed) / 2. */
typedef struct channel {
    const equinv_tensor *tensor;
    int64_t b, c;
    bool symmetric;
} channel;

/* The nodes of a sample that are there. */
typedef struct nodes {
    const equinv_tensor *mask;
    int64_t b, n, there;
} nodes;

static nodes nodes_of(const eqi_node_linear_problem *p, const eqi_node_linear_args *a, int64_t b)
{
    nodes v = {a->mask, b, p->nodes, 0};
    for (int64_t i = 0; i < v.n; i++)
        v.there += eqi_node_is_there(v.mask, b, i);
    return v;
}

static bool is_there(const nodes *v, int64_t i, int64_t j)
{
    return eqi_node_is_there(v->mask, v->b, i) && eqi_node_is_there(v->mask, v->b, j);
}

static double value(const channel *x, int64_t i, int64_t j)
{
    const double ij = eqi_load(x->tensor, eqi_node_offset(x->tensor, x->b, x->c, i, j));
    if (!x->symmetric)
        return ij;
    return (ij + eqi_load(x->tensor, eqi_node_offset(x->tensor, x->b, x->c, j, i))) / 2;
}

/* Sums divided by m to the power of how many indices they run over, or by 1. */
static void contract(const nodes *v, int32_t order, const channel *x, double m, contractions *to)
{
    to->trace = to->all = 0;
    for (int64_t i = 0; i < v->n; i++) {
        if (!eqi_node_is_there(v->mask, v->b, i))
            continue;
        to->node[i] = value(x, i, order == 2 ? i : 0);
        to->row[i] = to->column[i] = order == 2 ? 0 : to->node[i];
        for (int64_t j = 0; order == 2 && j < v->n; j++)
            if (eqi_node_is_there(v->mask, v->b, j)) {
                to->row[i] += value(x, i, j) / m;
                to->column[i] += value(x, j, i) / m;
            }
        to->trace += to->node[i] / m;
        to->all += to->row[i] / m;
    }
}

/* v_i, or the number v. */
static double contracted(const contractions *x, eqi_node_from from, int64_t i)
{
    switch (from) {
    case EQI_FROM_NODE: return x->node[i];
    case EQI_FROM_ROW: return x->row[i];
    case EQI_FROM_COLUMN: return x->column[i];
    case EQI_FROM_TRACE: return x->trace;
    default: return x->all;
    }
}

/* E_p(x)[i,j]; j is 0 where dst has order 1 */
static double operation(eqi_node_operation e, const channel *x, const contractions *of, int64_t i,
                        int64_t j)
{
    switch (e.to) {
    case EQI_TO_PAIR: return e.from == EQI_FROM_PAIR ? value(x, i, j) : value(x, j, i);
    case EQI_TO_DIAGONAL: return i == j ? contracted(of, e.from, i) : 0;
    case EQI_TO_ROWS: return contracted(of, e.from, i);
    case EQI_TO_COLUMNS: return contracted(of, e.from, j);
    default: return contracted(of, e.from, i) + contracted(of, e.from, j);
    }
}

/* Of g, sums in place of means: v_i and their total, as the adjoint of `to` gathers them. */
static double gathered(const contractions *g, eqi_node_to to, int64_t i)
{
    switch (to) {
    case EQI_TO_DIAGONAL: return g->node[i];
    case EQI_TO_ROWS: return g->row[i];
    case EQI_TO_COLUMNS: return g->column[i];
    default: return g->row[i] + g->column[i];
    }
}

static double gathered_total(const contractions *g, eqi_node_to to)
{
    return to == EQI_TO_DIAGONAL ? g->trace : to == EQI_TO_BOTH ? 2 * g->all : g->all;
}

/* The adjoint of E_p on g, at [i,j] of src */
static double adjoint(const eqi_node_linear_problem *p, eqi_node_operation e, const channel *g,
                      const contractions *of, double m, int64_t i, int64_t j)
{
    const bool node = p->order_in == 1 || i == j;
    switch (e.from) {
    case EQI_FROM_PAIR: return value(g, i, j);
    case EQI_FROM_TRANSPOSED: return value(g, j, i);
    case EQI_FROM_NODE: return node ? gathered(of, e.to, i) : 0;
    case EQI_FROM_ROW: return gathered(of, e.to, i) / m;
    case EQI_FROM_COLUMN: return gathered(of, e.to, j) / m;
    case EQI_FROM_TRACE: return node ? gathered_total(of, e.to) / m : 0;
    default: return gathered_total(of, e.to) / (p->order_in == 1 ? m : m * m);
    }
}

/* ---- contractions of all channels of a sample ------------------------------------------------- */

static int64_t wider(const eqi_node_linear_problem *p)
{
    return p->in > p->out ? p->in : p->out;
}

equinv_status eqi_ref_node_linear_scratch_size(const eqi_node_linear_problem *p,
                                               const eqi_hardware *hardware, int64_t *size)
{
    (void)hardware;
    int64_t vectors, structs;
    EQI_TRY(eqi_product_of("scratch", 4,
                           (int64_t[]){wider(p), 3, p->nodes, (int64_t)sizeof(double)}, &vectors));
    EQI_TRY(eqi_product_of("scratch", 2, (int64_t[]){wider(p), (int64_t)sizeof(contractions)},
                           &structs));
    EQI_CHECK(!__builtin_add_overflow(vectors, structs, size), SHAPE,
              "scratch has more than 2^63 bytes, expected a size that fits");
    return EQUINV_OK;
}

static contractions *contractions_in(const eqi_node_linear_problem *p, void *scratch)
{
    contractions *const all = scratch;
    double *numbers = (double *)(all + wider(p));
    for (int64_t c = 0; c < wider(p); c++, numbers += 3 * p->nodes) {
        all[c].node = numbers;
        all[c].row = numbers + p->nodes;
        all[c].column = numbers + 2 * p->nodes;
    }
    return all;
}

/* ---- passes ----------------------------------------------------------------------------------- */

static double bias_at(const eqi_node_linear_problem *p, const equinv_tensor *bias, int64_t o,
                      int64_t i, int64_t j)
{
    if (!bias)
        return 0;
    const int64_t *const s = bias->strides;
    if (p->order_out == 1)
        return eqi_load(bias, o * s[1]);
    return eqi_load(bias, s[0] + o * s[1]) + (i == j ? eqi_load(bias, o * s[1]) : 0);
}

static int64_t offset3(const equinv_tensor *t, int64_t p, int64_t o, int64_t c)
{
    return p * t->strides[0] + o * t->strides[1] + c * t->strides[2];
}

/* dst[b,o,i,j] = sum over p, c of weights[p,o,c] E_p(src[b,c])[i,j] + bias */
equinv_status eqi_ref_node_linear_forward(const equinv_context *ctx,
                                          const eqi_node_linear_problem *p,
                                          const eqi_node_linear_args *a)
{
    (void)ctx;
    contractions *const of = contractions_in(p, a->scratch);
    const int64_t columns = a->dst.shape[3];
    for (int64_t b = 0; b < p->batch; b++) {
        const nodes v = nodes_of(p, a, b);
        channel x = {&a->src, b, 0, p->symmetric && p->order_in == 2};
        for (x.c = 0; x.c < p->in; x.c++)
            contract(&v, p->order_in, &x, (double)v.there, &of[x.c]);
        for (int64_t o = 0; o < p->out; o++)
            for (int64_t i = 0; i < p->nodes; i++)
                for (int64_t j = 0; j < columns; j++) {
                    double sum = 0;
                    if (is_there(&v, i, columns == 1 ? i : j)) {
                        sum = bias_at(p, a->bias, o, i, j);
                        for (int32_t e = 0; e < p->basis.count; e++)
                            for (x.c = 0; x.c < p->in; x.c++)
                                sum += eqi_load(a->weights, offset3(a->weights, e, o, x.c)) *
                                       operation(p->basis.operation[e], &x, &of[x.c], i, j);
                    }
                    eqi_put(&a->dst, eqi_node_offset(&a->dst, b, o, i, j), sum, p->accumulate);
                }
    }
    return EQUINV_OK;
}

/* diff_src[b,c,i,j] = sum over p, o of weights[p,o,c] E_p'(diff_dst[b,o])[i,j] */
equinv_status eqi_ref_node_linear_backward_data(const equinv_context *ctx,
                                                const eqi_node_linear_problem *p,
                                                const eqi_node_linear_args *a)
{
    (void)ctx;
    contractions *const of = contractions_in(p, a->scratch);
    const int64_t columns = a->src.shape[3];
    for (int64_t b = 0; b < p->batch; b++) {
        const nodes v = nodes_of(p, a, b);
        const double m = (double)v.there;
        channel g = {&a->dst, b, 0, p->symmetric && p->order_out == 2};
        for (g.c = 0; g.c < p->out; g.c++)
            contract(&v, p->order_out, &g, 1, &of[g.c]);
        for (int64_t c = 0; c < p->in; c++)
            for (int64_t i = 0; i < p->nodes; i++)
                for (int64_t j = 0; j < columns; j++) {
                    double sum = 0;
                    for (int32_t e = 0; is_there(&v, i, columns == 1 ? i : j) && e < p->basis.count;
                         e++)
                        for (g.c = 0; g.c < p->out; g.c++) {
                            const eqi_node_operation of_e = p->basis.operation[e];
                            double term = adjoint(p, of_e, &g, &of[g.c], m, i, j);
                            if (p->symmetric && columns > 1)
                                term = (term + adjoint(p, of_e, &g, &of[g.c], m, j, i)) / 2;
                            sum += eqi_load(a->weights, offset3(a->weights, e, g.c, c)) * term;
                        }
                    eqi_put(&a->src, eqi_node_offset(&a->src, b, c, i, j), sum, p->accumulate);
                }
    }
    return EQUINV_OK;
}

/* Sums over places of g and g E_p(x): of one sample, one channel on each side. */
typedef struct sums {
    double operation[15], diagonal, all;
} sums;

static void add_sums(const eqi_node_linear_problem *p, const nodes *v, const channel *x,
                     const contractions *of, const channel *g, sums *to)
{
    const int64_t columns = p->order_out == 2 ? p->nodes : 1;
    for (int64_t i = 0; i < p->nodes; i++)
        for (int64_t j = 0; j < columns; j++) {
            if (!is_there(v, i, columns == 1 ? i : j))
                continue;
            const double at = value(g, i, j);
            for (int32_t e = 0; e < p->basis.count; e++)
                to->operation[e] += at * operation(p->basis.operation[e], x, of, i, j);
            to->diagonal += i == j ? at : 0;
            to->all += at;
        }
}

/* diff_weights[p,o,c] = sum over b, i, j of diff_dst[b,o,i,j] E_p(src[b,c])[i,j]; diff_bias: E = 1 */
equinv_status eqi_ref_node_linear_backward_weights(const equinv_context *ctx,
                                                   const eqi_node_linear_problem *p,
                                                   const eqi_node_linear_args *a)
{
    (void)ctx;
    contractions *const of = contractions_in(p, a->scratch);
    for (int64_t o = 0; o < p->out; o++)
        for (int64_t c = 0; c < p->in; c++) {
            sums sum = {{0}, 0, 0};
            for (int64_t b = 0; b < p->batch; b++) {
                const nodes v = nodes_of(p, a, b);
                const channel x = {&a->src, b, c, p->symmetric && p->order_in == 2};
                const channel g = {&a->dst, b, o, false};
                contract(&v, p->order_in, &x, (double)v.there, of);
                add_sums(p, &v, &x, of, &g, &sum);
            }
            for (int32_t e = 0; e < p->basis.count; e++)
                eqi_put(a->weights, offset3(a->weights, e, o, c), sum.operation[e], p->accumulate);
            if (!a->bias || c > 0)
                continue;
            const int64_t *const s = a->bias->strides;
            if (p->order_out == 2)
                eqi_put(a->bias, o * s[1], sum.diagonal, p->accumulate);
            eqi_put(a->bias, (p->order_out - 1) * s[0] + o * s[1], sum.all, p->accumulate);
        }
    return EQUINV_OK;
}
