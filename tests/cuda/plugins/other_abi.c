/* A plugin of another interface: nothing but its first member may be read. */
#include "internal/plugin.h"

EQUINV_API eqi_plugin_entry equinv_backend_cuda_1;

const eqi_plugin *equinv_backend_cuda_1(const eqi_services *services)
{
    (void)services;
    static const eqi_plugin plugin = {.abi = EQI_PLUGIN_ABI ^ 1, .backend = (const eqi_backend *)1};
    return &plugin;
}
