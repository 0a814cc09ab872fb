#include "kernels.h"

static eqi_gemm_kernel *const kernels[][2] = {
    [EQI_ISA_SCALAR] = {eqi_f32_gemm_scalar, eqi_f64_gemm_scalar},
#if defined(__x86_64__)
    [EQI_ISA_AVX2] = {eqi_f32_gemm_avx2, eqi_f64_gemm_avx2},
    [EQI_ISA_AVX512] = {eqi_f32_gemm_avx512, eqi_f64_gemm_avx512},
#endif
};

void eqi_gemm(const eqi_hardware *hardware, equinv_dtype dtype, const eqi_gemm_args *args,
              void *workspace)
{
    kernels[hardware->isa][dtype == EQUINV_F64](args, workspace);
}
