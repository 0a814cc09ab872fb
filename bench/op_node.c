/* Layers of nodes and pairs of nodes, channels last in memory: --rows nodes, fields are channels. */
#include "bench/bench.h"

/* ---- node-linear: kinds are the orders of src and dst ------------------------------------------------ */

static const word linear_words[] = {{"2-2", 22}, {"1-1", 11}, {"1-2", 12}, {"2-1", 21}, {NULL, 0}};

/* [B, C, n] or [B, C, n, n] of row-major [B, n, C] or [B, n, n, C] */
static equinv_tensor channels_second(const equinv_tensor *t)
{
    equinv_tensor view = *t;
    for (int32_t axis = 2; axis < t->ndim; axis++) {
        view.shape[axis] = t->shape[axis - 1];
        view.strides[axis] = t->strides[axis - 1];
    }
    view.shape[1] = t->shape[t->ndim - 1];
    view.strides[1] = t->strides[t->ndim - 1];
    return view;
}

typedef enum tensor_role { SRC, DST, WEIGHTS } tensor_role;

static equinv_status add_tensor(problem *p, tensor_role role, const int64_t weights[3], bool output)
{
    const bench_case *const c = &p->what;
    const int order = role == SRC ? c->kind / 10 : c->kind % 10;
    const int64_t channels = role == SRC ? c->fields_in : c->fields_out;
    const int64_t *const places = order == 2 ? SHAPE(c->batch, c->rows, c->rows, channels)
                                             : SHAPE(c->batch, c->rows, channels);
    const int32_t ndim = role == WEIGHTS ? 3 : 2 + order;
    return (output ? problem_output : problem_input)(p, p->dtype, ndim,
                                                     role == WEIGHTS ? weights : places);
}

static equinv_status linear_create(problem *p)
{
    const bench_case *const c = &p->what;
    equinv_node_linear_desc d = EQUINV_NODE_LINEAR_DESC_INIT;
    int64_t weights[3];
    d.dtype = p->dtype;
    d.order_in = c->kind / 10, d.order_out = c->kind % 10;
    d.batch = c->batch, d.nodes = c->rows;
    d.channels_in = c->fields_in, d.channels_out = c->fields_out;
    d.bias = false;
    d.impl = p->impl;
    equinv_status status = equinv_node_linear_weights_shape(&d, weights);
    if (status || (status = equinv_node_linear_plan_create(p->ctx, &d, &p->plan)))
        return status;
    p->impl_name = equinv_plan_impl_name(p->plan);
    const bool data = c->pass == PASS_BACKWARD_DATA, filter = c->pass == PASS_BACKWARD_WEIGHTS;
    if ((status = add_tensor(p, data ? DST : SRC, weights, false)) ||
        (status = add_tensor(p, filter ? DST : WEIGHTS, weights, false)))
        return status;
    return add_tensor(p, filter ? WEIGHTS : data ? SRC : DST, weights, true);
}

static equinv_status linear_run(problem *p)
{
    const equinv_tensor a = channels_second(&p->input[0]), *const w = &p->input[1];
    if (p->what.pass == PASS_BACKWARD_WEIGHTS) {
        const equinv_tensor g = channels_second(&p->input[1]);
        return equinv_node_linear_backward_weights(p->plan, &a, NULL, &g, &p->output[0], NULL, NULL,
                                                   0);
    }
    const equinv_tensor y = channels_second(&p->output[0]);
    return p->what.pass == PASS_FORWARD
               ? equinv_node_linear_forward(p->plan, &a, NULL, w, NULL, &y, NULL, 0)
               : equinv_node_linear_backward_data(p->plan, &a, NULL, w, &y, NULL, 0);
}

/* Of all operations stacked: one matrix. */
static double linear_products(const bench_case *c)
{
    const double n = (double)c->rows, channels = (double)c->fields_in * (double)c->fields_out;
    const double operations = c->kind == 22 ? 15 : c->kind == 11 ? 2 : 5;
    const double places = (double)c->batch * n * (c->kind % 10 == 2 ? n : 1);
    return places * operations * channels;
}

/* Pairs as sums and differences, contractions of a node, contractions of a sample. */
static double linear_least(const bench_case *c)
{
    const double n = (double)c->rows, channels = (double)c->fields_in * (double)c->fields_out;
    const double in = c->kind / 10 == 2 ? 3 : 1, out = c->kind % 10 == 2 ? 3 : 1;
    const double numbers = (in == 3 ? 2 : 1) * (out == 3 ? 2 : 1);
    return (double)c->batch * channels * ((c->kind == 22 ? n * n : 0) + n * in * out + numbers);
}

static const char *const linear_impls[] = {"gemm", "ref", NULL};

const operation node_linear_operation = {
    .name = "node-linear",
    .purpose = "linear layer of nodes or pairs; kinds are orders of src and dst",
    .runner = {.create = linear_create, .run = linear_run},
    .passes = PASS_FORWARD | PASS_BACKWARD_DATA | PASS_BACKWARD_WEIGHTS,
    .uses = USES_OUT | USES_ROWS | USES_IMPL,
    .batch_power = 1,
    .kinds = linear_words,
    .fields_in = 32,
    .dense = linear_products,
    .least = linear_least,
    .limit = 1e-5,
    .impls = linear_impls,
};

/* ---- node-norm: of pairs, with a leaky ReLU ----------------------------------------------------------- */

static const word norm_words[] = {
    {"layer", EQUINV_NODE_NORM_LAYER}, {"instance", EQUINV_NODE_NORM_INSTANCE}, {NULL, 0}};

static equinv_status norm_create(problem *p)
{
    const bench_case *const c = &p->what;
    const int64_t *const shape = SHAPE(c->batch, c->rows, c->rows, c->fields_in);
    equinv_node_norm_desc d = EQUINV_NODE_NORM_DESC_INIT;
    d.kind = (equinv_node_norm_kind)c->kind;
    d.dtype = p->dtype;
    d.batch = c->batch, d.nodes = c->rows, d.channels = c->fields_in;
    d.slope = 0.1;
    d.impl = p->impl;
    equinv_status status = equinv_node_norm_plan_create(p->ctx, &d, &p->plan);
    if (status)
        return status;
    p->impl_name = equinv_plan_impl_name(p->plan);
    if ((status = problem_input(p, p->dtype, 4, shape)) ||
        (status = problem_input(p, p->dtype, 1, &c->fields_in)) ||
        (status = problem_input(p, p->dtype, 1, &c->fields_in)) ||
        (c->pass != PASS_FORWARD && (status = problem_input(p, p->dtype, 4, shape))) ||
        (status = problem_output(p, p->dtype, 4, shape)) || c->pass == PASS_FORWARD)
        return status;
    status = problem_output(p, p->dtype, 1, &c->fields_in);
    return status ? status : problem_output(p, p->dtype, 1, &c->fields_in);
}

static equinv_status norm_run(problem *p)
{
    const equinv_tensor x = channels_second(&p->input[0]), y = channels_second(&p->output[0]);
    if (p->what.pass == PASS_FORWARD)
        return equinv_node_norm_forward(p->plan, &x, NULL, &p->input[1], &p->input[2], &y, NULL, 0);
    const equinv_tensor g = channels_second(&p->input[3]);
    return equinv_node_norm_backward(p->plan, &x, NULL, &p->input[1], &p->input[2], &g, &y,
                                     &p->output[1], &p->output[2], NULL, 0);
}

const operation node_norm_operation = {
    .name = "node-norm",
    .purpose = "normalisation of pairs and leaky ReLU",
    .runner = {.create = norm_create, .run = norm_run},
    .passes = PASS_FORWARD | PASS_BACKWARD_DATA,
    .uses = USES_ROWS | USES_IMPL,
    .batch_power = 1,
    .kinds = norm_words,
    .fields_in = 32,
    .limit = 1e-4,
};
