/* The table of cuda_cases.h. */
#include "tests/util/cuda_cases.h"

#define TRY(call)                                                                                  \
    do {                                                                                           \
        const equinv_status status_ = (call);                                                      \
        if (status_ != EQUINV_OK)                                                                  \
            return status_;                                                                        \
    } while (0)

#define SHAPE(...)                                                                                 \
    (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), ((const int64_t[]){__VA_ARGS__})

static size_t buffer_size(const equinv_tensor *buffer)
{
    return buffer->data ? (size_t)buffer->shape[0] : 0;
}

static equinv_status give_plan_buffers(cuda_case *c)
{
    TRY(cuda_give_buffer(c, equinv_plan_saved_size(c->plan), &c->saved));
    return c->own_scratch ? cuda_give_buffer(c, equinv_plan_scratch_size(c->plan), &c->scratch)
                          : EQUINV_OK;
}

#define SCRATCH c->scratch.data, buffer_size(&c->scratch)
#define SAVED c->saved.data, buffer_size(&c->saved)

/* ---- operations without a plan ------------------------------------------------------------------ */

enum {
    ACT,
    ADD,
    CONVERT,
    CONVERT_FROM_BYTES,
    COPY,
    COPY_STRIDED,
    DROPOUT,
    HE,
    MEAN_SQUARED_ERROR,
    ORBIT_DISTANCE,
    ORBIT_MEAN,
    RELU_BACKWARD,
    RELU_FORWARD,
    TEMPLATES
};

static equinv_status free_create(cuda_case *c)
{
    for (int i = 0; i < 3; i++)
        TRY(cuda_give(c, SHAPE(2, 3, 4, 5, 5)));
    TRY(cuda_give(c, SHAPE(1)));
    TRY(cuda_give(c, SHAPE(2, 2)));
    TRY(cuda_give_as(c, EQUINV_I32, SHAPE(2, 2)));
    return cuda_give_as(c, EQUINV_U8, SHAPE(2, 3, 4, 5, 5));
}

/* The last two axes exchanged. */
static equinv_tensor turned(const equinv_tensor *t)
{
    equinv_tensor view = *t;
    view.strides[3] = t->strides[4];
    view.strides[4] = t->strides[3];
    return view;
}

static equinv_status free_run(const cuda_case *c)
{
    equinv_context *const ctx = c->ctx;
    const equinv_tensor *const x = &c->tensor[0], *const y = &c->tensor[1],
                               *const z = &c->tensor[2], *const loss = &c->tensor[3],
                               *const distance = &c->tensor[4], *const element = &c->tensor[5],
                               *const image = &c->tensor[6];
    const equinv_group group = equinv_cyclic(4);
    const equinv_tensor other = turned(x);
    switch (c->operation->kind) {
    case ACT: return equinv_act(ctx, group, 1, x, z);
    case ADD: return equinv_add(ctx, x, y, z);
    case CONVERT: return equinv_tensor_convert(ctx, x, 2.0, 0.5, z);
    case CONVERT_FROM_BYTES: return equinv_tensor_convert(ctx, image, 1.0 / 255, -0.5, z);
    case COPY: return equinv_tensor_copy(ctx, x, z);
    case COPY_STRIDED: return equinv_tensor_copy(ctx, &other, z);
    case DROPOUT: return equinv_dropout(ctx, 0.5, 7, 3, x, z);
    case HE: return equinv_init_he(ctx, 7, 2, 36, z);
    case MEAN_SQUARED_ERROR: return equinv_mean_squared_error(ctx, x, y, loss, z);
    case ORBIT_DISTANCE: return equinv_orbit_distance(ctx, group, x, y, distance, element);
    case ORBIT_MEAN: return equinv_orbit_mean(ctx, group, x, z);
    case RELU_BACKWARD: return equinv_relu_backward(ctx, 0.25, x, y, z);
    case RELU_FORWARD: return equinv_relu_forward(ctx, 0.25, x, z);
    default: return equinv_templates(ctx, (equinv_template_kind)c->operation->pass, 7, 1, z);
    }
}

static equinv_status cross_entropy_create(cuda_case *c)
{
    TRY(cuda_give(c, SHAPE(5, 7)));
    TRY(cuda_give_as(c, EQUINV_I32, SHAPE(5)));
    TRY(cuda_give_bounds(c, 7));
    TRY(cuda_give(c, SHAPE(1)));
    return cuda_give(c, SHAPE(5, 7));
}

static equinv_status cross_entropy_run(const cuda_case *c)
{
    return equinv_cross_entropy(c->ctx, &c->tensor[0], &c->tensor[1], &c->tensor[2], &c->tensor[3]);
}

/* Logits or means, labels or log variances, mask, loss, gradients. */
enum { MASKED, BINARY, DIVERGENCE };

static equinv_status masked_loss_create(cuda_case *c)
{
    const int which = c->operation->kind;
    TRY(which == MASKED ? cuda_give(c, SHAPE(3, 5, 4)) : cuda_give(c, SHAPE(3, 5)));
    TRY(which == DIVERGENCE ? cuda_give(c, SHAPE(3, 5)) : cuda_give_as(c, EQUINV_U8, SHAPE(3, 5)));
    if (which != DIVERGENCE)
        TRY(cuda_give_bounds(c, which == MASKED ? 4 : 2));
    TRY(cuda_give_as(c, EQUINV_I32, SHAPE(3, 5)));
    TRY(cuda_give_bounds(c, 6)); /* some are 0 */
    TRY(cuda_give(c, SHAPE(1)));
    TRY(which == MASKED ? cuda_give(c, SHAPE(3, 5, 4)) : cuda_give(c, SHAPE(3, 5)));
    return which == DIVERGENCE ? cuda_give(c, SHAPE(3, 5)) : EQUINV_OK;
}

static equinv_status masked_loss_run(const cuda_case *c)
{
    const equinv_tensor *const t = c->tensor;
    switch (c->operation->kind) {
    case MASKED: return equinv_cross_entropy_masked(c->ctx, &t[0], &t[1], &t[2], &t[3], &t[4]);
    case BINARY: return equinv_binary_cross_entropy(c->ctx, &t[0], &t[1], &t[2], &t[3], &t[4]);
    default: return equinv_kl_gaussian(c->ctx, &t[0], &t[1], &t[2], &t[3], &t[4], &t[5]);
    }
}

static equinv_status reparameterise_create(cuda_case *c)
{
    for (int i = 0; i < 3; i++)
        TRY(cuda_give(c, SHAPE(3, 7)));
    return EQUINV_OK;
}

static equinv_status reparameterise_run(const cuda_case *c)
{
    const equinv_tensor *const t = c->tensor;
    return c->operation->kind == 0
               ? equinv_reparameterise_forward(c->ctx, 7, 3, &t[0], &t[1], &t[2])
               : equinv_reparameterise_backward(c->ctx, 7, 3, &t[0], &t[1], &t[2]);
}

static equinv_status clip_create(cuda_case *c)
{
    TRY(cuda_give(c, SHAPE(3, 11)));
    return cuda_give(c, SHAPE(5));
}

static equinv_status clip_run(const cuda_case *c)
{
    const equinv_parameter parameters[] = {{"weights", c->tensor[0], c->tensor[0]},
                                           {"bias", c->tensor[1], c->tensor[1]}};
    return equinv_clip_gradients(c->ctx, parameters, 2, 0.125, NULL);
}

static equinv_status sorted_distance_create(cuda_case *c)
{
    TRY(cuda_give(c, SHAPE(3, 7, 1)));
    TRY(cuda_give(c, SHAPE(2, 7, 1)));
    return cuda_give(c, SHAPE(3, 2));
}

static equinv_status sorted_distance_run(const cuda_case *c)
{
    return equinv_orbit_distance(c->ctx, equinv_symmetric(), &c->tensor[0], &c->tensor[1],
                                 &c->tensor[2], NULL);
}

static equinv_status optimizer_create(cuda_case *c)
{
    equinv_optimizer_desc d = EQUINV_OPTIMIZER_DESC_INIT;
    d.kind = (equinv_optimizer_kind)c->operation->kind;
    d.momentum = d.kind == EQUINV_OPTIMIZER_SGD ? 0.9 : 0;
    d.weight_decay = 0.01;
    for (int i = 0; i < 2; i++)
        TRY(cuda_give(c, SHAPE(3, 11)));
    for (int i = 0; i < 2; i++)
        TRY(cuda_give(c, SHAPE(5)));
    const equinv_parameter parameters[] = {{"weights", c->tensor[0], c->tensor[1]},
                                           {"bias", c->tensor[2], c->tensor[3]}};
    return equinv_optimizer_create(c->ctx, &d, parameters, 2, &c->optimizer);
}

static equinv_status optimizer_run(const cuda_case *c)
{
    return equinv_optimizer_step(c->optimizer);
}

/* ---- operations with a plan --------------------------------------------------------------------- */

enum { FORWARD, BACKWARD_DATA, BACKWARD_WEIGHTS, PACKED };
enum { SRC, WEIGHTS, BIAS, DST, DIFF_DST, DIFF_SRC, DIFF_WEIGHTS, DIFF_BIAS, PACK };

static equinv_status give_filter(cuda_case *c)
{
    return c->operation->kind == EQUINV_CONV_REGULAR ? cuda_give(c, SHAPE(5, 3, 4, 3, 3))
                                                     : cuda_give(c, SHAPE(5, 3, 3, 3));
}

static equinv_status conv_create(cuda_case *c)
{
    equinv_conv_desc d = EQUINV_CONV_DESC_INIT;
    d.kind = (equinv_conv_kind)c->operation->kind;
    d.dtype = c->dtype;
    d.batch = 2, d.fields_in = 3, d.fields_out = 5, d.height = 7, d.width = 6, d.padding = 1;
    d.bias = true;
    const int64_t in = d.kind == EQUINV_CONV_LIFTING ? 1 : 4;
    const int64_t out = d.kind == EQUINV_CONV_TO_PLANE ? 1 : 4;
    TRY(equinv_conv_plan_create(c->ctx, &d, &c->plan));
    TRY(cuda_give(c, SHAPE(2, 3, in, 7, 6)));
    TRY(give_filter(c));
    TRY(cuda_give(c, SHAPE(5)));
    TRY(cuda_give(c, SHAPE(2, 5, out, 7, 6)));
    TRY(cuda_give(c, SHAPE(2, 5, out, 7, 6)));
    TRY(cuda_give(c, SHAPE(2, 3, in, 7, 6)));
    TRY(give_filter(c));
    TRY(cuda_give(c, SHAPE(5)));
    if (c->operation->pass == PACKED)
        TRY(cuda_give_as(c, EQUINV_U8, SHAPE((int64_t)equinv_plan_packed_size(c->plan))));
    return give_plan_buffers(c);
}

static equinv_status conv_run(const cuda_case *c)
{
    const equinv_tensor *const t = c->tensor;
    switch (c->operation->pass) {
    case FORWARD:
        return equinv_conv_forward(c->plan, &t[SRC], &t[WEIGHTS], &t[BIAS], &t[DST], SCRATCH);
    case BACKWARD_DATA:
        return equinv_conv_backward_data(c->plan, &t[DIFF_DST], &t[WEIGHTS], &t[DIFF_SRC], SCRATCH);
    case BACKWARD_WEIGHTS:
        return equinv_conv_backward_weights(c->plan, &t[SRC], &t[DIFF_DST], &t[DIFF_WEIGHTS],
                                            &t[DIFF_BIAS], SCRATCH);
    default:
        TRY(equinv_conv_pack(c->plan, &t[WEIGHTS], t[PACK].data, (size_t)t[PACK].shape[0]));
        return equinv_conv_forward(c->plan, &t[SRC], t[PACK].shape[0] ? &t[PACK] : &t[WEIGHTS],
                                   &t[BIAS], &t[DST], SCRATCH);
    }
}

static equinv_status dense_create(cuda_case *c)
{
    equinv_dense_desc d = EQUINV_DENSE_DESC_INIT;
    d.dtype = c->dtype;
    d.batch = 3, d.features_in = 22, d.features_out = 5;
    TRY(equinv_dense_plan_create(c->ctx, &d, &c->plan));
    for (int i = 0; i < 2; i++) { /* SRC .. DST, then DIFF_DST .. DIFF_BIAS */
        TRY(i ? cuda_give(c, SHAPE(3, 5)) : cuda_give(c, SHAPE(3, 2, 11)));
        TRY(i ? cuda_give(c, SHAPE(3, 2, 11)) : cuda_give(c, SHAPE(5, 22)));
        TRY(i ? cuda_give(c, SHAPE(5, 22)) : cuda_give(c, SHAPE(5)));
        TRY(i ? cuda_give(c, SHAPE(5)) : cuda_give(c, SHAPE(3, 5)));
    }
    return give_plan_buffers(c);
}

static equinv_status dense_run(const cuda_case *c)
{
    const equinv_tensor *const t = c->tensor;
    switch (c->operation->pass) {
    case FORWARD:
        return equinv_dense_forward(c->plan, &t[SRC], &t[WEIGHTS], &t[BIAS], &t[DST], SCRATCH);
    case BACKWARD_DATA:
        return equinv_dense_backward_data(c->plan, &t[DIFF_DST], &t[WEIGHTS], &t[DIFF_SRC],
                                          SCRATCH);
    default:
        return equinv_dense_backward_weights(c->plan, &t[SRC], &t[DIFF_DST], &t[DIFF_WEIGHTS],
                                             &t[DIFF_BIAS], SCRATCH);
    }
}

/* ---- nodes -------------------------------------------------------------------------------------- */

/* SRC .. DIFF_BIAS, then a mask. */
enum { NODE_MASK = DIFF_BIAS + 1 };

static equinv_status node_tensors(cuda_case *c, int64_t operations)
{
    for (int i = 0; i < 2; i++) { /* SRC .. DST, then DIFF_DST .. DIFF_BIAS */
        TRY(cuda_give(c, SHAPE(3, 4, 5, 5)));
        TRY(i ? cuda_give(c, SHAPE(3, 4, 5, 5)) : cuda_give(c, SHAPE(operations, 4, 4)));
        TRY(i ? cuda_give(c, SHAPE(operations, 4, 4)) : cuda_give(c, SHAPE(2, 4)));
        TRY(i ? cuda_give(c, SHAPE(2, 4)) : cuda_give(c, SHAPE(3, 4, 5, 5)));
    }
    return cuda_give_as(c, EQUINV_U8, SHAPE(3, 5));
}

static equinv_status node_linear_create(cuda_case *c)
{
    equinv_node_linear_desc d = EQUINV_NODE_LINEAR_DESC_INIT;
    d.dtype = c->dtype;
    d.batch = 3, d.nodes = 5, d.channels_in = d.channels_out = 4;
    TRY(equinv_node_linear_plan_create(c->ctx, &d, &c->plan));
    TRY(node_tensors(c, 15));
    return give_plan_buffers(c);
}

static equinv_status node_linear_run(const cuda_case *c)
{
    const equinv_tensor *const t = c->tensor, *const mask = &t[NODE_MASK];
    switch (c->operation->pass) {
    case FORWARD:
        return equinv_node_linear_forward(c->plan, &t[SRC], mask, &t[WEIGHTS], &t[BIAS], &t[DST],
                                          SCRATCH);
    case BACKWARD_DATA:
        return equinv_node_linear_backward_data(c->plan, &t[DIFF_DST], mask, &t[WEIGHTS],
                                                &t[DIFF_SRC], SCRATCH);
    default:
        return equinv_node_linear_backward_weights(c->plan, &t[SRC], mask, &t[DIFF_DST],
                                                   &t[DIFF_WEIGHTS], &t[DIFF_BIAS], SCRATCH);
    }
}

/* Parameters are rows of what linear layers have as bias. */
static equinv_tensor row_of(const equinv_tensor *t, int64_t row)
{
    equinv_tensor view = *t;
    view.ndim = 1;
    view.shape[0] = t->shape[1];
    view.strides[0] = t->strides[1];
    view.data = (char *)t->data + row * t->strides[0] * (int64_t)equinv_dtype_size(t->dtype);
    return view;
}

static equinv_status node_norm_create(cuda_case *c)
{
    equinv_node_norm_desc d = EQUINV_NODE_NORM_DESC_INIT;
    d.kind = (equinv_node_norm_kind)c->operation->kind;
    d.dtype = c->dtype, d.slope = 0.25;
    d.batch = 3, d.nodes = 5, d.channels = 4;
    TRY(equinv_node_norm_plan_create(c->ctx, &d, &c->plan));
    TRY(node_tensors(c, 1));
    return give_plan_buffers(c);
}

static equinv_status node_norm_run(const cuda_case *c)
{
    const equinv_tensor *const t = c->tensor, *const mask = &t[NODE_MASK];
    const equinv_tensor gamma = row_of(&t[BIAS], 0), beta = row_of(&t[BIAS], 1);
    const equinv_tensor diff_gamma = row_of(&t[DIFF_BIAS], 0), diff_beta = row_of(&t[DIFF_BIAS], 1);
    return c->operation->pass == FORWARD
               ? equinv_node_norm_forward(c->plan, &t[SRC], mask, &gamma, &beta, &t[DST], SCRATCH)
               : equinv_node_norm_backward(c->plan, &t[SRC], mask, &gamma, &beta, &t[DIFF_DST],
                                           &t[DIFF_SRC], &diff_gamma, &diff_beta, SCRATCH);
}

static equinv_status node_pool_create(cuda_case *c)
{
    equinv_node_pool_desc d = EQUINV_NODE_POOL_DESC_INIT;
    d.kind = (equinv_node_pool_kind)c->operation->kind;
    d.dtype = c->dtype;
    d.batch = 3, d.nodes = 5, d.channels = 4;
    TRY(equinv_node_pool_plan_create(c->ctx, &d, &c->plan));
    TRY(cuda_give(c, SHAPE(3, 4, 5, 5)));
    TRY(cuda_give(c, SHAPE(3, 2, 4)));
    TRY(cuda_give_as(c, EQUINV_U8, SHAPE(3, 5)));
    return give_plan_buffers(c);
}

static equinv_status node_pool_run(const cuda_case *c)
{
    const equinv_tensor *const t = c->tensor;
    TRY(equinv_node_pool_forward(c->plan, &t[0], &t[2], &t[1], SAVED, SCRATCH));
    return equinv_node_pool_backward(c->plan, &t[1], &t[2], SAVED, &t[0], SCRATCH);
}

static equinv_status node_outer_create(cuda_case *c)
{
    TRY(cuda_give(c, SHAPE(3, 4, 5)));
    TRY(cuda_give(c, SHAPE(3, 4, 5, 5)));
    TRY(cuda_give_as(c, EQUINV_U8, SHAPE(3, 5)));
    return cuda_give(c, SHAPE(3, 4, 5));
}

static equinv_status node_outer_run(const cuda_case *c)
{
    const equinv_tensor *const t = c->tensor;
    TRY(equinv_node_outer_forward(c->ctx, &t[0], NULL, &t[2], &t[1]));
    return equinv_node_outer_backward(c->ctx, &t[0], NULL, &t[2], &t[1], &t[3], NULL);
}

enum { FORWARD_TRAIN, FORWARD_EVAL, BACKWARD_TRAIN, BACKWARD_EVAL };

static equinv_status batch_norm_run(const cuda_case *c)
{
    enum { X, Y, DIFF_Y, DIFF_X, GAMMA, BETA, MEAN, VARIANCE, DIFF_GAMMA, DIFF_BETA };
    const equinv_tensor *const t = c->tensor;
    switch (c->operation->pass) {
    case FORWARD_TRAIN:
        return equinv_batch_norm_forward_train(c->plan, &t[X], &t[GAMMA], &t[BETA], &t[MEAN],
                                               &t[VARIANCE], &t[Y], SAVED, SCRATCH);
    case FORWARD_EVAL:
        return equinv_batch_norm_forward_eval(c->plan, &t[X], &t[GAMMA], &t[BETA], &t[MEAN],
                                              &t[VARIANCE], &t[Y], SCRATCH);
    case BACKWARD_TRAIN:
        return equinv_batch_norm_backward_train(c->plan, &t[X], &t[GAMMA], &t[DIFF_Y], SAVED,
                                                &t[DIFF_X], &t[DIFF_GAMMA], &t[DIFF_BETA], SCRATCH);
    default:
        return equinv_batch_norm_backward_eval(c->plan, &t[X], &t[GAMMA], &t[MEAN], &t[VARIANCE],
                                               &t[DIFF_Y], &t[DIFF_X], &t[DIFF_GAMMA],
                                               &t[DIFF_BETA], SCRATCH);
    }
}

/* What a backward pass reads of its forward: saved is filled, the outputs are as if it never ran. */
static equinv_status run_forward_first(cuda_case *c, int pass, int reset)
{
    cuda_operation forward = *c->operation;
    forward.pass = pass;
    const cuda_operation *const own = c->operation;
    c->operation = &forward;
    const equinv_status status = own->run(c);
    c->operation = own;
    TRY(status);
    for (int i = 0; i < reset; i++)
        TRY(cuda_case_to_device(c, i));
    return EQUINV_OK;
}

static equinv_status batch_norm_create(cuda_case *c)
{
    equinv_batch_norm_desc d = EQUINV_BATCH_NORM_DESC_INIT;
    d.dtype = c->dtype;
    d.batch = 2, d.fields = 3, d.elements = 4, d.height = 5, d.width = 3;
    TRY(equinv_batch_norm_plan_create(c->ctx, &d, &c->plan));
    for (int i = 0; i < 4; i++)
        TRY(cuda_give(c, SHAPE(2, 3, 4, 5, 3)));
    for (int i = 0; i < 6; i++)
        TRY(cuda_give(c, SHAPE(3)));
    c->tensors = 8; /* the variances */
    TRY(cuda_give_bounds(c, 1));
    c->tensors = 10;
    TRY(give_plan_buffers(c));
    return c->operation->pass == BACKWARD_TRAIN ? run_forward_first(c, FORWARD_TRAIN, 10)
                                                : EQUINV_OK;
}

static equinv_status pool_run(const cuda_case *c)
{
    const equinv_tensor *const t = c->tensor;
    return c->operation->pass == FORWARD
               ? equinv_pool_forward(c->plan, &t[0], &t[1], SAVED, SCRATCH)
               : equinv_pool_backward(c->plan, &t[1], SAVED, &t[0], SCRATCH);
}

static equinv_status pool_create(cuda_case *c)
{
    equinv_pool_desc d = EQUINV_POOL_DESC_INIT;
    int64_t shape[5];
    d.kind = (equinv_pool_kind)c->operation->kind;
    d.dtype = c->dtype;
    d.batch = 2, d.fields = 3, d.elements = 4, d.height = 7, d.width = 6, d.kernel = 3;
    TRY(equinv_pool_plan_create(c->ctx, &d, &c->plan));
    TRY(equinv_pool_output_shape(&d, shape));
    TRY(cuda_give(c, SHAPE(2, 3, 4, 7, 6)));
    TRY(cuda_give(c, 5, shape));
    TRY(give_plan_buffers(c));
    return c->operation->pass == FORWARD ? EQUINV_OK : run_forward_first(c, FORWARD, 2);
}

static equinv_status upsample_run(const cuda_case *c)
{
    const equinv_tensor *const t = c->tensor;
    return c->operation->pass == FORWARD ? equinv_upsample_forward(c->plan, &t[0], &t[1], SCRATCH)
                                         : equinv_upsample_backward(c->plan, &t[1], &t[0], SCRATCH);
}

static equinv_status upsample_create(cuda_case *c)
{
    equinv_upsample_desc d = EQUINV_UPSAMPLE_DESC_INIT;
    int64_t shape[5];
    d.kind = (equinv_upsample_kind)c->operation->kind;
    d.dtype = c->dtype;
    d.batch = 2, d.fields = 3, d.elements = 4, d.height = 4, d.width = 3;
    TRY(equinv_upsample_plan_create(c->ctx, &d, &c->plan));
    TRY(equinv_upsample_output_shape(&d, shape));
    TRY(cuda_give(c, SHAPE(2, 3, 4, 4, 3)));
    TRY(cuda_give(c, 5, shape));
    return give_plan_buffers(c);
}

static equinv_status project_run(const cuda_case *c)
{
    const equinv_tensor *const t = c->tensor;
    return c->operation->pass == FORWARD
               ? equinv_project_forward(c->projection, &t[0], NULL, &t[1], SAVED, SCRATCH)
               : equinv_project_backward(c->projection, &t[1], NULL, SAVED, &t[0], SCRATCH);
}

static equinv_status project_create(cuda_case *c)
{
    enum { BATCH = 3 };
    equinv_projection_desc d = EQUINV_PROJECTION_DESC_INIT;
    int32_t ndim;
    int64_t shape[3];
    d.kind = (equinv_projection_kind)c->operation->kind;
    d.dtype = c->dtype;
    d.k = 5, d.seed = 3;
    const bool rows = d.kind == EQUINV_PROJECT_SORT || d.kind == EQUINV_PROJECT_PROJECT_SORT;
    if (rows)
        d.group = equinv_symmetric(), d.rows = 7, d.channels = 2;
    else
        d.fields = 3, d.height = 4, d.width = 4;
    TRY(equinv_projection_create(c->ctx, &d, &c->projection));
    TRY(equinv_projection_output_shape(c->projection, BATCH, &ndim, shape));
    TRY(rows ? cuda_give(c, SHAPE(BATCH, 7, 2)) : cuda_give(c, SHAPE(BATCH, 3, 4, 4, 4)));
    TRY(cuda_give(c, ndim, shape));
    TRY(cuda_give_buffer(c, (size_t)equinv_projection_saved_size(c->projection, BATCH), &c->saved));
    if (c->own_scratch)
        TRY(cuda_give_buffer(c, equinv_projection_scratch_size(c->projection), &c->scratch));
    return c->operation->pass == FORWARD ? EQUINV_OK : run_forward_first(c, FORWARD, 2);
}

/* ---- the whole network --------------------------------------------------------------------------- */

static equinv_status add_layer(cuda_case *c, const char *name, equinv_layer_op op)
{
    equinv_layer_desc layer = EQUINV_LAYER_DESC_INIT;
    layer.name = name;
    layer.op = op;
    layer.fields = 3;
    if (op == EQUINV_LAYER_POOL)
        layer.kernel = layer.stride = 2;
    return equinv_model_add(c->model, &layer);
}

static equinv_status model_run(const cuda_case *c)
{
    equinv_tensor dst;
    TRY(equinv_model_forward(c->model, false, &c->tensor[0], &dst));
    return equinv_tensor_copy(c->ctx, &dst, &c->tensor[1]);
}

static equinv_status model_create(cuda_case *c)
{
    equinv_model_desc d = EQUINV_MODEL_DESC_INIT;
    d.dtype = c->dtype;
    d.height = d.width = 8;
    TRY(equinv_model_create(c->ctx, &d, &c->model));
    TRY(add_layer(c, "lift", EQUINV_LAYER_CONV));
    TRY(add_layer(c, "norm", EQUINV_LAYER_BATCH_NORM));
    TRY(add_layer(c, "relu", EQUINV_LAYER_RELU));
    TRY(add_layer(c, "pool", EQUINV_LAYER_POOL));
    TRY(add_layer(c, "conv", EQUINV_LAYER_CONV));
    TRY(add_layer(c, "head", EQUINV_LAYER_DENSE));
    TRY(cuda_give(c, SHAPE(2, 1, 8, 8)));
    TRY(cuda_give(c, SHAPE(2, 3)));
    /* The first call of a size makes plans and memory. */
    return run_forward_first(c, FORWARD, 2);
}

/* ---- the table ------------------------------------------------------------------------------------ */

#define FREE(name, kind)                                                                           \
    {                                                                                              \
        name, free_create, free_run, kind, 0, false, false                                         \
    }
#define CONV(name, kind)                                                                           \
    {name ", forward", conv_create, conv_run, kind, FORWARD, false, false},                        \
        {name ", packed", conv_create, conv_run, kind, PACKED, false, false},                      \
        {name ", backward data", conv_create, conv_run, kind, BACKWARD_DATA, false, false},        \
    {                                                                                              \
        name ", backward weights", conv_create, conv_run, kind, BACKWARD_WEIGHTS, false, false     \
    }
#define BOTH(name, family, kind)                                                                   \
    {name ", forward", family##_create, family##_run, kind, FORWARD, false, false},                \
    {                                                                                              \
        name ", backward", family##_create, family##_run, kind, BACKWARD_DATA, false, false        \
    }

const cuda_operation cuda_operations[] = {
    FREE("act", ACT),
    FREE("add", ADD),
    FREE("convert", CONVERT),
    FREE("convert from bytes", CONVERT_FROM_BYTES),
    FREE("copy", COPY),
    FREE("copy, strided", COPY_STRIDED),
    FREE("dropout", DROPOUT),
    FREE("init he", HE),
    FREE("mean squared error", MEAN_SQUARED_ERROR),
    FREE("orbit distance", ORBIT_DISTANCE),
    FREE("orbit mean", ORBIT_MEAN),
    FREE("relu, backward", RELU_BACKWARD),
    FREE("relu, forward", RELU_FORWARD),
    {"templates, gaussian", free_create, free_run, TEMPLATES, EQUINV_TEMPLATE_GAUSSIAN, false,
     false},
    {"templates, rademacher", free_create, free_run, TEMPLATES, EQUINV_TEMPLATE_RADEMACHER, false,
     false},
    {"cross entropy", cross_entropy_create, cross_entropy_run, 0, 0, false, false},
    {"cross entropy, masked", masked_loss_create, masked_loss_run, MASKED, 0, false, false},
    {"binary cross entropy", masked_loss_create, masked_loss_run, BINARY, 0, false, false},
    {"kl gaussian", masked_loss_create, masked_loss_run, DIVERGENCE, 0, false, false},
    {"reparameterise, forward", reparameterise_create, reparameterise_run, 0, 0, false, false},
    {"reparameterise, backward", reparameterise_create, reparameterise_run, 1, 0, false, false},
    {"clip gradients", clip_create, clip_run, 0, 0, true, false},
    {"sorted distance", sorted_distance_create, sorted_distance_run, 0, 0, false, false},
    {"optimizer, sgd", optimizer_create, optimizer_run, EQUINV_OPTIMIZER_SGD, 0, true, true},
    {"optimizer, adam", optimizer_create, optimizer_run, EQUINV_OPTIMIZER_ADAM, 0, true, true},
    CONV("conv", EQUINV_CONV_REGULAR),
    CONV("conv lifting", EQUINV_CONV_LIFTING),
    CONV("conv to plane", EQUINV_CONV_TO_PLANE),
    {"dense, forward", dense_create, dense_run, 0, FORWARD, false, false},
    {"dense, backward data", dense_create, dense_run, 0, BACKWARD_DATA, false, false},
    {"dense, backward weights", dense_create, dense_run, 0, BACKWARD_WEIGHTS, false, false},
    {"batch norm, forward train", batch_norm_create, batch_norm_run, 0, FORWARD_TRAIN, false,
     false},
    {"batch norm, forward eval", batch_norm_create, batch_norm_run, 0, FORWARD_EVAL, false, false},
    {"batch norm, backward train", batch_norm_create, batch_norm_run, 0, BACKWARD_TRAIN, false,
     false},
    {"batch norm, backward eval", batch_norm_create, batch_norm_run, 0, BACKWARD_EVAL, false,
     false},
    BOTH("pool max", pool, EQUINV_POOL_MAX),
    BOTH("pool average", pool, EQUINV_POOL_AVERAGE),
    BOTH("pool global max", pool, EQUINV_POOL_GLOBAL_MAX),
    BOTH("pool global average", pool, EQUINV_POOL_GLOBAL_AVERAGE),
    BOTH("pool group max", pool, EQUINV_POOL_GROUP_MAX),
    BOTH("pool group mean", pool, EQUINV_POOL_GROUP_MEAN),
    BOTH("pool blur", pool, EQUINV_POOL_BLUR),
    BOTH("upsample nearest", upsample, EQUINV_UPSAMPLE_NEAREST),
    BOTH("upsample bilinear", upsample, EQUINV_UPSAMPLE_BILINEAR),
    BOTH("project linear", project, EQUINV_PROJECT_LINEAR),
    BOTH("project max", project, EQUINV_PROJECT_MAX),
    BOTH("project mean", project, EQUINV_PROJECT_MEAN),
    BOTH("project mean relu", project, EQUINV_PROJECT_MEAN_RELU),
    BOTH("project mean abs", project, EQUINV_PROJECT_MEAN_ABS),
    BOTH("project mean square", project, EQUINV_PROJECT_MEAN_SQUARE),
    BOTH("project sorted", project, EQUINV_PROJECT_SORTED),
    BOTH("project orbit", project, EQUINV_PROJECT_ORBIT),
    BOTH("project sort", project, EQUINV_PROJECT_SORT),
    BOTH("project project sort", project, EQUINV_PROJECT_PROJECT_SORT),
    {"node linear, forward", node_linear_create, node_linear_run, 0, FORWARD, false, false},
    {"node linear, backward data", node_linear_create, node_linear_run, 0, BACKWARD_DATA, false,
     false},
    {"node linear, backward weights", node_linear_create, node_linear_run, 0, BACKWARD_WEIGHTS,
     false, false},
    {"node norm layer, forward", node_norm_create, node_norm_run, EQUINV_NODE_NORM_LAYER, FORWARD,
     false, false},
    {"node norm instance, backward", node_norm_create, node_norm_run, EQUINV_NODE_NORM_INSTANCE,
     BACKWARD_DATA, false, false},
    {"node pool max", node_pool_create, node_pool_run, EQUINV_NODE_POOL_MAX, 0, true, false},
    {"node outer", node_outer_create, node_outer_run, 0, 0, false, false},
    {"model forward", model_create, model_run, 0, 0, false, false},
};
const int cuda_operation_count = sizeof cuda_operations / sizeof *cuda_operations;
