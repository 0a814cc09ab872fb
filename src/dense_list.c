#include "cpu/ref/ref.h"

static equinv_status no_scratch(const eqi_dense_problem *p, const eqi_hardware *hardware,
                                int64_t *size)
{
    (void)p;
    (void)hardware;
    *size = 0;
    return EQUINV_OK;
}

static const eqi_dense_implementation ref = {{"dense/ref", eqi_supports_all, NULL},
                                             no_scratch,
                                             eqi_ref_dense_forward,
                                             eqi_ref_dense_backward_data,
                                             eqi_ref_dense_backward_weights};

const eqi_implementation *const eqi_dense_list[] = {&eqi_dense_gemm.head, &ref.head, NULL};
