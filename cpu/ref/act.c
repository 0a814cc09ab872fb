#include "ref.h"

#include <string.h>

/* dst[n,f, g h, g x] = src[n,f, h, x]; trivial fields keep h. */
void eqi_ref_act(equinv_group group, int32_t element, const equinv_tensor *src,
                 const equinv_tensor *dst)
{
    const size_t size = equinv_dtype_size(src->dtype);
    const int64_t height = src->shape[3], width = src->shape[4];
    const eqi_motion stay = {false, 0};
    const eqi_motion motion = eqi_on_grid(group, element) ? eqi_motion_of(group, element) : stay;
    for (int64_t n = 0; n < src->shape[0]; n++)
        for (int64_t f = 0; f < src->shape[1]; f++)
            for (int64_t h = 0; h < src->shape[2]; h++) {
                const int64_t gh = src->shape[2] == 1 ? 0 : eqi_product(group, element, (int32_t)h);
                for (int64_t y = 0; y < height; y++)
                    for (int64_t x = 0; x < width; x++) {
                        const eqi_pixel q = eqi_move(motion, y, x, height, width);
                        memcpy((char *)dst->data +
                                   eqi_offset5(dst, n, f, gh, q.y, q.x) * (int64_t)size,
                               (const char *)src->data +
                                   eqi_offset5(src, n, f, h, y, x) * (int64_t)size,
                               size);
                    }
            }
}
