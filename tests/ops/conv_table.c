/*
 * The benchmark's table of convolutions, bench/cases/conv.txt: what it promises to contain, and its
 * shapes in f32, all passes on every level, against products in f64.
 */
#include <math.h>

#include "tests/util/conv.h"

enum { SHARES = 8, BATCH = 2 };

static FILE *open_table(void)
{
    FILE *const table = fopen("bench/cases/conv.txt", "r");
    ck_assert_ptr_nonnull(table);
    return table;
}

/* Extents seen in the table; every value of a small range, or the ends of a large one. */
typedef struct seen {
    int kinds[3], groups[6], kernels[17], strides[4], passes[8];
    int64_t least_fields, most_fields, least_size, most_size;
    bool single, batch;
} seen;

static void note(seen *s, const equinv_conv_desc *d)
{
    s->kinds[d->kind]++;
    for (int i = 0; i < 6; i++)
        s->groups[i] += d->group.kind == grid_groups[i].kind && d->group.n == grid_groups[i].n;
    s->kernels[d->kernel]++;
    s->strides[d->stride]++;
    const int64_t fields[] = {d->fields_in, d->fields_out}, sizes[] = {d->height, d->width};
    for (int i = 0; i < 2; i++) {
        s->least_fields = fields[i] < s->least_fields ? fields[i] : s->least_fields;
        s->most_fields = fields[i] > s->most_fields ? fields[i] : s->most_fields;
        s->least_size = sizes[i] < s->least_size ? sizes[i] : s->least_size;
        s->most_size = sizes[i] > s->most_size ? sizes[i] : s->most_size;
    }
    s->single |= d->batch == 1;
    s->batch |= d->batch == 16;
}

/* Each group but C1 with each kind and kernel size, in every pass. */
START_TEST(what_the_table_contains)
{
    FILE *const table = open_table();
    seen s = {.least_fields = 99, .least_size = 99};
    static int combined[3][6][8][8];
    equinv_conv_desc d;
    int pass;
    memset(combined, 0, sizeof combined);
    while (conv_next_case(table, &d, &pass)) {
        s.passes[pass]++;
        for (int i = 0; i < 6; i++)
            if (d.group.kind == grid_groups[i].kind && d.group.n == grid_groups[i].n)
                combined[d.kind][i][d.kernel][pass]++;
        if (pass == CONV_FORWARD)
            note(&s, &d);
    }
    fclose(table);
    ck_assert_int_ge(s.passes[CONV_FORWARD] - s.groups[0], 120);
    ck_assert_int_ge(s.passes[CONV_BACKWARD_DATA], 120);
    ck_assert_int_ge(s.passes[CONV_BACKWARD_WEIGHTS], 120);
    for (int kind = 0; kind < 3; kind++)
        for (int group = 1; group < 6; group++)
            for (int kernel = 1; kernel < 8; kernel++)
                for (int p = CONV_FORWARD; p <= CONV_BACKWARD_WEIGHTS; p *= 2)
                    ck_assert_msg(combined[kind][group][kernel][p] > 0,
                                  "kind %d, group %d, kernel %d, pass %d", kind, group, kernel, p);
    ck_assert(s.strides[1] > 0 && s.strides[2] > 0 && s.single && s.batch);
    ck_assert(s.least_fields == 1 && s.most_fields == 64);
    ck_assert(s.least_size == 5 && s.most_size == 64);
}
END_TEST

static bool is_window(const equinv_conv_desc *d)
{
    return d->height == d->kernel && d->width == d->kernel && d->padding == 0;
}

/* By the dense form of one image: their truth takes long, every fourth is looked at. */
static bool is_large(const equinv_conv_desc *d)
{
    int32_t order;
    OK(equinv_group_order(d->group, &order));
    const double fields = (double)(d->fields_in * d->fields_out) * order * order;
    return fields * (double)(d->kernel * d->kernel * d->height * d->width) > 2e7;
}

/* Sums of thousands of numbers of both signs: against the sum of their sizes. */
static void check_bias(const conv_case *c, const equinv_tensor *truth)
{
    const int64_t all = equinv_tensor_count(&c->diff_dst), fields = c->desc.fields_out;
    const int64_t field = all / c->desc.batch / fields;
    for (int64_t o = 0; o < fields; o++) {
        double sizes = 0;
        for (int64_t i = 0; i < all; i++)
            sizes += i / field % fields == o ? fabs(tensor_get(&c->diff_dst, i)) : 0;
        const double error = fabs(tensor_get(&c->diff_bias, o) - tensor_get(truth, o));
        ck_assert_msg(error <= 1e-7 * sizes, "diff_bias differs by %g of %g (%s)", error, sizes,
                      conv_text(&c->desc));
    }
}

#define CLOSE(a, b, tolerance)                                                                     \
    do {                                                                                           \
        const double error_ = tensor_error((a), (b), NULL);                                        \
        ck_assert_msg(error_ <= (tolerance), "%s differs by %g (level %d, %s)", #a, error_, l,     \
                      conv_text(&d));                                                              \
    } while (0)

START_TEST(every_shape_on_every_level)
{
    equinv_context *const ctx = context_new(), *level[TEST_LEVELS];
    for (int l = 0; l < TEST_LEVELS; l++)
        level[l] = context_at_level(l);
    FILE *const table = open_table();
    equinv_conv_desc d;
    const int apart = (int)(1000 / share_of(1000));
    int shapes = 0, mine = 0, large = 0, small[2] = {0}, pass;
    while (conv_next_case(table, &d, &pass)) {
        if (pass != CONV_FORWARD || shapes++ % SHARES != _i || mine++ % apart ||
            (is_large(&d) && large++ % 4))
            continue;
        d.batch = d.batch > BATCH ? BATCH : d.batch;
        d.bias = true;
        rng r = {(uint64_t)shapes};
        conv_case c = conv_case_new(ctx, &r, &d), truth = c;
        equinv_tensor *const all[] = {&truth.src,      &truth.psi,      &truth.bias,
                                      &truth.diff_dst, &truth.dst,      &truth.diff_src,
                                      &truth.diff_psi, &truth.diff_bias};
        equinv_conv_desc exact = d;
        exact.dtype = EQUINV_F64;
        truth.plan = conv_plan(ctx, &exact, "gemm");
        for (int i = 0; i < 8; i++)
            *all[i] = tensor_as(ctx, all[i], EQUINV_F64);
        conv_run(&truth, truth.plan);
        for (int l = 0; l < TEST_LEVELS; l++) {
            if (!level[l])
                continue;
            equinv_plan *const plan = conv_plan(level[l], &d, NULL);
            const char *const name = equinv_plan_impl_name(plan);
            if (is_window(&d))
                ck_assert_str_eq(name, "conv/window");
            else if (is_large(&d) && d.kind == EQUINV_CONV_REGULAR &&
                     (d.group.n > 1 ||
                      d.group.kind == EQUINV_GROUP_DIHEDRAL)) /* C1 goes either way */
                ck_assert_str_eq(name, "conv/gfourier");
            else
                small[strcmp(name, "conv/gfourier") == 0]++;
            conv_run(&c, plan);
            CLOSE(&c.dst, &truth.dst, 2e-6);
            CLOSE(&c.diff_src, &truth.diff_src, 2e-6);
            CLOSE(&c.diff_psi, &truth.diff_psi, 3e-6);
            check_bias(&c, &truth.diff_bias);
            equinv_plan_destroy(plan);
        }
        conv_case_free(ctx, &truth);
        conv_case_free(ctx, &c);
    }
    ck_assert_int_ge(shapes, 150);
    ck_assert_msg(apart > 1 || (small[0] > 0 && small[1] > 0),
                  "small shapes all go one way: %d and %d", small[0], small[1]);
    fclose(table);
    for (int l = 0; l < TEST_LEVELS; l++)
        equinv_context_destroy(level[l]);
    equinv_context_destroy(ctx);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {what_the_table_contains, 1},
        {every_shape_on_every_level, SHARES},
    };
    return run_tests("conv_table", tests, sizeof tests / sizeof *tests);
}
