/* What a model needs to run: plans for a batch size, and places in memory for values. */
#include "internal/model.h"

#include <string.h>

#include "internal/backend.h"
#include "internal/conv.h"

/* ---- plans */

static equinv_status plan_conv(const equinv_model *model, const eqi_node *node, int64_t batch,
                               equinv_plan **plan)
{
    const equinv_conv_desc d = eqi_model_conv_desc(model, node, batch);
    return equinv_conv_plan_create(model->ctx, &d, plan);
}

static equinv_status plan_batch_norm(const equinv_model *model, const eqi_node *node, int64_t batch,
                                     equinv_plan **plan)
{
    const equinv_batch_norm_desc d = eqi_model_batch_norm_desc(model, node, batch);
    return equinv_batch_norm_plan_create(model->ctx, &d, plan);
}

static equinv_status plan_pool(const equinv_model *model, const eqi_node *node, int64_t batch,
                               equinv_plan **plan)
{
    const equinv_pool_desc d = eqi_model_pool_desc(model, node, batch);
    return equinv_pool_plan_create(model->ctx, &d, plan);
}

static equinv_status plan_upsample(const equinv_model *model, const eqi_node *node, int64_t batch,
                                   equinv_plan **plan)
{
    const equinv_upsample_desc d = eqi_model_upsample_desc(model, node, batch);
    return equinv_upsample_plan_create(model->ctx, &d, plan);
}

static equinv_status plan_dense(const equinv_model *model, const eqi_node *node, int64_t batch,
                                equinv_plan **plan)
{
    const equinv_dense_desc d = eqi_model_dense_desc(model, node, batch);
    return equinv_dense_plan_create(model->ctx, &d, plan);
}

/* NULL: the operation has no plan. */
static equinv_status (*const planners[])(const equinv_model *, const eqi_node *, int64_t,
                                         equinv_plan **) = {
    [EQUINV_LAYER_CONV] = plan_conv,
    [EQUINV_LAYER_CONV_PLANE] = plan_conv,
    [EQUINV_LAYER_BATCH_NORM] = plan_batch_norm,
    [EQUINV_LAYER_POOL] = plan_pool,
    [EQUINV_LAYER_DENSE] = plan_dense,
    [EQUINV_LAYER_CONV_TRANSPOSED] = plan_conv,
    [EQUINV_LAYER_CONV_PLANE_TRANSPOSED] = plan_conv,
    [EQUINV_LAYER_UPSAMPLE] = plan_upsample,
};

static void release_set(const equinv_context *ctx, eqi_plan_set *set)
{
    for (int32_t i = 0; i < set->nodes; i++)
        equinv_plan_destroy(set->planned[i].plan);
    eqi_free(ctx, set->planned, (size_t)set->nodes * sizeof *set->planned);
    eqi_device_free(ctx, set->packed, set->packed_size);
    memset(set, 0, sizeof *set);
}

void eqi_model_drop_plans(equinv_model *model)
{
    for (int i = 0; i < EQI_PLAN_SETS; i++)
        release_set(model->ctx, &model->sets[i]);
}

static size_t aligned(size_t size)
{
    return (size + EQI_ALIGNMENT_MOST - 1) / EQI_ALIGNMENT_MOST * EQI_ALIGNMENT_MOST;
}

static equinv_status fill_set(const equinv_model *model, int64_t batch, eqi_plan_set *set)
{
    const equinv_context *const ctx = model->ctx;
    void *memory;
    EQI_TRY(eqi_alloc_zeroed(ctx, model->count, sizeof *set->planned, "a list of plans", &memory));
    set->planned = memory;
    set->nodes = model->count;
    set->batch = batch;
    for (int32_t i = 1; i < model->count; i++) {
        const eqi_node *const node = model->nodes[i];
        eqi_planned *const entry = &set->planned[i];
        entry->packed = -1;
        if (!planners[node->desc.op])
            continue;
        const equinv_status status = planners[node->desc.op](model, node, batch, &entry->plan);
        if (status != EQUINV_OK)
            return eqi_fail(status, "layer \"%s\": %s", node->name, equinv_last_error());
        size_t packed = equinv_plan_packed_size(entry->plan);
        if (node->desc.op == EQUINV_LAYER_BATCH_NORM && !ctx->backend->device)
            packed = (size_t)node->shape[1] * sizeof(eqi_normaliser);
        const size_t scratch = equinv_plan_scratch_size(entry->plan);
        set->scratch_size = scratch > set->scratch_size ? scratch : set->scratch_size;
        if (packed > 0) {
            entry->packed = (int64_t)set->packed_size;
            set->packed_size += aligned(packed);
        }
    }
    return EQUINV_OK;
}

equinv_status eqi_model_plans(equinv_model *model, int64_t batch, bool packs, eqi_plan_set **set)
{
    eqi_plan_set *oldest = &model->sets[0], *found = NULL;
    for (int i = 0; i < EQI_PLAN_SETS; i++) {
        eqi_plan_set *const s = &model->sets[i];
        if (s->planned && s->batch == batch)
            found = s;
        if (s->used < oldest->used)
            oldest = s;
    }
    if (!found) {
        release_set(model->ctx, oldest);
        const equinv_status status = fill_set(model, batch, oldest);
        if (status != EQUINV_OK) {
            release_set(model->ctx, oldest);
            return status;
        }
        found = oldest;
    }
    EQI_TRY(eqi_block_reserve(model->ctx, &model->scratch, (int64_t)found->scratch_size,
                              "the model's scratch"));
    if (packs && !found->packed && found->packed_size > 0)
        EQI_TRY(eqi_device_alloc_zeroed(model->ctx, 1, found->packed_size, "packed weights",
                                        &found->packed));
    found->used = model->calls;
    *set = found;
    return EQUINV_OK;
}

/* ---- blocks */

equinv_status eqi_block_reserve(const equinv_context *ctx, eqi_block *block, int64_t size,
                                const char *what)
{
    if ((size_t)size <= block->size)
        return EQUINV_OK;
    eqi_block_release(ctx, block);
    block->data = eqi_device_alloc(ctx, (size_t)size);
    EQI_CHECK(block->data, NOMEM, "out of memory: %s needs %" PRId64 " bytes", what, size);
    block->size = (size_t)size;
    return EQUINV_OK;
}

void eqi_block_release(const equinv_context *ctx, eqi_block *block)
{
    eqi_device_free(ctx, block->data, block->size);
    *block = (eqi_block){NULL, 0};
}

equinv_status eqi_add_bytes(int64_t *total, int64_t count, int64_t batch, equinv_dtype dtype)
{
    int64_t bytes = (int64_t)equinv_dtype_size(dtype);
    EQI_CHECK(
        !__builtin_mul_overflow(bytes, count, &bytes) &&
            !__builtin_mul_overflow(bytes, batch, &bytes) &&
            !__builtin_add_overflow(bytes, EQI_ALIGNMENT_MOST - 1, &bytes) &&
            !__builtin_add_overflow(*total, bytes / EQI_ALIGNMENT_MOST * EQI_ALIGNMENT_MOST, total),
        NOMEM, "%" PRId64 " samples of %" PRId64 " elements need more memory than there can be",
        batch, count);
    return EQUINV_OK;
}

/* ---- places */

static bool at_the_same_time(const eqi_slot *a, const eqi_slot *b)
{
    return a->first <= b->last && b->first <= a->last;
}

/* The end of a block at [offset, offset + bytes) that is in the way of slot s; -1: none is. */
static int64_t obstacle(const eqi_slot *slots, int32_t placed, const eqi_slot *s, int64_t offset)
{
    for (int32_t i = 0; i < placed; i++) {
        const eqi_slot *const o = &slots[i];
        if (o->used && o->root == i && o->bytes > 0 && at_the_same_time(o, s) &&
            offset < o->offset + o->bytes && o->offset < offset + s->bytes)
            return o->offset + o->bytes;
    }
    return -1;
}

/* First fit: every root at the lowest place that is free while it lives. */
static equinv_status place(eqi_slot *slots, int32_t count, int64_t *bytes)
{
    *bytes = 0;
    for (int32_t i = 0; i < count; i++) {
        eqi_slot *const s = &slots[i];
        if (!s->used || s->root != i)
            continue;
        s->offset = 0;
        for (int64_t end; (end = obstacle(slots, i, s, s->offset)) >= 0;)
            s->offset = end;
        int64_t end;
        EQI_CHECK(!__builtin_add_overflow(s->offset, s->bytes, &end), NOMEM,
                  "the values of a batch need more memory than there can be");
        *bytes = end > *bytes ? end : *bytes;
    }
    return EQUINV_OK;
}

/* What the target depends on, and who reads what; steps are the numbers of nodes. */
static void find_readers(const equinv_model *model, int32_t target)
{
    eqi_slot *const slots = model->slots;
    memset(slots, 0, (size_t)(model->count + 1) * sizeof *slots);
    slots[target].used = true;
    for (int32_t i = target; i > 0; i--) {
        const eqi_node *const node = model->nodes[i];
        for (int32_t k = 0; slots[i].used && k < node->inputs; k++) {
            eqi_slot *const s = &slots[node->from[k]];
            s->used = true;
            s->readers++;
            s->last_read = s->last_read > i ? s->last_read : i;
        }
    }
    slots[target].last_read = model->count;
}

static bool works_in_place(equinv_layer_op op)
{
    return op == EQUINV_LAYER_BATCH_NORM || op == EQUINV_LAYER_RELU || op == EQUINV_LAYER_DROPOUT ||
           op == EQUINV_LAYER_ADD;
}

/* The one layer that reads a node, if it is such an operation; else 0. */
static int32_t only_reader(const equinv_model *model, int32_t index, equinv_layer_op op)
{
    const eqi_slot *const s = &model->slots[index];
    const bool one = s->used && s->readers == 1;
    return one && model->nodes[s->last_read]->desc.op == op ? s->last_read : 0;
}

/* Batch norm and ReLU behind a convolution, where nobody else wants what they read. */
static void find_finished(const equinv_model *model, int32_t conv)
{
    const equinv_layer_op op = model->nodes[conv]->desc.op;
    if (op != EQUINV_LAYER_CONV && op != EQUINV_LAYER_CONV_PLANE)
        return;
    eqi_slot *const slots = model->slots, *const s = &slots[conv];
    s->norm = only_reader(model, conv, EQUINV_LAYER_BATCH_NORM);
    s->relu = only_reader(model, s->norm ? s->norm : conv, EQUINV_LAYER_RELU);
    if (s->norm)
        slots[s->norm].finished_by = conv;
    if (s->relu)
        slots[s->relu].finished_by = conv;
}

equinv_status eqi_place_values(equinv_model *model, int32_t target, int64_t batch, bool outside,
                               int64_t *bytes)
{
    eqi_slot *const slots = model->slots;
    find_readers(model, target);
    for (int32_t i = 0; i <= target; i++) {
        const eqi_node *const node = model->nodes[i];
        eqi_slot *const s = &slots[i];
        if (!s->used)
            continue;
        s->root = s->first = i;
        s->last = s->last_read;
        find_finished(model, i);
        EQI_TRY(eqi_add_bytes(&s->bytes, node->count, batch, model->desc.dtype));
        for (int32_t k = 0; s->root == i && works_in_place(node->desc.op) && k < node->inputs;
             k++) {
            /* Dropout is the identity here; the others need an input that nobody reads later. */
            eqi_slot *const r = &slots[slots[node->from[k]].root];
            if (node->desc.op == EQUINV_LAYER_DROPOUT || r->last == i) {
                s->root = (int32_t)(r - slots);
                r->last = r->last > s->last_read ? r->last : s->last_read;
            }
        }
    }
    if (outside)
        slots[slots[target].root].bytes = 0;
    return place(slots, target + 1, bytes);
}

equinv_status eqi_place_gradients(equinv_model *model, int64_t batch, int64_t *bytes)
{
    eqi_slot *const slots = model->slots;
    const int32_t output = model->count - 1;
    find_readers(model, output);
    eqi_slot *const temporary = &slots[model->count];
    *temporary = (eqi_slot){.used = true, .root = model->count, .first = 0, .last = model->count};
    for (int32_t i = output; i >= 0; i--) {
        const eqi_node *const node = model->nodes[i];
        eqi_slot *const s = &slots[i];
        /* Gradients run backwards: written when the last reader is done, read by the layer itself. */
        s->used = s->used && node->learns;
        s->root = i;
        s->first = i;
        s->last = s->last_read;
        if (!s->used)
            continue;
        EQI_TRY(eqi_add_bytes(&s->bytes, node->count, batch, model->desc.dtype));
        /* Relu and dropout work in place: theirs is done with when this one begins. */
        const equinv_layer_op op = i < output ? model->nodes[s->last_read]->desc.op : 0;
        if (op == EQUINV_LAYER_RELU || op == EQUINV_LAYER_DROPOUT) {
            s->root = slots[s->last_read].root;
            slots[s->root].first = i;
        }
    }
    for (int32_t i = 1; i <= output; i++) {
        /* Gradients that are added to others, and a batch norm's that nobody asks for. */
        const eqi_node *const node = model->nodes[i];
        for (int32_t k = 0; slots[i].used && k < node->inputs; k++) {
            const eqi_node *const src = model->nodes[node->from[k]];
            const bool unwanted = node->desc.op == EQUINV_LAYER_BATCH_NORM && !src->learns;
            int64_t needed = 0;
            if (unwanted || slots[node->from[k]].readers > 1)
                EQI_TRY(eqi_add_bytes(&needed, src->count, batch, model->desc.dtype));
            temporary->bytes = needed > temporary->bytes ? needed : temporary->bytes;
        }
    }
    return place(slots, model->count + 1, bytes);
}
