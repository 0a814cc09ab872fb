#include "internal/upsample.h"

#include "internal/backend.h"

typedef struct upsample_plan {
    equinv_plan head;
    eqi_upsample_problem problem;
    const eqi_upsample_implementation *impl;
} upsample_plan;

/* Both shapes; sizes that do not fit are refused. */
static equinv_status describe(const equinv_upsample_desc *d, eqi_upsample_problem *problem)
{
    EQI_TRY(eqi_check_desc(d->struct_size, sizeof *d, "equinv_upsample_desc"));
    EQI_CHECK(d->kind >= EQUINV_UPSAMPLE_NEAREST && d->kind <= EQUINV_UPSAMPLE_BILINEAR_CORNERS,
              ARG, "kind is %d, expected an equinv_upsample_kind", (int)d->kind);
    EQI_CHECK(d->dtype == EQUINV_F32 || d->dtype == EQUINV_F64, DTYPE,
              "dtype is %s, expected f32 or f64", equinv_dtype_name(d->dtype));
    EQI_TRY(eqi_check_extent(d->batch, "batch", 0));
    EQI_TRY(eqi_check_extent(d->fields, "fields", 1));
    EQI_TRY(eqi_check_extent(d->elements, "elements", 1));
    EQI_TRY(eqi_check_extent(d->height, "height", 1));
    EQI_TRY(eqi_check_extent(d->width, "width", 1));
    EQI_TRY(eqi_check_extent(d->scale, "scale", 1));
    const int64_t larger = d->height > d->width ? d->height : d->width;
    EQI_CHECK(larger <= INT32_MAX / d->scale, UNSUPPORTED,
              "an axis of %" PRId64 " pixels has scale %" PRId64
              ", expected at most 2^31 - 1 in dst",
              larger, d->scale);
    const eqi_upsample_problem p = {
        .dtype = d->dtype,
        .kind = d->kind,
        .scale = d->scale,
        .src = {d->batch, d->fields, d->elements, d->height, d->width},
        .dst = {d->batch, d->fields, d->elements, d->scale * d->height, d->scale * d->width},
        .accumulate = d->accumulate,
    };
    int64_t count;
    EQI_TRY(eqi_product_of("src", 5, p.src, &count));
    EQI_TRY(eqi_product_of("dst", 5, p.dst, &count));
    *problem = p;
    return EQUINV_OK;
}

equinv_status equinv_upsample_output_shape(const equinv_upsample_desc *desc, int64_t shape[5])
{
    EQI_CHECK(desc, ARG, "desc is NULL, expected a description");
    EQI_CHECK(shape, ARG, "shape is NULL, expected room for 5 extents");
    eqi_upsample_problem p;
    EQI_TRY(describe(desc, &p));
    for (int i = 0; i < 5; i++)
        shape[i] = p.dst[i];
    return EQUINV_OK;
}

equinv_status equinv_upsample_plan_create(equinv_context *ctx, const equinv_upsample_desc *desc,
                                          equinv_plan **plan)
{
    EQI_TRY(eqi_check_plan_create(ctx, desc, plan));
    eqi_upsample_problem p;
    EQI_TRY(describe(desc, &p));
    const eqi_implementation *chosen;
    EQI_TRY(eqi_choose(ctx, ctx->backend->upsample, &p, desc->impl, &chosen));

    equinv_plan *head;
    const eqi_upsample_implementation *const impl = (const eqi_upsample_implementation *)chosen;
    void *tables;
    EQI_TRY(eqi_plan_allocate_with(ctx, EQI_OP_UPSAMPLE, sizeof(upsample_plan),
                                   impl->table_size ? impl->table_size(&p) : 0, &head, &tables));
    upsample_plan *const new = (upsample_plan *)head;
    new->problem = p;
    new->problem.tables = tables;
    new->impl = impl;
    if (impl->fill)
        impl->fill(&p, tables);
    head->impl_name = chosen->name;
    *plan = head;
    return EQUINV_OK;
}

/* One map of the plan's dtype and shape. */
static equinv_status check_map(const upsample_plan *plan, const equinv_tensor *tensor,
                               const char *name, bool output, const int64_t shape[5],
                               equinv_tensor *map)
{
    EQI_TRY(eqi_check_argument(plan->head.ctx, tensor, name, output, plan->problem.dtype));
    return eqi_check_map(tensor, name, shape, map);
}

equinv_status equinv_upsample_forward(const equinv_plan *plan, const equinv_tensor *src,
                                      const equinv_tensor *dst, void *scratch, size_t scratch_size)
{
    EQI_TRY(eqi_check_plan(plan, EQI_OP_UPSAMPLE, "equinv_upsample_forward"));
    const upsample_plan *const up = (const upsample_plan *)plan;
    equinv_tensor from, to;
    EQI_TRY(check_map(up, src, "src", false, up->problem.src, &from));
    EQI_TRY(check_map(up, dst, "dst", true, up->problem.dst, &to));
    EQI_TRY(eqi_check_disjoint(dst, "dst", src, "src"));
    EQI_TRY(eqi_scratch(plan->ctx, plan->scratch_size, scratch, scratch_size, &scratch));
    return up->impl->forward(plan->ctx, &up->problem, &from, &to);
}

equinv_status equinv_upsample_backward(const equinv_plan *plan, const equinv_tensor *diff_dst,
                                       const equinv_tensor *diff_src, void *scratch,
                                       size_t scratch_size)
{
    EQI_TRY(eqi_check_plan(plan, EQI_OP_UPSAMPLE, "equinv_upsample_backward"));
    const upsample_plan *const up = (const upsample_plan *)plan;
    equinv_tensor from, to;
    EQI_TRY(check_map(up, diff_dst, "diff_dst", false, up->problem.dst, &from));
    EQI_TRY(check_map(up, diff_src, "diff_src", true, up->problem.src, &to));
    EQI_TRY(eqi_check_disjoint(diff_src, "diff_src", diff_dst, "diff_dst"));
    EQI_TRY(eqi_scratch(plan->ctx, plan->scratch_size, scratch, scratch_size, &scratch));
    return up->impl->backward(plan->ctx, &up->problem, &from, &to);
}
