/* Contexts: descriptions, threads, the caller's allocator, parallel-for and log, the environment. */
#define _GNU_SOURCE /* CPU_COUNT */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <unistd.h>

#include "internal/context.h"
#include "tests/util/test.h"

static equinv_context *create(const equinv_context_desc *desc)
{
    equinv_context *ctx = NULL;
    OK(equinv_context_create(desc, &ctx));
    ck_assert_ptr_nonnull(ctx);
    return ctx;
}

static void forget_environment(void)
{
    unsetenv("EQUINV_BACKEND");
    unsetenv("EQUINV_ISA");
    unsetenv("EQUINV_VERBOSE");
}

START_TEST(defaults)
{
    forget_environment();
    equinv_context *const ctx = create(NULL);
    ck_assert_int_eq(equinv_context_device(ctx).kind, EQUINV_DEVICE_CPU);
    ck_assert_int_eq(equinv_context_device(ctx).index, 0);
    cpu_set_t cores;
    ck_assert_int_eq(sched_getaffinity(0, sizeof cores, &cores), 0);
    ck_assert_int_eq(equinv_context_threads(ctx), CPU_COUNT(&cores));
    ck_assert(strncmp(equinv_context_description(ctx), "cpu, ", 5) == 0);
    ck_assert(strstr(equinv_context_description(ctx), "cuda: unavailable: ") != NULL);
    equinv_context_destroy(ctx);
    equinv_context_destroy(NULL);
}
END_TEST

START_TEST(threads_as_asked)
{
    static const int32_t asked[] = {1, 2, 3, 64};
    for (size_t i = 0; i < sizeof asked / sizeof *asked; i++) {
        equinv_context_desc desc = EQUINV_CONTEXT_DESC_INIT;
        desc.threads = asked[i];
        equinv_context *const ctx = create(&desc);
        char expected[32];
        snprintf(expected, sizeof expected, ", %d thread%s (", (int)asked[i],
                 asked[i] == 1 ? "" : "s");
        ck_assert_int_eq(equinv_context_threads(ctx), asked[i]);
        ck_assert_msg(strstr(equinv_context_description(ctx), expected), "\"%s\" lacks \"%s\"",
                      equinv_context_description(ctx), expected);
        equinv_context_destroy(ctx);
    }
}
END_TEST

static void *some_alloc(void *user, size_t size, size_t alignment)
{
    (void)user;
    return aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
}

static void some_free(void *user, void *ptr, size_t size)
{
    (void)user;
    (void)size;
    free(ptr);
}

START_TEST(wrong_descriptions)
{
    forget_environment();
    static const struct {
        const char *word;
        equinv_status status;
        equinv_context_desc desc;
    } wrong[] = {
        {"struct_size of equinv_context_desc is 0", EQUINV_ERR_ARG, {.struct_size = 0}},
        {"_INIT", EQUINV_ERR_ARG, {.struct_size = sizeof(equinv_context_desc) + 8}},
        {"_INIT", EQUINV_ERR_ARG, {.struct_size = sizeof(equinv_context_desc) - 8}},
        {"threads is -1",
         EQUINV_ERR_ARG,
         {.struct_size = sizeof(equinv_context_desc), .threads = -1}},
        {"threads is 1025",
         EQUINV_ERR_ARG,
         {.struct_size = sizeof(equinv_context_desc), .threads = 1025}},
        {"device is 3", EQUINV_ERR_ARG, {.struct_size = sizeof(equinv_context_desc), .device = 3}},
        {"device_index is 1",
         EQUINV_ERR_ARG,
         {.struct_size = sizeof(equinv_context_desc), .device_index = 1}},
        {"device_index is -1",
         EQUINV_ERR_ARG,
         {.struct_size = sizeof(equinv_context_desc), .device_index = -1}},
        {"device asks for cuda",
         EQUINV_ERR_NO_BACKEND,
         {.struct_size = sizeof(equinv_context_desc), .device = EQUINV_DEVICE_CUDA}},
        {"only one of alloc and free",
         EQUINV_ERR_ARG,
         {.struct_size = sizeof(equinv_context_desc), .allocator = {some_alloc, NULL, NULL}}},
        {"only one of alloc and free",
         EQUINV_ERR_ARG,
         {.struct_size = sizeof(equinv_context_desc), .allocator = {NULL, some_free, NULL}}},
    };
    int here;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        equinv_context *ctx = (equinv_context *)&here;
        FAILS(wrong[i].status, wrong[i].word, equinv_context_create(&wrong[i].desc, &ctx));
        ck_assert(ctx == (equinv_context *)&here);
    }
    FAILS(EQUINV_ERR_ARG, "ctx is NULL", equinv_context_create(NULL, NULL));
}
END_TEST

/* A caller's parallel-for that notes who calls it and whether a call is inside another. */
typedef struct caller {
    pthread_t thread;
    int calls, wrong_thread, nested;
    bool inside;
} caller;

static void run_backwards(void *user, int64_t count, equinv_task task, void *arg)
{
    caller *const c = user;
    c->calls++;
    c->wrong_thread += !pthread_equal(pthread_self(), c->thread);
    c->nested += c->inside;
    c->inside = true;
    for (int64_t i = count - 1; i >= 0; i--)
        task(arg, i);
    c->inside = false;
}

static void count_visit(void *arg, int64_t index)
{
    atomic_fetch_add((atomic_int *)arg + index, 1);
}

/* Every index once, however many there are. */
static void check_visits(equinv_context *ctx, int64_t count)
{
    atomic_int *const visits = calloc((size_t)count + 1, sizeof *visits);
    ck_assert_ptr_nonnull(visits);
    eqi_parallel_for(ctx, count, count_visit, visits);
    int64_t wrong = 0;
    for (int64_t i = 0; i <= count; i++)
        wrong += atomic_load(&visits[i]) != (i < count);
    free(visits);
    ck_assert_int_eq(wrong, 0);
}

static const int64_t counts[] = {0, 1, 2, 3, 7, 64, 1000, 20000};
enum { COUNTS = sizeof counts / sizeof *counts };

START_TEST(the_callers_parallel_for_is_used)
{
    caller c = {.thread = pthread_self()};
    equinv_context_desc desc = EQUINV_CONTEXT_DESC_INIT;
    desc.threads = 3;
    desc.parallel_for = run_backwards;
    desc.parallel_user = &c;
    equinv_context *const ctx = create(&desc);
    ck_assert(strstr(equinv_context_description(ctx), "caller's parallel-for") != NULL);
    ck_assert_int_eq(equinv_context_threads(ctx), 3);
    for (int i = 0; i < COUNTS; i++)
        check_visits(ctx, counts[i]);
    ck_assert_int_eq(c.calls, COUNTS - 2); /* none for 0 and 1 tasks */
    ck_assert_int_eq(c.wrong_thread, 0);
    ck_assert_int_eq(c.nested, 0);
    equinv_context_destroy(ctx);
}
END_TEST

/* Large enough to be worth threads: operations keep small jobs on the calling thread. */
enum { N = 5, F = 3, G = 8, S = 32, DST = N * F * G * S / 2 * S / 2, SRC = N * F * G * S * S };

/* Pooling forward and backward on a context: DST and SRC numbers, row-major. */
static void pool(equinv_context *ctx, const char *impl, float *dst, float *diff_src)
{
    static float src[SRC];
    rng r = {21};
    equinv_tensor s, d, ds;
    equinv_plan *plan;
    OK(equinv_tensor_init(src, EQUINV_F32, 5, (int64_t[]){N, F, G, S, S}, &s));
    OK(equinv_tensor_init(dst, EQUINV_F32, 5, (int64_t[]){N, F, G, S / 2, S / 2}, &d));
    OK(equinv_tensor_init(diff_src, EQUINV_F32, 5, (int64_t[]){N, F, G, S, S}, &ds));
    tensor_fill_random(&r, &s);
    equinv_pool_desc desc = EQUINV_POOL_DESC_INIT;
    desc.kind = EQUINV_POOL_AVERAGE;
    desc.group = equinv_dihedral(4);
    desc.batch = N, desc.fields = F, desc.elements = G, desc.height = S, desc.width = S;
    desc.impl = impl;
    OK(equinv_pool_plan_create(ctx, &desc, &plan));
    OK(equinv_pool_forward(plan, &s, &d, NULL, 0, NULL, 0));
    OK(equinv_pool_backward(plan, &d, NULL, 0, &ds, NULL, 0));
    equinv_plan_destroy(plan);
}

/* The caller's parallel-for does the work of a public call, with the bits of the own pool. */
START_TEST(an_operation_runs_on_the_callers_threads)
{
    static const char *const impls[] = {NULL, "ref"};
    static float expected[DST + SRC], got[DST + SRC];
    const char *const impl = impls[_i];
    equinv_context_desc desc = EQUINV_CONTEXT_DESC_INIT;
    desc.threads = 1;
    equinv_context *ctx = create(&desc);
    pool(ctx, impl, expected, expected + DST);
    equinv_context_destroy(ctx);
    caller c = {.thread = pthread_self()};
    for (int own = 0; own < 2; own++) {
        desc.threads = 4;
        desc.parallel_for = own ? NULL : run_backwards;
        desc.parallel_user = &c;
        ctx = create(&desc);
        memset(got, 0, sizeof got);
        pool(ctx, impl, got, got + DST);
        equinv_context_destroy(ctx);
        ck_assert_int_eq(memcmp(got, expected, sizeof got), 0);
        ck_assert(c.calls > 1);
        ck_assert_int_eq(c.wrong_thread, 0);
        ck_assert_int_eq(c.nested, 0);
    }
}
END_TEST

START_TEST(the_pool_runs_every_task_once)
{
    for (int32_t threads = 1; threads <= 5; threads++) {
        equinv_context_desc desc = EQUINV_CONTEXT_DESC_INIT;
        desc.threads = threads;
        equinv_context *const ctx = create(&desc);
        for (int i = 0; i < COUNTS; i++)
            check_visits(ctx, counts[i]);
        equinv_context_destroy(ctx);
    }
}
END_TEST

typedef struct log_book {
    int lines, newlines, last_level;
    char text[1024];
} log_book;

static void write_down(void *user, equinv_log_level level, const char *text)
{
    log_book *const book = user;
    book->lines++;
    book->newlines += strchr(text, '\n') != NULL;
    book->last_level = (int)level;
    snprintf(book->text, sizeof book->text, "%s", text);
}

/* What a function writes to stderr. */
static void capture_stderr(char *text, size_t size, void (*function)(void *), void *arg)
{
    FILE *const file = tmpfile();
    ck_assert_ptr_nonnull(file);
    fflush(stderr);
    const int kept = dup(STDERR_FILENO);
    ck_assert(kept >= 0 && dup2(fileno(file), STDERR_FILENO) >= 0);
    function(arg);
    fflush(stderr);
    ck_assert(dup2(kept, STDERR_FILENO) >= 0);
    close(kept);
    rewind(file);
    text[fread(text, 1, size - 1, file)] = '\0';
    fclose(file);
}

static void create_and_destroy(void *arg)
{
    equinv_context *ctx = NULL;
    if (equinv_context_create(arg, &ctx) == EQUINV_OK) {
        eqi_log(ctx, EQUINV_LOG_DISPATCH, "a choice");
        equinv_context_destroy(ctx);
    }
}

START_TEST(the_log_callback_gets_every_level)
{
    char text[512];
    forget_environment();
    log_book book = {0};
    equinv_context_desc desc = EQUINV_CONTEXT_DESC_INIT;
    desc.log = write_down;
    desc.log_user = &book;
    setenv("EQUINV_VERBOSE", "info", 1); /* is for stderr alone */
    capture_stderr(text, sizeof text, create_and_destroy, &desc);
    unsetenv("EQUINV_VERBOSE");
    ck_assert_str_eq(text, "");
    ck_assert_int_eq(book.lines, 2);
    ck_assert_int_eq(book.newlines, 0);
    ck_assert_int_eq(book.last_level, EQUINV_LOG_DISPATCH);
    ck_assert_str_eq(book.text, "a choice");

    book = (log_book){0};
    equinv_context *const ctx = create(&desc);
    ck_assert_int_eq(book.last_level, EQUINV_LOG_INFO);
    ck_assert(strstr(book.text, equinv_version()) != NULL);
    ck_assert(strstr(book.text, equinv_context_description(ctx)) != NULL);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(dispatch_is_explained)
{
    static float dst[DST], diff_src[SRC];
    log_book book = {0};
    equinv_context_desc desc = EQUINV_CONTEXT_DESC_INIT;
    desc.threads = 1;
    desc.log = write_down;
    desc.log_user = &book;
    equinv_context *const ctx = create(&desc);
    pool(ctx, "ref", dst, diff_src);
    equinv_context_destroy(ctx);
    ck_assert_int_eq(book.last_level, EQUINV_LOG_DISPATCH);
    ck_assert_str_eq(book.text, "pool/ref: chosen by name");
    ck_assert_int_eq(book.newlines, 0);
}
END_TEST

START_TEST(verbose_words)
{
    static const struct {
        const char *word;
        bool info, dispatch;
    } words[] = {
        {NULL, false, false}, {"", false, false}, {"info", true, false}, {"dispatch", true, true}};
    char text[1024];
    forget_environment();
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (words[i].word)
            setenv("EQUINV_VERBOSE", words[i].word, 1);
        else
            unsetenv("EQUINV_VERBOSE");
        capture_stderr(text, sizeof text, create_and_destroy, NULL);
        ck_assert_int_eq(strstr(text, equinv_version()) != NULL, words[i].info);
        ck_assert_int_eq(strstr(text, "a choice\n") != NULL, words[i].dispatch);
        ck_assert(words[i].info || text[0] == '\0');
    }
    equinv_context *ctx = NULL;
    setenv("EQUINV_VERBOSE", "loud", 1);
    FAILS(EQUINV_ERR_ARG, "EQUINV_VERBOSE is \"loud\"", equinv_context_create(NULL, &ctx));
    ck_assert_ptr_null(ctx);
    unsetenv("EQUINV_VERBOSE");
}
END_TEST

START_TEST(backend_words)
{
    static const char *const fine[] = {"", "auto", "cpu"};
    forget_environment();
    for (size_t i = 0; i < sizeof fine / sizeof *fine; i++) {
        setenv("EQUINV_BACKEND", fine[i], 1);
        equinv_context *const ctx = create(NULL);
        ck_assert_int_eq(equinv_context_device(ctx).kind, EQUINV_DEVICE_CPU);
        equinv_context_destroy(ctx);
    }
    equinv_context *ctx = NULL;
    setenv("EQUINV_BACKEND", "cuda", 1);
    FAILS(EQUINV_ERR_NO_BACKEND, "EQUINV_BACKEND asks for cuda",
          equinv_context_create(NULL, &ctx)); /* and no silent fall to the CPU */
    ck_assert_ptr_null(ctx);
    setenv("EQUINV_BACKEND", "gpu", 1);
    FAILS(EQUINV_ERR_ARG, "EQUINV_BACKEND is \"gpu\"", equinv_context_create(NULL, &ctx));
    equinv_context_desc desc = EQUINV_CONTEXT_DESC_INIT;
    desc.device = EQUINV_DEVICE_CPU; /* what is asked for by name does not look at it */
    ctx = create(&desc);
    equinv_context_destroy(ctx);
    unsetenv("EQUINV_BACKEND");
}
END_TEST

START_TEST(isa_words)
{
    static const char *const levels[] = {"scalar", "avx2", "avx512"};
    forget_environment();
    equinv_context *ctx = create(NULL);
    const eqi_isa present = ctx->hardware.isa;
    equinv_context_destroy(ctx);
    for (int level = 0; level < 3; level++) {
        const char *const expected = levels[level < (int)present ? level : (int)present];
        char text[32];
        snprintf(text, sizeof text, "cpu, %s, ", expected);
        setenv("EQUINV_ISA", levels[level], 1);
        ctx = create(NULL);
        ck_assert_msg(strstr(equinv_context_description(ctx), text), "\"%s\" lacks \"%s\"",
                      equinv_context_description(ctx), text);
        equinv_context_destroy(ctx);
    }
    setenv("EQUINV_ISA", "", 1);
    equinv_context_destroy(create(NULL));
    ctx = NULL;
    setenv("EQUINV_ISA", "AVX2", 1);
    FAILS(EQUINV_ERR_ARG, "EQUINV_ISA is \"AVX2\"", equinv_context_create(NULL, &ctx));
    ck_assert_ptr_null(ctx);
    unsetenv("EQUINV_ISA");
}
END_TEST

typedef struct alignment_check {
    size_t allocations, too_small, not_a_power, null_frees;
} alignment_check;

static void *checked_alloc(void *user, size_t size, size_t alignment)
{
    alignment_check *const c = user;
    c->allocations++;
    c->too_small += alignment < 64 || size == 0;
    c->not_a_power += (alignment & (alignment - 1)) != 0;
    return some_alloc(NULL, size, alignment);
}

static void checked_free(void *user, void *ptr, size_t size)
{
    ((alignment_check *)user)->null_frees += ptr == NULL;
    some_free(NULL, ptr, size);
}

START_TEST(the_allocator_is_asked_as_the_header_says)
{
    alignment_check c = {0};
    equinv_context_desc desc = EQUINV_CONTEXT_DESC_INIT;
    desc.threads = 2;
    desc.allocator = (equinv_allocator){checked_alloc, checked_free, &c};
    equinv_context *const ctx = create(&desc);
    equinv_tensor empty, full;
    OK(equinv_tensor_create(ctx, EQUINV_F32, 2, (int64_t[]){0, 3}, &empty));
    OK(equinv_tensor_create(ctx, EQUINV_F32, 2, (int64_t[]){5, 3}, &full));
    OK(eqi_arena_reserve(ctx, 1000));
    equinv_tensor_destroy(ctx, &full);
    equinv_tensor_destroy(ctx, &empty);
    equinv_context_destroy(ctx);
    ck_assert(c.allocations >= 4);
    ck_assert_uint_eq(c.too_small, 0);
    ck_assert_uint_eq(c.not_a_power, 0);
    ck_assert_uint_eq(c.null_frees, 0);
}
END_TEST

/* Creates everything a bare context can hold; each allocation fails once. */
START_TEST(allocation_failures_leave_nothing)
{
    int64_t until = 0;
    bool all_done = false;
    for (; !all_done; until++) {
        ck_assert_msg(until < 100, "still failing after %d allocations", (int)until);
        fault_allocator faults = {.until = until};
        equinv_context_desc desc = EQUINV_CONTEXT_DESC_INIT;
        desc.threads = 2;
        desc.allocator = fault_allocator_of(&faults);
        equinv_context *ctx = NULL;
        equinv_status status = equinv_context_create(&desc, &ctx);
        ck_assert_int_eq(status == EQUINV_OK, ctx != NULL);
        if (ctx) {
            status = eqi_arena_reserve(ctx, 5000);
            if (status == EQUINV_OK)
                status = eqi_arena_reserve(ctx, 50000);
            check_visits(ctx, 10); /* still usable */
            equinv_context_destroy(ctx);
        }
        all_done = status == EQUINV_OK;
        ck_assert_msg(all_done || status == EQUINV_ERR_NOMEM, "allocation %d gave %s", (int)until,
                      equinv_status_name(status));
        ck_assert(all_done || strstr(equinv_last_error(), "out of memory") != NULL);
        ck_assert_int_eq(faults.live, 0);
        ck_assert_int_eq(faults.wrong_size, 0);
    }
    ck_assert(until > 3);
}
END_TEST

START_TEST(the_arena_grows_and_old_blocks_stay_valid)
{
    equinv_context *const ctx = context_new();
    void *first, *second, *third;
    FAILS(EQUINV_ERR_INTERNAL, "not reserved", eqi_scratch(ctx, 100, NULL, 0, &first));
    OK(eqi_arena_reserve(ctx, 100));
    OK(eqi_scratch(ctx, 100, NULL, 0, &first));
    ck_assert_uint_eq((uintptr_t)first % 64, 0);
    memset(first, 1, 100);
    OK(eqi_arena_reserve(ctx, 40)); /* enough is there */
    OK(eqi_scratch(ctx, 40, NULL, 0, &second));
    ck_assert(second == first);
    OK(eqi_arena_reserve(ctx, 100000));
    OK(eqi_scratch(ctx, 100000, NULL, 0, &third));
    memset(third, 2, 100000);
    for (int i = 0; i < 100; i++)
        ck_assert_int_eq(((char *)first)[i], 1);
    FAILS(EQUINV_ERR_NOMEM, "arena", eqi_arena_reserve(ctx, SIZE_MAX - 8));
    FAILS(EQUINV_ERR_NOMEM, "arena", eqi_arena_reserve(ctx, SIZE_MAX / 2));
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(the_callers_scratch_is_checked)
{
    equinv_context *const ctx = context_new();
    _Alignas(64) char memory[256];
    void *use = NULL;
    OK(eqi_scratch(ctx, 128, memory, 128, &use));
    ck_assert(use == memory);
    OK(eqi_scratch(ctx, 0, NULL, 0, &use));
    OK(eqi_scratch(ctx, 0, memory + 1, 0, &use));
    FAILS(EQUINV_ERR_SCRATCH, "scratch_size is 127", eqi_scratch(ctx, 128, memory, 127, &use));
    FAILS(EQUINV_ERR_SCRATCH, "aligned to 64", eqi_scratch(ctx, 128, memory + 8, 200, &use));
    OK(eqi_check_saved(ctx, NULL, 0, 128, false));
    OK(eqi_check_saved(ctx, NULL, 0, 0, true));
    OK(eqi_check_saved(ctx, memory, 128, 128, true));
    FAILS(EQUINV_ERR_ARG, "saved is NULL", eqi_check_saved(ctx, NULL, 0, 128, true));
    FAILS(EQUINV_ERR_SCRATCH, "saved_size is 1", eqi_check_saved(ctx, memory, 1, 128, true));
    FAILS(EQUINV_ERR_SCRATCH, "aligned", eqi_check_saved(ctx, memory + 4, 200, 128, false));
    equinv_context_destroy(ctx);
}
END_TEST

enum { SHARERS = 6, ROUNDS = 60 };

typedef struct sharer {
    equinv_context *ctx;
    int number, wrong;
} sharer;

/* Tensors, conversions, the action, the pool and errors, all on one context at once. */
static void *share(void *arg)
{
    sharer *const s = arg;
    for (int round = 0; round < ROUNDS; round++) {
        enum { COUNT = 4 * 3 * 4 * 5 * 5 };
        const int64_t shape[5] = {4, 3, 4, 5, 5};
        float values[COUNT], turned[COUNT], back[COUNT];
        atomic_int visits[64] = {0};
        equinv_tensor src, dst, again, wide = {0};
        for (int i = 0; i < COUNT; i++)
            values[i] = (float)((i * 7 + s->number * 131 + round) % 997);
        equinv_tensor_init(values, EQUINV_F32, 5, shape, &src);
        equinv_tensor_init(turned, EQUINV_F32, 5, shape, &dst);
        equinv_tensor_init(back, EQUINV_F32, 5, shape, &again);
        s->wrong += equinv_act(s->ctx, equinv_cyclic(4), 1, &src, &dst) != EQUINV_OK;
        s->wrong += equinv_act(s->ctx, equinv_cyclic(4), 3, &dst, &again) != EQUINV_OK;
        s->wrong += memcmp(values, back, sizeof values) != 0;
        s->wrong += equinv_tensor_create(s->ctx, EQUINV_F64, 5, shape, &wide) != EQUINV_OK ||
                    equinv_tensor_convert(s->ctx, &again, 2.0, 1.0, &wide) != EQUINV_OK ||
                    ((double *)wide.data)[COUNT - 1] != 2 * (double)values[COUNT - 1] + 1;
        equinv_tensor_destroy(s->ctx, &wide);
        eqi_parallel_for(s->ctx, 64, count_visit, visits);
        for (int i = 0; i < 64; i++)
            s->wrong += atomic_load(&visits[i]) != 1;
        char word[32];
        snprintf(word, sizeof word, "element is %d,", 100 + s->number);
        s->wrong +=
            equinv_act(s->ctx, equinv_cyclic(4), 100 + s->number, &src, &dst) != EQUINV_ERR_ARG ||
            !strstr(equinv_last_error(), word);
        s->wrong += eqi_arena_reserve(s->ctx, (size_t)(1000 * round + s->number)) != EQUINV_OK;
    }
    return NULL;
}

START_TEST(several_threads_use_one_context)
{
    equinv_context *const ctx = context_new();
    pthread_t threads[SHARERS];
    sharer sharers[SHARERS];
    for (int i = 0; i < SHARERS; i++) {
        sharers[i] = (sharer){ctx, i, 0};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, share, &sharers[i]), 0);
    }
    for (int i = 0; i < SHARERS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < SHARERS; i++)
        ck_assert_int_eq(sharers[i].wrong, 0);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(many_contexts_side_by_side)
{
    equinv_context *ctx[20];
    for (int i = 0; i < 20; i++)
        ctx[i] = context_new();
    for (int i = 0; i < 20; i++)
        check_visits(ctx[i], 50);
    for (int i = 19; i >= 0; i--)
        equinv_context_destroy(ctx[i]);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {defaults, 1},
        {threads_as_asked, 1},
        {wrong_descriptions, 1},
        {the_callers_parallel_for_is_used, 1},
        {an_operation_runs_on_the_callers_threads, 2},
        {the_pool_runs_every_task_once, 1},
        {the_log_callback_gets_every_level, 1},
        {dispatch_is_explained, 1},
        {verbose_words, 1},
        {backend_words, 1},
        {isa_words, 1},
        {the_allocator_is_asked_as_the_header_says, 1},
        {allocation_failures_leave_nothing, 1},
        {the_arena_grows_and_old_blocks_stay_valid, 1},
        {the_callers_scratch_is_checked, 1},
        {several_threads_use_one_context, 1},
        {many_contexts_side_by_side, 1},
    };
    return run_tests("context", tests, sizeof tests / sizeof *tests);
}
