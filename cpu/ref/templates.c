#include "ref.h"

#include "internal/templates.h"

float eqi_ref_log(uint32_t i)
{
    return eqi_template_log(i);
}

void eqi_ref_turn(uint32_t j, float *cosine, float *sine)
{
    eqi_template_turn(j, cosine, sine);
}

typedef struct job {
    equinv_template_kind kind;
    uint64_t seed, first;
    equinv_tensor dst;
    int64_t count; /* coordinates of a template */
    bool contiguous;
} job;

static void one_template(void *arg, int64_t i)
{
    const job *const j = arg;
    const uint64_t t = j->first + (uint64_t)i;
    for (int64_t c = 0; c < j->count; c += 4) {
        float z[4];
        eqi_template_values(j->kind, j->seed, t, (uint64_t)c / 4, z);
        for (int64_t lane = 0; lane < 4 && c + lane < j->count; lane++) {
            const int64_t index = i * j->count + c + lane;
            eqi_store(&j->dst, j->contiguous ? index : eqi_offset_of(&j->dst, index),
                      (double)z[lane]);
        }
    }
}

void eqi_ref_templates(const equinv_context *ctx, equinv_template_kind kind, uint64_t seed,
                       uint64_t first, const equinv_tensor *dst)
{
    const int64_t total = equinv_tensor_count(dst);
    if (total == 0)
        return;
    job j = {.kind = kind,
             .seed = seed,
             .first = first,
             .dst = *dst,
             .count = total / dst->shape[0],
             .contiguous = eqi_is_contiguous(dst)};
    eqi_parallel_if_worth(ctx, dst->shape[0], 64 * (double)total, one_template, &j);
}
