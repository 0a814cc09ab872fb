#include "cpu/ref/ref.h"

static const eqi_node_norm_implementation ref = {{"node_norm/ref", eqi_supports_all, NULL},
                                                 eqi_ref_node_norm_scratch_size,
                                                 eqi_ref_node_norm_forward,
                                                 eqi_ref_node_norm_backward};

const eqi_implementation *const eqi_node_norm_list[] = {&eqi_node_norm_fast.head, &ref.head, NULL};
