/* Device tensors of random shapes and layouts: what the tests of element-wise operations share. */
#ifndef TESTS_UTIL_CUDA_LAYOUT_H
#define TESTS_UTIL_CUDA_LAYOUT_H

#include "tests/util/cuda.h"

/*
 * Waits, checks that nothing but the view was written to since the last time, and returns the view's
 * values, in CPU memory until the next call.
 */
const equinv_tensor *cuda_laid_values(equinv_context *ctx, cuda_laid *l);

/*
 * A random CPU tensor of `least` to 6 axes: sometimes empty, sometimes longer than a block, often of
 * whole quads; floats hold a NaN, infinities and -0 here and there if `special`.
 */
equinv_tensor random_shaped(equinv_context *cpu, rng *r, equinv_dtype dtype, int least,
                            bool special);

#endif
