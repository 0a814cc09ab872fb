/*
 * C = A B (+ C): c[i][j] = one chain of multiply-adds over k = 0, 1, ..
 *
 * Tile    ROWS x (VECTORS vectors) of C in registers, or TALL rows of fewer vectors, so that there are always
 *         chains enough to hide the latency; per k one load for each vector of B and one broadcast for each
 *         row of A. Smaller tiles at the edges run the same chain, so no element depends on where in C it
 *         stands.
 * Layout  B is packed in panels [k][tile width], DEPTH rows at a time, so that a panel stays in L1
 *         while the rows of A pass; C carries the chain from one block of k to the next. A is read in
 *         place through offsets, row[i] + column[k]: a broadcast does not care where it comes from,
 *         which lets the caller present patches of an image as a matrix without copying them.
 * Why     without packing A, each of its elements is used for a whole tile width of multiply-adds, so
 *         reading it again for the next panel costs about a byte a cycle.
 *
 * The includer sets ROWS, VECTORS, TALL (>= ROWS), TALL_VECTORS, ELEMENT (f32 or f64) and a header of cpu/simd/.
 */
#include "cpu/gemm/kernels.h"

#include <string.h>

#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 8")
#endif

#define PASTE_(a, b, c, d) a##b##c##d
#define PASTE(a, b, c, d) PASTE_(a, b, c, d)
#define V PASTE(v, ELEMENT, , )
#define DO(op) PASTE(v, ELEMENT, _, op)
#define LANES DO(lanes)
#define REAL PASTE(eqi_real_, ELEMENT, , )
#define NAME(name) PASTE(name, _, ELEMENT, )
#define TILE NAME(tile)
#define GEMM PASTE(PASTE(eqi_, ELEMENT, _gemm_, ), EQI_LEVEL, , )

enum {
    NAME(width) = VECTORS * LANES,
    NAME(panel) =
        24 * 1024 / (int)sizeof(REAL), /* numbers of a panel: DEPTH rows of what it is wide */
    NAME(deepest) = NAME(panel) / LANES,
    /* Columns of B that fit the workspace at once, in whole panels. */
    NAME(span) = (int)EQI_GEMM_WORKSPACE / (NAME(panel) * (int)sizeof(REAL)) * NAME(width),
    /* Rows of A that stay in L2 while the panels of B pass. */
    NAME(block) = 40 * ROWS
};

typedef struct TILE {
    int64_t k;
    const REAL *a[TALL];
    const int64_t *column;
    const REAL *b;
    int64_t b_step;
    REAL *c;
    int64_t ldc;
    const int64_t *c_rows;
    bool accumulate, whole;
} TILE;

static inline __attribute__((always_inline)) REAL *NAME(row_of)(const TILE *t, int64_t r)
{
    return t->c + (t->c_rows ? t->c_rows[r] : r * t->ldc);
}

static inline __attribute__((always_inline)) void NAME(run_tile)(const TILE *t, const int rows,
                                                                 const int vectors)
{
    V acc[TALL][VECTORS];
    UNROLL for (int r = 0; r < rows; r++)
    {
        UNROLL for (int v = 0; v < vectors; v++)
        {
            acc[r][v] = t->accumulate ? DO(load)(NAME(row_of)(t, r) + v * LANES) : DO(broadcast)(0);
        }
    }
    const REAL *a[TALL];
    UNROLL for (int r = 0; r < rows; r++)
    {
        a[r] = t->a[r];
    }
    const REAL *b = t->b;
    const int64_t b_step = t->b_step;
    const int64_t *column = t->column;
    for (const int64_t *const end = column + t->k; column < end; column++, b += b_step) {
        const int64_t at = *column;
        V bv[VECTORS];
        UNROLL for (int v = 0; v < vectors; v++)
        {
            bv[v] = DO(load)(b + v * LANES);
        }
        UNROLL for (int r = 0; r < rows; r++)
        {
            const V av = DO(broadcast)(a[r][at]);
            UNROLL for (int v = 0; v < vectors; v++)
            {
                acc[r][v] = DO(fma)(av, bv[v], acc[r][v]);
            }
        }
    }
    UNROLL for (int r = 0; r < rows; r++)
    {
        REAL *const to = NAME(row_of)(t, r);
        UNROLL for (int v = 0; v < vectors; v++)
        {
            DO(store)(to + v * LANES, acc[r][v]);
        }
    }
}

/* One function for each size up to the tile; those beyond it are empty. */
#define EACH_VECTOR(DO_THIS, r) DO_THIS(r, 1) DO_THIS(r, 2) DO_THIS(r, 3) DO_THIS(r, 4)
#define EACH_SIZE(DO_THIS)                                                                         \
    EACH_VECTOR(DO_THIS, 1)                                                                        \
    EACH_VECTOR(DO_THIS, 2)                                                                        \
    EACH_VECTOR(DO_THIS, 3)                                                                        \
    EACH_VECTOR(DO_THIS, 4)                                                                        \
    EACH_VECTOR(DO_THIS, 5)                                                                        \
    EACH_VECTOR(DO_THIS, 6)                                                                        \
    EACH_VECTOR(DO_THIS, 7)                                                                        \
    EACH_VECTOR(DO_THIS, 8)
#define ROWS_OF(vectors) ((vectors) <= TALL_VECTORS ? TALL : ROWS)
#define FUNCTION(r, v)                                                                             \
    static __attribute__((noinline)) void NAME(run_##r##x##v)(const TILE *t)                       \
    {                                                                                              \
        if ((r) <= ROWS_OF(v) && (v) <= VECTORS)                                                   \
            NAME(run_tile)(t, (r) <= ROWS_OF(v) ? (r) : 0, (v) <= VECTORS ? (v) : 0);              \
    }
#define ADDRESS(r, v) NAME(run_##r##x##v),

EACH_SIZE(FUNCTION)

static void (*const NAME(sizes)[])(const TILE *t) = {EACH_SIZE(ADDRESS)};

/* Runs one tile; where C has no whole vectors left, in a copy of it. */
static void NAME(dispatch)(const TILE *t, int64_t rows, int64_t columns)
{
    const int64_t vectors = (columns + LANES - 1) / LANES;
    void (*const run)(const TILE *) = NAME(sizes)[4 * (rows - 1) + vectors - 1];
    if (t->whole || columns == vectors * LANES) {
        run(t);
        return;
    }
    REAL copy[TALL * NAME(width)];
    TILE inner = *t;
    inner.c = copy;
    inner.ldc = NAME(width);
    inner.c_rows = NULL;
    const size_t bytes = (size_t)columns * sizeof(REAL);
    if (t->accumulate)
        for (int64_t r = 0; r < rows; r++) {
            memcpy(copy + r * NAME(width), NAME(row_of)(t, r), bytes);
            memset(copy + r * NAME(width) + columns, 0,
                   (size_t)(vectors * LANES) * sizeof(REAL) - bytes);
        }
    run(&inner);
    for (int64_t r = 0; r < rows; r++)
        memcpy(NAME(row_of)(t, r), copy + r * NAME(width), bytes);
}

/* k x n of B, from (k0, j0), as one panel of `padded` columns with zeros behind the last one. */
static void NAME(pack)(const eqi_gemm_args *args, int64_t k0, int64_t k, int64_t j0, int64_t n,
                       int64_t padded, REAL *panel)
{
    const REAL *const b = args->b;
    const int64_t ldb = args->ldb;
    if (!args->transpose_b && args->whole) {
        for (int64_t i = 0; i < k; i++)
            for (int64_t j = 0; j < padded; j += LANES)
                DO(store)(panel + i * padded + j, DO(load)(b + (k0 + i) * ldb + j0 + j));
        return;
    }
    if (!args->transpose_b) {
        for (int64_t i = 0; i < k; i++) {
            memcpy(panel + i * padded, b + (k0 + i) * ldb + j0, (size_t)n * sizeof(REAL));
            for (int64_t j = n; j < padded; j++)
                panel[i * padded + j] = 0;
        }
        return;
    }
    int64_t j = 0;
    for (; j + 4 <= n; j += 4) {
        const REAL *const from = b + (j0 + j) * ldb + k0;
        for (int64_t i = 0; i < k; i++) {
            REAL *const to = panel + i * padded + j;
            to[0] = from[i];
            to[1] = from[ldb + i];
            to[2] = from[2 * ldb + i];
            to[3] = from[3 * ldb + i];
        }
    }
    for (; j < padded; j++)
        for (int64_t i = 0; i < k; i++)
            panel[i * padded + j] = j < n ? b[(j0 + j) * ldb + k0 + i] : 0;
}

static int64_t NAME(smaller)(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Rows i0 .. i1-1 of C against one panel, in tiles as equal in height as possible. */
static void NAME(run_rows)(const eqi_gemm_args *args, TILE t, int64_t i0, int64_t i1, int64_t k0,
                           int64_t columns)
{
    const REAL *const a = args->a;
    const int64_t most = ROWS_OF((columns + LANES - 1) / LANES);
    const int64_t tiles = (i1 - i0 + most - 1) / most;
    const int64_t least = (i1 - i0) / tiles, higher = (i1 - i0) % tiles;
    const int64_t step = args->transpose_a ? 1 : args->lda;
    const int64_t start = args->a_rows ? 0 : k0 * (args->transpose_a ? args->lda : 1);
    REAL *const c = t.c;
    for (int64_t tile = 0, i = i0; tile < tiles; tile++) {
        const int64_t rows = least + (tile < higher);
        for (int64_t r = 0; r < rows; r++)
            t.a[r] = a + start + (args->a_rows ? args->a_rows[i + r] : (i + r) * step);
        if (args->c_rows)
            t.c_rows = args->c_rows + i;
        else
            t.c = c + i * args->ldc;
        NAME(dispatch)(&t, rows, columns);
        i += rows;
    }
}

void GEMM(const eqi_gemm_args *args, void *workspace)
{
    const int64_t m = args->m, n = args->n, k = args->k;
    const int64_t wide = NAME(smaller)(VECTORS, n / LANES + (n % LANES > 0)) * LANES;
    const int64_t most = NAME(panel) / (wide > 0 ? wide : LANES);
    int64_t steps[NAME(deepest)];
    if (!args->a_columns)
        for (int64_t i = 0; i < NAME(smaller)(k, most); i++)
            steps[i] = i * (args->transpose_a ? args->lda : 1);
    /* With few rows, B is read where it stands: packing would cost as much as the product. */
    const bool in_place = !args->transpose_b && (args->packed_b || m <= 2 * ROWS);
    for (int64_t j0 = 0; j0 < n; j0 += NAME(span)) {
        const int64_t j1 = NAME(smaller)(n, j0 + NAME(span));
        int64_t k0 = 0;
        do { /* once even where k is 0: C must become 0 */
            const int64_t depth = NAME(smaller)(k - k0, most);
            const TILE block = {.k = depth,
                                .column = args->a_columns ? args->a_columns + k0 : steps,
                                .ldc = args->ldc,
                                .accumulate = args->accumulate || k0 > 0,
                                .whole = args->whole};
            for (int64_t i0 = 0; i0 < m; i0 += NAME(block)) {
                const int64_t i1 = NAME(smaller)(m, i0 + NAME(block));
                REAL *panel = workspace;
                for (int64_t j = j0; j < j1; j += NAME(width)) {
                    const int64_t columns = NAME(smaller)(j1 - j, NAME(width));
                    const int64_t vectors = (columns + LANES - 1) / LANES;
                    TILE t = block;
                    t.c = (REAL *)args->c + j;
                    if (in_place && (args->whole || columns == vectors * LANES)) {
                        t.b = (const REAL *)args->b + k0 * args->ldb + j;
                        t.b_step = args->ldb;
                    } else {
                        if (i0 == 0)
                            NAME(pack)(args, k0, depth, j, columns, vectors * LANES, panel);
                        t.b = panel;
                        t.b_step = vectors * LANES;
                        panel += depth * vectors * LANES;
                    }
                    NAME(run_rows)(args, t, i0, i1, k0, columns);
                }
            }
            k0 += depth;
        } while (k0 < k);
    }
}

#undef GEMM
#undef TILE
#undef NAME
#undef REAL
#undef LANES
#undef DO
#undef V
#undef PASTE
#undef PASTE_
#undef ADDRESS
#undef FUNCTION
#undef ROWS_OF
#undef EACH_SIZE
#undef EACH_VECTOR
#undef UNROLL
#undef ELEMENT
