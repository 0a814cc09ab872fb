/*
 * What kernels are written on. nvcc has CUDA itself; with EQI_CUDA_ON_HOST the same sources are plain
 * C++17 on the stand-in of tests/cuda_host, which runs every kernel inside the test suite.
 */
#ifndef EQI_CUDA_PLATFORM_CUH
#define EQI_CUDA_PLATFORM_CUH

#ifdef EQI_CUDA_ON_HOST
#include "tests/cuda_host/cuda_host.h"
#define EQI_UNROLL
#else

#include <cublas_v2.h>
#include <cuda_runtime.h>

/*
 * Launches a kernel and leaves the calling function, which returns a status, when that fails. An
 * empty grid is nothing to do. A kernel with several template arguments stands in parentheses.
 */
#define EQI_LAUNCH(kernel, grid, block, shared_bytes, stream, ...)                                 \
    do {                                                                                           \
        const dim3 eqi_grid_ = (grid), eqi_block_ = (block);                                       \
        if (eqi_grid_.x && eqi_grid_.y && eqi_grid_.z) {                                           \
            (kernel)<<<eqi_grid_, eqi_block_, (shared_bytes), (stream)>>>(__VA_ARGS__);            \
            EQI_TRY(eqi_launched(#kernel));                                                        \
        }                                                                                          \
    } while (0)

/* Arrays in shared memory: of a fixed count, and the bytes that the launch gave. */
#define EQI_SHARED(type, name, count) __shared__ type name[count]
#define EQI_DYNAMIC_SHARED(type, name)                                                             \
    extern __shared__ __align__(16) unsigned char eqi_dynamic_shared_[];                           \
    type *const name = reinterpret_cast<type *>(eqi_dynamic_shared_)

/* Before a loop whose arrays are meant for registers, or whose body is too small to stand alone. */
#define EQI_UNROLL _Pragma("unroll")

/* Vectors at an address that is aligned to them. */
template <typename V, typename T> static __device__ __forceinline__ V eqi_load_vector(const T *from)
{
    return *reinterpret_cast<const V *>(from);
}

template <typename V, typename T>
static __device__ __forceinline__ void eqi_store_vector(T *to, V value)
{
    *reinterpret_cast<V *>(to) = value;
}

#endif
#endif
