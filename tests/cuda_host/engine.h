/* What the files of the stand-in share; not for kernels. */
#ifndef EQI_CUDA_HOST_ENGINE_H
#define EQI_CUDA_HOST_ENGINE_H

#include <functional>
#include <mutex>
#include <stddef.h>
#include <stdint.h>
#include <vector>

#include "tests/cuda_host/cuda_host.h"

#if defined(__SANITIZE_ADDRESS__)
#define EQI_HOST_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define EQI_HOST_ASAN 1
#endif
#endif
#ifndef EQI_HOST_ASAN
#define EQI_HOST_ASAN 0
#endif

namespace eqi_host
{
/* An object that outlives every other: nothing of the stand-in is destroyed at exit. */
template <class T> T &immortal()
{
    return *new T();
}

/* ---- report.cpp: what is wrong ---- */

/* One line on stderr that names the kernel and thread that run, then abort. */
[[noreturn]] void fault(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same line without the abort. */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The operation in whose name faults are reported; returns the one before. */
const char *set_running(const char *operation, const Kernel *kernel);
/* Reports accesses to closed memory and behind its end with the kernel's name. */
void watch_signals();

/* ---- fiber.cpp: coroutines ---- */

struct Fiber;
/* An idle coroutine. It calls the entry again and again, suspending after each return. */
Fiber *take_fiber(void (*entry)());
void give_fiber(Fiber *fiber);
void resume(Fiber *fiber);
void suspend();
Fiber *current_fiber();
bool is_fiber_guard(const void *address);

/* ---- block.cpp: one grid in one order ---- */

enum class Order { forward, backward, random };
void run_grid(const Kernel &kernel, Order order);
/* Index of the thread that runs in its block, or -1. */
int running_thread();

/* ---- shared.cpp: a block's shared memory ---- */

void start_shared(const Kernel &kernel);
void finish_shared(const Kernel &kernel);
/* The value of bytes that nobody has written: another one in each order. */
void set_fill(unsigned char byte);

/* ---- launch.cpp ---- */

/* Runs the grid in every order and compares. */
void run_kernel(const Kernel &kernel);

/* ---- memory.cpp: device memory and pinned host memory ---- */

struct Allocation {
    char *mapping;
    size_t mapped; /* a closed page at both ends included */
    char *data;
    size_t size;
    int device;
    bool host;
};
cudaError_t allocate(void **pointer, size_t size, int device, bool host);
cudaError_t release(void *pointer, bool host);
/* The live allocation that holds the address, or nullptr. */
const Allocation *find_allocation(const void *pointer);
/* The closest allocation, live or released lately, whose mapping holds the address. */
const Allocation *find_mapping(const void *pointer, bool *released);
const std::vector<const Allocation *> &device_allocations();
size_t device_bytes();
size_t device_limit();
/* Device memory is accessible between these two. */
void open_memory();
void close_memory();
/* Faults if bytes around an allocation changed. */
void check_canaries();
void fill_canaries(unsigned char byte);

/* ---- stream.cpp ---- */

using Task = std::function<void()>;
/* Appends to the stream, or to the graph that it records. */
cudaError_t enqueue(cudaStream_t stream, const char *what, Task task);
void drain_all();
bool is_stream(cudaStream_t stream);
/* Refuses what a capture forbids, and ends the capture's validity. */
cudaError_t refuse_in_capture(const char *what);
int64_t live_streams();

/* ---- runtime.cpp ---- */

extern std::recursive_mutex engine_mutex;
using Lock = std::lock_guard<std::recursive_mutex>;
/* Keeps the thread's last error. */
cudaError_t finish(cudaError_t error);
/* No device, or a sticky error. */
cudaError_t device_error();
void lose_device(cudaError_t error);
int current_device();
constexpr size_t shared_default = 48 * 1024, shared_optin = 227 * 1024;
size_t shared_limit(const void *function);
bool allocation_fails();
/* The injected error that this launch shall have. */
cudaError_t next_launch_error(bool *sticky);
} // namespace eqi_host

#endif
