/*
 * Orbit distances by brute force: a block takes 16 P x 16 P pairs of x and y through every g, with tiles
 * of coordinates in shared memory, y turned on the way in. A pair's sum is one chain over its
 * coordinates in double, the same for every P. For S, rows are sorted in shared memory first.
 */
#include "cuda/latents.cuh"
#include "cuda/operations.cuh"
#include "cuda/rank.cuh"
#include "cuda/rows.cuh"

enum {
    BLOCK = 256,
    DEPTH = 32, /* coordinates of a tile */
    PITCH = DEPTH + 1,
    SIDE = 32, /* rows of x or y whose lists are sorted together */
    LIST_PITCH = EQI_CUDA_MOST_ROWS + 1,
    SHARE = SIDE * EQI_CUDA_MOST_ROWS / BLOCK, /* numbers of a thread */
    MOST_BLOCKS = 1 << 20,
};

/* Distances and elements [A, B]; element NULL: not wanted. */
template <typename T> struct pair_results {
    T *distance;
    int64_t distance_strides[2];
    int32_t *element;
    int64_t element_strides[2];

    __device__ __forceinline__ void put(int64_t i, int64_t j, double squared, int32_t g) const
    {
        distance[i * distance_strides[0] + j * distance_strides[1]] = T(sqrt(squared));
        if (element)
            element[i * element_strides[0] + j * element_strides[1]] = g;
    }
};

/* Offset in y of the number that g, with this inverse, brings to a coordinate of x. */
__device__ __forceinline__ int64_t turned_offset(const eqi_latents &y, int32_t inverse,
                                                 int64_t column)
{
    const int64_t line = y.by_width.quotient(column), image = y.by_height.quotient(line);
    const int64_t f = y.by_order.quotient(image), a = image - f * y.order;
    eqi_pixel q = {line - image * y.height, column - line * y.width};
    if (y.height * y.width > 1)
        q = eqi_move(eqi_motion_of(y.group, inverse), q.y, q.x, y.height, y.width);
    return f * y.strides[0] + eqi_product(y.group, inverse, int32_t(a)) * y.strides[1] +
           q.y * y.strides[2] + q.x * y.strides[3];
}

template <typename T, int P>
__global__ void __launch_bounds__(BLOCK)
    eqi_orbit_distance(eqi_latents x, eqi_latents y, int64_t rows_x, int64_t rows_y,
                       const T *data_x, const T *data_y, pair_results<T> results)
{
    EQI_SHARED(double, tile_x, 16 * P * PITCH);
    EQI_SHARED(double, tile_y, 16 * P * PITCH);
    const int32_t tx = (int32_t)threadIdx.x % 16, ty = (int32_t)threadIdx.x / 16;
    const int32_t term = (int32_t)threadIdx.x % DEPTH, first = (int32_t)threadIdx.x / DEPTH;
    const int64_t across = (rows_y + 16 * P - 1) / (16 * P);
    const int64_t down = (rows_x + 16 * P - 1) / (16 * P), dimension = x.columns();
    for (int64_t tile = blockIdx.x; tile < across * down; tile += gridDim.x) {
        const int64_t i0 = tile / across * 16 * P, j0 = tile % across * 16 * P;
        double least[P][P] = {};
        int32_t nearest[P][P] = {};
        for (int32_t g = 0; g < x.order; g++) {
            const int32_t inverse = eqi_inverse(x.group, g);
            double sum[P][P] = {};
            for (int64_t c = 0; c < dimension; c += DEPTH) {
                const bool there = c + term < dimension;
                const int64_t column = there ? c + term : 0;
                const int64_t at_x = x.member(x.at(column), 0);
                const int64_t at_y = turned_offset(y, inverse, column);
                __syncthreads(); /* the tiles before are used */
                for (int32_t r = first; r < 16 * P; r += BLOCK / DEPTH) {
                    const bool has_x = there && i0 + r < rows_x, has_y = there && j0 + r < rows_y;
                    tile_x[r * PITCH + term] = has_x ? double(data_x[(i0 + r) * x.row + at_x]) : 0;
                    tile_y[r * PITCH + term] = has_y ? double(data_y[(j0 + r) * y.row + at_y]) : 0;
                }
                __syncthreads();
                for (int32_t d = 0; d < DEPTH; d++)
                    for (int i = 0; i < P; i++)
                        for (int j = 0; j < P; j++) {
                            const double difference = tile_x[(ty + 16 * i) * PITCH + d] -
                                                      tile_y[(tx + 16 * j) * PITCH + d];
                            sum[i][j] = fma(difference, difference, sum[i][j]);
                        }
            }
            for (int i = 0; i < P; i++)
                for (int j = 0; j < P; j++) {
                    const double s = sum[i][j];
                    if (g == 0 || s < least[i][j] || (isnan(s) && !isnan(least[i][j]))) {
                        least[i][j] = s;
                        nearest[i][j] = g;
                    }
                }
        }
        for (int i = 0; i < P; i++)
            for (int j = 0; j < P; j++)
                if (i0 + ty + 16 * i < rows_x && j0 + tx + 16 * j < rows_y)
                    results.put(i0 + ty + 16 * i, j0 + tx + 16 * j, least[i][j], nearest[i][j]);
    }
}

template <typename T>
static pair_results<T> results_of(const equinv_tensor *distance, const equinv_tensor *element)
{
    pair_results<T> r = {
        (T *)distance->data, {distance->strides[0], distance->strides[1]}, NULL, {0, 0}};
    if (element) {
        r.element = (int32_t *)element->data;
        r.element_strides[0] = element->strides[0];
        r.element_strides[1] = element->strides[1];
    }
    return r;
}

static int64_t tiles_of(const equinv_tensor *x, const equinv_tensor *y, int64_t side)
{
    return (x->shape[0] + side - 1) / side * ((y->shape[0] + side - 1) / side);
}

template <typename T, int P>
static equinv_status launch_orbit(const equinv_context *ctx, equinv_group group,
                                  const equinv_tensor *x, const equinv_tensor *y,
                                  const pair_results<T> &results)
{
    EQI_LAUNCH((eqi_orbit_distance<T, P>), eqi_blocks(tiles_of(x, y, 16 * P), 1, MOST_BLOCKS),
               BLOCK, 0, eqi_stream(ctx), eqi_latents_of(group, x, false),
               eqi_latents_of(group, y, false), x->shape[0], y->shape[0], (const T *)x->data,
               (const T *)y->data, results);
    return EQUINV_OK;
}

/* Large tiles where they keep the device busy. */
template <typename T>
static equinv_status orbit_distance(const equinv_context *ctx, equinv_group group,
                                    const equinv_tensor *x, const equinv_tensor *y,
                                    const equinv_tensor *distance, const equinv_tensor *element)
{
    const pair_results<T> results = results_of<T>(distance, element);
    return tiles_of(x, y, SIDE) >= 2 * eqi_cuda(ctx)->multiprocessors
               ? launch_orbit<T, 2>(ctx, group, x, y, results)
               : launch_orbit<T, 1>(ctx, group, x, y, results);
}

equinv_status eqi_cuda_orbit_distance(const equinv_context *ctx, equinv_group group,
                                      const equinv_tensor *x, const equinv_tensor *y,
                                      const equinv_tensor *distance, const equinv_tensor *element)
{
    if (x->shape[0] == 0 || y->shape[0] == 0)
        return EQUINV_OK;
    return x->dtype == EQUINV_F32 ? orbit_distance<float>(ctx, group, x, y, distance, element)
                                  : orbit_distance<double>(ctx, group, x, y, distance, element);
}

/* ---- S -------------------------------------------------------------------------------------- */

/* The 32 lists from row `first` on, sorted, to lists[list * LIST_PITCH + place]. */
template <typename T>
__device__ __forceinline__ void sort_lists(const T *data, int64_t row, int64_t step, int64_t rows,
                                           int64_t first, int32_t length, T *lists)
{
    T own[SHARE];
    int32_t place[SHARE] = {};
    const int32_t thread = (int32_t)threadIdx.x, all = SIDE * length;
    __syncthreads(); /* the lists before are used */
    for (int s = 0; s < SHARE; s++) {
        const int32_t e = thread + s * BLOCK, list = e / length, i = e % length;
        own[s] = e < all && first + list < rows ? data[(first + list) * row + i * step] : T(0);
        if (e < all)
            lists[list * LIST_PITCH + i] = own[s];
    }
    __syncthreads();
    for (int s = 0; s < SHARE; s++) {
        const int32_t e = thread + s * BLOCK, at = e / length * LIST_PITCH, i = e % length;
        const eqi_code<T> code = eqi_sort_code(own[s]);
        for (int32_t j = 0; e < all && j < length; j++)
            place[s] += eqi_stands_before(eqi_sort_code(lists[at + j]), j, code, i);
    }
    __syncthreads();
    for (int s = 0; s < SHARE; s++) {
        const int32_t e = thread + s * BLOCK;
        if (e < all)
            lists[e / length * LIST_PITCH + place[s]] = own[s];
    }
    __syncthreads();
}

template <typename T>
__global__ void __launch_bounds__(BLOCK)
    eqi_sorted_distance(int64_t rows_x, int64_t rows_y, int32_t length, const T *x, int64_t row_x,
                        int64_t step_x, const T *y, int64_t row_y, int64_t step_y,
                        pair_results<T> results)
{
    EQI_SHARED(T, lists_x, SIDE * LIST_PITCH);
    EQI_SHARED(T, lists_y, SIDE * LIST_PITCH);
    const int64_t across = (rows_y + SIDE - 1) / SIDE, down = (rows_x + SIDE - 1) / SIDE;
    for (int64_t tile = blockIdx.x; tile < across * down; tile += gridDim.x) {
        const int64_t i0 = tile / across * SIDE, j0 = tile % across * SIDE;
        sort_lists(x, row_x, step_x, rows_x, i0, length, lists_x);
        sort_lists(y, row_y, step_y, rows_y, j0, length, lists_y);
        for (int32_t e = (int32_t)threadIdx.x; e < SIDE * SIDE; e += BLOCK) {
            const int32_t i = e / SIDE, j = e % SIDE;
            double sum = 0;
            for (int32_t place = 0; place < length; place++) {
                const double difference = double(lists_x[i * LIST_PITCH + place]) -
                                          double(lists_y[j * LIST_PITCH + place]);
                sum = fma(difference, difference, sum);
            }
            if (i0 + i < rows_x && j0 + j < rows_y)
                results.put(i0 + i, j0 + j, sum, 0);
        }
    }
}

template <typename T>
static equinv_status sorted_distance(const equinv_context *ctx, const equinv_tensor *x,
                                     const equinv_tensor *y, const equinv_tensor *distance)
{
    EQI_LAUNCH(eqi_sorted_distance<T>, eqi_blocks(tiles_of(x, y, SIDE), 1, MOST_BLOCKS), BLOCK, 0,
               eqi_stream(ctx), x->shape[0], y->shape[0], (int32_t)x->shape[1], (const T *)x->data,
               x->strides[0], x->strides[1], (const T *)y->data, y->strides[0], y->strides[1],
               results_of<T>(distance, NULL));
    return EQUINV_OK;
}

equinv_status eqi_cuda_sorted_distance(const equinv_context *ctx, const equinv_tensor *x,
                                       const equinv_tensor *y, const equinv_tensor *distance)
{
    EQI_CHECK(x->shape[1] <= EQI_CUDA_MOST_ROWS, UNSUPPORTED,
              "x has %" PRId64 " rows, expected at most %d: CUDA sorts no more", x->shape[1],
              EQI_CUDA_MOST_ROWS);
    return x->dtype == EQUINV_F32 ? sorted_distance<float>(ctx, x, y, distance)
                                  : sorted_distance<double>(ctx, x, y, distance);
}
