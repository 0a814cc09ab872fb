/* Devices, errors, memory calls, launches, and the ways to make them fail. */
#include "tests/cuda_host/engine.h"
#include "tests/cuda_host/faults.h"

#include <map>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

namespace eqi_host
{
constexpr size_t usual_limit = size_t(2) << 30;

std::recursive_mutex engine_mutex;
static thread_local cudaError_t last_error;
static thread_local int device;
static cudaError_t lost;
static int64_t launches, allocations_left = -1;
static size_t memory_limit;
static cudaError_t injected;
static int injected_after;
static bool injected_sticky;

int stream_device(cudaStream_t stream);

/* Of dynamic shared memory, by function. */
static auto &raised_limits = immortal<std::map<const void *, size_t>>();

static int device_count()
{
    const char *const value = getenv("EQI_CUDA_HOST_DEVICES");
    return value ? atoi(value) : 1;
}

cudaError_t finish(cudaError_t error)
{
    if (error)
        last_error = error;
    return error;
}

cudaError_t device_error()
{
    return device_count() < 1 ? cudaErrorNoDevice : lost;
}

void lose_device(cudaError_t error)
{
    lost = error;
}

int current_device()
{
    return device;
}

size_t device_limit()
{
    return memory_limit ? memory_limit : usual_limit;
}

bool allocation_fails()
{
    if (allocations_left > 0)
        allocations_left--;
    else if (allocations_left == 0)
        return true;
    return false;
}

cudaError_t next_launch_error(bool *sticky)
{
    *sticky = injected_sticky;
    if (injected == cudaSuccess || injected_after-- > 0)
        return cudaSuccess;
    const cudaError_t error = injected;
    injected = cudaSuccess;
    return error;
}

size_t shared_limit(const void *function)
{
    const auto raised = raised_limits.find(function);
    return raised == raised_limits.end() ? shared_default
                                         : std::max(shared_default, raised->second);
}

/* ---- launches ---- */

static cudaError_t check_configuration(const Kernel &kernel)
{
    const dim3 g = kernel.grid, b = kernel.block;
    if (g.x > INT_MAX || g.y > 65535 || g.z > 65535)
        return cudaErrorInvalidConfiguration;
    if (b.x == 0 || b.y == 0 || b.z == 0 || b.x > 1024 || b.y > 1024 || b.z > 64 ||
        b.x * b.y * b.z > 1024)
        return cudaErrorInvalidConfiguration;
    return kernel.shared_bytes > shared_limit(kernel.function) ? cudaErrorInvalidValue
                                                               : cudaSuccess;
}

static cudaError_t launch_error(const Kernel &kernel, cudaStream_t stream)
{
    cudaError_t error = device_error();
    if (!error)
        error = check_configuration(kernel);
    if (!error && is_stream(stream) && stream_device(stream) != device)
        error = cudaErrorInvalidResourceHandle;
    if (error)
        return error;
    bool sticky = false;
    error = next_launch_error(&sticky);
    if (error && !sticky)
        return error;
    launches++;
    char what[512];
    snprintf(what, sizeof what, "kernel %s", kernel.name);
    return enqueue(stream, what, [kernel, error] {
        if (error)
            lose_device(error);
        else
            run_kernel(kernel);
    });
}

void submit(const Kernel &kernel, cudaStream_t stream)
{
    const Lock lock(engine_mutex);
    finish(launch_error(kernel, stream));
}

/* ---- memory ---- */

static cudaError_t allocate_call(const char *what, void **pointer, size_t size, bool host)
{
    const Lock lock(engine_mutex);
    cudaError_t error = device_error();
    if (!error && !pointer)
        error = cudaErrorInvalidValue;
    if (!error)
        error = refuse_in_capture(what);
    if (error)
        return finish(error);
    *pointer = nullptr;
    return finish(size == 0 ? cudaSuccess : allocate(pointer, size, device, host));
}

/* Waits for the device, as the real calls do. */
static cudaError_t release_call(const char *what, void *pointer, bool host)
{
    const Lock lock(engine_mutex);
    if (!pointer)
        return finish(device_error());
    const cudaError_t error = refuse_in_capture(what);
    if (error)
        return finish(error);
    drain_all();
    open_memory();
    const char *const outer = set_running(what, nullptr);
    check_canaries();
    const cudaError_t released = release(pointer, host);
    set_running(outer, nullptr);
    close_memory();
    return finish(released ? released : device_error());
}
} // namespace eqi_host

using eqi_host::finish;
using eqi_host::Lock;

cudaError_t cudaMalloc(void **pointer, size_t size)
{
    return eqi_host::allocate_call("cudaMalloc", pointer, size, false);
}

cudaError_t cudaFree(void *pointer)
{
    return eqi_host::release_call("cudaFree", pointer, false);
}

cudaError_t cudaMallocHost(void **pointer, size_t size)
{
    return eqi_host::allocate_call("cudaMallocHost", pointer, size, true);
}

cudaError_t cudaHostAlloc(void **pointer, size_t size, unsigned)
{
    return eqi_host::allocate_call("cudaHostAlloc", pointer, size, true);
}

cudaError_t cudaFreeHost(void *pointer)
{
    return eqi_host::release_call("cudaFreeHost", pointer, true);
}

cudaError_t cudaMemGetInfo(size_t *available, size_t *total)
{
    const Lock lock(eqi_host::engine_mutex);
    *total = eqi_host::device_limit();
    *available = *total > eqi_host::device_bytes() ? *total - eqi_host::device_bytes() : 0;
    return finish(eqi_host::device_error());
}

cudaError_t cudaPointerGetAttributes(struct cudaPointerAttributes *attributes, const void *pointer)
{
    const Lock lock(eqi_host::engine_mutex);
    const eqi_host::Allocation *const found = eqi_host::find_allocation(pointer);
    void *const address = const_cast<void *>(pointer);
    *attributes = {cudaMemoryTypeUnregistered, -2, nullptr, address};
    if (found && found->host)
        *attributes = {cudaMemoryTypeHost, found->device, address, address};
    else if (found)
        *attributes = {cudaMemoryTypeDevice, found->device, address, nullptr};
    return finish(eqi_host::device_error());
}

/* ---- devices ---- */

cudaError_t cudaGetDeviceCount(int *count)
{
    *count = eqi_host::device_count();
    return finish(*count < 1 ? cudaErrorNoDevice : cudaSuccess);
}

static cudaError_t check_device(int device)
{
    const Lock lock(eqi_host::engine_mutex);
    const cudaError_t error = eqi_host::device_error();
    if (error)
        return error;
    return device < 0 || device >= eqi_host::device_count() ? cudaErrorInvalidDevice : cudaSuccess;
}

cudaError_t cudaSetDevice(int device)
{
    const cudaError_t error = check_device(device);
    if (!error)
        eqi_host::device = device;
    return finish(error);
}

cudaError_t cudaGetDevice(int *device)
{
    *device = eqi_host::device;
    return finish(check_device(*device));
}

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *properties, int device)
{
    const cudaError_t error = check_device(device);
    if (error)
        return finish(error);
    *properties = {};
    snprintf(properties->name, sizeof properties->name, "CUDA on the host %d", device);
    properties->totalGlobalMem = eqi_host::device_limit();
    properties->sharedMemPerBlock = eqi_host::shared_default;
    properties->sharedMemPerBlockOptin = eqi_host::shared_optin;
    properties->major = 9;
    properties->multiProcessorCount = 4;
    properties->warpSize = 32;
    return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr attribute, int device)
{
    const cudaError_t error = check_device(device);
    if (error)
        return finish(error);
    switch (attribute) {
    case cudaDevAttrMaxThreadsPerBlock: *value = 1024; return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlock: *value = eqi_host::shared_default; return cudaSuccess;
    case cudaDevAttrWarpSize: *value = 32; return cudaSuccess;
    case cudaDevAttrMultiProcessorCount: *value = 4; return cudaSuccess;
    case cudaDevAttrComputeCapabilityMajor: *value = 9; return cudaSuccess;
    case cudaDevAttrComputeCapabilityMinor: *value = 0; return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor: *value = 228 * 1024; return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
        *value = eqi_host::shared_optin;
        return cudaSuccess;
    }
    return finish(cudaErrorInvalidValue);
}

cudaError_t cudaDriverGetVersion(int *version)
{
    *version = 13000;
    return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *version)
{
    *version = 13000;
    return cudaSuccess;
}

cudaError_t cudaFuncGetAttributes(struct cudaFuncAttributes *attributes, const void *function)
{
    const Lock lock(eqi_host::engine_mutex);
    *attributes = {0, 1024, static_cast<int>(eqi_host::shared_limit(function))};
    return finish(eqi_host::device_error());
}

cudaError_t cudaFuncSetAttribute(const void *function, enum cudaFuncAttribute attribute, int value)
{
    const Lock lock(eqi_host::engine_mutex);
    const cudaError_t error = eqi_host::device_error();
    if (error || attribute != cudaFuncAttributeMaxDynamicSharedMemorySize)
        return finish(error);
    if (value < 0 || static_cast<size_t>(value) > eqi_host::shared_optin)
        return finish(cudaErrorInvalidValue);
    eqi_host::raised_limits[function] = static_cast<size_t>(value);
    return cudaSuccess;
}

/* ---- errors ---- */

cudaError_t cudaPeekAtLastError(void)
{
    const Lock lock(eqi_host::engine_mutex);
    return eqi_host::lost ? eqi_host::lost : eqi_host::last_error;
}

cudaError_t cudaGetLastError(void)
{
    const cudaError_t error = cudaPeekAtLastError();
    eqi_host::last_error = cudaSuccess;
    return error;
}

static const struct {
    cudaError_t error;
    const char *name, *text;
} error_texts[] = {
    {cudaSuccess, "cudaSuccess", "no error"},
    {cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
    {cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
    {cudaErrorInitializationError, "cudaErrorInitializationError", "initialization error"},
    {cudaErrorInvalidConfiguration, "cudaErrorInvalidConfiguration",
     "invalid configuration argument"},
    {cudaErrorInsufficientDriver, "cudaErrorInsufficientDriver",
     "CUDA driver version is insufficient for CUDA runtime version"},
    {cudaErrorInvalidDeviceFunction, "cudaErrorInvalidDeviceFunction", "invalid device function"},
    {cudaErrorNoDevice, "cudaErrorNoDevice", "no CUDA-capable device is detected"},
    {cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal"},
    {cudaErrorNoKernelImageForDevice, "cudaErrorNoKernelImageForDevice",
     "no kernel image is available for execution on the device"},
    {cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
    {cudaErrorNotReady, "cudaErrorNotReady", "device not ready"},
    {cudaErrorIllegalAddress, "cudaErrorIllegalAddress",
     "an illegal memory access was encountered"},
    {cudaErrorLaunchOutOfResources, "cudaErrorLaunchOutOfResources",
     "too many resources requested for launch"},
    {cudaErrorLaunchFailure, "cudaErrorLaunchFailure", "unspecified launch failure"},
    {cudaErrorNotSupported, "cudaErrorNotSupported", "operation not supported"},
    {cudaErrorStreamCaptureUnsupported, "cudaErrorStreamCaptureUnsupported",
     "operation not permitted when stream is capturing"},
    {cudaErrorStreamCaptureInvalidated, "cudaErrorStreamCaptureInvalidated",
     "operation failed due to a previous error during capture"},
    {cudaErrorStreamCaptureUnmatched, "cudaErrorStreamCaptureUnmatched",
     "capture was not ended in the same stream as it began"},
    {cudaErrorStreamCaptureUnjoined, "cudaErrorStreamCaptureUnjoined",
     "capturing stream has unjoined work"},
    {cudaErrorStreamCaptureIsolation, "cudaErrorStreamCaptureIsolation",
     "dependency created on uncaptured work in another stream"},
    {cudaErrorCapturedEvent, "cudaErrorCapturedEvent",
     "operation not permitted on an event last recorded in a capturing stream"},
};

const char *cudaGetErrorName(cudaError_t error)
{
    for (const auto &entry : error_texts)
        if (entry.error == error)
            return entry.name;
    return "unrecognized error code";
}

const char *cudaGetErrorString(cudaError_t error)
{
    for (const auto &entry : error_texts)
        if (entry.error == error)
            return entry.text;
    return "unrecognized error code";
}

/* ---- faults.h ---- */

void eqi_host_fail_allocations_after(int64_t n)
{
    const Lock lock(eqi_host::engine_mutex);
    eqi_host::allocations_left = n;
}

void eqi_host_set_memory_limit(size_t bytes)
{
    const Lock lock(eqi_host::engine_mutex);
    eqi_host::memory_limit = bytes;
}

void eqi_host_inject_error(int cuda_error, int after_launches, bool sticky)
{
    const Lock lock(eqi_host::engine_mutex);
    eqi_host::injected = static_cast<cudaError_t>(cuda_error);
    eqi_host::injected_after = after_launches;
    eqi_host::injected_sticky = sticky;
    if (cuda_error == 0)
        eqi_host::lost = cudaSuccess;
}

int64_t eqi_host_launches(void)
{
    const Lock lock(eqi_host::engine_mutex);
    return eqi_host::launches;
}

size_t eqi_host_memory_in_use(void)
{
    const Lock lock(eqi_host::engine_mutex);
    return eqi_host::device_bytes();
}

void eqi_host_open_memory(bool open)
{
    const Lock lock(eqi_host::engine_mutex);
    if (open)
        eqi_host::open_memory();
    else
        eqi_host::close_memory();
}

int64_t eqi_host_objects(void)
{
    const Lock lock(eqi_host::engine_mutex);
    return eqi_host::live_streams();
}
