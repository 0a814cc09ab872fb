#include "internal/dense.h"

#include "internal/backend.h"

typedef struct dense_plan {
    equinv_plan head;
    eqi_dense_problem problem;
    const eqi_dense_implementation *impl;
    bool bias;
} dense_plan;

static equinv_status describe(const equinv_dense_desc *d, eqi_dense_problem *p)
{
    EQI_TRY(eqi_check_desc(d->struct_size, sizeof *d, "equinv_dense_desc"));
    EQI_CHECK(d->dtype == EQUINV_F32 || d->dtype == EQUINV_F64, DTYPE,
              "dtype is %s, expected f32 or f64", equinv_dtype_name(d->dtype));
    EQI_TRY(eqi_check_extent(d->batch, "batch", 0));
    EQI_TRY(eqi_check_extent(d->features_in, "features_in", 1));
    EQI_TRY(eqi_check_extent(d->features_out, "features_out", 1));
    int64_t count;
    EQI_TRY(eqi_product_of("src", 2, (int64_t[]){d->batch, d->features_in}, &count));
    EQI_TRY(eqi_product_of("weights", 2, (int64_t[]){d->features_out, d->features_in}, &count));
    EQI_TRY(eqi_product_of("dst", 2, (int64_t[]){d->batch, d->features_out}, &count));
    *p = (eqi_dense_problem){d->dtype, d->batch, d->features_in, d->features_out, d->accumulate};
    return EQUINV_OK;
}

equinv_status equinv_dense_plan_create(equinv_context *ctx, const equinv_dense_desc *desc,
                                       equinv_plan **plan)
{
    EQI_TRY(eqi_check_plan_create(ctx, desc, plan));
    eqi_dense_problem p;
    EQI_TRY(describe(desc, &p));
    const eqi_implementation *chosen;
    EQI_TRY(eqi_choose(ctx, ctx->backend->dense, &p, desc->impl, &chosen));
    const eqi_dense_implementation *const impl = (const eqi_dense_implementation *)chosen;
    int64_t scratch;
    EQI_TRY(impl->scratch_size(&p, &ctx->hardware, &scratch));
    EQI_TRY(eqi_arena_reserve(ctx, (size_t)scratch));

    equinv_plan *head;
    EQI_TRY(eqi_plan_allocate(ctx, EQI_OP_DENSE, sizeof(dense_plan), &head));
    dense_plan *const new = (dense_plan *)head;
    new->problem = p;
    new->impl = impl;
    new->bias = desc->bias;
    head->impl_name = chosen->name;
    head->scratch_size = (size_t)scratch;
    *plan = head;
    return EQUINV_OK;
}

static equinv_status check_one(const dense_plan *plan, const equinv_tensor *tensor,
                               const char *name, bool output)
{
    return eqi_check_argument(plan->head.ctx, tensor, name, output, plan->problem.dtype);
}

static equinv_status check_matrix(const dense_plan *plan, const equinv_tensor *tensor,
                                  const char *name, bool output, int64_t rows, int64_t columns)
{
    EQI_TRY(check_one(plan, tensor, name, output));
    return eqi_check_shape(tensor, name, 2, (int64_t[]){rows, columns});
}

/* [N, ..] with the plan's features a sample. */
static equinv_status check_samples(const dense_plan *plan, const equinv_tensor *tensor,
                                   const char *name, bool output)
{
    const eqi_dense_problem *const p = &plan->problem;
    EQI_TRY(check_one(plan, tensor, name, output));
    int64_t features = -1;
    if (tensor->ndim >= 1)
        EQI_TRY(eqi_product_of(name, tensor->ndim - 1, tensor->shape + 1, &features));
    char has[128];
    EQI_CHECK(features == p->in && tensor->shape[0] == p->batch, SHAPE,
              "%s has shape %s, expected [%" PRId64 ", ..] with %" PRId64 " elements a sample",
              name, eqi_shape_text(tensor->ndim, tensor->shape, has, sizeof has), p->batch, p->in);
    return EQUINV_OK;
}

static equinv_status check_vector(const dense_plan *plan, const equinv_tensor *tensor,
                                  const char *name, bool output)
{
    EQI_TRY(check_one(plan, tensor, name, output));
    return eqi_check_shape(tensor, name, 1, &plan->problem.out);
}

equinv_status equinv_dense_forward(const equinv_plan *plan, const equinv_tensor *src,
                                   const equinv_tensor *weights, const equinv_tensor *bias,
                                   const equinv_tensor *dst, void *scratch, size_t scratch_size)
{
    EQI_TRY(eqi_check_plan(plan, EQI_OP_DENSE, "equinv_dense_forward"));
    const dense_plan *const dense = (const dense_plan *)plan;
    const eqi_dense_problem *const p = &dense->problem;
    EQI_TRY(check_samples(dense, src, "src", false));
    EQI_TRY(check_matrix(dense, weights, "weights", false, p->out, p->in));
    EQI_CHECK(!bias || dense->bias, ARG,
              "bias is given, expected NULL as the description has none");
    if (dense->bias)
        EQI_TRY(check_vector(dense, bias, "bias", false));
    EQI_TRY(check_matrix(dense, dst, "dst", true, p->batch, p->out));
    EQI_TRY(eqi_check_disjoint(dst, "dst", src, "src"));
    EQI_TRY(eqi_check_disjoint(dst, "dst", weights, "weights"));
    if (bias)
        EQI_TRY(eqi_check_disjoint(dst, "dst", bias, "bias"));
    EQI_TRY(eqi_scratch(plan->ctx, plan->scratch_size, scratch, scratch_size, &scratch));
    return dense->impl->forward(plan->ctx, p, src, weights, bias, dst, scratch);
}

equinv_status equinv_dense_backward_data(const equinv_plan *plan, const equinv_tensor *diff_dst,
                                         const equinv_tensor *weights,
                                         const equinv_tensor *diff_src, void *scratch,
                                         size_t scratch_size)
{
    EQI_TRY(eqi_check_plan(plan, EQI_OP_DENSE, "equinv_dense_backward_data"));
    const dense_plan *const dense = (const dense_plan *)plan;
    const eqi_dense_problem *const p = &dense->problem;
    EQI_TRY(check_matrix(dense, diff_dst, "diff_dst", false, p->batch, p->out));
    EQI_TRY(check_matrix(dense, weights, "weights", false, p->out, p->in));
    EQI_TRY(check_samples(dense, diff_src, "diff_src", true));
    EQI_TRY(eqi_check_disjoint(diff_src, "diff_src", diff_dst, "diff_dst"));
    EQI_TRY(eqi_check_disjoint(diff_src, "diff_src", weights, "weights"));
    EQI_TRY(eqi_scratch(plan->ctx, plan->scratch_size, scratch, scratch_size, &scratch));
    return dense->impl->backward_data(plan->ctx, p, diff_dst, weights, diff_src, scratch);
}

equinv_status equinv_dense_backward_weights(const equinv_plan *plan, const equinv_tensor *src,
                                            const equinv_tensor *diff_dst,
                                            const equinv_tensor *diff_weights,
                                            const equinv_tensor *diff_bias, void *scratch,
                                            size_t scratch_size)
{
    EQI_TRY(eqi_check_plan(plan, EQI_OP_DENSE, "equinv_dense_backward_weights"));
    const dense_plan *const dense = (const dense_plan *)plan;
    const eqi_dense_problem *const p = &dense->problem;
    EQI_TRY(check_samples(dense, src, "src", false));
    EQI_TRY(check_matrix(dense, diff_dst, "diff_dst", false, p->batch, p->out));
    EQI_TRY(check_matrix(dense, diff_weights, "diff_weights", true, p->out, p->in));
    EQI_TRY(eqi_check_disjoint(diff_weights, "diff_weights", src, "src"));
    EQI_TRY(eqi_check_disjoint(diff_weights, "diff_weights", diff_dst, "diff_dst"));
    if (diff_bias) {
        EQI_TRY(check_vector(dense, diff_bias, "diff_bias", true));
        EQI_TRY(eqi_check_disjoint(diff_bias, "diff_bias", src, "src"));
        EQI_TRY(eqi_check_disjoint(diff_bias, "diff_bias", diff_dst, "diff_dst"));
        EQI_TRY(eqi_check_disjoint(diff_bias, "diff_bias", diff_weights, "diff_weights"));
    }
    EQI_TRY(eqi_scratch(plan->ctx, plan->scratch_size, scratch, scratch_size, &scratch));
    return dense->impl->backward_weights(plan->ctx, p, src, diff_dst, diff_weights, diff_bias,
                                         scratch);
}
