/* equinv train: a small equivariant network for images of digits, from MNIST's files to a model file. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/digits.h"
#include "tools/tool.h"

typedef struct options {
    const char *data, *output;
    bool as_json;
    equinv_group group;
    int64_t epochs, batch, limit;
    int64_t fields[DIGITS_STAGES];
    double learning_rate;
    uint64_t seed;
    equinv_context_desc device;
} options;

enum { KEY_GROUP = 1, KEY_EPOCHS, KEY_BATCH, KEY_RATE, KEY_FIELDS, KEY_SEED, KEY_LIMIT, KEY_JSON };

/* "8,16,16,16" */
static bool option_fields(const char *text, int64_t fields[DIGITS_STAGES])
{
    int count = 0;
    for (const char *part = text; part; count++) {
        const char *const comma = strchr(part, ',');
        char one[32];
        snprintf(one, sizeof one, "%.*s", comma ? (int)(comma - part) : 31, part);
        if (count < DIGITS_STAGES && !option_integer("--fields", one, 1, 4096, &fields[count]))
            return false;
        part = comma ? comma + 1 : NULL;
    }
    if (count != DIGITS_STAGES)
        tool_misused("--fields is \"%s\", expected %d whole numbers like 8,16,16,16", text,
                     DIGITS_STAGES);
    return count == DIGITS_STAGES;
}

static error_t parse(int key, char *argument, struct argp_state *state)
{
    options *const o = state->input;
    bool good = true;
    switch (key) {
    case ARGP_KEY_INIT: state->child_inputs[0] = &o->device; break;
    case 'o': o->output = argument; break;
    case KEY_GROUP: good = option_group(argument, &o->group); break;
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
        "with batch norm and ReLU; pool1 and pool2 are means of 2 x 2 pixels; the last ReLU is "
        "\"code\", the latents that 'equinv extract' "
        "takes; then the maximum over the group, the mean over the image, and a dense layer.\n"
        "\n"
        "Examples:\n"
        "  equinv train mnist -o digits.safetensors\n"
        "  equinv train mnist -o small.safetensors --limit 5000 --epochs 8 --seed 3\n"
        "\n"
        "Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 130 interrupted.",
    .children = (const struct argp_child[]){{&device_argp, 0, NULL, 0}, {0}},
};

/* ---- the command ---------------------------------------------------------------------------- */

typedef struct work {
    const options *options;
    equinv_context *ctx;
    digits data;
    equinv_model *model;
    double start, epoch_start, *losses, *seconds, accuracy; /* per epoch; on the test images */
} work;

/* What a failed call means: its own sentence, or the library's. */
static int refused(void)
{
    return digits_error()[0] ? tool_fail("%s", digits_error()) : tool_refused();
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
           w->data.train.images.shape[0], w->data.test.images.shape[0],
           w->data.train.images.shape[1], w->data.train.images.shape[2], w->data.classes);
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
    for (int i = 0; i < DIGITS_STAGES; i++)
        json_integer(&j, NULL, o->fields[i]);
    json_close(&j);
    json_integer(&j, "parameters", count_parameters(w->model));
    json_integer(&j, "train_images", w->data.train.images.shape[0]);
    json_integer(&j, "test_images", w->data.test.images.shape[0]);
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

static int show_progress(void *user, int64_t done, int64_t total)
{
    (void)user;
    return progress_step(NULL, done, total);
}

static void note_epoch(void *user, int64_t epoch, double loss)
{
    work *const w = user;
    const double now = tool_seconds();
    w->losses[epoch] = loss;
    w->seconds[epoch] = now - w->epoch_start;
    w->epoch_start = now;
    if (w->options->as_json)
        return;
    progress_clear();
    printf("epoch %3" PRId64 "   loss %.4f   %.1f s\n", epoch + 1, loss, w->seconds[epoch]);
    fflush(stdout);
}

static int work_through(work *w)
{
    const options *const o = w->options;
    if (equinv_context_create(&o->device, &w->ctx))
        return tool_refused();
    if (digits_load(w->ctx, o->data, o->limit, INT64_MAX, &w->data) ||
        digits_network(w->ctx, &w->data, o->group, o->fields, o->seed, &w->model))
        return refused();
    w->losses = calloc((size_t)o->epochs, sizeof *w->losses);
    w->seconds = calloc((size_t)o->epochs, sizeof *w->seconds);
    if (!w->losses || !w->seconds)
        return tool_fail("out of memory");
    if (!o->as_json)
        print_start(w, o);
    const digits_training how = {.epochs = o->epochs,
                                 .batch = o->batch,
                                 .learning_rate = o->learning_rate,
                                 .seed = o->seed,
                                 .progress = show_progress,
                                 .epoch_done = note_epoch,
                                 .user = w};
    progress_start("images");
    w->epoch_start = tool_seconds();
    const equinv_status status = digits_train(w->ctx, w->model, &w->data, &how);
    progress_clear();
    if (status)
        return refused();
    progress_start("test images");
    if (digits_accuracy(w->ctx, w->model, &w->data.test, progress_step, &w->accuracy))
        return refused();
    progress_clear();
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
    work w = {.options = &o, .start = tool_seconds()};
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
    code = work_through(&w);
    equinv_model_destroy(w.model);
    digits_free(w.ctx, &w.data);
    equinv_context_destroy(w.ctx);
    free(w.losses);
    free(w.seconds);
    return code;
}

const command train_command = {"train", "a small equivariant network from MNIST's files", run};
