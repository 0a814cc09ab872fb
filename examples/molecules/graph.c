#include "graph.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { AT_MOST = 1 << 24 };

int graph_nodes(const graph *g)
{
    int n = 0;
    while (n < NODES && g->cell[n][n] != NO_ATOM)
        n++;
    return n;
}

static bool refuse(char *why, size_t size, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static bool refuse(char *why, size_t size, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(why, size, format, arguments);
    va_end(arguments);
    return false;
}

bool graph_check(const graph *g, char *why, size_t size)
{
    const int n = graph_nodes(g);
    if (n == 0)
        return refuse(why, size, "atom 0 is not there, expected at least one atom");
    for (int i = 0; i < NODES; i++) {
        if (g->cell[i][i] > FLUORINE)
            return refuse(why, size, "atom %d has type %d, expected 0 to %d", i, g->cell[i][i],
                          FLUORINE);
        if (i >= n && g->cell[i][i] != NO_ATOM)
            return refuse(why, size, "atom %d stands behind %d, which is not there", i, n);
        for (int j = 0; j < i; j++) {
            if (g->cell[i][j] != g->cell[j][i])
                return refuse(why, size, "bond %d-%d has type %d, but %d-%d has %d", i, j,
                              g->cell[i][j], j, i, g->cell[j][i]);
            if (g->cell[i][j] > AROMATIC)
                return refuse(why, size, "bond %d-%d has type %d, expected 0 to %d", i, j,
                              g->cell[i][j], AROMATIC);
            if (i >= n && g->cell[i][j] != NO_BOND)
                return refuse(why, size, "atom %d has a bond, but is not there", i);
        }
    }
    return true;
}

/* ---- chemistry ------------------------------------------------------------------------------- */

static const int valence[] = {[CARBON] = 4, [NITROGEN] = 3, [OXYGEN] = 2, [FLUORINE] = 1};

/* The atoms that bonds of the types in `bonds` (a bit each) lead to from `from`, itself included. */
static unsigned reach(const graph *g, int n, int from, unsigned bonds)
{
    unsigned reached = 1u << from, grown = 0;
    while (grown != reached) {
        grown = reached;
        for (int i = 0; i < n; i++)
            for (int j = 0; j < n; j++)
                if (i != j && (grown >> i & 1) && (bonds >> g->cell[i][j] & 1))
                    reached |= 1u << j;
    }
    return reached;
}

static bool in_aromatic_ring(const graph *g, int n, int i, int j)
{
    graph without = *g;
    without.cell[i][j] = without.cell[j][i] = NO_BOND;
    return reach(&without, n, i, 1u << AROMATIC) >> j & 1;
}

/* What is left of an atom's valence, and whether it may or must still have a double bond in its rings. */
typedef struct place {
    int left;
    bool aromatic, open, needs;
} place;

/* Reads the aromatic bonds from pair number `pair` on as single or double. */
static bool kekulise(const graph *g, int n, int pair, place *at)
{
    for (; pair < n * n; pair++)
        if (pair / n < pair % n && g->cell[pair / n][pair % n] == AROMATIC)
            break;
    if (pair == n * n) {
        for (int i = 0; i < n; i++)
            if (at[i].needs)
                return false;
        return true;
    }
    place *const a = &at[pair / n], *const b = &at[pair % n];
    if (a->open && b->open && a->left > 0 && b->left > 0) {
        const place a_was = *a, b_was = *b;
        a->left--, b->left--;
        a->open = b->open = a->needs = b->needs = false;
        if (kekulise(g, n, pair + 1, at))
            return true;
        *a = a_was, *b = b_was;
    }
    return kekulise(g, n, pair + 1, at);
}

bool graph_is_molecule(const graph *g)
{
    const int n = graph_nodes(g);
    place at[NODES];
    if (reach(g, n, 0, ~(1u << NO_BOND)) != (1u << n) - 1)
        return false;
    for (int i = 0; i < n; i++) {
        at[i] = (place){.left = valence[g->cell[i][i]]};
        bool twofold = false;
        for (int j = 0; j < n; j++) {
            const int type = i == j ? NO_BOND : g->cell[i][j];
            at[i].left -= type == AROMATIC ? 1 : type;
            at[i].aromatic |= type == AROMATIC;
            twofold |= type == DOUBLE || type == TRIPLE;
            if (type == AROMATIC && !in_aromatic_ring(g, n, i, j))
                return false;
        }
        if (at[i].left < 0)
            return false;
        at[i].open = at[i].aromatic && !twofold;
        at[i].needs = at[i].open && g->cell[i][i] == CARBON;
    }
    return kekulise(g, n, 0, at);
}

void graph_permute(const graph *src, const int *order, graph *dst)
{
    const int n = graph_nodes(src);
    memset(dst, 0, sizeof *dst);
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++)
            dst->cell[order[i]][order[j]] = src->cell[i][j];
}

/* ---- files ----------------------------------------------------------------------------------- */

static equinv_status fail(equinv_status status, char *why, size_t size, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
static equinv_status fail(equinv_status status, char *why, size_t size, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(why, size, format, arguments);
    va_end(arguments);
    return status;
}

/* Everything is known before memory for the graphs is asked for. */
static equinv_status check_header(const char *path, const equinv_tensor *array, char *why,
                                  size_t size)
{
    if (array->dtype != EQUINV_U8)
        return fail(EQUINV_ERR_DTYPE, why, size, "%s holds %s, expected u8", path,
                    equinv_dtype_name(array->dtype));
    if (array->ndim != 3 || array->shape[1] != NODES || array->shape[2] != NODES)
        return fail(EQUINV_ERR_SHAPE, why, size,
                    "%s has %" PRId32 " axes (%" PRId64 " by %" PRId64
                    " a row), expected [N, %d, %d]: molecules of at most %d atoms",
                    path, array->ndim, array->ndim > 1 ? array->shape[1] : 1,
                    array->ndim > 2 ? array->shape[2] : 1, NODES, NODES, NODES);
    if (array->shape[0] < 1 || array->shape[0] > AT_MOST)
        return fail(EQUINV_ERR_SHAPE, why, size, "%s has %" PRId64 " molecules, expected 1 to %d",
                    path, array->shape[0], AT_MOST);
    return EQUINV_OK;
}

static equinv_status read_graphs(equinv_reader *reader, const char *path,
                                 const equinv_tensor *graphs, char *why, size_t size)
{
    int64_t count;
    const equinv_status status = equinv_reader_read(reader, graphs, &count);
    if (status != EQUINV_OK)
        return fail(status, why, size, "%s", equinv_last_error());
    for (int64_t i = 0; i < count; i++) {
        char reason[128];
        if (!graph_check(graph_at(graphs, i), reason, sizeof reason))
            return fail(EQUINV_ERR_FORMAT, why, size, "%s: molecule %" PRId64 ": %s", path, i,
                        reason);
    }
    return EQUINV_OK;
}

equinv_status graphs_load(equinv_context *ctx, const char *path, equinv_tensor *graphs, char *why,
                          size_t size)
{
    equinv_reader *reader;
    equinv_tensor array, memory = {0};
    equinv_status status = equinv_reader_open(ctx, path, &reader);
    if (status != EQUINV_OK)
        return fail(status, why, size, "%s", equinv_last_error());
    status = equinv_reader_describe(reader, &array);
    if (status == EQUINV_OK)
        status = check_header(path, &array, why, size);
    if (status == EQUINV_OK) {
        status = equinv_tensor_create_pinned(ctx, EQUINV_U8, 3, array.shape, &memory);
        if (status != EQUINV_OK)
            fail(status, why, size, "%s", equinv_last_error());
    }
    if (status == EQUINV_OK)
        status = read_graphs(reader, path, &memory, why, size);
    equinv_reader_close(reader);
    if (status == EQUINV_OK)
        *graphs = memory;
    else
        equinv_tensor_destroy(ctx, &memory);
    return status;
}
