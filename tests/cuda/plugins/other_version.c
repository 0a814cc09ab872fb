/* A plugin of another release with the same interface. */
#include "internal/backend.h"

EQUINV_API eqi_plugin_entry equinv_backend_cuda_1;

const eqi_plugin *equinv_backend_cuda_1(const eqi_services *services)
{
    (void)services;
    static const eqi_plugin plugin = {.abi = EQI_PLUGIN_ABI,
                                      .struct_size = sizeof plugin,
                                      .backend_size = sizeof(eqi_backend),
                                      .context_size = sizeof(equinv_context),
                                      .version = "0.0.77",
                                      .backend = (const eqi_backend *)1};
    return &plugin;
}
