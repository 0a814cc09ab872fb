/* Linear assignment on every level of instructions. */
#ifndef EQI_CPU_ASSIGNMENT_H
#define EQI_CPU_ASSIGNMENT_H

#include "internal/context.h"

/*
 * Rows of a cost matrix are `pitch` long, a multiple of EQI_COST_LANES, and end in infinite numbers. So
 * are the rows of the turned y.
 */
enum { EQI_COST_LANES = 8, EQI_ASSIGNMENT_NUMBERS = 4, EQI_ASSIGNMENT_INTEGERS = 2 };

typedef struct eqi_assignment_kernels {
    /* cost[i][j] = |x_i - y_j|^2 for x [n, c] and y turned, [c, pitch]; whether all are finite. */
    bool (*costs)(const double *x, const double *y, int n, int64_t c, int64_t pitch, double *cost);
    /*
     * column[i]: that of row i in the cheapest assignment of finite costs. numbers and integers are room,
     * EQI_ASSIGNMENT_NUMBERS times pitch and EQI_ASSIGNMENT_INTEGERS times n.
     */
    void (*solve)(const double *cost, int n, int64_t pitch, int32_t *column, double *numbers,
                  int32_t *integers);
} eqi_assignment_kernels;

extern const eqi_assignment_kernels eqi_assignment_kernels_scalar, eqi_assignment_kernels_avx2,
    eqi_assignment_kernels_avx512;

#endif
