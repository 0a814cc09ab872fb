/* Batch normalisation as its implementations see it. */
#ifndef EQI_BATCH_NORM_H
#define EQI_BATCH_NORM_H

#include "plan.h"

typedef struct eqi_batch_norm_problem {
    equinv_dtype dtype;
    int64_t shape[5]; /* [N, F, G, H, W] */
    int64_t count;    /* values of a field: N G H W */
    double epsilon, momentum;
    bool accumulate;
} eqi_batch_norm_problem;

/* Arguments of a call: five-axis maps and vectors [F]. Those that it has no use for are NULL. */
typedef struct eqi_batch_norm_args {
    const equinv_tensor *src, *gamma, *beta, *diff_dst;
    const equinv_tensor *running_mean, *running_var; /* train: both or none, updated; eval: read */
    const equinv_tensor *dst, *diff_src, *diff_gamma, *diff_beta;
    double *saved; /* [2, F]: mean and 1 / sqrt(var + epsilon) of the batch */
    void *scratch;
} eqi_batch_norm_args;

typedef equinv_status eqi_batch_norm_execute(const equinv_context *ctx,
                                             const eqi_batch_norm_problem *p,
                                             const eqi_batch_norm_args *a);

typedef struct eqi_batch_norm_implementation {
    eqi_implementation head;
    int64_t numbers; /* doubles of scratch for each sample and field, and for each field */
    int64_t field_numbers;
    eqi_batch_norm_execute *forward_train, *forward_eval, *backward_train, *backward_eval;
} eqi_batch_norm_implementation;

extern const eqi_implementation *const eqi_batch_norm_list[];

EQI_INLINE double eqi_at(const equinv_tensor *vector, int64_t f)
{
    return eqi_load(vector, f * vector->strides[0]);
}

/*
 * Evaluation of a field in fp32, dst = (src - mean) scale + shift, as the implementations compute it: a
 * running mean that is a float has nothing that fp32 rounds off.
 */
typedef struct eqi_normaliser {
    float mean, scale, shift;
} eqi_normaliser;

/* Of all fields, from f32 vectors in memory of the CPU. */
void eqi_normalisers_of(double epsilon, const equinv_tensor *gamma, const equinv_tensor *beta,
                        const equinv_tensor *mean, const equinv_tensor *var,
                        eqi_normaliser *normalisers);

/* The statistics of one training batch enter the running ones: the variance unbiased. */
EQI_INLINE void eqi_batch_norm_run(const eqi_batch_norm_problem *p, const eqi_batch_norm_args *a,
                                   int64_t f, double mean, double squares)
{
    if (!a->running_mean)
        return;
    const double var = squares / (double)(p->count > 1 ? p->count - 1 : 1);
    const double kept = 1 - p->momentum;
    eqi_store(a->running_mean, f * a->running_mean->strides[0],
              kept * eqi_at(a->running_mean, f) + p->momentum * mean);
    eqi_store(a->running_var, f * a->running_var->strides[0],
              kept * eqi_at(a->running_var, f) + p->momentum * var);
}

/* diff_gamma and diff_beta of one field, where they are wanted. */
EQI_INLINE void eqi_batch_norm_put(const eqi_batch_norm_problem *p, const eqi_batch_norm_args *a,
                                   int64_t f, double diff_gamma, double diff_beta)
{
    if (a->diff_gamma)
        eqi_put(a->diff_gamma, f * a->diff_gamma->strides[0], diff_gamma, p->accumulate);
    if (a->diff_beta)
        eqi_put(a->diff_beta, f * a->diff_beta->strides[0], diff_beta, p->accumulate);
}

#endif
