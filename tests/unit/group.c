/* Group tables for every n: axioms, classes, irreducible representations; names. */
#include <math.h>

#include "tests/util/test.h"

static const equinv_group small[] = {
    {EQUINV_GROUP_CYCLIC, 1},   {EQUINV_GROUP_CYCLIC, 2},    {EQUINV_GROUP_CYCLIC, 3},
    {EQUINV_GROUP_CYCLIC, 4},   {EQUINV_GROUP_CYCLIC, 7},    {EQUINV_GROUP_CYCLIC, 12},
    {EQUINV_GROUP_DIHEDRAL, 1}, {EQUINV_GROUP_DIHEDRAL, 2},  {EQUINV_GROUP_DIHEDRAL, 3},
    {EQUINV_GROUP_DIHEDRAL, 4}, {EQUINV_GROUP_DIHEDRAL, 5},  {EQUINV_GROUP_DIHEDRAL, 6},
    {EQUINV_GROUP_DIHEDRAL, 8}, {EQUINV_GROUP_DIHEDRAL, 16},
};
enum { SMALL = sizeof small / sizeof *small };

static int32_t order_of(equinv_group g)
{
    int32_t order = 0;
    OK(equinv_group_order(g, &order));
    return order;
}

static int32_t product(equinv_group g, int32_t a, int32_t b)
{
    int32_t c = -1;
    OK(equinv_group_product(g, a, b, &c));
    return c;
}

static int32_t inverse(equinv_group g, int32_t a)
{
    int32_t b = -1;
    OK(equinv_group_inverse(g, a, &b));
    return b;
}

START_TEST(associative_with_neutral_and_inverse)
{
    const equinv_group g = small[_i];
    const int32_t order = order_of(g);
    for (int32_t a = 0; a < order; a++) {
        ck_assert_int_eq(product(g, a, 0), a);
        ck_assert_int_eq(product(g, 0, a), a);
        ck_assert_int_eq(product(g, a, inverse(g, a)), 0);
        ck_assert_int_eq(product(g, inverse(g, a), a), 0);
        for (int32_t b = 0; b < order; b++)
            for (int32_t c = 0; c < order; c++)
                ck_assert_int_eq(product(g, product(g, a, b), c), product(g, a, product(g, b, c)));
    }
}
END_TEST

static void multiply(int32_t d, const double *a, const double *b, double *c)
{
    for (int32_t i = 0; i < d; i++)
        for (int32_t j = 0; j < d; j++) {
            c[i * d + j] = 0;
            for (int32_t k = 0; k < d; k++)
                c[i * d + j] += a[i * d + k] * b[k * d + j];
        }
}

START_TEST(plane_is_a_faithful_representation)
{
    const equinv_group g = small[_i];
    const int32_t order = order_of(g);
    for (int32_t a = 0; a < order; a++)
        for (int32_t b = 0; b < order; b++) {
            double ma[4], mb[4], mab[4], expected[4];
            OK(equinv_group_plane(g, a, ma));
            OK(equinv_group_plane(g, b, mb));
            OK(equinv_group_plane(g, product(g, a, b), mab));
            multiply(2, ma, mb, expected);
            double difference = 0;
            for (int i = 0; i < 4; i++) {
                ck_assert(fabs(mab[i] - expected[i]) < 1e-15 * 4);
                difference += fabs(ma[i] - mb[i]);
            }
            ck_assert(a == b || difference > 1e-3);
        }
}
END_TEST

START_TEST(irreps_multiply_and_fill_the_order)
{
    const equinv_group g = small[_i];
    const int32_t order = order_of(g);
    int32_t count, size = 0;
    OK(equinv_group_irrep_count(g, &count));
    for (int32_t j = 0; j < count; j++) {
        int32_t d = 0;
        double norm = 0;
        for (int32_t a = 0; a < order; a++) {
            double ma[4], character = 0;
            OK(equinv_group_irrep(g, j, a, &d, ma));
            for (int32_t i = 0; i < d; i++)
                character += ma[i * d + i];
            norm += character * character;
            for (int32_t b = 0; b < order; b++) {
                double mb[4], mab[4], expected[4];
                OK(equinv_group_irrep(g, j, b, &d, mb));
                OK(equinv_group_irrep(g, j, product(g, a, b), &d, mab));
                multiply(d, ma, mb, expected);
                for (int32_t i = 0; i < d * d; i++)
                    ck_assert(fabs(mab[i] - expected[i]) < 1e-14);
            }
        }
        /* Over the reals <chi, chi> is 1, or 2 where the irrep splits over the complex numbers. */
        const int32_t splits = (int32_t)lround(norm / order);
        ck_assert(fabs(norm / order - splits) < 1e-12);
        ck_assert_int_eq(splits, d == 2 && g.kind == EQUINV_GROUP_CYCLIC ? 2 : 1);
        size += d * d / splits;
    }
    ck_assert_int_eq(size, order);
}
END_TEST

START_TEST(distinct_irreps_are_orthogonal)
{
    const equinv_group g = small[_i];
    const int32_t order = order_of(g);
    int32_t count, d;
    OK(equinv_group_irrep_count(g, &count));
    for (int32_t i = 0; i < count; i++)
        for (int32_t j = 0; j < i; j++) {
            double sum = 0;
            for (int32_t a = 0; a < order; a++) {
                double x[4], y[4];
                OK(equinv_group_irrep(g, i, a, &d, x));
                const double chi = d == 2 ? x[0] + x[3] : x[0];
                OK(equinv_group_irrep(g, j, a, &d, y));
                sum += chi * (d == 2 ? y[0] + y[3] : y[0]);
            }
            ck_assert(fabs(sum) < 1e-11);
        }
}
END_TEST

START_TEST(classes_are_closed_under_conjugation)
{
    const equinv_group g = small[_i];
    const int32_t order = order_of(g);
    int32_t count, class_of[32], next = 0;
    OK(equinv_group_classes(g, &count, class_of));
    for (int32_t a = 0; a < order; a++) {
        ck_assert(class_of[a] <= next); /* numbered by their smallest element */
        next += class_of[a] == next;
        for (int32_t b = 0; b < order; b++) {
            bool conjugate = false;
            for (int32_t c = 0; c < order; c++)
                conjugate |= product(g, product(g, c, a), inverse(g, c)) == b;
            ck_assert_int_eq(conjugate, class_of[a] == class_of[b]);
        }
    }
    ck_assert_int_eq(count, next);
}
END_TEST

START_TEST(every_n_up_to_1024)
{
    rng r = {1};
    for (int32_t n = 1; n <= EQUINV_GROUP_MAX_N; n++)
        for (int kind = 0; kind < 2; kind++) {
            const equinv_group g = kind ? equinv_dihedral(n) : equinv_cyclic(n);
            const int32_t order = order_of(g);
            ck_assert_int_eq(order, kind ? 2 * n : n);
            const int32_t a = (int32_t)rng_range(&r, 0, order - 1);
            const int32_t b = (int32_t)rng_range(&r, 0, order - 1);
            const int32_t c = (int32_t)rng_range(&r, 0, order - 1);
            ck_assert_int_eq(product(g, product(g, a, b), c), product(g, a, product(g, b, c)));
            ck_assert_int_eq(product(g, a, inverse(g, a)), 0);
            int32_t irreps, d, classes, sum = 0;
            OK(equinv_group_irrep_count(g, &irreps));
            OK(equinv_group_classes(g, &classes, NULL));
            for (int32_t j = 0; j < irreps; j++) {
                double m[4];
                OK(equinv_group_irrep(g, j, 0, &d, m));
                sum += kind ? d * d : d;
            }
            ck_assert_int_eq(sum, order);
            ck_assert(classes == (kind ? irreps : n));
        }
}
END_TEST

START_TEST(names_are_read_and_written)
{
    static const char *const good[] = {"C1", "C4", "C1024", "D1", "D8", "D1024", "S"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        equinv_group g;
        char name[8];
        OK(equinv_group_parse(good[i], &g));
        OK(equinv_group_name(g, name, sizeof name));
        ck_assert_str_eq(name, good[i]);
    }
    static const char *const bad[] = {
        "", "C", "C0", "C1025", "D04", "c4", "C4 ", "E3", "C-1", "S3", "C99999999999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        equinv_group g = {EQUINV_GROUP_CYCLIC, 77};
        FAILS(EQUINV_ERR_ARG, "expected C1", equinv_group_parse(bad[i], &g));
        ck_assert_int_eq(g.n, 77);
    }
    equinv_group g;
    char name[3];
    FAILS(EQUINV_ERR_ARG, "NULL", equinv_group_parse(NULL, &g));
    FAILS(EQUINV_ERR_SHAPE, "at least 4", equinv_group_name(equinv_cyclic(16), name, sizeof name));
}
END_TEST

START_TEST(wrong_arguments)
{
    int32_t i;
    double m[4];
    bool b;
    FAILS(EQUINV_ERR_ARG, "C0", equinv_group_order(equinv_cyclic(0), &i));
    FAILS(EQUINV_ERR_ARG, "D1025", equinv_group_order(equinv_dihedral(1025), &i));
    FAILS(EQUINV_ERR_ARG, "kind 9", equinv_group_order((equinv_group){9, 4}, &i));
    FAILS(EQUINV_ERR_UNSUPPORTED, "S", equinv_group_order(equinv_symmetric(), &i));
    FAILS(EQUINV_ERR_ARG, "order", equinv_group_order(equinv_cyclic(4), NULL));
    FAILS(EQUINV_ERR_ARG, "a is 4", equinv_group_product(equinv_cyclic(4), 4, 0, &i));
    FAILS(EQUINV_ERR_ARG, "b is -1", equinv_group_product(equinv_cyclic(4), 0, -1, &i));
    FAILS(EQUINV_ERR_ARG, "c is NULL", equinv_group_product(equinv_cyclic(4), 0, 0, NULL));
    FAILS(EQUINV_ERR_ARG, "a is 8", equinv_group_inverse(equinv_dihedral(4), 8, &i));
    FAILS(EQUINV_ERR_ARG, "element is 9", equinv_group_plane(equinv_dihedral(4), 9, m));
    FAILS(EQUINV_ERR_ARG, "element", equinv_group_on_grid(equinv_dihedral(4), -3, &b));
    FAILS(EQUINV_ERR_ARG, "irrep is 3", equinv_group_irrep(equinv_cyclic(4), 3, 0, &i, m));
    FAILS(EQUINV_ERR_ARG, "NULL", equinv_group_irrep(equinv_cyclic(4), 0, 0, NULL, m));
    FAILS(EQUINV_ERR_ARG, "NULL", equinv_group_classes(equinv_cyclic(4), NULL, NULL));
    FAILS(EQUINV_ERR_ARG, "NULL", equinv_group_irrep_count(equinv_cyclic(4), NULL));
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {associative_with_neutral_and_inverse, SMALL},
        {plane_is_a_faithful_representation, SMALL},
        {irreps_multiply_and_fill_the_order, SMALL},
        {distinct_irreps_are_orthogonal, SMALL},
        {classes_are_closed_under_conjugation, SMALL},
        {every_n_up_to_1024, 1},
        {names_are_read_and_written, 1},
        {wrong_arguments, 1},
    };
    return run_tests("group", tests, sizeof tests / sizeof *tests);
}
