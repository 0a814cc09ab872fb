/*
 * What a network costs beside its products: plans of its layers, and filters packed anew after every step
 * of training. What one call costs is the case of a convolution of one pixel (cases/cpu.txt).
 */
#include <stdlib.h>

#include "bench/bench.h"

static equinv_conv_desc desc_of(const problem *p, const bench_case *c)
{
    equinv_conv_desc d = EQUINV_CONV_DESC_INIT;
    d.kind = c->op == &conv_lift_operation ? EQUINV_CONV_LIFTING : EQUINV_CONV_REGULAR;
    d.group = c->group;
    d.dtype = p->dtype;
    d.batch = c->batch;
    d.fields_in = c->fields_in, d.fields_out = c->fields_out;
    d.height = c->height, d.width = c->width;
    d.kernel = c->kernel, d.padding = c->padding;
    d.impl = p->impl;
    return d;
}

/* A convolution of the same size, with its filter. */
typedef struct layer {
    equinv_conv_desc desc;
    equinv_plan *plan;
    equinv_tensor psi, packed;
} layer;

typedef struct layers {
    int count;
    layer layer[MOST_CONVOLUTIONS];
} layers;

static void layers_destroy(problem *p)
{
    layers *const own = p->own;
    for (int i = 0; i < own->count; i++) {
        equinv_plan_destroy(own->layer[i].plan);
        equinv_tensor_destroy(p->ctx, &own->layer[i].psi);
        equinv_tensor_destroy(p->ctx, &own->layer[i].packed);
    }
    free(own);
}

/* Its plan, filter, and the maps through which the filter is checked. */
static equinv_status layer_create(problem *p, const bench_case *c, layer *l)
{
    l->desc = desc_of(p, c);
    const equinv_conv_desc *const d = &l->desc;
    const bool lifts = d->kind == EQUINV_CONV_LIFTING;
    const int64_t order = case_order(c), in = lifts ? 1 : order;
    const int64_t k = d->kernel;
    equinv_status status = equinv_conv_plan_create(p->ctx, d, &l->plan);
    if (status ||
        (status = problem_input(p, p->dtype, 5,
                                SHAPE(d->batch, d->fields_in, in, d->height, d->width))) ||
        (status = problem_output(p, p->dtype, 5,
                                 SHAPE(d->batch, d->fields_out, order, d->height, d->width))) ||
        (status = equinv_tensor_create(p->ctx, p->dtype, lifts ? 4 : 5,
                                       lifts ? SHAPE(d->fields_out, d->fields_in, k, k)
                                             : SHAPE(d->fields_out, d->fields_in, order, k, k),
                                       &l->psi)))
        return status;
    const int64_t size = (int64_t)equinv_plan_packed_size(l->plan);
    status = problem_fill(p, &l->psi, 2 * MOST_TENSORS + (uint64_t)p->inputs, 1);
    return status ? status : equinv_tensor_create(p->ctx, EQUINV_U8, 1, &size, &l->packed);
}

static equinv_status layer_forward(const problem *p, const layer *l, int number,
                                   const equinv_tensor *weights)
{
    return equinv_conv_forward(l->plan, &p->input[number], weights, NULL, &p->output[number], NULL,
                               0);
}

/* ---- filters ----------------------------------------------------------------------------------------- */

static equinv_status filters_create(problem *p)
{
    bench_case list[MOST_CONVOLUTIONS];
    const int count = extract_operation.parts(&p->what, list);
    layers *const own = p->own = calloc(1, sizeof *own);
    equinv_status status = own ? EQUINV_OK : EQUINV_ERR_NOMEM;
    for (int i = 0; !status && i < count; i++) {
        own->count = i + 1;
        status = layer_create(p, &list[i], &own->layer[i]);
    }
    return status;
}

static equinv_status filters_run(problem *p)
{
    const layers *const own = p->own;
    equinv_status status = EQUINV_OK;
    for (int i = 0; !status && i < own->count; i++) {
        const layer *const l = &own->layer[i];
        status = equinv_conv_pack(l->plan, &l->psi, l->packed.data, (size_t)l->packed.shape[0]);
    }
    return status;
}

/* What they are worth: the convolutions with them. */
static equinv_status filters_finish(problem *p)
{
    const layers *const own = p->own;
    equinv_status status = EQUINV_OK;
    for (int i = 0; !status && i < own->count; i++)
        status = layer_forward(p, &own->layer[i], i, &own->layer[i].packed);
    return status;
}

const operation filters_operation = {
    .name = "filters",
    .purpose = "filters of a network packed, for forward and backward, as after a step of training",
    .runner = {.create = filters_create,
               .run = filters_run,
               .finish = filters_finish,
               .destroy = layers_destroy},
    .passes = PASS_FORWARD,
    .uses = USES_GROUP | USES_OUT | USES_KERNEL | USES_SIZE,
    .kinds = network_words,
    .batch_power = 1,
    .fields_in = 1,
    .size = 28,
    .kernel = 3,
    .limit = 1e-5,
};

/* ---- plans ------------------------------------------------------------------------------------------- */

enum { LAYERS = 10 };

/* The last layer stays, with whose plan a convolution is made for the check. */
static equinv_status plans_create(problem *p)
{
    layers *const own = p->own = calloc(1, sizeof *own);
    bench_case regular = p->what;
    regular.op = &conv_operation;
    regular.fields_in = regular.fields_out;
    if (!own)
        return EQUINV_ERR_NOMEM;
    own->count = 1;
    return layer_create(p, &regular, &own->layer[0]);
}

/* A lifting convolution and nine regular ones, each with batch norm; made, all there at once, released. */
static equinv_status plans_run(problem *p)
{
    const layers *const own = p->own;
    equinv_conv_desc conv = own->layer[0].desc;
    equinv_batch_norm_desc norm = EQUINV_BATCH_NORM_DESC_INIT;
    norm.dtype = p->dtype;
    norm.batch = conv.batch, norm.fields = conv.fields_out;
    norm.elements = case_order(&p->what);
    norm.height = conv.height, norm.width = conv.width;
    equinv_plan *plans[2 * LAYERS] = {NULL};
    equinv_status status = EQUINV_OK;
    for (int i = 0; !status && i < LAYERS; i++) {
        conv.kind = i ? EQUINV_CONV_REGULAR : EQUINV_CONV_LIFTING;
        conv.fields_in = i ? conv.fields_out : p->what.fields_in;
        status = equinv_conv_plan_create(p->ctx, &conv, &plans[2 * i]);
        if (!status)
            status = equinv_batch_norm_plan_create(p->ctx, &norm, &plans[2 * i + 1]);
    }
    for (int i = 0; i < 2 * LAYERS; i++)
        equinv_plan_destroy(plans[i]);
    return status;
}

static equinv_status plans_finish(problem *p)
{
    const layers *const own = p->own;
    return layer_forward(p, &own->layer[0], 0, &own->layer[0].psi);
}

const operation plans_operation = {
    .name = "plans",
    .purpose = "plans of ten layers, convolution and batch norm each, made and released",
    .runner = {.create = plans_create,
               .run = plans_run,
               .finish = plans_finish,
               .destroy = layers_destroy},
    .passes = PASS_FORWARD,
    .uses = USES_GROUP | USES_OUT | USES_KERNEL | USES_SIZE,
    .batch_power = 1,
    .fields_in = 1,
    .size = 28,
    .kernel = 3,
    .limit = 1e-5,
};
