#include "digits.h"

#include "mirror.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char error[8192]; /* room for a path and a sentence */

const char *digits_error(void)
{
    return error;
}

static equinv_status fail(equinv_status status, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static equinv_status fail(equinv_status status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error, sizeof error, format, arguments);
    va_end(arguments);
    return status;
}

/* ---- data ----------------------------------------------------------------------------------- */

static const char *const file_names[4] = {"train-images-idx3-ubyte", "train-labels-idx1-ubyte",
                                          "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"};

/* folder/name or folder/name.gz, whichever is there. */
static bool find_file(const char *folder, const char *name, char path[4096])
{
    static const char *const endings[] = {"", ".gz"};
    for (int i = 0; i < 2; i++)
        if (snprintf(path, 4096, "%s/%s%s", folder, name, endings[i]) < 4096 &&
            access(path, F_OK) == 0)
            return true;
    return false;
}

bool digits_present(const char *folder)
{
    char path[4096];
    for (int i = 0; i < 4; i++)
        if (!find_file(folder, file_names[i], path))
            return false;
    return true;
}

/* The first rows of a U8 file of ndim axes, as a new tensor of dtype in CPU memory. */
static equinv_status load_rows(equinv_context *ctx, const char *folder, const char *name,
                               int32_t ndim, int64_t limit, equinv_dtype dtype, equinv_tensor *rows)
{
    char path[4096];
    equinv_reader *reader = NULL;
    equinv_tensor array;
    int64_t count;
    if (!find_file(folder, name, path))
        return fail(EQUINV_ERR_IO, "%s has neither %s nor %s.gz", folder, name, name);
    equinv_status status = equinv_reader_open(ctx, path, &reader);
    if (!status)
        status = equinv_reader_describe(reader, &array);
    if (!status && (array.ndim != ndim || array.dtype != EQUINV_U8))
        status = fail(EQUINV_ERR_FORMAT, "%s has %" PRId32 " axes of %s, expected %s of u8", path,
                      array.ndim, equinv_dtype_name(array.dtype), ndim == 3 ? "[N, H, W]" : "[N]");
    if (!status) {
        array.shape[0] = limit < array.shape[0] ? limit : array.shape[0];
        status = equinv_tensor_create_pinned(ctx, dtype, ndim, array.shape, rows);
    }
    if (!status)
        status = equinv_reader_read(reader, rows, &count);
    equinv_reader_close(reader);
    return status;
}

static equinv_status load_set(equinv_context *ctx, const char *folder, const char *const names[2],
                              int64_t limit, digits_set *set)
{
    equinv_status status = load_rows(ctx, folder, names[0], 3, limit, EQUINV_U8, &set->images);
    if (!status)
        status = load_rows(ctx, folder, names[1], 1, limit, EQUINV_I32, &set->labels);
    if (status)
        return status;
    const int64_t images = set->images.shape[0], labels = set->labels.shape[0];
    if (images != labels)
        return fail(EQUINV_ERR_FORMAT, "%s has %" PRId64 " labels for %" PRId64 " images of %s",
                    names[1], labels, images, names[0]);
    if (images == 0)
        return fail(EQUINV_ERR_FORMAT, "%s/%s is empty, expected at least one image", folder,
                    names[0]);
    return EQUINV_OK;
}

equinv_status digits_load(equinv_context *ctx, const char *folder, int64_t train_limit,
                          int64_t test_limit, digits *d)
{
    memset(d, 0, sizeof *d);
    error[0] = '\0';
    equinv_status status = load_set(ctx, folder, file_names, train_limit, &d->train);
    if (!status)
        status = load_set(ctx, folder, file_names + 2, test_limit, &d->test);
    if (status)
        return status;
    const int64_t *const shape = d->train.images.shape, *const test = d->test.images.shape;
    if (shape[1] != shape[2] || shape[1] % 4 != 0 || shape[1] == 0)
        return fail(EQUINV_ERR_SHAPE,
                    "the images are %" PRId64 " x %" PRId64
                    ", expected square ones with sides that divide by 4",
                    shape[1], shape[2]);
    if (test[1] != shape[1] || test[2] != shape[2])
        return fail(EQUINV_ERR_SHAPE,
                    "the test images are %" PRId64 " x %" PRId64 ", expected %" PRId64 " x %" PRId64
                    " like the training images",
                    test[1], test[2], shape[1], shape[2]);
    for (int64_t i = 0; i < shape[0]; i++) {
        const int32_t label = ((const int32_t *)d->train.labels.data)[i];
        d->classes = label >= d->classes ? label + 1 : d->classes;
    }
    return EQUINV_OK;
}

void digits_free(equinv_context *ctx, digits *d)
{
    equinv_tensor_destroy(ctx, &d->test.labels);
    equinv_tensor_destroy(ctx, &d->test.images);
    equinv_tensor_destroy(ctx, &d->train.labels);
    equinv_tensor_destroy(ctx, &d->train.images);
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

/* 28 -> 14 -> 7 by windows of 2 that fit exactly, so quarter turns commute with every layer. */
static equinv_status add_stages(equinv_model *m, const int64_t fields[DIGITS_STAGES])
{
    static const struct {
        const char *conv, *norm, *relu, *pool;
        int64_t kernel;
    } stages[DIGITS_STAGES] = {
        {"lift", "norm1", "relu1", "pool1", 5},
        {"conv2", "norm2", "relu2", "pool2", 5},
        {"conv3", "norm3", "relu3", NULL, 3},
        {"conv4", "norm4", DIGITS_CODE_LAYER, NULL, 3},
    };
    equinv_status status = EQUINV_OK;
    for (int i = 0; i < DIGITS_STAGES; i++)
        if ((status = add(m, stages[i].conv, EQUINV_LAYER_CONV, fields[i], stages[i].kernel,
                          EQUINV_POOL_MAX)) ||
            (status = add(m, stages[i].norm, EQUINV_LAYER_BATCH_NORM, 0, 1, EQUINV_POOL_MAX)) ||
            (status = add(m, stages[i].relu, EQUINV_LAYER_RELU, 0, 1, EQUINV_POOL_MAX)) ||
            (stages[i].pool &&
             (status = add(m, stages[i].pool, EQUINV_LAYER_POOL, 0, 2, EQUINV_POOL_AVERAGE))))
            return status;
    return status;
}

equinv_status digits_network(equinv_context *ctx, const digits *d, equinv_group group,
                             const int64_t fields[DIGITS_STAGES], uint64_t seed,
                             equinv_model **model)
{
    equinv_model_desc desc = EQUINV_MODEL_DESC_INIT;
    equinv_model *m = NULL;
    equinv_status status;
    error[0] = '\0';
    desc.group = group;
    desc.height = d->train.images.shape[1];
    desc.width = d->train.images.shape[2];
    desc.scale = 1.0 / 255; /* black stays 0, as the padding around the image is */
    desc.seed = seed;
    if ((status = equinv_model_create(ctx, &desc, &m)) || (status = add_stages(m, fields)) ||
        (status = add(m, "group", EQUINV_LAYER_POOL, 0, 1, EQUINV_POOL_GROUP_MAX)) ||
        (status = add(m, "space", EQUINV_LAYER_POOL, 0, 1, EQUINV_POOL_GLOBAL_AVERAGE)) ||
        (status = add(m, "dense", EQUINV_LAYER_DENSE, d->classes, 1, EQUINV_POOL_MAX))) {
        equinv_model_destroy(m);
        return status;
    }
    *model = m;
    return EQUINV_OK;
}

/* ---- training ------------------------------------------------------------------------------- */

/* Images that go to the device at a time, where a batch is not larger, before their losses come back. */
enum { STRETCH = 4096 };

typedef struct trainer {
    equinv_context *ctx;
    equinv_model *model;
    const digits_set *set;
    const digits_training *how;
    equinv_optimizer *optimizer;
    int64_t count, copies;         /* images with their copies; of each */
    int64_t *order;                /* of the images in an epoch */
    int64_t batch, batches;        /* batches in a stretch */
    mirror images, labels, losses; /* of a stretch */
    equinv_tensor gradient;        /* of a batch */
} trainer;

/* The order of the images in an epoch: Fisher-Yates with words of Philox, the same everywhere. */
static void shuffle(const trainer *t, int64_t epoch)
{
    const uint64_t seed = t->how->seed;
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    const int64_t images = t->count / t->copies;
    for (int64_t i = 0; i < images; i++)
        t->order[i] = i;
    for (int64_t i = images - 1; i > 0; i--) {
        /* The last word keeps this stream away from those of weights and dropout. */
        const uint32_t counter[4] = {(uint32_t)i, (uint32_t)((uint64_t)i >> 32), (uint32_t)epoch,
                                     UINT32_MAX};
        uint32_t words[4];
        equinv_philox(counter, key, words);
        const uint64_t random = (uint64_t)words[0] << 32 | words[1];
        const int64_t j = (int64_t)(random % ((uint64_t)i + 1));
        const int64_t other = t->order[j];
        t->order[j] = t->order[i];
        t->order[i] = other;
    }
}

/* Copies first .. first + count - 1 of an epoch and their labels, on the device. */
static equinv_status gather(const trainer *t, int64_t epoch, int64_t first, int64_t count,
                            equinv_tensor *images, equinv_tensor *labels)
{
    const int64_t pixels = t->set->images.shape[1] * t->set->images.shape[2];
    equinv_status status = EQUINV_OK;
    for (int64_t i = 0; !status && i < count; i++) {
        const int64_t from = t->order[(first + i) / t->copies];
        uint8_t *const image = (uint8_t *)t->images.here.data + i * pixels;
        memcpy(image, (const uint8_t *)t->set->images.data + from * pixels, (size_t)pixels);
        ((int32_t *)t->labels.here.data)[i] = ((const int32_t *)t->set->labels.data)[from];
        if (t->how->augment)
            status = t->how->augment(t->how->user, epoch, from, (first + i) % t->copies, image);
    }
    if (!status)
        status = mirror_send(t->ctx, &t->images, count, images);
    return status ? status : mirror_send(t->ctx, &t->labels, count, labels);
}

/* One step on rows first .. first + count - 1 of a stretch; the mean loss stays on the device. */
static equinv_status step(const trainer *t, const equinv_tensor *stretch_images,
                          const equinv_tensor *stretch_labels, int64_t first, int64_t count)
{
    equinv_tensor images, labels, gradient, loss, logits;
    equinv_status status;
    if ((status = equinv_tensor_rows(stretch_images, first, count, &images)) ||
        (status = equinv_tensor_rows(stretch_labels, first, count, &labels)) ||
        (status = equinv_tensor_rows(&t->gradient, 0, count, &gradient)) ||
        (status = equinv_tensor_rows(&t->losses.there, first / t->batch, 1, &loss)) ||
        (status = equinv_model_forward(t->model, true, &images, &logits)) ||
        (status = equinv_cross_entropy(t->ctx, &logits, &labels, &loss, &gradient)) ||
        (status = equinv_model_backward(t->model, &gradient)))
        return status;
    return equinv_optimizer_step(t->optimizer);
}

/* Steps on copies first .. first + count - 1 of an epoch; *sum grows by their losses. */
static equinv_status run_stretch(const trainer *t, int64_t epoch, int64_t first, int64_t count,
                                 double *sum)
{
    const double pi = 3.14159265358979323846;
    const digits_training *const how = t->how;
    const int64_t total = how->epochs * t->count;
    equinv_tensor images, labels, losses;
    equinv_status status = gather(t, epoch, first, count, &images, &labels);
    for (int64_t at = 0; !status && at < count; at += t->batch) {
        const int64_t done = epoch * t->count + first + at;
        const double share = (double)done / (double)total;
        if (how->progress && how->progress(how->user, done, total))
            return EQUINV_ERR_CANCELLED;
        status = equinv_optimizer_set_learning_rate(t->optimizer, how->learning_rate * 0.5 *
                                                                      (1 + cos(pi * share)));
        if (!status)
            status = step(t, &images, &labels, at, count - at < t->batch ? count - at : t->batch);
    }
    if (!status)
        status = mirror_fetch(t->ctx, &t->losses, (count + t->batch - 1) / t->batch, &losses);
    for (int64_t at = 0; !status && at < count; at += t->batch)
        *sum += (double)((const float *)losses.data)[at / t->batch] *
                (double)(count - at < t->batch ? count - at : t->batch);
    return status;
}

static equinv_status run_epochs(const trainer *t)
{
    const digits_training *const how = t->how;
    const int64_t stretch = t->batch * t->batches;
    equinv_status status;
    for (int64_t epoch = 0; epoch < how->epochs; epoch++) {
        double sum = 0;
        shuffle(t, epoch);
        for (int64_t first = 0; first < t->count; first += stretch)
            if ((status =
                     run_stretch(t, epoch, first,
                                 t->count - first < stretch ? t->count - first : stretch, &sum)))
                return status;
        if (!isfinite(sum))
            return fail(EQUINV_ERR_ARG,
                        "the loss is no longer finite after epoch %" PRId64
                        "; a smaller learning rate than %g may help",
                        epoch + 1, how->learning_rate);
        if (how->epoch_done)
            how->epoch_done(how->user, epoch, sum / (double)t->count);
    }
    return EQUINV_OK;
}

static equinv_status create_batches(trainer *t, int64_t classes)
{
    const int64_t *const shape = t->set->images.shape, rows = t->batch * t->batches;
    equinv_status status;
    if ((status = mirror_create(t->ctx, EQUINV_U8, 3, (int64_t[]){rows, shape[1], shape[2]},
                                &t->images)) ||
        (status = mirror_create(t->ctx, EQUINV_I32, 1, &rows, &t->labels)) ||
        (status = mirror_create(t->ctx, EQUINV_F32, 1, &t->batches, &t->losses)))
        return status;
    return equinv_tensor_create(t->ctx, EQUINV_F32, 2, (int64_t[]){t->batch, classes},
                                &t->gradient);
}

equinv_status digits_train(equinv_context *ctx, equinv_model *model, const digits *d,
                           const digits_training *how)
{
    trainer t = {.ctx = ctx, .model = model, .set = &d->train, .how = how};
    t.copies = how->copies > 1 ? how->copies : 1;
    t.count = d->train.images.shape[0] * t.copies;
    t.batch = how->batch < t.count ? how->batch : t.count;
    t.batches = t.batch < STRETCH ? STRETCH / t.batch : 1;
    const equinv_parameter *parameters;
    size_t count;
    equinv_status status;
    equinv_optimizer_desc adam = EQUINV_OPTIMIZER_DESC_INIT;
    adam.learning_rate = how->learning_rate;
    adam.weight_decay = how->weight_decay;
    error[0] = '\0';
    t.order = calloc((size_t)(t.count / t.copies), sizeof *t.order);
    if (!t.order)
        return fail(EQUINV_ERR_NOMEM, "out of memory");
    if (!(status = equinv_model_parameters(model, &parameters, &count)) &&
        !(status = equinv_optimizer_create(ctx, &adam, parameters, count, &t.optimizer)) &&
        !(status = create_batches(&t, d->classes)))
        status = run_epochs(&t);
    if (status)
        equinv_context_synchronize(ctx); /* copies that a cancelled stretch left under way */
    equinv_tensor_destroy(ctx, &t.gradient);
    mirror_destroy(ctx, &t.losses);
    mirror_destroy(ctx, &t.labels);
    mirror_destroy(ctx, &t.images);
    equinv_optimizer_destroy(t.optimizer);
    free(t.order);
    return status;
}

equinv_status digits_predict(equinv_context *ctx, equinv_model *model, const equinv_tensor *images,
                             equinv_progress progress, int32_t *classes)
{
    equinv_tensor logits = {0};
    equinv_extract_desc how = EQUINV_EXTRACT_DESC_INIT;
    int64_t shape[5];
    const int64_t total = images->shape[0];
    error[0] = '\0';
    how.layer = "dense";
    how.progress = progress;
    equinv_status status = equinv_model_layer_shape(model, how.layer, shape);
    if (!status)
        status =
            equinv_tensor_create_pinned(ctx, EQUINV_F32, 2, (int64_t[]){total, shape[1]}, &logits);
    if (!status)
        status = equinv_extract(model, &how, images, NULL, &logits);
    for (int64_t n = 0; !status && n < total; n++) {
        const float *const row = (const float *)logits.data + n * shape[1];
        classes[n] = 0;
        for (int32_t c = 1; c < shape[1]; c++)
            classes[n] = row[c] > row[classes[n]] ? c : classes[n];
    }
    equinv_tensor_destroy(ctx, &logits);
    return status;
}

equinv_status digits_accuracy(equinv_context *ctx, equinv_model *model, const digits_set *set,
                              equinv_progress progress, double *accuracy)
{
    const int64_t total = set->images.shape[0];
    int64_t right = 0;
    int32_t *const classes = calloc((size_t)total, sizeof *classes);
    if (!classes)
        return fail(EQUINV_ERR_NOMEM, "out of memory");
    const equinv_status status = digits_predict(ctx, model, &set->images, progress, classes);
    for (int64_t n = 0; !status && n < total; n++)
        right += classes[n] == ((const int32_t *)set->labels.data)[n];
    free(classes);
    if (!status)
        *accuracy = (double)right / (double)total;
    return status;
}
