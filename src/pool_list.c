#include "cpu/isa/scalar/scalar.h"
#include "cpu/ref/ref.h"

/* What pool/fast reads in a blur. */
static void taps_of(const void *problem, int along, int64_t output, eqi_taps *taps)
{
    const eqi_pool_problem *const p = problem;
    const int axis = 1 + along;
    const eqi_range places =
        eqi_window_places(output, p->window[axis].kernel, p->window[axis].stride,
                          p->window[axis].padding, p->src[2 + axis]);
    taps->first = places.first;
    taps->count = places.last - places.first + 1;
    for (int64_t t = 0; t < taps->count; t++)
        taps->weight[t] = eqi_pool_weight(p, axis, output, places.first + t);
}

static size_t table_size(const eqi_pool_problem *p)
{
    return p->blur ? eqi_resampling_size(p->src, p->dst, p->window[1].kernel) : 0;
}

static void fill(const eqi_pool_problem *p, void *tables)
{
    if (p->blur)
        eqi_resampling_fill(p, taps_of, p->src, p->dst, p->window[1].kernel, tables);
}

static bool is_fast(const void *problem, const eqi_hardware *hardware, const char **why)
{
    (void)hardware;
    const eqi_pool_problem *const p = problem;
    return eqi_require(p->dtype == EQUINV_F32, why, "f32 only") &&
           eqi_require(!p->blur || (eqi_is_resampled(p->src) && eqi_is_resampled(p->dst)), why,
                       "images of at most 2^20 rows and columns only");
}

static const eqi_pool_implementation fast = {
    {"pool/fast", is_fast, NULL}, eqi_fast_pool_forward, eqi_fast_pool_backward, table_size, fill};
static const eqi_pool_implementation ref = {
    {"pool/ref", eqi_supports_all, NULL}, eqi_ref_pool_forward, eqi_ref_pool_backward, NULL, NULL};

const eqi_implementation *const eqi_pool_list[] = {&fast.head, &ref.head, NULL};
