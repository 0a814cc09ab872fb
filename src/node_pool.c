#include "internal/node_pool.h"

#include "internal/backend.h"

typedef struct node_pool_plan {
    equinv_plan head;
    eqi_node_pool_problem problem;
    const eqi_node_pool_implementation *impl;
} node_pool_plan;

static equinv_status describe(const equinv_node_pool_desc *d, eqi_node_pool_problem *p)
{
    EQI_TRY(eqi_check_desc(d->struct_size, sizeof *d, "equinv_node_pool_desc"));
    EQI_CHECK(d->kind >= EQUINV_NODE_POOL_MEAN && d->kind <= EQUINV_NODE_POOL_MAX, ARG,
              "kind is %d, expected one of EQUINV_NODE_POOL_", (int)d->kind);
    EQI_CHECK(d->dtype == EQUINV_F32 || d->dtype == EQUINV_F64, DTYPE,
              "dtype is %s, expected f32 or f64", equinv_dtype_name(d->dtype));
    EQI_TRY(eqi_check_node_order(d->order, "order"));
    EQI_TRY(eqi_check_extent(d->batch, "batch", 0));
    EQI_TRY(eqi_check_extent(d->nodes, "nodes", 1));
    EQI_TRY(eqi_check_extent(d->channels, "channels", 1));
    const int64_t columns = d->order == 2 ? d->nodes : 1;
    int64_t count;
    EQI_TRY(
        eqi_product_of("src", 4, (int64_t[]){d->batch, d->channels, d->nodes, columns}, &count));
    EQI_CHECK(d->kind != EQUINV_NODE_POOL_MAX || d->nodes <= INT32_MAX / columns, UNSUPPORTED,
              "a sample has %" PRId64 " x %" PRId64 " places, expected at most 2^31 - 1 for MAX",
              d->nodes, columns);
    *p = (eqi_node_pool_problem){d->kind,  d->dtype,    d->order,     d->batch,
                                 d->nodes, d->channels, d->accumulate};
    return EQUINV_OK;
}

equinv_status equinv_node_pool_plan_create(equinv_context *ctx, const equinv_node_pool_desc *desc,
                                           equinv_plan **plan)
{
    EQI_TRY(eqi_check_plan_create(ctx, desc, plan));
    eqi_node_pool_problem p;
    EQI_TRY(describe(desc, &p));
    int64_t saved = 0;
    if (p.kind == EQUINV_NODE_POOL_MAX)
        EQI_TRY(eqi_product_of("saved", 4,
                               (int64_t[]){p.batch, p.order, p.channels, (int64_t)sizeof(int32_t)},
                               &saved));
    const eqi_implementation *chosen;
    EQI_TRY(eqi_choose(ctx, ctx->backend->node_pool, &p, desc->impl, &chosen));

    equinv_plan *head;
    EQI_TRY(eqi_plan_allocate(ctx, EQI_OP_NODE_POOL, sizeof(node_pool_plan), &head));
    node_pool_plan *const new = (node_pool_plan *)head;
    new->problem = p;
    new->impl = (const eqi_node_pool_implementation *)chosen;
    head->impl_name = chosen->name;
    head->saved_size = (size_t)saved;
    *plan = head;
    return EQUINV_OK;
}

enum { OUTPUT = true, INPUT = false, OPTIONAL = true, NEEDED = false };

static eqi_node_argument map_of(const eqi_node_pool_problem *p, const equinv_tensor *tensor,
                                const char *name, bool output, equinv_tensor *view)
{
    return eqi_node_values_argument(tensor, name, p->order, p->batch, p->channels, p->nodes, output,
                                    view);
}

static eqi_node_argument pooled_of(const eqi_node_pool_problem *p, const equinv_tensor *tensor,
                                   const char *name, bool output)
{
    return (eqi_node_argument){
        tensor, name, EQI_NODE_PARAMETER, 3, {p->batch, p->order, p->channels}, output,
        NEEDED, NULL};
}

equinv_status equinv_node_pool_forward(const equinv_plan *plan, const equinv_tensor *src,
                                       const equinv_tensor *mask, const equinv_tensor *dst,
                                       void *saved, size_t saved_size, void *scratch,
                                       size_t scratch_size)
{
    EQI_TRY(eqi_check_plan(plan, EQI_OP_NODE_POOL, "equinv_node_pool_forward"));
    const node_pool_plan *const pool = (const node_pool_plan *)plan;
    const eqi_node_pool_problem *const p = &pool->problem;
    eqi_node_pool_args a = {.pooled = dst, .mask = mask};
    const eqi_node_argument arguments[] = {
        map_of(p, src, "src", INPUT, &a.map),
        eqi_node_mask_argument(mask, p->batch, p->nodes),
        pooled_of(p, dst, "dst", OUTPUT),
    };
    EQI_TRY(eqi_check_node_arguments(plan->ctx, p->dtype, arguments, 3));
    EQI_TRY(eqi_check_saved(plan->ctx, saved, saved_size, plan->saved_size, false));
    EQI_TRY(eqi_scratch(plan->ctx, plan->scratch_size, scratch, scratch_size, &scratch));
    a.saved = p->kind == EQUINV_NODE_POOL_MAX ? saved : NULL;
    return pool->impl->forward(plan->ctx, p, &a);
}

equinv_status equinv_node_pool_backward(const equinv_plan *plan, const equinv_tensor *diff_dst,
                                        const equinv_tensor *mask, const void *saved,
                                        size_t saved_size, const equinv_tensor *diff_src,
                                        void *scratch, size_t scratch_size)
{
    EQI_TRY(eqi_check_plan(plan, EQI_OP_NODE_POOL, "equinv_node_pool_backward"));
    const node_pool_plan *const pool = (const node_pool_plan *)plan;
    const eqi_node_pool_problem *const p = &pool->problem;
    eqi_node_pool_args a = {.pooled = diff_dst, .mask = mask, .saved = (int32_t *)saved};
    const eqi_node_argument arguments[] = {
        pooled_of(p, diff_dst, "diff_dst", INPUT),
        eqi_node_mask_argument(mask, p->batch, p->nodes),
        map_of(p, diff_src, "diff_src", OUTPUT, &a.map),
    };
    EQI_TRY(eqi_check_node_arguments(plan->ctx, p->dtype, arguments, 3));
    EQI_TRY(eqi_check_saved(plan->ctx, saved, saved_size, plan->saved_size, true));
    EQI_TRY(eqi_scratch(plan->ctx, plan->scratch_size, scratch, scratch_size, &scratch));
    return pool->impl->backward(plan->ctx, p, &a);
}
