#include "ref.h"

/* Whether (i, j) is pooled into a row of dst: 0, the nodes or the diagonal; 1, all other pairs. */
static bool is_of(const eqi_node_pool_args *a, int64_t b, int64_t row, int64_t i, int64_t j)
{
    const bool pairs = a->pooled->shape[1] == 2;
    return (!pairs || (i == j) == (row == 0)) && eqi_pair_is_there(&a->map, a->mask, b, i, j);
}

static int64_t count_of(const eqi_node_pool_args *a, int64_t b, int64_t row)
{
    int64_t count = 0;
    for (int64_t i = 0; i < a->map.shape[2]; i++)
        for (int64_t j = 0; j < a->map.shape[3]; j++)
            count += is_of(a, b, row, i, j);
    return count;
}

static int64_t pooled_offset(const equinv_tensor *t, int64_t b, int64_t row, int64_t c)
{
    return b * t->strides[0] + row * t->strides[1] + c * t->strides[2];
}

/* dst[b,row,c] = mean, sum or maximum of src[b,c,i,j] over the row's places; 0 if there are none */
equinv_status eqi_ref_node_pool_forward(const equinv_context *ctx, const eqi_node_pool_problem *p,
                                        const eqi_node_pool_args *a)
{
    (void)ctx;
    const equinv_tensor *const src = &a->map;
    for (int64_t b = 0; b < p->batch; b++)
        for (int64_t row = 0; row < p->order; row++) {
            const int64_t count = count_of(a, b, row);
            for (int64_t c = 0; c < p->channels; c++) {
                double sum = 0, most = 0;
                int64_t winner = -1;
                for (int64_t i = 0; i < p->nodes; i++)
                    for (int64_t j = 0; j < src->shape[3]; j++) {
                        if (!is_of(a, b, row, i, j))
                            continue;
                        const double x = eqi_load(src, eqi_node_offset(src, b, c, i, j));
                        sum += x;
                        if (winner < 0 || x > most || (x != x && most == most)) {
                            most = x;
                            winner = i * src->shape[3] + j;
                        }
                    }
                if (p->kind == EQUINV_NODE_POOL_MEAN && count > 0)
                    sum /= (double)count;
                eqi_store(a->pooled, pooled_offset(a->pooled, b, row, c),
                          p->kind == EQUINV_NODE_POOL_MAX ? most : sum);
                if (a->saved)
                    a->saved[(b * p->order + row) * p->channels + c] = (int32_t)winner;
            }
        }
    return EQUINV_OK;
}

equinv_status eqi_ref_node_pool_backward(const equinv_context *ctx, const eqi_node_pool_problem *p,
                                         const eqi_node_pool_args *a)
{
    (void)ctx;
    const equinv_tensor *const diff_src = &a->map;
    for (int64_t b = 0; b < p->batch; b++) {
        const int64_t count[2] = {count_of(a, b, 0), count_of(a, b, 1)};
        for (int64_t c = 0; c < p->channels; c++)
            for (int64_t i = 0; i < p->nodes; i++)
                for (int64_t j = 0; j < diff_src->shape[3]; j++) {
                    const int64_t row = p->order == 2 && i != j;
                    double d = 0;
                    if (is_of(a, b, row, i, j))
                        d = eqi_load(a->pooled, pooled_offset(a->pooled, b, row, c));
                    if (p->kind == EQUINV_NODE_POOL_MEAN && d != 0)
                        d /= (double)count[row];
                    if (p->kind == EQUINV_NODE_POOL_MAX &&
                        a->saved[(b * p->order + row) * p->channels + c] !=
                            i * diff_src->shape[3] + j)
                        d = 0;
                    eqi_put(diff_src, eqi_node_offset(diff_src, b, c, i, j), d, p->accumulate);
                }
    }
    return EQUINV_OK;
}
