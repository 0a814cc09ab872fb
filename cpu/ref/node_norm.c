#include <math.h>

#include "ref.h"

/*
 * What one mean and variance are of: LAYER, the channels k of a place, set = (b, i, j); INSTANCE, the places
 * k = (i, j) of a channel, set = (b, c).
 */
static bool is_layer(const eqi_node_norm_problem *p)
{
    return p->kind == EQUINV_NODE_NORM_LAYER;
}

static int64_t places(const eqi_node_norm_problem *p)
{
    return p->order == 2 ? p->nodes * p->nodes : p->nodes;
}

static int64_t set_count(const eqi_node_norm_problem *p)
{
    return p->batch * (is_layer(p) ? places(p) : p->channels);
}

static int64_t set_size(const eqi_node_norm_problem *p)
{
    return is_layer(p) ? p->channels : places(p);
}

/* Element k of a set as [b, c, i, j]; whether it is there. */
static bool element(const eqi_node_norm_problem *p, const eqi_node_norm_args *a, int64_t set,
                    int64_t k, int64_t at[4])
{
    const int64_t place = is_layer(p) ? set % places(p) : k, columns = a->src.shape[3];
    at[0] = set / (is_layer(p) ? places(p) : p->channels);
    at[1] = is_layer(p) ? k : set % p->channels;
    at[2] = place / columns;
    at[3] = place % columns;
    return eqi_pair_is_there(&a->src, a->mask, at[0], at[2], at[3]);
}

static double load(const equinv_tensor *t, const int64_t at[4])
{
    return eqi_load(t, eqi_node_offset(t, at[0], at[1], at[2], at[3]));
}

static double parameter(const equinv_tensor *t, int64_t c)
{
    return eqi_load(t, c * t->strides[0]);
}

typedef struct moments {
    int64_t count;
    double mean, scale; /* 1 / sqrt(var + epsilon) */
} moments;

static moments moments_of(const eqi_node_norm_problem *p, const eqi_node_norm_args *a, int64_t set)
{
    moments m = {0, 0, 0};
    int64_t at[4];
    double sum = 0, squares = 0;
    for (int64_t k = 0; k < set_size(p); k++)
        if (element(p, a, set, k, at)) {
            sum += load(&a->src, at);
            m.count++;
        }
    m.mean = sum / (double)m.count;
    for (int64_t k = 0; k < set_size(p); k++)
        if (element(p, a, set, k, at)) {
            const double d = load(&a->src, at) - m.mean;
            squares += d * d;
        }
    m.scale = 1 / sqrt(squares / (double)m.count + p->epsilon);
    return m;
}

static double affine(const eqi_node_norm_args *a, int64_t c, double x)
{
    return parameter(a->gamma, c) * x + parameter(a->beta, c);
}

static double leaky(const eqi_node_norm_problem *p, double y)
{
    return y < 0 ? p->slope * y : y;
}

/* diff_dst at a place, where the normalised value is x, in front of the leaky ReLU */
static double behind(const eqi_node_norm_problem *p, const eqi_node_norm_args *a,
                     const int64_t at[4], double x)
{
    return load(&a->dst, at) * (affine(a, at[1], x) > 0 ? 1 : p->slope);
}

/* dst = leaky(gamma (src - mean) / sqrt(var + epsilon) + beta) */
equinv_status eqi_ref_node_norm_forward(const equinv_context *ctx, const eqi_node_norm_problem *p,
                                        const eqi_node_norm_args *a)
{
    (void)ctx;
    for (int64_t set = 0; set < set_count(p); set++) {
        const moments m = moments_of(p, a, set);
        for (int64_t k = 0; k < set_size(p); k++) {
            int64_t at[4];
            double y = 0;
            if (element(p, a, set, k, at))
                y = leaky(p, affine(a, at[1], (load(&a->src, at) - m.mean) * m.scale));
            eqi_store(&a->dst, eqi_node_offset(&a->dst, at[0], at[1], at[2], at[3]), y);
        }
    }
    return EQUINV_OK;
}

/* diff_gamma, diff_beta: one sum each a channel */
equinv_status eqi_ref_node_norm_scratch_size(const eqi_node_norm_problem *p,
                                             const eqi_hardware *hardware, int64_t *size)
{
    (void)hardware;
    return eqi_product_of("scratch", 3, (int64_t[]){2, p->channels, (int64_t)sizeof(double)}, size);
}

/*
 * With x' = (src - mean) / sqrt(var + epsilon), e the gradient in front of the leaky ReLU and d = gamma e:
 * diff_src = (d - mean d - x' mean(d x')) / sqrt(var + epsilon),
 * diff_gamma = sum of e x', diff_beta = sum of e
 */
equinv_status eqi_ref_node_norm_backward(const equinv_context *ctx, const eqi_node_norm_problem *p,
                                         const eqi_node_norm_args *a)
{
    (void)ctx;
    double *const diff_gamma = a->scratch, *const diff_beta = diff_gamma + p->channels;
    for (int64_t c = 0; c < p->channels; c++)
        diff_gamma[c] = diff_beta[c] = 0;
    for (int64_t set = 0; set < set_count(p); set++) {
        const moments m = moments_of(p, a, set);
        int64_t at[4];
        double sum = 0, product = 0;
        for (int64_t k = 0; k < set_size(p); k++)
            if (element(p, a, set, k, at)) {
                const double x = (load(&a->src, at) - m.mean) * m.scale;
                const double d = behind(p, a, at, x);
                sum += parameter(a->gamma, at[1]) * d;
                product += parameter(a->gamma, at[1]) * d * x;
                diff_gamma[at[1]] += d * x;
                diff_beta[at[1]] += d;
            }
        for (int64_t k = 0; k < set_size(p); k++) {
            double diff = 0;
            if (element(p, a, set, k, at)) {
                const double x = (load(&a->src, at) - m.mean) * m.scale;
                const double d = parameter(a->gamma, at[1]) * behind(p, a, at, x);
                diff = (d - sum / (double)m.count - x * product / (double)m.count) * m.scale;
            }
            eqi_store(&a->diff_src, eqi_node_offset(&a->diff_src, at[0], at[1], at[2], at[3]),
                      diff);
        }
    }
    for (int64_t c = 0; c < p->channels; c++) {
        if (a->diff_gamma)
            eqi_put(a->diff_gamma, c * a->diff_gamma->strides[0], diff_gamma[c], p->accumulate);
        if (a->diff_beta)
            eqi_put(a->diff_beta, c * a->diff_beta->strides[0], diff_beta[c], p->accumulate);
    }
    return EQUINV_OK;
}
