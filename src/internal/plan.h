/*
 * Plans and dispatch. An operation's plan is a struct that starts with equinv_plan; its list of
 * implementations (src/<op>_list.c) is an array of structs that start with eqi_implementation, best
 * first, the reference last. plan_create checks the description, chooses once, sizes the buffers.
 */
#ifndef EQI_PLAN_H
#define EQI_PLAN_H

#include "group.h"

typedef enum eqi_operation {
    EQI_OP_CONV = 1,
    EQI_OP_BATCH_NORM,
    EQI_OP_POOL,
    EQI_OP_DENSE,
    EQI_OP_UPSAMPLE,
    EQI_OP_NODE_LINEAR,
    EQI_OP_NODE_NORM,
    EQI_OP_NODE_POOL
} eqi_operation;

/* `supports` says why it declines by a static or formatted sentence; the last of the CPU never does. */
typedef struct eqi_implementation {
    const char *name; /* "conv/gemm" */
    bool (*supports)(const void *problem, const eqi_hardware *hardware, const char **why);
    /* Whether it is the choice where the caller names none and it supports the problem. NULL: always. */
    bool (*gains)(const void *problem, const eqi_hardware *hardware, const char **why);
} eqi_implementation;

/* For reference implementations. */
bool eqi_supports_all(const void *problem, const eqi_hardware *hardware, const char **why);

/* A condition of `supports`: sets *why when it does not hold. */
static inline bool eqi_require(bool condition, const char **why, const char *reason)
{
    if (!condition)
        *why = reason;
    return condition;
}

/*
 * First entry of the NULL-terminated list that supports the problem, or the one that `forced` names
 * (after the slash); UNSUPPORTED if there is none. Logs the choice and every refusal at level dispatch.
 */
equinv_status eqi_choose(const equinv_context *ctx, const eqi_implementation *const *list,
                         const void *problem, const char *forced,
                         const eqi_implementation **chosen);

struct equinv_plan {
    equinv_context *ctx;
    eqi_operation operation;
    size_t size; /* of the whole derived struct, for destruction */
    const char *impl_name;
    size_t scratch_size, packed_size, saved_size;
    equinv_group group; /* what exactness is asked for */
    /* The spatial window on each axis of src, for exactness; stride 0: no window, always exact. */
    struct eqi_window {
        int64_t height, width, kernel, stride, padding, dilation;
        bool circular, transposed;
    } window;
};

/* The pointers that every plan_create gets: none is NULL. */
equinv_status eqi_check_plan_create(const equinv_context *ctx, const void *desc,
                                    equinv_plan *const *plan);

/* Allocates a zeroed derived plan and sets its head. The caller fills the rest. */
equinv_status eqi_plan_allocate(equinv_context *ctx, eqi_operation operation, size_t size,
                                equinv_plan **plan);

/* The same with an implementation's tables behind the plan, aligned. */
equinv_status eqi_plan_allocate_with(equinv_context *ctx, eqi_operation operation, size_t size,
                                     size_t table_size, equinv_plan **plan, void **tables);

/* Not NULL and of that operation; `function` is named in the sentence. */
equinv_status eqi_check_plan(const equinv_plan *plan, eqi_operation operation,
                             const char *function);

/* Output extent of a window, (size + 2 p - d (k - 1) - 1) / s + 1; SHAPE below 1 or on overflow. */
equinv_status eqi_window_output(const char *axis, int64_t size, int64_t kernel, int64_t stride,
                                int64_t padding, int64_t dilation, int64_t *output);

#endif
