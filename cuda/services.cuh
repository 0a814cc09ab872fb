#ifndef EQI_CUDA_SERVICES_CUH
#define EQI_CUDA_SERVICES_CUH

#include <cstdarg>
#include <cstdio>

#include "cuda/device.cuh"

extern "C" {
#include "internal/plugin.h"
}

/* Must come before anything else of the plugin is called. */
void eqi_set_services(const eqi_services *services);

#endif
