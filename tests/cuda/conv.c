/* Convolution on CUDA against the CPU's reference: kinds, groups, passes, layouts, tiles. */
#include <math.h>

#include "tests/util/conv.h"
#include "tests/util/cuda.h"

enum { SHAPES = 120, TENSORS = 8, OUTPUTS = 4 }; /* the outputs are the last */

/* A case on the CPU and its tensors on the device. */
typedef struct pair {
    equinv_context *cpu, *cuda;
    conv_case c;
    cuda_laid laid[TENSORS]; /* src psi bias diff_dst dst diff_src diff_psi diff_bias */
    equinv_plan *plan;
} pair;

static double tolerance(equinv_dtype dtype)
{
    return dtype == EQUINV_F32 ? 2e-6 : 1e-13;
}

static equinv_tensor *tensor_of(conv_case *c, int i)
{
    equinv_tensor *const all[TENSORS] = {&c->src, &c->psi,      &c->bias,     &c->diff_dst,
                                         &c->dst, &c->diff_src, &c->diff_psi, &c->diff_bias};
    return all[i];
}

/* The case itself is for ref; all outputs hold the same random values before. */
static pair pair_new(equinv_context *cpu, equinv_context *cuda, rng *r,
                     const equinv_conv_desc *desc, bool plain)
{
    equinv_conv_desc d = *desc;
    d.impl = "ref";
    pair p = {.cpu = cpu, .cuda = cuda, .c = conv_case_new(cpu, r, &d)};
    for (int i = 0; i < TENSORS; i++) {
        equinv_tensor *const t = tensor_of(&p.c, i);
        if (i >= TENSORS - OUTPUTS)
            tensor_fill_random(r, t);
        p.laid[i] = plain ? cuda_laid_plain(cuda, t) : cuda_laid_copy(cuda, r, t);
    }
    p.plan = conv_plan(cuda, desc, desc->impl);
    return p;
}

static void pair_free(pair *p)
{
    for (int i = 0; i < TENSORS; i++)
        cuda_laid_free(p->cuda, &p->laid[i]);
    equinv_plan_destroy(p->plan);
    conv_case_free(p->cpu, &p->c);
}

/* The three passes on the device with these weights, into the outputs' views. */
static void pair_run(pair *p, const equinv_tensor *weights)
{
    const bool bias = p->c.desc.bias;
    const cuda_laid *const t = p->laid;
    OK(equinv_conv_forward(p->plan, &t[0].view, weights, bias ? &t[2].view : NULL, &t[4].view, NULL,
                           0));
    OK(equinv_conv_backward_data(p->plan, &t[3].view, weights, &t[5].view, NULL, 0));
    OK(equinv_conv_backward_weights(p->plan, &t[0].view, &t[3].view, &t[6].view,
                                    bias ? &t[7].view : NULL, NULL, 0));
    for (int i = TENSORS - OUTPUTS; i < TENSORS; i++)
        cuda_laid_fetch(p->cuda, &p->laid[i]);
}

static void pair_compare(pair *p, uint64_t seed)
{
    static const char *const names[] = {"dst", "diff_src", "diff_psi", "diff_bias"};
    conv_run(&p->c, p->c.plan);
    for (int i = 0; i < OUTPUTS; i++) {
        char what[512];
        snprintf(what, sizeof what, "%s (seed %d: %s)", names[i], (int)seed, conv_text(&p->c.desc));
        laid_check(&p->laid[TENSORS - OUTPUTS + i].here, tensor_of(&p->c, TENSORS - OUTPUTS + i),
                   tolerance(p->c.desc.dtype), what);
    }
}

START_TEST(equals_ref)
{
    equinv_context *const cpu = context_new(), *const cuda = cuda_context_new();
    for (uint64_t seed = (uint64_t)_i * SHAPES; seed < (uint64_t)(_i + 1) * SHAPES; seed++) {
        rng r = {seed};
        equinv_conv_desc d = conv_random_desc(&r, seed % 2 ? EQUINV_F32 : EQUINV_F64);
        d.impl = "gfourier";
        const bool fourier = conv_takes(cuda, &d);
        d.impl = seed % 8 == 3 ? "gemm" : NULL;
        pair p = pair_new(cpu, cuda, &r, &d, seed % 3 == 0);
        ck_assert_str_eq(equinv_plan_impl_name(p.plan),
                         fourier && !d.impl ? "conv/gfourier" : "conv/gemm");
        pair_run(&p, &p.laid[1].view);
        pair_compare(&p, seed);
        pair_free(&p);
    }
    equinv_context_destroy(cuda), equinv_context_destroy(cpu);
}
END_TEST

/*
 * Every way in which the Fourier form cuts its work: few and many fields of both sides, images beside
 * each other in a thread and some missing, patches of wide and of tall images, several parts of src.
 */
START_TEST(tiles_of_the_fourier_form)
{
    static const struct {
        equinv_conv_kind kind;
        int group;
        int64_t batch, in, out, height, width, k, s, p, d;
        equinv_padding_mode mode;
    } table[] = {
        {EQUINV_CONV_REGULAR, 2, 9, 3, 9, 14, 14, 3, 1, 1, 1, EQUINV_PAD_ZEROS},
        {EQUINV_CONV_REGULAR, 2, 8, 2, 33, 7, 7, 3, 1, 1, 1, EQUINV_PAD_ZEROS},
        {EQUINV_CONV_REGULAR, 5, 6, 3, 8, 9, 9, 3, 1, 1, 1, EQUINV_PAD_ZEROS},
        {EQUINV_CONV_REGULAR, 5, 1, 5, 3, 12, 5, 3, 1, 0, 1, EQUINV_PAD_CIRCULAR},
        {EQUINV_CONV_REGULAR, 4, 5, 9, 8, 30, 3, 1, 1, 0, 1, EQUINV_PAD_ZEROS},
        {EQUINV_CONV_REGULAR, 1, 3, 2, 17, 6, 150, 2, 1, 2, 1, EQUINV_PAD_ZEROS},
        {EQUINV_CONV_REGULAR, 3, 2, 1, 2, 60, 70, 3, 2, 1, 2, EQUINV_PAD_CIRCULAR},
        {EQUINV_CONV_REGULAR, 2, 40, 2, 8, 1, 1, 3, 1, 1, 1, EQUINV_PAD_ZEROS},
        {EQUINV_CONV_REGULAR, 2, 1, 1, 1, 16, 16, 16, 1, 2, 1, EQUINV_PAD_ZEROS},
        {EQUINV_CONV_LIFTING, 5, 4, 2, 5, 20, 22, 5, 1, 2, 1, EQUINV_PAD_ZEROS},
        {EQUINV_CONV_LIFTING, 2, 11, 1, 16, 11, 11, 4, 3, 0, 1, EQUINV_PAD_ZEROS},
        {EQUINV_CONV_TO_PLANE, 5, 7, 4, 9, 10, 10, 3, 1, 1, 1, EQUINV_PAD_ZEROS},
        {EQUINV_CONV_TO_PLANE, 1, 3, 4, 40, 8, 9, 5, 1, 7, 1, EQUINV_PAD_ZEROS},
    };
    equinv_context *const cpu = context_new(), *const cuda = cuda_context_new();
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        rng r = {i};
        equinv_conv_desc d = EQUINV_CONV_DESC_INIT;
        d.kind = table[i].kind, d.group = grid_groups[table[i].group];
        d.batch = table[i].batch, d.fields_in = table[i].in, d.fields_out = table[i].out;
        d.height = table[i].height, d.width = table[i].width, d.kernel = table[i].k;
        d.stride = table[i].s, d.padding = table[i].p, d.dilation = table[i].d;
        d.padding_mode = table[i].mode, d.bias = i % 2, d.impl = "gfourier";
        pair p = pair_new(cpu, cuda, &r, &d, i % 4 < 2);
        pair_run(&p, &p.laid[1].view);
        pair_compare(&p, i);
        pair_free(&p);
    }
    equinv_context_destroy(cuda), equinv_context_destroy(cpu);
}
END_TEST

/*
 * More than a tile of conv/gemm holds: 64 MiB of patches, in pixels, images, channel groups and channels; and more
 * pixels than one part of the weights' gradient sums.
 */
START_TEST(several_tiles)
{
    static const struct {
        equinv_conv_kind kind;
        int group;
        int64_t batch, in, out, size, k, p, groups;
        equinv_padding_mode mode;
    } table[] = {
        {EQUINV_CONV_TO_PLANE, 2, 5, 8, 1, 48, 5, 2, 1, EQUINV_PAD_ZEROS},     /* images */
        {EQUINV_CONV_TO_PLANE, 0, 1, 44, 2, 160, 3, 1, 2, EQUINV_PAD_ZEROS},   /* channel groups */
        {EQUINV_CONV_TO_PLANE, 1, 1, 3, 1, 239, 5, 3, 1, EQUINV_PAD_CIRCULAR}, /* channels */
        {EQUINV_CONV_LIFTING, 5, 2, 1, 30, 190, 1, 0, 1, EQUINV_PAD_ZEROS},    /* by the outputs */
    };
    const int64_t tile = INT64_C(64) << 20;
    equinv_context *const cpu = context_new(), *const cuda = cuda_context_new();
    for (int i = 0; i < 4; i++) {
        rng r = {(uint64_t)i};
        equinv_conv_desc d = EQUINV_CONV_DESC_INIT;
        d.kind = table[i].kind, d.group = grid_groups[table[i].group], d.dtype = EQUINV_F64;
        d.batch = table[i].batch, d.fields_in = table[i].in, d.fields_out = table[i].out;
        d.height = d.width = table[i].size, d.kernel = table[i].k, d.padding = table[i].p;
        d.channel_groups = table[i].groups, d.padding_mode = table[i].mode;
        d.bias = true, d.impl = "gemm";
        pair p = pair_new(cpu, cuda, &r, &d, true);
        const int64_t pixels = d.batch * p.c.out_height * p.c.out_width;
        const int64_t inputs = d.fields_in * p.c.elements_in * d.kernel * d.kernel;
        const int64_t outputs = d.fields_out * p.c.elements_out;
        ck_assert(8 * pixels * (inputs > outputs ? inputs : outputs) > tile);
        ck_assert(equinv_plan_scratch_size(p.plan) < 3 * (size_t)tile);
        pair_run(&p, &p.laid[1].view);
        pair_compare(&p, (uint64_t)i);
        pair_free(&p);
    }
    equinv_context_destroy(cuda), equinv_context_destroy(cpu);
}
END_TEST

/* The same call gives the same bits, and so do packed weights. */
START_TEST(packed_weights_and_the_same_bits)
{
    equinv_context *const cpu = context_new(), *const cuda = cuda_context_new();
    for (uint64_t seed = 0; seed < 40; seed++) {
        rng r = {seed};
        equinv_conv_desc d = conv_random_desc(&r, seed % 2 ? EQUINV_F32 : EQUINV_F64);
        d.accumulate = false;
        pair p = pair_new(cpu, cuda, &r, &d, seed % 4 < 2);
        const int64_t size = (int64_t)equinv_plan_packed_size(p.plan);
        equinv_tensor packed, once[OUTPUTS];
        OK(equinv_tensor_create(cuda, EQUINV_U8, 1, &size, &packed));
        OK(equinv_conv_pack(p.plan, &p.laid[1].view, packed.data, (size_t)size));
        pair_run(&p, &p.laid[1].view);
        for (int i = 0; i < OUTPUTS; i++)
            once[i] = tensor_copy(cpu, &p.laid[TENSORS - OUTPUTS + i].here.view);
        pair_run(&p, &packed);
        for (int i = 0; i < OUTPUTS; i++) {
            equinv_tensor again = tensor_copy(cpu, &p.laid[TENSORS - OUTPUTS + i].here.view);
            ASSERT_SAME(&again, &once[i]);
            equinv_tensor_destroy(cpu, &again), equinv_tensor_destroy(cpu, &once[i]);
        }
        equinv_tensor_destroy(cuda, &packed);
        pair_free(&p);
    }
    equinv_context_destroy(cuda), equinv_context_destroy(cpu);
}
END_TEST

/* <A x, y> = <x, A' y> in src and in psi. */
START_TEST(backward_passes_are_adjoints)
{
    equinv_context *const cpu = context_new(), *const cuda = cuda_context_new();
    for (uint64_t seed = 0; seed < 40; seed++) {
        rng r = {seed + 7000};
        equinv_conv_desc d = conv_random_desc(&r, seed % 2 ? EQUINV_F32 : EQUINV_F64);
        d.accumulate = d.bias = false;
        pair p = pair_new(cpu, cuda, &r, &d, true);
        pair_run(&p, &p.laid[1].view);
        const equinv_tensor *const dst = &p.laid[4].here.view;
        const double left = tensor_dot(dst, &p.c.diff_dst);
        const double scale = (double)equinv_tensor_count(dst) * (tensor_max_abs(dst) + 1);
        const double allowed = tolerance(d.dtype) * scale;
        ck_assert(fabs(left - tensor_dot(&p.c.src, &p.laid[5].here.view)) <= allowed);
        ck_assert(fabs(left - tensor_dot(&p.c.psi, &p.laid[6].here.view)) <= allowed);
        pair_free(&p);
    }
    equinv_context_destroy(cuda), equinv_context_destroy(cpu);
}
END_TEST

START_TEST(an_empty_batch)
{
    equinv_context *const cpu = context_new(), *const cuda = cuda_context_new();
    for (int accumulate = 0; accumulate < 2; accumulate++) {
        rng r = {1};
        equinv_conv_desc d = EQUINV_CONV_DESC_INIT;
        d.fields_in = 2, d.fields_out = 3, d.height = d.width = 5, d.bias = true;
        d.accumulate = accumulate;
        pair p = pair_new(cpu, cuda, &r, &d, false);
        pair_run(&p, &p.laid[1].view);
        for (int i = 6; i < 8 && !accumulate; i++)
            ck_assert(tensor_max_abs(&p.laid[i].here.view) == 0);
        pair_compare(&p, 0);
        pair_free(&p);
    }
    equinv_context_destroy(cuda), equinv_context_destroy(cpu);
}
END_TEST

/* A poisoned sample stays alone, and what outputs held does not shine through. */
START_TEST(not_a_number_stays_in_its_sample)
{
    equinv_context *const cpu = context_new(), *const cuda = cuda_context_new();
    rng r = {5};
    equinv_conv_desc d = EQUINV_CONV_DESC_INIT;
    d.batch = 3, d.fields_in = 2, d.fields_out = 3, d.height = 6, d.width = 7, d.padding = 1;
    pair p = pair_new(cpu, cuda, &r, &d, true);
    for (int i = 0; i < TENSORS; i++)
        if (i == 0 || i >= TENSORS - OUTPUTS) {
            equinv_tensor *const t = tensor_of(&p.c, i);
            const int64_t sample = equinv_tensor_count(t) / d.batch;
            for (int64_t at = 0; at < equinv_tensor_count(t); at++)
                if (i > 0 || at == sample + 10)
                    tensor_set(t, at, (double)NAN);
            cuda_laid_free(cuda, &p.laid[i]);
            p.laid[i] = cuda_laid_plain(cuda, t);
        }
    pair_run(&p, &p.laid[1].view);
    int64_t poisoned = 0;
    const equinv_tensor *const dst = &p.laid[4].here.view, *const diff_src = &p.laid[5].here.view;
    const int64_t sample = equinv_tensor_count(dst) / d.batch;
    for (int64_t at = 0; at < 3 * sample; at++) {
        ck_assert(!isnan(tensor_get(dst, at)) || (at >= sample && at < 2 * sample));
        poisoned += isnan(tensor_get(dst, at));
    }
    ck_assert(poisoned > 0);
    for (int64_t at = 0; at < equinv_tensor_count(diff_src); at++)
        ck_assert(!isnan(tensor_get(diff_src, at)));
    pair_free(&p);
    equinv_context_destroy(cuda), equinv_context_destroy(cpu);
}
END_TEST

/* Scratch of the caller: exactly what the plan asks for is enough, less is refused. */
START_TEST(scratch_of_the_caller)
{
    equinv_context *const cpu = context_new(), *const cuda = cuda_context_new();
    rng r = {6};
    equinv_conv_desc d = conv_random_desc(&r, EQUINV_F32);
    d.batch = 2, d.accumulate = false;
    pair p = pair_new(cpu, cuda, &r, &d, true);
    const size_t size = equinv_plan_scratch_size(p.plan);
    equinv_tensor scratch;
    OK(equinv_tensor_create(cuda, EQUINV_U8, 1, &(int64_t){(int64_t)size}, &scratch));
    const cuda_laid *const t = p.laid;
    const equinv_tensor *const bias = d.bias ? &t[2].view : NULL;
    FAILS(EQUINV_ERR_SCRATCH, "scratch_size is",
          equinv_conv_forward(p.plan, &t[0].view, &t[1].view, bias, &t[4].view, scratch.data,
                              size - 1));
    OK(equinv_conv_forward(p.plan, &t[0].view, &t[1].view, bias, &t[4].view, scratch.data, size));
    OK(equinv_conv_backward_data(p.plan, &t[3].view, &t[1].view, &t[5].view, scratch.data, size));
    OK(equinv_conv_backward_weights(p.plan, &t[0].view, &t[3].view, &t[6].view,
                                    d.bias ? &t[7].view : NULL, scratch.data, size));
    for (int i = TENSORS - OUTPUTS; i < TENSORS; i++)
        cuda_laid_fetch(cuda, &p.laid[i]);
    pair_compare(&p, 6);
    equinv_tensor_destroy(cuda, &scratch);
    pair_free(&p);
    equinv_context_destroy(cuda), equinv_context_destroy(cpu);
}
END_TEST

START_TEST(names_and_what_is_too_large)
{
    equinv_context *const cuda = cuda_context_new();
    equinv_plan *plan = NULL;
    equinv_conv_desc d = EQUINV_CONV_DESC_INIT;
    d.batch = d.fields_in = d.fields_out = 1, d.height = d.width = 5;
    d.impl = "ref";
    FAILS(EQUINV_ERR_ARG, "expected one of gfourier, gemm",
          equinv_conv_plan_create(cuda, &d, &plan));
    d.impl = "gemm";
    d.fields_in = d.fields_out = INT64_C(1) << 25, d.channel_groups = 8;
    FAILS(EQUINV_ERR_UNSUPPORTED, "2^40", equinv_conv_plan_create(cuda, &d, &plan));
    d.fields_in = INT64_C(1) << 30, d.fields_out = 1, d.channel_groups = 1;
    FAILS(EQUINV_ERR_UNSUPPORTED, "2^31", equinv_conv_plan_create(cuda, &d, &plan));
    d.impl = NULL;
    FAILS(EQUINV_ERR_UNSUPPORTED, "2^31", equinv_conv_plan_create(cuda, &d, &plan));
    d.fields_in = 1, d.height = INT64_C(1) << 31, d.width = 4, d.batch = 0;
    FAILS(EQUINV_ERR_UNSUPPORTED, "2^31", equinv_conv_plan_create(cuda, &d, &plan));
    equinv_context_destroy(cuda);
}
END_TEST

START_TEST(what_the_fourier_form_declines)
{
    equinv_context *const cuda = cuda_context_new();
    equinv_plan *plan = NULL;
    equinv_conv_desc d = EQUINV_CONV_DESC_INIT;
    d.batch = 1, d.fields_in = d.fields_out = 2, d.height = d.width = 5;
    d.impl = "gfourier", d.dtype = EQUINV_F64;
    FAILS(EQUINV_ERR_UNSUPPORTED, "f32 only", equinv_conv_plan_create(cuda, &d, &plan));
    d.dtype = EQUINV_F32, d.group = grid_groups[0];
    FAILS(EQUINV_ERR_UNSUPPORTED, "one element", equinv_conv_plan_create(cuda, &d, &plan));
    d.group = grid_groups[2], d.channel_groups = 2;
    FAILS(EQUINV_ERR_UNSUPPORTED, "one channel group", equinv_conv_plan_create(cuda, &d, &plan));
    d.channel_groups = 1, d.height = d.width = 17, d.kernel = 17;
    FAILS(EQUINV_ERR_UNSUPPORTED, "up to 16", equinv_conv_plan_create(cuda, &d, &plan));
    d.kernel = 16, d.dilation = 20, d.height = d.width = 301;
    FAILS(EQUINV_ERR_UNSUPPORTED, "shared memory", equinv_conv_plan_create(cuda, &d, &plan));
    d.impl = NULL;
    OK(equinv_conv_plan_create(cuda, &d, &plan));
    ck_assert_str_eq(equinv_plan_impl_name(plan), "conv/gemm");
    equinv_plan_destroy(plan);
    equinv_context_destroy(cuda);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {equals_ref, 2},
        {tiles_of_the_fourier_form, 1},
        {several_tiles, 1},
        {packed_weights_and_the_same_bits, 1},
        {backward_passes_are_adjoints, 1},
        {an_empty_batch, 1},
        {not_a_number_stays_in_its_sample, 1},
        {scratch_of_the_caller, 1},
        {names_and_what_is_too_large, 1},
        {what_the_fourier_form_declines, 1},
    };
    return run_cuda_tests("cuda/conv", tests, sizeof tests / sizeof *tests);
}
