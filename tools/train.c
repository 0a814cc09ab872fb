/* equinv train: a small equivariant network for images of digits, from MNIST's files to a model file. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/tool.h"

enum { STAGES = 4 };

typedef struct options {
    const char *data, *output;
    bool as_json;
    equinv_group group;
    int64_t epochs, batch, limit;
    int64_t fields[STAGES];
    double learning_rate;
    uint64_t seed;
    equinv_context_desc device;
} options;

enum { KEY_GROUP = 1, KEY_EPOCHS, KEY_BATCH, KEY_RATE, KEY_FIELDS, KEY_SEED, KEY_LIMIT, KEY_JSON };

/* "8,16,16,16" */
static bool option_fields(const char *text, int64_t fields[STAGES])
{
    int count = 0;
    for (const char *part = text; part; count++) {
        const char *const comma = strchr(part, ',');
        char one[32];
        snprintf(one, sizeof one, "%.*s", comma ? (int)(comma - part) : 31, part);
        if (count < STAGES && !option_integer("--fields", one, 1, 4096, &fields[count]))
            return false;
        part = comma ? comma + 1 : NULL;
    }
    if (count != STAGES)
        tool_misused("--fields is \"%s\", expected %d whole numbers like 8,16,16,16", text, STAGES);
    return count == STAGES;
}

static error_t parse(int key, char *argument, struct argp_state *state)
{
    options *const o = state->input;
    bool good = true;
    switch (key) {
    case ARGP_KEY_INIT: state->child_inputs[0] = &o->device; break;
    case 'o': o->output = argument; break;
    case KEY_GROUP:
        good = equinv_group_parse(argument, &o->group) == EQUINV_OK;
        if (!good)
            tool_misused("--group: %s", equinv_last_error());
        break;
    case KEY_EPOCHS: good = option_integer("--epochs", argument, 1, 100000, &o->epochs); break;
    case KEY_BATCH: good = option_integer("--batch", argument, 1, 1 << 20, &o->batch); break;
    case KEY_RATE:
        good = option_number("--learning-rate", argument, &o->learning_rate);
        if (good && !(o->learning_rate > 0 && o->learning_rate <= 1)) {
            tool_misused("--learning-rate is \"%s\", expected a number above 0 and up to 1",
                         argument);
            good = false;
        }
        break;
    case KEY_FIELDS: good = option_fields(argument, o->fields); break;
    case KEY_SEED: good = option_seed("--seed", argument, &o->seed); break;
    case KEY_LIMIT: good = option_integer("--limit", argument, 1, INT64_MAX, &o->limit); break;
    case KEY_JSON: o->as_json = true; break;
    case ARGP_KEY_ARG:
        good = !o->data;
        if (!good)
            tool_misused("unexpected argument \"%s\", expected one folder of data", argument);
        o->data = argument;
        break;
    default: return ARGP_ERR_UNKNOWN;
    }
    return good ? 0 : EINVAL;
}

static const struct argp argp = {
    .options =
        (const struct argp_option[]){
            {"output", 'o', "MODEL", 0, "the model file, safetensors", 0},
            {"group", KEY_GROUP, "GROUP", 0, "C1, C2, C4 (the default), D1, D2 or D4", 0},
            {"epochs", KEY_EPOCHS, "N", 0, "passes over the training images; default 10", 0},
            {"batch", KEY_BATCH, "N", 0, "images for one step; default 32", 0},
            {"learning-rate", KEY_RATE, "X", 0,
             "of Adam's first step, default 0.01; it falls to 0 along half a cosine", 0},
            {"fields", KEY_FIELDS, "A,B,C,D", 0,
             "fields of the four convolutions; default 8,16,16,16", 0},
            {"seed", KEY_SEED, "SEED", 0,
             "seed of the first weights and of the order of the images; default 0", 0},
            {"limit", KEY_LIMIT, "N", 0, "train on the first N images alone", 0},
            {"json", KEY_JSON, NULL, 0, "print one JSON object at the end instead of lines", 0},
            {0},
        },
    .parser = parse,
    .args_doc = "DATA -o MODEL",
    .doc =
        "Trains a small network whose inner layers are equivariant under the group and whose "
        "answer "
        "is invariant, tells its accuracy on the test images and saves it.\v"
        "DATA is a folder with MNIST's four files, each plain or with .gz at its end:\n"
        "  train-images-idx3-ubyte   train-labels-idx1-ubyte\n"
        "  t10k-images-idx3-ubyte    t10k-labels-idx1-ubyte\n"
        "Images are square with sides that divide by 4; classes are counted from the labels.\n"
        "\n"
        "Layers: lift (5 x 5), pool1, conv2 (5 x 5), pool2, conv3, conv4 (3 x 3), each convolution "
        "with batch norm and ReLU; the last ReLU is \"code\", the latents that 'equinv extract' "
        "takes; then the maximum over the group, the mean over the image, and a dense layer.\n"
        "\n"
        "Examples:\n"
        "  equinv train mnist -o digits.safetensors\n"
        "  equinv train mnist -o small.safetensors --limit 5000 --epochs 8 --seed 3\n"
        "\n"
        "Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 130 interrupted.",
    .children = (const struct argp_child[]){{&device_argp, 0, NULL, 0}, {0}},
};

/* ---- data ----------------------------------------------------------------------------------- */

typedef struct examples {
    equinv_tensor images; /* U8 [N, H, W] */
    equinv_tensor labels; /* I32 [N] */
} examples;

typedef struct work {
    equinv_context *ctx;
    examples train, test;
    int64_t used, classes; /* training images after --limit */
    equinv_model *model;
    equinv_optimizer *optimizer;
    int64_t *order;                               /* of the training images */
    equinv_tensor images, labels, loss, gradient; /* one batch */
    double start, *losses, *seconds, accuracy;    /* per epoch; on the test images */
} work;

/* folder/name or folder/name.gz; -1, or the exit code. */
static int load(work *w, const char *folder, const char *name, int32_t ndim, equinv_tensor *array)
{
    char path[4096], has[200];
    const char *const endings[] = {"", ".gz"};
    bool found = false;
    for (int i = 0; i < 2 && !found; i++) {
        if (snprintf(path, sizeof path, "%s/%s%s", folder, name, endings[i]) >= (int)sizeof path)
            return tool_fail("the name of the folder is longer than %zu bytes", sizeof path);
        found = access(path, F_OK) == 0;
    }
    if (!found)
        return tool_fail("%s has neither %s nor %s.gz (%s)", folder, name, name, strerror(errno));
    if (equinv_tensor_load(w->ctx, path, array))
        return tool_refused();
    if (array->ndim != ndim || array->dtype != EQUINV_U8)
        return tool_fail("%s has shape %s of %s, expected %s of u8", path,
                         shape_text(array->ndim, array->shape, has, sizeof has),
                         equinv_dtype_name(array->dtype), ndim == 3 ? "[N, H, W]" : "[N]");
    return -1;
}

static int load_examples(work *w, const char *folder, const char *images, const char *labels,
                         examples *e)
{
    equinv_tensor bytes = {0};
    int code = load(w, folder, images, 3, &e->images);
    if (code < 0)
        code = load(w, folder, labels, 1, &bytes);
    if (code < 0 && bytes.shape[0] != e->images.shape[0])
        code = tool_fail("%s has %" PRId64 " labels for %" PRId64 " images of %s", labels,
                         bytes.shape[0], e->images.shape[0], images);
    if (code < 0 && bytes.shape[0] == 0)
        code = tool_fail("%s/%s is empty, expected at least one image", folder, images);
    if (code < 0 && (equinv_tensor_create(w->ctx, EQUINV_I32, 1, bytes.shape, &e->labels) ||
                     equinv_tensor_convert(w->ctx, &bytes, 1.0, 0.0, &e->labels)))
        code = tool_refused();
    equinv_tensor_destroy(w->ctx, &bytes);
    return code;
}

static int load_data(work *w, const options *o)
{
    int code =
        load_examples(w, o->data, "train-images-idx3-ubyte", "train-labels-idx1-ubyte", &w->train);
    if (code < 0)
        code =
            load_examples(w, o->data, "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte", &w->test);
    if (code >= 0)
        return code;
    const int64_t *const shape = w->train.images.shape;
    if (shape[1] != shape[2] || shape[1] % 4 != 0 || shape[1] == 0)
        return tool_fail("the images are %" PRId64 " x %" PRId64
                         ", expected square ones with sides that divide by 4",
                         shape[1], shape[2]);
    if (w->test.images.shape[1] != shape[1] || w->test.images.shape[2] != shape[2])
        return tool_fail("the test images are %" PRId64 " x %" PRId64 ", expected %" PRId64
                         " x %" PRId64 " like the training images",
                         w->test.images.shape[1], w->test.images.shape[2], shape[1], shape[2]);
    w->used = o->limit < shape[0] ? o->limit : shape[0];
    for (int64_t i = 0; i < shape[0]; i++) {
        const int32_t label = ((const int32_t *)w->train.labels.data)[i];
        w->classes = label >= w->classes ? label + 1 : w->classes;
    }
    return -1;
}

/* ---- the network ---------------------------------------------------------------------------- */

static equinv_status add(equinv_model *model, const char *name, equinv_layer_op op, int64_t fields,
                         int64_t kernel, equinv_pool_kind pool)
{
    equinv_layer_desc layer = EQUINV_LAYER_DESC_INIT;
    layer.name = name;
    layer.op = op;
    layer.fields = fields;
    layer.kernel = kernel;
    layer.padding = op == EQUINV_LAYER_CONV ? kernel / 2 : 0;
    layer.stride = op == EQUINV_LAYER_POOL ? kernel : 1;
    layer.bias = op == EQUINV_LAYER_DENSE; /* batch norm brings its own */
    layer.pool = pool;
    return equinv_model_add(model, &layer);
}

static equinv_status build(work *w, const options *o)
{
    static const struct {
        const char *conv, *norm, *relu, *pool;
        int64_t kernel;
    } stages[STAGES] = {
        {"lift", "norm1", "relu1", "pool1", 5},
        {"conv2", "norm2", "relu2", "pool2", 5},
        {"conv3", "norm3", "relu3", NULL, 3},
        {"conv4", "norm4", "code", NULL, 3},
    };
    equinv_model_desc desc = EQUINV_MODEL_DESC_INIT;
    equinv_status status;
    desc.group = o->group;
    desc.height = w->train.images.shape[1];
    desc.width = w->train.images.shape[2];
    desc.scale = 1.0 / 255; /* black stays 0, as the padding around the image is */
    desc.seed = o->seed;
    if ((status = equinv_model_create(w->ctx, &desc, &w->model)))
        return status;
    equinv_model *const m = w->model;
    for (int i = 0; i < STAGES; i++)
        if ((status = add(m, stages[i].conv, EQUINV_LAYER_CONV, o->fields[i], stages[i].kernel,
                          EQUINV_POOL_MAX)) ||
            (status = add(m, stages[i].norm, EQUINV_LAYER_BATCH_NORM, 0, 1, EQUINV_POOL_MAX)) ||
            (status = add(m, stages[i].relu, EQUINV_LAYER_RELU, 0, 1, EQUINV_POOL_MAX)) ||
            (stages[i].pool &&
             (status = add(m, stages[i].pool, EQUINV_LAYER_POOL, 0, 2, EQUINV_POOL_MAX))))
            return status;
    if ((status = add(m, "group", EQUINV_LAYER_POOL, 0, 1, EQUINV_POOL_GROUP_MAX)) ||
        (status = add(m, "space", EQUINV_LAYER_POOL, 0, 1, EQUINV_POOL_GLOBAL_AVERAGE)))
        return status;
    return add(m, "dense", EQUINV_LAYER_DENSE, w->classes, 1, EQUINV_POOL_MAX);
}

static int64_t count_parameters(equinv_model *model)
{
    const equinv_parameter *parameters;
    size_t count;
    int64_t numbers = 0;
    if (equinv_model_parameters(model, &parameters, &count))
        return 0;
    for (size_t i = 0; i < count; i++)
        numbers += equinv_tensor_count(&parameters[i].value);
    return numbers;
}

static equinv_status prepare(work *w, const options *o)
{
    const int64_t batch = o->batch < w->used ? o->batch : w->used;
    const int64_t *const shape = w->train.images.shape;
    const equinv_parameter *parameters;
    size_t count;
    equinv_optimizer_desc adam = EQUINV_OPTIMIZER_DESC_INIT;
    equinv_status status;
    adam.learning_rate = o->learning_rate;
    if ((status = build(w, o)) ||
        (status = equinv_model_parameters(w->model, &parameters, &count)) ||
        (status = equinv_optimizer_create(w->ctx, &adam, parameters, count, &w->optimizer)) ||
        (status = equinv_tensor_create(w->ctx, EQUINV_U8, 3, (int64_t[]){batch, shape[1], shape[2]},
                                       &w->images)) ||
        (status = equinv_tensor_create(w->ctx, EQUINV_I32, 1, &batch, &w->labels)) ||
        (status = equinv_tensor_create(w->ctx, EQUINV_F32, 1, (int64_t[]){1}, &w->loss)) ||
        (status = equinv_tensor_create(w->ctx, EQUINV_F32, 2, (int64_t[]){batch, w->classes},
                                       &w->gradient)))
        return status;
    return EQUINV_OK;
}

/* ---- training ------------------------------------------------------------------------------- */

/* The order of the images in an epoch: Fisher-Yates with words of Philox, the same everywhere. */
static void shuffle(work *w, uint64_t seed, int64_t epoch)
{
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    for (int64_t i = 0; i < w->used; i++)
        w->order[i] = i;
    for (int64_t i = w->used - 1; i > 0; i--) {
        /* The last word keeps this stream away from those of weights and dropout. */
        const uint32_t counter[4] = {(uint32_t)i, (uint32_t)((uint64_t)i >> 32), (uint32_t)epoch,
                                     UINT32_MAX};
        uint32_t words[4];
        equinv_philox(counter, key, words);
        const uint64_t random = (uint64_t)words[0] << 32 | words[1];
        const int64_t j = (int64_t)(random % ((uint64_t)i + 1));
        const int64_t other = w->order[j];
        w->order[j] = w->order[i];
        w->order[i] = other;
    }
}

/* One step on images order[first .. first + count - 1]; *loss is their mean. */
static equinv_status step(work *w, int64_t first, int64_t count, double *loss)
{
    const int64_t pixels = w->train.images.shape[1] * w->train.images.shape[2];
    equinv_tensor images, labels, gradient, logits;
    equinv_status status;
    for (int64_t i = 0; i < count; i++) {
        const int64_t from = w->order[first + i];
        memcpy((uint8_t *)w->images.data + i * pixels,
               (const uint8_t *)w->train.images.data + from * pixels, (size_t)pixels);
        ((int32_t *)w->labels.data)[i] = ((const int32_t *)w->train.labels.data)[from];
    }
    if ((status = equinv_tensor_rows(&w->images, 0, count, &images)) ||
        (status = equinv_tensor_rows(&w->labels, 0, count, &labels)) ||
        (status = equinv_tensor_rows(&w->gradient, 0, count, &gradient)) ||
        (status = equinv_model_forward(w->model, true, &images, &logits)) ||
        (status = equinv_cross_entropy(w->ctx, &logits, &labels, &w->loss, &gradient)))
        return status;
    *loss = (double)*(const float *)w->loss.data;
    status = equinv_model_backward(w->model, &gradient);
    return status ? status : equinv_optimizer_step(w->optimizer);
}

static int train(work *w, const options *o)
{
    const double pi = 3.14159265358979323846;
    const int64_t total = o->epochs * w->used;
    int64_t done = 0;
    progress_start("images");
    for (int64_t epoch = 0; epoch < o->epochs; epoch++) {
        const double start = tool_seconds();
        double sum = 0, loss = 0;
        shuffle(w, o->seed, epoch);
        for (int64_t first = 0, count; first < w->used; first += count) {
            const double rate =
                o->learning_rate * 0.5 * (1 + cos(pi * (double)done / (double)total));
            count = w->used - first < o->batch ? w->used - first : o->batch;
            if (progress_step(NULL, done, total) ||
                equinv_optimizer_set_learning_rate(w->optimizer, rate) ||
                step(w, first, count, &loss))
                return tool_refused();
            sum += loss * (double)count;
            done += count;
        }
        w->losses[epoch] = sum / (double)w->used;
        w->seconds[epoch] = tool_seconds() - start;
        if (!isfinite(w->losses[epoch]))
            return tool_fail("the loss is no longer finite after epoch %" PRId64
                             "; a smaller --learning-rate than %g may help",
                             epoch + 1, o->learning_rate);
        if (!o->as_json) {
            progress_clear();
            printf("epoch %3" PRId64 "   loss %.4f   %.1f s\n", epoch + 1, w->losses[epoch],
                   w->seconds[epoch]);
            fflush(stdout);
        }
    }
    progress_step(NULL, done, total);
    progress_clear();
    return -1;
}

/* Share of the test images that the trained network names rightly. */
static int evaluate(work *w, const options *o)
{
    const int64_t total = w->test.images.shape[0];
    int64_t right = 0, count;
    progress_start("test images");
    for (int64_t first = 0; first < total; first += count) {
        equinv_tensor images, output;
        count = total - first < o->batch ? total - first : o->batch;
        if (progress_step(NULL, first, total) ||
            equinv_tensor_rows(&w->test.images, first, count, &images) ||
            equinv_model_forward(w->model, false, &images, &output))
            return tool_refused();
        const float *const logits = output.data;
        for (int64_t i = 0; i < count; i++) {
            int64_t best = 0;
            for (int64_t c = 1; c < w->classes; c++)
                if (logits[i * output.strides[0] + c * output.strides[1]] >
                    logits[i * output.strides[0] + best * output.strides[1]])
                    best = c;
            right += best == ((const int32_t *)w->test.labels.data)[first + i];
        }
    }
    progress_clear();
    w->accuracy = (double)right / (double)total;
    return tool_interrupted() ? tool_refused() : -1;
}

/* ---- the command ---------------------------------------------------------------------------- */

/* Minutes of work should not end at a folder that was never there. */
static int check_output(const char *path)
{
    char folder[4096];
    struct stat is;
    if (stat(path, &is) == 0) {
        if (S_ISDIR(is.st_mode))
            return tool_fail("%s is a folder, expected the name of a model file", path);
        if (!S_ISREG(is.st_mode))
            return -1; /* written through */
    }
    const char *const slash = strrchr(path, '/');
    if (slash && snprintf(folder, sizeof folder, "%.*s", (int)(slash - path + 1), path) >=
                     (int)sizeof folder)
        return tool_fail("the name of the model file is longer than %zu bytes", sizeof folder);
    if (access(slash ? folder : ".", W_OK | X_OK) != 0)
        return tool_fail("%s cannot be written: %s", path, strerror(errno));
    return -1;
}

static void print_start(const work *w, const options *o)
{
    char group[16] = "";
    equinv_group_name(o->group, group, sizeof group);
    printf("%" PRId64 " training and %" PRId64 " test images of %" PRId64 " x %" PRId64 ", %" PRId64
           " classes\n",
           w->used, w->test.images.shape[0], w->train.images.shape[1], w->train.images.shape[2],
           w->classes);
    printf("group %s, fields %" PRId64 ", %" PRId64 ", %" PRId64 ", %" PRId64 ", %" PRId64
           " parameters\n",
           group, o->fields[0], o->fields[1], o->fields[2], o->fields[3],
           count_parameters(w->model));
    fflush(stdout);
}

static void print_json(const work *w, const options *o)
{
    json j = {.file = stdout};
    char group[16] = "";
    equinv_group_name(o->group, group, sizeof group);
    json_open(&j, NULL, '{');
    json_text(&j, "group", group);
    json_open(&j, "fields", '[');
    for (int i = 0; i < STAGES; i++)
        json_integer(&j, NULL, o->fields[i]);
    json_close(&j);
    json_integer(&j, "parameters", count_parameters(w->model));
    json_integer(&j, "train_images", w->used);
    json_integer(&j, "test_images", w->test.images.shape[0]);
    json_integer(&j, "batch", o->batch);
    json_number(&j, "learning_rate", o->learning_rate);
    json_unsigned(&j, "seed", o->seed);
    json_open(&j, "epochs", '[');
    for (int64_t i = 0; i < o->epochs; i++) {
        json_open(&j, NULL, '{');
        json_number(&j, "loss", w->losses[i]);
        json_number(&j, "seconds", w->seconds[i]);
        json_close(&j);
    }
    json_close(&j);
    json_number(&j, "test_accuracy", w->accuracy);
    json_number(&j, "seconds", tool_seconds() - w->start);
    json_close(&j);
}

static int work_through(work *w, const options *o)
{
    if (equinv_context_create(&o->device, &w->ctx))
        return tool_refused();
    int code = load_data(w, o);
    if (code >= 0)
        return code;
    w->order = calloc((size_t)w->used, sizeof *w->order);
    w->losses = calloc((size_t)o->epochs, sizeof *w->losses);
    w->seconds = calloc((size_t)o->epochs, sizeof *w->seconds);
    if (!w->order || !w->losses || !w->seconds)
        return tool_fail("out of memory");
    if (prepare(w, o))
        return tool_refused();
    if (!o->as_json)
        print_start(w, o);
    code = train(w, o);
    if (code < 0)
        code = evaluate(w, o);
    if (code >= 0)
        return code;
    if (equinv_model_save(w->model, o->output))
        return tool_refused();
    if (o->as_json)
        print_json(w, o);
    else
        printf("test accuracy %.4f\n", w->accuracy);
    return TOOL_DONE;
}

static int run(int argc, char **argv)
{
    options o = {.group = equinv_cyclic(4),
                 .epochs = 10,
                 .batch = 32,
                 .limit = INT64_MAX,
                 .fields = {8, 16, 16, 16},
                 .learning_rate = 0.01,
                 .device = EQUINV_CONTEXT_DESC_INIT};
    work w = {.start = tool_seconds()};
    int code = tool_parse(&argp, 0, argc, argv, &o);
    if (code >= 0)
        return code;
    if (!o.data)
        return tool_misused("no folder of data was given");
    if (!o.output)
        return tool_misused("-o is missing, expected the model file to write");
    code = check_output(o.output);
    if (code >= 0)
        return code;

    tool_catch_signals();
    code = work_through(&w, &o);
    equinv_tensor *const tensors[] = {&w.gradient,     &w.loss,        &w.labels,
                                      &w.images,       &w.test.labels, &w.test.images,
                                      &w.train.labels, &w.train.images};
    equinv_optimizer_destroy(w.optimizer);
    equinv_model_destroy(w.model);
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++)
        equinv_tensor_destroy(w.ctx, tensors[i]);
    equinv_context_destroy(w.ctx);
    free(w.order);
    free(w.losses);
    free(w.seconds);
    return code;
}

const command train_command = {"train", "a small equivariant network from MNIST's files", run};
