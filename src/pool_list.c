#include "cpu/isa/scalar/scalar.h"
#include "cpu/ref/ref.h"

static bool is_f32(const void *problem, const eqi_hardware *hardware, const char **why)
{
    (void)hardware;
    const eqi_pool_problem *const p = problem;
    return eqi_require(p->dtype == EQUINV_F32, why, "f32 only");
}

static const eqi_pool_implementation fast = {
    {"pool/fast", is_f32}, eqi_fast_pool_forward, eqi_fast_pool_backward};
static const eqi_pool_implementation ref = {
    {"pool/ref", eqi_supports_all}, eqi_ref_pool_forward, eqi_ref_pool_backward};

const eqi_implementation *const eqi_pool_list[] = {&fast.head, &ref.head, NULL};
