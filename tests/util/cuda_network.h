/* A model on the CPU, its copy on a device, and images for both. */
#ifndef TESTS_UTIL_CUDA_NETWORK_H
#define TESTS_UTIL_CUDA_NETWORK_H

#include "tests/util/cuda.h"
#include "tests/util/network.h"

typedef struct pair {
    equinv_context *cpu, *ctx;
    equinv_model *here, *there;
    equinv_tensor images, images_there;
} pair;

/* Takes `here` over; the contexts stay the caller's. */
pair pair_of(equinv_context *cpu, equinv_context *ctx, equinv_model *here, rng *r, int batch,
             equinv_dtype dtype);
void pair_free(pair *p);

/* Of a small network on contexts of its own. */
pair pair_small(uint64_t seed, int batch, equinv_dtype dtype);
void pair_small_free(pair *p);

#endif
