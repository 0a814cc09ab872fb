/* A plugin of a later interface: nothing but its first two members may be read. */
#include "internal/backend.h"

EQUINV_API eqi_plugin_entry equinv_backend_cuda_1;

const eqi_plugin *equinv_backend_cuda_1(const eqi_services *services)
{
    (void)services;
    static const eqi_plugin plugin = {.abi = EQI_PLUGIN_ABI + 1,
                                      .struct_size = sizeof plugin + 8,
                                      .version = (const char *)1,
                                      .backend = (const eqi_backend *)1};
    return &plugin;
}
