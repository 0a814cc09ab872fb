#include <math.h>
#include <stdlib.h>

#include "common.h"

/* Rows of D numbers, without a group: [N, D, 1, 1, 1]. Codes are row-major. */
static equinv_tensor as_rows(const equinv_tensor *codes)
{
    equinv_tensor rows;
    const int64_t n = codes->shape[0], width = n ? equinv_tensor_count(codes) / n : 0;
    if (equinv_tensor_init(codes->data, codes->dtype, 5, (int64_t[]){n, width, 1, 1, 1}, &rows))
        abort(); /* a created tensor has a shape that fits */
    return rows;
}

double largest_row_error(const equinv_tensor *a, const equinv_tensor *b)
{
    double worst = 0;
    const int64_t rows = a->shape[0], width = rows ? equinv_tensor_count(a) / rows : 0;
    const float *const x = a->data, *const y = b->data;
    for (int64_t n = 0; n < rows; n++) {
        double difference = 0, size = 0;
        for (int64_t i = n * width; i < (n + 1) * width; i++) {
            difference = fmax(difference, fabs((double)x[i] - (double)y[i]));
            size = fmax(size, fabs((double)y[i]));
        }
        worst = fmax(worst, size > 0 ? difference / size : difference > 0 ? (double)INFINITY : 0);
    }
    return worst;
}

/* ---- orbits --------------------------------------------------------------------------------- */

/* Mean distance to the others, and for every row the distance to the nearest of them. */
static equinv_status distances_between(equinv_context *cpu, const equinv_tensor *codes,
                                       double *mean, float *nearest)
{
    const equinv_tensor rows = as_rows(codes);
    const int64_t count = rows.shape[0];
    double sum = 0;
    equinv_tensor all = {0};
    equinv_status status;
    TRY(equinv_tensor_create(cpu, EQUINV_F32, 2, (int64_t[]){count, count}, &all));
    TRY(equinv_orbit_distance(cpu, equinv_cyclic(1), &rows, &rows, &all, NULL));
    for (int64_t i = 0; i < count; i++) {
        const float *const from = (const float *)all.data + i * count;
        nearest[i] = INFINITY;
        for (int64_t j = 0; j < count; j++)
            if (j != i) {
                sum += (double)from[j];
                nearest[i] = fminf(nearest[i], from[j]);
            }
    }
    *mean = count > 1 ? sum / (double)(count * (count - 1)) : (double)NAN;
done:
    equinv_tensor_destroy(cpu, &all);
    return status;
}

static double row_distance(const equinv_tensor *a, const equinv_tensor *b, int64_t row)
{
    const int64_t width = equinv_tensor_count(a) / a->shape[0];
    const float *const x = (const float *)a->data + row * width;
    const float *const y = (const float *)b->data + row * width;
    double sum = 0;
    for (int64_t i = 0; i < width; i++)
        sum += ((double)x[i] - (double)y[i]) * ((double)x[i] - (double)y[i]);
    return sqrt(sum);
}

enum { ORBITS = 1000 }; /* digits compared at most: all pairs are */

static equinv_status measure_orbits(equinv_context *cpu, const digit_sets *codes, orbit_figures *f)
{
    const int64_t all = codes->turned[0].shape[0], count = all < ORBITS ? all : ORBITS;
    int64_t own = 0;
    equinv_tensor turned[TURNS];
    float *const nearest = malloc(sizeof *nearest * (size_t)(count > 0 ? count : 1));
    equinv_status status = EQUINV_ERR_NOMEM;
    *f = (orbit_figures){0};
    if (!nearest)
        return status;
    for (int g = 0; g < TURNS; g++)
        TRY(equinv_tensor_rows(&codes->turned[g], 0, count, &turned[g]));
    TRY(distances_between(cpu, &turned[0], &f->between, nearest));
    for (int64_t n = 0; n < count; n++) {
        double closest = (double)INFINITY;
        for (int g = 1; g < TURNS; g++) {
            const double distance = row_distance(&turned[g], &turned[0], n);
            f->within += distance / (double)(count * (TURNS - 1));
            closest = fmin(closest, distance);
        }
        own += closest < (double)nearest[n];
    }
    for (int g = 1; g < TURNS; g++)
        f->invariance_error = fmax(f->invariance_error, largest_row_error(&turned[g], &turned[0]));
    f->own = (double)own / (double)count;
done:
    free(nearest);
    return status;
}

equinv_status equivariance_error(equinv_context *cpu, const digit_sets *latents, double *error)
{
    equinv_tensor moved = {0};
    equinv_status status;
    *error = 0;
    TRY(equinv_tensor_create(cpu, EQUINV_F32, 5, latents->turned[0].shape, &moved));
    for (int32_t g = 1; g < TURNS; g++) {
        TRY(equinv_act(cpu, equinv_cyclic(TURNS), g, &latents->turned[0], &moved));
        *error = fmax(*error, largest_row_error(&latents->turned[g], &moved));
    }
done:
    equinv_tensor_destroy(cpu, &moved);
    return status;
}

/* ---- codes ---------------------------------------------------------------------------------- */

equinv_status measure_code(const coder *c, const digit_sets *latents, code_figures *figures)
{
    equinv_context *const cpu = c->place->cpu;
    digit_sets codes;
    equinv_status status;
    figures->desc = c->desc;
    TRY(map_sets(encode, c, latents, &codes));
    figures->numbers = equinv_tensor_count(&codes.gallery) / codes.gallery.shape[0];
    for (query_set q = UPRIGHT; q < QUERY_SETS; q++)
        TRY(equinv_knn_accuracy(cpu, &codes.gallery, codes.gallery_labels, &codes.queries[q],
                                codes.query_labels, NEIGHBOURS, &figures->knn[q]));
    TRY(measure_orbits(cpu, &codes, &figures->orbit));
done:
    sets_free(cpu, &codes);
    return status;
}

/* ---- the quotient itself --------------------------------------------------------------------- */

/* The nearest of a row of distances, ascending; the lower index on ties. */
static void find_nearest(const float *distance, int64_t count, int32_t nearest[NEIGHBOURS])
{
    int found = 0;
    for (int32_t n = 0; n < count; n++) {
        int at = found < NEIGHBOURS ? found++ : NEIGHBOURS;
        for (; at > 0 && distance[n] < distance[nearest[at - 1]]; at--)
            if (at < NEIGHBOURS)
                nearest[at] = nearest[at - 1];
        if (at < NEIGHBOURS)
            nearest[at] = n;
    }
}

/* The commonest label of the nearest; of two as common the one that has the nearer. */
static int32_t vote(const int32_t nearest[NEIGHBOURS], const int32_t *labels)
{
    int most = 0;
    int32_t winner = labels[nearest[0]];
    for (int i = 0; i < NEIGHBOURS; i++) {
        int count = 0;
        for (int j = 0; j < NEIGHBOURS; j++)
            count += labels[nearest[j]] == labels[nearest[i]];
        if (count > most) {
            most = count;
            winner = labels[nearest[i]];
        }
    }
    return winner;
}

enum { ROWS = 250 }; /* queries at a time: their distances to all of the gallery are held */

static equinv_status orbit_accuracy(equinv_context *cpu, equinv_group group,
                                    const digit_sets *latents, const equinv_tensor *queries,
                                    const equinv_tensor *room, double *accuracy)
{
    const int64_t count = queries->shape[0], gallery = latents->gallery.shape[0];
    int64_t right = 0;
    equinv_status status = EQUINV_OK;
    for (int64_t first = 0; first < count; first += ROWS) {
        const int64_t rows = count - first < ROWS ? count - first : ROWS;
        equinv_tensor some, distance;
        TRY(equinv_tensor_rows(queries, first, rows, &some));
        TRY(equinv_tensor_rows(room, 0, rows, &distance));
        TRY(equinv_orbit_distance(cpu, group, &some, &latents->gallery, &distance, NULL));
        for (int64_t n = 0; n < rows; n++) {
            int32_t nearest[NEIGHBOURS];
            find_nearest((const float *)distance.data + n * gallery, gallery, nearest);
            right += vote(nearest, latents->gallery_labels->data) ==
                     ((const int32_t *)latents->query_labels->data)[first + n];
        }
    }
    *accuracy = (double)right / (double)count;
done:
    return status;
}

equinv_status measure_orbit_distance(equinv_context *cpu, equinv_group group,
                                     const digit_sets *latents, double knn[QUERY_SETS])
{
    equinv_tensor room = {0};
    equinv_status status;
    TRY(equinv_tensor_create(cpu, EQUINV_F32, 2, (int64_t[]){ROWS, latents->gallery.shape[0]},
                             &room));
    for (query_set q = UPRIGHT; q < QUERY_SETS; q++)
        TRY(orbit_accuracy(cpu, group, latents, &latents->queries[q], &room, &knn[q]));
done:
    equinv_tensor_destroy(cpu, &room);
    return status;
}
