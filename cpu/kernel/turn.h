/* Kernels: LANES vectors of LANES numbers, rows become columns. After a header of cpu/simd/. */
#ifndef EQI_KERNEL_TURN_H
#define EQI_KERNEL_TURN_H

#if defined(__clang__)
#define EQI_UNROLL _Pragma("clang loop unroll(full)")
#else
#define EQI_UNROLL _Pragma("GCC unroll 16")
#endif

/* Whole vectors are read and written then. */
static inline __attribute__((always_inline)) void turn(vf32 v[vf32_lanes])
{
    enum { QUADS = vf32_lanes / 4 };
    EQI_UNROLL for (int q = 0; q < QUADS; q++)
    {
        vf32_transpose(v + 4 * q);
    }
    EQI_UNROLL for (int r = 0; r < 4; r++)
    {
        vf32 pieces[QUADS];
        EQI_UNROLL for (int q = 0; q < QUADS; q++)
        {
            pieces[q] = v[4 * q + r];
        }
        vf32_transpose_quads(pieces);
        EQI_UNROLL for (int q = 0; q < QUADS; q++)
        {
            v[4 * q + r] = pieces[q];
        }
    }
}

#endif
