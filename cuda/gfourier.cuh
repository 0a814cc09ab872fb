/*
 * Group convolution through the group Fourier transform; the algebra is told in cpu/gfourier/gfourier.h.
 * One pass is forward, or backward data at stride 1, which is a group convolution too.
 */
#ifndef EQI_CUDA_GFOURIER_CUH
#define EQI_CUDA_GFOURIER_CUH

#include "cuda/conv.cuh"
#include "cuda/divide.cuh"

extern "C" {
#include "internal/arithmetic.h"
}

/* Groups by the form of their transform; the sums are over so many elements. */
typedef enum eqi_gf_kind {
    EQI_GF_2,
    EQI_GF_D2,
    EQI_GF_C4,
    EQI_GF_D4,
    EQI_GF_SUM_2,
    EQI_GF_SUM_4,
    EQI_GF_SUM_8,
    EQI_GF_KINDS
} eqi_gf_kind;

enum {
    EQI_GF_ORDER = 8,
    EQI_GF_KERNEL = 16,       /* the largest */
    EQI_GF_WARPS = 4,         /* of a block */
    EQI_GF_SUM_THREADS = 192, /* of a block of the filter's gradient, at most */
    EQI_GF_SMALL_OUTPUTS = 4,
    EQI_GF_SMALL_IMAGES = 1,
};

/* What a device has; a pass that fits `least` fits any. */
typedef struct eqi_gf_limits {
    int32_t multiprocessors;
    size_t shared_bytes;
} eqi_gf_limits;

/* A kernel's tile: a thread makes `outputs` fields of dst at one place of `images` patches. */
typedef struct eqi_gf_tile {
    int outputs, images;
} eqi_gf_tile;

/*
 * dst is cut into patches, rectangles of one size; `images` of them lie beside each other in shared
 * memory, number fastest, so that a vector is one place of all. Places of all such stacks, in rows, are
 * the slots: a block has `slots` that follow each other, whatever patches they are of.
 */
typedef struct eqi_gf_pass {
    eqi_gf_kind kind;
    equinv_group group;
    int32_t inputs, entries; /* of the form */
    int64_t fields_in, fields_out;
    int32_t elements; /* of a field of src: |G|, or 1 (lifting) */
    int64_t batch, height, width, out_height, out_width;
    int64_t stride, padding, dilation; /* padding may be negative: then the border is cut off */
    bool circular, accumulate;
    int32_t kernel, taps;
    bool small; /* which of the kind's tiles */
    eqi_gf_tile tile;
    int64_t panels; /* of so many outputs, that all fields of dst need */
    int64_t patch_height, patch_width;
    eqi_divisor patches, patches_across; /* of an image */
    int64_t virtual_images, all_slots;
    int32_t group_panels, positions,
        splits; /* warps of a block: panels x slots / 32 x shares of src */
    int64_t tiles;
    int32_t part; /* fields of src in shared memory at a time */
    eqi_divisor patch_slots, patch_across, stack_rows, pitch; /* pitch: columns of src in a row */
    int32_t rows, plane; /* of src that a block needs at most; floats of them for one element */
    int32_t places_at, taps_at, filter_at, planes_at; /* in shared memory, floats */
    int32_t stage_filter, stage_planes;               /* floats of a part */
    size_t shared_bytes;
    uint8_t tap[EQI_GF_KERNEL * EQI_GF_KERNEL]; /* the taps of the sum, y k + x */
} eqi_gf_pass;

/*
 * The gradient of the filter. A thread has sums of some taps of one field of src and some fields of dst,
 * over every `phases`-th slot of some tiles; blocks differ in the fields of both sides and in the tiles,
 * which are cut into `parts`. The sums of a part are [fields_in][taps][entries][outputs].
 */
typedef struct eqi_gf_weights {
    eqi_gf_pass pass;                           /* forward's places, patches one by one */
    int32_t slots;                              /* of a tile */
    int32_t tap_groups, fields, panels, phases; /* of a block: panels of a thread's fields of dst */
    int32_t field_blocks, panel_blocks, parts, threads;
    int64_t tiles_of_part, outputs; /* outputs: fields_out, rounded up to whole blocks */
    int32_t field_floats,
        hat_floats; /* in shared memory, of a field of src, of a slot of diff_dst^ */
    int32_t windows_at, raw_at, hat_at, planes_at, stage; /* floats */
    size_t shared_bytes;
} eqi_gf_weights;

/* Whether the group has a form: not C1. */
bool eqi_gf_kind_of(equinv_group group, bool to_plane, eqi_gf_kind *kind);

/* With stride 1 the adjoint is a group convolution, if images that repeat keep their size. */
bool eqi_gf_adjoint_is_conv(const eqi_conv_problem *p);

/* The pass of a convolution, or of its adjoint. False where no tile fits into a block's memory. */
bool eqi_gf_pass_of(const eqi_conv_problem *p, bool adjoint, eqi_gf_limits limits,
                    eqi_gf_pass *pass);

/* Lets the pass's kernel have the shared memory that it needs. */
void eqi_gf_pass_allow(const equinv_context *ctx, const eqi_gf_pass *pass);

size_t eqi_gf_filter_size(const eqi_gf_pass *pass);

/* Filter [panels][fields_in][taps][entries][outputs of a panel] from psi; zeros beyond the last field. */
equinv_status eqi_gf_pack(const equinv_context *ctx, const eqi_gf_pass *pass, bool adjoint,
                          const equinv_tensor *psi, float *filter);

equinv_status eqi_gf_pass_run(const equinv_context *ctx, const eqi_gf_pass *pass,
                              const equinv_tensor *src, const float *filter,
                              const equinv_tensor *bias, const equinv_tensor *dst);

/* False where a block's memory is too small. */
bool eqi_gf_weights_of(const eqi_conv_problem *p, eqi_gf_limits limits, eqi_gf_weights *weights);
size_t eqi_gf_weights_scratch(const eqi_gf_weights *weights);
void eqi_gf_weights_allow(const equinv_context *ctx, const eqi_gf_weights *weights);
equinv_status eqi_gf_weights_run(const equinv_context *ctx, const eqi_gf_weights *weights,
                                 const equinv_tensor *src, const equinv_tensor *diff_dst,
                                 const equinv_tensor *diff_psi, void *scratch);

#endif
