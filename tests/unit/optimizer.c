/* Optimisers against the plain formulas, descent, moments' memory, every wrong argument. */
#include <math.h>

#include "tests/util/layout.h"
#include "tests/util/optimizer.h"

enum { ROUNDS = 200, STEPS = 7 };

/* The formulas of the header in double, on one number. */
typedef struct number {
    double value, first, second;
} number;

static void plain_step(const equinv_optimizer_desc *d, int t, double gradient, number *x)
{
    const double g = gradient + d->weight_decay * x->value;
    if (d->kind == EQUINV_OPTIMIZER_SGD) {
        x->first = d->momentum * x->first + g;
        x->value -= d->learning_rate * x->first;
        return;
    }
    x->first = d->beta1 * x->first + (1 - d->beta1) * g;
    x->second = d->beta2 * x->second + (1 - d->beta2) * g * g;
    const double m = x->first / (1 - pow(d->beta1, t));
    const double v = x->second / (1 - pow(d->beta2, t));
    x->value -= d->learning_rate * m / (sqrt(v) + d->epsilon);
}

START_TEST(steps_follow_the_formulas)
{
    equinv_context *const ctx = context_new();
    const int kind = _i;
    for (uint64_t seed = 0; seed < share_of(ROUNDS); seed++) {
        rng r = {seed};
        equinv_optimizer_desc d = optimizer_random_desc(&r, kind);
        enum { COUNT = 3, MOST = 60 };
        equinv_parameter parameters[COUNT];
        laid values[COUNT], gradients[COUNT];
        static number numbers[COUNT][MOST];
        bool f64[COUNT];
        memset(numbers, 0, sizeof numbers);
        for (int p = 0; p < COUNT; p++) {
            const int64_t shape[3] = {rng_range(&r, p == 2 ? 0 : 1, 3), rng_range(&r, 1, 4),
                                      rng_range(&r, 1, 5)};
            f64[p] = rng_range(&r, 0, 1);
            const equinv_dtype dtype = f64[p] ? EQUINV_F64 : EQUINV_F32;
            values[p] = laid_new(ctx, &r, dtype, 3, shape);
            gradients[p] = laid_new(ctx, &r, dtype, 3, shape);
            tensor_fill_random(&r, &values[p].view);
            for (int64_t i = 0; i < equinv_tensor_count(&values[p].view); i++)
                numbers[p][i].value = tensor_get(&values[p].view, i);
            parameters[p] =
                (equinv_parameter){p ? "some" : NULL, values[p].view, gradients[p].view};
        }
        equinv_optimizer *o;
        OK(equinv_optimizer_create(ctx, &d, parameters, COUNT, &o));
        memset(parameters, 0, sizeof parameters); /* it keeps its own list */
        for (int t = 1; t <= STEPS; t++) {
            if (t == 5) {
                d.learning_rate /= 2;
                OK(equinv_optimizer_set_learning_rate(o, d.learning_rate));
            }
            for (int p = 0; p < COUNT; p++) {
                tensor_fill_random(&r, &gradients[p].view);
                for (int64_t i = 0; i < equinv_tensor_count(&values[p].view); i++)
                    plain_step(&d, t, tensor_get(&gradients[p].view, i), &numbers[p][i]);
            }
            OK(equinv_optimizer_step(o));
            for (int p = 0; p < COUNT; p++)
                for (int64_t i = 0; i < equinv_tensor_count(&values[p].view); i++) {
                    const double x = tensor_get(&values[p].view, i), e = numbers[p][i].value;
                    ck_assert_msg(fabs(x - e) <= (f64[p] ? 1e-12 : 2e-6) * (1 + fabs(e)),
                                  "%s: step %d gives %.9g, expected %.9g, seed %d",
                                  optimizer_kinds[kind], t, x, e, (int)seed);
                }
        }
        equinv_optimizer_destroy(o);
        for (int p = 0; p < COUNT; p++) {
            ck_assert_msg(laid_gaps_kept(&values[p]), "gaps, seed %d", (int)seed);
            laid_free(ctx, &values[p]), laid_free(ctx, &gradients[p]);
        }
    }
    equinv_context_destroy(ctx);
}
END_TEST

/* Adam's first step is learning_rate times the gradient's sign, whatever the gradient's size. */
START_TEST(first_step_of_adam)
{
    equinv_context *const ctx = context_new();
    static const double gradients[6] = {1e-3, -1e-3, 1, -1, 1e4, 0};
    for (int k = 0; k < 2; k++) {
        equinv_parameter p = {"w", tensor_new(ctx, k ? EQUINV_F64 : EQUINV_F32, 1, 6),
                              tensor_new(ctx, k ? EQUINV_F64 : EQUINV_F32, 1, 6)};
        for (int64_t i = 0; i < 6; i++)
            tensor_set(&p.gradient, i, gradients[i]);
        equinv_optimizer_desc d = EQUINV_OPTIMIZER_DESC_INIT;
        equinv_optimizer *o;
        OK(equinv_optimizer_create(ctx, &d, &p, 1, &o));
        OK(equinv_optimizer_step(o));
        for (int64_t i = 0; i < 6; i++) {
            const double sign = (gradients[i] > 0) - (gradients[i] < 0);
            ck_assert(fabs(tensor_get(&p.value, i) + 1e-3 * sign) < 2e-8);
        }
        equinv_optimizer_destroy(o);
        equinv_tensor_destroy(ctx, &p.value), equinv_tensor_destroy(ctx, &p.gradient);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(descends_a_quadratic)
{
    equinv_context *const ctx = context_new();
    rng r = {1};
    /* sum_i a_i (x_i - c_i)^2, a_i between 0.5 and 1.5 */
    equinv_tensor a = tensor_random(ctx, &r, EQUINV_F32, 1, 20);
    equinv_tensor c = tensor_random(ctx, &r, EQUINV_F32, 1, 20);
    equinv_parameter p = {"x", tensor_like(ctx, &c), tensor_like(ctx, &c)};
    equinv_optimizer_desc d = EQUINV_OPTIMIZER_DESC_INIT;
    d.kind = _i < 2 ? EQUINV_OPTIMIZER_SGD : EQUINV_OPTIMIZER_ADAM;
    d.momentum = _i == 1 ? 0.5 : 0;
    d.learning_rate = 0.05;
    equinv_optimizer *o;
    OK(equinv_optimizer_create(ctx, &d, &p, 1, &o));
    for (int t = 0; t < 400; t++) {
        for (int64_t i = 0; i < 20; i++)
            tensor_set(&p.gradient, i,
                       2 * (1 + tensor_get(&a, i) / 2) *
                           (tensor_get(&p.value, i) - tensor_get(&c, i)));
        OK(equinv_optimizer_step(o));
    }
    ASSERT_CLOSE(&p.value, &c, 1e-3);
    equinv_optimizer_destroy(o);
    equinv_tensor_destroy(ctx, &a), equinv_tensor_destroy(ctx, &c);
    equinv_tensor_destroy(ctx, &p.value), equinv_tensor_destroy(ctx, &p.gradient);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(thread_count_changes_no_bit)
{
    equinv_context *const ctx[2] = {context_of_threads(1), context_new()};
    for (int kind = 0; kind < 3; kind++) {
        equinv_parameter p[2];
        for (int k = 0; k < 2; k++) {
            rng r = {7};
            const equinv_optimizer_desc d = optimizer_random_desc(&r, kind);
            p[k].name = "w";
            p[k].value = tensor_random(ctx[k], &r, EQUINV_F32, 2, 300, 101);
            p[k].gradient = tensor_random(ctx[k], &r, EQUINV_F32, 2, 300, 101);
            equinv_optimizer *o;
            OK(equinv_optimizer_create(ctx[k], &d, &p[k], 1, &o));
            OK(equinv_optimizer_step(o));
            OK(equinv_optimizer_step(o));
            equinv_optimizer_destroy(o);
        }
        ASSERT_SAME(&p[0].value, &p[1].value);
        for (int k = 0; k < 2; k++)
            equinv_tensor_destroy(ctx[k], &p[k].value),
                equinv_tensor_destroy(ctx[k], &p[k].gradient);
    }
    equinv_context_destroy(ctx[0]), equinv_context_destroy(ctx[1]);
}
END_TEST

START_TEST(nan_stays_at_its_place)
{
    equinv_context *const ctx = context_new();
    for (int kind = 0; kind < 3; kind++) {
        rng r = {8};
        equinv_optimizer_desc d = optimizer_random_desc(&r, kind);
        d.learning_rate = 0.1;
        equinv_parameter p = {"w", tensor_random(ctx, &r, EQUINV_F32, 1, 9),
                              tensor_random(ctx, &r, EQUINV_F32, 1, 9)};
        tensor_set(&p.gradient, 4, (double)NAN);
        equinv_optimizer *o;
        OK(equinv_optimizer_create(ctx, &d, &p, 1, &o));
        OK(equinv_optimizer_step(o));
        for (int64_t i = 0; i < 9; i++)
            ck_assert(isnan(tensor_get(&p.value, i)) == (i == 4));
        equinv_optimizer_destroy(o);
        equinv_tensor_destroy(ctx, &p.value), equinv_tensor_destroy(ctx, &p.gradient);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(no_parameters)
{
    equinv_context *const ctx = context_new();
    const equinv_optimizer_desc d = EQUINV_OPTIMIZER_DESC_INIT;
    equinv_optimizer *o = NULL;
    OK(equinv_optimizer_create(ctx, &d, NULL, 0, &o));
    OK(equinv_optimizer_step(o));
    equinv_optimizer_destroy(o);
    equinv_optimizer_destroy(NULL);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(wrong_arguments)
{
    equinv_context *const ctx = context_new();
    rng r = {9};
    equinv_optimizer_desc good = EQUINV_OPTIMIZER_DESC_INIT;
    equinv_parameter p[2] = {
        {"conv.weights", tensor_random(ctx, &r, EQUINV_F32, 2, 3, 4),
         tensor_random(ctx, &r, EQUINV_F32, 2, 3, 4)},
        {NULL, tensor_random(ctx, &r, EQUINV_F32, 1, 4), tensor_random(ctx, &r, EQUINV_F32, 1, 4)}};
    equinv_optimizer *o = NULL;
    FAILS(EQUINV_ERR_ARG, "ctx is NULL", equinv_optimizer_create(NULL, &good, p, 2, &o));
    FAILS(EQUINV_ERR_ARG, "desc is NULL", equinv_optimizer_create(ctx, NULL, p, 2, &o));
    FAILS(EQUINV_ERR_ARG, "parameters is NULL", equinv_optimizer_create(ctx, &good, NULL, 2, &o));
    FAILS(EQUINV_ERR_ARG, "count is", equinv_optimizer_create(ctx, &good, p, SIZE_MAX, &o));
    FAILS(EQUINV_ERR_ARG, "optimizer is NULL", equinv_optimizer_create(ctx, &good, p, 2, NULL));
#define REFUSED(word, ...)                                                                         \
    do {                                                                                           \
        equinv_optimizer_desc d = good;                                                            \
        __VA_ARGS__;                                                                               \
        FAILS(EQUINV_ERR_ARG, word, equinv_optimizer_create(ctx, &d, p, 2, &o));                   \
    } while (0)
    REFUSED("struct_size", d.struct_size = 4);
    REFUSED("kind is 0", d.kind = 0);
    REFUSED("kind is 3", d.kind = 3);
    REFUSED("learning_rate is -1", d.learning_rate = -1);
    REFUSED("learning_rate is nan", d.learning_rate = (double)NAN);
    REFUSED("learning_rate is inf", d.learning_rate = (double)INFINITY);
    REFUSED("momentum is 1", d.momentum = 1);
    REFUSED("momentum is -0.5", d.momentum = -0.5);
    REFUSED("beta1 is 1", d.beta1 = 1);
    REFUSED("beta2 is nan", d.beta2 = (double)NAN);
    REFUSED("epsilon is 0", d.epsilon = 0);
    REFUSED("weight_decay is -1", d.weight_decay = -1);
#undef REFUSED
#define WRONG(status, word, ...)                                                                   \
    do {                                                                                           \
        equinv_parameter q[2] = {p[0], p[1]};                                                      \
        __VA_ARGS__;                                                                               \
        FAILS(status, word, equinv_optimizer_create(ctx, &good, q, 2, &o));                        \
    } while (0)
    WRONG(EQUINV_ERR_DTYPE, "parameters[0] (conv.weights) value has dtype i32",
          q[0].value.dtype = EQUINV_I32);
    WRONG(EQUINV_ERR_DTYPE, "parameters[1] (no name) gradient has dtype f64, expected f32",
          q[1].gradient.dtype = EQUINV_F64);
    WRONG(EQUINV_ERR_SHAPE, "gradient has shape [4, 3]", q[0].gradient.shape[0] = 4,
          q[0].gradient.shape[1] = 3);
    WRONG(EQUINV_ERR_SHAPE, "value has ndim -1", q[1].value.ndim = -1);
    WRONG(EQUINV_ERR_SHAPE, "value has stride 0", q[1].value.strides[0] = 0);
    WRONG(EQUINV_ERR_SHAPE, "gradient has strides", q[1].gradient.strides[0] = INT64_MAX / 2);
    WRONG(EQUINV_ERR_SHAPE, "2^63", q[0].value.shape[0] = q[0].value.shape[1] = INT64_MAX / 2);
    WRONG(EQUINV_ERR_DEVICE, "value is on device", q[0].value.device.kind = EQUINV_DEVICE_CUDA);
    WRONG(EQUINV_ERR_ARG, "gradient has data NULL", q[0].gradient.data = NULL);
    WRONG(EQUINV_ERR_ARG, "value overlaps parameters[0] (conv.weights) gradient",
          q[0].gradient.data = q[0].value.data);
    WRONG(EQUINV_ERR_ARG, "value overlaps parameters[0] (conv.weights) value",
          q[1].value.data = (float *)q[0].value.data + 8);
    WRONG(EQUINV_ERR_ARG, "value overlaps parameters[0] (conv.weights) gradient",
          q[1].value.data = q[0].gradient.data);
    WRONG(EQUINV_ERR_ARG, "value overlaps parameters[1] (no name) gradient",
          q[1].gradient.data = q[0].value.data);
#undef WRONG
    ck_assert_ptr_null(o);
    FAILS(EQUINV_ERR_ARG, "optimizer is NULL", equinv_optimizer_step(NULL));
    FAILS(EQUINV_ERR_ARG, "optimizer is NULL", equinv_optimizer_set_learning_rate(NULL, 1));
    OK(equinv_optimizer_create(ctx, &good, p, 2, &o));
    FAILS(EQUINV_ERR_ARG, "learning_rate is -2", equinv_optimizer_set_learning_rate(o, -2));
    FAILS(EQUINV_ERR_ARG, "learning_rate is nan",
          equinv_optimizer_set_learning_rate(o, (double)NAN));
    /* gradients may share memory: only values are written */
    equinv_optimizer_destroy(o);
    equinv_parameter shared[2] = {p[0], p[1]};
    shared[1].gradient.data = p[0].gradient.data;
    OK(equinv_optimizer_create(ctx, &good, shared, 2, &o));
    equinv_optimizer_destroy(o);
    for (int i = 0; i < 2; i++)
        equinv_tensor_destroy(ctx, &p[i].value), equinv_tensor_destroy(ctx, &p[i].gradient);
    equinv_context_destroy(ctx);
}
END_TEST

typedef struct object {
    equinv_optimizer_desc desc;
    equinv_parameter parameters[2];
} object;

static equinv_status make(equinv_context *ctx, void *arg)
{
    const object *const j = arg;
    equinv_optimizer *o = NULL;
    const equinv_status status = equinv_optimizer_create(ctx, &j->desc, j->parameters, 2, &o);
    ck_assert(!o == (status != EQUINV_OK));
    equinv_optimizer_destroy(o);
    return status;
}

START_TEST(allocation_failures)
{
    static const int allocations[] = {2, 4, 6}; /* object and list, then moments */
    equinv_context *const ctx = context_new();
    rng r = {10};
    object j;
    for (int i = 0; i < 2; i++) {
        j.parameters[i].name = "w";
        j.parameters[i].value = tensor_random(ctx, &r, EQUINV_F32, 1, 5);
        j.parameters[i].gradient = tensor_random(ctx, &r, EQUINV_F32, 1, 5);
    }
    for (int kind = 0; kind < 3; kind++) {
        j.desc = optimizer_random_desc(&r, kind);
        ck_assert_int_eq(fail_in_turn(make, &j), allocations[kind]);
    }
    for (int i = 0; i < 2; i++) {
        equinv_tensor_destroy(ctx, &j.parameters[i].value);
        equinv_tensor_destroy(ctx, &j.parameters[i].gradient);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(a_step_allocates_nothing)
{
    for (int kind = 0; kind < 3; kind++) {
        fault_allocator f = {.until = -1};
        equinv_context *const ctx = context_of_faults(&f);
        rng r = {10};
        const equinv_optimizer_desc d = optimizer_random_desc(&r, kind);
        equinv_parameter p = {"w", tensor_random(ctx, &r, EQUINV_F32, 1, 5),
                              tensor_random(ctx, &r, EQUINV_F32, 1, 5)};
        equinv_optimizer *o;
        OK(equinv_optimizer_create(ctx, &d, &p, 1, &o));
        f.until = f.count;
        OK(equinv_optimizer_step(o));
        equinv_optimizer_destroy(o);
        equinv_tensor_destroy(ctx, &p.value), equinv_tensor_destroy(ctx, &p.gradient);
        equinv_context_destroy(ctx);
    }
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {steps_follow_the_formulas, 3}, {first_step_of_adam, 1},
        {descends_a_quadratic, 3},      {thread_count_changes_no_bit, 1},
        {nan_stays_at_its_place, 1},    {no_parameters, 1},
        {wrong_arguments, 1},           {allocation_failures, 1},
        {a_step_allocates_nothing, 1},
    };
    return run_tests("optimizer", tests, sizeof tests / sizeof *tests);
}
