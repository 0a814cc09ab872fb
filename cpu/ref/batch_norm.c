#include "ref.h"

#include <math.h>

typedef struct job {
    const eqi_batch_norm_problem *p;
    const eqi_batch_norm_args *a;
} job;

#define FOR_FIELD(p, n, g, y, x)                                                                   \
    for (int64_t n = 0; n < (p)->shape[0]; n++)                                                    \
        for (int64_t g = 0; g < (p)->shape[2]; g++)                                                \
            for (int64_t y = 0; y < (p)->shape[3]; y++)                                            \
                for (int64_t x = 0; x < (p)->shape[4]; x++)

static double load(const equinv_tensor *t, int64_t n, int64_t f, int64_t g, int64_t y, int64_t x)
{
    return eqi_load(t, eqi_offset5(t, n, f, g, y, x));
}

/* dst[n,f,x] = gamma[f] (src[n,f,x] - mean[f]) inv[f] + beta[f] */
static void normalise(const job *j, int64_t f, double mean, double inv)
{
    const eqi_batch_norm_args *const a = j->a;
    const double gamma = eqi_at(a->gamma, f), beta = eqi_at(a->beta, f);
    FOR_FIELD(j->p, n, g, y, x)
    {
        eqi_store(a->dst, eqi_offset5(a->dst, n, f, g, y, x),
                  gamma * (load(a->src, n, f, g, y, x) - mean) * inv + beta);
    }
}

static void forward_train(void *arg, int64_t f)
{
    const job *const j = arg;
    const eqi_batch_norm_problem *const p = j->p;
    double sum = 0, squares = 0;
    FOR_FIELD(p, n, g, y, x)
    {
        sum += load(j->a->src, n, f, g, y, x);
    }
    const double mean = p->count ? sum / (double)p->count : 0;
    FOR_FIELD(p, n, g, y, x)
    {
        const double d = load(j->a->src, n, f, g, y, x) - mean;
        squares += d * d;
    }
    const double inv = p->count ? 1 / sqrt(squares / (double)p->count + p->epsilon) : 0;
    if (p->count)
        eqi_batch_norm_run(p, j->a, f, mean, squares);
    if (j->a->saved) {
        j->a->saved[f] = mean;
        j->a->saved[p->shape[1] + f] = inv;
    }
    normalise(j, f, mean, inv);
}

static void forward_eval(void *arg, int64_t f)
{
    const job *const j = arg;
    normalise(j, f, eqi_at(j->a->running_mean, f),
              1 / sqrt(eqi_at(j->a->running_var, f) + j->p->epsilon));
}

/* diff_beta = sum of diff_dst and diff_gamma = sum of diff_dst (src - mean) inv over the field */
static void parameter_gradients(const job *j, int64_t f, double mean, double inv,
                                double *diff_gamma, double *diff_beta)
{
    double sum = 0, product = 0;
    FOR_FIELD(j->p, n, g, y, x)
    {
        const double d = load(j->a->diff_dst, n, f, g, y, x);
        sum += d;
        product += d * (load(j->a->src, n, f, g, y, x) - mean) * inv;
    }
    eqi_batch_norm_put(j->p, j->a, f, product, sum);
    *diff_gamma = product;
    *diff_beta = sum;
}

/* diff_src = gamma inv (diff_dst - mean of diff_dst - xhat mean of (diff_dst xhat)) */
static void backward_train(void *arg, int64_t f)
{
    const job *const j = arg;
    const eqi_batch_norm_args *const a = j->a;
    const double mean = a->saved[f], inv = a->saved[j->p->shape[1] + f];
    const double gamma = eqi_at(a->gamma, f), count = (double)j->p->count;
    double product, sum;
    parameter_gradients(j, f, mean, inv, &product, &sum);
    FOR_FIELD(j->p, n, g, y, x)
    {
        const double xhat = (load(a->src, n, f, g, y, x) - mean) * inv;
        const double d = load(a->diff_dst, n, f, g, y, x);
        eqi_store(a->diff_src, eqi_offset5(a->diff_src, n, f, g, y, x),
                  gamma * inv * (d - sum / count - xhat * product / count));
    }
}

/* diff_src = gamma inv diff_dst */
static void backward_eval(void *arg, int64_t f)
{
    const job *const j = arg;
    const eqi_batch_norm_args *const a = j->a;
    const double mean = eqi_at(a->running_mean, f);
    const double inv = 1 / sqrt(eqi_at(a->running_var, f) + j->p->epsilon);
    const double gamma = eqi_at(a->gamma, f);
    double product, sum;
    parameter_gradients(j, f, mean, inv, &product, &sum);
    FOR_FIELD(j->p, n, g, y, x)
    {
        eqi_store(a->diff_src, eqi_offset5(a->diff_src, n, f, g, y, x),
                  gamma * inv * load(a->diff_dst, n, f, g, y, x));
    }
}

equinv_status eqi_ref_batch_norm_forward_train(const equinv_context *ctx,
                                               const eqi_batch_norm_problem *p,
                                               const eqi_batch_norm_args *a)
{
    eqi_parallel_over(ctx, p->shape[1] * p->count, p->shape[1], forward_train, &(job){p, a});
    return EQUINV_OK;
}

equinv_status eqi_ref_batch_norm_forward_eval(const equinv_context *ctx,
                                              const eqi_batch_norm_problem *p,
                                              const eqi_batch_norm_args *a)
{
    eqi_parallel_over(ctx, p->shape[1] * p->count, p->shape[1], forward_eval, &(job){p, a});
    return EQUINV_OK;
}

equinv_status eqi_ref_batch_norm_backward_train(const equinv_context *ctx,
                                                const eqi_batch_norm_problem *p,
                                                const eqi_batch_norm_args *a)
{
    eqi_parallel_over(ctx, p->shape[1] * p->count, p->shape[1], backward_train, &(job){p, a});
    return EQUINV_OK;
}

equinv_status eqi_ref_batch_norm_backward_eval(const equinv_context *ctx,
                                               const eqi_batch_norm_problem *p,
                                               const eqi_batch_norm_args *a)
{
    eqi_parallel_over(ctx, p->shape[1] * p->count, p->shape[1], backward_eval, &(job){p, a});
    return EQUINV_OK;
}
