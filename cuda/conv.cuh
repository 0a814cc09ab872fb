/*
 * Matrices of a convolution: what stands in a row and a column, and the kernels that move values
 * between feature maps, psi and these matrices. conv.cu says what they are for.
 */
#ifndef EQI_CUDA_CONV_CUH
#define EQI_CUDA_CONV_CUH

#include "cuda/device.cuh"

extern "C" {
#include "internal/conv.h"
}

extern const eqi_conv_implementation eqi_cuda_conv_gfourier, eqi_cuda_conv_gemm;

/* What the gradient of the bias needs, that of a transposed plan's too. */
size_t eqi_conv_bias_scratch(const eqi_conv_plan *plan);

/* Extents of the dense filter: for each channel group outputs x inputs, row-major. */
typedef struct eqi_conv_bank {
    int64_t groups, outputs, inputs; /* inputs: channels x taps */
} eqi_conv_bank;

eqi_conv_bank eqi_conv_bank_of(const eqi_conv_problem *p);

/* bank = psi written out, every entry of the dense filter. */
equinv_status eqi_conv_expand(const equinv_context *ctx, const eqi_conv_problem *p,
                              const equinv_tensor *psi, void *bank);

/*
 * diff_psi = the sums over all places in the bank's gradient that are one entry of psi. The gradient is
 * in `parts`, [groups][parts][outputs][inputs]; no parts are zeros.
 */
equinv_status eqi_conv_reduce(const equinv_context *ctx, const eqi_conv_problem *p,
                              const void *gradients, int64_t parts, const equinv_tensor *diff_psi);

/*
 * [groups][parts][channels x taps][columns]: a row for each channel (and tap), a column for each pixel
 * of dst in the batch, which is n H' W' + y W' + x. A sum over pixels is cut into parts; where the
 * pixels do not fill them the last columns are zeros.
 */
typedef struct eqi_conv_matrix {
    int64_t group, groups;     /* first channel group, and how many */
    int64_t channel, channels; /* of the map in each of them: field x elements + element */
    int64_t fields, elements;  /* of the map: fields of a channel group, elements of a field */
    int64_t taps;
    int64_t pixel, pixels;
    int64_t parts, columns;
} eqi_conv_matrix;

/* Every channel of src (with k k taps) or dst (with one), and no pixels yet. */
eqi_conv_matrix eqi_conv_src_matrix(const eqi_conv_problem *p);
eqi_conv_matrix eqi_conv_dst_matrix(const eqi_conv_problem *p);

/* Patches of src: matrix[(c, t), y] = src[c, s y + d t - p]. */
equinv_status eqi_conv_patches(const equinv_context *ctx, const eqi_conv_problem *p,
                               const eqi_conv_matrix *m, const equinv_tensor *src, void *matrix);

/* matrix[c, y] = dst[c, y] */
equinv_status eqi_conv_gather(const equinv_context *ctx, const eqi_conv_problem *p,
                              const eqi_conv_matrix *m, const equinv_tensor *dst, void *matrix);

/* dst[c, y] = matrix[c, y] + bias, or that added to it; bias may be NULL. */
equinv_status eqi_conv_scatter(const equinv_context *ctx, const eqi_conv_problem *p,
                               const eqi_conv_matrix *m, const void *matrix,
                               const equinv_tensor *bias, const equinv_tensor *dst);

/*
 * The transposed patches: diff_src[c, z] = sum of matrix[(c, t), y] over all s y + d t - p = z, plus
 * bias, or that added to it; bias may be NULL. The matrix is of src's channels and of whole images.
 */
equinv_status eqi_conv_fold(const equinv_context *ctx, const eqi_conv_problem *p,
                            const eqi_conv_matrix *m, const void *matrix, const equinv_tensor *bias,
                            const equinv_tensor *diff_src);

#endif
