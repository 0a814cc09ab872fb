/*
 * Streams and graphs as a caller of the library makes them, by the CUDA driver's own functions (the
 * host's plugin has functions of the same names), and the ways to make the host's plugin fail.
 * Everything here needs a CUDA context of equinv made before, in this process.
 */
#ifndef TESTS_UTIL_CUDA_STREAM_H
#define TESTS_UTIL_CUDA_STREAM_H

#include "tests/util/cuda.h"

/* Whether the plugin that EQUINV_BACKEND_PATH names is the one that runs on the host. */
bool cuda_host(void);

/* A function of the host's plugin (tests/cuda_host/faults.h) in a pointer to such a function. */
void cuda_host_function(const char *name, void *pointer, size_t size);
#define CUDA_HOST(result, name, ...)                                                               \
    result (*name)(__VA_ARGS__);                                                                   \
    cuda_host_function(#name, &name, sizeof name)

/* A stream of a device; the calling thread's current device is that one afterwards. */
void *stream_new(int device);
void stream_destroy(void *stream);
void stream_synchronize(void *stream);

/* Between the two, work on the stream goes into a graph. capture_end: NULL if that was spoilt. */
void capture_begin(void *stream);
void *capture_end(void *stream);
void graph_launch(void *graph, void *stream);
void graph_destroy(void *graph);

#endif
