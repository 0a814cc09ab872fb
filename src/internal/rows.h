/* Work over the rows of a batch: in chunks, each runner with its own slice of scratch. */
#ifndef EQI_ROWS_H
#define EQI_ROWS_H

#include "context.h"

/* Threads, of `most`, that so many simple operations are worth waking: at least 1. */
int64_t eqi_threads_worth(double work, int64_t most);

/* Handles rows first .. first+count-1 with `slice` to itself. */
typedef void eqi_rows_body(const void *arg, int64_t first, int64_t count, void *slice);

/*
 * Calls body for chunks of 0 .. rows-1 until all are done; whichever thread is free takes the next one.
 * scratch has one slice of slice_size bytes (a multiple of EQI_ALIGNMENT) for each of the context's
 * threads. What a body does must not depend on where its chunk starts. row_work is about how many
 * simple operations a row needs: little work stays in the calling thread.
 */
void eqi_parallel_rows(const equinv_context *ctx, int64_t rows, double row_work, int64_t chunk,
                       eqi_rows_body *body, const void *arg, void *scratch, size_t slice_size);

/* The next `size` bytes of a slice, aligned. */
static inline void *eqi_take(char **slice, size_t size)
{
    void *const part = *slice;
    *slice += eqi_aligned(size);
    return part;
}

#endif
