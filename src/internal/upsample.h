/* Upsampling as its implementations see it. */
#ifndef EQI_UPSAMPLE_H
#define EQI_UPSAMPLE_H

#include "plan.h"

typedef struct eqi_upsample_problem {
    equinv_dtype dtype;
    equinv_upsample_kind kind;
    int64_t scale;
    int64_t src[5], dst[5]; /* shapes [N, F, G, H, W] */
    bool accumulate;
    void *tables; /* what the implementation's fill wrote into the plan */
} eqi_upsample_problem;

/* From src to dst, or from diff_dst to diff_src. */
typedef equinv_status eqi_upsample_execute(const equinv_context *ctx, const eqi_upsample_problem *p,
                                           const equinv_tensor *from, const equinv_tensor *to);

typedef struct eqi_upsample_implementation {
    eqi_implementation head;
    eqi_upsample_execute *forward, *backward;
    /* Bytes in the plan, and what to put there; NULL: none. */
    size_t (*table_size)(const eqi_upsample_problem *p);
    void (*fill)(const eqi_upsample_problem *p, void *tables);
} eqi_upsample_implementation;

extern const eqi_implementation *const eqi_upsample_list[];

/* An output is (1 - weight) low + weight (low + 1); with weight 0 there need be no low + 1. */
typedef struct eqi_between {
    int64_t low;
    double weight;
} eqi_between;

/* Where output number `output` lies on an axis of `size` inputs. */
EQI_INLINE eqi_between eqi_upsample_between(const eqi_upsample_problem *p, int64_t size,
                                            int64_t output)
{
    if (p->kind == EQUINV_UPSAMPLE_NEAREST)
        return (eqi_between){output / p->scale, 0};
    const bool corners = p->kind == EQUINV_UPSAMPLE_BILINEAR_CORNERS;
    const int64_t above = corners ? output * (size - 1) : 2 * output + 1 - p->scale;
    const int64_t below = corners ? p->scale * size - 1 : 2 * p->scale;
    if (above <= 0)
        return (eqi_between){0, 0};
    if (above / below >= size - 1)
        return (eqi_between){size - 1, 0};
    return (eqi_between){above / below, (double)(above % below) / (double)below};
}

/* What input number `input` counts in it. */
EQI_INLINE double eqi_upsample_share(eqi_between b, int64_t input)
{
    return input == b.low ? 1 - b.weight : input == b.low + 1 ? b.weight : 0;
}

/* Outputs first .. last, among which are all that read an input: those less than a pixel away. */
typedef struct eqi_span {
    int64_t first, last;
} eqi_span;

EQI_INLINE eqi_span eqi_upsample_readers(const eqi_upsample_problem *p, int64_t size, int64_t input)
{
    const int64_t outputs = p->scale * size;
    int64_t first = input * p->scale, last = first + p->scale - 1;
    if (p->kind == EQUINV_UPSAMPLE_BILINEAR) {
        first -= p->scale;
        last += p->scale;
    } else if (p->kind == EQUINV_UPSAMPLE_BILINEAR_CORNERS && size > 1) {
        first = input > 0 ? (input - 1) * (outputs - 1) / (size - 1) : 0;
        last = (input + 1) * (outputs - 1) / (size - 1);
    }
    return (eqi_span){first > 0 ? first : 0, last < outputs ? last : outputs - 1};
}

#endif
