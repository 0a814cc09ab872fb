/* Feature maps, [N, F, G, H, W], and the groups that take pixels to pixels. */
#ifndef TESTS_UTIL_MAPS_H
#define TESTS_UTIL_MAPS_H

#include "tests/util/layout.h"

enum { GRID_GROUPS = 6 };
extern const equinv_group grid_groups[GRID_GROUPS]; /* C1 C2 C4 D1 D2 D4 */
int32_t grid_order(equinv_group g);

/* Row-major; zeros if r is NULL, else random. */
equinv_tensor map_new(equinv_context *ctx, rng *r, equinv_dtype dtype, const int64_t shape[5]);

/* g.src, of the other height and width where g is a quarter turn. */
equinv_tensor map_acted(equinv_context *ctx, equinv_group group, int32_t g,
                        const equinv_tensor *src);

#endif
