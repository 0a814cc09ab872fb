/* Which fields dropout drops. */
#ifndef EQI_DROPOUT_H
#define EQI_DROPOUT_H

#include <stdbool.h>

#include "philox.h"

/* Field number n F + f; the recipe is the header's. */
EQI_INLINE bool eqi_dropped(double p, uint64_t seed, uint64_t step, int64_t field)
{
    const uint32_t counter[4] = {(uint32_t)field, (uint32_t)((uint64_t)field >> 32), (uint32_t)step,
                                 (uint32_t)(step >> 32)};
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    uint32_t words[4];
    eqi_philox(counter, key, words);
    return (words[0] >> 8) * 0x1p-24 < p;
}

#endif
