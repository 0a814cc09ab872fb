/* Convolution by products: the filter as the matrix that patches are multiplied by. */
#include <string.h>

#include "conv.h"
#include "conv_tile.h"

/* What one tap of a class, its number `tap` there, is for all pairs of fields. */
static void fill_tap(const eqi_conv_problem *p, const eqi_conv_side *s, const equinv_tensor *psi,
                     int64_t group, const eqi_conv_class *c, int64_t tap, eqi_pixel t, void *bank)
{
    const int64_t taps = c->taps_y * c->taps_x;
    const int64_t read_step = s->elements * taps * s->pitch;
    const int64_t fields = s->group_outputs / s->output_elements;
    for (int64_t read = 0; read < s->elements; read++)
        for (int64_t written = 0; written < s->output_elements; written++) {
            const int32_t g = (int32_t)(s->backward ? read : written);
            const int32_t h = (int32_t)(s->backward ? written : read);
            const int64_t row = group * s->patch + c->tap + read * taps + tap;
            const eqi_conv_spread spread = {
                .first = group * p->out_per_group,
                .out = p->out_per_group,
                .in = p->in_per_group,
                .at = eqi_conv_place_of(p, g, h, t.y, t.x),
                .to = row * s->pitch + written * fields,
                .o_step = s->backward ? read_step : 1,
                .i_step = s->backward ? 1 : read_step,
            };
            eqi_conv_expand(psi, &spread, bank);
        }
}

void eqi_conv_fill_bank(const eqi_conv_problem *p, const eqi_conv_side *s, const equinv_tensor *psi,
                        void *bank)
{
    const equinv_conv_desc *const d = &p->desc;
    if (s->pitch > s->group_outputs)
        memset(bank, 0,
               (size_t)(d->channel_groups * s->patch * s->pitch) * equinv_dtype_size(d->dtype));
    for (int64_t group = 0; group < d->channel_groups; group++)
        for (eqi_conv_class c = eqi_conv_before_first; eqi_conv_next_class(s, d, &c);) {
            int64_t tap = 0;
            for (int64_t ty = 0; ty < d->kernel; ty++)
                for (int64_t tx = 0; tx < d->kernel; tx++)
                    if (eqi_conv_class_has_tap(s, d, c.dy, ty) &&
                        eqi_conv_class_has_tap(s, d, c.dx, tx))
                        fill_tap(p, s, psi, group, &c, tap++, (eqi_pixel){ty, tx}, bank);
        }
}
