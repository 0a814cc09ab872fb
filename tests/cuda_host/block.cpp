/*
 * Runs one grid in one order. Threads of a block are coroutines; between two waits a thread runs
 * alone. A warp runs as far as it can before the next one starts, so nothing but a barrier keeps
 * one warp from running far ahead of another.
 */
#include "tests/cuda_host/engine.h"

#include <string.h>

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace eqi_host
{
constexpr int warp_lanes = 32, max_threads = 1024, max_warps = max_threads / warp_lanes;

enum class State : uint8_t { ready, barrier, warp, done };

struct Thread {
    State state;
    WarpCall call;
    unsigned mask;
    int argument, width, line;
    const char *file;
    Fiber *fiber; /* nullptr: not started */
    uint64_t value, result;
};

static struct {
    const Kernel *kernel;
    Order order;
    int count, left, current, warp;
    uint64_t random;
    Thread threads[max_threads];
    unsigned ready[max_warps];   /* lanes that can run */
    unsigned waiting[max_warps]; /* lanes in a warp operation */
} block = {nullptr, Order::forward, 0, 0, -1, 0, 1, {}, {}, {}};

static const char *const call_names[] = {"__syncwarp",       "__shfl_sync",     "__shfl_up_sync",
                                         "__shfl_down_sync", "__shfl_xor_sync", "__ballot_sync",
                                         "__any_sync",       "__all_sync"};

int running_thread()
{
    return block.current;
}

static unsigned random_below(unsigned n)
{
    block.random ^= block.random << 13;
    block.random ^= block.random >> 7;
    block.random ^= block.random << 17;
    return static_cast<unsigned>(block.random % n);
}

static bool same_site(const Thread &a, const char *file, int line)
{
    return a.line == line && (a.file == file || strcmp(a.file, file) == 0);
}

/* ---- which thread runs next ---- */

static int next_lane(unsigned ready)
{
    switch (block.order) {
    case Order::forward: return __builtin_ctz(ready);
    case Order::backward: return 31 - __builtin_clz(ready);
    case Order::random: break;
    }
    for (unsigned skip = random_below(static_cast<unsigned>(__builtin_popcount(ready))); skip;
         skip--)
        ready &= ready - 1;
    return __builtin_ctz(ready);
}

static void enter(int index)
{
    const unsigned i = static_cast<unsigned>(index);
    const dim3 extent = block.kernel->block;
    block.current = index;
    threadIdx = {i % extent.x, i / extent.x % extent.y, i / extent.x / extent.y};
    block.ready[index / warp_lanes] &= ~(1u << index % warp_lanes);
}

/*
 * Runs threads of the warp until one of them has to wait: a coroutine is needed for those alone.
 */
static void work()
{
    for (;;) {
        Thread &thread = block.threads[block.current];
        thread.fiber = current_fiber();
        block.kernel->body();
        thread.state = State::done;
        thread.fiber = nullptr;
        block.left--;
        const unsigned ready = block.ready[block.warp];
        if (!ready)
            break;
        const int next = block.warp * warp_lanes + next_lane(ready);
        if (block.threads[next].fiber)
            break;
        enter(next);
    }
    give_fiber(current_fiber());
}

static void run_warp(int warp)
{
    block.warp = warp;
    while (block.ready[warp]) {
        const int index = warp * warp_lanes + next_lane(block.ready[warp]);
        Fiber *const fiber = block.threads[index].fiber;
        enter(index);
        resume(fiber ? fiber : take_fiber(work));
    }
    block.current = -1;
}

static void wait(State state)
{
    const int index = block.current;
    block.threads[index].state = state;
    suspend();
}

static void wake(int index)
{
    block.threads[index].state = State::ready;
    block.ready[index / warp_lanes] |= 1u << index % warp_lanes;
}

/* ---- barriers ---- */

static const char *describe(int index, char *text, size_t size)
{
    const Thread &thread = block.threads[index];
    if (thread.state == State::done)
        snprintf(text, size, "thread %d has returned", index);
    else if (thread.state == State::barrier)
        snprintf(text, size, "thread %d waits at __syncthreads at %s:%d", index, thread.file,
                 thread.line);
    else
        snprintf(text, size, "thread %d waits at %s with mask 0x%08x at %s:%d", index,
                 call_names[static_cast<int>(thread.call)], thread.mask, thread.file, thread.line);
    return text;
}

[[noreturn]] static void fault_apart(int a, int b)
{
    char first[512], second[512];
    fault("threads do not meet: %s, but %s", describe(a, first, sizeof first),
          describe(b, second, sizeof second));
}

/* Nothing can run: somebody waits for a thread that will not come, or all are at one barrier. */
static void release_barrier()
{
    for (int i = 0; i < block.count; i++) {
        const Thread &thread = block.threads[i];
        if (thread.state != State::warp)
            continue;
        for (int lane = 0; lane < warp_lanes; lane++) {
            const int other = i / warp_lanes * warp_lanes + lane;
            if (!(thread.mask >> lane & 1))
                continue;
            const Thread &o = block.threads[other];
            if (o.state != State::warp || o.call != thread.call || o.mask != thread.mask ||
                o.width != thread.width || !same_site(o, thread.file, thread.line))
                fault_apart(i, other);
        }
    }
    int first = 0;
    while (block.threads[first].state != State::barrier)
        first++;
    for (int i = 0; i < block.count; i++)
        if (block.threads[i].state != State::barrier ||
            !same_site(block.threads[i], block.threads[first].file, block.threads[first].line))
            fault_apart(first, i);
    for (int i = 0; i < block.count; i++)
        wake(i);
}

void barrier(const char *file, int line)
{
    Thread &thread = block.threads[block.current];
    thread.file = file;
    thread.line = line;
    wait(State::barrier);
}

/* ---- warp operations ---- */

/* The lane whose value a shuffle gives to this one. */
static int source_lane(int lane, const Thread &thread)
{
    const int first = lane & ~(thread.width - 1), last = first + thread.width - 1;
    const int n = thread.argument;
    switch (thread.call) {
    case WarpCall::shfl:
        if (n < 0 || n >= thread.width)
            fault("wrong lane: __shfl_sync at %s:%d: lane %d asks for lane %d of %d", thread.file,
                  thread.line, lane, n, thread.width);
        return first + n;
    case WarpCall::shfl_up: return lane - n < first ? lane : lane - n;
    case WarpCall::shfl_down: return lane + n > last ? lane : lane + n;
    case WarpCall::shfl_xor:
        if (n < 0 || n >= warp_lanes)
            fault("wrong lane: __shfl_xor_sync at %s:%d: lane %d asks for lane %d", thread.file,
                  thread.line, lane, lane ^ n);
        return (lane ^ n) > last ? lane : lane ^ n;
    default: return lane;
    }
}

static uint64_t warp_result(int lane, const Thread *lanes, unsigned votes)
{
    const Thread &thread = lanes[lane];
    switch (thread.call) {
    case WarpCall::sync: return 0;
    case WarpCall::ballot: return votes;
    case WarpCall::any: return votes != 0;
    case WarpCall::all: return votes == thread.mask;
    default: break;
    }
    const int source = source_lane(lane, thread);
    if (!(thread.mask >> source & 1))
        fault("wrong lane: %s at %s:%d: lane %d asks for lane %d, which mask 0x%08x leaves out",
              call_names[static_cast<int>(thread.call)], thread.file, thread.line, lane, source,
              thread.mask);
    return lanes[source].value;
}

static bool all_arrived(const Thread *lanes, const Thread &thread, unsigned waiting)
{
    if ((waiting & thread.mask) != thread.mask)
        return false;
    for (unsigned mask = thread.mask; mask; mask &= mask - 1) {
        const Thread &other = lanes[__builtin_ctz(mask)];
        if (other.call != thread.call || other.mask != thread.mask || other.width != thread.width ||
            !same_site(other, thread.file, thread.line))
            return false;
    }
    return true;
}

static void finish_warp_call(int first, unsigned mask)
{
    Thread *const lanes = block.threads + first;
    unsigned votes = 0;
    for (unsigned rest = mask; rest; rest &= rest - 1) {
        const int lane = __builtin_ctz(rest);
        votes |= static_cast<unsigned>(lanes[lane].value & 1) << lane;
    }
    for (unsigned rest = mask; rest; rest &= rest - 1) {
        const int lane = __builtin_ctz(rest);
        lanes[lane].result = warp_result(lane, lanes, votes);
    }
    for (unsigned rest = mask; rest; rest &= rest - 1)
        lanes[__builtin_ctz(rest)].state = State::ready;
    block.ready[first / warp_lanes] |= mask;
    block.waiting[first / warp_lanes] &= ~mask;
}

static void check_warp_call(const char *name, int first, int lane, unsigned mask, int width,
                            const char *file, int line)
{
    const int present = block.count - first;
    const unsigned lanes = present >= warp_lanes ? ~0u : (1u << present) - 1;
    if (!(mask >> lane & 1))
        fault("wrong lane: %s at %s:%d: lane %d calls, which mask 0x%08x leaves out", name, file,
              line, lane, mask);
    if (mask & ~lanes)
        fault("wrong lane: %s at %s:%d: mask 0x%08x names lanes of a warp that has %d", name, file,
              line, mask, present);
    if (width < 1 || width > warp_lanes || (width & (width - 1)) != 0)
        fault("%s at %s:%d: width %d is no power of two up to 32", name, file, line, width);
}

uint64_t warp_call(WarpCall call, unsigned mask, uint64_t value, int argument, int width,
                   const char *file, int line)
{
    const int index = block.current, lane = index % warp_lanes, first = index - lane;
    check_warp_call(call_names[static_cast<int>(call)], first, lane, mask, width, file, line);
    Thread &thread = block.threads[index];
    thread.state = State::warp;
    thread.call = call;
    thread.mask = mask;
    thread.value = value;
    thread.argument = argument;
    thread.width = width;
    thread.file = file;
    thread.line = line;
    unsigned &waiting = block.waiting[index / warp_lanes];
    waiting |= 1u << lane;
    if (all_arrived(block.threads + first, thread, waiting))
        finish_warp_call(first, mask);
    suspend();
    return thread.result;
}

/* ---- blocks and grids ---- */

static void start_block(const Kernel &kernel, int64_t index)
{
    const int64_t x = kernel.grid.x, y = kernel.grid.y;
    blockIdx = {static_cast<unsigned>(index % x), static_cast<unsigned>(index / x % y),
                static_cast<unsigned>(index / x / y)};
    block.left = block.count;
    for (int i = 0; i < block.count; i++) {
        block.threads[i].state = State::ready;
        block.threads[i].fiber = nullptr;
    }
    for (int first = 0; first < block.count; first += warp_lanes) {
        const int lanes = block.count - first;
        block.ready[first / warp_lanes] = lanes >= warp_lanes ? ~0u : (1u << lanes) - 1;
        block.waiting[first / warp_lanes] = 0;
    }
    start_shared(kernel);
}

static void run_block(const Kernel &kernel, int64_t index)
{
    const int warps = (block.count + warp_lanes - 1) / warp_lanes;
    start_block(kernel, index);
    for (;;) {
        const int turn = block.order == Order::random
                             ? static_cast<int>(random_below(static_cast<unsigned>(warps)))
                             : 0;
        for (int i = 0; i < warps; i++) {
            const int warp = (i + turn) % warps;
            run_warp(block.order == Order::backward ? warps - 1 - warp : warp);
        }
        if (!block.left)
            break;
        release_barrier();
    }
    finish_shared(kernel);
}

static int64_t common_divisor(int64_t a, int64_t b)
{
    return b == 0 ? a : common_divisor(b, a % b);
}

void run_grid(const Kernel &kernel, Order order)
{
    const int64_t blocks = static_cast<int64_t>(kernel.grid.x) * kernel.grid.y * kernel.grid.z;
    block.kernel = &kernel;
    block.order = order;
    block.count = static_cast<int>(kernel.block.x * kernel.block.y * kernel.block.z);
    block.random = 0x9e3779b97f4a7c15u;
    gridDim = kernel.grid;
    blockDim = kernel.block;
    /* Steps of a stride without common divisor visit every block once, in no simple order. */
    int64_t stride = blocks / 2 + random_below(1024) + 1, at = random_below(1024) % blocks;
    while (common_divisor(stride, blocks) != 1)
        stride++;
    for (int64_t i = 0; i < blocks; i++) {
        at = (at + stride) % blocks;
        run_block(kernel, order == Order::forward    ? i
                          : order == Order::backward ? blocks - 1 - i
                                                     : at);
    }
    block.kernel = nullptr;
    block.current = -1;
}
} // namespace eqi_host
