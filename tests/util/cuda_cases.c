#include "tests/util/cuda_cases.h"

#define TRY(call)                                                                                  \
    do {                                                                                           \
        const equinv_status status_ = (call);                                                      \
        if (status_ != EQUINV_OK)                                                                  \
            return status_;                                                                        \
    } while (0)

/* ---- tensors of a case ------------------------------------------------------------------------ */

equinv_status cuda_case_to_device(const cuda_case *c, int i)
{
    TRY(equinv_tensor_copy(c->ctx, &c->initial[i], &c->tensor[i]));
    return equinv_context_synchronize(c->ctx);
}

equinv_status cuda_give_as(cuda_case *c, equinv_dtype dtype, int ndim, const int64_t *shape)
{
    const int i = c->tensors;
    int64_t count = 1;
    for (int axis = 0; axis < ndim; axis++)
        count *= shape[axis];
    ck_assert(i < CUDA_CASE_TENSORS);
    void *const values = calloc((size_t)count + 1, equinv_dtype_size(dtype));
    ck_assert_ptr_nonnull(values);
    c->tensors++;
    OK(equinv_tensor_init(values, dtype, ndim, shape, &c->initial[i]));
    rng r = {(uint64_t)i + 1};
    tensor_fill_random(&r, &c->initial[i]);
    TRY(equinv_tensor_create(c->ctx, dtype, ndim, shape, &c->tensor[i]));
    return cuda_case_to_device(c, i);
}

equinv_status cuda_give(cuda_case *c, int ndim, const int64_t *shape)
{
    return cuda_give_as(c, c->dtype, ndim, shape);
}

equinv_status cuda_give_bounds(cuda_case *c, double below)
{
    const int i = c->tensors - 1;
    for (int64_t k = 0; k < equinv_tensor_count(&c->initial[i]); k++) {
        const double value = tensor_get(&c->initial[i], k);
        tensor_set(&c->initial[i], k, value < 0 ? -value : value < below ? value : 0);
    }
    return cuda_case_to_device(c, i);
}

equinv_status cuda_give_buffer(cuda_case *c, size_t size, equinv_tensor *buffer)
{
    const int64_t count = (int64_t)size;
    return count ? equinv_tensor_create(c->ctx, EQUINV_U8, 1, &count, buffer) : EQUINV_OK;
}

/* ---- what tests call ------------------------------------------------------------------------------ */

equinv_status cuda_case_create(equinv_context *ctx, const cuda_operation *operation,
                               equinv_dtype dtype, bool own_scratch, cuda_case *c)
{
    *c =
        (cuda_case){.ctx = ctx, .dtype = dtype, .own_scratch = own_scratch, .operation = operation};
    TRY(operation->create(c));
    return equinv_context_synchronize(ctx);
}

cuda_case cuda_case_new(equinv_context *ctx, int operation, equinv_dtype dtype, bool own_scratch)
{
    cuda_case c;
    const equinv_status status =
        cuda_case_create(ctx, &cuda_operations[operation], dtype, own_scratch, &c);
    ck_assert_msg(status == EQUINV_OK, "%s: %s", cuda_operations[operation].name,
                  equinv_last_error());
    return c;
}

void cuda_case_destroy(cuda_case *c)
{
    equinv_plan_destroy(c->plan);
    equinv_projection_destroy(c->projection);
    equinv_optimizer_destroy(c->optimizer);
    equinv_model_destroy(c->model);
    equinv_tensor_destroy(c->ctx, &c->saved);
    equinv_tensor_destroy(c->ctx, &c->scratch);
    for (int i = 0; i < c->tensors; i++) {
        equinv_tensor_destroy(c->ctx, &c->tensor[i]);
        free(c->initial[i].data);
    }
    *c = (cuda_case){0};
}

equinv_status cuda_case_enqueue(const cuda_case *c)
{
    return c->operation->run(c);
}

void cuda_case_run(const cuda_case *c)
{
    const equinv_status status = cuda_case_enqueue(c);
    ck_assert_msg(status == EQUINV_OK, "%s: %s", c->operation->name, equinv_last_error());
    OK(equinv_context_synchronize(c->ctx));
}

void cuda_case_reset(const cuda_case *c)
{
    for (int i = 0; i < c->tensors; i++)
        OK(cuda_case_to_device(c, i));
}

void cuda_case_assert_same(const cuda_case *a, const cuda_case *b)
{
    for (int i = 0; i < a->tensors; i++) {
        equinv_tensor x = cuda_back(a->ctx, &a->tensor[i]), y = cuda_back(b->ctx, &b->tensor[i]);
        int64_t where = -1;
        ck_assert_msg(tensor_same(&x, &y, &where), "%s: tensor %d differs at %lld",
                      a->operation->name, i, (long long)where);
        equinv_tensor_destroy(a->ctx, &x);
        equinv_tensor_destroy(b->ctx, &y);
    }
}
