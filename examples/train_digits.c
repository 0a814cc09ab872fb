/*
 * Training in plain C: an equivariant classifier of handwritten digits.
 *
 *     build/bin/train_digits FOLDER [EPOCHS]
 *
 * FOLDER has MNIST's files train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, t10k-images-.. and
 * t10k-labels-.. (examples/data does). The network turns with its input: C4 acts on every feature map,
 * and the maximum over the group makes the classes independent of quarter turns.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "equinv/equinv.h"

#define TRY(call)                                                                                  \
    do {                                                                                           \
        if (call) {                                                                                \
            fprintf(stderr, "train_digits: %s\n", equinv_last_error());                            \
            exit(EXIT_FAILURE);                                                                    \
        }                                                                                          \
    } while (0)

enum { BATCH = 64, CLASSES = 10 };

static equinv_tensor load(equinv_context *ctx, const char *folder, const char *file)
{
    char path[4096];
    equinv_tensor t;
    snprintf(path, sizeof path, "%s/%s", folder, file);
    TRY(equinv_tensor_load(ctx, path, &t));
    return t;
}

/* One block: group convolution, batch norm per field, ReLU, and a pooling by 2 if asked for. */
static void add_block(equinv_model *net, const char *number, int64_t fields, int64_t kernel,
                      bool pool)
{
    char name[16];
    equinv_layer_desc layer = EQUINV_LAYER_DESC_INIT;
    layer.name = name;
    layer.op = EQUINV_LAYER_CONV;
    layer.fields = fields;
    layer.kernel = kernel;
    layer.padding = (kernel - 1) / 2;
    snprintf(name, sizeof name, "conv%s", number);
    TRY(equinv_model_add(net, &layer));
    layer.op = EQUINV_LAYER_BATCH_NORM;
    snprintf(name, sizeof name, "norm%s", number);
    TRY(equinv_model_add(net, &layer));
    layer.op = EQUINV_LAYER_RELU;
    snprintf(name, sizeof name, "relu%s", number);
    TRY(equinv_model_add(net, &layer));
    if (!pool)
        return;
    layer.op = EQUINV_LAYER_POOL;
    layer.pool = EQUINV_POOL_MAX;
    layer.kernel = layer.stride = 2;
    layer.padding = 0;
    snprintf(name, sizeof name, "pool%s", number);
    TRY(equinv_model_add(net, &layer));
}

static void add_pool(equinv_model *net, const char *name, equinv_pool_kind kind)
{
    equinv_layer_desc layer = EQUINV_LAYER_DESC_INIT;
    layer.name = name;
    layer.op = EQUINV_LAYER_POOL;
    layer.pool = kind;
    TRY(equinv_model_add(net, &layer));
}

static equinv_model *build(equinv_context *ctx, const equinv_tensor *images)
{
    equinv_model *net;
    equinv_model_desc d = EQUINV_MODEL_DESC_INIT;
    d.group = equinv_cyclic(4);
    d.height = images->shape[1];
    d.width = images->shape[2];
    d.scale = 1 / 255.0;
    TRY(equinv_model_create(ctx, &d, &net));
    add_block(net, "1", 8, 5, true); /* lifting: plain pixels to 8 regular fields */
    add_block(net, "2", 16, 5, true);
    add_block(net, "3", 16, 3, false);
    add_pool(net, "group", EQUINV_POOL_GROUP_MAX); /* from here on nothing turns */
    add_pool(net, "space", EQUINV_POOL_GLOBAL_AVERAGE);
    equinv_layer_desc dense = EQUINV_LAYER_DESC_INIT;
    dense.name = "classes";
    dense.op = EQUINV_LAYER_DENSE;
    dense.fields = CLASSES;
    TRY(equinv_model_add(net, &dense));
    return net;
}

/* Fisher-Yates with the library's counter-based generator: the same order everywhere. */
static void shuffle(int64_t *order, int64_t count, uint32_t epoch)
{
    for (int64_t i = count - 1; i > 0; i--) {
        uint32_t word[4];
        equinv_philox((uint32_t[]){(uint32_t)i, epoch, 0, 0}, (uint32_t[]){1, 0}, word);
        const int64_t j = (int64_t)(word[0] % (uint32_t)(i + 1)), swap = order[i];
        order[i] = order[j];
        order[j] = swap;
    }
}

static double accuracy(const equinv_tensor *logits, const uint8_t *labels)
{
    int64_t right = 0;
    for (int64_t n = 0; n < logits->shape[0]; n++) {
        const float *const row = (const float *)logits->data + n * CLASSES;
        int best = 0;
        for (int c = 1; c < CLASSES; c++)
            best = row[c] > row[best] ? c : best;
        right += best == labels[n];
    }
    return (double)right / (double)logits->shape[0];
}

int main(int argc, char **argv)
{
    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: train_digits FOLDER [EPOCHS]\n");
        return 2;
    }
    const int epochs = argc == 3 ? atoi(argv[2]) : 5;
    equinv_context *ctx;
    equinv_context_desc where = EQUINV_CONTEXT_DESC_INIT;
    where.device = EQUINV_DEVICE_CPU;
    TRY(equinv_context_create(&where, &ctx));
    equinv_tensor images = load(ctx, argv[1], "train-images-idx3-ubyte.gz");
    equinv_tensor labels = load(ctx, argv[1], "train-labels-idx1-ubyte.gz");
    equinv_tensor test_images = load(ctx, argv[1], "t10k-images-idx3-ubyte.gz");
    equinv_tensor test_labels = load(ctx, argv[1], "t10k-labels-idx1-ubyte.gz");
    const int64_t count = images.shape[0], height = images.shape[1], width = images.shape[2];

    equinv_model *net = build(ctx, &images);
    const equinv_parameter *parameters;
    size_t parameter_count;
    equinv_optimizer *optimizer;
    equinv_optimizer_desc adam = EQUINV_OPTIMIZER_DESC_INIT;
    adam.learning_rate = 3e-3;
    TRY(equinv_model_parameters(net, &parameters, &parameter_count));
    TRY(equinv_optimizer_create(ctx, &adam, parameters, parameter_count, &optimizer));

    equinv_tensor x, y, loss, gradient, logits;
    TRY(equinv_tensor_create(ctx, EQUINV_U8, 3, (int64_t[]){BATCH, height, width}, &x));
    TRY(equinv_tensor_create(ctx, EQUINV_U8, 1, (int64_t[]){BATCH}, &y));
    TRY(equinv_tensor_create(ctx, EQUINV_F32, 1, (int64_t[]){1}, &loss));
    TRY(equinv_tensor_create(ctx, EQUINV_F32, 2, (int64_t[]){BATCH, CLASSES}, &gradient));
    int64_t *const order = malloc(sizeof *order * (size_t)count);
    for (int64_t i = 0; order && i < count; i++)
        order[i] = i;

    for (int epoch = 0; order && epoch < epochs; epoch++) {
        double sum = 0;
        shuffle(order, count, (uint32_t)epoch);
        for (int64_t first = 0; first + BATCH <= count; first += BATCH) {
            for (int64_t i = 0; i < BATCH; i++) {
                const size_t pixels = (size_t)(height * width);
                memcpy((uint8_t *)x.data + (size_t)i * pixels,
                       (uint8_t *)images.data + (size_t)order[first + i] * pixels, pixels);
                ((uint8_t *)y.data)[i] = ((uint8_t *)labels.data)[order[first + i]];
            }
            TRY(equinv_model_forward(net, true, &x, &logits));
            TRY(equinv_cross_entropy(ctx, &logits, &y, &loss, &gradient));
            TRY(equinv_model_backward(net, &gradient));
            TRY(equinv_optimizer_step(optimizer));
            sum += (double)*(float *)loss.data;
        }
        TRY(equinv_model_forward(net, false, &test_images, &logits));
        printf("epoch %d: loss %.4f, test accuracy %.4f\n", epoch + 1,
               sum / (double)(count / BATCH), accuracy(&logits, test_labels.data));
    }

    free(order);
    equinv_optimizer_destroy(optimizer);
    equinv_model_destroy(net);
    equinv_tensor *const tensors[] = {&images, &labels, &test_images, &test_labels,
                                      &x,      &y,      &loss,        &gradient};
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++)
        equinv_tensor_destroy(ctx, tensors[i]);
    equinv_context_destroy(ctx);
    return EXIT_SUCCESS;
}
