/* Geometry of the quotient behind the argument checks. */
#ifndef EQI_ORBIT_H
#define EQI_ORBIT_H

#include "tensor.h"

/* Rows of an assignment problem at most. */
enum { EQI_ASSIGNMENT_MOST = 512 };

/*
 * Checks and normalises latents or rows: [N, F, G, H, W] on which the group acts with its pixels, or
 * [N, n, c] for S. UNSUPPORTED for more than EQI_ASSIGNMENT_MOST rows of several channels.
 */
equinv_status eqi_check_points(const equinv_context *ctx, equinv_group group,
                               const equinv_tensor *tensor, const char *name, bool output,
                               equinv_tensor *points);
/* A group of which orbits can be compared: C_n, D_n or S. */
equinv_status eqi_check_orbit_group(equinv_group group);

/*
 * Orbit distances of S, rows [A, n, c] and [B, n, c] with n at most EQI_ASSIGNMENT_MOST: distance [A, B]
 * and, if not NULL, element [A, B, n], the row of y for each row of x. NOMEM.
 */
equinv_status eqi_rows_distance(const equinv_context *ctx, const equinv_tensor *x,
                                const equinv_tensor *y, const equinv_tensor *distance,
                                const equinv_tensor *element);

/* One pair: bytes of room (false if they overflow), and |x_a - y_b|^2 with the row of y for each of x. */
bool eqi_rows_pair_size(int64_t n, int64_t channels, size_t *size);
double eqi_rows_pair(const equinv_context *ctx, const equinv_tensor *x, int64_t a,
                     const equinv_tensor *y, int64_t b, void *room, int32_t *column);

#endif
