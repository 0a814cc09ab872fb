#include "ref.h"

#include <math.h>

/* v = momentum v + g; value -= learning_rate v, with g = gradient + weight_decay value */
static double sgd(const eqi_update *u, const eqi_parameter_state *s, int64_t i, double g)
{
    if (!s->first.data)
        return u->desc.learning_rate * g;
    const int64_t at = eqi_offset_of(&s->first, i);
    const double v = u->desc.momentum * eqi_load(&s->first, at) + g;
    eqi_store(&s->first, at, v);
    return u->desc.learning_rate * v;
}

/*
 * m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2
 * value -= learning_rate (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + epsilon)
 */
static double adam(const eqi_update *u, const eqi_parameter_state *s, int64_t i, double g)
{
    const equinv_optimizer_desc *const d = &u->desc;
    const int64_t at = eqi_offset_of(&s->first, i);
    const double m = d->beta1 * eqi_load(&s->first, at) + (1 - d->beta1) * g;
    const double v = d->beta2 * eqi_load(&s->second, at) + (1 - d->beta2) * g * g;
    eqi_store(&s->first, at, m);
    eqi_store(&s->second, at, v);
    return d->learning_rate * (m / u->correction1) / (sqrt(v / u->correction2) + d->epsilon);
}

void eqi_ref_optimizer_step(const eqi_update *u, const eqi_parameter_state *s)
{
    const int64_t count = equinv_tensor_count(&s->value);
    for (int64_t i = 0; i < count; i++) {
        const int64_t at = eqi_offset_of(&s->value, i);
        const double value = eqi_load(&s->value, at);
        const double g =
            eqi_load(&s->gradient, eqi_offset_of(&s->gradient, i)) + u->desc.weight_decay * value;
        const double step =
            u->desc.kind == EQUINV_OPTIMIZER_SGD ? sgd(u, s, i, g) : adam(u, s, i, g);
        eqi_store(&s->value, at, value - step);
    }
}
