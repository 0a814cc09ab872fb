/*
 * One pass of the convolution in one kernel: patches of src are copied into shared memory a few fields at
 * a time, while those before are multiplied; each thread reads P_v(h), transforms it, multiplies it with
 * the filter and keeps dst^ of its places and fields, of which it makes dst at the end.
 *
 * Tile    a thread has `outputs` fields at one place of `images` patches, all components: 8 x 4 for C4,
 *         8 x 2 for D4, and 4 x 1 where there is too little to do for the larger one. A warp is 32 slots
 *         that follow each other, so the filter is the same number for all lanes. Warps of a block
 *         differ in the panel of outputs, in the slots, or in the fields of src that they sum
 * Layout  shared memory [field][element][row][column][image]: a tap is one offset for all lanes, at
 *         any shift a thread's numbers are one vector, and lanes are neighbours
 * Why     for each field and tap C4 has 192 multiply-adds, 24 additions of the transform and 12 vectors
 *         from shared memory (24 wavefronts of those 48 cycles, by count); nothing of P^ is stored, so
 *         there is one barrier for all taps of a field
 */
#include "cuda/async.cuh"
#include "cuda/gfourier_forms.cuh"
#include "cuda/gfourier_places.cuh"

enum {
    WARP = 32,
    BLOCK = WARP * EQI_GF_WARPS,
    BLOCKS = 3, /* on a multiprocessor */
};

typedef struct eqi_gf_maps {
    eqi_gf_map src, dst;
    const float *filter, *bias; /* bias NULL: none */
    int64_t bias_stride;
} eqi_gf_maps;

template <int N> struct alignas(N * sizeof(float)) eqi_gf_vector {
    float v[N];
};

template <int N>
struct alignas(N * sizeof(int32_t) < 16 ? N * sizeof(int32_t) : 16) eqi_gf_offsets {
    int32_t v[N];
};

/* Starts copies of the fields from `first` on: their planes, and the filter of the block's panels. */
static __device__ __forceinline__ void fetch(const eqi_gf_pass &p, const eqi_gf_maps &m,
                                             const int64_t *source, int32_t cells, int32_t panel,
                                             int64_t first, int32_t fields, float *filter,
                                             float *planes)
{
    for (int32_t cell = threadIdx.x; cell < cells; cell += int32_t(blockDim.x)) {
        const int64_t at = source[cell];
        const bool there = at != EQI_GF_NOWHERE;
        const float *field = m.src.data + first * m.src.strides[1] + (there ? at : 0);
        float *to = planes + cell;
        for (int32_t f = 0; f < fields; f++, field += m.src.strides[1]) {
            const float *from = field;
            for (int32_t h = 0; h < p.elements; h++, from += m.src.strides[2], to += p.plane)
                eqi_copy_async(to, from, there);
        }
    }
    const int32_t each = p.taps * p.entries * p.tile.outputs;
    for (int32_t j = 0; j < p.group_panels && panel + j < p.panels; j++) {
        const float *const from = m.filter + (int64_t(panel + j) * p.fields_in + first) * each;
        for (int32_t i = 4 * int32_t(threadIdx.x); i < fields * each; i += 4 * int32_t(blockDim.x))
            eqi_copy_async_x4(filter + j * p.part * each + i, from + i);
    }
}

/* sum += the filter of one field of src and one tap, times P^ */
template <typename Form, int M, int N>
static __device__ __forceinline__ void add_tap(const char *window, const int32_t *taps,
                                               const float *filter,
                                               float (&sum)[M][N][Form::COMPONENTS])
{
    typedef eqi_gf_vector<N> vector;
    typedef eqi_gf_vector<4> quad;
    typedef eqi_gf_offsets<Form::INPUTS> offsets;
    float hat[N][Form::COMPONENTS], from[N][Form::INPUTS];
    const offsets at = eqi_load_vector<offsets>(taps);
    EQI_UNROLL
    for (int h = 0; h < Form::INPUTS; h++) {
        const vector x = eqi_load_vector<vector>(window + at.v[h]);
        EQI_UNROLL
        for (int n = 0; n < N; n++)
            from[n][h] = x.v[n];
    }
    EQI_UNROLL
    for (int n = 0; n < N; n++)
        Form::forward(from[n], hat[n]);
    EQI_UNROLL
    for (int m = 0; m < M; m += 4) {
        quad w[Form::ENTRIES];
        EQI_UNROLL
        for (int e = 0; e < Form::ENTRIES; e++)
            w[e] = eqi_load_vector<quad>(filter + e * M + m);
        EQI_UNROLL
        for (int i = 0; i < 4; i++) {
            float entries[Form::ENTRIES];
            EQI_UNROLL
            for (int e = 0; e < Form::ENTRIES; e++)
                entries[e] = w[e].v[i];
            EQI_UNROLL
            for (int n = 0; n < N; n++)
                Form::multiply(entries, hat[n], sum[m + i][n]);
        }
    }
}

/* body(number, sum) for every sum of a thread. */
template <int M, int N, int C, typename Body>
static __device__ __forceinline__ void each_sum(float (&sum)[M][N][C], const Body &body)
{
    EQI_UNROLL
    for (int m = 0; m < M; m++)
        EQI_UNROLL
    for (int n = 0; n < N; n++)
        EQI_UNROLL
    for (int c = 0; c < C; c++)
        body((m * N + n) * C + c, sum[m][n][c]);
}

/* Adds up the sums of warps that shared out src, in their order, for the first of them. */
template <int M, int N, int C>
static __device__ __forceinline__ void join_splits(float (&sum)[M][N][C], float *shared,
                                                   int32_t split, int32_t splits)
{
    const int32_t warps = int32_t(blockDim.x) / WARP / splits, thread = threadIdx.x;
    float *const own = shared + thread / WARP % warps * (M * N * C * WARP) + thread % WARP;
    for (int32_t s = 1; s < splits; s++) {
        __syncthreads();
        if (split == s)
            each_sum(sum, [own](int i, float &value) { own[i * WARP] = value; });
        __syncthreads();
        if (split == 0)
            each_sum(sum, [own](int i, float &value) { value += own[i * WARP]; });
    }
}

/* dst of a thread's slot and fields; `places` are from the first field's plane. */
template <typename Form, int M, int N>
static __device__ __forceinline__ void finish(const eqi_gf_pass &p, const eqi_gf_maps &m,
                                              const int64_t *places, int64_t first,
                                              const float (&sum)[M][N][Form::COMPONENTS])
{
    EQI_UNROLL
    for (int n = 0; n < N; n++) {
        const int64_t place = places[n * int32_t(blockDim.x) + int32_t(threadIdx.x)];
        float *field =
            m.dst.data + (place == EQI_GF_NOWHERE ? 0 : place) + first * m.dst.strides[1];
        EQI_UNROLL
        for (int i = 0; i < M; i++, field += m.dst.strides[1]) {
            float y[Form::VALUES];
            Form::inverse(sum[i][n], y);
            if (place == EQI_GF_NOWHERE || first + i >= p.fields_out)
                continue;
            const float bias = m.bias ? m.bias[(first + i) * m.bias_stride] : 0;
            float *at = field;
            EQI_UNROLL
            for (int g = 0; g < Form::VALUES; g++, at += m.dst.strides[2])
                *at = p.accumulate ? *at + (y[g] + bias) : y[g] + bias;
        }
    }
}

template <typename Form, int M, int N>
__global__ void __launch_bounds__(BLOCK, BLOCKS) eqi_f32_gfourier_pass(eqi_gf_pass p, eqi_gf_maps m)
{
    EQI_DYNAMIC_SHARED(float, shared);
    int64_t *const source = reinterpret_cast<int64_t *>(shared);
    int64_t *const places = reinterpret_cast<int64_t *>(shared + p.places_at);
    int32_t *const taps = reinterpret_cast<int32_t *>(shared + p.taps_at);
    float *const filters = shared + p.filter_at, *const planes = shared + p.planes_at;
    const int32_t each = p.taps * Form::ENTRIES * M; /* of the filter, for a field */
    const int32_t lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    const int32_t own_panel = warp % p.group_panels, rest = warp / p.group_panels;
    const int32_t position = rest % p.positions, split = rest / p.positions;
    const int32_t slots = p.positions * WARP;
    const int32_t panel_groups = int32_t((p.panels + p.group_panels - 1) / p.group_panels);
    const int32_t panel = int32_t(blockIdx.x) % panel_groups * p.group_panels;
    const int64_t first_slot = int64_t(blockIdx.x) / panel_groups * slots;
    const eqi_gf_slot first = eqi_gf_slot_of(p, first_slot);
    const eqi_gf_start start = {first.stack, first.y};
    const int64_t behind = first_slot + slots < p.all_slots ? first_slot + slots : p.all_slots;
    const int32_t cells = eqi_gf_cells(p, start, behind - 1, N);
    const int64_t slot = first_slot + position * WARP + lane;
    const bool there = slot < p.all_slots;
    const eqi_gf_slot s = eqi_gf_slot_of(p, there ? slot : first_slot);
    const int32_t base = eqi_gf_window_of(p, start, s, N);

    eqi_gf_fill_taps(p, N, taps);
    /* Found at the end, the division's slow path would need the registers of all sums. */
    for (int32_t n = 0; n < N; n++)
        places[n * int32_t(blockDim.x) + int32_t(threadIdx.x)] =
            there ? eqi_gf_place_of(p, m.dst, s, n, N) : EQI_GF_NOWHERE;
    for (int32_t cell = threadIdx.x; cell < cells; cell += int32_t(blockDim.x))
        source[cell] = eqi_gf_source_of(p, m.src, start, cell, N);
    /* A thread fetches the cells whose sources it wrote. */
    fetch(p, m, source, cells, panel, 0, int32_t(p.fields_in < p.part ? p.fields_in : p.part),
          filters, planes);
    float sum[M][N][Form::COMPONENTS];
    each_sum(sum, [](int, float &value) { value = 0; });
    int32_t buffer = 0;
    for (int64_t i = 0; i < p.fields_in; i += p.part, buffer ^= 1) {
        const int64_t left = p.fields_in - i, behind_part = left - p.part;
        const int32_t fields = int32_t(left < p.part ? left : p.part);
        eqi_wait_async();
        __syncthreads(); /* this part is there, and the one before is used */
        if (behind_part > 0)
            fetch(p, m, source, cells, panel, i + p.part,
                  int32_t(behind_part < p.part ? behind_part : p.part),
                  filters + (buffer ^ 1) * p.stage_filter, planes + (buffer ^ 1) * p.stage_planes);
        for (int32_t f = split; f < fields; f += p.splits) {
            const char *const window = reinterpret_cast<const char *>(
                planes + buffer * p.stage_planes + f * p.elements * p.plane + base);
            const float *filter =
                filters + buffer * p.stage_filter + (own_panel * p.part + f) * each;
            const int32_t *tap = taps;
            for (int32_t v = 0; v < p.taps; v++) {
                add_tap<Form, M, N>(window, tap, filter, sum);
                tap += Form::INPUTS;
                filter += Form::ENTRIES * M;
            }
        }
    }
    join_splits(sum, planes, split, p.splits);
    if (split == 0)
        finish<Form, M, N>(p, m, places, int64_t(panel + own_panel) * M, sum);
}

/* ---- launch ---------------------------------------------------------------------------------- */

typedef void pass_kernel(eqi_gf_pass, eqi_gf_maps);

static pass_kernel *kernel_of(const eqi_gf_pass *p)
{
#define EQI_GF_PAIR(form)                                                                          \
    {                                                                                              \
        eqi_f32_gfourier_pass<form, form::OUTPUTS, form::IMAGES>,                                  \
            eqi_f32_gfourier_pass<form, EQI_GF_SMALL_OUTPUTS, EQI_GF_SMALL_IMAGES>                 \
    }
    static pass_kernel *const kernels[EQI_GF_KINDS][2] = {
        EQI_GF_PAIR(eqi_gf_2),      EQI_GF_PAIR(eqi_gf_d2),     EQI_GF_PAIR(eqi_gf_c4),
        EQI_GF_PAIR(eqi_gf_d4),     EQI_GF_PAIR(eqi_gf_sum<2>), EQI_GF_PAIR(eqi_gf_sum<4>),
        EQI_GF_PAIR(eqi_gf_sum<8>),
    };
#undef EQI_GF_PAIR
    return kernels[p->kind][p->small];
}

/* The device's whole: plans of other shapes use the same kernel. */
void eqi_gf_pass_allow(const equinv_context *ctx, const eqi_gf_pass *p)
{
    (void)eqi_stream(ctx); /* makes the device the thread's */
    cudaFuncSetAttribute(kernel_of(p), cudaFuncAttributeMaxDynamicSharedMemorySize,
                         int(eqi_cuda(ctx)->shared_bytes));
}

equinv_status eqi_gf_pass_run(const equinv_context *ctx, const eqi_gf_pass *p,
                              const equinv_tensor *src, const float *filter,
                              const equinv_tensor *bias, const equinv_tensor *dst)
{
    eqi_gf_maps m = {};
    m.src = eqi_gf_map_of(src);
    m.dst = eqi_gf_map_of(dst);
    m.filter = filter;
    if (bias) {
        m.bias = static_cast<const float *>(bias->data);
        m.bias_stride = bias->strides[0];
    }
    pass_kernel *const pass = kernel_of(p);
    EQI_LAUNCH(pass, dim3(unsigned(p->tiles)), WARP * p->group_panels * p->positions * p->splits,
               p->shared_bytes, eqi_stream(ctx), *p, m);
    return EQUINV_OK;
}
