/*
 * Convolution as products of matrices, by cuBLAS in strict fp32 or fp64:
 *     forward           dst       [outputs x pixels] = bank . patches of src [inputs x pixels]
 *     backward data     patches   [inputs x pixels]  = bank^T . diff_dst; folded into diff_src
 *     backward weights  diff_bank [outputs x inputs] = sum of diff_dst . patches^T; psi's entries
 *                                                      are gathered from it
 * outputs = (o, g), inputs = (i, h, tap) of one channel group; the groups are one batched product.
 *
 * Layout  every matrix row-major in scratch, pixels fastest: as maps of a model lie in memory
 * Tile    so many pixels of the batch, of any images, that the larger matrix takes TILE bytes.
 *         Backward data takes whole images, so that an element of diff_src finds all its windows in
 *         one tile; where one image is too much, some of its channel groups, or some channels of one.
 *         Backward weights sums CHAIN pixels at a time, in parts that are one batched product
 * Why     64 MiB of patches are about a wave of 128 x 128 blocks on the largest GPUs for layers that
 *         cost much (2304 x 7282 for 64 C4 fields, k 3), by count, not measured; larger tiles cost
 *         memory. Parts fill the GPU where the bank is small, and keep fp32 sums over pixels short
 */
#include "cuda/bias_gradient.cuh"
#include "cuda/conv.cuh"
#include "cuda/operations.cuh"

#include <climits>

enum { CHAIN = 2048 }; /* pixels */
#define TILE (INT64_C(64) << 20)
#define MOST_ELEMENTS 0x1p40 /* of one matrix: far from overflow, and above any GPU's memory */

/* Tiles, and the bytes of what stands in scratch. */
typedef struct conv_plan {
    size_t bank;
    int64_t pixels; /* forward */
    size_t patches, outputs;
    int64_t images, groups, channels; /* backward data */
    size_t data_patches, data_outputs;
    int64_t parts, part_pixels; /* backward weights */
    size_t weights_patches, weights_outputs, gradients;
} conv_plan;

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t divide_up(int64_t a, int64_t b)
{
    return a / b + (a % b != 0);
}

static int64_t element_size(const eqi_conv_problem *p)
{
    return p->desc.dtype == EQUINV_F32 ? 4 : 8;
}

static size_t aligned(int64_t elements, int64_t size)
{
    return size_t(divide_up(elements * size, EQI_CUDA_ALIGNMENT) * EQI_CUDA_ALIGNMENT);
}

/* How many times `elements` fit into `bytes`; 0 where not once. */
static int64_t times_in(double bytes, double elements, int64_t size)
{
    return int64_t(bytes / (elements * double(size)));
}

/* ---- plan ------------------------------------------------------------------------------------ */

static bool supports(const void *problem, const eqi_hardware *, const char **why)
{
    const eqi_conv_problem *const p = static_cast<const eqi_conv_problem *>(problem);
    const double taps = double(p->desc.kernel) * double(p->desc.kernel);
    const double outputs = double(p->out_per_group) * double(p->elements_out);
    const double inputs = double(p->in_per_group) * double(p->elements_in) * taps;
    const double image = double(p->out_height) * double(p->out_width);
    const double groups = double(p->desc.channel_groups);
    return eqi_require(outputs <= INT_MAX && inputs <= INT_MAX && image <= INT_MAX &&
                           groups <= INT_MAX,
                       why, "a product of matrices has an extent of 2^31 or more") &&
           eqi_require(groups * outputs * inputs <= MOST_ELEMENTS &&
                           outputs * image <= MOST_ELEMENTS && taps * image <= MOST_ELEMENTS,
                       why,
                       "the filter, or the patches of a channel, have more than 2^40 elements");
}

static size_t table_size(const eqi_conv_problem *, const eqi_hardware *)
{
    return sizeof(conv_plan);
}

static int64_t image_of(const eqi_conv_problem *p)
{
    return p->out_height * p->out_width;
}

/* Pixels of a tile that runs through the batch. */
static int64_t tile_pixels(const eqi_conv_problem *p, const eqi_conv_bank *b)
{
    const int64_t rows = b->groups * larger(b->inputs, b->outputs);
    const int64_t fit = times_in(TILE, double(rows), element_size(p));
    return larger(1, smaller(fit, p->desc.batch * image_of(p)));
}

static void plan_forward(const eqi_conv_problem *p, const eqi_conv_bank *b, conv_plan *c)
{
    c->pixels = tile_pixels(p, b);
    c->patches = aligned(b->groups * b->inputs * c->pixels, element_size(p));
    c->outputs = aligned(b->groups * b->outputs * c->pixels, element_size(p));
}

static void plan_data(const eqi_conv_problem *p, const eqi_conv_bank *b, conv_plan *c)
{
    const int64_t size = element_size(p), image = image_of(p);
    const int64_t taps = p->desc.kernel * p->desc.kernel, channels = b->inputs / taps;
    const double group = double(larger(b->inputs, b->outputs)) * double(image);
    const int64_t images = times_in(TILE, double(b->groups) * group, size);
    const int64_t groups = times_in(TILE, group, size);
    c->images = larger(1, smaller(images, p->desc.batch));
    c->groups = images ? b->groups : larger(1, smaller(groups, b->groups));
    c->channels = channels;
    if (!images && !groups)
        c->channels =
            larger(1, smaller(channels, times_in(TILE, double(taps) * double(image), size)));
    const int64_t columns = c->groups * c->images * image;
    c->data_patches = aligned(c->channels * taps * columns, size);
    c->data_outputs = aligned(b->outputs * columns, size);
}

static void plan_weights(const eqi_conv_problem *p, const eqi_conv_bank *b, conv_plan *c)
{
    const int64_t size = element_size(p), bank = b->groups * b->outputs * b->inputs;
    const int64_t pixels = tile_pixels(p, b);
    c->parts = smaller(divide_up(pixels, CHAIN), larger(1, times_in(TILE, double(bank), size)));
    c->part_pixels = divide_up(pixels, c->parts);
    const int64_t columns = b->groups * c->parts * c->part_pixels;
    c->weights_patches = aligned(b->inputs * columns, size);
    c->weights_outputs = aligned(b->outputs * columns, size);
    c->gradients = aligned(bank * c->parts, size);
}

size_t eqi_conv_bias_scratch(const eqi_conv_plan *plan)
{
    const eqi_conv_problem *const p = &plan->problem;
    if (plan->transposed)
        return eqi_bias_gradient_scratch(p->desc.fields_in, p->desc.batch * p->elements_in *
                                                                p->desc.height * p->desc.width);
    return eqi_bias_gradient_scratch(p->desc.fields_out,
                                     p->desc.batch * p->elements_out * image_of(p));
}

static void prepare(eqi_conv_plan *plan)
{
    const eqi_conv_problem *const p = &plan->problem;
    const eqi_conv_bank b = eqi_conv_bank_of(p);
    conv_plan *const c = static_cast<conv_plan *>(plan->tables);
    c->bank = aligned(b.groups * b.outputs * b.inputs, element_size(p));
    plan_forward(p, &b, c);
    plan_data(p, &b, c);
    plan_weights(p, &b, c);
    const size_t needs[] = {
        c->bank + c->patches + c->outputs, c->bank + c->data_patches + c->data_outputs,
        c->weights_patches + c->weights_outputs + c->gradients, eqi_conv_bias_scratch(plan)};
    plan->head.packed_size = c->bank;
    for (const size_t need : needs)
        if (need > plan->head.scratch_size)
            plan->head.scratch_size = need;
}

/* ---- execution ------------------------------------------------------------------------------- */

static equinv_status pack(const eqi_conv_plan *plan, const equinv_tensor *psi, void *packed)
{
    return eqi_conv_expand(plan->head.ctx, &plan->problem, psi, packed);
}

/* The packed filter: the caller's, or psi's at the front of *scratch, which then begins behind. */
static equinv_status bank_of(const eqi_conv_plan *plan, const eqi_conv_weights *weights,
                             char **scratch, const char **bank)
{
    *bank = static_cast<const char *>(weights->packed);
    if (weights->packed)
        return EQUINV_OK;
    *bank = *scratch;
    *scratch += static_cast<const conv_plan *>(plan->tables)->bank;
    return pack(plan, &weights->psi, const_cast<char *>(*bank));
}

static equinv_status forward(const eqi_conv_plan *plan, const equinv_tensor *src,
                             const eqi_conv_weights *weights, const equinv_tensor *bias,
                             const equinv_tensor *dst, void *scratch)
{
    const eqi_conv_problem *const p = &plan->problem;
    const conv_plan *const c = static_cast<const conv_plan *>(plan->tables);
    const equinv_context *const ctx = plan->head.ctx;
    const eqi_conv_bank b = eqi_conv_bank_of(p);
    const int64_t total = p->desc.batch * image_of(p);
    char *patches = static_cast<char *>(scratch);
    const char *bank;
    if (total == 0)
        return EQUINV_OK;
    EQI_TRY(bank_of(plan, weights, &patches, &bank));
    char *const outputs = patches + c->patches;
    eqi_conv_matrix from = eqi_conv_src_matrix(p), to = eqi_conv_dst_matrix(p);
    for (int64_t first = 0; first < total; first += c->pixels) {
        const int64_t n = smaller(c->pixels, total - first);
        from.pixel = to.pixel = first;
        from.pixels = to.pixels = from.columns = to.columns = n;
        EQI_TRY(eqi_conv_patches(ctx, p, &from, src, patches));
        EQI_TRY(eqi_cuda_gemm(ctx, p->desc.dtype, b.outputs, n, b.inputs, 1,
                              {bank, b.inputs, b.outputs * b.inputs, false},
                              {patches, n, b.inputs * n, false}, 0, outputs, n, b.outputs * n,
                              b.groups));
        EQI_TRY(eqi_conv_scatter(ctx, p, &to, outputs, bias, dst));
    }
    return EQUINV_OK;
}

/* Patches of some channels from diff_dst's matrix, and into diff_src. */
static equinv_status data_of_channels(const eqi_conv_plan *plan, const char *bank,
                                      const char *outputs, const eqi_conv_matrix *m, char *patches,
                                      const equinv_tensor *bias, const equinv_tensor *diff_src)
{
    const eqi_conv_problem *const p = &plan->problem;
    const eqi_conv_bank b = eqi_conv_bank_of(p);
    const int64_t rows = m->channels * m->taps, n = m->columns;
    const int64_t first = m->group * b.outputs * b.inputs + m->channel * m->taps;
    EQI_TRY(eqi_cuda_gemm(plan->head.ctx, p->desc.dtype, rows, n, b.outputs, 1,
                          {bank + first * element_size(p), b.inputs, b.outputs * b.inputs, true},
                          {outputs, n, b.outputs * n, false}, 0, patches, n, rows * n, m->groups));
    return eqi_conv_fold(plan->head.ctx, p, m, patches, bias, diff_src);
}

static equinv_status backward_data(const eqi_conv_plan *plan, const equinv_tensor *diff_dst,
                                   const eqi_conv_weights *weights, const equinv_tensor *bias,
                                   const equinv_tensor *diff_src, void *scratch)
{
    const eqi_conv_problem *const p = &plan->problem;
    const conv_plan *const c = static_cast<const conv_plan *>(plan->tables);
    const int64_t image = image_of(p), groups = p->desc.channel_groups;
    char *patches = static_cast<char *>(scratch);
    const char *bank;
    if (p->desc.batch == 0)
        return EQUINV_OK;
    EQI_TRY(bank_of(plan, weights, &patches, &bank));
    char *const outputs = patches + c->data_patches;
    eqi_conv_matrix from = eqi_conv_dst_matrix(p), to = eqi_conv_src_matrix(p);
    const int64_t channels = to.channels;
    for (int64_t n = 0; n < p->desc.batch; n += c->images)
        for (int64_t group = 0; group < groups; group += c->groups) {
            from.pixel = to.pixel = n * image;
            from.pixels = from.columns = smaller(c->images, p->desc.batch - n) * image;
            to.pixels = to.columns = from.columns;
            from.group = to.group = group;
            from.groups = to.groups = smaller(c->groups, groups - group);
            EQI_TRY(eqi_conv_gather(plan->head.ctx, p, &from, diff_dst, outputs));
            for (to.channel = 0; to.channel < channels; to.channel += c->channels) {
                to.channels = smaller(c->channels, channels - to.channel);
                EQI_TRY(data_of_channels(plan, bank, outputs, &to, patches, bias, diff_src));
            }
        }
    return EQUINV_OK;
}

static equinv_status backward_weights(const eqi_conv_plan *plan, const equinv_tensor *src,
                                      const equinv_tensor *diff_dst, const equinv_tensor *diff_psi,
                                      const equinv_tensor *diff_bias, void *scratch)
{
    const eqi_conv_problem *const p = &plan->problem;
    const conv_plan *const c = static_cast<const conv_plan *>(plan->tables);
    const equinv_context *const ctx = plan->head.ctx;
    const eqi_conv_bank b = eqi_conv_bank_of(p);
    const int64_t total = p->desc.batch * image_of(p);
    char *const patches = static_cast<char *>(scratch), *const outputs =
                                                            patches + c->weights_patches;
    char *const gradients = outputs + c->weights_outputs;
    eqi_conv_matrix in = eqi_conv_src_matrix(p), out = eqi_conv_dst_matrix(p);
    in.parts = out.parts = c->parts;
    for (int64_t first = 0; first < total; first += c->parts * c->part_pixels) {
        in.pixel = out.pixel = first;
        in.pixels = out.pixels = smaller(c->parts * c->part_pixels, total - first);
        const int64_t n = in.columns = out.columns = divide_up(in.pixels, c->parts);
        EQI_TRY(eqi_conv_patches(ctx, p, &in, src, patches));
        EQI_TRY(eqi_conv_gather(ctx, p, &out, diff_dst, outputs));
        EQI_TRY(eqi_cuda_gemm(ctx, p->desc.dtype, b.outputs, b.inputs, n, 1,
                              {outputs, n, b.outputs * n, false}, {patches, n, b.inputs * n, true},
                              first > 0, gradients, b.inputs, b.outputs * b.inputs,
                              b.groups * c->parts));
    }
    EQI_TRY(eqi_conv_reduce(ctx, p, gradients, total > 0 ? c->parts : 0, diff_psi));
    return diff_bias ? eqi_bias_gradient(ctx, diff_dst, diff_bias, p->desc.accumulate, scratch)
                     : EQUINV_OK;
}

static equinv_status transposed_bias(const eqi_conv_plan *plan, const equinv_tensor *map,
                                     const equinv_tensor *diff_bias, void *scratch)
{
    return eqi_bias_gradient(plan->head.ctx, map, diff_bias, plan->problem.desc.accumulate,
                             scratch);
}

const eqi_conv_implementation eqi_cuda_conv_gemm = {
    {"conv/gemm", supports, NULL},
    table_size,
    prepare,
    pack,
    forward,
    backward_data,
    backward_weights,
    transposed_bias,
    nullptr,
    nullptr,
};

const eqi_implementation *const eqi_cuda_conv_list[] = {
    &eqi_cuda_conv_gfourier.head,
    &eqi_cuda_conv_gemm.head,
    NULL,
};
