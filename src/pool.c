#include "internal/pool.h"

#include <math.h>

#include "internal/backend.h"

typedef struct pool_plan {
    equinv_plan head;
    eqi_pool_problem problem;
    const eqi_pool_implementation *impl;
} pool_plan;

static bool is_windowed(equinv_pool_kind kind)
{
    return kind == EQUINV_POOL_MAX || kind == EQUINV_POOL_AVERAGE || kind == EQUINV_POOL_BLUR;
}

static bool is_group(equinv_pool_kind kind)
{
    return kind == EQUINV_POOL_GROUP_MAX || kind == EQUINV_POOL_GROUP_MEAN;
}

int64_t eqi_blur_reach(double sigma)
{
    return (int64_t)rint(3 * sigma);
}

static int64_t kernel_of(const equinv_pool_desc *d)
{
    return d->kind == EQUINV_POOL_BLUR ? 2 * eqi_blur_reach(d->sigma) + 1 : d->kernel;
}

static equinv_status check_desc(const equinv_pool_desc *d)
{
    EQI_TRY(eqi_check_desc(d->struct_size, sizeof *d, "equinv_pool_desc"));
    EQI_CHECK(d->kind >= EQUINV_POOL_MAX && d->kind <= EQUINV_POOL_BLUR, ARG,
              "kind is %d, expected an equinv_pool_kind", (int)d->kind);
    EQI_TRY(eqi_check_finite_group(d->group, "group"));
    EQI_CHECK(d->dtype == EQUINV_F32 || d->dtype == EQUINV_F64, DTYPE,
              "dtype is %s, expected f32 or f64", equinv_dtype_name(d->dtype));
    EQI_TRY(eqi_check_extent(d->batch, "batch", 0));
    EQI_TRY(eqi_check_extent(d->fields, "fields", 1));
    const int32_t order = eqi_order(d->group);
    EQI_CHECK(d->elements == order || (d->elements == 1 && !is_group(d->kind)), SHAPE,
              "elements is %" PRId64 ", expected the group's order %" PRId32 "%s", d->elements,
              order, is_group(d->kind) ? "" : " or 1");
    EQI_TRY(eqi_check_extent(d->height, "height", 1));
    EQI_TRY(eqi_check_extent(d->width, "width", 1));
    if (!is_windowed(d->kind))
        return EQUINV_OK;
    if (d->kind == EQUINV_POOL_BLUR)
        EQI_CHECK(d->sigma > 0 && d->sigma <= (EQI_BLUR_REACH + 0.5) / 3 &&
                      eqi_blur_reach(d->sigma) <= EQI_BLUR_REACH,
                  ARG, "sigma is %g, expected above 0 and 3 sigma rounded at most %d", d->sigma,
                  EQI_BLUR_REACH);
    else
        EQI_TRY(eqi_check_extent(d->kernel, "kernel", 1));
    EQI_TRY(eqi_check_extent(d->stride, "stride", 1));
    EQI_TRY(eqi_check_extent(d->padding, "padding", 0));
    const int64_t kernel = kernel_of(d);
    EQI_CHECK(d->padding <= kernel / 2, SHAPE,
              "padding is %" PRId64 ", expected at most %" PRId64 ", half of kernel %" PRId64,
              d->padding, kernel / 2, kernel);
    return EQUINV_OK;
}

void eqi_blur_weights(double sigma, double *weights)
{
    const int64_t reach = eqi_blur_reach(sigma);
    double sum = 0;
    for (int64_t t = reach; t >= 0; t--) {
        const double distance = (double)t / sigma;
        weights[t] = exp(-0.5 * distance * distance);
        sum += t ? 2 * weights[t] : weights[t];
    }
    for (int64_t t = 0; t <= reach; t++)
        weights[t] /= sum;
}

/* The three windows and both shapes; sizes that do not fit are refused. */
static equinv_status describe(const equinv_pool_desc *d, eqi_pool_problem *problem)
{
    EQI_TRY(check_desc(d));
    eqi_pool_problem p = {
        .dtype = d->dtype,
        .src = {d->batch, d->fields, d->elements, d->height, d->width},
        .max = d->kind == EQUINV_POOL_MAX || d->kind == EQUINV_POOL_GLOBAL_MAX ||
               d->kind == EQUINV_POOL_GROUP_MAX,
        .blur = d->kind == EQUINV_POOL_BLUR,
        .accumulate = d->accumulate,
    };
    if (p.blur)
        eqi_blur_weights(d->sigma, p.gauss);
    static const char *const names[3] = {"elements", "height", "width"};
    p.dst[0] = d->batch;
    p.dst[1] = d->fields;
    for (int axis = 0; axis < 3; axis++) {
        const bool space = axis > 0;
        const bool whole = is_group(d->kind) ? !space : space && !is_windowed(d->kind);
        p.window[axis].kernel = whole ? p.src[2 + axis] : 1;
        p.window[axis].stride = 1;
        if (space && is_windowed(d->kind)) {
            p.window[axis].kernel = kernel_of(d);
            p.window[axis].stride = d->stride;
            p.window[axis].padding = d->padding;
        }
        EQI_TRY(eqi_window_output(names[axis], p.src[2 + axis], p.window[axis].kernel,
                                  p.window[axis].stride, p.window[axis].padding, 1,
                                  &p.dst[2 + axis]));
    }
    int64_t count, places;
    EQI_TRY(eqi_product_of("src", 5, p.src, &count));
    EQI_TRY(eqi_product_of("dst", 5, p.dst, &count));
    EQI_TRY(eqi_product_of("a field", 3, p.src + 2, &places));
    EQI_CHECK(!p.max || places <= INT32_MAX, UNSUPPORTED,
              "a field has %" PRId64 " elements, expected at most 2^31 - 1 in max pooling", places);
    *problem = p;
    return EQUINV_OK;
}

equinv_status equinv_pool_output_shape(const equinv_pool_desc *desc, int64_t shape[5])
{
    EQI_CHECK(desc, ARG, "desc is NULL, expected a description");
    EQI_CHECK(shape, ARG, "shape is NULL, expected room for 5 extents");
    eqi_pool_problem p;
    EQI_TRY(describe(desc, &p));
    for (int i = 0; i < 5; i++)
        shape[i] = p.dst[i];
    return EQUINV_OK;
}

equinv_status equinv_pool_plan_create(equinv_context *ctx, const equinv_pool_desc *desc,
                                      equinv_plan **plan)
{
    EQI_TRY(eqi_check_plan_create(ctx, desc, plan));
    eqi_pool_problem p;
    EQI_TRY(describe(desc, &p));
    int64_t saved = 0;
    if (p.max)
        EQI_TRY(eqi_product_of(
            "saved", 6,
            (int64_t[]){p.dst[0], p.dst[1], p.dst[2], p.dst[3], p.dst[4], (int64_t)sizeof(int32_t)},
            &saved));
    const eqi_implementation *chosen;
    EQI_TRY(eqi_choose(ctx, ctx->backend->pool, &p, desc->impl, &chosen));

    equinv_plan *head;
    const eqi_pool_implementation *const impl = (const eqi_pool_implementation *)chosen;
    void *tables;
    EQI_TRY(eqi_plan_allocate_with(ctx, EQI_OP_POOL, sizeof(pool_plan),
                                   impl->table_size ? impl->table_size(&p) : 0, &head, &tables));
    pool_plan *const new = (pool_plan *)head;
    new->problem = p;
    new->problem.tables = tables;
    new->impl = impl;
    if (impl->fill)
        impl->fill(&p, tables);
    head->impl_name = chosen->name;
    head->saved_size = (size_t)saved;
    head->group = desc->group;
    if (is_windowed(desc->kind))
        head->window = (struct eqi_window){.height = desc->height,
                                           .width = desc->width,
                                           .kernel = kernel_of(desc),
                                           .stride = desc->stride,
                                           .padding = desc->padding,
                                           .dilation = 1};
    *plan = head;
    return EQUINV_OK;
}

/* One map of the plan's dtype and shape. */
static equinv_status check_map(const pool_plan *plan, const equinv_tensor *tensor, const char *name,
                               bool output, const int64_t shape[5], equinv_tensor *map)
{
    EQI_TRY(eqi_check_argument(plan->head.ctx, tensor, name, output, plan->problem.dtype));
    return eqi_check_map(tensor, name, shape, map);
}

equinv_status equinv_pool_forward(const equinv_plan *plan, const equinv_tensor *src,
                                  const equinv_tensor *dst, void *saved, size_t saved_size,
                                  void *scratch, size_t scratch_size)
{
    EQI_TRY(eqi_check_plan(plan, EQI_OP_POOL, "equinv_pool_forward"));
    const pool_plan *const pool = (const pool_plan *)plan;
    equinv_tensor from, to;
    EQI_TRY(check_map(pool, src, "src", false, pool->problem.src, &from));
    EQI_TRY(check_map(pool, dst, "dst", true, pool->problem.dst, &to));
    EQI_TRY(eqi_check_disjoint(dst, "dst", src, "src"));
    EQI_TRY(eqi_check_saved(plan->ctx, saved, saved_size, plan->saved_size, false));
    EQI_TRY(eqi_scratch(plan->ctx, plan->scratch_size, scratch, scratch_size, &scratch));
    return pool->impl->forward(plan->ctx, &pool->problem, &from, &to,
                               pool->problem.max ? saved : NULL);
}

equinv_status equinv_pool_backward(const equinv_plan *plan, const equinv_tensor *diff_dst,
                                   const void *saved, size_t saved_size,
                                   const equinv_tensor *diff_src, void *scratch,
                                   size_t scratch_size)
{
    EQI_TRY(eqi_check_plan(plan, EQI_OP_POOL, "equinv_pool_backward"));
    const pool_plan *const pool = (const pool_plan *)plan;
    equinv_tensor from, to;
    EQI_TRY(check_map(pool, diff_dst, "diff_dst", false, pool->problem.dst, &from));
    EQI_TRY(eqi_check_saved(plan->ctx, saved, saved_size, plan->saved_size, true));
    EQI_TRY(check_map(pool, diff_src, "diff_src", true, pool->problem.src, &to));
    EQI_TRY(eqi_check_disjoint(diff_src, "diff_src", diff_dst, "diff_dst"));
    EQI_TRY(eqi_scratch(plan->ctx, plan->scratch_size, scratch, scratch_size, &scratch));
    return pool->impl->backward(plan->ctx, &pool->problem, &from, saved, &to);
}
