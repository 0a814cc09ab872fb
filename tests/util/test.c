#include "tests/util/test.h"

#include <math.h>
#include <stdarg.h>

/* Tests ask for more memory than there is: the sanitizers then have to return NULL as libc does. */
const char *__asan_default_options(void) __attribute__((visibility("default")));
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}
const char *__tsan_default_options(void) __attribute__((visibility("default")));
const char *__tsan_default_options(void)
{
    return "allocator_may_return_null=1";
}

#ifdef EQI_HAVE_CHECK
int run_tests(const char *suite_name, const test_entry *tests, size_t count)
{
    Suite *const suite = suite_create(suite_name);
    for (size_t i = 0; i < count; i++) {
        TCase *const tcase = tcase_create(tests[i].test->name);
        tcase_set_timeout(tcase, 600);
        tcase_add_loop_test(tcase, tests[i].test, 0, tests[i].times);
        suite_add_tcase(suite, tcase);
    }
    SRunner *const runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int run = srunner_ntests_run(runner), failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return run > 0 && failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
#else
jmp_buf standin_failed;

void standin_fail(const char *file, int line, const char *expression)
{
    printf("%s:%d: failed: %s\n", file, line, expression);
    longjmp(standin_failed, 1);
}

int run_tests(const char *suite_name, const test_entry *tests, size_t count)
{
    const char *const only = getenv("CK_RUN_CASE"); /* as Check has it */
    volatile int run = 0, failed = 0;
    for (volatile size_t i = 0; i < count; i++)
        for (volatile int k = 0; k < tests[i].times; k++) {
            if (only && strcmp(only, tests[i].test->name) != 0)
                break;
            run++;
            if (setjmp(standin_failed) == 0) {
                tests[i].test->run(k);
            } else {
                failed++;
                printf("in %s:%d\n", tests[i].test->name, k);
            }
        }
    printf("Running suite(s): %s\n%d%%: Checks: %d, Failures: %d, Errors: 0\n", suite_name,
           run ? 100 * (run - failed) / run : 0, run, failed);
    fflush(stdout);
    return run > 0 && failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
#endif

/* splitmix64 (Steele, Lea, Flood 2014). */
uint64_t rng_next(rng *r)
{
    uint64_t z = (r->state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

int64_t rng_range(rng *r, int64_t low, int64_t high)
{
    return low + (int64_t)(rng_next(r) % (uint64_t)(high - low + 1));
}

double rng_uniform(rng *r)
{
    return (double)(int64_t)(rng_next(r) >> 41) / (1 << 22) - 1.0;
}

uint64_t share_of(uint64_t count)
{
    const char *const share = getenv("EQUINV_TEST_SHARE");
    return share ? (count * strtoull(share, NULL, 10) + 99) / 100 : count;
}

equinv_context *context_of_threads(int32_t threads)
{
    equinv_context_desc desc = EQUINV_CONTEXT_DESC_INIT;
    equinv_context *ctx = NULL;
    desc.device = EQUINV_DEVICE_CPU;
    desc.threads = threads;
    OK(equinv_context_create(&desc, &ctx));
    return ctx;
}

equinv_context *context_new(void)
{
    return context_of_threads(2);
}

equinv_context *context_at_level(int level)
{
    return context_of_level(level, 2);
}

equinv_context *context_of_level(int level, int32_t threads)
{
    static const char *const levels[TEST_LEVELS] = {"scalar", "avx2", "avx512"};
    setenv("EQUINV_ISA", levels[level], 1);
    equinv_context *const ctx = context_of_threads(threads);
    unsetenv("EQUINV_ISA");
    if (strstr(equinv_context_description(ctx), levels[level]))
        return ctx;
    SKIP("this machine has no %s", levels[level]);
    equinv_context_destroy(ctx);
    return NULL;
}

static equinv_tensor create_from(equinv_context *ctx, equinv_dtype dtype, int ndim, va_list extents)
{
    int64_t shape[EQUINV_MAX_DIMS];
    for (int i = 0; i < ndim; i++)
        shape[i] = va_arg(extents, int); /* extents are written as int */
    equinv_tensor t;
    OK(equinv_tensor_create(ctx, dtype, ndim, shape, &t));
    return t;
}

equinv_tensor tensor_new(equinv_context *ctx, equinv_dtype dtype, int ndim, ...)
{
    va_list extents;
    va_start(extents, ndim);
    const equinv_tensor t = create_from(ctx, dtype, ndim, extents);
    va_end(extents);
    return t;
}

equinv_tensor tensor_like(equinv_context *ctx, const equinv_tensor *other)
{
    equinv_tensor t;
    OK(equinv_tensor_create(ctx, other->dtype, other->ndim, other->shape, &t));
    return t;
}

void tensor_fill_random(rng *r, const equinv_tensor *t)
{
    const int64_t count = equinv_tensor_count(t);
    const bool real = t->dtype == EQUINV_F32 || t->dtype == EQUINV_F64;
    for (int64_t i = 0; i < count; i++)
        tensor_set(t, i, real ? rng_uniform(r) : (double)rng_range(r, 0, 9));
}

equinv_tensor tensor_random(equinv_context *ctx, rng *r, equinv_dtype dtype, int ndim, ...)
{
    va_list extents;
    va_start(extents, ndim);
    const equinv_tensor t = create_from(ctx, dtype, ndim, extents);
    va_end(extents);
    tensor_fill_random(r, &t);
    return t;
}

equinv_tensor tensor_as(equinv_context *ctx, const equinv_tensor *t, equinv_dtype dtype)
{
    equinv_tensor copy;
    OK(equinv_tensor_create(ctx, dtype, t->ndim, t->shape, &copy));
    OK(equinv_tensor_convert(ctx, t, 1.0, 0.0, &copy));
    return copy;
}

equinv_tensor tensor_strided_copy(equinv_context *ctx, rng *r, const equinv_tensor *t,
                                  equinv_tensor *storage)
{
    int order[EQUINV_MAX_DIMS];
    for (int i = 0; i < t->ndim; i++)
        order[i] = i;
    for (int i = t->ndim - 1; i > 0; i--) {
        const int64_t j = rng_range(r, 0, i);
        const int swap = order[i];
        order[i] = order[j];
        order[j] = swap;
    }
    equinv_tensor view = *t;
    int64_t stride = rng_range(r, 1, 2);
    for (int i = 0; i < t->ndim; i++) {
        view.strides[order[i]] = stride;
        stride *= t->shape[order[i]] ? t->shape[order[i]] : 1;
        stride += rng_range(r, 0, 2);
    }
    OK(equinv_tensor_create(ctx, t->dtype, 1, &stride, storage));
    view.data = storage->data;
    OK(equinv_tensor_convert(ctx, t, 1.0, 0.0, &view));
    return view;
}

static char *element(const equinv_tensor *t, int64_t index)
{
    int64_t offset = 0;
    for (int i = t->ndim - 1; i >= 0; i--) {
        offset += index % t->shape[i] * t->strides[i];
        index /= t->shape[i];
    }
    return (char *)t->data + offset * (int64_t)equinv_dtype_size(t->dtype);
}

double tensor_get(const equinv_tensor *t, int64_t index)
{
    const void *const p = element(t, index);
    switch (t->dtype) {
    case EQUINV_F32: return (double)*(const float *)p;
    case EQUINV_F64: return *(const double *)p;
    case EQUINV_I32: return *(const int32_t *)p;
    case EQUINV_U8: return *(const uint8_t *)p;
    case EQUINV_U32: return *(const uint32_t *)p;
    default: abort();
    }
}

void tensor_set(const equinv_tensor *t, int64_t index, double value)
{
    void *const p = element(t, index);
    switch (t->dtype) {
    case EQUINV_F32: *(float *)p = (float)value; break;
    case EQUINV_F64: *(double *)p = value; break;
    case EQUINV_I32: *(int32_t *)p = (int32_t)value; break;
    case EQUINV_U8: *(uint8_t *)p = (uint8_t)value; break;
    case EQUINV_U32: *(uint32_t *)p = (uint32_t)value; break;
    default: abort();
    }
}

double tensor_dot(const equinv_tensor *a, const equinv_tensor *b)
{
    double sum = 0;
    const int64_t count = equinv_tensor_count(a);
    ck_assert(count == equinv_tensor_count(b));
    for (int64_t i = 0; i < count; i++)
        sum += tensor_get(a, i) * tensor_get(b, i);
    return sum;
}

double tensor_max_abs(const equinv_tensor *t)
{
    double largest = 0;
    const int64_t count = equinv_tensor_count(t);
    for (int64_t i = 0; i < count; i++)
        largest = fmax(largest, fabs(tensor_get(t, i)));
    return largest;
}

double tensor_error(const equinv_tensor *a, const equinv_tensor *b, int64_t *worst)
{
    const int64_t count = equinv_tensor_count(a);
    bool equal = a->ndim == b->ndim;
    for (int i = 0; equal && i < a->ndim; i++)
        equal = a->shape[i] == b->shape[i];
    if (!equal)
        return (double)INFINITY;
    double largest = 0, difference = 0;
    for (int64_t i = 0; i < count; i++) {
        const double x = tensor_get(a, i), y = tensor_get(b, i);
        if (isfinite(y))
            largest = fmax(largest, fabs(y));
        if (x == y || (isnan(x) && isnan(y)))
            continue;
        const double d = isfinite(x) && isfinite(y) ? fabs(x - y) : (double)INFINITY;
        if (d > difference) {
            difference = d;
            if (worst)
                *worst = i;
        }
    }
    return difference == 0 ? 0 : difference / (largest > 0 ? largest : 1);
}

bool tensor_same(const equinv_tensor *a, const equinv_tensor *b, int64_t *where)
{
    const int64_t count = equinv_tensor_count(a);
    if (a->dtype != b->dtype || count != equinv_tensor_count(b))
        return false;
    for (int64_t i = 0; i < count; i++)
        if (memcmp(element(a, i), element(b, i), equinv_dtype_size(a->dtype)) != 0) {
            *where = i;
            return false;
        }
    return true;
}

/* Each block carries its size in front, one alignment unit before the caller's part. */
static void *fault_alloc(void *user, size_t size, size_t alignment)
{
    fault_allocator *const f = user;
    if (f->until >= 0 && f->count >= f->until)
        return NULL;
    char *const block =
        aligned_alloc(alignment, (size + 2 * alignment - 1) / alignment * alignment);
    if (!block)
        return NULL;
    f->count++;
    f->live++;
    memcpy(block, &size, sizeof size);
    return block + alignment;
}

static void fault_free(void *user, void *ptr, size_t size)
{
    fault_allocator *const f = user;
    char *const block = (char *)ptr - 64; /* the library asks for 64 everywhere */
    size_t asked;
    memcpy(&asked, block, sizeof asked);
    f->live--;
    f->wrong_size += asked != size;
    free(block);
}

equinv_allocator fault_allocator_of(fault_allocator *f)
{
    return (equinv_allocator){fault_alloc, fault_free, f};
}

equinv_context *context_of_faults(fault_allocator *f)
{
    equinv_context_desc desc = EQUINV_CONTEXT_DESC_INIT;
    equinv_context *ctx = NULL;
    desc.device = EQUINV_DEVICE_CPU;
    desc.threads = 1;
    desc.allocator = fault_allocator_of(f);
    OK(equinv_context_create(&desc, &ctx));
    return ctx;
}

int fail_in_turn(equinv_status (*attempt)(equinv_context *ctx, void *arg), void *arg)
{
    for (int failures = 0;; failures++) {
        fault_allocator f = {.until = -1};
        equinv_context *const ctx = context_of_faults(&f);
        f.until = f.count + failures;
        const equinv_status status = attempt(ctx, arg);
        if (status != EQUINV_OK) {
            ck_assert_msg(status == EQUINV_ERR_NOMEM && strstr(equinv_last_error(), "memory"),
                          "after %d allocations: %s: %s", failures, equinv_status_name(status),
                          equinv_last_error());
            f.until = -1;
            OK(attempt(ctx, arg));
        }
        equinv_context_destroy(ctx);
        ck_assert_msg(f.live == 0 && f.wrong_size == 0,
                      "after %d allocations: %d are left, %d freed with another size", failures,
                      (int)f.live, (int)f.wrong_size);
        if (status == EQUINV_OK)
            return failures;
    }
}
