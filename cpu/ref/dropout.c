#include "ref.h"

#include "internal/dropout.h"

/* dst[n,f,..] = src[n,f,..] / (1 - p), or 0 if (n, f) is dropped */
void eqi_ref_dropout(double p, uint64_t seed, uint64_t step, const equinv_tensor *src,
                     const equinv_tensor *dst)
{
    const int64_t count = equinv_tensor_count(src), fields = src->shape[0] * src->shape[1];
    for (int64_t i = 0; i < count; i++) {
        const bool dropped = eqi_dropped(p, seed, step, i / (count / fields));
        eqi_store(dst, eqi_offset_of(dst, i),
                  dropped ? 0 : eqi_load(src, eqi_offset_of(src, i)) / (1 - p));
    }
}
