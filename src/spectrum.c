#include "internal/spectrum.h"

static bool is_dihedral(equinv_group group)
{
    return group.kind == EQUINV_GROUP_DIHEDRAL;
}

/* Irreps of dimension 2. */
static int32_t planes(equinv_group group)
{
    return is_dihedral(group) ? (group.n - 1) / 2 : 0;
}

bool eqi_is_spectral(equinv_projection_kind kind)
{
    return kind >= EQUINV_PROJECT_POWER && kind <= EQUINV_PROJECT_FOURIER;
}

int32_t eqi_spectrum_irreps(equinv_group group)
{
    return eqi_order(group) - 3 * planes(group); /* the squares of dimensions sum to the order */
}

int32_t eqi_spectrum_dimension(equinv_group group, int32_t irrep)
{
    return irrep >= 2 && irrep < 2 + planes(group) ? 2 : 1;
}

int32_t eqi_spectrum_offset(equinv_group group, int32_t irrep)
{
    const int32_t before = irrep - 2 < planes(group) ? irrep - 2 : planes(group);
    return irrep + 3 * (before > 0 ? before : 0);
}

int64_t eqi_spectrum_pairs(equinv_projection_kind kind, equinv_group group)
{
    const int64_t irreps = eqi_spectrum_irreps(group);
    if (kind == EQUINV_PROJECT_BISPECTRUM_FULL)
        return irreps * irreps;
    return !is_dihedral(group) || group.n <= 2 ? eqi_order(group) : 2 + planes(group);
}

eqi_irrep_pair eqi_spectrum_pair(equinv_projection_kind kind, equinv_group group, int64_t number)
{
    const int32_t irreps = eqi_spectrum_irreps(group), i = (int32_t)number;
    if (kind == EQUINV_PROJECT_BISPECTRUM_FULL)
        return (eqi_irrep_pair){(int32_t)(number / irreps), (int32_t)(number % irreps)};
    if (!is_dihedral(group))
        return i == 0 ? (eqi_irrep_pair){0, 0} : (eqi_irrep_pair){1, i - 1};
    if (group.n <= 2) /* (A, A), (A, a), (A, b), (a, b) */
        return i < 3 ? (eqi_irrep_pair){0, i} : (eqi_irrep_pair){1, 2};
    return i < 2 ? (eqi_irrep_pair){0, 2 * i} : (eqi_irrep_pair){2, i};
}

int64_t eqi_spectrum_numbers(equinv_projection_kind kind, equinv_group group)
{
    const int64_t order = eqi_order(group), parts = is_dihedral(group) ? 1 : 2;
    switch (kind) {
    case EQUINV_PROJECT_POWER: return order;
    case EQUINV_PROJECT_FOURIER: return parts * order;
    case EQUINV_PROJECT_TRIPLE: return order * order;
    case EQUINV_PROJECT_BISPECTRUM_FULL: return parts * order * order;
    default: break;
    }
    return planes(group) ? 1 + 4 + 16 * (int64_t)planes(group)
                         : parts * eqi_spectrum_pairs(kind, group);
}
