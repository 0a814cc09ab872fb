/* Group convolution: the checked problem, the plan, and what an implementation provides. */
#ifndef EQI_CONV_H
#define EQI_CONV_H

#include "batch_norm.h"
#include "plan.h"

typedef struct eqi_conv_problem {
    equinv_conv_desc desc;               /* impl is NULL: the caller's text is not kept */
    int64_t elements_in, elements_out;   /* |G| for regular fields, 1 for plain channels */
    int64_t filter_elements;             /* extent of psi along the group: |G|, or 1 */
    int64_t in_per_group, out_per_group; /* fields */
    int64_t out_height, out_width;
    bool forced; /* the caller has chosen the implementation, which then makes all passes it has */
} eqi_conv_problem;

/* psi as a five-axis view [out, in per group, filter_elements, k, k], or what pack has written. */
typedef struct eqi_conv_weights {
    equinv_tensor psi;
    const void *packed; /* NULL: psi is given */
} eqi_conv_weights;

typedef struct eqi_conv_plan eqi_conv_plan;

/*
 * What forward does with a value beside adding the bias, on its way to dst: batch norm in evaluation, then
 * ReLU, in the arithmetic of cpu/kernel/batch_norm.inc.c and relu.inc.c: the same bits as in steps.
 */
typedef struct eqi_conv_finish {
    const eqi_normaliser *norm; /* [fields_out]; NULL: no batch norm */
    bool relu;
    float slope; /* of relu */
} eqi_conv_finish;

/* Tensors are five-axis views, checked; bias and diff_bias may be NULL. */
typedef struct eqi_conv_implementation {
    eqi_implementation head;
    /* Bytes behind the plan for tables that prepare fills, and the plan's buffer sizes. */
    size_t (*table_size)(const eqi_conv_problem *problem, const eqi_hardware *hardware);
    void (*prepare)(eqi_conv_plan *plan);
    equinv_status (*pack)(const eqi_conv_plan *plan, const equinv_tensor *psi, void *packed);
    equinv_status (*forward)(const eqi_conv_plan *plan, const equinv_tensor *src,
                             const eqi_conv_weights *weights, const equinv_tensor *bias,
                             const equinv_tensor *dst, void *scratch);
    /* bias [fields_in] is added to diff_src: a transposed plan's forward. Never where padding wraps. */
    equinv_status (*backward_data)(const eqi_conv_plan *plan, const equinv_tensor *diff_dst,
                                   const eqi_conv_weights *weights, const equinv_tensor *bias,
                                   const equinv_tensor *diff_src, void *scratch);
    equinv_status (*backward_weights)(const eqi_conv_plan *plan, const equinv_tensor *src,
                                      const equinv_tensor *diff_dst, const equinv_tensor *diff_psi,
                                      const equinv_tensor *diff_bias, void *scratch);
    /* diff_bias[i] = sum of map[n,i,..] for a map of src's shape: a transposed plan's diff_bias. */
    equinv_status (*transposed_bias)(const eqi_conv_plan *plan, const equinv_tensor *map,
                                     const equinv_tensor *diff_bias, void *scratch);
    /*
     * Whether forward, or backward_data, reads its input, or writes its output, row by row where the map
     * lies; false: pixel by pixel. NULL where that makes no difference, and on devices.
     */
    bool (*takes)(const eqi_conv_plan *plan, bool backward, bool output, const equinv_tensor *map);
    /* forward with more to do for each value; NULL: that is done in steps. */
    equinv_status (*forward_finished)(const eqi_conv_plan *plan, const equinv_tensor *src,
                                      const eqi_conv_weights *weights, const equinv_tensor *bias,
                                      const eqi_conv_finish *finish, const equinv_tensor *dst,
                                      void *scratch);
} eqi_conv_implementation;

/*
 * What stands in front of a packed filter in memory of the CPU, so that one of another plan is noticed; a
 * device's memory has none, since looking at it would wait for the device.
 */
typedef struct eqi_conv_packed_head {
    char magic[16];
    char implementation[40];
    uint64_t fingerprint; /* of all that the packed form may depend on */
} eqi_conv_packed_head;

/*
 * A transposed plan holds the problem of the convolution that it is the adjoint of: its forward is that
 * one's backward data, its backward data that one's forward, with src and dst exchanged in all three.
 */
struct eqi_conv_plan {
    equinv_plan head;
    eqi_conv_problem problem;
    bool transposed;
    const eqi_conv_implementation *implementation;
    void *tables;        /* table_size bytes, aligned to 64 */
    size_t packed_start; /* of what the implementation packs: behind the head, if there is one */
    eqi_conv_packed_head packed_head;
};

/* For models: whether forward of this plan can finish its values; and doing so, src, weights .. as there. */
bool eqi_conv_finishes(const equinv_plan *plan);
equinv_status eqi_conv_forward_finished(const equinv_plan *plan, const equinv_tensor *src,
                                        const equinv_tensor *weights, const equinv_tensor *bias,
                                        const eqi_conv_finish *finish, const equinv_tensor *dst,
                                        void *scratch, size_t scratch_size);

extern const eqi_implementation *const eqi_conv_list[];
extern const eqi_conv_implementation eqi_conv_window, eqi_conv_gfourier, eqi_conv_gemm;

/*
 * Where an entry of the dense filter stands in psi:
 *     K[(o,g),(i,h)](delta(t)) = psi[o, i, g^-1 h, g^-1 delta(t)]
 *     lifting  psi[o, i, g^-1 delta(t)]        to plane  psi[o, i, h^-1 delta(t)]
 */
typedef struct eqi_conv_place {
    int32_t a;
    eqi_pixel v;
} eqi_conv_place;

EQI_INLINE eqi_conv_place eqi_conv_place_of(const eqi_conv_problem *p, int32_t g, int32_t h,
                                            int64_t ty, int64_t tx)
{
    const equinv_group group = p->desc.group;
    const int32_t back = eqi_inverse(group, p->desc.kind == EQUINV_CONV_TO_PLANE ? h : g);
    return (eqi_conv_place){
        .a = p->desc.kind == EQUINV_CONV_REGULAR ? eqi_product(group, back, h) : 0,
        .v = eqi_move(eqi_motion_of(group, back), ty, tx, p->desc.kernel, p->desc.kernel),
    };
}

/*
 * The other way round: psi[o,i,a,v] stands in the dense filter once for every group element u, at
 * K[(o,g),(i,h)](t).
 */
typedef struct eqi_conv_entry {
    int32_t g, h;
    eqi_pixel t;
} eqi_conv_entry;

EQI_INLINE eqi_conv_entry eqi_conv_entry_of(const eqi_conv_problem *p, int32_t u, int32_t a,
                                            eqi_pixel v)
{
    const equinv_group group = p->desc.group;
    const equinv_conv_kind kind = p->desc.kind;
    return (eqi_conv_entry){
        .g = kind == EQUINV_CONV_TO_PLANE ? 0 : u,
        .h = kind == EQUINV_CONV_LIFTING ? 0 : eqi_product(group, u, a),
        .t = eqi_move(eqi_motion_of(group, u), v.y, v.x, p->desc.kernel, p->desc.kernel),
    };
}

/* Input position of window y and tap t on an axis; false where it lies in the zeros around. */
EQI_INLINE bool eqi_conv_input(const equinv_conv_desc *d, int64_t y, int64_t t, int64_t size,
                               int64_t *at)
{
    *at = d->stride * y + d->dilation * t - d->padding;
    if (d->padding_mode == EQUINV_PAD_CIRCULAR)
        *at = (*at % size + size) % size;
    return *at >= 0 && *at < size;
}

/*
 * The windows y whose tap t reads input position z: s y = z + p - d t, up to multiples of the size where
 * the image repeats. Candidates for s y are first, first + step, ..
 */
typedef struct eqi_conv_candidates {
    int64_t first, step;
} eqi_conv_candidates;

EQI_INLINE eqi_conv_candidates eqi_conv_candidates_of(const equinv_conv_desc *d, int64_t z,
                                                      int64_t t, int64_t size)
{
    const int64_t first = z + d->padding - d->dilation * t;
    if (d->padding_mode == EQUINV_PAD_CIRCULAR)
        return (eqi_conv_candidates){(first % size + size) % size, size};
    return (eqi_conv_candidates){first, INT64_MAX / 2};
}

EQI_INLINE bool eqi_conv_is_window(const equinv_conv_desc *d, int64_t candidate)
{
    return candidate >= 0 && candidate % d->stride == 0;
}

#endif
