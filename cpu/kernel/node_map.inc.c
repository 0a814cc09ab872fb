/*
 * Outer products and pooling of nodes and pairs, channels in lanes; sums over places go by rows, so that no
 * chain of fp32 is longer than the number of nodes.
 *
 * The includer includes a header of cpu/simd/.
 */
#include "cpu/kernel/node_vectors.h"

/* ---- outer product ------------------------------------------------------------------------------- */

INLINE void outer_vector(const eqi_node_map *a, const eqi_node_map *b, const eqi_node_map *y,
                         int64_t padded, int64_t c, bool whole, int count)
{
    (void)padded;
    for (int64_t i = 0; i < y->there; i++) {
        const vf32 left = load(a->data + a->row[i] + c, whole, count);
        for (int64_t j = 0; j < y->there; j++) {
            const vf32 right = load(b->data + b->row[j] + c, whole, count);
            store(y->data + y->row[i] + y->column[j] + c, vf32_mul(left, right), whole, count,
                  false);
        }
    }
}

static void outer(const eqi_node_map *a, const eqi_node_map *b, const eqi_node_map *y)
{
    EACH_VECTOR(y, outer_vector, a, b, y);
}

INLINE void outer_backward_vector(const eqi_node_map *a, const eqi_node_map *b,
                                  const eqi_node_map *g, const eqi_node_map *da,
                                  const eqi_node_map *db, int64_t padded, int64_t c, bool whole,
                                  int count)
{
    (void)padded;
    for (int64_t i = 0; i < g->there; i++) {
        vf32 rows = vf32_broadcast(0), columns = vf32_broadcast(0);
        for (int64_t j = 0; j < g->there; j++) {
            const vf32 ij = load(g->data + g->row[i] + g->column[j] + c, whole, count);
            const vf32 ji = load(g->data + g->row[j] + g->column[i] + c, whole, count);
            rows = vf32_fma(ij, load(b->data + b->row[j] + c, whole, count), rows);
            columns = vf32_fma(ji, load(a->data + a->row[j] + c, whole, count), columns);
        }
        if (db)
            store(db->data + db->row[i] + c, columns, whole, count, false);
        store(da->data + da->row[i] + c, db ? rows : vf32_add(rows, columns), whole, count, false);
    }
}

static void outer_backward(const eqi_node_map *a, const eqi_node_map *b, const eqi_node_map *g,
                           const eqi_node_map *da, const eqi_node_map *db)
{
    EACH_VECTOR(g, outer_backward_vector, a, b, g, da, db);
}

/* ---- pooling ------------------------------------------------------------------------------------- */

INLINE void sum_vector(const eqi_node_map *x, const float *factor, float *const *dst,
                       int64_t padded, int64_t c, bool whole, int count)
{
    (void)padded;
    vf32 nodes = vf32_broadcast(0), others = vf32_broadcast(0);
    for (int64_t i = 0; i < x->there; i++) {
        nodes = vf32_add(nodes,
                         load(x->data + x->row[i] + x->column[x->pairs ? i : 0] + c, whole, count));
        vf32 row = vf32_broadcast(0);
        for (int64_t j = 0; x->pairs && j < x->there; j++)
            if (j != i)
                row = vf32_add(row, load(x->data + x->row[i] + x->column[j] + c, whole, count));
        others = vf32_add(others, row);
    }
    store(dst[0] + c, vf32_mul(nodes, vf32_broadcast(factor[0])), whole, count, false);
    if (x->pairs)
        store(dst[1] + c, vf32_mul(others, vf32_broadcast(factor[1])), whole, count, false);
}

static void sum(const eqi_node_map *x, const float *factor, float *const *dst)
{
    EACH_VECTOR(x, sum_vector, x, factor, dst);
}

INLINE void spread_vector(const eqi_node_map *dx, const float *factor, const float *const *g,
                          bool accumulate, int64_t padded, int64_t c, bool whole, int count)
{
    (void)padded;
    const int64_t columns = dx->pairs ? dx->there : 1;
    const vf32 nodes = vf32_mul(load(g[0] + c, whole, count), vf32_broadcast(factor[0]));
    const vf32 others =
        dx->pairs ? vf32_mul(load(g[1] + c, whole, count), vf32_broadcast(factor[1])) : nodes;
    for (int64_t i = 0; i < dx->there; i++)
        for (int64_t j = 0; j < columns; j++)
            store(dx->data + dx->row[i] + dx->column[j] + c, dx->pairs && j != i ? others : nodes,
                  whole, count, accumulate);
}

static void spread(const eqi_node_map *dx, const float *factor, const float *const *g,
                   bool accumulate)
{
    EACH_VECTOR(dx, spread_vector, dx, factor, g, accumulate);
}

const eqi_node_map_kernels PASTE(eqi_node_map_kernels_, EQI_LEVEL) = {outer, outer_backward, sum,
                                                                      spread};
