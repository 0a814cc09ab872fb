/* Models for tests: single layers by a call, whole networks at random. */
#ifndef TESTS_UTIL_NETWORK_H
#define TESTS_UTIL_NETWORK_H

#include "tests/util/maps.h"

/* Descriptions that read the layer before; change what else is needed. */
equinv_layer_desc layer_of(equinv_layer_op op, const char *name);
equinv_layer_desc conv_of(const char *name, int64_t fields, int64_t kernel); /* same size */
equinv_layer_desc pool_of(const char *name, equinv_pool_kind kind, int64_t kernel);
equinv_layer_desc dense_of(const char *name, int64_t fields);
equinv_layer_desc add_of(const char *name, const char *a, const char *b);

/* A model without layers; seed 1. */
equinv_model *model_new(equinv_context *ctx, equinv_group group, equinv_dtype dtype,
                        int64_t channels, int64_t height, int64_t width);
void model_add(equinv_model *model, equinv_layer_desc layer);

typedef struct network_options {
    equinv_dtype dtype;
    bool
        exact; /* square images and windows that every element maps onto each other; no dense head */
} network_options;

/*
 * Lifting, blocks of convolution, batch norm, activation, pooling, dropout and residual adds, and a
 * head; every operation comes up.
 */
equinv_model *network_random(equinv_context *ctx, rng *r, network_options options);

/* Random values in every array, running statistics included (variances positive). */
void network_disturb(rng *r, equinv_model *model);

/* Images [batch, channels, height, width] for a model. */
equinv_tensor network_images(equinv_context *ctx, rng *r, const equinv_model *model, int batch,
                             equinv_dtype dtype);

/* The same layers and values, running statistics included, on another context's device. */
equinv_model *network_copy(equinv_context *ctx, const equinv_model *model);

/* The small network of the file tests, with every operation in it: C4, 1 x 8 x 8, F32. */
equinv_model *network_small(equinv_context *ctx);

/* That on a context of two threads, with random images for it. */
typedef struct small_case {
    equinv_context *ctx;
    equinv_model *model;
    equinv_tensor images;
    rng r; /* what comes after the images */
} small_case;
small_case small_new(uint64_t seed, int images, equinv_dtype dtype);
void small_free(small_case *c);

#endif
