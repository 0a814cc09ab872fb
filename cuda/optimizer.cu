/*
 * One update of one parameter: SGD without and with momentum, Adam. In double, as the reference has
 * it: memory is what a step waits for. One thread an element.
 */
#include "cuda/elements.cuh"
#include "cuda/operations.cuh"

enum { BLOCK = 256 };

enum { VALUE, GRADIENT, FIRST, SECOND, TENSORS };

template <typename T> struct eqi_state {
    T *value;
    const T *gradient;
    T *first, *second;
};

/* v = momentum v + g; the step is learning_rate v, or learning_rate g without a velocity */
template <typename T>
static __device__ __forceinline__ double sgd(const eqi_update &u, T *first, double g)
{
    if (!first)
        return u.desc.learning_rate * g;
    const double v = u.desc.momentum * *first + g;
    *first = T(v);
    return u.desc.learning_rate * v;
}

/*
 * m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2; the step is
 * learning_rate (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + epsilon)
 */
template <typename T>
static __device__ __forceinline__ double adam(const eqi_update &u, T *first, T *second, double g)
{
    const equinv_optimizer_desc &d = u.desc;
    const double m = d.beta1 * *first + (1 - d.beta1) * g;
    const double v = d.beta2 * *second + (1 - d.beta2) * g * g;
    *first = T(m);
    *second = T(v);
    return d.learning_rate * (m / u.correction1) / (sqrt(v / u.correction2) + d.epsilon);
}

template <typename T>
__global__ void eqi_optimizer_step(eqi_elements<TENSORS> e, eqi_update u, eqi_state<T> s)
{
    EQI_FOR_EACH(i, e.count)
    {
        int64_t at[TENSORS];
        e.offsets(i, at);
        const double value = s.value[at[VALUE]];
        const double g = s.gradient[at[GRADIENT]] + u.desc.weight_decay * value;
        const double step = u.desc.kind == EQUINV_OPTIMIZER_SGD
                                ? sgd(u, s.first ? s.first + at[FIRST] : s.first, g)
                                : adam(u, s.first + at[FIRST], s.second + at[SECOND], g);
        s.value[at[VALUE]] = T(value - step);
    }
}

template <typename T>
static equinv_status launch(const equinv_context *ctx, const eqi_update *update,
                            const eqi_parameter_state *s)
{
    /* A moment that is not kept is not looked at; the value's strides join with any. */
    const equinv_tensor *const first = s->first.data ? &s->first : &s->value;
    const equinv_tensor *const second = s->second.data ? &s->second : &s->value;
    const eqi_elements<TENSORS> e =
        eqi_elements_of<TENSORS>({&s->value, &s->gradient, first, second});
    const eqi_state<T> state = {(T *)s->value.data, (const T *)s->gradient.data, (T *)s->first.data,
                                (T *)s->second.data};
    EQI_LAUNCH(eqi_optimizer_step<T>, eqi_blocks(e.count, BLOCK), BLOCK, 0, eqi_stream(ctx), e,
               *update, state);
    return EQUINV_OK;
}

equinv_status eqi_cuda_optimizer_step(const equinv_context *ctx, const eqi_update *update,
                                      const eqi_parameter_state *state)
{
    return state->value.dtype == EQUINV_F32 ? launch<float>(ctx, update, state)
                                            : launch<double>(ctx, update, state);
}
