/* Running a model: evaluation in chunks, forward in training, backward. */
#include "internal/backend.h"
#include "internal/model_step.h"

static equinv_status in_layer(const eqi_node *node, equinv_status status)
{
    if (status == EQUINV_OK)
        return EQUINV_OK;
    return eqi_fail(status, "layer \"%s\": %s", node->name, equinv_last_error());
}

/* ---- images */

/* A view that an earlier call gave must not be read while its memory changes. */
static equinv_status check_outside(const equinv_model *model, const equinv_tensor *images)
{
    const eqi_block *const blocks[] = {&model->scratch, &model->chunk, &model->output, &model->kept,
                                       &model->gradients};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) {
        const int64_t size = (int64_t)blocks[i]->size;
        equinv_tensor all;
        EQI_TRY(equinv_tensor_init(blocks[i]->data, EQUINV_U8, 1, &size, &all));
        EQI_TRY(eqi_check_disjoint(images, "images", &all, "the model's memory"));
    }
    return EQUINV_OK;
}

equinv_status eqi_model_check_images(const equinv_model *model, const equinv_tensor *images,
                                     bool anywhere, equinv_tensor *view)
{
    EQI_TRY((anywhere ? eqi_check_anywhere : eqi_check_tensor)(model->ctx, images, "images",
                                                               EQI_FLOAT | EQI_U8));
    const equinv_model_desc *const d = &model->desc;
    *view = *images;
    if (images->ndim == 3 && d->channels == 1) {
        view->ndim = 4;
        view->shape[1] = view->strides[1] = 1;
        for (int i = 2; i < 4; i++) {
            view->shape[i] = images->shape[i - 1];
            view->strides[i] = images->strides[i - 1];
        }
    }
    char has[128];
    EQI_CHECK(view->ndim == 4 && view->shape[1] == d->channels && view->shape[2] == d->height &&
                  view->shape[3] == d->width,
              SHAPE,
              "images have shape %s, expected [N, %" PRId64 ", %" PRId64 ", %" PRId64
              "] (or without the axis of one channel)",
              eqi_shape_text(images->ndim, images->shape, has, sizeof has), d->channels, d->height,
              d->width);
    return check_outside(model, images);
}

/* images * scale + shift into the input node's values. */
static equinv_status load_images(const equinv_model *model, const equinv_tensor *images,
                                 const equinv_tensor *values)
{
    equinv_tensor dst = *values; /* [N, C, 1, H, W] without the third axis */
    dst.ndim = 4;
    for (int i = 2; i < 4; i++) {
        dst.shape[i] = values->shape[i + 1];
        dst.strides[i] = values->strides[i + 1];
    }
    return equinv_tensor_convert(model->ctx, images, model->desc.scale, model->desc.shift, &dst);
}

/* ---- evaluation */

/*
 * Values of a chunk should stay in the caches of the cores at work: this much for each of several, 16 at most.
 * Measured on Zen 4 and 5 (1 MiB and 16 MiB a core) with five-layer networks of 28 x 28: one thread is fastest
 * where the chunk fits the second level, 1.03 to 1.08 times against 4 MiB. Two threads want more: with every
 * layer of a chunk they wait for each other.
 */
#define CHUNK_BYTES_ALONE (INT64_C(1) << 20)
#define CHUNK_BYTES (INT64_C(4) << 20)
#define CHUNK_THREADS 16
#define CHUNK_IMAGES 256
/*
 * On a device no cache is aimed at: every kernel of a chunk should have work for all multiprocessors many
 * times over, so that its launch hardly counts. More would only take memory.
 */
#define DEVICE_CHUNK_BYTES (INT64_C(256) << 20)
#define DEVICE_CHUNK_IMAGES 4096

/* A last, smaller chunk needs plans and packed weights of its own: a chunk that leaves none, if one is near. */
static int64_t without_rest(int64_t images, int64_t chunk)
{
    for (int64_t c = chunk; 2 * c > chunk; c--)
        if (images % c == 0)
            return c;
    return chunk;
}

static equinv_status choose_chunk(equinv_model *model, int32_t target, int64_t images,
                                  int64_t wanted, int64_t *chunk)
{
    int64_t bytes;
    *chunk = wanted;
    if (!wanted) {
        EQI_TRY(eqi_place_values(model, target, 1, false, &bytes));
        const bool device = model->ctx->backend->device != NULL;
        const int64_t threads = model->ctx->hardware.threads;
        const int64_t cached =
            threads == 1 ? CHUNK_BYTES_ALONE
                         : CHUNK_BYTES * (threads < CHUNK_THREADS ? threads : CHUNK_THREADS);
        const int64_t room = device ? DEVICE_CHUNK_BYTES : cached;
        const int64_t most = device ? DEVICE_CHUNK_IMAGES : CHUNK_IMAGES;
        *chunk = bytes > 0 && room / bytes < most ? room / bytes : most;
    }
    *chunk = *chunk > images ? images : *chunk;
    *chunk = *chunk < 1 ? 1 : *chunk;
    if (!wanted)
        *chunk = without_rest(images, *chunk);
    return EQUINV_OK;
}

equinv_status eqi_evaluation_begin(equinv_model *model, int32_t target, int64_t images,
                                   int64_t wanted, bool outside, eqi_evaluation *evaluation)
{
    eqi_evaluation e = {model, target, 0, outside};
    model->calls++;
    EQI_TRY(choose_chunk(model, target, images, wanted, &e.chunk));
    int64_t bytes;
    EQI_TRY(eqi_place_values(model, target, e.chunk, outside, &bytes));
    EQI_TRY(eqi_block_reserve(model->ctx, &model->chunk, bytes, "the values of a chunk"));
    eqi_plan_set *set;
    if (images >= e.chunk)
        EQI_TRY(eqi_model_plans(model, e.chunk, true, &set));
    if (images % e.chunk)
        EQI_TRY(eqi_model_plans(model, images % e.chunk, true, &set));
    *evaluation = e;
    return EQUINV_OK;
}

/* The weights that forward takes: packed once in a public call. */
static equinv_status pack(const equinv_model *model, eqi_plan_set *set, int32_t index,
                          equinv_tensor *packed)
{
    eqi_planned *const entry = &set->planned[index];
    const int64_t size = (int64_t)equinv_plan_packed_size(entry->plan);
    void *const room = (char *)set->packed + entry->packed;
    if (entry->packed_in != model->calls)
        EQI_TRY(equinv_conv_pack(entry->plan, &model->nodes[index]->array[EQI_WEIGHTS], room,
                                 (size_t)size));
    entry->packed_in = model->calls;
    EQI_TRY(equinv_tensor_init(room, EQUINV_U8, 1, &size, packed));
    packed->device = model->ctx->device;
    return EQUINV_OK;
}

/* What a batch norm does with each field: found once in a public call. */
static const eqi_normaliser *normalisers(const equinv_model *model, eqi_plan_set *set,
                                         int32_t index)
{
    eqi_planned *const entry = &set->planned[index];
    const eqi_node *const node = model->nodes[index];
    const equinv_tensor *const a = node->array;
    eqi_normaliser *const room = (eqi_normaliser *)((char *)set->packed + entry->packed);
    if (entry->packed_in != model->calls)
        eqi_normalisers_of(node->desc.epsilon, &a[EQI_GAMMA], &a[EQI_BETA], &a[EQI_RUNNING_MEAN],
                           &a[EQI_RUNNING_VAR], room);
    entry->packed_in = model->calls;
    return room;
}

static bool is_finished(const eqi_plan_set *set, int32_t conv)
{
    return conv && eqi_conv_finishes(set->planned[conv].plan);
}

/* What the convolution does beside: the layers that read it. NULL: nothing. */
static const eqi_conv_finish *finish_of(const equinv_model *model, eqi_plan_set *set, int32_t conv,
                                        eqi_conv_finish *finish)
{
    const eqi_slot *const s = &model->slots[conv];
    if ((!s->norm && !s->relu) || !is_finished(set, conv))
        return NULL;
    *finish = (eqi_conv_finish){
        .norm = s->norm ? normalisers(model, set, s->norm) : NULL,
        .relu = s->relu != 0,
        .slope = s->relu ? (float)model->nodes[s->relu]->desc.slope : 0,
    };
    return finish;
}

/* One layer of a chunk. */
static equinv_status run_layer(eqi_plan_set *set, int32_t index, eqi_step *s)
{
    equinv_tensor packed;
    eqi_conv_finish finish;
    if (s->plan && equinv_plan_packed_size(s->plan) > 0) {
        EQI_TRY(pack(s->model, set, index, &packed));
        s->weights = &packed;
    }
    s->finish = finish_of(s->model, set, index, &finish);
    return eqi_step_forward(s);
}

equinv_status eqi_evaluation_run(const eqi_evaluation *evaluation, const equinv_tensor *images,
                                 void *outside, equinv_tensor *values)
{
    equinv_model *const model = evaluation->model;
    const int64_t batch = images->shape[0];
    const int32_t target = evaluation->target;
    const eqi_slot *const slots = model->slots;
    eqi_plan_set *set;
    EQI_TRY(eqi_model_plans(model, batch, true, &set));
    for (int32_t i = 0; i <= target; i++) {
        if (!slots[i].used)
            continue;
        const eqi_node *const node = model->nodes[i];
        eqi_step s = {.model = model, .node = node, .plan = set->planned[i].plan};
        s.weights = &node->array[EQI_WEIGHTS];
        const int32_t readable[] = {i, node->from[0], node->from[1]};
        equinv_tensor *const maps[] = {&s.dst, &s.src[0], &s.src[1]};
        for (int k = 0; k <= node->inputs; k++) {
            const int32_t root = slots[readable[k]].root;
            const bool out = evaluation->outside && root == slots[target].root;
            void *const data = out ? outside : (char *)model->chunk.data + slots[root].offset;
            *maps[k] = eqi_model_map(model, model->nodes[readable[k]], batch, data);
        }
        if (i == 0)
            EQI_TRY(load_images(model, images, &s.dst));
        else if (!is_finished(set, slots[i].finished_by))
            EQI_TRY(in_layer(node, run_layer(set, i, &s)));
        *values = s.dst;
    }
    return EQUINV_OK;
}

static equinv_status forward_in_evaluation(equinv_model *model, const equinv_tensor *images,
                                           equinv_tensor *dst)
{
    const int32_t output = model->count - 1;
    const eqi_node *const node = model->nodes[output];
    const int64_t count = images->shape[0];
    int64_t bytes = 0;
    EQI_TRY(eqi_add_bytes(&bytes, node->count, count, model->desc.dtype));
    EQI_TRY(eqi_block_reserve(model->ctx, &model->output, bytes, "the model's output"));
    eqi_evaluation e;
    EQI_TRY(eqi_evaluation_begin(model, output, count, 0, true, &e));
    const equinv_tensor all = eqi_model_map(model, node, count, model->output.data);
    for (int64_t first = 0; first < count; first += e.chunk) {
        const int64_t rows = count - first < e.chunk ? count - first : e.chunk;
        equinv_tensor some, part, values;
        EQI_TRY(equinv_tensor_rows(images, first, rows, &some));
        EQI_TRY(equinv_tensor_rows(&all, first, rows, &part));
        EQI_TRY(eqi_evaluation_run(&e, &some, part.data, &values));
    }
    *dst = eqi_model_view(model, node, count, model->output.data);
    return EQUINV_OK;
}

/* ---- training */

/* Places of all values and of what backward needs beside them, one after the other. */
static equinv_status place_kept(equinv_model *model, const eqi_plan_set *set, int64_t batch,
                                int64_t *bytes)
{
    *bytes = 0;
    for (int32_t i = 0; i < model->count; i++) {
        eqi_node *const node = model->nodes[i];
        const equinv_plan *const plan = set->planned[i].plan;
        node->kept = *bytes;
        EQI_TRY(eqi_add_bytes(bytes, node->count, batch, model->desc.dtype));
        node->saved = *bytes;
        if (plan)
            EQI_TRY(eqi_add_bytes(bytes, (int64_t)equinv_plan_saved_size(plan), 1, EQUINV_U8));
    }
    return EQUINV_OK;
}

static equinv_tensor kept_map(const equinv_model *model, int32_t index)
{
    const eqi_node *const node = model->nodes[index];
    return eqi_model_map(model, node, model->trained_batch, (char *)model->kept.data + node->kept);
}

/* A layer with the values that training keeps. */
static eqi_step kept_step(equinv_model *model, const eqi_plan_set *set, int32_t index)
{
    const eqi_node *const node = model->nodes[index];
    const equinv_plan *const plan = set->planned[index].plan;
    eqi_step s = {.model = model, .node = node, .plan = plan, .train = true};
    s.weights = &node->array[EQI_WEIGHTS];
    s.dst = kept_map(model, index);
    for (int32_t k = 0; k < node->inputs; k++)
        s.src[k] = kept_map(model, node->from[k]);
    if (plan && equinv_plan_saved_size(plan) > 0) {
        s.saved = (char *)model->kept.data + node->saved;
        s.saved_size = equinv_plan_saved_size(plan);
    }
    return s;
}

static equinv_status forward_in_training(equinv_model *model, const equinv_tensor *images,
                                         equinv_tensor *dst)
{
    const int64_t batch = images->shape[0];
    eqi_plan_set *set;
    int64_t bytes;
    model->calls++;
    model->trained = false;
    EQI_TRY(eqi_model_plans(model, batch, false, &set));
    EQI_TRY(place_kept(model, set, batch, &bytes));
    EQI_TRY(eqi_block_reserve(model->ctx, &model->kept, bytes, "the values of a batch"));
    model->trained_batch = batch;
    model->steps++;
    const equinv_tensor input = kept_map(model, 0);
    EQI_TRY(load_images(model, images, &input));
    for (int32_t i = 1; i < model->count; i++) {
        const eqi_step s = kept_step(model, set, i);
        EQI_TRY(in_layer(s.node, eqi_step_forward(&s)));
    }
    model->trained = true;
    const eqi_node *const node = model->nodes[model->count - 1];
    *dst = eqi_model_view(model, node, batch, (char *)model->kept.data + node->kept);
    return EQUINV_OK;
}

equinv_status equinv_model_forward(equinv_model *model, bool train, const equinv_tensor *images,
                                   equinv_tensor *dst)
{
    EQI_CHECK(model, ARG, "model is NULL, expected a model");
    equinv_tensor view;
    EQI_TRY(eqi_model_check_images(model, images, false, &view));
    EQI_CHECK(dst, ARG, "dst is NULL, expected where to put the view");
    return train ? forward_in_training(model, &view, dst)
                 : forward_in_evaluation(model, &view, dst);
}

equinv_status equinv_model_activation(const equinv_model *model, const char *layer,
                                      equinv_tensor *activation)
{
    EQI_CHECK(model, ARG, "model is NULL, expected a model");
    int32_t index;
    EQI_TRY(eqi_model_find(model, layer, &index));
    EQI_CHECK(activation, ARG, "activation is NULL, expected where to put the view");
    EQI_CHECK(model->trained, ARG,
              "model keeps no activations, expected a forward with train true before");
    const eqi_node *const node = model->nodes[index];
    *activation =
        eqi_model_view(model, node, model->trained_batch, (char *)model->kept.data + node->kept);
    return EQUINV_OK;
}

/* ---- backward */

static equinv_tensor gradient_map(const equinv_model *model, int32_t index, int32_t slot)
{
    return eqi_model_map(model, model->nodes[index], model->trained_batch,
                         (char *)model->gradients.data + model->slots[slot].offset);
}

/* Parameters that the output does not depend on have gradient 0. */
static equinv_status clear_gradients(const equinv_model *model, const eqi_node *node)
{
    for (int which = 0; which < EQI_LEARNABLE; which++) {
        const equinv_tensor *const g = &node->gradient[which];
        if (g->ndim)
            EQI_TRY(eqi_device_zero(model->ctx, g->data,
                                    (size_t)equinv_tensor_count(g) * equinv_dtype_size(g->dtype)));
    }
    return EQUINV_OK;
}

/* One more reader's share: the last reader in order comes first and writes, the others add. */
static equinv_status add_gradient(const equinv_model *model, const equinv_tensor *more,
                                  const equinv_tensor *sum, bool first)
{
    if (!first)
        return equinv_add(model->ctx, sum, more, sum);
    return eqi_device_copy(model->ctx, sum->data, more->data,
                           (size_t)equinv_tensor_count(more) * equinv_dtype_size(more->dtype));
}

/* One layer backwards: gradients of its arrays, and its share of its inputs' gradients. */
static equinv_status backward_layer(equinv_model *model, const eqi_plan_set *set, int32_t index)
{
    eqi_slot *const slots = model->slots;
    eqi_step s = kept_step(model, set, index);
    s.diff_dst = gradient_map(model, index, slots[index].root);
    for (int32_t k = 0; s.node->desc.op == EQUINV_LAYER_ADD && k < 2; k++) {
        const int32_t src = s.node->from[k];
        const equinv_tensor sum = gradient_map(model, src, slots[src].root);
        if (!slots[src].used)
            continue;
        EQI_TRY(add_gradient(model, &s.diff_dst, &sum, !slots[src].written));
        slots[src].written = true;
    }
    if (s.node->desc.op == EQUINV_LAYER_ADD)
        return EQUINV_OK;
    const int32_t src = s.node->from[0];
    const bool wanted = slots[src].used, aside = !wanted || slots[src].written;
    if (wanted || s.node->desc.op == EQUINV_LAYER_BATCH_NORM)
        s.diff_src = gradient_map(model, src, aside ? model->count : slots[src].root);
    EQI_TRY(eqi_step_backward(&s));
    if (wanted && aside) {
        const equinv_tensor sum = gradient_map(model, src, slots[src].root);
        EQI_TRY(add_gradient(model, &s.diff_src, &sum, false));
    }
    slots[src].written = true;
    return EQUINV_OK;
}

equinv_status equinv_model_backward(equinv_model *model, const equinv_tensor *diff_dst)
{
    EQI_CHECK(model, ARG, "model is NULL, expected a model");
    EQI_TRY(eqi_check_tensor(model->ctx, diff_dst, "diff_dst", EQI_FLOAT));
    EQI_TRY(eqi_check_dtype(diff_dst, "diff_dst", model->desc.dtype));
    EQI_CHECK(model->trained, ARG,
              "model keeps no activations, expected a forward with train true before");
    const int32_t output = model->count - 1;
    const equinv_tensor shape =
        eqi_model_view(model, model->nodes[output], model->trained_batch, NULL);
    EQI_TRY(eqi_check_same_shape(diff_dst, "diff_dst", &shape, "dst of the forward"));
    int64_t bytes;
    eqi_plan_set *set;
    EQI_TRY(eqi_model_plans(model, model->trained_batch, false, &set));
    EQI_TRY(eqi_place_gradients(model, model->trained_batch, &bytes));
    EQI_TRY(eqi_block_reserve(model->ctx, &model->gradients, bytes, "gradients of a batch"));
    if (model->slots[output].used) {
        equinv_tensor start = gradient_map(model, output, model->slots[output].root);
        start = eqi_model_view(model, model->nodes[output], model->trained_batch, start.data);
        EQI_TRY(equinv_tensor_convert(model->ctx, diff_dst, 1, 0, &start));
    }
    for (int32_t i = output; i > 0; i--) {
        if (model->slots[i].used)
            EQI_TRY(in_layer(model->nodes[i], backward_layer(model, set, i)));
        else
            EQI_TRY(clear_gradients(model, model->nodes[i]));
    }
    return EQUINV_OK;
}
