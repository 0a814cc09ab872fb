/* safetensors and its JSON: round trips, every refusal with its sentence, memory, locale. */
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

#include "internal/json.h"
#include "internal/safetensors.h"
#include "tests/util/files.h"
#include "tests/util/locale.h"

#ifdef EQI_HAVE_CJSON
#include <cjson/cJSON.h>
#endif

static bool cjson_missing(const char *test)
{
#ifdef EQI_HAVE_CJSON
    (void)test;
    return false;
#else
    printf("SKIP %s: no cJSON in this build\n", test);
    return true;
#endif
}

static const equinv_dtype dtypes[] = {EQUINV_F32, EQUINV_F64, EQUINV_I32, EQUINV_U8, EQUINV_U32};

/* The file: length field, header, data bytes 0, 1, 2 .. */
static void write_file(const char *path, const char *header, size_t data)
{
    const size_t length = strlen(header);
    unsigned char *const content = malloc(8 + length + data);
    for (int i = 0; i < 8; i++)
        content[i] = (unsigned char)((uint64_t)length >> 8 * i);
    memcpy(content + 8, header, length);
    for (size_t i = 0; i < data; i++)
        content[8 + length + i] = (unsigned char)i;
    file_write(path, content, 8 + length + data);
    free(content);
}

START_TEST(saved_is_read)
{
    static const char *const names[] = {"a",
                                        "conv1.weights",
                                        "",
                                        "with \"quotes\" and \\",
                                        "\x01 control \n\t",
                                        "\xce\xb1\xe2\x88\x91\xf0\x9d\x84\x9e"};
    enum { NAMES = sizeof names / sizeof *names };
    if (cjson_missing("saved_is_read"))
        return;
    equinv_context *const ctx = context_new();
    temp_folder folder = temp_folder_new();
    char path[512];
    snprintf(path, sizeof path, "%s", temp_path(&folder, "m.safetensors"));
    for (uint64_t seed = 1; seed <= 250; seed++) {
        rng r = {seed};
        equinv_tensor t[NAMES], view[NAMES], storage[NAMES];
        eqi_safetensors_item items[NAMES];
        const int64_t count = rng_range(&r, 0, NAMES), pairs = rng_range(&r, 0, 2);
        const eqi_safetensors_pair metadata[] = {{"equinv", "{\"format\": 1, \"x\": 0.5}"},
                                                 {names[4], names[5]}};
        for (int64_t i = 0; i < count; i++) {
            int64_t shape[EQUINV_MAX_DIMS];
            const int32_t ndim = (int32_t)rng_range(&r, 0, 5);
            for (int32_t k = 0; k < ndim; k++)
                shape[k] = rng_range(&r, rng_range(&r, 0, 9) ? 1 : 0, 5);
            OK(equinv_tensor_create(ctx, dtypes[rng_range(&r, 0, 4)], ndim, shape, &t[i]));
            tensor_fill_random(&r, &t[i]);
            view[i] = tensor_strided_copy(ctx, &r, &t[i], &storage[i]);
            items[i] = (eqi_safetensors_item){names[i], seed % 2 ? &t[i] : &view[i]};
        }
        OK(eqi_safetensors_save(ctx, path, metadata, pairs, items, count));
        eqi_safetensors *file = NULL;
        int64_t found;
        OK(eqi_safetensors_open(ctx, path, &file));
        const eqi_safetensors_entry *const entries = eqi_safetensors_entries(file, &found);
        ck_assert_int_eq(found, count);
        for (int64_t i = count - 1; i >= 0; i--) {
            const eqi_safetensors_entry *const e = eqi_safetensors_find(file, names[i]);
            ck_assert(e == &entries[i]);
            ck_assert_int_eq(e->dtype, t[i].dtype);
            ck_assert_int_eq(e->array.ndim, t[i].ndim);
            equinv_tensor back = tensor_like(ctx, &t[i]), back_storage;
            const equinv_tensor into = tensor_strided_copy(ctx, &r, &back, &back_storage);
            OK(eqi_safetensors_read(file, e, seed % 3 ? &into : &back));
            ASSERT_SAME(seed % 3 ? &into : &back, &t[i]);
            equinv_tensor_destroy(ctx, &back);
            equinv_tensor_destroy(ctx, &back_storage);
        }
        ck_assert_ptr_null(eqi_safetensors_find(file, "not there"));
        ck_assert_ptr_null(eqi_safetensors_metadata(file, "not there"));
        for (int64_t i = 0; i < 2; i++) {
            const char *const value = eqi_safetensors_metadata(file, metadata[i].key);
            ck_assert((value != NULL) == (i < pairs));
            if (value)
                ck_assert_str_eq(value, metadata[i].value);
        }
        eqi_safetensors_close(file);
        for (int64_t i = 0; i < count; i++) {
            equinv_tensor_destroy(ctx, &t[i]);
            equinv_tensor_destroy(ctx, &storage[i]);
        }
    }
    ck_assert_int_eq(temp_count(&folder), 1);
    temp_folder_free(&folder);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(bytes_of_a_small_file)
{
    static const char expected[] =
        "\x88\0\0\0\0\0\0\0{\"__metadata__\":{\"k\":\"v\"},\"b\":{\"dtype\":\"U8\",\"shape\":[3],"
        "\"data_offsets\":[0,3]},\"a\":{\"dtype\":\"I32\",\"shape\":[],\"data_offsets\":[3,7]}}"
        "      \x01\x02\x03\x04\x05\x06\x07";
    equinv_context *const ctx = context_new();
    temp_folder folder = temp_folder_new();
    unsigned char three[] = {1, 2, 3};
    int32_t one = 0x07060504;
    equinv_tensor a, b;
    OK(equinv_tensor_init(three, EQUINV_U8, 1, (const int64_t[]){3}, &b));
    OK(equinv_tensor_init(&one, EQUINV_I32, 0, NULL, &a));
    const eqi_safetensors_item items[] = {{"b", &b}, {"a", &a}};
    const eqi_safetensors_pair pair = {"k", "v"};
    OK(eqi_safetensors_save(ctx, temp_path(&folder, "m"), &pair, 1, items, 2));
    size_t size;
    char *const text = file_read(temp_path(&folder, "m"), &size);
    ck_assert_uint_eq(size % 8, 7);
    ck_assert_uint_eq(size, sizeof expected - 1);
    ck_assert(memcmp(text, expected, size) == 0);
    free(text);
    temp_folder_free(&folder);
    equinv_context_destroy(ctx);
}
END_TEST

/* What other programs write: white space, any order of keys, more types than the library has. */
START_TEST(foreign_files)
{
    if (cjson_missing("foreign_files"))
        return;
    equinv_context *const ctx = context_new();
    temp_folder folder = temp_folder_new();
    write_file(
        temp_path(&folder, "m"),
        "{ \"i8\" : {\"shape\":[2], \"data_offsets\":[0,2], \"dtype\":\"I8\"},\n"
        "\"h\":{\"dtype\":\"F16\",\"shape\":[1,2],\"data_offsets\":[2,6]},"
        "\"empty\":{\"dtype\":\"F64\",\"shape\":[3,0],\"data_offsets\":[6,6]},"
        "\"i64\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[6,14]},"
        "\"t\\u0041\\ud834\\udd1e\":{\"dtype\":\"BOOL\",\"shape\":[1],\"data_offsets\":[14,15]},"
        "\"__metadata__\":{\"format\":\"pt\"}}   ",
        15);
    eqi_safetensors *file = NULL;
    int64_t count;
    OK(eqi_safetensors_open(ctx, temp_path(&folder, "m"), &file));
    eqi_safetensors_entries(file, &count);
    ck_assert_int_eq(count, 5);
    ck_assert_str_eq(eqi_safetensors_metadata(file, "format"), "pt");
    equinv_tensor two = tensor_new(ctx, EQUINV_F32, 1, 2),
                  half = tensor_new(ctx, EQUINV_F32, 2, 1, 2);
    const eqi_safetensors_entry *e = eqi_safetensors_find(file, "i8");
    ck_assert_str_eq(e->word, "I8");
    ck_assert_int_eq(e->dtype, 0);
    OK(eqi_safetensors_read(file, e, &two));
    ck_assert(tensor_get(&two, 0) == 0 && tensor_get(&two, 1) == 1);
    FAILS(EQUINV_ERR_UNSUPPORTED, "\"h\" has element type f16",
          eqi_safetensors_read(file, eqi_safetensors_find(file, "h"), &half));
    FAILS(EQUINV_ERR_SHAPE, "[1, 2]", eqi_safetensors_read(file, e, &half));
    equinv_tensor scalar = tensor_new(ctx, EQUINV_I32, 0);
    FAILS(EQUINV_ERR_ARG, "\"i64\" has 9.4",
          eqi_safetensors_read(file, eqi_safetensors_find(file, "i64"), &scalar));
    equinv_tensor one = tensor_new(ctx, EQUINV_U8, 1, 1);
    e = eqi_safetensors_find(file, "tA\xf0\x9d\x84\x9e");
    ck_assert_ptr_nonnull(e);
    FAILS(EQUINV_ERR_FORMAT, "boolean", eqi_safetensors_read(file, e, &one)); /* the byte is 14 */
    FAILS(EQUINV_ERR_ARG, "NULL", eqi_safetensors_read(file, e, NULL));
    one.dtype = EQUINV_BF16;
    FAILS(EQUINV_ERR_DTYPE, "bf16", eqi_safetensors_read(file, e, &one));
    one.dtype = EQUINV_U8;
    eqi_safetensors_close(file);
    equinv_tensor_destroy(ctx, &two);
    equinv_tensor_destroy(ctx, &half);
    equinv_tensor_destroy(ctx, &scalar);
    equinv_tensor_destroy(ctx, &one);
    temp_folder_free(&folder);
    equinv_context_destroy(ctx);
}
END_TEST

#define ENTRY(name, dtype, shape, offsets)                                                         \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":[" shape "],\"data_offsets\":[" offsets "]}"

static const struct {
    const char *header;
    size_t data;
    equinv_status status;
    const char *word;
} hostile[] = {
    {"{}", 0, EQUINV_OK, ""},
    {"{" ENTRY("a", "U8", "4", "0,4") "}", 4, EQUINV_OK, ""},
    {"{" ENTRY("a", "U8", "4", "4,8") "," ENTRY("b", "U8", "4", "0,4") "}", 8, EQUINV_OK, ""},
    /* not JSON, or not an object */
    {"", 0, EQUINV_ERR_FORMAT, "does not begin with {"},
    {" {}", 0, EQUINV_ERR_FORMAT, "does not begin with {"},
    {"[]", 0, EQUINV_ERR_FORMAT, "does not begin with {"},
    {"{", 0, EQUINV_ERR_FORMAT, "byte 1, expected a string"},
    {"{}}", 0, EQUINV_ERR_FORMAT, "byte 2, expected nothing more"},
    {"{\"a\"}", 0, EQUINV_ERR_FORMAT, "expected a colon"},
    {"{\"a\":}", 0, EQUINV_ERR_FORMAT, "byte 5, expected a value"},
    {"{\"a\":1,}", 0, EQUINV_ERR_FORMAT, "expected a string"},
    {"{\"a\":1 \"b\":1}", 0, EQUINV_ERR_FORMAT, "expected a comma or }"},
    {"{\"a\":[1 2]}", 0, EQUINV_ERR_FORMAT, "expected a comma or ]"},
    {"{\"a\":[1,]}", 0, EQUINV_ERR_FORMAT, "expected a value"},
    {"{\"a\":01}", 0, EQUINV_ERR_FORMAT, "expected a comma"},
    {"{\"a\":+1}", 0, EQUINV_ERR_FORMAT, "expected a value"},
    {"{\"a\":1.}", 0, EQUINV_ERR_FORMAT, "expected a value"},
    {"{\"a\":1e}", 0, EQUINV_ERR_FORMAT, "expected a value"},
    {"{\"a\":0x10}", 0, EQUINV_ERR_FORMAT, "expected a comma"},
    {"{\"a\":NaN}", 0, EQUINV_ERR_FORMAT, "expected a value"},
    {"{\"a\":tru}", 0, EQUINV_ERR_FORMAT, "expected a value"},
    {"{\"a\":1111111111111111111111111111111111111111111111111111111111111111}", 0,
     EQUINV_ERR_FORMAT, "expected a value"},
    {"{'a':1}", 0, EQUINV_ERR_FORMAT, "expected a string"},
    {"{\"a:1}", 0, EQUINV_ERR_FORMAT, "closing quote"},
    {"{\"a\n\":1}", 0, EQUINV_ERR_FORMAT, "control characters"},
    {"{\"a\xff\":1}", 0, EQUINV_ERR_FORMAT, "UTF-8"},
    {"{\"a\xc0\x80\":1}", 0, EQUINV_ERR_FORMAT, "UTF-8"},
    {"{\"a\xed\xa0\x80\":1}", 0, EQUINV_ERR_FORMAT, "UTF-8"},
    {"{\"a\xe2\x88\":1}", 0, EQUINV_ERR_FORMAT, "UTF-8"},
    {"{\"a\\q\":1}", 0, EQUINV_ERR_FORMAT, "escape"},
    {"{\"a\\u00g0\":1}", 0, EQUINV_ERR_FORMAT, "hexadecimal"},
    {"{\"a\\u00", 0, EQUINV_ERR_FORMAT, "hexadecimal"},
    {"{\"a\\u0000b\":1}", 0, EQUINV_ERR_FORMAT, "not 0000"},
    {"{\"a\\ud800\":1}", 0, EQUINV_ERR_FORMAT, "surrogates"},
    {"{\"a\\udc00\\ud800\":1}", 0, EQUINV_ERR_FORMAT, "surrogates"},
    {"{\"a\\ud800\\u0041\":1}", 0, EQUINV_ERR_FORMAT, "surrogates"},
    {"{\"a\\", 0, EQUINV_ERR_FORMAT, "hexadecimal"},
    /* keys */
    {"{" ENTRY("a", "U8", "1", "0,1") "," ENTRY("a", "U8", "1", "1,2") "}", 2, EQUINV_ERR_FORMAT,
     "key \"a\" twice"},
    {"{\"a\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1]}}", 1,
     EQUINV_ERR_FORMAT, "key \"dtype\" twice"},
    {"{\"__metadata__\":{\"k\":\"1\",\"k\":\"2\"}}", 0, EQUINV_ERR_FORMAT, "key \"k\" twice"},
    {"{\"__metadata__\":{\"k\":1}}", 0, EQUINV_ERR_FORMAT, "metadata \"k\" that is no string"},
    {"{\"__metadata__\":[]}", 0, EQUINV_ERR_FORMAT, "no object of strings"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1],\"x\":1}}", 1, EQUINV_ERR_FORMAT,
     "tensor \"a\" has the key \"x\""},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[]}}", 0, EQUINV_ERR_FORMAT, "\"a\" has 2 of the keys"},
    {"{\"a\":1}", 0, EQUINV_ERR_FORMAT, "\"a\" is no object"},
    /* types and extents */
    {"{" ENTRY("a", "F31", "1", "0,4") "}", 4, EQUINV_ERR_UNSUPPORTED, "\"a\" has dtype \"F31\""},
    {"{\"a\":{\"dtype\":3,\"shape\":[],\"data_offsets\":[0,1]}}", 1, EQUINV_ERR_FORMAT,
     "dtype that is no string"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":4,\"data_offsets\":[0,4]}}", 4, EQUINV_ERR_FORMAT,
     "shape that is no list"},
    {"{" ENTRY("a", "U8", "-1", "0,0") "}", 0, EQUINV_ERR_FORMAT,
     "\"a\" has a wrong extent on axis 0"},
    {"{" ENTRY("a", "U8", "2,1.5", "0,3") "}", 3, EQUINV_ERR_FORMAT, "extent on axis 1"},
    {"{" ENTRY("a", "U8", "\"4\"", "0,4") "}", 4, EQUINV_ERR_FORMAT, "extent on axis 0"},
    {"{" ENTRY("a", "U8", "9007199254740992", "0,0") "}", 0, EQUINV_ERR_FORMAT, "2^53"},
    {"{" ENTRY("a", "U8", "1e300", "0,0") "}", 0, EQUINV_ERR_FORMAT, "2^53"},
    {"{" ENTRY("a", "F64", "4294967296,4294967296", "0,0") "}", 0, EQUINV_ERR_FORMAT,
     "address space"},
    {"{" ENTRY("a", "U8", "1,1,1,1,1,1,1,1,1", "0,1") "}", 1, EQUINV_ERR_UNSUPPORTED,
     "more than 8 axes"},
    {"{" ENTRY("a", "F32", "3", "0,8") "}", 8, EQUINV_ERR_FORMAT, "expected 12 bytes"},
    {"{" ENTRY("a", "U8", "0", "0,1") "}", 1, EQUINV_ERR_FORMAT, "expected 0 bytes"},
    /* places */
    {"{" ENTRY("a", "U8", "4", "4,0") "}", 4, EQUINV_ERR_FORMAT, "in order"},
    {"{" ENTRY("a", "U8", "4", "0,4") "}", 3, EQUINV_ERR_FORMAT, "file's 3 bytes"},
    {"{" ENTRY("a", "U8", "4", "0,4") "}", 5, EQUINV_ERR_FORMAT, "5 bytes of data, expected 4"},
    {"{}", 1, EQUINV_ERR_FORMAT, "1 bytes of data, expected 0"},
    {"{" ENTRY("a", "U8", "4", "1,5") "}", 5, EQUINV_ERR_FORMAT, "\"a\" begins at 1, expected 0"},
    {"{" ENTRY("a", "U8", "2", "0,2") "," ENTRY("b", "U8", "2", "3,5") "}", 5, EQUINV_ERR_FORMAT,
     "\"b\" begins at 3, expected 2"},
    {"{" ENTRY("a", "U8", "3", "0,3") "," ENTRY("b", "U8", "3", "2,5") "}", 5, EQUINV_ERR_FORMAT,
     "\"b\" begins at 2, before \"a\" ends at 3"},
    {"{" ENTRY("a", "U8", "3", "0,3") "," ENTRY("b", "U8", "3", "0,3") "}", 3, EQUINV_ERR_FORMAT,
     "overlap"},
    {"{" ENTRY("a", "U8", "4", "0,4") "," ENTRY("b", "U8", "0", "2,2") "}", 4, EQUINV_ERR_FORMAT,
     "overlap"},
    {"{" ENTRY("a", "U8", "4", "0,9007199254740992") "}", 4, EQUINV_ERR_FORMAT, "2^53"},
    {"{" ENTRY("a", "U8", "4", "0,18446744073709551620") "}", 4, EQUINV_ERR_FORMAT, "2^53"},
    {"{" ENTRY("a", "U8", "4", "-0.5,4") "}", 4, EQUINV_ERR_FORMAT, "two integers"},
    {"{" ENTRY("a", "U8", "4", "0") "}", 4, EQUINV_ERR_FORMAT, "two integers"},
    {"{" ENTRY("a", "U8", "4", "0,4,4") "}", 4, EQUINV_ERR_FORMAT, "two integers"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":4}}", 4, EQUINV_ERR_FORMAT,
     "two integers"},
    /* a name that would move a terminal's cursor */
    {"{" ENTRY("\\u001b[2J", "U8", "4", "1,5") "}", 5, EQUINV_ERR_FORMAT, "\"?[2J\""},
};
enum { HOSTILE = sizeof hostile / sizeof *hostile };

START_TEST(hostile_headers)
{
    if (cjson_missing("hostile_headers"))
        return;
    equinv_context *const ctx = context_new();
    temp_folder folder = temp_folder_new();
    for (size_t i = 0; i < HOSTILE; i++) {
        eqi_safetensors *file = NULL;
        write_file(temp_path(&folder, "m"), hostile[i].header, hostile[i].data);
        const equinv_status status = eqi_safetensors_open(ctx, temp_path(&folder, "m"), &file);
        ck_assert_msg(status == hostile[i].status, "%s: %s (%s)", hostile[i].header,
                      equinv_status_name(status), equinv_last_error());
        ck_assert_msg(status == EQUINV_OK || strstr(equinv_last_error(), hostile[i].word),
                      "%s: \"%s\" lacks \"%s\"", hostile[i].header, equinv_last_error(),
                      hostile[i].word);
        ck_assert(status == EQUINV_OK || strstr(equinv_last_error(), "/m"));
        eqi_safetensors_close(file);
    }
    temp_folder_free(&folder);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(hostile_outsides)
{
    equinv_context *const ctx = context_new();
    temp_folder folder = temp_folder_new();
    eqi_safetensors *file = NULL;
    char path[512];
    snprintf(path, sizeof path, "%s", temp_path(&folder, "m"));
    if (cjson_missing("hostile_outsides")) {
        FAILS(EQUINV_ERR_UNSUPPORTED, "no cJSON", eqi_safetensors_open(ctx, path, &file));
        temp_folder_free(&folder);
        equinv_context_destroy(ctx);
        return;
    }
    FAILS(EQUINV_ERR_IO, "No such file", eqi_safetensors_open(ctx, path, &file));
    FAILS(EQUINV_ERR_IO, "directory", eqi_safetensors_open(ctx, folder.path, &file));
    FAILS(EQUINV_ERR_IO, "regular", eqi_safetensors_open(ctx, "/dev/null", &file));
    file_write(path, "", 0);
    FAILS(EQUINV_ERR_FORMAT, "0 of the 8 bytes", eqi_safetensors_open(ctx, path, &file));
    file_write(path, "\2\0\0\0\0\0\0", 7);
    FAILS(EQUINV_ERR_FORMAT, "7 of the 8 bytes", eqi_safetensors_open(ctx, path, &file));
    file_write(path, "\2\0\0\0\0\0\0\0{", 9);
    FAILS(EQUINV_ERR_FORMAT, "1 bytes after its length field, expected a header of 2",
          eqi_safetensors_open(ctx, path, &file));
    file_write(path, "\1\0\0\1\0\0\0\0{}", 10);
    FAILS(EQUINV_ERR_FORMAT, "16777217 bytes, expected at most 16 MiB",
          eqi_safetensors_open(ctx, path, &file));
    file_write(path, "\xff\xff\xff\xff\xff\xff\xff\xff{}", 10);
    FAILS(EQUINV_ERR_FORMAT, "18446744073709551615", eqi_safetensors_open(ctx, path, &file));
    ck_assert_ptr_null(file);
    temp_folder_free(&folder);
    equinv_context_destroy(ctx);
}
END_TEST

/* Deep, wide and long headers take neither stack nor much time. */
START_TEST(large_headers)
{
    if (cjson_missing("large_headers"))
        return;
    equinv_context *const ctx = context_new();
    temp_folder folder = temp_folder_new();
    const size_t size = 4 << 20;
    char *const header = malloc(size + 100);
    eqi_safetensors *file = NULL;
    const double start = cpu_seconds();

    memset(header, '[', size);
    memcpy(header, "{\"a\":", 5);
    header[size] = '\0';
    write_file(temp_path(&folder, "m"), header, 0);
    FAILS(EQUINV_ERR_FORMAT, "at most 16 levels",
          eqi_safetensors_open(ctx, temp_path(&folder, "m"), &file));

    for (size_t i = 5; i < size; i++)
        header[i] = i == 5 ? '[' : i % 2 ? ',' : '0';
    write_file(temp_path(&folder, "m"), header, 0);
    FAILS(EQUINV_ERR_FORMAT, "2^20 values",
          eqi_safetensors_open(ctx, temp_path(&folder, "m"), &file));

    const int count = 20000;
    size_t used = 1;
    for (int i = 0; i < count; i++)
        used += (size_t)sprintf(header + used, ENTRY("t%d", "U8", "1", "%d,%d") "%s",
                                i * 7919 % count, i, i + 1, i < count - 1 ? "," : "}");
    write_file(temp_path(&folder, "m"), header, (size_t)count);
    OK(eqi_safetensors_open(ctx, temp_path(&folder, "m"), &file));
    ck_assert_int_eq(eqi_safetensors_find(file, "t7919")->begin, 1);
    eqi_safetensors_close(file);
    free(header);
    ck_assert_msg(cpu_seconds() - start < 5, "%g s", cpu_seconds() - start);
    temp_folder_free(&folder);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(refused_to_write)
{
    equinv_context *const ctx = context_new();
    temp_folder folder = temp_folder_new();
    equinv_tensor t = tensor_new(ctx, EQUINV_F32, 1, 2), bad = t;
    bad.dtype = EQUINV_BF16;
    const struct {
        eqi_safetensors_pair pairs[2];
        eqi_safetensors_item items[2];
        equinv_status status;
        const char *word;
    } cases[] = {
        {{{"a", "b"}, {"a", "c"}}, {{"x", &t}, {"y", &t}}, EQUINV_ERR_ARG, "\"a\" twice"},
        {{{NULL, "b"}, {"a", "c"}},
         {{"x", &t}, {"y", &t}},
         EQUINV_ERR_ARG,
         "key of metadata is NULL"},
        {{{"b", NULL}, {"a", "c"}}, {{"x", &t}, {"y", &t}}, EQUINV_ERR_ARG, "value of metadata"},
        {{{"b", "\xff"}, {"a", "c"}}, {{"x", &t}, {"y", &t}}, EQUINV_ERR_ARG, "UTF-8"},
        {{{"b", "b"}, {"a", "c"}}, {{"x", &t}, {"x", &t}}, EQUINV_ERR_ARG, "\"x\" twice"},
        {{{"b", "b"}, {"a", "c"}},
         {{"x", &t}, {NULL, &t}},
         EQUINV_ERR_ARG,
         "name of a tensor is NULL"},
        {{{"b", "b"}, {"a", "c"}}, {{"x", &t}, {"\xc3", &t}}, EQUINV_ERR_ARG, "UTF-8"},
        {{{"b", "b"}, {"a", "c"}}, {{"x", &t}, {"__metadata__", &t}}, EQUINV_ERR_ARG, "reserves"},
        {{{"b", "b"}, {"a", "c"}}, {{"x", &t}, {"y", NULL}}, EQUINV_ERR_ARG, "\"y\" is NULL"},
        {{{"b", "b"}, {"a", "c"}},
         {{"x", &bad}, {"y", &t}},
         EQUINV_ERR_DTYPE,
         "\"x\" has dtype bf16"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        FAILS(cases[i].status, cases[i].word,
              eqi_safetensors_save(ctx, temp_path(&folder, "m"), cases[i].pairs, 2, cases[i].items,
                                   2));
    FAILS(EQUINV_ERR_IO, "No such file",
          eqi_safetensors_save(ctx, temp_path(&folder, "none/m"), NULL, 0, NULL, 0));
    const size_t size = 17 << 20;
    char *const text = malloc(size + 1);
    memset(text, 'x', size);
    text[size] = '\0';
    const eqi_safetensors_pair large = {"k", text};
    FAILS(EQUINV_ERR_UNSUPPORTED, "16 MiB",
          eqi_safetensors_save(ctx, temp_path(&folder, "m"), &large, 1, NULL, 0));
    free(text);
    ck_assert_int_eq(temp_count(&folder), 0);
    equinv_tensor_destroy(ctx, &t);
    temp_folder_free(&folder);
    equinv_context_destroy(ctx);
}
END_TEST

static equinv_status save_and_read(equinv_context *ctx, const char *path, const equinv_tensor *t,
                                   const equinv_tensor *back)
{
    eqi_safetensors *file = NULL;
    const eqi_safetensors_item items[] = {{"first", t}, {"second", t}};
    const eqi_safetensors_pair pair = {"k", "v"};
    equinv_status status = eqi_safetensors_save(ctx, path, &pair, 1, items, 2);
#ifdef EQI_HAVE_CJSON
    if (!status)
        status = eqi_safetensors_open(ctx, path, &file);
    if (!status)
        status = eqi_safetensors_read(file, eqi_safetensors_find(file, "second"), back);
#else
    (void)back;
#endif
    eqi_safetensors_close(file);
    return status;
}

static equinv_status attempt(equinv_context *ctx, void *arg)
{
    static float memory[10], other[10];
    const temp_folder *const folder = arg;
    equinv_tensor t, back;
    OK(equinv_tensor_init(memory, EQUINV_F32, 1, (const int64_t[]){10}, &t));
    OK(equinv_tensor_init(other, EQUINV_F32, 1, (const int64_t[]){10}, &back));
    const equinv_status status = save_and_read(ctx, temp_path(folder, "m"), &t, &back);
    ck_assert(temp_count(folder) <= 1);
    return status;
}

START_TEST(out_of_memory)
{
    temp_folder folder = temp_folder_new();
    ck_assert_int_ge(fail_in_turn(attempt, &folder), 4);
    temp_folder_free(&folder);
}
END_TEST

#ifdef EQI_HAVE_CJSON
static int64_t hook_left, hook_live;

static void *hook_malloc(size_t size)
{
    if (hook_left-- <= 0)
        return NULL;
    hook_live++;
    return malloc(size);
}

static void hook_free(void *ptr)
{
    hook_live -= ptr != NULL;
    free(ptr);
}
#endif

/* cJSON's own allocations: NOMEM, not FORMAT, and nothing leaks. */
START_TEST(out_of_memory_in_cjson)
{
    if (cjson_missing("out_of_memory_in_cjson"))
        return;
#ifdef EQI_HAVE_CJSON
    equinv_context *const ctx = context_new();
    temp_folder folder = temp_folder_new();
    equinv_tensor t = tensor_new(ctx, EQUINV_F32, 1, 2), back = tensor_like(ctx, &t);
    cJSON_Hooks hooks = {hook_malloc, hook_free};
    cJSON_InitHooks(&hooks);
    int failures = 0;
    for (equinv_status status = EQUINV_ERR_NOMEM; status != EQUINV_OK; failures++) {
        hook_left = failures;
        status = save_and_read(ctx, temp_path(&folder, "m"), &t, &back);
        ck_assert_msg(status == EQUINV_OK || status == EQUINV_ERR_NOMEM, "%s: %s",
                      equinv_status_name(status), equinv_last_error());
        ck_assert_int_eq(hook_live, 0);
    }
    ck_assert_msg(failures > 20, "only %d allocations", failures);
    cJSON_InitHooks(NULL);
    equinv_tensor_destroy(ctx, &t);
    equinv_tensor_destroy(ctx, &back);
    temp_folder_free(&folder);
    equinv_context_destroy(ctx);
#endif
}
END_TEST

START_TEST(the_same_in_a_comma_locale)
{
    equinv_context *const ctx = context_new();
    temp_folder folder = temp_folder_new();
    equinv_tensor t = tensor_new(ctx, EQUINV_F32, 1, 1234), back = tensor_like(ctx, &t);
    const eqi_safetensors_item item = {"a", &t};
    size_t sizes[3];
    char *texts[3];
    OK(eqi_safetensors_save(ctx, temp_path(&folder, "m"), NULL, 0, &item, 1));
    texts[0] = file_read(temp_path(&folder, "m"), &sizes[0]);
    if (comma_begin("the_same_in_a_comma_locale")) {
        char half[8];
        snprintf(half, sizeof half, "%.1f", 0.5);
        ck_assert_str_eq(half, "0,5");
        OK(eqi_safetensors_save(ctx, temp_path(&folder, "m"), NULL, 0, &item, 1));
        texts[1] = file_read(temp_path(&folder, "m"), &sizes[1]);
        ck_assert(sizes[0] == sizes[1] && memcmp(texts[0], texts[1], sizes[0]) == 0);
        free(texts[1]);
        OK(equinv_tensor_save(ctx, temp_path(&folder, "n"), &t));
        equinv_tensor n;
        OK(equinv_tensor_load(ctx, temp_path(&folder, "n"), &n));
        equinv_tensor_destroy(ctx, &n);
        eqi_text text = {.ctx = ctx};
        eqi_text_add(&text, "%g", 1.5);
        ck_assert_str_eq(text.at, "1.5");
        eqi_text_free(&text);
#ifdef EQI_HAVE_CJSON
        OK(save_and_read(ctx, temp_path(&folder, "m"), &t, &back));
        cJSON *json = NULL;
        OK(eqi_json_parse(ctx, "text", "[1.5, -2.25e-3]", 15, &json));
        ck_assert(json->child->valuedouble == 1.5 && json->child->next->valuedouble == -2.25e-3);
        eqi_json_free(json);
        FAILS(EQUINV_ERR_FORMAT, "expected a value",
              eqi_json_parse(ctx, "text", "[1,,5]", 6, &json));
#endif
        comma_end();
    }
    free(texts[0]);
    equinv_tensor_destroy(ctx, &t);
    equinv_tensor_destroy(ctx, &back);
    temp_folder_free(&folder);
    equinv_context_destroy(ctx);
}
END_TEST

/* A file that shrinks between open and read. */
START_TEST(truncated_after_open)
{
    if (cjson_missing("truncated_after_open"))
        return;
    equinv_context *const ctx = context_new();
    temp_folder folder = temp_folder_new();
    char path[512];
    snprintf(path, sizeof path, "%s", temp_path(&folder, "m"));
    write_file(path, "{" ENTRY("a", "F32", "4", "0,16") "}", 16);
    eqi_safetensors *file = NULL;
    equinv_tensor t = tensor_new(ctx, EQUINV_F32, 1, 4);
    OK(eqi_safetensors_open(ctx, path, &file));
    struct stat is;
    ck_assert(stat(path, &is) == 0 && truncate(path, is.st_size - 6) == 0);
    FAILS(EQUINV_ERR_FORMAT, "\"a\" ends after 10 of the 16 bytes",
          eqi_safetensors_read(file, eqi_safetensors_find(file, "a"), &t));
    eqi_safetensors_close(file);
    equinv_tensor_destroy(ctx, &t);
    temp_folder_free(&folder);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(text_grows)
{
    equinv_context *const ctx = context_new();
    eqi_text text = {.ctx = ctx};
    for (int i = 0; i < 10000; i++)
        eqi_text_add(&text, "%06d;", i);
    OK(eqi_text_status(&text, "text"));
    ck_assert_uint_eq(text.length, 70000);
    ck_assert_uint_eq(strlen(text.at), 70000);
    ck_assert(memcmp(text.at + 7 * 1234, "001234;", 7) == 0);
    eqi_text_free(&text);
    eqi_text_add_string(&text, "a\"\\\x1f\x7f/\xc3\xa9\n");
    ck_assert_str_eq(text.at, "\"a\\\"\\\\\\u001f\x7f/\xc3\xa9\\u000a\"");
    eqi_text_free(&text);
    eqi_text_free(&text);
    equinv_context_destroy(ctx);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {saved_is_read, 1},          {bytes_of_a_small_file, 1},
        {foreign_files, 1},          {hostile_headers, 1},
        {hostile_outsides, 1},       {large_headers, 1},
        {refused_to_write, 1},       {out_of_memory, 1},
        {out_of_memory_in_cjson, 1}, {the_same_in_a_comma_locale, 1},
        {truncated_after_open, 1},   {text_grows, 1},
    };
    return run_tests("safetensors", tests, sizeof tests / sizeof *tests);
}
