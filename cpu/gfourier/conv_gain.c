/*
 * Whether the Fourier form is faster than conv/gemm, which is the choice between them where the caller makes none.
 * Small images have little to transform, and every plane costs the same, however few pixels it has; conv/gemm
 * leaves lanes empty where outputs are few. Both are estimated from counts of what they do, in ns on one core
 * of an EPYC Zen 5: only the ratio matters. Always for BATCH images: a sample's bits must not depend on how many
 * there are beside it.
 *
 * Why     fitted on both vector levels to 252 layers, forward and both backwards together: the rows of
 *         bench/cases/conv.txt below 5 million products and random ones up to 300 million. The choice takes 1.8 % longer
 *         than the better of the two on average, 1.9 times at worst; always the Fourier form 7 %.
 */
#include <math.h>

#include "weights.h"

#define BATCH 16.0
#define LONGEST 2304.0 /* products in one chain of conv/gemm: longer ones lose digits */

/* ns for each .. */
#define GEMM_CALL 170.0
#define GEMM_FMA 0.242 /* vector of outputs */
#define GEMM_TURN 14.3 /* vector of pixels of four planes turned */
#define GEMM_ROW 0.18  /* row of a plane copied */
#define GEMM_FOLD 1.1  /* vector of fields summed to psi */
#define FOURIER_CALL 130.0
#define FOURIER_FMA 0.23       /* vector of pixels */
#define FOURIER_TRANSFORM 1.07 /* vector of pixels of one element at one tap */
#define FOURIER_PLANE 8.0      /* plane read or written, once for each class of pixels */
#define FOURIER_CLASS 100.0
#define FOURIER_APART 5.0 /* vector of pixels of a class, written apart from each other */

/* What a pass reads and writes, in channels (field, element) of so many rows and pixels. */
typedef struct pass_size {
    double read, rows, written, pixels;
    double products; /* of the dense convolution for one pair of channels: windows x taps */
    double lanes;
} pass_size;

static double in_vectors(double count, double lanes)
{
    return ceil(count / lanes);
}

static double gemm_ns(const pass_size *s)
{
    return GEMM_CALL + GEMM_FMA * s->products * s->read * in_vectors(s->written, s->lanes) +
           GEMM_TURN * BATCH * in_vectors(s->pixels, s->lanes) * in_vectors(s->written, 4) +
           GEMM_ROW * BATCH * s->read * s->rows;
}

static double fourier_ns(const eqi_conv_problem *p, const pass_size *s, eqi_gf_kind kind,
                         double copies, double classes)
{
    const double fields = (double)p->desc.fields_in * (double)p->desc.fields_out;
    /* Without a group the planes are read where they are. */
    const bool plain = eqi_order(p->desc.group) == 1 && p->desc.stride == 1;
    return FOURIER_CALL + FOURIER_FMA * s->products * fields * eqi_gf_forms[kind].terms / s->lanes +
           (plain ? 0 : FOURIER_TRANSFORM * s->products * s->read / s->lanes) +
           FOURIER_PLANE * BATCH * (s->read * copies + s->written * classes);
}

bool eqi_gf_conv_gains(const void *problem, const eqi_hardware *hardware, const char **why)
{
    const eqi_conv_problem *const p = problem;
    const equinv_conv_desc *const d = &p->desc;
    const double in = (double)d->fields_in * (double)p->elements_in;
    const double out = (double)d->fields_out * (double)p->elements_out;
    const double windows = (double)p->out_height * (double)p->out_width;
    const double taps = (double)d->kernel * (double)d->kernel;
    const double squares = (double)d->stride * (double)d->stride;
    const pass_size forward = {.read = in,
                               .rows = (double)d->height,
                               .written = out,
                               .pixels = windows,
                               .products = BATCH * windows * taps,
                               .lanes = eqi_gf_kernels_of(hardware)->lanes};
    pass_size data = forward;
    data.read = out;
    data.rows = (double)p->out_height;
    data.written = in;
    data.pixels = (double)d->height * (double)d->width;
    if ((in > out ? in : out) * taps > LONGEST)
        return true;
    eqi_gf_kind kind, data_kind;
    eqi_gf_kind_of(d->group, d->kind == EQUINV_CONV_TO_PLANE, &kind);
    eqi_gf_kind_of(d->group, d->kind == EQUINV_CONV_LIFTING, &data_kind);
    const double copies = squares < taps ? squares : taps;
    /* Forward and the gradient of psi do the same, but for the sum over the group. */
    const double folds = in_vectors((double)d->fields_out, forward.lanes) * (double)d->fields_in *
                         (double)p->filter_elements * taps * (double)eqi_order(d->group);
    const double gemm = 2 * gemm_ns(&forward) + gemm_ns(&data) + GEMM_FOLD * folds;
    /* Small images stand abreast, and all classes of them in one stage. */
    const double apart = d->stride > 1 && data.pixels >= EQI_GF_ABREAST
                             ? BATCH * in_vectors(data.pixels, data.lanes) * in
                             : 0;
    const double fourier = 2 * fourier_ns(p, &forward, kind, copies, 1) +
                           fourier_ns(p, &data, data_kind, 1, squares) + FOURIER_CLASS * squares +
                           FOURIER_APART * apart;
    return eqi_require(fourier < gemm, why, "so little to save that the plain product is faster");
}
