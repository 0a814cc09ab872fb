#include "ref.h"

static double at(const equinv_tensor *t, int64_t b, int64_t c, int64_t i, int64_t j)
{
    return eqi_load(t, eqi_node_offset(t, b, c, i, j));
}

/* dst[b,c,i,j] = a[b,c,i] b[b,c,j] */
equinv_status eqi_ref_node_outer_forward(const equinv_context *ctx, const eqi_node_outer_args *a)
{
    (void)ctx;
    const equinv_tensor *const dst = &a->dst;
    for (int64_t b = 0; b < dst->shape[0]; b++)
        for (int64_t c = 0; c < dst->shape[1]; c++)
            for (int64_t i = 0; i < dst->shape[2]; i++)
                for (int64_t j = 0; j < dst->shape[3]; j++)
                    eqi_store(dst, eqi_node_offset(dst, b, c, i, j),
                              eqi_node_is_there(a->mask, b, i) && eqi_node_is_there(a->mask, b, j)
                                  ? at(&a->a, b, c, i, 0) * at(&a->b, b, c, j, 0)
                                  : 0);
    return EQUINV_OK;
}

/* diff_a[b,c,i] = sum_j diff_dst[b,c,i,j] b[b,c,j], diff_b[b,c,j] = sum_i diff_dst[b,c,i,j] a[b,c,i] */
equinv_status eqi_ref_node_outer_backward(const equinv_context *ctx, const eqi_node_outer_args *a)
{
    (void)ctx;
    const equinv_tensor *const g = &a->dst;
    for (int64_t b = 0; b < g->shape[0]; b++)
        for (int64_t c = 0; c < g->shape[1]; c++)
            for (int64_t i = 0; i < g->shape[2]; i++) {
                double rows = 0, columns = 0;
                for (int64_t j = 0; eqi_node_is_there(a->mask, b, i) && j < g->shape[3]; j++)
                    if (eqi_node_is_there(a->mask, b, j)) {
                        rows += at(g, b, c, i, j) * at(&a->b, b, c, j, 0);
                        columns += at(g, b, c, j, i) * at(&a->a, b, c, j, 0);
                    }
                eqi_store(&a->diff_a, eqi_node_offset(&a->diff_a, b, c, i, 0),
                          a->squared ? rows + columns : rows);
                if (!a->squared)
                    eqi_store(&a->diff_b, eqi_node_offset(&a->diff_b, b, c, i, 0), columns);
            }
    return EQUINV_OK;
}
