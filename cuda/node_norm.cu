/*
 * Normalisation of nodes and pairs:
 *     dst = leaky(gamma (src - mean) / sqrt(var + epsilon) + beta)
 * a thread a set of values with one mean and variance: LAYER, the channels of a place; INSTANCE, the places of
 * a channel of a sample. diff_gamma and diff_beta are summed channel by channel, in parts of the batch that are
 * added in a fixed order, from the moments that the first kernel leaves in scratch. Sums are double.
 */
#include "cuda/node.cuh"
#include "cuda/operations.cuh"

extern "C" {
#include "internal/node_norm.h"
}

static constexpr int64_t PARTS = 64;

namespace
{
template <typename T> struct call {
    eqi_node_mask mask;
    int64_t batch, nodes, columns, channels;
    bool layer, accumulate;
    double epsilon, slope;
    eqi_node_view<T> src, dst, diff_src; /* dst is diff_dst in backward */
    const T *gamma, *beta;
    int64_t gamma_step, beta_step;
    double *moments; /* [sets][2]: mean, 1 / sqrt(var + epsilon) */

    __device__ __forceinline__ int64_t places() const
    {
        return nodes * columns;
    }

    __device__ __forceinline__ int64_t sets() const
    {
        return batch * (layer ? places() : channels);
    }

    __device__ __forceinline__ int64_t size() const
    {
        return layer ? channels : places();
    }
};

struct element {
    int64_t b, c, i, j;
    bool there;
};
} // namespace

/* Number k of a set. */
template <typename T>
static __device__ __forceinline__ element element_of(const call<T> &a, int64_t set, int64_t k)
{
    element e;
    e.b = set;
    const int64_t second = eqi_digit(&e.b, a.layer ? a.places() : a.channels);
    int64_t place = a.layer ? second : k;
    e.c = a.layer ? k : second;
    e.j = eqi_digit(&place, a.columns);
    e.i = place;
    e.there = eqi_has_place(a.mask, a.src, e.b, e.i, e.j);
    return e;
}

template <typename T> static __device__ double value(const eqi_node_view<T> &view, const element &e)
{
    return double(*view.at(e.b, e.c, e.i, e.j));
}

template <typename T> static __device__ double affine(const call<T> &a, int64_t c, double x)
{
    return double(a.gamma[c * a.gamma_step]) * x + double(a.beta[c * a.beta_step]);
}

/* The gradient in front of the leaky ReLU, where the normalised value is x. */
template <typename T> static __device__ double before(const call<T> &a, const element &e, double x)
{
    return value(a.dst, e) * (affine(a, e.c, x) > 0 ? 1 : a.slope);
}

template <typename T>
static __device__ void moments_of(const call<T> &a, int64_t set, int64_t *count, double *mean,
                                  double *scale)
{
    double sum = 0, squares = 0;
    int64_t there = 0;
    for (int64_t k = 0; k < a.size(); k++) {
        const element e = element_of(a, set, k);
        if (e.there) {
            sum += value(a.src, e);
            there++;
        }
    }
    *count = there;
    *mean = there > 0 ? sum / double(there) : 0;
    for (int64_t k = 0; k < a.size(); k++) {
        const element e = element_of(a, set, k);
        if (e.there) {
            const double d = value(a.src, e) - *mean;
            squares += d * d;
        }
    }
    *scale = there > 0 ? 1 / sqrt(squares / double(there) + a.epsilon) : 0;
}

template <typename T> __global__ void eqi_node_norm_forward(call<T> a)
{
    EQI_FOR_EACH(set, a.sets())
    {
        int64_t count;
        double mean, scale;
        moments_of(a, set, &count, &mean, &scale);
        for (int64_t k = 0; k < a.size(); k++) {
            const element e = element_of(a, set, k);
            double y = 0;
            if (e.there) {
                y = affine(a, e.c, (value(a.src, e) - mean) * scale);
                y = y < 0 ? a.slope * y : y;
            }
            a.dst.put(e.b, e.c, e.i, e.j, T(y), false);
        }
    }
}

template <typename T> __global__ void eqi_node_norm_backward(call<T> a)
{
    EQI_FOR_EACH(set, a.sets())
    {
        int64_t count;
        double mean, scale, sum = 0, product = 0;
        moments_of(a, set, &count, &mean, &scale);
        a.moments[2 * set] = mean;
        a.moments[2 * set + 1] = scale;
        for (int64_t k = 0; k < a.size(); k++) {
            const element e = element_of(a, set, k);
            if (e.there) {
                const double x = (value(a.src, e) - mean) * scale;
                const double d = double(a.gamma[e.c * a.gamma_step]) * before(a, e, x);
                sum += d;
                product += d * x;
            }
        }
        for (int64_t k = 0; k < a.size(); k++) {
            const element e = element_of(a, set, k);
            double diff = 0;
            if (e.there) {
                const double x = (value(a.src, e) - mean) * scale;
                const double d = double(a.gamma[e.c * a.gamma_step]) * before(a, e, x);
                diff = (d - sum / double(count) - x * product / double(count)) * scale;
            }
            a.diff_src.put(e.b, e.c, e.i, e.j, T(diff), false);
        }
    }
}

/* A thread a (part, channel): [parts][2][channels]. */
template <typename T>
__global__ void eqi_node_norm_parameters(call<T> a, int64_t parts, double *sums)
{
    EQI_FOR_EACH(index, parts * a.channels)
    {
        int64_t part = index;
        const int64_t c = eqi_digit(&part, a.channels);
        double gamma = 0, beta = 0;
        for (int64_t b = part; b < a.batch; b += parts)
            for (int64_t place = 0; place < a.places(); place++) {
                const int64_t i = place / a.columns;
                const element e = {b, c, i, place - i * a.columns, true};
                if (!eqi_has_place(a.mask, a.src, b, e.i, e.j))
                    continue;
                const double *const m =
                    a.moments + 2 * (a.layer ? b * a.places() + place : b * a.channels + c);
                const double x = (value(a.src, e) - m[0]) * m[1], d = before(a, e, x);
                gamma += d * x;
                beta += d;
            }
        sums[(2 * part) * a.channels + c] = gamma;
        sums[(2 * part + 1) * a.channels + c] = beta;
    }
}

/* which: 0 gamma, 1 beta */
template <typename T>
__global__ void eqi_node_norm_join(int64_t channels, int64_t parts, int which, const double *sums,
                                   bool accumulate, int64_t step, T *to)
{
    EQI_FOR_EACH(c, channels)
    {
        double sum = 0;
        for (int64_t part = 0; part < parts; part++)
            sum += sums[(2 * part + which) * channels + c];
        to[c * step] = accumulate ? T(to[c * step] + sum) : T(sum);
    }
}

/* ---- calls ------------------------------------------------------------------------------------- */

static int64_t set_count(const eqi_node_norm_problem *p)
{
    const int64_t places = p->nodes * (p->order == 2 ? p->nodes : 1);
    return p->batch * (p->kind == EQUINV_NODE_NORM_LAYER ? places : p->channels);
}

static int64_t part_count(const eqi_node_norm_problem *p)
{
    return p->batch < PARTS ? p->batch : PARTS;
}

static equinv_status scratch_size(const eqi_node_norm_problem *p, const eqi_hardware *,
                                  int64_t *size)
{
    const double most = 16.0 * (double(set_count(p)) + double(PARTS) * double(p->channels));
    EQI_CHECK(most < 0x1p62, SHAPE, "scratch has more than 2^63 bytes, expected a size that fits");
    *size = 2 * (set_count(p) + part_count(p) * p->channels) * int64_t(sizeof(double));
    return EQUINV_OK;
}

template <typename T>
static call<T> call_of(const eqi_node_norm_problem *p, const eqi_node_norm_args *a)
{
    const bool pairs = p->order == 2;
    call<T> c = {};
    c.mask = eqi_node_mask_of(a->mask);
    c.batch = p->batch;
    c.nodes = p->nodes;
    c.columns = pairs ? p->nodes : 1;
    c.channels = p->channels;
    c.layer = p->kind == EQUINV_NODE_NORM_LAYER;
    c.accumulate = p->accumulate;
    c.epsilon = p->epsilon;
    c.slope = p->slope;
    c.src = eqi_node_view_of<T>(&a->src, pairs, false);
    c.dst = eqi_node_view_of<T>(&a->dst, pairs, false);
    c.gamma = static_cast<const T *>(a->gamma->data);
    c.gamma_step = a->gamma->strides[0];
    c.beta = static_cast<const T *>(a->beta->data);
    c.beta_step = a->beta->strides[0];
    c.moments = static_cast<double *>(a->scratch);
    return c;
}

template <typename T>
static equinv_status run_forward(const equinv_context *ctx, const eqi_node_norm_problem *p,
                                 const eqi_node_norm_args *a)
{
    EQI_LAUNCH(eqi_node_norm_forward<T>, eqi_blocks(set_count(p), EQI_NODE_BLOCK), EQI_NODE_BLOCK,
               0, eqi_stream(ctx), call_of<T>(p, a));
    return EQUINV_OK;
}

template <typename T>
static equinv_status run_backward(const equinv_context *ctx, const eqi_node_norm_problem *p,
                                  const eqi_node_norm_args *a)
{
    call<T> c = call_of<T>(p, a);
    c.diff_src = eqi_node_view_of<T>(&a->diff_src, p->order == 2, false);
    EQI_LAUNCH(eqi_node_norm_backward<T>, eqi_blocks(set_count(p), EQI_NODE_BLOCK), EQI_NODE_BLOCK,
               0, eqi_stream(ctx), c);
    if (!a->diff_gamma && !a->diff_beta)
        return EQUINV_OK;
    const int64_t parts = part_count(p);
    double *const sums = c.moments + 2 * set_count(p);
    EQI_LAUNCH(eqi_node_norm_parameters<T>, eqi_blocks(parts * p->channels, EQI_NODE_BLOCK),
               EQI_NODE_BLOCK, 0, eqi_stream(ctx), c, parts, sums);
    const equinv_tensor *const to[2] = {a->diff_gamma, a->diff_beta};
    for (int which = 0; which < 2; which++)
        if (to[which])
            EQI_LAUNCH(eqi_node_norm_join<T>, eqi_blocks(p->channels, EQI_NODE_BLOCK),
                       EQI_NODE_BLOCK, 0, eqi_stream(ctx), p->channels, parts, which, sums,
                       p->accumulate, to[which]->strides[0], static_cast<T *>(to[which]->data));
    return EQUINV_OK;
}

static equinv_status forward(const equinv_context *ctx, const eqi_node_norm_problem *p,
                             const eqi_node_norm_args *a)
{
    return p->dtype == EQUINV_F32 ? run_forward<float>(ctx, p, a) : run_forward<double>(ctx, p, a);
}

static equinv_status backward(const equinv_context *ctx, const eqi_node_norm_problem *p,
                              const eqi_node_norm_args *a)
{
    return p->dtype == EQUINV_F32 ? run_backward<float>(ctx, p, a)
                                  : run_backward<double>(ctx, p, a);
}

static const eqi_node_norm_implementation plain = {
    {"node_norm/plain", eqi_supports_all, NULL}, scratch_size, forward, backward};

const eqi_implementation *const eqi_cuda_node_norm_list[] = {&plain.head, NULL};
