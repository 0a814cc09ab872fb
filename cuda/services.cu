/* What the core's headers expect to call, passed on to the library that loaded the plugin. */
#include "cuda/services.cuh"

static const eqi_services *services;

void eqi_set_services(const eqi_services *given)
{
    services = given;
}

equinv_status eqi_fail(equinv_status status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    services->fail(status, format, arguments);
    va_end(arguments);
    return status;
}

void eqi_log(const equinv_context *ctx, equinv_log_level level, const char *format, ...)
{
    if (level > ctx->log_level)
        return;
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    services->log(ctx, level, text);
}

void *eqi_alloc(const equinv_context *ctx, size_t size)
{
    return services->alloc(ctx, size);
}

void eqi_free(const equinv_context *ctx, void *ptr, size_t size)
{
    services->free(ctx, ptr, size);
}

bool eqi_supports_all(const void *problem, const eqi_hardware *hardware, const char **why)
{
    (void)problem;
    (void)hardware;
    (void)why;
    return true;
}
