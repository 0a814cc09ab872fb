#include "cpu/ref/ref.h"

static const eqi_node_linear_implementation ref = {
    {"node_linear/ref", eqi_supports_all, NULL},
    eqi_ref_node_linear_scratch_size,
    eqi_ref_node_linear_forward,
    eqi_ref_node_linear_backward_data,
    eqi_ref_node_linear_backward_weights,
};

const eqi_implementation *const eqi_node_linear_list[] = {&eqi_node_linear_gemm.head, &ref.head,
                                                          NULL};
