#include "cuda/memory.cuh"

/* Other libraries in the process may have made another device the thread's. */
static void *on_device(const equinv_context *ctx, cudaError_t (*allocate)(void **, size_t),
                       size_t size)
{
    void *ptr = NULL;
    if (cudaSetDevice(eqi_cuda(ctx)->index) != cudaSuccess || allocate(&ptr, size) != cudaSuccess) {
        cudaGetLastError(); /* it is told by NULL; the next call must not find it */
        return NULL;
    }
    return ptr;
}

static cudaError_t allocate_device(void **ptr, size_t size)
{
    return cudaMalloc(ptr, size);
}

static cudaError_t allocate_pinned(void **ptr, size_t size)
{
    return cudaMallocHost(ptr, size);
}

void *eqi_cuda_alloc(const equinv_context *ctx, size_t size)
{
    return on_device(ctx, allocate_device, size);
}

void eqi_cuda_free(const equinv_context *ctx, void *ptr)
{
    (void)ctx;
    cudaFree(ptr);
    cudaGetLastError();
}

void *eqi_cuda_alloc_pinned(const equinv_context *ctx, size_t size)
{
    return on_device(ctx, allocate_pinned, size);
}

void eqi_cuda_free_pinned(const equinv_context *ctx, void *ptr)
{
    (void)ctx;
    cudaFreeHost(ptr);
    cudaGetLastError();
}

equinv_status eqi_cuda_zero(const equinv_context *ctx, void *ptr, size_t size)
{
    EQI_CUDA_TRY(cudaMemsetAsync(ptr, 0, size, eqi_stream(ctx)));
    return EQUINV_OK;
}

equinv_status eqi_cuda_copy(const equinv_context *ctx, eqi_lane lane, void *dst, const void *src,
                            size_t size)
{
    EQI_CUDA_TRY(cudaMemcpyAsync(dst, src, size, cudaMemcpyDefault, eqi_cuda(ctx)->lane[lane]));
    return EQUINV_OK;
}

equinv_status eqi_cuda_check_memory(const equinv_context *ctx, const void *ptr, const char *name)
{
    cudaPointerAttributes attributes;
    const int index = eqi_cuda(ctx)->index;
    const cudaError_t error = cudaPointerGetAttributes(&attributes, ptr);
    if (error != cudaSuccess) {
        cudaGetLastError();
        return eqi_fail(
            EQUINV_ERR_BACKEND,
            "CUDA says %s (%s) when asked where %s is: work that was enqueued before failed",
            cudaGetErrorName(error), cudaGetErrorString(error), name);
    }
    const bool managed = attributes.type == cudaMemoryTypeManaged;
    EQI_CHECK(managed || attributes.type == cudaMemoryTypeDevice, DEVICE,
              "%s has data at %p in CPU memory, expected memory of cuda:%d", name, ptr, index);
    EQI_CHECK(managed || attributes.device == index, DEVICE,
              "%s has data on cuda:%d, expected cuda:%d", name, attributes.device, index);
    return EQUINV_OK;
}
