/* Wrong arguments and failing allocations of every projection function. */
#include "tests/ops/projection_cases.h"

static equinv_projection_desc good(void)
{
    return desc_of(EQUINV_PROJECT_MAX, group_cases[12], EQUINV_F32, 2, 5, 1);
}

static equinv_projection_desc good_rows(void)
{
    equinv_projection_desc d = EQUINV_PROJECTION_DESC_INIT;
    d.kind = EQUINV_PROJECT_PROJECT_SORT;
    d.group = equinv_symmetric();
    d.rows = 4, d.channels = 3, d.k = 5;
    return d;
}

static bool of_rows(int kind)
{
    return kind == EQUINV_PROJECT_SORT || kind == EQUINV_PROJECT_PROJECT_SORT;
}

static equinv_projection_desc good_signals(void)
{
    return desc_of(EQUINV_PROJECT_BISPECTRUM, group_cases[12], EQUINV_F32, 2, 0, 1);
}

START_TEST(create_refuses)
{
    equinv_context *ctx = context_new();
    equinv_tensor user = tensor_new(ctx, EQUINV_F32, 5, 5, 2, 4, 3, 3);
    equinv_tensor wide = tensor_new(ctx, EQUINV_F64, 5, 5, 2, 4, 3, 3);
    equinv_tensor few = tensor_new(ctx, EQUINV_F32, 5, 4, 2, 4, 3, 3);
    equinv_tensor narrow = tensor_new(ctx, EQUINV_F32, 2, 5, 2);
    equinv_tensor elsewhere = user;
    elsewhere.device.kind = EQUINV_DEVICE_CUDA;
    equinv_projection *const untouched = (equinv_projection *)&user;
    equinv_projection *p = untouched;
    equinv_projection_desc d = good();
    FAILS(EQUINV_ERR_ARG, "ctx", equinv_projection_create(NULL, &d, &p));
    FAILS(EQUINV_ERR_ARG, "desc", equinv_projection_create(ctx, NULL, &p));
    FAILS(EQUINV_ERR_ARG, "projection", equinv_projection_create(ctx, &d, NULL));
#define REFUSED(status, word, base, change)                                                        \
    do {                                                                                           \
        d = base();                                                                                \
        change;                                                                                    \
        FAILS(EQUINV_ERR_##status, word, equinv_projection_create(ctx, &d, &p));                   \
        ck_assert(p == untouched);                                                                 \
    } while (0)
    const int64_t large = INT64_C(1) << 40;
    REFUSED(ARG, "struct_size", good, d.struct_size = 8);
    REFUSED(ARG, "kind is 0", good, d.kind = (equinv_projection_kind)0);
    REFUSED(ARG, "kind is 19", good, d.kind = (equinv_projection_kind)19);
    static const double thresholds[] = {0, 1, (double)NAN};
    static const int32_t ranks[] = {0, 3, 3, 4, -1};
    REFUSED(ARG, "thresholds is NULL", good, (d.kind = EQUINV_PROJECT_CDF, d.threshold_count = 2));
    REFUSED(ARG, "thresholds is given", good, d.thresholds = thresholds);
    REFUSED(ARG, "thresholds is given", good_rows, d.thresholds = thresholds);
    REFUSED(ARG, "threshold_count is 1, expected 0", good, d.threshold_count = 1);
    REFUSED(ARG, "threshold_count is 0, expected 1 to 4096", good,
            (d.kind = EQUINV_PROJECT_CDF, d.thresholds = thresholds));
    REFUSED(ARG, "threshold_count is 4097", good,
            (d.kind = EQUINV_PROJECT_CDF, d.thresholds = thresholds, d.threshold_count = 4097));
    REFUSED(ARG, "NaN at place 2", good,
            (d.kind = EQUINV_PROJECT_CDF, d.thresholds = thresholds, d.threshold_count = 3));
    REFUSED(ARG, "ranks is given", good, (d.ranks = ranks, d.rank_count = 1));
    REFUSED(ARG, "ranks is given", good_rows, (d.ranks = ranks, d.rank_count = 1));
    REFUSED(ARG, "rank_count is 1, expected no ranks", good, d.rank_count = 1);
    REFUSED(ARG, "rank_count is 0, expected 1 to", good,
            (d.kind = EQUINV_PROJECT_SORTED, d.ranks = ranks));
    REFUSED(ARG, "rank_count is 5", good,
            (d.kind = EQUINV_PROJECT_SORTED, d.ranks = ranks, d.rank_count = 5));
    REFUSED(ARG, "3 at place 2", good,
            (d.kind = EQUINV_PROJECT_SORTED, d.ranks = ranks, d.rank_count = 3));
    REFUSED(ARG, "4 at place 0", good,
            (d.kind = EQUINV_PROJECT_SORTED, d.ranks = ranks + 3, d.rank_count = 1));
    REFUSED(ARG, "-1 at place 0", good,
            (d.kind = EQUINV_PROJECT_SORTED, d.ranks = ranks + 4, d.rank_count = 1));
    REFUSED(ARG, "kind is -1", good, d.kind = (equinv_projection_kind)-1);
    REFUSED(ARG, "C0", good, d.group.n = 0);
    REFUSED(ARG, "C1025", good, d.group.n = 1025);
    REFUSED(ARG, "kind 5", good, d.group.kind = (equinv_group_kind)5);
    REFUSED(UNSUPPORTED, "group is S", good, d.group = equinv_symmetric());
    REFUSED(DTYPE, "bf16", good, d.dtype = EQUINV_BF16);
    REFUSED(DTYPE, "i32", good, d.dtype = EQUINV_I32);
    REFUSED(DTYPE, "unknown", good, d.dtype = (equinv_dtype)3);
    REFUSED(SHAPE, "fields is 0", good, d.fields = 0);
    REFUSED(SHAPE, "fields is -3", good, d.fields = -3);
    REFUSED(SHAPE, "height is 0", good, d.height = 0);
    REFUSED(SHAPE, "width is -1", good, d.width = -1);
    REFUSED(SHAPE, "90 degrees", good, d.width = 4);
    REFUSED(SHAPE, "interpolation", good, d.group = equinv_cyclic(8));
    REFUSED(SHAPE, "2^63", good, (d.fields = large, d.height = d.width = 1 << 20));
    REFUSED(SHAPE, "k is 0", good, d.k = 0);
    REFUSED(SHAPE, "k is -2", good, d.k = -2);
    REFUSED(SHAPE, "the templates", good, (d.k = large, d.fields = large));
    REFUSED(ARG, "templates is 0", good, d.templates = (equinv_template_kind)0);
    REFUSED(ARG, "templates is 9", good, d.templates = (equinv_template_kind)9);
    REFUSED(ARG, "at most 72", good, (d.templates = EQUINV_TEMPLATE_ORTHONORMAL, d.k = 73));
    REFUSED(ARG, "at most 18", good,
            (d.templates = EQUINV_TEMPLATE_ORTHONORMAL, d.k = 19, d.kind = EQUINV_PROJECT_LINEAR));
    REFUSED(ARG, "user_templates is NULL", good, d.templates = EQUINV_TEMPLATE_USER);
    REFUSED(ARG, "user_templates is given", good, d.user_templates = &user);
    REFUSED(DTYPE, "user_templates", good,
            (d.templates = EQUINV_TEMPLATE_USER, d.user_templates = &wide));
    REFUSED(SHAPE, "4 templates", good,
            (d.templates = EQUINV_TEMPLATE_USER, d.user_templates = &few));
    REFUSED(SHAPE, "user_templates", good,
            (d.templates = EQUINV_TEMPLATE_USER, d.user_templates = &narrow));
    REFUSED(DEVICE, "user_templates", good,
            (d.templates = EQUINV_TEMPLATE_USER, d.user_templates = &elsewhere));
    REFUSED(ARG, "gfourier, gemm, network, spectrum, ref", good, d.impl = "best");

    REFUSED(UNSUPPORTED, "group is S", good_signals, d.group = equinv_symmetric());
    REFUSED(SHAPE, "fields is 0", good_signals, d.fields = 0);
    REFUSED(SHAPE, "90 degrees", good_signals, d.width = 4);
    REFUSED(UNSUPPORTED, "no templates", good_signals, d.impl = "gfourier");
    REFUSED(ARG, "expected S", good_rows, d.group = equinv_cyclic(4));
    REFUSED(ARG, "n = 2", good_rows, d.group.n = 2);
    REFUSED(SHAPE, "rows is 0", good_rows, d.rows = 0);
    REFUSED(SHAPE, "below 2^31", good_rows, d.rows = INT64_C(1) << 31);
    REFUSED(SHAPE, "channels is 0", good_rows, d.channels = 0);
    REFUSED(SHAPE, "2^63", good_rows, (d.rows = 1 << 30, d.channels = large));
    REFUSED(SHAPE, "k is 0", good_rows, d.k = 0);
    REFUSED(ARG, "at most 3", good_rows, (d.templates = EQUINV_TEMPLATE_ORTHONORMAL, d.k = 4));
    REFUSED(SHAPE, "user_templates", good_rows,
            (d.templates = EQUINV_TEMPLATE_USER, d.user_templates = &narrow));
    REFUSED(UNSUPPORTED, "gemm", good_rows, d.impl = "gemm");
#undef REFUSED
    equinv_projection_destroy(NULL);
    equinv_tensor_destroy(ctx, &user);
    equinv_tensor_destroy(ctx, &wide);
    equinv_tensor_destroy(ctx, &few);
    equinv_tensor_destroy(ctx, &narrow);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(templates_of_zeros_or_no_numbers_are_refused)
{
    static const struct {
        int64_t at;
        double value;
        const char *sentence;
    } spoiled[] = {
        {1 * 72 + 5, (double)NAN, "template 1 has nan at coordinate 5"},
        {2 * 72 + 71, -(double)INFINITY, "template 2 has -inf at coordinate 71"},
    };
    equinv_context *ctx = context_new();
    rng r = {77};
    equinv_projection *p = NULL;
    equinv_projection_desc d = good();
    equinv_tensor w =
        tensor_random(ctx, &r, EQUINV_F32, 5, 4, (int)d.fields, 4, (int)d.height, (int)d.width);
    d.k = 4, d.templates = EQUINV_TEMPLATE_USER, d.user_templates = &w;
    OK(equinv_projection_create(ctx, &d, &p));
    equinv_projection_destroy(p);
    for (int i = 0; i < 2; i++) {
        const double was = tensor_get(&w, spoiled[i].at);
        tensor_set(&w, spoiled[i].at, spoiled[i].value);
        FAILS(EQUINV_ERR_ARG, spoiled[i].sentence, equinv_projection_create(ctx, &d, &p));
        tensor_set(&w, spoiled[i].at, was);
    }
    for (int64_t i = 0; i < 72; i++)
        tensor_set(&w, 3 * 72 + i, i % 2 ? 0.0 : -0.0);
    FAILS(EQUINV_ERR_ARG, "template 3 is zero in all of its 72 numbers",
          equinv_projection_create(ctx, &d, &p));
    tensor_set(&w, 3 * 72 + 71, 1e-30);
    OK(equinv_projection_create(ctx, &d, &p));
    equinv_projection_destroy(p);
    equinv_tensor_destroy(ctx, &w);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(kinds_without_templates_ignore_what_they_have_no_use_for)
{
    equinv_context *ctx = context_new();
    for (int kind = EQUINV_PROJECT_SORT; kind <= EQUINV_PROJECT_FOURIER; kind++) {
        equinv_projection_desc d = kind == EQUINV_PROJECT_SORT ? good_rows() : good_signals();
        equinv_projection *p;
        if (kind != EQUINV_PROJECT_SORT && kind < EQUINV_PROJECT_POWER)
            continue;
        d.kind = (equinv_projection_kind)kind;
        d.k = -1;
        d.templates = (equinv_template_kind)77;
        OK(equinv_projection_create(ctx, &d, &p));
        equinv_projection_destroy(p);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(questions)
{
    static const struct {
        equinv_projection_kind kind;
        int32_t ndim;
        int64_t shape[3], saved; /* for a batch of 3, in F32 */
    } cases[] = {
        {EQUINV_PROJECT_LINEAR, 2, {3, 5, 0}, 0},
        {EQUINV_PROJECT_MAX, 2, {3, 5, 0}, 60},
        {EQUINV_PROJECT_MEAN, 2, {3, 5, 0}, 0},
        {EQUINV_PROJECT_MEAN_RELU, 2, {3, 5, 0}, 240},
        {EQUINV_PROJECT_MEAN_ABS, 2, {3, 5, 0}, 240},
        {EQUINV_PROJECT_MEAN_SQUARE, 2, {3, 5, 0}, 240},
        {EQUINV_PROJECT_SORTED, 3, {3, 5, 4}, 240},
        {EQUINV_PROJECT_ORBIT, 3, {3, 5, 4}, 0},
        {EQUINV_PROJECT_SORT, 3, {3, 4, 3}, 144},
        {EQUINV_PROJECT_PROJECT_SORT, 3, {3, 5, 4}, 240},
        {EQUINV_PROJECT_MIN, 2, {3, 5, 0}, 60},
        {EQUINV_PROJECT_MOMENT3, 2, {3, 5, 0}, 240},
        {EQUINV_PROJECT_CDF, 3, {3, 5, 2}, 0},
        {EQUINV_PROJECT_POWER, 3, {3, 18, 4}, 864},
        {EQUINV_PROJECT_BISPECTRUM, 3, {3, 18, 8}, 864},
        {EQUINV_PROJECT_BISPECTRUM_FULL, 3, {3, 18, 32}, 864},
        {EQUINV_PROJECT_TRIPLE, 3, {3, 18, 16}, 864},
        {EQUINV_PROJECT_FOURIER, 3, {3, 18, 8}, 0},
    };
    static const double thresholds[] = {0, 1};
    equinv_context *ctx = context_new();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const bool rows = of_rows(cases[i].kind);
        equinv_projection_desc d = rows ? good_rows() : good();
        equinv_projection *p;
        int32_t ndim;
        int64_t shape[3] = {0}, rank = -1;
        equinv_tensor templates;
        d.kind = cases[i].kind;
        if (d.kind == EQUINV_PROJECT_CDF)
            d.thresholds = thresholds, d.threshold_count = 2;
        OK(equinv_projection_create(ctx, &d, &p));
        OK(equinv_projection_output_shape(p, 3, &ndim, shape));
        ck_assert(ndim == cases[i].ndim && memcmp(shape, cases[i].shape, sizeof shape) == 0);
        ck_assert_int_eq(equinv_projection_saved_size(p, 3), cases[i].saved);
        ck_assert_int_eq(equinv_projection_saved_size(p, 0), 0);
        ck_assert_int_eq(equinv_projection_saved_size(p, -1), -1);
        ck_assert_int_eq(equinv_projection_saved_size(p, INT64_MAX), cases[i].saved ? -1 : 0);
        FAILS(EQUINV_ERR_SHAPE, "batch is -1", equinv_projection_output_shape(p, -1, &ndim, shape));
        FAILS(EQUINV_ERR_ARG, "ndim", equinv_projection_output_shape(p, 3, NULL, shape));
        FAILS(EQUINV_ERR_ARG, "shape", equinv_projection_output_shape(p, 3, &ndim, NULL));
        FAILS(EQUINV_ERR_ARG, "templates is NULL", equinv_projection_templates(p, NULL));
        FAILS(EQUINV_ERR_ARG, "rank is NULL", equinv_projection_rank(p, NULL));
        if (!rows) {
            OK(equinv_projection_rank(p, &rank));
            ck_assert_int_eq(rank, 18);
        }
        if (cases[i].kind != EQUINV_PROJECT_SORT && cases[i].kind < EQUINV_PROJECT_POWER)
            OK(equinv_projection_templates(p, &templates));
        equinv_projection_destroy(p);
    }
    int32_t ndim;
    int64_t shape[3], rank;
    equinv_tensor templates;
    FAILS(EQUINV_ERR_ARG, "projection", equinv_projection_output_shape(NULL, 3, &ndim, shape));
    FAILS(EQUINV_ERR_ARG, "projection", equinv_projection_templates(NULL, &templates));
    FAILS(EQUINV_ERR_ARG, "projection", equinv_projection_rank(NULL, &rank));
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(forward_and_backward_refuse)
{
    equinv_context *ctx = context_new();
    equinv_projection_desc d = good();
    equinv_projection *p;
    OK(equinv_projection_create(ctx, &d, &p));
    equinv_tensor z = tensor_new(ctx, EQUINV_F32, 5, 3, 2, 4, 3, 3);
    equinv_tensor diff = tensor_like(ctx, &z), codes = tensor_new(ctx, EQUINV_F32, 2, 3, 5);
    equinv_tensor wide = tensor_new(ctx, EQUINV_F64, 5, 3, 2, 4, 3, 3);
    equinv_tensor wide_codes = tensor_new(ctx, EQUINV_F64, 2, 3, 5);
    equinv_tensor other = tensor_new(ctx, EQUINV_F32, 5, 3, 2, 4, 3, 2);
    equinv_tensor few = tensor_new(ctx, EQUINV_F32, 2, 2, 5);
    equinv_tensor mask = tensor_new(ctx, EQUINV_U8, 2, 3, 4);
    equinv_tensor saved = tensor_new(ctx, EQUINV_U8, 1, 128);
    equinv_tensor elsewhere = z, nowhere = z, repeated = codes, inside = codes;
    equinv_tensor repeated_z = z, negative = codes;
    elsewhere.device.index = 3;
    nowhere.data = NULL;
    repeated.strides[1] = 0;
    inside.data = z.data;
    repeated_z.strides[0] = 0;
    negative.shape[0] = -3;
#define FORWARD(status, word, src, m, dst, s, size)                                                \
    FAILS(EQUINV_ERR_##status, word, equinv_project_forward(p, src, m, dst, s, size, NULL, 0))
#define BACKWARD(status, word, diff_dst, m, s, size, diff_src)                                     \
    FAILS(EQUINV_ERR_##status, word,                                                               \
          equinv_project_backward(p, diff_dst, m, s, size, diff_src, NULL, 0))
    FAILS(EQUINV_ERR_ARG, "projection",
          equinv_project_forward(NULL, &z, NULL, &codes, NULL, 0, NULL, 0));
    FORWARD(ARG, "src is NULL", NULL, NULL, &codes, NULL, 0);
    FORWARD(DTYPE, "src has dtype f64", &wide, NULL, &codes, NULL, 0);
    FORWARD(DTYPE, "src has dtype u8", &mask, NULL, &codes, NULL, 0);
    FORWARD(DEVICE, "src", &elsewhere, NULL, &codes, NULL, 0);
    FORWARD(ARG, "data NULL", &nowhere, NULL, &codes, NULL, 0);
    FORWARD(SHAPE, "src has shape [3, 2, 4, 3, 2]", &other, NULL, &codes, NULL, 0);
    FORWARD(SHAPE, "src has shape [3, 5]", &codes, NULL, &codes, NULL, 0);
    FORWARD(ARG, "mask is given", &z, &mask, &codes, NULL, 0);
    FORWARD(ARG, "dst is NULL", &z, NULL, NULL, NULL, 0);
    FORWARD(DTYPE, "dst", &z, NULL, &wide_codes, NULL, 0);
    FORWARD(SHAPE, "dst has shape [2, 5]", &z, NULL, &few, NULL, 0);
    FORWARD(SHAPE, "stride", &z, NULL, &repeated, NULL, 0);
    FORWARD(ARG, "overlaps", &z, NULL, &inside, NULL, 0);
    FORWARD(SCRATCH, "saved_size is 59", &z, NULL, &codes, saved.data, 59);
    FORWARD(SCRATCH, "aligned", &z, NULL, &codes, (char *)saved.data + 4, 124);
    FAILS(EQUINV_ERR_ARG, "projection",
          equinv_project_backward(NULL, &codes, NULL, saved.data, 128, &diff, NULL, 0));
    BACKWARD(ARG, "diff_dst is NULL", NULL, NULL, saved.data, 128, &diff);
    BACKWARD(DTYPE, "diff_dst", &wide_codes, NULL, saved.data, 128, &diff);
    BACKWARD(SHAPE, "extent -3", &negative, NULL, saved.data, 128, &diff);
    BACKWARD(SHAPE, "diff_dst has shape", &z, NULL, saved.data, 128, &diff);
    BACKWARD(ARG, "mask is given", &codes, &mask, saved.data, 128, &diff);
    BACKWARD(ARG, "saved is NULL", &codes, NULL, NULL, 0, &diff);
    BACKWARD(SCRATCH, "saved_size is 59", &codes, NULL, saved.data, 59, &diff);
    BACKWARD(ARG, "diff_src is NULL", &codes, NULL, saved.data, 128, NULL);
    BACKWARD(DTYPE, "diff_src", &codes, NULL, saved.data, 128, &wide);
    BACKWARD(SHAPE, "diff_src has shape", &codes, NULL, saved.data, 128, &other);
    BACKWARD(SHAPE, "batch of 3, expected 2", &few, NULL, saved.data, 128, &diff);
    BACKWARD(SHAPE, "stride", &codes, NULL, saved.data, 128, &repeated_z);
    BACKWARD(ARG, "overlaps", &inside, NULL, saved.data, 128, &z);
    ck_assert(tensor_max_abs(&codes) == 0 && tensor_max_abs(&diff) == 0);
    ck_assert(tensor_max_abs(&saved) == 0);
    equinv_projection_destroy(p);

    d = good_rows();
    OK(equinv_projection_create(ctx, &d, &p));
    equinv_tensor rows = tensor_new(ctx, EQUINV_F32, 3, 3, 4, 3);
    equinv_tensor sorted = tensor_new(ctx, EQUINV_F32, 3, 3, 5, 4);
    equinv_tensor short_mask = tensor_new(ctx, EQUINV_U8, 2, 3, 3);
    equinv_tensor real_mask = tensor_new(ctx, EQUINV_F32, 2, 3, 4), covered = sorted;
    FORWARD(SHAPE, "src has shape [3, 2, 4, 3, 3]", &z, NULL, &sorted, NULL, 0);
    FORWARD(SHAPE, "mask has shape [3, 3]", &rows, &short_mask, &sorted, NULL, 0);
    FORWARD(DTYPE, "mask has dtype f32", &rows, &real_mask, &sorted, NULL, 0);
    FORWARD(SHAPE, "dst has shape [3, 5]", &rows, &mask, &codes, NULL, 0);
    covered.data = mask.data;
    FORWARD(ARG, "dst overlaps mask", &rows, &mask, &covered, NULL, 0);
    BACKWARD(SHAPE, "mask has shape [3, 3]", &sorted, &short_mask, saved.data, 128, &rows);
#undef FORWARD
#undef BACKWARD
    equinv_projection_destroy(p);
    equinv_tensor *const all[] = {&z,     &diff, &codes,  &wide,       &wide_codes, &other, &few,
                                  &saved, &rows, &sorted, &short_mask, &real_mask,  &mask};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        equinv_tensor_destroy(ctx, all[i]);
    equinv_context_destroy(ctx);
}
END_TEST

#define ones(ctx, ...) filled_with_one(tensor_new(ctx, EQUINV_F32, __VA_ARGS__))
static equinv_tensor filled_with_one(equinv_tensor t)
{
    for (int64_t i = 0; i < equinv_tensor_count(&t); i++)
        tensor_set(&t, i, 1);
    return t;
}

START_TEST(out_of_memory_leaves_nothing_behind)
{
    static const equinv_template_kind templates[] = {
        EQUINV_TEMPLATE_GAUSSIAN, EQUINV_TEMPLATE_ORTHONORMAL, EQUINV_TEMPLATE_USER};
    fault_allocator f = {.until = -1};
    equinv_context *ctx = context_of_faults(&f);
    equinv_tensor user = ones(ctx, 5, 5, 2, 4, 3, 3), user_rows = ones(ctx, 2, 3, 3);
    const int64_t live = f.live;
    for (int kind = EQUINV_PROJECT_LINEAR; kind <= EQUINV_PROJECT_FOURIER; kind++)
        for (int t = 0; t < 3; t++)
            for (int impl = 0; impl < 2; impl++) {
                const bool rows = of_rows(kind), signals = kind >= EQUINV_PROJECT_POWER;
                equinv_projection_desc d = rows ? good_rows() : good();
                if (impl == 1 && (rows || kind == EQUINV_PROJECT_TRIPLE ||
                                  kind == EQUINV_PROJECT_BISPECTRUM_FULL))
                    continue;
                d.kind = (equinv_projection_kind)kind;
                d.k = rows ? 3 : 5;
                d.templates = templates[t];
                d.user_templates = t == 2 ? rows ? &user_rows : &user : NULL;
                d.impl = signals && impl == 1 ? "spectrum" : implementations[impl];
                static const double threshold = 0.5;
                if (kind == EQUINV_PROJECT_CDF)
                    d.thresholds = &threshold, d.threshold_count = 1;
                equinv_projection *p = NULL;
                equinv_status status = EQUINV_ERR_NOMEM;
                int64_t allowed = 0;
                for (; status == EQUINV_ERR_NOMEM; allowed++) {
                    f.count = 0, f.until = allowed;
                    status = equinv_projection_create(ctx, &d, &p);
                    if (status == EQUINV_ERR_NOMEM)
                        ck_assert(p == NULL && f.live == live);
                }
                ck_assert_int_eq(status, EQUINV_OK);
                /* At least the projection, and its templates if it has any. */
                ck_assert(allowed >
                          (kind == EQUINV_PROJECT_SORT || (signals && impl == 0) ? 1 : 2));
                f.until = -1;
                equinv_tensor z = rows ? tensor_new(ctx, EQUINV_F32, 3, 2, 4, 3)
                                       : tensor_new(ctx, EQUINV_F32, 5, 2, 2, 4, 3, 3);
                equinv_tensor codes = codes_of(ctx, p, EQUINV_F32, 2), saved = saved_of(ctx, p, 2);
                f.count = f.until = 0; /* executing allocates nothing */
                OK(equinv_project_forward(p, &z, NULL, &codes, saved.data, size_of(&saved), NULL,
                                          0));
                OK(equinv_project_backward(p, &codes, NULL, saved.data, size_of(&saved), &z, NULL,
                                           0));
                f.until = -1;
                equinv_tensor_destroy(ctx, &z);
                equinv_tensor_destroy(ctx, &codes);
                equinv_tensor_destroy(ctx, &saved);
                equinv_projection_destroy(p);
                /* A new context for each case, so that its arena has to grow as well. */
                equinv_tensor_destroy(ctx, &user);
                equinv_tensor_destroy(ctx, &user_rows);
                equinv_context_destroy(ctx);
                ck_assert(f.live == 0 && f.wrong_size == 0);
                ctx = context_of_faults(&f);
                user = ones(ctx, 5, 5, 2, 4, 3, 3);
                user_rows = ones(ctx, 2, 3, 3);
            }
    equinv_tensor_destroy(ctx, &user);
    equinv_tensor_destroy(ctx, &user_rows);
    equinv_context_destroy(ctx);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {create_refuses, 1},
        {templates_of_zeros_or_no_numbers_are_refused, 1},
        {kinds_without_templates_ignore_what_they_have_no_use_for, 1},
        {questions, 1},
        {forward_and_backward_refuse, 1},
        {out_of_memory_leaves_nothing_behind, 1},
    };
    return run_tests("projection_args", tests, sizeof tests / sizeof *tests);
}
