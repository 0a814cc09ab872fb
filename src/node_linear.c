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
    EQI_TRY(eqi_check_plan_create(ctx, desc, plan));
    eqi_node_linear_problem p;
    EQI_TRY(describe(desc, &p));
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

/* ---- calls ------------------------------------------------------------------------------------ */

enum { OUTPUT = true, INPUT = false, OPTIONAL = true, NEEDED = false };

static eqi_node_argument src_of(const eqi_node_linear_problem *p, const equinv_tensor *tensor,
                                const char *name, bool output, equinv_tensor *view)
{
    return eqi_node_values_argument(tensor, name, p->order_in, p->batch, p->in, p->nodes, output,
                                    view);
}

static eqi_node_argument dst_of(const eqi_node_linear_problem *p, const equinv_tensor *tensor,
                                const char *name, bool output, equinv_tensor *view)
{
    return eqi_node_values_argument(tensor, name, p->order_out, p->batch, p->out, p->nodes, output,
                                    view);
}

static eqi_node_argument weights_of(const eqi_node_linear_problem *p, const equinv_tensor *weights,
                                    const char *name, bool output)
{
    eqi_node_argument a = {weights, name, EQI_NODE_PARAMETER, 3, {0}, output, NEEDED, NULL};
    weights_shape(p, a.shape);
    return a;
}

static eqi_node_argument bias_of(const eqi_node_linear_problem *p, const equinv_tensor *bias,
                                 const char *name, bool output, bool may_be_null)
{
    return (eqi_node_argument){
        bias, name, EQI_NODE_PARAMETER, 2, {p->order_out, p->out}, output, may_be_null, NULL};
}

equinv_status equinv_node_linear_forward(const equinv_plan *plan, const equinv_tensor *src,
                                         const equinv_tensor *mask, const equinv_tensor *weights,
                                         const equinv_tensor *bias, const equinv_tensor *dst,
                                         void *scratch, size_t scratch_size)
{
    EQI_TRY(eqi_check_plan(plan, EQI_OP_NODE_LINEAR, "equinv_node_linear_forward"));
    const node_linear_plan *const linear = (const node_linear_plan *)plan;
    const eqi_node_linear_problem *const p = &linear->problem;
    eqi_node_linear_args a = {.mask = mask, .weights = weights, .bias = bias};
    EQI_CHECK(!bias || linear->bias, ARG,
              "bias is given, expected NULL as the description has none");
    const eqi_node_argument arguments[] = {
        src_of(p, src, "src", INPUT, &a.src),
        eqi_node_mask_argument(mask, p->batch, p->nodes),
        weights_of(p, weights, "weights", INPUT),
        bias_of(p, bias, "bias", INPUT, linear->bias ? NEEDED : OPTIONAL),
        dst_of(p, dst, "dst", OUTPUT, &a.dst),
    };
    EQI_TRY(eqi_check_node_arguments(plan->ctx, p->dtype, arguments, 5));
    EQI_TRY(eqi_scratch(plan->ctx, plan->scratch_size, scratch, scratch_size, &a.scratch));
    return linear->impl->forward(plan->ctx, p, &a);
}

equinv_status
equinv_node_linear_backward_data(const equinv_plan *plan, const equinv_tensor *diff_dst,
                                 const equinv_tensor *mask, const equinv_tensor *weights,
                                 const equinv_tensor *diff_src, void *scratch, size_t scratch_size)
{
    EQI_TRY(eqi_check_plan(plan, EQI_OP_NODE_LINEAR, "equinv_node_linear_backward_data"));
    const node_linear_plan *const linear = (const node_linear_plan *)plan;
    const eqi_node_linear_problem *const p = &linear->problem;
    eqi_node_linear_args a = {.mask = mask, .weights = weights};
    const eqi_node_argument arguments[] = {
        dst_of(p, diff_dst, "diff_dst", INPUT, &a.dst),
        eqi_node_mask_argument(mask, p->batch, p->nodes),
        weights_of(p, weights, "weights", INPUT),
        src_of(p, diff_src, "diff_src", OUTPUT, &a.src),
    };
    EQI_TRY(eqi_check_node_arguments(plan->ctx, p->dtype, arguments, 4));
    EQI_TRY(eqi_scratch(plan->ctx, plan->scratch_size, scratch, scratch_size, &a.scratch));
    return linear->impl->backward_data(plan->ctx, p, &a);
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
    const eqi_node_linear_problem *const p = &linear->problem;
    eqi_node_linear_args a = {.mask = mask, .weights = diff_weights, .bias = diff_bias};
    const eqi_node_argument arguments[] = {
        src_of(p, src, "src", INPUT, &a.src),
        eqi_node_mask_argument(mask, p->batch, p->nodes),
        dst_of(p, diff_dst, "diff_dst", INPUT, &a.dst),
        weights_of(p, diff_weights, "diff_weights", OUTPUT),
        bias_of(p, diff_bias, "diff_bias", OUTPUT, OPTIONAL),
    };
    EQI_TRY(eqi_check_node_arguments(plan->ctx, p->dtype, arguments, 5));
    EQI_TRY(eqi_scratch(plan->ctx, plan->scratch_size, scratch, scratch_size, &a.scratch));
    return linear->impl->backward_weights(plan->ctx, p, &a);
}
