/* Matrix products by cuBLAS. It is column-major: a row-major C is its C^T = op(B)^T op(A)^T. */
#include "cuda/device.cuh"

#include <climits>

static equinv_status blas_failed(cublasStatus_t status, const char *what)
{
    return eqi_fail(status == CUBLAS_STATUS_ALLOC_FAILED ? EQUINV_ERR_NOMEM : EQUINV_ERR_BACKEND,
                    "cuBLAS says %s: %s", cublasGetStatusString(status), what);
}

/* Stream and workspace of this call: setting a stream gives up the workspace. */
static cublasStatus_t prepare(const equinv_context *ctx)
{
    const eqi_cuda_device *const d = eqi_cuda(ctx);
    const cublasStatus_t status = cublasSetStream(d->blas, eqi_stream(ctx));
    return status != CUBLAS_STATUS_SUCCESS
               ? status
               : cublasSetWorkspace(d->blas, d->blas_workspace, EQI_CUBLAS_WORKSPACE);
}

static bool fits(int64_t value)
{
    return value >= 0 && value <= INT_MAX;
}

equinv_status eqi_cuda_gemm(const equinv_context *ctx, equinv_dtype dtype, int64_t m, int64_t n,
                            int64_t k, double alpha, eqi_matrix a, eqi_matrix b, double beta,
                            void *c, int64_t c_row, int64_t c_stride, int64_t count)
{
    if (m == 0 || n == 0 || count == 0)
        return EQUINV_OK;
    EQI_CHECK(fits(m) && fits(n) && fits(k) && fits(a.row) && fits(b.row) && fits(c_row) &&
                  fits(count),
              UNSUPPORTED,
              "a product of %" PRId64 " x %" PRId64 " x %" PRId64 ", expected extents below 2^31",
              m, n, k);
    const cublasOperation_t turn_a = a.turned ? CUBLAS_OP_T : CUBLAS_OP_N;
    const cublasOperation_t turn_b = b.turned ? CUBLAS_OP_T : CUBLAS_OP_N;
    eqi_cuda_device *const d = eqi_cuda(ctx);
    pthread_mutex_lock(&d->blas_mutex);
    cublasStatus_t status = prepare(ctx);
    if (status == CUBLAS_STATUS_SUCCESS && dtype == EQUINV_F32) {
        const float one = (float)alpha, keep = (float)beta;
        status = cublasSgemmStridedBatched(d->blas, turn_b, turn_a, (int)n, (int)m, (int)k, &one,
                                           (const float *)b.data, (int)b.row, b.stride,
                                           (const float *)a.data, (int)a.row, a.stride, &keep,
                                           (float *)c, (int)c_row, c_stride, (int)count);
    } else if (status == CUBLAS_STATUS_SUCCESS) {
        status = cublasDgemmStridedBatched(d->blas, turn_b, turn_a, (int)n, (int)m, (int)k, &alpha,
                                           (const double *)b.data, (int)b.row, b.stride,
                                           (const double *)a.data, (int)a.row, a.stride, &beta,
                                           (double *)c, (int)c_row, c_stride, (int)count);
    }
    pthread_mutex_unlock(&d->blas_mutex);
    return status == CUBLAS_STATUS_SUCCESS ? EQUINV_OK : blas_failed(status, "a matrix product");
}
