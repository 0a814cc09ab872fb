/*
 * The gradient of the filter in the Fourier form: for each irreducible representation
 *     diff_Phi_v = sum over pixels of P^_v and diff_dst^,
 * a product with the pixels as its sum, and from there by the adjoint of the filter's transform to psi.
 */
#ifndef EQI_GFOURIER_WEIGHTS_H
#define EQI_GFOURIER_WEIGHTS_H

#include "pass.h"

typedef struct eqi_gf_weights {
    eqi_gf_pass pass; /* forward's, with longer rows */
    int64_t tasks;    /* bands of all images .. */
    int64_t parts;    /* .. summed in so many parts, which are added in their order .. */
    int64_t part_tasks;
    int64_t shares;             /* of a part, for some fields of src each */
    int64_t entries;            /* .. of so many numbers */
    size_t slice, part, places; /* bytes of a thread, of a part, of offsets in psi */
    eqi_pixel *place;           /* [taps][values]: of phi_v(a) in psi[o, i, a] */
    float adjoint[EQI_GF_ORDER][EQI_GF_COMPONENTS]; /* [a][entry]: what phi(a) adds to it */
} eqi_gf_weights;

/* From the forward pass, with tables of its own (eqi_gf_weights_table_size). */
eqi_gf_weights eqi_gf_weights_of(const eqi_gf_pass *forward);
size_t eqi_gf_weights_table_size(const eqi_gf_weights *w);
void eqi_gf_weights_fill(eqi_gf_weights *w, char *tables);
size_t eqi_gf_weights_scratch(const eqi_gf_weights *w, const eqi_hardware *hardware);

/* Whether this is faster than the gradient of conv/gemm: conv_gain.c. Its bits may depend on the batch. */
bool eqi_gf_weights_gain(const eqi_conv_problem *p, const eqi_gf_weights *w);

/* diff_psi [O, I, |G| or 1, k, k] and diff_bias [O] (NULL: not wanted) from maps of any strides. */
void eqi_gf_weights_run(const equinv_context *ctx, const eqi_gf_weights *w,
                        const equinv_tensor *src, const equinv_tensor *diff_dst,
                        const equinv_tensor *diff_psi, const equinv_tensor *diff_bias,
                        void *scratch);

#endif
