/*
 * Convolution as products of matrices:
 *     forward           dst      [pixels x outputs]  = patches of src [pixels x taps] . bank
 *     backward data     diff_src [pixels x outputs]  = patches of diff_dst            . turned bank
 *     backward weights  diff_bank [taps x outputs]   = (patches of src)^T             . diff_dst
 *
 * A tile (some images, or a band of rows of one) is copied with its border into a buffer; from then on a
 * patch is a set of offsets, the same for every pixel, and the product reads A through these offsets.
 * So no patch is ever written out, which for a 5 x 5 filter would be 25 times the image.
 *
 * In backward data an input position z reads the windows y with s y + d t = z + p: the taps of one
 * residue modulo s. Positions are therefore taken residue by residue (a class), each with its own taps
 * and its own rows of the bank, and nothing is multiplied by the zeros between windows. With stride 1
 * there is one class. Where the image repeats, the border is computed too and folded back.
 *
 * Every element is one chain of multiply-adds, so a sample does not feel its batch, tile or thread.
 *
 * Why     OpenBLAS needs the patches as a matrix. One Zen 4 core (peak 117), GFLOP/s here and with a
 *         matrix of patches per image and OpenBLAS: C4 8 -> 16 fields, k 5, 14 x 14: 100 and 80;
 *         16 -> 16, k 3, 7 x 7: 91 and 61; lifting 1 -> 8, k 5, 28 x 28: 56 and 66, where turning the
 *         product into dst's layout costs as much as the product itself.
 */
#include <string.h>

#include "conv_tile.h"
#include "cpu/ref/ref.h"
#include "gemm.h"
#include "internal/arithmetic.h"

enum {
    TILE_PIXELS = 512,
    LANE_LIMIT = 1 << 30,    /* bytes */
    LANE_PRODUCTS = 1 << 21, /* worth waking another thread */
    PART_PIXELS = 512,
    CHAIN = 4096, /* pixels that a part of the weight gradient sums at most .. */
    PARTS = 16    /* .. and parts at least, where each gets PART_PIXELS */
};

/* A pass that reads patches of one map and writes the positions of another. */
typedef struct side {
    bool backward;
    int64_t channels, elements; /* of the map that is read */
    int64_t outputs, output_elements;
    int64_t group_channels, group_outputs; /* in one channel group */
    int64_t patch;                         /* rows of one group's bank: channels x taps */
    int64_t first, rows, columns; /* positions first .. first + rows - 1, and so for columns */
    int64_t step;                 /* positions of a class are step apart .. */
    int64_t move;                 /* .. and their patches this many buffer rows */
    int64_t margin;               /* buffer row b of the image is its row b - margin */
    int64_t reach;                /* largest offset of a tap on an axis */
    int64_t origin;               /* position z is row z - origin of the map written */
    bool wrap_in, wrap_out;
    int64_t images, band; /* of a tile: several images whole, or one image's rows */
    int64_t buffer_rows, buffer_columns;
    int64_t *pixels, *taps; /* offsets into the buffer, class after class */
} side;

typedef struct gemm_plan {
    side forward, backward;
    int64_t lanes, parts, blocks;
    size_t bank_size, lane_size, weights_lane_size; /* bytes */
} gemm_plan;

static size_t align(size_t size)
{
    return (size + EQI_ALIGNMENT - 1) / EQI_ALIGNMENT * EQI_ALIGNMENT;
}

/* ---- geometry ------------------------------------------------------------------------------------ */

/* Buffer rows between the first of `count` positions and the last row that their patches read. */
static int64_t span(const side *s, int64_t count)
{
    return eqi_divide_up(count - 1, s->step) * s->move + s->reach + 1;
}

static bool is_whole(const side *s)
{
    return s->band == s->rows;
}

/* Tiles of about TILE_PIXELS positions, smaller where there would not be enough for all threads. */
static void choose_tile(const eqi_conv_problem *p, const eqi_hardware *hardware, side *s)
{
    const int64_t image = s->rows * s->columns;
    const int64_t share = eqi_smaller(p->desc.batch, 1 << 20) * eqi_smaller(image, 1 << 20) /
                          (4 * (int64_t)hardware->threads);
    const int64_t by_outputs = eqi_larger(48, (64 << 10) / s->outputs);
    const int64_t goal = eqi_larger(64, eqi_smaller(share, eqi_smaller(TILE_PIXELS, by_outputs)));
    if (s->wrap_out || image <= 2 * goal) {
        s->band = s->rows;
        s->images = eqi_larger(1, eqi_smaller(goal / image, p->desc.batch));
    } else {
        s->images = 1;
        s->band = eqi_smaller(s->rows,
                              eqi_divide_up(eqi_larger(1, goal / s->columns), s->step) * s->step);
    }
    s->buffer_rows = span(s, s->band);
    s->buffer_columns = span(s, s->columns);
}

static side forward_side(const eqi_conv_problem *p, const eqi_hardware *hardware)
{
    const equinv_conv_desc *const d = &p->desc;
    side s = {
        .channels = d->fields_in * p->elements_in,
        .elements = p->elements_in,
        .outputs = d->fields_out * p->elements_out,
        .output_elements = p->elements_out,
        .rows = p->out_height,
        .columns = p->out_width,
        .step = 1,
        .move = d->stride,
        .margin = d->padding,
        .reach = d->dilation * (d->kernel - 1),
        .wrap_in = d->padding_mode == EQUINV_PAD_CIRCULAR,
    };
    s.group_channels = s.channels / d->channel_groups;
    s.group_outputs = s.outputs / d->channel_groups;
    s.patch = s.group_channels * d->kernel * d->kernel;
    choose_tile(p, hardware, &s);
    return s;
}

static side backward_side(const eqi_conv_problem *p, const eqi_hardware *hardware)
{
    const equinv_conv_desc *const d = &p->desc;
    const bool circular = d->padding_mode == EQUINV_PAD_CIRCULAR;
    const int64_t margin = d->dilation * (d->kernel - 1) / d->stride;
    side s = {
        .backward = true,
        .channels = d->fields_out * p->elements_out,
        .elements = p->elements_out,
        .outputs = d->fields_in * p->elements_in,
        .output_elements = p->elements_in,
        .first = circular ? 0 : d->padding,
        .rows = d->height + (circular ? 2 * d->padding : 0),
        .columns = d->width + (circular ? 2 * d->padding : 0),
        .step = d->stride,
        .move = 1,
        .margin = margin,
        .reach = margin,
        .origin = d->padding,
        .wrap_out = circular,
    };
    s.group_channels = s.channels / d->channel_groups;
    s.group_outputs = s.outputs / d->channel_groups;
    s.patch = s.group_channels * d->kernel * d->kernel;
    choose_tile(p, hardware, &s);
    return s;
}

/* One class of positions on one axis: those that are `delta` after the first, modulo step. */
static int64_t class_count(const side *s, int64_t size)
{
    return eqi_smaller(s->step, size);
}

static int64_t class_positions(const side *s, int64_t delta, int64_t size)
{
    return delta < size ? eqi_divide_up(size - delta, s->step) : 0;
}

static bool class_has_tap(const side *s, const equinv_conv_desc *d, int64_t delta, int64_t t)
{
    return d->dilation * t % s->step == (s->first + delta) % s->step;
}

static int64_t class_taps(const side *s, const equinv_conv_desc *d, int64_t delta)
{
    int64_t count = 0;
    for (int64_t t = 0; t < d->kernel; t++)
        count += class_has_tap(s, d, delta, t);
    return count;
}

/* Buffer row that a tap adds to its position's own. */
static int64_t tap_offset(const side *s, const equinv_conv_desc *d, int64_t t)
{
    return s->backward ? s->margin - d->dilation * t / s->step : d->dilation * t;
}

/* A class on both axes, and where its share of the tables begins. */
typedef struct class
{
    int64_t dy, dx;
    int64_t pixel, tap;           /* in the tables */
    int64_t taps_y, taps_x, taps; /* taps counts the channels of a group too */
} class;

static bool next_class(const side *s, const equinv_conv_desc *d, class *c)
{
    if (c->taps < 0) { /* the first */
        *c = (class){.dy = 0};
    } else {
        c->pixel +=
            s->images * class_positions(s, c->dy, s->band) * class_positions(s, c->dx, s->columns);
        c->tap += c->taps;
        if (++c->dx == class_count(s, s->columns)) {
            c->dx = 0;
            c->dy++;
        }
    }
    c->taps_y = class_taps(s, d, c->dy);
    c->taps_x = class_taps(s, d, c->dx);
    c->taps = s->group_channels * c->taps_y * c->taps_x;
    return c->dy < class_count(s, s->band);
}

static const class before_first = {.taps = -1};

/* ---- plan ---------------------------------------------------------------------------------------- */

static int64_t table_entries(const side *s)
{
    return s->images * s->band * s->columns + s->patch;
}

/* Bytes of a tile: workspace of the product, buffer, and one matrix of pixels x columns. */
static size_t lane_size(const side *s, int64_t columns, size_t element)
{
    const int64_t buffer = s->images * s->channels * s->buffer_rows * s->buffer_columns;
    const int64_t matrix = s->images * s->band * s->columns * columns;
    return EQI_GEMM_WORKSPACE + align((size_t)buffer * element) + align((size_t)matrix * element);
}

static gemm_plan plan_of(const eqi_conv_problem *p, const eqi_hardware *hardware)
{
    const size_t element = equinv_dtype_size(p->desc.dtype);
    gemm_plan g = {
        .forward = forward_side(p, hardware),
        .backward = backward_side(p, hardware),
    };
    const side *const f = &g.forward, *const b = &g.backward;
    g.bank_size = align((size_t)(p->desc.channel_groups * f->patch * f->group_outputs) * element);
    const size_t forward = lane_size(f, f->outputs, element);
    const size_t backward = lane_size(b, b->outputs, element);
    g.lane_size = forward > backward ? forward : backward;
    g.weights_lane_size = forward;
    const double products = (double)p->desc.batch * (double)f->rows * (double)f->columns *
                            (double)f->patch * (double)f->outputs;
    const int64_t worth =
        products < LANE_PRODUCTS * 1024.0 ? 1 + (int64_t)products / LANE_PRODUCTS : 1024;
    g.lanes = eqi_smaller(eqi_smaller(hardware->threads, worth), LANE_LIMIT / (int64_t)g.lane_size);
    g.lanes = eqi_larger(1, g.lanes);
    /*
     * The gradient of the bank is summed in parts, by the problem alone so that the bits do not depend
     * on the threads: chains of at most CHAIN pixels where memory allows, and enough work for a pool.
     */
    const int64_t rows = eqi_smaller(p->desc.batch, 1 << 20) * eqi_smaller(f->rows, 1 << 20);
    const int64_t pixels = rows * eqi_smaller(f->columns, 1 << 20);
    const int64_t memory = eqi_larger(1, ((int64_t)64 << 20) / (int64_t)g.bank_size);
    const int64_t wanted = eqi_smaller(pixels / PART_PIXELS, eqi_larger(PARTS, pixels / CHAIN));
    g.parts = eqi_larger(1, eqi_smaller(wanted, eqi_smaller(rows, memory)));
    g.blocks = eqi_larger(1, eqi_smaller(PARTS / 2 / g.parts, f->patch / 24));
    return g;
}

/* Counts that the geometry below multiplies stay far from overflow. */
static bool is_modest(const eqi_conv_problem *p)
{
    const equinv_conv_desc *const d = &p->desc;
    const double limit = (double)((int64_t)1 << 40), taps = (double)d->kernel * (double)d->kernel;
    const double border = 2 * (double)d->padding;
    const double counts[] = {
        (double)p->out_height * (double)p->out_width,
        ((double)d->height + border) * ((double)d->width + border),
        (double)d->fields_in * (double)p->elements_in * taps,
        (double)d->fields_out * (double)p->elements_out * taps,
        (double)d->stride * (double)p->out_height,
        (double)d->stride * (double)p->out_width,
    };
    for (int i = 0; i < 6; i++)
        if (counts[i] > limit)
            return false;
    return true;
}

/* Elements of what one lane works in and of the bank, as an estimate that cannot overflow. */
static double footprint(const side *s)
{
    const double pixels = (double)s->images * (double)s->band * (double)s->columns;
    const double wider = (double)eqi_larger(s->outputs, s->channels);
    return pixels * (wider + 1) + (double)s->patch * (double)s->outputs +
           (double)s->images * (double)s->channels * (double)s->buffer_rows *
               (double)s->buffer_columns;
}

static bool gemm_supports(const void *problem, const eqi_hardware *hardware, const char **why)
{
    const eqi_conv_problem *const p = problem;
    const eqi_hardware one = {hardware->isa, 1};
    bool fits = is_modest(p);
    if (fits) {
        const side f = forward_side(p, &one), b = backward_side(p, &one);
        fits = (footprint(&f) + footprint(&b)) * sizeof(double) < (double)LANE_LIMIT;
    }
    return eqi_require(fits, why, "a tile of patches and the bank need more than 1 GiB");
}

static size_t gemm_table_size(const eqi_conv_problem *p, const eqi_hardware *hardware)
{
    const gemm_plan g = plan_of(p, hardware);
    return align(sizeof g) +
           (size_t)(table_entries(&g.forward) + table_entries(&g.backward)) * sizeof(int64_t);
}

static void fill_pixels(const side *s, const class *c)
{
    int64_t *at = s->pixels + c->pixel;
    for (int64_t n = 0; n < s->images; n++)
        for (int64_t i = 0; i < class_positions(s, c->dy, s->band); i++)
            for (int64_t j = 0; j < class_positions(s, c->dx, s->columns); j++) {
                /* Counted from the buffer row of the tile's first position. */
                const int64_t y = (s->first % s->step + c->dy) / s->step + i;
                const int64_t x = (s->first % s->step + c->dx) / s->step + j;
                *at++ = (n * s->channels * s->buffer_rows + y * s->move) * s->buffer_columns +
                        x * s->move;
            }
}

static void fill_taps(const side *s, const equinv_conv_desc *d, const class *c)
{
    int64_t *at = s->taps + c->tap;
    for (int64_t channel = 0; channel < s->group_channels; channel++)
        for (int64_t ty = 0; ty < d->kernel; ty++)
            for (int64_t tx = 0; tx < d->kernel && class_has_tap(s, d, c->dy, ty); tx++)
                if (class_has_tap(s, d, c->dx, tx))
                    *at++ = (channel * s->buffer_rows + tap_offset(s, d, ty)) * s->buffer_columns +
                            tap_offset(s, d, tx);
}

static void gemm_prepare(eqi_conv_plan *plan)
{
    const eqi_conv_problem *const p = &plan->problem;
    const size_t element = equinv_dtype_size(p->desc.dtype);
    gemm_plan *const g = plan->tables;
    *g = plan_of(p, &plan->head.ctx->hardware);
    int64_t *table = (int64_t *)((char *)plan->tables + align(sizeof *g));
    side *const sides[] = {&g->forward, &g->backward};
    for (int i = 0; i < 2; i++) {
        side *const s = sides[i];
        s->pixels = table;
        s->taps = table + s->images * s->band * s->columns;
        table += table_entries(s);
        for (class c = before_first; next_class(s, &p->desc, &c);) {
            fill_pixels(s, &c);
            fill_taps(s, &p->desc, &c);
        }
    }
    const size_t lanes = (size_t)g->lanes;
    const size_t data = g->bank_size + lanes * g->lane_size;
    const size_t bias = align((size_t)g->forward.outputs * element);
    const size_t weights = lanes * g->weights_lane_size + (size_t)g->parts * (g->bank_size + bias) +
                           g->bank_size / element * sizeof(double);
    plan->head.packed_size = 2 * g->bank_size;
    plan->head.scratch_size = data > weights ? data : weights;
}

/* ---- the bank ------------------------------------------------------------------------------------ */

/*
 * bank[group][row of the patch][output of the group], rows in the order of the tap table. This writes
 * what one tap of a class, its number `tap` there, is for all pairs of fields.
 */
static void fill_tap(const eqi_conv_problem *p, const side *s, const equinv_tensor *psi,
                     int64_t group, const class *c, int64_t tap, eqi_pixel t, void *bank)
{
    const int64_t taps = c->taps_y * c->taps_x;
    const int64_t read_step = s->elements * taps * s->group_outputs;
    for (int64_t read = 0; read < s->elements; read++)
        for (int64_t written = 0; written < s->output_elements; written++) {
            const int32_t g = (int32_t)(s->backward ? read : written);
            const int32_t h = (int32_t)(s->backward ? written : read);
            const int64_t row = group * s->patch + c->tap + read * taps + tap;
            const eqi_conv_spread spread = {
                .first = group * p->out_per_group,
                .out = p->out_per_group,
                .in = p->in_per_group,
                .at = eqi_conv_place_of(p, g, h, t.y, t.x),
                .to = row * s->group_outputs + written,
                .o_step = s->backward ? read_step : s->output_elements,
                .i_step = s->backward ? s->output_elements : read_step,
            };
            eqi_conv_expand(psi, &spread, bank);
        }
}

static void fill_bank(const eqi_conv_problem *p, const side *s, const equinv_tensor *psi,
                      void *bank)
{
    const equinv_conv_desc *const d = &p->desc;
    for (int64_t group = 0; group < d->channel_groups; group++)
        for (class c = before_first; next_class(s, d, &c);) {
            int64_t tap = 0;
            for (int64_t ty = 0; ty < d->kernel; ty++)
                for (int64_t tx = 0; tx < d->kernel; tx++)
                    if (class_has_tap(s, d, c.dy, ty) && class_has_tap(s, d, c.dx, tx))
                        fill_tap(p, s, psi, group, &c, tap++, (eqi_pixel){ty, tx}, bank);
        }
}

static equinv_status gemm_pack(const eqi_conv_plan *plan, const equinv_tensor *psi, void *packed)
{
    const gemm_plan *const g = plan->tables;
    fill_bank(&plan->problem, &g->forward, psi, packed);
    fill_bank(&plan->problem, &g->backward, psi, (char *)packed + g->bank_size);
    return EQUINV_OK;
}

/* Runs tasks on the pool, or here where the whole problem is too small for it. */
static void run(const eqi_conv_plan *plan, int64_t count, equinv_task task, void *arg)
{
    const gemm_plan *const g = plan->tables;
    if (g->lanes > 1) {
        eqi_parallel_for(plan->head.ctx, count, task, arg);
        return;
    }
    for (int64_t i = 0; i < count; i++)
        task(arg, i);
}

/* ---- forward and backward data ------------------------------------------------------------------- */

typedef struct tiles_job {
    const eqi_conv_problem *problem;
    const eqi_hardware *hardware;
    const gemm_plan *plan;
    const side *side;
    const equinv_tensor *from, *to, *bias;
    const void *bank;
    char *lanes;
    int64_t tiles, next;
} tiles_job;

/* What a lane of the pool works in. */
typedef struct lane {
    void *workspace, *buffer, *matrix;
} lane;

static lane lane_of(const side *s, equinv_dtype dtype, char *memory)
{
    const int64_t buffer = s->images * s->channels * s->buffer_rows * s->buffer_columns;
    lane l = {.workspace = memory, .buffer = memory + EQI_GEMM_WORKSPACE};
    l.matrix = (char *)l.buffer + align((size_t)buffer * equinv_dtype_size(dtype));
    return l;
}

static void *element_at(const void *base, equinv_dtype dtype, int64_t index)
{
    return (char *)base + index * (int64_t)equinv_dtype_size(dtype);
}

/* Some images whole, or rows of one. */
typedef struct tile {
    int64_t image, images, y, rows;
} tile;

static void fetch(const side *s, const equinv_tensor *map, const tile *t, void *buffer)
{
    const eqi_conv_border border = {
        .image = t->image,
        .images = t->images,
        .top = (s->first + t->y) / s->step * s->move - s->margin,
        .left = s->first / s->step * s->move - s->margin,
        .rows = span(s, t->rows),
        .columns = s->buffer_columns,
        .wrap = s->wrap_in,
        .channel_step = s->buffer_rows * s->buffer_columns,
        .row_step = s->buffer_columns,
    };
    eqi_conv_fetch(map, &border, buffer);
}

static void run_class(const tiles_job *job, const lane *l, const tile *t, const class *c)
{
    const side *const s = job->side;
    const equinv_dtype dtype = job->problem->desc.dtype;
    const eqi_conv_pixels pixels = {
        .image = t->image,
        .images = t->images,
        .y = s->first + t->y + c->dy - s->origin,
        .x = s->first + c->dx - s->origin,
        .step = s->step,
        .rows = class_positions(s, c->dy, t->rows),
        .columns = class_positions(s, c->dx, s->columns),
        .wrap = s->wrap_out,
    };
    for (int64_t group = 0; group < job->problem->desc.channel_groups; group++) {
        const int64_t channel = group * s->group_channels * s->buffer_rows * s->buffer_columns;
        const eqi_gemm_args args = {
            .m = pixels.images * pixels.rows * pixels.columns,
            .n = s->group_outputs,
            .k = c->taps,
            .a = element_at(l->buffer, dtype, channel),
            .a_rows = s->pixels + c->pixel,
            .a_columns = s->taps + c->tap,
            .b = element_at(job->bank, dtype, (group * s->patch + c->tap) * s->group_outputs),
            .ldb = s->group_outputs,
            .c = element_at(l->matrix, dtype, group * s->group_outputs),
            .ldc = s->outputs,
        };
        eqi_gemm(job->hardware, dtype, &args, l->workspace);
    }
    eqi_conv_store(l->matrix, s->outputs, &pixels, job->bias,
                   job->problem->desc.accumulate || s->wrap_out, job->to);
}

static void run_tiles(void *arg, int64_t index)
{
    tiles_job *const job = arg;
    const side *const s = job->side;
    const equinv_conv_desc *const d = &job->problem->desc;
    const lane l = lane_of(s, d->dtype, job->lanes + (size_t)index * job->plan->lane_size);
    const int64_t bands = eqi_divide_up(s->rows, s->band);
    for (;;) {
        const int64_t i = __atomic_fetch_add(&job->next, 1, __ATOMIC_RELAXED);
        if (i >= job->tiles)
            return;
        tile t = {.image = i * s->images, .rows = s->rows};
        t.images = eqi_smaller(s->images, d->batch - t.image);
        if (!is_whole(s)) {
            const int64_t y = i % bands * s->band;
            t = (tile){i / bands, 1, y, eqi_smaller(s->band, s->rows - y)};
        }
        fetch(s, job->from, &t, l.buffer);
        if (s->wrap_out && !d->accumulate)
            eqi_conv_clear(job->to, t.image, t.images);
        for (class c = before_first; next_class(s, d, &c);)
            run_class(job, &l, &t, &c);
    }
}

static void run_side(const eqi_conv_plan *plan, const side *s, const equinv_tensor *from,
                     const eqi_conv_weights *weights, const equinv_tensor *bias,
                     const equinv_tensor *to, void *scratch)
{
    const gemm_plan *const g = plan->tables;
    const void *bank = scratch;
    if (weights->packed)
        bank = (const char *)weights->packed + (s->backward ? g->bank_size : 0);
    else
        fill_bank(&plan->problem, s, &weights->psi, scratch);
    const int64_t batch = plan->problem.desc.batch;
    tiles_job job = {
        .problem = &plan->problem,
        .hardware = &plan->head.ctx->hardware,
        .plan = g,
        .side = s,
        .from = from,
        .to = to,
        .bias = bias,
        .bank = bank,
        .lanes = (char *)scratch + g->bank_size,
        .tiles =
            is_whole(s) ? eqi_divide_up(batch, s->images) : batch * eqi_divide_up(s->rows, s->band),
    };
    run(plan, eqi_smaller(g->lanes, job.tiles), run_tiles, &job);
}

static equinv_status gemm_forward(const eqi_conv_plan *plan, const equinv_tensor *src,
                                  const eqi_conv_weights *weights, const equinv_tensor *bias,
                                  const equinv_tensor *dst, void *scratch)
{
    const gemm_plan *const g = plan->tables;
    run_side(plan, &g->forward, src, weights, bias, dst, scratch);
    return EQUINV_OK;
}

static equinv_status gemm_backward_data(const eqi_conv_plan *plan, const equinv_tensor *diff_dst,
                                        const eqi_conv_weights *weights, const equinv_tensor *bias,
                                        const equinv_tensor *diff_src, void *scratch)
{
    const gemm_plan *const g = plan->tables;
    run_side(plan, &g->backward, diff_dst, weights, bias, diff_src, scratch);
    return EQUINV_OK;
}

/* ---- backward weights ---------------------------------------------------------------------------- */

typedef struct weights_job {
    const eqi_conv_problem *problem;
    const eqi_hardware *hardware;
    const gemm_plan *plan;
    const equinv_tensor *src, *diff_dst, *diff_psi, *diff_bias;
    char *lanes, *parts, *biases;
    double *sums;
    int64_t next;
} weights_job;

/* The next tile of the rows begin .. end - 1 of all images' rows in a row. */
static tile tile_at(const side *s, int64_t begin, int64_t end)
{
    const int64_t image = begin / s->rows, y = begin % s->rows;
    if (is_whole(s) && y == 0 && end - begin >= s->rows)
        return (tile){image, eqi_smaller(s->images, (end - begin) / s->rows), 0, s->rows};
    return (tile){image, 1, y, eqi_smaller(s->band, eqi_smaller(s->rows - y, end - begin))};
}

/* Adds one tile to rows first .. last - 1 of a part's bank, and to its bias. */
static void add_tile(const weights_job *job, const lane *l, const tile *t, int64_t first,
                     int64_t last, char *bank, char *bias)
{
    const side *const s = &job->plan->forward;
    const equinv_dtype dtype = job->problem->desc.dtype;
    const float one_f32 = 1;
    const double one_f64 = 1;
    const eqi_conv_pixels pixels = {t->image, t->images, t->y, 0, 1, t->rows, s->columns, false};
    fetch(s, job->src, t, l->buffer);
    eqi_conv_gather(job->diff_dst, &pixels, l->matrix);
    eqi_gemm_args args = {
        .n = s->group_outputs,
        .k = t->images * t->rows * s->columns,
        .ldb = s->outputs,
        .accumulate = true,
    };
    for (int64_t group = 0; group < job->problem->desc.channel_groups; group++) {
        const int64_t channel = group * s->group_channels * s->buffer_rows * s->buffer_columns;
        args.m = last - first;
        args.a = element_at(l->buffer, dtype, channel);
        args.a_rows = s->taps + first;
        args.a_columns = s->pixels;
        args.b = element_at(l->matrix, dtype, group * s->group_outputs);
        args.c = element_at(bank, dtype, (group * s->patch + first) * s->group_outputs);
        args.ldc = s->group_outputs;
        eqi_gemm(job->hardware, dtype, &args, l->workspace);
    }
    if (first > 0 || !job->diff_bias)
        return;
    /* The sum over pixels is the product with a row of ones. */
    args.m = 1;
    args.n = s->outputs;
    args.a = dtype == EQUINV_F32 ? (const void *)&one_f32 : &one_f64;
    args.a_rows = args.a_columns = NULL;
    args.transpose_a = true;
    args.b = l->matrix;
    args.c = bias;
    args.ldc = s->outputs;
    eqi_gemm(job->hardware, dtype, &args, l->workspace);
}

static size_t bias_size(const weights_job *job)
{
    return align((size_t)job->plan->forward.outputs * equinv_dtype_size(job->problem->desc.dtype));
}

static void run_parts(void *arg, int64_t index)
{
    weights_job *const job = arg;
    const gemm_plan *const g = job->plan;
    const side *const s = &g->forward;
    const equinv_dtype dtype = job->problem->desc.dtype;
    const lane l = lane_of(s, dtype, job->lanes + (size_t)index * g->weights_lane_size);
    const int64_t rows = job->problem->desc.batch * s->rows;
    for (;;) {
        const int64_t i = __atomic_fetch_add(&job->next, 1, __ATOMIC_RELAXED);
        if (i >= g->parts * g->blocks)
            return;
        const int64_t part = i / g->blocks, block = i % g->blocks;
        const int64_t first = s->patch * block / g->blocks;
        const int64_t last = s->patch * (block + 1) / g->blocks;
        char *const bank = job->parts + (size_t)part * g->bank_size;
        char *const bias = job->biases + (size_t)part * bias_size(job);
        for (int64_t group = 0; group < job->problem->desc.channel_groups; group++)
            memset(element_at(bank, dtype, (group * s->patch + first) * s->group_outputs), 0,
                   (size_t)((last - first) * s->group_outputs) * equinv_dtype_size(dtype));
        if (block == 0)
            memset(bias, 0, bias_size(job));
        const int64_t end = rows / g->parts * (part + 1) + eqi_smaller(part + 1, rows % g->parts);
        for (int64_t row = rows / g->parts * part + eqi_smaller(part, rows % g->parts);
             row < end;) {
            const tile t = tile_at(s, row, end);
            add_tile(job, &l, &t, first, last, bank, bias);
            row += t.images * t.rows;
        }
    }
}

/* Outputs that one task sums and folds: at least a cache line of each row. */
static int64_t fold_fields(const side *s)
{
    return eqi_larger(1, 16 / s->output_elements);
}

/* diff_psi[o,i,a,v], for fields first .. last - 1: the sum of the entries of the bank that are it. */
static void fold_entry(const weights_job *job, int32_t a, eqi_pixel v, int64_t first, int64_t last)
{
    const eqi_conv_problem *const p = job->problem;
    const side *const s = &job->plan->forward;
    const int64_t k = p->desc.kernel;
    const int32_t order = eqi_order(p->desc.group);
    int64_t place[8];
    for (int32_t u = 0; u < order; u++) {
        const eqi_conv_entry at = eqi_conv_entry_of(p, u, a, v);
        place[u] = (at.h * k * k + at.t.y * k + at.t.x) * s->group_outputs + at.g;
    }
    for (int64_t o = first; o < last; o++)
        for (int64_t i = 0; i < p->in_per_group; i++) {
            const int64_t row = o / p->out_per_group * s->patch + i * s->elements * k * k;
            const double *const at =
                job->sums + row * s->group_outputs + o % p->out_per_group * s->output_elements;
            double sum = 0;
            for (int32_t u = 0; u < order; u++)
                sum += at[place[u]];
            eqi_put(job->diff_psi, eqi_offset5(job->diff_psi, o, i, a, v.y, v.x), sum,
                    p->desc.accumulate);
        }
}

static void fold(void *arg, int64_t index)
{
    const weights_job *const job = arg;
    const eqi_conv_problem *const p = job->problem;
    const side *const s = &job->plan->forward;
    const int64_t blocks = eqi_divide_up(p->out_per_group, fold_fields(s));
    const int64_t group = index / blocks, k = p->desc.kernel;
    const int64_t first = index % blocks * fold_fields(s);
    const int64_t last = eqi_smaller(p->out_per_group, first + fold_fields(s));
    const eqi_conv_block block = {
        .parts = job->plan->parts,
        .part_step = (int64_t)(job->plan->bank_size / equinv_dtype_size(p->desc.dtype)),
        .row = group * s->patch,
        .rows = s->patch,
        .row_step = s->group_outputs,
        .column = first * s->output_elements,
        .columns = (last - first) * s->output_elements,
    };
    eqi_conv_sum(p->desc.dtype, job->parts, &block, job->sums);
    const int64_t field = group * p->out_per_group;
    for (int32_t a = 0; a < p->filter_elements; a++)
        for (int64_t t = 0; t < k * k; t++)
            fold_entry(job, a, (eqi_pixel){t / k, t % k}, field + first, field + last);
}

static void fold_bias(const weights_job *job)
{
    const side *const s = &job->plan->forward;
    for (int64_t o = 0; o < job->problem->desc.fields_out; o++) {
        double sum = 0;
        for (int64_t part = 0; part < job->plan->parts; part++) {
            const equinv_tensor bias = {.data = job->biases + (size_t)part * bias_size(job),
                                        .dtype = job->problem->desc.dtype};
            for (int64_t g = 0; g < s->output_elements; g++)
                sum += eqi_load(&bias, o * s->output_elements + g);
        }
        eqi_put(job->diff_bias, o * job->diff_bias->strides[0], sum, job->problem->desc.accumulate);
    }
}

static equinv_status gemm_backward_weights(const eqi_conv_plan *plan, const equinv_tensor *src,
                                           const equinv_tensor *diff_dst,
                                           const equinv_tensor *diff_psi,
                                           const equinv_tensor *diff_bias, void *scratch)
{
    const gemm_plan *const g = plan->tables;
    weights_job job = {
        .problem = &plan->problem,
        .hardware = &plan->head.ctx->hardware,
        .plan = g,
        .src = src,
        .diff_dst = diff_dst,
        .diff_psi = diff_psi,
        .diff_bias = diff_bias,
        .lanes = scratch,
    };
    job.parts = job.lanes + (size_t)g->lanes * g->weights_lane_size;
    job.biases = job.parts + (size_t)g->parts * g->bank_size;
    job.sums = (double *)(job.biases + (size_t)g->parts * bias_size(&job));
    const int64_t blocks = eqi_divide_up(plan->problem.out_per_group, fold_fields(&g->forward));
    run(plan, eqi_smaller(g->lanes, g->parts * g->blocks), run_parts, &job);
    run(plan, plan->problem.desc.channel_groups * blocks, fold, &job);
    if (diff_bias)
        fold_bias(&job);
    return EQUINV_OK;
}

/* As fetch_row and is_plain (conv_tile.c) choose; in fp64 rows are a matter of the cache alone. */
static bool gemm_takes(const eqi_conv_plan *plan, bool backward, bool output,
                       const equinv_tensor *map)
{
    const gemm_plan *const g = plan->tables;
    const side *const s = backward ? &g->backward : &g->forward;
    return map->strides[4] == 1 && (output ? s->step == 1 && !s->wrap_out : !s->wrap_in);
}

const eqi_conv_implementation eqi_conv_gemm = {
    {"conv/gemm", gemm_supports},
    gemm_table_size,
    gemm_prepare,
    gemm_pack,
    gemm_forward,
    gemm_backward_data,
    gemm_backward_weights,
    eqi_ref_conv_transposed_bias,
    gemm_takes,
    NULL,
};
