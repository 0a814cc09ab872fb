#include "tests/util/conv.h"

#include <inttypes.h>
#include <math.h>

#include "internal/conv.h"

equinv_conv_desc conv_random_desc(rng *r, equinv_dtype dtype)
{
    equinv_conv_desc d = EQUINV_CONV_DESC_INIT;
    d.kind = (equinv_conv_kind)rng_range(r, 0, 2);
    d.group = grid_groups[rng_range(r, 0, 5)];
    d.dtype = dtype;
    d.batch = rng_range(r, 0, 2) + (rng_range(r, 0, 3) > 0);
    d.channel_groups = rng_range(r, 0, 2) ? 1 : rng_range(r, 2, 3);
    d.fields_in = d.channel_groups * rng_range(r, 1, 2);
    d.fields_out = d.channel_groups * rng_range(r, 1, 2);
    d.kernel = rng_range(r, 1, 4);
    d.stride = rng_range(r, 1, 3);
    d.dilation = rng_range(r, 1, 2);
    d.padding_mode = (equinv_padding_mode)rng_range(r, 0, 1);
    d.padding = rng_range(r, 0, d.padding_mode == EQUINV_PAD_CIRCULAR ? 7 : 3);
    const int64_t reach = d.dilation * (d.kernel - 1) + 1 - 2 * d.padding;
    d.height = rng_range(r, reach > 1 ? reach : 1, (reach > 1 ? reach : 1) + 4);
    d.width = rng_range(r, reach > 1 ? reach : 1, (reach > 1 ? reach : 1) + 6);
    d.bias = rng_range(r, 0, 1);
    d.accumulate = rng_range(r, 0, 3) == 0;
    if (rng_range(r, 0, 2) == 0) {
        d.transposed = true;
        d.padding_mode = EQUINV_PAD_ZEROS;
        d.padding = rng_range(r, 0, 3);
        d.output_padding = rng_range(r, 0, d.stride - 1);
        d.height = rng_range(r, 1, 5), d.width = rng_range(r, 1, 6);
        const int64_t smallest = d.height < d.width ? d.height : d.width;
        const int64_t most = (smallest - 1) * d.stride + d.dilation * (d.kernel - 1);
        d.padding =
            2 * d.padding > most + d.output_padding ? (most + d.output_padding) / 2 : d.padding;
    }
    return d;
}

const char *conv_text(const equinv_conv_desc *d)
{
    static char text[256];
    char group[8];
    OK(equinv_group_name(d->group, group, sizeof group));
    snprintf(
        text, sizeof text,
        "%s kind %d %s, %lld x %lld -> %lld fields of %lld x %lld, k %lld s %lld p %lld%s d %lld "
        "groups %lld%s%s%s +%lld",
        group, (int)d->kind, equinv_dtype_name(d->dtype), (long long)d->batch,
        (long long)d->fields_in, (long long)d->fields_out, (long long)d->height,
        (long long)d->width, (long long)d->kernel, (long long)d->stride, (long long)d->padding,
        d->padding_mode ? " circular" : "", (long long)d->dilation, (long long)d->channel_groups,
        d->bias ? " bias" : "", d->accumulate ? " accumulate" : "",
        d->transposed ? " transposed" : "", (long long)d->output_padding);
    return text;
}

equinv_plan *conv_plan(equinv_context *ctx, const equinv_conv_desc *desc, const char *impl)
{
    equinv_conv_desc d = *desc;
    equinv_plan *plan = NULL;
    d.impl = impl;
    OK(equinv_conv_plan_create(ctx, &d, &plan));
    return plan;
}

void conv_check(uint64_t count, equinv_conv_desc (*problem)(rng *r),
                void (*check)(equinv_context *ctx, rng *r, equinv_conv_desc desc))
{
    equinv_context *const ctx = context_new();
    for (uint64_t seed = 0; seed < share_of(count); seed++) {
        rng r = {seed};
        check(ctx, &r, problem(&r));
    }
    equinv_context_destroy(ctx);
}

bool conv_takes(equinv_context *ctx, const equinv_conv_desc *desc)
{
    equinv_plan *plan = NULL;
    const equinv_status status = equinv_conv_plan_create(ctx, desc, &plan);
    ck_assert(status == EQUINV_OK || status == EQUINV_ERR_UNSUPPORTED);
    equinv_plan_destroy(plan);
    return status == EQUINV_OK;
}

static equinv_tensor filled(equinv_context *ctx, rng *r, equinv_dtype dtype, int ndim,
                            const int64_t *shape)
{
    equinv_tensor t;
    OK(equinv_tensor_create(ctx, dtype, ndim, shape, &t));
    if (r)
        tensor_fill_random(r, &t);
    return t;
}

conv_case conv_case_new(equinv_context *ctx, rng *r, const equinv_conv_desc *desc)
{
    conv_case c = {.desc = *desc, .plan = conv_plan(ctx, desc, desc->impl)};
    int32_t order;
    OK(equinv_group_order(desc->group, &order));
    OK(equinv_conv_output_size(desc, &c.out_height, &c.out_width));
    const bool regular = desc->kind == EQUINV_CONV_REGULAR;
    const int64_t k = desc->kernel;
    /* psi has the fields of what it goes to first: of the adjoint convolution where transposed */
    const int64_t rows = desc->transposed ? desc->fields_in : desc->fields_out;
    const int64_t columns =
        (desc->transposed ? desc->fields_out : desc->fields_in) / desc->channel_groups;
    c.order = order;
    c.elements_in = desc->kind == EQUINV_CONV_LIFTING ? 1 : order;
    c.elements_out = desc->kind == EQUINV_CONV_TO_PLANE ? 1 : order;
    const int64_t in[] = {desc->batch, desc->fields_in, c.elements_in, desc->height, desc->width};
    const int64_t out[] = {desc->batch, desc->fields_out, c.elements_out, c.out_height,
                           c.out_width};
    const int64_t psi[] = {rows, columns, order, k, k};
    const int64_t plain[] = {rows, columns, k, k};
    c.src = filled(ctx, r, desc->dtype, 5, in);
    c.psi = filled(ctx, r, desc->dtype, regular ? 5 : 4, regular ? psi : plain);
    c.bias = filled(ctx, r, desc->dtype, 1, &desc->fields_out);
    c.diff_dst = filled(ctx, r, desc->dtype, 5, out);
    c.dst = filled(ctx, NULL, desc->dtype, 5, out);
    c.diff_src = filled(ctx, NULL, desc->dtype, 5, in);
    c.diff_psi = filled(ctx, NULL, desc->dtype, regular ? 5 : 4, regular ? psi : plain);
    c.diff_bias = filled(ctx, NULL, desc->dtype, 1, &desc->fields_out);
    return c;
}

void conv_case_free(equinv_context *ctx, conv_case *c)
{
    equinv_tensor *const tensors[] = {&c->src, &c->psi,      &c->bias,     &c->diff_dst,
                                      &c->dst, &c->diff_src, &c->diff_psi, &c->diff_bias};
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++)
        equinv_tensor_destroy(ctx, tensors[i]);
    equinv_plan_destroy(c->plan);
}

void conv_run(conv_case *c, const equinv_plan *plan)
{
    const bool bias = c->desc.bias;
    OK(equinv_conv_forward(plan, &c->src, &c->psi, bias ? &c->bias : NULL, &c->dst, NULL, 0));
    OK(equinv_conv_backward_data(plan, &c->diff_dst, &c->psi, &c->diff_src, NULL, 0));
    OK(equinv_conv_backward_weights(plan, &c->src, &c->diff_dst, &c->diff_psi,
                                    bias ? &c->diff_bias : NULL, NULL, 0));
}

const char *conv_impl(int index)
{
    const eqi_implementation *const *entry = eqi_conv_list;
    for (; index > 0 && *entry; index--)
        entry++;
    return *entry ? strchr((*entry)->name, '/') + 1 : NULL;
}

/* ---- the benchmark's table -------------------------------------------------------------------- */

/* One line, "name --op conv --group C4 .."; the one pass that it asks for. */
static equinv_conv_desc read_case(char *line, int *pass)
{
    equinv_conv_desc d = EQUINV_CONV_DESC_INIT;
    const struct {
        const char *word;
        int64_t *value;
    } numbers[] = {{"--fields-in", &d.fields_in}, {"--fields-out", &d.fields_out},
                   {"--kernel", &d.kernel},       {"--stride", &d.stride},
                   {"--dilation", &d.dilation},   {"--padding", &d.padding},
                   {"--batch", &d.batch}};
    char *rest = NULL;
    d.padding = -1;
    *pass = CONV_FORWARD;
    strtok_r(line, " \n", &rest);
    for (char *word; (word = strtok_r(NULL, " \n", &rest));) {
        const char *const value = strtok_r(NULL, " \n", &rest);
        ck_assert_msg(value != NULL, "%s has no value", word);
        bool known = true;
        if (strcmp(word, "--op") == 0)
            d.kind = strcmp(value, "conv-lift") == 0    ? EQUINV_CONV_LIFTING
                     : strcmp(value, "conv-plane") == 0 ? EQUINV_CONV_TO_PLANE
                                                        : EQUINV_CONV_REGULAR;
        else if (strcmp(word, "--group") == 0)
            OK(equinv_group_parse(value, &d.group));
        else if (strcmp(word, "--pass") == 0)
            *pass =
                strcmp(value, "backward-data") == 0 ? CONV_BACKWARD_DATA : CONV_BACKWARD_WEIGHTS;
        else if (strcmp(word, "--size") == 0)
            known = sscanf(value, "%" SCNd64 "x%" SCNd64, &d.height, &d.width) == 2;
        else
            known = false;
        for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
            if (strcmp(word, numbers[i].word) == 0) {
                *numbers[i].value = strtoll(value, NULL, 10);
                known = true;
            }
        ck_assert_msg(known, "%s %s is not read by this test", word, value);
    }
    if (d.padding < 0)
        d.padding = (d.kernel - 1) / 2;
    return d;
}

bool conv_next_case(FILE *table, equinv_conv_desc *desc, int *pass)
{
    char line[512];
    while (fgets(line, sizeof line, table))
        if (line[0] != '#' && line[0] != '\n') {
            *desc = read_case(line, pass);
            return true;
        }
    return false;
}

/* ---- the dense filter ------------------------------------------------------------------------ */

/* Tap index of g^-1 applied to tap (ty, tx): positions are x right, y up from the centre. */
static int64_t turned_back(equinv_group group, int32_t g, int64_t k, int64_t ty, int64_t tx)
{
    int32_t inverse;
    double m[4];
    OK(equinv_group_inverse(group, g, &inverse));
    OK(equinv_group_plane(group, inverse, m));
    const double c = (double)(k - 1) / 2;
    const double x = (double)tx - c, y = -((double)ty - c);
    const double to_x = m[0] * x + m[1] * y, to_y = m[2] * x + m[3] * y;
    return lround(c - to_y) * k + lround(c + to_x);
}

typedef struct dense {
    int64_t in, out, taps; /* channels; every (out channel, in channel of its group, tap) */
    int64_t *place;        /* row-major number in psi */
} dense;

static dense dense_new(const conv_case *c)
{
    const equinv_conv_desc *const d = &c->desc;
    const int64_t k = d->kernel, fields = d->fields_in / d->channel_groups;
    dense f = {
        .in = fields * c->elements_in, .out = d->fields_out * c->elements_out, .taps = k * k};
    f.place = malloc((size_t)(f.in * f.out * f.taps) * sizeof *f.place);
    int64_t *place = f.place;
    for (int64_t o = 0; o < f.out; o++)
        for (int64_t i = 0; i < f.in; i++)
            for (int64_t t = 0; t < f.taps; t++, place++) {
                const int32_t g = (int32_t)(o % c->elements_out), h = (int32_t)(i % c->elements_in);
                const int64_t pair = o / c->elements_out * fields + i / c->elements_in;
                const int32_t turn = d->kind == EQUINV_CONV_TO_PLANE ? h : g;
                const int64_t v = turned_back(d->group, turn, k, t / k, t % k);
                int32_t a;
                OK(equinv_group_inverse(d->group, g, &a));
                OK(equinv_group_product(d->group, a, h, &a));
                *place = d->kind == EQUINV_CONV_REGULAR ? (pair * c->order + a) * f.taps + v
                                                        : pair * f.taps + v;
            }
    return f;
}

/* Position in the image, or -1 in the zeros around it. */
static int64_t inside(const equinv_conv_desc *d, int64_t at, int64_t size)
{
    if (d->padding_mode == EQUINV_PAD_CIRCULAR)
        while (at < 0 || at >= size)
            at += at < 0 ? size : -size;
    return at >= 0 && at < size ? at : -1;
}

static void add(const equinv_tensor *t, int64_t index, double value)
{
    ((double *)t->data)[index] += value;
}

/* The convolution that reads c's dst and gives c's src, without tensors. */
static conv_case adjoint_of(const conv_case *c)
{
    conv_case a = *c;
    a.desc.transposed = false;
    a.desc.kind = c->desc.kind == EQUINV_CONV_LIFTING    ? EQUINV_CONV_TO_PLANE
                  : c->desc.kind == EQUINV_CONV_TO_PLANE ? EQUINV_CONV_LIFTING
                                                         : EQUINV_CONV_REGULAR;
    a.desc.fields_in = c->desc.fields_out, a.desc.fields_out = c->desc.fields_in;
    a.desc.height = c->out_height, a.desc.width = c->out_width;
    a.elements_in = c->elements_out, a.elements_out = c->elements_in;
    a.out_height = c->desc.height, a.out_width = c->desc.width;
    return a;
}

/* What stands at the convolution's input and output: values, and results (with roles of a case). */
typedef struct ends {
    const equinv_tensor *in, *out;           /* src and diff_dst; transposed: diff_dst and src */
    const equinv_tensor *in_sums, *out_sums; /* diff_src and dst; transposed: dst and diff_src */
} ends;

/* Every product of the convolution once, into all results but those of the bias. */
static void accumulate(const conv_case *c, const dense *f, const ends *e,
                       const equinv_tensor *diff_psi)
{
    const equinv_conv_desc *const d = &c->desc;
    const int64_t image = d->height * d->width, window = c->out_height * c->out_width;
    const int64_t channels = d->channel_groups * f->in;
    for (int64_t n = 0; n < d->batch; n++)
        for (int64_t o = 0; o < f->out; o++)
            for (int64_t w = 0; w < window; w++) {
                const int64_t to = (n * f->out + o) * window + w;
                const double gradient = tensor_get(e->out, to);
                for (int64_t tap = 0; tap < f->taps; tap++) {
                    const int64_t y = inside(d,
                                             d->stride * (w / c->out_width) +
                                                 d->dilation * (tap / d->kernel) - d->padding,
                                             d->height);
                    const int64_t x = inside(d,
                                             d->stride * (w % c->out_width) +
                                                 d->dilation * (tap % d->kernel) - d->padding,
                                             d->width);
                    if (y < 0 || x < 0)
                        continue;
                    for (int64_t i = 0; i < f->in; i++) {
                        const int64_t first = o / (f->out / d->channel_groups) * f->in;
                        const int64_t from = (n * channels + first + i) * image + y * d->width + x;
                        const int64_t at = f->place[(o * f->in + i) * f->taps + tap];
                        const double weight = tensor_get(&c->psi, at);
                        const double value = tensor_get(e->in, from);
                        add(e->out_sums, to, weight * value);
                        add(e->in_sums, from, weight * gradient);
                        add(diff_psi, at, value * gradient);
                    }
                }
            }
}

static void accumulate_bias(const conv_case *c, const conv_truth *t)
{
    const int64_t field = c->elements_out * c->out_height * c->out_width;
    for (int64_t i = 0; i < equinv_tensor_count(&c->dst); i++) {
        const int64_t o = i / field % c->desc.fields_out;
        add(&t->diff_bias, o, tensor_get(&c->diff_dst, i));
        if (c->desc.bias)
            add(&t->dst, i, tensor_get(&c->bias, o));
    }
}

conv_truth conv_dense(equinv_context *ctx, const conv_case *c)
{
    conv_truth t;
    OK(equinv_tensor_create(ctx, EQUINV_F64, 5, c->dst.shape, &t.dst));
    OK(equinv_tensor_create(ctx, EQUINV_F64, 5, c->src.shape, &t.diff_src));
    OK(equinv_tensor_create(ctx, EQUINV_F64, c->psi.ndim, c->psi.shape, &t.diff_psi));
    OK(equinv_tensor_create(ctx, EQUINV_F64, 1, c->bias.shape, &t.diff_bias));
    const conv_case direct = c->desc.transposed ? adjoint_of(c) : *c;
    const ends e = c->desc.transposed ? (ends){&c->diff_dst, &c->src, &t.dst, &t.diff_src}
                                      : (ends){&c->src, &c->diff_dst, &t.diff_src, &t.dst};
    dense f = dense_new(&direct);
    accumulate(&direct, &f, &e, &t.diff_psi);
    accumulate_bias(c, &t);
    free(f.place);
    return t;
}

void conv_truth_free(equinv_context *ctx, conv_truth *t)
{
    equinv_tensor_destroy(ctx, &t->dst);
    equinv_tensor_destroy(ctx, &t->diff_src);
    equinv_tensor_destroy(ctx, &t->diff_psi);
    equinv_tensor_destroy(ctx, &t->diff_bias);
}

conv_case conv_other_outputs(equinv_context *ctx, const conv_case *c)
{
    conv_case other = *c;
    other.dst = tensor_like(ctx, &c->dst);
    other.diff_src = tensor_like(ctx, &c->diff_src);
    other.diff_psi = tensor_like(ctx, &c->diff_psi);
    other.diff_bias = tensor_like(ctx, &c->diff_bias);
    return other;
}

void conv_free_outputs(equinv_context *ctx, conv_case *c)
{
    equinv_tensor_destroy(ctx, &c->dst), equinv_tensor_destroy(ctx, &c->diff_src);
    equinv_tensor_destroy(ctx, &c->diff_psi), equinv_tensor_destroy(ctx, &c->diff_bias);
}

static void assert_close(const char *what, const equinv_tensor *a, const equinv_tensor *b,
                         double tolerance, const equinv_conv_desc *desc)
{
    const double error = tensor_error(a, b, NULL);
    ck_assert_msg(error <= tolerance, "%s differs by %g (%s)", what, error, conv_text(desc));
}

static void assert_by_name(const conv_case *c)
{
    const char *const name = equinv_plan_impl_name(c->plan);
    ck_assert_msg(strcmp(strchr(name, '/') + 1, c->desc.impl) == 0, "%s", name);
}

void conv_assert_dense(equinv_context *ctx, rng *r, const equinv_conv_desc *desc,
                       double bias_tolerance)
{
    conv_case c = conv_case_new(ctx, r, desc);
    conv_truth t = conv_dense(ctx, &c);
    assert_by_name(&c);
    conv_run(&c, c.plan);
    assert_close("dst", &c.dst, &t.dst, 2e-6, desc);
    assert_close("diff_src", &c.diff_src, &t.diff_src, 2e-6, desc);
    assert_close("diff_psi", &c.diff_psi, &t.diff_psi, 3e-6, desc);
    if (desc->bias)
        assert_close("diff_bias", &c.diff_bias, &t.diff_bias, bias_tolerance, desc);
    conv_truth_free(ctx, &t);
    conv_case_free(ctx, &c);
}

void conv_assert_ref(equinv_context *ctx, rng *r, const equinv_conv_desc *desc)
{
    conv_case c = conv_case_new(ctx, r, desc);
    conv_case truth = conv_other_outputs(ctx, &c);
    equinv_plan *const ref = conv_plan(ctx, desc, "ref");
    assert_by_name(&c);
    conv_run(&c, c.plan);
    conv_run(&truth, ref);
    assert_close("dst", &c.dst, &truth.dst, 2e-6, desc);
    assert_close("diff_src", &c.diff_src, &truth.diff_src, 2e-6, desc);
    assert_close("diff_psi", &c.diff_psi, &truth.diff_psi, 5e-6, desc);
    assert_close("diff_bias", &c.diff_bias, &truth.diff_bias, 5e-6, desc);
    conv_free_outputs(ctx, &truth);
    equinv_plan_destroy(ref);
    conv_case_free(ctx, &c);
}

void conv_assert_adjoints(equinv_context *ctx, rng *r, equinv_conv_desc desc)
{
    desc.bias = desc.accumulate = false;
    desc.batch += desc.batch == 0;
    conv_case c = conv_case_new(ctx, r, &desc);
    conv_run(&c, c.plan);
    const double product = tensor_dot(&c.dst, &c.diff_dst);
    const double scale =
        sqrt(tensor_dot(&c.dst, &c.dst) * tensor_dot(&c.diff_dst, &c.diff_dst)) + 1e-30;
    const double data = tensor_dot(&c.src, &c.diff_src);
    const double weights = tensor_dot(&c.psi, &c.diff_psi);
    ck_assert_msg(fabs(product - data) <= 2e-6 * scale && fabs(product - weights) <= 2e-6 * scale,
                  "%g, %g, %g of scale %g (%s)", product, data, weights, scale, conv_text(&desc));
    conv_case_free(ctx, &c);
}

conv_strided conv_assert_strides(equinv_context *ctx, rng *r, conv_case *c)
{
    conv_strided s = {.at = *c};
    conv_case *const at = &s.at;
    equinv_tensor *const tensors[] = {&at->src, &at->psi,      &at->bias,     &at->diff_dst,
                                      &at->dst, &at->diff_src, &at->diff_psi, &at->diff_bias};
    for (int j = 0; j < 8; j++)
        *tensors[j] = tensor_strided_copy(ctx, r, tensors[j], &s.storage[j]);
    conv_run(c, c->plan);
    conv_run(at, c->plan);
    ASSERT_SAME(&at->dst, &c->dst);
    ASSERT_SAME(&at->diff_src, &c->diff_src);
    ASSERT_SAME(&at->diff_psi, &c->diff_psi);
    ASSERT_SAME(&at->diff_bias, &c->diff_bias);
    return s;
}

void conv_strided_free(equinv_context *ctx, conv_strided *s)
{
    for (int j = 0; j < 8; j++)
        equinv_tensor_destroy(ctx, &s->storage[j]);
}

void conv_assert_same_bits(equinv_context *ctx, rng *r, equinv_conv_desc desc)
{
    desc.accumulate = false;
    conv_case c = conv_case_new(ctx, r, &desc);
    conv_strided s = conv_assert_strides(ctx, r, &c);
    conv_case *const at = &s.at;
    equinv_tensor packed;
    const int64_t size = (int64_t)equinv_plan_packed_size(c.plan);
    OK(equinv_tensor_create(ctx, EQUINV_U8, 1, &size, &packed));
    OK(equinv_conv_pack(c.plan, &c.psi, packed.data, (size_t)size));
    OK(equinv_conv_forward(c.plan, &at->src, &packed, desc.bias ? &at->bias : NULL, &at->dst, NULL,
                           0));
    OK(equinv_conv_backward_data(c.plan, &at->diff_dst, &packed, &at->diff_src, NULL, 0));
    ASSERT_SAME(&at->dst, &c.dst);
    ASSERT_SAME(&at->diff_src, &c.diff_src);
    conv_strided_free(ctx, &s);
    equinv_tensor_destroy(ctx, &packed);
    conv_case_free(ctx, &c);
}
