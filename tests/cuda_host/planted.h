/* Faults planted on purpose, and the same programs without them; each runs in a process of its own. */
#ifndef EQI_CUDA_HOST_PLANTED_H
#define EQI_CUDA_HOST_PLANTED_H

#include <stdlib.h>

#include "equinv/equinv.h"
#include "tests/cuda_host/cuda_host.h"

#if defined(__SANITIZE_ADDRESS__)
#define PLANTED_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define PLANTED_ASAN 1
#endif
#endif
/* Where the address sanitizer sees a fault first, the line says only whose it is. */
#ifdef PLANTED_ASAN
#define SAYS(plain) "stopped by a sanitizer"
#else
#define SAYS(plain) plain
#endif

struct Planted {
    const char *name;
    int (*run)(void); /* 0: nothing was noticed */
    const char *says; /* in the line on stderr; nullptr: must pass, without a line */
    const char *kernel;
};

extern const Planted planted_kernels[], planted_host[];
extern const int planted_kernels_count, planted_host_count;

#define EQI_TRY(call)                                                                              \
    do {                                                                                           \
        const equinv_status status_ = (call);                                                      \
        if (status_ != EQUINV_OK)                                                                  \
            return status_;                                                                        \
    } while (0)

inline equinv_status eqi_launched(const char *)
{
    return cudaGetLastError() == cudaSuccess ? EQUINV_OK : EQUINV_ERR_BACKEND;
}

/* A stream and device memory of floats 0, 1, 2, ... */
struct Setting {
    cudaStream_t stream;
    float *data;
    int count;
    explicit Setting(int n) : stream(nullptr), data(nullptr), count(n)
    {
        float *const host = static_cast<float *>(malloc(sizeof(float) * static_cast<size_t>(n)));
        for (int i = 0; i < n; i++)
            host[i] = static_cast<float>(i);
        cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
        cudaMalloc(&data, sizeof(float) * static_cast<size_t>(n));
        cudaMemcpyAsync(data, host, sizeof(float) * static_cast<size_t>(n), cudaMemcpyHostToDevice,
                        stream);
        cudaStreamSynchronize(stream);
        free(host);
    }
    ~Setting()
    {
        cudaStreamSynchronize(stream);
        cudaFree(data);
        cudaStreamDestroy(stream);
    }
    float read(int index)
    {
        float value = 0.0f;
        cudaMemcpyAsync(&value, data + index, sizeof value, cudaMemcpyDeviceToHost, stream);
        return cudaStreamSynchronize(stream) ? -1.0f : value;
    }
};

#endif
