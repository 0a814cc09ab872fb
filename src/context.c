#define _GNU_SOURCE /* sched_getaffinity */
#include "internal/context.h"

#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct eqi_arena_block {
    struct eqi_arena_block *older;
    size_t size; /* usable bytes, after the header */
};

/* The header takes one alignment unit so that the usable part stays aligned. */
#define ARENA_HEADER EQI_ALIGNMENT

static void *default_alloc(void *user, size_t size, size_t alignment)
{
    (void)user;
    const size_t rounded = (size + alignment - 1) / alignment * alignment;
    return rounded < size ? NULL : aligned_alloc(alignment, rounded);
}

static void default_free(void *user, void *ptr, size_t size)
{
    (void)user;
    (void)size;
    free(ptr);
}

void *eqi_alloc(const equinv_context *ctx, size_t size)
{
    return ctx->allocator.alloc(ctx->allocator.user, size ? size : 1, EQI_ALIGNMENT);
}

void eqi_free(const equinv_context *ctx, void *ptr, size_t size)
{
    if (ptr)
        ctx->allocator.free(ctx->allocator.user, ptr, size ? size : 1);
}

equinv_status eqi_alloc_zeroed(const equinv_context *ctx, int64_t count, size_t size,
                               const char *what, void **ptr)
{
    size_t bytes;
    EQI_CHECK(count >= 0 && !__builtin_mul_overflow((size_t)count, size, &bytes), NOMEM,
              "%s needs %" PRId64 " x %zu bytes, more than the address space", what, count, size);
    void *const memory = eqi_alloc(ctx, bytes);
    EQI_CHECK(memory, NOMEM, "out of memory: %s needs %zu bytes", what, bytes);
    memset(memory, 0, bytes);
    *ptr = memory;
    return EQUINV_OK;
}

static int32_t available_cores(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0)
        return CPU_COUNT(&set) < 1024 ? CPU_COUNT(&set) : 1024;
    return 1;
}

/* Which device `auto` means, and refusals of what is not there. */
static equinv_status choose_device(equinv_device_kind asked, equinv_device *device)
{
    const char *const backend = getenv("EQUINV_BACKEND");
    const char *origin = "device";
    if (asked == EQUINV_DEVICE_AUTO && backend && *backend && strcmp(backend, "auto") != 0) {
        origin = "EQUINV_BACKEND";
        if (strcmp(backend, "cpu") == 0)
            asked = EQUINV_DEVICE_CPU;
        else if (strcmp(backend, "cuda") == 0)
            asked = EQUINV_DEVICE_CUDA;
        else
            return eqi_fail(EQUINV_ERR_ARG, "EQUINV_BACKEND is \"%s\", expected auto, cpu or cuda",
                            backend);
    }
    EQI_CHECK(asked == EQUINV_DEVICE_AUTO || asked == EQUINV_DEVICE_CPU ||
                  asked == EQUINV_DEVICE_CUDA,
              ARG, "device is %d, expected EQUINV_DEVICE_AUTO, _CPU or _CUDA", (int)asked);
    EQI_CHECK(asked != EQUINV_DEVICE_CUDA, NO_BACKEND,
              "%s asks for cuda, which is unavailable: this version has no CUDA plugin", origin);
    *device = (equinv_device){EQUINV_DEVICE_CPU, 0};
    return EQUINV_OK;
}

static equinv_status verbosity_from_environment(equinv_log_level *level)
{
    const char *const verbose = getenv("EQUINV_VERBOSE");
    *level = 0;
    if (!verbose || !*verbose)
        return EQUINV_OK;
    if (strcmp(verbose, "info") == 0)
        *level = EQUINV_LOG_INFO;
    else if (strcmp(verbose, "dispatch") == 0)
        *level = EQUINV_LOG_DISPATCH;
    else
        return eqi_fail(EQUINV_ERR_ARG, "EQUINV_VERBOSE is \"%s\", expected info or dispatch",
                        verbose);
    return EQUINV_OK;
}

static void log_to_stderr(void *user, equinv_log_level level, const char *text)
{
    (void)user;
    (void)level;
    fprintf(stderr, "equinv: %s\n", text);
}

equinv_status equinv_context_create(const equinv_context_desc *desc, equinv_context **ctx)
{
    const equinv_context_desc defaults = EQUINV_CONTEXT_DESC_INIT;
    EQI_CHECK(ctx, ARG, "ctx is NULL, expected where to put the context");
    if (!desc)
        desc = &defaults;
    EQI_TRY(eqi_check_desc(desc->struct_size, sizeof *desc, "equinv_context_desc"));
    EQI_CHECK(desc->threads >= 0 && desc->threads <= 1024, ARG,
              "threads is %" PRId32 ", expected 0 (all cores) to 1024", desc->threads);
    EQI_CHECK(!desc->allocator.alloc == !desc->allocator.free, ARG,
              "allocator has only one of alloc and free, expected both or neither");
    equinv_device device;
    EQI_TRY(choose_device(desc->device, &device));
    EQI_CHECK(device.kind != EQUINV_DEVICE_CPU || desc->device_index == 0, ARG,
              "device_index is %" PRId32 ", expected 0 on the CPU", desc->device_index);
    eqi_isa isa;
    EQI_TRY(eqi_isa_detect(&isa));
    equinv_log_level level;
    EQI_TRY(verbosity_from_environment(&level));

    const equinv_allocator standard = {default_alloc, default_free, NULL};
    const equinv_allocator allocator = desc->allocator.alloc ? desc->allocator : standard;
    equinv_context *const c = allocator.alloc(allocator.user, sizeof *c, EQI_ALIGNMENT);
    EQI_CHECK(c, NOMEM, "out of memory: a context needs %zu bytes", sizeof *c);
    memset(c, 0, sizeof *c);
    c->device = device;
    c->allocator = allocator;
    c->hardware.isa = isa;
    c->hardware.threads = desc->threads ? desc->threads : available_cores();
    c->parallel_for = desc->parallel_for;
    c->parallel_user = desc->parallel_user;
    c->log = desc->log ? desc->log : log_to_stderr;
    c->log_user = desc->log_user;
    c->log_level = desc->log ? EQUINV_LOG_DISPATCH : level;
    pthread_mutex_init(&c->arena_mutex, NULL);
    if (!c->parallel_for && c->hardware.threads > 1) {
        const int32_t threads = c->hardware.threads;
        c->pool = eqi_pool_create(c, threads);
        if (!c->pool) {
            equinv_context_destroy(c);
            return eqi_fail(EQUINV_ERR_NOMEM, "out of memory: a pool of %" PRId32 " threads",
                            threads);
        }
    }
    eqi_format(c->description, sizeof c->description,
               "cpu, %s, %" PRId32 " thread%s (%s); cuda: unavailable: this version has no CUDA "
               "plugin",
               eqi_isa_name(isa), c->hardware.threads, c->hardware.threads == 1 ? "" : "s",
               c->parallel_for ? "caller's parallel-for" : eqi_pool_name);
    eqi_log(c, EQUINV_LOG_INFO, "equinv %s: %s", equinv_version(), c->description);
    *ctx = c;
    return EQUINV_OK;
}

void equinv_context_destroy(equinv_context *ctx)
{
    if (!ctx)
        return;
    while (ctx->arena) {
        struct eqi_arena_block *const block = ctx->arena;
        ctx->arena = block->older;
        eqi_free(ctx, block, ARENA_HEADER + block->size);
    }
    if (ctx->pool)
        eqi_pool_destroy(ctx, ctx->pool);
    pthread_mutex_destroy(&ctx->arena_mutex);
    eqi_free(ctx, ctx, sizeof *ctx);
}

equinv_device equinv_context_device(const equinv_context *ctx)
{
    return ctx->device;
}

int32_t equinv_context_threads(const equinv_context *ctx)
{
    return ctx->hardware.threads;
}

const char *equinv_context_description(const equinv_context *ctx)
{
    return ctx->description;
}

equinv_status eqi_arena_reserve(equinv_context *ctx, size_t size)
{
    equinv_status status = EQUINV_OK;
    pthread_mutex_lock(&ctx->arena_mutex);
    if (size > (ctx->arena ? ctx->arena->size : 0)) {
        /* At least doubling keeps all blocks together below twice the newest. */
        const size_t doubled = ctx->arena ? 2 * ctx->arena->size : 0;
        const size_t wanted = size > doubled ? size : doubled;
        struct eqi_arena_block *block =
            wanted > SIZE_MAX - ARENA_HEADER ? NULL : eqi_alloc(ctx, ARENA_HEADER + wanted);
        if (block) {
            *block = (struct eqi_arena_block){ctx->arena, wanted};
            ctx->arena = block;
        } else {
            status = eqi_fail(EQUINV_ERR_NOMEM,
                              "out of memory: the context's arena needs %zu bytes", wanted);
        }
    }
    pthread_mutex_unlock(&ctx->arena_mutex);
    return status;
}

static bool is_aligned(const void *ptr)
{
    return (uintptr_t)ptr % EQI_ALIGNMENT == 0;
}

equinv_status eqi_scratch(const equinv_context *ctx, size_t needed, void *scratch,
                          size_t scratch_size, void **use)
{
    *use = scratch;
    if (needed == 0)
        return EQUINV_OK;
    if (scratch) {
        EQI_CHECK(scratch_size >= needed, SCRATCH, "scratch_size is %zu, expected at least %zu",
                  scratch_size, needed);
        EQI_CHECK(is_aligned(scratch), SCRATCH, "scratch is %p, expected an address aligned to %d",
                  scratch, EQI_ALIGNMENT);
        return EQUINV_OK;
    }
    equinv_context *const c = (equinv_context *)ctx; /* the mutex is the only thing that changes */
    pthread_mutex_lock(&c->arena_mutex);
    struct eqi_arena_block *const block = c->arena;
    pthread_mutex_unlock(&c->arena_mutex);
    EQI_CHECK(block && block->size >= needed, INTERNAL, "the arena was not reserved for %zu bytes",
              needed);
    *use = (char *)block + ARENA_HEADER;
    return EQUINV_OK;
}

equinv_status eqi_check_saved(const void *saved, size_t saved_size, size_t needed, bool required)
{
    if (!saved && !required)
        return EQUINV_OK;
    if (needed == 0)
        return EQUINV_OK;
    EQI_CHECK(saved, ARG, "saved is NULL, expected the %zu bytes that forward filled", needed);
    EQI_CHECK(saved_size >= needed, SCRATCH, "saved_size is %zu, expected at least %zu", saved_size,
              needed);
    EQI_CHECK(is_aligned(saved), SCRATCH, "saved is %p, expected an address aligned to %d", saved,
              EQI_ALIGNMENT);
    return EQUINV_OK;
}

void eqi_log(const equinv_context *ctx, equinv_log_level level, const char *format, ...)
{
    if (level > ctx->log_level)
        return;
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    ctx->log(ctx->log_user, level, text);
}

equinv_status eqi_check_desc(uint32_t struct_size, size_t expected, const char *type)
{
    EQI_CHECK(struct_size == expected, ARG,
              "struct_size of %s is %" PRIu32 ", expected %zu (start from its _INIT macro)", type,
              struct_size, expected);
    return EQUINV_OK;
}
