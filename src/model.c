/* Building a model: its nodes, their names, the memory of their arrays and first parameters. */
#include "internal/model.h"

#include <math.h>
#include <string.h>

/* ---- nodes */

void eqi_model_release(const equinv_model *model, eqi_node *node)
{
    if (!node)
        return;
    for (int which = 0; which < EQI_ARRAYS; which++)
        equinv_tensor_destroy(model->ctx, &node->array[which]);
    for (int which = 0; which < EQI_LEARNABLE; which++)
        equinv_tensor_destroy(model->ctx, &node->gradient[which]);
    eqi_free(model->ctx, node, sizeof *node);
}

/* "one of input, conv1, .." as far as it fits. */
static const char *names_of(const equinv_model *model, char *text, size_t size)
{
    size_t used = 0;
    for (int32_t i = 0; i < model->count; i++) {
        const size_t needed = strlen(model->nodes[i]->name) + 2;
        if (used + needed + 4 >= size) {
            eqi_format(text + used, size - used, ", ..");
            break;
        }
        used +=
            (size_t)eqi_format(text + used, size - used, i ? ", %s" : "%s", model->nodes[i]->name);
    }
    return text;
}

equinv_status eqi_model_find(const equinv_model *model, const char *layer, int32_t *node)
{
    EQI_CHECK(layer, ARG, "layer is NULL, expected a name");
    for (int32_t i = 0; i < model->count; i++)
        if (strcmp(model->nodes[i]->name, layer) == 0) {
            *node = i;
            return EQUINV_OK;
        }
    char names[512];
    return eqi_fail(EQUINV_ERR_ARG, "layer is \"%.*s\", expected one of %s", EQI_LAYER_NAME, layer,
                    names_of(model, names, sizeof names));
}

equinv_status eqi_model_find_latents(const equinv_model *model, const char *layer, int32_t *node)
{
    if (layer)
        return eqi_model_find(model, layer, node);
    int32_t last = 0, spatial = 0;
    for (int32_t i = 1; i < model->count; i++) {
        const int64_t *const shape = model->nodes[i]->shape;
        if (shape[2] == model->order) {
            last = i;
            spatial = shape[3] * shape[4] > 1 ? i : spatial;
        }
    }
    EQI_CHECK(
        last > 0, ARG,
        "layer is NULL, which means the last one with regular fields, but the model has none");
    *node = spatial ? spatial : last;
    return EQUINV_OK;
}

static equinv_status check_name(const equinv_model *model, const char *name)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";
    EQI_CHECK(name, ARG, "name is NULL, expected 1 to %d letters, digits, \"_\", \"-\" or \".\"",
              EQI_LAYER_NAME - 1);
    const size_t length = strspn(name, allowed);
    EQI_CHECK(length > 0 && length < EQI_LAYER_NAME && !name[length], ARG,
              "name is \"%.80s\", expected 1 to %d letters, digits, \"_\", \"-\" or \".\"", name,
              EQI_LAYER_NAME - 1);
    for (int32_t i = 0; i < model->count; i++)
        EQI_CHECK(strcmp(model->nodes[i]->name, name) != 0, ARG,
                  "name is \"%s\", which is taken; expected a new one", name);
    return EQUINV_OK;
}

/* Which nodes it reads: from[0] NULL is the one before. */
static equinv_status resolve_inputs(const equinv_model *model, const equinv_layer_desc *layer,
                                    eqi_node *node)
{
    node->inputs = eqi_layer_inputs(layer->op);
    node->from[0] = model->count - 1;
    for (int32_t i = 0; i < node->inputs; i++) {
        EQI_CHECK(i == 0 || layer->from[i], ARG,
                  "from[1] is NULL, expected the name of the second input of %s",
                  eqi_layer_op_word(layer->op));
        if (layer->from[i] && eqi_model_find(model, layer->from[i], &node->from[i]) != EQUINV_OK)
            return eqi_fail(EQUINV_ERR_ARG, "from[%" PRId32 "]: %s", i, equinv_last_error());
        node->desc.from[i] = model->nodes[node->from[i]]->name;
    }
    EQI_CHECK(node->inputs == 2 || !layer->from[1], ARG,
              "from[1] is \"%.64s\", expected NULL: %s has one input", layer->from[1],
              eqi_layer_op_word(layer->op));
    return EQUINV_OK;
}

static equinv_status derive(const equinv_model *model, const equinv_layer_desc *layer,
                            eqi_node *node)
{
    const equinv_layer_desc defaults = EQUINV_LAYER_DESC_INIT;
    node->desc = defaults;
    node->number = model->count;
    node->desc.name = node->name;
    node->desc.op = layer->op;
    EQI_CHECK(layer->op != EQUINV_LAYER_POOL || eqi_pool_word(layer->pool), ARG,
              "pool is %d, expected one of EQUINV_POOL_", (int)layer->pool);
    EQI_CHECK(layer->op != EQUINV_LAYER_UPSAMPLE || eqi_upsample_word(layer->upsample), ARG,
              "upsample is %d, expected one of EQUINV_UPSAMPLE_", (int)layer->upsample);
    EQI_TRY(resolve_inputs(model, layer, node));
    eqi_layer_copy(layer, &node->desc);
    EQI_TRY(eqi_layer_derive(model, node));
    const int64_t factors[] = {node->shape[1], node->shape[2], node->shape[3], node->shape[4],
                               (int64_t)equinv_dtype_size(model->desc.dtype)};
    int64_t bytes;
    EQI_TRY(eqi_product_of("the output", 5, factors, &bytes));
    node->count = bytes / factors[4];
    node->flat = layer->op == EQUINV_LAYER_DENSE;
    node->learns = node->array[EQI_WEIGHTS].ndim || node->array[EQI_GAMMA].ndim;
    for (int32_t i = 0; i < node->inputs; i++)
        node->learns |= model->nodes[node->from[i]]->learns;
    return EQUINV_OK;
}

equinv_status eqi_model_prepare(const equinv_model *model, const equinv_layer_desc *layer,
                                eqi_node **node)
{
    EQI_TRY(check_name(model, layer->name));
    EQI_CHECK(eqi_layer_op_word(layer->op), ARG,
              "layer \"%s\": op is %d, expected one of EQUINV_LAYER_", layer->name, (int)layer->op);
    EQI_CHECK(model->count <= EQI_LAYERS_MAX, UNSUPPORTED,
              "layer \"%s\": the model has %d layers, expected no more", layer->name,
              EQI_LAYERS_MAX);
    void *memory;
    EQI_TRY(eqi_alloc_zeroed(model->ctx, 1, sizeof **node, "a layer", &memory));
    eqi_node *const made = memory;
    memcpy(made->name, layer->name, strlen(layer->name));
    const equinv_status status = derive(model, layer, made);
    if (status != EQUINV_OK) {
        eqi_free(model->ctx, made, sizeof *made);
        return eqi_fail(status, "layer \"%s\": %s", layer->name, equinv_last_error());
    }
    *node = made;
    return EQUINV_OK;
}

/* ---- the model */

/* Bytes of the lists for a number of nodes: parameters, slots and nodes, one after the other. */
static size_t lists_size(int32_t capacity)
{
    const size_t n = (size_t)capacity;
    return n * EQI_LEARNABLE * sizeof(equinv_parameter) + (n + 1) * sizeof(eqi_slot) +
           n * sizeof(eqi_node *);
}

/* Room for one node more, its slot and its parameters. */
static equinv_status grow(equinv_model *model)
{
    if (model->count < model->capacity)
        return EQUINV_OK;
    const int32_t old = model->capacity, wanted = old ? 2 * old : 16;
    void *memory;
    EQI_TRY(eqi_alloc_zeroed(model->ctx, 1, lists_size(wanted), "the lists of layers", &memory));
    equinv_parameter *const parameters = memory;
    eqi_slot *const slots = (eqi_slot *)(parameters + (size_t)wanted * EQI_LEARNABLE);
    eqi_node **const nodes = (eqi_node **)(slots + wanted + 1);
    if (old) {
        memcpy(nodes, model->nodes, (size_t)model->count * sizeof *nodes);
        memcpy(parameters, model->parameters, model->parameter_count * sizeof *parameters);
        eqi_free(model->ctx, model->parameters, lists_size(old));
    }
    model->parameters = parameters;
    model->slots = slots;
    model->nodes = nodes;
    model->capacity = wanted;
    return EQUINV_OK;
}

equinv_status eqi_model_allocate(const equinv_model *model, eqi_node *node)
{
    for (int which = 0; which < EQI_ARRAYS; which++) {
        equinv_tensor *const t = &node->array[which];
        if (t->ndim == 0)
            continue;
        EQI_TRY(equinv_tensor_create(model->ctx, t->dtype, t->ndim, t->shape, t));
        if (which < EQI_LEARNABLE)
            EQI_TRY(equinv_tensor_create(model->ctx, t->dtype, t->ndim, t->shape,
                                         &node->gradient[which]));
    }
    return EQUINV_OK;
}

equinv_status eqi_model_link(equinv_model *model, eqi_node *node)
{
    EQI_TRY(grow(model));
    for (int which = 0; which < EQI_LEARNABLE; which++) {
        if (node->array[which].ndim == 0)
            continue;
        model->parameters[model->parameter_count++] =
            (equinv_parameter){node->array_name[which], node->array[which], node->gradient[which]};
    }
    model->nodes[model->count++] = node;
    model->trained = false;
    eqi_model_drop_plans(model);
    return EQUINV_OK;
}

/* What was just allocated is 0 on every device, and becomes 1 there. */
static equinv_status set_to_one(const equinv_model *model, const equinv_tensor *t)
{
    return t->ndim ? equinv_tensor_convert(model->ctx, t, 1, 1, t) : EQUINV_OK;
}

/* Terms of the sum that an output is. A regular field's weights stand for |G| copies. */
static int64_t fan_in_of(const equinv_model *model, const eqi_node *node)
{
    const equinv_layer_desc *const d = &node->desc;
    if (node->desc.op == EQUINV_LAYER_DENSE)
        return node->array[EQI_WEIGHTS].shape[1];
    const int64_t *const src = model->nodes[node->from[0]]->shape;
    const int64_t terms = src[1] / d->channel_groups * src[2] * d->kernel * d->kernel;
    if (!eqi_model_conv_desc(model, node, 1).transposed)
        return terms;
    const int64_t met = terms / d->stride / d->stride;
    return met > 0 ? met : 1;
}

static equinv_status initialise(const equinv_model *model, const eqi_node *node)
{
    const equinv_tensor *const weights = &node->array[EQI_WEIGHTS];
    EQI_TRY(set_to_one(model, &node->array[EQI_GAMMA]));
    EQI_TRY(set_to_one(model, &node->array[EQI_RUNNING_VAR]));
    if (weights->ndim == 0)
        return EQUINV_OK;
    return equinv_init_he(model->ctx, model->desc.seed, (uint64_t)(node->number - 1),
                          fan_in_of(model, node), weights);
}

equinv_status equinv_model_add(equinv_model *model, const equinv_layer_desc *layer)
{
    EQI_CHECK(model, ARG, "model is NULL, expected a model");
    EQI_CHECK(layer, ARG, "layer is NULL, expected a description");
    EQI_TRY(eqi_check_desc(layer->struct_size, sizeof *layer, "equinv_layer_desc"));
    eqi_node *node;
    EQI_TRY(eqi_model_prepare(model, layer, &node));
    equinv_status status;
    EQI_TRY_GOTO(status, failed, eqi_model_allocate(model, node));
    EQI_TRY_GOTO(status, failed, initialise(model, node));
    EQI_TRY_GOTO(status, failed, eqi_model_link(model, node));
    return EQUINV_OK;
failed:
    eqi_model_release(model, node);
    return eqi_fail(status, "layer \"%s\": %s", layer->name, equinv_last_error());
}

equinv_status equinv_model_create(equinv_context *ctx, const equinv_model_desc *desc,
                                  equinv_model **model)
{
    EQI_CHECK(ctx, ARG, "ctx is NULL, expected a context");
    EQI_CHECK(desc, ARG, "desc is NULL, expected a description");
    EQI_CHECK(model, ARG, "model is NULL, expected where to put the model");
    EQI_TRY(eqi_check_desc(desc->struct_size, sizeof *desc, "equinv_model_desc"));
    EQI_TRY(eqi_check_finite_group(desc->group, "group"));
    char name[8];
    EQI_TRY(equinv_group_name(desc->group, name, sizeof name));
    EQI_CHECK(eqi_is_grid_group(desc->group), UNSUPPORTED,
              "group is %s, expected C1, C2, C4, D1, D2 or D4: others leave the pixel grid", name);
    EQI_CHECK(eqi_dtype_bit(desc->dtype) & EQI_FLOAT, DTYPE, "dtype is %s, expected f32 or f64",
              equinv_dtype_name(desc->dtype));
    EQI_TRY(eqi_check_extent(desc->channels, "channels", 1));
    EQI_TRY(eqi_check_extent(desc->height, "height", 1));
    EQI_TRY(eqi_check_extent(desc->width, "width", 1));
    EQI_CHECK(isfinite(desc->scale), ARG, "scale is %g, expected a finite number", desc->scale);
    EQI_CHECK(isfinite(desc->shift), ARG, "shift is %g, expected a finite number", desc->shift);
    const int64_t factors[] = {desc->channels, desc->height, desc->width,
                               (int64_t)equinv_dtype_size(desc->dtype)};
    int64_t bytes;
    EQI_TRY(eqi_product_of("the input image", 4, factors, &bytes));

    void *memory;
    equinv_status status;
    EQI_TRY(eqi_alloc_zeroed(ctx, 1, sizeof **model, "a model", &memory));
    equinv_model *const m = memory;
    m->ctx = ctx;
    m->desc = *desc;
    m->order = eqi_order(desc->group);
    EQI_TRY_GOTO(status, failed, grow(m));
    EQI_TRY_GOTO(status, failed, eqi_alloc_zeroed(ctx, 1, sizeof(eqi_node), "a layer", &memory));
    eqi_node *const input = memory;
    memcpy(input->name, "input", sizeof "input");
    const int64_t shape[5] = {1, desc->channels, 1, desc->height, desc->width};
    memcpy(input->shape, shape, sizeof shape);
    input->count = bytes / factors[3];
    m->nodes[m->count++] = input;
    *model = m;
    return EQUINV_OK;
failed:
    equinv_model_destroy(m);
    return status;
}

void equinv_model_destroy(equinv_model *model)
{
    if (!model)
        return;
    const equinv_context *const ctx = model->ctx;
    eqi_model_drop_plans(model);
    for (int32_t i = 0; i < model->count; i++)
        eqi_model_release(model, model->nodes[i]);
    eqi_free(ctx, model->parameters, lists_size(model->capacity));
    eqi_block_release(ctx, &model->scratch);
    eqi_block_release(ctx, &model->chunk);
    eqi_block_release(ctx, &model->output);
    eqi_block_release(ctx, &model->kept);
    eqi_block_release(ctx, &model->gradients);
    eqi_free(ctx, model, sizeof *model);
}

/* ---- questions */

equinv_tensor eqi_model_map(const equinv_model *model, const eqi_node *node, int64_t batch,
                            void *data)
{
    equinv_tensor t = {
        .data = data,
        .device = model->ctx->device,
        .dtype = model->desc.dtype,
        .ndim = 5,
        .shape = {batch, node->shape[1], node->shape[2], node->shape[3], node->shape[4]}};
    int64_t stride = 1;
    for (int32_t i = 4; i >= 0; i--) {
        t.strides[i] = stride;
        stride *= t.shape[i];
    }
    return t;
}

equinv_tensor eqi_model_view(const equinv_model *model, const eqi_node *node, int64_t batch,
                             void *data)
{
    equinv_tensor t = eqi_model_map(model, node, batch, data);
    if (node->flat)
        t.ndim = 2;
    t.strides[1] = node->flat ? 1 : t.strides[1];
    return t;
}

equinv_status equinv_model_layer_count(const equinv_model *model, int64_t *count)
{
    EQI_CHECK(model, ARG, "model is NULL, expected a model");
    EQI_CHECK(count, ARG, "count is NULL, expected where to put the number");
    *count = model->count - 1;
    return EQUINV_OK;
}

equinv_status equinv_model_layer(const equinv_model *model, int64_t index, equinv_layer_desc *layer)
{
    EQI_CHECK(model, ARG, "model is NULL, expected a model");
    EQI_CHECK(index >= 0 && index < model->count - 1, ARG,
              "index is %" PRId64 ", expected 0 to below the %" PRId32 " layers", index,
              model->count - 1);
    EQI_CHECK(layer, ARG, "layer is NULL, expected where to put the description");
    *layer = model->nodes[index + 1]->desc;
    return EQUINV_OK;
}

equinv_status equinv_model_layer_shape(const equinv_model *model, const char *layer,
                                       int64_t shape[5])
{
    EQI_CHECK(model, ARG, "model is NULL, expected a model");
    int32_t node;
    EQI_TRY(eqi_model_find(model, layer, &node));
    EQI_CHECK(shape, ARG, "shape is NULL, expected room for 5 extents");
    memcpy(shape, model->nodes[node]->shape, sizeof model->nodes[node]->shape);
    return EQUINV_OK;
}

equinv_status equinv_model_describe(const equinv_model *model, equinv_model_desc *desc)
{
    EQI_CHECK(model, ARG, "model is NULL, expected a model");
    EQI_CHECK(desc, ARG, "desc is NULL, expected where to put the description");
    *desc = model->desc;
    return EQUINV_OK;
}

equinv_status equinv_model_parameters(equinv_model *model, const equinv_parameter **parameters,
                                      size_t *count)
{
    EQI_CHECK(model, ARG, "model is NULL, expected a model");
    EQI_CHECK(parameters, ARG, "parameters is NULL, expected where to put the list");
    EQI_CHECK(count, ARG, "count is NULL, expected where to put its length");
    *parameters = model->parameters;
    *count = model->parameter_count;
    return EQUINV_OK;
}
