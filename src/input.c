#include "internal/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* deflate turns a byte into at most 1032: a match of 258 bytes takes two bits. */
#define DEFLATE_LIMIT 1032

const char *eqi_path_text(const char *path, char text[EQI_PATH_TEXT])
{
    const size_t length = strlen(path);
    const bool fits = length < EQI_PATH_TEXT;
    const char *const tail = fits ? path : path + length - (EQI_PATH_TEXT - 4);
    eqi_format(text, EQI_PATH_TEXT, fits ? "%s" : "...%s", tail);
    return text;
}

equinv_status eqi_fail_system(const char *name, const char *verb, int error)
{
    char reason[128];
    if (strerror_r(error, reason, sizeof reason) != 0)
        eqi_format(reason, sizeof reason, "error %d", error);
    return eqi_fail(EQUINV_ERR_IO, "%s could not be %s: %s", name, verb, reason);
}

static equinv_status look_at_file(eqi_input *input, const char *path)
{
    do
        input->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    while (input->fd < 0 && errno == EINTR);
    struct stat is;
    if (input->fd < 0 || fstat(input->fd, &is) != 0)
        return eqi_fail_system(input->name, "opened", errno);
    if (S_ISDIR(is.st_mode))
        return eqi_fail_system(input->name, "read", EISDIR);
    /* Files of /proc are regular and say 0. */
    input->regular = S_ISREG(is.st_mode);
    input->file_size = input->regular && is.st_size > 0 ? is.st_size : -1;
    return EQUINV_OK;
}

equinv_status eqi_input_open(equinv_context *ctx, const char *path, bool undo_gzip,
                             eqi_input **opened)
{
    equinv_status status;
    eqi_input *const input = eqi_alloc(ctx, sizeof *input);
    EQI_CHECK(input, NOMEM, "out of memory: a reader needs %zu bytes", sizeof *input);
    memset(input, 0, offsetof(eqi_input, buffer));
    input->ctx = ctx;
    input->fd = -1;
    eqi_path_text(path, input->name);
    EQI_TRY_GOTO(status, out, look_at_file(input, path));
    /* A pipe may give its first byte alone. */
    while (undo_gzip && input->end < 2) {
        const size_t before = input->end;
        EQI_TRY_GOTO(status, out, eqi_input_fill(input));
        if (input->end == before)
            break;
    }
    if (undo_gzip && input->end >= 2 && input->buffer[0] == 0x1f && input->buffer[1] == 0x8b)
        EQI_TRY_GOTO(status, out, eqi_gzip_create(input));
    *opened = input;
    return EQUINV_OK;
out:
    eqi_input_close(input);
    return status;
}

void eqi_input_close(eqi_input *input)
{
    if (!input)
        return;
    eqi_gzip_destroy(input);
    if (input->fd >= 0)
        close(input->fd);
    eqi_free(input->ctx, input, sizeof *input);
}

static equinv_status read_system(eqi_input *input, void *bytes, size_t size, size_t *got)
{
    ssize_t n;
    do
        n = read(input->fd, bytes, size);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return eqi_fail_system(input->name, "read", errno);
    input->raw_read += n;
    *got = (size_t)n;
    return EQUINV_OK;
}

equinv_status eqi_input_fill(eqi_input *input)
{
    size_t got;
    if (input->begin == input->end)
        input->begin = input->end = 0;
    EQI_TRY(
        read_system(input, input->buffer + input->end, sizeof input->buffer - input->end, &got));
    input->end += got;
    return EQUINV_OK;
}

/* Large reads go past the buffer. */
static equinv_status read_plain(eqi_input *input, unsigned char *bytes, size_t size, size_t *got)
{
    *got = 0;
    while (*got < size) {
        const size_t rest = size - *got;
        size_t n = input->end - input->begin;
        if (n > 0) {
            n = n < rest ? n : rest;
            memcpy(bytes + *got, input->buffer + input->begin, n);
            input->begin += n;
        } else if (rest >= sizeof input->buffer) {
            const size_t limit = (size_t)1 << 30;
            EQI_TRY(read_system(input, bytes + *got, rest < limit ? rest : limit, &n));
            if (n == 0)
                break;
        } else {
            EQI_TRY(eqi_input_fill(input));
            if (input->begin == input->end)
                break;
        }
        *got += n;
    }
    return EQUINV_OK;
}

equinv_status eqi_input_read(eqi_input *input, void *bytes, size_t size, size_t *got)
{
    EQI_TRY(input->gzip ? eqi_gzip_read(input, bytes, size, got)
                        : read_plain(input, bytes, size, got));
    input->delivered += (int64_t)*got;
    return EQUINV_OK;
}

equinv_status eqi_input_need(eqi_input *input, void *bytes, size_t size, const char *what)
{
    size_t got;
    EQI_TRY(eqi_input_read(input, bytes, size, &got));
    EQI_CHECK(got == size, FORMAT, "%s ends after %zu of the %zu bytes of its %s", input->name, got,
              size, what);
    return EQUINV_OK;
}

equinv_status eqi_input_end(eqi_input *input)
{
    unsigned char byte;
    size_t got;
    const int64_t before = input->delivered;
    EQI_TRY(eqi_input_read(input, &byte, 1, &got));
    EQI_CHECK(got == 0, FORMAT, "%s goes on after byte %" PRId64 ", expected its end there",
              input->name, before);
    return EQUINV_OK;
}

equinv_status eqi_input_promise(const eqi_input *input, int64_t bytes)
{
    if (input->file_size < 0)
        return EQUINV_OK;
    if (input->gzip) {
        EQI_CHECK(bytes / DEFLATE_LIMIT <= input->file_size, FORMAT,
                  "%s has a header that promises %" PRId64 " bytes of data, more than %" PRId64
                  " compressed bytes can hold",
                  input->name, bytes, input->file_size);
        return EQUINV_OK;
    }
    const int64_t rest = input->file_size - input->delivered;
    EQI_CHECK(rest == bytes, FORMAT,
              "%s has %" PRId64 " bytes of data, expected %" PRId64 " as its header says",
              input->name, rest, bytes);
    return EQUINV_OK;
}

equinv_status eqi_input_seek(eqi_input *input, int64_t position)
{
    if (lseek(input->fd, (off_t)position, SEEK_SET) < 0)
        return eqi_fail_system(input->name, "positioned", errno);
    input->begin = input->end = 0;
    input->raw_read = input->delivered = position;
    return EQUINV_OK;
}

static equinv_status ends_early(const char *name, const eqi_array *array, int64_t found)
{
    char shape[128];
    return eqi_fail(
        EQUINV_ERR_FORMAT, "%s ends after %" PRId64 " of the %" PRId64 " bytes of its data (%s %s)",
        name, found, array->bytes, eqi_shape_text(array->ndim, array->shape, shape, sizeof shape),
        eqi_stored_types[array->stored].name);
}

/* Whether the file has just the bytes that memory wants. */
static bool is_verbatim(const eqi_array *array, equinv_dtype dtype)
{
    return !array->swap && array->stored != EQI_STORED_BOOL &&
           eqi_stored_types[array->stored].announced == dtype &&
           eqi_stored_types[array->stored].size == (int64_t)equinv_dtype_size(dtype);
}

static equinv_status convert_block(eqi_input *input, const char *name, const eqi_array *array,
                                   int64_t first, int64_t n, equinv_dtype dtype)
{
    double value;
    if (array->swap)
        eqi_swap_bytes(input->raw, n, eqi_stored_types[array->stored].size);
    const int64_t bad =
        eqi_stored_convert(array->stored, input->raw, n, dtype, input->converted, &value);
    if (bad < 0)
        return EQUINV_OK;
    EQI_CHECK(array->stored != EQI_STORED_BOOL, FORMAT,
              "%s has %g as element %" PRId64 ", expected a boolean, 0 or 1", name, value,
              first + bad);
    return eqi_fail(
        EQUINV_ERR_ARG, "%s has %.17g as element %" PRId64 " (%s), expected a value that %s holds",
        name, value, first + bad, eqi_stored_types[array->stored].name, equinv_dtype_name(dtype));
}

equinv_status eqi_input_elements(eqi_input *input, const char *name, const eqi_array *array,
                                 int64_t first, const equinv_tensor *dst)
{
    const int64_t count = equinv_tensor_count(dst), size = eqi_stored_types[array->stored].size;
    const bool verbatim = is_verbatim(array, dst->dtype);
    size_t got;
    EQI_CHECK(eqi_stored_types[array->stored].announced, UNSUPPORTED,
              "%s has element type %s, which this version does not read", name,
              eqi_stored_types[array->stored].name);
    if (verbatim && eqi_is_contiguous(dst)) {
        EQI_TRY(eqi_input_read(input, dst->data, (size_t)(count * size), &got));
        return (int64_t)got == count * size ? EQUINV_OK
                                            : ends_early(name, array, first * size + (int64_t)got);
    }
    eqi_cursor cursor = eqi_cursor_at_start(dst);
    for (int64_t done = 0; done < count;) {
        const int64_t n = count - done < EQI_BLOCK ? count - done : EQI_BLOCK;
        EQI_TRY(eqi_input_read(input, input->raw, (size_t)(n * size), &got));
        if ((int64_t)got < n * size)
            return ends_early(name, array, (first + done) * size + (int64_t)got);
        if (!verbatim)
            EQI_TRY(convert_block(input, name, array, first + done, n, dst->dtype));
        eqi_cursor_scatter(&cursor, verbatim ? input->raw : input->converted, n);
        done += n;
    }
    return EQUINV_OK;
}
