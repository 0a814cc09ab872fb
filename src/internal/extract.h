/*
 * Extraction: what the way through CPU memory (src/extract.c) and the pipeline of a device
 * (src/extract_device.c) share.
 */
#ifndef EQI_EXTRACT_H
#define EQI_EXTRACT_H

#include "model.h"

/* The layer, the projection and how far it is. */
typedef struct eqi_extraction {
    equinv_model *model;
    const eqi_node *node;
    const equinv_projection *projection; /* NULL: the latents themselves */
    equinv_progress progress;
    void *progress_user;
    int64_t images; /* all of them */
    eqi_evaluation evaluation;
} eqi_extraction;

/* Where images come from and codes go to. */
typedef struct eqi_extraction_ends {
    equinv_tensor
        images; /* all, in CPU memory or on the device; from a reader: one chunk's shape */
    equinv_reader *reader; /* NULL: images are in memory */
    equinv_tensor codes;   /* the same for what comes out */
    equinv_writer *writer;
} eqi_extraction_ends;

/* Shape of a batch of codes: p(latents), or the latents as callers see them. */
equinv_status eqi_extraction_shape(const eqi_extraction *x, int64_t batch, int32_t *ndim,
                                   int64_t *shape);

/* One chunk of images [n, C, H, W] to their rows of dst, both on the context's device. */
equinv_status eqi_extraction_run(const eqi_extraction *x, const equinv_tensor *images,
                                 const equinv_tensor *dst);

/* After so many images; CANCELLED. */
equinv_status eqi_extraction_tell(const eqi_extraction *x, int64_t done);

/* ---- extract_device.c */

/*
 * All chunks of an evaluation that was begun with the target outside (without a projection) unless
 * codes on the device have gaps. Everything is done when it returns, also after a failure.
 */
equinv_status eqi_extract_on_device(const eqi_extraction *x, const eqi_extraction_ends *ends);

#endif
