/* Memory with pages that may not be touched directly before or behind it: a wrong access ends the test. */
#ifndef TESTS_UTIL_GUARD_H
#define TESTS_UTIL_GUARD_H

#include "tests/util/test.h"

/* Which end of the memory touches its guard; the other one's is at most a page away. */
typedef enum guard_side { GUARD_BEFORE, GUARD_BEHIND, GUARD_SIDES } guard_side;

/*
 * `data` has `size` bytes at an address aligned as asked. What alignment leaves between them and the
 * guard behind holds a mark, which guarded_free looks for.
 */
typedef struct guarded {
    char *data;
    size_t size;
    char *pages;
    size_t pages_size;
} guarded;

guarded guarded_new(size_t size, size_t alignment, guard_side side);
void guarded_free(guarded *g);

/* The same values behind the same strides, in memory from the first to the last element alone. */
equinv_tensor guarded_copy(const equinv_tensor *t, guard_side side, guarded *g);

#endif
