/*
 * The linear layer of nodes. With d, r, c, t, s the contractions of x (means forward, sums of the gradient
 * backward), every pass is
 *     y_ij = A x_ij + B x_ji + row_i + column_j + all + [i = j] (node_i + trace)
 *     (node, row, column)_i = V (d, r, c)_i,   (trace, all) = Q (t, s)
 * in three steps: contractions, their products, then every place. Backward weights multiplies what both sides
 * give, in parts of the batch that are added in a fixed order.
 *
 * Layout  contractions are [B, n, slots, C] and [B, slots, C] in scratch; neighbouring threads have
 *         neighbouring channels, so channels last in memory are read and written whole
 * Why     plain: a thread a number, weights from the caches
 */
#include "cuda/node.cuh"
#include "cuda/operations.cuh"

extern "C" {
#include "internal/node_linear.h"
}

enum { VECTORS = 3, NUMBERS = 2, NONE = -1 };
static constexpr int64_t PARTS = 32;

namespace
{
/* src or dst of the layer; slots as in place_of. */
template <typename T> struct side {
    eqi_node_view<T> view;
    int64_t channels;
    int32_t vectors, numbers; /* slots */
    T *vector, *number;       /* [B, n, vectors, C], [B, numbers, C] */
};

/* The operation between each two slots; NONE where there is none. */
struct operations {
    int8_t vector[VECTORS][VECTORS], number[NUMBERS][NUMBERS]; /* [src][dst] */
    int8_t same, turned;
};

template <typename T> struct call {
    eqi_node_mask mask;
    int64_t batch, nodes;
    bool forward, accumulate; /* forward: from src to dst */
    side<T> from, to;
    operations operation;
    const T *weights;
    int64_t weights_step[3]; /* of an operation, a channel of `to`, a channel of `from` */
    const T *bias;           /* NULL: none */
    int64_t bias_step[2];

    __device__ __forceinline__ T weight(int e, int64_t to_channel, int64_t from_channel) const
    {
        return weights[e * weights_step[0] + to_channel * weights_step[1] +
                       from_channel * weights_step[2]];
    }
};

/* Factors of row and column, of trace, of all. */
template <typename T> struct factors {
    T row, trace, all;
};
} // namespace

/* As the CPU has them (cpu/node/linear.c): means of src, sums of dst. */
template <typename T>
static __device__ factors<T> factors_of(const side<T> &s, bool src, bool contraction, int64_t there)
{
    const bool symmetric = s.view.symmetric;
    if (!src)
        return {T(contraction && symmetric ? 2 : 1), T(1), T(1)};
    const T mean = there > 0 ? 1 / T(there) : 0;
    return {!contraction && symmetric ? mean / 2 : mean, mean, s.view.pairs ? mean * mean : mean};
}

/* ---- contractions ------------------------------------------------------------------------------ */

/* A thread a (sample, node, channel): its value, and sums over its row and its column, without factors. */
template <typename T>
__global__ void eqi_node_contract(eqi_node_mask mask, int64_t batch, int64_t nodes, side<T> s)
{
    EQI_FOR_EACH(index, batch * nodes * s.channels)
    {
        int64_t b = index;
        const int64_t c = eqi_digit(&b, s.channels), i = eqi_digit(&b, nodes);
        T *const to = s.vector + ((b * nodes + i) * s.vectors) * s.channels + c;
        const bool there = mask.has(b, i);
        to[0] = there ? s.view.load(b, c, i, s.view.pairs ? i : 0) : T(0);
        if (!s.view.pairs)
            continue;
        T row = 0, column = 0;
        for (int64_t j = 0; there && j < nodes; j++)
            if (mask.has(b, j)) {
                row += s.view.load(b, c, i, j);
                column += s.view.load(b, c, j, i);
            }
        to[s.channels] = row;
        if (s.vectors == VECTORS)
            to[2 * s.channels] = column;
    }
}

/* A thread a (sample, channel): sums over the nodes, then all factors. */
template <typename T>
__global__ void eqi_node_contract_all(eqi_node_mask mask, int64_t batch, int64_t nodes, bool src,
                                      side<T> s)
{
    EQI_FOR_EACH(index, batch * s.channels)
    {
        int64_t b = index;
        const int64_t c = eqi_digit(&b, s.channels);
        const factors<T> f = factors_of(s, src, true, mask.count(b, nodes));
        T trace = 0, all = 0;
        for (int64_t i = 0; i < nodes; i++) {
            T *const v = s.vector + ((b * nodes + i) * s.vectors) * s.channels + c;
            trace += v[0];
            all += s.view.pairs ? v[s.channels] : v[0];
            for (int32_t k = 1; k < s.vectors; k++)
                v[k * s.channels] *= f.row;
        }
        T *const to = s.number + b * s.numbers * s.channels + c;
        if (s.view.pairs)
            to[0] = trace * f.trace;
        to[(s.numbers - 1) * s.channels] = all * f.all;
    }
}

/* ---- products of contractions ------------------------------------------------------------------ */

/* A thread a (sample, node, slot, channel) of `to`. */
template <typename T> __global__ void eqi_node_mix(call<T> a)
{
    EQI_FOR_EACH(index, a.batch * a.nodes * a.to.vectors * a.to.channels)
    {
        int64_t node = index;
        const int64_t o = eqi_digit(&node, a.to.channels), slot = eqi_digit(&node, a.to.vectors);
        T sum = 0;
        for (int32_t k = 0; k < a.from.vectors; k++) {
            const int e = a.forward ? a.operation.vector[k][slot] : a.operation.vector[slot][k];
            const T *const v = a.from.vector + (node * a.from.vectors + k) * a.from.channels;
            for (int64_t c = 0; e != NONE && c < a.from.channels; c++)
                sum += a.weight(e, o, c) * v[c];
        }
        a.to.vector[index] = sum;
    }
}

/* A thread a (sample, slot, channel). */
template <typename T> __global__ void eqi_node_mix_all(call<T> a)
{
    EQI_FOR_EACH(index, a.batch * a.to.numbers * a.to.channels)
    {
        int64_t b = index;
        const int64_t o = eqi_digit(&b, a.to.channels), slot = eqi_digit(&b, a.to.numbers);
        T sum = a.bias ? a.bias[slot * a.bias_step[0] + o * a.bias_step[1]] : T(0);
        for (int32_t k = 0; k < a.from.numbers; k++) {
            const int e = a.forward ? a.operation.number[k][slot] : a.operation.number[slot][k];
            const T *const v = a.from.number + (b * a.from.numbers + k) * a.from.channels;
            for (int64_t c = 0; e != NONE && c < a.from.channels; c++)
                sum += a.weight(e, o, c) * v[c];
        }
        a.to.number[index] = sum;
    }
}

/* ---- places ------------------------------------------------------------------------------------ */

/* What contractions give at a place. */
template <typename T>
static __device__ T contracted(const call<T> &a, int64_t b, int64_t o, int64_t i, int64_t j)
{
    const side<T> &s = a.to;
    const factors<T> f = factors_of(s, !a.forward, false, a.mask.count(b, a.nodes));
    const T *const number = s.number + b * s.numbers * s.channels + o;
    const T *const at_i = s.vector + (b * a.nodes + i) * s.vectors * s.channels + o;
    const T all = number[(s.numbers - 1) * s.channels] * f.all;
    if (!s.view.pairs)
        return at_i[0] + all;
    const T *const at_j = s.vector + (b * a.nodes + j) * s.vectors * s.channels + o;
    const T row = at_i[s.channels], column = at_j[(s.vectors - 1) * s.channels];
    const T sum = (row + column) * f.row + all; /* the same both ways where the map is symmetric */
    return i == j ? sum + at_i[0] + number[0] * f.trace : sum;
}

/* A thread a (sample, place, channel). */
template <typename T> __global__ void eqi_node_place(call<T> a)
{
    const int64_t columns = a.to.view.pairs ? a.nodes : 1;
    EQI_FOR_EACH(index, a.batch * a.nodes * columns * a.to.channels)
    {
        int64_t b = index;
        const int64_t o = eqi_digit(&b, a.to.channels), j = eqi_digit(&b, columns);
        const int64_t i = eqi_digit(&b, a.nodes);
        T y = 0;
        if (eqi_has_place(a.mask, a.to.view, b, i, j)) {
            if (a.operation.same != NONE)
                for (int64_t c = 0; c < a.from.channels; c++) {
                    y += a.weight(a.operation.same, o, c) * a.from.view.load(b, c, i, j);
                    if (a.operation.turned != NONE)
                        y += a.weight(a.operation.turned, o, c) * a.from.view.load(b, c, j, i);
                }
            y += contracted(a, b, o, i, j);
        }
        a.to.view.put(b, o, i, j, y, a.accumulate);
    }
}

/* ---- gradients of weights ---------------------------------------------------------------------- */

/* Sums over the places of a sample; x is src's side, g is dst's. */
template <typename T>
static __device__ T sample_sum(const call<T> &a, int e, int64_t o, int64_t c, int64_t b)
{
    const side<T> &x = a.to, &g = a.from;
    T sum = 0;
    if (e == a.operation.same || e == a.operation.turned) {
        for (int64_t i = 0; i < a.nodes; i++) {
            if (!a.mask.has(b, i))
                continue;
            T row = 0;
            for (int64_t j = 0; j < a.nodes; j++)
                if (a.mask.has(b, j))
                    row +=
                        g.view.load(b, o, i, j) *
                        (e == a.operation.same ? x.view.load(b, c, i, j) : x.view.load(b, c, j, i));
            sum += row;
        }
        return sum;
    }
    for (int32_t k = 0; k < x.vectors; k++)
        for (int32_t l = 0; l < g.vectors; l++)
            for (int64_t i = 0; e == a.operation.vector[k][l] && i < a.nodes; i++)
                sum += x.vector[((b * a.nodes + i) * x.vectors + k) * x.channels + c] *
                       g.vector[((b * a.nodes + i) * g.vectors + l) * g.channels + o];
    for (int32_t k = 0; k < x.numbers; k++)
        for (int32_t l = 0; l < g.numbers; l++)
            if (e == a.operation.number[k][l])
                sum += x.number[(b * x.numbers + k) * x.channels + c] *
                       g.number[(b * g.numbers + l) * g.channels + o];
    return sum;
}

/* A thread a (part, weight): sums of the part's samples. */
template <typename T>
__global__ void eqi_node_weights(call<T> a, int32_t count, int64_t parts, double *sums)
{
    EQI_FOR_EACH(index, parts * count * a.from.channels * a.to.channels)
    {
        int64_t part = index;
        const int64_t c = eqi_digit(&part, a.to.channels), o = eqi_digit(&part, a.from.channels);
        const int e = int(eqi_digit(&part, count));
        double sum = 0;
        for (int64_t b = part; b < a.batch; b += parts)
            sum += double(sample_sum(a, e, o, c, b));
        sums[index] = sum;
    }
}

template <typename T>
__global__ void eqi_node_join_weights(call<T> a, int32_t count, int64_t parts, const double *sums,
                                      T *diff_weights)
{
    const int64_t size = count * a.from.channels * a.to.channels;
    EQI_FOR_EACH(index, size)
    {
        int64_t e = index;
        const int64_t c = eqi_digit(&e, a.to.channels), o = eqi_digit(&e, a.from.channels);
        double sum = 0;
        for (int64_t part = 0; part < parts; part++)
            sum += sums[part * size + index];
        T *const to =
            diff_weights + e * a.weights_step[0] + o * a.weights_step[1] + c * a.weights_step[2];
        *to = a.accumulate ? T(*to + sum) : T(sum);
    }
}

/* A thread a (slot, channel): sums of trace and all. */
template <typename T> __global__ void eqi_node_bias(call<T> a, T *diff_bias)
{
    EQI_FOR_EACH(index, a.from.numbers * a.from.channels)
    {
        int64_t slot = index;
        const int64_t o = eqi_digit(&slot, a.from.channels);
        double sum = 0;
        for (int64_t b = 0; b < a.batch; b++)
            sum += double(a.from.number[b * a.from.numbers * a.from.channels + index]);
        T *const to = diff_bias + slot * a.bias_step[0] + o * a.bias_step[1];
        *to = a.accumulate ? T(*to + sum) : T(sum);
    }
}

/* ---- calls ------------------------------------------------------------------------------------- */

static operations operations_of(const eqi_node_linear_problem *p)
{
    operations to;
    memset(&to, NONE, sizeof to);
    for (int32_t e = 0; e < p->basis.count; e++) {
        const eqi_node_operation at = p->basis.operation[e];
        const bool pairs_in = p->order_in == 2, pairs_out = p->order_out == 2;
        const int dst = at.to == EQI_TO_COLUMNS ? 2 : at.to == EQI_TO_DIAGONAL ? 0 : pairs_out;
        switch (at.from) {
        case EQI_FROM_PAIR: to.same = int8_t(e); break;
        case EQI_FROM_TRANSPOSED: to.turned = int8_t(e); break;
        case EQI_FROM_NODE: to.vector[0][dst] = int8_t(e); break;
        case EQI_FROM_ROW: to.vector[1][dst] = int8_t(e); break;
        case EQI_FROM_COLUMN: to.vector[2][dst] = int8_t(e); break;
        case EQI_FROM_TRACE: to.number[0][dst] = int8_t(e); break;
        default: to.number[pairs_in][dst] = int8_t(e);
        }
    }
    return to;
}

static int32_t vectors_of(const eqi_node_linear_problem *p, int32_t order)
{
    return order == 1 ? 1 : p->symmetric ? 2 : 3;
}

static int64_t rounded(int64_t bytes)
{
    return (bytes + EQI_CUDA_ALIGNMENT - 1) / EQI_CUDA_ALIGNMENT * EQI_CUDA_ALIGNMENT;
}

static int64_t element_size(const eqi_node_linear_problem *p)
{
    return p->dtype == EQUINV_F32 ? 4 : 8;
}

static int64_t vector_bytes(const eqi_node_linear_problem *p, int32_t order, int64_t channels)
{
    return rounded(p->batch * p->nodes * vectors_of(p, order) * channels * element_size(p));
}

static int64_t number_bytes(const eqi_node_linear_problem *p, int32_t order, int64_t channels)
{
    return rounded(p->batch * order * channels * element_size(p));
}

static int64_t part_count(const eqi_node_linear_problem *p)
{
    return p->batch < PARTS ? p->batch : PARTS;
}

static equinv_status scratch_size(const eqi_node_linear_problem *p, const eqi_hardware *,
                                  int64_t *size)
{
    const double channels = double(p->in) + double(p->out);
    const double most = 8.0 * (double(p->batch) * double(p->nodes) * VECTORS * channels +
                               double(p->batch) * NUMBERS * channels +
                               double(PARTS) * 15 * double(p->in) * double(p->out));
    EQI_CHECK(most < 0x1p62, SHAPE, "scratch has more than 2^63 bytes, expected a size that fits");
    *size = vector_bytes(p, p->order_in, p->in) + number_bytes(p, p->order_in, p->in) +
            vector_bytes(p, p->order_out, p->out) + number_bytes(p, p->order_out, p->out) +
            part_count(p) * p->basis.count * p->in * p->out * int64_t(sizeof(double));
    return EQUINV_OK;
}

template <typename T>
static side<T> side_of(const eqi_node_linear_problem *p, const equinv_tensor *view, int32_t order,
                       int64_t channels, char **scratch)
{
    const bool pairs = order == 2;
    side<T> s = {eqi_node_view_of<T>(view, pairs, pairs && p->symmetric),
                 channels,
                 vectors_of(p, order),
                 order,
                 reinterpret_cast<T *>(*scratch),
                 NULL};
    *scratch += vector_bytes(p, order, channels);
    s.number = reinterpret_cast<T *>(*scratch);
    *scratch += number_bytes(p, order, channels);
    return s;
}

/* from_src: forward; else from dst's gradient, for data and for weights. What is left of scratch: *rest. */
template <typename T>
static call<T> call_of(const eqi_node_linear_problem *p, const eqi_node_linear_args *a,
                       bool from_src, char **rest)
{
    *rest = static_cast<char *>(a->scratch);
    const side<T> src = side_of<T>(p, &a->src, p->order_in, p->in, rest);
    const side<T> dst = side_of<T>(p, &a->dst, p->order_out, p->out, rest);
    const int64_t *const w = a->weights->strides;
    call<T> c = {};
    c.mask = eqi_node_mask_of(a->mask);
    c.batch = p->batch;
    c.nodes = p->nodes;
    c.forward = from_src;
    c.accumulate = p->accumulate;
    c.from = from_src ? src : dst;
    c.to = from_src ? dst : src;
    c.operation = operations_of(p);
    c.weights = static_cast<const T *>(a->weights->data);
    c.weights_step[0] = w[0];
    c.weights_step[1] = from_src ? w[1] : w[2];
    c.weights_step[2] = from_src ? w[2] : w[1];
    if (a->bias) {
        c.bias = static_cast<const T *>(a->bias->data);
        c.bias_step[0] = a->bias->strides[0];
        c.bias_step[1] = a->bias->strides[1];
    }
    return c;
}

template <typename T>
static equinv_status contract(const equinv_context *ctx, const call<T> &c, const side<T> &s,
                              bool src)
{
    EQI_LAUNCH(eqi_node_contract<T>, eqi_blocks(c.batch * c.nodes * s.channels, EQI_NODE_BLOCK),
               EQI_NODE_BLOCK, 0, eqi_stream(ctx), c.mask, c.batch, c.nodes, s);
    EQI_LAUNCH(eqi_node_contract_all<T>, eqi_blocks(c.batch * s.channels, EQI_NODE_BLOCK),
               EQI_NODE_BLOCK, 0, eqi_stream(ctx), c.mask, c.batch, c.nodes, src, s);
    return EQUINV_OK;
}

template <typename T>
static equinv_status run_pass(const equinv_context *ctx, const eqi_node_linear_problem *p,
                              const eqi_node_linear_args *a, bool forward)
{
    char *rest;
    const call<T> c = call_of<T>(p, a, forward, &rest);
    const int64_t vectors = c.batch * c.nodes * c.to.vectors * c.to.channels;
    const int64_t numbers = c.batch * c.to.numbers * c.to.channels;
    const int64_t places = c.batch * c.nodes * (c.to.view.pairs ? c.nodes : 1) * c.to.channels;
    EQI_TRY(contract(ctx, c, c.from, forward));
    EQI_LAUNCH(eqi_node_mix<T>, eqi_blocks(vectors, EQI_NODE_BLOCK), EQI_NODE_BLOCK, 0,
               eqi_stream(ctx), c);
    EQI_LAUNCH(eqi_node_mix_all<T>, eqi_blocks(numbers, EQI_NODE_BLOCK), EQI_NODE_BLOCK, 0,
               eqi_stream(ctx), c);
    EQI_LAUNCH(eqi_node_place<T>, eqi_blocks(places, EQI_NODE_BLOCK), EQI_NODE_BLOCK, 0,
               eqi_stream(ctx), c);
    return EQUINV_OK;
}

template <typename T>
static equinv_status run_weights(const equinv_context *ctx, const eqi_node_linear_problem *p,
                                 const eqi_node_linear_args *a)
{
    char *rest;
    call<T> c = call_of<T>(p, a, false, &rest);
    double *const sums = reinterpret_cast<double *>(rest);
    c.weights_step[1] = a->weights->strides[1]; /* dst's channel first, as written */
    c.weights_step[2] = a->weights->strides[2];
    const int64_t parts = part_count(p), size = p->basis.count * p->in * p->out;
    EQI_TRY(contract(ctx, c, c.from, false));
    EQI_TRY(contract(ctx, c, c.to, true));
    EQI_LAUNCH(eqi_node_weights<T>, eqi_blocks(parts * size, EQI_NODE_BLOCK), EQI_NODE_BLOCK, 0,
               eqi_stream(ctx), c, p->basis.count, parts, sums);
    EQI_LAUNCH(eqi_node_join_weights<T>, eqi_blocks(size, EQI_NODE_BLOCK), EQI_NODE_BLOCK, 0,
               eqi_stream(ctx), c, p->basis.count, parts, sums, static_cast<T *>(a->weights->data));
    if (a->bias)
        EQI_LAUNCH(eqi_node_bias<T>, eqi_blocks(c.from.numbers * c.from.channels, EQI_NODE_BLOCK),
                   EQI_NODE_BLOCK, 0, eqi_stream(ctx), c, static_cast<T *>(a->bias->data));
    return EQUINV_OK;
}

static equinv_status forward(const equinv_context *ctx, const eqi_node_linear_problem *p,
                             const eqi_node_linear_args *a)
{
    return p->dtype == EQUINV_F32 ? run_pass<float>(ctx, p, a, true)
                                  : run_pass<double>(ctx, p, a, true);
}

static equinv_status backward_data(const equinv_context *ctx, const eqi_node_linear_problem *p,
                                   const eqi_node_linear_args *a)
{
    return p->dtype == EQUINV_F32 ? run_pass<float>(ctx, p, a, false)
                                  : run_pass<double>(ctx, p, a, false);
}

static equinv_status backward_weights(const equinv_context *ctx, const eqi_node_linear_problem *p,
                                      const eqi_node_linear_args *a)
{
    return p->dtype == EQUINV_F32 ? run_weights<float>(ctx, p, a) : run_weights<double>(ctx, p, a);
}

static const eqi_node_linear_implementation plain = {{"node_linear/plain", eqi_supports_all, NULL},
                                                     scratch_size,
                                                     forward,
                                                     backward_data,
                                                     backward_weights};

const eqi_implementation *const eqi_cuda_node_linear_list[] = {&plain.head, NULL};
