/* CUDA's qualifiers and vector types, with CUDA's alignment. */
#ifndef EQI_CUDA_HOST_TYPES_H
#define EQI_CUDA_HOST_TYPES_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

#define __global__
#define __device__
#define __host__
#define __constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(bytes) __attribute__((aligned(bytes)))

struct uint3 {
    unsigned x, y, z;
};

struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned width = 1, unsigned height = 1, unsigned depth = 1)
        : x(width), y(height), z(depth)
    {
    }
    constexpr dim3(uint3 v) : x(v.x), y(v.y), z(v.z)
    {
    }
};

#define EQI_HOST_VECTOR2(name, type, alignment)                                                    \
    struct alignas(alignment) name {                                                               \
        type x, y;                                                                                 \
    };                                                                                             \
    static inline name make_##name(type x, type y)                                                 \
    {                                                                                              \
        return {x, y};                                                                             \
    }
#define EQI_HOST_VECTOR3(name, type)                                                               \
    struct name {                                                                                  \
        type x, y, z;                                                                              \
    };                                                                                             \
    static inline name make_##name(type x, type y, type z)                                         \
    {                                                                                              \
        return {x, y, z};                                                                          \
    }
#define EQI_HOST_VECTOR4(name, type, alignment)                                                    \
    struct alignas(alignment) name {                                                               \
        type x, y, z, w;                                                                           \
    };                                                                                             \
    static inline name make_##name(type x, type y, type z, type w)                                 \
    {                                                                                              \
        return {x, y, z, w};                                                                       \
    }

EQI_HOST_VECTOR2(float2, float, 8)
EQI_HOST_VECTOR2(double2, double, 16)
EQI_HOST_VECTOR2(int2, int, 8)
EQI_HOST_VECTOR2(uint2, unsigned, 8)
EQI_HOST_VECTOR2(longlong2, long long, 16)
EQI_HOST_VECTOR2(ulonglong2, unsigned long long, 16)
EQI_HOST_VECTOR3(float3, float)
EQI_HOST_VECTOR3(int3, int)
EQI_HOST_VECTOR4(float4, float, 16)
EQI_HOST_VECTOR4(double4, double, 16)
EQI_HOST_VECTOR4(int4, int, 16)
EQI_HOST_VECTOR4(uint4, unsigned, 16)
EQI_HOST_VECTOR4(uchar4, unsigned char, 4)

static inline uint3 make_uint3(unsigned x, unsigned y, unsigned z)
{
    return {x, y, z};
}

#undef EQI_HOST_VECTOR2
#undef EQI_HOST_VECTOR3
#undef EQI_HOST_VECTOR4

#endif
