/*
 * What every test program uses: Check (or its stand-in), random tensors, comparison, the main.
 *
 * A program has START_TEST functions and ends in
 *     int main(void) { return run_tests("conv", tests, sizeof tests / sizeof *tests); }
 * with `static const test_entry tests[] = {{name_of_test, 1}, {test_in_a_loop, 12}};` (the number says
 * how often; _i counts). It prints Check's closing line and fails if nothing ran.
 */
#ifndef TESTS_UTIL_TEST_H
#define TESTS_UTIL_TEST_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef EQI_HAVE_CHECK
/* Check's macros are not written for our warnings. */
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wshadow"
#include <check.h>
#else
#include "tests/util/standin.h"
#endif

#include "equinv/equinv.h"

typedef struct test_entry {
    const TTest *test;
    int times;
} test_entry;

int run_tests(const char *suite, const test_entry *tests, size_t count);

/* Says why a test or part of it is left out, on stdout. */
#define SKIP(...) (printf("SKIP %s: ", __func__), printf(__VA_ARGS__), printf("\n"))

/* A call that must succeed, or fail with a status and a sentence that has a word in it. */
#define OK(call)                                                                                   \
    do {                                                                                           \
        const equinv_status status_ = (call);                                                      \
        ck_assert_msg(status_ == EQUINV_OK, "%s gave %s: %s", #call, equinv_status_name(status_),  \
                      equinv_last_error());                                                        \
    } while (0)
#define FAILS(status, word, call)                                                                  \
    do {                                                                                           \
        const equinv_status status_ = (call);                                                      \
        ck_assert_msg(status_ == (status), "%s gave %s (%s), expected %s", #call,                  \
                      equinv_status_name(status_), equinv_last_error(),                            \
                      equinv_status_name(status));                                                 \
        ck_assert_msg(strstr(equinv_last_error(), word) != NULL,                                   \
                      "%s says \"%s\", expected \"%s\" in it", #call, equinv_last_error(), word);  \
    } while (0)

/* Random numbers of the tests: small, seeded, independent of the library's. */
typedef struct rng {
    uint64_t state;
} rng;
uint64_t rng_next(rng *r);
int64_t rng_range(rng *r, int64_t low, int64_t high); /* low .. high, both included */
double rng_uniform(rng *r);                           /* -1 .. 1, exact in fp32 */

/*
 * How many of `count` random problems to run: all of them, or as many in a hundred as EQUINV_TEST_SHARE
 * says, for checkers that make each of them slow.
 */
uint64_t share_of(uint64_t count);

/* A CPU context with two threads, released at exit of the process by nobody: use context_free. */
equinv_context *context_new(void);
equinv_context *context_of_threads(int32_t threads);

/*
 * The same with instructions up to a level (0 scalar, 1 avx2, 2 avx512) alone; NULL, with a SKIP, where the
 * machine has less. For tests in a loop of TEST_LEVELS.
 */
enum { TEST_LEVELS = 3 };
equinv_context *context_at_level(int level); /* two threads */
equinv_context *context_of_level(int level, int32_t threads);

/* Row-major tensors on a context; shape by its extents: tensor_new(ctx, EQUINV_F32, 2, 3, 4). */
equinv_tensor tensor_new(equinv_context *ctx, equinv_dtype dtype, int ndim, ...);
equinv_tensor tensor_like(equinv_context *ctx, const equinv_tensor *other);
/* Random f32 or f64 values; integers get 0 .. 9. */
equinv_tensor tensor_random(equinv_context *ctx, rng *r, equinv_dtype dtype, int ndim, ...);
void tensor_fill_random(rng *r, const equinv_tensor *t);
/* A row-major copy in another dtype. */
equinv_tensor tensor_as(equinv_context *ctx, const equinv_tensor *t, equinv_dtype dtype);
/* The same values behind random strides: axes in random memory order, with gaps. Own memory: free with
 * strided_free. */
equinv_tensor tensor_strided_copy(equinv_context *ctx, rng *r, const equinv_tensor *t,
                                  equinv_tensor *storage);

double tensor_get(const equinv_tensor *t, int64_t index); /* by row-major number */
void tensor_set(const equinv_tensor *t, int64_t index, double value);

/* sum a_i b_i and max |a_i|. */
double tensor_dot(const equinv_tensor *a, const equinv_tensor *b);
double tensor_max_abs(const equinv_tensor *t);

/*
 * max |a - b| / max |b| over finite b; infinities must agree exactly; a NaN on one side alone, and
 * unequal shapes, give infinity. *worst (may be NULL) gets the row-major index.
 */
double tensor_error(const equinv_tensor *a, const equinv_tensor *b, int64_t *worst);

#define ASSERT_CLOSE(a, b, tolerance)                                                              \
    do {                                                                                           \
        int64_t worst_ = -1;                                                                       \
        const double error_ = tensor_error((a), (b), &worst_);                                     \
        ck_assert_msg(error_ <= (tolerance), "%s and %s differ by %g at %lld, allowed %g", #a, #b, \
                      error_, (long long)worst_, (double)(tolerance));                             \
    } while (0)

/* Bitwise equality of row-major contents. */
#define ASSERT_SAME(a, b)                                                                          \
    do {                                                                                           \
        int64_t worst_ = -1;                                                                       \
        ck_assert_msg(tensor_same((a), (b), &worst_), "%s and %s differ at %lld", #a, #b,          \
                      (long long)worst_);                                                          \
    } while (0)
bool tensor_same(const equinv_tensor *a, const equinv_tensor *b, int64_t *where);

/*
 * An allocator that counts and fails: after `until` successful allocations the next one returns NULL
 * (-1: never). live = allocations not freed; wrong_size = frees with another size than asked for.
 */
typedef struct fault_allocator {
    int64_t count, until, live, wrong_size;
} fault_allocator;
equinv_allocator fault_allocator_of(fault_allocator *f);
equinv_context *context_of_faults(fault_allocator *f); /* one thread */

/*
 * Calls attempt(ctx, arg), each time with a new context of one thread, while its first, second, ..
 * allocation fails, until none does; returns how many there were. A failure must be NOMEM, and the same
 * context succeed afterwards. An attempt gives back what it made; nothing may be left of it.
 */
int fail_in_turn(equinv_status (*attempt)(equinv_context *ctx, void *arg), void *arg);

/* An attempt for it: makes an operation's plan from the description that arg is. */
#define PLAN_ATTEMPT(attempt, operation)                                                           \
    static equinv_status attempt(equinv_context *ctx, void *arg)                                   \
    {                                                                                              \
        equinv_plan *plan = NULL;                                                                  \
        const equinv_status status = equinv_##operation##_plan_create(ctx, arg, &plan);            \
        ck_assert(!plan == (status != EQUINV_OK));                                                 \
        equinv_plan_destroy(plan);                                                                 \
        return status;                                                                             \
    }

#endif
