/* One update of one parameter. */
#ifndef EQI_OPTIMIZER_H
#define EQI_OPTIMIZER_H

#include "tensor.h"

/* A parameter and its moments: velocity, or Adam's first and second; those not kept have no data. */
typedef struct eqi_parameter_state {
    equinv_tensor value, gradient, first, second;
    const char *name; /* NULL: none */
} eqi_parameter_state;

typedef struct eqi_update {
    equinv_optimizer_desc desc;
    double correction1, correction2; /* Adam: 1 - beta^t */
} eqi_update;

struct equinv_optimizer {
    equinv_context *ctx;
    eqi_update update;
    int64_t steps;
    int64_t count;
    size_t size; /* of the next, with the names behind the states */
    eqi_parameter_state *states;
};

#endif
