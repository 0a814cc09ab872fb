/* The dense convolution that a group convolution is: expanded filter, and its gradient summed to psi. */
#include <stdlib.h>
#include <string.h>

#include "bench/peer.h"

bool is_conv(const bench_case *c)
{
    return c->op == &conv_operation || c->op == &conv_lift_operation ||
           c->op == &conv_plane_operation;
}

static equinv_conv_kind kind_of(const bench_case *c)
{
    return c->op == &conv_operation        ? EQUINV_CONV_REGULAR
           : c->op == &conv_lift_operation ? EQUINV_CONV_LIFTING
                                           : EQUINV_CONV_TO_PLANE;
}

equinv_status dense_conv_of(const bench_case *c, dense_conv *d)
{
    const int64_t order = case_order(c);
    *d = (dense_conv){.batch = c->batch,
                      .height = c->height,
                      .width = c->width,
                      .kernel = c->kernel,
                      .stride = c->stride,
                      .padding = c->padding,
                      .dilation = c->dilation,
                      .kind = kind_of(c),
                      .fields_in = c->fields_in,
                      .fields_out = c->fields_out,
                      .order = order};
    d->in = c->fields_in * (d->kind == EQUINV_CONV_LIFTING ? 1 : order);
    d->out = c->fields_out * (d->kind == EQUINV_CONV_TO_PLANE ? 1 : order);
    equinv_conv_desc sizes = EQUINV_CONV_DESC_INIT;
    sizes.batch = c->batch, sizes.fields_in = c->fields_in, sizes.fields_out = c->fields_out;
    sizes.height = c->height, sizes.width = c->width, sizes.kernel = c->kernel;
    sizes.stride = c->stride, sizes.padding = c->padding, sizes.dilation = c->dilation;
    return equinv_conv_output_size(&sizes, &d->out_height, &d->out_width);
}

/* psi as `act` sees it: fields of filters, regular ones if it has an axis of elements. */
static equinv_status psi_create(const problem *p, const dense_conv *d, equinv_tensor *psi)
{
    const int64_t elements = d->kind == EQUINV_CONV_REGULAR ? d->order : 1;
    return equinv_tensor_create(p->ctx, EQUINV_F32, 5,
                                SHAPE(d->fields_out, d->fields_in, elements, d->kernel, d->kernel),
                                psi);
}

/*
 * Where psi turned by an element stands in the dense filter: row g of the filter, for group to plane column
 * h. K[(o,g),(i,h)](x) = psi[o,i,g^-1 h](g^-1 x) = (g.psi)[o,i,h](x).
 */
static equinv_tensor turned_in(const dense_conv *d, const equinv_tensor *psi, float *filter,
                               int64_t element)
{
    const int64_t taps = d->kernel * d->kernel;
    const bool to_plane = d->kind == EQUINV_CONV_TO_PLANE;
    equinv_tensor t = *psi;
    t.data = filter + element * (to_plane ? taps : d->in * taps);
    t.strides[0] = (to_plane ? 1 : d->order) * d->in * taps;
    t.strides[1] = d->in / d->fields_in * taps;
    t.strides[2] = taps;
    return t;
}

equinv_status dense_expand(equinv_context *ctx, equinv_group group, const dense_conv *d,
                           const equinv_tensor *psi, float *filter)
{
    equinv_status status = EQUINV_OK;
    for (int32_t g = 0; !status && g < d->order; g++) {
        const equinv_tensor to = turned_in(d, psi, filter, g);
        status = equinv_act(ctx, group, g, psi, &to);
    }
    return status ? status : equinv_context_synchronize(ctx); /* psi's last reader */
}

equinv_status dense_filter_into(problem *p, const dense_conv *d, float *filter)
{
    equinv_tensor psi;
    equinv_status status = psi_create(p, d, &psi);
    if (status)
        return status;
    status = problem_fill(p, &psi, MOST_TENSORS, 1);
    if (!status)
        status = dense_expand(p->ctx, p->what.group, d, &psi, filter);
    equinv_tensor_destroy(p->ctx, &psi);
    return status;
}

equinv_status dense_filter(problem *p, const dense_conv *d, float **filter)
{
    *filter = peer_floats(d->out * d->in * d->kernel * d->kernel);
    const equinv_status status = *filter ? dense_filter_into(p, d, *filter) : EQUINV_ERR_NOMEM;
    if (status) {
        free(*filter);
        *filter = NULL;
    }
    return status;
}

/* sums += what turned holds, by way of CPU memory. */
static equinv_status add_to_sums(problem *p, const equinv_tensor *turned, const equinv_tensor *host,
                                 double *sums)
{
    const int64_t count = equinv_tensor_count(host);
    equinv_status status = equinv_tensor_copy(p->ctx, turned, host);
    if (!status)
        status = equinv_context_synchronize(p->ctx);
    for (int64_t i = 0; !status && i < count; i++)
        sums[i] += (double)((const float *)host->data)[i];
    return status;
}

/* The sums in f32, through host, into output[0], which has psi's axes without that of one element. */
static equinv_status put_sums(problem *p, const double *sums, const equinv_tensor *host)
{
    const int64_t count = equinv_tensor_count(host);
    equinv_tensor from = p->output[0];
    from.data = host->data, from.device = host->device;
    for (int64_t i = 0; i < count; i++)
        ((float *)host->data)[i] = (float)sums[i];
    const equinv_status status = equinv_tensor_copy(p->ctx, &from, &p->output[0]);
    return status ? status : equinv_context_synchronize(p->ctx);
}

/* diff_psi = sum over g of the rows turned back: the adjoint of the expansion. */
static equinv_status sum_turned(problem *p, const dense_conv *d, float *gradient,
                                const equinv_tensor *turned, const equinv_tensor *host)
{
    double *const sums = calloc((size_t)equinv_tensor_count(host), sizeof *sums);
    equinv_status status = sums ? EQUINV_OK : EQUINV_ERR_NOMEM;
    for (int32_t g = 0, back; !status && g < d->order; g++) {
        const equinv_tensor from = turned_in(d, turned, gradient, g);
        status = equinv_group_inverse(p->what.group, g, &back);
        if (!status)
            status = equinv_act(p->ctx, p->what.group, back, &from, turned);
        if (!status)
            status = add_to_sums(p, turned, host, sums);
    }
    if (!status)
        status = put_sums(p, sums, host);
    free(sums);
    return status;
}

equinv_status dense_gradient_to_psi(problem *p, const dense_conv *d, float *gradient)
{
    equinv_tensor turned, host = {.data = NULL};
    equinv_status status = psi_create(p, d, &turned);
    if (status)
        return status;
    status = equinv_tensor_create_pinned(p->ctx, EQUINV_F32, turned.ndim, turned.shape, &host);
    if (!status)
        status = sum_turned(p, d, gradient, &turned, &host);
    equinv_tensor_destroy(p->ctx, &host);
    equinv_tensor_destroy(p->ctx, &turned);
    return status;
}
