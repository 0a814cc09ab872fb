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
    /*
     * Up to 8 columns of fp32 fill one vector of the narrow level, of the wide one half. From 9 to 16 the wide
     * one is 1.35 times faster on Zen 5 with tiles of 8 rows; on Zen 4, with 6, broadcasts into wide vectors
     * made it slower. Both levels run the same chain, so the bits agree.
     */
    const int64_t narrow = 32 / (int64_t)equinv_dtype_size(dtype);
    const eqi_isa isa =
        hardware->isa == EQI_ISA_AVX512 && args->n <= narrow ? EQI_ISA_AVX2 : hardware->isa;
    kernels[isa][dtype == EQUINV_F64](args, workspace);
}
