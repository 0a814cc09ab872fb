/* Matrix products: one chain over k for each element, in the element's own type. */
#include "tests/cuda_host/engine.h"

#include <set>

struct cublasContext {
    cudaStream_t stream;
    bool device_pointers;
};

namespace
{
template <class T> struct Gemm {
    const char *name;
    bool transa, transb;
    int m, n, k;
    T alpha, beta;
    const T *a, *b;
    T *c;
    int lda, ldb, ldc, batch;
    long long stride_a, stride_b, stride_c;
};
} // namespace

static auto &handles = eqi_host::immortal<std::set<cublasHandle_t>>();

/* ---- one product ---- */

template <class T> static void scale_column(const Gemm<T> &g, T *c, const T *sum)
{
    for (int i = 0; i < g.m; i++)
        c[i] = g.beta == 0 ? g.alpha * sum[i] : g.alpha * sum[i] + g.beta * c[i];
}

template <class T> static void multiply(const Gemm<T> &g, const T *a, const T *b, T *c)
{
    std::vector<T> sum(static_cast<size_t>(g.m));
    for (int64_t j = 0; j < g.n; j++) {
        std::fill(sum.begin(), sum.end(), T(0));
        for (int64_t p = 0; p < (g.alpha == 0 ? 0 : g.k); p++) {
            const T factor = g.transb ? b[p * g.ldb + j] : b[j * g.ldb + p];
            for (int64_t i = 0; i < g.m; i++)
                sum[static_cast<size_t>(i)] +=
                    (g.transa ? a[i * g.lda + p] : a[p * g.lda + i]) * factor;
        }
        scale_column(g, c + j * g.ldc, sum.data());
    }
}

template <class T> static void run(const Gemm<T> &g)
{
    const char *const outer = eqi_host::set_running(g.name, nullptr);
    for (int64_t i = 0; i < g.batch; i++)
        multiply(g, g.a + i * g.stride_a, g.b + i * g.stride_b, g.c + i * g.stride_c);
    eqi_host::check_canaries();
    eqi_host::set_running(outer, nullptr);
}

/* ---- what the call is given ---- */

template <class T>
static void check_matrix(const Gemm<T> &g, const char *matrix, const T *data, int rows, int columns,
                         int ld, long long stride)
{
    if (rows == 0 || columns == 0)
        return;
    const int64_t last = (columns - 1) * static_cast<int64_t>(ld) + rows;
    const int64_t end = last + (stride > 0 ? (g.batch - 1) * stride : 0);
    const int64_t begin = stride < 0 ? (g.batch - 1) * stride : 0;
    const eqi_host::Allocation *const found = eqi_host::find_allocation(data);
    if (!found || found->host)
        eqi_host::fault("%s: %s is no device memory", g.name, matrix);
    const char *const first = reinterpret_cast<const char *>(data + begin);
    if (first < found->data ||
        reinterpret_cast<const char *>(data + end) > found->data + found->size)
        eqi_host::fault("%s: %s (%d x %d, ld %d, %d of them, m %d, n %d, k %d) is not inside its "
                        "device memory of %zu bytes",
                        g.name, matrix, rows, columns, ld, g.batch, g.m, g.n, g.k, found->size);
}

template <class T> static bool valid_sizes(const Gemm<T> &g)
{
    const int rows_a = g.transa ? g.k : g.m, rows_b = g.transb ? g.n : g.k;
    return g.m >= 0 && g.n >= 0 && g.k >= 0 && g.batch >= 0 && g.lda >= (rows_a > 1 ? rows_a : 1) &&
           g.ldb >= (rows_b > 1 ? rows_b : 1) && g.ldc >= (g.m > 1 ? g.m : 1);
}

template <class T> static cublasStatus_t gemm(cublasHandle_t handle, const Gemm<T> &g)
{
    if (!valid_sizes(g))
        return CUBLAS_STATUS_INVALID_VALUE;
    if (g.m == 0 || g.n == 0 || g.batch == 0)
        return CUBLAS_STATUS_SUCCESS;
    if (g.alpha != 0) {
        check_matrix(g, "A", g.a, g.transa ? g.k : g.m, g.transa ? g.m : g.k, g.lda, g.stride_a);
        check_matrix(g, "B", g.b, g.transb ? g.n : g.k, g.transb ? g.k : g.n, g.ldb, g.stride_b);
    }
    check_matrix(g, "C", static_cast<const T *>(g.c), g.m, g.n, g.ldc, g.stride_c);
    return eqi_host::enqueue(handle->stream, g.name, [g] { run(g); })
               ? CUBLAS_STATUS_EXECUTION_FAILED
               : CUBLAS_STATUS_SUCCESS;
}

template <class T>
static cublasStatus_t
call(const char *name, cublasHandle_t handle, cublasOperation_t transa, cublasOperation_t transb,
     int m, int n, int k, const T *alpha, const T *a, int lda, long long stride_a, const T *b,
     int ldb, long long stride_b, const T *beta, T *c, int ldc, long long stride_c, int batch)
{
    const eqi_host::Lock lock(eqi_host::engine_mutex);
    if (!handles.count(handle))
        return CUBLAS_STATUS_NOT_INITIALIZED;
    if (handle->device_pointers)
        return CUBLAS_STATUS_NOT_SUPPORTED;
    if (!alpha || !beta)
        return CUBLAS_STATUS_INVALID_VALUE;
    return gemm(handle,
                Gemm<T>{name, transa != CUBLAS_OP_N, transb != CUBLAS_OP_N, m, n, k, *alpha, *beta,
                        a, b, c, lda, ldb, ldc, batch, stride_a, stride_b, stride_c});
}

cublasStatus_t cublasSgemm(cublasHandle_t handle, cublasOperation_t transa,
                           cublasOperation_t transb, int m, int n, int k, const float *alpha,
                           const float *a, int lda, const float *b, int ldb, const float *beta,
                           float *c, int ldc)
{
    return call("cublasSgemm", handle, transa, transb, m, n, k, alpha, a, lda, 0, b, ldb, 0, beta,
                c, ldc, 0, 1);
}

cublasStatus_t cublasDgemm(cublasHandle_t handle, cublasOperation_t transa,
                           cublasOperation_t transb, int m, int n, int k, const double *alpha,
                           const double *a, int lda, const double *b, int ldb, const double *beta,
                           double *c, int ldc)
{
    return call("cublasDgemm", handle, transa, transb, m, n, k, alpha, a, lda, 0, b, ldb, 0, beta,
                c, ldc, 0, 1);
}

cublasStatus_t cublasSgemmStridedBatched(cublasHandle_t handle, cublasOperation_t transa,
                                         cublasOperation_t transb, int m, int n, int k,
                                         const float *alpha, const float *a, int lda,
                                         long long int stride_a, const float *b, int ldb,
                                         long long int stride_b, const float *beta, float *c,
                                         int ldc, long long int stride_c, int batch_count)
{
    return call("cublasSgemmStridedBatched", handle, transa, transb, m, n, k, alpha, a, lda,
                stride_a, b, ldb, stride_b, beta, c, ldc, stride_c, batch_count);
}

cublasStatus_t cublasDgemmStridedBatched(cublasHandle_t handle, cublasOperation_t transa,
                                         cublasOperation_t transb, int m, int n, int k,
                                         const double *alpha, const double *a, int lda,
                                         long long int stride_a, const double *b, int ldb,
                                         long long int stride_b, const double *beta, double *c,
                                         int ldc, long long int stride_c, int batch_count)
{
    return call("cublasDgemmStridedBatched", handle, transa, transb, m, n, k, alpha, a, lda,
                stride_a, b, ldb, stride_b, beta, c, ldc, stride_c, batch_count);
}

cublasStatus_t cublasGemmStridedBatchedEx(cublasHandle_t handle, cublasOperation_t transa,
                                          cublasOperation_t transb, int m, int n, int k,
                                          const void *alpha, const void *a, cudaDataType a_type,
                                          int lda, long long int stride_a, const void *b,
                                          cudaDataType b_type, int ldb, long long int stride_b,
                                          const void *beta, void *c, cudaDataType c_type, int ldc,
                                          long long int stride_c, int batch_count,
                                          cublasComputeType_t compute, cublasGemmAlgo_t)
{
    const char *const name = "cublasGemmEx";
    const bool one_type = a_type == b_type && a_type == c_type;
    if (one_type && a_type == CUDA_R_32F &&
        (compute == CUBLAS_COMPUTE_32F || compute == CUBLAS_COMPUTE_32F_PEDANTIC))
        return call(name, handle, transa, transb, m, n, k, static_cast<const float *>(alpha),
                    static_cast<const float *>(a), lda, stride_a, static_cast<const float *>(b),
                    ldb, stride_b, static_cast<const float *>(beta), static_cast<float *>(c), ldc,
                    stride_c, batch_count);
    if (one_type && a_type == CUDA_R_64F &&
        (compute == CUBLAS_COMPUTE_64F || compute == CUBLAS_COMPUTE_64F_PEDANTIC))
        return call(name, handle, transa, transb, m, n, k, static_cast<const double *>(alpha),
                    static_cast<const double *>(a), lda, stride_a, static_cast<const double *>(b),
                    ldb, stride_b, static_cast<const double *>(beta), static_cast<double *>(c), ldc,
                    stride_c, batch_count);
    return CUBLAS_STATUS_NOT_SUPPORTED;
}

cublasStatus_t cublasGemmEx(cublasHandle_t handle, cublasOperation_t transa,
                            cublasOperation_t transb, int m, int n, int k, const void *alpha,
                            const void *a, cudaDataType a_type, int lda, const void *b,
                            cudaDataType b_type, int ldb, const void *beta, void *c,
                            cudaDataType c_type, int ldc, cublasComputeType_t compute,
                            cublasGemmAlgo_t algorithm)
{
    return cublasGemmStridedBatchedEx(handle, transa, transb, m, n, k, alpha, a, a_type, lda, 0, b,
                                      b_type, ldb, 0, beta, c, c_type, ldc, 0, 1, compute,
                                      algorithm);
}

/* ---- handles ---- */

cublasStatus_t cublasCreate(cublasHandle_t *handle)
{
    const eqi_host::Lock lock(eqi_host::engine_mutex);
    if (eqi_host::device_error() || eqi_host::refuse_in_capture("cublasCreate"))
        return CUBLAS_STATUS_NOT_INITIALIZED;
    if (!handle)
        return CUBLAS_STATUS_INVALID_VALUE;
    if (eqi_host::allocation_fails())
        return CUBLAS_STATUS_ALLOC_FAILED;
    *handle = new cublasContext{nullptr, false};
    handles.insert(*handle);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasDestroy(cublasHandle_t handle)
{
    const eqi_host::Lock lock(eqi_host::engine_mutex);
    if (!handles.erase(handle))
        return CUBLAS_STATUS_NOT_INITIALIZED;
    delete handle;
    return CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t known(cublasHandle_t handle)
{
    return handles.count(handle) ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_INITIALIZED;
}

cublasStatus_t cublasSetStream(cublasHandle_t handle, cudaStream_t stream)
{
    const eqi_host::Lock lock(eqi_host::engine_mutex);
    const cublasStatus_t status = known(handle);
    if (status == CUBLAS_STATUS_SUCCESS)
        handle->stream = stream;
    return status;
}

cublasStatus_t cublasSetWorkspace(cublasHandle_t handle, void *workspace, size_t size)
{
    const eqi_host::Lock lock(eqi_host::engine_mutex);
    const eqi_host::Allocation *const found = eqi_host::find_allocation(workspace);
    if (size != 0 && (!found || found->host || reinterpret_cast<uintptr_t>(workspace) % 256 != 0))
        return CUBLAS_STATUS_INVALID_VALUE;
    return known(handle);
}

cublasStatus_t cublasSetMathMode(cublasHandle_t handle, cublasMath_t)
{
    const eqi_host::Lock lock(eqi_host::engine_mutex);
    return known(handle);
}

cublasStatus_t cublasSetPointerMode(cublasHandle_t handle, cublasPointerMode_t mode)
{
    const eqi_host::Lock lock(eqi_host::engine_mutex);
    const cublasStatus_t status = known(handle);
    if (status == CUBLAS_STATUS_SUCCESS)
        handle->device_pointers = mode == CUBLAS_POINTER_MODE_DEVICE;
    return status;
}

cublasStatus_t cublasSetAtomicsMode(cublasHandle_t handle, cublasAtomicsMode_t)
{
    const eqi_host::Lock lock(eqi_host::engine_mutex);
    return known(handle);
}

const char *cublasGetStatusString(cublasStatus_t status)
{
    switch (status) {
    case CUBLAS_STATUS_SUCCESS: return "the operation completed successfully";
    case CUBLAS_STATUS_NOT_INITIALIZED: return "the library was not initialized";
    case CUBLAS_STATUS_ALLOC_FAILED: return "the resource allocation failed";
    case CUBLAS_STATUS_INVALID_VALUE: return "an unsupported value or parameter was passed";
    case CUBLAS_STATUS_ARCH_MISMATCH: return "the device lacks a feature";
    case CUBLAS_STATUS_MAPPING_ERROR: return "an access to GPU memory space failed";
    case CUBLAS_STATUS_EXECUTION_FAILED: return "the function failed to launch on the GPU";
    case CUBLAS_STATUS_INTERNAL_ERROR: return "an internal operation failed";
    case CUBLAS_STATUS_NOT_SUPPORTED: return "the functionality requested is not supported";
    }
    return "unknown cuBLAS status";
}
