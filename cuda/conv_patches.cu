/*
 * Between feature maps and the matrices of a convolution:
 *     patches  matrix[(c,t), y] = src[c, s y + d t - p]       zeros or the repeated image outside
 *     gather   matrix[c, y]     = dst[c, y]                   scatter is the way back, with bias
 *     fold     diff_src[c, z]   = sum_{t, y: s y + d t - p = z} matrix[(c,t), y] + bias
 *
 * Layout  rows are channels and taps, columns are pixels (eqi_conv_matrix)
 * Tile    one thread a pixel and CHANNELS channels; it finds its pixel and the taps once for all of them.
 *         Channels beyond go to grid.y
 * Why     maps of a model are row-major [N, F, G, H, W]: along pixels both sides of every copy are read
 *         and written in consecutive elements. Rows that are pixels would suit maps with the fields
 *         fastest; those are right here too, only slower. Fold is a sum of reads, one thread an
 *         element, so it needs no atomics and its order is that of the taps
 */
#include "cuda/conv.cuh"

enum { BLOCK = 256, CHANNELS = 8 };
static constexpr int64_t MOST_CHUNKS = 1 << 15;

/* Up to CHANNELS rows of a matrix, and where their channels start in the map. */
struct eqi_conv_channels {
    int count;
    int64_t map[CHANNELS], row[CHANNELS], field[CHANNELS];
};

static __device__ __forceinline__ int64_t channels_of(const eqi_conv_matrix &m)
{
    return m.groups * m.channels;
}

/* Offset of a column in the row that is offset 0. */
static __device__ __forceinline__ int64_t place_of(const eqi_conv_matrix &m, int64_t column)
{
    return column / m.columns * (m.channels * m.taps * m.columns) + column % m.columns;
}

static __device__ eqi_conv_channels offsets_of(const eqi_conv_matrix &m, const equinv_tensor &map,
                                               int64_t first)
{
    const int64_t rest = channels_of(m) - first, tap_rows = m.taps * m.columns;
    int64_t group = first / m.channels, channel = first % m.channels;
    int64_t field = (m.channel + channel) / m.elements,
            element = (m.channel + channel) % m.elements;
    eqi_conv_channels o;
    o.count = rest < CHANNELS ? int(rest) : CHANNELS;
    for (int c = 0; c < CHANNELS; c++) {
        o.field[c] = (m.group + group) * m.fields + field;
        o.map[c] = o.field[c] * map.strides[1] + element * map.strides[2];
        o.row[c] = (group * m.parts * m.channels + channel) * tap_rows;
        if (++element == m.elements)
            element = 0, field++;
        if (++channel == m.channels) {
            channel = 0, group++;
            field = m.channel / m.elements, element = m.channel % m.elements;
        }
    }
    return o;
}

/* For every chunk of channels that this block has a share in. */
#define FOR_EACH_CHUNK(first, m)                                                                   \
    for (int64_t first = int64_t(blockIdx.y) * CHANNELS; first < channels_of(m);                   \
         first += int64_t(gridDim.y) * CHANNELS)

static dim3 grid_of(const eqi_conv_matrix *m, int64_t threads)
{
    const int64_t chunks = (m->groups * m->channels + CHANNELS - 1) / CHANNELS;
    const dim3 columns = eqi_blocks(threads, BLOCK);
    return dim3(columns.x, unsigned(chunks < MOST_CHUNKS ? chunks : MOST_CHUNKS));
}

/* ---- kernels --------------------------------------------------------------------------------- */

template <typename T>
__global__ void eqi_conv_patches_kernel(eqi_conv_problem p, eqi_conv_matrix m, equinv_tensor src,
                                        T *matrix)
{
    const equinv_conv_desc &d = p.desc;
    EQI_FOR_EACH(column, m.parts * m.columns)
    {
        const int64_t pixel = m.pixel + column, line = pixel / p.out_width, x = pixel % p.out_width;
        const int64_t n = line / p.out_height, y = line % p.out_height;
        T *const to = matrix + place_of(m, column);
        FOR_EACH_CHUNK(first, m)
        {
            const eqi_conv_channels o = offsets_of(m, src, first);
            for (int64_t ty = 0; ty < d.kernel; ty++) {
                int64_t sy, sx;
                const bool row = eqi_conv_input(&d, y, ty, d.height, &sy) && column < m.pixels;
                for (int64_t tx = 0; tx < d.kernel; tx++) {
                    const bool inside = eqi_conv_input(&d, x, tx, d.width, &sx) && row;
                    const T *const from =
                        static_cast<const T *>(src.data) + eqi_offset5(&src, n, 0, 0, sy, sx);
                    const int64_t tap = (ty * d.kernel + tx) * m.columns;
                    for (int c = 0; c < CHANNELS; c++)
                        if (c < o.count)
                            to[o.row[c] + tap] = inside ? from[o.map[c]] : T(0);
                }
            }
        }
    }
}

template <typename T>
__global__ void eqi_conv_gather_kernel(eqi_conv_problem p, eqi_conv_matrix m, equinv_tensor dst,
                                       T *matrix)
{
    EQI_FOR_EACH(column, m.parts * m.columns)
    {
        const int64_t pixel = m.pixel + column, line = pixel / p.out_width, x = pixel % p.out_width;
        const int64_t n = line / p.out_height, y = line % p.out_height;
        const T *const from = static_cast<const T *>(dst.data) + eqi_offset5(&dst, n, 0, 0, y, x);
        T *const to = matrix + place_of(m, column);
        FOR_EACH_CHUNK(first, m)
        {
            const eqi_conv_channels o = offsets_of(m, dst, first);
            for (int c = 0; c < CHANNELS; c++)
                if (c < o.count)
                    to[o.row[c]] = column < m.pixels ? from[o.map[c]] : T(0);
        }
    }
}

template <typename T>
__global__ void eqi_conv_scatter_kernel(eqi_conv_problem p, eqi_conv_matrix m, const T *matrix,
                                        const T *bias, int64_t bias_stride, equinv_tensor dst)
{
    EQI_FOR_EACH(column, m.pixels)
    {
        const int64_t pixel = m.pixel + column, line = pixel / p.out_width, x = pixel % p.out_width;
        const int64_t n = line / p.out_height, y = line % p.out_height;
        const T *const from = matrix + place_of(m, column);
        T *const to = static_cast<T *>(dst.data) + eqi_offset5(&dst, n, 0, 0, y, x);
        FOR_EACH_CHUNK(first, m)
        {
            const eqi_conv_channels o = offsets_of(m, dst, first);
            for (int c = 0; c < CHANNELS; c++)
                if (c < o.count) {
                    T value = from[o.row[c]];
                    if (bias)
                        value += bias[o.field[c] * bias_stride];
                    to[o.map[c]] = p.desc.accumulate ? to[o.map[c]] + value : value;
                }
        }
    }
}

/* Adds the taps of row ty at input position (z.y, z.x); `line` is dst's line in the matrix. */
template <typename T>
static __device__ __forceinline__ void
add_line(const eqi_conv_problem &p, const eqi_conv_matrix &m, const eqi_conv_channels &o,
         const T *matrix, int64_t zx, int64_t ty, int64_t line, T (&sums)[CHANNELS])
{
    const equinv_conv_desc &d = p.desc;
    for (int64_t tx = 0; tx < d.kernel; tx++) {
        const eqi_conv_candidates columns = eqi_conv_candidates_of(&d, zx, tx, d.width);
        for (int64_t sx = columns.first; sx <= d.stride * (p.out_width - 1); sx += columns.step) {
            if (!eqi_conv_is_window(&d, sx))
                continue;
            const T *const from =
                matrix + (ty * d.kernel + tx) * m.columns + line * p.out_width + sx / d.stride;
            for (int c = 0; c < CHANNELS; c++)
                if (c < o.count)
                    sums[c] += from[o.row[c]];
        }
    }
}

template <typename T, bool BIAS>
__global__ void eqi_conv_fold_kernel(eqi_conv_problem p, eqi_conv_matrix m, int64_t first_image,
                                     int64_t images, const T *matrix, const T *bias,
                                     int64_t bias_stride, equinv_tensor diff_src)
{
    const equinv_conv_desc &d = p.desc;
    EQI_FOR_EACH(index, images * d.height * d.width)
    {
        const int64_t zx = index % d.width, zy = index / d.width % d.height;
        const int64_t n = index / d.width / d.height;
        T *const to =
            static_cast<T *>(diff_src.data) + eqi_offset5(&diff_src, first_image + n, 0, 0, zy, zx);
        FOR_EACH_CHUNK(first, m)
        {
            const eqi_conv_channels o = offsets_of(m, diff_src, first);
            T sums[CHANNELS] = {};
            for (int64_t ty = 0; ty < d.kernel; ty++) {
                const eqi_conv_candidates rows = eqi_conv_candidates_of(&d, zy, ty, d.height);
                for (int64_t sy = rows.first; sy <= d.stride * (p.out_height - 1); sy += rows.step)
                    if (eqi_conv_is_window(&d, sy))
                        add_line(p, m, o, matrix, zx, ty, n * p.out_height + sy / d.stride, sums);
            }
            for (int c = 0; c < CHANNELS; c++)
                if (c < o.count) {
                    const T value = BIAS ? sums[c] + bias[o.field[c] * bias_stride] : sums[c];
                    to[o.map[c]] = d.accumulate ? to[o.map[c]] + value : value;
                }
        }
    }
}

/* ---- launches -------------------------------------------------------------------------------- */

eqi_conv_matrix eqi_conv_src_matrix(const eqi_conv_problem *p)
{
    eqi_conv_matrix m = {};
    m.groups = p->desc.channel_groups;
    m.fields = p->in_per_group, m.elements = p->elements_in;
    m.channels = m.fields * m.elements;
    m.taps = p->desc.kernel * p->desc.kernel;
    m.parts = 1;
    return m;
}

eqi_conv_matrix eqi_conv_dst_matrix(const eqi_conv_problem *p)
{
    eqi_conv_matrix m = {};
    m.groups = p->desc.channel_groups;
    m.fields = p->out_per_group, m.elements = p->elements_out;
    m.channels = m.fields * m.elements;
    m.taps = 1;
    m.parts = 1;
    return m;
}

template <typename T>
static equinv_status patches(const equinv_context *ctx, const eqi_conv_problem *p,
                             const eqi_conv_matrix *m, const equinv_tensor *src, void *matrix)
{
    EQI_LAUNCH(eqi_conv_patches_kernel<T>, grid_of(m, m->parts * m->columns), BLOCK, 0,
               eqi_stream(ctx), *p, *m, *src, static_cast<T *>(matrix));
    return EQUINV_OK;
}

equinv_status eqi_conv_patches(const equinv_context *ctx, const eqi_conv_problem *p,
                               const eqi_conv_matrix *m, const equinv_tensor *src, void *matrix)
{
    return p->desc.dtype == EQUINV_F32 ? patches<float>(ctx, p, m, src, matrix)
                                       : patches<double>(ctx, p, m, src, matrix);
}

template <typename T>
static equinv_status gather(const equinv_context *ctx, const eqi_conv_problem *p,
                            const eqi_conv_matrix *m, const equinv_tensor *dst, void *matrix)
{
    EQI_LAUNCH(eqi_conv_gather_kernel<T>, grid_of(m, m->parts * m->columns), BLOCK, 0,
               eqi_stream(ctx), *p, *m, *dst, static_cast<T *>(matrix));
    return EQUINV_OK;
}

equinv_status eqi_conv_gather(const equinv_context *ctx, const eqi_conv_problem *p,
                              const eqi_conv_matrix *m, const equinv_tensor *dst, void *matrix)
{
    return p->desc.dtype == EQUINV_F32 ? gather<float>(ctx, p, m, dst, matrix)
                                       : gather<double>(ctx, p, m, dst, matrix);
}

template <typename T>
static equinv_status scatter(const equinv_context *ctx, const eqi_conv_problem *p,
                             const eqi_conv_matrix *m, const void *matrix,
                             const equinv_tensor *bias, const equinv_tensor *dst)
{
    const T *const values = bias ? static_cast<const T *>(bias->data) : nullptr;
    EQI_LAUNCH(eqi_conv_scatter_kernel<T>, grid_of(m, m->pixels), BLOCK, 0, eqi_stream(ctx), *p, *m,
               static_cast<const T *>(matrix), values, bias ? bias->strides[0] : 0, *dst);
    return EQUINV_OK;
}

equinv_status eqi_conv_scatter(const equinv_context *ctx, const eqi_conv_problem *p,
                               const eqi_conv_matrix *m, const void *matrix,
                               const equinv_tensor *bias, const equinv_tensor *dst)
{
    return p->desc.dtype == EQUINV_F32 ? scatter<float>(ctx, p, m, matrix, bias, dst)
                                       : scatter<double>(ctx, p, m, matrix, bias, dst);
}

template <typename T>
static equinv_status fold(const equinv_context *ctx, const eqi_conv_problem *p,
                          const eqi_conv_matrix *m, const void *matrix, const equinv_tensor *bias,
                          const equinv_tensor *diff_src)
{
    const T *const values = bias ? static_cast<const T *>(bias->data) : nullptr;
    const int64_t image = p->out_height * p->out_width, images = m->pixels / image;
    const dim3 grid = grid_of(m, images * p->desc.height * p->desc.width);
    const T *const from = static_cast<const T *>(matrix);
    if (bias)
        EQI_LAUNCH((eqi_conv_fold_kernel<T, true>), grid, BLOCK, 0, eqi_stream(ctx), *p, *m,
                   m->pixel / image, images, from, values, bias->strides[0], *diff_src);
    else
        EQI_LAUNCH((eqi_conv_fold_kernel<T, false>), grid, BLOCK, 0, eqi_stream(ctx), *p, *m,
                   m->pixel / image, images, from, values, 0, *diff_src);
    return EQUINV_OK;
}

equinv_status eqi_conv_fold(const equinv_context *ctx, const eqi_conv_problem *p,
                            const eqi_conv_matrix *m, const void *matrix, const equinv_tensor *bias,
                            const equinv_tensor *diff_src)
{
    return p->desc.dtype == EQUINV_F32 ? fold<float>(ctx, p, m, matrix, bias, diff_src)
                                       : fold<double>(ctx, p, m, matrix, bias, diff_src);
}
