/* Losses on CUDA against the reference: values, gradients, infinities, NaN, labels out of range. */
#include <math.h>

#include "cpu/ref/ref.h"
#include "tests/util/cuda_layout.h"

enum { ROUNDS = 200 };

static const double inf = (double)INFINITY;

/* Logits or predictions with labels or a target, in CPU memory and on the device. */
typedef struct problem {
    equinv_context *gpu, *cpu;
    equinv_tensor x, y, loss, diff; /* loss and diff by the reference */
    cuda_laid dx, dy, ddiff;
    equinv_tensor dloss;
} problem;

static problem begin(void)
{
    return (problem){.gpu = cuda_context_new(), .cpu = context_new()};
}

static void end(problem *p)
{
    equinv_context_destroy(p->gpu);
    equinv_context_destroy(p->cpu);
}

/* After x and y were set. */
static void put(problem *p, rng *r)
{
    p->loss = tensor_new(p->cpu, p->x.dtype, 1, 1);
    p->diff = tensor_like(p->cpu, &p->x);
    p->dx = cuda_laid_copy(p->gpu, r, &p->x);
    p->dy = cuda_laid_copy(p->gpu, r, &p->y);
    p->ddiff = cuda_laid_copy(p->gpu, r, &p->diff);
    p->dloss = cuda_copy(p->gpu, &p->loss);
}

static void drop(problem *p)
{
    cuda_laid_free(p->gpu, &p->dx), cuda_laid_free(p->gpu, &p->dy);
    cuda_laid_free(p->gpu, &p->ddiff);
    equinv_tensor_destroy(p->gpu, &p->dloss);
    equinv_tensor_destroy(p->cpu, &p->x), equinv_tensor_destroy(p->cpu, &p->y);
    equinv_tensor_destroy(p->cpu, &p->loss), equinv_tensor_destroy(p->cpu, &p->diff);
}

static double device_loss(problem *p)
{
    equinv_tensor back = cuda_back(p->gpu, &p->dloss);
    const double loss = tensor_get(&back, 0);
    equinv_tensor_destroy(p->gpu, &back);
    return loss;
}

typedef equinv_status (*loss_function)(equinv_context *, const equinv_tensor *,
                                       const equinv_tensor *, const equinv_tensor *,
                                       const equinv_tensor *);

/* With the reference's results in p: gradient, no gradient, in place, and the same bits each time. */
static void check(problem *p, loss_function f, double tolerance, uint64_t seed)
{
    const double expected = tensor_get(&p->loss, 0);
    OK(f(p->gpu, &p->dx.view, &p->dy.view, &p->dloss, &p->ddiff.view));
    const double loss = device_loss(p);
    ck_assert_msg(loss == expected || (isnan(loss) && isnan(expected)) ||
                      fabs(loss - expected) <= tolerance * fabs(expected),
                  "loss %.17g, expected %.17g, seed %d", loss, expected, (int)seed);
    equinv_tensor first = tensor_copy(p->cpu, cuda_laid_values(p->gpu, &p->ddiff));
    const double error = tensor_error(&first, &p->diff, NULL);
    ck_assert_msg(error <= tolerance, "diff differs by %g, seed %d", error, (int)seed);
    OK(f(p->gpu, &p->dx.view, &p->dy.view, &p->dloss, NULL));
    const double again = device_loss(p);
    ck_assert_msg(memcmp(&loss, &again, sizeof loss) == 0, "no gradient, seed %d", (int)seed);
    OK(f(p->gpu, &p->dx.view, &p->dy.view, &p->dloss, &p->dx.view));
    const double in_place = device_loss(p);
    ck_assert_msg(memcmp(&loss, &in_place, sizeof loss) == 0, "in place, seed %d", (int)seed);
    int64_t where = -1;
    ck_assert_msg(tensor_same(cuda_laid_values(p->gpu, &p->dx), &first, &where),
                  "diff in place at %d, seed %d", (int)where, (int)seed);
    equinv_tensor_destroy(p->cpu, &first);
}

static void classify(problem *p, rng *r, equinv_dtype dtype, int batch, int classes, double scale)
{
    p->x = tensor_random(p->cpu, r, dtype, 2, batch, classes);
    p->y = tensor_new(p->cpu, rng_range(r, 0, 1) ? EQUINV_U8 : EQUINV_I32, 1, batch);
    OK(equinv_tensor_convert(p->cpu, &p->x, scale, 0.0, &p->x));
    for (int64_t n = 0; n < batch; n++)
        tensor_set(&p->y, n, (double)rng_range(r, 0, classes - 1));
}

START_TEST(cross_entropy_equals_the_reference)
{
    problem p = begin();
    for (uint64_t seed = 0; seed < ROUNDS; seed++) {
        rng r = {seed};
        const int batch = (int)rng_range(&r, seed % 10 ? 1 : 0, seed % 3 ? 8 : 40);
        const int classes = (int)rng_range(&r, 1, seed % 4 ? 12 : 80);
        classify(&p, &r, seed % 2 ? EQUINV_F64 : EQUINV_F32, batch, classes, 5);
        put(&p, &r);
        OK(eqi_ref_cross_entropy(&p.x, &p.y, NULL, &p.loss, &p.diff));
        check(&p, equinv_cross_entropy, seed % 2 ? 1e-12 : 2e-7, seed);
        drop(&p);
    }
    end(&p);
}
END_TEST

START_TEST(cross_entropy_of_huge_and_infinite_logits)
{
    static const double rows[][3] = {
        {3e38, -3e38, 0}, {-3e38, -3e38, -3e38}, {-inf, 0, 0},   {inf, 0, 5},
        {inf, inf, -inf}, {-inf, -inf, -inf},    {0, 0, -3e-38},
    };
    problem p = begin();
    rng r = {1};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int label = 0; label < 3; label++) {
            classify(&p, &r, label % 2 ? EQUINV_F64 : EQUINV_F32, 1, 3, 1);
            for (int c = 0; c < 3; c++)
                tensor_set(&p.x, c, rows[i][c]);
            tensor_set(&p.y, 0, label);
            put(&p, &r);
            OK(eqi_ref_cross_entropy(&p.x, &p.y, NULL, &p.loss, &p.diff));
            check(&p, equinv_cross_entropy, label % 2 ? 1e-12 : 2e-7, 10 * i);
            drop(&p);
        }
    end(&p);
}
END_TEST

/* A NaN logit, or a label that is no class: NaN in the loss and in its own row. */
START_TEST(what_is_wrong_stays_in_its_row)
{
    static const double labels[] = {5, 200, -1, -2147483648.0, 2147483647.0};
    enum { LABELS = sizeof labels / sizeof *labels, BATCH = 19, CLASSES = 5 };
    problem p = begin();
    for (int i = 0; i < LABELS + CLASSES; i++) {
        rng r = {2};
        const bool wrong_label = i < LABELS;
        classify(&p, &r, i % 2 ? EQUINV_F64 : EQUINV_F32, BATCH, CLASSES, 1);
        equinv_tensor as_i32 = tensor_as(p.cpu, &p.y, EQUINV_I32);
        if (wrong_label && labels[i] != 200) {
            equinv_tensor_destroy(p.cpu, &p.y);
            p.y = tensor_as(p.cpu, &as_i32, EQUINV_I32);
        }
        equinv_tensor_destroy(p.cpu, &as_i32);
        const int64_t bad = i % BATCH + 1;
        OK(equinv_tensor_create(p.cpu, p.x.dtype, 2, p.x.shape, &p.diff));
        p.loss = tensor_new(p.cpu, p.x.dtype, 1, 1);
        OK(eqi_ref_cross_entropy(&p.x, &p.y, NULL, &p.loss, &p.diff));
        equinv_tensor good = p.diff;
        equinv_tensor_destroy(p.cpu, &p.loss);
        if (wrong_label)
            tensor_set(&p.y, bad, labels[i]);
        else
            tensor_set(&p.x, bad * CLASSES + i - LABELS, (double)NAN);
        put(&p, &r);
        OK(equinv_cross_entropy(p.gpu, &p.dx.view, &p.dy.view, &p.dloss, &p.ddiff.view));
        ck_assert_msg(isnan(device_loss(&p)), "case %d", i);
        const equinv_tensor *const diff = cuda_laid_values(p.gpu, &p.ddiff);
        for (int64_t k = 0; k < BATCH * CLASSES; k++) {
            const double got = tensor_get(diff, k), want = tensor_get(&good, k);
            ck_assert_msg(k / CLASSES == bad ? isnan(got) : fabs(got - want) <= 1e-7,
                          "case %d, [%d] is %g", i, (int)k, got);
        }
        equinv_tensor_destroy(p.cpu, &good);
        drop(&p);
    }
    end(&p);
}
END_TEST

START_TEST(squared_error_equals_the_reference)
{
    problem p = begin();
    for (uint64_t seed = 0; seed < ROUNDS; seed++) {
        rng r = {seed + 1000};
        p.x = random_shaped(p.cpu, &r, seed % 2 ? EQUINV_F64 : EQUINV_F32, 0, seed % 4 == 0);
        p.y = tensor_like(p.cpu, &p.x);
        tensor_fill_random(&r, &p.y);
        put(&p, &r);
        eqi_ref_mean_squared_error(&p.x, &p.y, &p.loss, &p.diff);
        check(&p, equinv_mean_squared_error, seed % 2 ? 1e-12 : 2e-7, seed);
        drop(&p);
    }
    end(&p);
}
END_TEST

/* More elements than the block has threads, in an order that the sum must not depend on much. */
START_TEST(squared_error_of_many)
{
    problem p = begin();
    for (int k = 0; k < 2; k++) {
        rng r = {7};
        p.x = tensor_random(p.cpu, &r, k ? EQUINV_F64 : EQUINV_F32, 3, 13, 17, 19);
        p.y = tensor_random(p.cpu, &r, k ? EQUINV_F64 : EQUINV_F32, 3, 13, 17, 19);
        put(&p, &r);
        eqi_ref_mean_squared_error(&p.x, &p.y, &p.loss, &p.diff);
        check(&p, equinv_mean_squared_error, k ? 1e-12 : 2e-7, 0);
        drop(&p);
    }
    end(&p);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {cross_entropy_equals_the_reference, 1},
        {cross_entropy_of_huge_and_infinite_logits, 1},
        {what_is_wrong_stays_in_its_row, 1},
        {squared_error_equals_the_reference, 1},
        {squared_error_of_many, 1},
    };
    return run_cuda_tests("cuda/losses", tests, sizeof tests / sizeof *tests);
}
