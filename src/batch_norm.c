#include "internal/batch_norm.h"

#include <math.h>

#include "internal/backend.h"

typedef struct batch_norm_plan {
    equinv_plan head;
    eqi_batch_norm_problem problem;
    const eqi_batch_norm_implementation *impl;
} batch_norm_plan;

static equinv_status describe(const equinv_batch_norm_desc *d, eqi_batch_norm_problem *p)
{
    EQI_TRY(eqi_check_desc(d->struct_size, sizeof *d, "equinv_batch_norm_desc"));
    EQI_CHECK(d->dtype == EQUINV_F32 || d->dtype == EQUINV_F64, DTYPE,
              "dtype is %s, expected f32 or f64", equinv_dtype_name(d->dtype));
    EQI_TRY(eqi_check_extent(d->batch, "batch", 0));
    EQI_TRY(eqi_check_extent(d->fields, "fields", 1));
    EQI_TRY(eqi_check_extent(d->elements, "elements", 1));
    EQI_TRY(eqi_check_extent(d->height, "height", 1));
    EQI_TRY(eqi_check_extent(d->width, "width", 1));
    EQI_CHECK(d->epsilon > 0 && d->epsilon < (double)INFINITY, ARG,
              "epsilon is %g, expected a positive number", d->epsilon);
    EQI_CHECK(d->momentum >= 0 && d->momentum <= 1, ARG, "momentum is %g, expected 0 to 1",
              d->momentum);
    *p = (eqi_batch_norm_problem){
        .dtype = d->dtype,
        .shape = {d->batch, d->fields, d->elements, d->height, d->width},
        .epsilon = d->epsilon,
        .momentum = d->momentum,
        .accumulate = d->accumulate,
    };
    int64_t all;
    EQI_TRY(eqi_product_of("src", 5, p->shape, &all));
    p->count = all / d->fields;
    return EQUINV_OK;
}

equinv_status equinv_batch_norm_plan_create(equinv_context *ctx, const equinv_batch_norm_desc *desc,
                                            equinv_plan **plan)
{
    EQI_TRY(eqi_check_plan_create(ctx, desc, plan));
    eqi_batch_norm_problem p;
    EQI_TRY(describe(desc, &p));
    const eqi_implementation *chosen;
    EQI_TRY(eqi_choose(ctx, ctx->backend->batch_norm, &p, desc->impl, &chosen));
    const eqi_batch_norm_implementation *const impl = (const eqi_batch_norm_implementation *)chosen;
    int64_t scratch;
    EQI_TRY(eqi_product_of("scratch", 4,
                           (int64_t[]){desc->batch, desc->fields, impl->numbers, sizeof(double)},
                           &scratch));
    const int64_t per_fields = desc->fields * impl->field_numbers * (int64_t)sizeof(double);
    EQI_CHECK(!__builtin_add_overflow(scratch, per_fields, &scratch), SHAPE,
              "scratch has more than 2^63 bytes, expected a size that fits");
    EQI_TRY(eqi_arena_reserve(ctx, (size_t)scratch));

    equinv_plan *head;
    EQI_TRY(eqi_plan_allocate(ctx, EQI_OP_BATCH_NORM, sizeof(batch_norm_plan), &head));
    batch_norm_plan *const new = (batch_norm_plan *)head;
    new->problem = p;
    new->impl = impl;
    head->impl_name = chosen->name;
    head->scratch_size = (size_t)scratch;
    head->saved_size = 2 * (size_t)desc->fields * sizeof(double);
    *plan = head;
    return EQUINV_OK;
}

void eqi_normalisers_of(double epsilon, const equinv_tensor *gamma, const equinv_tensor *beta,
                        const equinv_tensor *mean, const equinv_tensor *var,
                        eqi_normaliser *normalisers)
{
    for (int64_t f = 0; f < gamma->shape[0]; f++)
        normalisers[f] = (eqi_normaliser){
            .mean = (float)eqi_at(mean, f),
            .scale = (float)(eqi_at(gamma, f) * (1 / sqrt(eqi_at(var, f) + epsilon))),
            .shift = (float)eqi_at(beta, f),
        };
}

/* An argument with its name: what the checks below go through. */
typedef struct argument {
    const equinv_tensor *tensor;
    const char *name;
    bool output, may_be_null;
    equinv_tensor *map; /* where a feature map's five-axis view goes; NULL: a vector [F] */
} argument;

static equinv_status check_one(const batch_norm_plan *plan, const argument *a)
{
    if (!a->tensor && a->may_be_null)
        return EQUINV_OK;
    EQI_TRY(eqi_check_argument(plan->head.ctx, a->tensor, a->name, a->output, plan->problem.dtype));
    return a->map ? eqi_check_map(a->tensor, a->name, plan->problem.shape, a->map)
                  : eqi_check_shape(a->tensor, a->name, 1, plan->problem.shape + 1);
}

/* Each by itself, then every output against everything before it. */
static equinv_status check_all(const batch_norm_plan *plan, const argument *arguments, int count)
{
    for (int i = 0; i < count; i++)
        EQI_TRY(check_one(plan, &arguments[i]));
    for (int i = 0; i < count; i++)
        for (int k = 0; k < i; k++) {
            const argument *const a = &arguments[i], *const b = &arguments[k];
            if (a->tensor && b->tensor && (a->output || b->output))
                EQI_TRY(eqi_check_disjoint(a->tensor, a->name, b->tensor, b->name));
        }
    return EQUINV_OK;
}

enum { OUTPUT = true, INPUT = false, OPTIONAL = true, NEEDED = false };

equinv_status equinv_batch_norm_forward_train(const equinv_plan *plan, const equinv_tensor *src,
                                              const equinv_tensor *gamma, const equinv_tensor *beta,
                                              const equinv_tensor *running_mean,
                                              const equinv_tensor *running_var,
                                              const equinv_tensor *dst, void *saved,
                                              size_t saved_size, void *scratch, size_t scratch_size)
{
    EQI_TRY(eqi_check_plan(plan, EQI_OP_BATCH_NORM, "equinv_batch_norm_forward_train"));
    const batch_norm_plan *const norm = (const batch_norm_plan *)plan;
    equinv_tensor from, to;
    const argument arguments[] = {
        {src, "src", INPUT, NEEDED, &from},
        {gamma, "gamma", INPUT, NEEDED, NULL},
        {beta, "beta", INPUT, NEEDED, NULL},
        {running_mean, "running_mean", OUTPUT, OPTIONAL, NULL},
        {running_var, "running_var", OUTPUT, OPTIONAL, NULL},
        {dst, "dst", OUTPUT, NEEDED, &to},
    };
    EQI_CHECK(!running_mean == !running_var, ARG,
              "%s is NULL, expected both or neither of "
              "running_mean and running_var",
              running_mean ? "running_var" : "running_mean");
    EQI_TRY(check_all(norm, arguments, sizeof arguments / sizeof *arguments));
    EQI_TRY(eqi_check_saved(plan->ctx, saved, saved_size, plan->saved_size, false));
    EQI_TRY(eqi_scratch(plan->ctx, plan->scratch_size, scratch, scratch_size, &scratch));
    const eqi_batch_norm_args a = {.src = &from,
                                   .gamma = gamma,
                                   .beta = beta,
                                   .running_mean = running_mean,
                                   .running_var = running_var,
                                   .dst = &to,
                                   .saved = saved,
                                   .scratch = scratch};
    return norm->impl->forward_train(plan->ctx, &norm->problem, &a);
}

equinv_status equinv_batch_norm_forward_eval(const equinv_plan *plan, const equinv_tensor *src,
                                             const equinv_tensor *gamma, const equinv_tensor *beta,
                                             const equinv_tensor *running_mean,
                                             const equinv_tensor *running_var,
                                             const equinv_tensor *dst, void *scratch,
                                             size_t scratch_size)
{
    EQI_TRY(eqi_check_plan(plan, EQI_OP_BATCH_NORM, "equinv_batch_norm_forward_eval"));
    const batch_norm_plan *const norm = (const batch_norm_plan *)plan;
    equinv_tensor from, to;
    const argument arguments[] = {
        {src, "src", INPUT, NEEDED, &from},
        {gamma, "gamma", INPUT, NEEDED, NULL},
        {beta, "beta", INPUT, NEEDED, NULL},
        {running_mean, "running_mean", INPUT, NEEDED, NULL},
        {running_var, "running_var", INPUT, NEEDED, NULL},
    };
    const argument result = {dst, "dst", OUTPUT, NEEDED, &to};
    enum { COUNT = sizeof arguments / sizeof *arguments };
    EQI_TRY(check_all(norm, arguments, COUNT));
    EQI_TRY(check_one(norm, &result));
    EQI_TRY(eqi_check_disjoint_or_same(&to, "dst", &from, "src"));
    for (int i = 1; i < COUNT; i++)
        EQI_TRY(eqi_check_disjoint(dst, "dst", arguments[i].tensor, arguments[i].name));
    EQI_TRY(eqi_scratch(plan->ctx, plan->scratch_size, scratch, scratch_size, &scratch));
    const eqi_batch_norm_args a = {.src = &from,
                                   .gamma = gamma,
                                   .beta = beta,
                                   .running_mean = running_mean,
                                   .running_var = running_var,
                                   .dst = &to,
                                   .scratch = scratch};
    return norm->impl->forward_eval(plan->ctx, &norm->problem, &a);
}

equinv_status equinv_batch_norm_backward_train(const equinv_plan *plan, const equinv_tensor *src,
                                               const equinv_tensor *gamma,
                                               const equinv_tensor *diff_dst, const void *saved,
                                               size_t saved_size, const equinv_tensor *diff_src,
                                               const equinv_tensor *diff_gamma,
                                               const equinv_tensor *diff_beta, void *scratch,
                                               size_t scratch_size)
{
    EQI_TRY(eqi_check_plan(plan, EQI_OP_BATCH_NORM, "equinv_batch_norm_backward_train"));
    const batch_norm_plan *const norm = (const batch_norm_plan *)plan;
    equinv_tensor from, diff_from, to;
    const argument arguments[] = {
        {src, "src", INPUT, NEEDED, &from},
        {gamma, "gamma", INPUT, NEEDED, NULL},
        {diff_dst, "diff_dst", INPUT, NEEDED, &diff_from},
        {diff_src, "diff_src", OUTPUT, NEEDED, &to},
        {diff_gamma, "diff_gamma", OUTPUT, OPTIONAL, NULL},
        {diff_beta, "diff_beta", OUTPUT, OPTIONAL, NULL},
    };
    EQI_TRY(check_all(norm, arguments, sizeof arguments / sizeof *arguments));
    EQI_TRY(eqi_check_saved(plan->ctx, saved, saved_size, plan->saved_size, true));
    EQI_TRY(eqi_scratch(plan->ctx, plan->scratch_size, scratch, scratch_size, &scratch));
    const eqi_batch_norm_args a = {.src = &from,
                                   .gamma = gamma,
                                   .diff_dst = &diff_from,
                                   .diff_src = &to,
                                   .diff_gamma = diff_gamma,
                                   .diff_beta = diff_beta,
                                   .saved = (double *)saved, /* only read */
                                   .scratch = scratch};
    return norm->impl->backward_train(plan->ctx, &norm->problem, &a);
}

equinv_status
equinv_batch_norm_backward_eval(const equinv_plan *plan, const equinv_tensor *src,
                                const equinv_tensor *gamma, const equinv_tensor *running_mean,
                                const equinv_tensor *running_var, const equinv_tensor *diff_dst,
                                const equinv_tensor *diff_src, const equinv_tensor *diff_gamma,
                                const equinv_tensor *diff_beta, void *scratch, size_t scratch_size)
{
    EQI_TRY(eqi_check_plan(plan, EQI_OP_BATCH_NORM, "equinv_batch_norm_backward_eval"));
    const batch_norm_plan *const norm = (const batch_norm_plan *)plan;
    equinv_tensor from, diff_from, to;
    const argument arguments[] = {
        {src, "src", INPUT, NEEDED, &from},
        {gamma, "gamma", INPUT, NEEDED, NULL},
        {running_mean, "running_mean", INPUT, NEEDED, NULL},
        {running_var, "running_var", INPUT, NEEDED, NULL},
        {diff_dst, "diff_dst", INPUT, NEEDED, &diff_from},
        {diff_src, "diff_src", OUTPUT, NEEDED, &to},
        {diff_gamma, "diff_gamma", OUTPUT, OPTIONAL, NULL},
        {diff_beta, "diff_beta", OUTPUT, OPTIONAL, NULL},
    };
    EQI_TRY(check_all(norm, arguments, sizeof arguments / sizeof *arguments));
    EQI_TRY(eqi_scratch(plan->ctx, plan->scratch_size, scratch, scratch_size, &scratch));
    const eqi_batch_norm_args a = {.src = &from,
                                   .gamma = gamma,
                                   .running_mean = running_mean,
                                   .running_var = running_var,
                                   .diff_dst = &diff_from,
                                   .diff_src = &to,
                                   .diff_gamma = diff_gamma,
                                   .diff_beta = diff_beta,
                                   .scratch = scratch};
    return norm->impl->backward_eval(plan->ctx, &norm->problem, &a);
}
