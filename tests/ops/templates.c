/* Philox and the random templates: published answers, pinned bits, accuracy, statistics. */
#include <float.h>
#include <math.h>

#include "cpu/ref/ref.h"
#include "cpu/templates/templates.h"
#include "tests/util/test.h"

START_TEST(philox_published_answers)
{
    /* Random123's kat_vectors for philox4x32-10: counter, key, answer. */
    static const uint32_t known[3][10] = {
        {0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
        {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0x408f276d,
         0x41c83b0e, 0xa20bc7c6, 0x6d5451fd},
        {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0, 0xd16cfe09,
         0x94fdcceb, 0x5001e420, 0x24126ea1},
    };
    for (int i = 0; i < 3; i++) {
        uint32_t words[4];
        equinv_philox(known[i], known[i] + 4, words);
        for (int lane = 0; lane < 4; lane++)
            ck_assert_uint_eq(words[lane], known[i][6 + lane]);
    }
}
END_TEST

START_TEST(philox_in_place)
{
    uint32_t counter[4] = {1, 2, 3, 4}, words[4];
    const uint32_t key[2] = {5, 6};
    equinv_philox(counter, key, words);
    equinv_philox(counter, key, counter);
    ck_assert(memcmp(counter, words, sizeof words) == 0);
}
END_TEST

START_TEST(philox_half_the_bits_change)
{
    /* One bit of counter or key flips about half of the 128 output bits: over 192 x 64 trials the mean
     * is 64 +- 5 x 5.66 / sqrt(12288). */
    rng r = {3};
    double sum = 0;
    for (int trial = 0; trial < 64; trial++) {
        uint32_t in[6], out[4], changed[4];
        for (int i = 0; i < 6; i++)
            in[i] = (uint32_t)rng_next(&r);
        equinv_philox(in, in + 4, out);
        for (int bit = 0; bit < 192; bit++) {
            in[bit / 32] ^= UINT32_C(1) << bit % 32;
            equinv_philox(in, in + 4, changed);
            in[bit / 32] ^= UINT32_C(1) << bit % 32;
            for (int i = 0; i < 4; i++)
                sum += __builtin_popcount(out[i] ^ changed[i]);
        }
    }
    const double mean = sum / (64 * 192);
    ck_assert_msg(fabs(mean - 64) < 5 * 5.66 / 110.8, "mean number of changed bits is %g", mean);
}
END_TEST

/* Error in units of the last place that the exact value has in fp32. */
static double ulps(float got, long double exact)
{
    int exponent;
    frexpl(exact, &exponent);
    return (double)(fabsl((long double)got - exact) / ldexpl(1, exponent - 24));
}

enum { ARGUMENTS = 1 << 23, STRIDE = 211 };
static const long double two_pi = 6.28318530717958647692528676655900577L;

START_TEST(logarithm_is_accurate)
{
    double worst = 0;
    for (uint32_t i = 0; i < ARGUMENTS; i += i < 4096 || i > ARGUMENTS - 4096 ? 1 : STRIDE)
        worst = fmax(worst, ulps(eqi_ref_log(i), logl(((long double)i + 0.5L) / ARGUMENTS)));
    ck_assert_msg(worst < 0.89, "largest error is %g units", worst);
}
END_TEST

START_TEST(sine_and_cosine_are_accurate)
{
    double worst_cosine = 0, worst_sine = 0;
    for (uint32_t j = 0; j < ARGUMENTS; j += STRIDE) {
        const long double angle = two_pi * ((long double)j + 0.5L) / ARGUMENTS;
        float cosine, sine;
        eqi_ref_turn(j, &cosine, &sine);
        /* Each of the two polynomials serves sine and cosine in turn. */
        const bool swapped = fabsf(cosine) < fabsf(sine);
        const double of_cosine = ulps(cosine, cosl(angle)), of_sine = ulps(sine, sinl(angle));
        worst_cosine = fmax(worst_cosine, swapped ? of_sine : of_cosine);
        worst_sine = fmax(worst_sine, swapped ? of_cosine : of_sine);
    }
    ck_assert_msg(worst_cosine < 0.96 && worst_sine < 1.68, "largest errors are %g and %g units",
                  worst_cosine, worst_sine);
}
END_TEST

static uint32_t bits_of(double value)
{
    const float x = (float)value;
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* FNV-1a over the bit patterns. */
static uint64_t checksum(const equinv_tensor *t)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (int64_t i = 0; i < equinv_tensor_count(t); i++)
        for (int byte = 0; byte < 4; byte++)
            hash = (hash ^ (bits_of(tensor_get(t, i)) >> 8 * byte & 255)) * UINT64_C(0x100000001b3);
    return hash;
}

START_TEST(bits_are_pinned)
{
    /* These never change: stored codes depend on them. */
    static const struct {
        equinv_template_kind kind;
        uint64_t seed, first, checksum;
        uint32_t bits[8];
    } pinned[] = {
        {EQUINV_TEMPLATE_GAUSSIAN,
         UINT64_C(0),
         UINT64_C(0),
         UINT64_C(0x102028189167b01e),
         {0x3f7dbb30, 0xbf6cb6b3, 0xbf1e1ba1, 0xbef6d1aa, 0xbe1d5354, 0x3e392a67, 0x3f54ec98,
          0x3e4a2d9a}},
        {EQUINV_TEMPLATE_GAUSSIAN,
         UINT64_C(7),
         UINT64_C(8589934597),
         UINT64_C(0x2cd8d6aeb7c4f1be),
         {0xbec806fa, 0x3cb16cb9, 0x3e805b2f, 0xbf01f143, 0x3f104ef0, 0x3ec78282, 0xbe3f128b,
          0xbde57448}},
        {EQUINV_TEMPLATE_GAUSSIAN,
         UINT64_MAX,
         UINT64_C(3),
         UINT64_C(0xfafc01970be1a40c),
         {0x3e7aefc6, 0xc0040fde, 0xbfa292d7, 0xbf66d7aa, 0xbf26b5d4, 0xc01a9457, 0x3fd6d1e5,
          0x3e8f74d2}},
        {EQUINV_TEMPLATE_RADEMACHER,
         7,
         5,
         UINT64_C(0x060c83ddaf53b9a5),
         {0xbf800000, 0x3f800000, 0xbf800000, 0x3f800000, 0x3f800000, 0xbf800000, 0xbf800000,
          0x3f800000}},
    };
    equinv_context *ctx = context_new();
    equinv_tensor t = tensor_new(ctx, EQUINV_F32, 2, 16, 4097);
    for (size_t i = 0; i < sizeof pinned / sizeof *pinned; i++) {
        OK(equinv_templates(ctx, pinned[i].kind, pinned[i].seed, pinned[i].first, &t));
        for (int c = 0; c < 8; c++)
            ck_assert_msg(bits_of(tensor_get(&t, c)) == pinned[i].bits[c],
                          "case %zu coordinate %d is 0x%08x", i, c, bits_of(tensor_get(&t, c)));
        ck_assert_msg(checksum(&t) == pinned[i].checksum, "case %zu has checksum 0x%016llx", i,
                      (unsigned long long)checksum(&t));
    }
    equinv_tensor_destroy(ctx, &t);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(polynomials_are_pinned)
{
    /* All arguments, so that not even a last bit of a coefficient can change unseen. */
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (uint32_t i = 0; i < ARGUMENTS; i++) {
        float cosine, sine;
        eqi_ref_turn(i, &cosine, &sine);
        const float values[3] = {eqi_ref_log(i), cosine, sine};
        for (int v = 0; v < 3; v++)
            hash = (hash ^ bits_of((double)values[v])) * UINT64_C(0x100000001b3);
    }
    ck_assert_msg(hash == UINT64_C(0x0e16616b9e046204), "checksum is 0x%016llx",
                  (unsigned long long)hash);
}
END_TEST

/* The recipe once more, in double and with libm. */
static double expected(equinv_template_kind kind, uint64_t seed, uint64_t number, uint64_t c)
{
    const uint32_t counter[4] = {(uint32_t)(c / 4), (uint32_t)(c / 4 >> 32), (uint32_t)number,
                                 (uint32_t)(number >> 32)};
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    uint32_t w[4];
    equinv_philox(counter, key, w);
    const int lane = (int)(c % 4), pair = lane & ~1;
    if (kind == EQUINV_TEMPLATE_RADEMACHER)
        return w[lane] & 0x80000000u ? 1 : -1;
    const double u0 = ((w[pair] >> 9) + 0.5) / ARGUMENTS,
                 u1 = ((w[pair + 1] >> 9) + 0.5) / ARGUMENTS;
    const double angle = (double)two_pi * u1;
    return sqrt(-2 * log(u0)) * (lane & 1 ? sin(angle) : cos(angle));
}

START_TEST(follows_the_recipe)
{
    static const uint64_t seeds[] = {0, 7, UINT64_C(0x123456789abcdef0), UINT64_MAX};
    static const uint64_t firsts[] = {0, 5, UINT64_C(0xfffffffe), UINT64_C(0x1234500000000)};
    equinv_context *ctx = context_new();
    equinv_tensor t = tensor_new(ctx, EQUINV_F64, 2, 4, 1003);
    const equinv_template_kind kind =
        _i / 4 ? EQUINV_TEMPLATE_RADEMACHER : EQUINV_TEMPLATE_GAUSSIAN;
    const uint64_t seed = seeds[_i % 4];
    for (int f = 0; f < 4; f++) {
        OK(equinv_templates(ctx, kind, seed, firsts[f], &t));
        for (int64_t i = 0; i < 4 * 1003; i++) {
            const double want =
                expected(kind, seed, firsts[f] + (uint64_t)i / 1003, (uint64_t)i % 1003);
            const double tolerance = kind == EQUINV_TEMPLATE_GAUSSIAN ? 4e-7 * fabs(want) : 0;
            ck_assert_msg(fabs(tensor_get(&t, i) - want) <= tolerance,
                          "seed %llu first %llu index %lld: %.9g, expected %.9g",
                          (unsigned long long)seed, (unsigned long long)firsts[f], (long long)i,
                          tensor_get(&t, i), want);
        }
    }
    equinv_tensor_destroy(ctx, &t);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(f64_is_f32_widened)
{
    equinv_context *ctx = context_new();
    equinv_tensor narrow = tensor_new(ctx, EQUINV_F32, 3, 3, 5, 7);
    equinv_tensor wide = tensor_new(ctx, EQUINV_F64, 3, 3, 5, 7);
    OK(equinv_templates(ctx, EQUINV_TEMPLATE_GAUSSIAN, 1, 2, &narrow));
    OK(equinv_templates(ctx, EQUINV_TEMPLATE_GAUSSIAN, 1, 2, &wide));
    for (int64_t i = 0; i < 105; i++)
        ck_assert(tensor_get(&narrow, i) == tensor_get(&wide, i));
    equinv_tensor_destroy(ctx, &narrow);
    equinv_tensor_destroy(ctx, &wide);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(bits_do_not_depend_on_shape_strides_block_or_threads)
{
    rng r = {11};
    equinv_context *const ctx = context_new(), *const single = context_of_threads(1);
    for (int trial = 0; trial < 200; trial++) {
        const int k = (int)rng_range(&r, 1, 6), a = (int)rng_range(&r, 1, 9);
        const int b = (int)rng_range(&r, 1, 9);
        const uint64_t seed = rng_next(&r), first = rng_next(&r) >> 1;
        equinv_tensor flat = tensor_new(ctx, EQUINV_F32, 2, k, a * b);
        equinv_tensor shaped = tensor_new(single, EQUINV_F32, 4, k, a, 1, b);
        equinv_tensor storage;
        equinv_tensor strided = tensor_strided_copy(ctx, &r, &shaped, &storage);
        OK(equinv_templates(ctx, EQUINV_TEMPLATE_GAUSSIAN, seed, first, &flat));
        OK(equinv_templates(single, EQUINV_TEMPLATE_GAUSSIAN, seed, first, &shaped));
        OK(equinv_templates(ctx, EQUINV_TEMPLATE_GAUSSIAN, seed, first, &strided));
        ASSERT_SAME(&flat, &shaped);
        ASSERT_SAME(&flat, &strided);
        const int64_t row = rng_range(&r, 0, k - 1);
        equinv_tensor alone = tensor_new(ctx, EQUINV_F32, 2, 1, a * b), same;
        OK(equinv_templates(ctx, EQUINV_TEMPLATE_GAUSSIAN, seed, first + (uint64_t)row, &alone));
        OK(equinv_tensor_rows(&flat, row, 1, &same));
        ASSERT_SAME(&alone, &same);
        equinv_tensor_destroy(ctx, &flat);
        equinv_tensor_destroy(single, &shaped);
        equinv_tensor_destroy(ctx, &storage);
        equinv_tensor_destroy(ctx, &alone);
    }
    equinv_context_destroy(single);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(every_instruction_set_gives_the_same_bits)
{
    rng r = {12};
    equinv_context *ctx = context_new();
    for (int level = 0; level < TEST_LEVELS; level++) {
        equinv_context *capped = context_at_level(level);
        for (int trial = 0; capped && trial < 60; trial++) {
            const equinv_template_kind kind =
                trial % 2 ? EQUINV_TEMPLATE_RADEMACHER : EQUINV_TEMPLATE_GAUSSIAN;
            const int k = (int)rng_range(&r, 1, 3),
                      n = (int)rng_range(&r, 1, trial < 50 ? 300 : 9000);
            const uint64_t seed = rng_next(&r), first = rng_next(&r) >> 1;
            equinv_tensor want = tensor_new(ctx, EQUINV_F32, 2, k, n);
            equinv_tensor got = tensor_new(capped, EQUINV_F32, 2, k, n);
            eqi_ref_templates(ctx, kind, seed, first, &want);
            OK(equinv_templates(capped, kind, seed, first, &got));
            ASSERT_SAME(&want, &got);
            equinv_tensor_destroy(ctx, &want);
            equinv_tensor_destroy(capped, &got);
        }
        equinv_context_destroy(capped);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(blocks_beyond_32_bits)
{
    static const uint64_t blocks[] = {0, UINT64_C(0xfffffff8), UINT64_C(0x123456789),
                                      UINT64_MAX - 4 * EQI_TEMPLATES_GROUP};
    enum { BLOCKS = 2 * EQI_TEMPLATES_GROUP };
    eqi_templates_kernel *const kernels[] = {
#if defined(__x86_64__)
        __builtin_cpu_supports("avx2") ? eqi_f32_templates_avx2 : NULL,
        __builtin_cpu_supports("avx512dq") ? eqi_f32_templates_avx512 : NULL,
#endif
        NULL
    };
    for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++)
        for (size_t b = 0; kernels[i] && b < sizeof blocks / sizeof *blocks; b++) {
            float got[4 * BLOCKS], want[4 * BLOCKS];
            kernels[i](EQUINV_TEMPLATE_GAUSSIAN, 9, UINT64_MAX, blocks[b], BLOCKS, got);
            for (uint64_t j = 0; j < BLOCKS; j++)
                eqi_template_values(EQUINV_TEMPLATE_GAUSSIAN, 9, UINT64_MAX, blocks[b] + j,
                                    want + 4 * j);
            ck_assert_msg(memcmp(got, want, sizeof got) == 0, "kernel %zu, block %llx", i,
                          (unsigned long long)blocks[b]);
        }
}
END_TEST

enum { SAMPLES = 1 << 17 };

static equinv_tensor sample(equinv_context *ctx, equinv_template_kind kind, uint64_t seed,
                            uint64_t first, int rows)
{
    equinv_tensor t = tensor_new(ctx, EQUINV_F32, 2, rows, SAMPLES / rows);
    OK(equinv_templates(ctx, kind, seed, first, &t));
    return t;
}

START_TEST(moments_of_the_normal_distribution)
{
    static const double want[] = {0, 1, 0, 3, 0, 15};
    /* Variance of x^p is E x^2p - (E x^p)^2. */
    static const double variance[] = {1, 2, 15, 96, 945, 10170};
    equinv_context *ctx = context_new();
    equinv_tensor t = sample(ctx, EQUINV_TEMPLATE_GAUSSIAN, (uint64_t)_i, 0, 128);
    for (int p = 1; p <= 6; p++) {
        double sum = 0;
        for (int64_t i = 0; i < SAMPLES; i++)
            sum += pow(tensor_get(&t, i), p);
        const double deviation = (sum / SAMPLES - want[p - 1]) / sqrt(variance[p - 1] / SAMPLES);
        ck_assert_msg(fabs(deviation) < 4.5, "moment %d is off by %g standard deviations", p,
                      deviation);
    }
    equinv_tensor_destroy(ctx, &t);
    equinv_context_destroy(ctx);
}
END_TEST

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

START_TEST(kolmogorov_smirnov)
{
    equinv_context *ctx = context_new();
    equinv_tensor t = sample(ctx, EQUINV_TEMPLATE_GAUSSIAN, UINT64_C(1000) + (uint64_t)_i, 3, 1);
    double *const x = malloc(SAMPLES * sizeof *x);
    ck_assert_ptr_nonnull(x);
    for (int64_t i = 0; i < SAMPLES; i++)
        x[i] = tensor_get(&t, i);
    qsort(x, SAMPLES, sizeof *x, ascending);
    double distance = 0;
    for (int64_t i = 0; i < SAMPLES; i++) {
        const double p = 0.5 * erfc(-x[i] * 0.70710678118654752440);
        distance = fmax(distance,
                        fmax(fabs(p - (double)i / SAMPLES), fabs(p - (double)(i + 1) / SAMPLES)));
    }
    free(x);
    /* sqrt(N) D exceeds 1.95 with probability 0.001. */
    ck_assert_msg(distance * sqrt(SAMPLES) < 1.95, "sqrt(N) D is %g", distance * sqrt(SAMPLES));
    equinv_tensor_destroy(ctx, &t);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(tails_are_as_heavy_as_they_should_be)
{
    static const double limits[] = {2.0, 3.0, 4.0, 4.5};
    equinv_context *ctx = context_new();
    int64_t beyond[4] = {0};
    double largest = 0;
    enum { REPEATS = 16 };
    for (uint64_t repeat = 0; repeat < REPEATS; repeat++) {
        equinv_tensor t = sample(ctx, EQUINV_TEMPLATE_GAUSSIAN, 99, 64 * repeat, 64);
        for (int64_t i = 0; i < SAMPLES; i++) {
            const double size = fabs(tensor_get(&t, i));
            largest = fmax(largest, size);
            for (int l = 0; l < 4; l++)
                beyond[l] += size > limits[l];
        }
        equinv_tensor_destroy(ctx, &t);
    }
    for (int l = 0; l < 4; l++) {
        const double want = erfc(limits[l] / sqrt(2.0)) * SAMPLES * REPEATS;
        ck_assert_msg(fabs((double)beyond[l] - want) < 4.5 * sqrt(want),
                      "%lld of %d beyond %g, expected %g", (long long)beyond[l], SAMPLES * REPEATS,
                      limits[l], want);
    }
    ck_assert(largest > 4.6 && largest < 5.769);
    equinv_context_destroy(ctx);
}
END_TEST

/* sqrt(N) times the correlation of two sequences of mean 0 and variance 1: N(0, 1) if independent. */
static double correlation(const equinv_tensor *a, int64_t skip_a, const equinv_tensor *b,
                          int64_t skip_b, int64_t step)
{
    double sum = 0;
    int64_t n = 0;
    for (int64_t i = 0; i + (skip_a > skip_b ? skip_a : skip_b) < SAMPLES; i += step, n++)
        sum += tensor_get(a, i + skip_a) * tensor_get(b, i + skip_b);
    return sum / sqrt((double)n);
}

START_TEST(streams_are_independent)
{
    equinv_context *ctx = context_new();
    const equinv_template_kind kind = _i ? EQUINV_TEMPLATE_RADEMACHER : EQUINV_TEMPLATE_GAUSSIAN;
    equinv_tensor base = sample(ctx, kind, 42, 0, 64);
    const struct {
        const char *what;
        uint64_t seed, first;
    } others[] = {
        {"next seed", 43, 0},
        {"seed with one high bit", 42 | UINT64_C(1) << 63, 0},
        {"next templates", 42, 64},
        {"templates beyond 2^32", 42, UINT64_C(1) << 32},
        {"seed and template exchanged", 0, 42},
    };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        equinv_tensor other = sample(ctx, kind, others[i].seed, others[i].first, 64);
        const double c = correlation(&base, 0, &other, 0, 1);
        ck_assert_msg(fabs(c) < 4, "%s: correlation is %g standard deviations", others[i].what, c);
        equinv_tensor_destroy(ctx, &other);
    }
    for (int64_t lag = 1; lag <= 8; lag++) {
        const double c = correlation(&base, 0, &base, lag, 1);
        ck_assert_msg(fabs(c) < 4, "lag %lld: correlation is %g standard deviations",
                      (long long)lag, c);
    }
    const double neighbour = correlation(&base, 0, &base, SAMPLES / 64, 1);
    ck_assert_msg(fabs(neighbour) < 4, "neighbouring templates: %g", neighbour);
    equinv_tensor_destroy(ctx, &base);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(squares_of_the_four_lanes_are_independent)
{
    /* Box-Muller makes pairs from one radius: r^2 cos^2 and r^2 sin^2 must still be independent. */
    equinv_context *ctx = context_new();
    equinv_tensor t = sample(ctx, EQUINV_TEMPLATE_GAUSSIAN, 17, 0, 32);
    for (int64_t i = 0; i < SAMPLES; i++) {
        const double x = tensor_get(&t, i);
        tensor_set(&t, i, (x * x - 1) / sqrt(2.0));
    }
    for (int64_t a = 0; a < 4; a++)
        for (int64_t b = 0; b < a; b++) {
            const double c = correlation(&t, a, &t, b, 4);
            ck_assert_msg(fabs(c) < 4, "lanes %lld and %lld: %g", (long long)a, (long long)b, c);
        }
    equinv_tensor_destroy(ctx, &t);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(rademacher_is_balanced)
{
    equinv_context *ctx = context_new();
    equinv_tensor t = sample(ctx, EQUINV_TEMPLATE_RADEMACHER, 5, 0, 16);
    double sum = 0;
    for (int64_t i = 0; i < SAMPLES; i++) {
        ck_assert(fabs(tensor_get(&t, i)) == 1);
        sum += tensor_get(&t, i);
    }
    ck_assert(fabs(sum) < 4 * sqrt(SAMPLES));
    equinv_tensor_destroy(ctx, &t);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(empty_and_wrong_arguments)
{
    equinv_context *ctx = context_new();
    equinv_tensor t = tensor_new(ctx, EQUINV_F32, 2, 3, 4), none, integers, scalar;
    equinv_tensor overlapping = t, elsewhere = t, nowhere = t;
    OK(equinv_tensor_init(NULL, EQUINV_F32, 3, (int64_t[]){0, 5, 6}, &none));
    OK(equinv_templates(ctx, EQUINV_TEMPLATE_GAUSSIAN, 0, 0, &none));
    OK(equinv_tensor_init(NULL, EQUINV_F32, 3, (int64_t[]){5, 0, 6}, &none));
    OK(equinv_templates(ctx, EQUINV_TEMPLATE_GAUSSIAN, 0, 0, &none));
    integers = tensor_new(ctx, EQUINV_I32, 2, 3, 4);
    scalar = t;
    scalar.ndim = 0;
    overlapping.strides[0] = 0;
    elsewhere.device.kind = EQUINV_DEVICE_CUDA;
    nowhere.data = NULL;
    const equinv_template_kind gaussian = EQUINV_TEMPLATE_GAUSSIAN;
    FAILS(EQUINV_ERR_ARG, "ctx", equinv_templates(NULL, gaussian, 0, 0, &t));
    FAILS(EQUINV_ERR_ARG, "kind is 0", equinv_templates(ctx, (equinv_template_kind)0, 0, 0, &t));
    FAILS(EQUINV_ERR_ARG, "kind is 3",
          equinv_templates(ctx, EQUINV_TEMPLATE_ORTHONORMAL, 0, 0, &t));
    FAILS(EQUINV_ERR_ARG, "kind is 4", equinv_templates(ctx, EQUINV_TEMPLATE_USER, 0, 0, &t));
    FAILS(EQUINV_ERR_ARG, "first", equinv_templates(ctx, gaussian, 0, UINT64_MAX - 1, &t));
    FAILS(EQUINV_ERR_ARG, "dst is NULL", equinv_templates(ctx, gaussian, 0, 0, NULL));
    FAILS(EQUINV_ERR_ARG, "data NULL", equinv_templates(ctx, gaussian, 0, 0, &nowhere));
    FAILS(EQUINV_ERR_DTYPE, "i32", equinv_templates(ctx, gaussian, 0, 0, &integers));
    FAILS(EQUINV_ERR_SHAPE, "ndim 0", equinv_templates(ctx, gaussian, 0, 0, &scalar));
    FAILS(EQUINV_ERR_SHAPE, "stride", equinv_templates(ctx, gaussian, 0, 0, &overlapping));
    FAILS(EQUINV_ERR_DEVICE, "dst", equinv_templates(ctx, gaussian, 0, 0, &elsewhere));
    for (int64_t i = 0; i < 12; i++)
        ck_assert(tensor_get(&t, i) == 0);
    OK(equinv_templates(ctx, gaussian, 0, UINT64_MAX - 3, &t));
    equinv_tensor_destroy(ctx, &t);
    equinv_tensor_destroy(ctx, &integers);
    equinv_context_destroy(ctx);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {philox_published_answers, 1},
        {philox_in_place, 1},
        {philox_half_the_bits_change, 1},
        {logarithm_is_accurate, 1},
        {sine_and_cosine_are_accurate, 1},
        {bits_are_pinned, 1},
        {polynomials_are_pinned, 1},
        {follows_the_recipe, 8},
        {f64_is_f32_widened, 1},
        {bits_do_not_depend_on_shape_strides_block_or_threads, 1},
        {every_instruction_set_gives_the_same_bits, 1},
        {blocks_beyond_32_bits, 1},
        {moments_of_the_normal_distribution, 3},
        {kolmogorov_smirnov, 3},
        {tails_are_as_heavy_as_they_should_be, 1},
        {streams_are_independent, 2},
        {squares_of_the_four_lanes_are_independent, 1},
        {rademacher_is_balanced, 1},
        {empty_and_wrong_arguments, 1},
    };
    return run_tests("templates", tests, sizeof tests / sizeof *tests);
}
