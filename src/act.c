#include "internal/backend.h"

equinv_status equinv_act(equinv_context *ctx, equinv_group group, int32_t element,
                         const equinv_tensor *src, const equinv_tensor *dst)
{
    EQI_CHECK(ctx, ARG, "ctx is NULL, expected a context");
    EQI_TRY(eqi_check_finite_group(group, "group"));
    EQI_TRY(eqi_check_group_of_device(ctx, group));
    const int32_t order = eqi_order(group);
    EQI_CHECK(element >= 0 && element < order, ARG,
              "element is %" PRId32 ", expected 0 to %" PRId32, element, order - 1);
    EQI_TRY(eqi_check_tensor(ctx, src, "src", EQI_ANY));
    EQI_TRY(eqi_check_output(ctx, dst, "dst", EQI_ANY));
    EQI_TRY(eqi_check_dtype(dst, "dst", src->dtype));

    equinv_tensor from, to;
    EQI_CHECK(src->ndim == 5, SHAPE, "src has ndim %" PRId32 ", expected 5: [N, F, G, H, W]",
              src->ndim);
    EQI_CHECK(src->shape[2] == order || src->shape[2] == 1, SHAPE,
              "src has %" PRId64 " elements on axis 2, expected %" PRId32 " or 1", src->shape[2],
              order);
    EQI_TRY(eqi_check_map(src, "src", src->shape, &from));
    const int64_t height = from.shape[3], width = from.shape[4];
    EQI_CHECK(height * width <= 1 || eqi_on_grid(group, element), SHAPE,
              "element is %" PRId32 ", which does not map %" PRId64 " x %" PRId64
              " pixels onto themselves; expected a turn by a multiple of 90 degrees",
              element, height, width);
    const bool quarter = eqi_on_grid(group, element) && eqi_motion_of(group, element).turns % 2;
    const int64_t expected[5] = {from.shape[0], from.shape[1], from.shape[2],
                                 quarter ? width : height, quarter ? height : width};
    EQI_TRY(eqi_check_map(dst, "dst", expected, &to));
    EQI_TRY(eqi_check_disjoint(dst, "dst", src, "src"));
    return ctx->backend->act(ctx, group, element, &from, &to);
}
