#include "tests/util/batch_norm.h"

norm norm_new(equinv_context *ctx, rng *r, const equinv_batch_norm_desc *desc)
{
    norm b = {.ctx = ctx,
              .desc = *desc,
              .shape = {desc->batch, desc->fields, desc->elements, desc->height, desc->width}};
    OK(equinv_batch_norm_plan_create(ctx, desc, &b.plan));
    equinv_tensor *const maps[] = {&b.src, &b.diff_dst, &b.dst, &b.diff_src};
    equinv_tensor *const vectors[] = {&b.gamma,       &b.beta,       &b.running_mean,
                                      &b.running_var, &b.diff_gamma, &b.diff_beta};
    for (int i = 0; i < 4; i++) {
        OK(equinv_tensor_create(ctx, desc->dtype, 5, b.shape, maps[i]));
        if (i < 2)
            tensor_fill_random(r, maps[i]);
    }
    for (int i = 0; i < 6; i++) {
        OK(equinv_tensor_create(ctx, desc->dtype, 1, &desc->fields, vectors[i]));
        tensor_fill_random(r, vectors[i]);
    }
    OK(equinv_tensor_convert(ctx, &b.running_var, 0.5, 0.75, &b.running_var));
    b.saved_size = equinv_plan_saved_size(b.plan);
    b.saved = aligned_alloc(64, (b.saved_size + 63) / 64 * 64);
    ck_assert_ptr_nonnull(b.saved);
    return b;
}

void norm_free(norm *b)
{
    equinv_tensor *const all[] = {&b->src,          &b->dst,        &b->diff_dst,   &b->diff_src,
                                  &b->gamma,        &b->beta,       &b->diff_gamma, &b->diff_beta,
                                  &b->running_mean, &b->running_var};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        equinv_tensor_destroy(b->ctx, all[i]);
    equinv_plan_destroy(b->plan);
    free(b->saved);
}

void norm_forward(norm *b, bool train)
{
    if (train)
        OK(equinv_batch_norm_forward_train(b->plan, &b->src, &b->gamma, &b->beta, &b->running_mean,
                                           &b->running_var, &b->dst, b->saved, b->saved_size, NULL,
                                           0));
    else
        OK(equinv_batch_norm_forward_eval(b->plan, &b->src, &b->gamma, &b->beta, &b->running_mean,
                                          &b->running_var, &b->dst, NULL, 0));
}

void norm_backward(norm *b, bool train)
{
    if (train)
        OK(equinv_batch_norm_backward_train(b->plan, &b->src, &b->gamma, &b->diff_dst, b->saved,
                                            b->saved_size, &b->diff_src, &b->diff_gamma,
                                            &b->diff_beta, NULL, 0));
    else
        OK(equinv_batch_norm_backward_eval(b->plan, &b->src, &b->gamma, &b->running_mean,
                                           &b->running_var, &b->diff_dst, &b->diff_src,
                                           &b->diff_gamma, &b->diff_beta, NULL, 0));
}

equinv_batch_norm_desc norm_random_desc(rng *r, equinv_dtype dtype)
{
    equinv_batch_norm_desc d = EQUINV_BATCH_NORM_DESC_INIT;
    d.dtype = dtype;
    d.batch = rng_range(r, 1, 4);
    d.fields = rng_range(r, 1, 5);
    d.elements = rng_range(r, 0, 1) ? 4 : rng_range(r, 1, 8);
    d.height = rng_range(r, 1, 7);
    d.width = rng_range(r, 1, 9);
    return d;
}

int64_t norm_count(const norm *b)
{
    return b->shape[0] * b->shape[2] * b->shape[3] * b->shape[4];
}

int64_t norm_index(const norm *b, int64_t f, int64_t i)
{
    const int64_t part = b->shape[2] * b->shape[3] * b->shape[4];
    return (i / part * b->shape[1] + f) * part + i % part;
}
