/* Upsampling on a CUDA device against the CPU's reference. */
#include <math.h>

#include "tests/util/cuda.h"

enum { ROUNDS = 150 };

static equinv_tensor random_map(equinv_context *ctx, rng *r, equinv_dtype dtype,
                                const int64_t shape[5])
{
    equinv_tensor t;
    OK(equinv_tensor_create(ctx, dtype, 5, shape, &t));
    tensor_fill_random(r, &t);
    return t;
}

START_TEST(equals_ref)
{
    equinv_context *const cpu = context_new(), *const cuda = cuda_context_new();
    for (uint64_t seed = 0; seed < ROUNDS; seed++) {
        rng r = {seed};
        equinv_upsample_desc d = EQUINV_UPSAMPLE_DESC_INIT;
        d.kind = (equinv_upsample_kind)(seed % 3 + 1);
        d.dtype = rng_range(&r, 0, 1) ? EQUINV_F64 : EQUINV_F32;
        d.batch = rng_range(&r, 0, 3);
        d.fields = rng_range(&r, 1, 4), d.elements = rng_range(&r, 1, 4);
        d.height = rng_range(&r, 1, 9), d.width = rng_range(&r, 1, 9);
        d.scale = rng_range(&r, 1, seed % 8 ? 5 : 20);
        d.accumulate = rng_range(&r, 0, 1);
        const int64_t in[5] = {d.batch, d.fields, d.elements, d.height, d.width};
        int64_t out[5];
        equinv_plan *there, *ref;
        OK(equinv_upsample_output_shape(&d, out));
        OK(equinv_upsample_plan_create(cuda, &d, &there));
        ck_assert_str_eq(equinv_plan_impl_name(there), "upsample/pixel");
        d.impl = "ref";
        OK(equinv_upsample_plan_create(cpu, &d, &ref));
        equinv_tensor src = random_map(cpu, &r, d.dtype, in);
        equinv_tensor diff_src = random_map(cpu, &r, d.dtype, in);
        equinv_tensor diff_dst = random_map(cpu, &r, d.dtype, out);
        equinv_tensor dst = tensor_like(cpu, &diff_dst);
        if (seed % 5 == 0 && d.batch > 0)
            tensor_set(&src, 0, (double)NAN), tensor_set(&diff_dst, 0, (double)INFINITY);
        cuda_laid a = cuda_laid_copy(cuda, &r, &src), da = cuda_laid_copy(cuda, &r, &diff_src);
        cuda_laid b = cuda_laid_new(cuda, &r, d.dtype, 5, out);
        cuda_laid db = cuda_laid_copy(cuda, &r, &diff_dst);
        OK(equinv_upsample_forward(ref, &src, &dst, NULL, 0));
        OK(equinv_upsample_backward(ref, &diff_dst, &diff_src, NULL, 0));
        OK(equinv_upsample_forward(there, &a.view, &b.view, NULL, 0));
        OK(equinv_upsample_backward(there, &db.view, &da.view, NULL, 0));
        cuda_laid_fetch(cuda, &b), cuda_laid_fetch(cuda, &da);
        const double limit = d.dtype == EQUINV_F64 ? 1e-14 : 1e-7;
        ck_assert_msg(tensor_error(&b.here.view, &dst, NULL) <= limit, "dst, seed %d", (int)seed);
        ck_assert_msg(tensor_error(&da.here.view, &diff_src, NULL) <= limit, "diff_src, seed %d",
                      (int)seed);
        ck_assert_msg(laid_gaps_kept(&b.here) && laid_gaps_kept(&da.here), "gaps, seed %d",
                      (int)seed);
        cuda_laid *const laids[] = {&a, &da, &b, &db};
        equinv_tensor *const tensors[] = {&src, &dst, &diff_src, &diff_dst};
        for (int i = 0; i < 4; i++)
            cuda_laid_free(cuda, laids[i]), equinv_tensor_destroy(cpu, tensors[i]);
        equinv_plan_destroy(there), equinv_plan_destroy(ref);
    }
    equinv_context_destroy(cpu), equinv_context_destroy(cuda);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {{equals_ref, 1}};
    return run_cuda_tests("cuda/upsample", tests, sizeof tests / sizeof *tests);
}
