/* A row of the sum; REAL is the element type, NAME makes a function's name for it. */

static void NAME(add)(void *arg, const int64_t *at, int64_t count)
{
    const job *const j = arg;
    REAL *const dst = (REAL *)j->dst->data + at[0];
    const REAL *const a = (const REAL *)j->a->data + at[1];
    const REAL *const b = (const REAL *)j->b->data + at[2];
#pragma omp simd
    for (int64_t i = 0; i < count; i++)
        dst[i] = a[i] + b[i];
}
