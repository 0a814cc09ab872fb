/* The planted faults. A template argument says whether the fault is there. */
#include "tests/cuda_host/planted.h"
#include "tests/cuda_host/cuda_host.h"
#include "tests/cuda_host/faults.h"

#include <initializer_list>
#include <stdlib.h>

#include "equinv/equinv.h"

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED_ADDRESS 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED_ADDRESS 1
#endif
#endif
#ifdef SANITIZED_ADDRESS
#define SAYS(plain) "stopped by a sanitizer"
#else
#define SAYS(plain) plain
#endif

#define EQI_TRY(call)                                                                              \
    do {                                                                                           \
        const equinv_status status_ = (call);                                                      \
        if (status_ != EQUINV_OK)                                                                  \
            return status_;                                                                        \
    } while (0)

static equinv_status eqi_launched(const char *)
{
    return cudaGetLastError() == cudaSuccess ? EQUINV_OK : EQUINV_ERR_BACKEND;
}

/* A stream and device memory of floats 0, 1, 2, ... */
struct Setting {
    cudaStream_t stream;
    float *data;
    int count;
    explicit Setting(int n) : stream(nullptr), data(nullptr), count(n)
    {
        float *const host = static_cast<float *>(malloc(sizeof(float) * static_cast<size_t>(n)));
        for (int i = 0; i < n; i++)
            host[i] = static_cast<float>(i);
        cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
        cudaMalloc(&data, sizeof(float) * static_cast<size_t>(n));
        cudaMemcpyAsync(data, host, sizeof(float) * static_cast<size_t>(n), cudaMemcpyHostToDevice,
                        stream);
        cudaStreamSynchronize(stream);
        free(host);
    }
    ~Setting()
    {
        cudaStreamSynchronize(stream);
        cudaFree(data);
        cudaStreamDestroy(stream);
    }
    float read(int index)
    {
        float value = 0.0f;
        cudaMemcpyAsync(&value, data + index, sizeof value, cudaMemcpyDeviceToHost, stream);
        return cudaStreamSynchronize(stream) ? -1.0f : value;
    }
};

/* ---- barriers ---- */

template <bool sound> __global__ void eqi_plant_block_sum(float *data)
{
    EQI_SHARED(float, part, 8);
    float x = data[threadIdx.x];
    for (int lanes = 16; lanes > 0; lanes /= 2)
        x += __shfl_xor_sync(0xffffffffu, x, lanes);
    if (threadIdx.x % 32 == 0)
        part[threadIdx.x / 32] = x;
    if (sound)
        __syncthreads();
    if (threadIdx.x == 0) {
        float sum = 0.0f;
        for (int i = 0; i < 8; i++)
            sum += part[i];
        data[0] = sum;
    }
}

template <bool sound> static int block_sum(void)
{
    Setting s(256);
    EQI_LAUNCH((eqi_plant_block_sum<sound>), 1, 256, 0, s.stream, s.data);
    return s.read(0) != 255.0f * 128.0f;
}

/* Shared memory is written again while other threads may still read it. */
template <bool sound> __global__ void eqi_plant_rotate(float *data)
{
    EQI_DYNAMIC_SHARED(float, ring);
    float x = data[threadIdx.x];
    for (int i = 0; i < 3; i++) {
        ring[threadIdx.x] = x;
        __syncthreads();
        x = ring[(threadIdx.x + 1) % blockDim.x];
        if (sound)
            __syncthreads();
    }
    data[threadIdx.x] = x;
}

template <bool sound> static int rotate(void)
{
    Setting s(128);
    EQI_LAUNCH((eqi_plant_rotate<sound>), 1, 128, 128 * sizeof(float), s.stream, s.data);
    return s.read(0) != 3.0f;
}

template <bool sound> __global__ void eqi_plant_skipped_barrier(float *data)
{
    if (sound || threadIdx.x < 100)
        __syncthreads();
    data[threadIdx.x] = 1.0f;
}

template <bool sound> static int skipped_barrier(void)
{
    Setting s(128);
    EQI_LAUNCH((eqi_plant_skipped_barrier<sound>), 1, 128, 0, s.stream, s.data);
    return s.read(127) != 1.0f;
}

__global__ void eqi_plant_two_barriers(float *data)
{
    if (threadIdx.x < 32)
        __syncthreads();
    else
        __syncthreads();
    data[threadIdx.x] = 1.0f;
}

static int two_barriers(void)
{
    Setting s(64);
    EQI_LAUNCH(eqi_plant_two_barriers, 1, 64, 0, s.stream, s.data);
    return s.read(0) != 1.0f;
}

/* ---- one element too far ---- */

template <int reach> __global__ void eqi_plant_shared_write(float *data)
{
    EQI_SHARED(float, row, 32);
    float *const elements = row;
    row[threadIdx.x] = 0.0f;
    elements[static_cast<int>(threadIdx.x) + reach] = data[threadIdx.x];
    data[threadIdx.x] = row[threadIdx.x];
}

template <int reach> static int shared_write(void)
{
    Setting s(32);
    EQI_LAUNCH((eqi_plant_shared_write<reach>), 1, 32, 0, s.stream, s.data);
    return s.read(31) != 31.0f;
}

template <int reach> __global__ void eqi_plant_shared_read(float *data)
{
    EQI_SHARED(float, row, 32);
    const float *const elements = row;
    row[threadIdx.x] = data[threadIdx.x];
    __syncthreads();
    data[threadIdx.x] = elements[static_cast<int>(threadIdx.x) + reach];
}

template <int reach> static int shared_read(void)
{
    Setting s(32);
    EQI_LAUNCH((eqi_plant_shared_read<reach>), 1, 32, 0, s.stream, s.data);
    return s.read(31) != 31.0f;
}

__global__ void eqi_plant_global_write(float *data, int64_t count)
{
    const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (i < count)
        data[i] = 2.0f;
}

template <int reach, int count> static int global_write(void)
{
    Setting s(count);
    EQI_LAUNCH(eqi_plant_global_write, 8, 256, 0, s.stream, s.data, count + reach);
    return s.read(count - 1) != 2.0f;
}

__global__ void eqi_plant_global_read(float *data, int64_t count)
{
    if (threadIdx.x == 0)
        data[0] = data[count - 1];
}

template <int reach, int count> static int global_read(void)
{
    Setting s(count);
    EQI_LAUNCH(eqi_plant_global_read, 1, 32, 0, s.stream, s.data, count + reach);
    return s.read(0) != static_cast<float>(count - 1);
}

static int released_memory(void)
{
    Setting s(64);
    float *other = nullptr;
    cudaMalloc(&other, 256);
    cudaFree(other);
    EQI_LAUNCH(eqi_plant_global_write, 1, 64, 0, s.stream, other, 64);
    return s.read(0) != 0.0f;
}

template <int reach> __global__ void eqi_plant_float4(float *data)
{
    const float4 v = eqi_load_vector<float4>(data + 4 * threadIdx.x + reach);
    if (threadIdx.x == 0)
        eqi_store_vector<float4>(data, v);
}

template <int reach> static int misaligned(void)
{
    Setting s(132);
    EQI_LAUNCH((eqi_plant_float4<reach>), 1, 32, 0, s.stream, s.data);
    return s.read(3) != 3.0f;
}

/* An array of scalars in shared memory has the alignment of a scalar. */
template <class T> __global__ void eqi_plant_shared_float4(float *data)
{
    EQI_SHARED(T, row, 64 / sizeof(T));
    float *const elements = reinterpret_cast<float *>(row);
    if (threadIdx.x == 0)
        eqi_store_vector<float4>(elements, make_float4(1.0f, 2.0f, 3.0f, 4.0f));
    __syncthreads();
    data[threadIdx.x] = elements[threadIdx.x % 4];
}

template <class T> static int shared_misaligned(void)
{
    Setting s(32);
    EQI_LAUNCH((eqi_plant_shared_float4<T>), 1, 32, 0, s.stream, s.data);
    return s.read(3) != 4.0f;
}

/* ---- warps ---- */

template <unsigned mask> __global__ void eqi_plant_shuffle(float *data)
{
    float x = data[threadIdx.x];
    if (mask >> threadIdx.x & 1)
        x = __shfl_sync(mask, x, 20);
    data[threadIdx.x] = x;
}

template <unsigned mask> static int shuffle(void)
{
    Setting s(32);
    EQI_LAUNCH((eqi_plant_shuffle<mask>), 1, 32, 0, s.stream, s.data);
    return s.read(0) != 20.0f;
}

template <bool sound> __global__ void eqi_plant_divergent(float *data)
{
    float x = data[threadIdx.x];
    if (sound || threadIdx.x < 16)
        x += __shfl_down_sync(0xffffffffu, x, 1);
    data[threadIdx.x] = x;
}

template <bool sound> static int divergent(void)
{
    Setting s(32);
    EQI_LAUNCH((eqi_plant_divergent<sound>), 1, 32, 0, s.stream, s.data);
    return s.read(0) != 1.0f;
}

__global__ void eqi_plant_all_warp_calls(float *data, int *votes)
{
    const unsigned all = 0xffffffffu;
    const int lane = static_cast<int>(threadIdx.x);
    const double third = __shfl_sync(all, lane / 2.0, lane % 4, 8);
    const int64_t up = __shfl_up_sync(all, static_cast<int64_t>(lane), 3);
    const unsigned down = __shfl_down_sync(all, threadIdx.x, 3u, 16);
    const int crossed = __shfl_xor_sync(all, lane, 5);
    const bool right = third == (lane / 8 * 8 + lane % 4) / 2.0 &&
                       up == (lane < 3 ? lane : lane - 3) &&
                       down == threadIdx.x + (lane % 16 < 13 ? 3u : 0u) && crossed == (lane ^ 5) &&
                       __ballot_sync(all, lane % 2) == 0xaaaaaaaau && __any_sync(all, lane == 7) &&
                       !__all_sync(all, lane == 7) && __all_sync(all, 2);
    __syncwarp();
    atomicAdd(votes, right);
    data[lane] = static_cast<float>(__popc(__ballot_sync(all, right)));
}

static int all_warp_calls(void)
{
    Setting s(32);
    int *votes = nullptr;
    cudaMalloc(&votes, sizeof *votes);
    cudaMemsetAsync(votes, 0, sizeof *votes, s.stream);
    EQI_LAUNCH(eqi_plant_all_warp_calls, 1, 32, 0, s.stream, s.data, votes);
    int count = 0;
    cudaMemcpyAsync(&count, votes, sizeof count, cudaMemcpyDeviceToHost, s.stream);
    const bool right = s.read(5) == 32.0f && count == 32;
    cudaFree(votes);
    return !right;
}

/* ---- blocks ---- */

template <bool sound> __global__ void eqi_plant_last_block(float *data)
{
    if (threadIdx.x == 0)
        data[sound ? blockIdx.x : 0] = static_cast<float>(blockIdx.x);
}

template <bool sound> static int last_block(void)
{
    Setting s(64);
    EQI_LAUNCH((eqi_plant_last_block<sound>), 64, 32, 0, s.stream, s.data);
    return s.read(0) != 0.0f;
}

__global__ void eqi_plant_index(float *data)
{
    const unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
    const unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
    data[block * blockDim.x * blockDim.y * blockDim.z + thread] += 1.0f;
}

static int every_thread_once(void)
{
    const dim3 grid(3, 4, 5), block(8, 3, 4);
    const int count = 60 * 96;
    Setting s(count);
    EQI_LAUNCH(eqi_plant_index, grid, block, 0, s.stream, s.data);
    for (const int i : {0, 95, 96, 1000, count - 1})
        if (s.read(i) != static_cast<float>(i + 1))
            return 1;
    return 0;
}

/* ---- host code ---- */

static int host_read(void)
{
    const Setting s(64);
    volatile const float *const data = s.data;
    return data[3] != 3.0f;
}

static int default_stream_launch(void)
{
    Setting s(64);
    EQI_LAUNCH(eqi_plant_global_write, 1, 64, 0, cudaStream_t(nullptr), s.data, 64);
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
    EQI_LAUNCH(eqi_plant_global_write, 1, 64, 0, s.stream, s.data, 64);
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

/* ---- graphs ---- */

template <bool sound> static int capture(void)
{
    Setting s(96);
    cudaGraph_t graph = nullptr;
    void *other = nullptr;
    cudaStreamBeginCapture(s.stream, cudaStreamCaptureModeThreadLocal);
    EQI_LAUNCH((eqi_plant_index), 1, 96, 0, s.stream, s.data);
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
    EQI_LAUNCH((eqi_plant_index), 1, 96, 0, other.stream, other.data);
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
    EQI_LAUNCH(eqi_plant_global_write, grid, block, shared, s.stream, s.data, 64);
    return EQUINV_OK;
}

static equinv_status launch_count(const Setting &s, int64_t blocks)
{
    EQI_LAUNCH(eqi_plant_global_write, blocks, 32, 0, s.stream, s.data, 64);
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
    cudaFuncSetAttribute(eqi_plant_global_write, cudaFuncAttributeMaxDynamicSharedMemorySize,
                         100 * 1024);
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

template <int columns> static int product(void)
{
    Setting a(6), b(6), c(4);
    cublasHandle_t handle = nullptr;
    const float one = 1.0f, zero = 0.0f;
    cublasCreate(&handle);
    cublasSetStream(handle, c.stream);
    /* A = [0 2 4; 1 3 5], B = A^T as stored: C = A A^T */
    const cublasStatus_t status = cublasSgemm(handle, CUBLAS_OP_N, CUBLAS_OP_T, 2, columns, 3, &one,
                                              a.data, 2, b.data, columns, &zero, c.data, 2);
    const cublasStatus_t bad = cublasSgemm(handle, CUBLAS_OP_N, CUBLAS_OP_T, 2, 2, 3, &one, a.data,
                                           1, b.data, 2, &zero, c.data, 2);
    const bool right =
        c.read(0) == 20.0f && c.read(1) == 26.0f && c.read(2) == 26.0f && c.read(3) == 35.0f;
    cublasDestroy(handle);
    return status || bad != CUBLAS_STATUS_INVALID_VALUE || !right;
}

const Planted planted[] = {
    {"sound block sum", block_sum<true>, nullptr, nullptr},
    {"missing barrier", block_sum<false>, "depends on the order", "eqi_plant_block_sum"},
    {"sound ring", rotate<true>, nullptr, nullptr},
    {"missing second barrier", rotate<false>, "depends on the order", "eqi_plant_rotate"},
    {"sound barrier", skipped_barrier<true>, nullptr, nullptr},
    {"skipped barrier", skipped_barrier<false>, "has returned", "eqi_plant_skipped_barrier"},
    {"two barriers", two_barriers, "threads do not meet", "eqi_plant_two_barriers"},
    {"sound shared write", shared_write<0>, nullptr, nullptr},
    {"shared write behind", shared_write<1>, SAYS("write behind the shared array 'row'"),
     "eqi_plant_shared_write"},
    {"shared write before", shared_write<-1>, SAYS("write before the shared array 'row'"),
     "eqi_plant_shared_write"},
    {"sound shared read", shared_read<0>, nullptr, nullptr},
    {"shared read behind", shared_read<1>, SAYS("depends on the order"), "eqi_plant_shared_read"},
    {"sound global write", global_write<0, 1000>, nullptr, nullptr},
    {"global write behind", global_write<1, 1000>, SAYS("write 0 bytes behind the end"),
     "eqi_plant_global_write"},
    {"global write on the closed page", global_write<1, 1024>, "access 0 bytes behind the end",
     "eqi_plant_global_write"},
    {"sound global read", global_read<0, 1000>, nullptr, nullptr},
    {"global read behind", global_read<1, 1000>, SAYS("depends on the order"),
     "eqi_plant_global_read"},
    {"global read on the closed page", global_read<1, 1024>, "access 0 bytes behind the end",
     "eqi_plant_global_read"},
    {"global read before", global_read<-1000, 1000>, "access 4 bytes before",
     "eqi_plant_global_read"},
    {"released memory", released_memory, "was released", "eqi_plant_global_write"},
    {"sound float4", misaligned<0>, nullptr, nullptr},
    {"misaligned float4", misaligned<1>, "misaligned", "eqi_plant_float4"},
    {"sound shared float4", shared_misaligned<float4>, nullptr, nullptr},
    {"misaligned shared float4", shared_misaligned<float>, "misaligned", "eqi_plant_shared_float4"},
    {"sound shuffle", shuffle<0xffffffffu>, nullptr, nullptr},
    {"wrong lane", shuffle<0x0000ffffu>, "wrong lane", "eqi_plant_shuffle"},
    {"sound shuffle of all lanes", divergent<true>, nullptr, nullptr},
    {"divergent shuffle", divergent<false>, "threads do not meet", "eqi_plant_divergent"},
    {"warp operations", all_warp_calls, nullptr, nullptr},
    {"sound blocks", last_block<true>, nullptr, nullptr},
    {"order of blocks", last_block<false>, "depends on the order", "eqi_plant_last_block"},
    {"every thread once", every_thread_once, nullptr, nullptr},
    {"host reads device memory", host_read, "outside kernels and copies", "host code"},
    {"launch on the default stream", default_stream_launch, "on the default stream",
     "eqi_plant_global_write"},
    {"fill on the default stream", default_stream_copy, "on the default stream", "cudaMemsetAsync"},
    {"copy too far", copy_too_far, "bytes behind the end", "cudaMemcpyAsync"},
    {"event between streams", two_streams<true>, nullptr, nullptr},
    {"no event between streams", two_streams<false>, nullptr, nullptr},
    {"copies are late", late_copy, nullptr, nullptr},
    {"graph", capture<true>, nullptr, nullptr},
    {"allocation in a capture", capture<false>, "the capture is lost", "cudaMalloc"},
    {"forked graph", forked_capture<true>, nullptr, nullptr},
    {"fork not joined", forked_capture<false>, nullptr, nullptr},
    {"launch configurations", configurations, nullptr, nullptr},
    {"injected errors", injected, nullptr, nullptr},
    {"failing allocations", allocations_fail, nullptr, nullptr},
    {"product", product<2>, nullptr, nullptr},
    {"product too far", product<3>, "is not inside its device memory", "cublasSgemm"},
};
const int planted_count = sizeof planted / sizeof *planted;
