/* Philox4x32-10 (Salmon, Moraes, Dror, Shaw 2011): a counter and a key in, four random words out. */
#ifndef EQI_PHILOX_H
#define EQI_PHILOX_H

#include <stdint.h>

#include "portable.h"

enum { EQI_PHILOX_ROUNDS = 10 };
#define EQI_PHILOX_FACTOR_0 UINT32_C(0xd2511f53)
#define EQI_PHILOX_FACTOR_1 UINT32_C(0xcd9e8d57)
#define EQI_PHILOX_STEP_0 UINT32_C(0x9e3779b9)
#define EQI_PHILOX_STEP_1 UINT32_C(0xbb67ae85)

EQI_INLINE void eqi_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t words[4])
{
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < EQI_PHILOX_ROUNDS; round++) {
        const uint64_t p0 = (uint64_t)EQI_PHILOX_FACTOR_0 * c0;
        const uint64_t p1 = (uint64_t)EQI_PHILOX_FACTOR_1 * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += EQI_PHILOX_STEP_0;
        k1 += EQI_PHILOX_STEP_1;
    }
    words[0] = c0, words[1] = c1, words[2] = c2, words[3] = c3;
}

#endif
