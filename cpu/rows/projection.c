/*
 * SORT and PROJECT_SORT of up to 64 rows: every (sample, channel) or (sample, template) is a column of a
 * tile, sorted in a lane. PROJECT_SORT computes the inner products of a sample's rows with as many
 * templates as there are lanes straight into the tile. Backward goes through the saved rows.
 */
#include "rows.h"

#include <string.h>

#include "cpu/gemm/gemm.h"
#include "internal/arithmetic.h"
#include "internal/projection.h"
#include "internal/rows.h"

enum { TILES = 16 }; /* a task takes */

typedef struct job {
    const equinv_projection *p;
    const eqi_projection_call *call;
    const eqi_row_kernels *kernels;
    int n;
    int64_t columns; /* of a sample */
    bool masked;
} job;

/* What a thread works with. */
typedef struct room {
    eqi_row_tile tile;
    uint8_t absent[EQI_ROWS_MOST * EQI_LANES_MOST];
    int64_t present[EQI_LANES_MOST]; /* rows of each lane's sample */
} room;

static bool is_there(const eqi_projection_call *call, int64_t b, int64_t row)
{
    const int64_t at = b * call->mask.strides[0] + row * call->mask.strides[1];
    return call->mask.dtype == EQUINV_U8 ? ((const uint8_t *)call->mask.data)[at] != 0
                                         : ((const int32_t *)call->mask.data)[at] != 0;
}

static void mask_lane(const job *j, int64_t b, int lane, room *r)
{
    const int lanes = j->kernels->lanes;
    r->present[lane] = j->n;
    for (int i = 0; i < j->n; i++) {
        const bool absent = !is_there(j->call, b, i);
        r->absent[i * lanes + lane] = absent;
        r->present[lane] -= absent;
    }
}

static bool is_sort(const equinv_projection *p)
{
    return p->desc.kind == EQUINV_PROJECT_SORT;
}

/* ---- forward -------------------------------------------------------------------------------- */

/* Where a column starts in dst and in saved, and how far apart its places are. */
typedef struct column {
    int64_t dst, dst_step, saved, saved_step;
} column;

static column column_of(const job *j, int64_t b, int64_t i)
{
    const int64_t *const s = j->call->dst.strides;
    if (is_sort(j->p))
        return (column){b * s[0] + i * s[2], s[1], b * j->n * j->columns + i, j->columns};
    return (column){b * s[0] + i * s[1], s[2], (b * j->columns + i) * j->n, 1};
}

static void fill_absent(const job *j, int lane, room *r)
{
    const int lanes = j->kernels->lanes;
    for (int64_t place = r->present[lane]; place < j->n; place++) {
        r->tile.numbers[place * lanes + lane] = (float)j->p->desc.fill;
        r->tile.rows[place * lanes + lane] = -1;
    }
}

/*
 * Sorts what the tile holds and writes it: `count` columns, of which number 0 is column `first` of all.
 * step: from one column to the next in dst if that is constant; 0: it is not.
 */
static void finish(const job *j, int64_t first, int count, bool plain, int64_t step, room *r)
{
    const int lanes = j->kernels->lanes, n = j->n;
    float *const dst = j->call->dst.data;
    int32_t *const saved = j->call->saved;
    eqi_sort_tile(j->kernels, &r->tile, n, plain, j->masked ? r->absent : NULL, saved != NULL);
    for (int l = 0; l < count && j->masked; l++)
        fill_absent(j, l, r);
    const column start = column_of(j, first / j->columns, first % j->columns);
    const bool whole = step != 0 && count == lanes && n >= 4 && start.dst_step == 1;
    if (whole)
        j->kernels->store(r->tile.numbers, n, dst + start.dst, step);
    for (int l = 0; l < count && (!whole || saved); l++) {
        const column to = column_of(j, (first + l) / j->columns, (first + l) % j->columns);
        for (int i = 0; i < n && !whole; i++)
            dst[to.dst + i * to.dst_step] = r->tile.numbers[i * lanes + l];
        for (int i = 0; i < n && saved; i++)
            saved[to.saved + i * to.saved_step] = r->tile.rows[i * lanes + l];
    }
}

/* Tiles of columns of all samples. */
static void sort_tiles(const void *arg, int64_t first_tile, int64_t tiles, void *slice)
{
    const job *const j = arg;
    room *const r = slice;
    const equinv_tensor *const src = &j->call->src, *const dst = &j->call->dst;
    const int lanes = j->kernels->lanes, n = j->n;
    const int64_t *const s = src->strides;
    const int64_t all = src->shape[0] * j->columns;
    const bool one_channel = j->columns == 1;
    const int64_t tile_bytes = lanes * n * (int64_t)sizeof(float);
    for (int64_t t = first_tile; t < first_tile + tiles; t++) {
        const int64_t first = t * lanes;
        const int count = (int)eqi_smaller(lanes, all - first);
        bool plain;
        /*
         * The next rows come from memory while these are sorted: no processor sees a stream in the order
         * that tiles are read in. (In a function of its own the compiler would drop it as useless.)
         */
        const int64_t next = one_channel && first + 2 * lanes <= all ? first + lanes : 0;
        for (int64_t i = 0; i < tile_bytes && next > 0; i += EQI_ALIGNMENT) {
            __builtin_prefetch((const char *)((const float *)src->data + next * s[0]) + i, 0);
            __builtin_prefetch((char *)((float *)dst->data + next * dst->strides[0]) + i, 1);
        }
        if (one_channel && s[1] == 1 && n >= 4 && count == lanes) {
            plain =
                j->kernels->load((const float *)src->data + first * s[0], s[0], n, r->tile.numbers);
        } else {
            for (int l = 0; l < lanes; l++) { /* lanes too many hold the last column again */
                const int64_t q = first + eqi_smaller(l, count - 1);
                const float *const from =
                    (const float *)src->data + q / j->columns * s[0] + q % j->columns * s[2];
                for (int i = 0; i < n; i++)
                    r->tile.numbers[i * lanes + l] = from[i * s[1]];
            }
            plain = j->kernels->is_plain(r->tile.numbers, n);
        }
        for (int l = 0; l < lanes && j->masked; l++)
            mask_lane(j, (first + eqi_smaller(l, count - 1)) / j->columns, l, r);
        finish(j, first, count, plain, one_channel ? j->call->dst.strides[0] : 0, r);
    }
}

/* Samples, all templates of each. */
static void project_samples(const void *arg, int64_t first, int64_t samples, void *slice)
{
    const job *const j = arg;
    room *const r = slice;
    const equinv_tensor *const src = &j->call->src;
    const int lanes = j->kernels->lanes;
    const int64_t *const s = src->strides, channels = j->p->desc.channels;
    const float *const templates = j->p->prepared;
    for (int64_t b = first; b < first + samples; b++) {
        for (int l = 0; l < lanes && j->masked; l++)
            mask_lane(j, b, l, r);
        for (int64_t k = 0; k < j->columns; k += lanes) {
            const bool plain =
                j->kernels->project((const float *)src->data + b * s[0], s[1], s[2], j->n, channels,
                                    templates + k * channels, (float)j->p->scale, r->tile.numbers);
            finish(j, b * j->columns + k, (int)eqi_smaller(lanes, j->columns - k), plain,
                   j->call->dst.strides[1], r);
        }
    }
}

static job job_of(const equinv_projection *p, const eqi_projection_call *call)
{
    return (job){p,
                 call,
                 eqi_row_kernels_of(&p->ctx->hardware),
                 (int)p->desc.rows,
                 is_sort(p) ? p->desc.channels : p->k,
                 call->masked};
}

static equinv_status forward(const equinv_projection *p, const eqi_projection_call *call)
{
    const job j = job_of(p, call);
    const int64_t batch = call->src.shape[0];
    const double numbers = (double)j.columns * j.n;
    if (is_sort(p)) {
        const int64_t tiles = eqi_divide_up(batch * j.columns, j.kernels->lanes);
        eqi_parallel_rows(p->ctx, tiles, (double)j.kernels->lanes * j.n, TILES, sort_tiles, &j,
                          call->scratch, p->slice_size);
    } else {
        eqi_parallel_rows(p->ctx, batch, numbers * (1 + (double)p->desc.channels / 8), 1,
                          project_samples, &j, call->scratch, p->slice_size);
    }
    return EQUINV_OK;
}

/* ---- backward ------------------------------------------------------------------------------- */

/* Column i of a sample's gradient, by row: row[r step] += d at its place. */
static void scatter(const job *j, int64_t b, int64_t i, float *row, int64_t step)
{
    const column from = column_of(j, b, i);
    const float *const diff = j->call->dst.data;
    const int32_t *const saved = j->call->saved;
    for (int place = 0; place < j->n; place++) {
        const int32_t at = saved[from.saved + place * from.saved_step];
        if (at >= 0 && at < j->n && (!j->masked || is_there(j->call, b, at)))
            row[at * step] += diff[from.dst + place * from.dst_step];
    }
}

/* A slice: by row, [n, columns] or [k, n]; then the gradient [n, channels], and a product's workspace. */
static void backward_samples(const void *arg, int64_t first, int64_t samples, void *slice)
{
    const job *const j = arg;
    const equinv_projection *const p = j->p;
    const int64_t n = j->n, channels = p->desc.channels;
    const int64_t *const s = j->call->src.strides;
    char *rest = slice;
    float *const by_row = eqi_take(&rest, (size_t)(n * j->columns) * sizeof *by_row);
    float *diff = by_row;
    for (int64_t b = first; b < first + samples; b++) {
        memset(by_row, 0, (size_t)(n * j->columns) * sizeof *by_row);
        for (int64_t i = 0; i < j->columns; i++)
            if (is_sort(p))
                scatter(j, b, i, by_row + i, j->columns);
            else
                scatter(j, b, i, by_row + i * n, 1);
        if (!is_sort(p)) {
            char *more = rest;
            diff = eqi_take(&more, (size_t)(n * channels) * sizeof *diff);
            eqi_gemm(&p->ctx->hardware, EQUINV_F32,
                     &(eqi_gemm_args){.transpose_a = true,
                                      .m = n,
                                      .n = channels,
                                      .k = j->columns,
                                      .a = by_row,
                                      .lda = n,
                                      .b = p->templates.data,
                                      .ldb = channels,
                                      .c = diff,
                                      .ldc = channels},
                     more);
        }
        const float scale = is_sort(p) ? 1 : (float)p->scale;
        for (int64_t i = 0; i < n; i++)
            for (int64_t c = 0; c < channels; c++) {
                float *const to = (float *)j->call->src.data + b * s[0] + i * s[1] + c * s[2];
                *to = (p->desc.accumulate ? *to : 0) + scale * diff[i * channels + c];
            }
    }
}

static equinv_status backward(const equinv_projection *p, const eqi_projection_call *call)
{
    const job j = job_of(p, call);
    const double numbers = (double)j.columns * j.n;
    eqi_parallel_rows(p->ctx, call->src.shape[0],
                      numbers * (4 + (is_sort(p) ? 0 : (double)p->desc.channels / 8)), 1,
                      backward_samples, &j, call->scratch, p->slice_size);
    return EQUINV_OK;
}

/* ---- the implementation --------------------------------------------------------------------- */

/* Bytes of templates in tiles of lanes, [.., channels, lanes]. */
static equinv_status packed_size(const equinv_projection *p, int64_t *numbers)
{
    const int64_t lanes = eqi_row_kernels_of(&p->ctx->hardware)->lanes;
    return eqi_product_of("the templates", 3,
                          (int64_t[]){eqi_divide_up(p->k, lanes), lanes, p->desc.channels},
                          numbers);
}

static equinv_status prepare(equinv_projection *p)
{
    const int64_t lanes = eqi_row_kernels_of(&p->ctx->hardware)->lanes, c = p->desc.channels;
    const float *const w = p->templates.data;
    int64_t numbers;
    void *memory;
    if (is_sort(p))
        return EQUINV_OK;
    EQI_TRY(packed_size(p, &numbers));
    EQI_TRY(eqi_alloc_zeroed(p->ctx, numbers, sizeof(float), "packed templates", &memory));
    float *const to = memory;
    for (int64_t k = 0; k < p->k; k++)
        for (int64_t i = 0; i < c; i++)
            to[(k / lanes * c + i) * lanes + k % lanes] = w[k * c + i];
    p->prepared = to;
    return EQUINV_OK;
}

static void release(equinv_projection *p)
{
    int64_t numbers = 0;
    if (packed_size(p, &numbers) == EQUINV_OK)
        eqi_free(p->ctx, p->prepared, (size_t)numbers * sizeof(float));
}

static bool scratch(const equinv_projection *p, size_t *slice, size_t *shared)
{
    const size_t columns = (size_t)(is_sort(p) ? p->desc.channels : p->k);
    size_t by_row, diff, back;
    *shared = 0;
    if (__builtin_mul_overflow((size_t)p->desc.rows * sizeof(float), columns, &by_row) ||
        __builtin_mul_overflow((size_t)p->desc.rows * sizeof(float), (size_t)p->desc.channels,
                               &diff) ||
        __builtin_add_overflow(by_row, diff, &back) ||
        __builtin_add_overflow(back, EQI_GEMM_WORKSPACE + 2 * EQI_ALIGNMENT, &back))
        return false;
    const size_t templates = eqi_ref_templates_slice(p);
    back = back > templates ? back : templates;
    *slice = eqi_aligned(back > sizeof(room) ? back : sizeof(room));
    return *slice < SIZE_MAX;
}

static bool supports(const void *problem, const eqi_hardware *hardware, const char **why)
{
    const equinv_projection *const p = problem;
    (void)hardware;
    return eqi_require(p->symmetric, why, "nothing to sort by rows") &&
           eqi_require(p->desc.dtype == EQUINV_F32, why, "f32 only") &&
           eqi_require(p->desc.rows <= EQI_ROWS_MOST, why, "more than 64 rows");
}

const eqi_projection_implementation eqi_network_projection = {
    {"projection/network", supports, NULL},
    prepare,
    release,
    scratch,
    forward,
    backward,
    eqi_ref_templates_backward,
};
