/*
 * The report on latents and their codes, put together from projections, orbit distances and nearest
 * neighbours. Latents pass in chunks; what is kept of all of them are a few numbers and the sample.
 */
#include <math.h>
#include <string.h>

#include "cpu/gemm/gemm.h"
#include "internal/backend.h"
#include "internal/distance.h"
#include "internal/philox.h"
#include "internal/projection.h"
#include "internal/rows.h"

enum { CHUNK_BYTES = 4 << 20, CHUNK_ROWS = 256, PAIR_ROWS = 32, OWNED = 32 };

typedef struct work {
    const equinv_projection *p;
    equinv_context *ctx;
    const equinv_report_desc *desc;
    equinv_tensor latents; /* [B, F, G, H, W] */
    const equinv_tensor *labels;
    int64_t batch, sampled, width; /* of a code */
    int64_t chunk;
    void *scratch;          /* of the projection: its own, so that the context's arena stays free */
    int32_t *places;        /* [G, G H W]: where g takes a number inside its field */
    double *largest, *norm; /* of each row of a chunk */
    double *mean;           /* of the latents, [D] */
    double *error;          /* [2, |G|], largest differences */
    equinv_tensor z, moved; /* chunks */
    equinv_tensor codes, moved_codes; /* of them */
    equinv_tensor sample, sample_codes, sample_labels;
    struct {
        void *data;
        size_t size;
    } owned[OWNED];
    int owned_count;
} work;

/* ---- memory --------------------------------------------------------------------------------- */

static equinv_status own(work *w, int64_t count, size_t size, void **data)
{
    EQI_TRY(eqi_alloc_zeroed(w->ctx, count, size, "a report", data));
    w->owned[w->owned_count].data = *data;
    w->owned[w->owned_count++].size = (size_t)count * size;
    return EQUINV_OK;
}

static equinv_status own_doubles(work *w, int64_t count, double **data)
{
    void *memory;
    EQI_TRY(own(w, count, sizeof(double), &memory));
    *data = memory;
    return EQUINV_OK;
}

/* A row-major tensor with `rows` rows of the shape that `like` has behind its first axis. */
static equinv_status own_tensor(work *w, equinv_dtype dtype, int32_t ndim, const int64_t *like,
                                int64_t rows, equinv_tensor *tensor)
{
    int64_t shape[EQUINV_MAX_DIMS], count;
    void *memory;
    memcpy(shape, like, (size_t)ndim * sizeof *shape);
    shape[0] = rows;
    EQI_TRY(eqi_product_of("a report", ndim, shape, &count));
    EQI_TRY(own(w, count, equinv_dtype_size(dtype), &memory));
    return equinv_tensor_init(memory, dtype, ndim, shape, tensor);
}

static equinv_status allocate(work *w)
{
    const int64_t order = w->p->order, field = w->p->dimension / w->p->desc.fields;
    int64_t shape[3], places;
    const int32_t axes = eqi_projection_shape(w->p, 1, shape);
    const equinv_dtype dtype = w->p->desc.dtype;
    const int64_t *const like = w->latents.shape;
    void *memory;
    EQI_TRY(eqi_product_of("a report", 2, (int64_t[]){order, field}, &places));
    EQI_CHECK(field <= INT32_MAX, UNSUPPORTED,
              "latents have %" PRId64 " numbers a field, expected below 2^31", field);
    EQI_TRY(own(w, 1, equinv_projection_scratch_size(w->p), &w->scratch));
    EQI_TRY(own(w, places, sizeof(int32_t), &memory));
    w->places = memory;
    EQI_TRY(own_doubles(w, w->chunk, &w->largest));
    EQI_TRY(own_doubles(w, w->chunk, &w->norm));
    EQI_TRY(own_doubles(w, w->p->dimension, &w->mean));
    EQI_TRY(own_doubles(w, 2 * order, &w->error));
    EQI_TRY(own_tensor(w, dtype, 5, like, w->chunk, &w->z));
    EQI_TRY(own_tensor(w, dtype, 5, like, w->chunk, &w->moved));
    EQI_TRY(own_tensor(w, dtype, axes, shape, w->chunk, &w->codes));
    EQI_TRY(own_tensor(w, dtype, axes, shape, w->chunk, &w->moved_codes));
    EQI_TRY(own_tensor(w, dtype, 5, like, w->sampled, &w->sample));
    EQI_TRY(own_tensor(w, dtype, axes, shape, w->sampled, &w->sample_codes));
    EQI_TRY(own_tensor(w, EQUINV_I32, 1, like, w->sampled, &w->sample_labels));
    int32_t *place = w->places;
    const int64_t height = like[3], width = like[4];
    for (int32_t g = 0; g < order; g++)
        for (int64_t a = 0; a < order; a++)
            for (int64_t q = 0; q < height * width; q++)
                *place++ =
                    (int32_t)eqi_place(w->p->desc.group, g, a, q / width, q % width, height, width);
    return EQUINV_OK;
}

static void release(work *w)
{
    while (w->owned_count > 0) {
        w->owned_count--;
        eqi_free(w->ctx, w->owned[w->owned_count].data, w->owned[w->owned_count].size);
    }
}

/* ---- rows ----------------------------------------------------------------------------------- */

/* NaN wins, so that broken latents show. */
static double larger(double a, double b)
{
    return a >= b || isnan(a) ? a : b;
}

static equinv_tensor first_rows(const equinv_tensor *t, int64_t count)
{
    equinv_tensor rows = *t;
    rows.shape[0] = count;
    return rows;
}

static int64_t row_length(const equinv_tensor *t)
{
    int64_t length = 1;
    for (int32_t axis = 1; axis < t->ndim; axis++)
        length *= t->shape[axis];
    return length;
}

typedef struct comparison {
    const equinv_tensor *a, *b; /* b NULL: zeros */
    int64_t length;
    double *largest, *norm;
} comparison;

static void compare_row(void *arg, int64_t row)
{
    const comparison *const c = arg;
    double largest = 0, sum = 0;
    for (int64_t i = row * c->length; i < (row + 1) * c->length; i++) {
        const double d = eqi_load(c->a, i) - (c->b ? eqi_load(c->b, i) : 0);
        largest = larger(largest, fabs(d));
        sum += d * d;
    }
    c->largest[row] = largest;
    c->norm[row] = sqrt(sum);
}

/* |a - b| of every row, largest and Euclidean; then the largest of all, and the sum. */
static double compare(work *w, const equinv_tensor *a, const equinv_tensor *b, int64_t rows,
                      double *sum)
{
    comparison c = {a, b, row_length(a), w->largest, w->norm};
    double largest = 0;
    eqi_parallel_if_worth(w->ctx, rows, (double)rows * (double)c.length, compare_row, &c);
    for (int64_t row = 0; row < rows; row++) {
        largest = larger(largest, w->largest[row]);
        if (sum)
            *sum += w->norm[row];
    }
    return largest;
}

typedef struct movement {
    const work *w;
    const equinv_tensor *z, *moved;
    const int32_t *elements; /* one a row, or NULL: `element` for all */
    int32_t element;
} movement;

static void move_row(void *arg, int64_t row)
{
    const movement *const m = arg;
    const int64_t fields = m->w->p->desc.fields, field = m->w->p->dimension / fields;
    const int32_t *const places =
        m->w->places + (m->elements ? m->elements[row] : m->element) * field;
    for (int64_t f = row * fields; f < (row + 1) * fields; f++)
        for (int64_t i = 0; i < field; i++)
            eqi_store(m->moved, f * field + places[i], eqi_load(m->z, f * field + i));
}

static void move(movement *m, int64_t rows)
{
    const double numbers = (double)rows * (double)m->w->p->dimension;
    eqi_parallel_if_worth(m->w->ctx, rows, numbers, move_row, m);
}

static equinv_status project(const work *w, const equinv_tensor *z, const equinv_tensor *codes,
                             int64_t rows)
{
    const equinv_tensor from = first_rows(z, rows), to = first_rows(codes, rows);
    return equinv_project_forward(w->p, &from, NULL, &to, NULL, 0, w->scratch,
                                  equinv_projection_scratch_size(w->p));
}

/* Latents first .. +rows, row-major, into w->z. */
static equinv_status load_chunk(const work *w, int64_t first, int64_t rows)
{
    equinv_tensor from;
    const equinv_tensor to = first_rows(&w->z, rows);
    EQI_TRY(equinv_tensor_rows(&w->latents, first, rows, &from));
    return equinv_tensor_convert(w->ctx, &from, 1, 0, &to);
}

static equinv_status report_progress(const work *w, int64_t done)
{
    const equinv_report_desc *const d = w->desc;
    /* Every latent twice, for the figures over all of them, and every row of the pairs. */
    const int64_t total = 2 * w->batch + w->sampled;
    EQI_CHECK(!d->progress || d->progress(d->progress_user, done, total) == 0, CANCELLED,
              "the report was stopped by its progress callback after %" PRId64 " of %" PRId64
              " steps",
              done, total);
    return EQUINV_OK;
}

/* ---- over all latents ----------------------------------------------------------------------- */

/* Invariance errors (absolute, into w->error), spread inside orbits, and the mean latent. */
static equinv_status over_orbits(work *w, equinv_report *r)
{
    double largest = 0, largest_code = 0;
    double *const error = w->error, *const error_code = w->error + w->p->order;
    for (int64_t first = 0; first < w->batch; first += w->chunk) {
        const int64_t left = w->batch - first, rows = left < w->chunk ? left : w->chunk;
        EQI_TRY(load_chunk(w, first, rows));
        EQI_TRY(project(w, &w->z, &w->codes, rows));
        largest = larger(largest, compare(w, &w->z, NULL, rows, NULL));
        largest_code = larger(largest_code, compare(w, &w->codes, NULL, rows, NULL));
        for (int32_t g = 0; g < w->p->order; g++) {
            movement m = {w, &w->z, &w->moved, NULL, g};
            move(&m, rows);
            EQI_TRY(project(w, &w->moved, &w->moved_codes, rows));
            error[g] = larger(error[g], compare(w, &w->moved, &w->z, rows, &r->raw.within));
            error_code[g] = larger(
                error_code[g], compare(w, &w->moved_codes, &w->codes, rows, &r->projected.within));
        }
        for (int64_t row = 0; row < rows; row++)
            for (int64_t i = 0; i < w->p->dimension; i++)
                w->mean[i] += eqi_load(&w->z, row * w->p->dimension + i);
        EQI_TRY(report_progress(w, first + rows));
    }
    for (int64_t i = 0; i < w->p->dimension; i++)
        w->mean[i] /= (double)w->batch;
    for (int32_t g = 0; g < w->p->order; g++) {
        error[g] = error[g] == 0 ? 0 : error[g] / largest;
        error_code[g] = error_code[g] == 0 ? 0 : error_code[g] / largest_code;
        r->raw.invariance_error = larger(r->raw.invariance_error, error[g]);
        r->projected.invariance_error = larger(r->projected.invariance_error, error_code[g]);
    }
    const double orbits = (double)w->batch * w->p->order;
    r->raw.within /= orbits;
    r->projected.within /= orbits;
    return EQUINV_OK;
}

/* |z - mean|^2 of a row, and that of its orbit mean, in largest and norm. */
static void variance_of_row(void *arg, int64_t row)
{
    const work *const w = arg;
    const int64_t fields = w->p->desc.fields, field = w->p->dimension / fields;
    const int64_t pixels = field / w->p->order;
    double total = 0, kept = 0;
    for (int64_t f = 0; f < fields; f++)
        for (int64_t q = 0; q < pixels; q++) {
            double sum = 0;
            for (int32_t g = 0; g < w->p->order; g++) {
                const int64_t at = f * field + w->places[g * field + q];
                const double d = eqi_load(&w->z, row * w->p->dimension + at) - w->mean[at];
                total += d * d;
                sum += d;
            }
            kept += sum * sum / w->p->order;
        }
    w->largest[row] = total;
    w->norm[row] = kept;
}

static equinv_status over_variance(work *w, equinv_report *r)
{
    double total = 0, kept = 0;
    for (int64_t first = 0; first < w->batch; first += w->chunk) {
        const int64_t left = w->batch - first, rows = left < w->chunk ? left : w->chunk;
        EQI_TRY(load_chunk(w, first, rows));
        eqi_parallel_if_worth(w->ctx, rows, (double)rows * (double)w->p->dimension, variance_of_row,
                              w);
        for (int64_t row = 0; row < rows; row++) {
            total += w->largest[row];
            kept += w->norm[row];
        }
        EQI_TRY(report_progress(w, w->batch + first + rows));
    }
    r->kept_variance = kept / total;
    return EQUINV_OK;
}

/* ---- over the sample ------------------------------------------------------------------------ */

static equinv_status take_sample(work *w)
{
    for (int64_t i = 0; i < w->sampled; i++) {
        const int64_t row = (int64_t)((__int128)i * w->batch / w->sampled);
        equinv_tensor from, to;
        EQI_TRY(equinv_tensor_rows(&w->latents, row, 1, &from));
        EQI_TRY(equinv_tensor_rows(&w->sample, i, 1, &to));
        EQI_TRY(equinv_tensor_convert(w->ctx, &from, 1, 0, &to));
        if (w->labels)
            ((int32_t *)w->sample_labels.data)[i] =
                ((const int32_t *)w->labels->data)[row * w->labels->strides[0]];
    }
    return project(w, &w->sample, &w->sample_codes, w->sampled);
}

/* Pairs (i, j), j > i, for the rows i of a block. */
typedef struct pairs {
    const equinv_tensor *code;
    const double *orbit;         /* [rows, sampled - first]: orbit distances */
    const equinv_tensor *ratios; /* NULL, or where they go: row `which` */
    int64_t which;
    int64_t first, sampled, length;
    struct pair_sum {
        double sum, least, most;
    } * rows;
} pairs;

static double squared_distance(const equinv_tensor *code, int64_t i, int64_t j, int64_t length)
{
    if (code->dtype == EQUINV_F64) {
        const double *const rows = code->data;
        return eqi_squared_distance_f64(rows + i * length, rows + j * length, length);
    }
    const float *const rows = code->data;
    return eqi_squared_distance_f32(rows + i * length, rows + j * length, length);
}

static void pairs_of_row(void *arg, int64_t row)
{
    const pairs *const p = arg;
    const int64_t i = p->first + row;
    struct pair_sum s = {0, (double)INFINITY, -(double)INFINITY};
    for (int64_t j = i + 1; j < p->sampled; j++) {
        const double distance = sqrt(squared_distance(p->code, i, j, p->length));
        const double orbit = p->orbit[row * (p->sampled - p->first) + j - p->first];
        s.sum += distance;
        if (p->ratios) /* pairs (0, 1), (0, 2) .. (1, 2) .. */
            eqi_store(p->ratios,
                      p->which * p->ratios->strides[0] +
                          (i * (2 * p->sampled - i - 1) / 2 + j - i - 1) * p->ratios->strides[1],
                      orbit == 0 ? (double)NAN : distance / orbit);
        if (orbit == 0)
            continue;
        s.least = fmin(s.least, distance / orbit);
        s.most = fmax(s.most, distance / orbit);
    }
    p->rows[row] = s;
}

static void add_pairs(work *w, const equinv_tensor *code, const double *orbit, int64_t first,
                      int64_t rows, struct pair_sum *room, int64_t which, equinv_report_code *to)
{
    pairs p = {code, orbit, w->desc->ratios, which, first, w->sampled, row_length(code), room};
    const double count = (double)rows * (double)(w->sampled - first);
    eqi_parallel_if_worth(w->ctx, rows, count * (double)p.length, pairs_of_row, &p);
    for (int64_t row = 0; row < rows; row++) {
        to->between += room[row].sum;
        to->distortion_min = fmin(to->distortion_min, room[row].least);
        to->distortion_max = fmax(to->distortion_max, room[row].most);
    }
}

static void finish_pairs(const work *w, equinv_report_code *code)
{
    code->between /= (double)w->sampled * (double)(w->sampled - 1) / 2;
    if (!(code->distortion_min <= code->distortion_max)) /* no two orbits differ */
        code->distortion_min = code->distortion_max = (double)NAN;
}

static equinv_status over_pairs(work *w, equinv_report *r)
{
    const equinv_group group = w->p->desc.group;
    double *orbit;
    void *room;
    EQI_TRY(own_doubles(w, PAIR_ROWS * w->sampled, &orbit));
    EQI_TRY(own(w, PAIR_ROWS, sizeof(struct pair_sum), &room));
    r->raw.distortion_min = r->projected.distortion_min = (double)INFINITY;
    r->raw.distortion_max = r->projected.distortion_max = -(double)INFINITY;
    for (int64_t first = 0; first < w->sampled; first += PAIR_ROWS) {
        const int64_t left = w->sampled - first, rows = left < PAIR_ROWS ? left : PAIR_ROWS;
        equinv_tensor x, y, distance;
        EQI_TRY(equinv_tensor_rows(&w->sample, first, rows, &x));
        EQI_TRY(equinv_tensor_rows(&w->sample, first, left, &y));
        EQI_TRY(equinv_tensor_init(orbit, EQUINV_F64, 2, (int64_t[]){rows, left}, &distance));
        EQI_TRY(eqi_gemm_orbit_distance(w->ctx, group, &x, &y, &distance, NULL));
        add_pairs(w, &w->sample, orbit, first, rows, room, 0, &r->raw);
        add_pairs(w, &w->sample_codes, orbit, first, rows, room, 1, &r->projected);
        EQI_TRY(report_progress(w, 2 * w->batch + first + rows));
    }
    finish_pairs(w, &r->raw);
    finish_pairs(w, &r->projected);
    return EQUINV_OK;
}

static double commonest_share(const equinv_tensor *labels, eqi_item *items)
{
    const int64_t rows = labels->shape[0];
    int64_t most = 0, run = 0;
    for (int64_t i = 0; i < rows; i++)
        items[i] = (eqi_item){((const int32_t *)labels->data)[i * labels->strides[0]], (int32_t)i};
    eqi_sort(items, rows, items + rows);
    for (int64_t i = 0; i < rows; i++) {
        run = i > 0 && items[i].value == items[i - 1].value ? run + 1 : 1;
        most = run > most ? run : most;
    }
    return (double)most / (double)rows;
}

/* Random elements: `word` 0 turns the queries of the vote, word 1 those of known orbits. */
static void choose_elements(const work *w, int64_t count, int word, int32_t *elements)
{
    const uint32_t key[2] = {(uint32_t)w->desc->seed, (uint32_t)(w->desc->seed >> 32)};
    for (int64_t i = 0; i < count; i++) {
        const uint32_t counter[4] = {(uint32_t)i, (uint32_t)((uint64_t)i >> 32), 0, 0};
        uint32_t words[4];
        eqi_philox(counter, key, words);
        elements[i] = (int32_t)((uint64_t)words[word] * (uint64_t)w->p->order >> 32);
    }
}

/* The first half of the sample is the gallery; each of the others is turned by a random element. */
static equinv_status over_neighbours(work *w, equinv_report *r)
{
    const int64_t gallery = w->sampled / 2, queries = w->sampled - gallery;
    const int64_t wanted = w->desc->neighbours, k = wanted < gallery ? wanted : gallery;
    void *items, *memory;
    equinv_tensor upright, turned, turned_codes, labels[2], half, half_codes;
    EQI_TRY(own(w, w->batch, 2 * sizeof(eqi_item), &items));
    r->label_chance = commonest_share(w->labels, items);
    EQI_TRY(own(w, queries, sizeof(int32_t), &memory));
    EQI_TRY(own_tensor(w, w->sample.dtype, 5, w->sample.shape, queries, &turned));
    EQI_TRY(own_tensor(w, w->sample.dtype, w->sample_codes.ndim, w->sample_codes.shape, queries,
                       &turned_codes));
    int32_t *const elements = memory;
    choose_elements(w, queries, 0, elements);
    EQI_TRY(equinv_tensor_rows(&w->sample, gallery, queries, &upright));
    movement m = {w, &upright, &turned, elements, 0};
    move(&m, queries);
    EQI_TRY(project(w, &turned, &turned_codes, queries));
    EQI_TRY(equinv_tensor_rows(&w->sample_labels, 0, gallery, &labels[0]));
    EQI_TRY(equinv_tensor_rows(&w->sample_labels, gallery, queries, &labels[1]));
    EQI_TRY(equinv_tensor_rows(&w->sample, 0, gallery, &half));
    EQI_TRY(equinv_tensor_rows(&w->sample_codes, 0, gallery, &half_codes));
    EQI_TRY(equinv_knn_accuracy(w->ctx, &half, &labels[0], &turned, &labels[1], k,
                                &r->raw.knn_accuracy));
    return equinv_knn_accuracy(w->ctx, &half_codes, &labels[0], &turned_codes, &labels[1], k,
                               &r->projected.knn_accuracy);
}

/* Every latent of the sample, turned, looks for itself: its label is its number. */
static equinv_status over_known_orbits(work *w, equinv_report *r)
{
    void *elements, *numbers;
    equinv_tensor turned, turned_codes, labels;
    EQI_TRY(own(w, w->sampled, sizeof(int32_t), &elements));
    EQI_TRY(own(w, w->sampled, sizeof(int32_t), &numbers));
    EQI_TRY(own_tensor(w, w->sample.dtype, 5, w->sample.shape, w->sampled, &turned));
    EQI_TRY(own_tensor(w, w->sample.dtype, w->sample_codes.ndim, w->sample_codes.shape, w->sampled,
                       &turned_codes));
    for (int32_t i = 0; i < w->sampled; i++)
        ((int32_t *)numbers)[i] = i;
    EQI_TRY(equinv_tensor_init(numbers, EQUINV_I32, 1, &w->sampled, &labels));
    choose_elements(w, w->sampled, 1, elements);
    movement m = {w, &w->sample, &turned, elements, 0};
    move(&m, w->sampled);
    EQI_TRY(project(w, &turned, &turned_codes, w->sampled));
    EQI_TRY(
        equinv_knn_accuracy(w->ctx, &w->sample, &labels, &turned, &labels, 1, &r->raw.own_nearest));
    return equinv_knn_accuracy(w->ctx, &w->sample_codes, &labels, &turned_codes, &labels, 1,
                               &r->projected.own_nearest);
}

/* ---- the call ------------------------------------------------------------------------------- */

static equinv_status compute(work *w, equinv_report *r)
{
    EQI_TRY(allocate(w));
    EQI_TRY(over_orbits(w, r));
    EQI_TRY(over_variance(w, r));
    EQI_TRY(take_sample(w));
    EQI_TRY(over_pairs(w, r));
    EQI_TRY(over_known_orbits(w, r));
    return w->labels ? over_neighbours(w, r) : EQUINV_OK;
}

static equinv_status check_arguments(const equinv_projection *p, const equinv_tensor *latents,
                                     const equinv_tensor *labels, const equinv_report_desc *desc,
                                     const equinv_report *report, const equinv_tensor *error,
                                     work *w)
{
    EQI_CHECK(p, ARG, "projection is NULL, expected a projection");
    EQI_CHECK(!p->ctx->backend->device, UNSUPPORTED,
              "projection is of device %s, where reports are not computed; expected one of a "
              "context of EQUINV_DEVICE_CPU and latents in CPU memory (equinv_tensor_copy)",
              p->ctx->backend->name);
    EQI_CHECK(!p->symmetric, UNSUPPORTED,
              "projection is of S, whose elements are not enumerated; expected C_n or D_n");
    EQI_TRY(eqi_projection_latents(p, latents, "latents", false, &w->latents));
    const int64_t batch = w->latents.shape[0];
    EQI_CHECK(batch >= 2 && batch <= INT32_MAX, SHAPE,
              "latents has %" PRId64 " rows, expected 2 to 2^31 - 1", batch);
    if (labels) {
        EQI_TRY(eqi_check_tensor(p->ctx, labels, "labels", EQI_I32));
        EQI_TRY(eqi_check_shape(labels, "labels", 1, &batch));
    }
    EQI_CHECK(desc, ARG, "desc is NULL, expected a description");
    EQI_TRY(eqi_check_desc(desc->struct_size, sizeof *desc, "equinv_report_desc"));
    EQI_CHECK(desc->sample >= 2, ARG, "sample is %" PRId64 ", expected at least 2", desc->sample);
    EQI_CHECK(desc->neighbours >= 1, ARG, "neighbours is %" PRId64 ", expected at least 1",
              desc->neighbours);
    EQI_CHECK(report, ARG, "report is NULL, expected where to put the figures");
    if (desc->ratios) {
        const int64_t s = desc->sample < batch ? desc->sample : batch;
        EQI_TRY(eqi_check_output(p->ctx, desc->ratios, "ratios", EQI_F64));
        EQI_TRY(eqi_check_shape(desc->ratios, "ratios", 2, (int64_t[]){2, s * (s - 1) / 2}));
        EQI_TRY(eqi_check_disjoint(desc->ratios, "ratios", latents, "latents"));
        if (error)
            EQI_TRY(eqi_check_disjoint(desc->ratios, "ratios", error, "error"));
    }
    if (!error)
        return EQUINV_OK;
    EQI_TRY(eqi_check_output(p->ctx, error, "error", EQI_F64));
    EQI_TRY(eqi_check_shape(error, "error", 2, (int64_t[]){2, p->order}));
    EQI_TRY(eqi_check_disjoint(error, "error", latents, "latents"));
    return labels ? eqi_check_disjoint(error, "error", labels, "labels") : EQUINV_OK;
}

equinv_status equinv_report_compute(const equinv_projection *projection,
                                    const equinv_tensor *latents, const equinv_tensor *labels,
                                    const equinv_report_desc *desc, equinv_report *report,
                                    const equinv_tensor *error)
{
    work w = {.p = projection, .desc = desc, .labels = labels};
    EQI_TRY(check_arguments(projection, latents, labels, desc, report, error, &w));
    w.ctx = projection->ctx;
    w.batch = w.latents.shape[0];
    w.sampled = desc->sample < w.batch ? desc->sample : w.batch;
    int64_t shape[3];
    const int32_t axes = eqi_projection_shape(projection, 1, shape);
    w.width = axes == 3 ? shape[1] * shape[2] : shape[1];
    const int64_t fit =
        CHUNK_BYTES / (int64_t)equinv_dtype_size(projection->desc.dtype) / projection->dimension;
    w.chunk = fit < 1 ? 1 : fit > CHUNK_ROWS ? CHUNK_ROWS : fit;
    equinv_report r = {.latents = w.batch,
                       .sampled = w.sampled,
                       .dimension = projection->dimension,
                       .code_dimension = w.width,
                       .order = projection->order,
                       .rank = projection->rank,
                       .label_chance = (double)NAN};
    r.raw.knn_accuracy = r.projected.knn_accuracy = (double)NAN;
    const equinv_status status = compute(&w, &r);
    if (status == EQUINV_OK) {
        *report = r;
        for (int32_t i = 0; error && i < 2 * projection->order; i++)
            eqi_store(error, eqi_offset_of(error, i), w.error[i]);
    }
    release(&w);
    return status;
}
