/* sgemm, column-major, in double precision. */
#include <cublas_v2.h>

#include "tests/fake_gpu/fake.h"

struct cublasContext {
    CUstream stream;
    int fp32;
};

typedef struct product {
    int ta, tb, m, n, k, lda, ldb, ldc;
    float alpha, beta;
    const float *a, *b;
    float *c;
} product;

static void multiply(const void *arguments)
{
    const product *const p = arguments;
    for (int j = 0; j < p->n; j++)
        for (int i = 0; i < p->m; i++) {
            double sum = 0;
            for (int l = 0; l < p->k; l++)
                sum += (double)p->a[p->ta ? i * p->lda + l : l * p->lda + i] *
                       (double)p->b[p->tb ? l * p->ldb + j : j * p->ldb + l];
            float *const c = &p->c[j * p->ldc + i];
            *c = p->alpha * (float)sum + (p->beta == 0 ? 0 : p->beta * *c);
        }
}

EXPORT cublasStatus_t CUBLASWINAPI cublasCreate_v2(cublasHandle_t *handle)
{
    *handle = calloc(1, sizeof **handle);
    return *handle ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_ALLOC_FAILED;
}

EXPORT cublasStatus_t CUBLASWINAPI cublasSetStream_v2(cublasHandle_t handle, cudaStream_t stream)
{
    handle->stream = stream;
    return CUBLAS_STATUS_SUCCESS;
}

EXPORT cublasStatus_t CUBLASWINAPI cublasSetMathMode(cublasHandle_t handle, cublasMath_t mode)
{
    handle->fp32 = mode == CUBLAS_DEFAULT_MATH;
    return CUBLAS_STATUS_SUCCESS;
}

EXPORT cublasStatus_t CUBLASWINAPI cublasGetVersion_v2(cublasHandle_t handle, int *version)
{
    (void)handle;
    *version = 130102;
    return CUBLAS_STATUS_SUCCESS;
}

EXPORT const char *CUBLASWINAPI cublasGetStatusString(cublasStatus_t status)
{
    return status == CUBLAS_STATUS_INVALID_VALUE ? "CUBLAS_STATUS_INVALID_VALUE" : "another status";
}

EXPORT cublasStatus_t CUBLASWINAPI cublasSgemm_v2(cublasHandle_t handle, cublasOperation_t transa,
                                                  cublasOperation_t transb, int m, int n, int k,
                                                  const float *alpha, const float *A, int lda,
                                                  const float *B, int ldb, const float *beta,
                                                  float *C, int ldc)
{
    const int ta = transa == CUBLAS_OP_T, tb = transb == CUBLAS_OP_T;
    if (!handle->stream || !handle->fp32 || lda < (ta ? k : m) || ldb < (tb ? n : k) || ldc < m ||
        getenv("FAKE_GPU_REFUSES"))
        return CUBLAS_STATUS_INVALID_VALUE;
    product *const p = malloc(sizeof *p);
    if (!p)
        return CUBLAS_STATUS_ALLOC_FAILED;
    *p = (product){ta, tb, m, n, k, lda, ldb, ldc, *alpha, *beta, A, B, C};
    fake_enqueue(handle->stream, multiply, p);
    return CUBLAS_STATUS_SUCCESS;
}
