/*
 * Random templates, recipe version 1. It is fixed: every implementation gives these bits, and all
 * of them call the functions here.
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
#ifndef EQI_TEMPLATES_H
#define EQI_TEMPLATES_H

#include <math.h>
#include <string.h>

#include "equinv/equinv.h"
#include "philox.h"

/* Coefficients of Q, S and C from the highest down, for one number or for vectors of them. */
#define EQI_LOG_2 0x1.62e43p-1f
#define EQI_LOG_FIRST (-0x1.45340cp-4f)
#define EQI_LOG_STEPS(STEP)                                                                        \
    STEP(0x1.0c6362p-3f)                                                                           \
    STEP(-0x1.0e2e32p-3f)                                                                          \
    STEP(0x1.2197bep-3f)                                                                           \
    STEP(-0x1.5437bap-3f)                                                                          \
    STEP(0x1.99b308p-3f)                                                                           \
    STEP(-0x1.0003bep-2f)                                                                          \
    STEP(0x1.555524p-2f)                                                                           \
    STEP(-0x1.fffffap-2f)
#define EQI_SIN_FIRST (-0x1.2d9302p+6f)
#define EQI_COS_FIRST 0x1.d9d57ep+5f
#define EQI_TURN_STEPS(STEP)                                                                       \
    STEP(0x1.465e92p+6f, -0x1.55c5ep+6f)                                                           \
    STEP(-0x1.4abbbap+5f, 0x1.03c1dcp+6f)                                                          \
    STEP(0x1.921fb6p+2f, -0x1.3bd3ccp+4f)

/* The smallest m: the bits of sqrt(1/2). */
#define EQI_LOG_SMALLEST UINT32_C(0x3f3504f3)

EQI_INLINE uint32_t eqi_float_bits(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

EQI_INLINE float eqi_float_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* log((i + 1/2) 2^-23), i < 2^23 */
EQI_INLINE float eqi_template_log(uint32_t i)
{
    const float u = ((float)i + 0.5f) * 0x1p-23f;
    const uint32_t shifted = eqi_float_bits(u) - EQI_LOG_SMALLEST;
    const int32_t e = (int32_t)shifted >> 23;
    const float f = eqi_float_of((shifted & UINT32_C(0x7fffff)) + EQI_LOG_SMALLEST) - 1.0f;
    float q = EQI_LOG_FIRST;
#define STEP(c) q = fmaf(q, f, c);
    EQI_LOG_STEPS(STEP)
#undef STEP
    return fmaf((float)e, EQI_LOG_2, fmaf(f * f, q, f));
}

/* Cosine and sine of 2 pi (j + 1/2) 2^-23, j < 2^23 */
EQI_INLINE void eqi_template_turn(uint32_t j, float *cosine, float *sine)
{
    const uint32_t q = (j + (UINT32_C(1) << 20)) >> 21;
    const float v = ((float)((int32_t)j - (int32_t)(q << 21)) + 0.5f) * 0x1p-23f;
    const float w = v * v;
    float s = EQI_SIN_FIRST, c = EQI_COS_FIRST;
#define STEP(of_s, of_c)                                                                           \
    s = fmaf(s, w, of_s);                                                                          \
    c = fmaf(c, w, of_c);
    EQI_TURN_STEPS(STEP)
#undef STEP
    const float sv = v * s;
    const float cv = fmaf(w, c, 1.0f);
    *cosine = q & 1 ? (q & 2 ? sv : -sv) : (q & 2 ? -cv : cv);
    *sine = q & 1 ? (q & 2 ? -cv : cv) : (q & 2 ? -sv : sv);
}

EQI_INLINE void eqi_template_gaussian(const uint32_t words[4], float z[4])
{
    for (int pair = 0; pair < 4; pair += 2) {
        const float r = sqrtf(-2.0f * eqi_template_log(words[pair] >> 9));
        float cosine, sine;
        eqi_template_turn(words[pair + 1] >> 9, &cosine, &sine);
        z[pair] = r * cosine;
        z[pair + 1] = r * sine;
    }
}

EQI_INLINE void eqi_template_rademacher(const uint32_t words[4], float z[4])
{
    for (int lane = 0; lane < 4; lane++)
        z[lane] = words[lane] >> 31 ? 1.0f : -1.0f;
}

/* Coordinates 4 block .. 4 block + 3 of template number t. */
EQI_INLINE void eqi_template_values(equinv_template_kind kind, uint64_t seed, uint64_t t,
                                    uint64_t block, float z[4])
{
    const uint32_t counter[4] = {(uint32_t)block, (uint32_t)(block >> 32), (uint32_t)t,
                                 (uint32_t)(t >> 32)};
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    uint32_t words[4];
    eqi_philox(counter, key, words);
    if (kind == EQUINV_TEMPLATE_GAUSSIAN)
        eqi_template_gaussian(words, z);
    else
        eqi_template_rademacher(words, z);
}

#endif
