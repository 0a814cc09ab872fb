/* Convolution in double precision. The fastest algorithm that is found is one for tensor cores. */
#include <cudnn.h>

#include "tests/fake_gpu/fake.h"

struct cudnnContext {
    CUstream stream;
};
struct cudnnTensorStruct {
    int n, c, h, w;
};
struct cudnnFilterStruct {
    int k, c, h, w;
};
struct cudnnConvolutionStruct {
    int pad, stride, dilation, strict;
};

enum { WORKSPACE = 1000, FORWARD, DATA, FILTER };

typedef struct conv {
    int pass;
    struct cudnnTensorStruct x, y;
    struct cudnnFilterStruct w;
    struct cudnnConvolutionStruct how;
    float *at_x, *at_w, *at_y, alpha, beta;
} conv;

/* The element that a pass sums, of the three that a product connects. */
static void add(const conv *c, double *sums, int64_t x, int64_t w, int64_t y)
{
    if (c->pass == FORWARD)
        sums[y] += (double)c->at_x[x] * (double)c->at_w[w];
    else if (c->pass == DATA)
        sums[x] += (double)c->at_y[y] * (double)c->at_w[w];
    else
        sums[w] += (double)c->at_x[x] * (double)c->at_y[y];
}

static void add_tap(const conv *c, double *sums, int n, int k, int ch, int r, int s)
{
    for (int oy = 0; oy < c->y.h; oy++)
        for (int ox = 0; ox < c->y.w; ox++) {
            const int iy = oy * c->how.stride - c->how.pad + r * c->how.dilation;
            const int ix = ox * c->how.stride - c->how.pad + s * c->how.dilation;
            if (iy < 0 || iy >= c->x.h || ix < 0 || ix >= c->x.w)
                continue;
            add(c, sums, (((int64_t)n * c->x.c + ch) * c->x.h + iy) * c->x.w + ix,
                (((int64_t)k * c->w.c + ch) * c->w.h + r) * c->w.w + s,
                (((int64_t)n * c->y.c + k) * c->y.h + oy) * c->y.w + ox);
        }
}

static void convolve(const void *arguments)
{
    const conv *const c = arguments;
    const int64_t sizes[] = {[FORWARD - FORWARD] = (int64_t)c->y.n * c->y.c * c->y.h * c->y.w,
                             [DATA - FORWARD] = (int64_t)c->x.n * c->x.c * c->x.h * c->x.w,
                             [FILTER - FORWARD] = (int64_t)c->w.k * c->w.c * c->w.h * c->w.w};
    const int64_t size = sizes[c->pass - FORWARD];
    float *const to = c->pass == FORWARD ? c->at_y : c->pass == DATA ? c->at_x : c->at_w;
    double *const sums = calloc((size_t)size, sizeof *sums);
    if (!sums)
        abort();
    for (int n = 0; n < c->x.n; n++)
        for (int k = 0; k < c->w.k; k++)
            for (int ch = 0; ch < c->w.c; ch++)
                for (int tap = 0; tap < c->w.h * c->w.w; tap++)
                    add_tap(c, sums, n, k, ch, tap / c->w.w, tap % c->w.w);
    for (int64_t i = 0; i < size; i++)
        to[i] = c->alpha * (float)sums[i] + (c->beta == 0 ? 0 : c->beta * to[i]);
    free(sums);
}

static int out_size(int in, int kernel, const struct cudnnConvolutionStruct *how)
{
    return (in + 2 * how->pad - how->dilation * (kernel - 1) - 1) / how->stride + 1;
}

static int fits(const struct cudnnTensorStruct *x, const struct cudnnFilterStruct *w,
                const struct cudnnConvolutionStruct *how, const struct cudnnTensorStruct *y)
{
    return how->strict && x->n == y->n && x->c == w->c && y->c == w->k &&
           y->h == out_size(x->h, w->h, how) && y->w == out_size(x->w, w->w, how);
}

static cudnnStatus_t start(cudnnHandle_t handle, conv c, int algorithm, const void *workspace,
                           size_t bytes)
{
    if (!handle->stream || !fits(&c.x, &c.w, &c.how, &c.y) || algorithm != 1 || !workspace ||
        bytes != WORKSPACE || getenv("FAKE_GPU_REFUSES"))
        return CUDNN_STATUS_BAD_PARAM;
    conv *const copy = malloc(sizeof *copy);
    if (!copy)
        return CUDNN_STATUS_ALLOC_FAILED;
    *copy = c;
    fake_enqueue(handle->stream, convolve, copy);
    return CUDNN_STATUS_SUCCESS;
}

/* ---- handle and descriptors ---------------------------------------------------------------------------- */

EXPORT size_t CUDNNWINAPI cudnnGetVersion(void)
{
    return 91900;
}

EXPORT const char *CUDNNWINAPI cudnnGetErrorString(cudnnStatus_t status)
{
    return status == CUDNN_STATUS_BAD_PARAM ? "CUDNN_STATUS_BAD_PARAM" : "another status";
}

EXPORT cudnnStatus_t CUDNNWINAPI cudnnCreate(cudnnHandle_t *handle)
{
    *handle = calloc(1, sizeof **handle);
    return *handle ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_ALLOC_FAILED;
}

EXPORT cudnnStatus_t CUDNNWINAPI cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream)
{
    handle->stream = stream;
    return CUDNN_STATUS_SUCCESS;
}

#define DESCRIPTOR(Name, type)                                                                     \
    EXPORT cudnnStatus_t CUDNNWINAPI cudnnCreate##Name##Descriptor(type *d)                        \
    {                                                                                              \
        *d = calloc(1, sizeof **d);                                                                \
        return *d ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_ALLOC_FAILED;                              \
    }                                                                                              \
    EXPORT cudnnStatus_t CUDNNWINAPI cudnnDestroy##Name##Descriptor(type d)                        \
    {                                                                                              \
        free(d);                                                                                   \
        return CUDNN_STATUS_SUCCESS;                                                               \
    }
DESCRIPTOR(Tensor, cudnnTensorDescriptor_t)
DESCRIPTOR(Filter, cudnnFilterDescriptor_t)
DESCRIPTOR(Convolution, cudnnConvolutionDescriptor_t)

EXPORT cudnnStatus_t CUDNNWINAPI cudnnSetTensor4dDescriptor(cudnnTensorDescriptor_t d,
                                                            cudnnTensorFormat_t format,
                                                            cudnnDataType_t type, int n, int c,
                                                            int h, int w)
{
    *d = (struct cudnnTensorStruct){n, c, h, w};
    return format == CUDNN_TENSOR_NCHW && type == CUDNN_DATA_FLOAT ? CUDNN_STATUS_SUCCESS
                                                                   : CUDNN_STATUS_BAD_PARAM;
}

EXPORT cudnnStatus_t CUDNNWINAPI cudnnSetFilter4dDescriptor(cudnnFilterDescriptor_t d,
                                                            cudnnDataType_t type,
                                                            cudnnTensorFormat_t format, int k,
                                                            int c, int h, int w)
{
    *d = (struct cudnnFilterStruct){k, c, h, w};
    return format == CUDNN_TENSOR_NCHW && type == CUDNN_DATA_FLOAT ? CUDNN_STATUS_SUCCESS
                                                                   : CUDNN_STATUS_BAD_PARAM;
}

EXPORT cudnnStatus_t CUDNNWINAPI cudnnSetConvolution2dDescriptor(cudnnConvolutionDescriptor_t d,
                                                                 int pad_h, int pad_w, int u, int v,
                                                                 int dilation_h, int dilation_w,
                                                                 cudnnConvolutionMode_t mode,
                                                                 cudnnDataType_t type)
{
    *d = (struct cudnnConvolutionStruct){pad_h, u, dilation_h, 0};
    return pad_h == pad_w && u == v && dilation_h == dilation_w &&
                   mode == CUDNN_CROSS_CORRELATION && type == CUDNN_DATA_FLOAT
               ? CUDNN_STATUS_SUCCESS
               : CUDNN_STATUS_BAD_PARAM;
}

EXPORT cudnnStatus_t CUDNNWINAPI cudnnSetConvolutionMathType(cudnnConvolutionDescriptor_t d,
                                                             cudnnMathType_t type)
{
    d->strict = type == CUDNN_FMA_MATH;
    return CUDNN_STATUS_SUCCESS;
}

/* ---- algorithms ------------------------------------------------------------------------------------------- */

/* One for tensor cores, one that fails, then number 1 in fp32. */
#define FIND(x, w, how, y, most, count, results)                                                   \
    do {                                                                                           \
        if (!handle->stream || !fits(x, w, how, y) || (most) < 3)                                  \
            return CUDNN_STATUS_BAD_PARAM;                                                         \
        for (int i = 0; i < 3; i++) {                                                              \
            (results)[i].algo = i == 2 ? 1 : 0;                                                    \
            (results)[i].status = i == 1 ? CUDNN_STATUS_NOT_SUPPORTED : CUDNN_STATUS_SUCCESS;      \
            (results)[i].memory = i == 2 ? WORKSPACE : 0;                                          \
            (results)[i].mathType = i == 0 ? CUDNN_TENSOR_OP_MATH : CUDNN_FMA_MATH;                \
        }                                                                                          \
        *(count) = 3;                                                                              \
        return CUDNN_STATUS_SUCCESS;                                                               \
    } while (0)

EXPORT cudnnStatus_t CUDNNWINAPI cudnnFindConvolutionForwardAlgorithm(
    cudnnHandle_t handle, const cudnnTensorDescriptor_t x, const cudnnFilterDescriptor_t w,
    const cudnnConvolutionDescriptor_t how, const cudnnTensorDescriptor_t y, const int most,
    int *count, cudnnConvolutionFwdAlgoPerf_t *results)
{
    FIND(x, w, how, y, most, count, results);
}

EXPORT cudnnStatus_t CUDNNWINAPI cudnnFindConvolutionBackwardDataAlgorithm(
    cudnnHandle_t handle, const cudnnFilterDescriptor_t w, const cudnnTensorDescriptor_t y,
    const cudnnConvolutionDescriptor_t how, const cudnnTensorDescriptor_t x, const int most,
    int *count, cudnnConvolutionBwdDataAlgoPerf_t *results)
{
    FIND(x, w, how, y, most, count, results);
}

EXPORT cudnnStatus_t CUDNNWINAPI cudnnFindConvolutionBackwardFilterAlgorithm(
    cudnnHandle_t handle, const cudnnTensorDescriptor_t x, const cudnnTensorDescriptor_t y,
    const cudnnConvolutionDescriptor_t how, const cudnnFilterDescriptor_t w, const int most,
    int *count, cudnnConvolutionBwdFilterAlgoPerf_t *results)
{
    FIND(x, w, how, y, most, count, results);
}

/* ---- passes ----------------------------------------------------------------------------------------------- */

#define CONV(pass, x, w, how, y, at_x, at_w, at_y)                                                 \
    (conv)                                                                                         \
    {                                                                                              \
        pass, *(x), *(y), *(w), *(how), (float *)(at_x), (float *)(at_w), (float *)(at_y),         \
            *(const float *)alpha, *(const float *)beta                                            \
    }

EXPORT cudnnStatus_t CUDNNWINAPI cudnnConvolutionForward(
    cudnnHandle_t handle, const void *alpha, const cudnnTensorDescriptor_t x, const void *at_x,
    const cudnnFilterDescriptor_t w, const void *at_w, const cudnnConvolutionDescriptor_t how,
    cudnnConvolutionFwdAlgo_t algo, void *workspace, size_t bytes, const void *beta,
    const cudnnTensorDescriptor_t y, void *at_y)
{
    return start(handle, CONV(FORWARD, x, w, how, y, at_x, at_w, at_y), (int)algo, workspace,
                 bytes);
}

EXPORT cudnnStatus_t CUDNNWINAPI cudnnConvolutionBackwardData(
    cudnnHandle_t handle, const void *alpha, const cudnnFilterDescriptor_t w, const void *at_w,
    const cudnnTensorDescriptor_t y, const void *at_y, const cudnnConvolutionDescriptor_t how,
    cudnnConvolutionBwdDataAlgo_t algo, void *workspace, size_t bytes, const void *beta,
    const cudnnTensorDescriptor_t x, void *at_x)
{
    return start(handle, CONV(DATA, x, w, how, y, at_x, at_w, at_y), (int)algo, workspace, bytes);
}

EXPORT cudnnStatus_t CUDNNWINAPI cudnnConvolutionBackwardFilter(
    cudnnHandle_t handle, const void *alpha, const cudnnTensorDescriptor_t x, const void *at_x,
    const cudnnTensorDescriptor_t y, const void *at_y, const cudnnConvolutionDescriptor_t how,
    cudnnConvolutionBwdFilterAlgo_t algo, void *workspace, size_t bytes, const void *beta,
    const cudnnFilterDescriptor_t w, void *at_w)
{
    return start(handle, CONV(FILTER, x, w, how, y, at_x, at_w, at_y), (int)algo, workspace, bytes);
}
