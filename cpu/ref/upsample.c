#include "ref.h"

/* What one task works on: the sample of its index. */
typedef struct job {
    const eqi_upsample_problem *p;
    const equinv_tensor *from, *to;
} job;

/* sum over both axes' neighbours; those of weight 0 are not read */
static double interpolate(const job *j, int64_t n, int64_t f, int64_t g, eqi_between y,
                          eqi_between x)
{
    double sum = 0;
    for (int64_t sy = y.low; sy <= y.low + (y.weight > 0); sy++)
        for (int64_t sx = x.low; sx <= x.low + (x.weight > 0); sx++)
            sum += eqi_upsample_share(y, sy) * eqi_upsample_share(x, sx) *
                   eqi_load(j->from, eqi_offset5(j->from, n, f, g, sy, sx));
    return sum;
}

static void forward(void *arg, int64_t n)
{
    const job *const j = arg;
    const eqi_upsample_problem *const p = j->p;
    for (int64_t f = 0; f < p->dst[1]; f++)
        for (int64_t g = 0; g < p->dst[2]; g++)
            for (int64_t y = 0; y < p->dst[3]; y++)
                for (int64_t x = 0; x < p->dst[4]; x++)
                    eqi_store(j->to, eqi_offset5(j->to, n, f, g, y, x),
                              interpolate(j, n, f, g, eqi_upsample_between(p, p->src[3], y),
                                          eqi_upsample_between(p, p->src[4], x)));
}

equinv_status eqi_ref_upsample_forward(const equinv_context *ctx, const eqi_upsample_problem *p,
                                       const equinv_tensor *src, const equinv_tensor *dst)
{
    job j = {p, src, dst};
    eqi_parallel_over(ctx, equinv_tensor_count(dst), p->dst[0], forward, &j);
    return EQUINV_OK;
}

/* diff_src[y,x] = sum of diff_dst[Y,X] times what (y,x) counts in it */
static double gather(const job *j, int64_t n, int64_t f, int64_t g, int64_t y, int64_t x)
{
    const eqi_upsample_problem *const p = j->p;
    const eqi_span ys = eqi_upsample_readers(p, p->src[3], y);
    const eqi_span xs = eqi_upsample_readers(p, p->src[4], x);
    double sum = 0;
    for (int64_t a = ys.first; a <= ys.last; a++) {
        const double row = eqi_upsample_share(eqi_upsample_between(p, p->src[3], a), y);
        for (int64_t b = xs.first; row > 0 && b <= xs.last; b++) {
            const double share = eqi_upsample_share(eqi_upsample_between(p, p->src[4], b), x);
            if (share > 0)
                sum += row * share * eqi_load(j->from, eqi_offset5(j->from, n, f, g, a, b));
        }
    }
    return sum;
}

static void backward(void *arg, int64_t n)
{
    const job *const j = arg;
    const eqi_upsample_problem *const p = j->p;
    for (int64_t f = 0; f < p->src[1]; f++)
        for (int64_t g = 0; g < p->src[2]; g++)
            for (int64_t y = 0; y < p->src[3]; y++)
                for (int64_t x = 0; x < p->src[4]; x++)
                    eqi_put(j->to, eqi_offset5(j->to, n, f, g, y, x), gather(j, n, f, g, y, x),
                            p->accumulate);
}

equinv_status eqi_ref_upsample_backward(const equinv_context *ctx, const eqi_upsample_problem *p,
                                        const equinv_tensor *diff_dst,
                                        const equinv_tensor *diff_src)
{
    job j = {p, diff_dst, diff_src};
    eqi_parallel_over(ctx, equinv_tensor_count(diff_dst), p->src[0], backward, &j);
    return EQUINV_OK;
}
