/* The right interface number with a struct of another size. */
#include "internal/backend.h"

EQUINV_API eqi_plugin_entry equinv_backend_cuda_1;

const eqi_plugin *equinv_backend_cuda_1(const eqi_services *services)
{
    (void)services;
    static const eqi_plugin plugin = {.abi = EQI_PLUGIN_ABI,
                                      .struct_size = sizeof plugin - 8,
                                      .version = (const char *)1,
                                      .backend = (const eqi_backend *)1};
    return &plugin;
}
