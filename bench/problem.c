/* A case on a context: tensors with the same values everywhere, and comparison of results. */
#include <math.h>
#include <string.h>

#include "bench/bench.h"

bool on_cuda(const equinv_context *ctx)
{
    return equinv_context_device(ctx).kind == EQUINV_DEVICE_CUDA;
}

static equinv_status host_like(equinv_context *ctx, const equinv_tensor *t, equinv_tensor *host)
{
    return equinv_tensor_create_pinned(ctx, t->dtype, t->ndim, t->shape, host);
}

/* ---- values ------------------------------------------------------------------------------------- */

static uint64_t mixed(uint64_t x) /* splitmix64 */
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

/* Row-major tensor in CPU memory. */
static void fill(const equinv_tensor *t, uint64_t seed, uint64_t number, double scale)
{
    const int64_t count = equinv_tensor_count(t);
    const uint64_t first = mixed(mixed(seed) ^ number);
    for (int64_t i = 0; i < count; i++) {
        const uint64_t bits = mixed(first + (uint64_t)i);
        const float value = (float)(((double)(bits >> 40) + 0.5) * 0x1p-23 - 1) * (float)scale;
        switch (t->dtype) {
        case EQUINV_F32: ((float *)t->data)[i] = value; break;
        case EQUINV_F64: ((double *)t->data)[i] = (double)value; break;
        case EQUINV_I32: ((int32_t *)t->data)[i] = (int32_t)(bits >> 40) % 10; break;
        default: ((uint8_t *)t->data)[i] = (uint8_t)((bits >> 40) % 10); break;
        }
    }
}

equinv_status problem_fill(problem *p, const equinv_tensor *t, uint64_t number, double scale)
{
    if (t->device.kind == EQUINV_DEVICE_CPU) {
        fill(t, p->what.seed, number, scale);
        return EQUINV_OK;
    }
    equinv_tensor host;
    equinv_status status = host_like(p->ctx, t, &host);
    if (status)
        return status;
    fill(&host, p->what.seed, number, scale);
    status = equinv_tensor_copy(p->ctx, &host, t);
    if (!status)
        status = equinv_context_synchronize(p->ctx);
    equinv_tensor_destroy(p->ctx, &host);
    return status;
}

/* ---- tensors ------------------------------------------------------------------------------------ */

equinv_status problem_input(problem *p, equinv_dtype dtype, int32_t ndim, const int64_t *shape)
{
    const int i = p->inputs++;
    equinv_tensor *const t = &p->input[i], *const host = &p->host_input[i];
    equinv_status status = equinv_tensor_create(p->ctx, dtype, ndim, shape, t);
    if (status || !on_cuda(p->ctx))
        return status ? status : problem_fill(p, t, (uint64_t)i, 1);
    status = host_like(p->ctx, t, host);
    if (status)
        return status;
    fill(host, p->what.seed, (uint64_t)i, 1);
    return equinv_tensor_copy(p->ctx, host, t);
}

equinv_status problem_output(problem *p, equinv_dtype dtype, int32_t ndim, const int64_t *shape)
{
    const int i = p->outputs++;
    const equinv_status status = equinv_tensor_create(p->ctx, dtype, ndim, shape, &p->output[i]);
    if (status || !on_cuda(p->ctx))
        return status;
    return host_like(p->ctx, &p->output[i], &p->host_output[i]);
}

equinv_status problem_saved(problem *p, size_t bytes)
{
    const int64_t shape = (int64_t)bytes;
    return equinv_tensor_create(p->ctx, EQUINV_U8, 1, &shape, &p->saved[p->saved_count++]);
}

/* ---- life --------------------------------------------------------------------------------------- */

equinv_status problem_create(const bench_case *what, const bench_runner *runner,
                             equinv_context *ctx, equinv_dtype dtype, const char *impl, problem *p)
{
    *p = (problem){.what = *what, .runner = runner, .ctx = ctx, .dtype = dtype, .impl = impl};
    const equinv_status status = runner->create(p);
    if (status)
        problem_destroy(p);
    return status;
}

void problem_destroy(problem *p)
{
    if (p->own && p->runner->destroy)
        p->runner->destroy(p);
    equinv_optimizer_destroy(p->optimizer);
    equinv_model_destroy(p->model);
    equinv_projection_destroy(p->projection);
    equinv_plan_destroy(p->plan);
    for (int i = 0; i < MOST_TENSORS; i++) {
        equinv_tensor_destroy(p->ctx, &p->input[i]);
        equinv_tensor_destroy(p->ctx, &p->output[i]);
        equinv_tensor_destroy(p->ctx, &p->saved[i]);
        equinv_tensor_destroy(p->ctx, &p->host_input[i]);
        equinv_tensor_destroy(p->ctx, &p->host_output[i]);
    }
    *p = (problem){.ctx = NULL};
}

equinv_status problem_wait(problem *p)
{
    return p->runner->wait ? p->runner->wait(p) : equinv_context_synchronize(p->ctx);
}

equinv_status problem_run(problem *p)
{
    equinv_status status = p->runner->run(p);
    if (!status && p->runner->wait)
        status = p->runner->wait(p);
    if (!status && p->runner->finish)
        status = p->runner->finish(p);
    return status ? status : equinv_context_synchronize(p->ctx);
}

/* ---- comparison ---------------------------------------------------------------------------------- */

static double value_at(const equinv_tensor *t, int64_t i)
{
    return t->dtype == EQUINV_F32 ? (double)((const float *)t->data)[i]
                                  : ((const double *)t->data)[i];
}

/* 0 if both are zero; infinite for a NaN or an infinity on one side. */
static double error_of(const equinv_tensor *y, const equinv_tensor *y64)
{
    double difference = 0, largest = 0;
    const int64_t count = equinv_tensor_count(y64);
    if (equinv_tensor_count(y) != count)
        return (double)INFINITY;
    for (int64_t i = 0; i < count; i++) {
        const double a = value_at(y, i), b = value_at(y64, i);
        if (a == b || (isnan(a) && isnan(b))) {
            largest = isfinite(b) ? fmax(largest, fabs(b)) : largest;
            continue;
        }
        if (!isfinite(a) || !isfinite(b))
            return (double)INFINITY;
        difference = fmax(difference, fabs(a - b));
        largest = fmax(largest, fabs(b));
    }
    return difference == 0 ? 0 : difference / largest;
}

equinv_status problem_error(problem *p, const problem *reference, double *error)
{
    *error = 0;
    for (int i = 0; i < p->outputs; i++) {
        const equinv_tensor *y = &p->output[i];
        if (on_cuda(p->ctx)) {
            y = &p->host_output[i];
            equinv_status status = equinv_tensor_copy(p->ctx, &p->output[i], y);
            if (!status)
                status = equinv_context_synchronize(p->ctx);
            if (status)
                return status;
        }
        *error = fmax(*error, error_of(y, &reference->output[i]));
    }
    return EQUINV_OK;
}
