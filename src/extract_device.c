/*
 * Extraction on a device. Two slots take the chunks in turn: while the device computes one chunk, the
 * next one's images are on their way in, and the codes of the one before on their way out. CPU memory
 * that takes part is pinned, so that no copy holds up the calling thread.
 *
 * A slot gets its next chunk when the calling thread has waited for all of the one before, so lanes wait
 * for each other only within a chunk.
 */
#include "internal/backend.h"
#include "internal/extract.h"

#include <string.h>

enum { SLOTS = 2 };

/*
 * Marks, one for each slot. Each is made in one lane alone, so that a call in another thread, which
 * shares the context's marks, can only move it to a later place in the same lane.
 */
enum { ARRIVED = 0, COMPUTED = SLOTS, LEFT = 2 * SLOTS };

typedef struct slot {
    equinv_tensor images_here, images; /* in pinned memory and on the device; unused: data NULL */
    equinv_tensor codes, codes_here;
    int64_t first, rows; /* the chunk that is in it */
} slot;

typedef struct pipeline {
    const eqi_extraction *x;
    const eqi_extraction_ends *ends;
    equinv_context *ctx;
    const eqi_device_functions *device;
    slot slots[SLOTS];
} pipeline;

static bool is_here(const equinv_tensor *tensor)
{
    return tensor->device.kind == EQUINV_DEVICE_CPU;
}

/* Rows of a chunk in pinned memory and on the device. */
static equinv_status create_pair(equinv_context *ctx, int64_t rows, const equinv_tensor *like,
                                 equinv_tensor *here, equinv_tensor *there)
{
    int64_t shape[EQUINV_MAX_DIMS];
    memcpy(shape, like->shape, sizeof shape);
    shape[0] = rows;
    EQI_TRY(equinv_tensor_create_pinned(ctx, like->dtype, like->ndim, shape, here));
    return equinv_tensor_create(ctx, like->dtype, like->ndim, shape, there);
}

static equinv_status create_slots(pipeline *p)
{
    const int64_t chunk = p->x->evaluation.chunk;
    for (int i = 0; i < SLOTS && i * chunk < p->x->images; i++) {
        slot *const s = &p->slots[i];
        if (is_here(&p->ends->images))
            EQI_TRY(create_pair(p->ctx, chunk, &p->ends->images, &s->images_here, &s->images));
        if (is_here(&p->ends->codes))
            EQI_TRY(create_pair(p->ctx, chunk, &p->ends->codes, &s->codes_here, &s->codes));
    }
    /* The new memory is being zeroed; copies in must come after that. */
    EQI_TRY(p->device->record(p->ctx, COMPUTED, EQI_LANE_COMPUTE));
    return p->device->wait(p->ctx, EQI_LANE_IN, COMPUTED);
}

static void destroy_slots(pipeline *p)
{
    for (int i = 0; i < SLOTS; i++) {
        slot *const s = &p->slots[i];
        equinv_tensor_destroy(p->ctx, &s->images_here);
        equinv_tensor_destroy(p->ctx, &s->images);
        equinv_tensor_destroy(p->ctx, &s->codes);
        equinv_tensor_destroy(p->ctx, &s->codes_here);
    }
}

/* Between rows of the caller's CPU memory, of any strides, and pinned ones. */
static equinv_status copy_here(const equinv_context *ctx, const equinv_tensor *src,
                               const equinv_tensor *dst)
{
    if (!eqi_is_contiguous(src) || !eqi_is_contiguous(dst))
        return eqi_cpu_backend.convert(ctx, src, 1, 0, dst);
    memcpy(dst->data, src->data, (size_t)equinv_tensor_count(src) * equinv_dtype_size(src->dtype));
    return EQUINV_OK;
}

static equinv_status enqueue_copy(const pipeline *p, eqi_lane lane, const equinv_tensor *src,
                                  const equinv_tensor *dst)
{
    return p->device->copy(p->ctx, lane, dst->data, src->data,
                           (size_t)equinv_tensor_count(src) * equinv_dtype_size(src->dtype));
}

/* The slot's images to the device; *images are the ones to compute with. */
static equinv_status send_images(const pipeline *p, int i, equinv_tensor *images)
{
    const slot *const s = &p->slots[i];
    const eqi_extraction_ends *const ends = p->ends;
    equinv_tensor here, from;
    int64_t count;
    if (!s->images.data)
        return equinv_tensor_rows(&ends->images, s->first, s->rows, images);
    EQI_TRY(equinv_tensor_rows(&s->images_here, 0, s->rows, &here));
    EQI_TRY(equinv_tensor_rows(&s->images, 0, s->rows, images));
    if (ends->reader) {
        EQI_TRY(equinv_reader_read(ends->reader, &here, &count));
    } else {
        EQI_TRY(equinv_tensor_rows(&ends->images, s->first, s->rows, &from));
        EQI_TRY(copy_here(p->ctx, &from, &here));
    }
    EQI_TRY(enqueue_copy(p, EQI_LANE_IN, &here, images));
    EQI_TRY(p->device->record(p->ctx, ARRIVED + i, EQI_LANE_IN));
    return p->device->wait(p->ctx, EQI_LANE_COMPUTE, ARRIVED + i);
}

/* The slot's codes on their way from the device. */
static equinv_status send_codes(const pipeline *p, int i, const equinv_tensor *codes)
{
    const slot *const s = &p->slots[i];
    equinv_tensor here;
    if (!s->codes.data)
        return EQUINV_OK;
    EQI_TRY(equinv_tensor_rows(&s->codes_here, 0, s->rows, &here));
    EQI_TRY(p->device->wait(p->ctx, EQI_LANE_OUT, COMPUTED + i));
    EQI_TRY(enqueue_copy(p, EQI_LANE_OUT, codes, &here));
    return p->device->record(p->ctx, LEFT + i, EQI_LANE_OUT);
}

/* Everything that the device does for a chunk. */
static equinv_status start_chunk(const pipeline *p, int i)
{
    const slot *const s = &p->slots[i];
    equinv_tensor images, view, codes;
    EQI_TRY(send_images(p, i, &images));
    EQI_TRY(eqi_model_check_images(p->x->model, &images, false, &view));
    EQI_TRY(s->codes.data ? equinv_tensor_rows(&s->codes, 0, s->rows, &codes)
                          : equinv_tensor_rows(&p->ends->codes, s->first, s->rows, &codes));
    EQI_TRY(eqi_extraction_run(p->x, &view, &codes));
    EQI_TRY(p->device->record(p->ctx, COMPUTED + i, EQI_LANE_COMPUTE));
    return send_codes(p, i, &codes);
}

/* Waits for a chunk and hands its codes over. */
static equinv_status finish_chunk(const pipeline *p, int i)
{
    const slot *const s = &p->slots[i];
    equinv_tensor here, to;
    EQI_TRY(p->device->wait_here(p->ctx, s->codes.data ? LEFT + i : COMPUTED + i));
    if (s->codes.data) {
        EQI_TRY(equinv_tensor_rows(&s->codes_here, 0, s->rows, &here));
        if (p->ends->writer) {
            EQI_TRY(equinv_writer_write(p->ends->writer, &here));
        } else {
            EQI_TRY(equinv_tensor_rows(&p->ends->codes, s->first, s->rows, &to));
            EQI_TRY(copy_here(p->ctx, &here, &to));
        }
    }
    return eqi_extraction_tell(p->x, s->first + s->rows);
}

static equinv_status run_chunks(pipeline *p)
{
    const int64_t images = p->x->images, chunk = p->x->evaluation.chunk;
    int i = 0;
    for (int64_t first = 0; first < images; first += chunk, i = 1 - i) {
        p->slots[i].first = first;
        p->slots[i].rows = images - first < chunk ? images - first : chunk;
        EQI_TRY(start_chunk(p, i));
        if (first > 0)
            EQI_TRY(finish_chunk(p, 1 - i));
    }
    return images > 0 ? finish_chunk(p, 1 - i) : EQUINV_OK;
}

equinv_status eqi_extract_on_device(const eqi_extraction *x, const eqi_extraction_ends *ends)
{
    equinv_context *const ctx = x->model->ctx;
    pipeline p = {.x = x, .ends = ends, .ctx = ctx, .device = ctx->backend->device};
    equinv_status status = create_slots(&p);
    if (status == EQUINV_OK)
        status = run_chunks(&p);
    char why[512];
    eqi_format(why, sizeof why, "%s", equinv_last_error());
    /* What is under way still uses the slots' memory and the caller's. */
    const equinv_status waited = equinv_context_synchronize(ctx);
    destroy_slots(&p);
    if (status != EQUINV_OK && waited != EQUINV_OK)
        return eqi_fail(status, "%s", why); /* the first failure, not what followed */
    return status != EQUINV_OK ? status : waited;
}
