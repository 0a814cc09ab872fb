/*
 * Between latents and their sums over orbits, for one element type: the includer sets REAL and
 * NAME(x). member[p |G| + h] is where member h of the orbit of pixel p stands inside a field.
 */

/*
 * to[f, p] = sum over the orbit of (f, e, p), for `count` pixels from number `first` on, row-major over
 * all fields. A few members are summed as they are, many in double.
 */
static inline __attribute__((always_inline)) void
NAME(fold_orbits)(const REAL *z, int64_t field_step, const int64_t *member, int64_t pixels,
                  int64_t first, int64_t count, const int32_t order, const bool few, REAL *to)
{
    int64_t p = first % pixels;
    z += first / pixels * field_step;
    while (count > 0) {
        const int64_t run = pixels - p < count ? pixels - p : count;
        const int64_t *m = member + p * order;
        for (int64_t i = 0; i < run; i++, m += order) {
            REAL sum = z[m[0]];
            double wide = (double)sum;
            for (int32_t h = 1; h < order; h++) {
                if (few)
                    sum += z[m[h]];
                else
                    wide += (double)z[m[h]];
            }
            to[i] = few ? sum : (REAL)wide;
        }
        to += run;
        count -= run;
        z += field_step;
        p = 0;
    }
}

static void NAME(fold)(const REAL *z, int64_t field_step, const int64_t *member, int64_t pixels,
                       int64_t first, int64_t count, int32_t order, REAL *to)
{
    switch (order) {
    case 1: NAME(fold_orbits)(z, field_step, member, pixels, first, count, 1, true, to); break;
    case 2: NAME(fold_orbits)(z, field_step, member, pixels, first, count, 2, true, to); break;
    case 4: NAME(fold_orbits)(z, field_step, member, pixels, first, count, 4, true, to); break;
    case 8: NAME(fold_orbits)(z, field_step, member, pixels, first, count, 8, true, to); break;
    default: NAME(fold_orbits)(z, field_step, member, pixels, first, count, order, false, to);
    }
}

/* The adjoint: every member of an orbit gets, or is added, its number. */
static void NAME(unfold)(const REAL *from, int64_t field_step, const int64_t *member,
                         int64_t pixels, int64_t first, int64_t count, int32_t order,
                         bool accumulate, REAL *z)
{
    int64_t p = first % pixels;
    z += first / pixels * field_step;
    for (int64_t i = 0; i < count; i++) {
        const int64_t *const m = member + p * order;
        for (int32_t h = 0; h < order; h++)
            z[m[h]] = accumulate ? z[m[h]] + from[i] : from[i];
        if (++p == pixels) {
            p = 0;
            z += field_step;
        }
    }
}
