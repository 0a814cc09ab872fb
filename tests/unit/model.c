/* Models: forward and backward of whole networks, training, threads and memory. */
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
    small_case c = small_new(5, 3, EQUINV_F32);
    equinv_tensor dst, z, y;
    FAILS(EQUINV_ERR_ARG, "train true", equinv_model_activation(c.model, "conv1", &z));
    OK(equinv_model_forward(c.model, false, &c.images, &dst));
    FAILS(EQUINV_ERR_ARG, "train true", equinv_model_activation(c.model, "conv1", &z));
    OK(equinv_model_forward(c.model, true, &c.images, &dst));
    OK(equinv_model_activation(c.model, "input", &z));
    ck_assert_int_eq(z.ndim, 5);
    ck_assert(memcmp(z.data, c.images.data, 3 * 64 * sizeof(float)) == 0);
    OK(equinv_model_activation(c.model, "norm1", &z));
    OK(equinv_model_activation(c.model, "relu1", &y));
    equinv_tensor relu = tensor_like(c.ctx, &z);
    OK(equinv_relu_forward(c.ctx, 0, &z, &relu));
    ASSERT_SAME(&y, &relu);
    OK(equinv_model_activation(c.model, "logits", &z));
    ck_assert(z.ndim == 2 && z.shape[0] == 3 && z.shape[1] == 3 && z.data == dst.data);
    model_add(c.model, dense_of("more", 2));
    FAILS(EQUINV_ERR_ARG, "train true", equinv_model_activation(c.model, "conv1", &z));
    equinv_tensor_destroy(c.ctx, &relu);
    small_free(&c);
}
END_TEST

START_TEST(an_evaluation_between_forward_and_backward_changes_nothing)
{
    small_case c = small_new(6, 4, EQUINV_F32);
    equinv_tensor dst, other;
    const equinv_parameter *parameters;
    size_t count;
    OK(equinv_model_parameters(c.model, &parameters, &count));
    OK(equinv_model_forward(c.model, true, &c.images, &dst));
    equinv_tensor diff = tensor_as(c.ctx, &dst, EQUINV_F32);
    OK(equinv_model_backward(c.model, &diff));
    equinv_tensor before = tensor_as(c.ctx, &parameters[0].gradient, EQUINV_F32);
    c.model->steps--; /* the same dropout masks */
    OK(equinv_model_forward(c.model, true, &c.images, &dst));
    for (int64_t n = 1; n <= 4; n++) { /* more batch sizes than there are sets of plans */
        equinv_tensor some;
        OK(equinv_tensor_rows(&c.images, 0, n, &some));
        OK(equinv_model_forward(c.model, false, &some, &other));
        equinv_tensor_rows(&c.images, 0, 0, &some);
        OK(equinv_model_forward(c.model, false, &some, &other));
    }
    OK(equinv_model_backward(c.model, &diff));
    ASSERT_SAME(&parameters[0].gradient, &before);
    equinv_tensor_destroy(c.ctx, &before);
    equinv_tensor_destroy(c.ctx, &diff);
    small_free(&c);
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
    small_case c = small_new(7, 2, EQUINV_F32);
    equinv_tensor dst;
    const equinv_parameter *parameters;
    size_t count;
    OK(equinv_model_parameters(c.model, &parameters, &count));
    for (size_t i = 0; i < count; i++) {
        OK(equinv_model_forward(c.model, false, &c.images, &dst));
        tensor_fill_random(&c.r, &parameters[i].value);
        OK(equinv_model_forward(c.model, false, &c.images, &dst));
        equinv_tensor plain = run_plainly(c.ctx, c.model, &c.images), flat = plain;
        flat.ndim = 2;
        ASSERT_SAME(&dst, &flat);
        equinv_tensor_destroy(c.ctx, &plain);
    }
    small_free(&c);
}
END_TEST

START_TEST(images_come_in_all_forms)
{
    small_case c = small_new(8, 3, EQUINV_U8);
    equinv_tensor dst, storage;
    OK(equinv_model_forward(c.model, false, &c.images, &dst));
    equinv_tensor expected = tensor_as(c.ctx, &dst, EQUINV_F32);
    const equinv_dtype dtypes[] = {EQUINV_U8, EQUINV_F32, EQUINV_F64};
    for (int i = 0; i < 3; i++) {
        equinv_tensor other = tensor_as(c.ctx, &c.images, dtypes[i]);
        equinv_tensor strided = tensor_strided_copy(c.ctx, &c.r, &other, &storage), three = strided;
        OK(equinv_model_forward(c.model, false, &strided, &dst));
        ASSERT_SAME(&dst, &expected);
        three.ndim = 3;
        for (int axis = 1; axis < 3; axis++) {
            three.shape[axis] = strided.shape[axis + 1];
            three.strides[axis] = strided.strides[axis + 1];
        }
        OK(equinv_model_forward(c.model, false, &three, &dst));
        ASSERT_SAME(&dst, &expected);
        equinv_tensor_destroy(c.ctx, &storage);
        equinv_tensor_destroy(c.ctx, &other);
    }
    equinv_tensor_destroy(c.ctx, &expected);
    small_free(&c);
}
END_TEST

START_TEST(an_empty_batch_is_a_batch)
{
    small_case c = small_new(9, 0, EQUINV_F32);
    equinv_tensor dst;
    const equinv_parameter *parameters;
    size_t count;
    OK(equinv_model_parameters(c.model, &parameters, &count));
    for (int train = 0; train < 2; train++) {
        OK(equinv_model_forward(c.model, train, &c.images, &dst));
        ck_assert(dst.ndim == 2 && dst.shape[0] == 0 && dst.shape[1] == 3);
    }
    for (size_t i = 0; i < count; i++)
        tensor_fill_random(&c.r, &parameters[i].gradient);
    OK(equinv_model_backward(c.model, &dst));
    for (size_t i = 0; i < count; i++)
        ck_assert(tensor_max_abs(&parameters[i].gradient) == 0);
    small_free(&c);
}
END_TEST

START_TEST(nan_stays_in_its_sample)
{
    small_case c = small_new(10, 3, EQUINV_F32);
    equinv_tensor dst;
    OK(equinv_model_forward(c.model, false, &c.images, &dst));
    equinv_tensor expected = tensor_as(c.ctx, &dst, EQUINV_F32);
    tensor_set(&c.images, 64 + 5, (double)NAN);
    OK(equinv_model_forward(c.model, false, &c.images, &dst));
    for (int64_t i = 0; i < 9; i++)
        ck_assert(i / 3 == 1 ? isnan(tensor_get(&dst, i))
                             : tensor_get(&dst, i) == tensor_get(&expected, i));
    equinv_tensor_destroy(c.ctx, &expected);
    small_free(&c);
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
        {a_small_network_learns, 2},
        {two_models_on_two_threads, 1},
        {every_allocation_may_fail, 1},
        {after_a_failed_forward_there_is_nothing_to_go_back_from, 1},
    };
    return run_tests("model", tests, sizeof tests / sizeof *tests);
}
