/*
 * Batch norm and ReLU that a convolution finishes in evaluation: the bits of the layers one after the
 * other, whatever layer is asked for, and only where nobody else wants what stands between.
 */
#include "internal/conv.h"
#include "internal/model.h"
#include "tests/util/network.h"

enum { GROUPS = 6, BATCH = 5 };

static equinv_layer_desc relu_of(const char *name, double slope)
{
    equinv_layer_desc d = layer_of(EQUINV_LAYER_RELU, name);
    d.slope = slope;
    return d;
}

/* Convolutions before all that may and may not be finished; two images' sizes, bands and single tiles. */
static equinv_model *network_of(equinv_context *ctx, equinv_group group, equinv_dtype dtype,
                                int64_t size)
{
    equinv_model *const m = model_new(ctx, group, dtype, 1, size, size + 1);
    model_add(m, conv_of("lift", 9, 5));
    model_add(m, layer_of(EQUINV_LAYER_BATCH_NORM, "lift-norm"));
    model_add(m, relu_of("lift-relu", 0));
    equinv_layer_desc d = conv_of("strided", 3, 3);
    d.stride = 2, d.bias = false;
    model_add(m, d);
    model_add(m, layer_of(EQUINV_LAYER_BATCH_NORM, "strided-norm"));
    model_add(m, relu_of("leaks", 0.25));
    model_add(m, conv_of("plain", 3, 3));
    model_add(m, relu_of("plain-relu", 0.1));
    model_add(m, conv_of("residual", 3, 3));
    model_add(m, layer_of(EQUINV_LAYER_BATCH_NORM, "residual-norm"));
    model_add(m, add_of("sum", "leaks", "residual-norm"));
    model_add(m, relu_of("sum-relu", 0));
    model_add(m, conv_of("read-twice", 2, 1));
    model_add(m, relu_of("first-reader", 0));
    d = relu_of("second-reader", 0.5);
    d.from[0] = "read-twice";
    model_add(m, d);
    d = layer_of(EQUINV_LAYER_CONV_PLANE, "plane");
    d.fields = 2, d.kernel = 3, d.padding = 1;
    model_add(m, d);
    model_add(m, layer_of(EQUINV_LAYER_BATCH_NORM, "plane-norm"));
    model_add(m, relu_of("plane-relu", 0));
    return m;
}

static equinv_tensor extracted(equinv_model *m, const equinv_tensor *images, const char *layer)
{
    equinv_extract_desc e = EQUINV_EXTRACT_DESC_INIT;
    int64_t s[5];
    e.layer = layer;
    e.batch = 3; /* and a rest */
    OK(equinv_model_layer_shape(m, layer, s));
    equinv_tensor z =
        tensor_new(m->ctx, m->desc.dtype, 5, BATCH, (int)s[1], (int)s[2], (int)s[3], (int)s[4]);
    OK(equinv_extract(m, &e, images, NULL, &z));
    return z;
}

/* The layer by itself, of what its input is when that is asked for. */
static void step(equinv_model *m, const eqi_node *node, const equinv_tensor *src,
                 const equinv_tensor *dst)
{
    if (node->desc.op == EQUINV_LAYER_RELU) {
        OK(equinv_relu_forward(m->ctx, node->desc.slope, src, dst));
        return;
    }
    const equinv_tensor *const a = node->array;
    const equinv_batch_norm_desc d = eqi_model_batch_norm_desc(m, node, BATCH);
    equinv_plan *plan = NULL;
    OK(equinv_batch_norm_plan_create(m->ctx, &d, &plan));
    OK(equinv_batch_norm_forward_eval(plan, src, &a[EQI_GAMMA], &a[EQI_BETA], &a[EQI_RUNNING_MEAN],
                                      &a[EQI_RUNNING_VAR], dst, NULL, 0));
    equinv_plan_destroy(plan);
}

/* A mean far from the values, and a scale of zero. */
static void disturb(rng *r, equinv_model *m)
{
    network_disturb(r, m);
    for (int32_t i = 1; i < m->count; i++) {
        const equinv_tensor *const a = m->nodes[i]->array;
        if (m->nodes[i]->desc.op != EQUINV_LAYER_BATCH_NORM)
            continue;
        tensor_set(&a[EQI_RUNNING_MEAN], 0, 1000.0 / 3);
        tensor_set(&a[EQI_GAMMA], a[EQI_GAMMA].shape[0] - 1, 0);
    }
}

START_TEST(the_bits_of_the_layers_in_steps)
{
    equinv_context *const ctx = context_at_level(_i / GROUPS);
    for (int which = 0; ctx && which < 3; which++) {
        rng r = {(uint64_t)(_i * 3 + which)};
        equinv_model *const m = network_of(ctx, grid_groups[_i % GROUPS],
                                           which == 2 ? EQUINV_F64 : EQUINV_F32, which ? 7 : 21);
        disturb(&r, m);
        equinv_tensor images = network_images(ctx, &r, m, BATCH, EQUINV_F32);
        tensor_set(&images, 40, (double)NAN); /* it spreads, and stays through ReLU */
        for (int32_t i = 1; i < m->count; i++) {
            const eqi_node *const node = m->nodes[i];
            if (node->desc.op != EQUINV_LAYER_BATCH_NORM && node->desc.op != EQUINV_LAYER_RELU)
                continue;
            equinv_tensor dst = extracted(m, &images, node->name);
            equinv_tensor src = extracted(m, &images, m->nodes[node->from[0]]->name);
            equinv_tensor expected = tensor_like(ctx, &dst);
            step(m, node, &src, &expected);
            int64_t where = -1;
            ck_assert_msg(tensor_same(&dst, &expected, &where), "%s differs at %lld", node->name,
                          (long long)where);
            equinv_tensor_destroy(ctx, &expected), equinv_tensor_destroy(ctx, &src);
            equinv_tensor_destroy(ctx, &dst);
        }
        equinv_tensor_destroy(ctx, &images);
        equinv_model_destroy(m);
    }
    equinv_context_destroy(ctx);
}
END_TEST

static int32_t number_of(const equinv_model *m, const char *layer)
{
    int32_t index;
    OK(eqi_model_find(m, layer, &index));
    return index;
}

START_TEST(what_is_finished)
{
    static const struct {
        const char *target, *layer, *conv; /* conv NULL: by itself */
    } table[] = {
        {"plane-relu", "lift-norm", "lift"},
        {"plane-relu", "lift-relu", "lift"},
        {"plane-relu", "leaks", "strided"},
        {"plane-relu", "plain-relu", "plain"},
        {"plane-relu", "residual-norm", "residual"},
        {"plane-relu", "sum-relu", NULL},
        {"plane-relu", "plane-relu", "plane"},
        {"second-reader", "second-reader", "read-twice"}, /* then nobody wants the first */
        {"strided-norm", "strided-norm", "strided"},
        {"strided", "lift-relu", "lift"},
    };
    equinv_context *const ctx = context_new();
    equinv_model *const m = network_of(ctx, equinv_dihedral(4), EQUINV_F32, 9);
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        int64_t bytes;
        OK(eqi_place_values(m, number_of(m, table[i].target), 2, false, &bytes));
        ck_assert_int_eq(m->slots[number_of(m, table[i].layer)].finished_by,
                         table[i].conv ? number_of(m, table[i].conv) : 0);
    }
    /* Two readers at once: the sum of both. */
    model_add(m, add_of("both", "first-reader", "second-reader"));
    int64_t bytes;
    OK(eqi_place_values(m, m->count - 1, 2, false, &bytes));
    ck_assert_int_eq(m->slots[number_of(m, "first-reader")].finished_by, 0);
    ck_assert_int_eq(m->slots[number_of(m, "second-reader")].finished_by, 0);
    equinv_model_destroy(m);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(which_plans_can)
{
    static const struct {
        const char *impl;
        bool transposed, accumulate, can;
    } table[] = {{"gfourier", false, false, true},
                 {"gfourier", true, false, false},
                 {"gfourier", false, true, false},
                 {"gemm", false, false, false},
                 {"ref", false, false, false}};
    equinv_context *const ctx = context_new();
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        equinv_conv_desc d = EQUINV_CONV_DESC_INIT;
        equinv_plan *plan = NULL;
        d.batch = 1, d.fields_in = d.fields_out = 2, d.height = d.width = 5;
        d.impl = table[i].impl;
        d.transposed = table[i].transposed, d.accumulate = table[i].accumulate;
        OK(equinv_conv_plan_create(ctx, &d, &plan));
        ck_assert(eqi_conv_finishes(plan) == table[i].can);
        equinv_plan_destroy(plan);
    }
    equinv_context_destroy(ctx);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {the_bits_of_the_layers_in_steps, TEST_LEVELS * GROUPS},
        {what_is_finished, 1},
        {which_plans_can, 1},
    };
    return run_tests("model_finish", tests, sizeof tests / sizeof *tests);
}
