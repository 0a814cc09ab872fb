/* kinds bispectrum (C_n) and triple (D_n): every spectrum of signals on the group. */
#include "tests/golden/golden.h"

#ifdef EQI_HAVE_CJSON

static void destroy_projection(void *projection)
{
    equinv_projection_destroy(projection);
}

/* Numbers first, first + step, .. of every row of codes [B, 1, m], as many as a golden array has a row. */
static equinv_tensor part_of(golden_case *c, const char *name, const equinv_tensor *codes,
                             int64_t first, int64_t step)
{
    const equinv_tensor array = want_array(c, name);
    int64_t count = 1;
    for (int32_t axis = 1; axis < array.ndim; axis++)
        count *= array.shape[axis];
    if (array.ndim < 2 || array.shape[0] != codes->shape[0] ||
        first + (count - 1) * step >= codes->shape[2])
        MALFORMED(c, "array \"%s\" has more values than the library computes", name);
    equinv_tensor part = *codes;
    part.ndim = 2;
    part.data = (char *)part.data + first * (int64_t)equinv_dtype_size(part.dtype);
    part.shape[1] = count;
    part.strides[1] = step;
    return part;
}

/* Irreps (s, j) of D_n in the library's order; false after the last. */
static bool irrep_of(equinv_group group, int32_t number, int32_t *s, int32_t *j, int64_t *size)
{
    int32_t count = 0, dimension = 0;
    double matrix[4];
    if (equinv_group_irrep_count(group, &count) != EQUINV_OK || number >= count ||
        equinv_group_irrep(group, number, 0, &dimension, matrix) != EQUINV_OK)
        return false;
    const bool last = group.n % 2 == 0 && number == count - 1;
    *s = number > 0 && !last;
    *j = last ? group.n / 2 : number > 0 ? number - 1 : 0;
    *size = (int64_t)dimension * dimension;
    return true;
}

static void compare_codes(golden_case *c, equinv_group group, equinv_projection_kind kind,
                          const equinv_tensor *codes)
{
    static const struct {
        equinv_projection_kind kind;
        const char *complex_name, *name;
    } kinds[] = {
        {EQUINV_PROJECT_FOURIER, "fourier", NULL},
        {EQUINV_PROJECT_BISPECTRUM, "selective", NULL},
        {EQUINV_PROJECT_BISPECTRUM_FULL, "bispectrum", NULL},
        {EQUINV_PROJECT_POWER, NULL, "power"},
        {EQUINV_PROJECT_TRIPLE, NULL, "triple"},
    };
    char name[64];
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (kinds[i].kind != kind)
            continue;
        for (int part = 0; part < 2 && kinds[i].complex_name; part++) {
            snprintf(name, sizeof name, "%s_%s", kinds[i].complex_name, part ? "im" : "re");
            if (!has_array(c, name))
                continue;
            const equinv_tensor values = part_of(c, name, codes, part, 2);
            compare_array(c, name, &values, codes->dtype);
        }
        if (kinds[i].name && has_array(c, kinds[i].name)) {
            const equinv_tensor values = part_of(c, kinds[i].name, codes, 0, 1);
            compare_array(c, kinds[i].name, &values, codes->dtype);
        }
    }
    const bool by_irrep = kind == EQUINV_PROJECT_FOURIER || kind == EQUINV_PROJECT_POWER;
    if (!by_irrep || group.kind != EQUINV_GROUP_DIHEDRAL)
        return;
    int32_t s, j;
    int64_t at = 0, size;
    for (int32_t number = 0; irrep_of(group, number, &s, &j, &size); number++, at += size) {
        snprintf(name, sizeof name, "%s_%d_%d", kind == EQUINV_PROJECT_POWER ? "power" : "fourier",
                 (int)s, (int)j);
        if (!has_array(c, name))
            continue;
        const equinv_tensor values = part_of(c, name, codes, at, 1);
        compare_array(c, name, &values, codes->dtype);
    }
}

void run_spectrum(golden_case *c)
{
    static const equinv_projection_kind kinds[] = {
        EQUINV_PROJECT_FOURIER, EQUINV_PROJECT_POWER, EQUINV_PROJECT_BISPECTRUM,
        EQUINV_PROJECT_BISPECTRUM_FULL, EQUINV_PROJECT_TRIPLE};
    const equinv_group group = want_group(c, "group");
    const equinv_tensor f = want_axes(c, "f", 2);
    if (f.shape[1] != order_of(group))
        MALFORMED(c, "\"f\" has %lld values a signal, expected %d", (long long)f.shape[1],
                  (int)order_of(group));
    for (int d = 0; d < 2; d++)
        for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
            const equinv_tensor src = want_as(c, "f", golden_dtypes[d]);
            impl_list impls;
            equinv_projection *projection = NULL;
            equinv_projection_desc desc = EQUINV_PROJECTION_DESC_INIT;
            desc.kind = kinds[i];
            desc.group = group;
            desc.dtype = golden_dtypes[d];
            desc.fields = 1;
            desc.impl = NO_SUCH_IMPL;
            want_impls(c, equinv_projection_create(c->ctx, &desc, &projection), &impls);
            for (int k = 0; k < impls.count; k++) {
                int32_t ndim;
                int64_t shape[3];
                desc.impl = impls.name[k];
                set_how(c, desc.dtype, desc.impl, NULL);
                if (!accepts(c, equinv_projection_create(c->ctx, &desc, &projection),
                             "equinv_projection_create"))
                    continue;
                own_object(c, projection, destroy_projection);
                TRY(c, equinv_projection_output_shape(projection, src.shape[0], &ndim, shape));
                const equinv_tensor codes = new_output(c, desc.dtype, ndim, shape);
                TRY(c, equinv_project_forward(projection, &src, NULL, &codes, NULL, 0, NULL, 0));
                compare_codes(c, group, desc.kind, &codes);
            }
        }
}
#endif
