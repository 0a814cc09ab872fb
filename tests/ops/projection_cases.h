/* Random projection problems and the definition by brute force, for the projection tests. */
#ifndef TESTS_OPS_PROJECTION_CASES_H
#define TESTS_OPS_PROJECTION_CASES_H

#include <math.h>

#include "tests/util/test.h"

/* Groups with and without pixels; height 0: none. */
typedef struct group_case {
    equinv_group group;
    int64_t height, width;
} group_case;

static const group_case group_cases[] = {
    {{EQUINV_GROUP_CYCLIC, 1}, 1, 1},   {{EQUINV_GROUP_CYCLIC, 2}, 1, 1},
    {{EQUINV_GROUP_CYCLIC, 3}, 1, 1},   {{EQUINV_GROUP_CYCLIC, 4}, 1, 1},
    {{EQUINV_GROUP_CYCLIC, 5}, 1, 1},   {{EQUINV_GROUP_CYCLIC, 8}, 1, 1},
    {{EQUINV_GROUP_DIHEDRAL, 1}, 1, 1}, {{EQUINV_GROUP_DIHEDRAL, 3}, 1, 1},
    {{EQUINV_GROUP_DIHEDRAL, 4}, 1, 1}, {{EQUINV_GROUP_DIHEDRAL, 8}, 1, 1},
    {{EQUINV_GROUP_CYCLIC, 1}, 3, 2},   {{EQUINV_GROUP_CYCLIC, 2}, 2, 5},
    {{EQUINV_GROUP_CYCLIC, 4}, 3, 3},   {{EQUINV_GROUP_CYCLIC, 4}, 4, 4},
    {{EQUINV_GROUP_DIHEDRAL, 1}, 3, 4}, {{EQUINV_GROUP_DIHEDRAL, 2}, 3, 2},
    {{EQUINV_GROUP_DIHEDRAL, 4}, 3, 3}, {{EQUINV_GROUP_DIHEDRAL, 4}, 2, 2},
};
enum { GROUP_CASES = sizeof group_cases / sizeof *group_cases };

static const equinv_projection_kind orbit_kinds[] = {
    EQUINV_PROJECT_LINEAR,    EQUINV_PROJECT_MAX,      EQUINV_PROJECT_MEAN,
    EQUINV_PROJECT_MEAN_RELU, EQUINV_PROJECT_MEAN_ABS, EQUINV_PROJECT_MEAN_SQUARE,
    EQUINV_PROJECT_SORTED,    EQUINV_PROJECT_ORBIT,    EQUINV_PROJECT_MIN,
    EQUINV_PROJECT_MOMENT3,   EQUINV_PROJECT_CDF,
};

/* What CDF counts. */
static const double some_thresholds[] = {0.3, -0.7, (double)INFINITY, 1.9, -0.1};
enum { SOME_THRESHOLDS = sizeof some_thresholds / sizeof *some_thresholds };
enum { ORBIT_KINDS = sizeof orbit_kinds / sizeof *orbit_kinds };

static const char *const implementations[] = {"ref", "gemm", "gfourier"};
enum { IMPLEMENTATIONS = sizeof implementations / sizeof *implementations };

static inline int32_t order_of(equinv_group g)
{
    int32_t order;
    OK(equinv_group_order(g, &order));
    return order;
}

static inline equinv_projection_desc desc_of(equinv_projection_kind kind, group_case c,
                                             equinv_dtype dtype, int64_t fields, int64_t k,
                                             uint64_t seed)
{
    equinv_projection_desc d = EQUINV_PROJECTION_DESC_INIT;
    d.kind = kind;
    d.group = c.group;
    d.dtype = dtype;
    d.fields = fields;
    d.height = c.height;
    d.width = c.width;
    d.k = k;
    d.seed = seed;
    if (kind == EQUINV_PROJECT_CDF) {
        d.thresholds = some_thresholds;
        d.threshold_count = SOME_THRESHOLDS;
    }
    return d;
}

static inline equinv_projection *projection_new(equinv_context *ctx,
                                                const equinv_projection_desc *d)
{
    equinv_projection *p = NULL;
    OK(equinv_projection_create(ctx, d, &p));
    return p;
}

static inline equinv_tensor latents_of(equinv_context *ctx, rng *r, const equinv_projection_desc *d,
                                       int64_t batch)
{
    equinv_tensor z;
    OK(equinv_tensor_create(ctx, d->dtype, 5,
                            (int64_t[]){batch, d->fields, order_of(d->group), d->height, d->width},
                            &z));
    tensor_fill_random(r, &z);
    return z;
}

static inline equinv_tensor codes_of(equinv_context *ctx, const equinv_projection *p,
                                     equinv_dtype dtype, int64_t batch)
{
    int32_t ndim;
    int64_t shape[3];
    equinv_tensor t;
    OK(equinv_projection_output_shape(p, batch, &ndim, shape));
    OK(equinv_tensor_create(ctx, dtype, ndim, shape, &t));
    return t;
}

/* A buffer for what forward keeps: its size is at least 1, so that it is never NULL. */
static inline equinv_tensor saved_of(equinv_context *ctx, const equinv_projection *p, int64_t batch)
{
    const int64_t size = equinv_projection_saved_size(p, batch);
    ck_assert(size >= 0);
    equinv_tensor t;
    OK(equinv_tensor_create(ctx, EQUINV_U8, 1, (int64_t[]){size + 1}, &t));
    return t;
}

static inline size_t size_of(const equinv_tensor *t)
{
    return (size_t)equinv_tensor_count(t) * equinv_dtype_size(t->dtype);
}

/* Projects in one go, without keeping anything for backward. */
static inline equinv_tensor project(equinv_context *ctx, const equinv_projection *p,
                                    const equinv_tensor *z, const equinv_tensor *mask)
{
    equinv_tensor codes = codes_of(ctx, p, z->dtype, z->shape[0]);
    OK(equinv_project_forward(p, z, mask, &codes, NULL, 0, NULL, 0));
    return codes;
}

static inline equinv_tensor acted(equinv_context *ctx, equinv_group group, int32_t g,
                                  const equinv_tensor *z)
{
    equinv_tensor moved = tensor_like(ctx, z);
    OK(equinv_act(ctx, group, g, z, &moved));
    return moved;
}

/* <w_k, g z_b> for all [b, k, g] in double, through equinv_act alone. */
static inline equinv_tensor orbit_by_action(equinv_context *ctx, const equinv_projection *p,
                                            const equinv_projection_desc *d, const equinv_tensor *z)
{
    const int32_t order = order_of(d->group);
    const int64_t batch = z->shape[0];
    equinv_tensor w, orbit;
    OK(equinv_projection_templates(p, &w));
    OK(equinv_tensor_create(ctx, EQUINV_F64, 3, (int64_t[]){batch, d->k, order}, &orbit));
    const int64_t dimension = d->fields * order * d->height * d->width;
    for (int32_t g = 0; g < order; g++) {
        equinv_tensor moved = acted(ctx, d->group, g, z);
        for (int64_t b = 0; b < batch; b++)
            for (int64_t k = 0; k < d->k; k++) {
                double sum = 0;
                for (int64_t i = 0; i < dimension; i++)
                    sum +=
                        tensor_get(&w, k * dimension + i) * tensor_get(&moved, b * dimension + i);
                tensor_set(&orbit, (b * d->k + k) * order + g,
                           d->scaled ? sum / sqrt((double)d->k) : sum);
            }
        equinv_tensor_destroy(ctx, &moved);
    }
    return orbit;
}

static inline int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* What a kind makes of an orbit of numbers. */
static inline void reduce_orbit(const equinv_projection_desc *d, const double *v, int32_t order,
                                double *out)
{
    const equinv_projection_kind kind = d->kind;
    double sum = 0, largest = v[0], least = v[0];
    for (int32_t g = 0; g < order; g++) {
        largest = fmax(largest, v[g]);
        least = fmin(least, v[g]);
        switch (kind) {
        case EQUINV_PROJECT_MOMENT3: sum += pow(v[g], 3); break;
        case EQUINV_PROJECT_MEAN_RELU: sum += fmax(0, v[g]); break;
        case EQUINV_PROJECT_MEAN_ABS: sum += fabs(v[g]); break;
        case EQUINV_PROJECT_MEAN_SQUARE: sum += v[g] * v[g]; break;
        default: sum += v[g]; break;
        }
    }
    if (kind == EQUINV_PROJECT_SORTED || kind == EQUINV_PROJECT_ORBIT) {
        double all[2 * EQUINV_GROUP_MAX_N];
        memcpy(all, v, (size_t)order * sizeof *v);
        if (kind == EQUINV_PROJECT_SORTED)
            qsort(all, (size_t)order, sizeof *all, ascending);
        for (int64_t i = 0; i < (d->ranks ? d->rank_count : order); i++)
            out[i] = all[d->ranks ? d->ranks[i] : i];
    } else if (kind == EQUINV_PROJECT_CDF) {
        for (int64_t t = 0; t < d->threshold_count; t++) {
            int32_t count = 0;
            for (int32_t g = 0; g < order; g++)
                count += v[g] <= d->thresholds[t];
            out[t] = (double)count / order;
        }
    } else {
        out[0] = kind == EQUINV_PROJECT_MAX   ? largest
                 : kind == EQUINV_PROJECT_MIN ? least
                                              : sum / order;
    }
}

/* The codes by definition, in F64. */
static inline equinv_tensor project_by_action(equinv_context *ctx, const equinv_projection *p,
                                              const equinv_projection_desc *d,
                                              const equinv_tensor *z)
{
    const int32_t order = order_of(d->group);
    equinv_tensor orbit = orbit_by_action(ctx, p, d, z);
    equinv_tensor codes = codes_of(ctx, p, EQUINV_F64, z->shape[0]);
    const int64_t width = codes.ndim == 3 ? codes.shape[2] : 1;
    for (int64_t i = 0; i < z->shape[0] * d->k; i++)
        reduce_orbit(d, (const double *)orbit.data + i * order, order,
                     (double *)codes.data + i * width);
    equinv_tensor_destroy(ctx, &orbit);
    return codes;
}

/* Rows under S. */
static inline equinv_projection_desc rows_desc(equinv_projection_kind kind, equinv_dtype dtype,
                                               int64_t rows, int64_t channels, int64_t k,
                                               uint64_t seed)
{
    equinv_projection_desc d = EQUINV_PROJECTION_DESC_INIT;
    d.kind = kind;
    d.group = equinv_symmetric();
    d.dtype = dtype;
    d.rows = rows;
    d.channels = channels;
    d.k = k;
    d.seed = seed;
    return d;
}

#endif
