/*
 * Copies from global into shared memory that pass by the registers and are waited for later (cp.async);
 * where a device or the host has none they are plain ones.
 */
#ifndef EQI_CUDA_ASYNC_CUH
#define EQI_CUDA_ASYNC_CUH

#include "cuda/device.cuh"

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
#define EQI_CUDA_ASYNC 1
#else
#define EQI_CUDA_ASYNC 0
#endif

/* One number, or 0 where it is not there; `from` is not read then. */
static __device__ __forceinline__ void eqi_copy_async(float *to, const float *from, bool there)
{
#if EQI_CUDA_ASYNC
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(
                     (uint32_t)__cvta_generic_to_shared(to)),
                 "l"(from), "r"(there ? 4 : 0)
                 : "memory");
#else
    *to = there ? *from : 0.0f;
#endif
}

/* Four numbers, both sides aligned to them. */
static __device__ __forceinline__ void eqi_copy_async_x4(float *to, const float *from)
{
#if EQI_CUDA_ASYNC
    asm volatile(
        "cp.async.cg.shared.global [%0], [%1], 16;" ::"r"((uint32_t)__cvta_generic_to_shared(to)),
        "l"(from)
        : "memory");
#else
    eqi_store_vector(to, eqi_load_vector<float4>(from));
#endif
}

/* The calling thread's copies are done; others see them behind a barrier. */
static __device__ __forceinline__ void eqi_wait_async()
{
#if EQI_CUDA_ASYNC
    asm volatile("cp.async.wait_all;" ::: "memory");
#endif
}

#endif
