/*
 * C = A B in tiles, for projections: what B is made of and what becomes of C are types of their own, so
 * that templates are turned on the way in and orbits reduced on the way out.
 *
 * A block makes 16 R rows x 64 columns; every number is a chain of multiply-adds over the depth in
 * ascending order (fp32: chains of EQI_PRODUCT_RUN terms, added up), the same for every R and wherever
 * in the tile a row stands. So a row's bits do not depend on the batch, which cuBLAS does not promise:
 * it chooses kernels and splits sums by the size of the whole.
 *
 * B has tiles(), begin(tile), load(T next[4]) for the next EQI_PRODUCT_DEPTH terms, and place(i): where
 * in shared memory [depth][column] the thread's i-th number belongs. Out has finish(values, row, tile,
 * buffer); `buffer` is shared memory for eqi_in_slabs.
 */
#ifndef EQI_CUDA_PRODUCT_CUH
#define EQI_CUDA_PRODUCT_CUH

#include "cuda/device.cuh"

enum {
    EQI_PRODUCT_BLOCK = 256,
    EQI_PRODUCT_COLUMNS = 64,
    EQI_PRODUCT_DEPTH = 16,
    EQI_PRODUCT_RUN = 512,
    EQI_PRODUCT_PITCH = EQI_PRODUCT_COLUMNS + 4, /* of B; and A's: vectors stay aligned */
    EQI_SLAB_PITCH = EQI_PRODUCT_COLUMNS + 1,
};

/* A [rows, depth] with any strides. */
template <typename T> struct eqi_left {
    const T *data;
    int64_t rows, depth, row, step;
};

/* N numbers that are read from shared memory at once. */
template <typename T, int N> struct alignas(N * sizeof(T) < 16 ? N * sizeof(T) : 16) eqi_run {
    T v[N];
};

typedef struct alignas(16) eqi_shared_unit {
    unsigned char bytes[16];
} eqi_shared_unit;

/* The tile of R rows a thread: a slab is what one pass of eqi_in_slabs shows. */
template <typename T, int R> struct eqi_tile {
    enum {
        ROWS = 16 * R,
        RUN = R < 4 ? R : 4, /* rows of a thread that stand together */
        SLABS = R / RUN,
        SLAB_ROWS = 16 * RUN,
        PITCH = ROWS + 4,
        INPUTS = EQI_PRODUCT_DEPTH * (PITCH + EQI_PRODUCT_PITCH),
        OUTPUTS = SLAB_ROWS * EQI_SLAB_PITCH,
        NUMBERS = INPUTS > OUTPUTS ? INPUTS : OUTPUTS,
        UNITS = (NUMBERS * sizeof(T) + sizeof(eqi_shared_unit) - 1) / sizeof(eqi_shared_unit),
    };
};

/*
 * Shows the tile in shared memory, slab by slab: body(first row of the slab in the tile, values), where
 * values[row * EQI_SLAB_PITCH + column].
 */
template <typename T, int R, typename F>
__device__ __forceinline__ void eqi_in_slabs(const T (&values)[R][4], T *buffer, const F &body)
{
    typedef eqi_tile<T, R> tile;
    const int tx = threadIdx.x % 16, ty = threadIdx.x / 16;
    for (int slab = 0; slab < tile::SLABS; slab++) {
        __syncthreads();
        for (int i = 0; i < tile::RUN; i++)
            for (int j = 0; j < 4; j++)
                buffer[(ty * tile::RUN + i) * EQI_SLAB_PITCH + tx * 4 + j] =
                    values[slab * tile::RUN + i][j];
        __syncthreads();
        body(slab * tile::SLAB_ROWS, (const T *)buffer);
    }
}

/* The sums of one tile. */
template <typename T, int R, typename B>
__device__ __forceinline__ void eqi_multiply_tile(const eqi_left<T> &a, B &b, int64_t row, T *left,
                                                  T *right, T (&sum)[R][4])
{
    typedef eqi_tile<T, R> tile;
    const int tx = threadIdx.x % 16, ty = threadIdx.x / 16; /* and of A: term tx, rows ty + 16 i */
    const T *from = a.data + (row + ty) * a.row + tx * a.step;
    const int64_t left_over = (a.rows - row - ty + 15) / 16, steps = 16 * a.row;
    const int32_t there = left_over < R ? (int32_t)left_over : R; /* rows of the thread */
    T total[R][4], next_left[R], next_right[4];
    for (int i = 0; i < R; i++)
        for (int j = 0; j < 4; j++)
            total[i][j] = sum[i][j] = 0;
    const auto load = [&](int64_t c) {
        const T *at = from;
        for (int i = 0; i < R; i++, at += steps)
            next_left[i] = c + tx < a.depth && i < there ? *at : T(0);
        from += EQI_PRODUCT_DEPTH * a.step;
        b.load(next_right);
    };

    int in_run = 0;
    load(0);
    for (int64_t c = 0; c < a.depth; c += EQI_PRODUCT_DEPTH) {
        __syncthreads(); /* the terms before are used */
        for (int i = 0; i < R; i++)
            left[tx * tile::PITCH + ty + 16 * i] = next_left[i];
        for (int i = 0; i < 4; i++)
            right[b.place(i)] = next_right[i];
        __syncthreads();
        if (c + EQI_PRODUCT_DEPTH < a.depth)
            load(c + EQI_PRODUCT_DEPTH); /* on its way while these terms are added */
        for (int d = 0; d < EQI_PRODUCT_DEPTH; d++) {
            typedef eqi_run<T, tile::RUN> run;
            typedef eqi_run<T, 4> four;
            const four y = eqi_load_vector<four>(right + d * EQI_PRODUCT_PITCH + 4 * tx);
            for (int s = 0; s < tile::SLABS; s++) {
                const run x = eqi_load_vector<run>(left + d * tile::PITCH + s * tile::SLAB_ROWS +
                                                   ty * tile::RUN);
                for (int i = 0; i < tile::RUN; i++)
                    for (int j = 0; j < 4; j++) {
                        T &to = sum[s * tile::RUN + i][j];
                        to = fma(x.v[i], y.v[j], to);
                    }
            }
        }
        in_run += EQI_PRODUCT_DEPTH;
        if (sizeof(T) == sizeof(float) && in_run == EQI_PRODUCT_RUN) {
            in_run = 0;
            for (int i = 0; i < R; i++)
                for (int j = 0; j < 4; j++) {
                    total[i][j] += sum[i][j];
                    sum[i][j] = 0;
                }
        }
    }
    for (int i = 0; sizeof(T) == sizeof(float) && i < R; i++)
        for (int j = 0; j < 4; j++)
            sum[i][j] += total[i][j];
}

template <typename T, int R, typename B, typename Out>
__global__ void __launch_bounds__(EQI_PRODUCT_BLOCK, sizeof(T) == sizeof(double) ? 1
                                                     : R > 2                     ? 2
                                                                                 : 3)
    eqi_product(eqi_left<T> a, B b, Out out)
{
    typedef eqi_tile<T, R> shape;
    EQI_SHARED(eqi_shared_unit, shared, shape::UNITS);
    T *const left = reinterpret_cast<T *>(shared);
    const int64_t across = b.tiles(), down = (a.rows + shape::ROWS - 1) / shape::ROWS;
    for (int64_t tile = blockIdx.x; tile < across * down; tile += gridDim.x) {
        const int64_t row = tile / across * shape::ROWS, column_tile = tile % across;
        T sum[R][4];
        b.begin(column_tile);
        eqi_multiply_tile<T, R, B>(a, b, row, left, left + EQI_PRODUCT_DEPTH * shape::PITCH, sum);
        out.template finish<R>(sum, row, column_tile, left);
        __syncthreads();
    }
}

/* Large tiles where they keep the device busy. */
template <typename T, typename B, typename Out>
static equinv_status eqi_multiply(const equinv_context *ctx, const eqi_left<T> &a, const B &b,
                                  const Out &out)
{
    enum { LARGE = sizeof(T) == sizeof(float) ? 8 : 4, SMALL = 2, MOST = 1 << 20 };
    const int64_t across = b.tiles(), large = (a.rows + 16 * LARGE - 1) / (16 * LARGE) * across;
    const int64_t small = (a.rows + 16 * SMALL - 1) / (16 * SMALL) * across;
    if (large >= 2 * eqi_cuda(ctx)->multiprocessors)
        EQI_LAUNCH((eqi_product<T, LARGE, B, Out>), eqi_blocks(large, 1, MOST), EQI_PRODUCT_BLOCK,
                   0, eqi_stream(ctx), a, b, out);
    else
        EQI_LAUNCH((eqi_product<T, SMALL, B, Out>), eqi_blocks(small, 1, MOST), EQI_PRODUCT_BLOCK,
                   0, eqi_stream(ctx), a, b, out);
    return EQUINV_OK;
}

#endif
