/*
 * Random templates, recipe version 1. It is fixed: every implementation gives these bits.
 *
 * Template number t, coordinate c (row-major inside the template), 64-bit seed:
 *     words = Philox4x32-10(counter = {c / 4 low, c / 4 high, t low, t high}, key = {seed low, high})
 *     the number at c belongs to lane c mod 4
 * RADEMACHER   +1 if the lane's word has its top bit, else -1.
 * GAUSSIAN     lanes (0, 1) and (2, 3) are pairs (a, b) of words and give two numbers:
 *                  L = log((i + 1/2) 2^-23),  i = a >> 9
 *                  r = sqrt(-2 L)
 *                  z of the even lane = r cos(2 pi (j + 1/2) 2^-23),  j = b >> 9
 *                  z of the odd lane  = r sin(2 pi (j + 1/2) 2^-23)
 *
 * The arithmetic is fp32, round to nearest, one rounding an operation in exactly the order written
 * below: + - x, fmaf, sqrtf, conversion of integers below 2^24 (exact). No operation may be
 * contracted or reassociated, and subnormals never occur. fmaf(a, b, c) is a b + c rounded once.
 *
 * log(u), u = (i + 1/2) 2^-23 in (0, 1), exact in fp32: with u = 2^e m, m in [sqrt(1/2), sqrt(2))
 * (compared by bit pattern: 0x3f3504f3 is the smallest m), f = m - 1 (exact):
 *     log u = e log 2 + (f + f^2 Q(f)),   Q of degree 8
 * Angle: quarter q = (j + 2^20) >> 21 turns are taken off exactly,
 *     v = (j - q 2^21 + 1/2) 2^-23 in [-1/8, 1/8),  w = v^2
 *     sin(2 pi v) = v S(w),  cos(2 pi v) = 1 + w C(w),  S and C of degree 3
 * and q mod 4 swaps and negates. Q, S, C are minimax in the relative error of the result (Remez),
 * then their fp32 coefficients were moved by single units until the largest error stopped falling.
 *
 * Largest errors over all 2^23 arguments against long double, in units of the last place of the
 * exact result: log 0.89, sin 1.68, cos 0.96. The largest magnitude is 5.7679 (i = 0).
 */
#include "ref.h"

#include <math.h>
#include <string.h>

#include "internal/philox.h"
#include "internal/rows.h"

static inline uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline float from_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

float eqi_ref_log(uint32_t i)
{
    static const float q[9] = {-0x1.fffffap-2f, 0x1.555524p-2f,  -0x1.0003bep-2f,
                               0x1.99b308p-3f,  -0x1.5437bap-3f, 0x1.2197bep-3f,
                               -0x1.0e2e32p-3f, 0x1.0c6362p-3f,  -0x1.45340cp-4f};
    const float u = ((float)i + 0.5f) * 0x1p-23f;
    const uint32_t shifted = bits_of(u) - UINT32_C(0x3f3504f3);
    const int32_t e = (int32_t)shifted >> 23;
    const float f = from_bits((shifted & UINT32_C(0x7fffff)) + UINT32_C(0x3f3504f3)) - 1.0f;
    float p = q[8];
    for (int n = 7; n >= 0; n--)
        p = fmaf(p, f, q[n]);
    return fmaf((float)e, 0x1.62e43p-1f, fmaf(f * f, p, f));
}

void eqi_ref_turn(uint32_t j, float *cosine, float *sine)
{
    static const float s[4] = {0x1.921fb6p+2f, -0x1.4abbbap+5f, 0x1.465e92p+6f, -0x1.2d9302p+6f};
    static const float c[4] = {-0x1.3bd3ccp+4f, 0x1.03c1dcp+6f, -0x1.55c5ep+6f, 0x1.d9d57ep+5f};
    const uint32_t q = (j + (UINT32_C(1) << 20)) >> 21;
    const float v = ((float)((int32_t)j - (int32_t)(q << 21)) + 0.5f) * 0x1p-23f;
    const float w = v * v;
    float ps = s[3], pc = c[3];
    for (int n = 2; n >= 0; n--) {
        ps = fmaf(ps, w, s[n]);
        pc = fmaf(pc, w, c[n]);
    }
    const float sv = v * ps;
    const float cv = fmaf(w, pc, 1.0f);
    *cosine = q & 1 ? (q & 2 ? sv : -sv) : (q & 2 ? -cv : cv);
    *sine = q & 1 ? (q & 2 ? -cv : cv) : (q & 2 ? -sv : sv);
}

static void gaussian(const uint32_t words[4], float z[4])
{
    for (int pair = 0; pair < 4; pair += 2) {
        const float r = sqrtf(-2.0f * eqi_ref_log(words[pair] >> 9));
        float cosine, sine;
        eqi_ref_turn(words[pair + 1] >> 9, &cosine, &sine);
        z[pair] = r * cosine;
        z[pair + 1] = r * sine;
    }
}

static void rademacher(const uint32_t words[4], float z[4])
{
    for (int lane = 0; lane < 4; lane++)
        z[lane] = words[lane] >> 31 ? 1.0f : -1.0f;
}

typedef struct job {
    equinv_template_kind kind;
    uint32_t key[2];
    uint64_t first;
    equinv_tensor dst;
    int64_t count; /* coordinates of a template */
    bool contiguous;
} job;

static void one_template(void *arg, int64_t i)
{
    const job *const j = arg;
    const uint64_t t = j->first + (uint64_t)i;
    for (int64_t c = 0; c < j->count; c += 4) {
        const uint64_t block = (uint64_t)c / 4;
        const uint32_t counter[4] = {(uint32_t)block, (uint32_t)(block >> 32), (uint32_t)t,
                                     (uint32_t)(t >> 32)};
        uint32_t words[4];
        float z[4];
        eqi_philox(counter, j->key, words);
        (j->kind == EQUINV_TEMPLATE_GAUSSIAN ? gaussian : rademacher)(words, z);
        for (int64_t lane = 0; lane < 4 && c + lane < j->count; lane++) {
            const int64_t index = i * j->count + c + lane;
            eqi_store(&j->dst, j->contiguous ? index : eqi_offset_of(&j->dst, index),
                      (double)z[lane]);
        }
    }
}

void eqi_ref_templates(const equinv_context *ctx, equinv_template_kind kind, uint64_t seed,
                       uint64_t first, const equinv_tensor *dst)
{
    const int64_t total = equinv_tensor_count(dst);
    if (total == 0)
        return;
    job j = {.kind = kind,
             .key = {(uint32_t)seed, (uint32_t)(seed >> 32)},
             .first = first,
             .dst = *dst,
             .count = total / dst->shape[0],
             .contiguous = eqi_is_contiguous(dst)};
    eqi_parallel_if_worth(ctx, dst->shape[0], 64 * (double)total, one_template, &j);
}
