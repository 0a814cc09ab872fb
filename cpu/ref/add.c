#include "ref.h"

/* dst = a + b */
void eqi_ref_add(const equinv_tensor *a, const equinv_tensor *b, const equinv_tensor *dst)
{
    const int64_t count = equinv_tensor_count(a);
    for (int64_t i = 0; i < count; i++)
        eqi_store(dst, eqi_offset_of(dst, i),
                  eqi_load(a, eqi_offset_of(a, i)) + eqi_load(b, eqi_offset_of(b, i)));
}
