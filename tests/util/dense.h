/* Dense layers for the tests: random descriptions. */
#ifndef TESTS_UTIL_DENSE_H
#define TESTS_UTIL_DENSE_H

#include "tests/util/test.h"

/* Small sizes mostly, more than a tile now and then; a batch of 0 .. 9. */
equinv_dense_desc dense_random_desc(rng *r, equinv_dtype dtype);

#endif
