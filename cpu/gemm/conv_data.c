/* Convolution by products: forward and backward data, tile by tile. */
#include "conv.h"
#include "conv_tile.h"
#include "gemm.h"
#include "internal/rows.h"

enum { IN_CACHE = 32 << 10 };

typedef struct tiles_job {
    const eqi_conv_problem *problem;
    const eqi_hardware *hardware;
    const eqi_conv_gemm_plan *plan;
    const eqi_conv_side *side;
    const equinv_tensor *from, *to;
    eqi_conv_columns columns;
    const void *bank;
    bool packed_bank; /* it stays in L1 as it is */
    char *lanes;
    int64_t tiles, next;
} tiles_job;

/* The matrix' rows that are positions of a class. */
static void multiply_class(const tiles_job *job, const eqi_conv_lane *l, const void *buffer,
                           const eqi_conv_tile *t, const eqi_conv_class *c)
{
    const eqi_conv_side *const s = job->side;
    const equinv_dtype dtype = job->problem->desc.dtype;
    for (int64_t group = 0; group < job->problem->desc.channel_groups; group++) {
        const int64_t channel = group * s->group_channels * eqi_conv_plane(s);
        const eqi_gemm_args args = {
            .m = t->images * eqi_conv_class_positions(s, c->dy, t->rows) *
                 eqi_conv_class_positions(s, c->dx, s->columns),
            .n = s->group_outputs,
            .k = c->taps,
            .a = eqi_conv_element(buffer, dtype, channel),
            .a_rows = s->pixels + c->pixel,
            .a_columns = s->taps + c->tap,
            .b = eqi_conv_element(job->bank, dtype, (group * s->patch + c->tap) * s->pitch),
            .ldb = s->pitch,
            .packed_b = job->packed_bank,
            .whole = eqi_conv_is_padded(s),
            .c = eqi_conv_element(l->matrix, dtype, group * s->group_outputs),
            .ldc = s->matrix_pitch,
            .c_rows = s->step > 1 ? s->places + c->pixel : NULL,
        };
        eqi_gemm(job->hardware, dtype, &args, l->workspace);
    }
}

static void run_tile(const tiles_job *job, const eqi_conv_lane *l, const eqi_conv_tile *t)
{
    const eqi_conv_side *const s = job->side;
    const equinv_conv_desc *const d = &job->problem->desc;
    const void *const buffer = eqi_conv_fetch_tile(s, job->from, t, l->buffer);
    for (eqi_conv_class c = eqi_conv_before_first; eqi_conv_next_class(s, d, &c);)
        multiply_class(job, l, buffer, t, &c);
    const eqi_conv_pixels pixels = {
        .image = t->image,
        .images = t->images,
        .y = s->first + t->y - s->origin,
        .x = s->first - s->origin,
        .rows = t->rows,
        .columns = s->columns,
        .wrap = s->wrap_out,
    };
    if (s->wrap_out && !d->accumulate)
        eqi_conv_clear(job->to, t->image, t->images);
    eqi_conv_store(l->matrix, s->matrix_pitch, &pixels, &job->columns, d->accumulate || s->wrap_out,
                   s->kernels, job->to);
}

static void run_tiles(void *arg, int64_t index)
{
    tiles_job *const job = arg;
    const eqi_conv_side *const s = job->side;
    const equinv_conv_desc *const d = &job->problem->desc;
    const eqi_conv_lane l =
        eqi_conv_lane_of(s, d->dtype, job->lanes + (size_t)index * job->plan->lane_size);
    const int64_t bands = eqi_divide_up(s->rows, s->band);
    for (;;) {
        const int64_t i = __atomic_fetch_add(&job->next, 1, __ATOMIC_RELAXED);
        if (i >= job->tiles)
            return;
        eqi_conv_tile t = {.image = i * s->images, .rows = s->rows};
        t.images = eqi_smaller(s->images, d->batch - t.image);
        if (!eqi_conv_is_whole(s)) {
            const int64_t y = i % bands * s->band;
            t = (eqi_conv_tile){i / bands, 1, y, eqi_smaller(s->band, s->rows - y)};
        }
        run_tile(job, &l, &t);
    }
}

/* The bank, columns, lanes. */
size_t eqi_conv_data_scratch(const eqi_conv_gemm_plan *g, equinv_dtype dtype)
{
    const size_t forward = eqi_conv_columns_size(&g->forward, dtype);
    const size_t backward = eqi_conv_columns_size(&g->backward, dtype);
    return g->bank_size + (forward > backward ? forward : backward) +
           (size_t)g->lanes * g->lane_size;
}

void eqi_conv_run_side(const eqi_conv_plan *plan, const eqi_conv_side *s, const equinv_tensor *from,
                       const eqi_conv_weights *weights, const equinv_tensor *bias,
                       const equinv_tensor *to, void *scratch)
{
    const eqi_conv_gemm_plan *const g = plan->tables;
    const equinv_dtype dtype = plan->problem.desc.dtype;
    char *memory = scratch;
    const void *bank = eqi_take(&memory, g->bank_size);
    char *const columns = eqi_take(&memory, eqi_conv_columns_size(s, dtype));
    if (weights->packed)
        bank = (const char *)weights->packed + (s->backward ? g->bank_size : 0);
    else
        eqi_conv_fill_bank(&plan->problem, s, &weights->psi, scratch);
    const int64_t batch = plan->problem.desc.batch;
    tiles_job job = {
        .problem = &plan->problem,
        .hardware = &plan->head.ctx->hardware,
        .plan = g,
        .side = s,
        .from = from,
        .to = to,
        .columns = eqi_conv_columns_in(s, to, bias, columns),
        .bank = bank,
        .packed_bank = (size_t)(s->patch * s->pitch) * equinv_dtype_size(dtype) <= IN_CACHE,
        .lanes = memory,
        .tiles = eqi_conv_is_whole(s) ? eqi_divide_up(batch, s->images)
                                      : batch * eqi_divide_up(s->rows, s->band),
    };
    eqi_conv_share_out(plan, eqi_smaller(g->lanes, job.tiles), run_tiles, &job);
}
