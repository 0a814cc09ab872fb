#include "tests/util/dense.h"

equinv_dense_desc dense_random_desc(rng *r, equinv_dtype dtype)
{
    equinv_dense_desc d = EQUINV_DENSE_DESC_INIT;
    d.dtype = dtype;
    d.batch = rng_range(r, 0, 9);
    d.features_in = rng_range(r, 1, rng_range(r, 0, 3) ? 12 : 90);
    d.features_out = rng_range(r, 1, rng_range(r, 0, 3) ? 7 : 70);
    d.bias = rng_range(r, 0, 1);
    d.accumulate = rng_range(r, 0, 1);
    return d;
}
