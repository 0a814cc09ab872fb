#include "cpu/ref/ref.h"

static const eqi_node_norm_implementation ref = {{"node-norm/ref", eqi_supports_all},
                                                 eqi_ref_node_norm_scratch_size,
                                                 eqi_ref_node_norm_forward,
                                                 eqi_ref_node_norm_backward};

const eqi_implementation *const eqi_node_norm_list[] = {&ref.head, NULL};
