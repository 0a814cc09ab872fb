/* Models on a device: the same values as on the CPU, in evaluation, in training and after some steps. */
#include "internal/model.h"
#include "tests/util/cuda_network.h"
#include "tests/util/files.h"

enum { NETWORKS = 12 };

/* Sums of a few thousand terms, one layer after the other. */
static double tolerance(equinv_dtype dtype)
{
    return dtype == EQUINV_F64 ? 1e-11 : 2e-4;
}

/* A tensor on the device against one in CPU memory: max |a - b| against the larger of max |b| and `size`. */
static void assert_close(equinv_context *ctx, const equinv_tensor *there, const equinv_tensor *here,
                         double size, uint64_t seed, const char *what)
{
    equinv_tensor back = cuda_back(ctx, there);
    const double largest = tensor_max_abs(here), error = tensor_error(&back, here, NULL);
    const double allowed = tolerance(here->dtype);
    ck_assert_int_eq(there->device.kind, EQUINV_DEVICE_CUDA);
    ck_assert_msg(
        error * (largest > 0 ? largest : 1) <= allowed * (largest > size ? largest : size),
        "seed %llu, %s: differs by %g, allowed %g", (unsigned long long)seed, what, error, allowed);
    equinv_tensor_destroy(ctx, &back);
}

static void assert_arrays_close(equinv_context *ctx, const equinv_model *there,
                                const equinv_model *here, uint64_t seed)
{
    for (int32_t i = 1; i < here->count; i++)
        for (int which = 0; which < EQI_ARRAYS; which++)
            if (here->nodes[i]->array[which].ndim)
                assert_close(ctx, &there->nodes[i]->array[which], &here->nodes[i]->array[which], 1,
                             seed, here->nodes[i]->array_name[which]);
}

/* A cancelling sum is as wrong as its terms are large: gradients are seen beside the model's largest. */
static void assert_gradients_close(equinv_context *ctx, const equinv_model *there,
                                   const equinv_model *here, uint64_t seed)
{
    double largest = 0;
    for (size_t i = 0; i < here->parameter_count; i++) {
        const double size = tensor_max_abs(&here->parameters[i].gradient);
        largest = size > largest ? size : largest;
    }
    for (size_t i = 0; i < here->parameter_count; i++)
        assert_close(ctx, &there->parameters[i].gradient, &here->parameters[i].gradient, largest,
                     seed, here->parameters[i].name);
}

static const equinv_dtype image_dtypes[] = {EQUINV_F32, EQUINV_U8, EQUINV_F64};

/* Gradients are overwritten, also those of layers that the output does not depend on. */
static void spoil_gradients(equinv_context *ctx, const equinv_model *m)
{
    for (size_t i = 0; i < m->parameter_count; i++) {
        const equinv_tensor *const g = &m->parameters[i].gradient;
        OK(equinv_tensor_convert(ctx, g, 1, 3, g));
    }
}

/* Random networks with every operation, and the small one, where a layer leads nowhere. */
START_TEST(everything_is_as_on_the_cpu)
{
    equinv_context *const cpu = context_new(), *const ctx = cuda_context_new();
    const uint64_t seed = 40000 + (uint64_t)_i;
    rng r = {seed};
    const equinv_dtype dtype = _i % 3 ? EQUINV_F64 : EQUINV_F32;
    equinv_model *const m =
        _i ? network_random(cpu, &r, (network_options){dtype, false}) : network_small(cpu);
    network_disturb(&r, m);
    pair p = pair_of(cpu, ctx, m, &r, 1 + _i % 4, image_dtypes[_i % 3]);
    equinv_tensor here, there;

    OK(equinv_model_forward(p.here, false, &p.images, &here));
    OK(equinv_model_forward(p.there, false, &p.images_there, &there));
    assert_close(ctx, &there, &here, 0, seed, "evaluation");

    OK(equinv_model_forward(p.here, true, &p.images, &here));
    OK(equinv_model_forward(p.there, true, &p.images_there, &there));
    assert_close(ctx, &there, &here, 0, seed, "training");
    for (int32_t i = 0; i < m->count; i++) {
        equinv_tensor a, b;
        OK(equinv_model_activation(p.here, m->nodes[i]->name, &a));
        OK(equinv_model_activation(p.there, m->nodes[i]->name, &b));
        assert_close(ctx, &b, &a, 0, seed, m->nodes[i]->name);
    }

    equinv_tensor diff = tensor_like(cpu, &here);
    tensor_fill_random(&r, &diff);
    equinv_tensor diff_there = cuda_copy(ctx, &diff);
    spoil_gradients(ctx, p.there);
    OK(equinv_model_backward(p.here, &diff));
    OK(equinv_model_backward(p.there, &diff_there));
    assert_gradients_close(ctx, p.there, p.here, seed);
    assert_arrays_close(ctx, p.there, p.here, seed); /* the running statistics have moved */
    equinv_tensor_destroy(ctx, &diff_there);
    equinv_tensor_destroy(cpu, &diff);
    pair_free(&p);
    equinv_context_destroy(ctx);
    equinv_context_destroy(cpu);
}
END_TEST

/* The first values come from the seed alone, on every device the same bits. */
START_TEST(new_models_are_the_same)
{
    equinv_context *const cpu = context_new(), *const ctx = cuda_context_new();
    for (uint64_t seed = 1; seed <= 6; seed++) {
        rng r = {seed}, again = {seed};
        const network_options options = {seed % 2 ? EQUINV_F32 : EQUINV_F64, false};
        equinv_model *const here = network_random(cpu, &r, options);
        equinv_model *const there = network_random(ctx, &again, options);
        for (int32_t i = 1; i < here->count; i++)
            for (int which = 0; which < EQI_ARRAYS; which++) {
                if (here->nodes[i]->array[which].ndim == 0)
                    continue;
                equinv_tensor back = cuda_back(ctx, &there->nodes[i]->array[which]);
                ASSERT_SAME(&back, &here->nodes[i]->array[which]);
                equinv_tensor_destroy(ctx, &back);
            }
        equinv_model_destroy(there);
        equinv_model_destroy(here);
    }
    equinv_context_destroy(ctx);
    equinv_context_destroy(cpu);
}
END_TEST

/* A bias would not change what batch norm gives: its gradient is rounding, which Adam makes large. */
static equinv_layer_desc conv_before_norm(const char *name, int64_t fields)
{
    equinv_layer_desc d = conv_of(name, fields, 3);
    d.bias = false;
    return d;
}

/* Lifting, regular and plane convolution, residual add, pools and a dense head; C4, F64. */
static equinv_model *classifier(equinv_context *ctx)
{
    equinv_model *const m = model_new(ctx, equinv_cyclic(4), EQUINV_F64, 1, 8, 8);
    model_add(m, conv_before_norm("lift", 3));
    model_add(m, layer_of(EQUINV_LAYER_BATCH_NORM, "norm1"));
    model_add(m, layer_of(EQUINV_LAYER_RELU, "relu1"));
    model_add(m, pool_of("pool1", EQUINV_POOL_MAX, 2));
    model_add(m, conv_before_norm("conv2", 3));
    model_add(m, layer_of(EQUINV_LAYER_BATCH_NORM, "norm2"));
    model_add(m, layer_of(EQUINV_LAYER_RELU, "relu2"));
    model_add(m, layer_of(EQUINV_LAYER_DROPOUT, "drop"));
    model_add(m, add_of("sum", "pool1", "drop"));
    equinv_layer_desc plane = conv_of("plane", 4, 3);
    plane.op = EQUINV_LAYER_CONV_PLANE;
    model_add(m, plane);
    model_add(m, layer_of(EQUINV_LAYER_RELU, "relu3"));
    model_add(m, pool_of("mean", EQUINV_POOL_GLOBAL_AVERAGE, 1));
    model_add(m, dense_of("logits", 3));
    return m;
}

static void train_step(equinv_context *ctx, equinv_model *m, equinv_optimizer *optimizer,
                       const equinv_tensor *images, const equinv_tensor *labels,
                       const equinv_tensor *loss, const equinv_tensor *gradient)
{
    equinv_tensor logits;
    OK(equinv_model_forward(m, true, images, &logits));
    OK(equinv_cross_entropy(ctx, &logits, labels, loss, gradient));
    OK(equinv_model_backward(m, gradient));
    OK(equinv_optimizer_step(optimizer));
}

/* Steps are enqueued one after the other; the losses are looked at in the end. */
static void train(equinv_context *ctx, equinv_model *m, equinv_optimizer_kind kind,
                  const equinv_tensor *images, const equinv_tensor *labels,
                  const equinv_tensor *losses)
{
    equinv_optimizer *optimizer;
    equinv_optimizer_desc d = EQUINV_OPTIMIZER_DESC_INIT;
    equinv_tensor loss, gradient;
    d.kind = kind;
    d.momentum = kind == EQUINV_OPTIMIZER_SGD ? 0.9 : 0;
    d.learning_rate = 0.02;
    d.weight_decay = 0.01;
    OK(equinv_optimizer_create(ctx, &d, m->parameters, m->parameter_count, &optimizer));
    OK(equinv_tensor_create(ctx, EQUINV_F64, 2, (int64_t[]){images->shape[0], 3}, &gradient));
    for (int64_t i = 0; i < losses->shape[0]; i++) {
        OK(equinv_tensor_rows(losses, i, 1, &loss));
        train_step(ctx, m, optimizer, images, labels, &loss, &gradient);
    }
    OK(equinv_context_synchronize(ctx));
    equinv_tensor_destroy(ctx, &gradient);
    equinv_optimizer_destroy(optimizer);
}

START_TEST(training_goes_the_same_way)
{
    enum { STEPS = 5, BATCH = 4 };
    equinv_context *const cpu = context_new(), *const ctx = cuda_context_new();
    for (int kind = EQUINV_OPTIMIZER_SGD; kind <= EQUINV_OPTIMIZER_ADAM; kind++) {
        rng r = {(uint64_t)kind};
        pair p = pair_of(cpu, ctx, classifier(cpu), &r, BATCH, EQUINV_U8);
        const int64_t steps = STEPS, batch = BATCH;
        equinv_tensor labels, losses, losses_there, here, there;
        OK(equinv_tensor_create(cpu, EQUINV_I32, 1, &batch, &labels));
        for (int i = 0; i < BATCH; i++)
            tensor_set(&labels, i, i % 3);
        OK(equinv_tensor_create(cpu, EQUINV_F64, 1, &steps, &losses));
        OK(equinv_tensor_create(ctx, EQUINV_F64, 1, &steps, &losses_there));
        equinv_tensor labels_there = cuda_copy(ctx, &labels);
        train(cpu, p.here, (equinv_optimizer_kind)kind, &p.images, &labels, &losses);
        train(ctx, p.there, (equinv_optimizer_kind)kind, &p.images_there, &labels_there,
              &losses_there);
        assert_close(ctx, &losses_there, &losses, 0, (uint64_t)kind, "losses");
        ck_assert(tensor_get(&losses, STEPS - 1) < tensor_get(&losses, 0));
        assert_arrays_close(ctx, p.there, p.here, (uint64_t)kind);
        OK(equinv_model_forward(p.here, false, &p.images, &here));
        OK(equinv_model_forward(p.there, false, &p.images_there, &there));
        assert_close(ctx, &there, &here, 0, (uint64_t)kind, "evaluation after training");

        equinv_model *const back = network_copy(cpu, p.there); /* trained there, used here */
        OK(equinv_model_forward(back, false, &p.images, &here));
        assert_close(ctx, &there, &here, 0, (uint64_t)kind, "evaluation on the CPU");
        equinv_model_destroy(back);
        equinv_tensor_destroy(ctx, &labels_there);
        equinv_tensor_destroy(ctx, &losses_there);
        equinv_tensor_destroy(cpu, &losses);
        equinv_tensor_destroy(cpu, &labels);
        pair_free(&p);
    }
    equinv_context_destroy(ctx);
    equinv_context_destroy(cpu);
}
END_TEST

/* Batches of other sizes make plans and move memory while work is enqueued. */
START_TEST(batches_change)
{
    static const int batches[] = {2, 5, 1, 0, 3, 5, 4, 2};
    equinv_context *const cpu = context_new(), *const ctx = cuda_context_new();
    rng r = {6};
    equinv_model *const here = classifier(cpu), *const there = network_copy(ctx, here);
    for (size_t i = 0; i < sizeof batches / sizeof *batches; i++) {
        const bool train = i % 3 != 0 && batches[i] > 0;
        equinv_tensor images = network_images(cpu, &r, here, batches[i], EQUINV_F64), a, b;
        equinv_tensor images_there = cuda_copy(ctx, &images);
        OK(equinv_model_forward(here, train, &images, &a));
        OK(equinv_model_forward(there, train, &images_there, &b));
        if (train) { /* dst as its own gradient */
            OK(equinv_model_backward(here, &a));
            OK(equinv_model_backward(there, &b));
            assert_gradients_close(ctx, there, here, i);
        }
        assert_close(ctx, &b, &a, 0, i, "dst");
        equinv_tensor_destroy(ctx, &images_there);
        equinv_tensor_destroy(cpu, &images);
    }
    equinv_model_destroy(there);
    equinv_model_destroy(here);
    equinv_context_destroy(ctx);
    equinv_context_destroy(cpu);
}
END_TEST

START_TEST(the_same_call_gives_the_same_bits)
{
    pair p = pair_small(7, 3, EQUINV_F32);
    equinv_tensor dst, first[2];
    for (int train = 0; train < 2; train++) {
        OK(equinv_model_forward(p.there, train, &p.images_there, &dst));
        first[0] = cuda_back(p.ctx, &dst);
        if (train)
            p.there->steps--; /* the same dropout again */
        OK(equinv_model_forward(p.there, train, &p.images_there, &dst));
        first[1] = cuda_back(p.ctx, &dst);
        ASSERT_SAME(&first[0], &first[1]);
        equinv_tensor_destroy(p.ctx, &first[0]);
        equinv_tensor_destroy(p.ctx, &first[1]);
    }
    pair_small_free(&p);
}
END_TEST

START_TEST(memory_of_the_wrong_device)
{
    pair p = pair_small(8, 2, EQUINV_F32);
    equinv_tensor dst, here = tensor_new(p.cpu, EQUINV_F32, 2, 2, 3);
    FAILS(EQUINV_ERR_DEVICE, "images is on device cpu:0, expected cuda:0",
          equinv_model_forward(p.there, true, &p.images, &dst));
    FAILS(EQUINV_ERR_DEVICE, "images is on device cuda:0, expected cpu:0",
          equinv_model_forward(p.here, true, &p.images_there, &dst));
    OK(equinv_model_forward(p.there, true, &p.images_there, &dst));
    FAILS(EQUINV_ERR_DEVICE, "diff_dst is on device cpu:0", equinv_model_backward(p.there, &here));
    OK(equinv_model_backward(p.there, &dst));
    FAILS(EQUINV_ERR_ARG, "images overlaps the model's memory",
          equinv_model_forward(
              p.there, true,
              &(equinv_tensor){
                  p.there->kept.data, p.ctx->device, EQUINV_F32, 4, {1, 1, 8, 8}, {64, 64, 8, 1}},
              &dst));
    equinv_tensor_destroy(p.cpu, &here);
    pair_small_free(&p);
}
END_TEST

START_TEST(reports_and_votes_are_the_cpus)
{
    equinv_context *const ctx = cuda_context_new();
    equinv_projection_desc d = EQUINV_PROJECTION_DESC_INIT;
    equinv_projection *projection;
    equinv_report_desc how = EQUINV_REPORT_DESC_INIT;
    equinv_report report;
    equinv_tensor rows, labels;
    double accuracy;
    d.group = equinv_cyclic(4);
    d.fields = 2;
    d.height = d.width = 1;
    OK(equinv_projection_create(ctx, &d, &projection));
    OK(equinv_tensor_create(ctx, EQUINV_F32, 3, (int64_t[]){4, 2, 4}, &rows));
    OK(equinv_tensor_create(ctx, EQUINV_I32, 1, (int64_t[]){4}, &labels));
    FAILS(EQUINV_ERR_UNSUPPORTED, "expected one of a context of EQUINV_DEVICE_CPU",
          equinv_report_compute(projection, &rows, &labels, &how, &report, NULL));
    FAILS(EQUINV_ERR_UNSUPPORTED, "expected a context of EQUINV_DEVICE_CPU",
          equinv_knn_accuracy(ctx, &rows, &labels, &rows, &labels, 1, &accuracy));
    equinv_tensor_destroy(ctx, &labels);
    equinv_tensor_destroy(ctx, &rows);
    equinv_projection_destroy(projection);
    equinv_context_destroy(ctx);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {everything_is_as_on_the_cpu, NETWORKS}, {new_models_are_the_same, 1},
        {training_goes_the_same_way, 1},         {batches_change, 1},
        {the_same_call_gives_the_same_bits, 1},  {memory_of_the_wrong_device, 1},
        {reports_and_votes_are_the_cpus, 1},
    };
    return run_cuda_tests("cuda model", tests, sizeof tests / sizeof *tests);
}
