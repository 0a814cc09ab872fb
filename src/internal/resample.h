/*
 * Maps along height and width that are one factor for each axis: blurring, upsampling, and the adjoints
 * of both. What every output reads on an axis is written down once, in the plan.
 */
#ifndef EQI_RESAMPLE_H
#define EQI_RESAMPLE_H

#include "plan.h"

/* out[o] = sum of weights[j] in[first[o] + j - begin[o]] over j from begin[o] to below begin[o + 1] */
typedef struct eqi_stencil {
    int64_t outputs;
    int32_t *first, *begin;
    float *weights;
    /* Outputs of the same weights whose first inputs are `step` apart; `from` = `to`: none. */
    int64_t from, to, step;
} eqi_stencil;

typedef struct eqi_resampling {
    eqi_stencil forward[2], backward[2]; /* over height, width */
} eqi_resampling;

/* The inputs of one output and their weights; at most EQI_TAPS, and none has weight 0. */
enum { EQI_TAPS = 64 };
typedef struct eqi_taps {
    int64_t first, count;
    double weight[EQI_TAPS];
} eqi_taps;
/* along: 0 height, 1 width */
typedef void eqi_taps_of(const void *problem, int along, int64_t output, eqi_taps *taps);

/* Whether both axes are short enough for a table of this kind. */
static inline bool eqi_is_resampled(const int64_t shape[5])
{
    return shape[3] <= INT64_C(1) << 20 && shape[4] <= INT64_C(1) << 20;
}

/* Bytes of the tables for src [.., H, W] and dst [.., H', W'], `most` taps an output; and their content. */
size_t eqi_resampling_size(const int64_t src[5], const int64_t dst[5], int64_t most);
void eqi_resampling_fill(const void *problem, eqi_taps_of *taps_of, const int64_t src[5],
                         const int64_t dst[5], int64_t most, void *memory);

#endif
