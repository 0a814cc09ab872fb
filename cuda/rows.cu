/*
 * Projections of S: SORT and PROJECT_SORT of up to 64 rows, by counting for each value how many stand
 * before it (rank.cuh).
 *
 * A list is one channel, or one template's inner products, of one sample. A block has 32 lists, lane l
 * list l; its warps share the rows. Values are in shared memory as [row or place][list], so that every
 * warp reads without conflicts and results leave the block in the order of dst.
 */
#include "cuda/divide.cuh"
#include "cuda/memory.cuh"
#include "cuda/rank.cuh"
#include "cuda/rows.cuh"

enum {
    LISTS = 32,
    WARPS = 8,
    SHARE = EQI_CUDA_MOST_ROWS / WARPS, /* rows of a thread */
    PITCH = LISTS + 1,
    NUMBERS = EQI_CUDA_MOST_ROWS * PITCH,
    CHANNELS = 64, /* added in one chain */
    NONE = 255,
    BLOCK = 256,
};

template <typename T> struct rows_call {
    int64_t batch, lists; /* of a sample */
    eqi_divisor by_lists;
    int32_t rows;
    int64_t channels;
    T *z; /* the latents, or their gradient */
    int64_t z_sample, z_row, z_channel;
    const void *mask; /* NULL: all rows are there */
    bool mask_of_bytes;
    int64_t mask_sample, mask_row;
    T *dst; /* or its gradient */
    int64_t dst_sample, dst_place, dst_list;
    int32_t *saved; /* NULL in forward: not wanted */
    int64_t saved_place, saved_list;
    bool places_first; /* places are next to each other in dst, not lists */
    const T *w;        /* PROJECT_SORT: forward [channels, K], backward [K, channels]; else NULL */
    double scale, fill;
    bool accumulate;

    __device__ __forceinline__ bool is_there(int64_t b, int32_t row) const
    {
        const int64_t at = b * mask_sample + row * mask_row;
        return !mask || (mask_of_bytes ? ((const uint8_t *)mask)[at] != 0
                                       : ((const int32_t *)mask)[at] != 0);
    }

    __device__ __forceinline__ int64_t saved_at(int64_t b, int64_t list, int32_t place) const
    {
        return b * lists * rows + place * saved_place + list * saved_list;
    }

    __device__ __forceinline__ int64_t dst_at(int64_t b, int64_t list, int32_t place) const
    {
        return b * dst_sample + place * dst_place + list * dst_list;
    }

    /* Entry i of a block's table [rows, 32] in the order of dst; `from` is the block's first list. */
    __device__ __forceinline__ bool entry(int64_t from, int32_t i, int32_t *lane, int32_t *place,
                                          int64_t *b, int64_t *list) const
    {
        *lane = places_first ? i / rows : i % LISTS;
        *place = places_first ? i % rows : i / LISTS;
        *b = by_lists.quotient(from + *lane);
        *list = from + *lane - *b * lists;
        return *b < batch;
    }

    __device__ __forceinline__ void put(int64_t b, int32_t row, int64_t channel, T value) const
    {
        T *const to = z + b * z_sample + row * z_row + channel * z_channel;
        *to = accumulate ? *to + value : value;
    }
};

/* Sorted values of the thread's rows warp, warp + warps, .. of one list, where `there` says so. */
template <typename T>
__device__ __forceinline__ void load_keys(const rows_call<T> &c, int64_t b, int64_t list,
                                          int32_t warp, int32_t warps, const bool (&there)[SHARE],
                                          T (&key)[SHARE])
{
    const T *const z = c.z + b * c.z_sample + warp * c.z_row;
    if (!c.w) {
        for (int s = 0; s < SHARE; s++)
            if (there[s])
                key[s] = z[s * warps * c.z_row + list * c.z_channel];
        return;
    }
    T sum[SHARE] = {};
    for (int64_t first = 0; first < c.channels; first += CHANNELS) {
        const int64_t end = c.channels - first < CHANNELS ? c.channels : first + CHANNELS;
        T part[SHARE] = {};
        for (int64_t i = first; i < end; i++) {
            const T w = c.w[i * c.lists + list];
            for (int s = 0; s < SHARE; s++)
                if (there[s])
                    part[s] = fma(w, z[s * warps * c.z_row + i * c.z_channel], part[s]);
        }
        for (int s = 0; s < SHARE; s++)
            sum[s] += part[s];
    }
    for (int s = 0; s < SHARE; s++)
        if (there[s])
            key[s] = T(double(sum[s]) * c.scale);
}

template <typename T> __global__ void __launch_bounds__(BLOCK) eqi_rows_forward(rows_call<T> c)
{
    EQI_SHARED(eqi_code<T>, codes, NUMBERS);
    EQI_SHARED(T, sorted, NUMBERS);
    EQI_SHARED(uint8_t, origin, NUMBERS);
    const int32_t lane = (int32_t)threadIdx.x % LISTS, warp = (int32_t)threadIdx.x / LISTS;
    const int32_t warps = (int32_t)blockDim.x / LISTS;
    for (int64_t from = int64_t(blockIdx.x) * LISTS; from < c.batch * c.lists;
         from += int64_t(gridDim.x) * LISTS) {
        const int64_t b = c.by_lists.quotient(from + lane), list = from + lane - b * c.lists;
        bool there[SHARE];
        T key[SHARE];
        eqi_code<T> code[SHARE];
        int32_t place[SHARE] = {};
        for (int s = 0; s < SHARE; s++) {
            const int32_t row = warp + s * warps;
            there[s] = row < c.rows && b < c.batch && c.is_there(b, row);
            key[s] = T(c.fill);
        }
        load_keys(c, b, list, warp, warps, there, key);
        for (int s = 0; s < SHARE; s++) {
            code[s] = there[s] ? eqi_sort_code(key[s]) : eqi_absent_code<T>();
            if (warp + s * warps < c.rows)
                codes[(warp + s * warps) * PITCH + lane] = code[s];
        }
        __syncthreads();
        for (int32_t i = 0; i < c.rows; i++) {
            const eqi_code<T> other = codes[i * PITCH + lane];
            for (int s = 0; s < SHARE; s++)
                place[s] += eqi_stands_before(other, i, code[s], warp + s * warps);
        }
        for (int s = 0; s < SHARE; s++) {
            const int32_t row = warp + s * warps;
            if (row >= c.rows)
                continue;
            sorted[place[s] * PITCH + lane] = key[s];
            origin[place[s] * PITCH + lane] = uint8_t(there[s] ? row : int32_t(NONE));
        }
        __syncthreads();
        for (int32_t i = (int32_t)threadIdx.x; i < c.rows * LISTS; i += (int32_t)blockDim.x) {
            int32_t l, to;
            int64_t sample, column;
            if (!c.entry(from, i, &l, &to, &sample, &column))
                continue;
            c.dst[c.dst_at(sample, column, to)] = sorted[to * PITCH + l];
            const int32_t row = origin[to * PITCH + l];
            if (c.saved)
                c.saved[c.saved_at(sample, column, to)] = row == NONE ? -1 : row;
        }
        __syncthreads();
    }
}

template <typename T>
__global__ void __launch_bounds__(BLOCK) eqi_rows_sort_backward(rows_call<T> c)
{
    EQI_SHARED(uint8_t, place_of, NUMBERS);
    const int32_t thread = (int32_t)threadIdx.x, step = (int32_t)blockDim.x;
    for (int64_t from = int64_t(blockIdx.x) * LISTS; from < c.batch * c.lists;
         from += int64_t(gridDim.x) * LISTS) {
        int32_t l, i;
        int64_t b, list;
        for (int32_t e = thread; e < c.rows * LISTS; e += step)
            place_of[e / LISTS * PITCH + e % LISTS] = NONE;
        __syncthreads();
        for (int32_t e = thread; e < c.rows * LISTS; e += step)
            if (c.entry(from, e, &l, &i, &b, &list)) {
                const int32_t row = c.saved[c.saved_at(b, list, i)];
                if (row >= 0 && row < c.rows)
                    place_of[row * PITCH + l] = uint8_t(i);
            }
        __syncthreads();
        for (int32_t e = thread; e < c.rows * LISTS; e += step)
            if (c.entry(from, e, &l, &i, &b, &list)) {
                const int32_t place = place_of[i * PITCH + l];
                const bool follows = place != NONE && c.is_there(b, i);
                c.put(b, i, list, follows ? c.dst[c.dst_at(b, list, place)] : T(0));
            }
        __syncthreads();
    }
}

/* One sample and 32 channels a block: [rows, K] of gradients at their rows, times w [K, channels]. */
template <typename T>
__global__ void __launch_bounds__(BLOCK) eqi_rows_project_backward(rows_call<T> c)
{
    EQI_SHARED(T, gradient, NUMBERS); /* [row][list] of 32 lists */
    const int32_t lane = (int32_t)threadIdx.x % LISTS, warp = (int32_t)threadIdx.x / LISTS;
    const int32_t warps = (int32_t)blockDim.x / LISTS, step = (int32_t)blockDim.x;
    const int64_t across = (c.channels + LISTS - 1) / LISTS;
    for (int64_t tile = blockIdx.x; tile < c.batch * across; tile += gridDim.x) {
        const int64_t b = tile / across, channel = tile % across * LISTS + lane;
        T sum[SHARE] = {};
        for (int64_t first = 0; first < c.lists; first += LISTS) {
            const int32_t lists =
                int32_t(c.lists - first < LISTS ? c.lists - first : int64_t(LISTS));
            __syncthreads();
            for (int32_t i = (int32_t)threadIdx.x; i < c.rows * LISTS; i += step)
                gradient[i / LISTS * PITCH + i % LISTS] = 0;
            __syncthreads();
            for (int32_t i = (int32_t)threadIdx.x; i < c.rows * lists; i += step) {
                const int32_t l = i / c.rows, place = i % c.rows;
                const int32_t row = c.saved[c.saved_at(b, first + l, place)];
                if (row >= 0 && row < c.rows && c.is_there(b, row))
                    gradient[row * PITCH + l] =
                        T(double(c.dst[c.dst_at(b, first + l, place)]) * c.scale);
            }
            __syncthreads();
            T part[SHARE] = {};
            for (int32_t l = 0; channel < c.channels && l < lists; l++) {
                const T w = c.w[(first + l) * c.channels + channel];
                for (int s = 0; s < SHARE; s++)
                    if (warp + s * warps < c.rows)
                        part[s] = fma(w, gradient[(warp + s * warps) * PITCH + l], part[s]);
            }
            for (int s = 0; s < SHARE; s++)
                sum[s] += part[s];
        }
        for (int s = 0; s < SHARE; s++)
            if (channel < c.channels && warp + s * warps < c.rows)
                c.put(b, warp + s * warps, channel, sum[s]);
    }
}

/* to [channels, K] of w [K, channels]. */
template <typename T>
__global__ void eqi_rows_transpose(int64_t k, int64_t channels, const T *w, T *to)
{
    EQI_FOR_EACH(i, k * channels)
    to[i] = w[i % k * channels + i / k];
}

template <typename T>
static rows_call<T> call_of(const equinv_projection *p, const eqi_projection_call *call)
{
    const bool sort = p->desc.kind == EQUINV_PROJECT_SORT;
    const int64_t *const z = call->src.strides, *const d = call->dst.strides;
    rows_call<T> c = {};
    c.batch = call->src.shape[0];
    c.lists = sort ? p->desc.channels : p->k;
    c.by_lists = eqi_divisor_of(c.lists);
    c.rows = (int32_t)p->desc.rows;
    c.channels = p->desc.channels;
    c.z = (T *)call->src.data;
    c.z_sample = z[0], c.z_row = z[1], c.z_channel = z[2];
    if (call->masked) {
        c.mask = call->mask.data;
        c.mask_of_bytes = call->mask.dtype == EQUINV_U8;
        c.mask_sample = call->mask.strides[0], c.mask_row = call->mask.strides[1];
    }
    c.dst = (T *)call->dst.data;
    c.dst_sample = d[0], c.dst_place = d[sort ? 1 : 2], c.dst_list = d[sort ? 2 : 1];
    c.saved = (int32_t *)call->saved;
    c.saved_place = sort ? c.lists : 1, c.saved_list = sort ? 1 : c.rows;
    c.places_first = !sort;
    c.scale = p->scale;
    c.fill = p->desc.fill;
    c.accumulate = p->desc.accumulate;
    return c;
}

/* As many warps as there are rows for. */
static unsigned block_for(const equinv_projection *p)
{
    return LISTS * (unsigned)(p->desc.rows < WARPS ? p->desc.rows : int64_t(WARPS));
}

template <typename T>
static equinv_status typed_forward(const equinv_projection *p, const eqi_projection_call *call)
{
    rows_call<T> c = call_of<T>(p, call);
    c.w = (const T *)p->prepared;
    EQI_LAUNCH(eqi_rows_forward<T>, eqi_blocks(c.batch * c.lists, LISTS), block_for(p), 0,
               eqi_stream(p->ctx), c);
    return EQUINV_OK;
}

template <typename T>
static equinv_status typed_backward(const equinv_projection *p, const eqi_projection_call *call)
{
    rows_call<T> c = call_of<T>(p, call);
    if (p->desc.kind == EQUINV_PROJECT_SORT) {
        EQI_LAUNCH(eqi_rows_sort_backward<T>, eqi_blocks(c.batch * c.lists, LISTS), block_for(p), 0,
                   eqi_stream(p->ctx), c);
        return EQUINV_OK;
    }
    c.w = (const T *)p->templates.data;
    const int64_t across = (c.channels + LISTS - 1) / LISTS;
    EQI_LAUNCH(eqi_rows_project_backward<T>, eqi_blocks(c.batch * across, 1), block_for(p), 0,
               eqi_stream(p->ctx), c);
    return EQUINV_OK;
}

static equinv_status forward(const equinv_projection *p, const eqi_projection_call *call)
{
    return p->desc.dtype == EQUINV_F32 ? typed_forward<float>(p, call)
                                       : typed_forward<double>(p, call);
}

static equinv_status backward(const equinv_projection *p, const eqi_projection_call *call)
{
    return p->desc.dtype == EQUINV_F32 ? typed_backward<float>(p, call)
                                       : typed_backward<double>(p, call);
}

template <typename T> static equinv_status transpose(const equinv_projection *p, void *to)
{
    EQI_LAUNCH(eqi_rows_transpose<T>, eqi_blocks(p->k * p->desc.channels, BLOCK), BLOCK, 0,
               eqi_stream(p->ctx), p->k, p->desc.channels, (const T *)p->templates.data, (T *)to);
    EQI_CUDA_TRY(cudaStreamSynchronize(eqi_stream(p->ctx)));
    return EQUINV_OK;
}

/* The templates transposed, so that lanes read neighbours; no larger than the templates. */
static equinv_status prepare(equinv_projection *p)
{
    if (p->desc.kind == EQUINV_PROJECT_SORT)
        return EQUINV_OK;
    const bool single = p->desc.dtype == EQUINV_F32;
    const size_t size =
        (size_t)(p->k * p->desc.channels) * (single ? sizeof(float) : sizeof(double));
    void *const memory = eqi_cuda_alloc(p->ctx, size);
    EQI_CHECK(memory, NOMEM, "no memory of the device for prepared templates, %zu bytes", size);
    const equinv_status status =
        single ? transpose<float>(p, memory) : transpose<double>(p, memory);
    if (status != EQUINV_OK)
        eqi_cuda_free(p->ctx, memory);
    else
        p->prepared = memory;
    return status;
}

static void release(equinv_projection *p)
{
    eqi_cuda_free(p->ctx, p->prepared);
}

static bool scratch(const equinv_projection *p, size_t *slice, size_t *shared)
{
    (void)p;
    *slice = *shared = 0;
    return true;
}

static bool supports(const void *problem, const eqi_hardware *hardware, const char **why)
{
    const equinv_projection *const p = (const equinv_projection *)problem;
    (void)hardware;
    return eqi_require(!p->spectral, why,
                       "power, bispectrum, triple correlation and Fourier coefficients of signals "
                       "are computed on the CPU only") &&
           eqi_cuda_reduces(p, why) &&
           eqi_require(p->symmetric, why,
                       "only S has rows to sort, others need fields below 2^31 / |G| numbers") &&
           eqi_require(p->desc.rows <= EQI_CUDA_MOST_ROWS, why, "more than 64 rows");
}

const eqi_projection_implementation eqi_cuda_rows = {
    {"projection/rank", supports, NULL}, prepare, release, scratch, forward, backward, NULL,
};
