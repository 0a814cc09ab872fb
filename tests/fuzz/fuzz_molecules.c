/* Files of molecules: the file as it is, and the input as the rows behind a header that fits. */
#define _GNU_SOURCE
#include "examples/molecules/graph.c"
#include "tests/fuzz/fuzz.h"

/* What a file that is let through promises. */
static void fuzz_molecules(const void *data, size_t size)
{
    equinv_context *const ctx = fuzz_context();
    const fuzz_file file = fuzz_file_of(data, size), copy = fuzz_file_of(NULL, 0);
    equinv_tensor graphs = {0}, back = {0};
    char why[256] = "";
    if (graphs_load(ctx, file.path, &graphs, why, sizeof why) == EQUINV_OK) {
        FUZZ_CHECK(graphs.shape[0] >= 1);
        for (int64_t m = 0; m < graphs.shape[0]; m++) {
            const graph *const g = graph_at(&graphs, m);
            const int n = graph_nodes(g);
            int order[NODES];
            graph turned;
            FUZZ_CHECK(n >= 1 && n <= NODES);
            for (int i = 0; i < n; i++) {
                order[i] = n - 1 - i;
                for (int j = 0; j < NODES; j++)
                    FUZZ_CHECK(g->cell[i][j] <= 4 && g->cell[i][j] == g->cell[j][i] &&
                               (j < n || g->cell[i][j] == NO_BOND));
            }
            graph_permute(g, order, &turned);
            FUZZ_CHECK(graph_is_molecule(g) == graph_is_molecule(&turned));
        }
        FUZZ_CHECK(equinv_tensor_save(ctx, copy.path, &graphs) == EQUINV_OK);
        FUZZ_CHECK(graphs_load(ctx, copy.path, &back, why, sizeof why) == EQUINV_OK);
        fuzz_same(&graphs, &back);
        equinv_tensor_destroy(ctx, &back);
        equinv_tensor_destroy(ctx, &graphs);
    } else {
        FUZZ_CHECK(*why && !graphs.data);
    }
    close(file.fd);
    close(copy.fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { HEADER = 128, ROWS = 8 };
    uint8_t file[HEADER + ROWS * sizeof(graph)] = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, 118};
    const size_t rows = size / sizeof(graph) < ROWS ? size / sizeof(graph) : ROWS;
    fuzz_molecules(data, size);
    const int length =
        snprintf((char *)file + 10, HEADER - 10,
                 "{'descr': '|u1', 'fortran_order': False, 'shape': (%d, 9, 9), }", (int)rows);
    memset(file + 10 + length, ' ', (size_t)(HEADER - 11 - length));
    file[HEADER - 1] = '\n';
    if (rows > 0)
        memcpy(file + HEADER, data, rows * sizeof(graph));
    fuzz_molecules(file, HEADER + rows * sizeof(graph));
    return 0;
}
