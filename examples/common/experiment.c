#include "experiment.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* ---- messages ------------------------------------------------------------------------------- */

void tool_say(const char *format, va_list arguments)
{
    fflush(stdout);
    fprintf(stderr, "%s: ", program_name);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
}

int tool_refused(void)
{
    return tool_fail("%s", equinv_last_error());
}

int experiment_failed(equinv_status status)
{
    return tool_fail("%s: %s", equinv_status_name(status),
                     digits_error()[0] ? digits_error() : equinv_last_error());
}

experiment experiment_default(int64_t epochs)
{
    experiment e = {
        .data = "examples/data",
        .folder = "build/paper",
        .train = 5000,
        .test = 1000,
        .epochs = epochs,
        .seed = 1,
        .device = EQUINV_CONTEXT_DESC_INIT,
    };
    e.device.device = EQUINV_DEVICE_CPU; /* the same figures on every machine that computes alike */
    return e;
}

/* ---- options -------------------------------------------------------------------------------- */

enum { KEY_DATA = 1, KEY_TRAIN, KEY_TEST, KEY_EPOCHS, KEY_SEED };

static error_t parse(int key, char *argument, struct argp_state *state)
{
    experiment *const e = state->input;
    bool good = true;
    switch (key) {
    case ARGP_KEY_INIT: state->child_inputs[0] = &e->device; break;
    case 'o': e->folder = argument; break;
    case KEY_DATA: e->data = argument; break;
    case KEY_TRAIN: good = option_integer("--train", argument, 10, INT32_MAX, &e->train); break;
    case KEY_TEST: good = option_integer("--test", argument, 10, INT32_MAX, &e->test); break;
    case KEY_EPOCHS: good = option_integer("--epochs", argument, 1, 10000, &e->epochs); break;
    case KEY_SEED: good = option_seed("--seed", argument, &e->seed); break;
    case ARGP_KEY_ARG:
        tool_misused("unexpected argument \"%s\"", argument);
        good = false;
        break;
    default: return ARGP_ERR_UNKNOWN;
    }
    return good ? 0 : EINVAL;
}

static int read_options(experiment *e, const char *doc, int argc, char **argv)
{
    const struct argp argp = {
        .options =
            (const struct argp_option[]){
                {"output", 'o', "FOLDER", 0, "where report and pictures go; default build/paper",
                 0},
                {"data", KEY_DATA, "FOLDER", 0,
                 "MNIST's four files, plain or .gz; default examples/data", 0},
                {"train", KEY_TRAIN, "N", 0, "training images used at most; default 5000", 0},
                {"test", KEY_TEST, "N", 0, "test images used at most; default 1000", 0},
                {"epochs", KEY_EPOCHS, "N", 0, "passes over the training images", 0},
                {"seed", KEY_SEED, "SEED", 0, "of weights, orders, turns and templates; default 1",
                 0},
                {0},
            },
        .parser = parse,
        .doc = doc,
        .children = (const struct argp_child[]){{&device_argp, 0, NULL, 0}, {0}},
    };
    argp_err_exit_status = TOOL_USAGE;
    return argp_parse(&argp, argc, argv, 0, NULL, e) == 0 ? -1 : TOOL_USAGE;
}

int experiment_main(experiment *e, experiment_run run, const char *doc, int argc, char **argv)
{
    place p;
    bool written = false;
    output_signals();
    const int code = read_options(e, doc, argc, argv);
    if (code >= 0)
        return code;
    equinv_status status = place_create(&e->device, &p);
    if (!status) {
        fprintf(stderr, "%s: digits from %s; %s\n", program_name, e->data,
                equinv_context_description(p.net));
        status = run(&p, e, &written);
    }
    place_destroy(&p);
    if (status)
        return experiment_failed(status);
    return written ? TOOL_DONE : TOOL_FAILED;
}

/* ---- networks ------------------------------------------------------------------------------- */

typedef struct watched {
    const training *how;
    double start;
} watched;

static int show_progress(void *user, int64_t done, int64_t total)
{
    const watched *const w = user;
    const double elapsed = seconds_now() - w->start, share = (double)done / (double)total;
    if (isatty(STDERR_FILENO) && done > 0)
        fprintf(stderr, "\rtraining: %3.0f %%, %.0f images/s, %.0f s left ", 100 * share,
                (double)done / elapsed, elapsed / share - elapsed);
    return 0;
}

static void show_epoch(void *user, int64_t epoch, double loss)
{
    const watched *const w = user;
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\rtraining: epoch %d of %d, loss %.4f                    \n",
                (int)epoch + 1, (int)w->how->epochs, loss);
}

static equinv_status augment(void *user, int64_t epoch, int64_t image, int64_t copy,
                             uint8_t *pixels)
{
    const training *const how = ((const watched *)user)->how;
    return how->augment(how->user, epoch, image, copy, pixels);
}

equinv_status train_network(const place *p, const experiment *e, const digits *d,
                            const training *how, equinv_model **model, double *seconds)
{
    watched w = {how, seconds_now()};
    const digits_training steps = {
        .epochs = how->epochs,
        .batch = how->batch,
        .copies = how->copies,
        .learning_rate = how->learning_rate,
        .weight_decay = how->weight_decay,
        .seed = e->seed,
        .progress = show_progress,
        .epoch_done = show_epoch,
        .augment = how->augment ? augment : NULL,
        .user = &w,
    };
    equinv_status status = digits_network(p->net, d, how->group, how->fields, e->seed, model);
    if (!status)
        status = digits_train(p->net, *model, d, &steps);
    *seconds = seconds_now() - w.start;
    return status;
}

/* Settings chosen on training digits alone (the last 1,000 of them held out). */
training c4_network(int64_t epochs)
{
    return (training){
        .group = equinv_cyclic(TURNS),
        .fields = {8, 16, 16, 16},
        .epochs = epochs,
        .batch = 32,
        .learning_rate = 1e-2,
        .weight_decay = 1e-3,
    };
}

equinv_status network_accuracy(const place *p, equinv_model *model, const digit_sets *images,
                               double accuracy[QUERY_SETS])
{
    equinv_status status = EQUINV_OK;
    for (query_set q = UPRIGHT; !status && q < QUERY_SETS; q++) {
        const digits_set asked = {images->queries[q], *images->query_labels};
        status = digits_accuracy(p->net, model, &asked, NULL, &accuracy[q]);
    }
    return status;
}

int64_t parameter_count(equinv_model *model)
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

/* ---- reports -------------------------------------------------------------------------------- */

const char *const query_names[QUERY_SETS] = {"upright", "90", "any"};

bool report_begin(report_file *r, const char *folder, const char *name)
{
    memset(r, 0, sizeof *r);
    if (!output_open(&r->file, folder, name))
        return false;
    r->json.file = r->file.file;
    json_open(&r->json, NULL, '{');
    return true;
}

bool report_end(report_file *r)
{
    json_close(&r->json);
    return output_close(&r->file, true);
}

void report_run(json *j, const experiment *e, const digits *d, const place *p, double seconds)
{
    json_unsigned(j, "seed", e->seed);
    json_text(j, "device", equinv_context_description(p->net));
    json_integer(j, "train_images", d->train.images.shape[0]);
    json_integer(j, "test_images", d->test.images.shape[0]);
    json_integer(j, "epochs", e->epochs);
    json_number(j, "seconds", seconds);
}

void json_code(json *j, const code_figures *f)
{
    json_open(j, NULL, '{');
    json_text(j, "name", f->desc->name);
    json_text(j, "title", f->desc->title);
    json_integer(j, "numbers", f->numbers);
    for (query_set q = UPRIGHT; q < QUERY_SETS; q++)
        json_number(j, query_names[q], f->knn[q]);
    json_number(j, "invariance_error", f->orbit.invariance_error);
    json_number(j, "within", f->orbit.within);
    json_number(j, "between", f->orbit.between);
    json_number(j, "spread", f->orbit.within / f->orbit.between);
    json_number(j, "own", f->orbit.own);
    json_close(j);
}
