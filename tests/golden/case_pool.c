/* kinds grouppool, maxpool, avgpool, spatialmean, blurpool: forward and backward, field by field. */
#include "tests/golden/golden.h"

#ifdef EQI_HAVE_CJSON

static const struct pool_row {
    const char *kind;
    equinv_pool_kind pool;
    bool windowed;
    bool over_group;
} rows[] = {
    {"avgpool", EQUINV_POOL_AVERAGE, true, false},
    {"blurpool", EQUINV_POOL_BLUR, true, false},
    {"grouppool", EQUINV_POOL_GROUP_MAX, false, true},
    {"maxpool", EQUINV_POOL_MAX, true, false},
    {"spatialmean", EQUINV_POOL_GLOBAL_AVERAGE, false, false},
};

/* Where a block of fields lies in dst. */
static struct field_block output_block(const struct pool_row *row, struct field_block block)
{
    if (row->over_group) {
        block.first_channel = block.first_field;
        block.elements = 1;
    }
    return block;
}

typedef struct maps {
    equinv_tensor src, dst, diff_dst, diff_src;
    bool backward;
} maps;

/* One block of fields through one implementation; false if it declines. */
static bool run_block(golden_case *c, const equinv_pool_desc *desc, const struct pool_row *row,
                      const struct field_block *block, const maps *m)
{
    equinv_plan *plan = NULL;
    if (!accepts(c, equinv_pool_plan_create(c->ctx, desc, &plan), "equinv_pool_plan_create"))
        return false;
    own_plan(c, plan);
    const struct field_block out = output_block(row, *block);
    const equinv_tensor src = block_of(c, &m->src, block), dst = block_of(c, &m->dst, &out);
    const size_t saved_size = equinv_plan_saved_size(plan);
    void *const saved = saved_size > 0 ? new_bytes(c, saved_size).data : NULL;
    TRY(c, equinv_pool_forward(plan, &src, &dst, saved, saved_size, NULL, 0));
    if (!m->backward)
        return true;
    const equinv_tensor diff_dst = block_of(c, &m->diff_dst, &out);
    const equinv_tensor diff_src = block_of(c, &m->diff_src, block);
    TRY(c, equinv_pool_backward(plan, &diff_dst, saved, saved_size, &diff_src, NULL, 0));
    return true;
}

void run_pool(golden_case *c)
{
    const struct pool_row *row = rows;
    while (strcmp(row->kind, want_text(c, "kind")) != 0)
        row++;
    const equinv_group g = want_group(c, "group");
    const field_list fields = want_fields(c, "fields_in", g);
    const equinv_tensor shape = want_axes(c, "src", 4);
    want_axes(c, "dst", 4);
    if (shape.shape[1] != fields.channels)
        MALFORMED(c, "src has another number of channels than \"fields_in\"");
    equinv_pool_desc desc = EQUINV_POOL_DESC_INIT;
    desc.kind = row->pool;
    desc.group = g;
    desc.batch = shape.shape[0];
    desc.height = shape.shape[2], desc.width = shape.shape[3];
    if (row->windowed) {
        desc.kernel = want_int(c, "k");
        desc.stride = want_int(c, "stride");
        desc.padding = want_int(c, "padding");
        if (row->pool == EQUINV_POOL_BLUR)
            desc.sigma = want_number(c, "sigma");
        if (!optional_bool(c, "count_include_pad", true) && desc.padding > 0)
            stop_case(c, SKIPPED, "count_include_pad = false is not built");
    }
    for (int d = 0; d < 2; d++) {
        impl_list impls;
        desc.dtype = golden_dtypes[d];
        desc.fields = fields.block[0].fields, desc.elements = fields.block[0].elements;
        desc.impl = NO_SUCH_IMPL;
        equinv_plan *plan = NULL;
        want_impls(c, equinv_pool_plan_create(c->ctx, &desc, &plan), &impls);
        for (int i = 0; i < impls.count; i++) {
            maps m = {.src = want_as(c, "src", desc.dtype),
                      .dst = new_output_like(c, "dst", desc.dtype),
                      .backward = has_array(c, "diff_src")};
            if (m.backward) {
                want_axes(c, "diff_src", 4), want_axes(c, "diff_dst", 4);
                m.diff_dst = want_as(c, "diff_dst", desc.dtype);
                m.diff_src = new_output_like(c, "diff_src", desc.dtype);
            }
            desc.impl = impls.name[i];
            set_how(c, desc.dtype, desc.impl, NULL);
            bool accepted = true;
            for (int b = 0; b < fields.blocks && accepted; b++) {
                desc.fields = fields.block[b].fields, desc.elements = fields.block[b].elements;
                accepted = run_block(c, &desc, row, &fields.block[b], &m);
            }
            if (!accepted)
                continue;
            compare_array(c, "dst", &m.dst, desc.dtype);
            if (m.backward)
                compare_array(c, "diff_src", &m.diff_src, desc.dtype);
        }
    }
}
#endif
