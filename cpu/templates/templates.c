#include "templates.h"

#include "internal/tensor.h"

/*
 * Numbers of one task, a multiple of those in a group of blocks; they stay in the first-level
 * cache.
 */
enum { PART = 4096 };

typedef struct job {
    eqi_templates_kernel *kernel;
    equinv_template_kind kind;
    uint64_t seed, first;
    equinv_tensor dst;
    int64_t count, parts; /* coordinates of a template, and tasks */
    bool contiguous;
} job;

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static void one_part(void *arg, int64_t task)
{
    const job *const j = arg;
    const int64_t row = task / j->parts, from = task % j->parts * PART;
    const int64_t count = smaller(j->count - from, PART), index = row * j->count + from;
    const int64_t group = 4 * EQI_TEMPLATES_GROUP;
    const bool in_place = j->contiguous && j->dst.dtype == EQUINV_F32;
    const int64_t whole = in_place ? count / group * group : 0;
    const uint64_t t = j->first + (uint64_t)row;
    float rest[PART];
    if (whole > 0)
        j->kernel(j->kind, j->seed, t, (uint64_t)from / 4, whole / 4, (float *)j->dst.data + index);
    if (whole == count)
        return;
    j->kernel(j->kind, j->seed, t, (uint64_t)(from + whole) / 4,
              (count - whole + group - 1) / group * EQI_TEMPLATES_GROUP, rest);
    for (int64_t i = whole; i < count; i++)
        eqi_store(&j->dst, j->contiguous ? index + i : eqi_offset_of(&j->dst, index + i),
                  (double)rest[i - whole]);
}

bool eqi_fast_templates(const equinv_context *ctx, equinv_template_kind kind, uint64_t seed,
                        uint64_t first, const equinv_tensor *dst)
{
    static eqi_templates_kernel *const kernels[] = {
        [EQI_ISA_SCALAR] = NULL,
#if defined(__x86_64__)
        [EQI_ISA_AVX2] = eqi_f32_templates_avx2,
        [EQI_ISA_AVX512] = eqi_f32_templates_avx512,
#endif
    };
    const int64_t total = equinv_tensor_count(dst);
    job j = {.kernel = kernels[ctx->hardware.isa],
             .kind = kind,
             .seed = seed,
             .first = first,
             .dst = *dst,
             .contiguous = eqi_is_contiguous(dst)};
    if (!j.kernel)
        return false;
    if (total == 0)
        return true;
    j.count = total / dst->shape[0];
    j.parts = j.count / PART + (j.count % PART != 0);
    eqi_parallel_if_worth(ctx, dst->shape[0] * j.parts, 4 * (double)total, one_part, &j);
    return true;
}
