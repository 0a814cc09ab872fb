/*
 * cuBLAS: one sgemm for what is one matrix, a dense layer and projections that are linear in the latent. All
 * are y [batch, out] = x [batch, in] w^T with w [out, in], or one of its gradients.
 */
#include <cublas_v2.h>
#include <limits.h>
#include <stdlib.h>

#include "bench/peer_gpu.h"

#define FUNCTIONS(X)                                                                               \
    X(cublasCreate_v2)                                                                             \
    X(cublasSetStream_v2)                                                                          \
    X(cublasSetMathMode)                                                                           \
    X(cublasGetVersion_v2)                                                                         \
    X(cublasGetStatusString)                                                                       \
    X(cublasSgemm_v2)

static struct {
#define POINTER(name) __typeof__(name) *name;
    FUNCTIONS(POINTER)
} cublas;

static const gpu_symbol symbols[] = {
#define SYMBOL(name) {#name, &cublas.name},
    FUNCTIONS(SYMBOL)};

#define TEXT_OF(number) #number
#define SONAME(major) "libcublas.so." TEXT_OF(major)
static gpu_library library = {.name = SONAME(CUBLAS_VER_MAJOR),
                              .symbols = symbols,
                              .count = sizeof symbols / sizeof *symbols};

/* Made once, for the life of the program. */
static cublasHandle_t handle;

typedef struct state {
    int batch, in, out;
    equinv_tensor matrix; /* of a projection: orbit means of the templates, [k, D] */
} state;

#define TRY(call)                                                                                  \
    do {                                                                                           \
        const cublasStatus_t result_ = (call);                                                     \
        if (result_ != CUBLAS_STATUS_SUCCESS)                                                      \
            return peer_failed("cuBLAS: %s from %s", cublas.cublasGetStatusString(result_),        \
                               #call);                                                             \
    } while (0)

const char *cublas_open(void)
{
    return gpu_open(&library);
}

void cublas_describe(FILE *out)
{
    int version = 0;
    if (handle && cublas.cublasGetVersion_v2(handle, &version) == CUBLAS_STATUS_SUCCESS)
        fprintf(out, "cuBLAS %d.%d.%d\n", version / 10000, version / 100 % 100, version % 100);
}

/* ---- the problem ---------------------------------------------------------------------------------------- */

/* The default mode is fp32 throughout; TF32 has to be asked for. */
static equinv_status begin(problem *p)
{
    CUstream stream;
    const equinv_status status = gpu_stream(p->ctx, &stream);
    if (status || handle)
        return status;
    TRY(cublas.cublasCreate_v2(&handle));
    TRY(cublas.cublasSetStream_v2(handle, stream));
    TRY(cublas.cublasSetMathMode(handle, CUBLAS_DEFAULT_MATH));
    return EQUINV_OK;
}

/* <w, mean_g g z> = <mean_g g w, z> */
static equinv_status expand(problem *p, state *s)
{
    equinv_tensor w;
    equinv_status status = equinv_projection_templates(p->projection, &w);
    if (!status)
        status = equinv_tensor_create(p->ctx, EQUINV_F32, w.ndim, w.shape, &s->matrix);
    return status ? status : equinv_orbit_mean(p->ctx, p->what.group, &w, &s->matrix);
}

static void destroy(problem *p)
{
    state *const s = p->own;
    equinv_tensor_destroy(p->ctx, &s->matrix);
    free(s);
    p->own = NULL;
}

static equinv_status create(problem *p)
{
    const bench_case *const c = &p->what;
    const bool dense = c->op == &dense_operation;
    const int64_t in = dense ? c->fields_in : c->fields_in * case_order(c) * c->height * c->width;
    const int64_t out = dense ? c->fields_out : c->k;
    equinv_status status = c->op->runner.create(p);
    if (status)
        return status;
    p->impl_name = "sgemm";
    if (c->batch > INT_MAX || in > INT_MAX || out > INT_MAX)
        return peer_failed("cuBLAS: extents beyond int");
    state *const s = p->own = calloc(1, sizeof *s);
    if (!s)
        return EQUINV_ERR_NOMEM;
    s->batch = (int)c->batch, s->in = (int)in, s->out = (int)out;
    if ((status = begin(p)) || (!dense && (status = expand(p, s))))
        return status;
    return equinv_context_synchronize(p->ctx); /* its stream made what ours reads */
}

/* Row-major matrices are transposed ones to cuBLAS: y^T = w x^T, x^T = w^T y^T, w^T = x^T y. */
static equinv_status run(problem *p)
{
    const state *const s = p->own;
    const float one = 1, zero = 0;
    const float *const a = p->input[0].data;
    const float *const b = s->matrix.data ? s->matrix.data : p->input[1].data;
    float *const y = p->output[0].data;
    const int batch = s->batch, in = s->in, out = s->out;
    switch (p->what.pass) {
    case PASS_FORWARD:
        TRY(cublas.cublasSgemm_v2(handle, CUBLAS_OP_T, CUBLAS_OP_N, out, batch, in, &one, b, in, a,
                                  in, &zero, y, out));
        break;
    case PASS_BACKWARD_DATA:
        TRY(cublas.cublasSgemm_v2(handle, CUBLAS_OP_N, CUBLAS_OP_N, in, batch, out, &one, b, in, a,
                                  out, &zero, y, in));
        break;
    default:
        TRY(cublas.cublasSgemm_v2(handle, CUBLAS_OP_N, CUBLAS_OP_T, in, out, batch, &one, a, in, b,
                                  out, &zero, y, in));
    }
    return EQUINV_OK;
}

const bench_runner *cublas_runner(const bench_case *c)
{
    static const bench_runner runner = {
        .create = create, .run = run, .destroy = destroy, .wait = gpu_wait};
    const bool linear = c->op == &project_operation && c->pass != PASS_BACKWARD_WEIGHTS &&
                        (c->kind == EQUINV_PROJECT_LINEAR || c->kind == EQUINV_PROJECT_MEAN);
    return (linear || c->op == &dense_operation) && c->dtype == EQUINV_F32 ? &runner : NULL;
}
