/* The right interface, but a context that is laid out differently. */
#include "internal/plugin.h"

EQUINV_API eqi_plugin_entry equinv_backend_cuda_1;

const eqi_plugin *equinv_backend_cuda_1(const eqi_services *services)
{
    (void)services;
    static const eqi_plugin plugin = {.abi = EQI_PLUGIN_ABI,
                                      .backend_size = sizeof(eqi_backend),
                                      .context_size = sizeof(equinv_context) + 16,
                                      .backend = (const eqi_backend *)1};
    return &plugin;
}
