/*
 * Networks as a whole: latents of images, and a step of training. The layers of a kind are a table; field
 * counts in it are multiples of --fields-out.
 */
#include <math.h>
#include <string.h>

#include "bench/bench.h"

enum { CLASSES = 10, MOST_LAYERS = 24 };

typedef enum network { PLAIN = 1, ROT_MNIST = 2, RESNET = 3 } network;
const word network_words[] = {
    {"plain", PLAIN}, {"rot-mnist", ROT_MNIST}, {"resnet", RESNET}, {NULL, 0}};

typedef struct layer {
    const char *name;
    equinv_layer_op op;
    int wide;         /* CONV: times --fields-out */
    int kernel;       /* CONV: 0 is --kernel */
    const char *from; /* NULL: the layer before. ADD: its second input */
} layer;

#define CONV(name, wide, kernel)                                                                   \
    {                                                                                              \
        name, EQUINV_LAYER_CONV, wide, kernel, NULL                                                \
    }
#define NORM(name)                                                                                 \
    {                                                                                              \
        name, EQUINV_LAYER_BATCH_NORM, 0, 1, NULL                                                  \
    }
#define RELU(name)                                                                                 \
    {                                                                                              \
        name, EQUINV_LAYER_RELU, 0, 1, NULL                                                        \
    }
#define POOL(name)                                                                                 \
    {                                                                                              \
        name, EQUINV_LAYER_POOL, 0, 2, NULL                                                        \
    }
#define ADD(name, from)                                                                            \
    {                                                                                              \
        name, EQUINV_LAYER_ADD, 0, 1, from                                                         \
    }
#define END                                                                                        \
    {                                                                                              \
        NULL, EQUINV_LAYER_CONV, 0, 0, NULL                                                        \
    }

static const layer networks[][MOST_LAYERS] = {
    [PLAIN] = {CONV("conv1", 1, 0), NORM("norm1"), RELU("relu1"), POOL("pool1"),
               CONV("conv2", 1, 0), NORM("norm2"), RELU("relu2"), POOL("pool2"),
               CONV("latents", 1, 0), END},
    [ROT_MNIST] = {CONV("conv1", 1, 7), NORM("norm1"), RELU("relu1"), CONV("conv2", 1, 5),
                   NORM("norm2"), RELU("relu2"), POOL("pool2"), CONV("conv3", 2, 5), NORM("norm3"),
                   RELU("relu3"), CONV("conv4", 2, 3), NORM("norm4"), RELU("relu4"), POOL("pool4"),
                   CONV("conv5", 2, 3), NORM("norm5"), RELU("latents"), END},
    [RESNET] = {CONV("conv1", 1, 3), NORM("norm1"), RELU("relu1"), CONV("conv2", 1, 3),
                NORM("norm2"), RELU("relu2"), CONV("conv3", 1, 3), NORM("norm3"),
                ADD("add3", "relu1"), RELU("relu3"), CONV("conv4", 1, 3), NORM("norm4"),
                RELU("relu4"), CONV("conv5", 1, 3), NORM("norm5"), ADD("add5", "relu3"),
                RELU("latents"), END},
};

static equinv_status add(equinv_model *model, const bench_case *c, const layer *l)
{
    equinv_layer_desc d = EQUINV_LAYER_DESC_INIT;
    d.name = l->name;
    d.op = l->op;
    d.fields = l->wide * c->fields_out;
    d.kernel = l->kernel ? l->kernel : c->kernel;
    d.from[l->op == EQUINV_LAYER_ADD] = l->from;
    if (l->op == EQUINV_LAYER_CONV)
        d.padding = (d.kernel - 1) / 2;
    if (l->op == EQUINV_LAYER_POOL)
        d.stride = d.kernel;
    return equinv_model_add(model, &d);
}

/* The convolutions by themselves, as other cases time them: forward. */
static int convolutions(const bench_case *c, bench_case *list)
{
    int count = 0;
    int64_t fields = c->fields_in, height = c->height, width = c->width;
    for (const layer *l = networks[c->kind]; l->name; l++) {
        if (l->op == EQUINV_LAYER_POOL)
            height /= 2, width /= 2;
        if (l->op != EQUINV_LAYER_CONV)
            continue;
        bench_case *const conv = &list[count];
        *conv = *c;
        conv->op = count++ ? &conv_operation : &conv_lift_operation;
        conv->fields_in = fields;
        fields = conv->fields_out = l->wide * c->fields_out;
        conv->height = height, conv->width = width;
        conv->kernel = l->kernel ? l->kernel : c->kernel;
        conv->stride = conv->dilation = 1;
        conv->padding = (conv->kernel - 1) / 2;
    }
    return count;
}

/* Classes: of the latents as they are, or of their mean over the image and maximum over the group. */
static equinv_status add_head(problem *p)
{
    static const equinv_pool_kind kinds[2] = {EQUINV_POOL_GROUP_MAX, EQUINV_POOL_GLOBAL_AVERAGE};
    static const char *const names[2] = {"group", "mean"};
    equinv_status status = EQUINV_OK;
    for (int i = 0; !status && i < 2 && p->what.kind != PLAIN; i++) {
        equinv_layer_desc d = EQUINV_LAYER_DESC_INIT;
        d.name = names[i];
        d.op = EQUINV_LAYER_POOL;
        d.pool = kinds[i];
        status = equinv_model_add(p->model, &d);
    }
    equinv_layer_desc d = EQUINV_LAYER_DESC_INIT;
    d.name = "classes";
    d.op = EQUINV_LAYER_DENSE;
    d.fields = CLASSES;
    return status ? status : equinv_model_add(p->model, &d);
}

static equinv_status build(problem *p, bool head)
{
    const bench_case *const c = &p->what;
    equinv_model_desc d = EQUINV_MODEL_DESC_INIT;
    d.group = c->group;
    d.dtype = p->dtype;
    d.channels = c->fields_in, d.height = c->height, d.width = c->width;
    d.seed = c->seed;
    equinv_status status = equinv_model_create(p->ctx, &d, &p->model);
    for (const layer *l = networks[c->kind]; !status && l->name; l++)
        status = add(p->model, c, l);
    return !status && head ? add_head(p) : status;
}

/*
 * The library draws weights in the model's dtype; here they must be the same numbers in both. Vectors are
 * around what a new model has: 1 for a batch norm's gamma, else 0.
 */
static equinv_status set_weights(problem *p)
{
    const equinv_parameter *list;
    size_t count;
    equinv_status status = equinv_model_parameters(p->model, &list, &count);
    for (size_t i = 0; !status && i < count; i++) {
        const equinv_tensor *const t = &list[i].value;
        const bool gamma = strstr(list[i].name, ".gamma") != NULL;
        const double fan_in = (double)equinv_tensor_count(t) / (double)t->shape[0];
        status = problem_fill(p, t, 2 * MOST_TENSORS + i, t->ndim > 1 ? sqrt(6 / fan_in) : 0.25);
        if (!status && gamma)
            status = equinv_tensor_convert(p->ctx, t, 1, 1, t);
    }
    return status;
}

/* What a training step does with filters before its products. */
static int filters(const bench_case *c, bench_case *list)
{
    list[0] = *c;
    list[0].op = &filters_operation;
    list[0].batch = 1;
    return 1;
}

static equinv_status images(problem *p)
{
    const bench_case *const c = &p->what;
    return problem_input(p, EQUINV_F32, 4, SHAPE(c->batch, c->fields_in, c->height, c->width));
}

/* ---- extract -------------------------------------------------------------------------------------- */

static equinv_status extract_create(problem *p)
{
    int64_t shape[5];
    equinv_status status = build(p, false);
    if (status || (status = set_weights(p)) ||
        (status = equinv_model_layer_shape(p->model, "latents", shape)) || (status = images(p)))
        return status;
    shape[0] = p->what.batch;
    return problem_output(p, p->dtype, 5, shape);
}

static equinv_status extract_from(problem *p, const equinv_tensor *src, const equinv_tensor *dst)
{
    equinv_extract_desc d = EQUINV_EXTRACT_DESC_INIT;
    d.layer = "latents";
    return equinv_extract(p->model, &d, src, NULL, dst);
}

static equinv_status extract_run(problem *p)
{
    return extract_from(p, &p->input[0], &p->output[0]);
}

/* Extraction copies beside its computation. */
static equinv_status extract_run_on_host(problem *p)
{
    return extract_from(p, &p->host_input[0], &p->host_output[0]);
}

/* ---- train-step ----------------------------------------------------------------------------------- */

static equinv_status train_run(problem *p)
{
    const equinv_parameter *list;
    size_t count;
    equinv_tensor logits;
    equinv_status status = equinv_model_forward(p->model, true, &p->input[0], &logits);
    if (status ||
        (status =
             equinv_cross_entropy(p->ctx, &logits, &p->input[1], &p->output[0], &p->saved[0])) ||
        (status = equinv_model_backward(p->model, &p->saved[0])) ||
        (status = equinv_model_parameters(p->model, &list, &count)) ||
        (status = equinv_tensor_copy(p->ctx, &list[count - 1].gradient, &p->output[1])))
        return status;
    return equinv_optimizer_step(p->optimizer);
}

/*
 * Outputs: the loss, and the gradient of the last layer's bias. Compared are those of the second step, which
 * all gradients of the first one have led to. A gradient of an early layer would not do: where a unit of a
 * relu or a maximum stands at the edge, rounding decides which way it takes, while what comes out of the
 * network moves with it smoothly.
 */
static equinv_status train_create(problem *p)
{
    const bench_case *const c = &p->what;
    const equinv_optimizer_desc d = EQUINV_OPTIMIZER_DESC_INIT;
    const equinv_parameter *list;
    size_t count;
    equinv_status status = build(p, true);
    if (status || (status = set_weights(p)) ||
        (status = equinv_model_parameters(p->model, &list, &count)) ||
        (status = equinv_optimizer_create(p->ctx, &d, list, count, &p->optimizer)) ||
        (status = images(p)) || (status = problem_input(p, EQUINV_I32, 1, &c->batch)) ||
        (status = problem_output(p, p->dtype, 1, SHAPE(1))) ||
        (status = problem_output(p, p->dtype, list[count - 1].gradient.ndim,
                                 list[count - 1].gradient.shape)) ||
        (status = equinv_tensor_create(p->ctx, p->dtype, 2, SHAPE(c->batch, CLASSES),
                                       &p->saved[p->saved_count++])))
        return status;
    return train_run(p);
}

#define MODEL                                                                                      \
    .passes = PASS_FORWARD, .uses = USES_GROUP | USES_OUT | USES_KERNEL | USES_SIZE,               \
    .kinds = network_words, .batch_power = 1, .fields_in = 1, .size = 28, .kernel = 3

const operation extract_operation = {
    .name = "extract",
    .purpose = "latents of images through a network",
    .runner = {.create = extract_create, .run = extract_run, .run_on_host = extract_run_on_host},
    MODEL,
    .parts = convolutions,
    .parts_name = "convolutions",
    .limit = 1e-5,
};

const operation train_step_operation = {
    .name = "train-step",
    .purpose = "forward, loss, backward and Adam's step of a network",
    .runner = {.create = train_create, .run = train_run},
    MODEL,
    .parts = filters,
    .parts_name = "filters packed",
    .limit = 1e-3,
};
