/*
 * Dropout field by field where a field's elements are neighbours, or over runs of fields where those
 * lie fastest.
 */
#include "internal/dropout.h"
#include "scalar.h"

enum { LANES = 64 };

typedef struct job {
    const equinv_tensor *src, *dst;
    double p;
    uint64_t seed, step;
    eqi_walk walk; /* over a field, or over the places of a sample */
} job;

#define REAL float
#define NAME(function) function##_f32
#include "cpu/kernel/dropout.inc.c"
#undef REAL
#undef NAME
#define REAL double
#define NAME(function) function##_f64
#include "cpu/kernel/dropout.inc.c"

static void one_field(void *arg, int64_t field)
{
    const job *const j = arg;
    const int64_t n = field / j->src->shape[1], f = field % j->src->shape[1];
    const int64_t rows = j->walk.count / eqi_walk_length(&j->walk);
    const bool dropped = eqi_dropped(j->p, j->seed, j->step, field);
    for (int64_t row = 0; row < rows; row++) {
        int64_t at[2];
        eqi_walk_row(&j->walk, row, at);
        at[0] += n * j->dst->strides[0] + f * j->dst->strides[1];
        at[1] += n * j->src->strides[0] + f * j->src->strides[1];
        (j->src->dtype == EQUINV_F32 ? field_f32 : field_f64)(j, at, dropped);
    }
}

static void one_sample(void *arg, int64_t n)
{
    const job *const j = arg;
    const int64_t fields = j->src->shape[1], length = eqi_walk_length(&j->walk);
    for (int64_t f0 = 0; f0 < fields; f0 += LANES) {
        const int64_t count = fields - f0 < LANES ? fields - f0 : LANES;
        int32_t dropped[LANES];
        for (int64_t i = 0; i < count; i++)
            dropped[i] = eqi_dropped(j->p, j->seed, j->step, n * fields + f0 + i);
        for (int64_t row = 0; row < j->walk.count / length; row++) {
            int64_t at[2];
            eqi_walk_row(&j->walk, row, at);
            at[0] += n * j->dst->strides[0] + f0;
            at[1] += n * j->src->strides[0] + f0;
            for (int64_t x = 0; x < length; x++) {
                (j->src->dtype == EQUINV_F32 ? lanes_f32 : lanes_f64)(j, at, dropped, count);
                at[0] += j->walk.strides[0][j->walk.axes - 1];
                at[1] += j->walk.strides[1][j->walk.axes - 1];
            }
        }
    }
}

bool eqi_fast_dropout(const equinv_context *ctx, double p, uint64_t seed, uint64_t step,
                      const equinv_tensor *src, const equinv_tensor *dst)
{
    if (equinv_tensor_count(src) == 0)
        return true;
    job j = {src, dst, p, seed, step, eqi_walk_of(2, (const equinv_tensor *const[]){dst, src}, 2)};
    const int64_t batch = src->shape[0], fields = batch * src->shape[1];
    const bool by_fields = eqi_is_unit(src, 1) && eqi_is_unit(dst, 1) && src->shape[1] > 1;
    if (!by_fields && !eqi_walk_is_unit(&j.walk))
        return false;
    eqi_parallel_over(ctx, fields * j.walk.count, by_fields ? batch : fields,
                      by_fields ? one_sample : one_field, &j);
    return true;
}
