/* escnn checkpoints: expanded filters go back to psi; what is no expansion is refused. */
#include <math.h>

#include "internal/model.h"
#include "tests/util/files.h"
#include "tests/util/network.h"

#ifdef EQI_HAVE_CJSON

static temp_folder folder;
static char path[160];

static void path_new(void)
{
    folder = temp_folder_new();
    snprintf(path, sizeof path, "%s", temp_path(&folder, "checkpoint.safetensors"));
}

/* A checkpoint in memory: names and tensors. */
enum { ITEMS = 64 };
typedef struct checkpoint {
    equinv_context *ctx;
    char names[ITEMS][128];
    equinv_tensor tensors[ITEMS];
    int count;
} checkpoint;

static equinv_tensor *put(checkpoint *c, const char *layer, const char *key, int ndim,
                          const int64_t *shape)
{
    ck_assert(c->count < ITEMS);
    snprintf(c->names[c->count], sizeof c->names[0], "%s.%s", layer, key);
    OK(equinv_tensor_create(c->ctx, EQUINV_F32, ndim, shape, &c->tensors[c->count]));
    return &c->tensors[c->count++];
}

static equinv_tensor *find(checkpoint *c, const char *name)
{
    for (int i = 0; i < c->count; i++)
        if (strcmp(c->names[i], name) == 0)
            return &c->tensors[i];
    ck_abort_msg("no %s", name);
    return NULL;
}

static void save(const checkpoint *c)
{
    eqi_safetensors_item items[ITEMS];
    for (int i = 0; i < c->count; i++)
        items[i] = (eqi_safetensors_item){c->names[i], &c->tensors[i]};
    OK(eqi_safetensors_save(c->ctx, path, NULL, 0, items, c->count));
}

static void checkpoint_free(checkpoint *c)
{
    for (int i = 0; i < c->count; i++)
        equinv_tensor_destroy(c->ctx, &c->tensors[i]);
}

static bool is_conv(equinv_layer_op op)
{
    return op == EQUINV_LAYER_CONV || op == EQUINV_LAYER_CONV_PLANE ||
           op == EQUINV_LAYER_CONV_TRANSPOSED || op == EQUINV_LAYER_CONV_PLANE_TRANSPOSED;
}

/* Of a transposed layer the convolution from its output to its input. */
static equinv_conv_desc filter_desc(const equinv_model *m, const eqi_node *node)
{
    equinv_conv_desc d = eqi_model_conv_desc(m, node, 1);
    if (!d.transposed)
        return d;
    const int64_t fields = d.fields_in;
    d.fields_in = d.fields_out, d.fields_out = fields;
    if (d.kind != EQUINV_CONV_REGULAR)
        d.kind = d.kind == EQUINV_CONV_LIFTING ? EQUINV_CONV_TO_PLANE : EQUINV_CONV_LIFTING;
    return d;
}

/*
 * The filter by the action alone: as a set of fields over the taps, its row for g is g acting on its
 * row for e (group to plane: column h from column e).
 */
static void expand(equinv_context *ctx, const equinv_model *m, const eqi_node *node,
                   const equinv_tensor *filter)
{
    const equinv_conv_desc d = filter_desc(m, node);
    const equinv_tensor *const psi = &node->array[EQI_WEIGHTS];
    const int64_t out = d.fields_out, in = d.fields_in / d.channel_groups, k = d.kernel;
    const int64_t G = m->order;
    const bool plane = d.kind == EQUINV_CONV_TO_PLANE;
    const int64_t elements = d.kind == EQUINV_CONV_REGULAR ? G : 1;
    equinv_tensor row = *psi, turned = tensor_new(ctx, psi->dtype, 5, (int)out, (int)in,
                                                  (int)elements, (int)k, (int)k);
    OK(equinv_tensor_init(psi->data, psi->dtype, 5, (int64_t[]){out, in, elements, k, k}, &row));
    for (int32_t g = 0; g < G; g++) {
        OK(equinv_act(ctx, d.group, g, &row, &turned));
        for (int64_t n = 0; n < equinv_tensor_count(&turned); n++) {
            const int64_t tap = n % (k * k), h = n / (k * k) % elements;
            const int64_t i = n / (k * k) / elements % in, o = n / (k * k) / elements / in;
            const int64_t r = plane ? o : o * G + g;
            const int64_t c = plane ? i * G + g : i * elements + h;
            tensor_set(filter, (r * filter->shape[1] + c) * k * k + tap, tensor_get(&turned, n));
        }
    }
    equinv_tensor_destroy(ctx, &turned);
}

/* A window of the Gaussian, divided by its sum, for every channel. */
static void put_blur(checkpoint *c, const eqi_node *node, const char *key)
{
    const double sigma = node->desc.sigma;
    const int64_t reach = (int64_t)rint(3 * sigma), k = 2 * reach + 1;
    const int64_t shape[] = {node->shape[1] * node->shape[2], 1, k, k};
    const equinv_tensor *const t = put(c, node->name, key, 4, shape);
    double sum = 0;
    for (int pass = 0; pass < 2; pass++)
        for (int64_t n = 0; n < (pass ? shape[0] : 1) * k * k; n++) {
            const double y = (double)(n / k % k - reach), x = (double)(n % k - reach);
            const double value = exp(-(y * y + x * x) / (2 * sigma * sigma));
            sum += pass ? 0 : value;
            tensor_set(t, n, value / (pass ? sum : 1));
        }
}

static checkpoint checkpoint_of(equinv_context *ctx, const equinv_model *m)
{
    checkpoint c = {.ctx = ctx};
    for (int32_t i = 1; i < m->count; i++) {
        const eqi_node *const node = m->nodes[i];
        const equinv_tensor *const a = node->array;
        if (is_conv(node->desc.op)) {
            const equinv_conv_desc d = filter_desc(m, node);
            const int64_t Go = d.kind == EQUINV_CONV_TO_PLANE ? 1 : m->order,
                          Gi = d.kind == EQUINV_CONV_LIFTING ? 1 : m->order;
            const int64_t shape[] = {d.fields_out * Go, d.fields_in / d.channel_groups * Gi,
                                     d.kernel, d.kernel};
            expand(ctx, m, node, put(&c, node->name, "filter", 4, shape));
            if (a[EQI_BIAS].ndim) {
                const int64_t channels = node->shape[1] * node->shape[2];
                const equinv_tensor *const t = put(&c, node->name, "expanded_bias", 1, &channels);
                for (int64_t k = 0; k < channels; k++)
                    tensor_set(t, k, tensor_get(&a[EQI_BIAS], k / node->shape[2]));
            }
            put(&c, node->name, "weights", 1, shape); /* escnn's own coefficients: ignored */
        }
        static const char *const words[] = {"weight", "bias", "running_mean", "running_var"};
        for (int k = 0; k < 4 && node->desc.op == EQUINV_LAYER_BATCH_NORM; k++) {
            char key[64];
            snprintf(key, sizeof key, "batch_norm_[%d].%s", (int)node->shape[2], words[k]);
            const equinv_tensor *const t = put(&c, node->name, key, 1, a[EQI_GAMMA].shape);
            OK(equinv_tensor_convert(ctx, &a[EQI_GAMMA + k], 1, 0, t));
        }
        if (node->desc.op == EQUINV_LAYER_POOL && node->desc.pool == EQUINV_POOL_BLUR)
            put_blur(&c, node, c.count % 2 ? "filter" : "blur.filter");
        if (node->desc.op == EQUINV_LAYER_DENSE) {
            OK(equinv_tensor_convert(ctx, &a[EQI_WEIGHTS], 1, 0,
                                     put(&c, node->name, "weight", 2, a[EQI_WEIGHTS].shape)));
            if (a[EQI_BIAS].ndim)
                OK(equinv_tensor_convert(ctx, &a[EQI_BIAS], 1, 0,
                                         put(&c, node->name, "bias", 1, a[EQI_BIAS].shape)));
        }
    }
    return c;
}

/* A model of the same description with other parameters. */
static equinv_model *twin_of(equinv_context *ctx, const equinv_model *m, rng *r)
{
    equinv_model_desc d = m->desc;
    equinv_model *twin;
    d.seed = 77;
    OK(equinv_model_create(ctx, &d, &twin));
    for (int32_t i = 1; i < m->count; i++)
        model_add(twin, m->nodes[i]->desc);
    network_disturb(r, twin);
    return twin;
}

static void assert_same_arrays(const equinv_model *a, const equinv_model *b)
{
    for (int32_t i = 1; i < a->count; i++)
        for (int which = 0; which < EQI_ARRAYS; which++)
            if (a->nodes[i]->array[which].ndim)
                ASSERT_SAME(&a->nodes[i]->array[which], &b->nodes[i]->array[which]);
}

START_TEST(expanded_filters_go_back_to_psi)
{
    path_new();
    equinv_context *const ctx = context_new();
    for (uint64_t seed = 0; seed < 200; seed++) {
        rng r = {40000 + seed};
        equinv_model *const m =
            network_random(ctx, &r, (network_options){EQUINV_F32, seed % 2 == 0});
        network_disturb(&r, m);
        equinv_model *const twin = twin_of(ctx, m, &r);
        checkpoint c = checkpoint_of(ctx, m);
        save(&c);
        OK(equinv_model_load_escnn(twin, path));
        assert_same_arrays(twin, m);
        checkpoint_free(&c);
        equinv_model_destroy(twin);
        equinv_model_destroy(m);
    }
    equinv_context_destroy(ctx);
    temp_folder_free(&folder);
}
END_TEST

/* Every value of every array off by more than escnn's own error is seen, and nothing changes. */
START_TEST(other_filters_are_refused)
{
    path_new();
    equinv_context *const ctx = context_new();
    rng r = {2};
    for (int group = 1; group < 6; group++) {
        equinv_model *const m = model_new(ctx, grid_groups[group], EQUINV_F64, 1, 7, 7);
        model_add(m, conv_of("0", 2, 3));
        model_add(m, layer_of(EQUINV_LAYER_BATCH_NORM, "1"));
        model_add(m, conv_of("3", 1, 3));
        equinv_layer_desc plane = conv_of("4", 2, 3);
        plane.op = EQUINV_LAYER_CONV_PLANE;
        model_add(m, plane);
        network_disturb(&r, m);
        checkpoint c = checkpoint_of(ctx, m);
        static const char *const keys[] = {"0.filter", "3.filter", "4.filter", "0.expanded_bias"};
        for (int k = 0; k < 4; k++) {
            const equinv_tensor *const t = find(&c, keys[k]);
            const double largest = tensor_max_abs(t);
            for (int times = 0; times < 12; times++) {
                const int64_t i = rng_range(&r, 0, equinv_tensor_count(t) - 1);
                const double value = tensor_get(t, i);
                equinv_model *const same = twin_of(ctx, m, &(rng){5});
                equinv_model *const changed = twin_of(ctx, m, &(rng){5});
                tensor_set(t, i, value + 4e-5 * largest);
                save(&c);
                FAILS(EQUINV_ERR_FORMAT, keys[k], equinv_model_load_escnn(changed, path));
                assert_same_arrays(changed, same);
                tensor_set(t, i, value + 4e-7 * largest);
                save(&c);
                OK(equinv_model_load_escnn(changed, path));
                tensor_set(t, i, (double)NAN);
                save(&c);
                FAILS(EQUINV_ERR_FORMAT, keys[k], equinv_model_load_escnn(changed, path));
                tensor_set(t, i, value);
                equinv_model_destroy(same);
                equinv_model_destroy(changed);
            }
        }
        checkpoint_free(&c);
        equinv_model_destroy(m);
    }
    equinv_context_destroy(ctx);
    temp_folder_free(&folder);
}
END_TEST

START_TEST(missing_keys_and_wrong_shapes_are_named)
{
    path_new();
    equinv_context *const ctx = context_new();
    rng r = {3};
    equinv_model *const m = network_small(ctx);
    equinv_model *const twin = twin_of(ctx, m, &r);
    checkpoint c = checkpoint_of(ctx, m);
    for (int i = 0; i < c.count; i++) {
        if (strstr(c.names[i], ".weights"))
            continue;
        char name[128];
        snprintf(name, sizeof name, "%s", c.names[i]);
        c.names[i][0] = 'X';
        save(&c);
        FAILS(EQUINV_ERR_FORMAT, name, equinv_model_load_escnn(twin, path));
        FAILS(EQUINV_ERR_FORMAT, "missing", equinv_model_load_escnn(twin, path));
        snprintf(c.names[i], sizeof name, "%s", name);
        const equinv_tensor good = c.tensors[i];
        c.tensors[i].shape[0]--; /* of any first extent above 0 */
        save(&c);
        FAILS(EQUINV_ERR_FORMAT, name, equinv_model_load_escnn(twin, path));
        FAILS(EQUINV_ERR_FORMAT, "has shape", equinv_model_load_escnn(twin, path));
        c.tensors[i] = good;
    }
    const equinv_tensor *const filter = find(&c, "plane.filter");
    for (int64_t i = 0; i < equinv_tensor_count(filter); i++)
        tensor_set(filter, i, 0);
    save(&c);
    FAILS(EQUINV_ERR_FORMAT, "plane.filter is 0 everywhere", equinv_model_load_escnn(twin, path));
    put(&c, "conv2", "expanded_bias", 1, (int64_t[]){8});
    save(&c);
    FAILS(EQUINV_ERR_FORMAT, "conv2.expanded_bias", equinv_model_load_escnn(twin, path));
    checkpoint_free(&c);
    equinv_model_destroy(twin);
    equinv_model_destroy(m);
    equinv_context_destroy(ctx);
    temp_folder_free(&folder);
}
END_TEST

START_TEST(blurs_of_another_width_are_refused)
{
    path_new();
    equinv_context *const ctx = context_new();
    equinv_model *const m = model_new(ctx, equinv_cyclic(4), EQUINV_F32, 1, 9, 9);
    model_add(m, conv_of("0", 2, 3));
    equinv_layer_desc blur = pool_of("1", EQUINV_POOL_BLUR, 2);
    blur.sigma = 0.66;
    blur.padding = 2;
    model_add(m, blur);
    checkpoint c = checkpoint_of(ctx, m);
    save(&c);
    OK(equinv_model_load_escnn(m, path));
    const equinv_tensor *const filter = &c.tensors[c.count - 1];
    for (int64_t i = 0; i < equinv_tensor_count(filter); i += 7) {
        const double value = tensor_get(filter, i);
        tensor_set(filter, i, i % 2 ? value + 4e-5 : (double)NAN);
        save(&c);
        FAILS(EQUINV_ERR_FORMAT, "sigma 0.66", equinv_model_load_escnn(m, path));
        tensor_set(filter, i, value);
    }
    const double sigmas[] = {0.68, 1.2};
    for (int i = 0; i < 2; i++) {
        equinv_model *const other = model_new(ctx, equinv_cyclic(4), EQUINV_F32, 1, 9, 9);
        model_add(other, conv_of("0", 2, 3));
        blur.sigma = sigmas[i];
        model_add(other, blur);
        save(&c);
        FAILS(EQUINV_ERR_FORMAT, i ? "has shape" : "sigma 0.68",
              equinv_model_load_escnn(other, path));
        equinv_model_destroy(other);
    }
    checkpoint_free(&c);
    equinv_model_destroy(m);
    equinv_context_destroy(ctx);
    temp_folder_free(&folder);
}
END_TEST

START_TEST(every_allocation_may_fail)
{
    path_new();
    equinv_context *const outside = context_new();
    equinv_model *const m = network_small(outside);
    checkpoint c = checkpoint_of(outside, m);
    save(&c);
    int failures = 0;
    bool complete = false;
    for (int64_t allowed = 0; !complete; allowed++) {
        fault_allocator f = {.until = -1};
        equinv_context *const ctx = context_of_faults(&f);
        equinv_model *const twin = twin_of(ctx, m, &(rng){5});
        equinv_model *const same = twin_of(ctx, m, &(rng){5});
        f.until = f.count + allowed;
        const equinv_status status = equinv_model_load_escnn(twin, path);
        complete = status == EQUINV_OK;
        if (!complete) {
            failures++;
            ck_assert_msg(status == EQUINV_ERR_NOMEM, "%s", equinv_last_error());
        }
        assert_same_arrays(twin, complete ? m : same);
        equinv_model_destroy(twin);
        equinv_model_destroy(same);
        equinv_context_destroy(ctx);
        ck_assert_int_eq(f.live, 0);
        ck_assert_int_eq(f.wrong_size, 0);
    }
    ck_assert(failures > 5);
    checkpoint_free(&c);
    equinv_model_destroy(m);
    equinv_context_destroy(outside);
    temp_folder_free(&folder);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {expanded_filters_go_back_to_psi, 1},
        {other_filters_are_refused, 1},
        {missing_keys_and_wrong_shapes_are_named, 1},
        {blurs_of_another_width_are_refused, 1},
        {every_allocation_may_fail, 1},
    };
    return run_tests("model_escnn", tests, sizeof tests / sizeof *tests);
}

#else

START_TEST(checkpoints_need_cjson)
{
    SKIP("checkpoints cannot be read without cJSON (tested in model_file)");
}
END_TEST

int main(void)
{
    const test_entry tests[] = {{checkpoints_need_cjson, 1}};
    return run_tests("model_escnn", tests, sizeof tests / sizeof *tests);
}

#endif
