#include "cpu/ref/ref.h"
#include "internal/backend.h"
#include "internal/orbit.h"

/* Latents [N, F, G, H, W] on which the group acts with their pixels. */
static equinv_status check_latents(const equinv_context *ctx, equinv_group group,
                                   const equinv_tensor *tensor, const char *name, bool output,
                                   equinv_tensor *latents)
{
    char has[128];
    EQI_TRY((output ? eqi_check_output : eqi_check_tensor)(ctx, tensor, name, EQI_FLOAT));
    EQI_CHECK(equinv_tensor_as_fields(tensor, eqi_order(group), latents) == EQUINV_OK, SHAPE,
              "%s has shape %s, expected [batch, fields, %" PRId32 ", height, width] or a view of "
              "it that equinv_tensor_as_fields takes",
              name, eqi_shape_text(tensor->ndim, tensor->shape, has, sizeof has), eqi_order(group));
    int64_t pixels;
    EQI_TRY(eqi_product_of(name, 2, latents->shape + 3, &pixels));
    return eqi_check_joint_action(group, latents->shape[3], latents->shape[4]);
}

equinv_status equinv_orbit_mean(equinv_context *ctx, equinv_group group, const equinv_tensor *src,
                                const equinv_tensor *dst)
{
    equinv_tensor from, to;
    EQI_CHECK(ctx, ARG, "ctx is NULL, expected a context");
    EQI_TRY(eqi_check_finite_group(group, "group"));
    EQI_TRY(eqi_check_group_of_device(ctx, group));
    EQI_TRY(check_latents(ctx, group, src, "src", false, &from));
    EQI_TRY(check_latents(ctx, group, dst, "dst", true, &to));
    EQI_TRY(eqi_check_dtype(dst, "dst", src->dtype));
    EQI_TRY(eqi_check_same_shape(&to, "dst", &from, "src"));
    EQI_TRY(eqi_check_disjoint(dst, "dst", src, "src"));
    return ctx->backend->orbit_mean(ctx, group, &from, &to);
}

/* [N, n, c], or [N, n] for one channel. */
static equinv_status check_rows(const equinv_context *ctx, const equinv_tensor *tensor,
                                const char *name, bool output, equinv_tensor *rows)
{
    char has[128];
    EQI_TRY((output ? eqi_check_output : eqi_check_tensor)(ctx, tensor, name, EQI_FLOAT));
    *rows = *tensor;
    if (rows->ndim == 2) {
        rows->ndim = 3;
        rows->shape[2] = rows->strides[2] = 1;
    }
    EQI_CHECK(rows->ndim == 3, SHAPE, "%s has shape %s, expected [batch, rows, channels]", name,
              eqi_shape_text(tensor->ndim, tensor->shape, has, sizeof has));
    EQI_CHECK(rows->shape[2] == 1 || !ctx->backend->device, UNSUPPORTED,
              "%s has %" PRId64 " channels; the %s backend has the orbit distance of S for one "
              "channel alone",
              name, rows->shape[2], ctx->backend->name);
    EQI_CHECK(rows->shape[2] == 1 || rows->shape[1] <= EQI_ASSIGNMENT_MOST, UNSUPPORTED,
              "%s has %" PRId64 " rows, expected at most %d where there are several channels: an "
              "assignment problem",
              name, rows->shape[1], EQI_ASSIGNMENT_MOST);
    EQI_CHECK(rows->shape[1] <= INT32_MAX, SHAPE, "%s has %" PRId64 " rows, expected below 2^31",
              name, rows->shape[1]);
    return EQUINV_OK;
}

equinv_status eqi_check_orbit_group(equinv_group group)
{
    const bool symmetric = group.kind == EQUINV_GROUP_SYMMETRIC && group.n == 0;
    return symmetric ? EQUINV_OK : eqi_check_finite_group(group, "group");
}

equinv_status eqi_check_points(const equinv_context *ctx, equinv_group group,
                               const equinv_tensor *tensor, const char *name, bool output,
                               equinv_tensor *points)
{
    return group.kind == EQUINV_GROUP_SYMMETRIC
               ? check_rows(ctx, tensor, name, output, points)
               : check_latents(ctx, group, tensor, name, output, points);
}

static equinv_status check_results(const equinv_context *ctx, const equinv_tensor *x,
                                   const equinv_tensor *y, bool symmetric,
                                   const equinv_tensor *distance, const equinv_tensor *element)
{
    const int64_t shape[3] = {x->shape[0], y->shape[0], x->shape[1]};
    EQI_TRY(eqi_check_output(ctx, distance, "distance", EQI_FLOAT));
    EQI_TRY(eqi_check_dtype(distance, "distance", x->dtype));
    EQI_TRY(eqi_check_shape(distance, "distance", 2, shape));
    EQI_TRY(eqi_check_disjoint(distance, "distance", x, "x"));
    EQI_TRY(eqi_check_disjoint(distance, "distance", y, "y"));
    if (!element)
        return EQUINV_OK;
    EQI_TRY(eqi_check_output(ctx, element, "element", EQI_I32));
    EQI_TRY(eqi_check_shape(element, "element", symmetric ? 3 : 2, shape));
    EQI_TRY(eqi_check_disjoint(element, "element", x, "x"));
    EQI_TRY(eqi_check_disjoint(element, "element", y, "y"));
    return eqi_check_disjoint(element, "element", distance, "distance");
}

equinv_status equinv_orbit_distance(equinv_context *ctx, equinv_group group, const equinv_tensor *x,
                                    const equinv_tensor *y, const equinv_tensor *distance,
                                    const equinv_tensor *element)
{
    equinv_tensor a, b;
    EQI_CHECK(ctx, ARG, "ctx is NULL, expected a context");
    EQI_TRY(eqi_check_orbit_group(group));
    EQI_TRY(eqi_check_group_of_device(ctx, group));
    EQI_TRY(eqi_check_points(ctx, group, x, "x", false, &a));
    EQI_TRY(eqi_check_points(ctx, group, y, "y", false, &b));
    EQI_TRY(eqi_check_dtype(y, "y", x->dtype));
    equinv_tensor same = b;
    same.shape[0] = a.shape[0];
    EQI_TRY(eqi_check_same_shape(&same, "y (but for its batch)", &a, "x"));
    const bool symmetric = group.kind == EQUINV_GROUP_SYMMETRIC;
    EQI_CHECK(!symmetric || !element || !ctx->backend->device, UNSUPPORTED,
              "element is given, expected NULL: the %s backend does not match rows",
              ctx->backend->name);
    EQI_TRY(check_results(ctx, &a, &b, symmetric, distance, element));
    if (!symmetric)
        return ctx->backend->orbit_distance(ctx, group, &a, &b, distance, element);
    if (a.shape[2] != 1)
        return eqi_rows_distance(ctx, &a, &b, distance, element);
    return element ? eqi_ref_sorted_match(ctx, &a, &b, distance, element)
                   : ctx->backend->sorted_distance(ctx, &a, &b, distance);
}
