/* The entry symbol is there and gives nothing. */
#include "internal/plugin.h"

EQUINV_API eqi_plugin_entry equinv_backend_cuda_1;

const eqi_plugin *equinv_backend_cuda_1(const eqi_services *services)
{
    (void)services;
    return NULL;
}
