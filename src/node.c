#include "internal/node.h"

equinv_status eqi_check_node_order(int32_t order, const char *name)
{
    EQI_CHECK(order == 1 || order == 2, ARG,
              "%s is %" PRId32 ", expected 1 (nodes) or 2 (pairs of nodes)", name, order);
    return EQUINV_OK;
}

eqi_node_argument eqi_node_values_argument(const equinv_tensor *tensor, const char *name,
                                           int32_t order, int64_t batch, int64_t channels,
                                           int64_t nodes, bool output, equinv_tensor *view)
{
    return (eqi_node_argument){.tensor = tensor,
                               .name = name,
                               .kind = EQI_NODE_VALUES,
                               .ndim = 2 + order,
                               .shape = {batch, channels, nodes, nodes},
                               .output = output,
                               .view = view};
}

eqi_node_argument eqi_node_mask_argument(const equinv_tensor *mask, int64_t batch, int64_t nodes)
{
    return (eqi_node_argument){.tensor = mask,
                               .name = "mask",
                               .kind = EQI_NODE_MASK,
                               .ndim = 2,
                               .shape = {batch, nodes},
                               .may_be_null = true};
}

static equinv_status check_one(const equinv_context *ctx, equinv_dtype dtype,
                               const eqi_node_argument *a)
{
    if (!a->tensor && (a->may_be_null || a->kind == EQI_NODE_MASK))
        return EQUINV_OK;
    EQI_TRY((a->output ? eqi_check_output : eqi_check_tensor)(
        ctx, a->tensor, a->name, a->kind == EQI_NODE_MASK ? EQI_U8 | EQI_I32 : EQI_FLOAT));
    if (a->kind != EQI_NODE_MASK)
        EQI_TRY(eqi_check_dtype(a->tensor, a->name, dtype));
    EQI_TRY(eqi_check_shape(a->tensor, a->name, a->ndim, a->shape));
    if (a->kind != EQI_NODE_VALUES)
        return EQUINV_OK;
    *a->view = *a->tensor;
    if (a->ndim == 3) {
        a->view->ndim = 4;
        a->view->shape[3] = 1;
        a->view->strides[3] = 0;
    }
    return EQUINV_OK;
}

equinv_status eqi_check_node_arguments(const equinv_context *ctx, equinv_dtype dtype,
                                       const eqi_node_argument *arguments, int count)
{
    for (int i = 0; i < count; i++)
        EQI_TRY(check_one(ctx, dtype, &arguments[i]));
    for (int i = 0; i < count; i++)
        for (int k = 0; k < count; k++) {
            const eqi_node_argument *const a = &arguments[i], *const b = &arguments[k];
            if (a->output && a->tensor && b->tensor && k != i && (k < i || !b->output))
                EQI_TRY(eqi_check_disjoint(a->tensor, a->name, b->tensor, b->name));
        }
    return EQUINV_OK;
}
