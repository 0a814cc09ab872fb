/* What models are made of: shapes, first parameters, wrong layers, wrong arguments. */
#include <math.h>

#include "internal/model.h"
#include "tests/util/network.h"

START_TEST(shapes_and_descriptions)
{
    equinv_context *const ctx = context_new();
    equinv_model *const m = network_small(ctx);
    static const struct {
        const char *name;
        int64_t shape[5];
    } expected[] = {
        {"input", {1, 1, 1, 8, 8}}, {"conv1", {1, 2, 4, 8, 8}},  {"relu1", {1, 2, 4, 8, 8}},
        {"pool1", {1, 2, 4, 4, 4}}, {"conv2", {1, 2, 4, 4, 4}},  {"sum", {1, 2, 4, 4, 4}},
        {"plane", {1, 3, 1, 4, 4}}, {"group", {1, 2, 1, 4, 4}},  {"drop", {1, 2, 1, 4, 4}},
        {"mean", {1, 2, 1, 1, 1}},  {"logits", {1, 3, 1, 1, 1}},
    };
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        int64_t shape[5];
        OK(equinv_model_layer_shape(m, expected[i].name, shape));
        ck_assert_msg(memcmp(shape, expected[i].shape, sizeof shape) == 0, "%s", expected[i].name);
    }
    int64_t count;
    equinv_layer_desc d;
    OK(equinv_model_layer_count(m, &count));
    ck_assert_int_eq(count, 11);
    OK(equinv_model_layer(m, 0, &d));
    ck_assert_str_eq(d.name, "conv1");
    ck_assert_str_eq(d.from[0], "input");
    ck_assert(!d.from[1] && d.fields == 2 && d.kernel == 3 && d.bias);
    OK(equinv_model_layer(m, 5, &d));
    ck_assert_str_eq(d.from[0], "pool1");
    ck_assert_str_eq(d.from[1], "conv2");
    OK(equinv_model_layer(m, 7, &d));
    ck_assert(d.op == EQUINV_LAYER_POOL && d.pool == EQUINV_POOL_GROUP_MAX);
    equinv_model_desc desc;
    OK(equinv_model_describe(m, &desc));
    ck_assert(desc.group.n == 4 && desc.height == 8 && desc.seed == 1 &&
              desc.struct_size == sizeof desc);
    const equinv_parameter *p;
    size_t parameters;
    static const char *const names[] = {"conv1.weights", "conv1.bias",     "norm1.gamma",
                                        "norm1.beta",    "conv2.weights",  "plane.weights",
                                        "plane.bias",    "logits.weights", "logits.bias"};
    OK(equinv_model_parameters(m, &p, &parameters));
    ck_assert_uint_eq(parameters, sizeof names / sizeof *names);
    for (size_t i = 0; i < parameters; i++)
        ck_assert_str_eq(p[i].name, names[i]);
    ck_assert(p[0].value.ndim == 4 && p[4].value.ndim == 5 && p[4].value.shape[1] == 1);
    equinv_model_destroy(m);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(initial_parameters)
{
    equinv_context *const ctx = context_new();
    equinv_model *const m = model_new(ctx, equinv_cyclic(4), EQUINV_F32, 1, 9, 9);
    model_add(m, conv_of("a", 16, 5));
    model_add(m, conv_of("b", 32, 3));
    model_add(m, layer_of(EQUINV_LAYER_BATCH_NORM, "n"));
    equinv_layer_desc plane = conv_of("c", 64, 3);
    plane.op = EQUINV_LAYER_CONV_PLANE;
    model_add(m, plane);
    static const struct {
        const char *name;
        double fan_in;
    } weights[] = {{"a.weights", 25}, {"b.weights", 16 * 4 * 9}, {"c.weights", 32 * 4 * 9}};
    const equinv_parameter *p;
    size_t count;
    OK(equinv_model_parameters(m, &p, &count));
    int found = 0;
    for (size_t i = 0; i < count; i++) {
        const double n = (double)equinv_tensor_count(&p[i].value);
        const double square = tensor_dot(&p[i].value, &p[i].value) / n;
        if (strstr(p[i].name, ".bias") || strstr(p[i].name, ".beta"))
            ck_assert(square == 0);
        if (strstr(p[i].name, ".gamma"))
            ck_assert(square == 1);
        for (int k = 0; k < 3; k++)
            if (strcmp(p[i].name, weights[k].name) == 0) {
                const double expected = 2 / weights[k].fan_in;
                ck_assert_msg(fabs(square / expected - 1) < 5 * sqrt(2 / n), "%s: %g, expected %g",
                              p[i].name, square, expected);
                found++;
            }
    }
    ck_assert_int_eq(found, 3);
    equinv_model_destroy(m);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(wrong_layers)
{
    equinv_context *const ctx = context_new();
    equinv_model *const m = network_small(ctx);
    equinv_layer_desc d;
    const equinv_layer_desc init = EQUINV_LAYER_DESC_INIT;
    const char long_name[] = "a123456789a123456789a123456789a123456789a123456789a123456789a123";
#define WRONG(status, word, base, ...)                                                             \
    do {                                                                                           \
        d = (base);                                                                                \
        __VA_ARGS__;                                                                               \
        FAILS(EQUINV_ERR_##status, word, equinv_model_add(m, &d));                                 \
    } while (0)
    WRONG(ARG, "struct_size", init, d.struct_size = 3);
    WRONG(ARG, "name is NULL", init, d.name = NULL);
    WRONG(ARG, "name is \"\"", init, d.name = "");
    WRONG(ARG, "a b", init, d.name = "a b");
    WRONG(ARG, "expected 1 to 63", init, d.name = "a/b");
    WRONG(ARG, "expected 1 to 63", init, d.name = "\xc3\xa4");
    WRONG(ARG, "expected 1 to 63", init, d.name = long_name);
    WRONG(ARG, "taken", init, d.name = "conv1");
    WRONG(ARG, "taken", init, d.name = "input");
    WRONG(ARG, "op is 0", conv_of("x", 2, 3), d.op = 0);
    WRONG(ARG, "op is 12", conv_of("x", 2, 3), d.op = 12);
    WRONG(ARG, "op is -1", conv_of("x", 2, 3), d.op = (equinv_layer_op)-1);
    WRONG(ARG, "from[0]: layer is \"nowhere\", expected one of input, conv1", conv_of("x", 2, 3),
          d.from[0] = "nowhere");
    WRONG(ARG, "from[1] is \"conv1\"", conv_of("x", 2, 3), d.from[1] = "conv1");
    WRONG(ARG, "from[1] is NULL", add_of("x", NULL, NULL), (void)0);
    WRONG(ARG, "from[1]: layer is", add_of("x", NULL, "x"), (void)0);
    WRONG(SHAPE, "\"conv1\" has shape [1, 2, 4, 8, 8], expected [1, 2, 4, 4, 4] as \"conv2\" has",
          add_of("x", "conv2", "conv1"), (void)0);
    WRONG(SHAPE, "layer \"x\"", conv_of("x", 0, 3), (void)0);
    WRONG(SHAPE, "fields_out", conv_of("x", -1, 3), (void)0);
    WRONG(SHAPE, "kernel", conv_of("x", 2, 0), (void)0);
    WRONG(SHAPE, "stride", conv_of("x", 2, 1), d.stride = 0);
    WRONG(SHAPE, "padding", conv_of("x", 2, 1), d.padding = -1);
    WRONG(SHAPE, "dilation", conv_of("x", 2, 1), d.dilation = 0);
    WRONG(SHAPE, "channel_groups", conv_of("x", 2, 1), d.channel_groups = 7);
    WRONG(ARG, "padding_mode", conv_of("x", 2, 1), d.padding_mode = 5);
    WRONG(SHAPE, "height", conv_of("x", 2, 11), d.from[0] = "conv2", d.padding = 0);
    WRONG(SHAPE, "", conv_of("x", INT64_C(1) << 39, INT64_C(1) << 12), d.padding = 1 << 12);
    WRONG(SHAPE, "regular fields", conv_of("x", 2, 1), d.op = EQUINV_LAYER_CONV_PLANE);
    WRONG(SHAPE, "layer \"x\"", pool_of("x", EQUINV_POOL_GROUP_MAX, 1), (void)0);
    WRONG(ARG, "pool is 0", pool_of("x", 0, 2), (void)0);
    WRONG(ARG, "upsample is 4", layer_of(EQUINV_LAYER_UPSAMPLE, "x"), d.upsample = 4);
    WRONG(SHAPE, "scale is 0", layer_of(EQUINV_LAYER_UPSAMPLE, "x"), d.scale = 0);
    WRONG(SHAPE, "output_padding is 1", conv_of("x", 2, 3), d.op = EQUINV_LAYER_CONV_TRANSPOSED,
          d.output_padding = 1);
    WRONG(SHAPE, "conv-plane-transposed reads", conv_of("x", 2, 3),
          d.op = EQUINV_LAYER_CONV_PLANE_TRANSPOSED);
    WRONG(ARG, "sigma is -1", pool_of("x", EQUINV_POOL_BLUR, 2), d.sigma = -1);
    WRONG(ARG, "pool is 77", pool_of("x", 77, 2), (void)0);
    WRONG(SHAPE, "kernel", pool_of("x", EQUINV_POOL_MAX, 0), d.from[0] = "conv1");
    WRONG(SHAPE, "padding", pool_of("x", EQUINV_POOL_MAX, 2), d.padding = 2, d.from[0] = "conv1");
    WRONG(ARG, "epsilon", layer_of(EQUINV_LAYER_BATCH_NORM, "x"), d.epsilon = 0);
    WRONG(ARG, "epsilon", layer_of(EQUINV_LAYER_BATCH_NORM, "x"), d.epsilon = (double)NAN);
    WRONG(ARG, "momentum", layer_of(EQUINV_LAYER_BATCH_NORM, "x"), d.momentum = 1.5);
    WRONG(ARG, "momentum", layer_of(EQUINV_LAYER_BATCH_NORM, "x"), d.momentum = -0.1);
    WRONG(ARG, "slope is 1", layer_of(EQUINV_LAYER_RELU, "x"), d.slope = 1);
    WRONG(ARG, "slope", layer_of(EQUINV_LAYER_RELU, "x"), d.slope = (double)NAN);
    WRONG(ARG, "p is 1", layer_of(EQUINV_LAYER_DROPOUT, "x"), d.p = 1);
    WRONG(ARG, "p is -0.5", layer_of(EQUINV_LAYER_DROPOUT, "x"), d.p = -0.5);
    WRONG(SHAPE, "fields is 0", dense_of("x", 0), (void)0);
#undef WRONG
    int64_t count;
    OK(equinv_model_layer_count(m, &count));
    ck_assert_int_eq(count, 11); /* nothing of all this was added */
    model_add(m, dense_of("x", 2));
    equinv_model_destroy(m);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(as_many_layers_as_allowed)
{
    equinv_context *const ctx = context_new();
    equinv_model *const m = model_new(ctx, equinv_cyclic(2), EQUINV_F32, 1, 3, 3);
    char name[16];
    equinv_layer_desc d = layer_of(EQUINV_LAYER_RELU, name);
    for (int i = 0; i < EQI_LAYERS_MAX; i++) {
        snprintf(name, sizeof name, "r%d", i);
        model_add(m, d);
    }
    d.name = "one-more";
    FAILS(EQUINV_ERR_UNSUPPORTED, "1024 layers", equinv_model_add(m, &d));
    rng r = {1};
    equinv_tensor images = network_images(ctx, &r, m, 2, EQUINV_F32), dst;
    OK(equinv_model_forward(m, false, &images, &dst));
    for (int64_t i = 0; i < 18; i++)
        ck_assert(tensor_get(&dst, i) == fmax(0, tensor_get(&images, i)));
    equinv_tensor_destroy(ctx, &images);
    equinv_model_destroy(m);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(wrong_arguments)
{
    equinv_context *const ctx = context_new();
    equinv_model_desc d;
    const equinv_model_desc init = EQUINV_MODEL_DESC_INIT;
    equinv_model *m = NULL;
#define WRONG(status, word, ...)                                                                   \
    do {                                                                                           \
        d = init;                                                                                  \
        d.height = d.width = 4;                                                                    \
        __VA_ARGS__;                                                                               \
        FAILS(EQUINV_ERR_##status, word, equinv_model_create(ctx, &d, &m));                        \
        ck_assert_ptr_null(m);                                                                     \
    } while (0)
    FAILS(EQUINV_ERR_ARG, "ctx", equinv_model_create(NULL, &init, &m));
    FAILS(EQUINV_ERR_ARG, "desc", equinv_model_create(ctx, NULL, &m));
    FAILS(EQUINV_ERR_ARG, "model", equinv_model_create(ctx, &init, NULL));
    WRONG(ARG, "struct_size", d.struct_size--);
    WRONG(ARG, "C0", d.group.n = 0);
    WRONG(UNSUPPORTED, "group is C8", d.group.n = 8);
    WRONG(UNSUPPORTED, "group is D3", d.group = equinv_dihedral(3));
    WRONG(UNSUPPORTED, "S", d.group = equinv_symmetric());
    WRONG(DTYPE, "i32", d.dtype = EQUINV_I32);
    WRONG(DTYPE, "bf16", d.dtype = EQUINV_BF16);
    WRONG(SHAPE, "channels is 0", d.channels = 0);
    WRONG(SHAPE, "height is -1", d.height = -1);
    WRONG(SHAPE, "width is 0", d.width = 0);
    WRONG(SHAPE, "2^63", d.height = d.width = INT64_C(1) << 40);
    WRONG(ARG, "scale", d.scale = (double)INFINITY);
    WRONG(ARG, "shift", d.shift = (double)NAN);
#undef WRONG
    m = network_small(ctx);
    rng r = {1};
    equinv_tensor images = network_images(ctx, &r, m, 2, EQUINV_F32), dst = {0}, t;
    const equinv_parameter *p;
    equinv_layer_desc layer = conv_of("x", 1, 1);
    size_t count;
    int64_t number, shape[5];
    FAILS(EQUINV_ERR_ARG, "model", equinv_model_add(NULL, &layer));
    FAILS(EQUINV_ERR_ARG, "layer", equinv_model_add(m, NULL));
    FAILS(EQUINV_ERR_ARG, "model", equinv_model_layer_count(NULL, &number));
    FAILS(EQUINV_ERR_ARG, "count", equinv_model_layer_count(m, NULL));
    FAILS(EQUINV_ERR_ARG, "model", equinv_model_layer(NULL, 0, &layer));
    FAILS(EQUINV_ERR_ARG, "index is -1", equinv_model_layer(m, -1, &layer));
    FAILS(EQUINV_ERR_ARG, "index is 11", equinv_model_layer(m, 11, &layer));
    FAILS(EQUINV_ERR_ARG, "layer is NULL", equinv_model_layer(m, 0, NULL));
    FAILS(EQUINV_ERR_ARG, "model", equinv_model_layer_shape(NULL, "conv1", shape));
    FAILS(EQUINV_ERR_ARG, "NULL", equinv_model_layer_shape(m, NULL, shape));
    FAILS(EQUINV_ERR_ARG, "shape", equinv_model_layer_shape(m, "conv1", NULL));
    FAILS(EQUINV_ERR_ARG, "logits", equinv_model_layer_shape(m, "conv9", shape));
    FAILS(EQUINV_ERR_ARG, "model", equinv_model_describe(NULL, &d));
    FAILS(EQUINV_ERR_ARG, "desc", equinv_model_describe(m, NULL));
    FAILS(EQUINV_ERR_ARG, "model", equinv_model_parameters(NULL, &p, &count));
    FAILS(EQUINV_ERR_ARG, "parameters", equinv_model_parameters(m, NULL, &count));
    FAILS(EQUINV_ERR_ARG, "count", equinv_model_parameters(m, &p, NULL));
    FAILS(EQUINV_ERR_ARG, "model", equinv_model_activation(NULL, "conv1", &t));
    FAILS(EQUINV_ERR_ARG, "layer", equinv_model_activation(m, NULL, &t));
    FAILS(EQUINV_ERR_ARG, "activation", equinv_model_activation(m, "conv1", NULL));

    FAILS(EQUINV_ERR_ARG, "model", equinv_model_forward(NULL, true, &images, &dst));
    FAILS(EQUINV_ERR_ARG, "images is NULL", equinv_model_forward(m, true, NULL, &dst));
    FAILS(EQUINV_ERR_ARG, "dst", equinv_model_forward(m, true, &images, NULL));
    static const struct {
        equinv_status status;
        const char *word;
        int axis;
        int64_t extent;
    } wrong[] = {{EQUINV_ERR_SHAPE, "[2, 3, 8, 8], expected [N, 1, 8, 8]", 1, 3},
                 {EQUINV_ERR_SHAPE, "[2, 1, 7, 8]", 2, 7},
                 {EQUINV_ERR_SHAPE, "[2, 1, 8, 9]", 3, 9},
                 {EQUINV_ERR_SHAPE, "-2", 0, -2}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        t = images;
        t.shape[wrong[i].axis] = wrong[i].extent;
        FAILS(wrong[i].status, wrong[i].word, equinv_model_forward(m, i % 2, &t, &dst));
    }
    t = images;
    t.ndim = 5;
    t.shape[4] = t.strides[4] = 1;
    FAILS(EQUINV_ERR_SHAPE, "[2, 1, 8, 8, 1]", equinv_model_forward(m, false, &t, &dst));
    t = images;
    t.dtype = EQUINV_I32;
    FAILS(EQUINV_ERR_DTYPE, "i32", equinv_model_forward(m, false, &t, &dst));
    t = images;
    t.device.kind = EQUINV_DEVICE_CUDA;
    FAILS(EQUINV_ERR_DEVICE, "device", equinv_model_forward(m, false, &t, &dst));
    t = images;
    t.data = NULL;
    FAILS(EQUINV_ERR_ARG, "data", equinv_model_forward(m, false, &t, &dst));
    ck_assert_ptr_null(dst.data);

    FAILS(EQUINV_ERR_ARG, "model", equinv_model_backward(NULL, &images));
    FAILS(EQUINV_ERR_ARG, "train true", equinv_model_backward(m, &images));
    OK(equinv_model_forward(m, true, &images, &dst));
    FAILS(EQUINV_ERR_ARG, "diff_dst is NULL", equinv_model_backward(m, NULL));
    FAILS(EQUINV_ERR_SHAPE, "diff_dst", equinv_model_backward(m, &images));
    t = dst;
    t.shape[0] = 1;
    FAILS(EQUINV_ERR_SHAPE, "diff_dst has shape [1, 3], expected [2, 3]",
          equinv_model_backward(m, &t));
    t = dst;
    t.dtype = EQUINV_F64;
    FAILS(EQUINV_ERR_DTYPE, "diff_dst", equinv_model_backward(m, &t));
    t.dtype = EQUINV_U8;
    FAILS(EQUINV_ERR_DTYPE, "diff_dst", equinv_model_backward(m, &t));
    t = dst;
    t.device.index = 1;
    FAILS(EQUINV_ERR_DEVICE, "diff_dst", equinv_model_backward(m, &t));
    OK(equinv_model_activation(m, "input", &t));
    t.ndim = 4; /* one channel: the third axis is one of size 1 as well */
    t.shape[2] = t.shape[3] = 8;
    t.strides[2] = 8;
    t.strides[3] = 1;
    FAILS(EQUINV_ERR_ARG, "the model's memory", equinv_model_forward(m, true, &t, &dst));
    equinv_model_destroy(NULL);
    equinv_tensor_destroy(ctx, &images);
    equinv_model_destroy(m);
    equinv_context_destroy(ctx);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {shapes_and_descriptions, 1},   {initial_parameters, 1}, {wrong_layers, 1},
        {as_many_layers_as_allowed, 1}, {wrong_arguments, 1},
    };
    return run_tests("model_layers", tests, sizeof tests / sizeof *tests);
}
