/*
 * The driver's functions for streams and graphs, for tests that bring their own stream as callers of the
 * library do. A context stands for its device.
 */
#include "tests/cuda_host/engine.h"
#include "tests/cuda_host/faults.h"

extern "C" {
EQI_HOST_EXPORT int cuDevicePrimaryCtxRetain(void **context, int device)
{
    *context = reinterpret_cast<void *>(static_cast<intptr_t>(device) + 1);
    return cudaSuccess;
}

EQI_HOST_EXPORT int cuCtxSetCurrent(void *context)
{
    return cudaSetDevice(static_cast<int>(reinterpret_cast<intptr_t>(context) - 1));
}

EQI_HOST_EXPORT int cuStreamCreate(cudaStream_t *stream, unsigned flags)
{
    return cudaStreamCreateWithFlags(stream, flags);
}

EQI_HOST_EXPORT int cuStreamDestroy_v2(cudaStream_t stream)
{
    return cudaStreamDestroy(stream);
}

EQI_HOST_EXPORT int cuStreamSynchronize(cudaStream_t stream)
{
    return cudaStreamSynchronize(stream);
}

EQI_HOST_EXPORT int cuStreamBeginCapture_v2(cudaStream_t stream, cudaStreamCaptureMode mode)
{
    return cudaStreamBeginCapture(stream, mode);
}

EQI_HOST_EXPORT int cuStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph)
{
    return cudaStreamEndCapture(stream, graph);
}

EQI_HOST_EXPORT int cuGraphInstantiateWithFlags(cudaGraphExec_t *exec, cudaGraph_t graph,
                                                unsigned long long flags)
{
    return cudaGraphInstantiate(exec, graph, flags);
}

EQI_HOST_EXPORT int cuGraphDestroy(cudaGraph_t graph)
{
    return cudaGraphDestroy(graph);
}

EQI_HOST_EXPORT int cuGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream)
{
    return cudaGraphLaunch(exec, stream);
}

EQI_HOST_EXPORT int cuGraphExecDestroy(cudaGraphExec_t exec)
{
    return cudaGraphExecDestroy(exec);
}
}
