/*
 * The dense layer as products of matrices:
 *     forward           dst          [N x out]   = src [N x in] . weights^T
 *     backward data     diff_src     [N x in]    = diff_dst     . weights
 *     backward weights  diff_weights [out x in]  = diff_dst^T   . src
 *
 * The result is cut along its longer side, one part a thread; the built-in product gives the same bits
 * wherever the cuts are. Sums longer than CHAIN are added up from chains of that length, so that fp32
 * does not lose digits to one long chain. Matrices whose rows are not consecutive go to the reference.
 */
#include "cpu/ref/ref.h"
#include "gemm.h"

enum { CHAIN = 4096, PARTS = 16 };

/* Below this many multiply-adds a second thread does not pay. */
#define WORTH_SPLITTING ((int64_t)1 << 17)

typedef struct job {
    const equinv_context *ctx;
    equinv_dtype dtype;
    eqi_gemm_args args;
    int64_t parts;
    bool by_rows; /* of the result */
    char *workspace;
    char *sums; /* m x n, row-major; for chains after the first */
} job;

static char *at(void *data, equinv_dtype dtype, int64_t offset)
{
    return (char *)data + offset * (int64_t)equinv_dtype_size(dtype);
}

static void add(equinv_dtype dtype, int64_t count, const void *from, void *to)
{
    for (int64_t i = 0; i < count; i++)
        if (dtype == EQUINV_F32)
            ((float *)to)[i] += ((const float *)from)[i];
        else
            ((double *)to)[i] += ((const double *)from)[i];
}

/* k0 .. k0 + k - 1 of the sum. */
static eqi_gemm_args chain_of(const job *j, const eqi_gemm_args *whole, int64_t k0, int64_t k)
{
    eqi_gemm_args a = *whole;
    a.k = k;
    a.a = at((void *)whole->a, j->dtype, k0 * (whole->transpose_a ? whole->lda : 1));
    a.b = at((void *)whole->b, j->dtype, k0 * (whole->transpose_b ? 1 : whole->ldb));
    return a;
}

static void run_part(void *arg, int64_t part)
{
    const job *const j = arg;
    const eqi_gemm_args *const all = &j->args;
    const int64_t side = j->by_rows ? all->m : all->n;
    const int64_t first = side * part / j->parts, size = side * (part + 1) / j->parts - first;
    eqi_gemm_args a = *all;
    int64_t sums = first; /* where the part's sums start */
    if (j->by_rows) {
        a.m = size;
        a.a = at((void *)all->a, j->dtype, first * (all->transpose_a ? 1 : all->lda));
        a.c = at(all->c, j->dtype, first * all->ldc);
        sums = first * all->n;
    } else {
        a.n = size;
        a.b = at((void *)all->b, j->dtype, first * (all->transpose_b ? all->ldb : 1));
        a.c = at(all->c, j->dtype, first);
    }
    void *const workspace = j->workspace + part * (int64_t)EQI_GEMM_WORKSPACE;
    for (int64_t k0 = 0; k0 < all->k; k0 += CHAIN) {
        const int64_t k = all->k - k0 < CHAIN ? all->k - k0 : CHAIN;
        eqi_gemm_args chain = chain_of(j, &a, k0, k);
        if (k0 > 0) {
            chain.accumulate = false;
            chain.c = at(j->sums, j->dtype, sums);
            chain.ldc = all->n;
        }
        eqi_gemm(&j->ctx->hardware, j->dtype, &chain, workspace);
        for (int64_t row = 0; k0 > 0 && row < a.m; row++)
            add(j->dtype, a.n, at(chain.c, j->dtype, row * chain.ldc),
                at(a.c, j->dtype, row * a.ldc));
    }
}

static int64_t parts_of(const eqi_hardware *hardware)
{
    return hardware->threads < PARTS ? hardware->threads : PARTS;
}

static void multiply(const equinv_context *ctx, const eqi_dense_problem *p,
                     const eqi_gemm_args *args, void *scratch)
{
    job j = {.ctx = ctx,
             .dtype = p->dtype,
             .args = *args,
             .parts = parts_of(&ctx->hardware),
             .by_rows = args->m >= args->n,
             .workspace = scratch};
    j.sums = j.workspace + j.parts * (int64_t)EQI_GEMM_WORKSPACE;
    const int64_t side = j.by_rows ? args->m : args->n;
    if (j.parts > side || (double)args->m * (double)args->n * (double)args->k < WORTH_SPLITTING)
        j.parts = 1;
    eqi_parallel_for(ctx, j.parts, run_part, &j);
}

/* Rows of consecutive elements, the axes after the first as one; any step from row to row. */
static bool is_matrix(const equinv_tensor *t, int64_t *stride)
{
    int64_t expected = 1;
    for (int32_t axis = t->ndim - 1; axis > 0; axis--) {
        if (t->shape[axis] != 1 && t->strides[axis] != expected)
            return false;
        expected *= t->shape[axis];
    }
    *stride = t->strides[0];
    return true;
}

static equinv_status scratch_size(const eqi_dense_problem *p, const eqi_hardware *hardware,
                                  int64_t *size)
{
    const int64_t elements[3][3] = {
        {p->in, p->batch, p->out}, {p->out, p->batch, p->in}, {p->batch, p->out, p->in}};
    int64_t sums = 0;
    for (int i = 0; i < 3; i++) {
        int64_t bytes = 0;
        if (elements[i][0] > CHAIN)
            EQI_TRY(eqi_product_of(
                "scratch", 3,
                (int64_t[]){elements[i][1], elements[i][2], (int64_t)equinv_dtype_size(p->dtype)},
                &bytes));
        sums = bytes > sums ? bytes : sums;
    }
    *size = parts_of(hardware) * (int64_t)EQI_GEMM_WORKSPACE;
    EQI_CHECK(!__builtin_add_overflow(*size, sums, size), SHAPE,
              "scratch has more than 2^63 bytes, expected a size that fits");
    return EQUINV_OK;
}

static equinv_status forward(const equinv_context *ctx, const eqi_dense_problem *p,
                             const equinv_tensor *src, const equinv_tensor *weights,
                             const equinv_tensor *bias, const equinv_tensor *dst, void *scratch)
{
    eqi_gemm_args args = {.transpose_b = true,
                          .m = p->batch,
                          .n = p->out,
                          .k = p->in,
                          .a = src->data,
                          .b = weights->data,
                          .accumulate = p->accumulate,
                          .c = dst->data};
    if (p->batch == 0 || !is_matrix(src, &args.lda) || !is_matrix(weights, &args.ldb) ||
        !is_matrix(dst, &args.ldc)) {
        eqi_ref_dense_forward(ctx, p, src, weights, bias, dst, scratch);
        return EQUINV_OK;
    }
    multiply(ctx, p, &args, scratch);
    for (int64_t n = 0; bias && n < p->batch; n++)
        for (int64_t o = 0; o < p->out; o++)
            eqi_put(dst, eqi_offset2(dst, n, o), eqi_load(bias, o * bias->strides[0]), true);
    return EQUINV_OK;
}

static equinv_status backward_data(const equinv_context *ctx, const eqi_dense_problem *p,
                                   const equinv_tensor *diff_dst, const equinv_tensor *weights,
                                   const equinv_tensor *diff_src, void *scratch)
{
    eqi_gemm_args args = {.m = p->batch,
                          .n = p->in,
                          .k = p->out,
                          .a = diff_dst->data,
                          .b = weights->data,
                          .accumulate = p->accumulate,
                          .c = diff_src->data};
    if (p->batch == 0 || !is_matrix(diff_dst, &args.lda) || !is_matrix(weights, &args.ldb) ||
        !is_matrix(diff_src, &args.ldc)) {
        eqi_ref_dense_backward_data(ctx, p, diff_dst, weights, diff_src, scratch);
        return EQUINV_OK;
    }
    multiply(ctx, p, &args, scratch);
    return EQUINV_OK;
}

static equinv_status backward_weights(const equinv_context *ctx, const eqi_dense_problem *p,
                                      const equinv_tensor *src, const equinv_tensor *diff_dst,
                                      const equinv_tensor *diff_weights,
                                      const equinv_tensor *diff_bias, void *scratch)
{
    eqi_gemm_args args = {.transpose_a = true,
                          .m = p->out,
                          .n = p->in,
                          .k = p->batch,
                          .a = diff_dst->data,
                          .b = src->data,
                          .accumulate = p->accumulate,
                          .c = diff_weights->data};
    if (p->batch == 0 || !is_matrix(diff_dst, &args.lda) || !is_matrix(src, &args.ldb) ||
        !is_matrix(diff_weights, &args.ldc)) {
        eqi_ref_dense_backward_weights(ctx, p, src, diff_dst, diff_weights, diff_bias, scratch);
        return EQUINV_OK;
    }
    multiply(ctx, p, &args, scratch);
    eqi_dense_backward_bias(p, diff_dst, diff_bias);
    return EQUINV_OK;
}

const eqi_dense_implementation eqi_dense_gemm = {
    {"dense/gemm", eqi_supports_all, NULL}, scratch_size, forward, backward_data, backward_weights};
