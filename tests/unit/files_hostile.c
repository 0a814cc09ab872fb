/* Files that lie, break off or go on, and systems that refuse: the status, the sentence, nothing left. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/util/files.h"

static const unsigned char data[24] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};

static void refused(equinv_context *ctx, const char *what, const char *path, equinv_status status,
                    const char *word)
{
    equinv_tensor t = {.ndim = -7};
    const equinv_status got = equinv_tensor_load(ctx, path, &t);
    ck_assert_msg(got == status, "%s: %s (%s), expected %s", what, equinv_status_name(got),
                  got ? equinv_last_error() : "", equinv_status_name(status));
    ck_assert_msg(strstr(equinv_last_error(), word) != NULL, "%s: \"%s\" lacks \"%s\"", what,
                  equinv_last_error(), word);
    /* Every sentence begins with the path, and the output is untouched. */
    ck_assert_msg(strstr(equinv_last_error(), path) == equinv_last_error(), "%s: \"%s\"", what,
                  equinv_last_error());
    ck_assert_int_eq(t.ndim, -7);
}

static const struct {
    const char *dictionary;
    equinv_status status;
    const char *word;
} dictionaries[] = {
    /* not a dictionary, or not only one */
    {"", EQUINV_ERR_FORMAT, "byte 0, expected {"},
    {"   ", EQUINV_ERR_FORMAT, "byte 3, expected {"},
    {"[]", EQUINV_ERR_FORMAT, "byte 0, expected {"},
    {"{", EQUINV_ERR_FORMAT, "expected a key"},
    {"{}", EQUINV_ERR_FORMAT, "no key \"descr\""},
    {"{'descr': '<f4', 'shape': (6,)}", EQUINV_ERR_FORMAT, "no key \"fortran_order\""},
    {"{'descr': '<f4', 'fortran_order': False}", EQUINV_ERR_FORMAT, "no key \"shape\""},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (6,), 'x': 1}", EQUINV_ERR_FORMAT,
     "the key \"x\""},
    {"{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (6,)}", EQUINV_ERR_FORMAT,
     "\"descr\" twice"},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (6,)} x", EQUINV_ERR_FORMAT,
     "white space to the end"},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (6,)", EQUINV_ERR_FORMAT, "a comma or }"},
    {"{'descr' '<f4'}", EQUINV_ERR_FORMAT, "byte 9, expected a colon"},
    {"{'descr': '<f4' 'shape': (6,)}", EQUINV_ERR_FORMAT, "a comma or }"},
    {"{'descr': '<f4',, 'shape': (6,)}", EQUINV_ERR_FORMAT, "a key"},
    {"{'descr: 1}", EQUINV_ERR_FORMAT, "closing quote"},
    {"{\"descr': '<f4'}", EQUINV_ERR_FORMAT, "closing quote"},
    {"{'descr\\x20': '<f4'}", EQUINV_ERR_FORMAT, "a key"},
    {"{kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk", EQUINV_ERR_FORMAT, "a key"},
    {"{'kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk", EQUINV_ERR_FORMAT, "a key"},
    {"{u'descr': '<f4'}", EQUINV_ERR_FORMAT, "a key"},
    /* types */
    {"{'descr': f4}", EQUINV_ERR_FORMAT, "the dtype as a string"},
    {"{'descr': None}", EQUINV_ERR_FORMAT, "the dtype as a string"},
    {"{'descr': __import__('os')}", EQUINV_ERR_FORMAT, "the dtype as a string"},
    {"{'descr': ''}", EQUINV_ERR_FORMAT, "none of NumPy's"},
    {"{'descr': '<'}", EQUINV_ERR_FORMAT, "none of NumPy's"},
    {"{'descr': '<q4'}", EQUINV_ERR_FORMAT, "\"<q4\", which is none"},
    {"{'descr': '<<f4'}", EQUINV_ERR_FORMAT, "none of NumPy's"},
    {"{'descr': '<f2'}", EQUINV_ERR_UNSUPPORTED, "\"<f2\""},
    {"{'descr': '<f16'}", EQUINV_ERR_UNSUPPORTED, "\"<f16\""},
    {"{'descr': '<c8'}", EQUINV_ERR_UNSUPPORTED, "\"<c8\""},
    {"{'descr': '|O'}", EQUINV_ERR_UNSUPPORTED, "objects are never read"},
    {"{'descr': '<U6'}", EQUINV_ERR_UNSUPPORTED, "\"<U6\""},
    {"{'descr': '<M8[ns]'}", EQUINV_ERR_UNSUPPORTED, "\"<M8[ns]\""},
    {"{'descr': 'float32'}", EQUINV_ERR_UNSUPPORTED, "\"float32\""},
    {"{'descr': [('x', '<f4')]}", EQUINV_ERR_UNSUPPORTED, "structured"},
    {"{'descr': ('<f4', (2,))}", EQUINV_ERR_UNSUPPORTED, "structured"},
    /* order */
    {"{'fortran_order': true}", EQUINV_ERR_FORMAT, "True or False"},
    {"{'fortran_order': 0}", EQUINV_ERR_FORMAT, "True or False"},
    {"{'fortran_order': Truely}", EQUINV_ERR_FORMAT, "a comma or }"},
    {"{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3)}", EQUINV_ERR_UNSUPPORTED,
     "Fortran order (shape [2, 3])"},
    {"{'descr': '<f4', 'fortran_order': True, 'shape': (2, 1, 3)}", EQUINV_ERR_UNSUPPORTED,
     "Fortran order"},
    /* shapes */
    {"{'shape': 6}", EQUINV_ERR_FORMAT, "parentheses"},
    {"{'shape': [6]}", EQUINV_ERR_FORMAT, "parentheses"},
    {"{'shape': (6)}", EQUINV_ERR_FORMAT, "a comma after the first extent"},
    {"{'shape': (2 3)}", EQUINV_ERR_FORMAT, "a comma"},
    {"{'shape': (2, 3", EQUINV_ERR_FORMAT, "a comma or the closing parenthesis"},
    {"{'shape': (,)}", EQUINV_ERR_FORMAT, "decimal digits"},
    {"{'shape': (2, , 3)}", EQUINV_ERR_FORMAT, "decimal digits"},
    {"{'shape': (-2, 3)}", EQUINV_ERR_FORMAT, "decimal digits"},
    {"{'shape': (02, 3)}", EQUINV_ERR_FORMAT, "decimal digits"},
    {"{'shape': (2L, 3L)}", EQUINV_ERR_FORMAT, "a comma"},
    {"{'shape': (2.0, 3)}", EQUINV_ERR_FORMAT, "a comma"},
    {"{'shape': (9223372036854775808,)}", EQUINV_ERR_FORMAT, "2^63"},
    {"{'shape': (99999999999999999999999,)}", EQUINV_ERR_FORMAT, "2^63"},
    {"{'shape': (1,1,1,1,1,1,1,1,1)}", EQUINV_ERR_UNSUPPORTED, "more than 8 axes"},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296)}",
     EQUINV_ERR_FORMAT, "[4294967296, 4294967296], more than the address space"},
    {"{'descr': '|u1', 'fortran_order': False, 'shape': (2305843009213693952,)}", EQUINV_ERR_FORMAT,
     "address space"},
    /* amounts */
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (7,)}", EQUINV_ERR_FORMAT,
     "24 bytes of data, expected 28"},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (5,)}", EQUINV_ERR_FORMAT,
     "24 bytes of data, expected 20"},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': ()}", EQUINV_ERR_FORMAT,
     "24 bytes of data, expected 4"},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (0, 3)}", EQUINV_ERR_FORMAT,
     "24 bytes of data, expected 0"},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,)}", EQUINV_ERR_FORMAT,
     "expected 4000000000000"},
    {"{'descr': '|b1', 'fortran_order': False, 'shape': (24,)}", EQUINV_ERR_FORMAT,
     "has 2 as element 1, expected a boolean"},
};
enum { DICTIONARIES = sizeof dictionaries / sizeof *dictionaries };

START_TEST(npy_dictionaries)
{
    equinv_context *const ctx = context_new();
    temp_folder folder = temp_folder_new();
    for (size_t i = 0; i < DICTIONARIES; i++)
        for (int version = 1; version <= 3; version++) {
            bytes b = npy_with(version, dictionaries[i].dictionary);
            bytes_add(&b, data, sizeof data);
            file_write(temp_path(&folder, "a"), b.at, b.size);
            refused(ctx, dictionaries[i].dictionary, temp_path(&folder, "a"),
                    dictionaries[i].status, dictionaries[i].word);
        }
    temp_folder_free(&folder);
    equinv_context_destroy(ctx);
}
END_TEST

#define RAW(text) text, sizeof text - 1
static const struct {
    const char *content;
    size_t size;
    equinv_status status;
    const char *word;
} contents[] = {
    {RAW(""), EQUINV_ERR_FORMAT, "is empty"},
    {RAW("x"), EQUINV_ERR_FORMAT, "starts with bytes 78 00 00 00 (it is shorter)"},
    {RAW("\0\0"), EQUINV_ERR_FORMAT, "shorter"},
    {RAW("hello, world\n"), EQUINV_ERR_FORMAT, "68 65 6c 6c, expected NPY"},
    {RAW("\x7f"
         "ELF"),
     EQUINV_ERR_FORMAT, "7f 45 4c 46"},
    {RAW("PK\3\4"), EQUINV_ERR_FORMAT, "50 4b 03 04"},
    /* NPY outside its dictionary */
    {RAW("\x93NUM"), EQUINV_ERR_FORMAT, "0 of the 4 bytes of its NPY header"},
    {RAW("\x93NUMPX\1\0"), EQUINV_ERR_FORMAT, "\\x93NUMPY"},
    {RAW("\x93NUMPY\4\0\0\0\0\0"), EQUINV_ERR_UNSUPPORTED, "version 4.0"},
    {RAW("\x93NUMPY\0\0\0\0\0\0"), EQUINV_ERR_UNSUPPORTED, "version 0.0"},
    {RAW("\x93NUMPY\1\1\0\0\0\0"), EQUINV_ERR_UNSUPPORTED, "version 1.1"},
    {RAW("\x93NUMPY\1\0\x76"), EQUINV_ERR_FORMAT, "1 of the 2 bytes"},
    {RAW("\x93NUMPY\2\0\x76\0"), EQUINV_ERR_FORMAT, "2 of the 4 bytes"},
    {RAW("\x93NUMPY\1\0\x76\0{'descr'"), EQUINV_ERR_FORMAT, "8 of the 118 bytes"},
    {RAW("\x93NUMPY\2\0\1\0\0\1{}"), EQUINV_ERR_FORMAT, "16777217 bytes, expected at most 16 MiB"},
    {RAW("\x93NUMPY\2\0\xff\xff\xff\xff{}"), EQUINV_ERR_FORMAT, "4294967295"},
    {RAW("\x93NUMPY\2\0\0\0\0\1{}"), EQUINV_ERR_FORMAT, "2 of the 16777216 bytes"},
    /* IDX */
    {RAW("\0\0\x0a\1\0\0\0\1x"), EQUINV_ERR_FORMAT, "0x0a"},
    {RAW("\0\0\0\1\0\0\0\1x"), EQUINV_ERR_FORMAT, "0x00"},
    {RAW("\0\0\x08\x09"), EQUINV_ERR_UNSUPPORTED, "9 axes"},
    {RAW("\0\0\x08\xff"), EQUINV_ERR_UNSUPPORTED, "255 axes"},
    {RAW("\0\0\x08\1\0\0\0"), EQUINV_ERR_FORMAT, "3 of the 4 bytes of its IDX header"},
    {RAW("\0\0\x08\1\0\0\0\2x"), EQUINV_ERR_FORMAT, "1 bytes of data, expected 2"},
    {RAW("\0\0\x08\1\0\0\0\2xyz"), EQUINV_ERR_FORMAT, "3 bytes of data, expected 2"},
    {RAW("\0\0\x08\1\0\0\0\0z"), EQUINV_ERR_FORMAT, "1 bytes of data, expected 0"},
    {RAW("\0\0\x0e\1\xff\xff\xff\xffz"), EQUINV_ERR_FORMAT, "expected 34359738360"},
    {RAW("\0\0\x0e\3\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), EQUINV_ERR_FORMAT,
     "address space"},
};
enum { CONTENTS = sizeof contents / sizeof *contents };

START_TEST(contents_of_plain_files)
{
    equinv_context *const ctx = context_new();
    temp_folder folder = temp_folder_new();
    for (size_t i = 0; i < CONTENTS; i++) {
        char what[16];
        snprintf(what, sizeof what, "case %zu", i);
        file_write(temp_path(&folder, "a"), contents[i].content, contents[i].size);
        refused(ctx, what, temp_path(&folder, "a"), contents[i].status, contents[i].word);
    }
    temp_folder_free(&folder);
    equinv_context_destroy(ctx);
}
END_TEST

/* Whatever is wrong plain is wrong compressed; amounts are then told by what was found. */
START_TEST(contents_of_compressed_files)
{
    equinv_context *const ctx = context_new();
    temp_folder folder = temp_folder_new();
    char path[512];
    snprintf(path, sizeof path, "%s", temp_path(&folder, "a"));
    for (size_t i = 0; i < CONTENTS; i++) {
        char what[16];
        snprintf(what, sizeof what, "case %zu", i);
        if (!file_write_gzip(path, contents[i].content, contents[i].size)) {
            SKIP("no zlib in this build");
            break;
        }
        const bool amount = strstr(contents[i].word, "of data") || strstr(contents[i].word, "343");
        refused(ctx, what, path, contents[i].status, amount ? "" : contents[i].word);
    }
    for (size_t i = 0; i < DICTIONARIES; i++) {
        bytes b = npy_with(1, dictionaries[i].dictionary);
        bytes_add(&b, data, sizeof data);
        if (!file_write_gzip(path, b.at, b.size))
            break;
        const bool amount = strstr(dictionaries[i].word, "expected 4000000000000") ||
                            strstr(dictionaries[i].word, "of data");
        refused(ctx, dictionaries[i].dictionary, path, dictionaries[i].status,
                amount ? "" : dictionaries[i].word);
    }
    temp_folder_free(&folder);
    equinv_context_destroy(ctx);
}
END_TEST

static bytes good_file(bool idx)
{
    static const unsigned char head[] = {0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4};
    bytes b = {0};
    if (idx)
        bytes_add(&b, head, sizeof head);
    else
        b = npy_with(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n");
    bytes_add(&b, data, sizeof data);
    return b;
}

/* Cut anywhere, a file is refused; so is one with a byte more. Plain, compressed, and from a pipe. */
START_TEST(every_truncation)
{
    equinv_context *const ctx = context_new();
    temp_folder folder = temp_folder_new();
    char path[512], gzip[512];
    snprintf(path, sizeof path, "%s", temp_path(&folder, "a"));
    snprintf(gzip, sizeof gzip, "%s", temp_path(&folder, "z"));
    for (int idx = 0; idx < 2; idx++) {
        const bytes b = good_file(idx);
        for (size_t n = 0; n <= b.size + 1; n++) {
            if (n == b.size)
                continue;
            file_write(path, b.at, n);
            refused(ctx, "cut", path, EQUINV_ERR_FORMAT, n ? "" : "empty");
            if (file_write_gzip(gzip, b.at, n)) /* good gzip of a cut file */
                refused(ctx, "cut inside", gzip, EQUINV_ERR_FORMAT,
                        n > b.size ? "goes on after byte" : "");
        }
        if (!file_write_gzip(gzip, b.at, b.size)) {
            SKIP("compressed: no zlib in this build");
            continue;
        }
        size_t size;
        char *const text = file_read(gzip, &size);
        for (size_t n = 0; n < size; n++) { /* cut gzip of a good file */
            file_write(gzip, text, n);
            refused(ctx, "cut outside", gzip, EQUINV_ERR_FORMAT,
                    n == 0  ? "empty"
                    : n < 2 ? "starts with"
                            : "ends inside its compressed data");
        }
        free(text);
    }
    temp_folder_free(&folder);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(truncated_says_how_much)
{
    equinv_context *const ctx = context_new();
    temp_folder folder = temp_folder_new();
    const bytes b = good_file(false);
    if (file_write_gzip(temp_path(&folder, "z"), b.at, b.size - 5))
        refused(ctx, "cut", temp_path(&folder, "z"), EQUINV_ERR_FORMAT,
                "ends after 19 of the 24 bytes of its data ([2, 3] f32)");
    else
        SKIP("compressed: no zlib in this build");
    /* A plain file that shrinks after it was opened, read with and without conversion. */
    equinv_tensor t = tensor_new(ctx, EQUINV_F32, 2, 1000, 100);
    for (int d = 0; d < 2; d++) {
        OK(equinv_tensor_save(ctx, temp_path(&folder, "a"), &t));
        equinv_reader *reader = NULL;
        equinv_tensor rows = tensor_new(ctx, d ? EQUINV_F64 : EQUINV_F32, 2, 900, 100);
        int64_t count = -3;
        OK(equinv_reader_open(ctx, temp_path(&folder, "a"), &reader));
        ck_assert_int_eq(truncate(temp_path(&folder, "a"), 128 + 390010), 0);
        OK(equinv_reader_read(reader, &rows, &count));
        ck_assert_int_eq(count, 900);
        FAILS(EQUINV_ERR_FORMAT, "ends after 390010 of the 400000 bytes",
              equinv_reader_read(reader, &rows, &count));
        ck_assert_int_eq(count, 900);
        FAILS(EQUINV_ERR_FORMAT, "no further call", equinv_reader_read(reader, &rows, &count));
        equinv_reader_close(reader);
        equinv_tensor_destroy(ctx, &rows);
    }
    equinv_tensor_destroy(ctx, &t);
    temp_folder_free(&folder);
    equinv_context_destroy(ctx);
}
END_TEST

/* A changed byte of a compressed file is found, or did not matter (time, system, name). */
START_TEST(every_flipped_byte)
{
    equinv_context *const ctx = context_new();
    temp_folder folder = temp_folder_new();
    char path[512];
    snprintf(path, sizeof path, "%s", temp_path(&folder, "z"));
    const bytes b = good_file(true);
    equinv_tensor t;
    size_t size;
    if (!file_write_gzip(path, b.at, b.size)) {
        SKIP("no zlib in this build");
        temp_folder_free(&folder);
        equinv_context_destroy(ctx);
        return;
    }
    char *const text = file_read(path, &size);
    int found = 0;
    for (size_t i = 0; i < 8 * size; i++) {
        text[i / 8] = (char)(text[i / 8] ^ 1 << i % 8);
        file_write(path, text, size);
        text[i / 8] = (char)(text[i / 8] ^ 1 << i % 8);
        if (equinv_tensor_load(ctx, path, &t) == EQUINV_OK) {
            ck_assert_msg(i / 8 < 10, "bit %zu was not missed", i);
            ck_assert(memcmp(t.data, data, sizeof data) == 0);
            equinv_tensor_destroy(ctx, &t);
        } else {
            ck_assert_msg(strstr(equinv_last_error(), path) != NULL, "%s", equinv_last_error());
            found++;
        }
    }
    ck_assert(found > (int)(size - 10) * 8);
    /* What follows is no member. */
    FILE *const f = fopen(path, "wb");
    fwrite(text, 1, size, f);
    fputc('x', f);
    fclose(f);
    refused(ctx, "garbage", path, EQUINV_ERR_FORMAT, "bytes after its compressed data");
    free(text);
    temp_folder_free(&folder);
    equinv_context_destroy(ctx);
}
END_TEST

/* An allocator with a limit that remembers the most that was in use. */
typedef struct meter {
    int64_t now, most, limit;
} meter;

static void *meter_alloc(void *user, size_t size, size_t alignment)
{
    meter *const m = user;
    if ((int64_t)size > m->limit - m->now)
        return NULL;
    m->now += (int64_t)size;
    m->most = m->now > m->most ? m->now : m->most;
    return aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
}

static void meter_free(void *user, void *ptr, size_t size)
{
    ((meter *)user)->now -= (int64_t)size;
    free(ptr);
}

static equinv_context *metered(meter *m)
{
    equinv_context_desc desc = EQUINV_CONTEXT_DESC_INIT;
    equinv_context *ctx = NULL;
    desc.threads = 1;
    desc.allocator = (equinv_allocator){meter_alloc, meter_free, m};
    OK(equinv_context_create(&desc, &ctx));
    return ctx;
}

/* 24 bytes are promised and gigabytes would come: it ends after one byte too many. */
START_TEST(bombs)
{
    meter m = {0, 0, 1 << 20};
    equinv_context *const ctx = metered(&m);
    temp_folder folder = temp_folder_new();
    char path[512];
    snprintf(path, sizeof path, "%s", temp_path(&folder, "bomb"));
    const bytes b = good_file(true);
    const size_t mega = 1 << 20;
    char *const zeros = calloc(1, 32 * mega);
    memcpy(zeros, b.at, b.size);
    if (!file_write_gzip(path, zeros, 32 * mega)) {
        SKIP("no zlib in this build");
    } else {
        const double start = cpu_seconds();
        refused(ctx, "one member", path, EQUINV_ERR_FORMAT, "goes on after byte 40");

        /* The good file, then members of a megabyte: four gigabytes in all. */
        memset(zeros, 0, b.size);
        file_write_gzip(temp_path(&folder, "one"), zeros, mega);
        file_write_gzip(path, b.at, b.size);
        size_t size;
        char *const one = file_read(temp_path(&folder, "one"), &size);
        FILE *const f = fopen(path, "ab");
        for (int i = 0; i < 4096; i++)
            ck_assert_uint_eq(fwrite(one, 1, size, f), size);
        fclose(f);
        free(one);
        refused(ctx, "many members", path, EQUINV_ERR_FORMAT, "goes on after byte 40");

        /* More promised than deflate could ever hold: no memory is asked for. */
        static const unsigned char large[] = {0, 0, 8, 2, 0, 1, 0, 0, 0, 1, 0, 0};
        file_write_gzip(path, large, sizeof large);
        refused(ctx, "promise", path, EQUINV_ERR_FORMAT, "promises 4294967296 bytes");

        /* Promised and perhaps true: the allocator decides. */
        static const unsigned char medium[] = {0, 0, 8, 1, 0, 32, 0, 0};
        memcpy(zeros, medium, sizeof medium);
        file_write_gzip(path, zeros, sizeof medium + 2 * mega);
        equinv_tensor t;
        FAILS(EQUINV_ERR_NOMEM, "2097152 bytes", equinv_tensor_load(ctx, path, &t));
        ck_assert_msg(m.most < 1 << 20, "%lld bytes", (long long)m.most);
        ck_assert_msg(cpu_seconds() - start < 5, "%g s", cpu_seconds() - start);
    }
    free(zeros);
    temp_folder_free(&folder);
    equinv_context_destroy(ctx);
    ck_assert_int_eq(m.now, 0);
}
END_TEST

typedef struct feeding {
    const char *path;
    const void *content;
    size_t size;
} feeding;

static void *feed(void *arg)
{
    const feeding *const f = arg;
    const int fd = open(f->path, O_WRONLY);
    signal(SIGPIPE, SIG_IGN);
    for (size_t at = 0; at < f->size;) {
        const ssize_t n = write(fd, (const char *)f->content + at, f->size - at);
        if (n <= 0)
            break;
        at += (size_t)n;
    }
    close(fd);
    return NULL;
}

/* A pipe has no size: what it promised is compared with what came. */
START_TEST(pipes_that_lie)
{
    meter m = {0, 0, 1 << 30};
    equinv_context *const ctx = metered(&m);
    temp_folder folder = temp_folder_new();
    char fifo[512];
    snprintf(fifo, sizeof fifo, "%s", temp_path(&folder, "fifo"));
    ck_assert_int_eq(mkfifo(fifo, 0600), 0);
    static const struct {
        const char *dictionary;
        equinv_status status;
        const char *word;
    } cases[] = {
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (7,)}", EQUINV_ERR_FORMAT,
         "ends after 24 of the 28 bytes"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (5,)}", EQUINV_ERR_FORMAT, "goes on"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (0,)}", EQUINV_ERR_FORMAT, "goes on"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (100000000,)}", EQUINV_ERR_FORMAT,
         "ends after 24 of the 400000000 bytes"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,)}", EQUINV_ERR_NOMEM,
         "needs 4000000000000 bytes"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bytes b = npy_with(1, cases[i].dictionary);
        bytes_add(&b, data, sizeof data);
        feeding f = {fifo, b.at, b.size};
        pthread_t thread;
        equinv_tensor t;
        ck_assert_int_eq(pthread_create(&thread, NULL, feed, &f), 0);
        FAILS(cases[i].status, cases[i].word, equinv_tensor_load(ctx, fifo, &t));
        pthread_join(thread, NULL);
    }
    temp_folder_free(&folder);
    equinv_context_destroy(ctx);
    ck_assert_int_eq(m.now, 0);
}
END_TEST

/* Files without permission; root has every permission, so root becomes nobody for a while. */
START_TEST(without_permission)
{
    equinv_context *const ctx = context_new();
    temp_folder folder = temp_folder_new();
    equinv_tensor t = tensor_new(ctx, EQUINV_F32, 1, 3), back;
    const bool root = geteuid() == 0;
    char secret[512], locked[512], inside[512];
    snprintf(secret, sizeof secret, "%s", temp_path(&folder, "secret"));
    snprintf(locked, sizeof locked, "%s", temp_path(&folder, "locked"));
    snprintf(inside, sizeof inside, "%s", temp_path(&folder, "locked/a"));
    ck_assert_int_eq(chmod(folder.path, 0777), 0);
    ck_assert_int_eq(mkdir(locked, 0755), 0);
    OK(equinv_tensor_save(ctx, secret, &t));
    ck_assert_int_eq(chmod(secret, 0), 0);
    ck_assert_int_eq(chmod(locked, 0555), 0);
    if (root && seteuid(65534) != 0) {
        SKIP("root may read and write everything, and cannot become nobody here");
    } else if (access(folder.path, W_OK) != 0) {
        SKIP("nobody cannot reach %s", folder.path);
    } else {
        refused(ctx, "unreadable", secret, EQUINV_ERR_IO, "Permission denied");
        FAILS(EQUINV_ERR_IO, "Permission denied", equinv_tensor_save(ctx, inside, &t));
        /* A file that may not be written is not replaced either, though the folder would allow it. */
        FAILS(EQUINV_ERR_IO, "Permission denied", equinv_tensor_save(ctx, secret, &t));
        ck_assert_int_eq(temp_count(&folder), 2);
    }
    if (root)
        ck_assert_int_eq(seteuid(0), 0);
    ck_assert_int_eq(chmod(secret, 0600), 0);
    OK(equinv_tensor_load(ctx, secret, &back));
    equinv_tensor_destroy(ctx, &back);
    ck_assert_int_eq(rmdir(locked), 0);
    equinv_tensor_destroy(ctx, &t);
    temp_folder_free(&folder);
    equinv_context_destroy(ctx);
}
END_TEST

static int make_socket(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path)
        return -1;
    strcpy(address.sun_path, path);
    const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (fd >= 0 && bind(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

START_TEST(places_that_are_no_files)
{
    equinv_context *const ctx = context_new();
    temp_folder folder = temp_folder_new();
    equinv_tensor t = tensor_new(ctx, EQUINV_F32, 1, 3);
    char name[400], path[520], file[512];
    refused(ctx, "missing", temp_path(&folder, "none"), EQUINV_ERR_IO, "No such file");
    refused(ctx, "folder", folder.path, EQUINV_ERR_IO, "Is a directory");
    FAILS(EQUINV_ERR_IO, "Is a directory", equinv_tensor_save(ctx, folder.path, &t));
    FAILS(EQUINV_ERR_IO, "No such file", equinv_tensor_save(ctx, temp_path(&folder, "no/a"), &t));
    FAILS(EQUINV_ERR_IO, "none/", equinv_tensor_save(ctx, temp_path(&folder, "none/"), &t));
    memset(name, 'x', 300);
    name[300] = '\0';
    FAILS(EQUINV_ERR_IO, "File name too long",
          equinv_tensor_save(ctx, temp_path(&folder, name), &t));
    FAILS(EQUINV_ERR_IO, "File name too long",
          equinv_tensor_load(ctx, temp_path(&folder, name), &t));
    ck_assert(strstr(equinv_last_error(), "...xxx")); /* the end of a long path is shown */
    ck_assert_int_eq(temp_count(&folder), 0);

    snprintf(file, sizeof file, "%s", temp_path(&folder, "file"));
    snprintf(path, sizeof path, "%s/a", file);
    OK(equinv_tensor_save(ctx, file, &t));
    refused(ctx, "under a file", path, EQUINV_ERR_IO, "Not a directory");
    FAILS(EQUINV_ERR_IO, "Not a directory", equinv_tensor_save(ctx, path, &t));

    ck_assert_int_eq(symlink("loop", temp_path(&folder, "loop")), 0);
    refused(ctx, "loop", temp_path(&folder, "loop"), EQUINV_ERR_IO, "symbolic links");
    FAILS(EQUINV_ERR_IO, "symbolic links", equinv_tensor_save(ctx, temp_path(&folder, "loop"), &t));

    const int fd = make_socket(temp_path(&folder, "socket"));
    if (fd < 0) {
        SKIP("a socket could not be made in %s", folder.path);
    } else {
        refused(ctx, "socket", temp_path(&folder, "socket"), EQUINV_ERR_IO, "No such device");
        FAILS(EQUINV_ERR_IO, "No such device",
              equinv_tensor_save(ctx, temp_path(&folder, "socket"), &t));
        close(fd);
    }
    equinv_tensor_destroy(ctx, &t);
    temp_folder_free(&folder);
    equinv_context_destroy(ctx);
}
END_TEST

/* A disk that is full at any place: in the header, in the rows, in what commit writes. */
START_TEST(full_disk)
{
    static const rlim_t limits[] = {0, 1, 127, 128, 200, 65536, 100000, 4000000};
    equinv_context *const ctx = context_new();
    temp_folder folder = temp_folder_new();
    rng r = {1};
    equinv_tensor old = tensor_random(ctx, &r, EQUINV_U8, 1, 10), back, part, small;
    equinv_tensor t = tensor_random(ctx, &r, EQUINV_F64, 2, 1000, 1000);
    struct rlimit before, limit;
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
    OK(equinv_tensor_save(ctx, temp_path(&folder, "a"), &old));
    OK(equinv_tensor_rows(&t, 0, 1, &small));
    for (int how = 0; how < 4; how++)
        for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
            equinv_writer *writer = NULL;
            equinv_status status;
            const equinv_tensor *const whole = how < 2 ? &t : &small;
            if (how >= 2 && limits[i] > 8128)
                continue;
            /* With the signal ignored, and as a program finds it. */
            signal(SIGXFSZ, how % 2 ? SIG_IGN : SIG_DFL);
            limit = (struct rlimit){limits[i], before.rlim_max};
            const int limited = setrlimit(RLIMIT_FSIZE, &limit);
            status = equinv_writer_create(ctx, temp_path(&folder, "a"), EQUINV_F64, 2, whole->shape,
                                          &writer);
            /* No assertion here: Check itself writes a file. */
            for (int64_t row = 0; !status && row < whole->shape[0]; row++) {
                status = equinv_tensor_rows(whole, row, 1, &part);
                status = status ? status : equinv_writer_write(writer, &part);
            }
            const equinv_status first = status;
            if (writer)
                status = equinv_writer_commit(writer);
            setrlimit(RLIMIT_FSIZE, &before);
            ck_assert_int_eq(limited, 0);
            ck_assert(first == EQUINV_OK || status == first);
            ck_assert_msg(status == EQUINV_ERR_IO, "limit %lld: %s", (long long)limits[i],
                          equinv_status_name(status));
            ck_assert(strstr(equinv_last_error(), "/a could not be written: File too large"));
            ck_assert_int_eq(temp_count(&folder), 1);
            OK(equinv_tensor_load(ctx, temp_path(&folder, "a"), &back));
            ASSERT_SAME(&back, &old);
            equinv_tensor_destroy(ctx, &back);
        }
    sigset_t pending;
    sigpending(&pending);
    ck_assert(!sigismember(&pending, SIGXFSZ));
    signal(SIGXFSZ, SIG_DFL);
    OK(equinv_tensor_save(ctx, temp_path(&folder, "a"), &t));
    equinv_tensor_destroy(ctx, &old);
    equinv_tensor_destroy(ctx, &t);
    temp_folder_free(&folder);
    equinv_context_destroy(ctx);
}
END_TEST

START_TEST(full_device)
{
    equinv_context *const ctx = context_new();
    equinv_tensor t = tensor_new(ctx, EQUINV_F64, 1, 100000),
                  small = tensor_new(ctx, EQUINV_U8, 1, 1);
    if (access("/dev/full", W_OK) != 0) {
        SKIP("this system has no /dev/full");
    } else {
        FAILS(EQUINV_ERR_IO, "/dev/full could not be written: No space left",
              equinv_tensor_save(ctx, "/dev/full", &t));
        FAILS(EQUINV_ERR_IO, "No space left", equinv_tensor_save(ctx, "/dev/full", &small));
        /* After a failed write the writer fails the same way, and commit says so again. */
        equinv_writer *writer = NULL;
        equinv_tensor half;
        OK(equinv_writer_create(ctx, "/dev/full", EQUINV_F64, 1, t.shape, &writer));
        OK(equinv_tensor_rows(&t, 0, 50000, &half));
        FAILS(EQUINV_ERR_IO, "No space left", equinv_writer_write(writer, &half));
        FAILS(EQUINV_ERR_IO, "No space left", equinv_writer_write(writer, &half));
        FAILS(EQUINV_ERR_ARG, "NULL", equinv_writer_write(NULL, &half)); /* another sentence */
        FAILS(EQUINV_ERR_IO, "No space left", equinv_writer_commit(writer));
    }
    equinv_tensor_destroy(ctx, &t);
    equinv_tensor_destroy(ctx, &small);
    equinv_context_destroy(ctx);
}
END_TEST

/* What happens at the target between create and commit. */
START_TEST(target_changes_meanwhile)
{
    equinv_context *const ctx = context_new();
    temp_folder folder = temp_folder_new();
    equinv_tensor t = tensor_new(ctx, EQUINV_U8, 1, 3), back;
    char path[512];
    snprintf(path, sizeof path, "%s", temp_path(&folder, "a"));
    for (int what = 0; what < 4; what++) {
        equinv_writer *writer = NULL;
        struct stat is;
        OK(equinv_writer_create(ctx, path, EQUINV_U8, 1, t.shape, &writer));
        OK(equinv_writer_write(writer, &t));
        switch (what) {
        case 0: ck_assert_int_eq(mkdir(path, 0700), 0); break;
        case 1: ck_assert_int_eq(mkfifo(path, 0600), 0); break;
        case 2: ck_assert_int_eq(symlink("b", path), 0); break;
        default: file_write(path, "x", 1); break;
        }
        if (what < 3) {
            FAILS(EQUINV_ERR_IO, "something else than a regular file",
                  equinv_writer_commit(writer));
            ck_assert(lstat(path, &is) == 0 && !S_ISREG(is.st_mode));
        } else {
            OK(equinv_writer_commit(writer)); /* a regular file may be replaced */
            OK(equinv_tensor_load(ctx, path, &back));
            equinv_tensor_destroy(ctx, &back);
        }
        ck_assert_int_eq(temp_count(&folder), 1);
        ck_assert(unlink(path) == 0 || rmdir(path) == 0);
    }
    /* Somebody removes the temporary file. */
    equinv_writer *writer = NULL;
    char temporary[600];
    OK(equinv_writer_create(ctx, path, EQUINV_U8, 1, t.shape, &writer));
    OK(equinv_writer_write(writer, &t));
    snprintf(temporary, sizeof temporary, "%s.%ld.part", path, (long)getpid());
    ck_assert_int_eq(unlink(temporary), 0);
    FAILS(EQUINV_ERR_IO, "could not be replaced: No such file", equinv_writer_commit(writer));
    ck_assert_int_eq(temp_count(&folder), 0);
    equinv_tensor_destroy(ctx, &t);
    temp_folder_free(&folder);
    equinv_context_destroy(ctx);
}
END_TEST

int main(void)
{
    const test_entry tests[] = {
        {npy_dictionaries, 1},
        {contents_of_plain_files, 1},
        {contents_of_compressed_files, 1},
        {every_truncation, 1},
        {truncated_says_how_much, 1},
        {every_flipped_byte, 1},
        {bombs, 1},
        {pipes_that_lie, 1},
        {without_permission, 1},
        {places_that_are_no_files, 1},
        {full_disk, 1},
        {full_device, 1},
        {target_changes_meanwhile, 1},
    };
    return run_tests("files_hostile", tests, sizeof tests / sizeof *tests);
}
