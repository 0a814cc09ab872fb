/*
 * cuDNN: the dense convolution with the expanded filter, maps and filter row-major (NCHW), fp32 without
 * tensor cores. Of its algorithms the one that cuDNN finds fastest when the problem is made.
 */
#include <cudnn.h>
#include <limits.h>
#include <stdlib.h>

#include "bench/peer_gpu.h"

#define FUNCTIONS(X)                                                                               \
    X(cudnnCreate)                                                                                 \
    X(cudnnSetStream)                                                                              \
    X(cudnnGetVersion)                                                                             \
    X(cudnnGetErrorString)                                                                         \
    X(cudnnCreateTensorDescriptor)                                                                 \
    X(cudnnSetTensor4dDescriptor)                                                                  \
    X(cudnnDestroyTensorDescriptor)                                                                \
    X(cudnnCreateFilterDescriptor)                                                                 \
    X(cudnnSetFilter4dDescriptor)                                                                  \
    X(cudnnDestroyFilterDescriptor)                                                                \
    X(cudnnCreateConvolutionDescriptor)                                                            \
    X(cudnnSetConvolution2dDescriptor)                                                             \
    X(cudnnSetConvolutionMathType)                                                                 \
    X(cudnnDestroyConvolutionDescriptor)                                                           \
    X(cudnnFindConvolutionForwardAlgorithm)                                                        \
    X(cudnnFindConvolutionBackwardDataAlgorithm)                                                   \
    X(cudnnFindConvolutionBackwardFilterAlgorithm)                                                 \
    X(cudnnConvolutionForward)                                                                     \
    X(cudnnConvolutionBackwardData)                                                                \
    X(cudnnConvolutionBackwardFilter)

static struct {
#define POINTER(name) __typeof__(name) *name;
    FUNCTIONS(POINTER)
} cudnn;

static const gpu_symbol symbols[] = {
#define SYMBOL(name) {#name, &cudnn.name},
    FUNCTIONS(SYMBOL)};

#define TEXT_OF(number) #number
#define SONAME(major) "libcudnn.so." TEXT_OF(major)
static gpu_library library = {
    .name = SONAME(CUDNN_MAJOR), .symbols = symbols, .count = sizeof symbols / sizeof *symbols};

/* Made once, for the life of the program. */
static cudnnHandle_t handle;

typedef struct state {
    dense_conv d;
    equinv_tensor filter; /* [out, in, k, k], or its gradient */
    cudnnTensorDescriptor_t src, dst;
    cudnnFilterDescriptor_t weights;
    cudnnConvolutionDescriptor_t conv;
    int algorithm; /* of the pass's enumeration */
    size_t workspace;
} state;

#define TRY(call)                                                                                  \
    do {                                                                                           \
        const cudnnStatus_t result_ = (call);                                                      \
        if (result_ != CUDNN_STATUS_SUCCESS)                                                       \
            return peer_failed("cuDNN: %s from %s", cudnn.cudnnGetErrorString(result_), #call);    \
    } while (0)

const char *cudnn_open(void)
{
    return gpu_open(&library);
}

void cudnn_describe(FILE *out)
{
    const size_t version = handle ? cudnn.cudnnGetVersion() : 0;
    if (handle)
        fprintf(out, "cuDNN %zu.%zu.%zu\n", version / 10000, version / 100 % 100, version % 100);
}

/* ---- algorithms ------------------------------------------------------------------------------------------- */

static const char *algorithm_name(pass direction, int algorithm)
{
    static const char *const forward[] = {
        [CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM] = "implicit-gemm",
        [CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM] = "implicit-precomp-gemm",
        [CUDNN_CONVOLUTION_FWD_ALGO_GEMM] = "gemm",
        [CUDNN_CONVOLUTION_FWD_ALGO_DIRECT] = "direct",
        [CUDNN_CONVOLUTION_FWD_ALGO_FFT] = "fft",
        [CUDNN_CONVOLUTION_FWD_ALGO_FFT_TILING] = "fft-tiling",
        [CUDNN_CONVOLUTION_FWD_ALGO_WINOGRAD] = "winograd",
        [CUDNN_CONVOLUTION_FWD_ALGO_WINOGRAD_NONFUSED] = "winograd-nonfused",
    };
    static const char *const data[] = {
        [CUDNN_CONVOLUTION_BWD_DATA_ALGO_0] = "algo-0",
        [CUDNN_CONVOLUTION_BWD_DATA_ALGO_1] = "algo-1",
        [CUDNN_CONVOLUTION_BWD_DATA_ALGO_FFT] = "fft",
        [CUDNN_CONVOLUTION_BWD_DATA_ALGO_FFT_TILING] = "fft-tiling",
        [CUDNN_CONVOLUTION_BWD_DATA_ALGO_WINOGRAD] = "winograd",
        [CUDNN_CONVOLUTION_BWD_DATA_ALGO_WINOGRAD_NONFUSED] = "winograd-nonfused",
    };
    static const char *const filter[] = {
        [CUDNN_CONVOLUTION_BWD_FILTER_ALGO_0] = "algo-0",
        [CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1] = "algo-1",
        [CUDNN_CONVOLUTION_BWD_FILTER_ALGO_FFT] = "fft",
        [CUDNN_CONVOLUTION_BWD_FILTER_ALGO_3] = "algo-3",
        [CUDNN_CONVOLUTION_BWD_FILTER_ALGO_WINOGRAD] = "winograd",
        [CUDNN_CONVOLUTION_BWD_FILTER_ALGO_WINOGRAD_NONFUSED] = "winograd-nonfused",
        [CUDNN_CONVOLUTION_BWD_FILTER_ALGO_FFT_TILING] = "fft-tiling",
    };
    const char *const *const names = direction == PASS_FORWARD         ? forward
                                     : direction == PASS_BACKWARD_DATA ? data
                                                                       : filter;
    const int count = direction == PASS_FORWARD         ? CUDNN_CONVOLUTION_FWD_ALGO_COUNT
                      : direction == PASS_BACKWARD_DATA ? CUDNN_CONVOLUTION_BWD_DATA_ALGO_COUNT
                                                        : CUDNN_CONVOLUTION_BWD_FILTER_ALGO_COUNT;
    return algorithm >= 0 && algorithm < count ? names[algorithm] : "unknown";
}

enum { MOST_RESULTS = 16 };

/*
 * Results come fastest first and may name algorithms for tensor cores, which are passed over. Cards without
 * TF32 may call their fp32 the default; run's descriptor says CUDNN_FMA_MATH whatever was found.
 */
static const cudnnMathType_t fp32_words[] = {CUDNN_FMA_MATH, CUDNN_DEFAULT_MATH};

#define KEEP_FASTEST(s, results, count)                                                            \
    for (int name = 0; name < 2; name++)                                                           \
        for (int i = 0; i < (count); i++)                                                          \
            if ((results)[i].status == CUDNN_STATUS_SUCCESS &&                                     \
                (results)[i].mathType == fp32_words[name]) {                                       \
                (s)->algorithm = (int)(results)[i].algo;                                           \
                (s)->workspace = (results)[i].memory;                                              \
                return EQUINV_OK;                                                                  \
            }                                                                                      \
    return peer_failed("cuDNN has no fp32 algorithm for this problem")

static equinv_status find_forward(state *s)
{
    int count = 0;
    cudnnConvolutionFwdAlgoPerf_t results[MOST_RESULTS];
    TRY(cudnn.cudnnFindConvolutionForwardAlgorithm(handle, s->src, s->weights, s->conv, s->dst,
                                                   MOST_RESULTS, &count, results));
    KEEP_FASTEST(s, results, count);
}

static equinv_status find_data(state *s)
{
    int count = 0;
    cudnnConvolutionBwdDataAlgoPerf_t results[MOST_RESULTS];
    TRY(cudnn.cudnnFindConvolutionBackwardDataAlgorithm(handle, s->weights, s->dst, s->conv, s->src,
                                                        MOST_RESULTS, &count, results));
    KEEP_FASTEST(s, results, count);
}

static equinv_status find_filter(state *s)
{
    int count = 0;
    cudnnConvolutionBwdFilterAlgoPerf_t results[MOST_RESULTS];
    TRY(cudnn.cudnnFindConvolutionBackwardFilterAlgorithm(
        handle, s->src, s->dst, s->conv, s->weights, MOST_RESULTS, &count, results));
    KEEP_FASTEST(s, results, count);
}

static equinv_status find(problem *p)
{
    state *const s = p->own;
    const pass direction = p->what.pass;
    const equinv_status status = direction == PASS_FORWARD         ? find_forward(s)
                                 : direction == PASS_BACKWARD_DATA ? find_data(s)
                                                                   : find_filter(s);
    if (status)
        return status;
    p->impl_name = algorithm_name(direction, s->algorithm);
    return s->workspace ? problem_saved(p, s->workspace) : EQUINV_OK;
}

/* ---- the problem ---------------------------------------------------------------------------------------- */

static equinv_status begin(problem *p)
{
    CUstream stream;
    const equinv_status status = gpu_stream(p->ctx, &stream);
    if (status || handle)
        return status;
    TRY(cudnn.cudnnCreate(&handle));
    TRY(cudnn.cudnnSetStream(handle, stream));
    return EQUINV_OK;
}

static void destroy(problem *p)
{
    state *const s = p->own;
    if (s->src)
        cudnn.cudnnDestroyTensorDescriptor(s->src);
    if (s->dst)
        cudnn.cudnnDestroyTensorDescriptor(s->dst);
    if (s->weights)
        cudnn.cudnnDestroyFilterDescriptor(s->weights);
    if (s->conv)
        cudnn.cudnnDestroyConvolutionDescriptor(s->conv);
    equinv_tensor_destroy(p->ctx, &s->filter);
    free(s);
    p->own = NULL;
}

static equinv_status describe_map(int64_t batch, int64_t channels, int64_t height, int64_t width,
                                  cudnnTensorDescriptor_t *map)
{
    if ((double)batch * (double)channels * (double)height * (double)width > INT_MAX)
        return peer_failed("cuDNN: a tensor of more elements than an int counts");
    TRY(cudnn.cudnnCreateTensorDescriptor(map));
    TRY(cudnn.cudnnSetTensor4dDescriptor(*map, CUDNN_TENSOR_NCHW, CUDNN_DATA_FLOAT, (int)batch,
                                         (int)channels, (int)height, (int)width));
    return EQUINV_OK;
}

static equinv_status describe(state *s)
{
    const dense_conv *const d = &s->d;
    equinv_status status = describe_map(d->batch, d->in, d->height, d->width, &s->src);
    if (!status)
        status = describe_map(d->batch, d->out, d->out_height, d->out_width, &s->dst);
    if (status)
        return status;
    const int k = (int)d->kernel, padding = (int)d->padding, stride = (int)d->stride,
              dilation = (int)d->dilation;
    TRY(cudnn.cudnnCreateFilterDescriptor(&s->weights));
    TRY(cudnn.cudnnSetFilter4dDescriptor(s->weights, CUDNN_DATA_FLOAT, CUDNN_TENSOR_NCHW,
                                         (int)d->out, (int)d->in, k, k));
    TRY(cudnn.cudnnCreateConvolutionDescriptor(&s->conv));
    TRY(cudnn.cudnnSetConvolution2dDescriptor(s->conv, padding, padding, stride, stride, dilation,
                                              dilation, CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT));
    TRY(cudnn.cudnnSetConvolutionMathType(s->conv, CUDNN_FMA_MATH));
    return EQUINV_OK;
}

static equinv_status filter_create(problem *p)
{
    state *const s = p->own;
    const dense_conv *const d = &s->d;
    const equinv_status status = equinv_tensor_create(
        p->ctx, EQUINV_F32, 4, SHAPE(d->out, d->in, d->kernel, d->kernel), &s->filter);
    if (status || p->what.pass == PASS_BACKWARD_WEIGHTS)
        return status;
    return dense_filter_into(p, d, s->filter.data);
}

static equinv_status create(problem *p)
{
    equinv_status status = p->what.op->runner.create(p);
    if (status)
        return status;
    state *const s = p->own = calloc(1, sizeof *s);
    if (!s)
        return EQUINV_ERR_NOMEM;
    if ((status = dense_conv_of(&p->what, &s->d)) || (status = begin(p)) ||
        (status = describe(s)) || (status = filter_create(p)) || (status = find(p)))
        return status;
    return equinv_context_synchronize(p->ctx); /* its stream made what ours reads */
}

static equinv_status run(problem *p)
{
    const state *const s = p->own;
    const float one = 1, zero = 0;
    void *const workspace = s->workspace ? p->saved[p->saved_count - 1].data : NULL;
    const void *const a = p->input[0].data;
    void *const y = p->output[0].data;
    switch (p->what.pass) {
    case PASS_FORWARD:
        TRY(cudnn.cudnnConvolutionForward(handle, &one, s->src, a, s->weights, s->filter.data,
                                          s->conv, (cudnnConvolutionFwdAlgo_t)s->algorithm,
                                          workspace, s->workspace, &zero, s->dst, y));
        break;
    case PASS_BACKWARD_DATA:
        TRY(cudnn.cudnnConvolutionBackwardData(handle, &one, s->weights, s->filter.data, s->dst, a,
                                               s->conv, (cudnnConvolutionBwdDataAlgo_t)s->algorithm,
                                               workspace, s->workspace, &zero, s->src, y));
        break;
    default:
        TRY(cudnn.cudnnConvolutionBackwardFilter(
            handle, &one, s->src, a, s->dst, p->input[1].data, s->conv,
            (cudnnConvolutionBwdFilterAlgo_t)s->algorithm, workspace, s->workspace, &zero,
            s->weights, s->filter.data));
    }
    return EQUINV_OK;
}

static equinv_status finish(problem *p)
{
    const state *const s = p->own;
    return p->what.pass == PASS_BACKWARD_WEIGHTS ? dense_gradient_to_psi(p, &s->d, s->filter.data)
                                                 : EQUINV_OK;
}

const bench_runner *cudnn_runner(const bench_case *c)
{
    static const bench_runner runner = {
        .create = create, .run = run, .destroy = destroy, .finish = finish, .wait = gpu_wait};
    return is_conv(c) && c->dtype == EQUINV_F32 ? &runner : NULL;
}
