/*
 * OpenBLAS under orbit distances of C_n and D_n, brute force: a product of all x with every g y, the
 * largest of each orbit, lengths; and under neighbours, where the k least of a row are kept. The g y
 * stand ready, turned before timing; a product spans a block of x, of which the fastest is kept, and
 * BLOCK y.
 */
#include <cblas.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/peer.h"

enum { BLOCK = 256, WAYS = 5 };
static const int64_t block_bytes[WAYS] = {64 << 10, 256 << 10, 1 << 20, 4 << 20, INT64_MAX};

typedef struct state {
    int64_t batch, gallery, order, depth; /* x, y */
    float *turned;                        /* block by block of y: [depth][element][y] */
    float *products;                      /* [x of a block][element][y of a block] */
    float *square_y;                      /* |y|^2 */
    int64_t nearest;    /* of a row of distances that are wanted; 0: all of them */
    float *row;         /* distances to a block of y, where some are wanted */
    int64_t rows[WAYS]; /* x in a block */
    int chosen;
} state;

static float square(const float *row, int64_t depth)
{
    return cblas_sdot((int)depth, row, 1, row, 1);
}

/* The least of `count` distances from y number j on, into the ascending best of those before. */
static void keep_nearest(const state *s, int64_t j, int64_t count, float *best, int32_t *index)
{
    const int64_t last = s->nearest - 1;
    for (int64_t c = 0; c < count; c++) {
        const float d = s->row[c];
        if (!(d < best[last]))
            continue;
        int64_t i = last;
        for (; i > 0 && d < best[i - 1]; i--)
            best[i] = best[i - 1], index[i] = index[i - 1];
        best[i] = d, index[i] = (int32_t)(j + c);
    }
}

static equinv_status run_way(problem *p, int way)
{
    const state *const s = p->own;
    const float *const x = p->input[0].data, *const y = p->input[1].data;
    float *const distance = p->output[0].data;
    int32_t *const index = s->nearest ? p->saved[0].data : NULL;
    for (int64_t j = 0; j < s->gallery; j++)
        s->square_y[j] = square(y + j * s->depth, s->depth);
    for (int64_t i = 0; i < s->batch * s->nearest; i++)
        distance[i] = INFINITY;
    for (int64_t i = 0, rows = s->rows[way]; i < s->batch; i += rows) {
        rows = s->batch - i < rows ? s->batch - i : rows;
        for (int64_t j = 0; j < s->gallery; j += BLOCK) {
            const int64_t block = s->gallery - j < BLOCK ? s->gallery - j : BLOCK;
            const int64_t columns = s->order * block;
            cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)rows, (int)columns,
                        (int)s->depth, 1, x + i * s->depth, (int)s->depth,
                        s->turned + j * s->order * s->depth, (int)columns, 0, s->products,
                        (int)columns);
            for (int64_t r = 0; r < rows; r++) {
                float *const to = s->nearest ? s->row : distance + (i + r) * s->gallery + j;
                const int64_t best = (i + r) * s->nearest;
                peer_reduce(EQUINV_PROJECT_MAX, s->order, block, s->products + r * columns, to);
                peer_distances(block, square(x + (i + r) * s->depth, s->depth), s->square_y + j,
                               to);
                if (s->nearest)
                    keep_nearest(s, j, block, distance + best, index + best);
            }
        }
    }
    return EQUINV_OK;
}

/* Every g y of the block that begins with y number j, [depth][element][y]. */
static void put_turned(const state *s, int32_t g, const float *turned)
{
    for (int64_t j = 0; j < s->gallery; j++) {
        const int64_t first = j / BLOCK * BLOCK;
        const int64_t block = s->gallery - first < BLOCK ? s->gallery - first : BLOCK;
        float *const to = s->turned + first * s->order * s->depth + g * block + j - first;
        for (int64_t i = 0; i < s->depth; i++)
            to[i * s->order * block] = turned[j * s->depth + i];
    }
}

static void destroy(problem *p)
{
    state *const s = p->own;
    free(s->turned), free(s->products), free(s->square_y), free(s->row);
    free(s);
    p->own = NULL;
}

static equinv_status create(problem *p)
{
    const bench_case *const c = &p->what;
    equinv_status status = c->op->runner.create(p);
    if (status)
        return status;
    state *const s = p->own = calloc(1, sizeof *s);
    if (!s)
        return EQUINV_ERR_NOMEM;
    s->batch = c->batch, s->order = case_order(c);
    s->gallery = p->input[1].shape[0];
    s->nearest = c->op == &neighbours_operation ? case_neighbours(c) : 0;
    s->depth = c->fields_in * s->order * c->height * c->width;
    if (s->depth > INT_MAX || s->batch > INT_MAX || s->gallery > INT32_MAX ||
        s->order * BLOCK > INT_MAX)
        return peer_failed("OpenBLAS: extents beyond int");
    int ways = 0;
    const int64_t columns = s->order * (s->gallery < BLOCK ? s->gallery : BLOCK);
    for (int i = 0; i < WAYS && s->batch > 0; i++) {
        int64_t rows = block_bytes[i] / (columns * (int64_t)sizeof(float));
        rows = rows < 1 ? 1 : rows < s->batch ? rows : s->batch;
        if (ways == 0 || s->rows[ways - 1] < rows)
            s->rows[ways++] = rows;
    }
    if (ways == 0)
        s->rows[ways++] = 1;
    s->turned = peer_floats(s->gallery * s->order * s->depth);
    s->products = peer_floats(s->rows[ways - 1] * columns);
    s->square_y = peer_floats(s->gallery);
    s->row = peer_floats(BLOCK);
    equinv_tensor turned;
    if (!s->turned || !s->products || !s->square_y || !s->row)
        return EQUINV_ERR_NOMEM;
    const equinv_tensor *const y = &p->input[1];
    if ((status = equinv_tensor_create(p->ctx, y->dtype, y->ndim, y->shape, &turned)))
        return status;
    for (int32_t g = 0; g < s->order && !status; g++)
        if (!(status = equinv_act(p->ctx, c->group, g, y, &turned)))
            put_turned(s, g, turned.data);
    equinv_tensor_destroy(p->ctx, &turned);
    return status ? status : peer_fastest(p, ways, run_way, &s->chosen);
}

static equinv_status run(problem *p)
{
    return run_way(p, ((const state *)p->own)->chosen);
}

const bench_runner *openblas_distance(const bench_case *c)
{
    static const bench_runner runner = {create, run, destroy, NULL, NULL, false, NULL};
    return c->dtype == EQUINV_F32 && c->group.kind != EQUINV_GROUP_SYMMETRIC ? &runner : NULL;
}
