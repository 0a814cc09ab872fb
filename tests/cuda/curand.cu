/*
 * The library's Philox against cuRAND's, which NVIDIA's header has as plain code: it runs on the host
 * and needs no GPU. Prints one line; fails at the first difference.
 */
#include <stdint.h>
#include <stdio.h>

#include "equinv/equinv.h"

#if __has_include(<curand_philox4x32_x.h>)
#define QUALIFIERS static __forceinline__ __host__ __device__
#include <curand_philox4x32_x.h>

enum { RANDOM = 1000000 };

static int failed(const uint32_t in[6], const uint32_t ours[4], const uint32_t theirs[4],
                  const char *whose)
{
    printf("philox of counter %08x %08x %08x %08x and key %08x %08x: %08x %08x %08x %08x, %s says "
           "%08x %08x %08x %08x\n",
           in[0], in[1], in[2], in[3], in[4], in[5], ours[0], ours[1], ours[2], ours[3], whose,
           theirs[0], theirs[1], theirs[2], theirs[3]);
    return 1;
}

static bool same(const uint32_t a[4], const uint32_t b[4])
{
    return a[0] == b[0] && a[1] == b[1] && a[2] == b[2] && a[3] == b[3];
}

static void by_curand(const uint32_t in[6], uint32_t words[4])
{
    const uint4 w = curand_Philox4x32_10(uint4{in[0], in[1], in[2], in[3]}, uint2{in[4], in[5]});
    words[0] = w.x, words[1] = w.y, words[2] = w.z, words[3] = w.w;
}

/* splitmix64 */
static uint64_t next(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

int main()
{
    /* Random123's kat_vectors for philox4x32-10: counter, key, answer. */
    static const uint32_t known[3][10] = {
        {0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
        {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0x408f276d,
         0x41c83b0e, 0xa20bc7c6, 0x6d5451fd},
        {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0, 0xd16cfe09,
         0x94fdcceb, 0x5001e420, 0x24126ea1},
    };
    uint64_t state = 1;
    for (int i = 0; i < 3 + RANDOM; i++) {
        uint32_t in[6], ours[4], theirs[4];
        for (int k = 0; k < 6; k++)
            in[k] = i < 3 ? known[i][k] : (uint32_t)next(&state);
        equinv_philox(in, in + 4, ours);
        by_curand(in, theirs);
        if (!same(ours, theirs))
            return failed(in, ours, theirs, "cuRAND");
        if (i < 3 && !same(ours, known[i] + 6))
            return failed(in, ours, known[i] + 6, "the published answer");
    }
    printf("philox: as cuRAND's on %d random counters and keys and the published answers\n",
           (int)RANDOM);
    return 0;
}

#else

int main()
{
    printf("SKIP check-curand: no curand_philox4x32_x.h beside nvcc\n");
    return 0;
}

#endif
