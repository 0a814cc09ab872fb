#include "internal/conv.h"
#include "ref.h"

/* dst[n,o,g,y] = bias[o] + sum_{i,h,t} K[(o,g),(i,h)](t) src[n,i,h, s y + d t - p] */
static double output_at(const eqi_conv_problem *p, const equinv_tensor *src,
                        const equinv_tensor *psi, int64_t n, int64_t o, int64_t g, int64_t y,
                        int64_t x)
{
    const equinv_conv_desc *const d = &p->desc;
    const int64_t first = o / p->out_per_group * p->in_per_group;
    double sum = 0;
    for (int64_t h = 0; h < p->elements_in; h++)
        for (int64_t ty = 0; ty < d->kernel; ty++)
            for (int64_t tx = 0; tx < d->kernel; tx++) {
                int64_t sy, sx;
                if (!eqi_conv_input(d, y, ty, d->height, &sy) ||
                    !eqi_conv_input(d, x, tx, d->width, &sx))
                    continue;
                const eqi_conv_place at = eqi_conv_place_of(p, (int32_t)g, (int32_t)h, ty, tx);
                for (int64_t i = 0; i < p->in_per_group; i++)
                    sum += eqi_load(psi, eqi_offset5(psi, o, i, at.a, at.v.y, at.v.x)) *
                           eqi_load(src, eqi_offset5(src, n, first + i, h, sy, sx));
            }
    return sum;
}

void eqi_ref_conv_forward(const eqi_conv_problem *p, const equinv_tensor *src,
                          const equinv_tensor *psi, const equinv_tensor *bias,
                          const equinv_tensor *dst)
{
    for (int64_t n = 0; n < p->desc.batch; n++)
        for (int64_t o = 0; o < p->desc.fields_out; o++)
            for (int64_t g = 0; g < p->elements_out; g++)
                for (int64_t y = 0; y < p->out_height; y++)
                    for (int64_t x = 0; x < p->out_width; x++) {
                        const double sum = output_at(p, src, psi, n, o, g, y, x);
                        eqi_put(dst, eqi_offset5(dst, n, o, g, y, x),
                                bias ? sum + eqi_load(bias, o * bias->strides[0]) : sum,
                                p->desc.accumulate);
                    }
}

/* sum_{o,g} K[(o,g),(i,h)](t) diff_dst[n,o,g,y] */
static double from_window(const eqi_conv_problem *p, const equinv_tensor *diff_dst,
                          const equinv_tensor *psi, int64_t n, int64_t i, int64_t h, eqi_pixel t,
                          eqi_pixel y)
{
    const int64_t first = i / p->in_per_group * p->out_per_group;
    double sum = 0;
    for (int64_t g = 0; g < p->elements_out; g++) {
        const eqi_conv_place at = eqi_conv_place_of(p, (int32_t)g, (int32_t)h, t.y, t.x);
        for (int64_t o = first; o < first + p->out_per_group; o++)
            sum += eqi_load(psi, eqi_offset5(psi, o, i % p->in_per_group, at.a, at.v.y, at.v.x)) *
                   eqi_load(diff_dst, eqi_offset5(diff_dst, n, o, g, y.y, y.x));
    }
    return sum;
}

/* diff_src[n,i,h,z] = sum_t sum_{y: s y + d t - p = z} sum_{o,g} K[(o,g),(i,h)](t) diff_dst[n,o,g,y] */
static double input_gradient_at(const eqi_conv_problem *p, const equinv_tensor *diff_dst,
                                const equinv_tensor *psi, int64_t n, int64_t i, int64_t h,
                                eqi_pixel z)
{
    const equinv_conv_desc *const d = &p->desc;
    const int64_t s = d->stride;
    double sum = 0;
    for (int64_t ty = 0; ty < d->kernel; ty++) {
        const eqi_conv_candidates rows = eqi_conv_candidates_of(d, z.y, ty, d->height);
        for (int64_t sy = rows.first; sy <= s * (p->out_height - 1); sy += rows.step) {
            if (!eqi_conv_is_window(d, sy))
                continue;
            for (int64_t tx = 0; tx < d->kernel; tx++) {
                const eqi_conv_candidates columns = eqi_conv_candidates_of(d, z.x, tx, d->width);
                for (int64_t sx = columns.first; sx <= s * (p->out_width - 1); sx += columns.step)
                    if (eqi_conv_is_window(d, sx))
                        sum += from_window(p, diff_dst, psi, n, i, h, (eqi_pixel){ty, tx},
                                           (eqi_pixel){sy / s, sx / s});
            }
        }
    }
    return sum;
}

void eqi_ref_conv_backward_data(const eqi_conv_problem *p, const equinv_tensor *diff_dst,
                                const equinv_tensor *psi, const equinv_tensor *bias,
                                const equinv_tensor *diff_src)
{
    for (int64_t n = 0; n < p->desc.batch; n++)
        for (int64_t i = 0; i < p->desc.fields_in; i++)
            for (int64_t h = 0; h < p->elements_in; h++)
                for (int64_t y = 0; y < p->desc.height; y++)
                    for (int64_t x = 0; x < p->desc.width; x++) {
                        const double sum =
                            input_gradient_at(p, diff_dst, psi, n, i, h, (eqi_pixel){y, x});
                        eqi_put(diff_src, eqi_offset5(diff_src, n, i, h, y, x),
                                bias ? sum + eqi_load(bias, i * bias->strides[0]) : sum,
                                p->desc.accumulate);
                    }
}

/* sum_{n,y} diff_dst[n,o,g,y] src[n,i,h, s y + d t - p], the gradient of K[(o,g),(i,h)](t) */
static double filter_gradient_at(const eqi_conv_problem *p, const equinv_tensor *src,
                                 const equinv_tensor *diff_dst, int64_t o, int64_t g, int64_t i,
                                 int64_t h, eqi_pixel t)
{
    const equinv_conv_desc *const d = &p->desc;
    double sum = 0;
    for (int64_t n = 0; n < d->batch; n++)
        for (int64_t y = 0; y < p->out_height; y++)
            for (int64_t x = 0; x < p->out_width; x++) {
                int64_t sy, sx;
                if (eqi_conv_input(d, y, t.y, d->height, &sy) &&
                    eqi_conv_input(d, x, t.x, d->width, &sx))
                    sum += eqi_load(diff_dst, eqi_offset5(diff_dst, n, o, g, y, x)) *
                           eqi_load(src, eqi_offset5(src, n, i, h, sy, sx));
            }
    return sum;
}

/* diff_psi[o,i,a,v] = the sum of diff_K over all entries of K that are psi[o,i,a,v] */
static double weight_gradient_at(const eqi_conv_problem *p, const equinv_tensor *src,
                                 const equinv_tensor *diff_dst, int64_t o, int64_t i, int32_t a,
                                 eqi_pixel v)
{
    const int64_t field = o / p->out_per_group * p->in_per_group + i;
    double sum = 0;
    for (int32_t u = 0; u < eqi_order(p->desc.group); u++) {
        const eqi_conv_entry at = eqi_conv_entry_of(p, u, a, v);
        sum += filter_gradient_at(p, src, diff_dst, o, at.g, field, at.h, at.t);
    }
    return sum;
}

/* diff_bias[o] = sum_{n,g,y} diff_dst[n,o,g,y] */
static double bias_gradient_at(const equinv_tensor *diff_dst, int64_t o)
{
    const int64_t *const shape = diff_dst->shape;
    double sum = 0;
    for (int64_t n = 0; n < shape[0]; n++)
        for (int64_t g = 0; g < shape[2]; g++)
            for (int64_t y = 0; y < shape[3]; y++)
                for (int64_t x = 0; x < shape[4]; x++)
                    sum += eqi_load(diff_dst, eqi_offset5(diff_dst, n, o, g, y, x));
    return sum;
}

typedef struct bias_job {
    const eqi_conv_plan *plan;
    const equinv_tensor *map, *diff_bias;
} bias_job;

static void bias_of_field(void *arg, int64_t i)
{
    const bias_job *const j = arg;
    eqi_put(j->diff_bias, i * j->diff_bias->strides[0], bias_gradient_at(j->map, i),
            j->plan->problem.desc.accumulate);
}

equinv_status eqi_ref_conv_transposed_bias(const eqi_conv_plan *plan, const equinv_tensor *map,
                                           const equinv_tensor *diff_bias, void *scratch)
{
    (void)scratch;
    bias_job job = {plan, map, diff_bias};
    eqi_parallel_over(plan->head.ctx, equinv_tensor_count(map), map->shape[1], bias_of_field, &job);
    return EQUINV_OK;
}

void eqi_ref_conv_backward_weights(const eqi_conv_problem *p, const equinv_tensor *src,
                                   const equinv_tensor *diff_dst, const equinv_tensor *diff_psi,
                                   const equinv_tensor *diff_bias)
{
    const int64_t k = p->desc.kernel;
    for (int64_t o = 0; o < p->desc.fields_out; o++)
        for (int64_t i = 0; i < p->in_per_group; i++)
            for (int64_t a = 0; a < p->filter_elements; a++)
                for (int64_t vy = 0; vy < k; vy++)
                    for (int64_t vx = 0; vx < k; vx++)
                        eqi_put(diff_psi, eqi_offset5(diff_psi, o, i, a, vy, vx),
                                weight_gradient_at(p, src, diff_dst, o, i, (int32_t)a,
                                                   (eqi_pixel){vy, vx}),
                                p->desc.accumulate);
    for (int64_t o = 0; diff_bias && o < p->desc.fields_out; o++)
        eqi_put(diff_bias, o * diff_bias->strides[0], bias_gradient_at(diff_dst, o),
                p->desc.accumulate);
}
