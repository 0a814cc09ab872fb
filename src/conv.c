#include "internal/conv.h"

#include <string.h>

#include "internal/backend.h"

static equinv_status check_words(const equinv_conv_desc *desc)
{
    EQI_CHECK(desc->kind == EQUINV_CONV_REGULAR || desc->kind == EQUINV_CONV_LIFTING ||
                  desc->kind == EQUINV_CONV_TO_PLANE,
              ARG, "kind is %d, expected REGULAR (0), LIFTING (1) or TO_PLANE (2)",
              (int)desc->kind);
    EQI_TRY(eqi_check_finite_group(desc->group, "group"));
    EQI_CHECK(eqi_is_grid_group(desc->group), UNSUPPORTED,
              "group has order %" PRId32
              " and elements off the pixel grid; convolution is there for "
              "C1, C2, C4, D1, D2 and D4",
              eqi_order(desc->group));
    EQI_CHECK(desc->dtype == EQUINV_F32 || desc->dtype == EQUINV_F64, DTYPE,
              "dtype is %s, expected f32 or f64", equinv_dtype_name(desc->dtype));
    return EQUINV_OK;
}

static equinv_status check_extents(const equinv_conv_desc *desc)
{
    EQI_TRY(eqi_check_extent(desc->batch, "batch", 0));
    EQI_TRY(eqi_check_extent(desc->fields_in, "fields_in", 1));
    EQI_TRY(eqi_check_extent(desc->fields_out, "fields_out", 1));
    EQI_TRY(eqi_check_extent(desc->height, "height", 1));
    EQI_TRY(eqi_check_extent(desc->width, "width", 1));
    EQI_TRY(eqi_check_extent(desc->kernel, "kernel", 1));
    EQI_TRY(eqi_check_extent(desc->stride, "stride", 1));
    EQI_TRY(eqi_check_extent(desc->padding, "padding", 0));
    EQI_TRY(eqi_check_extent(desc->dilation, "dilation", 1));
    EQI_TRY(eqi_check_extent(desc->channel_groups, "channel_groups", 1));
    EQI_CHECK(desc->fields_in % desc->channel_groups == 0 &&
                  desc->fields_out % desc->channel_groups == 0,
              SHAPE,
              "channel_groups is %" PRId64 ", expected a divisor of fields_in %" PRId64
              " and fields_out %" PRId64,
              desc->channel_groups, desc->fields_in, desc->fields_out);
    EQI_CHECK(desc->padding_mode == EQUINV_PAD_ZEROS || desc->padding_mode == EQUINV_PAD_CIRCULAR,
              ARG, "padding_mode is %d, expected ZEROS (0) or CIRCULAR (1)",
              (int)desc->padding_mode);
    if (!desc->transposed)
        return EQUINV_OK;
    EQI_CHECK(desc->padding_mode == EQUINV_PAD_ZEROS, UNSUPPORTED,
              "padding_mode is CIRCULAR, expected ZEROS where transposed is true");
    EQI_CHECK(desc->output_padding >= 0 && desc->output_padding < desc->stride, SHAPE,
              "output_padding is %" PRId64 ", expected 0 to below stride %" PRId64,
              desc->output_padding, desc->stride);
    return EQUINV_OK;
}

/* (size - 1) s - 2 p + d (k - 1) + 1 + output_padding */
static equinv_status transposed_size(const equinv_conv_desc *d, const char *axis, int64_t size,
                                     int64_t *output)
{
    int64_t from, reach;
    EQI_CHECK(!__builtin_mul_overflow(size - 1, d->stride, &from) &&
                  !__builtin_mul_overflow(d->kernel - 1, d->dilation, &reach) &&
                  !__builtin_add_overflow(reach, 1 - 2 * d->padding, &reach) &&
                  !__builtin_add_overflow(from, reach, &from) &&
                  !__builtin_add_overflow(from, d->output_padding, &from),
              SHAPE,
              "%s %" PRId64 " with kernel %" PRId64 ", stride %" PRId64 " and dilation %" PRId64
              " overflows",
              axis, size, d->kernel, d->stride, d->dilation);
    EQI_CHECK(from >= 1, SHAPE,
              "%s is %" PRId64 ", of which a transposed convolution with kernel %" PRId64
              ", stride %" PRId64 ", padding %" PRId64 ", dilation %" PRId64
              " and output_padding %" PRId64 " leaves %" PRId64 ", expected at least one pixel",
              axis, size, d->kernel, d->stride, d->padding, d->dilation, d->output_padding, from);
    *output = from;
    return EQUINV_OK;
}

/* The convolution that a transposed one is the adjoint of. */
static equinv_status transpose(equinv_conv_desc *desc)
{
    const equinv_conv_desc d = *desc;
    desc->kind = d.kind == EQUINV_CONV_LIFTING    ? EQUINV_CONV_TO_PLANE
                 : d.kind == EQUINV_CONV_TO_PLANE ? EQUINV_CONV_LIFTING
                                                  : EQUINV_CONV_REGULAR;
    desc->fields_in = d.fields_out;
    desc->fields_out = d.fields_in;
    EQI_TRY(transposed_size(&d, "height", d.height, &desc->height));
    return transposed_size(&d, "width", d.width, &desc->width);
}

/* Everything that a description alone can get wrong, and what follows from it. */
static equinv_status problem_of(const equinv_conv_desc *given, eqi_conv_problem *problem)
{
    EQI_TRY(eqi_check_desc(given->struct_size, sizeof *given, "equinv_conv_desc"));
    EQI_TRY(check_words(given));
    EQI_TRY(check_extents(given));
    equinv_conv_desc made = *given;
    const equinv_conv_desc *const desc = &made;
    if (given->transposed)
        EQI_TRY(transpose(&made));
    const int64_t order = eqi_order(desc->group);
    eqi_conv_problem p = {
        .desc = *desc,
        .elements_in = desc->kind == EQUINV_CONV_LIFTING ? 1 : order,
        .elements_out = desc->kind == EQUINV_CONV_TO_PLANE ? 1 : order,
        .filter_elements = desc->kind == EQUINV_CONV_REGULAR ? order : 1,
        .in_per_group = desc->fields_in / desc->channel_groups,
        .out_per_group = desc->fields_out / desc->channel_groups,
        .forced = desc->impl != NULL,
    };
    p.desc.impl = NULL;
    EQI_TRY(eqi_window_output("height", desc->height, desc->kernel, desc->stride, desc->padding,
                              desc->dilation, &p.out_height));
    EQI_TRY(eqi_window_output("width", desc->width, desc->kernel, desc->stride, desc->padding,
                              desc->dilation, &p.out_width));
    const int64_t size = (int64_t)equinv_dtype_size(desc->dtype);
    const int64_t src[] = {size,          desc->batch,  desc->fields_in,
                           p.elements_in, desc->height, desc->width};
    const int64_t dst[] = {size,           desc->batch,  desc->fields_out,
                           p.elements_out, p.out_height, p.out_width};
    const int64_t psi[] = {size,         desc->fields_out, p.in_per_group, p.filter_elements,
                           desc->kernel, desc->kernel};
    int64_t bytes;
    EQI_TRY(eqi_product_of(desc->transposed ? "dst, counted in bytes," : "src, counted in bytes,",
                           6, src, &bytes));
    EQI_TRY(eqi_product_of(desc->transposed ? "src, counted in bytes," : "dst, counted in bytes,",
                           6, dst, &bytes));
    EQI_TRY(eqi_product_of("psi, counted in bytes,", 6, psi, &bytes));
    *problem = p;
    return EQUINV_OK;
}

equinv_status equinv_conv_output_size(const equinv_conv_desc *desc, int64_t *height, int64_t *width)
{
    eqi_conv_problem p;
    EQI_CHECK(desc, ARG, "desc is NULL, expected a description");
    EQI_CHECK(height && width, ARG, "height or width is NULL, expected where to put them");
    EQI_TRY(problem_of(desc, &p));
    *height = desc->transposed ? p.desc.height : p.out_height;
    *width = desc->transposed ? p.desc.width : p.out_width;
    return EQUINV_OK;
}

/* ---- the head of packed filters -------------------------------------------------------------------- */

_Static_assert(sizeof(eqi_conv_packed_head) == EQI_ALIGNMENT, "what follows must stay aligned");

static const char packed_magic[16] = "equinv filter 1";

static uint64_t fnv_1a(uint64_t hash, const void *data, size_t size)
{
    const unsigned char *const bytes = data;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
    return hash;
}

/* batch, bias and accumulate do not matter to a filter, and a transposed plan has its adjoint's. */
static uint64_t fingerprint_of(const eqi_conv_plan *plan)
{
    const equinv_conv_desc *const d = &plan->problem.desc;
    const int64_t words[] = {plan->head.ctx->hardware.isa,
                             d->kind,
                             d->group.kind,
                             d->group.n,
                             d->dtype,
                             d->fields_in,
                             d->fields_out,
                             d->height,
                             d->width,
                             d->kernel,
                             d->stride,
                             d->padding,
                             d->dilation,
                             d->channel_groups,
                             d->padding_mode,
                             plan->problem.forced};
    const char *const name = plan->head.impl_name;
    const uint64_t hash = fnv_1a(UINT64_C(0xcbf29ce484222325), words, sizeof words);
    return fnv_1a(hash, name, strlen(name));
}

/* After prepare: makes room for the head where the packed filter is in memory of the CPU. */
static void set_packed_head(eqi_conv_plan *plan)
{
    const equinv_context *const ctx = plan->head.ctx;
    eqi_conv_packed_head *const head = &plan->packed_head;
    if (ctx->backend->device)
        return;
    memcpy(head->magic, packed_magic, sizeof head->magic);
    eqi_format(head->implementation, sizeof head->implementation, "%s", plan->head.impl_name);
    head->fingerprint = fingerprint_of(plan);
    plan->packed_start = sizeof *head;
    plan->head.packed_size += sizeof *head;
}

static equinv_status check_packed_head(const eqi_conv_plan *plan, const void *packed)
{
    const eqi_conv_packed_head *const expected = &plan->packed_head, *const head = packed;
    if (!plan->packed_start)
        return EQUINV_OK;
    const bool is_filter = memcmp(head->magic, packed_magic, sizeof head->magic) == 0;
    if (is_filter && head->fingerprint == expected->fingerprint)
        return EQUINV_OK;
    const equinv_conv_desc *const d = &plan->problem.desc;
    char group[16];
    EQI_TRY(equinv_group_name(d->group, group, sizeof group));
    return eqi_fail(
        EQUINV_ERR_ARG,
        "weights (packed) %s%.*s, expected what equinv_conv_pack writes for this plan: %s, "
        "%s, fields %" PRId64 " to %" PRId64 ", kernel %" PRId64 ", stride %" PRId64 ", %" PRId64
        " x %" PRId64 " pixels",
        is_filter ? "is of a plan with another description or implementation, "
                  : "does not begin as a packed filter does",
        is_filter ? (int)sizeof head->implementation - 1 : 0, head->implementation,
        expected->implementation, group, d->fields_in, d->fields_out, d->kernel, d->stride,
        d->height, d->width);
}

/* ---- plans ------------------------------------------------------------------------------------------ */

equinv_status equinv_conv_plan_create(equinv_context *ctx, const equinv_conv_desc *desc,
                                      equinv_plan **plan)
{
    eqi_conv_problem p;
    const eqi_implementation *chosen;
    EQI_TRY(eqi_check_plan_create(ctx, desc, plan));
    EQI_TRY(problem_of(desc, &p));
    EQI_TRY(eqi_choose(ctx, ctx->backend->conv, &p, desc->impl, &chosen));

    const eqi_conv_implementation *const impl = (const eqi_conv_implementation *)chosen;
    equinv_plan *made;
    void *tables;
    EQI_TRY(eqi_plan_allocate_with(ctx, EQI_OP_CONV, sizeof(eqi_conv_plan),
                                   impl->table_size(&p, &ctx->hardware), &made, &tables));
    eqi_conv_plan *const c = (eqi_conv_plan *)made;
    c->problem = p;
    c->transposed = desc->transposed;
    c->implementation = impl;
    c->tables = tables;
    made->impl_name = chosen->name;
    made->group = p.desc.group;
    made->window = (struct eqi_window){p.desc.height,
                                       p.desc.width,
                                       p.desc.kernel,
                                       p.desc.stride,
                                       p.desc.padding,
                                       p.desc.dilation,
                                       p.desc.padding_mode == EQUINV_PAD_CIRCULAR,
                                       desc->transposed};
    impl->prepare(c);
    set_packed_head(c);
    const equinv_status status = eqi_arena_reserve(ctx, made->scratch_size);
    if (status != EQUINV_OK) {
        equinv_plan_destroy(made);
        return status;
    }
    *plan = made;
    return EQUINV_OK;
}

/* ---- arguments of the executing functions -------------------------------------------------------- */

/* A map of the problem's src or dst. */
static equinv_status check_map(const eqi_conv_problem *p, bool dst, const equinv_tensor *tensor,
                               const char *name, equinv_tensor *map)
{
    const equinv_conv_desc *const d = &p->desc;
    const int64_t in[] = {d->batch, d->fields_in, p->elements_in, d->height, d->width};
    const int64_t out[] = {d->batch, d->fields_out, p->elements_out, p->out_height, p->out_width};
    EQI_TRY(eqi_check_dtype(tensor, name, d->dtype));
    return eqi_check_map(tensor, name, dst ? out : in, map);
}

static equinv_status check_src(const eqi_conv_plan *plan, const equinv_tensor *tensor,
                               const char *name, equinv_tensor *map)
{
    return check_map(&plan->problem, plan->transposed, tensor, name, map);
}

static equinv_status check_dst(const eqi_conv_plan *plan, const equinv_tensor *tensor,
                               const char *name, equinv_tensor *map)
{
    return check_map(&plan->problem, !plan->transposed, tensor, name, map);
}

/* psi's axes in the header; *view always has the group axis. */
static equinv_status check_psi(const eqi_conv_problem *p, const equinv_tensor *tensor,
                               const char *name, equinv_tensor *view)
{
    const int64_t k = p->desc.kernel;
    EQI_TRY(eqi_check_dtype(tensor, name, p->desc.dtype));
    *view = *tensor;
    if (p->desc.kind == EQUINV_CONV_REGULAR)
        return eqi_check_shape(
            tensor, name, 5,
            (int64_t[]){p->desc.fields_out, p->in_per_group, p->filter_elements, k, k});
    EQI_TRY(
        eqi_check_shape(tensor, name, 4, (int64_t[]){p->desc.fields_out, p->in_per_group, k, k}));
    view->ndim = 5;
    for (int axis = 4; axis > 2; axis--) {
        view->shape[axis] = tensor->shape[axis - 1];
        view->strides[axis] = tensor->strides[axis - 1];
    }
    view->shape[2] = 1;
    view->strides[2] = 0;
    return EQUINV_OK;
}

static equinv_status check_weights(const eqi_conv_plan *plan, const equinv_tensor *weights,
                                   eqi_conv_weights *checked)
{
    *checked = (eqi_conv_weights){.packed = NULL};
    EQI_TRY(eqi_check_tensor(plan->head.ctx, weights, "weights", EQI_FLOAT | EQI_U8));
    if (weights->dtype != EQUINV_U8)
        return check_psi(&plan->problem, weights, "weights", &checked->psi);
    const int64_t size = (int64_t)plan->head.packed_size;
    EQI_TRY(eqi_check_shape(weights, "weights (packed)", 1, &size));
    EQI_CHECK(size == 1 || weights->strides[0] == 1, SHAPE,
              "weights (packed) has stride %" PRId64 ", expected 1", weights->strides[0]);
    EQI_TRY(eqi_check_alignment(plan->head.ctx, weights->data, "weights (packed)"));
    EQI_TRY(check_packed_head(plan, weights->data));
    checked->packed = (const char *)weights->data + plan->packed_start;
    return EQUINV_OK;
}

static equinv_status check_fields_out(const eqi_conv_plan *plan, const equinv_tensor *tensor,
                                      const char *name)
{
    const equinv_conv_desc *const d = &plan->problem.desc;
    EQI_TRY(eqi_check_dtype(tensor, name, d->dtype));
    return eqi_check_shape(tensor, name, 1, plan->transposed ? &d->fields_in : &d->fields_out);
}

/* ref goes over any layout in the same way. */
static bool takes(const eqi_conv_plan *plan, bool output, const equinv_tensor *map)
{
    const eqi_conv_implementation *const impl = plan->implementation;
    return !impl->takes || impl->takes(plan, plan->transposed, output, map);
}

equinv_status equinv_conv_takes(const equinv_plan *plan, const equinv_tensor *tensor, bool *direct)
{
    equinv_tensor src, dst;
    EQI_TRY(eqi_check_plan(plan, EQI_OP_CONV, "convolution"));
    const eqi_conv_plan *const c = (const eqi_conv_plan *)plan;
    EQI_CHECK(direct, ARG, "direct is NULL, expected where to put the answer");
    EQI_CHECK(
        !plan->ctx->backend->device, UNSUPPORTED,
        "plan is one of %s, expected one of the CPU, whose layouts differ in how they are read",
        plan->ctx->backend->name);
    EQI_TRY(eqi_check_tensor(plan->ctx, tensor, "tensor", EQI_FLOAT));
    EQI_TRY(eqi_check_dtype(tensor, "tensor", c->problem.desc.dtype));
    const bool is_src = check_src(c, tensor, "tensor", &src) == EQUINV_OK;
    const bool is_dst = check_dst(c, tensor, "tensor", &dst) == EQUINV_OK;
    EQI_CHECK(is_src || is_dst, SHAPE,
              "tensor has neither shape of this plan's maps, expected that of src or of dst");
    *direct = (!is_src || takes(c, false, &src)) && (!is_dst || takes(c, true, &dst));
    return EQUINV_OK;
}

equinv_status equinv_conv_pack(const equinv_plan *plan, const equinv_tensor *psi, void *packed,
                               size_t packed_size)
{
    equinv_tensor view;
    EQI_TRY(eqi_check_plan(plan, EQI_OP_CONV, "convolution"));
    const eqi_conv_plan *const c = (const eqi_conv_plan *)plan;
    EQI_TRY(eqi_check_tensor(plan->ctx, psi, "psi", EQI_FLOAT));
    EQI_TRY(check_psi(&c->problem, psi, "psi", &view));
    EQI_CHECK(packed, ARG, "packed is NULL, expected %zu bytes", plan->packed_size);
    EQI_CHECK(packed_size >= plan->packed_size, SCRATCH,
              "packed_size is %zu, expected at least %zu", packed_size, plan->packed_size);
    EQI_TRY(eqi_check_buffer(plan->ctx, packed, "packed"));
    const equinv_tensor memory = {.data = packed,
                                  .device = plan->ctx->device,
                                  .dtype = EQUINV_U8,
                                  .ndim = 1,
                                  .shape = {(int64_t)plan->packed_size},
                                  .strides = {1}};
    EQI_TRY(eqi_check_disjoint(&memory, "packed", psi, "psi"));
    EQI_TRY(c->implementation->pack(c, &view, (char *)packed + c->packed_start));
    memcpy(packed, &c->packed_head, c->packed_start);
    return EQUINV_OK;
}

bool eqi_conv_finishes(const equinv_plan *plan)
{
    const eqi_conv_plan *const c = (const eqi_conv_plan *)plan;
    return c->implementation->forward_finished && !c->transposed && !c->problem.desc.accumulate;
}

equinv_status eqi_conv_forward_finished(const equinv_plan *plan, const equinv_tensor *src,
                                        const equinv_tensor *weights, const equinv_tensor *bias,
                                        const eqi_conv_finish *finish, const equinv_tensor *dst,
                                        void *scratch, size_t scratch_size)
{
    equinv_tensor from, to;
    eqi_conv_weights w;
    EQI_TRY(eqi_check_plan(plan, EQI_OP_CONV, "convolution"));
    const eqi_conv_plan *const c = (const eqi_conv_plan *)plan;
    EQI_TRY(eqi_check_tensor(plan->ctx, src, "src", EQI_FLOAT));
    EQI_TRY(check_src(c, src, "src", &from));
    EQI_TRY(check_weights(c, weights, &w));
    EQI_CHECK(!bias == !c->problem.desc.bias, ARG,
              bias ? "bias is given, expected NULL for a plan without bias"
                   : "bias is NULL, expected a tensor for a plan with bias");
    if (bias) {
        EQI_TRY(eqi_check_tensor(plan->ctx, bias, "bias", EQI_FLOAT));
        EQI_TRY(check_fields_out(c, bias, "bias"));
    }
    EQI_TRY(eqi_check_output(plan->ctx, dst, "dst", EQI_FLOAT));
    EQI_TRY(check_dst(c, dst, "dst", &to));
    EQI_TRY(eqi_check_disjoint(dst, "dst", src, "src"));
    EQI_TRY(eqi_check_disjoint(dst, "dst", weights, "weights"));
    if (bias)
        EQI_TRY(eqi_check_disjoint(dst, "dst", bias, "bias"));
    EQI_TRY(eqi_scratch(plan->ctx, plan->scratch_size, scratch, scratch_size, &scratch));
    if (finish)
        return c->implementation->forward_finished(c, &from, &w, bias, finish, &to, scratch);
    return (c->transposed ? c->implementation->backward_data
                          : c->implementation->forward)(c, &from, &w, bias, &to, scratch);
}

equinv_status equinv_conv_forward(const equinv_plan *plan, const equinv_tensor *src,
                                  const equinv_tensor *weights, const equinv_tensor *bias,
                                  const equinv_tensor *dst, void *scratch, size_t scratch_size)
{
    return eqi_conv_forward_finished(plan, src, weights, bias, NULL, dst, scratch, scratch_size);
}

equinv_status equinv_conv_backward_data(const equinv_plan *plan, const equinv_tensor *diff_dst,
                                        const equinv_tensor *weights, const equinv_tensor *diff_src,
                                        void *scratch, size_t scratch_size)
{
    equinv_tensor from, to;
    eqi_conv_weights w;
    EQI_TRY(eqi_check_plan(plan, EQI_OP_CONV, "convolution"));
    const eqi_conv_plan *const c = (const eqi_conv_plan *)plan;
    EQI_TRY(eqi_check_tensor(plan->ctx, diff_dst, "diff_dst", EQI_FLOAT));
    EQI_TRY(check_dst(c, diff_dst, "diff_dst", &from));
    EQI_TRY(check_weights(c, weights, &w));
    EQI_TRY(eqi_check_output(plan->ctx, diff_src, "diff_src", EQI_FLOAT));
    EQI_TRY(check_src(c, diff_src, "diff_src", &to));
    EQI_TRY(eqi_check_disjoint(diff_src, "diff_src", diff_dst, "diff_dst"));
    EQI_TRY(eqi_check_disjoint(diff_src, "diff_src", weights, "weights"));
    EQI_TRY(eqi_scratch(plan->ctx, plan->scratch_size, scratch, scratch_size, &scratch));
    return (c->transposed ? c->implementation->forward
                          : c->implementation->backward_data)(c, &from, &w, NULL, &to, scratch);
}

/* diff_bias, if wanted: shape, and memory of its own. */
static equinv_status check_diff_bias(const eqi_conv_plan *plan, const equinv_tensor *diff_bias,
                                     const equinv_tensor *src, const equinv_tensor *diff_dst,
                                     const equinv_tensor *diff_weights)
{
    if (!diff_bias)
        return EQUINV_OK;
    EQI_CHECK(plan->problem.desc.bias, ARG,
              "diff_bias is given, expected NULL for a plan without bias");
    EQI_TRY(eqi_check_output(plan->head.ctx, diff_bias, "diff_bias", EQI_FLOAT));
    EQI_TRY(check_fields_out(plan, diff_bias, "diff_bias"));
    EQI_TRY(eqi_check_disjoint(diff_bias, "diff_bias", src, "src"));
    EQI_TRY(eqi_check_disjoint(diff_bias, "diff_bias", diff_dst, "diff_dst"));
    return eqi_check_disjoint(diff_bias, "diff_bias", diff_weights, "diff_weights");
}

equinv_status equinv_conv_backward_weights(const equinv_plan *plan, const equinv_tensor *src,
                                           const equinv_tensor *diff_dst,
                                           const equinv_tensor *diff_weights,
                                           const equinv_tensor *diff_bias, void *scratch,
                                           size_t scratch_size)
{
    equinv_tensor from, gradient, psi;
    EQI_TRY(eqi_check_plan(plan, EQI_OP_CONV, "convolution"));
    const eqi_conv_plan *const c = (const eqi_conv_plan *)plan;
    EQI_TRY(eqi_check_tensor(plan->ctx, src, "src", EQI_FLOAT));
    EQI_TRY(check_src(c, src, "src", &from));
    EQI_TRY(eqi_check_tensor(plan->ctx, diff_dst, "diff_dst", EQI_FLOAT));
    EQI_TRY(check_dst(c, diff_dst, "diff_dst", &gradient));
    EQI_TRY(eqi_check_output(plan->ctx, diff_weights, "diff_weights", EQI_FLOAT));
    EQI_TRY(check_psi(&c->problem, diff_weights, "diff_weights", &psi));
    EQI_TRY(eqi_check_disjoint(diff_weights, "diff_weights", src, "src"));
    EQI_TRY(eqi_check_disjoint(diff_weights, "diff_weights", diff_dst, "diff_dst"));
    EQI_TRY(check_diff_bias(c, diff_bias, src, diff_dst, diff_weights));
    EQI_TRY(eqi_scratch(plan->ctx, plan->scratch_size, scratch, scratch_size, &scratch));
    if (!c->transposed)
        return c->implementation->backward_weights(c, &from, &gradient, &psi, diff_bias, scratch);
    EQI_TRY(c->implementation->backward_weights(c, &gradient, &from, &psi, NULL, scratch));
    return diff_bias ? c->implementation->transposed_bias(c, &gradient, diff_bias, scratch)
                     : EQUINV_OK;
}
