/* Convolution called wrongly: every refusal with its sentence, nothing written, nothing leaked. */
#include "tests/util/conv.h"

static equinv_conv_desc good_desc(void)
{
    equinv_conv_desc d = EQUINV_CONV_DESC_INIT;
    d.batch = 2, d.fields_in = 2, d.fields_out = 4, d.height = 6, d.width = 5;
    d.padding = 1, d.bias = true;
    return d;
}

/* The same for an implementation; one that takes images of one window only gets these. */
static equinv_conv_desc desc_for(int impl)
{
    equinv_conv_desc d = good_desc();
    d.impl = conv_impl(impl);
    if (strcmp(d.impl, "window") == 0)
        d.height = d.width = d.kernel, d.padding = 0;
    return d;
}

/* ---- descriptions -------------------------------------------------------------------------------- */

#define REFUSES(status, word, ...)                                                                 \
    do {                                                                                           \
        equinv_conv_desc d = good_desc();                                                          \
        equinv_plan *plan = NULL;                                                                  \
        int64_t height = -7, width = -7;                                                           \
        __VA_ARGS__;                                                                               \
        FAILS(status, word, equinv_conv_plan_create(ctx, &d, &plan));                              \
        ck_assert_ptr_null(plan);                                                                  \
        FAILS(status, word, equinv_conv_output_size(&d, &height, &width));                         \
        ck_assert(height == -7 && width == -7);                                                    \
    } while (0)

START_TEST(wrong_descriptions)
{
    const int64_t huge = INT64_C(1) << 40;
    equinv_context *const ctx = context_new();
    REFUSES(EQUINV_ERR_ARG, "struct_size", d.struct_size = 8);
    REFUSES(EQUINV_ERR_ARG, "kind is 7", d.kind = (equinv_conv_kind)7);
    REFUSES(EQUINV_ERR_ARG, "C0", d.group = equinv_cyclic(0));
    REFUSES(EQUINV_ERR_ARG, "kind 9", d.group.kind = (equinv_group_kind)9);
    REFUSES(EQUINV_ERR_UNSUPPORTED, "S", d.group = equinv_symmetric());
    REFUSES(EQUINV_ERR_UNSUPPORTED, "C1, C2, C4", d.group = equinv_cyclic(8));
    REFUSES(EQUINV_ERR_UNSUPPORTED, "C1, C2, C4", d.group = equinv_dihedral(3));
    REFUSES(EQUINV_ERR_DTYPE, "i32", d.dtype = EQUINV_I32);
    REFUSES(EQUINV_ERR_DTYPE, "unknown", d.dtype = (equinv_dtype)3);
    REFUSES(EQUINV_ERR_SHAPE, "batch is -1", d.batch = -1);
    REFUSES(EQUINV_ERR_SHAPE, "fields_in is 0", d.fields_in = 0);
    REFUSES(EQUINV_ERR_SHAPE, "fields_out is -2", d.fields_out = -2);
    REFUSES(EQUINV_ERR_SHAPE, "height is 0", d.height = 0);
    REFUSES(EQUINV_ERR_SHAPE, "width is -5", d.width = -5);
    REFUSES(EQUINV_ERR_SHAPE, "kernel is 0", d.kernel = 0);
    REFUSES(EQUINV_ERR_SHAPE, "stride is 0", d.stride = 0);
    REFUSES(EQUINV_ERR_SHAPE, "padding is -1", d.padding = -1);
    REFUSES(EQUINV_ERR_SHAPE, "dilation is 0", d.dilation = 0);
    REFUSES(EQUINV_ERR_SHAPE, "channel_groups is 0", d.channel_groups = 0);
    REFUSES(EQUINV_ERR_SHAPE, "channel_groups is 3", d.channel_groups = 3);
    REFUSES(EQUINV_ERR_SHAPE, "channel_groups is 4", d.channel_groups = 4);
    REFUSES(EQUINV_ERR_ARG, "padding_mode is 5", d.padding_mode = (equinv_padding_mode)5);
    REFUSES(EQUINV_ERR_SHAPE, "height is 6", d.kernel = 9);
    REFUSES(EQUINV_ERR_SHAPE, "width is 5", d.kernel = 3, d.dilation = 4, d.height = 9);
    REFUSES(EQUINV_ERR_SHAPE, "batch is", d.batch = huge + 1);
    REFUSES(EQUINV_ERR_SHAPE, "kernel is", d.kernel = INT64_MAX);
    REFUSES(EQUINV_ERR_SHAPE, "overflows", d.kernel = huge, d.dilation = huge);
    REFUSES(EQUINV_ERR_SHAPE, "src", d.batch = huge, d.height = huge);
    REFUSES(EQUINV_ERR_SHAPE, "dst", d.batch = huge, d.padding = huge);
    REFUSES(EQUINV_ERR_SHAPE, "psi", d.batch = 0, d.kernel = huge, d.padding = huge);
#define REFUSES_TRANSPOSED(status, word, ...)                                                      \
    REFUSES(status, word, d.transposed = true, __VA_ARGS__)
    REFUSES_TRANSPOSED(EQUINV_ERR_UNSUPPORTED, "CIRCULAR", d.padding_mode = EQUINV_PAD_CIRCULAR);
    REFUSES_TRANSPOSED(EQUINV_ERR_SHAPE, "output_padding is -1", d.output_padding = -1);
    REFUSES_TRANSPOSED(EQUINV_ERR_SHAPE, "output_padding is 1", d.output_padding = 1);
    REFUSES_TRANSPOSED(EQUINV_ERR_SHAPE, "output_padding is 3", d.stride = 3, d.output_padding = 3);
    REFUSES_TRANSPOSED(EQUINV_ERR_SHAPE, "leaves 0", d.width = 2, d.padding = 2);
    REFUSES_TRANSPOSED(EQUINV_ERR_SHAPE, "height is 2", d.height = 2, d.padding = 4);
    REFUSES_TRANSPOSED(EQUINV_ERR_SHAPE, "overflows", d.stride = huge, d.height = huge);
    REFUSES_TRANSPOSED(EQUINV_ERR_SHAPE, "overflows", d.kernel = huge, d.dilation = huge);
    REFUSES_TRANSPOSED(EQUINV_ERR_SHAPE, "dst", d.batch = huge, d.stride = huge);
    REFUSES_TRANSPOSED(EQUINV_ERR_SHAPE, "src", d.batch = huge, d.fields_in = huge);
    REFUSES_TRANSPOSED(EQUINV_ERR_SHAPE, "channel_groups is 3", d.channel_groups = 3);
    equinv_conv_desc d = good_desc();
    equinv_plan *plan = NULL;
    int64_t extent = -7;
    FAILS(EQUINV_ERR_ARG, "ctx", equinv_conv_plan_create(NULL, &d, &plan));
    FAILS(EQUINV_ERR_ARG, "desc", equinv_conv_plan_create(ctx, NULL, &plan));
    FAILS(EQUINV_ERR_ARG, "plan", equinv_conv_plan_create(ctx, &d, NULL));
    FAILS(EQUINV_ERR_ARG, "desc", equinv_conv_output_size(NULL, &extent, &extent));
    FAILS(EQUINV_ERR_ARG, "height", equinv_conv_output_size(&d, NULL, &extent));
    FAILS(EQUINV_ERR_ARG, "width", equinv_conv_output_size(&d, &extent, NULL));
    d.impl = "fastest";
    FAILS(EQUINV_ERR_ARG, "gemm, ref", equinv_conv_plan_create(ctx, &d, &plan));
    ck_assert_ptr_null(plan);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(output_sizes)
{
    static const struct {
        int64_t size, k, s, p, d, out;
    } rows[] = {{28, 5, 1, 2, 1, 28}, {28, 5, 1, 0, 1, 24}, {28, 3, 2, 1, 1, 14},
                {7, 4, 1, 0, 1, 4},   {7, 4, 1, 2, 1, 8},   {9, 3, 1, 0, 4, 1},
                {9, 3, 3, 0, 1, 3},   {1, 1, 5, 0, 9, 1},   {10, 3, 4, 0, 1, 2},
                {4, 2, 3, 9, 1, 7}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        equinv_conv_desc d = good_desc();
        int64_t height, width;
        d.height = rows[i].size, d.width = rows[i].size + rows[i].s;
        d.kernel = rows[i].k, d.stride = rows[i].s, d.padding = rows[i].p, d.dilation = rows[i].d;
        OK(equinv_conv_output_size(&d, &height, &width));
        ck_assert_int_eq(height, rows[i].out);
        ck_assert_int_eq(width, rows[i].out + 1);
        /* Transposed it goes back, what the windows leave over being the output_padding. */
        const int64_t reach = rows[i].d * (rows[i].k - 1) + 1;
        d.transposed = true;
        d.output_padding = (rows[i].size + 2 * rows[i].p - reach) % rows[i].s;
        d.height = rows[i].out, d.width = rows[i].out + 1;
        OK(equinv_conv_output_size(&d, &height, &width));
        ck_assert_int_eq(height, rows[i].size);
        ck_assert_int_eq(width, rows[i].size + rows[i].s);
    }
}
END_TEST

/* Huge empty problems are valid, and no implementation may walk over their pixels. */
START_TEST(huge_but_empty)
{
    equinv_context *const ctx = context_new();
    for (int i = 0; i < 3; i++) {
        equinv_conv_desc d = good_desc();
        d.kind = (equinv_conv_kind)i;
        d.batch = 0;
        d.height = d.width = INT64_C(1) << 40;
        d.bias = false;
        conv_case c = conv_case_new(ctx, &(rng){1}, &d);
        ck_assert_str_eq(equinv_plan_impl_name(c.plan), "conv/ref");
        conv_run(&c, c.plan);
        ck_assert(tensor_max_abs(&c.diff_psi) == 0);
        conv_case_free(ctx, &c);
        equinv_plan *plan = NULL;
        d.impl = "gemm";
        FAILS(EQUINV_ERR_UNSUPPORTED, "1 GiB", equinv_conv_plan_create(ctx, &d, &plan));
        d.height = d.width = 8, d.fields_in = INT64_C(1) << 30;
        FAILS(EQUINV_ERR_UNSUPPORTED, "1 GiB", equinv_conv_plan_create(ctx, &d, &plan));
        ck_assert_ptr_null(plan);
    }
    equinv_context_destroy(ctx);
}
END_TEST

/* ---- executing ----------------------------------------------------------------------------------- */

/* Arguments of all executing functions, good until a test changes one. */
typedef struct arguments {
    const equinv_plan *plan;
    equinv_tensor src, weights, bias, dst, diff_dst, diff_src, diff_weights, diff_bias;
    const equinv_tensor *p_src, *p_weights, *p_bias, *p_dst, *p_diff_dst, *p_diff_src;
    const equinv_tensor *p_diff_weights, *p_diff_bias;
    void *scratch;
    size_t scratch_size;
} arguments;

static void point(arguments *a)
{
    a->p_src = &a->src, a->p_weights = &a->weights, a->p_bias = &a->bias, a->p_dst = &a->dst;
    a->p_diff_dst = &a->diff_dst, a->p_diff_src = &a->diff_src;
    a->p_diff_weights = &a->diff_weights, a->p_diff_bias = &a->diff_bias;
}

static equinv_status call_forward(const arguments *a)
{
    return equinv_conv_forward(a->plan, a->p_src, a->p_weights, a->p_bias, a->p_dst, a->scratch,
                               a->scratch_size);
}

static equinv_status call_backward_data(const arguments *a)
{
    return equinv_conv_backward_data(a->plan, a->p_diff_dst, a->p_weights, a->p_diff_src,
                                     a->scratch, a->scratch_size);
}

static equinv_status call_backward_weights(const arguments *a)
{
    return equinv_conv_backward_weights(a->plan, a->p_src, a->p_diff_dst, a->p_diff_weights,
                                        a->p_diff_bias, a->scratch, a->scratch_size);
}

#define WRONG(call, status, word, ...)                                                             \
    do {                                                                                           \
        arguments a = good;                                                                        \
        point(&a);                                                                                 \
        __VA_ARGS__;                                                                               \
        FAILS(status, word, call(&a));                                                             \
    } while (0)

/* What can be wrong with any tensor. `t` is the member, `name` what the sentence must say. */
#define WRONG_TENSOR(call, t, name)                                                                \
    do {                                                                                           \
        WRONG(call, EQUINV_ERR_ARG, name, a.p_##t = NULL);                                         \
        WRONG(call, EQUINV_ERR_ARG, name, a.t.data = NULL);                                        \
        WRONG(call, EQUINV_ERR_ARG, name, a.t.data = (char *)a.t.data + 1);                        \
        WRONG(call, EQUINV_ERR_DEVICE, name, a.t.device.kind = EQUINV_DEVICE_CUDA);                \
        WRONG(call, EQUINV_ERR_DTYPE, name, a.t.dtype = EQUINV_F64, a.t.data = good.src.data);     \
        WRONG(call, EQUINV_ERR_DTYPE, name, a.t.dtype = EQUINV_I32);                               \
        WRONG(call, EQUINV_ERR_DTYPE, name, a.t.dtype = (equinv_dtype)77);                         \
        WRONG(call, EQUINV_ERR_SHAPE, name, a.t.ndim = 3);                                         \
        WRONG(call, EQUINV_ERR_SHAPE, name, a.t.ndim = 9);                                         \
        WRONG(call, EQUINV_ERR_SHAPE, name, a.t.ndim = -1);                                        \
        WRONG(call, EQUINV_ERR_SHAPE, name, a.t.shape[0] = 9);                                     \
        WRONG(call, EQUINV_ERR_SHAPE, name, a.t.shape[0] = -1);                                    \
        WRONG(call, EQUINV_ERR_SHAPE, name, a.t.strides[0] = INT64_MAX);                           \
    } while (0)

#define WRONG_OUTPUT(call, t, name)                                                                \
    do {                                                                                           \
        WRONG_TENSOR(call, t, name);                                                               \
        WRONG(call, EQUINV_ERR_SHAPE, name, a.t.strides[0] = 0);                                   \
    } while (0)

/* All of these end before the first write. */
START_TEST(wrong_tensors_and_scratch)
{
    equinv_context *const ctx = context_new();
    equinv_conv_desc d = desc_for(_i);
    rng r = {1};
    conv_case c = conv_case_new(ctx, &r, &d);
    equinv_tensor *const outputs[] = {&c.dst, &c.diff_src, &c.diff_psi, &c.diff_bias};
    for (int i = 0; i < 4; i++)
        for (int64_t at = 0; at < equinv_tensor_count(outputs[i]); at++)
            tensor_set(outputs[i], at, 42);
    const arguments good = {.plan = c.plan,
                            .src = c.src,
                            .weights = c.psi,
                            .bias = c.bias,
                            .dst = c.dst,
                            .diff_dst = c.diff_dst,
                            .diff_src = c.diff_src,
                            .diff_weights = c.diff_psi,
                            .diff_bias = c.diff_bias};

    WRONG(call_forward, EQUINV_ERR_ARG, "plan", a.plan = NULL);
    WRONG_TENSOR(call_forward, src, "src");
    WRONG_TENSOR(call_forward, weights, "weights");
    WRONG_TENSOR(call_forward, bias, "bias");
    WRONG_OUTPUT(call_forward, dst, "dst");
    const bool window = d.padding == 0;
    WRONG(call_forward, EQUINV_ERR_SHAPE, window ? "[2, 2, 4, 3, 3]" : "[2, 2, 4, 6, 5]",
          a.src.shape[4] = 4);
    WRONG(call_forward, EQUINV_ERR_SHAPE, "[4, 2, 4, 3, 3]", a.weights.shape[2] = 1);
    WRONG(call_forward, EQUINV_ERR_SHAPE, "[4]", a.bias.shape[0] = 3);
    WRONG(call_forward, EQUINV_ERR_SHAPE, window ? "[2, 4, 4, 1, 1]" : "[2, 4, 4, 6, 5]",
          a.dst.shape[1] = 2);
    WRONG(call_forward, EQUINV_ERR_ARG, "dst overlaps src", a.dst.data = a.src.data);
    WRONG(call_forward, EQUINV_ERR_ARG, "dst overlaps weights",
          a.weights.data = (float *)a.dst.data + 7);
    WRONG(call_forward, EQUINV_ERR_ARG, "dst overlaps bias", a.bias.data = a.dst.data);

    WRONG(call_backward_data, EQUINV_ERR_ARG, "plan", a.plan = NULL);
    WRONG_TENSOR(call_backward_data, diff_dst, "diff_dst");
    WRONG_TENSOR(call_backward_data, weights, "weights");
    WRONG_OUTPUT(call_backward_data, diff_src, "diff_src");
    WRONG(call_backward_data, EQUINV_ERR_ARG, "diff_src overlaps diff_dst",
          a.diff_src.data = a.diff_dst.data);
    WRONG(call_backward_data, EQUINV_ERR_ARG, "diff_src overlaps weights",
          a.weights.data = a.diff_src.data);

    WRONG(call_backward_weights, EQUINV_ERR_ARG, "plan", a.plan = NULL);
    WRONG_TENSOR(call_backward_weights, src, "src");
    WRONG_TENSOR(call_backward_weights, diff_dst, "diff_dst");
    WRONG_OUTPUT(call_backward_weights, diff_weights, "diff_weights");
    WRONG(call_backward_weights, EQUINV_ERR_SHAPE, "diff_bias", a.diff_bias.shape[0] = 5);
    WRONG(call_backward_weights, EQUINV_ERR_SHAPE, "diff_bias", a.diff_bias.strides[0] = 0);
    WRONG(call_backward_weights, EQUINV_ERR_DTYPE, "diff_bias", a.diff_bias.dtype = EQUINV_U8);
    WRONG(call_backward_weights, EQUINV_ERR_DEVICE, "diff_bias", a.diff_bias.device.index = 1);
    WRONG(call_backward_weights, EQUINV_ERR_ARG, "diff_weights overlaps src",
          a.diff_weights.data = a.src.data);
    WRONG(call_backward_weights, EQUINV_ERR_ARG, "diff_weights overlaps diff_dst",
          a.diff_weights.data = a.diff_dst.data);
    WRONG(call_backward_weights, EQUINV_ERR_ARG, "diff_bias overlaps src",
          a.diff_bias.data = a.src.data);
    WRONG(call_backward_weights, EQUINV_ERR_ARG, "diff_bias overlaps diff_dst",
          a.diff_bias.data = a.diff_dst.data);
    WRONG(call_backward_weights, EQUINV_ERR_ARG, "diff_bias overlaps diff_weights",
          a.diff_bias.data = a.diff_weights.data);

    const size_t scratch = equinv_plan_scratch_size(c.plan);
    if (scratch > 0) {
        void *const memory = aligned_alloc(64, (scratch + 127) / 64 * 64);
        equinv_status (*const calls[])(const arguments *) = {call_forward, call_backward_data,
                                                             call_backward_weights};
        for (int i = 0; i < 3; i++) {
            WRONG(calls[i], EQUINV_ERR_SCRATCH, "scratch_size", a.scratch = memory,
                  a.scratch_size = scratch - 1);
            WRONG(calls[i], EQUINV_ERR_SCRATCH, "aligned to 64", a.scratch = (char *)memory + 4,
                  a.scratch_size = scratch);
        }
        free(memory);
    }
    for (int i = 0; i < 4; i++)
        for (int64_t at = 0; at < equinv_tensor_count(outputs[i]); at++)
            ck_assert(tensor_get(outputs[i], at) == 42);
    conv_case_free(ctx, &c);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(bias_only_where_the_description_has_one)
{
    equinv_context *const ctx = context_new();
    equinv_conv_desc d = desc_for(_i);
    rng r = {1};
    conv_case with = conv_case_new(ctx, &r, &d);
    d.bias = false;
    conv_case c = conv_case_new(ctx, &r, &d);
    FAILS(EQUINV_ERR_ARG, "bias is NULL",
          equinv_conv_forward(with.plan, &c.src, &c.psi, NULL, &c.dst, NULL, 0));
    FAILS(EQUINV_ERR_ARG, "bias is given",
          equinv_conv_forward(c.plan, &c.src, &c.psi, &c.bias, &c.dst, NULL, 0));
    FAILS(EQUINV_ERR_ARG, "diff_bias is given",
          equinv_conv_backward_weights(c.plan, &c.src, &c.diff_dst, &c.diff_psi, &c.diff_bias, NULL,
                                       0));
    OK(equinv_conv_backward_weights(with.plan, &c.src, &c.diff_dst, &c.diff_psi, NULL, NULL, 0));
    conv_case_free(ctx, &with);
    conv_case_free(ctx, &c);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(wrong_packing)
{
    equinv_context *const ctx = context_new();
    equinv_conv_desc d = desc_for(_i);
    rng r = {1};
    conv_case c = conv_case_new(ctx, &r, &d);
    const size_t size = equinv_plan_packed_size(c.plan);
    const int64_t bytes = (int64_t)size + 64;
    equinv_tensor memory;
    OK(equinv_tensor_create(ctx, EQUINV_U8, 1, &bytes, &memory));
    char *const packed = memory.data;

    FAILS(EQUINV_ERR_ARG, "plan", equinv_conv_pack(NULL, &c.psi, packed, size));
    FAILS(EQUINV_ERR_ARG, "psi", equinv_conv_pack(c.plan, NULL, packed, size));
    FAILS(EQUINV_ERR_SHAPE, "psi", equinv_conv_pack(c.plan, &c.src, packed, size));
    FAILS(EQUINV_ERR_DTYPE, "psi", equinv_conv_pack(c.plan, &memory, packed, size));
    FAILS(EQUINV_ERR_ARG, "packed is NULL", equinv_conv_pack(c.plan, &c.psi, NULL, size));
    FAILS(EQUINV_ERR_SCRATCH, "packed_size", equinv_conv_pack(c.plan, &c.psi, packed, size - 1));
    FAILS(EQUINV_ERR_SCRATCH, "aligned", equinv_conv_pack(c.plan, &c.psi, packed + 4, size));
    equinv_tensor inside = c.psi;
    inside.data = packed;
    FAILS(EQUINV_ERR_ARG, "packed overlaps psi", equinv_conv_pack(c.plan, &inside, packed, size));
    ck_assert(tensor_max_abs(&memory) == 0);

    /* As weights: the size, stride and alignment must be right. */
    OK(equinv_conv_pack(c.plan, &c.psi, packed, size));
    FAILS(EQUINV_ERR_SHAPE, "packed",
          equinv_conv_forward(c.plan, &c.src, &memory, &c.bias, &c.dst, NULL, 0));
    equinv_tensor weights = memory;
    weights.shape[0] = (int64_t)size;
    weights.strides[0] = -1;
    weights.data = packed + size - 1;
    FAILS(EQUINV_ERR_SHAPE, "stride -1",
          equinv_conv_forward(c.plan, &c.src, &weights, &c.bias, &c.dst, NULL, 0));
    weights.strides[0] = 1;
    weights.data = packed + 8;
    FAILS(EQUINV_ERR_SCRATCH, "aligned",
          equinv_conv_forward(c.plan, &c.src, &weights, &c.bias, &c.dst, NULL, 0));
    weights.data = packed;
    OK(equinv_conv_forward(c.plan, &c.src, &weights, &c.bias, &c.dst, NULL, 0));
    equinv_tensor_destroy(ctx, &memory);
    conv_case_free(ctx, &c);
    equinv_context_destroy(ctx);
}
END_TEST

/* Packs c's psi by a plan for another description, whose packed filters are as large as c's. */
static void pack_by(equinv_context *ctx, const conv_case *c, const equinv_conv_desc *other,
                    const equinv_tensor *packed)
{
    conv_case o = conv_case_new(ctx, &(rng){2}, other);
    ck_assert_int_eq((int64_t)equinv_plan_packed_size(o.plan), packed->shape[0]);
    equinv_tensor psi = c->psi;
    memcpy(psi.shape, o.psi.shape, sizeof psi.shape);
    memcpy(psi.strides, o.psi.strides, sizeof psi.strides);
    OK(equinv_conv_pack(o.plan, &psi, packed->data, (size_t)packed->shape[0]));
    conv_case_free(ctx, &o);
}

/* The sizes agree, the descriptions do not; to a filter batch, bias and accumulate do not matter. */
START_TEST(a_filter_packed_by_another_plan)
{
    equinv_context *const ctx = context_new();
    equinv_conv_desc d = desc_for(_i);
    conv_case c = conv_case_new(ctx, &(rng){1}, &d);
    const int64_t size = (int64_t)equinv_plan_packed_size(c.plan);
    equinv_tensor packed;
    OK(equinv_tensor_create(ctx, EQUINV_U8, 1, &size, &packed));
#define BOTH_REFUSE(word)                                                                          \
    do {                                                                                           \
        FAILS(EQUINV_ERR_ARG, word,                                                                \
              equinv_conv_forward(c.plan, &c.src, &packed, &c.bias, &c.dst, NULL, 0));             \
        FAILS(EQUINV_ERR_ARG, word,                                                                \
              equinv_conv_backward_data(c.plan, &c.diff_dst, &packed, &c.diff_src, NULL, 0));      \
        ck_assert(strstr(equinv_last_error(), "weights (packed)"));                                \
        ck_assert(strstr(equinv_last_error(), equinv_plan_impl_name(c.plan)));                     \
    } while (0)
    BOTH_REFUSE("does not begin as a packed filter does, expected");
    const bool window = d.padding == 0;
    const char *const expected = window ? "C4, fields 2 to 4, kernel 3, stride 1, 3 x 3 pixels"
                                        : "C4, fields 2 to 4, kernel 3, stride 1, 6 x 5 pixels";
#define REFUSES_PACKED(...)                                                                        \
    do {                                                                                           \
        equinv_conv_desc other = d;                                                                \
        __VA_ARGS__;                                                                               \
        pack_by(ctx, &c, &other, &packed);                                                         \
        BOTH_REFUSE(expected);                                                                     \
        ck_assert(strstr(equinv_last_error(), "another description or implementation"));           \
    } while (0)
    if (!window) { /* which has other sizes, or takes no such images */
        REFUSES_PACKED(other.fields_in = 4, other.fields_out = 2);
        REFUSES_PACKED(other.height = 7);
        REFUSES_PACKED(other.width = 6);
        REFUSES_PACKED(other.padding = 2);
        REFUSES_PACKED(other.dilation = 2);
        REFUSES_PACKED(other.padding_mode = EQUINV_PAD_CIRCULAR);
    }
    if (strcmp(d.impl, "gfourier") != 0) { /* whose sizes tell these apart */
        REFUSES_PACKED(other.stride = 2);
        REFUSES_PACKED(other.group = equinv_dihedral(2));
    }
    ck_assert(tensor_max_abs(&c.dst) == 0 && tensor_max_abs(&c.diff_src) == 0);

    conv_run(&c, c.plan);
    equinv_tensor dst = tensor_like(ctx, &c.dst), diff_src = tensor_like(ctx, &c.diff_src);
    equinv_conv_desc other = d;
    other.batch = 7, other.bias = false, other.accumulate = true;
    pack_by(ctx, &c, &other, &packed);
    OK(equinv_conv_forward(c.plan, &c.src, &packed, &c.bias, &dst, NULL, 0));
    OK(equinv_conv_backward_data(c.plan, &c.diff_dst, &packed, &diff_src, NULL, 0));
    ASSERT_SAME(&dst, &c.dst);
    ASSERT_SAME(&diff_src, &c.diff_src);
    ((char *)packed.data)[0] ^= 1; /* and nothing that only resembles one */
    BOTH_REFUSE("does not begin");
    equinv_tensor_destroy(ctx, &dst), equinv_tensor_destroy(ctx, &diff_src);
    equinv_tensor_destroy(ctx, &packed);
    conv_case_free(ctx, &c);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(plans_of_other_operations_are_refused)
{
    equinv_context *const ctx = context_new();
    rng r = {1};
    const equinv_conv_desc d = good_desc();
    conv_case c = conv_case_new(ctx, &r, &d);
    equinv_pool_desc p = EQUINV_POOL_DESC_INIT;
    equinv_plan *pool = NULL;
    p.batch = 1, p.fields = 1, p.elements = 4, p.height = p.width = 4;
    OK(equinv_pool_plan_create(ctx, &p, &pool));
    char packed[64];
    FAILS(EQUINV_ERR_ARG, "another operation", equinv_conv_pack(pool, &c.psi, packed, 64));
    FAILS(EQUINV_ERR_ARG, "another operation",
          equinv_conv_forward(pool, &c.src, &c.psi, &c.bias, &c.dst, NULL, 0));
    FAILS(EQUINV_ERR_ARG, "another operation",
          equinv_conv_backward_data(pool, &c.diff_dst, &c.psi, &c.diff_src, NULL, 0));
    FAILS(EQUINV_ERR_ARG, "another operation",
          equinv_conv_backward_weights(pool, &c.src, &c.diff_dst, &c.diff_psi, NULL, NULL, 0));
    equinv_plan_destroy(pool);
    conv_case_free(ctx, &c);
    equinv_context_destroy(ctx);
}
END_TEST

/* ---- memory -------------------------------------------------------------------------------------- */

/* Every allocation of plan_create fails once; the context stays usable and execution allocates nothing. */
START_TEST(allocation_failures)
{
    fault_allocator f = {.until = -1};
    equinv_context *const ctx = context_of_faults(&f);
    equinv_conv_desc d = desc_for(_i);
    const int64_t live = f.live;
    equinv_plan *plan = NULL;
    int64_t failures = 0;
    for (equinv_status status = EQUINV_ERR_NOMEM; status != EQUINV_OK; failures++) {
        f.until = f.count + failures;
        status = equinv_conv_plan_create(ctx, &d, &plan);
        if (status != EQUINV_OK) {
            ck_assert_int_eq(status, EQUINV_ERR_NOMEM);
            ck_assert_ptr_null(plan);
            ck_assert_int_eq(f.live, live);
        }
        ck_assert(failures < 10);
    }
    ck_assert(failures > 1); /* the plan at least */
    f.until = -1;
    rng r = {1};
    conv_case c = conv_case_new(ctx, &r, &d);
    const int64_t before = f.count;
    f.until = f.count;
    conv_run(&c, plan);
    ck_assert_int_eq(f.count, before);
    f.until = -1;
    equinv_plan_destroy(plan);
    conv_case_free(ctx, &c);
    equinv_context_destroy(ctx);
    ck_assert_int_eq(f.live, 0);
    ck_assert_int_eq(f.wrong_size, 0);
}
END_TEST

/* Exactly scratch_size bytes are touched, and what they held does not matter. */
START_TEST(scratch_is_used_within_its_size)
{
    equinv_context *const ctx = context_new();
    for (uint64_t seed = 0; seed < share_of(60); seed++) {
        rng r = {seed};
        equinv_conv_desc d = conv_random_desc(&r, seed % 2 ? EQUINV_F32 : EQUINV_F64);
        d.impl = conv_impl(_i);
        if (!conv_takes(ctx, &d))
            continue;
        d.accumulate = false;
        conv_case c = conv_case_new(ctx, &r, &d);
        conv_run(&c, c.plan);
        const size_t size = equinv_plan_scratch_size(c.plan), room = (size + 127) / 64 * 64;
        unsigned char *const scratch = aligned_alloc(64, room);
        memset(scratch, 0xff, room); /* not a number wherever it is read first */
        equinv_tensor dst = tensor_like(ctx, &c.dst), diff_src = tensor_like(ctx, &c.diff_src);
        equinv_tensor diff_psi = tensor_like(ctx, &c.diff_psi);
        OK(equinv_conv_forward(c.plan, &c.src, &c.psi, d.bias ? &c.bias : NULL, &dst, scratch,
                               size));
        OK(equinv_conv_backward_data(c.plan, &c.diff_dst, &c.psi, &diff_src, scratch, size));
        memset(scratch, 0xff, room);
        OK(equinv_conv_backward_weights(c.plan, &c.src, &c.diff_dst, &diff_psi, NULL, scratch,
                                        size));
        ASSERT_SAME(&dst, &c.dst);
        ASSERT_SAME(&diff_src, &c.diff_src);
        ASSERT_SAME(&diff_psi, &c.diff_psi);
        for (size_t at = size; at < room; at++)
            ck_assert(scratch[at] == 0xff);
        equinv_tensor_destroy(ctx, &dst), equinv_tensor_destroy(ctx, &diff_src);
        equinv_tensor_destroy(ctx, &diff_psi);
        free(scratch);
        conv_case_free(ctx, &c);
    }
    equinv_context_destroy(ctx);
}
END_TEST

int main(void)
{
    int impls = 0;
    while (conv_impl(impls))
        impls++;
    const test_entry tests[] = {
        {wrong_descriptions, 1},
        {output_sizes, 1},
        {huge_but_empty, 1},
        {wrong_tensors_and_scratch, impls},
        {bias_only_where_the_description_has_one, impls},
        {wrong_packing, impls},
        {a_filter_packed_by_another_plan, impls},
        {plans_of_other_operations_are_refused, 1},
        {allocation_failures, impls},
        {scratch_is_used_within_its_size, impls},
    };
    return run_tests("conv_arguments", tests, sizeof tests / sizeof *tests);
}
