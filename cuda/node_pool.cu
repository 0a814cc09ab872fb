/*
 * Pooling of nodes and pairs, dst[b,row,c] = mean, sum or maximum of src[b,c,i,j] over row 0, the nodes or the
 * diagonal, and row 1, all other pairs; a thread a result, and backward a thread a place and channel.
 */
#include "cuda/node.cuh"
#include "cuda/operations.cuh"

extern "C" {
#include "internal/node_pool.h"
}

namespace
{
template <typename T> struct call {
    eqi_node_mask mask;
    equinv_node_pool_kind kind;
    int64_t batch, nodes, columns, channels, rows;
    bool accumulate;
    eqi_node_view<T> map;
    T *pooled;
    int64_t pooled_step[3];
    int32_t *saved; /* forward: NULL if not wanted */

    __device__ __forceinline__ T *pooled_at(int64_t b, int64_t row, int64_t c) const
    {
        return pooled + b * pooled_step[0] + row * pooled_step[1] + c * pooled_step[2];
    }

    __device__ __forceinline__ int32_t *saved_at(int64_t b, int64_t row, int64_t c) const
    {
        return saved + (b * rows + row) * channels + c;
    }

    __device__ __forceinline__ bool has(int64_t b, int64_t row, int64_t i, int64_t j) const
    {
        return (rows == 1 || (i == j) == (row == 0)) && eqi_has_place(mask, map, b, i, j);
    }

    /* Places of a row. */
    __device__ __forceinline__ int64_t count(int64_t b, int64_t row) const
    {
        const int64_t there = mask.count(b, nodes);
        return row == 0 ? there : there * (there - 1);
    }
};
} // namespace

template <typename T> __global__ void eqi_node_pool_forward(call<T> a)
{
    EQI_FOR_EACH(index, a.batch * a.rows * a.channels)
    {
        int64_t b = index, winner = -1;
        const int64_t c = eqi_digit(&b, a.channels), row = eqi_digit(&b, a.rows);
        double sum = 0;
        T most = 0;
        for (int64_t i = 0; i < a.nodes; i++)
            for (int64_t j = 0; j < a.columns; j++) {
                if (!a.has(b, row, i, j))
                    continue;
                const T x = *a.map.at(b, c, i, j);
                sum += double(x);
                if (winner < 0 || x > most || (x != x && most == most)) {
                    most = x;
                    winner = i * a.columns + j;
                }
            }
        if (a.kind == EQUINV_NODE_POOL_MEAN && winner >= 0)
            sum /= double(a.count(b, row));
        *a.pooled_at(b, row, c) = a.kind == EQUINV_NODE_POOL_MAX ? most : T(sum);
        if (a.saved)
            *a.saved_at(b, row, c) = int32_t(winner);
    }
}

template <typename T> __global__ void eqi_node_pool_backward(call<T> a)
{
    EQI_FOR_EACH(index, a.batch * a.nodes * a.columns * a.channels)
    {
        int64_t b = index;
        const int64_t c = eqi_digit(&b, a.channels), j = eqi_digit(&b, a.columns);
        const int64_t i = eqi_digit(&b, a.nodes), row = a.rows == 2 && i != j;
        T d = 0;
        if (a.has(b, row, i, j)) {
            d = *a.pooled_at(b, row, c);
            if (a.kind == EQUINV_NODE_POOL_MEAN)
                d = T(double(d) / double(a.count(b, row)));
            if (a.kind == EQUINV_NODE_POOL_MAX && *a.saved_at(b, row, c) != i * a.columns + j)
                d = 0;
        }
        a.map.put(b, c, i, j, d, a.accumulate);
    }
}

template <typename T>
static call<T> call_of(const eqi_node_pool_problem *p, const eqi_node_pool_args *a)
{
    const bool pairs = p->order == 2;
    call<T> c = {};
    c.mask = eqi_node_mask_of(a->mask);
    c.kind = p->kind;
    c.batch = p->batch;
    c.nodes = p->nodes;
    c.columns = pairs ? p->nodes : 1;
    c.channels = p->channels;
    c.rows = p->order;
    c.accumulate = p->accumulate;
    c.map = eqi_node_view_of<T>(&a->map, pairs, false);
    c.pooled = static_cast<T *>(a->pooled->data);
    for (int i = 0; i < 3; i++)
        c.pooled_step[i] = a->pooled->strides[i];
    c.saved = a->saved;
    return c;
}

static equinv_status forward(const equinv_context *ctx, const eqi_node_pool_problem *p,
                             const eqi_node_pool_args *a)
{
    const dim3 grid = eqi_blocks(p->batch * p->order * p->channels, EQI_NODE_BLOCK);
    if (p->dtype == EQUINV_F32)
        EQI_LAUNCH(eqi_node_pool_forward<float>, grid, EQI_NODE_BLOCK, 0, eqi_stream(ctx),
                   call_of<float>(p, a));
    else
        EQI_LAUNCH(eqi_node_pool_forward<double>, grid, EQI_NODE_BLOCK, 0, eqi_stream(ctx),
                   call_of<double>(p, a));
    return EQUINV_OK;
}

static equinv_status backward(const equinv_context *ctx, const eqi_node_pool_problem *p,
                              const eqi_node_pool_args *a)
{
    const int64_t places = p->batch * p->nodes * (p->order == 2 ? p->nodes : 1);
    const dim3 grid = eqi_blocks(places * p->channels, EQI_NODE_BLOCK);
    if (p->dtype == EQUINV_F32)
        EQI_LAUNCH(eqi_node_pool_backward<float>, grid, EQI_NODE_BLOCK, 0, eqi_stream(ctx),
                   call_of<float>(p, a));
    else
        EQI_LAUNCH(eqi_node_pool_backward<double>, grid, EQI_NODE_BLOCK, 0, eqi_stream(ctx),
                   call_of<double>(p, a));
    return EQUINV_OK;
}

static const eqi_node_pool_implementation plain = {
    {"node_pool/plain", eqi_supports_all, NULL}, forward, backward};

const eqi_implementation *const eqi_cuda_node_pool_list[] = {&plain.head, NULL};
