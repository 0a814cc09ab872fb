#include "tests/util/refusal.h"

enum { MOST_ARGUMENTS = 16 };

/* One call with argument i replaced by `bad`. */
typedef struct attempt {
    const call *call;
    const arguments *all;
    void *subject;
    int number, i; /* of the call, of the argument */
    equinv_tensor bad;
    const equinv_tensor *t[MOST_ARGUMENTS];
} attempt;

/*
 * The call gives the status and a sentence that begins with name and fault; without a name it has the
 * fault, and the argument's name, somewhere.
 */
static void assert_says(const attempt *a, equinv_status status, const char *name, const char *fault)
{
    char words[128];
    snprintf(words, sizeof words, "%s%s%s", name, *name ? " " : "", fault);
    const equinv_status got = a->call->run(a->subject, a->t);
    const char *const says = equinv_last_error(), *const argument = a->all->names[a->i];
    const char *const found = strstr(says, words);
    ck_assert_msg(got == status && found && (!*name || found == says) && strstr(says, argument),
                  "call %d gave %s (%s), expected %s with \"%s\" and \"%s\"", a->number,
                  equinv_status_name(got), says, equinv_status_name(status), words, argument);
}

#define WITH(status, fault, ...)                                                                   \
    do {                                                                                           \
        a->bad = *good;                                                                            \
        __VA_ARGS__;                                                                               \
        assert_says(a, status, a->all->names[a->i], fault);                                        \
    } while (0)

static void spoil_place_and_type(attempt *a)
{
    const equinv_tensor *const good = a->all->good[a->i];
    WITH(EQUINV_ERR_DEVICE, "is on device cuda:0", a->bad.device.kind = EQUINV_DEVICE_CUDA);
    WITH(EQUINV_ERR_DEVICE, "is on device cpu:1", a->bad.device.index = 1);
    WITH(EQUINV_ERR_DTYPE, "has dtype 0x4d", a->bad.dtype = (equinv_dtype)77);
    if (a->all->own_dtype & BIT(a->i)) {
        WITH(EQUINV_ERR_DTYPE, "has dtype u32, expected", a->bad.dtype = EQUINV_U32);
        WITH(EQUINV_ERR_DTYPE, "has dtype f32, expected", a->bad.dtype = EQUINV_F32);
    } else {
        WITH(EQUINV_ERR_DTYPE, "has dtype u8, expected f32 or f64", a->bad.dtype = EQUINV_U8);
        WITH(EQUINV_ERR_DTYPE, "has dtype u32, expected f32 or f64", a->bad.dtype = EQUINV_U32);
        WITH(EQUINV_ERR_DTYPE, "has dtype i32, expected f32 or f64", a->bad.dtype = EQUINV_I32);
        if (!(a->all->any_shape & BIT(a->i))) /* the one that decides what the others are */
            WITH(EQUINV_ERR_DTYPE, "has dtype f64, expected f32", a->bad.dtype = EQUINV_F64);
    }
    WITH(EQUINV_ERR_ARG, "has data NULL", a->bad.data = NULL);
    if (equinv_dtype_size(good->dtype) > 1)
        WITH(EQUINV_ERR_ARG, "has data at", a->bad.data = (char *)good->data + 1);
}

static void spoil_shape(attempt *a)
{
    const equinv_tensor *const good = a->all->good[a->i];
    equinv_tensor *const bad = &a->bad;
    WITH(EQUINV_ERR_SHAPE, "has ndim 9, expected", bad->ndim = 9);
    WITH(EQUINV_ERR_SHAPE, "has ndim -1, expected", bad->ndim = -1);
    WITH(EQUINV_ERR_SHAPE, "has extent -4 on axis 0", bad->shape[0] = -4);
    WITH(EQUINV_ERR_SHAPE, "has more than 2^63", bad->ndim = 3,
         bad->shape[0] = bad->shape[1] = bad->shape[2] = INT64_MAX / 4);
    if (good->shape[0] > 1) {
        WITH(EQUINV_ERR_SHAPE, "has strides beyond", bad->strides[0] = INT64_MAX / 2);
        WITH(EQUINV_ERR_SHAPE, "has strides beyond", bad->strides[0] = INT64_MIN / 2);
    }
    if (a->all->any_shape & BIT(a->i))
        return;
    if (good->ndim > 0) {
        WITH(EQUINV_ERR_SHAPE, "has shape", bad->ndim = 0);
        WITH(EQUINV_ERR_SHAPE, "has shape", bad->ndim--);
        WITH(EQUINV_ERR_SHAPE, "has shape", bad->shape[0]--);
        WITH(EQUINV_ERR_SHAPE, "has shape", bad->shape[good->ndim - 1]--);
    }
    WITH(EQUINV_ERR_SHAPE, "has shape", bad->ndim = 3, bad->shape[1] = bad->shape[2] = 1);
}

/* Over itself, and over every other argument of the call. */
static void spoil_output(attempt *a)
{
    const equinv_tensor *const good = a->all->good[a->i];
    if (good->shape[0] > 1)
        WITH(EQUINV_ERR_SHAPE, "has stride 0 on axis 0", a->bad.strides[0] = 0);
    if (good->ndim > 1)
        WITH(EQUINV_ERR_SHAPE, "has stride 1 on axis",
             a->bad.strides[good->ndim - 2] = good->strides[good->ndim - 1]);
    /* of two outputs either may be called the one that lies over the other */
    const char *const name = a->call->outputs == BIT(a->i) ? a->all->names[a->i] : "";
    for (int k = 0; k < a->all->count; k++) {
        const equinv_tensor *const other = a->all->good[k];
        if (k == a->i || !(a->call->used & BIT(k)))
            continue;
        a->bad = *good;
        a->bad.data = other->data;
        if (!(a->call->in_place & BIT(k) && a->call->in_place & BIT(a->i)))
            assert_says(a, EQUINV_ERR_ARG, name, "overlaps");
        a->bad.data = (float *)other->data + 1;
        if ((size_t)equinv_tensor_count(other) * equinv_dtype_size(other->dtype) > sizeof(float))
            assert_says(a, EQUINV_ERR_ARG, name, "overlaps");
    }
}

void assert_refusals(const call *calls, int count, const arguments *all, void *subject)
{
    equinv_context *const ctx = context_new();
    equinv_tensor before[MOST_ARGUMENTS];
    ck_assert_int_le(all->count, MOST_ARGUMENTS);
    for (int i = 0; i < all->count; i++)
        before[i] = tensor_copy(ctx, all->good[i]);
    for (int c = 0; c < count; c++)
        for (int i = 0; i < all->count; i++) {
            if (!(calls[c].used & BIT(i)))
                continue;
            attempt a = {&calls[c], all, subject, c, i, *all->good[i], {NULL}};
            for (int k = 0; k < all->count; k++)
                a.t[k] = k == i ? &a.bad : all->good[k];
            spoil_place_and_type(&a);
            spoil_shape(&a);
            if (calls[c].outputs & BIT(i))
                spoil_output(&a);
            a.t[i] = NULL;
            if (!(calls[c].optional & BIT(i)))
                assert_says(&a, EQUINV_ERR_ARG, all->names[i], "is NULL");
        }
    for (int i = 0; i < all->count; i++) {
        ASSERT_SAME(all->good[i], &before[i]);
        equinv_tensor_destroy(ctx, &before[i]);
    }
    equinv_context_destroy(ctx);
}
