/* The operations of layers: what they read, the descriptions of their plans, the shapes that follow. */
#include "internal/model.h"

#include <math.h>
#include <string.h>

/* ---- what the operations read */

enum {
    FIELDS = 1 << 0,
    POOL = 1 << 1,
    KERNEL = 1 << 2,
    STRIDE = 1 << 3,
    PADDING = 1 << 4,
    DILATION = 1 << 5,
    CHANNEL_GROUPS = 1 << 6,
    PADDING_MODE = 1 << 7,
    BIAS = 1 << 8,
    SLOPE = 1 << 9,
    P = 1 << 10,
    EPSILON = 1 << 11,
    MOMENTUM = 1 << 12,
    SIGMA = 1 << 13,
    OUTPUT_PADDING = 1 << 14,
    UPSAMPLE = 1 << 15,
    SCALE = 1 << 16,
    WINDOW = KERNEL | STRIDE | PADDING,
    CONVOLUTION = FIELDS | WINDOW | DILATION | CHANNEL_GROUPS | PADDING_MODE | BIAS,
    TRANSPOSED = (CONVOLUTION & ~PADDING_MODE) | OUTPUT_PADDING
};

#define KEY(member, type)                                                                          \
    {                                                                                              \
#member, offsetof(equinv_layer_desc, member), type                                         \
    }
const eqi_key eqi_keys[EQI_KEYS] = {
    KEY(fields, EQI_KEY_COUNT),
    KEY(pool, EQI_KEY_POOL),
    KEY(kernel, EQI_KEY_COUNT),
    KEY(stride, EQI_KEY_COUNT),
    KEY(padding, EQI_KEY_COUNT),
    KEY(dilation, EQI_KEY_COUNT),
    KEY(channel_groups, EQI_KEY_COUNT),
    KEY(padding_mode, EQI_KEY_PADDING),
    KEY(bias, EQI_KEY_FLAG),
    KEY(slope, EQI_KEY_REAL),
    KEY(p, EQI_KEY_REAL),
    KEY(epsilon, EQI_KEY_REAL),
    KEY(momentum, EQI_KEY_REAL),
    KEY(sigma, EQI_KEY_REAL),
    KEY(output_padding, EQI_KEY_COUNT),
    KEY(upsample, EQI_KEY_UPSAMPLE),
    KEY(scale, EQI_KEY_COUNT),
};

static const size_t key_sizes[] = {
    [EQI_KEY_COUNT] = sizeof(int64_t),
    [EQI_KEY_REAL] = sizeof(double),
    [EQI_KEY_FLAG] = sizeof(bool),
    [EQI_KEY_PADDING] = sizeof(equinv_padding_mode),
    [EQI_KEY_POOL] = sizeof(equinv_pool_kind),
    [EQI_KEY_UPSAMPLE] = sizeof(equinv_upsample_kind),
};

static equinv_status derive_conv(const equinv_model *model, eqi_node *node);
static equinv_status derive_batch_norm(const equinv_model *model, eqi_node *node);
static equinv_status derive_relu(const equinv_model *model, eqi_node *node);
static equinv_status derive_dropout(const equinv_model *model, eqi_node *node);
static equinv_status derive_add(const equinv_model *model, eqi_node *node);
static equinv_status derive_pool(const equinv_model *model, eqi_node *node);
static equinv_status derive_dense(const equinv_model *model, eqi_node *node);
static equinv_status derive_upsample(const equinv_model *model, eqi_node *node);

static const struct operation {
    const char *word;
    int32_t inputs;
    unsigned keys;
    equinv_status (*derive)(const equinv_model *model, eqi_node *node);
} operations[] = {
    [EQUINV_LAYER_CONV] = {"conv", 1, CONVOLUTION, derive_conv},
    [EQUINV_LAYER_CONV_PLANE] = {"conv-plane", 1, CONVOLUTION, derive_conv},
    [EQUINV_LAYER_BATCH_NORM] = {"batch-norm", 1, EPSILON | MOMENTUM, derive_batch_norm},
    [EQUINV_LAYER_RELU] = {"relu", 1, SLOPE, derive_relu},
    [EQUINV_LAYER_DROPOUT] = {"dropout", 1, P, derive_dropout},
    [EQUINV_LAYER_ADD] = {"add", 2, 0, derive_add},
    [EQUINV_LAYER_POOL] = {"pool", 1, POOL | WINDOW | SIGMA, derive_pool},
    [EQUINV_LAYER_DENSE] = {"dense", 1, FIELDS | BIAS, derive_dense},
    [EQUINV_LAYER_CONV_TRANSPOSED] = {"conv-transposed", 1, TRANSPOSED, derive_conv},
    [EQUINV_LAYER_CONV_PLANE_TRANSPOSED] = {"conv-plane-transposed", 1, TRANSPOSED, derive_conv},
    [EQUINV_LAYER_UPSAMPLE] = {"upsample", 1, UPSAMPLE | SCALE, derive_upsample},
};
enum { OPERATIONS = sizeof operations / sizeof *operations };

static const char *const pool_words[] = {
    [EQUINV_POOL_MAX] = "max",
    [EQUINV_POOL_AVERAGE] = "average",
    [EQUINV_POOL_GLOBAL_MAX] = "global-max",
    [EQUINV_POOL_GLOBAL_AVERAGE] = "global-average",
    [EQUINV_POOL_GROUP_MAX] = "group-max",
    [EQUINV_POOL_GROUP_MEAN] = "group-mean",
    [EQUINV_POOL_BLUR] = "blur",
};
enum { POOLS = sizeof pool_words / sizeof *pool_words };

const char *eqi_layer_op_word(equinv_layer_op op)
{
    return (unsigned)op < OPERATIONS ? operations[op].word : NULL;
}

const char *eqi_pool_word(equinv_pool_kind kind)
{
    return (unsigned)kind < POOLS ? pool_words[kind] : NULL;
}

const char *eqi_upsample_word(equinv_upsample_kind kind)
{
    static const char *const words[] = {
        [EQUINV_UPSAMPLE_NEAREST] = "nearest",
        [EQUINV_UPSAMPLE_BILINEAR] = "bilinear",
        [EQUINV_UPSAMPLE_BILINEAR_CORNERS] = "bilinear-corners",
    };
    return (unsigned)kind < sizeof words / sizeof *words ? words[kind] : NULL;
}

const char *eqi_padding_word(equinv_padding_mode mode)
{
    static const char *const words[] = {
        [EQUINV_PAD_ZEROS] = "zeros", [EQUINV_PAD_CIRCULAR] = "circular"};
    return (unsigned)mode < sizeof words / sizeof *words ? words[mode] : NULL;
}

int32_t eqi_layer_inputs(equinv_layer_op op)
{
    return operations[op].inputs;
}

unsigned eqi_layer_keys(const equinv_layer_desc *layer)
{
    const unsigned keys = operations[layer->op].keys;
    if (layer->op != EQUINV_LAYER_POOL)
        return keys;
    switch (layer->pool) {
    case EQUINV_POOL_MAX:
    case EQUINV_POOL_AVERAGE: return keys & ~(unsigned)SIGMA;
    case EQUINV_POOL_BLUR: return keys & ~(unsigned)KERNEL;
    default: return POOL;
    }
}

void eqi_layer_copy(const equinv_layer_desc *layer, equinv_layer_desc *to)
{
    const unsigned keys = eqi_layer_keys(layer);
    for (int i = 0; i < EQI_KEYS; i++)
        if (keys >> i & 1)
            memcpy((char *)to + eqi_keys[i].offset, (const char *)layer + eqi_keys[i].offset,
                   key_sizes[eqi_keys[i].type]);
}

/* ---- from a node to the descriptions of its plans */

static const eqi_node *input_of(const equinv_model *model, const eqi_node *node)
{
    return model->nodes[node->from[0]];
}

equinv_conv_desc eqi_model_conv_desc(const equinv_model *model, const eqi_node *node, int64_t batch)
{
    const int64_t *const src = input_of(model, node)->shape;
    const equinv_layer_desc *const layer = &node->desc;
    const bool plane =
        layer->op == EQUINV_LAYER_CONV_PLANE || layer->op == EQUINV_LAYER_CONV_PLANE_TRANSPOSED;
    equinv_conv_desc d = EQUINV_CONV_DESC_INIT;
    d.kind = plane                             ? EQUINV_CONV_TO_PLANE
             : src[2] == 1 && model->order > 1 ? EQUINV_CONV_LIFTING
                                               : EQUINV_CONV_REGULAR;
    d.transposed = layer->op == EQUINV_LAYER_CONV_TRANSPOSED ||
                   layer->op == EQUINV_LAYER_CONV_PLANE_TRANSPOSED;
    d.output_padding = layer->output_padding;
    d.group = model->desc.group;
    d.dtype = model->desc.dtype;
    d.batch = batch;
    d.fields_in = src[1];
    d.fields_out = layer->fields;
    d.height = src[3];
    d.width = src[4];
    d.kernel = layer->kernel;
    d.stride = layer->stride;
    d.padding = layer->padding;
    d.dilation = layer->dilation;
    d.channel_groups = layer->channel_groups;
    d.padding_mode = layer->padding_mode;
    d.bias = layer->bias;
    return d;
}

equinv_batch_norm_desc eqi_model_batch_norm_desc(const equinv_model *model, const eqi_node *node,
                                                 int64_t batch)
{
    const int64_t *const src = input_of(model, node)->shape;
    equinv_batch_norm_desc d = EQUINV_BATCH_NORM_DESC_INIT;
    d.dtype = model->desc.dtype;
    d.batch = batch;
    d.fields = src[1];
    d.elements = src[2];
    d.height = src[3];
    d.width = src[4];
    d.epsilon = node->desc.epsilon;
    d.momentum = node->desc.momentum;
    return d;
}

equinv_pool_desc eqi_model_pool_desc(const equinv_model *model, const eqi_node *node, int64_t batch)
{
    const int64_t *const src = input_of(model, node)->shape;
    equinv_pool_desc d = EQUINV_POOL_DESC_INIT;
    d.kind = node->desc.pool;
    d.group = model->desc.group;
    d.dtype = model->desc.dtype;
    d.batch = batch;
    d.fields = src[1];
    d.elements = src[2];
    d.height = src[3];
    d.width = src[4];
    d.kernel = node->desc.kernel;
    d.stride = node->desc.stride;
    d.padding = node->desc.padding;
    d.sigma = node->desc.sigma;
    return d;
}

equinv_upsample_desc eqi_model_upsample_desc(const equinv_model *model, const eqi_node *node,
                                             int64_t batch)
{
    const int64_t *const src = input_of(model, node)->shape;
    equinv_upsample_desc d = EQUINV_UPSAMPLE_DESC_INIT;
    d.kind = node->desc.upsample;
    d.dtype = model->desc.dtype;
    d.batch = batch;
    d.fields = src[1];
    d.elements = src[2];
    d.height = src[3];
    d.width = src[4];
    d.scale = node->desc.scale;
    return d;
}

equinv_dense_desc eqi_model_dense_desc(const equinv_model *model, const eqi_node *node,
                                       int64_t batch)
{
    equinv_dense_desc d = EQUINV_DENSE_DESC_INIT;
    d.dtype = model->desc.dtype;
    d.batch = batch;
    d.features_in = input_of(model, node)->count;
    d.features_out = node->desc.fields;
    d.bias = node->desc.bias;
    return d;
}

/* ---- shapes */

static void set_shape(eqi_node *node, int64_t fields, int64_t elements, int64_t height,
                      int64_t width)
{
    const int64_t shape[5] = {1, fields, elements, height, width};
    memcpy(node->shape, shape, sizeof shape);
}

/* The array's shape; it gets memory when the node becomes part of the model. */
static void set_array(const equinv_model *model, eqi_node *node, eqi_layer_array which,
                      int32_t ndim, const int64_t *shape)
{
    static const char *const words[] = {"weights", "bias",         "gamma",
                                        "beta",    "running_mean", "running_var"};
    equinv_tensor *const t = &node->array[which];
    eqi_format(node->array_name[which], sizeof node->array_name[which], "%s.%s", node->name,
               words[which]);
    t->dtype = model->desc.dtype;
    t->ndim = ndim;
    memcpy(t->shape, shape, (size_t)ndim * sizeof *shape);
}

static equinv_status derive_conv(const equinv_model *model, eqi_node *node)
{
    const eqi_node *const src = input_of(model, node);
    const equinv_conv_desc d = eqi_model_conv_desc(model, node, 1);
    EQI_CHECK(d.kind != EQUINV_CONV_TO_PLANE || src->shape[2] == model->order, SHAPE,
              "%s reads \"%s\", which has %" PRId64
              " elements, expected regular fields of %" PRId32,
              operations[node->desc.op].word, src->name, src->shape[2], model->order);
    int64_t height, width;
    EQI_TRY(equinv_conv_output_size(&d, &height, &width));
    set_shape(node, d.fields_out, d.kind == EQUINV_CONV_TO_PLANE ? 1 : model->order, height, width);
    const int64_t k = d.kernel, rows = d.transposed ? d.fields_in : d.fields_out;
    const int64_t columns = (d.transposed ? d.fields_out : d.fields_in) / d.channel_groups;
    if (d.kind == EQUINV_CONV_REGULAR)
        set_array(model, node, EQI_WEIGHTS, 5, (int64_t[]){rows, columns, model->order, k, k});
    else
        set_array(model, node, EQI_WEIGHTS, 4, (int64_t[]){rows, columns, k, k});
    if (d.bias)
        set_array(model, node, EQI_BIAS, 1, &d.fields_out);
    return EQUINV_OK;
}

static equinv_status derive_batch_norm(const equinv_model *model, eqi_node *node)
{
    const eqi_node *const src = input_of(model, node);
    const double epsilon = node->desc.epsilon, momentum = node->desc.momentum;
    EQI_CHECK(epsilon > 0 && isfinite(epsilon), ARG, "epsilon is %g, expected above 0", epsilon);
    EQI_CHECK(momentum >= 0 && momentum <= 1, ARG, "momentum is %g, expected 0 to 1", momentum);
    memcpy(node->shape, src->shape, sizeof node->shape);
    for (int which = EQI_GAMMA; which <= EQI_RUNNING_VAR; which++)
        set_array(model, node, (eqi_layer_array)which, 1, &src->shape[1]);
    return EQUINV_OK;
}

static equinv_status derive_relu(const equinv_model *model, eqi_node *node)
{
    const double slope = node->desc.slope;
    EQI_CHECK(slope >= 0 && slope < 1, ARG, "slope is %g, expected 0 to below 1", slope);
    memcpy(node->shape, input_of(model, node)->shape, sizeof node->shape);
    return EQUINV_OK;
}

static equinv_status derive_dropout(const equinv_model *model, eqi_node *node)
{
    const double p = node->desc.p;
    EQI_CHECK(p >= 0 && p < 1, ARG, "p is %g, expected 0 to below 1", p);
    memcpy(node->shape, input_of(model, node)->shape, sizeof node->shape);
    return EQUINV_OK;
}

static equinv_status derive_add(const equinv_model *model, eqi_node *node)
{
    const eqi_node *const a = input_of(model, node), *const b = model->nodes[node->from[1]];
    char has[128], expected[128];
    EQI_CHECK(memcmp(a->shape, b->shape, sizeof a->shape) == 0, SHAPE,
              "\"%s\" has shape %s, expected %s as \"%s\" has", b->name,
              eqi_shape_text(5, b->shape, has, sizeof has),
              eqi_shape_text(5, a->shape, expected, sizeof expected), a->name);
    memcpy(node->shape, a->shape, sizeof node->shape);
    return EQUINV_OK;
}

static equinv_status derive_pool(const equinv_model *model, eqi_node *node)
{
    const equinv_pool_desc d = eqi_model_pool_desc(model, node, 1);
    return equinv_pool_output_shape(&d, node->shape);
}

static equinv_status derive_upsample(const equinv_model *model, eqi_node *node)
{
    const equinv_upsample_desc d = eqi_model_upsample_desc(model, node, 1);
    return equinv_upsample_output_shape(&d, node->shape);
}

static equinv_status derive_dense(const equinv_model *model, eqi_node *node)
{
    const equinv_dense_desc d = eqi_model_dense_desc(model, node, 1);
    EQI_TRY(eqi_check_extent(d.features_out, "fields", 1));
    EQI_TRY(eqi_check_extent(d.features_in, "the number of inputs", 1));
    set_shape(node, d.features_out, 1, 1, 1);
    set_array(model, node, EQI_WEIGHTS, 2, (int64_t[]){d.features_out, d.features_in});
    if (d.bias)
        set_array(model, node, EQI_BIAS, 1, &d.features_out);
    return EQUINV_OK;
}

equinv_status eqi_layer_derive(const equinv_model *model, eqi_node *node)
{
    return operations[node->desc.op].derive(model, node);
}
