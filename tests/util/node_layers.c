#include "tests/util/node_layers.h"

bool node_is_outer(node_subject kind)
{
    return kind <= SQUARE;
}

bool node_is_norm(node_subject kind)
{
    return kind == LAYER || kind == INSTANCE;
}

bool node_is_pool(node_subject kind)
{
    return kind >= MEAN;
}

int node_layer_dst_order(const node_layer *l)
{
    return node_is_outer(l->kind) ? 2 : l->order;
}

void node_layer_tensors(node_layer *l, equinv_tensor *all[NODE_LAYER_TENSORS])
{
    equinv_tensor *const list[NODE_LAYER_TENSORS] = {
        &l->src,          &l->dst,          &l->diff_src,          &l->diff_dst,
        &l->parameter[0], &l->parameter[1], &l->diff_parameter[0], &l->diff_parameter[1]};
    memcpy(all, list, sizeof list);
}

const equinv_tensor *node_layer_mask(const node_layer *l)
{
    return l->masked ? &l->mask : NULL;
}

equinv_status node_layer_plan(equinv_context *ctx, node_subject kind, const node_sizes *s,
                              equinv_plan **plan)
{
    if (node_is_norm(kind)) {
        equinv_node_norm_desc d = EQUINV_NODE_NORM_DESC_INIT;
        d.kind = kind == LAYER ? EQUINV_NODE_NORM_LAYER : EQUINV_NODE_NORM_INSTANCE;
        d.dtype = s->dtype, d.order = s->order, d.epsilon = 1e-3;
        d.batch = s->batch, d.channels = s->channels, d.nodes = s->nodes;
        d.accumulate = s->accumulate, d.impl = s->impl, d.slope = s->slope;
        return equinv_node_norm_plan_create(ctx, &d, plan);
    }
    equinv_node_pool_desc d = EQUINV_NODE_POOL_DESC_INIT;
    d.kind = (equinv_node_pool_kind)(EQUINV_NODE_POOL_MEAN + (kind - MEAN));
    d.dtype = s->dtype, d.order = s->order;
    d.batch = s->batch, d.channels = s->channels, d.nodes = s->nodes;
    d.accumulate = s->accumulate, d.impl = s->impl;
    if (kind == MAX && s->impl && strcmp(s->impl, "fast") == 0)
        d.impl = NULL; /* it has none */
    return equinv_node_pool_plan_create(ctx, &d, plan);
}

node_layer node_layer_new(equinv_context *ctx, rng *r, node_subject kind, const node_sizes *s)
{
    node_layer l = {
        .ctx = ctx, .kind = kind, .order = s->order, .masked = s->masked, .slope = s->slope};
    l.accumulate = s->accumulate;
    if (node_is_outer(kind))
        l.order = 1, l.accumulate = false;
    else
        OK(node_layer_plan(ctx, kind, s, &l.plan));
    l.src = nodes_new(ctx, r, s->dtype, l.order, s->batch, s->channels, s->nodes);
    l.diff_src = nodes_new(ctx, r, s->dtype, l.order, s->batch, s->channels, s->nodes);
    for (int i = 0; i < 2; i++) {
        equinv_tensor *const to[2] = {&l.parameter[i], &l.diff_parameter[i]};
        for (int k = 0; k < 2; k++) {
            if (node_is_outer(kind))
                *to[k] = nodes_new(ctx, r, s->dtype, 1, s->batch, s->channels, s->nodes);
            else
                *to[k] = tensor_random(ctx, r, s->dtype, 1, (int)s->channels);
        }
        equinv_tensor *const map = i ? &l.dst : &l.diff_dst;
        if (node_is_pool(kind))
            *map = tensor_random(ctx, r, s->dtype, 3, (int)s->batch, s->order, (int)s->channels);
        else
            *map = nodes_new(ctx, r, s->dtype, node_layer_dst_order(&l), s->batch, s->channels,
                             s->nodes);
    }
    l.mask = nodes_mask(ctx, r, s->batch, s->nodes);
    if (l.plan) {
        l.saved_size = equinv_plan_saved_size(l.plan);
        l.saved = l.saved_size ? aligned_alloc(64, (l.saved_size + 63) / 64 * 64) : NULL;
    }
    return l;
}

void node_layer_free(node_layer *l)
{
    equinv_tensor *all[NODE_LAYER_TENSORS];
    node_layer_tensors(l, all);
    for (int i = 0; i < NODE_LAYER_TENSORS; i++)
        equinv_tensor_destroy(l->ctx, all[i]);
    equinv_tensor_destroy(l->ctx, &l->mask);
    equinv_plan_destroy(l->plan);
    free(l->saved);
}

equinv_status node_layer_forward(node_layer *l)
{
    if (node_is_outer(l->kind))
        return equinv_node_outer_forward(l->ctx, &l->src,
                                         l->kind == OUTER ? &l->parameter[0] : NULL,
                                         node_layer_mask(l), &l->dst);
    if (node_is_norm(l->kind))
        return equinv_node_norm_forward(l->plan, &l->src, node_layer_mask(l), &l->parameter[0],
                                        &l->parameter[1], &l->dst, l->scratch, l->scratch_size);
    return equinv_node_pool_forward(l->plan, &l->src, node_layer_mask(l), &l->dst, l->saved,
                                    l->saved_size, l->scratch, l->scratch_size);
}

equinv_status node_layer_backward(node_layer *l)
{
    if (node_is_outer(l->kind))
        return equinv_node_outer_backward(
            l->ctx, &l->src, l->kind == OUTER ? &l->parameter[0] : NULL, node_layer_mask(l),
            &l->diff_dst, &l->diff_src, l->kind == OUTER ? &l->diff_parameter[0] : NULL);
    if (node_is_norm(l->kind))
        return equinv_node_norm_backward(l->plan, &l->src, node_layer_mask(l), &l->parameter[0],
                                         &l->parameter[1], &l->diff_dst, &l->diff_src,
                                         &l->diff_parameter[0], &l->diff_parameter[1], l->scratch,
                                         l->scratch_size);
    return equinv_node_pool_backward(l->plan, &l->diff_dst, node_layer_mask(l), l->saved,
                                     l->saved_size, &l->diff_src, l->scratch, l->scratch_size);
}

void node_layer_run(node_layer *l)
{
    OK(node_layer_forward(l));
    OK(node_layer_backward(l));
}

node_sizes node_layer_random(rng *r, equinv_dtype dtype)
{
    return (node_sizes){.dtype = dtype,
                        .order = (int)rng_range(r, 1, 2),
                        .batch = rng_range(r, 0, 4),
                        .channels = rng_range(r, 1, rng_range(r, 0, 3) ? 6 : 50),
                        .nodes = rng_range(r, 1, 9),
                        .accumulate = rng_range(r, 0, 1),
                        .masked = rng_range(r, 0, 2),
                        .impl = rng_range(r, 0, 1) || dtype != EQUINV_F32 ? "ref" : "fast",
                        .slope = 0.25 * (double)rng_range(r, 0, 4)};
}
