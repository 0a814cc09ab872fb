/* kind upsample: forward and backward, field by field. */
#include "tests/golden/golden.h"

#ifdef EQI_HAVE_CJSON

static equinv_upsample_kind want_kind(golden_case *c)
{
    const char *const mode = want_text(c, "mode");
    if (strcmp(mode, "nearest") == 0)
        return EQUINV_UPSAMPLE_NEAREST;
    if (strcmp(mode, "bilinear") != 0)
        stop_case(c, SKIPPED, "mode %s is not built", mode);
    return want_bool(c, "align_corners") ? EQUINV_UPSAMPLE_BILINEAR_CORNERS
                                         : EQUINV_UPSAMPLE_BILINEAR;
}

typedef struct maps {
    equinv_tensor src, dst, diff_dst, diff_src;
} maps;

/* One block of fields through one implementation; false if it declines. */
static bool run_block(golden_case *c, const equinv_upsample_desc *desc,
                      const struct field_block *block, const maps *m)
{
    equinv_plan *plan = NULL;
    if (!accepts(c, equinv_upsample_plan_create(c->ctx, desc, &plan),
                 "equinv_upsample_plan_create"))
        return false;
    own_plan(c, plan);
    const equinv_tensor src = block_of(c, &m->src, block), dst = block_of(c, &m->dst, block);
    TRY(c, equinv_upsample_forward(plan, &src, &dst, NULL, 0));
    const equinv_tensor diff_dst = block_of(c, &m->diff_dst, block);
    const equinv_tensor diff_src = block_of(c, &m->diff_src, block);
    TRY(c, equinv_upsample_backward(plan, &diff_dst, &diff_src, NULL, 0));
    return true;
}

void run_upsample(golden_case *c)
{
    const field_list fields = want_fields(c, "fields_in", want_group(c, "group"));
    const equinv_tensor shape = want_axes(c, "src", 4);
    want_axes(c, "dst", 4), want_axes(c, "diff_src", 4), want_axes(c, "diff_dst", 4);
    if (shape.shape[1] != fields.channels)
        MALFORMED(c, "src has another number of channels than \"fields_in\"");
    equinv_upsample_desc desc = EQUINV_UPSAMPLE_DESC_INIT;
    desc.kind = want_kind(c);
    desc.batch = shape.shape[0];
    desc.height = shape.shape[2], desc.width = shape.shape[3];
    desc.scale = want_int(c, "scale");
    for (int d = 0; d < 2; d++) {
        impl_list impls;
        desc.dtype = golden_dtypes[d];
        desc.fields = fields.block[0].fields, desc.elements = fields.block[0].elements;
        desc.impl = NO_SUCH_IMPL;
        equinv_plan *plan = NULL;
        want_impls(c, equinv_upsample_plan_create(c->ctx, &desc, &plan), &impls);
        for (int i = 0; i < impls.count; i++) {
            const maps m = {.src = want_as(c, "src", desc.dtype),
                            .dst = new_output_like(c, "dst", desc.dtype),
                            .diff_dst = want_as(c, "diff_dst", desc.dtype),
                            .diff_src = new_output_like(c, "diff_src", desc.dtype)};
            desc.impl = impls.name[i];
            set_how(c, desc.dtype, desc.impl, NULL);
            bool accepted = true;
            for (int b = 0; b < fields.blocks && accepted; b++) {
                desc.fields = fields.block[b].fields, desc.elements = fields.block[b].elements;
                accepted = run_block(c, &desc, &fields.block[b], &m);
            }
            if (!accepted)
                continue;
            compare_array(c, "dst", &m.dst, desc.dtype);
            compare_array(c, "diff_src", &m.diff_src, desc.dtype);
        }
    }
}
#endif
