/* The k nearest rows of a gallery for every query, by Euclidean distance. */
#ifndef EQI_NEAREST_H
#define EQI_NEAREST_H

#include "context.h"

typedef struct eqi_neighbour {
    double squared; /* distance, as in internal/distance.h */
    int32_t index;
} eqi_neighbour;

/*
 * Called once for every query with its k neighbours, nearest first: ascending distance (NaN last), equal
 * ones by index. From several threads at once; `room` is the thread's own, of room_size bytes, zeroed
 * at first.
 */
typedef void eqi_neighbours_found(void *arg, int64_t query, const eqi_neighbour *nearest,
                                  void *room);

typedef struct eqi_nearest_problem {
    equinv_dtype dtype;
    const void *gallery, *queries; /* row-major, `dimension` numbers a row */
    int64_t gallery_rows, query_rows, dimension, k;
    eqi_neighbours_found *found;
    void *arg;
    size_t room_size;
} eqi_nearest_problem;

/* 1 <= k <= gallery_rows < 2^31. NOMEM. */
equinv_status eqi_nearest(const equinv_context *ctx, const eqi_nearest_problem *problem);

#endif
