#include "internal/node_norm.h"

#include "internal/backend.h"

typedef struct node_norm_plan {
    equinv_plan head;
    eqi_node_norm_problem problem;
    const eqi_node_norm_implementation *impl;
} node_norm_plan;

static equinv_status describe(const equinv_node_norm_desc *d, eqi_node_norm_problem *p)
{
    EQI_TRY(eqi_check_desc(d->struct_size, sizeof *d, "equinv_node_norm_desc"));
    EQI_CHECK(d->kind == EQUINV_NODE_NORM_LAYER || d->kind == EQUINV_NODE_NORM_INSTANCE, ARG,
              "kind is %d, expected EQUINV_NODE_NORM_LAYER or _INSTANCE", (int)d->kind);
    EQI_CHECK(d->dtype == EQUINV_F32 || d->dtype == EQUINV_F64, DTYPE,
              "dtype is %s, expected f32 or f64", equinv_dtype_name(d->dtype));
    EQI_TRY(eqi_check_node_order(d->order, "order"));
    EQI_TRY(eqi_check_extent(d->batch, "batch", 0));
    EQI_TRY(eqi_check_extent(d->nodes, "nodes", 1));
    EQI_TRY(eqi_check_extent(d->channels, "channels", 1));
    EQI_CHECK(d->epsilon > 0, ARG, "epsilon is %g, expected more than 0", d->epsilon);
    EQI_CHECK(d->slope >= 0 && d->slope <= 1, ARG, "slope is %g, expected 0 to 1 (1: no ReLU)",
              d->slope);
    int64_t count;
    EQI_TRY(eqi_product_of(
        "src", 4, (int64_t[]){d->batch, d->channels, d->nodes, d->order == 2 ? d->nodes : 1},
        &count));
    *p = (eqi_node_norm_problem){d->kind,     d->dtype,   d->order, d->batch,     d->nodes,
                                 d->channels, d->epsilon, d->slope, d->accumulate};
    return EQUINV_OK;
}

equinv_status equinv_node_norm_plan_create(equinv_context *ctx, const equinv_node_norm_desc *desc,
                                           equinv_plan **plan)
{
    EQI_TRY(eqi_check_plan_create(ctx, desc, plan));
    eqi_node_norm_problem p;
    EQI_TRY(describe(desc, &p));
    const eqi_implementation *chosen;
    EQI_TRY(eqi_choose(ctx, ctx->backend->node_norm, &p, desc->impl, &chosen));
    const eqi_node_norm_implementation *const impl = (const eqi_node_norm_implementation *)chosen;
    int64_t scratch;
    EQI_TRY(impl->scratch_size(&p, &ctx->hardware, &scratch));
    EQI_TRY(eqi_arena_reserve(ctx, (size_t)scratch));

    equinv_plan *head;
    EQI_TRY(eqi_plan_allocate(ctx, EQI_OP_NODE_NORM, sizeof(node_norm_plan), &head));
    node_norm_plan *const new = (node_norm_plan *)head;
    new->problem = p;
    new->impl = impl;
    head->impl_name = chosen->name;
    head->scratch_size = (size_t)scratch;
    *plan = head;
    return EQUINV_OK;
}

enum { OUTPUT = true, INPUT = false, OPTIONAL = true, NEEDED = false };

static eqi_node_argument map_of(const eqi_node_norm_problem *p, const equinv_tensor *tensor,
                                const char *name, bool output, equinv_tensor *view)
{
    return eqi_node_values_argument(tensor, name, p->order, p->batch, p->channels, p->nodes, output,
                                    view);
}

static eqi_node_argument vector_of(const eqi_node_norm_problem *p, const equinv_tensor *vector,
                                   const char *name, bool output, bool may_be_null)
{
    return (eqi_node_argument){vector,        name,   EQI_NODE_PARAMETER, 1,
                               {p->channels}, output, may_be_null,        NULL};
}

equinv_status equinv_node_norm_forward(const equinv_plan *plan, const equinv_tensor *src,
                                       const equinv_tensor *mask, const equinv_tensor *gamma,
                                       const equinv_tensor *beta, const equinv_tensor *dst,
                                       void *scratch, size_t scratch_size)
{
    EQI_TRY(eqi_check_plan(plan, EQI_OP_NODE_NORM, "equinv_node_norm_forward"));
    const node_norm_plan *const norm = (const node_norm_plan *)plan;
    const eqi_node_norm_problem *const p = &norm->problem;
    eqi_node_norm_args a = {.mask = mask, .gamma = gamma, .beta = beta};
    const eqi_node_argument arguments[] = {
        map_of(p, src, "src", INPUT, &a.src),
        eqi_node_mask_argument(mask, p->batch, p->nodes),
        vector_of(p, gamma, "gamma", INPUT, NEEDED),
        vector_of(p, beta, "beta", INPUT, NEEDED),
        map_of(p, dst, "dst", OUTPUT, &a.dst),
    };
    EQI_TRY(eqi_check_node_arguments(plan->ctx, p->dtype, arguments, 5));
    EQI_TRY(eqi_scratch(plan->ctx, plan->scratch_size, scratch, scratch_size, &a.scratch));
    return norm->impl->forward(plan->ctx, p, &a);
}

equinv_status equinv_node_norm_backward(const equinv_plan *plan, const equinv_tensor *src,
                                        const equinv_tensor *mask, const equinv_tensor *gamma,
                                        const equinv_tensor *beta, const equinv_tensor *diff_dst,
                                        const equinv_tensor *diff_src,
                                        const equinv_tensor *diff_gamma,
                                        const equinv_tensor *diff_beta, void *scratch,
                                        size_t scratch_size)
{
    EQI_TRY(eqi_check_plan(plan, EQI_OP_NODE_NORM, "equinv_node_norm_backward"));
    const node_norm_plan *const norm = (const node_norm_plan *)plan;
    const eqi_node_norm_problem *const p = &norm->problem;
    eqi_node_norm_args a = {.mask = mask,
                            .gamma = gamma,
                            .beta = beta,
                            .diff_gamma = diff_gamma,
                            .diff_beta = diff_beta};
    const eqi_node_argument arguments[] = {
        map_of(p, src, "src", INPUT, &a.src),
        eqi_node_mask_argument(mask, p->batch, p->nodes),
        vector_of(p, gamma, "gamma", INPUT, NEEDED),
        vector_of(p, beta, "beta", INPUT, NEEDED),
        map_of(p, diff_dst, "diff_dst", INPUT, &a.dst),
        map_of(p, diff_src, "diff_src", OUTPUT, &a.diff_src),
        vector_of(p, diff_gamma, "diff_gamma", OUTPUT, OPTIONAL),
        vector_of(p, diff_beta, "diff_beta", OUTPUT, OPTIONAL),
    };
    EQI_TRY(eqi_check_node_arguments(plan->ctx, p->dtype, arguments, 8));
    EQI_TRY(eqi_scratch(plan->ctx, plan->scratch_size, scratch, scratch_size, &a.scratch));
    return norm->impl->backward(plan->ctx, p, &a);
}
