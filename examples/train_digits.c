/*
 * Training in plain C: an equivariant classifier of handwritten digits.
 *
 *     build/bin/train_digits FOLDER [EPOCHS]
 *
 * FOLDER has MNIST's files train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, t10k-images-.. and
 * t10k-labels-.. (examples/data does). The network turns with its input: C4 acts on every feature map,
 * and the maximum over the group makes the classes independent of quarter turns.
 *
 * To train on a GPU change one word: DEVICE below from EQUINV_DEVICE_CPU to EQUINV_DEVICE_CUDA. The path is
 * the same on both: batches are gathered in memory that the device copies fast
 * (equinv_tensor_create_pinned), go to tensors on the device (equinv_tensor_copy), and everything that
 * the network does is enqueued there. Only now and then the program waits, for the losses of the last
 * GATHERED steps, and with that for the batches that it may then overwrite. On the CPU a copy is a
 * copy, and nothing is waited for.
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

#define DEVICE EQUINV_DEVICE_CPU

enum { BATCH = 64, GATHERED = 16, CLASSES = 10 };

/* A whole file in CPU memory, whatever the device: equinv_tensor_load would put it there. */
static equinv_tensor load(equinv_context *ctx, const char *folder, const char *file)
{
    char path[4096];
    equinv_reader *reader;
    equinv_tensor t;
    int64_t count;
    snprintf(path, sizeof path, "%s/%s", folder, file);
    TRY(equinv_reader_open(ctx, path, &reader));
    TRY(equinv_reader_describe(reader, &t));
    TRY(equinv_tensor_create_pinned(ctx, t.dtype, t.ndim, t.shape, &t));
    TRY(equinv_reader_read(reader, &t, &count));
    equinv_reader_close(reader);
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

/* Extraction takes images in CPU memory in chunks to wherever the network is, and the logits back. */
static double accuracy(equinv_context *ctx, equinv_model *net, const equinv_tensor *images,
                       const uint8_t *labels)
{
    const int64_t count = images->shape[0];
    int64_t right = 0;
    equinv_tensor logits;
    equinv_extract_desc d = EQUINV_EXTRACT_DESC_INIT;
    d.layer = "classes";
    TRY(equinv_tensor_create_pinned(ctx, EQUINV_F32, 2, (int64_t[]){count, CLASSES}, &logits));
    TRY(equinv_extract(net, &d, images, NULL, &logits));
    for (int64_t n = 0; n < count; n++) {
        const float *const row = (const float *)logits.data + n * CLASSES;
        int best = 0;
        for (int c = 1; c < CLASSES; c++)
            best = row[c] > row[best] ? c : best;
        right += best == labels[n];
    }
    equinv_tensor_destroy(ctx, &logits);
    return (double)right / (double)count;
}

/* What the training steps work with. */
typedef struct room {
    equinv_tensor x_here, y_here,
        losses_here;                      /* GATHERED batches in CPU memory, and their losses */
    equinv_tensor x, y, losses, gradient; /* on the device: one batch; GATHERED losses */
} room;

static room room_create(equinv_context *ctx, int64_t height, int64_t width)
{
    room r;
    const int64_t gathered[] = {GATHERED * BATCH, height, width}, losses[] = {GATHERED};
    const int64_t batch[] = {BATCH, height, width}, logits[] = {BATCH, CLASSES};
    TRY(equinv_tensor_create_pinned(ctx, EQUINV_U8, 3, gathered, &r.x_here));
    TRY(equinv_tensor_create_pinned(ctx, EQUINV_U8, 1, gathered, &r.y_here));
    TRY(equinv_tensor_create_pinned(ctx, EQUINV_F32, 1, losses, &r.losses_here));
    TRY(equinv_tensor_create(ctx, EQUINV_U8, 3, batch, &r.x));
    TRY(equinv_tensor_create(ctx, EQUINV_U8, 1, batch, &r.y));
    TRY(equinv_tensor_create(ctx, EQUINV_F32, 1, losses, &r.losses));
    TRY(equinv_tensor_create(ctx, EQUINV_F32, 2, logits, &r.gradient));
    return r;
}

static void room_destroy(equinv_context *ctx, room *r)
{
    equinv_tensor *const tensors[] = {&r->x_here, &r->y_here, &r->losses_here, &r->x,
                                      &r->y,      &r->losses, &r->gradient};
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++)
        equinv_tensor_destroy(ctx, tensors[i]);
}

/* Images order[0 .. BATCH - 1] and their labels on their way to the device, through a place of theirs. */
static void send_batch(equinv_context *ctx, const room *r, int64_t slot,
                       const equinv_tensor *images, const equinv_tensor *labels,
                       const int64_t *order)
{
    const size_t pixels = (size_t)(images->shape[1] * images->shape[2]);
    equinv_tensor x, y;
    TRY(equinv_tensor_rows(&r->x_here, slot * BATCH, BATCH, &x));
    TRY(equinv_tensor_rows(&r->y_here, slot * BATCH, BATCH, &y));
    for (int64_t i = 0; i < BATCH; i++) {
        memcpy((uint8_t *)x.data + (size_t)i * pixels,
               (const uint8_t *)images->data + (size_t)order[i] * pixels, pixels);
        ((uint8_t *)y.data)[i] = ((const uint8_t *)labels->data)[order[i]];
    }
    TRY(equinv_tensor_copy(ctx, &x, &r->x));
    TRY(equinv_tensor_copy(ctx, &y, &r->y));
}

/* One pass over the images; the mean loss. */
static double train(equinv_context *ctx, equinv_model *net, equinv_optimizer *optimizer,
                    const equinv_tensor *images, const equinv_tensor *labels, const int64_t *order,
                    const room *r)
{
    const int64_t steps = images->shape[0] / BATCH;
    double sum = 0;
    for (int64_t step = 0; step < steps; step++) {
        const int64_t slot = step % GATHERED;
        equinv_tensor loss, logits;
        send_batch(ctx, r, slot, images, labels, order + step * BATCH);
        TRY(equinv_tensor_rows(&r->losses, slot, 1, &loss));
        TRY(equinv_model_forward(net, true, &r->x, &logits));
        TRY(equinv_cross_entropy(ctx, &logits, &r->y, &loss, &r->gradient));
        TRY(equinv_model_backward(net, &r->gradient));
        TRY(equinv_optimizer_step(optimizer));
        if (slot + 1 < GATHERED && step + 1 < steps)
            continue;
        TRY(equinv_tensor_copy(ctx, &r->losses, &r->losses_here));
        TRY(equinv_context_synchronize(ctx));
        for (int64_t i = 0; i <= slot; i++)
            sum += (double)((const float *)r->losses_here.data)[i];
    }
    return sum / (double)steps;
}

int main(int argc, char **argv)
{
    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: train_digits FOLDER [EPOCHS]\n");
        return 2;
    }
    const int epochs = argc == 3 ? (int)strtol(argv[2], NULL, 10) : 5;
    equinv_context *ctx;
    equinv_context_desc where = EQUINV_CONTEXT_DESC_INIT;
    where.device = DEVICE;
    TRY(equinv_context_create(&where, &ctx));
    equinv_tensor images = load(ctx, argv[1], "train-images-idx3-ubyte.gz");
    equinv_tensor labels = load(ctx, argv[1], "train-labels-idx1-ubyte.gz");
    equinv_tensor test_images = load(ctx, argv[1], "t10k-images-idx3-ubyte.gz");
    equinv_tensor test_labels = load(ctx, argv[1], "t10k-labels-idx1-ubyte.gz");
    const int64_t count = images.shape[0];

    equinv_model *net = build(ctx, &images);
    const equinv_parameter *parameters;
    size_t parameter_count;
    equinv_optimizer *optimizer;
    equinv_optimizer_desc adam = EQUINV_OPTIMIZER_DESC_INIT;
    adam.learning_rate = 3e-3;
    TRY(equinv_model_parameters(net, &parameters, &parameter_count));
    TRY(equinv_optimizer_create(ctx, &adam, parameters, parameter_count, &optimizer));

    room r = room_create(ctx, images.shape[1], images.shape[2]);
    int64_t *const order = malloc(sizeof *order * (size_t)count);
    for (int64_t i = 0; order && i < count; i++)
        order[i] = i;
    for (int epoch = 0; order && epoch < epochs; epoch++) {
        shuffle(order, count, (uint32_t)epoch);
        const double loss = train(ctx, net, optimizer, &images, &labels, order, &r);
        printf("epoch %d: loss %.4f, test accuracy %.4f\n", epoch + 1, loss,
               accuracy(ctx, net, &test_images, test_labels.data));
    }

    free(order);
    room_destroy(ctx, &r);
    equinv_optimizer_destroy(optimizer);
    equinv_model_destroy(net);
    equinv_tensor *const tensors[] = {&images, &labels, &test_images, &test_labels};
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++)
        equinv_tensor_destroy(ctx, tensors[i]);
    equinv_context_destroy(ctx);
    return EXIT_SUCCESS;
}
