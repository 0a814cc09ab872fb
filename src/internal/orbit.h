/* Geometry of the quotient behind the argument checks. */
#ifndef EQI_ORBIT_H
#define EQI_ORBIT_H

#include "tensor.h"

/* Rows of an assignment problem at most. */
enum { EQI_ASSIGNMENT_MOST = 512 };

/*
 * Orbit distances of S, rows [A, n, c] and [B, n, c] with n at most EQI_ASSIGNMENT_MOST: distance [A, B]
 * and, if not NULL, element [A, B, n], the row of y for each row of x. NOMEM.
 */
equinv_status eqi_rows_distance(const equinv_context *ctx, const equinv_tensor *x,
                                const equinv_tensor *y, const equinv_tensor *distance,
                                const equinv_tensor *element);

#endif
