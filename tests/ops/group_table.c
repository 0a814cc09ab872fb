/* Groups given by tables: what is made, what is refused, and act, orbits, projections, reports on them. */
#include <pthread.h>

#include "tests/ops/projection_cases.h"

static int32_t product_of(equinv_group g, int32_t a, int32_t b)
{
    int32_t c = -1;
    OK(equinv_group_product(g, a, b, &c));
    return c;
}

/* A group's own products. */
static int32_t *table_of(equinv_group g)
{
    const int32_t order = order_of(g);
    int32_t *const table = malloc((size_t)(order * order) * sizeof *table);
    for (int32_t i = 0; i < order * order; i++)
        table[i] = product_of(g, i / order, i % order);
    return table;
}

static equinv_group copy_of(equinv_group g)
{
    equinv_group copy = {0};
    int32_t *const table = table_of(g);
    OK(equinv_group_from_table(order_of(g), table, &copy));
    free(table);
    return copy;
}

/* Q8: 1, i, j, k, -1, -i, -j, -k. */
static equinv_group quaternions(void)
{
    static const int8_t unit[4][4] = {{0, 1, 2, 3}, {1, 4, 3, 6}, {2, 7, 4, 1}, {3, 2, 5, 4}};
    int32_t table[64];
    for (int a = 0; a < 8; a++)
        for (int b = 0; b < 8; b++)
            table[8 * a + b] = (unit[a % 4][b % 4] + 4 * (a / 4 + b / 4)) % 8;
    equinv_group g = {0};
    OK(equinv_group_from_table(8, table, &g));
    return g;
}

/* S_n as permutations of n points, from a swap and a turn. */
static equinv_group symmetric_group(int32_t n, int32_t *elements)
{
    int32_t generators[2][8];
    equinv_group g = {0};
    for (int32_t x = 0; x < n; x++) {
        generators[0][x] = x;
        generators[1][x] = (x + 1) % n;
    }
    generators[0][0] = 1, generators[0][1] = 0;
    int32_t both[16];
    memcpy(both, generators[0], (size_t)n * sizeof *both);
    memcpy(both + n, generators[1], (size_t)n * sizeof *both);
    OK(equinv_group_from_permutations(n, 2, both, &g, elements));
    return g;
}

START_TEST(copies_of_named_groups)
{
    static const equinv_group named[] = {{EQUINV_GROUP_CYCLIC, 1},   {EQUINV_GROUP_CYCLIC, 6},
                                         {EQUINV_GROUP_CYCLIC, 64},  {EQUINV_GROUP_DIHEDRAL, 1},
                                         {EQUINV_GROUP_DIHEDRAL, 5}, {EQUINV_GROUP_DIHEDRAL, 8}};
    for (int i = 0; i < 6; i++) {
        const equinv_group g = named[i], copy = copy_of(g), again = copy_of(g);
        const int32_t order = order_of(g);
        char name[8], text[8];
        equinv_group read;
        ck_assert(copy.kind == EQUINV_GROUP_TABLE && copy.n == again.n && again.kind == copy.kind);
        ck_assert_int_eq(order_of(copy), order);
        OK(equinv_group_name(copy, name, sizeof name));
        snprintf(text, sizeof text, "T%d", (int)copy.n);
        ck_assert_str_eq(name, text);
        FAILS(EQUINV_ERR_ARG, "unknown", equinv_group_parse(name, &read));
        int32_t classes[2], of[2][128], a, b;
        for (int which = 0; which < 2; which++)
            OK(equinv_group_classes(which ? copy : g, &classes[which], of[which]));
        ck_assert(classes[0] == classes[1] &&
                  memcmp(of[0], of[1], (size_t)order * sizeof *of[0]) == 0);
        for (int32_t x = 0; x < order; x++) {
            bool on_grid;
            OK(equinv_group_inverse(g, x, &a));
            OK(equinv_group_inverse(copy, x, &b));
            ck_assert_int_eq(a, b);
            OK(equinv_group_on_grid(copy, x, &on_grid));
            ck_assert(on_grid == (x == 0));
        }
        double matrix[4];
        FAILS(EQUINV_ERR_UNSUPPORTED, "table", equinv_group_plane(copy, 0, matrix));
        FAILS(EQUINV_ERR_UNSUPPORTED, "table", equinv_group_irrep_count(copy, &a));
        FAILS(EQUINV_ERR_UNSUPPORTED, "table", equinv_group_irrep(copy, 0, 0, &a, matrix));
        FAILS(EQUINV_ERR_ARG, "expected 0 to", equinv_group_product(copy, order, 0, &a));
    }
    int32_t order;
    FAILS(EQUINV_ERR_ARG, "T1000, which no call has made",
          equinv_group_order((equinv_group){EQUINV_GROUP_TABLE, 1000}, &order));
    FAILS(EQUINV_ERR_ARG, "which no call has made",
          equinv_group_order((equinv_group){EQUINV_GROUP_TABLE, -1}, &order));
    FAILS(EQUINV_ERR_ARG, "which no call has made",
          equinv_group_order((equinv_group){EQUINV_GROUP_TABLE, INT32_MAX}, &order));
}
END_TEST

START_TEST(first_broken_axiom_is_named)
{
    equinv_group g = {EQUINV_GROUP_CYCLIC, 77};
    const equinv_group before = g;
    int32_t *const c6 = table_of(equinv_cyclic(6));
#define BROKEN(place, value, words)                                                                \
    do {                                                                                           \
        const int32_t kept_ = c6[place];                                                           \
        c6[place] = value;                                                                         \
        FAILS(EQUINV_ERR_ARG, words, equinv_group_from_table(6, c6, &g));                          \
        c6[place] = kept_;                                                                         \
        ck_assert(g.kind == before.kind && g.n == before.n);                                       \
    } while (0)
    BROKEN(8, 6, "not closed: the product 1 2 is 6, expected 0 to 5");
    BROKEN(35, -1, "not closed: the product 5 5 is -1");
    BROKEN(3, 2, "no identity at 0: the products 0 3 and 3 0 are 2 and 3, expected 3");
    BROKEN(24, 0, "no identity at 0: the products 0 4 and 4 0 are 4 and 0");
    BROKEN(16, 1, "no inverse of 2");
#undef BROKEN
    free(c6);
    /* Any loop of order 5 that is no group: a Latin square with inverses, not associative. */
    static const int32_t loop[25] = {0, 1, 2, 3, 4, 1, 0, 3, 4, 2, 2, 4, 0,
                                     1, 3, 3, 2, 4, 0, 1, 4, 3, 1, 2, 0};
    FAILS(EQUINV_ERR_ARG, "table is not associative: (", equinv_group_from_table(5, loop, &g));
    FAILS(EQUINV_ERR_ARG, "table is NULL", equinv_group_from_table(5, NULL, &g));
    FAILS(EQUINV_ERR_ARG, "group is NULL", equinv_group_from_table(5, loop, NULL));
    FAILS(EQUINV_ERR_UNSUPPORTED, "has 0 elements", equinv_group_from_table(0, loop, &g));
    FAILS(EQUINV_ERR_UNSUPPORTED, "has 1025 elements, expected 1 to 1024",
          equinv_group_from_table(1025, loop, &g));
    ck_assert(g.kind == before.kind && g.n == before.n);
}
END_TEST

/* Whatever one product of a group is changed to, the result is no group. */
START_TEST(no_single_change_goes_unnoticed)
{
    rng r = {70};
    const equinv_group groups[] = {quaternions(), equinv_dihedral(3), equinv_cyclic(7)};
    for (int i = 0; i < 3; i++) {
        const int32_t order = order_of(groups[i]);
        int32_t *const table = table_of(groups[i]);
        for (int trial = 0; trial < 200; trial++) {
            equinv_group g;
            const int64_t place = rng_range(&r, 0, order * order - 1);
            const int32_t kept = table[place];
            table[place] = (int32_t)rng_range(&r, 0, order - 1);
            const equinv_status status = equinv_group_from_table(order, table, &g);
            ck_assert(status == (table[place] == kept ? EQUINV_OK : EQUINV_ERR_ARG));
            table[place] = kept;
        }
        free(table);
    }
}
END_TEST

START_TEST(generated_by_permutations)
{
    static int32_t elements[EQUINV_GROUP_MAX_ORDER * 8];
    for (int32_t n = 2; n <= 6; n++) {
        const equinv_group g = symmetric_group(n, elements);
        const int32_t order = order_of(g);
        int32_t factorial = 1;
        for (int32_t i = 2; i <= n; i++)
            factorial *= i;
        ck_assert_int_eq(order, factorial);
        for (int32_t a = 0; a < order; a++)
            for (int32_t b = 0; b < order; b += n) {
                const int32_t *const of = elements + product_of(g, a, b) * n;
                for (int32_t x = 0; x < n; x++)
                    ck_assert(of[x] == elements[a * n + elements[b * n + x]]);
            }
    }
    equinv_group g = {0};
    int32_t seven[14] = {1, 0, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6, 0};
    FAILS(EQUINV_ERR_UNSUPPORTED, "more than 1024 elements",
          equinv_group_from_permutations(7, 2, seven, &g, NULL));
    OK(equinv_group_from_permutations(7, 0, NULL, &g, NULL));
    ck_assert_int_eq(order_of(g), 1);
    OK(equinv_group_from_permutations(7, 1, seven + 7, &g, NULL));
    ck_assert(g.n == copy_of(equinv_cyclic(7)).n); /* found in the order of C_7 */
    seven[3] = 7;
    FAILS(EQUINV_ERR_ARG, "generator 0 takes 3 to 7, expected a permutation of 0 to 6",
          equinv_group_from_permutations(7, 2, seven, &g, NULL));
    seven[3] = 2;
    FAILS(EQUINV_ERR_ARG, "generator 0 takes 3 to 2",
          equinv_group_from_permutations(7, 2, seven, &g, NULL));
    FAILS(EQUINV_ERR_ARG, "degree is 0", equinv_group_from_permutations(0, 1, seven, &g, NULL));
    FAILS(EQUINV_ERR_ARG, "degree is 4097",
          equinv_group_from_permutations(4097, 1, seven, &g, NULL));
    FAILS(EQUINV_ERR_ARG, "count is -1", equinv_group_from_permutations(7, -1, seven, &g, NULL));
    FAILS(EQUINV_ERR_ARG, "generators is NULL",
          equinv_group_from_permutations(7, 1, NULL, &g, NULL));
    FAILS(EQUINV_ERR_ARG, "group is NULL", equinv_group_from_permutations(7, 1, seven, NULL, NULL));
    /* As large as allowed: turns of 1024 points. */
    static int32_t turn[1024];
    for (int32_t x = 0; x < 1024; x++)
        turn[x] = (x + 1) % 1024;
    OK(equinv_group_from_permutations(1024, 1, turn, &g, NULL));
    ck_assert_int_eq(order_of(g), 1024);
    ck_assert_int_eq(product_of(g, 1000, 900), 1900 - 1024);
}
END_TEST

START_TEST(direct_products)
{
    equinv_group g, h, q = quaternions();
    OK(equinv_group_direct_product(equinv_cyclic(2), equinv_dihedral(3), &g));
    OK(equinv_group_parse("C2xD3", &h));
    ck_assert(g.n == h.n && order_of(g) == 12);
    for (int32_t x = 0; x < 144; x++) {
        const int32_t a = x / 12, b = x % 12;
        ck_assert_int_eq(product_of(g, a, b),
                         6 * ((a / 6 + b / 6) % 2) + product_of(equinv_dihedral(3), a % 6, b % 6));
    }
    OK(equinv_group_direct_product(q, g, &h));
    ck_assert_int_eq(order_of(h), 96);
    OK(equinv_group_parse("C2xC2xC3", &g));
    ck_assert_int_eq(order_of(g), 12);
    FAILS(EQUINV_ERR_UNSUPPORTED, "1056 elements",
          equinv_group_direct_product(equinv_cyclic(32), equinv_cyclic(33), &g));
    FAILS(EQUINV_ERR_UNSUPPORTED, "b is S", equinv_group_direct_product(q, equinv_symmetric(), &g));
    FAILS(EQUINV_ERR_ARG, "a is C0", equinv_group_direct_product(equinv_cyclic(0), q, &g));
    FAILS(EQUINV_ERR_ARG, "group is NULL", equinv_group_direct_product(q, q, NULL));
    static const char *const wrong[] = {
        "C2x", "xC2", "x", "C2xC0", "C2xfoo", "C2XC2", "C00000000000000002xC2"};
    for (int i = 0; i < 7; i++)
        FAILS(EQUINV_ERR_ARG, "is unknown", equinv_group_parse(wrong[i], &g));
}
END_TEST

static void *make_some(void *arg)
{
    equinv_group *const groups = arg;
    for (int32_t n = 1; n <= 24; n++)
        OK(equinv_group_direct_product(equinv_cyclic(n), equinv_cyclic(3), &groups[n]));
    return NULL;
}

START_TEST(many_threads_make_the_same_groups)
{
    enum { THREADS = 4 };
    static equinv_group groups[THREADS][25];
    pthread_t threads[THREADS];
    for (int t = 0; t < THREADS; t++)
        ck_assert(pthread_create(&threads[t], NULL, make_some, groups[t]) == 0);
    for (int t = 0; t < THREADS; t++)
        pthread_join(threads[t], NULL);
    for (int t = 1; t < THREADS; t++)
        for (int32_t n = 1; n <= 24; n++)
            ck_assert(groups[t][n].n == groups[0][n].n);
}
END_TEST

/* ---- what acts --------------------------------------------------------------------------------- */

static group_case case_of(int i)
{
    static int32_t elements[EQUINV_GROUP_MAX_ORDER * 8];
    equinv_group g = {0};
    switch (i) {
    case 0: g = quaternions(); break;
    case 1: g = symmetric_group(4, elements); break;
    case 2: OK(equinv_group_parse("C3xD2", &g)); break;
    default: OK(equinv_group_parse("C2xC2", &g)); break;
    }
    return (group_case){g, 1, 1};
}
enum { TABLE_CASES = 4 };

START_TEST(act_is_an_action)
{
    rng r = {71};
    equinv_context *ctx = context_new();
    const group_case c = case_of(_i);
    const int32_t order = order_of(c.group);
    equinv_projection_desc d = desc_of(EQUINV_PROJECT_MAX, c, EQUINV_F64, 2, 1, 1);
    equinv_tensor z = latents_of(ctx, &r, &d, 2);
    for (int32_t g = 0; g < order; g++) {
        equinv_tensor one = acted(ctx, c.group, g, &z);
        for (int32_t x = 0; x < order; x++) /* (g z)[g x] = z[x] */
            for (int64_t f = 0; f < 4; f++)
                ck_assert(tensor_get(&one, f * order + product_of(c.group, g, x)) ==
                          tensor_get(&z, f * order + x));
        for (int32_t h = 0; h < order; h += 3) {
            equinv_tensor both = acted(ctx, c.group, h, &one);
            equinv_tensor at_once = acted(ctx, c.group, product_of(c.group, h, g), &z);
            ASSERT_SAME(&both, &at_once);
            equinv_tensor_destroy(ctx, &both);
            equinv_tensor_destroy(ctx, &at_once);
        }
        equinv_tensor_destroy(ctx, &one);
    }
    equinv_tensor wide = tensor_new(ctx, EQUINV_F64, 5, 1, 1, (int)order, 2, 2);
    equinv_tensor to = tensor_like(ctx, &wide);
    FAILS(EQUINV_ERR_SHAPE, "onto themselves", equinv_act(ctx, c.group, 1, &wide, &to));
    FAILS(EQUINV_ERR_SHAPE, "pixels", equinv_orbit_mean(ctx, c.group, &wide, &to));
    equinv_tensor_destroy(ctx, &wide);
    equinv_tensor_destroy(ctx, &to);
    equinv_tensor_destroy(ctx, &z);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(projections_equal_the_definition_and_are_invariant)
{
    rng r = {72};
    equinv_context *ctx = context_new();
    const group_case c = case_of(_i);
    const int32_t order = order_of(c.group);
    for (int kind = 0; kind < ORBIT_KINDS; kind++)
        for (int impl = 0; impl < 2; impl++) {
            equinv_projection_desc d =
                desc_of(orbit_kinds[kind], c, EQUINV_F64, 2, 5, rng_next(&r));
            equinv_projection *p = NULL;
            d.impl = implementations[impl];
            OK(equinv_projection_create(ctx, &d, &p));
            equinv_tensor z = latents_of(ctx, &r, &d, 3), codes = project(ctx, p, &z, NULL);
            equinv_tensor expected = project_by_action(ctx, p, &d, &z);
            ASSERT_CLOSE(&codes, &expected, 1e-13);
            for (int32_t g = 0; g < order && d.kind != EQUINV_PROJECT_ORBIT; g++) {
                equinv_tensor moved = acted(ctx, c.group, g, &z);
                equinv_tensor again = project(ctx, p, &moved, NULL);
                ASSERT_CLOSE(&again, &codes, 2e-14);
                equinv_tensor_destroy(ctx, &moved);
                equinv_tensor_destroy(ctx, &again);
            }
            equinv_tensor_destroy(ctx, &z);
            equinv_tensor_destroy(ctx, &codes);
            equinv_tensor_destroy(ctx, &expected);
            equinv_projection_destroy(p);
        }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(a_copy_gives_the_same_codes_and_distances)
{
    rng r = {73};
    equinv_context *ctx = context_new();
    const group_case named = {equinv_dihedral(4), 1, 1}, copy = {copy_of(named.group), 1, 1};
    equinv_projection_desc d = desc_of(EQUINV_PROJECT_SORTED, named, EQUINV_F64, 3, 6, 9);
    equinv_tensor z = latents_of(ctx, &r, &d, 8), codes[2], distance[2], element[2], aligned[2];
    for (int i = 0; i < 2; i++) {
        equinv_projection *p = NULL;
        const equinv_group g = i ? copy.group : named.group;
        d.group = g;
        d.impl = "gemm";
        OK(equinv_projection_create(ctx, &d, &p));
        codes[i] = project(ctx, p, &z, NULL);
        distance[i] = tensor_new(ctx, EQUINV_F64, 2, 8, 8);
        element[i] = tensor_new(ctx, EQUINV_I32, 2, 8, 8);
        OK(equinv_orbit_distance(ctx, g, &z, &z, &distance[i], &element[i]));
        aligned[i] = tensor_like(ctx, &z);
        OK(equinv_orbit_canonicalise(ctx, g, 4, &z, &aligned[i], NULL));
        equinv_projection_destroy(p);
    }
    ASSERT_SAME(&codes[0], &codes[1]);
    ASSERT_SAME(&distance[0], &distance[1]);
    ASSERT_SAME(&element[0], &element[1]);
    ASSERT_SAME(&aligned[0], &aligned[1]);
    for (int i = 0; i < 2; i++) {
        equinv_tensor_destroy(ctx, &codes[i]);
        equinv_tensor_destroy(ctx, &distance[i]);
        equinv_tensor_destroy(ctx, &element[i]);
        equinv_tensor_destroy(ctx, &aligned[i]);
    }
    equinv_tensor_destroy(ctx, &z);
    equinv_context_destroy(ctx);
}
END_TEST

static char said[4096];

static void log_line(void *user, equinv_log_level level, const char *message)
{
    (void)user;
    (void)level;
    strncat(said, message, sizeof said - strlen(said) - 1);
    strncat(said, "\n", sizeof said - strlen(said) - 1);
}

START_TEST(dispatch_says_that_tables_go_the_direct_way)
{
    equinv_context_desc settings = EQUINV_CONTEXT_DESC_INIT;
    equinv_context *ctx;
    settings.log = log_line;
    setenv("EQUINV_VERBOSE", "dispatch", 1);
    OK(equinv_context_create(&settings, &ctx));
    equinv_projection_desc d = desc_of(EQUINV_PROJECT_MAX, case_of(0), EQUINV_F32, 8, 64, 1);
    equinv_projection *p = NULL;
    said[0] = '\0';
    OK(equinv_projection_create(ctx, &d, &p));
    ck_assert_str_eq(equinv_projection_impl_name(p), "projection/gemm");
    ck_assert_msg(strstr(said, "projection/gfourier: declined, a group given by a table: products "
                               "with all its elements instead"),
                  "%s", said);
    equinv_projection_destroy(p);
    d.kind = EQUINV_PROJECT_POWER;
    FAILS(EQUINV_ERR_UNSUPPORTED, "expected C_n or D_n for POWER",
          equinv_projection_create(ctx, &d, &p));
    equinv_conv_desc conv = EQUINV_CONV_DESC_INIT;
    equinv_plan *plan = NULL;
    conv.group = d.group;
    conv.fields_in = conv.fields_out = 1, conv.height = conv.width = 5, conv.batch = 1;
    ck_assert(equinv_conv_plan_create(ctx, &conv, &plan) != EQUINV_OK && plan == NULL);
    equinv_context_destroy(ctx);
    unsetenv("EQUINV_VERBOSE");
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {copies_of_named_groups, 1},
        {first_broken_axiom_is_named, 1},
        {no_single_change_goes_unnoticed, 1},
        {generated_by_permutations, 1},
        {direct_products, 1},
        {many_threads_make_the_same_groups, 1},
        {act_is_an_action, TABLE_CASES},
        {projections_equal_the_definition_and_are_invariant, TABLE_CASES},
        {a_copy_gives_the_same_codes_and_distances, 1},
        {dispatch_says_that_tables_go_the_direct_way, 1},
    };
    return run_tests("group_table", tests, sizeof tests / sizeof *tests);
}
