/* Graphs like molecules for the tests. */
#ifndef TESTS_UTIL_GRAPHS_H
#define TESTS_UTIL_GRAPHS_H

#include "examples/molecules/graph.h"
#include "tests/util/test.h"

/* Two atoms at least, the first graph as many as there may be; list[b] = &graphs[b]. */
void graphs_random(rng *r, int count, graph *graphs, const graph **list);

#endif
