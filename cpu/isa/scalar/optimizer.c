#include <math.h>

#include "scalar.h"

typedef struct job {
    const eqi_update *update;
    const eqi_parameter_state *state;
} job;

#define REAL float
#define SQRT sqrtf
#define NAME(function) function##_f32
#include "cpu/kernel/optimizer.inc.c"
#undef REAL
#undef SQRT
#undef NAME
#define REAL double
#define SQRT sqrt
#define NAME(function) function##_f64
#include "cpu/kernel/optimizer.inc.c"

bool eqi_fast_optimizer_step(const equinv_context *ctx, const eqi_update *u,
                             const eqi_parameter_state *s)
{
    /* By the number of moments: none, a velocity, Adam's two. */
    static eqi_walk_task *const tasks[2][3] = {{sgd_f32, momentum_f32, adam_f32},
                                               {sgd_f64, momentum_f64, adam_f64}};
    const int moments = u->desc.kind == EQUINV_OPTIMIZER_ADAM ? 2 : s->first.data ? 1 : 0;
    const equinv_tensor *const tensors[4] = {&s->value, &s->gradient, &s->first, &s->second};
    const eqi_walk walk = eqi_walk_of(2 + moments, tensors, 0);
    if (!eqi_walk_is_unit(&walk))
        return false;
    job j = {u, s};
    eqi_walk_run(ctx, &walk, tasks[s->value.dtype == EQUINV_F64][moments], &j);
    return true;
}
