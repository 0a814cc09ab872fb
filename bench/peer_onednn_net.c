/*
 * oneDNN: a network in evaluation as a chain of convolutions and poolings. Batch norm is folded into filter
 * and bias, addition and ReLU are done by the convolution itself (post-ops), maps stay in the layouts that
 * the convolutions prefer. Every convolution is the fastest of the kernels that the peer's name allows, judged
 * alone when the chain is made. Weights are the model's; its running statistics are those of a new model.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/peer_onednn.h"

enum { MOST_STEPS = 32, MOST_MAPS = 40, MOST_TRIALS = 7, MOST_ARGUMENTS = 4 };

/* A primitive with what it runs on. */
typedef struct link {
    dnnl_primitive_t primitive;
    int count;
    dnnl_exec_arg_t argument[MOST_ARGUMENTS];
} link;

typedef struct map {
    char name[64]; /* of the layer whose output it is */
    dnnl_memory_t memory;
    dnnl_memory_desc_t md;
} map;

typedef struct chain {
    link steps[MOST_STEPS];
    int count;
    map maps[MOST_MAPS];
    int map_count;
    dnnl_memory_t own[3 * MOST_STEPS]; /* everything to be destroyed */
    int own_count;
    link last; /* the reorder to row-major latents; not timed */
    bool winograd;
} chain;

/* A convolution whose followers are being collected. */
typedef struct pending {
    bool any, add, relu;
    dense_conv d;
    char source[64], name[64], added[64];
    float *filter, *bias;
} pending;

static equinv_status new_memory(chain *c, const dnnl_memory_desc_t *md, void *data,
                                dnnl_memory_t *memory)
{
    if (c->own_count == 3 * MOST_STEPS)
        return peer_failed("oneDNN: the network has too many layers");
    TRY(dnnl_memory_create(memory, md, onednn_engine, data));
    c->own[c->own_count++] = *memory;
    return EQUINV_OK;
}

static map *map_of(chain *c, const char *name)
{
    for (int i = c->map_count - 1; i >= 0; i--)
        if (strcmp(c->maps[i].name, name) == 0)
            return &c->maps[i];
    return NULL;
}

static void set_map(chain *c, const char *name, dnnl_memory_t memory, const dnnl_memory_desc_t *md)
{
    map *const m = &c->maps[c->map_count++];
    snprintf(m->name, sizeof m->name, "%s", name);
    m->memory = memory;
    m->md = *md;
}

static equinv_status run_link(const link *l)
{
    TRY(dnnl_primitive_execute(l->primitive, onednn_stream, l->count, l->argument));
    return EQUINV_OK;
}

static equinv_status make_reorder(const dnnl_memory_desc_t *from, dnnl_memory_t source,
                                  const dnnl_memory_desc_t *to, dnnl_memory_t target, link *l)
{
    dnnl_primitive_desc_t pd;
    TRY(dnnl_reorder_primitive_desc_create(&pd, from, onednn_engine, to, onednn_engine, NULL));
    const dnnl_status_t status = dnnl_primitive_create(&l->primitive, pd);
    dnnl_primitive_desc_destroy(pd);
    TRY(status);
    l->count = 2;
    l->argument[0] = (dnnl_exec_arg_t){DNNL_ARG_FROM, source};
    l->argument[1] = (dnnl_exec_arg_t){DNNL_ARG_TO, target};
    return EQUINV_OK;
}

/* The map in a layout: itself, or a copy by a step of the chain. */
static equinv_status in_layout(chain *c, const map *m, const dnnl_memory_desc_t *md,
                               dnnl_memory_t *memory)
{
    *memory = m->memory;
    if (dnnl_memory_desc_equal(&m->md, md))
        return EQUINV_OK;
    const equinv_status status = new_memory(c, md, DNNL_MEMORY_ALLOCATE, memory);
    return status ? status : make_reorder(&m->md, m->memory, md, *memory, &c->steps[c->count++]);
}

/* ---- a convolution ---------------------------------------------------------------------------------- */

static dnnl_primitive_desc_t choose(const pending *p, const dnnl_memory_desc_t *added,
                                    dnnl_prop_kind_t prop, dnnl_alg_kind_t algorithm)
{
    const dense_conv *const d = &p->d;
    const dnnl_dims_t dims[3] = {{d->batch, d->in, d->height, d->width},
                                 {d->out, d->in, d->kernel, d->kernel},
                                 {d->batch, d->out, d->out_height, d->out_width}};
    const dnnl_dims_t strides = {d->stride, d->stride}, pads = {d->padding, d->padding};
    dnnl_memory_desc_t md[3], bias;
    dnnl_convolution_desc_t desc;
    dnnl_primitive_attr_t attributes = NULL;
    dnnl_post_ops_t after = NULL;
    dnnl_primitive_desc_t pd = NULL;
    const dnnl_dims_t outputs = {d->out};
    bool good = dnnl_memory_desc_init_by_tag(&bias, 1, outputs, dnnl_f32, dnnl_a) == dnnl_success;
    for (int i = 0; i < 3; i++)
        good = good && dnnl_memory_desc_init_by_tag(&md[i], 4, dims[i], dnnl_f32,
                                                    dnnl_format_tag_any) == dnnl_success;
    if (p->add)
        md[2] = *added; /* the sum is in place */
    good = good &&
           dnnl_convolution_forward_desc_init(&desc, prop, algorithm, &md[0], &md[1], &bias, &md[2],
                                              strides, pads, pads) == dnnl_success &&
           dnnl_primitive_attr_create(&attributes) == dnnl_success &&
           dnnl_post_ops_create(&after) == dnnl_success &&
           (!p->add || dnnl_post_ops_append_sum(after, 1) == dnnl_success) &&
           (!p->relu ||
            dnnl_post_ops_append_eltwise(after, 1, dnnl_eltwise_relu, 0, 0) == dnnl_success) &&
           dnnl_primitive_attr_set_post_ops(attributes, after) == dnnl_success;
    if (good &&
        dnnl_primitive_desc_create(&pd, &desc, attributes, onednn_engine, NULL) != dnnl_success)
        pd = NULL;
    dnnl_post_ops_destroy(after);
    dnnl_primitive_attr_destroy(attributes);
    return pd;
}

/* Puts the convolution at the end of the chain. */
static equinv_status append(chain *c, const pending *p, dnnl_primitive_desc_t pd)
{
    const dense_conv *const d = &p->d;
    const dnnl_dims_t filter_dims = {d->out, d->in, d->kernel, d->kernel}, outputs = {d->out};
    const map *const source = map_of(c, p->source), *const added = map_of(c, p->added);
    const dnnl_memory_desc_t *const src_md = dnnl_primitive_desc_query_md(pd, dnnl_query_src_md, 0),
                                    *const dst_md =
                                        dnnl_primitive_desc_query_md(pd, dnnl_query_dst_md, 0),
                                    *const filter_md =
                                        dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 0);
    dnnl_memory_desc_t plain_md, bias_md;
    dnnl_memory_t src, dst, plain, filter, bias;
    TRY(dnnl_memory_desc_init_by_tag(&plain_md, 4, filter_dims, dnnl_f32, dnnl_abcd));
    TRY(dnnl_memory_desc_init_by_tag(&bias_md, 1, outputs, dnnl_f32, dnnl_a));
    link pack = {.primitive = NULL};
    equinv_status status;
    if ((status = in_layout(c, source, src_md, &src)) ||
        (status = new_memory(c, &plain_md, p->filter, &plain)) ||
        (status = new_memory(c, filter_md, DNNL_MEMORY_ALLOCATE, &filter)) ||
        (status = new_memory(c, &bias_md, DNNL_MEMORY_ALLOCATE, &bias)) ||
        (status = make_reorder(&plain_md, plain, filter_md, filter, &pack)) ||
        (status = run_link(&pack)))
        return status;
    TRY(dnnl_stream_wait(onednn_stream));
    dnnl_primitive_destroy(pack.primitive);
    void *room;
    TRY(dnnl_memory_get_data_handle(bias, &room));
    memcpy(room, p->bias, (size_t)d->out * sizeof *p->bias);
    if (p->add)
        dst = added->memory;
    else if ((status = new_memory(c, dst_md, DNNL_MEMORY_ALLOCATE, &dst)))
        return status;
    link *const l = &c->steps[c->count++];
    TRY(dnnl_primitive_create(&l->primitive, pd));
    l->count = 4;
    l->argument[0] = (dnnl_exec_arg_t){DNNL_ARG_SRC, src};
    l->argument[1] = (dnnl_exec_arg_t){DNNL_ARG_WEIGHTS, filter};
    l->argument[2] = (dnnl_exec_arg_t){DNNL_ARG_BIAS, bias};
    l->argument[3] = (dnnl_exec_arg_t){DNNL_ARG_DST, dst};
    set_map(c, p->name, dst, dst_md);
    return EQUINV_OK;
}

/* Forgets the steps, maps and memory behind these counts. */
static void cut(chain *c, int count, int map_count, int own_count)
{
    while (c->count > count)
        dnnl_primitive_destroy(c->steps[--c->count].primitive);
    while (c->own_count > own_count)
        dnnl_memory_destroy(c->own[--c->own_count]);
    c->map_count = map_count;
}

/* Seconds of the last steps of the chain, the best of a few runs. */
static equinv_status judge(const chain *c, int first, double *seconds)
{
    *seconds = (double)INFINITY;
    for (int i = 0; i < MOST_TRIALS; i++) {
        const double start = sample_seconds();
        for (int k = first; k < c->count; k++)
            if (run_link(&c->steps[k]))
                return EQUINV_ERR_BACKEND;
        TRY(dnnl_stream_wait(onednn_stream));
        *seconds = fmin(*seconds, sample_seconds() - start);
    }
    return EQUINV_OK;
}

static equinv_status convolve(chain *c, pending *p)
{
    static const dnnl_alg_kind_t algorithms[] = {dnnl_convolution_direct, dnnl_convolution_winograd,
                                                 dnnl_convolution_auto};
    static const dnnl_prop_kind_t props[] = {dnnl_forward_training, dnnl_forward_inference};
    const map *const added = map_of(c, p->added);
    const int count = c->count, maps = c->map_count, own = c->own_count;
    dnnl_primitive_desc_t fastest = NULL;
    double best = (double)INFINITY, seconds;
    equinv_status status = EQUINV_OK;
    for (int i = 0; !status && i < (c->winograd ? 6 : 2); i++) {
        const dnnl_primitive_desc_t pd =
            choose(p, added ? &added->md : NULL, props[i % 2], algorithms[i / 2]);
        if (!pd || (status = append(c, p, pd)) || (status = judge(c, count, &seconds))) {
            dnnl_primitive_desc_destroy(pd);
            continue;
        }
        cut(c, count, maps, own);
        dnnl_primitive_desc_destroy(seconds < best ? fastest : pd);
        fastest = seconds < best ? pd : fastest;
        best = fmin(best, seconds);
    }
    if (!status)
        status =
            fastest ? append(c, p, fastest) : peer_failed("oneDNN has no kernel for %s", p->name);
    dnnl_primitive_desc_destroy(fastest);
    free(p->filter);
    free(p->bias);
    *p = (pending){.any = false};
    return status;
}

/* ---- the layers ----------------------------------------------------------------------------------- */

/* An array of a layer; NULL if it has none. */
static const equinv_tensor *array_of(problem *p, const char *layer, const char *array)
{
    const equinv_parameter *list;
    size_t count;
    char name[96];
    snprintf(name, sizeof name, "%s.%s", layer, array);
    if (equinv_model_parameters(p->model, &list, &count))
        return NULL;
    for (size_t i = 0; i < count; i++)
        if (strcmp(list[i].name, name) == 0)
            return &list[i].value;
    return NULL;
}

static equinv_status begin_conv(problem *p, const equinv_layer_desc *l, pending *next)
{
    const equinv_tensor *const weights = array_of(p, l->name, "weights");
    const equinv_tensor *const bias = array_of(p, l->name, "bias");
    int64_t src[5], dst[5];
    equinv_status status;
    if ((status = equinv_model_layer_shape(p->model, l->from[0], src)) ||
        (status = equinv_model_layer_shape(p->model, l->name, dst)))
        return status;
    const bool lift = src[2] == 1;
    bench_case c = p->what;
    c.op = lift ? &conv_lift_operation : &conv_operation;
    c.fields_in = src[1], c.fields_out = dst[1];
    c.height = src[3], c.width = src[4];
    c.kernel = l->kernel, c.stride = l->stride, c.padding = l->padding, c.dilation = l->dilation;
    *next = (pending){.any = true};
    snprintf(next->source, sizeof next->source, "%s", l->from[0]);
    snprintf(next->name, sizeof next->name, "%s", l->name);
    dense_conv *const d = &next->d;
    if ((status = dense_conv_of(&c, d)))
        return status;
    equinv_tensor psi = *weights;
    if (lift) { /* [out, in, k, k] with an axis of one element */
        psi.ndim = 5;
        memmove(psi.shape + 3, psi.shape + 2, 2 * sizeof *psi.shape);
        memmove(psi.strides + 3, psi.strides + 2, 2 * sizeof *psi.strides);
        psi.shape[2] = 1;
    }
    next->filter = peer_floats(d->out * d->in * d->kernel * d->kernel);
    next->bias = peer_floats(d->out);
    if (!next->filter || !next->bias)
        return EQUINV_ERR_NOMEM;
    for (int64_t i = 0; i < d->out; i++)
        next->bias[i] = bias ? ((const float *)bias->data)[i / d->order] : 0;
    return dense_expand(p->ctx, c.group, d, &psi, next->filter);
}

static equinv_status fold_norm(problem *p, const equinv_layer_desc *l, pending *next)
{
    const float *const gamma = array_of(p, l->name, "gamma")->data;
    const float *const beta = array_of(p, l->name, "beta")->data;
    const dense_conv *const d = &next->d;
    const int64_t row = d->in * d->kernel * d->kernel;
    for (int64_t i = 0; i < d->out; i++) {
        const float scale = (float)((double)gamma[i / d->order] / sqrt(1 + l->epsilon));
        for (int64_t k = 0; k < row; k++)
            next->filter[i * row + k] *= scale;
        next->bias[i] = next->bias[i] * scale + beta[i / d->order];
    }
    return EQUINV_OK;
}

static equinv_status append_pool(problem *p, chain *c, const equinv_layer_desc *l)
{
    const map *const source = map_of(c, l->from[0]);
    int64_t shape[5];
    equinv_status status = equinv_model_layer_shape(p->model, l->name, shape);
    if (status)
        return status;
    const dnnl_dims_t dims = {p->what.batch, shape[1] * shape[2], shape[3], shape[4]},
                      strides = {l->stride, l->stride}, kernel = {l->kernel, l->kernel},
                      pads = {l->padding, l->padding};
    dnnl_memory_desc_t any;
    dnnl_pooling_desc_t desc;
    dnnl_primitive_desc_t pd;
    TRY(dnnl_memory_desc_init_by_tag(&any, 4, dims, dnnl_f32, dnnl_format_tag_any));
    TRY(dnnl_pooling_forward_desc_init(&desc, dnnl_forward_inference, dnnl_pooling_max, &source->md,
                                       &any, strides, kernel, pads, pads));
    TRY(dnnl_primitive_desc_create(&pd, &desc, NULL, onednn_engine, NULL));
    const dnnl_memory_desc_t *const dst_md = dnnl_primitive_desc_query_md(pd, dnnl_query_dst_md, 0);
    dnnl_memory_t dst;
    link *const step = &c->steps[c->count++];
    const dnnl_status_t made = dnnl_primitive_create(&step->primitive, pd);
    if (made == dnnl_success && !(status = new_memory(c, dst_md, DNNL_MEMORY_ALLOCATE, &dst))) {
        step->count = 2;
        step->argument[0] = (dnnl_exec_arg_t){DNNL_ARG_SRC, source->memory};
        step->argument[1] = (dnnl_exec_arg_t){DNNL_ARG_DST, dst};
        set_map(c, l->name, dst, dst_md);
    }
    dnnl_primitive_desc_destroy(pd);
    TRY(made);
    return status;
}

/* What follows a convolution and is done with it: true. */
static bool follows(const equinv_layer_desc *l, pending *next)
{
    const bool second = l->op == EQUINV_LAYER_ADD;
    if (!next->any || next->relu || (second && next->add) || strcmp(l->from[0], next->name) != 0)
        return false;
    if (l->op != EQUINV_LAYER_BATCH_NORM && l->op != EQUINV_LAYER_RELU && !second)
        return false;
    if (second)
        snprintf(next->added, sizeof next->added, "%s", l->from[1]);
    next->add = next->add || second;
    next->relu = l->op == EQUINV_LAYER_RELU;
    snprintf(next->name, sizeof next->name, "%s", l->name);
    return true;
}

static equinv_status build(problem *p, chain *c)
{
    const bench_case *const k = &p->what;
    const dnnl_dims_t dims = {k->batch, k->fields_in, k->height, k->width};
    dnnl_memory_desc_t md;
    dnnl_memory_t images;
    pending next = {.any = false};
    int64_t layers;
    TRY(dnnl_memory_desc_init_by_tag(&md, 4, dims, dnnl_f32, dnnl_abcd));
    equinv_status status = new_memory(c, &md, p->input[0].data, &images);
    if (!status)
        status = equinv_model_layer_count(p->model, &layers);
    set_map(c, "input", images, &md);
    for (int64_t i = 0; !status && i < layers; i++) {
        equinv_layer_desc l = EQUINV_LAYER_DESC_INIT;
        if ((status = equinv_model_layer(p->model, i, &l)))
            break;
        if (follows(&l, &next)) {
            status = l.op == EQUINV_LAYER_BATCH_NORM ? fold_norm(p, &l, &next) : EQUINV_OK;
            continue;
        }
        if (next.any)
            status = convolve(c, &next);
        if (!status && l.op == EQUINV_LAYER_CONV)
            status = begin_conv(p, &l, &next);
        else if (!status && l.op == EQUINV_LAYER_POOL)
            status = append_pool(p, c, &l);
        else if (!status)
            status = peer_failed("oneDNN: layer \"%s\" is none of this chain", l.name);
    }
    if (!status && next.any)
        status = convolve(c, &next);
    free(next.filter);
    free(next.bias);
    return status;
}

/* ---- the runner ----------------------------------------------------------------------------------- */

static void destroy(problem *p)
{
    chain *const c = p->own;
    cut(c, 0, 0, 0);
    dnnl_primitive_destroy(c->last.primitive);
    free(c);
    p->own = NULL;
}

static equinv_status create(problem *p, bool winograd)
{
    equinv_status status = p->what.op->runner.create(p);
    if (status || (status = onednn_start()))
        return status;
    chain *const c = p->own = calloc(1, sizeof *c);
    if (!c)
        return EQUINV_ERR_NOMEM;
    c->winograd = winograd;
    if ((status = build(p, c)))
        return status;
    const equinv_tensor *const y = &p->output[0];
    const dnnl_dims_t dims = {y->shape[0], y->shape[1] * y->shape[2], y->shape[3], y->shape[4]};
    const map *const result = &c->maps[c->map_count - 1];
    dnnl_memory_desc_t md;
    dnnl_memory_t plain;
    TRY(dnnl_memory_desc_init_by_tag(&md, 4, dims, dnnl_f32, dnnl_abcd));
    status = new_memory(c, &md, y->data, &plain);
    return status ? status : make_reorder(&result->md, result->memory, &md, plain, &c->last);
}

static equinv_status create_direct(problem *p)
{
    return create(p, false);
}

static equinv_status create_auto(problem *p)
{
    return create(p, true);
}

static equinv_status run(problem *p)
{
    const chain *const c = p->own;
    equinv_status status = EQUINV_OK;
    for (int i = 0; !status && i < c->count; i++)
        status = run_link(&c->steps[i]);
    TRY(dnnl_stream_wait(onednn_stream));
    return status;
}

static equinv_status finish(problem *p)
{
    const equinv_status status = run_link(&((const chain *)p->own)->last);
    TRY(dnnl_stream_wait(onednn_stream));
    return status;
}

#define RUNNER(name, create)                                                                       \
    const bench_runner *name(const bench_case *c)                                                  \
    {                                                                                              \
        static const bench_runner runner = {create, run, destroy, NULL, finish, false, NULL};      \
        return c->op == &extract_operation && c->dtype == EQUINV_F32 ? &runner : NULL;             \
    }

RUNNER(onednn_net_direct, create_direct)
RUNNER(onednn_net_auto, create_auto)
