/* Convolution problems for the tests: random descriptions, their tensors, and an independent oracle. */
#ifndef TESTS_UTIL_CONV_H
#define TESTS_UTIL_CONV_H

#include <stdio.h>

#include "tests/util/maps.h"

/* A small valid problem of any kind, transposed or not; batch 0 .. 2. Text for failure messages goes to conv_text. */
equinv_conv_desc conv_random_desc(rng *r, equinv_dtype dtype);
const char *conv_text(const equinv_conv_desc *desc); /* static storage */

/* One plan and row-major tensors for it: inputs random, outputs zero. */
typedef struct conv_case {
    equinv_conv_desc desc;
    equinv_plan *plan;
    int64_t order, elements_in, elements_out, out_height, out_width;
    equinv_tensor src, psi, bias, diff_dst;           /* inputs */
    equinv_tensor dst, diff_src, diff_psi, diff_bias; /* outputs */
} conv_case;

conv_case conv_case_new(equinv_context *ctx, rng *r, const equinv_conv_desc *desc);
void conv_case_free(equinv_context *ctx, conv_case *c);

/* Another plan for the same problem. */
equinv_plan *conv_plan(equinv_context *ctx, const equinv_conv_desc *desc, const char *impl);

/* All three passes into the outputs of c, through `plan`, with the context's arena. */
void conv_run(conv_case *c, const equinv_plan *plan);

/* The same problem with outputs of its own, zero; they alone are freed. */
conv_case conv_other_outputs(equinv_context *ctx, const conv_case *c);
void conv_free_outputs(equinv_context *ctx, conv_case *c);

/* All passes of a random problem by the implementation that it names: as conv_dense has them, as "ref" has. */
void conv_assert_dense(equinv_context *ctx, rng *r, const equinv_conv_desc *desc,
                       double bias_tolerance);
void conv_assert_ref(equinv_context *ctx, rng *r, const equinv_conv_desc *desc);

/* <conv(x, psi), y> = <x, backward_data(y)> = <psi, backward_weights(x, y)> for random ones, without bias. */
void conv_assert_adjoints(equinv_context *ctx, rng *r, equinv_conv_desc desc);

/* The same problem with every tensor in strides of its own. */
typedef struct conv_strided {
    conv_case at;
    equinv_tensor storage[8];
} conv_strided;

/* Where elements lie does not change a bit of the results: runs the case both ways and returns the other one. */
conv_strided conv_assert_strides(equinv_context *ctx, rng *r, conv_case *c);
void conv_strided_free(equinv_context *ctx, conv_strided *s);

/* Packed weights and other strides do not change a bit. */
void conv_assert_same_bits(equinv_context *ctx, rng *r, equinv_conv_desc desc);

/* Any of these checks on that many random problems. */
void conv_check(uint64_t count, equinv_conv_desc (*problem)(rng *r),
                void (*check)(equinv_context *ctx, rng *r, equinv_conv_desc desc));

/* Whether the implementation that the description names accepts it. */
bool conv_takes(equinv_context *ctx, const equinv_conv_desc *desc);

/* It declines a changed one, with a word of why. */
#define CONV_DECLINES(ctx, good, word, ...)                                                        \
    do {                                                                                           \
        equinv_conv_desc d = good;                                                                 \
        equinv_plan *plan_ = NULL;                                                                 \
        __VA_ARGS__;                                                                               \
        FAILS(EQUINV_ERR_UNSUPPORTED, word, equinv_conv_plan_create(ctx, &d, &plan_));             \
    } while (0)

/* The next row of bench/cases/conv.txt and the pass that it is about; false: there is none. */
enum { CONV_FORWARD = 1, CONV_BACKWARD_DATA = 2, CONV_BACKWARD_WEIGHTS = 4 };
bool conv_next_case(FILE *table, equinv_conv_desc *desc, int *pass);

/* Names of the implementations in the dispatch list; NULL behind the last. */
const char *conv_impl(int index);

/*
 * dst, diff_src, diff_psi and diff_bias of the case, from the dense filter of the definition: every
 * entry looked up through plane matrices, every product formed. F64 row-major tensors.
 */
typedef struct conv_truth {
    equinv_tensor dst, diff_src, diff_psi, diff_bias;
} conv_truth;

conv_truth conv_dense(equinv_context *ctx, const conv_case *c);
void conv_truth_free(equinv_context *ctx, conv_truth *t);

#endif
