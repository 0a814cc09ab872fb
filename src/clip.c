#include "internal/backend.h"

equinv_status equinv_clip_gradients(equinv_context *ctx, const equinv_parameter *parameters,
                                    size_t count, double max_norm, double *norm)
{
    EQI_CHECK(ctx, ARG, "ctx is NULL, expected a context");
    EQI_CHECK(parameters || count == 0, ARG, "parameters is NULL, expected %zu of them", count);
    EQI_CHECK(max_norm > 0, ARG, "max_norm is %g, expected a positive number", max_norm);
    for (size_t i = 0; i < count; i++) {
        char name[96];
        eqi_format(name, sizeof name, "parameters[%zu] (%.63s) gradient", i,
                   parameters[i].name ? parameters[i].name : "no name");
        EQI_TRY(eqi_check_output(ctx, &parameters[i].gradient, name, EQI_FLOAT));
    }
    return ctx->backend->clip_gradients(ctx, parameters, count, max_norm, norm);
}
