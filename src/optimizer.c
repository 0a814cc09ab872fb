#include <math.h>
#include <string.h>

#include "internal/backend.h"

static equinv_status check_learning_rate(double learning_rate)
{
    EQI_CHECK(learning_rate >= 0 && isfinite(learning_rate), ARG,
              "learning_rate is %g, expected 0 or more", learning_rate);
    return EQUINV_OK;
}

static equinv_status check_desc(const equinv_optimizer_desc *d)
{
    EQI_TRY(eqi_check_desc(d->struct_size, sizeof *d, "equinv_optimizer_desc"));
    EQI_CHECK(d->kind == EQUINV_OPTIMIZER_SGD || d->kind == EQUINV_OPTIMIZER_ADAM, ARG,
              "kind is %d, expected EQUINV_OPTIMIZER_SGD or _ADAM", (int)d->kind);
    EQI_TRY(check_learning_rate(d->learning_rate));
    const struct {
        const char *name;
        double value;
    } fractions[] = {{"momentum", d->momentum}, {"beta1", d->beta1}, {"beta2", d->beta2}};
    for (int i = 0; i < 3; i++)
        EQI_CHECK(fractions[i].value >= 0 && fractions[i].value < 1, ARG,
                  "%s is %g, expected 0 or more, below 1", fractions[i].name, fractions[i].value);
    EQI_CHECK(d->epsilon > 0 && isfinite(d->epsilon), ARG,
              "epsilon is %g, expected a positive number", d->epsilon);
    EQI_CHECK(d->weight_decay >= 0 && isfinite(d->weight_decay), ARG,
              "weight_decay is %g, expected 0 or more", d->weight_decay);
    return EQUINV_OK;
}

/* "parameters[2] (conv.weights) gradient" */
static const char *name_of(const equinv_parameter *parameters, size_t i, const char *part,
                           char text[128])
{
    const char *const name = parameters[i].name ? parameters[i].name : "no name";
    eqi_format(text, 128, "parameters[%zu] (%.63s) %s", i, name, part);
    return text;
}

static equinv_status check_parameter(const equinv_context *ctx, const equinv_parameter *parameters,
                                     size_t i)
{
    char value_name[128], gradient_name[128], other[128];
    const equinv_tensor *const value = &parameters[i].value;
    const equinv_tensor *const gradient = &parameters[i].gradient;
    name_of(parameters, i, "value", value_name);
    name_of(parameters, i, "gradient", gradient_name);
    EQI_TRY(eqi_check_output(ctx, value, value_name, EQI_FLOAT));
    EQI_TRY(eqi_check_tensor(ctx, gradient, gradient_name, EQI_FLOAT));
    EQI_TRY(eqi_check_dtype(gradient, gradient_name, value->dtype));
    EQI_TRY(eqi_check_same_shape(gradient, gradient_name, value, value_name));
    EQI_TRY(eqi_check_disjoint(value, value_name, gradient, gradient_name));
    for (size_t k = 0; k < i; k++) {
        EQI_TRY(eqi_check_disjoint(value, value_name, &parameters[k].value,
                                   name_of(parameters, k, "value", other)));
        EQI_TRY(eqi_check_disjoint(value, value_name, &parameters[k].gradient,
                                   name_of(parameters, k, "gradient", other)));
        EQI_TRY(eqi_check_disjoint(&parameters[k].value, name_of(parameters, k, "value", other),
                                   gradient, gradient_name));
    }
    return EQUINV_OK;
}

/* States with room for the parameters' names behind them. */
static equinv_status create_states(equinv_optimizer *o, const equinv_parameter *parameters,
                                   size_t count)
{
    size_t size = count * sizeof *o->states;
    void *memory;
    for (size_t i = 0; i < count; i++)
        size += parameters[i].name ? strlen(parameters[i].name) + 1 : 0;
    EQI_TRY(eqi_alloc_zeroed(o->ctx, (int64_t)size, 1, "parameter states", &memory));
    o->states = memory;
    o->size = size;
    char *at = (char *)(o->states + count);
    for (size_t i = 0; i < count; i++)
        if (parameters[i].name) {
            const size_t length = strlen(parameters[i].name) + 1;
            o->states[i].name = memcpy(at, parameters[i].name, length);
            at += length;
        }
    return EQUINV_OK;
}

/* Row-major zeros of the value's shape and dtype. */
static equinv_status create_moment(equinv_optimizer *o, const equinv_tensor *value,
                                   equinv_tensor *moment)
{
    return equinv_tensor_create(o->ctx, value->dtype, value->ndim, value->shape, moment);
}

static equinv_status create_state(equinv_optimizer *o, const equinv_parameter *parameter,
                                  eqi_parameter_state *state)
{
    const bool adam = o->update.desc.kind == EQUINV_OPTIMIZER_ADAM;
    state->value = parameter->value;
    state->gradient = parameter->gradient;
    if (adam || o->update.desc.momentum > 0)
        EQI_TRY(create_moment(o, &state->value, &state->first));
    if (adam)
        EQI_TRY(create_moment(o, &state->value, &state->second));
    return EQUINV_OK;
}

equinv_status equinv_optimizer_create(equinv_context *ctx, const equinv_optimizer_desc *desc,
                                      const equinv_parameter *parameters, size_t count,
                                      equinv_optimizer **optimizer)
{
    EQI_CHECK(ctx, ARG, "ctx is NULL, expected a context");
    EQI_CHECK(desc, ARG, "desc is NULL, expected a description");
    EQI_TRY(check_desc(desc));
    EQI_CHECK(parameters || count == 0, ARG, "parameters is NULL, expected %zu of them", count);
    EQI_CHECK(count <= INT32_MAX, ARG, "count is %zu, expected at most 2^31 - 1", count);
    EQI_CHECK(optimizer, ARG, "optimizer is NULL, expected where to put the optimizer");
    for (size_t i = 0; i < count; i++)
        EQI_TRY(check_parameter(ctx, parameters, i));

    void *memory;
    equinv_status status = eqi_alloc_zeroed(ctx, 1, sizeof **optimizer, "an optimizer", &memory);
    if (status != EQUINV_OK)
        return status;
    equinv_optimizer *const o = memory;
    o->ctx = ctx;
    o->update.desc = *desc;
    EQI_TRY_GOTO(status, fail, create_states(o, parameters, count));
    o->count = (int64_t)count;
    for (size_t i = 0; i < count; i++)
        EQI_TRY_GOTO(status, fail, create_state(o, &parameters[i], &o->states[i]));
    *optimizer = o;
    return EQUINV_OK;
fail:
    equinv_optimizer_destroy(o);
    return status;
}

void equinv_optimizer_destroy(equinv_optimizer *optimizer)
{
    if (!optimizer)
        return;
    for (int64_t i = 0; i < optimizer->count; i++) {
        equinv_tensor_destroy(optimizer->ctx, &optimizer->states[i].first);
        equinv_tensor_destroy(optimizer->ctx, &optimizer->states[i].second);
    }
    eqi_free(optimizer->ctx, optimizer->states, optimizer->size);
    eqi_free(optimizer->ctx, optimizer, sizeof *optimizer);
}

equinv_status equinv_optimizer_step(equinv_optimizer *optimizer)
{
    EQI_CHECK(optimizer, ARG, "optimizer is NULL, expected an optimizer");
    eqi_update *const u = &optimizer->update;
    const double t = (double)++optimizer->steps;
    u->correction1 = 1 - pow(u->desc.beta1, t);
    u->correction2 = 1 - pow(u->desc.beta2, t);
    for (int64_t i = 0; i < optimizer->count; i++)
        EQI_TRY(optimizer->ctx->backend->optimizer_step(optimizer->ctx, u, &optimizer->states[i]));
    return EQUINV_OK;
}

equinv_status equinv_optimizer_set_learning_rate(equinv_optimizer *optimizer, double learning_rate)
{
    EQI_CHECK(optimizer, ARG, "optimizer is NULL, expected an optimizer");
    EQI_TRY(check_learning_rate(learning_rate));
    optimizer->update.desc.learning_rate = learning_rate;
    return EQUINV_OK;
}
