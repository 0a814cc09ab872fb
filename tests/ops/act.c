/* The action on images and fields, against its formula with coordinates and plane matrices. */
#include <math.h>

#include "tests/util/test.h"

static const equinv_group grid[] = {
    {EQUINV_GROUP_CYCLIC, 1},   {EQUINV_GROUP_CYCLIC, 2},   {EQUINV_GROUP_CYCLIC, 4},
    {EQUINV_GROUP_DIHEDRAL, 1}, {EQUINV_GROUP_DIHEDRAL, 2}, {EQUINV_GROUP_DIHEDRAL, 4},
};
enum { GRID = sizeof grid / sizeof *grid };

/* Groups with elements off the grid. */
static const equinv_group off_grid[] = {
    {EQUINV_GROUP_CYCLIC, 3},   {EQUINV_GROUP_CYCLIC, 8},   {EQUINV_GROUP_CYCLIC, 12},
    {EQUINV_GROUP_DIHEDRAL, 3}, {EQUINV_GROUP_DIHEDRAL, 8}, {EQUINV_GROUP_DIHEDRAL, 6},
};
enum { OFF_GRID = sizeof off_grid / sizeof *off_grid };

static const equinv_dtype dtypes[] = {EQUINV_F32, EQUINV_F64, EQUINV_I32, EQUINV_U8, EQUINV_U32};
enum { DTYPES = sizeof dtypes / sizeof *dtypes };

static int32_t order_of(equinv_group g)
{
    return g.kind == EQUINV_GROUP_DIHEDRAL ? 2 * g.n : g.n;
}

/* Written here anew from the convention: r^k counter-clockwise, f = diag(-1, 1) first, x right, y up. */
static void plane(equinv_group g, int32_t element, double m[4])
{
    const double pi = 3.14159265358979323846;
    const double angle = 2 * pi * (element % g.n) / g.n, f = element >= g.n ? -1 : 1;
    m[0] = f * cos(angle), m[1] = -sin(angle);
    m[2] = f * sin(angle), m[3] = cos(angle);
}

/* The inverse of an orthogonal matrix is its transpose. */
static void transpose(const double m[4], double t[4])
{
    t[0] = m[0], t[1] = m[2], t[2] = m[1], t[3] = m[3];
}

/* The element whose matrix is a b. */
static int32_t element_of_product(equinv_group g, const double a[4], const double b[4])
{
    const double ab[4] = {a[0] * b[0] + a[1] * b[2], a[0] * b[1] + a[1] * b[3],
                          a[2] * b[0] + a[3] * b[2], a[2] * b[1] + a[3] * b[3]};
    for (int32_t e = 0; e < order_of(g); e++) {
        double m[4], difference = 0;
        plane(g, e, m);
        for (int i = 0; i < 4; i++)
            difference = fmax(difference, fabs(m[i] - ab[i]));
        if (difference < 1e-9)
            return e;
    }
    ck_abort_msg("the product of two elements is no element");
    return -1;
}

static bool swaps_axes(equinv_group g, int32_t element)
{
    double m[4];
    plane(g, element, m);
    return fabs(m[0]) < 1e-9; /* x goes to y */
}

static int64_t index5(const equinv_tensor *t, int64_t n, int64_t f, int64_t g, int64_t y, int64_t x)
{
    return (((n * t->shape[1] + f) * t->shape[2] + g) * t->shape[3] + y) * t->shape[4] + x;
}

/* Checks (g.z)[h, x] = z[g^-1 h, g^-1 x] element by element. */
static void check_formula(equinv_group g, int32_t element, const equinv_tensor *src,
                          const equinv_tensor *dst)
{
    const int64_t height = src->shape[3], width = src->shape[4];
    double m[4], inverse[4], mh[4];
    plane(g, element, m);
    transpose(m, inverse);
    int64_t wrong = 0;
    for (int32_t h = 0; h < src->shape[2]; h++) {
        plane(g, h, mh);
        const int32_t from = src->shape[2] == 1 ? 0 : element_of_product(g, inverse, mh);
        for (int64_t row = 0; row < dst->shape[3]; row++)
            for (int64_t column = 0; column < dst->shape[4]; column++) {
                const double x = (double)column - ((double)dst->shape[4] - 1) / 2;
                const double y = -((double)row - ((double)dst->shape[3] - 1) / 2);
                const double px = inverse[0] * x + inverse[1] * y;
                const double py = inverse[2] * x + inverse[3] * y;
                const int64_t from_column = lround(px + ((double)width - 1) / 2);
                const int64_t from_row = lround(((double)height - 1) / 2 - py);
                for (int64_t n = 0; n < src->shape[0]; n++)
                    for (int64_t f = 0; f < src->shape[1]; f++)
                        wrong += tensor_get(dst, index5(dst, n, f, h, row, column)) !=
                                 tensor_get(src, index5(src, n, f, from, from_row, from_column));
            }
    }
    ck_assert_msg(wrong == 0, "%d elements differ for element %d of %c%d on %d x %d", (int)wrong,
                  (int)element, g.kind == EQUINV_GROUP_CYCLIC ? 'C' : 'D', (int)g.n, (int)height,
                  (int)width);
}

/* dst of a fresh act, row-major. */
static equinv_tensor acted(equinv_context *ctx, equinv_group g, int32_t element,
                           const equinv_tensor *src)
{
    int64_t shape[5];
    memcpy(shape, src->shape, sizeof shape);
    if (swaps_axes(g, element))
        shape[3] = src->shape[4], shape[4] = src->shape[3];
    equinv_tensor dst;
    OK(equinv_tensor_create(ctx, src->dtype, 5, shape, &dst));
    OK(equinv_act(ctx, g, element, src, &dst));
    return dst;
}

/* Every element of every grid group, all dtypes, regular and trivial fields, odd and even, non-square. */
START_TEST(the_formula_on_images)
{
    equinv_context *const ctx = context_new();
    const equinv_group g = grid[_i];
    for (uint64_t seed = 0; seed < share_of(60); seed++) {
        rng r = {seed * 64 + (uint64_t)_i};
        const int n = (int)rng_range(&r, 0, 2), f = (int)rng_range(&r, 1, 3);
        const int h = (int)rng_range(&r, 1, 6), w = (int)rng_range(&r, 1, 6);
        const int elements = seed % 4 ? order_of(g) : 1;
        equinv_tensor src = tensor_random(ctx, &r, dtypes[seed % DTYPES], 5, n, f, elements, h, w);
        for (int32_t e = 0; e < order_of(g); e++) {
            equinv_tensor dst = acted(ctx, g, e, &src);
            check_formula(g, e, &src, &dst);
            equinv_tensor_destroy(ctx, &dst);
        }
        equinv_tensor_destroy(ctx, &src);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(the_formula_on_one_pixel_for_groups_off_the_grid)
{
    equinv_context *const ctx = context_new();
    const equinv_group g = off_grid[_i];
    for (uint64_t seed = 0; seed < share_of(40); seed++) {
        rng r = {seed * 64 + (uint64_t)_i + 1000};
        const int n = (int)rng_range(&r, 0, 3), f = (int)rng_range(&r, 1, 3);
        const int elements = seed % 4 ? order_of(g) : 1;
        equinv_tensor src = tensor_random(ctx, &r, dtypes[seed % DTYPES], 5, n, f, elements, 1, 1);
        for (int32_t e = 0; e < order_of(g); e++) {
            equinv_tensor dst = acted(ctx, g, e, &src);
            check_formula(g, e, &src, &dst);
            equinv_tensor_destroy(ctx, &dst);
        }
        equinv_tensor_destroy(ctx, &src);
    }
    equinv_context_destroy(ctx);
}
END_TEST

/* The elements of a larger group that map the grid onto itself act on images as any other. */
START_TEST(grid_elements_of_other_groups_act_on_images)
{
    equinv_context *const ctx = context_new();
    const equinv_group g = off_grid[_i];
    rng r = {77 + (uint64_t)_i};
    int acting = 0;
    for (int32_t e = 0; e < order_of(g); e++) {
        bool on_grid;
        OK(equinv_group_on_grid(g, e, &on_grid));
        equinv_tensor src = tensor_random(ctx, &r, EQUINV_F32, 5, 2, 2, order_of(g), 3, 4);
        if (on_grid) {
            equinv_tensor dst = acted(ctx, g, e, &src);
            check_formula(g, e, &src, &dst);
            equinv_tensor_destroy(ctx, &dst);
            acting++;
        } else {
            equinv_tensor dst = tensor_like(ctx, &src);
            FAILS(EQUINV_ERR_SHAPE, "multiple of 90 degrees", equinv_act(ctx, g, e, &src, &dst));
            ck_assert(tensor_max_abs(&dst) == 0);
            equinv_tensor_destroy(ctx, &dst);
        }
        equinv_tensor_destroy(ctx, &src);
    }
    const int32_t turns = g.n % 4 == 0 ? 4 : g.n % 2 == 0 ? 2 : 1;
    ck_assert_int_eq(acting, g.kind == EQUINV_GROUP_DIHEDRAL ? 2 * turns : turns);
    equinv_context_destroy(ctx);
}
END_TEST

/* act(g, act(h, z)) = act(g h, z) and act(g^-1, act(g, z)) = z, bit by bit, for random pairs. */
START_TEST(it_is_an_action)
{
    equinv_context *const ctx = context_new();
    for (uint64_t seed = 0; seed < share_of(250); seed++) {
        rng r = {seed + 5000};
        const bool image = seed % 2;
        const equinv_group g =
            image ? grid[rng_range(&r, 0, GRID - 1)] : off_grid[rng_range(&r, 0, OFF_GRID - 1)];
        const int size_y = image ? (int)rng_range(&r, 1, 6) : 1;
        const int size_x = image ? (int)rng_range(&r, 1, 6) : 1;
        const int elements = seed % 5 ? order_of(g) : 1;
        equinv_tensor z = tensor_random(ctx, &r, dtypes[seed % DTYPES], 5, (int)rng_range(&r, 0, 2),
                                        (int)rng_range(&r, 1, 3), elements, size_y, size_x);
        const int32_t a = (int32_t)rng_range(&r, 0, order_of(g) - 1);
        const int32_t b = (int32_t)rng_range(&r, 0, order_of(g) - 1);
        int32_t ab, inverse;
        OK(equinv_group_product(g, a, b, &ab));
        OK(equinv_group_inverse(g, a, &inverse));
        equinv_tensor bz = acted(ctx, g, b, &z), abz = acted(ctx, g, a, &bz);
        equinv_tensor at_once = acted(ctx, g, ab, &z), az = acted(ctx, g, a, &z);
        equinv_tensor back = acted(ctx, g, inverse, &az), same = acted(ctx, g, 0, &z);
        ASSERT_SAME(&abz, &at_once);
        ASSERT_SAME(&back, &z);
        ASSERT_SAME(&same, &z);
        equinv_tensor *const all[] = {&same, &back, &az, &at_once, &abz, &bz, &z};
        for (size_t i = 0; i < sizeof all / sizeof *all; i++)
            equinv_tensor_destroy(ctx, all[i]);
    }
    equinv_context_destroy(ctx);
}
END_TEST

/* Random memory orders and gaps, negative steps, and a broadcast source change nothing. */
START_TEST(strides_are_free)
{
    equinv_context *const ctx = context_new();
    for (uint64_t seed = 0; seed < share_of(250); seed++) {
        rng r = {seed + 9000};
        const equinv_group g = grid[rng_range(&r, 0, GRID - 1)];
        const equinv_dtype dtype = dtypes[rng_range(&r, 0, DTYPES - 1)];
        const int64_t size = (int64_t)equinv_dtype_size(dtype);
        const int32_t e = (int32_t)rng_range(&r, 0, order_of(g) - 1);
        equinv_tensor plain =
            tensor_random(ctx, &r, dtype, 5, (int)rng_range(&r, 1, 3), (int)rng_range(&r, 1, 3),
                          order_of(g), (int)rng_range(&r, 1, 4), (int)rng_range(&r, 1, 4));
        equinv_tensor storage, target;
        equinv_tensor src = tensor_strided_copy(ctx, &r, &plain, &storage);
        for (int i = 0; i < 5; i++)
            if (rng_range(&r, 0, 2) == 0) { /* from the other end */
                src.data = (char *)src.data + (src.shape[i] - 1) * src.strides[i] * size;
                src.strides[i] = -src.strides[i];
            }
        if (seed % 3 == 0)
            src.strides[rng_range(&r, 0, 4)] = 0;
        equinv_tensor values = tensor_as(ctx, &src, dtype);
        equinv_tensor expected = acted(ctx, g, e, &values);
        equinv_tensor blank = tensor_like(ctx, &expected);
        equinv_tensor dst = tensor_strided_copy(ctx, &r, &blank, &target);
        const int axis = (int)rng_range(&r, 0, 4);
        dst.data = (char *)dst.data + (dst.shape[axis] - 1) * dst.strides[axis] * size;
        dst.strides[axis] = -dst.strides[axis];
        OK(equinv_act(ctx, g, e, &src, &dst));
        int64_t where = -1;
        ck_assert_msg(tensor_same(&dst, &expected, &where), "seed %d: element %d differs",
                      (int)seed, (int)where);
        equinv_tensor *const all[] = {&target, &blank, &expected, &values, &storage, &plain};
        for (size_t i = 0; i < sizeof all / sizeof *all; i++)
            equinv_tensor_destroy(ctx, all[i]);
    }
    equinv_context_destroy(ctx);
}
END_TEST

/* Values are moved, never computed with: NaN payloads, -0, denormals survive. */
START_TEST(bits_are_kept)
{
    equinv_context *const ctx = context_new();
    const uint32_t patterns[4] = {0x7fa12345u, 0xff800000u, 0x80000000u, 0x00000001u};
    float values[4], turned[4];
    memcpy(values, patterns, sizeof values);
    equinv_tensor src, dst;
    OK(equinv_tensor_init(values, EQUINV_F32, 5, (int64_t[]){1, 1, 4, 1, 1}, &src));
    OK(equinv_tensor_init(turned, EQUINV_F32, 5, (int64_t[]){1, 1, 4, 1, 1}, &dst));
    OK(equinv_act(ctx, equinv_cyclic(4), 1, &src, &dst));
    for (int i = 0; i < 4; i++)
        ck_assert(memcmp(&turned[(i + 1) % 4], &patterns[i], 4) == 0);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(channels_as_one_axis_in_dst)
{
    equinv_context *const ctx = context_new();
    rng r = {11};
    equinv_tensor src = tensor_random(ctx, &r, EQUINV_F32, 5, 2, 3, 4, 2, 5);
    equinv_tensor expected = acted(ctx, equinv_cyclic(4), 3, &src);
    equinv_tensor dst = tensor_new(ctx, EQUINV_F32, 4, 2, 12, 5, 2);
    int64_t where;
    OK(equinv_act(ctx, equinv_cyclic(4), 3, &src, &dst));
    ck_assert(tensor_same(&dst, &expected, &where));
    equinv_tensor_destroy(ctx, &dst);
    equinv_tensor_destroy(ctx, &expected);
    equinv_tensor_destroy(ctx, &src);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(nothing_is_allocated)
{
    fault_allocator faults = {.until = -1};
    equinv_context *const ctx = context_of_faults(&faults);
    equinv_tensor src = tensor_new(ctx, EQUINV_F32, 5, 2, 3, 8, 4, 4);
    equinv_tensor dst = tensor_like(ctx, &src);
    faults.until = faults.count;
    for (int32_t e = 0; e < 8; e++)
        OK(equinv_act(ctx, equinv_dihedral(4), e, &src, &dst));
    equinv_tensor_destroy(ctx, &dst);
    equinv_tensor_destroy(ctx, &src);
    equinv_context_destroy(ctx);
    ck_assert_int_eq(faults.live, 0);
}
END_TEST

START_TEST(wrong_arguments)
{
    equinv_context *const ctx = context_new();
    rng r = {12};
    const equinv_group c4 = equinv_cyclic(4);
    equinv_tensor src = tensor_random(ctx, &r, EQUINV_F32, 5, 2, 3, 4, 5, 6);
    equinv_tensor same = tensor_like(ctx, &src);
    equinv_tensor turned = tensor_new(ctx, EQUINV_F32, 5, 2, 3, 4, 6, 5);
    equinv_tensor bad;
#define REFUSED(status, word, group, element, s, d)                                                \
    FAILS(EQUINV_ERR_##status, word, equinv_act(ctx, group, element, s, d))
    FAILS(EQUINV_ERR_ARG, "ctx is NULL", equinv_act(NULL, c4, 0, &src, &same));
    REFUSED(ARG, "C0", equinv_cyclic(0), 0, &src, &same);
    REFUSED(ARG, "D2000", equinv_dihedral(2000), 0, &src, &same);
    REFUSED(ARG, "kind 5", ((equinv_group){5, 4}), 0, &src, &same);
    REFUSED(UNSUPPORTED, "S", equinv_symmetric(), 0, &src, &same);
    REFUSED(ARG, "element is 4", c4, 4, &src, &same);
    REFUSED(ARG, "element is -1", c4, -1, &src, &same);
    REFUSED(ARG, "src is NULL", c4, 0, NULL, &same);
    REFUSED(ARG, "dst is NULL", c4, 0, &src, NULL);
    REFUSED(SHAPE, "4 elements on axis 2", equinv_dihedral(4), 0, &src, &same);
    /* A quarter turn writes width x height; others height x width. */
    REFUSED(SHAPE, "dst has shape [2, 3, 4, 5, 6], expected [2, 3, 4, 6, 5]", c4, 1, &src, &same);
    REFUSED(SHAPE, "dst has shape [2, 3, 4, 6, 5], expected [2, 3, 4, 5, 6]", c4, 2, &src, &turned);
    bad = src, bad.ndim = 6, bad.shape[5] = 1;
    REFUSED(SHAPE, "ndim 6, expected 5", c4, 0, &bad, &same);
    bad = src, bad.ndim = 4; /* could be regular or trivial fields */
    REFUSED(SHAPE, "ndim 4, expected 5", c4, 0, &bad, &same);
    bad = same, bad.ndim = 3;
    REFUSED(SHAPE, "[2, 3, 4]", c4, 0, &src, &bad);
    bad = same, bad.shape[0] = 1;
    REFUSED(SHAPE, "[1, 3, 4, 5, 6]", c4, 0, &src, &bad);
    bad = same, bad.shape[1] = -3;
    REFUSED(SHAPE, "extent -3", c4, 0, &src, &bad);
    bad = src, bad.shape[0] = INT64_MAX, bad.strides[0] = 1;
    REFUSED(SHAPE, "2^63", c4, 0, &bad, &same);
    bad = src, bad.strides[3] = INT64_MAX / 2;
    REFUSED(SHAPE, "address space", c4, 0, &bad, &same);
    bad = same, bad.strides[4] = 0;
    REFUSED(SHAPE, "overlap", c4, 0, &src, &bad);
    bad = same, bad.dtype = EQUINV_I32;
    REFUSED(DTYPE, "dst has dtype i32, expected f32", c4, 0, &src, &bad);
    bad = src, bad.dtype = EQUINV_BF16;
    REFUSED(DTYPE, "src has dtype bf16", c4, 0, &bad, &same);
    bad = src, bad.device.kind = EQUINV_DEVICE_CUDA;
    REFUSED(DEVICE, "src is on device cuda:0", c4, 0, &bad, &same);
    bad = same, bad.device.kind = EQUINV_DEVICE_CUDA;
    REFUSED(DEVICE, "dst is on device cuda:0", c4, 0, &src, &bad);
    bad = src, bad.data = NULL;
    REFUSED(ARG, "src has data NULL", c4, 0, &bad, &same);
    bad = same, bad.data = NULL;
    REFUSED(ARG, "dst has data NULL", c4, 0, &src, &bad);
    REFUSED(ARG, "dst overlaps src", c4, 0, &src, &src);
    bad = src, bad.data = (float *)src.data + 1, bad.shape[0] = 1;
    equinv_tensor first = src;
    first.shape[0] = 1;
    REFUSED(ARG, "dst overlaps src", c4, 0, &first, &bad);
#undef REFUSED
    ck_assert(tensor_max_abs(&same) == 0 && tensor_max_abs(&turned) == 0);
    equinv_tensor_destroy(ctx, &turned);
    equinv_tensor_destroy(ctx, &same);
    equinv_tensor_destroy(ctx, &src);
    equinv_context_destroy(ctx);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {the_formula_on_images, GRID},
        {the_formula_on_one_pixel_for_groups_off_the_grid, OFF_GRID},
        {grid_elements_of_other_groups_act_on_images, OFF_GRID},
        {it_is_an_action, 1},
        {strides_are_free, 1},
        {bits_are_kept, 1},
        {channels_as_one_axis_in_dst, 1},
        {nothing_is_allocated, 1},
        {wrong_arguments, 1},
    };
    return run_tests("act", tests, sizeof tests / sizeof *tests);
}
