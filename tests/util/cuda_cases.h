/*
 * Every operation of the header on a small problem on the device, behind one pair of functions: for tests
 * that ask the same of all of them (graphs, streams, memory, errors).
 */
#ifndef TESTS_UTIL_CUDA_CASES_H
#define TESTS_UTIL_CUDA_CASES_H

#include "tests/util/cuda_stream.h"

enum { CUDA_CASE_TENSORS = 12 };

typedef struct cuda_case cuda_case;

typedef struct cuda_operation {
    const char *name;
    equinv_status (*create)(cuda_case *c);
    equinv_status (*run)(const cuda_case *c);
    int kind, pass; /* what they mean is the functions' business */
    bool once;      /* keeps a state of its own: a second run gives other values */
    bool kept;      /* run does not pass the tensors, they were given at creation */
} cuda_operation;

extern const cuda_operation cuda_operations[];
extern const int cuda_operation_count;

struct cuda_case {
    equinv_context *ctx;
    equinv_dtype dtype;
    bool own_scratch; /* else the context's arena */
    const cuda_operation *operation;
    equinv_plan *plan;
    equinv_projection *projection;
    equinv_optimizer *optimizer;
    equinv_model *model;
    int tensors;
    equinv_tensor tensor[CUDA_CASE_TENSORS];  /* on the device */
    equinv_tensor initial[CUDA_CASE_TENSORS]; /* their first values, in CPU memory (malloc) */
    equinv_tensor saved, scratch;
};

/* Fails as the calls inside do; destroy it in any case. */
equinv_status cuda_case_create(equinv_context *ctx, const cuda_operation *operation,
                               equinv_dtype dtype, bool own_scratch, cuda_case *c);
void cuda_case_destroy(cuda_case *c);

/* The same of an operation's number; the test fails where that is refused. */
cuda_case cuda_case_new(equinv_context *ctx, int operation, equinv_dtype dtype, bool own_scratch);

/* Enqueues the operation; enqueues and waits; gives the tensors their first values again. */
equinv_status cuda_case_enqueue(const cuda_case *c);
void cuda_case_run(const cuda_case *c);
void cuda_case_reset(const cuda_case *c);

/* The bits of all tensors, those that are only read included. */
void cuda_case_assert_same(const cuda_case *a, const cuda_case *b);

/* ---- for the operations' own create functions (cuda_operations.c) ---------------------------------- */

/* One more tensor of the case: random values, labels 0 .. 9 for integers. */
equinv_status cuda_give(cuda_case *c, int ndim, const int64_t *shape);
equinv_status cuda_give_as(cuda_case *c, equinv_dtype dtype, int ndim, const int64_t *shape);
/* Makes the newest tensor's values positive (variances) or below a bound (labels). */
equinv_status cuda_give_bounds(cuda_case *c, double below);
/* Bytes on the device; none for size 0. */
equinv_status cuda_give_buffer(cuda_case *c, size_t size, equinv_tensor *buffer);
/* Tensor i gets its first values again. */
equinv_status cuda_case_to_device(const cuda_case *c, int i);

#endif
