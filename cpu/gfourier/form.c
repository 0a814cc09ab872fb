#include "gfourier.h"

#define SAME(i)                                                                                    \
    {                                                                                              \
        i, i, i                                                                                    \
    }
const eqi_gf_form eqi_gf_forms[EQI_GF_KINDS] = {
    [EQI_GF_2] = {2, 2, 2, 2, 2, {SAME(0), SAME(1)}},
    [EQI_GF_D2] = {4, 4, 4, 4, 4, {SAME(0), SAME(1), SAME(2), SAME(3)}},
    [EQI_GF_C4] = {4, 4, 5, 4, 5, {SAME(0), SAME(1), SAME(2), SAME(3), SAME(4)}},
    /* The plane: P Phi, row by row; what is in cache from one term serves the next. */
    [EQI_GF_D4] = {8,
                   8,
                   8,
                   8,
                   12,
                   {SAME(0),
                    SAME(1),
                    SAME(2),
                    SAME(3),
                    {4, 4, 4},
                    {5, 5, 4},
                    {5, 7, 5},
                    {4, 6, 5},
                    {6, 4, 6},
                    {7, 5, 6},
                    {7, 7, 7},
                    {6, 6, 7}}},
    [EQI_GF_SUM_2] = {2, 1, 1, 1, 1, {SAME(0)}},
    [EQI_GF_SUM_4] = {4, 1, 1, 1, 1, {SAME(0)}},
    [EQI_GF_SUM_8] = {8, 1, 1, 1, 1, {SAME(0)}},
    [EQI_GF_ONE] = {1, 1, 1, 1, 1, {SAME(0)}},
};

bool eqi_gf_kind_of(equinv_group group, bool to_plane, eqi_gf_kind *kind)
{
    static const eqi_gf_kind sums[] = {
        [1] = EQI_GF_ONE, [2] = EQI_GF_SUM_2, [4] = EQI_GF_SUM_4, [8] = EQI_GF_SUM_8};
    const bool mirrors = group.kind == EQUINV_GROUP_DIHEDRAL;
    const int32_t order = eqi_order(group);
    if (!eqi_is_grid_group(group))
        return false;
    if (to_plane || order == 1)
        *kind = sums[order];
    else if (order == 2)
        *kind = EQI_GF_2;
    else if (order == 4)
        *kind = mirrors ? EQI_GF_D2 : EQI_GF_C4;
    else
        *kind = EQI_GF_D4;
    return true;
}

/*
 * Phi(rho) = sum_a phi(a) rho(a)^H times d_rho / |G| (a complex one counts twice), and what the terms of
 * cpu/kernel/gfourier.inc.c take of it.
 */
static void filter_2(const double *f, double *e)
{
    e[0] = (f[0] + f[1]) / 2;
    e[1] = (f[0] - f[1]) / 2;
}

/* e, r, f, rf */
static void filter_d2(const double *f, double *e)
{
    e[0] = (f[0] + f[1] + f[2] + f[3]) / 4;
    e[1] = (f[0] - f[1] + f[2] - f[3]) / 4;
    e[2] = (f[0] + f[1] - f[2] - f[3]) / 4;
    e[3] = (f[0] - f[1] - f[2] + f[3]) / 4;
}

static void filter_c4(const double *f, double *e)
{
    const double re = (f[0] - f[2]) / 2, im = -(f[1] - f[3]) / 2;
    e[0] = (f[0] + f[2] + f[1] + f[3]) / 4;
    e[1] = (f[0] + f[2] - f[1] - f[3]) / 4;
    e[2] = re;
    e[3] = im - re;
    e[4] = re + im;
}

/* rho(r) = [0 -1; 1 0], rho(f) = diag(-1, 1): Phi = [a - c, b - d; -b - d, a + c], by columns */
static void filter_d4(const double *f, double *e)
{
    const double p = f[0] + f[2], q = f[1] + f[3], s = f[4] + f[6], t = f[5] + f[7];
    const double a = (f[0] - f[2]) / 4, b = (f[1] - f[3]) / 4;
    const double c = (f[4] - f[6]) / 4, d = (f[5] - f[7]) / 4;
    e[0] = (p + q + s + t) / 8;
    e[1] = (p + q - s - t) / 8;
    e[2] = (p - q + s - t) / 8;
    e[3] = (p - q - s + t) / 8;
    e[4] = a - c;
    e[5] = -b - d;
    e[6] = b - d;
    e[7] = a + c;
}

static void filter_sum(const double *f, double *e)
{
    e[0] = f[0];
}

void eqi_gf_filter(eqi_gf_kind kind, const double *phi, double *entries)
{
    static void (*const filters[EQI_GF_KINDS])(const double *, double *) = {
        filter_2, filter_d2, filter_c4, filter_d4, filter_sum, filter_sum, filter_sum, filter_sum};
    filters[kind](phi, entries);
}

const eqi_gf_kernels *eqi_gf_kernels_of(const eqi_hardware *hardware)
{
    static const eqi_gf_kernels *const levels[] = {
        [EQI_ISA_SCALAR] = &eqi_gfourier_scalar,
#if defined(__x86_64__)
        [EQI_ISA_AVX2] = &eqi_gfourier_avx2,
        [EQI_ISA_AVX512] = &eqi_gfourier_avx512,
#endif
    };
    return levels[hardware->isa];
}
