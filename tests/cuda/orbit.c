/* Orbit mean and orbit distances on CUDA against the CPU's reference. */
#include "tests/ops/projection_cases.h"
#include "tests/cuda/sides.h"

static equinv_tensor latents(sides *s, equinv_dtype dtype, int64_t batch, int64_t fields,
                             group_case c)
{
    const equinv_projection_desc d = desc_of(EQUINV_PROJECT_MAX, c, dtype, fields, 1, 0);
    return latents_of(s->cpu, &s->r, &d, batch);
}

/* Groups of the cases, then some with orbits of many members. */
static group_case case_of(int trial)
{
    const group_case more[] = {
        {equinv_cyclic(9), 1, 1}, {equinv_dihedral(33), 1, 1}, {equinv_cyclic(100), 1, 1}};
    return trial < GROUP_CASES ? group_cases[trial] : more[trial - GROUP_CASES];
}
enum { CASES = GROUP_CASES + 3 };

START_TEST(mean_equals_ref)
{
    sides s = sides_new(UINT64_C(5000) + (uint64_t)_i);
    for (int trial = 0; trial < 2 * CASES; trial++) {
        const group_case c = case_of(trial % CASES);
        const equinv_dtype dtype = trial < CASES ? EQUINV_F32 : EQUINV_F64;
        equinv_tensor src = latents(&s, dtype, rng_range(&s.r, 0, 11), rng_range(&s.r, 1, 4), c);
        equinv_tensor dst = tensor_like(s.cpu, &src);
        cuda_laid from = sides_place(&s, &src, _i), to = sides_place(&s, &dst, _i);
        OK(equinv_orbit_mean(s.cpu, c.group, &src, &dst));
        OK(equinv_orbit_mean(s.gpu, c.group, &from.view, &to.view));
        equinv_tensor got = sides_take(&s, &to);
        ASSERT_CLOSE(&got, &dst, dtype == EQUINV_F32 ? 1e-6 : 1e-14);
        cuda_laid_free(s.gpu, &from);
        cuda_laid_free(s.gpu, &to);
        equinv_tensor_destroy(s.cpu, &got);
        equinv_tensor_destroy(s.cpu, &src);
        equinv_tensor_destroy(s.cpu, &dst);
    }
    sides_free(&s);
}
END_TEST

/* Distances and elements of both sides; the elements must be the same. */
static void compare(sides *s, equinv_group group, const equinv_tensor *x, const equinv_tensor *y,
                    bool strided, bool with_elements)
{
    const int64_t a = x->shape[0], b = y->shape[0];
    equinv_tensor distance = tensor_new(s->cpu, x->dtype, 2, a, b);
    equinv_tensor element = tensor_new(s->cpu, EQUINV_I32, 2, a, b);
    cuda_laid on_x = sides_place(s, x, strided), on_y = sides_place(s, y, strided);
    cuda_laid to = sides_place(s, &distance, strided), nearest = sides_place(s, &element, strided);
    OK(equinv_orbit_distance(s->cpu, group, x, y, &distance, with_elements ? &element : NULL));
    OK(equinv_orbit_distance(s->gpu, group, &on_x.view, &on_y.view, &to.view,
                             with_elements ? &nearest.view : NULL));
    equinv_tensor got = sides_take(s, &to), at = sides_take(s, &nearest);
    ASSERT_CLOSE(&got, &distance, x->dtype == EQUINV_F32 ? 1e-6 : 1e-14);
    ASSERT_SAME(&at, &element);
    cuda_laid *const all[] = {&on_x, &on_y, &to, &nearest};
    for (int i = 0; i < 4; i++)
        cuda_laid_free(s->gpu, all[i]);
    equinv_tensor_destroy(s->cpu, &got);
    equinv_tensor_destroy(s->cpu, &at);
    equinv_tensor_destroy(s->cpu, &distance);
    equinv_tensor_destroy(s->cpu, &element);
}

START_TEST(distance_equals_ref)
{
    sides s = sides_new(UINT64_C(5100) + (uint64_t)_i);
    for (int trial = 0; trial < 2 * CASES; trial++) {
        const group_case c = case_of(trial % CASES);
        const equinv_dtype dtype = trial < CASES ? EQUINV_F32 : EQUINV_F64;
        const int64_t fields = rng_range(&s.r, 1, 3);
        equinv_tensor x = latents(&s, dtype, rng_range(&s.r, 0, 5), fields, c);
        equinv_tensor y = latents(&s, dtype, rng_range(&s.r, 0, 20), fields, c);
        compare(&s, c.group, &x, &y, _i, trial % 3 > 0);
        equinv_tensor_destroy(s.cpu, &x);
        equinv_tensor_destroy(s.cpu, &y);
    }
    sides_free(&s);
}
END_TEST

START_TEST(distance_of_several_tiles)
{
    /* Enough pairs for tiles of 32 x 32, with a rest on both sides. */
    sides s = sides_new(5200);
    const group_case c = {equinv_cyclic(2), 1, 3};
    equinv_tensor x = latents(&s, EQUINV_F32, 70, 1, c), y = latents(&s, EQUINV_F32, 99, 1, c);
    compare(&s, c.group, &x, &y, false, true);
    equinv_tensor_destroy(s.cpu, &x);
    equinv_tensor_destroy(s.cpu, &y);
    sides_free(&s);
}
END_TEST

START_TEST(ties_nan_and_turned_copies)
{
    sides s = sides_new(UINT64_C(5300) + (uint64_t)_i);
    const group_case c = group_cases[_i % 2 ? 16 : 9];
    for (int trial = 0; trial < 11; trial++) {
        const int32_t g = (int32_t)rng_range(&s.r, 0, order_of(c.group) - 1);
        equinv_tensor y = latents(&s, _i / 2 ? EQUINV_F32 : EQUINV_F64, 3, 2, c);
        for (int64_t i = 0; i < equinv_tensor_count(&y); i++)
            tensor_set(&y, i, (double)rng_range(&s.r, 0, trial % 2)); /* all are equal: g = 0 */
        if (trial > 6) /* NaN for g, infinity for others: NaN wins */
            tensor_set(&y, 2, (double)INFINITY);
        equinv_tensor x = acted(s.cpu, c.group, g, &y);
        if (trial == 6) /* for all elements: the lowest one */
            tensor_set(&y, 1, (double)NAN);
        compare(&s, c.group, &x, &y, false, true);
        equinv_tensor_destroy(s.cpu, &x);
        equinv_tensor_destroy(s.cpu, &y);
    }
    sides_free(&s);
}
END_TEST

START_TEST(sorted_distance_equals_ref)
{
    static const int64_t lengths[] = {1, 2, 3, 7, 8, 31, 33, 63, 64};
    sides s = sides_new(UINT64_C(5400) + (uint64_t)_i);
    for (int trial = 0; trial < 18; trial++) {
        const equinv_dtype dtype = _i ? EQUINV_F32 : EQUINV_F64;
        const int64_t n = lengths[trial / 2], a = trial == 5 ? 35 : rng_range(&s.r, 0, 4);
        equinv_tensor x = tensor_random(s.cpu, &s.r, dtype, 3, a, n, 1);
        equinv_tensor y = tensor_random(s.cpu, &s.r, dtype, 3, trial == 5 ? 33 : 3, n, 1);
        if (trial % 5 == 4)
            tensor_set(&y, 0, (double)NAN);
        compare(&s, equinv_symmetric(), &x, &y, trial % 2, false);
        equinv_tensor_destroy(s.cpu, &x);
        equinv_tensor_destroy(s.cpu, &y);
    }
    sides_free(&s);
}
END_TEST

START_TEST(more_rows_are_declined)
{
    sides s = sides_new(5500);
    equinv_tensor x = tensor_new(s.gpu, EQUINV_F32, 3, 2, 65, 1);
    equinv_tensor distance = tensor_new(s.gpu, EQUINV_F32, 2, 2, 2);
    equinv_tensor y = tensor_new(s.gpu, EQUINV_F32, 3, 2, 65, 1);
    FAILS(EQUINV_ERR_UNSUPPORTED, "x has 65 rows, expected at most 64",
          equinv_orbit_distance(s.gpu, equinv_symmetric(), &x, &y, &distance, NULL));
    equinv_tensor_destroy(s.gpu, &x);
    equinv_tensor_destroy(s.gpu, &y);
    equinv_tensor_destroy(s.gpu, &distance);
    sides_free(&s);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {mean_equals_ref, 2},
        {distance_equals_ref, 2},
        {distance_of_several_tiles, 1},
        {ties_nan_and_turned_copies, 4},
        {sorted_distance_equals_ref, 2},
        {more_rows_are_declined, 1},
    };
    return run_cuda_tests("cuda/orbit", tests, sizeof tests / sizeof *tests);
}
