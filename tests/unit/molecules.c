/* Files of molecules as hostile input, and what counts as a molecule, against the data set itself. */
#include <inttypes.h>
#include <unistd.h>

#include "examples/molecules/graph.h"
#include "tests/util/test.h"

#define DATA "examples/data/"

static graph graph_of(const char *atoms, const int (*bonds)[3], int count)
{
    graph g = {{{0}}};
    for (int i = 0; atoms[i]; i++)
        g.cell[i][i] = (uint8_t)(strchr("CNOF", atoms[i]) - "CNOF" + 1);
    for (int b = 0; b < count; b++)
        g.cell[bonds[b][0]][bonds[b][1]] = g.cell[bonds[b][1]][bonds[b][0]] = (uint8_t)bonds[b][2];
    return g;
}

START_TEST(molecules_by_hand)
{
    static const struct {
        const char *what, *atoms;
        int bonds[9][3], count;
        bool molecule;
    } cases[] = {
        {"methane", "C", {{0}}, 0, true},
        {"ethanol", "CCO", {{0, 1, 1}, {1, 2, 1}}, 2, true},
        {"two pieces", "CCO", {{0, 1, 1}}, 1, false},
        {"hydrogen cyanide", "CN", {{0, 1, 3}}, 1, true},
        {"O with three bonds", "COC", {{0, 1, 2}, {1, 2, 1}}, 2, false},
        {"fluorine in the middle", "CFC", {{0, 1, 1}, {1, 2, 1}}, 2, false},
        {"carbon with five bonds", "CCC", {{0, 1, 3}, {1, 2, 2}}, 2, false},
        {"benzene",
         "CCCCCC",
         {{0, 1, 4}, {1, 2, 4}, {2, 3, 4}, {3, 4, 4}, {4, 5, 4}, {5, 0, 4}},
         6,
         true},
        {"pyrrole", "CCCCN", {{0, 1, 4}, {1, 2, 4}, {2, 3, 4}, {3, 4, 4}, {4, 0, 4}}, 5, true},
        {"furan", "CCCCO", {{0, 1, 4}, {1, 2, 4}, {2, 3, 4}, {3, 4, 4}, {4, 0, 4}}, 5, true},
        {"five aromatic carbons",
         "CCCCC",
         {{0, 1, 4}, {1, 2, 4}, {2, 3, 4}, {3, 4, 4}, {4, 0, 4}},
         5,
         false},
        {"the same, one of them a ketone",
         "CCCCCO",
         {{0, 1, 4}, {1, 2, 4}, {2, 3, 4}, {3, 4, 4}, {4, 0, 4}, {4, 5, 2}},
         6,
         true},
        {"an open aromatic chain", "CCC", {{0, 1, 4}, {1, 2, 4}}, 2, false},
        {"an aromatic bond between rings",
         "CCCCCC",
         {{0, 1, 4}, {1, 2, 4}, {2, 0, 4}, {3, 4, 4}, {4, 5, 4}, {5, 3, 4}, {0, 3, 4}},
         7,
         false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const graph g = graph_of(cases[i].atoms, cases[i].bonds, cases[i].count);
        char why[128];
        ck_assert_msg(graph_check(&g, why, sizeof why), "%s: %s", cases[i].what, why);
        ck_assert_msg(graph_is_molecule(&g) == cases[i].molecule, "%s", cases[i].what);
    }
}
END_TEST

/* Every molecule of the data set is one, in any order of its atoms; most with a bond more are none. */
START_TEST(molecules_of_the_data_set)
{
    static const struct {
        const char *path;
        int64_t count;
    } files[] = {{DATA "qm9-train-graphs.npy.gz", 40000}, {DATA "qm9-table-graphs.npy.gz", 7484}};
    equinv_context *const ctx = context_new();
    for (int f = 0; f < 2; f++) {
        equinv_tensor graphs;
        char why[256];
        const equinv_status status = graphs_load(ctx, files[f].path, &graphs, why, sizeof why);
        if (status == EQUINV_ERR_UNSUPPORTED) {
            SKIP("%s", why);
            break;
        }
        ck_assert_msg(status == EQUINV_OK, "%s", why);
        ck_assert_int_eq(graphs.shape[0], files[f].count);
        rng r = {(uint64_t)f};
        int64_t broken = 0;
        for (int64_t i = 0; i < graphs.shape[0]; i++) {
            const graph *const g = graph_at(&graphs, i);
            const int n = graph_nodes(g);
            int order[NODES];
            graph turned;
            for (int k = 0; k < n; k++) {
                const int at = (int)rng_range(&r, 0, k);
                order[k] = order[at];
                order[at] = k;
            }
            graph_permute(g, order, &turned);
            ck_assert_msg(n >= 2 && graph_is_molecule(g), "molecule %" PRId64, i);
            ck_assert_msg(graph_check(&turned, why, sizeof why) && graph_is_molecule(&turned),
                          "molecule %" PRId64 ", turned", i);
            const int a = order[0], b = order[1];
            turned.cell[a][b] = turned.cell[b][a] = turned.cell[a][b] == TRIPLE ? NO_BOND : TRIPLE;
            broken += !graph_is_molecule(&turned);
        }
        ck_assert_int_gt(broken, graphs.shape[0] / 2);
        equinv_tensor_destroy(ctx, &graphs);
    }
    equinv_context_destroy(ctx);
}
END_TEST

/* One cell of a graph changed: what the check must then say. */
START_TEST(graphs_that_are_none)
{
    static const struct {
        int i, j, value;
        bool both;
        const char *why;
    } cases[] = {
        {0, 0, 0, false, "atom 0 is not there, expected at least one"},
        {1, 1, 0, false, "atom 1 has a bond, but is not there"},
        {2, 2, 5, false, "atom 2 has type 5, expected 0 to 4"},
        {8, 8, 1, false, "atom 8 stands behind 3"},
        {1, 0, 2, false, "bond 1-0 has type 2, but 0-1 has 1"},
        {0, 2, 255, false, "bond 2-0 has type 0, but 0-2 has 255"},
        {2, 0, 5, true, "bond 2-0 has type 5, expected 0 to 4"},
        {3, 1, 1, true, "atom 3 has a bond, but is not there"},
        {8, 7, 1, true, "atom 8 has a bond, but is not there"},
    };
    static const int bonds[2][3] = {{0, 1, 1}, {1, 2, 1}};
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        graph g = graph_of("CCO", bonds, 2);
        char why[128];
        ck_assert(graph_check(&g, why, sizeof why));
        g.cell[cases[k].i][cases[k].j] = (uint8_t)cases[k].value;
        if (cases[k].both)
            g.cell[cases[k].j][cases[k].i] = (uint8_t)cases[k].value;
        ck_assert_msg(!graph_check(&g, why, sizeof why), "case %d passes", (int)k);
        ck_assert_msg(strstr(why, cases[k].why) != NULL, "\"%s\", expected \"%s\"", why,
                      cases[k].why);
    }
}
END_TEST

/* Any bytes: the check never reads outside, and what it lets through has the properties it promises. */
START_TEST(graphs_of_random_bytes)
{
    rng r = {5};
    int good = 0;
    for (int round = 0; round < 20000; round++) {
        graph g = graph_of("CNO", (const int[2][3]){{0, 1, 1}, {1, 2, 2}}, 2);
        for (int64_t k = rng_range(&r, 0, 3); k > 0; k--) {
            const int64_t i = rng_range(&r, 0, 4), j = rng_range(&r, 0, 4);
            g.cell[i][j] = (uint8_t)rng_range(&r, 0, 5);
            if (rng_range(&r, 0, 1))
                g.cell[j][i] = g.cell[i][j];
        }
        if (round % 4 == 0)
            for (size_t b = 0; b < sizeof g; b++)
                ((uint8_t *)&g)[b] = (uint8_t)rng_next(&r);
        char why[128];
        if (!graph_check(&g, why, sizeof why))
            continue;
        good++;
        graph_is_molecule(&g);
        const int n = graph_nodes(&g);
        ck_assert(n >= 1);
        for (int i = 0; i < NODES; i++)
            for (int j = 0; j < NODES; j++) {
                ck_assert_int_le(g.cell[i][j], 4);
                ck_assert_int_eq(g.cell[i][j], g.cell[j][i]);
                ck_assert(g.cell[i][j] == 0 || (i < n && j < n));
            }
    }
    ck_assert_int_gt(good, 1000);
}
END_TEST

static const char *scratch_path(char *path, size_t size)
{
    const char *const folder = getenv("TMPDIR");
    snprintf(path, size, "%s/equinv-molecules-%ld.npy", folder ? folder : "/tmp", (long)getpid());
    return path;
}

START_TEST(files_that_are_refused)
{
    static const struct {
        equinv_dtype dtype;
        int ndim;
        int64_t shape[3];
        equinv_status status;
        const char *why;
    } cases[] = {
        {EQUINV_I32, 3, {2, 9, 9}, EQUINV_ERR_DTYPE, "holds i32, expected u8"},
        {EQUINV_U8, 2, {2, 9}, EQUINV_ERR_SHAPE, "2 axes (9 by 1 a row), expected [N, 9, 9]"},
        {EQUINV_U8, 3, {2, 12, 12}, EQUINV_ERR_SHAPE, "12 by 12 a row), expected [N, 9, 9]"},
        {EQUINV_U8, 3, {0, 9, 9}, EQUINV_ERR_SHAPE, "has 0 molecules, expected 1 to"},
        {EQUINV_U8, 3, {2, 9, 9}, EQUINV_ERR_FORMAT, "molecule 0: atom 0 is not there"},
    };
    equinv_context *const ctx = context_new();
    equinv_tensor graphs = {0}, array;
    char path[256], why[256];
    scratch_path(path, sizeof path);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        OK(equinv_tensor_create(ctx, cases[i].dtype, cases[i].ndim, cases[i].shape, &array));
        OK(equinv_tensor_save(ctx, path, &array));
        equinv_tensor_destroy(ctx, &array);
        ck_assert_int_eq(graphs_load(ctx, path, &graphs, why, sizeof why), cases[i].status);
        ck_assert_msg(strstr(why, cases[i].why) != NULL, "\"%s\", expected \"%s\"", why,
                      cases[i].why);
        ck_assert_ptr_null(graphs.data);
    }
    /* a good one, the same cut short by one byte, and a bad second molecule */
    OK(equinv_tensor_create(ctx, EQUINV_U8, 3, (int64_t[]){2, NODES, NODES}, &array));
    graph *const g = array.data;
    g[0] = g[1] = graph_of("CO", (const int[1][3]){{0, 1, 1}}, 1);
    OK(equinv_tensor_save(ctx, path, &array));
    ck_assert_int_eq(graphs_load(ctx, path, &graphs, why, sizeof why), EQUINV_OK);
    ck_assert(memcmp(graphs.data, g, 2 * sizeof *g) == 0);
    equinv_tensor_destroy(ctx, &graphs);
    ck_assert_int_eq(truncate(path, 128 + 2 * 81 - 1), 0);
    ck_assert_int_eq(graphs_load(ctx, path, &graphs, why, sizeof why), EQUINV_ERR_FORMAT);
    ck_assert_ptr_null(graphs.data);
    g[1].cell[0][1] = TRIPLE;
    OK(equinv_tensor_save(ctx, path, &array));
    ck_assert_int_eq(graphs_load(ctx, path, &graphs, why, sizeof why), EQUINV_ERR_FORMAT);
    ck_assert_msg(strstr(why, "molecule 1: bond 1-0 has type 1, but 0-1 has 3") != NULL, "%s", why);
    unlink(path);
    ck_assert_int_eq(graphs_load(ctx, path, &graphs, why, sizeof why), EQUINV_ERR_IO);
    ck_assert_msg(strstr(why, path) != NULL, "%s", why);
    equinv_tensor_destroy(ctx, &array);
    equinv_context_destroy(ctx);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {molecules_by_hand, 1},      {molecules_of_the_data_set, 1}, {graphs_that_are_none, 1},
        {graphs_of_random_bytes, 1}, {files_that_are_refused, 1},
    };
    return run_tests("molecules", tests, sizeof tests / sizeof *tests);
}
