#include "internal/resample.h"

#include <string.h>

#include "internal/rows.h"

static size_t stencil_size(int64_t outputs, int64_t entries)
{
    return eqi_aligned((size_t)(2 * outputs + 1) * sizeof(int32_t)) +
           eqi_aligned((size_t)entries * sizeof(float));
}

size_t eqi_resampling_size(const int64_t src[5], const int64_t dst[5], int64_t most)
{
    size_t size = eqi_aligned(sizeof(eqi_resampling));
    for (int axis = 3; axis < 5; axis++)
        size +=
            stencil_size(dst[axis], dst[axis] * most) + stencil_size(src[axis], dst[axis] * most);
    return size;
}

static eqi_stencil stencil_in(char **memory, int64_t outputs, int64_t entries)
{
    eqi_stencil s = {.outputs = outputs};
    s.first = eqi_take(memory, (size_t)(2 * outputs + 1) * sizeof(int32_t));
    s.begin = s.first + outputs;
    s.weights = eqi_take(memory, (size_t)entries * sizeof(float));
    return s;
}

static void fill(const void *problem, eqi_taps_of *taps_of, int along, eqi_stencil *s)
{
    eqi_taps taps;
    int32_t entries = 0;
    for (int64_t o = 0; o < s->outputs; o++) {
        taps_of(problem, along, o, &taps);
        s->first[o] = (int32_t)taps.first;
        s->begin[o] = entries;
        for (int64_t t = 0; t < taps.count; t++)
            s->weights[entries++] = (float)taps.weight[t];
    }
    s->begin[s->outputs] = entries;
}

/* The adjoint. Outputs move forward with their inputs, so those of an input are neighbours too. */
static void transpose(const eqi_stencil *s, eqi_stencil *t)
{
    memset(t->first, 0xff, (size_t)t->outputs * sizeof *t->first); /* -1: none yet */
    memset(t->begin, 0, (size_t)(t->outputs + 1) * sizeof *t->begin);
    for (int64_t o = 0; o < s->outputs; o++)
        for (int32_t j = s->begin[o]; j < s->begin[o + 1]; j++) {
            const int32_t i = s->first[o] + j - s->begin[o];
            t->first[i] = t->first[i] < 0 ? (int32_t)o : t->first[i];
            t->begin[i + 1]++;
        }
    for (int64_t i = 0; i < t->outputs; i++) {
        t->first[i] = t->first[i] < 0 ? 0 : t->first[i];
        t->begin[i + 1] += t->begin[i];
    }
    for (int64_t o = 0; o < s->outputs; o++)
        for (int32_t j = s->begin[o]; j < s->begin[o + 1]; j++) {
            const int32_t i = s->first[o] + j - s->begin[o];
            t->weights[t->begin[i] + (int32_t)o - t->first[i]] = s->weights[j];
        }
}

static bool same_weights(const eqi_stencil *s, int64_t a, int64_t b)
{
    const int32_t count = s->begin[a + 1] - s->begin[a];
    return s->begin[b + 1] - s->begin[b] == count &&
           memcmp(s->weights + s->begin[a], s->weights + s->begin[b],
                  (size_t)count * sizeof *s->weights) == 0;
}

/* The run around the middle: at the borders windows are cut. */
static void find_run(eqi_stencil *s)
{
    const int64_t middle = s->outputs / 2;
    s->from = s->to = middle;
    if (middle == 0)
        return;
    s->step = s->first[middle] - s->first[middle - 1];
    while (s->from > 0 && s->first[s->from] - s->first[s->from - 1] == s->step &&
           same_weights(s, middle, s->from - 1))
        s->from--;
    for (s->to++; s->to < s->outputs && s->first[s->to] - s->first[s->to - 1] == s->step &&
                  same_weights(s, middle, s->to);
         s->to++)
        ;
}

void eqi_resampling_fill(const void *problem, eqi_taps_of *taps_of, const int64_t src[5],
                         const int64_t dst[5], int64_t most, void *memory)
{
    char *at = memory;
    eqi_resampling *const r = eqi_take(&at, sizeof *r);
    for (int i = 0; i < 2; i++) {
        const int64_t entries = dst[3 + i] * most;
        r->forward[i] = stencil_in(&at, dst[3 + i], entries);
        r->backward[i] = stencil_in(&at, src[3 + i], entries);
        fill(problem, taps_of, i, &r->forward[i]);
        transpose(&r->forward[i], &r->backward[i]);
        find_run(&r->forward[i]);
        find_run(&r->backward[i]);
    }
}
