/* Nearest-neighbour accuracy against brute force: ties, duplicates, offsets, extremes, arguments. */
#include <math.h>

#include "tests/util/test.h"

/* The documented rule, straight: all distances in long double, stable selection, vote. */
static double brute(equinv_context *ctx, const equinv_tensor *gallery,
                    const equinv_tensor *gallery_labels, const equinv_tensor *queries,
                    const equinv_tensor *query_labels, int64_t k)
{
    const int64_t a = gallery->shape[0], b = queries->shape[0];
    const int64_t numbers = a ? equinv_tensor_count(gallery) / a : 0;
    double *const distance = calloc((size_t)a, sizeof *distance);
    int64_t *const nearest = calloc((size_t)k, sizeof *nearest);
    int64_t right = 0;
    equinv_tensor wide_gallery = tensor_as(ctx, gallery, EQUINV_F64);
    equinv_tensor wide_queries = tensor_as(ctx, queries, EQUINV_F64);
    const double *const x = wide_gallery.data, *const y = wide_queries.data;
    ck_assert(distance && nearest);
    for (int64_t q = 0; q < b; q++) {
        for (int64_t i = 0; i < a; i++) {
            long double sum = 0;
            for (int64_t n = 0; n < numbers; n++) {
                const long double d =
                    (long double)x[i * numbers + n] - (long double)y[q * numbers + n];
                sum += d * d;
            }
            distance[i] = isnan(sum) ? (double)INFINITY : (double)sum;
        }
        for (int64_t n = 0; n < k; n++) {
            int64_t best = -1;
            for (int64_t i = 0; i < a; i++) {
                bool taken = false;
                for (int64_t m = 0; m < n; m++)
                    taken |= nearest[m] == i;
                if (!taken && (best < 0 || distance[i] < distance[best]))
                    best = i;
            }
            nearest[n] = best;
        }
        int64_t most = 0, winner = -1;
        for (int64_t n = 0; n < k; n++) {
            int64_t votes = 0;
            for (int64_t m = 0; m < k; m++)
                votes += tensor_get(gallery_labels, nearest[m]) ==
                         tensor_get(gallery_labels, nearest[n]);
            if (votes > most) {
                most = votes;
                winner = nearest[n];
            }
        }
        right += tensor_get(gallery_labels, winner) == tensor_get(query_labels, q);
    }
    free(distance);
    free(nearest);
    equinv_tensor_destroy(ctx, &wide_gallery);
    equinv_tensor_destroy(ctx, &wide_queries);
    return (double)right / (double)b;
}

/* How the numbers of a trial are made. */
typedef enum data {
    PLAIN,
    FEW_VALUES, /* many exact ties and duplicates */
    OFFSET,     /* a common part much larger than the differences */
    HUGE_F32,   /* products overflow fp32 */
    TINY_F32,   /* products underflow fp32 */
    SOME_NAN,
    DATA_KINDS
} data;

static double number(rng *r, data kind)
{
    const double u = rng_uniform(r);
    switch (kind) {
    case FEW_VALUES: return (double)rng_range(r, 0, 2);
    case OFFSET: return 1000 + u;
    case HUGE_F32: return 1e30 * u;
    case TINY_F32: return 1e-30 * u;
    case SOME_NAN: return rng_range(r, 0, 40) ? u : (double)NAN;
    default: return u;
    }
}

START_TEST(equals_brute_force)
{
    rng r = {UINT64_C(10) + (uint64_t)_i};
    equinv_context *ctx = context_new();
    const data kind = (data)(_i % DATA_KINDS);
    const equinv_dtype dtype = _i / DATA_KINDS ? EQUINV_F64 : EQUINV_F32;
    for (int trial = 0; trial < 40; trial++) {
        const int a = (int)rng_range(&r, 1, 40), b = (int)rng_range(&r, 1, 12);
        const int n = (int)rng_range(&r, 1, 30);
        const int64_t k = rng_range(&r, 1, trial % 3 ? (a < 7 ? a : 7) : a);
        const int classes = (int)rng_range(&r, 1, 5);
        equinv_tensor gallery = tensor_new(ctx, dtype, 2, a, n), store;
        equinv_tensor queries = tensor_new(ctx, dtype, 2, b, n);
        equinv_tensor gallery_labels = tensor_new(ctx, EQUINV_I32, 1, a);
        equinv_tensor query_labels = tensor_new(ctx, EQUINV_U8, 1, b);
        for (int64_t i = 0; i < a * n; i++)
            tensor_set(&gallery, i, number(&r, kind));
        for (int64_t i = 0; i < b * n; i++) /* a third of the queries are in the gallery */
            tensor_set(&queries, i,
                       i / n % 3 ? number(&r, kind) : tensor_get(&gallery, i / n % a * n + i % n));
        for (int64_t i = 0; i < a; i++)
            tensor_set(&gallery_labels, i, (double)rng_range(&r, 0, classes));
        for (int64_t i = 0; i < b; i++)
            tensor_set(&query_labels, i, (double)rng_range(&r, 0, classes));
        const double expected = brute(ctx, &gallery, &gallery_labels, &queries, &query_labels, k);
        double accuracy = -1;
        OK(equinv_knn_accuracy(ctx, &gallery, &gallery_labels, &queries, &query_labels, k,
                               &accuracy));
        ck_assert_msg(accuracy == expected,
                      "case %d trial %d a %d b %d n %d k %lld: %g, expected %g", _i, trial, a, b, n,
                      (long long)k, accuracy, expected);
        equinv_tensor strided = tensor_strided_copy(ctx, &r, &gallery, &store);
        OK(equinv_knn_accuracy(ctx, &strided, &gallery_labels, &queries, &query_labels, k,
                               &accuracy));
        ck_assert(accuracy == expected);
        equinv_tensor_destroy(ctx, &gallery);
        equinv_tensor_destroy(ctx, &queries);
        equinv_tensor_destroy(ctx, &gallery_labels);
        equinv_tensor_destroy(ctx, &query_labels);
        equinv_tensor_destroy(ctx, &store);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(galleries_and_queries_of_several_tiles)
{
    rng r = {UINT64_C(20) + (uint64_t)_i};
    equinv_context *ctx = context_new();
    equinv_tensor gallery = tensor_random(ctx, &r, _i ? EQUINV_F64 : EQUINV_F32, 4, 700, 3, 2, 2);
    equinv_tensor queries = tensor_random(ctx, &r, gallery.dtype, 2, 300, 12);
    equinv_tensor gallery_labels = tensor_random(ctx, &r, EQUINV_U8, 1, 700);
    equinv_tensor query_labels = tensor_random(ctx, &r, EQUINV_I32, 1, 300);
    for (int64_t i = 0; i < 12 * 300; i++) /* duplicates far apart */
        tensor_set(&gallery, 12 * 400 + i, tensor_get(&gallery, i));
    static const int64_t ks[] = {1, 2, 5, 12};
    for (int i = 0; i < 4; i++) {
        double accuracy;
        OK(equinv_knn_accuracy(ctx, &gallery, &gallery_labels, &queries, &query_labels, ks[i],
                               &accuracy));
        ck_assert(accuracy ==
                  brute(ctx, &gallery, &gallery_labels, &queries, &query_labels, ks[i]));
    }
    equinv_tensor_destroy(ctx, &gallery);
    equinv_tensor_destroy(ctx, &queries);
    equinv_tensor_destroy(ctx, &gallery_labels);
    equinv_tensor_destroy(ctx, &query_labels);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(ties_follow_the_rule)
{
    equinv_context *ctx = context_new();
    equinv_tensor gallery = tensor_new(ctx, EQUINV_F32, 2, 5, 1);
    equinv_tensor query = tensor_new(ctx, EQUINV_F32, 2, 1, 1);
    equinv_tensor labels = tensor_new(ctx, EQUINV_I32, 1, 5),
                  label = tensor_new(ctx, EQUINV_I32, 1, 1);
    static const double at[] = {2, -2, 1, 3, -1}, of[] = {7, 8, -9, 7, 8};
    for (int64_t i = 0; i < 5; i++) {
        tensor_set(&gallery, i, at[i]);
        tensor_set(&labels, i, of[i]);
    }
    /* Order from 0: rows 2, 4 (distance 1), 0, 1 (2), 3. Winners for k = 1 .. 5: -9; -9 (nearer); -9;
     * 8 (two votes); 8 and 7 have two each, 8 is nearer. */
    static const double winner[] = {-9, -9, -9, 8, 8};
    for (int64_t k = 1; k <= 5; k++) {
        double accuracy;
        tensor_set(&label, 0, winner[k - 1]);
        OK(equinv_knn_accuracy(ctx, &gallery, &labels, &query, &label, k, &accuracy));
        ck_assert_msg(accuracy == 1, "k = %lld", (long long)k);
    }
    equinv_tensor_destroy(ctx, &gallery);
    equinv_tensor_destroy(ctx, &query);
    equinv_tensor_destroy(ctx, &labels);
    equinv_tensor_destroy(ctx, &label);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(wrong_arguments_and_empty)
{
    equinv_context *ctx = context_new();
    equinv_tensor x = tensor_new(ctx, EQUINV_F32, 2, 4, 6),
                  y = tensor_new(ctx, EQUINV_F32, 3, 3, 2, 3);
    equinv_tensor wide = tensor_new(ctx, EQUINV_F64, 2, 3, 6),
                  other = tensor_new(ctx, EQUINV_F32, 2, 3, 5);
    equinv_tensor a = tensor_new(ctx, EQUINV_I32, 1, 4), b = tensor_new(ctx, EQUINV_U8, 1, 3);
    equinv_tensor none = tensor_new(ctx, EQUINV_F32, 2, 0, 6),
                  no = tensor_new(ctx, EQUINV_I32, 1, 0);
    equinv_tensor scalar = x, elsewhere = x;
    scalar.ndim = 0;
    elsewhere.device.index = 1;
    double out = 0.25;
    FAILS(EQUINV_ERR_ARG, "ctx", equinv_knn_accuracy(NULL, &x, &a, &y, &b, 1, &out));
    FAILS(EQUINV_ERR_ARG, "gallery is NULL", equinv_knn_accuracy(ctx, NULL, &a, &y, &b, 1, &out));
    FAILS(EQUINV_ERR_DTYPE, "gallery", equinv_knn_accuracy(ctx, &a, &a, &y, &b, 1, &out));
    FAILS(EQUINV_ERR_DEVICE, "gallery", equinv_knn_accuracy(ctx, &elsewhere, &a, &y, &b, 1, &out));
    FAILS(EQUINV_ERR_SHAPE, "ndim 0", equinv_knn_accuracy(ctx, &scalar, &a, &y, &b, 1, &out));
    FAILS(EQUINV_ERR_SHAPE, "gallery has 0", equinv_knn_accuracy(ctx, &none, &no, &y, &b, 1, &out));
    FAILS(EQUINV_ERR_ARG, "gallery_labels is NULL",
          equinv_knn_accuracy(ctx, &x, NULL, &y, &b, 1, &out));
    FAILS(EQUINV_ERR_SHAPE, "gallery_labels", equinv_knn_accuracy(ctx, &x, &b, &y, &b, 1, &out));
    FAILS(EQUINV_ERR_DTYPE, "gallery_labels", equinv_knn_accuracy(ctx, &x, &x, &y, &b, 1, &out));
    FAILS(EQUINV_ERR_ARG, "queries is NULL", equinv_knn_accuracy(ctx, &x, &a, NULL, &b, 1, &out));
    FAILS(EQUINV_ERR_DTYPE, "queries", equinv_knn_accuracy(ctx, &x, &a, &wide, &b, 1, &out));
    FAILS(EQUINV_ERR_SHAPE, "5 numbers", equinv_knn_accuracy(ctx, &x, &a, &other, &b, 1, &out));
    FAILS(EQUINV_ERR_ARG, "query_labels is NULL",
          equinv_knn_accuracy(ctx, &x, &a, &y, NULL, 1, &out));
    FAILS(EQUINV_ERR_SHAPE, "query_labels", equinv_knn_accuracy(ctx, &x, &a, &y, &a, 1, &out));
    FAILS(EQUINV_ERR_ARG, "k is 0", equinv_knn_accuracy(ctx, &x, &a, &y, &b, 0, &out));
    FAILS(EQUINV_ERR_ARG, "k is 5", equinv_knn_accuracy(ctx, &x, &a, &y, &b, 5, &out));
    FAILS(EQUINV_ERR_ARG, "accuracy", equinv_knn_accuracy(ctx, &x, &a, &y, &b, 1, NULL));
    ck_assert(out == 0.25);
    OK(equinv_knn_accuracy(ctx, &x, &a, &none, &no, 1, &out));
    ck_assert(isnan(out));
    OK(equinv_knn_accuracy(ctx, &x, &a, &y, &b, 4, &out)); /* all zero: all labels are 0 */
    ck_assert(out == 1);
    equinv_tensor *const all[] = {&x, &y, &wide, &other, &a, &b, &none, &no};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        equinv_tensor_destroy(ctx, all[i]);
    equinv_context_destroy(ctx);
}
END_TEST

static equinv_status classify(equinv_context *ctx, void *arg)
{
    const equinv_tensor *const t = arg; /* points, labels */
    double accuracy;
    return equinv_knn_accuracy(ctx, &t[0], &t[1], &t[0], &t[1], 2, &accuracy);
}

START_TEST(allocation_failures)
{
    equinv_context *const ctx = context_new();
    equinv_tensor y = tensor_new(ctx, EQUINV_F32, 2, 4, 13);
    equinv_tensor labels = tensor_new(ctx, EQUINV_I32, 1, 4);
    equinv_tensor t[2] = {y, labels};
    t[0].shape[1] = 6, t[0].strides[1] = 2; /* not contiguous */
    /* two copies, two of labels, two of the search */
    ck_assert_int_eq(fail_in_turn(classify, t), 6);
    equinv_tensor_destroy(ctx, &y);
    equinv_tensor_destroy(ctx, &labels);
    equinv_context_destroy(ctx);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {equals_brute_force, 2 * DATA_KINDS},
        {galleries_and_queries_of_several_tiles, 2},
        {ties_follow_the_rule, 1},
        {wrong_arguments_and_empty, 1},
        {allocation_failures, 1},
    };
    return run_tests("knn", tests, sizeof tests / sizeof *tests);
}
