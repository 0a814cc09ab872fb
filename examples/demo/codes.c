#include "demo.h"

#include <string.h>

const char *const code_titles[CODE_KINDS] = {
    "raw codes", "group average pooling", "linear, k = 64", "max, k = 64", "sorted, k = 64",
};

equinv_status coder_create(equinv_context *ctx, code_kind kind, const equinv_model *model,
                           const char *layer, int64_t k, uint64_t seed, coder *c)
{
    static const equinv_projection_kind kinds[CODE_KINDS] = {
        [LINEAR] = EQUINV_PROJECT_LINEAR,
        [MAX] = EQUINV_PROJECT_MAX,
        [SORTED] = EQUINV_PROJECT_SORTED,
    };
    equinv_projection_desc d = EQUINV_PROJECTION_DESC_INIT;
    *c = (coder){ctx, kind, NULL};
    if (!kinds[kind])
        return EQUINV_OK;
    d.kind = kinds[kind];
    d.k = k;
    d.seed = seed;
    return equinv_projection_create_for_layer(model, layer, &d, &c->projection);
}

void coder_destroy(coder *c)
{
    equinv_projection_destroy(c->projection);
    c->projection = NULL;
}

/* Mean over the group, pixels kept: what is often done, and not invariant. */
static equinv_status group_average(equinv_context *ctx, const equinv_tensor *latents,
                                   equinv_tensor *codes)
{
    equinv_plan *plan = NULL;
    equinv_pool_desc d = EQUINV_POOL_DESC_INIT;
    d.kind = EQUINV_POOL_GROUP_MEAN;
    d.group = equinv_cyclic((int32_t)latents->shape[2]);
    d.batch = latents->shape[0];
    d.fields = latents->shape[1];
    d.elements = latents->shape[2];
    d.height = latents->shape[3];
    d.width = latents->shape[4];
    int64_t shape[5];
    equinv_tensor dst = {0};
    equinv_status status = equinv_pool_output_shape(&d, shape);
    if (!status)
        status = equinv_tensor_create(ctx, EQUINV_F32, 5, shape, &dst);
    if (!status)
        status = equinv_pool_plan_create(ctx, &d, &plan);
    if (!status)
        status = equinv_pool_forward(plan, latents, &dst, NULL, 0, NULL, 0);
    equinv_plan_destroy(plan);
    if (status)
        equinv_tensor_destroy(ctx, &dst);
    else
        *codes = dst;
    return status;
}

equinv_status coder_encode(const coder *c, const equinv_tensor *latents, equinv_tensor *codes,
                           bool *owned)
{
    *owned = c->kind != RAW;
    if (c->kind == RAW) {
        *codes = *latents;
        return EQUINV_OK;
    }
    if (c->kind == GROUP_AVERAGE)
        return group_average(c->ctx, latents, codes);
    int32_t ndim;
    int64_t shape[3];
    equinv_tensor dst = {0};
    equinv_status status =
        equinv_projection_output_shape(c->projection, latents->shape[0], &ndim, shape);
    if (!status)
        status = equinv_tensor_create(c->ctx, EQUINV_F32, ndim, shape, &dst);
    if (!status)
        status = equinv_project_forward(c->projection, latents, NULL, &dst, NULL, 0, NULL, 0);
    if (status)
        equinv_tensor_destroy(c->ctx, &dst);
    else
        *codes = dst;
    return status;
}
