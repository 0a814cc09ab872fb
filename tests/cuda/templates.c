/* Templates on CUDA have the CPU's bits: kinds, seeds, numbers, layouts; so has the initialisation. */
#include <math.h>

#include "tests/util/cuda_layout.h"

static const equinv_template_kind kinds[] = {EQUINV_TEMPLATE_GAUSSIAN, EQUINV_TEMPLATE_RADEMACHER};

/* Numbers that fill both words of the counter, up to the last there is. */
static uint64_t random_first(rng *r, int64_t rows)
{
    switch (rng_range(r, 0, 3)) {
    case 0: return (uint64_t)rng_range(r, 0, 9);
    case 1: return UINT64_C(0xffffffff) - (uint64_t)rng_range(r, 0, 3);
    case 2: return UINT64_MAX - (uint64_t)rows;
    default: return rng_next(r) >> 1;
    }
}

START_TEST(bits_of_the_cpu)
{
    equinv_context *const gpu = cuda_context_new(), *const cpu = context_new();
    for (uint64_t i = 0; i < 300; i++) {
        rng r = {i};
        equinv_tensor here = random_shaped(cpu, &r, i % 2 ? EQUINV_F64 : EQUINV_F32, 1, false);
        cuda_laid there = cuda_laid_copy(gpu, &r, &here);
        const equinv_template_kind kind = kinds[rng_range(&r, 0, 2) == 0];
        const uint64_t seed = rng_next(&r), first = random_first(&r, here.shape[0]);
        OK(equinv_templates(cpu, kind, seed, first, &here));
        OK(equinv_templates(gpu, kind, seed, first, &there.view));
        int64_t at = -1;
        ck_assert_msg(tensor_same(cuda_laid_values(gpu, &there), &here, &at),
                      "differs at %d, seed %d", (int)at, (int)i);
        cuda_laid_free(gpu, &there);
        equinv_tensor_destroy(cpu, &here);
    }
    equinv_context_destroy(gpu);
    equinv_context_destroy(cpu);
}
END_TEST

/* Rows that are quads at aligned addresses, quads at others, and no quads; many values of each. */
START_TEST(bits_of_long_templates)
{
    static const int lengths[] = {8192, 8190, 8191}, starts[] = {0, 1, 2};
    equinv_context *const gpu = cuda_context_new(), *const cpu = context_new();
    for (int k = 0; k < 18; k++) {
        const equinv_dtype dtype = k / 9 ? EQUINV_F64 : EQUINV_F32;
        const int length = lengths[k % 3], start = starts[k / 3 % 3];
        equinv_tensor here = tensor_new(cpu, dtype, 2, 4, length);
        equinv_tensor storage = tensor_new(gpu, dtype, 1, start + 4 * length), there = here;
        there.data = (char *)storage.data + (size_t)start * equinv_dtype_size(dtype);
        there.device = storage.device;
        OK(equinv_templates(cpu, EQUINV_TEMPLATE_GAUSSIAN, 7, UINT64_C(1) << 33, &here));
        OK(equinv_templates(gpu, EQUINV_TEMPLATE_GAUSSIAN, 7, UINT64_C(1) << 33, &there));
        equinv_tensor back = cuda_back(gpu, &there);
        ASSERT_SAME(&back, &here);
        equinv_tensor_destroy(gpu, &storage), equinv_tensor_destroy(gpu, &back);
        equinv_tensor_destroy(cpu, &here);
    }
    equinv_context_destroy(gpu);
    equinv_context_destroy(cpu);
}
END_TEST

START_TEST(bits_of_the_initialisation)
{
    equinv_context *const gpu = cuda_context_new(), *const cpu = context_new();
    for (uint64_t i = 0; i < 200; i++) {
        rng r = {i + 1000};
        equinv_tensor here = random_shaped(cpu, &r, i % 2 ? EQUINV_F64 : EQUINV_F32, 0, false);
        cuda_laid there = cuda_laid_copy(gpu, &r, &here);
        const uint64_t seed = rng_next(&r), stream = rng_next(&r);
        const int64_t fan_in = rng_range(&r, 1, 1000);
        OK(equinv_init_he(cpu, seed, stream, fan_in, &here));
        OK(equinv_init_he(gpu, seed, stream, fan_in, &there.view));
        int64_t at = -1;
        ck_assert_msg(tensor_same(cuda_laid_values(gpu, &there), &here, &at),
                      "differs at %d, seed %d", (int)at, (int)i);
        cuda_laid_free(gpu, &there);
        equinv_tensor_destroy(cpu, &here);
    }
    equinv_context_destroy(gpu);
    equinv_context_destroy(cpu);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {bits_of_the_cpu, 1},
        {bits_of_long_templates, 1},
        {bits_of_the_initialisation, 1},
    };
    return run_cuda_tests("cuda/templates", tests, sizeof tests / sizeof *tests);
}
