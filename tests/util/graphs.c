#include "tests/util/graphs.h"

void graphs_random(rng *r, int count, graph *graphs, const graph **list)
{
    memset(graphs, 0, (size_t)count * sizeof *graphs);
    for (int b = 0; b < count; b++) {
        const int n = (int)rng_range(r, b == 0 ? NODES : 2, NODES);
        list[b] = &graphs[b];
        for (int i = 0; i < n; i++) {
            graphs[b].cell[i][i] = (uint8_t)rng_range(r, CARBON, FLUORINE);
            for (int j = 0; j < i; j++)
                graphs[b].cell[i][j] = graphs[b].cell[j][i] =
                    (uint8_t)(rng_range(r, 0, 2) ? NO_BOND : rng_range(r, SINGLE, AROMATIC));
        }
    }
}
