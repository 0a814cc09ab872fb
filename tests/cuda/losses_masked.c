/* Losses over what a mask leaves, divergence and drawing of codes, clipping: CUDA against the reference. */
#include <math.h>

#include "cpu/ref/ref.h"
#include "sides.h"
#include "tests/util/cuda_layout.h"

enum { ROUNDS = 200 };
enum { CLASSES_LOSS, BINARY, DIVERGENCE, LOSSES };

/* Inputs, mask, loss and gradients on the CPU, and the same on the device in some layout. */
enum { X, Y, MASK, LOSS, DIFF_X, DIFF_Y, ARGUMENTS };
typedef struct problem {
    int which;
    bool masked, wanted; /* gradients */
    equinv_tensor here[ARGUMENTS];
    cuda_laid there[ARGUMENTS];
} problem;

#define HERE(i) (&p->here[i])
#define THERE(i) (&p->there[i].view)

static void run_here(const problem *p)
{
    const equinv_tensor *const mask = p->masked ? HERE(MASK) : NULL;
    const equinv_tensor *const x = p->wanted ? HERE(DIFF_X) : NULL;
    if (p->which == CLASSES_LOSS)
        OK(eqi_ref_cross_entropy(HERE(X), HERE(Y), mask, HERE(LOSS), x));
    else if (p->which == BINARY)
        OK(eqi_ref_binary_cross_entropy(HERE(X), HERE(Y), mask, HERE(LOSS), x));
    else
        eqi_ref_kl_gaussian(HERE(X), HERE(Y), mask, HERE(LOSS), x, p->wanted ? HERE(DIFF_Y) : NULL);
}

static void run_there(equinv_context *ctx, const problem *p, const equinv_tensor *x)
{
    const equinv_tensor *const mask = p->masked ? THERE(MASK) : NULL;
    if (p->which == CLASSES_LOSS)
        OK(equinv_cross_entropy_masked(ctx, THERE(X), THERE(Y), mask, THERE(LOSS), x));
    else if (p->which == BINARY)
        OK(equinv_binary_cross_entropy(ctx, THERE(X), THERE(Y), mask, THERE(LOSS), x));
    else
        OK(equinv_kl_gaussian(ctx, THERE(X), THERE(Y), mask, THERE(LOSS), x,
                              x ? THERE(DIFF_Y) : NULL));
}

static equinv_tensor create(sides *s, equinv_dtype dtype, int ndim, const int64_t *shape)
{
    equinv_tensor t;
    OK(equinv_tensor_create(s->cpu, dtype, ndim, shape, &t));
    if (dtype == EQUINV_F32 || dtype == EQUINV_F64)
        tensor_fill_random(&s->r, &t);
    return t;
}

/* What is absent is NaN and has a label that is none. */
static void fill(sides *s, problem *p, int64_t classes)
{
    const int64_t count = equinv_tensor_count(&p->here[Y]);
    const int64_t width = count ? equinv_tensor_count(&p->here[X]) / count : 0;
    const int64_t absent_in_ten = rng_range(&s->r, 0, 10);
    for (int64_t i = 0; i < count; i++) {
        const bool there = !p->masked || rng_range(&s->r, 1, 10) > absent_in_ten;
        tensor_set(HERE(MASK), i, there ? (double)rng_range(&s->r, 1, 200) : 0);
        if (p->which != DIVERGENCE)
            tensor_set(HERE(Y), i, there ? (double)rng_range(&s->r, 0, classes - 1) : 77);
        else if (!there)
            tensor_set(HERE(Y), i, (double)NAN);
        for (int64_t c = 0; c < width && !there; c++)
            tensor_set(HERE(X), i * width + c, (double)NAN);
    }
}

static problem problem_new(sides *s, int which, uint64_t seed, int64_t classes)
{
    const equinv_dtype dtype = seed % 2 ? EQUINV_F64 : EQUINV_F32;
    const equinv_dtype whole = rng_range(&s->r, 0, 1) ? EQUINV_U8 : EQUINV_I32;
    const int inner = (int)rng_range(&s->r, 1, 3);
    int64_t shape[4];
    problem p = {.which = which, .masked = rng_range(&s->r, 0, 3), .wanted = true};
    for (int axis = 0; axis < inner; axis++)
        shape[axis] = rng_range(&s->r, seed % 10 ? 1 : 0, 10);
    shape[inner] = classes;
    const int outer = which == CLASSES_LOSS ? inner + 1 : inner;
    p.here[X] = create(s, dtype, outer, shape);
    p.here[Y] = create(s, which == DIVERGENCE ? dtype : whole, inner, shape);
    p.here[MASK] = create(s, rng_range(&s->r, 0, 1) ? EQUINV_U8 : EQUINV_I32, inner, shape);
    p.here[LOSS] = create(s, dtype, 1, (int64_t[]){1});
    p.here[DIFF_X] = create(s, dtype, outer, shape);
    p.here[DIFF_Y] = create(s, dtype, inner, shape);
    OK(equinv_tensor_convert(s->cpu, &p.here[X], 4, 0, &p.here[X]));
    fill(s, &p, which == BINARY ? 2 : classes);
    for (int i = 0; i < ARGUMENTS; i++)
        p.there[i] = sides_place(s, &p.here[i], i != LOSS && rng_range(&s->r, 0, 1));
    return p;
}

static void problem_free(sides *s, problem *p)
{
    for (int i = 0; i < ARGUMENTS; i++) {
        equinv_tensor_destroy(s->cpu, &p->here[i]);
        cuda_laid_free(s->gpu, &p->there[i]);
    }
}

static void compare(sides *s, problem *p, int i, double tolerance, uint64_t seed)
{
    equinv_tensor values = sides_take(s, &p->there[i]);
    const double error = tensor_error(&values, &p->here[i], NULL);
    ck_assert_msg(error <= tolerance, "loss %d, tensor %d differs by %g, seed %d", p->which, i,
                  error, (int)seed);
    equinv_tensor_destroy(s->cpu, &values);
}

START_TEST(losses_equal_the_reference)
{
    sides s = sides_new(0);
    for (uint64_t seed = 0; seed < LOSSES * share_of(ROUNDS); seed++) {
        s.r = (rng){seed};
        const int which = (int)(seed / 2 % LOSSES);
        const int64_t classes = rng_range(&s.r, 1, seed % 4 ? 6 : 40);
        problem p = problem_new(&s, which, seed, classes);
        const double tolerance = seed % 2 ? 1e-12 : 3e-7;
        run_here(&p);
        run_there(s.gpu, &p, &p.there[DIFF_X].view);
        for (int i = LOSS; i < (which == DIVERGENCE ? ARGUMENTS : DIFF_Y); i++)
            compare(&s, &p, i, tolerance, seed);
        equinv_tensor loss = sides_take(&s, &p.there[LOSS]);
        run_there(s.gpu, &p, NULL); /* the same bits without gradients */
        equinv_tensor again = sides_take(&s, &p.there[LOSS]);
        ASSERT_SAME(&again, &loss);
        equinv_tensor_destroy(s.cpu, &again), equinv_tensor_destroy(s.cpu, &loss);
        if (which != DIVERGENCE) {
            run_there(s.gpu, &p, &p.there[X].view); /* in place */
            equinv_tensor diff = sides_take(&s, &p.there[X]);
            equinv_tensor beside = sides_take(&s, &p.there[DIFF_X]);
            ASSERT_SAME(&diff, &beside);
            equinv_tensor_destroy(s.cpu, &diff), equinv_tensor_destroy(s.cpu, &beside);
        }
        problem_free(&s, &p);
    }
    sides_free(&s);
}
END_TEST

/* More rows than the block has threads. */
START_TEST(many_pairs)
{
    sides s = sides_new(5);
    for (int which = 0; which < 2; which++) {
        const int64_t shape[4] = {13, 9, 9, 5}, one[1] = {1};
        problem p = {.which = which, .masked = true, .wanted = true};
        const int outer = which == CLASSES_LOSS ? 4 : 3;
        for (int i = 0; i < ARGUMENTS; i++)
            p.here[i] = i == LOSS               ? create(&s, EQUINV_F64, 1, one)
                        : i == X || i == DIFF_X ? create(&s, EQUINV_F64, outer, shape)
                        : i == Y || i == MASK   ? create(&s, EQUINV_U8, 3, shape)
                                                : create(&s, EQUINV_F64, 3, shape);
        fill(&s, &p, which == CLASSES_LOSS ? 5 : 2);
        for (int i = 0; i < ARGUMENTS; i++)
            p.there[i] = sides_place(&s, &p.here[i], false);
        run_here(&p);
        run_there(s.gpu, &p, &p.there[DIFF_X].view);
        compare(&s, &p, LOSS, 1e-12, 0);
        compare(&s, &p, DIFF_X, 1e-12, 0);
        problem_free(&s, &p);
    }
    sides_free(&s);
}
END_TEST

/* Logits that are large, infinite or NaN: as the reference has them, the NaN at its own place. */
START_TEST(large_infinite_and_nan_logits)
{
    const double inf = (double)INFINITY, logits[] = {3e38, -3e38, inf, -inf, 0, (double)NAN};
    enum { COUNT = sizeof logits / sizeof *logits };
    sides s = sides_new(6);
    for (int label = 0; label < 2; label++)
        for (int with_nan = 0; with_nan < 2; with_nan++) {
            const int64_t shape[1] = {COUNT};
            problem p = {.which = BINARY, .masked = true, .wanted = true};
            for (int i = 0; i < ARGUMENTS; i++)
                p.here[i] = create(&s, i == Y || i == MASK ? EQUINV_U8 : EQUINV_F32, 1,
                                   i == LOSS ? (int64_t[]){1} : shape);
            for (int i = 0; i < COUNT; i++) {
                tensor_set(&p.here[X], i, logits[i]);
                tensor_set(&p.here[Y], i, label);
                tensor_set(&p.here[MASK], i, i < COUNT - 1 || with_nan);
            }
            for (int i = 0; i < ARGUMENTS; i++)
                p.there[i] = sides_place(&s, &p.here[i], false);
            run_here(&p);
            run_there(s.gpu, &p, &p.there[DIFF_X].view);
            for (int i = LOSS; i <= DIFF_X; i++) {
                equinv_tensor got = sides_take(&s, &p.there[i]);
                for (int64_t k = 0; k < equinv_tensor_count(&got); k++) {
                    const double a = tensor_get(&got, k), b = tensor_get(&p.here[i], k);
                    ck_assert_msg((isnan(a) && isnan(b)) || a == b || fabs(a - b) <= 3e-7 * fabs(b),
                                  "%d[%d] is %g, expected %g", i, (int)k, a, b);
                }
                equinv_tensor_destroy(s.cpu, &got);
            }
            problem_free(&s, &p);
        }
    sides_free(&s);
}
END_TEST

/* A label that is no class: NaN in the loss and in its own place, unless the mask leaves it out. */
START_TEST(wrong_labels)
{
    static const double labels[] = {2, 5, 255, -1, 2147483647.0};
    enum { LABELS = sizeof labels / sizeof *labels, ROWS = 7, BAD = 3 };
    sides s = sides_new(7);
    for (int i = 0; i < 2 * LABELS; i++) {
        const int which = i % 2 ? BINARY : CLASSES_LOSS;
        const int64_t shape[2] = {ROWS, 2}, one[1] = {1}, width = which == BINARY ? 1 : 2;
        problem p = {.which = which, .masked = true, .wanted = true};
        for (int k = 0; k < ARGUMENTS; k++)
            p.here[k] = create(&s, k == Y || k == MASK ? EQUINV_I32 : EQUINV_F32,
                               (k == X || k == DIFF_X) && which == CLASSES_LOSS ? 2 : 1,
                               k == LOSS ? one : shape);
        for (int k = 0; k < ROWS; k++) {
            tensor_set(&p.here[Y], k, k == BAD ? labels[i / 2] : k % 2);
            tensor_set(&p.here[MASK], k, k != BAD);
        }
        run_here(&p);
        for (int there = 0; there < 2; there++) {
            tensor_set(&p.here[MASK], BAD, there);
            for (int k = 0; k < ARGUMENTS; k++)
                p.there[k] = sides_place(&s, &p.here[k], false);
            run_there(s.gpu, &p, &p.there[DIFF_X].view);
            equinv_tensor loss = sides_take(&s, &p.there[LOSS]);
            equinv_tensor diff = sides_take(&s, &p.there[DIFF_X]);
            ck_assert_msg(isnan(tensor_get(&loss, 0)) == (there == 1), "label %g", labels[i / 2]);
            for (int64_t k = 0; k < ROWS * width; k++)
                ck_assert_msg(isnan(tensor_get(&diff, k)) == (there == 1 && k / width == BAD),
                              "label %g, [%d]", labels[i / 2], (int)k);
            equinv_tensor_destroy(s.cpu, &loss), equinv_tensor_destroy(s.cpu, &diff);
            for (int k = 0; k < ARGUMENTS; k++)
                cuda_laid_free(s.gpu, &p.there[k]);
        }
        for (int k = 0; k < ARGUMENTS; k++)
            equinv_tensor_destroy(s.cpu, &p.here[k]);
    }
    sides_free(&s);
}
END_TEST

/* ---- codes ----------------------------------------------------------------------------------- */

START_TEST(codes_are_drawn_as_on_the_cpu)
{
    sides s = sides_new(0);
    for (uint64_t seed = 0; seed < share_of(ROUNDS); seed++) {
        s.r = (rng){seed + 1000};
        const uint64_t step = seed % 3 ? seed : seed + (UINT64_C(1) << 40);
        equinv_tensor in[2];
        in[0] = random_shaped(s.cpu, &s.r, seed % 2 ? EQUINV_F64 : EQUINV_F32, 0, seed % 5 == 0);
        in[1] = tensor_like(s.cpu, &in[0]);
        tensor_fill_random(&s.r, &in[1]);
        for (int back = 0; back < 2; back++) {
            equinv_tensor out = tensor_like(s.cpu, &in[0]);
            cuda_laid a = sides_place(&s, &in[0], rng_range(&s.r, 0, 1));
            cuda_laid b = sides_place(&s, &in[1], rng_range(&s.r, 0, 1));
            cuda_laid c = sides_place(&s, &out, rng_range(&s.r, 0, 1));
            const equinv_tensor *const to[] = {&c.view, &a.view};
            equinv_tensor found[2];
            if (back)
                eqi_ref_reparameterise_backward(seed, step, &in[0], &in[1], &out);
            else
                eqi_ref_reparameterise_forward(seed, step, &in[0], &in[1], &out);
            for (int k = 0; k < 2; k++) {
                OK(back
                       ? equinv_reparameterise_backward(s.gpu, seed, step, &a.view, &b.view, to[k])
                       : equinv_reparameterise_forward(s.gpu, seed, step, &a.view, &b.view, to[k]));
                found[k] = sides_take(&s, k ? &a : &c);
            }
            ck_assert_msg(tensor_error(&found[0], &out, NULL) <= (seed % 2 ? 1e-14 : 1e-7),
                          "seed %d", (int)seed);
            ASSERT_SAME(&found[1], &found[0]); /* in place */
            for (int k = 0; k < 2; k++)
                equinv_tensor_destroy(s.cpu, &found[k]);
            cuda_laid_free(s.gpu, &a), cuda_laid_free(s.gpu, &b), cuda_laid_free(s.gpu, &c);
            equinv_tensor_destroy(s.cpu, &out);
        }
        equinv_tensor_destroy(s.cpu, &in[0]), equinv_tensor_destroy(s.cpu, &in[1]);
    }
    sides_free(&s);
}
END_TEST

/* ---- clipping -------------------------------------------------------------------------------- */

START_TEST(clipping_equals_the_reference)
{
    enum { COUNT = 3 };
    sides s = sides_new(0);
    for (uint64_t seed = 0; seed < share_of(ROUNDS); seed++) {
        s.r = (rng){seed + 2000};
        equinv_parameter here[COUNT], there[COUNT];
        cuda_laid placed[COUNT];
        double norm = -1, norm_there = -1;
        for (int i = 0; i < COUNT; i++) {
            const equinv_dtype dtype = rng_range(&s.r, 0, 1) ? EQUINV_F64 : EQUINV_F32;
            equinv_tensor g;
            if (i == 0 && seed % 8 == 0)
                g = tensor_random(s.cpu, &s.r, dtype, 2, 71, 19); /* some blocks */
            else
                g = random_shaped(s.cpu, &s.r, dtype, 0, i == 2);
            if (seed % 16 == 3 && i == 1)
                tensor_set(&g, 0, seed % 32 == 3 ? (double)INFINITY : (double)NAN);
            placed[i] = sides_place(&s, &g, rng_range(&s.r, 0, 1));
            here[i] = (equinv_parameter){"here", g, g};
            there[i] = (equinv_parameter){"there", placed[i].view, placed[i].view};
        }
        const double most = eqi_ref_gradient_norm(here, COUNT) * (seed % 3 ? 0.25 : 1.5);
        const double bound = most > 0 && isfinite(most) ? most : 1;
        OK(equinv_clip_gradients(s.cpu, here, COUNT, bound, &norm));
        OK(equinv_clip_gradients(s.gpu, there, COUNT, bound, seed % 4 ? &norm_there : NULL));
        if (seed % 4)
            ck_assert_msg((isnan(norm) && isnan(norm_there)) || norm == norm_there ||
                              fabs(norm - norm_there) <= 1e-14 * norm,
                          "norm %g, expected %g, seed %d", norm_there, norm, (int)seed);
        for (int i = 0; i < COUNT; i++) {
            equinv_tensor found = sides_take(&s, &placed[i]);
            for (int64_t k = 0; k < equinv_tensor_count(&found); k++) {
                const double a = tensor_get(&found, k), b = tensor_get(&here[i].gradient, k);
                ck_assert_msg((isnan(a) && isnan(b)) || a == b ||
                                  fabs(a - b) <=
                                      (found.dtype == EQUINV_F64 ? 1e-14 : 2e-7) * fabs(b),
                              "gradient %d, [%d], seed %d", i, (int)k, (int)seed);
            }
            equinv_tensor_destroy(s.cpu, &found);
            equinv_tensor_destroy(s.cpu, &here[i].gradient);
            cuda_laid_free(s.gpu, &placed[i]);
        }
    }
    double norm = -1;
    OK(equinv_clip_gradients(s.gpu, NULL, 0, 1, &norm));
    ck_assert(norm == 0);
    sides_free(&s);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {losses_equal_the_reference, 1},    {many_pairs, 1},
        {large_infinite_and_nan_logits, 1}, {wrong_labels, 1},
        {codes_are_drawn_as_on_the_cpu, 1}, {clipping_equals_the_reference, 1},
    };
    return run_cuda_tests("cuda/losses_masked", tests, sizeof tests / sizeof *tests);
}
