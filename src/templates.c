#include "internal/backend.h"
#include "internal/philox.h"

void equinv_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t words[4])
{
    eqi_philox(counter, key, words);
}

equinv_status equinv_templates(equinv_context *ctx, equinv_template_kind kind, uint64_t seed,
                               uint64_t first, const equinv_tensor *dst)
{
    EQI_CHECK(ctx, ARG, "ctx is NULL, expected a context");
    EQI_CHECK(
        kind == EQUINV_TEMPLATE_GAUSSIAN || kind == EQUINV_TEMPLATE_RADEMACHER, ARG,
        "kind is %d, expected EQUINV_TEMPLATE_GAUSSIAN or _RADEMACHER (the others depend on a "
        "projection)",
        (int)kind);
    EQI_TRY(eqi_check_output(ctx, dst, "dst", EQI_FLOAT));
    EQI_CHECK(dst->ndim >= 1, SHAPE, "dst has ndim 0, expected [k, ..]");
    EQI_CHECK(first <= UINT64_MAX - (uint64_t)dst->shape[0], ARG,
              "first is %" PRIu64 ", expected %" PRId64 " templates from there to stay below 2^64",
              first, dst->shape[0]);
    return ctx->backend->templates(ctx, kind, seed, first, dst);
}
