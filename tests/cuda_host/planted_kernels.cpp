/* Faults inside kernels. A template argument says whether the fault is there, or how far it goes. */
#include "tests/cuda_host/planted.h"

#include <initializer_list>

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

/* One thread leaves a loop that the others go on with. */
template <bool sound> __global__ void eqi_plant_left_loop(float *data)
{
    for (int i = 0; i < 3; i++) {
        __syncthreads();
        if (!sound && i == 1 && threadIdx.x == 40)
            return;
    }
    data[threadIdx.x] = 1.0f;
}

template <bool sound> static int left_loop(void)
{
    Setting s(64);
    EQI_LAUNCH((eqi_plant_left_loop<sound>), 1, 64, 0, s.stream, s.data);
    return s.read(40) != 1.0f;
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

/* What -fsanitize=undefined adds: plain vector access, and an array's own bounds. */
#if defined(EQI_HOST_UBSAN) && !defined(PLANTED_ASAN)
__global__ void eqi_plant_plain_float4(float *data)
{
    data[0] = reinterpret_cast<const float4 *>(data + 1)[threadIdx.x].y;
}

static int plain_misaligned(void)
{
    Setting s(256);
    EQI_LAUNCH(eqi_plant_plain_float4, 1, 32, 0, s.stream, s.data);
    return s.read(0) != 0.0f;
}

__global__ void eqi_plant_bounds(float *data)
{
    EQI_SHARED(float, row, 32);
    EQI_SHARED(float, next, 32);
    next[threadIdx.x] = row[threadIdx.x] = data[threadIdx.x];
    __syncthreads();
    data[threadIdx.x] = row[threadIdx.x + 40] - next[threadIdx.x];
}

static int bounds(void)
{
    Setting s(32);
    EQI_LAUNCH(eqi_plant_bounds, 1, 32, 0, s.stream, s.data);
    return s.read(0) != 0.0f;
}
#endif

/* ---- local arrays ---- */

template <int count> __global__ void eqi_plant_local_array(float *data)
{
    volatile float local[count];
    for (int i = 0; i < count; i += 256)
        local[i] = data[threadIdx.x];
    __syncthreads();
    data[threadIdx.x] = local[0];
}

template <int count> static int local_array(void)
{
    Setting s(32);
    EQI_LAUNCH((eqi_plant_local_array<count>), 1, 32, 0, s.stream, s.data);
    return s.read(31) != 31.0f;
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

template <bool sound> __global__ void eqi_plant_masks(float *data)
{
    const unsigned mask = sound || threadIdx.x != 5 ? 0xffffffffu : 0xffffffbfu;
    data[threadIdx.x] = static_cast<float>(__ballot_sync(mask, 1));
}

template <bool sound> static int masks(void)
{
    Setting s(32);
    EQI_LAUNCH((eqi_plant_masks<sound>), 1, 32, 0, s.stream, s.data);
    return s.read(0) != 4294967296.0f;
}

__global__ void eqi_plant_all_warp_calls(float *data, int *votes)
{
    const unsigned all = 0xffffffffu;
    const int lane = static_cast<int>(threadIdx.x);
    const double third = __shfl_sync(all, lane / 2.0, lane % 4, 8);
    const int64_t up = __shfl_up_sync(all, static_cast<int64_t>(lane), 3, 8);
    const unsigned down = __shfl_down_sync(all, threadIdx.x, 3u, 16);
    const int crossed = __shfl_xor_sync(all, lane, 5);
    const bool right = third == (lane / 8 * 8 + lane % 4) / 2.0 &&
                       up == (lane % 8 < 3 ? lane : lane - 3) &&
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

/* The sum of floats in the order in which blocks come. */
__global__ void eqi_plant_float_sum(float *data)
{
    if (threadIdx.x == 0 && blockIdx.x > 0)
        atomicAdd(data, 1.0f / data[blockIdx.x]);
}

static int float_sum(void)
{
    Setting s(64);
    EQI_LAUNCH(eqi_plant_float_sum, 64, 32, 0, s.stream, s.data);
    return s.read(0) < 4.0f;
}

/* Blocks meet through an integer that counts them; the last one finishes, whichever it is. */
__global__ void eqi_plant_ticket(float *data, unsigned *tickets, float *sum)
{
    EQI_SHARED(bool, last, 1);
    if (threadIdx.x == 0) {
        data[blockIdx.x] *= 2.0f;
        __threadfence();
        last[0] = atomicAdd(tickets, 1u) == gridDim.x - 1;
    }
    __syncthreads();
    if (last[0] && threadIdx.x == 0) {
        *sum = 0.0f;
        for (unsigned i = 0; i < gridDim.x; i++)
            *sum += data[i];
    }
}

static int ticket(void)
{
    Setting s(64), sum(1);
    unsigned *tickets = nullptr;
    cudaMalloc(&tickets, sizeof *tickets);
    cudaMemsetAsync(tickets, 0, sizeof *tickets, s.stream);
    EQI_LAUNCH(eqi_plant_ticket, 64, 64, 0, s.stream, s.data, tickets, sum.data);
    cudaFree(tickets);
    return sum.read(0) != 63.0f * 64.0f;
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

const Planted planted_kernels[] = {
    {"sound block sum", block_sum<true>, nullptr, nullptr},
    {"missing barrier", block_sum<false>, "depends on the order", "eqi_plant_block_sum"},
    {"sound ring", rotate<true>, nullptr, nullptr},
    {"missing second barrier", rotate<false>, "depends on the order", "eqi_plant_rotate"},
    {"sound barrier", skipped_barrier<true>, nullptr, nullptr},
    {"skipped barrier", skipped_barrier<false>, "has returned", "eqi_plant_skipped_barrier"},
    {"sound loop", left_loop<true>, nullptr, nullptr},
    {"loop that one thread leaves", left_loop<false>, "thread 40 has returned",
     "eqi_plant_left_loop"},
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
#if defined(EQI_HOST_UBSAN) && !defined(PLANTED_ASAN)
    {"plain misaligned float4", plain_misaligned, "stopped by a sanitizer",
     "eqi_plant_plain_float4"},
    {"bounds of a shared array", bounds, "stopped by a sanitizer", "eqi_plant_bounds"},
#endif
    {"sound local array", local_array<1024>, nullptr, nullptr},
    {"local array too large", local_array<120000>, "stack overflow", "eqi_plant_local_array"},
    {"sound shuffle", shuffle<0xffffffffu>, nullptr, nullptr},
    {"wrong lane", shuffle<0x0000ffffu>, "wrong lane", "eqi_plant_shuffle"},
    {"sound shuffle of all lanes", divergent<true>, nullptr, nullptr},
    {"divergent shuffle", divergent<false>, "threads do not meet", "eqi_plant_divergent"},
    {"sound masks", masks<true>, nullptr, nullptr},
    {"different masks", masks<false>, "threads do not meet", "eqi_plant_masks"},
    {"warp operations", all_warp_calls, nullptr, nullptr},
    {"sound blocks", last_block<true>, nullptr, nullptr},
    {"order of blocks", last_block<false>, "depends on the order", "eqi_plant_last_block"},
    {"order of a float sum", float_sum, "depends on the order", "eqi_plant_float_sum"},
    {"sound ticket", ticket, nullptr, nullptr},
    {"every thread once", every_thread_once, nullptr, nullptr},
};
const int planted_kernels_count = sizeof planted_kernels / sizeof *planted_kernels;
