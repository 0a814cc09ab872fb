/*
 * Pooling, all kinds as one window over [G, H, W]. Small windows take a thread an output, large ones a
 * team of a block's threads; means and blurs are summed in double. Backward gathers: every element of diff_src
 * goes through the outputs whose window has it. Threads follow the memory, whatever the layout.
 */
#include "cuda/divide.cuh"
#include "cuda/operations.cuh"
#include "cuda/reduce.cuh"

extern "C" {
#include "internal/pool.h"
}

enum {
    BLOCK = 256,
    LARGE = 64, /* places in a window, from which on a team works on it */
    TEAM_SHARE =
        8 /* places for each of its threads, where the team is not the whole block anyway */
};

namespace
{
/* Elements of a map in the order of memory: axes by falling stride. */
struct order {
    int64_t count;
    eqi_divisor extent[5];
    int32_t axis[5];
};

/* What a call works on; maps of its dtype. */
struct pooling {
    eqi_pool_problem p;
    equinv_tensor src, dst; /* in backward the gradients */
    order elements;         /* of what is written */
    double share;           /* of one place in a mean; 1 otherwise */
};

/* Large windows: what of them can lie inside a map, and how a block's threads share several. */
struct teams {
    int64_t places, tasks;
    eqi_divisor height, width;
    unsigned count; /* windows of a block, a power of two */
};
} // namespace

/* ---- in kernels ------------------------------------------------------------------------------ */

static __device__ void find(const order &o, int64_t index, int64_t (&at)[5])
{
    for (int i = 4; i >= 0; i--) {
        const int64_t rest = o.extent[i].quotient(index), place = index - rest * o.extent[i].by;
        /* a constant index into `at` keeps it in registers */
        for (int axis = 0; axis < 5; axis++)
            if (o.axis[i] == axis)
                at[axis] = place;
        index = rest;
    }
}

static __device__ eqi_range places_of(const eqi_pool_problem &p, int axis, int64_t output)
{
    return eqi_window_places(output, p.window[axis].kernel, p.window[axis].stride,
                             p.window[axis].padding, p.src[2 + axis]);
}

/* Constant strides first: they need no division. */
static __device__ eqi_range outputs_of(const eqi_pool_problem &p, int axis, int64_t place)
{
    const int64_t kernel = p.window[axis].kernel, stride = p.window[axis].stride;
    const int64_t padding = p.window[axis].padding, outputs = p.dst[2 + axis];
    if (stride == 1)
        return eqi_window_outputs(place, kernel, 1, padding, outputs);
    if (stride == 2)
        return eqi_window_outputs(place, kernel, 2, padding, outputs);
    return eqi_window_outputs(place, kernel, stride, padding, outputs);
}

static __device__ double weight_of(const eqi_pool_problem &p, int64_t y, int64_t x, int64_t at_y,
                                   int64_t at_x)
{
    return eqi_pool_weight(&p, 1, y, at_y) * eqi_pool_weight(&p, 2, x, at_x);
}

static __device__ int64_t row_major(const int64_t (&shape)[5], const int64_t (&at)[5])
{
    return (((at[0] * shape[1] + at[1]) * shape[2] + at[2]) * shape[3] + at[3]) * shape[4] + at[4];
}

namespace
{
/* The winner of some places: a NaN, else the largest, the first of equals. */
template <typename T> struct largest {
    T value;
    int64_t index; /* into [G, H, W]; -1: no place yet */

    static __device__ largest none()
    {
        return {T(0), -1};
    }

    __device__ void add(const largest &other)
    {
        if (other.index >= 0 && (index < 0 || loses_to(other)))
            *this = other;
    }

    __device__ void take(const pooling &c, const int64_t (&)[5], int64_t h, int64_t y, int64_t x,
                         T other)
    {
        add({other, (h * c.p.src[3] + y) * c.p.src[4] + x});
    }

    __device__ bool loses_to(const largest &other) const
    {
        const bool nan = value != value, other_nan = other.value != other.value;
        if (nan || other_nan)
            return other_nan && (!nan || other.index < index);
        return other.value > value || (other.value == value && other.index < index);
    }

    __device__ void put(const pooling &c, int64_t to, int64_t number, int32_t *saved) const
    {
        ((T *)c.dst.data)[to] = value;
        if (saved)
            saved[number] = (int32_t)index;
    }
};

template <typename T> struct mean {
    double sum;

    static __device__ mean none()
    {
        return {0};
    }

    __device__ void add(const mean &other)
    {
        sum += other.sum;
    }

    __device__ void take(const pooling &, const int64_t (&)[5], int64_t, int64_t, int64_t, T value)
    {
        sum += (double)value;
    }

    __device__ void put(const pooling &c, int64_t to, int64_t, int32_t *) const
    {
        ((T *)c.dst.data)[to] = (T)(sum * c.share);
    }
};

template <typename T> struct blurred : mean<T> {
    static __device__ blurred none()
    {
        return {};
    }

    __device__ void take(const pooling &c, const int64_t (&at)[5], int64_t, int64_t y, int64_t x,
                         T value)
    {
        this->sum += (double)value * weight_of(c.p, at[3], at[4], y, x);
    }
};
} // namespace

template <typename T, typename R>
static __device__ void take(const pooling &c, const int64_t (&at)[5], int64_t h, int64_t y,
                            int64_t x, R &result)
{
    const int64_t from = eqi_offset5(&c.src, at[0], at[1], h, y, x);
    result.take(c, at, h, y, x, ((const T *)c.src.data)[from]);
}

template <typename R>
static __device__ void put(const pooling &c, const int64_t (&at)[5], const R &result,
                           int32_t *saved)
{
    result.put(c, eqi_offset5(&c.dst, at[0], at[1], at[2], at[3], at[4]), row_major(c.p.dst, at),
               saved);
}

/* ---- kernels --------------------------------------------------------------------------------- */

template <typename T, typename R> __global__ void eqi_pool_small(pooling c, int32_t *saved)
{
    EQI_FOR_EACH(i, c.elements.count)
    {
        int64_t at[5];
        find(c.elements, i, at);
        const eqi_range hs = places_of(c.p, 0, at[2]);
        const eqi_range ys = places_of(c.p, 1, at[3]), xs = places_of(c.p, 2, at[4]);
        R result = R::none();
        for (int64_t h = hs.first; h <= hs.last; h++)
            for (int64_t y = ys.first; y <= ys.last; y++)
                for (int64_t x = xs.first; x <= xs.last; x++)
                    take<T>(c, at, h, y, x, result);
        put(c, at, result, saved);
    }
}

template <typename T, typename R> __global__ void eqi_pool_large(pooling c, teams t, int32_t *saved)
{
    EQI_SHARED(R, shared, BLOCK);
    const unsigned team = threadIdx.x % t.count, member = threadIdx.x / t.count;
    for (int64_t task = blockIdx.x; task < t.tasks; task += gridDim.x) {
        const int64_t i = task * t.count + team;
        const bool any = i < c.elements.count;
        int64_t at[5] = {0};
        if (any)
            find(c.elements, i, at);
        const eqi_range hs = places_of(c.p, 0, at[2]);
        const eqi_range ys = places_of(c.p, 1, at[3]), xs = places_of(c.p, 2, at[4]);
        R result = R::none();
        for (int64_t k = member; any && k < t.places; k += blockDim.x / t.count) {
            const int64_t row = t.width.quotient(k), plane = t.height.quotient(row);
            const int64_t h = hs.first + plane, y = ys.first + row - plane * t.height.by;
            const int64_t x = xs.first + k - row * t.width.by;
            if (h <= hs.last && y <= ys.last && x <= xs.last)
                take<T>(c, at, h, y, x, result);
        }
        result = eqi_join_teams(result, shared, t.count);
        if (any && member == 0)
            put(c, at, result, saved);
    }
}

template <typename T, bool BLUR> __global__ void eqi_pool_backward(pooling c, const int32_t *saved)
{
    EQI_FOR_EACH(i, c.elements.count)
    {
        int64_t at[5];
        find(c.elements, i, at);
        const eqi_range gs = outputs_of(c.p, 0, at[2]);
        const eqi_range ys = outputs_of(c.p, 1, at[3]), xs = outputs_of(c.p, 2, at[4]);
        const int64_t index = (at[2] * c.p.src[3] + at[3]) * c.p.src[4] + at[4];
        double sum = 0;
        for (int64_t g = gs.first; g <= gs.last; g++)
            for (int64_t y = ys.first; y <= ys.last; y++)
                for (int64_t x = xs.first; x <= xs.last; x++) {
                    const int64_t output[5] = {at[0], at[1], g, y, x};
                    const double weight = BLUR ? weight_of(c.p, y, x, at[3], at[4]) : 1;
                    const int64_t from = eqi_offset5(&c.dst, at[0], at[1], g, y, x);
                    if (!saved || saved[row_major(c.p.dst, output)] == index)
                        sum += (double)((const T *)c.dst.data)[from] * weight;
                }
        eqi_put(&c.src, eqi_offset5(&c.src, at[0], at[1], at[2], at[3], at[4]), sum * c.share,
                c.p.accumulate);
    }
}

/* ---- layout ---------------------------------------------------------------------------------- */

/* Elements of a map of this shape, in the order of a map's memory. */
static order order_of(const int64_t (&shape)[5], const equinv_tensor *map)
{
    order o = {};
    o.count = 1;
    for (int32_t i = 0; i < 5; i++) {
        int32_t place = i;
        for (; place > 0 && llabs(map->strides[o.axis[place - 1]]) < llabs(map->strides[i]);
             place--)
            o.axis[place] = o.axis[place - 1];
        o.axis[place] = i;
        o.count *= shape[i];
    }
    for (int32_t i = 0; i < 5 && o.count > 0; i++)
        o.extent[i] = eqi_divisor_of(shape[o.axis[i]]);
    return o;
}

/* Stride of the axis that outputs follow fastest. */
static int64_t fastest(const order &o, const equinv_tensor *map)
{
    for (int32_t i = 4; i >= 0; i--)
        if (o.extent[i].by > 1)
            return llabs(map->strides[o.axis[i]]);
    return INT64_MAX;
}

/*
 * A warp reads neighbours in memory: places of one window where at least a warp of them lies within the
 * step from output to output, else the windows of neighbouring outputs.
 */
static teams teams_of(const pooling &c)
{
    const int64_t step = fastest(c.elements, &c.src);
    int64_t inside = 1, extent[3];
    teams t = {};
    t.places = 1;
    for (int axis = 0; axis < 3; axis++) {
        const int64_t kernel = c.p.window[axis].kernel, all = c.p.src[2 + axis];
        extent[axis] = kernel < all ? kernel : all;
        t.places *= extent[axis];
        inside *= llabs(c.src.strides[2 + axis]) < step ? extent[axis] : 1;
    }
    t.height = eqi_divisor_of(extent[1]);
    t.width = eqi_divisor_of(extent[2]);
    t.count = inside >= 32 ? 1 : eqi_power_of_two(c.elements.count, 1, 32);
    t.tasks = c.elements.count / t.count + (c.elements.count % t.count != 0);
    return t;
}

static unsigned threads_of(const teams &t)
{
    const int64_t members = (t.places - 1) / TEAM_SHARE + 1;
    return eqi_power_of_two(members * t.count, 32, BLOCK);
}

static pooling pooling_of(const eqi_pool_problem *p, const equinv_tensor *src,
                          const equinv_tensor *dst)
{
    pooling c = {};
    c.p = *p;
    c.src = *src;
    c.dst = *dst;
    c.share = p->max || p->blur ? 1
                                : 1 / ((double)p->window[0].kernel * (double)p->window[1].kernel *
                                       (double)p->window[2].kernel);
    return c;
}

/* ---- the two calls --------------------------------------------------------------------------- */

template <typename T, typename R>
static equinv_status forward_by(const equinv_context *ctx, const pooling &c, int32_t *saved)
{
    const teams t = teams_of(c);
    if (t.places >= LARGE)
        EQI_LAUNCH((eqi_pool_large<T, R>), eqi_blocks(t.tasks, 1), threads_of(t), 0,
                   eqi_stream(ctx), c, t, saved);
    else
        EQI_LAUNCH((eqi_pool_small<T, R>), eqi_blocks(c.elements.count, BLOCK), BLOCK, 0,
                   eqi_stream(ctx), c, saved);
    return EQUINV_OK;
}

template <typename T>
static equinv_status forward_of(const equinv_context *ctx, const pooling &c, int32_t *saved)
{
    if (c.p.max)
        return forward_by<T, largest<T>>(ctx, c, saved);
    return c.p.blur ? forward_by<T, blurred<T>>(ctx, c, saved)
                    : forward_by<T, mean<T>>(ctx, c, saved);
}

/* Outputs in the order in which src is read: it is the larger one. */
static equinv_status forward(const equinv_context *ctx, const eqi_pool_problem *p,
                             const equinv_tensor *src, const equinv_tensor *dst, int32_t *saved)
{
    pooling c = pooling_of(p, src, dst);
    c.elements = order_of(p->dst, src);
    return p->dtype == EQUINV_F32 ? forward_of<float>(ctx, c, saved)
                                  : forward_of<double>(ctx, c, saved);
}

/* The weights of a blur cost registers, which the others need not pay. */
template <typename T>
static equinv_status backward_by(const equinv_context *ctx, const pooling &c,
                                 const int32_t *winners)
{
    const dim3 grid = eqi_blocks(c.elements.count, BLOCK);
    if (c.p.blur)
        EQI_LAUNCH((eqi_pool_backward<T, true>), grid, BLOCK, 0, eqi_stream(ctx), c, winners);
    else
        EQI_LAUNCH((eqi_pool_backward<T, false>), grid, BLOCK, 0, eqi_stream(ctx), c, winners);
    return EQUINV_OK;
}

static equinv_status backward(const equinv_context *ctx, const eqi_pool_problem *p,
                              const equinv_tensor *diff_dst, const int32_t *saved,
                              const equinv_tensor *diff_src)
{
    pooling c = pooling_of(p, diff_src, diff_dst);
    c.elements = order_of(p->src, diff_src);
    const int32_t *const winners = p->max ? saved : NULL;
    if (p->dtype == EQUINV_F32)
        return backward_by<float>(ctx, c, winners);
    return backward_by<double>(ctx, c, winners);
    return EQUINV_OK;
}

static bool supports_all(const void *, const eqi_hardware *, const char **)
{
    return true;
}

static const eqi_pool_implementation window = {
    {"pool/window", supports_all, NULL}, forward, backward, NULL, NULL};

const eqi_implementation *const eqi_cuda_pool_list[] = {&window.head, NULL};
