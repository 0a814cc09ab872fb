/*
 * The device behind a context: its streams, events, cuBLAS handle and errors. One file an operation
 * beside it; all of them launch on eqi_stream(ctx) and return a status.
 */
#ifndef EQI_CUDA_DEVICE_CUH
#define EQI_CUDA_DEVICE_CUH

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cuda/platform.cuh"

/* The core is C; what it includes was included above, as C++. */
extern "C" {
#include "internal/backend.h"
}

#define EQI_CUDA_ALIGNMENT 256

/*
 * What cuBLAS may use of its own; enough for Hopper by its guide, so that it never allocates. The host's
 * stand-in needs none, and compares all memory after every launch.
 */
#ifdef EQI_CUDA_ON_HOST
#define EQI_CUBLAS_WORKSPACE size_t(256)
#else
#define EQI_CUBLAS_WORKSPACE (size_t(32) << 20)
#endif

/* Where the norm of gradients is summed: by so many blocks, then together. */
enum { EQI_NORM_PARTS = 256 };
typedef struct eqi_norm_room {
    double sum[EQI_NORM_PARTS], norm;
} eqi_norm_room;

typedef struct eqi_cuda_device {
    int index;
    cudaStream_t lane[EQI_LANES]; /* COMPUTE: the stream in use, the caller's or own */
    cudaStream_t own;
    cudaEvent_t event[EQI_EVENTS];
    cublasHandle_t blas;
    pthread_mutex_t blas_mutex; /* the handle has a stream and a mode: one caller at a time */
    void *blas_workspace;
    eqi_norm_room *norm_room; /* on the device; the calls that enqueue its use hold the mutex */
    pthread_mutex_t norm_mutex;
    int multiprocessors;
    size_t shared_bytes; /* that a block may have when asked for */
    size_t device_bytes;
} eqi_cuda_device;

static inline eqi_cuda_device *eqi_cuda(const equinv_context *ctx)
{
    return (eqi_cuda_device *)ctx->device_state;
}

/* The stream that work goes to; launches and cuBLAS want its device to be the calling thread's. */
static inline cudaStream_t eqi_stream(const equinv_context *ctx)
{
    const eqi_cuda_device *const d = eqi_cuda(ctx);
    int current = -1;
    if (cudaGetDevice(&current) != cudaSuccess || current != d->index)
        cudaSetDevice(d->index);
    return d->lane[EQI_LANE_COMPUTE];
}

/* A status and sentence for a runtime call that failed; NOMEM for memory, else BACKEND. */
equinv_status eqi_cuda_failed(cudaError_t error, const char *what);

/* The error of the launch that was just made. */
equinv_status eqi_launched(const char *kernel);

#define EQI_CUDA_TRY(call)                                                                         \
    do {                                                                                           \
        const cudaError_t eqi_error_ = (call);                                                     \
        if (eqi_error_ != cudaSuccess)                                                             \
            return eqi_cuda_failed(eqi_error_, #call);                                             \
    } while (0)

/* Blocks of `block` threads for `count` of them, at most `most`: kernels go on in steps of the grid. */
static inline dim3 eqi_blocks(int64_t count, int64_t block, int64_t most = INT64_C(1) << 20)
{
    const int64_t blocks = count / block + (count % block != 0);
    return dim3((unsigned)(blocks < most ? blocks : most));
}

/* For every index below count, however large the grid is. */
#define EQI_FOR_EACH(index, count)                                                                 \
    for (int64_t index = int64_t(blockIdx.x) * blockDim.x + threadIdx.x; index < (count);          \
         index += int64_t(gridDim.x) * blockDim.x)

/*
 * C = alpha op(A) op(B) + beta C, row-major, strict fp32 or fp64: A is m x k (k x m if a_turned), B is
 * k x n (n x k if b_turned), C m x n; lda, ldb, ldc are row lengths. `count` products, each `stride`
 * elements behind the one before. An empty sum gives beta C.
 */
typedef struct eqi_matrix {
    const void *data;
    int64_t row; /* elements from row to row */
    int64_t stride;
    bool turned;
} eqi_matrix;

equinv_status eqi_cuda_gemm(const equinv_context *ctx, equinv_dtype dtype, int64_t m, int64_t n,
                            int64_t k, double alpha, eqi_matrix a, eqi_matrix b, double beta,
                            void *c, int64_t c_row, int64_t c_stride, int64_t count);

#endif
