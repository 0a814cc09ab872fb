/* Sorting of rows under S. */
#ifndef EQI_CUDA_ROWS_CUH
#define EQI_CUDA_ROWS_CUH

#include "cuda/device.cuh"

extern "C" {
#include "internal/projection.h"
}

/* Rows that a warp sorts. */
#define EQI_CUDA_MOST_ROWS 64

extern const eqi_projection_implementation eqi_cuda_rows; /* "projection/rank" */

#endif
