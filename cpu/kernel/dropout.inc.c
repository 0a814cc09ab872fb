/* Rows of dropout; REAL is the element type, NAME makes a function's name for it. */

/* A run of one field. */
static void NAME(field)(const job *j, const int64_t *at, bool dropped)
{
    REAL *const dst = (REAL *)j->dst->data + at[0];
    const REAL *const src = (const REAL *)j->src->data + at[1];
    const int64_t count = eqi_walk_length(&j->walk);
    const REAL scale = (REAL)(1 / (1 - j->p));
    if (dropped) {
#pragma omp simd
        for (int64_t i = 0; i < count; i++)
            dst[i] = 0;
    } else {
#pragma omp simd
        for (int64_t i = 0; i < count; i++)
            dst[i] = src[i] * scale;
    }
}

/* A run of fields. */
static void NAME(lanes)(const job *j, const int64_t *at, const int32_t *dropped, int64_t count)
{
    REAL *const dst = (REAL *)j->dst->data + at[0];
    const REAL *const src = (const REAL *)j->src->data + at[1];
    const REAL scale = (REAL)(1 / (1 - j->p));
#pragma omp simd
    for (int64_t i = 0; i < count; i++) {
        const REAL kept = src[i] * scale;
        dst[i] = dropped[i] ? 0 : kept;
    }
}
