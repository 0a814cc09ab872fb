/* Device tensors in the layouts that callers use, which notice writes beside them. */
#ifndef TESTS_UTIL_CUDA_LAYOUT_H
#define TESTS_UTIL_CUDA_LAYOUT_H

#include "tests/util/cuda.h"
#include "tests/util/layout.h"

typedef struct placed {
    equinv_tensor view; /* on the device */
    equinv_tensor storage, now;
    laid before; /* the same in CPU memory, as it was at the start */
} placed;

/* The values behind a random layout (laid_new's) on the device of ctx. */
placed placed_copy(equinv_context *ctx, equinv_context *cpu, rng *r, const equinv_tensor *values);
void placed_free(equinv_context *ctx, equinv_context *cpu, placed *l);

/*
 * Waits, checks that nothing but the view was written to, and returns the view's values as they are
 * now, as a view in CPU memory that is valid until the next call.
 */
const equinv_tensor *placed_fetch(equinv_context *ctx, equinv_context *cpu, placed *l);

/*
 * A random CPU tensor of `least` to 6 axes: sometimes empty, sometimes longer than a block, often of
 * whole quads; floats hold a NaN, infinities and -0 here and there if `special`.
 */
equinv_tensor random_shaped(equinv_context *cpu, rng *r, equinv_dtype dtype, int least,
                            bool special);

#endif
