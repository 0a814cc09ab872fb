/*
 * What the peers share. A peer's `create` makes the library's own problem first (runner.create of the
 * operation): inputs and outputs are then the same by construction, and `own` has the rest.
 */
#ifndef BENCH_PEER_H
#define BENCH_PEER_H

#include "bench/bench.h"

/* Runners of the peers for a case; NULL: nothing to set against it. */
const bench_runner *onednn_direct(const bench_case *c);
const bench_runner *onednn_auto(const bench_case *c);
const bench_runner *onednn_reorder(const bench_case *c);
const bench_runner *
openblas_expanded(const bench_case *c); /* of the next three, or openblas_distance */
const bench_runner *openblas_conv(const bench_case *c);
const bench_runner *openblas_project(const bench_case *c);
const bench_runner *openblas_node_linear(const bench_case *c);
const bench_runner *openblas_distance(const bench_case *c);
const bench_runner *openblas_fold(const bench_case *c);
const bench_runner *std_runner(const bench_case *c);
const bench_runner *cudnn_runner(const bench_case *c);
const bench_runner *cublas_runner(const bench_case *c);

void onednn_begin(int32_t threads);
void openblas_begin(int32_t threads);
void onednn_describe(FILE *out);
void openblas_describe(FILE *out);
void cudnn_describe(FILE *out);
void cublas_describe(FILE *out);
/* Loads the library: NULL, or why it cannot be had. */
const char *cudnn_open(void);
const char *cublas_open(void);

/* A failure of the peer itself: its sentence for the message of the case. */
equinv_status peer_failed(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* That sentence, or the library's last error; forgets it. */
const char *peer_error_take(void);

/* Memory on cache lines, not NULL for count 0; free by free(). */
float *peer_floats(int64_t count);

/*
 * The fastest of `count` ways to run a problem, each judged by the best of interleaved calls. `run` runs
 * one of them.
 */
equinv_status peer_fastest(problem *p, int count, equinv_status (*run)(problem *p, int way),
                           int *fastest);

/* ---- the dense convolution behind a group convolution (peer_dense.c) ------------------------------- */

/* Channels are fields x elements, row-major: dst = conv(src) with filter [out, in, k, k]. */
typedef struct dense_conv {
    int64_t batch, in, out, height, width, out_height, out_width;
    int64_t kernel, stride, padding, dilation;
    equinv_conv_kind kind;
    int64_t fields_in, fields_out, order;
} dense_conv;

bool is_conv(const bench_case *c);
equinv_status dense_conv_of(const bench_case *c, dense_conv *d);
/* The expanded filter of the problem's psi; free by free(). */
equinv_status dense_filter(problem *p, const dense_conv *d, float **filter);
/* The same into memory of the context's device. */
equinv_status dense_filter_into(problem *p, const dense_conv *d, float *filter);
/* psi [fields out, fields in, elements, k, k] (lifting, to plane: 1 element) into [out, in, k, k]. */
equinv_status dense_expand(equinv_context *ctx, equinv_group group, const dense_conv *d,
                           const equinv_tensor *psi, float *filter);
/*
 * The other way: the gradient of the dense filter, in memory of the context's device, summed over the group
 * into output[0].
 */
equinv_status dense_gradient_to_psi(problem *p, const dense_conv *d, float *gradient);

/* ---- reductions of orbits (peer_reduce.c) ----------------------------------------------------------- */

/*
 * values [order][k] of one latent: the inner products of all turned templates; room as many floats. dst [k]
 * or, for kinds that keep the orbit, [k][order].
 */
void peer_reduce(equinv_projection_kind kind, int64_t order, int64_t k, float *values, float *dst);
/* Every column of values [count][width] ascending. */
void peer_sort_columns(int64_t count, int64_t width, float *values);
/* Largest products, in dst [k], to distances of something of length `square` from y of `squares`. */
void peer_distances(int64_t k, float square, const float *squares, float *dst);
/* to [columns][rows] */
void peer_transpose(const float *from, int64_t rows, int64_t columns, float *to);

#endif
