/*
 * Batch normalisation in three steps: every piece of a sample's field is summed by a block, the pieces
 * of a field are joined in a fixed order, then every value is written by
 *     forward   dst = ((src - high) - low) scale + shift
 *     backward  diff_src = scale diff_dst + (slope ((src - high) - low) + shift)
 * Sums are double, and squares are taken about the piece's own mean. high + low is the mean to twice
 * fp32's precision, so that fp32 loses nothing where the mean is far above the spread.
 */
#include "cuda/elements.cuh"
#include "cuda/operations.cuh"
#include "cuda/reduce.cuh"

extern "C" {
#include "internal/batch_norm.h"
}

enum {
    BLOCK = 256,
    PIECES = 8,         /* of a sample's field, at most */
    PIECE_VALUES = 4096 /* that a block works on, unless there were too many pieces */
};

namespace
{
/* The vectors [F] of a call, for kernels: those that it has no use for have data NULL. */
struct vectors {
    equinv_tensor gamma, beta, running_mean, running_var, diff_gamma, diff_beta;
    double *saved;
};

/* What the values of a field are written with, [F] each; in scratch. */
template <typename T> struct coefficients {
    T *high, *low, *scale, *slope, *shift;
};

/* How the places of a sample's field are cut into pieces, and fields put together into blocks. */
struct pieces {
    int64_t batch, fields, places;
    int64_t length, count;  /* of a piece, the last may be shorter; pieces of a sample's field */
    int64_t tasks;          /* one a block */
    unsigned lanes;         /* neighbouring fields in a block, a power of two */
    double *first, *second; /* sums of the pieces, [F, N, count] */
};

/* One thread's part in a piece: places first, first + step .. below end; none if the field is none. */
struct part {
    int64_t sample, field, first, end, step;
    int64_t index; /* in the sums */
    double size;   /* of the whole piece */
    bool writes;
};
} // namespace

/* ---- in kernels ------------------------------------------------------------------------------ */

static __device__ double piece_size(const pieces &p, int64_t piece)
{
    const int64_t left = p.places - piece * p.length;
    return (double)(left < p.length ? left : p.length);
}

static __device__ part part_of(const pieces &p, int64_t task)
{
    const int64_t piece = task % p.count, rest = task / p.count;
    const int64_t lane = threadIdx.x % p.lanes, member = threadIdx.x / p.lanes;
    part q;
    q.sample = rest % p.batch;
    q.field = rest / p.batch * p.lanes + lane;
    q.size = piece_size(p, piece);
    q.first = piece * p.length + member;
    q.end = q.field < p.fields ? piece * p.length + (int64_t)q.size : q.first;
    q.step = blockDim.x / p.lanes;
    q.index = (q.field * p.batch + q.sample) * p.count + piece;
    q.writes = q.field < p.fields && member == 0;
    return q;
}

template <typename T> static __device__ const T *field_of(const equinv_tensor &map, const part &q)
{
    return (const T *)map.data + q.sample * map.strides[0] + q.field * map.strides[1];
}

static __device__ const equinv_tensor *if_any(const equinv_tensor &vector)
{
    return vector.data ? &vector : NULL;
}

static __device__ double mean_of(const vectors &v, int64_t f)
{
    return v.saved ? v.saved[f] : eqi_at(&v.running_mean, f);
}

static __device__ double inv_of(const eqi_batch_norm_problem &p, const vectors &v, int64_t f)
{
    return v.saved ? v.saved[p.shape[1] + f] : 1 / sqrt(eqi_at(&v.running_var, f) + p.epsilon);
}

template <typename T>
static __device__ void split_mean(const coefficients<T> &c, int64_t f, double mean)
{
    const T high = (T)mean;
    c.high[f] = high;
    c.low[f] = isfinite(high) ? (T)(mean - (double)high) : T(0);
}

/* A sum over the pieces of field f. */
static __device__ double join(const pieces &p, const double *sums, int64_t f, eqi_sum *shared)
{
    const int64_t count = p.batch * p.count;
    double sum = 0;
    for (int64_t i = threadIdx.x; i < count; i += blockDim.x)
        sum += sums[f * count + i];
    return eqi_sum_teams(sum, shared, 1);
}

/* Squares about the field's mean, from those about the pieces' own. */
static __device__ double join_squares(const pieces &p, double mean, int64_t f, eqi_sum *shared)
{
    const int64_t count = p.batch * p.count;
    double squares = 0;
    for (int64_t i = threadIdx.x; i < count; i += blockDim.x) {
        const double size = piece_size(p, i % p.count);
        const double d = p.first[f * count + i] / size - mean;
        squares += p.second[f * count + i] + size * d * d;
    }
    return eqi_sum_teams(squares, shared, 1);
}

/* ---- kernels --------------------------------------------------------------------------------- */

/* Sum, and squares about the piece's mean. */
template <typename T>
__global__ void eqi_batch_norm_statistics(pieces p, eqi_elements<1> places, equinv_tensor src)
{
    EQI_SHARED(eqi_sum, shared, BLOCK);
    for (int64_t task = blockIdx.x; task < p.tasks; task += gridDim.x) {
        const part q = part_of(p, task);
        const T *const from = field_of<T>(src, q);
        int64_t at[1];
        double sum = 0, squares = 0;
        for (int64_t i = q.first; i < q.end; i += q.step) {
            places.offsets(i, at);
            sum += (double)from[at[0]];
        }
        sum = eqi_sum_teams(sum, shared, p.lanes);
        const double mean = sum / q.size;
        for (int64_t i = q.first; i < q.end; i += q.step) {
            places.offsets(i, at);
            const double d = (double)from[at[0]] - mean;
            squares += d * d;
        }
        squares = eqi_sum_teams(squares, shared, p.lanes);
        if (q.writes) {
            p.first[q.index] = sum;
            p.second[q.index] = squares;
        }
    }
}

/* Sums of diff_dst, and of diff_dst (src - mean). */
template <typename T>
__global__ void eqi_batch_norm_gradients(pieces p, eqi_elements<2> places, vectors v,
                                         equinv_tensor src, equinv_tensor diff_dst)
{
    EQI_SHARED(eqi_sum, shared, BLOCK);
    for (int64_t task = blockIdx.x; task < p.tasks; task += gridDim.x) {
        const part q = part_of(p, task);
        const T *const from = field_of<T>(src, q), *const diff = field_of<T>(diff_dst, q);
        const double mean = q.field < p.fields ? mean_of(v, q.field) : 0;
        double sum = 0, product = 0;
        for (int64_t i = q.first; i < q.end; i += q.step) {
            int64_t at[2];
            places.offsets(i, at);
            const double d = (double)diff[at[1]];
            sum += d;
            product += d * ((double)from[at[0]] - mean);
        }
        sum = eqi_sum_teams(sum, shared, p.lanes);
        product = eqi_sum_teams(product, shared, p.lanes);
        if (q.writes) {
            p.first[q.index] = sum;
            p.second[q.index] = product;
        }
    }
}

/* One block a field: its statistics from those of its pieces. */
template <typename T>
__global__ void eqi_batch_norm_join_statistics(pieces p, eqi_batch_norm_problem problem, vectors v,
                                               coefficients<T> c)
{
    EQI_SHARED(eqi_sum, shared, BLOCK);
    const double count = (double)problem.count;
    for (int64_t f = blockIdx.x; f < p.fields; f += gridDim.x) {
        const double sum = join(p, p.first, f, shared);
        const double mean = problem.count ? sum / count : 0;
        const double squares = join_squares(p, mean, f, shared);
        if (threadIdx.x != 0)
            continue;
        const double inv = problem.count ? 1 / sqrt(squares / count + problem.epsilon) : 0;
        eqi_batch_norm_args a = {};
        a.running_mean = if_any(v.running_mean);
        a.running_var = if_any(v.running_var);
        if (problem.count)
            eqi_batch_norm_run(&problem, &a, f, mean, squares);
        if (v.saved) {
            v.saved[f] = mean;
            v.saved[p.fields + f] = inv;
        }
        split_mean(c, f, mean);
        c.scale[f] = (T)(eqi_at(&v.gamma, f) * inv);
        c.shift[f] = (T)eqi_at(&v.beta, f);
    }
}

/* One block a field: diff_gamma and diff_beta, and what diff_src is written with. */
template <typename T>
__global__ void eqi_batch_norm_join_gradients(pieces p, eqi_batch_norm_problem problem, vectors v,
                                              coefficients<T> c)
{
    EQI_SHARED(eqi_sum, shared, BLOCK);
    const double count = (double)problem.count;
    for (int64_t f = blockIdx.x; f < p.fields; f += gridDim.x) {
        const double sum = join(p, p.first, f, shared), product = join(p, p.second, f, shared);
        if (threadIdx.x != 0)
            continue;
        const double inv = inv_of(problem, v, f), factor = eqi_at(&v.gamma, f) * inv;
        eqi_batch_norm_args a = {};
        a.diff_gamma = if_any(v.diff_gamma);
        a.diff_beta = if_any(v.diff_beta);
        eqi_batch_norm_put(&problem, &a, f, product * inv, sum);
        split_mean(c, f, mean_of(v, f));
        c.scale[f] = (T)factor;
        c.slope[f] = (T)(-factor * inv * inv * product / count);
        c.shift[f] = (T)(-factor * sum / count);
    }
}

/* Where the statistics are the running ones. */
template <typename T>
__global__ void eqi_batch_norm_constants(eqi_batch_norm_problem p, vectors v, coefficients<T> c)
{
    EQI_FOR_EACH(f, p.shape[1])
    {
        split_mean(c, f, mean_of(v, f));
        c.scale[f] = (T)(eqi_at(&v.gamma, f) * inv_of(p, v, f));
        c.shift[f] = v.beta.data ? (T)eqi_at(&v.beta, f) : T(0);
    }
}

/* The last tensor of the elements below is the number of the field. */
template <typename T>
__global__ void eqi_batch_norm_normalise(eqi_elements<3> e, coefficients<T> c, const T *src, T *dst)
{
    EQI_FOR_EACH(i, e.count)
    {
        int64_t at[3];
        e.offsets(i, at);
        const int64_t f = at[2];
        dst[at[0]] = ((src[at[1]] - c.high[f]) - c.low[f]) * c.scale[f] + c.shift[f];
    }
}

template <typename T>
__global__ void eqi_batch_norm_differentiate(eqi_elements<4> e, coefficients<T> c, const T *src,
                                             const T *diff_dst, T *diff_src)
{
    EQI_FOR_EACH(i, e.count)
    {
        int64_t at[4];
        e.offsets(i, at);
        const int64_t f = at[3];
        const T x = (src[at[1]] - c.high[f]) - c.low[f];
        diff_src[at[0]] = c.scale[f] * diff_dst[at[2]] + (c.slope[f] * x + c.shift[f]);
    }
}

template <typename T>
__global__ void eqi_batch_norm_scale(eqi_elements<3> e, coefficients<T> c, const T *diff_dst,
                                     T *diff_src)
{
    EQI_FOR_EACH(i, e.count)
    {
        int64_t at[3];
        e.offsets(i, at);
        diff_src[at[0]] = c.scale[at[2]] * diff_dst[at[1]];
    }
}

/* ---- layout ---------------------------------------------------------------------------------- */

/*
 * A warp reads neighbours in memory: places of one field where at least a warp of them lies within the
 * step from field to field, else as many fields side by side as there are.
 */
static unsigned lanes_of(const equinv_tensor *map)
{
    int64_t inside = 1;
    for (int axis = 2; axis < 5; axis++)
        if (llabs(map->strides[axis]) < llabs(map->strides[1]))
            inside *= map->shape[axis];
    return inside >= 32 ? 1 : eqi_power_of_two(map->shape[1], 1, 32);
}

static pieces pieces_of(const eqi_batch_norm_problem *p, const eqi_batch_norm_args *a)
{
    pieces s = {};
    s.batch = p->shape[0];
    s.fields = p->shape[1];
    s.places = p->shape[2] * p->shape[3] * p->shape[4];
    s.lanes = lanes_of(a->src);
    const int64_t wanted = PIECE_VALUES / s.lanes, least = (s.places - 1) / PIECES + 1;
    s.length = wanted > least ? wanted : least;
    s.count = (s.places - 1) / s.length + 1;
    s.tasks = s.batch * s.count * ((s.fields - 1) / s.lanes + 1);
    s.first = (double *)a->scratch;
    s.second = s.first + s.batch * s.fields * s.count;
    return s;
}

/* Threads for one piece: fields side by side, and places of each. */
static unsigned threads_of(const pieces &s)
{
    const int64_t places = s.places < s.length ? s.places : s.length;
    return eqi_power_of_two(places * s.lanes, 32, BLOCK);
}

template <typename T> static coefficients<T> coefficients_of(const pieces &s)
{
    T *const start = (T *)(s.second + s.batch * s.fields * s.count);
    return {start, start + s.fields, start + 2 * s.fields, start + 3 * s.fields,
            start + 4 * s.fields};
}

static equinv_tensor given(const equinv_tensor *vector)
{
    return vector ? *vector : equinv_tensor{};
}

static vectors vectors_of(const eqi_batch_norm_args *a)
{
    return {given(a->gamma),
            given(a->beta),
            given(a->running_mean),
            given(a->running_var),
            given(a->diff_gamma),
            given(a->diff_beta),
            a->saved};
}

/* The number of the field, as a map. */
static equinv_tensor field_numbers(const equinv_tensor *map)
{
    equinv_tensor numbers = *map;
    for (int axis = 0; axis < 5; axis++)
        numbers.strides[axis] = axis == 1;
    return numbers;
}

/* The places of one sample's field. */
static equinv_tensor one_field(const equinv_tensor *map)
{
    equinv_tensor field = *map;
    field.ndim = 3;
    for (int axis = 0; axis < 3; axis++) {
        field.shape[axis] = map->shape[2 + axis];
        field.strides[axis] = map->strides[2 + axis];
    }
    return field;
}

/* ---- the four calls -------------------------------------------------------------------------- */

template <typename T>
static equinv_status normalise(const equinv_context *ctx, const eqi_batch_norm_args *a,
                               const coefficients<T> &c)
{
    const equinv_tensor numbers = field_numbers(a->dst);
    const eqi_elements<3> e = eqi_elements_of<3>({a->dst, a->src, &numbers});
    EQI_LAUNCH(eqi_batch_norm_normalise<T>, eqi_blocks(e.count, BLOCK), BLOCK, 0, eqi_stream(ctx),
               e, c, (const T *)a->src->data, (T *)a->dst->data);
    return EQUINV_OK;
}

template <typename T>
static equinv_status forward_train(const equinv_context *ctx, const eqi_batch_norm_problem *p,
                                   const eqi_batch_norm_args *a)
{
    const pieces s = pieces_of(p, a);
    const coefficients<T> c = coefficients_of<T>(s);
    const equinv_tensor places = one_field(a->src);
    EQI_LAUNCH(eqi_batch_norm_statistics<T>, eqi_blocks(s.tasks, 1), threads_of(s), 0,
               eqi_stream(ctx), s, eqi_elements_of<1>({&places}), *a->src);
    EQI_LAUNCH(eqi_batch_norm_join_statistics<T>, eqi_blocks(s.fields, 1),
               eqi_power_of_two(s.batch * s.count, 32, BLOCK), 0, eqi_stream(ctx), s, *p,
               vectors_of(a), c);
    return normalise<T>(ctx, a, c);
}

template <typename T>
static equinv_status forward_eval(const equinv_context *ctx, const eqi_batch_norm_problem *p,
                                  const eqi_batch_norm_args *a)
{
    const coefficients<T> c = coefficients_of<T>(pieces_of(p, a));
    EQI_LAUNCH(eqi_batch_norm_constants<T>, eqi_blocks(p->shape[1], BLOCK), BLOCK, 0,
               eqi_stream(ctx), *p, vectors_of(a), c);
    return normalise<T>(ctx, a, c);
}

template <typename T>
static equinv_status gradients(const equinv_context *ctx, const eqi_batch_norm_problem *p,
                               const eqi_batch_norm_args *a, const pieces &s)
{
    const equinv_tensor src = one_field(a->src), diff_dst = one_field(a->diff_dst);
    const vectors v = vectors_of(a);
    EQI_LAUNCH(eqi_batch_norm_gradients<T>, eqi_blocks(s.tasks, 1), threads_of(s), 0,
               eqi_stream(ctx), s, eqi_elements_of<2>({&src, &diff_dst}), v, *a->src, *a->diff_dst);
    EQI_LAUNCH(eqi_batch_norm_join_gradients<T>, eqi_blocks(s.fields, 1),
               eqi_power_of_two(s.batch * s.count, 32, BLOCK), 0, eqi_stream(ctx), s, *p, v,
               coefficients_of<T>(s));
    return EQUINV_OK;
}

template <typename T>
static equinv_status backward_train(const equinv_context *ctx, const eqi_batch_norm_problem *p,
                                    const eqi_batch_norm_args *a)
{
    const pieces s = pieces_of(p, a);
    EQI_TRY(gradients<T>(ctx, p, a, s));
    const equinv_tensor numbers = field_numbers(a->diff_src);
    const eqi_elements<4> e = eqi_elements_of<4>({a->diff_src, a->src, a->diff_dst, &numbers});
    EQI_LAUNCH(eqi_batch_norm_differentiate<T>, eqi_blocks(e.count, BLOCK), BLOCK, 0,
               eqi_stream(ctx), e, coefficients_of<T>(s), (const T *)a->src->data,
               (const T *)a->diff_dst->data, (T *)a->diff_src->data);
    return EQUINV_OK;
}

template <typename T>
static equinv_status backward_eval(const equinv_context *ctx, const eqi_batch_norm_problem *p,
                                   const eqi_batch_norm_args *a)
{
    const pieces s = pieces_of(p, a);
    const coefficients<T> c = coefficients_of<T>(s);
    if (a->diff_gamma || a->diff_beta)
        EQI_TRY(gradients<T>(ctx, p, a, s));
    else
        EQI_LAUNCH(eqi_batch_norm_constants<T>, eqi_blocks(p->shape[1], BLOCK), BLOCK, 0,
                   eqi_stream(ctx), *p, vectors_of(a), c);
    const equinv_tensor numbers = field_numbers(a->diff_src);
    const eqi_elements<3> e = eqi_elements_of<3>({a->diff_src, a->diff_dst, &numbers});
    EQI_LAUNCH(eqi_batch_norm_scale<T>, eqi_blocks(e.count, BLOCK), BLOCK, 0, eqi_stream(ctx), e, c,
               (const T *)a->diff_dst->data, (T *)a->diff_src->data);
    return EQUINV_OK;
}

/* The same for both element types. */
template <eqi_batch_norm_execute *F32, eqi_batch_norm_execute *F64>
static equinv_status either(const equinv_context *ctx, const eqi_batch_norm_problem *p,
                            const eqi_batch_norm_args *a)
{
    return (p->dtype == EQUINV_F32 ? F32 : F64)(ctx, p, a);
}

static bool supports_all(const void *, const eqi_hardware *, const char **)
{
    return true;
}

static const eqi_batch_norm_implementation pieced = {
    {"batch_norm/pieces", supports_all, NULL},
    2 * PIECES,
    5,
    either<forward_train<float>, forward_train<double>>,
    either<forward_eval<float>, forward_eval<double>>,
    either<backward_train<float>, backward_train<double>>,
    either<backward_eval<float>, backward_eval<double>>,
};

const eqi_implementation *const eqi_cuda_batch_norm_list[] = {&pieced.head, NULL};
