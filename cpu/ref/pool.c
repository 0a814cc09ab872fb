#include "ref.h"

/* What one task works on: the sample of its index. */
typedef struct job {
    const eqi_pool_problem *p;
    const equinv_tensor *from, *to;
    const int32_t *read;
    int32_t *write;
} job;

static eqi_range places(const eqi_pool_problem *p, int axis, int64_t output)
{
    return eqi_window_places(output, p->window[axis].kernel, p->window[axis].stride,
                             p->window[axis].padding, p->src[2 + axis]);
}

static eqi_range outputs(const eqi_pool_problem *p, int axis, int64_t place)
{
    return eqi_window_outputs(place, p->window[axis].kernel, p->window[axis].stride,
                              p->window[axis].padding, p->dst[2 + axis]);
}

/* A factor of a value: the mean's division comes once, at the end. */
static double weight(const eqi_pool_problem *p, int64_t y, int64_t x, int64_t at_y, int64_t at_x)
{
    return p->blur ? eqi_pool_weight(p, 1, y, at_y) * eqi_pool_weight(p, 2, x, at_x) : 1;
}

static double window_size(const eqi_pool_problem *p)
{
    return (double)p->window[0].kernel * (double)p->window[1].kernel * (double)p->window[2].kernel;
}

/* dst[n,f,o] = max, mean or weighted sum over the places (h,y,x) in window o of src[n,f,h,y,x] */
static double pool(const eqi_pool_problem *p, const equinv_tensor *src, int64_t n, int64_t f,
                   const int64_t o[3], int64_t *winner)
{
    const eqi_range r[3] = {places(p, 0, o[0]), places(p, 1, o[1]), places(p, 2, o[2])};
    double best = 0, sum = 0;
    *winner = -1;
    for (int64_t h = r[0].first; h <= r[0].last; h++)
        for (int64_t y = r[1].first; y <= r[1].last; y++)
            for (int64_t x = r[2].first; x <= r[2].last; x++) {
                const double value = eqi_load(src, eqi_offset5(src, n, f, h, y, x));
                sum += value * weight(p, o[1], o[2], y, x);
                /* The first place, then what is larger; the first NaN ends the search. */
                if (*winner < 0 || (!(value <= best) && best == best)) {
                    best = value;
                    *winner = (h * p->src[3] + y) * p->src[4] + x;
                }
            }
    return p->max ? best : p->blur ? sum : sum / window_size(p);
}

static void forward(void *arg, int64_t n)
{
    const job *const j = arg;
    const eqi_pool_problem *const p = j->p;
    int64_t place = n * p->dst[1] * p->dst[2] * p->dst[3] * p->dst[4], winner;
    for (int64_t f = 0; f < p->dst[1]; f++)
        for (int64_t g = 0; g < p->dst[2]; g++)
            for (int64_t y = 0; y < p->dst[3]; y++)
                for (int64_t x = 0; x < p->dst[4]; x++, place++) {
                    const int64_t o[3] = {g, y, x};
                    eqi_store(j->to, eqi_offset5(j->to, n, f, g, y, x),
                              pool(p, j->from, n, f, o, &winner));
                    if (j->write)
                        j->write[place] = (int32_t)winner;
                }
}

equinv_status eqi_ref_pool_forward(const equinv_context *ctx, const eqi_pool_problem *p,
                                   const equinv_tensor *src, const equinv_tensor *dst,
                                   int32_t *saved)
{
    job j = {p, src, dst, NULL, saved};
    eqi_parallel_over(ctx, eqi_pool_work(p), p->dst[0], forward, &j);
    return EQUINV_OK;
}

/* diff_src[n,f,h,y,x] = sum of diff_dst[n,f,o] over the windows o that have (h,y,x) (as winner) */
static double gather(const job *j, int64_t n, int64_t f, int64_t h, int64_t y, int64_t x)
{
    const eqi_pool_problem *const p = j->p;
    const eqi_range r[3] = {outputs(p, 0, h), outputs(p, 1, y), outputs(p, 2, x)};
    const int64_t index = (h * p->src[3] + y) * p->src[4] + x;
    double sum = 0;
    for (int64_t a = r[0].first; a <= r[0].last; a++)
        for (int64_t b = r[1].first; b <= r[1].last; b++)
            for (int64_t c = r[2].first; c <= r[2].last; c++) {
                const int64_t row = ((n * p->dst[1] + f) * p->dst[2] + a) * p->dst[3] + b;
                if (!p->max || j->read[row * p->dst[4] + c] == index)
                    sum += eqi_load(j->from, eqi_offset5(j->from, n, f, a, b, c)) *
                           weight(p, b, c, y, x);
            }
    return p->max || p->blur ? sum : sum / window_size(p);
}

static void backward(void *arg, int64_t n)
{
    const job *const j = arg;
    const eqi_pool_problem *const p = j->p;
    for (int64_t f = 0; f < p->src[1]; f++)
        for (int64_t h = 0; h < p->src[2]; h++)
            for (int64_t y = 0; y < p->src[3]; y++)
                for (int64_t x = 0; x < p->src[4]; x++)
                    eqi_put(j->to, eqi_offset5(j->to, n, f, h, y, x), gather(j, n, f, h, y, x),
                            p->accumulate);
}

equinv_status eqi_ref_pool_backward(const equinv_context *ctx, const eqi_pool_problem *p,
                                    const equinv_tensor *diff_dst, const int32_t *saved,
                                    const equinv_tensor *diff_src)
{
    job j = {p, diff_dst, diff_src, saved, NULL};
    eqi_parallel_over(ctx, eqi_pool_work(p), p->src[0], backward, &j);
    return EQUINV_OK;
}
