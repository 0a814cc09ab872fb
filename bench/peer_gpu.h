/*
 * Peers on the GPU: libraries that are opened while the program runs, and a stream of theirs in the context
 * of the device that CUDA's runtime and the plugin use. Their memory is the library's: device tensors.
 */
#ifndef BENCH_PEER_GPU_H
#define BENCH_PEER_GPU_H

#include <cuda.h>

#include "bench/peer.h"

/* A function of a library, and where its pointer goes. */
typedef struct gpu_symbol {
    const char *name;
    void *to;
} gpu_symbol;

typedef struct gpu_library {
    const char *name;
    const gpu_symbol *symbols;
    int count;
    bool tried;
    char missing[256]; /* why it is not there; "" if it is */
} gpu_library;

/* Opens it, and the driver's library; NULL, or why that cannot be. Once: it stays open. */
const char *gpu_open(gpu_library *library);

/* The peers' stream on the device of ctx, whose primary context becomes this thread's. */
equinv_status gpu_stream(equinv_context *ctx, CUstream *stream);
/* A runner's `wait`, for everything on that stream. */
equinv_status gpu_wait(problem *p);

#endif
