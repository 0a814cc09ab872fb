/* A test's two contexts, and tensors on both of them. */
#ifndef TESTS_CUDA_SIDES_H
#define TESTS_CUDA_SIDES_H

#include "tests/util/cuda.h"

typedef struct sides {
    equinv_context *cpu, *gpu;
    rng r;
} sides;

static inline sides sides_new(uint64_t seed)
{
    return (sides){context_new(), cuda_context_new(), {seed}};
}

static inline void sides_free(sides *s)
{
    equinv_context_destroy(s->cpu);
    equinv_context_destroy(s->gpu);
}

/* These values on the device, row-major or in a random layout; cuda_laid_free releases them. */
static inline cuda_laid sides_place(sides *s, const equinv_tensor *t, bool strided)
{
    return strided ? cuda_laid_copy(s->gpu, &s->r, t) : cuda_laid_plain(s->gpu, t);
}

/* What is in a placed output now, row-major on the CPU; its gaps must be as they were. */
static inline equinv_tensor sides_take(sides *s, cuda_laid *l)
{
    cuda_laid_fetch(s->gpu, l);
    const equinv_tensor values = tensor_copy(s->cpu, &l->here.view);
    ck_assert_msg(laid_gaps_kept(&l->here), "an output was written beside");
    return values;
}

#endif
