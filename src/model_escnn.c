/* Parameters from escnn checkpoints in evaluation form: expanded filters, of which one row is psi. */
#include "internal/backend.h"
#include "internal/model.h"
#include "internal/pool.h"

#include <math.h>

/* escnn samples its bases in fp32: its filters are symmetric to about 1e-6. */
#define SYMMETRY 1e-5

typedef struct loader {
    equinv_model *model;
    eqi_safetensors *file;
    /* All arrays of the model in order, in CPU memory: the model changes when all are good. */
    char *staged;
    int64_t used, size;
} loader;

/* The next array of the model, in staged memory. */
static equinv_tensor next_staged(loader *l, const equinv_tensor *array)
{
    equinv_tensor t = *array;
    t.data = l->staged + l->used;
    t.device = (equinv_device){EQUINV_DEVICE_CPU, 0};
    l->used += equinv_tensor_count(array) * (int64_t)equinv_dtype_size(array->dtype);
    return t;
}

static equinv_status find_key(const loader *l, const eqi_node *node, const char *key, int32_t ndim,
                              const int64_t *shape, const eqi_safetensors_entry **entry)
{
    char name[EQI_LAYER_NAME + 64];
    eqi_format(name, sizeof name, "%s.%s", node->name, key);
    return eqi_model_find_array(l->file, name, ndim, shape, entry);
}

/* "<layer>.<key>" of exactly that shape, as F64 in CPU memory; equinv_tensor_destroy releases it. */
static equinv_status read_key(const loader *l, const eqi_node *node, const char *key, int32_t ndim,
                              const int64_t *shape, equinv_tensor *values)
{
    const eqi_safetensors_entry *entry;
    EQI_TRY(find_key(l, node, key, ndim, shape, &entry));
    EQI_TRY(equinv_tensor_create_pinned(l->model->ctx, EQUINV_F64, ndim, shape, values));
    const equinv_status status = eqi_safetensors_read(l->file, entry, values);
    if (status != EQUINV_OK)
        equinv_tensor_destroy(l->model->ctx, values);
    return status;
}

/* One number a field from `key` of [fields]; where `copies` > 1 that many equal ones stand for it. */
static equinv_status load_fields(loader *l, const eqi_node *node, eqi_layer_array which,
                                 const char *key, int64_t copies)
{
    const equinv_tensor dst = next_staged(l, &node->array[which]);
    const int64_t fields = dst.shape[0], length = fields * copies;
    equinv_tensor src;
    EQI_TRY(read_key(l, node, key, 1, &length, &src));
    const double *const values = src.data;
    double largest = 0;
    for (int64_t i = 0; i < length; i++)
        largest = fmax(largest, fabs(values[i]));
    equinv_status status = EQUINV_OK;
    for (int64_t i = 0; i < length && status == EQUINV_OK; i++) {
        const double expected = values[i / copies * copies];
        if (!(fabs(values[i] - expected) <= SYMMETRY * largest))
            status =
                eqi_fail(EQUINV_ERR_FORMAT,
                         "%s: %s.%s is %g at %" PRId64 ", expected %g as in the rest of its field",
                         eqi_safetensors_path(l->file), node->name, key, values[i], i, expected);
        if (i % copies == 0)
            eqi_store(&dst, i / copies, expected);
    }
    equinv_tensor_destroy(l->model->ctx, &src);
    return status;
}

/* The expanded filter [out G, in G, k, k], and where psi stands in it (conventions of the header). */
typedef struct expanded {
    const char *file, *layer;
    equinv_group group;
    equinv_conv_kind kind;
    int64_t out, in, out_order, in_order, k;
    const double *filter;
} expanded;

static double filter_at(const expanded *e, int64_t o, int64_t g, int64_t i, int64_t h, int64_t y,
                        int64_t x)
{
    const int64_t row = o * e->out_order + g, column = i * e->in_order + h;
    return e->filter[((row * e->in * e->in_order + column) * e->k + y) * e->k + x];
}

/* psi[o, i, a, tap]: row g = e; for group to plane the column h = e. */
static double psi_at(const expanded *e, int64_t o, int64_t i, int64_t a, int64_t y, int64_t x)
{
    return filter_at(e, o, 0, i, a, y, x);
}

/* filter[(o,g), (i,h)](delta) = psi[o, i, g^-1 h](g^-1 delta); plane: psi[o, i](h^-1 delta). */
static double worst_deviation(const expanded *e, double *largest)
{
    double worst = 0;
    for (int64_t o = 0; o < e->out; o++)
        for (int64_t g = 0; g < e->out_order; g++)
            for (int64_t i = 0; i < e->in; i++)
                for (int64_t h = 0; h < e->in_order; h++)
                    for (int64_t tap = 0; tap < e->k * e->k; tap++) {
                        const int64_t y = tap / e->k, x = tap % e->k;
                        const bool plane = e->kind == EQUINV_CONV_TO_PLANE;
                        const int32_t back = eqi_inverse(e->group, (int32_t)(plane ? h : g));
                        const int32_t a = e->kind == EQUINV_CONV_REGULAR
                                              ? eqi_product(e->group, back, (int32_t)h)
                                              : 0;
                        const eqi_pixel t =
                            eqi_move(eqi_motion_of(e->group, back), y, x, e->k, e->k);
                        const double value = filter_at(e, o, g, i, h, y, x);
                        const double off = fabs(value - psi_at(e, o, i, a, t.y, t.x));
                        worst = off > worst || isnan(off) ? off : worst;
                        *largest = fmax(*largest, fabs(value));
                    }
    return worst;
}

static equinv_status check_expansion(const expanded *e)
{
    double largest = 0;
    const double worst = worst_deviation(e, &largest);
    EQI_CHECK(worst <= SYMMETRY * largest, FORMAT,
              "%s: %s.filter is not the expansion of its row e: it deviates by %g of its largest "
              "value, expected at most %g",
              e->file, e->layer, worst / largest, SYMMETRY);
    EQI_CHECK(largest > 0, FORMAT,
              "%s: %s.filter is 0 everywhere, expected the filter of a module in evaluation form",
              e->file, e->layer);
    return EQUINV_OK;
}

/* The convolution whose filter is kept: of a transposed layer the one that it is the adjoint of. */
static equinv_conv_desc filter_desc(const loader *l, const eqi_node *node)
{
    const equinv_conv_desc d = eqi_model_conv_desc(l->model, node, 1);
    equinv_conv_desc adjoint = d;
    adjoint.kind = d.kind == EQUINV_CONV_LIFTING    ? EQUINV_CONV_TO_PLANE
                   : d.kind == EQUINV_CONV_TO_PLANE ? EQUINV_CONV_LIFTING
                                                    : EQUINV_CONV_REGULAR;
    adjoint.fields_in = d.fields_out;
    adjoint.fields_out = d.fields_in;
    return d.transposed ? adjoint : d;
}

static equinv_status load_filter(loader *l, const eqi_node *node)
{
    const equinv_tensor dst = next_staged(l, &node->array[EQI_WEIGHTS]);
    const equinv_conv_desc d = filter_desc(l, node);
    const int64_t order = l->model->order;
    expanded e = {.file = eqi_safetensors_path(l->file),
                  .layer = node->name,
                  .group = d.group,
                  .kind = d.kind,
                  .out = d.fields_out,
                  .in = d.fields_in / d.channel_groups,
                  .out_order = d.kind == EQUINV_CONV_TO_PLANE ? 1 : order,
                  .in_order = d.kind == EQUINV_CONV_LIFTING ? 1 : order,
                  .k = d.kernel};
    const int64_t shape[] = {e.out * e.out_order, e.in * e.in_order, e.k, e.k};
    equinv_tensor filter;
    EQI_TRY(read_key(l, node, "filter", 4, shape, &filter));
    e.filter = filter.data;
    const equinv_status status = check_expansion(&e);
    const int64_t taps = e.k * e.k, elements = d.kind == EQUINV_CONV_REGULAR ? order : 1;
    const int64_t count = equinv_tensor_count(&dst);
    for (int64_t n = 0; n < count; n++) {
        const int64_t tap = n % taps, a = n / taps % elements, field = n / taps / elements;
        eqi_store(&dst, n, psi_at(&e, field / e.in, field % e.in, a, tap / e.k, tap % e.k));
    }
    equinv_tensor_destroy(l->model->ctx, &filter);
    return status;
}

static equinv_status load_conv(loader *l, const eqi_node *node)
{
    EQI_TRY(load_filter(l, node));
    if (node->array[EQI_BIAS].ndim)
        return load_fields(l, node, EQI_BIAS, "expanded_bias", node->shape[2]);
    char name[EQI_LAYER_NAME + 64];
    eqi_format(name, sizeof name, "%s.expanded_bias", node->name);
    EQI_CHECK(!eqi_safetensors_find(l->file, name), FORMAT,
              "%s: %s is there, but the layer has no bias; expected one with bias true",
              eqi_safetensors_path(l->file), name);
    return EQUINV_OK;
}

/* InnerBatchNorm keeps one ordinary batch norm for each size of its fields. */
static equinv_status load_batch_norm(loader *l, const eqi_node *node)
{
    static const char *const words[] = {
        [EQI_GAMMA] = "weight",
        [EQI_BETA] = "bias",
        [EQI_RUNNING_MEAN] = "running_mean",
        [EQI_RUNNING_VAR] = "running_var",
    };
    for (int which = EQI_GAMMA; which <= EQI_RUNNING_VAR; which++) {
        char key[64];
        eqi_format(key, sizeof key, "batch_norm_[%" PRId64 "].%s", node->shape[2], words[which]);
        EQI_TRY(load_fields(l, node, (eqi_layer_array)which, key, 1));
    }
    return EQUINV_OK;
}

/* A torch.nn.Linear of the same name. */
static equinv_status load_dense(loader *l, const eqi_node *node)
{
    const equinv_tensor dst = next_staged(l, &node->array[EQI_WEIGHTS]);
    const eqi_safetensors_entry *entry;
    EQI_TRY(find_key(l, node, "weight", 2, dst.shape, &entry));
    EQI_TRY(eqi_safetensors_read(l->file, entry, &dst));
    return node->array[EQI_BIAS].ndim ? load_fields(l, node, EQI_BIAS, "bias", 1) : EQUINV_OK;
}

/* PointwiseAvgPoolAntialiased keeps its filter, one for each channel: it must be that of sigma. */
static equinv_status check_blur(const loader *l, const eqi_node *node, const char *key)
{
    const int64_t reach = eqi_blur_reach(node->desc.sigma), k = 2 * reach + 1;
    const int64_t shape[] = {node->shape[1] * node->shape[2], 1, k, k};
    double weights[EQI_BLUR_REACH + 1];
    equinv_tensor filter;
    equinv_status status = EQUINV_OK;
    EQI_TRY(read_key(l, node, key, 4, shape, &filter));
    eqi_blur_weights(node->desc.sigma, weights);
    const double *const values = filter.data;
    for (int64_t n = 0; n < shape[0] * k * k && status == EQUINV_OK; n++) {
        const int64_t y = n / k % k - reach, x = n % k - reach;
        const double expected = weights[y < 0 ? -y : y] * weights[x < 0 ? -x : x];
        if (!(fabs(values[n] - expected) <= SYMMETRY * weights[0] * weights[0]))
            status = eqi_fail(EQUINV_ERR_FORMAT,
                              "%s: %s.%s is %g at %" PRId64
                              ", expected %g, a Gaussian of sigma %g as the layer has",
                              eqi_safetensors_path(l->file), node->name, key, values[n], n,
                              expected, node->desc.sigma);
    }
    equinv_tensor_destroy(l->model->ctx, &filter);
    return status;
}

static equinv_status load_pool(const loader *l, const eqi_node *node)
{
    static const char *const keys[] = {"filter", "blur.filter"}; /* of escnn 1.0.11, and later */
    for (int i = 0; node->desc.pool == EQUINV_POOL_BLUR && i < 2; i++) {
        char name[EQI_LAYER_NAME + 64];
        eqi_format(name, sizeof name, "%s.%s", node->name, keys[i]);
        if (eqi_safetensors_find(l->file, name))
            EQI_TRY(check_blur(l, node, keys[i]));
    }
    return EQUINV_OK;
}

static equinv_status load_layer(loader *l, const eqi_node *node)
{
    switch (node->desc.op) {
    case EQUINV_LAYER_CONV:
    case EQUINV_LAYER_CONV_PLANE:
    case EQUINV_LAYER_CONV_TRANSPOSED:
    case EQUINV_LAYER_CONV_PLANE_TRANSPOSED: return load_conv(l, node);
    case EQUINV_LAYER_BATCH_NORM: return load_batch_norm(l, node);
    case EQUINV_LAYER_DENSE: return load_dense(l, node);
    case EQUINV_LAYER_POOL: return load_pool(l, node);
    default: return EQUINV_OK;
    }
}

static equinv_status load_all(loader *l)
{
    const equinv_model *const model = l->model;
    void *memory;
    for (int32_t i = 1; i < model->count; i++)
        for (int which = 0; which < EQI_ARRAYS; which++) {
            const equinv_tensor *const t = &model->nodes[i]->array[which];
            if (t->ndim)
                EQI_TRY(eqi_add_bytes(&l->size, equinv_tensor_count(t), 1, t->dtype));
        }
    EQI_TRY(eqi_alloc_zeroed(model->ctx, l->size, 1, "the parameters of a checkpoint", &memory));
    l->staged = memory;
    for (int32_t i = 1; i < model->count; i++)
        EQI_TRY(load_layer(l, model->nodes[i]));
    l->used = 0;
    for (int32_t i = 1; i < model->count; i++)
        for (int which = 0; which < EQI_ARRAYS; which++) {
            const equinv_tensor *const dst = &model->nodes[i]->array[which];
            if (dst->ndim == 0)
                continue;
            const equinv_tensor src = next_staged(l, dst);
            EQI_TRY(equinv_tensor_copy(model->ctx, &src, dst));
        }
    return equinv_context_synchronize(model->ctx);
}

equinv_status equinv_model_load_escnn(equinv_model *model, const char *path)
{
    EQI_CHECK(model, ARG, "model is NULL, expected a model");
    EQI_CHECK(path && *path, ARG, "path is %s, expected a file name", path ? "empty" : "NULL");
    loader l = {.model = model};
    EQI_TRY(eqi_safetensors_open(model->ctx, path, &l.file));
    const equinv_status status = load_all(&l);
    eqi_free(model->ctx, l.staged, (size_t)l.size);
    eqi_safetensors_close(l.file);
    return status;
}
