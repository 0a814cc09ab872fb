/*
 * The linear layer of nodes in fp32 as few products. With d, r, c, t, s the contractions of x (means forward,
 * sums of the gradient backward), every pass is
 *
 *     y_ij = A x_ij + B x_ji + row_i + column_j + all + [i = j] (node_i + trace)
 *     (node, row, column)_i = V (d, r, c)_i      one product of 3 C x 3 C' a node
 *     (trace, all) = Q (t, s)                    one of 2 C x 2 C' a sample
 *
 * so the 15 operations are never stored, and n x n places take two products of C x C'. Those two become
 * one each of half as many pairs,
 *
 *     y_ij, y_ji = (A + B)/2 (x_ij + x_ji) +- (A - B)/2 (x_ij - x_ji),    i < j,
 *
 * which is the group Fourier transform of the exchange of i and j. Backward data is the same with transposed
 * matrices; backward weights multiplies what both sides give. Order 1 has d and s alone.
 *
 * Layout  channels last; other layouts are copied, a sample at a time. Channels are padded to 16.
 * Order   samples a chunk at a time, so that a node's product has rows enough and all stays in L2; pairs of
 *         a few samples at a time, or a large sample's in blocks. The weights' gradient is summed in parts of
 *         the batch whose number does not depend on the threads.
 * Why     7 times as fast as the 15 operations side by side and one product by OpenBLAS, 9 nodes and 32
 *         channels: docs/performance-log.md.
 */
#include <string.h>

#include "cpu/gemm/gemm.h"
#include "cpu/ref/ref.h"
#include "internal/arithmetic.h"
#include "internal/rows.h"
#include "sample.h"

enum {
    CHUNK_NODES = 160, /* rows of a node's product, about */
    BLOCK = 192,       /* rows of a pair's product, about */
    PARTS = 16,        /* of the weights' gradient at most */
    PART_PLACES = 2048 /* n or n x n places a part has at least */
};

static const eqi_node_kernels *kernels_of(const eqi_hardware *hardware)
{
    static const eqi_node_kernels *const kernels[] = {
        [EQI_ISA_SCALAR] = &eqi_node_kernels_scalar,
#if defined(__x86_64__)
        [EQI_ISA_AVX2] = &eqi_node_kernels_avx2,
        [EQI_ISA_AVX512] = &eqi_node_kernels_avx512,
#endif
    };
    return kernels[hardware->isa];
}

/* src or dst of the layer. */
typedef struct side {
    bool pairs, symmetric;
    int64_t channels, padded, vectors, numbers; /* widths of the contractions: slots times padded */
} side;

static side side_of(const eqi_node_linear_problem *p, int32_t order, int64_t channels)
{
    const int64_t padded = eqi_node_padded(channels);
    const bool pairs = order == 2, symmetric = pairs && p->symmetric;
    return (side){pairs,
                  symmetric,
                  channels,
                  padded,
                  (pairs ? symmetric ? 2 : 3 : 1) * padded,
                  (pairs ? 2 : 1) * padded};
}

static side src_of(const eqi_node_linear_problem *p)
{
    return side_of(p, p->order_in, p->in);
}

static side dst_of(const eqi_node_linear_problem *p)
{
    return side_of(p, p->order_out, p->out);
}

static bool has_pairs(const eqi_node_linear_problem *p)
{
    return p->order_in == 2 && p->order_out == 2;
}

/* ---- the four matrices --------------------------------------------------------------------------- */

/* Row-major, from the contractions of one side to those of the other. */
typedef struct matrices {
    float *sum, *difference, *vectors, *numbers;
} matrices;

static int64_t matrices_size(const side *from, const side *to)
{
    return 2 * from->padded * to->padded + from->vectors * to->vectors +
           from->numbers * to->numbers;
}

static matrices matrices_at(const side *from, const side *to, float *memory)
{
    matrices m;
    m.sum = memory;
    m.difference = m.sum + from->padded * to->padded;
    m.vectors = m.difference + from->padded * to->padded;
    m.numbers = m.vectors + from->vectors * to->vectors;
    return m;
}

/* Where an operation stands among them: slots of src and dst in `vectors` or in `numbers`. */
typedef struct place {
    bool pair, number;
    int64_t src, dst;
} place;

static place place_of(const eqi_node_linear_problem *p, eqi_node_operation e)
{
    place at = {e.to == EQI_TO_PAIR, e.from == EQI_FROM_TRACE || e.from == EQI_FROM_ALL, 0, 0};
    if (at.number) {
        at.src = e.from == EQI_FROM_ALL && p->order_in == 2;
        at.dst = e.to == EQI_TO_ROWS && p->order_out == 2;
    } else {
        at.src = e.from == EQI_FROM_ROW ? 1 : e.from == EQI_FROM_COLUMN ? 2 : 0;
        at.dst = e.to == EQI_TO_COLUMNS                     ? 2
                 : e.to == EQI_TO_BOTH                      ? 1
                 : e.to == EQI_TO_ROWS && p->order_out == 2 ? 1
                                                            : 0;
    }
    return at;
}

static int64_t weight_offset(const equinv_tensor *w, int64_t e, int64_t o, int64_t c)
{
    return e * w->strides[0] + o * w->strides[1] + c * w->strides[2];
}

static void add_row(float *restrict to, float factor, const float *restrict from, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        to[i] += factor * from[i];
}

/*
 * weights[e] times factor, added to a matrix whose rows belong to src's channels (forward) or to dst's
 * (backward data), at src's and dst's slots.
 */
static void add_block(const eqi_node_linear_problem *p, const equinv_tensor *w, int64_t e,
                      float factor, bool forward, float *to, int64_t step)
{
    for (int64_t o = 0; o < p->out; o++) {
        const float *const from = (const float *)w->data + weight_offset(w, e, o, 0);
        float *const at = forward ? to + o : to + o * step;
        const int64_t column = forward ? step : 1;
        if (!forward && w->strides[2] == 1)
            add_row(at, factor, from, p->in);
        else
            for (int64_t c = 0; c < p->in; c++)
                at[c * column] += factor * from[c * w->strides[2]];
    }
}

static void pack(const eqi_node_linear_problem *p, const equinv_tensor *w, bool forward,
                 const side *from, const side *to, const matrices *m)
{
    memset(m->sum, 0, (size_t)matrices_size(from, to) * sizeof(float));
    for (int32_t e = 0; e < p->basis.count; e++) {
        const place at = place_of(p, p->basis.operation[e]);
        if (at.pair) {
            const float sign = p->basis.operation[e].from == EQI_FROM_PAIR ? 0.5f : -0.5f;
            add_block(p, w, e, 0.5f, forward, m->sum, to->padded);
            add_block(p, w, e, sign, forward, m->difference, to->padded);
            continue;
        }
        const int64_t row = (forward ? at.src : at.dst) * from->padded;
        const int64_t column = (forward ? at.dst : at.src) * to->padded;
        const int64_t step = at.number ? to->numbers : to->vectors;
        add_block(p, w, e, 1, forward, (at.number ? m->numbers : m->vectors) + row * step + column,
                  step);
    }
}

/* The way back, into a gradient: `from` is dst's side, `to` is src's. */
static void unpack(const eqi_node_linear_problem *p, const side *from, const side *to,
                   const matrices *m, const equinv_tensor *w)
{
    for (int32_t e = 0; e < p->basis.count; e++) {
        const place at = place_of(p, p->basis.operation[e]);
        const float sign = p->basis.operation[e].from == EQI_FROM_PAIR ? 0.5f : -0.5f;
        const int64_t step = at.pair ? to->padded : at.number ? to->numbers : to->vectors;
        const float *const block = (at.number ? m->numbers : m->vectors) +
                                   at.dst * from->padded * step + at.src * to->padded;
        for (int64_t o = 0; o < p->out; o++)
            for (int64_t c = 0; c < p->in; c++) {
                float *const to_w = (float *)w->data + weight_offset(w, e, o, c);
                const int64_t k = o * step + c;
                const float value = at.pair ? 0.5f * m->sum[k] + sign * m->difference[k] : block[k];
                *to_w = p->accumulate ? *to_w + value : value;
            }
    }
}

/* ---- samples ------------------------------------------------------------------------------------- */

static eqi_node_source source_of(const equinv_tensor *view, const equinv_tensor *mask,
                                 const side *s)
{
    return eqi_node_source_of(view, mask, s->pairs, s->symmetric);
}

static eqi_node_room room_at(const eqi_node_linear_problem *p, const side *s, char **slice)
{
    return eqi_node_room_at(p->nodes, s->pairs, s->channels, slice);
}

/* Whether every sample can be copied that has to be. */
static bool may_stage(const eqi_node_linear_problem *p, const eqi_node_linear_args *a)
{
    const side src = src_of(p), dst = dst_of(p);
    const eqi_node_source x = source_of(&a->src, NULL, &src), y = source_of(&a->dst, NULL, &dst);
    return eqi_node_may_stage(&x) && eqi_node_may_stage(&y);
}

/* Factors of contractions and of their adjoints: means of src, sums of dst. */
static eqi_node_scale scale_of(const side *s, bool src, bool contraction, int64_t there)
{
    if (!src)
        return (eqi_node_scale){contraction && s->symmetric ? 2 : 1, 1, 1};
    const float mean = there > 0 ? 1 / (float)there : 0;
    return (eqi_node_scale){!contraction && s->symmetric ? mean / 2 : mean, mean,
                            s->pairs ? mean * mean : mean};
}

/* ---- products ------------------------------------------------------------------------------------ */

static void multiply(const eqi_hardware *hardware, int64_t m, int64_t k, int64_t n, const float *a,
                     const float *b, float *c, void *workspace)
{
    eqi_gemm(hardware, EQUINV_F32,
             &(eqi_gemm_args){.m = m,
                              .n = n,
                              .k = k,
                              .a = a,
                              .lda = k,
                              .b = b,
                              .ldb = n,
                              .packed_b = true,
                              .c = c,
                              .ldc = n},
             workspace);
}

/* c [m, n] += a^T b for a [rows, m], b [rows, n] */
static void add_product(const eqi_hardware *hardware, int64_t rows, int64_t m, int64_t n,
                        const float *a, const float *b, float *c, void *workspace)
{
    eqi_gemm(hardware, EQUINV_F32,
             &(eqi_gemm_args){.transpose_a = true,
                              .m = m,
                              .n = n,
                              .k = rows,
                              .a = a,
                              .lda = m,
                              .b = b,
                              .ldb = n,
                              .packed_b = true,
                              .accumulate = true,
                              .c = c,
                              .ldc = n},
             workspace);
}

/* Nodes first .. *last - 1 begin a block of pairs; how many pairs, those on the diagonal included. */
static int64_t block_of(int64_t first, int64_t there, int64_t *last)
{
    int64_t pairs = 0;
    for (*last = first; *last < there && (pairs == 0 || pairs + there - *last <= BLOCK); ++*last)
        pairs += there - *last;
    return pairs;
}

static int64_t block_most(const eqi_node_linear_problem *p)
{
    return p->nodes > BLOCK ? p->nodes : BLOCK;
}

static int64_t chunk_of(const eqi_node_linear_problem *p)
{
    return p->nodes < CHUNK_NODES ? CHUNK_NODES / p->nodes : 1;
}

/* What a runner works with, for both sides of a pass. */
typedef struct slice {
    eqi_node_room from, to;
    float *from_vectors, *from_numbers, *to_vectors, *to_numbers; /* of a chunk */
    float *from_sums, *from_differences, *to_sums,
        *to_differences; /* of a block, if there are pairs */
    void *workspace;
} slice;

static slice slice_at(const eqi_node_linear_problem *p, const side *from, const side *to,
                      char *memory)
{
    const size_t chunk = (size_t)chunk_of(p), nodes = chunk * (size_t)p->nodes;
    const size_t pairs = has_pairs(p) ? (size_t)block_most(p) : 0, f = sizeof(float);
    slice s;
    s.workspace = eqi_take(&memory, EQI_GEMM_WORKSPACE);
    s.from = room_at(p, from, &memory);
    s.to = room_at(p, to, &memory);
    s.from_vectors = eqi_take(&memory, nodes * (size_t)from->vectors * f);
    s.to_vectors = eqi_take(&memory, nodes * (size_t)to->vectors * f);
    s.from_numbers = eqi_take(&memory, chunk * (size_t)from->numbers * f);
    s.to_numbers = eqi_take(&memory, chunk * (size_t)to->numbers * f);
    s.from_sums = eqi_take(&memory, pairs * (size_t)from->padded * f);
    s.from_differences = eqi_take(&memory, pairs * (size_t)from->padded * f);
    s.to_sums = eqi_take(&memory, pairs * (size_t)to->padded * f);
    s.to_differences = eqi_take(&memory, pairs * (size_t)to->padded * f);
    return s;
}

static size_t slice_size(const eqi_node_linear_problem *p)
{
    const side src = src_of(p), dst = dst_of(p);
    const size_t chunk = (size_t)chunk_of(p), nodes = chunk * (size_t)p->nodes;
    const size_t pairs = has_pairs(p) ? (size_t)block_most(p) : 0;
    const size_t numbers = nodes * (size_t)(src.vectors + dst.vectors) +
                           chunk * (size_t)(src.numbers + dst.numbers) +
                           2 * pairs * (size_t)(src.padded + dst.padded);
    const size_t rooms = eqi_node_room_size(p->nodes, src.pairs, src.channels) +
                         eqi_node_room_size(p->nodes, dst.pairs, dst.channels);
    /* nine takings beside, each of which may lose an alignment */
    return eqi_aligned(EQI_GEMM_WORKSPACE + numbers * sizeof(float) + rooms +
                       (size_t)9 * EQI_ALIGNMENT);
}

/* ---- forward, backward data ----------------------------------------------------------------------- */

typedef struct pass {
    const equinv_context *ctx;
    const eqi_node_linear_problem *p;
    const eqi_node_kernels *kernels;
    eqi_node_source from, to;
    side from_side, to_side;
    bool forward;
    matrices m;
    float *bias; /* [to.numbers]; NULL: none */
} pass;

static void contract_chunk(const pass *j, int64_t first, int64_t count, const slice *s)
{
    const side *const from = &j->from_side, *const to = &j->to_side;
    int64_t nodes = 0;
    for (int64_t b = 0; b < count; b++) {
        const eqi_node_map x = eqi_node_open(&j->from, first + b, &s->from, true);
        const eqi_node_scale scale = scale_of(from, j->forward, true, x.there);
        j->kernels->contract(&x, &scale, s->from_vectors + nodes * from->vectors,
                             s->from_numbers + b * from->numbers);
        nodes += x.there;
    }
    multiply(&j->ctx->hardware, nodes, from->vectors, to->vectors, s->from_vectors, j->m.vectors,
             s->to_vectors, s->workspace);
    multiply(&j->ctx->hardware, count, from->numbers, to->numbers, s->from_numbers, j->m.numbers,
             s->to_numbers, s->workspace);
    for (int64_t b = 0; j->bias && b < count; b++)
        for (int64_t o = 0; o < to->numbers; o++)
            s->to_numbers[b * to->numbers + o] += j->bias[o];
}

/* A sample with more pairs than one product holds. */
static void place_blocks(const pass *j, const eqi_node_map *x, const eqi_node_map *y,
                         const eqi_node_scale *scale, const float *vectors, const float *numbers,
                         bool accumulate, const slice *s)
{
    const side *const from = &j->from_side, *const to = &j->to_side;
    const eqi_hardware *const hardware = &j->ctx->hardware;
    float *const differences = from->symmetric ? NULL : s->from_differences;
    for (int64_t i = 0, last; i < y->there; i = last) {
        const int64_t pairs = block_of(i, y->there, &last), apart = pairs - (last - i);
        j->kernels->fold(x, i, last, 2, s->from_sums, differences);
        multiply(hardware, pairs, from->padded, to->padded, s->from_sums, j->m.sum, s->to_sums,
                 s->workspace);
        if (differences)
            multiply(hardware, apart, from->padded, to->padded, differences, j->m.difference,
                     s->to_differences, s->workspace);
        j->kernels->place(y, scale, i, last, vectors, numbers, s->to_sums,
                          differences ? s->to_differences : NULL, accumulate);
    }
}

/*
 * Whole samples from `first` on, as many as one product of pairs holds, at least one; how many. Their vectors
 * and numbers begin at the pointers, which go on behind them.
 */
static int64_t place_samples(const pass *j, int64_t first, int64_t most, const float **vectors,
                             const float **numbers, const slice *s)
{
    const side *const from = &j->from_side, *const to = &j->to_side;
    const eqi_hardware *const hardware = &j->ctx->hardware;
    const bool accumulate = j->p->accumulate && !j->to.staged, apart = !from->symmetric;
    int64_t count = 0, sums = 0, differences = 0;
    for (; has_pairs(j->p) && count < most; count++) {
        const eqi_node_map x = eqi_node_open(&j->from, first + count, &s->from, true);
        const int64_t pairs = x.there * (x.there + 1) / 2;
        if (sums + pairs > block_most(j->p))
            break;
        j->kernels->fold(&x, 0, x.there, 2, s->from_sums + sums * from->padded,
                         apart ? s->from_differences + differences * from->padded : NULL);
        sums += pairs;
        differences += pairs - x.there;
    }
    const bool whole = count > 0; /* else it has no pairs, or more than fit: those by blocks */
    if (whole) {
        multiply(hardware, sums, from->padded, to->padded, s->from_sums, j->m.sum, s->to_sums,
                 s->workspace);
        if (apart)
            multiply(hardware, differences, from->padded, to->padded, s->from_differences,
                     j->m.difference, s->to_differences, s->workspace);
    }
    count = whole ? count : 1;
    sums = differences = 0;
    for (int64_t b = first; b < first + count; b++) {
        const eqi_node_map y = eqi_node_open(&j->to, b, &s->to, false);
        const eqi_node_scale scale = scale_of(to, !j->forward, false, y.there);
        if (has_pairs(j->p) && !whole) {
            const eqi_node_map x = eqi_node_open(&j->from, b, &s->from, true);
            place_blocks(j, &x, &y, &scale, *vectors, *numbers, accumulate, s);
        } else {
            j->kernels->place(&y, &scale, 0, y.there, *vectors, *numbers,
                              whole ? s->to_sums + sums * to->padded : NULL,
                              whole && apart ? s->to_differences + differences * to->padded : NULL,
                              accumulate);
        }
        eqi_node_close(&j->to, b, &y, &s->to, j->p->accumulate);
        sums += y.there * (y.there + 1) / 2;
        differences += y.there * (y.there - 1) / 2;
        *vectors += y.there * to->vectors;
        *numbers += to->numbers;
    }
    return count;
}

static void run_chunk(const void *arg, int64_t first, int64_t count, void *memory)
{
    const pass *const j = arg;
    const slice s = slice_at(j->p, &j->from_side, &j->to_side, memory);
    contract_chunk(j, first, count, &s);
    const float *vectors = s.to_vectors, *numbers = s.to_numbers;
    for (int64_t b = first; b < first + count;)
        b += place_samples(j, b, first + count - b, &vectors, &numbers, &s);
}

static double sample_work(const eqi_node_linear_problem *p)
{
    const side src = src_of(p), dst = dst_of(p);
    return (double)p->nodes * (double)src.vectors * (double)dst.vectors +
           (has_pairs(p) ? (double)(p->nodes * p->nodes) * (double)(src.padded * dst.padded) : 0);
}

/* forward: a->src to a->dst; else a->dst, the gradient, to a->src. */
static void run_pass(const equinv_context *ctx, const eqi_node_linear_problem *p,
                     const eqi_node_linear_args *a, bool forward)
{
    const side src = src_of(p), dst = dst_of(p);
    const eqi_node_source x = source_of(&a->src, a->mask, &src),
                          y = source_of(&a->dst, a->mask, &dst);
    char *memory = a->scratch;
    pass j = {.ctx = ctx,
              .p = p,
              .kernels = kernels_of(&ctx->hardware),
              .from = forward ? x : y,
              .to = forward ? y : x,
              .from_side = forward ? src : dst,
              .to_side = forward ? dst : src,
              .forward = forward};
    const side *const from = &j.from_side, *const to = &j.to_side;
    j.m = matrices_at(from, to, eqi_take(&memory, (size_t)matrices_size(from, to) * sizeof(float)));
    pack(p, a->weights, forward, from, to, &j.m);
    float *const bias = eqi_take(&memory, (size_t)to->numbers * sizeof(float));
    if (forward && a->bias) {
        memset(bias, 0, (size_t)to->numbers * sizeof(float));
        for (int64_t k = 0; k < p->order_out; k++)
            for (int64_t o = 0; o < p->out; o++)
                bias[k * to->padded + o] =
                    ((const float *)
                         a->bias->data)[k * a->bias->strides[0] + o * a->bias->strides[1]];
        j.bias = bias;
    }
    eqi_parallel_rows(ctx, p->batch, sample_work(p), chunk_of(p), run_chunk, &j, memory,
                      slice_size(p));
}

/* ---- backward weights ----------------------------------------------------------------------------- */

typedef struct part {
    matrices m, chain; /* all sums of the part; those of the samples at hand */
    double *bias;
} part;

typedef struct weights_pass {
    const equinv_context *ctx;
    const eqi_node_linear_problem *p;
    const eqi_node_kernels *kernels;
    eqi_node_source x, g;
    side x_side, g_side;
    char *parts;
    int64_t count;
} weights_pass;

static int64_t places_of(const eqi_node_linear_problem *p)
{
    return (p->order_in == 2 || p->order_out == 2 ? p->nodes : 1) * p->nodes;
}

static int64_t part_count(const eqi_node_linear_problem *p)
{
    const double places = (double)p->batch * (double)places_of(p) / PART_PLACES;
    const int64_t parts = places < PARTS ? (int64_t)places : PARTS;
    return parts < 1 ? 1 : parts > p->batch ? p->batch > 0 ? p->batch : 1 : parts;
}

static size_t part_size(const eqi_node_linear_problem *p)
{
    const side src = src_of(p), dst = dst_of(p);
    return 2 * eqi_aligned((size_t)matrices_size(&dst, &src) * sizeof(float)) +
           eqi_aligned((size_t)dst.numbers * sizeof(double));
}

static part part_at(const eqi_node_linear_problem *p, char *parts, int64_t number)
{
    const side src = src_of(p), dst = dst_of(p);
    const size_t size = (size_t)matrices_size(&dst, &src) * sizeof(float);
    char *memory = parts + number * (int64_t)part_size(p);
    part to;
    to.m = matrices_at(&dst, &src, eqi_take(&memory, size));
    to.chain = matrices_at(&dst, &src, eqi_take(&memory, size));
    to.bias = eqi_take(&memory, (size_t)dst.numbers * sizeof(double));
    return to;
}

/* Rows of pairs that wait for a product. */
typedef struct waiting {
    int64_t sums, differences;
} waiting;

static void multiply_pairs(const weights_pass *j, const slice *s, const matrices *to, waiting *w)
{
    const side *const dst = &j->g_side, *const src = &j->x_side;
    const eqi_hardware *const hardware = &j->ctx->hardware;
    add_product(hardware, w->sums, dst->padded, src->padded, s->from_sums, s->to_sums, to->sum,
                s->workspace);
    if (!src->symmetric)
        add_product(hardware, w->differences, dst->padded, src->padded, s->from_differences,
                    s->to_differences, to->difference, s->workspace);
    *w = (waiting){0, 0};
}

static void add_pairs(const weights_pass *j, const eqi_node_map *g, const eqi_node_map *x,
                      const slice *s, const matrices *to, waiting *w)
{
    const int64_t g_step = j->g_side.padded, x_step = j->x_side.padded;
    for (int64_t i = 0, last; i < x->there; i = last) {
        const int64_t pairs = block_of(i, x->there, &last);
        if (w->sums + pairs > block_most(j->p))
            multiply_pairs(j, s, to, w);
        const bool apart = !x->symmetric;
        j->kernels->fold(g, i, last, 1, s->from_sums + w->sums * g_step,
                         apart ? s->from_differences + w->differences * g_step : NULL);
        j->kernels->fold(x, i, last, 2, s->to_sums + w->sums * x_step,
                         apart ? s->to_differences + w->differences * x_step : NULL);
        w->sums += pairs;
        w->differences += pairs - (last - i);
    }
}

/* The products of a chunk of samples; `from` of the slice is dst's side, `to` is src's. */
static void add_chunk(const weights_pass *j, int64_t first, int64_t count, const slice *s,
                      const part *to)
{
    const side *const dst = &j->g_side, *const src = &j->x_side;
    int64_t nodes = 0;
    waiting w = {0, 0};
    for (int64_t b = 0; b < count; b++) {
        const eqi_node_map g = eqi_node_open(&j->g, first + b, &s->from, true);
        const eqi_node_map x = eqi_node_open(&j->x, first + b, &s->to, true);
        const eqi_node_scale sums = scale_of(dst, false, true, g.there);
        const eqi_node_scale means = scale_of(src, true, true, x.there);
        float *const numbers = s->from_numbers + b * dst->numbers;
        j->kernels->contract(&g, &sums, s->from_vectors + nodes * dst->vectors, numbers);
        j->kernels->contract(&x, &means, s->to_vectors + nodes * src->vectors,
                             s->to_numbers + b * src->numbers);
        for (int64_t o = 0; o < dst->numbers; o++)
            to->bias[o] += (double)numbers[o];
        nodes += x.there;
        if (has_pairs(j->p))
            add_pairs(j, &g, &x, s, &to->chain, &w);
    }
    if (w.sums > 0)
        multiply_pairs(j, s, &to->chain, &w);
    add_product(&j->ctx->hardware, nodes, dst->vectors, src->vectors, s->from_vectors,
                s->to_vectors, to->chain.vectors, s->workspace);
    add_product(&j->ctx->hardware, count, dst->numbers, src->numbers, s->from_numbers,
                s->to_numbers, to->chain.numbers, s->workspace);
}

static void add_numbers(float *to, const float *from, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        to[i] += from[i];
}

/* One part after the other; each in chains of samples, so that fp32 does not lose digits to long sums. */
static void run_parts(const void *arg, int64_t first, int64_t count, void *memory)
{
    const weights_pass *const j = arg;
    const eqi_node_linear_problem *const p = j->p;
    const side *const dst = &j->g_side, *const src = &j->x_side;
    const slice s = slice_at(p, dst, src, memory);
    const int64_t size = matrices_size(dst, src), chunk = chunk_of(p);
    const int64_t chain = (PART_PLACES * 2 / places_of(p) / chunk + 1) * chunk;
    for (int64_t k = first; k < first + count; k++) {
        const part to = part_at(p, j->parts, k);
        const int64_t end = p->batch * (k + 1) / j->count;
        memset(to.m.sum, 0, (size_t)size * sizeof(float));
        memset(to.bias, 0, (size_t)dst->numbers * sizeof(double));
        for (int64_t b = p->batch * k / j->count; b < end; b += chain) {
            memset(to.chain.sum, 0, (size_t)size * sizeof(float));
            for (int64_t c = b; c < b + chain && c < end; c += chunk)
                add_chunk(j, c, eqi_smaller(chunk, eqi_smaller(b + chain, end) - c), &s, &to);
            add_numbers(to.m.sum, to.chain.sum, size);
        }
    }
}

static equinv_status backward_weights(const equinv_context *ctx, const eqi_node_linear_problem *p,
                                      const eqi_node_linear_args *a)
{
    const side src = src_of(p), dst = dst_of(p);
    weights_pass j = {.ctx = ctx,
                      .p = p,
                      .kernels = kernels_of(&ctx->hardware),
                      .x = source_of(&a->src, a->mask, &src),
                      .g = source_of(&a->dst, a->mask, &dst),
                      .x_side = src,
                      .g_side = dst,
                      .parts = a->scratch,
                      .count = part_count(p)};
    if (!may_stage(p, a))
        return eqi_ref_node_linear_backward_weights(ctx, p, a);
    char *const slices = j.parts + j.count * (int64_t)part_size(p);
    eqi_parallel_rows(ctx, j.count, sample_work(p) * (double)p->batch / (double)j.count, 1,
                      run_parts, &j, slices, slice_size(p));
    const part all = part_at(p, j.parts, 0);
    for (int64_t k = 1; k < j.count; k++) {
        const part more = part_at(p, j.parts, k);
        add_numbers(all.m.sum, more.m.sum, matrices_size(&dst, &src));
        for (int64_t o = 0; o < dst.numbers; o++)
            all.bias[o] += more.bias[o];
    }
    unpack(p, &dst, &src, &all.m, a->weights);
    for (int64_t k = 0; a->bias && k < p->order_out; k++)
        for (int64_t o = 0; o < p->out; o++)
            eqi_put(a->bias, k * a->bias->strides[0] + o * a->bias->strides[1],
                    all.bias[k * dst.padded + o], p->accumulate);
    return EQUINV_OK;
}

static equinv_status forward(const equinv_context *ctx, const eqi_node_linear_problem *p,
                             const eqi_node_linear_args *a)
{
    if (!may_stage(p, a))
        return eqi_ref_node_linear_forward(ctx, p, a);
    run_pass(ctx, p, a, true);
    return EQUINV_OK;
}

static equinv_status backward_data(const equinv_context *ctx, const eqi_node_linear_problem *p,
                                   const eqi_node_linear_args *a)
{
    if (!may_stage(p, a))
        return eqi_ref_node_linear_backward_data(ctx, p, a);
    run_pass(ctx, p, a, false);
    return EQUINV_OK;
}

/* ---- the implementation --------------------------------------------------------------------------- */

static bool supports(const void *problem, const eqi_hardware *hardware, const char **why)
{
    (void)hardware;
    const eqi_node_linear_problem *const p = problem;
    return eqi_require(p->dtype == EQUINV_F32, why, "f32 only");
}

static equinv_status scratch_size(const eqi_node_linear_problem *p, const eqi_hardware *hardware,
                                  int64_t *size)
{
    const side src = src_of(p), dst = dst_of(p);
    int64_t ref;
    EQI_TRY(eqi_ref_node_linear_scratch_size(p, hardware, &ref));
    /* More than all of it, in numbers that cannot overflow. */
    const double nodes = (double)(p->nodes > CHUNK_NODES ? p->nodes : CHUNK_NODES);
    const double in = (double)p->in + EQI_NODE_LANES, out = (double)p->out + EQI_NODE_LANES;
    const double most = 64.0 * (PARTS + 1) * (3 * in * 3 * out) +
                        64.0 * hardware->threads * nodes * (in + out) + 1e9;
    EQI_CHECK(most < 4e18, SHAPE, "scratch has more than 2^63 bytes, expected a size that fits");
    const size_t packed = eqi_aligned((size_t)matrices_size(&src, &dst) * sizeof(float)) +
                          eqi_aligned((size_t)(src.numbers + dst.numbers) * sizeof(float));
    const size_t parts = (size_t)part_count(p) * part_size(p);
    *size =
        (int64_t)((packed > parts ? packed : parts) + (size_t)hardware->threads * slice_size(p));
    *size = *size > ref ? *size : ref;
    return EQUINV_OK;
}

const eqi_node_linear_implementation eqi_node_linear_gemm = {
    {"node_linear/gemm", supports, NULL}, scratch_size, forward, backward_data, backward_weights};
