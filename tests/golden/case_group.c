/* kind group: tables, plane matrices, irreps, the action on fields. */
#include "tests/golden/golden.h"

#ifdef EQI_HAVE_CJSON

static void compare_tables(golden_case *c, equinv_group g)
{
    const int32_t order = order_of(g);
    const int64_t table_shape[3] = {order, order, order};
    compare_exactly(c, "order", 0, order, (double)want_int(c, "order"));
    set_how(c, EQUINV_F64, NULL, NULL);
    if (has_array(c, "mul")) {
        const equinv_tensor mul = new_output(c, EQUINV_I32, 2, table_shape);
        for (int32_t a = 0; a < order; a++)
            for (int32_t b = 0; b < order; b++)
                TRY(c, equinv_group_product(g, a, b, (int32_t *)mul.data + a * order + b));
        compare_array(c, "mul", &mul, EQUINV_F64);
    }
    if (has_array(c, "inv")) {
        const equinv_tensor inv = new_output(c, EQUINV_I32, 1, table_shape);
        for (int32_t a = 0; a < order; a++)
            TRY(c, equinv_group_inverse(g, a, (int32_t *)inv.data + a));
        compare_array(c, "inv", &inv, EQUINV_F64);
    }
    if (has_array(c, "plane")) {
        const equinv_tensor plane = new_output(c, EQUINV_F64, 3, (int64_t[]){order, 2, 2});
        for (int32_t a = 0; a < order; a++)
            TRY(c, equinv_group_plane(g, a, (double *)plane.data + 4 * a));
        compare_array(c, "plane", &plane, EQUINV_F64);
    }
    if (has_array(c, "regular")) { /* rho(g) e_h = e_{g h}: column h has its 1 in row g h */
        const equinv_tensor regular = new_output(c, EQUINV_I32, 3, table_shape);
        memset(regular.data, 0, sizeof(int32_t) * (size_t)(order * order * order));
        for (int32_t a = 0; a < order; a++)
            for (int32_t h = 0; h < order; h++) {
                int32_t ah;
                TRY(c, equinv_group_product(g, a, h, &ah));
                ((int32_t *)regular.data)[(a * order + ah) * order + h] = 1;
            }
        compare_array(c, "regular", &regular, EQUINV_F64);
    }
}

/* "irrep_1_2" from the label [1, 2]. */
static void irrep_name(golden_case *c, const cJSON *label, char *name, size_t size)
{
    const cJSON *number;
    size_t used = (size_t)snprintf(name, size, "irrep");
    if (!cJSON_IsArray(label))
        MALFORMED(c, "\"irreps\" of case.json has an entry that is no list");
    cJSON_ArrayForEach(number, label)
    {
        if (!cJSON_IsNumber(number) || used >= size)
            MALFORMED(c, "\"irreps\" of case.json has an entry other than whole numbers");
        used += (size_t)snprintf(name + used, size - used, "_%d", number->valueint);
    }
}

/* The list gives the order, which must be the library's. */
static void compare_irreps(golden_case *c, equinv_group g)
{
    const cJSON *const labels = want_item(c, "irreps"), *label;
    const int32_t order = order_of(g);
    int32_t count, index = 0;
    TRY(c, equinv_group_irrep_count(g, &count));
    compare_exactly(c, "number of irreps", 0, count, cJSON_GetArraySize(labels));
    if (count != cJSON_GetArraySize(labels))
        return;
    cJSON_ArrayForEach(label, labels)
    {
        char name[64];
        irrep_name(c, label, name, sizeof name);
        int32_t dimension;
        double matrix[4];
        TRY(c, equinv_group_irrep(g, index, 0, &dimension, matrix));
        const equinv_tensor irrep =
            new_output(c, EQUINV_F64, 3, (int64_t[]){order, dimension, dimension});
        for (int32_t a = 0; a < order; a++) {
            TRY(c, equinv_group_irrep(g, index, a, &dimension, matrix));
            for (int32_t i = 0; i < dimension * dimension; i++)
                ((double *)irrep.data)[a * dimension * dimension + i] = matrix[i];
        }
        compare_array(c, name, &irrep, EQUINV_F64);
        index++;
    }
    for (size_t i = 0; i < c->array_count; i++)
        if (strncmp(c->arrays[i].name, "irrep_", 6) == 0 && !c->arrays[i].used)
            MALFORMED(c, "array \"%s\" is not in the list \"irreps\"", c->arrays[i].name);
}

/* Plane `index` of axis 0. */
static equinv_tensor part_of(golden_case *c, const equinv_tensor *t, int64_t index)
{
    equinv_tensor part;
    TRY(c, equinv_tensor_rows(t, index, 1, &part));
    for (int32_t i = 1; i < part.ndim; i++) {
        part.shape[i - 1] = part.shape[i];
        part.strides[i - 1] = part.strides[i];
    }
    part.ndim--;
    return part;
}

/* Every pixel of [N, F, G, H, W] as an image of its own: [H W, F, G, 1, 1] of sample n. */
static equinv_tensor pixels_of(const equinv_tensor *fields, int64_t n)
{
    equinv_tensor pixels = *fields;
    pixels.data =
        (char *)pixels.data + n * pixels.strides[0] * (int64_t)equinv_dtype_size(pixels.dtype);
    pixels.shape[0] = fields->shape[3] * fields->shape[4];
    pixels.strides[0] = fields->strides[4]; /* rows follow each other */
    pixels.shape[3] = pixels.shape[4] = 1;
    return pixels;
}

/* act_fibre: channels are permuted, pixels stay. */
static void compare_fibre(golden_case *c, equinv_group g, const field_list *fields,
                          equinv_dtype dtype)
{
    want_axes(c, "act_fibre", 5);
    const equinv_tensor src = want_as(c, "act_src", dtype);
    const equinv_tensor all = new_output_like(c, "act_fibre", dtype);
    for (int32_t e = 0; e < order_of(g) && e < all.shape[0]; e++) {
        const equinv_tensor dst = part_of(c, &all, e);
        for (int b = 0; b < fields->blocks; b++) {
            const equinv_tensor from = block_of(c, &src, &fields->block[b]);
            const equinv_tensor to = block_of(c, &dst, &fields->block[b]);
            for (int64_t n = 0; n < src.shape[0] && n < dst.shape[0]; n++) {
                const equinv_tensor from_n = pixels_of(&from, n), to_n = pixels_of(&to, n);
                TRY(c, equinv_act(c->ctx, g, e, &from_n, &to_n));
            }
        }
    }
    compare_array(c, "act_fibre", &all, dtype);
}

/* act: the elements that map the grid onto itself, with their pixels. */
static void compare_act(golden_case *c, equinv_group g, const field_list *fields,
                        equinv_dtype dtype)
{
    want_axes(c, "act", 5);
    const equinv_tensor src = want_as(c, "act_src", dtype);
    const equinv_tensor all = new_output_like(c, "act", dtype);
    int64_t index = 0;
    for (int32_t e = 0; e < order_of(g); e++) {
        bool on_grid;
        TRY(c, equinv_group_on_grid(g, e, &on_grid));
        if (!on_grid || index >= all.shape[0])
            continue;
        const equinv_tensor dst = part_of(c, &all, index++);
        for (int b = 0; b < fields->blocks; b++) {
            const equinv_tensor from = block_of(c, &src, &fields->block[b]);
            const equinv_tensor to = block_of(c, &dst, &fields->block[b]);
            TRY(c, equinv_act(c->ctx, g, e, &from, &to));
        }
    }
    compare_array(c, "act", &all, dtype);
}

static void compare_grid_elements(golden_case *c, equinv_group g)
{
    int32_t count = 0;
    const equinv_tensor elements = new_output(c, EQUINV_I32, 1, (int64_t[]){order_of(g)});
    for (int32_t e = 0; e < order_of(g); e++) {
        bool on_grid;
        TRY(c, equinv_group_on_grid(g, e, &on_grid));
        if (on_grid)
            ((int32_t *)elements.data)[count++] = e;
    }
    equinv_tensor found;
    TRY(c, equinv_tensor_rows(&elements, 0, count, &found));
    compare_array(c, "grid_elements", &found, EQUINV_F64);
}

/* act_rect_<element of H>: regular fields of the grid subgroup H on images that need not be square. */
static void compare_rectangles(golden_case *c, equinv_dtype dtype)
{
    const equinv_group h = want_group(c, "grid_subgroup");
    want_axes(c, "act_rect_src", 4);
    const equinv_tensor array = want_as(c, "act_rect_src", dtype);
    equinv_tensor src, dst;
    TRY(c, equinv_tensor_as_fields(&array, order_of(h), &src));
    for (int32_t e = 0; e < order_of(h); e++) {
        char name[32];
        snprintf(name, sizeof name, "act_rect_%d", (int)e);
        want_axes(c, name, 4);
        const equinv_tensor turned = new_output_like(c, name, dtype);
        TRY(c, equinv_tensor_as_fields(&turned, order_of(h), &dst));
        TRY(c, equinv_act(c->ctx, h, e, &src, &dst));
        compare_array(c, name, &turned, dtype);
    }
}

void run_group(golden_case *c)
{
    const equinv_group g = want_group(c, "group");
    compare_tables(c, g);
    compare_irreps(c, g);
    if (has_array(c, "grid_elements"))
        compare_grid_elements(c, g);
    for (int d = 0; d < 2; d++) {
        set_how(c, golden_dtypes[d], NULL, NULL);
        if (has_array(c, "act_fibre") || has_array(c, "act")) {
            const field_list fields = want_fields(c, "fields", g);
            if (want_axes(c, "act_src", 4).shape[1] != fields.channels)
                MALFORMED(c, "act_src has another number of channels than \"fields\"");
            if (has_array(c, "act_fibre"))
                compare_fibre(c, g, &fields, golden_dtypes[d]);
            if (has_array(c, "act"))
                compare_act(c, g, &fields, golden_dtypes[d]);
        }
        if (has_array(c, "act_rect_src"))
            compare_rectangles(c, golden_dtypes[d]);
    }
}
#endif
