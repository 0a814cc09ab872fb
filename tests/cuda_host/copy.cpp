/* Copies and fills: checked when they are asked for, done when the stream runs. */
#include "tests/cuda_host/engine.h"

#include <string.h>

using eqi_host::finish;
using eqi_host::Lock;

/* Device memory for a copy's device side and other memory for its host side. */
static cudaError_t check_side(const char *what, const char *side, const void *pointer, size_t size,
                              bool device)
{
    const eqi_host::Allocation *const found = eqi_host::find_allocation(pointer);
    const bool is_device = found && !found->host;
    if (device != is_device || !pointer) {
        eqi_host::complain("%s: %s %p is %sdevice memory", what, side, pointer,
                           is_device ? "" : "no ");
        return cudaErrorInvalidValue;
    }
    if (!found)
        return cudaSuccess;
    const size_t left =
        found->size - static_cast<size_t>(static_cast<const char *>(pointer) - found->data);
    if (size > left)
        eqi_host::fault("%s: %zu bytes of %s reach %zu bytes behind the end of memory of %zu bytes",
                        what, size, side, size - left, found->size);
    return cudaSuccess;
}

static bool holds_device(const void *pointer)
{
    const eqi_host::Allocation *const found = eqi_host::find_allocation(pointer);
    return found && !found->host;
}

static size_t extent_2d(size_t pitch, size_t width, size_t height)
{
    return (height - 1) * pitch + width;
}

static cudaError_t copy(const char *what, void *dst, size_t dst_pitch, const void *src,
                        size_t src_pitch, size_t width, size_t height, enum cudaMemcpyKind kind,
                        cudaStream_t stream)
{
    cudaError_t error = eqi_host::device_error();
    if (!error && (width > dst_pitch || width > src_pitch))
        error = cudaErrorInvalidValue;
    if (error)
        return error;
    const bool empty = width == 0 || height == 0;
    const bool automatic = kind == cudaMemcpyDefault;
    const bool to_device = automatic
                               ? holds_device(dst)
                               : kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
    const bool from_device =
        automatic ? holds_device(src)
                  : kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
    if (!empty)
        error = check_side(what, "dst", dst, extent_2d(dst_pitch, width, height), to_device);
    if (!empty && !error)
        error = check_side(what, "src", src, extent_2d(src_pitch, width, height), from_device);
    if (error)
        return error;
    return eqi_host::enqueue(stream, what, [=] {
        const char *const outer = eqi_host::set_running(what, nullptr);
        for (size_t row = 0; row < height && width; row++)
            memmove(static_cast<char *>(dst) + row * dst_pitch,
                    static_cast<const char *>(src) + row * src_pitch, width);
        eqi_host::set_running(outer, nullptr);
    });
}

cudaError_t cudaMemcpyAsync(void *dst, const void *src, size_t size, enum cudaMemcpyKind kind,
                            cudaStream_t stream)
{
    const Lock lock(eqi_host::engine_mutex);
    return finish(copy("cudaMemcpyAsync", dst, size, src, size, size, 1, kind, stream));
}

cudaError_t cudaMemcpy2DAsync(void *dst, size_t dst_pitch, const void *src, size_t src_pitch,
                              size_t width, size_t height, enum cudaMemcpyKind kind,
                              cudaStream_t stream)
{
    const Lock lock(eqi_host::engine_mutex);
    return finish(
        copy("cudaMemcpy2DAsync", dst, dst_pitch, src, src_pitch, width, height, kind, stream));
}

cudaError_t cudaMemsetAsync(void *dst, int value, size_t size, cudaStream_t stream)
{
    const Lock lock(eqi_host::engine_mutex);
    const char *const what = "cudaMemsetAsync";
    cudaError_t error = eqi_host::device_error();
    if (!error && size)
        error = check_side(what, "dst", dst, size, true);
    if (error)
        return finish(error);
    return finish(eqi_host::enqueue(stream, what, [=] {
        if (size)
            memset(dst, value, size);
    }));
}
