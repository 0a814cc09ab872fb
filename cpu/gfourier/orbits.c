/* What every user of the transforms of orbits needs. */
#include "cpu/gfourier/projection.h"

#include "internal/rows.h"

const eqi_orbit_kernels *eqi_orbit_kernels_of(const eqi_hardware *hardware)
{
    static const eqi_orbit_kernels *const kernels[] = {
        [EQI_ISA_SCALAR] = &eqi_orbits_scalar,
#if defined(__x86_64__)
        [EQI_ISA_AVX2] = &eqi_orbits_avx2,
        [EQI_ISA_AVX512] = &eqi_orbits_avx512,
#endif
    };
    return kernels[hardware->isa];
}

void eqi_orbit_members(equinv_group group, int64_t height, int64_t width, const equinv_tensor *z,
                       int64_t *members)
{
    for (int64_t y = 0; y < height; y++)
        for (int64_t x = 0; x < width; x++)
            for (int32_t a = 0; a < eqi_order(group); a++) {
                const int64_t q = eqi_place(group, a, 0, y, x, height, width) % (height * width);
                *members++ = eqi_offset5(z, 0, 0, a, q / width, q % width);
            }
}

size_t eqi_orbit_turns_size(int64_t n)
{
    return eqi_aligned((size_t)(EQI_ORBIT_TURNS * n) * sizeof(float));
}

equinv_status eqi_orbit_turns(int32_t n, float *cosine, float *sine)
{
    for (int32_t i = 0; i < n; i++) {
        double matrix[4];
        EQI_TRY(equinv_group_plane(equinv_cyclic(n), i, matrix));
        for (int32_t period = 0; period < EQI_ORBIT_TURNS; period++) {
            cosine[period * n + i] = (float)matrix[0];
            sine[period * n + i] = (float)matrix[2];
        }
    }
    return EQUINV_OK;
}
