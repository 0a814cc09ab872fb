/* The right interface and version, but a context that is laid out differently. */
#include "internal/backend.h"

EQUINV_API eqi_plugin_entry equinv_backend_cuda_1;

const eqi_plugin *equinv_backend_cuda_1(const eqi_services *services)
{
    (void)services;
    static eqi_plugin plugin = {.abi = EQI_PLUGIN_ABI,
                                .struct_size = sizeof plugin,
                                .backend_size = sizeof(eqi_backend),
                                .context_size = sizeof(equinv_context) + 16,
                                .backend = (const eqi_backend *)1};
#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)
    plugin.version =
        TEXT(EQUINV_VERSION_MAJOR) "." TEXT(EQUINV_VERSION_MINOR) "." TEXT(EQUINV_VERSION_PATCH);
    return &plugin;
}
