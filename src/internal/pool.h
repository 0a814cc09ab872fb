/* Pooling as its implementations see it. */
#ifndef EQI_POOL_H
#define EQI_POOL_H

#include "plan.h"

/*
 * A blur's places on either side of the middle: three widths, a half rounded to even as escnn does; at
 * most EQI_BLUR_REACH. And their weights by the distance from it, exp(-t^2 / 2 sigma^2) over the sum.
 */
enum { EQI_BLUR_REACH = 31 };
int64_t eqi_blur_reach(double sigma);
void eqi_blur_weights(double sigma, double *weights);

/*
 * All seven kinds are windows over [G, H, W] of one field: windowed kinds step over height and width,
 * global kinds have one window of the whole image, group kinds one of the whole group. Place `t` of
 * output `o` on an axis is o stride + t - padding.
 */
typedef struct eqi_pool_problem {
    equinv_dtype dtype;
    int64_t src[5], dst[5]; /* shapes [N, F, G, H, W] */
    struct {
        int64_t kernel, stride, padding;
    } window[3]; /* over elements, height, width */
    bool max;    /* else the mean over the window, padding counted as 0, .. */
    bool blur; /* .. or a sum with these weights on height and width, by distance from its middle */
    double gauss[EQI_BLUR_REACH + 1];
    bool accumulate;
    void *tables; /* what the implementation's fill wrote into the plan */
} eqi_pool_problem;

/* `saved` has a row-major index into [G, H, W] for every output in row-major order; may be NULL. */
typedef struct eqi_pool_implementation {
    eqi_implementation head;
    equinv_status (*forward)(const equinv_context *ctx, const eqi_pool_problem *p,
                             const equinv_tensor *src, const equinv_tensor *dst, int32_t *saved);
    equinv_status (*backward)(const equinv_context *ctx, const eqi_pool_problem *p,
                              const equinv_tensor *diff_dst, const int32_t *saved,
                              const equinv_tensor *diff_src);
    /* Bytes in the plan, and what to put there; NULL: none. */
    size_t (*table_size)(const eqi_pool_problem *p);
    void (*fill)(const eqi_pool_problem *p, void *tables);
} eqi_pool_implementation;

extern const eqi_implementation *const eqi_pool_list[];

/* A blur's weight of a place on axis 1 or 2. */
EQI_INLINE double eqi_pool_weight(const eqi_pool_problem *p, int axis, int64_t output,
                                  int64_t place)
{
    const int64_t middle =
        output * p->window[axis].stride - p->window[axis].padding + p->window[axis].kernel / 2;
    return p->gauss[place < middle ? middle - place : place - middle];
}

/* Elements that either direction goes through. */
static inline int64_t eqi_pool_work(const eqi_pool_problem *p)
{
    const int64_t *const large = p->dst[3] * p->dst[4] > p->src[3] * p->src[4] ? p->dst : p->src;
    return large[0] * large[1] * large[2] * large[3] * large[4];
}

/* Places of the window that lie inside an axis of this extent: first .. last. */
typedef struct eqi_range {
    int64_t first, last;
} eqi_range;

EQI_INLINE eqi_range eqi_window_places(int64_t output, int64_t kernel, int64_t stride,
                                       int64_t padding, int64_t extent)
{
    const int64_t start = output * stride - padding, end = start + kernel - 1;
    return (eqi_range){start > 0 ? start : 0, end < extent ? end : extent - 1};
}

/* Outputs whose window covers a place; first > last if there is none. */
EQI_INLINE eqi_range eqi_window_outputs(int64_t place, int64_t kernel, int64_t stride,
                                        int64_t padding, int64_t outputs)
{
    const int64_t reached = place + padding - kernel; /* the last place before the first output's */
    const int64_t first = reached < 0 ? 0 : reached / stride + 1;
    const int64_t last = (place + padding) / stride;
    return (eqi_range){first, last < outputs ? last : outputs - 1};
}

#endif
