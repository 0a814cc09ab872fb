#define _GNU_SOURCE /* sched_getaffinity */
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal/plugin.h"

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

void *eqi_device_alloc(const equinv_context *ctx, size_t size)
{
    return ctx->backend->device ? ctx->backend->device->alloc(ctx, size ? size : 1)
                                : eqi_alloc(ctx, size);
}

void eqi_device_free(const equinv_context *ctx, void *ptr, size_t size)
{
    if (!ctx->backend->device)
        eqi_free(ctx, ptr, size);
    else if (ptr)
        ctx->backend->device->free(ctx, ptr);
}

equinv_status eqi_device_zero(const equinv_context *ctx, void *ptr, size_t size)
{
    if (size == 0)
        return EQUINV_OK;
    if (ctx->backend->device)
        return ctx->backend->device->zero(ctx, ptr, size);
    memset(ptr, 0, size);
    return EQUINV_OK;
}

equinv_status eqi_device_copy(const equinv_context *ctx, void *dst, const void *src, size_t size)
{
    if (size == 0)
        return EQUINV_OK;
    if (ctx->backend->device)
        return ctx->backend->device->copy(ctx, EQI_LANE_COMPUTE, dst, src, size);
    memcpy(dst, src, size);
    return EQUINV_OK;
}

equinv_status eqi_device_alloc_zeroed(const equinv_context *ctx, int64_t count, size_t size,
                                      const char *what, void **ptr)
{
    size_t bytes;
    EQI_CHECK(count >= 0 && !__builtin_mul_overflow((size_t)count, size, &bytes), NOMEM,
              "%s needs %" PRId64 " x %zu bytes, more than the address space", what, count, size);
    void *const memory = eqi_device_alloc(ctx, bytes);
    EQI_CHECK(memory, NOMEM, "out of memory: %s needs %zu bytes on %s", what, bytes,
              ctx->backend->name);
    const equinv_status status = eqi_device_zero(ctx, memory, bytes);
    if (status != EQUINV_OK) {
        eqi_device_free(ctx, memory, bytes);
        return status;
    }
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

/* What the caller or EQUINV_BACKEND asks for, and which of them it was. */
static equinv_status asked_device(equinv_device_kind *asked, const char **origin)
{
    const char *const backend = getenv("EQUINV_BACKEND");
    *origin = "device";
    if (*asked == EQUINV_DEVICE_AUTO && backend && *backend && strcmp(backend, "auto") != 0) {
        *origin = "EQUINV_BACKEND";
        if (strcmp(backend, "cpu") == 0)
            *asked = EQUINV_DEVICE_CPU;
        else if (strcmp(backend, "cuda") == 0)
            *asked = EQUINV_DEVICE_CUDA;
        else
            return eqi_fail(EQUINV_ERR_ARG, "EQUINV_BACKEND is \"%s\", expected auto, cpu or cuda",
                            backend);
    }
    EQI_CHECK(*asked == EQUINV_DEVICE_AUTO || *asked == EQUINV_DEVICE_CPU ||
                  *asked == EQUINV_DEVICE_CUDA,
              ARG, "device is %d, expected EQUINV_DEVICE_AUTO, _CPU or _CUDA", (int)*asked);
    return EQUINV_OK;
}

static equinv_status open_cuda(equinv_context *ctx, int32_t index, char *text)
{
    EQI_TRY(eqi_plugin_load(&ctx->backend));
    ctx->device = (equinv_device){EQUINV_DEVICE_CUDA, index};
    return ctx->backend->device->open(ctx, text);
}

/* Sets backend and device; *text is what the description says of the device, or why it is the CPU. */
static equinv_status choose_backend(equinv_context *ctx, equinv_device_kind asked,
                                    const char *origin, int32_t index, char text[256])
{
    equinv_status status = EQUINV_ERR_NO_BACKEND;
    if (asked != EQUINV_DEVICE_CPU)
        status = open_cuda(ctx, index, text);
    if (status == EQUINV_OK)
        return EQUINV_OK;
    ctx->backend = &eqi_cpu_backend;
    ctx->device = (equinv_device){EQUINV_DEVICE_CPU, 0};
    if (asked == EQUINV_DEVICE_CUDA) {
        char why[512];
        eqi_format(why, sizeof why, "%s", equinv_last_error());
        return eqi_fail(status == EQUINV_ERR_NOMEM ? status : EQUINV_ERR_NO_BACKEND,
                        "%s asks for cuda, which is unavailable: %s", origin, why);
    }
    EQI_CHECK(index == 0, ARG, "device_index is %" PRId32 ", expected 0 on the CPU", index);
    if (asked == EQUINV_DEVICE_CPU)
        eqi_format(text, 256, "not asked for");
    else
        eqi_format(text, 256, "unavailable: %s", equinv_last_error());
    return EQUINV_OK;
}

static void describe(equinv_context *c, const char *device_text)
{
    char host[128];
    eqi_format(host, sizeof host, "%s, %" PRId32 " thread%s (%s)", eqi_isa_name(c->hardware.isa),
               c->hardware.threads, c->hardware.threads == 1 ? "" : "s",
               c->parallel_for ? "caller's parallel-for" : eqi_pool_name);
    if (c->device.kind == EQUINV_DEVICE_CPU)
        eqi_format(c->description, sizeof c->description, "cpu, %s; cuda: %s", host, device_text);
    else
        eqi_format(c->description, sizeof c->description, "%s:%" PRId32 ", %s; cpu: %s",
                   c->backend->name, c->device.index, device_text, host);
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
    equinv_device_kind asked = desc->device;
    const char *origin;
    EQI_TRY(asked_device(&asked, &origin));
    EQI_CHECK(desc->device_index >= 0, ARG, "device_index is %" PRId32 ", expected 0 or more",
              desc->device_index);
    eqi_isa isa;
    EQI_TRY(eqi_isa_detect(&isa));
    equinv_log_level level;
    EQI_TRY(verbosity_from_environment(&level));

    const equinv_allocator standard = {default_alloc, default_free, NULL};
    const equinv_allocator allocator = desc->allocator.alloc ? desc->allocator : standard;
    equinv_context *const c = allocator.alloc(allocator.user, sizeof *c, EQI_ALIGNMENT);
    EQI_CHECK(c, NOMEM, "out of memory: a context needs %zu bytes", sizeof *c);
    memset(c, 0, sizeof *c);
    c->backend = &eqi_cpu_backend;
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
    char text[256];
    const equinv_status status = choose_backend(c, asked, origin, desc->device_index, text);
    if (status != EQUINV_OK) {
        equinv_context_destroy(c);
        return status;
    }
    describe(c, text);
    eqi_log(c, EQUINV_LOG_INFO, "equinv %s: %s", equinv_version(), c->description);
    *ctx = c;
    return EQUINV_OK;
}

void equinv_context_destroy(equinv_context *ctx)
{
    if (!ctx)
        return;
    for (int i = 0; i < ctx->arenas; i++)
        eqi_device_free(ctx, ctx->arena[i].data, ctx->arena[i].size);
    if (ctx->device_state)
        ctx->backend->device->close(ctx);
    if (ctx->pool)
        eqi_pool_destroy(ctx, ctx->pool);
    pthread_mutex_destroy(&ctx->arena_mutex);
    eqi_free(ctx, ctx, sizeof *ctx);
}

equinv_device equinv_context_device(const equinv_context *ctx)
{
    return ctx->device;
}

equinv_status equinv_context_set_stream(equinv_context *ctx, void *stream)
{
    EQI_CHECK(ctx, ARG, "ctx is NULL, expected a context");
    if (ctx->backend->device)
        return ctx->backend->device->set_stream(ctx, stream);
    EQI_CHECK(!stream, DEVICE, "stream is %p, expected NULL on the CPU", stream);
    return EQUINV_OK;
}

equinv_status equinv_context_synchronize(equinv_context *ctx)
{
    EQI_CHECK(ctx, ARG, "ctx is NULL, expected a context");
    return ctx->backend->device ? ctx->backend->device->synchronize(ctx) : EQUINV_OK;
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
    const size_t newest = ctx->arenas ? ctx->arena[ctx->arenas - 1].size : 0;
    if (size > newest) {
        /* At least doubling keeps all of them together below twice the newest, and their number low. */
        const size_t wanted = size > 2 * newest ? size : 2 * newest;
        void *const data = eqi_device_alloc(ctx, wanted);
        if (data)
            ctx->arena[ctx->arenas++] = (struct eqi_arena){data, wanted};
        else
            status = eqi_fail(EQUINV_ERR_NOMEM,
                              "out of memory: the context's arena needs %zu bytes", wanted);
    }
    pthread_mutex_unlock(&ctx->arena_mutex);
    return status;
}

equinv_status eqi_check_alignment(const equinv_context *ctx, const void *ptr, const char *name)
{
    EQI_CHECK((uintptr_t)ptr % ctx->backend->alignment == 0, SCRATCH,
              "%s is %p, expected an address aligned to %zu", name, ptr, ctx->backend->alignment);
    return EQUINV_OK;
}

equinv_status eqi_check_buffer(const equinv_context *ctx, const void *ptr, const char *name)
{
    EQI_TRY(eqi_check_alignment(ctx, ptr, name));
    return ctx->backend->device ? ctx->backend->device->check_memory(ctx, ptr, name) : EQUINV_OK;
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
        return eqi_check_buffer(ctx, scratch, "scratch");
    }
    equinv_context *const c = (equinv_context *)ctx; /* the mutex is the only thing that changes */
    pthread_mutex_lock(&c->arena_mutex);
    const struct eqi_arena newest = c->arenas ? c->arena[c->arenas - 1] : (struct eqi_arena){0};
    pthread_mutex_unlock(&c->arena_mutex);
    EQI_CHECK(newest.size >= needed, INTERNAL, "the arena was not reserved for %zu bytes", needed);
    *use = newest.data;
    return EQUINV_OK;
}

equinv_status eqi_check_saved(const equinv_context *ctx, const void *saved, size_t saved_size,
                              size_t needed, bool required)
{
    if (!saved && !required)
        return EQUINV_OK;
    if (needed == 0)
        return EQUINV_OK;
    EQI_CHECK(saved, ARG, "saved is NULL, expected the %zu bytes that forward filled", needed);
    EQI_CHECK(saved_size >= needed, SCRATCH, "saved_size is %zu, expected at least %zu", saved_size,
              needed);
    return eqi_check_buffer(ctx, saved, "saved");
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
