#include <math.h>

#include "demo.h"

/* Images as trivial fields [N, 1, 1, H, W]. */
static equinv_tensor as_map(const equinv_tensor *images)
{
    equinv_tensor map = *images;
    map.ndim = 5;
    for (int i = 0; i < 2; i++) {
        map.shape[3 + i] = images->shape[1 + i];
        map.strides[3 + i] = images->strides[1 + i];
        map.shape[1 + i] = map.strides[1 + i] = 1;
    }
    return map;
}

equinv_status turn_images(equinv_context *ctx, equinv_group group, int32_t element,
                          const equinv_tensor *images, const equinv_tensor *turned)
{
    const equinv_tensor from = as_map(images), to = as_map(turned);
    return equinv_act(ctx, group, element, &from, &to);
}

void rotate_images(const equinv_tensor *images, const double *angles, const equinv_tensor *turned)
{
    const int64_t height = images->shape[1], width = images->shape[2];
    const double cy = (double)(height - 1) / 2, cx = (double)(width - 1) / 2;
    for (int64_t n = 0; n < images->shape[0]; n++) {
        const uint8_t *const from = (const uint8_t *)images->data + n * height * width;
        uint8_t *const to = (uint8_t *)turned->data + n * height * width;
        const double c = cos(angles[n]), s = sin(angles[n]);
        for (int64_t y = 0; y < height; y++)
            for (int64_t x = 0; x < width; x++) {
                /* The source of a pixel is it turned back; rows run down, so y is negated twice. */
                const double dx = (double)x - cx, dy = cy - (double)y;
                const double sx = cx + c * dx + s * dy, sy = cy - (c * dy - s * dx);
                const int64_t x0 = (int64_t)floor(sx), y0 = (int64_t)floor(sy);
                double value = 0;
                for (int corner = 0; corner < 4; corner++) {
                    const int64_t px = x0 + corner % 2, py = y0 + corner / 2;
                    if (px >= 0 && px < width && py >= 0 && py < height)
                        value += (1 - fabs(sx - (double)px)) * (1 - fabs(sy - (double)py)) *
                                 from[py * width + px];
                }
                to[y * width + x] = (uint8_t)lround(value);
            }
    }
}
