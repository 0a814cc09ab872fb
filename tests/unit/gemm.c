/* The built-in matrix product: every level, transpose and edge against a plain loop, and its bits. */
#include <math.h>

#include "cpu/gemm/gemm.h"
#include "tests/util/test.h"

enum { LEVELS = 3 };
static const equinv_dtype dtypes[] = {EQUINV_F32, EQUINV_F64};

/* Levels that this machine has; the others are skipped by name. */
static bool hardware_of(int level, eqi_hardware *hardware)
{
    eqi_isa highest = EQI_ISA_SCALAR;
    OK(eqi_isa_detect(&highest));
    *hardware = (eqi_hardware){(eqi_isa)level, 1};
    if ((int)highest >= level)
        return true;
    SKIP("this machine has no %s", eqi_isa_name((eqi_isa)level));
    return false;
}

typedef void product(const eqi_hardware *hardware, equinv_dtype dtype, const eqi_gemm_args *args,
                     void *workspace);

/* One random problem: matrices inside larger memory, with everything around C watched. */
typedef struct problem {
    eqi_gemm_args args;
    equinv_dtype dtype;
    void *a, *b, *c, *before;
    size_t c_size;
    int64_t *rows, *columns;
} problem;

static double get(equinv_dtype dtype, const void *p, int64_t i)
{
    return dtype == EQUINV_F32 ? (double)((const float *)p)[i] : ((const double *)p)[i];
}

static void *random_matrix(rng *r, equinv_dtype dtype, int64_t count)
{
    void *const p = malloc((size_t)count * 8 + 8);
    for (int64_t i = 0; i < count; i++) {
        const double x = rng_uniform(r);
        if (dtype == EQUINV_F32)
            ((float *)p)[i] = (float)x;
        else
            ((double *)p)[i] = x;
    }
    return p;
}

static problem problem_new(rng *r, equinv_dtype dtype, int64_t m, int64_t n, int64_t k, int form,
                           bool accumulate)
{
    problem p = {.dtype = dtype};
    eqi_gemm_args *const g = &p.args;
    *g = (eqi_gemm_args){
        .transpose_a = form & 1, .transpose_b = form >> 1 & 1, .m = m, .n = n, .k = k};
    g->lda = (g->transpose_a ? m : k) + rng_range(r, 0, 3);
    g->ldb = (g->transpose_b ? k : n) + rng_range(r, 0, 3);
    g->ldc = n + rng_range(r, n == 0, 3);
    g->accumulate = accumulate;
    g->a = p.a = random_matrix(r, dtype, (g->transpose_a ? k : m) * g->lda + 1);
    g->b = p.b = random_matrix(r, dtype, (g->transpose_b ? n : k) * g->ldb + 1);
    g->c = p.c = random_matrix(r, dtype, m * g->ldc + 1);
    p.c_size = (size_t)(m * g->ldc + 1) * equinv_dtype_size(dtype);
    p.before = malloc(p.c_size);
    memcpy(p.before, p.c, p.c_size);
    return p;
}

/* Reads A through offsets instead, over the same memory. */
static void use_offsets(problem *p)
{
    eqi_gemm_args *const g = &p->args;
    p->rows = malloc((size_t)(g->m + 1) * sizeof *p->rows);
    p->columns = malloc((size_t)(g->k + 1) * sizeof *p->columns);
    for (int64_t i = 0; i < g->m; i++)
        p->rows[i] = g->transpose_a ? i : i * g->lda;
    for (int64_t i = 0; i < g->k; i++)
        p->columns[i] = g->transpose_a ? i * g->lda : i;
    g->a_rows = p->rows;
    g->a_columns = p->columns;
}

static void problem_free(problem *p)
{
    free(p->a), free(p->b), free(p->c), free(p->before), free(p->rows), free(p->columns);
}

/* The chain in the element's own precision; scalar rounds the product too. */
static double chain(const problem *p, eqi_isa isa, int64_t i, int64_t j)
{
    const eqi_gemm_args *const g = &p->args;
    double wide = g->accumulate ? get(p->dtype, p->before, i * g->ldc + j) : 0;
    float narrow = (float)wide;
    for (int64_t l = 0; l < g->k; l++) {
        const double a = get(p->dtype, p->a, g->transpose_a ? l * g->lda + i : i * g->lda + l);
        const double b = get(p->dtype, p->b, g->transpose_b ? j * g->ldb + l : l * g->ldb + j);
        if (isa == EQI_ISA_SCALAR) {
            wide = wide + a * b;
            narrow = narrow + (float)a * (float)b;
        } else {
            wide = fma(a, b, wide);
            narrow = fmaf((float)a, (float)b, narrow);
        }
    }
    return p->dtype == EQUINV_F32 ? (double)narrow : wide;
}

/* Every element must be the chain to the bit (tolerance 0) or nearly; nothing else may change. */
static void check(const problem *p, eqi_isa isa, double tolerance, uint64_t seed)
{
    const eqi_gemm_args *const g = &p->args;
    const int64_t count = g->m * g->ldc + 1;
    for (int64_t at = 0; at < count; at++) {
        const int64_t i = at / g->ldc, j = at % g->ldc;
        const bool inside = i < g->m && j < g->n;
        const double expected = inside ? chain(p, isa, i, j) : get(p->dtype, p->before, at);
        const double got = get(p->dtype, p->c, at);
        ck_assert_msg(fabs(got - expected) <= (inside ? tolerance : 0),
                      "seed %llu, %s %s: %lld x %lld x %lld transposed %d%d accumulate %d: c[%lld] "
                      "at row %lld, column %lld is %.17g, expected %.17g",
                      (unsigned long long)seed, eqi_isa_name(isa), equinv_dtype_name(p->dtype),
                      (long long)g->m, (long long)g->n, (long long)g->k, g->transpose_a,
                      g->transpose_b, g->accumulate, (long long)at, (long long)i, (long long)j, got,
                      expected);
    }
}

static void *workspace_new(void)
{
    void *const workspace = aligned_alloc(64, EQI_GEMM_WORKSPACE);
    ck_assert_ptr_nonnull(workspace);
    return workspace;
}

static void run_random(int level, int problems, bool offsets)
{
    eqi_hardware hardware;
    if (!hardware_of(level, &hardware))
        return;
    void *const workspace = workspace_new();
    for (int i = 0; i < problems; i++) {
        const uint64_t seed = (uint64_t)(1000 * level + i);
        rng r = {seed};
        const int64_t m = rng_range(&r, 0, 40), n = rng_range(&r, 0, 150);
        const int64_t k = i % 8 == 0 ? rng_range(&r, 0, 3) : rng_range(&r, 0, 130);
        problem p = problem_new(&r, dtypes[i % 2], m, n, k, i / 2 % 4, i / 8 % 2);
        if (offsets)
            use_offsets(&p);
        eqi_gemm(&hardware, p.dtype, &p.args, workspace);
        check(&p, hardware.isa, 0, seed);
        problem_free(&p);
    }
    free(workspace);
}

START_TEST(every_element_is_the_chain_to_the_bit)
{
    run_random(_i, 208, false);
}
END_TEST

START_TEST(offsets_read_the_same_matrix)
{
    run_random(_i, 96, true);
}
END_TEST

/* Long k and wide n cross the blocks of the packing. */
START_TEST(chains_survive_blocking)
{
    static const int64_t sizes[][3] = {
        {3, 5, 2500}, {9, 2100, 150}, {530, 17, 131}, {250, 70, 257}};
    eqi_hardware hardware;
    if (!hardware_of(_i, &hardware))
        return;
    void *const workspace = workspace_new();
    for (int i = 0; i < 16; i++) {
        const int64_t *const s = sizes[i % 4];
        rng r = {(uint64_t)i};
        problem p = problem_new(&r, dtypes[i / 4 % 2], s[0], s[1], s[2], i / 8 ? 3 : 0, i % 3 == 0);
        eqi_gemm(&hardware, p.dtype, &p.args, workspace);
        check(&p, hardware.isa, 0, (uint64_t)i);
        problem_free(&p);
    }
    free(workspace);
}
END_TEST

START_TEST(bits_of_a_row_do_not_depend_on_the_others)
{
    eqi_hardware hardware;
    if (!hardware_of(_i, &hardware))
        return;
    void *const workspace = workspace_new();
    for (int i = 0; i < 12; i++) {
        rng r = {(uint64_t)i};
        const int64_t m = 61, n = 143, k = 300;
        problem p = problem_new(&r, dtypes[i % 2], m, n, k, i / 2 % 4, false);
        eqi_gemm(&hardware, p.dtype, &p.args, workspace);
        const size_t size = equinv_dtype_size(p.dtype);
        for (int64_t rows = 1; rows < m; rows += 7)
            for (int64_t first = 0; first + rows <= m; first += 13) {
                const int64_t columns = 1 + (first + rows) % n;
                void *const part = malloc((size_t)(rows * columns) * size);
                eqi_gemm_args g = p.args;
                g.m = rows;
                g.n = columns;
                g.a = (const char *)g.a + (size_t)(first * (g.transpose_a ? 1 : g.lda)) * size;
                g.c = part;
                g.ldc = columns;
                eqi_gemm(&hardware, p.dtype, &g, workspace);
                for (int64_t row = 0; row < rows; row++)
                    ck_assert_msg(memcmp((char *)part + (size_t)(row * columns) * size,
                                         (char *)p.c + (size_t)((first + row) * p.args.ldc) * size,
                                         (size_t)columns * size) == 0,
                                  "seed %d: row %lld differs in a product of %lld rows and %lld "
                                  "columns",
                                  i, (long long)(first + row), (long long)rows, (long long)columns);
                free(part);
            }
        problem_free(&p);
    }
    free(workspace);
}
END_TEST

/* Whole rows, and rows of C wherever they stand, hold the same bits. */
START_TEST(whole_rows_and_rows_elsewhere)
{
    enum { LINE = 64 };
    eqi_hardware hardware;
    if (!hardware_of(_i, &hardware))
        return;
    void *const workspace = workspace_new();
    for (int i = 0; i < 96; i++) {
        rng r = {(uint64_t)i};
        const int64_t m = rng_range(&r, 1, 40), n = rng_range(&r, 1, 90), k = rng_range(&r, 0, 130);
        problem p = problem_new(&r, dtypes[i % 2], m, n, k, 0, i / 2 % 2);
        const size_t size = equinv_dtype_size(p.dtype);
        const int64_t pitch = (n * (int64_t)size + LINE - 1) / LINE * LINE / (int64_t)size;
        char *const b = calloc((size_t)(k * pitch + 1), size);
        char *const c = calloc((size_t)(m * pitch), size);
        int64_t *const rows = malloc((size_t)m * sizeof *rows);
        for (int64_t row = 0; row < k; row++)
            memcpy(b + (size_t)(row * pitch) * size,
                   (char *)p.b + (size_t)(row * p.args.ldb) * size, (size_t)n * size);
        for (int64_t row = 0; row < m; row++) {
            rows[row] = (m - 1 - row) * pitch;
            memcpy(c + (size_t)rows[row] * size, (char *)p.c + (size_t)(row * p.args.ldc) * size,
                   (size_t)n * size);
        }
        eqi_gemm_args g = p.args;
        g.whole = true;
        g.packed_b = i / 4 % 2;
        g.b = b;
        g.ldb = pitch;
        g.c = c;
        g.c_rows = rows;
        eqi_gemm(&hardware, p.dtype, &p.args, workspace);
        eqi_gemm(&hardware, p.dtype, &g, workspace);
        for (int64_t row = 0; row < m; row++)
            ck_assert_msg(memcmp(c + (size_t)rows[row] * size,
                                 (char *)p.c + (size_t)(row * p.args.ldc) * size,
                                 (size_t)n * size) == 0,
                          "seed %d: row %lld differs", i, (long long)row);
        free(b), free(c), free(rows);
        problem_free(&p);
    }
    free(workspace);
}
END_TEST

START_TEST(not_a_number_stays_in_its_row)
{
    eqi_hardware hardware;
    if (!hardware_of(_i, &hardware))
        return;
    void *const workspace = workspace_new();
    rng r = {7};
    problem p = problem_new(&r, EQUINV_F32, 13, 21, 40, 0, false);
    ((float *)p.a)[5 * p.args.lda + 11] = (float)NAN;
    eqi_gemm(&hardware, p.dtype, &p.args, workspace);
    for (int64_t i = 0; i < p.args.m; i++)
        for (int64_t j = 0; j < p.args.n; j++)
            ck_assert_int_eq(isnan(((float *)p.c)[i * p.args.ldc + j]) != 0, i == 5);
    problem_free(&p);
    free(workspace);
}
END_TEST

START_TEST(blas_agrees)
{
    eqi_hardware hardware = {EQI_ISA_SCALAR, 1};
    OK(eqi_isa_detect(&hardware.isa));
    void *const workspace = workspace_new();
    for (int i = 0; i < 200; i++) {
        rng r = {(uint64_t)i};
        const int64_t m = rng_range(&r, 0, 40), n = rng_range(&r, 0, 60), k = rng_range(&r, 0, 90);
        problem p = problem_new(&r, dtypes[i % 2], m, n, k, i / 2 % 4, i / 8 % 2);
        if (i / 16 % 2)
            use_offsets(&p);
        eqi_gemm_blas(&hardware, p.dtype, &p.args, workspace);
        check(&p, hardware.isa, p.dtype == EQUINV_F32 ? 2e-5 : 4e-14, (uint64_t)i);
        problem_free(&p);
    }
    free(workspace);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {every_element_is_the_chain_to_the_bit, LEVELS},
        {offsets_read_the_same_matrix, LEVELS},
        {chains_survive_blocking, LEVELS},
        {bits_of_a_row_do_not_depend_on_the_others, LEVELS},
        {whole_rows_and_rows_elsewhere, LEVELS},
        {not_a_number_stays_in_its_row, LEVELS},
        {blas_agrees, 1},
    };
    return run_tests("gemm", tests, sizeof tests / sizeof *tests);
}
