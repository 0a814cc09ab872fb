/* The built-in product on every level; cpu/gemm/gemm.c chooses. */
#ifndef EQI_GEMM_KERNELS_H
#define EQI_GEMM_KERNELS_H

#include "gemm.h"

typedef float eqi_real_f32;
typedef double eqi_real_f64;

typedef void eqi_gemm_kernel(const eqi_gemm_args *args, void *workspace);

eqi_gemm_kernel eqi_f32_gemm_scalar, eqi_f64_gemm_scalar;
#if defined(__x86_64__)
eqi_gemm_kernel eqi_f32_gemm_avx2, eqi_f64_gemm_avx2;
eqi_gemm_kernel eqi_f32_gemm_avx512, eqi_f64_gemm_avx512;
#endif

#endif
