/*
 * Columns of up to 64 numbers, sorted one a lane by compare-exchange networks.
 *
 * Layout  a tile [64][lanes]; rows of a batch are turned into it and back four numbers at a time, by 16
 *         byte pieces: loads and stores do what shuffles would, twice as many of them.
 * Network Batcher's, in registers up to 32 numbers; above, two parts of 32 are merged, its even and its
 *         odd numbers in registers again. At 64 it has 543 exchanges, the best one known 521.
 * Why     a network in lanes has no branch to guess wrong and one pair of instructions for each exchange:
 *         25 to 70 times std::sort on Zen 5, docs/performance-log.md.
 *
 * The includer includes a header of cpu/simd/.
 */
#include "cpu/rows/rows.h"

#include <math.h>

typedef float eqi_real_f32;
typedef double eqi_real_f64;

#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 8")
#endif

#define PASTE_(a, b) a##b
#define PASTE(a, b) PASTE_(a, b)
#define WIDTH vf32_lanes

#define ELEMENT f32
#define V vf32
#define DO(op) vf32_##op
#define NAME(name) name##_f32
#include "cpu/kernel/row_network.inc.c"
#undef ELEMENT
#undef V
#undef DO
#undef NAME
#define ELEMENT f64
#define V vf64
#define DO(op) vf64_##op
#define NAME(name) name##_f64
#include "cpu/kernel/row_network.inc.c"

static void sort_f32_tile(float *tile, int n)
{
    sort_column_f32(tile, n);
}

static void sort_f64_tile(double *tile, int n)
{
    for (int l = 0; l < WIDTH; l += vf64_lanes)
        sort_column_f64(tile + l, n);
}

/* The last four numbers are turned together, some of them for the second time. */
static inline int quarter(int i, int n)
{
    return i + 4 <= n ? i : n - 4;
}

static bool load_tile(const float *src, int64_t step, int n, float *tile)
{
    vf32_marks special = vf32_mark_nothing();
    for (int i = 0; i < n; i += 4) {
        const int at = quarter(i, n);
        vf32 v[4];
        vf32_load_turned(src + at, step, v);
        UNROLL
        for (int q = 0; q < 4; q++) {
            vf32_store(tile + (at + q) * WIDTH, v[q]);
            special = vf32_mark_special(special, v[q]);
        }
    }
    return !vf32_any_marked(special);
}

static void store_tile(const float *tile, int n, float *dst, int64_t step)
{
    for (int i = 0; i < n; i += 4) {
        const int at = quarter(i, n);
        vf32 v[4];
        UNROLL
        for (int q = 0; q < 4; q++)
            v[q] = vf32_load(tile + (at + q) * WIDTH);
        vf32_store_turned(dst + at, step, v);
    }
}

static bool tile_is_plain(const float *tile, int n)
{
    vf32_marks special = vf32_mark_nothing();
    for (int i = 0; i < n; i++)
        special = vf32_mark_special(special, vf32_load(tile + i * WIDTH));
    return !vf32_any_marked(special);
}

/* `rows` is a constant in each copy; a number's chain is the same in all of them. */
static inline __attribute__((always_inline)) void project_some(const float *z, int64_t row,
                                                               int64_t channel, const int rows,
                                                               int64_t channels, const float *w,
                                                               vf32 scale, float *tile)
{
    vf32 sum[8];
    UNROLL
    for (int i = 0; i < rows; i++)
        sum[i] = vf32_broadcast(0);
    for (int64_t c = 0; c < channels; c++) {
        const vf32 by = vf32_load(w + c * WIDTH);
        UNROLL
        for (int i = 0; i < rows; i++)
            sum[i] = vf32_fma(vf32_broadcast(z[i * row + c * channel]), by, sum[i]);
    }
    UNROLL
    for (int i = 0; i < rows; i++)
        vf32_store(tile + i * WIDTH, vf32_fma(sum[i], scale, vf32_broadcast(0)));
}

static bool project_tile(const float *z, int64_t row, int64_t channel, int n, int64_t channels,
                         const float *w, float scale, float *tile)
{
    const vf32 by = vf32_broadcast(scale);
    int i = 0;
    for (; i + 8 <= n; i += 8)
        project_some(z + i * row, row, channel, 8, channels, w, by, tile + i * WIDTH);
    for (; i < n; i++)
        project_some(z + i * row, row, channel, 1, channels, w, by, tile + i * WIDTH);
    return tile_is_plain(tile, n);
}

#define KERNELS PASTE(eqi_row_kernels_, EQI_LEVEL)
const eqi_row_kernels KERNELS = {
    .lanes = WIDTH,
    .sort = sort_f32_tile,
    .sort_f64 = sort_f64_tile,
    .load = load_tile,
    .store = store_tile,
    .is_plain = tile_is_plain,
    .project = project_tile,
};
