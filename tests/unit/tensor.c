/* Tensors as views: description, creation, rows, fields, conversion. */
#include <math.h>
#include <unistd.h>

#include "tests/util/test.h"

static const struct {
    equinv_dtype dtype;
    int code, bits; /* DLPack: 0 int, 1 unsigned, 2 float, 4 bfloat */
    const char *name;
} dtypes[] = {
    {EQUINV_I32, 0, 32, "i32"}, {EQUINV_U8, 1, 8, "u8"},    {EQUINV_U32, 1, 32, "u32"},
    {EQUINV_F32, 2, 32, "f32"}, {EQUINV_F64, 2, 64, "f64"}, {EQUINV_BF16, 4, 16, "bf16"},
};
enum { DTYPES = sizeof dtypes / sizeof *dtypes, USABLE = DTYPES - 1 };

START_TEST(dtypes_are_those_of_dlpack)
{
    ck_assert_int_eq(dtypes[_i].dtype, dtypes[_i].code | dtypes[_i].bits << 8);
    ck_assert_int_eq((int)equinv_dtype_size(dtypes[_i].dtype), dtypes[_i].bits / 8);
    ck_assert_str_eq(equinv_dtype_name(dtypes[_i].dtype), dtypes[_i].name);
}
END_TEST

START_TEST(other_dtypes_are_unknown)
{
    static const int others[] = {0, 1, -1, 0x1002, 0x4000, 0x2003, 0x7fffffff};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        ck_assert_uint_eq(equinv_dtype_size((equinv_dtype)others[i]), 0);
        ck_assert_str_eq(equinv_dtype_name((equinv_dtype)others[i]), "unknown");
    }
}
END_TEST

START_TEST(init_describes_row_major_memory)
{
    rng r = {3};
    double memory[4096];
    for (int round = 0; round < 300; round++) {
        const int32_t ndim = (int32_t)rng_range(&r, 0, EQUINV_MAX_DIMS);
        int64_t shape[EQUINV_MAX_DIMS], count = 1;
        for (int i = 0; i < ndim; i++)
            count *= shape[i] = rng_range(&r, i == 0 ? 0 : 1, 3);
        const int d = (int)rng_range(&r, 0, DTYPES - 1);
        equinv_tensor t;
        OK(equinv_tensor_init(count > 4096 ? NULL : memory, dtypes[d].dtype, ndim,
                              count > 4096 ? (int64_t[EQUINV_MAX_DIMS]){0} : shape, &t));
        if (count > 4096)
            continue;
        ck_assert(t.data == memory);
        ck_assert_int_eq(t.dtype, dtypes[d].dtype);
        ck_assert_int_eq(t.device.kind, EQUINV_DEVICE_CPU);
        ck_assert_int_eq(t.device.index, 0);
        ck_assert_int_eq(t.ndim, ndim);
        ck_assert_int_eq(equinv_tensor_count(&t), count);
        int64_t stride = 1;
        for (int i = ndim - 1; i >= 0 && count > 0; i--) {
            ck_assert_int_eq(t.shape[i], shape[i]);
            ck_assert_int_eq(t.strides[i], stride);
            stride *= shape[i];
        }
    }
}
END_TEST

static const int64_t huge = INT64_C(1) << 62;

START_TEST(wrong_descriptions)
{
    equinv_context *const ctx = context_new();
    const struct {
        const char *word;
        equinv_status status;
        equinv_dtype dtype;
        int32_t ndim;
        int64_t shape[3];
    } wrong[] = {
        {"dtype is 0x0", EQUINV_ERR_DTYPE, 0, 1, {1}},
        {"dtype is 0x1002", EQUINV_ERR_DTYPE, 0x1002, 1, {1}},
        {"ndim -1", EQUINV_ERR_SHAPE, EQUINV_F32, -1, {1}},
        {"ndim 9", EQUINV_ERR_SHAPE, EQUINV_F32, 9, {1}},
        {"ndim 2147483647", EQUINV_ERR_SHAPE, EQUINV_F32, INT32_MAX, {1}},
        {"extent -1 on axis 1", EQUINV_ERR_SHAPE, EQUINV_F32, 2, {3, -1}},
        {"extent -1 on axis 1", EQUINV_ERR_SHAPE, EQUINV_F32, 2, {0, -1}},
        {"2^63", EQUINV_ERR_SHAPE, EQUINV_U8, 2, {huge, 2}},
        {"2^63", EQUINV_ERR_SHAPE, EQUINV_F64, 1, {huge}},
        {"2^63", EQUINV_ERR_SHAPE, EQUINV_F32, 3, {huge, huge, huge}},
    };
    char memory[64] = {0};
    equinv_tensor zero = {0}, t = zero;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        FAILS(wrong[i].status, wrong[i].word,
              equinv_tensor_init(memory, wrong[i].dtype, wrong[i].ndim, wrong[i].shape, &t));
        FAILS(wrong[i].status, wrong[i].word,
              equinv_tensor_create(ctx, wrong[i].dtype, wrong[i].ndim, wrong[i].shape, &t));
        ck_assert(memcmp(&t, &zero, sizeof t) == 0);
    }
    const int64_t one[1] = {1};
    FAILS(EQUINV_ERR_ARG, "tensor is NULL", equinv_tensor_init(memory, EQUINV_F32, 1, one, NULL));
    FAILS(EQUINV_ERR_ARG, "shape is NULL", equinv_tensor_init(memory, EQUINV_F32, 1, NULL, &t));
    FAILS(EQUINV_ERR_ARG, "data is NULL", equinv_tensor_init(NULL, EQUINV_F32, 1, one, &t));
    FAILS(EQUINV_ERR_ARG, "data is NULL", equinv_tensor_init(NULL, EQUINV_F32, 0, NULL, &t));
    FAILS(EQUINV_ERR_ARG, "ctx is NULL", equinv_tensor_create(NULL, EQUINV_F32, 1, one, &t));
    FAILS(EQUINV_ERR_ARG, "tensor is NULL", equinv_tensor_create(ctx, EQUINV_F32, 1, one, NULL));
    FAILS(EQUINV_ERR_ARG, "shape is NULL", equinv_tensor_create(ctx, EQUINV_F32, 1, NULL, &t));
    FAILS(EQUINV_ERR_NOMEM, "memory",
          equinv_tensor_create(ctx, EQUINV_U8, 1, (int64_t[]){INT64_MAX}, &t));
    ck_assert(memcmp(&t, &zero, sizeof t) == 0);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(empty_tensors)
{
    equinv_context *const ctx = context_new();
    const int64_t shapes[][3] = {{0, 3, 4}, {3, 0, 4}, {3, 4, 0}, {0, 0, 0}, {huge, huge, 0}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        equinv_tensor t, made;
        OK(equinv_tensor_init(NULL, EQUINV_F32, 3, shapes[i], &t));
        ck_assert_int_eq(equinv_tensor_count(&t), 0);
        OK(equinv_tensor_create(ctx, EQUINV_F32, 3, shapes[i], &made));
        ck_assert_int_eq(equinv_tensor_count(&made), 0);
        OK(equinv_tensor_convert(ctx, &made, 2.0, 0.0, &t));
        equinv_tensor_destroy(ctx, &made);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(create_gives_aligned_zeros)
{
    equinv_context *const ctx = context_new();
    for (int d = 0; d < USABLE; d++)
        for (int n = 0; n < 40; n++) {
            equinv_tensor t = tensor_new(ctx, dtypes[d].dtype, 3, n, 3, 2);
            ck_assert_uint_eq((uintptr_t)t.data % 64, 0);
            ck_assert_int_eq(equinv_tensor_count(&t), 6 * n);
            double sum = 0;
            for (int64_t i = 0; i < 6 * n; i++)
                sum += fabs(tensor_get(&t, i));
            ck_assert(sum == 0);
            tensor_fill_random(&(rng){7}, &t); /* a second one must not see old memory */
            equinv_tensor_destroy(ctx, &t);
            const equinv_tensor zero = {0};
            ck_assert(memcmp(&t, &zero, sizeof t) == 0);
            equinv_tensor_destroy(ctx, &t); /* a zeroed struct is fine */
        }
    equinv_tensor scalar = tensor_new(ctx, EQUINV_F64, 0);
    ck_assert_int_eq(equinv_tensor_count(&scalar), 1);
    equinv_tensor_destroy(ctx, &scalar);
    equinv_tensor_destroy(ctx, NULL);
    equinv_tensor_destroy(NULL, &scalar);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(creation_fails_without_memory)
{
    fault_allocator faults = {.until = -1};
    equinv_context *const ctx = context_of_faults(&faults);
    faults.until = faults.count + 1;
    equinv_tensor first, second = {.ndim = 5};
    OK(equinv_tensor_create(ctx, EQUINV_F32, 1, (int64_t[]){10}, &first));
    FAILS(EQUINV_ERR_NOMEM, "a tensor needs 40 bytes",
          equinv_tensor_create(ctx, EQUINV_F32, 1, (int64_t[]){10}, &second));
    ck_assert(second.ndim == 5 && second.data == NULL);
    faults.until = -1;
    OK(equinv_tensor_create(ctx, EQUINV_F32, 1, (int64_t[]){10}, &second));
    OK(equinv_tensor_convert(ctx, &first, 1.0, 4.0, &second));
    ck_assert(tensor_get(&second, 9) == 4.0);
    equinv_tensor_destroy(ctx, &first);
    equinv_tensor_destroy(ctx, &second);
    equinv_context_destroy(ctx);
    ck_assert_int_eq(faults.live, 0);
    ck_assert_int_eq(faults.wrong_size, 0);
}
END_TEST

START_TEST(count_of_invalid_tensors)
{
    const equinv_tensor wrong[] = {
        {.ndim = -1},
        {.ndim = 9},
        {.ndim = 2, .shape = {2, -1}},
        {.ndim = 2, .shape = {0, -1}},
        {.ndim = 2, .shape = {huge, 2}},
        {.ndim = 3, .shape = {3037000500, 3037000500, 1}},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        ck_assert_int_eq(equinv_tensor_count(&wrong[i]), -1);
    ck_assert_int_eq(equinv_tensor_count(NULL), -1);
    const equinv_tensor largest = {.ndim = 2, .shape = {INT64_MAX, 1}};
    ck_assert_int_eq(equinv_tensor_count(&largest), INT64_MAX);
}
END_TEST

START_TEST(rows_are_views)
{
    equinv_context *const ctx = context_new();
    rng r = {4};
    for (int round = 0; round < 200; round++) {
        const int n = (int)rng_range(&r, 0, 6), m = (int)rng_range(&r, 1, 4);
        const equinv_dtype dtype = dtypes[rng_range(&r, 0, USABLE - 1)].dtype;
        equinv_tensor plain = tensor_random(ctx, &r, dtype, 3, n, m, 3), storage;
        equinv_tensor t = tensor_strided_copy(ctx, &r, &plain, &storage), rows;
        if (n > 0 && round % 2) { /* from the last row up */
            t.data = (char *)t.data + (n - 1) * t.strides[0] * (int64_t)equinv_dtype_size(dtype);
            t.strides[0] = -t.strides[0];
        }
        const int64_t first = rng_range(&r, 0, n), count = rng_range(&r, 0, n - first);
        OK(equinv_tensor_rows(&t, first, count, &rows));
        ck_assert_int_eq(rows.shape[0], count);
        ck_assert_int_eq(rows.ndim, 3);
        for (int64_t i = 0; i < count * m * 3; i++)
            ck_assert(tensor_get(&rows, i) == tensor_get(&t, first * m * 3 + i));
        OK(equinv_tensor_rows(&t, first, count, &t)); /* onto itself */
        ck_assert(memcmp(&t, &rows, sizeof t) == 0);
        equinv_tensor_destroy(ctx, &storage);
        equinv_tensor_destroy(ctx, &plain);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(wrong_rows)
{
    float memory[12];
    equinv_tensor t, rows = {.ndim = 3}, scalar, bad;
    OK(equinv_tensor_init(memory, EQUINV_F32, 2, (int64_t[]){4, 3}, &t));
    OK(equinv_tensor_init(memory, EQUINV_F32, 0, NULL, &scalar));
    FAILS(EQUINV_ERR_ARG, "tensor is NULL", equinv_tensor_rows(NULL, 0, 1, &rows));
    FAILS(EQUINV_ERR_ARG, "rows is NULL", equinv_tensor_rows(&t, 0, 1, NULL));
    FAILS(EQUINV_ERR_SHAPE, "no axis", equinv_tensor_rows(&scalar, 0, 1, &rows));
    static const int64_t ranges[][2] = {{-1, 1},        {0, -1},        {5, 0},
                                        {0, 5},         {4, 1},         {3, 2},
                                        {INT64_MAX, 1}, {1, INT64_MAX}, {INT64_MIN, INT64_MIN}};
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        FAILS(EQUINV_ERR_ARG, "within 0 .. 4",
              equinv_tensor_rows(&t, ranges[i][0], ranges[i][1], &rows));
    bad = t, bad.ndim = 9;
    FAILS(EQUINV_ERR_SHAPE, "ndim 9", equinv_tensor_rows(&bad, 0, 1, &rows));
    bad = t, bad.dtype = 77;
    FAILS(EQUINV_ERR_DTYPE, "0x4d", equinv_tensor_rows(&bad, 0, 1, &rows));
    bad = t, bad.shape[1] = -2;
    FAILS(EQUINV_ERR_SHAPE, "extent -2", equinv_tensor_rows(&bad, 0, 1, &rows));
    bad = t, bad.strides[0] = INT64_MAX / 2;
    FAILS(EQUINV_ERR_SHAPE, "address space", equinv_tensor_rows(&bad, 3, 1, &rows));
    bad = t, bad.strides[0] = INT64_MIN;
    FAILS(EQUINV_ERR_SHAPE, "address space", equinv_tensor_rows(&bad, 3, 1, &rows));
    ck_assert_int_eq(rows.ndim, 3);
}
END_TEST

/* Element [n, f, g, y, x] of a field view, by its strides. */
static double at(const equinv_tensor *t, int64_t n, int64_t f, int64_t g, int64_t y, int64_t x)
{
    const int64_t offset = n * t->strides[0] + f * t->strides[1] + g * t->strides[2] +
                           y * t->strides[3] + x * t->strides[4];
    return ((const double *)t->data)[offset];
}

START_TEST(fields_from_every_form)
{
    equinv_context *const ctx = context_new();
    rng r = {5};
    for (int round = 0; round < 250; round++) {
        const int n = (int)rng_range(&r, 0, 3), f = (int)rng_range(&r, 1, 3);
        const int g = round % 3 ? (int)rng_range(&r, 2, 5) : 1;
        const int form = round % 4;
        const int h = form < 2 ? (int)rng_range(&r, 1, 3) : 1;
        const int w = form < 2 ? (int)rng_range(&r, 1, 3) : 1;
        equinv_tensor plain = form == 0   ? tensor_random(ctx, &r, EQUINV_F64, 5, n, f, g, h, w)
                              : form == 1 ? tensor_random(ctx, &r, EQUINV_F64, 4, n, f * g, h, w)
                              : form == 2 ? tensor_random(ctx, &r, EQUINV_F64, 3, n, f, g)
                                          : tensor_random(ctx, &r, EQUINV_F64, 2, n, f * g);
        equinv_tensor storage, fields;
        const equinv_tensor t = tensor_strided_copy(ctx, &r, &plain, &storage);
        OK(equinv_tensor_as_fields(&t, g, &fields));
        ck_assert_int_eq(fields.ndim, 5);
        ck_assert(fields.data == t.data);
        const int64_t expected[5] = {n, f, g, h, w};
        for (int i = 0; i < 5; i++)
            ck_assert_int_eq(fields.shape[i], expected[i]);
        int64_t index = 0; /* all forms list their elements in the same order */
        for (int64_t a = 0; a < n; a++)
            for (int64_t b = 0; b < f; b++)
                for (int64_t c = 0; c < g; c++)
                    for (int64_t y = 0; y < h; y++)
                        for (int64_t x = 0; x < w; x++)
                            ck_assert(at(&fields, a, b, c, y, x) == tensor_get(&plain, index++));
        ck_assert_int_eq(index, equinv_tensor_count(&plain));
        equinv_tensor_destroy(ctx, &storage);
        equinv_tensor_destroy(ctx, &plain);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(wrong_fields)
{
    float memory[64];
    static const struct {
        const char *word;
        int32_t ndim;
        int64_t shape[6];
        int64_t order;
    } wrong[] = {
        {"10 channels", 2, {2, 10}, 4},
        {"multiple of the group order 4", 4, {1, 6, 2, 2}, 4},
        {"[2, 3, 4]", 3, {2, 3, 4}, 8},
        {"[1, 2, 4, 2, 2]", 5, {1, 2, 4, 2, 2}, 1},
        {"[1, 2, 4, 2, 2]", 5, {1, 2, 4, 2, 2}, 8},
        {"[16]", 1, {16}, 4},
        {"[]", 0, {0}, 1},
        {"[1, 1, 1, 4, 1, 1]", 6, {1, 1, 1, 4, 1, 1}, 4},
    };
    equinv_tensor t, fields = {.ndim = 7};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        OK(equinv_tensor_init(memory, EQUINV_F32, wrong[i].ndim, wrong[i].shape, &t));
        FAILS(EQUINV_ERR_SHAPE, wrong[i].word,
              equinv_tensor_as_fields(&t, wrong[i].order, &fields));
    }
    OK(equinv_tensor_init(memory, EQUINV_F32, 2, (int64_t[]){2, 8}, &t));
    FAILS(EQUINV_ERR_ARG, "order is 0", equinv_tensor_as_fields(&t, 0, &fields));
    FAILS(EQUINV_ERR_ARG, "order is -4", equinv_tensor_as_fields(&t, -4, &fields));
    FAILS(EQUINV_ERR_ARG, "tensor is NULL", equinv_tensor_as_fields(NULL, 4, &fields));
    FAILS(EQUINV_ERR_ARG, "fields is NULL", equinv_tensor_as_fields(&t, 4, NULL));
    ck_assert_int_eq(fields.ndim, 7);
    OK(equinv_tensor_init(NULL, EQUINV_F32, 2, (int64_t[]){2, 0}, &t));
    OK(equinv_tensor_as_fields(&t, INT64_MAX, &fields)); /* no field, whatever the order */
    ck_assert_int_eq(equinv_tensor_count(&fields), 0);
}
END_TEST

/* What a dtype makes of a value, or NAN where it does not hold it. */
static double stored(equinv_dtype dtype, double value)
{
    const double whole = nearbyint(value);
    switch (dtype) {
    case EQUINV_F64: return value;
    case EQUINV_F32: return (double)(float)value;
    case EQUINV_I32: return whole >= -2147483648.0 && whole <= 2147483647.0 ? whole : (double)NAN;
    case EQUINV_U32: return whole >= 0 && whole <= 4294967295.0 ? whole : (double)NAN;
    default: return whole >= 0 && whole <= 255.0 ? whole : (double)NAN;
    }
}

START_TEST(convert_agrees_with_the_formula)
{
    equinv_context *const ctx = context_new();
    rng r = {6};
    int failures = 0;
    for (int round = 0; round < 600; round++) {
        const equinv_dtype from = dtypes[round % USABLE].dtype;
        const equinv_dtype to = dtypes[round / USABLE % USABLE].dtype;
        const int n = (int)rng_range(&r, 0, 3), m = (int)rng_range(&r, 1, 4);
        equinv_tensor plain = tensor_random(ctx, &r, from, 4, n, m, 1, 3), storage, target;
        equinv_tensor src = tensor_strided_copy(ctx, &r, &plain, &storage);
        equinv_tensor start = tensor_random(ctx, &r, to, 4, n, m, 1, 3);
        equinv_tensor dst = tensor_strided_copy(ctx, &r, &start, &target);
        if (round % 2) /* one source row for all */
            src.strides[0] = 0;
        const double scale = 20 * rng_uniform(&r), shift = 100 * rng_uniform(&r) + 60;
        bool fits = true;
        for (int64_t i = 0; i < n * m * 3; i++)
            fits &= !isnan(stored(to, tensor_get(&src, i) * scale + shift));
        const equinv_status status = equinv_tensor_convert(ctx, &src, scale, shift, &dst);
        ck_assert_int_eq(status, fits ? EQUINV_OK : EQUINV_ERR_ARG);
        failures += !fits;
        for (int64_t i = 0; i < n * m * 3; i++) {
            const double expected =
                fits ? stored(to, tensor_get(&src, i) * scale + shift) : tensor_get(&start, i);
            ck_assert_msg(tensor_get(&dst, i) == expected, "round %d, element %d: %g, expected %g",
                          round, (int)i, tensor_get(&dst, i), expected);
        }
        equinv_tensor_destroy(ctx, &target);
        equinv_tensor_destroy(ctx, &start);
        equinv_tensor_destroy(ctx, &storage);
        equinv_tensor_destroy(ctx, &plain);
    }
    ck_assert_msg(failures > 10 && failures < 300, "%d rounds did not fit", failures);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(convert_rounds_to_nearest_even)
{
    equinv_context *const ctx = context_new();
    static const struct {
        equinv_dtype to;
        double value, expected; /* NAN: ARG */
    } cases[] = {
        {EQUINV_I32, 0.5, 0},
        {EQUINV_I32, 1.5, 2},
        {EQUINV_I32, 2.5, 2},
        {EQUINV_I32, -0.5, 0},
        {EQUINV_I32, -1.5, -2},
        {EQUINV_I32, 2147483647.0, 2147483647.0},
        {EQUINV_I32, 2147483647.49, 2147483647.0},
        {EQUINV_I32, 2147483647.5, (double)NAN},
        {EQUINV_I32, -2147483648.0, -2147483648.0},
        {EQUINV_I32, -2147483648.5, -2147483648.0},
        {EQUINV_I32, -2147483649.0, (double)NAN},
        {EQUINV_I32, 1e300, (double)NAN},
        {EQUINV_I32, (double)NAN, (double)NAN},
        {EQUINV_I32, (double)INFINITY, (double)NAN},
        {EQUINV_I32, -(double)INFINITY, (double)NAN},
        {EQUINV_U8, -0.5, 0},
        {EQUINV_U8, -0.51, (double)NAN},
        {EQUINV_U8, -1, (double)NAN},
        {EQUINV_U8, 255.49, 255},
        {EQUINV_U8, 255.5, (double)NAN},
        {EQUINV_U8, 254.5, 254},
        {EQUINV_U32, 4294967295.0, 4294967295.0},
        {EQUINV_U32, 4294967296.0, (double)NAN},
        {EQUINV_U32, -1, (double)NAN},
        {EQUINV_F32, 1 + 0x1p-24, 1},
        {EQUINV_F32, 1 + 0x1p-24 + 0x1p-50, 1 + 0x1p-23},
        {EQUINV_F32, 1e300, (double)INFINITY},
        {EQUINV_F64, 1e300, 1e300},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        equinv_tensor src = tensor_new(ctx, EQUINV_F64, 1, 2);
        equinv_tensor dst = tensor_new(ctx, cases[i].to, 1, 2);
        tensor_set(&src, 0, 7);
        tensor_set(&src, 1, cases[i].value);
        tensor_set(&dst, 0, 9);
        if (isnan(cases[i].expected)) {
            FAILS(EQUINV_ERR_ARG, "element 1 becomes",
                  equinv_tensor_convert(ctx, &src, 1, 0, &dst));
            ck_assert(tensor_get(&dst, 0) == 9); /* nothing half written */
        } else {
            OK(equinv_tensor_convert(ctx, &src, 1, 0, &dst));
            ck_assert_msg(tensor_get(&dst, 1) == cases[i].expected, "%.17g to %s is %.17g",
                          cases[i].value, equinv_dtype_name(cases[i].to), tensor_get(&dst, 1));
        }
        equinv_tensor_destroy(ctx, &dst);
        equinv_tensor_destroy(ctx, &src);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(convert_keeps_nan_infinities_and_large_integers)
{
    equinv_context *const ctx = context_new();
    static const double special[] = {(double)NAN, (double)INFINITY, -(double)INFINITY, 0.0, -0.0};
    for (int d = 0; d < 2; d++) {
        equinv_tensor src = tensor_new(ctx, EQUINV_F64, 1, 5);
        equinv_tensor dst = tensor_new(ctx, d ? EQUINV_F32 : EQUINV_F64, 1, 5);
        for (int i = 0; i < 5; i++)
            tensor_set(&src, i, special[i]);
        OK(equinv_tensor_convert(ctx, &src, 1, 0, &dst));
        ck_assert(isnan(tensor_get(&dst, 0)));
        ck_assert(tensor_get(&dst, 1) == (double)INFINITY);
        ck_assert(tensor_get(&dst, 2) == -(double)INFINITY);
        ck_assert(tensor_get(&dst, 3) == 0 && !signbit(tensor_get(&dst, 3)));
        ck_assert(tensor_get(&dst, 4) == 0 && signbit(tensor_get(&dst, 4)));
        equinv_tensor_destroy(ctx, &dst);
        equinv_tensor_destroy(ctx, &src);
    }
    uint32_t words[3] = {0, 0x80000001u, UINT32_MAX};
    double wide[3];
    equinv_tensor src, dst;
    OK(equinv_tensor_init(words, EQUINV_U32, 1, (int64_t[]){3}, &src));
    OK(equinv_tensor_init(wide, EQUINV_F64, 1, (int64_t[]){3}, &dst));
    OK(equinv_tensor_convert(ctx, &src, 1, 0, &dst));
    ck_assert(wide[0] == 0 && wide[1] == 2147483649.0 && wide[2] == 4294967295.0);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(convert_in_place)
{
    equinv_context *const ctx = context_new();
    rng r = {8};
    for (int d = 0; d < USABLE; d++) {
        equinv_tensor t = tensor_random(ctx, &r, dtypes[d].dtype, 2, 5, 4);
        equinv_tensor before = tensor_as(ctx, &t, EQUINV_F64);
        equinv_tensor view = t; /* from the end */
        view.data = (char *)t.data + 19 * (int64_t)equinv_dtype_size(t.dtype);
        view.strides[0] = -4, view.strides[1] = -1;
        OK(equinv_tensor_convert(ctx, &view, 3, 2, &view));
        for (int64_t i = 0; i < 20; i++)
            ck_assert(tensor_get(&t, i) == stored(t.dtype, tensor_get(&before, i) * 3 + 2));
        equinv_tensor_destroy(ctx, &before);
        equinv_tensor_destroy(ctx, &t);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(wrong_conversions)
{
    equinv_context *const ctx = context_new();
    _Alignas(64) float from[64] = {0}, to[64] = {0};
    const int64_t shape[2] = {4, 6};
    equinv_tensor src, dst, bad;
    OK(equinv_tensor_init(from, EQUINV_F32, 2, shape, &src));
    OK(equinv_tensor_init(to, EQUINV_F32, 2, shape, &dst));
    from[0] = 5;
#define REFUSED(status, word, s, d) FAILS(status, word, equinv_tensor_convert(ctx, s, 1, 0, d))
    FAILS(EQUINV_ERR_ARG, "ctx is NULL", equinv_tensor_convert(NULL, &src, 1, 0, &dst));
    REFUSED(EQUINV_ERR_ARG, "src is NULL", NULL, &dst);
    REFUSED(EQUINV_ERR_ARG, "dst is NULL", &src, NULL);
    bad = src, bad.data = NULL;
    REFUSED(EQUINV_ERR_ARG, "src has data NULL", &bad, &dst);
    bad = src, bad.data = (char *)from + 2;
    REFUSED(EQUINV_ERR_ARG, "src has data at", &bad, &dst);
    bad = src, bad.dtype = EQUINV_BF16;
    REFUSED(EQUINV_ERR_DTYPE, "src has dtype bf16", &bad, &dst);
    bad = src, bad.dtype = 3;
    REFUSED(EQUINV_ERR_DTYPE, "0x3", &bad, &dst);
    bad = src, bad.device.kind = EQUINV_DEVICE_CUDA;
    REFUSED(EQUINV_ERR_DEVICE, "src is on device cuda:0", &bad, &dst);
    bad = src, bad.device.index = 1;
    REFUSED(EQUINV_ERR_DEVICE, "src is on device cpu:1", &bad, &dst);
    bad = dst, bad.device.kind = 0;
    REFUSED(EQUINV_ERR_DEVICE, "dst is on device 0:0", &src, &bad);
    bad = dst, bad.shape[0] = 3;
    REFUSED(EQUINV_ERR_SHAPE, "[3, 6]", &src, &bad);
    bad = dst, bad.ndim = 1;
    REFUSED(EQUINV_ERR_SHAPE, "[4]", &src, &bad);
    bad = dst, bad.ndim = -2;
    REFUSED(EQUINV_ERR_SHAPE, "ndim -2", &src, &bad);
    bad = dst, bad.shape[1] = -6;
    REFUSED(EQUINV_ERR_SHAPE, "extent -6", &src, &bad);
    bad = dst, bad.strides[0] = 0;
    REFUSED(EQUINV_ERR_SHAPE, "stride 0 on axis 0", &src, &bad);
    bad = dst, bad.strides[0] = 5; /* rows of 6 */
    REFUSED(EQUINV_ERR_SHAPE, "overlap", &src, &bad);
    bad = dst, bad.strides[0] = -5, bad.data = to + 15;
    REFUSED(EQUINV_ERR_SHAPE, "overlap", &src, &bad);
    const int64_t far[] = {INT64_MAX, INT64_MIN, INT64_MAX / 4, INT64_MIN / 4, INT64_MAX / 12};
    for (size_t i = 0; i < sizeof far / sizeof *far; i++) {
        bad = src, bad.strides[0] = far[i];
        REFUSED(EQUINV_ERR_SHAPE, "address space", &bad, &dst);
        bad = dst, bad.strides[1] = far[i];
        REFUSED(EQUINV_ERR_SHAPE, "address space", &src, &bad);
    }
    bad = dst, bad.data = from + 3;
    REFUSED(EQUINV_ERR_ARG, "dst overlaps src", &src, &bad);
    bad = src, bad.strides[0] = 1, bad.strides[1] = 4; /* the same memory, transposed */
    REFUSED(EQUINV_ERR_ARG, "dst overlaps src", &src, &bad);
    bad = src, bad.dtype = EQUINV_I32;
    REFUSED(EQUINV_ERR_ARG, "dst overlaps src", &src, &bad);
#undef REFUSED
    for (int i = 0; i < 64; i++)
        ck_assert(to[i] == 0.0f && from[i] == (i == 0 ? 5.0f : 0.0f));
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(outputs_may_have_any_strides_without_overlap)
{
    equinv_context *const ctx = context_new();
    float from[12], to[64];
    for (int i = 0; i < 12; i++)
        from[i] = (float)i;
    static const struct {
        int64_t shape[3], strides[3];
        int start;
    } views[] = {
        {{2, 3, 2}, {6, 2, 1}, 0},     {{2, 3, 2}, {1, 2, 6}, 0},
        {{2, 3, 2}, {-6, -2, -1}, 11}, {{2, 3, 2}, {20, -6, 2}, 12},
        {{1, 12, 1}, {0, 3, -77}, 0},  {{12, 1, 1}, {-1, 0, 0}, 11},
        {{2, 3, 2}, {3, 1, 32}, 0},    {{2, 1, 6}, {6, INT64_MAX, 1}, 0},
    };
    for (size_t i = 0; i < sizeof views / sizeof *views; i++) {
        equinv_tensor src, dst;
        OK(equinv_tensor_init(from, EQUINV_F32, 3, views[i].shape, &src));
        dst = src;
        dst.data = to + views[i].start;
        memcpy(dst.strides, views[i].strides, sizeof views[i].strides);
        for (int k = 0; k < 64; k++)
            to[k] = -1;
        OK(equinv_tensor_convert(ctx, &src, 1, 0, &dst));
        int touched = 0;
        for (int k = 0; k < 64; k++)
            touched += to[k] != -1.0f;
        ck_assert_int_eq(touched, 12);
        for (int k = 0; k < 12; k++)
            ck_assert(tensor_get(&dst, k) == k);
    }
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(more_than_2_to_the_31_elements)
{
    const int64_t memory = (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
    if (memory < INT64_C(16) << 30) {
        SKIP("this machine has less than 16 GiB of memory");
        return;
    }
    /* Only the pages at the end are touched: the array is described, never filled. */
    const int64_t rows = (INT64_C(1) << 31) + 12345, columns = 2;
    uint8_t *const bytes = calloc((size_t)(rows * columns), 1);
    if (!bytes) {
        SKIP("no 4 GiB of address space");
        return;
    }
    equinv_context *const ctx = context_new();
    equinv_tensor t, last, fields, wide = tensor_new(ctx, EQUINV_F64, 2, 5, 2);
    OK(equinv_tensor_init(bytes, EQUINV_U8, 2, (int64_t[]){rows, columns}, &t));
    ck_assert_int_eq(equinv_tensor_count(&t), rows * columns);
    OK(equinv_tensor_rows(&t, rows - 5, 5, &last));
    for (int i = 0; i < 10; i++)
        bytes[(rows - 5) * columns + i] = (uint8_t)(i + 1);
    OK(equinv_tensor_convert(ctx, &last, 1, 0, &wide));
    for (int i = 0; i < 10; i++)
        ck_assert(tensor_get(&wide, i) == i + 1);
    OK(equinv_tensor_as_fields(&t, 2, &fields));
    ck_assert_int_eq(fields.shape[0], rows);
    equinv_tensor_destroy(ctx, &wide);
    equinv_context_destroy(ctx);
    free(bytes);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {dtypes_are_those_of_dlpack, DTYPES},
        {other_dtypes_are_unknown, 1},
        {init_describes_row_major_memory, 1},
        {wrong_descriptions, 1},
        {empty_tensors, 1},
        {create_gives_aligned_zeros, 1},
        {creation_fails_without_memory, 1},
        {count_of_invalid_tensors, 1},
        {rows_are_views, 1},
        {wrong_rows, 1},
        {fields_from_every_form, 1},
        {wrong_fields, 1},
        {convert_agrees_with_the_formula, 1},
        {convert_rounds_to_nearest_even, 1},
        {convert_keeps_nan_infinities_and_large_integers, 1},
        {convert_in_place, 1},
        {wrong_conversions, 1},
        {outputs_may_have_any_strides_without_overlap, 1},
        {more_than_2_to_the_31_elements, 1},
    };
    return run_tests("tensor", tests, sizeof tests / sizeof *tests);
}
