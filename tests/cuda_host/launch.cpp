/*
 * One launch in several orders. Before each order memory is as it was before the launch; bytes that
 * belong to nobody, and shared memory that nobody wrote, have another value in each. The results
 * must be the same bytes: where they are not, the kernel races or reads what it may not.
 */
#include "tests/cuda_host/engine.h"

#include <stdlib.h>
#include <string.h>

namespace eqi_host
{
constexpr size_t compare_limit = 64 << 20; /* larger memory runs in one order */

static const char *const order_names[] = {"forward", "backward", "random"};
static const unsigned char fills[] = {0xff, 0x3f, 0xc1};
static auto &before = immortal<std::vector<char>>();
static auto &first = immortal<std::vector<char>>();

static int configured_orders()
{
    static const char *const value = getenv("EQI_CUDA_HOST_ORDERS");
    const int orders = value ? atoi(value) : 2;
    return orders < 1 ? 1 : orders > 3 ? 3 : orders;
}

static void save(std::vector<char> &store)
{
    size_t offset = 0;
    if (store.size() < device_bytes())
        store.resize(device_bytes());
    for (const Allocation *a : device_allocations()) {
        memcpy(store.data() + offset, a->data, a->size);
        offset += a->size;
    }
}

static void restore(const std::vector<char> &store)
{
    size_t offset = 0;
    for (const Allocation *a : device_allocations()) {
        memcpy(a->data, store.data() + offset, a->size);
        offset += a->size;
    }
}

static void report_difference(const Allocation &a, const char *expected, int order)
{
    size_t at = 0;
    while (a.data[at] == expected[at])
        at++;
    const size_t word = at / 4 * 4, length = a.size - word < 4 ? a.size - word : 4;
    float x = 0, y = 0;
    memcpy(&x, expected + word, length);
    memcpy(&y, a.data + word, length);
    fault("the result depends on the order of threads and blocks: byte %zu of device memory of "
          "%zu bytes (as float: %g %s, %g %s): a race, a missing barrier, or a read outside or of "
          "shared memory that nobody wrote",
          at, a.size, static_cast<double>(x), order_names[0], static_cast<double>(y),
          order_names[order]);
}

static void compare(int order)
{
    size_t offset = 0;
    for (const Allocation *a : device_allocations()) {
        if (memcmp(a->data, first.data() + offset, a->size) != 0)
            report_difference(*a, first.data() + offset, order);
        offset += a->size;
    }
}

static void run_order(const Kernel &kernel, int order)
{
    set_fill(fills[order]);
    run_grid(kernel, static_cast<Order>(order));
    check_canaries();
}

void run_kernel(const Kernel &kernel)
{
    const int orders = device_bytes() <= compare_limit ? configured_orders() : 1;
    const char *const outer = set_running(kernel.name, &kernel);
    if (orders > 1)
        save(before);
    run_order(kernel, 0);
    if (orders > 1)
        save(first);
    for (int order = 1; order < orders; order++) {
        restore(before);
        fill_canaries(fills[order]);
        run_order(kernel, order);
        compare(order);
    }
    if (orders > 1)
        fill_canaries(fills[0]);
    set_running(outer, nullptr);
}
} // namespace eqi_host
