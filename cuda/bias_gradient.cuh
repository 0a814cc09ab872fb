/* The gradient of a bias, for convolution and the dense layer. */
#ifndef EQI_CUDA_BIAS_GRADIENT_CUH
#define EQI_CUDA_BIAS_GRADIENT_CUH

#include "cuda/device.cuh"

/* Bytes of scratch for `fields` sums of `count` elements each. */
size_t eqi_bias_gradient_scratch(int64_t fields, int64_t count);

/* diff_bias[o] = sum of diff_dst[n,o,..] over all axes but the second, or that added to it. */
equinv_status eqi_bias_gradient(const equinv_context *ctx, const equinv_tensor *diff_dst,
                                const equinv_tensor *diff_bias, bool accumulate, void *scratch);

#endif
