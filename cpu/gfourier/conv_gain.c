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

#include "cpu/gemm/conv.h"
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

/*
 * The gradient of psi by itself: conv/gemm has outputs in its lanes and sums nothing across them, which is faster
 * where few pixels are summed for many entries; not of more than twice LONGEST. Fitted to 291 layers on both vector
 * levels, the rows of the case table and random ones up to 50 million products: 4 % longer than the better of the two
 * on average, always the Fourier form 12 %.
 */
typedef struct weights_ns {
    double in_doubt; /* what the estimate may be wrong by */
    double call;
    double fma, plain_fma; /* vector of pixels; of planes where they are */
    double transform;      /* vector of pixels of one element at one tap */
    double across;         /* sum of some pixels put to the others */
    double plane;          /* plane read, once for each class of pixels */
    double matrix_call;
    double matrix_fma; /* vector of outputs */
    double turn;       /* vector of pixels of four planes turned */
    double row;        /* row of a plane copied */
    double fold;       /* vector of fields summed to psi */
} weights_ns;

/*
 * Backward data with a stride by itself: conv/gemm takes the classes of pixels one after the other to the same matrix,
 * the Fourier form goes to dst for each. Fitted to the strided ones of 291 layers, as above: 4 % longer than the
 * better of the two on average, always the Fourier form 14 %.
 */
typedef struct data_ns {
    double in_doubt;
    double fma;       /* vector of windows */
    double transform; /* vector of windows of one element at one tap */
    double plane;     /* plane read, or written for one class */
    double class;
    double vector; /* of pixels written; as much again where images do not stand abreast */
    double matrix_call;
    double matrix_fma; /* vector of outputs */
    double turn;       /* vector of pixels of four planes turned */
    double row;        /* row of a plane copied */
} data_ns;

/* A Zen 3 with AVX2, vectors of 8, was fitted by itself: 220 and 76 layers, 3.5 % and 7.5 % longer. */
static const weights_ns weights_of_8 = {.in_doubt = 1,
                                        .call = 1725,
                                        .fma = 0.339,
                                        .plain_fma = 0.35,
                                        .transform = 0.885,
                                        .across = 4.08,
                                        .plane = 5.26,
                                        .matrix_call = 1430,
                                        .matrix_fma = 0.261,
                                        .turn = 6.6,
                                        .row = 1.175,
                                        .fold = 1.83};
static const weights_ns weights_of_any = {.in_doubt = 0.9,
                                          .call = 460,
                                          .fma = 0.21,
                                          .plain_fma = 0.17,
                                          .transform = 0.45,
                                          .across = 1.5,
                                          .plane = 1.7,
                                          .matrix_call = 255,
                                          .matrix_fma = 0.152,
                                          .turn = 3.8,
                                          .row = 0.19,
                                          .fold = 0.58};
static const data_ns data_of_8 = {.in_doubt = 0.83,
                                  .fma = 0.261,
                                  .transform = 1.046,
                                  .plane = 16.56,
                                  .class = 2569,
                                  .vector = 6.2,
                                  .matrix_call = 6524,
                                  .matrix_fma = 0.236,
                                  .turn = 31.4,
                                  .row = 0};
static const data_ns data_of_any = {.in_doubt = 1,
                                    .fma = 0.085,
                                    .transform = 0.86,
                                    .plane = 1.4,
                                    .class = 240,
                                    .vector = 3.1,
                                    .matrix_call = 260,
                                    .matrix_fma = 0.166,
                                    .turn = 9.8,
                                    .row = 0.91};

/*
 * Backward data to few channels, for an image, where conv/gemm goes tap by tap: fitted to 149 layers on a Zen 3 with
 * AVX2, stride 1 too. 5 % longer than the better of the two on average, always the Fourier form 43 %.
 */
#define ADJOINT_IN_DOUBT 0.85
#define ADJOINT_CALL 64.0
#define ADJOINT_FMA 0.346      /* vector of windows */
#define ADJOINT_TRANSFORM 0.73 /* vector of windows of one element at one tap */
#define ADJOINT_PLANE 9.5      /* plane read */
#define ADJOINT_CLASS 490.0    /* of a whole batch */
#define ADJOINT_PUT 6.5        /* vector of pixels written .. */
#define ADJOINT_APART 4.3      /* .. in classes */

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

/* Vectors of numbers of the dense filter's gradient that are summed to psi's. */
static double folds_of(const eqi_conv_problem *p, double lanes)
{
    const equinv_conv_desc *const d = &p->desc;
    return in_vectors((double)d->fields_out, lanes) * (double)d->fields_in *
           (double)p->filter_elements * (double)(d->kernel * d->kernel) *
           (double)eqi_order(d->group);
}

static double sums_ns(const eqi_gf_weights *w, const weights_ns *ns)
{
    const eqi_gf_pass *const p = &w->pass;
    const double pixels = (double)p->batch * (double)(p->out_height * p->out_width);
    const double vectors = pixels / (double)p->kernels->lanes;
    const double taps = (double)(p->fields_in * p->taps);
    const double sums = taps * (double)p->fields_out * p->form->terms;
    const double copies = (double)eqi_smaller(p->stride * p->stride, p->kernel * p->kernel);
    const double planes =
        (double)(p->fields_in * p->elements) * copies + (double)(p->fields_out * p->form->outputs);
    const bool plain = eqi_gf_is_plain(p);
    return ns->call + (plain ? ns->plain_fma : ns->fma) * vectors * sums +
           (plain ? 0 : ns->transform) * vectors * taps * (double)p->elements +
           ns->across * (double)w->tasks * sums + ns->plane * (double)p->batch * planes;
}

bool eqi_gf_weights_gain(const eqi_conv_problem *p, const eqi_gf_weights *w)
{
    const equinv_conv_desc *const d = &p->desc;
    const double lanes = w->pass.kernels->lanes;
    const double in = (double)d->fields_in * (double)p->elements_in;
    const double out = (double)d->fields_out * (double)p->elements_out;
    const double windows = (double)p->out_height * (double)p->out_width, batch = (double)d->batch;
    const double products = batch * windows * in * (double)(d->kernel * d->kernel);
    const weights_ns *const ns = w->pass.kernels->lanes == 8 ? &weights_of_8 : &weights_of_any;
    const double matrix = ns->matrix_call + ns->matrix_fma * products * in_vectors(out, lanes) +
                          ns->turn * batch * in_vectors(windows, lanes) * in_vectors(out, 4) +
                          ns->row * batch * in * (double)d->height + ns->fold * folds_of(p, lanes);
    return batch * windows > 2 * LONGEST || ns->in_doubt * sums_ns(w, ns) <= matrix;
}

static bool taps_gain(const eqi_conv_problem *p, int64_t vector)
{
    const equinv_conv_desc *const d = &p->desc;
    const double lanes = (double)vector;
    const double channels = (double)d->fields_out * (double)p->elements_out;
    const double outputs = (double)d->fields_in * (double)p->elements_in;
    const double taps = (double)d->kernel * (double)d->kernel;
    const double windows = (double)p->out_height * (double)p->out_width;
    const double across = (double)eqi_smaller(d->stride, d->width);
    const double classes = across * (double)eqi_smaller(d->stride, d->height);
    const bool apart = d->stride > 1, plain = eqi_order(d->group) == 1 && !apart;
    const double fourier = ADJOINT_CALL +
                           ADJOINT_FMA * outputs * (double)d->fields_out * taps * windows / lanes +
                           (plain ? 0 : ADJOINT_TRANSFORM * channels * taps * windows / lanes) +
                           ADJOINT_PLANE * channels + ADJOINT_CLASS * classes / BATCH +
                           (ADJOINT_PUT + (apart ? ADJOINT_APART : 0)) * outputs *
                               in_vectors((double)(d->height * d->width), lanes);
    return eqi_conv_taps_ns(p, vector) < ADJOINT_IN_DOUBT * fourier;
}

bool eqi_gf_data_gain(const eqi_conv_problem *p, const eqi_hardware *hardware)
{
    enum { PAGE = 1024 }; /* pixels: turned back, planes so far apart compete for places in L1 */
    const equinv_conv_desc *const d = &p->desc;
    const int64_t vector = eqi_gf_kernels_of(hardware)->lanes;
    if (eqi_conv_taps_of(p, hardware).used)
        return !taps_gain(p, vector);
    const double lanes = (double)vector;
    const double read = (double)d->fields_out * (double)p->elements_out;
    const double written = (double)d->fields_in * (double)p->elements_in;
    const double taps = (double)d->kernel * (double)d->kernel;
    const double products = BATCH * (double)(p->out_height * p->out_width) * taps;
    const double vectors =
        BATCH * in_vectors((double)d->height * (double)d->width, lanes) * written;
    const double classes =
        (double)eqi_smaller(d->stride, d->height) * (double)eqi_smaller(d->stride, d->width);
    const bool apart = d->height * d->width >= EQI_GF_ABREAST;
    eqi_gf_kind kind;
    eqi_gf_kind_of(d->group, d->kind == EQUINV_CONV_LIFTING, &kind);
    const int terms =
        d->kind == EQUINV_CONV_TO_PLANE ? eqi_order(d->group) : eqi_gf_forms[kind].terms;
    const double fields = (double)d->fields_in * (double)d->fields_out;
    const data_ns *const ns = vector == 8 ? &data_of_8 : &data_of_any;
    const double fourier = (ns->fma * fields * terms + ns->transform * read) * products / lanes +
                           ns->plane * BATCH * (read + written * classes) + ns->class * classes +
                           ns->vector * vectors * (apart ? 2 : 1);
    const double scatter = ns->matrix_call +
                           ns->matrix_fma * products * read * in_vectors(written, lanes) +
                           ns->turn * vectors * in_vectors(written, 4) / written +
                           ns->row * BATCH * read * (double)p->out_height;
    const bool competes = d->height * d->width % PAGE == 0;
    return d->stride == 1 || read * taps > LONGEST || competes || ns->in_doubt * fourier <= scatter;
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
    const double gemm =
        2 * gemm_ns(&forward) + gemm_ns(&data) + GEMM_FOLD * folds_of(p, forward.lanes);
    /* Small images stand abreast, and all classes of them in one stage. */
    const double apart = d->stride > 1 && data.pixels >= EQI_GF_ABREAST
                             ? BATCH * in_vectors(data.pixels, data.lanes) * in
                             : 0;
    const double fourier = 2 * fourier_ns(p, &forward, kind, copies, 1) +
                           fourier_ns(p, &data, data_kind, 1, squares) + FOURIER_CLASS * squares +
                           FOURIER_APART * apart;
    return eqi_require(fourier < gemm, why, "so little to save that the plain product is faster");
}
