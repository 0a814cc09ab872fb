/* Models: building, shapes, forward and backward of whole networks, training. */
#include <math.h>
#include <pthread.h>

#include "internal/model.h"
#include "tests/util/network.h"

/* ---- gradients */

typedef struct problem {
    equinv_context *ctx;
    equinv_model *model;
    equinv_tensor images, target, loss, diff;
    uint64_t steps; /* the dropout masks of every forward of this problem */
} problem;

/* Mean squared distance of the output from a random target; diff is its gradient. */
static double loss_of(problem *p)
{
    equinv_tensor dst;
    p->model->steps = p->steps;
    OK(equinv_model_forward(p->model, true, &p->images, &dst));
    OK(equinv_mean_squared_error(p->ctx, &dst, &p->target, &p->loss, &p->diff));
    return tensor_get(&p->loss, 0);
}

static problem problem_new(equinv_context *ctx, rng *r)
{
    problem p = {.ctx = ctx};
    p.model = network_random(p.ctx, r, (network_options){EQUINV_F64, false});
    p.images = network_images(p.ctx, r, p.model, (int)rng_range(r, 1, 3), EQUINV_F64);
    p.steps = rng_next(r) % 1000;
    equinv_tensor dst;
    OK(equinv_model_forward(p.model, true, &p.images, &dst));
    p.target = tensor_like(p.ctx, &dst);
    tensor_fill_random(r, &p.target);
    p.diff = tensor_like(p.ctx, &dst);
    p.loss = tensor_new(p.ctx, EQUINV_F64, 1, 1);
    network_disturb(r, p.model);
    return p;
}

static void problem_free(problem *p)
{
    equinv_tensor_destroy(p->ctx, &p->images);
    equinv_tensor_destroy(p->ctx, &p->target);
    equinv_tensor_destroy(p->ctx, &p->diff);
    equinv_tensor_destroy(p->ctx, &p->loss);
    equinv_model_destroy(p->model);
}

static void move(const equinv_parameter *p, const equinv_tensor *direction, double step)
{
    const int64_t count = equinv_tensor_count(direction);
    for (int64_t i = 0; i < count; i++)
        tensor_set(&p->value, i, tensor_get(&p->value, i) + step * tensor_get(direction, i));
}

/* <gradient, direction> against (loss(+) - loss(-)) / 2 h, along one parameter. */
static void check_direction(problem *p, rng *r, const equinv_parameter *parameter, uint64_t seed)
{
    const double h = 1e-6;
    equinv_tensor direction = tensor_like(p->ctx, &parameter->value);
    tensor_fill_random(r, &direction);
    const double expected = tensor_dot(&parameter->gradient, &direction);
    move(parameter, &direction, h);
    const double above = loss_of(p);
    move(parameter, &direction, -2 * h);
    const double below = loss_of(p);
    move(parameter, &direction, h);
    const double found = (above - below) / (2 * h);
    ck_assert_msg(fabs(found - expected) <= 1e-6 * (1 + fabs(expected)),
                  "seed %llu, %s: gradient %.12g, finite difference %.12g",
                  (unsigned long long)seed, parameter->name, expected, found);
    equinv_tensor_destroy(p->ctx, &direction);
}

enum { BUNDLES = 10, NETWORKS_IN_BUNDLE = 20 };

START_TEST(gradients_of_whole_networks)
{
    equinv_context *const ctx = context_new();
    for (int k = 0; k < NETWORKS_IN_BUNDLE; k++) {
        const uint64_t seed = 1000 + (uint64_t)(_i * NETWORKS_IN_BUNDLE + k);
        rng r = {seed};
        problem p = problem_new(ctx, &r);
        const equinv_parameter *parameters;
        size_t count;
        OK(equinv_model_parameters(p.model, &parameters, &count));
        for (size_t i = 0; i < count; i++)
            tensor_fill_random(&r, &parameters[i].gradient); /* backward overwrites */
        loss_of(&p);
        OK(equinv_model_backward(p.model, &p.diff));
        for (int times = 0; times < 3; times++)
            check_direction(&p, &r, &parameters[rng_range(&r, 0, (int64_t)count - 1)], seed);
        problem_free(&p);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(gradients_do_not_depend_on_diff_dst_strides)
{
    equinv_context *const ctx = context_new();
    for (uint64_t seed = 0; seed < 20; seed++) {
        rng r = {seed};
        problem p = problem_new(ctx, &r);
        loss_of(&p);
        OK(equinv_model_backward(p.model, &p.diff));
        const equinv_parameter *parameters;
        size_t count;
        OK(equinv_model_parameters(p.model, &parameters, &count));
        equinv_tensor first = tensor_as(p.ctx, &parameters[0].gradient, EQUINV_F64), storage;
        equinv_tensor strided = tensor_strided_copy(p.ctx, &r, &p.diff, &storage);
        OK(equinv_model_backward(p.model, &strided));
        ASSERT_SAME(&parameters[0].gradient, &first);
        equinv_tensor_destroy(p.ctx, &storage);
        equinv_tensor_destroy(p.ctx, &first);
        problem_free(&p);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(unused_branch_has_gradient_zero)
{
    equinv_context *const ctx = context_new();
    equinv_model *const m = model_new(ctx, equinv_cyclic(4), EQUINV_F32, 1, 5, 5);
    rng r = {3};
    model_add(m, conv_of("used", 2, 3));
    model_add(m, conv_of("unused", 2, 3));
    equinv_layer_desc head = dense_of("head", 2);
    head.from[0] = "used";
    model_add(m, head);
    equinv_tensor images = network_images(ctx, &r, m, 2, EQUINV_F32), dst;
    const equinv_parameter *parameters;
    size_t count;
    OK(equinv_model_parameters(m, &parameters, &count));
    ck_assert_uint_eq(count, 6);
    for (size_t i = 0; i < count; i++)
        tensor_fill_random(&r, &parameters[i].gradient);
    OK(equinv_model_forward(m, true, &images, &dst));
    OK(equinv_model_backward(m, &dst));
    for (size_t i = 0; i < count; i++) {
        const bool unused = strncmp(parameters[i].name, "unused.", 7) == 0;
        ck_assert(unused == (tensor_max_abs(&parameters[i].gradient) == 0));
    }
    equinv_tensor_destroy(ctx, &images);
    equinv_model_destroy(m);
    equinv_context_destroy(ctx);
}
END_TEST

/* ---- values */

START_TEST(evaluation_is_equivariant_at_every_layer)
{
    equinv_context *const ctx = context_new();
    for (int k = 0; k < NETWORKS_IN_BUNDLE; k++) {
        const uint64_t seed = 5000 + (uint64_t)(_i * NETWORKS_IN_BUNDLE + k);
        rng r = {seed};
        equinv_model *const m = network_random(ctx, &r, (network_options){EQUINV_F64, true});
        network_disturb(&r, m);
        equinv_tensor images = network_images(ctx, &r, m, 2, EQUINV_F64);
        equinv_tensor turned = tensor_like(ctx, &images), from, to;
        OK(equinv_tensor_as_fields(&images, 1, &from));
        OK(equinv_tensor_as_fields(&turned, 1, &to));
        const int32_t element = (int32_t)rng_range(&r, 0, m->order - 1);
        OK(equinv_act(ctx, m->desc.group, element, &from, &to));
        for (int32_t i = 0; i < m->count; i++) {
            const int64_t *const s = m->nodes[i]->shape;
            equinv_tensor z[3];
            for (int j = 0; j < 3; j++)
                z[j] =
                    tensor_new(ctx, EQUINV_F64, 5, 2, (int)s[1], (int)s[2], (int)s[3], (int)s[4]);
            equinv_extract_desc d = EQUINV_EXTRACT_DESC_INIT;
            d.layer = m->nodes[i]->name;
            OK(equinv_extract(m, &d, &images, NULL, &z[0]));
            OK(equinv_extract(m, &d, &turned, NULL, &z[1]));
            OK(equinv_act(ctx, m->desc.group, element, &z[0], &z[2]));
            const double error = tensor_error(&z[1], &z[2], NULL);
            ck_assert_msg(error < 1e-11, "seed %llu, layer %s: %g", (unsigned long long)seed,
                          d.layer, error);
            for (int j = 0; j < 3; j++)
                equinv_tensor_destroy(ctx, &z[j]);
        }
        equinv_tensor_destroy(ctx, &images);
        equinv_tensor_destroy(ctx, &turned);
        equinv_model_destroy(m);
    }
    equinv_context_destroy(ctx);
}
END_TEST

/* Every layer of a network by its own plan, in the order of addition: nothing shared, no chunks. */
static equinv_tensor run_plainly(equinv_context *ctx, equinv_model *m, const equinv_tensor *images)
{
    equinv_tensor *const values = calloc((size_t)m->count, sizeof *values);
    const int64_t n = images->shape[0];
    for (int32_t i = 0; i < m->count; i++) {
        const eqi_node *const node = m->nodes[i];
        const equinv_tensor *const a = node->array;
        const equinv_tensor *const src = &values[node->from[0]];
        const int64_t *const s = node->shape;
        equinv_tensor *const dst = &values[i];
        const equinv_tensor *const bias = a[EQI_BIAS].ndim ? &a[EQI_BIAS] : NULL;
        equinv_plan *plan = NULL;
        *dst =
            tensor_new(ctx, m->desc.dtype, 5, (int)n, (int)s[1], (int)s[2], (int)s[3], (int)s[4]);
        equinv_tensor view = *dst;
        switch ((int)node->desc.op) {
        case 0: {
            OK(equinv_tensor_init(dst->data, dst->dtype, 4, (int64_t[]){n, s[1], s[3], s[4]},
                                  &view));
            OK(equinv_tensor_convert(ctx, images, m->desc.scale, m->desc.shift, &view));
            break;
        }
        case EQUINV_LAYER_CONV:
        case EQUINV_LAYER_CONV_PLANE:
        case EQUINV_LAYER_CONV_TRANSPOSED:
        case EQUINV_LAYER_CONV_PLANE_TRANSPOSED: {
            const equinv_conv_desc d = eqi_model_conv_desc(m, node, n);
            OK(equinv_conv_plan_create(ctx, &d, &plan));
            OK(equinv_conv_forward(plan, src, &a[EQI_WEIGHTS], bias, dst, NULL, 0));
            break;
        }
        case EQUINV_LAYER_BATCH_NORM: {
            const equinv_batch_norm_desc d = eqi_model_batch_norm_desc(m, node, n);
            OK(equinv_batch_norm_plan_create(ctx, &d, &plan));
            OK(equinv_batch_norm_forward_eval(plan, src, &a[EQI_GAMMA], &a[EQI_BETA],
                                              &a[EQI_RUNNING_MEAN], &a[EQI_RUNNING_VAR], dst, NULL,
                                              0));
            break;
        }
        case EQUINV_LAYER_RELU: OK(equinv_relu_forward(ctx, node->desc.slope, src, dst)); break;
        case EQUINV_LAYER_DROPOUT: OK(equinv_tensor_convert(ctx, src, 1, 0, dst)); break;
        case EQUINV_LAYER_ADD: OK(equinv_add(ctx, src, &values[node->from[1]], dst)); break;
        case EQUINV_LAYER_POOL: {
            const equinv_pool_desc d = eqi_model_pool_desc(m, node, n);
            OK(equinv_pool_plan_create(ctx, &d, &plan));
            OK(equinv_pool_forward(plan, src, dst, NULL, 0, NULL, 0));
            break;
        }
        case EQUINV_LAYER_UPSAMPLE: {
            const equinv_upsample_desc d = eqi_model_upsample_desc(m, node, n);
            OK(equinv_upsample_plan_create(ctx, &d, &plan));
            OK(equinv_upsample_forward(plan, src, dst, NULL, 0));
            break;
        }
        default: {
            const equinv_dense_desc d = eqi_model_dense_desc(m, node, n);
            view.ndim = 2;
            OK(equinv_dense_plan_create(ctx, &d, &plan));
            OK(equinv_dense_forward(plan, src, &a[EQI_WEIGHTS], bias, &view, NULL, 0));
        }
        }
        equinv_plan_destroy(plan);
    }
    const equinv_tensor last = values[m->count - 1];
    for (int32_t i = 0; i < m->count - 1; i++)
        equinv_tensor_destroy(ctx, &values[i]);
    free(values);
    return last;
}

START_TEST(evaluation_equals_its_layers)
{
    equinv_context *const ctx = context_new();
    for (int k = 0; k < NETWORKS_IN_BUNDLE; k++) {
        const uint64_t seed = 9000 + (uint64_t)(_i * NETWORKS_IN_BUNDLE + k);
        rng r = {seed};
        const equinv_dtype dtype = k % 2 ? EQUINV_F32 : EQUINV_F64;
        equinv_model *const m = network_random(ctx, &r, (network_options){dtype, false});
        network_disturb(&r, m);
        m->desc.scale = 0.5; /* as a description may say */
        m->desc.shift = -0.25;
        equinv_tensor images = network_images(ctx, &r, m, 3, EQUINV_U8), dst;
        OK(equinv_model_forward(m, false, &images, &dst));
        equinv_tensor plain = run_plainly(ctx, m, &images), flat = plain;
        flat.ndim = dst.ndim;
        int64_t where = -1;
        ck_assert_msg(tensor_same(&dst, &flat, &where), "seed %llu differs at %lld",
                      (unsigned long long)seed, (long long)where);
        equinv_tensor_destroy(ctx, &plain);
        equinv_tensor_destroy(ctx, &images);
        equinv_model_destroy(m);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(activations_of_training_are_kept)
{
    equinv_context *const ctx = context_new();
    equinv_model *const m = network_small(ctx);
    rng r = {5};
    equinv_tensor images = network_images(ctx, &r, m, 3, EQUINV_F32), dst, z, y;
    FAILS(EQUINV_ERR_ARG, "train true", equinv_model_activation(m, "conv1", &z));
    OK(equinv_model_forward(m, false, &images, &dst));
    FAILS(EQUINV_ERR_ARG, "train true", equinv_model_activation(m, "conv1", &z));
    OK(equinv_model_forward(m, true, &images, &dst));
    OK(equinv_model_activation(m, "input", &z));
    ck_assert_int_eq(z.ndim, 5);
    ck_assert(memcmp(z.data, images.data, 3 * 64 * sizeof(float)) == 0);
    OK(equinv_model_activation(m, "norm1", &z));
    OK(equinv_model_activation(m, "relu1", &y));
    equinv_tensor relu = tensor_like(ctx, &z);
    OK(equinv_relu_forward(ctx, 0, &z, &relu));
    ASSERT_SAME(&y, &relu);
    OK(equinv_model_activation(m, "logits", &z));
    ck_assert(z.ndim == 2 && z.shape[0] == 3 && z.shape[1] == 3 && z.data == dst.data);
    model_add(m, dense_of("more", 2));
    FAILS(EQUINV_ERR_ARG, "train true", equinv_model_activation(m, "conv1", &z));
    equinv_tensor_destroy(ctx, &relu);
    equinv_tensor_destroy(ctx, &images);
    equinv_model_destroy(m);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(an_evaluation_between_forward_and_backward_changes_nothing)
{
    equinv_context *const ctx = context_new();
    equinv_model *const m = network_small(ctx);
    rng r = {6};
    equinv_tensor images = network_images(ctx, &r, m, 4, EQUINV_F32), dst, other;
    const equinv_parameter *parameters;
    size_t count;
    OK(equinv_model_parameters(m, &parameters, &count));
    OK(equinv_model_forward(m, true, &images, &dst));
    equinv_tensor diff = tensor_as(ctx, &dst, EQUINV_F32);
    OK(equinv_model_backward(m, &diff));
    equinv_tensor before = tensor_as(ctx, &parameters[0].gradient, EQUINV_F32);
    m->steps--; /* the same dropout masks */
    OK(equinv_model_forward(m, true, &images, &dst));
    for (int64_t n = 1; n <= 4; n++) { /* more batch sizes than there are sets of plans */
        equinv_tensor some;
        OK(equinv_tensor_rows(&images, 0, n, &some));
        OK(equinv_model_forward(m, false, &some, &other));
        equinv_tensor_rows(&images, 0, 0, &some);
        OK(equinv_model_forward(m, false, &some, &other));
    }
    OK(equinv_model_backward(m, &diff));
    ASSERT_SAME(&parameters[0].gradient, &before);
    equinv_tensor_destroy(ctx, &before);
    equinv_tensor_destroy(ctx, &diff);
    equinv_tensor_destroy(ctx, &images);
    equinv_model_destroy(m);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(every_dropout_draws_its_own_masks)
{
    equinv_context *const ctx = context_new();
    equinv_model *const m = model_new(ctx, equinv_cyclic(4), EQUINV_F32, 32, 1, 1);
    rng r = {14};
    equinv_layer_desc second = layer_of(EQUINV_LAYER_DROPOUT, "b");
    second.from[0] = "input";
    model_add(m, layer_of(EQUINV_LAYER_DROPOUT, "a"));
    model_add(m, second);
    equinv_tensor images = network_images(ctx, &r, m, 8, EQUINV_F32), dst, a, b;
    int64_t where;
    OK(equinv_model_forward(m, true, &images, &dst));
    OK(equinv_model_activation(m, "a", &a));
    OK(equinv_model_activation(m, "b", &b));
    ck_assert(!tensor_same(&a, &b, &where));
    equinv_tensor before = tensor_as(ctx, &a, EQUINV_F32);
    OK(equinv_model_forward(m, true, &images, &dst));
    OK(equinv_model_activation(m, "a", &a));
    ck_assert(!tensor_same(&a, &before, &where));
    OK(equinv_model_forward(m, false, &images, &dst));
    ck_assert(tensor_dot(&dst, &images) == tensor_dot(&images, &images));
    equinv_tensor_destroy(ctx, &before);
    equinv_tensor_destroy(ctx, &images);
    equinv_model_destroy(m);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(parameters_may_change_at_any_time)
{
    equinv_context *const ctx = context_new();
    equinv_model *const m = network_small(ctx);
    rng r = {7};
    equinv_tensor images = network_images(ctx, &r, m, 2, EQUINV_F32), dst;
    const equinv_parameter *parameters;
    size_t count;
    OK(equinv_model_parameters(m, &parameters, &count));
    for (size_t i = 0; i < count; i++) {
        OK(equinv_model_forward(m, false, &images, &dst));
        tensor_fill_random(&r, &parameters[i].value);
        OK(equinv_model_forward(m, false, &images, &dst));
        equinv_tensor plain = run_plainly(ctx, m, &images), flat = plain;
        flat.ndim = 2;
        ASSERT_SAME(&dst, &flat);
        equinv_tensor_destroy(ctx, &plain);
    }
    equinv_tensor_destroy(ctx, &images);
    equinv_model_destroy(m);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(images_come_in_all_forms)
{
    equinv_context *const ctx = context_new();
    equinv_model *const m = network_small(ctx);
    rng r = {8};
    equinv_tensor images = network_images(ctx, &r, m, 3, EQUINV_U8), dst, storage;
    OK(equinv_model_forward(m, false, &images, &dst));
    equinv_tensor expected = tensor_as(ctx, &dst, EQUINV_F32);
    const equinv_dtype dtypes[] = {EQUINV_U8, EQUINV_F32, EQUINV_F64};
    for (int i = 0; i < 3; i++) {
        equinv_tensor other = tensor_as(ctx, &images, dtypes[i]);
        equinv_tensor strided = tensor_strided_copy(ctx, &r, &other, &storage), three = strided;
        OK(equinv_model_forward(m, false, &strided, &dst));
        ASSERT_SAME(&dst, &expected);
        three.ndim = 3;
        for (int axis = 1; axis < 3; axis++) {
            three.shape[axis] = strided.shape[axis + 1];
            three.strides[axis] = strided.strides[axis + 1];
        }
        OK(equinv_model_forward(m, false, &three, &dst));
        ASSERT_SAME(&dst, &expected);
        equinv_tensor_destroy(ctx, &storage);
        equinv_tensor_destroy(ctx, &other);
    }
    equinv_tensor_destroy(ctx, &expected);
    equinv_tensor_destroy(ctx, &images);
    equinv_model_destroy(m);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(an_empty_batch_is_a_batch)
{
    equinv_context *const ctx = context_new();
    equinv_model *const m = network_small(ctx);
    rng r = {9};
    equinv_tensor images = network_images(ctx, &r, m, 0, EQUINV_F32), dst;
    const equinv_parameter *parameters;
    size_t count;
    OK(equinv_model_parameters(m, &parameters, &count));
    for (int train = 0; train < 2; train++) {
        OK(equinv_model_forward(m, train, &images, &dst));
        ck_assert(dst.ndim == 2 && dst.shape[0] == 0 && dst.shape[1] == 3);
    }
    for (size_t i = 0; i < count; i++)
        tensor_fill_random(&r, &parameters[i].gradient);
    OK(equinv_model_backward(m, &dst));
    for (size_t i = 0; i < count; i++)
        ck_assert(tensor_max_abs(&parameters[i].gradient) == 0);
    equinv_tensor_destroy(ctx, &images);
    equinv_model_destroy(m);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(nan_stays_in_its_sample)
{
    equinv_context *const ctx = context_new();
    equinv_model *const m = network_small(ctx);
    rng r = {10};
    equinv_tensor images = network_images(ctx, &r, m, 3, EQUINV_F32), dst;
    OK(equinv_model_forward(m, false, &images, &dst));
    equinv_tensor expected = tensor_as(ctx, &dst, EQUINV_F32);
    tensor_set(&images, 64 + 5, (double)NAN);
    OK(equinv_model_forward(m, false, &images, &dst));
    for (int64_t i = 0; i < 9; i++)
        ck_assert(i / 3 == 1 ? isnan(tensor_get(&dst, i))
                             : tensor_get(&dst, i) == tensor_get(&expected, i));
    equinv_tensor_destroy(ctx, &expected);
    equinv_tensor_destroy(ctx, &images);
    equinv_model_destroy(m);
    equinv_context_destroy(ctx);
}
END_TEST

/* ---- building */

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

/* ---- training */

/* Four classes of noisy bars and corners that a small network tells apart. */
static void toy_batch(rng *r, const equinv_tensor *images, const equinv_tensor *labels)
{
    const int64_t n = images->shape[0];
    for (int64_t i = 0; i < n; i++) {
        const int64_t label = rng_range(r, 0, 3), turn = rng_range(r, 0, 1);
        tensor_set(labels, i, (double)label);
        for (int64_t y = 0; y < 8; y++)
            for (int64_t x = 0; x < 8; x++) {
                const int64_t a = turn ? x : y, b = turn ? y : x;
                const bool on[] = {a == 3, a == 3 || a == 5, a == 3 || b == 3, (a + b) % 2 == 0};
                tensor_set(images, (i * 8 + y) * 8 + x, on[label] + 0.2 * rng_uniform(r));
            }
    }
}

START_TEST(a_small_network_learns)
{
    static const struct {
        equinv_optimizer_kind kind;
        double rate, momentum;
    } ways[] = {{EQUINV_OPTIMIZER_ADAM, 0.02, 0}, {EQUINV_OPTIMIZER_SGD, 0.1, 0.9}};
    equinv_context *const ctx = context_new();
    equinv_model *const m = model_new(ctx, equinv_dihedral(4), EQUINV_F32, 1, 8, 8);
    model_add(m, conv_of("conv", 8, 5));
    model_add(m, layer_of(EQUINV_LAYER_BATCH_NORM, "norm"));
    model_add(m, layer_of(EQUINV_LAYER_RELU, "relu"));
    model_add(m, pool_of("group", EQUINV_POOL_GROUP_MAX, 1));
    model_add(m, pool_of("mean", EQUINV_POOL_GLOBAL_AVERAGE, 1));
    model_add(m, dense_of("logits", 4));
    const equinv_parameter *parameters;
    size_t count;
    OK(equinv_model_parameters(m, &parameters, &count));
    equinv_optimizer_desc od = EQUINV_OPTIMIZER_DESC_INIT;
    od.kind = ways[_i].kind;
    od.learning_rate = ways[_i].rate;
    od.momentum = ways[_i].momentum;
    equinv_optimizer *optimizer;
    OK(equinv_optimizer_create(ctx, &od, parameters, count, &optimizer));
    equinv_tensor images = tensor_new(ctx, EQUINV_F32, 4, 32, 1, 8, 8), logits;
    equinv_tensor labels = tensor_new(ctx, EQUINV_I32, 1, 32);
    equinv_tensor loss = tensor_new(ctx, EQUINV_F32, 1, 1);
    equinv_tensor diff = tensor_new(ctx, EQUINV_F32, 2, 32, 4);
    rng r = {11};
    double first = 0;
    for (int step = 0; step < 120; step++) {
        toy_batch(&r, &images, &labels);
        OK(equinv_model_forward(m, true, &images, &logits));
        OK(equinv_cross_entropy(ctx, &logits, &labels, &loss, &diff));
        OK(equinv_model_backward(m, &diff));
        OK(equinv_optimizer_step(optimizer));
        first = step ? first : tensor_get(&loss, 0);
    }
    ck_assert_msg(tensor_get(&loss, 0) < 0.1 * first, "loss %g after 120 steps, %g at first",
                  tensor_get(&loss, 0), first);
    toy_batch(&r, &images, &labels);
    OK(equinv_model_forward(m, false, &images, &logits));
    OK(equinv_cross_entropy(ctx, &logits, &labels, &loss, NULL));
    ck_assert_msg(tensor_get(&loss, 0) < 0.3 * first, "loss %g in evaluation",
                  tensor_get(&loss, 0));
    equinv_optimizer_destroy(optimizer);
    equinv_tensor_destroy(ctx, &images);
    equinv_tensor_destroy(ctx, &labels);
    equinv_tensor_destroy(ctx, &loss);
    equinv_tensor_destroy(ctx, &diff);
    equinv_model_destroy(m);
    equinv_context_destroy(ctx);
}
END_TEST

/* ---- threads and memory */

typedef struct worker {
    equinv_context *ctx;
    equinv_tensor images, expected;
    bool same;
} worker;

static void *work(void *arg)
{
    worker *const w = arg;
    equinv_model *const m = network_small(w->ctx);
    w->same = true;
    for (int i = 0; i < 20; i++) {
        equinv_tensor dst;
        int64_t where;
        OK(equinv_model_forward(m, i % 2, &w->images, &dst));
        if (i % 2)
            OK(equinv_model_backward(m, &dst));
        else if (i == 0)
            w->same = tensor_same(&dst, &w->expected, &where);
    }
    equinv_model_destroy(m);
    return NULL;
}

START_TEST(two_models_on_two_threads)
{
    equinv_context *const ctx = context_new();
    equinv_model *const m = network_small(ctx);
    rng r = {12};
    worker w[2];
    pthread_t threads[2];
    equinv_tensor dst;
    for (int i = 0; i < 2; i++) {
        w[i] = (worker){.ctx = ctx, .images = network_images(ctx, &r, m, 3, EQUINV_F32)};
        OK(equinv_model_forward(m, false, &w[i].images, &dst));
        w[i].expected = tensor_as(ctx, &dst, EQUINV_F32);
    }
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, work, &w[i]), 0);
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
        ck_assert(w[i].same);
        equinv_tensor_destroy(ctx, &w[i].images);
        equinv_tensor_destroy(ctx, &w[i].expected);
    }
    equinv_model_destroy(m);
    equinv_context_destroy(ctx);
}
END_TEST

/* What a program does with a model, up to the first failure. */
static equinv_status life(equinv_context *ctx, const equinv_tensor *images, equinv_model **model)
{
    equinv_model_desc d = EQUINV_MODEL_DESC_INIT;
    d.height = d.width = 8;
    const equinv_layer_desc layers[] = {
        conv_of("conv", 2, 3),
        layer_of(EQUINV_LAYER_BATCH_NORM, "norm"),
        layer_of(EQUINV_LAYER_RELU, "relu"),
        pool_of("pool", EQUINV_POOL_MAX, 2),
        conv_of("conv2", 2, 3),
        add_of("sum", "pool", "conv2"),
        dense_of("logits", 3),
    };
    equinv_tensor dst;
    equinv_status status = *model ? EQUINV_OK : equinv_model_create(ctx, &d, model);
    int64_t have = 0;
    if (status == EQUINV_OK)
        status = equinv_model_layer_count(*model, &have);
    for (size_t i = (size_t)have; status == EQUINV_OK && i < sizeof layers / sizeof *layers; i++)
        status = equinv_model_add(*model, &layers[i]);
    if (status == EQUINV_OK)
        status = equinv_model_forward(*model, false, images, &dst);
    if (status == EQUINV_OK)
        status = equinv_model_forward(*model, true, images, &dst);
    if (status == EQUINV_OK)
        status = equinv_model_backward(*model, &dst);
    return status;
}

START_TEST(every_allocation_may_fail)
{
    rng r = {13};
    equinv_context *const outside = context_new();
    equinv_tensor images = tensor_random(outside, &r, EQUINV_F32, 4, 3, 1, 8, 8);
    int failures = 0;
    for (int64_t allowed = 0;; allowed++) {
        fault_allocator f = {.until = -1};
        equinv_context *const ctx = context_of_faults(&f);
        equinv_model *m = NULL;
        f.until = f.count + allowed;
        const equinv_status status = life(ctx, &images, &m);
        if (status != EQUINV_OK) {
            failures++;
            ck_assert_msg(status == EQUINV_ERR_NOMEM, "after %lld allocations: %s",
                          (long long)allowed, equinv_last_error());
            ck_assert_msg(strstr(equinv_last_error(), "memory") != NULL, "%s", equinv_last_error());
            f.until = -1; /* what is there goes on */
            OK(life(ctx, &images, &m));
        }
        equinv_model_destroy(m);
        equinv_context_destroy(ctx);
        ck_assert_int_eq(f.live, 0);
        ck_assert_int_eq(f.wrong_size, 0);
        if (status == EQUINV_OK)
            break;
    }
    ck_assert(failures > 20);
    equinv_tensor_destroy(outside, &images);
    equinv_context_destroy(outside);
}
END_TEST

START_TEST(after_a_failed_forward_there_is_nothing_to_go_back_from)
{
    fault_allocator f = {.until = -1};
    equinv_context *const ctx = context_of_faults(&f);
    equinv_model *const m = network_small(ctx);
    rng r = {15};
    equinv_tensor few = network_images(ctx, &r, m, 2, EQUINV_F32), dst, z;
    equinv_tensor many = network_images(ctx, &r, m, 50, EQUINV_F32);
    OK(equinv_model_forward(m, true, &few, &dst));
    equinv_tensor diff = tensor_as(ctx, &dst, EQUINV_F32);
    f.until = f.count;
    FAILS(EQUINV_ERR_NOMEM, "memory", equinv_model_forward(m, true, &many, &dst));
    f.until = -1;
    FAILS(EQUINV_ERR_ARG, "train true", equinv_model_backward(m, &diff));
    FAILS(EQUINV_ERR_ARG, "train true", equinv_model_activation(m, "conv1", &z));
    OK(equinv_model_forward(m, true, &many, &dst));
    OK(equinv_model_backward(m, &dst));
    equinv_tensor_destroy(ctx, &diff);
    equinv_tensor_destroy(ctx, &many);
    equinv_tensor_destroy(ctx, &few);
    equinv_model_destroy(m);
    equinv_context_destroy(ctx);
    ck_assert_int_eq(f.live, 0);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {gradients_of_whole_networks, BUNDLES},
        {gradients_do_not_depend_on_diff_dst_strides, 1},
        {unused_branch_has_gradient_zero, 1},
        {evaluation_is_equivariant_at_every_layer, BUNDLES},
        {evaluation_equals_its_layers, BUNDLES},
        {activations_of_training_are_kept, 1},
        {an_evaluation_between_forward_and_backward_changes_nothing, 1},
        {every_dropout_draws_its_own_masks, 1},
        {parameters_may_change_at_any_time, 1},
        {images_come_in_all_forms, 1},
        {an_empty_batch_is_a_batch, 1},
        {nan_stays_in_its_sample, 1},
        {shapes_and_descriptions, 1},
        {initial_parameters, 1},
        {wrong_layers, 1},
        {as_many_layers_as_allowed, 1},
        {wrong_arguments, 1},
        {a_small_network_learns, 2},
        {two_models_on_two_threads, 1},
        {every_allocation_may_fail, 1},
        {after_a_failed_forward_there_is_nothing_to_go_back_from, 1},
    };
    return run_tests("model", tests, sizeof tests / sizeof *tests);
}
