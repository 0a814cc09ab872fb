#include "tests/util/optimizer.h"

#include <math.h>

const char *const optimizer_kinds[OPTIMIZER_KINDS] = {"sgd", "momentum", "adam"};

equinv_optimizer_desc optimizer_random_desc(rng *r, int kind)
{
    equinv_optimizer_desc d = EQUINV_OPTIMIZER_DESC_INIT;
    d.kind = kind < ADAM ? EQUINV_OPTIMIZER_SGD : EQUINV_OPTIMIZER_ADAM;
    d.learning_rate = (double)rng_range(r, 0, 10) / 50;
    d.momentum = kind == MOMENTUM ? (double)rng_range(r, 1, 9) / 10 : 0;
    d.beta1 = (double)rng_range(r, 0, 9) / 10;
    d.beta2 = 1 - ldexp(1, -(int)rng_range(r, 1, 10));
    d.epsilon = rng_range(r, 0, 1) ? 1e-8 : 0.25;
    d.weight_decay = rng_range(r, 0, 1) ? 0.125 : 0;
    return d;
}
