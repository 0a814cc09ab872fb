/*
 * What a linear layer of nodes reads and writes besides its products: contractions of a sample, its pairs
 * folded into x_ij + x_ji and x_ij - x_ji, and results put back.
 *
 * Layout  channels in lanes, as they lie in memory; the last vector may be a part. Working rows are padded.
 * Order   a sum over nodes is one chain in the order of the nodes: no bit depends on the batch.
 *
 * The includer includes a header of cpu/simd/.
 */
#include "cpu/kernel/node_vectors.h"

/* ---- contractions ------------------------------------------------------------------------------ */

INLINE void contract_nodes(const eqi_node_map *x, const eqi_node_scale *scale, float *vectors,
                           float *numbers, int64_t padded, int64_t c, bool whole, int count)
{
    vf32 all = vf32_broadcast(0);
    for (int64_t i = 0; i < x->there; i++) {
        const vf32 v = load(x->data + x->row[i] + c, whole, count);
        all = vf32_add(all, v);
        vf32_store(vectors + i * padded + c, v);
    }
    vf32_store(numbers + c, vf32_mul(all, vf32_broadcast(scale->all)));
}

INLINE void contract_pairs(const eqi_node_map *x, const eqi_node_scale *scale, float *vectors,
                           float *numbers, int64_t padded, int64_t c, bool whole, int count)
{
    const vf32 half = vf32_broadcast(0.5f), factor = vf32_broadcast(scale->row);
    const int64_t slots = x->symmetric ? 2 : 3;
    vf32 trace = vf32_broadcast(0), all = vf32_broadcast(0);
    for (int64_t i = 0; i < x->there; i++) {
        vf32 row = vf32_broadcast(0), column = vf32_broadcast(0);
        for (int64_t j = 0; j < x->there; j++) {
            row = vf32_add(row, load(x->data + x->row[i] + x->column[j] + c, whole, count));
            column = vf32_add(column, load(x->data + x->row[j] + x->column[i] + c, whole, count));
        }
        if (x->symmetric)
            row = vf32_mul(half, vf32_add(row, column));
        const vf32 node = load(x->data + x->row[i] + x->column[i] + c, whole, count);
        float *const to = vectors + i * slots * padded + c;
        vf32_store(to, node);
        vf32_store(to + padded, vf32_mul(row, factor));
        if (!x->symmetric)
            vf32_store(to + 2 * padded, vf32_mul(column, factor));
        trace = vf32_add(trace, node);
        all = vf32_add(all, row);
    }
    vf32_store(numbers + c, vf32_mul(trace, vf32_broadcast(scale->trace)));
    vf32_store(numbers + padded + c, vf32_mul(all, vf32_broadcast(scale->all)));
}

static void contract(const eqi_node_map *x, const eqi_node_scale *scale, float *vectors,
                     float *numbers)
{
    if (x->pairs)
        EACH_VECTOR(x, contract_pairs, x, scale, vectors, numbers);
    else
        EACH_VECTOR(x, contract_nodes, x, scale, vectors, numbers);
}

/* ---- pairs ------------------------------------------------------------------------------------- */

INLINE void fold_pairs(const eqi_node_map *x, int64_t first, int64_t last, float diagonal,
                       float *sums, float *differences, int64_t padded, int64_t c, bool whole,
                       int count)
{
    sums += c;
    if (differences)
        differences += c;
    for (int64_t i = first; i < last; i++) {
        const vf32 node = load(x->data + x->row[i] + x->column[i] + c, whole, count);
        vf32_store(sums, vf32_mul(node, vf32_broadcast(diagonal)));
        sums += padded;
        for (int64_t j = i + 1; j < x->there; j++) {
            const vf32 a = load(x->data + x->row[i] + x->column[j] + c, whole, count);
            const vf32 b = load(x->data + x->row[j] + x->column[i] + c, whole, count);
            vf32_store(sums, vf32_add(a, b));
            sums += padded;
            if (differences) {
                vf32_store(differences, vf32_sub(a, b));
                differences += padded;
            }
        }
    }
}

static void fold(const eqi_node_map *x, int64_t first, int64_t last, float diagonal, float *sums,
                 float *differences)
{
    EACH_VECTOR(x, fold_pairs, x, first, last, diagonal, sums, differences);
}

/* ---- results ----------------------------------------------------------------------------------- */

INLINE void place_nodes(const eqi_node_map *y, const eqi_node_scale *scale, int64_t first,
                        int64_t last, const float *vectors, const float *numbers, bool accumulate,
                        int64_t padded, int64_t c, bool whole, int count)
{
    const vf32 all = vf32_mul(vf32_load(numbers + c), vf32_broadcast(scale->all));
    for (int64_t i = first; i < last; i++)
        store(y->data + y->row[i] + c, vf32_add(vf32_load(vectors + i * padded + c), all), whole,
              count, accumulate);
}

INLINE void place_pairs(const eqi_node_map *y, const eqi_node_scale *scale, int64_t first,
                        int64_t last, const float *vectors, const float *numbers, const float *sums,
                        const float *differences, bool accumulate, int64_t padded, int64_t c,
                        bool whole, int count)
{
    const int64_t step = (y->symmetric ? 2 : 3) * padded, other = y->symmetric ? 0 : padded;
    const vf32 factor = vf32_broadcast(scale->row), zero = vf32_broadcast(0);
    const vf32 trace = vf32_mul(vf32_load(numbers + c), vf32_broadcast(scale->trace));
    const vf32 all = vf32_mul(vf32_load(numbers + padded + c), vf32_broadcast(scale->all));
    const float *const rows = vectors + padded + c, *const columns = rows + other;
    for (int64_t i = first, s = c, d = c; i < last; i++) {
        const vf32 row = vf32_fma(vf32_load(rows + i * step), factor, all);
        const vf32 column = vf32_fma(vf32_load(columns + i * step), factor, all);
        vf32 node = vf32_add(vf32_load(vectors + i * step + c), trace);
        node = vf32_add(node, vf32_fma(vf32_load(columns + i * step), factor, row));
        node = vf32_add(node, sums ? vf32_load(sums + s) : zero);
        store(y->data + y->row[i] + y->column[i] + c, node, whole, count, accumulate);
        s += padded;
        for (int64_t j = i + 1; j < y->there; j++) {
            const vf32 sum = sums ? vf32_load(sums + s) : zero;
            const vf32 difference = differences ? vf32_load(differences + d) : zero;
            const vf32 here = vf32_fma(vf32_load(columns + j * step), factor, row);
            const vf32 there = vf32_fma(vf32_load(rows + j * step), factor, column);
            store(y->data + y->row[i] + y->column[j] + c, vf32_add(vf32_add(sum, difference), here),
                  whole, count, accumulate);
            store(y->data + y->row[j] + y->column[i] + c,
                  vf32_add(vf32_sub(sum, difference), there), whole, count, accumulate);
            s += padded;
            d += padded;
        }
    }
}

static void place(const eqi_node_map *y, const eqi_node_scale *scale, int64_t first, int64_t last,
                  const float *vectors, const float *numbers, const float *sums,
                  const float *differences, bool accumulate)
{
    if (!y->pairs)
        EACH_VECTOR(y, place_nodes, y, scale, first, last, vectors, numbers, accumulate);
    else if (differences)
        EACH_VECTOR(y, place_pairs, y, scale, first, last, vectors, numbers, sums, differences,
                    accumulate);
    else
        EACH_VECTOR(y, place_pairs, y, scale, first, last, vectors, numbers, sums, NULL,
                    accumulate);
}

const eqi_node_kernels PASTE(eqi_node_kernels_, EQI_LEVEL) = {contract, fold, place};
