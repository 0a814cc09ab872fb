/* Optimisers for the tests: random descriptions. */
#ifndef TESTS_UTIL_OPTIMIZER_H
#define TESTS_UTIL_OPTIMIZER_H

#include "tests/util/test.h"

/* Numbers of state that a parameter has: none, one, two. */
enum { SGD, MOMENTUM, ADAM, OPTIMIZER_KINDS };
extern const char *const optimizer_kinds[OPTIMIZER_KINDS];

equinv_optimizer_desc optimizer_random_desc(rng *r, int kind);

#endif
