/*
 * Normalisation of nodes and pairs in fp32, a sample at a time. diff_gamma and diff_beta are summed in fp32
 * over a sample and in double over the samples of a part of the batch; how many parts there are does not
 * depend on the threads.
 */
#include <string.h>

#include "cpu/ref/ref.h"
#include "internal/rows.h"
#include "sample.h"

enum { PARTS = 16, PART_VALUES = 1 << 16 };

static const eqi_node_norm_kernels *kernels_of(const eqi_hardware *hardware)
{
    static const eqi_node_norm_kernels *const kernels[] = {
        [EQI_ISA_SCALAR] = &eqi_node_norm_kernels_scalar,
#if defined(__x86_64__)
        [EQI_ISA_AVX2] = &eqi_node_norm_kernels_avx2,
        [EQI_ISA_AVX512] = &eqi_node_norm_kernels_avx512,
#endif
    };
    return kernels[hardware->isa];
}

static double values_of(const eqi_node_norm_problem *p)
{
    return (double)p->nodes * (double)(p->order == 2 ? p->nodes : 1) * (double)p->channels;
}

static int64_t part_count(const eqi_node_norm_problem *p)
{
    const double parts = (double)p->batch * values_of(p) / PART_VALUES;
    const int64_t most = p->batch < PARTS ? p->batch : PARTS;
    return parts < 1 || most < 1 ? 1 : parts < (double)most ? (int64_t)parts : most;
}

/* What all runners share: parameters [2][padded], sums of the parts [parts][2][channels]. */
static size_t shared_size(const eqi_node_norm_problem *p)
{
    return eqi_aligned(2 * (size_t)eqi_node_padded(p->channels) * sizeof(float)) +
           eqi_aligned(2 * (size_t)(part_count(p) * p->channels) * sizeof(double));
}

static size_t slice_size(const eqi_node_norm_problem *p)
{
    return 3 * eqi_node_room_size(p->nodes, p->order == 2, p->channels) +
           eqi_aligned(18 * (size_t)eqi_node_padded(p->channels) * sizeof(float));
}

typedef struct job {
    const eqi_node_norm_problem *p;
    const eqi_node_norm_kernels *kernels;
    eqi_node_norm_call call;
    eqi_node_source x, y, dx; /* y is diff_dst in backward */
    int64_t parts;
    double *sums;
} job;

static float *padded_parameter(const equinv_tensor *t, int64_t channels, float *to)
{
    memset(to, 0, (size_t)eqi_node_padded(channels) * sizeof(float));
    for (int64_t c = 0; c < channels; c++)
        to[c] = ((const float *)t->data)[c * t->strides[0]];
    return to;
}

static job job_of(const equinv_context *ctx, const eqi_node_norm_problem *p,
                  const eqi_node_norm_args *a)
{
    float *const parameters = a->scratch;
    const int64_t padded = eqi_node_padded(p->channels);
    const bool pairs = p->order == 2;
    return (job){
        .p = p,
        .kernels = kernels_of(&ctx->hardware),
        .call = {padded_parameter(a->gamma, p->channels, parameters),
                 padded_parameter(a->beta, p->channels, parameters + padded), (float)p->epsilon,
                 (float)p->slope},
        .x = eqi_node_source_of(&a->src, a->mask, pairs, false),
        .y = eqi_node_source_of(&a->dst, a->mask, pairs, false),
        .parts = part_count(p),
        .sums = (double *)((char *)a->scratch + eqi_aligned(2 * (size_t)padded * sizeof(float)))};
}

static void run_forward(const void *arg, int64_t first, int64_t count, void *memory)
{
    const job *const j = arg;
    const eqi_node_norm_problem *const p = j->p;
    char *slice = memory;
    const eqi_node_room in = eqi_node_room_at(p->nodes, j->x.pairs, p->channels, &slice);
    const eqi_node_room out = eqi_node_room_at(p->nodes, j->x.pairs, p->channels, &slice);
    for (int64_t b = first; b < first + count; b++) {
        const eqi_node_map x = eqi_node_open(&j->x, b, &in, true);
        const eqi_node_map y = eqi_node_open(&j->y, b, &out, false);
        if (x.there > 0)
            j->kernels->forward[p->kind == EQUINV_NODE_NORM_INSTANCE](&j->call, &x, &y);
        eqi_node_close(&j->y, b, &y, &out, false);
    }
}

static equinv_status forward(const equinv_context *ctx, const eqi_node_norm_problem *p,
                             const eqi_node_norm_args *a)
{
    const job j = job_of(ctx, p, a);
    if (!eqi_node_may_stage(&j.x) || !eqi_node_may_stage(&j.y))
        return eqi_ref_node_norm_forward(ctx, p, a);
    eqi_parallel_rows(ctx, p->batch, 16 * values_of(p), 1, run_forward, &j,
                      (char *)a->scratch + shared_size(p), slice_size(p));
    return EQUINV_OK;
}

static void run_backward(const void *arg, int64_t first, int64_t count, void *memory)
{
    const job *const j = arg;
    const eqi_node_norm_problem *const p = j->p;
    const int64_t padded = eqi_node_padded(p->channels);
    char *slice = memory;
    const eqi_node_room in = eqi_node_room_at(p->nodes, j->x.pairs, p->channels, &slice);
    const eqi_node_room behind = eqi_node_room_at(p->nodes, j->x.pairs, p->channels, &slice);
    const eqi_node_room out = eqi_node_room_at(p->nodes, j->x.pairs, p->channels, &slice);
    float *const sums = (float *)(void *)slice;
    for (int64_t part = first; part < first + count; part++) {
        double *const to = j->sums + 2 * part * p->channels;
        memset(to, 0, 2 * (size_t)p->channels * sizeof(double));
        const int64_t end = p->batch * (part + 1) / j->parts;
        for (int64_t b = p->batch * part / j->parts; b < end; b++) {
            const eqi_node_map x = eqi_node_open(&j->x, b, &in, true);
            const eqi_node_map g = eqi_node_open(&j->y, b, &behind, true);
            const eqi_node_map dx = eqi_node_open(&j->dx, b, &out, false);
            j->kernels->backward[p->kind == EQUINV_NODE_NORM_INSTANCE](&j->call, &x, &g, &dx, sums,
                                                                       sums + 2 * padded);
            eqi_node_close(&j->dx, b, &dx, &out, false);
            for (int64_t c = 0; c < p->channels; c++) {
                to[c] += (double)sums[c];
                to[p->channels + c] += (double)sums[padded + c];
            }
        }
    }
}

static equinv_status backward(const equinv_context *ctx, const eqi_node_norm_problem *p,
                              const eqi_node_norm_args *a)
{
    job j = job_of(ctx, p, a);
    j.dx = eqi_node_source_of(&a->diff_src, a->mask, p->order == 2, false);
    if (!eqi_node_may_stage(&j.x) || !eqi_node_may_stage(&j.y) || !eqi_node_may_stage(&j.dx))
        return eqi_ref_node_norm_backward(ctx, p, a);
    eqi_parallel_rows(ctx, j.parts, 32 * values_of(p) * (double)p->batch / (double)j.parts, 1,
                      run_backward, &j, (char *)a->scratch + shared_size(p), slice_size(p));
    const equinv_tensor *const to[2] = {a->diff_gamma, a->diff_beta};
    for (int k = 0; k < 2; k++)
        for (int64_t c = 0; to[k] && c < p->channels; c++) {
            double sum = 0;
            for (int64_t part = 0; part < j.parts; part++)
                sum += j.sums[(2 * part + k) * p->channels + c];
            eqi_put(to[k], c * to[k]->strides[0], sum, p->accumulate);
        }
    return EQUINV_OK;
}

static bool supports(const void *problem, const eqi_hardware *hardware, const char **why)
{
    (void)hardware;
    const eqi_node_norm_problem *const p = problem;
    return eqi_require(p->dtype == EQUINV_F32, why, "f32 only");
}

static equinv_status scratch_size(const eqi_node_norm_problem *p, const eqi_hardware *hardware,
                                  int64_t *size)
{
    const double most = 1024.0 * (PARTS + hardware->threads) * ((double)p->channels + 16) +
                        64.0 * hardware->threads * (double)p->nodes;
    EQI_CHECK(most < 4e18, SHAPE, "scratch has more than 2^63 bytes, expected a size that fits");
    int64_t ref;
    EQI_TRY(eqi_ref_node_norm_scratch_size(p, hardware, &ref));
    *size = (int64_t)(shared_size(p) + (size_t)hardware->threads * slice_size(p));
    *size = *size > ref ? *size : ref;
    return EQUINV_OK;
}

const eqi_node_norm_implementation eqi_node_norm_fast = {
    {"node_norm/fast", supports, NULL}, scratch_size, forward, backward};
