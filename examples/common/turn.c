#include <math.h>
#include <string.h>

#include "common.h"

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

equinv_status turn_images(equinv_context *cpu, int32_t quarters, const equinv_tensor *images,
                          const equinv_tensor *turned)
{
    const equinv_tensor from = as_map(images), to = as_map(turned);
    return equinv_act(cpu, equinv_cyclic(TURNS), quarters, &from, &to);
}

void rotate_image(const uint8_t *image, int64_t size, double angle, uint8_t *turned)
{
    const double centre = (double)(size - 1) / 2, c = cos(angle), s = sin(angle);
    for (int64_t y = 0; y < size; y++)
        for (int64_t x = 0; x < size; x++) {
            /* The source of a pixel is it turned back; rows run down, so y is negated twice. */
            const double dx = (double)x - centre, dy = centre - (double)y;
            const double sx = centre + c * dx + s * dy, sy = centre - (c * dy - s * dx);
            const int64_t x0 = (int64_t)floor(sx), y0 = (int64_t)floor(sy);
            double value = 0;
            for (int corner = 0; corner < 4; corner++) {
                const int64_t px = x0 + corner % 2, py = y0 + corner / 2;
                if (px >= 0 && px < size && py >= 0 && py < size)
                    value += (1 - fabs(sx - (double)px)) * (1 - fabs(sy - (double)py)) *
                             image[py * size + px];
            }
            turned[y * size + x] = (uint8_t)lround(value);
        }
}

random_turn random_turn_of(uint64_t seed, random_stream stream, int64_t epoch, int64_t image)
{
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    const uint32_t counter[4] = {(uint32_t)image, (uint32_t)epoch, 0, (uint32_t)stream};
    uint32_t word[4];
    equinv_philox(counter, key, word);
    return (random_turn){(int32_t)(word[0] >> 30),
                         6.28318530717958647693 * (double)word[1] * 0x1p-32};
}

/* ---- sets ----------------------------------------------------------------------------------- */

equinv_status make_sets(equinv_context *cpu, const digits *d, uint64_t seed, digit_sets *images)
{
    const equinv_tensor *const upright = &d->test.images;
    equinv_tensor *const queries = images->queries;
    equinv_status status;
    memset(images, 0, sizeof *images);
    images->gallery_labels = &d->train.labels;
    images->query_labels = &d->test.labels;
    TRY(equinv_tensor_create(cpu, EQUINV_U8, 3, d->train.images.shape, &images->gallery));
    TRY(equinv_tensor_copy(cpu, &d->train.images, &images->gallery));
    for (query_set q = UPRIGHT; q < QUERY_SETS; q++)
        TRY(equinv_tensor_create(cpu, EQUINV_U8, 3, upright->shape, &queries[q]));
    TRY(equinv_tensor_copy(cpu, upright, &queries[UPRIGHT]));
    images->turned[0] = queries[UPRIGHT];
    for (int32_t g = 1; g < TURNS; g++) {
        TRY(equinv_tensor_create(cpu, EQUINV_U8, 3, upright->shape, &images->turned[g]));
        TRY(turn_images(cpu, g, upright, &images->turned[g]));
    }
    for (int64_t n = 0; n < upright->shape[0]; n++) {
        const random_turn by = random_turn_of(seed, STREAM_QUERIES, 0, n);
        equinv_tensor from, turned, any;
        TRY(equinv_tensor_rows(upright, n, 1, &from));
        TRY(equinv_tensor_rows(&queries[QUARTER_TURNS], n, 1, &turned));
        TRY(equinv_tensor_rows(&queries[ANY_ANGLE], n, 1, &any));
        TRY(turn_images(cpu, by.quarters, &from, &turned));
        rotate_image(from.data, upright->shape[1], by.angle, any.data);
    }
done:
    return status;
}

equinv_status map_sets(set_map map, const void *how, const digit_sets *from, digit_sets *to)
{
    equinv_status status;
    memset(to, 0, sizeof *to);
    to->gallery_labels = from->gallery_labels;
    to->query_labels = from->query_labels;
    TRY(map(how, &from->gallery, &to->gallery));
    for (query_set q = UPRIGHT; q < QUERY_SETS; q++)
        TRY(map(how, &from->queries[q], &to->queries[q]));
    to->turned[0] = to->queries[UPRIGHT];
    for (int g = 1; g < TURNS; g++)
        TRY(map(how, &from->turned[g], &to->turned[g]));
done:
    return status;
}

void sets_free(equinv_context *cpu, digit_sets *sets)
{
    equinv_tensor_destroy(cpu, &sets->gallery);
    for (query_set q = UPRIGHT; q < QUERY_SETS; q++)
        equinv_tensor_destroy(cpu, &sets->queries[q]);
    for (int g = 1; g < TURNS; g++)
        equinv_tensor_destroy(cpu, &sets->turned[g]);
    memset(sets, 0, sizeof *sets);
}

int64_t sets_count(const digit_sets *sets)
{
    return sets->gallery.shape[0] + (QUERY_SETS + TURNS - 1) * sets->queries[UPRIGHT].shape[0];
}
