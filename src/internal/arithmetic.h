/* Small integer functions for sizes and places. */
#ifndef EQI_ARITHMETIC_H
#define EQI_ARITHMETIC_H

#include <stddef.h>
#include <stdint.h>

#include "portable.h"

EQI_INLINE int64_t eqi_smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

EQI_INLINE int64_t eqi_larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

EQI_INLINE size_t eqi_larger_size(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* a / b rounded up, for a > -b and b > 0. */
EQI_INLINE int64_t eqi_divide_up(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

#endif
