#include "cuda/operations.cuh"

const eqi_implementation *const eqi_cuda_dense_list[] = {NULL};
