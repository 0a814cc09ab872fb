#include "internal/node_linear.h"

#include "internal/backend.h"

typedef struct node_linear_plan {
    equinv_plan head;
    eqi_node_linear_problem problem;
    const eqi_node_linear_implementation *impl;
    bool bias;
} node_linear_plan;

#define PAIR(from, to)                                                                             \
    {                                                                                              \
        EQI_FROM_##from, EQI_TO_##to                                                               \
    }
/* As the header counts them; [symmetric][order_in - 1][order_out - 1]. */
static const eqi_node_basis bases[2][2][2] = {
    {{{2, {PAIR(NODE, ROWS), PAIR(ALL, ROWS)}},
      {5,
       {PAIR(NODE, DIAGONAL), PAIR(NODE, ROWS), PAIR(NODE, COLUMNS), PAIR(ALL, DIAGONAL),
        PAIR(ALL, ROWS)}}},
     {{5,
       {PAIR(NODE, ROWS), PAIR(ROW, ROWS), PAIR(COLUMN, ROWS), PAIR(TRACE, ROWS), PAIR(ALL, ROWS)}},
      {15,
       {PAIR(PAIR, PAIR), PAIR(TRANSPOSED, PAIR), PAIR(NODE, DIAGONAL), PAIR(ROW, DIAGONAL),
        PAIR(COLUMN, DIAGONAL), PAIR(NODE, ROWS), PAIR(ROW, ROWS), PAIR(COLUMN, ROWS),
        PAIR(NODE, COLUMNS), PAIR(ROW, COLUMNS), PAIR(COLUMN, COLUMNS), PAIR(TRACE, DIAGONAL),
        PAIR(ALL, DIAGONAL), PAIR(TRACE, ROWS), PAIR(ALL, ROWS)}}}},
    {{{2, {PAIR(NODE, ROWS), PAIR(ALL, ROWS)}},
      {4, {PAIR(NODE, DIAGONAL), PAIR(NODE, BOTH), PAIR(ALL, DIAGONAL), PAIR(ALL, ROWS)}}},
     {{4, {PAIR(NODE, ROWS), PAIR(ROW, ROWS), PAIR(TRACE, ROWS), PAIR(ALL, ROWS)}},
      {9,
       {PAIR(PAIR, PAIR), PAIR(NODE, DIAGONAL), PAIR(ROW, DIAGONAL), PAIR(NODE, BOTH),
        PAIR(ROW, BOTH), PAIR(TRACE, DIAGONAL), PAIR(ALL, DIAGONAL), PAIR(TRACE, ROWS),
        PAIR(ALL, ROWS)}}}},
};
#undef PAIR

static equinv_status describe(const equinv_node_linear_desc *d, eqi_node_linear_problem *p)
{
    EQI_TRY(eqi_check_desc(d->struct_size, sizeof *d, "equinv_node_linear_desc"));
    EQI_CHECK(d->dtype == EQUINV_F32 || d->dtype == EQUINV_F64, DTYPE,
              "dtype is %s, expected f32 or f64", equinv_dtype_name(d->dtype));
    EQI_TRY(eqi_check_node_order(d->order_in, "order_in"));
    EQI_TRY(eqi_check_node_order(d->order_out, "order_out"));
    EQI_TRY(eqi_check_extent(d->batch, "batch", 0));
    EQI_TRY(eqi_check_extent(d->nodes, "nodes", 1));
    EQI_TRY(eqi_check_extent(d->channels_in, "channels_in", 1));
    EQI_TRY(eqi_check_extent(d->channels_out, "channels_out", 1));
    const bool pairs = d->order_in == 2 || d->order_out == 2;
    const eqi_node_basis *const basis =
        &bases[d->symmetric && pairs][d->order_in - 1][d->order_out - 1];
    const int64_t columns_in = d->order_in == 2 ? d->nodes : 1;
    const int64_t columns_out = d->order_out == 2 ? d->nodes : 1;
    int64_t count;
    EQI_TRY(eqi_product_of("src", 4, (int64_t[]){d->batch, d->channels_in, d->nodes, columns_in},
                           &count));
    EQI_TRY(eqi_product_of("dst", 4, (int64_t[]){d->batch, d->channels_out, d->nodes, columns_out},
                           &count));
    EQI_TRY(eqi_product_of("weights", 3, (int64_t[]){basis->count, d->channels_out, d->channels_in},
                           &count));
    *p = (eqi_node_linear_problem){
        d->dtype,       d->order_in,     d->order_out,          d->batch,      d->nodes,
        d->channels_in, d->channels_out, d->symmetric && pairs, d->accumulate, *basis};
    return EQUINV_OK;
}

static void weights_shape(const eqi_node_linear_problem *p, int64_t shape[3])
{
    shape[0] = p->basis.count;
    shape[1] = p->out;
    shape[2] = p->in;
}

equinv_status equinv_node_linear_weights_shape(const equinv_node_linear_desc *desc,
                                               int64_t shape[3])
{
    EQI_CHECK(desc, ARG, "desc is NULL, expected a description");
    EQI_CHECK(shape, ARG, "shape is NULL, expected room for 3 extents");
    eqi_node_linear_problem p;
    EQI_TRY(describe(desc, &p));
    weights_shape(&p, shape);
    return EQUINV_OK;
}

equinv_status equinv_node_linear_plan_create(equinv_context *ctx,
                                             const equinv_node_linear_desc *desc,
                                             equinv_plan **plan)
{
    EQI_CHECK(ctx, ARG, "ctx is NULL, expected a context");
    EQI_CHECK(desc, ARG, "desc is NULL, expected a description");
    EQI_CHECK(plan, ARG, "plan is NULL, expected where to put the plan");
    eqi_node_linear_problem p;
    EQI_TRY(describe(desc, &p));
    EQI_CHECK(ctx->backend->node_linear, UNSUPPORTED,
              "%s has no linear layers of nodes, expected a CPU context", ctx->backend->name);
    const eqi_implementation *chosen;
    EQI_TRY(eqi_choose(ctx, ctx->backend->node_linear, &p, desc->impl, &chosen));
    const eqi_node_linear_implementation *const impl =
        (const eqi_node_linear_implementation *)chosen;
    int64_t scratch;
    EQI_TRY(impl->scratch_size(&p, &ctx->hardware, &scratch));
    EQI_TRY(eqi_arena_reserve(ctx, (size_t)scratch));

    equinv_plan *head;
    EQI_TRY(eqi_plan_allocate(ctx, EQI_OP_NODE_LINEAR, sizeof(node_linear_plan), &head));
    node_linear_plan *const new = (node_linear_plan *)head;
    new->problem = p;
    new->impl = impl;
    new->bias = desc->bias;
    head->impl_name = chosen->name;
    head->scratch_size = (size_t)scratch;
    *plan = head;
    return EQUINV_OK;
}

static equinv_status check_src(const node_linear_plan *plan, const equinv_tensor *tensor,
                               const char *name, bool output, equinv_tensor *view)
{
    const eqi_node_linear_problem *const p = &plan->problem;
    return eqi_check_nodes(plan->head.ctx, tensor, name, output, p->dtype, p->order_in,
                           (int64_t[]){p->batch, p->in, p->nodes}, view);
}

static equinv_status check_dst(const node_linear_plan *plan, const equinv_tensor *tensor,
                               const char *name, bool output, equinv_tensor *view)
{
    const eqi_node_linear_problem *const p = &plan->problem;
    return eqi_check_nodes(plan->head.ctx, tensor, name, output, p->dtype, p->order_out,
                           (int64_t[]){p->batch, p->out, p->nodes}, view);
}

static equinv_status check_mask(const node_linear_plan *plan, const equinv_tensor *mask)
{
    return eqi_check_node_mask(plan->head.ctx, mask, plan->problem.batch, plan->problem.nodes);
}

static equinv_status check_parameters(const node_linear_plan *plan, const equinv_tensor *tensor,
                                      const char *name, bool output, int32_t ndim,
                                      const int64_t *shape)
{
    EQI_TRY(
        (output ? eqi_check_output : eqi_check_tensor)(plan->head.ctx, tensor, name, EQI_FLOAT));
    EQI_TRY(eqi_check_dtype(tensor, name, plan->problem.dtype));
    return eqi_check_shape(tensor, name, ndim, shape);
}

static equinv_status check_weights(const node_linear_plan *plan, const equinv_tensor *tensor,
                                   const char *name, bool output)
{
    int64_t shape[3];
    weights_shape(&plan->problem, shape);
    return check_parameters(plan, tensor, name, output, 3, shape);
}

static equinv_status check_bias(const node_linear_plan *plan, const equinv_tensor *tensor,
                                const char *name, bool output)
{
    return check_parameters(plan, tensor, name, output, 2,
                            (int64_t[]){plan->problem.order_out, plan->problem.out});
}

/* An output and an input that may be NULL. */
static equinv_status check_apart(const equinv_tensor *output, const char *output_name,
                                 const equinv_tensor *input, const char *input_name)
{
    return input ? eqi_check_disjoint(output, output_name, input, input_name) : EQUINV_OK;
}

equinv_status equinv_node_linear_forward(const equinv_plan *plan, const equinv_tensor *src,
                                         const equinv_tensor *mask, const equinv_tensor *weights,
                                         const equinv_tensor *bias, const equinv_tensor *dst,
                                         void *scratch, size_t scratch_size)
{
    EQI_TRY(eqi_check_plan(plan, EQI_OP_NODE_LINEAR, "equinv_node_linear_forward"));
    const node_linear_plan *const linear = (const node_linear_plan *)plan;
    eqi_node_linear_args a = {.mask = mask, .weights = weights, .bias = bias};
    EQI_TRY(check_src(linear, src, "src", false, &a.src));
    EQI_TRY(check_mask(linear, mask));
    EQI_TRY(check_weights(linear, weights, "weights", false));
    EQI_CHECK(!bias || linear->bias, ARG,
              "bias is given, expected NULL as the description has none");
    if (linear->bias)
        EQI_TRY(check_bias(linear, bias, "bias", false));
    EQI_TRY(check_dst(linear, dst, "dst", true, &a.dst));
    EQI_TRY(eqi_check_disjoint(dst, "dst", src, "src"));
    EQI_TRY(check_apart(dst, "dst", mask, "mask"));
    EQI_TRY(eqi_check_disjoint(dst, "dst", weights, "weights"));
    EQI_TRY(check_apart(dst, "dst", bias, "bias"));
    EQI_TRY(eqi_scratch(plan->ctx, plan->scratch_size, scratch, scratch_size, &a.scratch));
    return linear->impl->forward(plan->ctx, &linear->problem, &a);
}

equinv_status
equinv_node_linear_backward_data(const equinv_plan *plan, const equinv_tensor *diff_dst,
                                 const equinv_tensor *mask, const equinv_tensor *weights,
                                 const equinv_tensor *diff_src, void *scratch, size_t scratch_size)
{
    EQI_TRY(eqi_check_plan(plan, EQI_OP_NODE_LINEAR, "equinv_node_linear_backward_data"));
    const node_linear_plan *const linear = (const node_linear_plan *)plan;
    eqi_node_linear_args a = {.mask = mask, .weights = weights};
    EQI_TRY(check_dst(linear, diff_dst, "diff_dst", false, &a.dst));
    EQI_TRY(check_mask(linear, mask));
    EQI_TRY(check_weights(linear, weights, "weights", false));
    EQI_TRY(check_src(linear, diff_src, "diff_src", true, &a.src));
    EQI_TRY(eqi_check_disjoint(diff_src, "diff_src", diff_dst, "diff_dst"));
    EQI_TRY(check_apart(diff_src, "diff_src", mask, "mask"));
    EQI_TRY(eqi_check_disjoint(diff_src, "diff_src", weights, "weights"));
    EQI_TRY(eqi_scratch(plan->ctx, plan->scratch_size, scratch, scratch_size, &a.scratch));
    return linear->impl->backward_data(plan->ctx, &linear->problem, &a);
}

equinv_status equinv_node_linear_backward_weights(const equinv_plan *plan, const equinv_tensor *src,
                                                  const equinv_tensor *mask,
                                                  const equinv_tensor *diff_dst,
                                                  const equinv_tensor *diff_weights,
                                                  const equinv_tensor *diff_bias, void *scratch,
                                                  size_t scratch_size)
{
    EQI_TRY(eqi_check_plan(plan, EQI_OP_NODE_LINEAR, "equinv_node_linear_backward_weights"));
    const node_linear_plan *const linear = (const node_linear_plan *)plan;
    eqi_node_linear_args a = {.mask = mask, .weights = diff_weights, .bias = diff_bias};
    EQI_TRY(check_src(linear, src, "src", false, &a.src));
    EQI_TRY(check_mask(linear, mask));
    EQI_TRY(check_dst(linear, diff_dst, "diff_dst", false, &a.dst));
    EQI_TRY(check_weights(linear, diff_weights, "diff_weights", true));
    EQI_TRY(eqi_check_disjoint(diff_weights, "diff_weights", src, "src"));
    EQI_TRY(check_apart(diff_weights, "diff_weights", mask, "mask"));
    EQI_TRY(eqi_check_disjoint(diff_weights, "diff_weights", diff_dst, "diff_dst"));
    if (diff_bias) {
        EQI_TRY(check_bias(linear, diff_bias, "diff_bias", true));
        EQI_TRY(eqi_check_disjoint(diff_bias, "diff_bias", src, "src"));
        EQI_TRY(check_apart(diff_bias, "diff_bias", mask, "mask"));
        EQI_TRY(eqi_check_disjoint(diff_bias, "diff_bias", diff_dst, "diff_dst"));
        EQI_TRY(eqi_check_disjoint(diff_bias, "diff_bias", diff_weights, "diff_weights"));
    }
    EQI_TRY(eqi_scratch(plan->ctx, plan->scratch_size, scratch, scratch_size, &a.scratch));
    return linear->impl->backward_weights(plan->ctx, &linear->problem, &a);
}
