#include "tests/util/node_linear.h"

const char *linear_impl(equinv_dtype dtype, uint64_t number)
{
    return dtype == EQUINV_F32 && number % 2 == 0 ? "gemm" : "ref";
}

void linear_tensors(linear *l, equinv_tensor *all[LINEAR_TENSORS])
{
    equinv_tensor *const list[LINEAR_TENSORS] = {&l->src,          &l->weights,  &l->bias,
                                                 &l->diff_dst,     &l->dst,      &l->diff_src,
                                                 &l->diff_weights, &l->diff_bias};
    memcpy(all, list, sizeof list);
}

const equinv_tensor *linear_mask(const linear *l)
{
    return l->masked ? &l->mask : NULL;
}

linear linear_new(equinv_context *ctx, rng *r, const equinv_node_linear_desc *desc, bool masked)
{
    linear l = {.ctx = ctx, .desc = *desc, .masked = masked};
    OK(equinv_node_linear_plan_create(ctx, desc, &l.plan));
    const int64_t b = desc->batch, n = desc->nodes, in = desc->channels_in;
    const int64_t out = desc->channels_out;
    int64_t shape[3];
    OK(equinv_node_linear_weights_shape(desc, shape));
    OK(equinv_tensor_create(ctx, desc->dtype, 3, shape, &l.weights));
    OK(equinv_tensor_create(ctx, desc->dtype, 3, shape, &l.diff_weights));
    OK(equinv_tensor_create(ctx, desc->dtype, 2, (int64_t[]){desc->order_out, out}, &l.bias));
    OK(equinv_tensor_create(ctx, desc->dtype, 2, (int64_t[]){desc->order_out, out}, &l.diff_bias));
    l.src = nodes_new(ctx, r, desc->dtype, desc->order_in, b, in, n);
    l.diff_src = nodes_new(ctx, r, desc->dtype, desc->order_in, b, in, n);
    l.dst = nodes_new(ctx, r, desc->dtype, desc->order_out, b, out, n);
    l.diff_dst = nodes_new(ctx, r, desc->dtype, desc->order_out, b, out, n);
    tensor_fill_random(r, &l.weights), tensor_fill_random(r, &l.bias);
    tensor_fill_random(r, &l.diff_weights), tensor_fill_random(r, &l.diff_bias);
    l.mask = nodes_mask(ctx, r, b, n);
    return l;
}

void linear_free(linear *l)
{
    equinv_tensor *all[LINEAR_TENSORS];
    linear_tensors(l, all);
    for (int i = 0; i < LINEAR_TENSORS; i++)
        equinv_tensor_destroy(l->ctx, all[i]);
    equinv_tensor_destroy(l->ctx, &l->mask);
    equinv_plan_destroy(l->plan);
}

void linear_forward(linear *l)
{
    OK(equinv_node_linear_forward(l->plan, &l->src, linear_mask(l), &l->weights,
                                  l->desc.bias ? &l->bias : NULL, &l->dst, l->scratch,
                                  l->scratch_size));
}

void linear_run(linear *l)
{
    linear_forward(l);
    OK(equinv_node_linear_backward_data(l->plan, &l->diff_dst, linear_mask(l), &l->weights,
                                        &l->diff_src, l->scratch, l->scratch_size));
    OK(equinv_node_linear_backward_weights(l->plan, &l->src, linear_mask(l), &l->diff_dst,
                                           &l->diff_weights, &l->diff_bias, l->scratch,
                                           l->scratch_size));
}

equinv_node_linear_desc linear_random_desc(rng *r, equinv_dtype dtype)
{
    equinv_node_linear_desc d = EQUINV_NODE_LINEAR_DESC_INIT;
    d.dtype = dtype;
    d.order_in = (int32_t)rng_range(r, 1, 2), d.order_out = (int32_t)rng_range(r, 1, 2);
    d.batch = rng_range(r, 0, 4), d.nodes = rng_range(r, 1, 7);
    d.channels_in = rng_range(r, 1, rng_range(r, 0, 5) ? 5 : 33);
    d.channels_out = rng_range(r, 1, rng_range(r, 0, 5) ? 5 : 33);
    d.symmetric = rng_range(r, 0, 2) == 0;
    d.bias = rng_range(r, 0, 1);
    d.accumulate = rng_range(r, 0, 1);
    return d;
}
