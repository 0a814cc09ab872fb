/*
 * The one total order of sorted values: ascending, -0 and +0 equal, NaN after +inf, equal ones by
 * their index.
 */
#ifndef EQI_SORT_H
#define EQI_SORT_H

#include <stdbool.h>
#include <stdint.h>

#include "portable.h"

typedef struct eqi_item {
    double value;
    int32_t index;
} eqi_item;

EQI_INLINE bool eqi_before(double a, double b)
{
    return a < b || (b != b && a == a);
}

/* Sorts items that stand in the order of their index; `room` holds as many again. */
void eqi_sort(eqi_item *items, int64_t count, eqi_item *room);

#endif
