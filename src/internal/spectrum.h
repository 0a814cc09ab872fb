/*
 * Signals on C_n and D_n and the layout of their spectra, for the kinds of projection that have no
 * templates (see section 12 of the header). They are kinds and not an operation of their own: latents,
 * joint action, checks, files and programs are those of every projection; SORT has no templates either.
 */
#ifndef EQI_SPECTRUM_H
#define EQI_SPECTRUM_H

#include "group.h"

/* Whether a kind is one of signals. */
bool eqi_is_spectral(equinv_projection_kind kind);

/* Numbers that such a kind makes of a signal. */
int64_t eqi_spectrum_numbers(equinv_projection_kind kind, equinv_group group);

/* C_n: characters j = 0 .. n-1, complex. D_n: the real irreps of equinv_group_irrep. */
int32_t eqi_spectrum_irreps(equinv_group group);
int32_t eqi_spectrum_dimension(equinv_group group, int32_t irrep);
/* Where the coefficient of an irrep stands among the |G| entries of all. */
int32_t eqi_spectrum_offset(equinv_group group, int32_t irrep);

/* Pairs of irreps that a bispectrum is made of, in the order of its numbers. */
typedef struct eqi_irrep_pair {
    int32_t rho, sigma;
} eqi_irrep_pair;

int64_t eqi_spectrum_pairs(equinv_projection_kind kind, equinv_group group);
eqi_irrep_pair eqi_spectrum_pair(equinv_projection_kind kind, equinv_group group, int64_t number);

#endif
