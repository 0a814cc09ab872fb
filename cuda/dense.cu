/*
 * The dense layer as products of matrices, by cuBLAS in strict fp32 or fp64:
 *     forward           dst          [N x out]   = src [N x in] . weights^T, + bias
 *     backward data     diff_src     [N x in]    = diff_dst     . weights
 *     backward weights  diff_weights [out x in]  = diff_dst^T   . src
 *
 * Layout  rows of consecutive elements are read and written where they are; what has other strides is
 *         copied to scratch before, and a result back behind the product
 * Tile    sums longer than CHAIN are added up from chains of that length
 * Why     one long fp32 chain loses digits. Scratch has room for copies of all three matrices: the plan
 *         does not know the strides that will come
 */
#include "cuda/bias_gradient.cuh"
#include "cuda/elements.cuh"
#include "cuda/operations.cuh"

#include <climits>

extern "C" {
#include "internal/dense.h"
}

enum { BLOCK = 256, MATRICES = 3 };
static constexpr int64_t CHAIN = 4096;

/* ---- kernels --------------------------------------------------------------------------------- */

template <typename T> __global__ void eqi_dense_copy_kernel(eqi_elements<2> e, const T *from, T *to)
{
    EQI_FOR_EACH(i, e.count)
    {
        int64_t at[2];
        e.offsets(i, at);
        to[at[0]] = from[at[1]];
    }
}

/* dst[n,o] += bias[o] */
template <typename T>
__global__ void eqi_dense_bias_kernel(int64_t count, int64_t columns, int64_t row, int64_t step,
                                      const T *bias, T *dst)
{
    EQI_FOR_EACH(i, count)
    {
        const int64_t o = i % columns;
        dst[i / columns * row + o] += bias[o * step];
    }
}

template <typename T>
static equinv_status copy_elements(const equinv_context *ctx, const equinv_tensor *from,
                                   const equinv_tensor *to)
{
    const eqi_elements<2> e = eqi_elements_of<2>({to, from});
    EQI_LAUNCH(eqi_dense_copy_kernel<T>, eqi_blocks(e.count, BLOCK), BLOCK, 0, eqi_stream(ctx), e,
               static_cast<const T *>(from->data), static_cast<T *>(to->data));
    return EQUINV_OK;
}

static equinv_status copy(const equinv_context *ctx, const equinv_tensor *from,
                          const equinv_tensor *to)
{
    return from->dtype == EQUINV_F32 ? copy_elements<float>(ctx, from, to)
                                     : copy_elements<double>(ctx, from, to);
}

/* ---- matrices -------------------------------------------------------------------------------- */

/* A tensor [rows, ..] as the product sees it: itself, or its copy in scratch. */
typedef struct matrix {
    const equinv_tensor *tensor;
    equinv_tensor copy;
    char *data;
    int64_t rows, columns, row;
} matrix;

static int64_t element_size(equinv_dtype dtype)
{
    return dtype == EQUINV_F32 ? 4 : 8;
}

/* Rows of consecutive elements, the axes after the first as one, that do not overlap. */
static bool is_matrix(const equinv_tensor *t, int64_t rows, int64_t columns, int64_t *row)
{
    int64_t expected = 1;
    for (int32_t axis = t->ndim - 1; axis > 0; axis--) {
        if (t->shape[axis] != 1 && t->strides[axis] != expected)
            return false;
        expected *= t->shape[axis];
    }
    *row = rows == 1 ? columns : t->strides[0];
    return *row >= columns && *row <= INT_MAX;
}

/* Bytes of a copy, so that the next one is aligned too. */
static int64_t copy_size(equinv_dtype dtype, int64_t rows, int64_t columns)
{
    const int64_t bytes = rows * columns * element_size(dtype);
    return (bytes + EQI_CUDA_ALIGNMENT - 1) / EQI_CUDA_ALIGNMENT * EQI_CUDA_ALIGNMENT;
}

/* The tensor as a matrix; one that is not takes its copy's memory from *scratch. */
static matrix matrix_of(const equinv_tensor *t, int64_t rows, int64_t columns, char **scratch)
{
    matrix m = {t, *t, static_cast<char *>(t->data), rows, columns, 0};
    if (is_matrix(t, rows, columns, &m.row))
        return m;
    m.row = columns;
    m.data = *scratch;
    m.copy.data = *scratch;
    int64_t stride = 1;
    for (int32_t axis = t->ndim - 1; axis >= 0; axis--) {
        m.copy.strides[axis] = stride;
        stride *= t->shape[axis];
    }
    *scratch += copy_size(t->dtype, rows, columns);
    return m;
}

static bool is_copied(const matrix *m)
{
    return m->data != m->tensor->data;
}

static equinv_status take(const equinv_context *ctx, const matrix *m)
{
    return is_copied(m) ? copy(ctx, m->tensor, &m->copy) : EQUINV_OK;
}

static equinv_status give(const equinv_context *ctx, const matrix *m)
{
    return is_copied(m) ? copy(ctx, &m->copy, m->tensor) : EQUINV_OK;
}

static eqi_matrix part_of(const matrix *m, int64_t offset, bool turned)
{
    return {m->data + offset * element_size(m->tensor->dtype), m->row, 0, turned};
}

/* c = op(a) op(b), or that added to it; sums of length k, chain by chain. */
static equinv_status multiply(const equinv_context *ctx, const eqi_dense_problem *p, int64_t k,
                              const matrix *a, bool turn_a, const matrix *b, bool turn_b,
                              const matrix *c)
{
    int64_t first = 0;
    do {
        const int64_t length = k - first < CHAIN ? k - first : CHAIN;
        EQI_TRY(eqi_cuda_gemm(ctx, p->dtype, c->rows, c->columns, length, 1,
                              part_of(a, first * (turn_a ? a->row : 1), turn_a),
                              part_of(b, first * (turn_b ? 1 : b->row), turn_b),
                              p->accumulate || first > 0, c->data, c->row, 0, 1));
        first += length;
    } while (first < k);
    return EQUINV_OK;
}

/* ---- passes ---------------------------------------------------------------------------------- */

static bool supports(const void *problem, const eqi_hardware *, const char **why)
{
    const eqi_dense_problem *const p = static_cast<const eqi_dense_problem *>(problem);
    return eqi_require(p->batch <= INT_MAX && p->in <= INT_MAX && p->out <= INT_MAX, why,
                       "a matrix has an extent of 2^31 or more");
}

static equinv_status scratch_size(const eqi_dense_problem *p, const eqi_hardware *, int64_t *size)
{
    /* Extents are below 2^31 each, so double is near enough to see an overflow. */
    const double most = double(p->batch) * double(p->in) + double(p->batch) * double(p->out) +
                        double(p->out) * double(p->in);
    EQI_CHECK(most < 0x1p59, SHAPE, "scratch has more than 2^63 bytes, expected a size that fits");
    *size = copy_size(p->dtype, p->batch, p->in) + copy_size(p->dtype, p->batch, p->out) +
            copy_size(p->dtype, p->out, p->in);
    const int64_t bias = int64_t(eqi_bias_gradient_scratch(p->out, p->batch));
    *size = *size > bias ? *size : bias;
    return EQUINV_OK;
}

template <typename T>
static equinv_status add_bias(const equinv_context *ctx, const matrix *m, const equinv_tensor *bias)
{
    const int64_t count = m->rows * m->columns;
    EQI_LAUNCH(eqi_dense_bias_kernel<T>, eqi_blocks(count, BLOCK), BLOCK, 0, eqi_stream(ctx), count,
               m->columns, m->row, bias->strides[0], static_cast<const T *>(bias->data),
               reinterpret_cast<T *>(m->data));
    return EQUINV_OK;
}

static equinv_status forward(const equinv_context *ctx, const eqi_dense_problem *p,
                             const equinv_tensor *src, const equinv_tensor *weights,
                             const equinv_tensor *bias, const equinv_tensor *dst, void *scratch)
{
    char *memory = static_cast<char *>(scratch);
    const matrix a = matrix_of(src, p->batch, p->in, &memory);
    const matrix b = matrix_of(weights, p->out, p->in, &memory);
    const matrix c = matrix_of(dst, p->batch, p->out, &memory);
    if (p->batch == 0)
        return EQUINV_OK;
    EQI_TRY(take(ctx, &a));
    EQI_TRY(take(ctx, &b));
    if (p->accumulate)
        EQI_TRY(take(ctx, &c));
    EQI_TRY(multiply(ctx, p, p->in, &a, false, &b, true, &c));
    if (bias)
        EQI_TRY(p->dtype == EQUINV_F32 ? add_bias<float>(ctx, &c, bias)
                                       : add_bias<double>(ctx, &c, bias));
    return give(ctx, &c);
}

static equinv_status backward_data(const equinv_context *ctx, const eqi_dense_problem *p,
                                   const equinv_tensor *diff_dst, const equinv_tensor *weights,
                                   const equinv_tensor *diff_src, void *scratch)
{
    char *memory = static_cast<char *>(scratch);
    const matrix a = matrix_of(diff_dst, p->batch, p->out, &memory);
    const matrix b = matrix_of(weights, p->out, p->in, &memory);
    const matrix c = matrix_of(diff_src, p->batch, p->in, &memory);
    if (p->batch == 0)
        return EQUINV_OK;
    EQI_TRY(take(ctx, &a));
    EQI_TRY(take(ctx, &b));
    if (p->accumulate)
        EQI_TRY(take(ctx, &c));
    EQI_TRY(multiply(ctx, p, p->out, &a, false, &b, false, &c));
    return give(ctx, &c);
}

static equinv_status backward_weights(const equinv_context *ctx, const eqi_dense_problem *p,
                                      const equinv_tensor *src, const equinv_tensor *diff_dst,
                                      const equinv_tensor *diff_weights,
                                      const equinv_tensor *diff_bias, void *scratch)
{
    char *memory = static_cast<char *>(scratch);
    const matrix a = matrix_of(diff_dst, p->batch, p->out, &memory);
    const matrix b = matrix_of(src, p->batch, p->in, &memory);
    const matrix c = matrix_of(diff_weights, p->out, p->in, &memory);
    EQI_TRY(take(ctx, &a));
    EQI_TRY(take(ctx, &b));
    if (p->accumulate)
        EQI_TRY(take(ctx, &c));
    EQI_TRY(multiply(ctx, p, p->batch, &a, true, &b, false, &c));
    EQI_TRY(give(ctx, &c));
    return diff_bias ? eqi_bias_gradient(ctx, diff_dst, diff_bias, p->accumulate, scratch)
                     : EQUINV_OK;
}

static const eqi_dense_implementation gemm = {
    {"dense/gemm", supports, NULL}, scratch_size, forward, backward_data, backward_weights};

const eqi_implementation *const eqi_cuda_dense_list[] = {&gemm.head, NULL};
