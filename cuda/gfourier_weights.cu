/*
 * The gradient of the filter in the Fourier form: for each irreducible representation
 *     diff_Phi_v = sum over pixels of P^_v and diff_dst^,
 * from there by the adjoint of the filter's transform to psi.
 *
 * Tile    a thread has the sums of a few taps of one field of src and 8 fields of dst: 3 x 8 for C4, 3 x 4
 *         for D4, all entries. Lanes differ in field and taps, then in the fields of dst, then in the
 *         slots that they sum (phases). A block takes its tiles of slots one after the other: the next
 *         one's numbers are copied into shared memory meanwhile
 * Layout  src as planes, fields an odd number of floats apart, so that lanes meet different banks;
 *         diff_dst^ is made once a tile, [slot][field][component], and read by vectors
 * Why     for each slot a thread has 144 multiply-adds (C4), 18 additions of the transform, 12 numbers and
 *         8 vectors from shared memory (28 wavefronts of those 36 cycles, by count). Sums of phases, then
 *         of parts, are added in a fixed order, the latter in double
 */
#include "cuda/async.cuh"
#include "cuda/gfourier_forms.cuh"
#include "cuda/gfourier_places.cuh"

enum { FOLD_COLUMNS = 32, FOLD_SLICES = 8 };

template <int N> struct alignas(N * sizeof(float) < 16 ? N * sizeof(float) : 16) eqi_gf_components {
    float v[N];
};

/* Starts copies of a tile's numbers: planes of src, diff_dst as it is, and where windows begin. */
static __device__ __forceinline__ void fetch(const eqi_gf_weights &w, const eqi_gf_map &src,
                                             const eqi_gf_map &diff_dst, int64_t tile,
                                             int64_t first_field, int64_t first_output,
                                             int32_t outputs, int32_t values, int32_t *windows,
                                             float *raw, float *planes)
{
    const eqi_gf_pass &p = w.pass;
    const int64_t first_slot = tile * w.slots, left = p.all_slots - first_slot;
    const int32_t slots = int32_t(left < w.slots ? left : w.slots);
    const eqi_gf_slot first = eqi_gf_slot_of(p, first_slot);
    const eqi_gf_start start = {first.stack, first.y};
    const int32_t cells = eqi_gf_cells(p, start, first_slot + slots - 1, 1);
    const int64_t fields_left = p.fields_in - first_field;
    const int32_t fields = int32_t(fields_left < w.fields ? fields_left : w.fields);
    for (int32_t cell = threadIdx.x; cell < cells; cell += int32_t(blockDim.x)) {
        const int64_t at = eqi_gf_source_of(p, src, start, cell, 1);
        const bool there = at != EQI_GF_NOWHERE;
        const float *field = src.data + first_field * src.strides[1] + (there ? at : 0);
        for (int32_t f = 0; f < fields; f++, field += src.strides[1]) {
            const float *from = field;
            float *to = planes + f * w.field_floats + cell;
            for (int32_t h = 0; h < p.elements; h++, from += src.strides[2], to += p.plane)
                eqi_copy_async(to, from, there);
        }
    }
    const int32_t shares = int32_t(blockDim.x) < w.slots ? 1 : int32_t(blockDim.x) / w.slots;
    for (int32_t j = threadIdx.x; j < shares * w.slots; j += int32_t(blockDim.x)) {
        const int32_t t = j % w.slots;
        const eqi_gf_slot s = eqi_gf_slot_of(p, first_slot + (t < slots ? t : 0));
        const int64_t at = t < slots ? eqi_gf_place_of(p, diff_dst, s, 0, 1) : EQI_GF_NOWHERE;
        const bool inside = at != EQI_GF_NOWHERE;
        if (j < w.slots)
            windows[t] = inside ? eqi_gf_window_of(p, start, s, 1) * int32_t(sizeof(float)) : -1;
        for (int32_t o = j / w.slots; o < outputs; o += shares) {
            const bool there = inside && first_output + o < p.fields_out;
            const float *from =
                diff_dst.data + (there ? at + (first_output + o) * diff_dst.strides[1] : 0);
            for (int32_t g = 0; g < values; g++)
                eqi_copy_async(raw + (o * values + g) * w.slots + t,
                               from + (there ? g * diff_dst.strides[2] : 0), there);
        }
    }
}

/* diff_dst^ of a tile: the adjoint of the inverse, which is the transform itself. */
template <typename Form>
static __device__ __forceinline__ void transform(const eqi_gf_weights &w, int32_t outputs,
                                                 const float *raw, float *hat)
{
    typedef eqi_gf_components<Form::COMPONENTS> components;
    for (int32_t j = threadIdx.x; j < outputs * w.slots; j += int32_t(blockDim.x)) {
        const int32_t t = j % w.slots, o = j / w.slots;
        float f[Form::VALUES];
        components c;
        EQI_UNROLL
        for (int g = 0; g < Form::VALUES; g++)
            f[g] = raw[(o * Form::VALUES + g) * w.slots + t];
        if constexpr (Form::VALUES == 1)
            c.v[0] = f[0];
        else
            Form::forward(f, c.v);
        eqi_store_vector(hat + t * w.hat_floats + o * Form::COMPONENTS, c);
    }
}

/* sum += P^ of the thread's taps at one slot, times diff_dst^ */
template <typename Form, int V, int M>
static __device__ __forceinline__ void add_slot(const char *window,
                                                const int32_t (&offsets)[V][Form::INPUTS],
                                                const float *hat, float (&sum)[V][M][Form::ENTRIES])
{
    typedef eqi_gf_components<Form::COMPONENTS> components;
    float p[V][Form::COMPONENTS];
    EQI_UNROLL
    for (int v = 0; v < V; v++) {
        float from[Form::INPUTS];
        EQI_UNROLL
        for (int h = 0; h < Form::INPUTS; h++)
            from[h] = *reinterpret_cast<const float *>(window + offsets[v][h]);
        Form::forward(from, p[v]);
    }
    EQI_UNROLL
    for (int m = 0; m < M; m++) {
        const components d = eqi_load_vector<components>(hat + m * Form::COMPONENTS);
        EQI_UNROLL
        for (int v = 0; v < V; v++)
            Form::gradient(p[v], d.v, sum[v][m]);
    }
}

/* body(number, sum) for every sum of a thread. */
template <int V, int M, int E, typename Body>
static __device__ __forceinline__ void each_sum(float (&sum)[V][M][E], const Body &body)
{
    EQI_UNROLL
    for (int v = 0; v < V; v++)
        EQI_UNROLL
    for (int m = 0; m < M; m++)
        EQI_UNROLL
    for (int e = 0; e < E; e++)
        body((v * M + m) * E + e, sum[v][m][e]);
}

/* The sums of all phases, by halves, for the first. */
template <int V, int M, int E>
static __device__ __forceinline__ void join_phases(float (&sum)[V][M][E], float *shared,
                                                   int32_t thread, int32_t phase, int32_t phases,
                                                   int32_t each)
{
    enum { PITCH = EQI_GF_SUM_THREADS / 2 };
    for (int32_t half = phases / 2; half > 0; half /= 2) {
        __syncthreads();
        if (phase >= half && phase < 2 * half) {
            float *const own = shared + thread - half * each;
            each_sum(sum, [own](int i, float &value) { own[i * PITCH] = value; });
        }
        __syncthreads();
        if (phase < half) {
            const float *const other = shared + thread;
            each_sum(sum, [other](int i, float &value) { value += other[i * PITCH]; });
        }
    }
}

template <typename Form, int V, int M>
__global__ void __launch_bounds__(EQI_GF_SUM_THREADS, 2)
    eqi_f32_gfourier_sums(eqi_gf_weights w, eqi_gf_map src, eqi_gf_map diff_dst, float *parts)
{
    EQI_DYNAMIC_SHARED(float, shared);
    const eqi_gf_pass &p = w.pass;
    int32_t *const taps = reinterpret_cast<int32_t *>(shared);
    int32_t *const windows = reinterpret_cast<int32_t *>(shared + w.windows_at);
    float *const raw = shared + w.raw_at, *const hat = shared + w.hat_at;
    float *const planes = shared + w.planes_at;
    const int32_t blocks = w.field_blocks * w.panel_blocks, block = int32_t(blockIdx.x) % blocks;
    const int32_t part = int32_t(blockIdx.x) / blocks, outputs = w.panels * M;
    const int64_t first_field = int64_t(block % w.field_blocks) * w.fields;
    const int64_t first_output = int64_t(block / w.field_blocks) * outputs;
    const int64_t all = (p.all_slots + w.slots - 1) / w.slots;
    const int64_t tile = part * w.tiles_of_part;
    const int64_t end = tile + w.tiles_of_part < all ? tile + w.tiles_of_part : all;

    /* Threads beyond the last phase do what the first thread does, for nothing. */
    const int32_t rows = w.fields * w.tap_groups, each = rows * w.panels;
    const bool works = int32_t(threadIdx.x) < each * w.phases;
    const int32_t thread = works ? int32_t(threadIdx.x) : 0;
    const int32_t phase = thread / each, panel = thread % each / rows, row = thread % rows;
    const int32_t group = row / w.fields, own = row % w.fields;
    const bool there = works && first_field + own < p.fields_in;
    int32_t offsets[V][Form::INPUTS];
    float sum[V][M][Form::ENTRIES];

    eqi_gf_fill_taps(p, 1, taps);
    fetch(w, src, diff_dst, tile, first_field, first_output, outputs, Form::VALUES, windows, raw,
          planes);
    __syncthreads();
    EQI_UNROLL
    for (int v = 0; v < V; v++) {
        const int32_t tap = group * V + v < p.taps ? group * V + v : p.taps - 1;
        EQI_UNROLL
        for (int h = 0; h < Form::INPUTS; h++)
            offsets[v][h] = taps[tap * Form::INPUTS + h] +
                            (there ? own * w.field_floats : 0) * int32_t(sizeof(float));
    }
    each_sum(sum, [](int, float &value) { value = 0; });
    int32_t buffer = 0;
    for (int64_t t = tile; t < end; t++, buffer ^= 1) {
        eqi_wait_async();
        __syncthreads(); /* this tile is there, and the one before is used */
        transform<Form>(w, outputs, raw, hat);
        __syncthreads();
        if (t + 1 < end)
            fetch(w, src, diff_dst, t + 1, first_field, first_output, outputs, Form::VALUES,
                  windows + (buffer ^ 1) * w.slots, raw, planes + (buffer ^ 1) * w.stage);
        const char *const from = reinterpret_cast<const char *>(planes + buffer * w.stage);
        const float *const own_hat = hat + panel * M * Form::COMPONENTS;
        for (int32_t s = phase; s < w.slots; s += w.phases) {
            const int32_t window = windows[buffer * w.slots + s];
            if (window >= 0)
                add_slot<Form, V, M>(from + window, offsets, own_hat + s * w.hat_floats, sum);
        }
    }
    join_phases(sum, raw, thread, works ? phase : w.phases, w.phases, each);
    if (phase != 0 || !there)
        return;
    float *const to = parts + part * (p.fields_in * p.taps * Form::ENTRIES * w.outputs) +
                      (first_field + own) * p.taps * Form::ENTRIES * w.outputs + first_output +
                      panel * M;
    EQI_UNROLL
    for (int v = 0; v < V; v++) {
        if (group * V + v >= p.taps)
            continue;
        EQI_UNROLL
        for (int e = 0; e < Form::ENTRIES; e++)
            EQI_UNROLL
        for (int m = 0; m < M; m++)
            to[((group * V + v) * Form::ENTRIES + e) * w.outputs + m] = sum[v][m][e];
    }
}

/* The gradient of phi_v, to the places of psi that it was taken from: v's orbit has them to itself. */
template <typename Form>
static __device__ __forceinline__ void put_phi(const eqi_gf_pass &p, const double *phi, int32_t tap,
                                               const equinv_tensor &psi, float *to)
{
    const int64_t k = p.kernel;
    int64_t place[Form::VALUES];
    int32_t same = 0;
    for (int32_t a = 0; a < Form::VALUES; a++) {
        const eqi_pixel t =
            eqi_move(eqi_motion_of(p.group, a), tap / p.kernel, tap % p.kernel, k, k);
        place[a] = (psi.shape[2] > 1 ? a : 0) * psi.strides[2] + t.y * psi.strides[3] +
                   t.x * psi.strides[4];
        same += t.y * k + t.x == tap;
    }
    const bool orbits = p.elements == 1; /* then some places may be the same */
    for (int32_t a = 0; a < Form::VALUES; a++) {
        double sum = 0;
        bool first = true;
        for (int32_t b = 0; b < Form::VALUES; b++) {
            const bool here = b == a || (orbits && place[b] == place[a]);
            sum += here ? phi[b] : 0;
            first = first && !(here && b < a);
        }
        sum /= orbits ? same : 1;
        if (first)
            to[place[a]] = float(p.accumulate ? double(to[place[a]]) + sum : sum);
    }
}

/* Adds up parts, a few columns [field of src][tap][output] a block, in slices and these in their order. */
template <typename Form>
__global__ void eqi_f32_gfourier_fold(eqi_gf_weights w, const float *parts, equinv_tensor diff_psi)
{
    EQI_SHARED(double, shared, FOLD_SLICES *FOLD_COLUMNS *Form::ENTRIES);
    const eqi_gf_pass &p = w.pass;
    const int64_t columns = p.fields_in * p.taps * w.outputs;
    const int64_t column = int64_t(blockIdx.x) * FOLD_COLUMNS + threadIdx.x % FOLD_COLUMNS;
    const int32_t slice = int32_t(threadIdx.x) / FOLD_COLUMNS;
    const int64_t pair = column / w.outputs, o = column % w.outputs;
    const int64_t step = columns * Form::ENTRIES;
    const float *from = parts + pair * Form::ENTRIES * w.outputs + o + slice * step;
    double sum[Form::ENTRIES] = {};
    for (int32_t part = slice; column < columns && part < w.parts; part += FOLD_SLICES)
        for (int e = 0; e < Form::ENTRIES; e++)
            sum[e] += double(from[(part - slice) * step + e * w.outputs]);
    for (int e = 0; e < Form::ENTRIES; e++)
        shared[e * FOLD_SLICES * FOLD_COLUMNS + threadIdx.x] = sum[e];
    __syncthreads();
    if (slice > 0 || column >= columns || o >= p.fields_out)
        return;
    for (int s = 1; s < FOLD_SLICES; s++)
        for (int e = 0; e < Form::ENTRIES; e++)
            sum[e] += shared[(e * FOLD_SLICES + s) * FOLD_COLUMNS + threadIdx.x];
    double phi[Form::VALUES];
    Form::phi(sum, phi);
    put_phi<Form>(p, phi, p.tap[pair % p.taps], diff_psi,
                  static_cast<float *>(diff_psi.data) + o * diff_psi.strides[0] +
                      pair / p.taps * diff_psi.strides[1]);
}

/* ---- launch ---------------------------------------------------------------------------------- */

typedef void sums_kernel(eqi_gf_weights, eqi_gf_map, eqi_gf_map, float *);
typedef void fold_kernel(eqi_gf_weights, const float *, equinv_tensor);

#define EACH_FORM(DO_THIS)                                                                         \
    DO_THIS(eqi_gf_2), DO_THIS(eqi_gf_d2), DO_THIS(eqi_gf_c4), DO_THIS(eqi_gf_d4),                 \
        DO_THIS(eqi_gf_sum<2>), DO_THIS(eqi_gf_sum<4>), DO_THIS(eqi_gf_sum<8>)
#define SUMS(form) eqi_f32_gfourier_sums<form, form::SUM_TAPS, form::SUM_OUTPUTS>
#define FOLD(form) eqi_f32_gfourier_fold<form>

static sums_kernel *const sums_kernels[EQI_GF_KINDS] = {EACH_FORM(SUMS)};
static fold_kernel *const fold_kernels[EQI_GF_KINDS] = {EACH_FORM(FOLD)};

void eqi_gf_weights_allow(const equinv_context *ctx, const eqi_gf_weights *w)
{
    (void)eqi_stream(ctx); /* makes the device the thread's */
    cudaFuncSetAttribute(sums_kernels[w->pass.kind], cudaFuncAttributeMaxDynamicSharedMemorySize,
                         int(eqi_cuda(ctx)->shared_bytes));
}

equinv_status eqi_gf_weights_run(const equinv_context *ctx, const eqi_gf_weights *w,
                                 const equinv_tensor *src, const equinv_tensor *diff_dst,
                                 const equinv_tensor *diff_psi, void *scratch)
{
    sums_kernel *const sums = sums_kernels[w->pass.kind];
    fold_kernel *const fold = fold_kernels[w->pass.kind];
    float *const parts = static_cast<float *>(scratch);
    EQI_LAUNCH(sums, dim3(unsigned(w->parts * w->field_blocks * w->panel_blocks)), w->threads,
               w->shared_bytes, eqi_stream(ctx), *w, eqi_gf_map_of(src), eqi_gf_map_of(diff_dst),
               parts);
    EQI_LAUNCH(fold,
               eqi_blocks(w->pass.fields_in * w->pass.taps * w->outputs, FOLD_COLUMNS, INT32_MAX),
               FOLD_COLUMNS * FOLD_SLICES, 0, eqi_stream(ctx), *w, parts, *diff_psi);
    return EQUINV_OK;
}
