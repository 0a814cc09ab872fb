/* What a kernel sees, and how it is launched. */
#ifndef EQI_CUDA_HOST_KERNEL_H
#define EQI_CUDA_HOST_KERNEL_H

#include <functional>
#include <limits.h>
#include <string.h>
#include <tuple>
#include <type_traits>

#include "tests/cuda_host/intrinsics.h"
#include "tests/cuda_host/runtime.h"
#include "tests/cuda_host/types.h"

extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;
constexpr int warpSize = 32;

namespace eqi_host
{
enum class WarpCall { sync, shfl, shfl_up, shfl_down, shfl_xor, ballot, any, all };

void barrier(const char *file, int line);
/* One lane's part in a warp operation; returns when every lane of the mask has arrived. */
uint64_t warp_call(WarpCall call, unsigned mask, uint64_t value, int argument, int width,
                   const char *file, int line);

struct SharedSite {
    const char *name, *file;
    int line;
};
/* The block's array for this site; the same for every thread. */
void *shared_array(const SharedSite *site, size_t bytes, size_t alignment);
void *dynamic_shared(size_t alignment);

void check_alignment(const void *pointer, size_t bytes, const char *file, int line);

struct Kernel {
    const char *name;
    const char *caller; /* with the template arguments that the name may mention */
    const void *function;
    dim3 grid, block;
    size_t shared_bytes;
    std::function<void()> body;
};
/* Enqueues the launch; what is wrong with it becomes the thread's last error. */
void submit(const Kernel &kernel, cudaStream_t stream);

template <class... P, class... A>
void launch(const char *name, const char *caller, void (*function)(P...), dim3 grid, dim3 block,
            size_t shared_bytes, cudaStream_t stream, const A &...arguments)
{
    static_assert(sizeof...(P) == sizeof...(A), "one argument for each parameter of the kernel");
    static_assert((std::is_convertible_v<A, P> && ...), "argument fits its parameter");
    static_assert((std::is_trivially_copyable_v<P> && ...), "parameters are copied as bytes");
    static_assert((sizeof(P) + ... + 0) <= 4096, "a launch passes up to 4 KiB");
    const std::tuple<P...> copies{arguments...};
    submit({name, caller, reinterpret_cast<const void *>(function), grid, block, shared_bytes,
            [function, copies] { std::apply(function, copies); }},
           stream);
}

inline dim3 extent(dim3 value)
{
    return value;
}
/* Counts that dim3 cannot hold stay too large instead of losing their upper bits. */
template <class T, std::enable_if_t<std::is_integral_v<T>, int> = 0> dim3 extent(T count)
{
    const bool fits = count >= 0 && static_cast<uint64_t>(count) <= INT_MAX;
    return dim3(fits ? static_cast<unsigned>(count) : UINT_MAX);
}

template <class T>
T shuffle(WarpCall call, unsigned mask, T value, int argument, int width, const char *file,
          int line)
{
    static_assert(std::is_arithmetic_v<T> && (sizeof(T) == 4 || sizeof(T) == 8),
                  "CUDA shuffles numbers of 4 and 8 bytes");
    uint64_t word = 0;
    memcpy(&word, &value, sizeof value);
    word = warp_call(call, mask, word, argument, width, file, line);
    memcpy(&value, &word, sizeof value);
    return value;
}
} // namespace eqi_host

/* The builtins as default arguments name the caller's line. */
#define EQI_HOST_SITE const char *file = __builtin_FILE(), int line = __builtin_LINE()

inline void __syncthreads(EQI_HOST_SITE)
{
    eqi_host::barrier(file, line);
}
inline void __syncwarp(unsigned mask = 0xffffffffu, EQI_HOST_SITE)
{
    eqi_host::warp_call(eqi_host::WarpCall::sync, mask, 0, 0, warpSize, file, line);
}
template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = warpSize, EQI_HOST_SITE)
{
    return eqi_host::shuffle(eqi_host::WarpCall::shfl, mask, value, source, width, file, line);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = warpSize, EQI_HOST_SITE)
{
    return eqi_host::shuffle(eqi_host::WarpCall::shfl_up, mask, value, static_cast<int>(delta),
                             width, file, line);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = warpSize, EQI_HOST_SITE)
{
    return eqi_host::shuffle(eqi_host::WarpCall::shfl_down, mask, value, static_cast<int>(delta),
                             width, file, line);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = warpSize, EQI_HOST_SITE)
{
    return eqi_host::shuffle(eqi_host::WarpCall::shfl_xor, mask, value, lanes, width, file, line);
}
inline unsigned __ballot_sync(unsigned mask, int predicate, EQI_HOST_SITE)
{
    return static_cast<unsigned>(eqi_host::warp_call(eqi_host::WarpCall::ballot, mask,
                                                     predicate != 0, 0, warpSize, file, line));
}
inline int __any_sync(unsigned mask, int predicate, EQI_HOST_SITE)
{
    return static_cast<int>(eqi_host::warp_call(eqi_host::WarpCall::any, mask, predicate != 0, 0,
                                                warpSize, file, line));
}
inline int __all_sync(unsigned mask, int predicate, EQI_HOST_SITE)
{
    return static_cast<int>(eqi_host::warp_call(eqi_host::WarpCall::all, mask, predicate != 0, 0,
                                                warpSize, file, line));
}
/* Blocks and threads run one at a time: memory is always in order. */
inline void __threadfence()
{
}
inline void __threadfence_block()
{
}

/* Vector access to scalars; stops where the address does not have the vector's alignment. */
inline void eqi_check_alignment(const void *pointer, size_t bytes, EQI_HOST_SITE)
{
    eqi_host::check_alignment(pointer, bytes, file, line);
}
template <class V, class T> inline V eqi_load_vector(const T *pointer, EQI_HOST_SITE)
{
    static_assert(sizeof(V) % sizeof(T) == 0, "whole elements");
    eqi_host::check_alignment(pointer, alignof(V), file, line);
    V value;
    memcpy(&value, pointer, sizeof value);
    return value;
}
template <class V, class T> inline void eqi_store_vector(T *pointer, V value, EQI_HOST_SITE)
{
    static_assert(sizeof(V) % sizeof(T) == 0, "whole elements");
    eqi_host::check_alignment(pointer, alignof(V), file, line);
    memcpy(pointer, &value, sizeof value);
}
#undef EQI_HOST_SITE

/* A reference to an array, so that -fsanitize=undefined sees its bounds. */
#define EQI_SHARED(type, name, count)                                                              \
    static const eqi_host::SharedSite eqi_site_##name = {#name, __FILE__, __LINE__};               \
    type(&name)[count] = *static_cast<type(*)[count]>(                                             \
        eqi_host::shared_array(&eqi_site_##name, sizeof(type[count]), alignof(type)))

#define EQI_DYNAMIC_SHARED(type, name)                                                             \
    type *const name = static_cast<type *>(eqi_host::dynamic_shared(alignof(type)))

/* Needs EQI_TRY, and eqi_launched(name), which turns cudaGetLastError() into a status. */
#define EQI_LAUNCH(kernel, grid, block, shared_bytes, stream, ...)                                 \
    do {                                                                                           \
        const dim3 eqi_grid_ = eqi_host::extent(grid);                                             \
        if (eqi_grid_.x != 0 && eqi_grid_.y != 0 && eqi_grid_.z != 0) {                            \
            eqi_host::launch(#kernel, __PRETTY_FUNCTION__, kernel, eqi_grid_,                      \
                             eqi_host::extent(block), static_cast<size_t>(shared_bytes), stream,   \
                             ##__VA_ARGS__);                                                       \
            EQI_TRY(eqi_launched(#kernel));                                                        \
        }                                                                                          \
    } while (0)

#endif
