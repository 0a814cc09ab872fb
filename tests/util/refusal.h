/* Calls with one wrong argument at a time: what each of them must say, and that nothing is written. */
#ifndef TESTS_UTIL_REFUSAL_H
#define TESTS_UTIL_REFUSAL_H

#include "tests/util/layout.h"

#define BIT(argument) (1u << (argument))

/* A call on some of the arguments; what else it needs is in `subject`. Sets are bits of arguments. */
typedef struct call {
    equinv_status (*run)(void *subject, const equinv_tensor *const *t);
    unsigned used, outputs;
    unsigned optional; /* may be NULL */
    unsigned in_place; /* the output and the inputs among them may be the very same elements */
} call;

/* Right arguments of the calls of one operation, f32 but for those with a type of their own. */
typedef struct arguments {
    int count; /* 16 at most */
    const char *const *names;
    const equinv_tensor *const *good;
    unsigned own_dtype; /* masks, labels: u32 and f32 are wrong */
    unsigned any_shape; /* no shape is wrong by itself */
} arguments;

/*
 * Each argument of each call in turn on another device, of another type, shape, with strides and memory
 * that cannot be, NULL unless it is optional, an output also over itself and over each other argument.
 * The refusal names the argument and what is wrong with it.
 */
void assert_refusals(const call *calls, int count, const arguments *a, void *subject);

/* An operation's plan_create says which of its pointers is NULL, and makes no plan. */
#define PLAN_NEEDS_POINTERS(operation, ctx, good)                                                  \
    do {                                                                                           \
        equinv_plan *plan_ = NULL;                                                                 \
        FAILS(EQUINV_ERR_ARG, "ctx is NULL",                                                       \
              equinv_##operation##_plan_create(NULL, &(good), &plan_));                            \
        FAILS(EQUINV_ERR_ARG, "desc is NULL",                                                      \
              equinv_##operation##_plan_create(ctx, NULL, &plan_));                                \
        FAILS(EQUINV_ERR_ARG, "plan is NULL",                                                      \
              equinv_##operation##_plan_create(ctx, &(good), NULL));                               \
        ck_assert_ptr_null(plan_);                                                                 \
    } while (0)

/* Nor from the description d, which is `good` after some statements on d. */
#define PLAN_REFUSES(operation, ctx, good, status, word, ...)                                      \
    do {                                                                                           \
        equinv_##operation##_desc d = good;                                                        \
        equinv_plan *plan_ = NULL;                                                                 \
        __VA_ARGS__;                                                                               \
        FAILS(status, word, equinv_##operation##_plan_create(ctx, &d, &plan_));                    \
        ck_assert_ptr_null(plan_);                                                                 \
    } while (0)

/* For operations that say the shape of what they write as well, which then stays as it was. */
#define SHAPED_PLAN_REFUSES(operation, ctx, good, shape, status, word, ...)                        \
    do {                                                                                           \
        PLAN_REFUSES(operation, ctx, good, status, word, __VA_ARGS__);                             \
        equinv_##operation##_desc d = good;                                                        \
        __VA_ARGS__;                                                                               \
        FAILS(status, word, equinv_##operation##_output_shape(&d, shape));                         \
    } while (0)

#endif
