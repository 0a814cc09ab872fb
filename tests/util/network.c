#include "tests/util/network.h"

#include "internal/model.h"

equinv_layer_desc layer_of(equinv_layer_op op, const char *name)
{
    equinv_layer_desc d = EQUINV_LAYER_DESC_INIT;
    d.op = op;
    d.name = name;
    return d;
}

equinv_layer_desc conv_of(const char *name, int64_t fields, int64_t kernel)
{
    equinv_layer_desc d = layer_of(EQUINV_LAYER_CONV, name);
    d.fields = fields;
    d.kernel = kernel;
    d.padding = (kernel - 1) / 2;
    return d;
}

equinv_layer_desc pool_of(const char *name, equinv_pool_kind kind, int64_t kernel)
{
    equinv_layer_desc d = layer_of(EQUINV_LAYER_POOL, name);
    d.pool = kind;
    d.kernel = d.stride = kernel;
    return d;
}

equinv_layer_desc dense_of(const char *name, int64_t fields)
{
    equinv_layer_desc d = layer_of(EQUINV_LAYER_DENSE, name);
    d.fields = fields;
    return d;
}

equinv_layer_desc add_of(const char *name, const char *a, const char *b)
{
    equinv_layer_desc d = layer_of(EQUINV_LAYER_ADD, name);
    d.from[0] = a;
    d.from[1] = b;
    return d;
}

equinv_model *model_new(equinv_context *ctx, equinv_group group, equinv_dtype dtype,
                        int64_t channels, int64_t height, int64_t width)
{
    equinv_model_desc d = EQUINV_MODEL_DESC_INIT;
    d.group = group;
    d.dtype = dtype;
    d.channels = channels;
    d.height = height;
    d.width = width;
    d.seed = 1;
    equinv_model *model = NULL;
    OK(equinv_model_create(ctx, &d, &model));
    return model;
}

void model_add(equinv_model *model, equinv_layer_desc layer)
{
    OK(equinv_model_add(model, &layer));
}

/* Names "l0", "l1", ..; the model copies them. */
typedef struct builder {
    equinv_model *model;
    rng *r;
    network_options options;
    char name[16];
    int layers;
} builder;

static const char *next_name(builder *b)
{
    snprintf(b->name, sizeof b->name, "l%d", b->layers++);
    return b->name;
}

static const char *last_name(const builder *b)
{
    return b->model->nodes[b->model->count - 1]->name;
}

static const int64_t *last_shape(const builder *b)
{
    return b->model->nodes[b->model->count - 1]->shape;
}

static bool chance(builder *b, int64_t percent)
{
    return rng_range(b->r, 0, 99) < percent;
}

static void add_conv(builder *b, int64_t fields)
{
    equinv_layer_desc d = conv_of(next_name(b), fields, 2 * rng_range(b->r, 0, 1) + 1);
    d.bias = chance(b, 50);
    if (chance(b, 20))
        d.padding_mode = EQUINV_PAD_CIRCULAR;
    if (chance(b, 10)) {
        d.op = EQUINV_LAYER_CONV_TRANSPOSED;
        d.padding_mode = EQUINV_PAD_ZEROS;
    } else if (!b->options.exact && chance(b, 30)) {
        d.kernel = rng_range(b->r, 1, 4);
        d.padding = rng_range(b->r, 1, 2);
        d.stride = rng_range(b->r, 1, 2);
        d.dilation = d.kernel <= 2 ? rng_range(b->r, 1, 2) : 1;
    }
    const int64_t in = last_shape(b)[1];
    if (in % 2 == 0 && fields % 2 == 0 && chance(b, 30))
        d.channel_groups = 2;
    model_add(b->model, d);
}

static void add_activation(builder *b)
{
    if (chance(b, 60)) {
        equinv_layer_desc d = layer_of(EQUINV_LAYER_BATCH_NORM, next_name(b));
        d.momentum = 0.2;
        model_add(b->model, d);
    }
    if (chance(b, 80)) {
        equinv_layer_desc d = layer_of(EQUINV_LAYER_RELU, next_name(b));
        d.slope = chance(b, 50) ? 0 : 0.25;
        model_add(b->model, d);
    }
    if (chance(b, 25)) {
        equinv_layer_desc d = layer_of(EQUINV_LAYER_DROPOUT, next_name(b));
        d.p = 0.3;
        model_add(b->model, d);
    }
}

static void add_window(builder *b)
{
    const equinv_pool_kind kind = chance(b, 50) ? EQUINV_POOL_MAX : EQUINV_POOL_AVERAGE;
    const int64_t *const shape = last_shape(b);
    equinv_layer_desc d = pool_of(next_name(b), kind, 2);
    if (chance(b, 30)) { /* five places: exact with stride 2 on odd sizes */
        d.pool = EQUINV_POOL_BLUR;
        d.sigma = 0.6;
        d.padding = 2;
        d.stride = shape[3] % 2 && shape[4] % 2 ? 2 : 1;
    } else if (shape[3] % 2 || shape[4] % 2) {
        d.kernel = 3;
        d.stride = d.padding = 1;
    }
    if (shape[3] > 1 && shape[4] > 1)
        model_add(b->model, d);
}

/* Twice the size, by pixels or by a transposed convolution. */
static void add_larger(builder *b)
{
    const int64_t *const shape = last_shape(b);
    if (shape[2] != b->model->order || shape[3] > 6 || shape[4] > 6)
        return;
    if (chance(b, 50)) {
        equinv_layer_desc d = layer_of(EQUINV_LAYER_UPSAMPLE, next_name(b));
        d.upsample = (equinv_upsample_kind)rng_range(b->r, 1, 3);
        model_add(b->model, d);
        return;
    }
    equinv_layer_desc d = conv_of(next_name(b), rng_range(b->r, 1, 3), 3);
    d.op = EQUINV_LAYER_CONV_TRANSPOSED;
    d.stride = 2;
    d.output_padding = b->options.exact ? 0 : rng_range(b->r, 0, 1);
    model_add(b->model, d);
}

/* A residual block: the value before it is read three times, by whatever comes first. */
static void add_residual(builder *b)
{
    char before[EQI_LAYER_NAME], other[EQI_LAYER_NAME], third[EQI_LAYER_NAME];
    snprintf(before, sizeof before, "%s", last_name(b));
    const int64_t fields = last_shape(b)[1];
    const bool regular = last_shape(b)[2] == b->model->order;
    if (!regular)
        return;
    if (chance(b, 50)) /* it must not be overwritten: the add still reads it */
        add_activation(b);
    model_add(b->model, conv_of(next_name(b), fields, 3));
    add_activation(b);
    snprintf(other, sizeof other, "%s", last_name(b));
    equinv_layer_desc d = conv_of(next_name(b), fields, 1);
    d.from[0] = before;
    model_add(b->model, d);
    snprintf(third, sizeof third, "%s", last_name(b));
    model_add(b->model, add_of(next_name(b), before, other));
    model_add(b->model, add_of(next_name(b), NULL, third));
}

equinv_model *network_random(equinv_context *ctx, rng *r, network_options options)
{
    const int64_t height = rng_range(r, 5, 8);
    const int64_t width = options.exact ? height : rng_range(r, 5, 8);
    builder b = {model_new(ctx, grid_groups[rng_range(r, 0, 5)], options.dtype, rng_range(r, 1, 2),
                           height, width),
                 r, options, "", 0};
    if (chance(&b, 20)) /* something before the first parameters */
        model_add(b.model, layer_of(chance(&b, 50) ? EQUINV_LAYER_RELU : EQUINV_LAYER_BATCH_NORM,
                                    next_name(&b)));
    add_conv(&b, rng_range(r, 1, 3));
    add_activation(&b);
    for (int64_t blocks = rng_range(r, 0, 2); blocks > 0; blocks--) {
        if (chance(&b, 40))
            add_window(&b);
        if (chance(&b, 20))
            add_larger(&b);
        if (chance(&b, 50))
            add_residual(&b);
        else
            add_conv(&b, rng_range(r, 1, 3));
        add_activation(&b);
    }
    if (chance(&b, 30)) {
        equinv_layer_desc d = conv_of(next_name(&b), rng_range(r, 1, 3), 3);
        d.op = chance(&b, 70) ? EQUINV_LAYER_CONV_PLANE : EQUINV_LAYER_CONV_PLANE_TRANSPOSED;
        model_add(b.model, d);
        if (chance(&b, 30))
            add_conv(&b, 1); /* lifting again */
    } else if (chance(&b, 60)) {
        model_add(b.model,
                  pool_of(next_name(&b),
                          chance(&b, 50) ? EQUINV_POOL_GROUP_MAX : EQUINV_POOL_GROUP_MEAN, 1));
    }
    if (chance(&b, 40))
        model_add(b.model,
                  pool_of(next_name(&b),
                          chance(&b, 50) ? EQUINV_POOL_GLOBAL_MAX : EQUINV_POOL_GLOBAL_AVERAGE, 1));
    if (!options.exact) {
        equinv_layer_desc d = dense_of(next_name(&b), rng_range(r, 2, 4));
        d.bias = chance(&b, 80);
        model_add(b.model, d);
    }
    return b.model;
}

void network_disturb(rng *r, equinv_model *model)
{
    for (int32_t i = 1; i < model->count; i++)
        for (int which = 0; which < EQI_ARRAYS; which++) {
            const equinv_tensor *const t = &model->nodes[i]->array[which];
            const int64_t count = t->ndim ? equinv_tensor_count(t) : 0;
            const bool positive = which == EQI_GAMMA || which == EQI_RUNNING_VAR;
            for (int64_t k = 0; k < count && which != EQI_WEIGHTS; k++)
                tensor_set(t, k, positive ? 1.25 + rng_uniform(r) : 0.5 * rng_uniform(r));
        }
}

equinv_tensor network_images(equinv_context *ctx, rng *r, const equinv_model *model, int batch,
                             equinv_dtype dtype)
{
    const equinv_model_desc *const d = &model->desc;
    return tensor_random(ctx, r, dtype, 4, batch, (int)d->channels, (int)d->height, (int)d->width);
}

equinv_model *network_copy(equinv_context *ctx, const equinv_model *model)
{
    equinv_model *copy = NULL;
    equinv_context *const mover =
        equinv_context_device(ctx).kind == EQUINV_DEVICE_CPU ? model->ctx : ctx;
    OK(equinv_model_create(ctx, &model->desc, &copy));
    for (int32_t i = 1; i < model->count; i++) {
        model_add(copy, model->nodes[i]->desc);
        for (int which = 0; which < EQI_ARRAYS; which++)
            if (model->nodes[i]->array[which].ndim)
                OK(equinv_tensor_copy(mover, &model->nodes[i]->array[which],
                                      &copy->nodes[i]->array[which]));
    }
    OK(equinv_context_synchronize(mover));
    return copy;
}

equinv_model *network_small(equinv_context *ctx)
{
    equinv_model *const m = model_new(ctx, equinv_cyclic(4), EQUINV_F32, 1, 8, 8);
    model_add(m, conv_of("conv1", 2, 3));
    model_add(m, layer_of(EQUINV_LAYER_BATCH_NORM, "norm1"));
    model_add(m, layer_of(EQUINV_LAYER_RELU, "relu1"));
    model_add(m, pool_of("pool1", EQUINV_POOL_MAX, 2));
    equinv_layer_desc conv2 = conv_of("conv2", 2, 3);
    conv2.channel_groups = 2;
    conv2.bias = false;
    conv2.padding_mode = EQUINV_PAD_CIRCULAR;
    model_add(m, conv2);
    model_add(m, add_of("sum", "pool1", "conv2"));
    equinv_layer_desc plane = conv_of("plane", 3, 3);
    plane.op = EQUINV_LAYER_CONV_PLANE;
    model_add(m, plane);
    equinv_layer_desc group = pool_of("group", EQUINV_POOL_GROUP_MAX, 1);
    group.from[0] = "sum";
    model_add(m, group);
    model_add(m, layer_of(EQUINV_LAYER_DROPOUT, "drop"));
    model_add(m, pool_of("mean", EQUINV_POOL_GLOBAL_AVERAGE, 1));
    model_add(m, dense_of("logits", 3));
    return m;
}

small_case small_new(uint64_t seed, int images, equinv_dtype dtype)
{
    small_case c = {.ctx = context_new(), .r = {seed}};
    c.model = network_small(c.ctx);
    c.images = network_images(c.ctx, &c.r, c.model, images, dtype);
    return c;
}

void small_free(small_case *c)
{
    equinv_tensor_destroy(c->ctx, &c->images);
    equinv_model_destroy(c->model);
    equinv_context_destroy(c->ctx);
}
