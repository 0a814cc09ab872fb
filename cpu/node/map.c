/* Outer products and sums of nodes and pairs in fp32, a sample at a time, channels last. */
#include "map.h"

#include "cpu/ref/ref.h"
#include "sample.h"

enum { NODES_MOST = 128 }; /* lists of them are on the stack */

static const eqi_node_map_kernels *kernels_of(const equinv_context *ctx)
{
    static const eqi_node_map_kernels *const kernels[] = {
        [EQI_ISA_SCALAR] = &eqi_node_map_kernels_scalar,
#if defined(__x86_64__)
        [EQI_ISA_AVX2] = &eqi_node_map_kernels_avx2,
        [EQI_ISA_AVX512] = &eqi_node_map_kernels_avx512,
#endif
    };
    return kernels[ctx->hardware.isa];
}

typedef struct lists {
    int64_t node[NODES_MOST], row[NODES_MOST], column[NODES_MOST];
} lists;

static eqi_node_map open_map(const eqi_node_source *t, int64_t b, lists *l)
{
    const eqi_node_room room = {NULL, l->node, l->row, l->column};
    return eqi_node_open(t, b, &room, false);
}

static void close_map(const eqi_node_source *t, int64_t b, const eqi_node_map *map, bool accumulate)
{
    const eqi_node_room none = {NULL, NULL, NULL, NULL};
    eqi_node_close(t, b, map, &none, accumulate);
}

static bool suits(const eqi_node_source *t)
{
    return t->view->dtype == EQUINV_F32 && t->view->shape[2] <= NODES_MOST && !t->staged;
}

/* ---- outer product ------------------------------------------------------------------------------- */

typedef struct outer_job {
    const eqi_node_map_kernels *kernels;
    eqi_node_source a, b, y, da, db; /* y is diff_dst in backward */
    bool squared;
} outer_job;

static void outer_sample(void *arg, int64_t n)
{
    const outer_job *const j = arg;
    lists l[3];
    const eqi_node_map a = open_map(&j->a, n, &l[0]), b = open_map(&j->b, n, &l[1]);
    const eqi_node_map y = open_map(&j->y, n, &l[2]);
    j->kernels->outer(&a, &b, &y);
    close_map(&j->y, n, &y, false);
}

static void outer_backward_sample(void *arg, int64_t n)
{
    const outer_job *const j = arg;
    lists l[5];
    const eqi_node_map a = open_map(&j->a, n, &l[0]), b = open_map(&j->b, n, &l[1]);
    const eqi_node_map g = open_map(&j->y, n, &l[2]), da = open_map(&j->da, n, &l[3]);
    if (j->squared) {
        j->kernels->outer_backward(&a, &b, &g, &da, NULL);
    } else {
        const eqi_node_map db = open_map(&j->db, n, &l[4]);
        j->kernels->outer_backward(&a, &b, &g, &da, &db);
        close_map(&j->db, n, &db, false);
    }
    close_map(&j->da, n, &da, false);
}

static outer_job outer_job_of(const equinv_context *ctx, const eqi_node_outer_args *a)
{
    return (outer_job){.kernels = kernels_of(ctx),
                       .a = eqi_node_source_of(&a->a, a->mask, false, false),
                       .b = eqi_node_source_of(&a->b, a->mask, false, false),
                       .y = eqi_node_source_of(&a->dst, a->mask, true, false),
                       .da = eqi_node_source_of(&a->diff_a, a->mask, false, false),
                       .db = eqi_node_source_of(&a->diff_b, a->mask, false, false),
                       .squared = a->squared};
}

equinv_status eqi_fast_node_outer_forward(const equinv_context *ctx, const eqi_node_outer_args *a)
{
    outer_job j = outer_job_of(ctx, a);
    if (!suits(&j.a) || !suits(&j.b) || !suits(&j.y))
        return eqi_ref_node_outer_forward(ctx, a);
    eqi_parallel_over(ctx, equinv_tensor_count(&a->dst), a->dst.shape[0], outer_sample, &j);
    return EQUINV_OK;
}

equinv_status eqi_fast_node_outer_backward(const equinv_context *ctx, const eqi_node_outer_args *a)
{
    outer_job j = outer_job_of(ctx, a);
    if (!suits(&j.a) || !suits(&j.b) || !suits(&j.y) || !suits(&j.da) ||
        (!j.squared && !suits(&j.db)))
        return eqi_ref_node_outer_backward(ctx, a);
    eqi_parallel_over(ctx, equinv_tensor_count(&a->dst), a->dst.shape[0], outer_backward_sample,
                      &j);
    return EQUINV_OK;
}

/* ---- pooling ------------------------------------------------------------------------------------- */

typedef struct pool_job {
    const eqi_node_map_kernels *kernels;
    const eqi_node_pool_problem *p;
    const equinv_tensor *pooled;
    eqi_node_source map;
} pool_job;

/* 1, or of means 1 / the number of places of each row; where there are none, nothing is multiplied. */
static void factors_of(const eqi_node_pool_problem *p, int64_t there, float factor[2])
{
    const int64_t others = there * (there - 1);
    const bool mean = p->kind == EQUINV_NODE_POOL_MEAN;
    factor[0] = mean && there > 0 ? 1 / (float)there : 1;
    factor[1] = mean && others > 0 ? 1 / (float)others : 1;
}

static void pool_sample(void *arg, int64_t b)
{
    const pool_job *const j = arg;
    lists l;
    const eqi_node_map x = open_map(&j->map, b, &l);
    float factor[2];
    factors_of(j->p, x.there, factor);
    float *const dst = (float *)j->pooled->data + b * j->pooled->strides[0];
    j->kernels->sum(&x, factor, (float *const[]){dst, dst + j->pooled->strides[1]});
}

static void spread_sample(void *arg, int64_t b)
{
    const pool_job *const j = arg;
    lists l;
    const eqi_node_map dx = open_map(&j->map, b, &l);
    float factor[2];
    factors_of(j->p, dx.there, factor);
    const float *const g = (const float *)j->pooled->data + b * j->pooled->strides[0];
    j->kernels->spread(&dx, factor, (const float *const[]){g, g + j->pooled->strides[1]},
                       j->p->accumulate);
    close_map(&j->map, b, &dx, j->p->accumulate);
}

static bool pool(const equinv_context *ctx, const eqi_node_pool_problem *p,
                 const eqi_node_pool_args *a, equinv_task task)
{
    pool_job j = {kernels_of(ctx), p, a->pooled,
                  eqi_node_source_of(&a->map, a->mask, p->order == 2, false)};
    if (!suits(&j.map) || (p->channels > 1 && a->pooled->strides[2] != 1))
        return false;
    eqi_parallel_over(ctx, equinv_tensor_count(&a->map), p->batch, task, &j);
    return true;
}

static equinv_status pool_forward(const equinv_context *ctx, const eqi_node_pool_problem *p,
                                  const eqi_node_pool_args *a)
{
    return pool(ctx, p, a, pool_sample) ? EQUINV_OK : eqi_ref_node_pool_forward(ctx, p, a);
}

static equinv_status pool_backward(const equinv_context *ctx, const eqi_node_pool_problem *p,
                                   const eqi_node_pool_args *a)
{
    return pool(ctx, p, a, spread_sample) ? EQUINV_OK : eqi_ref_node_pool_backward(ctx, p, a);
}

static bool supports(const void *problem, const eqi_hardware *hardware, const char **why)
{
    (void)hardware;
    const eqi_node_pool_problem *const p = problem;
    return eqi_require(p->dtype == EQUINV_F32, why, "f32 only") &&
           eqi_require(p->kind != EQUINV_NODE_POOL_MAX, why, "mean and sum only");
}

const eqi_node_pool_implementation eqi_node_pool_fast = {
    {"node_pool/fast", supports, NULL}, pool_forward, pool_backward};
