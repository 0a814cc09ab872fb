/*
 * dst = f(inputs), element by element, on tensors of one shape and element type. A function is a
 * struct with `T operator()(const T (&x)[INPUTS]) const`. Each thread has read an element of every
 * input before it writes that of dst: in place is fine.
 */
#ifndef EQI_CUDA_MAP_CUH
#define EQI_CUDA_MAP_CUH

#include "cuda/elements.cuh"

enum { EQI_MAP_BLOCK = 256 };

template <typename T, int INPUTS> struct eqi_inputs {
    const T *at[INPUTS];
};

template <typename T, int INPUTS, typename F>
__global__ void eqi_map(eqi_elements<INPUTS + 1> e, F f, T *dst, eqi_inputs<T, INPUTS> inputs)
{
    EQI_FOR_EACH(i, e.count)
    {
        int64_t at[INPUTS + 1];
        e.offsets(i, at);
        T x[INPUTS];
        for (int t = 0; t < INPUTS; t++)
            x[t] = inputs.at[t][at[t + 1]];
        dst[at[0]] = f(x);
    }
}

/* One component of f of four neighbours. */
template <int INPUTS, typename F>
static __device__ __forceinline__ float eqi_map_part(const F &f, const float4 (&v)[INPUTS],
                                                     float float4::*part)
{
    float x[INPUTS];
    for (int t = 0; t < INPUTS; t++)
        x[t] = v[t].*part;
    return f(x);
}

/* Dense and aligned fp32: a thread asks for 16 bytes at once, which memory needs to be kept busy. */
template <int INPUTS, typename F>
__global__ void eqi_f32_map_x4(int64_t quads, F f, float *dst, eqi_inputs<float, INPUTS> inputs)
{
    EQI_FOR_EACH(i, quads)
    {
        float4 v[INPUTS];
        for (int t = 0; t < INPUTS; t++)
            v[t] = eqi_load_vector<float4>(inputs.at[t] + 4 * i);
        const float4 y = {eqi_map_part(f, v, &float4::x), eqi_map_part(f, v, &float4::y),
                          eqi_map_part(f, v, &float4::z), eqi_map_part(f, v, &float4::w)};
        eqi_store_vector(dst + 4 * i, y);
    }
}

/* Whether the elements of all tensors are neighbours in one order, in whole aligned quads. */
template <int TENSORS>
bool eqi_is_quads(const eqi_elements<TENSORS> &e, const equinv_tensor *const (&tensors)[TENSORS])
{
    bool quads = e.axes == 1 && e.count % 4 == 0;
    for (int t = 0; quads && t < TENSORS; t++)
        quads = e.strides[t][0] == 1 && (uintptr_t)tensors[t]->data % sizeof(float4) == 0;
    return quads;
}

/* tensors: dst, then the inputs. */
template <typename T, int TENSORS, typename F>
equinv_status eqi_map_launch(const equinv_context *ctx, F f,
                             const equinv_tensor *const (&tensors)[TENSORS])
{
    const eqi_elements<TENSORS> e = eqi_elements_of<TENSORS>(tensors);
    T *const dst = (T *)tensors[0]->data;
    eqi_inputs<T, TENSORS - 1> inputs;
    for (int t = 1; t < TENSORS; t++)
        inputs.at[t - 1] = (const T *)tensors[t]->data;
    if constexpr (sizeof(T) == sizeof(float)) {
        if (eqi_is_quads(e, tensors)) {
            const int64_t quads = e.count / 4;
            EQI_LAUNCH((eqi_f32_map_x4<TENSORS - 1, F>), eqi_blocks(quads, EQI_MAP_BLOCK),
                       EQI_MAP_BLOCK, 0, eqi_stream(ctx), quads, f, dst, inputs);
            return EQUINV_OK;
        }
    }
    EQI_LAUNCH((eqi_map<T, TENSORS - 1, F>), eqi_blocks(e.count, EQI_MAP_BLOCK), EQI_MAP_BLOCK, 0,
               eqi_stream(ctx), e, f, dst, inputs);
    return EQUINV_OK;
}

#endif
