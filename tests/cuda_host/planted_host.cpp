/* Faults of host code: streams, copies, graphs, launches, products; and failures on demand. */
#include "tests/cuda_host/planted.h"
#include "tests/cuda_host/faults.h"

__global__ void eqi_plant_fill(float *data, int64_t count)
{
    const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (i < count)
        data[i] = 2.0f;
}

__global__ void eqi_plant_increment(float *data)
{
    data[threadIdx.x] += 1.0f;
}

/* ---- streams and copies ---- */

static int host_read(void)
{
    const Setting s(64);
    volatile const float *const data = s.data;
    return data[3] != 3.0f;
}

static int default_stream_launch(void)
{
    Setting s(64);
    EQI_LAUNCH(eqi_plant_fill, 1, 64, 0, cudaStream_t(nullptr), s.data, 64);
    return 0;
}

static int default_stream_copy(void)
{
    Setting s(64);
    return cudaMemsetAsync(s.data, 0, 4, nullptr) == cudaErrorInvalidResourceHandle;
}

static int copy_too_far(void)
{
    Setting s(64);
    float host[65];
    return cudaMemcpyAsync(host, s.data, sizeof host, cudaMemcpyDeviceToHost, s.stream) != 0;
}

template <bool waits> static int two_streams(void)
{
    Setting s(64), other(64);
    cudaEvent_t written;
    cudaEventCreateWithFlags(&written, cudaEventDisableTiming);
    EQI_LAUNCH(eqi_plant_fill, 1, 64, 0, s.stream, s.data, 64);
    cudaEventRecord(written, s.stream);
    if (waits)
        cudaStreamWaitEvent(other.stream, written, 0);
    cudaMemcpyAsync(other.data, s.data, 256, cudaMemcpyDeviceToDevice, other.stream);
    const bool seen = other.read(5) == 2.0f;
    cudaEventDestroy(written);
    return seen != waits;
}

static int late_copy(void)
{
    Setting s(64);
    float value = 7.0f;
    cudaMemcpyAsync(&value, s.data + 3, sizeof value, cudaMemcpyDeviceToHost, s.stream);
    const bool early = value != 7.0f || cudaStreamQuery(s.stream) != cudaErrorNotReady;
    cudaGetLastError();
    return early || cudaStreamQuery(s.stream) != cudaSuccess || value != 3.0f;
}

/* Waiting for an event is not waiting for what came after it. */
static int early_event(void)
{
    Setting s(64);
    float first = 0.0f, second = 0.0f;
    cudaEvent_t event;
    cudaEventCreateWithFlags(&event, cudaEventDisableTiming);
    cudaMemcpyAsync(&first, s.data + 1, sizeof first, cudaMemcpyDeviceToHost, s.stream);
    cudaEventRecord(event, s.stream);
    cudaMemcpyAsync(&second, s.data + 2, sizeof second, cudaMemcpyDeviceToHost, s.stream);
    cudaEventSynchronize(event);
    const bool right = first == 1.0f && second == 0.0f;
    cudaStreamSynchronize(s.stream);
    cudaEventDestroy(event);
    return !right || second != 2.0f;
}

/* The source of a copy belongs to the copy until something has waited for it. */
static int late_source(void)
{
    Setting s(64);
    float value = 7.0f;
    cudaMemcpyAsync(s.data, &value, sizeof value, cudaMemcpyHostToDevice, s.stream);
    value = 8.0f;
    return s.read(0) != 8.0f;
}

static int copy_2d(void)
{
    Setting s(64);
    float *host = nullptr;
    cudaMallocHost(&host, 24 * sizeof *host);
    for (int i = 0; i < 24; i++)
        host[i] = -1.0f;
    cudaMemcpy2DAsync(host, 6 * sizeof *host, s.data + 2, 10 * sizeof *host, 5 * sizeof *host, 4,
                      cudaMemcpyDefault, s.stream);
    cudaStreamSynchronize(s.stream);
    int wrong = 0;
    for (int i = 0; i < 24; i++)
        wrong += host[i] != (i % 6 == 5 ? -1.0f : static_cast<float>(i / 6 * 10 + 2 + i % 6));
    cudaFreeHost(host);
    return wrong;
}

static int wrong_side(void)
{
    Setting s(64);
    float host = 0.0f;
    return cudaMemcpyAsync(&host, &host, sizeof host, cudaMemcpyHostToDevice, s.stream);
}

static int pointers(void)
{
    Setting s(64);
    void *host = nullptr;
    cudaPointerAttributes device, pinned, other;
    cudaMallocHost(&host, 64);
    cudaPointerGetAttributes(&device, s.data + 3);
    cudaPointerGetAttributes(&pinned, host);
    cudaPointerGetAttributes(&other, &host);
    cudaFreeHost(host);
    return device.type != cudaMemoryTypeDevice || device.device != 0 ||
           pinned.type != cudaMemoryTypeHost || other.type != cudaMemoryTypeUnregistered ||
           cudaFree(s.data + 1) != cudaErrorInvalidValue;
}

static int devices(void)
{
    int count = -1;
    setenv("EQI_CUDA_HOST_DEVICES", "0", 1);
    if (cudaGetDeviceCount(&count) != cudaErrorNoDevice || count != 0 ||
        cudaSetDevice(0) != cudaErrorNoDevice)
        return 1;
    setenv("EQI_CUDA_HOST_DEVICES", "2", 1);
    cudaGetLastError();
    Setting s(64);
    if (cudaGetDeviceCount(&count) || count != 2 || cudaSetDevice(2) != cudaErrorInvalidDevice ||
        cudaSetDevice(1))
        return 1;
    cudaGetLastError();
    Setting other(64);
    int index = -1;
    cudaStreamGetDevice(other.stream, &index);
    EQI_LAUNCH(eqi_plant_increment, 1, 64, 0, other.stream, other.data);
    eqi_host::launch("increment", "", eqi_plant_increment, 1, 64, 0, s.stream, s.data);
    return index != 1 || cudaGetLastError() != cudaErrorInvalidResourceHandle;
}

/* ---- graphs ---- */

template <bool sound> static int capture(void)
{
    Setting s(96);
    cudaGraph_t graph = nullptr;
    void *other = nullptr;
    cudaStreamBeginCapture(s.stream, cudaStreamCaptureModeThreadLocal);
    EQI_LAUNCH((eqi_plant_increment), 1, 96, 0, s.stream, s.data);
    const cudaError_t allocated = sound ? cudaSuccess : cudaMalloc(&other, 64);
    const cudaError_t ended = cudaStreamEndCapture(s.stream, &graph);
    cudaGetLastError();
    if (!sound)
        return allocated == cudaErrorStreamCaptureUnsupported && !other && !graph &&
               ended == cudaErrorStreamCaptureInvalidated;
    cudaGraphExec_t exec = nullptr;
    if (ended || s.read(5) != 5.0f || cudaGraphInstantiate(&exec, graph, 0) ||
        cudaGraphDestroy(graph))
        return 1;
    for (int i = 0; i < 3; i++)
        cudaGraphLaunch(exec, s.stream);
    cudaGraphExecDestroy(exec);
    return s.read(5) != 8.0f;
}

/* Work on a second stream belongs to the capture when events fork and join it. */
template <bool joined> static int forked_capture(void)
{
    Setting s(96), other(96);
    cudaGraph_t graph = nullptr;
    cudaEvent_t fork, join;
    cudaEventCreateWithFlags(&fork, cudaEventDisableTiming);
    cudaEventCreateWithFlags(&join, cudaEventDisableTiming);
    cudaStreamBeginCapture(s.stream, cudaStreamCaptureModeGlobal);
    cudaEventRecord(fork, s.stream);
    cudaStreamWaitEvent(other.stream, fork, 0);
    EQI_LAUNCH((eqi_plant_increment), 1, 96, 0, other.stream, other.data);
    cudaEventRecord(join, other.stream);
    if (joined)
        cudaStreamWaitEvent(s.stream, join, 0);
    const cudaError_t ended = cudaStreamEndCapture(s.stream, &graph);
    cudaEventDestroy(fork);
    cudaEventDestroy(join);
    return joined ? ended != cudaSuccess || cudaGraphDestroy(graph)
                  : ended != cudaErrorStreamCaptureUnjoined;
}

/* ---- launches that must fail, and injected failures ---- */

static equinv_status launch_with(const Setting &s, dim3 grid, dim3 block, size_t shared)
{
    EQI_LAUNCH(eqi_plant_fill, grid, block, shared, s.stream, s.data, 64);
    return EQUINV_OK;
}

static equinv_status launch_count(const Setting &s, int64_t blocks)
{
    EQI_LAUNCH(eqi_plant_fill, blocks, 32, 0, s.stream, s.data, 64);
    return EQUINV_OK;
}

static int configurations(void)
{
    const Setting s(64);
    const int64_t before = eqi_host_launches();
    const bool refused = launch_with(s, 1, 1025, 0) && launch_with(s, 1, dim3(64, 32), 0) &&
                         launch_with(s, 1, 0, 0) && launch_with(s, dim3(1, 65536), 32, 0) &&
                         launch_with(s, 1, 32, 48 * 1024 + 1) &&
                         launch_count(s, int64_t(1) << 32) && launch_count(s, -1);
    const bool empty = !launch_with(s, 0, 32, 0) && !launch_with(s, dim3(1, 0), 32, 0);
    cudaFuncSetAttribute(eqi_plant_fill, cudaFuncAttributeMaxDynamicSharedMemorySize, 100 * 1024);
    const bool counted = eqi_host_launches() == before;
    return !refused || !empty || !counted || launch_with(s, 1, 32, 100 * 1024) ||
           cudaStreamSynchronize(s.stream);
}

static int injected(void)
{
    Setting s(64);
    eqi_host_inject_error(cudaErrorLaunchOutOfResources, 1, false);
    if (launch_count(s, 1) || !launch_count(s, 1) || launch_count(s, 1))
        return 1;
    eqi_host_inject_error(cudaErrorIllegalAddress, 0, true);
    if (launch_count(s, 1) || cudaStreamSynchronize(s.stream) != cudaErrorIllegalAddress ||
        cudaStreamSynchronize(s.stream) != cudaErrorIllegalAddress || !launch_count(s, 1))
        return 1;
    eqi_host_inject_error(0, 0, false);
    cudaGetLastError();
    return s.read(0) != 2.0f;
}

static int allocations_fail(void)
{
    const size_t before = eqi_host_memory_in_use();
    void *first = nullptr, *second = nullptr;
    eqi_host_fail_allocations_after(1);
    if (cudaMalloc(&first, 100) || cudaMalloc(&second, 100) != cudaErrorMemoryAllocation || second)
        return 1;
    eqi_host_fail_allocations_after(-1);
    eqi_host_set_memory_limit(before + 200);
    if (cudaMalloc(&second, 101) != cudaErrorMemoryAllocation || cudaMalloc(&second, 100))
        return 1;
    eqi_host_set_memory_limit(0);
    cudaFree(first);
    cudaFree(second);
    return eqi_host_memory_in_use() != before || reinterpret_cast<uintptr_t>(first) % 256 != 0 ||
           cudaGetLastError() != cudaErrorMemoryAllocation;
}

/* ---- cuBLAS ---- */

constexpr int rows = 5, columns = 4, inner = 7, batch = 3, gap = 2;

/* One chain over k, as the product has it; every operand 2 longer than it must be in each column. */
template <class T>
static T expected(const float *a, const float *b, const float *c, bool ta, bool tb, int i, int j)
{
    const int lda = (ta ? inner : rows) + gap, ldb = (tb ? columns : inner) + gap;
    T sum = 0;
    for (int k = 0; k < inner; k++)
        sum += static_cast<T>(a[ta ? i * lda + k : k * lda + i]) *
               static_cast<T>(b[tb ? k * ldb + j : j * ldb + k]);
    return T(0.5) * sum + T(2) * static_cast<T>(c[j * (rows + gap) + i]);
}

static int products(void)
{
    constexpr int stride = 100;
    Setting a(batch * stride), b(batch * stride), c(batch * stride);
    float host[batch * stride], result[batch * stride];
    cublasHandle_t handle = nullptr;
    const float half = 0.5f, two = 2.0f;
    int wrong = 0;
    for (int i = 0; i < batch * stride; i++)
        host[i] = 1.0f / static_cast<float>(i + 1);
    cublasCreate(&handle);
    cublasSetStream(handle, c.stream);
    for (int way = 0; way < 4; way++) {
        const bool ta = way % 2, tb = way / 2;
        cudaMemcpyAsync(a.data, host, sizeof host, cudaMemcpyHostToDevice, c.stream);
        cudaMemcpyAsync(b.data, host, sizeof host, cudaMemcpyHostToDevice, c.stream);
        cudaMemcpyAsync(c.data, host, sizeof host, cudaMemcpyHostToDevice, c.stream);
        wrong += cublasGemmStridedBatchedEx(
            handle, ta ? CUBLAS_OP_T : CUBLAS_OP_N, tb ? CUBLAS_OP_T : CUBLAS_OP_N, rows, columns,
            inner, &half, a.data, CUDA_R_32F, (ta ? inner : rows) + gap, stride, b.data, CUDA_R_32F,
            (tb ? columns : inner) + gap, stride, &two, c.data, CUDA_R_32F, rows + gap, stride,
            batch, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT);
        cudaMemcpyAsync(result, c.data, sizeof result, cudaMemcpyDeviceToHost, c.stream);
        cudaStreamSynchronize(c.stream);
        for (int n = 0; n < batch * rows * columns; n++) {
            const int p = n / (rows * columns), i = n % rows, j = n / rows % columns;
            const float *const part = host + p * stride;
            wrong += result[p * stride + j * (rows + gap) + i] !=
                     expected<float>(part, part, part, ta, tb, i, j);
        }
        wrong += result[rows] != host[rows]; /* between two columns */
    }
    cublasDestroy(handle);
    return wrong;
}

/* beta 0 does not read C, k 0 leaves nothing but zeros. */
static int product_of_nothing(void)
{
    Setting a(6), c(4);
    cublasHandle_t handle = nullptr;
    const double one = 1.0, zero = 0.0;
    double *fresh = nullptr, value = -1.0;
    cudaMalloc(&fresh, sizeof *fresh); /* NaN */
    cublasCreate(&handle);
    cublasSetStream(handle, c.stream);
    cublasStatus_t status = cublasDgemm(handle, CUBLAS_OP_N, CUBLAS_OP_N, 1, 1, 0, &one, fresh, 1,
                                        fresh, 1, &zero, fresh, 1);
    cudaMemcpyAsync(&value, fresh, sizeof value, cudaMemcpyDeviceToHost, c.stream);
    cudaStreamSynchronize(c.stream);
    if (!status && cublasDgemm(handle, CUBLAS_OP_N, CUBLAS_OP_N, -1, 1, 1, &one, fresh, 1, fresh, 1,
                               &zero, fresh, 1) != CUBLAS_STATUS_INVALID_VALUE)
        status = CUBLAS_STATUS_INTERNAL_ERROR;
    if (!status && cublasDgemm(handle, CUBLAS_OP_N, CUBLAS_OP_N, 2, 2, 2, &one, fresh, 1, fresh, 2,
                               &zero, fresh, 2) != CUBLAS_STATUS_INVALID_VALUE)
        status = CUBLAS_STATUS_INTERNAL_ERROR;
    if (!status && cublasDgemm(handle, CUBLAS_OP_N, CUBLAS_OP_N, 1, 1, 2, &one, fresh, 1, fresh, 1,
                               &zero, fresh, 1) != CUBLAS_STATUS_INVALID_VALUE)
        status = CUBLAS_STATUS_INTERNAL_ERROR;
    cublasDestroy(handle);
    cudaFree(fresh);
    return status || value != 0.0;
}

static int product_too_far(void)
{
    Setting a(6), b(6), c(4);
    cublasHandle_t handle = nullptr;
    const float one = 1.0f, zero = 0.0f;
    cublasCreate(&handle);
    cublasSetStream(handle, c.stream);
    return cublasSgemm(handle, CUBLAS_OP_N, CUBLAS_OP_T, 2, 3, 3, &one, a.data, 2, b.data, 3, &zero,
                       c.data, 2);
}

const Planted planted_host[] = {
    {"host reads device memory", host_read, "outside kernels and copies", "host code"},
    {"launch on the default stream", default_stream_launch, "on the default stream",
     "eqi_plant_fill"},
    {"fill on the default stream", default_stream_copy, "on the default stream", "cudaMemsetAsync"},
    {"copy too far", copy_too_far, "bytes behind the end", "cudaMemcpyAsync"},
    {"event between streams", two_streams<true>, nullptr, nullptr},
    {"no event between streams", two_streams<false>, nullptr, nullptr},
    {"copies are late", late_copy, nullptr, nullptr},
    {"event before a copy", early_event, nullptr, nullptr},
    {"sources are read late", late_source, nullptr, nullptr},
    {"copy in two dimensions", copy_2d, nullptr, nullptr},
    {"copy on the wrong side", wrong_side, "is no device memory", "cudaMemcpyAsync"},
    {"pointers", pointers, nullptr, nullptr},
    {"devices", devices, nullptr, nullptr},
    {"graph", capture<true>, nullptr, nullptr},
    {"allocation in a capture", capture<false>, "the capture is lost", "cudaMalloc"},
    {"forked graph", forked_capture<true>, nullptr, nullptr},
    {"fork not joined", forked_capture<false>, nullptr, nullptr},
    {"launch configurations", configurations, nullptr, nullptr},
    {"injected errors", injected, nullptr, nullptr},
    {"failing allocations", allocations_fail, nullptr, nullptr},
    {"products", products, nullptr, nullptr},
    {"product of nothing", product_of_nothing, nullptr, nullptr},
    {"product too far", product_too_far, "is not inside its device memory", "cublasSgemm"},
};
const int planted_host_count = sizeof planted_host / sizeof *planted_host;
