/*
 * Implementation conv/gfourier: forward, backward weights, and backward data at stride 1 in the Fourier
 * form; backward data with a stride goes to conv/gemm, whose plan and packed filter are kept beside.
 */
#include "cuda/bias_gradient.cuh"
#include "cuda/gfourier.cuh"
#include "cuda/operations.cuh"

#define SHARED_LEAST (size_t(64) << 10) /* that a block can have on any device from 7.5 on */

typedef struct gfourier_plan {
    eqi_gf_pass forward, backward;
    eqi_gf_weights weights;
    bool has_backward, has_weights;      /* else gemm's serve */
    size_t backward_filter, gemm_packed; /* offsets in the packed buffer, bytes */
    size_t filter_room;                  /* at the start of scratch */
    eqi_conv_plan gemm;                  /* its tables follow */
} gfourier_plan;

static bool fits(const eqi_conv_problem *p)
{
    const eqi_gf_limits any = {0, SHARED_LEAST};
    eqi_gf_pass pass;
    return eqi_gf_pass_of(p, false, any, &pass) &&
           (!eqi_gf_adjoint_is_conv(p) || eqi_gf_pass_of(p, true, any, &pass));
}

static bool supports(const void *problem, const eqi_hardware *hardware, const char **why)
{
    const eqi_conv_problem *const p = static_cast<const eqi_conv_problem *>(problem);
    const equinv_conv_desc *const d = &p->desc;
    eqi_gf_kind kind;
    return eqi_require(d->dtype == EQUINV_F32, why, "f32 only") &&
           eqi_require(eqi_gf_kind_of(d->group, false, &kind), why,
                       "the group has one element: nothing to gain") &&
           eqi_require(d->channel_groups == 1, why, "one channel group only") &&
           eqi_require(d->kernel <= EQI_GF_KERNEL, why, "kernels up to 16 only") &&
           eqi_cuda_conv_gemm.head.supports(problem, hardware, why) &&
           eqi_require(fits(p), why, "a window of src is too large for shared memory");
}

static size_t table_size(const eqi_conv_problem *p, const eqi_hardware *hardware)
{
    return sizeof(gfourier_plan) + eqi_cuda_conv_gemm.table_size(p, hardware);
}

static void prepare(eqi_conv_plan *plan)
{
    const eqi_conv_problem *const p = &plan->problem;
    const equinv_context *const ctx = plan->head.ctx;
    gfourier_plan *const g = static_cast<gfourier_plan *>(plan->tables);
    const eqi_gf_limits limits = {eqi_cuda(ctx)->multiprocessors, eqi_cuda(ctx)->shared_bytes};
    *g = {};
    g->gemm = *plan;
    g->gemm.implementation = &eqi_cuda_conv_gemm;
    g->gemm.tables = g + 1;
    eqi_cuda_conv_gemm.prepare(&g->gemm);
    eqi_gf_pass_of(p, false, limits, &g->forward);
    eqi_gf_pass_allow(ctx, &g->forward);
    g->backward_filter = g->gemm_packed = g->filter_room = eqi_gf_filter_size(&g->forward);
    g->has_backward = eqi_gf_adjoint_is_conv(p);
    if (g->has_backward) {
        eqi_gf_pass_of(p, true, limits, &g->backward);
        eqi_gf_pass_allow(ctx, &g->backward);
        const size_t filter = eqi_gf_filter_size(&g->backward);
        g->gemm_packed += filter;
        g->filter_room = filter > g->filter_room ? filter : g->filter_room;
    }
    g->has_weights = eqi_gf_weights_of(p, limits, &g->weights);
    if (g->has_weights)
        eqi_gf_weights_allow(ctx, &g->weights);
    plan->head.packed_size = g->gemm_packed + (g->has_backward ? 0 : g->gemm.head.packed_size);
    plan->head.scratch_size =
        g->gemm.head.scratch_size > g->filter_room ? g->gemm.head.scratch_size : g->filter_room;
}

static const gfourier_plan *of(const eqi_conv_plan *plan)
{
    return static_cast<const gfourier_plan *>(plan->tables);
}

static equinv_status pack(const eqi_conv_plan *plan, const equinv_tensor *psi, void *packed)
{
    const gfourier_plan *const g = of(plan);
    const equinv_context *const ctx = plan->head.ctx;
    char *const to = static_cast<char *>(packed);
    EQI_TRY(eqi_gf_pack(ctx, &g->forward, false, psi, reinterpret_cast<float *>(to)));
    return g->has_backward ? eqi_gf_pack(ctx, &g->backward, true, psi,
                                         reinterpret_cast<float *>(to + g->backward_filter))
                           : eqi_cuda_conv_gemm.pack(&g->gemm, psi, to + g->gemm_packed);
}

/* The filter of a pass: the caller's, or made from psi at the start of scratch. */
static equinv_status filter_of(const eqi_conv_plan *plan, const eqi_conv_weights *weights,
                               bool adjoint, void *scratch, const float **filter)
{
    const gfourier_plan *const g = of(plan);
    float *const room = static_cast<float *>(scratch);
    if (weights->packed) {
        const char *const packed = static_cast<const char *>(weights->packed);
        *filter = reinterpret_cast<const float *>(packed + (adjoint ? g->backward_filter : 0));
        return EQUINV_OK;
    }
    *filter = room;
    return eqi_gf_pack(plan->head.ctx, adjoint ? &g->backward : &g->forward, adjoint, &weights->psi,
                       room);
}

static equinv_status forward(const eqi_conv_plan *plan, const equinv_tensor *src,
                             const eqi_conv_weights *weights, const equinv_tensor *bias,
                             const equinv_tensor *dst, void *scratch)
{
    const float *filter;
    EQI_TRY(filter_of(plan, weights, false, scratch, &filter));
    return eqi_gf_pass_run(plan->head.ctx, &of(plan)->forward, src, filter, bias, dst);
}

static equinv_status backward_data(const eqi_conv_plan *plan, const equinv_tensor *diff_dst,
                                   const eqi_conv_weights *weights, const equinv_tensor *bias,
                                   const equinv_tensor *diff_src, void *scratch)
{
    const gfourier_plan *const g = of(plan);
    const float *filter;
    if (!g->has_backward) {
        eqi_conv_weights w = *weights;
        if (w.packed)
            w.packed = static_cast<const char *>(w.packed) + g->gemm_packed;
        return eqi_cuda_conv_gemm.backward_data(&g->gemm, diff_dst, &w, bias, diff_src, scratch);
    }
    EQI_TRY(filter_of(plan, weights, true, scratch, &filter));
    return eqi_gf_pass_run(plan->head.ctx, &g->backward, diff_dst, filter, bias, diff_src);
}

static equinv_status backward_weights(const eqi_conv_plan *plan, const equinv_tensor *src,
                                      const equinv_tensor *diff_dst, const equinv_tensor *diff_psi,
                                      const equinv_tensor *diff_bias, void *scratch)
{
    const gfourier_plan *const g = of(plan);
    const equinv_context *const ctx = plan->head.ctx;
    if (!g->has_weights)
        return eqi_cuda_conv_gemm.backward_weights(&g->gemm, src, diff_dst, diff_psi, diff_bias,
                                                   scratch);
    EQI_TRY(eqi_gf_weights_run(ctx, &g->weights, src, diff_dst, diff_psi, scratch));
    return diff_bias
               ? eqi_bias_gradient(ctx, diff_dst, diff_bias, plan->problem.desc.accumulate, scratch)
               : EQUINV_OK;
}

static equinv_status transposed_bias(const eqi_conv_plan *plan, const equinv_tensor *map,
                                     const equinv_tensor *diff_bias, void *scratch)
{
    return eqi_cuda_conv_gemm.transposed_bias(&of(plan)->gemm, map, diff_bias, scratch);
}

const eqi_conv_implementation eqi_cuda_conv_gfourier = {
    {"conv/gfourier", supports, NULL},
    table_size,
    prepare,
    pack,
    forward,
    backward_data,
    backward_weights,
    transposed_bias,
    nullptr,
    nullptr,
};
