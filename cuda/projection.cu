/*
 * Projections of C_n and D_n, as products with their own kernel (product.cuh says why not cuBLAS's).
 *
 * LINEAR, MEAN   the sums of z over the orbits of coordinates, for a tile of rows in scratch, times the
 *                folded templates [K, orbits]. Backward: the product's other side, every member of an
 *                orbit gets the same number.
 * other kinds    <w_k, g z> with the templates turned on the way into shared memory; orbits of up to 64
 *                elements are reduced inside the product's tile, larger ones pass through scratch for a
 *                tile of rows. Backward: coefficients [rows, K |G|] of a tile of rows in scratch, times
 *                the turned templates.
 */
#include "cuda/memory.cuh"
#include "cuda/operations.cuh"
#include "cuda/projection.cuh"
#include "cuda/rows.cuh"

enum {
    BLOCK = 256,
    REDUCE_BLOCK = 128,
/* A tile has at most so many rows, and so many bytes in scratch where a row is not larger. */
#ifdef EQI_CUDA_ON_HOST
    MOST_ROWS = 200, /* tests take small problems through many tiles */
    SCRATCH_BYTES = 32 << 10,
#else
    MOST_ROWS = 8192,
    SCRATCH_BYTES = 16 << 20,
#endif
};

static bool is_folded(const equinv_projection *p)
{
    return p->desc.kind == EQUINV_PROJECT_LINEAR || p->desc.kind == EQUINV_PROJECT_MEAN;
}

static size_t element_size(const equinv_projection *p)
{
    return p->desc.dtype == EQUINV_F32 ? sizeof(float) : sizeof(double);
}

static bool fits_tile(const equinv_projection *p)
{
    return p->order <= EQI_ORBIT_IN_TILE;
}

/* ---- kernels beside the product ------------------------------------------------------------- */

__global__ void eqi_projection_turn(equinv_group group, int32_t order, int64_t height,
                                    int64_t width, int32_t *turned)
{
    const int64_t pixels = height * width, field = order * pixels;
    EQI_FOR_EACH(i, order * field)
    {
        const int64_t g = i / field, in = i - g * field, a = in / pixels, q = in - a * pixels;
        turned[i] = (int32_t)eqi_place(group, (int32_t)g, a, q / width, q % width, height, width);
    }
}

/* folded [K, orbits]: the mean over an orbit, scaled. */
template <typename T>
__global__ void eqi_projection_fold_templates(eqi_latents l, int64_t k, double scale, const T *w,
                                              T *folded)
{
    const int64_t orbits = l.columns();
    EQI_FOR_EACH(i, k * orbits)
    {
        const eqi_spot spot = l.at(i % orbits);
        const T *const row = w + i / orbits * l.row;
        double sum = 0;
        for (int32_t h = 0; h < l.members(); h++)
            sum += double(row[l.member(spot, h)]);
        folded[i] = T(sum * scale / l.members());
    }
}

/* to [rows, columns]: latents row-major, or their sums over orbits. */
template <typename T>
__global__ void eqi_projection_gather(eqi_latents l, int64_t rows, const T *z, T *to)
{
    const int64_t columns = l.columns(), chunks = (rows + EQI_SUM_ROWS - 1) / EQI_SUM_ROWS;
    EQI_FOR_EACH(i, chunks * columns)
    {
        const int64_t column = i % columns, first = i / columns * EQI_SUM_ROWS;
        double sums[EQI_SUM_ROWS];
        eqi_sum_members(l, l.at(column), z + first * l.row, rows - first, sums);
        for (int r = 0; r < EQI_SUM_ROWS && first + r < rows; r++)
            to[(first + r) * columns + column] = T(sums[r]);
    }
}

/* Whether value x of element g comes before y of h as the maximum; as eqi_orbit_exceeds in any order. */
__device__ __forceinline__ bool beats(double x, int32_t g, double y, int32_t h)
{
    const bool odd = x != x, other = y != y;
    if (odd != other)
        return odd;
    return !odd && x != y ? x > y : g < h;
}

/* Orbits too large for a tile: inner products v [rows, K, |G|], one block an orbit. */
template <typename T>
__global__ void __launch_bounds__(REDUCE_BLOCK)
    eqi_projection_reduce(eqi_orbit_result<T> result, int64_t rows, const T *v)
{
    EQI_SHARED(double, value, REDUCE_BLOCK);
    EQI_SHARED(int32_t, element, REDUCE_BLOCK);
    const int32_t order = result.order, thread = (int32_t)threadIdx.x;
    const bool most = result.kind == EQUINV_PROJECT_MAX;
    for (int64_t i = blockIdx.x; i < rows * result.k; i += gridDim.x) {
        const int64_t b = i / result.k, k = i % result.k;
        const T *const orbit = v + i * order;
        if (result.has_elements())
            for (int32_t g = thread; g < order; g += REDUCE_BLOCK)
                result.element(b, k, g, orbit);
        if (result.per_element)
            continue;
        double own = 0; /* the thread's maximum or sum: orders are above a block's half */
        int32_t at = INT32_MAX;
        for (int32_t g = thread; g < order; g += REDUCE_BLOCK) {
            const double x = double(orbit[g]) * result.scale;
            if (!most)
                own += eqi_orbit_term(result.kind, x);
            else if (at == INT32_MAX || eqi_orbit_exceeds(x, own)) {
                own = x;
                at = g;
            }
        }
        value[thread] = own;
        element[thread] = at;
        for (int32_t half = REDUCE_BLOCK / 2; half > 0; half /= 2) {
            __syncthreads();
            if (thread >= half)
                continue;
            const double x = value[thread + half];
            const int32_t g = element[thread + half];
            if (!most)
                value[thread] += x;
            else if (g != INT32_MAX && beats(x, g, value[thread], element[thread])) {
                value[thread] = x;
                element[thread] = g;
            }
        }
        if (thread == 0)
            result.store(b, k, most ? value[0] : value[0] / order, element[0]);
        __syncthreads();
    }
}

/* c [rows, K, |G|]: the derivatives by <w_k, g z>. */
template <typename T>
__global__ void eqi_projection_coefficients(eqi_orbit_result<T> call, int64_t rows, T *c)
{
    EQI_FOR_EACH(i, rows * call.k * call.order)
    {
        const int64_t orbit = i / call.order, b = orbit / call.k, k = orbit - b * call.k;
        const int32_t place = (int32_t)(i - orbit * call.order);
        const T *const diff = call.dst + b * call.strides[0] + k * call.strides[1];
        const double d = double(diff[call.per_element ? place * call.strides[2] : 0]);
        if (call.kind == EQUINV_PROJECT_SORTED) {
            const int32_t g = ((const int32_t *)call.saved)[i];
            if (g >= 0 && g < call.order)
                c[orbit * call.order + g] = T(d * call.scale);
        } else if (call.kind == EQUINV_PROJECT_MAX) {
            c[i] = ((const int32_t *)call.saved)[orbit] == place ? T(d * call.scale) : T(0);
        } else if (call.kind == EQUINV_PROJECT_ORBIT) {
            c[i] = T(d * call.scale);
        } else {
            const double v = double(((const T *)call.saved)[i]);
            c[i] = T(eqi_orbit_slope(call.kind, v, d / call.order) * call.scale);
        }
    }
}

/* ---- creation ------------------------------------------------------------------------------- */

template <typename T> static equinv_status fold_templates(const equinv_projection *p, void *to)
{
    const eqi_latents l = eqi_latents_of(p->desc.group, &p->templates, true);
    EQI_LAUNCH(eqi_projection_fold_templates<T>, eqi_blocks(p->k * p->rank, BLOCK), BLOCK, 0,
               eqi_stream(p->ctx), l, p->k, p->scale, (const T *)p->templates.data, (T *)to);
    return EQUINV_OK;
}

static equinv_status fill_prepared(const equinv_projection *p, void *to)
{
    if (!is_folded(p))
        EQI_LAUNCH(eqi_projection_turn,
                   eqi_blocks(p->order * (p->dimension / p->desc.fields), BLOCK), BLOCK, 0,
                   eqi_stream(p->ctx), p->desc.group, p->order, p->desc.height, p->desc.width,
                   (int32_t *)to);
    else if (p->desc.dtype == EQUINV_F32)
        EQI_TRY(fold_templates<float>(p, to));
    else
        EQI_TRY(fold_templates<double>(p, to));
    EQI_CUDA_TRY(cudaStreamSynchronize(eqi_stream(p->ctx)));
    return EQUINV_OK;
}

/* Folded templates [K, orbits], or where g takes a field's coordinates [|G|, field]. */
static equinv_status prepare(equinv_projection *p)
{
    const int64_t field = p->dimension / p->desc.fields;
    size_t size = element_size(p);
    const bool overflow =
        is_folded(p)
            ? __builtin_mul_overflow(size, (size_t)(p->k * p->rank), &size)
            : __builtin_mul_overflow(sizeof(int32_t) * (size_t)p->order, (size_t)field, &size);
    void *const memory = overflow ? NULL : eqi_cuda_alloc(p->ctx, size);
    EQI_CHECK(memory, NOMEM, "no memory of the device for prepared templates, %zu bytes", size);
    const equinv_status status = fill_prepared(p, memory);
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

/* ---- a call --------------------------------------------------------------------------------- */

/* Numbers in scratch for a row of a tile: sums over orbits, or latents and inner products. */
static bool row_numbers(const equinv_projection *p, int64_t *numbers)
{
    *numbers = p->rank;
    if (is_folded(p))
        return true;
    const int64_t products = p->k * p->order; /* the coefficients in backward */
    if (!fits_tile(p))
        return !__builtin_add_overflow(products, p->dimension, numbers);
    *numbers = products > p->dimension ? products : p->dimension;
    return true;
}

/* Rows of a tile; a row's bits do not depend on it. */
static int64_t tile_rows(const equinv_projection *p)
{
    int64_t numbers;
    if (!row_numbers(p, &numbers))
        return 1;
    const int64_t fit = SCRATCH_BYTES / (int64_t)element_size(p) / numbers;
    return fit < 1 ? 1 : fit > MOST_ROWS ? int64_t(MOST_ROWS) : fit;
}

static bool scratch(const equinv_projection *p, size_t *slice, size_t *shared)
{
    int64_t numbers;
    *slice = 0;
    return row_numbers(p, &numbers) &&
           !__builtin_mul_overflow((size_t)numbers, element_size(p), shared) &&
           !__builtin_mul_overflow(*shared, (size_t)tile_rows(p), shared);
}

/* One typed call; rows first .. first + rows - 1 are a tile of it. */
template <typename T> struct work {
    const equinv_projection *p;
    const eqi_projection_call *call;
    eqi_latents latents;
    eqi_turned<T> templates;
    T *z; /* src, or its gradient */
    eqi_orbit_result<T> result;

    work(const equinv_projection *projection, const eqi_projection_call *given)
        : p(projection), call(given),
          latents(eqi_latents_of(p->desc.group, &call->src, is_folded(p))), z((T *)call->src.data)
    {
        const bool folded = is_folded(p);
        const int64_t *const s = call->dst.strides;
        templates.w = (const T *)(folded ? p->prepared : p->templates.data);
        templates.turned = folded ? NULL : (const int32_t *)p->prepared;
        templates.k = p->k;
        templates.dimension = folded ? p->rank : p->dimension;
        templates.order = folded ? 1 : p->order;
        templates.field = folded ? 1 : (int32_t)(p->dimension / p->desc.fields);
        const bool per_element = call->dst.ndim == 3;
        result = {p->desc.kind,
                  keeps(p->desc.kind),
                  p->order,
                  per_element,
                  p->k,
                  p->scale,
                  (T *)call->dst.data,
                  {s[0], s[1], per_element ? s[2] : 0},
                  call->saved};
    }

    static eqi_saved_kind keeps(equinv_projection_kind kind)
    {
        switch (kind) {
        case EQUINV_PROJECT_MAX:
        case EQUINV_PROJECT_SORTED: return EQI_SAVED_INDEX;
        case EQUINV_PROJECT_ORBIT: return EQI_SAVED_NONE;
        default: return EQI_SAVED_VALUE;
        }
    }

    /* The result for the rows from `first` on. */
    eqi_orbit_result<T> from(int64_t first) const
    {
        eqi_orbit_result<T> r = result;
        const size_t size = r.keeps == EQI_SAVED_INDEX ? sizeof(int32_t) : sizeof(T);
        const int64_t numbers =
            r.k * (r.per_element || r.keeps == EQI_SAVED_VALUE ? int64_t(r.order) : 1);
        r.dst += first * r.strides[0];
        if (r.saved)
            r.saved = (char *)r.saved + (size_t)(first * numbers) * size;
        return r;
    }

    /* Whether a latent is row-major, so that a product reads it where it is. */
    bool is_dense() const
    {
        const int64_t extents[4] = {latents.fields, latents.order, latents.height, latents.width};
        int64_t step = 1;
        for (int axis = 3; axis >= 0; axis--) {
            if (extents[axis] != 1 && latents.strides[axis] != step)
                return false;
            step *= extents[axis];
        }
        return true;
    }

    /* Rows as the left side of a product: in place, or gathered. */
    equinv_status gather(int64_t first, int64_t rows, T *to) const
    {
        const int64_t chunks = (rows + EQI_SUM_ROWS - 1) / EQI_SUM_ROWS;
        EQI_LAUNCH(eqi_projection_gather<T>, eqi_blocks(chunks * latents.columns(), BLOCK), BLOCK,
                   0, eqi_stream(p->ctx), latents, rows, (const T *)z + first * latents.row, to);
        return EQUINV_OK;
    }

    eqi_left<T> rows_of(int64_t first, int64_t rows, bool in_place, const T *gathered) const
    {
        const int64_t columns = latents.columns();
        return in_place ? eqi_left<T>{z + first * latents.row, rows, columns, latents.row, 1}
                        : eqi_left<T>{gathered, rows, columns, columns, 1};
    }

    equinv_status folded_forward(int64_t first, int64_t rows) const
    {
        T *const sums = (T *)call->scratch;
        EQI_TRY(gather(first, rows, sums));
        eqi_by_template<T> b = {};
        b.t = templates;
        b.in_tile = EQI_PRODUCT_COLUMNS;
        const eqi_to_matrix<T> out = {result.dst + first * result.strides[0], rows, p->k,
                                      result.strides[0], result.strides[1]};
        return eqi_multiply(p->ctx, rows_of(first, rows, false, sums), b, out);
    }

    equinv_status orbit_forward(int64_t first, int64_t rows, bool in_place) const
    {
        T *const gathered = (T *)call->scratch;
        if (!in_place)
            EQI_TRY(gather(first, rows, gathered));
        const eqi_left<T> a = rows_of(first, rows, in_place, gathered);
        eqi_by_template<T> b = {};
        b.t = templates;
        b.in_tile = EQI_PRODUCT_COLUMNS;
        const eqi_orbit_result<T> r = from(first);
        if (fits_tile(p)) {
            const int32_t whole = EQI_ORBIT_IN_TILE / p->order;
            b.in_tile = whole * p->order;
            return eqi_multiply(p->ctx, a, b, eqi_to_orbits<T>{r, rows, whole});
        }
        T *const products = gathered + rows * p->dimension;
        const int64_t columns = p->k * p->order;
        EQI_TRY(eqi_multiply(p->ctx, a, b, eqi_to_matrix<T>{products, rows, columns, columns, 1}));
        EQI_LAUNCH(eqi_projection_reduce<T>, eqi_blocks(rows * p->k, 1), REDUCE_BLOCK, 0,
                   eqi_stream(p->ctx), r, rows, (const T *)products);
        return EQUINV_OK;
    }

    equinv_status spread(int64_t first, const eqi_left<T> &a) const
    {
        eqi_by_coordinate<T> b = {};
        b.t = templates;
        const eqi_to_latents<T> out = {z + first * latents.row, latents, a.rows,
                                       p->desc.accumulate};
        return eqi_multiply(p->ctx, a, b, out);
    }

    equinv_status orbit_backward(int64_t first, int64_t rows) const
    {
        T *const coefficients = (T *)call->scratch;
        const int64_t columns = p->k * p->order;
        EQI_LAUNCH(eqi_projection_coefficients<T>, eqi_blocks(rows * columns, BLOCK), BLOCK, 0,
                   eqi_stream(p->ctx), from(first), rows, coefficients);
        return spread(first, eqi_left<T>{coefficients, rows, columns, columns, 1});
    }

    equinv_status forward() const
    {
        const int64_t batch = call->src.shape[0];
        const bool folded = is_folded(p), in_place = is_dense();
        const int64_t most = !folded && in_place && fits_tile(p) ? batch : tile_rows(p);
        for (int64_t first = 0; first < batch; first += most) {
            const int64_t rows = batch - first < most ? batch - first : most;
            EQI_TRY(folded ? folded_forward(first, rows) : orbit_forward(first, rows, in_place));
        }
        return EQUINV_OK;
    }

    equinv_status backward() const
    {
        const int64_t batch = call->src.shape[0], most = tile_rows(p);
        const int64_t *const s = result.strides;
        if (is_folded(p))
            return spread(0, eqi_left<T>{result.dst, batch, p->k, s[0], s[1]});
        for (int64_t first = 0; first < batch; first += most)
            EQI_TRY(orbit_backward(first, batch - first < most ? batch - first : most));
        return EQUINV_OK;
    }
};

static equinv_status forward(const equinv_projection *p, const eqi_projection_call *call)
{
    return p->desc.dtype == EQUINV_F32 ? work<float>(p, call).forward()
                                       : work<double>(p, call).forward();
}

static equinv_status backward(const equinv_projection *p, const eqi_projection_call *call)
{
    return p->desc.dtype == EQUINV_F32 ? work<float>(p, call).backward()
                                       : work<double>(p, call).backward();
}

static bool supports(const void *problem, const eqi_hardware *hardware, const char **why)
{
    const equinv_projection *const p = (const equinv_projection *)problem;
    (void)hardware;
    const bool turned = !p->symmetric && !is_folded(p);
    return eqi_require(!p->symmetric, why, "sorting of rows is no product") &&
           eqi_cuda_reduces(p, why) &&
           eqi_require(!p->spectral, why, "there are no kernels for spectra of signals") &&
           eqi_require(!turned || p->dimension / p->desc.fields * p->order <= INT32_MAX, why,
                       "a field has 2^31 / |G| numbers or more");
}

static const eqi_projection_implementation tiles = {
    {"projection/tiles", supports, NULL}, prepare, release, scratch, forward, backward, NULL,
};

const eqi_implementation *const eqi_cuda_projection_list[] = {
    &tiles.base,
    &eqi_cuda_rows.base,
    NULL,
};
