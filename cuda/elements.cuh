/*
 * Kernels over all elements of a few tensors of one shape. Axes are sorted by the stride of the first
 * tensor and joined where all allow (as src/walk.c does on the CPU), so dense tensors become one axis.
 */
#ifndef EQI_CUDA_ELEMENTS_CUH
#define EQI_CUDA_ELEMENTS_CUH

#include "cuda/divide.cuh"

template <int TENSORS> struct eqi_elements {
    int32_t axes; /* innermost last; at least 1 */
    int64_t count;
    eqi_divisor shape[EQUINV_MAX_DIMS];
    int64_t strides[TENSORS][EQUINV_MAX_DIMS];

    /* Offsets of element `index` in every tensor. */
    __device__ __forceinline__ void offsets(int64_t index, int64_t (&at)[TENSORS]) const
    {
        if (axes == 1) {
            for (int t = 0; t < TENSORS; t++)
                at[t] = index * strides[t][0];
            return;
        }
        for (int t = 0; t < TENSORS; t++)
            at[t] = 0;
        for (int32_t axis = axes - 1; axis >= 0; axis--) {
            const int64_t rest = shape[axis].quotient(index);
            const int64_t place = index - rest * shape[axis].by;
            for (int t = 0; t < TENSORS; t++)
                at[t] += place * strides[t][axis];
            index = rest;
        }
    }
};

/* `shape` is that of every tensor; a tensor's data pointers stay with the caller. */
template <int TENSORS>
eqi_elements<TENSORS> eqi_elements_of(const equinv_tensor *const (&tensors)[TENSORS])
{
    eqi_elements<TENSORS> e = {};
    const equinv_tensor *const first = tensors[0];
    /* Nothing is joined of an empty shape: the other extents' product may overflow. */
    for (int32_t i = 0; i < first->ndim; i++)
        if (first->shape[i] == 0)
            return e;
    int32_t order[EQUINV_MAX_DIMS], axes = 0;
    int64_t shape[EQUINV_MAX_DIMS] = {1}; /* a single element has one axis too */
    e.count = 1;
    for (int32_t i = 0; i < first->ndim; i++) {
        e.count *= first->shape[i];
        if (first->shape[i] == 1)
            continue;
        int32_t place = axes++;
        for (; place > 0 && llabs(first->strides[order[place - 1]]) < llabs(first->strides[i]);
             place--)
            order[place] = order[place - 1];
        order[place] = i;
    }
    for (int32_t i = 0; i < axes; i++) {
        const int32_t axis = order[i];
        bool joins = e.axes > 0;
        for (int t = 0; joins && t < TENSORS; t++)
            joins = e.strides[t][e.axes - 1] == tensors[t]->strides[axis] * first->shape[axis];
        if (!joins)
            shape[e.axes++] = 1;
        shape[e.axes - 1] *= first->shape[axis];
        for (int t = 0; t < TENSORS; t++)
            e.strides[t][e.axes - 1] = tensors[t]->strides[axis];
    }
    e.axes += e.axes == 0;
    for (int32_t i = 0; i < e.axes; i++)
        e.shape[i] = eqi_divisor_of(shape[i]);
    return e;
}

#endif
