/* Layers around the convolutions, and the action itself. */
#include "bench/bench.h"

static equinv_status map_input(problem *p)
{
    const bench_case *const c = &p->what;
    return problem_input(p, p->dtype, 5,
                         SHAPE(c->batch, c->fields_in, case_order(c), c->height, c->width));
}

static equinv_status map_output(problem *p)
{
    const bench_case *const c = &p->what;
    return problem_output(p, p->dtype, 5,
                          SHAPE(c->batch, c->fields_in, case_order(c), c->height, c->width));
}

#define MAPS(more)                                                                                 \
    .uses = USES_GROUP | USES_SIZE | (more), .batch_power = 1, .fields_in = 16, .size = 14

/* ---- act: element 1, a turn or a mirror ------------------------------------------------------------ */

static equinv_status act_create(problem *p)
{
    const bench_case *const c = &p->what;
    const bool quarter = c->group.n == 4; /* exchanges height and width */
    const equinv_status status = map_input(p);
    return status ? status
                  : problem_output(p, p->dtype, 5,
                                   SHAPE(c->batch, c->fields_in, case_order(c),
                                         quarter ? c->width : c->height,
                                         quarter ? c->height : c->width));
}

static equinv_status act_run(problem *p)
{
    return equinv_act(p->ctx, p->what.group, case_order(&p->what) > 1 ? 1 : 0, &p->input[0],
                      &p->output[0]);
}

const operation act_operation = {
    .name = "act",
    .purpose = "the first turn or mirror of feature maps",
    .runner = {.create = act_create, .run = act_run},
    .passes = PASS_FORWARD,
    MAPS(0),
    .limit = 0,
};

/* ---- relu ----------------------------------------------------------------------------------------- */

static equinv_status relu_create(problem *p)
{
    equinv_status status = map_input(p);
    if (!status && p->what.pass == PASS_BACKWARD_DATA)
        status = map_input(p);
    return status ? status : map_output(p);
}

static equinv_status relu_run(problem *p)
{
    if (p->what.pass == PASS_FORWARD)
        return equinv_relu_forward(p->ctx, 0, &p->input[0], &p->output[0]);
    return equinv_relu_backward(p->ctx, 0, &p->input[0], &p->input[1], &p->output[0]);
}

const operation relu_operation = {
    .name = "relu",
    .purpose = "ReLU of feature maps",
    .runner = {.create = relu_create, .run = relu_run},
    .passes = PASS_FORWARD | PASS_BACKWARD_DATA,
    MAPS(0),
    .limit = 1e-7,
};

/* ---- batch-norm: training ------------------------------------------------------------------------- */

enum { SRC, GAMMA, BETA, DIFF_DST };

static equinv_status batch_norm_create(problem *p)
{
    const bench_case *const c = &p->what;
    const int64_t fields = c->fields_in;
    equinv_batch_norm_desc d = EQUINV_BATCH_NORM_DESC_INIT;
    d.dtype = p->dtype;
    d.batch = c->batch, d.fields = fields, d.elements = case_order(c);
    d.height = c->height, d.width = c->width;
    d.impl = p->impl;
    equinv_status status = equinv_batch_norm_plan_create(p->ctx, &d, &p->plan);
    if (status)
        return status;
    p->impl_name = equinv_plan_impl_name(p->plan);
    if ((status = map_input(p)) || (status = problem_input(p, p->dtype, 1, &fields)) ||
        (status = problem_input(p, p->dtype, 1, &fields)) || (status = map_output(p)) ||
        (status = problem_saved(p, equinv_plan_saved_size(p->plan))) || c->pass == PASS_FORWARD)
        return status;
    /* The output serves the forward that fills `saved`; run overwrites it. */
    if ((status = map_input(p)))
        return status;
    status = equinv_batch_norm_forward_train(
        p->plan, &p->input[SRC], &p->input[GAMMA], &p->input[BETA], NULL, NULL, &p->output[0],
        p->saved[0].data, equinv_plan_saved_size(p->plan), NULL, 0);
    if (!status)
        status = problem_output(p, p->dtype, 1, &fields);
    return status ? status : problem_output(p, p->dtype, 1, &fields);
}

static equinv_status batch_norm_run(problem *p)
{
    const equinv_tensor *const in = p->input;
    const size_t size = equinv_plan_saved_size(p->plan);
    if (p->what.pass == PASS_FORWARD)
        return equinv_batch_norm_forward_train(p->plan, &in[SRC], &in[GAMMA], &in[BETA], NULL, NULL,
                                               &p->output[0], p->saved[0].data, size, NULL, 0);
    return equinv_batch_norm_backward_train(p->plan, &in[SRC], &in[GAMMA], &in[DIFF_DST],
                                            p->saved[0].data, size, &p->output[0], &p->output[1],
                                            &p->output[2], NULL, 0);
}

const operation batch_norm_operation = {
    .name = "batch-norm",
    .purpose = "batch normalisation in training",
    .runner = {.create = batch_norm_create, .run = batch_norm_run},
    .passes = PASS_FORWARD | PASS_BACKWARD_DATA,
    MAPS(USES_IMPL),
    .limit = 1e-4,
};

/* ---- pool ----------------------------------------------------------------------------------------- */

static const word pool_words[] = {
    {"max", EQUINV_POOL_MAX},
    {"average", EQUINV_POOL_AVERAGE},
    {"global-max", EQUINV_POOL_GLOBAL_MAX},
    {"global-average", EQUINV_POOL_GLOBAL_AVERAGE},
    {"group-max", EQUINV_POOL_GROUP_MAX},
    {"group-mean", EQUINV_POOL_GROUP_MEAN},
    {"blur", EQUINV_POOL_BLUR},
    {NULL, 0},
};

static equinv_status pool_create(problem *p)
{
    const bench_case *const c = &p->what;
    equinv_pool_desc d = EQUINV_POOL_DESC_INIT;
    int64_t shape[5];
    d.kind = (equinv_pool_kind)c->kind;
    d.group = c->group;
    d.dtype = p->dtype;
    d.batch = c->batch, d.fields = c->fields_in, d.elements = case_order(c);
    d.height = c->height, d.width = c->width;
    d.kernel = c->kernel, d.stride = c->stride, d.padding = c->padding;
    d.sigma = (double)(c->kernel - 1) / 6; /* a blur of that kernel, if it is odd */
    d.impl = p->impl;
    equinv_status status = equinv_pool_plan_create(p->ctx, &d, &p->plan);
    if (status || (status = equinv_pool_output_shape(&d, shape)))
        return status;
    p->impl_name = equinv_plan_impl_name(p->plan);
    if (c->pass == PASS_FORWARD) {
        status = map_input(p);
        return status ? status : problem_output(p, p->dtype, 5, shape);
    }
    /* diff_dst, and src for the forward that fills `saved`. */
    const size_t size = equinv_plan_saved_size(p->plan);
    equinv_tensor dst;
    if ((status = problem_input(p, p->dtype, 5, shape)) || (status = map_input(p)) ||
        (status = map_output(p)) || size == 0 || (status = problem_saved(p, size)) ||
        (status = equinv_tensor_create(p->ctx, p->dtype, 5, shape, &dst)))
        return status;
    status = equinv_pool_forward(p->plan, &p->input[1], &dst, p->saved[0].data, size, NULL, 0);
    if (!status)
        status = equinv_context_synchronize(p->ctx);
    equinv_tensor_destroy(p->ctx, &dst);
    return status;
}

static equinv_status pool_run(problem *p)
{
    if (p->what.pass == PASS_FORWARD)
        return equinv_pool_forward(p->plan, &p->input[0], &p->output[0], NULL, 0, NULL, 0);
    return equinv_pool_backward(p->plan, &p->input[0], p->saved[0].data,
                                equinv_plan_saved_size(p->plan), &p->output[0], NULL, 0);
}

const operation pool_operation = {
    .name = "pool",
    .purpose = "pooling over windows, the image or the group",
    .runner = {.create = pool_create, .run = pool_run},
    .passes = PASS_FORWARD | PASS_BACKWARD_DATA,
    MAPS(USES_IMPL),
    .kinds = pool_words,
    .kernel = 2,
    .stride = 2,
    .limit = 1e-6,
};

/* ---- upsample: --stride is the scale -------------------------------------------------------------- */

static const word upsample_words[] = {
    {"nearest", EQUINV_UPSAMPLE_NEAREST},
    {"bilinear", EQUINV_UPSAMPLE_BILINEAR},
    {"corners", EQUINV_UPSAMPLE_BILINEAR_CORNERS},
    {NULL, 0},
};

static equinv_status upsample_create(problem *p)
{
    const bench_case *const c = &p->what;
    equinv_upsample_desc d = EQUINV_UPSAMPLE_DESC_INIT;
    int64_t shape[5];
    d.kind = (equinv_upsample_kind)c->kind;
    d.dtype = p->dtype;
    d.batch = c->batch, d.fields = c->fields_in, d.elements = case_order(c);
    d.height = c->height, d.width = c->width, d.scale = c->stride;
    d.impl = p->impl;
    equinv_status status = equinv_upsample_plan_create(p->ctx, &d, &p->plan);
    if (status || (status = equinv_upsample_output_shape(&d, shape)))
        return status;
    p->impl_name = equinv_plan_impl_name(p->plan);
    if (c->pass == PASS_FORWARD) {
        status = map_input(p);
        return status ? status : problem_output(p, p->dtype, 5, shape);
    }
    status = problem_input(p, p->dtype, 5, shape);
    return status ? status : map_output(p);
}

static equinv_status upsample_run(problem *p)
{
    if (p->what.pass == PASS_FORWARD)
        return equinv_upsample_forward(p->plan, &p->input[0], &p->output[0], NULL, 0);
    return equinv_upsample_backward(p->plan, &p->input[0], &p->output[0], NULL, 0);
}

const operation upsample_operation = {
    .name = "upsample",
    .purpose = "upsampling, nearest or bilinear",
    .runner = {.create = upsample_create, .run = upsample_run},
    .passes = PASS_FORWARD | PASS_BACKWARD_DATA,
    MAPS(USES_IMPL),
    .kinds = upsample_words,
    .kernel = 1,
    .stride = 2,
    .limit = 1e-6,
};

/* ---- dense ---------------------------------------------------------------------------------------- */

static equinv_status dense_create(problem *p)
{
    const bench_case *const c = &p->what;
    equinv_dense_desc d = EQUINV_DENSE_DESC_INIT;
    d.dtype = p->dtype;
    d.batch = c->batch, d.features_in = c->fields_in, d.features_out = c->fields_out;
    d.bias = false;
    d.impl = p->impl;
    equinv_status status = equinv_dense_plan_create(p->ctx, &d, &p->plan);
    if (status)
        return status;
    p->impl_name = equinv_plan_impl_name(p->plan);
    const int64_t *const src = SHAPE(d.batch, d.features_in);
    const int64_t *const dst = SHAPE(d.batch, d.features_out);
    const int64_t *const weights = SHAPE(d.features_out, d.features_in);
    const bool data = c->pass == PASS_BACKWARD_DATA, filter = c->pass == PASS_BACKWARD_WEIGHTS;
    if ((status = problem_input(p, p->dtype, 2, data ? dst : src)) ||
        (status = problem_input(p, p->dtype, 2, filter ? dst : weights)))
        return status;
    return problem_output(p, p->dtype, 2, filter ? weights : data ? src : dst);
}

static equinv_status dense_run(problem *p)
{
    const equinv_tensor *const a = &p->input[0], *const b = &p->input[1], *const y = &p->output[0];
    switch (p->what.pass) {
    case PASS_FORWARD: return equinv_dense_forward(p->plan, a, b, NULL, y, NULL, 0);
    case PASS_BACKWARD_DATA: return equinv_dense_backward_data(p->plan, a, b, y, NULL, 0);
    default: return equinv_dense_backward_weights(p->plan, a, b, y, NULL, NULL, 0);
    }
}

static double dense_products(const bench_case *c)
{
    return (double)c->batch * (double)c->fields_in * (double)c->fields_out;
}

const operation dense_operation = {
    .name = "dense",
    .purpose = "dense layer",
    .runner = {.create = dense_create, .run = dense_run},
    .passes = PASS_FORWARD | PASS_BACKWARD_DATA | PASS_BACKWARD_WEIGHTS,
    .uses = USES_OUT | USES_IMPL,
    .batch_power = 1,
    .fields_in = 1024,
    .dense = dense_products,
    .limit = 1e-5,
};
