#include "cuda/device.cuh"

#include <cstdio>
#include <cstring>

#include "cuda/memory.cuh"
#include "cuda/operations.cuh"

equinv_status eqi_cuda_failed(cudaError_t error, const char *what)
{
    if (error == cudaErrorMemoryAllocation)
        return eqi_fail(EQUINV_ERR_NOMEM, "out of device memory: %s", what);
    return eqi_fail(EQUINV_ERR_BACKEND, "CUDA says %s (%s): %s", cudaGetErrorName(error),
                    cudaGetErrorString(error), what);
}

equinv_status eqi_launched(const char *kernel)
{
    const cudaError_t error = cudaGetLastError();
    return error == cudaSuccess ? EQUINV_OK : eqi_cuda_failed(error, kernel);
}

/* ---- opening and closing ---------------------------------------------------------------------- */

/* The reason in words for what people meet. */
static equinv_status unavailable(cudaError_t error)
{
    int driver = 0, runtime = 0;
    cudaDriverGetVersion(&driver);
    cudaRuntimeGetVersion(&runtime);
    cudaGetLastError();
    if (error == cudaErrorInsufficientDriver && driver == 0)
        return eqi_fail(EQUINV_ERR_NO_BACKEND, "no NVIDIA driver was found");
    if (error == cudaErrorInsufficientDriver)
        return eqi_fail(EQUINV_ERR_NO_BACKEND,
                        "the NVIDIA driver is for CUDA %d.%d, expected %d.%d or newer",
                        driver / 1000, driver % 1000 / 10, runtime / 1000, runtime % 1000 / 10);
    if (error == cudaErrorNoDevice)
        return eqi_fail(EQUINV_ERR_NO_BACKEND, "no GPU was found");
    return eqi_fail(EQUINV_ERR_NO_BACKEND, "CUDA says %s (%s)", cudaGetErrorName(error),
                    cudaGetErrorString(error));
}

/* Before the first kernel: is there code for this GPU? */
__global__ void eqi_probe()
{
}

static equinv_status check_architecture(const cudaDeviceProp *properties)
{
    cudaFuncAttributes attributes;
    const cudaError_t error =
        cudaFuncGetAttributes(&attributes, reinterpret_cast<const void *>(eqi_probe));
    if (error == cudaSuccess)
        return EQUINV_OK;
    cudaGetLastError();
    return eqi_fail(EQUINV_ERR_NO_BACKEND,
                    "this plugin has no code for %s (compute capability %d.%d): %s; build it with "
                    "CUDA_ARCHS=%d%d",
                    properties->name, properties->major, properties->minor,
                    cudaGetErrorString(error), properties->major, properties->minor);
}

static equinv_status open_blas(eqi_cuda_device *d)
{
    EQI_CUDA_TRY(cudaMalloc(&d->blas_workspace, EQI_CUBLAS_WORKSPACE));
    cublasStatus_t status = cublasCreate(&d->blas);
    if (status == CUBLAS_STATUS_SUCCESS)
        status = cublasSetMathMode(d->blas, CUBLAS_DEFAULT_MATH);
    if (status == CUBLAS_STATUS_SUCCESS)
        status = cublasSetPointerMode(d->blas, CUBLAS_POINTER_MODE_HOST);
    if (status == CUBLAS_STATUS_ALLOC_FAILED)
        return eqi_fail(EQUINV_ERR_NOMEM, "out of device memory: cuBLAS cannot start");
    EQI_CHECK(status == CUBLAS_STATUS_SUCCESS, NO_BACKEND, "cuBLAS cannot start: %s",
              cublasGetStatusString(status));
    return EQUINV_OK;
}

static equinv_status open_state(eqi_cuda_device *d, int index, char *text)
{
    cudaDeviceProp properties;
    EQI_CUDA_TRY(cudaSetDevice(index));
    EQI_CUDA_TRY(cudaGetDeviceProperties(&properties, index));
    EQI_TRY(check_architecture(&properties));
    EQI_CUDA_TRY(cudaStreamCreateWithFlags(&d->own, cudaStreamNonBlocking));
    d->lane[EQI_LANE_COMPUTE] = d->own;
    EQI_CUDA_TRY(cudaStreamCreateWithFlags(&d->lane[EQI_LANE_IN], cudaStreamNonBlocking));
    EQI_CUDA_TRY(cudaStreamCreateWithFlags(&d->lane[EQI_LANE_OUT], cudaStreamNonBlocking));
    for (int i = 0; i < EQI_EVENTS; i++)
        EQI_CUDA_TRY(cudaEventCreateWithFlags(&d->event[i], cudaEventDisableTiming));
    d->index = index;
    d->multiprocessors = properties.multiProcessorCount;
    d->shared_bytes = properties.sharedMemPerBlockOptin;
    d->device_bytes = properties.totalGlobalMem;
    EQI_CUDA_TRY(cudaMalloc((void **)&d->norm_room, sizeof *d->norm_room));
    int driver = 0;
    EQI_CUDA_TRY(cudaDriverGetVersion(&driver));
    snprintf(text, 256, "%.160s, compute capability %d.%d, %.0f GiB, driver for CUDA %d.%d",
             properties.name, properties.major, properties.minor,
             (double)properties.totalGlobalMem / (1 << 30), driver / 1000, driver % 1000 / 10);
    return open_blas(d);
}

static void close_device(equinv_context *ctx)
{
    eqi_cuda_device *const d = eqi_cuda(ctx);
    cudaSetDevice(d->index);
    if (d->own)
        cudaStreamSynchronize(d->own);
    if (d->blas)
        cublasDestroy(d->blas);
    if (d->blas_workspace)
        cudaFree(d->blas_workspace);
    if (d->norm_room)
        cudaFree(d->norm_room);
    for (int i = 0; i < EQI_EVENTS; i++)
        if (d->event[i])
            cudaEventDestroy(d->event[i]);
    const cudaStream_t streams[] = {d->own, d->lane[EQI_LANE_IN], d->lane[EQI_LANE_OUT]};
    for (const cudaStream_t stream : streams)
        if (stream)
            cudaStreamDestroy(stream);
    cudaGetLastError();
    pthread_mutex_destroy(&d->norm_mutex);
    pthread_mutex_destroy(&d->blas_mutex);
    eqi_free(ctx, d, sizeof *d);
    ctx->device_state = NULL;
}

static equinv_status open_device(equinv_context *ctx, char *text)
{
    int devices = 0;
    const cudaError_t error = cudaGetDeviceCount(&devices);
    if (error != cudaSuccess)
        return unavailable(error);
    EQI_CHECK(devices > 0, NO_BACKEND, "no GPU was found");
    EQI_CHECK(ctx->device.index < devices, NO_BACKEND,
              "device_index is %" PRId32 ", expected 0 to %d", ctx->device.index, devices - 1);
    eqi_cuda_device *const d = (eqi_cuda_device *)eqi_alloc(ctx, sizeof *d);
    EQI_CHECK(d, NOMEM, "out of memory: a device needs %zu bytes", sizeof *d);
    memset(d, 0, sizeof *d);
    pthread_mutex_init(&d->blas_mutex, NULL);
    pthread_mutex_init(&d->norm_mutex, NULL);
    ctx->device_state = d;
    const equinv_status status = open_state(d, ctx->device.index, text);
    if (status != EQUINV_OK)
        close_device(ctx);
    return status;
}

/* ---- order of work ---------------------------------------------------------------------------- */

static equinv_status record(const equinv_context *ctx, int event, eqi_lane lane)
{
    EQI_CUDA_TRY(cudaEventRecord(eqi_cuda(ctx)->event[event], eqi_cuda(ctx)->lane[lane]));
    return EQUINV_OK;
}

static equinv_status wait(const equinv_context *ctx, eqi_lane lane, int event)
{
    EQI_CUDA_TRY(cudaStreamWaitEvent(eqi_cuda(ctx)->lane[lane], eqi_cuda(ctx)->event[event], 0));
    return EQUINV_OK;
}

static equinv_status wait_here(const equinv_context *ctx, int event)
{
    EQI_CUDA_TRY(cudaEventSynchronize(eqi_cuda(ctx)->event[event]));
    return EQUINV_OK;
}

static equinv_status synchronize(const equinv_context *ctx)
{
    const eqi_cuda_device *const d = eqi_cuda(ctx);
    for (int lane = 0; lane < EQI_LANES; lane++) {
        const cudaError_t error = cudaStreamSynchronize(d->lane[lane]);
        if (error != cudaSuccess) {
            cudaGetLastError();
            return eqi_cuda_failed(error, "in work that was enqueued before");
        }
    }
    return EQUINV_OK;
}

static equinv_status set_stream(equinv_context *ctx, void *stream)
{
    eqi_cuda_device *const d = eqi_cuda(ctx);
    cudaStream_t const next = stream ? (cudaStream_t)stream : d->own;
    int index = -1;
    EQI_CUDA_TRY(cudaStreamGetDevice(next, &index));
    EQI_CHECK(index == d->index, DEVICE, "stream is of cuda:%d, expected one of cuda:%d", index,
              d->index);
    d->lane[EQI_LANE_COMPUTE] = next;
    return EQUINV_OK;
}

const eqi_device_functions eqi_cuda_device_functions = {
    .open = open_device,
    .close = close_device,
    .alloc = eqi_cuda_alloc,
    .free = eqi_cuda_free,
    .alloc_pinned = eqi_cuda_alloc_pinned,
    .free_pinned = eqi_cuda_free_pinned,
    .zero = eqi_cuda_zero,
    .copy = eqi_cuda_copy,
    .record = record,
    .wait = wait,
    .wait_here = wait_here,
    .synchronize = synchronize,
    .set_stream = set_stream,
    .check_memory = eqi_cuda_check_memory,
};
