/* Batch normalisation on a CUDA device against the CPU's reference: statistics, values, gradients. */
#include <math.h>

#include "tests/util/cuda.h"

enum { ROUNDS = 240 };

/* Maps first, then vectors [F]; the inputs of a call are random, and so is what it adds to. */
enum { SRC, DIFF_DST, DST, DIFF_SRC, GAMMA, BETA, MEAN, VAR, DIFF_GAMMA, DIFF_BETA, TENSORS };

static const char *const names[TENSORS] = {"src",        "diff_dst", "dst",          "diff_src",
                                           "gamma",      "beta",     "running_mean", "running_var",
                                           "diff_gamma", "diff_beta"};

/* Arguments of all four calls. */
typedef struct arguments {
    const equinv_tensor *t[TENSORS];
    equinv_tensor saved, scratch; /* no larger than the plan says */
} arguments;

static equinv_tensor bytes_of(equinv_context *ctx, size_t size)
{
    const int64_t count = (int64_t)(size / sizeof(double));
    equinv_tensor t;
    OK(equinv_tensor_create(ctx, EQUINV_F64, 1, &count, &t));
    return t;
}

static void run(const equinv_plan *plan, const arguments *a, bool train)
{
    const equinv_tensor *const *const t = a->t;
    const size_t saved = equinv_plan_saved_size(plan), scratch = equinv_plan_scratch_size(plan);
    void *const use = scratch ? a->scratch.data : NULL;
    if (train) {
        OK(equinv_batch_norm_forward_train(plan, t[SRC], t[GAMMA], t[BETA], t[MEAN], t[VAR], t[DST],
                                           a->saved.data, saved, use, scratch));
        OK(equinv_batch_norm_backward_train(plan, t[SRC], t[GAMMA], t[DIFF_DST], a->saved.data,
                                            saved, t[DIFF_SRC], t[DIFF_GAMMA], t[DIFF_BETA], use,
                                            scratch));
    } else {
        OK(equinv_batch_norm_forward_eval(plan, t[SRC], t[GAMMA], t[BETA], t[MEAN], t[VAR], t[DST],
                                          use, scratch));
        OK(equinv_batch_norm_backward_eval(plan, t[SRC], t[GAMMA], t[MEAN], t[VAR], t[DIFF_DST],
                                           t[DIFF_SRC], t[DIFF_GAMMA], t[DIFF_BETA], use, scratch));
    }
}

/* Random tensors of a description in CPU memory, variances positive. */
static void fill(equinv_context *cpu, rng *r, const equinv_batch_norm_desc *d,
                 equinv_tensor all[TENSORS])
{
    const int64_t shape[5] = {d->batch, d->fields, d->elements, d->height, d->width};
    for (int i = 0; i < TENSORS; i++) {
        const bool map = i < GAMMA;
        OK(equinv_tensor_create(cpu, d->dtype, map ? 5 : 1, map ? shape : &d->fields, &all[i]));
        tensor_fill_random(r, &all[i]);
    }
    OK(equinv_tensor_convert(cpu, &all[VAR], 0.5, 0.75, &all[VAR]));
}

/* Largest |a - b| against the scale that the rounding of the terms has. */
static double distance(const equinv_tensor *a, const equinv_tensor *b, double scale)
{
    double largest = 0;
    for (int64_t i = 0; i < equinv_tensor_count(a); i++) {
        const double d = fabs(tensor_get(a, i) - tensor_get(b, i));
        largest = d <= largest ? largest : d; /* a NaN stays */
    }
    return largest / scale;
}

/* What a result's rounding is compared with: its values, 1 / sqrt(var), the number of its terms. */
static double scale_of(int tensor, const equinv_batch_norm_desc *d, const arguments *ref,
                       bool train)
{
    if (tensor == DST)
        return 1 + tensor_max_abs(ref->t[DST]);
    if (tensor == DIFF_GAMMA || tensor == DIFF_BETA)
        return (double)(d->batch * d->elements * d->height * d->width) + 1;
    double scale = 1;
    for (int64_t f = 0; tensor == DIFF_SRC && train && f < d->fields; f++)
        scale = fmax(scale, tensor_get(&ref->saved, d->fields + f));
    return scale;
}

/* Both calls of one mode in random layouts; `left_out` has bits of tensors that are NULL. */
static void compare(equinv_context *cpu, equinv_context *cuda, rng *r, equinv_batch_norm_desc d,
                    bool train, unsigned left_out, const char *what)
{
    equinv_plan *plan, *ref_plan;
    OK(equinv_batch_norm_plan_create(cuda, &d, &plan));
    d.impl = "ref";
    OK(equinv_batch_norm_plan_create(cpu, &d, &ref_plan));
    equinv_tensor all[TENSORS];
    cuda_laid there[TENSORS];
    fill(cpu, r, &d, all);
    arguments ref = {.saved = bytes_of(cpu, equinv_plan_saved_size(ref_plan))};
    arguments a = {.saved = bytes_of(cuda, equinv_plan_saved_size(plan)),
                   .scratch = bytes_of(cuda, equinv_plan_scratch_size(plan))};
    for (int i = 0; i < TENSORS; i++) {
        there[i] = cuda_laid_copy(cuda, r, &all[i]);
        const bool null = left_out & 1u << i;
        ref.t[i] = null ? NULL : &all[i];
        a.t[i] = null ? NULL : &there[i].view;
    }
    run(ref_plan, &ref, train), run(plan, &a, train);
    const double tolerance = d.dtype == EQUINV_F64 ? 1e-12 : 1e-6;
    for (int i = 0; i < TENSORS; i++) {
        cuda_laid_fetch(cuda, &there[i]);
        const double error = distance(&there[i].here.view, &all[i], scale_of(i, &d, &ref, train));
        const bool written = i == DST || i == DIFF_SRC || i >= MEAN;
        ck_assert_msg(error <= (written ? tolerance : 0), "%s differs by %g, %s", names[i], error,
                      what);
        ck_assert_msg(laid_gaps_kept(&there[i].here), "gaps of %s, %s", names[i], what);
    }
    equinv_tensor saved = cuda_back(cuda, &a.saved);
    if (train)
        ck_assert_msg(distance(&saved, &ref.saved, 1 + tensor_max_abs(&ref.saved)) <= 1e-12,
                      "saved, %s", what);
    for (int i = 0; i < TENSORS; i++)
        equinv_tensor_destroy(cpu, &all[i]), cuda_laid_free(cuda, &there[i]);
    equinv_tensor_destroy(cuda, &a.saved), equinv_tensor_destroy(cuda, &a.scratch);
    equinv_tensor_destroy(cpu, &ref.saved), equinv_tensor_destroy(cuda, &saved);
    equinv_plan_destroy(plan), equinv_plan_destroy(ref_plan);
}

static unsigned random_left_out(rng *r, bool train)
{
    unsigned out = 0;
    if (train && rng_range(r, 0, 3) == 0)
        out |= 1u << MEAN | 1u << VAR;
    for (int i = DIFF_GAMMA; i <= DIFF_BETA; i++)
        out |= rng_range(r, 0, 3) == 0 ? 1u << i : 0;
    return out;
}

START_TEST(equals_ref)
{
    equinv_context *const cpu = context_new(), *const cuda = cuda_context_new();
    for (uint64_t seed = 0; seed < ROUNDS; seed++) {
        rng r = {seed};
        const bool train = seed % 2;
        equinv_batch_norm_desc d = EQUINV_BATCH_NORM_DESC_INIT;
        d.dtype = rng_range(&r, 0, 1) ? EQUINV_F64 : EQUINV_F32;
        d.batch = rng_range(&r, 0, 4);
        d.fields = rng_range(&r, 0, 9) ? rng_range(&r, 1, 5) : rng_range(&r, 30, 40);
        d.elements = rng_range(&r, 0, 1) ? 4 : rng_range(&r, 1, 8);
        d.height = rng_range(&r, 1, 7);
        d.width = rng_range(&r, 1, 9);
        d.momentum = (double)rng_range(&r, 0, 4) / 4;
        d.accumulate = rng_range(&r, 0, 1);
        char what[32];
        snprintf(what, sizeof what, "seed %d", (int)seed);
        compare(cpu, cuda, &r, d, train, random_left_out(&r, train), what);
    }
    equinv_context_destroy(cpu), equinv_context_destroy(cuda);
}
END_TEST

/* A sample's field in several pieces, the last one shorter; more pieces than a block has threads. */
START_TEST(many_pieces_equal_ref)
{
    static const int64_t shapes[][5] = {
        {2, 2, 2, 47, 53}, {1, 1, 1, 150, 239}, {2, 33, 1, 11, 13}, {300, 2, 1, 1, 3}};
    equinv_context *const cpu = context_new(), *const cuda = cuda_context_new();
    for (int i = 0; i < 4; i++)
        for (int layout = 0; layout < 3; layout++)
            for (int train = 0; train < 2; train++) {
                rng r = {(uint64_t)(10 * i + layout)};
                equinv_batch_norm_desc d = EQUINV_BATCH_NORM_DESC_INIT;
                d.dtype = (i + layout) % 2 ? EQUINV_F64 : EQUINV_F32;
                d.batch = shapes[i][0], d.fields = shapes[i][1], d.elements = shapes[i][2];
                d.height = shapes[i][3], d.width = shapes[i][4];
                char what[32];
                snprintf(what, sizeof what, "case %d", i);
                compare(cpu, cuda, &r, d, train, 0, what);
            }
    equinv_context_destroy(cpu), equinv_context_destroy(cuda);
}
END_TEST

/* Row-major tensors of both kinds on the device, the values of `all`. */
typedef struct device_norm {
    equinv_context *cuda;
    equinv_plan *plan;
    equinv_tensor tensor[TENSORS];
    arguments a;
} device_norm;

static device_norm device_norm_new(equinv_context *cuda, const equinv_batch_norm_desc *d,
                                   const equinv_tensor all[TENSORS])
{
    device_norm n = {.cuda = cuda};
    OK(equinv_batch_norm_plan_create(cuda, d, &n.plan));
    n.a.saved = bytes_of(cuda, equinv_plan_saved_size(n.plan));
    n.a.scratch = bytes_of(cuda, equinv_plan_scratch_size(n.plan));
    for (int i = 0; i < TENSORS; i++)
        n.tensor[i] = cuda_copy(cuda, &all[i]);
    return n;
}

/* The pointers are set here: the struct may have moved. */
static void device_norm_run(device_norm *n, bool train)
{
    for (int i = 0; i < TENSORS; i++)
        n->a.t[i] = &n->tensor[i];
    run(n->plan, &n->a, train);
}

static void device_norm_free(device_norm *n)
{
    for (int i = 0; i < TENSORS; i++)
        equinv_tensor_destroy(n->cuda, &n->tensor[i]);
    equinv_tensor_destroy(n->cuda, &n->a.saved), equinv_tensor_destroy(n->cuda, &n->a.scratch);
    equinv_plan_destroy(n->plan);
}

/* Where the mean is 10000 times the spread, fp32 must lose no more than its own rounding. */
START_TEST(large_mean_keeps_the_variance)
{
    equinv_context *const cpu = context_new(), *const cuda = cuda_context_new();
    rng r = {7};
    equinv_batch_norm_desc d = EQUINV_BATCH_NORM_DESC_INIT;
    d.batch = 8, d.fields = 3, d.elements = 4, d.height = 9, d.width = 11;
    equinv_tensor all[TENSORS], exact[TENSORS];
    fill(cpu, &r, &d, all);
    /* uniform on -1 .. 1 has variance 1/3 */
    OK(equinv_tensor_convert(cpu, &all[SRC], sqrt(3.0), 1e4, &all[SRC]));
    device_norm n = device_norm_new(cuda, &d, all);
    device_norm_run(&n, true);
    for (int i = 0; i < TENSORS; i++)
        exact[i] = tensor_as(cpu, &all[i], EQUINV_F64);
    d.dtype = EQUINV_F64;
    equinv_plan *plan;
    OK(equinv_batch_norm_plan_create(cpu, &d, &plan));
    arguments ref = {.saved = bytes_of(cpu, equinv_plan_saved_size(plan))};
    for (int i = 0; i < TENSORS; i++)
        ref.t[i] = &exact[i];
    run(plan, &ref, true);
    static const int results[] = {DST, DIFF_SRC, DIFF_GAMMA, MEAN, VAR};
    for (int i = 0; i < 5; i++) {
        equinv_tensor back = cuda_back(cuda, &n.tensor[results[i]]);
        ASSERT_CLOSE(&back, &exact[results[i]], i == 0 ? 5e-7 : 1e-6);
        equinv_tensor_destroy(cuda, &back);
    }
    for (int i = 0; i < TENSORS; i++)
        equinv_tensor_destroy(cpu, &all[i]), equinv_tensor_destroy(cpu, &exact[i]);
    equinv_tensor_destroy(cpu, &ref.saved);
    equinv_plan_destroy(plan);
    device_norm_free(&n);
    equinv_context_destroy(cpu), equinv_context_destroy(cuda);
}
END_TEST

/* A field's NaN stays in it; in evaluation it stays in its place. */
START_TEST(nan_stays_in_its_field_and_in_evaluation_at_its_place)
{
    equinv_context *const cpu = context_new(), *const cuda = cuda_context_new();
    rng r = {3};
    equinv_batch_norm_desc d = EQUINV_BATCH_NORM_DESC_INIT;
    d.batch = 3, d.fields = 3, d.elements = 4, d.height = 5, d.width = 5;
    equinv_tensor all[TENSORS];
    fill(cpu, &r, &d, all);
    const int64_t nan_at = (1 * 3 + 1) * 100 + 23, inf_at = (0 * 3 + 2) * 100 + 44;
    tensor_set(&all[SRC], nan_at, (double)NAN);
    tensor_set(&all[SRC], inf_at, -(double)INFINITY);
    const double mean = tensor_get(&all[MEAN], 0);
    tensor_set(&all[MEAN], 0, (double)INFINITY);
    device_norm far = device_norm_new(cuda, &d, all);
    device_norm_run(&far, false);
    tensor_set(&all[MEAN], 0, mean);
    device_norm n = device_norm_new(cuda, &d, all);
    device_norm_run(&n, false);
    equinv_tensor dst = cuda_back(cuda, &n.tensor[DST]);
    equinv_tensor diff_src = cuda_back(cuda, &n.tensor[DIFF_SRC]);
    for (int64_t i = 0; i < equinv_tensor_count(&dst); i++) {
        const double value = tensor_get(&dst, i);
        ck_assert(i == nan_at ? isnan(value) : i == inf_at ? isinf(value) : isfinite(value));
        ck_assert(isfinite(tensor_get(&diff_src, i))); /* constants do not hear of src */
    }
    equinv_tensor_destroy(cuda, &dst), equinv_tensor_destroy(cuda, &diff_src);
    dst = cuda_back(cuda, &far.tensor[DST]); /* of the field whose mean is infinite */
    for (int64_t i = 0; i < 100; i++)
        ck_assert(isinf(tensor_get(&dst, i)));
    equinv_tensor_destroy(cuda, &dst);
    device_norm_run(&n, true);
    dst = cuda_back(cuda, &n.tensor[DST]), diff_src = cuda_back(cuda, &n.tensor[DIFF_SRC]);
    for (int64_t i = 0; i < equinv_tensor_count(&dst); i++) {
        const bool clean = i / 100 % 3 == 0;
        ck_assert(isfinite(tensor_get(&dst, i)) == clean);
        ck_assert(isfinite(tensor_get(&diff_src, i)) == clean);
    }
    equinv_tensor_destroy(cuda, &dst), equinv_tensor_destroy(cuda, &diff_src);
    for (int i = 0; i < TENSORS; i++)
        equinv_tensor_destroy(cpu, &all[i]);
    device_norm_free(&n), device_norm_free(&far);
    equinv_context_destroy(cpu), equinv_context_destroy(cuda);
}
END_TEST

START_TEST(every_run_has_the_same_bits_and_evaluation_goes_in_place)
{
    equinv_context *const cpu = context_new(), *const cuda = cuda_context_new();
    for (int train = 0; train < 2; train++) {
        rng r = {(uint64_t)train};
        equinv_batch_norm_desc d = EQUINV_BATCH_NORM_DESC_INIT;
        d.batch = 3, d.fields = 3, d.elements = 4, d.height = 13, d.width = 17;
        equinv_tensor all[TENSORS];
        fill(cpu, &r, &d, all);
        device_norm n[2] = {device_norm_new(cuda, &d, all), device_norm_new(cuda, &d, all)};
        device_norm_run(&n[0], train), device_norm_run(&n[1], train);
        if (!train)
            OK(equinv_batch_norm_forward_eval(n[1].plan, n[1].a.t[SRC], n[1].a.t[GAMMA],
                                              n[1].a.t[BETA], n[1].a.t[MEAN], n[1].a.t[VAR],
                                              n[1].a.t[SRC], NULL, 0));
        for (int i = 0; i < TENSORS; i++) {
            const int same = !train && i == DST ? SRC : i;
            if (!train && i == SRC)
                continue; /* it has dst now */
            equinv_tensor first = cuda_back(cuda, &n[0].tensor[i]);
            equinv_tensor second = cuda_back(cuda, &n[1].tensor[i]);
            equinv_tensor third = cuda_back(cuda, &n[1].tensor[same]);
            ASSERT_SAME(&first, &second);
            ASSERT_SAME(&first, &third);
            equinv_tensor_destroy(cuda, &first), equinv_tensor_destroy(cuda, &second);
            equinv_tensor_destroy(cuda, &third);
        }
        for (int i = 0; i < TENSORS; i++)
            equinv_tensor_destroy(cpu, &all[i]);
        device_norm_free(&n[0]), device_norm_free(&n[1]);
    }
    equinv_context_destroy(cpu), equinv_context_destroy(cuda);
}
END_TEST

START_TEST(one_value_and_empty_batch)
{
    equinv_context *const cpu = context_new(), *const cuda = cuda_context_new();
    for (int64_t batch = 0; batch < 2; batch++)
        for (int accumulate = 0; accumulate < 2; accumulate++)
            for (int train = 0; train < 2; train++) {
                rng r = {17};
                equinv_batch_norm_desc d = EQUINV_BATCH_NORM_DESC_INIT;
                d.batch = batch, d.fields = 3, d.accumulate = accumulate;
                compare(cpu, cuda, &r, d, train, 0, batch ? "one value" : "empty");
            }
    equinv_context_destroy(cpu), equinv_context_destroy(cuda);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {equals_ref, 1},
        {many_pieces_equal_ref, 1},
        {large_mean_keeps_the_variance, 1},
        {nan_stays_in_its_field_and_in_evaluation_at_its_place, 1},
        {every_run_has_the_same_bits_and_evaluation_goes_in_place, 1},
        {one_value_and_empty_batch, 1},
    };
    return run_cuda_tests("cuda/batch_norm", tests, sizeof tests / sizeof *tests);
}
