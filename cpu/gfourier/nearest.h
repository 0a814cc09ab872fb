/* From orbits of inner products <x, g y> to distances, for cpu/gfourier/orbit_distance.c. */
#ifndef EQI_GFOURIER_NEAREST_H
#define EQI_GFOURIER_NEAREST_H

#include "internal/context.h"

/* One x and some y: member h of the orbit of y number i is at values[h step + i]. */
typedef struct eqi_orbit_nearest {
    int32_t order;
    int64_t vectors, step;
    const float *values;
    float x_square, x_length;         /* |x|^2, infinite where products do not count; |x| */
    const float *y_square, *y_length; /* of whole vectors */
    float relative, at_least;         /* of |x| |y|, and by itself: how far a product may be off */
    float *distance;                  /* whole vectors */
    int32_t *member; /* the same: which is the largest; NULL: not wanted (bounds: always is) */
} eqi_orbit_nearest;

/* Bits of at most 64 y that products do not decide. */
typedef struct eqi_undecided {
    uint64_t distance; /* it is small beside the lengths, or these are out of range */
    uint64_t member;   /* two of them are as large, for all that is known */
} eqi_undecided;

typedef struct eqi_nearest_kernels {
    eqi_undecided (*distances)(const eqi_orbit_nearest *n);
    /*
     * The squares of distances, not too large whatever the rounding; -inf where nothing is known. Members are
     * -1 where products do not decide, for squares in double either.
     */
    void (*bounds)(const eqi_orbit_nearest *n);
    /* The first of bounds[from .. count - 1] that is at most the limit, which is not NaN; count if none is. */
    int64_t (*next)(const float *bounds, int64_t from, int64_t count, float limit);
    /* to[f + places[i]] = from[f + i] for every field of the row, f = 0, field, .. */
    void (*turn)(const float *from, const int32_t *places, int64_t field, int64_t dimension,
                 float *to);
} eqi_nearest_kernels;

extern const eqi_nearest_kernels eqi_nearest_scalar;
#if defined(__x86_64__)
extern const eqi_nearest_kernels eqi_nearest_avx2, eqi_nearest_avx512;
#endif

const eqi_nearest_kernels *eqi_nearest_kernels_of(const eqi_hardware *hardware);

#endif
