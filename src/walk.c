#include "internal/walk.h"

#include <stdlib.h>

/* Elements a task of the pool works on. */
#define PIECE ((int64_t)1 << 14)

eqi_walk eqi_walk_of(int tensors, const equinv_tensor *const *tensor, int32_t first)
{
    const equinv_tensor *const lead = tensor[0];
    eqi_walk w = {.tensors = tensors, .count = 1};
    bool empty = false;
    for (int32_t axis = first; axis < lead->ndim; axis++)
        empty |= lead->shape[axis] == 0;
    int32_t order[EQUINV_MAX_DIMS], axes = 0;
    /* Nothing is joined of an empty shape: the other extents' product may overflow. */
    for (int32_t axis = empty ? lead->ndim : first; axis < lead->ndim; axis++) {
        w.count *= lead->shape[axis];
        if (lead->shape[axis] == 1)
            continue;
        int32_t place = axes++;
        for (; place > 0 && llabs(lead->strides[order[place - 1]]) < llabs(lead->strides[axis]);
             place--)
            order[place] = order[place - 1];
        order[place] = axis;
    }
    for (int32_t i = 0; i < axes; i++) {
        const int32_t axis = order[i];
        bool joins = w.axes > 0;
        for (int t = 0; t < tensors && joins; t++)
            joins = w.strides[t][w.axes - 1] == tensor[t]->strides[axis] * lead->shape[axis];
        w.axes += !joins;
        w.shape[w.axes - 1] = lead->shape[axis] * (joins ? w.shape[w.axes - 1] : 1);
        for (int t = 0; t < tensors; t++)
            w.strides[t][w.axes - 1] = tensor[t]->strides[axis];
    }
    if (w.axes == 0) {
        w.axes = 1;
        w.shape[0] = 1;
        w.count = !empty;
        for (int t = 0; t < tensors; t++)
            w.strides[t][0] = 1;
    }
    return w;
}

bool eqi_walk_is_unit(const eqi_walk *walk)
{
    bool unit = true;
    for (int t = 0; t < walk->tensors; t++)
        unit &= walk->strides[t][walk->axes - 1] == 1;
    return unit;
}

void eqi_walk_row(const eqi_walk *walk, int64_t row, int64_t *offsets)
{
    for (int t = 0; t < walk->tensors; t++)
        offsets[t] = 0;
    for (int32_t axis = walk->axes - 2; axis >= 0; axis--) {
        const int64_t i = row % walk->shape[axis];
        row /= walk->shape[axis];
        for (int t = 0; t < walk->tensors; t++)
            offsets[t] += i * walk->strides[t][axis];
    }
}

typedef struct job {
    const eqi_walk *walk;
    eqi_walk_task *task;
    void *arg;
    int64_t length, rows, pieces_in_row, rows_in_piece;
} job;

/* Either one piece of a long row, or several short rows. */
static void run_piece(void *arg, int64_t index)
{
    const job *const j = arg;
    int64_t offsets[EQI_WALK_TENSORS];
    if (j->pieces_in_row > 1) {
        const int64_t start = index % j->pieces_in_row * PIECE;
        const int64_t left = j->length - start;
        eqi_walk_row(j->walk, index / j->pieces_in_row, offsets);
        for (int t = 0; t < j->walk->tensors; t++)
            offsets[t] += start * j->walk->strides[t][j->walk->axes - 1];
        j->task(j->arg, offsets, left < PIECE ? left : PIECE);
        return;
    }
    const int64_t first = index * j->rows_in_piece;
    const int64_t left = j->rows - first;
    for (int64_t i = 0; i < (left < j->rows_in_piece ? left : j->rows_in_piece); i++) {
        eqi_walk_row(j->walk, first + i, offsets);
        j->task(j->arg, offsets, j->length);
    }
}

void eqi_walk_run(const equinv_context *ctx, const eqi_walk *walk, eqi_walk_task *task, void *arg)
{
    if (walk->count == 0)
        return;
    job j = {.walk = walk, .task = task, .arg = arg, .length = eqi_walk_length(walk)};
    j.rows = walk->count / j.length;
    j.pieces_in_row = (j.length - 1) / PIECE + 1;
    j.rows_in_piece = j.length < PIECE ? PIECE / j.length : 1;
    const int64_t pieces =
        j.pieces_in_row > 1 ? j.rows * j.pieces_in_row : (j.rows - 1) / j.rows_in_piece + 1;
    eqi_parallel_over(ctx, walk->count, pieces, run_piece, &j);
}
