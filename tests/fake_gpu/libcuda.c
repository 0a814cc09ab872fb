/*
 * One device whose primary context must be current. Device memory is the host plugin's: it opens it while a
 * stream's work is done, as it does for its own kernels.
 */
#include <dlfcn.h>
#include <stdbool.h>
#include <string.h>

#include "tests/fake_gpu/fake.h"

struct CUctx_st {
    int current;
};
static struct CUctx_st primary;
static int initialised;

EXPORT CUresult CUDAAPI cuInit(unsigned flags)
{
    initialised = flags == 0;
    return initialised ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

EXPORT CUresult CUDAAPI cuDeviceGet(CUdevice *device, int ordinal)
{
    *device = 7;
    return !initialised   ? CUDA_ERROR_NOT_INITIALIZED
           : ordinal == 0 ? CUDA_SUCCESS
                          : CUDA_ERROR_INVALID_DEVICE;
}

EXPORT CUresult CUDAAPI cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device)
{
    *context = &primary;
    return device == 7 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}

EXPORT CUresult CUDAAPI cuCtxSetCurrent(CUcontext context)
{
    if (context != &primary)
        return CUDA_ERROR_INVALID_CONTEXT;
    primary.current = 1;
    return CUDA_SUCCESS;
}

EXPORT CUresult CUDAAPI cuStreamCreate(CUstream *stream, unsigned flags)
{
    if (!primary.current)
        return CUDA_ERROR_INVALID_CONTEXT;
    if (flags != CU_STREAM_NON_BLOCKING || !(*stream = calloc(1, sizeof **stream)))
        return CUDA_ERROR_INVALID_VALUE;
    return CUDA_SUCCESS;
}

/* EQUINV_BACKEND_PATH is the file in the tests. */
static void open_memory(bool open)
{
    void (*function)(bool);
    const char *const path = getenv("EQUINV_BACKEND_PATH");
    void *const plugin = path ? dlopen(path, RTLD_NOW | RTLD_NOLOAD) : NULL;
    void *const symbol = plugin ? dlsym(plugin, "eqi_host_open_memory") : NULL;
    if (!symbol)
        abort();
    memcpy(&function, &symbol, sizeof symbol);
    function(open);
    dlclose(plugin);
}

EXPORT CUresult CUDAAPI cuStreamSynchronize(CUstream stream)
{
    open_memory(true);
    for (fake_work *work = stream->first, *next; work; work = next) {
        next = work->next;
        work->run(work->arguments);
        free(work->arguments);
        free(work);
    }
    stream->first = stream->last = NULL;
    open_memory(false);
    return CUDA_SUCCESS;
}
