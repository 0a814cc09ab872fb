/* kinds projection and rows: every projection with the case's templates, orbit means and distances. */
#include "tests/golden/golden.h"

#ifdef EQI_HAVE_CJSON

static void destroy_projection(void *projection)
{
    equinv_projection_destroy(projection);
}

/*
 * Runs one kind of projection into an output shaped like the array `name` and compares; `argument`
 * (may be NULL, or not listed) is the array that the saved buffer holds as I32.
 */
static void run_projection_kind(golden_case *c, equinv_projection_desc *desc, const char *name,
                                const char *argument, const equinv_tensor *src,
                                const equinv_tensor *mask)
{
    impl_list impls;
    equinv_projection *projection = NULL;
    desc->impl = NO_SUCH_IMPL;
    want_impls(c, equinv_projection_create(c->ctx, desc, &projection), &impls);
    for (int i = 0; i < impls.count; i++) {
        desc->impl = impls.name[i];
        set_how(c, desc->dtype, desc->impl, mask ? "masked" : NULL);
        if (!accepts(c, equinv_projection_create(c->ctx, desc, &projection),
                     "equinv_projection_create"))
            continue;
        own_object(c, projection, destroy_projection);
        const equinv_tensor dst = new_output_like(c, name, desc->dtype);
        const int64_t saved_size = equinv_projection_saved_size(projection, src->shape[0]);
        if (saved_size < 0)
            stop_case(c, FAILED, "equinv_projection_saved_size (%s) is %lld", c->how,
                      (long long)saved_size);
        equinv_tensor saved = {0};
        if (saved_size > 0)
            saved = new_bytes(c, (size_t)saved_size);
        TRY(c, equinv_project_forward(projection, src, mask, &dst, saved.data, (size_t)saved_size,
                                      NULL, 0));
        compare_array(c, name, &dst, desc->dtype);
        if (argument && has_array(c, argument)) {
            equinv_tensor winners;
            TRY(c, equinv_tensor_init(saved.data, EQUINV_I32, 1, (int64_t[]){saved_size / 4},
                                      &winners));
            compare_array(c, argument, &winners, desc->dtype);
        }
    }
}

/* golden distance[i, j] = min_g |g z_i - z_j| is equinv's with x = z_j, y = z_i: written transposed. */
static void compare_distances(golden_case *c, equinv_group g, const equinv_tensor *z,
                              bool wants_element)
{
    want_axes(c, "distance", 2);
    const equinv_tensor distance = new_output_like(c, "distance", z->dtype);
    equinv_tensor transposed = distance, element = {0}, element_transposed = {0};
    transposed.shape[0] = distance.shape[1], transposed.shape[1] = distance.shape[0];
    transposed.strides[0] = distance.strides[1], transposed.strides[1] = distance.strides[0];
    if (wants_element) {
        want_axes(c, "distance_argmin", 2);
        element = new_output_like(c, "distance_argmin", EQUINV_I32);
        element_transposed = element;
        element_transposed.shape[0] = element.shape[1];
        element_transposed.shape[1] = element.shape[0];
        element_transposed.strides[0] = element.strides[1];
        element_transposed.strides[1] = element.strides[0];
    }
    set_how(c, z->dtype, NULL, NULL);
    TRY(c, equinv_orbit_distance(c->ctx, g, z, z, &transposed,
                                 wants_element ? &element_transposed : NULL));
    compare_array(c, "distance", &distance, z->dtype);
    if (wants_element)
        compare_array(c, "distance_argmin", &element, z->dtype);
}

static const struct {
    const char *array;
    equinv_projection_kind kind;
    const char *argument;
} kinds[] = {
    {"orbit", EQUINV_PROJECT_ORBIT, NULL},
    {"linear", EQUINV_PROJECT_LINEAR, NULL},
    {"max", EQUINV_PROJECT_MAX, "argmax"},
    {"mean", EQUINV_PROJECT_MEAN, NULL},
    {"mean_relu", EQUINV_PROJECT_MEAN_RELU, NULL},
    {"mean_abs", EQUINV_PROJECT_MEAN_ABS, NULL},
    {"mean_square", EQUINV_PROJECT_MEAN_SQUARE, NULL},
    {"sorted", EQUINV_PROJECT_SORTED, NULL},
    {"moment3", EQUINV_PROJECT_MOMENT3, NULL},
    {"cdf", EQUINV_PROJECT_CDF, NULL},
};

void run_projection(golden_case *c)
{
    const equinv_group g = want_group(c, "group");
    for (int d = 0; d < 2; d++) {
        const equinv_dtype dtype = golden_dtypes[d];
        const equinv_tensor z_array = want_as(c, "z", dtype);
        equinv_tensor z, templates;
        set_how(c, dtype, NULL, NULL);
        TRY(c, equinv_tensor_as_fields(&z_array, order_of(g), &z));
        equinv_projection_desc desc = EQUINV_PROJECTION_DESC_INIT;
        desc.group = g;
        desc.dtype = dtype;
        desc.fields = z.shape[1];
        desc.height = z.shape[3], desc.width = z.shape[4];
        for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
            if (!has_array(c, kinds[i].array))
                continue;
            const equinv_tensor template_array = want_as(c, "templates", dtype);
            TRY(c, equinv_tensor_as_fields(&template_array, order_of(g), &templates));
            desc.kind = kinds[i].kind;
            desc.templates = EQUINV_TEMPLATE_USER;
            desc.user_templates = &templates;
            desc.k = templates.shape[0];
            desc.thresholds = NULL, desc.threshold_count = 0;
            if (desc.kind == EQUINV_PROJECT_CDF) {
                want_axes(c, "cdf_thresholds", 1);
                const equinv_tensor thresholds = want_as(c, "cdf_thresholds", EQUINV_F64);
                desc.thresholds = thresholds.data;
                desc.threshold_count = thresholds.shape[0];
            }
            run_projection_kind(c, &desc, kinds[i].array, kinds[i].argument, &z, NULL);
        }
        if (has_array(c, "argmax") && !has_array(c, "max"))
            MALFORMED(c, "\"argmax\" is listed without \"max\"");
        if (has_array(c, "orbit_mean")) {
            const equinv_tensor mean_array = new_output_like(c, "orbit_mean", dtype);
            equinv_tensor mean;
            set_how(c, dtype, NULL, NULL);
            TRY(c, equinv_tensor_as_fields(&mean_array, order_of(g), &mean));
            TRY(c, equinv_orbit_mean(c->ctx, g, &z, &mean));
            compare_array(c, "orbit_mean", &mean_array, dtype);
        }
        if (has_array(c, "distance") || has_array(c, "distance_argmin"))
            compare_distances(c, g, &z, has_array(c, "distance_argmin"));
    }
}

/* Distances of rows, and the row of x_j for each row of x_i: equinv's x = x_i, y = x_j. */
static void compare_rows(golden_case *c, const equinv_tensor *x, const char *name,
                         const char *assignment)
{
    equinv_tensor element = {0};
    want_axes(c, name, 2);
    const equinv_tensor distance = new_output_like(c, name, x->dtype);
    if (assignment) {
        want_axes(c, assignment, 3);
        element = new_output_like(c, assignment, EQUINV_I32);
    }
    set_how(c, x->dtype, NULL, NULL);
    TRY(c, equinv_orbit_distance(c->ctx, equinv_symmetric(), x, x, &distance,
                                 assignment ? &element : NULL));
    compare_array(c, name, &distance, x->dtype);
    if (assignment)
        compare_array(c, assignment, &element, x->dtype);
}

static const struct {
    const char *array;
    equinv_projection_kind kind;
    bool masked;
} row_kinds[] = {
    {"sort_channels", EQUINV_PROJECT_SORT, false},
    {"project_sort", EQUINV_PROJECT_PROJECT_SORT, false},
    {"project_sort_masked", EQUINV_PROJECT_PROJECT_SORT, true},
};

void run_rows(golden_case *c)
{
    for (int d = 0; d < 2; d++) {
        const equinv_dtype dtype = golden_dtypes[d];
        want_axes(c, "x", 3);
        const equinv_tensor x = want_as(c, "x", dtype);
        equinv_projection_desc desc = EQUINV_PROJECTION_DESC_INIT;
        desc.group = equinv_symmetric();
        desc.dtype = dtype;
        desc.rows = x.shape[1], desc.channels = x.shape[2];
        for (size_t i = 0; i < sizeof row_kinds / sizeof *row_kinds; i++) {
            if (!has_array(c, row_kinds[i].array))
                continue;
            equinv_tensor templates, mask;
            desc.kind = row_kinds[i].kind;
            if (desc.kind == EQUINV_PROJECT_PROJECT_SORT) {
                want_axes(c, "templates", 2);
                templates = want_as(c, "templates", dtype);
                desc.templates = EQUINV_TEMPLATE_USER;
                desc.user_templates = &templates;
                desc.k = templates.shape[0];
            }
            if (row_kinds[i].masked)
                mask = want_as(c, "mask", EQUINV_I32);
            run_projection_kind(c, &desc, row_kinds[i].array, NULL, &x,
                                row_kinds[i].masked ? &mask : NULL);
        }
        if (has_array(c, "distance"))
            compare_rows(c, &x, "distance", has_array(c, "assignment") ? "assignment" : NULL);
        if (has_array(c, "distance_padded")) { /* absent rows as zeros */
            const equinv_tensor padded = want_as(c, "x", dtype), mask = want_as(c, "mask", dtype);
            for (int64_t i = 0; i < equinv_tensor_count(&padded); i++)
                if (tensor_get(&mask, i / x.shape[2]) == 0)
                    tensor_set(&padded, i, 0);
            compare_rows(c, &padded, "distance_padded", NULL);
        }
    }
}
#endif
