/* Device and pinned memory; what the members of eqi_device_functions say. */
#ifndef EQI_CUDA_MEMORY_CUH
#define EQI_CUDA_MEMORY_CUH

#include "cuda/device.cuh"

void *eqi_cuda_alloc(const equinv_context *ctx, size_t size);
void eqi_cuda_free(const equinv_context *ctx, void *ptr);
void *eqi_cuda_alloc_pinned(const equinv_context *ctx, size_t size);
void eqi_cuda_free_pinned(const equinv_context *ctx, void *ptr);
equinv_status eqi_cuda_zero(const equinv_context *ctx, void *ptr, size_t size);
equinv_status eqi_cuda_copy(const equinv_context *ctx, eqi_lane lane, void *dst, const void *src,
                            size_t size);
equinv_status eqi_cuda_check_memory(const equinv_context *ctx, const void *ptr, const char *name);

#endif
