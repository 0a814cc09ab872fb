#include "cpu/isa/scalar/scalar.h"
#include "cpu/ref/ref.h"

/* Above that an input has more readers than a stencil holds. */
enum { SCALE = 16 };

static void taps_of(const void *problem, int along, int64_t output, eqi_taps *taps)
{
    const eqi_upsample_problem *const p = problem;
    const eqi_between b = eqi_upsample_between(p, p->src[3 + along], output);
    taps->first = b.low;
    taps->count = b.weight > 0 ? 2 : 1;
    taps->weight[0] = 1 - b.weight;
    taps->weight[1] = b.weight;
}

static size_t table_size(const eqi_upsample_problem *p)
{
    return eqi_resampling_size(p->src, p->dst, 2);
}

static void fill(const eqi_upsample_problem *p, void *tables)
{
    eqi_resampling_fill(p, taps_of, p->src, p->dst, 2, tables);
}

static bool is_fast(const void *problem, const eqi_hardware *hardware, const char **why)
{
    (void)hardware;
    const eqi_upsample_problem *const p = problem;
    return eqi_require(p->dtype == EQUINV_F32, why, "f32 only") &&
           eqi_require(p->scale <= SCALE, why, "scales up to 16 only") &&
           eqi_require(eqi_is_resampled(p->dst), why, "at most 2^20 rows and columns only");
}

static equinv_status forward(const equinv_context *ctx, const eqi_upsample_problem *p,
                             const equinv_tensor *src, const equinv_tensor *dst)
{
    const eqi_resampling *const r = p->tables;
    return eqi_fast_resample(ctx, r->forward, src, dst, false)
               ? EQUINV_OK
               : eqi_ref_upsample_forward(ctx, p, src, dst);
}

static equinv_status backward(const equinv_context *ctx, const eqi_upsample_problem *p,
                              const equinv_tensor *diff_dst, const equinv_tensor *diff_src)
{
    const eqi_resampling *const r = p->tables;
    return eqi_fast_resample(ctx, r->backward, diff_dst, diff_src, p->accumulate)
               ? EQUINV_OK
               : eqi_ref_upsample_backward(ctx, p, diff_dst, diff_src);
}

static const eqi_upsample_implementation fast = {
    {"upsample/fast", is_fast, NULL}, forward, backward, table_size, fill};
static const eqi_upsample_implementation ref = {{"upsample/ref", eqi_supports_all, NULL},
                                                eqi_ref_upsample_forward,
                                                eqi_ref_upsample_backward,
                                                NULL,
                                                NULL};

const eqi_implementation *const eqi_upsample_list[] = {&fast.head, &ref.head, NULL};
