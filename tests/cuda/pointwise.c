/* Element-wise operations on CUDA against the reference: act, add, ReLU, dropout, convert, copy. */
#include <math.h>

#include "cpu/ref/ref.h"
#include "tests/util/cuda_layout.h"

enum { ROUNDS = 200 };

static const equinv_dtype dtypes[] = {EQUINV_U8, EQUINV_I32, EQUINV_U32, EQUINV_F32, EQUINV_F64};

/* A CUDA context, and a CPU context for what stands in CPU memory. */
static equinv_context *gpu, *cpu;

static void begin(void)
{
    gpu = cuda_context_new();
    cpu = context_new();
}

static void end(void)
{
    equinv_context_destroy(gpu);
    equinv_context_destroy(cpu);
}

static cuda_laid put(rng *r, const equinv_tensor *values)
{
    return cuda_laid_copy(gpu, r, values);
}

static void drop(cuda_laid *l)
{
    cuda_laid_free(gpu, l);
}

#define ASSERT_NEAR(l, expected, tolerance, what, seed)                                            \
    do {                                                                                           \
        const double error_ = tensor_error(cuda_laid_values(gpu, (l)), (expected), NULL);          \
        ck_assert_msg(error_ <= (tolerance), "%s: error %g, seed %d", what, error_, (int)(seed));  \
    } while (0)

#define ASSERT_BITS(l, expected, what, seed)                                                       \
    do {                                                                                           \
        int64_t at_ = -1;                                                                          \
        ck_assert_msg(tensor_same(cuda_laid_values(gpu, (l)), (expected), &at_),                   \
                      "%s: [%d], seed %d", what, (int)at_, (int)(seed));                           \
    } while (0)

/* ---- ReLU ------------------------------------------------------------------------------------ */

START_TEST(relu_equals_the_reference)
{
    static const double slopes[] = {0, 0.01, 0.5, 0.3};
    begin();
    for (uint64_t seed = 0; seed < ROUNDS; seed++) {
        rng r = {seed};
        const double slope = slopes[rng_range(&r, 0, 3)];
        const double tolerance = seed % 2 ? 1e-15 : 2e-7;
        equinv_tensor src = random_shaped(cpu, &r, seed % 2 ? EQUINV_F64 : EQUINV_F32, 0, true);
        equinv_tensor diff_dst = tensor_like(cpu, &src), expected = tensor_like(cpu, &src);
        tensor_fill_random(&r, &diff_dst);
        if (equinv_tensor_count(&src) > 0)
            tensor_set(&diff_dst, 0, (double)INFINITY);
        cuda_laid a = put(&r, &src), b = put(&r, &src);
        cuda_laid c = put(&r, &diff_dst), d = put(&r, &diff_dst);
        eqi_ref_relu_forward(slope, &src, &expected);
        OK(equinv_relu_forward(gpu, slope, &a.view, &b.view));
        ASSERT_NEAR(&b, &expected, tolerance, "forward", seed);
        eqi_ref_relu_backward(slope, &src, &diff_dst, &expected);
        OK(equinv_relu_backward(gpu, slope, &a.view, &d.view, &c.view));
        ASSERT_NEAR(&c, &expected, tolerance, "backward", seed);
        OK(equinv_relu_backward(gpu, slope, &a.view, &d.view, &d.view));
        ASSERT_NEAR(&d, &expected, tolerance, "backward in place", seed);
        OK(equinv_relu_forward(gpu, slope, &a.view, &a.view));
        ASSERT_BITS(&a, cuda_laid_values(gpu, &b), "in place", seed);
        drop(&a), drop(&b), drop(&c), drop(&d);
        equinv_tensor_destroy(cpu, &src), equinv_tensor_destroy(cpu, &diff_dst);
        equinv_tensor_destroy(cpu, &expected);
    }
    end();
}
END_TEST

/* ---- add ------------------------------------------------------------------------------------- */

START_TEST(add_equals_the_reference)
{
    begin();
    for (uint64_t seed = 0; seed < ROUNDS; seed++) {
        rng r = {seed + 1000};
        equinv_tensor a = random_shaped(cpu, &r, seed % 2 ? EQUINV_F64 : EQUINV_F32, 0, true);
        equinv_tensor b = tensor_like(cpu, &a), expected = tensor_like(cpu, &a);
        tensor_fill_random(&r, &b);
        cuda_laid la = put(&r, &a), lb = put(&r, &b), dst = put(&r, &b);
        eqi_ref_add(&a, &b, &expected);
        OK(equinv_add(gpu, &la.view, &lb.view, &dst.view));
        ASSERT_NEAR(&dst, &expected, 0, "add", seed);
        OK(equinv_add(gpu, &dst.view, &lb.view, &dst.view));
        eqi_ref_add(&expected, &b, &expected);
        ASSERT_NEAR(&dst, &expected, 0, "in place a", seed);
        eqi_ref_add(&a, &b, &expected);
        OK(equinv_add(gpu, &la.view, &lb.view, &lb.view));
        ASSERT_NEAR(&lb, &expected, 0, "in place b", seed);
        eqi_ref_add(&a, &a, &expected);
        OK(equinv_add(gpu, &la.view, &la.view, &la.view));
        ASSERT_NEAR(&la, &expected, 0, "in place both", seed);
        drop(&la), drop(&lb), drop(&dst);
        equinv_tensor_destroy(cpu, &a), equinv_tensor_destroy(cpu, &b);
        equinv_tensor_destroy(cpu, &expected);
    }
    end();
}
END_TEST

START_TEST(add_broadcasts_inputs)
{
    begin();
    rng r = {4};
    equinv_tensor a = tensor_random(cpu, &r, EQUINV_F32, 2, 4, 8);
    equinv_tensor row = tensor_random(cpu, &r, EQUINV_F32, 2, 1, 8);
    equinv_tensor da = cuda_copy(gpu, &a), drow = cuda_copy(gpu, &row), b = drow;
    b.shape[0] = 4, b.strides[0] = 0;
    OK(equinv_add(gpu, &da, &b, &da));
    equinv_tensor back = cuda_back(gpu, &da);
    for (int64_t i = 0; i < 32; i++)
        ck_assert(tensor_get(&back, i) ==
                  (double)(float)(tensor_get(&a, i) + tensor_get(&row, i % 8)));
    equinv_tensor_destroy(cpu, &a), equinv_tensor_destroy(cpu, &row);
    equinv_tensor_destroy(gpu, &da), equinv_tensor_destroy(gpu, &drow);
    equinv_tensor_destroy(gpu, &back);
    end();
}
END_TEST

/* Dense tensors that start at any element, as slices do. */
START_TEST(add_at_any_address)
{
    begin();
    for (int k = 0; k < 4 * 4 * 4; k++) {
        rng r = {(uint64_t)k};
        const int start[3] = {k % 4, k / 4 % 4, k / 16};
        equinv_tensor here[3], storage[3], there[3];
        for (int t = 0; t < 3; t++) {
            here[t] = tensor_random(cpu, &r, EQUINV_F32, 1, 40);
            storage[t] = cuda_copy(gpu, &here[t]);
            OK(equinv_tensor_rows(&storage[t], start[t], 36, &there[t]));
        }
        OK(equinv_add(gpu, &there[0], &there[1], &there[2]));
        equinv_tensor back = cuda_back(gpu, &storage[2]);
        for (int i = 0; i < 40; i++) {
            const int at = i - start[2];
            const double want = at < 0 || at >= 36 ? tensor_get(&here[2], i)
                                                   : tensor_get(&here[0], start[0] + at) +
                                                         tensor_get(&here[1], start[1] + at);
            ck_assert_msg(tensor_get(&back, i) == (double)(float)want, "[%d], case %d", i, k);
        }
        equinv_tensor_destroy(gpu, &back);
        for (int t = 0; t < 3; t++)
            equinv_tensor_destroy(cpu, &here[t]), equinv_tensor_destroy(gpu, &storage[t]);
    }
    end();
}
END_TEST

/* ---- dropout --------------------------------------------------------------------------------- */

START_TEST(dropout_equals_the_reference)
{
    int64_t zeros = 0, elements = 0;
    begin();
    for (uint64_t round = 0; round < ROUNDS; round++) {
        rng r = {round + 2000};
        const double p = (double)rng_range(&r, 0, 9) / 10;
        const double tolerance = round % 2 ? 1e-15 : 2e-7;
        const uint64_t seed = rng_next(&r), step = rng_next(&r);
        equinv_tensor src = random_shaped(cpu, &r, round % 2 ? EQUINV_F64 : EQUINV_F32, 2, true);
        equinv_tensor expected = tensor_like(cpu, &src);
        cuda_laid a = put(&r, &src), b = put(&r, &src);
        if (equinv_tensor_count(&src) > 0)
            eqi_ref_dropout(p, seed, step, &src, &expected);
        OK(equinv_dropout(gpu, p, seed, step, &a.view, &b.view));
        ASSERT_NEAR(&b, p > 0 ? &expected : &src, p > 0 ? tolerance : 0, "dropout", round);
        OK(equinv_dropout(gpu, p, seed, step, &a.view, &a.view));
        ASSERT_BITS(&a, cuda_laid_values(gpu, &b), "in place", round);
        const equinv_tensor *const got = cuda_laid_values(gpu, &b);
        for (int64_t i = 0; p > 0 && i < equinv_tensor_count(&src); i++, elements++) {
            ck_assert_msg(!tensor_get(got, i) == !tensor_get(&expected, i), "mask, round %d",
                          (int)round);
            zeros += !tensor_get(got, i);
        }
        drop(&a), drop(&b);
        equinv_tensor_destroy(cpu, &src), equinv_tensor_destroy(cpu, &expected);
    }
    ck_assert(zeros > elements / 4 && zeros < elements * 3 / 4);
    end();
}
END_TEST

/* ---- act ------------------------------------------------------------------------------------- */

START_TEST(act_equals_the_reference)
{
    static const equinv_group groups[] = {
        {EQUINV_GROUP_CYCLIC, 1},   {EQUINV_GROUP_CYCLIC, 2},   {EQUINV_GROUP_CYCLIC, 4},
        {EQUINV_GROUP_DIHEDRAL, 1}, {EQUINV_GROUP_DIHEDRAL, 2}, {EQUINV_GROUP_DIHEDRAL, 4},
        {EQUINV_GROUP_CYCLIC, 3},   {EQUINV_GROUP_CYCLIC, 8},   {EQUINV_GROUP_DIHEDRAL, 5},
    };
    begin();
    for (uint64_t seed = 0; seed < 2 * ROUNDS; seed++) {
        rng r = {seed + 3000};
        const equinv_group group = groups[rng_range(&r, 0, 8)];
        int32_t order;
        bool on_grid;
        OK(equinv_group_order(group, &order));
        const int32_t g = (int32_t)rng_range(&r, 0, order - 1);
        OK(equinv_group_on_grid(group, g, &on_grid));
        const int height = on_grid ? (int)rng_range(&r, rng_range(&r, 0, 9) ? 1 : 0, 5) : 1;
        const int width = on_grid ? (int)rng_range(&r, 1, 5) : 1;
        const bool quarter = on_grid && g % group.n * 4 / group.n % 2;
        const int elements = rng_range(&r, 0, 3) ? order : 1;
        const int batch = (int)rng_range(&r, 0, 3), fields = (int)rng_range(&r, 1, 4);
        const equinv_dtype dtype = dtypes[seed % 5];
        equinv_tensor src =
            tensor_random(cpu, &r, dtype, 5, batch, fields, elements, height, width);
        equinv_tensor dst = tensor_new(cpu, dtype, 5, batch, fields, elements,
                                       quarter ? width : height, quarter ? height : width);
        cuda_laid a = put(&r, &src), b = put(&r, &dst);
        eqi_ref_act(group, g, &src, &dst);
        OK(equinv_act(gpu, group, g, &a.view, &b.view));
        ASSERT_BITS(&b, &dst, "act", seed);
        /* dst with fields and elements in one axis */
        equinv_tensor joined = tensor_new(gpu, dtype, 4, batch, fields * elements,
                                          quarter ? width : height, quarter ? height : width);
        OK(equinv_act(gpu, group, g, &a.view, &joined));
        equinv_tensor back = cuda_back(gpu, &joined);
        ASSERT_SAME(&back, &dst);
        drop(&a), drop(&b);
        equinv_tensor_destroy(gpu, &joined), equinv_tensor_destroy(gpu, &back);
        equinv_tensor_destroy(cpu, &src), equinv_tensor_destroy(cpu, &dst);
    }
    end();
}
END_TEST

/* ---- convert --------------------------------------------------------------------------------- */

/* Scales that keep a random value (-1 .. 1 or 0 .. 9) within every type, and others that need not. */
static void random_scale(rng *r, equinv_dtype from, equinv_dtype to, double *scale, double *shift)
{
    const bool real_from = from == EQUINV_F32 || from == EQUINV_F64;
    const bool real_to = to == EQUINV_F32 || to == EQUINV_F64;
    *scale = real_to ? rng_uniform(r) * 3 : real_from ? 100 : (double)rng_range(r, 0, 5) / 2;
    *shift = real_to ? rng_uniform(r) * (double)rng_range(r, 0, 1) : real_from ? 101 : 0.25;
}

START_TEST(convert_equals_the_reference)
{
    begin();
    for (uint64_t seed = 0; seed < 2 * ROUNDS; seed++) {
        rng r = {seed + 4000};
        const equinv_dtype from = dtypes[seed % 5], to = dtypes[seed / 5 % 5];
        const bool special = to == EQUINV_F32 || to == EQUINV_F64;
        double scale, shift;
        random_scale(&r, from, to, &scale, &shift);
        if (seed % 3 == 0)
            scale = 1, shift = 0; /* keeps -0 */
        if (seed % 3 == 0 && !special)
            shift = 1;
        equinv_tensor src = random_shaped(cpu, &r, from, 0, special), dst;
        OK(equinv_tensor_create(cpu, to, src.ndim, src.shape, &dst));
        cuda_laid a = put(&r, &src), b = put(&r, &dst);
        OK(eqi_ref_convert(&src, scale, shift, &dst));
        OK(equinv_tensor_convert(gpu, &a.view, scale, shift, &b.view));
        /* bits of a NaN are nobody's promise */
        ASSERT_NEAR(&b, &dst, 0, "convert", seed);
        const equinv_tensor *const got = cuda_laid_values(gpu, &b);
        for (int64_t i = 0; i < equinv_tensor_count(&dst); i++)
            ck_assert_msg(isnan(tensor_get(&dst, i)) ||
                              signbit(tensor_get(got, i)) == signbit(tensor_get(&dst, i)),
                          "sign, seed %d", (int)seed);
        if (from == to) {
            OK(equinv_tensor_convert(gpu, &a.view, scale, shift, &a.view));
            ASSERT_NEAR(&a, &dst, 0, "in place", seed);
        }
        drop(&a), drop(&b);
        equinv_tensor_destroy(cpu, &src), equinv_tensor_destroy(cpu, &dst);
    }
    end();
}
END_TEST

START_TEST(convert_saturates_what_does_not_fit)
{
    static const double inf = (double)INFINITY;
    static const struct {
        double value, u8, i32, u32;
    } cases[] = {
        {(double)NAN, 0, 0, 0},
        {inf, 255, 2147483647.0, 4294967295.0},
        {-inf, 0, -2147483648.0, 0},
        {1e300, 255, 2147483647.0, 4294967295.0},
        {-1e300, 0, -2147483648.0, 0},
        {255.4, 255, 255, 255},
        {255.5, 255, 256, 256},
        {-0.5, 0, 0, 0},
        {-0.6, 0, -1, 0},
        {2.5, 2, 2, 2},
        {3.5, 4, 4, 4},
        {2147483646.5, 255, 2147483646.0, 2147483646.0},
        {2147483647.5, 255, 2147483647.0, 2147483648.0},
        {2147483648.0, 255, 2147483647.0, 2147483648.0},
        {-2147483648.5, 0, -2147483648.0, 0},
        {-2147483649.0, 0, -2147483648.0, 0},
        {4294967295.4, 255, 2147483647.0, 4294967295.0},
        {4294967296.0, 255, 2147483647.0, 4294967295.0},
    };
    enum { COUNT = sizeof cases / sizeof *cases };
    begin();
    equinv_tensor values = tensor_new(cpu, EQUINV_F64, 1, (int)COUNT);
    for (int i = 0; i < COUNT; i++)
        tensor_set(&values, i, cases[i].value);
    equinv_tensor src = cuda_copy(gpu, &values);
    for (int k = 0; k < 3; k++) {
        equinv_tensor dst = tensor_new(gpu, dtypes[k], 1, (int)COUNT);
        OK(equinv_tensor_convert(gpu, &src, 1, 0, &dst));
        equinv_tensor back = cuda_back(gpu, &dst);
        for (int i = 0; i < COUNT; i++) {
            const double want = k == 0 ? cases[i].u8 : k == 1 ? cases[i].i32 : cases[i].u32;
            ck_assert_msg(tensor_get(&back, i) == want, "%g becomes %s %.17g, expected %.17g",
                          cases[i].value, equinv_dtype_name(dtypes[k]), tensor_get(&back, i), want);
        }
        equinv_tensor_destroy(gpu, &dst), equinv_tensor_destroy(gpu, &back);
    }
    equinv_tensor_destroy(gpu, &src);
    equinv_tensor_destroy(cpu, &values);
    end();
}
END_TEST

/* ---- copy ------------------------------------------------------------------------------------ */

START_TEST(copies_keep_all_bits)
{
    begin();
    for (uint64_t seed = 0; seed < ROUNDS; seed++) {
        rng r = {seed + 5000};
        equinv_tensor src = random_shaped(cpu, &r, dtypes[seed % 5], 0, true);
        equinv_tensor zeros = tensor_like(cpu, &src);
        cuda_laid a = put(&r, &src), b = put(&r, &zeros);
        OK(equinv_tensor_copy(gpu, &a.view, &b.view));
        ASSERT_BITS(&b, &src, "on the device", seed);
        equinv_tensor dense = cuda_copy(gpu, &zeros), back = tensor_like(cpu, &src);
        OK(equinv_tensor_copy(gpu, &a.view, &dense));
        OK(equinv_tensor_copy(gpu, &dense, &back));
        OK(equinv_context_synchronize(gpu));
        ASSERT_SAME(&back, &src);
        drop(&a), drop(&b);
        equinv_tensor_destroy(gpu, &dense), equinv_tensor_destroy(cpu, &back);
        equinv_tensor_destroy(cpu, &src), equinv_tensor_destroy(cpu, &zeros);
    }
    end();
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {relu_equals_the_reference, 1},
        {add_equals_the_reference, 1},
        {add_broadcasts_inputs, 1},
        {add_at_any_address, 1},
        {dropout_equals_the_reference, 1},
        {act_equals_the_reference, 1},
        {convert_equals_the_reference, 1},
        {copies_keep_all_bits, 1},
        {convert_saturates_what_does_not_fit, 1},
    };
    return run_cuda_tests("cuda/pointwise", tests, sizeof tests / sizeof *tests);
}
