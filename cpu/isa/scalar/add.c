#include "scalar.h"

typedef struct job {
    const equinv_tensor *a, *b, *dst;
} job;

#define REAL float
#define NAME(function) function##_f32
#include "cpu/kernel/add.inc.c"
#undef REAL
#undef NAME
#define REAL double
#define NAME(function) function##_f64
#include "cpu/kernel/add.inc.c"

bool eqi_fast_add(const equinv_context *ctx, const equinv_tensor *a, const equinv_tensor *b,
                  const equinv_tensor *dst)
{
    job j = {a, b, dst};
    const eqi_walk walk = eqi_walk_of(3, (const equinv_tensor *const[]){dst, a, b}, 0);
    if (!eqi_walk_is_unit(&walk))
        return false;
    eqi_walk_run(ctx, &walk, a->dtype == EQUINV_F32 ? add_f32 : add_f64, &j);
    return true;
}
