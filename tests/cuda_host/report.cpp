/* Saying what is wrong, with the name of the kernel. */
#include "tests/cuda_host/engine.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

extern "C" void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

namespace eqi_host
{
static const char *running;
static const Kernel *running_kernel;
static struct sigaction previous_segv, previous_bus;

const char *set_running(const char *operation, const Kernel *kernel)
{
    const char *const before = running;
    running = operation;
    running_kernel = kernel;
    return before;
}

/* "name<T> [with T = float]": a launch's name may be in parentheses. */
static void name_kernel(char *text, size_t size, const Kernel &kernel)
{
    const int length = static_cast<int>(strlen(kernel.name));
    const bool parentheses = kernel.name[0] == '(' && kernel.name[length - 1] == ')';
    const char *const types = strchr(kernel.name, '<') ? strrchr(kernel.caller, '[') : nullptr;
    snprintf(text, size, "kernel %.*s%s%s", parentheses ? length - 2 : length,
             parentheses ? kernel.name + 1 : kernel.name, types ? " " : "", types ? types : "");
}

/* The kernel, and in it "block (1, 0, 0), thread (3, 0, 0)". */
static void name_place(char *text, size_t size)
{
    if (!running_kernel) {
        snprintf(text, size, "%s", running ? running : "host code");
        return;
    }
    name_kernel(text, size, *running_kernel);
    const size_t end = strlen(text);
    if (running_thread() >= 0)
        snprintf(text + end, size - end, ", block (%u, %u, %u), thread (%u, %u, %u)", blockIdx.x,
                 blockIdx.y, blockIdx.z, threadIdx.x, threadIdx.y, threadIdx.z);
}

static void print(const char *message)
{
    char place[512], line[2048];
    name_place(place, sizeof place);
    const int length = snprintf(line, sizeof line, "cuda host: %s: %s\n", place, message);
    const size_t size = static_cast<size_t>(length);
    if (write(STDERR_FILENO, line, size < sizeof line ? size : sizeof line - 1) < 0)
        abort();
}

void complain(const char *format, ...)
{
    char message[1536];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    print(message);
}

void fault(const char *format, ...)
{
    char message[1536];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    print(message);
    abort();
}

static void describe_access(const char *address)
{
    bool released = false;
    const Allocation *const found = find_mapping(address, &released);
    if (!found && is_fiber_guard(address))
        complain("stack overflow: a thread's local arrays are too large for a coroutine");
    else if (!found)
        complain("access to address %p, which is no device memory", (const void *)address);
    else if (released)
        complain("access to device memory of %zu bytes that was released", found->size);
    else if (address >= found->data + found->size)
        complain("access %zu bytes behind the end of device memory of %zu bytes",
                 static_cast<size_t>(address - found->data) - found->size, found->size);
    else if (address < found->data)
        complain("access %zu bytes before device memory of %zu bytes",
                 static_cast<size_t>(found->data - address), found->size);
    else
        complain("access to device memory outside kernels and copies, at byte %zu of %zu",
                 static_cast<size_t>(address - found->data), found->size);
}

/* Says where it happened, then lets the access fail again in the handler that was there before. */
static void on_signal(int number, siginfo_t *info, void *)
{
    describe_access(static_cast<const char *>(info->si_addr));
    sigaction(number, number == SIGSEGV ? &previous_segv : &previous_bus, nullptr);
}

static void on_sanitizer_death()
{
    if (running)
        complain("stopped by a sanitizer, see its report");
}

/* Stacks overflow too: the handler needs one of its own, in every thread. */
static void give_signal_stack()
{
    static thread_local bool done;
    constexpr size_t size = 64 * 1024;
    stack_t stack = {};
    if (done || sigaltstack(nullptr, &stack) || !(stack.ss_flags & SS_DISABLE))
        return;
    done = true;
    void *const memory =
        mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return;
    stack = {};
    stack.ss_sp = memory;
    stack.ss_size = size;
    sigaltstack(&stack, nullptr);
}

void watch_signals()
{
    static bool installed;
    give_signal_stack();
    if (installed)
        return;
    installed = true;
    struct sigaction action = {};
    action.sa_sigaction = on_signal;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigaction(SIGSEGV, &action, &previous_segv);
    sigaction(SIGBUS, &action, &previous_bus);
    if (__sanitizer_set_death_callback)
        __sanitizer_set_death_callback(on_sanitizer_death);
}
} // namespace eqi_host
