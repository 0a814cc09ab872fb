/*
 * Outer products of nodes, dst[b,c,i,j] = a[b,c,i] b[b,c,j]; a thread a place and channel, backward a thread a
 * node and channel:
 *     diff_a[i] = sum_j diff_dst[i,j] b[j],   diff_b[i] = sum_j diff_dst[j,i] a[j]
 */
#include "cuda/node.cuh"
#include "cuda/operations.cuh"

namespace
{
template <typename T> struct call {
    eqi_node_mask mask;
    int64_t batch, channels, nodes;
    bool squared; /* diff_a is the sum of both */
    eqi_node_view<T> a, b, dst, diff_a, diff_b;
};
} // namespace

template <typename T> __global__ void eqi_node_outer(call<T> p)
{
    EQI_FOR_EACH(index, p.batch * p.nodes * p.nodes * p.channels)
    {
        int64_t b = index;
        const int64_t c = eqi_digit(&b, p.channels), j = eqi_digit(&b, p.nodes);
        const int64_t i = eqi_digit(&b, p.nodes);
        const T y = eqi_has_place(p.mask, p.dst, b, i, j)
                        ? *p.a.at(b, c, i, 0) * *p.b.at(b, c, j, 0)
                        : T(0);
        p.dst.put(b, c, i, j, y, false);
    }
}

template <typename T> __global__ void eqi_node_outer_backward(call<T> p)
{
    EQI_FOR_EACH(index, p.batch * p.nodes * p.channels)
    {
        int64_t b = index;
        const int64_t c = eqi_digit(&b, p.channels), i = eqi_digit(&b, p.nodes);
        T rows = 0, columns = 0;
        for (int64_t j = 0; p.mask.has(b, i) && j < p.nodes; j++)
            if (p.mask.has(b, j)) {
                rows += *p.dst.at(b, c, i, j) * *p.b.at(b, c, j, 0);
                columns += *p.dst.at(b, c, j, i) * *p.a.at(b, c, j, 0);
            }
        p.diff_a.put(b, c, i, 0, p.squared ? rows + columns : rows, false);
        if (!p.squared)
            p.diff_b.put(b, c, i, 0, columns, false);
    }
}

template <typename T> static call<T> call_of(const eqi_node_outer_args *a)
{
    call<T> c = {};
    c.mask = eqi_node_mask_of(a->mask);
    c.batch = a->dst.shape[0];
    c.channels = a->dst.shape[1];
    c.nodes = a->dst.shape[2];
    c.squared = a->squared;
    c.a = eqi_node_view_of<T>(&a->a, false, false);
    c.b = eqi_node_view_of<T>(&a->b, false, false);
    c.dst = eqi_node_view_of<T>(&a->dst, true, false);
    c.diff_a = eqi_node_view_of<T>(&a->diff_a, false, false);
    c.diff_b = eqi_node_view_of<T>(&a->diff_b, false, false);
    return c;
}

equinv_status eqi_cuda_node_outer_forward(const equinv_context *ctx, const eqi_node_outer_args *a)
{
    const dim3 grid = eqi_blocks(
        a->dst.shape[0] * a->dst.shape[1] * a->dst.shape[2] * a->dst.shape[3], EQI_NODE_BLOCK);
    if (a->dst.dtype == EQUINV_F32)
        EQI_LAUNCH(eqi_node_outer<float>, grid, EQI_NODE_BLOCK, 0, eqi_stream(ctx),
                   call_of<float>(a));
    else
        EQI_LAUNCH(eqi_node_outer<double>, grid, EQI_NODE_BLOCK, 0, eqi_stream(ctx),
                   call_of<double>(a));
    return EQUINV_OK;
}

equinv_status eqi_cuda_node_outer_backward(const equinv_context *ctx, const eqi_node_outer_args *a)
{
    const dim3 grid =
        eqi_blocks(a->dst.shape[0] * a->dst.shape[1] * a->dst.shape[2], EQI_NODE_BLOCK);
    if (a->dst.dtype == EQUINV_F32)
        EQI_LAUNCH(eqi_node_outer_backward<float>, grid, EQI_NODE_BLOCK, 0, eqi_stream(ctx),
                   call_of<float>(a));
    else
        EQI_LAUNCH(eqi_node_outer_backward<double>, grid, EQI_NODE_BLOCK, 0, eqi_stream(ctx),
                   call_of<double>(a));
    return EQUINV_OK;
}
