/*
 * Device memory: whole pages between closed ones, the data at their end, aligned to 256 bytes. The
 * bytes between data and pages' ends are canaries (poisoned under the address sanitizer). Outside
 * kernels and copies the pages are closed, so that host code which follows a device pointer dies.
 *
 * Opening and closing costs two mprotect calls an allocation each time a queue runs: 5 us measured
 * for both together; EQI_CUDA_HOST_OPEN=1 saves them.
 */
#include "tests/cuda_host/engine.h"

#include <map>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#if EQI_HOST_ASAN
#include <sanitizer/asan_interface.h>
#endif

namespace eqi_host
{
constexpr size_t alignment = 256, released_kept = 256;

/* By data. */
static auto &live = immortal<std::map<const char *, Allocation>>();
static auto &device_list = immortal<std::vector<const Allocation *>>();
/* Their mappings stay reserved, closed. */
static auto &released_list = immortal<std::vector<Allocation>>();
static size_t released_next, bytes_in_use;
static int open_depth;

static size_t page_size()
{
    static const size_t size = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    return size;
}

static bool always_open()
{
    static const char *const value = getenv("EQI_CUDA_HOST_OPEN");
    return value && strcmp(value, "1") == 0;
}

static void protect(const Allocation &a, int protection)
{
    const size_t page = page_size();
    if (mprotect(a.mapping + page, a.mapped - 2 * page, protection))
        fault("mprotect failed");
}

static void list_devices()
{
    device_list.clear();
    for (const auto &entry : live)
        if (!entry.second.host)
            device_list.push_back(&entry.second);
}

const std::vector<const Allocation *> &device_allocations()
{
    return device_list;
}

size_t device_bytes()
{
    return bytes_in_use;
}

void open_memory()
{
    if (open_depth++ || always_open())
        return;
    for (const Allocation *a : device_list)
        protect(*a, PROT_READ | PROT_WRITE);
}

void close_memory()
{
    if (--open_depth || always_open())
        return;
    for (const Allocation *a : device_list)
        protect(*a, PROT_NONE);
}

/* ---- canaries ---- */

/* How many bytes before the data are watched: the pages may begin far before them. */
static size_t margin_before(const Allocation &a)
{
    const size_t slack = static_cast<size_t>(a.data - a.mapping) - page_size();
    return slack < alignment ? slack : alignment;
}

static size_t margin_behind(const Allocation &a)
{
    return static_cast<size_t>(a.mapping + a.mapped - a.data) - page_size() - a.size;
}

#if EQI_HOST_ASAN
void fill_canaries(unsigned char)
{
}

void check_canaries()
{
}

static void seal(const Allocation &a)
{
    ASAN_POISON_MEMORY_REGION(a.data - margin_before(a), margin_before(a));
    ASAN_POISON_MEMORY_REGION(a.data + a.size, margin_behind(a));
}

static void unseal(const Allocation &a)
{
    ASAN_UNPOISON_MEMORY_REGION(a.mapping, a.mapped);
}
#else
/* What a margin must hold. */
static unsigned char canaries[alignment];
[[maybe_unused]] static const void *const canaries_set = memset(canaries, 0xff, sizeof canaries);

static void seal(const Allocation &a)
{
    memcpy(a.data - margin_before(a), canaries, margin_before(a));
    memcpy(a.data + a.size, canaries, margin_behind(a));
}

static void unseal(const Allocation &)
{
}

void fill_canaries(unsigned char byte)
{
    memset(canaries, byte, sizeof canaries);
    for (const Allocation *a : device_list)
        seal(*a);
}

static void check_margin(const Allocation &a, const char *bytes, size_t size)
{
    if (memcmp(bytes, canaries, size) == 0)
        return;
    const bool behind = bytes > a.data;
    size_t i = 0;
    while (static_cast<unsigned char>(bytes[i]) == canaries[i])
        i++;
    fault("write %zu bytes %s device memory of %zu bytes", behind ? i : size - i,
          behind ? "behind the end of" : "before", a.size);
}

void check_canaries()
{
    for (const Allocation *a : device_list) {
        check_margin(*a, a->data - margin_before(*a), margin_before(*a));
        check_margin(*a, a->data + a->size, margin_behind(*a));
    }
}
#endif

/* ---- allocation ---- */

cudaError_t allocate(void **pointer, size_t size, int device, bool host)
{
    const size_t page = page_size();
    if (!host &&
        (allocation_fails() || size > device_limit() || bytes_in_use > device_limit() - size))
        return cudaErrorMemoryAllocation;
    if (size > SIZE_MAX / 2)
        return cudaErrorMemoryAllocation;
    const size_t padded = (size + alignment - 1) / alignment * alignment;
    const size_t pages = (padded + page - 1) / page * page;
    void *const mapping = mmap(nullptr, pages + 2 * page, PROT_NONE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapping == MAP_FAILED)
        return cudaErrorMemoryAllocation;
    char *const base = static_cast<char *>(mapping);
    char *const data = base + page + pages - padded;
    const Allocation a = {base, pages + 2 * page, data, size, device, host};
    protect(a, PROT_READ | PROT_WRITE);
    memset(data, 0xff, size);
    seal(a);
    if (!host && !open_depth && !always_open())
        protect(a, PROT_NONE);
    live[data] = a;
    bytes_in_use += host ? 0 : size;
    list_devices();
    watch_signals();
    *pointer = data;
    return cudaSuccess;
}

/* The address range stays reserved for a while, so that a late access is recognised. */
static void keep_released(const Allocation &a)
{
    if (mmap(a.mapping, a.mapped, PROT_NONE,
             MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) == MAP_FAILED)
        fault("mmap failed");
    if (released_list.size() < released_kept) {
        released_list.push_back(a);
        return;
    }
    Allocation &oldest = released_list[released_next++ % released_kept];
    munmap(oldest.mapping, oldest.mapped);
    oldest = a;
}

cudaError_t release(void *pointer, bool host)
{
    const auto entry = live.find(static_cast<const char *>(pointer));
    if (entry == live.end() || entry->second.host != host)
        return cudaErrorInvalidValue;
    const Allocation a = entry->second;
    unseal(a);
    live.erase(entry);
    bytes_in_use -= host ? 0 : a.size;
    list_devices();
    keep_released(a);
    return cudaSuccess;
}

const Allocation *find_allocation(const void *pointer)
{
    const char *const address = static_cast<const char *>(pointer);
    auto entry = live.upper_bound(address);
    if (entry == live.begin())
        return nullptr;
    const Allocation &a = (--entry)->second;
    return address <= a.data + a.size ? &a : nullptr;
}

static bool holds(const Allocation &a, const char *address)
{
    return address >= a.mapping && address < a.mapping + a.mapped;
}

const Allocation *find_mapping(const void *pointer, bool *released)
{
    const char *const address = static_cast<const char *>(pointer);
    *released = false;
    for (const auto &entry : live)
        if (holds(entry.second, address))
            return &entry.second;
    *released = true;
    for (const Allocation &a : released_list)
        if (holds(a, address))
            return &a;
    return nullptr;
}
} // namespace eqi_host
