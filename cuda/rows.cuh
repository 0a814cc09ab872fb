/* Sorting of rows under S. */
#ifndef EQI_CUDA_ROWS_CUH
#define EQI_CUDA_ROWS_CUH

#include "cuda/device.cuh"

extern "C" {
#include "internal/projection.h"
}

/* Rows that a warp sorts. */
#define EQI_CUDA_MOST_ROWS 64

/* Whether the plugin has the kind's reduction of an orbit. */
static inline bool eqi_cuda_reduces(const equinv_projection *p, const char **why)
{
    return eqi_require(p->desc.kind <= EQUINV_PROJECT_PROJECT_SORT && !p->desc.ranks, why,
                       "MIN, MOMENT3, CDF and chosen ranks are on the CPU only") &&
           eqi_require(p->desc.group.kind != EQUINV_GROUP_TABLE, why,
                       "groups given by a table are on the CPU only");
}

extern const eqi_projection_implementation eqi_cuda_rows; /* "projection/rank" */

#endif
