#include "gemm.h"

#ifdef EQI_HAVE_OPENBLAS
#include <cblas.h>
#include <limits.h>

/* OpenBLAS counts in int on this interface, and what an empty product does is not worth relying on. */
static bool fits(const eqi_gemm_args *args)
{
    const int64_t sizes[] = {args->m, args->n, args->k, args->lda, args->ldb, args->ldc};
    for (int i = 0; i < 6; i++)
        if (sizes[i] < 1 || sizes[i] > INT_MAX)
            return false;
    return !args->a_rows;
}

void eqi_gemm_blas(const eqi_hardware *hardware, equinv_dtype dtype, const eqi_gemm_args *args,
                   void *workspace)
{
    if (!fits(args)) {
        eqi_gemm(hardware, dtype, args, workspace);
        return;
    }
    const int m = (int)args->m, n = (int)args->n, k = (int)args->k;
    const int lda = (int)args->lda, ldb = (int)args->ldb, ldc = (int)args->ldc;
    const CBLAS_TRANSPOSE transpose_a = args->transpose_a ? CblasTrans : CblasNoTrans;
    const CBLAS_TRANSPOSE transpose_b = args->transpose_b ? CblasTrans : CblasNoTrans;
    const float beta = args->accumulate ? 1.0f : 0.0f;
    if (dtype == EQUINV_F32)
        cblas_sgemm(CblasRowMajor, transpose_a, transpose_b, m, n, k, 1.0f, args->a, lda, args->b,
                    ldb, beta, args->c, ldc);
    else
        cblas_dgemm(CblasRowMajor, transpose_a, transpose_b, m, n, k, 1.0, args->a, lda, args->b,
                    ldb, (double)beta, args->c, ldc);
}
#else
void eqi_gemm_blas(const eqi_hardware *hardware, equinv_dtype dtype, const eqi_gemm_args *args,
                   void *workspace)
{
    eqi_gemm(hardware, dtype, args, workspace);
}
#endif
