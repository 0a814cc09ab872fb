/* kind innerbatchnorm: training and evaluation, gradients, running statistics. */
#include "tests/golden/golden.h"

#ifdef EQI_HAVE_CJSON

typedef struct arrays {
    equinv_tensor src, dst, gamma, beta, running_mean, running_var;
    equinv_tensor diff_dst, diff_src, diff_gamma, diff_beta;
    bool running, backward;
} arrays;

static arrays want_arrays(golden_case *c, equinv_dtype dtype, bool train)
{
    arrays a = {.src = want_as(c, "src", dtype),
                .dst = new_output_like(c, "dst", dtype),
                .gamma = want_as(c, "gamma", dtype),
                .beta = want_as(c, "beta", dtype),
                .running = !train || has_array(c, "running_mean_after") ||
                           has_array(c, "running_var_after"),
                .backward = has_array(c, "diff_src") || has_array(c, "diff_gamma") ||
                            has_array(c, "diff_beta")};
    if (a.running) {
        a.running_mean = want_as(c, "running_mean", dtype);
        a.running_var = want_as(c, "running_var", dtype);
    }
    if (a.backward) {
        want_axes(c, "diff_dst", 4);
        a.diff_dst = want_as(c, "diff_dst", dtype);
        a.diff_src = new_output_like(c, "src", dtype);
        a.diff_gamma = new_output_like(c, "gamma", dtype);
        a.diff_beta = new_output_like(c, "beta", dtype);
    }
    return a;
}

/* One block of fields; false if the implementation declines. */
static bool run_block(golden_case *c, const equinv_batch_norm_desc *desc,
                      const struct field_block *block, const arrays *a, bool train)
{
    equinv_plan *plan = NULL;
    if (!accepts(c, equinv_batch_norm_plan_create(c->ctx, desc, &plan),
                 "equinv_batch_norm_plan_create"))
        return false;
    own_plan(c, plan);
    equinv_tensor gamma, beta, mean, var, diff_gamma, diff_beta;
    const int64_t first = block->first_field, count = block->fields;
    const equinv_tensor src = block_of(c, &a->src, block), dst = block_of(c, &a->dst, block);
    TRY(c, equinv_tensor_rows(&a->gamma, first, count, &gamma));
    TRY(c, equinv_tensor_rows(&a->beta, first, count, &beta));
    if (a->running) {
        TRY(c, equinv_tensor_rows(&a->running_mean, first, count, &mean));
        TRY(c, equinv_tensor_rows(&a->running_var, first, count, &var));
    }
    const equinv_tensor *const mean_of = a->running ? &mean : NULL;
    const equinv_tensor *const var_of = a->running ? &var : NULL;
    const size_t saved_size = train ? equinv_plan_saved_size(plan) : 0;
    void *const saved = saved_size > 0 ? new_bytes(c, saved_size).data : NULL;
    if (train)
        TRY(c, equinv_batch_norm_forward_train(plan, &src, &gamma, &beta, mean_of, var_of, &dst,
                                               saved, saved_size, NULL, 0));
    else
        TRY(c, equinv_batch_norm_forward_eval(plan, &src, &gamma, &beta, mean_of, var_of, &dst,
                                              NULL, 0));
    if (!a->backward)
        return true;
    const equinv_tensor diff_dst = block_of(c, &a->diff_dst, block);
    const equinv_tensor diff_src = block_of(c, &a->diff_src, block);
    TRY(c, equinv_tensor_rows(&a->diff_gamma, first, count, &diff_gamma));
    TRY(c, equinv_tensor_rows(&a->diff_beta, first, count, &diff_beta));
    if (train)
        TRY(c, equinv_batch_norm_backward_train(plan, &src, &gamma, &diff_dst, saved, saved_size,
                                                &diff_src, &diff_gamma, &diff_beta, NULL, 0));
    else
        TRY(c, equinv_batch_norm_backward_eval(plan, &src, &gamma, mean_of, var_of, &diff_dst,
                                               &diff_src, &diff_gamma, &diff_beta, NULL, 0));
    return true;
}

static void compare_if_listed(golden_case *c, const char *name, const equinv_tensor *got)
{
    if (has_array(c, name))
        compare_array(c, name, got, got->dtype);
}

void run_batch_norm(golden_case *c)
{
    const equinv_group g = want_group(c, "group");
    const field_list fields = want_fields(c, "fields_in", g);
    const char *const mode = want_text(c, "mode");
    const bool train = strcmp(mode, "train") == 0;
    if (!train && strcmp(mode, "eval") != 0)
        MALFORMED(c, "\"mode\" is \"%s\", expected train or eval", mode);
    const equinv_tensor shape = want_axes(c, "src", 4);
    want_axes(c, "dst", 4);
    if (shape.shape[1] != fields.channels)
        MALFORMED(c, "src has another number of channels than \"fields_in\"");
    equinv_batch_norm_desc desc = EQUINV_BATCH_NORM_DESC_INIT;
    desc.batch = shape.shape[0];
    desc.height = shape.shape[2], desc.width = shape.shape[3];
    desc.epsilon = want_number(c, "eps");
    if (train)
        desc.momentum = want_number(c, "momentum");
    for (int d = 0; d < 2; d++) {
        impl_list impls;
        equinv_plan *plan = NULL;
        desc.dtype = golden_dtypes[d];
        desc.fields = fields.block[0].fields, desc.elements = fields.block[0].elements;
        desc.impl = NO_SUCH_IMPL;
        want_impls(c, equinv_batch_norm_plan_create(c->ctx, &desc, &plan), &impls);
        for (int i = 0; i < impls.count; i++) {
            const arrays a = want_arrays(c, desc.dtype, train);
            desc.impl = impls.name[i];
            set_how(c, desc.dtype, desc.impl, NULL);
            bool accepted = true;
            for (int b = 0; b < fields.blocks && accepted; b++) {
                desc.fields = fields.block[b].fields, desc.elements = fields.block[b].elements;
                accepted = run_block(c, &desc, &fields.block[b], &a, train);
            }
            if (!accepted)
                continue;
            compare_array(c, "dst", &a.dst, desc.dtype);
            if (a.backward) {
                compare_if_listed(c, "diff_src", &a.diff_src);
                compare_if_listed(c, "diff_gamma", &a.diff_gamma);
                compare_if_listed(c, "diff_beta", &a.diff_beta);
            }
            if (train && a.running) {
                compare_if_listed(c, "running_mean_after", &a.running_mean);
                compare_if_listed(c, "running_var_after", &a.running_var);
            }
        }
    }
}
#endif
