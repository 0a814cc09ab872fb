/* The three kinds of group convolution, forward and both gradients. */
#include "bench/bench.h"

static equinv_conv_desc desc_of(const problem *p, equinv_conv_kind kind)
{
    const bench_case *const c = &p->what;
    equinv_conv_desc d = EQUINV_CONV_DESC_INIT;
    d.kind = kind;
    d.group = c->group;
    d.dtype = p->dtype;
    d.batch = c->batch;
    d.fields_in = c->fields_in, d.fields_out = c->fields_out;
    d.height = c->height, d.width = c->width;
    d.kernel = c->kernel, d.stride = c->stride, d.padding = c->padding, d.dilation = c->dilation;
    d.impl = p->impl;
    return d;
}

/* The filter as execute reads it, in saved[0]. */
static equinv_status pack(problem *p, int32_t ndim, const int64_t *shape)
{
    equinv_tensor psi;
    equinv_status status = equinv_tensor_create(p->ctx, p->dtype, ndim, shape, &psi);
    if (status)
        return status;
    const size_t size = equinv_plan_packed_size(p->plan);
    status = problem_fill(p, &psi, MOST_TENSORS, 1);
    if (!status && size == 0) {
        p->saved[p->saved_count++] = psi;
        return EQUINV_OK;
    }
    if (!status && !(status = problem_saved(p, size)) &&
        !(status = equinv_conv_pack(p->plan, &psi, p->saved[0].data, size)))
        status = equinv_context_synchronize(p->ctx);
    equinv_tensor_destroy(p->ctx, &psi);
    return status;
}

/* Inputs: what the pass reads; the filter is packed once, as a caller does between updates. */
static equinv_status create(problem *p, equinv_conv_kind kind)
{
    const equinv_conv_desc d = desc_of(p, kind);
    int64_t height, width;
    equinv_status status = equinv_conv_plan_create(p->ctx, &d, &p->plan);
    if (!status)
        status = equinv_conv_output_size(&d, &height, &width);
    if (status)
        return status;
    p->impl_name = equinv_plan_impl_name(p->plan);
    const int64_t order = case_order(&p->what), in = kind == EQUINV_CONV_LIFTING ? 1 : order,
                  out = kind == EQUINV_CONV_TO_PLANE ? 1 : order;
    const int64_t *const src = SHAPE(d.batch, d.fields_in, in, d.height, d.width);
    const int64_t *const dst = SHAPE(d.batch, d.fields_out, out, height, width);
    const int32_t psi_dims = kind == EQUINV_CONV_REGULAR ? 5 : 4;
    const int64_t *const psi = kind == EQUINV_CONV_REGULAR
                                   ? SHAPE(d.fields_out, d.fields_in, order, d.kernel, d.kernel)
                                   : SHAPE(d.fields_out, d.fields_in, d.kernel, d.kernel);
    if (p->what.pass == PASS_BACKWARD_WEIGHTS) {
        if ((status = problem_input(p, p->dtype, 5, src)) ||
            (status = problem_input(p, p->dtype, 5, dst)))
            return status;
        return problem_output(p, p->dtype, psi_dims, psi);
    }
    const bool forward = p->what.pass == PASS_FORWARD;
    if ((status = problem_input(p, p->dtype, 5, forward ? src : dst)) ||
        (status = problem_output(p, p->dtype, 5, forward ? dst : src)))
        return status;
    return pack(p, psi_dims, psi);
}

static equinv_status create_regular(problem *p)
{
    return create(p, EQUINV_CONV_REGULAR);
}

static equinv_status create_lifting(problem *p)
{
    return create(p, EQUINV_CONV_LIFTING);
}

static equinv_status create_to_plane(problem *p)
{
    return create(p, EQUINV_CONV_TO_PLANE);
}

static equinv_status run(problem *p)
{
    switch (p->what.pass) {
    case PASS_FORWARD:
        return equinv_conv_forward(p->plan, &p->input[0], &p->saved[0], NULL, &p->output[0], NULL,
                                   0);
    case PASS_BACKWARD_DATA:
        return equinv_conv_backward_data(p->plan, &p->input[0], &p->saved[0], &p->output[0], NULL,
                                         0);
    default:
        return equinv_conv_backward_weights(p->plan, &p->input[0], &p->input[1], &p->output[0],
                                            NULL, NULL, 0);
    }
}

/* ---- multiplications ------------------------------------------------------------------------------ */

/* Of the dense convolution with the expanded filter, padded taps counted; every pass has as many. */
static double dense(const bench_case *c, int64_t in, int64_t out)
{
    equinv_conv_desc d = EQUINV_CONV_DESC_INIT;
    int64_t height, width;
    d.batch = c->batch, d.fields_in = c->fields_in, d.fields_out = c->fields_out;
    d.height = c->height, d.width = c->width, d.kernel = c->kernel;
    d.stride = c->stride, d.padding = c->padding, d.dilation = c->dilation;
    if (equinv_conv_output_size(&d, &height, &width))
        return 0;
    return (double)(c->batch * height * width) * (double)(c->kernel * c->kernel) *
           (double)(c->fields_in * in) * (double)(c->fields_out * out);
}

static double dense_regular(const bench_case *c)
{
    return dense(c, case_order(c), case_order(c));
}

static double dense_lifting(const bench_case *c)
{
    return dense(c, 1, case_order(c));
}

static double dense_to_plane(const bench_case *c)
{
    return dense(c, case_order(c), 1);
}

/* Products of one block of the group's Fourier transform: sum of d^3 over its representations. */
static double group_products(const bench_case *c)
{
    const bool mirrors = c->group.kind == EQUINV_GROUP_DIHEDRAL;
    const double n = c->group.n, order = mirrors ? 2 * n : n;
    const double lines = n == 4 ? (mirrors ? 4 : 2) : order; /* one-dimensional over the reals */
    const double planes = n != 4 ? 0 : mirrors ? 8 : 4;      /* D4: 2^3; C4: a complex product */
    return lines + planes;
}

static double least_regular(const bench_case *c)
{
    const double order = (double)case_order(c);
    return dense_regular(c) * group_products(c) / (order * order);
}

/* The trivial representation alone. */
static double least_to_plane(const bench_case *c)
{
    return dense_to_plane(c) / (double)case_order(c);
}

/* Elements that leave a tap where it is; positions from the centre, doubled to be whole. */
static int64_t stabiliser(const bench_case *c, int64_t ky, int64_t kx)
{
    const double x = (double)(2 * kx - (c->kernel - 1)), y = (double)(c->kernel - 1 - 2 * ky);
    int64_t count = 0;
    double m[4];
    for (int32_t g = 0; g < case_order(c); g++)
        if (equinv_group_plane(c->group, g, m) == EQUINV_OK && m[0] * x + m[1] * y == x &&
            m[2] * x + m[3] * y == y)
            count++;
    return count;
}

/*
 * The Fourier form over orbits of taps: a tap with stabiliser S shares 1 / |S| of a block's products, one
 * that all elements leave has one product, with |G| / |S| taps in an orbit.
 */
static double least_lifting(const bench_case *c)
{
    const double order = (double)case_order(c);
    double products = 0;
    for (int64_t ky = 0; ky < c->kernel; ky++)
        for (int64_t kx = 0; kx < c->kernel; kx++) {
            const double fixing = (double)stabiliser(c, ky, kx);
            const double of_orbit = fixing == order ? 1 : group_products(c) / fixing;
            products += of_orbit * fixing / order;
        }
    return dense_lifting(c) * products / (order * (double)(c->kernel * c->kernel));
}

static const char *const impls[] = {"window", "gfourier", "gemm", "ref", NULL};

#define CONV(word, text, kind, in)                                                                 \
    {                                                                                              \
        .name = word, .purpose = text, .runner = {.create = create_##kind, .run = run},            \
        .passes = PASS_FORWARD | PASS_BACKWARD_DATA | PASS_BACKWARD_WEIGHTS,                       \
        .uses = USES_GROUP | USES_OUT | USES_KERNEL | USES_SIZE | USES_IMPL, .batch_power = 1,     \
        .fields_in = in, .size = 14, .kernel = 3, .stride = 1, .dense = dense_##kind,              \
        .least = least_##kind, .limit = 1e-5, .impls = impls                                       \
    }

const operation conv_operation = CONV("conv", "regular fields to regular fields", regular, 16);
const operation conv_lift_operation =
    CONV("conv-lift", "plain channels to regular fields", lifting, 1);
const operation conv_plane_operation =
    CONV("conv-plane", "regular fields to plain channels", to_plane, 16);
