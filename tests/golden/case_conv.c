/* kinds conv, convtranspose: forward and gradients of every implementation, packed and not; exactness. */
#include "tests/golden/golden.h"

#ifdef EQI_HAVE_CJSON

static const struct conv_row {
    const char *word;
    equinv_conv_kind kind;
    bool regular_in, regular_out;
} rows[] = {
    {"regular", EQUINV_CONV_REGULAR, true, true},
    {"lifting", EQUINV_CONV_LIFTING, false, true},
    {"to_plane", EQUINV_CONV_TO_PLANE, true, false},
};

static const struct conv_row *want_row(golden_case *c)
{
    const char *const word = want_text(c, "conv");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (strcmp(rows[i].word, word) == 0)
            return &rows[i];
    stop_case(c, SKIPPED, "conv %s is not built", word);
}

/* Number of fields of a list that must be all regular or all trivial. */
static int64_t want_uniform(golden_case *c, const char *name, equinv_group g, bool regular)
{
    const field_list fields = want_fields(c, name, g);
    if (fields.blocks > 1)
        stop_case(c, SKIPPED, "mixed field lists are not built");
    if (fields.block[0].elements != (regular ? order_of(g) : 1))
        MALFORMED(c, "\"%s\" does not fit \"conv\"", name);
    return fields.fields;
}

/* escnn's expanded bias has a value for each channel, |G| equal ones a field; equinv's has one. */
static equinv_tensor want_bias(golden_case *c, const equinv_conv_desc *desc, int64_t elements)
{
    if (!has_array(c, "expanded_bias"))
        return want_as(c, "bias", desc->dtype);
    const equinv_tensor expanded = want_axes(c, "expanded_bias", 1);
    if (expanded.shape[0] != desc->fields_out * elements)
        MALFORMED(c, "expanded_bias has another number of channels than \"fields_out\"");
    const equinv_tensor bias = new_output(c, desc->dtype, 1, &desc->fields_out);
    for (int64_t o = 0; o < desc->fields_out; o++) {
        const double value = tensor_get(&expanded, o * elements);
        for (int64_t h = 1; h < elements; h++)
            if (tensor_get(&expanded, o * elements + h) != value)
                MALFORMED(c, "expanded_bias differs within field %lld", (long long)o);
        tensor_set(&bias, o, value);
    }
    return bias;
}

/* diff_bias[o] = sum over g of diff_expanded_bias; without escnn's arrays the case has equinv's own. */
static void compare_diff_bias(golden_case *c, const equinv_tensor *got, int64_t elements)
{
    const bool expanded = has_array(c, "diff_expanded_bias");
    if (!expanded && (has_array(c, "expanded_bias") || !has_array(c, "diff_bias")))
        return;
    if (!expanded) {
        compare_array(c, "diff_bias", got, got->dtype);
        return;
    }
    const equinv_tensor channels = want_axes(c, "diff_expanded_bias", 1);
    if (channels.shape[0] != got->shape[0] * elements)
        MALFORMED(c, "diff_expanded_bias has another number of channels than \"fields_out\"");
    const equinv_tensor sums = new_output(c, EQUINV_F64, 1, got->shape);
    for (int64_t o = 0; o < got->shape[0]; o++) {
        double sum = 0;
        for (int64_t h = 0; h < elements; h++)
            sum += tensor_get(&channels, o * elements + h);
        tensor_set(&sums, o, sum);
    }
    compare_values(c, "diff_expanded_bias", &sums, got, got->dtype);
}

/* Forward and the gradient for src, with psi or its packed form as weights. */
static void run_with_weights(golden_case *c, const equinv_plan *plan, const equinv_conv_desc *desc,
                             const equinv_tensor *weights, const equinv_tensor *bias)
{
    const equinv_tensor src = want_as(c, "src", desc->dtype);
    const equinv_tensor dst = new_output_like(c, "dst", desc->dtype);
    TRY(c, equinv_conv_forward(plan, &src, weights, bias, &dst, NULL, 0));
    compare_array(c, "dst", &dst, desc->dtype);
    if (!has_array(c, "diff_src"))
        return;
    const equinv_tensor diff_dst = want_as(c, "diff_dst", desc->dtype);
    const equinv_tensor diff_src = new_output_like(c, "diff_src", desc->dtype);
    TRY(c, equinv_conv_backward_data(plan, &diff_dst, weights, &diff_src, NULL, 0));
    compare_array(c, "diff_src", &diff_src, desc->dtype);
}

static void run_plan(golden_case *c, const equinv_plan *plan, const equinv_conv_desc *desc,
                     int64_t elements)
{
    const equinv_tensor psi = want_as(c, "psi", desc->dtype);
    const equinv_tensor bias = desc->bias ? want_bias(c, desc, elements) : (equinv_tensor){0};
    const equinv_tensor *const bias_of = desc->bias ? &bias : NULL;
    run_with_weights(c, plan, desc, &psi, bias_of);
    const size_t packed_size = equinv_plan_packed_size(plan);
    if (packed_size > 0) {
        const equinv_tensor packed = new_bytes(c, packed_size);
        set_how(c, desc->dtype, desc->impl, "packed");
        TRY(c, equinv_conv_pack(plan, &psi, packed.data, packed_size));
        run_with_weights(c, plan, desc, &packed, bias_of);
        set_how(c, desc->dtype, desc->impl, NULL);
    }
    const bool wants_diff_bias =
        desc->bias && (has_array(c, "diff_expanded_bias") || has_array(c, "diff_bias"));
    if (!has_array(c, "diff_psi") && !wants_diff_bias)
        return;
    const equinv_tensor src = want_as(c, "src", desc->dtype);
    const equinv_tensor diff_dst = want_as(c, "diff_dst", desc->dtype);
    const equinv_tensor diff_psi = new_output_like(c, "psi", desc->dtype);
    const equinv_tensor diff_bias = new_output(c, desc->dtype, 1, &desc->fields_out);
    TRY(c, equinv_conv_backward_weights(plan, &src, &diff_dst, &diff_psi,
                                        desc->bias ? &diff_bias : NULL, NULL, 0));
    if (has_array(c, "diff_psi"))
        compare_array(c, "diff_psi", &diff_psi, desc->dtype);
    if (wants_diff_bias)
        compare_diff_bias(c, &diff_bias, elements);
}

/* exact_for_grid_subgroup_elements: for the groups built here the grid subgroup is the group. */
static void compare_exactness(golden_case *c, const equinv_plan *plan, equinv_group g)
{
    static const char name[] = "exact_for_grid_subgroup_elements";
    const cJSON *const list = cJSON_GetObjectItemCaseSensitive(c->json, name), *entry;
    int32_t element = 0;
    bool all = true;
    if (!list)
        return;
    if (!cJSON_IsArray(list) || cJSON_GetArraySize(list) != order_of(g))
        MALFORMED(c, "\"%s\" of case.json is no list of %d", name, (int)order_of(g));
    equinv_exactness answer;
    cJSON_ArrayForEach(entry, list)
    {
        if (!cJSON_IsBool(entry))
            MALFORMED(c, "\"%s\" of case.json has an entry other than true or false", name);
        TRY(c, equinv_plan_exactness(plan, element, &answer));
        compare_exactly(c, name, element++, answer.exact, cJSON_IsTrue(entry));
        all &= cJSON_IsTrue(entry) != 0;
    }
    TRY(c, equinv_plan_exactness(plan, -1, &answer));
    compare_exactly(c, "exact for the whole group", 0, answer.exact, all);
}

void run_conv(golden_case *c)
{
    const struct conv_row *const row = want_row(c);
    const equinv_group g = want_group(c, "group");
    want_grid_group(c, g);
    equinv_conv_desc desc = EQUINV_CONV_DESC_INIT;
    desc.kind = row->kind;
    desc.group = g;
    desc.fields_in = want_uniform(c, "fields_in", g, row->regular_in);
    desc.fields_out = want_uniform(c, "fields_out", g, row->regular_out);
    desc.batch = want_int(c, "batch");
    desc.height = want_int(c, "height"), desc.width = want_int(c, "width");
    desc.kernel = want_int(c, "k");
    desc.stride = want_int(c, "stride");
    desc.padding = want_int(c, "padding");
    desc.dilation = want_int(c, "dilation");
    desc.channel_groups = optional_int(c, "groups", 1);
    desc.transposed = strcmp(want_text(c, "kind"), "convtranspose") == 0;
    desc.output_padding = desc.transposed ? want_int(c, "output_padding") : 0;
    desc.bias = optional_bool(c, "bias", has_array(c, "bias"));
    const int64_t elements = row->regular_out ? order_of(g) : 1;
    for (int d = 0; d < 2; d++) {
        impl_list impls;
        equinv_plan *plan = NULL;
        desc.dtype = golden_dtypes[d];
        desc.impl = NO_SUCH_IMPL;
        set_how(c, desc.dtype, NULL, NULL);
        want_impls(c, equinv_conv_plan_create(c->ctx, &desc, &plan), &impls);
        for (int i = 0; i < impls.count; i++) {
            desc.impl = impls.name[i];
            set_how(c, desc.dtype, desc.impl, NULL);
            if (!accepts(c, equinv_conv_plan_create(c->ctx, &desc, &plan),
                         "equinv_conv_plan_create"))
                continue;
            own_plan(c, plan);
            compare_exactness(c, plan, g);
            run_plan(c, plan, &desc, elements);
        }
    }
}
#endif
