/* Files: what is written is read back, in every type, shape, order of memory and way of streaming. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <math.h>
#include <unistd.h>

#include "tests/util/files.h"

static const equinv_dtype dtypes[] = {EQUINV_F32, EQUINV_F64, EQUINV_I32, EQUINV_U8, EQUINV_U32};
enum { DTYPES = 5, TRIALS = 400 };

static equinv_tensor random_tensor(equinv_context *ctx, rng *r)
{
    int64_t shape[EQUINV_MAX_DIMS];
    const int32_t ndim = (int32_t)rng_range(r, 0, EQUINV_MAX_DIMS);
    for (int32_t i = 0; i < ndim; i++)
        shape[i] = rng_range(r, rng_range(r, 0, 9) ? 1 : 0, ndim > 4 ? 3 : 9);
    equinv_tensor t;
    OK(equinv_tensor_create(ctx, dtypes[rng_range(r, 0, DTYPES - 1)], ndim, shape, &t));
    tensor_fill_random(r, &t);
    return t;
}

static void check_described(const equinv_tensor *array, const equinv_tensor *t)
{
    ck_assert_int_eq(array->dtype, t->dtype);
    ck_assert_int_eq(array->ndim, t->ndim);
    ck_assert_ptr_null(array->data);
    for (int32_t i = 0; i < t->ndim; i++)
        ck_assert_int_eq(array->shape[i], t->shape[i]);
}

START_TEST(saved_is_loaded)
{
    equinv_context *const ctx = context_new();
    temp_folder folder = temp_folder_new();
    const char *const path = temp_path(&folder, "a.npy");
    char name[512];
    snprintf(name, sizeof name, "%s", path);
    for (uint64_t seed = 1; seed <= TRIALS; seed++) {
        rng r = {seed};
        equinv_tensor t = random_tensor(ctx, &r), back, storage;
        const equinv_tensor strided = tensor_strided_copy(ctx, &r, &t, &storage);
        OK(equinv_tensor_save(ctx, name, seed % 2 ? &t : &strided));
        OK(equinv_tensor_load(ctx, name, &back));
        int64_t where = -1;
        ck_assert_msg(back.dtype == t.dtype && back.ndim == t.ndim &&
                          tensor_same(&back, &t, &where),
                      "seed %d differs at %d", (int)seed, (int)where);
        for (int32_t i = 0; i < t.ndim; i++)
            ck_assert_int_eq(back.shape[i], t.shape[i]);
        equinv_tensor_destroy(ctx, &back);
        equinv_tensor_destroy(ctx, &storage);
        equinv_tensor_destroy(ctx, &t);
    }
    ck_assert_int_eq(temp_count(&folder), 1);
    temp_folder_free(&folder);
    equinv_context_destroy(ctx);
}
END_TEST

/* Rows written and read in pieces of random sizes, into memory of any order. */
START_TEST(streamed_in_pieces)
{
    equinv_context *const ctx = context_new();
    temp_folder folder = temp_folder_new();
    char name[512];
    snprintf(name, sizeof name, "%s", temp_path(&folder, "a.npy"));
    for (uint64_t seed = 1; seed <= TRIALS; seed++) {
        rng r = {seed};
        equinv_tensor t = random_tensor(ctx, &r), storage, back_storage, part, array;
        if (t.ndim == 0) {
            equinv_tensor_destroy(ctx, &t);
            continue;
        }
        const equinv_tensor strided = tensor_strided_copy(ctx, &r, &t, &storage);
        equinv_writer *writer = NULL;
        OK(equinv_writer_create(ctx, name, t.dtype, t.ndim, t.shape, &writer));
        for (int64_t row = 0, n; row < t.shape[0]; row += n) {
            n = rng_range(&r, 0, t.shape[0] - row);
            OK(equinv_tensor_rows(&strided, row, n, &part));
            OK(equinv_writer_write(writer, &part));
        }
        OK(equinv_writer_commit(writer));

        equinv_tensor zero = tensor_like(ctx, &t);
        const equinv_tensor back = tensor_strided_copy(ctx, &r, &zero, &back_storage);
        equinv_reader *reader = NULL;
        OK(equinv_reader_open(ctx, name, &reader));
        OK(equinv_reader_describe(reader, &array));
        check_described(&array, &t);
        int64_t row = 0, count = -1;
        while (row < t.shape[0]) {
            const int64_t n = rng_range(&r, 0, t.shape[0] - row);
            OK(equinv_tensor_rows(&back, row, n, &part));
            OK(equinv_reader_read(reader, &part, &count));
            ck_assert_int_eq(count, n);
            row += n;
        }
        /* Beyond the end there are no rows, and that is no error. */
        OK(equinv_reader_read(reader, &back, &count));
        ck_assert_int_eq(count, 0);
        equinv_reader_close(reader);
        int64_t where = -1;
        ck_assert_msg(tensor_same(&back, &t, &where), "seed %d differs at %d", (int)seed,
                      (int)where);
        equinv_tensor_destroy(ctx, &zero);
        equinv_tensor_destroy(ctx, &back_storage);
        equinv_tensor_destroy(ctx, &storage);
        equinv_tensor_destroy(ctx, &t);
    }
    temp_folder_free(&folder);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(fewer_rows_only_at_the_end)
{
    equinv_context *const ctx = context_new();
    temp_folder folder = temp_folder_new();
    rng r = {3};
    equinv_tensor t = tensor_random(ctx, &r, EQUINV_F32, 2, 10, 3), part, back;
    back = tensor_new(ctx, EQUINV_F32, 2, 4, 3);
    OK(equinv_tensor_save(ctx, temp_path(&folder, "a"), &t));
    equinv_reader *reader = NULL;
    OK(equinv_reader_open(ctx, temp_path(&folder, "a"), &reader));
    static const int64_t expected[] = {4, 4, 2, 0, 0};
    for (int64_t i = 0, row = 0, count; i < 5; i++) {
        tensor_set(&back, 9, 77);
        OK(equinv_reader_read(reader, &back, &count));
        ck_assert_int_eq(count, expected[i]);
        OK(equinv_tensor_rows(&t, row, count, &part));
        for (int64_t k = 0; k < 3 * count; k++)
            ck_assert(tensor_get(&back, k) == tensor_get(&part, k));
        if (count < 4)
            ck_assert(tensor_get(&back, 9) == 77); /* rows beyond the count are left alone */
        row += count;
    }
    equinv_reader_close(reader);
    equinv_tensor_destroy(ctx, &t);
    equinv_tensor_destroy(ctx, &back);
    temp_folder_free(&folder);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(no_axis_is_one_row)
{
    equinv_context *const ctx = context_new();
    temp_folder folder = temp_folder_new();
    equinv_tensor scalar = tensor_new(ctx, EQUINV_F64, 0), one = tensor_new(ctx, EQUINV_F64, 1, 2);
    tensor_set(&scalar, 0, 2.5);
    OK(equinv_tensor_save(ctx, temp_path(&folder, "a"), &scalar));
    equinv_reader *reader = NULL;
    int64_t count;
    OK(equinv_reader_open(ctx, temp_path(&folder, "a"), &reader));
    OK(equinv_reader_read(reader, &one, &count));
    ck_assert_int_eq(count, 1);
    ck_assert(tensor_get(&one, 0) == 2.5);
    OK(equinv_reader_read(reader, &scalar, &count));
    ck_assert_int_eq(count, 0);
    equinv_reader_close(reader);
    equinv_writer *writer = NULL;
    OK(equinv_writer_create(ctx, temp_path(&folder, "b"), EQUINV_F64, 0, NULL, &writer));
    FAILS(EQUINV_ERR_SHAPE, "2 rows", equinv_writer_write(writer, &one));
    one.shape[0] = 1;
    OK(equinv_writer_write(writer, &one));
    FAILS(EQUINV_ERR_SHAPE, "1 rows", equinv_writer_write(writer, &scalar));
    OK(equinv_writer_commit(writer));
    one.shape[0] = 2;
    equinv_tensor back;
    OK(equinv_tensor_load(ctx, temp_path(&folder, "b"), &back));
    ck_assert_int_eq(back.ndim, 0);
    ck_assert(tensor_get(&back, 0) == 2.5);
    equinv_tensor_destroy(ctx, &back);
    equinv_tensor_destroy(ctx, &one);
    equinv_tensor_destroy(ctx, &scalar);
    temp_folder_free(&folder);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(bytes_are_those_of_numpy)
{
    static const struct {
        equinv_dtype dtype;
        int ndim;
        int64_t shape[3];
        const char *dictionary;
    } cases[] = {
        {EQUINV_F32, 2, {3, 4}, "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }"},
        {EQUINV_F64, 1, {5}, "{'descr': '<f8', 'fortran_order': False, 'shape': (5,), }"},
        {EQUINV_I32, 0, {0}, "{'descr': '<i4', 'fortran_order': False, 'shape': (), }"},
        {EQUINV_U8, 3, {2, 0, 1}, "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 0, 1), }"},
        {EQUINV_U32, 1, {1}, "{'descr': '<u4', 'fortran_order': False, 'shape': (1,), }"},
    };
    equinv_context *const ctx = context_new();
    temp_folder folder = temp_folder_new();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        equinv_tensor t;
        OK(equinv_tensor_create(ctx, cases[i].dtype, cases[i].ndim, cases[i].shape, &t));
        OK(equinv_tensor_save(ctx, temp_path(&folder, "a"), &t));
        size_t size;
        char *const text = file_read(temp_path(&folder, "a"), &size);
        const size_t length = strlen(cases[i].dictionary);
        ck_assert(memcmp(text, "\x93NUMPY\x01\x00\x76\x00", 10) == 0);
        ck_assert(memcmp(text + 10, cases[i].dictionary, length) == 0);
        for (size_t k = 10 + length; k < 127; k++)
            ck_assert_int_eq(text[k], ' ');
        ck_assert_int_eq(text[127], '\n');
        ck_assert_uint_eq(size, 128 + (size_t)equinv_tensor_count(&t) *
                                          equinv_dtype_size(cases[i].dtype));
        free(text);
        equinv_tensor_destroy(ctx, &t);
    }
    temp_folder_free(&folder);
    equinv_context_destroy(ctx);
}
END_TEST

/* Largest header: eight extents of nineteen digits would not fit an array; the widest that does. */
START_TEST(longest_header)
{
    equinv_context *const ctx = context_new();
    temp_folder folder = temp_folder_new();
    int64_t shape[EQUINV_MAX_DIMS];
    for (int i = 0; i < EQUINV_MAX_DIMS; i++)
        shape[i] = i ? INT64_MAX : 0;
    equinv_tensor t, back;
    OK(equinv_tensor_init(NULL, EQUINV_F64, EQUINV_MAX_DIMS, shape, &t));
    OK(equinv_tensor_save(ctx, temp_path(&folder, "a"), &t));
    OK(equinv_tensor_load(ctx, temp_path(&folder, "a"), &back));
    check_described(&(equinv_tensor){.dtype = back.dtype, .ndim = back.ndim},
                    &(equinv_tensor){.dtype = EQUINV_F64, .ndim = 8});
    for (int i = 0; i < EQUINV_MAX_DIMS; i++)
        ck_assert_int_eq(back.shape[i], shape[i]);
    equinv_tensor_destroy(ctx, &back);
    temp_folder_free(&folder);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(headers_that_python_reads)
{
    static const struct {
        const char *dictionary;
        equinv_dtype dtype;
        int ndim;
        int64_t shape[2];
    } cases[] = {
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n", EQUINV_F32, 2, {2, 3}},
        {"{'shape': (2, 3), 'descr': '<f4', 'fortran_order': False}", EQUINV_F32, 2, {2, 3}},
        {"{\"fortran_order\":False,\"shape\":(2,3),\"descr\":\"<f4\"}", EQUINV_F32, 2, {2, 3}},
        {" \t\n{ 'descr'\t:\n'=f4' , 'fortran_order' : False , 'shape' : ( 2 , 3 , ) , } \r\f\n",
         EQUINV_F32,
         2,
         {2, 3}},
        {"{'descr': '|f4', 'fortran_order': False, 'shape': (6,), }", EQUINV_F32, 1, {6}},
        {"{'descr': 'f4', 'fortran_order': True, 'shape': (6,), }", EQUINV_F32, 1, {6}},
        {"{'descr': '<f4', 'fortran_order': True, 'shape': (1, 6), }", EQUINV_F32, 2, {1, 6}},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (24,), }", EQUINV_U8, 1, {24}},
        {"{'descr': '|b1', 'fortran_order': False, 'shape': (24,), }", EQUINV_U8, 1, {24}},
        {"{'descr': '?', 'fortran_order': False, 'shape': (24,), }", EQUINV_U8, 1, {24}},
        {"{'descr': '<u4', 'fortran_order': False, 'shape': (6,), }", EQUINV_U32, 1, {6}},
        {"{'descr': '<i8', 'fortran_order': False, 'shape': (3,), }", EQUINV_I32, 1, {3}},
        {"{'descr': '>u2', 'fortran_order': False, 'shape': (12,), }", EQUINV_I32, 1, {12}},
    };
    static const char data[24];
    equinv_context *const ctx = context_new();
    temp_folder folder = temp_folder_new();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int version = 1; version <= 3; version++) {
            bytes b = npy_with(version, cases[i].dictionary);
            bytes_add(&b, data, sizeof data);
            file_write(temp_path(&folder, "a"), b.at, b.size);
            equinv_tensor t;
            OK(equinv_tensor_load(ctx, temp_path(&folder, "a"), &t));
            ck_assert_int_eq(t.dtype, cases[i].dtype);
            ck_assert_int_eq(t.ndim, cases[i].ndim);
            for (int k = 0; k < t.ndim; k++)
                ck_assert_int_eq(t.shape[k], cases[i].shape[k]);
            equinv_tensor_destroy(ctx, &t);
        }
    temp_folder_free(&folder);
    equinv_context_destroy(ctx);
}
END_TEST

/* Every type of the formats, written here by hand in both byte orders. */
typedef struct stored {
    const char *npy;
    unsigned char idx; /* 0: IDX has none */
    int size;
    equinv_dtype announced;
} stored;
static const stored types[] = {
    {"b1", 0, 1, EQUINV_U8},     {"i1", 0x09, 1, EQUINV_I32}, {"u1", 0x08, 1, EQUINV_U8},
    {"i2", 0x0b, 2, EQUINV_I32}, {"u2", 0, 2, EQUINV_I32},    {"i4", 0x0c, 4, EQUINV_I32},
    {"u4", 0, 4, EQUINV_U32},    {"i8", 0, 8, EQUINV_I32},    {"u8", 0, 8, EQUINV_I32},
    {"f4", 0x0d, 4, EQUINV_F32}, {"f8", 0x0e, 8, EQUINV_F64},
};
enum { TYPES = sizeof types / sizeof *types };

static void add_element(bytes *b, const stored *type, double value, bool big)
{
    unsigned char element[8] = {0};
    uint64_t bits = (uint64_t)(int64_t)value;
    const float single = (float)value;
    if (type->npy[0] == 'f' && type->size == 8)
        memcpy(&bits, &value, 8);
    uint32_t word;
    memcpy(&word, &single, 4);
    if (type->npy[0] == 'f' && type->size == 4)
        bits = word;
    for (int k = 0; k < type->size; k++)
        element[big ? type->size - 1 - k : k] = (unsigned char)(bits >> 8 * k);
    bytes_add(b, element, (size_t)type->size);
}

static bytes file_of(const stored *type, bool big, bool idx, int count, const double *values)
{
    char dictionary[128];
    snprintf(dictionary, sizeof dictionary,
             "{'descr': '%c%s', 'fortran_order': False, 'shape': (%d,), }", big ? '>' : '<',
             type->npy, count);
    bytes b = {0};
    if (idx) {
        const unsigned char head[] = {0, 0, type->idx, 1, 0, 0, 0, (unsigned char)count};
        bytes_add(&b, head, sizeof head);
    } else {
        b = npy_with(1, dictionary);
    }
    for (int i = 0; i < count; i++)
        add_element(&b, type, values[i], big || idx);
    return b;
}

START_TEST(every_type_into_every_dtype)
{
    static const double values[] = {0, 1, 1, 0, 1}, more[] = {0, 1, 100, 27, 3}; /* fit all */
    equinv_context *const ctx = context_new();
    temp_folder folder = temp_folder_new();
    const stored *const type = &types[_i];
    for (int form = 0; form < 3; form++) {
        if (form == 2 && !type->idx)
            continue;
        const double *const expected = type->npy[0] == 'b' ? values : more;
        const bytes b = file_of(type, form == 1, form == 2, 5, expected);
        file_write(temp_path(&folder, "a"), b.at, b.size);
        for (int d = 0; d < DTYPES; d++) {
            equinv_tensor t = tensor_new(ctx, dtypes[d], 1, 5), array;
            equinv_reader *reader = NULL;
            int64_t count;
            OK(equinv_reader_open(ctx, temp_path(&folder, "a"), &reader));
            OK(equinv_reader_describe(reader, &array));
            ck_assert_int_eq(array.dtype, type->announced);
            OK(equinv_reader_read(reader, &t, &count));
            ck_assert_int_eq(count, 5);
            for (int i = 0; i < 5; i++)
                ck_assert_msg(tensor_get(&t, i) == expected[i], "%s form %d into %s: %g at %d",
                              type->npy, form, equinv_dtype_name(dtypes[d]), tensor_get(&t, i), i);
            equinv_reader_close(reader);
            equinv_tensor_destroy(ctx, &t);
        }
    }
    temp_folder_free(&folder);
    equinv_context_destroy(ctx);
}
END_TEST

/* The ends of each range, and one beyond. */
START_TEST(values_at_the_limits)
{
    static const struct {
        const char *type;
        double value;
        equinv_dtype dtype;
        bool fits;
    } cases[] = {
        {"i1", -128, EQUINV_I32, true},
        {"i1", -128, EQUINV_F32, true},
        {"i1", -1, EQUINV_U8, false},
        {"i1", -1, EQUINV_U32, false},
        {"i2", -32768, EQUINV_I32, true},
        {"i2", 255, EQUINV_U8, true},
        {"i2", 256, EQUINV_U8, false},
        {"u2", 65535, EQUINV_I32, true},
        {"i4", -2147483648., EQUINV_I32, true},
        {"i4", -1, EQUINV_U32, false},
        {"i4", 2147483647, EQUINV_U32, true},
        {"u4", 4294967295., EQUINV_U32, true},
        {"u4", 2147483647, EQUINV_I32, true},
        {"u4", 2147483648., EQUINV_I32, false},
        {"i8", 2147483647, EQUINV_I32, true},
        {"i8", 2147483648., EQUINV_I32, false},
        {"i8", -2147483648., EQUINV_I32, true},
        {"i8", -2147483649., EQUINV_I32, false},
        {"u8", 4294967295., EQUINV_U32, true},
        {"u8", 4294967296., EQUINV_U32, false},
        {"f4", 255.5, EQUINV_U8, false},
        {"f4", 254.5, EQUINV_U8, true},
        {"f8", -0.5, EQUINV_U8, true},
        {"f8", -0.75, EQUINV_U8, false},
        {"f8", 2147483647.25, EQUINV_I32, true},
        {"f8", 2147483647.5, EQUINV_I32, false},
        {"f8", 1e300, EQUINV_U32, false},
        {"f8", 1e300, EQUINV_F32, true},
        {"f8", (double)NAN, EQUINV_I32, false},
        {"f4", (double)INFINITY, EQUINV_U8, false},
    };
    equinv_context *const ctx = context_new();
    temp_folder folder = temp_folder_new();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const stored *type = types;
        while (strcmp(type->npy, cases[i].type) != 0)
            type++;
        const double value = cases[i].value, pair[] = {1, value};
        const bytes b = file_of(type, i % 2, false, 2, pair);
        file_write(temp_path(&folder, "a"), b.at, b.size);
        equinv_tensor t = tensor_new(ctx, cases[i].dtype, 1, 2);
        equinv_reader *reader = NULL;
        int64_t count = -5;
        OK(equinv_reader_open(ctx, temp_path(&folder, "a"), &reader));
        if (cases[i].fits) {
            OK(equinv_reader_read(reader, &t, &count));
            const bool real = cases[i].dtype == EQUINV_F32;
            const double expected = real ? (double)(float)value : rint(value);
            ck_assert_msg(tensor_get(&t, 1) == expected, "case %zu: %.17g", i, tensor_get(&t, 1));
        } else {
            FAILS(EQUINV_ERR_ARG, "as element 1 ", equinv_reader_read(reader, &t, &count));
            ck_assert(strstr(equinv_last_error(), equinv_dtype_name(cases[i].dtype)));
            ck_assert_int_eq(count, -5);
            FAILS(EQUINV_ERR_ARG, "before", equinv_reader_read(reader, &t, &count));
        }
        equinv_reader_close(reader);
        equinv_tensor_destroy(ctx, &t);
    }
    temp_folder_free(&folder);
    equinv_context_destroy(ctx);
}
END_TEST

/* 64-bit integers are rounded once, not through double. */
START_TEST(long_integers_round_once)
{
    equinv_context *const ctx = context_new();
    temp_folder folder = temp_folder_new();
    const int64_t value = (INT64_C(1) << 60) + (INT64_C(1) << 36) + 1;
    bytes b = npy_with(1, "{'descr': '<i8', 'fortran_order': False, 'shape': (1,), }");
    bytes_add(&b, &value, 8);
    file_write(temp_path(&folder, "a"), b.at, b.size);
    equinv_tensor single = tensor_new(ctx, EQUINV_F32, 1, 1);
    equinv_reader *reader = NULL;
    int64_t count;
    OK(equinv_reader_open(ctx, temp_path(&folder, "a"), &reader));
    OK(equinv_reader_read(reader, &single, &count));
    const double expected = ldexp(1, 60) + ldexp(1, 37);
    ck_assert(tensor_get(&single, 0) == expected);
    equinv_reader_close(reader);
    equinv_tensor_destroy(ctx, &single);
    temp_folder_free(&folder);
    equinv_context_destroy(ctx);
}
END_TEST

/* The index in the sentence counts from the start of the array, across rows and blocks. */
START_TEST(misfit_is_named_by_its_index)
{
    equinv_context *const ctx = context_new();
    temp_folder folder = temp_folder_new();
    equinv_tensor t = tensor_new(ctx, EQUINV_I32, 2, 100, 400);
    equinv_tensor part = tensor_new(ctx, EQUINV_U8, 2, 60, 400);
    tensor_set(&t, 37123, 256);
    OK(equinv_tensor_save(ctx, temp_path(&folder, "a"), &t));
    equinv_reader *reader = NULL;
    int64_t count;
    OK(equinv_reader_open(ctx, temp_path(&folder, "a"), &reader));
    OK(equinv_reader_read(reader, &part, &count));
    FAILS(EQUINV_ERR_ARG, "256 as element 37123 (i32), expected a value that u8 holds",
          equinv_reader_read(reader, &part, &count));
    equinv_reader_close(reader);
    equinv_tensor_destroy(ctx, &t);
    equinv_tensor_destroy(ctx, &part);
    temp_folder_free(&folder);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(gzip_is_found_by_content)
{
    equinv_context *const ctx = context_new();
    temp_folder folder = temp_folder_new();
    rng r = {1};
    equinv_tensor t = tensor_random(ctx, &r, EQUINV_F32, 3, 40, 30, 20), back;
    OK(equinv_tensor_save(ctx, temp_path(&folder, "a.npy"), &t));
    size_t size;
    char *const text = file_read(temp_path(&folder, "a.npy"), &size);
    if (!file_write_gzip(temp_path(&folder, "a"), text, size)) {
        const unsigned char head[] = {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3};
        file_write(temp_path(&folder, "a"), head, sizeof head);
        FAILS(EQUINV_ERR_UNSUPPORTED, "no zlib",
              equinv_tensor_load(ctx, temp_path(&folder, "a"), &back));
    } else {
        OK(equinv_tensor_load(ctx, temp_path(&folder, "a"), &back));
        ASSERT_SAME(&back, &t);
        equinv_tensor_destroy(ctx, &back);

        /* Members one after another are one file, wherever they are cut; empty ones count too. */
        for (uint64_t seed = 1; seed <= 20; seed++) {
            FILE *const all = fopen(temp_path(&folder, "members"), "wb");
            for (size_t at = 0, n; at < size || n; at += n) {
                n = (size_t)rng_range(&r, 0, (int64_t)((size - at) < 50000 ? size - at : 50000));
                file_write_gzip(temp_path(&folder, "one"), text + at, n);
                size_t length;
                char *const one = file_read(temp_path(&folder, "one"), &length);
                fwrite(one, 1, length, all);
                free(one);
            }
            fclose(all);
            OK(equinv_tensor_load(ctx, temp_path(&folder, "members"), &back));
            ASSERT_SAME(&back, &t);
            equinv_tensor_destroy(ctx, &back);
        }
    }
    free(text);
    equinv_tensor_destroy(ctx, &t);
    temp_folder_free(&folder);
    equinv_context_destroy(ctx);
}
END_TEST

/* An allocator that knows how much was in use at most. */
typedef struct peak {
    int64_t now, most;
} peak;

static void *peak_alloc(void *user, size_t size, size_t alignment)
{
    peak *const p = user;
    p->now += (int64_t)size;
    p->most = p->now > p->most ? p->now : p->most;
    return aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
}

static void peak_free(void *user, void *ptr, size_t size)
{
    ((peak *)user)->now -= (int64_t)size;
    free(ptr);
}

START_TEST(memory_of_streaming_is_bounded)
{
    peak p = {0, 0};
    equinv_context_desc desc = EQUINV_CONTEXT_DESC_INIT;
    desc.threads = 1;
    desc.allocator = (equinv_allocator){peak_alloc, peak_free, &p};
    equinv_context *ctx = NULL;
    OK(equinv_context_create(&desc, &ctx));
    temp_folder folder = temp_folder_new();
    const int64_t shape[] = {4000, 1000}, rows = 10;
    static float memory[10 * 1000];
    equinv_tensor part;
    OK(equinv_tensor_init(memory, EQUINV_F32, 2, (const int64_t[]){rows, shape[1]}, &part));
    equinv_writer *writer = NULL;
    OK(equinv_writer_create(ctx, temp_path(&folder, "a"), EQUINV_F32, 2, shape, &writer));
    for (int64_t i = 0; i < shape[0]; i += rows) {
        memory[0] = (float)i;
        OK(equinv_writer_write(writer, &part));
    }
    OK(equinv_writer_commit(writer));
    equinv_reader *reader = NULL;
    OK(equinv_reader_open(ctx, temp_path(&folder, "a"), &reader));
    for (int64_t i = 0, count; i < shape[0]; i += rows) {
        OK(equinv_reader_read(reader, &part, &count));
        ck_assert(count == rows && memory[0] == (float)i);
    }
    equinv_reader_close(reader);
    ck_assert_msg(p.most < 512 << 10, "%lld bytes", (long long)p.most);
    temp_folder_free(&folder);
    equinv_context_destroy(ctx);
    ck_assert_int_eq(p.now, 0);
}
END_TEST

typedef struct paths {
    char in[512], out[512];
} paths;

static equinv_status attempt_load(equinv_context *ctx, void *arg)
{
    const paths *const p = arg;
    equinv_tensor t = {0};
    const equinv_status status = equinv_tensor_load(ctx, p->in, &t);
    equinv_tensor_destroy(ctx, &t);
    return status;
}

static equinv_status attempt_stream(equinv_context *ctx, void *arg)
{
    const paths *const p = arg;
    static double memory[3000];
    equinv_reader *reader = NULL;
    equinv_writer *writer = NULL;
    equinv_tensor rows;
    int64_t count;
    equinv_status status =
        equinv_tensor_init(memory, EQUINV_F64, 2, (const int64_t[]){30, 50}, &rows);
    if (!status)
        status = equinv_reader_open(ctx, p->in, &reader);
    if (!status)
        status = equinv_reader_read(reader, &rows, &count);
    if (!status)
        status = equinv_writer_create(ctx, p->out, EQUINV_F64, 2, rows.shape, &writer);
    if (!status)
        status = equinv_writer_write(writer, &rows);
    if (!status) {
        status = equinv_writer_commit(writer);
        writer = NULL;
    }
    equinv_writer_abort(writer);
    equinv_reader_close(reader);
    ck_assert_int_eq(unlink(p->out), status ? -1 : 0);
    return status;
}

START_TEST(out_of_memory)
{
    equinv_context *const ctx = context_new();
    temp_folder folder = temp_folder_new();
    rng r = {8};
    equinv_tensor t = tensor_random(ctx, &r, EQUINV_F32, 2, 30, 50);
    paths plain, gzip;
    snprintf(plain.in, sizeof plain.in, "%s", temp_path(&folder, "a"));
    snprintf(gzip.in, sizeof gzip.in, "%s", temp_path(&folder, "a.gz"));
    snprintf(plain.out, sizeof plain.out, "%s", temp_path(&folder, "out"));
    memcpy(gzip.out, plain.out, sizeof gzip.out);
    OK(equinv_tensor_save(ctx, plain.in, &t));
    ck_assert_int_ge(fail_in_turn(attempt_load, &plain), 4);
    ck_assert_int_ge(fail_in_turn(attempt_stream, &plain), 7);
    size_t size;
    char *const text = file_read(plain.in, &size);
    if (file_write_gzip(gzip.in, text, size)) {
        ck_assert_int_ge(fail_in_turn(attempt_load, &gzip), 7);
        ck_assert_int_ge(fail_in_turn(attempt_stream, &gzip), 10);
    } else {
        SKIP("gzip: no zlib in this build");
    }
    free(text);
    ck_assert_int_eq(temp_count(&folder), access(gzip.in, F_OK) == 0 ? 2 : 1);
    equinv_tensor_destroy(ctx, &t);
    temp_folder_free(&folder);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(wrong_arguments)
{
    equinv_context *const ctx = context_new();
    temp_folder folder = temp_folder_new();
    equinv_tensor t = tensor_new(ctx, EQUINV_F32, 2, 3, 4), other, array;
    char path[512];
    snprintf(path, sizeof path, "%s", temp_path(&folder, "a.npy"));
    const int64_t *const shape = t.shape;
    equinv_reader *reader = NULL;
    equinv_writer *writer = NULL;
    int64_t count = -1;

    FAILS(EQUINV_ERR_ARG, "ctx", equinv_tensor_save(NULL, path, &t));
    FAILS(EQUINV_ERR_ARG, "path is NULL", equinv_tensor_save(ctx, NULL, &t));
    FAILS(EQUINV_ERR_ARG, "path is empty", equinv_tensor_save(ctx, "", &t));
    FAILS(EQUINV_ERR_ARG, "tensor is NULL", equinv_tensor_save(ctx, path, NULL));
    other = t, other.dtype = EQUINV_BF16;
    FAILS(EQUINV_ERR_DTYPE, "bf16", equinv_tensor_save(ctx, path, &other));
    other = t, other.dtype = 77;
    FAILS(EQUINV_ERR_DTYPE, "0x4d", equinv_tensor_save(ctx, path, &other));
    other = t, other.device.kind = EQUINV_DEVICE_CUDA;
    FAILS(EQUINV_ERR_DEVICE, "device cuda:0", equinv_tensor_save(ctx, path, &other));
    other = t, other.ndim = 9;
    FAILS(EQUINV_ERR_SHAPE, "ndim 9", equinv_tensor_save(ctx, path, &other));
    other = t, other.shape[0] = -1;
    FAILS(EQUINV_ERR_SHAPE, "-1", equinv_tensor_save(ctx, path, &other));
    other = t, other.shape[0] = other.shape[1] = INT64_MAX;
    FAILS(EQUINV_ERR_SHAPE, "2^63", equinv_tensor_save(ctx, path, &other));
    other = t, other.strides[0] = INT64_MAX;
    FAILS(EQUINV_ERR_SHAPE, "address space", equinv_tensor_save(ctx, path, &other));
    other = t, other.data = NULL;
    FAILS(EQUINV_ERR_ARG, "data NULL", equinv_tensor_save(ctx, path, &other));
    ck_assert_int_eq(temp_count(&folder), 0);

    FAILS(EQUINV_ERR_ARG, "ctx", equinv_writer_create(NULL, path, EQUINV_F32, 2, shape, &writer));
    FAILS(EQUINV_ERR_ARG, "path", equinv_writer_create(ctx, NULL, EQUINV_F32, 2, shape, &writer));
    FAILS(EQUINV_ERR_ARG, "path", equinv_writer_create(ctx, "", EQUINV_F32, 2, shape, &writer));
    FAILS(EQUINV_ERR_DTYPE, "bf16",
          equinv_writer_create(ctx, path, EQUINV_BF16, 2, shape, &writer));
    FAILS(EQUINV_ERR_DTYPE, "0x7", equinv_writer_create(ctx, path, 7, 2, shape, &writer));
    FAILS(EQUINV_ERR_SHAPE, "-1", equinv_writer_create(ctx, path, EQUINV_F32, -1, shape, &writer));
    FAILS(EQUINV_ERR_SHAPE, "9", equinv_writer_create(ctx, path, EQUINV_F32, 9, shape, &writer));
    FAILS(EQUINV_ERR_ARG, "shape", equinv_writer_create(ctx, path, EQUINV_F32, 2, NULL, &writer));
    FAILS(EQUINV_ERR_SHAPE, "axis 1",
          equinv_writer_create(ctx, path, EQUINV_F32, 2, (const int64_t[]){2, -3}, &writer));
    FAILS(EQUINV_ERR_SHAPE, "2^63",
          equinv_writer_create(ctx, path, EQUINV_F32, 1, (const int64_t[]){INT64_MAX}, &writer));
    FAILS(EQUINV_ERR_ARG, "writer", equinv_writer_create(ctx, path, EQUINV_F32, 2, shape, NULL));
    ck_assert_ptr_null(writer);
    ck_assert_int_eq(temp_count(&folder), 0);
    FAILS(EQUINV_ERR_ARG, "writer", equinv_writer_write(NULL, &t));
    FAILS(EQUINV_ERR_ARG, "writer", equinv_writer_commit(NULL));
    equinv_writer_abort(NULL);
    OK(equinv_writer_create(ctx, path, EQUINV_F32, 2, shape, &writer));
    FAILS(EQUINV_ERR_ARG, "rows is NULL", equinv_writer_write(writer, NULL));
    other = t, other.device.kind = EQUINV_DEVICE_CUDA;
    FAILS(EQUINV_ERR_DEVICE, "rows", equinv_writer_write(writer, &other));
    other = t, other.ndim = 1;
    FAILS(EQUINV_ERR_SHAPE, "[3]", equinv_writer_write(writer, &other));
    other = t, other.ndim = 0;
    FAILS(EQUINV_ERR_SHAPE, "[]", equinv_writer_write(writer, &other));
    OK(equinv_writer_write(writer, &t));
    OK(equinv_writer_commit(writer));

    FAILS(EQUINV_ERR_ARG, "ctx", equinv_tensor_load(NULL, path, &other));
    FAILS(EQUINV_ERR_ARG, "path", equinv_tensor_load(ctx, NULL, &other));
    FAILS(EQUINV_ERR_ARG, "path", equinv_tensor_load(ctx, "", &other));
    FAILS(EQUINV_ERR_ARG, "tensor", equinv_tensor_load(ctx, path, NULL));
    FAILS(EQUINV_ERR_ARG, "ctx", equinv_reader_open(NULL, path, &reader));
    FAILS(EQUINV_ERR_ARG, "path", equinv_reader_open(ctx, NULL, &reader));
    FAILS(EQUINV_ERR_ARG, "path", equinv_reader_open(ctx, "", &reader));
    FAILS(EQUINV_ERR_ARG, "reader", equinv_reader_open(ctx, path, NULL));
    FAILS(EQUINV_ERR_ARG, "reader", equinv_reader_describe(NULL, &array));
    FAILS(EQUINV_ERR_ARG, "reader", equinv_reader_read(NULL, &t, &count));
    equinv_reader_close(NULL);
    OK(equinv_reader_open(ctx, path, &reader));
    FAILS(EQUINV_ERR_ARG, "array", equinv_reader_describe(reader, NULL));
    FAILS(EQUINV_ERR_ARG, "rows", equinv_reader_read(reader, NULL, &count));
    FAILS(EQUINV_ERR_ARG, "count", equinv_reader_read(reader, &t, NULL));
    other = t, other.ndim = 1;
    FAILS(EQUINV_ERR_SHAPE, "[3, 4]", equinv_reader_read(reader, &other, &count));
    other = t, other.ndim = 0;
    FAILS(EQUINV_ERR_SHAPE, "[3, 4]", equinv_reader_read(reader, &other, &count));
    other = t, other.shape[1] = 3;
    FAILS(EQUINV_ERR_SHAPE, "[3, 3]", equinv_reader_read(reader, &other, &count));
    other = t, other.strides[1] = 0;
    FAILS(EQUINV_ERR_SHAPE, "overlap", equinv_reader_read(reader, &other, &count));
    other = t, other.dtype = EQUINV_BF16;
    FAILS(EQUINV_ERR_DTYPE, "bf16", equinv_reader_read(reader, &other, &count));
    other = t, other.device.index = 1;
    FAILS(EQUINV_ERR_DEVICE, "rows", equinv_reader_read(reader, &other, &count));
    other = t, other.data = NULL;
    FAILS(EQUINV_ERR_ARG, "data NULL", equinv_reader_read(reader, &other, &count));
    ck_assert_int_eq(count, -1);
    OK(equinv_reader_read(reader, &t, &count)); /* refusals moved nothing */
    ck_assert_int_eq(count, 3);
    equinv_reader_close(reader);
    equinv_tensor_destroy(ctx, &t);
    temp_folder_free(&folder);
    equinv_context_destroy(ctx);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {saved_is_loaded, 1},
        {streamed_in_pieces, 1},
        {fewer_rows_only_at_the_end, 1},
        {no_axis_is_one_row, 1},
        {bytes_are_those_of_numpy, 1},
        {longest_header, 1},
        {headers_that_python_reads, 1},
        {every_type_into_every_dtype, TYPES},
        {values_at_the_limits, 1},
        {long_integers_round_once, 1},
        {misfit_is_named_by_its_index, 1},
        {gzip_is_found_by_content, 1},
        {memory_of_streaming_is_bounded, 1},
        {out_of_memory, 1},
        {wrong_arguments, 1},
    };
    return run_tests("files", tests, sizeof tests / sizeof *tests);
}
