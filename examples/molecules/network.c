#include "network.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/mirror.h"

/*
 * Activations lie channels last, [B, n, C] and [B, n, n, C], and are seen as [B, C, n(, n)]. A block's
 * gradient flows backwards through one array, where the skip leaves it. What the program fills or reads
 * itself has a mirror: batches, codes and their waves, what is decoded, losses.
 */
enum { INPUTS = BOND_TYPES - 1 + ATOM_TYPES + 1, WAVES = 1 + 2 * FREQUENCIES };
enum { PARAMETERS_AT_MOST = 2 * (9 + 2 * NETWORK_BLOCKS) + 2 * (2 + 2 * NETWORK_BLOCKS) };
static const double slope = 0.1, most_frequent = 8;

#define TRY(call)                                                                                  \
    do {                                                                                           \
        const equinv_status status_ = (call);                                                      \
        if (status_)                                                                               \
            return status_;                                                                        \
    } while (0)

typedef struct linear {
    equinv_plan *plan;
    int order_in, order_out;
    int64_t in, out;
    equinv_tensor weights, bias, diff_weights, diff_bias;
} linear;

typedef struct norm {
    equinv_plan *plan;
    equinv_tensor gamma, beta, diff_gamma, diff_beta;
} norm;

/* x + layer(norm(x)); the norm has the leaky ReLU behind it */
typedef struct block {
    norm norm;
    linear layer;
    equinv_tensor x, active; /* input, and what the layer reads */
} block;

/* Blocks, and what their last output is normalised to. */
typedef struct tower {
    block blocks[NETWORK_BLOCKS];
    norm norm;
    equinv_tensor x, active;
} tower;

struct network {
    equinv_context *ctx;
    network_desc desc;
    equinv_parameter parameters[PARAMETERS_AT_MOST];
    char names[PARAMETERS_AT_MOST][32];
    size_t count;
    uint64_t streams; /* of initial weights */

    /* the batch: pair tensor, who is there, what is asked for, which pairs count */
    equinv_tensor input, mask, atoms, bonds, pair_mask;
    struct {
        mirror input, mask, atoms, bonds, pair_mask;
        mirror stats, codes, waves, diff_codes, diff_waves;
        mirror atom_logits, bond_logits, losses;
    } both;

    linear in, head;
    tower encoder;
    equinv_tensor stats, diff_stats; /* [B, n, 2]: mean, log variance */

    linear spread, mix, lift, atom_head, bond_head;
    tower decoder;
    equinv_tensor codes, waves, hidden, nodes, outer, atom_logits, bond_logits;
    equinv_tensor diff_codes, diff_waves, diff_hidden, diff_nodes;
    equinv_tensor diff_noise, kl_mean, kl_log_variance;

    equinv_tensor gradient, other; /* of pairs */
};

/* ---- views ----------------------------------------------------------------------------------- */

/* [B, n(, n), C] in memory seen as [B, C, n(, n)] and the other way round. */
static equinv_tensor turned(const equinv_tensor *t, int from, int to)
{
    equinv_tensor view = *t;
    const int64_t shape = t->shape[from], stride = t->strides[from];
    for (int i = from; i != to; i += from < to ? 1 : -1) {
        const int next = i + (from < to ? 1 : -1);
        view.shape[i] = view.shape[next];
        view.strides[i] = view.strides[next];
    }
    view.shape[to] = shape;
    view.strides[to] = stride;
    return view;
}

static equinv_tensor channels_first(const equinv_tensor *t)
{
    return turned(t, t->ndim - 1, 1);
}

static equinv_tensor channels_last(const equinv_tensor *t)
{
    return turned(t, 1, t->ndim - 1);
}

/* Channels first .. first + count - 1 as [B, count, n(, n)]. */
static equinv_tensor channels_of(const equinv_tensor *t, int64_t first, int64_t count)
{
    equinv_tensor view = *t;
    view.data = (char *)t->data + (size_t)(first * t->strides[1]) * equinv_dtype_size(t->dtype);
    view.shape[1] = count;
    return view;
}

static equinv_status create_activation(network *net, int order, int64_t channels, equinv_tensor *t)
{
    const int64_t batch = net->desc.batch;
    equinv_tensor memory;
    TRY(order == 1 ? equinv_tensor_create(net->ctx, net->desc.dtype, 3,
                                          (int64_t[]){batch, NODES, channels}, &memory)
                   : equinv_tensor_create(net->ctx, net->desc.dtype, 4,
                                          (int64_t[]){batch, NODES, NODES, channels}, &memory));
    *t = channels_first(&memory);
    return EQUINV_OK;
}

/* The same where the program looks at it: its values lie in `m`. */
static equinv_status create_mirrored(network *net, int order, int64_t channels, mirror *m,
                                     equinv_tensor *t)
{
    const int64_t batch = net->desc.batch;
    TRY(order == 1
            ? mirror_create(net->ctx, net->desc.dtype, 3, (int64_t[]){batch, NODES, channels}, m)
            : mirror_create(net->ctx, net->desc.dtype, 4,
                            (int64_t[]){batch, NODES, NODES, channels}, m));
    *t = channels_first(&m->there);
    return EQUINV_OK;
}

static void destroy_activation(network *net, equinv_tensor *t)
{
    if (t->data)
        *t = channels_last(t);
    equinv_tensor_destroy(net->ctx, t);
}

/* ---- parameters ------------------------------------------------------------------------------ */

static equinv_status create_parameter(network *net, const char *layer, const char *part, int ndim,
                                      const int64_t *shape, equinv_tensor *value,
                                      equinv_tensor *gradient)
{
    char *const name = net->names[net->count];
    TRY(equinv_tensor_create(net->ctx, net->desc.dtype, ndim, shape, value));
    TRY(equinv_tensor_create(net->ctx, net->desc.dtype, ndim, shape, gradient));
    snprintf(name, sizeof net->names[0], "%s.%s", layer, part);
    net->parameters[net->count++] = (equinv_parameter){name, *value, *gradient};
    return EQUINV_OK;
}

/* He's weights times `gain`. */
static equinv_status create_linear(network *net, const char *name, int order_in, int64_t in,
                                   int order_out, int64_t out, double gain, linear *l)
{
    equinv_node_linear_desc d = EQUINV_NODE_LINEAR_DESC_INIT;
    int64_t shape[3];
    d.dtype = net->desc.dtype;
    d.order_in = order_in, d.order_out = order_out;
    d.batch = net->desc.batch, d.nodes = NODES;
    d.channels_in = in, d.channels_out = out;
    d.symmetric = order_in == 2 || order_out == 2;
    l->order_in = order_in, l->order_out = order_out, l->in = in, l->out = out;
    TRY(equinv_node_linear_plan_create(net->ctx, &d, &l->plan));
    TRY(equinv_node_linear_weights_shape(&d, shape));
    TRY(create_parameter(net, name, "weights", 3, shape, &l->weights, &l->diff_weights));
    TRY(create_parameter(net, name, "bias", 2, (int64_t[]){order_out, out}, &l->bias,
                         &l->diff_bias));
    TRY(equinv_init_he(net->ctx, net->desc.seed, net->streams++, in * shape[0], &l->weights));
    return equinv_tensor_convert(net->ctx, &l->weights, gain, 0, &l->weights);
}

static equinv_status create_norm(network *net, const char *name, norm *n)
{
    equinv_node_norm_desc d = EQUINV_NODE_NORM_DESC_INIT;
    const int64_t shape[1] = {net->desc.channels};
    d.dtype = net->desc.dtype;
    d.order = 2, d.batch = net->desc.batch, d.nodes = NODES, d.channels = net->desc.channels;
    d.slope = slope;
    TRY(equinv_node_norm_plan_create(net->ctx, &d, &n->plan));
    TRY(create_parameter(net, name, "gamma", 1, shape, &n->gamma, &n->diff_gamma));
    TRY(create_parameter(net, name, "beta", 1, shape, &n->beta, &n->diff_beta));
    return equinv_tensor_convert(net->ctx, &n->gamma, 0, 1, &n->gamma);
}

static equinv_status create_tower(network *net, const char *name, tower *t)
{
    char text[24];
    for (int64_t i = 0; i < net->desc.blocks; i++) {
        block *const b = &t->blocks[i];
        snprintf(text, sizeof text, "%s.%d.norm", name, (int)i);
        TRY(create_norm(net, text, &b->norm));
        snprintf(text, sizeof text, "%s.%d", name, (int)i);
        TRY(create_linear(net, text, 2, net->desc.channels, 2, net->desc.channels, 1, &b->layer));
        TRY(create_activation(net, 2, net->desc.channels, &b->x));
        TRY(create_activation(net, 2, net->desc.channels, &b->active));
    }
    snprintf(text, sizeof text, "%s.norm", name);
    TRY(create_norm(net, text, &t->norm));
    TRY(create_activation(net, 2, net->desc.channels, &t->x));
    return create_activation(net, 2, net->desc.channels, &t->active);
}

static equinv_status create_all(network *net)
{
    const int64_t batch = net->desc.batch, c = net->desc.channels;
    const int64_t nodes[2] = {batch, NODES}, pairs[3] = {batch, NODES, NODES};
    const struct {
        equinv_tensor *tensor;
        int order;
        int64_t channels;
        mirror *mirror; /* NULL: on the device alone */
    } activations[] = {
        {&net->input, 2, INPUTS, &net->both.input},
        {&net->stats, 1, 2, &net->both.stats},
        {&net->diff_stats, 1, 2, NULL},
        {&net->codes, 1, 1, &net->both.codes},
        {&net->waves, 1, WAVES, &net->both.waves},
        {&net->hidden, 1, c, NULL},
        {&net->nodes, 1, c, NULL},
        {&net->outer, 2, c, NULL},
        {&net->atom_logits, 1, ATOM_TYPES, &net->both.atom_logits},
        {&net->bond_logits, 2, BOND_TYPES, &net->both.bond_logits},
        {&net->diff_codes, 1, 1, &net->both.diff_codes},
        {&net->diff_waves, 1, WAVES, &net->both.diff_waves},
        {&net->diff_hidden, 1, c, NULL},
        {&net->diff_nodes, 1, c, NULL},
        {&net->diff_noise, 1, 1, NULL},
        {&net->kl_mean, 1, 1, NULL},
        {&net->kl_log_variance, 1, 1, NULL},
        {&net->gradient, 2, c, NULL},
        {&net->other, 2, c, NULL},
    };
    for (size_t i = 0; i < sizeof activations / sizeof *activations; i++)
        TRY(activations[i].mirror
                ? create_mirrored(net, activations[i].order, activations[i].channels,
                                  activations[i].mirror, activations[i].tensor)
                : create_activation(net, activations[i].order, activations[i].channels,
                                    activations[i].tensor));
    TRY(mirror_create(net->ctx, EQUINV_U8, 2, nodes, &net->both.mask));
    TRY(mirror_create(net->ctx, EQUINV_U8, 2, nodes, &net->both.atoms));
    TRY(mirror_create(net->ctx, EQUINV_U8, 3, pairs, &net->both.bonds));
    TRY(mirror_create(net->ctx, EQUINV_U8, 3, pairs, &net->both.pair_mask));
    TRY(mirror_create(net->ctx, net->desc.dtype, 1, (int64_t[]){3}, &net->both.losses));
    net->mask = net->both.mask.there;
    net->atoms = net->both.atoms.there;
    net->bonds = net->both.bonds.there;
    net->pair_mask = net->both.pair_mask.there;
    TRY(create_linear(net, "encoder.in", 2, INPUTS, 2, c, 1, &net->in));
    TRY(create_tower(net, "encoder", &net->encoder));
    TRY(create_linear(net, "encoder.head", 2, c, 1, 2, 1, &net->head));
    TRY(create_linear(net, "decoder.spread", 1, WAVES, 1, c, 1, &net->spread));
    TRY(create_linear(net, "decoder.mix", 1, c, 1, c, 1, &net->mix));
    TRY(create_linear(net, "decoder.lift", 2, c, 2, c, 1, &net->lift));
    TRY(create_tower(net, "decoder", &net->decoder));
    TRY(create_linear(net, "decoder.atoms", 2, c, 1, ATOM_TYPES, 1, &net->atom_head));
    return create_linear(net, "decoder.bonds", 2, c, 2, BOND_TYPES, 1, &net->bond_head);
}

equinv_status network_create(equinv_context *ctx, const network_desc *desc, network **net)
{
    network *const n = calloc(1, sizeof *n);
    if (!n)
        return EQUINV_ERR_NOMEM;
    n->ctx = ctx;
    n->desc = *desc;
    const equinv_status status = create_all(n);
    if (status)
        network_destroy(n);
    else
        *net = n;
    return status;
}

static void destroy_tower(network *net, tower *t)
{
    for (int i = 0; i < NETWORK_BLOCKS; i++) {
        equinv_plan_destroy(t->blocks[i].norm.plan);
        equinv_plan_destroy(t->blocks[i].layer.plan);
        destroy_activation(net, &t->blocks[i].x);
        destroy_activation(net, &t->blocks[i].active);
    }
    equinv_plan_destroy(t->norm.plan);
    destroy_activation(net, &t->x);
    destroy_activation(net, &t->active);
}

void network_destroy(network *net)
{
    if (!net)
        return;
    linear *const layers[] = {&net->in,   &net->head,      &net->spread,   &net->mix,
                              &net->lift, &net->atom_head, &net->bond_head};
    equinv_tensor *const activations[] = {
        &net->diff_stats,      &net->hidden,     &net->nodes,      &net->outer,
        &net->diff_hidden,     &net->diff_nodes, &net->diff_noise, &net->kl_mean,
        &net->kl_log_variance, &net->gradient,   &net->other};
    mirror *const mirrors[] = {
        &net->both.input,      &net->both.mask,        &net->both.atoms,
        &net->both.bonds,      &net->both.pair_mask,   &net->both.stats,
        &net->both.codes,      &net->both.waves,       &net->both.diff_codes,
        &net->both.diff_waves, &net->both.atom_logits, &net->both.bond_logits,
        &net->both.losses};
    destroy_tower(net, &net->encoder);
    destroy_tower(net, &net->decoder);
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++)
        equinv_plan_destroy(layers[i]->plan);
    for (size_t i = 0; i < sizeof activations / sizeof *activations; i++)
        destroy_activation(net, activations[i]);
    for (size_t i = 0; i < sizeof mirrors / sizeof *mirrors; i++)
        mirror_destroy(net->ctx, mirrors[i]);
    for (size_t i = 0; i < net->count; i++) {
        equinv_tensor_destroy(net->ctx, &net->parameters[i].value);
        equinv_tensor_destroy(net->ctx, &net->parameters[i].gradient);
    }
    free(net);
}

const equinv_parameter *network_parameters(network *net, size_t *count)
{
    *count = net->count;
    return net->parameters;
}

/* ---- the program's side ---------------------------------------------------------------------- */

/* All of it; waits for the device before it is read. */
static equinv_status send(const network *net, const mirror *m)
{
    equinv_tensor there;
    return mirror_send(net->ctx, m, m->here.shape[0], &there);
}

static equinv_status fetch(const network *net, const mirror *m)
{
    equinv_tensor here;
    return mirror_fetch(net->ctx, m, m->here.shape[0], &here);
}

static double get(const equinv_tensor *t, int64_t i)
{
    return t->dtype == EQUINV_F32 ? (double)((const float *)t->data)[i]
                                  : ((const double *)t->data)[i];
}

static void set(const equinv_tensor *t, int64_t i, double value)
{
    if (t->dtype == EQUINV_F32)
        ((float *)t->data)[i] = (float)value;
    else
        ((double *)t->data)[i] = value;
}

/* ---- forward --------------------------------------------------------------------------------- */

static equinv_status linear_forward(network *net, const linear *l, const equinv_tensor *src,
                                    const equinv_tensor *dst)
{
    return equinv_node_linear_forward(l->plan, src, &net->mask, &l->weights, &l->bias, dst, NULL,
                                      0);
}

static equinv_status norm_forward(network *net, const norm *n, const equinv_tensor *x,
                                  const equinv_tensor *active)
{
    return equinv_node_norm_forward(n->plan, x, &net->mask, &n->gamma, &n->beta, active, NULL, 0);
}

/* From the first block's x. */
static equinv_status tower_forward(network *net, tower *t)
{
    for (int64_t i = 0; i < net->desc.blocks; i++) {
        block *const b = &t->blocks[i];
        const equinv_tensor *const y = i + 1 < net->desc.blocks ? &b[1].x : &t->x;
        TRY(norm_forward(net, &b->norm, &b->x, &b->active));
        TRY(linear_forward(net, &b->layer, &b->active, y));
        TRY(equinv_add(net->ctx, &b->x, y, y));
    }
    return norm_forward(net, &t->norm, &t->x, &t->active);
}

static const equinv_tensor *tower_start(const network *net, const tower *t)
{
    return net->desc.blocks > 0 ? &t->blocks[0].x : &t->x;
}

static equinv_status encode(network *net)
{
    TRY(linear_forward(net, &net->in, &net->input, tower_start(net, &net->encoder)));
    TRY(tower_forward(net, &net->encoder));
    return linear_forward(net, &net->head, &net->encoder.active, &net->stats);
}

/* Frequencies 1/4, 1/2, .., 8: higher ones fit as well, but lines between codes hold fewer molecules. */
static double frequency(int k)
{
    return ldexp(most_frequent, k + 1 - FREQUENCIES);
}

static equinv_status waves_forward(network *net)
{
    const int64_t count = net->desc.batch * NODES;
    const equinv_tensor *const waves = &net->both.waves.here;
    TRY(fetch(net, &net->both.codes));
    for (int64_t i = 0; i < count; i++) {
        const double z = get(&net->both.codes.here, i);
        set(waves, i * WAVES, z);
        for (int k = 0; k < FREQUENCIES; k++) {
            set(waves, i * WAVES + 1 + 2 * k, sin(frequency(k) * z));
            set(waves, i * WAVES + 2 + 2 * k, cos(frequency(k) * z));
        }
    }
    return send(net, &net->both.waves);
}

static equinv_status waves_backward(network *net)
{
    const int64_t count = net->desc.batch * NODES;
    const equinv_tensor *const waves = &net->both.waves.here, *const diff =
                                                                  &net->both.diff_waves.here;
    TRY(fetch(net, &net->both.diff_waves));
    for (int64_t i = 0; i < count; i++) {
        double sum = get(diff, i * WAVES);
        for (int k = 0; k < FREQUENCIES; k++)
            sum += frequency(k) *
                   (get(diff, i * WAVES + 1 + 2 * k) * get(waves, i * WAVES + 2 + 2 * k) -
                    get(diff, i * WAVES + 2 + 2 * k) * get(waves, i * WAVES + 1 + 2 * k));
        set(&net->both.diff_codes.here, i, sum);
    }
    return send(net, &net->both.diff_codes);
}

static equinv_status decode(network *net)
{
    TRY(waves_forward(net));
    TRY(linear_forward(net, &net->spread, &net->waves, &net->hidden));
    TRY(equinv_relu_forward(net->ctx, slope, &net->hidden, &net->hidden));
    TRY(linear_forward(net, &net->mix, &net->hidden, &net->nodes));
    TRY(equinv_node_outer_forward(net->ctx, &net->nodes, NULL, &net->mask, &net->outer));
    TRY(linear_forward(net, &net->lift, &net->outer, tower_start(net, &net->decoder)));
    TRY(tower_forward(net, &net->decoder));
    TRY(linear_forward(net, &net->atom_head, &net->decoder.active, &net->atom_logits));
    return linear_forward(net, &net->bond_head, &net->decoder.active, &net->bond_logits);
}

/* ---- backward -------------------------------------------------------------------------------- */

/* diff_src NULL: not wanted. */
static equinv_status linear_backward(network *net, const linear *l, const equinv_tensor *src,
                                     const equinv_tensor *diff_dst, const equinv_tensor *diff_src)
{
    TRY(equinv_node_linear_backward_weights(l->plan, src, &net->mask, diff_dst, &l->diff_weights,
                                            &l->diff_bias, NULL, 0));
    return diff_src ? equinv_node_linear_backward_data(l->plan, diff_dst, &net->mask, &l->weights,
                                                       diff_src, NULL, 0)
                    : EQUINV_OK;
}

static equinv_status norm_backward(network *net, const norm *n, const equinv_tensor *x,
                                   const equinv_tensor *diff, const equinv_tensor *diff_x)
{
    return equinv_node_norm_backward(n->plan, x, &net->mask, &n->gamma, &n->beta, diff, diff_x,
                                     &n->diff_gamma, &n->diff_beta, NULL, 0);
}

static void exchange(equinv_tensor *a, equinv_tensor *b)
{
    const equinv_tensor kept = *a;
    *a = *b;
    *b = kept;
}

/* net->gradient: that of t->active, which is room afterwards; becomes that of the tower's input. */
static equinv_status tower_backward(network *net, tower *t)
{
    TRY(norm_backward(net, &t->norm, &t->x, &net->gradient, &net->other));
    exchange(&net->gradient, &net->other);
    for (int64_t i = net->desc.blocks - 1; i >= 0; i--) {
        const block *const b = &t->blocks[i];
        TRY(linear_backward(net, &b->layer, &b->active, &net->gradient, &net->other));
        TRY(norm_backward(net, &b->norm, &b->x, &net->other, &t->active));
        TRY(equinv_add(net->ctx, &net->gradient, &t->active, &net->gradient));
    }
    return EQUINV_OK;
}

/* Gradients of the decoder's parameters and of the codes, from the logits' gradients in their place. */
static equinv_status decode_backward(network *net)
{
    const tower *const t = &net->decoder;
    TRY(linear_backward(net, &net->bond_head, &t->active, &net->bond_logits, &net->gradient));
    TRY(linear_backward(net, &net->atom_head, &t->active, &net->atom_logits, &net->other));
    TRY(equinv_add(net->ctx, &net->gradient, &net->other, &net->gradient));
    TRY(tower_backward(net, &net->decoder));
    TRY(linear_backward(net, &net->lift, &net->outer, &net->gradient, &net->other));
    TRY(equinv_node_outer_backward(net->ctx, &net->nodes, NULL, &net->mask, &net->other,
                                   &net->diff_nodes, NULL));
    TRY(linear_backward(net, &net->mix, &net->hidden, &net->diff_nodes, &net->diff_hidden));
    TRY(equinv_relu_backward(net->ctx, slope, &net->hidden, &net->diff_hidden, &net->diff_hidden));
    TRY(linear_backward(net, &net->spread, &net->waves, &net->diff_hidden, &net->diff_waves));
    return waves_backward(net);
}

static equinv_status encode_backward(network *net)
{
    TRY(linear_backward(net, &net->head, &net->encoder.active, &net->diff_stats, &net->gradient));
    TRY(tower_backward(net, &net->encoder));
    return linear_backward(net, &net->in, &net->input, &net->gradient, NULL);
}

/* ---- batches --------------------------------------------------------------------------------- */

static void load_one(network *net, int64_t b, const graph *g)
{
    const int n = g ? graph_nodes(g) : 0;
    const equinv_tensor *const input = &net->both.input.here;
    uint8_t *const mask = net->both.mask.here.data, *const atoms = net->both.atoms.here.data;
    uint8_t *const bonds = net->both.bonds.here.data, *const pairs = net->both.pair_mask.here.data;
    for (int i = 0; i < NODES; i++) {
        const int64_t node = b * NODES + i;
        mask[node] = i < n;
        atoms[node] = (uint8_t)(i < n ? g->cell[i][i] - CARBON : 0);
        for (int j = 0; j < NODES; j++) {
            const int64_t pair = node * NODES + j;
            const bool there = i < n && j < n;
            const int type = there ? g->cell[i][j] : 0;
            for (int c = 0; c < INPUTS; c++)
                set(input, pair * INPUTS + c, 0);
            bonds[pair] = (uint8_t)(i == j ? NO_BOND : type);
            pairs[pair] = there && i < j;
            if (there && i == j) {
                set(input, pair * INPUTS + BOND_TYPES - 1 + type - CARBON, 1);
                set(input, pair * INPUTS + INPUTS - 1, 1);
            } else if (type != NO_BOND) {
                set(input, pair * INPUTS + type - SINGLE, 1);
            }
        }
    }
}

equinv_status network_load(network *net, const graph *const *graphs, int64_t count)
{
    const mirror *const loaded[] = {&net->both.input, &net->both.mask, &net->both.atoms,
                                    &net->both.bonds, &net->both.pair_mask};
    for (int64_t b = 0; b < net->desc.batch; b++)
        load_one(net, b, b < count ? graphs[b] : NULL);
    for (size_t i = 0; i < sizeof loaded / sizeof *loaded; i++)
        TRY(send(net, loaded[i]));
    return EQUINV_OK;
}

equinv_status network_encode(network *net, float *means)
{
    TRY(encode(net));
    TRY(fetch(net, &net->both.stats));
    for (int64_t i = 0; i < net->desc.batch * NODES; i++)
        means[i] = (float)get(&net->both.stats.here, 2 * i);
    return EQUINV_OK;
}

static int likeliest(const equinv_tensor *logits, int64_t first, int count)
{
    int best = 0;
    for (int c = 1; c < count; c++)
        best = get(logits, first + c) > get(logits, first + best) ? c : best;
    return best;
}

equinv_status network_decode(network *net, const float *codes, const int *nodes, int64_t count,
                             graph *graphs)
{
    for (int64_t b = 0; b < net->desc.batch; b++)
        for (int i = 0; i < NODES; i++) {
            const bool there = b < count && i < nodes[b];
            ((uint8_t *)net->both.mask.here.data)[b * NODES + i] = there;
            set(&net->both.codes.here, b * NODES + i, there ? (double)codes[b * NODES + i] : 0);
        }
    TRY(send(net, &net->both.mask));
    TRY(send(net, &net->both.codes));
    TRY(decode(net));
    TRY(fetch(net, &net->both.atom_logits));
    TRY(fetch(net, &net->both.bond_logits));
    for (int64_t b = 0; b < count; b++) {
        memset(&graphs[b], 0, sizeof graphs[b]);
        for (int i = 0; i < nodes[b]; i++) {
            const int64_t node = b * NODES + i;
            graphs[b].cell[i][i] = (uint8_t)(CARBON + likeliest(&net->both.atom_logits.here,
                                                                node * ATOM_TYPES, ATOM_TYPES));
            for (int j = 0; j < i; j++) /* the upper triangle, which the loss looks at */
                graphs[b].cell[i][j] = graphs[b].cell[j][i] =
                    (uint8_t)likeliest(&net->both.bond_logits.here,
                                       ((b * NODES + j) * NODES + i) * BOND_TYPES, BOND_TYPES);
        }
    }
    return EQUINV_OK;
}

/* ---- training -------------------------------------------------------------------------------- */

/* The mask of atoms for one channel, [B, 1, n]. */
static equinv_tensor node_mask(const network *net)
{
    equinv_tensor view = net->mask;
    view.ndim = 3;
    view.shape[1] = 1, view.shape[2] = NODES;
    view.strides[1] = NODES, view.strides[2] = 1;
    return view;
}

/* dst = a + kl_weight b; b is scaled. */
static equinv_status add_weighted(network *net, const equinv_tensor *a, const equinv_tensor *b,
                                  const equinv_tensor *dst)
{
    TRY(equinv_tensor_convert(net->ctx, b, net->desc.kl_weight, 0, b));
    return equinv_add(net->ctx, a, b, dst);
}

equinv_status network_gradients(network *net, uint64_t step, network_losses *losses)
{
    const equinv_tensor mask = node_mask(net);
    const equinv_tensor mean = channels_of(&net->stats, 0, 1);
    const equinv_tensor log_variance = channels_of(&net->stats, 1, 1);
    const equinv_tensor diff_mean = channels_of(&net->diff_stats, 0, 1);
    const equinv_tensor diff_log_variance = channels_of(&net->diff_stats, 1, 1);
    equinv_tensor loss[3];
    for (int i = 0; i < 3; i++)
        TRY(equinv_tensor_rows(&net->both.losses.there, i, 1, &loss[i]));

    TRY(encode(net));
    TRY(equinv_reparameterise_forward(net->ctx, net->desc.seed + 1, step, &mean, &log_variance,
                                      &net->codes));
    TRY(decode(net));
    const equinv_tensor atoms = channels_last(&net->atom_logits);
    const equinv_tensor bonds = channels_last(&net->bond_logits);
    TRY(equinv_cross_entropy_masked(net->ctx, &atoms, &net->atoms, &net->mask, &loss[0], &atoms));
    TRY(equinv_cross_entropy_masked(net->ctx, &bonds, &net->bonds, &net->pair_mask, &loss[1],
                                    &bonds));
    TRY(equinv_kl_gaussian(net->ctx, &mean, &log_variance, &mask, &loss[2], &net->kl_mean,
                           &net->kl_log_variance));
    TRY(decode_backward(net));
    TRY(equinv_reparameterise_backward(net->ctx, net->desc.seed + 1, step, &log_variance,
                                       &net->diff_codes, &net->diff_noise));
    TRY(add_weighted(net, &net->diff_codes, &net->kl_mean, &diff_mean));
    TRY(add_weighted(net, &net->diff_noise, &net->kl_log_variance, &diff_log_variance));
    TRY(encode_backward(net));
    TRY(fetch(net, &net->both.losses));
    losses->nodes = get(&net->both.losses.here, 0);
    losses->pairs = get(&net->both.losses.here, 1);
    losses->divergence = get(&net->both.losses.here, 2);
    return EQUINV_OK;
}

double network_loss(const network *net, const network_losses *losses)
{
    return losses->nodes + losses->pairs + net->desc.kl_weight * losses->divergence;
}
