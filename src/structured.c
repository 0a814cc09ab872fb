/*
 * Sparse and Hadamard templates, by the recipes of equinv_template_kind. Made on the CPU, whatever the
 * device: integers and signs alone, so the bits are the same everywhere.
 */
#include <math.h>

#include "internal/philox.h"
#include "internal/projection.h"

typedef struct job {
    equinv_template_kind kind;
    uint64_t seed;
    uint32_t below; /* SPARSE: the lower 31 bits of a word that make a number */
    double size;    /* of numbers that are not 0 */
    equinv_tensor dst;
    int64_t count; /* coordinates of a template */
    int bits;      /* HADAMARD: of the matrix's order, the power of two that holds a template */
} job;

static void words_at(const job *j, uint64_t block, uint64_t t, uint32_t words[4])
{
    const uint32_t key[2] = {(uint32_t)j->seed, (uint32_t)(j->seed >> 32)};
    const uint32_t counter[4] = {(uint32_t)block, (uint32_t)(block >> 32), (uint32_t)t,
                                 (uint32_t)(t >> 32)};
    eqi_philox(counter, key, words);
}

/* Which row of the matrix is template number i < 2^bits of a block: two odd factors shuffle them. */
static uint64_t row_of(const job *j, uint64_t i, uint64_t block)
{
    const uint64_t mask = (UINT64_C(1) << j->bits) - 1;
    uint32_t w[4];
    words_at(j, UINT64_MAX, block, w);
    uint64_t x = (i * (w[0] | 1) + w[1]) & mask;
    x ^= x >> (j->bits + 1) / 2;
    return (x * (w[2] | 1) + w[3]) & mask;
}

static void one_template(void *arg, int64_t t)
{
    const job *const j = arg;
    const bool hadamard = j->kind == EQUINV_TEMPLATE_HADAMARD;
    const uint64_t block = hadamard ? (uint64_t)t >> j->bits : 0;
    const uint64_t row = hadamard ? row_of(j, (uint64_t)t - (block << j->bits), block) : 0;
    for (int64_t c = 0; c < j->count; c++) {
        uint32_t words[4];
        if (c % 4 == 0)
            words_at(j, (uint64_t)c / 4, hadamard ? block : (uint64_t)t, words);
        const uint32_t word = words[c % 4];
        const bool plus = (word >> 31) ^ (__builtin_popcountll(row & (uint64_t)c) & 1);
        const bool there = hadamard || (word & UINT32_C(0x7fffffff)) < j->below;
        eqi_store(&j->dst, t * j->count + c, there ? plus ? j->size : -j->size : 0);
    }
}

void eqi_make_structured(const equinv_context *ctx, const equinv_projection_desc *desc,
                         const equinv_tensor *dst)
{
    const bool sparse = desc->templates == EQUINV_TEMPLATE_SPARSE;
    const int64_t total = equinv_tensor_count(dst), count = total / dst->shape[0];
    job j = {.kind = desc->templates,
             .seed = desc->seed,
             .below = sparse ? (uint32_t)(desc->density * 0x1p31) : 0,
             .size = sparse ? (double)(float)(1 / sqrt(desc->density)) : 1,
             .dst = *dst,
             .count = count};
    while ((UINT64_C(1) << j.bits) < (uint64_t)count)
        j.bits++;
    eqi_parallel_if_worth(ctx, dst->shape[0], 32 * (double)total, one_template, &j);
}

equinv_status equinv_templates_for_distortion(int64_t points, double distortion, double failure,
                                              int64_t *k)
{
    EQI_CHECK(points >= 2, ARG, "points is %" PRId64 ", expected at least 2", points);
    EQI_CHECK(distortion > 0 && distortion < 1, ARG,
              "distortion is %g, expected between 0 and 1, both excluded", distortion);
    EQI_CHECK(failure > 0 && failure <= 1, ARG, "failure is %g, expected above 0 and at most 1",
              failure);
    EQI_CHECK(k, ARG, "k is NULL, expected where to put the number");
    const double rate = distortion * distortion * (0.5 - distortion / 3);
    const double n = (double)points, needed = ceil(2 * log(n * (n - 1) / failure) / rate);
    EQI_CHECK(needed < 0x1p62, ARG,
              "distortion is %g, expected one that fewer than 2^62 templates reach", distortion);
    *k = needed < 1 ? 1 : (int64_t)needed;
    return EQUINV_OK;
}
