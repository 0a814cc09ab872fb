/* Optimisers on CUDA against the reference: the same arithmetic in double, so the same bits. */
#include <math.h>

#include "cpu/ref/ref.h"
#include "tests/util/cuda_layout.h"
#include "tests/util/optimizer.h"

enum { ROUNDS = 60, STEPS = 4, PARAMETERS = 3 };

/* A parameter on the device, and its state for the reference. */
typedef struct trained {
    cuda_laid value, gradient;
    eqi_parameter_state state; /* row-major, in CPU memory */
} trained;

static trained trained_new(equinv_context *gpu, equinv_context *cpu, rng *r, int kind)
{
    const equinv_dtype dtype = rng_range(r, 0, 1) ? EQUINV_F64 : EQUINV_F32;
    trained t;
    t.state.value = random_shaped(cpu, r, dtype, 0, false);
    t.state.gradient = tensor_like(cpu, &t.state.value);
    t.state.first = t.state.second = (equinv_tensor){.data = NULL};
    if (kind > 0)
        t.state.first = tensor_like(cpu, &t.state.value);
    if (kind > 1)
        t.state.second = tensor_like(cpu, &t.state.value);
    t.value = cuda_laid_copy(gpu, r, &t.state.value);
    t.gradient = cuda_laid_copy(gpu, r, &t.state.gradient);
    return t;
}

static void trained_free(equinv_context *gpu, equinv_context *cpu, trained *t)
{
    cuda_laid_free(gpu, &t->value), cuda_laid_free(gpu, &t->gradient);
    equinv_tensor *const all[] = {&t->state.value, &t->state.gradient, &t->state.first,
                                  &t->state.second};
    for (int i = 0; i < 4; i++)
        equinv_tensor_destroy(cpu, all[i]);
}

/* New random gradients, the same on the device. */
static void new_gradient(equinv_context *gpu, rng *r, trained *t)
{
    tensor_fill_random(r, &t->state.gradient);
    equinv_tensor there = cuda_copy(gpu, &t->state.gradient);
    OK(equinv_tensor_copy(gpu, &there, &t->gradient.view));
    OK(equinv_context_synchronize(gpu));
    equinv_tensor_destroy(gpu, &there);
}

START_TEST(steps_have_the_bits_of_the_reference)
{
    const int kind = _i;
    equinv_context *const gpu = cuda_context_new(), *const cpu = context_new();
    for (uint64_t seed = 0; seed < ROUNDS; seed++) {
        rng r = {seed};
        eqi_update u = {.desc = optimizer_random_desc(&r, kind)};
        trained t[PARAMETERS];
        equinv_parameter parameters[PARAMETERS];
        for (int p = 0; p < PARAMETERS; p++) {
            t[p] = trained_new(gpu, cpu, &r, kind);
            parameters[p] = (equinv_parameter){NULL, t[p].value.view, t[p].gradient.view};
        }
        equinv_optimizer *o;
        OK(equinv_optimizer_create(gpu, &u.desc, parameters, PARAMETERS, &o));
        for (int step = 1; step <= STEPS; step++) {
            if (step == 3) {
                u.desc.learning_rate /= 2;
                OK(equinv_optimizer_set_learning_rate(o, u.desc.learning_rate));
            }
            u.correction1 = 1 - pow(u.desc.beta1, step);
            u.correction2 = 1 - pow(u.desc.beta2, step);
            for (int p = 0; p < PARAMETERS; p++) {
                new_gradient(gpu, &r, &t[p]);
                eqi_ref_optimizer_step(&u, &t[p].state);
            }
            OK(equinv_optimizer_step(o));
        }
        for (int p = 0; p < PARAMETERS; p++) {
            int64_t at = -1;
            ck_assert_msg(tensor_same(cuda_laid_values(gpu, &t[p].value), &t[p].state.value, &at),
                          "%s: parameter %d differs at %d, seed %d", optimizer_kinds[kind], p,
                          (int)at, (int)seed);
            ck_assert_msg(
                tensor_same(cuda_laid_values(gpu, &t[p].gradient), &t[p].state.gradient, &at),
                "%s: gradient %d was changed, seed %d", optimizer_kinds[kind], p, (int)seed);
        }
        equinv_optimizer_destroy(o);
        for (int p = 0; p < PARAMETERS; p++)
            trained_free(gpu, cpu, &t[p]);
    }
    equinv_context_destroy(gpu);
    equinv_context_destroy(cpu);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {steps_have_the_bits_of_the_reference, 3},
    };
    return run_cuda_tests("cuda/optimizer", tests, sizeof tests / sizeof *tests);
}
