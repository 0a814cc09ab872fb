/*
 * Shared memory of one block. Every array starts as bytes that nobody wrote, between guard bytes,
 * at an address with its own alignment and not a better one, so that vector access to an array of
 * scalars is caught here as it would fail on a device.
 */
#include "tests/cuda_host/engine.h"

#include <string.h>
#include <sys/mman.h>

#if EQI_HOST_ASAN
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(start, size) ((void)(start), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(start, size) ((void)(start), (void)(size))
#endif

namespace eqi_host
{
constexpr size_t arena_size = 512 * 1024, guard_size = 64;
constexpr int max_arrays = 64;

struct SharedArray {
    const SharedSite *site; /* nullptr: the dynamic one */
    char *data;
    size_t size;
};

static char *arena;
static size_t used, payload;
static SharedArray arrays[max_arrays];
static int array_count;
static const Kernel *kernel_of_block;
static unsigned char fill = 0xff;

void set_fill(unsigned char byte)
{
    fill = byte;
}

void start_shared(const Kernel &kernel)
{
    if (!arena) {
        void *const mapping =
            mmap(nullptr, arena_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (mapping == MAP_FAILED)
            fault("no memory for shared memory");
        arena = static_cast<char *>(mapping);
        ASAN_POISON_MEMORY_REGION(arena, arena_size);
    }
    kernel_of_block = &kernel;
    array_count = 0;
    used = payload = 0;
}

static void *new_array(const SharedSite *site, size_t size, size_t alignment)
{
    const size_t step = alignment < 8 ? 8 : alignment;
    const size_t limit = shared_limit(kernel_of_block->function);
    payload += size;
    if (payload > limit)
        fault("shared memory: %zu bytes are more than the limit of %zu", payload, limit);
    if (array_count == max_arrays)
        fault("more than %d shared arrays", max_arrays);
    const size_t offset = (used + guard_size + 2 * step - 1) / (2 * step) * (2 * step) + step;
    char *const data = arena + offset;
#if EQI_HOST_ASAN
    ASAN_UNPOISON_MEMORY_REGION(data, size);
    memset(data, fill, size);
#else
    memset(data - guard_size, fill, size + 2 * guard_size);
#endif
    used = offset + size + guard_size;
    arrays[array_count++] = {site, data, size};
    return data;
}

void *shared_array(const SharedSite *site, size_t size, size_t alignment)
{
    for (int i = 0; i < array_count; i++)
        if (arrays[i].site == site)
            return arrays[i].data;
    return new_array(site, size, alignment);
}

void *dynamic_shared(size_t alignment)
{
    if (alignment > 16)
        fault("dynamic shared memory has an alignment of 16, not %zu", alignment);
    for (int i = 0; i < array_count; i++)
        if (!arrays[i].site)
            return arrays[i].data;
    return new_array(nullptr, kernel_of_block->shared_bytes, 16);
}

#if !EQI_HOST_ASAN
static bool is_fill(const char *bytes)
{
    for (size_t i = 0; i < guard_size; i++)
        if (static_cast<unsigned char>(bytes[i]) != fill)
            return false;
    return true;
}

static void check_array(const SharedArray &array)
{
    const bool before = !is_fill(array.data - guard_size);
    if (!before && is_fill(array.data + array.size))
        return;
    if (!array.site)
        fault("write %s the dynamic shared memory of %zu bytes", before ? "before" : "behind",
              array.size);
    fault("write %s the shared array '%s' of %zu bytes at %s:%d", before ? "before" : "behind",
          array.site->name, array.size, array.site->file, array.site->line);
}
#endif

void finish_shared([[maybe_unused]] const Kernel &kernel)
{
#if EQI_HOST_ASAN
    ASAN_POISON_MEMORY_REGION(arena, used);
#else
    for (int i = 0; i < array_count; i++)
        check_array(arrays[i]);
#endif
}

void check_alignment(const void *pointer, size_t bytes, const char *file, int line)
{
    if (reinterpret_cast<uintptr_t>(pointer) % bytes != 0)
        fault("misaligned: vector access to %p at %s:%d needs a multiple of %zu bytes", pointer,
              file, line, bytes);
}
} // namespace eqi_host
