/* How a pass is cut into blocks. Nothing here runs on the device. */
#include "cuda/gfourier.cuh"
#include "cuda/gfourier_forms.cuh"

enum {
    SLOTS = 32,       /* of a warp */
    WIDE = 64,        /* wider images are cut into patches of about .. */
    PATCH_WIDTH = 48, /* .. so many columns */
    STAGE_TAPS = 8,   /* that a part of src has at least, or there would be barriers all the time */
    SUM_FIELDS = 8,   /* of src, in the gradient of the filter */
    MOST_FLOATS = 1 << 20,
};
#define SHARED_GOOD (size_t(72) << 10)  /* three blocks share an H100's */
#define SHARED_SUMS (size_t(110) << 10) /* two do */

/* ---- forms ----------------------------------------------------------------------------------- */

typedef struct form {
    int32_t inputs, values, components, entries;
    eqi_gf_tile tile;
    int32_t sum_taps, sum_outputs;
} form;

template <typename Form> constexpr form form_of()
{
    return {Form::INPUTS,
            Form::VALUES,
            Form::COMPONENTS,
            Form::ENTRIES,
            {Form::OUTPUTS, Form::IMAGES},
            Form::SUM_TAPS,
            Form::SUM_OUTPUTS};
}

static const form forms[EQI_GF_KINDS] = {
    form_of<eqi_gf_2>(),      form_of<eqi_gf_d2>(),     form_of<eqi_gf_c4>(),
    form_of<eqi_gf_d4>(),     form_of<eqi_gf_sum<2>>(), form_of<eqi_gf_sum<4>>(),
    form_of<eqi_gf_sum<8>>(),
};

bool eqi_gf_kind_of(equinv_group group, bool to_plane, eqi_gf_kind *kind)
{
    const bool mirrors = group.kind == EQUINV_GROUP_DIHEDRAL;
    switch (eqi_order(group)) {
    case 2: *kind = to_plane ? EQI_GF_SUM_2 : EQI_GF_2; return true;
    case 4: *kind = to_plane ? EQI_GF_SUM_4 : mirrors ? EQI_GF_D2 : EQI_GF_C4; return true;
    case 8: *kind = to_plane ? EQI_GF_SUM_8 : EQI_GF_D4; return mirrors;
    default: return false;
    }
}

/* ---- problem --------------------------------------------------------------------------------- */

bool eqi_gf_adjoint_is_conv(const eqi_conv_problem *p)
{
    const equinv_conv_desc *const d = &p->desc;
    const bool same = p->out_height == d->height && p->out_width == d->width;
    return d->stride == 1 && (d->padding_mode == EQUINV_PAD_ZEROS || same);
}

static eqi_gf_pass forward_of(const eqi_conv_problem *p)
{
    const equinv_conv_desc *const d = &p->desc;
    eqi_gf_pass pass = {};
    pass.group = d->group;
    pass.fields_in = d->fields_in;
    pass.fields_out = d->fields_out;
    pass.elements = int32_t(p->elements_in);
    pass.batch = d->batch;
    pass.height = d->height;
    pass.width = d->width;
    pass.out_height = p->out_height;
    pass.out_width = p->out_width;
    pass.stride = d->stride;
    pass.padding = d->padding;
    pass.dilation = d->dilation;
    pass.circular = d->padding_mode == EQUINV_PAD_CIRCULAR;
    pass.accumulate = d->accumulate;
    pass.kernel = int32_t(d->kernel);
    eqi_gf_kind_of(d->group, d->kind == EQUINV_CONV_TO_PLANE, &pass.kind);
    return pass;
}

/*
 * The group convolution of diff_dst with psi'[i, o, b, w] = psi[o, i, b^-1, -b^-1 w] and the padding
 * d (k - 1) - p; that of a lifting one goes to the plane, that to the plane lifts.
 */
static eqi_gf_pass adjoint_of(const eqi_conv_problem *p)
{
    const equinv_conv_desc *const d = &p->desc;
    eqi_gf_pass pass = forward_of(p);
    pass.fields_in = d->fields_out;
    pass.fields_out = d->fields_in;
    pass.elements = int32_t(p->elements_out);
    pass.height = p->out_height;
    pass.width = p->out_width;
    pass.out_height = d->height;
    pass.out_width = d->width;
    pass.padding = d->dilation * (d->kernel - 1) - d->padding;
    eqi_gf_kind_of(d->group, d->kind == EQUINV_CONV_LIFTING, &pass.kind);
    return pass;
}

/* Where src has no elements, the first tap of each orbit stands for all of it. */
static void find_taps(eqi_gf_pass *p)
{
    const int32_t k = p->kernel;
    p->taps = 0;
    for (int32_t v = 0; v < k * k; v++) {
        bool first = true;
        for (int32_t h = 0; h < p->inputs; h++) {
            const eqi_pixel t = eqi_move(eqi_motion_of(p->group, h), v / k, v % k, k, k);
            first = first && t.y * k + t.x >= v;
        }
        if (p->elements > 1 || first)
            p->tap[p->taps++] = uint8_t(v);
    }
}

/* ---- blocks ---------------------------------------------------------------------------------- */

static int64_t even_share(int64_t all, int64_t most)
{
    return eqi_divide_up(all, eqi_divide_up(all, most));
}

static int64_t round_up(int64_t value, int64_t step)
{
    return eqi_divide_up(value, step) * step;
}

static int32_t power_of_two_up_to(int64_t value)
{
    int32_t power = 1;
    while (2 * power <= value)
        power *= 2;
    return power;
}

/* Rows of src in shared memory that any block's slots need, and columns; false if too many. */
static bool count_rows(const eqi_gf_pass *p, int64_t *rows, int64_t *columns, int64_t *stack)
{
    const int64_t slots = p->positions * SLOTS, height = p->patch_height, width = p->patch_width;
    const double window = double(p->dilation) * double(p->kernel - 1) + 1;
    const double step = height > 1 ? double(p->stride) : 0;
    /* Lines that follow each other, from any place of one on; how often they change to another stack. */
    const int64_t lines = (slots + width - 2) / width + 1,
                  changes = eqi_divide_up(lines - 1, height);
    const double most =
        double(lines - 1) * step + double(changes) * fmax(0, window - step) + window;
    const double across = double(width - 1) * double(p->stride) + window;
    const double down = double(height - 1) * double(p->stride) + window;
    if (most * across > MOST_FLOATS || down > INT32_MAX)
        return false;
    *rows = int64_t(most);
    *columns = int64_t(across);
    *stack = int64_t(down);
    return true;
}

/* Everything that follows from patches and a block's slots; false if there is too much of it. */
static bool cut(eqi_gf_pass *p)
{
    int64_t rows, columns, stack;
    if (!count_rows(p, &rows, &columns, &stack))
        return false;
    const int64_t across = eqi_divide_up(p->out_width, p->patch_width);
    const int64_t down = eqi_divide_up(p->out_height, p->patch_height);
    const int64_t slots = p->patch_height * p->patch_width;
    const int64_t plane = round_up(rows * columns * p->tile.images, 4);
    p->patches = eqi_divisor_of(across * down);
    p->patches_across = eqi_divisor_of(across);
    p->virtual_images = p->batch * across * down;
    p->all_slots = eqi_divide_up(p->virtual_images, p->tile.images) * slots;
    p->patch_slots = eqi_divisor_of(slots);
    p->patch_across = eqi_divisor_of(p->patch_width);
    p->stack_rows = eqi_divisor_of(stack);
    p->pitch = eqi_divisor_of(columns);
    p->plane = int32_t(plane);
    return plane <= MOST_FLOATS;
}

/* And from tile and part; false if it does not fit `limit`. */
static bool lay_out(eqi_gf_pass *p, size_t limit)
{
    const form *const f = &forms[p->kind];
    if (!cut(p))
        return false;
    p->tiles = eqi_divide_up(p->all_slots, p->positions * SLOTS) *
               eqi_divide_up(p->panels, p->group_panels);
    if (p->tiles > INT32_MAX || p->panels > INT32_MAX)
        return false;
    const int64_t plane = p->plane;
    const int64_t threads = int64_t(SLOTS) * p->group_panels * p->positions * p->splits;
    const int64_t buffers = p->fields_in > p->part ? 2 : 1;
    const int64_t filter =
        int64_t(p->group_panels) * p->part * p->taps * f->entries * p->tile.outputs;
    const int64_t planes = int64_t(p->part) * p->elements * plane;
    const int64_t sums = p->splits > 1 ? int64_t(f->components) * p->tile.outputs * p->tile.images *
                                             threads / p->splits
                                       : 0;
    const int64_t places_at = 2 * plane, taps_at = places_at + 2 * threads * p->tile.images;
    const int64_t filter_at = taps_at + round_up(p->taps * f->inputs, 4);
    const int64_t planes_at = filter_at + buffers * filter;
    const int64_t floats = planes_at + eqi_larger(buffers * planes, sums);
    if (floats > MOST_FLOATS || size_t(floats) * sizeof(float) > limit)
        return false;
    p->places_at = int32_t(places_at);
    p->taps_at = int32_t(taps_at);
    p->filter_at = int32_t(filter_at);
    p->planes_at = int32_t(planes_at);
    p->stage_filter = int32_t(filter);
    p->stage_planes = int32_t(planes);
    p->shared_bytes = size_t(floats) * sizeof(float);
    return true;
}

/* The widest patches and the largest part of src that fit. */
static bool fit(eqi_gf_pass *p, size_t limit)
{
    const int64_t images = p->tile.images;
    const bool cut = p->batch % images != 0 && p->batch < 8 * images; /* images would be missing */
    const int64_t bands = cut ? eqi_smaller(images, p->out_height) : 1;
    const int64_t wanted = eqi_larger(p->splits, eqi_divide_up(STAGE_TAPS, p->taps));
    p->patch_height = eqi_divide_up(p->out_height, bands);
    p->patch_width = p->out_width <= WIDE ? p->out_width : even_share(p->out_width, PATCH_WIDTH);
    for (;; p->patch_width = eqi_divide_up(p->patch_width, 2)) {
        int64_t part = eqi_larger(p->splits, eqi_smaller(wanted, p->fields_in));
        for (;; part = eqi_divide_up(part, 2)) {
            p->part = int32_t(part);
            if (lay_out(p, limit))
                return true;
            if (part <= p->splits)
                break;
        }
        if (p->patch_width <= 2)
            return false;
    }
}

/* With the larger or the smaller tile of a thread; `split`: warps share src, or have slots of their own. */
static void set_tile(eqi_gf_pass *p, bool small, bool split)
{
    p->small = small;
    p->tile = small ? eqi_gf_tile{EQI_GF_SMALL_OUTPUTS, EQI_GF_SMALL_IMAGES} : forms[p->kind].tile;
    p->panels = eqi_divide_up(p->fields_out, p->tile.outputs);
    p->group_panels = power_of_two_up_to(eqi_smaller(p->panels, EQI_GF_WARPS));
    const int32_t rest = EQI_GF_WARPS / p->group_panels;
    p->splits = split ? power_of_two_up_to(eqi_smaller(p->fields_in, rest)) : 1;
    p->positions = rest / p->splits;
}

/* The first way that keeps the device busy, from the cheapest on; else the last one that fits. */
static bool choose(eqi_gf_pass *p, eqi_gf_limits limits)
{
    static const struct {
        bool small, split;
        int32_t tiles; /* a multiprocessor */
    } ways[] = {{false, false, 2}, {false, true, 1}, {true, false, 2}, {true, true, 0}};
    for (int i = 0; i < 4; i++) {
        set_tile(p, ways[i].small, ways[i].split);
        if ((fit(p, SHARED_GOOD < limits.shared_bytes ? SHARED_GOOD : limits.shared_bytes) ||
             fit(p, limits.shared_bytes)) &&
            p->tiles >= ways[i].tiles * limits.multiprocessors)
            return true;
    }
    /* One warp needs least. */
    p->group_panels = p->positions = p->splits = 1;
    return fit(p, limits.shared_bytes);
}

bool eqi_gf_pass_of(const eqi_conv_problem *problem, bool adjoint, eqi_gf_limits limits,
                    eqi_gf_pass *pass)
{
    *pass = adjoint ? adjoint_of(problem) : forward_of(problem);
    pass->inputs = forms[pass->kind].inputs;
    pass->entries = forms[pass->kind].entries;
    find_taps(pass);
    return choose(pass, limits);
}

/* ---- the gradient of the filter --------------------------------------------------------------- */

/* Fields of src, panels of dst and phases of a block, of at most EQI_GF_SUM_THREADS. */
static void set_block(eqi_gf_weights *w)
{
    const eqi_gf_pass *const p = &w->pass;
    const form *const f = &forms[p->kind];
    const int64_t panels = eqi_divide_up(p->fields_out, f->sum_outputs);
    w->tap_groups = int32_t(eqi_divide_up(p->taps, f->sum_taps));
    w->panels = 2 * w->tap_groups <= EQI_GF_SUM_THREADS ? int32_t(eqi_smaller(panels, 2)) : 1;
    w->fields =
        int32_t(eqi_larger(1, eqi_smaller(eqi_smaller(p->fields_in, SUM_FIELDS),
                                          EQI_GF_SUM_THREADS / (w->tap_groups * w->panels))));
    const int32_t sums = w->fields * w->tap_groups * w->panels;
    w->phases = power_of_two_up_to(eqi_smaller(SLOTS, EQI_GF_SUM_THREADS / sums));
    w->threads = int32_t(round_up(sums * w->phases, SLOTS));
    w->field_blocks = int32_t(eqi_divide_up(p->fields_in, w->fields));
    w->panel_blocks = int32_t(eqi_divide_up(panels, w->panels));
    w->outputs = int64_t(w->panel_blocks) * w->panels * f->sum_outputs;
}

static bool lay_out_weights(eqi_gf_weights *w, size_t limit)
{
    const form *const f = &forms[w->pass.kind];
    if (!cut(&w->pass))
        return false;
    const int64_t outputs = int64_t(w->panels) * f->sum_outputs;
    const int64_t sums = int64_t(f->sum_taps) * f->sum_outputs * f->entries;
    w->field_floats = w->pass.elements * w->pass.plane | 1; /* neighbours in different banks */
    w->hat_floats = int32_t(outputs * f->components + 4);
    w->windows_at = int32_t(round_up(w->pass.taps * f->inputs, 4));
    w->raw_at = w->windows_at + 2 * w->slots;
    w->hat_at = int32_t(w->raw_at + outputs * f->values * w->slots);
    w->planes_at = w->hat_at + w->slots * w->hat_floats;
    const int64_t stage = round_up(int64_t(w->fields) * w->field_floats, 4);
    const int64_t joined = w->phases > 1 ? sums * (EQI_GF_SUM_THREADS / 2) : 0;
    const int64_t floats = eqi_larger(w->planes_at + 2 * stage, w->raw_at + joined);
    if (stage > MOST_FLOATS || size_t(floats) * sizeof(float) > limit)
        return false;
    w->stage = int32_t(stage);
    w->shared_bytes = size_t(floats) * sizeof(float);
    return true;
}

/* Parts that keep the device busy; more would only be more to add up. */
static void share_out(eqi_gf_weights *w, int32_t multiprocessors)
{
    const int64_t tiles = eqi_divide_up(w->pass.all_slots, w->slots);
    const int64_t blocks = int64_t(w->field_blocks) * w->panel_blocks;
    const int64_t wanted = eqi_larger(1, 2 * multiprocessors / blocks);
    w->tiles_of_part = eqi_larger(1, eqi_divide_up(tiles, eqi_larger(1, wanted)));
    w->parts = int32_t(eqi_divide_up(tiles, w->tiles_of_part));
}

bool eqi_gf_weights_of(const eqi_conv_problem *problem, eqi_gf_limits limits, eqi_gf_weights *w)
{
    *w = {};
    eqi_gf_pass *const p = &w->pass;
    *p = forward_of(problem);
    p->inputs = forms[p->kind].inputs;
    p->entries = forms[p->kind].entries;
    p->tile = {forms[p->kind].sum_outputs, 1};
    find_taps(p);
    set_block(w);
    p->patch_height = p->out_height;
    p->patch_width = p->out_width <= WIDE ? p->out_width : even_share(p->out_width, PATCH_WIDTH);
    for (p->positions = 2; p->positions > 0; p->positions--) {
        w->slots = p->positions * SLOTS;
        const bool last = p->positions == 1;
        if (lay_out_weights(w, last ? limits.shared_bytes : SHARED_SUMS) &&
            (last || p->all_slots >= 2 * w->slots * limits.multiprocessors)) {
            share_out(w, limits.multiprocessors);
            return int64_t(w->parts) * w->field_blocks * w->panel_blocks <= INT32_MAX;
        }
    }
    return false;
}

static int64_t part_floats(const eqi_gf_weights *w)
{
    return w->pass.fields_in * w->pass.taps * w->pass.entries * w->outputs;
}

size_t eqi_gf_weights_scratch(const eqi_gf_weights *w)
{
    return size_t(round_up(part_floats(w) * w->parts * int64_t(sizeof(float)), EQI_CUDA_ALIGNMENT));
}

size_t eqi_gf_filter_size(const eqi_gf_pass *p)
{
    const int64_t floats = p->panels * p->tile.outputs * p->fields_in * p->taps * p->entries;
    return size_t(round_up(floats * int64_t(sizeof(float)), EQI_CUDA_ALIGNMENT));
}
