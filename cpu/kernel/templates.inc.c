/*
 * Random templates by the recipe of src/internal/templates.h, LANES Philox blocks at once: the same
 * operations in the same order as there, so the same bits.
 *
 * Layout  Rounds run on two vectors of 64-bit lanes, each block's word in the lower half: the upper
 *         half of a product is what the next round wants shifted down, and needs no other care. A
 *         vector of the merged results has lane 4 L + r of block LANES / 4 r + L, so that turning 4
 *         x 4 words inside every 16 bytes gives four coordinates a block, in order.
 * Why     32-bit lanes would want a shuffle for each half of each product.
 *
 * The includer sets a header of cpu/simd/.
 */
#include "cpu/templates/templates.h"

#define INLINE static inline __attribute__((always_inline))
#define PASTE_(a, b) a##b
#define PASTE(a, b) PASTE_(a, b)
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

enum { LANES = vf32_lanes };

/* Numbers of the blocks in the even and in the odd lanes of the merged vectors. */
typedef struct counters {
    vu32 half[2];
} counters;

INLINE counters counters_from(uint64_t block)
{
    uint32_t number[2][LANES] = {0};
    for (uint32_t i = 0; i < LANES; i++)
        number[i % 2][i - i % 2] = i % 4 * (LANES / 4) + i / 4;
    const vu32 first = vu32_broadcast_pair(block);
    return (counters){
        {vu32_add_pairs(vu32_load(number[0]), first), vu32_add_pairs(vu32_load(number[1]), first)}};
}

/* words[w], lane: word w of that lane's block. */
INLINE void philox(const counters *c, uint64_t seed, uint64_t t, vu32 words[4])
{
    const vu32 factor_0 = vu32_broadcast(EQI_PHILOX_FACTOR_0);
    const vu32 factor_1 = vu32_broadcast(EQI_PHILOX_FACTOR_1);
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    vu32 c0[2], c1[2], c2[2], c3[2];
    for (int half = 0; half < 2; half++) {
        c0[half] = c->half[half];
        c1[half] = vu32_upper(c->half[half]);
        c2[half] = vu32_broadcast((uint32_t)t);
        c3[half] = vu32_broadcast((uint32_t)(t >> 32));
    }
    UNROLL for (int round = 0; round < EQI_PHILOX_ROUNDS; round++)
    {
        UNROLL for (int half = 0; half < 2; half++)
        {
            const vu32 p0 = vu32_product(factor_0, c0[half]);
            const vu32 p1 = vu32_product(factor_1, c2[half]);
            c0[half] = vu32_xor3(vu32_upper(p1), c1[half], vu32_broadcast(k0));
            c2[half] = vu32_xor3(vu32_upper(p0), c3[half], vu32_broadcast(k1));
            c1[half] = p1;
            c3[half] = p0;
        }
        k0 += EQI_PHILOX_STEP_0;
        k1 += EQI_PHILOX_STEP_1;
    }
    words[0] = vu32_merge(c0[0], c0[1]);
    words[1] = vu32_merge(c1[0], c1[1]);
    words[2] = vu32_merge(c2[0], c2[1]);
    words[3] = vu32_merge(c3[0], c3[1]);
}

/* As eqi_template_log. */
INLINE vf32 logarithm(vu32 i)
{
    const vf32 u = vf32_mul(vf32_add(vf32_of(i), vf32_broadcast(0.5f)), vf32_broadcast(0x1p-23f));
    const vu32 smallest = vu32_broadcast(EQI_LOG_SMALLEST);
    const vu32 shifted = vu32_sub(vf32_bits(u), smallest);
    const vf32 e = vf32_of(vu32_right_signed(shifted, 23));
    const vu32 m = vu32_add(vu32_and(shifted, vu32_broadcast(UINT32_C(0x7fffff))), smallest);
    const vf32 f = vf32_sub(vf32_from_bits(m), vf32_broadcast(1));
    vf32 q = vf32_broadcast(EQI_LOG_FIRST);
#define STEP(c) q = vf32_fma(q, f, vf32_broadcast(c));
    EQI_LOG_STEPS(STEP)
#undef STEP
    return vf32_fma(e, vf32_broadcast(EQI_LOG_2), vf32_fma(vf32_mul(f, f), q, f));
}

/* As eqi_template_turn. */
INLINE void turn(vu32 j, vf32 *cosine, vf32 *sine)
{
    const vu32 q = vu32_right(vu32_add(j, vu32_broadcast(UINT32_C(1) << 20)), 21);
    const vf32 rest = vf32_of(vu32_sub(j, vu32_left(q, 21)));
    const vf32 v = vf32_mul(vf32_add(rest, vf32_broadcast(0.5f)), vf32_broadcast(0x1p-23f));
    const vf32 w = vf32_mul(v, v);
    vf32 s = vf32_broadcast(EQI_SIN_FIRST), c = vf32_broadcast(EQI_COS_FIRST);
#define STEP(of_s, of_c)                                                                           \
    s = vf32_fma(s, w, vf32_broadcast(of_s));                                                      \
    c = vf32_fma(c, w, vf32_broadcast(of_c));
    EQI_TURN_STEPS(STEP)
#undef STEP
    const vf32 sv = vf32_mul(v, s), cv = vf32_fma(w, c, vf32_broadcast(1));
    /* Odd quarters swap; the cosine is negative in quarters 1 and 2, the sine in 2 and 3. */
    const vu32 odd = vu32_left(q, 31), top = vu32_broadcast(UINT32_C(1) << 31);
    const vu32 of_cosine = vu32_and(vu32_left(vu32_add(q, vu32_broadcast(1)), 30), top);
    const vu32 of_sine = vu32_and(vu32_left(q, 30), top);
    *cosine = vf32_from_bits(vu32_xor(vf32_bits(vf32_select(odd, cv, sv)), of_cosine));
    *sine = vf32_from_bits(vu32_xor(vf32_bits(vf32_select(odd, sv, cv)), of_sine));
}

INLINE void gaussian(const vu32 words[4], vf32 z[4])
{
    UNROLL for (int pair = 0; pair < 4; pair += 2)
    {
        const vf32 log = logarithm(vu32_right(words[pair], 9));
        const vf32 r = vf32_sqrt(vf32_mul(vf32_broadcast(-2), log));
        vf32 cosine, sine;
        turn(vu32_right(words[pair + 1], 9), &cosine, &sine);
        z[pair] = vf32_mul(r, cosine);
        z[pair + 1] = vf32_mul(r, sine);
    }
}

INLINE void rademacher(const vu32 words[4], vf32 z[4])
{
    const vu32 minus = vf32_bits(vf32_broadcast(-1)), top = vu32_broadcast(UINT32_C(1) << 31);
    UNROLL for (int lane = 0; lane < 4; lane++)
    {
        z[lane] = vf32_from_bits(vu32_xor(minus, vu32_and(words[lane], top)));
    }
}

typedef void from_words(const vu32 words[4], vf32 z[4]);

INLINE void fill(from_words *numbers, uint64_t seed, uint64_t t, uint64_t block, int64_t blocks,
                 float *to)
{
    counters c = counters_from(block);
    for (int64_t i = 0; i < blocks; i += LANES, to += 4 * LANES) {
        vu32 words[4];
        vf32 z[4];
        philox(&c, seed, t, words);
        numbers(words, z);
        vf32_transpose(z);
        UNROLL for (int lane = 0; lane < 4; lane++)
        {
            vf32_store(to + lane * LANES, z[lane]);
        }
        for (int half = 0; half < 2; half++)
            c.half[half] = vu32_add_pairs(c.half[half], vu32_broadcast_pair(LANES));
    }
}

void PASTE(eqi_f32_templates_, EQI_LEVEL)(equinv_template_kind kind, uint64_t seed, uint64_t t,
                                          uint64_t block, int64_t blocks, float *to)
{
    if (kind == EQUINV_TEMPLATE_GAUSSIAN)
        fill(gaussian, seed, t, block, blocks, to);
    else
        fill(rademacher, seed, t, block, blocks, to);
}
