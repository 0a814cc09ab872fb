/*
 * The two sides of the products of projections: templates turned on the way in, orbits reduced or
 * gradients spread over latents on the way out.
 */
#ifndef EQI_CUDA_PROJECTION_CUH
#define EQI_CUDA_PROJECTION_CUH

#include "cuda/latents.cuh"
#include "cuda/product.cuh"
#include "cuda/rank.cuh"

extern "C" {
#include "internal/projection.h"
}

/* Orbits up to this many elements are reduced inside a tile. */
#define EQI_ORBIT_IN_TILE EQI_PRODUCT_COLUMNS

/*
 * Templates [K, dimension] and, where they are turned, [|G|, field]: number (g, c) says where g takes
 * coordinate c of a field. Folded templates are not turned: order 1, fields of one number, NULL.
 */
template <typename T> struct eqi_turned {
    const T *w;
    const int32_t *turned;
    int64_t k, dimension;
    int32_t order, field; /* order * field is below 2^31 */

    /* <w_k, g z> has this number beside coordinate base + in, `in` inside the field at `base`. */
    __device__ __forceinline__ T at(int64_t template_at, int32_t turned_at, int64_t base,
                                    int32_t in) const
    {
        return w[template_at + base + (turned ? turned[turned_at + in] : in)];
    }
};

/* B [coordinates, (template, element)]; a tile holds whole orbits where they fit. */
template <typename T> struct eqi_by_template {
    eqi_turned<T> t;
    int32_t in_tile; /* columns of a tile that are used */
    int64_t template_at[4];
    int32_t turned_at[4]; /* -1: no column */
    int64_t base;
    int32_t in;

    __host__ __device__ int64_t tiles() const
    {
        return (t.k * t.order + in_tile - 1) / in_tile;
    }

    __device__ __forceinline__ void begin(int64_t tile)
    {
        const int32_t term = (int32_t)threadIdx.x % 16;
        for (int i = 0; i < 4; i++) {
            const int32_t column = (int32_t)threadIdx.x / 16 + 16 * i;
            const int64_t n = tile * in_tile + column, k = n / t.order;
            const bool there = column < in_tile && k < t.k;
            template_at[i] = k * t.dimension;
            turned_at[i] = there ? (int32_t)(n - k * t.order) * t.field : -1;
        }
        in = term % t.field;
        base = term - in;
    }

    __device__ __forceinline__ void load(T (&next)[4])
    {
        for (int i = 0; i < 4; i++)
            next[i] = turned_at[i] >= 0 && base < t.dimension
                          ? t.at(template_at[i], turned_at[i], base, in)
                          : T(0);
        const int32_t step = EQI_PRODUCT_DEPTH % t.field;
        base += EQI_PRODUCT_DEPTH - step;
        in += step;
        if (in >= t.field) {
            in -= t.field;
            base += t.field;
        }
    }

    __device__ __forceinline__ int place(int i) const
    {
        return threadIdx.x % 16 * EQI_PRODUCT_PITCH + threadIdx.x / 16 + 16 * i;
    }
};

/* B [(template, element), coordinates]. */
template <typename T> struct eqi_by_coordinate {
    eqi_turned<T> t;
    int64_t base, template_at;
    int32_t in, g;

    __host__ __device__ int64_t tiles() const
    {
        return (t.dimension + EQI_PRODUCT_COLUMNS - 1) / EQI_PRODUCT_COLUMNS;
    }

    __device__ __forceinline__ void begin(int64_t tile)
    {
        const int64_t column = tile * EQI_PRODUCT_COLUMNS + threadIdx.x % EQI_PRODUCT_COLUMNS;
        const int32_t term = (int32_t)threadIdx.x / EQI_PRODUCT_COLUMNS;
        in = (int32_t)(column % t.field);
        base = column - in;
        template_at = term / t.order * t.dimension;
        g = term % t.order;
    }

    __device__ __forceinline__ void load(T (&next)[4])
    {
        for (int i = 0; i < 4; i++) {
            next[i] = template_at < t.k * t.dimension && base < t.dimension
                          ? t.at(template_at, g * t.field, base, in)
                          : T(0);
            template_at += 4 / t.order * t.dimension;
            g += 4 % t.order;
            if (g >= t.order) {
                g -= t.order;
                template_at += t.dimension;
            }
        }
    }

    __device__ __forceinline__ int place(int i) const
    {
        return (threadIdx.x / EQI_PRODUCT_COLUMNS + 4 * i) * EQI_PRODUCT_PITCH +
               threadIdx.x % EQI_PRODUCT_COLUMNS;
    }
};

/* Out: numbers at dst, [rows, columns] with any strides. */
template <typename T> struct eqi_to_matrix {
    T *dst;
    int64_t rows, columns, row, step;

    template <int R>
    __device__ __forceinline__ void finish(const T (&sum)[R][4], int64_t first, int64_t tile,
                                           T *buffer) const
    {
        const int64_t column = tile * EQI_PRODUCT_COLUMNS + threadIdx.x % EQI_PRODUCT_COLUMNS;
        eqi_in_slabs<T, R>(sum, buffer, [&](int slab, const T *values) {
            for (int r = threadIdx.x / EQI_PRODUCT_COLUMNS; r < eqi_tile<T, R>::SLAB_ROWS; r += 4)
                if (first + slab + r < rows && column < columns)
                    dst[(first + slab + r) * row + column * step] =
                        values[r * EQI_SLAB_PITCH + threadIdx.x % EQI_PRODUCT_COLUMNS];
        });
    }
};

/* Out: every column is the gradient of a coordinate, or of every member of an orbit. */
template <typename T> struct eqi_to_latents {
    T *dst;
    eqi_latents latents;
    int64_t rows;
    bool accumulate;

    template <int R>
    __device__ __forceinline__ void finish(const T (&sum)[R][4], int64_t first, int64_t tile,
                                           T *buffer) const
    {
        const int64_t column = tile * EQI_PRODUCT_COLUMNS + threadIdx.x % EQI_PRODUCT_COLUMNS;
        const bool there = column < latents.columns();
        const eqi_spot spot = latents.at(there ? column : 0);
        eqi_in_slabs<T, R>(sum, buffer, [&](int slab, const T *values) {
            for (int32_t h = 0; there && h < latents.members(); h++) {
                const int64_t offset = latents.member(spot, h);
                for (int r = threadIdx.x / EQI_PRODUCT_COLUMNS; r < eqi_tile<T, R>::SLAB_ROWS;
                     r += 4) {
                    const int64_t b = first + slab + r;
                    if (b >= rows)
                        break;
                    T *const to = dst + b * latents.row + offset;
                    const T value = values[r * EQI_SLAB_PITCH + threadIdx.x % EQI_PRODUCT_COLUMNS];
                    *to = accumulate ? *to + value : value;
                }
            }
        });
    }
};

/* What becomes of the inner products v[g] of row b and template k, unscaled. */
template <typename T> struct eqi_orbit_result {
    equinv_projection_kind kind;
    eqi_saved_kind keeps;
    int32_t order;
    bool per_element; /* dst has an axis over the group */
    int64_t k;
    double scale;
    T *dst;
    int64_t strides[3];
    void *saved; /* NULL: not wanted */

    /* Kinds with one number an orbit, made by one thread. */
    __device__ __forceinline__ void reduce(int64_t b, int64_t template_, const T *v) const
    {
        double result = double(v[0]) * scale;
        if (kind == EQUINV_PROJECT_MAX) {
            int32_t at = 0;
            for (int32_t g = 1; g < order; g++) {
                const double x = double(v[g]) * scale;
                if (eqi_orbit_exceeds(x, result)) {
                    result = x;
                    at = g;
                }
            }
            store(b, template_, result, at);
            return;
        }
        double sum = 0;
        for (int32_t g = 0; g < order; g++)
            sum += eqi_orbit_term(kind, double(v[g]) * scale);
        store(b, template_, sum / order, 0);
    }

    __device__ __forceinline__ void store(int64_t b, int64_t template_, double result,
                                          int32_t element) const
    {
        dst[b * strides[0] + template_ * strides[1]] = T(result);
        if (saved && keeps == EQI_SAVED_INDEX)
            ((int32_t *)saved)[b * k + template_] = element;
    }

    /* Whether single elements are put out: the kind's own numbers, or what it saves. */
    __device__ __forceinline__ bool has_elements() const
    {
        return per_element || (saved && keeps == EQI_SAVED_VALUE);
    }

    __device__ __forceinline__ void element(int64_t b, int64_t template_, int32_t g,
                                            const T *v) const
    {
        const T value = T(double(v[g]) * scale);
        int32_t place = g;
        if (kind == EQUINV_PROJECT_SORTED) {
            const eqi_code<T> own = eqi_sort_code(v[g]);
            place = 0;
            for (int32_t h = 0; h < order; h++)
                place += eqi_stands_before(eqi_sort_code(v[h]), h, own, g);
        }
        if (per_element)
            dst[b * strides[0] + template_ * strides[1] + place * strides[2]] = value;
        const int64_t at = (b * k + template_) * order + place;
        if (saved && keeps == EQI_SAVED_INDEX)
            ((int32_t *)saved)[at] = g;
        else if (saved && keeps == EQI_SAVED_VALUE)
            ((T *)saved)[at] = value;
    }
};

/* Out: the orbits of a tile, each from one number or element after the other. */
template <typename T> struct eqi_to_orbits {
    eqi_orbit_result<T> result;
    int64_t rows;
    int32_t templates; /* of a tile */

    template <int R>
    __device__ __forceinline__ void finish(const T (&sum)[R][4], int64_t first, int64_t tile,
                                           T *buffer) const
    {
        enum { ROWS = eqi_tile<T, R>::SLAB_ROWS };
        const int32_t order = result.order, width = templates * order;
        eqi_in_slabs<T, R>(sum, buffer, [&](int slab, const T *values) {
            if (!result.per_element)
                for (int i = threadIdx.x; i < ROWS * templates; i += EQI_PRODUCT_BLOCK) {
                    const int64_t b = first + slab + i % ROWS, k = tile * templates + i / ROWS;
                    if (b < rows && k < result.k)
                        result.reduce(b, k, values + i % ROWS * EQI_SLAB_PITCH + i / ROWS * order);
                }
            if (result.has_elements())
                for (int i = threadIdx.x; i < ROWS * width; i += EQI_PRODUCT_BLOCK) {
                    const int32_t column = i % width, orbit = column / order;
                    const int64_t b = first + slab + i / width, k = tile * templates + orbit;
                    if (b < rows && k < result.k)
                        result.element(b, k, column - orbit * order,
                                       values + i / width * EQI_SLAB_PITCH + orbit * order);
                }
        });
    }
};

#endif
