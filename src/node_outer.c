#include "internal/backend.h"

enum { OUTPUT = true, INPUT = false, OPTIONAL = true, NEEDED = false };

/* Of a's batch, channels and nodes. */
static eqi_node_argument values(const equinv_tensor *a, const equinv_tensor *tensor,
                                const char *name, int32_t order, bool output, bool may_be_null,
                                equinv_tensor *view)
{
    eqi_node_argument v = eqi_node_values_argument(tensor, name, order, a->shape[0], a->shape[1],
                                                   a->shape[2], output, view);
    v.may_be_null = may_be_null;
    return v;
}

static equinv_status check_first(const equinv_context *ctx, const equinv_tensor *a)
{
    EQI_CHECK(ctx, ARG, "ctx is NULL, expected a context");
    EQI_TRY(eqi_check_tensor(ctx, a, "a", EQI_FLOAT));
    char has[128];
    EQI_CHECK(a->ndim == 3, SHAPE, "a has shape %s, expected [batch, channels, nodes]",
              eqi_shape_text(a->ndim, a->shape, has, sizeof has));
    return EQUINV_OK;
}

equinv_status equinv_node_outer_forward(equinv_context *ctx, const equinv_tensor *a,
                                        const equinv_tensor *b, const equinv_tensor *mask,
                                        const equinv_tensor *dst)
{
    EQI_TRY(check_first(ctx, a));
    eqi_node_outer_args args = {.squared = !b, .mask = mask};
    const eqi_node_argument arguments[] = {
        values(a, a, "a", 1, INPUT, NEEDED, &args.a),
        values(a, b, "b", 1, INPUT, OPTIONAL, &args.b),
        eqi_node_mask_argument(mask, a->shape[0], a->shape[2]),
        values(a, dst, "dst", 2, OUTPUT, NEEDED, &args.dst),
    };
    EQI_TRY(eqi_check_node_arguments(ctx, a->dtype, arguments, 4));
    if (!b)
        args.b = args.a;
    return ctx->backend->node_outer_forward(ctx, &args);
}

equinv_status equinv_node_outer_backward(equinv_context *ctx, const equinv_tensor *a,
                                         const equinv_tensor *b, const equinv_tensor *mask,
                                         const equinv_tensor *diff_dst, const equinv_tensor *diff_a,
                                         const equinv_tensor *diff_b)
{
    EQI_TRY(check_first(ctx, a));
    EQI_CHECK(b || !diff_b, ARG, "diff_b is given, expected NULL as b is");
    eqi_node_outer_args args = {.squared = !b, .mask = mask};
    const eqi_node_argument arguments[] = {
        values(a, a, "a", 1, INPUT, NEEDED, &args.a),
        values(a, b, "b", 1, INPUT, OPTIONAL, &args.b),
        eqi_node_mask_argument(mask, a->shape[0], a->shape[2]),
        values(a, diff_dst, "diff_dst", 2, INPUT, NEEDED, &args.dst),
        values(a, diff_a, "diff_a", 1, OUTPUT, NEEDED, &args.diff_a),
        values(a, diff_b, "diff_b", 1, OUTPUT, b ? NEEDED : OPTIONAL, &args.diff_b),
    };
    EQI_TRY(eqi_check_node_arguments(ctx, a->dtype, arguments, 6));
    if (!b)
        args.b = args.a;
    return ctx->backend->node_outer_backward(ctx, &args);
}
