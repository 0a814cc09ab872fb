/*
 * Transforms of orbits, for projections: sequences over C_n or D_n to coefficients and back, many
 * at once in vectors. Coefficients of x over C_n, in this order:
 *     sum x(g), for even n also sum (-1)^g x(g), then for 1 <= j < n / 2 the pair
 *     C_j = sum x(g) cos(2 pi j g / n), S_j = sum x(g) sin(2 pi j g / n)
 * Of x over D_n, x0 on the turns r^k and x1 on r^k f, two halves of n numbers:
 *     half 0   sums x0 + x1 (all, alternating), then  C_j(x0) + C_j(x1), S_j(x1) - S_j(x0)
 *     half 1   sums x0 - x1,                    then  S_j(x0) + S_j(x1), C_j(x0) - C_j(x1)
 * The pairs are the columns of sum x(g) rho_j(g)^T, rho_j(r) = [c -s; s c], rho_j(f) = diag(1, -1).
 * `turned` exchanges the last of half 0 and the first of half 1, which gives the columns of sum
 * x(g) rho_j(g). Synthesis is the adjoint of analysis with the other `turned`, and its inverse
 * after weights 1 / |G| on the sums and 2 / |G| on the pairs.
 */
#ifndef EQI_GFOURIER_PROJECTION_H
#define EQI_GFOURIER_PROJECTION_H

#include "internal/projection.h"

/* Sums of direct transforms go through their tables without a look back for so many periods. */
enum { EQI_ORBIT_TURNS = 3 };

typedef struct eqi_orbit_group {
    int32_t n, order;
    bool dihedral;
    const float *cosine, *sine; /* of 2 pi i / n, i < EQI_ORBIT_TURNS n */
} eqi_orbit_group;

/* Sequences as rows of vectors: member a of number i is at a step + i. In place where in = out. */
typedef struct eqi_orbit_transform {
    const eqi_orbit_group *group;
    bool turned;
    int64_t vectors;
    const float *in;
    int64_t in_step;
    float *out;
    int64_t out_step;
    float *room; /* 3 |G| vectors; all aligned to whole ones where a step is one vector */
} eqi_orbit_transform;

/* Orbits of inner products to codes: member g of orbit i < count is at values[g step + i]. */
typedef struct eqi_orbit_codes {
    equinv_projection_kind kind;
    int32_t order;
    int64_t count, step; /* a row of members has whole vectors */
    float *values;       /* left in any order */
    float *dst;
    int64_t dst_step,
        dst_element;          /* from one orbit to the next, from one number of it to the next */
    const int32_t *ranks;     /* SORTED: the `numbers` places that are wanted; NULL: all */
    const double *thresholds; /* CDF: `numbers` of them */
    int64_t numbers;
    void *saved; /* NULL: not wanted; as the projection's, not for SORTED */
} eqi_orbit_codes;

typedef struct eqi_orbit_kernels {
    int64_t lanes;
    /* to[a step + i] = from[member[a] + i field], i < count, and 0 up to a whole vector */
    void (*stage)(const float *from, int64_t field, const int64_t *member, int32_t order,
                  int64_t count, float *to, int64_t step);
    /* Its adjoint: to[member[a] + i field] = from[a step + i], i < count, or with `adds` added to it */
    void (*unstage)(const float *from, int64_t step, const int64_t *member, int32_t order,
                    int64_t count, bool adds, float *to, int64_t field);
    /* to[i] = sum over a of from[member[a] + i field], i < count, and 0 up to a whole vector */
    void (*sum)(const float *from, int64_t field, const int64_t *member, int32_t order,
                int64_t count, float *to);
    void (*analyse)(const eqi_orbit_transform *t);
    void (*synthesise)(const eqi_orbit_transform *t);
    void (*reduce)(const eqi_orbit_codes *c);
} eqi_orbit_kernels;

extern const eqi_orbit_kernels eqi_orbits_scalar;
#if defined(__x86_64__)
extern const eqi_orbit_kernels eqi_orbits_avx2, eqi_orbits_avx512;
#endif
const eqi_orbit_kernels *eqi_orbit_kernels_of(const eqi_hardware *hardware);

/* members[pixel |G| + a]: where member a of that pixel's orbit stands in the first field of latents z. */
void eqi_orbit_members(equinv_group group, int64_t height, int64_t width, const equinv_tensor *z,
                       int64_t *members);

/* Whether the members of an orbit are neighbours, in their order. */
EQI_INLINE bool eqi_is_run(const int64_t *member, int32_t order)
{
    for (int32_t a = 1; a < order; a++)
        if (member[a] != member[0] + a)
            return false;
    return true;
}

/* cosine[i], sine[i] of 2 pi i / n, i < EQI_ORBIT_TURNS n, and what one of them needs. */
size_t eqi_orbit_turns_size(int64_t n);
equinv_status eqi_orbit_turns(int32_t n, float *cosine, float *sine);

#endif
