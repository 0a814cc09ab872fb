/* A step of a model's run: from its layer to the call of the operation. */
#include "internal/model_step.h"

/* An array that the layer may lack. */
static const equinv_tensor *optional(const equinv_tensor *array)
{
    return array->ndim ? array : NULL;
}

/* Every dropout layer draws with its own key: multiples of an odd number stay apart. */
static uint64_t dropout_seed(const eqi_step *s)
{
    return s->model->desc.seed + (uint64_t)s->node->number * UINT64_C(0x9e3779b97f4a7c15);
}

/* ---- forward, one function an operation */

static equinv_status forward_conv(const eqi_step *s)
{
    return eqi_conv_forward_finished(s->plan, &s->src[0], s->weights,
                                     optional(&s->node->array[EQI_BIAS]), s->finish, &s->dst,
                                     s->model->scratch.data, s->model->scratch.size);
}

static equinv_status forward_batch_norm(const eqi_step *s)
{
    const equinv_tensor *const a = s->node->array;
    if (s->train)
        return equinv_batch_norm_forward_train(s->plan, &s->src[0], &a[EQI_GAMMA], &a[EQI_BETA],
                                               &a[EQI_RUNNING_MEAN], &a[EQI_RUNNING_VAR], &s->dst,
                                               s->saved, s->saved_size, s->model->scratch.data,
                                               s->model->scratch.size);
    return equinv_batch_norm_forward_eval(s->plan, &s->src[0], &a[EQI_GAMMA], &a[EQI_BETA],
                                          &a[EQI_RUNNING_MEAN], &a[EQI_RUNNING_VAR], &s->dst,
                                          s->model->scratch.data, s->model->scratch.size);
}

static equinv_status forward_relu(const eqi_step *s)
{
    return equinv_relu_forward(s->model->ctx, s->node->desc.slope, &s->src[0], &s->dst);
}

static equinv_status forward_dropout(const eqi_step *s)
{
    if (!s->train) /* the identity, and dst is src */
        return EQUINV_OK;
    return equinv_dropout(s->model->ctx, s->node->desc.p, dropout_seed(s), s->model->steps,
                          &s->src[0], &s->dst);
}

static equinv_status forward_add(const eqi_step *s)
{
    return equinv_add(s->model->ctx, &s->src[0], &s->src[1], &s->dst);
}

static equinv_status forward_pool(const eqi_step *s)
{
    return equinv_pool_forward(s->plan, &s->src[0], &s->dst, s->saved, s->saved_size,
                               s->model->scratch.data, s->model->scratch.size);
}

static equinv_status forward_upsample(const eqi_step *s)
{
    return equinv_upsample_forward(s->plan, &s->src[0], &s->dst, s->model->scratch.data,
                                   s->model->scratch.size);
}

static equinv_tensor as_rows(const equinv_tensor *map)
{
    equinv_tensor rows = *map;
    rows.ndim = 2;
    return rows;
}

static equinv_status forward_dense(const eqi_step *s)
{
    const equinv_tensor dst = as_rows(&s->dst);
    return equinv_dense_forward(s->plan, &s->src[0], s->weights,
                                optional(&s->node->array[EQI_BIAS]), &dst, s->model->scratch.data,
                                s->model->scratch.size);
}

/* ---- backward */

static equinv_status backward_conv(const eqi_step *s)
{
    void *const scratch = s->model->scratch.data;
    const size_t size = s->model->scratch.size;
    EQI_TRY(equinv_conv_backward_weights(s->plan, &s->src[0], &s->diff_dst,
                                         &s->node->gradient[EQI_WEIGHTS],
                                         optional(&s->node->gradient[EQI_BIAS]), scratch, size));
    if (!s->diff_src.data)
        return EQUINV_OK;
    return equinv_conv_backward_data(s->plan, &s->diff_dst, s->weights, &s->diff_src, scratch,
                                     size);
}

static equinv_status backward_batch_norm(const eqi_step *s)
{
    return equinv_batch_norm_backward_train(
        s->plan, &s->src[0], &s->node->array[EQI_GAMMA], &s->diff_dst, s->saved, s->saved_size,
        &s->diff_src, &s->node->gradient[EQI_GAMMA], &s->node->gradient[EQI_BETA],
        s->model->scratch.data, s->model->scratch.size);
}

static equinv_status backward_relu(const eqi_step *s)
{
    return equinv_relu_backward(s->model->ctx, s->node->desc.slope, &s->src[0], &s->diff_dst,
                                &s->diff_src);
}

static equinv_status backward_dropout(const eqi_step *s)
{
    return equinv_dropout(s->model->ctx, s->node->desc.p, dropout_seed(s), s->model->steps,
                          &s->diff_dst, &s->diff_src);
}

static equinv_status backward_pool(const eqi_step *s)
{
    return equinv_pool_backward(s->plan, &s->diff_dst, s->saved, s->saved_size, &s->diff_src,
                                s->model->scratch.data, s->model->scratch.size);
}

static equinv_status backward_upsample(const eqi_step *s)
{
    return equinv_upsample_backward(s->plan, &s->diff_dst, &s->diff_src, s->model->scratch.data,
                                    s->model->scratch.size);
}

static equinv_status backward_dense(const eqi_step *s)
{
    void *const scratch = s->model->scratch.data;
    const size_t size = s->model->scratch.size;
    const equinv_tensor diff_dst = as_rows(&s->diff_dst);
    EQI_TRY(equinv_dense_backward_weights(s->plan, &s->src[0], &diff_dst,
                                          &s->node->gradient[EQI_WEIGHTS],
                                          optional(&s->node->gradient[EQI_BIAS]), scratch, size));
    if (!s->diff_src.data)
        return EQUINV_OK;
    return equinv_dense_backward_data(s->plan, &diff_dst, s->weights, &s->diff_src, scratch, size);
}

/* The add has no backward of its own: its gradient is that of both inputs. */
static const struct runner {
    equinv_status (*forward)(const eqi_step *);
    equinv_status (*backward)(const eqi_step *);
} runners[] = {
    [EQUINV_LAYER_CONV] = {forward_conv, backward_conv},
    [EQUINV_LAYER_CONV_PLANE] = {forward_conv, backward_conv},
    [EQUINV_LAYER_BATCH_NORM] = {forward_batch_norm, backward_batch_norm},
    [EQUINV_LAYER_RELU] = {forward_relu, backward_relu},
    [EQUINV_LAYER_DROPOUT] = {forward_dropout, backward_dropout},
    [EQUINV_LAYER_ADD] = {forward_add, NULL},
    [EQUINV_LAYER_POOL] = {forward_pool, backward_pool},
    [EQUINV_LAYER_DENSE] = {forward_dense, backward_dense},
    [EQUINV_LAYER_CONV_TRANSPOSED] = {forward_conv, backward_conv},
    [EQUINV_LAYER_CONV_PLANE_TRANSPOSED] = {forward_conv, backward_conv},
    [EQUINV_LAYER_UPSAMPLE] = {forward_upsample, backward_upsample},
};

equinv_status eqi_step_forward(const eqi_step *s)
{
    return runners[s->node->desc.op].forward(s);
}

equinv_status eqi_step_backward(const eqi_step *s)
{
    return runners[s->node->desc.op].backward(s);
}
