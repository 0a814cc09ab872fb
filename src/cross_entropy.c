#include "internal/backend.h"

/* loss [1] and, where wanted, diff, of x's dtype; apart from one another and from the labels. */
static equinv_status check_outputs(const equinv_context *ctx, const equinv_tensor *logits,
                                   const equinv_tensor *labels, const equinv_tensor *loss,
                                   const equinv_tensor *diff_logits)
{
    EQI_TRY(eqi_check_output(ctx, loss, "loss", EQI_FLOAT));
    EQI_TRY(eqi_check_dtype(loss, "loss", logits->dtype));
    EQI_TRY(eqi_check_shape(loss, "loss", 1, (int64_t[]){1}));
    EQI_TRY(eqi_check_disjoint(loss, "loss", logits, "logits"));
    EQI_TRY(eqi_check_disjoint(loss, "loss", labels, "labels"));
    if (!diff_logits)
        return EQUINV_OK;
    EQI_TRY(eqi_check_output(ctx, diff_logits, "diff_logits", EQI_FLOAT));
    EQI_TRY(eqi_check_dtype(diff_logits, "diff_logits", logits->dtype));
    EQI_TRY(eqi_check_same_shape(diff_logits, "diff_logits", logits, "logits"));
    EQI_TRY(eqi_check_disjoint_or_same(diff_logits, "diff_logits", logits, "logits"));
    EQI_TRY(eqi_check_disjoint(diff_logits, "diff_logits", labels, "labels"));
    EQI_TRY(eqi_check_disjoint(diff_logits, "diff_logits", loss, "loss"));
    return EQUINV_OK;
}

/* A mask of the labels' shape that no output overlaps; NULL is fine. */
static equinv_status check_mask(const equinv_context *ctx, const equinv_tensor *mask,
                                const equinv_tensor *labels, const equinv_tensor *loss,
                                const equinv_tensor *diff_logits)
{
    if (!mask)
        return EQUINV_OK;
    EQI_TRY(eqi_check_tensor(ctx, mask, "mask", EQI_I32 | EQI_U8));
    EQI_TRY(eqi_check_same_shape(mask, "mask", labels, "labels"));
    EQI_TRY(eqi_check_disjoint(loss, "loss", mask, "mask"));
    if (diff_logits)
        EQI_TRY(eqi_check_disjoint(diff_logits, "diff_logits", mask, "mask"));
    return EQUINV_OK;
}

equinv_status equinv_cross_entropy(equinv_context *ctx, const equinv_tensor *logits,
                                   const equinv_tensor *labels, const equinv_tensor *loss,
                                   const equinv_tensor *diff_logits)
{
    EQI_CHECK(ctx, ARG, "ctx is NULL, expected a context");
    EQI_TRY(eqi_check_tensor(ctx, logits, "logits", EQI_FLOAT));
    char has[128];
    EQI_CHECK(logits->ndim == 2 && logits->shape[1] >= 1, SHAPE,
              "logits has shape %s, expected [N, C] with at least one class",
              eqi_shape_text(logits->ndim, logits->shape, has, sizeof has));
    EQI_TRY(eqi_check_tensor(ctx, labels, "labels", EQI_I32 | EQI_U8));
    EQI_TRY(eqi_check_shape(labels, "labels", 1, logits->shape));
    EQI_TRY(check_outputs(ctx, logits, labels, loss, diff_logits));
    return ctx->backend->cross_entropy(ctx, logits, labels, NULL, loss, diff_logits);
}

equinv_status equinv_cross_entropy_masked(equinv_context *ctx, const equinv_tensor *logits,
                                          const equinv_tensor *labels, const equinv_tensor *mask,
                                          const equinv_tensor *loss,
                                          const equinv_tensor *diff_logits)
{
    EQI_CHECK(ctx, ARG, "ctx is NULL, expected a context");
    EQI_TRY(eqi_check_tensor(ctx, logits, "logits", EQI_FLOAT));
    char has[128];
    EQI_CHECK(logits->ndim >= 2 && logits->shape[logits->ndim - 1] >= 1, SHAPE,
              "logits has shape %s, expected [.., C] with at least one class",
              eqi_shape_text(logits->ndim, logits->shape, has, sizeof has));
    EQI_TRY(eqi_check_tensor(ctx, labels, "labels", EQI_I32 | EQI_U8));
    EQI_TRY(eqi_check_shape(labels, "labels", logits->ndim - 1, logits->shape));
    EQI_TRY(check_outputs(ctx, logits, labels, loss, diff_logits));
    EQI_TRY(check_mask(ctx, mask, labels, loss, diff_logits));
    return ctx->backend->cross_entropy(ctx, logits, labels, mask, loss, diff_logits);
}

equinv_status equinv_binary_cross_entropy(equinv_context *ctx, const equinv_tensor *logits,
                                          const equinv_tensor *labels, const equinv_tensor *mask,
                                          const equinv_tensor *loss,
                                          const equinv_tensor *diff_logits)
{
    EQI_CHECK(ctx, ARG, "ctx is NULL, expected a context");
    EQI_TRY(eqi_check_tensor(ctx, logits, "logits", EQI_FLOAT));
    EQI_TRY(eqi_check_tensor(ctx, labels, "labels", EQI_I32 | EQI_U8));
    EQI_TRY(eqi_check_same_shape(labels, "labels", logits, "logits"));
    EQI_TRY(check_outputs(ctx, logits, labels, loss, diff_logits));
    EQI_TRY(check_mask(ctx, mask, labels, loss, diff_logits));
    return ctx->backend->binary_cross_entropy(ctx, logits, labels, mask, loss, diff_logits);
}
