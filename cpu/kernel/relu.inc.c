/* Rows of ReLU and its gradient; REAL is the element type, NAME makes a function's name for it. */

/*
 * Two selections and a product with the slope, no branch: x or 0, plus slope times 0 or x. With slope 0
 * the second term is left out, because 0 times -Inf would be NaN.
 */
static void NAME(forward)(void *arg, const int64_t *at, int64_t count)
{
    const job *const j = arg;
    REAL *const dst = (REAL *)j->dst->data + at[0];
    const REAL *const src = (const REAL *)j->src->data + at[1];
    const REAL slope = (REAL)j->slope;
    if (slope > 0) {
#pragma omp simd
        for (int64_t i = 0; i < count; i++) {
            const REAL x = src[i];
            dst[i] = (x < 0 ? 0 : x) + slope * (x < 0 ? x : 0);
        }
    } else {
#pragma omp simd
        for (int64_t i = 0; i < count; i++) {
            const REAL x = src[i];
            dst[i] = x < 0 ? 0 : x;
        }
    }
}

static void NAME(backward)(void *arg, const int64_t *at, int64_t count)
{
    const job *const j = arg;
    REAL *const diff_src = (REAL *)j->dst->data + at[0];
    const REAL *const src = (const REAL *)j->src->data + at[1];
    const REAL *const diff_dst = (const REAL *)j->diff_dst->data + at[2];
    const REAL slope = (REAL)j->slope;
    if (slope > 0) {
#pragma omp simd
        for (int64_t i = 0; i < count; i++) {
            const REAL x = src[i], d = diff_dst[i];
            diff_src[i] = (x > 0 ? d : 0) + slope * (x > 0 ? 0 : d);
        }
    } else {
#pragma omp simd
        for (int64_t i = 0; i < count; i++) {
            const REAL x = src[i], d = diff_dst[i];
            diff_src[i] = x > 0 ? d : 0;
        }
    }
}
