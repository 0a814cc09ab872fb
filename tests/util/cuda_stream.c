#include "tests/util/cuda_stream.h"

#include <dlfcn.h>
#include <limits.h>
#include <sys/stat.h>

/* The plugin's handle if it is the host's; looked at again every time, as tests change the path. */
static void *host_plugin(void)
{
    const char *const asked = getenv("EQUINV_BACKEND_PATH");
    struct stat s;
    char path[PATH_MAX];
    if (!asked || !strchr(asked, '/') || stat(asked, &s) != 0)
        return NULL;
    snprintf(path, sizeof path, "%s%s", asked, S_ISDIR(s.st_mode) ? "/libequinv-cuda.so" : "");
    void *const plugin = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    return plugin && dlsym(plugin, "eqi_host_launches") ? plugin : NULL;
}

bool cuda_host(void)
{
    return host_plugin() != NULL;
}

static void find(void *library, const char *name, void *pointer, size_t size)
{
    void *const symbol = library ? dlsym(library, name) : NULL;
    ck_assert_msg(symbol, "there is no function %s", name);
    memcpy(pointer, &symbol, size); /* ISO C has no cast from void * to a function */
}

void cuda_host_function(const char *name, void *pointer, size_t size)
{
    find(host_plugin(), name, pointer, size);
}

/* A driver function: its name, then its parameters. All return 0 for success. */
#define DRIVER(name, ...)                                                                          \
    int (*name)(__VA_ARGS__);                                                                      \
    driver_function(#name, &name, sizeof name)

static void driver_function(const char *name, void *pointer, size_t size)
{
    static void *driver;
    void *const host = host_plugin();
    if (!host && !driver)
        driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    find(host ? host : driver, name, pointer, size);
}

#define DONE(call)                                                                                 \
    do {                                                                                           \
        const int code_ = (call);                                                                  \
        ck_assert_msg(code_ == 0, "%s gave CUDA error %d", #call, code_);                          \
    } while (0)

void *stream_new(int device)
{
    enum { NON_BLOCKING = 1 };
    DRIVER(cuDevicePrimaryCtxRetain, void **context, int device);
    DRIVER(cuCtxSetCurrent, void *context);
    DRIVER(cuStreamCreate, void **stream, unsigned flags);
    void *context = NULL, *stream = NULL;
    DONE(cuDevicePrimaryCtxRetain(&context, device)); /* kept for good: the plugin uses it too */
    DONE(cuCtxSetCurrent(context));
    DONE(cuStreamCreate(&stream, NON_BLOCKING));
    return stream;
}

void stream_destroy(void *stream)
{
    DRIVER(cuStreamDestroy_v2, void *stream);
    DONE(cuStreamDestroy_v2(stream));
}

void stream_synchronize(void *stream)
{
    DRIVER(cuStreamSynchronize, void *stream);
    DONE(cuStreamSynchronize(stream));
}

void capture_begin(void *stream)
{
    enum { GLOBAL = 0 }; /* the strictest: other threads may not allocate either */
    DRIVER(cuStreamBeginCapture_v2, void *stream, int mode);
    DONE(cuStreamBeginCapture_v2(stream, GLOBAL));
}

void *capture_end(void *stream)
{
    DRIVER(cuStreamEndCapture, void *stream, void **graph);
    DRIVER(cuGraphInstantiateWithFlags, void **exec, void *graph, unsigned long long flags);
    DRIVER(cuGraphDestroy, void *graph);
    void *graph = NULL, *exec = NULL;
    if (cuStreamEndCapture(stream, &graph) != 0 || !graph)
        return NULL;
    DONE(cuGraphInstantiateWithFlags(&exec, graph, 0));
    DONE(cuGraphDestroy(graph));
    return exec;
}

void graph_launch(void *graph, void *stream)
{
    DRIVER(cuGraphLaunch, void *exec, void *stream);
    DONE(cuGraphLaunch(graph, stream));
}

void graph_destroy(void *graph)
{
    DRIVER(cuGraphExecDestroy, void *exec);
    DONE(cuGraphExecDestroy(graph));
}
