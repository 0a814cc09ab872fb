/*
 * Latents [B, F, G, H, W] of any strides as kernels address them: by their coordinates, row-major, or
 * by the orbits of coordinates [F, H, W], each with |G| members.
 */
#ifndef EQI_CUDA_LATENTS_CUH
#define EQI_CUDA_LATENTS_CUH

#include "cuda/divide.cuh"

/* One coordinate, or an orbit by its member at the identity; `base` is the offset without the pixel. */
typedef struct eqi_spot {
    int64_t base, y, x;
} eqi_spot;

typedef struct eqi_latents {
    equinv_group group;
    int32_t order;
    bool orbits; /* columns are orbits, not coordinates */
    int64_t fields, height, width;
    eqi_divisor by_order, by_height, by_width;
    int64_t row, strides[4]; /* of B; of F, G, H, W */

    __host__ __device__ int64_t columns() const
    {
        return fields * height * width * (orbits ? 1 : order);
    }

    __host__ __device__ int32_t members() const
    {
        return orbits ? order : 1;
    }

    __device__ __forceinline__ eqi_spot at(int64_t column) const
    {
        const int64_t line = by_width.quotient(column), image = by_height.quotient(line);
        const int64_t f = orbits ? image : by_order.quotient(image);
        const int64_t a = orbits ? 0 : image - f * order;
        return {f * strides[0] + a * strides[1], line - image * height, column - line * width};
    }

    /* Offset of member h: where h takes (identity, y, x). */
    __device__ __forceinline__ int64_t member(eqi_spot s, int32_t h) const
    {
        eqi_pixel q = {s.y, s.x};
        if (orbits && height * width > 1)
            q = eqi_move(eqi_motion_of(group, h), s.y, s.x, height, width);
        return s.base + (orbits ? h * strides[1] : 0) + q.y * strides[2] + q.x * strides[3];
    }
} eqi_latents;

/* Empty extents are no divisors; nothing is divided there. */
static inline eqi_divisor eqi_extent_divisor(int64_t extent)
{
    return eqi_divisor_of(extent > 0 ? extent : 1);
}

static inline eqi_latents eqi_latents_of(equinv_group group, const equinv_tensor *t, bool orbits)
{
    eqi_latents l = {};
    l.group = group;
    l.order = eqi_order(group);
    l.orbits = orbits;
    l.fields = t->shape[1], l.height = t->shape[3], l.width = t->shape[4];
    l.by_order = eqi_extent_divisor(l.order);
    l.by_height = eqi_extent_divisor(l.height), l.by_width = eqi_extent_divisor(l.width);
    l.row = t->strides[0];
    for (int axis = 0; axis < 4; axis++)
        l.strides[axis] = t->strides[axis + 1];
    return l;
}

enum {
    EQI_FEW_MEMBERS = 8, /* are added as they are, more in double */
    EQI_SUM_ROWS = 8     /* of a thread: finding the members takes longer than adding them */
};

/* Sums over an orbit (or single coordinates) in `rows` latents, at most EQI_SUM_ROWS, from z on. */
template <typename T>
__device__ __forceinline__ void eqi_sum_members(const eqi_latents &l, eqi_spot spot, const T *z,
                                                int64_t rows, double (&sums)[EQI_SUM_ROWS])
{
    const int32_t members = l.members();
    T few[EQI_SUM_ROWS] = {};
    double many[EQI_SUM_ROWS] = {};
    for (int32_t h = 0; h < members; h++) {
        const T *const from = z + l.member(spot, h);
        for (int r = 0; r < EQI_SUM_ROWS; r++) {
            const T x = r < rows ? from[r * l.row] : T(0);
            if (members <= EQI_FEW_MEMBERS)
                few[r] = h > 0 ? few[r] + x : x; /* a single -0 stays */
            else
                many[r] += double(x);
        }
    }
    for (int r = 0; r < EQI_SUM_ROWS; r++)
        sums[r] = members <= EQI_FEW_MEMBERS ? double(few[r]) : many[r];
}

#endif
