/*
 * Going through the elements of several tensors of one shape together, in the memory order of the
 * first. Axes are sorted by its strides and joined where all tensors allow, so that whatever the
 * layout is, its longest run of neighbours is the innermost axis.
 */
#ifndef EQI_WALK_H
#define EQI_WALK_H

#include "tensor.h"

enum { EQI_WALK_TENSORS = 4 };

typedef struct eqi_walk {
    int tensors;
    int32_t axes; /* at least 1, innermost last */
    int64_t shape[EQUINV_MAX_DIMS];
    int64_t strides[EQI_WALK_TENSORS][EQUINV_MAX_DIMS];
    int64_t count;
} eqi_walk;

/* Over the axes from `first` on; an output goes first. Shapes were checked to be equal. */
eqi_walk eqi_walk_of(int tensors, const equinv_tensor *const *tensor, int32_t first);

/* Whether the innermost axis has neighbours in memory, in every tensor. */
bool eqi_walk_is_unit(const eqi_walk *walk);

static inline int64_t eqi_walk_length(const eqi_walk *walk)
{
    return walk->shape[walk->axes - 1];
}

/* Offsets of row number `row` (the innermost axis) in every tensor, added to `from`. */
void eqi_walk_row(const eqi_walk *walk, int64_t row, int64_t *offsets);

/* Work on `count` elements of a row that start at these offsets. */
typedef void eqi_walk_task(void *arg, const int64_t *offsets, int64_t count);

/* Calls task for all elements, in pieces that do not depend on the number of threads. */
void eqi_walk_run(const equinv_context *ctx, const eqi_walk *walk, eqi_walk_task *task, void *arg);

#endif
