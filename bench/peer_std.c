/* std::sort and std::normal_distribution, compiled in peer_std.cpp. */
#include <stdlib.h>

#include "bench/peer.h"

void std_sort_rows(const float *src, float *dst, int64_t batch, int64_t rows, int64_t channels,
                   float *room);
void std_normals(float *to, int64_t count, uint64_t seed);

static void destroy(problem *p)
{
    free(p->own);
    p->own = NULL;
}

static equinv_status sort_create(problem *p)
{
    const equinv_status status = p->what.op->runner.create(p);
    if (!status && !(p->own = peer_floats(p->what.rows)))
        return EQUINV_ERR_NOMEM;
    p->impl_name = NULL;
    return status;
}

static equinv_status sort_run(problem *p)
{
    const bench_case *const c = &p->what;
    std_sort_rows(p->input[0].data, p->output[0].data, c->batch, c->rows,
                  c->channels ? c->channels : 1, p->own);
    return EQUINV_OK;
}

static equinv_status templates_create(problem *p)
{
    return p->what.op->runner.create(p);
}

static equinv_status templates_run(problem *p)
{
    std_normals(p->output[0].data, equinv_tensor_count(&p->output[0]), p->what.seed);
    return EQUINV_OK;
}

const bench_runner *std_runner(const bench_case *c)
{
    static const bench_runner sort = {sort_create, sort_run, destroy, NULL, NULL, false, NULL};
    static const bench_runner templates = {
        templates_create, templates_run, NULL, NULL, NULL, true, NULL};
    if (c->dtype != EQUINV_F32 || c->pass != PASS_FORWARD)
        return NULL;
    if (c->op == &templates_operation && c->kind == EQUINV_TEMPLATE_GAUSSIAN)
        return &templates;
    const bool sorts = c->op == &rowsort_operation ||
                       (c->op == &project_operation && c->kind == EQUINV_PROJECT_SORT);
    return sorts ? &sort : NULL;
}
