/* Small functions that CPU code and kernels share. */
#ifndef EQI_PORTABLE_H
#define EQI_PORTABLE_H

#ifdef __CUDACC__
#define EQI_INLINE static __host__ __device__ __forceinline__
#else
#define EQI_INLINE static inline
#endif

#endif
