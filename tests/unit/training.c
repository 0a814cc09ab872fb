/* A step of training, forward to optimiser: the same bits from run to run, and no memory after the first. */
#include "internal/model.h"
#include "tests/util/conv.h"
#include "tests/util/network.h"

enum { BATCH = 24, STEPS = 4, THREADS = 2, CLASSES = 4 };

static equinv_context *context_of(int threads, fault_allocator *faults)
{
    equinv_context_desc d = EQUINV_CONTEXT_DESC_INIT;
    equinv_context *ctx = NULL;
    d.device = EQUINV_DEVICE_CPU;
    d.threads = threads;
    if (faults)
        d.allocator = fault_allocator_of(faults);
    OK(equinv_context_create(&d, &ctx));
    return ctx;
}

/* ---- convolution ------------------------------------------------------------------------------- */

/* All passes of large and small problems through the Fourier form, again and again, on two contexts. */
START_TEST(convolution_repeats_its_bits)
{
    static const struct {
        equinv_conv_kind kind;
        int group;
        int64_t batch, in, out, height, width, k, s;
    } table[] = {
        {EQUINV_CONV_REGULAR, 5, 16, 4, 6, 14, 15, 3, 1},
        {EQUINV_CONV_REGULAR, 2, 40, 3, 5, 7, 7, 5, 1},
        {EQUINV_CONV_REGULAR, 4, 8, 5, 4, 21, 20, 3, 2},
        {EQUINV_CONV_REGULAR, 1, 2, 40, 9, 30, 31, 3, 1},
        {EQUINV_CONV_LIFTING, 5, 16, 3, 8, 28, 28, 5, 1},
        {EQUINV_CONV_TO_PLANE, 3, 24, 6, 5, 13, 12, 3, 1},
    };
    for (size_t row = 0; row < sizeof table / sizeof *table; row++) {
        equinv_conv_desc d = EQUINV_CONV_DESC_INIT;
        d.kind = table[row].kind;
        d.group = grid_groups[table[row].group];
        d.batch = table[row].batch;
        d.fields_in = table[row].in, d.fields_out = table[row].out;
        d.height = table[row].height, d.width = table[row].width;
        d.kernel = table[row].k, d.stride = table[row].s, d.padding = (d.kernel - 1) / 2;
        d.bias = true;
        equinv_context *const ctx[2] = {context_of(1 + _i, NULL), context_of(1 + _i, NULL)};
        conv_case c[2];
        for (int i = 0; i < 2; i++) {
            c[i] = conv_case_new(ctx[i], &(rng){row}, &d);
            ck_assert_str_eq(equinv_plan_impl_name(c[i].plan), "conv/gfourier");
        }
        conv_run(&c[0], c[0].plan);
        for (int run = 0; run < 6; run++) {
            conv_run(&c[1], c[1].plan);
            ASSERT_SAME(&c[1].dst, &c[0].dst);
            ASSERT_SAME(&c[1].diff_src, &c[0].diff_src);
            ASSERT_SAME(&c[1].diff_psi, &c[0].diff_psi);
            ASSERT_SAME(&c[1].diff_bias, &c[0].diff_bias);
        }
        for (int i = 0; i < 2; i++) {
            conv_case_free(ctx[i], &c[i]);
            equinv_context_destroy(ctx[i]);
        }
    }
}
END_TEST

/* ---- a network --------------------------------------------------------------------------------- */

typedef struct training {
    equinv_context *ctx;
    equinv_model *model;
    equinv_optimizer *optimizer;
    const equinv_parameter *parameters;
    size_t count;
    equinv_tensor images, labels, loss, diff, logits; /* logits: a view into the model */
} training;

static equinv_model *network(equinv_context *ctx)
{
    equinv_model *const m = model_new(ctx, equinv_dihedral(4), EQUINV_F32, 1, 16, 16);
    model_add(m, conv_of("lift", 4, 5));
    model_add(m, layer_of(EQUINV_LAYER_BATCH_NORM, "norm1"));
    model_add(m, layer_of(EQUINV_LAYER_RELU, "relu1"));
    model_add(m, pool_of("pool1", EQUINV_POOL_MAX, 2));
    model_add(m, conv_of("conv2", 4, 3));
    model_add(m, layer_of(EQUINV_LAYER_BATCH_NORM, "norm2"));
    model_add(m, add_of("sum", "pool1", "norm2"));
    model_add(m, layer_of(EQUINV_LAYER_RELU, "relu2"));
    equinv_layer_desc strided = conv_of("conv3", 6, 3);
    strided.stride = 2;
    model_add(m, strided);
    model_add(m, layer_of(EQUINV_LAYER_DROPOUT, "drop"));
    model_add(m, pool_of("group", EQUINV_POOL_GROUP_MAX, 1));
    model_add(m, pool_of("mean", EQUINV_POOL_GLOBAL_AVERAGE, 1));
    model_add(m, dense_of("logits", CLASSES));
    return m;
}

static training training_new(equinv_context *ctx, equinv_optimizer_kind kind)
{
    training t = {.ctx = ctx, .model = network(ctx)};
    rng r = {5};
    equinv_optimizer_desc d = EQUINV_OPTIMIZER_DESC_INIT;
    d.kind = kind;
    d.learning_rate = 0.02;
    d.momentum = kind == EQUINV_OPTIMIZER_SGD ? 0.9 : 0;
    OK(equinv_model_parameters(t.model, &t.parameters, &t.count));
    OK(equinv_optimizer_create(ctx, &d, t.parameters, t.count, &t.optimizer));
    t.images = tensor_random(ctx, &r, EQUINV_F32, 4, BATCH, 1, 16, 16);
    t.labels = tensor_new(ctx, EQUINV_I32, 1, BATCH);
    for (int64_t i = 0; i < BATCH; i++)
        tensor_set(&t.labels, i, (double)(i % CLASSES));
    t.loss = tensor_new(ctx, EQUINV_F32, 1, 1);
    t.diff = tensor_new(ctx, EQUINV_F32, 2, BATCH, CLASSES);
    return t;
}

static void training_free(training *t)
{
    equinv_optimizer_destroy(t->optimizer);
    equinv_model_destroy(t->model);
    equinv_tensor *const tensors[] = {&t->images, &t->labels, &t->loss, &t->diff};
    for (int i = 0; i < 4; i++)
        equinv_tensor_destroy(t->ctx, tensors[i]);
}

static void step(training *t)
{
    OK(equinv_model_forward(t->model, true, &t->images, &t->logits));
    OK(equinv_cross_entropy(t->ctx, &t->logits, &t->labels, &t->loss, &t->diff));
    OK(equinv_model_backward(t->model, &t->diff));
    OK(equinv_optimizer_step(t->optimizer));
}

/* Layers whose plan for the batch is conv/gfourier. */
static int fourier_layers(const equinv_model *model)
{
    int layers = 0;
    for (int s = 0; s < EQI_PLAN_SETS; s++)
        for (int32_t i = 1; model->sets[s].batch == BATCH && i < model->sets[s].nodes; i++) {
            const equinv_plan *const plan = model->sets[s].planned[i].plan;
            layers += plan && strcmp(equinv_plan_impl_name(plan), "conv/gfourier") == 0;
        }
    return layers;
}

static const equinv_optimizer_kind kinds[] = {EQUINV_OPTIMIZER_ADAM, EQUINV_OPTIMIZER_SGD};

START_TEST(training_repeats_its_bits)
{
    const int threads = 1 + _i % THREADS;
    equinv_context *const ctx[2] = {context_of(threads, NULL), context_of(threads, NULL)};
    training t[2];
    for (int i = 0; i < 2; i++)
        t[i] = training_new(ctx[i], kinds[_i / THREADS]);
    equinv_tensor before = tensor_as(ctx[0], &t[0].parameters[0].value, EQUINV_F32);
    int64_t where;
    for (int s = 0; s < STEPS; s++) {
        for (int i = 0; i < 2; i++)
            step(&t[i]);
        ASSERT_SAME(&t[0].logits, &t[1].logits);
        ASSERT_SAME(&t[0].loss, &t[1].loss);
        for (size_t p = 0; p < t[0].count; p++) {
            ASSERT_SAME(&t[0].parameters[p].gradient, &t[1].parameters[p].gradient);
            ASSERT_SAME(&t[0].parameters[p].value, &t[1].parameters[p].value);
        }
    }
    ck_assert_int_eq(fourier_layers(t[0].model), 3);
    ck_assert(!tensor_same(&before, &t[0].parameters[0].value, &where)); /* something was learnt */
    equinv_tensor_destroy(ctx[0], &before);
    for (int i = 0; i < 2; i++) {
        training_free(&t[i]);
        equinv_context_destroy(ctx[i]);
    }
}
END_TEST

/* Every allocation after the first step fails, so none may be tried. */
START_TEST(steps_after_the_first_allocate_nothing)
{
    fault_allocator f = {.until = -1};
    equinv_context *const ctx = context_of(1 + _i % THREADS, &f);
    training t = training_new(ctx, kinds[_i / THREADS]);
    step(&t);
    const int64_t count = f.count, live = f.live;
    f.until = f.count;
    for (int s = 0; s < STEPS; s++)
        step(&t);
    ck_assert_int_eq(f.count, count);
    ck_assert_int_eq(f.live, live);
    /* The same for an evaluation between steps, from the second on. */
    f.until = -1;
    OK(equinv_model_forward(t.model, false, &t.images, &t.logits));
    const int64_t evaluated = f.count;
    f.until = f.count;
    for (int s = 0; s < STEPS; s++) {
        step(&t);
        OK(equinv_model_forward(t.model, false, &t.images, &t.logits));
    }
    ck_assert_int_eq(f.count, evaluated);
    f.until = -1;
    training_free(&t);
    equinv_context_destroy(ctx);
    ck_assert_int_eq(f.live, 0);
    ck_assert_int_eq(f.wrong_size, 0);
}
END_TEST

int main(void)
{
    enum { WAYS = sizeof kinds / sizeof *kinds * THREADS };
    const test_entry tests[] = {
        {convolution_repeats_its_bits, THREADS},
        {training_repeats_its_bits, WAYS},
        {steps_after_the_first_allocate_nothing, WAYS},
    };
    return run_tests("training", tests, sizeof tests / sizeof *tests);
}
