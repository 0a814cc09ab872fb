/*
 * Rows in two places: `here` in CPU memory, where a program fills and reads them, and `there` on the
 * context's device, where it computes with them. On the CPU both are the same memory.
 */
#ifndef TOOLS_MIRROR_H
#define TOOLS_MIRROR_H

#include "equinv/equinv.h"

typedef struct mirror {
    equinv_tensor here, there;
} mirror;

/* Zeros; after a failure, too, mirror_destroy releases what there is. */
equinv_status mirror_create(equinv_context *ctx, equinv_dtype dtype, int32_t ndim,
                            const int64_t *shape, mirror *m);
/* Work with the mirror must be done (equinv_context_synchronize). */
void mirror_destroy(equinv_context *ctx, mirror *m);

/* The first rows to the device, where *there is a view of them. `here` must stay as it is meanwhile. */
equinv_status mirror_send(equinv_context *ctx, const mirror *m, int64_t rows, equinv_tensor *there);

/* The first rows from the device, where they may still be on their way; waits for them. */
equinv_status mirror_fetch(equinv_context *ctx, const mirror *m, int64_t rows, equinv_tensor *here);

#endif
