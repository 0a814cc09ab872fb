/* Values of nodes and of pairs, [B, C, n] and [B, C, n, n]: masks, permutations, a smaller batch. */
#ifndef TESTS_UTIL_NODES_H
#define TESTS_UTIL_NODES_H

#include "tests/util/layout.h"

/* Row-major [B, C, n] or [B, C, n, n] of random numbers. */
equinv_tensor nodes_new(equinv_context *ctx, rng *r, equinv_dtype dtype, int order, int64_t batch,
                        int64_t channels, int64_t nodes);

/* U8 or I32 [B, n], each node there three times in four; any number may be there, none as well. */
equinv_tensor nodes_mask(equinv_context *ctx, rng *r, int64_t batch, int64_t nodes);

/* mask NULL: all. */
bool nodes_there(const equinv_tensor *mask, int64_t b, int64_t node);

/* A random order of 0 .. n-1. */
void nodes_shuffle(rng *r, int64_t n, int64_t *place);

/* Puts node i of every sample at place[i]; order 0 is a mask, [B, n]. */
void nodes_permute(equinv_context *ctx, const equinv_tensor *t, int order, const int64_t *place);

/* Writes a number to every place with a node that is absent; all of it 0 as well. */
void nodes_set_absent(const equinv_tensor *t, int order, const equinv_tensor *mask, double to);
bool nodes_absent_are_zero(const equinv_tensor *t, int order, const equinv_tensor *mask);

/* The same numbers with channels fastest in memory; *storage is what to destroy. */
equinv_tensor nodes_channels_last(equinv_context *ctx, const equinv_tensor *t,
                                  equinv_tensor *storage);

#endif
