/* Invariant projections, templates, orbit distances and the nearest orbits. */
#include <math.h>
#include <string.h>

#include "bench/bench.h"

static bool of_rows(const bench_case *c)
{
    return kind_of_rows((equinv_projection_kind)c->kind);
}

static int64_t channels_of(const bench_case *c)
{
    return c->channels ? c->channels : 1;
}

static equinv_status latents(problem *p, int64_t batch)
{
    const bench_case *const c = &p->what;
    return problem_input(p, p->dtype, 5,
                         SHAPE(batch, c->fields_in, case_order(c), c->height, c->width));
}

/* ---- project, rowsort ----------------------------------------------------------------------------- */

static equinv_status create_projection(problem *p, equinv_projection_kind kind, bool rows)
{
    static const double zero = 0; /* the threshold of peer_reduce too */
    const bench_case *const c = &p->what;
    equinv_projection_desc d = EQUINV_PROJECTION_DESC_INIT;
    d.kind = kind;
    d.group = rows ? equinv_symmetric() : c->group;
    d.dtype = p->dtype;
    d.fields = c->fields_in, d.height = c->height, d.width = c->width;
    d.rows = c->rows, d.channels = channels_of(c);
    d.k = c->k;
    d.seed = c->seed;
    d.impl = p->impl;
    if (kind == EQUINV_PROJECT_CDF)
        d.thresholds = &zero, d.threshold_count = 1;
    const equinv_status status = equinv_projection_create(p->ctx, &d, &p->projection);
    if (!status)
        p->impl_name = equinv_projection_impl_name(p->projection);
    return status;
}

static equinv_status source(problem *p, bool rows)
{
    const bench_case *const c = &p->what;
    return rows ? problem_input(p, p->dtype, 3, SHAPE(c->batch, c->rows, channels_of(c)))
                : latents(p, c->batch);
}

static equinv_status gradient_of_source(problem *p, bool rows)
{
    const bench_case *const c = &p->what;
    return rows ? problem_output(p, p->dtype, 3, SHAPE(c->batch, c->rows, channels_of(c)))
                : problem_output(p, p->dtype, 5,
                                 SHAPE(c->batch, c->fields_in, case_order(c), c->height, c->width));
}

static equinv_status gradient_of_templates(problem *p, bool rows)
{
    const bench_case *const c = &p->what;
    return rows ? problem_output(p, p->dtype, 2, SHAPE(c->k, channels_of(c)))
                : problem_output(p, p->dtype, 5,
                                 SHAPE(c->k, c->fields_in, case_order(c), c->height, c->width));
}

static equinv_status create(problem *p, equinv_projection_kind kind, bool rows)
{
    const bool templates = p->what.pass == PASS_BACKWARD_WEIGHTS;
    int32_t ndim;
    int64_t shape[3];
    equinv_status status = create_projection(p, kind, rows);
    if (status ||
        (status = equinv_projection_output_shape(p->projection, p->what.batch, &ndim, shape)))
        return status;
    if (p->what.pass == PASS_FORWARD) {
        status = source(p, rows);
        return status ? status : problem_output(p, p->dtype, ndim, shape);
    }
    /* diff_dst, and src for the forward that fills `saved`. */
    const int64_t size = equinv_projection_saved_size(p->projection, p->what.batch);
    equinv_tensor dst;
    if ((status = problem_input(p, p->dtype, ndim, shape)) || (status = source(p, rows)) ||
        (status = templates ? gradient_of_templates(p, rows) : gradient_of_source(p, rows)) ||
        size <= 0 || (status = problem_saved(p, (size_t)size)) ||
        (status = equinv_tensor_create(p->ctx, p->dtype, ndim, shape, &dst)))
        return status;
    status = equinv_project_forward(p->projection, &p->input[1], NULL, &dst, p->saved[0].data,
                                    (size_t)size, NULL, 0);
    if (!status)
        status = equinv_context_synchronize(p->ctx);
    equinv_tensor_destroy(p->ctx, &dst);
    return status;
}

static equinv_status project_create(problem *p)
{
    return create(p, (equinv_projection_kind)p->what.kind, of_rows(&p->what));
}

static equinv_status rowsort_create(problem *p)
{
    return create(p, EQUINV_PROJECT_SORT, true);
}

static equinv_status project_run(problem *p)
{
    if (p->what.pass == PASS_FORWARD)
        return equinv_project_forward(p->projection, &p->input[0], NULL, &p->output[0], NULL, 0,
                                      NULL, 0);
    const size_t size = (size_t)equinv_projection_saved_size(p->projection, p->what.batch);
    if (p->what.pass == PASS_BACKWARD_WEIGHTS)
        return equinv_project_backward_templates(p->projection, &p->input[1], NULL, &p->input[0],
                                                 p->saved[0].data, size, &p->output[0], NULL, 0);
    return equinv_project_backward(p->projection, &p->input[0], NULL, p->saved[0].data, size,
                                   &p->output[0], NULL, 0);
}

/*
 * Gradients go to members of an orbit by their order or sign. Where two of them, or one and zero, are closer than
 * rounding, f32 and the reference may give them to different members, and both are right.
 */
static bool near_kink(int kind, const double *sorted, int64_t n, double near)
{
    if (kind == EQUINV_PROJECT_MAX)
        return n > 1 && sorted[n - 1] - sorted[n - 2] <= near;
    if (kind == EQUINV_PROJECT_MIN)
        return n > 1 && sorted[1] - sorted[0] <= near;
    const bool by_sign = kind == EQUINV_PROJECT_MEAN_RELU || kind == EQUINV_PROJECT_MEAN_ABS;
    for (int64_t i = by_sign ? 0 : 1; i < n; i++)
        if ((by_sign ? fabs(sorted[i]) : sorted[i] - sorted[i - 1]) <= near)
            return true;
    return false;
}

static bool has_kinks(int kind)
{
    return kind == EQUINV_PROJECT_SORTED || kind == EQUINV_PROJECT_PROJECT_SORT ||
           kind == EQUINV_PROJECT_MAX || kind == EQUINV_PROJECT_MIN ||
           kind == EQUINV_PROJECT_MEAN_RELU || kind == EQUINV_PROJECT_MEAN_ABS;
}

/* The sorted inner products of the reference's latents, [code][n], in double. */
static equinv_status sorted_products(const problem *reference, equinv_tensor *sorted)
{
    const bool rows = of_rows(&reference->what);
    problem p = {.what = reference->what, .ctx = reference->ctx, .dtype = EQUINV_F64};
    int32_t ndim;
    int64_t shape[3];
    equinv_status status =
        create_projection(&p, rows ? EQUINV_PROJECT_PROJECT_SORT : EQUINV_PROJECT_SORTED, rows);
    if (!status)
        status = equinv_projection_output_shape(p.projection, p.what.batch, &ndim, shape);
    if (!status)
        status = equinv_tensor_create(p.ctx, EQUINV_F64, ndim, shape, sorted);
    if (!status)
        status = equinv_project_forward(p.projection, &reference->input[1], NULL, sorted, NULL, 0,
                                        NULL, 0);
    equinv_projection_destroy(p.projection);
    return status;
}

/* No gradient for codes near a kink. */
static equinv_status project_settle(const problem *reference, problem *p, int64_t *taken,
                                    int64_t *all)
{
    const double rounding = 2e-6; /* of two products, against the largest of all */
    *taken = *all = 0;
    if (p->what.pass == PASS_FORWARD || !has_kinks(p->what.kind))
        return EQUINV_OK;
    equinv_tensor sorted = {.data = NULL};
    equinv_status status = sorted_products(reference, &sorted);
    if (status) {
        equinv_tensor_destroy(reference->ctx, &sorted);
        return status;
    }
    const equinv_tensor *const to = on_cuda(p->ctx) ? &p->host_input[0] : &p->input[0];
    const double *const v = sorted.data;
    const int64_t n = sorted.shape[2], count = equinv_tensor_count(&sorted);
    *all = count / n;
    const size_t size = (size_t)(equinv_tensor_count(to) / *all) * equinv_dtype_size(p->dtype);
    double largest = 0;
    for (int64_t i = 0; i < count; i++)
        largest = fmax(largest, fabs(v[i]));
    for (int64_t i = 0; i < *all; i++)
        if (near_kink(p->what.kind, v + i * n, n, rounding * largest)) {
            memset((char *)to->data + (size_t)i * size, 0, size);
            ++*taken;
        }
    equinv_tensor_destroy(reference->ctx, &sorted);
    if (!on_cuda(p->ctx))
        return EQUINV_OK;
    status = equinv_tensor_copy(p->ctx, to, &p->input[0]);
    return status ? status : equinv_context_synchronize(p->ctx);
}

/* One matrix for kinds that are linear in the latent, all turned templates for the others. */
static double project_products(const bench_case *c)
{
    if (of_rows(c))
        return c->kind == EQUINV_PROJECT_SORT
                   ? 0
                   : (double)c->batch * (double)(c->rows * c->k) * (double)channels_of(c);
    const bool linear = c->kind == EQUINV_PROJECT_LINEAR || c->kind == EQUINV_PROJECT_MEAN;
    const double dimension = (double)(c->fields_in * case_order(c) * c->height * c->width);
    return (double)c->batch * dimension * (double)c->k * (linear ? 1 : (double)case_order(c));
}

static const char *const impls[] = {"gfourier", "gemm", "network", "ref", NULL};

const operation project_operation = {
    .name = "project",
    .purpose = "invariant projection of latents",
    .runner = {.create = project_create, .run = project_run},
    .settle = project_settle,
    .passes = PASS_FORWARD | PASS_BACKWARD_DATA | PASS_BACKWARD_WEIGHTS,
    .uses = USES_GROUP | USES_K | USES_SIZE | USES_IMPL,
    .batch_power = 1,
    .kinds = kind_words,
    .fields_in = 64,
    .size = 1,
    .dense = project_products,
    .limit = 1e-5,
    .impls = impls,
};

const operation rowsort_operation = {
    .name = "rowsort",
    .purpose = "every channel sorted over its rows",
    .runner = {.create = rowsort_create, .run = project_run},
    .passes = PASS_FORWARD | PASS_BACKWARD_DATA,
    .uses = USES_IMPL | USES_ROWS,
    .batch_power = 1,
    .limit = 0,
};

/* ---- bispectrum: spectra of signals, which have no templates --------------------------------------- */

static const word spectrum_words[] = {
    {"bispectrum", EQUINV_PROJECT_BISPECTRUM},
    {"power", EQUINV_PROJECT_POWER},
    {"bispectrum-full", EQUINV_PROJECT_BISPECTRUM_FULL},
    {"triple", EQUINV_PROJECT_TRIPLE},
    {"fourier", EQUINV_PROJECT_FOURIER},
    {NULL, 0},
};

static const char *const spectrum_impls[] = {"spectrum", "ref", NULL};

const operation bispectrum_operation = {
    .name = "bispectrum",
    .purpose = "selective bispectrum of latents; by --kind other spectra",
    .runner = {.create = project_create, .run = project_run},
    .passes = PASS_FORWARD | PASS_BACKWARD_DATA,
    .uses = USES_GROUP | USES_SIZE | USES_IMPL,
    .batch_power = 1,
    .kinds = spectrum_words,
    .fields_in = 1,
    .size = 1,
    .limit = 1e-5,
    .impls = spectrum_impls,
};

/* ---- templates ------------------------------------------------------------------------------------ */

static const word template_words[] = {
    {"gaussian", EQUINV_TEMPLATE_GAUSSIAN}, {"rademacher", EQUINV_TEMPLATE_RADEMACHER}, {NULL, 0}};

static equinv_status templates_create(problem *p)
{
    const bench_case *const c = &p->what;
    const int64_t latent = c->fields_in * case_order(c) * c->height * c->width;
    const int64_t coordinates = c->channels ? c->channels : latent;
    return problem_output(p, p->dtype, 2, c->count ? SHAPE(1, c->count) : SHAPE(c->k, coordinates));
}

static equinv_status templates_run(problem *p)
{
    return equinv_templates(p->ctx, (equinv_template_kind)p->what.kind, p->what.seed, 0,
                            &p->output[0]);
}

const operation templates_operation = {
    .name = "templates",
    .purpose = "random templates",
    .runner = {.create = templates_create, .run = templates_run},
    .passes = PASS_FORWARD,
    .uses = USES_K,
    .kinds = template_words,
    .fields_in = 64,
    .size = 1,
    .limit = 0,
};

/* ---- orbit-distance: a batch against another of the same size -------------------------------------- */

static equinv_status orbits(problem *p, int64_t batch)
{
    const bench_case *const c = &p->what;
    return c->group.kind == EQUINV_GROUP_SYMMETRIC
               ? problem_input(p, p->dtype, 3, SHAPE(batch, c->rows, channels_of(c)))
               : latents(p, batch);
}

static equinv_status distance_create(problem *p)
{
    const int64_t batch = p->what.batch;
    equinv_status status = orbits(p, batch);
    if (!status)
        status = orbits(p, batch);
    return status ? status : problem_output(p, p->dtype, 2, SHAPE(batch, batch));
}

static equinv_status distance_run(problem *p)
{
    return equinv_orbit_distance(p->ctx, p->what.group, &p->input[0], &p->input[1], &p->output[0],
                                 NULL);
}

static double products_of_pairs(const bench_case *c, double pairs)
{
    const double order = (double)case_order(c);
    if (c->group.kind == EQUINV_GROUP_SYMMETRIC) /* the costs of the assignments */
        return pairs * (double)c->rows * (double)c->rows * (double)channels_of(c);
    return pairs * order * order * (double)(c->fields_in * c->height * c->width);
}

static double distance_products(const bench_case *c)
{
    return products_of_pairs(c, (double)c->batch * (double)c->batch);
}

const operation orbit_distance_operation = {
    .name = "orbit-distance",
    .purpose = "distances between the orbits of two batches",
    .runner = {.create = distance_create, .run = distance_run},
    .passes = PASS_FORWARD,
    .uses = USES_GROUP | USES_SIZE,
    .batch_power = 2,
    .fields_in = 64,
    .size = 1,
    .dense = distance_products,
    .limit = 1e-5,
};

/* ---- neighbours: the nearest of a gallery for a batch of queries ------------------------------------ */

static equinv_status neighbours_create(problem *p)
{
    const bench_case *const c = &p->what;
    const int64_t k = case_neighbours(c);
    equinv_status status = orbits(p, c->batch);
    if (!status)
        status = orbits(p, case_gallery(c));
    if (!status)
        status = problem_output(p, p->dtype, 2, SHAPE(c->batch, k));
    /* Indices are not compared: nearly equal distances may be taken in another order in f32. */
    return status ? status : problem_saved(p, (size_t)(c->batch * k) * sizeof(int32_t));
}

static equinv_status neighbours_run(problem *p)
{
    const bench_case *const c = &p->what;
    const int64_t k = case_neighbours(c);
    equinv_tensor index;
    const equinv_status status =
        equinv_tensor_init(p->saved[0].data, EQUINV_I32, 2, SHAPE(c->batch, k), &index);
    return status ? status
                  : equinv_neighbours(p->ctx, c->group, &p->input[1], &p->input[0], k,
                                      &p->output[0], &index);
}

static double neighbours_products(const bench_case *c)
{
    return products_of_pairs(c, (double)c->batch * (double)case_gallery(c));
}

const operation neighbours_operation = {
    .name = "neighbours",
    .purpose = "the nearest orbits of a gallery",
    .runner = {.create = neighbours_create, .run = neighbours_run},
    .passes = PASS_FORWARD,
    .uses = USES_GROUP | USES_K | USES_SIZE,
    .batch_power = 2,
    .fields_in = 64,
    .size = 1,
    .dense = neighbours_products,
    .limit = 1e-5,
};
