#include "cuda/operations.cuh"

const eqi_implementation *const eqi_cuda_conv_list[] = {NULL};
