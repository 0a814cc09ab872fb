/* One update of one parameter. */
#ifndef EQI_OPTIMIZER_H
#define EQI_OPTIMIZER_H

#include "tensor.h"

/* A parameter and its moments: velocity, or Adam's first and second; those not kept have no data. */
typedef struct eqi_parameter_state {
    equinv_tensor value, gradient, first, second;
} eqi_parameter_state;

typedef struct eqi_update {
    equinv_optimizer_desc desc;
    double correction1, correction2; /* Adam: 1 - beta^t */
} eqi_update;

#endif
