/*
 * Invariant projections. For latents z [F, G, H, W] of one row and template w_k of the same shape
 *     v[k, g] = s <w_k, g z> = s sum_{f,a,q} w_k[f, g a, g q] z[f, a, q],   s = 1 or 1 / sqrt(K)
 * (element a, pixel q), and then over g
 *     MAX, MIN     the extreme, saved: the lowest g that attains it; NaN wins
 *     MEAN         1/|G| sum v       MEAN_RELU  max(0, v)    MEAN_ABS |v|    MEAN_SQUARE v^2    MOMENT3 v^3
 *     SORTED       v ascending, or the wanted places of it, saved: the g at each place
 *     ORBIT        v            CDF        1/|G| the number of v <= threshold; NaN if there is one in v
 * LINEAR is s <w_k, m> with the orbit mean m[f, a, q] = 1/|G| sum_g z[f, g^-1 a, g^-1 q].
 * Backward: c[k, g] = the derivative by <w_k, g z>, then
 *     diff_z[f, a, q] = sum_{k,g} c[k, g] w_k[f, g a, g q]
 *     diff_w_k[f, g a, g q] = sum_{b,g} c[b, k, g] z_b[f, a, q]
 * S, rows z [n, c]: SORT sorts every channel over the rows that are there; PROJECT_SORT sorts
 * s <w_k, z[row]>. saved: the row at each place, -1 at the places of rows that are not there.
 * Spectra of signals: spectrum.c.
 */
#include "ref.h"

#include <string.h>

#include "internal/rows.h"

/* ---- the reduction over the orbit, which all implementations share ------------------------- */

static double share_below(const double *v, int32_t order, double threshold)
{
    int32_t count = 0;
    for (int32_t g = 0; g < order; g++) {
        if (v[g] != v[g])
            return v[g];
        count += v[g] <= threshold;
    }
    return (double)count / order;
}

static void reduce(const equinv_projection *p, const double *v, eqi_item *room, double *dst,
                   int32_t *element)
{
    const equinv_projection_kind kind = p->desc.kind;
    const int32_t order = p->order;
    switch (kind) {
    case EQUINV_PROJECT_MAX:
    case EQUINV_PROJECT_MIN: {
        const double sign = kind == EQUINV_PROJECT_MAX ? 1 : -1;
        int32_t at = 0;
        for (int32_t g = 1; g < order; g++)
            if (eqi_orbit_exceeds(sign * v[g], sign * v[at]))
                at = g;
        dst[0] = v[at];
        element[0] = at;
        return;
    }
    case EQUINV_PROJECT_SORTED:
        for (int32_t g = 0; g < order; g++)
            room[g] = (eqi_item){v[g], g};
        eqi_sort(room, order, room + order);
        for (int64_t i = 0; i < p->outputs; i++) {
            const eqi_item *const at = room + (p->desc.ranks ? p->desc.ranks[i] : i);
            dst[i] = at->value;
            element[i] = at->index;
        }
        return;
    case EQUINV_PROJECT_CDF:
        for (int64_t i = 0; i < p->outputs; i++)
            dst[i] = share_below(v, order, p->desc.thresholds[i]);
        return;
    case EQUINV_PROJECT_ORBIT:
        for (int32_t g = 0; g < order; g++)
            dst[g] = v[g];
        return;
    default: break;
    }
    double sum = 0;
    for (int32_t g = 0; g < order; g++)
        sum += eqi_orbit_term(kind, v[g]);
    dst[0] = sum / order;
}

static void reduce_backward(const equinv_projection *p, const double *diff_dst,
                            const int32_t *element, const double *v, double *c)
{
    const equinv_projection_kind kind = p->desc.kind;
    const int32_t order = p->order;
    const double d = diff_dst[0], mean = d / order;
    for (int32_t g = 0; g < order; g++)
        switch (eqi_projection_saved_kind(kind)) {
        case EQI_SAVED_INDEX: c[g] = 0; break;
        case EQI_SAVED_VALUE: c[g] = eqi_orbit_slope(kind, v[g], mean); break;
        default:
            c[g] = kind == EQUINV_PROJECT_ORBIT ? diff_dst[g]
                   : kind == EQUINV_PROJECT_CDF ? 0
                                                : mean;
            break;
        }
    for (int64_t place = 0; element && place < p->outputs; place++)
        if (element[place] >= 0 && element[place] < order)
            c[element[place]] = diff_dst[place];
}

void eqi_orbit_reduce(const equinv_projection *p, const eqi_projection_call *call, int64_t b,
                      int64_t k, const double *v, eqi_item *room, double *out)
{
    const int64_t outputs = p->outputs, at = b * p->k + k;
    const eqi_saved_kind saved = eqi_projection_saved_kind(p->desc.kind);
    int32_t *const element = (int32_t *)(out + outputs);
    reduce(p, v, room, out, element);
    for (int64_t i = 0; i < outputs; i++)
        eqi_store(&call->dst,
                  b * call->dst.strides[0] + k * call->dst.strides[1] +
                      (call->dst.ndim == 3 ? i * call->dst.strides[2] : 0),
                  out[i]);
    if (!call->saved || saved == EQI_SAVED_NONE)
        return;
    if (saved == EQI_SAVED_INDEX) {
        for (int64_t i = 0; i < outputs; i++)
            ((int32_t *)call->saved)[at * outputs + i] = element[i];
    } else {
        const equinv_tensor values = {.data = call->saved, .dtype = p->desc.dtype};
        for (int32_t g = 0; g < p->order; g++)
            eqi_store(&values, at * p->order + g, v[g]);
    }
}

void eqi_orbit_reduce_backward(const equinv_projection *p, const eqi_projection_call *call,
                               int64_t b, int64_t k, double *v, double *out, double *c)
{
    const int64_t outputs = p->outputs, at = b * p->k + k;
    const eqi_saved_kind saved = eqi_projection_saved_kind(p->desc.kind);
    for (int64_t i = 0; i < outputs; i++)
        out[i] = eqi_load(&call->dst, b * call->dst.strides[0] + k * call->dst.strides[1] +
                                          (call->dst.ndim == 3 ? i * call->dst.strides[2] : 0));
    if (saved == EQI_SAVED_VALUE) {
        const equinv_tensor values = {.data = call->saved, .dtype = p->desc.dtype};
        for (int32_t g = 0; g < p->order; g++)
            v[g] = eqi_load(&values, at * p->order + g);
    }
    const int32_t *const element =
        saved == EQI_SAVED_INDEX ? (const int32_t *)call->saved + at * outputs : NULL;
    reduce_backward(p, out, element, v, c);
    for (int32_t g = 0; g < p->order; g++)
        c[g] *= p->scale;
}

/* ---- C_n and D_n ---------------------------------------------------------------------------- */

/* Where g takes (a, q); groups off the grid come without pixels. */
typedef struct turned {
    int64_t a;
    eqi_pixel q;
} turned;

static inline turned turn(const equinv_projection *p, int32_t g, int64_t a, int64_t y, int64_t x)
{
    const equinv_projection_desc *const d = &p->desc;
    const bool pixels = d->height * d->width > 1;
    return (turned){eqi_product(d->group, g, (int32_t)a),
                    pixels ? eqi_move(eqi_motion_of(d->group, g), y, x, d->height, d->width)
                           : (eqi_pixel){0, 0}};
}

#define FOR_EACH_COORDINATE(p, f, a, y, x)                                                         \
    for (int64_t f = 0; f < (p)->desc.fields; f++)                                                 \
        for (int64_t a = 0; a < (p)->order; a++)                                                   \
            for (int64_t y = 0; y < (p)->desc.height; y++)                                         \
                for (int64_t x = 0; x < (p)->desc.width; x++)

static double inner(const equinv_projection *p, const equinv_tensor *z, int64_t b, int64_t k,
                    int32_t g)
{
    double sum = 0;
    FOR_EACH_COORDINATE(p, f, a, y, x)
    {
        const turned t = turn(p, g, a, y, x);
        sum += eqi_load(&p->templates, eqi_offset5(&p->templates, k, f, t.a, t.q.y, t.q.x)) *
               eqi_load(z, eqi_offset5(z, b, f, a, y, x));
    }
    return sum;
}

/* Orbit mean of a row-major [F, G, H, W] at one place; its own adjoint. */
static double orbit_mean_at(const equinv_projection *p, const double *z, int64_t f, int64_t a,
                            int64_t y, int64_t x)
{
    double sum = 0;
    for (int32_t g = 0; g < p->order; g++) {
        const turned t = turn(p, g, a, y, x);
        sum += z[((f * p->order + t.a) * p->desc.height + t.q.y) * p->desc.width + t.q.x];
    }
    return sum / p->order;
}

static void linear_forward(const equinv_projection *p, const eqi_projection_call *call, int64_t b,
                           double *z, double *mean)
{
    int64_t i = 0;
    FOR_EACH_COORDINATE(p, f, a, y, x)
    z[i++] = eqi_load(&call->src, eqi_offset5(&call->src, b, f, a, y, x));
    i = 0;
    FOR_EACH_COORDINATE(p, f, a, y, x)
    mean[i++] = orbit_mean_at(p, z, f, a, y, x);
    for (int64_t k = 0; k < p->k; k++) {
        double sum = 0;
        for (i = 0; i < p->dimension; i++)
            sum += eqi_load(&p->templates, k * p->dimension + i) * mean[i];
        eqi_store(&call->dst, b * call->dst.strides[0] + k * call->dst.strides[1], sum * p->scale);
    }
}

static void linear_backward(const equinv_projection *p, const eqi_projection_call *call, int64_t b,
                            double *diff_mean)
{
    for (int64_t i = 0; i < p->dimension; i++) {
        diff_mean[i] = 0;
        for (int64_t k = 0; k < p->k; k++)
            diff_mean[i] +=
                eqi_load(&call->dst, b * call->dst.strides[0] + k * call->dst.strides[1]) *
                eqi_load(&p->templates, k * p->dimension + i);
    }
    FOR_EACH_COORDINATE(p, f, a, y, x)
    eqi_put(&call->src, eqi_offset5(&call->src, b, f, a, y, x),
            orbit_mean_at(p, diff_mean, f, a, y, x) * p->scale, p->desc.accumulate);
}

static void orbit_backward(const equinv_projection *p, const eqi_projection_call *call, int64_t b,
                           const double *c)
{
    FOR_EACH_COORDINATE(p, f, a, y, x)
    {
        double sum = 0;
        for (int32_t g = 0; g < p->order; g++) {
            const turned t = turn(p, g, a, y, x);
            for (int64_t k = 0; k < p->k; k++)
                sum += c[k * p->order + g] *
                       eqi_load(&p->templates, eqi_offset5(&p->templates, k, f, t.a, t.q.y, t.q.x));
        }
        eqi_put(&call->src, eqi_offset5(&call->src, b, f, a, y, x), sum, p->desc.accumulate);
    }
}

/* ---- S -------------------------------------------------------------------------------------- */

static bool is_there(const eqi_projection_call *call, int64_t b, int64_t row)
{
    if (!call->masked)
        return true;
    const int64_t at = b * call->mask.strides[0] + row * call->mask.strides[1];
    return call->mask.dtype == EQUINV_U8 ? ((const uint8_t *)call->mask.data)[at] != 0
                                         : ((const int32_t *)call->mask.data)[at] != 0;
}

static double row_value(const equinv_projection *p, const equinv_tensor *z, int64_t b, int64_t row,
                        int64_t j)
{
    const int64_t at = b * z->strides[0] + row * z->strides[1];
    if (p->desc.kind == EQUINV_PROJECT_SORT)
        return eqi_load(z, at + j * z->strides[2]);
    double sum = 0;
    for (int64_t c = 0; c < p->desc.channels; c++)
        sum +=
            eqi_load(&p->templates, j * p->desc.channels + c) * eqi_load(z, at + c * z->strides[2]);
    return sum * p->scale;
}

/* One sorted column of dst, of channel or template j: where its place 0 is, and the step. */
typedef struct column {
    int64_t dst, dst_step, saved, saved_step;
} column;

static column column_of(const equinv_projection *p, const eqi_projection_call *call, int64_t b,
                        int64_t j)
{
    const int64_t *const s = call->dst.strides;
    const int64_t n = p->desc.rows, c = p->desc.channels;
    if (p->desc.kind == EQUINV_PROJECT_SORT)
        return (column){b * s[0] + j * s[2], s[1], b * n * c + j, c};
    return (column){b * s[0] + j * s[1], s[2], (b * p->k + j) * n, 1};
}

static void rows_forward(const equinv_projection *p, const eqi_projection_call *call, int64_t b,
                         int64_t j, eqi_item *items)
{
    const int64_t n = p->desc.rows;
    const column to = column_of(p, call, b, j);
    int64_t present = 0;
    for (int64_t row = 0; row < n; row++)
        if (is_there(call, b, row))
            items[present++] = (eqi_item){row_value(p, &call->src, b, row, j), (int32_t)row};
    eqi_sort(items, present, items + n);
    for (int64_t place = 0; place < n; place++) {
        const bool there = place < present;
        eqi_store(&call->dst, to.dst + place * to.dst_step,
                  there ? items[place].value : p->desc.fill);
        if (call->saved)
            ((int32_t *)call->saved)[to.saved + place * to.saved_step] =
                there ? items[place].index : -1;
    }
}

static void rows_backward(const equinv_projection *p, const eqi_projection_call *call, int64_t b,
                          double *diff_z)
{
    const bool sort = p->desc.kind == EQUINV_PROJECT_SORT;
    const int64_t n = p->desc.rows, c = p->desc.channels;
    for (int64_t i = 0; i < n * c; i++)
        diff_z[i] = 0;
    for (int64_t j = 0; j < (sort ? c : p->k); j++) {
        const column from = column_of(p, call, b, j);
        for (int64_t place = 0; place < n; place++) {
            const int64_t row =
                ((const int32_t *)call->saved)[from.saved + place * from.saved_step];
            if (row < 0 || row >= n || !is_there(call, b, row))
                continue;
            const double d = eqi_load(&call->dst, from.dst + place * from.dst_step);
            if (sort)
                diff_z[row * c + j] = d;
            for (int64_t i = 0; i < c && !sort; i++)
                diff_z[row * c + i] += d * p->scale * eqi_load(&p->templates, j * c + i);
        }
    }
    const int64_t *const s = call->src.strides;
    for (int64_t row = 0; row < n; row++)
        for (int64_t i = 0; i < c; i++)
            eqi_put(&call->src, b * s[0] + row * s[1] + i * s[2], diff_z[row * c + i],
                    p->desc.accumulate);
}

/* ---- gradients of templates ------------------------------------------------------------------ */

/* A slice: the gradient of one template, and an orbit with its reduction. */
size_t eqi_ref_templates_slice(const equinv_projection *p)
{
    const size_t numbers = (size_t)(p->symmetric ? p->desc.channels : p->dimension);
    return (numbers + 2 * (size_t)p->order + (size_t)eqi_orbit_numbers(p)) * sizeof(double) +
           4 * EQI_ALIGNMENT;
}

static void add_orbit(const equinv_projection *p, const equinv_tensor *z, int64_t b,
                      const double *c, double *sum)
{
    FOR_EACH_COORDINATE(p, f, a, y, x)
    {
        const double value = eqi_load(z, eqi_offset5(z, b, f, a, y, x));
        for (int32_t g = 0; g < p->order; g++) {
            const turned t = turn(p, g, a, y, x);
            sum[((f * p->order + t.a) * p->desc.height + t.q.y) * p->desc.width + t.q.x] +=
                c[g] * value;
        }
    }
}

static void add_rows(const equinv_projection *p, const eqi_projection_call *call, int64_t b,
                     int64_t k, double *sum)
{
    const int64_t n = p->desc.rows;
    const int64_t *const s = call->src.strides;
    const column from = column_of(p, call, b, k);
    for (int64_t place = 0; place < n; place++) {
        const int64_t row = ((const int32_t *)call->saved)[from.saved + place * from.saved_step];
        if (row < 0 || row >= n || !is_there(call, b, row))
            continue;
        const double d = eqi_load(&call->dst, from.dst + place * from.dst_step) * p->scale;
        for (int64_t i = 0; i < p->desc.channels; i++)
            sum[i] += d * eqi_load(&call->src, b * s[0] + row * s[1] + i * s[2]);
    }
}

typedef struct templates_job {
    const equinv_projection *p;
    const eqi_projection_call *call;
} templates_job;

static void backward_of_templates(const void *arg, int64_t first, int64_t count, void *slice)
{
    const templates_job *const j = arg;
    const equinv_projection *const p = j->p;
    const int64_t numbers = p->symmetric ? p->desc.channels : p->dimension;
    char *rest = slice;
    double *const sum = eqi_take(&rest, (size_t)numbers * sizeof *sum);
    double *const v = eqi_take(&rest, (size_t)p->order * sizeof *v);
    double *const c = eqi_take(&rest, (size_t)p->order * sizeof *c);
    for (int64_t k = first; k < first + count; k++) {
        memset(sum, 0, (size_t)numbers * sizeof *sum);
        for (int64_t b = 0; b < j->call->src.shape[0]; b++) {
            if (p->symmetric) {
                add_rows(p, j->call, b, k, sum);
                continue;
            }
            eqi_orbit_reduce_backward(p, j->call, b, k, v, (double *)rest, c);
            add_orbit(p, &j->call->src, b, c, sum);
        }
        for (int64_t i = 0; i < numbers; i++)
            eqi_put(&j->call->templates, eqi_offset_of(&j->call->templates, k * numbers + i),
                    sum[i], p->desc.accumulate);
    }
}

equinv_status eqi_ref_templates_backward(const equinv_projection *p,
                                         const eqi_projection_call *call)
{
    const templates_job j = {p, call};
    const double work = (double)p->dimension * (double)call->src.shape[0] * p->order;
    eqi_parallel_rows(p->ctx, p->k, work, 1, backward_of_templates, &j,
                      (char *)call->scratch + p->shared_size, p->slice_size);
    return EQUINV_OK;
}

/* ---- rows of the batch ---------------------------------------------------------------------- */

typedef struct job {
    const equinv_projection *p;
    const eqi_projection_call *call;
} job;

/* A slice: latents in double, or the items of a sort, or an orbit, its reduction, coefficients. */
static bool scratch(const equinv_projection *p, size_t *slice, size_t *shared)
{
    const size_t order = (size_t)p->order;
    size_t bytes, items = 0;
    *shared = 0;
    if (p->spectral) {
        bytes = eqi_ref_spectrum_scratch(p);
    } else if (p->symmetric || p->desc.kind == EQUINV_PROJECT_LINEAR) {
        if (p->symmetric)
            items = (size_t)p->desc.rows * 2 * sizeof(eqi_item);
        if (__builtin_mul_overflow((size_t)p->dimension, 2 * sizeof(double), &bytes))
            return false;
        bytes = bytes > items ? bytes : items;
    } else {
        const size_t reduction =
            (order + (size_t)eqi_orbit_numbers(p)) * sizeof(double) + 2 * order * sizeof(eqi_item);
        if (__builtin_mul_overflow((size_t)p->k, order * sizeof(double), &bytes) ||
            __builtin_add_overflow(bytes, reduction + 3 * EQI_ALIGNMENT, &bytes))
            return false;
    }
    const size_t templates = p->spectral ? 0 : eqi_ref_templates_slice(p);
    *slice = eqi_aligned(bytes > templates ? bytes : templates);
    return *slice < SIZE_MAX;
}

static void forward_rows(const void *arg, int64_t first, int64_t count, void *slice)
{
    const job *const j = arg;
    const equinv_projection *const p = j->p;
    for (int64_t b = first; b < first + count; b++) {
        if (p->symmetric) {
            const bool sort = p->desc.kind == EQUINV_PROJECT_SORT;
            for (int64_t c = 0; c < (sort ? p->desc.channels : p->k); c++)
                rows_forward(p, j->call, b, c, slice);
        } else if (p->spectral) {
            eqi_ref_spectrum_forward(p, j->call, b, slice);
        } else if (p->desc.kind == EQUINV_PROJECT_LINEAR) {
            linear_forward(p, j->call, b, slice, (double *)slice + p->dimension);
        } else {
            char *rest = slice;
            double *const v = eqi_take(&rest, (size_t)p->order * sizeof *v);
            double *const out = eqi_take(&rest, (size_t)eqi_orbit_numbers(p) * sizeof *out);
            for (int64_t k = 0; k < p->k; k++) {
                for (int32_t g = 0; g < p->order; g++)
                    v[g] = inner(p, &j->call->src, b, k, g) * p->scale;
                eqi_orbit_reduce(p, j->call, b, k, v, (eqi_item *)rest, out);
            }
        }
    }
}

static void backward_rows(const void *arg, int64_t first, int64_t count, void *slice)
{
    const job *const j = arg;
    const equinv_projection *const p = j->p;
    for (int64_t b = first; b < first + count; b++) {
        if (p->symmetric) {
            rows_backward(p, j->call, b, slice);
        } else if (p->spectral) {
            eqi_ref_spectrum_backward(p, j->call, b, slice);
        } else if (p->desc.kind == EQUINV_PROJECT_LINEAR) {
            linear_backward(p, j->call, b, slice);
        } else {
            char *rest = slice;
            double *const v = eqi_take(&rest, (size_t)p->order * sizeof *v);
            double *const out = eqi_take(&rest, (size_t)eqi_orbit_numbers(p) * sizeof *out);
            double *const c = (double *)rest;
            for (int64_t k = 0; k < p->k; k++)
                eqi_orbit_reduce_backward(p, j->call, b, k, v, out, c + k * p->order);
            orbit_backward(p, j->call, b, c);
        }
    }
}

/* About how many operations a row takes. */
static double row_work(const equinv_projection *p)
{
    if (p->spectral)
        return (double)p->rank * p->order * (double)p->outputs * 4;
    const double columns = p->desc.kind == EQUINV_PROJECT_SORT ? 1 : (double)p->k;
    const bool every_element = !p->symmetric && p->desc.kind != EQUINV_PROJECT_LINEAR;
    return (double)p->dimension * columns * (every_element ? p->order : 1) * 4;
}

static equinv_status forward(const equinv_projection *p, const eqi_projection_call *call)
{
    const job j = {p, call};
    eqi_parallel_rows(p->ctx, call->src.shape[0], row_work(p), 1, forward_rows, &j, call->scratch,
                      p->slice_size);
    return EQUINV_OK;
}

static equinv_status backward(const equinv_projection *p, const eqi_projection_call *call)
{
    const job j = {p, call};
    eqi_parallel_rows(p->ctx, call->src.shape[0], row_work(p), 1, backward_rows, &j, call->scratch,
                      p->slice_size);
    return EQUINV_OK;
}

const eqi_projection_implementation eqi_ref_projection = {
    {"projection/ref", eqi_supports_all, NULL},
    NULL,
    NULL,
    scratch,
    forward,
    backward,
    eqi_ref_templates_backward,
};
