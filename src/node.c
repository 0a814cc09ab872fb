#include "internal/node.h"

equinv_status eqi_check_node_order(int32_t order, const char *name)
{
    EQI_CHECK(order == 1 || order == 2, ARG,
              "%s is %" PRId32 ", expected 1 (nodes) or 2 (pairs of nodes)", name, order);
    return EQUINV_OK;
}

equinv_status eqi_check_nodes(const equinv_context *ctx, const equinv_tensor *tensor,
                              const char *name, bool output, equinv_dtype dtype, int32_t order,
                              const int64_t shape[3], equinv_tensor *view)
{
    EQI_TRY((output ? eqi_check_output : eqi_check_tensor)(ctx, tensor, name, EQI_FLOAT));
    EQI_TRY(eqi_check_dtype(tensor, name, dtype));
    EQI_TRY(eqi_check_shape(tensor, name, 2 + order,
                            (int64_t[]){shape[0], shape[1], shape[2], shape[2]}));
    *view = *tensor;
    if (order == 1) {
        view->ndim = 4;
        view->shape[3] = 1;
        view->strides[3] = 0;
    }
    return EQUINV_OK;
}

equinv_status eqi_check_node_mask(const equinv_context *ctx, const equinv_tensor *mask,
                                  int64_t batch, int64_t nodes)
{
    if (!mask)
        return EQUINV_OK;
    EQI_TRY(eqi_check_tensor(ctx, mask, "mask", EQI_U8 | EQI_I32));
    return eqi_check_shape(mask, "mask", 2, (int64_t[]){batch, nodes});
}
