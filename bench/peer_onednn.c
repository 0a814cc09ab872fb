/*
 * oneDNN: the dense convolution with the expanded filter, planned in the layout that it prefers ("any").
 * There are several kernels for a problem; each is a `way`, and the fastest one that the peer's name allows
 * is kept. The interface is that of version 2, the last with Winograd on current CPUs.
 */
#include <stdlib.h>
#include <string.h>

#include "bench/peer_onednn.h"

/* libgomp's, through which Debian's oneDNN runs its threads. */
void omp_set_num_threads(int threads);

enum { SOURCE, FILTER, DESTINATION, ROLES, MOST_WAYS = 6 };

/* For each pass what is read, the direction of its reorders, and how oneDNN calls it. */
typedef struct role {
    int argument;
    dnnl_query_t query;
    bool written;
} role;

static const role roles[][ROLES] = {
    [PASS_FORWARD] = {{DNNL_ARG_SRC, dnnl_query_src_md, false},
                      {DNNL_ARG_WEIGHTS, dnnl_query_weights_md, false},
                      {DNNL_ARG_DST, dnnl_query_dst_md, true}},
    [PASS_BACKWARD_DATA] = {{DNNL_ARG_DIFF_SRC, dnnl_query_diff_src_md, true},
                            {DNNL_ARG_WEIGHTS, dnnl_query_weights_md, false},
                            {DNNL_ARG_DIFF_DST, dnnl_query_diff_dst_md, false}},
    [PASS_BACKWARD_WEIGHTS] = {{DNNL_ARG_SRC, dnnl_query_src_md, false},
                               {DNNL_ARG_DIFF_WEIGHTS, dnnl_query_diff_weights_md, true},
                               {DNNL_ARG_DIFF_DST, dnnl_query_diff_dst_md, false}},
};

typedef struct way {
    char name[64];
    dnnl_primitive_t conv, reorder[ROLES]; /* reorder NULL: its layout is the plain one */
    dnnl_memory_t memory[ROLES];
} way;

typedef struct state {
    dense_conv d;
    float *filter; /* or its gradient, plain */
    dnnl_memory_desc_t plain_md[ROLES];
    dnnl_memory_t plain[ROLES];
    way ways[MOST_WAYS];
    int count, chosen;
} state;

dnnl_engine_t onednn_engine;
dnnl_stream_t onednn_stream;

equinv_status onednn_start(void)
{
    if (onednn_stream)
        return EQUINV_OK;
    TRY(dnnl_engine_create(&onednn_engine, dnnl_cpu, 0));
    TRY(dnnl_stream_create(&onednn_stream, onednn_engine, dnnl_stream_default_flags));
    return EQUINV_OK;
}

void onednn_begin(int32_t threads)
{
    omp_set_num_threads(threads);
}

void onednn_describe(FILE *out)
{
    const dnnl_version_t *const v = dnnl_version();
    fprintf(out, "oneDNN %d.%d.%d, its CPU level 0x%x\n", v->major, v->minor, v->patch,
            (unsigned)dnnl_get_effective_cpu_isa());
}

/* ---- one way ----------------------------------------------------------------------------------------- */

static dnnl_status_t forward_desc(const state *s, dnnl_prop_kind_t prop, dnnl_alg_kind_t algorithm,
                                  const dnnl_memory_desc_t any[ROLES], dnnl_convolution_desc_t *to)
{
    const dense_conv *const d = &s->d;
    const dnnl_dims_t strides = {d->stride, d->stride}, pads = {d->padding, d->padding},
                      gaps = {d->dilation - 1, d->dilation - 1};
    /* Rows and columns behind the last window count as negative padding. */
    const int64_t reach = d->dilation * (d->kernel - 1) + 1;
    const dnnl_dims_t ends = {
        (d->out_height - 1) * d->stride + reach - d->height - d->padding,
        (d->out_width - 1) * d->stride + reach - d->width - d->padding,
    };
    return dnnl_dilated_convolution_forward_desc_init(to, prop, algorithm, &any[SOURCE],
                                                      &any[FILTER], NULL, &any[DESTINATION],
                                                      strides, gaps, pads, ends);
}

static dnnl_status_t backward_desc(const state *s, pass direction, dnnl_alg_kind_t algorithm,
                                   const dnnl_memory_desc_t any[ROLES], dnnl_convolution_desc_t *to)
{
    dnnl_convolution_desc_t f;
    const dnnl_status_t status = forward_desc(s, dnnl_forward_training, algorithm, any, &f);
    if (status != dnnl_success)
        return status;
    const int64_t *const ends = f.padding[1];
    return direction == PASS_BACKWARD_DATA
               ? dnnl_dilated_convolution_backward_data_desc_init(
                     to, algorithm, &any[SOURCE], &any[FILTER], &any[DESTINATION], f.strides,
                     f.dilates, f.padding[0], ends)
               : dnnl_dilated_convolution_backward_weights_desc_init(
                     to, algorithm, &any[SOURCE], &any[FILTER], NULL, &any[DESTINATION], f.strides,
                     f.dilates, f.padding[0], ends);
}

/* NULL where oneDNN has no such kernel. */
static dnnl_primitive_desc_t choose(const state *s, pass direction, dnnl_prop_kind_t prop,
                                    dnnl_alg_kind_t algorithm)
{
    dnnl_memory_desc_t any[ROLES];
    dnnl_convolution_desc_t desc;
    dnnl_primitive_desc_t forward = NULL, backward = NULL;
    for (int i = 0; i < ROLES; i++)
        if (dnnl_memory_desc_init_by_tag(&any[i], 4, s->plain_md[i].dims, dnnl_f32,
                                         dnnl_format_tag_any) != dnnl_success)
            return NULL;
    if (forward_desc(s, prop, algorithm, any, &desc) != dnnl_success ||
        dnnl_primitive_desc_create(&forward, &desc, NULL, onednn_engine, NULL) != dnnl_success)
        return NULL;
    if (direction == PASS_FORWARD)
        return forward;
    if (backward_desc(s, direction, algorithm, any, &desc) != dnnl_success ||
        dnnl_primitive_desc_create(&backward, &desc, NULL, onednn_engine, forward) != dnnl_success)
        backward = NULL;
    dnnl_primitive_desc_destroy(forward);
    return backward;
}

static equinv_status make_reorder(const dnnl_memory_desc_t *from, const dnnl_memory_desc_t *to,
                                  dnnl_primitive_t *reorder)
{
    dnnl_primitive_desc_t pd;
    TRY(dnnl_reorder_primitive_desc_create(&pd, from, onednn_engine, to, onednn_engine, NULL));
    const dnnl_status_t status = dnnl_primitive_create(reorder, pd);
    dnnl_primitive_desc_destroy(pd);
    TRY(status);
    return EQUINV_OK;
}

static equinv_status move(const state *s, const way *w, int i, bool written)
{
    const dnnl_exec_arg_t arguments[] = {{DNNL_ARG_FROM, written ? w->memory[i] : s->plain[i]},
                                         {DNNL_ARG_TO, written ? s->plain[i] : w->memory[i]}};
    if (w->reorder[i])
        TRY(dnnl_primitive_execute(w->reorder[i], onednn_stream, 2, arguments));
    return EQUINV_OK;
}

/* Memory in the kernel's layouts, with what it reads already there. */
static equinv_status way_create(const state *s, pass direction, dnnl_primitive_desc_t pd, way *w)
{
    const char *name = "";
    TRY(dnnl_primitive_desc_query(pd, dnnl_query_impl_info_str, 0, &name));
    snprintf(w->name, sizeof w->name, "%s", name);
    TRY(dnnl_primitive_create(&w->conv, pd));
    for (int i = 0; i < ROLES; i++) {
        const role *const r = &roles[direction][i];
        const dnnl_memory_desc_t *const own = dnnl_primitive_desc_query_md(pd, r->query, 0),
                                        *const plain = &s->plain_md[i];
        const bool same = dnnl_memory_desc_equal(own, plain);
        void *data = DNNL_MEMORY_ALLOCATE;
        if (same)
            TRY(dnnl_memory_get_data_handle(s->plain[i], &data));
        TRY(dnnl_memory_create(&w->memory[i], own, onednn_engine, data));
        const equinv_status status = same         ? EQUINV_OK
                                     : r->written ? make_reorder(own, plain, &w->reorder[i])
                                                  : make_reorder(plain, own, &w->reorder[i]);
        if (status)
            return status;
        if (!r->written && move(s, w, i, false))
            return EQUINV_ERR_BACKEND;
    }
    TRY(dnnl_stream_wait(onednn_stream));
    return EQUINV_OK;
}

static void way_destroy(way *w)
{
    for (int i = 0; i < ROLES; i++) {
        dnnl_primitive_destroy(w->reorder[i]);
        dnnl_memory_destroy(w->memory[i]);
    }
    dnnl_primitive_destroy(w->conv);
    *w = (way){.conv = NULL};
}

static equinv_status run_way(problem *p, int i)
{
    const state *const s = p->own;
    const way *const w = &s->ways[i];
    dnnl_exec_arg_t arguments[ROLES];
    for (int j = 0; j < ROLES; j++)
        arguments[j] = (dnnl_exec_arg_t){roles[p->what.pass][j].argument, w->memory[j]};
    TRY(dnnl_primitive_execute(w->conv, onednn_stream, ROLES, arguments));
    TRY(dnnl_stream_wait(onednn_stream));
    return EQUINV_OK;
}

/* ---- the problem ---------------------------------------------------------------------------------------- */

static void destroy(problem *p)
{
    state *const s = p->own;
    for (int i = 0; i < s->count; i++)
        way_destroy(&s->ways[i]);
    for (int i = 0; i < ROLES; i++)
        dnnl_memory_destroy(s->plain[i]);
    free(s->filter);
    free(s);
    p->own = NULL;
}

static equinv_status plain_create(problem *p)
{
    state *const s = p->own;
    const dense_conv *const d = &s->d;
    const dnnl_dims_t dims[ROLES] = {{d->batch, d->in, d->height, d->width},
                                     {d->out, d->in, d->kernel, d->kernel},
                                     {d->batch, d->out, d->out_height, d->out_width}};
    const pass direction = p->what.pass;
    void *const data[ROLES] = {
        direction == PASS_BACKWARD_DATA ? p->output[0].data : p->input[0].data, s->filter,
        direction == PASS_FORWARD            ? p->output[0].data
        : direction == PASS_BACKWARD_WEIGHTS ? p->input[1].data
                                             : p->input[0].data};
    for (int i = 0; i < ROLES; i++) {
        TRY(dnnl_memory_desc_init_by_tag(&s->plain_md[i], 4, dims[i], dnnl_f32, dnnl_abcd));
        TRY(dnnl_memory_create(&s->plain[i], &s->plain_md[i], onednn_engine, data[i]));
    }
    return EQUINV_OK;
}

static equinv_status add_way(problem *p, dnnl_prop_kind_t prop, dnnl_alg_kind_t algorithm)
{
    state *const s = p->own;
    const dnnl_primitive_desc_t pd = choose(s, p->what.pass, prop, algorithm);
    if (!pd)
        return EQUINV_OK;
    const equinv_status status = way_create(s, p->what.pass, pd, &s->ways[s->count++]);
    dnnl_primitive_desc_destroy(pd);
    return status;
}

/*
 * Training and inference have different kernels (inference: those over blocked products); for Winograd its
 * own words and what oneDNN's rule chooses.
 */
static equinv_status add_ways(problem *p, bool winograd)
{
    static const dnnl_alg_kind_t algorithms[] = {dnnl_convolution_direct, dnnl_convolution_winograd,
                                                 dnnl_convolution_auto};
    static const dnnl_prop_kind_t props[] = {dnnl_forward_training, dnnl_forward_inference};
    state *const s = p->own;
    equinv_status status = EQUINV_OK;
    for (int a = 0; a < (winograd ? 3 : 1); a++)
        for (int i = 0; !status && i < (p->what.pass == PASS_FORWARD ? 2 : 1); i++)
            status = add_way(p, props[i], algorithms[a]);
    if (!status && s->count == 0)
        status = peer_failed("oneDNN has no kernel for this problem");
    if (!status)
        status = peer_fastest(p, s->count, run_way, &s->chosen);
    if (!status)
        p->impl_name = s->ways[s->chosen].name;
    for (int i = 0; !status && i < s->count; i++) /* large problems: one set of tensors is enough */
        if (i != s->chosen)
            way_destroy(&s->ways[i]);
    return status;
}

static equinv_status create(problem *p, bool winograd)
{
    equinv_status status = p->what.op->runner.create(p);
    if (status)
        return status;
    if ((status = onednn_start()))
        return status;
    state *const s = p->own = calloc(1, sizeof *s);
    if (!s)
        return EQUINV_ERR_NOMEM;
    if ((status = dense_conv_of(&p->what, &s->d)) ||
        (status = dense_filter(p, &s->d, &s->filter)) || (status = plain_create(p)))
        return status;
    return add_ways(p, winograd);
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
    return run_way(p, ((const state *)p->own)->chosen);
}

static equinv_status move_all(problem *p, bool written, bool filters)
{
    const state *const s = p->own;
    const way *const w = &s->ways[s->chosen];
    equinv_status status = EQUINV_OK;
    for (int i = 0; !status && i < ROLES; i++)
        if (roles[p->what.pass][i].written == written && (filters || i != FILTER))
            status = move(s, w, i, written);
    if (!status)
        TRY(dnnl_stream_wait(onednn_stream));
    return status;
}

static equinv_status run_with_reorders(problem *p)
{
    equinv_status status = move_all(p, false, false);
    if (!status)
        status = run(p);
    return status ? status : move_all(p, true, false);
}

static equinv_status finish(problem *p)
{
    const equinv_status status = move_all(p, true, true);
    if (status || p->what.pass != PASS_BACKWARD_WEIGHTS)
        return status;
    const state *const s = p->own;
    return dense_gradient_to_psi(p, &s->d, s->filter);
}

static bool accepts(const bench_case *c)
{
    return is_conv(c) && c->dtype == EQUINV_F32;
}

static const bench_runner *no_network(const bench_case *c)
{
    (void)c;
    return NULL;
}

#define RUNNER(name, create, run, network)                                                         \
    const bench_runner *name(const bench_case *c)                                                  \
    {                                                                                              \
        static const bench_runner runner = {create, run, destroy, NULL, finish, false, NULL};      \
        return accepts(c) ? &runner : network(c);                                                  \
    }

RUNNER(onednn_direct, create_direct, run, onednn_net_direct)
RUNNER(onednn_auto, create_auto, run, onednn_net_auto)
RUNNER(onednn_reorder, create_direct, run_with_reorders, no_network)
