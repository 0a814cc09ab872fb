#include "internal/projection.h"

const eqi_implementation *const eqi_projection_list[] = {
    &eqi_gfourier_projection.base, &eqi_gemm_projection.base, &eqi_network_projection.base,
    &eqi_spectrum_projection.base, &eqi_ref_projection.base,  NULL,
};
