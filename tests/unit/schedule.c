/* Learning rates over a training, reduction where a loss stands still, clipping of gradients. */
#include <math.h>

#include "tests/util/layout.h"

static double rate(const equinv_schedule *s, int64_t step)
{
    double learning_rate = -1;
    OK(equinv_schedule_rate(s, step, &learning_rate));
    return learning_rate;
}

START_TEST(schedules_by_hand)
{
    equinv_schedule s = EQUINV_SCHEDULE_INIT;
    s.steps = 101, s.first = 0.1, s.peak = 1, s.last = 0.2, s.warm_up = 0.25;
    ck_assert(fabs(rate(&s, 0) - 0.1) < 1e-15);
    ck_assert(fabs(rate(&s, 25) - 1) < 1e-15);
    ck_assert(fabs(rate(&s, 100) - 0.2) < 1e-15);
    ck_assert(rate(&s, 5000) == rate(&s, 100));
    ck_assert(fabs(rate(&s, 75) - (0.2 + 0.8 * 0.25)) < 1e-15); /* two thirds down the cosine */
    for (int64_t step = 1; step <= 100; step++)
        ck_assert((rate(&s, step) > rate(&s, step - 1)) == (step <= 25));
    s.kind = EQUINV_SCHEDULE_COSINE;
    ck_assert(rate(&s, 0) == 1 && fabs(rate(&s, 50) - 0.6) < 1e-15);
    ck_assert(fabs(rate(&s, 100) - 0.2) < 1e-15);
    s.kind = EQUINV_SCHEDULE_CONSTANT;
    ck_assert(rate(&s, 0) == 1 && rate(&s, 77) == 1);
    s.kind = EQUINV_SCHEDULE_ONE_CYCLE;
    s.steps = 1;
    ck_assert(fabs(rate(&s, 0) - 0.1) < 1e-15);
    s.warm_up = 0;
    ck_assert(rate(&s, 0) == 1);
}
END_TEST

START_TEST(schedule_refuses)
{
    double learning_rate = 7;
    FAILS(EQUINV_ERR_ARG, "schedule is NULL", equinv_schedule_rate(NULL, 0, &learning_rate));
#define REFUSED(word, ...)                                                                         \
    do {                                                                                           \
        equinv_schedule s = EQUINV_SCHEDULE_INIT;                                                  \
        int64_t step = 0;                                                                          \
        __VA_ARGS__;                                                                               \
        FAILS(EQUINV_ERR_ARG, word, equinv_schedule_rate(&s, step, &learning_rate));               \
    } while (0)
    REFUSED("struct_size", s.struct_size = 4);
    REFUSED("kind is 0", s.kind = 0);
    REFUSED("kind is 4", s.kind = 4);
    REFUSED("steps is 0", s.steps = 0);
    REFUSED("step is -1", step = -1);
    REFUSED("first is -1", s.first = -1);
    REFUSED("peak is nan", s.peak = (double)NAN);
    REFUSED("last is inf", s.last = (double)INFINITY);
    REFUSED("warm_up is 1", s.warm_up = 1);
    REFUSED("warm_up is -0.5", s.warm_up = -0.5);
#undef REFUSED
    ck_assert(learning_rate == 7);
    const equinv_schedule s = EQUINV_SCHEDULE_INIT;
    FAILS(EQUINV_ERR_ARG, "learning_rate is NULL", equinv_schedule_rate(&s, 0, NULL));
}
END_TEST

/* Values and the rates that PyTorch's ReduceLROnPlateau (factor 0.5, patience 1, cooldown 1, threshold 0.1,
 * relative) gives by its definition. */
START_TEST(plateau_by_hand)
{
    static const struct {
        double value, rate;
    } steps[] = {{10, 1},
                 {9.5, 1}, /* not a tenth lower: 1 in a row */
                 {8, 1},
                 {8, 1},   /* better; 1 */
                 {8, 0.5}, /* 2: reduced, and one to rest */
                 {8, 0.5},
                 {8, 0.5},            /* resting; 1 */
                 {(double)NAN, 0.25}, /* no better: 2 */
                 {7, 0.25},
                 {7, 0.25}, /* resting; 1 */
                 {7, 0.2},  /* 2: not below the least */
                 {7, 0.2},
                 {7, 0.2},
                 {7, 0.2}};
    equinv_plateau p = EQUINV_PLATEAU_INIT;
    p.factor = 0.5, p.patience = 1, p.cooldown = 1, p.threshold = 0.1, p.least = 0.2;
    double learning_rate = 1;
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        OK(equinv_plateau_update(&p, steps[i].value, &learning_rate));
        ck_assert_msg(learning_rate == steps[i].rate, "value %d gives %g, expected %g", (int)i,
                      learning_rate, steps[i].rate);
    }
    /* a rate that is below the least already stays */
    learning_rate = 0.05;
    for (int i = 0; i < 10; i++)
        OK(equinv_plateau_update(&p, 7, &learning_rate));
    ck_assert(learning_rate == 0.05);
}
END_TEST

/* A loss below zero: better is still lower. */
START_TEST(plateau_of_negative_values)
{
    equinv_plateau p = EQUINV_PLATEAU_INIT;
    p.patience = 0, p.threshold = 0.1;
    double learning_rate = 1;
    OK(equinv_plateau_update(&p, -1, &learning_rate));
    OK(equinv_plateau_update(&p, -2, &learning_rate));
    ck_assert(learning_rate == 1 && p.best == -2);
    OK(equinv_plateau_update(&p, -2.1, &learning_rate));
    ck_assert(fabs(learning_rate - 0.1) < 1e-15);
}
END_TEST

START_TEST(plateau_refuses)
{
    double learning_rate = 1;
    FAILS(EQUINV_ERR_ARG, "plateau is NULL", equinv_plateau_update(NULL, 0, &learning_rate));
#define REFUSED(word, ...)                                                                         \
    do {                                                                                           \
        equinv_plateau p = EQUINV_PLATEAU_INIT;                                                    \
        double given = 1;                                                                          \
        __VA_ARGS__;                                                                               \
        FAILS(EQUINV_ERR_ARG, word, equinv_plateau_update(&p, 0, &given));                         \
    } while (0)
    REFUSED("struct_size", p.struct_size = 4);
    REFUSED("factor is 0", p.factor = 0);
    REFUSED("factor is 1", p.factor = 1);
    REFUSED("threshold is 1", p.threshold = 1);
    REFUSED("threshold is nan", p.threshold = (double)NAN);
    REFUSED("least is -1", p.least = -1);
    REFUSED("patience is -1", p.patience = -1);
    REFUSED("cooldown is -1", p.cooldown = -1);
    REFUSED("learning_rate is -1", given = -1);
#undef REFUSED
    equinv_plateau p = EQUINV_PLATEAU_INIT;
    FAILS(EQUINV_ERR_ARG, "learning_rate is", equinv_plateau_update(&p, 0, NULL));
}
END_TEST

START_TEST(clipping_is_the_definition)
{
    equinv_context *const ctx = context_new();
    for (uint64_t seed = 0; seed < share_of(200); seed++) {
        rng r = {seed};
        enum { COUNT = 3 };
        equinv_parameter p[COUNT];
        laid values[COUNT], gradients[COUNT];
        equinv_tensor before[COUNT];
        double sum = 0, norm = -1;
        for (int i = 0; i < COUNT; i++) {
            const int64_t shape[3] = {rng_range(&r, i == 2 ? 0 : 1, 3), rng_range(&r, 1, 4),
                                      rng_range(&r, 1, 5)};
            const equinv_dtype dtype = rng_range(&r, 0, 1) ? EQUINV_F64 : EQUINV_F32;
            values[i] = laid_new(ctx, &r, dtype, 3, shape);
            gradients[i] = laid_new(ctx, &r, dtype, 3, shape);
            tensor_fill_random(&r, &gradients[i].view);
            before[i] = tensor_copy(ctx, &gradients[i].view);
            sum += tensor_dot(&before[i], &before[i]);
            p[i] = (equinv_parameter){i ? "w" : NULL, values[i].view, gradients[i].view};
        }
        const double most = sqrt(sum) * (seed % 2 ? 0.25 : 1.5);
        OK(equinv_clip_gradients(ctx, p, COUNT, most, &norm));
        ck_assert_msg(fabs(norm - sqrt(sum)) <= 1e-14 * norm, "norm %g, seed %d", norm, (int)seed);
        for (int i = 0; i < COUNT; i++) {
            OK(equinv_tensor_convert(ctx, &before[i], seed % 2 ? 0.25 : 1, 0, &before[i]));
            ck_assert(tensor_error(&gradients[i].view, &before[i], NULL) <= (seed % 2 ? 3e-7 : 0));
            ck_assert(laid_gaps_kept(&gradients[i]));
            laid_free(ctx, &values[i]), laid_free(ctx, &gradients[i]);
            equinv_tensor_destroy(ctx, &before[i]);
        }
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(clipping_at_the_edges)
{
    equinv_context *const ctx = context_new();
    equinv_parameter p = {"conv.weights", tensor_new(ctx, EQUINV_F32, 1, 3),
                          tensor_new(ctx, EQUINV_F32, 1, 3)};
    double norm = 5;
    OK(equinv_clip_gradients(ctx, NULL, 0, 1, &norm));
    ck_assert(norm == 0);
    OK(equinv_clip_gradients(ctx, &p, 1, 1, NULL));
    for (int nan = 0; nan < 2; nan++) {
        tensor_set(&p.gradient, 0, 4);
        tensor_set(&p.gradient, 1, nan ? (double)NAN : (double)INFINITY);
        OK(equinv_clip_gradients(ctx, &p, 1, 1, &norm));
        ck_assert(nan ? isnan(norm) : isinf(norm));
        ck_assert(tensor_get(&p.gradient, 0) == 4);
    }
    FAILS(EQUINV_ERR_ARG, "ctx is NULL", equinv_clip_gradients(NULL, &p, 1, 1, &norm));
    FAILS(EQUINV_ERR_ARG, "parameters is NULL", equinv_clip_gradients(ctx, NULL, 1, 1, &norm));
    FAILS(EQUINV_ERR_ARG, "max_norm is 0", equinv_clip_gradients(ctx, &p, 1, 0, &norm));
    FAILS(EQUINV_ERR_ARG, "max_norm is nan", equinv_clip_gradients(ctx, &p, 1, (double)NAN, &norm));
    equinv_parameter q = p;
    q.gradient.dtype = EQUINV_I32;
    FAILS(EQUINV_ERR_DTYPE, "parameters[0] (conv.weights) gradient has dtype i32",
          equinv_clip_gradients(ctx, &q, 1, 1, &norm));
    q = p, q.name = NULL, q.gradient.device.kind = EQUINV_DEVICE_CUDA;
    FAILS(EQUINV_ERR_DEVICE, "parameters[0] (no name) gradient",
          equinv_clip_gradients(ctx, &q, 1, 1, &norm));
    equinv_tensor_destroy(ctx, &p.value), equinv_tensor_destroy(ctx, &p.gradient);
    equinv_context_destroy(ctx);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {schedules_by_hand, 1},          {schedule_refuses, 1}, {plateau_by_hand, 1},
        {plateau_of_negative_values, 1}, {plateau_refuses, 1},  {clipping_is_the_definition, 1},
        {clipping_at_the_edges, 1},
    };
    return run_tests("schedule", tests, sizeof tests / sizeof *tests);
}
