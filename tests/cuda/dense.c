/* The dense layer on CUDA against the CPU's reference: values, gradients, layouts, long sums. */
#include <math.h>

#include "tests/util/cuda.h"
#include "tests/util/dense.h"

enum { SHAPES = 200, TENSORS = 8, OUTPUTS = 4 }; /* the outputs are the last */

/* One problem on the CPU and on the device: src weights bias diff_dst dst diff_src diff_weights
 * diff_bias. All hold random values. */
typedef struct pair {
    equinv_context *cpu, *cuda;
    equinv_dense_desc desc;
    equinv_plan *ref, *plan;
    equinv_tensor tensor[TENSORS];
    cuda_laid laid[TENSORS];
} pair;

/* src gets the features as [features] or, where they divide, [features / 6, 2, 3]. */
static pair pair_new(equinv_context *cpu, equinv_context *cuda, rng *r,
                     const equinv_dense_desc *desc)
{
    pair p = {.cpu = cpu, .cuda = cuda, .desc = *desc};
    const int64_t in = desc->features_in, out = desc->features_out, n = desc->batch;
    const bool maps = in % 6 == 0;
    const int64_t samples[4] = {n, maps ? in / 6 : in, 2, 3};
    const int64_t weights[2] = {out, in}, results[2] = {n, out};
    const int64_t *const shapes[TENSORS] = {samples, weights, &out,    results,
                                            results, samples, weights, &out};
    const int axes[TENSORS] = {maps ? 4 : 2, 2, 1, 2, 2, maps ? 4 : 2, 2, 1};
    for (int i = 0; i < TENSORS; i++) {
        OK(equinv_tensor_create(cpu, desc->dtype, axes[i], shapes[i], &p.tensor[i]));
        tensor_fill_random(r, &p.tensor[i]);
    }
    equinv_dense_desc d = *desc;
    OK(equinv_dense_plan_create(cuda, &d, &p.plan));
    d.impl = "ref";
    OK(equinv_dense_plan_create(cpu, &d, &p.ref));
    return p;
}

/* To the device: row-major, one tensor in another layout, or (TENSORS) all of them. */
static void pair_lay(pair *p, rng *r, int64_t which)
{
    for (int i = 0; i < TENSORS; i++)
        p->laid[i] = which == i || which == TENSORS ? cuda_laid_copy(p->cuda, r, &p->tensor[i])
                                                    : cuda_laid_plain(p->cuda, &p->tensor[i]);
}

static void pair_free(pair *p)
{
    for (int i = 0; i < TENSORS; i++) {
        cuda_laid_free(p->cuda, &p->laid[i]);
        equinv_tensor_destroy(p->cpu, &p->tensor[i]);
    }
    equinv_plan_destroy(p->ref), equinv_plan_destroy(p->plan);
}

static void run(const equinv_plan *plan, const pair *p, const equinv_tensor *const t[TENSORS],
                const equinv_tensor *scratch)
{
    void *const memory = scratch ? scratch->data : NULL;
    const size_t size = scratch ? (size_t)scratch->shape[0] : 0;
    OK(equinv_dense_forward(plan, t[0], t[1], p->desc.bias ? t[2] : NULL, t[4], memory, size));
    OK(equinv_dense_backward_data(plan, t[3], t[1], t[5], memory, size));
    OK(equinv_dense_backward_weights(plan, t[0], t[3], t[6], t[7], memory, size));
}

static void run_cuda(pair *p, const equinv_tensor *scratch)
{
    const equinv_tensor *views[TENSORS];
    for (int i = 0; i < TENSORS; i++)
        views[i] = &p->laid[i].view;
    run(p->plan, p, views, scratch);
    for (int i = TENSORS - OUTPUTS; i < TENSORS; i++)
        cuda_laid_fetch(p->cuda, &p->laid[i]);
}

static void run_ref(pair *p)
{
    const equinv_tensor *tensors[TENSORS];
    for (int i = 0; i < TENSORS; i++)
        tensors[i] = &p->tensor[i];
    run(p->ref, p, tensors, NULL);
}

static void compare(pair *p, double tolerance, uint64_t seed)
{
    run_ref(p);
    for (int i = TENSORS - OUTPUTS; i < TENSORS; i++) {
        char what[48];
        snprintf(what, sizeof what, "output %d, seed %d,", i, (int)seed);
        laid_check(&p->laid[i].here, &p->tensor[i], tolerance, what);
    }
}

START_TEST(equals_ref)
{
    equinv_context *const cpu = context_new(), *const cuda = cuda_context_new();
    for (uint64_t seed = 0; seed < SHAPES; seed++) {
        rng r = {seed};
        equinv_dense_desc d = dense_random_desc(&r, seed % 2 ? EQUINV_F64 : EQUINV_F32);
        d.impl = seed % 4 / 2 ? "gemm" : NULL;
        pair p = pair_new(cpu, cuda, &r, &d);
        ck_assert_str_eq(equinv_plan_impl_name(p.plan), "dense/gemm");
        pair_lay(&p, &r, rng_range(&r, 0, TENSORS + 1)); /* TENSORS + 1: all row-major */
        run_cuda(&p, NULL);
        compare(&p, seed % 2 ? 1e-14 : 1e-6, seed);
        pair_free(&p);
    }
    equinv_context_destroy(cuda), equinv_context_destroy(cpu);
}
END_TEST

/* Rows that are apart, that repeat, that lie backwards; scratch of exactly the size asked for. */
START_TEST(rows_and_scratch)
{
    equinv_context *const cpu = context_new(), *const cuda = cuda_context_new();
    equinv_dense_desc d = EQUINV_DENSE_DESC_INIT;
    d.dtype = EQUINV_F64, d.batch = 5, d.features_in = 7, d.features_out = 3, d.bias = true;
    for (int kind = 0; kind < 4; kind++) {
        rng r = {71};
        pair p = pair_new(cpu, cuda, &r, &d);
        pair_lay(&p, &r, kind == 3 ? TENSORS : -1);
        equinv_tensor scratch;
        const int64_t size = (int64_t)equinv_plan_scratch_size(p.plan);
        OK(equinv_tensor_create(cuda, EQUINV_U8, 1, &size, &scratch));
        equinv_tensor wide = tensor_random(cpu, &r, EQUINV_F64, 2, 5, 10);
        equinv_tensor there = cuda_copy(cuda, &wide);
        equinv_tensor view = there, here = wide;
        view.shape[1] = here.shape[1] = 7;
        if (kind == 1)
            view.strides[0] = here.strides[0] = 0;
        if (kind == 2) {
            view.strides[0] = here.strides[0] = -10;
            view.data = (double *)there.data + 40;
            here.data = (double *)wide.data + 40;
        }
        const equinv_tensor src = p.tensor[0], laid_src = p.laid[0].view;
        p.tensor[0] = here;
        p.laid[0].view = view;
        FAILS(EQUINV_ERR_SCRATCH, "scratch_size is",
              equinv_dense_forward(p.plan, &view, &p.laid[1].view, &p.laid[2].view, &p.laid[4].view,
                                   scratch.data, (size_t)size - 1));
        run_cuda(&p, &scratch);
        compare(&p, 1e-14, (uint64_t)kind);
        p.tensor[0] = src;
        p.laid[0].view = laid_src;
        equinv_tensor_destroy(cuda, &scratch), equinv_tensor_destroy(cuda, &there);
        equinv_tensor_destroy(cpu, &wide);
        pair_free(&p);
    }
    equinv_context_destroy(cuda), equinv_context_destroy(cpu);
}
END_TEST

/* One fp32 chain of 20000 positive products would lose more. */
START_TEST(long_sums_keep_their_digits)
{
    static const int64_t shapes[3][3] = {{3, 20000, 2}, {3, 2, 20000}, {20000, 3, 2}};
    equinv_context *const cpu = context_new(), *const cuda = cuda_context_new();
    for (int s = 0; s < 6; s++) {
        rng r = {21};
        equinv_dense_desc d = EQUINV_DENSE_DESC_INIT;
        d.dtype = s < 3 ? EQUINV_F32 : EQUINV_F64;
        d.batch = shapes[s % 3][0];
        d.features_in = shapes[s % 3][1], d.features_out = shapes[s % 3][2];
        pair p = pair_new(cpu, cuda, &r, &d);
        for (int i = 0; i < TENSORS; i++)
            for (int64_t k = 0; k < equinv_tensor_count(&p.tensor[i]); k++)
                tensor_set(&p.tensor[i], k, fabs(tensor_get(&p.tensor[i], k)));
        pair_lay(&p, &r, -1);
        run_cuda(&p, NULL);
        run_ref(&p);
        for (int i = TENSORS - OUTPUTS; i < TENSORS; i++)
            ASSERT_CLOSE(&p.laid[i].here.view, &p.tensor[i], s < 3 ? 2e-6 : 1e-13);
        pair_free(&p);
    }
    equinv_context_destroy(cuda), equinv_context_destroy(cpu);
}
END_TEST

/* <A x, y> = <x, A' y> in src and in the weights; the same call gives the same bits. */
START_TEST(backward_is_the_adjoint)
{
    equinv_context *const cpu = context_new(), *const cuda = cuda_context_new();
    for (uint64_t seed = 0; seed < 40; seed++) {
        rng r = {seed + 3000};
        equinv_dense_desc d = dense_random_desc(&r, seed % 2 ? EQUINV_F64 : EQUINV_F32);
        d.accumulate = d.bias = false;
        pair p = pair_new(cpu, cuda, &r, &d);
        pair_lay(&p, &r, seed % 3 ? -1 : TENSORS);
        equinv_tensor once[OUTPUTS];
        run_cuda(&p, NULL);
        for (int i = 0; i < OUTPUTS; i++)
            once[i] = tensor_copy(cpu, &p.laid[TENSORS - OUTPUTS + i].here.view);
        run_cuda(&p, NULL);
        for (int i = 0; i < OUTPUTS; i++) {
            equinv_tensor again = tensor_copy(cpu, &p.laid[TENSORS - OUTPUTS + i].here.view);
            ASSERT_SAME(&again, &once[i]);
            equinv_tensor_destroy(cpu, &again);
        }
        const double left = tensor_dot(&once[0], &p.tensor[3]);
        const double scale = 1 + (double)(d.batch * d.features_in * d.features_out);
        const double tolerance = (seed % 2 ? 1e-14 : 1e-6) * sqrt(scale);
        ck_assert_msg(fabs(left - tensor_dot(&p.tensor[0], &once[1])) <= tolerance, "src, seed %d",
                      (int)seed);
        ck_assert_msg(fabs(left - tensor_dot(&p.tensor[1], &once[2])) <= tolerance,
                      "weights, seed %d", (int)seed);
        for (int i = 0; i < OUTPUTS; i++)
            equinv_tensor_destroy(cpu, &once[i]);
        pair_free(&p);
    }
    equinv_context_destroy(cuda), equinv_context_destroy(cpu);
}
END_TEST

/* An empty batch gives zeros, or leaves what is there; NaN in outputs does not shine through. */
START_TEST(empty_batch_and_old_values)
{
    equinv_context *const cpu = context_new(), *const cuda = cuda_context_new();
    for (int kind = 0; kind < 4; kind++) {
        rng r = {51};
        equinv_dense_desc d = EQUINV_DENSE_DESC_INIT;
        d.features_in = 6, d.features_out = 3, d.bias = true;
        d.accumulate = kind == 1;
        d.batch = kind == 2 ? 4 : 0;
        if (kind == 3) /* more sums for diff_bias than elements in all matrices */
            d.features_in = 1, d.features_out = 500;
        pair p = pair_new(cpu, cuda, &r, &d);
        for (int i = TENSORS - OUTPUTS; i < TENSORS && !d.accumulate; i++)
            for (int64_t at = 0; at < equinv_tensor_count(&p.tensor[i]); at++)
                tensor_set(&p.tensor[i], at, (double)NAN);
        pair_lay(&p, &r, -1);
        equinv_tensor scratch;
        const int64_t size = (int64_t)equinv_plan_scratch_size(p.plan);
        OK(equinv_tensor_create(cuda, EQUINV_U8, 1, &size, &scratch));
        run_cuda(&p, &scratch);
        equinv_tensor_destroy(cuda, &scratch);
        for (int i = 6; i < TENSORS && d.batch == 0 && !d.accumulate; i++)
            ck_assert(tensor_max_abs(&p.laid[i].here.view) == 0);
        compare(&p, 1e-6, (uint64_t)kind);
        pair_free(&p);
    }
    equinv_context_destroy(cuda), equinv_context_destroy(cpu);
}
END_TEST

START_TEST(names_and_what_is_too_large)
{
    equinv_context *const cuda = cuda_context_new();
    equinv_plan *plan = NULL;
    equinv_dense_desc d = EQUINV_DENSE_DESC_INIT;
    d.batch = 2, d.features_in = 3, d.features_out = 4;
    d.impl = "ref";
    FAILS(EQUINV_ERR_ARG, "expected one of gemm", equinv_dense_plan_create(cuda, &d, &plan));
    d.impl = NULL;
    d.features_in = INT64_C(1) << 31;
    FAILS(EQUINV_ERR_UNSUPPORTED, "2^31", equinv_dense_plan_create(cuda, &d, &plan));
    d.features_in = d.batch = d.features_out = (INT64_C(1) << 31) - 1;
    FAILS(EQUINV_ERR_SHAPE, "scratch has more", equinv_dense_plan_create(cuda, &d, &plan));
    equinv_context_destroy(cuda);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {equals_ref, 1},
        {rows_and_scratch, 1},
        {long_sums_keep_their_digits, 1},
        {backward_is_the_adjoint, 1},
        {empty_batch_and_old_values, 1},
        {names_and_what_is_too_large, 1},
    };
    return run_cuda_tests("cuda/dense", tests, sizeof tests / sizeof *tests);
}
