/* What peers on the GPU share: libraries opened at run time, the stream. */
#include <dlfcn.h>
#include <string.h>

#include "bench/peer_gpu.h"

#define FUNCTIONS(X)                                                                               \
    X(cuInit)                                                                                      \
    X(cuDeviceGet)                                                                                 \
    X(cuDevicePrimaryCtxRetain)                                                                    \
    X(cuCtxSetCurrent)                                                                             \
    X(cuStreamCreate)                                                                              \
    X(cuStreamSynchronize)

static struct {
#define POINTER(name) __typeof__(name) *name;
    FUNCTIONS(POINTER)
} cuda;

static const gpu_symbol symbols[] = {
#define SYMBOL(name) {#name, &cuda.name},
    FUNCTIONS(SYMBOL)};

static gpu_library driver = {
    .name = "libcuda.so.1", .symbols = symbols, .count = sizeof symbols / sizeof *symbols};

#define TRY(call)                                                                                  \
    do {                                                                                           \
        const CUresult result_ = (call);                                                           \
        if (result_ != CUDA_SUCCESS)                                                               \
            return peer_failed("CUDA driver: error %d from %s", (int)result_, #call);              \
    } while (0)

/* ---- libraries ---------------------------------------------------------------------------------------- */

static void load(gpu_library *library)
{
    library->tried = true;
    void *const handle = dlopen(library->name, RTLD_NOW | RTLD_LOCAL);
    if (!handle) {
        const char *const why = dlerror();
        snprintf(library->missing, sizeof library->missing, "it cannot be loaded: %s",
                 why ? why : library->name);
        return;
    }
    for (int i = 0; i < library->count; i++) {
        void *const symbol = dlsym(handle, library->symbols[i].name);
        if (!symbol) {
            snprintf(library->missing, sizeof library->missing, "%s has no %s", library->name,
                     library->symbols[i].name);
            return;
        }
        /* ISO C has no cast from void * to a function. */
        memcpy(library->symbols[i].to, &symbol, sizeof symbol);
    }
}

const char *gpu_open(gpu_library *library)
{
    if (library != &driver && gpu_open(&driver))
        return driver.missing;
    if (!library->tried)
        load(library);
    return *library->missing ? library->missing : NULL;
}

/* ---- the stream ---------------------------------------------------------------------------------------- */

/* Made once, for the life of the program, which uses one device. */
static CUcontext context;
static CUstream own_stream;

equinv_status gpu_stream(equinv_context *ctx, CUstream *stream)
{
    CUdevice device;
    if (gpu_open(&driver))
        return peer_failed("%s", driver.missing);
    if (!context) {
        TRY(cuda.cuInit(0));
        TRY(cuda.cuDeviceGet(&device, equinv_context_device(ctx).index));
        TRY(cuda.cuDevicePrimaryCtxRetain(&context, device));
    }
    TRY(cuda.cuCtxSetCurrent(context));
    if (!own_stream)
        TRY(cuda.cuStreamCreate(&own_stream, CU_STREAM_NON_BLOCKING));
    *stream = own_stream;
    return EQUINV_OK;
}

equinv_status gpu_wait(problem *p)
{
    (void)p;
    TRY(cuda.cuStreamSynchronize(own_stream));
    return EQUINV_OK;
}
