/* The report against its definition, on small data by brute force; its arguments; memory. */
#include "tests/ops/projection_cases.h"

static void close_to(const char *what, int trial, double got, double want, double tolerance)
{
    const bool same = (isnan(got) && isnan(want)) || got == want ||
                      fabs(got - want) <= tolerance * fmax(fabs(want), 1e-3);
    ck_assert_msg(same, "trial %d: %s is %.17g, expected %.17g", trial, what, got, want);
}

/* |a - b| over `count` numbers: Euclidean, and the largest. */
static double norm(const double *a, const double *b, int64_t count, double *largest)
{
    double sum = 0;
    *largest = 0;
    for (int64_t i = 0; i < count; i++) {
        const double d = a[i] - (b ? b[i] : 0);
        sum += d * d;
        *largest = fmax(*largest, fabs(d));
    }
    return sqrt(sum);
}

/* Everything about one code by definition; z, p(z) and g z, p(g z) come as F64 [B, width]. */
typedef struct brute {
    double invariance[64], within, between, least, most;
} brute;

static brute figures(const double *code, double *const *moved, int64_t batch, int64_t width,
                     int32_t order, const int64_t *sample, int64_t sampled, const double *orbit)
{
    brute r = {.least = (double)INFINITY, .most = -(double)INFINITY};
    double scale = 0, largest;
    norm(code, NULL, batch * width, &scale);
    for (int32_t g = 0; g < order; g++) {
        for (int64_t b = 0; b < batch; b++) {
            r.within += norm(moved[g] + b * width, code + b * width, width, &largest);
            r.invariance[g] = fmax(r.invariance[g], largest / scale);
        }
    }
    r.within /= (double)(batch * order);
    for (int64_t i = 0; i < sampled; i++)
        for (int64_t j = i + 1; j < sampled; j++) {
            const double d =
                norm(code + sample[i] * width, code + sample[j] * width, width, &largest);
            const double q = orbit[sample[i] * batch + sample[j]];
            r.between += d / ((double)(sampled * (sampled - 1)) / 2);
            if (q > 0) {
                r.least = fmin(r.least, d / q);
                r.most = fmax(r.most, d / q);
            }
        }
    return r;
}

static void check_code(const char *name, int trial, const equinv_report_code *got,
                       const brute *want, int32_t order, double tolerance)
{
    double invariance = 0;
    for (int32_t g = 0; g < order; g++)
        invariance = fmax(invariance, want->invariance[g]);
    /* What is rounding error alone agrees only in size. */
    if (invariance > 1e-5) {
        close_to(name, trial, got->invariance_error, invariance, tolerance);
        close_to(name, trial, got->within, want->within, tolerance);
    } else {
        ck_assert(got->invariance_error < 1e-5 && got->within < 1e-3);
    }
    close_to(name, trial, got->between, want->between, tolerance);
    close_to(name, trial, got->distortion_min, want->least, tolerance);
    close_to(name, trial, got->distortion_max, want->most, tolerance);
}

START_TEST(equals_the_definition)
{
    rng r = {UINT64_C(50) + (uint64_t)_i};
    /* waking threads for so little work takes most of the time */
    equinv_context *const ctx = context_of_threads(_i % 2 + 1);
    for (int trial = 0; trial < GROUP_CASES; trial++) {
        equinv_projection_desc d =
            desc_of(orbit_kinds[_i], group_cases[trial], trial % 2 ? EQUINV_F64 : EQUINV_F32,
                    rng_range(&r, 1, 3), rng_range(&r, 1, 5), rng_next(&r));
        const int64_t batch = rng_range(&r, 2, 20);
        const int32_t order = order_of(d.group);
        equinv_projection *p;
        OK(equinv_projection_create(ctx, &d, &p));
        equinv_tensor z = latents_of(ctx, &r, &d, batch), storage, error, moved[64], codes[64];
        equinv_tensor wide[64], wide_codes[64];
        for (int64_t i = 0; i < equinv_tensor_count(&z); i++)
            tensor_set(&z, i, tensor_get(&z, i) + 0.5);
        equinv_tensor strided = tensor_strided_copy(ctx, &r, &z, &storage);
        error = tensor_new(ctx, EQUINV_F64, 2, 2, order);
        equinv_report_desc settings = EQUINV_REPORT_DESC_INIT;
        settings.sample = trial % 3 ? 1000 : rng_range(&r, 2, 12);
        equinv_report report;
        OK(equinv_report_compute(p, &strided, NULL, &settings, &report, &error));

        const int64_t sampled = settings.sample < batch ? settings.sample : batch;
        const int64_t dimension = equinv_tensor_count(&z) / batch;
        int64_t sample[64];
        for (int64_t i = 0; i < sampled; i++)
            sample[i] = i * batch / sampled;
        double *moved_rows[64], *moved_codes[64];
        for (int32_t g = 0; g < order; g++) {
            moved[g] = acted(ctx, d.group, g, &z);
            codes[g] = project(ctx, p, &moved[g], NULL);
            wide[g] = tensor_as(ctx, &moved[g], EQUINV_F64);
            wide_codes[g] = tensor_as(ctx, &codes[g], EQUINV_F64);
            moved_rows[g] = wide[g].data;
            moved_codes[g] = wide_codes[g].data;
        }
        const int64_t width = equinv_tensor_count(&codes[0]) / batch;
        equinv_tensor orbit = tensor_new(ctx, EQUINV_F64, 2, (int)batch, (int)batch);
        OK(equinv_orbit_distance(ctx, d.group, &wide[0], &wide[0], &orbit, NULL));
        const brute raw = figures(moved_rows[0], moved_rows, batch, dimension, order, sample,
                                  sampled, orbit.data);
        const brute code =
            figures(moved_codes[0], moved_codes, batch, width, order, sample, sampled, orbit.data);
        const double tolerance = d.dtype == EQUINV_F64 ? 1e-11 : 1e-6;
        check_code("raw", trial, &report.raw, &raw, order, tolerance);
        check_code("projected", trial, &report.projected, &code, order, tolerance);
        for (int32_t g = 0; g < order; g++) {
            close_to("error", trial, tensor_get(&error, g), raw.invariance[g], tolerance);
            ck_assert(fabs(tensor_get(&error, order + g) - code.invariance[g]) < 1e-5);
        }
        ck_assert(report.latents == batch && report.sampled == sampled);
        ck_assert(report.dimension == dimension && report.code_dimension == width);
        ck_assert(report.order == order && report.rank == d.fields * d.height * d.width);
        ck_assert(isnan(report.label_chance) && isnan(report.raw.knn_accuracy) &&
                  isnan(report.projected.knn_accuracy));

        /* The variance that the orbit mean keeps. */
        equinv_tensor mean = tensor_like(ctx, &wide[0]);
        double total = 0, kept = 0;
        for (int64_t i = 0; i < dimension; i++) {
            double average = 0;
            for (int64_t b = 0; b < batch; b++)
                average += tensor_get(&wide[0], b * dimension + i) / (double)batch;
            for (int64_t b = 0; b < batch; b++)
                tensor_set(&wide[0], b * dimension + i,
                           tensor_get(&wide[0], b * dimension + i) - average);
        }
        OK(equinv_orbit_mean(ctx, d.group, &wide[0], &mean));
        total = tensor_dot(&wide[0], &wide[0]);
        kept = tensor_dot(&mean, &mean);
        close_to("kept_variance", trial, report.kept_variance, kept / total, 1e-10);

        for (int32_t g = 0; g < order; g++) {
            equinv_tensor_destroy(ctx, &moved[g]);
            equinv_tensor_destroy(ctx, &codes[g]);
            equinv_tensor_destroy(ctx, &wide[g]);
            equinv_tensor_destroy(ctx, &wide_codes[g]);
        }
        equinv_tensor *const all[] = {&z, &storage, &error, &orbit, &mean};
        for (size_t i = 0; i < sizeof all / sizeof *all; i++)
            equinv_tensor_destroy(ctx, all[i]);
        equinv_projection_destroy(p);
    }
    equinv_context_destroy(ctx);
}
END_TEST

/* Classes that a turn carries into each other: only an invariant code keeps them apart. */
static equinv_tensor turned_classes(equinv_context *ctx, rng *r, equinv_dtype dtype, int batch,
                                    equinv_tensor *labels)
{
    equinv_tensor z = tensor_new(ctx, dtype, 5, batch, 4, 4, 1, 1);
    *labels = tensor_new(ctx, EQUINV_I32, 1, batch);
    for (int b = 0; b < batch; b++) {
        tensor_set(labels, b, b % 4 - 7);
        for (int i = 0; i < 16; i++)
            tensor_set(&z, b * 16 + i,
                       0.1 * rng_uniform(r) + (i / 4 == b % 4 && i % 4 == 0 ? 1 : 0));
    }
    return z;
}

START_TEST(neighbours_show_what_invariance_gains)
{
    rng r = {60};
    equinv_context *ctx = context_new();
    equinv_tensor labels;
    equinv_tensor z = turned_classes(ctx, &r, _i ? EQUINV_F64 : EQUINV_F32, 203, &labels);
    equinv_projection_desc d =
        desc_of(EQUINV_PROJECT_LINEAR, (group_case){equinv_cyclic(4), 1, 1}, z.dtype, 4, 16, 5);
    equinv_projection *p;
    OK(equinv_projection_create(ctx, &d, &p));
    equinv_report_desc settings = EQUINV_REPORT_DESC_INIT;
    equinv_report report, again;
    settings.seed = 9;
    OK(equinv_report_compute(p, &z, &labels, &settings, &report, NULL));
    ck_assert(report.sampled == 203 && report.projected.knn_accuracy == 1);
    /* A quarter of the queries stays upright; the others look like no class in particular. */
    ck_assert(report.raw.knn_accuracy > 0.2 && report.raw.knn_accuracy < 0.75);
    ck_assert(fabs(report.label_chance - 51.0 / 203) < 1e-15);
    /* The same by the public functions: turns drawn by Philox, halves of the sample. */
    equinv_tensor queries, upright, gallery, gallery_labels, query_labels, turned;
    OK(equinv_tensor_rows(&z, 0, 101, &gallery));
    OK(equinv_tensor_rows(&z, 101, 102, &upright));
    OK(equinv_tensor_rows(&labels, 0, 101, &gallery_labels));
    OK(equinv_tensor_rows(&labels, 101, 102, &query_labels));
    queries = tensor_like(ctx, &upright);
    for (int64_t i = 0; i < 102; i++) {
        uint32_t words[4];
        equinv_tensor row, to;
        equinv_philox((uint32_t[]){(uint32_t)i, 0, 0, 0}, (uint32_t[]){9, 0}, words);
        OK(equinv_tensor_rows(&upright, i, 1, &row));
        OK(equinv_tensor_rows(&queries, i, 1, &to));
        turned = acted(ctx, d.group, (int32_t)(words[0] >> 30), &row);
        OK(equinv_tensor_convert(ctx, &turned, 1, 0, &to));
        equinv_tensor_destroy(ctx, &turned);
    }
    double accuracy;
    OK(equinv_knn_accuracy(ctx, &gallery, &gallery_labels, &queries, &query_labels, 5, &accuracy));
    ck_assert(accuracy == report.raw.knn_accuracy);
    /* More neighbours than the gallery has: all of it votes. */
    settings.neighbours = 1000;
    OK(equinv_report_compute(p, &z, &labels, &settings, &again, NULL));
    OK(equinv_knn_accuracy(ctx, &gallery, &gallery_labels, &queries, &query_labels, 101,
                           &accuracy));
    ck_assert(again.raw.knn_accuracy == accuracy);
    equinv_tensor_destroy(ctx, &z);
    equinv_tensor_destroy(ctx, &labels);
    equinv_tensor_destroy(ctx, &queries);
    equinv_projection_destroy(p);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(ratios_of_every_pair_and_known_orbits)
{
    rng r = {65};
    equinv_context *ctx = context_new();
    for (int trial = 0; trial < GROUP_CASES; trial++) {
        equinv_projection_desc d =
            desc_of(EQUINV_PROJECT_MAX, group_cases[trial], EQUINV_F64, 2, 3, rng_next(&r));
        enum { ROWS = 11 };
        equinv_projection *p;
        OK(equinv_projection_create(ctx, &d, &p));
        equinv_tensor z = latents_of(ctx, &r, &d, ROWS), codes, store, distance;
        equinv_tensor ratios = tensor_new(ctx, EQUINV_F64, 2, 2, ROWS * (ROWS - 1) / 2);
        equinv_tensor view = tensor_strided_copy(ctx, &r, &ratios, &store);
        const int64_t row = equinv_tensor_count(&z) / ROWS;
        for (int64_t i = 0; i < row; i++) /* rows 2 and 5 are one point */
            tensor_set(&z, 5 * row + i, tensor_get(&z, 2 * row + i));
        codes = project(ctx, p, &z, NULL);
        distance = tensor_new(ctx, EQUINV_F64, 2, ROWS, ROWS);
        OK(equinv_orbit_distance(ctx, d.group, &z, &z, &distance, NULL));
        equinv_report_desc settings = EQUINV_REPORT_DESC_INIT;
        equinv_report report;
        settings.ratios = &view;
        settings.seed = (uint64_t)trial;
        OK(equinv_report_compute(p, &z, NULL, &settings, &report, NULL));
        const equinv_tensor *const both[] = {&z, &codes};
        for (int which = 0; which < 2; which++) {
            const int64_t length = equinv_tensor_count(both[which]) / ROWS;
            int64_t pair = 0;
            for (int64_t i = 0; i < ROWS; i++)
                for (int64_t j = i + 1; j < ROWS; j++, pair++) {
                    double sum = 0;
                    for (int64_t c = 0; c < length; c++)
                        sum += pow(tensor_get(both[which], i * length + c) -
                                       tensor_get(both[which], j * length + c),
                                   2);
                    const double ratio = sqrt(sum) / tensor_get(&distance, i * ROWS + j);
                    const double got = tensor_get(&view, which * ROWS * (ROWS - 1) / 2 + pair);
                    if (i == 2 && j == 5)
                        ck_assert(isnan(got));
                    else
                        ck_assert_msg(fabs(got - ratio) < 1e-9, "%g, expected %g", got, ratio);
                }
        }
        /* Codes find themselves, but for the two that are one, which find either. */
        ck_assert(report.projected.own_nearest > (ROWS - 2.5) / ROWS);
        ck_assert(report.raw.own_nearest >= 0 && report.raw.own_nearest <= 1);
        settings.ratios = &distance;
        FAILS(EQUINV_ERR_SHAPE, "ratios has shape [11, 11], expected [2, 55]",
              equinv_report_compute(p, &z, NULL, &settings, &report, NULL));
        settings.ratios = &z;
        FAILS(EQUINV_ERR_SHAPE, "ratios",
              equinv_report_compute(p, &z, NULL, &settings, &report, NULL));
        equinv_tensor *const owned[] = {&z, &codes, &store, &distance, &ratios};
        for (size_t i = 0; i < sizeof owned / sizeof *owned; i++)
            equinv_tensor_destroy(ctx, owned[i]);
        equinv_projection_destroy(p);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(equal_latents_and_invariant_ones)
{
    equinv_context *ctx = context_new();
    equinv_projection_desc d = desc_of(EQUINV_PROJECT_MAX, group_cases[3], EQUINV_F32, 1, 2, 5);
    equinv_projection *p;
    OK(equinv_projection_create(ctx, &d, &p));
    equinv_report_desc settings = EQUINV_REPORT_DESC_INIT;
    equinv_report report;
    equinv_tensor z = tensor_new(ctx, EQUINV_F32, 3, 6, 1, 4), error;
    error = tensor_new(ctx, EQUINV_F64, 2, 2, 4);
    OK(equinv_report_compute(p, &z, NULL, &settings, &report, &error)); /* all zero */
    ck_assert(isnan(report.kept_variance) && isnan(report.raw.distortion_min));
    ck_assert(report.raw.invariance_error == 0 && report.projected.invariance_error == 0);
    ck_assert(tensor_max_abs(&error) == 0 && report.raw.between == 0 && report.raw.within == 0);
    for (int64_t i = 0; i < 24; i++) /* constant on orbits: raw codes are invariant already */
        tensor_set(&z, i, (double)(i / 4));
    OK(equinv_report_compute(p, &z, NULL, &settings, &report, NULL));
    ck_assert(report.kept_variance == 1 && report.raw.within == 0);
    ck_assert(report.raw.distortion_min == 1 && report.raw.distortion_max == 1);
    for (int64_t i = 4; i < 24; i++) /* rows 0 and 1 in one orbit, which has no distortion */
        tensor_set(&z, i, i == 5 ? 1 : i < 8 ? 0 : (double)(i * i));
    tensor_set(&z, 0, 1);
    OK(equinv_report_compute(p, &z, NULL, &settings, &report, NULL));
    ck_assert(isfinite(report.raw.distortion_max) && report.raw.distortion_min >= 1);
    tensor_set(&z, 9, (double)NAN);
    OK(equinv_report_compute(p, &z, NULL, &settings, &report, &error));
    ck_assert(isnan(report.raw.invariance_error) && isnan(report.projected.invariance_error));
    ck_assert(isnan(report.raw.within) && isnan(report.raw.between) && isnan(report.kept_variance));
    equinv_tensor_destroy(ctx, &z);
    equinv_tensor_destroy(ctx, &error);
    equinv_projection_destroy(p);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(many_chunks_give_the_same_figures)
{
    /* Chunks hold 256 latents at most: the same latents three times over change nothing but counts. */
    rng r = {70};
    equinv_context *ctx = context_new();
    equinv_projection_desc d = desc_of(EQUINV_PROJECT_SORTED, group_cases[3], EQUINV_F64, 2, 3, 5);
    equinv_projection *p;
    OK(equinv_projection_create(ctx, &d, &p));
    equinv_tensor z = latents_of(ctx, &r, &d, 250);
    equinv_tensor all = tensor_new(ctx, EQUINV_F64, 5, 750, 2, 4, 1, 1);
    for (int64_t i = 0; i < equinv_tensor_count(&all); i++)
        tensor_set(&all, i, tensor_get(&z, i % equinv_tensor_count(&z)));
    equinv_report_desc settings = EQUINV_REPORT_DESC_INIT;
    settings.sample = 50;
    equinv_report one, three;
    OK(equinv_report_compute(p, &z, NULL, &settings, &one, NULL));
    OK(equinv_report_compute(p, &all, NULL, &settings, &three, NULL));
    ck_assert(three.latents == 750 && three.sampled == 50);
    ck_assert(one.raw.invariance_error == three.raw.invariance_error);
    ck_assert(fabs(one.raw.within - three.raw.within) < 1e-12);
    ck_assert(fabs(one.kept_variance - three.kept_variance) < 1e-12);
    equinv_tensor_destroy(ctx, &z);
    equinv_tensor_destroy(ctx, &all);
    equinv_projection_destroy(p);
    equinv_context_destroy(ctx);
}
END_TEST

typedef struct watch {
    int64_t calls, last, total, stop_at;
} watch;

static int watching(void *user, int64_t done, int64_t total)
{
    watch *const w = user;
    ck_assert(done > w->last && done <= total && (w->calls == 0 || total == w->total));
    w->calls++;
    w->last = done;
    w->total = total;
    return w->calls == w->stop_at;
}

START_TEST(progress_ascends_and_stops)
{
    rng r = {80};
    equinv_context *ctx = context_new();
    equinv_projection_desc d = desc_of(EQUINV_PROJECT_MAX, group_cases[3], EQUINV_F32, 2, 3, 5);
    equinv_projection *p;
    OK(equinv_projection_create(ctx, &d, &p));
    equinv_tensor z = latents_of(ctx, &r, &d, 600), error = tensor_new(ctx, EQUINV_F64, 2, 2, 4);
    watch w = {0};
    equinv_report_desc settings = EQUINV_REPORT_DESC_INIT;
    settings.sample = 100;
    settings.progress = watching;
    settings.progress_user = &w;
    equinv_report report;
    OK(equinv_report_compute(p, &z, NULL, &settings, &report, NULL));
    ck_assert(w.last == w.total && w.calls > 6);
    const int64_t calls = w.calls;
    memset(&report, 0x5a, sizeof report);
    const equinv_report before = report;
    for (int64_t stop = 1; stop <= calls; stop++) {
        w = (watch){.stop_at = stop};
        FAILS(EQUINV_ERR_CANCELLED, "progress",
              equinv_report_compute(p, &z, NULL, &settings, &report, &error));
        ck_assert_int_eq(w.calls, stop);
        ck_assert(memcmp(&report, &before, sizeof report) == 0 && tensor_max_abs(&error) == 0);
    }
    equinv_tensor_destroy(ctx, &z);
    equinv_tensor_destroy(ctx, &error);
    equinv_projection_destroy(p);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(wrong_arguments)
{
    rng r = {90};
    equinv_context *ctx = context_new();
    equinv_projection_desc d = desc_of(EQUINV_PROJECT_MAX, group_cases[12], EQUINV_F32, 2, 3, 5);
    equinv_projection *p, *rows;
    OK(equinv_projection_create(ctx, &d, &p));
    equinv_tensor z = latents_of(ctx, &r, &d, 5), one = latents_of(ctx, &r, &d, 1);
    equinv_tensor wide = tensor_as(ctx, &z, EQUINV_F64), labels = tensor_new(ctx, EQUINV_I32, 1, 5);
    equinv_tensor bytes = tensor_new(ctx, EQUINV_U8, 1, 5), few = tensor_new(ctx, EQUINV_I32, 1, 4);
    equinv_tensor error = tensor_new(ctx, EQUINV_F64, 2, 2, 4);
    equinv_tensor narrow = tensor_new(ctx, EQUINV_F32, 2, 2, 4);
    equinv_tensor flat = tensor_new(ctx, EQUINV_F64, 1, 8), inside = error;
    inside.data = z.data;
    d = (equinv_projection_desc)EQUINV_PROJECTION_DESC_INIT;
    d.kind = EQUINV_PROJECT_SORT;
    d.group = equinv_symmetric();
    d.rows = 5, d.channels = 1;
    OK(equinv_projection_create(ctx, &d, &rows));
    const equinv_report_desc good = EQUINV_REPORT_DESC_INIT;
    equinv_report_desc bad = good;
    equinv_report report;
    memset(&report, 0x5a, sizeof report);
    const equinv_report before = report;
#define REFUSED(status, word, p_, z_, labels_, desc_, report_, error_)                             \
    FAILS(EQUINV_ERR_##status, word, equinv_report_compute(p_, z_, labels_, desc_, report_, error_))
    REFUSED(ARG, "projection is NULL", NULL, &z, NULL, &good, &report, NULL);
    REFUSED(UNSUPPORTED, "S", rows, &z, NULL, &good, &report, NULL);
    REFUSED(ARG, "latents is NULL", p, NULL, NULL, &good, &report, NULL);
    REFUSED(DTYPE, "latents", p, &wide, NULL, &good, &report, NULL);
    REFUSED(SHAPE, "latents has shape", p, &narrow, NULL, &good, &report, NULL);
    REFUSED(SHAPE, "latents has 1 rows", p, &one, NULL, &good, &report, NULL);
    REFUSED(DTYPE, "labels", p, &z, &bytes, &good, &report, NULL);
    REFUSED(SHAPE, "labels", p, &z, &few, &good, &report, NULL);
    REFUSED(ARG, "desc is NULL", p, &z, NULL, NULL, &report, NULL);
    bad.struct_size = 1;
    REFUSED(ARG, "struct_size", p, &z, NULL, &bad, &report, NULL);
    bad = good;
    bad.sample = 1;
    REFUSED(ARG, "sample is 1", p, &z, NULL, &bad, &report, NULL);
    bad = good;
    bad.neighbours = 0;
    REFUSED(ARG, "neighbours is 0", p, &z, NULL, &bad, &report, NULL);
    REFUSED(ARG, "report is NULL", p, &z, NULL, &good, NULL, NULL);
    REFUSED(DTYPE, "error", p, &z, NULL, &good, &report, &narrow);
    REFUSED(SHAPE, "error has shape [8]", p, &z, NULL, &good, &report, &flat);
    REFUSED(ARG, "error overlaps latents", p, &z, NULL, &good, &report, &inside);
#undef REFUSED
    ck_assert(memcmp(&report, &before, sizeof report) == 0);
    equinv_tensor *const all[] = {&z, &one, &wide, &labels, &bytes, &few, &error, &narrow, &flat};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        equinv_tensor_destroy(ctx, all[i]);
    equinv_projection_destroy(p);
    equinv_projection_destroy(rows);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(out_of_memory_leaves_nothing_behind)
{
    fault_allocator f = {.until = -1};
    equinv_context *const ctx = context_of_faults(&f);
    rng r = {99};
    equinv_projection_desc d = desc_of(EQUINV_PROJECT_MAX, group_cases[12], EQUINV_F32, 2, 3, 5);
    equinv_projection *p;
    OK(equinv_projection_create(ctx, &d, &p));
    equinv_tensor z = latents_of(ctx, &r, &d, 5), labels = tensor_new(ctx, EQUINV_I32, 1, 5);
    const equinv_report_desc settings = EQUINV_REPORT_DESC_INIT;
    equinv_report report;
    const int64_t live = f.live;
    equinv_status status = EQUINV_ERR_NOMEM;
    int64_t allowed = 0;
    for (; status == EQUINV_ERR_NOMEM; allowed++) {
        f.count = 0, f.until = allowed;
        status = equinv_report_compute(p, &z, &labels, &settings, &report, NULL);
        ck_assert_int_eq(f.live, live);
    }
    f.until = -1;
    ck_assert_int_eq(status, EQUINV_OK);
    ck_assert(allowed > 20);
    equinv_tensor_destroy(ctx, &z);
    equinv_tensor_destroy(ctx, &labels);
    equinv_projection_destroy(p);
    equinv_context_destroy(ctx);
    ck_assert(f.live == 0 && f.wrong_size == 0);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {equals_the_definition, ORBIT_KINDS},
        {neighbours_show_what_invariance_gains, 2},
        {ratios_of_every_pair_and_known_orbits, 1},
        {equal_latents_and_invariant_ones, 1},
        {many_chunks_give_the_same_figures, 1},
        {progress_ascends_and_stops, 1},
        {wrong_arguments, 1},
        {out_of_memory_leaves_nothing_behind, 1},
    };
    return run_tests("report", tests, sizeof tests / sizeof *tests);
}
