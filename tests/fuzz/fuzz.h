/*
 * What the fuzz targets share. A target has one function, LLVMFuzzerTestOneInput; libFuzzer calls it
 * (make fuzz), or replay.c with the corpus (make check).
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#ifndef _GNU_SOURCE
#error "define _GNU_SOURCE before the first #include: memfd_create"
#endif
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "equinv/equinv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A broken promise of the library ends the run, in builds with any flags. */
#define FUZZ_CHECK(condition)                                                                      \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s (%s)\n", __FILE__, __LINE__, #condition,                    \
                    equinv_last_error());                                                          \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* No input may make the library ask for more than this at once. */
#define FUZZ_MEMORY ((size_t)64 << 20)

static void *fuzz_alloc(void *user, size_t size, size_t alignment)
{
    (void)user;
    const size_t rounded = (size + alignment - 1) / alignment * alignment;
    return size > FUZZ_MEMORY ? NULL : aligned_alloc(alignment, rounded);
}

static void fuzz_free(void *user, void *ptr, size_t size)
{
    (void)user;
    (void)size;
    free(ptr);
}

static equinv_context *fuzz_context(void)
{
    static equinv_context *ctx;
    equinv_context_desc desc = EQUINV_CONTEXT_DESC_INIT;
    desc.threads = 1;
    desc.allocator = (equinv_allocator){fuzz_alloc, fuzz_free, NULL};
    if (!ctx)
        FUZZ_CHECK(equinv_context_create(&desc, &ctx) == EQUINV_OK);
    return ctx;
}

/* A file in memory with a path; close its descriptor when done. */
typedef struct fuzz_file {
    int fd;
    char path[32];
} fuzz_file;

static fuzz_file fuzz_file_of(const void *data, size_t size)
{
    fuzz_file file = {.fd = memfd_create("fuzz", 0)};
    FUZZ_CHECK(file.fd >= 0);
    FUZZ_CHECK(size == 0 || write(file.fd, data, size) == (ssize_t)size);
    snprintf(file.path, sizeof file.path, "/proc/self/fd/%d", file.fd);
    return file;
}

static void fuzz_same(const equinv_tensor *a, const equinv_tensor *b)
{
    FUZZ_CHECK(a->dtype == b->dtype && a->ndim == b->ndim);
    for (int32_t i = 0; i < a->ndim; i++)
        FUZZ_CHECK(a->shape[i] == b->shape[i]);
    const size_t bytes = (size_t)equinv_tensor_count(a) * equinv_dtype_size(a->dtype);
    FUZZ_CHECK(memcmp(a->data, b->data, bytes) == 0);
}

#endif
