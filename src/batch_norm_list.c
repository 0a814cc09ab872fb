#include "cpu/isa/scalar/scalar.h"
#include "cpu/ref/ref.h"

static bool is_f32(const void *problem, const eqi_hardware *hardware, const char **why)
{
    (void)hardware;
    const eqi_batch_norm_problem *const p = problem;
    return eqi_require(p->dtype == EQUINV_F32, why, "f32 only");
}

static const eqi_batch_norm_implementation fast = {
    {"batch_norm/fast", is_f32, NULL}, EQI_FAST_BATCH_NORM_NUMBERS,
    EQI_FAST_BATCH_NORM_FIELD_NUMBERS, eqi_fast_batch_norm_forward_train,
    eqi_fast_batch_norm_forward_eval,  eqi_fast_batch_norm_backward_train,
    eqi_fast_batch_norm_backward_eval,
};
static const eqi_batch_norm_implementation ref = {
    {"batch_norm/ref", eqi_supports_all, NULL},
    0,
    0,
    eqi_ref_batch_norm_forward_train,
    eqi_ref_batch_norm_forward_eval,
    eqi_ref_batch_norm_backward_train,
    eqi_ref_batch_norm_backward_eval,
};

const eqi_implementation *const eqi_batch_norm_list[] = {&fast.head, &ref.head, NULL};
