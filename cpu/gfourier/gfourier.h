/*
 * Group convolution through the group Fourier transform. For a tap v let
 *     P_v(h)   = src at the tap h v, element h       phi_v(a) = psi[a, a v]
 * then dst(g) = sum_v sum_a phi_v(a) P_v(g a): a correlation over the group alone, which the transform
 * takes apart into one product for each irreducible representation: a sum of terms
 *     dst^_d += Phi_v,f P^_v,s        for a few (s, f, d)
 * with one number Phi_v,f for each pair of fields: 2 terms for C2, 4 for D2, 5 for C4 (a complex product by
 * 3 real ones) in place of 16 multiplications, 12 for D4 in place of 64. The transforms are additions.
 *
 * Three steps on a tile of pixels, vectors along the pixels throughout:
 *     transform   the planes of src  -> P^, one row of pixels for each (component, field, tap)
 *     product     packed filter . P^ -> dst^, one row for each (component, field)
 *     inverse     dst^ -> dst, with bias
 */
#ifndef EQI_GFOURIER_H
#define EQI_GFOURIER_H

#include "internal/arithmetic.h"
#include "internal/conv.h"

/*
 * Groups by the form of their transform: C2 and D1 are the same one. Where dst is a plane only the
 * trivial representation is left: the transform is the sum over the group, of that many elements. C1 has
 * nothing to transform: it is the plain convolution, by the same planes and products.
 */
typedef enum eqi_gf_kind {
    EQI_GF_2,
    EQI_GF_D2,
    EQI_GF_C4,
    EQI_GF_D4,
    EQI_GF_SUM_2,
    EQI_GF_SUM_4,
    EQI_GF_SUM_8,
    EQI_GF_ONE,
    EQI_GF_KINDS
} eqi_gf_kind;

#define EQI_GF_ORDER 8
#define EQI_GF_COMPONENTS 8
#define EQI_GF_TERMS 12
#define EQI_GF_KERNEL 16    /* the largest */
#define EQI_GF_ABREAST 1024 /* pixels of an image that are too many for a lane each: conv.c */

/* Component `dst` of dst^ gets component `src` of P^ times entry `filter`. */
typedef struct eqi_gf_term {
    unsigned char src, filter, dst;
} eqi_gf_term;

typedef struct eqi_gf_form {
    int inputs;     /* values of src that the transform reads for a tap: |G| */
    int values;     /* values of the filter, phi(a): |G|, or 1 */
    int components; /* of P^, of dst^, and entries of the filter */
    int outputs;    /* elements of dst: |G|, or 1 */
    int terms;      /* those of one component of dst^ in a row */
    eqi_gf_term term[EQI_GF_TERMS];
} eqi_gf_form;

extern const eqi_gf_form eqi_gf_forms[EQI_GF_KINDS];

/* Which form a group has; false for C1 and those off the grid. */
bool eqi_gf_kind_of(equinv_group group, bool to_plane, eqi_gf_kind *kind);

/* Entries [components] of one pair of fields and one tap, scaled so that the inverse needs no division. */
void eqi_gf_filter(eqi_gf_kind kind, const double *phi, double *entries);

/*
 * P^ of one tile, in rows of pixels `pitch` floats apart. in[v inputs + h]: offset of P_v(h) from a field's
 * base, where the pixels of `runs` images stand `run` floats apart; in a row they follow each other without
 * gaps. It can be made in steps: `at` is the next one's field (then its tap, image and first pixel), `to`
 * its row; all is done when at.field == fields.
 */
typedef struct eqi_gf_transform {
    const float *src;
    int64_t field; /* floats from field to field */
    int64_t fields, taps;
    const int64_t *in;
    float *to;
    int64_t component, pitch;  /* floats from component to component, from row to row */
    int64_t runs, run, pixels; /* pixels of each run; the last one's row gets whole vectors */
    struct {
        int64_t field, tap, run, pixel;
    } at;
} eqi_gf_transform;

/*
 * Component c of output o stands at src + c component + o pitch; element h of it goes to dst[h]. The pixels
 * are those of rows that are `length` long, from `column` on; only the first `columns` of each are wanted.
 * They go to every step-th float, 1 or 2; those between keep what they have.
 */
typedef struct eqi_gf_inverse {
    const float *src;
    int64_t component, pitch;
    float *dst;
    int64_t field, element, row, step; /* floats from output to output, element, row, pixel */
    int64_t outputs;
    const float *bias; /* NULL: none */
    eqi_conv_finish finish;
    int64_t alike; /* so many outputs in a row have one normaliser */
    int64_t pixels, column, columns, length;
    bool accumulate;
} eqi_gf_inverse;

/*
 * For each term dst [rows x pitch] = or += filter[.., first .. first + k - 1] . src [k x pitch], rows `pitch`
 * floats apart, components without gaps; but where `at` is given (one component) row i of src stands at
 * at[i]; then, where `to` is given, the sums go to the map at once as that inverse would take them there from dst,
 * its pixels being one row.
 * The filter is in panels [all_k][the kernel's rows, the last panel what is left]. On its way the product takes
 * some steps of `ahead`, the transform of another tile: beside the multiplications these additions cost next to
 * nothing.
 */
typedef struct eqi_gf_product {
    const eqi_gf_form *form;
    int64_t rows, first, k, all_k;
    const float *filter;
    const float *src;
    const int64_t *at;
    float *dst;
    const eqi_gf_inverse *to;
    int64_t pitch, vectors;
    bool accumulate;
    eqi_gf_kind kind;        /* of: */
    eqi_gf_transform *ahead; /* NULL: none */
} eqi_gf_product;

/* sums[i columns + j] += row i of a, at a + at[i], times row j of b, at b + j pitch, summed over the pixels. */
typedef struct eqi_gf_sums {
    int64_t rows, columns;
    const float *a, *b;
    const int64_t *at;
    float *sums;
    int64_t pitch, pixels;
} eqi_gf_sums;

/*
 * The adjoint of the filter's transform, in place: number a of the `values` is the sum over the components c of
 * adjoint[a][c] entries[c component + i], for i < count.
 */
typedef struct eqi_gf_fold {
    int components, values;
    const float (*adjoint)[EQI_GF_COMPONENTS];
    float *entries;
    int64_t component, count;
} eqi_gf_fold;

/*
 * Copies of planes: `above` zeros, then rows of `columns` floats without gaps,
 *     to[y][x] = from[y from_pitch + x step] for first <= x < last, else 0,
 * then `behind` zeros. Reads and writes nothing else.
 */
typedef struct eqi_gf_shift {
    int64_t fields, elements; /* planes */
    const float *from;
    int64_t from_field, from_element, from_pitch, step;
    float *to;
    int64_t to_field, to_element;
    int64_t rows, columns, first, last;
    int64_t above, behind;
} eqi_gf_shift;

/*
 * Planes of as many images as a vector has lanes. In the map a pixel's neighbour is the next float, and images
 * are `image` floats apart; abreast the same pixel of all images is one vector: the pixel number i of rows x
 * columns stands at place[i], or where that is NULL one after the other.
 */
typedef struct eqi_gf_turn {
    int64_t fields, elements; /* planes */
    float *map;
    int64_t map_field, map_element, image, row;
    float *abreast;
    int64_t field, element;
    int64_t rows, columns;
    const int64_t *place;
    bool accumulate; /* to the map */
} eqi_gf_turn;

/* A part of planes, every step-th row and column from `top` and `left` on, wherever that is. */
typedef struct eqi_gf_part {
    int64_t top, left, rows, columns, step;
} eqi_gf_part;

/*
 * The copies of such parts, with zeros for what lies outside, of planes of a map whose pixels are neighbours;
 * `from` is the first of them. Which planes they are, and where they go, is the caller's to fill in.
 */
eqi_gf_shift eqi_gf_shift_of(const equinv_tensor *map, const float *from, const eqi_gf_part *part);

typedef struct eqi_gf_kernels {
    int lanes, rows, vectors; /* of the product's tile */
    /* All steps that are left; and of the adjoint of the inverse: diff_dst -> diff_dst^. */
    void (*transform[EQI_GF_KINDS])(eqi_gf_transform *t);
    void (*gradient[EQI_GF_KINDS])(eqi_gf_transform *t);
    void (*product)(const eqi_gf_product *p);
    void (*sums)(const eqi_gf_sums *s);
    void (*add_part)(float *to, const float *from, int64_t count); /* to += from */
    void (*fold)(const eqi_gf_fold *f);
    void (*inverse[EQI_GF_KINDS])(const eqi_gf_inverse *v);
    void (*shift)(const eqi_gf_shift *s);
    void (*abreast)(const eqi_gf_turn *t); /* from the map .. */
    void (*apart)(const eqi_gf_turn *t);   /* .. and back, without places */
} eqi_gf_kernels;

extern const eqi_gf_kernels eqi_gfourier_scalar;
#if defined(__x86_64__)
extern const eqi_gf_kernels eqi_gfourier_avx2, eqi_gfourier_avx512;
#endif

/* Whether conv/gfourier is faster than what comes behind it in the list: conv_gain.c. */
bool eqi_gf_conv_gains(const void *problem, const eqi_hardware *hardware, const char **why);

/* The same for backward data alone. */
bool eqi_gf_data_gain(const eqi_conv_problem *p, const eqi_hardware *hardware);

const eqi_gf_kernels *eqi_gf_kernels_of(const eqi_hardware *hardware);

#endif
