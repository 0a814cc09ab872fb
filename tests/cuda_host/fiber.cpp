/* Coroutines: a few instructions on x86-64, ucontext elsewhere, with the sanitizer's annotations. */
#include "tests/cuda_host/engine.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif
#if EQI_HOST_ASAN
#include <sanitizer/common_interface_defs.h>
#endif

namespace eqi_host
{
constexpr size_t stack_size = EQI_HOST_ASAN ? 256 * 1024 : 64 * 1024;
/* One closed page; compiled with -fstack-clash-protection, no frame steps over it. */
static const size_t guard_size = static_cast<size_t>(sysconf(_SC_PAGESIZE));

struct Context {
#if defined(__x86_64__)
    void *stack_pointer;
#else
    ucontext_t state;
#endif
};

struct Fiber {
    Context context;
    char *stack; /* above closed memory */
    void (*entry)();
    void *fake_stack;
};

static auto &idle = immortal<std::vector<Fiber *>>();
static auto &all = immortal<std::vector<Fiber *>>();
static Fiber *current;
static Context main_context;
static const void *main_stack;
static size_t main_stack_size;

#if defined(__x86_64__)
extern "C" void eqi_host_switch(void **save, void *load) __attribute__((visibility("hidden")));
asm(R"(
    .text
    .p2align 4
    .hidden eqi_host_switch
    .globl eqi_host_switch
    .type eqi_host_switch, @function
eqi_host_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size eqi_host_switch, . - eqi_host_switch
)");

static void switch_context(Context *from, Context *to)
{
    eqi_host_switch(&from->stack_pointer, to->stack_pointer);
}

/* The stack as eqi_host_switch leaves it: six registers, then where to return. */
static void prepare(Fiber *fiber, char *top, void (*start)())
{
    void **words = reinterpret_cast<void **>(top);
    *--words = nullptr;
    *--words = reinterpret_cast<void *>(start);
    words -= 6;
    memset(words, 0, 6 * sizeof *words);
    fiber->context.stack_pointer = words;
}
#else
static void switch_context(Context *from, Context *to)
{
    swapcontext(&from->state, &to->state);
}

static void prepare(Fiber *fiber, char *top, void (*start)())
{
    getcontext(&fiber->context.state);
    fiber->context.state.uc_stack.ss_sp = fiber->stack;
    fiber->context.state.uc_stack.ss_size = static_cast<size_t>(top - fiber->stack);
    fiber->context.state.uc_link = nullptr;
    makecontext(&fiber->context.state, start, 0);
}
#endif

static void leaving([[maybe_unused]] void **fake_stack, [[maybe_unused]] const void *stack,
                    [[maybe_unused]] size_t size)
{
#if EQI_HOST_ASAN
    __sanitizer_start_switch_fiber(fake_stack, stack, size);
#endif
}

static void arrived([[maybe_unused]] void *fake_stack, [[maybe_unused]] const void **from,
                    [[maybe_unused]] size_t *size)
{
#if EQI_HOST_ASAN
    __sanitizer_finish_switch_fiber(fake_stack, from, size);
#endif
}

static void fiber_main()
{
    arrived(nullptr, &main_stack, &main_stack_size);
    for (;;) {
        current->entry();
        suspend();
    }
}

static Fiber *new_fiber()
{
    void *const mapping = mmap(nullptr, guard_size + stack_size, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapping == MAP_FAILED || mprotect(mapping, guard_size, PROT_NONE))
        fault("no memory for a coroutine");
    Fiber *const fiber = new Fiber();
    fiber->stack = static_cast<char *>(mapping) + guard_size;
    /* Tops at different places in their pages, or all of them would share a few lines of cache. */
    const size_t color = all.size() % 16 * 192;
    prepare(fiber, fiber->stack + stack_size - color, fiber_main);
    all.push_back(fiber);
    return fiber;
}

Fiber *take_fiber(void (*entry)())
{
    if (idle.empty())
        idle.push_back(new_fiber());
    Fiber *const fiber = idle.back();
    idle.pop_back();
    fiber->entry = entry;
    return fiber;
}

void give_fiber(Fiber *fiber)
{
    idle.push_back(fiber);
}

void resume(Fiber *fiber)
{
    void *fake_stack = nullptr;
    current = fiber;
    leaving(&fake_stack, fiber->stack, stack_size);
    switch_context(&main_context, &fiber->context);
    arrived(fake_stack, nullptr, nullptr);
    current = nullptr;
}

void suspend()
{
    Fiber *const self = current;
    leaving(&self->fake_stack, main_stack, main_stack_size);
    switch_context(&self->context, &main_context);
    arrived(self->fake_stack, &main_stack, &main_stack_size);
}

Fiber *current_fiber()
{
    return current;
}

bool is_fiber_guard(const void *address)
{
    const char *const at = static_cast<const char *>(address);
    for (const Fiber *fiber : all)
        if (at >= fiber->stack - guard_size && at < fiber->stack)
            return true;
    return false;
}
} // namespace eqi_host
