/* Products of Fourier coefficients to spectra of signals, a signal in every lane. */
#ifndef EQI_GFOURIER_SPECTRUM_H
#define EQI_GFOURIER_SPECTRUM_H

#include "cpu/gfourier/projection.h"

/*
 * hat [coefficient][lane] as cpu/gfourier/projection.h has them (D_n: turned), numbers [number][lane] in the
 * order of the header. A full bispectrum comes in n parts, its rows; the other kinds are one part.
 */
typedef struct eqi_spectrum_tile {
    equinv_projection_kind kind;
    int32_t n;
    bool dihedral;
    int32_t part;
    const float *hat;
    float *numbers;
    float *diff_hat; /* backward adds to it, from gradients in numbers */
} eqi_spectrum_tile;

typedef struct eqi_spectrum_kernels {
    int64_t lanes;
    void (*forward)(const eqi_spectrum_tile *t);
    void (*backward)(const eqi_spectrum_tile *t);
    /* to[l step + i element] = tile[i][l] for l < count, i < numbers; and the way back, 0 for l >= count. */
    void (*put)(const float *tile, int64_t numbers, int64_t count, float *to, int64_t step,
                int64_t element);
    void (*take)(const float *from, int64_t step, int64_t element, int64_t numbers, int64_t count,
                 float *tile);
} eqi_spectrum_kernels;

extern const eqi_spectrum_kernels eqi_spectra_scalar;
#if defined(__x86_64__)
extern const eqi_spectrum_kernels eqi_spectra_avx2, eqi_spectra_avx512;
#endif

#endif
