#include "cpu/ref/ref.h"

static const eqi_node_pool_implementation ref = {{"node_pool/ref", eqi_supports_all, NULL},
                                                 eqi_ref_node_pool_forward,
                                                 eqi_ref_node_pool_backward};

const eqi_implementation *const eqi_node_pool_list[] = {&eqi_node_pool_fast.head, &ref.head, NULL};
